"""The trainer: what a run leaves behind, the same numbers after any interruption, and how runs end."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from infwidth import train
from infwidth.errors import ConfigError, OutputError
from infwidth.training import checkpoints
from infwidth.training.run_directory import RunDirectory
from infwidth.training.trainer import Interrupted, Trainer
from tests.conftest import REPOSITORY
from tests.training.helpers import SMALL, small


def folder_of(tmp_path, summary):
    return tmp_path / "results" / "runs" / summary["name"] / summary["id"]


def metrics_of(folder):
    """metrics.jsonl without what depends on the clock."""
    return [
        {k: v for k, v in json.loads(line).items() if k != "seconds"}
        for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


def test_a_run_leaves_everything_behind(tmp_path):
    summary = train.run(small(tmp_path))
    folder = folder_of(tmp_path, summary)
    assert sorted(p.name for p in folder.iterdir()) == [
        ".lock",
        "checkpoints",
        "config.yaml",
        "features.npz",
        "metrics.jsonl",
        "summary.json",
    ]
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["best.safetensors"]
    rows = metrics_of(folder)
    assert [r["epoch"] for r in rows[:-1]] == [1, 2, 3] and all(
        "validation/accuracy" in r and "train/loss" in r for r in rows[:-1]
    )
    assert rows[-1]["test/accuracy"] == summary["metrics"]["test/accuracy"]
    best = max(rows[:-1], key=lambda r: r["validation/accuracy"])
    assert (
        summary["best_epoch"] == best["epoch"]
        and summary["metrics"]["validation/accuracy"] == best["validation/accuracy"]
    )
    assert {"commit", "hardware", "versions", "wall_seconds", "peak_memory_bytes"} <= summary["provenance"].keys()
    with np.load(folder / "features.npz", allow_pickle=False) as z:
        assert z["initial"].shape == z["trained"].shape == (18, 8) and len(z["names"]) == 3
        assert not np.allclose(z["initial"], z["trained"])


def test_a_finished_run_is_skipped_and_force_repeats_it(tmp_path, capsys):
    first = train.run(small(tmp_path))
    again = train.run(small(tmp_path, "trainer.threads=1", "name=own_maml_omniglot", "model.sigma_u=1", "trainer.decay=0"))
    assert again == first and "already finished" in capsys.readouterr().out
    repeated = train.run(small(tmp_path, "force=true"))
    assert repeated["metrics"] == first["metrics"] and repeated["provenance"]["ended"] >= first["provenance"]["ended"]


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


class Stop(Exception):
    pass


WORD2VEC = (
    "task=word2vec",
    "data.running_words=1000",
    "task.words_per_step=170",
    "task.shared_negatives=192",
    "trainer.schedule.every=340",
)
"""Six steps an epoch, as few-shot learning has here, and a rate that falls inside it."""


IMAGES = ("task=cifar10", "task.batch=20", "trainer.schedule.name=constant")

PAIRS = [
    (t, m) for t in (("task=maml_omniglot",), WORD2VEC) for m in ("model=finite", "model=mu_limit", "model=ntk_limit")
]
PAIRS += [(IMAGES, m) for m in ("model=finite", "model=pi_net", "model=pi_limit")]


@pytest.mark.parametrize("task, model", PAIRS, ids=lambda x: x if isinstance(x, str) else x[0])
@pytest.mark.parametrize("after", [1, 7, 11, 17])
def test_a_killed_run_resumes_to_the_same_numbers(tmp_path, monkeypatch, task, model, after):
    """Killed at step ``after`` without any chance to save, as by kill -9: whatever was not in a checkpoint is lost."""
    config = lambda folder: small(folder, *task, model, "trainer.checkpoint_every=1", "trainer.epochs=3")
    undisturbed = train.run(config(tmp_path / "a"))
    step = Trainer._one_step

    def killed(self, batch):
        if self.step == after:
            raise Stop
        return step(self, batch)

    with monkeypatch.context() as m:
        m.setattr(Trainer, "_one_step", killed)
        with pytest.raises(Stop):
            train.run(config(tmp_path / "b"))
    resumed = train.run(config(tmp_path / "b"))
    a, b = folder_of(tmp_path / "a", undisturbed), folder_of(tmp_path / "b", resumed)
    assert metrics_of(a) == metrics_of(b)
    with np.load(a / "features.npz") as x, np.load(b / "features.npz") as y:
        assert all(np.array_equal(x[k], y[k]) for k in x.files)
    assert (
        checkpoints.load(a / "checkpoints/best.safetensors")[1]
        == checkpoints.load(b / "checkpoints/best.safetensors")[1]
    )


def test_ctrl_c_saves_in_the_middle_of_an_epoch_and_says_how_to_resume(tmp_path, monkeypatch):
    undisturbed = train.run(small(tmp_path / "a"))
    step = Trainer._one_step

    def interrupted(self, batch):
        if self.step == 9:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    with monkeypatch.context() as m:
        m.setattr(Trainer, "_one_step", interrupted)
        with pytest.raises(Interrupted, match="Run the same command again to resume"):
            train.run(small(tmp_path / "b"))
    folder = next((tmp_path / "b/results/runs/own_maml_omniglot").iterdir())
    assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"
    assert checkpoints.load(folder / "checkpoints/last.safetensors")[1]["step"] == 10
    resumed = train.run(small(tmp_path / "b"))
    assert (
        metrics_of(folder) == metrics_of(folder_of(tmp_path / "a", undisturbed))
        and resumed["metrics"] == undisturbed["metrics"]
    )


def test_a_torn_checkpoint_is_refused_and_the_one_before_it_used(tmp_path, monkeypatch, capsys):
    undisturbed = train.run(small(tmp_path / "a"))
    step = Trainer._one_step

    def killed(self, batch):
        if self.step == 14:
            raise Stop
        return step(self, batch)

    with monkeypatch.context() as m:
        m.setattr(Trainer, "_one_step", killed)
        with pytest.raises(Stop):
            train.run(small(tmp_path / "b", "trainer.checkpoint_every=1"))
    folder = next((tmp_path / "b/results/runs/own_maml_omniglot").iterdir())
    last = folder / "checkpoints/last.safetensors"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    resumed = train.run(small(tmp_path / "b", "trainer.checkpoint_every=1"))
    assert "torn" in capsys.readouterr().out
    assert resumed["metrics"] == undisturbed["metrics"]


def test_kill_9_of_the_real_command(tmp_path):
    """The command itself, killed at a random moment and run again, ends with the numbers of an undisturbed one."""
    arguments = [*SMALL, "trainer.epochs=40", "trainer.checkpoint_every=1", f"data.root={tmp_path}/data"]

    def command(folder):
        return [
            sys.executable,
            "-m",
            "infwidth.train",
            "model=finite",
            *arguments,
            f"paths.results={tmp_path}/{folder}",
        ]

    subprocess.run(command("a"), cwd=REPOSITORY, check=True, capture_output=True)
    process = subprocess.Popen(command("b"), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = tmp_path / "b" / "runs" / "own_maml_omniglot"
    deadline = time.monotonic() + 60
    while not list(runs.glob("*/checkpoints/last.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command("b"), cwd=REPOSITORY, check=True, capture_output=True)
    a, b = next((tmp_path / "a/runs/own_maml_omniglot").iterdir()), next(runs.iterdir())
    assert a.name == b.name and metrics_of(a) == metrics_of(b)


def test_divergence_ends_the_run_and_keeps_its_curve(tmp_path, capsys):
    config = small(tmp_path, "trainer.clip=null", "trainer.learning_rate=1e30", "trainer.epochs=3")
    summary = train.run(config)
    assert summary["status"] == "diverged" and "diverged at step" in capsys.readouterr().out
    rows = [json.loads(line) for line in (folder_of(tmp_path, summary) / "metrics.jsonl").read_text().splitlines()]
    assert rows and not all(np.isfinite(v) for v in rows[-1].values())
    assert train.run(config) == summary  # it would diverge again


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
        ("trainer.epochs=-1", "trainer.epochs is -1; it must be at least 0"),
        ("trainer.clip_by=layer", "choose one of: global, parameter"),
        ("+trainer.momentum=0.9", "trainer.momentum is not a known key"),
        ("task.adaptation.rate=fast", "task.adaptation.rate must be a number"),
    ],
)
def test_wrong_values_are_named(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        train.run(small(tmp_path, override))


def test_a_milestone_beyond_the_run(tmp_path):
    with pytest.raises(ConfigError, match="has 3, but the run ends after 3 epochs"):
        train.run(small(tmp_path, "trainer.schedule.name=multistep", "trainer.schedule.milestones=[3]"))


def test_an_output_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="cannot be written .* set paths.results"):
        train.run(small(tmp_path))


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    append = RunDirectory.append_metrics

    def full(self, row):
        if row["epoch"] == 3:
            with self._writing():
                raise OSError(28, "No space left on device")
        append(self, row)

    with monkeypatch.context() as m:
        m.setattr(RunDirectory, "append_metrics", full)
        with pytest.raises(OutputError, match="No space left on device"):
            train.run(small(tmp_path, "trainer.checkpoint_every=1"))
    resumed = train.run(small(tmp_path, "trainer.checkpoint_every=1"))
    assert resumed["metrics"] == train.run(small(tmp_path / "b"))["metrics"]


def test_float64_runs(tmp_path):
    summary = train.run(small(tmp_path, "trainer.dtype=float64"))
    tensors, _ = checkpoints.load(folder_of(tmp_path, summary) / "checkpoints/best.safetensors")
    assert all(t.dtype == torch.float64 for t in tensors.values())


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


def test_without_checkpoints_nothing_is_kept_and_that_is_said(tmp_path, monkeypatch):
    summary = train.run(small(tmp_path / "a", "trainer.checkpoint_every=0"))
    assert not list((folder_of(tmp_path / "a", summary) / "checkpoints").iterdir())
    step = Trainer._one_step

    def interrupted(self, batch):
        if self.step == 9:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_one_step", interrupted)
    with pytest.raises(Interrupted, match="nothing is kept"):
        train.run(small(tmp_path / "b", "trainer.checkpoint_every=0"))


def test_two_processes_do_not_carry_out_the_same_run(tmp_path):
    summary = train.run(small(tmp_path))
    with RunDirectory(folder_of(tmp_path, summary)).locked():
        with pytest.raises(OutputError, match="is being carried out by another process"):
            train.run(small(tmp_path, "force=true"))
    assert train.run(small(tmp_path)) == summary


def test_ctrl_c_during_an_evaluation_stops_the_sweep_after_it(tmp_path, monkeypatch):
    evaluate = Trainer._evaluate

    def interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)
        return evaluate(self)

    monkeypatch.setattr(Trainer, "_evaluate", interrupted)
    with pytest.raises(Interrupted, match="was at its end when it was asked to stop, and is finished"):
        train.run(small(tmp_path, "model=ntk_limit", "trainer.epochs=0"))


def test_an_adaptation_that_blows_up_at_test_is_a_divergence(tmp_path, capsys):
    assert train.run(small(tmp_path, "task.adaptation.rate=1000", "trainer.epochs=1"))["status"] == "diverged"


def test_one_episode_has_no_standard_error(tmp_path, capsys):
    train.run(small(tmp_path, "task.evaluation_episodes=1"))
    assert "nan" not in capsys.readouterr().out
