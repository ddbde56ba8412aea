"""A model family: what a run needs to know of it, described once, beside its code.

A family is a module ``infwidth.models.<name>`` that defines FAMILY; ``model.name`` finds it by that name, without
importing the others. A family of your own is any importable module that defines FAMILY: ``model.name`` with a dot
names it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch

from infwidth import models
from infwidth.config import load
from infwidth.described import described
from infwidth.models.contract import Model
from infwidth.models.cost import TRAINING, Footprint, Shape, Sizes, Work
from infwidth.parametrization import ABC
from infwidth.ranks import Exchange


@dataclass(frozen=True)
class Offers:
    """What a model of some config can do for a task.

    bags, dense: whether it takes inputs that are bags of indices, and dense ones. adapts: the (parameters, order)
    by which it adapts to an episode: 'all', 'readout' or 'hidden', and 'first' or 'second'. closed_form: whether
    it is fitted at once and not trained.
    """

    bags: bool = False
    dense: bool = True
    adapts: frozenset[tuple[str, str]] = frozenset()
    closed_form: bool = False


class FamilyConfig(Protocol):
    """The keys of conf/model/<name>.yaml, and what follows from them. What has an answer here may be inherited."""

    name: str

    def own(self) -> ABC:
        """What parametrization=auto means."""

    def check(self, abc: ABC) -> None:
        """ConfigError for a parametrization that these keys do not go with."""

    def offers(self) -> Offers:
        return Offers()

    def shortened(self) -> dict[str, Any]:
        """Dotted keys of a much shorter run that takes every path of a whole one, by which a run is replayed."""
        return {}

    def idle(self) -> tuple[str, ...]:
        """Keys without effect at these values of the others: they are no part of a run's id."""
        return ()

    def build(self, abc: ABC, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        """A model on the CPU."""

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        """Bytes of the model's state when it is largest, before any of it is allocated."""

    def footprint(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Footprint:
        """What a run takes of the memory; sizes: of a typical batch of bags. By default a step has a gradient as large
        as the state."""
        state = self.memory(shape, dtype)
        return Footprint(state, state, {TRAINING: state})

    def splits(self, shape: Shape) -> Literal["rows", "coordinates"] | None:
        """What of a model for this shape can be dealt out to several processes; None if one has to have all of it."""
        return None

    def exchanged(self, shape: Shape, sizes: Sizes | None, clipped: bool) -> Exchange:
        """What passes between the ranks of a model that splits, in a training step.

        sizes: of its batch of bags; clipped: whether the norm of the gradient is taken.
        """
        return Exchange()

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        """What a run takes; sizes: of a typical batch of bags. None where it is not predicted."""
        return None

    def grows_with(self) -> str:
        """The part of the shape that memory grows with: 'inputs' (and outputs), 'examples' or 'steps'."""
        return "inputs"


@dataclass(frozen=True)
class Family:
    """name: ``model.name``; config: the dataclass of its keys, with their defaults.

    chooses: whether a parametrization can be chosen.
    """

    name: str
    config: Callable[..., FamilyConfig]
    chooses: bool = True


def find(name: str) -> Family:
    """The family of that name. ConfigError with the known names if there is none."""
    return described(name, models, "FAMILY", Family, "model")


def config_of(model: Mapping[str, Any]) -> FamilyConfig:
    """The validated keys of a model's config group. ConfigError that names the key."""
    return load(find(model.get("name")).config, model, "model")


def largest_fitting(name: str, shape: Shape, available: int, needed: Callable[[Shape], int]) -> int:
    """The most of a part of the shape, 'inputs' (and outputs), 'examples' or 'steps', with which no more than
    ``available`` bytes are ``needed``."""
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        parts = {"inputs": middle, "outputs": middle} if name == "inputs" else {name: middle}
        fits = needed(replace(shape, **parts)) <= available
        low, high = (middle, high) if fits else (low, middle - 1)
    return low
