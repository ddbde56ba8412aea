"""What an abc-parametrization does, in words.

`python -m infwidth.explain a=[0,1/2,1/2] b=[0,0,0] c=0` or `parametrization=mup depth=2`
"""

from dataclasses import dataclass
from fractions import Fraction

from omegaconf import DictConfig

from infwidth.command import command
from infwidth.config import key, load
from infwidth.errors import ConfigError
from infwidth.parametrization import ABC, LARGEST, MOST_LAYERS, named
from infwidth.runs.compose import COMMANDS, plain
from infwidth.theory.explanation import explained


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


@command(COMMANDS, "explain")
def main(config: DictConfig) -> None:
    print(explained(load(ExplainConfig, plain(config), "").build()))


if __name__ == "__main__":
    main()
