"""The report of the theory experiment: its table, sentences and figures from the measurements."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from infwidth.errors import DataError
from infwidth.reporting import measurements, table, theory_figures
from infwidth.reporting.measurements import Measurement
from infwidth.reporting.page import Section
from infwidth.reporting.records import SCALES
from infwidth.reporting.theory_figures import slopes

TOLERANCE = 0.05
"""A measured exponent agrees with the predicted one within this, or if its 95 % interval holds it."""

NAMES = {"h_0": "h₀", "f_0": "f₀", "delta_f": "Δf", "delta_h": "Δh", "delta_x": "Δx"}


def exponents(checks: pd.DataFrame) -> pd.DataFrame:
    """A line for every parametrization and depth: how many exponents agree, the largest difference, what was seen to blow up."""
    lines = []
    for (name, depth), group in checks.groupby(["parametrization", "depth"], sort=False):
        stable = group.regime.iloc[0] != "unstable"
        agree = agreeing(group)
        lines.append({
            "parametrization": name, "depth": depth, "r": f"{group.r.iloc[0]:g}", "regime": group.regime.iloc[0],
            "exponents that agree": f"{agree.sum()} of {len(group)}" if stable else "",
            "largest difference": f"{(group.slope - group.predicted).abs().max():.3f}" if stable else "",
            "seen to blow up (of those predicted)": "" if stable else explosions(group),
        })  # fmt: skip
    return pd.DataFrame(lines)


def agreeing(group: pd.DataFrame) -> pd.Series:
    """Whether each measured slope agrees with its prediction."""
    return ((group.slope - group.predicted).abs() <= TOLERANCE) | (
        (group.low <= group.predicted) & (group.predicted <= group.high)
    )


def explosions(group: pd.DataFrame) -> str:
    """Of the quantities that should grow with the width, those whose slope's interval is above zero, or that were not finite."""
    seen, wanted = [], []
    for (quantity, layer), lines in group[(group.predicted > 0) & (group.quantity != "delta_h")].groupby(
        ["quantity", "layer"], dropna=False, sort=False
    ):
        label = NAMES[quantity] + ("" if pd.isna(layer) else f" of layer {layer:.0f}")
        wanted.append(label)
        if ((lines.low > 0) | lines.blown_up.notna()).any():
            seen.append(label)
    return f"{', '.join(seen) or 'nothing'} ({len(seen)} of {len(wanted)})"


def best_rates(rates: pd.DataFrame) -> dict[str, list[tuple[int, float]]]:
    """By parametrization, width and its best learning rate."""
    found: dict[str, list[tuple[int, float]]] = {}
    for (name, width), group in rates.groupby(["parametrization", "width"], sort=False):
        found.setdefault(name, []).append((int(width), float(group.rate[group.loss.idxmin()])))
    return found


def _sentences(checks: pd.DataFrame, found: Mapping[str, Measurement]) -> list[str]:
    stable = checks[checks.regime != "unstable"]
    agree = agreeing(stable)
    notes = [
        f"Coordinate check: {agree.sum()} of {len(stable)} exponents of stable parametrizations are measured within {TOLERANCE} of the predicted ones or hold them in their 95 % intervals."
    ]
    off = stable[~agree]
    notes += [
        f"Not in agreement: {line.parametrization}, depth {line.depth}, {NAMES[line.quantity]}{'' if pd.isna(line.layer) else f' of layer {line.layer:.0f}'} after {line.steps} steps: "
        f"{line.slope:.3f} ({line.low:.3f} to {line.high:.3f}), predicted {line.predicted:g}"
        for line in off.itertuples()
    ]
    if part := found.get("dichotomy"):
        wide = part.table[part.table.width == part.table.width.max()]
        for activation, depth in wide[["activation", "depth"]].drop_duplicates().itertuples(index=False):
            lines = wide[wide.activation == activation]
            for learns, group in lines.groupby(lines.r == 0):
                kind = "r = 0" if learns else "r > 0"
                text = f"Dichotomy, {kind}, {activation} networks of depth {depth} and width {group.width.iloc[0]}: the feature kernel moves by {_range(group.kernel_moves)} of itself, f is {_range(group.from_kernel_descent)} of its movement away from kernel gradient descent"
                notes.append(
                    text
                    + (
                        f" and {_range(group.from_mu_limit)} away from the μ-limit"
                        if group.from_mu_limit.notna().all()
                        else ""
                    )
                    + "."
                )
    if part := found.get("convergence"):
        notes.append(
            "Convergence, slope against width: "
            + "; ".join(
                f"{limit} after {steps} steps {slope:.2f}" for (limit, steps), slope in slopes(part.table).items()
            )
            + " (predicted −0.5)."
        )
    if part := found.get("learning_rates"):
        for name, best in best_rates(part.table).items():
            notes.append(
                f"Best learning rate, {name}: "
                + ", ".join(f"2^{np.log2(rate):.0f} at width {width}" for width, rate in best)
                + "."
            )
    return notes


def _range(values: pd.Series) -> str:
    return " to ".join(dict.fromkeys(f"{v:.2g}" for v in (values.min(), values.max())))


def report(name: str, title: str, claim: str, results: Path, outdated: Callable[[str], bool]) -> Section:
    """Write results/<name>/ from the measurements that are there. Raises DataError if there are none."""
    found = measurements.load(results, name)
    checked = [m.table for part, m in sorted(found.items()) if part.startswith("coordinate_check_")]
    if not checked:
        raise DataError(
            f"experiment {name} has no finished measurements in {results}; run `make reproduce-{name}` first."
        )
    checks, output = pd.concat(checked, ignore_index=True), results / name
    output.mkdir(parents=True, exist_ok=True)
    measurements.keep(found, output)
    shown, notes = exponents(checks), _sentences(checks, found)
    if any(outdated(m.provenance["commit"]) for m in found.values()):
        notes.append(
            "† measured by a commit whose theory or models differ from the present ones, or with changes that were not committed."
        )
        shown = shown.assign(parametrization=shown.parametrization + " †")
    (output / "table.md").write_text(
        f"# {title}\n\n{table.markdown(shown)}\n" + "\n".join(f"- {n}" for n in notes) + "\n"
    )
    pictures = theory_figures.draw(checks, {part: m.table for part, m in found.items()}, output)
    scales = sorted({m.scale for m in found.values()}, key=SCALES.index)
    command = "make demo" if scales == ["demo"] else f"make reproduce-{name} SCALE={scales[-1]}"
    return Section(
        title, claim, command, shown, [s for s in scales if s == "demo"], pictures, notes, (), _provenance(found)
    )


def _provenance(found: Mapping[str, Measurement]) -> str:
    sources: list[dict[str, Any]] = [m.provenance for m in found.values()]
    minutes = sum(s["wall_seconds"] for s in sources) / 60
    return (
        f"{len(found)} measurements, {minutes:.1f} minutes in all, on {'; '.join(sorted({s['hardware'] for s in sources}))}; python {sources[0]['versions']['python']}, "
        f"torch {sources[0]['versions']['torch']}; commits {' '.join(sorted({s['commit'] for s in sources}))}."
    )
