"""Launchers: what a job gets of its machine under each of them."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from infwidth import launchers, train
from infwidth.errors import ConfigError, OutputError
from infwidth.runs.compose import CONF, _composed
from tests.commands import command
from tests.conftest import REPOSITORY
from tests.spy import told
from tests.test_sweeps import SUBMITIT
from tests.training.helpers import SMALL_IMAGES

BASIC = {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}
JOBLIB = {"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher", "n_jobs": 2}
LOCAL = {"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher", "cpus_per_task": None}
SLURM = {"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher", "cpus_per_task": 6}


def ray(*overrides):
    """The launcher that conf/ has for a Ray cluster."""
    config = _composed(CONF, "train", ["hydra/launcher=ray_cluster", *overrides], with_hydra=True)
    return OmegaConf.to_container(config.hydra.launcher)


@pytest.mark.parametrize(
    "launcher, threads",
    [
        (BASIC, None),
        (JOBLIB, 4),
        ({**JOBLIB, "n_jobs": -1}, 1),
        ({**JOBLIB, "n_jobs": 20}, 1),
        (SLURM, 6),
        (LOCAL, 1),
        (ray(), 1),
        (ray("hydra.launcher.ray.remote.num_cpus=5"), 5),
        (ray("hydra.launcher.ray.remote.num_cpus=0.5"), 1),
        (ray("hydra.launcher.ray.remote.num_cpus=null"), 1),
    ],
)
def test_threads_are_shared_among_jobs(launcher, threads, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert launchers.threads_of_job(launcher) == threads


def test_a_ray_cluster_that_runs_is_joined():
    """The launcher's own default, a size of the object store, is what Ray refuses for one that runs."""
    assert ray()["ray"]["init"] == {"address": "auto", "object_store_memory": None}


def test_ray_is_asked_for_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(launchers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install -r requirements-ray\.txt"):
        launchers.make_ready(ray())
    launchers.make_ready(JOBLIB)


def hydra_of_job(folder, launcher=BASIC):
    """Hydra's config of the first job of a sweep in a folder."""
    return OmegaConf.create(
        {
            "runtime": {"cwd": str(folder)},
            "sweep": {"dir": str(folder / "sweep")},
            "job": {"num": 0},
            "overrides": {"task": []},
            "launcher": launcher,
        }
    )


def test_a_job_works_in_the_folder_of_its_sweep(tmp_path, monkeypatch):
    """Where its process began is its launcher's business: on a node of Ray's, where Ray was started."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    hydra = hydra_of_job(tmp_path)
    with pytest.raises(OutputError, match="does not see the sweep that was started in"):
        launchers.enter_folder(hydra)  # as on a node that has the repository, and results on a disk of its own
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / launchers.MULTIRUN).touch()
    launchers.enter_folder(hydra)
    assert os.getcwd() == str(tmp_path)
    hydra.runtime.cwd = str(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="a disk that all machines share"):
        launchers.enter_folder(hydra)


def test_the_folder_of_a_sweep_does_not_depend_on_where_a_job_is(tmp_path, monkeypatch):
    config = _composed(CONF, "train", ["name=here"], with_hydra=True)
    monkeypatch.chdir(tmp_path)
    assert config.hydra.sweep.dir == f"{REPOSITORY}/results/runs/here"


def test_jobs_that_run_at_the_same_time_have_gpus_of_their_own(tmp_path):
    """Each process keeps its GPU, and the one that takes the place of a killed one has that one's."""
    code = (
        f"import pathlib, sys; from infwidth.launchers import own_gpu; folder = pathlib.Path({str(tmp_path)!r})\n"
        f"for line in sys.stdin: print(own_gpu({JOBLIB!r}, folder, gpus=2), flush=True)"
    )

    def begun():
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, **pipes)

    def gpu(process):
        print("next", file=process.stdin, flush=True)
        return int(process.stdout.readline())

    processes = [begun() for _ in range(4)]
    try:
        assert [gpu(process) for process in processes] == [0, 1, 0, 1]
        assert [gpu(process) for process in reversed(processes)] == [1, 0, 1, 0]
        processes[1].kill()
        processes[1].wait()
        processes.append(begun())
        assert gpu(processes[-1]) == 1
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("launcher", [BASIC, SLURM, ray(), {**LOCAL, "tasks_per_node": 2}])
def test_other_launchers_choose_the_gpu_themselves(launcher, tmp_path):
    assert launchers.own_gpu(launcher, tmp_path, gpus=2) is None
    assert launchers.own_gpu(JOBLIB, tmp_path, gpus=1) is None


@pytest.mark.parametrize("device, used", [("auto", [1]), ("cuda", [1]), ("cuda:0", []), ("cpu", [])])
def test_a_job_computes_on_its_own_gpu_unless_told_otherwise(device, used, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    monkeypatch.setattr(launchers, "_place", lambda folder: (5, None))
    config = {"trainer": {"device": device, "threads": 3}}
    assert train._with_its_share(config, hydra_of_job(tmp_path, JOBLIB)) == config and found == used


def test_a_job_leaves_no_run_of_wandb_open(tmp_path, monkeypatch):
    """The next one may be carried out by the same process, and its numbers would go there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / launchers.MULTIRUN).touch()
    ended = []
    open_run = SimpleNamespace(run=SimpleNamespace(finish=lambda exit_code: ended.append(exit_code)))
    monkeypatch.setitem(sys.modules, "wandb", open_run)

    def failing(*_):
        raise OutputError("the disk is full.")

    monkeypatch.setattr(train, "run", failing)
    with pytest.raises(OutputError, match="the disk is full"):
        train._job_of_sweep({"trainer": {"device": "cpu", "threads": 1}}, hydra_of_job(tmp_path))
    assert ended == [1]


def test_the_tasks_of_a_job_are_ranks_of_one_run(tmp_path):
    """submitit's tasks are told what torchrun would tell them, and the first of them speaks for the job."""
    (tmp_path / "spy").mkdir()
    spy = f"+hydra.callbacks.spy={{_target_: tests.spy.Spy, folder: {tmp_path}/spy}}"
    model = ["task=cifar10", "model=pi_limit", "model.rank=6", "model.depth=1"]
    tasks = [*SUBMITIT, "hydra.launcher.tasks_per_node=2", spy]
    done = command("train", "-m", *SMALL_IMAGES, *model, "name=ranks", *tasks, folder=tmp_path)
    assert "1 jobs; 1 finished" in done.stdout, done.stderr
    first, second = (about for about in told(tmp_path / "spy") if about["when"] == "end")
    assert {first["RANK"], second["RANK"]} == {first["LOCAL_RANK"], second["LOCAL_RANK"]} == {"0", "1"}
    assert first["WORLD_SIZE"] == second["WORLD_SIZE"] == first["LOCAL_WORLD_SIZE"] == "2"
    assert first["MASTER_ADDR"] == second["MASTER_ADDR"] and first["MASTER_PORT"] == second["MASTER_PORT"]
    (summary,) = tmp_path.glob("results/runs/ranks/*/summary.json")
    (start,) = json.loads(summary.read_text())["provenance"]["starts"]
    assert start["ranks"] == 2


def test_the_only_task_of_a_job_is_no_rank(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    for launcher in (BASIC, JOBLIB, LOCAL, {**SLURM, "tasks_per_node": 1, "nodes": 1}, ray()):
        assert launchers.become_rank(launcher) == 0 and "RANK" not in os.environ
    assert launchers.tasks_of_job({**SLURM, "tasks_per_node": 4, "nodes": 2}) == 8


def test_the_requirements_of_ray_are_pinned_and_say_why():
    lines = (REPOSITORY / "requirements-ray.txt").read_text().splitlines()
    given = [line for line in lines if line and not line.startswith("#")]
    assert given[0] == "-r requirements.txt" and len(given) > 1
    for line in given[1:]:
        package, _, reason = line.partition("#")
        assert "==" in package and reason
