"""A run's replay record, made or made again with the code as it is now (:mod:`infwidth.runs.replay`)."""

import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from infwidth.job import Job, on, one_thread, specified
from infwidth.runs.replay import FIRST, thinned, twin
from infwidth.training import provenance
from infwidth.training.memory import during
from infwidth.training.stopping import Interrupted
from infwidth.training.trainer import Trainer

DECIDES_NUMBERS = False


class _Watched(Trainer):
    """A trainer that keeps the loss of every step in ``losses``, and stops, to be resumed, after step ``until``."""

    def __init__(self, *arguments: Any, losses: dict[int, float], until: int | None = None):
        super().__init__(*arguments)
        self.losses, self.until = losses, until

    def step(self, batch: Any) -> dict[str, Any]:
        metrics = super().step(batch)
        self.losses[self.at.step] = metrics["loss"].item()
        self.stop.asked = self.stop.asked or self.at.step == self.until
        return metrics


def record(job: Job) -> dict[str, Any]:
    """What is kept of a run to replay it.

    'first' losses, 'losses' and 'metrics' of its twin, and where they were computed.
    Takes seconds to a minute, on one thread of the CPU: a GPU adds up in no order of its own, and the next machine
    may have none. ConfigError, and other errors that a user can mend, where that cannot be.
    """
    with one_thread(), during(f"{job.spec.label}: what it takes to replay it"):
        losses, metrics = _of_twin(job)
        return {"first": first_losses(_on_the_cpu(job)), "losses": thinned(losses), "metrics": metrics, **where()}


def where() -> dict[str, Any]:
    """What bitwise agreement depends on besides the code."""
    found = provenance.versions()
    return {"cpu": provenance.processor(), "python": found["python"], "torch": found["torch"], "numpy": found["numpy"]}


def first_losses(job: Job) -> list[float]:
    """The losses of the first steps of the run's own first epoch; none of a run without training."""
    if not job.length.last:
        return []
    losses: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(job.into(Path(folder)), losses)
        for batch in itertools.islice(job.task.batches(0), min(FIRST, job.length.last)):
            trainer.step(batch)
    return [losses[step] for step in sorted(losses)]


def _of_twin(job: Job) -> tuple[list[float], dict[str, float]]:
    """The losses and the final metrics of the twin, interrupted after a third of its steps and resumed."""
    losses: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        short = specified(_shortened(job, folder))
        if short.length.last > 2:
            try:
                _trainer(short, losses, until=short.length.last // 3).train()
            except Interrupted:
                pass
        trainer = _trainer(short, losses)
        trainer.fit() if trainer.model.closed_form else trainer.train()
        return [losses[step] for step in sorted(losses)], trainer.summary()["metrics"]


def _on_the_cpu(job: Job) -> Job:
    """The same run on the CPU."""
    cpu = torch.device("cpu")
    return job if job.resources.device == cpu else on(job.spec, job.data, cpu, job.peak)


def _shortened(job: Job, folder: str) -> Mapping[str, Any]:
    """The plain config of the twin, into a folder of its own."""
    spec = job.spec
    config = twin(spec.config, {**spec.task.shortened(), **spec.model.shortened()})
    apart = {"name": "twin", "force": False, "logger": {"name": "none"}, "paths": {"results": folder}}
    return {**config, **apart, "trainer": {**config["trainer"], "device": "cpu"}}


def _trainer(job: Job, losses: dict[int, float], until: int | None = None) -> _Watched:
    model = job.spec.build_model(job.resources.shape, job.resources.device)
    job.directory.create(job.spec.config)
    arguments = (job.spec.trainer, job.task, model, job.length, job.directory, job.spec.label)
    return _Watched(*arguments, losses=losses, until=until)
