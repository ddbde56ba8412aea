"""One run: `python -m infwidth.train task=maml_omniglot model=mu_limit`. Every key is documented in conf/."""

import math
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from infwidth.command import CONF, plain, sentences
from infwidth.config import key, load
from infwidth.data.catalog import obtain
from infwidth.data.prepared import Prepared
from infwidth.errors import ConfigError
from infwidth.models import (
    AUTO,
    MODELS,
    Shape,
    build_model,
    largest_fitting,
    predicted_bytes,
    predicted_work,
    resolved_parametrization,
)
from infwidth.reporting.records import ENDED
from infwidth.seeding import stream
from infwidth.sweeps import Note, threads_of_job
from infwidth.tasks import TASKS, build_task, not_deciding
from infwidth.tasks.contract import Task
from infwidth.training import checkpoints, prediction, provenance
from infwidth.training.logging import NoLogger, WandbLogger
from infwidth.training.run_directory import RunDirectory, run_id
from infwidth.training.trainer import Interrupted, Trainer, TrainerConfig

ALL_THREADS = torch.get_num_threads()
"""What trainer.threads=null means, also after a run in the same process that asked for fewer."""

FOR_PARAMETERS = 0.9
"""Share of the free memory that a model's parameters may take."""


@dataclass(frozen=True, kw_only=True)
class LoggerConfig:
    """conf/logger"""

    name: Literal["wandb", "none"]
    project: str = "infwidth"
    entity: str | None = None
    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PathsConfig:
    """conf/train.yaml: paths"""

    results: str


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """conf/train.yaml"""

    name: str
    row: str | None
    seed: int = key(at_least=0)
    scale: Literal["demo", "cpu", "paper"] = "cpu"
    force: bool = False
    task: dict[str, Any]
    data: dict[str, Any]
    model: dict[str, Any]
    parametrization: dict[str, Any]
    trainer: TrainerConfig
    candidates: dict[str, Any]
    logger: LoggerConfig
    paths: PathsConfig


def run(config: Mapping[str, Any], announce: Callable[[Path], None] = lambda folder: None) -> dict[str, Any]:
    """Carry out the run of a plain config, or skip it if it is finished; returns its summary. announce: told the run's folder before it starts.

    Raises InfwidthError for everything a user can mend, and Interrupted when asked to stop, with the state saved.
    """
    _require_known(config)
    chosen = load(RunConfig, config, "")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", chosen.name):
        raise ConfigError(
            f"name is {chosen.name!r}; it becomes a folder, so use letters, digits, '_', '-' and '.' only."
        )
    device = _device(chosen.trainer)
    dtype = getattr(torch, chosen.trainer.dtype)
    data = obtain(chosen.data)
    task = build_task(chosen.task, data, chosen.seed, device, dtype)
    shape = _shape(chosen.trainer, task)
    identity = run_id(_deciding(config, data.checksum))
    directory = RunDirectory(Path(chosen.paths.results) / "runs" / chosen.name / identity)
    announce(directory.path)
    label = f"{chosen.row or _label(chosen)} seed {chosen.seed}"
    trainer = None
    if (
        chosen.force or directory.summary().get("status") not in ENDED
    ):  # before the run's folder exists: a wrong config leaves none
        _require_memory(chosen, task, shape, device, dtype)
        model = build_model(chosen.model, chosen.parametrization, shape, stream(chosen.seed, "model"), dtype).to(device)
        trainer = Trainer(chosen.trainer, task, model, directory, identity, label, NoLogger())
    with directory.locked():
        if chosen.force:
            directory.clear()
        summary = directory.summary()
        if summary.get("status") in ENDED:
            scales = summary.get("scales", [summary["scale"]])
            if chosen.scale not in scales:  # two scales may ask for the very same run: it belongs to the tables of both
                summary["scales"] = [*scales, chosen.scale]
                directory.write_summary(summary)
            _write_missing_files(chosen, task, shape, directory, device, dtype)
            print(
                f"{label}: already {summary['status']}, skipped ({directory.path}; force=true repeats it)", flush=True
            )
            return summary
        predicted = _predicted(chosen, task, shape, device, dtype)
        directory.create(config)
        return _carried_out(chosen, config, data, trainer, device, predicted)


def _require_known(config: Mapping[str, Any]) -> None:
    """ConfigError for a task or model that is not registered, and for a parametrization that a model of its own cannot take."""
    for part, known, where in (
        ("task", TASKS, "TASKS of tasks/__init__.py"),
        ("model", MODELS, "MODELS of models/__init__.py"),
        ("model", AUTO, "AUTO of models/__init__.py"),
    ):
        if config[part].get("name") not in known:
            raise ConfigError(
                f"{part}.name is {config[part].get('name')!r}; choose one of: {', '.join(known)} (a new one is entered in {where})."
            )
    model, asked = config["model"]["name"], config["parametrization"].get("name")
    if getattr(MODELS[model], "own_parametrization", False) and asked not in ("auto", AUTO[model]):
        raise ConfigError(
            f"model={model} is what it is in one parametrization only, not in parametrization={asked}; use parametrization=auto, or model=finite for a choice."
        )


def _carried_out(
    chosen: RunConfig,
    config: Mapping[str, Any],
    data: Prepared,
    trainer: Trainer,
    device: torch.device,
    predicted: Mapping[str, float],
) -> dict[str, Any]:
    """Train, and write the summary however it ends."""
    directory, identity, label = trainer.directory, trainer.run, trainer.label
    provenance.reset_peak_memory(device)
    started, outcome = time.time(), {"status": "failed"}
    try:
        recorded = {**config, "provenance": {"commit": provenance.commit(), "data": dict(data.manifest)}}
        trainer.logger = _logger(chosen, recorded, directory, identity, label)
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
            if chosen.trainer.checkpoint_every
            else "with trainer.checkpoint_every=0 nothing is kept"
        )
        raise Interrupted(f"{label} was interrupted; {kept}.") from None
    finally:
        # Joblib reuses its workers, so a W&B run left open would swallow the next one's metrics.
        trainer.logger.finish(outcome.get("metrics", {}), failed=outcome["status"] != "finished")
        summary = {
            "id": identity, "name": chosen.name, "row": chosen.row, "seed": chosen.seed, "scale": chosen.scale, **outcome, "predicted": predicted,
            "parametrization": resolved_parametrization(chosen.model, chosen.parametrization),
            "data": {"name": data.manifest["name"], "label": data.manifest["label"], "checksum": data.checksum},
            "provenance": provenance.of_run(device, time.time() - started),
        }  # fmt: skip
        directory.write_summary(summary)
    directory.forget_progress()
    print(_sentence(label, summary, directory), flush=True)
    if trainer._stop:  # asked for during the last evaluation, when there was nothing left to save
        raise Interrupted(f"{label} was at its end when it was asked to stop, and is {summary['status']}.")
    return summary


def _write_missing_files(
    chosen: RunConfig, task: Task, shape: Shape, directory: RunDirectory, device: torch.device, dtype: torch.dtype
) -> None:
    """Write what the task is now asked to keep of a finished run, such as its word vectors, from the run's checkpoint."""
    missing = [name for name in task.files if not (directory.path / name).exists()]
    if not missing:
        return
    path = directory.checkpoints / checkpoints.BEST
    if not path.exists():
        raise ConfigError(
            f"{', '.join(missing)} cannot be written: the finished run {directory.path} kept no checkpoint; force=true repeats it."
        )
    model = build_model(chosen.model, chosen.parametrization, shape, stream(chosen.seed, "model"), dtype).to(device)
    model.load_state(checkpoints.load(path, directory.path.name)[0])
    files = task.evidence(model).files
    directory.write_files({name: files[name] for name in missing})
    print(f"{', '.join(missing)} written from the run's checkpoint, {directory.path}", flush=True)


def _shape(trainer: TrainerConfig, task: Task) -> Shape:
    """What the run asks of its model."""
    steps = min(
        trainer.epochs * task.steps_per_epoch,
        trainer.steps or sys.maxsize,
        (trainer.stop_epoch or sys.maxsize) * task.steps_per_epoch,
    )
    evaluations = steps // (task.steps_per_epoch * trainer.evaluate_every) + 1
    return Shape(task.inputs, task.outputs, task.bags, task.examples, task.batch, steps, task.evaluated * evaluations)


def _require_memory(chosen: RunConfig, task: Task, shape: Shape, device: torch.device, dtype: torch.dtype) -> None:
    """ConfigError, before anything is allocated, if what the model comes to hold does not fit."""
    needed, free = predicted_bytes(chosen.model, shape, dtype), prediction.free_memory(device)
    if free is None or needed <= free * FOR_PARAMETERS:
        return
    name, largest = largest_fitting(chosen.model, shape, int(free * FOR_PARAMETERS), dtype)
    remedies = {
        "inputs": task.remedy(largest) or "choose a smaller model, or",
        "examples": f"the largest number of training images that fits is {largest}: set task.images=subset task.subset={largest}, or",
        "steps": f"the largest number of epochs that fits is {largest // task.steps_per_epoch}: set trainer.epochs={largest // task.steps_per_epoch}, or model.storage=bfloat16, or",
    }
    raise ConfigError(
        f"model={chosen.model['name']} with {shape.inputs} inputs and {shape.outputs} outputs needs {needed / 1e9:.1f} GB for its parameters, and {device} has "
        f"{free / 1e9:.1f} GB free, of which batches and evaluation need a tenth; {remedies[name]} take a device with more memory (trainer.device)."
    )


def _predicted(
    chosen: RunConfig, task: Task, shape: Shape, device: torch.device, dtype: torch.dtype
) -> dict[str, float]:
    """Memory and time of the run, printed; empty for a run of which they are not predicted."""
    sizes = task.typical()
    work = predicted_work(chosen.model, shape, sizes, dtype) if sizes is not None or shape.examples else None
    if work is None or not work.flops:
        return {}
    rates = prediction.measured(work, device, dtype)
    seconds, size = rates.seconds(work), predicted_bytes(chosen.model, shape, dtype)
    print(
        f"predicted: {size / 1e9:.2f} GB of parameters, about {seconds / 60:.1f} min"
        + (f" of training for {shape.steps} steps" if shape.steps else " in closed form")
        + f" ({rates.flops / 1e9:.0f} GFLOP/s and {rates.bytes / 1e9:.0f} GB/s measured on {device})",
        flush=True,
    )
    return {"parameter_bytes": size, "train_seconds": round(seconds, 1)}


def _device(trainer: TrainerConfig) -> torch.device:
    torch.set_num_threads(trainer.threads or ALL_THREADS)
    name = trainer.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise ConfigError(
            f"trainer.device={name} cannot be used ({str(e).splitlines()[0]}); use auto, cpu, or cuda where there is a GPU."
        ) from e
    return device


def _deciding(config: Mapping[str, Any], data_checksum: str) -> dict[str, Any]:
    """What decides the numbers: not paths, not the logger, not the device, not under which name or scale it was asked for."""
    groups = {part: config[part] for part in ("task", "model", "parametrization", "trainer")}
    left_out = {"trainer": TrainerConfig.NOT_DECIDING, "task": not_deciding(config["task"])}
    # A null is as good as an absent key, so that a new optional key leaves the ids of old runs as they are.
    parts = {
        part: {k: v for k, v in g.items() if v is not None and k not in left_out.get(part, ())}
        for part, g in groups.items()
    }
    return {**parts, "seed": config["seed"], "data": data_checksum}


def _label(chosen: RunConfig) -> str:
    width = f" width {chosen.model['width']}" if "width" in chosen.model else ""
    return f"{chosen.task['name']} {chosen.model['name']}{width} {chosen.parametrization['name']}"


def _logger(chosen: RunConfig, config: Mapping[str, Any], directory: RunDirectory, identity: str, label: str):
    if chosen.logger.name == "none":
        return NoLogger()
    settings = asdict(chosen.logger)
    return WandbLogger(
        project=settings["project"], entity=settings["entity"], mode=settings["mode"],
        tags=[chosen.task["name"], chosen.model["name"], f"scale-{chosen.scale}", *settings["tags"]],
        folder=directory.path, group=chosen.name, name=label, job_type="train", run=identity, config=config,
    )  # fmt: skip


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


NOT_A_VARIATION = {
    "experiment",
    "sweep",
    "scale",
    "seed",
    "force",
    "name",
    "row",
    "logger",
    "paths",
    *(f"trainer.{k}" for k in TrainerConfig.NOT_DECIDING),
    "data.root",
    "data.mirror",
}
"""Overrides under which a published row is still that row."""


def _named_apart(config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A published row with other hyperparameters is a run of your own: it must not stand in the row's table."""
    _require_known(config)
    keys = [o.split("=", 1)[0].lstrip("+~") for o in overrides]
    same = NOT_A_VARIATION | {f"task.{k}" for k in not_deciding(config["task"])}
    varied = [k for k in keys if k not in same and k.split(".")[0] not in ("logger", "paths")]
    if config["row"] is None or not varied or "name" in keys:
        return config
    name = f"{config['name']}_varied"
    print(
        f"{config['name']}/{config['row']} with another {', '.join(varied)} is not the published row; the run is named {name}.",
        flush=True,
    )
    return {**config, "name": name, "row": None}


def _job_of_sweep(config: dict[str, Any], hydra_config: Any) -> None:
    """A run that is one of many: it notes where it is or why it failed, and shares the cores with those beside it."""
    overrides = list(hydra_config.overrides.task)
    note = Note(Path(hydra_config.sweep.dir), hydra_config.job.num, overrides)
    try:
        if config["trainer"]["threads"] is None:
            config = {**config, "trainer": {**config["trainer"], "threads": threads_of_job(hydra_config.launcher)}}
        note.write()
        run(_named_apart(config, overrides), lambda folder: note.write(run=str(folder), started=time.time()))
    except Interrupted:
        raise
    except Exception as e:
        note.write(error=str(e) or type(e).__name__)
        raise


@hydra.main(config_path=CONF, config_name="train", version_base="1.3")
@sentences
def main(config: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    try:
        if hydra_config.mode == RunMode.MULTIRUN:
            _job_of_sweep(plain(config), hydra_config)
        else:
            run(_named_apart(plain(config), hydra_config.overrides.task))
    except Interrupted as e:
        print(e, file=sys.stderr, flush=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
