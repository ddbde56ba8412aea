"""The coordinate check: measured exponents of h^l_0, f_0, Delta f, Delta h^l and Delta x^l beside the predicted ones.

At every width the typical size of a quantity is its root mean square over coordinates, examples and seeds; the
exponent is the slope of its logarithm over the widest widths. The interval of a slope is that of the fit's
resampling over seeds.

All parametrizations of a width and seed have the same draws, so that some of their quantities differ by a power of the
width alone, and deviate from their predictions by the same amount: these are one measurement (:func:`draws`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from infwidth.config import key
from infwidth.parametrization import ABC, classify
from infwidth.progress import bar
from infwidth.seeding import stream
from infwidth.theory.descent import Loss, squared_loss
from infwidth.theory.exponents import predicted
from infwidth.theory.tracked import Tracked, draw

SAME = 1e-4
"""How far the logarithms of two measurements of the same draws may be apart by rounding. Those of different draws are a
thousandth apart at the least."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """depths: of the networks; widths: of which the last ``fitted`` decide the slope; steps: after which changes are
    measured; rate: eta."""

    depths: tuple[int, ...] = key(at_least=1)
    widths: tuple[int, ...] = key(at_least=1)
    fitted: int = key(at_least=2)
    seeds: int = key(at_least=2)
    steps: tuple[int, ...] = key(at_least=1)
    rate: float = key(above=0)
    inputs: int = key(at_least=1)
    outputs: int = key(at_least=1)
    examples: int = key(at_least=1)
    resamplings: int = key(at_least=1)


Key = tuple[str, int | None, int]
"""(quantity, layer or None, steps)."""


def quantities(net: Tracked, x: Tensor, loss: Loss, check: Check) -> Iterator[tuple[Key, Tensor]]:
    """What is measured of a network while it is trained."""
    layers = range(1, net.depth + 1)
    initial = net.forward(x)
    hs, _, f = initial
    yield ("f_0", None, 0), f
    for l in layers:
        yield ("h_0", l, 0), hs[l - 1]
    for step in range(1, max(check.steps) + 1):
        net.step(x, loss)
        if step in check.steps:
            delta_h, delta_x, delta_f = net.changes(x, initial)
            yield ("delta_f", None, step), delta_f
            for l in layers:
                yield ("delta_h", l, step), delta_h[l - 1]
                yield ("delta_x", l, step), delta_x[l - 1]


def measure(abcs: Mapping[str, ABC], depth: int, check: Check) -> dict[str, dict[Key, np.ndarray]]:
    """Mean squares (widths, seeds) of every quantity of each parametrization; not finite where one has blown up."""
    dtype = torch.float64 if depth == 1 else torch.float32
    g = stream("coordinate check")
    x = torch.randn(check.examples, check.inputs, generator=g, dtype=dtype) / check.inputs**0.5
    loss = squared_loss(torch.randn(check.examples, check.outputs, generator=g, dtype=dtype).sign())
    unmeasured = np.full((len(check.widths), check.seeds), np.nan)
    found: dict[str, dict[Key, np.ndarray]] = {name: {} for name in abcs}
    with bar(total=len(check.widths) * check.seeds, desc=f"depth {depth}", unit="network") as done:
        for i, width in enumerate(check.widths):
            for seed in range(check.seeds):
                g = stream("coordinate check", depth, width, seed)
                omegas = draw(width, check.inputs, check.outputs, depth, g, dtype)
                for name, abc in abcs.items():
                    for quantity, value in quantities(Tracked(omegas, width, abc, check.rate), x, loss, check):
                        squares = found[name].setdefault(quantity, unmeasured.copy())
                        squares[i, seed] = value.double().square().mean()
                done.update()
    return found


Slope = tuple[float, float, float]
"""An exponent and the ends of its 95 % interval."""


def slope(squares: np.ndarray, widths: Sequence[int], resamplings: int, generator: np.random.Generator) -> Slope:
    """The exponent of the root mean square over seeds, from mean squares (widths, seeds).

    Its interval is that of resampling the seeds of each width.
    """
    logs = np.log2(widths)

    def fit(values: np.ndarray) -> float:
        return float(np.polyfit(logs, np.log2(np.sqrt(values.mean(1))), 1)[0])

    indices = generator.integers(squares.shape[1], size=(resamplings, *squares.shape))
    fits = [fit(np.take_along_axis(squares, index, 1)) for index in indices]
    return fit(squares), *np.percentile(fits, [2.5, 97.5])


def slope_at_the_widest(squares: np.ndarray, check: Check, generator: np.random.Generator) -> Slope:
    """The slope over the last ``fitted`` widths; NaN where a quantity is not finite or vanishes there."""
    widest, widths = squares[-check.fitted :], check.widths[-check.fitted :]
    vanishes = not (widest > 0).any(1).all()
    if vanishes or not np.isfinite(widest).all():
        return np.nan, np.nan, np.nan
    return slope(widest, widths, check.resamplings, generator)


def blown_up(squares: np.ndarray, check: Check) -> int | None:
    """The narrowest width at which a quantity is not finite."""
    finite = np.isfinite(squares).all(1)
    return next((width for width, ok in zip(check.widths, finite, strict=True) if not ok), None)


def table(abcs: Mapping[str, ABC], depth: int, check: Check) -> pd.DataFrame:
    """One line for every parametrization, quantity, layer and number of steps: measured slope, predicted exponent.

    low, high: the slope's interval; r, regime: by the Dynamical Dichotomy; blown_up: the width from which on a
    quantity is not finite, empty if none is; rms_<n>: the typical size at width n; draws: see :func:`draws`.
    """
    lines, g = [], np.random.default_rng(0)
    for name, found in measure(abcs, depth, check).items():
        abc = abcs[name]
        exponents, r, regime = predicted(abc), float(abc.r()), classify(abc).regime
        for (quantity, layer, steps), squares in found.items():
            line = {"parametrization": name, "depth": depth, "r": r, "regime": regime}
            line |= {"quantity": quantity, "layer": layer, "steps": steps}
            line["predicted"] = float(exponents.of(quantity, layer))
            line["slope"], line["low"], line["high"] = slope_at_the_widest(squares, check, g)
            line["blown_up"] = blown_up(squares, check)
            for width, mean_square in zip(check.widths, squares.mean(1), strict=True):
                line[f"rms_{width}"] = float(np.sqrt(mean_square))
            lines.append(line)
    measured = pd.DataFrame(lines)
    return measured.assign(draws=draws(measured))


def draws(lines: pd.DataFrame) -> pd.Series:
    """A number for each line of such tables, the same for lines that are one measurement.

    They are where the sizes, divided by n^predicted, are a constant times one another at every width: the lines
    show the same draws, and their slopes deviate from the predictions by the same amount. A line that is not
    finite is alone.
    """
    columns = [name for name in lines if name.startswith("rms_")]
    widths = np.array([int(name.removeprefix("rms_")) for name in columns])
    exponents = lines["predicted"].to_numpy(float)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        shapes = np.log(lines[columns].to_numpy(float)) - exponents * np.log(widths)
        shapes -= shapes.mean(1, keepdims=True)
    firsts: list[np.ndarray] = []
    numbers = []
    for shape in shapes:
        alike = [i for i, first in enumerate(firsts) if np.abs(shape - first).max() < SAME]
        if not alike:
            firsts.append(shape)
        numbers.append(alike[0] if alike else len(firsts) - 1)
    return pd.Series(numbers, index=lines.index)
