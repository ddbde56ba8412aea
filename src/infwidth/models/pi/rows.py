"""Rows that are appended and never moved: blocks of a fixed size, so that growing copies nothing that is there.

A block is also the tile in which everything of length M is computed, and reading a block is reading the arrays.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 8192
"""Rows of a block."""


@dataclass
class Block:
    """Room for rows A (n, k), B (n, r) and m (n,), of which the first ``rows`` are in use.

    seen: what :meth:`adds_nothing` has found, and after which changes.
    """

    A: Tensor
    B: Tensor
    m: Tensor
    rows: int = 0
    seen: tuple[tuple[int, int, int], bool] | None = None

    @staticmethod
    def empty(
        size: int, outputs: int, rank: int, storage: torch.dtype, wide: torch.dtype, device: torch.device
    ) -> "Block":
        """A and B are stored in ``storage``, m in ``wide``."""
        A, B = (torch.empty(size, n, dtype=storage, device=device) for n in (outputs, rank))
        return Block(A, B, torch.empty(size, dtype=wide, device=device))

    def used(self) -> tuple[Tensor, Tensor, Tensor]:
        """The rows in use (views)."""
        return self.A[: self.rows], self.B[: self.rows], self.m[: self.rows]

    def filled(self, A: Tensor, B: Tensor, m: Tensor) -> int:
        """Take in as many of the rows as there is room for; returns how many that were."""
        n = min(len(self.A) - self.rows, len(A))
        for room, new in ((self.A, A), (self.B, B), (self.m, m)):
            room[self.rows : self.rows + n] = new[:n]
        self.rows += n
        return n

    def adds_nothing(self) -> bool:
        """Whether A or m is 0 in all rows in use; looked at again only where they have changed, since a GPU has to be
        waited for."""
        changes = (self.rows, self.A._version, self.m._version)  # torch counts what is written to a tensor
        if self.seen is None or self.seen[0] != changes:
            A, _, m = self.used()
            self.seen = (changes, not (m.any() and A.any()))
        return self.seen[1]

    def moved(self, device: torch.device, storage: torch.dtype, wide: torch.dtype) -> "Block":
        """The block on a device and in these types; where nothing changes its tensors stay the same ones."""
        A, B = (t.to(device=device, dtype=storage) for t in (self.A, self.B))
        return Block(A, B, self.m.to(device=device, dtype=wide), self.rows)


def names(prefix: str, block: int) -> tuple[str, str, str]:
    """What the arrays of a block are called in a state."""
    return f"{prefix}A.{block}", f"{prefix}B.{block}", f"{prefix}m.{block}"


def blocks_in(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many blocks of rows a state holds under the prefix."""
    count = 0
    while names(prefix, count)[0] in state:
        count += 1
    return count
