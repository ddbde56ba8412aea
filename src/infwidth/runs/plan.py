"""The plan of an experiment: from its recipe, the exact specifications of every row, candidate and seed of its table.

A table holds planned runs only. Whether a run is planned is asked of what decides its numbers, not of the name or the
row that it was given: a run is of a row if it is, key for key, one that the row's plan has.
Candidates of a row compete on validation, if the recipe names them.
An experiment carried out with overrides that decide numbers is a plan of its own, under a name of its own.
"""

import copy
import functools
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from infwidth.config import key, load
from infwidth.errors import ConfigError
from infwidth.places import EXPERIMENTS
from infwidth.runs.compose import composed
from infwidth.runs.spec import SCALES, canonical, data_settings, specified

DECIDES_NUMBERS = False

RECIPE, PLAN = "recipe.yaml", "plan.yaml"


@dataclass(frozen=True, kw_only=True)
class PanelRecipe:
    """A panel of the PCA picture: the features of a row, 'initial' or 'trained'."""

    title: str
    row: str
    which: str


@dataclass(frozen=True, kw_only=True)
class ScaleRecipe:
    """What a scale runs: seeds by default, rows (null: all), and whether hyperparameter candidates are tried.

    seeds_of: for the rows that have another number of seeds.
    """

    seeds: int = key(at_least=1)
    candidates: bool
    seeds_of: dict[str, Any] | None = None
    rows: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """experiments/<name>/recipe.yaml

    exact: for rows of pi-limits with landmarks, the row that keeps everything and is like them otherwise.
    """

    title: str
    claim: str
    accuracy: str
    curve: str = "validation accuracy (%)"
    columns: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    unseeded: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    rows: tuple[str, ...]
    candidates: dict[str, Any] | None = None
    limits: tuple[str, ...]
    curves: tuple[str, ...]
    pca_title: str = ""
    pca: tuple[PanelRecipe, ...] = ()
    exact: dict[str, Any] | None = None
    demo: ScaleRecipe
    cpu: ScaleRecipe
    paper: ScaleRecipe

    def rows_at(self, scale: str) -> tuple[str, ...]:
        return getattr(self, scale).rows or self.rows

    def seeds_of(self, row: str, scale: str, seeds: int | None = None) -> int:
        """How many seeds a row has at a scale; seeds: asked for instead of the recipe's number, of every row."""
        of_scale = getattr(self, scale)
        if row in self.unseeded:
            return 1
        return seeds or (of_scale.seeds_of or {}).get(row, of_scale.seeds)

    def candidates_of(self, row: str, scale: str) -> dict[str, list[Any]]:
        """The keys that are chosen on validation for a row, with the values that compete; empty where none are."""
        return (self.candidates or {}).get(row, {}) if getattr(self, scale).candidates else {}


def read_yaml(path: Path) -> Any:
    """What a YAML file says. ConfigError if it cannot be read."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        reason = " ".join(str(e).split())
        raise ConfigError(f"{path} cannot be read ({reason}); restore it from git, or correct it.") from e


def read_recipe(name: str) -> Recipe:
    """The recipe of an experiment. ConfigError if there is none or a key is wrong."""
    path = EXPERIMENTS / name / RECIPE
    if not path.exists():
        raise ConfigError(f"experiment {name!r} is not known; choose one of: {', '.join(sorted(experiments()))}.")
    recipe = load(Recipe, read_yaml(path), f"{RECIPE} of {name}")
    compared = recipe.exact or {}
    named = {"candidates of": recipe.candidates or {}, "exact for": [*compared, *compared.values()]}
    named |= {f"{scale}.seeds_of for": getattr(recipe, scale).seeds_of or {} for scale in SCALES}
    for what, rows in named.items():
        unknown = [row for row in rows if row not in recipe.rows]
        if unknown:
            raise ConfigError(
                f"{path} has {what} {unknown[0]!r}, which is no row; the rows are: {', '.join(recipe.rows)}."
            )
    for scale in SCALES:
        _require_seeds(recipe, scale, path)
    return recipe


def _require_seeds(recipe: Recipe, scale: str, path: Path) -> None:
    """ConfigError for a number of seeds of a row that is none, or of a row that no seed changes."""
    for row, seeds in (getattr(recipe, scale).seeds_of or {}).items():
        if type(seeds) is not int or seeds < 1:
            raise ConfigError(f"{path} has {scale}.seeds_of {row}: {seeds!r}; it must be a whole number, at least 1.")
        if row in recipe.unseeded:
            raise ConfigError(f"{path} has {scale}.seeds_of {row}, which is unseeded; take it out of one of the two.")


def experiments() -> list[str]:
    """The names of the experiments that have a recipe."""
    return [path.parent.name for path in EXPERIMENTS.glob(f"*/{RECIPE}")]


@dataclass(frozen=True)
class Planned:
    """A run of a plan: its row, its seed, the values of the candidate that it is, and its plain config."""

    row: str
    seed: int
    candidate: Mapping[str, Any]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """The planned runs of an experiment.

    name: of the folder of its table; experiment: whose recipe it has; overrides: further ones of every run;
    scales: that it has.
    """

    name: str
    experiment: str
    recipe: Recipe
    overrides: tuple[str, ...] = ()
    scales: tuple[str, ...] = SCALES

    @property
    def published(self) -> bool:
        """Whether its rows are the published ones, which the paper's numbers belong to."""
        return not self.overrides

    def base(self, row: str, scale: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """The plain config of a row."""
        return copy.deepcopy(
            _composed(f"experiment={self.experiment}/{row}", f"scale={scale}", *self.overrides, *overrides)
        )

    def runs(
        self, scale: str, seeds: int | None, rows: Sequence[str] | None, more: Sequence[str] = ()
    ) -> list[Planned]:
        """All runs of a scale, seed by seed, so that an early stop leaves whole seeds.

        more: overrides that decide nothing.
        Raises ConfigError for a row that the recipe does not have.
        """
        wanted = rows or self.recipe.rows_at(scale)
        for row in wanted:
            if row not in self.recipe.rows:
                raise ConfigError(
                    f"rows has {row!r}, which experiment {self.experiment} does not have; it has: "
                    f"{', '.join(self.recipe.rows)}."
                )
        bases = {row: {**self.base(row, scale, more), "name": self.name} for row in wanted}
        counts = {row: self.recipe.seeds_of(row, scale, seeds) for row in wanted}
        found = []
        for seed, row in itertools.product(range(max(counts.values())), wanted):
            if seed < counts[row]:
                found += self._candidates(row, seed, scale, bases[row])
        return found

    def _candidates(self, row: str, seed: int, scale: str, base: Mapping[str, Any]) -> Iterator[Planned]:
        keys = self.recipe.candidates_of(row, scale)
        for values in itertools.product(*keys.values()):
            candidate = dict(zip(keys, values, strict=True))
            yield Planned(row, seed, candidate, varied(base, {"seed": seed, **candidate}))

    @functools.cached_property
    def _members(self) -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
        """(scale, row, candidate) of every specification that the plan has, by what decides it."""
        found: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
        for scale in self.scales:
            for row in self.recipe.rows_at(scale):
                for planned in self._candidates(row, 0, scale, self.base(row, scale)):
                    members = found.setdefault(signature(planned.config), [])
                    members.append((scale, row, dict(planned.candidate)))
        return found

    def _named(self, row: str, scale: str) -> str:
        """The dataset that a row's config names at a scale."""
        return self.base(row, scale)["data"]["name"]

    def _data(self, row: str, scale: str) -> set[str]:
        """The datasets on which a run may stand in the table's row: the scale's own and those of the recipe.

        For a row that names another dataset than the others, that one alone.
        """
        named, usual = self._named(row, scale), self._named(self.recipe.rows_at(scale)[0], scale)
        return {usual, *self.recipe.datasets} if named == usual else {named}

    def rows_on(self, scale: str, data: str | None) -> tuple[str, ...]:
        """The rows of a scale that go with a dataset: all without one; those that name it, if some do; else those that
        name none of their own."""
        rows = self.recipe.rows_at(scale)
        if data is None:
            return rows
        usual = self._named(rows[0], scale)
        own = {row: named for row in rows if (named := self._named(row, scale)) != usual}
        wanted = data if data in own.values() else None
        return tuple(row for row in rows if own.get(row) == wanted)

    def members(self, config: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
        """(scale, row, candidate) of each place that the plan has for a run of this config; empty for any other run."""
        members = self._members
        try:
            known = members.get(signature(config), [])
        except ConfigError:  # a config of an earlier version that is no longer valid
            return []
        return [(scale, row, more) for scale, row, more in known if config["data"]["name"] in self._data(row, scale)]

    def size(self, scale: str) -> int:
        """How many rows a scale has."""
        return len(self.recipe.rows_at(scale))


@functools.cache
def _composed(*overrides: str) -> dict[str, Any]:
    """A composed config, made once in a process: a plan asks for the same ones again and again. Not to be changed."""
    return composed("train", overrides)


def signature(config: Mapping[str, Any]) -> str:
    """What decides the numbers of a plain config.

    Apart from its seed and from which dataset its data settings are applied to.
    """
    groups = {group: config[group] for group in ("task", "data", "model", "parametrization", "trainer")}
    return _signature(json.dumps(groups, sort_keys=True))


@functools.lru_cache(maxsize=10_000)
def _signature(groups: str) -> str:
    config = json.loads(groups)
    spec = specified({"name": "x", "logger": {"name": "none"}, "paths": {"results": "x"}, **config})
    return json.dumps(canonical({**spec.deciding(), "data": data_settings(config["data"])}), sort_keys=True)


def varied(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config with dotted keys set. ConfigError for a key that it does not have."""
    found = copy.deepcopy(dict(config))
    for path, value in values.items():
        *groups, last = path.split(".")
        group = found
        for name in groups:
            group = group.get(name, {})
        if last not in group:
            raise ConfigError(f"candidates of row {config.get('row')} name the key {path}, which does not exist.")
        group[last] = value
    return found


def plan_of(
    experiment: str,
    overrides: Sequence[str] = (),
    name: str | None = None,
    scale: str = "cpu",
    rows: Sequence[str] = (),
) -> Plan:
    """The plan of an experiment.

    Overrides that decide numbers of these rows make it another one, which is named apart.
    """
    recipe = read_recipe(experiment)
    deciding = tuple(overrides) if _vary(experiment, rows or recipe.rows_at(scale), scale, overrides) else ()
    if deciding and name in experiments():
        raise ConfigError(
            f"name={name} is a published experiment, and these overrides make other runs than its own; "
            "choose another name."
        )
    if not deciding:
        return Plan(name or experiment, experiment, recipe)
    return Plan(name or f"{experiment}_varied", experiment, recipe, deciding, (scale,))


def _vary(experiment: str, rows: Sequence[str], scale: str, overrides: Sequence[str]) -> bool:
    """Whether overrides change what decides the numbers of a row, its dataset included."""
    for row in rows if overrides else ():
        found = []
        for more in ((), overrides):
            config = _composed(f"experiment={experiment}/{row}", f"scale={scale}", *more)
            found.append((signature(config), config["data"]["name"]))
        if found[0] != found[1]:
            return True
    return False


def keep(plan: Plan, folder: Path) -> None:
    """Write what a plan apart from the published ones is made of, so that its report can be made again."""
    if not plan.published:
        about = {"experiment": plan.experiment, "scales": list(plan.scales), "overrides": list(plan.overrides)}
        (folder / PLAN).write_text(yaml.safe_dump(about, sort_keys=False))


@dataclass(frozen=True, kw_only=True)
class KeptPlan:
    """results/<name>/plan.yaml"""

    experiment: str
    scales: tuple[Literal["demo", "cpu", "paper"], ...]
    overrides: tuple[str, ...]


def kept(name: str, results: Path) -> Plan | None:
    """The plan of the results of that name: an experiment's, or one that was kept there; None for any other runs."""
    if name in experiments():
        return plan_of(name)
    path = results / name / PLAN
    if not path.exists():
        return None
    found = load(KeptPlan, read_yaml(path), str(path))
    return Plan(name, found.experiment, read_recipe(found.experiment), found.overrides, found.scales)
