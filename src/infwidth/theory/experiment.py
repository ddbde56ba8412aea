"""The theory experiment: its recipe, and the measurements that it is made of."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from infwidth.config import key, load
from infwidth.errors import ConfigError
from infwidth.parametrization import ABC, classify, exact, named
from infwidth.theory import convergence, coordinate_check, dichotomy, learning_rates, plane


@dataclass(frozen=True, kw_only=True)
class Case:
    """A parametrization of the recipe: ``named`` (c: its learning-rate exponent), or a place in the plane (readout, c, update), or the exponents of one depth."""

    name: str
    named: str | None = None
    readout: float | None = None
    update: float = 1.0
    a: tuple[float, ...] | None = None
    b: tuple[float, ...] | None = None
    c: float | None = None

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
            return plane.member(exact(self.readout), exact(self.c), depth, exact(self.update))
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
    one, deep = recipe.at(1), recipe.at(sizes.dichotomy.depth)
    pairs = {name: (deep.get(name), abc) for name, abc in one.items() if classify(abc).nontrivial}
    rates = recipe.at(sizes.learning_rates.depth, recipe.transferred)
    found = [
        _part(
            f"coordinate_check_{depth}",
            sizes.coordinate_check,
            recipe.at(depth),
            lambda abcs, s, depth=depth: coordinate_check.table(abcs, depth, s),
        )
        for depth in sizes.coordinate_check.depths
    ]
    return [
        *found,
        _part("dichotomy", sizes.dichotomy, pairs, dichotomy.table),
        _part(
            "plane", sizes.plane, {}, lambda _, s: plane.table(s.depth, [exact(u) for u in s.updates], exact(s.step))
        ),
        _part("convergence", sizes.convergence, {}, lambda _, s: convergence.table(s)),
        _part("learning_rates", sizes.learning_rates, rates, learning_rates.table),
    ]


def _part(
    name: str, settings: Any, abcs: Mapping[str, Any], table: Callable[[Mapping[str, Any], Any], pd.DataFrame]
) -> Part:
    deciding = {
        "part": name,
        "settings": asdict(settings),
        "parametrizations": {n: str(abc) for n, abc in abcs.items()},
    }
    return Part(name, deciding, lambda: table(abcs, settings))
