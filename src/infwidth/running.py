"""A run as a whole: from its config to its summary, whatever happens in between."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infwidth import replaying
from infwidth.agreement import require_same_command, require_same_data, require_split
from infwidth.errors import CheckpointError, ConfigError, InfwidthError, OutputError
from infwidth.job import Job, keep_code, require_same_code, specified
from infwidth.job import on as job_on
from infwidth.models.contract import Model
from infwidth.ranks import ALONE, Ranks
from infwidth.runs import spec as specification
from infwidth.runs.compose import CONF, composed
from infwidth.tasks.contract import headline
from infwidth.training import checkpoints, provenance
from infwidth.training.connection import chosen_mode
from infwidth.training.files import plain
from infwidth.training.gathering import Shares
from infwidth.training.logging import NoLogger, WandbLogger, described, group
from infwidth.training.memory import during
from infwidth.training.provenance import Starts
from infwidth.training.resources import Predicted
from infwidth.training.stopping import Interrupted
from infwidth.training.trainer import Trainer

DECIDES_NUMBERS = False

DEMO_SECONDS = 20 * 60
"""scale=demo promises minutes: a run that would take longer is refused."""


@dataclass(frozen=True)
class Ready:
    """What a run begins with. wandb: W&B's mode, None for logger=none."""

    model: Model
    predicted: Predicted
    wandb: str | None


def run(
    config: Mapping[str, Any], announce: Callable[[Path], None] = lambda folder: None, ranks: Ranks = ALONE
) -> dict[str, Any]:
    """Carry out the run of a plain config, or skip it if it is finished; returns its summary.

    announce: told the run's folder before it starts. ranks: the processes that carry it out together, each of which
    calls this, and the first of which writes; the others return nothing. Raises InfwidthError for everything a user
    can mend, and Interrupted when asked to stop, with the state saved.
    """
    try:
        require_same_command(config, ranks)
        job = specified(config, ranks)
        require_same_data(job)
        require_split(job)
        announce(job.directory.path)
        # Before the run's folder exists: a config that is wrong leaves none.
        ready = None if _ended(job) else _made_ready(job)
        with job.directory.locked() if ranks.first else contextlib.nullcontext():
            if job.spec.run.force and ranks.first:
                job.directory.clear()
            if summary := _ended(job):
                return _skipped(job, summary)
            ready = ready or _made_ready(job)
            return _carried_out(job, ready) if ranks.first else _taken_part(job, ready)
    except KeyboardInterrupt:
        raise Interrupted("Interrupted. What was written is kept, the same command goes on from there.") from None


def _ended(job: Job) -> dict[str, Any] | None:
    """What :meth:`Job.ended` finds, of which all ranks are told."""
    return job.ranks.agreed(job.ended() if job.ranks.first else None)


def _made_ready(job: Job) -> Ready:
    """Refuse what does not fit or takes too long, and make the model."""
    spec = job.spec
    job.resources.require_memory()
    with during(f"{spec.label}: its preparation"):
        predicted = job.resources.predicted()
        if spec.run.scale == "demo" and job.ranks.first:
            _require_minutes(job, predicted)
        print(f"predicted: {predicted.sentence}", flush=True)
        if job.ranks.size > 1:
            print(_exchanged(job), flush=True)
        model = spec.build_model(job.resources.shape, job.resources.device)
    wandb = job.ranks.first and spec.run.logger.name == "wandb"
    return Ready(model, predicted, chosen_mode(spec.run.logger.mode) if wandb else None)


def _exchanged(job: Job) -> str:
    shape, sizes = job.resources.shape, job.task.typical()
    found = job.spec.model.exchanged(shape, sizes, job.spec.trainer.clip is not None)
    by = job.spec.model.splits(shape)
    return f"split over {shape.ranks.size} ranks by {by}: a step adds up {found.numbers} numbers in {found.calls} calls"


def _in_minutes(predicted: Predicted) -> bool:
    return predicted.train_seconds is None or predicted.train_seconds <= DEMO_SECONDS


def _require_minutes(job: Job, predicted: Predicted) -> None:
    """ConfigError, with what would do, for a run that takes longer than scale=demo promises."""
    if _in_minutes(predicted):
        return
    tasks = _tasks_in_minutes(job)
    use = f"use {' or '.join(tasks)} as it is set up for this model, or" if tasks else "use"
    raise ConfigError(
        f"{job.spec.label} would take about {predicted.train_seconds / 60:.0f} min at scale=demo, which promises at "
        f"most {DEMO_SECONDS // 60}; {use} a smaller trainer.epochs or model, or scale=cpu."
    )


def _tasks_in_minutes(job: Job) -> list[str]:
    """The choices of task of the same kind that a demo of the same model is short with, as they are in conf/."""
    found, others = [], [f"model={job.spec.model.name}", "scale=demo"]
    for name in sorted(path.stem for path in Path(CONF, "task").glob("*.yaml")):
        try:
            other = specification.specified(composed("train", [f"task={name}", *others]))
            if other.task.name == job.spec.task.name:
                if _in_minutes(job_on(other, job.data, job.resources.device, job.peak).resources.predicted()):
                    found.append(f"task={name}")
        except InfwidthError:
            continue  # a task that does not go with the model, or with data of one's own
    return found


def _skipped(job: Job, summary: dict[str, Any]) -> dict[str, Any]:
    """A run that has ended before."""
    if summary["status"] == "finished":
        _write_missing_files(job)
    status = f"already {summary['status']}, skipped ({job.directory.path}; force=true repeats it)"
    print(f"{job.spec.label}: {status}", flush=True)
    return summary


def _write_missing_files(job: Job) -> None:
    """Write what the task is now asked to keep of a finished run, such as its word vectors, from the run's
    checkpoint."""
    directory, ranks = job.directory, job.ranks
    missing = ranks.agreed([name for name in job.task.files if not (directory.path / name).exists()])
    if not missing:
        return
    path = directory.checkpoints / checkpoints.BEST
    if not ranks.agreed(path.exists()):
        raise ConfigError(
            f"{', '.join(missing)} cannot be written: the finished run {directory.path} kept no checkpoint; force=true "
            "repeats it."
        )
    with during(f"{job.spec.label}: writing {', '.join(missing)}"):
        model = job.spec.build_model(job.resources.shape, job.resources.device)
        try:
            tensors = checkpoints.load(path, directory.id).tensors if ranks.first else None
            model.load_state(Shares(model, tensors))
        except CheckpointError as e:
            raise CheckpointError(f"{', '.join(missing)} cannot be written: {e}; force=true repeats the run.") from e
        files = job.task.evidence(model).files
        if ranks.first:
            directory.write_files({name: files[name] for name in missing})
    print(f"{', '.join(missing)} written from the run's checkpoint, {directory.path}", flush=True)


def _carried_out(job: Job, ready: Ready) -> dict[str, Any]:
    """Train or fit, and write the summary however that ends."""
    spec, directory, length = job.spec, job.directory, job.length
    require_same_code(job)
    directory.create(spec.config)
    logger = _logger(job, ready.wandb)
    try:
        code = keep_code(spec.modules, job.results)
        starts = Starts(directory, job.peak, code, job.ranks.size)
    except OutputError:
        logger.finish({}, failed=True)  # a run that W&B is left with swallows the next one in this process
        raise
    state, listeners = job.resources.state_bytes, (starts, logger)
    trainer = Trainer(spec.trainer, job.task, ready.model, length, directory, spec.label, state, listeners)

    def end(status: str, **error: str) -> dict[str, Any]:
        summary = plain(
            {
                **_about(job, ready),
                "status": status,
                **error,
                "fingerprint": keep_code(spec.modules, job.results),
                **trainer.summary(),
                "provenance": starts.summary(trainer.at.step),
            }
        )
        directory.write_summary(summary)
        logger.finish(summary["metrics"], failed=status != "finished")
        return summary

    try:
        status = trainer.fit() if ready.model.closed_form else trainer.train()
    except (Interrupted, KeyboardInterrupt):
        end("interrupted")
        kept = (
            f"its state is in {directory.path}. Run the same command again to resume"
            if directory.resumable()
            else f"nothing is kept of it{'' if spec.trainer.checkpoint_every else ' with trainer.checkpoint_every=0'}"
        )
        raise Interrupted(f"{spec.label} was interrupted; {kept}.") from None
    except BaseException as e:
        end("failed", error=str(e) or type(e).__name__)
        raise
    summary = end(status)
    directory.forget_progress()
    if spec.run.scale != "demo" if spec.run.replay is None else spec.run.replay:
        summary = _with_replay(job, summary)
    print(_sentence(job, summary), flush=True)
    if trainer.stop.asked:  # during the last evaluation, when there was nothing left to save
        raise Interrupted(f"{spec.label} was at its end when it was asked to stop, and is {status}.")
    return summary


def _taken_part(job: Job, ready: Ready) -> dict[str, Any]:
    """What every rank but the first does of a run: all that is computed, and nothing that is kept."""
    Trainer(job.spec.trainer, job.task, ready.model, job.length, job.directory, job.spec.label).train()
    return {}


def _with_replay(job: Job, summary: dict[str, Any]) -> dict[str, Any]:
    """The summary with what it takes to replay the run; a run whose twin cannot be made is as good without."""
    try:
        summary = {**summary, "replay": replaying.record(job.alone())}
    except InfwidthError as e:
        print(f"{job.spec.label}: it cannot be replayed later, its shortened twin does not run ({e})", flush=True)
        return summary
    job.directory.write_summary(summary)
    return summary


def _about(job: Job, ready: Ready) -> dict[str, Any]:
    """What is known of a run before it begins."""
    spec, manifest = job.spec, job.data.manifest
    return {
        "id": job.directory.id,
        "name": spec.run.name,
        "row": spec.run.row,
        "seed": spec.run.seed,
        "scale": spec.run.scale,
        "predicted": ready.predicted.summary(),
        "parametrization": spec.abc.name,
        "data": {"name": manifest["name"], "label": manifest["label"], "checksum": job.data.checksum},
    }


def _logger(job: Job, mode: str | None) -> NoLogger | WandbLogger:
    if mode is None:
        return NoLogger()
    spec, settings = job.spec, job.spec.run.logger
    config = described(spec.config, getattr(spec.model, "width", None), spec.abc.name)
    return WandbLogger(
        mode=mode,
        required=settings.mode == "online",
        project=settings.project,
        entity=settings.entity,
        tags=[spec.task.name, spec.model.name, f"scale-{spec.run.scale}", *settings.tags],
        folder=job.directory.path,
        group=group(spec.run.name, spec.run.scale),
        name=spec.label,
        job_type="train",
        run=job.directory.id,
        config={**config, "provenance": {"commit": provenance.commit(), "data": dict(job.data.manifest)}},
    )


def _sentence(job: Job, summary: Mapping[str, Any]) -> str:
    predicted, made, label = summary["predicted"], summary["provenance"], job.spec.label
    seconds = predicted.get("train_seconds", 0)
    training = f" (training predicted: {seconds:.0f} s)" if seconds > 10 else ""
    memory = f"peak memory {made['run_memory_bytes'] / 1e9:.2f} GB (predicted {predicted['memory_bytes'] / 1e9:.2f})"
    where = f"in {made['wall_seconds']:.0f} s{training}, {memory}, {job.directory.path}"
    if summary["status"] == "diverged":
        return f"{label}: diverged at step {summary['steps']} (its curve is kept), {where}"
    tested = {k.removeprefix("test/"): v for k, v in summary["metrics"].items() if k.startswith("test/")}
    return f"{label}: test {_headline(tested)} at epoch {summary['best_epoch']}, {where}"


def _headline(tested: Mapping[str, float]) -> str:
    """The metric of a test that stands for all, as it is said on the screen."""
    name, error = headline(tested), tested.get("accuracy_standard_error")
    if name == "loss":
        return f"loss {tested['loss']:.4f}"
    return f"accuracy {tested['accuracy']:.2f} %" + ("" if error is None else f" ± {error:.2f}")
