"""What became of each claim: PASS, FAIL or NOT RUN, by the runs that the tables stand on.

PASS: the whole interval of every number of the claim is inside its range. FAIL: it is not; 'undecided' is said where an
interval reaches across the end of its range, so that more seeds or a larger test would tell. NOT RUN: a row that the
claim needs is not there with all its planned seeds at the claim's scale, or is marked.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from infwidth.errors import DataError
from infwidth.reporting import kept, measurements, order, pca, table
from infwidth.reporting.claims import claim as claims_files
from infwidth.reporting.claims.claim import Claim
from infwidth.reporting.claims.estimate import Finding, Sample
from infwidth.reporting.claims.rows import Rows, binomial_error
from infwidth.reporting.table import MARK, Line
from infwidth.runs import plan as plans
from infwidth.runs import standing, store
from infwidth.runs.spec import SCALES
from infwidth.runs.store import Record
from infwidth.theory.experiment import read_recipe as read_theory_recipe

DECIDES_NUMBERS = False

PASS, FAIL, NOT_RUN = "PASS", "FAIL", "NOT RUN"
THEORY = "theory"
"""The experiment that is made of measurements instead of training runs."""


@dataclass(frozen=True)
class Outcome:
    """What the rows of one scale say of a claim.

    data: that they were made from, stands_in: whether the paper's were others. lacking: rows or parts that are not
    there, with what is there of them; marked: those whose code has changed. findings: none if anything is lacking.
    seeds: in words. note: what the intervals do not hold.
    """

    scale: str
    data: str = ""
    stands_in: bool = False
    lacking: Mapping[str, str] | None = None
    marked: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    seeds: str = ""
    note: str = ""

    @property
    def made(self) -> bool:
        """Whether everything is there that the claim needs."""
        return not self.lacking and not self.marked

    @property
    def holds(self) -> bool:
        return self.made and all(finding.holds for finding in self.findings)

    @property
    def undecided(self) -> bool:
        """Whether it fails by intervals alone that reach across the end of their range."""
        failing = [finding for finding in self.findings if not finding.holds]
        return bool(failing) and all(finding.undecided for finding in failing)


@dataclass(frozen=True)
class Verdict:
    """A claim with what its scale says of it, and a smaller one, if that can be looked at and was run."""

    experiment: str
    claim: Claim
    outcome: Outcome
    beside: Outcome | None = None

    @property
    def word(self) -> str:
        if not self.outcome.made:
            return NOT_RUN
        return PASS if self.outcome.holds else FAIL


@dataclass(frozen=True)
class OfRows:
    """The claims of an experiment about the rows of its table, and the runs that there are."""

    experiment: str
    results: Path
    mark: Any = None

    @cached_property
    def plan(self) -> plans.Plan:
        return plans.plan_of(self.experiment)

    @cached_property
    def paper(self):
        return table.read_paper(plans.EXPERIMENTS / self.experiment / "paper.csv")

    @cached_property
    def claims(self) -> claims_files.Claims:
        return claims_files.of_rows(self.experiment, self.plan.recipe, self.paper)

    @cached_property
    def records(self) -> list[Record]:
        return store.load(self.results, self.experiment)

    @cached_property
    def lines(self) -> list[Line]:
        marked = self.mark or standing.marker(self.results, self.experiment)
        return table.lines(self.records, self.plan, marked)[0]

    def needs(self, claim: Claim) -> tuple[str, ...]:
        """The rows that decide a claim."""
        shown = [panel.row for panel in self.plan.recipe.pca if panel.title in claim.check.panels]
        return tuple(dict.fromkeys((*claim.check.needs, *shown)))

    def planned_seeds(self, row: str, scale: str) -> int:
        return self.plan.recipe.seeds_of(row, scale)

    def verdicts(self) -> list[Verdict]:
        found = []
        for claim in self.claims.claims:
            beside = self.outcome(claim, claim.also) if claim.also else None
            shown = beside if beside is not None and beside.made else None
            found.append(Verdict(self.experiment, claim, self.outcome(claim, claim.scale), shown))
        return found

    def outcome(self, claim: Claim, scale: str) -> Outcome:
        needed = self.needs(claim)
        data, lines = self._lines(needed, scale)
        lacking = self._lacking(needed, lines, scale)
        marked = [row for row in needed if row in lines and lines[row].marked]
        stands_in = bool(data) and data not in set(self.paper.data)
        if lacking or marked:
            return Outcome(scale, data, stands_in, lacking, marked)
        rows = self._evidence(claim, lines)
        absent = [title for title in claim.check.panels if title not in rows.panels]
        if absent:
            return Outcome(scale, data, stands_in, {lines_row: "no picture is kept of it" for lines_row in needed})
        findings = _found(claim, claim.check.findings(rows))
        return Outcome(scale, data, stands_in, None, (), findings, _seeds(lines), self._note(claim, rows, lines))

    def _lines(self, needed: Sequence[str], scale: str) -> tuple[str, dict[str, Line]]:
        """The lines of these rows on one kind of data, by row: that of the most rows, the paper's first."""
        by_data: dict[str, dict[str, Line]] = {}
        for line in self.lines:
            if line.scale == scale and line.row in needed:
                by_data.setdefault(line.data, {})[line.row] = line
        if not by_data:
            return "", {}
        published = set(self.paper.data)
        data = max(sorted(by_data), key=lambda name: (len(by_data[name]), name in published))
        return data, by_data[data]

    def _lacking(self, needed: Sequence[str], lines: Mapping[str, Line], scale: str) -> dict[str, str]:
        found = {}
        for row in needed:
            planned = self.planned_seeds(row, scale)
            there = len(lines[row].records) if row in lines else 0
            if there < planned:
                found[row] = f"{there} of {planned} seeds" if there else ""
        return found

    def _evidence(self, claim: Claim, lines: Mapping[str, Line]) -> Rows:
        """The lines as samples; with those alike, which may stand elsewhere in the table."""
        first = next(iter(lines.values()))
        every = {
            line.row: line
            for line in self.lines
            if (line.scale, line.data) == (first.scale, first.data) and not line.marked
        }
        samples = {(row, m): s for row, line in every.items() for m, s in samples_of(line).items()}
        drawn = {row: line.finished for row, line in every.items()}
        labels = dict(zip(self.paper.row, self.paper.label, strict=True))
        published = {
            row: next(iter(numbers.items()))
            for row in every
            if (numbers := table.published_numbers(self.paper, row, first.data))
        }
        compared = {(c.worse, c.better): c for c in self._comparisons(drawn)}
        panels = {p.title: p for p in self._panels(drawn)} if claim.check.panels else {}
        return Rows(samples, self.claims.alike, labels, published, compared, panels)

    def _comparisons(self, drawn: Mapping[str, Sequence[Record]]) -> list[order.Comparison]:
        kept_ones = kept.read(self.results / self.experiment / "order.json", drawn) or []
        return [order.Comparison(**row) for row in kept_ones]

    def _panels(self, drawn: Mapping[str, Sequence[Record]]) -> list[pca.Panel]:
        path = self.results / self.experiment / "pca.json"
        return pca.from_rows(kept.read(path, drawn) or [], path)

    def _note(self, claim: Claim, rows: Rows, lines: Mapping[str, Line]) -> str:
        if claim.check.panels:
            return "one run each; the interval is over the examples that are classified"
        seeded = [row for row in claim.check.needs if row not in self.plan.recipe.unseeded]
        if any(not rows.spread(row, "accuracy").freedom for row in seeded):
            return "of one seed: the interval is over the examples of the test, the spread over seeds is not in it"
        return ""


def samples_of(line: Line) -> dict[str, Sample]:
    """The metrics of a line's runs, by their names in the table, with their standard errors over the test.

    Of accuracies whose standard error is kept or follows from the number of questions.
    """
    found = {}
    for metric, name in table.metrics_of(line.records).items():
        errors = [_error(record, name) for record in line.finished if name in record.metrics]
        if None in errors:
            continue
        values = {r.seed: r.metrics.get(name, math.nan) if r.status == "finished" else math.nan for r in line.records}
        mean_square = sum(e**2 for e in errors) / len(errors) if errors else math.nan
        found[metric] = Sample(values, math.sqrt(mean_square))
    return found


def _error(record: Record, name: str) -> float | None:
    """The standard error of a metric over the examples of its split; None if it is not known."""
    kept_one = record.metrics.get(f"{name}_standard_error")
    questions = record.metrics.get(f"{name.partition('/')[0]}/questions")
    if kept_one is None and questions is not None and name.endswith("/accuracy"):
        return binomial_error(record.metrics[name], questions)
    return kept_one


def _seeds(lines: Mapping[str, Line]) -> str:
    counts = sorted({len(line.records) for line in lines.values()})
    if counts == [1]:
        return "1 seed"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def _found(claim: Claim, findings: Sequence[Finding]) -> Sequence[Finding]:
    """The findings. DataError if there are none, which would hold whatever was measured."""
    if not findings:
        raise DataError(f"the claim {claim.claim!r} finds nothing to check; correct its keys in claims.yaml.")
    return findings


@dataclass(frozen=True)
class OfMeasurements:
    """The claims about the measurements of the theory experiment."""

    experiment: str
    results: Path
    mark: Any = None

    @cached_property
    def recipe(self):
        return read_theory_recipe(plans.EXPERIMENTS / self.experiment)

    @cached_property
    def claims(self) -> claims_files.Claims:
        return claims_files.of_measurements(self.experiment, self.recipe)

    @cached_property
    def found(self) -> dict[str, measurements.Measurement]:
        return measurements.load(self.results, self.experiment, self.recipe)

    def needs(self, claim: Claim) -> tuple[str, ...]:
        """The parts that decide a claim."""
        return claim.check.needs

    def planned_seeds(self, row: str, scale: str) -> int:
        return 1

    def verdicts(self) -> list[Verdict]:
        return [Verdict(self.experiment, claim, self.outcome(claim)) for claim in self.claims.claims]

    def outcome(self, claim: Claim) -> Outcome:
        large = {p: m for p, m in self.found.items() if SCALES.index(m.scale) >= SCALES.index(claim.scale)}
        lacking = {part: "" for part in claim.check.needs if part not in large}
        mark = self.mark or standing.marker(self.results, self.experiment)
        marked = [part for part in claim.check.needs if part in large and mark(large[part].record)]
        if lacking or marked:
            return Outcome(claim.scale, lacking=lacking, marked=marked)
        findings = _found(claim, claim.check.findings({part: large[part].table for part in claim.check.needs}))
        return Outcome(claim.scale, findings=findings)


def books(results: Path, mark: Any = None) -> list[OfRows | OfMeasurements]:
    """The claims of every experiment that has some, with the runs that there are.

    mark: whether a record's row is marked, in place of asking today's code.
    """
    return [
        (OfMeasurements if name == THEORY else OfRows)(name, results, mark) for name in claims_files.experiments()
    ]


def all_verdicts(results: Path, mark: Any = None) -> list[Verdict]:
    return [verdict for book in books(results, mark) for verdict in book.verdicts()]


def counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many PASS, FAIL and NOT RUN."""
    words = [verdict.word for verdict in verdicts]
    return {word: words.count(word) for word in (PASS, FAIL, NOT_RUN)}


def marks(verdict: Verdict) -> str:
    """The rows of a claim that are marked, in words; nothing if none is."""
    rows = ", ".join(verdict.outcome.marked)
    return f"{MARK} {rows}" if rows else ""
