"""Every claim of the papers: PASS, FAIL or NOT RUN: `make verify` or `python -m infwidth.verify name=maml`.

By the records that the tables stand on. What is missing is run with ``run=true``, by the functions of
:mod:`infwidth.reproduce`. The exit status is 0, whatever became of the claims; with ``strict=true`` it is 1 if one
fails.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from infwidth import report, reproduce
from infwidth.command import INTERRUPTED, command
from infwidth.config import key, load
from infwidth.errors import ConfigError, InfwidthError
from infwidth.job import specified
from infwidth.reporting.claims import book as claims_book
from infwidth.reporting.claims import costs, show
from infwidth.reporting.claims.book import OfMeasurements, OfRows
from infwidth.reporting.claims.costs import Cost, Prediction
from infwidth.reporting.claims.verdict import FAIL, NOT_RUN, Verdict, counts
from infwidth.runs.compose import COMMANDS, plain
from infwidth.runs.folders import PathsConfig
from infwidth.runs.plan import Planned
from infwidth.training import provenance
from infwidth.training.stopping import Interrupted

DECIDES_NUMBERS = False

FAILED = 1
"""Exit status with strict=true if a claim fails."""

Book = OfRows | OfMeasurements


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """conf/command/verify.yaml"""

    name: str | None
    strict: bool
    run: bool
    predict: bool
    hours: float | None = key(above=0)
    data: str | None
    overrides: tuple[str, ...]
    paths: PathsConfig


@dataclass(frozen=True)
class Missing:
    """What a claim lacks that can be run. costs: by row or part, None where nothing is known of it."""

    book: Book
    verdict: Verdict
    costs: Mapping[str, Cost | None]

    @property
    def scale(self) -> str:
        return self.verdict.claim.scale

    @property
    def seconds(self) -> float | None:
        """In all; None if that is not known of a row."""
        known = [cost.seconds for cost in self.costs.values() if cost is not None]
        return sum(known) if len(known) == len(self.costs) else None


def books(chosen: VerifyConfig) -> list[Book]:
    """The claims that are asked for. ConfigError if there are none of that name."""
    found = claims_book.books(Path(chosen.paths.results))
    if chosen.name is None:
        return found
    named = [book for book in found if book.experiment == chosen.name]
    if not named:
        raise ConfigError(
            f"name is {chosen.name}, which has no claims; these have some: {', '.join(b.experiment for b in found)}."
        )
    return named


def said(found: Sequence[Book]) -> list[Verdict]:
    """Print the verdicts with the numbers behind them, and how many there are of each; the verdicts."""
    verdicts = []
    for book in found:
        print(f"\n{book.experiment}")
        for verdict in book.verdicts():
            verdicts.append(verdict)
            claim = verdict.claim
            print(f"  {show.verdict_word(verdict)}: {claim.sentence} ({claim.source})")
            for line in show.details(verdict):
                print(f"      {line}")
    print(f"\n{show.summary(verdicts)} {show.EXPLAINED}", flush=True)
    return verdicts


def missing(found: Sequence[Book], hours: float | None = None) -> list[Missing]:
    """What the claims that were not run lack, the shortest first; what is marked is for replay.

    hours: only claims whose missing runs take at most so many.
    """
    lacking = []
    for book in found:
        for verdict in book.verdicts():
            rows, scale = verdict.outcome.lacking, verdict.claim.scale
            if verdict.word == NOT_RUN and rows:
                lacking.append(Missing(book, verdict, {row: _cost(book, row, scale) for row in rows}))
    if hours is not None:
        lacking = [m for m in lacking if m.seconds is not None and m.seconds <= 3600 * hours]
    return sorted(lacking, key=lambda m: (m.seconds is None, m.seconds or 0.0))


def _cost(book: Book, row: str, scale: str) -> Cost | None:
    """What the seeds of a row take that are not there."""
    cost, there = book.cost(row, scale), len({record.seed for record in book.records_of(row, scale)})
    return cost and cost.times(book.planned_seeds(row, scale) - there)


def runs_of(book: OfRows, scale: str, rows: Sequence[str], chosen: VerifyConfig) -> list[Planned]:
    """The runs of these rows that are not there. ConfigError for overrides that decide numbers."""
    there = {
        _identity(row, record.seed, candidate)
        for record in book.records
        for at, row, candidate in book.plan.members(record.config)
        if at == scale
    }
    known = chosen.data in book.plan.recipe.datasets
    on_data = [row for row in rows if known and row in book.plan.rows_on(scale, chosen.data)]
    runs = _asked(book, scale, on_data, chosen.data, chosen)
    runs += _asked(book, scale, [row for row in rows if row not in on_data], None, chosen)
    return [run for run in runs if _identity(run.row, run.seed, run.candidate) not in there]


def _asked(book: OfRows, scale: str, rows: Sequence[str], data: str | None, chosen: VerifyConfig) -> list[Planned]:
    """All runs of these rows, as reproduce would carry them out."""
    if not rows:
        return []
    overrides = (*chosen.overrides, f"paths.results={chosen.paths.results}")
    asked = reproduce.ReproduceConfig(
        experiment=book.experiment,
        scale=scale,
        seeds=None,
        rows=tuple(rows),
        data=data,
        force=False,
        overrides=overrides,
    )
    plan, runs = reproduce.asked_for(asked)
    if not plan.published:
        raise ConfigError(
            f"overrides has {', '.join(chosen.overrides)}, which makes other runs of {book.experiment} than those that "
            "the claims are about; leave it out, or use reproduce, which gives such runs a table of their own."
        )
    return runs


def _identity(row: str, seed: int, candidate: Mapping[str, Any]) -> str:
    return json.dumps([row, seed, dict(candidate)], sort_keys=True)


def predict(found: Sequence[Book], chosen: VerifyConfig) -> None:
    """Predict what is missing, was never recorded and is not predicted yet, and keep it beside runs.csv."""
    wanted = {(m.book.experiment, m.scale, row): m.book for m in missing(found) for row in m.costs}
    new: dict[str, list[Prediction]] = {}
    for (experiment, scale, row), book in wanted.items():
        if isinstance(book, OfRows) and not book.records_of(row, scale) and (row, scale) not in book.predictions:
            prediction = _prediction(book, scale, row, chosen)
            if prediction is not None:
                new.setdefault(experiment, []).append(prediction)
    for book in found:
        if book.experiment in new:
            costs.write(book.folder, [*book.predictions.values(), *new[book.experiment]])


def _prediction(book: OfRows, scale: str, row: str, chosen: VerifyConfig) -> Prediction | None:
    """What one run of a row takes; None, and that is said, where it cannot be predicted."""
    (first, *_) = runs_of(book, scale, [row], chosen)
    try:
        job = specified(first.config)
        predicted = job.resources.predicted()
    except InfwidthError as e:
        print(f"{book.experiment}/{row}: not predicted: {e}", flush=True)
        return None
    if predicted.train_seconds is None:
        print(f"{book.experiment}/{row}: the time of such runs is not predicted.", flush=True)
        return None
    # The present state and the best one, which is what a run asks for at its start.
    disk = 2 * predicted.state_bytes if job.spec.trainer.checkpoint_every else 0
    hardware = provenance.hardware(job.resources.device)
    return Prediction(row, scale, predicted.train_seconds, predicted.peak.bytes, disk, hardware)


def say_costs(wanted: Sequence[Missing]) -> None:
    """Print what each claim's missing runs take, and all of them, each row once."""
    print("\nWhat is missing takes, claim by claim:")
    every: dict[str, Cost | None] = {}
    for m in wanted:
        print(f"  {m.book.experiment}, {m.verdict.claim.sentence}\n      {costs.total(m.costs)}")
        every |= {f"{m.book.experiment}/{row} ({m.scale})": cost for row, cost in m.costs.items()}
    print(f"In all, each row once: {costs.total(every) or 'nothing'}.", flush=True)


def run(wanted: Sequence[Missing], chosen: VerifyConfig) -> list[str]:
    """Run what is missing, the shortest claims first, and report; the messages of the runs that failed."""
    runs: dict[str, Planned] = {}
    measured: dict[str, str] = {}
    for m in wanted:
        if isinstance(m.book, OfMeasurements):
            measured[m.book.experiment] = m.scale
            continue
        for planned in runs_of(m.book, m.scale, list(m.costs), chosen):
            runs.setdefault(
                f"{m.book.experiment} {m.scale} {_identity(planned.row, planned.seed, planned.candidate)}", planned
            )
    failures = reproduce.carry_out(list(runs.values()))
    for experiment, scale in measured.items():
        overrides = (*chosen.overrides, f"paths.results={chosen.paths.results}")
        reproduce.measured(
            reproduce.ReproduceConfig(
                experiment=experiment, scale=scale, seeds=None, rows=None, data=None, force=False, overrides=overrides
            )
        )
    if runs:
        report.write(Path(chosen.paths.results))
    return failures


@command(COMMANDS, "verify")
def main(config: DictConfig) -> None:
    chosen = load(VerifyConfig, plain(config), "")
    verdicts, failures = said(books(chosen)), []
    if chosen.run or chosen.predict:
        predict(books(chosen), chosen)
        wanted = missing(books(chosen), chosen.hours)
        say_costs(wanted)
        if chosen.run and wanted:
            try:
                failures = run(wanted, chosen)
            except Interrupted as e:
                print(e, file=sys.stderr, flush=True)
                sys.exit(INTERRUPTED)
            verdicts = said(books(chosen))
    if failures:
        raise InfwidthError(f"{len(failures)} runs failed: {'; '.join(failures)}")
    if chosen.strict and counts(verdicts)[FAIL]:
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
