"""The contexts of many positions as bags: for each minibatch a sparse matrix of positions by distinct words."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from infwidth.models.bags import Bags
from infwidth.models.sparse import Compressed, Sparse
from infwidth.tasks.word2vec.layout import Layout, Part
from infwidth.tasks.word2vec.windows import Positions


@dataclass(frozen=True)
class Contexts:
    """The contexts of M minibatches: P positions, N entries, n distinct words, counted anew in each minibatch.

    present (P,): 1, or 0 for a position without context; words (n,) int64; touches (n,): how often each occurs.
    by_positions and by_words: the entries in the order of positions and in that of words, their rows and columns
    counted within each minibatch; both have one start more for every minibatch. first_entry, first_word (M + 1,):
    where those of each minibatch begin.
    """

    present: Tensor
    words: Tensor
    touches: Tensor
    by_positions: Compressed
    by_words: Compressed
    first_entry: Tensor
    first_word: Tensor

    @classmethod
    def of(cls, positions: Positions, layout: Layout, vocabulary: int, dtype: torch.dtype) -> "Contexts":
        """The contexts of ``positions``, whose words are below ``vocabulary``; shares and counts are of ``dtype``."""
        length = torch.bincount(positions.position, minlength=layout.positions)
        share = (1 / length.to(dtype))[positions.position]
        minibatch = layout.minibatch[positions.position]

        # Sorted by these keys, equal words of a minibatch lie side by side, and its words before the next one's.
        keys, order = torch.sort(minibatch * vocabulary + positions.word, stable=True)
        distinct, place, touches = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
        first_word = torch.searchsorted(distinct, layout.numbers() * vocabulary)
        sorted_column = place - first_word[minibatch[order]]
        column = torch.empty_like(sorted_column).index_copy_(0, order, sorted_column)
        row = positions.position - layout.begin[minibatch]

        return cls(
            present=(length > 0).to(dtype),
            words=distinct % vocabulary,
            touches=touches.to(dtype),
            by_positions=Compressed(column, share, starts(length, layout.begin)),
            by_words=Compressed(row[order], share[order], starts(touches, first_word)),
            first_entry=pad(length.cumsum(0), (1, 0))[layout.begin],
            first_word=first_word,
        )

    def bags(self, part: Part) -> Bags:
        """The contexts of one minibatch."""
        by_positions = _cut(self.by_positions, part.entries, part.with_one_more(part.positions))
        by_words = _cut(self.by_words, part.entries, part.with_one_more(part.words))
        return Bags(self.words[part.words], Sparse(by_positions, by_words), self.touches[part.words])


def starts(lengths: Tensor, first: Tensor) -> Tensor:
    """Where each row begins among the entries of its own minibatch, and the number of all its entries.

    lengths (n,): entries of every row; first (M + 1,): the rows with which the minibatches begin, and n. (n + M,),
    one number more than rows for every minibatch.
    """
    begins = pad(lengths.cumsum(0), (1, 0))  # among the entries of all minibatches
    minibatch = torch.repeat_interleave(first.diff() + 1)
    row = torch.arange(len(minibatch), device=first.device) - minibatch
    return begins[row] - begins[first][minibatch]


def _cut(matrix: Compressed, entries: slice, rows: slice) -> Compressed:
    return Compressed(matrix.column[entries], matrix.values[entries], matrix.start[rows])
