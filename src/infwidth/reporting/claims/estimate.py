"""Means with their 95 % intervals, by which a claim is decided.

Two things make a measured accuracy uncertain: another seed trains another network, and another test has other examples.
The interval of a row is both together, at right angles:

    half^2 = (t s / sqrt(n))^2 + (1.96 e)^2

n seeds of standard deviation s, t of Student's distribution; e the standard error over the examples or episodes of one
test. That is on the safe side: seeds that draw a test of their own have part of e in s already, and n of them would
make e smaller. With one seed s is not known, and the interval is that of the test alone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

DECIDES_NUMBERS = False

NORMAL = float(stats.norm.ppf(0.975))
"""Half the 95 % interval of a mean, in standard errors that are known."""


@dataclass(frozen=True)
class Estimate:
    """A mean and the ends of its 95 % interval; all NaN where there is none because a run diverged."""

    mean: float
    low: float
    high: float

    @classmethod
    def around(cls, mean: float, half: float) -> "Estimate":
        return cls(mean, mean - half, mean + half)


DIVERGED = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Sample:
    """A metric of a row. values: by seed, NaN where it diverged; error: standard error over the examples of a test."""

    values: dict[int, float]
    error: float

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.values.values())))


@dataclass(frozen=True)
class Spread:
    """Over seeds: the standard deviation, with so many degrees of freedom; none if freedom is 0."""

    deviation: float
    freedom: int

    def half_of_mean(self, seeds: int) -> float:
        """Half the 95 % interval of a mean over so many seeds; 0 where the spread is not known."""
        if not self.freedom:
            return 0.0
        return float(stats.t.ppf(0.975, self.freedom)) * self.deviation / math.sqrt(seeds)


def spread(samples: Iterable[Sequence[float]]) -> Spread:
    """What the values of several rows of the same kind say together about the spread over seeds of one.

    A seed that diverged (NaN) says nothing of it; its row has no mean.
    """
    squares, freedom = 0.0, 0
    for values in samples:
        known = np.asarray([value for value in values if not math.isnan(value)])
        if len(known) > 1:
            squares += float(np.sum((known - known.mean()) ** 2))
            freedom += len(known) - 1
    return Spread(math.sqrt(squares / freedom) if freedom else 0.0, freedom)


def mean(sample: Sample, of_seeds: Spread) -> Estimate:
    """A row's mean."""
    half = math.hypot(of_seeds.half_of_mean(len(sample.values)), NORMAL * sample.error)
    return Estimate.around(sample.mean, half)


def combination(
    weights: Sequence[float],
    samples: Sequence[Sample],
    spreads: Sequence[Spread],
    half_of_test: float | None = None,
    paired: bool = True,
) -> Estimate:
    """A weighted sum of rows, such as the difference of two.

    paired: over the seeds that all rows have, if there are two or more: a seed may move the rows together, and their
    sum has a spread of its own. Otherwise the rows count as independent, each with its spread.
    half_of_test: half the 95 % interval over the examples of the test, where it is known; else the rows' tests count as
    independent too.
    """
    if half_of_test is None:
        half_of_test = NORMAL * math.hypot(*(w * s.error for w, s in zip(weights, samples, strict=True)))
    common = sorted(set.intersection(*(set(s.values) for s in samples)))
    if paired and len(common) > 1:
        sums = [sum(w * s.values[seed] for w, s in zip(weights, samples, strict=True)) for seed in common]
        half_of_seeds = spread([sums]).half_of_mean(len(common))
        return Estimate.around(float(np.mean(sums)), math.hypot(half_of_seeds, half_of_test))
    halves = [w * each.half_of_mean(len(s.values)) for w, s, each in zip(weights, samples, spreads, strict=True)]
    total = sum(w * s.mean for w, s in zip(weights, samples, strict=True))
    return Estimate.around(total, math.hypot(*halves, half_of_test))


@dataclass(frozen=True)
class Fit:
    """Of the logarithm of a quantity against that of the width: its slope, and the quantity at the largest width."""

    slope: Estimate
    at_largest: Estimate


def fit(widths: Sequence[float], values: Sequence[float]) -> Fit:
    """The straight line of log2 values on log2 widths, at least three, with the intervals of the regression."""
    x, y = np.log2(np.asarray(widths, dtype=np.float64)), np.log2(np.asarray(values, dtype=np.float64))
    line = stats.linregress(x, y)
    freedom = len(x) - 2
    quantile = float(stats.t.ppf(0.975, freedom))
    residual = y - line.intercept - line.slope * x
    scatter = math.sqrt(float(residual @ residual) / freedom)
    far = x.max() - x.mean()
    half = quantile * scatter * math.sqrt(1 / len(x) + far**2 / float(((x - x.mean()) ** 2).sum()))
    end = line.intercept + line.slope * x.max()
    slope = Estimate.around(float(line.slope), quantile * float(line.stderr))
    return Fit(slope, Estimate(2**end, 2 ** (end - half), 2 ** (end + half)))


@dataclass(frozen=True)
class Finding:
    """One number of a claim, and the range that its whole interval must lie in. what: in words; unit: of the number."""

    what: str
    estimate: Estimate
    at_least: float = -math.inf
    at_most: float = math.inf
    unit: str = ""
    digits: int = 2

    @property
    def holds(self) -> bool:
        """Whether the whole interval is inside."""
        return self.at_least <= self.estimate.low and self.estimate.high <= self.at_most

    @property
    def undecided(self) -> bool:
        """Whether the interval is neither wholly inside nor wholly outside: more seeds or a larger test would tell."""
        outside = self.estimate.high < self.at_least or self.estimate.low > self.at_most
        return not self.holds and not outside and not math.isnan(self.estimate.mean)

    @property
    def margin(self) -> float:
        """How far the interval is inside, negative where it is not; minus infinity where the run diverged."""
        found = min(self.estimate.low - self.at_least, self.at_most - self.estimate.high)
        return -math.inf if math.isnan(found) else found

    @property
    def sentence(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if math.isnan(self.estimate.mean):
            number = "diverged"
        elif math.isinf(self.estimate.mean):
            number = "beyond all numbers"
        else:
            number = f"{self._said(self.estimate.mean)}{unit}, 95 % interval {self._interval()}"
        return f"{self.what}: {number}; asked: {self._asked()}"

    def _interval(self) -> str:
        return f"[{self._said(self.estimate.low)}, {self._said(self.estimate.high)}]"

    def _asked(self) -> str:
        if math.isinf(self.at_most):
            return f"at least {self.at_least:g}"
        if math.isinf(self.at_least):
            return f"at most {self.at_most:g}"
        return f"{self.at_least:g} to {self.at_most:g}"

    def _said(self, value: float) -> str:
        return f"{value:.{self.digits}f}"
