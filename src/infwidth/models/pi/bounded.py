"""When the rows of a pi-limit are projected onto landmarks, and what that has done so far: growth within bounds.

The landmarks are a layer's newest rows: those of the last epoch, so that every training image has one, or a number of
them. All older rows but the initial ones are projected onto them (:mod:`infwidth.models.pi.landmarks`), once there are
enough of these to be worth it, and dropped. That is a function of its own, near the one that keeps all its rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from infwidth.models.pi.growing import GrowingLayer
from infwidth.models.pi.landmarks import Projection, projected

if TYPE_CHECKING:
    from infwidth.models.pi.limit import PiLimit

TOLERANCE = 0.05
"""The relative change of a layer's outputs on held-out inputs beyond which a projection warns."""

HELD_OUT = 1000
"""Held-out inputs on which the change is measured, at most."""

RECORDED = ("projections", "change", "bound", "error", "relative_error", "error_sum", "ridge")
"""What is known of a layer: how often it was projected; of the last time the relative change of its outputs on held-out
inputs, the certificate's bound on that change, the error in the kernel's norm, the same relative to what was projected,
and the ridge as a share of the kernel's diagonal; and the sum of all errors, each as the decay has left it."""


class Bounded(nn.Module):
    """landmarks: 'epoch' or a number of rows; older: how many times as many older rows call for a projection; initial:
    the rows that every growing layer starts with, which stay."""

    def __init__(self, landmarks: Literal["epoch"] | int, older: float, initial: Sequence[int]):
        super().__init__()
        self.landmarks, self.older, self.initial = landmarks, older, tuple(initial)
        self.register_buffer("epoch_start", torch.tensor(initial))  # rows of each layer when the epoch began
        self.register_buffer("record", torch.zeros(len(initial), len(RECORDED), dtype=torch.float64))

    def decayed(self, i: int, factor: float) -> None:
        """Layer i has been multiplied by the factor, and its errors with it."""
        self.record[i, RECORDED.index("error_sum")] *= factor

    def before_append(self, i: int, layer: GrowingLayer, unit: Tensor) -> None:
        """Rows with the unit features (b, r), which no row has yet, are about to be appended to layer i."""
        if self.landmarks != "epoch" and self._due(i, layer, self.landmarks):
            self._project(i, layer, self.landmarks, unit, torch.ones_like(unit[:, 0]))

    def end_of_epoch(self, net: PiLimit, held_out: Callable[[], Tensor] | None) -> dict[str, float]:
        """After a whole epoch; what is known of every layer's projections, by name."""
        newest = [layer.rows - start for layer, start in zip(net.layers, self.epoch_start.tolist(), strict=True)]
        due = [i for i, layer in enumerate(net.layers) if self.landmarks == "epoch" and self._due(i, layer, newest[i])]
        if due:
            # At features of the function as it is before any of its layers is projected.
            features = self._features(net, held_out)
            for i in due:
                self._project(i, net.layers[i], newest[i], *features[i])
        self.epoch_start.copy_(torch.tensor([layer.rows for layer in net.layers]))
        return self._numbers()

    def _due(self, i: int, layer: GrowingLayer, landmarks: int) -> bool:
        return 0 < landmarks and layer.rows - self.initial[i] - landmarks >= self.older * landmarks

    @staticmethod
    def _features(net: PiLimit, held_out: Callable[[], Tensor] | None) -> list[tuple[Tensor, Tensor]]:
        """Of every growing layer unit features (n, r) and norms (n,) of held-out inputs, none where there are none."""
        x = net.A1.new_empty(0, len(net.A1)) if held_out is None else held_out()[:HELD_OUT]
        return [(unit, s) for unit, s, _ in net.traced(x, net.depth + 1, keep=False)[1]]

    @torch.no_grad()
    def _project(self, i: int, layer: GrowingLayer, landmarks: int, unit: Tensor, s: Tensor) -> None:
        """Project layer i's older rows onto its newest; measure its outputs before and after at features (unit, s)."""
        first = layer.rows - landmarks
        (A, B, m), (_, Z, _) = layer.part(self.initial[i], first), layer.part(first, layer.rows)
        if not (A.isfinite().all() and Z.isfinite().all()):
            return  # training has diverged, and will be told so by its loss
        before = layer.forward(unit, s, keep=False)[0]
        ranks = layer.ranks  # the first of them solves for all
        found = projected(Z, B, A.mul_(m[:, None])) if ranks.first else None
        P = found.coefficients.contiguous() if found else A.new_empty(landmarks, layer.outputs, dtype=torch.float64)
        layer.absorb(self.initial[i], first, ranks.spread(P))
        scale = before.norm()
        change = ((layer.forward(unit, s, keep=False)[0] - before).norm() / scale).item() if scale > 0 else 0.0
        if found:
            bound = (found.spectral_error * s.norm() / scale).item() / 2**0.5 if scale > 0 else 0.0
            self._note(i, found, change, bound)
        ranks.spread(self.record)
        if change > TOLERANCE:
            warnings.warn(
                f"projected onto {landmarks} landmarks, layer {i + 2} gives outputs on held-out inputs that differ by "
                f"{100 * change:.1f} %, more than {100 * TOLERANCE:.0f} %; take more landmarks (model.landmarks).",
                stacklevel=3,
            )

    def _note(self, i: int, found: Projection, change: float, bound: float) -> None:
        """Record a projection of layer i."""
        past = dict(zip(RECORDED, self.record[i].tolist(), strict=True))
        now = {
            "projections": past["projections"] + 1,
            "change": change,
            "bound": bound,
            "error": found.error,
            "relative_error": found.error / found.norm if found.norm else 0.0,
            "error_sum": past["error_sum"] + found.error,
            "ridge": found.ridge,
        }
        self.record[i] = torch.tensor([now[name] for name in RECORDED], dtype=torch.float64)

    def _numbers(self) -> dict[str, float]:
        found = {}
        for l, record in enumerate(self.record.tolist(), start=2):
            if record[RECORDED.index("projections")]:
                found |= {f"{name}_{l}": value for name, value in zip(RECORDED, record, strict=True)}
        return found
