"""The same numbers after any interruption, and from whatever checkpoint is left."""

import functools
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from infwidth import train
from infwidth.errors import CheckpointError, OutputError
from infwidth.models.contract import Model
from infwidth.tasks.contract import Evaluation
from infwidth.tasks.images.task import Images
from infwidth.training import checkpoints, resuming
from infwidth.training.run_directory import RunDirectory
from infwidth.training.stopping import Interrupted
from infwidth.training.trainer import Trainer
from tests.conftest import REPOSITORY
from tests.training.helpers import SMALL, folder_of, killed_after, metrics_of, only_folder, small

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
    (task, model)
    for task in (("task=maml_omniglot",), WORD2VEC)
    for model in ("model=finite", "model=mu_limit", "model=ntk_limit")
]
PAIRS += [(IMAGES, model) for model in ("model=finite", "model=pi_net", "model=pi_limit")]
PAIRS += [((*IMAGES, "model.landmarks=epoch"), "model=pi_limit")]


def same_results(a, b):
    assert metrics_of(a) == metrics_of(b)
    with np.load(a / "features.npz") as x, np.load(b / "features.npz") as y:
        assert all(np.array_equal(x[k], y[k]) for k in x.files)
    x, y = (checkpoints.load(folder / "checkpoints/best.safetensors") for folder in (a, b))
    assert x.info == y.info and x.tensors.keys() == y.tensors.keys()
    assert all(torch.equal(x.tensors[k], y.tensors[k]) for k in x.tensors)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a run that nothing happened to, by its overrides."""

    @functools.cache
    def carried_out(*overrides):
        folder = tmp_path_factory.mktemp("undisturbed")
        train.run(small(folder, *overrides))
        return only_folder(folder)

    return carried_out


@pytest.mark.parametrize("task, model", PAIRS, ids=lambda x: x if isinstance(x, str) else f"{x[0]} {x[-1]}")
@pytest.mark.parametrize("after", [1, 7, 11, 17])
def test_a_killed_run_resumes_to_the_same_numbers(tmp_path, undisturbed, task, model, after):
    """Killed at step ``after`` without any chance to save, as by kill -9: whatever was not in a checkpoint is lost."""
    config = small(tmp_path, *task, model, "trainer.checkpoint_every=1")
    with killed_after(after):
        train.run(config)
    train.run(config)
    same_results(undisturbed(*task, model), only_folder(tmp_path))


def interrupted_at(monkeypatch, step):
    original = Trainer.step

    def interrupted(self, batch):
        if self.at.step == step:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch)

    monkeypatch.setattr(Trainer, "step", interrupted)


@pytest.mark.parametrize("step, saved", [(9, 10), (11, 12)])
def test_ctrl_c_saves_in_the_middle_of_an_epoch_and_says_how_to_resume(tmp_path, monkeypatch, step, saved):
    undisturbed = train.run(small(tmp_path / "a"))
    with monkeypatch.context() as m:
        interrupted_at(m, step)
        with pytest.raises(Interrupted, match="Run the same command again to resume"):
            train.run(small(tmp_path / "b"))
    folder = only_folder(tmp_path / "b")
    assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"
    assert checkpoints.load(folder / "checkpoints/last.safetensors").info["step"] == saved
    resumed = train.run(small(tmp_path / "b"))
    same_results(folder_of(tmp_path / "a", undisturbed), folder)
    assert resumed["metrics"] == undisturbed["metrics"]


def test_without_checkpoints_nothing_is_kept_and_that_is_said(tmp_path, monkeypatch):
    interrupted_at(monkeypatch, 9)
    with pytest.raises(Interrupted, match="nothing is kept of it with trainer.checkpoint_every=0"):
        train.run(small(tmp_path, "trainer.checkpoint_every=0"))


def test_ctrl_c_during_an_evaluation_stops_the_sweep_after_it(tmp_path, monkeypatch):
    evaluate = Trainer._evaluate

    def interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)
        return evaluate(self)

    monkeypatch.setattr(Trainer, "_evaluate", interrupted)
    with pytest.raises(Interrupted, match="was at its end when it was asked to stop, and is finished"):
        train.run(small(tmp_path, "model=ntk_limit", "trainer.epochs=0"))


def damaged(path, how):
    """Make a checkpoint unusable in one of many ways; those that keep its checksum right are somebody's doing."""
    content = path.read_bytes()
    if how == "torn":
        path.write_bytes(content[: len(content) // 2])
        return
    if how == "a folder":
        path.unlink()
        path.mkdir()
        return
    if how == "not ours":
        save_file({"a": torch.zeros(2)}, path)
        return
    if how == "info changed in place":
        assert content.count(b'\\"step\\": 12') == 1
        path.write_bytes(content.replace(b'\\"step\\": 12', b'\\"step\\": 18'))
        return
    found = checkpoints.load(path)
    tensors, info, run = dict(found.tensors), dict(found.info), path.parents[1].name
    changes = {
        "too many steps": {"step": 10**9},
        "steps of another epoch": {"epoch": 0},
        "a negative step": {"step": -1},
        "a text for a step": {"step": "12"},
        "no seconds": {"seconds": None},
        "negative CPU seconds": {"cpu_seconds": -1.0},
        "a best that is a list": {"best": [1]},
        "a best of a later epoch": {"best": {"epoch": 9, "accuracy": 1.0}},
        "a history of texts": {"history": ["a"]},
        "no metrics": {"metrics": 5},
    }
    if how == "no epoch":
        del info["epoch"]
    elif how == "an info that is a list":
        info = [1]
    elif how == "another run's":
        run = "0123456789ab"
    elif how == "other types":
        tensors = {k: v.to(torch.int32) for k, v in tensors.items()}
    elif how == "other shapes":
        tensors = {k: v[..., :1].contiguous() if v.dim() > 1 else v for k, v in tensors.items()}
    elif how == "fewer rows":
        tensors = {k: v[:1].contiguous() for k, v in tensors.items()}
    elif how == "a tensor less":
        tensors.pop(sorted(tensors)[-1])
    elif how == "a tensor more":
        tensors["model.W"] = torch.zeros(3)
    else:
        info |= changes[how]
    checkpoints.save(path, tensors, info, run)


WAYS = [
    "torn",
    "a folder",
    "not ours",
    "info changed in place",
    "too many steps",
    "steps of another epoch",
    "a negative step",
    "a text for a step",
    "no seconds",
    "negative CPU seconds",
    "a best that is a list",
    "a best of a later epoch",
    "a history of texts",
    "no epoch",
    "an info that is a list",
    "another run's",
    "other types",
    "other shapes",
    "fewer rows",
    "a tensor less",
    "a tensor more",
]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was killed after two checkpoints, and the metrics of one that was not."""
    folder = tmp_path_factory.mktemp("stopped")
    undisturbed = train.run(small(folder / "a"))
    with killed_after(14):
        train.run(small(folder / "b", "trainer.checkpoint_every=1"))
    return only_folder(folder / "b"), undisturbed


def again(tmp_path, stopped):
    """A copy of that run, to be damaged; its config; what it must come to."""
    folder, undisturbed = stopped
    copy = tmp_path / "results" / "runs" / folder.parent.name / folder.name
    copy.parent.mkdir(parents=True)
    subprocess.run(["cp", "-r", folder, copy], check=True)
    return copy, small(tmp_path, "trainer.checkpoint_every=1"), undisturbed


@pytest.mark.parametrize("how", WAYS)
def test_a_checkpoint_that_is_bad_in_any_way_is_set_aside_and_the_one_before_it_used(tmp_path, stopped, how, capsys):
    copy, config, undisturbed = again(tmp_path, stopped)
    damaged(copy / "checkpoints/last.safetensors", how)
    assert train.run(config)["metrics"] == undisturbed["metrics"]
    said = capsys.readouterr().out
    assert said.count("is not used, and is now called refused-1.safetensors: ") == 1
    assert (copy / "checkpoints/refused-1.safetensors").exists()
    starts = json.loads((copy / "summary.json").read_text())["provenance"]["starts"]
    assert len(starts) == 2


@pytest.mark.parametrize("how", ["torn", "other types"])
def test_without_a_good_checkpoint_the_run_begins_anew_and_says_so(tmp_path, stopped, how, capsys):
    copy, config, undisturbed = again(tmp_path, stopped)
    for name in ("last", "previous"):
        damaged(copy / f"checkpoints/{name}.safetensors", how)
    assert train.run(config)["metrics"] == undisturbed["metrics"]
    said = capsys.readouterr().out
    assert said.count("is not used") == 2 and "the run begins anew" in said


FRESH = {"A": torch.zeros(3, 4), "rows.0": torch.zeros(2, 5), "m": torch.zeros(2, dtype=torch.float64)}


@pytest.mark.parametrize(
    "change, said",
    [
        ({"rows.0": torch.zeros(9, 5, dtype=torch.int32)}, r"'rows.0' is \(9, 5\) of torch.int32, not \(2, 5\) of"),
        ({"rows.1": torch.zeros(9, 4)}, r"'rows.1' is \(9, 4\) of torch.float32, not \(2, 5\)"),
        ({"A": torch.zeros(3)}, "'A' is "),
        ({"m": torch.zeros(7)}, "'m' is .* of torch.float32, not .* of torch.float64"),
        ({"other.1": torch.zeros(9, 5)}, "'other.1' is missing or unknown"),
        ({"A": None}, "'A' is missing or unknown"),
    ],
)
def test_a_state_has_the_types_and_the_kinds_of_rows_of_its_model(change, said):
    grown = {"rows.0": torch.zeros(9, 5), "rows.1": torch.zeros(1, 5), "m": torch.zeros(10, dtype=torch.float64)}
    resuming.require_alike(FRESH | grown, FRESH)
    with pytest.raises(CheckpointError, match=said):
        resuming.require_alike({k: v for k, v in (FRESH | grown | change).items() if v is not None}, FRESH)


def test_a_state_that_a_model_takes_over_in_part_is_not_gone_on_with(tmp_path, stopped, monkeypatch):
    copy, config, _ = again(tmp_path, stopped)

    def half(self, state):
        for p in self.parameters():
            p.data.zero_()
        raise CheckpointError("it does not fit the model")

    with monkeypatch.context() as m:
        m.setattr(Model, "load_state", half)
        with pytest.raises(CheckpointError, match="run the same command again to begin anew"):
            train.run(config)
    assert train.run(config)["status"] == "finished"


@pytest.mark.parametrize("how", ["cut", "changed"])
def test_metrics_that_are_not_what_the_last_checkpoint_remembers_are_made_again(tmp_path, stopped, how, capsys):
    copy, config, undisturbed = again(tmp_path, stopped)
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    second = "" if how == "cut" else lines[1].replace("loss", "lost")
    (copy / "metrics.jsonl").write_text(lines[0] + second)
    assert train.run(config)["metrics"] == undisturbed["metrics"]
    assert "metrics.jsonl is not as" in capsys.readouterr().out
    assert [row["epoch"] for row in metrics_of(copy)] == [1, 2, 3, 3]


def test_metrics_that_no_checkpoint_remembers_are_a_sentence(tmp_path, stopped):
    copy, config, _ = again(tmp_path, stopped)
    kept = (copy / "metrics.jsonl").read_bytes()
    (copy / "metrics.jsonl").write_bytes(kept[:50])
    with pytest.raises(CheckpointError, match="restore the file, or use force=true"):
        train.run(config)
    assert (copy / "checkpoints/last.safetensors").exists()
    (copy / "metrics.jsonl").write_bytes(kept)
    assert train.run(config)["status"] == "finished"


def test_what_killed_processes_have_half_written_is_removed(tmp_path, stopped):
    copy, config, _ = again(tmp_path, stopped)
    for name in ("checkpoints/.123.last.safetensors", ".99.summary.json", ".7.features.npz"):
        (copy / name).write_bytes(b"half")
    train.run(config)
    assert not [p for p in copy.rglob(".*") if p.name != ".lock"]


def test_an_earlier_state_is_still_selected_after_a_resumption(tmp_path, monkeypatch):
    """The first epoch is the best here, of a model that grows; the run is killed in the fifth."""
    accuracies = {}

    def worse_and_worse(self, model, split):
        norm = sum(float(t.double().norm()) for t in model.state().values())
        accuracies.setdefault(norm, 100.0 - len(accuracies))
        return Evaluation({"accuracy": accuracies[norm], "loss": 1.0})

    monkeypatch.setattr(Images, "evaluate", worse_and_worse)
    options = (*IMAGES, "model=pi_limit", "trainer.checkpoint_every=1", "trainer.epochs=6")
    undisturbed = train.run(small(tmp_path / "a", *options))
    with killed_after(27):
        train.run(small(tmp_path / "b", *options))
    resumed = train.run(small(tmp_path / "b", *options))
    assert resumed["best_epoch"] == 1 and resumed["metrics"] == undisturbed["metrics"]
    assert resumed["metrics"]["test/accuracy"] == 100
    same_results(folder_of(tmp_path / "a", undisturbed), folder_of(tmp_path / "b", resumed))


def test_kill_9_of_the_real_command(tmp_path):
    """The command itself, killed at a random moment and run again, ends with the numbers of an undisturbed one."""
    arguments = [*SMALL, "trainer.epochs=40", "trainer.checkpoint_every=1", f"data.root={tmp_path}/data"]

    def command(folder):
        name = [sys.executable, "-m", "infwidth.train", "model=finite"]
        return [*name, *arguments, f"paths.results={tmp_path}/{folder}/results"]

    subprocess.run(command("a"), cwd=REPOSITORY, check=True, capture_output=True)
    process = subprocess.Popen(command("b"), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = tmp_path / "b" / "results" / "runs"
    deadline = time.monotonic() + 60
    while not list(runs.glob("*/*/checkpoints/last.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(random.random() / 5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command("b"), cwd=REPOSITORY, check=True, capture_output=True)
    a, b = only_folder(tmp_path / "a"), only_folder(tmp_path / "b")
    assert a.name == b.name and metrics_of(a) == metrics_of(b)
    killed, last = json.loads((b / "summary.json").read_text())["provenance"]["starts"]
    assert killed["step"] > 0 and killed["wall_seconds"] > 0 and last["step"] == 240


def test_two_processes_do_not_carry_out_the_same_run(tmp_path):
    summary = train.run(small(tmp_path))
    with RunDirectory(folder_of(tmp_path, summary)).locked():
        with pytest.raises(OutputError, match="is being carried out by another process"):
            train.run(small(tmp_path, "force=true"))
    assert train.run(small(tmp_path)) == summary
