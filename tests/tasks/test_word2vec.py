"""Word2Vec: contexts, minibatches, gradients, analogies and word vectors against plain computations of the same."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infwidth.errors import ConfigError
from infwidth.models import linear
from infwidth.models.bags import Bags
from infwidth.models.kernel import BagKernelMachine, Kernel
from infwidth.parametrization import named
from infwidth.tasks.word2vec import cbow, embeddings
from infwidth.tasks.word2vec.analogies import answers, nearest
from infwidth.tasks.word2vec.minibatches import Windows, assembled
from infwidth.tasks.word2vec.sampling import Negatives, keep_probability, kept

V = 12


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(2, 9), st.integers(1, 30))
def test_contexts_are_those_of_a_plain_loop(seed, window, sentence, length):
    rng = np.random.default_rng(seed)
    words, reach = rng.integers(V, size=length), rng.integers(1, window + 1, size=length)
    start = int(rng.integers(length))
    end = int(rng.integers(start, length)) + 1
    middle = int(rng.integers(start, end + 1))  # two minibatches, of which one may be empty
    positions = Windows(torch.tensor(words), torch.tensor(reach), window, sentence)([start, middle, end])
    batches = list(assembled(positions, torch.zeros(2, 1).long(), True, 1.0, V, torch.float64))
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


def batch_of(shared, seed=0, positions=6, dtype=torch.float64):
    g = generator(seed)
    words = torch.randint(V, (20,), generator=g)
    found = Windows(words, torch.randint(1, 4, (20,), generator=g), 3, 100)([5, 5 + positions])
    drawn = torch.randint(V, (1, 8) if shared else (positions, 5), generator=g)
    return next(assembled(found, drawn, shared, 5 / drawn.shape[-1], V, dtype)), drawn.expand(positions, -1)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("alpha, parametrization", [(0.0, "mup"), (0.7, "ntk")])
def test_the_step_on_touched_rows_is_autograd_of_the_whole_network(shared, alpha, parametrization):
    net = linear.finite(5, V, V, 1.0, 0.8, alpha, named(parametrization, 1), generator(), torch.float64, bags=True)
    with torch.no_grad():
        net.b.normal_(generator=generator(1))
    batch, drawn = batch_of(shared)
    x = torch.zeros(6, V, dtype=torch.float64).index_copy(1, batch.context.words, batch.context.means.dense())
    outputs = net(x)
    f, pullback = net.linearized(batch.context, batch.asked)
    torch.testing.assert_close(f, batch.asked.among(outputs[:, batch.asked.rows]).detach())
    target = batch.asked.rows[batch.asked.own]
    log = torch.nn.functional.logsigmoid
    plain = -log(outputs[torch.arange(6), target]).sum()
    for i in range(6):
        for n in drawn[i].tolist():
            if n != target[i]:
                plain = plain - log(-outputs[i, n]) * 5 / drawn.shape[-1]
    plain.backward()
    torch.testing.assert_close(cbow.loss(f, batch) * 6, plain.detach())
    update = pullback(cbow.cotangent(f, batch))
    before = {k: v.detach().clone() for k, v in net.named_parameters()}
    for name, norm in update.norms().items():
        torch.testing.assert_close(norm, getattr(net, name).grad.norm())
    net.apply_update(update, 0.3)
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] - 0.3 * p.grad if alpha or name != "b" else before[name])
    halved = pullback(cbow.cotangent(f, batch)).scaled(
        {"U": torch.tensor(0.5), "V": torch.tensor(0.5), "b": torch.tensor(0.5)}
    )
    torch.testing.assert_close(halved.norms()["U"], update.norms()["U"] / 2)


@pytest.mark.parametrize("shared", [True, False])
def test_a_position_without_context_moves_nothing(shared):
    """Not even through a bias, by which h is not 0."""
    net = linear.finite(5, V, V, 1.0, 0.8, 0.7, named("mup", 1), generator(), torch.float64, bags=True)
    with torch.no_grad():
        net.b.normal_(generator=generator(1))
    words = torch.randint(V, (6,), generator=generator())
    drawn = torch.randint(V, (1, 8) if shared else (6, 5), generator=generator())
    batches = []
    for reach in ([2, 2, 0, 2, 2, 2], [0] * 6):
        batches.append(
            next(assembled(Windows(words, torch.tensor(reach), 3, 100)([0, 6]), drawn, shared, 0.5, V, torch.float64))
        )
    some, none = batches
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
    positions = Windows(words, torch.full((20,), 2), 3, 100)([0, 20])
    sampler = Negatives(torch.arange(1, V + 1), 0.75)
    means = {}
    for kind in ("shared", "independent"):
        total = torch.zeros(20, V, dtype=torch.float64)
        for s in range(3000):
            drawn = sampler.spread(1, 8, generator(s)) if kind == "shared" else sampler.independent(20, 5, generator(s))
            batch = next(assembled(positions, drawn, kind == "shared", 5 / drawn.shape[-1], V, torch.float64))
            total[:, batch.asked.rows[: batch.asked.shared]] += batch.weight[:, 1:]
        means[kind] = total / 3000
    expected = 5 * sampler.probability.repeat(20, 1)
    expected[torch.arange(20), words] = 0
    for found in means.values():
        assert (found - expected).abs().max() < 0.06


def test_decay_touches_the_touched_rows_once_for_each_touch():
    net = linear.finite(5, V, V, 1.0, 0.8, 0.0, named("mup", 1), generator(), torch.float64, bags=True)
    batch, _ = batch_of(True)
    f, pullback = net.linearized(batch.context, batch.asked)
    update, before = pullback(torch.zeros_like(f)), {k: v.detach().clone() for k, v in net.named_parameters()}
    net.apply_update(update, rate=0.5, decay=0.1)
    kept_U, kept_V = torch.ones(V, dtype=torch.float64), torch.ones(V, dtype=torch.float64)
    kept_U[batch.context.words] = 0.95**batch.context.touches
    kept_V[batch.asked.rows] = 0.95**batch.asked.touches
    torch.testing.assert_close(net.U.detach(), before["U"] * kept_U)
    torch.testing.assert_close(net.V.detach(), before["V"] * kept_V[:, None])


@pytest.mark.parametrize("tangent", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_the_kernel_limit_is_the_network_whose_embeddings_stay(tangent, decay):
    """With V = 0 and U = sigma_u I held fixed, and for the NTK kappa = sigma_u^2 + sigma_v^2 in place of sigma_u^2."""
    kernel = Kernel("linear", tangent, sigma_u=1.3, sigma_v=0.6, sigma_b=0.0)
    machine = BagKernelMachine(kernel, V, V, torch.float64)
    net = linear.mu_limit(V, V, kernel.of_one_hots**0.5, 0.0, 0.0, torch.float64, bags=True)
    U = net.U.detach().clone()
    for t in range(6):
        batch, _ = batch_of(t % 2 == 0, t)
        results = []
        for model in (machine, net):
            f, pullback = model.linearized(batch.context, batch.asked)
            model.apply_update(pullback(cbow.cotangent(f, batch)), 0.3, decay)
            results.append(f)
        net.U.data.copy_(U)
        torch.testing.assert_close(*results)
    assert results[0].abs().max() > 0.05
    x = torch.eye(V, dtype=torch.float64)
    torch.testing.assert_close(machine(x), net(x).detach())
    torch.testing.assert_close(machine.features(Bags.single(torch.arange(V))), 1.3 * x)


def test_the_kernel_limit_bears_a_long_decay():
    """In float32, after decay has left nothing of the first coefficients: the network's f all the same."""
    machine, net = (
        BagKernelMachine(Kernel("linear", False, 1.0, 0.0, 0.0), V, V),
        linear.mu_limit(V, V, 1.0, 0.0, 0.0, bags=True),
    )
    for t in range(60):
        batch, _ = batch_of(True, t, dtype=torch.float32)
        for model in (machine, net):
            f, pullback = model.linearized(
                batch.context, dataclasses.replace(batch.asked, touches=30 * batch.asked.touches)
            )
            model.apply_update(pullback(cbow.cotangent(f, batch)), 0.3, 0.2)
        net.U.data.copy_(torch.eye(V))
    assert machine.kept.min() > 1e-7
    torch.testing.assert_close(machine(torch.eye(V)), net(torch.eye(V)).detach(), rtol=1e-3, atol=1e-4)


def test_the_kernel_limit_takes_the_linear_kernel_only():
    with pytest.raises(ConfigError, match="set model.activation=linear and model.sigma_b=0"):
        BagKernelMachine(Kernel("relu", False, 1.0, 1.0, 0.0), V, V)


@pytest.mark.parametrize("columns, at_once", [(3, 2), (2048, 64)])
def test_analogies_are_those_of_a_plain_loop(columns, at_once, monkeypatch):
    monkeypatch.setattr("infwidth.tasks.word2vec.analogies.COLUMNS", columns)
    monkeypatch.setattr("infwidth.tasks.word2vec.analogies.QUESTIONS", {"cpu": at_once})
    M = torch.randn(20, 4, generator=generator(), dtype=torch.float64)
    M[7], M[9] = M[5], 0.0  # a tie, and a word without a vector
    questions = torch.stack([torch.randperm(20, generator=generator(s))[:4] for s in range(50)])
    found = answers(lambda words: M[words], 20, questions)
    unit = M / M.norm(dim=1, keepdim=True).clamp(min=1e-300)
    for question, answer in zip(questions.tolist(), found.tolist(), strict=True):
        a, b, c, _ = question
        scores = unit @ (unit[b] - unit[a] + unit[c])
        allowed = [(-round(scores[w].item(), 12), w) for w in range(20) if w not in (a, b, c)]
        score, best = min(allowed)
        assert answer == (best if score < 0 else -1)


def test_words_that_never_moved_answer_nothing():
    questions = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    assert answers(lambda words: torch.eye(V)[words], V, questions).tolist() == [-1, -1]


def test_nearest_words():
    M = torch.tensor([[1.0, 0], [2.0, 0.1], [0, 1], [-1, -0.1]])
    words, cosine = nearest(lambda w: M[w], 4, torch.tensor([0, 2]), 2)
    assert words.tolist() == [[1, 2], [1, 0]] and cosine[0, 0] > 0.99


def test_the_projection_keeps_the_inner_products_as_well_as_its_rank_can():
    M = torch.randn(60, 40, generator=generator(), dtype=torch.float64) * 0.7 ** torch.arange(40)
    found = embeddings.projected(lambda w: M[w], 60, 10, generator(1), torch.device("cpu")).double()
    best = torch.linalg.svdvals(M)[10:].square().square().sum().sqrt()
    assert found.shape == (60, 10) and (found @ found.mT - M @ M.mT).norm() < 1.01 * best
    assert torch.equal(embeddings.projected(lambda w: M[w], 60, 40, generator(1), torch.device("cpu")), M.float())
