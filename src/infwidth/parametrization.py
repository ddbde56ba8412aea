"""abc-parametrizations: exponents, stability, training regime and the scaling of a layer (TP4 sections 2-3).

A network of L hidden layers of width n has weights W^l = n^{-a_l} w^l with w^l ~ N(0, n^{-2 b_l}), trained by SGD on
w^l with learning rate eta n^{-c}. Tuples hold the exponents of layers 1..L+1.
"""

from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational
from typing import Literal

from infwidth.config import key
from infwidth.errors import ConfigError
from infwidth.rational import exact

HALF = Fraction(1, 2)
NAMED = ("standard", "ntk", "mean_field", "mup")
"""Those that TP4 names."""

MOST_LAYERS = 1000
"""Hidden layers of the deepest network that exponents are worked out for."""

LARGEST = 10
"""The largest exponent of a config: more than any theory has a use for, and no power of a width overflows."""


@dataclass(frozen=True)
class LayerScaling:
    """A layer at one width: W = multiplier * w, w ~ N(0, init_std^2), learning rate eta * learning_rate_scale."""

    multiplier: float
    init_std: float
    learning_rate_scale: float


@dataclass(frozen=True)
class ABC:
    """An abc-parametrization of a network with ``depth`` hidden layers.

    a, b: exponents of layers 1..depth+1 (readout last); c: exponent of the learning rate; name: for messages only.
    Exponents are read as :func:`infwidth.rational.exact` reads them. Raises ConfigError if one is no finite number, if
    the lengths differ or there is no hidden layer.
    """

    a: tuple[Rational, ...]
    b: tuple[Rational, ...]
    c: Rational
    name: str = "custom"

    def __post_init__(self):
        try:
            object.__setattr__(self, "a", tuple(exact(x) for x in self.a))
            object.__setattr__(self, "b", tuple(exact(x) for x in self.b))
            object.__setattr__(self, "c", exact(self.c))
        except ValueError as e:
            raise ConfigError(f"the exponents of a parametrization must be finite numbers or fractions: {e}.") from e
        if len(self.a) != len(self.b) or len(self.a) < 2:
            raise ConfigError(
                f"parametrization.a has {len(self.a)} and parametrization.b {len(self.b)} exponents; "
                "both need one for every weight layer: the hidden layers and the readout."
            )

    @property
    def depth(self) -> int:
        return len(self.a) - 1

    def shifted(self, theta: float | Rational) -> "ABC":
        """The shift symmetry: (a_l + theta, b_l - theta, c - 2 theta) has the same f_t at every t."""
        theta = exact(theta)
        return ABC(tuple(x + theta for x in self.a), tuple(x - theta for x in self.b), self.c - 2 * theta, self.name)

    def same_training(self, other: "ABC") -> bool:
        """Whether the two differ by a shift only."""
        mine, theirs = self.shifted(self.c / 2), other.shifted(other.c / 2)
        return (mine.a, mine.b) == (theirs.a, theirs.b)

    def r(self, layer: int | None = None) -> Rational:
        """How slowly features move: Delta x^L = Theta(n^{-r}). With ``layer`` l, r_l, the same for Delta x^l."""
        last = self.depth if layer is None else layer
        if not 1 <= last <= self.depth:
            raise ConfigError(f"r_l is defined for the hidden layers 1..{self.depth}, not for {last}.")
        a, b = self.a[-1], self.b[-1]
        fastest = min(self.own_update(l) for l in range(1, last + 1))
        return min(a + b, 2 * a + self.c) + self.c - 1 + fastest

    def own_update(self, layer: int) -> Rational:
        """What r has of a hidden layer's own updates, 2 a_l + 1(l = 1): the smaller, the more they move features."""
        return 2 * self.a[layer - 1] + (1 if layer == 1 else 0)

    def layer(self, layer: int, width: int) -> LayerScaling:
        """Multiplier, initial standard deviation and learning-rate scale of weight layer 1..depth+1 at a width."""
        n = float(width)
        return LayerScaling(n ** -float(self.a[layer - 1]), n ** -float(self.b[layer - 1]), n ** -float(self.c))


@dataclass(frozen=True)
class Classification:
    """stable, nontrivial, regime ('feature learning', 'kernel', 'trivial', 'unstable') and why, in words.

    kernel_layers: in the kernel regime, the weight layers whose movement changes f in the limit.
    """

    stable: bool
    nontrivial: bool
    regime: str
    reason: str
    kernel_layers: tuple[int, ...] = ()


def classify(abc: ABC) -> Classification:
    """The Dynamical Dichotomy (TP4 section 3)."""
    r, faults = abc.r(), _faults(abc)
    if faults:
        return Classification(False, False, "unstable", f"unstable because {'; '.join(faults)}")
    hidden_move_f, readout_moves_f = _what_moves_f(abc)
    if not (hidden_move_f or readout_moves_f):
        a, b, c = abc.a[-1], abc.b[-1], abc.c
        reason = (
            f"stable but trivial: a + b + r = {a + b + r} and 2a + c = {2 * a + c} of the readout both exceed 1, so f "
            "stays where it began"
        )
        return Classification(True, False, "trivial", reason)
    if r == 0:
        reason = "stable and nontrivial with r = 0: features move by order 1 in the limit"
        return Classification(True, True, "feature learning", reason)
    reason = (
        f"stable and nontrivial with r = {r} > 0: features freeze as n^-{r} and training is kernel gradient descent"
    )
    layers = _fastest(abc) if hidden_move_f else ()
    if readout_moves_f:
        layers += (abc.depth + 1,)
    return Classification(True, True, "kernel", reason, layers)


def _faults(abc: ABC) -> list[str]:
    """Why a parametrization is not stable; none if it is."""
    a, b, c, r = abc.a[-1], abc.b[-1], abc.c, abc.r()
    faults = []
    if abc.a[0] + abc.b[0] != 0:
        faults.append(f"a_1 + b_1 = {abc.a[0] + abc.b[0]} instead of 0: the first activations do not start of order 1")
    for l in range(2, abc.depth + 1):
        at_start = abc.a[l - 1] + abc.b[l - 1]
        if at_start != HALF:
            faults.append(
                f"a_{l} + b_{l} = {at_start} instead of 1/2: the activations of layer {l} do not start of order 1"
            )
    if a + b < HALF:
        faults.append(f"a + b of the readout = {a + b} < 1/2: the logits explode at initialisation")
    if r < 0:
        faults.append(f"r = {r} < 0: the features explode in training")
    if 2 * a + c < 1:
        faults.append(f"2a + c of the readout = {2 * a + c} < 1: the readout's own update makes the logits explode")
    if a + b + r < 1:
        faults.append(f"a + b + r of the readout = {a + b + r} < 1: moving features make the logits explode")
    return faults


def _what_moves_f(abc: ABC) -> tuple[bool, bool]:
    """Of a stable parametrization: whether the features' movement moves f in the limit, and the readout's own."""
    a, b = abc.a[-1], abc.b[-1]
    return a + b + abc.r() == 1, 2 * a + abc.c == 1


def _fastest(abc: ABC) -> tuple[int, ...]:
    """The hidden layers whose own updates move the features most."""
    updates = [abc.own_update(l) for l in range(1, abc.depth + 1)]
    largest = min(updates)
    return tuple(l for l, update in enumerate(updates, start=1) if update == largest)


def named(name: str, depth: int, c: float | Rational | None = None) -> ABC:
    """A named abc-parametrization for ``depth`` hidden layers (TP4 Table 1 and section 3).

    'readout_only' is the one whose limit is the NNGP: standard with c = 1 at depth 1, and at any depth the
    standard readout on hidden layers so scaled that their own updates vanish. c overrides the learning-rate
    exponent (standard has two customary ones, 0 and 1; its default here is 0). Raises ConfigError for an unknown
    name, and for mean_field with more than one hidden layer.
    """
    if not 1 <= depth <= MOST_LAYERS:
        raise ConfigError(f"model.depth is {depth}; an abc-parametrization has 1 to {MOST_LAYERS} hidden layers.")
    between = (HALF,) * (depth - 1)
    nothing = (0,) * (depth - 1)
    if name == "standard":
        a, b, own_c = (0, *nothing, 0), (0, *between, HALF), 0
    elif name == "ntk":
        a, b, own_c = (0, *between, HALF), (0, *nothing, 0), 0
    elif name == "mup":
        a, b, own_c = (-HALF, *nothing, HALF), (HALF, *between, HALF), 0
    elif name == "readout_only":
        a, b, own_c = (0, *between, 0), (0, *nothing, HALF), 1
    elif name == "mean_field":
        if depth != 1:
            raise ConfigError(
                f"parametrization=mean_field exists for one hidden layer only, not for model.depth={depth}; mup is its "
                "extension to depth."
            )
        a, b, own_c = (0, 1), (0, 0), -1
    else:
        raise ConfigError(
            f"parametrization {name!r} is not known; choose one of: {', '.join(NAMED)}, readout_only, custom."
        )
    return ABC(a, b, own_c if c is None else c, name)


def limit_of(abc: ABC) -> str:
    """The infinite-width limit of an abc-parametrization: 'nngp', 'ntk', 'mu', or why it has none of these names."""
    found = classify(abc)
    if found.regime == "kernel":
        if found.kernel_layers == (abc.depth + 1,):
            return "nngp"
        if len(found.kernel_layers) == abc.depth + 1:
            return "ntk"
        return f"{found.reason}, with the tangent kernel of layers {', '.join(map(str, found.kernel_layers))} alone"
    if found.regime == "feature learning" and abc.same_training(named("mup", abc.depth)):
        return "mu"
    return found.reason


def require_limit(abc: ABC, limit: str, model: str) -> None:
    """Raise ConfigError unless the limit model (named ``model`` in the config) is the limit of the parametrization."""
    actual = limit_of(abc)
    if actual == limit:
        return
    suited = {
        "nngp": "readout_only (at depth 1 that is standard with parametrization.c=1)",
        "ntk": "ntk",
        "mu": "mup (or mean_field, the same at depth 1)",
    }
    why = f"its limit is model={actual}_limit" if actual in suited else actual
    raise ConfigError(
        f"model={model} is not the limit of parametrization={abc.name} (c = {abc.c}): {why}. "
        f"Use parametrization=auto or {suited[limit]}."
    )


@dataclass(frozen=True, kw_only=True)
class ParametrizationConfig:
    """conf/parametrization: a name, or 'custom' with its exponents."""

    name: Literal["auto", "standard", "ntk", "mean_field", "mup", "readout_only", "custom"] = "auto"
    a: tuple[Fraction, ...] | None = key(at_least=-LARGEST, at_most=LARGEST, default=None)
    b: tuple[Fraction, ...] | None = key(at_least=-LARGEST, at_most=LARGEST, default=None)
    c: Fraction | None = key(at_least=-LARGEST, at_most=LARGEST, default=None)

    def build(self, own: ABC) -> ABC:
        """The abc-parametrization of a network as deep as ``own``, which is the model's own and what 'auto' means."""
        if self.name == "custom":
            if self.a is None or self.b is None or self.c is None:
                raise ConfigError(
                    "parametrization=custom needs parametrization.a, parametrization.b (one exponent per weight layer) "
                    "and parametrization.c."
                )
            abc = ABC(self.a, self.b, self.c)
            if abc.depth != own.depth:
                raise ConfigError(
                    f"parametrization.a has {len(self.a)} exponents; a network of model.depth={own.depth} has "
                    f"{own.depth + 1} weight layers."
                )
            return abc
        if self.a is not None or self.b is not None:
            raise ConfigError(
                f"parametrization={self.name} has its own a and b; use parametrization=custom to give them."
            )
        if self.name != "auto":
            return named(self.name, own.depth, self.c)
        if self.c is not None:
            raise ConfigError(
                f"parametrization=auto is the model's own, {own.name}, whose c is {own.c}; name a parametrization to "
                "give parametrization.c."
            )
        return own
