"""After a run: how its differences spread, what more seeds would show, and what would settle the lines that are open.

One place for the numbers of `sics-run plan --from`, of every report and of the end of `replicate`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from sics_analysis.one_scorer.crossed import sd_factors
from sics_analysis.planning.exact import TwoValues
from sics_analysis.planning.plan import MAX_SEEDS, fewest, plan, seeds_needed
from sics_analysis.planning.power import escape_power, tost_power
from sics_analysis.results import LineRow, NextStep, PowerCurve, PowerPoint, Verdict
from sics_analysis.rows.contrasts import MIN_SEEDS, Contrast

TARGET = 0.8
#: What a line that is shown on one side only may still become, and one that is undecided.
_OPEN = (Verdict.INCONCLUSIVE, Verdict.NONINFERIOR, Verdict.NONSUPERIOR)
UNPAIRED = "planning is for paired seeds, and these are unpaired"


@runtime_checkable
class Measured(Protocol):
    """A line that still has its differences as they were tested; one of a kept report has not."""

    @property
    def contrast(self) -> Contrast:
        """The differences."""
        ...


@dataclass(frozen=True, slots=True)
class FamilySpread:
    """How the differences of a family spread: the median sd of its lines (points), at one S or over all (S None)."""

    sparsity: float | None
    sd: float
    family: int
    n: int


def family_spread(lines: Sequence[LineRow], sparsity: float | None = None) -> FamilySpread | None:
    """The median sd over the lines of the escape family that have one, else over all lines; None where no line has.

    The median, because one wild scorer of a family would else plan for all the others.
    """
    own = [line for line in lines if sparsity is None or line.sparsity == sparsity]
    varied = [line for line in own if not line.degenerate or line.n == 2]  # two seeds are no test, but they have an sd
    members = [line for line in varied if line.in_family]
    spread = [line.sd for line in members if line.sd] or [line.sd for line in varied if line.sd]
    if not spread:
        return None
    sizes = [sum(line.sparsity == S for line in members) for S in {line.sparsity for line in members}]
    return FamilySpread(sparsity, statistics.median(spread), max(sizes, default=1), max(line.n for line in own))


def family_spreads(lines: Sequence[LineRow]) -> tuple[FamilySpread, ...]:
    """Over all S, then at every S."""
    wanted = [None, *sorted({line.sparsity for line in lines})] if lines else []
    found = [family_spread(lines, sparsity) for sparsity in wanted]
    return tuple(spread for spread in found if spread is not None)


def power_curve(lines: Sequence[LineRow], delta: float, alpha: float, *, paired: bool = True) -> PowerCurve:
    """The power of 3 to 40 seeds when differences spread as in these lines, over all S."""
    spread = family_spread(lines) if paired else None
    effect = 2 * delta
    here = max((line.n for line in lines), default=0)
    if spread is None:
        reason = "no line has a spread between seeds to plan with" if paired else UNPAIRED
        return PowerCurve(None, effect, 1, here, None, None, (), reason)
    made = plan(max(here, 3), spread.sd, delta=delta, alpha=alpha, family=spread.family)
    points = tuple(PowerPoint(*point) for point in made.curve)
    return PowerCurve(spread.sd, effect, spread.family, here, made.equivalence_seeds.n, made.escape_seeds.n, points, "")


def shrunk(mean: float, se: float) -> float:
    """The difference to plan with: the estimate m, drawn towards 0 by its own uncertainty, m·max(0, 1 − se²/m²).

    An estimate that is large by chance would promise a verdict too soon. Were true differences Normal about 0, m² − se²
    would estimate their variance, and this be what is then expected of the true one (empirical Bayes, from one line).

    >>> shrunk(0.4, 0.2), shrunk(-0.4, 0.2), shrunk(0.1, 0.2)
    (0.30000000000000004, -0.30000000000000004, 0.0)
    """
    return mean * max(0.0, 1 - (se / mean) ** 2) if mean else 0.0


def next_steps(
    lines: Sequence[LineRow], delta: float, alpha: float, *, power: float = TARGET, paired: bool = True
) -> tuple[NextStep, ...]:
    """What each line without a strong verdict points to, and the seeds (and test images) that would show it.

    Parameters
    ----------
    lines
        Of one analysis; those of three seeds and more that are INCONCLUSIVE, NONINFERIOR or NONSUPERIOR get a step.
    delta, alpha
        Those of the analysis.
    power
        Chance of the verdict to aim at.
    paired
        Whether the lines are of paired seeds; nothing is planned for others.

    Notes
    -----
    The difference planned with is `shrunk`; inside ±δ it points to EQUIVALENT, beyond to ESCAPES or DEGRADES, tested in the
    family of its S. A line whose interval crosses both bounds is settled by less: NONINFERIOR where its estimate is at or above
    0, else NONSUPERIOR. The range of seeds is that of the sd's 95 % chi-square interval, which is wide at few seeds.

    A line that is constant, or on two adjacent counts, is judged by an exact test: its seeds are those of that test's power
    (`TwoValues`), five at α = 0.05 for a constant inside ±δ, and there is no range.

    For new images the variance of the mean is sd²/n + v, v the images' part at the images of now. Where no number of seeds
    reaches the power with these images, both parts get half of the variance that does: seeds for an sd larger by √2,
    and images for a v as small as the seeds' part.

    Examples
    --------
    Worked in `tests/analysis/planning/test_outlook.py`.
    """
    found = []
    families = {S: family_spread(lines, S) for S in {line.sparsity for line in lines}}
    for line in lines if paired else ():
        if line.verdict not in _OPEN or line.mean is None or line.n < MIN_SEEDS:
            continue
        exact = None
        if isinstance(line, Measured):
            exact = TwoValues.of(line.contrast, shrunk(line.mean, (line.sd or 0.0) / math.sqrt(line.n)))
        if exact is not None:
            family = sum(other.in_family and other.sparsity == line.sparsity for other in lines) if line.in_family else 1
            found.append(_exact_step(line, line.mean, exact, delta, alpha, power, family))
        elif line.sd and not line.degenerate:
            spread = families[line.sparsity]
            family = spread.family if spread is not None and line.in_family else 1
            found.append(_step(line, line.mean, line.sd, delta, alpha, power, family))
    return tuple(found)


def _aims(line: LineRow, mean: float, planned: float, delta: float) -> tuple[Verdict, Verdict]:
    """The first verdict that would settle a line, and the strong one that its estimate points to."""
    interval = line.ci_equivalence
    both = interval is not None and interval.low <= -delta and interval.high >= delta
    goal = Verdict.EQUIVALENT if abs(planned) <= delta else Verdict.ESCAPES if planned > 0 else Verdict.DEGRADES
    return (Verdict.NONINFERIOR if mean >= 0 else Verdict.NONSUPERIOR) if both else goal, goal


def _exact_step(line: LineRow, mean: float, values: TwoValues, delta: float, alpha: float, power: float, family: int) -> NextStep:
    """The step of a line that is judged by an exact test, by the power of that test; there is no sd to be uncertain of."""
    first, goal = _aims(line, mean, values.mean, delta)
    seeds, strong = (values.seeds(verdict, delta, alpha, power, family) for verdict in (first, goal))
    return NextStep(
        line.scorer, line.sparsity, line.n, mean, values.mean, line.sd or 0.0, str(first), seeds, seeds, seeds, str(goal), strong,
        None if line.split is None else line.split.image_share, None, None, exact=True,
    )  # fmt: skip


def planned_lines(lines: Sequence[LineRow]) -> list[tuple[float, float, int]]:
    """True difference, sd and family of the lines of a run that have a spread, for `share_plan`: those of κ ≥ 1 where known.

    The difference is the estimate as `shrunk` has it; the others are the family's where no κ is known.
    """
    known = any(line.kappa is not None for line in lines)
    wanted = [line for line in lines if ((line.kappa or 0) >= 1 if known else line.in_family)]
    sizes = {S: sum(line.sparsity == S and line.in_family for line in lines) for S in {line.sparsity for line in wanted}}
    return [
        (shrunk(line.mean, line.sd / math.sqrt(line.n)), line.sd, sizes[line.sparsity] if line.in_family else 1)
        for line in wanted
        if not line.degenerate and line.sd and line.mean is not None
    ]


def _step(line: LineRow, mean: float, sd: float, delta: float, alpha: float, power: float, family: int) -> NextStep:
    planned = shrunk(mean, sd / math.sqrt(line.n))
    first, goal = _aims(line, mean, planned, delta)

    def seeds(spread: float, verdict: Verdict = goal) -> int | None:
        if verdict is Verdict.EQUIVALENT:
            return seeds_needed("equivalence", planned, spread, delta, power=power, alpha=alpha).n
        if verdict in (Verdict.NONINFERIOR, Verdict.NONSUPERIOR):
            return seeds_needed("superiority", abs(planned) + delta, spread, delta, power=power, alpha=alpha).n
        return seeds_needed("escape", abs(planned), spread, delta, power=power, alpha=alpha, family=family).n

    low, high = sd_factors(line.n - 1)
    at_images = _with_images(line, first, seeds(sd, first), planned, sd, delta, alpha, power, family)
    return NextStep(
        scorer=line.scorer,
        sparsity=line.sparsity,
        n=line.n,
        mean=mean,
        planned=planned,
        sd=sd,
        verdict=str(first),
        seeds=seeds(sd, first),
        seeds_low=seeds(low * sd, first),
        seeds_high=seeds(high * sd, first),
        goal=str(goal),
        goal_seeds=seeds(sd),
        image_share=None if line.split is None else line.split.image_share,
        both_seeds=at_images[0],
        both_images=at_images[1],
    )


def _with_images(
    line: LineRow,
    verdict: Verdict,
    alone: int | None,
    planned: float,
    sd: float,
    delta: float,
    alpha: float,
    power: float,
    family: int,
) -> tuple[int | None, int | None]:
    """Seeds and test images that show the same for new images."""
    split = line.split
    if split is None or alone is None:
        return None, None

    def reached(n: int, spread: float) -> float:
        if verdict is Verdict.EQUIVALENT:
            return tost_power(planned, spread, delta, n, alpha=alpha).power
        if verdict in (Verdict.NONINFERIOR, Verdict.NONSUPERIOR):
            return escape_power(abs(planned) + delta, spread, 0.0, n, alpha=alpha).power
        return escape_power(abs(planned), spread, delta, n, alpha=alpha, family=family).power

    here = fewest(lambda n: reached(n, math.sqrt(sd**2 + n * split.images)), power)
    if here is not None:
        return here, split.n_images
    seeds = fewest(lambda n: reached(n, math.sqrt(2) * sd), power)
    if seeds is None or seeds >= MAX_SEEDS:
        return None, None
    return seeds, math.ceil(split.n_images * split.images * seeds / sd**2)
