"""The plane of abc-parametrizations that start with activations of order 1 (TP4, the picture of section 3).

Three numbers decide everything, and the shift symmetry leaves them alone: a + b of the readout; 2a + c of the
readout, which says how far its own update moves f; and c + min_l [2 a_l + 1(l=1)], which says how far the updates
of the hidden layers move the features. The last is c itself where hidden layers are scaled as in mu-P. The map
shows the first against the last, at a fixed 2a + c of the readout.
"""

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pandas as pd

from infwidth.errors import ConfigError
from infwidth.parametrization import ABC, NAMED, classify, named

HALF = Fraction(1, 2)


def member(readout: Fraction, c: Fraction, depth: int, update: Fraction = Fraction(1)) -> ABC:
    """The parametrization with a + b = readout and 2a + c = update of the readout, and learning-rate exponent c.

    Its hidden layers are as in mu-P: a_1 = -1/2, a_l = 0, b_l = 1/2. mu-P itself is readout 1, c 0.
    """
    a = (update - c) / 2
    return ABC((-HALF, *[0] * (depth - 1), a), (*(HALF,) * depth, readout - a), c)


def coordinates(abc: ABC) -> tuple[Fraction, Fraction, Fraction]:
    """(a + b of the readout, c as it were with hidden layers as in mu-P, 2a + c of the readout)."""
    slowest = min(2 * a + (1 if l == 0 else 0) for l, a in enumerate(abc.a[:-1]))
    return Fraction(abc.a[-1] + abc.b[-1]), Fraction(abc.c + slowest), Fraction(2 * abc.a[-1] + abc.c)


def known(depth: int) -> dict[str, ABC]:
    """The named parametrizations of a depth; standard with its two customary learning rates."""
    found = {}
    for name in NAMED:
        for c in (0, 1) if name == "standard" else (None,):
            try:
                found[f"{name}, c = {c}" if name == "standard" else name] = named(name, depth, c)
            except ConfigError:  # mean_field has one hidden layer only
                continue
    return found


def table(depth: int, updates: Sequence[Fraction], step: Fraction) -> pd.DataFrame:
    """The regime of every point of a grid with readout 0..3/2 and c -1..3/2, a map for each 2a + c of the readout.

    Then, with their names, where the named parametrizations lie.
    """
    readouts = [i * step for i in range(int(Fraction(3, 2) / step) + 1)]
    rates = [-1 + j * step for j in range(int(Fraction(5, 2) / step) + 1)]
    lines = []
    for update, readout, c in itertools.product(updates, readouts, rates):
        lines.append(_line("", readout, c, update, member(readout, c, depth, update)))
    shown = {"mean_field (depth 1)": known(1)["mean_field"], **known(depth)}
    for name, abc in shown.items():
        lines.append(_line(name, *coordinates(abc), abc))
    return pd.DataFrame(lines)


def _line(name: str, readout: Fraction, c: Fraction, update: Fraction, abc: ABC) -> dict[str, Any]:
    place = {"readout": float(readout), "c": float(c), "update": float(update)}
    return {"name": name, **place, "regime": classify(abc).regime}
