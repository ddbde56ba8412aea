"""Adaptation of the readout alone: what the adapted outputs are as a function of the hidden features.

Whatever the readout is, SGD moves it by sums over the support of outer products of loss derivatives and features,
so that the adapted outputs need no copy of it:

    f'(x) = f(x) + sum_j (K(x, x_j) + c) a_j,   a <- a - rate dloss/df' at the support,

with K the inner product of features that belongs to the readout and c that of its bias. Differentiating this by
the features, which a whole meta-batch computes in one pass, differentiates through the adaptation (second order).
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from infwidth.models.contract import Adapted, Cotangent, Update


def adapted_outputs(
    at_support: Tensor,
    at_query: Tensor,
    K_support: Tensor,
    K_query: Tensor,
    constant: float,
    cotangent: Cotangent,
    rate: float,
    steps: int,
) -> Tensor:
    """f' (T, Q, k) at the query after ``steps`` of SGD.

    at_support (T, S, k), at_query: f before; K_support (T, S, S), K_query (T, Q, S); constant: c.
    """
    a = torch.zeros_like(at_support)
    for _ in range(steps):
        a = a - rate * cotangent(at_support + torch.bmm(K_support, a) + constant * a.sum(1, keepdim=True))
    return at_query + torch.bmm(K_query, a) + constant * a.sum(1, keepdim=True)


class Readout(Protocol):
    """What a model offers whose readout adapts."""

    def hidden_with_trace(self, x: Tensor) -> tuple[Tensor, Any]:
        """Features (n, f) of inputs (n, d), and what a backward pass from them needs."""

    def readout_of(self, features: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """Outputs before adaptation (T, n, k), differentiable by features (T, n, f) and the readout's parameters."""

    def readout_parameters(self) -> dict[str, Tensor]:
        """Those that are trained between episodes."""

    def readout_kernel(self, features: Tensor, others: Tensor) -> Tensor:
        """K (T, n, m), differentiable."""

    readout_constant: float

    def hidden_update(
        self, x: Tensor, at_features: Tensor, trace: Any, readout: dict[str, Tensor], query: tuple[Tensor, Tensor]
    ) -> Update:
        """The update from what the three parts of the network get.

        From cotangents (T, n, f) of the features at inputs (T, n, d), with their trace; from the gradients of the
        readout's parameters; and from the features and the output cotangents of the query.
        """


class AdaptedReadout(Adapted):
    """A model after the readout's adaptation to each of T episodes.

    Query and support go through the hidden layers in one pass.
    """

    def __init__(
        self, net: Readout, support: Tensor, cotangent: Cotangent, rate: float, steps: int, second_order: bool
    ):
        self.net, self.support, self.cotangent = net, support, cotangent
        self.rate, self.steps, self.second_order = rate, steps, second_order

    def _hidden(self, query: Tensor) -> tuple[Tensor, Tensor, Any]:
        """Inputs (T, Q + S, d), their features, and the trace."""
        x = torch.cat([query, self.support], dim=1)
        features, trace = self.net.hidden_with_trace(x.flatten(0, 1))
        return x, features.reshape(*x.shape[:2], -1), trace

    @torch.no_grad()
    def __call__(self, query: Tensor) -> Tensor:
        at_query, at_support = self._hidden(query)[1].split([query.shape[1], self.support.shape[1]], dim=1)
        return adapted_from(self.net, at_support, self.cotangent, self.rate, self.steps)(at_query)

    def linearized(self, query: Tensor) -> tuple[Tensor, Callable[[Tensor], Update]]:
        x, features, trace = self._hidden(query)
        leaf = features.detach().requires_grad_()
        parameters = {name: p.detach().requires_grad_() for name, p in self.net.readout_parameters().items()}
        with torch.enable_grad():
            at_query, at_support = leaf.split([query.shape[1], self.support.shape[1]], dim=1)
            out = adapted_from(
                self.net, at_support, self.cotangent, self.rate, self.steps, parameters, self.second_order
            )(at_query)

        def pullback(cotangent: Tensor) -> Update:
            at_features, *gradients = torch.autograd.grad(
                out, [leaf, *parameters.values()], cotangent, materialize_grads=True
            )
            readout = dict(zip(parameters, gradients, strict=True))
            return self.net.hidden_update(x, at_features, trace, readout, (features[:, : query.shape[1]], cotangent))

        return out.detach(), pullback


def adapted_from(
    net: Readout,
    support: Tensor,
    cotangent: Cotangent,
    rate: float,
    steps: int,
    parameters: dict[str, Tensor] | None = None,
    second_order: bool = True,
) -> Callable[[Tensor], Tensor]:
    """Adapted outputs (T, Q, k) as a function of the query's features (T, Q, f); support: its features (T, S, f)."""
    parameters = net.readout_parameters() if parameters is None else parameters

    def outputs(query: Tensor) -> Tensor:
        seen = support if second_order else support.detach()
        at_support = net.readout_of(seen, parameters)
        K = net.readout_kernel(seen, seen)
        if not second_order:
            at_support, K = at_support.detach(), K.detach()
        return adapted_outputs(
            at_support,
            net.readout_of(query, parameters),
            K,
            net.readout_kernel(query, seen),
            net.readout_constant,
            cotangent,
            rate,
            steps,
        )

    return outputs
