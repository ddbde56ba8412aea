"""What an abc-parametrization does, in words.

`python -m infwidth.explain a=[0,1/2,1/2] b=[0,0,0] c=0` or `parametrization=mup depth=2`
"""

from dataclasses import dataclass
from fractions import Fraction

from omegaconf import DictConfig

from infwidth.command import command
from infwidth.config import key, load
from infwidth.errors import ConfigError
from infwidth.parametrization import ABC, LARGEST, MOST_LAYERS, NAMED, classify, limit_of, named
from infwidth.runs.compose import COMMANDS, plain
from infwidth.theory.exponents import predicted

MODELS = {
    "nngp": "model=nngp_limit",
    "ntk": "model=ntk_limit",
    "mu": "model=mu_limit (one linear hidden layer), for deep ones the limit of projected SGD, model=pi_limit",
}


@dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """conf/command/explain.yaml"""

    parametrization: str | None
    depth: int = key(at_least=1, at_most=MOST_LAYERS)
    a: tuple[Fraction, ...] | None = key(at_least=-LARGEST, at_most=LARGEST)
    b: tuple[Fraction, ...] | None = key(at_least=-LARGEST, at_most=LARGEST)
    c: Fraction | None = key(at_least=-LARGEST, at_most=LARGEST)

    def build(self) -> ABC:
        if self.parametrization is not None:
            if self.a is not None or self.b is not None:
                raise ConfigError("parametrization and a, b are two ways to say it; give one of them.")
            return named(self.parametrization, self.depth, self.c)
        if self.a is None or self.b is None or self.c is None:
            raise ConfigError("give a, b (one exponent for each weight layer) and c, or parametrization and depth.")
        return ABC(self.a, self.b, self.c)


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


@command(COMMANDS, "explain")
def main(config: DictConfig) -> None:
    print(explained(load(ExplainConfig, plain(config), "").build()))


if __name__ == "__main__":
    main()
