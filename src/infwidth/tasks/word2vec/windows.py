"""Which words are the context of which positions of a text."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Positions:
    """The P positions of some consecutive minibatches, and the N entries that are their context words.

    bounds (minibatches + 1): where each minibatch begins among the P positions, and the last one ends; targets (P,)
    int64: the word at each position; position, word (N,) int64: of each entry, in the order of positions.
    """

    bounds: Sequence[int]
    targets: Tensor
    position: Tensor
    word: Tensor


class Windows:
    """The contexts of a text's positions: words within each one's reach and sentence, itself excepted.

    words, reach (n,): as in :class:`infwidth.tasks.word2vec.sampling.Kept`; window: the longest reach; sentence:
    its length in words.
    """

    def __init__(self, words: Tensor, reach: Tensor, window: int, sentence: int):
        self.words, self.reach, self.sentence = words, reach, sentence
        self.offset = torch.arange(-window, window + 1, device=words.device)

    def __call__(self, bounds: Sequence[int]) -> Positions:
        """The positions of the minibatches between ``bounds``, which are places in the text."""
        start, end = bounds[0], bounds[-1]
        centre = torch.arange(start, end, device=self.words.device)[:, None]
        neighbour = centre + self.offset  # (positions, 2 * window + 1), some of them not in the context
        sentence_begins = centre - centre % self.sentence
        sentence_ends = (sentence_begins + self.sentence).clamp(max=len(self.words))
        in_reach = (self.offset.abs() <= self.reach[start:end, None]) & (self.offset != 0)
        in_sentence = (neighbour >= sentence_begins) & (neighbour < sentence_ends)
        entry = (in_reach & in_sentence).flatten().nonzero().squeeze(1)
        return Positions(
            bounds=[bound - start for bound in bounds],
            targets=self.words[start:end],
            position=entry // len(self.offset),
            word=self.words[neighbour.flatten()[entry]],
        )
