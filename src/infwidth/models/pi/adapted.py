"""MAML over a pi-limit: each episode appends rows of its own, which are dropped when the query gradient has been taken.

All episodes of a meta-batch share the base rows, so every pass over these serves all of them; an episode's own rows are
few and are taken in batched products. Adaptation ignores the layers' multipliers of the learning rate.

First order. Second order is through the readout alone (:mod:`infwidth.models.readout`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from infwidth.gaussian import TWO_PI, relu_v, relu_v_step_v_root
from infwidth.models.contract import ADAPTING, Adapted, Cotangent
from infwidth.models.pi.growing import unit_rows
from infwidth.models.pi.update import PiUpdate, joined

if TYPE_CHECKING:
    from infwidth.models.pi.limit import PiLimit


def _units(g: Tensor) -> tuple[Tensor, Tensor]:
    unit, s = unit_rows(g.flatten(0, 1))
    return unit.reshape(g.shape), s.reshape(g.shape[:2])


class AdaptedPi(Adapted):
    """A PiLimit after ``steps`` of SGD on each episode's support (T, S, d); first-order pullbacks."""

    def __init__(
        self, net: PiLimit, support: Tensor, cotangent: Cotangent, rate: float, steps: int, which: str = "all"
    ):
        self.net, self.hidden, self.readout = net, *ADAPTING[which]
        T = len(support)
        self.first: list[
            tuple[Tensor, Tensor]
        ] = []  # (x, -rate alpha_1 dg^1) of each step: A^1 moves by sums of their outer products
        self.rows: list[list[tuple[Tensor, Tensor]]] = [[] for _ in net.layers]  # (weights, unit rows) of each step
        self.bias = [torch.zeros(T, len(b), dtype=b.dtype, device=b.device) for b in net.b]
        for _ in range(steps):
            out, trace = self._pass(support)
            self._step(support, cotangent(out), trace, rate)

    @torch.no_grad()
    def _pass(self, x: Tensor, keep: bool = True):
        """Outputs (T, n, k) and, to keep, per growing layer (unit, s, trace of the base rows)."""
        net, c, trace = self.net, self.net.factors, []
        g = c.alpha_1 * (x @ net.A1 + c.beta * (net.b[0] + self.bias[0][:, None]))
        for other, weights in self.first:
            g += c.alpha_1 * torch.bmm(torch.bmm(x, other.mT), weights)
        for l, layer in enumerate(net.layers, start=2):
            unit, s = _units(g)
            flat, base = layer.forward(unit.flatten(0, 1), s.flatten(), keep)
            g = flat.reshape(*x.shape[:2], -1)
            for weights, rows in self.rows[l - 2]:
                g += s[..., None] * torch.bmm(relu_v(torch.bmm(unit, rows.mT)), weights)
            g += net.beta(l) * (net.b[l - 1] + self.bias[l - 1][:, None])
            trace.append((unit, s, base))
        return c.alpha_out * g, trace

    @torch.no_grad()
    def _cotangents(self, delta: Tensor, trace, lowest: int = 1) -> dict[int, Tensor]:
        """dg^l (T, n, r) for l = L+1 .. lowest."""
        net = self.net
        found = {net.depth + 1: net.factors.alpha_out * delta}
        for l in range(net.depth + 1, lowest, -1):
            unit, _, base = trace[l - 2]
            dg = found[l]
            below = net.layers[l - 2].backward(dg.flatten(0, 1), unit.flatten(0, 1), base).reshape(unit.shape)
            for weights, rows in self.rows[l - 2]:
                _, step, root = relu_v_step_v_root(torch.bmm(unit, rows.mT))
                gamma = torch.bmm(dg, weights.mT) / TWO_PI
                below += torch.bmm(gamma * step, rows) + (gamma * root).sum(2, keepdim=True) * unit
            found[l - 1] = below
        return found

    def _step(self, x: Tensor, delta: Tensor, trace, rate: float) -> None:
        net, c = self.net, self.net.factors
        dg = self._cotangents(delta, trace, 1 if self.hidden else net.depth + 1)
        for l in range(2, net.depth + 2):
            if self.readout if l == net.depth + 1 else self.hidden:
                unit, s, _ = trace[l - 2]
                self.rows[l - 2].append((-rate * dg[l] * s[..., None], unit))
                self.bias[l - 1] = self.bias[l - 1] - rate * net.beta(l) * dg[l].sum(1)
        if self.hidden:
            self.first.append((x, -rate * c.alpha_1 * dg[1]))
            self.bias[0] = self.bias[0] - rate * c.alpha_1 * c.beta * dg[1].sum(1)

    def __call__(self, query: Tensor) -> Tensor:
        return self._pass(query, keep=False)[0]

    def linearized(self, query: Tensor):
        out, trace = self._pass(query)

        def pullback(cotangent: Tensor) -> PiUpdate:
            dg = self._cotangents(cotangent, trace)
            points = {l: [(dg[l], trace[l - 2][0], trace[l - 2][1])] for l in range(2, self.net.depth + 2)}
            return joined(self.net, [(query, dg[1])], points)

        return out, pullback
