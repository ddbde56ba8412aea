"""Callbacks of Hydra's: one tells where the jobs of a sweep are carried out, and how; another kills a job."""

import json
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

TOLD = ("CUDA_VISIBLE_DEVICES", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Spy(Callback):
    """``+hydra.callbacks.spy={_target_: tests.spy.Spy, folder: FOLDER}``"""

    def __init__(self, folder: str):
        self.folder = folder

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self._tell("start", config)

    def on_job_end(self, config: DictConfig, **_: Any) -> None:
        self._tell("end", config)

    def _tell(self, when: str, config: DictConfig) -> None:
        about = {"when": when, "job": config.hydra.job.num, "process": os.getpid(), "folder": os.getcwd()}
        about |= {name: os.environ.get(name) for name in TOLD}
        if "ray" in sys.modules:
            about["node"] = sys.modules["ray"].get_runtime_context().get_node_id()
        Path(self.folder, f"{uuid.uuid4()}.json").write_text(json.dumps(about))


class Killed(Callback):
    """``+hydra.callbacks.spy={_target_: tests.spy.Killed, job: NUMBER}``: at the end of its run."""

    def __init__(self, job: int):
        self.job = job

    def on_job_end(self, config: DictConfig, **_: Any) -> None:
        if config.hydra.job.num == self.job:
            os.kill(os.getpid(), signal.SIGKILL)


def told(folder: Path) -> list[dict[str, Any]]:
    """What has been told so far, in the order of jobs."""
    found = [json.loads(path.read_text() or "{}") for path in folder.glob("*.json")]
    return sorted((about for about in found if about), key=lambda about: (about["job"], about["when"]))
