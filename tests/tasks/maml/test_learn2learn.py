"""learn2learn as the reference: its MAML gives our meta-gradients, its TaskDataset our episodes' statistics."""

import random

import pytest
import torch

from infwidth.models import linear, mlp
from infwidth.parametrization import named
from infwidth.tasks.losses import cross_entropy_cotangent
from infwidth.tasks.maml.episodes import Pool, Shape, vectorised
from infwidth.tasks.maml.learn2learn_episodes import _learn2learn, learn2learn

D, K, RATE = 6, 3, 0.4


class Reference(torch.nn.Module):
    """The same network as a plain module that learn2learn can clone."""

    def __init__(self, net):
        super().__init__()
        for name, p in net.named_parameters():
            self.register_parameter(name, torch.nn.Parameter(p.detach().clone()))
        self.net = [net]  # in a list, so that its parameters are not registered twice

    def forward(self, x):
        net = self.net[0]
        if isinstance(net, linear.LinearNet):
            return net.scale * (x @ self.U.T + net.alpha * self.b) @ self.V.T
        p = {n: getattr(self, n) for n, _ in net.named_parameters()}
        return net.readout(net.hidden(x, p), p)


def networks():
    g = lambda: torch.Generator().manual_seed(0)
    yield "linear mup", linear.finite(8, D, K, 1.0, 0.5, 0.7, named("mup", 1), g(), torch.float64)
    yield "linear mu-limit", linear.mu_limit(D, K, 1.0, 0.5, 0.7, torch.float64)
    yield (
        "relu depth 2 ntk",
        mlp.finite(9, D, K, (1.0, 1.4, 0.8), mlp.Factors(beta=0.5), named("ntk", 2), "relu", g(), torch.float64),
    )


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("net", [pytest.param(n, id=i) for i, n in networks()])
def test_meta_gradients_equal_learn2learns(net, first_order, steps):
    g = torch.Generator().manual_seed(1)
    xs, xq = (
        torch.randn(4, 5, D, generator=g, dtype=torch.float64),
        torch.randn(4, 6, D, generator=g, dtype=torch.float64),
    )
    ys, yq = torch.randint(K, (4, 5), generator=g), torch.randint(K, (4, 6), generator=g)
    module = Reference(net)
    maml = _learn2learn().algorithms.MAML(module, lr=RATE, first_order=first_order)
    for t in range(4):
        learner = maml.clone()
        for _ in range(steps):
            learner.adapt(torch.nn.functional.cross_entropy(learner(xs[t]), ys[t]))
        torch.nn.functional.cross_entropy(learner(xq[t]), yq[t]).backward()
    adapted = net.adapted(xs, lambda f: cross_entropy_cotangent(f, ys), RATE, steps, second_order=not first_order)
    outputs, pullback = adapted.linearized(xq)
    update = pullback(cross_entropy_cotangent(outputs, yq))
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(update[name], parameter.grad, rtol=1e-9, atol=1e-11)


def numbered_pool(classes=9, images=6):
    """Every image says which class and drawing it is."""
    pixels = torch.stack(torch.meshgrid(torch.arange(classes), torch.arange(images), indexing="ij"), -1).double()
    return Pool(pixels, "train")


def statistics(batches):
    """How often a class meets a label, a drawing is support or query, and two classes share an episode."""
    label, support, query, pair = torch.zeros(9, 3), torch.zeros(6), torch.zeros(6), torch.zeros(9, 9)
    for b in batches:
        for x, y in ((b.support_x, b.support_y), (b.query_x, b.query_y)):
            label.index_put_((x[..., 0].long().flatten(), y.flatten()), torch.ones(y.numel()), accumulate=True)
        support += torch.bincount(b.support_x[..., 1].long().flatten(), minlength=6)
        query += torch.bincount(b.query_x[..., 1].long().flatten(), minlength=6)
        classes = b.query_x[:, ::2, 0].long()
        for i in range(3):
            for j in range(3):
                pair.index_put_((classes[:, i], classes[:, j]), torch.ones(len(classes)), accumulate=True)
    return [m / m.sum() for m in (label, support, query, pair)]


def test_both_samplers_draw_valid_episodes_of_the_same_statistics():
    pool, shape = numbered_pool(), Shape(ways=3, shots=1, queries=2)
    ours = list(vectorised(pool, shape, 4000, 50, torch.Generator().manual_seed(0), torch.float64))
    theirs = list(learn2learn(pool, shape, 4000, 50, 0, torch.float64))
    for batches in (ours, theirs):
        assert sum(len(b.query_y) for b in batches) == 4000
        for b in batches:
            assert b.support_x.shape == (50, 3, 2) and b.query_x.shape == (50, 6, 2)
            assert (b.support_y == torch.arange(3)).all() and (b.query_y == torch.arange(3).repeat_interleave(2)).all()
            assert (b.query_x[:, ::2, 0] == b.support_x[..., 0]).all() and (
                b.query_x[:, 1::2, 0] == b.support_x[..., 0]
            ).all()
            assert all(len(set(e.tolist())) == 3 for e in b.support_x[..., 0])
            drawings = torch.stack([b.support_x[..., 1], b.query_x[:, ::2, 1], b.query_x[:, 1::2, 1]], -1)
            assert (
                (drawings[..., 0] != drawings[..., 1]).all()
                and (drawings[..., 1] != drawings[..., 2]).all()
                and (drawings[..., 0] != drawings[..., 2]).all()
            )
    for a, b in zip(statistics(ours), statistics(theirs), strict=True):
        # each entry is a share of at least 4000 draws, so its standard error is below 0.8 % of it times sqrt(entries)
        assert (a - b).abs().max() < 6 * (1.0 / a.numel() / 4000) ** 0.5
        nonzero = a[a > 0]
        assert nonzero.max() / nonzero.min() < (1.35 if len(a.shape) < 2 or a.shape[1] != 9 else 8.5)


def test_learn2learns_sampler_leaves_pythons_generator_alone():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    batches = learn2learn(numbered_pool(), Shape(3, 1, 1), 8, 4, 0, torch.float64)
    next(batches)
    assert random.random() == expected
    skipped = list(learn2learn(numbered_pool(), Shape(3, 1, 1), 8, 4, 0, torch.float64, start=1))
    assert len(skipped) == 1 and torch.equal(skipped[0].query_x, next(batches).query_x)
