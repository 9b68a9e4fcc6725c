"""Simulated runs that go through the package's own functions, from differences or a data frame to the verdict.

`simulation.py` has the vectorised forms. What is here is slower and needs no proof that it is the package's own decision:
whole families and their intervals, attribution, κ(S) and its trend, and the claims, with ragged seeds among the rest.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from simulation import ALPHA, DELTA, DRAWS, IMAGES, SD, Bools, Floats, Rate, rate

from sics_analysis.claims.scorecard import evaluate
from sics_analysis.claims.statement import Claim, parse_claim
from sics_analysis.families.attribution import attribute
from sics_analysis.families.family import FamilyResult
from sics_analysis.families.how_far import how_far
from sics_analysis.families.kappa import Trend, kappa_spectrum
from sics_analysis.families.max_t import degrade_test, escape_test, superiority_test
from sics_analysis.families.run_wide import run_wide
from sics_analysis.families.winner import best_of
from sics_analysis.one_scorer.equivalence import equivalence_test
from sics_analysis.one_scorer.student import p_above
from sics_analysis.results import Status, Verdict
from sics_analysis.rows.arms import Arm
from sics_analysis.rows.contrasts import Contrast, differences
from sics_analysis.rows.unpaired import unpaired_contrast
from sics_analysis.study.analyse import analyse

FEWER = DRAWS // 2  # rotations a test
MISSING = 0.2  # share of a scorer's seeds that failed, where seeds are ragged

Missing: TypeAlias = Literal["", "ragged", "neighbour"]


def columns_of(kind: str, rng: np.random.Generator, n: int, means: Floats) -> Floats:
    """Differences of one family, shape (n, members), about these means; half of the variance is shared where correlated."""
    shape = (n, len(means))
    if kind == "discrete 1 %":
        return counts(rng, n, means)
    if kind == "skewed left":
        return means - SD * (rng.exponential(1, shape) - 1)
    if kind == "partly degenerate":
        # The first is its mean at every seed and leaves before any test, the second at about half of them.
        found = means + SD * rng.normal(0, 1, shape)
        found[:, 0] = means[0]
        found[rng.random(n) < 0.5, 1] = means[1]
        return found
    rho = {"Normal": 0.0, "correlated 0.5": 0.5, "correlated 0.9": 0.9}[kind]
    noise = np.sqrt(rho) * rng.normal(0, 1, (n, 1)) + np.sqrt(1 - rho) * rng.normal(0, 1, shape)
    found = means + SD * noise
    return found


def counts(rng: np.random.Generator, n: int, means: Floats) -> Floats:
    """Differences k/600 of discordance 1 %, half of each shared through the reference; means must be whole k."""
    shared = rng.binomial(IMAGES, 0.0025, (2, n, 1))
    own = rng.binomial(IMAGES, 0.0025, (2, n, len(means)))
    k = own[0] - own[1] + shared[0] - shared[1] + np.round(means * IMAGES / 100)
    found: Floats = 100 * k / IMAGES
    return found


def present(missing: Missing, rng: np.random.Generator, columns: Floats) -> Bools:
    """Which cells were computed, shape (n, members).

    "ragged": each cell fails by itself. "neighbour": every scorer but the first fails at the seeds where the first has its
    lower values, so that the seeds common to all would flatter the first.
    """
    if missing == "ragged":
        return rng.random(columns.shape) >= MISSING
    there = np.ones(columns.shape, dtype=bool)
    if missing == "neighbour":
        there[columns[:, 0] < np.quantile(columns[:, 0], 0.4), 1:] = False
    return there


def contrasts_of(columns: Floats, there: Bools, sparsity: float | None = None, reference: str = "B") -> list[Contrast]:
    return [
        differences(column[held], name=f"s{j}", reference=reference, seeds=np.flatnonzero(held).tolist(), sparsity=sparsity)
        for j, (column, held) in enumerate(zip(columns.T, there.T, strict=True))
    ]


# --- families, their intervals and attribution ---

VERDICTS: dict[str, tuple[str, int, Missing, bool]] = {
    # name -> kind of columns, members, which seeds are missing, whether the gate applies
    "Normal, independent, 8 scorers": ("Normal", 8, "", True),
    "Normal, correlated 0.5, 9 scorers": ("correlated 0.5", 9, "", True),
    "Normal, independent, 11 scorers": ("Normal", 11, "", True),
    "Normal, correlated 0.9, 11 scorers": ("correlated 0.9", 11, "", True),
    "discrete, discordance 1 %, 11 scorers": ("discrete 1 %", 11, "", True),
    "Normal, independent, 8 scorers, ragged seeds": ("Normal", 8, "ragged", True),
    "Normal, correlated 0.9, 8 scorers, ragged seeds": ("correlated 0.9", 8, "ragged", True),
    "discrete, discordance 1 %, 8 scorers, ragged seeds": ("discrete 1 %", 8, "ragged", True),
    "Normal, independent, 8 scorers, seeds missing where the first is low": ("Normal", 8, "neighbour", True),
    "partly degenerate, 8 scorers": ("partly degenerate", 8, "", False),
    "skewed left, 11 scorers": ("skewed left", 11, "", False),
}


def verdict_errors(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Any false escape at +δ, degradation at −δ or superiority at 0, all scorers of a family exactly there.

    And how often all simultaneous intervals hold at once, and that of the selected best.
    """
    kind, members, missing, _ = VERDICTS[name]
    flags: dict[str, list[bool]] = {method: [] for method in ("ESCAPES, any false", "DEGRADES, any false", "above 0, any false")}
    joint, best = [], []
    for _ in range(size):
        risen, fallen, level = (_family(kind, missing, rng, n, np.full(members, mean)) for mean in (DELTA, -DELTA, 0.0))
        escape = escape_test(risen, DELTA, alpha=ALPHA, rng=rng, draws=FEWER)
        flags["ESCAPES, any false"].append(bool(escape.rejected))
        flags["DEGRADES, any false"].append(bool(degrade_test(fallen, DELTA, alpha=ALPHA, rng=rng, draws=FEWER).rejected))
        flags["above 0, any false"].append(bool(superiority_test(level, alpha=ALPHA, rng=rng, draws=FEWER).rejected))
        joint.append(_all_hold(escape, DELTA))
        winner = best_of(escape)
        best.append(winner is None or DELTA in winner.interval)
    found = {method: rate(hits) for method, hits in flags.items()}
    return found | {"simultaneous intervals, all at once": rate(joint), "winner's interval": rate(best)}


def _family(kind: str, missing: Missing, rng: np.random.Generator, n: int, means: Floats) -> list[Contrast]:
    """A family without its degenerate columns, which leave it before any test."""
    columns = columns_of(kind, rng, n, means)
    return [c for c in contrasts_of(columns, present(missing, rng, columns)) if not c.is_degenerate]


def _all_hold(family: FamilyResult, truth: float) -> bool:
    return all(line.simultaneous is None or truth in line.simultaneous for line in family.lines)


ATTRIBUTION: dict[str, tuple[str, int, Missing, bool]] = {
    # name -> kind of columns, members, which seeds are missing, whether the gate applies
    "Normal, 6 scorers": ("correlated 0.5", 6, "", True),
    "discrete, discordance 1 %, 6 scorers": ("discrete 1 %", 6, "", True),
    "Normal, 6 scorers, ragged seeds": ("correlated 0.5", 6, "ragged", True),
    "skewed left, 6 scorers": ("skewed left", 6, "", False),
    "Normal, 3 searched scorers with a matched control": ("correlated 0.5", 3, "", True),
}


def attribution_errors(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Scorers against `information`, each exactly δ above it, δ below it, or level with it."""
    kind, members, missing, _ = ATTRIBUTION[name]
    at = {"ESCAPES, any false": DELTA, "DEGRADES, any false": -DELTA, "above information, any false": 0.0}
    flags: dict[str, list[bool]] = {method: [] for method in (*at, "EQUIVALENT at +δ, one line")}
    for _ in range(size):
        for method, truth in at.items():
            noise = columns_of(kind, rng, n, np.zeros(members))
            gain = 2 + 0.5 * rng.normal(0, 1, n)  # what the saliency alone is worth
            there = present(missing, rng, noise)
            control = differences(gain, name="information", reference="magnitude")
            lines = attribute(
                contrasts_of(truth + noise + gain[:, None], there, reference="magnitude"),
                contrasts_of(truth + noise, there, reference="information"),
                control,
                {f"s{j}": 1 for j in range(members)},
                DELTA,
                alpha=ALPHA,
                rng=rng,
                draws=FEWER,
            )
            verdicts = [line.verdict for line in lines]
            if truth == DELTA:
                flags[method].append(Verdict.ESCAPES in verdicts)
                flags["EQUIVALENT at +δ, one line"].append(verdicts[0] is Verdict.EQUIVALENT)
            elif truth == -DELTA:
                flags[method].append(Verdict.DEGRADES in verdicts)
            else:
                flags[method].append(any((line.p_superior_adjusted or 1.0) <= ALPHA for line in lines))
    return {method: rate(hits) for method, hits in flags.items()}


# --- equal differences, unpaired seeds, and the whole run as one family ---

CONSTANTS: dict[str, tuple[int, int, float | None, bool]] = {
    # name -> members of the family, those of two values, chance of the higher one where test examples are known, else ½; gate
    # Whether a t fits two values is not known without the number of test examples, so that these have no gate.
    "one line, two values, test examples unknown": (1, 1, None, False),
    "family of 6, two values, test examples unknown": (6, 6, None, False),
    "one line, two adjacent counts, the higher in 3 of 10": (1, 1, 0.3, True),
    "one line, two adjacent counts, the higher in 7 of 10": (1, 1, 0.7, True),
    "one line, two adjacent counts, the higher in 19 of 20": (1, 1, 0.95, True),
    "family of 6, two adjacent counts, the higher in 7 of 10": (6, 6, 0.7, True),
    "family of 6, three on two adjacent counts, three Normal": (6, 3, 0.7, True),
}
STEP = 0.1


def _two_values(
    rng: np.random.Generator, n: int, members: int, coarse: int, chance: float | None, truth: float
) -> list[Contrast]:
    """A family about one truth: columns of two values 2·STEP apart, one test example where a chance is given, and Normal ones."""
    high = rng.random((n, coarse)) < (0.5 if chance is None else chance)
    columns = truth + 2 * STEP * (high - (0.5 if chance is None else chance))
    examples = None if chance is None else round(100 / (2 * STEP))
    found = [differences(column, name=f"s{j}", examples=examples) for j, column in enumerate(columns.T)]
    return found + [differences(truth + rng.normal(0, SD, n), name=f"s{j}", examples=examples) for j in range(coarse, members)]


def constant_errors(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Lines on their bound whose differences take two values, so that by chance all of them are equal and beyond it."""
    *shape, _ = CONSTANTS[name]
    flags: dict[str, list[bool]] = {}
    for _ in range(size):
        up, down = _two_values(rng, n, *shape, DELTA), _two_values(rng, n, *shape, -DELTA)
        escape = escape_test(up, DELTA, alpha=ALPHA, rng=rng, draws=FEWER)
        degrade = degrade_test(down, DELTA, alpha=ALPHA, rng=rng, draws=FEWER)
        upper, lower = equivalence_test(up[0], DELTA, alpha=ALPHA), equivalence_test(down[0], DELTA, alpha=ALPHA)
        for method, wrong in (
            ("ESCAPES, any false", bool(escape.rejected)),
            ("DEGRADES, any false", bool(degrade.rejected)),
            ("EQUIVALENT at +δ", upper.verdict is Verdict.EQUIVALENT),
            ("NONSUPERIOR or EQUIVALENT at +δ", upper.verdict in (Verdict.NONSUPERIOR, Verdict.EQUIVALENT)),
            ("NONINFERIOR or EQUIVALENT at −δ", lower.verdict in (Verdict.NONINFERIOR, Verdict.EQUIVALENT)),
        ):
            flags.setdefault(method, []).append(wrong)
    return {method: rate(hits) for method, hits in flags.items()}


UNPAIRED: dict[str, tuple[int, float, float, bool]] = {
    # name -> seeds of the reference for one of the scorer, sd of the scorer and of the reference, whether the gate applies
    "as many seeds, equal sd": (1, SD, SD, True),
    "as many seeds, sd three times the reference's": (1, SD, SD / 3, True),
    "half the seeds, equal sd": (2, SD, SD, True),
    "half the seeds, sd three times the reference's": (2, SD, SD / 3, True),
    "half the seeds, sd a third of the reference's": (2, SD / 3, SD, True),
}
WELCH = "Welch t 95 %"
_IN_FAMILY = 6


def _unpaired(rng: np.random.Generator, n: int, sds: tuple[float, float], reference: Arm, truth: float, name: str) -> Contrast:
    own = Arm.from_values(name, range(n), rng.normal(truth, sds[0], n).tolist(), 1.0)
    return unpaired_contrast(own, reference)


def unpaired_errors(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Two independent Normal samples of seeds on their bound; a fifth as often six scorers against one reference, by Holm."""
    times, *sds, _ = UNPAIRED[name]
    flags: dict[str, list[bool]] = {}
    for i in range(size):
        reference = Arm.from_values("B", range(times * n), rng.normal(0, sds[1], times * n).tolist(), 1.0)
        up, down = (_unpaired(rng, n, (sds[0], sds[1]), reference, truth, "A") for truth in (DELTA, -DELTA))
        upper, lower = (equivalence_test(c, DELTA, alpha=ALPHA) for c in (up, down))
        risen, interval = p_above(up, DELTA), up.t_interval(0.95)
        found = {
            "t-TOST": upper.verdict is Verdict.EQUIVALENT,
            "escape, t": risen is not None and risen <= ALPHA,
            "NONSUPERIOR at +δ": upper.verdict in (Verdict.NONSUPERIOR, Verdict.EQUIVALENT),
            "NONINFERIOR at −δ": lower.verdict in (Verdict.NONINFERIOR, Verdict.EQUIVALENT),
            WELCH: interval is not None and DELTA in interval,
        }
        if i % 5 == 0:
            family = [_unpaired(rng, n, (sds[0], sds[1]), reference, DELTA, f"s{j}") for j in range(_IN_FAMILY)]
            found["ESCAPES, any false of six"] = bool(escape_test(family, DELTA, alpha=ALPHA, rng=rng, draws=FEWER).rejected)
        for method, wrong in found.items():
            flags.setdefault(method, []).append(wrong)
    return {method: rate(hits) for method, hits in flags.items()}


RUNS: dict[str, tuple[float, float, Missing, bool]] = {
    # name -> true difference of every scorer at every S, sd of the differences, missing seeds, whether the gate applies
    "ten S, five scorers, all at 0, sd 2": (0.0, 2.0, "", True),
    "ten S, five scorers, all on the bound": (DELTA, SD, "", True),
    "ten S, five scorers, all on the bound, ragged seeds": (DELTA, SD, "ragged", True),
}
SPARSITIES, SCORERS = tuple(round(0.05 * i, 2) for i in range(9, 19)), 5
WITHIN, OVER = "any false escape within an S", "headline, any false escape"


def run_errors(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """How often a run without a true escape has one within an S, and how often one over all S, which a headline names.

    A seed's difference has a part that it shares with the other scorers of its S, one that it shares with the same scorer at
    other S, and one of its own.
    """
    truth, sd, missing, _ = RUNS[name]
    within, over = [], []
    for _ in range(size):
        along = rng.normal(0, 1, (n, SCORERS))
        families = []
        for sparsity in SPARSITIES:
            noise = 0.5 * along + 0.5 * rng.normal(0, 1, (n, 1)) + np.sqrt(0.5) * rng.normal(0, 1, (n, SCORERS))
            columns = truth + sd * noise
            contrasts = contrasts_of(columns, present(missing, rng, columns), sparsity)
            families.append(escape_test(contrasts, DELTA, alpha=ALPHA, rng=rng, draws=FEWER))
        within.append(any(family.rejected for family in families))
        over.append(min(run_wide(families, rng=rng, draws=FEWER).adjusted.values(), default=1.0) <= ALPHA)
    return {WITHIN: rate(within), OVER: rate(over)}


# --- κ(S) ---

Truth: TypeAlias = tuple[tuple[float, ...], tuple[float, ...], int]
_BARELY_FALLING: tuple[Truth, ...] = (
    ((0.51, -5.0, -5.0), (-5.0, -5.0), 1),
    *((((-5.0, -5.0, -5.0), (-5.0, -5.0), 0),) * 3),
)
_FALLING: tuple[Truth, ...] = (
    ((0.5, 0.5, 0.5), (2.0, 2.0), 2),
    ((2.0, 0.5, 0.5), (0.5, 0.5), 1),
    ((0.5, 0.5, 0.5), (0.5, 0.5), 0),
    ((0.5, 0.5, 0.5), (0.5, 0.5), 0),
)

REAL_TRUTHS: dict[str, tuple[tuple[Truth, ...], str, Missing, bool]] = {
    # name -> at each S: true differences of the κ = 1 and of the κ = 2 scorers, κ(S); kind of columns, missing seeds, gate
    "discrete 1 %: κ = 0, all on the bound": ((((0.5, 0.5, 0.5), (0.5, 0.5), 0),) * 4, "discrete 1 %", "", True),
    "discrete 1 %: κ = 2, κ = 1 on the bound": ((((0.5, 0.5, 0.5), (2.0, 2.0), 2),) * 4, "discrete 1 %", "", True),
    "discrete 1 %: falling 2, 1, 0, 0": (_FALLING, "discrete 1 %", "", True),
    "ragged Normal: κ = 0, all on the bound": ((((0.5, 0.5, 0.5), (0.5, 0.5), 0),) * 4, "correlated 0.5", "ragged", True),
    "ragged Normal: κ = 1, just above, κ = 2 far above": (
        (((0.51, 0.0, 0.0), (2.0, 2.0), 1),) * 4,
        "correlated 0.5",
        "ragged",
        True,
    ),
    "ragged Normal: κ = 1, just above, κ = 2 below": (
        (((0.51, -5.0, -5.0), (-5.0, -5.0), 1),) * 4,
        "correlated 0.5",
        "ragged",
        True,
    ),
    "ragged Normal: κ = 2, κ = 1 on the bound": ((((0.5, 0.5, 0.5), (2.0, 2.0), 2),) * 4, "correlated 0.5", "ragged", True),
    "ragged Normal: κ = 2, just above": ((((-5.0, -5.0, -5.0), (0.51, -5.0), 2),) * 4, "correlated 0.5", "ragged", True),
    "ragged Normal: falling 2, 1, 0, 0": (_FALLING, "correlated 0.5", "ragged", True),
    "Normal: falling from just above 1 to 0": (_BARELY_FALLING, "correlated 0.5", "", True),
    "ragged Normal: falling from just above 1 to 0": (_BARELY_FALLING, "correlated 0.5", "ragged", True),
    "ragged discrete 1 %: κ = 2, κ = 1 on the bound": (
        (((0.5, 0.5, 0.5), (2.0, 2.0), 2),) * 4,
        "discrete 1 %",
        "ragged",
        True,
    ),
    "partly degenerate: κ = 0, all on the bound": ((((0.5, 0.5, 0.5), (0.5, 0.5), 0),) * 4, "partly degenerate", "", False),
    "partly degenerate: κ = 2, κ = 1 on the bound": ((((0.5, 0.5, 0.5), (2.0, 2.0), 2),) * 4, "partly degenerate", "", False),
}


def real_kappa_errors(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """As `simulation.kappa_errors`, by the package's own `kappa_spectrum`; a trend is false when κ(S) has the other one."""
    points, kind, missing, _ = REAL_TRUTHS[name]
    truth = [kappa for _, _, kappa in points]
    lie = Trend.VIOLATED if truth == sorted(truth) else Trend.SHOWN
    false, true, trend = [], [], []
    for _ in range(size):
        families = {}
        for sparsity, (smooth, raw, _) in zip((0.5, 0.6, 0.7, 0.8), points, strict=True):
            columns = columns_of(kind, rng, n, np.array(smooth + raw))
            contrasts = contrasts_of(columns, present(missing, rng, columns), sparsity)
            families[sparsity] = {1: contrasts[: len(smooth)], 2: contrasts[len(smooth) :]}
        spectrum = kappa_spectrum(families, DELTA, alpha=ALPHA, rng=rng, draws=FEWER)
        claims = [point.kappa for point in spectrum.points]
        false.append(any(k not in (None, t) for k, t in zip(claims, truth, strict=True)))
        true.extend(k == t for k, t in zip(claims, truth, strict=True))
        trend.append(spectrum.monotonicity.trend is lie)
    return {"any false claim over four S": rate(false), "false trend": rate(trend), "S with a true claim": rate(true)}


# --- claims ---

_KAPPA = {"magnitude": 0, "power": 0, "log": 0, "bump": 1, "smooth_chaos": 1, "chaos": 2, "wiggle": 2}
CLAIM_SPARSITIES = (0.7, 0.8)
WRONG = (Status.SUPPORTED, Status.CONTRADICTED)


def _claim(kind: str, **fields: object) -> Claim:
    label = "+".join(f"{value}" for value in fields.values())
    return Claim(f"{kind} {label}", kind, "simulated", "here", CLAIM_SPARSITIES, **fields)  # type: ignore[arg-type]


_AT_ONE = tuple(parse_claim(text) for text in ("plateau@0.7", "escape:chaos@0.7"))
_PLATEAU, _ESCAPE = _claim("plateau"), _claim("escape", scorer="chaos")
_BELOW, _CLASS_BELOW = _claim("below", scorer="bump", than="smooth_chaos"), _claim("below", kappa=1, than="reference")
_SIZE = Claim("size of chaos", "size", "simulated", "here", (0.7,), scorer="chaos", points=2.0)
_CLASS_SIZE = Claim("size of κ = 2", "size", "simulated", "here", (0.7,), kappa=2, points=2.0)

FAR = {
    # name -> true differences to the dense network at three values of S, in units of δ, of each of four scorers
    "all exactly δ worse at every S": [(-1.0, -1.0, -1.0)] * 4,
    "level at the first S, δ worse from the second": [(0.0, -1.0, -1.0)] * 4,
    "two level throughout, two δ worse at the last": [(0.0, 0.0, 0.0)] * 2 + [(0.0, 0.0, -1.0)] * 2,
}


def far_errors(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """The chance that any scorer is said to reach an S at which it is worse by δ, by `how_far`; correlated scorers."""
    truth = DELTA * np.array(FAR[name])
    false = []
    for _ in range(size):
        shared = rng.normal(0, 0.7 * SD, (len(truth), 1, n)) + rng.normal(0, 0.5 * SD, n)
        data = truth[:, :, None] + shared + rng.normal(0, 0.5 * SD, (*truth.shape, n))
        sequences = {str(i): [differences(d, sparsity=0.5 + 0.1 * j) for j, d in enumerate(own)] for i, own in enumerate(data)}
        found = how_far(sequences, DELTA, alpha=ALPHA)
        bad = [truth[int(one.scorer), j] <= -DELTA and step.passed for one in found for j, step in enumerate(one.steps)]
        false.append(any(bad))
    return {"any false claim": rate(false)}


CLAIMS: dict[str, tuple[str, dict[str, float], dict[str, Claim]]] = {
    # name -> kind of columns, true differences to magnitude at every S, the claims exactly on their bound there
    "Normal: a member 0.5 from the reference, a scorer at +0.5": (
        "correlated 0.5",
        {"power": 0.5, "log": 0.0, "bump": 0.0, "smooth_chaos": 0.0, "chaos": 0.5, "wiggle": 0.0},
        {"plateau@S": _AT_ONE[0], "escape@S": _AT_ONE[1], "plateau, two S": _PLATEAU, "escape, two S": _ESCAPE},
    ),
    "Normal: every scorer on a bound": (
        "correlated 0.5",
        {"power": 0.5, "log": -0.5, "bump": 0.5, "smooth_chaos": 0.5, "chaos": 0.5, "wiggle": 0.5},
        {
            "plateau@S": _AT_ONE[0],
            "escape@S": _AT_ONE[1],
            "plateau, two S": _PLATEAU,
            "escape, two S": _ESCAPE,
            "below a scorer, two S": _BELOW,
        },
    ),
    "Normal: sizes 0.5 above the claimed": (
        "correlated 0.5",
        {"power": 0.0, "log": 0.0, "bump": 0.0, "smooth_chaos": 0.0, "chaos": 2.5, "wiggle": 2.5},
        {"size of a scorer": _SIZE, "size of a class": _CLASS_SIZE, "below the reference, two S": _CLASS_BELOW},
    ),
    "Normal: sizes 0.5 below the claimed": (
        "correlated 0.5",
        {"power": 0.0, "log": 0.0, "bump": 0.0, "smooth_chaos": -3.0, "chaos": 1.5, "wiggle": -3.0},
        {"size of a scorer": _SIZE, "size of a class": _CLASS_SIZE, "below the reference, two S": _CLASS_BELOW},
    ),
    "discrete 1 %: every scorer on a bound": (
        "discrete 1 %",
        {"power": 0.5, "log": -0.5, "bump": 0.5, "smooth_chaos": 0.5, "chaos": 0.5, "wiggle": 0.5},
        {
            "plateau@S": _AT_ONE[0],
            "escape@S": _AT_ONE[1],
            "plateau, two S": _PLATEAU,
            "escape, two S": _ESCAPE,
            "below a scorer, two S": _BELOW,
        },
    ),
    "discrete 1 %: sizes 0.5 above the claimed": (
        "discrete 1 %",
        {"power": 0.0, "log": 0.0, "bump": 0.0, "smooth_chaos": 0.0, "chaos": 2.5, "wiggle": 2.5},
        {"size of a scorer": _SIZE, "size of a class": _CLASS_SIZE, "below the reference, two S": _CLASS_BELOW},
    ),
}


def claim_errors(name: str, n: int, size: int, rng: np.random.Generator) -> dict[str, Rate]:
    """False answers of claims, from a data frame to the status.

    On its bound a claim is at the edge of being true: just beyond it the one answer is false, just before it the other.
    So both are errors here, and each has the largest rate it can have.
    """
    kind, means, claims = CLAIMS[name]
    flags: dict[str, list[bool]] = {}
    for _ in range(size):
        rows = []
        for sparsity in CLAIM_SPARSITIES:
            columns = columns_of(kind, rng, n, np.array(list(means.values())))
            rows += [(i, "magnitude", sparsity, 0, 0.9) for i in range(n)]
            for scorer, column in zip(means, columns.T, strict=True):
                rows += [(i, scorer, sparsity, _KAPPA[scorer], 0.9 + float(d) / 100) for i, d in enumerate(column)]
        frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "kappa", "accuracy"])
        # No claim looks at the bootstrap, so it may be short.
        analysis = analyse(frame, delta=DELTA, alpha=ALPHA, rng=rng, draws=FEWER, n_resamples=19)
        for label, claim in claims.items():
            status = evaluate(claim, analysis).status
            for wrong in WRONG:
                flags.setdefault(f"{label}, falsely {wrong}", []).append(status is wrong)
    return {method: rate(hits) for method, hits in flags.items()}
