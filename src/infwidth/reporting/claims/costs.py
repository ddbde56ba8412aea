"""What the runs behind a claim take: recorded where they were carried out, else predicted, else estimated by hand.

What was recorded comes from the runs' provenance. What was predicted (`python -m infwidth.verify predict=true`) is kept
beside runs.csv: training alone, at the rates that a machine showed.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from infwidth.errors import DataError
from infwidth.reporting.claims.claim import Claim
from infwidth.reporting.claims.verdict import OfMeasurements, OfRows
from infwidth.reporting.takes import duration, gibibytes
from infwidth.runs.spec import SCALES
from infwidth.runs.store import Record

DECIDES_NUMBERS = False

PREDICTIONS = "predictions.csv"
RECORDED, PREDICTED, BY_HAND = "recorded", "predicted", "estimated by hand"


@dataclass(frozen=True)
class Prediction:
    """A line of predictions.csv: what a run of a row at a scale takes, as the program predicts it on some hardware."""

    row: str
    scale: str
    train_seconds: float
    parameter_bytes: int
    disk_bytes: int
    hardware: str


@dataclass(frozen=True)
class Cost:
    """Of runs: their seconds in all, the largest memory and the disk in bytes (None: not known), and how it is known."""

    seconds: float
    memory: int | None
    disk: int | None
    how: str


def read_predictions(folder: Path) -> dict[tuple[str, str], Prediction]:
    """By row and scale, what is kept of predictions; nothing if there is no file. DataError for a damaged one."""
    path = folder / PREDICTIONS
    if not path.exists():
        return {}
    types = {"train_seconds": float, "parameter_bytes": int, "disk_bytes": int}
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        found = [Prediction(**{name: types.get(name, str)(value) for name, value in row.items()}) for row in rows]
        return {(p.row, p.scale): p for p in found}
    except (OSError, ValueError, TypeError) as e:
        raise DataError(f"{path} cannot be read ({' '.join(str(e).split())}); restore it from git, or remove it.") from e


def write_predictions(folder: Path, predictions: Iterable[Prediction]) -> None:
    """In the order of scales and rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Prediction)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(p) for p in sorted(predictions, key=lambda p: (SCALES.index(p.scale), p.row)))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PREDICTIONS).write_text(text.getvalue(), encoding="utf-8")


def of_seed(book: OfRows | OfMeasurements, row: str, scale: str) -> Cost | None:
    """What a seed of a row takes at a scale, with all its candidates; None if nothing is known of it."""
    records = _records(book, row, scale)
    if records:
        seeds = len({record.seed for record in records})
        peak = max(record.peak_memory_bytes for record in records) or None
        return Cost(sum(record.wall_seconds for record in records) / seeds, peak, None, RECORDED)
    predicted = read_predictions(book.results / book.experiment).get((row, scale))
    if predicted is not None:
        return Cost(predicted.train_seconds, predicted.parameter_bytes, predicted.disk_bytes, PREDICTED)
    guess = book.claims.guess(row, scale)
    if guess is not None:
        memory = None if guess.gibibytes is None else round(guess.gibibytes * 2**30)
        return Cost(3600 * guess.hours, memory, None, f"{BY_HAND} on {guess.on}")
    return None


def _records(book: OfRows | OfMeasurements, row: str, scale: str) -> list[Record]:
    if isinstance(book, OfMeasurements):
        measured = book.found.get(row)
        there = measured is not None and SCALES.index(measured.scale) >= SCALES.index(scale)
        return [measured.record] if there else []
    return [r for r in book.records if any(place[:2] == (scale, row) for place in book.plan.members(r.config))]


def of_claim(book: OfRows | OfMeasurements, claim: Claim) -> tuple[list[Cost], list[str]]:
    """What a claim takes at its scale with all planned seeds: the costs by how they are known, and rows of which
    nothing is known."""
    seeds = {row: book.planned_seeds(row, claim.scale) for row in book.needs(claim)}
    return of_runs(book, claim.scale, seeds)


def of_runs(
    book: OfRows | OfMeasurements, scale: str, seeds: Mapping[str, int]
) -> tuple[list[Cost], list[str]]:
    """What so many seeds of each row take."""
    by_how: dict[str, list[Cost]] = {}
    unknown = []
    for row, number in seeds.items():
        cost = of_seed(book, row, scale)
        if cost is None:
            unknown.append(row)
        else:
            by_how.setdefault(cost.how, []).append(Cost(cost.seconds * number, cost.memory, cost.disk, cost.how))
    return [_sum(costs) for costs in by_how.values()], unknown


def _sum(costs: Sequence[Cost]) -> Cost:
    memory = max((c.memory for c in costs if c.memory is not None), default=None)
    disk = [c.disk for c in costs if c.disk is not None]
    return Cost(sum(c.seconds for c in costs), memory, sum(disk) if disk else None, costs[0].how)


def sentence(costs: Sequence[Cost], unknown: Sequence[str]) -> str:
    """Such as '57 min recorded, 2.4 GiB; not known: pi_limit'."""
    parts = []
    for cost in costs:
        what = "training predicted" if cost.how == PREDICTED else cost.how
        sizes = [f", {gibibytes(cost.memory)}"] if cost.memory else []
        sizes += [f", {gibibytes(cost.disk)} of disk"] if cost.disk else []
        parts.append(f"{duration(cost.seconds)} {what}{''.join(sizes)}")
    if unknown:
        parts.append(f"not known: {', '.join(unknown)}")
    return "; ".join(parts)
