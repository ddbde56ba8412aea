"""From the lines of a table to the evidence for a claim: samples with the standard errors of their tests."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from infwidth.reporting import kept, order, pca, table
from infwidth.reporting.claims.estimate import Sample
from infwidth.reporting.claims.rows import Rows, binomial_error
from infwidth.reporting.table import Line
from infwidth.runs.store import Record

DECIDES_NUMBERS = False


def evidence(lines: Sequence[Line], paper: pd.DataFrame, alike: Sequence[Sequence[str]], folder: Path) -> Rows:
    """What lines of one scale on one kind of data say. folder: of the experiment's table, with what is kept there."""
    drawn = {line.row: line.finished for line in lines}
    numbers = {line.row: table.published_numbers(paper, line.row, line.data) for line in lines}
    path = folder / "pca.json"
    return Rows(
        samples={(line.row, metric): sample for line in lines for metric, sample in samples(line).items()},
        alike=alike,
        labels=dict(zip(paper.row, paper.label, strict=True)),
        published={row: next(iter(found.items())) for row, found in numbers.items() if found},
        compared={(c.worse, c.better): c for c in _compared(folder / "order.json", drawn)},
        panels={panel.title: panel for panel in pca.from_rows(kept.read(path, drawn) or [], path)},
    )


def _compared(path: Path, drawn: Mapping[str, Sequence[Record]]) -> list[order.Comparison]:
    return [order.Comparison(**row) for row in kept.read(path, drawn) or []]


def samples(line: Line) -> dict[str, Sample]:
    """By their names in the table, the accuracies of a line whose standard errors over the test are known."""
    found = {}
    for metric, name in table.metrics_of(line.records).items():
        errors = [_error(record, name) for record in line.finished if name in record.metrics]
        if None not in errors:
            square = sum(error**2 for error in errors) / len(errors) if errors else math.nan
            found[metric] = Sample({r.seed: _value(r, name) for r in line.records}, math.sqrt(square))
    return found


def _value(record: Record, name: str) -> float:
    return record.metrics.get(name, math.nan) if record.status == "finished" else math.nan


def _error(record: Record, name: str) -> float | None:
    """The standard error of a metric over its split: as it is kept, or by the number of questions; None if neither."""
    questions = record.metrics.get(f"{name.partition('/')[0]}/questions")
    if questions is not None and name.endswith("/accuracy"):
        return binomial_error(record.metrics[name], questions)
    return record.metrics.get(f"{name}_standard_error")
