"""One run: `python -m infwidth.train task=maml_omniglot model=mu_limit`. Every key is documented in conf/."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from infwidth.command import command
from infwidth.data.catalog import obtain
from infwidth.data.prepared import Prepared
from infwidth.errors import ConfigError
from infwidth.models.cost import Shape
from infwidth.runs.compose import CONF, plain
from infwidth.runs.spec import Spec, specified
from infwidth.runs.store import ENDED
from infwidth.sweeps import Note, threads_of_job
from infwidth.tasks.contract import Task
from infwidth.training import checkpoints, provenance, resources
from infwidth.training.logging import NoLogger, WandbLogger
from infwidth.training.run_directory import RunDirectory
from infwidth.training.trainer import Interrupted, Trainer


def run(config: Mapping[str, Any], announce: Callable[[Path], None] = lambda folder: None) -> dict[str, Any]:
    """Carry out the run of a plain config, or skip it if it is finished; returns its summary.

    announce: told the run's folder before it starts. Raises InfwidthError for everything a user can mend, and Interrupted when
    asked to stop, with the state saved.
    """
    spec = specified(config)
    device = resources.chosen_device(spec.trainer)
    data = obtain(spec.run.data)
    task = spec.build_task(data, device)
    shape = resources.asked_of_model(spec.trainer, task)
    identity = spec.identity(data.checksum)
    directory = RunDirectory(Path(spec.run.paths.results) / "runs" / spec.run.name / identity)
    announce(directory.path)
    trainer = None
    # Built before the run's folder exists: a wrong config leaves none.
    if spec.run.force or directory.summary().get("status") not in ENDED:
        resources.require_memory(spec.model, task, shape, device, spec.dtype)
        model = spec.build_model(shape, device)
        trainer = Trainer(spec.trainer, task, model, directory, identity, spec.label, NoLogger())
    with directory.locked():
        if spec.run.force:
            directory.clear()
        summary = directory.summary()
        if summary.get("status") in ENDED:
            return _skipped(spec, task, shape, directory, device, summary)
        predicted = resources.predicted(spec.model, task, shape, device, spec.dtype)
        directory.create(config)
        return _carried_out(spec, data, trainer, device, predicted)


def _skipped(
    spec: Spec, task: Task, shape: Shape, directory: RunDirectory, device: torch.device, summary: dict[str, Any]
) -> dict[str, Any]:
    """A run that has ended before: two scales may ask for the very same run, which then belongs to the tables of both."""
    scales = summary.get("scales", [summary["scale"]])
    if spec.run.scale not in scales:
        summary["scales"] = [*scales, spec.run.scale]
        directory.write_summary(summary)
    _write_missing_files(spec, task, shape, directory, device)
    status = f"already {summary['status']}, skipped ({directory.path}; force=true repeats it)"
    print(f"{spec.label}: {status}", flush=True)
    return summary


def _carried_out(
    spec: Spec, data: Prepared, trainer: Trainer, device: torch.device, predicted: Mapping[str, float]
) -> dict[str, Any]:
    """Train, and write the summary however it ends."""
    directory, identity, label = trainer.directory, trainer.run, spec.label
    provenance.reset_peak_memory(device)
    started, outcome = time.time(), {"status": "failed"}
    try:
        recorded = {**spec.config, "provenance": {"commit": provenance.commit(), "data": dict(data.manifest)}}
        trainer.logger = _logger(spec, recorded, directory, identity, label)
        outcome = trainer.fit()
        if not math.isfinite(outcome["metrics"].get("test/loss", 0.0)):
            # A network that validates at one step of adaptation may still blow up at twenty.
            outcome["status"] = "diverged"
    except torch.OutOfMemoryError as e:
        raise ConfigError(
            f"{label} has run out of memory on {device} ({str(e).splitlines()[0]}); make the model or its batches smaller, or take a larger device."
        ) from e
    except (Interrupted, KeyboardInterrupt):
        outcome = {"status": "interrupted"}
        kept = (
            f"its state is in {directory.path}. Run the same command again to resume"
            if spec.trainer.checkpoint_every
            else "with trainer.checkpoint_every=0 nothing is kept"
        )
        raise Interrupted(f"{label} was interrupted; {kept}.") from None
    finally:
        # Joblib reuses its workers, so a W&B run left open would swallow the next one's metrics.
        trainer.logger.finish(outcome.get("metrics", {}), failed=outcome["status"] != "finished")
        summary = {
            "id": identity,
            "name": spec.run.name,
            "row": spec.run.row,
            "seed": spec.run.seed,
            "scale": spec.run.scale,
            **outcome,
            "predicted": predicted,
            "parametrization": spec.abc.name,
            "data": {"name": data.manifest["name"], "label": data.manifest["label"], "checksum": data.checksum},
            "provenance": provenance.of_run(device, time.time() - started),
        }
        directory.write_summary(summary)
    directory.forget_progress()
    print(_sentence(label, summary, directory), flush=True)
    if trainer._stop:  # asked for during the last evaluation, when there was nothing left to save
        raise Interrupted(f"{label} was at its end when it was asked to stop, and is {summary['status']}.")
    return summary


def _write_missing_files(spec: Spec, task: Task, shape: Shape, directory: RunDirectory, device: torch.device) -> None:
    """Write what the task is now asked to keep of a finished run, such as its word vectors, from the run's checkpoint."""
    missing = [name for name in task.files if not (directory.path / name).exists()]
    if not missing:
        return
    path = directory.checkpoints / checkpoints.BEST
    if not path.exists():
        raise ConfigError(
            f"{', '.join(missing)} cannot be written: the finished run {directory.path} kept no checkpoint; force=true "
            "repeats it."
        )
    model = spec.build_model(shape, device)
    model.load_state(checkpoints.load(path, directory.path.name)[0])
    files = task.evidence(model).files
    directory.write_files({name: files[name] for name in missing})
    print(f"{', '.join(missing)} written from the run's checkpoint, {directory.path}", flush=True)


def _logger(spec: Spec, config: Mapping[str, Any], directory: RunDirectory, identity: str, label: str):
    if spec.run.logger.name == "none":
        return NoLogger()
    settings = asdict(spec.run.logger)
    return WandbLogger(
        project=settings["project"],
        entity=settings["entity"],
        mode=settings["mode"],
        tags=[spec.task.name, spec.model.name, f"scale-{spec.run.scale}", *settings["tags"]],
        folder=directory.path,
        group=spec.run.name,
        name=label,
        job_type="train",
        run=identity,
        config=config,
    )


def _sentence(label: str, summary: Mapping[str, Any], directory: RunDirectory) -> str:
    predicted = summary["predicted"].get("train_seconds", 0)
    where = f"in {summary['provenance']['wall_seconds']:.0f} s{f' (training predicted: {predicted:.0f} s)' if predicted > 10 else ''}, {directory.path}"
    if summary["status"] == "diverged":
        return f"{label}: diverged at step {summary['steps']} (its curve is kept), {where}"
    metrics = summary["metrics"]
    error = metrics.get("test/accuracy_standard_error", math.nan)
    return (
        f"{label}: test accuracy {metrics['test/accuracy']:.2f} %"
        + (f" ± {error:.2f}" if math.isfinite(error) else "")
        + f" at epoch {summary['best_epoch']}, {where}"
    )


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


@command(CONF, "train")
def main(config: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    try:
        if hydra_config.mode == RunMode.MULTIRUN:
            _job_of_sweep(plain(config), hydra_config)
        else:
            run(plain(config))
    except Interrupted as e:
        print(e, file=sys.stderr, flush=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
