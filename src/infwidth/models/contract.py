"""What every model offers, and what passes between a model, a task and the trainer.

    Model.forward(x)                       outputs
    Model.gradient(x, cotangent)           Update: the vector-Jacobian product with respect to the parameters
    Model.linearized(x)                    outputs, and the pullback of their cotangents to an Update
    Model.linearized(bags, asked)          likewise for bags of indices, of the outputs that are asked for
    Model.apply_update(update, rate, decay)  one step of SGD, in place
    Model.features(x)                      the last hidden representation
    Model.unit_features(x)                 what the kernel of these representations is a function of, example by example
    Model.feature_kernel(rows, columns)    that kernel, tile by tile
    Model.fit(x, labels, watch)            of a model with a closed form, in place of training
    Model.end_of_epoch(held_out)           what a model does to itself after an epoch, before it is evaluated
    Model.state() / load_state()           what a checkpoint holds
    Model.snapshot() / restore()           what training changes, to go back to a state that it has left
    Model.ranks, dealt(name)               the processes that have a share of the model each, and how it is dealt out:
                                           states, snapshots and coordinates(x) are then those of this process

    Adaptable.adapted(support, ...)        an Adapted model, one per episode, the episode dimension first: a protocol of
                                           its own

    Update.norms() / scaled()              opaque to everyone but the model that made it

A task turns batches and a loss into cotangents (the derivative of the loss by the outputs); a model turns cotangents
into updates; the trainer clips and applies them. None needs to know which of the others it works with.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from infwidth.errors import CheckpointError, ConfigError
from infwidth.models.bags import Asked, Bags
from infwidth.models.updates import Update
from infwidth.models.watch import NOBODY, Watch
from infwidth.ranks import ALONE, Ranks

FEATURES_AT_ONCE = 1000
"""Inputs whose features are computed together, where those of many are wanted."""

Cotangent = Callable[[Tensor], Tensor]
"""Outputs (episodes, examples, k) to the derivative of each episode's loss by them, same shape, differentiable."""


ADAPTING = {"all": (True, True), "readout": (False, True), "hidden": (True, False)}
"""Which parameters adapt: whether the hidden layers do, and whether the readout does."""


class Adapted(ABC):
    """A model after its adaptation to the support sets of a batch of episodes."""

    @abstractmethod
    def __call__(self, query: Tensor) -> Tensor:
        """Outputs (episodes, queries, k) for query inputs (episodes, queries, d); no gradients kept."""

    @abstractmethod
    def linearized(self, query: Tensor) -> tuple[Tensor, Callable[[Tensor], Update]]:
        """The same outputs, and the pullback.

        It takes cotangents (episodes, queries, k) to the meta-gradient, summed over episodes.
        """


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


class Model(nn.Module, ABC):
    """Base of the model families; see the module docstring for the contract."""

    @abstractmethod
    def gradient(self, x: Tensor, cotangent: Tensor) -> Update:
        """Update for inputs x (..., d) and cotangents (..., k), summed over examples."""

    @abstractmethod
    def apply_update(self, update: Update, rate: float, decay: float = 0.0) -> None:
        """parameters <- (1 - rate * decay) parameters - rate * update, in place."""

    def linearized(self, x: Tensor | Bags, asked: Asked | None = None) -> tuple[Tensor, Callable[[Tensor], Update]]:
        """Outputs (B, k), of bags those ``asked`` for, no gradients kept, and the pullback.

        It takes cotangents of the outputs' shape to an update.
        Raises ConfigError for bags of indices and a family that does not take them.
        """
        if isinstance(x, Bags):
            raise ConfigError(
                "this model takes dense inputs, not bags of indices; linear models of one hidden layer take bags."
            )
        return self(x).detach(), lambda cotangent: self.gradient(x, cotangent)

    ranks: Ranks = ALONE
    """The processes that the model is split over."""

    def dealt(self, name: str) -> int | None:
        """The dimension along which a tensor of the state or of a snapshot is dealt out to the ranks in turn; None for
        one that every rank has whole. Arrays A.0, A.1, ... are dealt out as one."""
        return None

    closed_form: bool = False
    """Whether the model is fitted at once by :meth:`fit`, and not trained."""

    def fit(self, x: Tensor, labels: Tensor, watch: Watch = NOBODY) -> dict[str, float]:
        """Fit to inputs (n, d) of classes labels (n,); returns what there is to say of the fit, by name.

        watch: is told how far it is.
        """
        raise ConfigError("this model has no closed form; it is trained.")

    def end_of_epoch(self, held_out: Callable[[], Tensor] | None) -> Mapping[str, float]:
        """Called after an epoch's last step, not where training ends inside one; the model is evaluated, selected and
        saved as this leaves it.

        A model that grows may project itself here. held_out: gives inputs (n, d) that are not trained on, to measure
        the change of the outputs on; None for a task that has none. Returns what there is to say of it, by name.
        """
        return {}

    @abstractmethod
    def features(self, x: Tensor | Bags) -> Tensor:
        """The last hidden representation (examples, features) of inputs (examples, d) or of bags."""

    def coordinates(self, x: Tensor | Bags) -> Tensor:
        """Those of :meth:`features` (examples, ...) that this rank has: inner products are sums over ranks."""
        return self.features(x)

    @torch.no_grad()
    def unit_features(self, x: Tensor) -> Tensor:
        """What :meth:`feature_kernel` takes of inputs (n, d): the features (n, f), each divided by its norm."""
        parts = []
        for some in x.split(FEATURES_AT_ONCE):
            h = self.features(some)
            parts.append(h / h.norm(dim=1, keepdim=True).clamp(min=torch.finfo(h.dtype).tiny))
        return torch.cat(parts)

    @torch.no_grad()
    def feature_kernel(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Half the cosines (n, m) of the last hidden representations with :meth:`unit_features` (n, f) and (m, f)."""
        return (rows @ columns.mT).div_(2)

    def state(self) -> dict[str, Tensor]:
        """Tensors that determine the function, for a checkpoint (references, not copies)."""
        return {name: value.detach() for name, value in self.state_dict().items()}

    def snapshot(self) -> dict[str, Tensor]:
        """What :meth:`restore` needs to go back to this moment of the model's training: copies of whatever training
        changes."""
        return {name: value.clone() for name, value in self.state().items()}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go back to a :meth:`snapshot` of this model's own past; of a loaded state, of the past of the model that it
        was of."""
        self.load_state(snapshot)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state made by :meth:`state`, whole or not at all; CheckpointError if it is of another model."""
        own = self.state()
        for name in sorted(own.keys() | state.keys()):
            if name not in own or name not in state or not _alike(own[name], state[name]):
                raise CheckpointError(
                    f"the checkpoint does not fit the model: tensor {name!r} is missing, extra, or of another shape or "
                    "type."
                )
        with torch.no_grad():
            for name, value in state.items():
                own[name].copy_(value)


@runtime_checkable
class Adaptable(Protocol):
    """A model that adapts to episodes."""

    def adapted(
        self,
        support: Tensor,
        cotangent: Cotangent,
        rate: float,
        steps: int,
        second_order: bool = False,
        which: str = "all",
    ) -> Adapted:
        """Adapt to support inputs (episodes, examples, d) by ``steps`` steps of SGD on each episode's own loss.

        second_order: whether pullbacks differentiate through the adaptation. which: 'all' parameters adapt, the
        'readout' alone or the 'hidden' layers. Raises ConfigError where a model cannot.
        """


@runtime_checkable
class ReadoutAdaptable(Protocol):
    """A model whose outputs depend on features of an input that stay as they are where the readout alone adapts."""

    def readout_features(self, x: Tensor) -> Tensor | None:
        """Those features (n, f) of inputs (n, d); None in a state in which outputs depend on more."""

    def adapted_readout(
        self, support: Tensor, cotangent: Cotangent, rate: float, steps: int
    ) -> Callable[[Tensor], Tensor]:
        """The adapted outputs (T, Q, k) as a function of features (T, Q, f), from those of the support (T, S, f)."""
