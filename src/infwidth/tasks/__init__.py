"""The tasks and how each is built from its config group and prepared data."""

from collections.abc import Mapping
from typing import Any

import torch

from infwidth.config import load
from infwidth.data.prepared import Prepared
from infwidth.data.text import as_words
from infwidth.errors import ConfigError
from infwidth.tasks.contract import Task
from infwidth.tasks.images.task import Images, ImagesConfig
from infwidth.tasks.maml.episodes import Pool
from infwidth.tasks.maml.task import MAML, MAMLConfig
from infwidth.tasks.word2vec.task import Corpus, Word2Vec, Word2VecConfig


def _build_maml(config: MAMLConfig, data: Prepared, seed: int, device: torch.device, dtype: torch.dtype) -> MAML:
    # Copied out of the read-only memory map: the pool is resident on the device it is gathered on.
    pools = {
        split: Pool(torch.tensor(data.arrays[split], device=device), split) for split in ("train", "validation", "test")
    }
    return MAML(config, pools, tuple(data.manifest["test_class_names"]), seed, dtype)


def _build_word2vec(
    config: Word2VecConfig, data: Prepared, seed: int, device: torch.device, dtype: torch.dtype
) -> Word2Vec:
    arrays = data.arrays
    corpus = Corpus(
        torch.tensor(arrays["tokens"]), torch.tensor(arrays["counts"]), as_words(arrays["words"]),
        torch.tensor(arrays["questions"], device=device).long(), torch.tensor(arrays["sections"], device=device).long(), tuple(data.manifest["sections"]),
    )  # fmt: skip
    return Word2Vec(config, corpus, seed, device, dtype)


def _build_images(config: ImagesConfig, data: Prepared, seed: int, device: torch.device, dtype: torch.dtype) -> Images:
    arrays = {name: torch.tensor(a) for name, a in data.arrays.items()}
    return Images(config, arrays, tuple(data.manifest["class_names"]), seed, device, dtype)


TASKS = {
    "maml_omniglot": (MAMLConfig, "few-shot images", _build_maml),
    "word2vec": (Word2VecConfig, "text", _build_word2vec),
    "cifar10": (ImagesConfig, "images", _build_images),
}


def not_deciding(task: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of a task that change no number and so are no part of a run's id."""
    return getattr(TASKS[task["name"]][0], "NOT_DECIDING", ())


def build_task(task: Mapping[str, Any], data: Prepared, seed: int, device: torch.device, dtype: torch.dtype) -> Task:
    """A task on prepared data, resident on ``device``. ConfigError for an unknown task or data of another kind."""
    if task.get("name") not in TASKS:
        raise ConfigError(f"task.name is {task.get('name')!r}; choose one of: {', '.join(TASKS)}.")
    config_class, kind, build = TASKS[task["name"]]
    if data.manifest["kind"] != kind:
        raise ConfigError(
            f"task={task['name']} works on {kind}, but data={data.manifest['name']} holds {data.manifest['kind']}; choose another data=."
        )
    return build(load(config_class, task, "task"), data, seed, device, dtype)
