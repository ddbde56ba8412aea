"""The classification of abc-parametrizations against the table of TP4, and the symmetry it rests on."""

import itertools
import math
from fractions import Fraction as F

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infwidth.config import load
from infwidth.errors import ConfigError
from infwidth.models import mlp
from infwidth.parametrization import ABC, ParametrizationConfig, classify, limit_of, named, require_limit
from infwidth.tasks.losses import cross_entropy_cotangent
from infwidth.theory.exponents import predicted

TABLE = [  # name, c, depth, r, regime
    ("standard", 0, 1, 0, "unstable"),
    ("standard", 0, 2, -1, "unstable"),
    ("standard", 0, 5, -1, "unstable"),
    ("standard", 1, 1, F(3, 2), "kernel"),
    ("standard", 1, 2, F(1, 2), "kernel"),
    ("standard", 1, 4, F(1, 2), "kernel"),
    ("ntk", None, 1, F(1, 2), "kernel"),
    ("ntk", None, 3, F(1, 2), "kernel"),
    ("mean_field", None, 1, 0, "feature learning"),
    ("mup", None, 1, 0, "feature learning"),
    ("mup", None, 4, 0, "feature learning"),
]


@pytest.mark.parametrize("name, c, depth, r, regime", TABLE)
def test_every_row_of_the_papers_table(name, c, depth, r, regime):
    abc = named(name, depth, c)
    assert abc.r() == r
    found = classify(abc)
    assert found.regime == regime
    assert found.stable == (regime != "unstable")
    assert found.nontrivial == found.stable
    assert found.reason


exponents = st.fractions(min_value=-2, max_value=2, max_denominator=4)


@given(st.data(), st.integers(1, 4), exponents)
def test_a_shift_changes_neither_r_nor_the_regime(data, depth, theta):
    draw = lambda: tuple(data.draw(exponents) for _ in range(depth + 1))
    abc = ABC(draw(), draw(), data.draw(exponents))
    shifted = abc.shifted(theta)
    assert [abc.r(l) for l in range(1, depth + 1)] == [shifted.r(l) for l in range(1, depth + 1)]
    assert classify(abc).regime == classify(shifted).regime
    assert abc.same_training(shifted)
    assert shifted.shifted(-theta) == abc


def test_r_of_a_layer_takes_its_minimum_over_the_layers_below():
    abc = ABC((0, F(-1, 2), 0, F(1, 2)), (0, 1, F(1, 2), F(1, 2)), 0)
    assert [abc.r(l) for l in (1, 2, 3)] == [1, -1, -1]
    assert abc.r() == abc.r(3)
    with pytest.raises(ConfigError, match="hidden layers 1..3"):
        abc.r(4)


def test_the_limits_of_the_named_parametrizations():
    assert limit_of(named("standard", 1, 1)) == "nngp"
    assert limit_of(named("ntk", 3)) == "ntk"
    assert limit_of(named("mup", 3)) == "mu"
    assert limit_of(named("mean_field", 1)) == "mu"
    assert named("mean_field", 1).same_training(named("mup", 1))
    assert "layers 2, 3 alone" in limit_of(named("standard", 2, 1))
    assert "unstable" in limit_of(named("standard", 1, 0))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_readout_only_is_the_parametrization_of_the_nngp_at_every_depth(depth):
    abc = named("readout_only", depth)
    found = classify(abc)
    assert (found.regime, found.kernel_layers, abc.r()) == ("kernel", (depth + 1,), F(3, 2))
    assert limit_of(abc) == "nngp" == limit_of(abc.shifted(F(1, 3)))
    exponents = predicted(abc)
    assert exponents.h_0 == (0,) * depth and (exponents.f_0, exponents.delta_f) == (0, 0)
    assert exponents.delta == (F(-3, 2),) * depth  # every layer's own update is as small as the first one's
    assert (abc.same_training(named("standard", depth, 1))) == (depth == 1)


def test_faults_are_named_in_words():
    reason = classify(ABC((1, 0, 0), (0, 0, F(1, 4)), 0)).reason
    for part in ("a_1 + b_1 = 1", "a_2 + b_2 = 0", "logits explode at initialisation"):
        assert part in reason
    assert "trivial" == classify(ABC((0, 1), (0, 1), 3)).regime


def test_a_limit_of_another_parametrization_is_refused():
    with pytest.raises(ConfigError, match="unstable because"):
        require_limit(named("standard", 1, 0), "nngp", "nngp_limit")
    with pytest.raises(ConfigError, match="its limit is model=ntk_limit"):
        require_limit(named("ntk", 1), "mu", "mu_limit")
    require_limit(named("mean_field", 1), "mu", "mu_limit")


def config(**keys):
    return load(ParametrizationConfig, keys, "parametrization")


def test_custom_exponents_are_the_fractions_that_they_mean():
    own = named("mup", 1)
    written = config(name="custom", a=["-1/2", "1/2"], b=[0.5, "0.5"], c=0).build(own)
    assert (written.a, written.b, written.c) == (own.a, own.b, own.c)
    assert config(name="standard", c="1/3").build(own).c == F(1, 3)


@pytest.mark.parametrize(
    "keys, message",
    [
        (
            {"name": "custom", "a": [math.nan, 0], "b": [0, 0], "c": 0},
            r"parametrization.a\[0\] is nan; .* finite number",
        ),
        (
            {"name": "custom", "a": [math.inf, 0], "b": [0, 0], "c": 0},
            r"parametrization.a\[0\] is inf; .* finite number",
        ),
        ({"name": "standard", "c": math.nan}, "parametrization.c is nan; it must be a finite number"),
        ({"name": "custom", "a": [0, 0], "b": [-500, 0], "c": 0}, "parametrization.b is -500; it must be at least -10"),
        ({"name": "auto", "c": 1}, "parametrization=auto is the model's own, mup, whose c is 0"),
    ],
)
def test_exponents_that_are_none_are_a_sentence(keys, message):
    with pytest.raises(ConfigError, match=message):
        config(**keys).build(named("mup", 1))


def test_an_abc_of_no_numbers_is_refused_without_a_config_too():
    for exponents in ((math.nan, 0), (0, math.inf), ("half", 0)):
        with pytest.raises(ConfigError, match="must be finite numbers or fractions"):
            ABC(exponents, (0, 0), 0)


@pytest.mark.parametrize("arguments", [("mean_field", 2), ("sparse", 1), ("mup", 0), ("mup", 10**8)])
def test_impossible_named_parametrizations(arguments):
    with pytest.raises(ConfigError):
        named(*arguments)


def test_exponents_must_match_layers():
    with pytest.raises(ConfigError, match="2 and parametrization.b 1"):
        ABC((0, 0), (0,), 0)


def test_layer_scaling():
    layer = named("mean_field", 1).layer(2, 16)
    assert (layer.multiplier, layer.init_std, layer.learning_rate_scale) == (1 / 16, 1, 16)


def plain_training(abc, width, theta, steps=3):
    """f_t of a network built straight from the definition at a shift: W = n^{-a} w, rate eta n^{-c}.

    Independent of the multilayer perceptron's own shift.
    """
    abc = abc.shifted(theta)
    g = torch.Generator().manual_seed(0)
    sizes = [5, *[width] * abc.depth, 3]
    x, y = torch.randn(4, 5, generator=g, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    ws = [torch.randn(o, i, generator=g, dtype=torch.float64) for i, o in itertools.pairwise(sizes)]
    layers = [abc.layer(l + 1, width) for l in range(len(ws))]
    ws = [(w * s.init_std).requires_grad_() for w, s in zip(ws, layers, strict=True)]
    trajectory = []
    for _ in range(steps):
        h = x
        for l, (w, s) in enumerate(zip(ws, layers, strict=True)):
            h = s.multiplier * h @ w.T
            if l < len(ws) - 1:
                h = torch.relu(h)
        trajectory.append(h.detach())
        gradients = torch.autograd.grad(h, ws, cross_entropy_cotangent(h, y).detach())
        ws = [
            (w - 0.3 * s.learning_rate_scale * gradient).detach().requires_grad_()
            for w, gradient, s in zip(ws, gradients, layers, strict=True)
        ]
    return torch.stack(trajectory), x, y


@pytest.mark.parametrize(
    "name, c, depth", [("standard", 1, 2), ("ntk", None, 2), ("mup", None, 3), ("mean_field", None, 1)]
)
def test_the_shift_symmetry_and_the_mlp_built_from_it(name, c, depth):
    abc, width = named(name, depth, c), 17
    expected, x, y = plain_training(abc, width, 0)
    shifted, _, _ = plain_training(abc, width, F(3, 4))
    torch.testing.assert_close(expected, shifted, rtol=1e-10, atol=1e-12)
    g = torch.Generator().manual_seed(0)
    torch.randn(4, 5, generator=g, dtype=torch.float64)
    net = mlp.finite(width, 5, 3, (1.0,) * (depth + 1), mlp.Factors(), abc, "relu", g, torch.float64)
    for f in expected:
        torch.testing.assert_close(net(x).detach(), f, rtol=1e-10, atol=1e-12)
        net.apply_update(net.gradient(x, cross_entropy_cotangent(net(x).detach(), y)), 0.3)
