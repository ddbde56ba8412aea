"""What is said of a parametrization, and its predicted exponents."""

import math
from fractions import Fraction

import pytest

from infwidth.config import load
from infwidth.errors import ConfigError
from infwidth.explain import ExplainConfig
from infwidth.parametrization import ABC, named
from infwidth.theory.explanation import explained
from infwidth.theory.exponents import predicted

HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    "abc, f_0, delta_f, delta",
    [
        (named("mup", 2), -HALF, 0, (0, 0)),
        (named("ntk", 2), 0, 0, (-HALF, -HALF)),
        (named("standard", 2, 1), 0, 0, (-3 * HALF, -HALF)),
        (named("standard", 1, 1), 0, 0, (-3 * HALF,)),
        (named("mean_field", 1), -HALF, 0, (0,)),
        (named("standard", 2), 0, 3 * HALF, (0, 1)),
    ],
)
def test_predicted_exponents(abc, f_0, delta_f, delta):
    found = predicted(abc)
    assert (found.f_0, found.delta_f, found.delta) == (f_0, delta_f, delta)
    assert found.h_0 == (0,) * abc.depth


@pytest.mark.parametrize(
    "abc, phrases",
    [
        (
            named("mup", 2),
            [
                "feature learning",
                "Up to the shift symmetry it is mup",
                "learn features in the limit: 1, 2",
                "model=pi_limit",
            ],
        ),
        (named("ntk", 3), ["regime: kernel", "learn features in the limit: none", "model=ntk_limit"]),
        (named("standard", 1, 1), ["model=nngp_limit", "it is standard and readout_only"]),
        (named("readout_only", 3).shifted(1), ["model=nngp_limit", "it is readout_only:"]),
        (named("standard", 2), ["regime: unstable", "r = -1", "features explode"]),
        (named("mean_field", 1).shifted(-HALF), ["it is mean_field and mup", "model=mu_limit"]),
        (ABC((0, HALF), (0, HALF), 1), ["regime: trivial", "none of the models here"]),
    ],
)
def test_what_is_said(abc, phrases):
    text = explained(abc)
    for phrase in phrases:
        assert phrase in text, text


def config(**keys):
    return load(ExplainConfig, {"parametrization": None, "depth": 1, "a": None, "b": None, "c": None, **keys}, "")


def test_what_is_not_enough():
    with pytest.raises(ConfigError, match="give a, b .* and c"):
        config(a=(0, 1)).build()
    with pytest.raises(ConfigError, match="two ways to say it"):
        config(parametrization="mup", a=(0, 1)).build()
    assert config(parametrization="ntk", depth=3).build() == named("ntk", 3)


def test_exponents_may_be_written_as_they_are_printed():
    abc = config(a=["-1/2", 0.5], b=["1/2", "0.5"], c="0").build()
    assert abc == ABC((-HALF, HALF), (HALF, HALF), 0)
    assert "a = (-1/2, 1/2), b = (1/2, 1/2), c = 0" in explained(abc)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"a": [math.nan, 0], "b": [0, 0], "c": 0}, r"^a\[0\] is nan; it must be a finite number"),
        ({"a": [0, math.inf], "b": [0, 0], "c": 0}, r"^a\[1\] is inf; it must be a finite number"),
        ({"a": [0, "half"], "b": [0, 0], "c": 0}, "a number or a fraction such as 1/2, not 'half'"),
        ({"a": [0, 0], "b": [0, 0], "c": 400}, "^c is 400; it must be at most 10"),
        ({"parametrization": "mup", "depth": 100_000_000}, "^depth is 100000000; it must be at most 1000"),
    ],
)
def test_what_cannot_be_explained_is_a_sentence(keys, message):
    with pytest.raises(ConfigError, match=message):
        config(**keys)
