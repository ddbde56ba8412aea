"""model=mu_limit: the infinite-width limit of mu-P for one linear hidden layer."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from infwidth.config import key
from infwidth.errors import ConfigError
from infwidth.models.contract import Model
from infwidth.models.cost import Footprint, Shape, Sizes, Work
from infwidth.models.family import Family, FamilyConfig, Offers
from infwidth.models.linear import start
from infwidth.models.linear.adapted import ADAPTS
from infwidth.parametrization import ABC, named, require_limit
from infwidth.ranks import Exchange


@dataclass(frozen=True, kw_only=True)
class MuLimitConfig(FamilyConfig):
    """conf/model/mu_limit.yaml"""

    name: Literal["mu_limit"]
    depth: int = key(at_least=1, default=1)
    activation: Literal["linear", "relu"] = "linear"
    sigma_u: float = key(above=0, default=1.0)
    sigma_v: float = key(at_least=0, default=0.03125)
    alpha: float = key(at_least=0, default=1.0)

    def own(self) -> ABC:
        if self.depth != 1 or self.activation != "linear":
            raise ConfigError(
                f"model=mu_limit is computable for one linear hidden layer only, not for model.depth={self.depth} with "
                f"model.activation={self.activation}: the state of a deep or nonlinear mu-limit is not "
                "finite-dimensional. The limit that is computable there is model=pi_limit, the limit of projected SGD."
            )
        return named("mup", 1)

    def check(self, abc: ABC) -> None:
        require_limit(abc, "mu", self.name)

    def offers(self) -> Offers:
        return Offers(bags=True, adapts=ADAPTS)

    def shortened(self) -> dict[str, Any]:
        """Keys of a much shorter run that takes every path of a whole one: as they are."""
        return {}

    def idle(self) -> tuple[str, ...]:
        return ()

    def build(self, abc: ABC, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        sizes, sigmas = (shape.inputs, shape.outputs), (self.sigma_u, self.sigma_v)
        return start.mu_limit(*sizes, *sigmas, self.alpha, dtype, shape.bags, shape.ranks)

    def grows_with(self) -> str:
        return "inputs"

    def splits(self, shape: Shape) -> Literal["coordinates"] | None:
        return "coordinates" if shape.bags else None

    def exchanged(self, shape: Shape, sizes: Sizes | None, clipped: bool) -> Exchange:
        return start.exchanged(sizes, self.alpha, clipped)

    def _coordinates(self, shape: Shape) -> int:
        return shape.ranks.share(start.mu_limit_dimension(shape.inputs, shape.outputs, self.sigma_v))

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        return None if sizes is None else start.work(self._coordinates(shape), sizes, dtype.itemsize) * shape.steps

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        return start.state(self._coordinates(shape), shape, dtype)

    def footprint(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Footprint:
        m = self._coordinates(shape)
        turned = 0 if shape.bags else m * shape.inputs * dtype.itemsize
        return start.footprint(m, shape, sizes, dtype, turned)


FAMILY = Family("mu_limit", MuLimitConfig)
