"""What a run with a pi-limit takes: rows that grow by one for every example, or within bounds; memory and work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from infwidth.models.cost import Shape, Work
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
        """The first layer, and the rows in use at the end."""
        return shape.inputs * self.rank * self.dtype.itemsize + self._in_use(self.rows(shape))

    def _in_use(self, rows: int) -> int:
        return sum(rows * ((k + self.rank) * self.storage.itemsize + 4) for k in self.outputs)

    def memory(self, shape: Shape) -> int:
        """The growing arrays, what is kept of a batch from its forward to its backward pass, and the projection's."""
        length = shape.ranks.share(self.rows(shape))
        arrays = sum(rows.bytes_of(length, k, self.rank, self.storage) for k in self.outputs)
        kept = 2 * self.depth * shape.batch * length * self.dtype.itemsize
        return arrays + kept + shape.inputs * self.rank * self.dtype.itemsize + self._for_projections(shape)

    def _projections(self, shape: Shape) -> int:
        """How many there are of each layer."""
        if self.landmarks is None:
            return 0
        return max(0, (shape.batch * shape.steps - self.landmarks) // self.projected)

    def _for_projections(self, shape: Shape) -> int:
        """V of the landmarks, copies of the rows in question, and the best state so far, which a projection leaves."""
        if not self._projections(shape):
            return 0
        p, size = self.landmarks, self.dtype.itemsize
        copies = [self.projected * (k + self.rank) * size + p * (self.rank * size + 28 * k) for k in self.outputs]
        return p * p * size + max(copies) + self._in_use(shape.ranks.share(self.rows(shape)))

    def work(self, shape: Shape) -> Work:
        # Operations for each example and row; the backward pass takes as many.
        forward = 2 * sum(self.rank + k for k in self.outputs)
        examples = shape.batch * shape.steps
        mean = self._mean_rows(examples) / shape.ranks.size
        pairs, evaluated = examples * mean, shape.evaluated * mean
        dense = shape.inputs * self.rank * (4 * examples + 2 * shape.evaluated)
        flops = 2 * forward * pairs + forward * evaluated + dense
        expectations = self.depth * (pairs + evaluated)
        product = (max(shape.batch, 1), self.rank, 8 * rows.BLOCK)
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
