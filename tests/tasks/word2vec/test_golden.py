"""CBOW updates, sampling, analogies and width convergence against the recorded numbers of tests/golden/word2vec."""

import dataclasses

import numpy as np
import pytest
import torch

from infwidth.models import linear
from infwidth.models.bags import Bags
from infwidth.models.linear import LinearNet
from infwidth.tasks.word2vec import cbow, sequential
from infwidth.tasks.word2vec.analogies import accuracies, answers
from infwidth.tasks.word2vec.minibatches import assembled
from infwidth.tasks.word2vec.outputs import Draws
from infwidth.tasks.word2vec.sampling import keep_probability, negative_probability
from infwidth.tasks.word2vec.windows import Positions
from tests.conftest import golden_files, load_golden

TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}


def network(z, U0=None):
    """The linear network of the fixture: U and V hold a row per word there."""
    U, V = torch.tensor(z["U0"] if U0 is None else U0), torch.tensor(z["V0"])
    return LinearNet(U.mT, V.clone(), torch.zeros(U.shape[1], dtype=U.dtype), alpha=0.0)


def minibatch(context, targets, negatives):
    """Contexts (B, m), -1 where there is none, as one minibatch with negatives of each position."""
    position, column = (context >= 0).nonzero(as_tuple=True)
    positions = Positions([0, len(context)], targets, position, context[position, column])
    return next(assembled(positions, Draws(negatives, shared=False, weight=1.0), 1000, torch.float64))


def examples(z, part):
    """Examples of a fixture as a minibatch; the touches of decay weigh every example by its own learning rate."""
    context, targets, negatives, rate = (
        torch.tensor(z[k][part]).to(t)
        for k, t in (("ctx", torch.int64), ("tgt", torch.int64), ("neg", torch.int64), ("lr", torch.float64))
    )
    batch = minibatch(context, targets, negatives)
    if z["wd"]:
        shrink = torch.log(1 - rate * z["wd"]) / np.log(1 - z["wd"])
        entries = batch.context.means.dense() * (context >= 0).sum(1, keepdim=True)
        bags = Bags(batch.context.words, batch.context.means, (entries * shrink[:, None]).sum(0))
        uses = batch.asked.over_rows(batch.weight)
        batch = cbow.Minibatch(
            bags, dataclasses.replace(batch.asked, touches=(uses * shrink[:, None]).sum(0)), batch.weight, batch.present
        )
    return batch, rate


def train(net, z, size):
    """One step a block of ``size`` examples; each example's rate is part of its cotangent."""
    positives, losses = [], []
    for start in range(0, len(z["tgt"]), size):
        batch, rate = examples(z, slice(start, start + size))
        f, pullback = net.linearized(batch.context, batch.asked)
        net.apply_update(pullback(cbow.cotangent(f, batch) * rate[:, None]), 1.0, z["wd"])
        positives.append(f[:, 0])
        q, weight = torch.sigmoid(f), batch.weight[:, 1:]
        losses.append(-torch.log(q[:, 0] + 1e-10) - (torch.log(1 - q[:, 1:] + 1e-10) * weight).sum(1))
    return torch.cat(positives), torch.cat(losses)


def compare(net, z, positives, losses):
    U, V = net.U.detach().mT, net.V.detach()
    for found, name in (
        (U, "U"),
        (V, "V"),
        (V @ U.mT, "logits"),
        (U @ U.mT, "gram_U"),
        (positives, "pos_logit"),
        (losses, "loss"),
    ):
        np.testing.assert_allclose(found.numpy(), z[name], err_msg=name, **TOLERANCE)


@pytest.mark.parametrize("file", golden_files("word2vec/[fm]*_batch16.npz"))
def test_minibatches(file):
    z = load_golden(file)
    net = network(z)
    compare(net, z, *train(net, z, z["batch"]))


@pytest.mark.parametrize("file", golden_files("word2vec/mulimit_*_batch16.npz"))
def test_the_mu_limit_starts_where_the_fixture_does(file):
    z = load_golden(file)
    words = len(z["U0"])
    net = linear.mu_limit(words, words, 1.0, 0.0, 0.0, torch.float64, bags=True)
    assert net.U.mT.is_contiguous() and net.U.shape == (words, words)
    compare(net, z, *train(net, z, z["batch"]))


def run_sequentially(z, U, V, table=False):
    losses, positives = [], []
    for context, target, negatives, rate in zip(z["ctx"], z["tgt"], z["neg"], z["lr"], strict=True):
        loss, positive = sequential.step(
            U, V, context[context >= 0].tolist(), int(target), negatives.tolist(), float(rate), z["wd"], table
        )
        losses.append(loss)
        positives.append(positive)
    return torch.tensor(positives, dtype=torch.float64), torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize("file", golden_files("word2vec/[fm]*_batch1.npz"))
def test_one_example_after_another(file):
    z = load_golden(file)
    U, V = torch.tensor(z["U0"]), torch.tensor(z["V0"])
    positives, losses = run_sequentially(z, U, V, "tablesigmoid" in file.stem)
    compare(LinearNet(U.mT, V, torch.zeros(U.shape[1]), 0.0), z, positives, losses)


@pytest.mark.parametrize("file", golden_files("word2vec/reference_trace_*.npz"))
def test_the_recorded_traces_of_the_authors_program(file):
    z = load_golden(file)
    U, V = torch.tensor(z["U0"], dtype=torch.float64), torch.tensor(z["V0"], dtype=torch.float64)
    _, losses = run_sequentially(z, U, V, table=True)
    for found, name in ((U, "U"), (V, "V"), (losses, "loss")):
        np.testing.assert_allclose(found.numpy(), z[name], atol=5e-6, rtol=5e-6, err_msg=name)


@pytest.mark.parametrize("file", golden_files("word2vec/reference_trace_*.npz"))
def test_a_minibatch_of_one_is_one_example_after_another(file):
    """But for words that occur twice in one example, which are left out here. The quantised sigmoid included."""
    z = load_golden(file)
    U, V = torch.tensor(z["U0"], dtype=torch.float64), torch.tensor(z["V0"], dtype=torch.float64)
    net = network(z, z["U0"].astype(np.float64))
    net.V.data = V.clone()
    used = 0
    for i in range(len(z["tgt"])):
        context = z["ctx"][i][z["ctx"][i] >= 0].tolist()
        if any(len(set(words)) < len(words) for words in (context, z["neg"][i].tolist())):
            continue
        used += 1
        sequential.step(U, V, context, int(z["tgt"][i]), z["neg"][i].tolist(), float(z["lr"][i]), z["wd"], table=True)
        batch = minibatch(torch.tensor([context]), torch.tensor([z["tgt"][i]]), torch.tensor(z["neg"][i][None]))
        f, pullback = net.linearized(batch.context, batch.asked)
        net.apply_update(pullback(cbow.cotangent(f, batch, table=True)), float(z["lr"][i]), z["wd"])
    assert used > 30
    torch.testing.assert_close(net.U.mT.detach(), U)
    torch.testing.assert_close(net.V.detach(), V)


@pytest.mark.parametrize("file", golden_files("word2vec/width_convergence_*.npz"))
def test_finite_widths_approach_the_limit(file):
    """Slope -1/2 over widths 2^6..2^14, and the rms of other seeds within a factor 1.5 of the recorded one.

    The change of basis makes the wide ones cheap; every example of the batch-1 file is a minibatch of its own here.
    """
    z = load_golden(file)
    words = len(z["limit_logits"])
    limit = linear.mu_limit(words, words, 1.0, 0.0, 0.0, torch.float64, bags=True)
    z["V0"] = np.zeros((words, words))
    train(limit, z, z["batch"])
    if z["batch"] > 1:
        np.testing.assert_allclose((limit.V @ limit.U).detach(), z["limit_logits"], **TOLERANCE)
        np.testing.assert_allclose((limit.U.mT @ limit.U).detach(), z["limit_gram_U"], **TOLERANCE)
    found = np.empty((len(z["widths"]), 3, 4))
    for i, n in enumerate(z["widths"]):
        for s in range(3):
            U0 = np.random.default_rng([7, n, s]).standard_normal((words, n)) / np.sqrt(n)
            net = linear.reduced(
                LinearNet(
                    torch.tensor(U0).mT,
                    torch.zeros(words, n, dtype=torch.float64),
                    torch.zeros(n, dtype=torch.float64),
                    0.0,
                )
            )
            train(net, z, z["batch"])
            logits = (net.V @ net.U - limit.V @ limit.U).detach().abs()
            gram = (net.U.mT @ net.U - limit.U.mT @ limit.U).detach().abs()
            found[i, s] = [logits.max(), logits.square().mean().sqrt(), gram.max(), gram.square().mean().sqrt()]
    for k in range(4):
        slope = np.polyfit(np.log2(z["widths"]), np.log2(found[:, :, k].mean(1)), 1)[0]
        assert -0.6 < slope < -0.4, (z["stat_names"][k], slope)
    for k in (1, 3):
        ratio = found[:, :, k].mean(1) / z["stats"][:, :, k].mean(1)
        assert (ratio < 1.5).all() and (ratio > 1 / 1.5).all(), ratio


@pytest.mark.parametrize("file", golden_files("word2vec/sampling.npz"))
def test_subsampling_and_negatives(file):
    z = load_golden(file)
    counts = torch.tensor(z["counts"])
    np.testing.assert_allclose(keep_probability(counts, z["t"]), z["keep_prob"], **TOLERANCE)
    np.testing.assert_allclose(negative_probability(counts, z["power"]), z["neg_prob"], **TOLERANCE)


@pytest.mark.parametrize("file", golden_files("word2vec/analogy.npz"))
def test_analogies(file):
    z = load_golden(file)
    W, questions, section = torch.tensor(z["W"]), torch.tensor(z["questions"]).long(), torch.tensor(z["section"]).long()
    found = answers(lambda words: W[words], len(W), questions)
    np.testing.assert_array_equal(found, z["pred"])
    names = ["", *(f"semantic{i}" for i in range(5)), *(f"gram{i}" for i in range(1, 10))]
    scores = accuracies(found == questions[:, 3], section, names)
    np.testing.assert_allclose([scores["accuracy"], scores["semantic"], scores["syntactic"]], z["accuracy"], rtol=1e-6)
