"""Small minibatches."""

import torch

from infwidth.tasks.word2vec.minibatches import assembled
from infwidth.tasks.word2vec.outputs import Draws
from infwidth.tasks.word2vec.windows import Windows

V = 12
"""Words of the vocabulary."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def minibatches(words, reach, bounds, drawn, shared, weight, dtype=torch.float64, window=3, sentence=100):
    """The minibatches of a text of ``words`` between ``bounds``."""
    positions = Windows(words, reach, window, sentence)(bounds)
    return list(assembled(positions, Draws(drawn, shared, weight), V, dtype))


def batch_of(shared, seed=0, positions=6, dtype=torch.float64):
    """One minibatch of random words, and the negatives of each position (positions, draws), which weigh 5 in all."""
    g = generator(seed)
    words, reach = torch.randint(V, (20,), generator=g), torch.randint(1, 4, (20,), generator=g)
    drawn = torch.randint(V, (1, 8) if shared else (positions, 5), generator=g)
    (batch,) = minibatches(words, reach, [5, 5 + positions], drawn, shared, 5 / drawn.shape[-1], dtype)
    return batch, drawn.expand(positions, -1)
