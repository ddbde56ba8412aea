"""The keys of conf/trainer, and how long the run is that they describe."""

from dataclasses import dataclass
from typing import Literal

from infwidth.config import key
from infwidth.errors import ConfigError
from infwidth.tasks.contract import Task
from infwidth.training.schedules import ScheduleConfig

MOST_STEPS = 2**53
"""Larger whole numbers are not exact in JSON, where a run's steps are written."""

MOST_THREADS = 1024
"""More threads than any CPU has; each takes memory of its own."""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """conf/trainer/default.yaml"""

    epochs: int = key(at_least=0, at_most=MOST_STEPS, default=100)
    steps: int | None = key(at_least=1, at_most=MOST_STEPS, default=None)
    stop_epoch: int | None = key(at_least=1, at_most=MOST_STEPS, default=None)
    learning_rate: float = key(above=0, default=0.1)
    decay: float = key(at_least=0, default=0.0)
    schedule: ScheduleConfig = ScheduleConfig()
    clip: float | None = key(above=0, default=0.5)
    clip_by: Literal["global", "parameter"] = "global"
    clip_follows_schedule: bool = False
    selection: Literal["validation", "last", "paper"] = "validation"
    evaluate_every: int = key(at_least=1, default=1)
    checkpoint_every: int = key(at_least=0, default=5, decides=False)
    keep_evaluations: bool = key(default=False, decides=False)
    progress: bool = key(default=True, decides=False)
    wait_for_ranks: float = key(above=0, default=60.0, decides=False)
    device: str = key(default="auto", decides=False)
    dtype: Literal["float32", "float64"] = "float32"
    threads: int | None = key(at_least=1, at_most=MOST_THREADS, default=None, decides=False)

    def idle(self) -> tuple[str, ...]:
        """Keys without effect at these values of the others."""
        return () if self.clip is not None else ("clip_by", "clip_follows_schedule")

    @property
    def selects_on(self) -> str:
        """The split on which the state to be tested is selected, or looked at."""
        return "test" if self.selection == "paper" else "validation"


@dataclass(frozen=True)
class Length:
    """per_epoch: steps of an epoch; total: those of the schedule; last: those after which the run ends, at most
    total."""

    per_epoch: int
    total: int
    last: int

    @classmethod
    def of(cls, config: TrainerConfig, task: Task) -> "Length":
        """The length of a run. ConfigError for one that is beyond counting."""
        total = config.epochs * task.steps_per_epoch
        if total > MOST_STEPS:
            raise ConfigError(
                f"trainer.epochs={config.epochs} of {task.steps_per_epoch} steps each are more than can be counted; "
                "lower it."
            )
        if config.steps is not None:
            total = min(total, config.steps)
        last = total if config.stop_epoch is None else min(total, config.stop_epoch * task.steps_per_epoch)
        return cls(task.steps_per_epoch, total, last)

    @property
    def epochs(self) -> int:
        """Epochs of the schedule, the last of which may be cut short."""
        return -(-self.total // self.per_epoch)

    def evaluations(self, every: int) -> int:
        """How often a state is evaluated at most, the test included."""
        return self.last // (self.per_epoch * every) + 1


def checked(config: TrainerConfig, task: Task) -> Length:
    """The length of a run whose keys fit its task. ConfigError, before anything is written, if they do not."""
    length = Length.of(config, task)
    unit_per_step(config.schedule, task)
    config.schedule.check(length.epochs if config.schedule.unit == "epoch" else _in_units(config, task, length.total))
    if config.selection == "validation" and not task.selects:
        raise ConfigError(
            "trainer.selection=validation would select on the test: this task has no validation data of its own; use "
            "trainer.selection=last."
        )
    task.check(config.learning_rate)
    return length


def unit_per_step(schedule: ScheduleConfig, task: Task) -> float:
    """How many of the schedule's units a step covers. ConfigError for a unit that the task does not count."""
    known = {"epoch": 1 / task.steps_per_epoch, "step": 1, **task.units}
    if schedule.unit not in known:
        raise ConfigError(
            f"trainer.schedule.unit is {schedule.unit!r}, which this task does not count; choose one of: "
            f"{', '.join(known)}."
        )
    return known[schedule.unit]


def rate_factor(config: TrainerConfig, task: Task, length: Length, epoch: int, step: int) -> float:
    """The schedule's factor of the learning rate at a step of an epoch, both counted from 0."""
    if config.schedule.unit == "epoch":
        return config.schedule(epoch, length.epochs)
    return config.schedule(_in_units(config, task, step), _in_units(config, task, length.total))


def _in_units(config: TrainerConfig, task: Task, steps: int) -> float:
    return steps * unit_per_step(config.schedule, task)
