"""Every pairing of a model family and a task that there is, small, in each of the ways that its keys offer.

Families and tasks are the files of conf/model and conf/task, and whether they go together is asked of the pairing
check. Ways are tried on all that have their keys: none belongs to a name.
"""

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infwidth.errors import ConfigError
from infwidth.runs.compose import CONF, composed
from infwidth.runs.spec import Spec, specified

MODELS, TASKS = (sorted(path.stem for path in Path(CONF, group).glob("*.yaml")) for group in ("model", "task"))

SIZES = {
    "trainer.epochs": 2,
    "model.width": 12,
    "model.rank": 6,
    "task.subset": 24,
    "task.validation_images": 12,
    "task.probe_images": 2,
    "task.steps_per_epoch": 3,
    "task.meta_batch": 2,
    "task.evaluation_episodes": 4,
    "task.test_episodes": 4,
    "task.test_seeds": 2,
    "task.probe_classes": 2,
    "task.adaptation.test_steps": 2,
    "task.words_per_step": 500,
    "task.shared_negatives": 128,
    "task.embedding_rank": 4,
    "data.test_images": 30,
    "data.train_classes": 8,
    "data.validation_classes": 6,
    "data.test_classes": 6,
    "data.drawers": 4,
    "data.running_words": 2000,
    "data.pairs": 5,
    "data.topic_words": 3,
    "data.role_words": 4,
    "data.common_words": 10,
    "data.questions": 6,
}
"""Of runs of a second: what is not 0 or null is made so small."""

EVERYTHING = {
    "trainer.clip": 0.1,
    "trainer.decay": 1e-3,
    "trainer.progress": False,
    "task.batch": 8,
    "task.feature_regulariser": 1e-3,
    "task.embeddings": "text",
}
"""What calls for all that a run can do."""

WAYS: tuple[Mapping[str, Any], ...] = (
    {},
    {"model.activation": "linear", "model.depth": 1, "model.multipliers": None, "model.base_width": None},
    {"model.activation": "relu", "model.depth": 2, "model.multipliers": None},
    {"model.activation": "linear", "model.convention": None},
    {"model.solve": "descent", "trainer.epochs": 2},
    {"model.regularisers": [1e-3, 1e-2]},
    {"model.landmarks": "epoch"},
    {"model.landmarks": 8, "model.storage": "bfloat16"},
    {"task.adaptation.parameters": None, "task.adaptation.order": "second"},
    {"task.adaptation.parameters": "hidden", "task.adaptation.order": "first"},
    {"task.adaptation.parameters": "readout", "task.adaptation.order": "first"},
    {"task.shared_negatives": None, "task.sigmoid": "table", "task.embeddings": "binary"},
)
"""Keys that change what is computed."""


def with_keys(config: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """A config with other values of dotted keys. KeyError where it lacks one of them."""
    found = copy.deepcopy(dict(config))
    for path, value in keys.items():
        group, last = _place(found, path)
        if last not in group:
            raise KeyError(path)
        group[last] = value
    return found


def _place(config: Mapping[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The group of a dotted key, empty where there is none, and its name there."""
    *groups, last = path.split(".")
    return functools.reduce(lambda group, name: group.get(name, {}), groups, config), last


def _has(config: Mapping[str, Any], path: str) -> bool:
    group, last = _place(config, path)
    return last in group


def _value(config: Mapping[str, Any], path: str) -> Any:
    group, last = _place(config, path)
    return group.get(last)


@functools.cache
def _as_set_up(model: str, task: str) -> dict[str, Any]:
    return composed("train", [f"model={model}", f"task={task}", "scale=demo", "logger=none"])


def specs(model: str, task: str, **paths: Any) -> dict[str, Spec]:
    """The runs of a pairing, by what is said of the way; none of a pairing that there is not.

    paths: dotted keys, their dots written as two underscores, such as data__root.
    """
    config = _as_set_up(model, task)
    small = {path: value for path, value in SIZES.items() if _value(config, path)}
    everything = {path: value for path, value in EVERYTHING.items() if _has(config, path)}
    config = with_keys(config, {**small, **everything, **{k.replace("__", "."): v for k, v in paths.items()}})
    found: dict[str, Spec] = {}
    for way in WAYS:
        try:
            spec = specified(with_keys(config, way))
        except (KeyError, ConfigError):  # it has no such key, or the pairing check or the family itself refuses it
            continue
        if all(spec.deciding() != other.deciding() for other in found.values()):
            found[" ".join(f"{key}={value}" for key, value in way.items()) or "as it is set up"] = spec
    return found
