"""Intervals: what the spread over seeds and the examples of a test make of a mean, a difference and a slope."""

import math

import numpy as np
import pytest
from scipy import stats

from infwidth.reporting.claims.estimate import NORMAL, Estimate, Finding, Sample, Spread, combination, fit, mean, spread


def sample(*values, error=0.0, first=0):
    return Sample(dict(enumerate(values, first)), error)


def own(found):
    return spread([list(found.values.values())])


def test_a_mean_has_students_interval_over_seeds():
    found = sample(1.0, 2.0, 4.0)
    expected = stats.t.interval(0.95, 2, np.mean([1, 2, 4]), stats.sem([1, 2, 4]))
    estimate = mean(found, own(found))
    assert (estimate.low, estimate.high) == pytest.approx(expected)


def test_spread_over_seeds_and_error_of_the_test_are_at_right_angles():
    found = sample(1.0, 2.0, 4.0, error=0.7)
    of_seeds = own(found).half_of_mean(3)
    assert mean(found, own(found)).high - found.mean == pytest.approx(math.hypot(of_seeds, 1.959964 * 0.7))


def test_one_seed_has_the_interval_of_the_test_alone():
    found = sample(50.0, error=0.5)
    assert mean(found, own(found)) == Estimate.around(50.0, NORMAL * 0.5)


def test_rows_that_are_alike_know_more_of_the_spread():
    a, b = [1.0, 2.0, 4.0], [10.0, 11.0, 10.5]
    together = spread([a, b])
    assert together.freedom == 4
    assert together.deviation**2 == pytest.approx((2 * np.var(a, ddof=1) + 2 * np.var(b, ddof=1)) / 4)
    assert spread([[3.0]]) == spread([]) == Spread(0.0, 0)
    assert spread([a, [1.0, math.nan]]) == spread([a])  # a diverged seed says nothing of the spread


def test_a_difference_of_rows_is_over_their_common_seeds():
    """Seeds that move both rows together do not count."""
    a, b = sample(10.0, 20.0, 30.0), sample(9.0, 19.5, 28.5, 99.0)
    differences = [1.0, 0.5, 1.5]
    found = combination([1, -1], [a, b], [own(a), own(b)])
    expected = stats.t.interval(0.95, 2, 1.0, stats.sem(differences))
    assert (found.mean, found.low, found.high) == pytest.approx((1.0, *expected))
    apart = combination([1, -1], [a, b], [own(a), own(b)], paired=False)
    assert apart.high - apart.low > 10 * (found.high - found.low)


def test_rows_without_common_seeds_count_as_independent():
    a, b = sample(10.0, 12.0, error=0.3), sample(5.0, error=0.4, first=1)
    like_a = own(a)
    found = combination([1, -1], [a, b], [like_a, like_a])
    half = math.hypot(like_a.half_of_mean(2), like_a.half_of_mean(1), NORMAL * 0.5)
    assert found == Estimate.around(6.0, half)


def test_what_is_known_of_a_comparison_on_the_same_questions_replaces_independent_tests():
    a, b = sample(10.0, error=0.3), sample(5.0, error=0.4)
    known = [own(a), own(b)]
    assert combination([1, -1], [a, b], known, 0.2) == Estimate.around(5.0, 0.2)
    assert combination([1, -1], [a, b], known) == Estimate.around(5.0, NORMAL * 0.5)


def test_a_slope_has_the_interval_of_the_regression():
    widths, exact = [2**k for k in range(6, 12)], [3 * 2 ** (-0.5 * k) for k in range(6, 12)]
    found = fit(widths, exact)
    assert (found.slope.mean, found.slope.low) == pytest.approx((-0.5, -0.5))
    assert found.at_largest.mean == pytest.approx(exact[-1])
    noisy = np.array(exact) * 2.0 ** np.array([0.1, -0.1, 0.05, 0.0, -0.1, 0.1])
    found = fit(widths, noisy)
    line = stats.linregress(np.log2(widths), np.log2(noisy))
    half = stats.t.ppf(0.975, 4) * line.stderr
    assert (found.slope.low, found.slope.high) == pytest.approx((line.slope - half, line.slope + half))
    # the end of the line by the same regression, with the origin moved there
    at_end = stats.linregress(np.log2(widths) - np.log2(widths[-1]), np.log2(noisy))
    half = stats.t.ppf(0.975, 4) * at_end.intercept_stderr
    assert np.log2(found.at_largest.high) == pytest.approx(at_end.intercept + half)


@pytest.mark.parametrize(
    "low, high, holds, undecided",
    [
        (1.0, 2.0, True, False),
        (0.5, 2.0, False, True),
        (1.5, 3.5, False, True),
        (0.0, 4.0, False, True),
        (-1.0, 0.5, False, False),
        (3.5, 4.0, False, False),
    ],
)
def test_a_finding_holds_if_its_whole_interval_is_inside(low, high, holds, undecided):
    found = Finding("x", Estimate((low + high) / 2, low, high), 1.0, 3.0)
    assert (found.holds, found.undecided) == (holds, undecided)
    assert (found.margin >= 0) == holds


def test_what_diverged_never_holds():
    found = Finding("x", Estimate(math.nan, math.nan, math.nan))
    assert not found.holds and not found.undecided and found.margin == -math.inf
    assert found.sentence.startswith("x: diverged")
