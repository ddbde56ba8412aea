"""What is around a run on a GPU: its device and what is asked of it, its replay, its files, data and models of one's
own."""

from dataclasses import replace

import pytest
import torch

from infwidth import replay, replaying
from infwidth.errors import ConfigError
from infwidth.job import specified
from infwidth.models.cost import Work
from infwidth.running import run
from infwidth.runs import store
from infwidth.runs.compose import composed
from infwidth.runs.folders import PathsConfig
from infwidth.tasks.images.task import Images
from infwidth.training import prediction, resources
from infwidth.training.config import TrainerConfig
from tests.conftest import REPOSITORY
from tests.devices.pairings import specs, with_keys
from tests.devices.pretended import pretended_gpus
from tests.devices.runs import SECOND
from tests.training.helpers import folder_of

AS_SET_UP = "as it is set up"


@pytest.fixture
def of(data_root, tmp_path):
    """The config of a pairing as it is set up, on the second GPU, with other keys."""

    def config(model, task, **keys):
        places = {"data__root": data_root, "paths__results": str(tmp_path / "results")}
        return specs(model, task, trainer__device=str(SECOND), **places, **keys)[AS_SET_UP].config

    return config


def test_rates_are_measured_on_the_gpu_itself():
    with pretended_gpus():
        rates = prediction.measured(Work(1, 1, product=(4, 4, 4)), SECOND, torch.float32)
    assert min(rates.flops, rates.bytes, rates.expectations) > 0 and rates.overhead == prediction.OVERHEAD["cuda"]


def test_a_device_without_float64_is_refused(monkeypatch):
    ones = torch.ones

    def single(*sizes, dtype=None, device=None):
        if dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return ones(*sizes)

    monkeypatch.setattr(torch, "ones", single)
    with pytest.raises(ConfigError, match="trainer.device=mps cannot be used .*float64.*; use auto, cpu, or cuda"):
        resources.chosen_device(TrainerConfig(device="mps"))


@pytest.mark.parametrize("model", ["mu_limit", "pi_limit"])  # as large from the beginning, and at the end
def test_a_model_that_the_cpu_cannot_hold_is_refused(model, gpus, of, monkeypatch):
    config = of(model, "cifar10")
    size = specified(config).resources
    needed = size.state_bytes
    free = prediction.free_memory
    monkeypatch.setattr(prediction, "free_memory", lambda device: needed if device.type == "cpu" else free(device))
    with pytest.raises(ConfigError, match=f"model={model} is made on the CPU, and copied there for its checkpoints"):
        run(config)
    monkeypatch.setattr(prediction, "free_memory", lambda device: 2 * needed if device.type == "cpu" else free(device))
    assert run(config)["status"] == "finished"


def test_a_replay_is_the_cpu_s(of):
    config = of("finite", "maml_omniglot")
    with pretended_gpus():
        job = specified(config)
    on_cpu = specified(with_keys(config, {"trainer.device": "cpu"}))
    assert replaying.record(job) == replaying.record(on_cpu)  # without the GPU


def test_a_run_of_a_gpu_is_replayed_without_one(of, data_root, tmp_path):
    config = of("mu_limit", "cifar10")
    with pretended_gpus():
        run({**config, "replay": True})
    (record,) = store.load(tmp_path / "results", config["name"])
    paths = PathsConfig(results=str(tmp_path / "results"))
    found = replay.replay(record, replay.ReplayConfig(name=None, rows=None, all=True, paths=paths, data_root=data_root))
    assert found.grade == "bitwise"


def test_files_are_written_from_a_checkpoint(gpus, of, tmp_path, capsys):
    summary = run(of("mu_limit", "word2vec", task__embeddings="none"))
    run(of("mu_limit", "word2vec", task__embeddings="text"))
    assert "embeddings.txt written from the run's checkpoint" in capsys.readouterr().out
    assert (folder_of(tmp_path, summary) / "embeddings.txt").stat().st_size > 0


@pytest.mark.parametrize("model, task", [("mu_limit", "maml_omniglot"), ("nngp_limit", "maml_pi")])
def test_learn2learn_draws_from_images_on_the_gpu(model, task, gpus, of):
    assert run(of(model, task, task__episodes="learn2learn"))["status"] == "finished"


def test_labels_of_a_probe_may_lie_on_the_gpu(gpus, of, monkeypatch):
    probe = Images.probe
    monkeypatch.setattr(Images, "probe", lambda self: replace(probe(self), labels=probe(self).labels.to(SECOND)))
    assert run(of("mu_limit", "cifar10"))["status"] == "finished"


def test_a_model_and_a_task_of_ones_own(gpus, data_root, tmp_path):
    toys = f"hydra.searchpath=[file://{REPOSITORY}/tests/toys/conf]"
    options = ["scale=demo", "data=digits", "logger=none", "trainer.progress=false", "trainer.epochs=1"]
    places = [f"data.root={data_root}", f"paths.results={tmp_path}", f"trainer.device={SECOND}"]
    summary = run(composed("train", [toys, "task=parity", "model=random_features", *options, *places]))
    assert summary["status"] == "finished" and "pretended" in summary["provenance"]["hardware"]
