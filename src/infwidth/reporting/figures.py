"""Figures of an experiment, as PNG and where it is a curve as SVG. Colours are told apart by colour-blind readers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.spines import Spine
from matplotlib.text import Text

from infwidth.reporting.pca import Panel
from infwidth.runs.store import Record

STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.bbox": "tight",
    "svg.hashsalt": "infwidth",
    "lines.linewidth": 1.8,
}
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F", "#332288", "#999933", "#882255"]
LINE_STYLES = ["-", "--", "-.", ":"]
MARKERS = ["o", "s", "^", "D"]
FAMILIES = {"finite": "finite width (μ-net)", "pi_net": "finite width (π-net)"}
"""What the finite networks are called where there are several kinds of them."""


DARK = {"ink": "#e8eaed", "paper": "#16181c"}
"""Colours of text and background on the report page when it is dark."""


def save(figure, path: Path) -> Path:
    """path.png and path.svg for paper, and dark/<name>.png for dark pages. Returns the path of the PNG."""
    png = path.with_suffix(".png")
    figure.savefig(png, metadata={"Software": None})
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    _darken(figure)
    dark_of(png).parent.mkdir(exist_ok=True)
    figure.savefig(dark_of(png), metadata={"Software": None}, facecolor=DARK["paper"])
    plt.close(figure)
    return png


def dark_of(png: Path) -> Path:
    """Where the dark variant of a figure is."""
    return png.parent / "dark" / png.name


def _darken(figure) -> None:
    """Make what is black or dark grey light, unless it lies on a filled map, and backgrounds dark."""
    figure.set_facecolor(DARK["paper"])
    on_maps = {
        id(child)
        for ax in figure.axes
        if any(isinstance(c, QuadMesh) for c in ax.collections)
        for child in (*ax.texts, *ax.lines)
    }
    for ax in figure.axes:
        ax.set_facecolor(DARK["paper"])
        ax.tick_params(colors=DARK["ink"], which="both")
    for artist in figure.findobj(lambda a: isinstance(a, (Text, Line2D, Spine)) and id(a) not in on_maps):
        if isinstance(artist, Text):
            artist.set_color(_light(artist.get_color()))
        elif isinstance(artist, Spine):
            artist.set_edgecolor(DARK["ink"])
        else:
            artist.set_color(_light(artist.get_color()))
            artist.set_markeredgecolor(_light(artist.get_markeredgecolor()))


def _light(colour):
    """The colour itself, or the ink of a dark page if it is nearly black."""
    if isinstance(colour, str) and colour == "none":
        return colour
    r, g, b = to_rgb(colour)
    return DARK["ink"] if max(r, g, b) < 0.4 else colour


def _spread(frame: pd.DataFrame) -> pd.Series:
    return pd.to_numeric(frame["std"]).fillna(0)


def accuracy_vs_width(
    table: pd.DataFrame,
    labels: Mapping[str, str],
    title: str,
    ylabel: str,
    path: Path,
    limits: Sequence[str],
    paper: bool,
) -> None:
    """Finite widths as points with the standard deviation over seeds, limits as horizontal lines.

    The paper's numbers are hollow or dotted.
    limits: the rows to draw as lines, in the order of the legend; paper: whether to draw its numbers.
    Writes path.png and path.svg.
    """
    lines = table[(table.metric == "accuracy") & table["mean"].notna()]
    finite = lines[np.isfinite(lines.width)].sort_values("width")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 4.4))
        for i, row in enumerate(r for r in limits if (lines.row == r).any()):
            line, colour = lines[lines.row == row].iloc[0], COLOURS[(i + 1) % len(COLOURS)]
            std = f" ± {line['std']:.2f}" if pd.notna(line["std"]) else ""
            axes.axhline(
                line["mean"],
                color=colour,
                ls=LINE_STYLES[i % 4],
                label=f"{labels.get(row, row)}: {line['mean']:.2f}{std}",
            )
            if paper and pd.notna(line["paper"]):
                axes.axhline(line["paper"], color=colour, ls=(0, (1, 3)), lw=1.1, alpha=0.9)
        families = list(dict.fromkeys(finite.model))
        for i, family in enumerate(families):
            part, colour = finite[finite.model == family], COLOURS[0] if i == 0 else COLOURS[-i]
            name = "finite width" if len(families) == 1 else FAMILIES.get(family, family)
            axes.errorbar(
                part.width,
                part["mean"],
                yerr=_spread(part),
                fmt=MARKERS[i % 4] + "-",
                color=colour,
                capsize=3,
                label=name,
                zorder=3,
            )
        if len(finite):
            published = finite[finite.paper.notna()]
            if paper and len(published):
                axes.plot(
                    published.width,
                    published.paper,
                    "o",
                    mfc="none",
                    mec="black",
                    ms=8,
                    label="paper (lines: dotted)",
                    zorder=4,
                )
            axes.set_xscale("log", base=2)
            widths = sorted(finite.width.unique())
            axes.set_xticks(widths, [f"{w:.0f}" for w in widths])
            axes.minorticks_off()
        axes.set(xlabel="width", ylabel=ylabel, title=title)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
        save(figure, path)


def curves(
    behind: Mapping[str, Sequence[Record]], labels: Mapping[str, str], title: str, ylabel: str, path: Path
) -> None:
    """Validation accuracy by epoch: mean over seeds, the band from the lowest to the highest.

    Rows without training are left out.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 4.4))
        drawn = 0
        for row, records in behind.items():
            seeds = [dict(r.curve) for r in records if len(r.curve) > 1]
            if not seeds:
                continue
            epochs = sorted(set.intersection(*(set(s) for s in seeds)))
            values = np.array([[s[e] for e in epochs] for s in seeds])
            colour = COLOURS[drawn % len(COLOURS)]
            axes.plot(
                epochs,
                values.mean(0),
                color=colour,
                ls=LINE_STYLES[drawn // len(COLOURS) % 4],
                lw=1.3,
                label=labels.get(row, row),
            )
            axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)
            drawn += 1
        axes.set(xlabel="epoch", ylabel=ylabel, title=title)
        if drawn:
            axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
        save(figure, path)


def pca(panels: Sequence[Panel], title: str, path: Path) -> None:
    """Panels side by side, classes by colour and marker, separation in the titles. Writes path.png and path.svg."""
    markers = "os^vDP*Xd<>"
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(panels), figsize=(3.9 * len(panels), 4.4), squeeze=False)
        for ax, p in zip(axes[0], panels, strict=True):
            for c, name in enumerate(p.names):
                points = p.points[p.labels == c]
                ax.scatter(
                    *points.T,
                    s=14,
                    color=COLOURS[c % len(COLOURS)],
                    marker=markers[c % len(markers)],
                    label=name.replace("_", " "),
                    alpha=0.85,
                    lw=0,
                )
            for point, name in zip(p.points, p.examples, strict=False):
                ax.annotate(name, point, xytext=(2, 2), textcoords="offset points", fontsize=4, color="#555555")
            ax.set(xticks=[], yticks=[], xlabel=f"{p.explained:.0f} % of the variance")
            ax.set_title(
                f"{p.title}\nsilhouette {p.silhouette:.2f}, linear probe {p.probe_accuracy:.0f} %", fontsize=10
            )
        handles, names = axes[0][0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="lower center", ncol=math.ceil(len(names) / 2), fontsize=8, bbox_to_anchor=(0.5, -0.06)
        )
        figure.suptitle(title, y=1.1)
        save(figure, path)


def sweep(frame: pd.DataFrame, x: str | None, line_by: str, title: str, ylabel: str, path: Path) -> None:
    """A sweep's accuracy (columns mean, std) against its numeric key x, one line per value of ``line_by``.

    Bars if there is no such key.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 4.4))
        if x is None:
            axes.barh(frame[line_by].astype(str), frame["mean"], xerr=_spread(frame), color=COLOURS[0])
            axes.set(xlabel=ylabel, title=title)
        else:
            for i, (value, group) in enumerate(frame.groupby(line_by, sort=False)):
                group = group.sort_values(x)
                axes.errorbar(
                    group[x],
                    group["mean"],
                    yerr=_spread(group),
                    fmt="o-",
                    capsize=3,
                    color=COLOURS[i % len(COLOURS)],
                    label=str(value),
                )
            positive = frame[x][frame[x] > 0]
            if len(positive) == len(frame) and positive.max() / positive.min() > 8:
                axes.set_xscale("log", base=2)
            ticks = sorted(frame[x].unique())
            axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axes.minorticks_off()
            axes.set(xlabel=x, ylabel=ylabel, title=title)
            if frame[line_by].nunique() > 1:
                axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
        save(figure, path)
