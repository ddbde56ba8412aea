"""From mappings to dataclasses: whatever does not fit is named."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import pytest

from infwidth.config import key, load
from infwidth.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = key(above=0, at_most=1)


@dataclass(frozen=True, kw_only=True)
class Outer:
    width: int = key(at_least=1)
    kind: Literal["a", "b"]
    inner: Inner
    clip: float | None = key(above=0)
    sizes: tuple[int, ...] = key(at_least=2, default=(2,))
    exponents: tuple[Fraction, ...] | None = key(at_most=3, default=None)
    free: dict[str, Any]
    on: bool = True


GOOD = {"width": 3, "kind": "a", "inner": {"rate": 1}, "clip": None, "free": {"x": 1}}


def test_values_arrive_converted():
    outer = load(Outer, {**GOOD, "sizes": [2, 5]}, "")
    assert outer == Outer(width=3, kind="a", inner=Inner(rate=1.0), clip=None, sizes=(2, 5), free={"x": 1})
    assert isinstance(outer.inner.rate, float)


def test_exponents_are_the_fractions_that_they_mean():
    written = ["1/2", "-3/4", " 2 ", "0.25", 0.5, 1, 0.3333333333]
    found = load(Outer, {**GOOD, "exponents": written}, "").exponents
    assert found == tuple(Fraction(n, 12) for n in (6, -9, 24, 3, 6, 12, 4))
    assert all(isinstance(x, Fraction) for x in found)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"depth": 1}, "group.depth is not a known key; group has: width, kind"),
        ({"width": 0}, "group.width is 0; it must be at least 1"),
        ({"width": 1.5}, "group.width must be a whole number, not 1.5"),
        ({"width": True}, "group.width must be a whole number"),
        ({"width": None}, "group.width must be a whole number, not null"),
        ({"width": 10**21}, "group.width is too large a number"),
        ({"width": -(10**400)}, "group.width is too large a number"),
        ({"inner": {"rate": True}}, "group.inner.rate must be a number, not True"),
        ({"inner": None}, "group.inner must be a group of keys (rate), not null"),
        ({"kind": True}, "group.kind is True; choose one of: a, b"),
        ({"widht": 3}, "group.widht is not a known key (did you mean group.width?); group has: width, kind"),
        ({"kind": "c"}, "group.kind is 'c'; choose one of: a, b"),
        ({"inner": {"rate": 2}}, "group.inner.rate is 2.0; it must be at most 1"),
        ({"inner": {"rate": math.nan}}, "group.inner.rate is nan; it must be a finite number"),
        ({"clip": math.inf}, "group.clip is inf; it must be a finite number"),
        ({"clip": 10**400}, "group.clip is inf; it must be a finite number"),
        ({"exponents": [0, math.nan]}, "group.exponents[1] is nan; it must be a finite number"),
        ({"exponents": ["1/00"]}, "group.exponents[0] must be a number or a fraction such as 1/2, not '1/00'"),
        ({"exponents": ["1e9999999999"]}, "group.exponents[0] must be a number or a fraction such as 1/2"),
        ({"exponents": [None]}, "group.exponents[0] must be a number or a fraction such as 1/2, not null"),
        ({"exponents": ["7/2"]}, "group.exponents is 7/2; it must be at most 3"),
        ({"inner": {"speed": 2}}, "group.inner.speed is not a known key"),
        ({"inner": 3}, "group.inner must be a group of keys"),
        ({"clip": "x"}, "group.clip must be a number"),
        ({"sizes": 4}, "group.sizes must be a list"),
        ({"sizes": [2, 1]}, "group.sizes is 1; it must be at least 2"),
        ({"on": "yes"}, "group.on must be true or false"),
        ({"free": 1}, "group.free must be a group of keys"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ConfigError) as e:
        load(Outer, {**GOOD, **change}, "group")
    assert message in str(e.value)


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match="^width is missing"):
        load(Outer, {k: v for k, v in GOOD.items() if k != "width"}, "")
