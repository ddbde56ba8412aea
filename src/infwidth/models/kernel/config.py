"""What conf/model/nngp_limit.yaml and ntk_limit.yaml share."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from infwidth import ridge
from infwidth.config import key
from infwidth.errors import ConfigError
from infwidth.models.contract import Model
from infwidth.models.cost import EVALUATION, FIT, TRAINING, Footprint, Shape, Sizes, Work
from infwidth.models.family import FamilyConfig, Offers
from infwidth.models.kernel.bag_machine import BagKernelMachine
from infwidth.models.kernel.deep import DeepKernel
from infwidth.models.kernel.general import GeneralKernel
from infwidth.models.kernel.machine import TILE, KernelMachine
from infwidth.models.kernel.one_layer import Activation, Kernel
from infwidth.models.kernel.regression import KernelRegression
from infwidth.parametrization import ABC, named, require_limit

REGULARISER = 1e-4
"""Added to the diagonal of kernel regression, as published."""

CACHE_LINE = 64
"""Bytes that are moved for each number that lies apart from others."""

REGRESSION_ONLY = ("regularisers", "choose_on")
TP4_ONLY, PILIM_ONLY = ("sigma_u", "sigma_v"), ("sigma_w", "weight_rates", "bias_rates")


@dataclass(frozen=True, kw_only=True)
class KernelConfig(FamilyConfig):
    """conf/model/nngp_limit.yaml and ntk_limit.yaml"""

    name: Literal["nngp_limit", "ntk_limit"]
    depth: int = key(at_least=1, default=1)
    activation: Activation = "relu"
    sigma_u: float = key(above=0, default=1.0)
    sigma_v: float = key(at_least=0, default=1.0)
    sigma_b: float = key(at_least=0, default=1.0)
    convention: Literal["tp4", "pilim"] | None = None
    solve: Literal["descent", "regression"] | None = None
    kernel: Literal["true", "as_published"] | None = None
    sigma_w: float | None = key(above=0, default=None)
    weight_rates: tuple[float, ...] | None = key(at_least=0, default=None)
    bias_rates: tuple[float, ...] | None = key(at_least=0, default=None)
    regularisers: tuple[float, ...] | None = key(above=0, default=None)
    choose_on: int | None = key(at_least=10, default=None)

    @property
    def tangent(self) -> bool:
        return self.name == "ntk_limit"

    @property
    def pilim(self) -> bool:
        return self.convention == "pilim"

    def own(self) -> ABC:
        if self.tangent:
            return named("ntk", self.depth)
        return named("standard", 1, c=1) if self.depth == 1 else named("readout_only", self.depth)

    def check(self, abc: ABC) -> None:
        require_limit(abc, "ntk" if self.tangent else "nngp", self.name)
        if self.solve == "regression" and not self.pilim:
            raise ConfigError("model.solve=regression takes model.convention=pilim.")
        if self.kernel == "as_published" and not self.pilim:
            raise ConfigError("model.kernel=as_published is PiLim's NTK; it takes model.convention=pilim.")
        if self.kernel == "as_published" and not self.tangent:
            raise ConfigError(
                "model.kernel=as_published is a kernel of model=ntk_limit; the published NNGP is the true one."
            )
        if self.kernel == "as_published" and self.activation != "relu":
            raise ConfigError("model.kernel=as_published is a kernel of ReLU networks; set model.activation=relu.")
        if not self.pilim and self.depth != 1:
            raise ConfigError(
                f"model.convention=tp4 has kernels of one hidden layer, not of model.depth={self.depth}; "
                "model.convention=pilim has deeper ones."
            )
        for name in ("weight_rates", "bias_rates"):
            given = getattr(self, name) or ()
            if len(given) not in (0, self.depth + 1):
                raise ConfigError(
                    f"model.{name} has {len(given)} multipliers; model.depth={self.depth} has {self.depth + 1} layers "
                    "of weights."
                )

    def offers(self) -> Offers:
        if self.solve == "regression":
            return Offers(closed_form=True)
        bags = not self.pilim and self.activation == "linear" and self.sigma_b == 0
        return Offers(bags=bags, adapts=frozenset({("all", "first")}))

    def shortened(self) -> dict[str, Any]:
        """Keys of a much shorter run that takes every path of a whole one: as they are."""
        return {}

    def idle(self) -> tuple[str, ...]:
        """Keys without effect at these values of the others."""
        found = TP4_ONLY if self.pilim else PILIM_ONLY
        if self.solve != "regression":
            found += REGRESSION_ONLY
        elif len(self.regularisers or ()) < 2:
            found += ("choose_on",)
        if not self.tangent:  # the NNGP depends on no readout and on no rate
            found += ("sigma_v", "weight_rates", "bias_rates")
        return found

    def build(self, abc: ABC, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        sizes = (shape.inputs, shape.outputs)
        if self.solve == "regression":
            return KernelRegression(
                self.deep_kernel(), self.regularisers or (REGULARISER,), self.choose_on, *sizes, dtype
            )
        if self.pilim:
            return KernelMachine(self.deep_kernel(), *sizes, dtype)
        kernel = Kernel(self.activation, self.tangent, self.sigma_u, self.sigma_v, self.sigma_b)
        return (BagKernelMachine if shape.bags else KernelMachine)(kernel, *sizes, dtype)

    def deep_kernel(self) -> DeepKernel | GeneralKernel:
        sizes = (self.depth, (self.sigma_w or 1.0) ** 2, self.sigma_b**2, self.tangent)
        rates = (self.weight_rates or (), self.bias_rates or ())
        if self.activation != "relu":
            return GeneralKernel(self.activation, *sizes, *rates)
        return DeepKernel(*sizes, self.kernel == "as_published", *rates)

    def grows_with(self) -> str:
        return "examples" if self.solve == "regression" else "inputs"

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        if sizes is not None:
            numbers = sizes.words * sizes.asked
            moved = 3 * CACHE_LINE * numbers
            return Work(4 * sizes.bags * numbers, moved) * shape.steps
        if self.solve != "regression":
            return None
        n, pairs = shape.examples, shape.examples * (shape.examples / 2 + shape.evaluated)
        return Work(2 * shape.inputs * pairs + n**3 / 3, 0, 0, self.depth * pairs, (2048, 2048, 2048))

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        """An input and its coefficients for every example; of bags, which are few and known, the coefficients alone."""
        if shape.bags:
            return (shape.inputs + 1) * shape.outputs * dtype.itemsize
        examples = shape.examples if self.solve == "regression" else shape.batch * shape.steps
        return examples * (shape.inputs + shape.outputs) * dtype.itemsize

    def footprint(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Footprint:
        state, size = self.memory(shape, dtype), dtype.itemsize
        if shape.bags:
            step = 4 * int(sizes.words * sizes.asked) * size if sizes else 0
            return Footprint(state, state, {TRAINING: step, EVALUATION: 3 * shape.inputs * shape.at_once * size})
        evaluation = 4 * shape.inputs * shape.at_once * size
        if self.solve == "regression":
            # The examples are the task's own; scaled copies of them are there until the matrix is.
            n, copy = shape.examples, shape.examples * shape.inputs * size
            fit = max(2 * copy, copy + n * n * size, ridge.memory(n, dtype))
            return Footprint(n * shape.outputs * size, state, {FIT: fit, EVALUATION: evaluation})
        # Room for rows doubles when it is used up, and is then there twice for a moment.
        rows = shape.batch << max(shape.steps - 1, 0).bit_length() if shape.steps else 0
        held = rows * (shape.inputs + shape.outputs) * size
        # Tiles of steps, which grow with every step, stay with the C library when those of an evaluation are taken.
        tiles = [6 * min(TILE, examples * rows) * size for examples in (shape.batch, shape.at_once)]
        return Footprint(held, state, {TRAINING: tiles[0], EVALUATION: evaluation + sum(tiles)})
