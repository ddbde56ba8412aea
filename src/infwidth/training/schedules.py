"""Learning-rate schedules as factors of the base rate, functions of the progress t of T steps or epochs."""

import math
from dataclasses import dataclass
from typing import Literal

from infwidth.config import key
from infwidth.errors import ConfigError


@dataclass(frozen=True)
class ScheduleConfig:
    """conf/trainer: schedule"""

    name: Literal["constant", "multistep", "cosine", "linear", "stepwise_linear"] = "constant"
    unit: Literal["step", "epoch", "word"] = "epoch"
    milestones: tuple[int, ...] = ()
    factor: float = key(above=0, at_most=1, default=0.1)
    final: float = key(at_least=0, at_most=1, default=0.0)
    every: int = key(at_least=1, default=1)
    lag: int = key(at_least=0, default=0)

    def __post_init__(self):
        if self.name == "multistep" and not self.milestones:
            raise ConfigError("trainer.schedule.name=multistep needs trainer.schedule.milestones, such as [40].")

    def check(self, total: float) -> None:
        """ConfigError if a milestone lies beyond the run of ``total`` units."""
        if self.name == "multistep" and max(self.milestones) >= max(total, 1):
            raise ConfigError(
                f"trainer.schedule.milestones has {max(self.milestones)}, but the run ends after {total} {self.unit}s; "
                "lower it or lengthen the run."
            )

    def __call__(self, t: float, total: float) -> float:
        """The factor in force at t units of ``total``: with whole units, during unit t = 0, 1, ..."""
        t = max(t - self.lag, 0)
        if self.name == "multistep":
            return self.factor ** sum(t >= m for m in self.milestones)
        share = min(t / max(total, 1), 1.0)
        if self.name == "cosine":
            return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * share))
        if self.name in ("linear", "stepwise_linear"):
            if self.name == "stepwise_linear":
                share = min(t // self.every * self.every / max(total, 1), 1.0)
            return 1 - (1 - self.final) * share
        return 1.0
