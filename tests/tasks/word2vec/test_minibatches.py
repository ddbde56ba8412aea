"""Minibatches hold the contexts, targets and negatives of a plain loop over positions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infwidth.models import linear
from infwidth.parametrization import named
from infwidth.tasks.word2vec import cbow
from infwidth.tasks.word2vec.sampling import Negatives
from tests.tasks.word2vec.helpers import V, generator, minibatches


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(2, 9), st.integers(1, 30))
def test_contexts_are_those_of_a_plain_loop(seed, window, sentence, length):
    rng = np.random.default_rng(seed)
    words, reach = rng.integers(V, size=length), rng.integers(1, window + 1, size=length)
    start = int(rng.integers(length))
    end = int(rng.integers(start, length)) + 1
    middle = int(rng.integers(start, end + 1))  # two minibatches, of which one may be empty
    drawn = torch.zeros(2, 1).long()
    batches = minibatches(
        torch.tensor(words),
        torch.tensor(reach),
        [start, middle, end],
        drawn,
        True,
        1.0,
        window=window,
        sentence=sentence,
    )
    share, found_touches = torch.zeros(end - start, V, dtype=torch.float64), torch.zeros(V, dtype=torch.float64)
    for batch, rows in zip(batches, (slice(0, middle - start), slice(middle - start, None)), strict=True):
        share[rows, batch.context.words] = batch.context.means.dense()
        found_touches[batch.context.words] += batch.context.touches
        torch.testing.assert_close(
            batch.context.means.by_columns.dense(rows.indices(end - start)[1] - rows.start).mT,
            batch.context.means.dense(),
        )
    touches = torch.zeros(V, dtype=torch.float64)
    for row, t in enumerate(range(start, end)):
        near = [
            s
            for s in range(max(t - reach[t], 0), min(t + reach[t] + 1, length))
            if s != t and s // sentence == t // sentence
        ]
        expected = torch.zeros(V, dtype=torch.float64)
        for s in near:
            expected[words[s]] += 1
        touches += expected
        torch.testing.assert_close(share[row], expected / max(len(near), 1))
    torch.testing.assert_close(found_touches, touches)


@pytest.mark.parametrize("shared", [True, False])
def test_a_position_without_context_moves_nothing(shared):
    """Not even through a bias, by which h is not 0."""
    net = linear.finite(5, V, V, 1.0, 0.8, 0.7, named("mup", 1), generator(), torch.float64, bags=True)
    with torch.no_grad():
        net.b.normal_(generator=generator(1))
    words = torch.randint(V, (6,), generator=generator())
    drawn = torch.randint(V, (1, 8) if shared else (6, 5), generator=generator())
    some, none = (
        minibatches(words, torch.tensor(reach), [0, 6], drawn, shared, 0.5)[0]
        for reach in ([2, 2, 0, 2, 2, 2], [0, 0, 0, 0, 0, 0])
    )
    assert (
        some.present.tolist() == [1, 1, 0, 1, 1, 1]
        and some.weight[2].eq(0).all()
        and some.asked.touches.sum() <= 5 * (1 + 8 * 0.5)
    )
    f, pullback = net.linearized(none.context, none.asked)
    assert cbow.loss(f, none) == 0 and none.asked.touches.eq(0).all() and len(none.context.words) == 0
    assert all(norm == 0 for norm in pullback(cbow.cotangent(f, none)).norms().values())


def test_shared_negatives_have_the_gradient_of_independent_ones_on_average():
    words = torch.randint(V, (20,), generator=generator())
    reach = torch.full((20,), 2)
    sampler = Negatives(torch.arange(1, V + 1), 0.75)
    means = {}
    for kind in ("shared", "independent"):
        total = torch.zeros(20, V, dtype=torch.float64)
        for s in range(3000):
            drawn = sampler.spread(1, 8, generator(s)) if kind == "shared" else sampler.independent(20, 5, generator(s))
            (batch,) = minibatches(words, reach, [0, 20], drawn, kind == "shared", 5 / drawn.shape[-1])
            total[:, batch.asked.rows[: batch.asked.shared]] += batch.weight[:, 1:]
        means[kind] = total / 3000
    expected = 5 * sampler.probability.repeat(20, 1)
    expected[torch.arange(20), words] = 0
    for found in means.values():
        assert (found - expected).abs().max() < 0.06
