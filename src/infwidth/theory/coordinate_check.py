"""The coordinate check: measured exponents of f_0, Delta f, Delta h^l and Delta x^l beside the predicted ones.

At every width the typical size of a quantity is its root mean square over coordinates, examples and seeds; the exponent is the slope of
its logarithm over the widest widths. The interval of a slope is that of the fit's resampling over seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from infwidth.parametrization import ABC, classify
from infwidth.progress import bar
from infwidth.seeding import stream
from infwidth.theory.exponents import predicted
from infwidth.theory.tracked import Tracked, draw, squared_loss


@dataclass(frozen=True)
class Check:
    """widths: of which the last ``fitted`` decide the slope; steps: after which changes are measured; rate: eta."""

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
    fitted: int = 5
    seeds: int = 30
    steps: tuple[int, ...] = (1, 2, 5)
    rate: float = 0.5
    inputs: int = 8
    examples: int = 6
    resamplings: int = 400


Key = tuple[str, int | None, int]
"""(quantity, layer or None, steps)."""


def measure(abcs: Mapping[str, ABC], depth: int, check: Check) -> dict[str, dict[Key, np.ndarray]]:
    """Mean squares (widths, seeds) of every quantity of each parametrization; NaN or infinite where one has blown up."""
    dtype = torch.float64 if depth == 1 else torch.float32
    g = stream("coordinate check")
    x = torch.randn(check.examples, check.inputs, generator=g, dtype=dtype) / check.inputs**0.5
    loss = squared_loss(torch.randn(check.examples, 1, generator=g, dtype=dtype).sign())
    found: dict[str, dict[Key, np.ndarray]] = {name: {} for name in abcs}

    def note(name: str, key: Key, i: int, seed: int, value: torch.Tensor) -> None:
        found[name].setdefault(key, np.full((len(check.widths), check.seeds), np.nan))[i, seed] = value.double().square().mean()

    with bar(total=len(check.widths) * check.seeds, desc=f"depth {depth}", unit="network") as done:
        for i, width in enumerate(check.widths):
            for seed in range(check.seeds):
                omegas = draw(width, check.inputs, 1, depth, stream("coordinate check", depth, width, seed), dtype)
                for name, abc in abcs.items():
                    net = Tracked(omegas, width, abc, check.rate)
                    initial = net.forward(x)
                    note(name, ("f_0", None, 0), i, seed, initial[2])
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


def slope(squares: np.ndarray, widths: Sequence[int], resamplings: int, generator: np.random.Generator) -> tuple[float, float, float]:
    """The exponent of the root mean square over seeds (widths, seeds), and its 95 % interval by resampling seeds at each width."""
    logs = np.log2(widths)

    def fit(values: np.ndarray) -> float:
        return float(np.polyfit(logs, np.log2(np.sqrt(values.mean(1))), 1)[0])

    draws = generator.integers(squares.shape[1], size=(resamplings, *squares.shape))
    fits = [fit(np.take_along_axis(squares, index, 1)) for index in draws]
    return fit(squares), *np.percentile(fits, [2.5, 97.5])


def table(abcs: Mapping[str, ABC], depth: int, check: Check) -> pd.DataFrame:
    """One line for every parametrization, quantity, layer and number of steps: measured slope with its interval, predicted exponent.

    ``blown_up``: the width from which on a quantity is not finite, empty if none is.
    """
    lines, g = [], np.random.default_rng(0)
    for name, found in measure(abcs, depth, check).items():
        exponents, stable = predicted(abcs[name]), classify(abcs[name]).stable
        for (quantity, layer, steps), squares in found.items():
            finite = np.isfinite(squares).all(1)
            blown = next((w for w, ok in zip(check.widths, finite, strict=True) if not ok), None)
            last = slice(len(check.widths) - check.fitted, None)
            measured = slope(squares[last], check.widths[last], check.resamplings, g) if finite[last].all() and (squares[last] > 0).any(1).all() else (np.nan,) * 3
            lines.append({
                "parametrization": name, "depth": depth, "stable": stable, "quantity": quantity, "layer": layer, "steps": steps, "predicted": float(exponents.of(quantity, layer)),
                "slope": measured[0], "low": measured[1], "high": measured[2], "blown_up": blown,
            })  # fmt: skip
    return pd.DataFrame(lines)
