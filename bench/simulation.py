"""Simulated differences with known truths, and what each method says of them: the parts of `calibration.py`.

Every function simulates the paired differences of the real design, in accuracy points, at n seeds, and counts errors. The
methods are the package's own: the vectorised forms here are its formulas, and `tests/analysis/test_calibration.py` checks
that they agree with the package line by line. `simulation_runs.py` simulates what goes through the package's own functions.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from sics_analysis.families.kappa import decide, kappa_p_values
from sics_analysis.families.rotation import MaxAbs, rotation_directions, sign_directions, step_down_p
from sics_analysis.one_scorer.bootstrap import bootstrap_mean
from sics_analysis.one_scorer.bootstrap_tost import bootstrap_tost
from sics_analysis.one_scorer.crossed import variance_components
from sics_analysis.one_scorer.effect import hedges_g
from sics_analysis.one_scorer.mcnemar import mcnemar_exact
from sics_analysis.planning.power import escape_power, tost_power
from sics_analysis.results import Verdict

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ALPHA, DELTA, SD = 0.05, 0.5, 0.3
IMAGES = 600
DRAWS = 2_000  # rotations per data set; the package uses 100 000, which only lowers the noise of p
SHARED = 20  # data sets that share one set of rotations
EXACT_MOST = 8  # seeds up to which all resamples are enumerated: 6 435 distinct ones
MEMBERS = 6  # scorers in a simulated family


@dataclass(frozen=True)
class Rate:
    """A share of simulated data sets, with its Monte Carlo standard error."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        return self.hits / self.total

    @property
    def se(self) -> float:
        return math.sqrt(max(self.value * (1 - self.value), 1 / self.total) / self.total)

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} ± {100 * self.se:.2f}"


def rate(flags: Bools | list[bool]) -> Rate:
    array = np.asarray(flags, dtype=bool)
    return Rate(int(array.sum()), array.size)


def within_two_errors(found: Rate) -> bool:
    """Whether a rate is at most 5 %, give or take two of its standard errors."""
    return found.value <= ALPHA + 2 * found.se


def gate_passes(size: int, true: float) -> float:
    """The chance that a cell of this true rate passes: at once, or when simulated again with four times the data sets."""

    def one(total: int) -> float:
        most = max(hits for hits in range(total // 4) if within_two_errors(Rate(hits, total)))
        return float(stats.binom.cdf(most, total, true))

    first = one(size)
    return first + (1 - first) * one(4 * size)


# --- one column of differences, symmetric about its mean unless the name says otherwise ---


def normal(rng: np.random.Generator, size: int, n: int, mean: float) -> Floats:
    return mean + rng.normal(0, SD, (size, n))


def discrete(discordance: float) -> Callable[[np.random.Generator, int, int, float], Floats]:
    """Differences k/600 with this share of images on which exactly one network is right; `mean` must be a whole k."""

    def draw(rng: np.random.Generator, size: int, n: int, mean: float) -> Floats:
        assert float(mean * IMAGES / 100).is_integer()
        gained = rng.binomial(IMAGES, discordance / 2, (size, n))
        lost = rng.binomial(IMAGES, discordance / 2, (size, n))
        return 100 * (gained - lost + round(mean * IMAGES / 100)) / IMAGES

    return draw


def asymmetric(rng: np.random.Generator, size: int, n: int, mean: float) -> Floats:
    """Discordance 2 % in which the mean itself comes from more gained than lost images: skewed wherever mean ≠ 0."""
    gained = rng.binomial(IMAGES, 0.01 + mean / 200, (size, n))
    lost = rng.binomial(IMAGES, 0.01 - mean / 200, (size, n))
    return 100 * (gained - lost) / IMAGES


def skewed_right(rng: np.random.Generator, size: int, n: int, mean: float) -> Floats:
    return mean + SD * (rng.exponential(1, (size, n)) - 1)


def skewed_left(rng: np.random.Generator, size: int, n: int, mean: float) -> Floats:
    return mean - SD * (rng.exponential(1, (size, n)) - 1)


def partly_degenerate(rng: np.random.Generator, size: int, n: int, mean: float) -> Floats:
    """At 30 % of the seeds both scorers chose the same mask: a difference of exactly zero."""
    return np.where(rng.random((size, n)) < 0.3, 0.0, rng.normal(mean / 0.7, SD, (size, n)))


COLUMNS: dict[str, tuple[Callable[[np.random.Generator, int, int, float], Floats], bool]] = {
    # name -> (generator, whether the gate applies)
    "Normal": (normal, True),
    "discrete, discordance 1 %": (discrete(0.01), True),
    "discrete, discordance 5 %": (discrete(0.05), True),
    "discrete, discordance 0.2 %": (discrete(0.002), False),
    "discrete, asymmetric 2 %": (asymmetric, False),
    "skewed right": (skewed_right, False),
    "skewed left": (skewed_left, False),
    "partly degenerate": (partly_degenerate, False),
}


@dataclass(frozen=True)
class Moments:
    """Mean, standard error and degeneracy of every row."""

    mean: Floats
    se: Floats
    constant: Bools

    @classmethod
    def of(cls, data: Floats) -> Moments:
        constant = np.ptp(data, axis=-1) <= 1e-7
        se = data.std(axis=-1, ddof=1) / math.sqrt(data.shape[-1])
        return cls(data.mean(axis=-1), np.where(constant, 1.0, se), constant)


def t_above(data: Floats, margin: float) -> Floats:
    """One-sided p of "mean above margin": Student t, or the exact sign-flip of a constant row, which is 2⁻ⁿ or 1."""
    m = Moments.of(data)
    exact = np.where(m.mean - margin > 1e-7, 0.5 ** data.shape[-1], 1.0)
    return np.where(m.constant, exact, special.stdtr(data.shape[-1] - 1, -(m.mean - margin) / m.se))


def t_below(data: Floats, margin: float) -> Floats:
    return t_above(-data, -margin)


def t_covers(data: Floats, truth: float, level: float) -> Bools:
    """Whether the Student-t interval holds the truth; a degenerate row gives its one point."""
    m = Moments.of(data)
    reach = special.stdtrit(data.shape[-1] - 1, 0.5 + level / 2) * np.where(m.constant, 0.0, m.se)
    return np.abs(m.mean - truth) <= reach + 1e-7


def equivalent(data: Floats, delta: float) -> Bools:
    """Verdict EQUIVALENT: both halves of the TOST."""
    return np.maximum(t_above(data, -delta), t_below(data, delta)) <= ALPHA


def sign_flip_equivalent(data: Floats, delta: float, rng: np.random.Generator | None = None) -> Bools:
    """Sign-flip TOST: exact, or with a generator over `DRAWS` flips that count the identity; constant rows by their exact p.

    The package counts all 2ⁿ patterns up to 20 seeds; a million of them for every data set is too slow here, and a p over a
    sample that holds the identity is valid too.
    """
    n = data.shape[1]
    drawn = sign_directions(n) if rng is None else sign_directions(n, draws=DRAWS, rng=rng)
    signs = np.concatenate(list(drawn)) * math.sqrt(n)
    found = np.empty(len(data), dtype=bool)
    for start in range(0, len(data), 2_000):
        part = data[start : start + 2_000]
        upper = (((part - delta) @ signs.T) <= (part - delta).sum(axis=1, keepdims=True) + 1e-7).mean(axis=1)
        lower = (((part + delta) @ signs.T) >= (part + delta).sum(axis=1, keepdims=True) - 1e-7).mean(axis=1)
        found[start : start + 2_000] = np.maximum(upper, lower) <= ALPHA
    return np.where(Moments.of(data).constant, equivalent(data, delta), found)


def scipy_bca(data: Floats, level: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Limits of scipy's BCa for every row; nan where scipy has none."""
    low, high = [], []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for start in range(0, len(data), 200):
            interval = stats.bootstrap(
                (data[start : start + 200],), np.mean, axis=-1, n_resamples=999, confidence_level=level, method="BCa", rng=rng
            ).confidence_interval
            low.append(interval.low)
            high.append(interval.high)
    return np.concatenate(low), np.concatenate(high)


# --- what is counted ---


def line_errors(name: str, n: int, size: int, boot: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Type I of equivalence, its halves and escape for a line whose true difference is exactly +δ (−δ where it says so)."""
    generate = COLUMNS[name][0]
    data = generate(rng, size, n, DELTA)
    found = {
        "t-TOST": rate(equivalent(data, DELTA)),
        "escape, t": rate(t_above(data, DELTA) <= ALPHA),
    }
    found["sign-flip TOST"] = rate(sign_flip_equivalent(data, DELTA, rng if n > 10 else None))
    some = data[:boot]
    results = [bootstrap_tost(row, DELTA, rng=rng, n_resamples=999) for row in some]
    found["bootstrap TOST"] = rate([r.verdict in (Verdict.EQUIVALENT, Verdict.IDENTICAL) for r in results])
    low, high = scipy_bca(some, 1 - 2 * ALPHA, rng)
    found["scipy BCa inside ±δ"] = rate((low > -DELTA) & (high < DELTA))
    found["NONSUPERIOR at +δ"] = rate(t_below(data, DELTA) <= ALPHA)
    found["NONINFERIOR at −δ"] = rate(t_above(generate(rng, size, n, -DELTA), -DELTA) <= ALPHA)
    return found


def interval_coverage(name: str, n: int, size: int, boot: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Coverage of the intervals of one line, true difference zero; of Hedges g_z, true difference δ.

    Up to `EXACT_LIMIT` seeds the package enumerates every resample; beyond, up to `EXACT_MOST` here, on request.
    """
    generate = COLUMNS[name][0]
    data = generate(rng, size, n, 0.0)
    found = {"Student t 95 %": rate(t_covers(data, 0.0, 0.95)), "Student t 90 %": rate(t_covers(data, 0.0, 0.90))}
    flags: dict[str, list[bool]] = {"percentile": [], "basic": [], "bca": [], "studentized": []}
    for row in data[:boot]:
        result = bootstrap_mean(row, rng=rng, n_resamples=999)
        for method, hits in flags.items():
            interval = result.confidence_interval(0.95, method)  # type: ignore[arg-type]
            hits.append(interval is None or (interval.low <= 1e-7 and interval.high >= -1e-7))
    found.update({f"bootstrap {method}": rate(hits) for method, hits in flags.items()})
    if n <= EXACT_MOST:
        exact = [bootstrap_mean(row, exact_limit=EXACT_MOST).confidence_interval(0.95, "percentile") for row in data[:boot]]
        found["bootstrap percentile, all resamples"] = rate([i is None or (i.low <= 1e-7 and i.high >= -1e-7) for i in exact])
    many = generate(rng, 1, 400_000, DELTA)
    effect = DELTA / float(many.std())
    sizes = [hedges_g(row).confidence_interval(0.95) for row in generate(rng, boot, n, DELTA)]
    # A degenerate row has no effect size, and claims nothing.
    found["Hedges g_z"] = rate([interval is None or effect in interval for interval in sizes])
    low, high = scipy_bca(data[:boot], 0.95, rng)
    found["scipy BCa"] = rate((low <= 1e-7) & (high >= -1e-7))
    return found


def family_columns(name: str, size: int, n: int, rng: np.random.Generator) -> tuple[Floats, Bools]:
    """Differences of a family, shape (size, n, members), and which columns are true nulls (at or below +δ)."""
    shape = (size, n, MEMBERS)
    shared = rng.normal(0, SD, (size, n, 1))
    null = np.ones(MEMBERS, dtype=bool)
    if name == "Normal, independent":
        return DELTA + rng.normal(0, SD, shape), null
    if name.startswith("Normal, correlated"):
        rho = 0.5 if name.endswith("0.5") else 0.9
        return DELTA + math.sqrt(rho) * shared + math.sqrt(1 - rho) * rng.normal(0, SD, shape), null
    if name == "Normal, nulls at 0":
        return 0.7 * shared + 0.7 * rng.normal(0, SD, shape), null
    if name == "one escape among nulls":
        data = DELTA + math.sqrt(0.5) * shared + math.sqrt(0.5) * rng.normal(0, SD, shape)
        data[:, :, 0] += DELTA
        null[0] = False
        return data, null
    if name == "strongly negative beside nulls":
        data = DELTA + 0.7 * shared + 0.7 * rng.normal(0, SD, shape)
        data[:, :, 2:] += -36.5 + rng.normal(0, 3, (size, n, MEMBERS - 2))
        return data, null
    if name == "strongly negative beside an escape":
        data, _ = family_columns("strongly negative beside nulls", size, n, rng)
        data[:, :, 0] += 3 * DELTA
        null[0] = False
        return data, null
    if name == "discrete, discordance 1 %":
        # The reference is common to all columns, so half of each difference is shared.
        counts = rng.binomial(IMAGES, 0.0025, (2, *shape)) - rng.binomial(IMAGES, 0.0025, (2, size, n, 1))
        return 100 * (counts[0] - counts[1] + 3) / IMAGES, null
    if name == "skewed left":
        return DELTA - SD * (rng.exponential(1, shape) - 1), null
    if name == "partly degenerate":
        data = DELTA + rng.normal(0, SD, shape)
        data[:, :, 0] = 0.0
        data[:, :, 1] = np.where(rng.random((size, n)) < 0.5, DELTA, data[:, :, 1])
        return data, null
    raise ValueError(name)


FAMILIES = {
    "Normal, independent": True,
    "Normal, correlated 0.5": True,
    "Normal, correlated 0.9": True,
    "Normal, nulls at 0": True,
    "one escape among nulls": True,
    "strongly negative beside nulls": True,
    "strongly negative beside an escape": True,
    "discrete, discordance 1 %": True,
    "skewed left": False,
    "partly degenerate": False,
}


def max_t(columns: Floats, directions: list[Floats], p: Floats) -> Floats:
    """The package's adjusted p of one family, given its raw p: never below the exact t p, monotone in the step-down order."""
    adjusted = np.maximum(step_down_p(columns, directions), p)
    order = np.argsort(p, kind="stable")
    found = np.empty_like(adjusted)
    found[order] = np.maximum.accumulate(adjusted[order])
    return found


def holm_rejects(p: Floats) -> Bools:
    order = np.argsort(p, kind="stable")
    passed = np.logical_and.accumulate(p[order] <= ALPHA / np.arange(len(p), 0, -1))
    found = np.empty(len(p), dtype=bool)
    found[order] = passed
    return found


def family_errors(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Family-wise error of the escape at +δ, and how often a true escape is found."""
    data, null = family_columns(name, size, n, rng)
    signs = list(sign_directions(n)) if n <= 10 else list(sign_directions(n, draws=DRAWS, rng=rng))
    wrong: dict[str, list[bool]] = {"rotation max-T": [], "Holm on t": [], "joint sign-flip max-T": []}
    found: dict[str, list[bool]] = {method: [] for method in wrong}
    directions: list[Floats] = []
    for i, columns in enumerate(data):
        if i % SHARED == 0:
            directions = list(rotation_directions(n, DRAWS, rng))
        keep = np.ptp(columns, axis=0) > 1e-7
        centred, true_null = columns[:, keep] - DELTA, null[keep]
        p = t_above(centred.T, 0.0)
        rejected = {
            "rotation max-T": max_t(centred, directions, p) <= ALPHA,
            "Holm on t": holm_rejects(p),
            "joint sign-flip max-T": step_down_p(centred, signs) <= ALPHA,
        }
        for method, flags in rejected.items():
            wrong[method].append(bool(flags[true_null].any()))
            found[method].append(bool(flags[~true_null].any()))
    counted = {f"{method}, any false": rate(flags) for method, flags in wrong.items()}
    if not null.all():
        counted.update({f"{method}, escape found": rate(flags) for method, flags in found.items()})
    return counted


def simultaneous_coverage(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """How often all simultaneous intervals of a family hold their truths at once, and the selected best its own."""
    data, _ = family_columns(name, size, n, rng)
    truth, joint, best, curse = DELTA, [], [], []
    for i, columns in enumerate(data):
        if i % SHARED == 0:
            directions = list(rotation_directions(n, DRAWS, rng))
        columns = columns[:, np.ptp(columns, axis=0) > 1e-7]
        largest = MaxAbs(columns - columns.mean(axis=0))
        for chunk in directions:
            largest.add(chunk)
        critical = max(largest.quantile(1 - ALPHA), float(special.stdtrit(n - 1, 1 - ALPHA / 2)))
        mean = columns.mean(axis=0)
        reach = critical * columns.std(axis=0, ddof=1) / math.sqrt(n)
        holds = np.abs(mean - truth) <= reach
        joint.append(bool(holds.all()))
        best.append(bool(holds[np.argmax(mean)]))
        curse.append(bool(t_covers(columns.T, truth, 0.95)[np.argmax(mean)]))
    return {
        "simultaneous interval, all at once": rate(joint),
        "simultaneous interval, selected best": rate(best),
        "Student t of the selected best": rate(curse),
    }


_BELOW = ((-5.0, -5.0, -5.0), (-5.0, -5.0), 0)  # claimed at once, so that Holm leaves more for the other S
TRUTHS: dict[str, tuple[tuple[tuple[float, ...], tuple[float, ...], int], ...]] = {
    # name -> for each of four S: true differences of the κ = 1 scorers, of the κ = 2 scorers, and κ(S); δ = 0.5
    "κ = 0, all at 0": (((0.0, 0.0, 0.0), (0.0, 0.0), 0),) * 4,
    "κ = 0, all on the bound": (((0.5, 0.5, 0.5), (0.5, 0.5), 0),) * 4,
    "κ = 0, one κ = 1 on the bound": (((0.5, -5.0, -5.0), (-5.0, -5.0), 0),) * 4,
    "κ = 1, just above, κ = 2 far above": (((0.51, 0.0, 0.0), (2.0, 2.0), 1),) * 4,
    "κ = 1, just above, κ = 2 below": (((0.51, -5.0, -5.0), (-5.0, -5.0), 1),) * 4,
    "κ = 2, κ = 1 on the bound": (((0.5, 0.5, 0.5), (2.0, 2.0), 2),) * 4,
    "κ = 2, just above": (((-5.0, -5.0, -5.0), (0.51, -5.0), 2),) * 4,
    "three S far below, then κ = 0, one κ = 1 on the bound": ((_BELOW,) * 3 + (((0.5, -5.0, -5.0), (-5.0, -5.0), 0),)),
    "three S far below, then κ = 1, just above": ((_BELOW,) * 3 + (((0.51, -5.0, -5.0), (-5.0, -5.0), 1),)),
    "three S far below, then κ = 2, just above": ((_BELOW,) * 3 + (((0.5, -5.0, -5.0), (0.51, -5.0), 2),)),
    "0, 0, 1, 2 as in the paper": (
        ((0.0, 0.0, 0.0), (0.0, 0.0), 0),
        ((0.0, 0.0, 0.0), (0.0, 0.0), 0),
        ((2.0, 1.5, 0.5), (1.0, 0.5), 1),
        ((-1.0, -0.5, 0.0), (2.0, 1.5), 2),
    ),
}


def kappa_errors(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """How often any κ(S) is claimed falsely or a true one rejected over four S, and the share of S with a true claim.

    A rejected κ contradicts a claim of it, whatever else is left; where all three are, nothing is said.
    """
    points = TRUTHS[name]
    false, lost, true = [], [], []
    for i in range(size):
        if i % SHARED == 0:
            directions = list(rotation_directions(n, DRAWS // 2, rng))
        p_values = []
        for smooth, raw, _ in points:
            means = np.array(smooth + raw)
            columns = means + 0.7 * SD * rng.normal(0, 1, (n, 1)) + 0.7 * SD * rng.normal(0, 1, (n, len(means)))
            p_values.append(kappa_p(columns, len(smooth), directions))
        decisions = decide(p_values, ALPHA)
        lost.append(
            any(d.not_rejected and truth not in d.not_rejected for d, (_, _, truth) in zip(decisions, points, strict=True))
        )
        claims = [decision.kappa for decision in decisions]
        false.append(any(k is not None and k != point[2] for k, point in zip(claims, points, strict=True)))
        true.extend(k == point[2] for k, point in zip(claims, points, strict=True))
    return {
        "any false claim over four S": rate(false),
        "any true κ rejected over four S": rate(lost),
        "S with a true claim": rate(true),
    }


def kappa_p(columns: Floats, smooth: int, directions: list[Floats]) -> tuple[float, float, float]:
    """The p of κ(S) = 0, 1, 2 as `kappa_spectrum` has it; the first `smooth` columns are the κ = 1 scorers."""
    p = t_above(columns.T, DELTA)
    below = t_below(columns.T, DELTA)
    return kappa_p_values(
        float(max_t(columns - DELTA, directions, p).min()),
        float(max_t(columns[:, :smooth] - DELTA, directions, p[:smooth]).min()),
        float(below[:smooth].max()),
        float(below[smooth:].max()),
    )


def pooled_errors(n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Two-sided error of a zero difference with seeds that vary, and power at one of δ: seeds as unit, or pooled images."""
    found = {}
    for truth, suffix in ((0.0, ""), (DELTA, ", power at δ")):
        rates = _pooled(n, size, truth, rng)
        found.update({f"{method}{suffix}": hits for method, hits in rates.items()})
    return found


def _pooled(n: int, size: int, truth: float, rng: np.random.Generator) -> dict[str, Rate]:
    images, discordance, seed_sd = 10_000, 0.10, 0.42
    shift = rng.normal(truth, seed_sd, (size, n)) / 100
    gained = rng.binomial(images, discordance / 2 + shift / 2)
    lost = rng.binomial(images, discordance / 2 - shift / 2)
    data = 100 * (gained - lost) / images
    pooled = (gained - lost).sum(axis=1) / np.sqrt((gained + lost).sum(axis=1))
    return {
        "paired t over seeds": rate(~t_covers(data, 0.0, 0.95)),
        "naive z over pooled images": rate(np.abs(pooled) > special.ndtri(0.975)),
    }


NEW_IMAGES = "variance components"
CROSSED = {
    # name -> share of images on which networks differ, lean of those images to one side, sd of the seeds' lean, its shape
    "noise dominates": (0.2, 0.25, 0.08, "Normal"),
    "images dominate": (1.0, 0.49, 0.02, "Normal"),
    "seeds dominate": (0.2, 0.0, 0.3, "Normal"),
    "seeds dominate, skewed": (0.2, 0.0, 0.1, "exponential"),
    "partly degenerate": (0.2, 0.25, 0.08, "half of the seeds identical"),
}


def crossed_coverage(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Coverage for new seeds and new images, true difference zero; and of Student t, which takes the images as given."""
    hard, lean, spread, shape = CROSSED[name]
    flags: dict[str, list[bool]] = {NEW_IMAGES: [], "Student t over seeds": []}
    for _ in range(size):
        differ = np.where(rng.random(IMAGES) < 0.3, hard, 0.02)
        seeds = rng.exponential(1, (n, 1)) - 1 if shape == "exponential" else rng.normal(0, 1, (n, 1))
        side = np.clip(lean * rng.choice([-1.0, 1.0], IMAGES) + spread * seeds, -0.5, 0.5)
        u = rng.random((n, IMAGES))
        table = (u < differ * (0.5 + side)).astype(np.int8) - (u > 1 - differ * (0.5 - side)).astype(np.int8)
        if shape.startswith("half"):
            table[rng.random(n) < 0.5] = 0
        interval = variance_components(table).confidence_interval()
        flags[NEW_IMAGES].append(interval is None or 0.0 in interval)
        flags["Student t over seeds"].append(bool(t_covers(100 * table.mean(axis=1), 0.0, 0.95)))
    return {method: rate(hits) for method, hits in flags.items()}


def other_coverage(n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Coverage of McNemar's interval for one pair of networks: its own images are all there is, whatever n."""
    networks = []
    for _ in range(size):
        u = rng.random(IMAGES)
        a, b = u < 0.9, (u < 0.86) | (u > 0.97)  # 4 % gained, 3 % lost: a difference of +1 point
        exact = mcnemar_exact(a, b).confidence_interval(0.95)
        networks.append(exact is None or 1.0 in exact)
    return {"McNemar": rate(networks)}


def powers(n: int, size: int, boot: int, rng: np.random.Generator) -> dict[str, tuple[Rate, float | None]]:
    """Simulated power beside the exact one, and beside others' methods on the same data.

    Equivalence at a true difference of 0, escape of one scorer at 2δ, differences with sd 0.3.
    """
    flat, risen = normal(rng, size, n, 0.0), normal(rng, size, n, 2 * DELTA)
    low, high = scipy_bca(flat[:boot], 1 - 2 * ALPHA, rng)
    found: dict[str, tuple[Rate, float | None]] = {
        "t-TOST, true difference 0": (rate(equivalent(flat, DELTA)), tost_power(0, SD, DELTA, n).power),
        "sign-flip TOST, true difference 0": (rate(sign_flip_equivalent(flat, DELTA, rng if n > 10 else None)), None),
        "scipy BCa inside ±δ, true difference 0": (rate((low > -DELTA) & (high < DELTA)), None),
    }
    above, _ = scipy_bca(risen[:boot], 1 - 2 * ALPHA, rng)
    return found | {
        "escape, true difference 2δ": (rate(t_above(risen, DELTA) <= ALPHA), escape_power(2 * DELTA, SD, DELTA, n).power),
        "scipy BCa above +δ, true difference 2δ": (rate(above > DELTA), None),
    }
