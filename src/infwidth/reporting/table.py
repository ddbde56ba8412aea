"""The table of an experiment: the paper's number beside ours, from the records of planned runs only."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from infwidth.errors import DataError
from infwidth.runs.plan import Plan
from infwidth.runs.store import Record

COLUMNS = [
    "row",
    "model",
    "parametrization",
    "width",
    "scale",
    "data",
    "metric",
    "paper",
    "mean",
    "std",
    "seeds",
    "selection",
    "hardware",
    "commit",
]
NOT_ACCURACIES = ("loss", "accuracy_standard_error", "questions")
"""Metrics of a test that are no accuracies in per cent and have no line in a table."""

PAPER_COLUMNS = ("row", "label", "metric", "paper", "paper_std", "data", "source")
SELECTIONS = {"validation": "best validation epoch", "last": "last epoch", "paper": "best test epoch"}

MARK = "†"
"""Of a row whose code has changed since it was made, and has not been replayed."""


def read_paper(path: Path) -> pd.DataFrame:
    """experiments/<name>/paper.csv: the published numbers.

    Each has the metric of ours that it is to be compared with and the data that it was measured on, as these are
    called in our tables. DataError for a file that is none.
    """
    try:
        found = pd.read_csv(path, dtype={"row": str, "label": str, "metric": str, "data": str})
        if tuple(found.columns) != PAPER_COLUMNS:
            raise ValueError(f"its columns are {', '.join(found.columns)}, not {', '.join(PAPER_COLUMNS)}")
        for name in ("paper", "paper_std"):
            found[name] = pd.to_numeric(found[name])
        missing = found[found[["row", "label", "metric", "data"]].isna().any(axis=1)]
        if len(missing):
            raise ValueError(f"line {missing.index[0] + 2} lacks a row, label, metric or data")
    except (OSError, ValueError) as e:
        raise DataError(f"{path} cannot be read ({' '.join(str(e).split())}); restore the file from git.") from e
    return found


@dataclass
class Line:
    """What stands behind a line of a table: a row at a scale on some data.

    records: those that count; notes: what there is to say of the choice;
    selection: on what the state and hyperparameters were chosen;
    marked: whether the code of one of the records has changed since.
    """

    row: str
    scale: str
    data: str
    records: list[Record]
    notes: list[str] = field(default_factory=list)
    selection: str = ""
    marked: bool = False

    @property
    def finished(self) -> list[Record]:
        return [r for r in self.records if r.status == "finished"]


def lines(records: Iterable[Record], plan: Plan, marked: Callable[[Record], bool]) -> tuple[list[Line], list[Record]]:
    """The lines that planned runs make, in the recipe's order, and the runs that no plan has."""
    groups: dict[tuple[str, str, str], list[tuple[dict[str, Any], Record]]] = {}
    others = []
    for record in records:
        places = plan.members(record.config)
        for scale, row, candidate in places:
            groups.setdefault((scale, row, record.data), []).append((candidate, record))
        if not places:
            others.append(record)
    position = {row: i for i, row in enumerate(plan.recipe.rows)}
    found = []
    for scale, row, data in sorted(groups, key=lambda key: (key[0], position[key[1]], key[2])):
        found.append(_line(Line(row, scale, data, []), groups[scale, row, data], plan, marked))
    return [line for line in found if line.records], others


def _line(
    line: Line, group: Sequence[tuple[dict[str, Any], Record]], plan: Plan, marked: Callable[[Record], bool]
) -> Line:
    """The line with the records of the candidate that is best on validation, or of the one that there is."""
    candidates: dict[str, list[Record]] = {}
    for candidate, record in group:
        candidates.setdefault(json.dumps(candidate, sort_keys=True), []).append(record)
    planned = math.prod(len(values) for values in plan.recipe.candidates_of(line.row, line.scale).values())
    name = f"{line.row} ({line.scale})"
    if planned == 1:
        (line.records,) = candidates.values()
    else:
        seeds = set.intersection(*({r.seed for r in runs} for runs in candidates.values()))
        if not seeds:
            line.notes.append(f"{name}: no seed has all candidates, so none is chosen; make them with the same seeds")
            return line
        best = max(candidates, key=lambda key: _validation(candidates[key], seeds))
        line.records = candidates[best]
        values = ", ".join(f"{k.split('.')[-1]} = {v}" for k, v in json.loads(best).items())
        missing = (
            f"; {planned - len(candidates)} of {planned} candidates were not run" if len(candidates) < planned else ""
        )
        line.notes.append(f"{name}: chosen on validation among {len(candidates)}: {values}{missing}")
    line.selection = _selection(line.records[0]) + (", hyperparameters on validation" if planned > 1 else "")
    line.marked = any(marked(record) for record in line.records)
    diverged = len(line.records) - len(line.finished)
    if diverged:
        line.notes.append(f"{name}: {diverged} of {len(line.records)} seeds diverged")
    held_out = {r.metrics["fit/regulariser"] for r in line.finished if "fit/regulariser_accuracy" in r.metrics}
    if held_out:
        text = ", ".join(f"{value:g}" for value in sorted(held_out))
        line.notes.append(f"{name}: regulariser {text} chosen on held-out training images")
    return line


def _validation(records: Sequence[Record], seeds: set[int]) -> float:
    """Mean validation accuracy over some seeds; minus infinity where one has none, because it diverged."""
    values = [r.metrics.get("validation/accuracy", -math.inf) for r in records if r.seed in seeds]
    return float(np.mean(values))


def _selection(record: Record) -> str:
    if record.config["trainer"]["epochs"] > 0:
        return SELECTIONS[record.config["trainer"]["selection"]]
    return "closed form" if record.config["model"].get("solve") == "regression" else "no training"


def width_of(record: Record) -> float:
    """The width of a run's network, infinite for a limit."""
    return float(record.config["model"].get("width", math.inf))


def build(found: Sequence[Line], paper: pd.DataFrame) -> pd.DataFrame:
    """The table: a line for each row, scale, data and metric."""
    rows = []
    for line in found:
        published = published_numbers(paper, line.row, line.data)
        first = line.records[0]
        for metric, name in metrics_of(line.records).items():
            values = [r.metrics[name] for r in line.finished if name in r.metrics]
            rows.append(
                {
                    "row": line.row,
                    "model": first.config["model"]["name"],
                    "parametrization": first.parametrization,
                    "width": width_of(first),
                    "scale": line.scale,
                    "data": line.data,
                    "metric": metric,
                    "paper": published.get(metric),
                    "mean": np.mean(values) if values else None,
                    "std": np.std(values, ddof=1) if len(values) > 1 else None,
                    "seeds": len(values),
                    "selection": line.selection,
                    "hardware": " / ".join(sorted({r.hardware for r in line.records})),
                    "commit": " ".join(sorted({r.commit for r in line.records})),
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def published_numbers(paper: pd.DataFrame, row: str, data: str) -> dict[str, float]:
    """The paper's numbers of a row, by the metric of ours that each is to be compared with.

    Those on the same data, or on the first that the paper has where it lacks these.
    """
    rows = paper[(paper.row == row) & paper.paper.notna()]
    same = rows[rows.data == data]
    rows = same if len(same) else rows[rows.data == rows.data.iloc[0]] if len(rows) else rows
    return dict(rows[["metric", "paper"]].itertuples(index=False))


def metrics_of(records: Iterable[Record]) -> dict[str, str]:
    """The accuracies that runs of a row have: their names in a table and in the runs, the headline first."""
    found = {"accuracy": "test/accuracy"}
    for record in records:
        tested = (name.removeprefix("test/") for name in record.metrics if name.startswith("test/"))
        found |= {name: f"test/{name}" for name in tested if name not in NOT_ACCURACIES}
        if record.config["trainer"]["selection"] == "validation":
            found["validation_accuracy"] = "validation/accuracy"
    return found


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """table.csv, numbers to three decimals, an infinite width as 'inf'."""
    rounded = table.copy()
    for column in ("mean", "std", "paper"):
        rounded[column] = pd.to_numeric(rounded[column]).round(3)
    rounded["width"] = rounded["width"].map(lambda w: "inf" if math.isinf(w) else f"{w:.0f}")
    rounded.to_csv(path, index=False, lineterminator="\n")


def display(
    table: pd.DataFrame, found: Sequence[Line], labels: Mapping[str, str], more: Iterable[str] = ()
) -> pd.DataFrame:
    """The headline table for people: a line per row with paper, ours ± std, difference and where it comes from.

    Scales that have the very same runs share a line. A difference is shown at the published scale only: of the metric
    that the paper's number is compared with, which is named where it is not the headline.
    more: other metrics whose means stand beside.
    """
    shown = []
    for group in same_runs(found):
        line = group[0]
        mine = table[(table.row == line.row) & (table.scale == line.scale) & (table.data == line.data)]
        headline = mine[mine.metric == "accuracy"].iloc[0]
        compared = mine[mine.paper.notna()]
        published, difference = "", ""
        if len(compared):
            other = compared.iloc[0]
            named = "" if other["metric"] == "accuracy" else f" ({other['metric'].replace('_', ' ')})"
            published = f"{other['paper']:.2f}{named}"
            if "paper" in (l.scale for l in group) and pd.notna(other["mean"]):
                difference = f"{other['mean'] - other['paper']:+.2f}{named}"
        std = f" ± {headline['std']:.2f}" if pd.notna(headline["std"]) else ""
        shown.append(
            {
                "row": _name(line, labels),
                "width": "∞" if math.isinf(headline["width"]) else f"{headline['width']:.0f}",
                "paper": published,
                "ours": "diverged" if pd.isna(headline["mean"]) else f"{headline['mean']:.2f}{std}",
                "difference": difference,
                **{name.replace("_", " "): _mean_of(mine, name) for name in more},
                "seeds": headline["seeds"],
                "scale": ", ".join(l.scale for l in group),
                "data": line.data,
                "selection": line.selection,
                "commit": headline["commit"],
            }
        )
    return pd.DataFrame(shown)


def _name(line: Line, labels: Mapping[str, str]) -> str:
    """A row's label, with the landmarks of a model that has some, which is another function than without."""
    label, landmarks = labels.get(line.row, line.row), of_landmarks(line.records[0].config["model"])
    named = f"{label} ({landmarks})" if landmarks and "landmarks" not in label else label
    return named + (f" {MARK}" if line.marked else "")


def of_landmarks(model: Mapping[str, Any]) -> str:
    """What a table says of the landmarks among a model's keys; nothing of one that has none."""
    landmarks, older = model.get("landmarks"), model.get("older_rows", 1)
    if landmarks is None:
        return ""
    which = "last epoch" if landmarks == "epoch" else f"newest {landmarks:,} rows"
    return f"landmarks: {which}" + ("" if older == 1 else f", {older:g} times as many older rows")


def same_runs(found: Sequence[Line]) -> list[list[Line]]:
    """Lines of one row on the same runs, at several scales, together, where the largest of these stands."""
    groups: dict[tuple[str, str, str], list[Line]] = {}
    for line in found:
        ids = " ".join(sorted(r.id for r in line.records))
        groups.setdefault((line.row, line.data, ids), []).append(line)
    place = {id(line): i for i, line in enumerate(found)}
    return sorted(groups.values(), key=lambda group: place[id(group[-1])])


def _mean_of(mine: pd.DataFrame, metric: str) -> str:
    values = mine[mine.metric == metric]["mean"]
    return f"{values.iloc[0]:.2f}" if len(values) and pd.notna(values.iloc[0]) else ""


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table."""
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(str).values.tolist()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
