"""Finite multilayer perceptrons of any depth, in any abc-parametrization (TP4 section 2).

With PiLim's multipliers and projections:

    h^l = m_l W^l x^{l-1} + c_l b^l,   x^0 = x,   x^l = phi(h^l),   f = m_{L+1} W^{L+1} x^L + c_{L+1} b^{L+1}

Stored are the trained w^l of the parametrization shifted to c = 0 (the shift symmetry leaves every f_t unchanged),
so the learning rate, the clip threshold and the adaptation rate need no power of the width. A hidden layer's bias
is a weight from a constant input of one: it takes the power of the width that the first layer has, and starts at
0; the readout's takes none.

A projection replaces the gradients of a hidden layer's weights and biases by their part in a subspace of its neurons.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from infwidth.errors import ConfigError
from infwidth.models.contract import Adapted, Cotangent, Model
from infwidth.models.mlp.adapted import AdaptedMLP
from infwidth.models.mlp.multipliers import Multipliers
from infwidth.models.readout import AdaptedReadout, adapted_from
from infwidth.models.updates import DenseUpdate


def _identity(h: Tensor) -> Tensor:
    return h


def _step(x: Tensor) -> Tensor:
    return (x > 0).to(x.dtype)


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "linear": (_identity, torch.ones_like),
    "relu": (torch.relu, _step),
}
"""phi, and its derivative as a function of phi's value."""

Parameters = dict[str, Tensor]
"""By name: 'w1' and 'b1' of the first layer, and so on."""


def layer_of(name: str) -> int:
    """The layer l = 1..L+1 that a parameter belongs to."""
    return int(name[1:])


class MLP(Model):
    """weights w^1..w^{L+1}, w^l (n_l, n_{l-1}); biases b^1..b^{L+1}, None where there is none; multipliers as above.

    spans: for layers 1..L matrices (n_l, r) whose columns span what gradients are projected to; with r >= n_l, or
    without any, nothing is projected.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor | None],
        multipliers: Multipliers,
        activation: str = "relu",
        spans: Sequence[Tensor] = (),
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConfigError(f"the activation {activation!r} is not known; choose one of: {', '.join(ACTIVATIONS)}.")
        self.depth, self.multipliers = len(weights) - 1, multipliers
        self.phi, self.dphi = ACTIVATIONS[activation]
        for l, (w, b) in enumerate(zip(weights, biases, strict=True), start=1):
            self.register_parameter(f"w{l}", nn.Parameter(w))
            if b is not None:
                self.register_parameter(f"b{l}", nn.Parameter(b))
        for l, span in enumerate(spans, start=1):
            if span.shape[1] < span.shape[0]:  # with an orthonormal basis Q of the span, projecting is Q Qᵀ
                self.register_buffer(f"Q{l}", torch.linalg.qr(span.double()).Q.to(span.dtype))

    def _layer(self, l: int, x: Tensor, p: Parameters) -> Tensor:
        m, c = self.multipliers.weights[l - 1], self.multipliers.biases[l - 1]
        h = torch.matmul(x, p[f"w{l}"].mT)
        h = h if m == 1 else m * h
        return h + c * p[f"b{l}"].unsqueeze(-2) if f"b{l}" in p else h

    def hidden(self, x: Tensor, p: Parameters) -> Tensor:
        """x^L (..., n). A parameter is shared, or has an episode dimension first, as x (episodes, examples, d) has
        then."""
        for l in range(1, self.depth + 1):
            x = self.phi(self._layer(l, x, p))
        return x

    def readout(self, features: Tensor, p: Parameters) -> Tensor:
        """f for features x^L."""
        return self._layer(self.depth + 1, features, p)

    def forward(self, x: Tensor) -> Tensor:
        p = dict(self.named_parameters())
        return self.readout(self.hidden(x, p), p)

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x, dict(self.named_parameters()))

    @torch.no_grad()
    def linearized(self, x: Tensor, asked=None):
        if not isinstance(x, Tensor):
            return super().linearized(x, asked)
        features, activations = self.hidden_with_trace(x)
        last, c = self.depth + 1, self.multipliers

        @torch.no_grad()
        def pullback(cotangent: Tensor) -> DenseUpdate:
            gradients = self._below(c.weights[-1] * cotangent @ getattr(self, f"w{last}"), activations)
            if not c.frozen_readout:
                gradients[f"w{last}"] = c.weights[-1] * cotangent.mT @ features
                if hasattr(self, f"b{last}"):
                    gradients[f"b{last}"] = c.biases[-1] * cotangent.sum(0)
            return DenseUpdate(gradients)

        return self.readout(features, dict(self.named_parameters())), pullback

    def gradient(self, x: Tensor, cotangent: Tensor) -> DenseUpdate:
        return self.linearized(x.flatten(0, -2))[1](cotangent.flatten(0, -2))

    def update(self, gradients: Parameters) -> DenseUpdate:
        """The update of the gradients of all parameters: projected, those of a frozen readout left out."""
        frozen = self.multipliers.frozen_readout
        kept = {name: g for name, g in gradients.items() if not (frozen and self.is_readout(name))}
        return DenseUpdate({name: self.projected(name, g) for name, g in kept.items()})

    def is_readout(self, name: str) -> bool:
        """Whether a parameter is the readout's."""
        return layer_of(name) == self.depth + 1

    def projected(self, name: str, g: Tensor) -> Tensor:
        """A parameter's gradient, or one for each episode, in the span that training stays in."""
        l = layer_of(name)
        if name == f"w{l}":  # its rows belong to the neurons
            Q = self._basis(l)
            return g if Q is None else torch.matmul(Q, torch.matmul(Q.mT, g))
        return self._in_span(l, g)

    def _basis(self, l: int) -> Tensor | None:
        """Q (n_l, r), orthonormal; None where gradients of layer l are not projected."""
        return getattr(self, f"Q{l}", None)

    def _in_span(self, l: int, g: Tensor) -> Tensor:
        """g (..., n_l) in the span that layer l stays in."""
        Q = self._basis(l)
        return g if Q is None else torch.matmul(torch.matmul(g, Q), Q.mT)

    @torch.no_grad()
    def apply_update(self, update: DenseUpdate, rate: float, decay: float = 0.0) -> None:
        c = self.multipliers
        for name, p in self.named_parameters():
            if name not in update.gradients:  # a frozen readout
                continue
            rates = c.weight_rates if name.startswith("w") else c.bias_rates
            multiplier = rates[layer_of(name) - 1]
            if decay:
                p.mul_(1 - rate * decay * (multiplier if c.decay_follows else 1.0))
            update.apply_to([(name, p)], rate * multiplier, 0.0)

    def adapted(
        self,
        support: Tensor,
        cotangent: Cotangent,
        rate: float,
        steps: int,
        second_order: bool = False,
        which: str = "all",
    ) -> Adapted:
        if which == "readout":
            return AdaptedReadout(self, support, cotangent, rate, steps, second_order)
        return AdaptedMLP(self, support, cotangent, rate, steps, second_order, which)

    def readout_features(self, x: Tensor) -> Tensor:
        return self.features(x)

    def adapted_readout(
        self, support: Tensor, cotangent: Cotangent, rate: float, steps: int
    ) -> Callable[[Tensor], Tensor]:
        return adapted_from(self, support, cotangent, rate, steps)

    @torch.no_grad()
    def hidden_with_trace(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x^L (n, n_L), and all activations x^0..x^L."""
        p, activations = dict(self.named_parameters()), [x]
        for l in range(1, self.depth + 1):
            activations.append(self.phi(self._layer(l, activations[-1], p)))
        return activations[-1], activations

    def readout_of(self, features: Tensor, parameters: Parameters) -> Tensor:
        return self._layer(self.depth + 1, features, dict(self.named_parameters()) | parameters)

    def readout_parameters(self) -> Parameters:
        if self.multipliers.frozen_readout:
            return {}
        return {name: p for name, p in self.named_parameters() if self.is_readout(name)}

    def readout_kernel(self, features: Tensor, others: Tensor) -> Tensor:
        return self.multipliers.weights[-1] ** 2 * torch.matmul(features, others.mT)

    @property
    def readout_constant(self) -> float:
        return self.multipliers.biases[-1] ** 2

    @torch.no_grad()
    def hidden_update(
        self, x: Tensor, at_features: Tensor, trace: list[Tensor], readout: Parameters, query
    ) -> DenseUpdate:
        """As in :class:`infwidth.models.readout.Readout`."""
        return DenseUpdate(readout | self._below(at_features.flatten(0, 1), trace))

    def _below(self, at_features: Tensor, activations: Sequence[Tensor]) -> Parameters:
        """Gradients of the hidden layers' parameters from the cotangent (n, n_L) of x^L.

        Projecting the gradient of h is projecting the gradients of weights and biases, at the price of the batch.
        """
        gradients, at_x = {}, at_features
        for l in range(self.depth, 0, -1):
            m, c = self.multipliers.weights[l - 1], self.multipliers.biases[l - 1]
            at_h = at_x * self.dphi(activations[l])
            projected = self._in_span(l, at_h)
            gradients[f"w{l}"] = m * projected.mT @ activations[l - 1]
            if hasattr(self, f"b{l}"):
                gradients[f"b{l}"] = c * projected.sum(0)
            if l > 1:
                at_x = m * at_h @ getattr(self, f"w{l}")
        return gradients
