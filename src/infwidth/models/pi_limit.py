"""model=pi_limit: the infinite-width limit of projected SGD."""

from dataclasses import dataclass
from typing import Literal

import torch

from infwidth.models.contract import Model
from infwidth.models.cost import Shape, Sizes, Work
from infwidth.models.family import Family, Offers
from infwidth.models.pi import rows
from infwidth.models.pi.config import PiConfig
from infwidth.parametrization import ABC

FIRST_ORDER = frozenset((which, "first") for which in ("all", "readout", "hidden"))


@dataclass(frozen=True, kw_only=True)
class PiLimitConfig(PiConfig):
    """conf/model/pi_limit.yaml"""

    name: Literal["pi_limit"]
    storage: Literal["float32", "bfloat16", "float16"] | None = None

    def offers(self) -> Offers:
        frozen = self.readout == "zero" and not self.readout_multiplier
        return Offers(adapts=FIRST_ORDER | ({("readout", "second")} if frozen else set()))

    def build(self, abc: ABC, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        return self.limit(shape, generator, dtype, getattr(torch, self.storage) if self.storage else None)

    def grows_with(self) -> str:
        return "steps"

    def rows(self, shape: Shape) -> int:
        """M at the end of a run."""
        return self.rank + shape.batch * shape.steps

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        """The growing arrays, and what is kept of a step's batch from its forward to its backward pass."""
        storage, length = getattr(torch, self.storage) if self.storage else dtype, self.rows(shape)
        sizes = [self.rank] * (self.depth - 1) + [shape.outputs]
        arrays = sum(rows.bytes_of(length, k, self.rank, storage) for k in sizes)
        kept = 2 * self.depth * shape.batch * length * dtype.itemsize
        return arrays + kept + shape.inputs * self.rank * dtype.itemsize

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        r, hidden = self.rank, self.depth - 1
        # Operations for each example and row; the backward pass takes as many.
        forward = 2 * (hidden * 2 * r + r + shape.outputs)
        examples = shape.batch * shape.steps
        pairs = examples * (r + examples / 2)
        evaluated = shape.evaluated * (r + examples / 2)
        dense = shape.inputs * r * (4 * examples + 2 * shape.evaluated)
        flops = 2 * forward * pairs + forward * evaluated + dense
        product = (max(shape.batch, 1), r, 8 * rows.BLOCK)
        return Work(flops, 0, shape.steps, self.depth * (pairs + evaluated), product)


FAMILY = Family("pi_limit", PiLimitConfig, chooses=False)
