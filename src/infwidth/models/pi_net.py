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

from infwidth.models.contract import Adapted, Cotangent, DenseUpdate, Model
from infwidth.models.growing import relu_features
from infwidth.models.pi import PiLimit, PiScaling

Parameters = dict[str, Tensor]


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

    def hidden(self, x: Tensor, p: Parameters) -> Tensor:
        """relu(h^L) (..., n). A parameter is shared, or has a leading episode dimension that x (episodes, examples, d) then shares."""
        c = self.scaling
        h = c.alpha_1 * (torch.matmul(x, p["W.0"].mT) + c.beta * p["b.0"].unsqueeze(-2))
        for l in range(1, self.depth):
            h = torch.matmul(torch.relu(h), p[f"W.{l}"].mT) + c.beta * p[f"b.{l}"].unsqueeze(-2)
        return torch.relu(h)

    def readout(self, features: Tensor, p: Parameters) -> Tensor:
        """out for relu(h^L)."""
        c, last = self.scaling, self.depth
        return c.alpha_out * (torch.matmul(features, p[f"W.{last}"].mT) + c.beta_readout * p[f"b.{last}"].unsqueeze(-2))

    def forward(self, x: Tensor) -> Tensor:
        p = dict(self.named_parameters())
        return self.readout(self.hidden(x, p), p)

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x, dict(self.named_parameters()))

    def linearized(self, x: Tensor):
        with torch.enable_grad():
            out = self(x)

        def pullback(cotangent: Tensor) -> DenseUpdate:
            names, parameters = zip(*self.named_parameters(), strict=True)
            gradients = torch.autograd.grad(out, parameters, cotangent, materialize_grads=True)
            return self.update(dict(zip(names, gradients, strict=True)))

        return out.detach(), pullback

    def gradient(self, x: Tensor, cotangent: Tensor) -> DenseUpdate:
        return self.linearized(x.flatten(0, -2))[1](cotangent.flatten(0, -2))

    def update(self, gradients: Parameters) -> DenseUpdate:
        """The gradients of all parameters, projected."""
        uncounted = () if self.scaling.readout_in_norm else (f"W.{self.depth}", f"b.{self.depth}")
        return DenseUpdate({name: self.projected(name, g) for name, g in gradients.items() if name not in uncounted})

    def projected(self, name: str, g: Tensor) -> Tensor:
        """A gradient, or one for each episode, in the span that training stays in."""
        kind, index = name.split(".")
        Q = getattr(self, f"Q{int(index) + 1}", None)
        if Q is None:
            return g
        return torch.matmul(Q, torch.matmul(Q.mT, g)) if kind == "W" else torch.matmul(torch.matmul(g, Q), Q.mT)

    @torch.no_grad()
    def apply_update(self, update: DenseUpdate, rate: float, decay: float = 0.0) -> None:
        c = self.scaling
        for name, p in self.named_parameters():
            if name not in update.gradients:
                continue  # a readout that is frozen
            kind, index = name.split(".")
            multiplier = c.bias if kind == "b" else {0: c.first, self.depth: c.readout}.get(int(index), 1.0)
            p.mul_(1 - rate * decay * (multiplier if c.decay_follows else 1.0)).sub_(update[name], alpha=rate * multiplier)

    def adapted(self, support: Tensor, cotangent: Cotangent, rate: float, steps: int, second_order: bool = False, which: str = "all") -> "AdaptedPiNet":
        return AdaptedPiNet(self, support, cotangent, rate, steps, second_order, which)


class AdaptedPiNet(Adapted):
    """One copy per episode of the parameters that adapt; the others are shared, and hidden features of a shared body are computed once."""

    def __init__(self, net: PiNet, support: Tensor, cotangent: Cotangent, rate: float, steps: int, second_order: bool, which: str):
        self.net, self.second_order = net, second_order
        self.base = {name: p.detach().requires_grad_() for name, p in net.named_parameters()}
        last = str(net.depth)
        chosen = {"all": self.base, "readout": [n for n in self.base if n.split(".")[1] == last], "hidden": [n for n in self.base if n.split(".")[1] != last]}
        names = list(chosen[which])
        with torch.enable_grad():
            self.p = {name: p.expand(len(support), *p.shape) if name in names else p for name, p in self.base.items()}
            features = net.hidden(support, self.p) if which == "readout" else None
            if features is not None and not second_order:
                features = features.detach()
            for _ in range(steps):
                if not second_order:
                    self.p = {name: p.detach().requires_grad_() if name in names else p for name, p in self.p.items()}
                out = net.readout(net.hidden(support, self.p) if features is None else features, self.p)
                gradients = torch.autograd.grad(out, [self.p[n] for n in names], cotangent(out), create_graph=second_order, materialize_grads=True)
                for name, g in zip(names, gradients, strict=True):
                    self.p[name] = self.p[name] - rate * net.projected(name, g)

    @torch.no_grad()
    def __call__(self, query: Tensor) -> Tensor:
        return self.net.readout(self.net.hidden(query, self.p), self.p)

    def linearized(self, query: Tensor):
        p = self.p if self.second_order else {name: q.detach().requires_grad_() for name, q in self.p.items()}
        with torch.enable_grad():
            out = self.net.readout(self.net.hidden(query, p), p)

        def pullback(cotangent: Tensor) -> DenseUpdate:
            leaves = self.base if self.second_order else p
            gradients = torch.autograd.grad(out, list(leaves.values()), cotangent, materialize_grads=True)
            summed = {name: g if g.shape == self.base[name].shape else g.sum(0) for name, g in zip(leaves, gradients, strict=True)}
            return self.net.update(summed)

        return out.detach(), pullback


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
