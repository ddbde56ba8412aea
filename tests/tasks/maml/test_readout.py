"""MAML through the readout alone: plain computations of the same, evaluation by features, and what is refused."""

import pytest
import torch

from infwidth import train
from infwidth.errors import ConfigError
from infwidth.models import mlp
from infwidth.models.mlp import Factors
from infwidth.models.pi import pi_limit, sampled
from infwidth.parametrization import named
from infwidth.tasks.losses import cross_entropy_cotangent
from infwidth.tasks.maml.task import MAML
from tests.training.helpers import small

D, K, T, S = 6, 3, 4, 3
FACTORS = Factors(1.2, 0.8, 0.5, 0.7, 0.6, 1.5, 0.9)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def limit(readout=0.0):
    factors = Factors(1.2, 0.8, 0.5, 0.7, 0.6, readout, 0.9)
    net = pi_limit(D, K, 5, 2, factors, True, readout > 0, generator(), torch.float64)
    with torch.no_grad():
        for b in net.b:
            b.normal_(generator=generator(1))
    return net


def nets():
    yield "mlp", mlp.finite(9, D, K, (1.0, 1.4, 0.8), FACTORS, named("mup", 2), "relu", generator(), torch.float64)
    yield (
        "frozen mlp",
        mlp.finite(
            9,
            D,
            K,
            (1.0, 1.4, 0.8),
            Factors(1.2, 0.8, 0.5, 0.0, 0.6, 0.0),
            named("mup", 2),
            "relu",
            generator(),
            torch.float64,
        ),
    )
    yield "pi-net", sampled(limit(), 16, generator(2))


def episodes():
    g = generator(5)
    x = torch.randn(2, T, S, D, generator=g, dtype=torch.float64)
    return x[0], x[1], torch.randint(K, (T, S), generator=g), torch.randint(K, (T, S), generator=g)


def rate_of(cotangent_y):
    return lambda f: cross_entropy_cotangent(f, cotangent_y)


@pytest.mark.parametrize("net", [pytest.param(n, id=i) for i, n in nets()])
@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_meta_gradient_is_autograd_of_an_unrolled_adaptation(net, second_order, steps):
    xs, xq, ys, yq = episodes()
    p = {name: q.detach().clone().requires_grad_() for name, q in net.named_parameters()}
    last = [n for n in p if n[1:] == "3"]
    total = 0
    for t in range(T):
        own = dict(p)
        for _ in range(steps):
            loss = torch.nn.functional.cross_entropy(net.readout(net.hidden(xs[t], own), own), ys[t])
            gradients = torch.autograd.grad(loss, [own[n] for n in last], create_graph=second_order)
            gradients = gradients if second_order else [g.detach() for g in gradients]
            own |= {n: own[n] - 0.4 * g for n, g in zip(last, gradients, strict=True)}
        total = total + torch.nn.functional.cross_entropy(net.readout(net.hidden(xq[t], own), own), yq[t])
    total.backward()
    adapted = net.adapted(xs, rate_of(ys), 0.4, steps, second_order, "readout")
    out, pullback = adapted.linearized(xq)
    torch.testing.assert_close(adapted(xq), out)
    update = pullback(cross_entropy_cotangent(out, yq))
    expected = net.update({name: q.grad for name, q in p.items()})
    assert update.gradients.keys() == expected.gradients.keys()
    for name, g in expected.gradients.items():
        torch.testing.assert_close(update[name], g, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("net", [pytest.param(n, id=i) for i, n in (*nets(), ("pi-limit", limit()))])
def test_features_are_all_that_the_adapted_outputs_depend_on(net):
    xs, xq, ys, _ = episodes()
    features = [net.readout_features(x.flatten(0, 1)).reshape(T, S, -1) for x in (xs, xq)]
    found = net.adapted_readout(features[0], rate_of(ys), 0.4, 2)(features[1])
    torch.testing.assert_close(found.detach(), net.adapted(xs, rate_of(ys), 0.4, 2, True, "readout")(xq).detach())


def test_a_limit_with_a_trained_readout_has_no_such_features_and_no_second_order():
    net = pi_limit(D, K, 5, 2, FACTORS, False, True, generator(), torch.float64)
    xs, xq, ys, _ = episodes()
    assert net.readout_features(xs[0]) is None
    with pytest.raises(ConfigError, match="set model.readout=zero and model.readout_multiplier=0"):
        net.adapted(xs, rate_of(ys), 0.4, 1, True, "readout")
    with pytest.raises(ConfigError, match="set model.readout=zero and model.readout_multiplier=0"):
        limit(readout=1.0).adapted(xs, rate_of(ys), 0.4, 1, True, "readout")
    with pytest.raises(ConfigError, match="take which='readout', or first order"):
        limit().adapted(xs, rate_of(ys), 0.4, 1, True)


@pytest.mark.parametrize("model", ["pi_limit", "pi_net", "finite"])
def test_evaluation_by_features_is_evaluation_by_images(model, tmp_path, monkeypatch):
    # In float64, in which no rounding decides which of two outputs is larger.
    options = ["task=maml_pi", f"model={model}", "trainer.dtype=float64"]
    options += [] if model == "pi_limit" else ["model.width=48"]
    fast = train.run(small(tmp_path / "a", *options))
    monkeypatch.setattr(MAML, "_features_of", lambda self, model, split: None)
    slow = train.run(small(tmp_path / "b", *options))
    for key in ("test/accuracy", "validation/accuracy", "test/accuracy_half_interval"):
        assert fast["metrics"][key] == pytest.approx(slow["metrics"][key])
    assert fast["metrics"]["test/loss"] == pytest.approx(slow["metrics"]["test/loss"])


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            ["model=pi_limit", "model.readout_multiplier=2"],
            "task.adaptation.parameters=readout and task.adaptation.order=second.*readout_multiplier=0",
        ),
        (["model=pi_limit", "model.readout=gaussian"], "with model.readout=zero and model.readout_multiplier=0"),
        (
            ["model=pi_limit", "task.adaptation.parameters=all"],
            "does not adapt with task.adaptation.parameters=all and task.adaptation.order=second",
        ),
        (["model=pi_limit", "task.meta_batch=100000000"], "task.meta_batch is 600000000, and so many episodes"),
        (["model=pi_limit", "task.adaptation.steps=0"], "task.adaptation.steps is 0; it must be at least 1"),
        (
            ["model=pi_limit", "trainer.schedule.name=multistep", "trainer.schedule.milestones=[100000]"],
            "trainer.schedule.milestones",
        ),
        (
            ["model=nngp_limit", "task.adaptation.parameters=readout"],
            "adapts with task.adaptation's parameters=all order=first",
        ),
        (["model=mu_limit"], "adapts with task.adaptation's parameters=all order=first, parameters=all order=second"),
    ],
)
def test_what_has_no_meaning_says_why(overrides, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train.run(small(tmp_path, "task=maml_pi", *overrides))
