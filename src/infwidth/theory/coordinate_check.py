"""The coordinate check: measured exponents of h^l_0, f_0, Delta f, Delta h^l and Delta x^l beside the predicted ones.

At every width the typical size of a quantity is its root mean square over coordinates, examples and seeds; the exponent is the slope of
its logarithm over the widest widths. The interval of a slope is that of the fit's resampling over seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from infwidth.config import key
from infwidth.parametrization import ABC, classify
from infwidth.progress import bar
from infwidth.seeding import stream
from infwidth.theory.exponents import predicted
from infwidth.theory.tracked import Tracked, draw, squared_loss


@dataclass(frozen=True, kw_only=True)
class Check:
    """depths: of the networks; widths: of which the last ``fitted`` decide the slope; steps: after which changes are measured; rate: eta."""

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


def measure(abcs: Mapping[str, ABC], depth: int, check: Check) -> dict[str, dict[Key, np.ndarray]]:
    """Mean squares (widths, seeds) of every quantity of each parametrization; NaN or infinite where one has blown up."""
    dtype = torch.float64 if depth == 1 else torch.float32
    g = stream("coordinate check")
    x = torch.randn(check.examples, check.inputs, generator=g, dtype=dtype) / check.inputs**0.5
    loss = squared_loss(torch.randn(check.examples, check.outputs, generator=g, dtype=dtype).sign())
    found: dict[str, dict[Key, np.ndarray]] = {name: {} for name in abcs}

    def note(name: str, key: Key, i: int, seed: int, value: torch.Tensor) -> None:
        found[name].setdefault(key, np.full((len(check.widths), check.seeds), np.nan))[i, seed] = (
            value.double().square().mean()
        )

    with bar(total=len(check.widths) * check.seeds, desc=f"depth {depth}", unit="network") as done:
        for i, width in enumerate(check.widths):
            for seed in range(check.seeds):
                omegas = draw(
                    width, check.inputs, check.outputs, depth, stream("coordinate check", depth, width, seed), dtype
                )
                for name, abc in abcs.items():
                    net = Tracked(omegas, width, abc, check.rate)
                    initial = net.forward(x)
                    note(name, ("f_0", None, 0), i, seed, initial[2])
                    for l in range(1, depth + 1):
                        note(name, ("h_0", l, 0), i, seed, initial[0][l - 1])
                    for step in range(1, max(check.steps) + 1):
                        net.step(x, loss)
                        if step in check.steps:
                            delta_h, delta_x, delta_f = net.changes(x, initial)
                            note(name, ("delta_f", None, step), i, seed, delta_f)
                            for l in range(1, depth + 1):
                                note(name, ("delta_h", l, step), i, seed, delta_h[l - 1])
                                note(name, ("delta_x", l, step), i, seed, delta_x[l - 1])
                done.update()
    return found


def slope(
    squares: np.ndarray, widths: Sequence[int], resamplings: int, generator: np.random.Generator
) -> tuple[float, float, float]:
    """The exponent of the root mean square over seeds (widths, seeds), and its 95 % interval by resampling seeds at each width."""
    logs = np.log2(widths)

    def fit(values: np.ndarray) -> float:
        return float(np.polyfit(logs, np.log2(np.sqrt(values.mean(1))), 1)[0])

    draws = generator.integers(squares.shape[1], size=(resamplings, *squares.shape))
    fits = [fit(np.take_along_axis(squares, index, 1)) for index in draws]
    return fit(squares), *np.percentile(fits, [2.5, 97.5])


def table(abcs: Mapping[str, ABC], depth: int, check: Check) -> pd.DataFrame:
    """One line for every parametrization, quantity, layer and number of steps: measured slope with its interval, predicted exponent.

    r, regime: by the Dynamical Dichotomy; blown_up: the width from which on a quantity is not finite, empty if none is; rms_<n>: the typical
    size at width n.
    """
    lines, g = [], np.random.default_rng(0)
    for name, found in measure(abcs, depth, check).items():
        exponents, regime = predicted(abcs[name]), classify(abcs[name]).regime
        for (quantity, layer, steps), squares in found.items():
            finite = np.isfinite(squares).all(1)
            blown = next((w for w, ok in zip(check.widths, finite, strict=True) if not ok), None)
            last = slice(len(check.widths) - check.fitted, None)
            measured = (
                slope(squares[last], check.widths[last], check.resamplings, g)
                if finite[last].all() and (squares[last] > 0).any(1).all()
                else (np.nan,) * 3
            )
            lines.append({
                "parametrization": name, "depth": depth, "r": float(abcs[name].r()), "regime": regime, "quantity": quantity, "layer": layer, "steps": steps, "predicted": float(exponents.of(quantity, layer)),
                "slope": measured[0], "low": measured[1], "high": measured[2], "blown_up": blown,
                **{f"rms_{w}": float(np.sqrt(m)) for w, m in zip(check.widths, squares.mean(1), strict=True)},
            })  # fmt: skip
    return pd.DataFrame(lines)
