"""Where each of some consecutive minibatches lies in arrays that hold the numbers of all of them, one after another."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Which of M consecutive minibatches each of their P positions belongs to.

    begin (M + 1,): the first position of each, and P; minibatch (P,): the number of each position's.
    """

    begin: Tensor
    minibatch: Tensor

    @classmethod
    def of(cls, bounds: Sequence[int], device: torch.device) -> "Layout":
        """The layout of minibatches that begin at ``bounds``, the last one of which is the end."""
        begin = torch.tensor(bounds, device=device)
        return cls(begin, torch.repeat_interleave(begin.diff()))

    @property
    def minibatches(self) -> int:
        return len(self.begin) - 1

    @property
    def positions(self) -> int:
        return len(self.minibatch)

    def numbers(self) -> Tensor:
        """0..M, one number for each minibatch and one for the end."""
        return torch.arange(len(self.begin), device=self.begin.device)


@dataclass(frozen=True)
class Part:
    """The share of one minibatch in the arrays of all.

    Of positions, entries (context words of positions), distinct context words, distinct negatives and distinct outputs.
    number: how many minibatches are before it.
    """

    number: int
    positions: slice
    entries: slice
    words: slice
    negatives: slice
    outputs: slice

    def with_one_more(self, share: slice) -> slice:
        """The same share of an array that has one number more for every minibatch."""
        return slice(share.start + self.number, share.stop + self.number + 1)


def parts(*begins: Tensor) -> list[Part]:
    """The part of each minibatch.

    begins (M + 1,) each: where its positions, its entries, its words, its negatives and its outputs begin.
    """
    at = torch.stack(begins, dim=1).tolist()  # the one place where a GPU is waited for
    return [
        Part(number, *(slice(begin, end) for begin, end in zip(here, after, strict=True)))
        for number, (here, after) in enumerate(itertools.pairwise(at))
    ]
