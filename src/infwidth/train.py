"""One run: `python -m infwidth.train task=maml_omniglot model=mu_limit`. Every key is documented in conf/.

By more than one process, where the model can be split: `torchrun --nproc-per-node=2 -m infwidth.train ...`.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from infwidth import launchers
from infwidth.command import command
from infwidth.config import load
from infwidth.joining import joined, speaks, world_size
from infwidth.running import run
from infwidth.runs.compose import CONF, plain
from infwidth.sweeps import Note
from infwidth.training.config import TrainerConfig
from infwidth.training.logging import finish_left_open
from infwidth.training.stopping import Interrupted

DECIDES_NUMBERS = False


def _job_of_sweep(config: dict[str, Any], hydra_config: Any) -> None:
    """A run that is one of many: it notes where it is or why it failed, and keeps to its share of the machine."""
    launchers.enter_folder(hydra_config)
    overrides = list(hydra_config.overrides.task)
    note = Note(Path(hydra_config.sweep.dir), hydra_config.job.num, overrides)
    write = note.write if launchers.become_rank(hydra_config.launcher) == 0 else lambda **about: None
    try:
        write()
        _carry_out(_with_its_share(config, hydra_config), lambda folder: write(run=str(folder), started=time.time()))
    except Interrupted:
        raise
    except Exception as e:
        write(error=str(e) or type(e).__name__)
        raise
    finally:
        finish_left_open()  # the next job may run in this process


def _with_its_share(config: dict[str, Any], hydra_config: Any) -> dict[str, Any]:
    """The config with the threads that its job has beside others; of several GPUs, the job's own becomes the usual."""
    trainer, launcher = config["trainer"], hydra_config.launcher
    if trainer["device"] in ("auto", "cuda"):
        gpu = launchers.own_gpu(launcher, Path(hydra_config.sweep.dir), torch.cuda.device_count())
        if gpu is not None:
            torch.cuda.set_device(gpu)
    if trainer["threads"] is None:
        trainer = {**trainer, "threads": launchers.threads_of_job(launcher)}
    return {**config, "trainer": trainer}


def _carry_out(config: dict[str, Any], announce: Callable[[Path], None] = lambda folder: None) -> None:
    """A run, which several processes may carry out together, of which this is then one."""
    if world_size() == 1:
        run(config, announce)
        return
    trainer = load(TrainerConfig, config.get("trainer"), "trainer")
    with joined(trainer.wait_for_ranks) as ranks:
        run(config, announce, ranks)


@command(CONF, "train", over_ranks=True)
def main(config: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    try:
        if hydra_config.mode == RunMode.MULTIRUN:
            _job_of_sweep(plain(config), hydra_config)
        else:
            _carry_out(plain(config))
    except Interrupted as e:
        if str(e) and speaks():  # of several processes, the one that knows what is kept
            print(e, file=sys.stderr, flush=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
