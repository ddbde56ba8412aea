"""model=pi_limit: the infinite-width limit of projected SGD."""

from dataclasses import dataclass
from typing import Literal

import torch

from infwidth.config import key
from infwidth.models.contract import Model
from infwidth.models.cost import Footprint, Shape, Sizes, Work
from infwidth.models.family import Family, Offers
from infwidth.models.pi.config import PiConfig
from infwidth.models.pi.cost import Growth, exchanged
from infwidth.parametrization import ABC
from infwidth.ranks import Exchange

FIRST_ORDER = frozenset((which, "first") for which in ("all", "readout", "hidden"))


@dataclass(frozen=True, kw_only=True)
class PiLimitConfig(PiConfig):
    """conf/model/pi_limit.yaml"""

    name: Literal["pi_limit"]
    storage: Literal["float32", "bfloat16", "float16"] | None = None
    landmarks: Literal["epoch"] | int | None = key(at_least=1, default=None)
    older_rows: float = key(above=0, default=1.0)

    def offers(self) -> Offers:
        return Offers(adapts=FIRST_ORDER | ({("readout", "second")} if self._frozen_at_zero else set()))

    @property
    def _frozen_at_zero(self) -> bool:
        return self.readout == "zero" and not self.readout_multiplier

    def idle(self) -> tuple[str, ...]:
        return ("older_rows",) if self.landmarks is None else ()

    def build(self, abc: ABC, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        storage = getattr(torch, self.storage) if self.storage else None
        return self.limit(shape, generator, dtype, storage, self.landmarks, self.older_rows)

    def splits(self, shape: Shape) -> Literal["rows"]:
        return "rows"

    def exchanged(self, shape: Shape, sizes: Sizes | None, clipped: bool) -> Exchange:
        """Of one pass forward and backward, to which projections and an adaptation of the hidden layers add theirs.

        A readout that is frozen at zero is adapted apart, once all know that it is zero.
        """
        hidden = [self.rank] * (self.depth - 1)
        if self._frozen_at_zero:
            return exchanged(shape.batch, self.rank, hidden) + Exchange(1, 1)
        return exchanged(shape.batch, self.rank, [*hidden, shape.outputs])

    def grows_with(self) -> str:
        return {None: "steps", "epoch": "examples"}.get(self.landmarks, "inputs")

    def _growth(self, shape: Shape, dtype: torch.dtype) -> Growth:
        trained = [self.rank] * (self.depth - 1) + [shape.outputs] * (self.readout_multiplier > 0)
        storage = getattr(torch, self.storage) if self.storage else dtype
        landmarks = self.landmarks
        if landmarks == "epoch":
            known = [n for n in (shape.batch * shape.per_epoch, shape.examples) if n]
            landmarks = min(known, default=None)
        return Growth(self.rank, tuple(trained), self.depth, storage, dtype, landmarks, self.older_rows)

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        return self._growth(shape, dtype).state(shape)

    def footprint(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Footprint:
        return self._growth(shape, dtype).footprint(shape)

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        return self._growth(shape, dtype).work(shape)


FAMILY = Family("pi_limit", PiLimitConfig, chooses=False)
