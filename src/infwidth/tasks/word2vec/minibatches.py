"""From positions of a text to minibatches: which distinct words each one touches, and where each position finds its own.

Many consecutive minibatches are prepared together, so that their words are sorted once, and on a GPU their sizes are
waited for once.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infwidth.models.bags import Asked, Bags
from infwidth.models.sparse import Compressed, Sparse
from infwidth.tasks.word2vec.cbow import Minibatch


@dataclass(frozen=True)
class Positions:
    """The P positions of some consecutive minibatches.

    bounds (minibatches + 1): where each begins among the P, and the last one ends; targets (P,); position, word (N,): the context
    words of all positions, in the order of positions.
    """

    bounds: Sequence[int]
    targets: Tensor
    position: Tensor
    word: Tensor


class Windows:
    """The contexts of a text's positions: words within each one's reach and sentence, itself excepted.

    words, reach (n,): as in :class:`infwidth.tasks.word2vec.sampling.Kept`; sentence: its length in words.
    """

    def __init__(self, words: Tensor, reach: Tensor, window: int, sentence: int):
        self.words, self.reach, self.sentence = words, reach, sentence
        self.offset = torch.arange(-window, window + 1, device=words.device)

    def __call__(self, bounds: Sequence[int]) -> Positions:
        """The positions of the minibatches between ``bounds``."""
        start, end = bounds[0], bounds[-1]
        centre = torch.arange(start, end, device=self.words.device)[:, None]
        begins, neighbour = centre - centre % self.sentence, centre + self.offset
        ends = (begins + self.sentence).clamp(max=len(self.words))
        inside = (
            (self.offset.abs() <= self.reach[start:end, None])
            & (self.offset != 0)
            & (neighbour >= begins)
            & (neighbour < ends)
        )
        entry = inside.flatten().nonzero().squeeze(1)
        position = entry // len(self.offset)
        return Positions(
            [b - start for b in bounds], self.words[start:end], position, self.words[neighbour.flatten()[entry]]
        )


def assembled(
    positions: Positions, negatives: Tensor, shared: bool, each: float, vocabulary: int, dtype: torch.dtype
) -> Iterator[Minibatch]:
    """The minibatches of ``positions``.

    negatives: the draws (minibatches, S) that the positions of each minibatch share, or those of each position (P, K); each: what a draw weighs.
    """
    bounds, device, twice = positions.bounds, negatives.device, 2 * vocabulary
    sizes = torch.tensor([j - i for i, j in itertools.pairwise(bounds)], device=device)
    number, of, begin = (
        torch.arange(len(bounds), device=device),
        torch.repeat_interleave(sizes),
        torch.tensor(bounds, device=device),
    )

    # Keys bring the words of each minibatch together: those of contexts, and those of outputs, negatives before the other targets.
    count = torch.bincount(positions.position, minlength=len(of))
    share, present = (1 / count.to(dtype))[positions.position], (count > 0).to(dtype)
    keys, order = torch.sort(of[positions.position] * vocabulary + positions.word, stable=True)
    words, place, touches = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
    first_word = torch.searchsorted(words, number * vocabulary)
    local = place - first_word[of[positions.position[order]]]
    column = torch.empty_like(local).index_copy_(0, order, local)
    by_words = (positions.position - begin[of[positions.position]])[order], share[order]
    position_start, word_start = _starts(count, begin), _starts(touches, first_word)
    entry = torch.nn.functional.pad(count.cumsum(0), (1, 0))[begin]

    drawn, draw = torch.unique((number[:-1] if shared else of)[:, None] * twice + negatives, return_inverse=True)
    target = of * twice + positions.targets
    is_drawn = torch.isin(target, drawn)
    rows, row = torch.unique(
        torch.cat([drawn, torch.where(is_drawn, target, target + vocabulary)]), return_inverse=True
    )
    row_of_drawn, row_of_target = row[: len(drawn)], row[len(drawn) :]
    first_drawn, first_row = torch.searchsorted(drawn, number * twice), torch.searchsorted(rows, number * twice)
    own = row_of_target - first_row[of]
    as_target = present.new_zeros(len(rows)).index_add_(0, row_of_target, present)
    if shared:
        # The weight of a bag's own output comes first, 1; that of each negative after it.
        weight = torch.ones(len(drawn) + len(sizes), dtype=dtype, device=device)
        by_draws = torch.bincount(draw.flatten(), minlength=len(drawn)).to(dtype) * each
        drawn_by = drawn // twice
        weight[torch.arange(1, len(drawn) + 1, device=device) + drawn_by] = by_draws
        in_minibatch = present.new_zeros(len(sizes)).index_add_(0, of, present)
        as_negative = by_draws * (in_minibatch[drawn_by] - as_target[row_of_drawn])
    else:
        weight = (negatives != positions.targets[:, None]).to(dtype) * (present * each)[:, None]
        as_negative = present.new_zeros(len(drawn)).index_add_(0, draw.flatten(), weight.flatten())
        draw = draw - first_drawn[of, None] + 1
    row_touches = as_target.index_add_(0, row_of_drawn, as_negative)

    words, rows, touches = words % vocabulary, rows % vocabulary, touches.to(dtype)
    starts = torch.stack([begin, entry, first_word, first_drawn, first_row], dim=1).tolist()
    output = torch.arange(1 + max((j[3] - i[3] for i, j in itertools.pairwise(starts)), default=0), device=device) - 1
    for k, ((p, e, w, d, r), (p_end, e_end, w_end, d_end, r_end)) in enumerate(itertools.pairwise(starts)):
        of_positions = Compressed(column[e:e_end], share[e:e_end], position_start[p + k : p_end + k + 1])
        of_words = Compressed(by_words[0][e:e_end], by_words[1][e:e_end], word_start[w + k : w_end + k + 1])
        bags = Bags(words[w:w_end], Sparse(of_positions, of_words), touches[w:w_end])
        if shared:
            uses = weight[d + k : d_end + k + 1] * present[p:p_end, None]
            uses.masked_fill_(
                own[p:p_end, None] == output[: d_end - d + 1], 0
            )  # a target is no negative of its own position
        else:
            uses = share.new_zeros(p_end - p, 1 + d_end - d).scatter_add_(1, draw[p:p_end], weight[p:p_end])
            uses[:, 0] = present[p:p_end]
        yield Minibatch(
            bags, Asked(rows[r:r_end], d_end - d, own[p:p_end], row_touches[r:r_end]), uses, present[p:p_end]
        )


def _starts(lengths: Tensor, begin: Tensor) -> Tensor:
    """Where each of a minibatch's rows starts among its entries and the last one ends, minibatch after minibatch.

    lengths (n,): entries of every row; begin (minibatches + 1): the rows with which each minibatch begins. One more number than
    rows for each minibatch.
    """
    total = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    of = torch.repeat_interleave(begin.diff() + 1)
    return total[torch.arange(len(of), device=of.device) - of] - total[begin][of]
