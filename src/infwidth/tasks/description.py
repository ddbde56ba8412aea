"""A task: what a run needs to know of it, described once, beside its code.

A task is a module ``infwidth.tasks.<name>`` that defines TASK; ``task.name`` finds it by that name, without
importing the others. A task of your own is any importable module that defines TASK, named with a dot in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from infwidth import tasks
from infwidth.config import load
from infwidth.data.prepared import Prepared
from infwidth.described import described
from infwidth.errors import ConfigError
from infwidth.tasks.contract import Task


@dataclass(frozen=True)
class Asks:
    """What a task asks of a model.

    bags: whether its inputs are bags of indices. adaptation: the (parameters, order) by which the model adapts to
    an episode, None for a task without episodes. training_set: whether there is one fixed set that a closed form
    can be fitted to.
    """

    bags: bool = False
    adaptation: tuple[str, str] | None = None
    training_set: bool = False


class TaskConfig(Protocol):
    """The keys of conf/task/<name>.yaml, and what follows from them. What has an answer here may be inherited."""

    name: str

    def asks(self) -> Asks:
        return Asks()

    def shortened(self) -> dict[str, Any]:
        """Dotted keys of a much shorter run that takes every path of a whole one, by which a run is replayed."""
        return {}

    def idle(self) -> tuple[str, ...]:
        """Keys without effect at these values of the others: they are no part of a run's id."""
        return ()


@dataclass(frozen=True)
class Description:
    """name: ``task.name``; config: the dataclass of its keys, with their defaults; kind: of the data that it works on.

    build(config, data, seed, device, dtype) makes it of prepared data, resident on ``device``.
    """

    name: str
    config: Callable[..., TaskConfig]
    kind: str
    build: Callable[[TaskConfig, Prepared, int, torch.device, torch.dtype], Task]


def find(name: object) -> Description:
    """The task of that name. ConfigError with the known names if there is none."""
    return described(name, tasks, "TASK", Description, "task")


def config_of(task: Mapping[str, Any]) -> TaskConfig:
    """The validated keys of a task's config group. ConfigError that names the key."""
    return load(find(task.get("name")).config, task, "task")


def require_kind(task: Description, data: Prepared) -> None:
    """ConfigError if a task does not work on data of this kind."""
    if data.manifest["kind"] != task.kind:
        raise ConfigError(
            f"task={task.name} works on {task.kind}, but data={data.manifest['name']} holds {data.manifest['kind']}; "
            "choose another data=."
        )
