"""Words are kept, and negatives drawn, as often as they should be."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infwidth.tasks.word2vec.sampling import Negatives, keep_probability, kept
from tests.tasks.word2vec.helpers import V, generator


def test_words_are_kept_as_often_as_they_should_be_and_minibatches_cover_them():
    counts = torch.tensor([5000, 2000, 500, 20])
    tokens = torch.repeat_interleave(torch.arange(4), counts)[torch.randperm(7520, generator=generator())].int()
    probability = keep_probability(counts, 0.01)
    text = kept(tokens, probability, 5, 100, 0, "train", 1)
    again = kept(tokens, probability, 5, 100, 0, "train", 1)
    assert torch.equal(text.words, again.words) and text.bounds == again.bounds
    assert not torch.equal(kept(tokens, probability, 5, 100, 0, "train", 2).words[:50], text.words[:50])
    found = torch.bincount(text.words, minlength=4)
    spread = (counts * probability * (1 - probability)).sqrt()
    assert ((found - counts * probability).abs() <= 4 * spread).all()
    assert (
        len(text.bounds) == 77
        and text.bounds[0] == 0
        and text.bounds[-1] == len(text.words)
        and np.all(np.diff(text.bounds) >= 0)
    )
    reach = torch.bincount(text.reach.int(), minlength=6)[1:] / len(text.reach)
    assert len(reach) == 5 and (reach - 0.2).abs().max() < 0.03


def test_the_bounds_of_minibatches_do_not_depend_on_blocks(monkeypatch):
    """With every word kept, minibatch k begins at word k * words_per_step, across blocks of random numbers."""
    monkeypatch.setattr("infwidth.tasks.word2vec.sampling.BLOCK", 64)
    for length, step in ((1000, 30), (130, 50), (64, 64), (65, 100), (300, 1)):
        text = kept(torch.zeros(length).int(), torch.ones(1), 5, step, 0)
        assert text.bounds == [*range(0, length, step), length]


def test_negatives_follow_their_probabilities():
    counts = torch.tensor([1000, 100, 10, 0, 1])
    drawn = torch.bincount(Negatives(counts, 0.75).independent(4_000, 10, generator()).flatten(), minlength=5)
    expected = counts.double() ** 0.75
    expected *= 40_000 / expected.sum()
    assert drawn[3] == 0 and ((drawn - expected).abs() <= 4 * expected.sqrt() + 1e-9).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 50))
def test_shared_draws_have_every_word_as_often_as_expected_up_to_rounding(seed, number):
    sampler = Negatives(torch.arange(1, V + 1), 0.75)
    drawn = torch.bincount(sampler.spread(3, number, generator(seed))[1], minlength=V)
    expected = number * sampler.probability
    assert (
        drawn.sum() == number
        and (drawn >= (expected - 1e-9).floor()).all()
        and (drawn <= (expected + 1e-9).ceil()).all()
    )
