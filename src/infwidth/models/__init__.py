"""The model families and how each is built from its config group; see :mod:`infwidth.models.contract` for what they share.

Each config class has two methods. build(parametrization, shape, generator, dtype) makes the model on the CPU.
numbers(shape) predicts how many numbers its parameters hold, before anything is allocated; work(shape, sizes, itemsize) what a
step on bags of indices takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from infwidth.config import key, load
from infwidth.errors import ConfigError
from infwidth.models import linear
from infwidth.models.contract import BAGS, Model, Sizes, Work
from infwidth.models.kernels import BagKernelMachine, Kernel, KernelMachine
from infwidth.models.mlp import MLP
from infwidth.models.pi import PiLimit, PiScaling, pi_limit
from infwidth.models.pi_net import sampled
from infwidth.parametrization import ABC, named, require_limit


@dataclass(frozen=True)
class Shape:
    """What a task asks of its model: the dimensions of inputs and outputs, and whether inputs are bags of indices."""

    inputs: int
    outputs: int
    bags: bool = False


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
                raise ConfigError("parametrization=custom needs parametrization.a, parametrization.b (one exponent per weight layer) and parametrization.c.")
            abc = ABC(self.a, self.b, self.c)
            if abc.depth != depth:
                raise ConfigError(f"parametrization.a has {len(self.a)} exponents; a network of model.depth={depth} has {depth + 1} weight layers.")
            return abc
        if self.a is not None or self.b is not None:
            raise ConfigError(f"parametrization={self.name} has its own a and b; use parametrization=custom to give them.")
        return auto if self.name == "auto" else named(self.name, depth, self.c)


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

    @property
    def linear(self) -> bool:
        return self.depth == 1 and self.activation == "linear"

    def build(self, parametrization: ParametrizationConfig, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        abc = parametrization.build(named("mup", self.depth), self.depth)
        if self.linear:
            net = linear.finite(
                self.width, shape.inputs, shape.outputs, self.sigma_u, self.sigma_v, self.alpha, abc, generator, dtype, self.initial or "gaussian", shape.bags
            )
            return linear.reduced(net) if self.change_of_basis else net
        if shape.bags:
            raise ConfigError(BAGS)
        if self.initial == "uniform":
            raise ConfigError("model.initial=uniform is for the linear network; deep or nonlinear ones take model.initial=gaussian.")
        sigmas = (self.sigma_u, *[self.sigma_hidden] * (self.depth - 1), self.sigma_v)
        return MLP(self.width, shape.inputs, shape.outputs, sigmas, self.alpha, abc, self.activation, generator, dtype)

    def work(self, shape: Shape, sizes: Sizes, itemsize: int) -> Work:
        return linear.work(self.width, sizes, itemsize)

    def numbers(self, shape: Shape) -> int:
        return self.width * (shape.inputs + shape.outputs + (self.depth - 1) * self.width + self.depth)


@dataclass(frozen=True, kw_only=True)
class MuLimitConfig:
    """conf/model/mu_limit.yaml"""

    name: Literal["mu_limit"]
    depth: int = key(at_least=1)
    activation: Literal["linear", "relu"] = "linear"
    sigma_u: float = key(above=0, default=1.0)
    sigma_v: float = key(at_least=0, default=1.0)
    alpha: float = key(at_least=0, default=1.0)

    def build(self, parametrization: ParametrizationConfig, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        if self.depth != 1 or self.activation != "linear":
            raise ConfigError(
                f"model=mu_limit is computable for one linear hidden layer only, not for model.depth={self.depth} with "
                f"model.activation={self.activation}: the state of a deep or nonlinear mu-limit is not finite-dimensional. "
                "The limit that is computable there is model=pi_limit, the limit of projected SGD."
            )
        require_limit(parametrization.build(named("mup", 1), 1), "mu", self.name)
        return linear.mu_limit(shape.inputs, shape.outputs, self.sigma_u, self.sigma_v, self.alpha, dtype, shape.bags)

    def work(self, shape: Shape, sizes: Sizes, itemsize: int) -> Work:
        return linear.work(linear.mu_limit_dimension(shape.inputs, shape.outputs, self.sigma_v), sizes, itemsize)

    def numbers(self, shape: Shape) -> int:
        m = linear.mu_limit_dimension(shape.inputs, shape.outputs, self.sigma_v)
        return m * (shape.inputs + shape.outputs + 1)


@dataclass(frozen=True, kw_only=True)
class KernelConfig:
    """conf/model/nngp_limit.yaml and ntk_limit.yaml"""

    name: Literal["nngp_limit", "ntk_limit"]
    depth: int = key(at_least=1)
    activation: Literal["linear", "relu"] = "relu"
    sigma_u: float = key(above=0, default=1.0)
    sigma_v: float = key(at_least=0, default=1.0)
    sigma_b: float = key(at_least=0, default=0.0)

    def build(self, parametrization: ParametrizationConfig, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        if self.depth != 1:
            raise ConfigError(f"model={self.name} has TP4's kernel of one hidden layer; model.depth must be 1, not {self.depth}.")
        tangent = self.name == "ntk_limit"
        auto = named("ntk", 1) if tangent else named("standard", 1, c=1)
        require_limit(parametrization.build(auto, 1), "ntk" if tangent else "nngp", self.name)
        machine = BagKernelMachine if shape.bags else KernelMachine
        return machine(Kernel(self.activation, tangent, self.sigma_u, self.sigma_v, self.sigma_b), shape.inputs, shape.outputs, dtype)

    def work(self, shape: Shape, sizes: Sizes, itemsize: int) -> Work:
        return Work(4 * sizes.bags * sizes.words * sizes.asked, 3 * 64 * sizes.words * sizes.asked)  # a cache line for each number

    def numbers(self, shape: Shape) -> int:
        return (shape.inputs + 1) * shape.outputs if shape.bags else 0


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

    def scaling(self) -> PiScaling:
        beta_readout = self.beta if self.beta_readout is None else self.beta_readout
        multipliers = (self.first_multiplier, self.readout_multiplier, self.bias_multiplier)
        return PiScaling(self.alpha_1, self.alpha_out, self.beta, beta_readout, *multipliers, self.decay_follows_multipliers)

    def limit(self, shape: Shape, generator: torch.Generator, dtype: torch.dtype, storage: torch.dtype | None = None) -> PiLimit:
        if shape.bags:
            raise ConfigError(BAGS)
        return pi_limit(shape.inputs, shape.outputs, self.rank, self.depth, self.scaling(), self.readout == "zero", generator, dtype, storage)


@dataclass(frozen=True, kw_only=True)
class PiLimitConfig(PiConfig):
    """conf/model/pi_limit.yaml"""

    name: Literal["pi_limit"]
    storage: Literal["float32", "bfloat16", "float16"] | None

    def build(self, parametrization: ParametrizationConfig, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        return self.limit(shape, generator, dtype, getattr(torch, self.storage) if self.storage else None)

    def numbers(self, shape: Shape) -> int:
        return self.rank * (shape.inputs + 2 * self.depth * self.rank)


@dataclass(frozen=True, kw_only=True)
class PiNetConfig(PiConfig):
    """conf/model/pi_net.yaml"""

    name: Literal["pi_net"]
    width: int = key(at_least=1)

    def build(self, parametrization: ParametrizationConfig, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        return sampled(self.limit(shape, generator, dtype), self.width, generator)

    def numbers(self, shape: Shape) -> int:
        return self.width * (shape.inputs + shape.outputs + self.depth * (self.width + self.rank))


AUTO = {"finite": "mup", "mu_limit": "mup", "nngp_limit": "standard", "ntk_limit": "ntk", "pi_limit": "mup", "pi_net": "mup"}
"""What parametrization=auto means for each model."""

MODELS = {"finite": FiniteConfig, "mu_limit": MuLimitConfig, "nngp_limit": KernelConfig, "ntk_limit": KernelConfig, "pi_limit": PiLimitConfig, "pi_net": PiNetConfig}


def build_model(
    model: Mapping[str, Any], parametrization: Mapping[str, Any], shape: Shape, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Model:
    """A model of ``shape`` from its config groups, on the CPU."""
    return _config(model).build(load(ParametrizationConfig, parametrization, "parametrization"), shape, generator, dtype)


def predicted_bytes(model: Mapping[str, Any], shape: Shape, dtype: torch.dtype = torch.float32) -> int:
    """Memory of the model's parameters, before any of it is allocated."""
    return _config(model).numbers(shape) * dtype.itemsize


def predicted_work(model: Mapping[str, Any], shape: Shape, sizes: Sizes, dtype: torch.dtype = torch.float32) -> Work:
    """What a training step on bags of indices takes."""
    return _config(model).work(shape, sizes, dtype.itemsize)


def largest_fitting(model: Mapping[str, Any], available: int, dtype: torch.dtype = torch.float32) -> int:
    """The most inputs and outputs at which the parameters take no more than ``available`` bytes."""
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if predicted_bytes(model, Shape(middle, middle, True), dtype) <= available else (low, middle - 1)
    return low


def _config(model: Mapping[str, Any]):
    if model.get("name") not in MODELS:
        raise ConfigError(f"model.name is {model.get('name')!r}; choose one of: {', '.join(MODELS)}.")
    return load(MODELS[model["name"]], model, "model")


def resolved_parametrization(model: Mapping[str, Any], parametrization: Mapping[str, Any]) -> str:
    """The parametrization's name, with 'auto' replaced by the model's own."""
    return AUTO[model["name"]] if parametrization["name"] == "auto" else parametrization["name"]
