"""The plane of abc-parametrizations that start with activations of order 1: readout exponent a + b against learning-rate exponent c.

All hidden layers as in mu-P or NTK up to the shift symmetry leave two numbers that matter; every point has a regime by the Dynamical
Dichotomy (TP4, Figure 5).
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from infwidth.errors import ConfigError
from infwidth.parametrization import ABC, NAMED, classify, named

REGIMES = ("unstable", "trivial", "kernel", "feature learning")


def member(readout: Fraction, c: Fraction, depth: int) -> ABC:
    """The parametrization with a_{L+1} + b_{L+1} = readout and learning-rate exponent c, with w^l of order n^{-1/2} at the readout:
    a_1 = -1/2, b_1 = 1/2; a_l = 0, b_l = 1/2; a_{L+1} = readout - 1/2, b_{L+1} = 1/2, as in mu-P (readout 1, c 0)."""
    half = Fraction(1, 2)
    return ABC((-half, *[0] * (depth - 1), readout - half), (half,) * (depth + 1), c)


def coordinates(abc: ABC) -> tuple[float, float] | None:
    """Where a parametrization lies in the plane of its depth, after the shift that gives its hidden layers b = 1/2; None if it does not."""
    half = Fraction(1, 2)
    shifted = abc.shifted(abc.b[0] - half)
    inner = all(a == 0 and b == half for a, b in zip(shifted.a[1:-1], shifted.b[1:-1], strict=True))
    if shifted.a[0] != -half or not inner or shifted.b[-1] != half:
        return None
    return float(shifted.a[-1] + shifted.b[-1]), float(shifted.c)


def regimes(readouts: Sequence[Fraction], cs: Sequence[Fraction], depth: int) -> np.ndarray:
    """Index into REGIMES (len(cs), len(readouts)) of every point of a grid."""
    return np.array([[REGIMES.index(classify(member(r, c, depth)).regime) for r in readouts] for c in cs])


def known(depth: int) -> dict[str, tuple[float, float]]:
    """The named parametrizations that lie in the plane."""
    found = {}
    for name in NAMED:
        for c in (0, 1) if name == "standard" else (None,):
            try:
                place = coordinates(named(name, depth, c))
            except ConfigError:  # mean_field has one hidden layer only
                continue
            if place is not None:
                found[f"{name}, c = {c}" if name == "standard" else name] = place
    return found
