"""model=finite: a network of finite width, linear with one hidden layer or a multilayer perceptron."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from infwidth.config import key
from infwidth.errors import ConfigError
from infwidth.models import linear, mlp
from infwidth.models.contract import Model
from infwidth.models.cost import Footprint, Shape, Sizes, Work, footprint_of_network, of_dense_network
from infwidth.models.family import Family, FamilyConfig, Offers
from infwidth.models.linear import start
from infwidth.models.linear.adapted import ADAPTS as LINEAR_ADAPTS
from infwidth.models.mlp.adapted import ADAPTS
from infwidth.models.mlp.multipliers import Factors
from infwidth.models.mlp.start import layers
from infwidth.parametrization import ABC, named
from infwidth.ranks import Exchange


@dataclass(frozen=True, kw_only=True)
class MultipliersConfig:
    """conf/model/finite.yaml: multipliers"""

    alpha_1: float = key(at_least=0, default=1.0)
    alpha_out: float = key(at_least=0, default=1.0)
    alpha_readout: float = key(at_least=0, default=0.0)
    first: float = key(at_least=0, default=1.0)
    readout: float = key(at_least=0, default=1.0)
    bias: float = key(at_least=0, default=1.0)
    decay_follows: bool = False

    def factors(self, alpha: float) -> Factors:
        return Factors(
            self.alpha_1,
            self.alpha_out,
            alpha,
            self.alpha_readout,
            self.first,
            self.readout,
            self.bias,
            self.decay_follows,
        )


@dataclass(frozen=True, kw_only=True)
class FiniteConfig(FamilyConfig):
    """conf/model/finite.yaml"""

    name: Literal["finite"]
    width: int = key(at_least=1, default=512)
    depth: int = key(at_least=1, default=1)
    activation: Literal["linear", "relu"] = "linear"
    sigma_u: float = key(above=0, default=1.0)
    sigma_hidden: float = key(above=0, default=1.0)
    sigma_v: float = key(at_least=0, default=0.03125)
    alpha: float = key(at_least=0, default=1.0)
    initial: Literal["gaussian", "uniform"] | None = None
    change_of_basis: bool = True
    base_width: int | None = key(at_least=1, default=None)
    multipliers: MultipliersConfig | None = None

    @property
    def linear(self) -> bool:
        return self.depth == 1 and self.activation == "linear"

    def own(self) -> ABC:
        return named("mup", self.depth)

    def check(self, abc: ABC) -> None:
        if self.linear and (self.multipliers or self.base_width):
            raise ConfigError(
                "model.multipliers and model.base_width are for deep or nonlinear networks; set them to null, or "
                "model.activation=relu."
            )
        if not self.linear and self.initial == "uniform":
            raise ConfigError(
                "model.initial=uniform is for the linear network; deep or nonlinear ones take model.initial=gaussian."
            )

    def offers(self) -> Offers:
        return Offers(bags=True, adapts=LINEAR_ADAPTS) if self.linear else Offers(adapts=ADAPTS)

    def shortened(self) -> dict[str, Any]:
        """Keys of a much shorter run that takes every path of a whole one: as they are."""
        return {}

    def idle(self) -> tuple[str, ...]:
        return ("sigma_hidden",) if self.depth == 1 else ("change_of_basis",)

    def build(self, abc: ABC, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        sizes = (self.width, shape.inputs, shape.outputs)
        if self.linear:
            sigmas = (self.sigma_u, self.sigma_v)
            initial = self.initial or "gaussian"
            net = linear.finite(*sizes, *sigmas, self.alpha, abc, generator, dtype, initial, shape.bags)
            return linear.split(linear.reduced(net) if self.change_of_basis else net, shape.ranks)
        sigmas = (self.sigma_u, *[self.sigma_hidden] * (self.depth - 1), self.sigma_v)
        factors = self.multipliers.factors(self.alpha) if self.multipliers else Factors(beta=self.alpha)
        return mlp.finite(*sizes, sigmas, factors, abc, self.activation, generator, dtype, self.base_width or 1)

    def grows_with(self) -> str:
        return "inputs"

    def splits(self, shape: Shape) -> Literal["coordinates"] | None:
        return "coordinates" if self.linear and shape.bags else None

    def exchanged(self, shape: Shape, sizes: Sizes | None, clipped: bool) -> Exchange:
        return start.exchanged(sizes, self.alpha, clipped)

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        if sizes is not None:
            return start.work(shape.ranks.share(self.width), sizes, dtype.itemsize) * shape.steps
        return None if self.linear else of_dense_network(sum(self._layers(shape)), shape, dtype)

    def _layers(self, shape: Shape) -> list[int]:
        """Weights of each layer."""
        return layers(self.width, self.depth, shape.inputs, shape.outputs)

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        # Of the whole, also where it is split: every rank draws it whole before it keeps its share.
        if self.linear:
            return start.state(self._dimension(shape), shape, dtype)
        return (sum(self._layers(shape)) + self.width * self.depth) * dtype.itemsize

    def _dimension(self, shape: Shape) -> int:
        """How many coordinates the linear network is trained in."""
        span = shape.inputs + shape.outputs * (self.sigma_v > 0)
        return min(self.width, span) if self.change_of_basis else self.width

    def footprint(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Footprint:
        if not self.linear:
            return footprint_of_network(self._layers(shape), self.memory(shape, dtype), self.width, shape, dtype)
        m = self._dimension(shape)
        made = self.width * shape.inputs * dtype.itemsize  # the first layer, once more, as it was drawn
        if m < self.width:  # with what spans it, and the basis of that, three times in float64
            made = self.width * (shape.inputs + shape.outputs) * (2 * dtype.itemsize + 3 * 8)
        return start.footprint(m, shape, sizes, dtype, made)


FAMILY = Family("finite", FiniteConfig)
