"""Runs as records: read from run directories, merged with an experiment's runs.csv, written back to it."""

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from infwidth.errors import DataError

RUNS_CSV = "runs.csv"
ENDED = ("finished", "diverged")
DECIDING = ("task", "model", "parametrization", "trainer", "data")
SCALES = ("demo", "cpu", "paper")
"""From the smallest to the published one."""

NOT_DECIDING = {
    "trainer": {"checkpoint_every", "progress", "device", "threads"},
    "task": {"neighbours_of", "embeddings", "embedding_rank"},
    "data": {"root", "mirror", "path", "questions"},
}
"""Keys of those groups that change no number and, being paths or devices of one machine, have no place in a table."""


@dataclass(frozen=True)
class Record:
    """One run. config: its groups that decide the numbers; metrics: final values; curve: validation accuracy by epoch.

    folder is the local run directory, empty for a run known from runs.csv only.
    """

    id: str
    name: str
    row: str
    seed: int
    scale: str  # several, separated by spaces, where they ask for the very same run
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


def deciding(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a run's config that decides its numbers; two seeds of a row have it in common."""
    return {
        part: {k: v for k, v in config[part].items() if v is not None and k not in NOT_DECIDING.get(part, ())}
        for part in DECIDING
        if part in config
    }


def read_run(folder: Path) -> Record | None:
    """The record of a run directory; None while the run has not ended, DataError if it is damaged."""
    try:
        summary = json.loads((folder / "summary.json").read_text())
        if summary["status"] not in ENDED:
            return None
        config = yaml.safe_load((folder / "config.yaml").read_text())
        curve = []
        for line in (folder / "metrics.jsonl").read_text().splitlines() if (folder / "metrics.jsonl").exists() else []:
            row = json.loads(line)
            if "validation/accuracy" in row:
                curve.append([row["epoch"], round(row["validation/accuracy"], 4)])
        provenance = summary["provenance"]
        return Record(
            id=summary["id"], name=summary["name"], row=summary["row"] or "", seed=summary["seed"], scale=" ".join(summary.get("scales", [summary["scale"]])), status=summary["status"],
            parametrization=summary["parametrization"], data=summary["data"]["label"], hardware=provenance["hardware"], commit=provenance["commit"],
            wall_seconds=provenance["wall_seconds"], peak_memory_bytes=provenance["peak_memory_bytes"], best_epoch=summary.get("best_epoch"),
            metrics={k: round(v, 6) for k, v in summary.get("metrics", {}).items()}, curve=curve,
            config=deciding(config), versions=provenance["versions"], folder=str(folder),
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as e:
        raise DataError(
            f"the run directory {folder} is damaged ({e!r}); delete it and run its experiment again."
        ) from e


def read_csv(path: Path) -> list[Record]:
    """The records of a runs.csv; none if the file does not exist."""
    if not path.exists():
        return []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path} cannot be read ({e}); restore the file from git.") from e
    return [_from_csv(row, f"{path}, line {number}") for number, row in enumerate(csv.DictReader(lines), start=2)]


def _from_csv(row: dict[str, str], where: str) -> Record:
    try:
        values = {k: json.loads(v) if k in _JSON else v for k, v in row.items()}
        values |= {k: int(row[k]) for k in ("seed", "peak_memory_bytes")} | {"wall_seconds": float(row["wall_seconds"])}
        values["best_epoch"] = int(row["best_epoch"]) if row["best_epoch"] else None
        record = Record(**values)
        return replace(record, config=deciding(record.config))
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise DataError(f"{where} is not a run ({e}); restore the file from git.") from e


def write_csv(path: Path, records: Iterable[Record]) -> None:
    """A line per ended run, in the order given."""
    names = [f.name for f in fields(Record) if f.name != "folder"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as f:
        writer = csv.DictWriter(f, names, lineterminator="\n")
        writer.writeheader()
        for record in records:
            values = asdict(record)
            row = {
                k: json.dumps(values[k], sort_keys=True, separators=(",", ":")) if k in _JSON else values[k]
                for k in names
            }
            writer.writerow({k: "" if v is None else v for k, v in row.items()})


def load(results: Path, name: str) -> list[Record]:
    """All ended runs of an experiment, always in the same order: local directories win over lines of runs.csv with the same id."""
    merged = {r.id: r for r in read_csv(results / name / RUNS_CSV)}
    for folder in sorted(p for p in (results / "runs" / name).glob("*") if p.is_dir()):
        record = read_run(folder)
        if record is not None:
            known = merged[record.id].scale.split() if record.id in merged else []
            merged[record.id] = replace(record, scale=" ".join(sorted({*known, *record.scale.split()})))
    return sorted(merged.values(), key=lambda r: (r.scale, r.row, r.seed, r.id))
