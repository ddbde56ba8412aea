"""The report of the theory experiment: its table, sentences and figures from the measurements."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from infwidth.errors import DataError
from infwidth.reporting import measurements, provenance, table, theory_figures
from infwidth.reporting.experiment import MARKED
from infwidth.reporting.measurements import Measurement
from infwidth.reporting.page import Section
from infwidth.reporting.table import MARK
from infwidth.reporting.theory_figures import slopes
from infwidth.runs.spec import SCALES
from infwidth.runs.store import Record
from infwidth.theory.coordinate_check import draws
from infwidth.theory.experiment import TheoryRecipe

TOLERANCE = 0.05
"""A measured exponent agrees with the predicted one within this, or if its 95 % interval holds it."""

NAMES = {"h_0": "h₀", "f_0": "f₀", "delta_f": "Δf", "delta_h": "Δh", "delta_x": "Δx"}


def exponents(checks: pd.DataFrame) -> pd.DataFrame:
    """A line for every parametrization and depth.

    How many exponents agree, the largest difference, what was seen to blow up.
    """
    lines = []
    for (name, depth), group in checks.groupby(["parametrization", "depth"], sort=False):
        stable = group.regime.iloc[0] != "unstable"
        agree = agreeing(group)
        lines.append(
            {
                "parametrization": name,
                "depth": depth,
                "r": f"{group.r.iloc[0]:g}",
                "regime": group.regime.iloc[0],
                "exponents that agree": f"{agree.sum()} of {len(group)}" if stable else "",
                "largest difference": f"{(group.slope - group.predicted).abs().max():.3f}" if stable else "",
                "seen to blow up (of those predicted)": "" if stable else explosions(group),
            }
        )
    return pd.DataFrame(lines)


def agreeing(group: pd.DataFrame) -> pd.Series:
    """Whether each measured slope agrees with its prediction."""
    return ((group.slope - group.predicted).abs() <= TOLERANCE) | (
        (group.low <= group.predicted) & (group.predicted <= group.high)
    )


def explosions(group: pd.DataFrame) -> str:
    """Of the quantities that should grow with the width, those that did.

    Their slope's interval is above zero, or they were not finite.
    """
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
    notes = _coordinate_check(checks)
    if part := found.get("dichotomy"):
        notes += _dichotomy(part.table)
    if part := found.get("convergence"):
        text = "; ".join(f"{limit} after {steps} steps {s:.2f}" for (limit, steps), s in slopes(part.table).items())
        notes.append(f"Convergence, slope against width: {text} (predicted −0.5).")
    if part := found.get("learning_rates"):
        for name, best in best_rates(part.table).items():
            text = ", ".join(f"2^{np.log2(rate):.0f} at width {width}" for width, rate in best)
            notes.append(f"Best learning rate, {name}: {text}.")
    return notes


def _coordinate_check(checks: pd.DataFrame) -> list[str]:
    """How many exponents agree, and each that does not."""
    stable = checks[checks.regime != "unstable"]
    agree = agreeing(stable)
    one = agree.groupby(draws(checks)[stable.index]).first()
    notes = [
        f"Coordinate check: {agree.sum()} of {len(stable)} exponents of stable parametrizations are measured within "
        f"{TOLERANCE} of the predicted ones or hold them in their 95 % intervals. {len(one)} of them are distinct "
        f"measurements, of which {one.sum()} agree; the others are the same draws times a power of the width."
    ]
    for line in stable[~agree].itertuples():
        layer = "" if pd.isna(line.layer) else f" of layer {line.layer:.0f}"
        notes.append(
            f"Not in agreement: {line.parametrization}, depth {line.depth}, {NAMES[line.quantity]}{layer} after "
            f"{line.steps} steps: {line.slope:.3f} ({line.low:.3f} to {line.high:.3f}), predicted {line.predicted:g}"
        )
    return notes


def _dichotomy(measured: pd.DataFrame) -> list[str]:
    """The two sides of the dichotomy at the largest width, for r = 0 and r > 0.

    How far the kernel moves, how far f is from kernel descent and the mu-limit.
    """
    wide, notes = measured[measured.width == measured.width.max()], []
    for activation, depth in wide[["activation", "depth"]].drop_duplicates().itertuples(index=False):
        lines = wide[wide.activation == activation]
        for learns, group in lines.groupby(lines.r == 0):
            limit = group.from_mu_limit
            far = f" and {_range(limit)} away from the μ-limit" if limit.notna().all() else ""
            notes.append(
                f"Dichotomy, {'r = 0' if learns else 'r > 0'}, {activation} networks of depth {depth} and width "
                f"{group.width.iloc[0]}: the feature kernel moves by {_range(group.kernel_moves)} of itself, f is "
                f"{_range(group.from_kernel_descent)} of its movement away from kernel gradient descent{far}."
            )
    return notes


def _range(values: pd.Series) -> str:
    return " to ".join(dict.fromkeys(f"{v:.2g}" for v in (values.min(), values.max())))


def report(
    name: str, recipe: TheoryRecipe, results: Path, marked: Callable[[Record], bool]
) -> tuple[Section, list[Record]]:
    """Write results/<name>/ from the measurements that are there; the section, and the records behind it.

    Raises DataError if there are none.
    """
    found = measurements.load(results, name, recipe)
    checked = [m.table for part, m in sorted(found.items()) if part.startswith("coordinate_check_")]
    if not checked:
        raise DataError(
            f"experiment {name} has no finished measurements in {results}; run `make reproduce-{name}` first."
        )
    checks, output = pd.concat(checked, ignore_index=True), results / name
    output.mkdir(parents=True, exist_ok=True)
    measurements.keep(found, output)
    shown, notes = exponents(checks), _sentences(checks, found)
    records = [m.record for m in found.values()]
    if any(marked(record) for record in records):
        notes.append(MARKED)
        shown = shown.assign(parametrization=shown.parametrization + f" {MARK}")
    text = "".join(f"- {note}\n" for note in notes)
    (output / "table.md").write_text(f"# {recipe.title}\n\n{table.markdown(shown)}\n{text}", encoding="utf-8")
    pictures = theory_figures.draw(checks, {part: m.table for part, m in found.items()}, output)
    scales = sorted({m.scale for m in found.values()}, key=SCALES.index)
    command = "make demo" if scales == ["demo"] else f"make reproduce-{name} SCALE={scales[-1]}"
    made = provenance.sentence(records, "measurements")
    marks = [scale for scale in scales if scale == "demo"]
    return Section(recipe.title, recipe.claim, command, shown, marks, pictures, notes, (), made), records
