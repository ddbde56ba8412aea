"""One run: `python -m infwidth.train task=maml_omniglot model=mu_limit`. Every key is documented in conf/.

By more than one process, where the model can be split: `torchrun --nproc-per-node=2 -m infwidth.train ...`.
"""

import sys
import time
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from infwidth.command import command
from infwidth.config import load
from infwidth.joining import joined, speaks, world_size
from infwidth.running import run
from infwidth.runs.compose import CONF, plain
from infwidth.sweeps import Note, threads_of_job
from infwidth.training.config import TrainerConfig
from infwidth.training.stopping import Interrupted

DECIDES_NUMBERS = False


def _job_of_sweep(config: dict[str, Any], hydra_config: Any) -> None:
    """A run that is one of many: it notes where it is or why it failed, and shares the cores with those beside it."""
    overrides = list(hydra_config.overrides.task)
    note = Note(Path(hydra_config.sweep.dir), hydra_config.job.num, overrides)
    try:
        if config["trainer"]["threads"] is None:
            config = {**config, "trainer": {**config["trainer"], "threads": threads_of_job(hydra_config.launcher)}}
        note.write()
        run(config, lambda folder: note.write(run=str(folder), started=time.time()))
    except Interrupted:
        raise
    except Exception as e:
        note.write(error=str(e) or type(e).__name__)
        raise


def _over_ranks(config: dict[str, Any]) -> None:
    """A run that several processes carry out together, of which this is one."""
    trainer = load(TrainerConfig, config.get("trainer"), "trainer")
    with joined(trainer.wait_for_ranks) as ranks:
        run(config, ranks=ranks)


@command(CONF, "train", over_ranks=True)
def main(config: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    try:
        if hydra_config.mode == RunMode.MULTIRUN:
            _job_of_sweep(plain(config), hydra_config)
        elif world_size() > 1:
            _over_ranks(plain(config))
        else:
            run(plain(config))
    except Interrupted as e:
        if str(e) and speaks():  # of several processes, the one that knows what is kept
            print(e, file=sys.stderr, flush=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
