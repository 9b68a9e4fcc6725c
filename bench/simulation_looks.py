"""Simulated runs that are looked at several times, and how often what they say over all looks is wrong.

A data set is a family of scorers over the seeds of the maximum. Errors of a family are those of the package's own rotation
families at all looks. They are asked for where the t of some true null could reject at all: no p of a rotation is below that of
t. Single lines are judged for all data sets at once, at the package's levels; `tests/analysis/test_calibration.py` holds them to
the package's verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special
from simulation import ALPHA, COLUMNS, DELTA, SD, Bools, Floats, Moments, Rate, rate, t_above, t_below

from sics_analysis.families.kappa import kappa_spectrum
from sics_analysis.families.max_t import escape_test
from sics_analysis.looks.design import LookPlan
from sics_analysis.looks.levels import crossing_probabilities, nominal_levels
from sics_analysis.rows.contrasts import Contrast, differences
from sics_analysis.rows.looked import looked_contrast

MEMBERS = 5
ROTATIONS = 4_000  # of each look
FAR = -60 * SD


@dataclass(frozen=True)
class Family:
    """Five columns: how they go together, and which are true nulls."""

    correlation: float
    means: tuple[float, ...]
    kind: str = "Normal"
    gated: bool = True
    ragged: bool = False


ALL = (DELTA,) * MEMBERS
FAMILIES = {
    "ρ = 0": Family(0.0, ALL),
    "ρ = .5": Family(0.5, ALL),
    "ρ = .9": Family(0.9, ALL),
    "ρ = −.24": Family(-0.24, ALL),
    "ρ = 0, one at −60 sd": Family(0.0, (*ALL[1:], FAR)),
    "ρ = .5, one escapes": Family(0.5, (*ALL[1:], DELTA + SD)),
    "ρ = .5, ragged seeds": Family(0.5, ALL, ragged=True),
    "discrete, discordance 1 %": Family(0.0, ALL, "discrete, discordance 1 %"),
    "skewed right": Family(0.0, ALL, "skewed right", gated=False),
    "skewed left": Family(0.0, ALL, "skewed left", gated=False),
}
LINES = {
    # name -> (columns of `simulation`, sd of a Normal difference over δ, gated)
    "Normal, δ = .5 sd": ("Normal", 2.0, True),
    "Normal, δ = 1 sd": ("Normal", 1.0, True),
    "Normal, δ = 2 sd": ("Normal", 0.5, True),
    "discrete, discordance 1 %": ("discrete, discordance 1 %", None, True),
    "skewed right": ("skewed right", None, False),
    "skewed left": ("skewed left", None, False),
}
TRUTHS = {
    # name -> means of the κ = 1 and of the κ = 2 scorers, κ; at each of two S
    "κ = 0, all on the bound": (((0.5, 0.5, 0.5), (0.5, 0.5), 0),) * 2,
    "κ = 1, just above, κ = 2 below": (((0.51, -5.0, -5.0), (-5.0, -5.0), 1),) * 2,
    "κ = 2, κ = 1 on the bound": (((0.5, 0.5, 0.5), (2.0, 2.0), 2),) * 2,
    "κ = 2, just above": (((-5.0, -5.0, -5.0), (0.51, -5.0), 2),) * 2,
}
#: Seeds that a column of a ragged family may lack: one of these, by chance.
MISSING = ((), (2, 9, 17), (0, 6, 11, 19))


def family_columns(scenario: Family, size: int, n: int, rng: np.random.Generator) -> Floats:
    """Data sets of five columns, shape (size, n, 5)."""
    if scenario.kind != "Normal":
        one = COLUMNS[scenario.kind][0]
        return np.stack([one(rng, size, n, mean) for mean in scenario.means], axis=-1)
    within = np.full((MEMBERS, MEMBERS), scenario.correlation) + (1 - scenario.correlation) * np.eye(MEMBERS)
    return np.array(scenario.means) + SD * rng.standard_normal((size, n, MEMBERS)) @ np.linalg.cholesky(within).T


def looked(d: Floats, plan: LookPlan, name: str, missing: tuple[int, ...] = ()) -> Contrast:
    """A column as a contrast under the plan, with all its looks made and some of its seeds failed."""
    seeds = [seed for seed in range(len(d)) if seed not in missing]
    found = differences(d[seeds], name=name, seeds=seeds)
    return looked_contrast(found, plan, range(plan.n_max), len(plan.looks))


def family_errors(name: str, n_max: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """How often any scorer at +δ is said to escape, at any look; and a true escape found."""
    scenario, plan = FAMILIES[name], LookPlan(n_max)
    null = np.array(scenario.means) <= DELTA
    nulls = int((np.array(scenario.means) == DELTA).sum())
    wrong, found, naive = [], [], []
    for start in range(0, size, 2_000):
        data = family_columns(scenario, min(2_000, size - start), n_max, rng)
        lacks = rng.integers(len(MISSING), size=(len(data), MEMBERS)) * scenario.ragged
        p = np.stack([t_above(data[:, :n].transpose(0, 2, 1), DELTA) for n in plan.looks])  # (looks, size, 5)
        naive += (p[:, :, null] <= ALPHA / MEMBERS).any(axis=(0, 2)).tolist()
        levels = np.array(nominal_levels(plan.looks, n_max, ALPHA, nulls))[:, None, None]
        able = np.zeros(len(data), dtype=bool)
        for pattern, missing in enumerate(MISSING[: 1 + (len(MISSING) - 1) * scenario.ragged]):
            own = [[seed for seed in range(n) if seed not in missing] for n in plan.looks]
            p = np.stack([t_above(data[:, seeds].transpose(0, 2, 1), DELTA) for seeds in own])  # (looks, size, 5)
            if scenario.ragged:  # each line by itself, at alpha or less
                counts = [len(seeds) for seeds in own]
                levels = np.array(nominal_levels(counts, n_max, ALPHA))[:, None, None]
            able |= ((p <= levels) & (lacks == pattern) & null).any(axis=(0, 2))
        for i, columns in enumerate(data):
            if not able[i]:
                wrong.append(False)
                continue
            family = [looked(columns[:, j], plan, f"s{j}", MISSING[lacks[i, j]]) for j in range(MEMBERS)]
            rejected = escape_test(family, DELTA, rng=rng, draws=ROTATIONS).rejected
            wrong.append(any(null[int(label[1:])] for label in rejected))
            if not null.all():
                found.append(any(not null[int(label[1:])] for label in rejected))
    counted = {OVER_LOOKS: rate(wrong), "t at α/5 at every look, any false": rate(naive)}
    return counted | ({"escape found beside a false one": rate(found)} if found else {})


OVER_LOOKS = "ESCAPES at any look, any false"
EQUIVALENT = "EQUIVALENT at +δ"
NONINFERIOR = "NONINFERIOR or EQUIVALENT at −δ"
ESCAPES = "ESCAPES at +δ, one line"
STOPPED = {"0": 0.0, "δ": DELTA, "2δ": 2 * DELTA}
REPEATED_90, REPEATED_95 = (
    tuple(f"repeated interval {level} % at the stop, true difference {mean}" for mean in STOPPED) for level in (90, 95)
)


@dataclass(frozen=True)
class Shown:
    """What single lines show at each look: arrays (looks, size)."""

    lower: Bools  # above −δ, up to this look
    upper: Bools  # below +δ, up to this look
    escapes: Bools  # above +δ, up to this look
    degrades: Bools

    @property
    def equivalent(self) -> Bools:
        return self.lower & self.upper

    @property
    def stop(self) -> np.ndarray:
        """The look of the first verdict that settles a line, or the last."""
        settled = self.equivalent | self.escapes | self.degrades
        return np.where(settled.any(axis=0), settled.argmax(axis=0), len(settled) - 1)


def shown(data: Floats, plan: LookPlan) -> Shown:
    """The one-sided tests of every line at every look, each kept from the look that gave it."""
    levels = nominal_levels(plan.looks, plan.n_max, ALPHA)
    tests = ((t_above, -DELTA), (t_below, DELTA), (t_above, DELTA), (t_below, -DELTA))
    found = [
        np.logical_or.accumulate(
            [test(data[:, :n], margin) <= level for n, level in zip(plan.looks, levels, strict=True)], axis=0
        )
        for test, margin in tests
    ]
    return Shown(*found)


def line_columns(name: str, size: int, n: int, mean: float, rng: np.random.Generator) -> Floats:
    """Differences of single lines with this true mean, shape (size, n)."""
    kind, spread, _ = LINES[name]
    if spread is None:
        return COLUMNS[kind][0](rng, size, n, mean)
    return mean + spread * DELTA * rng.standard_normal((size, n))


def line_errors(name: str, n_max: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Errors of a single line over all looks."""
    plan = LookPlan(n_max)
    high, low = (shown(line_columns(name, size, n_max, mean, rng), plan) for mean in (DELTA, -DELTA))
    naive = line_columns(name, size, n_max, DELTA, rng)
    return {
        EQUIVALENT: rate(high.equivalent[-1]),
        NONINFERIOR: rate(low.lower[-1]),
        ESCAPES: rate(high.escapes[-1]),
        "t-TOST at α at every look": rate(
            np.any([np.maximum(t_above(naive[:, :n], -DELTA), t_below(naive[:, :n], DELTA)) <= ALPHA for n in plan.looks], axis=0)
        ),
    }


def stop_coverage(name: str, n_max: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """How often intervals hold the true difference where a line stops at its first verdict."""
    plan, found = LookPlan(n_max), {}
    for i, (label, mean) in enumerate(STOPPED.items()):
        naive = f"Student t 95 % at the stop, true difference {label}"
        covers: dict[str, list[bool]] = {REPEATED_90[i]: [], REPEATED_95[i]: [], naive: []}
        data = line_columns(name, size, n_max, mean, rng)
        stop = shown(data, plan).stop
        for k, n in enumerate(plan.looks):
            own = data[stop == k, :n]
            if not len(own):
                continue
            m = Moments.of(own)
            levels = [nominal_levels(plan.looks, n_max, alpha)[k] for alpha in (0.05, 0.025)]
            for flags, level in zip(covers.values(), [*levels, 0.025], strict=True):
                reach = -special.stdtrit(n - 1, level) * np.where(m.constant, 0.0, m.se)
                flags += (np.abs(m.mean - mean) <= reach + 1e-7).tolist()
        found.update({method: rate(flags) for method, flags in covers.items()})
    return found


def kappa_errors(name: str, n_max: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """How often any κ(S) is claimed falsely over two S, by `kappa_spectrum` on all looks."""
    plan, false = LookPlan(n_max), []
    for _ in range(size):
        families, truths = {}, {}
        for i, (smooth, raw, truth) in enumerate(TRUTHS[name]):
            means = np.array(smooth + raw)
            columns = means + 0.7 * SD * (rng.normal(0, 1, (n_max, 1)) + rng.normal(0, 1, (n_max, len(means))))
            own = [looked(columns[:, j], plan, f"s{j}") for j in range(len(means))]
            S = 0.5 + 0.1 * i
            families[S], truths[S] = {1: own[: len(smooth)], 2: own[len(smooth) :]}, truth
        spectrum = kappa_spectrum(families, DELTA, rng=rng, draws=1_000)
        false.append(any(point.kappa not in (None, truths[point.sparsity]) for point in spectrum.points))
    return {"any false claim over two S": rate(false)}


def powers(n_max: int, size: int, rng: np.random.Generator) -> dict[str, tuple[Rate, float | None]]:
    """Power over all looks of a single line, and of an escape the exact one."""
    plan, found = LookPlan(n_max), {}
    levels = nominal_levels(plan.looks, n_max, ALPHA)
    for name, (kind, spread, _) in LINES.items():
        if kind != "Normal" or spread is None:
            continue
        flat, risen = (shown(line_columns(name, size, n_max, mean, rng), plan) for mean in (0.0, 2 * DELTA))
        exact = sum(crossing_probabilities(plan.looks, levels, 1 / spread))
        found[f"{name}: EQUIVALENT, true difference 0"] = (rate(flat.equivalent[-1]), None)
        found[f"{name}: ESCAPES, true difference 2δ"] = (rate(risen.escapes[-1]), exact)
    return found
