"""Figures of the theory experiment."""

import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from infwidth.reporting.figures import COLOURS, MARKERS, STYLE, save

SHOWN_DEPTH = 2
"""Hidden layers of the networks in the coordinate check's figure, where a parametrization exists with so many."""

REGIMES = {"unstable": "#d8d8d8", "trivial": "#f2e2a0", "kernel": "#9ecae9", "feature learning": "#d6452b"}
LARGEST = 1e8
"""Beyond it a quantity has blown up and leaves the figure."""


def slopes(distances: pd.DataFrame) -> dict[tuple[str, int], float]:
    """By limit and number of steps, the slope of the log of the distance against the log of the width."""
    return {
        key: float(np.polyfit(np.log2(group.width), np.log2(group.distance), 1)[0])
        for key, group in distances.groupby(["limit", "steps"], sort=False)
    }


def draw(checks: pd.DataFrame, parts: Mapping[str, pd.DataFrame], output: Path) -> list[tuple[Path, str]]:
    """All figures that there are measurements for; paths of the images and what they show."""
    pictures = [
        (
            coordinate_check(checks, output / "coordinate_check"),
            "Typical size of each quantity against the width; dotted: the predicted slope.",
        )
    ]
    others = {
        "dichotomy": (
            dichotomy,
            "The Dynamical Dichotomy: either the feature kernel moves or training is kernel gradient descent; "
            "at r = 0 wide linear networks become the μ-limit.",
        ),
        "convergence": (convergence, "Finite networks approach the limit that they are drawn from as width^(-1/2)."),
        "learning_rates": (
            learning_rates,
            "Training loss against the learning rate, by width; the ring is the best rate.",
        ),
        "plane": (
            plane,
            "Regimes by the readout's a + b and the learning rate's c, with hidden layers scaled as in μP.",
        ),
    }
    return pictures + [
        (function(parts[name], output / name), text) for name, (function, text) in others.items() if name in parts
    ]


def coordinate_check(checks: pd.DataFrame, path: Path) -> Path:
    """One panel for each parametrization, at depth 2 where it exists: f_0, Delta f and Delta x^l against the width."""
    names = list(dict.fromkeys(checks.parametrization))
    columns = min(4, len(names))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            math.ceil(len(names) / columns),
            columns,
            figsize=(3.1 * columns, 2.9 * math.ceil(len(names) / columns)),
            squeeze=False,
        )
        for ax in axes.flat[len(names) :]:
            ax.set_visible(False)
        for ax, name in zip(axes.flat, names, strict=False):
            lines = checks[checks.parametrization == name]
            depth = SHOWN_DEPTH if (lines.depth == SHOWN_DEPTH).any() else lines.depth.max()
            _sizes(ax, lines[lines.depth == depth])
            ax.set_title(f"{name}\nr = {lines[lines.depth == depth].r.iloc[0]:g}, {lines.regime.iloc[0]}", fontsize=9)
        for ax in axes[:, 0]:
            ax.set_ylabel("root mean square")
        handles, labels = max((ax.get_legend_handles_labels() for ax in axes.flat), key=lambda pair: len(pair[0]))
        figure.tight_layout()
        figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=len(labels), fontsize=9)
        return save(figure, path)


def _sizes(ax, lines: pd.DataFrame) -> None:
    """The sizes of a panel: at initialisation, and changes after the most steps at which they are still finite."""
    columns = [c for c in lines.columns if c.startswith("rms_") and lines[c].notna().any()]
    widths = np.array([int(c[4:]) for c in columns])
    changes = [s for s in sorted(set(lines.steps) - {0}) if (lines[lines.steps == s][columns] < LARGEST).all(axis=None)]
    last = changes[-1] if changes else min(set(lines.steps) - {0})
    wanted = lines[
        ((lines.steps == 0) & (lines.quantity == "f_0"))
        | ((lines.steps == last) & lines.quantity.isin(["delta_f", "delta_x"]))
    ]
    labels = {"f_0": "f₀", "delta_f": "Δf", "delta_x": "Δx"}
    for i, line in enumerate(
        wanted.sort_values(
            ["quantity", "layer"],
            key=lambda c: c.map({"f_0": 0, "delta_f": 1, "delta_x": 2}) if c.name == "quantity" else c,
        ).itertuples()
    ):
        sizes = np.array([getattr(line, c) for c in columns])
        layer = "" if pd.isna(line.layer) else "¹²³⁴"[int(line.layer) - 1]
        ax.plot(widths, sizes, MARKERS[i % 4], color=COLOURS[i], ms=4, label=labels[line.quantity] + layer)
        ax.plot(widths, sizes[-1] * (widths / widths[-1]) ** line.predicted, ":", color=COLOURS[i], lw=1.3)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(widths[::2], [str(w) for w in widths[::2]], fontsize=7)
    ax.tick_params(axis="y", labelsize=7)
    ax.minorticks_off()
    ax.text(0.03, 0.03, f"changes after {last} step{'s' if last > 1 else ''}", transform=ax.transAxes, fontsize=7)


def dichotomy(found: pd.DataFrame, path: Path) -> Path:
    """The two sides of the dichotomy against the width.

    Movement of the feature kernel, distance from kernel gradient descent, distance from the mu-limit.
    """
    panels = [
        ("relu", "kernel_moves", "movement of the feature kernel"),
        ("relu", "from_kernel_descent", "distance from kernel gradient descent"),
        ("linear", "from_mu_limit", "distance from the μ-limit"),
    ]
    names = list(dict.fromkeys(found.parametrization))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(panels), figsize=(4.1 * len(panels), 3.6))
        for ax, (activation, column, title) in zip(axes, panels, strict=True):
            part = found[found.activation == activation]
            for name, group in part.groupby("parametrization", sort=False):
                i = names.index(name)
                ax.plot(group.width, group[column], MARKERS[i % 4] + "-", color=COLOURS[i], ms=5)
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            widths = sorted(part.width.unique())
            ax.set_xticks(widths, [str(w) for w in widths])
            ax.minorticks_off()
            kind = "linear, depth 1" if activation == "linear" else f"ReLU, depth {part.depth.iloc[0]}"
            ax.set_title(f"{title}\n({kind})", fontsize=10)
            ax.set_xlabel("width")
        figure.tight_layout()
        handles = {
            f"{name}, r = {r:g}": i
            for i, name in enumerate(names)
            for r in found[found.parametrization == name].r.unique()
        }
        figure.legend(
            [Line2D([], [], marker=MARKERS[i % 4], color=COLOURS[i]) for i in handles.values()],
            handles,
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncol=3,
            fontsize=8,
        )
        return save(figure, path)


def convergence(found: pd.DataFrame, path: Path) -> Path:
    """Distance to the limit against the width, before and during training, beside how far the limit itself moves."""
    limits, fitted = list(dict.fromkeys(found.limit)), slopes(found)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(limits), figsize=(4.6 * len(limits), 3.8))
        for ax, limit in zip(np.atleast_1d(axes), limits, strict=True):
            part = found[found.limit == limit]
            for i, (steps, group) in enumerate(part.groupby("steps")):
                when = "at initialisation" if steps == 0 else f"after {steps} steps"
                ax.plot(
                    group.width,
                    group.distance,
                    MARKERS[i % 4] + "-",
                    color=COLOURS[i],
                    label=f"{when}: slope {fitted[limit, steps]:.2f}",
                )
            first = part[part.steps == part.steps.max()]
            ax.plot(
                first.width,
                first.distance.iloc[0] * (first.width / first.width.iloc[0]) ** -0.5,
                ":",
                color="grey",
                label="slope −1/2",
            )
            ax.axhline(part.limit_moves.max(), color="black", lw=1, ls="--", label="how far the limit itself moves")
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.set_xticks(sorted(part.width.unique()), [str(w) for w in sorted(part.width.unique())])
            ax.minorticks_off()
            ax.set(xlabel="width", ylabel="rms distance of outputs", title=f"Finite networks and the {limit}")
            ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=2)
        figure.tight_layout()
        return save(figure, path)


def learning_rates(found: pd.DataFrame, path: Path) -> Path:
    """Loss against rate, a line for each width, a panel for each parametrization; diverged rates are left out."""
    names = list(dict.fromkeys(found.parametrization))
    widths = sorted(found.width.unique())
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(widths)))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(names), figsize=(4.6 * len(names), 3.8), sharey=True, sharex=True)
        for ax, name in zip(np.atleast_1d(axes), names, strict=True):
            for width, colour in zip(widths, shades, strict=True):
                part = found[
                    (found.parametrization == name) & (found.width == width) & np.isfinite(found.loss)
                ].sort_values("rate")
                best = part.loc[part.loss.idxmin()]
                ax.plot(part.rate, part.loss, "o-", color=colour, ms=4, label=f"width {width}")
                ax.plot(best.rate, best.loss, "o", mfc="none", mec=colour, ms=11, mew=1.8)
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.set(xlabel="learning rate", title=name)
            ax.minorticks_off()
            ax.legend(fontsize=8)
        np.atleast_1d(axes)[0].set_ylabel("training loss")
        figure.tight_layout()
        return save(figure, path)


def plane(found: pd.DataFrame, path: Path) -> Path:
    """The map of regimes, a panel for each 2a + c of the readout.

    The named parametrizations are in the panel that they belong to.
    """
    grid, named = found[found.name.isna()], found[found.name.notna()]
    order = list(REGIMES)
    updates = sorted(grid["update"].unique())
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = plt.subplots(1, len(updates), figsize=(3.6 * len(updates), 3.9), sharey=True)
        for ax, update in zip(np.atleast_1d(axes), updates, strict=True):
            part = grid[grid["update"] == update].pivot(index="c", columns="readout", values="regime").map(order.index)
            ax.pcolormesh(
                part.columns,
                part.index,
                part.to_numpy(),
                cmap=ListedColormap(list(REGIMES.values())),
                vmin=-0.5,
                vmax=len(order) - 0.5,
                shading="nearest",
                rasterized=True,
            )
            here = named[named["update"] == update] if update in set(named["update"]) else named[:0]
            for (readout, c), group in here.groupby(["readout", "c"]):
                ax.plot(readout, c, "o", color="black", ms=7, mec="white")
                ax.annotate(
                    " and\n".join(group.name),
                    (readout, c),
                    xytext=(-6, 6) if readout >= 1 else (4, 8),
                    textcoords="offset points",
                    ha="right" if readout >= 1 else "left",
                    fontsize=8,
                )
            ax.set(xlabel="a + b of the readout", title=f"2a + c of the readout = {update:g}")
        np.atleast_1d(axes)[0].set_ylabel("c (hidden layers scaled as in μP)")
        figure.tight_layout()
        figure.legend(
            handles=[Patch(color=colour, label=name) for name, colour in REGIMES.items()],
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncol=4,
            fontsize=9,
        )
        return save(figure, path)
