"""Training in one call: minibatches, a loss, clipping, a schedule; and how accurate a model is."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from infwidth.api.arrays import ArrayLike, Labels, labels, matrix, reference, targets
from infwidth.api.checks import one_of, positive, whole
from infwidth.api.optimizer import Rule, require_trainable
from infwidth.errors import ConfigError, InfwidthError
from infwidth.models.contract import Model
from infwidth.models.updates import Update
from infwidth.progress import bar
from infwidth.seeding import stream
from infwidth.training.memory import during
from infwidth.training.schedules import ScheduleConfig

Loss = Callable[[Tensor, Tensor], Tensor]
"""Outputs (n, k) and what they should be, labels (n,) or numbers (n, k), to a number: a mean over examples."""


def squared_error(outputs: Tensor, wanted: Tensor) -> Tensor:
    """The mean over examples of half the squared distance; labels stand for one-hot vectors minus 1/2."""
    return (outputs - targets(wanted, outputs.shape[1], outputs)).square().sum(1).mean() / 2


LOSSES: Mapping[str, Loss] = {"cross_entropy": nn.functional.cross_entropy, "squared_error": squared_error}

SCHEDULES = ("cosine", "linear", "constant")


def loss_of(given: str | Loss) -> Loss:
    """A loss by its name, or itself. ConfigError for a name that is none."""
    if callable(given):
        return given
    one_of("loss", given, LOSSES)
    return LOSSES[given]


@dataclass
class History:
    """What became of training, epoch by epoch; ``str`` is a line.

    loss: the mean over an epoch's minibatches; accuracy: in per cent likewise, of class labels; held_out: accuracy, or
    without labels the loss, on what was not trained on; notes: what a model said after an epoch of what it does to
    itself, such as how its rows were projected; seconds: in all.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    notes: list[Mapping[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    def last(self) -> dict[str, float]:
        """The last epoch's numbers, by name."""
        found = {"loss": self.loss, "accuracy": self.accuracy, "held_out": self.held_out}
        return {name: values[-1] for name, values in found.items() if values}

    def __str__(self) -> str:
        said = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in self.last().items())
        return f"{len(self.loss)} epochs in {self.seconds:.1f} s: {said}"


def fit(
    model: Model,
    x: ArrayLike,
    y: Labels,
    *,
    epochs: int = 5,
    batch: int = 32,
    learning_rate: float = 1.0,
    loss: Literal["cross_entropy", "squared_error"] | Loss = "cross_entropy",
    decay: float = 0.0,
    clip: float | None = 0.4,
    clip_by: Literal["global", "parameter"] = "parameter",
    schedule: Literal["cosine", "linear", "constant"] = "cosine",
    held_out: tuple[ArrayLike, Labels] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> History:
    """Train a limit or a finite network, in place, by SGD on shuffled minibatches.

    x (n, inputs); y: class labels (n,), or numbers (n, outputs) with loss='squared_error'. loss: a name, or a function
    of outputs and y of a minibatch. decay: parameters shrink by learning_rate * decay a step. clip: the largest norm of
    an update, of each parameter's or of all ('global'); None for any. schedule: of the learning rate, over all steps.
    held_out: (x, y) to be evaluated on after every epoch. seed: of the order. progress: a bar on standard error.

    Raises InfwidthError if training diverges, or if what is given does not fit.

    >>> import infwidth as iw, torch
    >>> x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] * x[:, 1] > 0).long()  # no linear function tells these apart
    >>> limit = iw.pi_limit(inputs=5, outputs=2, rank=50)
    >>> history = iw.fit(limit, x, y, epochs=20, progress=False)
    >>> history.accuracy[-1] > 90
    True
    """
    require_trainable(model)
    rule = Rule(decay, clip, clip_by)
    positive("learning_rate", learning_rate)
    whole("epochs", epochs, at_least=0)
    whole("batch", batch)
    one_of("schedule", schedule, SCHEDULES)
    examples, wanted = _examples(model, x, y, "")
    test = None if held_out is None else _examples(model, *held_out, "held_out ")
    compute, factor = loss_of(loss), ScheduleConfig(name=schedule, unit="step")
    steps = epochs * -(-len(examples) // batch)
    history, began, step = History(), time.perf_counter(), 0
    with bar(total=steps, desc="fit", unit="step", disable=not progress) as done, during("fit"):
        for epoch in range(epochs):
            losses, correct = 0.0, 0
            order = torch.randperm(len(examples), generator=stream(seed, "fit", epoch)).to(examples.device)
            for index in order.split(batch):
                outputs, value, update = update_of(model, examples[index], wanted[index], compute)
                rule.apply(model, update, learning_rate * factor(step, steps))
                losses += value * len(index)
                correct += 0 if wanted.dim() == 2 else int((outputs.argmax(1) == wanted[index]).sum())
                step += 1
                done.update()
            _require_finite(losses, epoch, learning_rate, clip)
            history.loss.append(losses / len(examples))
            if wanted.dim() == 1:
                history.accuracy.append(100 * correct / len(examples))
            history.notes.append(model.end_of_epoch(None if test is None else lambda: test[0]))
            if test is not None:
                history.held_out.append(_evaluated(model, *test, compute))
            done.set_postfix({k: f"{v:.4g}" for k, v in history.last().items()}, refresh=False)
    history.seconds = time.perf_counter() - began
    return history


def accuracy(model: nn.Module, x: ArrayLike, y: Labels) -> float:
    """The share of examples x (n, inputs), in per cent, whose largest output is that of their label y (n,).

    >>> import infwidth as iw, torch
    >>> x, y = torch.eye(3).repeat(5, 1), torch.arange(15) % 3
    >>> iw.accuracy(iw.kernel_regression("nngp", x, y), x, y)
    100.0
    """
    examples, wanted = _examples(model, x, y, "")
    if wanted.dim() == 2:
        raise ConfigError("an accuracy is of class labels, and y has numbers; give labels, whole numbers from 0.")
    with torch.no_grad():
        return 100 * (model(examples).argmax(1) == wanted).double().mean().item()


def _examples(model: nn.Module, x: ArrayLike, y: Labels, where: str) -> tuple[Tensor, Tensor]:
    """Inputs and labels or numbers that fit the model. InfwidthError if they do not."""
    like = reference(model)
    examples = matrix(x, f"{where}x", like)
    with torch.no_grad():
        try:
            classes = model(examples[:1]).shape[-1]
        except RuntimeError as e:
            raise ConfigError(
                f"{where}x has {examples.shape[1]} numbers for each example, which the model does not take ({e}); give "
                "as many as it has inputs."
            ) from e
    return examples, labels(y, f"{where}y", len(examples), classes, like)


def update_of(model: Model, x: Tensor, y: Tensor, compute: Loss) -> tuple[Tensor, float, Update]:
    """Outputs of a minibatch, the loss, and the update that lessens it."""
    outputs, pullback = model.linearized(x)
    leaf = outputs.detach().requires_grad_()
    with torch.enable_grad():
        value = compute(leaf, y)
    if value.dim():
        raise ConfigError(f"the loss has the shape {tuple(value.shape)}; it must be one number, a mean over examples.")
    (cotangent,) = torch.autograd.grad(value, leaf)
    return outputs, value.item(), pullback(cotangent)


def _evaluated(model: Model, x: Tensor, y: Tensor, compute: Loss) -> float:
    with torch.no_grad():
        outputs = model(x)
        return (100 * (outputs.argmax(1) == y).double().mean() if y.dim() == 1 else compute(outputs, y)).item()


def _require_finite(losses: float, epoch: int, learning_rate: float, clip: float | None) -> None:
    if not math.isfinite(losses):
        or_clip = "" if clip is not None else ", or clip its updates (clip=0.4)"
        raise InfwidthError(
            f"training has diverged, the loss of epoch {epoch + 1} is {losses}; lower "
            f"learning_rate={learning_rate:g}{or_clip}, or scale the inputs down."
        )
