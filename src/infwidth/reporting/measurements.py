"""Measurements: CSV files of an experiment's parts, from the folders that made them or as kept under results/."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.errors import DataError
from infwidth.reporting.records import SCALES

MEASUREMENTS, KEPT = "measurements.csv", "measurements.json"


@dataclass(frozen=True)
class Measurement:
    """A part's table, the scale that it belongs to and where it came from."""

    part: str
    table: pd.DataFrame
    scale: str
    provenance: dict[str, Any]


def load(results: Path, name: str) -> dict[str, Measurement]:
    """By part, the measurement of the largest scale, the newest of several: those that were just made, and for the others those kept in results/<name>/."""
    found = _kept(results / name)
    for path in sorted((results / "runs" / name).glob("*/summary.json")):
        try:
            summary = json.loads(path.read_text())
            if summary["status"] != "finished" or "part" not in summary:
                continue
            scale = max(summary["scales"], key=SCALES.index)
            new = Measurement(summary["part"], pd.read_csv(path.with_name(MEASUREMENTS)), scale, summary["provenance"])
        except (OSError, ValueError, KeyError) as e:
            raise DataError(
                f"the measurement {path.parent} cannot be read ({e}); remove the folder and measure again."
            ) from e
        old = found.get(new.part)
        if old is None or (SCALES.index(new.scale), new.provenance["ended"]) >= (
            SCALES.index(old.scale),
            old.provenance["ended"],
        ):
            found[new.part] = new
    return found


def _kept(folder: Path) -> dict[str, Measurement]:
    path = folder / KEPT
    if not path.exists():
        return {}
    try:
        return {
            part: Measurement(part, pd.read_csv(folder / f"{part}.csv"), about["scale"], about["provenance"])
            for part, about in json.loads(path.read_text()).items()
        }
    except (OSError, ValueError, KeyError) as e:
        raise DataError(f"{path} cannot be read ({e}); restore it or remove it.") from e


def keep(found: dict[str, Measurement], folder: Path) -> None:
    """Write the tables and where they came from into results/<name>/."""
    for part, m in found.items():
        m.table.to_csv(folder / f"{part}.csv", index=False, lineterminator="\n", float_format="%.6g")
    about = {part: {"scale": m.scale, "provenance": m.provenance} for part, m in sorted(found.items())}
    (folder / KEPT).write_text(json.dumps(about, indent=1) + "\n")
