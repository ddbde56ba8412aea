"""A sweep on a Ray cluster of two nodes, one of which is killed. Needs requirements-ray.txt."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.spy import told
from tests.test_sweeps import TINY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (requirements-ray.txt)"),
]

PATIENCE = 600
"""Seconds to wait for what a busy machine is slow to do."""


@contextmanager
def cluster(folder):
    """A cluster of two nodes of one core and one GPU, number 0 and 1; its address. The GPUs are pretended.

    Both are on this machine, so that Ray calls them by one name: what tells them apart is where they are started.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as short, ExitStack() as nodes:
        head = ("--head", f"--port={address.partition(':')[2]}", "--include-dashboard=false", f"--temp-dir={short}")
        for number, role in enumerate([head, (f"--address={address}",)]):
            (folder / f"node-{number}").mkdir()
            nodes.enter_context(_node(folder / f"node-{number}", number, role))
        yield address


@contextmanager
def _node(folder, gpu, role):
    ours = {"PYTHONPATH": str(REPOSITORY / "src"), "CUDA_VISIBLE_DEVICES": str(gpu), "RAY_USAGE_STATS_ENABLED": "0"}
    node = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--num-gpus=1", *role],
        cwd=folder,
        env={**os.environ, **ours},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = []
        for line in node.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                break
        assert said and "Ray runtime started" in said[-1], "".join(said)
        yield
    finally:
        node.terminate()  # and with it what it has started
        node.communicate()


def _until(true, otherwise):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, otherwise
        time.sleep(0.5)


def _sweep(folder, address, *overrides):
    """The command of a sweep of four jobs, which tell where they are in ``folder``/spy."""
    return [
        *(sys.executable, "-m", "infwidth.train", "-m", *TINY, "trainer.epochs=150", "trainer.checkpoint_every=1"),
        *("name=ray", "model=finite", "model.width=4,8", "seed=0,1", "hydra/launcher=ray_cluster"),
        f"hydra.launcher.ray.init.address={address}",
        "hydra.launcher.ray.remote.num_gpus=1",
        f"+hydra.callbacks.spy={{_target_: tests.spy.Spy, folder: {folder}/spy}}",
        *(f"paths.results={folder}/results", f"data.root={folder}/data", *overrides),
    ]


def _begun(spy):
    return [about for about in told(spy) if about["when"] == "start"]


def _on_node(spy, number):
    """The jobs that have begun on a node."""
    return [about for about in _begun(spy) if about["folder"].endswith(f"node-{number}")]


def _in_training(folder, job):
    """Whether there is a checkpoint of the run of a job."""
    try:
        note = json.loads((folder / f"results/runs/ray/.jobs/{job['job']}.json").read_text())
        return (Path(note["run"]) / "checkpoints" / "last.safetensors").exists()
    except (OSError, ValueError, KeyError):
        return False


def _parent(process):
    return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(process)], capture_output=True, check=True).stdout)


def test_a_sweep_outlives_a_node(tmp_path):
    """Both nodes carry out jobs, each on its own GPU; what ran on the one that is killed goes on on the other."""
    spy = tmp_path / "spy"
    spy.mkdir()
    with cluster(tmp_path) as address:
        command = _sweep(tmp_path, address)
        sweep = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        _until(lambda: any(_in_training(tmp_path, job) for job in _on_node(spy, 1)), "no job on the second node")
        _until(lambda: _on_node(spy, 0), "no job on the first node")
        lost = _on_node(spy, 1)[-1]
        os.kill(_parent(lost["process"]), signal.SIGKILL)  # its raylet, without which a node is none
        said, errors = sweep.communicate(timeout=PATIENCE)
        assert sweep.returncode == 0 and "4 jobs; 4 finished" in said, said + errors
        assert {(job["folder"][-1], job["CUDA_VISIBLE_DEVICES"]) for job in _begun(spy)} == {("0", "0"), ("1", "1")}
        again = [job for job in _begun(spy) if job["job"] == lost["job"]]
        assert {job["node"] for job in again} > {lost["node"]}, "it has begun on the other node"
        run = json.loads((tmp_path / f"results/runs/ray/.jobs/{lost['job']}.json").read_text())["run"]
        starts = json.loads((Path(run) / "summary.json").read_text())["provenance"]["starts"]
        assert len(starts) > 1 and 0 < starts[-2]["step"] < starts[-1]["step"], "it was not begun anew"
        assert all(about["folder"] == str(REPOSITORY) for about in told(spy) if about["when"] == "end")

        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0 and "4 jobs; 4 finished" in done.stdout, done.stdout + done.stderr


def test_the_same_command_finishes_what_a_lost_process_has_stopped(tmp_path):
    """As when the last of the tries of a job is lost: Ray gives up, and with it the launcher."""
    spy = tmp_path / "spy"
    spy.mkdir()
    with cluster(tmp_path) as address:
        command = _sweep(tmp_path, address, "hydra.launcher.ray.remote.max_retries=0")
        sweep = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        _until(lambda: any(_in_training(tmp_path, job) for job in _begun(spy)), "no job is in training")
        job = next(job for job in _begun(spy) if _in_training(tmp_path, job))
        os.kill(job["process"], signal.SIGKILL)
        said, errors = sweep.communicate(timeout=PATIENCE)
        assert sweep.returncode == 2 and errors.splitlines()[-1].startswith("error: hydra_ray_launcher has failed ("), (
            errors
        )
        assert "4 jobs; " in said and "4 finished" not in said
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0 and "4 jobs; 4 finished" in done.stdout, done.stdout + done.stderr
