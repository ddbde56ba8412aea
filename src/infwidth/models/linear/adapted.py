"""Few-shot adaptation of the one-hidden-layer linear network, without a copy of U for each episode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from infwidth.models.contract import Adapted, Cotangent
from infwidth.models.updates import DenseUpdate

if TYPE_CHECKING:
    from infwidth.models.linear.net import LinearNet

ADAPTS = frozenset({("all", "first"), ("all", "second")})
"""What adapts, and the order of the meta-gradient through it."""


class AdaptedLinear(Adapted):
    """A LinearNet adapted to each of T episodes without a copy of U per episode.

    SGD moves U by multiples of outer products with the support inputs S, so the adapted matrix is U - EᵀS with E
    (T, support, m) the accumulated readout errors. Activations then follow from those of the base network:
    h'(x) = h(x) - (x Sᵀ + alpha^2) E.
    """

    def __init__(
        self, net: LinearNet, support: Tensor, cotangent: Cotangent, rate: float, steps: int, second_order: bool
    ):
        self.net, self.support, self.second_order = net, support, second_order
        with torch.no_grad():
            base = net.hidden(support)
        with torch.set_grad_enabled(second_order):
            # Second order differentiates by activations, from which the gradient of U follows as outer products;
            # b acts through the activations, so it needs no leaf of its own.
            self.support_hidden, self.V0 = self._leaf(base), self._leaf(net.V)
            gram = self._similarity(support)
            h, self.V, self.E = self.support_hidden, self.V0.expand(len(support), -1, -1), None
            for _ in range(steps):
                if self.E is not None:
                    h = torch.baddbmm(self.support_hidden, gram, self.E, alpha=-1)
                delta = rate * net.scale * cotangent(net.scale * torch.matmul(h, self.V.mT))
                self.E = torch.bmm(delta, self.V) if self.E is None else torch.baddbmm(self.E, delta, self.V)
                self.V = torch.baddbmm(self.V, delta.mT, h, alpha=-1)

    def _leaf(self, x: Tensor) -> Tensor:
        return x.detach().requires_grad_() if self.second_order else x.detach()

    def _similarity(self, x: Tensor) -> Tensor:
        return torch.matmul(x, self.support.mT) + self.net.alpha**2

    def _hidden(self, query: Tensor, base: Tensor) -> Tensor:
        return base if self.E is None else torch.baddbmm(base, self._similarity(query), self.E, alpha=-1)

    @torch.no_grad()
    def __call__(self, query: Tensor) -> Tensor:
        return self.net.scale * torch.matmul(self._hidden(query, self.net.hidden(query)), self.V.mT)

    def linearized(self, query: Tensor):
        return self._second_order(query) if self.second_order else self._first_order(query)

    @torch.no_grad()
    def _first_order(self, query: Tensor):
        """The gradient at the adapted parameters, applied to the base ones."""
        net, h = self.net, self._hidden(query, self.net.hidden(query))
        outputs = net.scale * torch.matmul(h, self.V.mT)

        def pullback(cotangent: Tensor) -> DenseUpdate:
            delta = net.scale * cotangent
            at_query = torch.bmm(delta, self.V).flatten(0, 1)
            return net.assembled(at_query, query.flatten(0, 1), delta.flatten(0, 1).mT @ h.flatten(0, 1))

        return outputs, pullback

    def _second_order(self, query: Tensor):
        """The gradient through the adaptation."""
        net, base = self.net, self._leaf(self.net.hidden(query))
        outputs = net.scale * torch.matmul(self._hidden(query, base), self.V.mT)

        def pullback(cotangent: Tensor) -> DenseUpdate:
            at_query, at_support, V = torch.autograd.grad(
                outputs, (base, self.support_hidden, self.V0), cotangent, materialize_grads=True
            )
            at_hidden = torch.cat([at_query.flatten(0, 1), at_support.flatten(0, 1)])
            return net.assembled(at_hidden, torch.cat([query.flatten(0, 1), self.support.flatten(0, 1)]), V)

        return outputs.detach(), pullback
