"""The trainer: what a run leaves behind, what decides its id, and how runs end."""

import json
import shutil

import numpy as np
import pytest
import torch

from infwidth import train
from infwidth.errors import ConfigError, OutputError
from infwidth.models.finite import FiniteConfig
from infwidth.models.kernel.regression import KernelRegression
from infwidth.models.linear.net import LinearNet
from infwidth.tasks.images.task import Images
from infwidth.tasks.maml.task import MAML
from infwidth.tasks.word2vec import task as word2vec
from infwidth.training import checkpoints
from infwidth.training.run_directory import RunDirectory
from tests.training.helpers import folder_of, metrics_of, small


def test_a_run_leaves_everything_behind(tmp_path):
    summary = train.run(small(tmp_path))
    folder = folder_of(tmp_path, summary)
    assert sorted(p.name for p in folder.iterdir()) == [
        ".lock",
        "checkpoints",
        "config.yaml",
        "features.npz",
        "metrics.jsonl",
        "provenance.json",
        "summary.json",
    ]
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["best.safetensors"]
    *rows, tested = metrics_of(folder)
    assert [r["epoch"] for r in rows] == [1, 2, 3]
    assert all("validation/accuracy" in r and "train/loss" in r for r in rows)
    assert tested["test/accuracy"] == summary["metrics"]["test/accuracy"]
    best = max(rows, key=lambda r: r["validation/accuracy"])
    assert summary["best_epoch"] == best["epoch"]
    assert summary["metrics"]["validation/accuracy"] == best["validation/accuracy"]
    assert summary == json.loads((folder / "summary.json").read_text())
    with np.load(folder / "features.npz", allow_pickle=False) as z:
        assert z["initial"].shape == z["trained"].shape == (18, 8) and len(z["names"]) == 3
        assert not np.allclose(z["initial"], z["trained"])


def test_a_finished_run_is_skipped_and_force_repeats_it(tmp_path, capsys):
    first = train.run(small(tmp_path))
    again = train.run(
        small(tmp_path, "trainer.threads=1", "name=own_maml_omniglot", "model.sigma_u=1", "trainer.decay=0")
    )
    assert again == first and "already finished" in capsys.readouterr().out
    repeated = train.run(small(tmp_path, "force=true"))
    assert repeated["metrics"] == first["metrics"] and repeated["provenance"]["ended"] >= first["provenance"]["ended"]
    assert len(repeated["provenance"]["starts"]) == 1


@pytest.mark.parametrize(
    "change",
    [
        "seed=1",
        "model.sigma_v=0.5",
        "trainer.learning_rate=0.2",
        "task.adaptation.rate=0.3",
        "data.jitter=0.2",
        "parametrization=ntk",
    ],
)
def test_whatever_decides_the_numbers_changes_the_id(tmp_path, change):
    assert train.run(small(tmp_path))["id"] != train.run(small(tmp_path, change))["id"]


def test_divergence_ends_the_run_and_keeps_its_curve(tmp_path, capsys):
    config = small(tmp_path, "trainer.clip=null", "trainer.learning_rate=1e30", "trainer.epochs=3")
    summary = train.run(config)
    assert summary["status"] == "diverged" and "diverged at step" in capsys.readouterr().out
    assert metrics_of(folder_of(tmp_path, summary))[-1]["train/loss"] is None  # what JSON has for NaN
    assert train.run(config) == summary  # it would diverge again


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.learning_rate=1e300", "trainer.clip=null"],
        ["task.adaptation.rate=1e300"],
        ["task.adaptation.rate=1e300", "trainer.epochs=0"],
        ["model=ntk_limit", "trainer.learning_rate=1e300"],
        ["model.depth=2", "model.activation=relu", "trainer.learning_rate=1e300"],
        ["task=word2vec", "trainer.learning_rate=1e300", "task.most_summed=null"],
        ["task=cifar10", "model=pi_limit", "trainer.learning_rate=1e300"],
    ],
    ids=" ".join,
)
def test_a_rate_beyond_the_floating_point_numbers_is_a_divergence(tmp_path, overrides):
    summary = train.run(small(tmp_path, *overrides))
    assert summary["status"] == "diverged" and metrics_of(folder_of(tmp_path, summary))


def test_a_rate_beyond_what_word2vec_bears_is_refused_however_large_it_is(tmp_path):
    with pytest.raises(ConfigError, match="are too large for trainer.learning_rate=1e"):
        train.run(small(tmp_path, "task=word2vec", "trainer.learning_rate=1e300"))


def test_a_diverged_run_is_skipped_whatever_files_it_is_asked_for(tmp_path):
    overrides = ["task=word2vec", "trainer.learning_rate=1e30", "task.most_summed=null", "trainer.clip=null"]
    summary = train.run(small(tmp_path, *overrides))
    assert summary["status"] == "diverged"
    assert train.run(small(tmp_path, *overrides, "task.embeddings=text")) == summary


def test_a_run_of_steps_ends_inside_an_epoch(tmp_path):
    summary = train.run(small(tmp_path, "trainer.steps=8"))
    assert summary["steps"] == 8 and metrics_of(folder_of(tmp_path, summary))[1]["step"] == 8


def test_selection_last_tests_the_last_epoch(tmp_path):
    assert train.run(small(tmp_path, "trainer.selection=last", "trainer.learning_rate=3"))["best_epoch"] == 3


@pytest.mark.parametrize(
    "override, message",
    [
        ("trainer.schedule.name=multistep", "needs trainer.schedule.milestones"),
        ("trainer.device=tpu9", "trainer.device=tpu9 cannot be used"),
        ("trainer.device=meta", "trainer.device=meta cannot be used"),
        ("trainer.device=hpu", "trainer.device=hpu cannot be used"),
        ("trainer.threads=1000000", "trainer.threads is 1000000; it must be at most 1024"),
        ("trainer.epochs=-1", "trainer.epochs is -1; it must be at least 0"),
        ("trainer.epochs=1000000000000000000000", "trainer.epochs is too large a number"),
        ("trainer.steps=1000000000000000000000", "trainer.steps is too large a number"),
        ("trainer.epochs=9000000000000000", "are more than can be counted; lower it"),
        ("trainer.clip_by=layer", "choose one of: global, parameter"),
        ("+trainer.momentum=0.9", "trainer.momentum is not a known key"),
        ("task.adaptation.rate=fast", "task.adaptation.rate must be a number"),
    ],
)
def test_wrong_values_are_named(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        train.run(small(tmp_path, override))
    assert not (tmp_path / "results").exists()


def test_a_milestone_beyond_the_run(tmp_path):
    with pytest.raises(ConfigError, match="has 3, but the run ends after 3 epochs"):
        train.run(small(tmp_path, "trainer.schedule.name=multistep", "trainer.schedule.milestones=[3]"))


def test_an_output_folder_that_cannot_be_written(tmp_path):
    folder = folder_of(tmp_path, train.run(small(tmp_path)))
    shutil.rmtree(folder)
    folder.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="cannot be written .* set paths.results"):
        train.run(small(tmp_path))


@pytest.mark.parametrize("every, then", [(1, "it goes on from its last checkpoint"), (0, "it starts anew")])
def test_a_full_disk_loses_nothing_that_is_said_to_be_kept(tmp_path, monkeypatch, every, then):
    append = RunDirectory.append_metrics

    def full(self, row):
        if row["epoch"] == 3:
            with self._writing():
                raise OSError(28, "No space left on device")
        append(self, row)

    with monkeypatch.context() as m:
        m.setattr(RunDirectory, "append_metrics", full)
        with pytest.raises(OutputError, match=f"No space left on device.*{then}"):
            train.run(small(tmp_path, f"trainer.checkpoint_every={every}"))
    resumed = train.run(small(tmp_path, f"trainer.checkpoint_every={every}"))
    assert resumed["provenance"]["starts"][1]["step"] == 18
    assert resumed["metrics"] == train.run(small(tmp_path / "b"))["metrics"]


def test_float64_runs(tmp_path):
    summary = train.run(small(tmp_path, "trainer.dtype=float64"))
    best = checkpoints.load(folder_of(tmp_path, summary) / "checkpoints/best.safetensors")
    assert all(t.dtype == torch.float64 for t in best.tensors.values())


def test_the_clip_threshold_can_follow_the_schedule(tmp_path):
    options = [
        "trainer.schedule.name=multistep",
        "trainer.schedule.milestones=[1]",
        "trainer.schedule.factor=0.1",
        "trainer.clip=0.01",
    ]
    kept, followed = (
        train.run(small(tmp_path, *options, f"trainer.clip_follows_schedule={v}")) for v in ("false", "true")
    )
    a, b = metrics_of(folder_of(tmp_path, kept)), metrics_of(folder_of(tmp_path, followed))
    assert a[0] == b[0] and a[1]["train/loss"] != b[1]["train/loss"]
    assert [r["learning_rate"] for r in a[:3]] == pytest.approx([0.1, 0.01, 0.01])


def test_an_adaptation_that_blows_up_at_test_is_a_divergence(tmp_path):
    assert train.run(small(tmp_path, "task.adaptation.rate=1000", "trainer.epochs=1"))["status"] == "diverged"


def test_one_episode_has_no_standard_error(tmp_path, capsys):
    summary = train.run(small(tmp_path, "task.evaluation_episodes=1"))
    assert "nan" not in capsys.readouterr().out and summary["metrics"].get("test/accuracy_standard_error") is None


def counted(monkeypatch, owner, name):
    """How often a function is called from now on."""
    calls, original = [], getattr(owner, name)

    def counting(*arguments, **named):
        calls.append(arguments)
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, counting)
    return calls


def test_analogies_are_answered_once_for_every_state(tmp_path, monkeypatch):
    answered = counted(monkeypatch, word2vec, "answers")
    summary = train.run(small(tmp_path, "task=word2vec"))
    assert len(answered) == 3  # a validation after each epoch: the last one is the test
    with np.load(folder_of(tmp_path, summary) / "evidence.npz") as z:
        assert 100 * z["correct"].mean() == pytest.approx(summary["metrics"]["test/accuracy"])


def test_a_closed_form_is_fitted_once_and_evaluated_once(tmp_path, monkeypatch):
    fitted, evaluated = counted(monkeypatch, KernelRegression, "fit"), counted(monkeypatch, Images, "evaluate")
    summary = train.run(small(tmp_path, "task=cifar10", "model=nngp_limit", "task.validation_images=0"))
    assert len(fitted) == len(evaluated) == 1  # without validation images the validation is the test
    assert summary["metrics"]["validation/accuracy"] == summary["metrics"]["test/accuracy"]
    assert {"fit/regulariser"} <= summary["metrics"].keys() and summary["train_seconds"] > 0


def test_a_state_that_was_selected_on_the_test_is_not_tested_again(tmp_path, monkeypatch):
    evaluated = counted(monkeypatch, MAML, "evaluate")
    summary = train.run(small(tmp_path, "trainer.selection=paper", "trainer.learning_rate=3"))
    assert len(evaluated) == 3 and summary["best_epoch"] < 3
    assert summary["metrics"]["test/accuracy"] == summary["metrics"]["validation/accuracy"]


class Projecting(LinearNet):
    """Does something to itself after an epoch, and says what."""

    def end_of_epoch(self, held_out):
        x = held_out()
        before = self(x).detach()
        with torch.no_grad():
            self.V.mul_(0.5)
        return {"change": (self(x).detach() - before).norm().item(), "held_out": float(len(x))}


def test_a_model_may_change_itself_after_an_epoch_and_is_evaluated_selected_and_saved_as_that_leaves_it(
    tmp_path, monkeypatch
):
    build = FiniteConfig.build

    def projecting(*arguments):
        model = build(*arguments)
        model.__class__ = Projecting
        return model

    monkeypatch.setattr(FiniteConfig, "build", projecting)
    config = small(tmp_path, "model.change_of_basis=false", "trainer.selection=last", "trainer.clip=1e-6")
    summary = train.run(config)
    folder = folder_of(tmp_path, summary)
    *rows, _ = metrics_of(folder)
    assert all(row["model/change"] > 0 and row["model/held_out"] == 48 for row in rows)
    V = checkpoints.load(folder / "checkpoints/best.safetensors").tensors["V"]
    assert V.std().item() == pytest.approx(config["model"]["sigma_v"] / 8**0.5 / 8, rel=0.5)  # halved three times
