"""The tasks and how each is built from its config group and prepared data."""

from collections.abc import Mapping
from typing import Any

import torch

from infwidth.config import load
from infwidth.data.prepared import Prepared
from infwidth.errors import ConfigError
from infwidth.tasks.contract import Task
from infwidth.tasks.maml.episodes import Pool
from infwidth.tasks.maml.task import MAML, MAMLConfig


def _build_maml(config: MAMLConfig, data: Prepared, seed: int, device: torch.device, dtype: torch.dtype) -> MAML:
    # Copied out of the read-only memory map: the pool is resident on the device it is gathered on.
    pools = {split: Pool(torch.tensor(data.arrays[split], device=device), split) for split in ("train", "validation", "test")}
    return MAML(config, pools, tuple(data.manifest["test_class_names"]), seed, dtype)


TASKS = {"maml_omniglot": (MAMLConfig, "few-shot images", _build_maml)}


def build_task(task: Mapping[str, Any], data: Prepared, seed: int, device: torch.device, dtype: torch.dtype) -> Task:
    """A task on prepared data, resident on ``device``. ConfigError for an unknown task or data of another kind."""
    if task.get("name") not in TASKS:
        raise ConfigError(f"task.name is {task.get('name')!r}; choose one of: {', '.join(TASKS)}.")
    config_class, kind, build = TASKS[task["name"]]
    if data.manifest["kind"] != kind:
        raise ConfigError(f"task={task['name']} works on {kind}, but data={data.manifest['name']} holds {data.manifest['kind']}; choose another data=.")
    return build(load(config_class, task, "task"), data, seed, device, dtype)
