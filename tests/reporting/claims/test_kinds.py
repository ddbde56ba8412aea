"""The kinds of checks, each on rows or tables that hold it and on such that do not."""

import math

import pandas as pd
import pytest

from infwidth.reporting.claims import rows as kinds
from infwidth.reporting.claims import theory
from infwidth.reporting.claims.estimate import Sample
from infwidth.reporting.claims.rows import Rows
from infwidth.reporting.order import Comparison
from infwidth.reporting.pca import Panel


def rows(error=0.1, metric="accuracy", **means):
    """Rows of one seed with these means."""
    return Rows(
        samples={(row, metric): Sample({0: value}, error) for row, value in means.items()},
        published={row: (metric, 60.0) for row in means},
    )


def held(check, evidence):
    return [finding.holds for finding in check.findings(evidence)]


def test_above():
    check = kinds.Above(row="a", others=("b", "c"), by=10)
    assert held(check, rows(a=60.0, b=49.0, c=50.1)) == [True, False]
    assert held(kinds.Above(row="a", others=("c",), by=10, tolerance=0.5), rows(a=60.0, c=50.1)) == [True]
    assert check.needs == ("a", "b", "c") and check.compares == ()


def test_above_compares_rows_of_the_same_seeds_seed_by_seed():
    together = {("a", "accuracy"): Sample({0: 10.0, 1: 30.0}, 0.0), ("b", "accuracy"): Sample({0: 9.0, 1: 28.9}, 0.0)}
    check = kinds.Above(row="a", others=("b",))
    assert held(check, Rows(samples=together)) == [True]
    # of rows whose spread is known from each other nothing is known of what seeds do to both
    assert held(check, Rows(samples=together, alike=[("a", "b")])) == [False]


def test_above_takes_the_interval_over_questions_where_there_is_one():
    apart = {("a", "accuracy"): Sample({0: 51.0}, 1.0), ("b", "accuracy"): Sample({0: 50.0}, 1.0)}
    compared = {("b", "a"): Comparison("b", "a", 1.0, 0.5, 1.5, 4000, 1)}
    check = kinds.Above(row="a", others=("b",))
    assert held(check, Rows(samples=apart)) == [False] and held(check, Rows(samples=apart, compared=compared)) == [True]


@pytest.mark.parametrize("ours, holds", [(60.0, True), (61.2, True), (61.4, False), (58.4, False)])
def test_within_the_published_number(ours, holds):
    check = kinds.Within(rows=("a",), points=1.5)
    assert held(check, rows(a=ours)) == [holds] and check.compares == ("a",)
    assert "a minus the published 60.00:" in check.findings(rows(a=ours))[0].sentence


def test_within_the_published_number_on_the_split_that_it_was_measured_on():
    on_both = Rows(
        samples={("a", "accuracy"): Sample({0: 40.0}, 0.1), ("a", "validation_accuracy"): Sample({0: 60.0}, 0.1)},
        published={"a": ("validation_accuracy", 60.5)},
    )
    check = kinds.Within(rows=("a",), points=1)
    assert held(check, on_both) == [True] and "(validation accuracy)" in check.findings(on_both)[0].what
    assert on_both.metric("a", check) == "validation_accuracy"


def test_within_another_row():
    check = kinds.Within(rows=("a", "b"), of="c", points=1)
    assert held(check, rows(a=50.0, b=52.0, c=50.5)) == [True, False]
    assert check.needs == ("a", "b", "c") and check.compares == ()


def test_ordered():
    assert held(kinds.Ordered(rows=("a", "b", "c")), rows(a=1.0, b=5.0, c=5.1)) == [True, False]
    assert held(kinds.Ordered(rows=("a", "b", "c"), tolerance=1), rows(a=1.0, b=5.0, c=4.8)) == [True, True]


def test_closing():
    assert held(kinds.Closing(rows=("a", "b", "c", "d")), rows(a=1.0, b=9.0, c=11.0, d=15.0)) == [True, False]


def test_closing_takes_the_interval_over_questions_where_there_is_one():
    apart = rows(error=2.0, a=40.0, b=44.0, c=45.0)
    assert held(kinds.Closing(rows=("a", "b", "c")), apart) == [False]
    compared = {(w, b): Comparison(w, b, 1.0, 0.5, 1.5, 4000, 1) for w, b in (("a", "b"), ("b", "c"))}
    known = Rows(samples=apart.samples, compared=compared)
    (finding,) = kinds.Closing(rows=("a", "b", "c")).findings(known)
    assert finding.holds and finding.estimate.high - finding.estimate.mean == pytest.approx(math.hypot(0.5, 0.5))


def test_at_most_and_at_least():
    assert held(kinds.AtMost(rows=("a", "b"), value=52, tolerance=1), rows(a=52.5, b=53.1)) == [True, False]
    assert held(kinds.AtLeast(rows=("a", "b"), value=52, tolerance=1), rows(a=50.9, b=51.5)) == [False, True]
    assert held(kinds.AtMost(rows=("a",), value=0), rows(error=0.0, a=0.0)) == [True]


def panel(title, probe, examples=100):
    return Panel(title, None, [0] * examples, ("x", "y"), 0.0, 0.0, probe)


def test_separated():
    check = kinds.Separated(panel="new", others=("old",))
    for few, holds in ((20, False), (400, True)):
        panels = {title: panel(title, probe, few) for title, probe in (("new", 80.0), ("old", 65.0))}
        assert held(check, Rows(samples={}, panels=panels)) == [holds]


CHECK = {"parametrization": "p", "depth": 1, "r": 0.0, "regime": "kernel", "quantity": "delta_x", "layer": 1.0}
CHECK |= {"steps": 1, "predicted": -0.5, "slope": -0.49, "low": -0.52, "high": -0.46, "blown_up": math.nan}


def checks(*changes):
    """The parts of the coordinate check, the first with these lines, the others with one that nothing is asked of."""
    other = pd.DataFrame([{**CHECK, "regime": "unstable", "predicted": 0.0}])
    return dict(zip(theory.CHECKS, [pd.DataFrame([{**CHECK, **c} for c in changes]), other, other], strict=True))


def test_exponents():
    found = checks({}, {"low": -0.65}, {"regime": "unstable", "low": 5}, {"parametrization": "q"}, {"quantity": "f_0"})
    assert held(theory.Exponents(tolerance=0.1), found) == [True, False, True, True]
    assert held(theory.Exponents(tolerance=0.1, parametrizations=("q",)), found) == [True]
    assert held(theory.Exponents(tolerance=0.1, quantities=("f_0",)), found) == [True]


def test_blow_up():
    grows = {"regime": "unstable", "predicted": 0.5, "quantity": "delta_f", "layer": math.nan}
    flat = {**grows, "slope": 0.01, "low": -0.02, "high": 0.04}
    assert held(theory.BlowUp(), checks({**flat, "steps": 1}, {**grows, "steps": 2, "low": 0.4, "high": 0.6})) == [True]
    assert held(theory.BlowUp(), checks(flat)) == [False]
    (finding,) = theory.BlowUp().findings(checks({**flat, "blown_up": 64}))
    assert finding.holds and "beyond all numbers" in finding.sentence
    assert theory.BlowUp(parametrizations=("q",)).findings(checks(flat)) == []


WIDTHS = [64, 256, 1024, 4096]


def dichotomy(r, kernel, descent, limit=0.0):
    """A table whose columns are powers of the width."""
    return {
        "dichotomy": pd.DataFrame(
            {
                "parametrization": "p",
                "activation": "linear",
                "depth": 1,
                "r": r,
                "width": WIDTHS,
                "kernel_moves": [0.4 * (n / 64) ** kernel for n in WIDTHS],
                "from_kernel_descent": [0.1 * (n / 64) ** descent for n in WIDTHS],
                "from_mu_limit": [0.1 * (n / 64) ** limit for n in WIDTHS],
            }
        )
    }


@pytest.mark.parametrize(
    "r, kernel, descent, holds",
    [
        (0, 0, 0, True),
        (0, -0.5, 0, False),
        (0, 0, -0.5, False),
        (0.5, -1, -0.5, True),
        (0.5, 0, 0, False),
        (0.5, -1, 0, False),
    ],
)
def test_dichotomy(r, kernel, descent, holds):
    assert all(held(theory.Dichotomy(flat=0.2, far=0.05), dichotomy(r, kernel, descent))) == holds


@pytest.mark.parametrize("r, limit, holds", [(0, -0.5, True), (0, 0, False), (0.5, 0, True), (0.5, -0.5, False)])
def test_becoming_the_limit(r, limit, holds):
    assert held(theory.BecomesLimit(flat=0.2, far=0.02), dichotomy(r, 0, 0, limit)) == [holds]


@pytest.mark.parametrize("power, holds", [(-0.5, True), (-0.4, True), (-0.25, False), (-0.9, False)])
def test_convergence(power, holds):
    lines = [
        {"limit": limit, "steps": steps, "width": n, "distance": n**power}
        for limit, power in (("π-limit", power), ("μ-limit", 0))
        for steps in (0, 5)
        for n in WIDTHS
    ]
    check = theory.Converges(limit="π-limit", exponent=-0.5, tolerance=0.2)
    assert held(check, {"convergence": pd.DataFrame(lines)}) == [holds, holds]
