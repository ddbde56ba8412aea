"""What each experiment took: its runs by scale, their time, memory and hardware, from their provenance."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from infwidth.reporting import measurements
from infwidth.runs import plan as plans
from infwidth.runs import store
from infwidth.runs.spec import SCALES, run_id
from infwidth.runs.store import Record
from infwidth.theory.experiment import parts
from infwidth.theory.experiment import read_recipe as read_theory_recipe

DECIDES_NUMBERS = False

THEORY = "theory"
COLUMNS = ["experiment", "scale", "rows", "runs", "time in all", "longest run", "peak memory", "hardware"]

TITLE = "What each experiment takes"
EXPLAINED = (
    "Wall time of the planned runs one after another, as recorded: other work on the machine is in it. "
    "What is not there yet is said by `python -m infwidth.verify predict=true`, as far as it can be predicted."
)

Runs = tuple[list[Record], str]
"""The runs of a scale, and how many of its rows they make, in words."""


def table(results: Path) -> pd.DataFrame:
    """A line for each published experiment and scale that has runs; scales with the very same runs share a line."""
    lines = []
    for name in sorted(set(plans.experiments()) & set(store.names(results))):
        by_scale = _measured(name, results) if name == THEORY else _trained(name, results)
        groups: dict[tuple[str, ...], list[str]] = {}
        for scale in SCALES:
            ids = tuple(sorted(record.id for record in by_scale[scale][0]))
            groups.setdefault(ids, []).append(scale)
        for ids, scales in groups.items():
            if ids:
                lines.append({"experiment": name, "scale": ", ".join(scales), **_line(*by_scale[scales[0]])})
    return pd.DataFrame(lines, columns=COLUMNS)


def _trained(name: str, results: Path) -> dict[str, Runs]:
    plan = plans.plan_of(name)
    found: dict[str, list[Record]] = {scale: [] for scale in SCALES}
    rows: dict[str, set[str]] = {scale: set() for scale in SCALES}
    for record in store.load(results, name):
        for scale, row, _ in plan.members(record.config):
            rows[scale].add(row)
            if record not in found[scale]:
                found[scale].append(record)
    return {scale: (found[scale], f"{len(rows[scale])} of {plan.size(scale)}") for scale in SCALES}


def _measured(name: str, results: Path) -> dict[str, Runs]:
    recipe = read_theory_recipe(plans.EXPERIMENTS / name)
    records = [m.record for m in measurements.load(results, name, recipe).values()]
    found = {}
    for scale in SCALES:
        planned = {run_id(part.deciding) for part in parts(recipe, scale)}
        there = [record for record in records if run_id(record.config) in planned]
        found[scale] = there, f"{len(there)} of {len(planned)}"
    return found


def _line(records: Sequence[Record], rows: str) -> dict[str, object]:
    seconds = [record.wall_seconds for record in records]
    peak = max(record.peak_memory_bytes for record in records)
    return {
        "rows": rows,
        "runs": len(records),
        "time in all": duration(sum(seconds)),
        "longest run": duration(max(seconds)),
        "peak memory": gibibytes(peak) if peak else "not recorded",
        "hardware": "; ".join(sorted({record.hardware for record in records})),
    }


def duration(seconds: float) -> str:
    """Such as '40 s', '12 min' or '3.2 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def gibibytes(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 0.05 * 2**30 else f"{size / 2**20:.0f} MiB"
