"""Word analogies a : b :: c : d, answered for all questions at once through Gram rows of the question words.

With unit vectors M, the answer is the word w other than a, b, c of the highest M_w . (M_b - M_a + M_c), if that is positive.
The score is a sum of three entries of M M^T, so the rows of that matrix for the few hundred question words hold all scores.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from infwidth.data.questions import syntactic

COLUMNS = 2048
"""Words of the vocabulary scored together."""

QUESTIONS = {"cpu": 64, "cuda": 8192}
"""Questions scored together: with COLUMNS, what stays in a core's cache, or what keeps a GPU busy."""


def unit(rows: Tensor) -> Tensor:
    """Rows divided by their norms; zero rows stay zero."""
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)


@torch.no_grad()
def answers(vectors: Callable[[Tensor], Tensor], vocabulary: int, questions: Tensor) -> Tensor:
    """The word answered to each of the questions (Q, 4), (Q,) int64; -1 where no score is positive. Ties go to the lowest index.

    vectors(words): the vectors (n, m) of words (n,), wanted in blocks.
    """
    device = questions.device
    at_once = QUESTIONS.get(device.type, QUESTIONS["cpu"])
    asked, place = torch.unique(questions[:, :3], return_inverse=True)
    rows = unit(vectors(asked))
    best = torch.zeros(len(questions), dtype=rows.dtype, device=device)
    found = torch.full((len(questions),), -1, device=device)
    for begin in range(0, vocabulary, COLUMNS):
        end = min(begin + COLUMNS, vocabulary)
        gram = rows @ unit(vectors(torch.arange(begin, end, device=device))).mT
        for q in range(0, len(questions), at_once):
            part = slice(q, q + at_once)
            a, b, c = place[part].unbind(1)
            score = gram.index_select(0, b).sub_(gram.index_select(0, a)).add_(gram.index_select(0, c))
            given = questions[part, :3] - begin
            row, column = torch.nonzero((given >= 0) & (given < end - begin), as_tuple=True)
            score[row, given[row, column]] = -torch.inf
            top, index = score.max(1)
            better = top > best[part]
            best[part] = torch.where(better, top, best[part])
            found[part] = torch.where(better, index + begin, found[part])
    return found


def accuracies(correct: Tensor, section: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Per cent of correct answers (Q,): accuracy over all, semantic, syntactic, and section/<name> for each with questions."""
    found = {"accuracy": _share(correct)}
    kind = torch.tensor([syntactic(n) for n in names], device=section.device)[section]
    found |= {"semantic": _share(correct[~kind]), "syntactic": _share(correct[kind])}
    for i, name in enumerate(names):
        if (section == i).any():
            found[f"section/{name}"] = _share(correct[section == i])
    return found


def _share(correct: Tensor) -> float:
    return 100 * correct.double().mean().item() if len(correct) else float("nan")


@torch.no_grad()
def nearest(vectors: Callable[[Tensor], Tensor], vocabulary: int, words: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The ``number`` words of the highest cosine with each of words (n,), themselves excepted, and the cosines: (n, number) each."""
    rows = unit(vectors(words))
    cosines = [
        rows @ unit(vectors(torch.arange(b, min(b + COLUMNS, vocabulary), device=words.device))).mT
        for b in range(0, vocabulary, COLUMNS)
    ]
    cosine = torch.cat(cosines, 1)
    cosine[torch.arange(len(words), device=words.device), words] = -torch.inf
    return tuple(reversed(cosine.topk(min(number, vocabulary - 1), 1)))
