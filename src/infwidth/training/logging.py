"""W&B: online when logged in, else offline, without a question. metrics.jsonl is the truth; this mirrors it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

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
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            project=project, entity=entity, mode=wandb_mode(mode), tags=tags, dir=str(folder), group=group, name=name, job_type=job_type,
            id=run, resume="allow", config=dict(config), settings=wandb.Settings(console="off", silent=True),
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
    """A W&B run of job type 'report' that holds an experiment's table and figures."""

    def __init__(self, logger: Mapping[str, Any], folder: Path, experiment: str, scale: str):
        self.logger, self.folder, self.experiment, self.scale = logger, folder, experiment, scale

    def log(self, table: pd.DataFrame, figures: Sequence[tuple[Path, str]]) -> None:
        """table: the table for people; figures: paths of images and their captions."""
        import wandb

        run = wandb.init(
            project=self.logger["project"], entity=self.logger["entity"], mode=wandb_mode(self.logger["mode"]), dir=str(self.folder),
            group=self.experiment, name=f"{self.experiment} report, {self.scale}", job_type="report", tags=[f"scale-{self.scale}"],
            settings=wandb.Settings(console="off", silent=True),
        )  # fmt: skip
        try:
            run.log({"table": wandb.Table(dataframe=table.astype(str)), **{path.stem: wandb.Image(str(path), caption=text) for path, text in figures}})
        finally:
            run.finish()


def wandb_mode(asked: str) -> str:
    """'auto' becomes 'online' if a W&B key is at hand (environment or netrc), else 'offline'."""
    if asked != "auto":
        return asked
    if os.environ.get("WANDB_MODE"):
        return os.environ["WANDB_MODE"]
    import wandb

    return "online" if wandb.login(prompt=False) else "offline"
