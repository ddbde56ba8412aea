"""What an abc-parametrization does, in words (TP4 section 3)."""

from fractions import Fraction

from infwidth.errors import ConfigError
from infwidth.parametrization import ABC, NAMED, classify, limit_of, named
from infwidth.theory.exponents import predicted

MODELS = {
    "nngp": "model=nngp_limit",
    "ntk": "model=ntk_limit",
    "mu": "model=mu_limit (one linear hidden layer), for deep ones the limit of projected SGD, model=pi_limit",
}


def explained(abc: ABC) -> str:
    """Several lines: the exponents, the regime and why, which layers learn features, what moves how fast, the limit."""
    found, exponents, layers = classify(abc), predicted(abc), range(1, abc.depth + 1)
    a, b = (", ".join(map(str, x)) for x in (abc.a, abc.b))
    lines = [
        f"depth {abc.depth}: a = ({a}), b = ({b}), c = {abc.c}; r = {abc.r()}",
        f"regime: {found.regime}. It is {found.reason}.",
    ]
    same = [name for name in (*NAMED, "readout_only") if _same(abc, name)]
    if same:
        lines.append(f"Up to the shift symmetry it is {' and '.join(same)}: the same f at every step.")
    moves = ", ".join(f"layer {l}'s activations move as {_power(exponents.delta[l - 1])}" for l in layers)
    lines.append(
        f"f at initialisation scales as {_power(exponents.f_0)}, its change in training as "
        f"{_power(exponents.delta_f)}; {moves}."
    )
    if found.stable:
        learning = [str(l) for l in layers if exponents.delta[l - 1] == 0]
        lines.append(f"Layers that learn features in the limit: {', '.join(learning) or 'none'}.")
        model = MODELS.get(limit_of(abc))
        lines.append(f"Its infinite-width limit{f': {model}' if model else ' is none of the models here'}.")
    return "\n".join(lines)


def _same(abc: ABC, name: str) -> bool:
    for c in (0, 1) if name == "standard" else (None,):
        try:
            if abc.same_training(named(name, abc.depth, c)):
                return True
        except ConfigError:  # mean_field has one hidden layer only
            pass
    return False


def _power(exponent: Fraction) -> str:
    return "order 1" if exponent == 0 else f"n^({exponent})"
