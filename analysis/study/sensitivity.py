"""How much of a report hangs on what was fixed: its verdicts at other margins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from sics_analysis.families.family import one_sided
from sics_analysis.families.max_t import constants_adjusted, exact_beside, not_below
from sics_analysis.families.multiplicity import holm
from sics_analysis.families.rotation import Projection, StepDown, rotation_directions, unit_columns
from sics_analysis.one_scorer.equivalence import t_tost
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.one_scorer.verdict import verdict
from sics_analysis.results import DeltaVerdict
from sics_analysis.rows.contrasts import MANY_SEEDS, Contrast, FloatArray
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


def _projected(columns: FloatArray, space: Projection) -> StepDown:
    """Counts over columns given by their coordinates."""
    return StepDown(columns, observed=space.identity @ unit_columns(columns))


def _adjusted(members: Sequence[Contrast], deltas: Sequence[float], rng: np.random.Generator) -> Adjusted:
    """p of "beyond the margin", adjusted over the columns that can be tested; as `max_t_family` adjusts them."""
    found: dict[tuple[str, int, int], float] = {}
    if any(not c.fixed for c in members):  # looked at more than once: Holm on the sequential p, which needs no draws
        for i, delta in enumerate(deltas):
            for sign in (1, -1):
                own = holm([p_above(c if sign > 0 else c.mirrored(), delta) for c in members])
                found.update({(c.name, i, sign): p for c, p in zip(members, own, strict=True) if p is not None})
        return found
    sides = [(i, sign, delta) for i, delta in enumerate(deltas) for sign in (1, -1)]
    active = [c for c in members if not c.is_constant]
    counters = {}
    if len({c.seeds for c in active}) == 1 and len(active) > 1 and all(c.paired for c in active):
        values = np.column_stack([c.values for c in active])
        if active[0].n > MANY_SEEDS:
            space = Projection(values)
            length, one = np.sqrt((values**2).sum(axis=0)), math.sqrt(len(values)) * space.identity[:, None]
            counters = {(i, sign): _projected(sign * length * space.columns - delta * one, space) for i, sign, delta in sides}
            directions = space.directions(DRAWS // 10, rng)
        else:
            counters = {(i, sign): StepDown(sign * values - delta) for i, sign, delta in sides}
            directions = rotation_directions(active[0].n, DRAWS, rng)
        for chunk in directions:
            for counter in counters.values():
                counter.add(chunk)
    for i, sign, delta in sides:
        found.update({(c.name, i, sign): p for c, _, p in constants_adjusted(members, active, delta, sign)})
        if active:
            t, p = one_sided(active, delta, sign)
            rotated = not_below(counters[i, sign].adjusted(), p, t) if counters else p
            _, adjusted, corrected = exact_beside(active, delta, sign, p, rotated)
            decides = adjusted if counters else np.array(corrected, dtype=np.float64)
            found.update({(c.name, i, sign): float(value) for c, value in zip(active, decides, strict=True)})
    return found
