"""A model that is split over ranks is the same function, at every step, and what passes between them is predicted."""

import errno

import pytest
import torch

from infwidth.errors import CheckpointError, ConfigError
from infwidth.models import linear
from infwidth.models.cost import Shape, Sizes
from infwidth.models.family import config_of
from infwidth.models.mlp import Factors
from infwidth.models.pi import pi_limit, sampled
from infwidth.parametrization import named
from infwidth.ranks import ALONE, Exchange
from infwidth.tasks.losses import cross_entropy_cotangent
from infwidth.tasks.word2vec import cbow, embeddings
from infwidth.tasks.word2vec.analogies import answers, nearest
from infwidth.training.clipping import clipped
from infwidth.training.gathering import Shares, like_whole, wholes
from tests.ranks import together
from tests.tasks.word2vec.helpers import V, batch_of, generator

D, R, K, IMAGES, BATCH = 7, 4, 3, 20, 5
FACTORS = Factors(1.3, 0.7, 0.4, 0.9, 0.5, 2.0, 0.6)
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("infwidth.models.pi.rows.BLOCK", 6)


def images(n=IMAGES, seed=7):
    return torch.randn(n, D, generator=generator(seed), dtype=torch.float64)


def limit(ranks, landmarks=None, depth=2, storage=None, readout_zero=False, factors=FACTORS):
    start = (D, K, R, depth, factors, readout_zero, bool(factors.readout), generator(), torch.float64)
    return pi_limit(*start, storage, landmarks, 1.0, ranks)


def trained(net, epochs=1, steps=None):
    """Trained on a few images; the norms of all gradients, and what was said at the ends of epochs."""
    x, y, said = images(), torch.arange(IMAGES) % K, []
    for _ in range(epochs):
        for i in list(range(0, IMAGES, BATCH))[:steps]:
            outputs, pullback = net.linearized(x[i : i + BATCH])
            update, norm = clipped(pullback(cross_entropy_cotangent(outputs, y[i : i + BATCH])), 0.9)
            net.apply_update(update, 0.5, 0.01)
            said.append(norm.item())
        said += net.end_of_epoch(lambda: images(6, 1)).values()
    return torch.tensor(said, dtype=torch.float64)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_pi_limit_over_ranks_is_the_pi_limit(size, depth):
    alone, x = limit(ALONE, depth=depth), images(9, 2)
    said, omegas = trained(alone, 2), [torch.randn(11, R, generator=generator(5), dtype=torch.float64)] * depth

    def split(ranks):
        net = limit(ranks, depth=depth)
        found = trained(net, 2)
        held = sum(len(m) for layer in net.layers for _, _, m in layer.tiles())
        return found, net(x).detach(), net.features(x), sampled(net, 11, generator(), omegas)(x).detach(), held

    expected = said, alone(x).detach(), alone.features(x), sampled(alone, 11, generator(), omegas)(x).detach()
    found = together(size, split)
    for *values, _ in found:
        torch.testing.assert_close(tuple(values), expected, **CLOSE)
        assert all(torch.equal(one, other) for one, other in zip(values, found[0], strict=False))
    held = [rows for *_, rows in found]
    assert sum(held) == sum(layer.rows for layer in alone.layers) and max(held) - min(held) <= depth


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("size, landmarks", [(2, "epoch"), (3, "epoch"), (2, 7), (3, 7)])
def test_projections_over_ranks_are_the_same(size, landmarks):
    alone, x = limit(ALONE, landmarks), images(9, 2)
    said = trained(alone, 3)
    assert alone.bounded.record[:, 0].min() > 0  # there were some

    def split(ranks):
        net = limit(ranks, landmarks)
        return trained(net, 3), net(x).detach(), [layer.rows for layer in net.layers]

    for found, outputs, rows in together(size, split):
        torch.testing.assert_close((found, outputs), (said, alone(x).detach()), rtol=1e-7, atol=1e-9)
        assert rows == [layer.rows for layer in alone.layers]


@pytest.mark.parametrize("which, second_order", [("all", False), ("hidden", False), ("readout", True)])
def test_few_shot_learning_over_ranks_is_the_same(which, second_order):
    factors = Factors(1.3, 0.7, 0.4, 0.9, 0.5, 0.0 if second_order else 2.0, 0.6)
    support, query = images(12, 3).reshape(3, 4, D), images(15, 4).reshape(3, 5, D)
    labels, asked = torch.arange(12).reshape(3, 4) % K, torch.arange(15).reshape(3, 5) % K

    def carried_out(ranks):
        net, seen = limit(ranks, readout_zero=second_order, factors=factors), []
        for _ in range(3):
            adapted = net.adapted(support, lambda f: cross_entropy_cotangent(f, labels), 0.3, 2, second_order, which)
            before = net.ranks.exchanged
            outputs, pullback = adapted.linearized(query)
            net.apply_update(clipped(pullback(cross_entropy_cotangent(outputs, asked)), 0.5)[0], 0.2)
            seen.append(outputs)
        return torch.stack(seen), net.ranks.exchanged - before

    expected, _ = carried_out(ALONE)
    for outputs, exchanged in together(2, carried_out):
        torch.testing.assert_close(outputs, expected, **CLOSE)
        if second_order:
            examples = 3 * (4 + 5)
            assert exchanged == Exchange(2, examples * (R + R))
    if second_order:
        shape = Shape(D, K, batch=examples)
        keys = {"name": "pi_limit", "rank": R, "readout": "zero", "readout_multiplier": 0.0}
        # The one flag more is asked for with the adaptation: whether the readout is zero.
        assert config_of(keys).exchanged(shape, None, True) == Exchange(2 + 1, examples * (R + R) + 1)


@pytest.mark.parametrize("size", [1, 2])
def test_what_a_pi_limit_exchanges_is_predicted(size):
    def exchanged(ranks):
        net = limit(ranks, depth=3)
        before = ranks.exchanged
        trained_once = net.linearized(images(BATCH))
        net.apply_update(clipped(trained_once[1](torch.ones(BATCH, K, dtype=torch.float64)), 0.1)[0], 0.5, 0.01)
        return ranks.exchanged - before

    predicted = config_of({"name": "pi_limit", "rank": R, "depth": 3}).exchanged(Shape(D, K, batch=BATCH), None, True)
    assert predicted == Exchange(6, BATCH * (4 * R + R + K))
    assert all(found == predicted for found in together(size, exchanged)) if size > 1 else not exchanged(ALONE).calls


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("landmarks", [None, 7])
def test_a_split_pi_limit_goes_back_to_its_past(landmarks):
    def carried_out(ranks):
        net = limit(ranks, landmarks)
        trained(net)
        kept, before = net.snapshot(), net(images()).detach()
        trained(net, 2)
        net.restore(kept)
        assert torch.equal(net(images()), before)
        trained(net)  # and on from there
        return net(images()).detach()

    expected = carried_out(ALONE)
    for found in together(3, carried_out):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def word_vectors(kind):
    """A network for bags, from the ranks that it is split over."""
    if kind == "limit":
        return lambda ranks: linear.mu_limit(V, V, 1.0, 0.5, 0.3, torch.float64, True, ranks)
    if kind == "limit, readout from zero":
        return lambda ranks: linear.mu_limit(V, V, 1.0, 0.0, 0.0, torch.float64, True, ranks)
    width = {"narrow": 7, "wide": 40}[kind]

    def finite(ranks):
        abc = named("ntk", 1)
        net = linear.finite(width, V, V, 1.0, 0.8, 0.7, abc, generator(), torch.float64, "uniform", bags=True)
        return linear.split(linear.reduced(net), ranks)

    return finite


KINDS = ["limit", "limit, readout from zero", "narrow", "wide"]


def trained_on_words(net, steps=4):
    """Outputs of all steps, and of the last the norm of its gradient."""
    seen = []
    for seed in range(steps):
        batch, _ = batch_of(seed % 2 == 0, seed)
        f, pullback = net.linearized(batch.context, batch.asked)
        update, norm = clipped(pullback(cbow.cotangent(f, batch)), 0.7, "parameter")
        net.apply_update(update, 0.3, 0.1)
        seen.append(f.flatten())
    return torch.cat([*seen, norm[None]])


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_word_vectors_over_ranks_are_the_same(size, kind):
    words = batch_of(True)[0].context
    alone, build = word_vectors(kind)(ALONE), word_vectors(kind)
    expected = trained_on_words(alone), alone.features(words)

    def split(ranks):
        net = build(ranks)
        found = trained_on_words(net), net.features(words)
        assert len(net.b) == ranks.share(len(alone.b)) == net.U.shape[0] == net.V.shape[1]
        return found

    for found in together(size, split):
        torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_what_word_vectors_exchange_is_predicted(alpha):
    batch, _ = batch_of(True)

    def exchanged(ranks, threshold):
        net = linear.mu_limit(V, V, 1.0, 0.5, alpha, torch.float64, True, ranks)
        before = ranks.exchanged
        f, pullback = net.linearized(batch.context, batch.asked)
        update = pullback(cbow.cotangent(f, batch))
        net.apply_update(clipped(update, threshold)[0] if threshold else update, 0.3)
        return ranks.exchanged - before

    sizes = Sizes(len(batch.present), 0, 0, 0, batch.asked.shared)
    for threshold in (None, 0.5):
        found = together(2, lambda ranks, threshold=threshold: exchanged(ranks, threshold))
        predicted = [
            config_of(keys).exchanged(Shape(V, V, True), sizes, threshold is not None)
            for keys in ({"name": "mu_limit", "alpha": alpha}, {"name": "finite", "alpha": alpha})
        ]
        assert found == predicted
        outputs = len(batch.present) * (1 + batch.asked.shared)
        assert predicted[0] == (Exchange(2, outputs + 2 + (alpha > 0)) if threshold else Exchange(1, outputs))


def test_analogies_neighbours_and_projected_vectors_over_ranks_are_the_same():
    # Of entries +-1 all scores are exact, so that equal ones are equal however they are added up.
    M = torch.randint(2, (20, 16), generator=generator(), dtype=torch.float64) * 2 - 1
    M[7], M[9] = M[5], 0.0
    questions = torch.stack([torch.randperm(20, generator=generator(s))[:4] for s in range(50)])
    W = torch.randn(60, 40, generator=generator(), dtype=torch.float64) * 0.7 ** torch.arange(40)

    def found(ranks):
        near = nearest(lambda w: M[w][:, ranks.own()], 20, torch.tensor([0, 2]), 3, ranks)
        vectors, cpu = (lambda w: W[w][:, ranks.own()]), torch.device("cpu")
        short, whole = (embeddings.projected(vectors, 60, n, generator(1), cpu, ranks=ranks) for n in (10, None))
        return answers(lambda w: M[w][:, ranks.own()], 20, questions, ranks), near[1], short @ short.mT, whole

    expected = found(ALONE)
    for one in together(3, found):
        torch.testing.assert_close(one, expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(one[0], expected[0]) and torch.equal(one[3], W.float())


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("before, after", [(1, 3), (3, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("kind", ["pi", "pi, float16", "pi, bounded", *KINDS])
def test_a_state_goes_over_to_any_number_of_ranks(tmp_path, monkeypatch, kind, before, after):
    monkeypatch.setattr("infwidth.training.gathering.PIECE", 5 * 8 * V)
    options = {"pi": {}, "pi, float16": {"storage": torch.float16}, "pi, bounded": {"landmarks": 7}}
    build = word_vectors(kind) if kind in KINDS else lambda ranks: limit(ranks, **options[kind])
    train = trained_on_words if kind in KINDS else trained

    def saved(ranks):
        net = build(ranks)
        train(net)
        kept = net.snapshot()
        train(net)
        with wholes(net, {"model.": net.state(), "best.": kept}, tmp_path) as tensors:
            found = {name: t.clone() for name, t in tensors.items()}
        return found, train(net)

    def resumed(ranks, found):
        net = build(ranks)
        part = lambda prefix: {k.removeprefix(prefix): t for k, t in found.items() if k.startswith(prefix)}
        state, best = (Shares(net, part(prefix) if ranks.first else None) for prefix in ("model.", "best."))
        net.load_state(state)
        best = {name: best[name] for name in best}
        went_on = train(net)
        net.restore(best)
        return went_on, train(net)

    run = lambda size, work: together(size, work) if size > 1 else [work(ALONE)]
    (found, expected), *others = run(before, saved)
    assert not any(tensors for tensors, _ in others) and not list(tmp_path.iterdir())
    afterwards = run(after, lambda ranks: resumed(ranks, found))
    precision = {"rtol": 2e-3, "atol": 2e-3} if kind == "pi, float16" else {"rtol": 1e-7, "atol": 1e-9}
    second, best = afterwards[0]
    torch.testing.assert_close(second, expected, **precision)
    torch.testing.assert_close(best, run(1, lambda ranks: trained_from_best(build(ranks), train))[0], **precision)


def trained_from_best(net, train):
    train(net)
    return train(net)


def test_a_state_of_another_model_is_refused_by_all_ranks_alike():
    whole = linear.mu_limit(V + 1, V + 1, 1.0, 0.0, 0.0, torch.float64, True).state()
    rows = limit(ALONE).state()

    def refused(ranks):
        net = word_vectors("limit, readout from zero")(ranks)
        for state in (whole, rows, {**net.state(), "more": torch.zeros(2)}):
            with pytest.raises(CheckpointError, match="does not fit the model"):
                net.load_state(Shares(net, state if ranks.first else None))
        other = limit(ranks)
        with pytest.raises(CheckpointError, match="does not fit the model"):
            other.load_state(Shares(other, limit(ALONE, depth=3).state() if ranks.first else None))
        return like_whole(net, net.state())

    for like in together(2, refused):
        assert {name: tuple(t.shape) for name, t in like.items()} == {"columns": (V, V), "V": (V, V), "b": (V,)}


def test_a_full_disk_is_a_sentence_before_anything_is_gathered(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)

    def gathered(ranks):
        net = word_vectors("limit")(ranks)
        with wholes(net, {"": net.state()}, tmp_path):
            return True

    with pytest.raises(CheckpointError, match=r"shares of a checkpoint, 0.0 MB, cannot be gathered in .*No space left"):
        together(2, gathered)


def test_more_ranks_than_there_is_to_deal_out_are_refused():
    with pytest.raises(ConfigError, match=r"5 ranks for 4 rows .*\(model.rank\); start torchrun with at most 4"):
        together(5, limit)
    with pytest.raises(ConfigError, match="13 ranks for 12 coordinates of the hidden layer, which has 12 inputs"):
        together(V + 1, word_vectors("limit, readout from zero"))
    with pytest.raises(ConfigError, match="8 ranks for 7 coordinates of the hidden layer, which has 12 inputs"):
        together(8, word_vectors("narrow"))
