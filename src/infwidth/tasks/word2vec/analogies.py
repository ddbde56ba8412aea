"""Word analogies a : b :: c : d, answered for all questions at once through Gram rows of the question words.

With unit vectors M, the answer is the word w other than a, b, c of the highest M_w . (M_b - M_a + M_c), if that is
positive. The score is a sum of three entries of M M^T, so that matrix's rows of the question words hold all scores.
Where each of several ranks has some coordinates of the vectors, inner products and squared norms are sums over ranks.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from infwidth.data.questions import syntactic
from infwidth.ranks import ALONE, Ranks

Vectors = Callable[[Tensor], Tensor]
"""The vectors (n, m) of words (n,), or those of their coordinates that this rank has; asked for in blocks."""

COLUMNS = 2048
"""Words of the vocabulary scored together."""

QUESTIONS = {"cpu": 64, "cuda": 8192}
"""Questions scored together: with COLUMNS, what stays in a core's cache, or what keeps a GPU busy."""


def unit(rows: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """Rows divided by their norms; zero rows stay zero. ranks: among which their coordinates are split."""
    norm = rows.norm(dim=1, keepdim=True)
    if ranks.size > 1:
        norm = ranks.add_up(norm.square()).sqrt()
    return rows / norm.clamp(min=torch.finfo(rows.dtype).tiny)


@torch.no_grad()
def answers(vectors: Vectors, vocabulary: int, questions: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """The word answered to each of the questions (Q, 4), (Q,) int64; -1 where no score is positive.

    Ties go to the lowest index.
    """
    device = questions.device
    at_once = QUESTIONS.get(device.type, QUESTIONS["cpu"])
    asked, place = torch.unique(questions[:, :3], return_inverse=True)
    rows = unit(vectors(asked), ranks)
    best = torch.zeros(len(questions), dtype=rows.dtype, device=device)
    found = torch.full((len(questions),), -1, device=device)
    for words in _blocks(vocabulary, device):
        gram = ranks.add_up(rows @ unit(vectors(words), ranks).mT)  # (asked words, words of the block)
        for first in range(0, len(questions), at_once):
            part = slice(first, first + at_once)
            score = _scores(gram, place[part])
            _leave_out(score, questions[part, :3] - words[0])
            top, column = score.max(1)
            better = top > best[part]
            best[part] = torch.where(better, top, best[part])
            found[part] = torch.where(better, words[column], found[part])
    return found


def _blocks(vocabulary: int, device: torch.device) -> Iterator[Tensor]:
    """The indices of all words, COLUMNS at a time."""
    return iter(torch.arange(vocabulary, device=device).split(COLUMNS))


def _scores(gram: Tensor, place: Tensor) -> Tensor:
    """M_w . (M_b - M_a + M_c) for some questions (q, words); place (q, 3): the rows of a, b, c in gram (n, words)."""
    a, b, c = place.unbind(1)
    return gram.index_select(0, b).sub_(gram.index_select(0, a)).add_(gram.index_select(0, c))


def _leave_out(score: Tensor, given: Tensor) -> None:
    """No word that a question gives is its answer; given (q, 3): their columns, some of them outside of the block."""
    here = (given >= 0) & (given < score.shape[1])
    question, which = torch.nonzero(here, as_tuple=True)
    score[question, given[question, which]] = -torch.inf


def accuracies(correct: Tensor, section: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Per cent of correct answers (Q,) to questions of sections (Q,), their names given.

    'accuracy' is over all, 'semantic' and 'syntactic' over the sections of that kind, 'section/<name>' over one.
    What has no question is left out.
    """
    is_syntactic = torch.tensor([syntactic(name) for name in names], device=section.device)[section]
    groups = {"accuracy": torch.ones_like(is_syntactic), "semantic": ~is_syntactic, "syntactic": is_syntactic}
    groups |= {f"section/{name}": section == i for i, name in enumerate(names)}
    return {name: 100 * correct[of].double().mean().item() for name, of in groups.items() if of.any()}


@torch.no_grad()
def nearest(
    vectors: Vectors, vocabulary: int, words: Tensor, number: int, ranks: Ranks = ALONE
) -> tuple[Tensor, Tensor]:
    """The ``number`` other words of the highest cosine with each of words (n,), and the cosines: (n, number) each."""
    rows = unit(vectors(words), ranks)
    found = [ranks.add_up(rows @ unit(vectors(block), ranks).mT) for block in _blocks(vocabulary, words.device)]
    cosine = torch.cat(found, 1)
    cosine[torch.arange(len(words), device=words.device), words] = -torch.inf
    cosines, others = cosine.topk(min(number, vocabulary - 1), 1)
    return others, cosines
