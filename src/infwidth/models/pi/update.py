"""The gradient of a pi-limit: dense for the first layer and the biases, rows to append for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from infwidth.models.pi.growing import function_norm
from infwidth.models.updates import Update

if TYPE_CHECKING:
    from infwidth.models.pi.limit import PiLimit

Points = Sequence[tuple[Tensor, Tensor, Tensor]]
"""What a growing layer gets from every kind of point: (dg^l, unit, s), the episode dimension first."""


class PiUpdate(Update):
    """dA^1 (d, r); for l = 2..L+1 rows (dA^l, B^l); bias gradients. Factors of clipping are kept aside."""

    clip_epsilon = 0.0

    def __init__(
        self,
        first: Tensor,
        rows: Mapping[int, tuple[Tensor, Tensor]],
        biases: Mapping[int, Tensor],
        uncounted: tuple[str, ...] = (),
        factors=None,
    ):
        self.first, self.rows, self.biases, self.uncounted, self.factors = (
            first,
            dict(rows),
            dict(biases),
            uncounted,
            factors or {},
        )

    def norms(self) -> dict[str, Tensor]:
        norms = {"A1": self.first.norm()} | {f"A{l}": function_norm(A, B) for l, (A, B) in self.rows.items()}
        norms |= {f"b{l}": g.norm() for l, g in self.biases.items()}
        return {k: n * self.factor(k) for k, n in norms.items() if k not in self.uncounted}

    def factor(self, name: str) -> Tensor | float:
        return self.factors.get(name, 1.0)

    def scaled(self, factors: Mapping[str, Tensor]) -> PiUpdate:
        # What is left out of the norm is the frozen readout, which is not applied: it takes no factor.
        found = {name: self.factor(name) * factor for name, factor in factors.items()}
        return PiUpdate(self.first, self.rows, self.biases, self.uncounted, found)


def joined(net: PiLimit, first: Sequence[tuple[Tensor, Tensor]], points: Mapping[int, Points]) -> PiUpdate:
    """An update from what each layer gets, joined by episode: A^1 from (x, dg^1), growing layers from their points."""
    c, rows, biases = net.factors, {}, {}
    for l, kinds in points.items():
        A = torch.cat([d * s[..., None] for d, _, s in kinds], 1).flatten(0, 1)
        B = torch.cat([unit for _, unit, _ in kinds], 1).flatten(0, 1)
        rows[l], biases[l] = (A, B), net.beta(l) * sum(d.sum((0, 1)) for d, _, _ in kinds)
    biases[1] = c.alpha_1 * c.beta * sum(d.sum((0, 1)) for _, d in first)
    A1 = c.alpha_1 * sum(x.flatten(0, 1).mT @ d.flatten(0, 1) for x, d in first)
    return PiUpdate(A1, rows, biases, net.uncounted())


def added(updates: Sequence[PiUpdate]) -> PiUpdate:
    """The update of a sum of losses from the updates of its terms, none of which has been scaled: their rows one after
    another, the rest added up."""
    rows = {
        l: tuple(torch.cat(parts) for parts in zip(*(u.rows[l] for u in updates), strict=True)) for l in updates[0].rows
    }
    biases = {l: sum(u.biases[l] for u in updates) for l in updates[0].biases}
    return PiUpdate(sum(u.first for u in updates), rows, biases, updates[0].uncounted)
