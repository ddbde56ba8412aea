"""W&B: online when logged in, else offline, without a question. metrics.jsonl is the truth; this mirrors it."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.errors import ConfigError

HEADLINE = "validation/accuracy"


class NoLogger:
    """logger=none"""

    def log(self, row: Mapping[str, Any]) -> None:
        pass

    def finish(self, summary: Mapping[str, Any], failed: bool = False) -> None:
        pass


class WandbLogger:
    """One W&B run per run: grouped by experiment, named by what was chosen, epoch on the x axis, best as summary."""

    def __init__(
        self, *, project: str, entity: str | None, mode: str, tags: list[str], folder: Path, group: str, name: str, job_type: str, run: str,
        config: Mapping[str, Any],
    ):  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.run = _started(
            mode, project=project, entity=entity, tags=tags, dir=str(folder), group=group, name=name, job_type=job_type,
            id=f"{group}-{run}", resume="allow", config=dict(config),
        )  # fmt: skip
        self.run.define_metric("epoch", hidden=True)
        self.run.define_metric("*", step_metric="epoch")
        self.run.define_metric(HEADLINE, step_metric="epoch", summary="max")
        self.run.define_metric("train/loss", step_metric="epoch", summary="min")

    def log(self, row: Mapping[str, Any]) -> None:
        self.run.log(dict(row))

    def finish(self, summary: Mapping[str, Any], failed: bool = False) -> None:
        self.run.summary.update(dict(summary))
        self.run.finish(exit_code=1 if failed else 0)


class WandbReport:
    """A W&B run of job type 'report' that holds an experiment's table, figures and the points of its PCA."""

    def __init__(self, logger: Mapping[str, Any], folder: Path, experiment: str, scale: str):
        self.logger, self.folder, self.experiment, self.scale = logger, folder, experiment, scale

    def log(self, table: pd.DataFrame, figures: Sequence[tuple[Path, str]], points: pd.DataFrame | None = None) -> None:
        """table: the table for people; figures: paths of images and their captions; points: a line for each point of the PCA."""
        import wandb

        run = _started(
            self.logger["mode"], project=self.logger["project"], entity=self.logger["entity"], dir=str(self.folder),
            group=self.experiment, name=f"{self.experiment} report, {self.scale}", job_type="report", tags=[f"scale-{self.scale}"],
        )  # fmt: skip
        try:
            run.log(
                {
                    "table": wandb.Table(dataframe=table.astype(str)),
                    **({"pca_points": wandb.Table(dataframe=points)} if points is not None else {}),
                    **{path.stem: wandb.Image(str(path), caption=text) for path, text in figures},
                }
            )
        finally:
            run.finish()


def _started(mode: str, **settings):
    """wandb.init; under mode 'auto' a W&B that cannot be reached means offline, otherwise it is a ConfigError."""
    import wandb

    def init(actual: str):
        return wandb.init(mode=actual, settings=wandb.Settings(console="off", silent=True), **settings)

    wanted = wandb_mode(mode)
    try:
        return init(wanted)
    except (wandb.errors.Error, ValueError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        if mode == "auto" and wanted == "online":
            print(
                f"W&B cannot be used online ({reason}); this run is kept offline, `make wandb-sync` uploads it later.",
                file=sys.stderr,
            )
            return init("offline")
        raise ConfigError(
            f"W&B does not start with mode {wanted!r} ({reason}); use logger.mode=offline or logger=none, or log in with `wandb login`."
        ) from e


def wandb_mode(asked: str) -> str:
    """'auto' becomes 'online' if a W&B key is at hand (environment or netrc), else 'offline'."""
    if asked != "auto":
        return asked
    if os.environ.get("WANDB_MODE"):
        return os.environ["WANDB_MODE"]
    import wandb

    return "online" if wandb.login(prompt=False) else "offline"
