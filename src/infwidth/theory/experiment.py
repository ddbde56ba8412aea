"""The theory experiment: its recipe, and the measurements that it is made of."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from infwidth.config import key, load
from infwidth.errors import ConfigError
from infwidth.parametrization import ABC, classify, named
from infwidth.rational import exact
from infwidth.theory import convergence, coordinate_check, dichotomy, learning_rates, plane


@dataclass(frozen=True, kw_only=True)
class Case:
    """A parametrization of the recipe.

    It is ``named`` (c: its learning-rate exponent), or a place in the plane (readout, c, update), or the exponents of
    one depth.
    """

    name: str
    named: str | None = None
    readout: Fraction | None = None
    update: Fraction = Fraction(1)
    a: tuple[Fraction, ...] | None = None
    b: tuple[Fraction, ...] | None = None
    c: Fraction | None = None

    def at(self, depth: int) -> ABC | None:
        """The parametrization with so many hidden layers; None if it has none."""
        if self.named == "mean_field" and depth != 1:
            return None
        if self.named is not None:
            return named(self.named, depth, self.c)
        if self.c is None or (self.readout is None) == (self.a is None or self.b is None):
            raise ConfigError(
                f"parametrization {self.name!r} of recipe.yaml needs named, or readout and c, or a, b and c."
            )
        if self.readout is not None:
            return plane.member(self.readout, self.c, depth, self.update)
        return ABC(self.a, self.b, self.c) if len(self.a) == depth + 1 else None


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The maps: for networks of this depth, one for each 2a + c of the readout, on a grid of this step."""

    depth: int = key(at_least=1)
    updates: tuple[float, ...]
    step: float = key(above=0)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a scale measures."""

    coordinate_check: coordinate_check.Check
    dichotomy: dichotomy.Dichotomy
    convergence: convergence.Convergence
    plane: Plane
    learning_rates: learning_rates.LearningRates


@dataclass(frozen=True, kw_only=True)
class TheoryRecipe:
    """experiments/theory/recipe.yaml"""

    title: str
    claim: str
    parametrizations: tuple[Case, ...]
    transferred: tuple[str, ...]
    demo: Sizes
    cpu: Sizes
    paper: Sizes

    def at(self, depth: int, only: tuple[str, ...] | None = None) -> dict[str, ABC]:
        """By name, the parametrizations that exist with so many hidden layers."""
        found = {case.name: case.at(depth) for case in self.parametrizations if only is None or case.name in only}
        return {name: abc for name, abc in found.items() if abc is not None}


@dataclass(frozen=True)
class Part:
    """A measurement: its name, what decides its numbers, and the function that takes them."""

    name: str
    deciding: Mapping[str, Any]
    measure: Callable[[], pd.DataFrame]


def read_recipe(folder: Path) -> TheoryRecipe:
    """ConfigError for a wrong key."""
    return load(TheoryRecipe, yaml.safe_load((folder / "recipe.yaml").read_text()), f"recipe.yaml of {folder.name}")


def parts(recipe: TheoryRecipe, scale: str) -> list[Part]:
    """The measurements of a scale; the coordinate check is one for each depth."""
    sizes: Sizes = getattr(recipe, scale)
    checks = [_coordinate_check(recipe, depth, sizes.coordinate_check) for depth in sizes.coordinate_check.depths]
    others = [
        _dichotomy(recipe, sizes.dichotomy),
        _plane(sizes.plane),
        _convergence(sizes.convergence),
        _learning_rates(recipe, sizes.learning_rates),
    ]
    return checks + others


def _coordinate_check(recipe: TheoryRecipe, depth: int, check: coordinate_check.Check) -> Part:
    abcs = recipe.at(depth)
    name = f"coordinate_check_{depth}"
    return Part(name, _deciding(name, check, abcs), lambda: coordinate_check.table(abcs, depth, check))


def _dichotomy(recipe: TheoryRecipe, settings: dichotomy.Dichotomy) -> Part:
    deep = recipe.at(settings.depth)
    pairs = {name: (deep.get(name), abc) for name, abc in recipe.at(1).items() if classify(abc).nontrivial}
    return Part("dichotomy", _deciding("dichotomy", settings, pairs), lambda: dichotomy.table(pairs, settings))


def _plane(settings: Plane) -> Part:
    updates, step = [exact(u) for u in settings.updates], exact(settings.step)
    return Part("plane", _deciding("plane", settings), lambda: plane.table(settings.depth, updates, step))


def _convergence(settings: convergence.Convergence) -> Part:
    return Part("convergence", _deciding("convergence", settings), lambda: convergence.table(settings))


def _learning_rates(recipe: TheoryRecipe, settings: learning_rates.LearningRates) -> Part:
    abcs = recipe.at(settings.depth, recipe.transferred)
    deciding = _deciding("learning_rates", settings, abcs)
    return Part("learning_rates", deciding, lambda: learning_rates.table(abcs, settings))


def _deciding(part: str, settings: Any, abcs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the numbers of a part depend on; abcs: by name, what it compares, None where nothing."""
    parametrizations = {name: str(abc) for name, abc in (abcs or {}).items()}
    return {"part": part, "settings": asdict(settings), "parametrizations": parametrizations}
