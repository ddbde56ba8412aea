"""Measurements of the theory experiment: a table for each part.

From the folder that it was measured in or as kept under results/.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from infwidth.errors import DataError
from infwidth.runs import store
from infwidth.runs.spec import SCALES, run_id
from infwidth.runs.store import Record
from infwidth.theory.experiment import TheoryRecipe, parts

MEASUREMENTS = "measurements.csv"


@dataclass(frozen=True)
class Measurement:
    """A part's table, the largest scale that plans it, and its record."""

    part: str
    table: pd.DataFrame
    scale: str
    record: Record


@functools.cache
def planned(recipe: TheoryRecipe) -> Mapping[str, str]:
    """By id, the largest scale of every measurement that the recipe plans."""
    return {run_id(part.deciding): scale for scale in SCALES for part in parts(recipe, scale)}


def load(results: Path, name: str, recipe: TheoryRecipe) -> dict[str, Measurement]:
    """By part, the planned measurement of the largest scale. DataError if a table is damaged."""
    found: dict[str, Measurement] = {}
    for record in store.load(results, name):
        scale = planned(recipe).get(run_id(record.config))
        if scale is None:
            continue
        known = found.get(record.row)
        if known is None or SCALES.index(known.scale) < SCALES.index(scale):
            found[record.row] = Measurement(record.row, _table(results / name, record), scale, record)
    return found


def _table(folder: Path, record: Record) -> pd.DataFrame:
    path = Path(record.folder) / MEASUREMENTS if record.folder else folder / f"{record.row}.csv"
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as e:
        raise DataError(f"the measurement {path} cannot be read ({e}); restore it from git, or measure again.") from e


def keep(found: Mapping[str, Measurement], folder: Path) -> None:
    """Write the tables and their records into results/<name>/."""
    for part, m in found.items():
        m.table.to_csv(folder / f"{part}.csv", index=False, lineterminator="\n", float_format="%.6g")
    store.write_csv(folder / store.RUNS_CSV, [m.record for _, m in sorted(found.items())])
