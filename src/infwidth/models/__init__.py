"""The model families: how each is built from its config group, and what it will take; see :mod:`infwidth.models.contract` for what they share."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from infwidth.config import load
from infwidth.errors import ConfigError
from infwidth.models.configs import (
    FiniteConfig,
    KernelConfig,
    MuLimitConfig,
    ParametrizationConfig,
    PiLimitConfig,
    PiNetConfig,
    Shape,
)
from infwidth.models.contract import Model, Sizes, Work

AUTO = {
    "finite": "mup",
    "mu_limit": "mup",
    "nngp_limit": "standard",
    "ntk_limit": "ntk",
    "pi_limit": "mup",
    "pi_net": "mup",
}
"""What parametrization=auto means for each model."""

MODELS = {
    "finite": FiniteConfig,
    "mu_limit": MuLimitConfig,
    "nngp_limit": KernelConfig,
    "ntk_limit": KernelConfig,
    "pi_limit": PiLimitConfig,
    "pi_net": PiNetConfig,
}


def build_model(
    model: Mapping[str, Any],
    parametrization: Mapping[str, Any],
    shape: Shape,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Model:
    """A model of ``shape`` from its config groups, on the CPU."""
    return _config(model).build(
        load(ParametrizationConfig, parametrization, "parametrization"), shape, generator, dtype
    )


def predicted_bytes(model: Mapping[str, Any], shape: Shape, dtype: torch.dtype = torch.float32) -> int:
    """Memory of what the model holds at the end of a run, before any of it is allocated."""
    return _config(model).memory(shape, dtype)


def predicted_work(
    model: Mapping[str, Any], shape: Shape, sizes: Sizes | None, dtype: torch.dtype = torch.float32
) -> Work | None:
    """What a run takes; sizes: of a typical batch of bags. None where it is not predicted."""
    return _config(model).work(shape, sizes, dtype)


def largest_fitting(
    model: Mapping[str, Any], shape: Shape, available: int, dtype: torch.dtype = torch.float32
) -> tuple[str, int]:
    """Which part of the shape to lower, 'inputs' (and outputs), 'examples' or 'steps', and the most of it that takes no more than ``available`` bytes."""
    config = _config(model)
    name = config.grows_with
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        parts = {"inputs": middle, "outputs": middle} if name == "inputs" else {name: middle}
        low, high = (middle, high) if config.memory(replace(shape, **parts), dtype) <= available else (low, middle - 1)
    return name, low


def _config(model: Mapping[str, Any]):
    if model.get("name") not in MODELS:
        raise ConfigError(f"model.name is {model.get('name')!r}; choose one of: {', '.join(MODELS)}.")
    return load(MODELS[model["name"]], model, "model")


def resolved_parametrization(model: Mapping[str, Any], parametrization: Mapping[str, Any]) -> str:
    """The parametrization's name, with 'auto' replaced by the model's own."""
    return AUTO[model["name"]] if parametrization["name"] == "auto" else parametrization["name"]
