"""Kernel regression in closed form against dense linear algebra."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from infwidth.errors import ConfigError
from infwidth.models.kernel import DeepKernel, GeneralKernel, KernelRegression
from infwidth.models.watch import Watch
from infwidth.progress import Bars


@pytest.mark.parametrize(
    "kernel",
    [
        DeepKernel(2),
        DeepKernel(2, tangent=True),
        DeepKernel(1, 2.0, 0.3, True, True),
        GeneralKernel("erf", 2, 1.5, 0.2),
        GeneralKernel("gelu", 1, tangent=True),
    ],
)
@pytest.mark.parametrize("block", [7, 100])
def test_predictions(kernel, block):
    g = torch.Generator().manual_seed(0)
    X, x = torch.randn(40, 12, generator=g, dtype=torch.float64), torch.randn(9, 12, generator=g, dtype=torch.float64)
    y = torch.randint(3, (40,), generator=g)
    model = KernelRegression(kernel, (1e-3,), None, 12, 3, torch.float64, block, 9)
    assert not model(x).any()
    model.fit(X, y)
    targets = torch.nn.functional.one_hot(y, 3).double() - 0.5
    expected = kernel(x, X) @ torch.linalg.solve(kernel(X, X) + 1e-3 * torch.eye(40), targets)
    torch.testing.assert_close(model(x), expected)
    other = KernelRegression(kernel, (1e-3,), None, 12, 3, torch.float64, block, 9)
    other.load_state(model.state())
    assert torch.equal(other(x), model(x))
    gram = model.features(x) @ model.features(x).mT
    torch.testing.assert_close(gram, replace(kernel, tangent=False)(x, x))


def test_it_is_not_trained():
    with pytest.raises(ConfigError, match="set trainer.epochs=0"):
        KernelRegression(DeepKernel(1), (1e-3,), None, 4, 2).gradient(torch.zeros(1, 4), torch.zeros(1, 2))


class Listener(Watch):
    """Keeps what it is told: (stage, units in all, units done), and sentences."""

    def __init__(self):
        self.stages, self.said = [], []

    @contextmanager
    def stage(self, name, total, unit):
        told = []
        yield told.append
        self.stages.append((name, total, sum(told)))

    def say(self, sentence):
        self.said.append(sentence)


def test_of_several_regularisers_the_best_on_held_out_images_is_taken_and_refitted_on_all():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 12, generator=g, dtype=torch.float64), torch.randint(3, (60,), generator=g)
    grid, several = (1e-8, 1e-1, 10.0), {}
    for regulariser in grid:
        one = KernelRegression(DeepKernel(2), (regulariser,), None, 12, 3, torch.float64)
        assert one.fit(x[:36], y[:36]) == {"regulariser": regulariser}
        several[regulariser] = 100 * (one(x[36:40]).argmax(1) == y[36:40]).double().mean().item()
    model, watch = KernelRegression(DeepKernel(2), grid, 40, 12, 3, torch.float64), Listener()
    chosen = model.fit(x, y, watch)
    assert chosen == {"regulariser": max(several, key=several.get), "regulariser_accuracy": max(several.values())}
    alone = KernelRegression(DeepKernel(2), (chosen["regulariser"],), None, 12, 3, torch.float64)
    alone.fit(x, y)
    torch.testing.assert_close(model(x), alone(x))
    (sentence,) = watch.said
    assert "on 4 held-out of 40 images" in sentence and f"{chosen['regulariser']:g} is taken" in sentence


def test_a_fit_tells_whoever_watches_how_far_it_is_and_nobody_else(capfd):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 12, generator=g, dtype=torch.float64), torch.randint(3, (40,), generator=g)
    watch = Listener()
    for model in (KernelRegression(DeepKernel(2), grid, None, 12, 3, torch.float64, 7, 9) for grid in ((1,), (1, 2))):
        model.fit(x, y)
        model.fit(x, y, watch)
    assert capfd.readouterr() == ("", "")
    assert [name for name, *_ in watch.stages] == ["kernel matrix", "factorisation"] * 4
    for _, total, done in watch.stages:
        assert 0.5 < done / total < 1.5
    Bars().say("what is said is printed")
    assert "what is said is printed" in capfd.readouterr().out
