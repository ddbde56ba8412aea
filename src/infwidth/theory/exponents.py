"""How the coordinates of a network scale with its width n, by the theory (TP4 section 3).

h^l_0 = Theta(n^{e_l}),  e_1 = -(a_1 + b_1),  e_l = e_{l-1} + 1/2 - (a_l + b_l)
f_0 = Theta(n^{e_L + 1/2 - (a + b)})                    a, b of the readout; e_l = 0 in every stable parametrization
Delta f = Theta(n^{-min(2a + c - 1, a + b + r - 1)})
Delta h^l, Delta x^l = Theta(n^{-r_l})
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

from infwidth.parametrization import ABC

HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Exponents:
    """Exponents of n: of h^l_0 for l = 1..L, of f_0, of Delta f, and of Delta h^l and Delta x^l for l = 1..L."""

    h_0: tuple[Fraction, ...]
    f_0: Fraction
    delta_f: Fraction
    delta: tuple[Fraction, ...]

    def of(self, quantity: str, layer: int | None = None) -> Fraction:
        """The exponent of 'f_0' or 'delta_f', or, of a layer, of 'h_0', 'delta_h' or 'delta_x'."""
        if layer is None:
            return getattr(self, quantity)
        return (self.h_0 if quantity == "h_0" else self.delta)[layer - 1]


def predicted(abc: ABC) -> Exponents:
    """The exponents of a parametrization; of an unstable one those with which it begins to blow up."""
    a, b, c, r = abc.a[-1], abc.b[-1], abc.c, abc.r()
    grows = [-Fraction(x + y) + (HALF if l else 0) for l, (x, y) in enumerate(zip(abc.a, abc.b, strict=True))]
    *h_0, f_0 = accumulate(grows)
    delta_f = -Fraction(min(2 * a + c - 1, a + b + r - 1))
    return Exponents(tuple(h_0), f_0, delta_f, tuple(-Fraction(abc.r(l)) for l in range(1, abc.depth + 1)))


def explosions(abc: ABC) -> list[tuple[str, int | None]]:
    """The quantities, with their layers, that grow with the width without bound: none in a stable parametrization."""
    found, layers = predicted(abc), range(1, abc.depth + 1)
    outputs = [(name, None) for name in ("f_0", "delta_f") if found.of(name) > 0]
    return [
        *(("h_0", l) for l in layers if found.h_0[l - 1] > 0),
        *outputs,
        *(("delta_x", l) for l in layers if found.delta[l - 1] > 0),
    ]
