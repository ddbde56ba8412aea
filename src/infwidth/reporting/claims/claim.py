"""experiments/<name>/claims.yaml: what the papers claim, how that is decided, and at which scale."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from infwidth.config import key, load
from infwidth.errors import ConfigError
from infwidth.reporting.claims import rows, theory
from infwidth.runs import plan as plans
from infwidth.runs.plan import Recipe
from infwidth.spelling import meant
from infwidth.theory.experiment import TheoryRecipe

DECIDES_NUMBERS = False

CLAIMS = "claims.yaml"
SCALES = ("cpu", "paper")
"""That claims are about."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What a run of a row takes, estimated by hand, where it was never run and cannot be predicted."""

    hours: float = key(above=0)
    gibibytes: float | None = key(above=0, default=None)
    device: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of a paper, and exactly one kind of check that decides it.

    claim: in which {points}, {by} or another key of the check stands for its value. source: where it stands. scale:
    whose rows decide it. also: a smaller scale at which it can be looked at, which is said beside and does not count.
    reason: why it fails, shown only if it does.
    """

    claim: str
    source: str
    scale: Literal["cpu", "paper"]
    also: Literal["cpu"] | None = None
    reason: str = ""
    above: rows.Above | None = None
    within: rows.Within | None = None
    ordered: rows.Ordered | None = None
    closing: rows.Closing | None = None
    at_most: rows.AtMost | None = None
    at_least: rows.AtLeast | None = None
    separated: rows.Separated | None = None
    exponents: theory.Exponents | None = None
    blow_up: theory.BlowUp | None = None
    dichotomy: theory.Dichotomy | None = None
    becomes_limit: theory.BecomesLimit | None = None
    converges: theory.Converges | None = None

    @property
    def checks(self) -> list[Any]:
        """The kinds that are given; one, once the file is read."""
        given = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return [value for value in given if dataclasses.is_dataclass(value)]

    @property
    def check(self) -> Any:
        return self.checks[0]

    @property
    def sentence(self) -> str:
        """The claim with the values of its check. ConfigError for a key that the check does not have."""
        values = {k: f"{v:g}" if isinstance(v, float) else v for k, v in vars(self.check).items()}
        try:
            return self.claim.format(**values)
        except (LookupError, ValueError, AttributeError) as e:
            raise ConfigError(
                f"{CLAIMS} has the claim {self.claim!r} with {{{e.args[0]}}} in it, which is no key of its check; "
                f"it has: {', '.join(values)}."
            ) from e


@dataclass(frozen=True, kw_only=True)
class Claims:
    """experiments/<name>/claims.yaml

    alike: rows that are trained alike, whose spread over seeds is estimated together. guesses: by row and scale.
    """

    claims: tuple[Claim, ...]
    alike: tuple[tuple[str, ...], ...] = ()
    guesses: dict[str, Any] | None = None

    def guess(self, row: str, scale: str) -> Guess | None:
        found = (self.guesses or {}).get(row, {}).get(scale)
        return None if found is None else load(Guess, found, f"guesses.{row}.{scale}")


def experiments() -> list[str]:
    """The names of the experiments that have claims."""
    return sorted(path.parent.name for path in plans.EXPERIMENTS.glob(f"*/{CLAIMS}"))


def read(experiment: str) -> tuple[Claims, Path]:
    """The claims of an experiment and their file. ConfigError for a wrong key, or a claim with no check or several."""
    path = plans.EXPERIMENTS / experiment / CLAIMS
    found = load(Claims, plans.read_yaml(path), f"{CLAIMS} of {experiment}")
    for claim in found.claims:
        if len(claim.checks) != 1:
            raise ConfigError(
                f"{path} has {len(claim.checks)} checks of the claim {claim.claim!r}; give it exactly one."
            )
        _ = claim.sentence  # refuses a key in it that the check does not have
    return found, path


def of_rows(experiment: str, recipe: Recipe, paper: pd.DataFrame) -> Claims:
    """The claims about the rows of an experiment. ConfigError for one that names what there is not."""
    found, path = read(experiment)
    named = [row for group in found.alike for row in group] + list(found.guesses or {})
    _require(named, recipe.rows, f"{path} names the row")
    for row, by_scale in (found.guesses or {}).items():
        if not isinstance(by_scale, dict):
            raise ConfigError(f"{path} has the guess {row}: {by_scale!r}; say it by scale ({', '.join(SCALES)}).")
        _require(by_scale, SCALES, f"{path} has a guess of {row} at the scale")
        for scale in by_scale:
            found.guess(row, scale)
    for claim in found.claims:
        where = f"{path} has the claim {claim.claim!r}, which names"
        if not isinstance(claim.check, rows.OfRows):
            raise ConfigError(f"{path} has the claim {claim.claim!r} about measurements; {experiment} has none.")
        for scale in filter(None, (claim.scale, claim.also)):
            _require(claim.check.needs, recipe.rows_at(scale), f"{where} the row")
        _require(claim.check.panels, [panel.title for panel in recipe.pca], f"{where} the panel")
        published = paper[paper.paper.notna()].row.tolist()
        _require(claim.check.compares, published, f"{where} the published number of")
    return found


def of_measurements(experiment: str, recipe: TheoryRecipe) -> Claims:
    """The claims about measurements. ConfigError for one about rows, or that names what there is not."""
    found, path = read(experiment)
    known = [case.name for case in recipe.parametrizations]
    for claim in found.claims:
        if not isinstance(claim.check, theory.OfMeasurements):
            raise ConfigError(f"{path} has the claim {claim.claim!r} about rows; {experiment} has none.")
        named = getattr(claim.check, "parametrizations", None) or ()
        _require(named, known, f"{path} has the claim {claim.claim!r}, which names the parametrization")
    return found


def _require(named: Iterable[str], known: Sequence[str], sentence: str) -> None:
    """ConfigError for a name that is not known."""
    for name in named:
        if name not in known:
            near = meant(str(name), known)
            raise ConfigError(f"{sentence} {name!r}, which there is not{near}; there are: {', '.join(known)}.")
