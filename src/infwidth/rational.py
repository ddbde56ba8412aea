"""Numbers that decide by equality, such as exponents: exact fractions, however they are written."""

import math
import re
from fractions import Fraction
from numbers import Rational

TEXT = re.compile(r"\s*[+-]?\d{1,9}(/\d{1,9}|\.\d{1,9})?\s*")
"""'1/2', '-3', '0.25'."""


def exact(x: float | Rational | str) -> Rational:
    """The fraction that a number means: 0.5 and '1/2' mean 1/2, 0.3333333333 means 1/3.

    Raises ValueError for what is no finite number.
    """
    if isinstance(x, str):
        if not TEXT.fullmatch(x):
            raise ValueError(f"{x!r} is no fraction")
        try:
            return Fraction(x)
        except ZeroDivisionError as e:
            raise ValueError(f"{x!r} is no fraction") from e
    if isinstance(x, Rational):
        return x
    if not math.isfinite(x):
        raise ValueError(f"{x} is not finite")
    return Fraction(x).limit_denominator(10_000)
