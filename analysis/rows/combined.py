"""Sums of several values of one seed: a difference less a share of the reference, one gain less another, an over-fitting gap.

Such a sum is formed seed by seed and is then one row of numbers like any difference, so that the paired tests are exact for it:
what its parts have in common, the reference above all, is in the numbers and needs no estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from sics_analysis.rows.arms import Arm
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.rows.looked import looked_contrast
from sics_analysis.rows.table import Table, numbers_in

#: Columns of a table with the values on held-out examples: of the mask that a search chose, and of the reference's.
HELD_OUT, HELD_OUT_REFERENCE = "held_out", "held_out_reference"


def combined_contrast(
    table: Table, terms: Sequence[tuple[float, Arm]], *, name: str, reference: str, sparsity: float
) -> Contrast:
    """Σ cᵢ·armᵢ at every seed complete in all arms, in the unit of a difference; under the table's plan of looks.

    Parameters
    ----------
    terms
        Weights and arms, in any order. A difference of A and B is (1, A), (−1, B).
    name, reference
        What the sum is called, and against what.

    Examples
    --------
    >>> frame = pd.DataFrame(
    ...     [(i, name, 0.7, a) for name, row in {"a": [0.9, 0.8], "b": [0.8, 0.75]}.items() for i, a in enumerate(row)],
    ...     columns=["seed", "scorer", "sparsity", "accuracy"],
    ... )
    >>> from sics_analysis.rows.table import read_table
    >>> table = read_table(frame)
    >>> less_a_tenth = [(1.0, table.arm("a", 0.7)), (-1.1, table.arm("b", 0.7))]
    >>> found = combined_contrast(table, less_a_tenth, name="a", reference="b", sparsity=0.7)
    >>> [round(value, 9) for value in found.differences]
    [2.0, -2.5]
    """
    at = [{seed: i for i, seed in enumerate(arm.seeds)} for _, arm in terms]
    seeds = tuple(seed for seed in terms[0][1].seeds if all(seed in places for places in at))
    pairs = tuple(zip(terms, at, strict=True))
    values = tuple(
        math.fsum(weight * arm.scale * arm.accuracy[places[seed]] for (weight, arm), places in pairs) for seed in seeds
    )
    examples = [arm.total[places[seed]] for (_, arm), places in pairs for seed in seeds if arm.total is not None]
    found = Contrast(
        name,
        reference,
        seeds,
        values,
        sparsity,
        single=all(arm.single for _, arm in terms),
        noise_floor=table.floors.get(sparsity, 0.0),
        # A weight need not be whole, so that steps of one example are no grid; but less than one of them is no spread.
        resolution=terms[0][1].scale / max(examples) if examples else 0.0,
        size=max((abs(weight) * arm.scale * abs(value) for weight, arm in terms for value in arm.accuracy), default=0.0),
    )
    return found if table.plan is None else looked_contrast(found, table.plan, table.order, table.made)


def less_a_share(table: Table, scorer: str, reference: str, share: float, sparsity: float) -> Contrast:
    """What a scorer gains over the reference, less a share of the reference's own accuracy: 0 where it gains just that share.

    Its mean is θ − share·Π with Π the reference's true accuracy in this run. "plateau" is the pool of the other κ = 0 scorers,
    as in a difference.
    """
    other = table.opponent(scorer, reference, sparsity)
    terms = [(1.0, table.arm(scorer, sparsity)), (-(1.0 + share), other)]
    return combined_contrast(table, terms, name=scorer, reference=reference, sparsity=sparsity)


def held_out_arms(rows: pd.DataFrame, table: Table, scorer: str, sparsity: float) -> tuple[Arm, Arm] | None:
    """Held-out values of a searched scorer's masks and of the reference's, at the seeds of the table; None without columns."""
    if not {HELD_OUT, HELD_OUT_REFERENCE} <= set(rows.columns):
        return None
    own = rows[(rows["scorer"] == scorer) & (rows["sparsity"].round(9) == sparsity) & rows["seed"].isin(table.seeds)]
    seeds, metric = own["seed"].tolist(), table.metric
    mask, reference = (
        Arm.from_values(scorer, seeds, [metric.turned(value) for value in numbers_in(own[column], column)], metric.scale)
        for column in (HELD_OUT, HELD_OUT_REFERENCE)
    )
    return mask, reference


def over_fitting(rows: pd.DataFrame, table: Table, scorer: str, reference: str, sparsity: float) -> Contrast | None:
    """The over-fitting gap of a searched scorer: what it gains over the reference held out, less what it gains on test examples.

    (held_out − held_out_reference) − (test − test_reference) at every seed, better upwards in the unit of a difference; None
    where the rows have no held-out values. The held-out values are of the run's own reference, which `reference` has to be.

    Examples
    --------
    >>> from sics_analysis.rows.table import read_table
    >>> held = {"magnitude": (None, None), "fusion_orbit_50": (0.92, 0.90)}
    >>> frame = pd.DataFrame(
    ...     [(0, "magnitude", 0.7, 0.88, *held["magnitude"]), (0, "fusion_orbit_50", 0.7, 0.89, *held["fusion_orbit_50"])],
    ...     columns=["seed", "scorer", "sparsity", "accuracy", "held_out", "held_out_reference"],
    ... )
    >>> gap = over_fitting(frame, read_table(frame), "fusion_orbit_50", "magnitude", 0.7)
    >>> [round(value, 9) for value in gap.differences]
    [1.0]
    """
    terms = gap_terms(rows, table, scorer, reference, sparsity)
    return None if terms is None else combined_contrast(table, terms, name=scorer, reference=reference, sparsity=sparsity)


def gap_terms(rows: pd.DataFrame, table: Table, scorer: str, reference: str, sparsity: float) -> list[tuple[float, Arm]] | None:
    """The terms of an over-fitting gap, to be set against those of another; None where the rows have no held-out values."""
    found = held_out_arms(rows, table, scorer, sparsity)
    if found is None:
        return None
    mask, other = found
    return [(1.0, mask), (-1.0, other), (-1.0, table.arm(scorer, sparsity)), (1.0, table.opponent(scorer, reference, sparsity))]
