"""What every task offers to the trainer.

    Task.inputs, outputs, bags      what a model for it must take: dimensions, and whether inputs are bags of indices
    Task.steps_per_epoch
    Task.units                      what a schedule may count besides steps and epochs: how much of each a step covers
    Task.selects                    whether 'validation' is apart from 'test', so that a state may be selected on it
    Task.examples                   how many there are to train on; likewise
    Task.batch, evaluated           how many of them a step takes, and an evaluation; 0 where that is not counted
    Task.at_once                    how many examples are evaluated together; likewise
    Task.episodes, evaluated_episodes   to how many episodes hidden layers adapt together, in a step and an evaluation
    Task.resident                   bytes of the data that are kept where training runs
    Task.takes(model, shape)        bytes that it takes besides the model, by what is being done
    Task.spared_by(phase)           the key that does without what is being done then, if there is one
    Task.check(learning_rate)       ConfigError for a rate that its batches do not bear
    Task.batches(epoch)             the epoch's batches in order; the same for the same seed, whatever ran before
    Task.step(model, batch)         (Update, metrics): the loss and how it is differentiated live here
    Task.evaluate(model, split)     an Evaluation on 'validation' or 'test'
    Task.conclude(model)            metrics of the test that are taken once, at the end
    Task.probe()                    the examples whose features a PCA shows, if there are any
    Task.evidence(model)            what else is kept of a trained model, for reports
    Task.files                      names of the files that the evidence has
    Task.held_out()                 inputs that are not trained on; None in its place where there are none at hand
    Task.training_set()             all inputs and labels, for a model with a closed form
    Task.typical()                  the sizes of a typical batch of bags, by which time is predicted
    Task.remedy(largest)            what to do where a model of no more than ``largest`` inputs would fit

Required are inputs, outputs, steps_per_epoch, batches, step and evaluate; everything else has a default: not here.

**What metrics there are.** Metrics are floats by name; a number that there is none of, such as the standard error of
one example, is left out. Those of :meth:`Task.step` and of :meth:`Task.evaluate` must have

    loss        lower is better; where it is not finite the model has diverged

and those of an evaluation may have

    accuracy    in per cent, higher is better: the headline of sentences, tables and figures; by it a state is selected
    accuracy_standard_error

A task without an accuracy, such as word vectors of a text without analogy questions, has its loss for a headline, and a
state is selected by the lowest one. All others are kept and listed under their own names. 'validation' and 'test' have
the same names, and so has every evaluation of a run.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from infwidth.errors import ConfigError
from infwidth.models.bags import Bags
from infwidth.models.contract import Model
from infwidth.models.cost import Footprint, Shape, Sizes
from infwidth.models.updates import Update


@dataclass(frozen=True)
class Probe:
    """Some examples to show.

    x: their inputs; labels (examples,): the class of each, as an index; names: of the classes; examples: their own
    names, if they have any.
    """

    x: Tensor | Bags
    labels: Tensor
    names: tuple[str, ...]
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """tables: lists of rows, kept in evidence.json; files: by name, functions that write them."""

    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    files: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """metrics: as the module says; arrays: what else was found, kept in evidence.npz if it is of the final test."""

    metrics: dict[str, float]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def headline(metrics: Mapping[str, float]) -> str:
    """The name of the metric that stands for all: 'accuracy', or 'loss' where there is none."""
    return "accuracy" if "accuracy" in metrics else "loss"


def better(metrics: Mapping[str, float], best: Mapping[str, float]) -> bool:
    """Whether a state of these metrics is to be selected in place of the best one so far; not if both are alike."""
    name = headline(metrics)
    if name not in best:
        return True
    return metrics[name] > best[name] if name == "accuracy" else metrics[name] < best[name]


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """What tensors take of the memory."""
    return sum(t.numel() * t.element_size() for t in tensors)


class Task(ABC):
    inputs: int
    outputs: int
    steps_per_epoch: int
    bags: bool = False
    selects: bool = True
    units: Mapping[str, float] = {}
    files: tuple[str, ...] = ()
    examples: int = 0
    batch: int = 0
    evaluated: int = 0
    at_once: int = 0
    episodes: int = 0
    evaluated_episodes: int = 0
    resident: int = 0
    held_out: Callable[[], Tensor] | None = None

    def training_set(self) -> tuple[Tensor, Tensor]:
        """Inputs (n, d) and labels (n,). ConfigError for a task that has no such set."""
        raise ConfigError(
            "this task has no fixed set of examples that a model in closed form could be fitted to; choose a model "
            "that is trained."
        )

    def check(self, learning_rate: float) -> None:
        """Raise ConfigError if batches of this size do not bear this learning rate."""

    @abstractmethod
    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch from step ``start`` on."""

    @abstractmethod
    def step(self, model: Model, batch: Any) -> tuple[Update, dict[str, Tensor]]:
        """The gradient of the training loss and 0-d metrics of the batch."""

    @abstractmethod
    def evaluate(self, model: Model, split: str) -> Evaluation:
        """On 'validation' or 'test'; asked for once of every state of a model."""

    def conclude(self, model: Model) -> dict[str, float]:
        """Metrics on the test that are taken once, of the model that was selected."""
        return {}

    def probe(self) -> Probe | None:
        """Examples of the test split for a picture of the features; None for no picture: then no features are kept."""
        return None

    def evidence(self, model: Model) -> Evidence:
        """What a report shows of a trained model beside its metrics."""
        return Evidence()

    def typical(self) -> Sizes | None:
        """The sizes of a typical batch of bags."""
        return None

    def takes(self, model: Footprint, shape: Shape) -> Mapping[str, int]:
        """Bytes besides the data and what the model takes in a run of this shape, by the phases of
        :mod:`infwidth.models.cost`."""
        return {}

    def spared_by(self, phase: str) -> str:
        """The key, with its value, that leaves a phase out; empty if there is none."""
        return ""

    def remedy(self, largest: int) -> str:
        """The beginning of a sentence that says how to get down to ``largest`` inputs; empty if there is no way."""
        return ""
