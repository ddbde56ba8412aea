"""What every model family offers and what passes between a model, a task and the trainer.

    Model.forward(x)                       outputs
    Model.gradient(x, cotangent)           Update: the vector-Jacobian product with respect to the parameters
    Model.linearized(x)                    outputs and the pullback of their cotangents to an Update, sharing the forward pass
    Model.linearized(bags, asked)          likewise for bags of indices, of the outputs that are asked for
    Model.adapted(support, ...)            an Adapted model, one per episode, the episode dimension first
    Model.apply_update(update, rate, decay)  one step of SGD, in place
    Model.features(x)                      the last hidden representation
    Model.fit(x, labels)                   of a model with a closed form, in place of training
    Model.state() / load_state()           what a checkpoint holds

    Update.norms() / scaled()              opaque to everyone but the model that made it

A task turns batches and a loss into cotangents (the derivative of the loss by the outputs); a model turns cotangents
into updates; the trainer clips and applies them. None needs to know which of the others it works with.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from infwidth.errors import CheckpointError, ConfigError
from infwidth.models.sparse import Sparse

Cotangent = Callable[[Tensor], Tensor]
"""Outputs (episodes, examples, k) to the derivative of each episode's loss by them, same shape, differentiable."""

ADAPTING = {"all": (True, True), "readout": (False, True), "hidden": (True, False)}
"""Which parameters adapt: whether the hidden layers do, and whether the readout does."""

PARAMETERS = (
    "this model adapts as a whole; set task.adaptation.parameters=all, or take model=finite (deep), pi_net or pi_limit."
)

BAGS = (
    "inputs that are bags of indices go with one linear hidden layer only: model=mu_limit, nngp_limit or ntk_limit, "
    "or model=finite with model.depth=1 and model.activation=linear."
)


@dataclass(frozen=True)
class Bags:
    """Inputs that are means of one-hot vectors, such as the context words of a position.

    words (n,): the distinct indices that occur; means (B, n): the inputs in those coordinates, the others being zero; None
    for one bag per index, the one-hot vectors themselves; touches (n,): how often each index occurs, which decides how much
    it decays.
    """

    words: Tensor
    means: Sparse | None
    touches: Tensor | None

    @classmethod
    def single(cls, words: Tensor) -> "Bags":
        """The one-hot inputs of indices (n,)."""
        return cls(words, None, None)

    def mean_of(self, rows: Tensor) -> Tensor:
        """The mean of each bag's rows (B, m), for the rows (n, m) of the indices."""
        return rows if self.means is None else self.means @ rows


@dataclass(frozen=True)
class Sizes:
    """A typical batch of bags: how many there are, how many indices they have in all, how many distinct ones, how many distinct
    outputs are asked for, and how many of these of every bag."""

    bags: float
    members: float
    words: float
    asked: float
    shared: float


@dataclass(frozen=True)
class Work:
    """What training takes: floating-point operations in matrix products, bytes moved, steps, Gaussian expectations V and V', and the
    sizes (n, k, m) of a typical product, by which the rate of products is measured."""

    flops: float
    bytes: float
    steps: int = 1
    expectations: float = 0.0
    product: tuple[int, int, int] = (256, 4096, 128)

    def __mul__(self, times: int) -> "Work":
        return Work(self.flops * times, self.bytes * times, self.steps * times, self.expectations * times, self.product)


@dataclass(frozen=True)
class Asked:
    """The outputs that are asked for of B bags: some of all of them, and one of each bag's own.

    rows (n,): all distinct indices of outputs; shared: how many of the first of them are asked of every bag; own (B,): the
    place in ``rows`` of each bag's own output; touches (n,): as in :class:`Bags`. Outputs and cotangents are (B, 1 + shared),
    the bag's own output first.
    """

    rows: Tensor
    shared: int
    own: Tensor
    touches: Tensor

    def among(self, outputs: Tensor) -> Tensor:
        """What is asked for (B, 1 + shared) among the outputs (B, n) of all rows."""
        return torch.cat([outputs.gather(1, self.own[:, None]), outputs[:, : self.shared]], dim=1)

    def over_rows(self, cotangent: Tensor) -> Tensor:
        """The transpose of :meth:`among`: cotangents (B, 1 + shared) as those of all rows (B, n)."""
        everything = cotangent.new_zeros(len(cotangent), len(self.rows))
        everything[:, : self.shared] = cotangent[:, 1:]
        return everything.scatter_add_(1, self.own[:, None], cotangent[:, :1])


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
        return DenseUpdate(
            self.gradients, factors if self.factors is None else {k: f * factors[k] for k, f in self.factors.items()}
        )

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


@dataclass(frozen=True)
class Rows:
    """Part of a parameter's gradient: index (n,) distinct, values (n, m); columns: whether they are columns of the parameter."""

    index: Tensor
    values: Tensor
    touches: Tensor
    columns: bool = False


class RowUpdate(Update):
    """A gradient that is zero but for a few rows of each parameter; decay touches those rows only, once for every touch."""

    def __init__(self, rows: Mapping[str, Rows], dense: Mapping[str, Tensor] | None = None):
        self.rows, self.dense = dict(rows), dict(dense or {})

    def norms(self) -> dict[str, Tensor]:
        return {name: r.values.norm() for name, r in self.rows.items()} | {
            name: g.norm() for name, g in self.dense.items()
        }

    def scaled(self, factors: Mapping[str, Tensor]) -> "RowUpdate":
        rows = {name: Rows(r.index, r.values * factors[name], r.touches, r.columns) for name, r in self.rows.items()}
        return RowUpdate(rows, {name: g * factors[name] for name, g in self.dense.items()})

    @torch.no_grad()
    def apply_to(self, parameters: Iterable[tuple[str, Tensor]], rate: float, decay: float) -> None:
        """row <- (1 - rate * decay)^touches row - rate * gradient, in place."""
        for name, p in parameters:
            if name in self.dense:
                p.sub_(self.dense[name], alpha=rate)
            elif name in self.rows:
                r = self.rows[name]
                table = p.mT if r.columns else p
                if decay:
                    kept = (1 - rate * decay) ** r.touches
                    table.index_copy_(
                        0, r.index, table.index_select(0, r.index).mul_(kept[:, None]).sub_(r.values, alpha=rate)
                    )
                else:
                    table.index_add_(0, r.index, r.values, alpha=-rate)


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

        second_order: whether pullbacks differentiate through the adaptation; which: 'all' parameters adapt, the 'readout' alone or the
        'hidden' layers. Raises ConfigError where a family cannot.
        """

    def readout_features(self, x: Tensor) -> Tensor | None:
        """All that outputs depend on where only the readout adapts, (n, f) for inputs (n, d); None where that is not possible."""
        return None

    def adapted_readout(
        self, support: Tensor, cotangent: Cotangent, rate: float, steps: int
    ) -> Callable[[Tensor], Tensor]:
        """The adapted outputs (T, Q, k) as a function of readout features (T, Q, f), from those of the support (T, S, f)."""
        raise ConfigError(PARAMETERS)

    def linearized(self, x: Tensor | Bags, asked: Asked | None = None) -> tuple[Tensor, Callable[[Tensor], Update]]:
        """Outputs (B, k), of bags those ``asked`` for, no gradients kept, and the pullback: cotangents of their shape to an update.

        Raises ConfigError for bags of indices and a family that does not take them.
        """
        if isinstance(x, Bags):
            raise ConfigError(BAGS)
        return self(x).detach(), lambda cotangent: self.gradient(x, cotangent)

    closed_form: bool = False
    """Whether the model is fitted at once by :meth:`fit`, and not trained."""

    def fit(self, x: Tensor, labels: Tensor) -> dict[str, float]:
        """Fit to inputs (n, d) of classes labels (n,); returns what there is to say of the fit, by name."""
        raise ConfigError("this model has no closed form; it is trained.")

    @abstractmethod
    def features(self, x: Tensor | Bags) -> Tensor:
        """The last hidden representation (examples, features) of inputs (examples, d) or of bags."""

    @torch.no_grad()
    def feature_kernel(self, x: Tensor) -> Tensor:
        """Half the cosines of the last hidden representations of inputs (n, d), of which the diagonal is 1/2: (n, n)."""
        h = self.features(x)
        h = h / h.norm(dim=1, keepdim=True).clamp(min=torch.finfo(h.dtype).tiny)
        return (h @ h.mT).div_(2)

    def state(self) -> dict[str, Tensor]:
        """Tensors that determine the function, for a checkpoint (references, not copies)."""
        return {name: value.detach() for name, value in self.state_dict().items()}

    def snapshot(self) -> dict[str, Tensor]:
        """A state that further training leaves as it is: copies of whatever training changes."""
        return {name: value.clone() for name, value in self.state().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state made by :meth:`state`; CheckpointError if it is of another model."""
        own = self.state_dict()
        for name in own.keys() | state.keys():
            if name not in own or name not in state or own[name].shape != state[name].shape:
                raise CheckpointError(
                    f"the checkpoint does not fit the model: tensor {name!r} is missing, extra or of another shape."
                )
        with torch.no_grad():
            for name, value in state.items():
                own[name].copy_(value)
