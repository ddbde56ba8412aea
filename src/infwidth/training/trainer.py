"""One loop for every task and model: step, clip, apply, log, evaluate, checkpoint. It knows neither tasks nor models.

:meth:`Trainer.train` trains; :meth:`Trainer.fit` fits a model in closed form, at once. A state is evaluated once on a
split. What a run has is written before it concludes: the selected state and its features, then the task's evidence.

Where a model is split over ranks, each of them has a trainer that does the same. The first one writes, logs and draws,
and its evaluations count; whether to stop they agree on where they look at the loss.
"""

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from infwidth.models.contract import Model
from infwidth.progress import Bars, bar
from infwidth.tasks.contract import Evaluation, Task, better, headline
from infwidth.training import checkpoints, resuming
from infwidth.training.clipping import clipped
from infwidth.training.config import Length, TrainerConfig, rate_factor
from infwidth.training.gathering import like_whole, wholes
from infwidth.training.memory import during
from infwidth.training.position import Position
from infwidth.training.run_directory import RunDirectory
from infwidth.training.stopping import Interrupted, Stop

WATCH_EVERY = 20
"""Steps between looks at the loss: often enough to stop a diverged run soon, rarely enough not to stall a GPU, or
ranks that ask each other whether to stop."""


class Diverged(Exception):
    """A number is no longer finite."""


class Listener(Protocol):
    def log(self, row: Mapping[str, Any]) -> None:
        """Told every row of metrics.jsonl."""


class Trainer:
    """Trains ``model`` on ``task`` and leaves everything in ``directory``; resumes from what is there.

    length: of the run, from :func:`infwidth.training.config.checked`. label: what the run is called on the screen.
    grown: bytes that the model's state comes to, where it grows. listeners: are told what is logged.
    """

    def __init__(
        self,
        config: TrainerConfig,
        task: Task,
        model: Model,
        length: Length,
        directory: RunDirectory,
        label: str,
        grown: int = 0,
        listeners: Iterable[Listener] = (),
    ):
        self.config, self.task, self.model, self.length = config, task, model, length
        self.directory, self.label, self.grown, self.listeners = directory, label, grown, list(listeners)
        self.ranks = model.ranks
        self.at, self.stop = Position(), Stop(self.ranks.size > 1)
        self.agreed_to_stop = False
        self.began, self.cpu_began = 0.0, 0.0
        self.best_state: dict[str, Tensor] = {}  # a snapshot of the selected state, where that is not the present one
        self.best_evaluations: dict[str, Evaluation] = {}
        self.evaluations: dict[str, Evaluation] = {}  # of the present state, by split
        self.fitted: dict[str, float] = {}
        self.tested: dict[str, float] = {}

    def train(self) -> str:
        """Train to the end; the status: 'finished' or 'diverged'.

        Raises Interrupted after SIGINT or SIGTERM, with the state saved (unless checkpoint_every is 0); a second signal
        stops at once. Raises ConfigError if memory runs out, CheckpointError or OutputError if something cannot be
        written.
        """
        with self.stop:
            try:
                initial = self._features()
                self._require_room()
                self._resume()
                with self._bar() as done:
                    if not self.length.last and not self.at.best:
                        self._log(self._evaluate())
                        self._note_time()
                    while self.at.step < self.length.last:
                        self._epoch(done)
                        self._end_epoch()
                        done.set_postfix(self._best_headline(), refresh=False)
                return self._conclude(initial)
            except Diverged:
                return "diverged"

    def fit(self) -> str:
        """Fit a model in closed form, once, and evaluate it once on each split; the status, as for :meth:`train`.

        A fit is not saved in the middle: a signal stops it at once.
        """
        try:
            initial = self._features()
            self._require_room()
            self.directory.truncate_metrics(0)
            self._start_clocks()
            with self._doing("the fit"):
                watch = Bars(quiet=not self.config.progress)
                self.fitted = self.model.fit(*self.task.training_set(), watch)
            self._log({**{f"fit/{k}": v for k, v in self.fitted.items()}, **self._evaluate()})
            self._note_time()
            return self._conclude(initial)
        except Diverged:
            return "diverged"

    def summary(self) -> dict[str, Any]:
        """What there is to say of the run so far, whatever became of it."""
        metrics = {f"test/{k}": v for k, v in self.tested.items()}
        metrics |= {f"fit/{k}": v for k, v in self.fitted.items()}
        metrics |= {f"validation/{k}": v for k, v in self.at.best.items() if k != "epoch"}
        return {
            "metrics": metrics,
            "best_epoch": self.at.best.get("epoch"),
            "steps": self.at.step,
            "train_seconds": self.at.seconds,
            "train_cpu_seconds": self.at.cpu_seconds,
        }

    def step(self, batch: Any) -> dict[str, Tensor]:
        """One step of SGD; the batch's metrics."""
        config, factor = self.config, self._factor()
        update, metrics = self.task.step(self.model, batch)
        if config.clip is not None:  # without a threshold the norm is not worth its price
            threshold = config.clip * (factor if config.clip_follows_schedule else 1)
            update, metrics["gradient_norm"] = clipped(update, threshold, config.clip_by)
        self.model.apply_update(update, config.learning_rate * factor, config.decay)
        self.at.step += 1
        self.evaluations = {}
        return metrics

    def _factor(self) -> float:
        return rate_factor(self.config, self.task, self.length, self.at.epoch, self.at.step)

    def _epoch(self, done: tqdm) -> None:
        """The steps of the present epoch that are left."""
        watched: list[dict[str, Tensor]] = []
        begun = self.at.step - self.at.epoch * self.length.per_epoch
        with self._doing("training"):
            for batch in self.task.batches(self.at.epoch, begun):
                before = time.process_time()
                watched.append(self.step(batch))
                self.at.step_cpu_seconds += time.process_time() - before
                done.update()
                if len(watched) == WATCH_EVERY:
                    self._watch(watched)
                if self.at.step == self.length.last:
                    break
                if self.stops:
                    self._watch(watched)
                    self._save()
                    raise Interrupted
        self._watch(watched)

    @property
    def stops(self) -> bool:
        """Whether the run ends here because somebody wants it to: at once, or where the ranks have agreed on it."""
        return self.stop.asked if self.ranks.size == 1 else self.agreed_to_stop

    def _watch(self, watched: list[dict[str, Tensor]]) -> None:
        """Move the metrics of some steps to the epoch's history in one transfer; Diverged if one is not finite."""
        if not watched:
            return
        names = list(watched[0])
        values = torch.stack([torch.stack([row[name] for name in names]) for row in watched]).tolist()
        watched.clear()
        self.at.history += [dict(zip(names, row, strict=True)) for row in values]
        finite = all(math.isfinite(v) for row in values for v in row)
        diverged, self.agreed_to_stop = self.ranks.any(not finite, self.stop.asked)
        if diverged:
            self._log({f"train/{k}": self.at.history[-1][k] for k in names})
            raise Diverged

    def _end_epoch(self) -> None:
        history, at = self.at.history, self.at
        row = {f"train/{k}": math.fsum(h[k] for h in history) / len(history) for k in history[0]}
        row["learning_rate"] = self.config.learning_rate * self._factor()
        at.history, at.epoch = [], at.epoch + 1
        last = at.step == self.length.last
        if at.step == at.epoch * self.length.per_epoch:  # not where training ends inside an epoch
            with self._doing("the end of an epoch"):
                row |= {f"model/{k}": v for k, v in self.model.end_of_epoch(self.task.held_out).items()}
        if last or at.epoch % self.config.evaluate_every == 0:
            row |= self._evaluate()
        self._note_time()
        clocks = ("seconds", "cpu_seconds", "step_cpu_seconds")
        self._log({**row, **{name: round(getattr(at, name), 3) for name in clocks}})
        if last or self.stops or at.epoch % (self.config.checkpoint_every or 1) == 0:
            self._save()
        if self.stops and not last:
            raise Interrupted

    def _evaluation(self, split: str) -> Evaluation:
        """Of the present state; where nothing is set apart for selection, the validation is the test."""
        split = split if self.task.selects else "test"
        if split not in self.evaluations:
            with self._doing(f"the evaluation on the {split} data"):
                found = self.task.evaluate(self.model, split)
                self.evaluations[split] = replace(found, metrics=self.ranks.agreed(found.metrics))
        return self.evaluations[split]

    def _evaluate(self) -> dict[str, float]:
        """Evaluate the present state as the config says, and select it if it is the best so far."""
        evaluation = self._evaluation(self.config.selects_on)
        found = evaluation.metrics
        if self.config.keep_evaluations and self.ranks.first:
            self.directory.write_evaluation(self.at.epoch, evaluation.arrays)
        row = {f"validation/{k}": v for k, v in found.items()}
        if not math.isfinite(found["loss"]):
            self._log(row)
            raise Diverged
        best = self.at.best
        if self.config.selection == "last" or better(found, best):
            self.at.best = {"epoch": self.at.epoch, **found}
            self.best_evaluations = self.evaluations
            self.best_state = {}
            if self.config.selection != "last" and self.at.step < self.length.last:  # else it stays the present one
                with self._doing("a copy of the best state"):
                    self.best_state = self.model.snapshot()
        return row

    def _best_headline(self) -> dict[str, str]:
        best = self.at.best
        return {headline(best): f"{best[headline(best)]:.2f}"} if best else {}

    def _conclude(self, initial: np.ndarray | None) -> str:
        """Keep the selected state and its features, test it, and keep the task's evidence and what it concludes."""
        if self.best_state:
            with self._doing("the return to the best state"):
                self.model.restore(self.best_state)
            self.best_state, self.evaluations = {}, self.best_evaluations
        if self.config.checkpoint_every:
            self._save_best()
        self._keep_features(initial)
        test = self._evaluation("test")
        self.tested = dict(test.metrics)
        try:
            with self._doing("the conclusion"):
                evidence = self.task.evidence(self.model)
                if self.ranks.first:
                    self.directory.write_evidence(test.arrays, evidence.tables, evidence.files)
                self.tested |= self.ranks.agreed(self.task.conclude(self.model))
        finally:
            self._log({f"test/{k}": v for k, v in self.tested.items()})
        # A network that validates at one step of adaptation may still blow up at twenty.
        return "finished" if math.isfinite(self.tested["loss"]) else "diverged"

    def _features(self) -> np.ndarray | None:
        """Those of the task's probe; None for a task that has nothing to show."""
        with self._doing("the features of the probe"):
            probe = self.task.probe()
            return None if probe is None else self.model.features(probe.x).cpu().numpy()

    def _save_best(self) -> None:
        folder = self.directory.checkpoints
        with wholes(self.model, {"": self.model.state()}, folder) as tensors:
            if self.ranks.first:
                checkpoints.save(folder / checkpoints.BEST, tensors, self.at.best, self.directory.id)

    def _keep_features(self, initial: np.ndarray | None) -> None:
        probe, trained = self.task.probe(), self._features()
        if probe is None or not self.ranks.first:
            return
        self.directory.write_features(
            initial=initial,
            trained=trained,
            labels=probe.labels.cpu().numpy(),
            names=np.array(probe.names),
            examples=np.array(probe.examples, dtype=str),
        )

    def _log(self, row: Mapping[str, Any]) -> None:
        if not self.ranks.first:
            return
        row = {"epoch": self.at.epoch, "step": self.at.step, **row}
        self.directory.append_metrics(row)
        for listener in self.listeners:
            listener.log(row)

    def _require_room(self) -> None:
        """CheckpointError without room for the state and the best one so far: said now, not after hours of work."""
        if self.config.checkpoint_every:
            size = max(checkpoints.size_of(like_whole(self.model, self.model.state())), self.grown)
            if self.ranks.first:
                # One more for what ranks gather.
                checkpoints.require_room(self.directory.checkpoints, (2 if self.ranks.size == 1 else 3) * size)

    def _save(self) -> None:
        self._note_time()
        if self.config.checkpoint_every:
            with self._doing("a checkpoint"):
                resuming.save(self.directory, self.model, self.best_state, self.at)

    def _resume(self) -> None:
        with self._doing("the resumption"):
            found = resuming.resume(self.directory, self.model, self.length, tqdm.write)
        if found is not None:
            self.at, self.best_state, self.evaluations = found.position, found.best, {}
        self._start_clocks()

    def _start_clocks(self) -> None:
        """They go on from what earlier starts have taken."""
        self.began = time.perf_counter() - self.at.seconds
        self.cpu_began = time.process_time() - self.at.cpu_seconds

    def _note_time(self) -> None:
        self.at.seconds = time.perf_counter() - self.began
        self.at.cpu_seconds = time.process_time() - self.cpu_began

    def _bar(self) -> tqdm:
        quiet = not self.config.progress or not self.length.last or not self.ranks.first
        return bar(total=self.length.last, initial=self.at.step, desc=self.label, unit="step", disable=quiet)

    @contextlib.contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """ConfigError if what is done runs out of memory, Diverged if a factor leaves the floating-point numbers."""
        try:
            with during(f"{self.label}: {what}"):
                yield
        except (RuntimeError, OverflowError) as e:
            if isinstance(e, RuntimeError) and "without overflow" not in str(e):
                raise
            self._log({})
            raise Diverged from e
