"""Table and figure of any set of runs: the keys that differ among them are found, not told."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.errors import DataError
from infwidth.reporting import figures, provenance, table
from infwidth.reporting.page import Section
from infwidth.runs import store
from infwidth.runs.store import Record


def report(name: str, results: Path) -> Section:
    """The report of the runs of that name. DataError if there are none. Writes results/<name>/."""
    found = store.load(results, name)
    # A sweep done anew is the runs that are here; runs.csv is for those that were cleared away.
    found = [r for r in found if r.folder] or found
    if not found:
        raise DataError(f"there are no finished runs named {name} in {results}/runs; check the name or run them first.")
    output = results / name
    output.mkdir(parents=True, exist_ok=True)
    store.write_csv(output / store.RUNS_CSV, found)
    return section(f"Sweep: {name}", found, output)


def section(title: str, found: Sequence[Record], output: Path) -> Section:
    """Table and figure of some runs, written to a folder.

    The numeric key of most values is the x axis, the other keys are lines; seeds are averaged.
    """
    output.mkdir(parents=True, exist_ok=True)
    flat = [{**flattened(r.config), "data": r.data} for r in found]
    keys = sorted({key for f in flat for key in f})
    varied = [key for key in keys if len({repr(f.get(key)) for f in flat}) > 1]
    frame = _averaged(found, flat, varied)
    frame.round(3).to_csv(output / "table.csv", index=False, lineterminator="\n")
    shown = frame.assign(
        mean=frame["mean"].map("{:.2f}".format), std=frame["std"].map(lambda v: "" if math.isnan(v) else f"{v:.2f}")
    )
    (output / "table.md").write_text(f"# {title}\n\n{table.markdown(shown)}", encoding="utf-8")
    numeric = [k for k in varied if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in frame[k])]
    x = max(numeric, key=lambda k: frame[k].nunique(), default=None)
    others = [k for k in varied if k != x]
    frame["_line"] = frame.apply(lambda row: _name(row, others) or title, axis=1)
    figures.sweep(frame, x, "_line", title, "test accuracy (%)", output / "accuracy")
    name = output.name.removesuffix("_others")
    return Section(
        title,
        f"Swept: {', '.join(varied) or 'seeds only'}.",
        f"python -m infwidth.report name={name}",
        shown,
        (),
        [(output / "accuracy.png", f"Test accuracy, {title}.")],
        provenance=provenance.sentence(found),
    )


def _averaged(found: Sequence[Record], flat: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> pd.DataFrame:
    """A line for every combination of the varied keys, seeds averaged."""
    rows: dict[tuple, list[Record]] = {}
    for f, record in zip(flat, found, strict=True):
        rows.setdefault(tuple(_readable(f.get(key)) for key in varied), []).append(record)
    lines = []
    for values, group in rows.items():
        accuracies = [r.metrics["test/accuracy"] for r in group if "test/accuracy" in r.metrics]
        series = pd.Series(accuracies, dtype=float)
        lines.append(
            {
                **dict(zip(varied, values, strict=True)),
                "mean": series.mean() if len(series) else math.nan,
                "std": series.std() if len(series) > 1 else math.nan,
                "seeds": len(series),
                "diverged": sum(r.status == "diverged" for r in group),
                "on": group[0].data,
                "commit": " ".join(sorted({r.commit for r in group})),
            }
        )
    frame = pd.DataFrame(lines)
    return frame.sort_values(list(varied), key=_sorted_as) if varied else frame


def _sorted_as(column: pd.Series) -> pd.Series:
    """Numbers by size, then texts by name."""
    numbers = pd.to_numeric(column, errors="coerce")
    texts = column.astype(str).where(numbers.isna(), "")
    return pd.Series(list(zip(numbers.fillna(math.inf), texts, strict=True)), index=column.index)


def _name(row: pd.Series, keys: Sequence[str]) -> str:
    """What a line of the figure is called: the keys that it has, without those that it has not."""
    return ", ".join(f"{key.split('.')[-1]} = {row[key]}" for key in keys if row[key] not in (None, "", "–"))


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested groups as dotted keys."""
    flat = {}
    for key, value in config.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _readable(value: Any) -> Any:
    if value is None:
        return "–"
    return value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else str(value)
