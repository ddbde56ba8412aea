"""The claims of an experiment beside the runs that there are, and what these say of each.

The lines are those of the table (:func:`infwidth.reporting.table.lines`), the measurements those of the theory report:
a claim has no records of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from infwidth.errors import DataError
from infwidth.reporting import measurements, table
from infwidth.reporting.claims import claim as claims_files
from infwidth.reporting.claims import costs
from infwidth.reporting.claims.claim import Claim
from infwidth.reporting.claims.costs import Cost, Prediction
from infwidth.reporting.claims.estimate import Finding
from infwidth.reporting.claims.evidence import evidence
from infwidth.reporting.claims.rows import Rows
from infwidth.reporting.claims.verdict import Outcome, Verdict
from infwidth.reporting.table import Line
from infwidth.runs import plan as plans
from infwidth.runs import standing, store
from infwidth.runs.spec import SCALES
from infwidth.runs.store import Record
from infwidth.theory.experiment import TheoryRecipe
from infwidth.theory.experiment import read_recipe as read_theory_recipe

DECIDES_NUMBERS = False

THEORY = "theory"
"""The experiment that is made of measurements instead of training runs."""

Marked = Callable[[Record], bool]


@dataclass(frozen=True)
class Book:
    """What the claims about rows and those about measurements have in common.

    given: whether a record's row is marked, in place of asking today's code.
    """

    experiment: str
    results: Path
    given: Marked | None = None

    @property
    def folder(self) -> Path:
        """Of the experiment's table."""
        return self.results / self.experiment

    @cached_property
    def marked(self) -> Marked:
        return self.given or standing.marker(self.results, self.experiment)

    @cached_property
    def predictions(self) -> dict[tuple[str, str], Prediction]:
        return costs.read(self.folder)

    def cost(self, row: str, scale: str) -> Cost | None:
        """What a seed of a row takes, with all its candidates; None if nothing is known of it."""
        if records := self.records_of(row, scale):
            return costs.recorded(records)
        if (row, scale) in self.predictions:
            return costs.predicted(self.predictions[row, scale])
        guess = self.claims.guess(row, scale)
        return None if guess is None else costs.guessed(guess)

    def takes(self, claim: Claim) -> str:
        """In words, what a claim takes at its scale with all planned seeds."""
        every = {row: self.cost(row, claim.scale) for row in self.needs(claim)}
        planned = {row: cost and cost.times(self.planned_seeds(row, claim.scale)) for row, cost in every.items()}
        return costs.total(planned)

    def verdicts(self) -> list[Verdict]:
        return [self.verdict(claim) for claim in self.claims.claims]

    def verdict(self, claim: Claim) -> Verdict:
        beside = self.outcome(claim, claim.also) if claim.also else None
        shown = beside if beside is not None and not beside.lacking else None
        return Verdict(self.experiment, claim, self.outcome(claim, claim.scale), shown, self.takes(claim))


@dataclass(frozen=True)
class OfRows(Book):
    """The claims about the rows of a table."""

    @cached_property
    def plan(self) -> plans.Plan:
        return plans.plan_of(self.experiment)

    @cached_property
    def paper(self) -> pd.DataFrame:
        return table.read_paper(plans.EXPERIMENTS / self.experiment / "paper.csv")

    @cached_property
    def claims(self) -> claims_files.Claims:
        return claims_files.of_rows(self.experiment, self.plan.recipe, self.paper)

    @cached_property
    def records(self) -> list[Record]:
        return store.load(self.results, self.experiment)

    @cached_property
    def lines(self) -> list[Line]:
        return table.lines(self.records, self.plan, self.marked)[0]

    @property
    def there(self) -> bool:
        """Whether any row is there at a scale that claims are about."""
        return any(line.scale in claims_files.SCALES for line in self.lines)

    def needs(self, claim: Claim) -> tuple[str, ...]:
        """The rows that decide a claim."""
        shown = [panel.row for panel in self.plan.recipe.pca if panel.title in claim.check.panels]
        return tuple(dict.fromkeys((*claim.check.needs, *shown)))

    def planned_seeds(self, row: str, scale: str) -> int:
        return self.plan.recipe.seeds_of(row, scale)

    def records_of(self, row: str, scale: str) -> list[Record]:
        """The runs of a row at a scale, of all its candidates."""
        return [r for r in self.records if any(place[:2] == (scale, row) for place in self.plan.members(r.config))]

    def outcome(self, claim: Claim, scale: str) -> Outcome:
        needed = self.needs(claim)
        data, lines = self._lines(needed, scale)
        stands_in = bool(data) and data not in self._published_data(needed)
        lacking = self._lacking(needed, lines, scale)
        marked = [row for row in needed if row in lines and lines[row].marked]
        if lacking or marked:
            return Outcome(scale, data, stands_in, lacking, marked)
        beside = [line for line in self.lines if (line.scale, line.data) == (scale, data) and not line.marked]
        rows = evidence(beside, self.paper, self.claims.alike, self.folder)
        if lacking := self._without_evidence(claim, rows):
            return Outcome(scale, data, stands_in, lacking)
        findings = _findings(claim, claim.check.findings(rows))
        note = self._note(claim, rows)
        return Outcome(scale, data, stands_in, {}, (), findings, _seeds(lines), note)

    def _lines(self, needed: Sequence[str], scale: str) -> tuple[str, dict[str, Line]]:
        """The lines of these rows by row, on the data that has the most of them, the paper's first; and these data."""
        by_data: dict[str, dict[str, Line]] = {}
        for line in self.lines:
            if line.scale == scale and line.row in needed:
                by_data.setdefault(line.data, {})[line.row] = line
        if not by_data:
            return "", {}
        published = self._published_data(needed)
        data = max(sorted(by_data), key=lambda name: (len(by_data[name]), name in published))
        return data, by_data[data]

    def _published_data(self, rows: Sequence[str]) -> set[str]:
        """What the paper's rows were made from."""
        return set(self.paper[self.paper.row.isin(rows)].data)

    def _lacking(self, needed: Sequence[str], lines: Mapping[str, Line], scale: str) -> dict[str, str]:
        """The rows that are not there with all their planned seeds, and how many there are of these."""
        found = {}
        for row in needed:
            planned = self.planned_seeds(row, scale)
            there = len(lines[row].records) if row in lines else 0
            if there < planned:
                found[row] = f"{there} of {planned} seeds" if there else ""
        return found

    def _without_evidence(self, claim: Claim, rows: Rows) -> dict[str, str]:
        """What a claim needs besides finished runs, and what of that is not there."""
        panels = [panel for panel in self.plan.recipe.pca if panel.title in claim.check.panels]
        found = {panel.row: "its picture is not kept" for panel in panels if panel.title not in rows.panels}
        for row in claim.check.needs:
            metric = rows.metric(row, claim.check)
            if (row, metric) not in rows.samples:
                found[row] = f"no {metric.replace('_', ' ')} with a standard error is kept of it"
        return found

    def _note(self, claim: Claim, rows: Rows) -> str:
        if claim.check.panels:
            return "one run of each; the interval is over the examples that are classified"
        seeded = [row for row in claim.check.needs if row not in self.plan.recipe.unseeded]
        if any(not rows.spread(row, rows.metric(row, claim.check)).freedom for row in seeded):
            return "the interval is over the examples of the test; of one seed, the spread over seeds is not in it"
        return ""


def _seeds(lines: Mapping[str, Line]) -> str:
    fewest, most = (choose(len(line.records) for line in lines.values()) for choose in (min, max))
    if fewest < most:
        return f"{fewest} to {most} seeds"
    return "1 seed" if most == 1 else f"{most} seeds"


def _findings(claim: Claim, found: Sequence[Finding]) -> Sequence[Finding]:
    """The findings. DataError if there are none: such a claim would hold whatever was measured."""
    if not found:
        raise DataError(f"the claim {claim.claim!r} finds nothing to check; correct its keys in claims.yaml.")
    return found


@dataclass(frozen=True)
class OfMeasurements(Book):
    """The claims about the measurements of the theory experiment."""

    @cached_property
    def recipe(self) -> TheoryRecipe:
        return read_theory_recipe(plans.EXPERIMENTS / self.experiment)

    @cached_property
    def claims(self) -> claims_files.Claims:
        return claims_files.of_measurements(self.experiment, self.recipe)

    @cached_property
    def measured(self) -> dict[str, measurements.Measurement]:
        return measurements.load(self.results, self.experiment, self.recipe)

    @property
    def there(self) -> bool:
        """Whether any measurement is there at a scale that claims are about."""
        return any(measurement.scale in claims_files.SCALES for measurement in self.measured.values())

    def needs(self, claim: Claim) -> tuple[str, ...]:
        """The parts that decide a claim."""
        return claim.check.needs

    def planned_seeds(self, row: str, scale: str) -> int:
        return 1

    def at(self, part: str, scale: str) -> measurements.Measurement | None:
        """A part at a scale or a larger one."""
        found = self.measured.get(part)
        return found if found is not None and SCALES.index(found.scale) >= SCALES.index(scale) else None

    def records_of(self, row: str, scale: str) -> list[Record]:
        found = self.at(row, scale)
        return [] if found is None else [found.record]

    def outcome(self, claim: Claim, scale: str) -> Outcome:
        parts = {part: self.at(part, scale) for part in claim.check.needs}
        lacking = {part: "" for part, measured in parts.items() if measured is None}
        marked = [part for part, measured in parts.items() if measured is not None and self.marked(measured.record)]
        if lacking or marked:
            return Outcome(scale, lacking=lacking, marked=marked)
        tables = {part: measured.table for part, measured in parts.items()}
        return Outcome(scale, findings=_findings(claim, claim.check.findings(tables)))


def books(results: Path, given: Marked | None = None) -> list[OfRows | OfMeasurements]:
    """The claims of every experiment that has some, with the runs that there are."""
    return [(OfMeasurements if name == THEORY else OfRows)(name, results, given) for name in claims_files.experiments()]


def verdicts(results: Path, given: Marked | None = None) -> list[Verdict]:
    """What became of every claim."""
    return [verdict for book in books(results, given) for verdict in book.verdicts()]
