"""What a run with a pi-limit takes: rows that grow by one for every example, or within bounds; memory and work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from infwidth import ridge
from infwidth.models.cost import PROJECTION, TRAINING, Footprint, Shape, Work
from infwidth.models.pi import rows
from infwidth.ranks import Exchange


def exchanged(examples: int, rank: int, outputs: Sequence[int]) -> Exchange:
    """What passes between ranks in a pass forward and backward through growing layers of so many outputs."""
    return Exchange(2 * len(outputs), examples * sum(k + rank for k in outputs))


@dataclass(frozen=True)
class Growth:
    """rank: r, and the rows to begin with; outputs: k of each layer that grows; landmarks: p, None where all rows stay;
    older: how many times as many rows are projected onto them at a time."""

    rank: int
    outputs: tuple[int, ...]
    depth: int
    storage: torch.dtype
    dtype: torch.dtype
    landmarks: int | None = None
    older: float = 1.0

    @property
    def projected(self) -> int:
        """Rows that a projection drops."""
        return math.ceil(self.older * (self.landmarks or 0))

    def rows(self, shape: Shape) -> int:
        """M of a layer, at most."""
        appended = shape.batch * shape.steps
        if self.landmarks is not None:
            appended = min(appended, self.landmarks + self.projected + shape.batch)
        return self.rank + appended

    def state(self, shape: Shape) -> int:
        """The first layer, and the rows in use when they are most."""
        return self._first_layer(shape) + self._in_use(self.rows(shape))

    def _first_layer(self, shape: Shape) -> int:
        return shape.inputs * self.rank * self.dtype.itemsize

    def _in_use(self, rows: int) -> int:
        return rows * sum((k + self.rank) * self.storage.itemsize + self._wide for k in self.outputs)

    @property
    def _wide(self) -> int:
        """Bytes of a multiplier."""
        return max(self.dtype.itemsize, 4)

    def footprint(self, shape: Shape) -> Footprint:
        """Tiles once taken are kept: of a batch's rows two functions from the forward to the backward pass, and those
        that evaluations are computed in, one after the other."""
        own = shape.ranks.share(self.rows(shape))
        tiles = self._traced(own, shape.batch)
        if shape.evaluated_episodes:
            tiles += self._traced(own, shape.at_once)
        else:
            tiles += 3 * len(self.outputs) * shape.at_once * min(own, rows.BLOCK) * self.dtype.itemsize
        phases = {TRAINING: self._first_layer(shape), PROJECTION: self._for_projections(shape)}
        # Of rows that stay where they are a snapshot has the multipliers alone.
        kept = self._in_use(own) if self.landmarks else own * self._wide * len(self.outputs)
        return Footprint(
            self._first_layer(shape) + self._in_use(own) + tiles, self._first_layer(shape) + kept, phases, self.rank
        )

    def _traced(self, rows: int, examples: int) -> int:
        return 2 * len(self.outputs) * examples * rows * self.dtype.itemsize

    def _projections(self, shape: Shape) -> int:
        """How many there are of each layer."""
        if self.landmarks is None:
            return 0
        return max(0, (shape.batch * shape.steps - self.landmarks) // self.projected)

    def _for_projections(self, shape: Shape) -> int:
        """V of the landmarks and what it is factorised with, and copies of the rows in question."""
        if not self._projections(shape):
            return 0
        p, size = self.landmarks, self.dtype.itemsize
        copies = [self.projected * (k + self.rank) * size + p * (self.rank * size + 24 * k) for k in self.outputs]
        return ridge.memory(p, self.dtype) + max(copies)

    def work(self, shape: Shape) -> Work:
        # Operations for each example and row; the backward pass takes as many.
        forward = 2 * sum(self.rank + k for k in self.outputs)
        examples = shape.batch * shape.steps
        mean = self._mean_rows(examples) / shape.ranks.size
        pairs, evaluated = examples * mean, shape.evaluated * mean
        dense = shape.inputs * self.rank * (4 * examples + 2 * shape.evaluated)
        flops = 2 * forward * pairs + forward * evaluated + dense
        expectations = self.depth * (pairs + evaluated)
        product = (max(shape.batch, 1), self.rank, min(8 * rows.BLOCK, math.ceil(mean)))
        if times := self._projections(shape):
            flops += times * sum(self._flops_of_projection(k) for k in self.outputs)
            p, o = self.landmarks, self.projected
            expectations += times * len(self.outputs) * (p * p / 2 + p * o + o * o / 2)
        return Work(flops, 0, shape.steps, expectations, product)

    def _mean_rows(self, examples: int) -> float:
        """Over the steps of a run."""
        if self.landmarks is None or examples <= self.landmarks + self.projected:
            return self.rank + examples / 2
        first = self.landmarks + self.projected
        later = self.landmarks + self.projected / 2
        return self.rank + (first * first / 2 + (examples - first) * later) / examples

    def _flops_of_projection(self, k: int) -> float:
        """The kernels of landmarks and rows, of the symmetric ones a half; the factor, and what is solved with it."""
        p, o, r = self.landmarks, self.projected, self.rank
        return p * p * r + 2 * p * o * (r + k) + o * o * (r + k) + p**3 / 3 + 2 * p * p * k
