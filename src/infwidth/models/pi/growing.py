"""A growing layer of the pi-limit: rows (A, B) with multipliers m, appended by every step and never moved (PiLim).

    f(g) = (s V(q) * m) A,   s = |g|,   q = g Bᵀ / s

Of one step's quantities of length M only two functions of the correlations q are kept from the forward to the backward
pass, so that the arccos is taken once.

Rows can be dealt out to several ranks. What goes through a layer, in either direction, is a sum over its rows, so the
ranks' sums are added up.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from infwidth.errors import CheckpointError, ConfigError
from infwidth.gaussian import TWO_PI, relu_v, relu_v_step_v_root_into
from infwidth.models.pi import products, rows
from infwidth.models.pi.rows import Block
from infwidth.models.pi.tiles import Spare, Trace
from infwidth.ranks import ALONE, Ranks


class GrowingLayer(nn.Module):
    """Arrays A (M, k), unit rows B (M, r) in ``storage``, multipliers m (M,) in float32 or wider.

    Products are computed in ``dtype``. ranks: to whom the rows are dealt out in turn; this one holds its own in
    ``blocks``, and all are told of every row.

    The rows are neither parameters nor buffers, since they grow, but move, are copied and are saved with the module as
    those are. Rows that are stored narrower than what is computed with them stay so where the module changes its type.
    """

    def __init__(
        self,
        A: Tensor,
        B: Tensor,
        m: Tensor,
        dtype: torch.dtype,
        storage: torch.dtype | None = None,
        block: int | None = None,
        ranks: Ranks = ALONE,
    ):
        super().__init__()
        self.outputs, self.rank, self.block = A.shape[1], B.shape[1], block or rows.BLOCK
        self.dtype, self.storage, self.ranks = dtype, storage or dtype, ranks
        self.rows = 0  # M, of all ranks together
        self.blocks: list[Block] = [self._room(A.device)]
        self.spare = Spare(self.block)
        self.append(A, B, m)

    @property
    def device(self) -> torch.device:
        return self.blocks[0].A.device

    @property
    def wide(self) -> torch.dtype:
        """The type of m, and of whatever sums over rows."""
        return torch.promote_types(self.dtype, torch.float32)

    @torch.no_grad()
    def append(self, A: Tensor, B: Tensor, m: Tensor) -> None:
        """Add rows A (n, k), B (n, r), m (n,)."""
        own = self.ranks.own(self.rows)
        self.rows += len(A)
        self._append_to(self.blocks, A[own], B[own], m[own])

    def _room(self, device: torch.device) -> Block:
        return Block.empty(self.block, self.outputs, self.rank, self.storage, self.wide, device)

    def _append_to(self, blocks: list[Block], A: Tensor, B: Tensor, m: Tensor) -> None:
        """Add rows of this rank's."""
        while len(A):
            if blocks[-1].rows == self.block:
                blocks.append(self._room(blocks[0].A.device))
            n = blocks[-1].filled(A, B, m)
            A, B, m = A[n:], B[n:], m[n:]

    def drop(self, count: int) -> None:
        """Take the last ``count`` rows away again."""
        before, self.rows = self.rows, self.rows - count
        count = self.ranks.share(before) - self.ranks.share(self.rows)
        while count:
            last = self.blocks[-1]
            take = min(count, last.rows)
            last.rows -= take
            count -= take
            if last.rows == 0 and len(self.blocks) > 1:
                self.blocks.pop()

    @torch.no_grad()
    def decay(self, factor: float) -> None:
        """m <- factor m."""
        for block in self.blocks:
            block.m[: block.rows] *= factor

    def tiles(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(A, B, m) of this rank's rows block by block, in order; A and B in the storage's type."""
        return (block.used() for block in self.blocks)

    @torch.no_grad()
    def forward(self, unit: Tensor, s: Tensor, keep: bool = True) -> tuple[Tensor, Trace]:
        """f (b, k) for unit rows g/s (b, r) and s (b,), and, to keep, what the backward pass needs."""
        out, kept = torch.zeros(len(unit), self.outputs, dtype=self.dtype, device=unit.device), []
        for A, B, m in self.tiles():
            q = self._correlations(unit, B)
            value, step, root = relu_v_step_v_root_into(q, self.spare.like(q), self.spare.like(q))
            products.add_combination(out, value.mul_(m / TWO_PI), A)
            self.spare.take_back(q)
            if keep:
                kept.append((step, root))
            else:
                self.spare.take_back(step, root)
        return self.ranks.add_up(out).mul_(s[:, None]), Trace(kept)

    @torch.no_grad()
    def backward(self, cotangent: Tensor, unit: Tensor, trace: Trace) -> Tensor:
        """The cotangent of g (b, r) for that of f (b, k).

        (gamma * V'(q)) B + (sum_m gamma_m sqrt(1 - q_m^2) / 2 pi) g/s for gamma = (cotangent Aᵀ) * m.
        The trace's memory is given back: RuntimeError for one that was used before.
        """
        out = torch.zeros_like(unit)
        along = torch.zeros(len(unit), dtype=self.dtype, device=unit.device)
        for (A, B, m), (step, root) in zip(self.tiles(), trace.used_up(), strict=True):
            gamma = self._correlations(cotangent, A).mul_(m / TWO_PI)
            along += root.mul_(gamma).sum(1)
            products.add_combination(out, gamma.mul_(step), B)
            self.spare.take_back(gamma, step, root)
        return self.ranks.add_up(out.addcmul_(along[:, None], unit))

    def _correlations(self, x: Tensor, columns: Tensor) -> Tensor:
        """x columnsᵀ (b, n) in ``dtype`` for x (b, k), columns (n, k), in a tile of the layout in which it is fast."""
        transposed = not products.takes_few(x, columns)
        out = self.spare.empty(len(x), len(columns), self.dtype, x.device, transposed)
        products.correlate(x, columns, out)
        return out

    def part(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """A, B, m of the rows from ``start`` to ``stop``, of all ranks, as single tensors (copies), in ``dtype``."""
        own_start, own_stop = self.ranks.share(start), self.ranks.share(stop)
        found, first = [], 0
        for arrays in self.tiles():
            rows = slice(max(own_start - first, 0), max(own_stop - first, 0))
            found.append([t[rows].to(self.dtype) for t in arrays])
            first += len(arrays[0])
        A, B, m = (self._whole(torch.cat(parts), start, stop) for parts in zip(*found, strict=True))
        return A, B, m

    def _whole(self, share: Tensor, start: int, stop: int) -> Tensor:
        """The rows from ``start`` to ``stop`` of all ranks, from this one's share of them."""
        if self.ranks.size == 1:
            return share
        # As if they began with the first rank: with empty places for the rows before that it would have in its turn.
        before = start % self.ranks.size
        missing = share.new_zeros(self.ranks.share(before), *share.shape[1:])
        return self.ranks.whole(torch.cat([missing, share]), before + stop - start)[before:]

    def joined(self) -> tuple[Tensor, Tensor, Tensor]:
        """All rows, as :meth:`part` gives some."""
        return self.part(0, self.rows)

    @torch.no_grad()
    def absorb(self, start: int, stop: int, coefficients: Tensor) -> None:
        """Drop the rows from ``start`` to ``stop``; those after them, with m = 1, have their ``coefficients`` added."""
        stay, (A, B, m) = self.part(0, start), self.part(stop, self.rows)
        self.rows, self.blocks = 0, []  # these are copies
        total = A.double().mul_(m.double()[:, None]).add_(coefficients)
        self.blocks = [self._room(coefficients.device)]
        self.append(*stay)
        self.append(total, B, torch.ones_like(m))

    def multipliers(self) -> Tensor:
        """m (M,) of this rank's rows, a copy: of what is there, all that further training changes."""
        return torch.cat([m for _, _, m in self.tiles()])

    @torch.no_grad()
    def go_back_to(self, multipliers: Tensor) -> None:
        """The layer as it was when it had these ``multipliers``: the rows appended since are dropped.

        Raises CheckpointError if it never had as many rows.
        """
        rows = self.ranks.total(len(multipliers))
        if rows > self.rows:
            raise CheckpointError(
                f"the snapshot is of {rows} rows, and the model has {self.rows}; a snapshot is of a model's own past."
            )
        self.drop(self.rows - rows)
        for (_, _, m), before in zip(self.tiles(), multipliers.split(self.block), strict=True):
            m.copy_(before)

    @torch.no_grad()
    def read(self, state: Mapping[str, Tensor], prefix: str) -> list[Block]:
        """The rows that a state holds under the prefix, in blocks of this layer's; its tensors are asked for once.

        Raises CheckpointError if it holds none, or of another shape.
        """
        blocks = [self._room(self.device)]
        for i in range(rows.blocks_in(state, prefix)):
            A, B, m = (state[name].to(self.device) for name in rows.names(prefix, i))
            if A.shape[1:] != (self.outputs,) or B.shape != (len(A), self.rank) or m.shape != (len(A),):
                shapes = f"{tuple(A.shape)}, {tuple(B.shape)} and {tuple(m.shape)}"
                raise CheckpointError(
                    f"{rows.names(prefix, i)[0]}, B and m of the state have shapes {shapes}, where this layer has rows "
                    f"of {self.outputs} and {self.rank} numbers; load the state of a model with the same keys."
                )
            self._append_to(blocks, A, B, m)
        if not rows.blocks_in(state, prefix):
            raise CheckpointError(f"the state has no rows {prefix}A.0; load the state of a model with the same keys.")
        return blocks

    def take(self, blocks: list[Block]) -> None:
        """These blocks of rows, this rank's share, in place of all that there are."""
        self.blocks, self.rows = blocks, self.ranks.total(sum(block.rows for block in blocks))

    def names(self, state: Mapping[str, Tensor], prefix: str) -> set[str]:
        """What the arrays that :meth:`read` reads are called."""
        return {name for i in range(rows.blocks_in(state, prefix)) for name in rows.names(prefix, i)}

    def _save_to_state_dict(self, destination, prefix: str, keep_vars: bool) -> None:
        """Every block's rows in use, as views; as many blocks for every rank, of which the last may be empty."""
        used = list(self.tiles())
        most = max(1, math.ceil(-(-self.rows // self.ranks.size) / self.block))
        used += [tuple(t[:0] for t in used[0])] * (most - len(used))
        for i, arrays in enumerate(used):
            destination.update(zip(rows.names(prefix, i), arrays, strict=True))

    def _load_from_state_dict(
        self, state_dict, prefix: str, local_metadata, strict: bool, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        own = self.names(state_dict, prefix)
        missing_keys += [name for name in (own or rows.names(prefix, 0)) if name not in state_dict]
        unexpected_keys += [name for name in state_dict if strict and name.startswith(prefix) and name not in own]
        if own.issubset(state_dict) and own:
            try:
                self.take(self.read(state_dict, prefix))
            except CheckpointError as e:
                error_msgs.append(str(e))

    def _apply(self, fn, recurse: bool = True) -> "GrowingLayer":
        """Where and in which type a module's tensors are: what .to, .cuda and .double change.

        Raises ConfigError for types narrower than float32, in which sums over M rows would not hold.
        """
        like = fn(torch.empty(0, dtype=self.dtype, device=self.device))
        if like.dtype not in (torch.float32, torch.float64):
            raise ConfigError(
                "a pi-limit computes in float32 or float64; to store its rows in less, make it with "
                "model.storage=bfloat16 or float16."
            )
        if self.storage == self.dtype:
            self.storage = like.dtype
        self.dtype = like.dtype
        self.blocks = [block.moved(like.device, self.storage, self.wide) for block in self.blocks]
        return super()._apply(fn, recurse)


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


@torch.no_grad()
def relu_features(layer: GrowingLayer, omega: Tensor) -> Tensor:
    """(m * A)ᵀ relu(Omega Bᵀ)ᵀ (k, n) for Gaussians Omega (n, r): the layer seen through n random neurons below."""
    out = torch.zeros(layer.outputs, len(omega), dtype=layer.dtype, device=omega.device)
    for A, B, m in layer.tiles():
        weighted = A.to(layer.dtype) * m[:, None]
        out += weighted.mT.to(layer.dtype) @ torch.relu(B.to(layer.dtype) @ omega.mT)
    return layer.ranks.add_up(out)
