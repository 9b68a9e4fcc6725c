"""Power of the equivalence and escape tests.

Exact for Normal differences: the equivalence test's two conditions share one standard deviation, so its
power is a bivariate noncentral t probability (Owen 1965), computed here as a one-dimensional integral over
the distribution of that standard deviation. Only `scipy.special` is imported, because `sics-run plan` must
answer at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sics_analysis.results import MAX_MARGIN, Computed, Row, is_number, is_whole, plural

Design = Literal["paired", "two-sample"]
Test = Literal["equivalence", "escape", "superiority"]

_TAIL = 1e-17  # mass of the sd's distribution left outside the integral, each side
_TURN = 9.0  # a Normal probability is 0 or 1 to double precision beyond nine standard deviations
_NODES, _WEIGHTS = special.roots_legendre(100)


def check_design(sd: float, delta: float, alpha: float, n: int, design: str, family: int) -> None:
    """Refuse what no design can have, one line naming the argument, its value and what is accepted."""
    if not (is_number(sd) and math.isfinite(sd) and sd > 0):
        raise ValueError(f"`sd` must be a positive number of accuracy points, got {sd!r}")
    if not (is_number(delta) and 0 <= delta <= MAX_MARGIN):
        raise ValueError(f"`delta` must be a finite number of accuracy points >= 0, got {delta!r}")
    if not (is_number(alpha) and 0 < alpha < 0.5):
        raise ValueError(f"`alpha` must lie in (0, 0.5), got {alpha!r}")
    if not is_whole(n) or n < 2:
        raise ValueError(f"`n` must be a whole number of at least 2 seeds, got {n!r}")
    if design not in ("paired", "two-sample"):
        raise ValueError(f"`design` must be 'paired' or 'two-sample', got {design!r}")
    if not is_whole(family) or family < 1:
        raise ValueError(f"`family` must be a whole number of at least 1 scorer, got {family!r}")


def _standard_error(sd: float, n: int, design: Design) -> tuple[float, int]:
    """Standard error of the difference and its degrees of freedom; `n` is per group if two-sample."""
    if design == "paired":
        return sd / math.sqrt(n), n - 1
    return sd * math.sqrt(2 / n), 2 * n - 2


def _sd_nodes(
    df: int, bends: Sequence[float], width: float, upper: float = math.inf
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes s/σ up to `upper` and their share of the chi distribution, for an integral over the sample sd.

    The integrand is Normal probabilities that turn from 0 to 1 within ± `width` of the `bends`: each turn has panels of its own.
    """
    lower = math.sqrt(2 * float(special.gammaincinv(df / 2, _TAIL)) / df)
    upper = min(upper, math.sqrt(2 * float(special.gammainccinv(df / 2, _TAIL)) / df))
    cuts = {bend + side * width for bend in bends for side in (-1, 0, 1)}
    edges = np.array(sorted({lower, upper, *(cut for cut in cuts if lower < cut < upper)}))
    if upper <= lower:
        return np.zeros(0), np.zeros(0)
    half = 0.5 * np.diff(edges)[:, None]
    ratio = (edges[:-1, None] + half * (_NODES + 1)).ravel()
    log_density = (
        math.log(2)
        + 0.5 * df * math.log(0.5 * df)
        - float(special.gammaln(0.5 * df))
        + (df - 1) * np.log(ratio)
        - 0.5 * df * ratio**2
    )
    return ratio, (half * _WEIGHTS).ravel() * np.exp(log_density)


@dataclass(frozen=True, slots=True)
class PowerResult(Computed):
    """Power of one test at one number of seeds. Differences, sd and delta in accuracy points."""

    test: Test
    design: Design
    n: int
    difference: float
    sd: float
    delta: float
    alpha: float
    family: int
    power: float

    def describe(self) -> str:
        """Return one sentence a plan can quote."""
        what = {
            "equivalence": f"show equivalence within ±{self.delta:g} points",
            "escape": f"show an escape beyond +{self.delta:g} points",
            "superiority": "show a difference above zero",
        }[self.test]
        family = f" in a family of {self.family}" if self.family > 1 else ""
        return (
            f"With {plural(self.n, 'seed')} the chance to {what}{family} is {100 * self.power:.1f} % at alpha "
            f"{self.alpha:g}, if the true difference is {self.difference:+g} points and its sd "
            f"between seeds {self.sd:g}."
        )

    def to_row(self) -> Row:
        """Return the fields as a flat dictionary."""
        return asdict(self)


def tost_power(
    difference: float,
    sd: float,
    delta: float,
    n: int,
    *,
    alpha: float = 0.05,
    design: Design = "paired",
) -> PowerResult:
    r"""Exact power of the t-based TOST at bounds ``±delta``.

    Parameters
    ----------
    difference : float
        True mean difference, accuracy points.
    sd : float
        Standard deviation of the paired differences between seeds (paired), or within a group (two-sample).
    delta : float
        Equivalence margin, accuracy points.
    n : int
        Number of seeds; per group in a two-sample design.
    alpha : float
        Level of each one-sided test.
    design : {"paired", "two-sample"}
        Paired differences, n − 1 degrees of freedom; or two independent groups, 2n − 2.

    Notes
    -----
    The test rejects when ``|mean| < δ − t(1−α, ν)·s/√n``. Given s the mean is
    Normal, so the power is the integral of a difference of two Normal probabilities over the chi density of
    s, up to the s where the acceptance region vanishes (Owen 1965; Phillips 1990). Gauss–Legendre quadrature in
    panels.

    Examples
    --------
    >>> round(tost_power(-4, 18, 19.2, 15, design="two-sample").power, 5)  # PASS and TOSTER: .69339
    0.69339
    >>> round(tost_power(0, 0.5, 0.5, 5).power, 3)
    0.294
    """
    check_design(sd, delta, alpha, n, design, 1)
    se, df = _standard_error(sd, n, design)
    critical = float(special.stdtrit(df, 1 - alpha))
    # Above `upper`, in units of the true sd, the acceptance region is empty.
    bends = [(delta - difference) / (se * critical), (delta + difference) / (se * critical)]
    ratio, weight = _sd_nodes(df, bends, _TURN / critical, upper=delta / (se * critical))
    inside = special.ndtr((delta - difference) / se - critical * ratio) - special.ndtr(
        (-delta - difference) / se + critical * ratio
    )
    power = float(np.sum(weight * np.maximum(inside, 0.0)))
    return PowerResult("equivalence", design, n, difference, sd, delta, alpha, 1, min(max(power, 0.0), 1.0))


def escape_power(
    difference: float,
    sd: float,
    delta: float,
    n: int,
    *,
    alpha: float = 0.05,
    family: int = 1,
    design: Design = "paired",
) -> PowerResult:
    """Exact power of the one-sided t-test of ``difference > delta`` (superiority at delta 0).

    Parameters
    ----------
    family : int
        Number of scorers tested together. The level is then ``alpha / family``, Holm's first step: a lower
        bound for the step-down max-T, which gains from the correlation of the scorers and from those
        already rejected.

    Notes
    -----
    t is noncentral with n − 1 (paired) or 2n − 2 degrees of freedom and noncentrality (difference −
    delta)/se; its tail is integrated over the sd like the TOST's, because library routines for it lose their
    digits at large noncentrality.

    Examples
    --------
    >>> round(escape_power(1.5, 0.5, 0.5, 5).power, 3)
    0.975
    >>> round(escape_power(0.5, 0.5, 0.5, 5).power, 3)  # at the bound the power is the level
    0.05
    """
    check_design(sd, delta, alpha, n, design, family)
    se, df = _standard_error(sd, n, design)
    critical = float(special.stdtrit(df, 1 - alpha / family))
    shift = (difference - delta) / se
    ratio, weight = _sd_nodes(df, [shift / critical], _TURN / critical)
    power = float(np.sum(weight * special.ndtr(shift - critical * ratio)))
    test: Test = "escape" if delta > 0 else "superiority"
    return PowerResult(test, design, n, difference, sd, delta, alpha, family, min(max(power, 0.0), 1.0))
