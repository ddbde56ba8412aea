"""abc-parametrizations and what follows from them, as an object that explains itself (TP4 sections 2-3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational

from infwidth.errors import ConfigError
from infwidth.parametrization import ABC, LayerScaling, classify, limit_of, named
from infwidth.theory.explanation import explained
from infwidth.theory.exponents import Exponents, predicted

Exponent = int | float | Fraction | str
"""A number, or a fraction as text such as '1/2'."""


@dataclass(frozen=True)
class Parametrization:
    """An abc-parametrization: W^l = n^{-a_l} w^l, w^l ~ N(0, n^{-2 b_l}), rate eta n^{-c}. ``str`` explains it.

    a, b: exponents of layers 1..depth+1, the readout last; c: of the learning rate. regime: 'feature learning',
    'kernel', 'trivial' or 'unstable'; r: features move as n^-r; limit: 'nngp', 'ntk', 'mu', or why it is none of these.
    """

    abc: ABC

    @property
    def name(self) -> str:
        return self.abc.name

    @property
    def depth(self) -> int:
        """Hidden layers."""
        return self.abc.depth

    @property
    def a(self) -> tuple[Rational, ...]:
        return self.abc.a

    @property
    def b(self) -> tuple[Rational, ...]:
        return self.abc.b

    @property
    def c(self) -> Rational:
        return self.abc.c

    @property
    def r(self) -> Rational:
        return self.abc.r()

    @property
    def regime(self) -> str:
        return classify(self.abc).regime

    @property
    def stable(self) -> bool:
        return classify(self.abc).stable

    @property
    def limit(self) -> str:
        return limit_of(self.abc)

    @property
    def exponents(self) -> Exponents:
        """Of n, in what is seen of a network: h_0, f_0, delta_f, and delta of each hidden layer."""
        return predicted(self.abc)

    def layer(self, layer: int, width: int) -> LayerScaling:
        """Multiplier, initial standard deviation and learning-rate scale of weight layer 1..depth+1 at a width."""
        if not 1 <= layer <= self.depth + 1:
            raise ConfigError(f"layer is {layer}; the weight layers are 1 to {self.depth + 1}.")
        return self.abc.layer(layer, width)

    def __str__(self) -> str:
        return explained(self.abc)


def abc(
    name: str | None = None,
    depth: int = 1,
    *,
    a: Sequence[Exponent] | None = None,
    b: Sequence[Exponent] | None = None,
    c: Exponent | None = None,
) -> Parametrization:
    """An abc-parametrization, by name and depth or by its exponents (TP4 sections 2-3).

    name: 'standard', 'ntk', 'mean_field', 'mup' or 'readout_only'; depth: hidden layers; c: in place of the name's own.
    a, b, c: exponents of the weight layers, the readout last, and of the learning rate. Raises ConfigError for what is
    none.

    >>> import infwidth as iw
    >>> mup = iw.abc("mup", depth=2)
    >>> mup.regime, mup.r
    ('feature learning', Fraction(0, 1))
    >>> print(iw.abc(a=[0, "1/2", "1/2"], b=[0, 0, 0], c=0))  # doctest: +ELLIPSIS
    depth 2: a = (0, 1/2, 1/2), b = (0, 0, 0), c = 0; r = 1/2
    regime: kernel. It is stable and nontrivial with r = 1/2 > 0: features freeze as n^-1/2 ...
    """
    if (name is None) == (a is None and b is None):
        raise ConfigError('give either a name and depth, as in abc("mup", depth=2), or all of a, b and c.')
    if name is not None:
        return Parametrization(named(name, depth, None if c is None else Fraction(c)))
    if a is None or b is None or c is None:
        raise ConfigError("a, b (one exponent for each weight layer) and c go together; give all three.")
    return Parametrization(ABC(tuple(a), tuple(b), c))


def resolved(given: "str | Parametrization | Sequence", depth: int) -> ABC:
    """What a function takes for a parametrization of ``depth`` hidden layers: a name, an object, or (a, b, c).

    ConfigError for one of another depth.
    """
    if isinstance(given, str):
        return named(given, depth)
    found = given.abc if isinstance(given, Parametrization) else ABC(tuple(given[0]), tuple(given[1]), given[2])
    if found.depth != depth:
        raise ConfigError(f"the parametrization is of {found.depth} hidden layers, and the network has {depth}.")
    return found
