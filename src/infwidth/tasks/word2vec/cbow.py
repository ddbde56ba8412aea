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
    the column of each target among these; weight: how often each is a negative, (n,) of all positions, in which case it counts
    for all but those whose target it is, or (B, n) of each; present (B,): 1, or 0 for a position without any context, which is
    left out.
    """

    context: Bags
    asked: Asked
    target: Tensor
    weight: Tensor
    present: Tensor

    @property
    def at_target(self) -> Tensor:
        """The weight (B,) that each target would have as a negative of its own position."""
        return self.weight[self.target] if self.weight.dim() == 1 else self.weight.gather(1, self.target[:, None]).squeeze(1)


class Windows:
    """The contexts of a text's positions: words within each one's reach and sentence, itself excepted.

    words, reach (n,): as in :class:`infwidth.tasks.word2vec.sampling.Kept`; sentence: its length in words.
    """

    CHUNK = 1 << 15
    """Positions whose contexts are found together."""

    def __init__(self, words: Tensor, reach: Tensor, window: int, sentence: int, dtype: torch.dtype):
        self.window, self.sentence, self.dtype, self.reach, self.size = window, sentence, dtype, reach, len(words)
        self.padded = torch.nn.functional.pad(words, (window, window))  # so that every position has window neighbours on each side
        self.offset = torch.arange(-window, window + 1, device=words.device)
        self.begin, self.inside = 0, torch.zeros(0, 2 * window + 1, dtype=dtype, device=words.device)

    def __call__(self, start: int, end: int) -> Bags:
        """The contexts of positions start..end-1 as bags."""
        if start < self.begin or end > self.begin + len(self.inside):
            self._find(start, max(end, min(start + self.CHUNK, self.size)))
        inside = self.inside[start - self.begin : end - self.begin]
        distinct, place = torch.unique(self.padded[start : end + 2 * self.window], return_inverse=True)
        return bags(distinct, place.unfold(0, 2 * self.window + 1, 1)[: end - start], inside)

    def _find(self, start: int, end: int) -> None:
        """Which of the 2 window + 1 words around each of positions start..end-1 are context: self.inside (end - start, 2 window + 1)."""
        centre = torch.arange(start, end, device=self.offset.device)[:, None]
        begins, neighbour = centre - centre % self.sentence, centre + self.offset
        within = (self.offset.abs() <= self.reach[start:end, None]) & (self.offset != 0)
        ends = (begins + self.sentence).clamp(max=self.size)
        self.begin, self.inside = start, (within & (neighbour >= begins) & (neighbour < ends)).to(self.dtype)


def bags(distinct: Tensor, place: Tensor, inside: Tensor) -> Bags:
    """Bags of the words distinct[place] (B, m), each as often as ``inside`` (B, m) says, 0 or 1."""
    count = torch.zeros(len(inside), len(distinct), dtype=inside.dtype, device=place.device)
    count.scatter_add_(1, place, inside)
    return Bags(distinct, count / count.sum(1, keepdim=True).clamp(min=1), count.sum(0))


def minibatch(context: Bags, targets: Tensor, negatives: Tensor, each: float) -> Minibatch:
    """Join contexts with targets (B,) and negatives: (B, K), or (S,) shared by all positions; ``each`` is what a draw weighs."""
    dtype = context.share.dtype
    rows, place = torch.unique(torch.cat([targets, negatives.flatten()]), return_inverse=True)
    target, drawn = place[: len(targets)], place[len(targets) :].reshape(negatives.shape)
    present = (context.share.sum(1) > 0).to(dtype)
    if negatives.dim() == 1:
        weight = (torch.bincount(drawn, minlength=len(rows)) * each).to(dtype)
        touches = (weight * present.sum()).index_add_(0, target, present * (1 - weight[target]))
    else:
        weight = torch.zeros(len(targets), len(rows), dtype=dtype, device=rows.device)
        weight.scatter_add_(1, drawn, torch.full(drawn.shape, each, dtype=dtype, device=rows.device)).scatter_(1, target[:, None], 0)
        touches = (weight * present[:, None]).sum(0).index_add_(0, target, present)
    return Minibatch(context, Asked(rows, touches), target, weight, present)


def loss(f: Tensor, batch: Minibatch) -> Tensor:
    """Mean loss of the positions (0-d) for outputs f (B, n)."""
    at_target, negative = f.gather(1, batch.target[:, None]).squeeze(1), softplus(f)
    each = negative @ batch.weight if batch.weight.dim() == 1 else (negative * batch.weight).sum(1)
    each += softplus(-at_target) - batch.at_target * softplus(at_target)
    return (each * batch.present).sum() / batch.present.sum().clamp(min=1)


def cotangent(f: Tensor, batch: Minibatch, table: bool = False) -> Tensor:
    """The derivative of the summed loss by the outputs f (B, n). table: with the authors' quantised sigmoid."""
    probability = table_sigmoid(f) if table else torch.sigmoid(f)
    # A position without context has h = 0 and no words, so that its cotangent moves nothing.
    at_target = probability.gather(1, batch.target[:, None]) - 1
    return probability.mul_(batch.weight).scatter_(1, batch.target[:, None], at_target)


def table_sigmoid(f: Tensor) -> Tensor:
    """The sigmoid as the authors' program looks it up: 1000 steps over (-12, 12), its index (f + 12) * 41 a little short.

    It gives 0.4521 at f = 0. For comparison with that program only.
    """
    index = ((f + 12) * 41).clamp(0, 999).trunc()
    steps = torch.sigmoid((index / 1000 * 2 - 1) * 12)
    return torch.where(f > 12, 1.0, torch.where(f < -12, 0.0, steps)).to(f.dtype)
