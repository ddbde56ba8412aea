"""A growing layer of the pi-limit: rows (A, B) with multipliers m, appended by every step and never moved (PiLim, design of the pi-limit).

    f(g) = (s V(q) * m) A,   s = |g|,   q = g Bᵀ / s

Rows live in blocks of a fixed size. Appending fills the last block and opens a new one, so nothing that is there is copied, and
reading a block is reading the array. A block is also the tile in which everything of length M is computed; of one step's
length-M quantities only two functions of the correlations q are kept from the forward to the backward pass, so that the arccos is
taken once.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infwidth.gaussian import TWO_PI, relu_v, relu_v_step_v_root_into

BLOCK = 8192
"""Rows of a block."""

FEW, AT_ONCE = 16, 512
"""Up to so many examples the first product of a CPU takes so many rows at once."""


class Spare:
    """Memory for tiles (b, n) that is used again: fresh pages cost several times what is computed into them."""

    def __init__(self):
        self.free: list[Tensor] = []

    def empty(self, b: int, n: int, dtype: torch.dtype, device: torch.device, transposed: bool) -> Tensor:
        size = b * n
        found = next(
            (i for i, t in enumerate(self.free) if t.numel() >= size and t.dtype == dtype and t.device == device), None
        )
        if found is None:
            self.free.clear()  # tiles of another size, of batches that are over
            flat = torch.empty(size, dtype=dtype, device=device)
        else:
            flat = self.free.pop(found)
        return flat.as_strided((b, n), (1, b) if transposed else (n, 1))

    def like(self, tile: Tensor) -> Tensor:
        return self.empty(*tile.shape, tile.dtype, tile.device, tile.stride() != (tile.shape[1], 1))

    def take_back(self, tile: Tensor) -> None:
        self.free.append(tile.as_strided((tile.untyped_storage().nbytes() // tile.itemsize,), (1,)))


class Trace:
    """2 pi V'(q) and sqrt(1 - q^2) (b, rows of a block), kept from the forward to the backward pass, and spare again when nobody has them."""

    def __init__(self, step: Tensor, root: Tensor, spare: Spare):
        self.step, self.root, self.spare = step, root, spare

    def __del__(self):
        self.spare.take_back(self.step)
        self.spare.take_back(self.root)


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

    def __init__(
        self,
        A: Tensor,
        B: Tensor,
        m: Tensor,
        dtype: torch.dtype,
        storage: torch.dtype | None = None,
        block: int | None = None,
    ):
        self.outputs, self.rank, self.block, self.dtype, self.storage = (
            A.shape[1],
            B.shape[1],
            block or BLOCK,
            dtype,
            storage or dtype,
        )
        self.blocks: list[Block] = []
        self.spare = Spare()
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
    def forward(self, unit: Tensor, s: Tensor, keep: bool = True) -> tuple[Tensor, list[Trace]]:
        """f (b, k) for unit rows g/s (b, r) and s (b,), and, to keep, what the backward pass needs of every block."""
        out, traces = torch.zeros(len(unit), self.outputs, dtype=self.dtype, device=unit.device), []
        narrow = unit.to(self.storage)
        for A, B, m in self.tiles():
            q = self._products(narrow, B)
            trace = Trace(self.spare.like(q), self.spare.like(q), self.spare)
            if keep:
                traces.append(trace)
            value, _, _ = relu_v_step_v_root_into(q, trace.step, trace.root)
            _add_product(out, value.mul_(m / TWO_PI), A)
            self.spare.take_back(q)
        return out.mul_(s[:, None]), traces

    @torch.no_grad()
    def backward(self, cotangent: Tensor, unit: Tensor, traces: Sequence[Trace]) -> Tensor:
        """The cotangent of g (b, r) for that of f (b, k): (gamma * V'(q)) B + (sum_m gamma_m sqrt(1 - q_m^2) / 2 pi) g/s."""
        out = torch.zeros_like(unit)
        along = torch.zeros(len(unit), dtype=self.dtype, device=unit.device)
        narrow = cotangent.to(self.storage)
        for (A, B, m), trace in zip(self.tiles(), traces, strict=True):
            gamma = self._products(narrow, A).mul_(m / TWO_PI)
            both = torch.mul(gamma, trace.root, out=self.spare.like(gamma))
            along += both.sum(1)
            _add_product(out, gamma.mul_(trace.step), B)
            self.spare.take_back(gamma)
            self.spare.take_back(both)
        return out.addcmul_(along[:, None], unit)

    def _products(self, x: Tensor, rows: Tensor) -> Tensor:
        """x rowsᵀ (b, n) in ``dtype`` for x (b, k), rows (n, k), in whichever of two layouts of the result the product is fast.

        On a CPU a few columns are fastest taken from a few rows at a time; more of them as a tall product, whose result lies transposed.
        """
        few = len(x) <= FEW and rows.device.type == "cpu" and rows.dtype == self.dtype
        out = self.spare.empty(len(x), len(rows), self.dtype, x.device, transposed=not few)
        if few:
            for i in range(0, len(rows), AT_ONCE):
                torch.mm(x, rows[i : i + AT_ONCE].mT, out=out[:, i : i + AT_ONCE])
        elif rows.dtype == self.dtype:
            torch.mm(rows, x.mT, out=out.mT)
        else:
            out.mT.copy_(rows @ x.mT)
        return out

    def joined(self) -> tuple[Tensor, Tensor, Tensor]:
        """A, B, m as single tensors (copies), in ``dtype``."""
        parts = [torch.cat([t[i] for t in self.tiles()]) for i in range(3)]
        return parts[0].to(self.dtype), parts[1].to(self.dtype), parts[2].to(self.dtype)


def _add_product(out: Tensor, x: Tensor, rows: Tensor) -> None:
    """out (b, k) += x rows, for x (b, n) and rows (n, k) in the storage's type: added up in out's own."""
    if rows.dtype == out.dtype:
        out.addmm_(x, rows)
    else:
        out += (x.to(rows.dtype) @ rows).to(out.dtype)


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
