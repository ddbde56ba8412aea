"""Finite multilayer perceptrons of any depth in any abc-parametrization (TP4 section 2).

    h^1 = W^1 x + alpha B^1,   x^l = phi(h^l),   h^{l+1} = W^{l+1} x^l + alpha B^{l+1},   f = W^{L+1} x^L

Stored are the trained w^l of the parametrization shifted to c = 0 (the shift symmetry leaves every f_t unchanged), so
the learning rate, the clip threshold and the adaptation rate need no power of the width. A bias is a weight from a
constant input of one: it takes the multiplier of the first layer and starts at 0.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from infwidth.models.contract import Adapted, Cotangent, DenseUpdate, Model
from infwidth.parametrization import ABC

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"linear": lambda h: h, "relu": torch.relu}
Parameters = dict[str, Tensor]


class MLP(Model):
    """A width-n network of ``abc.depth`` hidden layers.

    sigmas: standard deviations multiplying the initial w^1..w^{L+1}; alpha: bias multiplier (0: the biases stay 0).
    """

    def __init__(
        self,
        width: int,
        inputs: int,
        outputs: int,
        sigmas: tuple[float, ...],
        alpha: float,
        abc: ABC,
        activation: str,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        shifted = abc.shifted(abc.c / 2)
        sizes = [inputs, *[width] * abc.depth, outputs]
        self.depth, self.alpha, self.phi = abc.depth, alpha, ACTIVATIONS[activation]
        self.multipliers = [shifted.layer(l, width).multiplier for l in range(1, abc.depth + 2)]
        for l in range(1, abc.depth + 2):
            std = sigmas[l - 1] * shifted.layer(l, width).init_std
            weight = torch.randn(sizes[l], sizes[l - 1], generator=generator, dtype=dtype) * std
            self.register_parameter(f"w{l}", nn.Parameter(weight))
            if l <= abc.depth:
                self.register_parameter(f"b{l}", nn.Parameter(torch.zeros(width, dtype=dtype)))

    def _hidden(self, x: Tensor, p: Parameters) -> Tensor:
        """x^L. Parameters may carry a leading episode dimension, which x (episodes, examples, d) then shares."""
        for l in range(1, self.depth + 1):
            h = self.multipliers[l - 1] * torch.matmul(x, p[f"w{l}"].mT)
            x = self.phi(h + self.alpha * self.multipliers[0] * p[f"b{l}"].unsqueeze(-2))
        return x

    def outputs(self, x: Tensor, p: Parameters) -> Tensor:
        """f(x) at given parameters; see _hidden for the shapes."""
        return self.multipliers[-1] * torch.matmul(self._hidden(x, p), p[f"w{self.depth + 1}"].mT)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x, dict(self.named_parameters()))

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        return self._hidden(x, dict(self.named_parameters()))

    def gradient(self, x: Tensor, cotangent: Tensor) -> DenseUpdate:
        with torch.enable_grad():
            return vjp(self(x), dict(self.named_parameters()), cotangent)

    def apply_update(self, update: DenseUpdate, rate: float, decay: float = 0.0) -> None:
        update.apply_to(self.named_parameters(), rate, decay)

    def adapted(self, support: Tensor, cotangent: Cotangent, rate: float, steps: int, second_order: bool = False) -> "AdaptedMLP":
        return AdaptedMLP(self, support, cotangent, rate, steps, second_order)


def vjp(outputs: Tensor, parameters: Parameters, cotangent: Tensor) -> DenseUpdate:
    """The gradient of every parameter for a cotangent of the outputs."""
    gradients = torch.autograd.grad(outputs, list(parameters.values()), cotangent, materialize_grads=True)
    return DenseUpdate(zip(parameters, gradients, strict=True))


class AdaptedMLP(Adapted):
    """One copy of the parameters per episode; all episodes in the same batched products."""

    def __init__(self, net: MLP, support: Tensor, cotangent: Cotangent, rate: float, steps: int, second_order: bool):
        self.net, self.second_order = net, second_order
        self.base = {name: p.detach().requires_grad_() for name, p in net.named_parameters()}
        with torch.enable_grad():
            self.parameters = {name: p.expand(len(support), *p.shape) for name, p in self.base.items()}
            for _ in range(steps):
                if not second_order:
                    self.parameters = {name: p.detach().requires_grad_() for name, p in self.parameters.items()}
                outputs = net.outputs(support, self.parameters)
                # Episodes do not interact, so the gradient of the sum holds every episode's own.
                gradients = torch.autograd.grad(
                    outputs, list(self.parameters.values()), cotangent(outputs), create_graph=second_order, materialize_grads=True
                )
                self.parameters = {
                    name: p - rate * g for (name, p), g in zip(self.parameters.items(), gradients, strict=True)
                }

    @torch.no_grad()
    def __call__(self, query: Tensor) -> Tensor:
        return self.net.outputs(query, self.parameters)

    def linearized(self, query: Tensor):
        parameters = self.parameters
        if not self.second_order:
            parameters = {name: p.detach().requires_grad_() for name, p in parameters.items()}
        with torch.enable_grad():
            outputs = self.net.outputs(query, parameters)

        def pullback(cotangent: Tensor) -> DenseUpdate:
            if self.second_order:
                return vjp(outputs, self.base, cotangent)
            per_episode = vjp(outputs, parameters, cotangent)
            return DenseUpdate({name: g.sum(0) for name, g in per_episode.gradients.items()})

        return outputs.detach(), pullback
