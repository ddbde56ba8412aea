"""Finite ReLU networks in the pi-limit's parametrization: the pi-net, whose gradients are projected, and without projection the mu-net.

    h^1 = alpha_1 (W^1 x + beta b^1),   h^l = W^l relu(h^{l-1}) + beta b^l,   out = alpha_out (W^{L+1} relu(h^L) + beta b^{L+1})

Gradients of layers 1..L, weights and biases, are projected to the span of the columns of Omega^l (n, r) before norms and clipping:
G <- Omega (Omegaᵀ Omega)^{-1} Omegaᵀ G. As n grows at fixed r the network sampled from a pi-limit approaches it, at every step
of training. With r >= n the projection is the identity.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from infwidth.models.contract import DenseUpdate, Model
from infwidth.models.growing import relu_features
from infwidth.models.pi import PiLimit, PiScaling


class PiNet(Model):
    """weights W^1..W^{L+1}, biases b^1..b^{L+1}; omegas: Omega^1..Omega^L, or empty for a network without projection."""

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor], omegas: Sequence[Tensor], scaling: PiScaling):
        super().__init__()
        self.scaling, self.depth = scaling, len(weights) - 1
        self.W, self.b = (nn.ParameterList([nn.Parameter(p) for p in ps]) for ps in (weights, biases))
        # An orthonormal basis Q of the span makes the projection Q Qᵀ; it is stored in place of Omega.
        for l, omega in enumerate(omegas, start=1):
            if omega.shape[1] < omega.shape[0]:
                self.register_buffer(f"Q{l}", torch.linalg.qr(omega.double()).Q.to(omega.dtype))

    def _beta(self, l: int) -> float:
        return self.scaling.beta_readout if l == self.depth + 1 else self.scaling.beta

    def _hidden(self, x: Tensor) -> Tensor:
        """h^L (..., n)."""
        c = self.scaling
        h = c.alpha_1 * (x @ self.W[0].mT + c.beta * self.b[0])
        for l in range(2, self.depth + 1):
            h = torch.relu(h) @ self.W[l - 1].mT + c.beta * self.b[l - 1]
        return h

    def forward(self, x: Tensor) -> Tensor:
        c = self.scaling
        return c.alpha_out * (torch.relu(self._hidden(x)) @ self.W[-1].mT + c.beta_readout * self.b[-1])

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self._hidden(x))

    def linearized(self, x: Tensor):
        with torch.enable_grad():
            out = self(x)

        def pullback(cotangent: Tensor) -> DenseUpdate:
            names, parameters = zip(*self.named_parameters(), strict=True)
            gradients = torch.autograd.grad(out, parameters, cotangent, materialize_grads=True)
            return DenseUpdate({name: self._projected(name, g) for name, g in zip(names, gradients, strict=True)})

        return out.detach(), pullback

    def gradient(self, x: Tensor, cotangent: Tensor) -> DenseUpdate:
        return self.linearized(x.flatten(0, -2))[1](cotangent.flatten(0, -2))

    def _projected(self, name: str, g: Tensor) -> Tensor:
        Q = getattr(self, f"Q{int(name.split('.')[1]) + 1}", None)
        return g if Q is None else Q @ (Q.mT @ g)

    @torch.no_grad()
    def apply_update(self, update: DenseUpdate, rate: float, decay: float = 0.0) -> None:
        c = self.scaling
        for name, p in self.named_parameters():
            kind, index = name.split(".")
            multiplier = c.bias if kind == "b" else {0: c.first, self.depth: c.readout}.get(int(index), 1.0)
            p.mul_(1 - rate * decay * (multiplier if c.decay_follows else 1.0)).sub_(update[name], alpha=rate * multiplier)

    def adapted(self, support, cotangent, rate, steps, second_order=False):
        raise NotImplementedError


def sampled(limit: PiLimit, width: int, generator: torch.Generator, omegas: Sequence[Tensor] | None = None) -> PiNet:
    """A width-n network drawn from a pi-limit, at any moment of its training. omegas: the Gaussians (n, r) of each hidden layer, if given."""
    rank, dtype = limit.A1.shape[1], limit.A1.dtype
    if omegas is None:
        omegas = [torch.randn(width, rank, generator=generator, dtype=dtype) for _ in range(limit.depth)]
    root = math.sqrt(width)
    weights = [(omegas[0] @ limit.A1.detach().mT) / root]
    for l, layer in enumerate(limit.layers, start=2):
        # Omega^{l-1} holds the hidden layer below in the basis of its Gaussians; relu of it are random features of the unit rows.
        below = relu_features(layer, omegas[l - 2])
        weights.append(omegas[l - 1] @ below / width if l <= limit.depth else below / root)
    biases = [omegas[l] @ b.detach() / root for l, b in enumerate(limit.b[:-1])]
    return PiNet(weights, [*biases, limit.b[-1].detach().clone()], omegas, limit.scaling)


def gaussian(width: int, inputs: int, outputs: int, depth: int, scaling: PiScaling, init: Mapping[int, float], generator: torch.Generator, dtype=torch.float32) -> PiNet:
    """The mu-net at its base width: W^l ~ N(0, 2/fan_in) times init[l] (1 where it is not given), biases zero, no projection."""
    sizes = [inputs, *[width] * depth, outputs]
    weights = [
        torch.randn(sizes[l], sizes[l - 1], generator=generator, dtype=dtype) * (math.sqrt(2 / sizes[l - 1]) * init.get(l, 1.0)) for l in range(1, depth + 2)
    ]
    return PiNet(weights, [torch.zeros(n, dtype=dtype) for n in sizes[1:]], [], scaling)
