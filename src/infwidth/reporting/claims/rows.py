"""Kinds of claims about the rows of a table: each a few keys of claims.yaml, and what they ask of the rows.

``needs`` names the rows; ``findings`` are the numbers with the ranges that their whole intervals must lie in, all of
which must hold. Nothing else is read than the evidence that is handed over.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from infwidth.config import key
from infwidth.reporting.claims.estimate import (
    NORMAL,
    Estimate,
    Finding,
    Sample,
    Spread,
    combination,
    mean,
    spread,
)
from infwidth.reporting.order import Comparison
from infwidth.reporting.pca import Panel

DECIDES_NUMBERS = False

POINTS = "points"
Metric = Literal["accuracy", "validation_accuracy"]


@dataclass(frozen=True)
class Rows:
    """The rows of one scale and data, as evidence.

    samples: by row and metric. alike: rows whose spread over seeds is estimated together.
    labels: what rows are called. published: by row, the paper's number and the metric that it is compared with.
    compared: by (worse, better), rows compared question by question. panels: of the PCA picture, by title.
    """

    samples: Mapping[tuple[str, str], Sample]
    alike: Sequence[Sequence[str]] = ()
    labels: Mapping[str, str] | None = None
    published: Mapping[str, tuple[str, float]] | None = None
    compared: Mapping[tuple[str, str], Comparison] | None = None
    panels: Mapping[str, Panel] | None = None

    def label(self, row: str) -> str:
        return (self.labels or {}).get(row, row)

    def metric(self, row: str, check: "OfRows") -> str:
        """The metric of a row that a check takes: that of its published number where it takes that, else its own."""
        return self.published[row][0] if row in check.compares else check.metric

    def spread(self, row: str, metric: str) -> Spread:
        """Over the seeds of a row, and of those like it."""
        group = next((rows for rows in self.alike if row in rows), (row,))
        known = [self.samples[other, metric] for other in group if (other, metric) in self.samples]
        return spread([list(sample.values.values()) for sample in known])

    def mean(self, row: str, metric: str) -> Estimate:
        return mean(self.samples[row, metric], self.spread(row, metric))

    def sum(self, weights: Mapping[str, float], metric: str, half_of_test: float | None = None) -> Estimate:
        """A weighted sum of rows (:func:`combination`): independent ones, if all of them are alike to others."""
        samples = [self.samples[row, metric] for row in weights]
        spreads = [self.spread(row, metric) for row in weights]
        known = {row for rows in self.alike for row in rows}
        return combination(list(weights.values()), samples, spreads, half_of_test, paired=not set(weights) <= known)

    def step(self, worse: str, better: str, metric: str) -> Estimate:
        """Row ``better`` minus row ``worse``."""
        return self.sum({better: 1, worse: -1}, metric, self.half_of_questions(worse, better))

    def half_of_questions(self, worse: str, better: str) -> float | None:
        """Half the interval of a difference over the questions, where the rows were compared question by question."""
        found = (self.compared or {}).get((worse, better))
        return None if found is None else (found.high - found.low) / 2


class OfRows:
    """What the kinds have in common.

    needs: rows; panels: titles of the PCA picture; compares: rows whose published number it takes.
    """

    needs: tuple[str, ...] = ()
    panels: tuple[str, ...] = ()
    compares: tuple[str, ...] = ()


def minus(rows: Rows, row: str, other: str) -> str:
    return f"{rows.label(row)} minus {rows.label(other)}"


@dataclass(frozen=True, kw_only=True)
class Above(OfRows):
    """A row is above each of others, by so many points (0) or more, give or take a tolerance (0)."""

    row: str
    others: tuple[str, ...]
    by: float = 0.0
    tolerance: float = key(at_least=0, default=0.0)
    metric: Metric = "accuracy"

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.row, *self.others)

    def findings(self, rows: Rows) -> list[Finding]:
        return [
            Finding(
                minus(rows, self.row, other),
                rows.step(other, self.row, self.metric),
                at_least=self.by - self.tolerance,
                unit=POINTS,
            )
            for other in self.others
        ]


@dataclass(frozen=True, kw_only=True)
class Within(OfRows):
    """Each row is within so many points of another row (``of``); if none is named, of its own published number."""

    rows: tuple[str, ...]
    points: float = key(above=0)
    of: str | None = None
    metric: Metric = "accuracy"

    @property
    def needs(self) -> tuple[str, ...]:
        return self.rows if self.of is None else (*self.rows, self.of)

    @property
    def compares(self) -> tuple[str, ...]:
        return self.rows if self.of is None else ()

    def findings(self, rows: Rows) -> list[Finding]:
        return [Finding(*self._difference(rows, row), -self.points, self.points, unit=POINTS) for row in self.rows]

    def _difference(self, rows: Rows, row: str) -> tuple[str, Estimate]:
        if self.of is not None:
            return minus(rows, row, self.of), rows.step(self.of, row, self.metric)
        metric, number = rows.published[row]
        ours = rows.mean(row, metric)
        where = "" if metric == "accuracy" else f" ({metric.replace('_', ' ')})"
        what = f"{rows.label(row)} minus the published {number:.2f}{where}"
        return what, Estimate(ours.mean - number, ours.low - number, ours.high - number)


@dataclass(frozen=True, kw_only=True)
class Ordered(OfRows):
    """Each row is above the one before it, give or take a tolerance (0)."""

    rows: tuple[str, ...]
    tolerance: float = key(at_least=0, default=0.0)
    metric: Metric = "accuracy"

    @property
    def needs(self) -> tuple[str, ...]:
        return self.rows

    def findings(self, rows: Rows) -> list[Finding]:
        pairs = zip(self.rows, self.rows[1:], strict=False)
        return [
            Finding(
                minus(rows, better, worse),
                rows.step(worse, better, self.metric),
                at_least=0 - self.tolerance,
                unit=POINTS,
            )
            for worse, better in pairs
        ]


@dataclass(frozen=True, kw_only=True)
class Closing(OfRows):
    """Each step from a row to the next gains less than the step before it, give or take a tolerance (0)."""

    rows: tuple[str, ...]
    tolerance: float = key(at_least=0, default=0.0)
    metric: Metric = "accuracy"

    @property
    def needs(self) -> tuple[str, ...]:
        return self.rows

    def findings(self, rows: Rows) -> list[Finding]:
        found = []
        for first, middle, last in zip(self.rows, self.rows[1:], self.rows[2:], strict=False):
            halves = [rows.half_of_questions(first, middle), rows.half_of_questions(middle, last)]
            of_test = None if None in halves else math.hypot(*halves)
            steps = f"{rows.label(first)} to {rows.label(middle)} more than {rows.label(middle)} to {rows.label(last)}"
            gain = rows.sum({middle: 2, first: -1, last: -1}, self.metric, of_test)
            found.append(Finding(steps, gain, at_least=0 - self.tolerance, unit=POINTS))
        return found


@dataclass(frozen=True, kw_only=True)
class AtMost(OfRows):
    """Each row is at most at a value, give or take a tolerance (0)."""

    rows: tuple[str, ...]
    value: float
    tolerance: float = key(at_least=0, default=0.0)
    metric: Metric = "accuracy"

    @property
    def needs(self) -> tuple[str, ...]:
        return self.rows

    def findings(self, rows: Rows) -> list[Finding]:
        limit = self.value + self.tolerance
        return [Finding(rows.label(row), rows.mean(row, self.metric), at_most=limit, unit="%") for row in self.rows]


@dataclass(frozen=True, kw_only=True)
class AtLeast(OfRows):
    """Each row is at least at a value, give or take a tolerance (0)."""

    rows: tuple[str, ...]
    value: float
    tolerance: float = key(at_least=0, default=0.0)
    metric: Metric = "accuracy"

    @property
    def needs(self) -> tuple[str, ...]:
        return self.rows

    def findings(self, rows: Rows) -> list[Finding]:
        limit = self.value - self.tolerance
        return [Finding(rows.label(row), rows.mean(row, self.metric), at_least=limit, unit="%") for row in self.rows]


@dataclass(frozen=True, kw_only=True)
class Separated(OfRows):
    """A linear probe tells the classes of a panel of the PCA picture better than those of other panels.

    panel, others: titles of the recipe. The interval is that over the examples.
    """

    panel: str
    others: tuple[str, ...]

    @property
    def panels(self) -> tuple[str, ...]:
        return (self.panel, *self.others)

    def findings(self, rows: Rows) -> list[Finding]:
        found, best = [], rows.panels[self.panel]
        for title in self.others:
            other = rows.panels[title]
            half = NORMAL * math.hypot(_error(best), _error(other))
            difference = Estimate.around(best.probe_accuracy - other.probe_accuracy, half)
            found.append(Finding(f"linear probe, {self.panel} minus {title}", difference, at_least=0, unit=POINTS))
        return found


def _error(panel: Panel) -> float:
    return binomial_error(panel.probe_accuracy, len(panel.labels))


def binomial_error(per_cent: float, questions: float) -> float:
    """The standard error, in points, of a share of so many questions that are answered rightly or not."""
    return math.sqrt(per_cent * (100 - per_cent) / questions)
