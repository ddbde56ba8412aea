"""π-limits with landmarks beside the exact one: what bounding their rows changes, and what it saves (PiLim).

For every pair of runs of the same seed, epoch by epoch: accuracy, training loss, how far the outputs on the validation
data lie apart, the errors that were measured at the projections, rows, and CPU time.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from infwidth.models.pi.bounded import TOLERANCE
from infwidth.reporting import figures, kept
from infwidth.runs.store import Record, history

KEPT = "bounded.json"


@dataclass(frozen=True)
class Epoch:
    """A run after an epoch; what there is none of is nan.

    accuracy, loss: on the validation data in per cent, and of training; output_difference: from the outputs of the
    exact run on the validation data, relative to these without their means over the outputs; same: predictions that are
    the same, in per cent; change, bound, relative_error: of the last projection so far, the largest of any layer, as
    infwidth.models.pi.bounded says; rows: of the largest layer; cpu_seconds, step_seconds: since the training began, of
    all of it and of its steps alone.
    """

    row: str
    seed: int
    epoch: int
    steps: int
    accuracy: float
    loss: float
    output_difference: float
    same: float
    change: float
    bound: float
    relative_error: float
    projections: float
    rows: float
    cpu_seconds: float
    step_seconds: float


def epochs(exact: Mapping[str, str], drawn: Mapping[str, Sequence[Record]], path: Path) -> list[Epoch]:
    """Of all runs of the rows in question and of the exact rows that they are compared with.

    From the runs that are here, and then kept at ``path``; else those kept there of the runs in the table.
    """
    wanted = [*dict.fromkeys(exact.values()), *exact]
    records = [(row, record) for row in wanted for record in drawn.get(row, ())]
    if records and all(r.folder for _, r in records):
        folders = {(row, r.seed): Path(r.folder) for row, r in records}
        found = [epoch for row, r in records for epoch in _of_run(row, r, folders.get((exact.get(row, row), r.seed)))]
        kept.write(path, [r for _, r in records], [_rounded(epoch) for epoch in found])
    rows = kept.read(path, drawn) or []
    return [Epoch(**{k: math.nan if v is None else v for k, v in row.items()}) for row in rows]


def _rounded(epoch: Epoch) -> dict[str, str | float | None]:
    """Six digits of its numbers; null for those that there are none of."""
    found = {}
    for name, value in asdict(epoch).items():
        found[name] = (
            value if isinstance(value, (str, int)) else float(f"{value:.6g}") if math.isfinite(value) else None
        )
    return found


def _of_run(row: str, record: Record, exact: Path | None) -> Iterable[Epoch]:
    folder = Path(record.folder)
    for line in history(folder):
        if "train/loss" not in line or "cpu_seconds" not in line:
            continue
        difference, same = _apart(folder, exact, line["epoch"])
        yield Epoch(
            row,
            record.seed,
            line["epoch"],
            line["step"],
            accuracy=line.get("validation/accuracy", math.nan),
            loss=line["train/loss"],
            output_difference=difference,
            same=same,
            **{name: _largest(line, name) for name in ("change", "bound", "relative_error", "projections", "rows")},
            cpu_seconds=line["cpu_seconds"],
            step_seconds=line["step_cpu_seconds"],
        )


def _largest(line: Mapping[str, float], name: str) -> float:
    """Of what a model says of its layers."""
    return max((v for k, v in line.items() if k.rpartition("_")[0] == f"model/{name}"), default=math.nan)


def _apart(folder: Path, exact: Path | None, epoch: int) -> tuple[float, float]:
    """Of the outputs of two runs on the validation data after an epoch; nan where they were not kept."""
    if exact is None or folder == exact:
        return math.nan, math.nan
    paths = [path / "evaluations" / f"{epoch}.npz" for path in (folder, exact)]
    if not all(path.exists() for path in paths):
        return math.nan, math.nan
    ours, theirs = (np.load(path, allow_pickle=False)["outputs"].astype(np.float64) for path in paths)
    centred = theirs - theirs.mean(1, keepdims=True)
    same = 100 * float((ours.argmax(1) == theirs.argmax(1)).mean())
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(centred)), same


def table(
    found: Sequence[Epoch], exact: Mapping[str, str], drawn: Mapping[str, Sequence[Record]], labels: Mapping[str, str]
) -> pd.DataFrame:
    """A line per row: means over the seeds that the exact row has too, at the end of training; over all of its own
    where there is no exact one."""
    frame = pd.DataFrame([asdict(epoch) for epoch in found])
    lines = []
    for row in dict.fromkeys(frame.row):
        other = exact.get(row) if exact.get(row) in set(frame.row) else None
        seeds = set(frame.seed[frame.row == row]) & set(frame.seed[frame.row == (other or row)])
        if not seeds:
            continue
        mine, theirs = (_last(frame, name, seeds) for name in (row, other or row))
        accuracy = {r.seed: r.metrics["test/accuracy"] for r in drawn[row] if "test/accuracy" in r.metrics}
        reference = {r.seed: r.metrics["test/accuracy"] for r in drawn[other or row] if "test/accuracy" in r.metrics}
        common = sorted(accuracy.keys() & reference.keys())
        differences = [accuracy[seed] - reference[seed] for seed in common]
        lines.append(
            {
                "row": labels.get(row, row),
                "seeds": len(common),
                "test accuracy (%)": _number(np.mean([accuracy[s] for s in common]) if common else math.nan, 2),
                "difference to exact, by seed": ", ".join(f"{d:+.2f}" for d in differences) if other else "",
                "training loss": _number(mine.loss.mean(), 3),
                "outputs differ (%)": _number(100 * mine.output_difference.mean(), 1),
                "same predictions (%)": _number(mine.same.mean(), 1),
                "layer's change at a projection (%)": _number(100 * _most(frame, row, "change"), 2),
                "certificate's bound (%)": _number(100 * _most(frame, row, "bound"), 0),
                "rows": f"{_most(frame, row, 'rows'):,.0f}",
                "CPU minutes": _number(mine.cpu_seconds.mean() / 60, 1),
                "times faster": _number(theirs.cpu_seconds.mean() / mine.cpu_seconds.mean(), 2) if other else "",
                "a step of the last epoch (ms)": _number(1e3 * mine.step_time.mean(), 1),
                "times faster then": _number(theirs.step_time.mean() / mine.step_time.mean(), 2) if other else "",
            }
        )
    return pd.DataFrame(lines)


def _last(frame: pd.DataFrame, row: str, seeds: set[int]) -> pd.DataFrame:
    """The last epoch of each of the row's runs, with the CPU seconds of one of its steps."""
    found = []
    for seed in sorted(seeds):
        run = frame[(frame.row == row) & (frame.seed == seed)].sort_values("epoch")
        last, before = run.iloc[-1], run.iloc[-2] if len(run) > 1 else {"step_seconds": 0.0, "steps": 0}
        step = (last.step_seconds - before["step_seconds"]) / (last.steps - before["steps"])
        found.append({**last.to_dict(), "step_time": step})
    return pd.DataFrame(found)


def _most(frame: pd.DataFrame, row: str, name: str) -> float:
    return frame[frame.row == row][name].max()


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


PANELS = (
    ("accuracy", "validation accuracy (%)", 1, "linear"),
    ("loss", "training loss", 1, "linear"),
    ("output_difference", "outputs differ from exact (%)", 100, "linear"),
    ("change", "a layer's change at a projection (%)\ndotted: the certificate's bound", 100, "log"),
    ("rows", "rows of a layer (thousands)", 1e-3, "linear"),
    ("cpu_seconds", "CPU minutes", 1 / 60, "linear"),
)
"""What is drawn against epochs: of an Epoch, its label, its factor and scale."""


def by_epoch(found: Sequence[Epoch], labels: Mapping[str, str], title: str, path: Path) -> None:
    """Every quantity against epochs, means over seeds. Writes path.png and path.svg."""
    frame = pd.DataFrame([asdict(epoch) for epoch in found])
    means = frame.groupby(["row", "epoch"], sort=False).mean(numeric_only=True).reset_index()
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(2, 3, figsize=(13, 7))
        for panel, (name, label, factor, scale) in zip(axes.flat, PANELS, strict=True):
            for i, row in enumerate(dict.fromkeys(frame.row)):
                part, look = means[means.row == row], _look(i)
                if part[name].notna().any():
                    panel.plot(part.epoch, factor * part[name], label=labels.get(row, row), **look)
                if name == "change" and part.bound.notna().any():
                    panel.plot(part.epoch, factor * part.bound, **{**look, "ls": ":"})
            panel.set(xlabel="epoch", ylabel=label, yscale=scale)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            if not panel.lines:
                panel.text(0.5, 0.5, "not kept", ha="center", transform=panel.transAxes)
        handles = axes.flat[0].get_legend_handles_labels()
        figure.suptitle(title)
        figure.tight_layout()
        figure.legend(*handles, fontsize=9, ncol=4, loc="upper center", bbox_to_anchor=(0.5, 0.0))
        figures.save(figure, path)


def _look(i: int) -> dict[str, str | float]:
    return {"color": figures.COLOURS[i % len(figures.COLOURS)], "marker": figures.MARKERS[i % 4], "ms": 3.5, "lw": 1.3}


def by_landmarks(
    found: Sequence[Epoch],
    exact: Mapping[str, str],
    drawn: Mapping[str, Sequence[Record]],
    labels: Mapping[str, str],
    title: str,
    accuracy: str,
    path: Path,
) -> None:
    """Test accuracy against CPU time, each row a point named by its landmarks. Writes path.png and path.svg."""
    frame = pd.DataFrame([asdict(epoch) for epoch in found])
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(figsize=(8.2, 4.8))
        for i, row in enumerate(dict.fromkeys(frame.row)):
            runs = {r.seed: r for r in drawn[row] if "test/accuracy" in r.metrics}
            minutes = frame[frame.row == row].groupby("seed").cpu_seconds.max() / 60
            points = [(minutes[seed], r.metrics["test/accuracy"]) for seed, r in runs.items() if seed in minutes]
            if not points:
                continue
            x, y = np.mean(points, axis=0)
            spread = [[y - min(p[1] for p in points)], [max(p[1] for p in points) - y]]
            look, is_exact = _look(i), row in exact.values()
            axes.errorbar(
                x,
                y,
                yerr=spread if len(points) > 1 else None,
                fmt="*" if is_exact else look["marker"],
                ms=11 if is_exact else 7,
                color=look["color"],
                capsize=3,
                label=labels.get(row, row),
            )
        axes.set(xlabel="CPU minutes of training", ylabel=accuracy, title=title, xlim=(0, None))
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
        figures.save(figure, path)


def note(name: str, records: Iterable[Record]) -> str:
    """What the projections of a row's runs have changed at most; nothing for a row without any."""
    changes = [r.training for r in records if "change" in r.training]
    if not changes:
        return ""
    change, bound = (max(training[k] for training in changes) for k in ("change", "bound"))
    beyond = f", beyond the tolerance of {100 * TOLERANCE:.0f} %: take more landmarks" if change > TOLERANCE else ""
    return (
        f"{name}: a projection changed a layer's outputs on held-out inputs by {100 * change:.2f} % at most{beyond} "
        f"(certificate: no more than {100 * bound:.0f} %)"
    )
