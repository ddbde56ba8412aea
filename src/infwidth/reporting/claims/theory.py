"""Kinds of claims about the measurements of the theory experiment, likewise (:mod:`.rows`).

``needs`` names the parts that were measured; the evidence is the table of each.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from infwidth.config import key
from infwidth.reporting.claims.estimate import Estimate, Finding, fit
from infwidth.reporting.theory import NAMES

DECIDES_NUMBERS = False

CHECKS = ("coordinate_check_1", "coordinate_check_2", "coordinate_check_3")

Tables = Mapping[str, pd.DataFrame]


class OfMeasurements:
    """What the kinds have in common. needs: parts that were measured."""

    needs: tuple[str, ...] = ()


def _checks(tables: Tables) -> pd.DataFrame:
    return pd.concat([tables[part] for part in CHECKS], ignore_index=True)


def _quantity(line) -> str:
    layer = "" if pd.isna(line.layer) else f" of layer {line.layer:.0f}"
    return f"{line.parametrization}, depth {line.depth}, {NAMES[line.quantity]}{layer}"


@dataclass(frozen=True, kw_only=True)
class Exponents(OfMeasurements):
    """Measured exponents are within a tolerance of the predicted ones.

    Those of all stable parametrizations, or of the ones that are named, and of all quantities, or of the ones that are
    named.
    """

    tolerance: float = key(above=0)
    parametrizations: tuple[str, ...] | None = None
    quantities: tuple[Literal["h_0", "f_0", "delta_f", "delta_h", "delta_x"], ...] | None = None

    needs = CHECKS

    def findings(self, tables: Tables) -> list[Finding]:
        checks = _checks(tables)
        wanted = checks.regime != "unstable"
        if self.parametrizations is not None:
            wanted &= checks.parametrization.isin(self.parametrizations)
        if self.quantities is not None:
            wanted &= checks.quantity.isin(self.quantities)
        return [
            Finding(
                f"exponent of {_quantity(line)} after {line.steps} steps, predicted {line.predicted:g}",
                Estimate(line.slope, line.low, line.high),
                line.predicted - self.tolerance,
                line.predicted + self.tolerance,
                digits=3,
            )
            for line in checks[wanted].itertuples()
        ]


@dataclass(frozen=True, kw_only=True)
class BlowUp(OfMeasurements):
    """What should grow with the width in unstable parametrizations does: its exponent is above zero.

    After the number of steps at which that shows best; what was no longer finite counts as grown.
    """

    parametrizations: tuple[str, ...] | None = None

    needs = CHECKS

    def findings(self, tables: Tables) -> list[Finding]:
        checks = _checks(tables)
        wanted = (checks.regime == "unstable") & (checks.predicted > 0) & (checks.quantity != "delta_h")
        if self.parametrizations is not None:
            wanted &= checks.parametrization.isin(self.parametrizations)
        keys = ["parametrization", "depth", "quantity", "layer"]
        found = []
        for _, group in checks[wanted].groupby(keys, dropna=False, sort=False):
            first = next(group.itertuples())
            if group.blown_up.notna().any():
                grows = Estimate(math.inf, math.inf, math.inf)
            else:
                best = group.loc[group.low.idxmax()]
                grows = Estimate(best.slope, best.low, best.high)
            found.append(Finding(f"exponent of {_quantity(first)}", grows, at_least=0, digits=3))
        return found


@dataclass(frozen=True, kw_only=True)
class Dichotomy(OfMeasurements):
    """Features move or training is kernel gradient descent, never both and never neither.

    At r = 0 both distances, of the feature kernel from where it began and of f from kernel gradient descent, stay as
    the width grows: their exponents are within ``flat`` of zero, and at the largest width they are at least ``far``.
    At r > 0 both fall: their exponents are below -``flat``.
    """

    flat: float = key(above=0)
    far: float = key(above=0)

    needs = ("dichotomy",)

    def findings(self, tables: Tables) -> list[Finding]:
        found = []
        for (name, activation), group in tables["dichotomy"].groupby(["parametrization", "activation"], sort=False):
            for column, what in (("kernel_moves", "feature kernel moves"), ("from_kernel_descent", "f from descent")):
                line = fit(group.width.tolist(), group[column].tolist())
                said = f"{name}, {activation}, r = {group.r.iloc[0]:g}, {what}"
                if group.r.iloc[0] == 0:
                    found.append(Finding(f"{said}: exponent", line.slope, -self.flat, self.flat))
                    found.append(Finding(f"{said} at the largest width", line.at_largest, at_least=self.far))
                else:
                    found.append(Finding(f"{said}: exponent", line.slope, at_most=-self.flat))
        return found


@dataclass(frozen=True, kw_only=True)
class BecomesLimit(OfMeasurements):
    """Wide linear networks become the mu-limit at r = 0, and at no other.

    At r = 0 the exponent of the distance is below -``flat``; at r > 0 the distance at the largest width is at least
    ``far``.
    """

    flat: float = key(above=0)
    far: float = key(above=0)

    needs = ("dichotomy",)

    def findings(self, tables: Tables) -> list[Finding]:
        table = tables["dichotomy"]
        linear = table[table.from_mu_limit.notna()]
        found = []
        for name, group in linear.groupby("parametrization", sort=False):
            line = fit(group.width.tolist(), group.from_mu_limit.tolist())
            said = f"{name}, r = {group.r.iloc[0]:g}, distance from the μ-limit"
            if group.r.iloc[0] == 0:
                found.append(Finding(f"{said}: exponent", line.slope, at_most=-self.flat))
            else:
                found.append(Finding(f"{said} at the largest width", line.at_largest, at_least=self.far))
        return found


@dataclass(frozen=True, kw_only=True)
class Converges(OfMeasurements):
    """Networks drawn from a limit ('μ-limit' or 'π-limit') approach it as a power of the width.

    At the start and at every number of steps that was measured the exponent is within a tolerance of the given one.
    """

    limit: Literal["μ-limit", "π-limit"]
    exponent: float
    tolerance: float = key(above=0)

    needs = ("convergence",)

    def findings(self, tables: Tables) -> list[Finding]:
        table = tables["convergence"]
        found = []
        for steps, group in table[table.limit == self.limit].groupby("steps", sort=False):
            slope = fit(group.width.tolist(), group.distance.tolist()).slope
            what = f"exponent of the distance from the {self.limit} after {steps} steps"
            found.append(Finding(what, slope, self.exponent - self.tolerance, self.exponent + self.tolerance))
        return found
