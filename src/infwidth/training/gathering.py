"""The whole state of a model that is split over ranks, and the shares of a whole one.

A checkpoint holds a model whole, whoever wrote it, so that any number of ranks, and what reads trained models, can go
on from it. The first rank alone writes and reads files. It never has the whole in its memory: what it gathers, array by
array and piece by piece, goes into a file that it maps; and what it hands round, it reads from one.
"""

import contextlib
import mmap
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from infwidth.errors import CheckpointError
from infwidth.models.contract import Model

PIECE = 1 << 26
"""Bytes of an array that pass between ranks at a time, about."""

ALIGNED = 64
"""Bytes that the beginnings of arrays in memory are multiples of."""


def like_whole(model: Model, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors without content of the shapes and types that a state, or a snapshot, has as a whole."""
    if model.ranks.size == 1:
        return dict(state)
    dealt = {name: model.dealt(name) for name in state}
    lengths = {name: t.shape[dealt[name]] for name, t in state.items() if dealt[name] is not None}
    everywhere = model.ranks.gathered(lengths)
    found = {}
    for name, t in state.items():
        shape = list(t.shape)
        if name in lengths:
            shape[dealt[name]] = sum(rank[name] for rank in everywhere)
        found[name] = torch.empty(shape, dtype=t.dtype, device="meta")
    return found


@contextlib.contextmanager
def wholes(model: Model, states: Mapping[str, Mapping[str, Tensor]], folder: Path) -> Iterator[dict[str, Tensor]]:
    """The tensors of some states of a model as a whole, each state's names after its prefix; to be used inside.

    Every rank calls this, and the first gets them (the others nothing), from a file in ``folder`` that is gone with
    them. CheckpointError if there is no room for it.
    """
    if model.ranks.size == 1:
        yield {f"{prefix}{name}": t for prefix, state in states.items() for name, t in state.items()}
        return
    like = {prefix: like_whole(model, state) for prefix, state in states.items()}
    found: dict[str, Tensor] = {}
    with _mapped([t for some in like.values() for t in some.values()], folder if model.ranks.first else None) as room:
        for prefix, state in states.items():
            for name, t in state.items():
                whole = next(room, None)
                _gather(model, name, t, like[prefix][name], whole)
                if whole is not None:
                    found[f"{prefix}{name}"] = whole
        yield found


def _gather(model: Model, name: str, share: Tensor, like: Tensor, whole: Tensor | None) -> None:
    """Fill ``whole``, None on all ranks but the first, with the shares that the ranks have of it."""
    dim = model.dealt(name)
    if dim is None:
        if whole is not None:
            whole.copy_(share)
    elif dim == 0:
        piece = model.ranks.whole(share, like.shape[0])
        if whole is not None:
            whole.copy_(piece)
    else:
        for rows in _pieces(like):
            piece = model.ranks.whole(share[rows].contiguous(), like.shape[dim], dim)
            if whole is not None:
                whole[rows] = piece


def _pieces(like: Tensor) -> Iterator[slice]:
    """Slices of the rows of an array, each of a piece's size."""
    rows = max(1, PIECE // max(1, like[:1].numel() * like.itemsize))
    return (slice(first, first + rows) for first in range(0, len(like), rows))


@contextlib.contextmanager
def _mapped(like: list[Tensor], folder: Path | None) -> Iterator[Iterator[Tensor]]:
    """Room for tensors like these, one after another, in a file without a name; nothing without a folder."""
    if folder is None:
        yield iter(())
        return
    starts, size = [], 0
    for t in like:
        starts.append(size)
        size += -(-t.numel() * t.itemsize // ALIGNED) * ALIGNED
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            os.posix_fallocate(file.fileno(), 0, max(size, 1))  # a full disk is known now, not by a fault in the middle
            room = mmap.mmap(file.fileno(), max(size, 1))
        except OSError as e:
            raise CheckpointError(
                f"the shares of a checkpoint, {size / 1e6:.1f} MB, cannot be gathered in {folder} ({e.strerror}); make "
                "room, or set trainer.checkpoint_every=0 to do without (a stopped run then starts anew)."
            ) from e
        yield (_view(room, t, start) for t, start in zip(like, starts, strict=True))


def _view(room: mmap.mmap, like: Tensor, start: int) -> Tensor:
    if not like.numel():
        return torch.empty(like.shape, dtype=like.dtype)
    return torch.frombuffer(room, dtype=like.dtype, count=like.numel(), offset=start).view(like.shape)


class Shares(Mapping[str, Tensor]):
    """This rank's shares of whole tensors that the first rank has (``tensors``, there alone).

    Every rank asks for the same names in the same order: a tensor is handed round when it is asked for.
    """

    def __init__(self, model: Model, tensors: Mapping[str, Tensor] | None):
        self.model, self.ranks, self.tensors = model, model.ranks, tensors
        about = {name: (t.shape, t.dtype) for name, t in tensors.items()} if self.ranks.first else None
        self.about: dict[str, tuple[torch.Size, torch.dtype]] = self.ranks.agreed(about)

    def __iter__(self) -> Iterator[str]:
        return iter(self.about)

    def __len__(self) -> int:
        return len(self.about)

    def __contains__(self, name: object) -> bool:
        return name in self.about

    def __getitem__(self, name: str) -> Tensor:
        if self.ranks.size == 1:
            return self.tensors[name]
        (shape, dtype), dim = self.about[name], self._dealt(name)
        if dim is None or dim == 0:
            whole = self._spread(name, slice(None), shape, dtype)
            return whole if dim is None else whole[self.ranks.own(self._before(name))].contiguous()
        own = self.ranks.own()
        found = torch.empty(*shape[:dim], self.ranks.share(shape[dim]), *shape[dim + 1 :], dtype=dtype)
        for rows in _pieces(torch.empty(shape, dtype=dtype, device="meta")):
            piece = self._spread(name, rows, (len(found[rows]), *shape[1:]), dtype)
            found[rows] = piece[(slice(None),) * dim + (own,)]
        return found

    def _dealt(self, name: str) -> int | None:
        try:
            return self.model.dealt(name)
        except KeyError:
            return None  # of another model, which is for that to say

    def _spread(self, name: str, rows: slice, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        piece = self.tensors[name][rows].contiguous() if self.ranks.first else torch.empty(shape, dtype=dtype)
        return self.ranks.spread(piece)

    def _before(self, name: str) -> int:
        """The rows of the arrays A.0, A.1, ... before this one, with which it is dealt out as one."""
        stem, _, number = name.rpartition(".")
        if not number.isdecimal():
            return 0
        return sum(self.about[f"{stem}.{i}"][0][0] for i in range(int(number)) if f"{stem}.{i}" in self.about)
