"""abc-parametrizations as objects."""

from fractions import Fraction

import pytest

import infwidth as iw
from infwidth.parametrization import named
from infwidth.theory.explanation import explained
from tests.commands import command


def test_it_says_what_the_command_says():
    mup = iw.abc("mup", depth=3)
    assert str(mup) == explained(named("mup", 3))
    assert command("explain", "parametrization=mup", "depth=3").stdout == f"{mup}\n"


def test_what_follows_from_it_is_at_hand():
    ntk = iw.abc(a=[0, 0.5, "1/2"], b=(0, 0, 0), c=0)
    assert (ntk.regime, ntk.limit, ntk.stable, ntk.depth, ntk.name) == ("kernel", "ntk", True, 2, "custom")
    assert (
        ntk.r == Fraction(1, 2) and ntk.a == (0, Fraction(1, 2), Fraction(1, 2)) and ntk.b == (0, 0, 0) and ntk.c == 0
    )
    assert ntk.exponents.delta == (-Fraction(1, 2), -Fraction(1, 2))
    assert ntk.layer(3, 100).multiplier == 0.1
    assert iw.abc("standard", 2, c=1).limit != "mu" and iw.abc("standard", 2).regime == "unstable"


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: iw.abc(), r"give either a name and depth, as in abc\(\"mup\", depth=2\), or all of a, b and c"),
        (lambda: iw.abc("mup", a=[0, 0], b=[0, 0]), "give either a name"),
        (lambda: iw.abc(a=[0, 0]), "give all three"),
        (lambda: iw.abc("maximal"), "parametrization 'maximal' is not known"),
        (lambda: iw.abc("mean_field", 2), "one hidden layer only"),
        (lambda: iw.abc(a=[0, float("nan")], b=[0, 0], c=0), "finite numbers or fractions"),
        (lambda: iw.abc(a=[0, 0], b=[0, 0, 0], c=0), "has 2 and parametrization.b 3 exponents"),
        (lambda: iw.abc("ntk", 2).layer(4, 10), "layer is 4; the weight layers are 1 to 3."),
    ],
)
def test_what_is_wrong_is_a_sentence(make, sentence):
    with pytest.raises(iw.InfwidthError, match=sentence):
        make()
