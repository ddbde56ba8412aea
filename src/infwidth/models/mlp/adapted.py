"""Few-shot adaptation of a multilayer perceptron with a copy of the adapting parameters for each episode."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from infwidth.models.contract import ADAPTING, Adapted, Cotangent
from infwidth.models.updates import DenseUpdate

if TYPE_CHECKING:
    from infwidth.models.mlp.net import MLP

ADAPTS = frozenset(itertools.product(("all", "readout", "hidden"), ("first", "second")))
"""What adapts, and the order of the meta-gradient through it."""


class AdaptedMLP(Adapted):
    """One copy per episode of the parameters that adapt, the others are shared.

    Adaptation takes no notice of the layers' multipliers of the learning rate. Where the readout alone adapts,
    AdaptedReadout needs no copy.
    """

    def __init__(
        self, net: MLP, support: Tensor, cotangent: Cotangent, rate: float, steps: int, second_order: bool, which: str
    ):
        self.net, self.second_order = net, second_order
        self.base = {name: p.detach().requires_grad_() for name, p in net.named_parameters()}
        hidden, readout = ADAPTING[which]
        names = [n for n in self.base if (readout if net.is_readout(n) else hidden)]
        with torch.enable_grad():
            self.p = {name: p.expand(len(support), *p.shape) if name in names else p for name, p in self.base.items()}
            for _ in range(steps):
                if not second_order:
                    self.p = {name: p.detach().requires_grad_() if name in names else p for name, p in self.p.items()}
                out = net.readout(net.hidden(support, self.p), self.p)
                # Episodes do not interact, so the gradient of the sum holds every episode's own.
                gradients = torch.autograd.grad(
                    out, [self.p[n] for n in names], cotangent(out), create_graph=second_order, materialize_grads=True
                )
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
            summed = {
                name: g if g.shape == self.base[name].shape else g.sum(0)
                for name, g in zip(leaves, gradients, strict=True)
            }
            return self.net.update(summed)

        return out.detach(), pullback
