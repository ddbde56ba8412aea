"""Configs small enough for tests, made from the real ones, and what their runs leave."""

import copy
import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infwidth.runs.compose import composed
from infwidth.training.trainer import Trainer

OUTPUT = ["scale=demo", "logger=none", "trainer.progress=false", "trainer.epochs=3"]

SMALL = [
    *OUTPUT,
    "task.steps_per_epoch=6",
    "task.meta_batch=4",
    "task.evaluation_episodes=40",
    "task.probe_classes=3",
    "data.train_classes=12",
    "data.validation_classes=8",
    "data.test_classes=6",
    "data.drawers=6",
]

SMALL_WORD2VEC = [
    *OUTPUT,
    "task.words_per_step=50",
    "task.shared_negatives=64",
    "data.running_words=4000",
    "data.pairs=6",
    "data.topic_words=3",
    "data.role_words=4",
    "data.common_words=10",
    "data.questions=20",
]

SMALL_IMAGES = [
    *OUTPUT,
    "task.subset=120",
    "task.validation_images=40",
    "task.probe_images=5",
]


def small(folder: Path, *overrides: str) -> dict:
    """By default a finite network of width 8: MAML on 12 glyphs, word vectors of 100 words or 120 digits.

    All output goes below ``folder``.
    """
    given = " ".join(o.split("=", 1)[1] for o in overrides if o.startswith(("task=", "experiment=")))
    task, options = "maml_omniglot", SMALL
    if "word2vec" in given:
        task, options = "word2vec", SMALL_WORD2VEC
        if "/fil9_" in given:  # rows that name their data
            options = ["data=planted_corpus", *options]
    elif "maml_pi" in given:
        task, options = "maml_pi", [*SMALL, "task.test_seeds=2", "task.test_episodes=40"]
        if any(o.startswith(("model=nn", "experiment=maml_pi/n")) for o in overrides):
            options = [o for o in options if not o.startswith("trainer.epochs")]
    elif "cifar10" in given:
        task, options = "cifar10", SMALL_IMAGES
        kernel = any(
            o.startswith(("model=nn", "model=nt", "experiment=cifar10/nn", "experiment=cifar10/nt")) for o in overrides
        )
        options = [o for o in options if not kernel or not o.startswith(("trainer.epochs", "task.validation"))]
    model = [] if any(o.startswith(("model=", "experiment=")) for o in overrides) else ["model=finite", "model.width=8"]
    config = copy.deepcopy(_composed(f"task={task}", *model, *options, *overrides))
    for group, name, value in (("paths", "results", f"{folder}/results"), ("data", "root", f"{folder}/data")):
        if not any(o.startswith(f"{group}.{name}=") for o in overrides):
            config[group][name] = value
    return config


@functools.cache
def _composed(*overrides: str) -> dict:
    """Composing a config takes longer than a small run."""
    return composed("train", overrides)


def folder_of(tmp_path: Path, summary: dict) -> Path:
    """Where the run of a summary is."""
    return tmp_path / "results" / "runs" / summary["name"] / summary["id"]


def only_folder(tmp_path: Path) -> Path:
    """Where the only run below a folder is."""
    (config,) = (tmp_path / "results" / "runs").glob("*/*/config.yaml")
    return config.parent


def metrics_of(folder: Path) -> list[dict]:
    """metrics.jsonl without what depends on the clock."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]


class Killed(Exception):
    """Nothing catches it, as nothing catches kill -9."""


@contextmanager
def killed_after(step: int) -> Iterator[None]:
    """Runs in this context end at a step without any chance to save."""
    original = Trainer.step

    def killed(self, batch):
        if self.at.step == step:
            raise Killed
        return original(self, batch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Trainer, "step", killed)
        yield
