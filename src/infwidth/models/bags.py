"""Inputs that are bags of indices, and the outputs that are asked for of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from infwidth.models.sparse import Sparse


@dataclass(frozen=True)
class Bags:
    """Inputs that are means of one-hot vectors, such as the context words of a position.

    words (n,): the distinct indices that occur; means (B, n): the inputs in those coordinates, the others being
    zero; None for one bag per index, the one-hot vectors themselves; touches (n,): how often each index occurs,
    which decides how much it decays.
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
class Asked:
    """The outputs that are asked for of B bags: some of all of them, and one of each bag's own.

    rows (n,): all distinct indices of outputs; shared: how many of the first of them are asked of every bag; own
    (B,): the place in ``rows`` of each bag's own output; touches (n,): as in :class:`Bags`. Outputs and cotangents
    are (B, 1 + shared), the bag's own output first.
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
