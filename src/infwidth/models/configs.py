"""The config groups of the model families: conf/model and conf/parametrization.

Each model's config has three methods. build(parametrization, shape, generator, dtype) makes it on the CPU. memory(shape, dtype) predicts
the bytes of what it holds, before anything is allocated, growth and work arrays as large as it included; ``grows_with`` says which
part of the shape decides. work(shape, sizes, dtype) predicts what a run takes, None where that is not said.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from infwidth.config import key
from infwidth.errors import ConfigError
from infwidth.models import growing, linear, mlp
from infwidth.models.contract import BAGS, Model, Sizes, Work
from infwidth.models.deep_kernels import DeepKernel
from infwidth.models.kernels import BagKernelMachine, Kernel, KernelMachine
from infwidth.models.mlp import Factors
from infwidth.models.pi import PiLimit, pi_limit
from infwidth.models.pi_net import sampled
from infwidth.models.regression import KernelRegression
from infwidth.parametrization import ABC, named, require_limit

REGULARISER = 1e-4
"""Added to the diagonal of kernel regression, as published."""


@dataclass(frozen=True)
class Shape:
    """What a run asks of its model: the dimensions of inputs and outputs, and whether inputs are bags of indices; how many examples
    there are to train on, how many of them a step takes, how many steps there are, and how many examples are evaluated in all."""

    inputs: int
    outputs: int
    bags: bool = False
    examples: int = 0
    batch: int = 0
    steps: int = 0
    evaluated: int = 0


@dataclass(frozen=True, kw_only=True)
class ParametrizationConfig:
    """conf/parametrization: a name, or 'custom' with its exponents."""

    name: Literal["auto", "standard", "ntk", "mean_field", "mup", "custom"]
    a: tuple[float, ...] | None = None
    b: tuple[float, ...] | None = None
    c: float | None = None

    def build(self, auto: ABC, depth: int) -> ABC:
        """The abc-parametrization for ``depth`` hidden layers; ``auto`` is the model's own."""
        if self.name == "custom":
            if self.a is None or self.b is None or self.c is None:
                raise ConfigError(
                    "parametrization=custom needs parametrization.a, parametrization.b (one exponent per weight layer) and parametrization.c."
                )
            abc = ABC(self.a, self.b, self.c)
            if abc.depth != depth:
                raise ConfigError(
                    f"parametrization.a has {len(self.a)} exponents; a network of model.depth={depth} has {depth + 1} weight layers."
                )
            return abc
        if self.a is not None or self.b is not None:
            raise ConfigError(
                f"parametrization={self.name} has its own a and b; use parametrization=custom to give them."
            )
        return auto if self.name == "auto" else named(self.name, depth, self.c)


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
class FiniteConfig:
    """conf/model/finite.yaml"""

    name: Literal["finite"]
    width: int = key(at_least=1)
    depth: int = key(at_least=1)
    activation: Literal["linear", "relu"] = "linear"
    sigma_u: float = key(above=0, default=1.0)
    sigma_hidden: float = key(above=0, default=1.0)
    sigma_v: float = key(at_least=0, default=1.0)
    alpha: float = key(at_least=0, default=1.0)
    initial: Literal["gaussian", "uniform"] | None = None
    change_of_basis: bool = True
    base_width: int | None = key(at_least=1, default=None)
    multipliers: MultipliersConfig | None = None

    @property
    def linear(self) -> bool:
        return self.depth == 1 and self.activation == "linear"

    def build(
        self, parametrization: ParametrizationConfig, shape: Shape, generator: torch.Generator, dtype: torch.dtype
    ) -> Model:
        abc = parametrization.build(named("mup", self.depth), self.depth)
        if self.linear and (self.multipliers or self.base_width):
            raise ConfigError(
                "model.multipliers and model.base_width are for deep or nonlinear networks; set them to null, or model.activation=relu."
            )
        if self.linear:
            net = linear.finite(
                self.width,
                shape.inputs,
                shape.outputs,
                self.sigma_u,
                self.sigma_v,
                self.alpha,
                abc,
                generator,
                dtype,
                self.initial or "gaussian",
                shape.bags,
            )
            return linear.reduced(net) if self.change_of_basis else net
        if shape.bags:
            raise ConfigError(BAGS)
        if self.initial == "uniform":
            raise ConfigError(
                "model.initial=uniform is for the linear network; deep or nonlinear ones take model.initial=gaussian."
            )
        sigmas = (self.sigma_u, *[self.sigma_hidden] * (self.depth - 1), self.sigma_v)
        factors = self.multipliers.factors(self.alpha) if self.multipliers else Factors(beta=self.alpha)
        return mlp.finite(
            self.width,
            shape.inputs,
            shape.outputs,
            sigmas,
            factors,
            abc,
            self.activation,
            generator,
            dtype,
            self.base_width or 1,
        )

    grows_with = "inputs"

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        if sizes is not None:
            return linear.work(self.width, sizes, dtype.itemsize) * shape.steps
        return None if self.linear else _dense(self._weights(shape), shape, dtype)

    def _weights(self, shape: Shape) -> int:
        return self.width * (shape.inputs + shape.outputs + (self.depth - 1) * self.width)

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        return (self._weights(shape) + self.width * self.depth) * dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class MuLimitConfig:
    """conf/model/mu_limit.yaml"""

    name: Literal["mu_limit"]
    depth: int = key(at_least=1)
    activation: Literal["linear", "relu"] = "linear"
    sigma_u: float = key(above=0, default=1.0)
    sigma_v: float = key(at_least=0, default=1.0)
    alpha: float = key(at_least=0, default=1.0)

    def build(
        self, parametrization: ParametrizationConfig, shape: Shape, generator: torch.Generator, dtype: torch.dtype
    ) -> Model:
        if self.depth != 1 or self.activation != "linear":
            raise ConfigError(
                f"model=mu_limit is computable for one linear hidden layer only, not for model.depth={self.depth} with "
                f"model.activation={self.activation}: the state of a deep or nonlinear mu-limit is not finite-dimensional. "
                "The limit that is computable there is model=pi_limit, the limit of projected SGD."
            )
        require_limit(parametrization.build(named("mup", 1), 1), "mu", self.name)
        return linear.mu_limit(shape.inputs, shape.outputs, self.sigma_u, self.sigma_v, self.alpha, dtype, shape.bags)

    grows_with = "inputs"

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        m = linear.mu_limit_dimension(shape.inputs, shape.outputs, self.sigma_v)
        return None if sizes is None else linear.work(m, sizes, dtype.itemsize) * shape.steps

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        m = linear.mu_limit_dimension(shape.inputs, shape.outputs, self.sigma_v)
        return m * (shape.inputs + shape.outputs + 1) * dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class KernelConfig:
    """conf/model/nngp_limit.yaml and ntk_limit.yaml"""

    name: Literal["nngp_limit", "ntk_limit"]
    convention: Literal["tp4", "pilim"] | None = None
    solve: Literal["descent", "regression"] | None = None
    kernel: Literal["true", "as_published"] | None = None
    depth: int = key(at_least=1)
    activation: Literal["linear", "relu"] = "relu"
    sigma_u: float = key(above=0, default=1.0)
    sigma_v: float = key(at_least=0, default=1.0)
    sigma_b: float = key(at_least=0, default=0.0)
    sigma_w: float | None = key(above=0, default=None)
    weight_rates: tuple[float, ...] | None = key(at_least=0, default=None)
    bias_rates: tuple[float, ...] | None = key(at_least=0, default=None)
    regularisers: tuple[float, ...] | None = key(above=0, default=None)
    choose_on: int | None = key(at_least=10, default=None)

    @property
    def tangent(self) -> bool:
        return self.name == "ntk_limit"

    def build(
        self, parametrization: ParametrizationConfig, shape: Shape, generator: torch.Generator, dtype: torch.dtype
    ) -> Model:
        auto = named("ntk", self.depth) if self.tangent else named("standard", 1, c=1)
        require_limit(parametrization.build(auto, auto.depth), "ntk" if self.tangent else "nngp", self.name)
        if self.solve == "regression":
            if self.convention != "pilim" or shape.bags:
                raise ConfigError(
                    "model.solve=regression takes model.convention=pilim and dense inputs, such as task=cifar10."
                )
            return KernelRegression(
                self.deep_kernel(),
                self.regularisers or (REGULARISER,),
                self.choose_on,
                shape.inputs,
                shape.outputs,
                dtype,
            )
        if self.kernel == "as_published" and self.convention != "pilim":
            raise ConfigError("model.kernel=as_published is PiLim's NTK; it takes model.convention=pilim.")
        if self.convention == "pilim":
            if shape.bags:
                raise ConfigError(BAGS)
            return KernelMachine(self.deep_kernel(), shape.inputs, shape.outputs, dtype)
        if self.depth != 1:
            raise ConfigError(
                f"model.convention=tp4 has kernels of one hidden layer, not of model.depth={self.depth}; model.convention=pilim has deeper ones."
            )
        machine = BagKernelMachine if shape.bags else KernelMachine
        return machine(
            Kernel(self.activation, self.tangent, self.sigma_u, self.sigma_v, self.sigma_b),
            shape.inputs,
            shape.outputs,
            dtype,
        )

    def deep_kernel(self) -> DeepKernel:
        rates = {"weight_rates": self.weight_rates or (), "bias_rates": self.bias_rates or ()}
        for name, given in rates.items():
            if len(given) not in (0, self.depth + 1):
                raise ConfigError(
                    f"model.{name} has {len(given)} multipliers; model.depth={self.depth} has {self.depth + 1} layers of weights."
                )
        if self.kernel == "as_published" and not self.tangent:
            raise ConfigError(
                "model.kernel=as_published is a kernel of model=ntk_limit; the published NNGP is the true one."
            )
        if self.activation != "relu":
            raise ConfigError("model.convention=pilim has kernels of ReLU networks; set model.activation=relu.")
        return DeepKernel(
            self.depth,
            (self.sigma_w or 1.0) ** 2,
            self.sigma_b**2,
            self.tangent,
            self.kernel == "as_published",
            *rates.values(),
        )

    @property
    def grows_with(self) -> str:
        return "examples" if self.solve == "regression" else "inputs"

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        if sizes is not None:  # a cache line for each number
            return (
                Work(4 * sizes.bags * sizes.words * sizes.asked, 3 * 64 * sizes.words * sizes.asked, shape.steps and 1)
                * shape.steps
            )
        if self.solve != "regression":
            return None
        n, pairs = shape.examples, shape.examples * (shape.examples / 2 + shape.evaluated)
        return Work(2 * shape.inputs * pairs + n**3 / 3, 0, 0, self.depth * pairs, (2048, 2048, 2048))

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        if self.solve == "regression":
            return shape.examples * (shape.examples + 2 * shape.inputs + 4 * shape.outputs) * dtype.itemsize
        return (shape.inputs + 1) * shape.outputs * dtype.itemsize if shape.bags else 0


@dataclass(frozen=True, kw_only=True)
class PiConfig:
    """What conf/model/pi_limit.yaml and pi_net.yaml share."""

    depth: int = key(at_least=1)
    rank: int = key(at_least=1)
    alpha_1: float = key(at_least=0)
    alpha_out: float = key(at_least=0)
    beta: float = key(at_least=0)
    beta_readout: float | None = key(at_least=0)
    first_multiplier: float = key(at_least=0)
    readout_multiplier: float = key(at_least=0)
    bias_multiplier: float = key(at_least=0)
    decay_follows_multipliers: bool
    readout: Literal["gaussian", "zero"]

    def factors(self) -> Factors:
        beta_readout = self.beta if self.beta_readout is None else self.beta_readout
        multipliers = (self.first_multiplier, self.readout_multiplier, self.bias_multiplier)
        return Factors(
            self.alpha_1, self.alpha_out, self.beta, beta_readout, *multipliers, self.decay_follows_multipliers
        )

    grows_with = "inputs"
    own_parametrization = True

    def limit(
        self, shape: Shape, generator: torch.Generator, dtype: torch.dtype, storage: torch.dtype | None = None
    ) -> PiLimit:
        if shape.bags:
            raise ConfigError(BAGS)
        return pi_limit(
            shape.inputs,
            shape.outputs,
            self.rank,
            self.depth,
            self.factors(),
            self.readout == "zero",
            self.readout_multiplier > 0,
            generator,
            dtype,
            storage,
        )


@dataclass(frozen=True, kw_only=True)
class PiLimitConfig(PiConfig):
    """conf/model/pi_limit.yaml"""

    name: Literal["pi_limit"]
    storage: Literal["float32", "bfloat16", "float16"] | None

    def build(
        self, parametrization: ParametrizationConfig, shape: Shape, generator: torch.Generator, dtype: torch.dtype
    ) -> Model:
        return self.limit(shape, generator, dtype, getattr(torch, self.storage) if self.storage else None)

    grows_with = "steps"

    def rows(self, shape: Shape) -> int:
        """M at the end of a run."""
        return self.rank + shape.batch * shape.steps

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        """The growing arrays, and what is kept of a step's batch from its forward to its backward pass."""
        storage, rows = getattr(torch, self.storage) if self.storage else dtype, self.rows(shape)
        sizes = [self.rank] * (self.depth - 1) + [shape.outputs]
        kept = 2 * self.depth * shape.batch * rows * dtype.itemsize
        return (
            sum(growing.bytes_of(rows, k, self.rank, storage) for k in sizes)
            + kept
            + shape.inputs * self.rank * dtype.itemsize
        )

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        r, hidden = self.rank, self.depth - 1
        forward = 2 * (
            hidden * 2 * r + r + shape.outputs
        )  # operations for each example and row; the backward pass takes as many
        pairs = shape.batch * shape.steps * (r + shape.batch * shape.steps / 2)
        evaluated = shape.evaluated * (r + shape.batch * shape.steps / 2)
        dense = shape.inputs * r * (4 * shape.batch * shape.steps + 2 * shape.evaluated)
        return Work(
            2 * forward * pairs + forward * evaluated + dense,
            0,
            shape.steps,
            self.depth * (pairs + evaluated),
            (max(shape.batch, 1), r, 8 * growing.BLOCK),
        )


@dataclass(frozen=True, kw_only=True)
class PiNetConfig(PiConfig):
    """conf/model/pi_net.yaml"""

    name: Literal["pi_net"]
    width: int = key(at_least=1)
    sampled_from: str | None = None

    def build(
        self, parametrization: ParametrizationConfig, shape: Shape, generator: torch.Generator, dtype: torch.dtype
    ) -> Model:
        if self.rank >= self.width:
            print(
                f"model.rank={self.rank} is not below model.width={self.width}: gradients are not projected.",
                flush=True,
            )
        limit = self.limit(shape, generator, dtype)
        if self.sampled_from is not None:
            try:
                limit.load_state(load_file(self.sampled_from))
            except (OSError, SafetensorError) as e:
                raise ConfigError(
                    f"model.sampled_from={self.sampled_from} cannot be read ({e}); give the checkpoints/best.safetensors of a run with model=pi_limit."
                ) from e
        return sampled(limit, self.width, generator)

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        return _dense(self.width * (shape.inputs + shape.outputs + (self.depth - 1) * self.width), shape, dtype)

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        return self.width * (shape.inputs + shape.outputs + self.depth * (self.width + self.rank)) * dtype.itemsize


def _dense(weights: int, shape: Shape, dtype: torch.dtype) -> Work | None:
    """A network of so many weights, trained by steps that read and write all of them."""
    if not shape.batch:
        return None
    flops = weights * (6 * shape.batch * shape.steps + 2 * shape.evaluated)
    return Work(flops, 5 * weights * dtype.itemsize * shape.steps, shape.steps, 0, (shape.batch, 2048, 2048))
