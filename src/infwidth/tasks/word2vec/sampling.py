"""Which words are kept, how far their context reaches, and which negatives are drawn: no Python loop over words."""

from dataclasses import dataclass

import torch
from torch import Tensor

from infwidth.seeding import stream

BLOCK = 1 << 22
"""Running words whose random numbers are drawn together."""


def keep_probability(counts: Tensor, threshold: float) -> Tensor:
    """min(1, sqrt(t/f) + t/f) for words of relative frequency f, (V,) float64; NaN for a word that does not occur."""
    ratio = threshold / (counts.double() / counts.sum())
    return torch.where(counts > 0, (ratio.sqrt() + ratio).clamp(max=1), torch.nan)


def negative_probability(counts: Tensor, power: float) -> Tensor:
    """Proportional to counts^power, (V,) float64; zero for a word that does not occur."""
    weights = torch.where(counts > 0, counts.double() ** power, 0)
    return weights / weights.sum()


@dataclass(frozen=True)
class Kept:
    """The words that subsampling has kept of an epoch.

    words (n,) int64; reach (n,) int8: how many neighbours on each side are the context of each; bounds: where each
    minibatch begins and, last, where the last one ends.
    """

    words: Tensor
    reach: Tensor
    bounds: list[int]


def kept(tokens: Tensor, probability: Tensor, window: int, words_per_step: int, *names: int | str) -> Kept:
    """Subsample running words (N,) and draw each kept word's reach, uniform on 1..window.

    A minibatch covers ``words_per_step`` running words and holds those that are kept. names: of the random stream.
    """
    words, reach, bounds = [], [], []
    kept_before = 0
    for block in range(0, len(tokens), BLOCK):
        generator = stream(*names, "kept", block)
        piece = tokens[block : block + BLOCK].long()
        flag = torch.rand(len(piece), generator=generator) < probability[piece]
        words.append(piece[flag])
        reach.append(torch.randint(1, window + 1, (len(words[-1]),), generator=generator, dtype=torch.int8))
        begins = _multiples(words_per_step, block, block + len(piece)) - block
        kept_until = torch.cat([torch.zeros(1, dtype=torch.int64), flag.cumsum(0)])
        bounds += (kept_before + kept_until[begins]).tolist()
        kept_before += len(words[-1])
    return Kept(torch.cat(words), torch.cat(reach), [*bounds, kept_before])


def _multiples(step: int, begin: int, end: int) -> Tensor:
    """The multiples of ``step`` from ``begin`` on and below ``end``."""
    first = -(-begin // step) * step
    return torch.arange(min(first, end), end, step)


class Negatives:
    """Draws of words in proportion to counts^power."""

    def __init__(self, counts: Tensor, power: float):
        self.probability = negative_probability(counts, power)
        self.cumulative = self.probability.cumsum(0)
        self.cumulative[-1] = 1.0  # whatever rounding has left

    def independent(self, positions: int, number: int, generator: torch.Generator) -> Tensor:
        """Independent draws (positions, number) int64."""
        return self._at(torch.rand(positions, number, generator=generator, dtype=torch.float64))

    def spread(self, minibatches: int, number: int, generator: torch.Generator) -> Tensor:
        """Draws (minibatches, number) int64 for whole minibatches, systematic.

        A word of probability p occurs number * p times in each, rounded down or up at random, so that in
        expectation they are as independent draws, and no word is drawn much too often.
        """
        offset = torch.rand(minibatches, 1, generator=generator, dtype=torch.float64)
        return self._at((torch.arange(number) + offset) / number)

    def _at(self, uniform: Tensor) -> Tensor:
        return torch.searchsorted(self.cumulative, uniform, right=True)
