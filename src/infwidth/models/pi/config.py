"""What conf/model/pi_limit.yaml and pi_net.yaml share."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from infwidth.config import key
from infwidth.errors import ConfigError
from infwidth.models.cost import Shape
from infwidth.models.family import FamilyConfig
from infwidth.models.mlp.multipliers import Factors
from infwidth.models.pi.limit import PiLimit
from infwidth.models.pi.start import pi_limit
from infwidth.parametrization import ABC, named


@dataclass(frozen=True, kw_only=True)
class PiConfig(FamilyConfig):
    """The keys of a pi-limit and of a network drawn from it."""

    depth: int = key(at_least=1, default=2)
    rank: int = key(at_least=1, default=400)
    activation: str = key(default="relu", neutral="relu")
    alpha_1: float = key(at_least=0, default=1.0)
    alpha_out: float = key(at_least=0, default=1.0)
    beta: float = key(at_least=0, default=0.5)
    beta_readout: float | None = key(at_least=0, default=None)
    first_multiplier: float = key(at_least=0, default=1.0)
    readout_multiplier: float = key(at_least=0, default=1.0)
    bias_multiplier: float = key(at_least=0, default=1.0)
    decay_follows_multipliers: bool = False
    readout: Literal["gaussian", "zero"] = "gaussian"

    def factors(self) -> Factors:
        beta_readout = self.beta if self.beta_readout is None else self.beta_readout
        multipliers = (self.first_multiplier, self.readout_multiplier, self.bias_multiplier)
        follows = self.decay_follows_multipliers
        return Factors(self.alpha_1, self.alpha_out, self.beta, beta_readout, *multipliers, follows)

    def own(self) -> ABC:
        return named("mup", self.depth)

    def check(self, abc: ABC) -> None:
        """The pi-limit has no parametrization to choose.

        ConfigError for an activation by which it does not exist in this form: it takes the norm |g| of what comes into
        a layer out of phi, which therefore has to be positively homogeneous.
        """
        if self.activation != "relu":
            raise ConfigError(
                f"model.activation is {self.activation!r}, and model={self.name} has ReLU's alone: its layers are "
                "computed for inputs of norm one, so that phi has to be positively homogeneous, phi(s z) = s phi(z), "
                "which erf, GELU and tanh are not; use model.activation=relu."
            )

    def shortened(self) -> dict[str, Any]:
        """Keys of a much shorter run that takes every path of a whole one: as they are."""
        return {}

    def idle(self) -> tuple[str, ...]:
        return ()

    def limit(
        self,
        shape: Shape,
        generator: torch.Generator,
        dtype: torch.dtype,
        storage: torch.dtype | None = None,
        landmarks: Literal["epoch"] | int | None = None,
        older: float = 1.0,
    ) -> PiLimit:
        sizes, trained = (shape.inputs, shape.outputs, self.rank, self.depth), self.readout_multiplier > 0
        start = (self.factors(), self.readout == "zero", trained, generator, dtype)
        return pi_limit(*sizes, *start, storage, landmarks, older, shape.ranks)
