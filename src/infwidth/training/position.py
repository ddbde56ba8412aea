"""How far a run is: what a checkpoint keeps of it besides tensors."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from infwidth.errors import CheckpointError
from infwidth.training.config import Length


@dataclass
class Position:
    """epoch, step: how many are done; history: metrics of the steps of an epoch that is not over.

    seconds: of training, by the clock; cpu_seconds: the same, of all threads of this process, whatever else the machine
    is doing; step_cpu_seconds: those of the steps alone.

    best: the validation of the state that is selected so far, and its epoch; empty before the first validation.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    step_cpu_seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)

    def info(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, info: Mapping[str, Any], length: Length) -> "Position":
        """From what a checkpoint says. CheckpointError if a run of this length is never there."""
        epoch, step = _whole(info, "epoch"), _whole(info, "step")
        seconds = {name: info.get(name) for name in ("seconds", "cpu_seconds", "step_cpu_seconds")}
        for name, value in seconds.items():
            if not _number(value) or value < 0:
                raise CheckpointError(f"its {name} are {value!r}")
        history, best = info.get("history"), info.get("best")
        if not isinstance(history, list) or not all(_metrics(row) for row in history):
            raise CheckpointError("its history is not one of metrics")
        if not _metrics(best) or (best and not {"epoch", "loss"} <= best.keys()):
            raise CheckpointError(f"its best validation is {best!r}")
        begun = min(epoch * length.per_epoch, length.last)
        if step > length.last or step - begun != len(history) or len(history) > length.per_epoch:
            raise CheckpointError(
                f"it is at step {step}, in epoch {epoch} with {len(history)} steps of it, of a run of {length.last}"
            )
        if best and not 0 <= _whole(best, "epoch") <= epoch:
            raise CheckpointError(f"its best epoch is {best['epoch']}")
        best = {k: math.nan if v is None else v for k, v in best.items()}
        return cls(epoch, step, **{k: float(v) for k, v in seconds.items()}, history=history, best=best)


def _whole(info: Mapping[str, Any], name: str) -> int:
    value = info.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise CheckpointError(f"its {name} is {value!r}")
    return value


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _metrics(value: Any) -> bool:
    """Whether it is a table of numbers by name, null for one that is not finite."""
    return isinstance(value, dict) and all(v is None or _number(v) for v in value.values())
