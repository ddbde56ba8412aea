"""Analogies and neighbours are those of a plain loop."""

import pytest
import torch

from infwidth.tasks.word2vec.analogies import answers, nearest
from tests.tasks.word2vec.helpers import V, generator


@pytest.mark.parametrize("columns, at_once", [(3, 2), (2048, 64)])
def test_analogies_are_those_of_a_plain_loop(columns, at_once, monkeypatch):
    monkeypatch.setattr("infwidth.tasks.word2vec.analogies.COLUMNS", columns)
    monkeypatch.setattr("infwidth.tasks.word2vec.analogies.QUESTIONS", {"cpu": at_once})
    # Of entries +-1 in 16 dimensions all scores are exact, so that equal ones are equal on every CPU.
    M = torch.randint(2, (20, 16), generator=generator(), dtype=torch.float64) * 2 - 1
    M[7], M[9] = M[5], 0.0  # a tie, and a word without a vector
    questions = torch.stack([torch.randperm(20, generator=generator(s))[:4] for s in range(50)])
    found = answers(lambda words: M[words], 20, questions)
    unit = M / M.norm(dim=1, keepdim=True).clamp(min=1e-300)
    for question, answer in zip(questions.tolist(), found.tolist(), strict=True):
        a, b, c, _ = question
        scores = unit @ (unit[b] - unit[a] + unit[c])
        allowed = [(-scores[w].item(), w) for w in range(20) if w not in (a, b, c)]
        score, best = min(allowed)
        assert answer == (best if score < 0 else -1)
    assert len(set(found.tolist())) > 5 and -1 not in found


def test_words_that_never_moved_answer_nothing():
    questions = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    assert answers(lambda words: torch.eye(V)[words], V, questions).tolist() == [-1, -1]


def test_nearest_words():
    M = torch.tensor([[1.0, 0], [2.0, 0.1], [0, 1], [-1, -0.1]])
    words, cosine = nearest(lambda w: M[w], 4, torch.tensor([0, 2]), 2)
    assert words.tolist() == [[1, 2], [1, 0]] and cosine[0, 0] > 0.99
