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
from infwidth.reporting.claims.claim import Guess
from infwidth.reporting.takes import duration, gibibytes
from infwidth.runs.spec import SCALES
from infwidth.runs.store import Record

DECIDES_NUMBERS = False

PREDICTIONS = "predictions.csv"


@dataclass(frozen=True)
class Prediction:
    """A line of predictions.csv: what a run of a row at a scale takes, as the program predicts it on some hardware."""

    row: str
    scale: str
    train_seconds: float
    memory_bytes: int
    disk_bytes: int
    hardware: str


@dataclass(frozen=True)
class Cost:
    """Of runs: their seconds, the largest memory and all disk in bytes (None: not known), and how it is known."""

    seconds: float
    memory: int | None
    disk: int | None
    how: str

    def times(self, number: int) -> "Cost":
        """So many such runs, one after another."""
        return Cost(self.seconds * number, self.memory, self.disk and self.disk * number, self.how)

    @property
    def sentence(self) -> str:
        sizes = [f", {gibibytes(self.memory)}"] if self.memory else []
        sizes += [f", {gibibytes(self.disk)} of disk"] if self.disk else []
        return f"{duration(self.seconds)} {self.how}{''.join(sizes)}"


def recorded(records: Sequence[Record]) -> Cost:
    """A seed of a row, with all candidates that were tried, by its runs."""
    seeds = len({record.seed for record in records})
    peak = max(record.peak_memory_bytes for record in records)
    return Cost(sum(record.wall_seconds for record in records) / seeds, peak or None, None, "recorded")


def predicted(found: Prediction) -> Cost:
    return Cost(found.train_seconds, found.memory_bytes, found.disk_bytes, "of training predicted")


def guessed(guess: Guess) -> Cost:
    memory = None if guess.gibibytes is None else round(guess.gibibytes * 2**30)
    return Cost(3600 * guess.hours, memory, None, f"on {guess.device}, estimated by hand")


def total(costs: Mapping[str, Cost | None]) -> str:
    """In words, what rows take together, such as '57 min recorded, 2.4 GiB; not known: pi_limit'. costs: by row."""
    by_how: dict[str, list[Cost]] = {}
    for cost in filter(None, costs.values()):
        by_how.setdefault(cost.how, []).append(cost)
    parts = [_sum(group).sentence for group in by_how.values()]
    unknown = [row for row, cost in costs.items() if cost is None]
    return "; ".join([*parts, f"not known: {', '.join(unknown)}"] if unknown else parts)


def _sum(costs: Sequence[Cost]) -> Cost:
    memory = max((cost.memory for cost in costs if cost.memory), default=None)
    disk = sum(cost.disk for cost in costs if cost.disk) or None
    return Cost(sum(cost.seconds for cost in costs), memory, disk, costs[0].how)


def read(folder: Path) -> dict[tuple[str, str], Prediction]:
    """By row and scale, what is kept of predictions; nothing if there is no file. DataError for a damaged one."""
    path = folder / PREDICTIONS
    if not path.exists():
        return {}
    types = {"train_seconds": float, "memory_bytes": int, "disk_bytes": int}
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        found = [Prediction(**{name: types.get(name, str)(value) for name, value in row.items()}) for row in rows]
        return {(p.row, p.scale): p for p in found}
    except (OSError, ValueError, TypeError) as e:
        raise DataError(
            f"{path} cannot be read ({' '.join(str(e).split())}); restore it from git, or remove it."
        ) from e


def write(folder: Path, predictions: Iterable[Prediction]) -> None:
    """A line for each, in the order of scales and rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Prediction)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(p) for p in sorted(predictions, key=lambda p: (SCALES.index(p.scale), p.row)))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PREDICTIONS).write_text(text.getvalue(), encoding="utf-8")
