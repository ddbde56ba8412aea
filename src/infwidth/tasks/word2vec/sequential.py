"""CBOW one position after another, one output word after another: the algorithm that minibatches approximate.

Slow, and exact to the letter of the authors' program: a negative drawn twice sees the row that its first use has
changed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from infwidth.tasks.word2vec.cbow import table_sigmoid


@torch.no_grad()
def step(
    U: Tensor,
    V: Tensor,
    context: Sequence[int],
    target: int,
    negatives: Sequence[int],
    rate: float,
    decay: float = 0.0,
    table: bool = False,
) -> tuple[float, float]:
    """Train on one position, in place; returns its loss and f of its target.

    U (words, n), V (words, n): input and output vectors, a row per word.
    """
    kept = 1 - rate * decay
    h = U[list(context)].mean(0)
    error, loss, positive = torch.zeros_like(h), 0.0, 0.0
    for k, word in enumerate([target, *(n for n in negatives if n != target)]):
        f = h @ V[word]
        q = table_sigmoid(f) if table else torch.sigmoid(f)
        g = rate * (float(k == 0) - q)
        loss -= torch.log((q if k == 0 else 1 - q) + 1e-10).item()
        positive = f.item() if k == 0 else positive
        error += g * V[word]
        V[word] = kept * V[word] + g * h
    for word in context:
        U[word] = kept * U[word] + error / len(context)
    return loss, positive
