"""A growing layer of the pi-limit: rows (A, B) with multipliers m, appended by every step and never moved (PiLim, design of the pi-limit).

    f(g) = (s V(q) * m) A,   s = |g|,   q = g Bᵀ / s

Rows live in blocks of a fixed size. Appending fills the last block and opens a new one, so nothing that is there is copied, and
reading a block is reading the array. A block is also the tile in which everything of length M is computed; of one step's
length-M quantities only the correlations q are kept from the forward to the backward pass.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infwidth.gaussian import relu_v, relu_v_and_step_v

BLOCK = 4096
"""Rows of a block."""


@dataclass
class Block:
    """Room for BLOCK rows of which the first ``rows`` are in use."""

    A: Tensor
    B: Tensor
    m: Tensor
    rows: int = 0

    def used(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.A[: self.rows], self.B[: self.rows], self.m[: self.rows]


class GrowingLayer:
    """Arrays A (M, k), unit rows B (M, r) in ``storage``, multipliers m (M,) in float32 or wider; products are computed in ``dtype``."""

    def __init__(self, A: Tensor, B: Tensor, m: Tensor, dtype: torch.dtype, storage: torch.dtype | None = None, block: int = BLOCK):
        self.outputs, self.rank, self.block, self.dtype, self.storage = A.shape[1], B.shape[1], block, dtype, storage or dtype
        self.blocks: list[Block] = []
        self.append(A, B, m)

    @property
    def rows(self) -> int:
        """M."""
        return sum(b.rows for b in self.blocks)

    @property
    def device(self) -> torch.device:
        return self.blocks[0].A.device

    @torch.no_grad()
    def append(self, A: Tensor, B: Tensor, m: Tensor) -> None:
        """Add rows A (n, k), B (n, r), m (n,)."""
        done = 0
        while done < len(A):
            if not self.blocks or self.blocks[-1].rows == self.block:
                self.blocks.append(self._empty(A.device))
            last = self.blocks[-1]
            take = min(self.block - last.rows, len(A) - done)
            for room, new in ((last.A, A), (last.B, B), (last.m, m)):
                room[last.rows : last.rows + take] = new[done : done + take]
            last.rows += take
            done += take

    def _empty(self, device: torch.device) -> Block:
        wide = torch.promote_types(self.dtype, torch.float32)
        return Block(
            torch.empty(self.block, self.outputs, dtype=self.storage, device=device),
            torch.empty(self.block, self.rank, dtype=self.storage, device=device),
            torch.empty(self.block, dtype=wide, device=device),
        )

    def drop(self, rows: int) -> None:
        """Take the last ``rows`` rows away again."""
        while rows:
            last = self.blocks[-1]
            take = min(rows, last.rows)
            last.rows -= take
            rows -= take
            if last.rows == 0 and len(self.blocks) > 1:
                self.blocks.pop()

    @torch.no_grad()
    def decay(self, factor: float) -> None:
        """m <- factor m."""
        for block in self.blocks:
            block.m[: block.rows] *= factor

    def tiles(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(A, B, m) block by block, in order; A and B in the storage's type."""
        return (block.used() for block in self.blocks)

    @torch.no_grad()
    def forward(self, unit: Tensor, s: Tensor) -> tuple[Tensor, list[Tensor]]:
        """f (b, k) for unit rows g/s (b, r) and s (b,), and the correlations q (b, rows of a block) of every block."""
        out, correlations = torch.zeros(len(unit), self.outputs, dtype=self.dtype, device=unit.device), []
        narrow = unit.to(self.storage)
        for A, B, m in self.tiles():
            q = (narrow @ B.mT).to(self.dtype)
            correlations.append(q)
            weights = relu_v(q).mul_(m)
            out += (weights.to(self.storage) @ A).to(self.dtype)
        return out.mul_(s[:, None]), correlations

    @torch.no_grad()
    def backward(self, cotangent: Tensor, unit: Tensor, correlations: Sequence[Tensor]) -> Tensor:
        """The cotangent of g (b, r) for that of f (b, k): (gamma * V'(q)) B + (sum_m gamma_m sqrt(1 - q_m^2) / 2 pi) g/s."""
        out = torch.zeros_like(unit)
        along = torch.zeros(len(unit), dtype=self.dtype, device=unit.device)
        narrow = cotangent.to(self.storage)
        for (A, B, m), q in zip(self.tiles(), correlations, strict=True):
            gamma = (narrow @ A.mT).to(self.dtype).mul_(m)
            q = q.clamp(-1, 1)
            value, step = relu_v_and_step_v(q)
            along += (gamma * (value - q * step)).sum(1)
            out += (gamma.mul_(step).to(self.storage) @ B).to(self.dtype)
        return out.addcmul_(along[:, None], unit)

    def joined(self) -> tuple[Tensor, Tensor, Tensor]:
        """A, B, m as single tensors (copies), in ``dtype``."""
        parts = [torch.cat([t[i] for t in self.tiles()]) for i in range(3)]
        return parts[0].to(self.dtype), parts[1].to(self.dtype), parts[2].to(self.dtype)


def function_norm(A: Tensor, B: Tensor) -> Tensor:
    """sqrt(sum_k A_kᵀ V(B Bᵀ) A_k) of rows A (n, k), unit B (n, r): the norm of what they add to the function."""
    return (relu_v(B @ B.mT) * (A @ A.mT)).sum().clamp(min=0).sqrt()


def unit_rows(g: Tensor) -> tuple[Tensor, Tensor]:
    """g / |g| (b, r) and |g| (b,); a zero row stays zero."""
    s = g.norm(dim=1)
    return g / torch.where(s > 0, s, 1)[:, None], s


def sphere(rows: int, rank: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Rows uniform on the unit sphere."""
    g = torch.randn(rows, rank, generator=generator, dtype=dtype)
    return g / g.norm(dim=1, keepdim=True)


def bytes_of(rows: int, outputs: int, rank: int, storage: torch.dtype) -> int:
    """Memory of a growing layer of so many rows, the unused end of its last block included."""
    blocks = math.ceil(rows / BLOCK)
    return blocks * BLOCK * ((outputs + rank) * storage.itemsize + 4)


@torch.no_grad()
def relu_features(layer: GrowingLayer, omega: Tensor) -> Tensor:
    """(m * A)ᵀ relu(Omega Bᵀ)ᵀ (k, n) for Gaussians Omega (n, r): the layer seen through n random neurons below."""
    out = torch.zeros(layer.outputs, len(omega), dtype=layer.dtype, device=omega.device)
    for A, B, m in layer.tiles():
        weighted = A.to(layer.dtype) * m[:, None]
        out += weighted.mT.to(layer.dtype) @ torch.relu(B.to(layer.dtype) @ omega.mT)
    return out
