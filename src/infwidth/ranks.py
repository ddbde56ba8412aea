"""The processes that carry out one run together, one of which is ``first``, and what passes between them.

All of them do the same, with the same batches. A model that splits holds a share in each: what is dealt out, be it rows
or coordinates, goes to the ranks in turn, thing number i to rank i mod N. Whatever is a sum over rows or coordinates is
then a sum of the ranks' sums. Alone, a process has everything, and nothing here does anything.

torch.distributed carries it; :mod:`infwidth.joining` is how the ranks find each other.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from infwidth.errors import ConfigError, RankError


@dataclass(frozen=True)
class Exchange:
    """How often ranks have added up or handed round tensors, and how many numbers these had."""

    calls: int = 0
    numbers: int = 0

    def __add__(self, other: Exchange) -> Exchange:
        return Exchange(self.calls + other.calls, self.numbers + other.numbers)

    def __sub__(self, other: Exchange) -> Exchange:
        return Exchange(self.calls - other.calls, self.numbers - other.numbers)


class Ranks:
    """This process's place among them. RankError where one of the others is gone.

    rank, size: its number, and how many there are; here: how many on this machine, of which it is number ``place``.
    exchanged: what has passed between them so far; lost: whether one of them is gone.
    """

    def __init__(self, rank: int = 0, size: int = 1, place: int = 0, here: int = 1):
        self.rank, self.size, self.place, self.here = rank, size, place, here
        self.exchanged, self.lost = Exchange(), False

    def __deepcopy__(self, memo) -> Ranks:
        """A copy of a model is split over the same processes."""
        return self

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, logs and draws."""
        return self.rank == 0

    def own(self, after: int = 0) -> slice:
        """Which of some things are this rank's, where ``after`` things have been dealt out before."""
        return slice((self.rank - after) % self.size, None, self.size)

    def share(self, total: int) -> int:
        """How many of so many things are this rank's."""
        return _share(self.rank, self.size, total)

    def require_at_most(self, total: int, what: str) -> None:
        """ConfigError where there are more ranks than things to deal out; what: they are, and the key that says so."""
        if self.size > total:
            raise ConfigError(f"there are {self.size} ranks for {total} {what}; start torchrun with at most {total}.")

    def add_up(self, t: Tensor) -> Tensor:
        """The sum of all ranks' tensors, in place of this one, which is contiguous."""
        if self.size > 1:
            self._count(t)
            with self._answered():
                self._add_up(t)
        return t

    def whole(self, share: Tensor, total: int, dim: int = 0) -> Tensor:
        """The whole of what is dealt out along a dimension, where it has the length ``total``."""
        if self.size == 1:
            return share
        along = (slice(None),) * dim
        most = share.new_zeros(*share.shape[:dim], _share(0, self.size, total), *share.shape[dim + 1 :])
        most[(*along, slice(share.shape[dim]))] = share
        parts = [torch.empty_like(most) for _ in range(self.size)]
        self._count(most)
        with self._answered():
            self._gather(parts, most)
        found = share.new_empty(*share.shape[:dim], total, *share.shape[dim + 1 :])
        for rank, part in enumerate(parts):
            found[(*along, slice(rank, None, self.size))] = part[(*along, slice(_share(rank, self.size, total)))]
        return found

    def spread(self, t: Tensor) -> Tensor:
        """The first rank's tensor, in place of this one, which is contiguous."""
        if self.size > 1:
            self._count(t)
            with self._answered():
                self._spread(t)
        return t

    def any(self, *flags: bool) -> list[bool]:
        """Of each flag, whether any rank has it."""
        if self.size == 1:
            return list(flags)
        return self.add_up(torch.tensor(flags, dtype=torch.int64)).gt(0).tolist()

    def total(self, count: int) -> int:
        """The sum of all ranks' numbers."""
        return count if self.size == 1 else int(self.add_up(torch.tensor([count])).item())

    def norms(self, shares: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Norms by name (0-d) of what the ranks have the shares of, from the norms of these."""
        if self.size == 1 or not shares:
            return dict(shares)
        squares = self.add_up(torch.stack(list(shares.values())).square())
        return dict(zip(shares, squares.sqrt(), strict=True))

    def gathered(self, value: Any) -> list[Any]:
        """Every rank's value, whatever it is, in the order of ranks."""
        if self.size == 1:
            return [value]
        with self._answered():
            return self._objects(value)

    def agreed(self, value: Any) -> Any:
        """The first rank's value."""
        return self.gathered(value if self.first else None)[0]

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        """RankError where the others do not take part."""
        try:
            yield
        except RuntimeError as e:  # of no type of its own
            self.lost = True
            raise RankError(
                f"another rank of this run has ended or does not answer ({_reason(e)}); what was saved is kept, the "
                "same command goes on from there."
            ) from e

    def _count(self, t: Tensor) -> None:
        self.exchanged += Exchange(1, t.numel())

    def _add_up(self, t: Tensor) -> None:
        dist.all_reduce(t)

    def _gather(self, parts: list[Tensor], t: Tensor) -> None:
        dist.all_gather(parts, t)

    def _spread(self, t: Tensor) -> None:
        dist.broadcast(t, 0)

    def _objects(self, value: Any) -> list[Any]:
        found = [None] * self.size
        dist.all_gather_object(found, value)
        return found


ALONE = Ranks()
"""One process that has everything."""


def _share(rank: int, size: int, total: int) -> int:
    return len(range(rank, total, size))


def _reason(error: RuntimeError) -> str:
    """The first sentence of what torch says, without the line of its own code that says it."""
    first = str(error).partition("\n")[0].partition(". ")[0]
    return re.sub(r"^\[[^]]*\]\s*", "", first).rstrip(".")
