"""One loop for every task and model: step, clip, apply, log, evaluate, checkpoint. It knows neither tasks nor models."""

import math
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from infwidth.config import key
from infwidth.errors import ConfigError
from infwidth.models.contract import Model
from infwidth.progress import bar
from infwidth.tasks.contract import Task
from infwidth.training import checkpoints
from infwidth.training.clipping import clipped
from infwidth.training.run_directory import RunDirectory
from infwidth.training.schedules import ScheduleConfig

WATCH_EVERY = 20
"""Steps between looks at the loss: often enough to stop a diverged run soon, rarely enough not to stall a GPU."""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """conf/trainer/default.yaml"""

    epochs: int = key(at_least=0, default=100)
    steps: int | None = key(at_least=1, default=None)
    stop_epoch: int | None = key(at_least=1, default=None)
    learning_rate: float = key(above=0, default=0.1)
    decay: float = key(at_least=0, default=0.0)
    schedule: ScheduleConfig = ScheduleConfig()
    clip: float | None = key(above=0, default=0.5)
    clip_by: Literal["global", "parameter"] = "global"
    clip_follows_schedule: bool = False
    selection: Literal["validation", "last", "paper"] = "validation"
    evaluate_every: int = key(at_least=1, default=1)
    checkpoint_every: int = key(at_least=0, default=5, decides=False)
    progress: bool = key(default=True, decides=False)
    device: str = key(default="auto", decides=False)
    dtype: Literal["float32", "float64"] = "float32"
    threads: int | None = key(at_least=1, default=None, decides=False)

    def idle(self) -> tuple[str, ...]:
        """Keys without effect at these values of the others."""
        found = () if self.clip is not None else ("clip_by", "clip_follows_schedule")
        return found


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


class Diverged(Exception):
    """The loss is no longer finite."""


class Trainer:
    """Trains ``model`` on ``task`` and leaves everything in ``directory``; resumes from what is there.

    run: the run's id; label: for the progress bar; logger: log(row) is called once an epoch.
    """

    def __init__(
        self, config: TrainerConfig, task: Task, model: Model, directory: RunDirectory, run: str, label: str, logger
    ):
        self.config, self.task, self.model, self.directory = config, task, model, directory
        self.run, self.label, self.logger = run, label, logger
        per_epoch, schedule = task.steps_per_epoch, config.schedule
        self.total_steps = min(config.epochs * per_epoch, config.steps or sys.maxsize)
        self.epochs = math.ceil(self.total_steps / per_epoch)
        self.last_step = min(self.total_steps, (config.stop_epoch or sys.maxsize) * per_epoch)
        known = {"epoch": 1 / per_epoch, "step": 1, **task.units}
        if schedule.unit not in known:
            raise ConfigError(
                f"trainer.schedule.unit is {schedule.unit!r}, which this task does not count; choose one of: {', '.join(known)}."
            )
        self.per_step = known[schedule.unit]
        schedule.check(self.epochs if schedule.unit == "epoch" else self.total_steps * self.per_step)
        if config.selection == "validation" and not task.selects:
            raise ConfigError(
                "trainer.selection=validation would select on the test: this task has no validation data of its own; use trainer.selection=last."
            )
        if model.closed_form and self.total_steps:
            raise ConfigError("a model in closed form is fitted at once and not trained; set trainer.epochs=0.")
        if model.closed_form:
            task.training_set()  # a task that has none says so before anything is written
        task.check(config.learning_rate)
        self.epoch = self.step = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []  # metrics of the steps of the current epoch
        self.best: dict[str, Any] = {}
        self.best_state: dict[str, Tensor] = {}
        self.fitted: dict[str, float] = {}
        self._stop = False

    def fit(self) -> dict[str, Any]:
        """Train to the end and return the summary: status 'finished' or 'diverged', metrics, best epoch, steps, seconds.

        Raises Interrupted after SIGINT or SIGTERM, with the state saved (unless checkpoint_every is 0); a second signal stops at once.
        """
        initial = self._features()
        if self.config.checkpoint_every:
            # The state and the best one so far: said now, not after hours of work.
            checkpoints.require_room(self.directory.checkpoints, 2 * checkpoints.size_of(self.model.state()))
        self._resume()
        started, earlier = time.perf_counter(), self.seconds
        handlers = self._listen()
        try:
            try:
                self._train(lambda: earlier + time.perf_counter() - started)
                status, metrics = "finished", self._conclude(initial)
            except Diverged:
                status, metrics = "diverged", {}
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return {
            "status": status,
            "metrics": {
                **metrics,
                **{f"fit/{k}": v for k, v in self.fitted.items()},
                **{f"validation/{k}": v for k, v in self.best.items() if k != "epoch"},
            },
            "best_epoch": self.best.get("epoch"),
            "steps": self.step,
            "train_seconds": self.seconds,
        }

    def _train(self, clock) -> None:
        per_epoch = self.task.steps_per_epoch
        quiet = not self.config.progress or not self.last_step
        with bar(total=self.last_step, initial=self.step, desc=self.label, unit="step", disable=quiet) as done:
            if self.last_step == 0 and not self.best:
                found = self.model.fit(*self.task.training_set()) if self.model.closed_form else {}
                self._log({**{f"fit/{k}": v for k, v in found.items()}, **self._evaluate()})
                self.fitted, self.seconds = found, clock()
            while self.step < self.last_step:
                pending: list[dict[str, Tensor]] = []
                for batch in self.task.batches(self.epoch, self.step - self.epoch * per_epoch):
                    pending.append(self._one_step(batch))
                    done.update()
                    if len(pending) == WATCH_EVERY:
                        self._watch(pending)
                    if self.step == self.last_step:
                        break
                    if self._stop:
                        self._watch(pending)
                        self.seconds = clock()
                        self._save()
                        raise Interrupted
                self._watch(pending)
                self._end_epoch(clock)
                done.set_postfix(
                    {k.removeprefix("validation/"): f"{v:.2f}" for k, v in self.best.items() if k == "accuracy"},
                    refresh=False,
                )

    def _one_step(self, batch) -> dict[str, Tensor]:
        config, factor = self.config, self._factor()
        update, metrics = self.task.step(self.model, batch)
        if config.clip is not None:  # without a threshold the norm is not worth its price
            update, metrics["gradient_norm"] = clipped(
                update, config.clip * (factor if config.clip_follows_schedule else 1), config.clip_by
            )
        self.model.apply_update(update, config.learning_rate * factor, config.decay)
        self.step += 1
        return metrics

    def _factor(self) -> float:
        if self.config.schedule.unit == "epoch":
            return self.config.schedule(self.epoch, self.epochs)
        return self.config.schedule(self.step * self.per_step, self.total_steps * self.per_step)

    def _watch(self, pending: list[dict[str, Tensor]]) -> None:
        """Move pending metrics to the epoch's history in one transfer; raise Diverged if a value is not finite."""
        if not pending:
            return
        names = list(pending[0])
        values = torch.stack([torch.stack([row[name] for name in names]) for row in pending]).tolist()
        pending.clear()
        self.history += [dict(zip(names, row, strict=True)) for row in values]
        if not all(math.isfinite(v) for row in values for v in row):
            self._log({f"train/{k}": self.history[-1][k] for k in names})
            raise Diverged

    def _end_epoch(self, clock) -> None:
        row = {f"train/{k}": math.fsum(h[k] for h in self.history) / len(self.history) for k in self.history[0]}
        row["learning_rate"] = self.config.learning_rate * self._factor()
        self.history = []
        self.epoch += 1
        if self.step == self.epoch * self.task.steps_per_epoch:
            row |= self.model.end_of_epoch(lambda: self.task.probe().x)
        last = self.step == self.last_step
        if last or self.epoch % self.config.evaluate_every == 0:
            row |= self._evaluate()
        self.seconds = clock()
        self._log({**row, "seconds": round(self.seconds, 3)})
        if last or self._stop or self.epoch % (self.config.checkpoint_every or 1) == 0:
            self._save()
        if self._stop and not last:
            raise Interrupted

    def _log(self, row: Mapping[str, Any]) -> None:
        row = {"epoch": self.epoch, "step": self.step, **row}
        self.directory.append_metrics(row)
        self.logger.log(row)

    def _evaluate(self) -> dict[str, float]:
        """Evaluate on validation, or with selection=paper on the test, and remember the best state."""
        found = self.task.evaluate(self.model, "test" if self.config.selection == "paper" else "validation")
        if not math.isfinite(found["loss"]):
            self._log({f"validation/{k}": v for k, v in found.items()})
            raise Diverged
        if self.config.selection == "last":
            self.best = {
                "epoch": self.epoch,
                **found,
            }  # the state to be tested is the one there is: no second copy of it
        elif not self.best or found["accuracy"] > self.best["accuracy"]:
            self.best = {"epoch": self.epoch, **found}
            self.best_state = self.model.snapshot()
        return {f"validation/{k}": v for k, v in found.items()}

    def _conclude(self, initial: np.ndarray) -> dict[str, float]:
        """Test the selected state once, keep it, its features of the probe and the task's evidence."""
        if self.best_state:
            self.model.restore(self.best_state)
        found = {
            f"test/{k}": v
            for k, v in {**self.task.evaluate(self.model, "test"), **self.task.conclude(self.model)}.items()
        }
        probe = self.task.probe()
        self.directory.write_features(
            initial=initial,
            trained=self._features(),
            labels=probe.labels.numpy(),
            names=np.array(probe.names),
            examples=np.array(probe.examples, dtype=str),
        )
        evidence = self.task.evidence(self.model)
        self.directory.write_evidence(evidence.arrays, evidence.tables, evidence.files)
        if self.config.checkpoint_every:
            checkpoints.save(
                self.directory.checkpoints / checkpoints.BEST,
                self.model.state(),
                self.best,
                self.run,
            )
        self._log(found)
        return found

    def _features(self) -> np.ndarray:
        return self.model.features(self.task.probe().x).cpu().numpy()

    def _save(self) -> None:
        if not self.config.checkpoint_every:
            return
        tensors = {f"model.{k}": v for k, v in self.model.state().items()}
        tensors |= {f"best.{k}": v for k, v in self.best_state.items()}
        info = {
            "epoch": self.epoch, "step": self.step, "seconds": self.seconds, "best": self.best, "history": self.history,
            "metrics_size": self.directory.metrics_size(),
        }  # fmt: skip
        checkpoints.rotate_and_save(self.directory.checkpoints, tensors, info, self.run)

    def _resume(self) -> None:
        found = checkpoints.latest(self.directory.checkpoints, self.run, warn=tqdm.write)
        if found is None:
            self.directory.truncate_metrics(0)
            return
        tensors, info = found
        device = next(iter(self.model.state().values())).device

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.model.load_state(part("model."))  # from the CPU: a large model has no room for a copy on its device
        self.best_state, self.best = {k: v.to(device) for k, v in part("best.").items()}, info["best"]
        self.epoch, self.step, self.seconds, self.history = (
            info["epoch"],
            info["step"],
            info["seconds"],
            info["history"],
        )
        self.directory.truncate_metrics(info["metrics_size"])

    def _listen(self) -> dict:
        """Let the first SIGINT or SIGTERM end the current step cleanly; returns the handlers to restore."""
        if threading.current_thread() is not threading.main_thread():
            return {}

        def handle(number, frame):
            if self._stop:
                raise KeyboardInterrupt
            self._stop = True
            tqdm.write("Stopping after this step; press Ctrl-C again to stop at once.", file=sys.stderr)

        return {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
