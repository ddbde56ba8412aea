"""Which outputs the minibatches ask for, and how much each counts for each position."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from infwidth.models.bags import Asked
from infwidth.tasks.word2vec.layout import Layout, Part


@dataclass(frozen=True)
class Draws:
    """Negatives as they were drawn.

    words: (minibatches, S) that all positions of a minibatch share, or (P, K) of each position's own; weight: what each
    draw counts.
    """

    words: Tensor
    shared: bool
    weight: float


@dataclass(frozen=True)
class Outputs:
    """The N distinct outputs of M minibatches of P positions, counted anew in each.

    In each minibatch, its negatives come first (n in all), then the targets that are not among them.

    words (N,) int64; of_target (P,), of_negative (n,): the places of each position's target and of each distinct
    negative among all N; own (P,): the place of each position's target among its minibatch's; minibatch (n,): the
    one that each distinct negative belongs to; draw (as Draws.words): the place of each draw among the n. first,
    first_negative (M + 1,): where those of each minibatch begin.
    """

    words: Tensor
    of_target: Tensor
    of_negative: Tensor
    own: Tensor
    minibatch: Tensor
    draw: Tensor
    first: Tensor
    first_negative: Tensor

    @classmethod
    def of(cls, targets: Tensor, draws: Draws, layout: Layout, vocabulary: int) -> "Outputs":
        """The outputs for targets (P,) and draws, all of them below ``vocabulary``."""
        # By these keys a minibatch's words lie before the next one's: first its negatives, then its other targets.
        span = 2 * vocabulary
        drawn_by = layout.numbers()[:-1] if draws.shared else layout.minibatch
        negatives, draw = torch.unique(drawn_by[:, None] * span + draws.words, return_inverse=True)
        target = layout.minibatch * span + targets
        target = torch.where(torch.isin(target, negatives), target, target + vocabulary)
        distinct, place = torch.unique(torch.cat([negatives, target]), return_inverse=True)
        of_negative, of_target = place.split([len(negatives), len(target)])
        first = torch.searchsorted(distinct, layout.numbers() * span)
        return cls(
            words=distinct % vocabulary,
            of_target=of_target,
            of_negative=of_negative,
            own=of_target - first[layout.minibatch],
            minibatch=negatives // span,
            draw=draw,
            first=first,
            first_negative=torch.searchsorted(negatives, layout.numbers() * span),
        )

    def as_target(self, present: Tensor) -> Tensor:
        """How often each output is the target of a position with context, (N,)."""
        return present.new_zeros(len(self.words)).index_add_(0, self.of_target, present)

    def touches(self, present: Tensor, weights: "Weights") -> Tensor:
        """What each output counts in its minibatch, as a target and as a negative, (N,)."""
        return self.as_target(present).index_add_(0, self.of_negative, weights.of_negatives())

    def asked(self, part: Part, touches: Tensor) -> Asked:
        """What one minibatch asks for."""
        negatives = part.negatives.stop - part.negatives.start
        return Asked(self.words[part.outputs], negatives, self.own[part.positions], touches[part.outputs])


class Weights(Protocol):
    """How often each output counts for each position."""

    def of_negatives(self) -> Tensor:
        """What each distinct negative counts in its minibatch (n,), positions of which it is the target left out."""

    def __call__(self, part: Part) -> Tensor:
        """The weights of one minibatch (B, 1 + its negatives): of each position's target, then of the negatives."""


class SharedWeights:
    """Where the positions of a minibatch share its negatives. present (P,): 0 for a position without context."""

    def __init__(self, outputs: Outputs, draws: Draws, layout: Layout, present: Tensor):
        self.outputs, self.layout, self.present = outputs, layout, present
        times = torch.bincount(outputs.draw.flatten(), minlength=len(outputs.minibatch))
        self.each = times.to(present.dtype) * draws.weight
        # As a row for all positions of a minibatch: 1 for the target, then the weights of the negatives.
        place = torch.arange(1, len(self.each) + 1, device=present.device) + outputs.minibatch
        self.rows = present.new_ones(len(self.each) + layout.minibatches).index_copy_(0, place, self.each)
        self.column = torch.arange(-1, draws.words.shape[1], device=present.device)

    def of_negatives(self) -> Tensor:
        positions = self.present.new_zeros(self.layout.minibatches).index_add_(0, self.layout.minibatch, self.present)
        not_target = positions[self.outputs.minibatch] - self.outputs.as_target(self.present)[self.outputs.of_negative]
        return self.each * not_target

    def __call__(self, part: Part) -> Tensor:
        weights = self.rows[part.with_one_more(part.negatives)] * self.present[part.positions, None]
        # A target is no negative of its own position. Negatives are the first outputs, so column 1 + j is output j's.
        is_target = self.outputs.own[part.positions, None] == self.column[: weights.shape[1]]
        return weights.masked_fill_(is_target, 0)


class OwnWeights:
    """Where each position has its own negatives. present (P,): 0 for a position without context."""

    def __init__(self, outputs: Outputs, targets: Tensor, draws: Draws, layout: Layout, present: Tensor):
        self.outputs, self.present = outputs, present
        # (P, K): a target is no negative of its own position.
        self.each = (draws.words != targets[:, None]).to(present.dtype) * (present * draws.weight)[:, None]
        self.column = outputs.draw - outputs.first_negative[layout.minibatch, None] + 1

    def of_negatives(self) -> Tensor:
        found = self.present.new_zeros(len(self.outputs.minibatch))
        return found.index_add_(0, self.outputs.draw.flatten(), self.each.flatten())

    def __call__(self, part: Part) -> Tensor:
        positions, negatives = part.positions, part.negatives
        weights = self.present.new_zeros(positions.stop - positions.start, 1 + negatives.stop - negatives.start)
        weights.scatter_add_(1, self.column[positions], self.each[positions])
        weights[:, 0] = self.present[positions]
        return weights
