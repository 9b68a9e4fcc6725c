"""The escape families of all sparsities as one: what is shown over the whole run, and not within one S alone.

With ten values of S and no true effect, one of the families names a false escape in a fifth of runs and more. So beside the p
that is adjusted within each S stands one that is adjusted over all of them, and the headline of a report rests on that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sics_analysis.families.family import ROTATION, SIGN, FamilyResult, one_sided
from sics_analysis.families.max_t import clear_of, constants_adjusted, exact_beside, in_two, not_below
from sics_analysis.families.multiplicity import holm_over_groups
from sics_analysis.families.rotation import Projection, StepDown, rotation_directions, sorted_rows
from sics_analysis.one_scorer.signflip import DRAWS
from sics_analysis.rows.contrasts import MANY_SEEDS, FloatArray

ONE = "one sparsity: nothing to add"
JOINT = "rotation max-T over all sparsities"
HOLM = "Holm over the sparsities"


@dataclass(frozen=True, slots=True)
class RunWide:
    """Adjusted p over all sparsities, by scorer and S: never below those within the S, and the same where there is one S."""

    adjusted: Mapping[tuple[str, float | None], float]
    method: str

    def get(self, name: str, sparsity: float | None) -> float | None:
        """The p of a scorer at one S; None where it was not tested in a family."""
        return self.adjusted.get((name, sparsity))


def run_wide(families: Sequence[FamilyResult], *, rng: np.random.Generator, draws: int = DRAWS) -> RunWide:
    """Adjust the lines of several families, one a sparsity and all of one margin and direction, for all of them at once.

    Where every column has the same seeds, all are rotated together: the step-down max-T of `max_t_family` over the scorers of
    all S, which knows how the values of S depend on one another. Otherwise Holm over the sparsities, on the p that are adjusted
    within each (`holm_over_groups`). Beside a rotation, equal differences and those of two adjacent counts have Holm over the
    p of each line of the whole run. An S at which δ lies below the noise floor counts like any other. Beyond 100 seeds the
    rotations are drawn in the dimensions that the columns span, and a tenth of them is enough where every p is clear of alpha,
    as in `max_t_family`.

    Examples
    --------
    >>> from sics_analysis.families.max_t import escape_test
    >>> from sics_analysis.rows.contrasts import differences
    >>> rng = np.random.default_rng(0)
    >>> values = {0.7: [1.9, 2.1, 0.6, 1.7, 1.2], 0.8: [0.1, -0.2, 0.3, 0.0, 0.2]}
    >>> own = [escape_test([differences(d, name="chaos", sparsity=S)], 0.5, rng=rng) for S, d in values.items()]
    >>> found = run_wide(own, rng=rng, draws=2_000)
    >>> found.method, found.get("chaos", 0.7) > own[0].adjusted("chaos")
    ('rotation max-T over all sparsities', True)
    """
    groups = [[line for line in family.lines if line.p_adjusted is not None] for family in families]
    within = {(line.name, line.sparsity): line.p_adjusted or 0.0 for group in groups for line in group}
    if sum(map(bool, groups)) <= 1:
        return RunWide(within, ONE)
    keys = list(within)
    contrasts = [line.contrast for group in groups for line in group]
    active = [c for c in contrasts if not c.is_constant]
    margin, sign = families[0].margin, SIGN[families[0].direction]
    joint = len({c.seeds for c in active}) <= 1 and all(family.method == ROTATION for family in families)
    if joint:
        over: dict[tuple[str, float | None], float] = {}
        if active:
            t, p = one_sided(active, margin, sign)
            columns = sign * np.column_stack([c.values for c in active]) - margin
            rotated = not_below(_rotated(columns, draws, rng, families[0].alpha), p, t)
            _, found, _ = exact_beside(active, margin, sign, p, rotated)
            over = {(c.name, c.sparsity): float(value) for c, value in zip(active, found, strict=True)}
        over |= {(c.name, c.sparsity): p for c, _, p in constants_adjusted(contrasts, active, margin, sign)}
    else:
        over = dict(
            zip(keys, holm_over_groups([[within[line.name, line.sparsity] for line in group] for group in groups]), strict=True)
        )
    # Other draws must not make a line hold over the whole run that does not hold within its S.
    return RunWide({key: max(over[key], within[key]) for key in keys}, JOINT if joint else HOLM)


def _rotated(columns: FloatArray, draws: int, rng: np.random.Generator, alpha: float) -> FloatArray:
    """Step-down p of all columns under rotations they share."""
    if len(columns) <= MANY_SEEDS:
        counts = StepDown(columns)
        for chunk in rotation_directions(len(columns), draws, rng):
            counts.add(chunk)
        return counts.adjusted()
    space, made = Projection(sorted_rows(columns)), 0
    counts = StepDown(space.columns, observed=space.observed)
    for part in in_two(draws):
        for chunk in space.directions(part, rng, identity=made == 0):
            counts.add(chunk)
        made += part
        if clear_of(alpha, counts.adjusted(), made):
            break
    return counts.adjusted()
