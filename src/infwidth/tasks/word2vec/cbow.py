"""A minibatch of CBOW with negative sampling, its loss and the derivative of the loss.

For a position with context c_1..c_m, target t and negatives n_1..n_K (those equal to t are skipped):

    h = mean of the context words' input vectors,   f_k = h . v_k
    loss = -log sigma(f_t) - sum_k log sigma(-f_k)

The losses of a minibatch are summed. Negatives are independent for every position, or S draws are shared by all
positions of a minibatch and weigh K/S each, which leaves the expected gradient unchanged.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from infwidth.models.bags import Asked, Bags


@dataclass(frozen=True)
class Minibatch:
    """B positions.

    context: the bags of their context words; asked: the outputs of each one's own target and of all their
    negatives; weight (B, 1 + asked.shared): how often each output counts for each position; present (B,): 1, or 0
    for a position without any context, whose weights are 0.
    """

    context: Bags
    asked: Asked
    weight: Tensor
    present: Tensor


def loss(f: Tensor, batch: Minibatch, share: int = 1) -> Tensor:
    """Mean loss of the positions (0-d) for outputs f (B, 1 + negatives).

    -log sigma(f) = softplus(f) - f at the targets.

    share: of a share-th of the positions only, the first ones, as an estimate.
    """
    n = -(-len(f) // share)
    f, weight, present = f[:n], batch.weight[:n], batch.present[:n]
    total = torch.vdot(softplus(f).view(-1), weight.view(-1)) - f[:, 0] @ present
    return total / present.sum().clamp(min=1)


def cotangent(f: Tensor, batch: Minibatch, table: bool = False) -> Tensor:
    """The derivative of the summed loss by the outputs f. table: with the authors' quantised sigmoid."""
    derivative = (table_sigmoid(f) if table else torch.sigmoid(f)).mul_(batch.weight)
    derivative[:, 0] -= batch.present
    return derivative


def table_sigmoid(f: Tensor) -> Tensor:
    """The sigmoid as the authors' program looks it up: 1000 steps over (-12, 12).

    The index (f + 12) * 41 is a little short: it gives 0.4521 at f = 0. For comparison with that program only.
    """
    index = ((f + 12) * 41).clamp(0, 999).trunc()
    steps = torch.sigmoid((index / 1000 * 2 - 1) * 12)
    return torch.where(f > 12, 1.0, torch.where(f < -12, 0.0, steps)).to(f.dtype)
