"""Running out of memory is one sentence that says in what, and loses nothing."""

import json

import numpy as np
import pytest
import torch

from infwidth import train
from infwidth.errors import CheckpointError, ConfigError
from infwidth.models.contract import Model
from infwidth.models.linear.net import LinearNet
from infwidth.tasks.images.task import Images
from infwidth.tasks.maml.task import MAML
from infwidth.training import checkpoints, prediction
from infwidth.training.memory import during
from infwidth.training.resources import Predicted, PredictedPeak, Resources
from tests.training.helpers import metrics_of, only_folder, small

TOO_MUCH = 10**15

WAYS = {
    "torch": lambda: torch.empty(TOO_MUCH),
    "torch beyond counting": lambda: torch.empty(2**62),
    "numpy": lambda: np.empty(TOO_MUCH),
    "python": lambda: bytearray(TOO_MUCH),
}


@pytest.mark.parametrize("way", WAYS)
def test_whoever_asks_for_too_much(way):
    with pytest.raises(ConfigError, match="^the test ran out of memory.*; make the model or its batches smaller"):
        with during("the test"):
            WAYS[way]()


def test_a_gpu_that_is_full_and_how_much_was_asked_for():
    with pytest.raises(ConfigError, match=r"ran out of memory \(it asked for 9.00 GiB at once\)"), during("it"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has ...")
    with pytest.raises(ConfigError, match=r"ran out of memory \(it asked for 4000000.0 GB at once\)"), during("it"):
        torch.empty(TOO_MUCH)


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    ],
)
def test_what_a_gpu_s_libraries_ask_for(said):
    with pytest.raises(ConfigError, match="^it ran out of memory; make the model or its batches smaller"), during("it"):
        raise RuntimeError(said)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), during("it"):
        torch.ones(2, 3) @ torch.ones(2, 3)


def exhausting(monkeypatch, owner, name, when=lambda *arguments: True):
    """A method that asks for too much memory where ``when`` says so."""
    original = getattr(owner, name)

    def asking(self, *arguments):
        if when(*arguments):
            torch.empty(TOO_MUCH)
        return original(self, *arguments)

    monkeypatch.setattr(owner, name, asking)


@pytest.mark.parametrize(
    "owner, name, when, said",
    [
        (MAML, "_episodes", lambda split, *_: split == "train", "training ran out of memory"),
        (MAML, "evaluate", lambda model, split: split == "validation", "the evaluation on the validation data ran out"),
        (MAML, "evaluate", lambda model, split: split == "test", "the evaluation on the test data ran out"),
        (LinearNet, "snapshot", lambda: True, "a copy of the best state ran out"),
        (LinearNet, "features", lambda x: True, "the features of the probe ran out"),
        (MAML, "conclude", lambda model: True, "the conclusion ran out"),
        (MAML, "probe", lambda: True, "the features of the probe ran out"),
        (MAML, "__init__", lambda *_: True, "the preparation of its data ran out"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_whatever_is_done_when_memory_runs_out_is_named(tmp_path, monkeypatch, owner, name, when, said):
    with monkeypatch.context() as m, pytest.raises(ConfigError, match=f"width 8 .*: {said}"):
        exhausting(m, owner, name, when)
        train.run(small(tmp_path, "trainer.checkpoint_every=1"))
    assert train.run(small(tmp_path, "trainer.checkpoint_every=1"))["status"] == "finished"


def test_a_conclusion_that_fails_leaves_everything_else(tmp_path, monkeypatch):
    config = small(tmp_path, "task=cifar10", "task.feature_regulariser=0.1", "trainer.epochs=2")
    with monkeypatch.context() as m, pytest.raises(ConfigError, match="the conclusion ran out of memory"):
        exhausting(m, Model, "feature_kernel")
        train.run(config)
    folder = only_folder(tmp_path)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "failed" and "the conclusion ran out of memory" in summary["error"]
    assert {"test/accuracy", "validation/accuracy"} <= summary["metrics"].keys()
    assert metrics_of(folder)[-1]["test/accuracy"] == summary["metrics"]["test/accuracy"]
    assert {"features.npz", "checkpoints"} <= {p.name for p in folder.iterdir()}
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.safetensors", "last.safetensors"}

    trained = []
    with monkeypatch.context() as m:
        exhausting(m, Images, "step", lambda *_: trained.append(1))
        finished = train.run(config)
    assert not trained and "test/feature_regression_accuracy" in finished["metrics"]


def test_a_batch_that_does_not_fit_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "free_memory", lambda device: 50_000_000)
    with pytest.raises(
        ConfigError, match=r"a step takes 50000 examples of 784 numbers, 0.2 GB, and cpu has 0.1 GB free"
    ):
        train.run(small(tmp_path, "task.meta_batch=10000"))
    assert not (tmp_path / "results").exists()


def test_a_model_of_which_not_one_step_fits_is_to_be_smaller(tmp_path):
    config = small(tmp_path, "task=cifar10", "model=pi_limit", "model.rank=100000000")
    with pytest.raises(ConfigError, match="choose a smaller model, or take a device") as said:
        train.run(config)
    assert "trainer.epochs=0" not in str(said.value)


def test_room_for_what_a_model_grows_to_is_asked_for_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(Resources, "state_bytes", 10**15)
    with pytest.raises(CheckpointError, match=r"a checkpoint of 2000000000.0 MB would fill more than half"):
        train.run(small(tmp_path))


@pytest.mark.parametrize(
    "overrides",
    [
        ["task=cifar10", "model=pi_limit"],
        ["task=cifar10", "model=pi_limit", "model.landmarks=60", "trainer.epochs=4"],
        ["task=cifar10", "model=nngp_limit", "task.validation_images=0"],
        ["model=ntk_limit"],
    ],
    ids=" ".join,
)
def test_what_a_state_grows_to_is_known_at_the_start(tmp_path, monkeypatch, overrides):
    asked = []
    monkeypatch.setattr(checkpoints, "require_room", lambda folder, size: asked.append(size))
    train.run(small(tmp_path, *overrides, "trainer.selection=last"))
    best = checkpoints.load(only_folder(tmp_path) / "checkpoints/best.safetensors")
    size = checkpoints.size_of(best.tensors)
    assert asked[-1] == size and 0.99 * size < asked[0] / 2 < 1.7 * size  # but for biases


def test_a_demo_that_would_take_hours_is_refused_and_the_pairing_named_that_does_not(tmp_path, monkeypatch):
    def predicted(self):
        minutes = 3000 if self.shape.steps > 5000 else 2
        return Predicted(1, PredictedPeak(1, ""), 60.0 * minutes, "")

    monkeypatch.setattr(Resources, "predicted", predicted)
    monkeypatch.setattr(prediction, "free_memory", lambda device: None)  # as long as it may be
    config = small(tmp_path, "model=pi_limit", "task.steps_per_epoch=10000", "data.test_classes=12")
    said = "would take about 3000 min at scale=demo.*at most 20; use .*task=maml_pi as it is set up"
    with pytest.raises(ConfigError, match=said):
        train.run(config)
    assert not (tmp_path / "results").exists()


def test_other_scales_may_take_long(tmp_path, monkeypatch):
    monkeypatch.setattr(Resources, "predicted", lambda self: Predicted(1, PredictedPeak(1, ""), 1e6, "long"))
    with pytest.raises(ConfigError, match="at most 20; use a smaller trainer.epochs or model, or scale=cpu"):
        train.run(small(tmp_path))
    assert train.run({**small(tmp_path), "scale": "cpu"})["status"] == "finished"
