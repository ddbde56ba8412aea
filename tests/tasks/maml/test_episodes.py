"""The vectorised sampler: distinct draws, uniform, resumable, and clear about what the data cannot supply."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infwidth.errors import DataError
from infwidth.tasks.maml.episodes import Pool, Shape, distinct, vectorised


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(0, 8), st.integers(0, 2**31))
def test_draws_are_distinct_and_in_range(n, extra, seed):
    drawn = distinct(20, n, n + extra, torch.Generator().manual_seed(seed))
    assert drawn.shape == (20, n) and drawn.min() >= 0 and drawn.max() < n + extra
    assert all(len(set(row.tolist())) == n for row in drawn)


def test_every_ordered_sample_is_equally_likely():
    drawn = distinct(60_000, 2, 4, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn[:, 0] * 4 + drawn[:, 1], minlength=16).float()
    counts = counts[counts > 0]
    assert len(counts) == 12
    assert ((counts - 5000) ** 2 / 5000).sum() < 31.3  # chi-squared of 11 degrees of freedom, p = 0.001


def test_a_resumed_epoch_is_the_rest_of_it():
    pool = Pool(torch.rand(7, 5, 3), "train")
    whole = list(vectorised(pool, Shape(3, 1, 1), 24, 4, torch.Generator().manual_seed(1), torch.float32))
    rest = list(vectorised(pool, Shape(3, 1, 1), 24, 4, torch.Generator().manual_seed(1), torch.float32, start=2))
    assert len(whole) == 6 and len(rest) == 4
    for a, b in zip(whole[2:], rest, strict=True):
        assert torch.equal(a.support_x, b.support_x) and torch.equal(a.query_x, b.query_x)


def test_uint8_pixels_are_shares_of_255():
    pool = Pool(torch.tensor([[[0, 51, 255]]], dtype=torch.uint8), "train")
    assert pool.gather(torch.tensor([0]), torch.float64).tolist() == [[0.0, 0.2, 1.0]]


@pytest.mark.parametrize(
    "shape, message",
    [
        (Shape(8, 1, 1), "task.ways is 8, but the test split has 7 classes"),
        (Shape(2, 4, 2), r"4 \+ 2, but every class of the test split has 5"),
    ],
)
def test_what_the_data_cannot_supply(shape, message):
    with pytest.raises(DataError, match=message):
        shape.check(Pool(torch.rand(7, 5, 3), "test"))
