"""Effect size of paired differences: Hedges g_z with its exact interval. The difference in points comes first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy.optimize import brentq

from sics_analysis.results import Interval, Row, check_level, columns, limits, plural, signed
from sics_analysis.rows.contrasts import Contrast, OfContrast, as_contrast

_LARGE_T = 30.0  # where t·s spreads so far beyond Z that Z is the better variable to integrate over,
_WIDE = 10.0  # which of many seeds it does not: s has a standard deviation of about 1/√(2ν)
_NEARLY_NORMAL = 100  # degrees of freedom
_TAIL = 1e-18
_NODES, _WEIGHTS = special.roots_legendre(400)


@dataclass(frozen=True, slots=True)
class EffectSize(OfContrast):
    """Standardised mean difference of paired data.

    Parameters
    ----------
    contrast
        The paired differences.
    d_z
        Mean over standard deviation of the differences; None where the data are degenerate.
    g_z
        `d_z` times the small-sample correction J (Hedges 1981); None where degenerate.
    correction
        J = Γ(ν/2) / (√(ν/2) Γ((ν−1)/2)) with ν = n − 1; None where degenerate.
    """

    d_z: float | None
    g_z: float | None
    correction: float | None

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Exact interval of the true standardised effect for Normal differences, by inverting the noncentral t distribution.

        The limits are the noncentralities under which the observed t is the (1 ± level)/2 quantile, divided by √n. They are not
        multiplied by J, which corrects the estimate: limits shrunk with it would cover about 91 % at n = 5 where 95 % is claimed.

        References
        ----------
        Cumming and Finch (2001); Goulet-Pelletier and Cousineau (2018).
        """
        check_level(level)
        if self.d_z is None or self.correction is None:
            return None
        t = self.d_z * math.sqrt(self.n)
        nominal = 1 - 2 * self.contrast.level((1 - level) / 2)
        low, high = noncentrality_interval(t, self.n - 1, level if self.contrast.fixed else nominal)
        scale = 1 / math.sqrt(self.n)
        return Interval(low * scale, high * scale, level, "noncentral t" if self.contrast.fixed else "repeated noncentral t")

    def describe(self) -> str:
        """One sentence a reviewer can quote."""
        if self.g_z is None:
            return f"{self.name} against {self.reference}: no standardised effect (n = {self.n}, no spread to scale by)."
        return (
            f"{self.name} against {self.reference}: Hedges g_z = {signed(self.g_z)}, "
            f"{self.confidence_interval()} (n = {plural(self.n, 'seed')})."
        )

    def to_row(self) -> Row:
        """The numbers as one table row."""
        return columns(self, "scorer=name reference n d_z g_z") | limits("g", self.confidence_interval())


def hedges_g(data: Contrast | ArrayLike) -> EffectSize:
    """Hedges g_z of paired differences.

    Parameters
    ----------
    data
        A contrast, or differences in points of shape (n,).

    References
    ----------
    Hedges (1981), Distribution theory for Glass's estimator of effect size; Lakens (2013) for g_z.

    Examples
    --------
    >>> g1 = np.array([.7, -1.6, -.2, -1.2, -.1, 3.4, 3.7, .8, 0, 2])
    >>> g2 = np.array([1.9, .8, 1.1, .1, -.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    >>> round(hedges_g(g1 - g2).g_z, 3)
    -1.174
    """
    c = as_contrast(data)
    if c.is_degenerate or c.mean is None or not c.sd or not c.paired:
        return EffectSize(c, None, None, None)
    half = (c.n - 1) / 2
    correction = math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half)
    d_z = c.mean / c.sd
    return EffectSize(c, d_z, correction * d_z, correction)


def noncentrality_interval(t: float, df: int, level: float) -> tuple[float, float]:
    """Interval of the noncentrality λ of an observed t statistic.

    P(T ≤ t; λ) = P(Z ≤ t·s − λ) with s = √(χ²_ν/ν), so the limits are quantiles of t·s + Z, whatever the size of t.

    >>> low, high = noncentrality_interval(2.0, 9, 0.95)
    >>> round(low, 3), round(high, 3)
    (-0.206, 4.116)
    """
    check_level(level)
    tail = (1 - level) / 2
    cdf = _fiducial_cdf(abs(t), df)
    top = abs(t) * math.sqrt(2 * float(special.gammainccinv(df / 2, tail / 2)) / df)
    reach = 2 - 2 * float(special.ndtri(tail / 4))
    ends = -reach, top + reach
    # Of many seeds t·s is nearly Normal, and a root is looked for near that Normal's quantile first.
    guess, near = abs(t), 0.1 * math.sqrt(1 + t * t / (2 * df))

    def limit(q: float) -> float:
        start = guess + 10 * near * float(special.ndtri(q))
        low, high = (start - near, start + near) if df >= _NEARLY_NORMAL else ends
        if df >= _NEARLY_NORMAL and not cdf(low) < q < cdf(high):
            low, high = ends
        return float(brentq(lambda w: cdf(w) - q, low, high, xtol=1e-12, rtol=1e-12))

    low, high = limit(tail), limit(1 - tail)
    return (low, high) if t >= 0 else (-high, -low)


def _fiducial_cdf(t: float, df: int) -> Callable[[float], float]:
    """Distribution function of t·s + Z for t ≥ 0, s = √(χ²_ν/ν), Z standard Normal."""
    # scipy's nctdtr is not used: it returns nan at negative noncentralities of a large t, and never ends at huge ones.
    if t <= max(_LARGE_T, _WIDE * math.sqrt(2 * df)):
        half = df / 2
        low, high = (
            math.sqrt(float(limit) / half) for limit in (special.gammaincinv(half, _TAIL), special.gammainccinv(half, _TAIL))
        )
        s = (high + low) / 2 + (high - low) / 2 * _NODES
        log_density = math.log(2) + half * math.log(half) - math.lgamma(half) + (df - 1) * np.log(s) - half * s**2
        mass = (high - low) / 2 * _WEIGHTS * np.exp(log_density)
        return lambda w: float(mass @ special.ndtr(w - t * s))
    z = 9.0 * _NODES
    weights = 9.0 * _WEIGHTS * np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)

    def cdf(w: float) -> float:
        s = np.maximum((w - z) / t, 0.0)
        return float(weights @ special.gammainc(df / 2, df * s**2 / 2))

    return cdf
