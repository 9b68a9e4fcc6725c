"""Sums of several values of one seed: a difference less a share of the reference, one gain less another, an over-fitting gap.

Such a sum is formed seed by seed and is then one row of numbers like any difference, so that the paired tests are exact for it:
what its parts have in common, the reference above all, is in the numbers and needs no estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sics_analysis.rows.arms import Arm
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.rows.table import Table


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
    >>> import pandas as pd
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
    return table.under_looks(found)


def less_a_share(table: Table, scorer: str, reference: str, share: float, sparsity: float) -> Contrast:
    """What a scorer gains over the reference, less a share of the reference's own accuracy: 0 where it gains just that share.

    Its mean is θ − share·Π with Π the reference's true accuracy in this run. "plateau" is the pool of the other κ = 0 scorers,
    as in a difference.
    """
    other = table.opponent(scorer, reference, sparsity)
    terms = [(1.0, table.arm(scorer, sparsity)), (-(1.0 + share), other)]
    return combined_contrast(table, terms, name=scorer, reference=reference, sparsity=sparsity)


def less(table: Table, one: Contrast, other: Contrast) -> Contrast:
    """One row of numbers less another at the seeds of both, such as one over-fitting gap less another's, under the same looks."""
    subtracted = dict(zip(other.seeds, other.differences, strict=True))
    values = {seed: d - subtracted[seed] for seed, d in zip(one.seeds, one.differences, strict=True) if seed in subtracted}
    found = Contrast(
        one.name,
        other.name,
        tuple(values),
        tuple(values.values()),
        one.sparsity,
        single=one.single and other.single,
        noise_floor=max(one.noise_floor, other.noise_floor),
        resolution=max(one.resolution, other.resolution),
        size=max(one.size, other.size),
    )
    return table.under_looks(found)
