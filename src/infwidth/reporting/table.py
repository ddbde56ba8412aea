"""The table of an experiment: the paper's number beside ours, from records only."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from infwidth.reporting.records import Record

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


def read_paper(path: Path) -> pd.DataFrame:
    """experiments/<name>/paper.csv: row, label, metric, paper, paper_std, data (as its label is in our tables), source."""
    return pd.read_csv(path, dtype={"row": str, "label": str})


def deciding(record: Record) -> str:
    """What two seeds of the same row have in common, as a key."""
    return json.dumps(record.config, sort_keys=True)


def chosen(records: Iterable[Record]) -> tuple[list[Record], dict[str, Any]]:
    """Of the configs that a row was run with, the one of highest mean validation accuracy, and what sets it apart.

    A row with one config is returned whole. Configs run with fewer seeds than another do not compete with it.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(deciding(record), []).append(record)
    if len(groups) == 1:
        return next(iter(groups.values())), {}
    most = max(map(len, groups.values()))
    complete = {k: g for k, g in groups.items() if len(g) == most}

    def validation(group: list[Record]) -> float:
        values = [r.metrics.get("validation/accuracy", -math.inf) for r in group if r.status == "finished"]
        return float(np.mean(values)) if len(values) == len(group) else -math.inf

    best = max(complete.values(), key=validation)
    flat = [flattened(g[0].config) for g in groups.values()]
    varied = {k for f in flat for k in f if len({json.dumps(g.get(k)) for g in flat}) > 1}
    return best, {k: flattened(best[0].config).get(k) for k in sorted(varied)}


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested groups as dotted keys."""
    flat = {}
    for k, v in config.items():
        flat |= flattened(v, f"{prefix}{k}.") if isinstance(v, Mapping) else {prefix + k: v}
    return flat


def width_of(record: Record) -> float | None:
    model = record.config["model"]
    return float(model["width"]) if "width" in model else math.inf


def build(
    records: Iterable[Record], paper: pd.DataFrame, order: Iterable[str]
) -> tuple[pd.DataFrame, dict[tuple[str, str, str], list[Record]], list[str]]:
    """(table, the records behind each (row, scale, data), notes on choices made on validation and on runs that diverged)."""
    by_row: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        for scale in record.scale.split():
            by_row.setdefault((record.row, scale, record.data), []).append(record)
    position = {row: i for i, row in enumerate(order)}
    lines, behind, notes = [], {}, []
    for (row, scale, data), group in sorted(
        by_row.items(), key=lambda item: (item[0][1], position.get(item[0][0], len(position)), item[0])
    ):
        group, picked = chosen(group)
        finished = [r for r in group if r.status == "finished"]
        behind[row, scale, data] = finished
        if picked:
            values = ", ".join(f"{k.split('.')[-1]} = {v}" for k, v in picked.items())
            notes.append(f"{row} ({scale}): chosen on validation: {values}")
        if len(finished) < len(group):
            notes.append(f"{row} ({scale}): {len(group) - len(finished)} of {len(group)} seeds diverged")
        published = published_numbers(paper, row, data)
        first = group[0]
        if first.config["trainer"]["epochs"] > 0:
            selection = {"validation": "best validation epoch", "last": "last epoch", "paper": "best test epoch"}[
                first.config["trainer"]["selection"]
            ]
        else:
            selection = "closed form" if first.config["model"].get("solve") == "regression" else "no training"
        held_out = sorted({r.metrics["fit/regulariser"] for r in finished if "fit/regulariser_accuracy" in r.metrics})
        if held_out:
            notes.append(
                f"{row} ({scale}): regulariser {', '.join(f'{v:g}' for v in held_out)} chosen on held-out training images"
            )
        if picked:
            selection = f"{selection}, hyperparameters on validation"
        for metric, name in metrics_of(group).items():
            values = [r.metrics[name] for r in finished if name in r.metrics]
            lines.append({
                "row": row, "model": first.config["model"]["name"], "parametrization": first.parametrization, "width": width_of(first),
                "scale": scale, "data": data, "metric": metric, "paper": published.get(metric),
                "mean": np.mean(values) if values else None, "std": np.std(values, ddof=1) if len(values) > 1 else None, "seeds": len(values),
                "selection": selection, "hardware": " / ".join(sorted({r.hardware for r in group})), "commit": " ".join(sorted({r.commit for r in group})),
            })  # fmt: skip
    return pd.DataFrame(lines, columns=COLUMNS), behind, notes


def published_numbers(paper: pd.DataFrame, row: str, data: str) -> dict[str, float]:
    """The paper's numbers of a row by metric: on the same data, or on the first that the paper has where it lacks these."""
    lines = paper[paper.row == row]
    same = lines[lines.data == data]
    lines = same if len(same) else lines[lines.data == lines.data.iloc[0]] if len(lines) else lines
    return dict(lines[["metric", "paper"]].itertuples(index=False))


def metrics_of(records: Iterable[Record]) -> dict[str, str]:
    """The accuracies that runs of a row have: their names in a table and in the runs, the headline first."""
    found = {"accuracy": "test/accuracy"}
    for record in records:
        tested = (k.removeprefix("test/") for k in record.metrics if k.startswith("test/"))
        found |= {k: f"test/{k}" for k in tested if k not in NOT_ACCURACIES}
        if record.config["trainer"]["selection"] == "validation":
            found["validation_accuracy"] = "validation/accuracy"
    return found


def write_csv(table: pd.DataFrame, path: Path) -> None:
    rounded = table.copy()
    for column in ("mean", "std", "paper"):
        rounded[column] = pd.to_numeric(rounded[column]).round(3)
    rounded["width"] = rounded["width"].map(lambda w: "inf" if math.isinf(w) else f"{w:.0f}")
    rounded.to_csv(path, index=False, lineterminator="\n")


def display(
    table: pd.DataFrame,
    labels: Mapping[str, str],
    data: Iterable[str],
    outdated: Iterable[tuple[str, str]] = (),
    more: Iterable[str] = (),
) -> pd.DataFrame:
    """The headline table for people: a line per row with paper, ours ± std, difference and where it comes from.

    data: what the paper's numbers were measured on; elsewhere a difference to them would mean nothing.
    outdated: rows and commits whose source differs from the present one; these rows are marked with a dagger.
    more: other metrics whose means stand beside the headline.
    """
    outdated, lines = set(outdated), []
    for _, line in table[table.metric == "accuracy"].iterrows():
        mean, paper = line["mean"], line["paper"]
        std = f" ± {line['std']:.2f}" if pd.notna(line["std"]) else ""
        mark = " †" if any((line["row"], commit) in outdated for commit in line["commit"].split()) else ""
        lines.append({
            "row": labels.get(line["row"], line["row"]) + mark,
            "width": "∞" if math.isinf(line["width"]) else f"{line['width']:.0f}",
            "paper": "" if pd.isna(paper) else f"{paper:.2f}",
            "ours": "diverged" if pd.isna(mean) else f"{mean:.2f}{std}",
            "difference": "" if pd.isna(paper) or pd.isna(mean) or line["data"] not in data else f"{mean - paper:+.2f}",
            **{name.replace("_", " "): _mean_of(table, line, name) for name in more},
            "seeds": line["seeds"], "scale": line["scale"], "data": line["data"], "selection": line["selection"], "commit": line["commit"],
        })  # fmt: skip
    return pd.DataFrame(lines)


def _mean_of(table: pd.DataFrame, line: pd.Series, metric: str) -> str:
    same = table[
        (table.row == line["row"])
        & (table.scale == line["scale"])
        & (table.data == line["data"])
        & (table.metric == metric)
    ]
    return f"{same['mean'].iloc[0]:.2f}" if len(same) and pd.notna(same["mean"].iloc[0]) else ""


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table."""
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(str).values.tolist()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
