"""Minibatches are those of the recorded runs, to the last digit, whatever way they are made."""

import hashlib

import pytest
import torch

from infwidth.tasks.word2vec.config import Word2VecConfig
from infwidth.tasks.word2vec.corpus import Corpus
from infwidth.tasks.word2vec.task import Word2Vec


def corpus(running_words, vocabulary):
    """Words in the order of their frequency, which falls off as in a text. Products are the same on every CPU."""
    uniform = torch.rand(running_words, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = (vocabulary * uniform * uniform * uniform).int()
    return Corpus(
        tokens=tokens,
        counts=torch.bincount(tokens, minlength=vocabulary),
        words=[f"w{i}" for i in range(vocabulary)],
        questions=torch.tensor([[0, 1, 2, 3]]),
        sections=torch.tensor([0]),
        section_names=("city-in-state",),
    )


def tensors(batch):
    means, asked = batch.context.means, batch.asked
    for matrix in (means.by_rows, means.by_columns):
        yield from (matrix.column, matrix.values, matrix.start)
    yield from (batch.context.words, batch.context.touches)
    yield from (asked.rows, asked.own, asked.touches, torch.tensor(asked.shared))
    yield from (batch.weight, batch.present)


def digest(batches):
    found = hashlib.sha256()
    for batch in batches:
        for tensor in tensors(batch):
            found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


SMALL, MEDIUM = (300, 12), (20_000, 1500)


@pytest.mark.parametrize(
    "size, words_per_step, shared, dtype, expected",
    [
        (SMALL, 30, 4, torch.float64, "2f780cdb5b077ad3"),
        (SMALL, 30, None, torch.float64, "ddb0376dbd3c5fc3"),
        (SMALL, 1, 4, torch.float32, "0d39706396fd7a8e"),
        (MEDIUM, 250, 64, torch.float32, "9708667cd82ff665"),
        (MEDIUM, 250, None, torch.float32, "232d8080151358fd"),
    ],
)
def test_minibatches_are_the_recorded_ones(size, words_per_step, shared, dtype, expected):
    # With the power 1 negatives are drawn in proportion to whole numbers, which every CPU computes alike.
    config = Word2VecConfig(
        name="word2vec",
        window=5,
        negatives=6,
        shared_negatives=shared,
        subsample=0.01,
        power=1.0,
        sentence=40,
        words_per_step=words_per_step,
        most_summed=None,
        probe_section="city-in-state",
    )
    task = Word2Vec(config, corpus(*size), 3, torch.device("cpu"), dtype)
    assert digest([*task.batches(0), *task.batches(2, start=7)]) == expected
