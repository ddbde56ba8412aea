"""What a job of a sweep makes of its place: the folder, cores, GPU and ranks that its launcher leaves to it.

Hydra's launchers start jobs one after another, as processes of this machine, or on the nodes of a cluster.
"""

import fcntl
import functools
import itertools
import os
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig

from infwidth.errors import ConfigError, OutputError

DECIDES_NUMBERS = False

MULTIRUN, NOTES = "multirun.yaml", ".jobs"
"""In the folder of a sweep: Hydra's config of it, and what its jobs leave."""

JOBS_OF_A_CORE = 16
"""The most jobs at a time for each core of this machine: every one is a process with a PyTorch of its own."""


def _kind(launcher: Mapping[str, Any]) -> str:
    """The class of a launcher, of which its config is given: BasicLauncher, JoblibLauncher, LocalLauncher (submitit's
    on this machine), SlurmLauncher or RayLauncher."""
    return launcher["_target_"].rpartition(".")[2]


def make_ready(launcher: Mapping[str, Any]) -> None:
    """What is to be done before a launcher is made: ConfigError for Ray's where that is not installed."""
    if _kind(launcher) != "RayLauncher":
        return
    if find_spec("hydra_plugins.hydra_ray_launcher") is None:
        raise ConfigError(
            "hydra/launcher=ray_cluster needs Ray and hydra-ray-launcher, which are not installed; use "
            "pip install -r requirements-ray.txt on every node."
        )
    # Ray leaves out lines that differ in nothing but numbers, as what two jobs have found may.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")


def threads_of_job(launcher: Mapping[str, Any]) -> int | None:
    """CPU threads for each job of a launcher that runs several at once, so that they share the cores.

    launcher: Hydra's config of it. None: all cores, one job at a time. Jobs that each used all cores would slow each
    other down many times over. ConfigError for a number of jobs that cannot be.
    """
    kind = _kind(launcher)
    if kind == "JoblibLauncher":
        cores = _cores()
        return max(1, cores // _at_once(launcher["n_jobs"], cores))
    if kind in ("LocalLauncher", "SlurmLauncher"):
        return launcher["cpus_per_task"] or 1
    if kind == "RayLauncher":
        return max(1, int(launcher["ray"]["remote"].get("num_cpus") or 1))
    return None


def _at_once(jobs: int | None, cores: int) -> int:
    """How many jobs joblib runs at a time: -1 means one for each core, -2 one less."""
    if jobs is None:
        return 1
    if not jobs or jobs > JOBS_OF_A_CORE * cores:
        raise ConfigError(
            f"hydra.launcher.n_jobs is {jobs}; it is the number of jobs at a time: 1 to {JOBS_OF_A_CORE * cores} on "
            "this machine, or -1 for one on each core."
        )
    return jobs if jobs > 0 else max(1, cores + 1 + jobs)


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def enter_folder(hydra: DictConfig) -> None:
    """Make the folder in which the sweep was started this process's own, so that its paths mean the same here.

    hydra: Hydra's own config of the job. OutputError on a machine that does not have the sweep's files.
    """
    started, sweep = hydra.runtime.cwd, Path(hydra.sweep.dir)
    try:
        os.chdir(started)
        there = (sweep / MULTIRUN).exists()
    except OSError:
        there = False
    if not there:
        raise OutputError(
            f"{socket.gethostname()} does not see the sweep that was started in {started} ({sweep / MULTIRUN} is not "
            "there); keep the repository and paths.results at one place of a disk that all machines share."
        )


def own_gpu(launcher: Mapping[str, Any], folder: Path, gpus: int) -> int | None:
    """The number of the GPU that this process computes on, whichever jobs of the sweep in a folder it gets.

    gpus: how many it sees. None: the usual one, as there are no others, or the launcher gives each job what it may use.
    """
    if gpus < 2 or _kind(launcher) not in ("JoblibLauncher", "LocalLauncher") or tasks_of_job(launcher) > 1:
        return None
    return _place(folder)[0] % gpus


@functools.cache
def _place(folder: Path) -> tuple[int, IO]:
    """This process's number among those that carry out a sweep's jobs on this machine, and the lock that keeps it.

    The lowest that is free: one job may take longer than several others, so that jobs next to each other in number are
    not those that run at the same time. The lock ends with the process, however that ends.
    """
    (folder / NOTES).mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        lock = open(folder / NOTES / f"place-{number}", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number, lock
        except BlockingIOError:
            lock.close()


def tasks_of_job(launcher: Mapping[str, Any]) -> int:
    """How many processes a launcher starts for each job: submitit's tasks, which are the ranks of one run."""
    return (launcher.get("tasks_per_node") or 1) * (launcher.get("nodes") or 1)


def become_rank(launcher: Mapping[str, Any]) -> int:
    """Which of the processes of its job this one is, 0 alone; its environment says so as torchrun would."""
    if tasks_of_job(launcher) == 1:
        return 0
    from submitit.helpers import TorchDistributedEnvironment

    # All GPUs of the machine stay in sight: LOCAL_RANK says which of them is this rank's.
    return TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True).rank
