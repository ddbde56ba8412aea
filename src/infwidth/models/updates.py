"""Updates: a gradient in whatever form its model keeps it; opaque to everyone but that model."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from infwidth.ranks import ALONE, Ranks


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
    """One tensor per parameter.

    Factors of clipping are kept aside and applied with the step, which spares a pass over the gradients.
    """

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
    """Part of a parameter's gradient: index (n,) distinct, values (n, m), touches (n,) by which they decay.

    columns: whether they are columns of the parameter.
    """

    index: Tensor
    values: Tensor
    touches: Tensor
    columns: bool = False


class RowUpdate(Update):
    """A gradient that is zero but for a few rows of each parameter.

    Decay touches those rows only, once for every touch. ranks: among which everything is split by coordinates.
    """

    def __init__(self, rows: Mapping[str, Rows], dense: Mapping[str, Tensor] | None = None, ranks: Ranks = ALONE):
        self.rows, self.dense, self.ranks = dict(rows), dict(dense or {}), ranks

    def norms(self) -> dict[str, Tensor]:
        shares = {name: r.values.norm() for name, r in self.rows.items()}
        return self.ranks.norms(shares | {name: g.norm() for name, g in self.dense.items()})

    def scaled(self, factors: Mapping[str, Tensor]) -> "RowUpdate":
        rows = {name: Rows(r.index, r.values * factors[name], r.touches, r.columns) for name, r in self.rows.items()}
        return RowUpdate(rows, {name: g * factors[name] for name, g in self.dense.items()}, self.ranks)

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
