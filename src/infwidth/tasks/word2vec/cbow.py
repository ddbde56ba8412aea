"""A minibatch of CBOW with negative sampling, its loss and the derivative of the loss.

For a position with context c_1..c_m, target t and negatives n_1..n_K (those equal to t are skipped):

    h = mean of the context words' input vectors,   f_k = h . v_k
    loss = -log sigma(f_t) - sum_k log sigma(-f_k)

The losses of a minibatch are summed. Negatives are independent for every position, or S draws are shared by all positions
of a minibatch and weigh K/S each, which leaves the expected gradient unchanged.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from infwidth.models.contract import Asked, Bags


@dataclass(frozen=True)
class Minibatch:
    """B positions.

    context: the bags of their context words; asked: the outputs of all their targets and negatives, n of them; target (B,):
    the column of each target among these; weight (B, n): how often each is a negative of each position; present (B,): 1,
    or 0 for a position without any context, which is left out.
    """

    context: Bags
    asked: Asked
    target: Tensor
    weight: Tensor
    present: Tensor


def windows(words: Tensor, reach: Tensor, start: int, end: int, window: int, sentence: int, dtype: torch.dtype) -> Bags:
    """The contexts of positions start..end-1 of a text: words within each one's reach and sentence, itself excepted.

    words, reach (n,): as in :class:`infwidth.tasks.word2vec.sampling.Kept`; sentence: its length in words.
    """
    device = words.device
    first, last = max(start - window, 0), min(end + window, len(words))
    distinct, place = torch.unique(words[first:last], return_inverse=True)
    offset = torch.cat([torch.arange(-window, 0, device=device), torch.arange(1, window + 1, device=device)])
    centre = torch.arange(start, end, device=device)[:, None]
    begins = centre - centre % sentence
    neighbour = centre + offset
    inside = (offset.abs() <= reach[start:end, None]) & (neighbour >= begins) & (neighbour < (begins + sentence).clamp(max=len(words)))
    return bags(distinct, place[(neighbour - first).clamp(0, len(place) - 1)], inside, dtype)


def bags(distinct: Tensor, place: Tensor, inside: Tensor, dtype: torch.dtype) -> Bags:
    """Bags of the words distinct[place] (B, m) of which only those ``inside`` (B, m) count."""
    count = torch.zeros(len(place), len(distinct), dtype=dtype, device=place.device)
    count.scatter_add_(1, place, inside.to(dtype))
    return Bags(distinct, count / count.sum(1, keepdim=True).clamp(min=1), count.sum(0))


def minibatch(context: Bags, targets: Tensor, negatives: Tensor, each: float) -> Minibatch:
    """Join contexts with targets (B,) and negatives: (B, K), or (S,) shared by all positions; ``each`` is what a draw weighs."""
    dtype = context.share.dtype
    rows, place = torch.unique(torch.cat([targets, negatives.flatten()]), return_inverse=True)
    target, drawn = place[: len(targets)], place[len(targets) :].reshape(negatives.shape)
    present = (context.share.sum(1) > 0).to(dtype)
    if negatives.dim() == 1:
        weight = (torch.bincount(drawn, minlength=len(rows)) * each).to(dtype).repeat(len(targets), 1)
    else:
        weight = torch.zeros(len(targets), len(rows), dtype=dtype, device=rows.device)
        weight.scatter_add_(1, drawn, torch.full(drawn.shape, each, dtype=dtype, device=rows.device))
    weight.scatter_(1, target[:, None], 0)
    weight *= present[:, None]
    touches = weight.sum(0).index_add_(0, target, present)
    return Minibatch(context, Asked(rows, touches), target, weight, present)


def loss(f: Tensor, batch: Minibatch) -> Tensor:
    """Mean loss of the positions (0-d) for outputs f (B, n)."""
    positive = softplus(-f.gather(1, batch.target[:, None])).squeeze(1) * batch.present
    return (positive.sum() + (softplus(f) * batch.weight).sum()) / batch.present.sum().clamp(min=1)


def cotangent(f: Tensor, batch: Minibatch, table: bool = False) -> Tensor:
    """The derivative of the summed loss by the outputs f (B, n). table: with the authors' quantised sigmoid."""
    probability = table_sigmoid(f) if table else torch.sigmoid(f)
    at_target = (probability.gather(1, batch.target[:, None]) - 1) * batch.present[:, None]
    return (probability * batch.weight).scatter_(1, batch.target[:, None], at_target)


def table_sigmoid(f: Tensor) -> Tensor:
    """The sigmoid as the authors' program looks it up: 1000 steps over (-12, 12), its index (f + 12) * 41 a little short.

    It gives 0.4521 at f = 0. For comparison with that program only.
    """
    index = ((f + 12) * 41).clamp(0, 999).trunc()
    steps = torch.sigmoid((index / 1000 * 2 - 1) * 12)
    return torch.where(f > 12, 1.0, torch.where(f < -12, 0.0, steps)).to(f.dtype)
