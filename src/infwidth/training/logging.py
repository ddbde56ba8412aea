"""W&B: online when logged in, else offline, without a question. metrics.jsonl is the truth; this mirrors it.

A failure of W&B costs a sentence, never a run: online becomes offline, and what does not work offline either is left
out. The exception is logger.mode=online, an explicit wish, which is refused before training where it cannot be
fulfilled.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.errors import ConfigError
from infwidth.training import connection
from infwidth.training.files import plain

DECIDES_NUMBERS = False

HEADLINE = "validation/accuracy"

SECONDS_TO_START, SECONDS_TO_FINISH = 30, 60
"""How long W&B may take to open a run, and to upload the rest of it at the end; what is left stays on the disk."""

INFINITE = 10**6
"""The width that a limit has in W&B, whose axes know no infinity: beyond every finite one."""


class NoLogger:
    """logger=none"""

    def log(self, row: Mapping[str, Any]) -> None:
        pass

    def finish(self, summary: Mapping[str, Any], failed: bool = False) -> None:
        pass


class WandbLogger:
    """One W&B run per run: grouped by experiment, named by what was chosen, epoch on the x axis, best as summary.

    mode: 'online', 'offline' or 'disabled', as :func:`infwidth.training.connection.chosen_mode` says. required: whether
    it must be online; ConfigError if it then is not.
    """

    def __init__(self, *, mode: str, required: bool, folder: Path, group: str, run: str, **settings: Any):
        about = {"dir": str(folder), "group": group, "id": f"{group}-{run}", "resume": "allow", **settings}
        self.run = _started(mode, required, **about)
        self._do(self._define)

    def _define(self) -> None:
        self.run.define_metric("epoch", hidden=True)
        self.run.define_metric("*", step_metric="epoch")
        self.run.define_metric(HEADLINE, step_metric="epoch", summary="max")
        for name in ("train/loss", "validation/loss"):
            self.run.define_metric(name, step_metric="epoch", summary="min")

    def log(self, row: Mapping[str, Any]) -> None:
        self._do(lambda: self.run.log(dict(row)))

    def finish(self, summary: Mapping[str, Any], failed: bool = False) -> None:
        self._do(lambda: self.run.summary.update(plain(summary)))
        self._do(lambda: self.run.finish(exit_code=1 if failed else 0))

    def _do(self, work: Callable[[], Any]) -> None:
        """Do it, or say why not, once, and leave W&B alone from then on."""
        if self.run is None:
            return
        try:
            work()
        except Exception as e:  # whatever it is: metrics.jsonl has everything
            _say(f"W&B has failed ({connection.reason(e)}); the run goes on without it, metrics.jsonl has all of it.")
            self.run = None


class WandbReport:
    """A W&B run of job type 'report' that holds an experiment's table, figures and the points of its PCA."""

    def __init__(self, logger: Mapping[str, Any], folder: Path, experiment: str, scale: str):
        self.logger, self.folder, self.experiment, self.scale = logger, folder, experiment, scale

    def log(self, table: pd.DataFrame, figures: Sequence[tuple[Path, str]], points: pd.DataFrame | None = None) -> None:
        """table: the one for people; figures: paths of images and their captions; points: a line for each of the
        PCA."""
        import wandb

        run = _started(
            connection.chosen_mode(self.logger["mode"]),
            required=False,
            project=self.logger["project"],
            entity=self.logger["entity"],
            dir=str(self.folder),
            group=group(self.experiment, self.scale),
            name=f"{self.experiment} report, {self.scale}",
            job_type="report",
            tags=[f"scale-{self.scale}"],
        )
        if run is None:
            return
        try:
            pictures = {path.stem: wandb.Image(str(path), caption=text) for path, text in figures}
            tables = {"table": table.astype(str), **({"pca_points": points} if points is not None else {})}
            run.log({name: wandb.Table(dataframe=frame) for name, frame in tables.items()} | pictures)
            run.finish()
        except Exception as e:  # the report is on the disk
            _say(f"W&B has failed ({connection.reason(e)}); the report is on the disk.")


def group(experiment: str, scale: str) -> str:
    """The W&B group of an experiment's runs at a scale: runs on generated data do not mix with others."""
    return f"{experiment}-{scale}"


def described(config: Mapping[str, Any], width: int | None, parametrization: str) -> dict[str, Any]:
    """A run's config as W&B shows it: its width as a number, INFINITE for a limit (None), its parametrization by
    name."""
    return {
        **config,
        "width": INFINITE if width is None else width,
        "width_label": "inf" if width is None else str(width),
        "parametrization": {**config["parametrization"], "name": parametrization},
    }


def finish_left_open() -> None:
    """End the W&B run that an error has left open in this process, as failed: it would swallow the next one."""
    wandb = sys.modules.get("wandb")
    if wandb is None or wandb.run is None:
        return
    try:
        wandb.run.finish(exit_code=1)
    except Exception as e:  # the error that left it open is what counts
        _say(f"W&B has failed ({connection.reason(e)}); metrics.jsonl has all of the run.")


def _started(mode: str, required: bool, **settings: Any):
    """A W&B run, offline if it cannot be one online; None, and that is said, if W&B does not start at all."""
    import wandb

    about = {"init_timeout": SECONDS_TO_START, "finish_timeout": SECONDS_TO_FINISH, "console": "off", "silent": True}
    for actual in ("online", "offline") if mode == "online" else (mode,):
        try:
            return wandb.init(mode=actual, settings=wandb.Settings(**about), **settings)
        except Exception as e:  # W&B, its service or its folder: the run does not need them
            if required:
                raise ConfigError(
                    f"W&B does not start online ({connection.reason(e)}), which was asked for; use logger.mode=auto or "
                    "offline."
                ) from e
            then = connection.OFFLINE if actual == "online" else "the run goes on without it"
            _say(f"W&B does not start {actual} ({connection.reason(e)}); {then}.")
    return None


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
