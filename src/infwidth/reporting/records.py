"""Runs as records: read from run directories, merged with an experiment's runs.csv, written back to it."""

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from infwidth.errors import DataError

RUNS_CSV = "runs.csv"
DECIDING = ("task", "model", "parametrization", "trainer", "data")


@dataclass(frozen=True)
class Record:
    """One run. config: its groups that decide the numbers; metrics: final values; curve: validation accuracy by epoch.

    folder is the local run directory, empty for a run known from runs.csv only.
    """

    id: str
    name: str
    row: str
    seed: int
    scale: str
    status: str
    parametrization: str
    data: str
    hardware: str
    commit: str
    wall_seconds: float
    peak_memory_bytes: int
    best_epoch: int | None
    metrics: dict[str, float]
    curve: list[list[float]]
    config: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    folder: str = ""


_JSON = {"metrics", "curve", "config", "versions"}


def read_run(folder: Path) -> Record | None:
    """The record of a run directory; None while it has no summary, DataError if it is damaged."""
    try:
        summary = json.loads((folder / "summary.json").read_text())
        config = yaml.safe_load((folder / "config.yaml").read_text())
        curve = []
        for line in (folder / "metrics.jsonl").read_text().splitlines() if (folder / "metrics.jsonl").exists() else []:
            row = json.loads(line)
            if "validation/accuracy" in row:
                curve.append([row["epoch"], round(row["validation/accuracy"], 4)])
        provenance = summary["provenance"]
        return Record(
            id=summary["id"], name=summary["name"], row=summary["row"] or "", seed=summary["seed"], scale=summary["scale"], status=summary["status"],
            parametrization=summary["parametrization"], data=summary["data"]["label"], hardware=provenance["hardware"], commit=provenance["commit"],
            wall_seconds=provenance["wall_seconds"], peak_memory_bytes=provenance["peak_memory_bytes"], best_epoch=summary.get("best_epoch"),
            metrics={k: round(v, 6) for k, v in summary.get("metrics", {}).items()}, curve=curve,
            config={part: config[part] for part in DECIDING if part in config}, versions=provenance["versions"], folder=str(folder),
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as e:
        raise DataError(
            f"the run directory {folder} is damaged ({e!r}); delete it and run its experiment again."
        ) from e


def read_csv(path: Path) -> list[Record]:
    """The records of a runs.csv; none if the file does not exist."""
    if not path.exists():
        return []
    records = []
    with open(path, newline="") as f:
        for number, row in enumerate(csv.DictReader(f), start=2):
            try:
                values = {k: json.loads(v) if k in _JSON else v for k, v in row.items()}
                values |= {
                    "seed": int(row["seed"]),
                    "wall_seconds": float(row["wall_seconds"]),
                    "peak_memory_bytes": int(row["peak_memory_bytes"]),
                }
                values["best_epoch"] = int(row["best_epoch"]) if row["best_epoch"] else None
                records.append(Record(**values))
            except (ValueError, TypeError, KeyError) as e:
                raise DataError(f"{path}, line {number} is not a run ({e}); restore the file from git.") from e
    return records


def write_csv(path: Path, records: Iterable[Record]) -> None:
    """A line per ended run, ordered so that a repeated run changes its own line only."""
    names = [f.name for f in fields(Record) if f.name != "folder"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as f:
        writer = csv.DictWriter(f, names, lineterminator="\n")
        writer.writeheader()
        for record in sorted(records, key=lambda r: (r.scale, r.row, r.seed, r.id)):
            values = asdict(record)
            row = {
                k: json.dumps(values[k], sort_keys=True, separators=(",", ":")) if k in _JSON else values[k]
                for k in names
            }
            writer.writerow({k: "" if v is None else v for k, v in row.items()})


def load(results: Path, name: str) -> list[Record]:
    """All ended runs of an experiment: local directories win over lines of runs.csv with the same id."""
    merged = {r.id: r for r in read_csv(results / name / RUNS_CSV)}
    for folder in sorted((results / "runs" / name).glob("*/")):
        record = read_run(folder)
        if record is not None and record.status in ("finished", "diverged"):
            merged[record.id] = record
    return list(merged.values())
