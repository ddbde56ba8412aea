"""What every task offers to the trainer.

    Task.inputs, outputs                   the dimensions a model for it must have
    Task.steps_per_epoch
    Task.batches(epoch)                    the epoch's batches in order; the same for the same seed, whatever ran before
    Task.step(model, batch)                (Update, metrics): the loss and how it is differentiated live here
    Task.evaluate(model, split)            metrics of 'validation' or 'test'; 'accuracy' is the headline, in per cent
    Task.probe()                           the examples whose features a PCA shows
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from infwidth.models.contract import Model, Update


@dataclass(frozen=True)
class Probe:
    """Inputs (examples, d), the class index of each (examples,) and the names of the classes."""

    x: Tensor
    labels: Tensor
    names: tuple[str, ...]


class Task(ABC):
    inputs: int
    outputs: int
    steps_per_epoch: int

    @abstractmethod
    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch from step ``start`` on."""

    @abstractmethod
    def step(self, model: Model, batch: Any) -> tuple[Update, dict[str, Tensor]]:
        """The gradient of the training loss and 0-d metrics of the batch."""

    @abstractmethod
    def evaluate(self, model: Model, split: str) -> dict[str, float]:
        """Metrics on 'validation' or 'test'."""

    @abstractmethod
    def probe(self) -> Probe:
        """Examples of the test split for a picture of the features."""
