"""Runs as records: read from run folders, merged with an experiment's runs.csv, written back to it.

A measurement of the theory experiment is a record like any other: its row is the part that was measured,
and its table lies in the run's folder, or beside runs.csv as ``<part>.csv``.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from infwidth.errors import DataError

DECIDES_NUMBERS = False

RUNS, RUNS_CSV, FINGERPRINTS = "runs", "runs.csv", "fingerprints"
ENDED = ("finished", "diverged")
GROUPS = ("task", "data", "model", "parametrization", "trainer")
"""The groups of a config that a record keeps."""

OF_THIS_MACHINE = {"trainer": ("device", "progress", "threads"), "data": ("root", "mirror")}
"""Keys that say where a run was made, which its provenance says better."""


@dataclass(frozen=True)
class Record:
    """One run.

    row: what its config says that it is, which a plan decides. config: the groups of its config. metrics: final values.
    curve: [epoch, validation accuracy].
    training: what its epochs say of the whole: CPU seconds, and of a model that grows the most rows and largest errors.
    provenance: system, versions, threads and what else is known of where it was made.
    fingerprint: the digest of the code that made it.
    replay: what it takes to see whether it would come out the same today.
    folder: the local run folder, empty for a run known from runs.csv only.
    """

    id: str
    name: str
    row: str
    seed: int
    status: str
    parametrization: str
    data: str
    checksum: str
    hardware: str
    commit: str
    wall_seconds: float
    peak_memory_bytes: int
    best_epoch: int | None
    metrics: dict[str, float]
    curve: list[list[float]]
    config: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    replay: dict[str, Any] = field(default_factory=dict)
    folder: str = ""
    training: dict[str, float] = field(default_factory=dict)

    @property
    def versions(self) -> Mapping[str, str]:
        return self.provenance.get("versions", {})


JSON = ("metrics", "curve", "config", "provenance", "replay", "training")
"""Columns of runs.csv that hold JSON."""


def kept_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The groups of a plain config that a record keeps, without what concerns one machine only."""
    found = {}
    for group in GROUPS:
        left_out = OF_THIS_MACHINE.get(group, ())
        found[group] = {k: v for k, v in config[group].items() if k not in left_out}
    return found


def read_run(folder: Path) -> Record | None:
    """The record of a run folder; None while the run has not ended. DataError if the folder is damaged."""
    try:
        summary = json.loads((folder / "summary.json").read_text())
        if summary["status"] not in ENDED:
            return None
        about, provenance = _text_fields(summary), dict(summary["provenance"])
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config = config["deciding"] if "deciding" in config else kept_config(config)
        epochs = history(folder)
        return Record(
            **about,
            seed=_typed(summary.get("seed", 0), int),
            hardware=_typed(provenance.pop("hardware"), str),
            commit=_typed(provenance.pop("commit"), str),
            wall_seconds=_typed(provenance.pop("wall_seconds"), float, int),
            peak_memory_bytes=_typed(provenance.pop("peak_memory_bytes"), int),
            best_epoch=_typed(summary.get("best_epoch"), int, type(None)),
            metrics=_metrics(summary.get("metrics", {})),
            curve=_curve(epochs),
            training=_training(epochs),
            config=config,
            provenance=provenance,
            fingerprint=_typed(summary.get("fingerprint", ""), str),
            replay=_typed(summary.get("replay", {}), dict),
            folder=str(folder),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OSError, yaml.YAMLError) as e:
        reason = " ".join(f"{type(e).__name__}: {e}".split())
        raise DataError(
            f"the run folder {folder} is damaged ({reason}); delete it and run its experiment again."
        ) from e


def _text_fields(summary: Mapping[str, Any]) -> dict[str, str]:
    data = summary.get("data", {"label": "", "checksum": ""})
    found = {name: summary[name] for name in ("id", "name", "status")}
    found |= {"row": summary.get("row") or "", "parametrization": summary.get("parametrization", "")}
    found |= {"data": data["label"], "checksum": data["checksum"]}
    return {name: _typed(value, str) for name, value in found.items()}


def _typed(value: Any, *types: type) -> Any:
    if not isinstance(value, types) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no {types[0].__name__}")
    return value


def _metrics(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Those that are finite: null stands for a number that is not."""
    return {name: round(_typed(value, float, int), 6) for name, value in metrics.items() if value is not None}


def history(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; none where there is no such file."""
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _curve(epochs: Iterable[Mapping[str, Any]]) -> list[list[float]]:
    found = [(row["epoch"], row.get("validation/accuracy")) for row in epochs if "epoch" in row]
    return [[epoch, round(accuracy, 4)] for epoch, accuracy in found if accuracy is not None]


def _training(epochs: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The largest CPU seconds, which are counted from the start, and of what a model says of itself the largest value
    of each name, of any layer."""
    found: dict[str, float] = {}
    for row in epochs:
        for key, value in row.items():
            if key.startswith("model/") and value is not None:
                name = key.removeprefix("model/").rpartition("_")[0]  # without the layer
                found[name] = max(value, found.get(name, 0.0))
        found |= {name: row[name] for name in ("cpu_seconds", "step_cpu_seconds") if row.get(name) is not None}
    return {name: round(value, 6) for name, value in found.items()}


def read_csv(path: Path) -> list[Record]:
    """The records of a runs.csv; none if the file does not exist. DataError that names the line that is no run."""
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path} cannot be read ({e}); restore the file from git.") from e
    csv.field_size_limit(1 << 30)
    rows = csv.DictReader(io.StringIO(text))
    return [_from_csv(row, f"{path}, line {number}") for number, row in enumerate(rows, start=2)]


def _from_csv(row: dict[str, str], where: str) -> Record:
    try:
        values: dict[str, Any] = {name: json.loads(text) if name in JSON else text for name, text in row.items()}
        values |= {name: int(row[name]) for name in ("seed", "peak_memory_bytes")}
        values["wall_seconds"] = float(row["wall_seconds"])
        values["best_epoch"] = int(row["best_epoch"]) if row["best_epoch"] else None
        if values["status"] not in ENDED:
            raise ValueError(f"status {values['status']!r}")
        for name in ("metrics", "config", "provenance", "replay"):
            _typed(values[name], dict)
        return Record(**values)
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise DataError(f"{where} is not a run ({type(e).__name__}: {e}); restore the file from git.") from e


def write_csv(path: Path, records: Iterable[Record]) -> None:
    """A line per ended run, in the order given."""
    names = [f.name for f in fields(Record) if f.name != "folder"]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        values = asdict(record)
        row = {name: _as_json(values[name]) if name in JSON else values[name] for name in names}
        writer.writerow({name: "" if value is None else value for name, value in row.items()})
    path.write_text(text.getvalue(), encoding="utf-8")


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def load(results: Path, name: str) -> list[Record]:
    """All ended runs of that name, always in the same order.

    Local folders win over lines of runs.csv with the same id.
    """
    merged = {record.id: record for record in read_csv(results / name / RUNS_CSV)}
    for folder in sorted(path for path in (results / RUNS / name).glob("*") if path.is_dir()):
        record = read_run(folder)
        if record is not None:
            merged[record.id] = record
    return sorted(merged.values(), key=lambda record: (record.row, record.seed, record.id))


def names(results: Path) -> list[str]:
    """The names under which there are ended runs: local folders, or what is kept of them."""
    local = {path.name for path in (results / RUNS).glob("*") if any(_ended(f) for f in path.glob("*/summary.json"))}
    return sorted(local | {path.parent.name for path in results.glob(f"*/{RUNS_CSV}")})


def _ended(summary: Path) -> bool:
    try:
        return json.loads(summary.read_text())["status"] in ENDED
    except (OSError, ValueError, KeyError, TypeError):
        return False
