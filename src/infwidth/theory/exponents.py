"""How the coordinates of a network scale with its width n, by the theory (TP4 section 3).

    f_0 = Theta(n^{1/2 - (a + b)})                          a, b of the readout
    Delta f = Theta(n^{-min(2a + c - 1, a + b + r - 1)})
    Delta h^l, Delta x^l = Theta(n^{-r_l})
"""

from dataclasses import dataclass
from fractions import Fraction

from infwidth.parametrization import ABC


@dataclass(frozen=True)
class Exponents:
    """Exponents of n: of f_0, of Delta f, and of Delta h^l and Delta x^l for l = 1..L."""

    f_0: Fraction
    delta_f: Fraction
    delta: tuple[Fraction, ...]

    def of(self, quantity: str, layer: int | None = None) -> Fraction:
        """The exponent of 'f_0', 'delta_f', 'delta_h' or 'delta_x' (of a layer)."""
        return self.delta[layer - 1] if layer else getattr(self, quantity)


def predicted(abc: ABC) -> Exponents:
    """The exponents of a parametrization; of an unstable one those with which it begins to blow up."""
    a, b, c, r = abc.a[-1], abc.b[-1], abc.c, abc.r()
    return Exponents(
        Fraction(1, 2) - Fraction(a + b),
        -Fraction(min(2 * a + c - 1, a + b + r - 1)),
        tuple(-Fraction(abc.r(l)) for l in range(1, abc.depth + 1)),
    )
