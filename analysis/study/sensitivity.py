"""How much of a report hangs on what was fixed: its verdicts at other margins, its power with other numbers of seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from sics_analysis.families.max_t import constants_adjusted, not_below, one_sided
from sics_analysis.families.multiplicity import holm
from sics_analysis.families.rotation import StepDown, rotation_directions
from sics_analysis.one_scorer.equivalence import t_tost
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.one_scorer.verdict import verdict
from sics_analysis.planning.plan import plan
from sics_analysis.results import DeltaVerdict, PowerCurve, PowerPoint
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.study.outcome import Analysis

#: Margins in accuracy points at which the verdicts are asked for, beside the report's own. Nobody knows the size of another
#: metric: for it they are multiples of twice its margin.
GRID = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
DRAWS = 20_000
_STREAM = 21  # apart from those of `sics_analysis.analyse`
Adjusted: TypeAlias = Mapping[tuple[str, int, int], float]  # (scorer, index of δ, +1 above or −1 below) → p


def delta_verdicts(analysis: Analysis) -> tuple[DeltaVerdict, ...]:
    """Give the verdict of every line at every margin of `GRID`, and at the analysis' own.

    At its own margin a line keeps the verdict of the report. Elsewhere the adjusted p come from `DRAWS` rotations, drawn
    once for each S and shared by all margins, so that a line moves with δ and never with the draws.
    """
    grid = GRID if analysis.metric.is_accuracy else tuple(2 * analysis.delta * margin for margin in GRID)
    deltas = tuple(sorted({*grid, analysis.delta}))
    found = []
    for sparsity in analysis.sparsities:
        lines = [line for line in analysis.lines if line.sparsity == sparsity]
        members = [line.contrast for line in lines if line.in_family and line.contrast.has_test]
        rng = np.random.default_rng([analysis.seed, _STREAM, round(sparsity * 10**9)])
        adjusted = _adjusted(members, deltas, rng)
        floor = analysis.noise_floor.get(sparsity)
        for line in lines:
            for i, delta in enumerate(deltas):
                word = line.verdict
                if delta != analysis.delta:
                    tost = t_tost(line.contrast, delta, analysis.alpha)
                    up, down = (None, None) if line.in_family else (p_above(line.contrast, delta), p_below(line.contrast, -delta))
                    decision = verdict(
                        tost,
                        p_escape_adjusted=adjusted.get((line.scorer, i, 1), up),
                        p_degrade_adjusted=adjusted.get((line.scorer, i, -1), down),
                        alpha=analysis.alpha,
                        noise_floor=floor,
                    )
                    word = decision.verdict
                found.append(DeltaVerdict(line.scorer, sparsity, delta, word))
    return tuple(found)


def power_curve(analysis: Analysis) -> PowerCurve:
    """The power of 3 to 40 seeds when differences spread as here: the median sd over the lines of the family."""
    here = max((line.n for line in analysis.lines), default=0)
    family = max((len(found.escape.tested) for found in analysis.families), default=0) or 1
    spread = [line.sd for line in analysis.lines if line.in_family and not line.degenerate and line.sd]
    spread = spread or [line.sd for line in analysis.lines if not line.degenerate and line.sd]
    effect = 2 * analysis.delta
    if not analysis.metric.paired:
        return PowerCurve(None, effect, family, here, None, None, (), "planning is for paired seeds, and these are unpaired")
    if not spread:
        return PowerCurve(None, effect, family, here, None, None, (), "no line has a spread between seeds to plan with")
    sd = statistics.median(spread)
    made = plan(max(here, 3), sd, delta=analysis.delta, alpha=analysis.alpha, family=family)
    points = tuple(PowerPoint(*point) for point in made.curve)
    return PowerCurve(sd, effect, family, here, made.equivalence_seeds.n, made.escape_seeds.n, points, "")


def _adjusted(members: Sequence[Contrast], deltas: Sequence[float], rng: np.random.Generator) -> Adjusted:
    """p of "beyond the margin", adjusted over the columns that can be tested; as `max_t_family` adjusts them."""
    found: dict[tuple[str, int, int], float] = {}
    sides = [(i, sign, delta) for i, delta in enumerate(deltas) for sign in (1, -1)]
    active = [c for c in members if not c.is_constant]
    counters = {}
    if len({c.seeds for c in active}) == 1 and len(active) > 1 and all(c.paired for c in active):
        values = np.column_stack([c.values for c in active])
        counters = {(i, sign): StepDown(sign * values - delta) for i, sign, delta in sides}
        for chunk in rotation_directions(active[0].n, DRAWS, rng):
            for counter in counters.values():
                counter.add(chunk)
    for i, sign, delta in sides:
        found.update({(c.name, i, sign): p for c, _, p in constants_adjusted(members, active, delta, sign)})
        if active:
            t, p = one_sided(active, delta, sign)
            corrected = (
                not_below(counters[i, sign].adjusted(), p, t) if counters else np.array(holm(p.tolist()), dtype=np.float64)
            )
            found.update({(c.name, i, sign): float(value) for c, value in zip(active, corrected, strict=True)})
    return found
