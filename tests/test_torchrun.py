"""Runs that two processes carry out together come out as those of one do, and what goes wrong is a sentence."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from infwidth import joining, train
from infwidth.errors import ConfigError, RankError
from infwidth.joining import joined, speaks, world_size
from infwidth.training import checkpoints
from tests.conftest import REPOSITORY
from tests.over_ranks import IMAGES, STOPPED, TYPES, overrides
from tests.training.helpers import SMALL_IMAGES, killed_after, metrics_of, only_folder, small

pytestmark = pytest.mark.timeout(900)  # four processes on two cores, beside other tests

CLOSE = {"float64": {"rtol": 1e-10, "atol": 1e-10}, "float32": {"rtol": 1e-4, "atol": 1e-4}}
"""For what is logged."""

OF_ARRAYS = {"float64": 1e-10, "float32": 1e-3}
"""For features and parameters, relative to the largest of their kind: rows that come late have seen all steps."""


def torchrun(*command):
    """Processes that torchrun starts, on a free port."""
    start = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", *command)
    return subprocess.Popen(
        start, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder of what two ranks were asked to do: one start of theirs for all of it."""
    folder = tmp_path_factory.mktemp("ranks")
    for name in STOPPED:
        with killed_after(33):
            train.run(small(folder / f"{name}, stopped by one", *overrides(name), f"data.root={folder}/data"))
    # The last checkpoint of one of them is torn: both ranks go on from the one before.
    torn = only_folder(folder / "images, stopped by one") / "checkpoints/last.safetensors"
    torn.write_bytes(torn.read_bytes()[:-100])
    done = torchrun("tests.over_ranks", str(folder))
    said = done.communicate()
    assert done.returncode == 0, said
    return folder


@pytest.fixture(scope="module")
def said(ran):
    """What each of the two says of them."""
    return json.loads((ran / "said.json").read_text())


@pytest.fixture(scope="module")
def alone(ran, tmp_path_factory):
    """The folder of a run by one process."""
    found = {}

    def carried_out(name, dtype="float64"):
        if (name, dtype) not in found:
            folder = tmp_path_factory.mktemp("alone")
            train.run(small(folder, *overrides(name, dtype), f"data.root={ran}/data"))
            found[name, dtype] = only_folder(folder)
        return found[name, dtype]

    return carried_out


def same(a, b, dtype="float64"):
    """Whether two runs came out alike: accuracies exactly, every other number closely."""
    for one, other in zip(metrics_of(a), metrics_of(b), strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            exact = "accuracy" in name or name in ("epoch", "step")
            assert value == other[name] if exact else np.isclose(value, other[name], **CLOSE[dtype]), name
    for path in a.glob("evaluations/*.npz"):
        with np.load(path) as x, np.load(b / path.relative_to(a)) as y:
            near(x["outputs"], y["outputs"], max(OF_ARRAYS[dtype], 1e-6))  # kept in float32
    with np.load(a / "features.npz") as x, np.load(b / "features.npz") as y:
        for name in ("initial", "trained"):
            near(x[name], y[name], OF_ARRAYS[dtype])
    x, y = (checkpoints.load(folder / "checkpoints/best.safetensors").tensors for folder in (a, b))
    assert x.keys() == y.keys()
    for name in x:
        near(x[name].numpy(), y[name].numpy(), OF_ARRAYS[dtype])


def near(a, b, tolerance):
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(a).max(initial=0)))


@pytest.mark.parametrize("name, dtype", [(name, dtype) for name, types in TYPES.items() for dtype in types])
def test_two_ranks_come_to_the_same_numbers(ran, alone, name, dtype):
    folder = only_folder(ran / f"{name}, {dtype}")
    assert folder.name == alone(name, dtype).name
    same(alone(name, dtype), folder, dtype)
    provenance = json.loads((folder / "summary.json").read_text())["provenance"]
    assert provenance["starts"][0]["ranks"] == 2 and provenance["hardware"].startswith("2 ranks, each ")


def test_word_vectors_are_written_by_the_first_and_a_finished_run_is_skipped_by_all(ran, alone, said):
    one, two = (
        folder / "embeddings.txt" for folder in (alone("words, finite"), only_folder(ran / "words, finite, float64"))
    )
    vectors = [np.array([line.split()[1:] for line in path.read_text().splitlines()[1:]], float) for path in (one, two)]
    np.testing.assert_allclose(*vectors, rtol=1e-6, atol=1e-6)
    assert said[0]["again"] == said[1]["again"] and said[0]["again"]["test/questions"] > 0


@pytest.mark.parametrize("name", STOPPED)
def test_a_run_goes_on_with_another_number_of_ranks(ran, alone, said, name):
    assert [one[f"stopped: {name}"] for one in said] == [40 if "words" in name else 30] * 2
    resumed = only_folder(ran / f"{name}, stopped by one")
    same(alone(name), resumed)
    assert len(list(resumed.glob("checkpoints/refused-*"))) == (name == "images")
    config = small(ran / f"{name}, stopped by two", *overrides(name), f"data.root={ran}/data")
    train.run(config)
    folder = only_folder(ran / f"{name}, stopped by two")
    same(alone(name), folder)
    starts = json.loads((folder / "summary.json").read_text())["provenance"]["starts"]
    assert [start["ranks"] for start in starts] == [2, 1]


def test_what_every_step_exchanges_is_predicted(said):
    assert [one["exchanged otherwise than predicted"] for one in said] == [[], []]


@pytest.mark.parametrize(
    "name, sentence",
    [
        (
            "does not split",
            "model=nngp_limit with these keys cannot be split over 2 ranks on dense inputs, so torchrun gains",
        ),
        (
            "does not split",
            "on dense inputs model=pi_limit (by rows); on bags of indices model=finite (by coordinates), ",
        ),
        ("does not split on dense inputs", "model=mu_limit with these keys cannot be split"),
        ("too few rows", "2 ranks for 1 rows that a growing layer begins with (model.rank)"),
        ("another rate", "rank 1 differs from rank 0 in trainer.learning_rate: 0.3 instead of "),
        ("another commit", "rank 1 differs from rank 0 in commit: another instead of "),
        ("other data", "rank 1 differs from rank 0 in the checksum of the data: another instead of "),
    ],
)
def test_what_is_wrong_is_the_same_sentence_on_all_ranks(said, name, sentence):
    assert all(sentence in one[name] for one in said)


def of_rank(process, rank):
    """The process of that rank among those that a torchrun has started."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if f"\0LOCAL_RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text():
            return int(child)
    raise AssertionError("there is none")


def test_a_rank_that_is_killed_ends_all_in_a_sentence_and_the_same_command_goes_on(tmp_path):
    options = [*IMAGES, *SMALL_IMAGES, "trainer.epochs=20"]
    folders = [f"paths.results={tmp_path}/results", f"data.root={tmp_path}/data"]
    process = torchrun("infwidth.train", *options, *folders)
    while process.poll() is None and not list(tmp_path.glob("results/runs/*/*/checkpoints/previous.safetensors")):
        time.sleep(0.05)
    os.kill(of_rank(process, 1), signal.SIGKILL)
    _, complaint = process.communicate()
    (sentence,) = [line for line in complaint.splitlines() if line.startswith("error: ")]
    assert "another rank of this run has ended or does not answer" in sentence and process.returncode
    assert "infwidth/ranks.py" not in complaint  # no traceback but torchrun's
    folder = only_folder(tmp_path)
    assert json.loads((folder / "summary.json").read_text())["status"] == "failed"
    before = metrics_of(folder)
    resumed = train.run(yaml.safe_load((folder / "config.yaml").read_text()))
    went_on = metrics_of(folder)
    assert len(went_on) == 21 and went_on[: len(before) - 1] == before[:-1]
    assert [start["ranks"] for start in resumed["provenance"]["starts"]] == [2, 1]


@pytest.fixture
def environment(monkeypatch):
    """What torchrun would say to one of three ranks, with a store of the first one's own."""
    monkeypatch.setattr(joining, "_stores", [])
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    return {"RANK": "0", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def test_ranks_that_do_not_come_are_named(environment):
    sentence = "of 3 ranks, ranks 1, 2 did not come within 0.3 s; start torchrun with the same --nnodes"
    with pytest.raises(RankError, match=sentence), joined(0.3, environment):
        pass


def test_a_rank_without_the_first_one_says_where_it_should_be(environment):
    with pytest.raises(RankError, match="nobody answers at 127.0.0.1"), joined(0.3, {**environment, "RANK": "1"}):
        pass


def test_a_variable_of_torchrun_that_is_no_number_is_named(environment):
    with (
        pytest.raises(ConfigError, match="WORLD_SIZE is 'two', not a number"),
        joined(1, {**environment, "WORLD_SIZE": "two"}),
    ):
        pass


def test_without_torchrun_a_process_is_alone():
    assert world_size({"WORLD_SIZE": "2"}) == 1  # of somebody else's
    with joined(1, {"RANK": "0", "WORLD_SIZE": "1"}) as ranks:
        assert ranks.size == 1 and ranks.first


def test_before_they_meet_one_process_of_every_machine_speaks(monkeypatch):
    monkeypatch.setattr(joining, "_stores", [])
    assert speaks({}) and speaks({"RANK": "4", "LOCAL_RANK": "0"}) and not speaks({"RANK": "5", "LOCAL_RANK": "1"})


@pytest.mark.parametrize(
    "module, arguments, sentence",
    [
        ("reproduce", ["experiment=maml"], "infwidth.reproduce is carried out by one process"),
        ("train", ["-m", "seed=0,1"], "torchrun carries out one run, not a sweep"),
    ],
)
def test_torchrun_is_for_one_run(monkeypatch, capsys, module, arguments, sentence):
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(joining, "_stores", [])
    command = __import__(f"infwidth.{module}", fromlist=["main"])
    with pytest.raises(SystemExit):
        command.main()
    assert sentence in capsys.readouterr().err
