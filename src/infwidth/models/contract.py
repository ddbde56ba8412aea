"""What every model family offers and what passes between a model, a task and the trainer.

    Model.forward(x)                       outputs
    Model.gradient(x, cotangent)           Update: the vector-Jacobian product with respect to the parameters
    Model.adapted(support, ...)            an Adapted model, one per episode, the episode dimension first
    Model.apply_update(update, rate, decay)  one step of SGD, in place
    Model.features(x)                      the last hidden representation
    Model.state() / load_state()           what a checkpoint holds

    Update.norms() / scaled()              opaque to everyone but the model that made it

A task turns batches and a loss into cotangents (the derivative of the loss by the outputs); a model turns cotangents
into updates; the trainer clips and applies them. None needs to know which of the others it works with.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from infwidth.errors import CheckpointError

Cotangent = Callable[[Tensor], Tensor]
"""Outputs (episodes, examples, k) to the derivative of each episode's loss by them, same shape, differentiable."""


class Update(ABC):
    """A gradient in whatever form its model keeps it."""

    clip_epsilon: float = 1e-6
    """Added to the norm before the clip threshold is divided by it, as torch does."""

    @abstractmethod
    def norms(self) -> dict[str, Tensor]:
        """The norm of each parameter's gradient (0-d tensors), by parameter name."""

    @abstractmethod
    def scaled(self, factors: Mapping[str, Tensor]) -> "Update":
        """The update with each parameter's gradient multiplied by its factor."""


class DenseUpdate(Update):
    """One tensor per parameter. Factors of clipping are kept aside and applied with the step, sparing a pass over the gradients."""

    def __init__(self, gradients: Mapping[str, Tensor], factors: Mapping[str, Tensor] | None = None):
        self.gradients, self.factors = dict(gradients), factors

    def __getitem__(self, name: str) -> Tensor:
        """The gradient of a parameter, its factor included."""
        return self.gradients[name] if self.factors is None else self.gradients[name] * self.factors[name]

    def norms(self) -> dict[str, Tensor]:
        return {name: self[name].norm() for name in self.gradients}

    def scaled(self, factors: Mapping[str, Tensor]) -> "DenseUpdate":
        return DenseUpdate(self.gradients, factors if self.factors is None else {k: f * factors[k] for k, f in self.factors.items()})

    @torch.no_grad()
    def apply_to(self, parameters: Iterable[tuple[str, Tensor]], rate: float, decay: float) -> None:
        """p <- (1 - rate * decay) p - rate * gradient, in place."""
        for name, p in parameters:
            if decay:
                p.mul_(1 - rate * decay)
            if self.factors is None:
                p.sub_(self.gradients[name], alpha=rate)
            else:
                p.addcmul_(self.gradients[name], self.factors[name], value=-rate)


class Adapted(ABC):
    """A model after its adaptation to the support sets of a batch of episodes."""

    @abstractmethod
    def __call__(self, query: Tensor) -> Tensor:
        """Outputs (episodes, queries, k) for query inputs (episodes, queries, d); no gradients kept."""

    @abstractmethod
    def linearized(self, query: Tensor) -> tuple[Tensor, Callable[[Tensor], Update]]:
        """The same outputs, and the pullback: cotangents (episodes, queries, k) to the meta-gradient summed over episodes."""


class Model(nn.Module, ABC):
    """Base of the model families; see the module docstring for the contract."""

    @abstractmethod
    def gradient(self, x: Tensor, cotangent: Tensor) -> Update:
        """Update for inputs x (..., d) and cotangents (..., k), summed over examples."""

    @abstractmethod
    def apply_update(self, update: Update, rate: float, decay: float = 0.0) -> None:
        """parameters <- (1 - rate * decay) parameters - rate * update, in place."""

    @abstractmethod
    def adapted(self, support: Tensor, cotangent: Cotangent, rate: float, steps: int, second_order: bool = False) -> Adapted:
        """Adapt to support inputs (episodes, examples, d) by ``steps`` steps of SGD on each episode's own loss.

        second_order: whether pullbacks differentiate through the adaptation. Raises ConfigError where a family cannot.
        """

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """The last hidden representation (examples, features) of inputs (examples, d)."""

    def state(self) -> dict[str, Tensor]:
        """Tensors that determine the function, for a checkpoint (references, not copies)."""
        return {name: value.detach() for name, value in self.state_dict().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state made by :meth:`state`; CheckpointError if it is of another model."""
        own = self.state_dict()
        for name in own.keys() | state.keys():
            if name not in own or name not in state or own[name].shape != state[name].shape:
                raise CheckpointError(f"the checkpoint does not fit the model: tensor {name!r} is missing, extra or of another shape.")
        with torch.no_grad():
            for name, value in state.items():
                own[name].copy_(value)
