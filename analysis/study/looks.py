"""From the tests of every look to a verdict that is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from scipy import special

from sics_analysis.families.attribution import Kept
from sics_analysis.families.family import FamilyLook, FamilyResult
from sics_analysis.looks.design import LookPlan
from sics_analysis.looks.levels import critical_value, nominal_levels
from sics_analysis.looks.outcome import SETTLED, LineLook, LineLooks, Looks
from sics_analysis.one_scorer.equivalence import t_tost
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.one_scorer.verdict import Decision, verdict
from sics_analysis.results import Seed, Verdict
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.rows.looked import Look, LookedContrast
from sics_analysis.rows.reading.cells import seed_label
from sics_analysis.rows.table import Table
from sics_analysis.study.outcome import Families
from sics_analysis.study.steps import Setting

#: What a verdict may become at a later look: nothing that contradicts it.
_OPEN_TO = {
    Verdict.NONINFERIOR: (Verdict.EQUIVALENT, Verdict.ESCAPES),
    Verdict.NONSUPERIOR: (Verdict.EQUIVALENT, Verdict.DEGRADES),
}


@dataclass(frozen=True, slots=True)
class Counted:
    """The seeds of a run that its looks have counted."""

    plan: LookPlan  # with the seeds in their order
    run: int
    whole: Table
    table: Table  # with the seeds of the looks made
    extra: tuple[Seed, ...]

    def line(self, setting: Setting, contrast: Contrast, families: Families) -> tuple[LineLooks, Decision | None]:
        """All looks at one line, and the decision it keeps; None where that of the last look stands."""
        S = families.sparsity
        whole = self.whole.contrast(contrast.name, setting.reference, S)
        margins = Margins(setting.delta, setting.alpha, setting.floors.get(S))
        if isinstance(contrast, LookedContrast):
            return line_looks(contrast, families, margins, whole)
        # One planned look is the fixed design, whose families have no looks of their own and whose decision stands.
        once = looked_once(contrast, self.plan, self.table.order)
        return line_looks(once, families, margins, whole)[0], None

    def kept(self, setting: Setting, sparsity: float) -> Kept:
        """What a scorer against `information` keeps from an earlier look."""
        margins = Margins(setting.delta, setting.alpha, setting.floors.get(sparsity))

        def decided(over: Contrast, superior: FamilyResult, escape: FamilyResult, degrade: FamilyResult) -> Decision | None:
            if not isinstance(over, LookedContrast):
                return None
            members = tuple(line.name for line in escape.lines)
            return line_looks(over, Families(sparsity, members, escape, degrade, superior), margins, over)[1]

        return decided

    def outcome(self, lines: tuple[LineLooks, ...]) -> Looks:
        """Where the run stands."""
        there, counted = set(self.whole.seeds), set(self.table.seeds) if self.table.made else set()
        n = self.plan.looks[self.table.made - 1] if self.table.made else 0
        return Looks(
            plan=self.plan,
            made=self.table.made,
            run=self.run,
            waiting=tuple(seed for seed in self.table.order if seed in there - counted),
            failed=tuple(seed for seed in self.table.order[:n] if seed not in there),
            extra=self.extra,
            lines=lines,
        )


def count_looks(table: Table, plan: LookPlan, alpha: float, ended: Iterable[Seed] | None) -> Counted:
    """Which looks the seeds of a table allow, and the table of their seeds.

    Raises
    ------
    ValueError
        If the plan has another alpha, the seeds are no pairs, or `ended` or the table have no planned seed.
    """
    if plan.alpha != alpha:
        raise ValueError(f"Expected `alpha` to be that of the plan of looks, {plan.alpha:g}, got {alpha:g}")
    if not table.metric.paired:
        raise ValueError("Expected paired seeds with `looks`, got `unpaired`: the levels of the looks are those of one row")
    order = tuple(seed_label(seed) for seed in plan.seeds) or table.seeds[: plan.n_max]
    over = set(table.seeds) if ended is None else {seed_label(seed) for seed in ended}
    run = next((i for i, seed in enumerate(order) if seed not in over), len(order))
    made = plan.made(run)
    first = order[: plan.looks[max(made, 1) - 1]]
    if not set(first) & set(table.seeds):
        raise ValueError(f"Expected rows of the planned seeds in `frame`, got none of {', '.join(map(str, first))}")
    kept = replace(table.of_seeds(set(first)), plan=plan, order=order, made=made)
    extra = tuple(seed for seed in table.seeds if seed not in set(order))
    return Counted(plan, run, table, kept, extra)


def looked_once(contrast: Contrast, plan: LookPlan, order: tuple[Seed, ...]) -> LookedContrast:
    """A contrast of a fixed design as one of a single look."""
    own = {field.name: getattr(contrast, field.name) for field in fields(contrast) if field.init}
    return LookedContrast(**own, plan=plan, order=order, made=1)


@dataclass(frozen=True, slots=True)
class Margins:
    """What the verdicts of one analysis are asked at."""

    delta: float
    alpha: float
    noise_floor: float | None


def line_looks(
    contrast: LookedContrast, families: Families, margins: Margins, whole: Contrast
) -> tuple[LineLooks, Decision | None]:
    """All looks at one line, and the decision it keeps; None where that of the last look stands.

    `whole` has all seeds that were run, counted or not.
    """
    plan, in_family = contrast.plan, contrast.name in families.members
    assert plan is not None
    looks = {look.number: look for look in contrast.looks}
    kept, decided, anew = Decision(Verdict.INCONCLUSIVE, ""), None, True
    rows: list[LineLook] = []
    for number in range(1, contrast.made + 1):
        part = contrast.up_to(number)
        above, below = _tests(part, families, margins, in_family, number)
        decision = verdict(
            t_tost(part, margins.delta, margins.alpha),
            p_escape_adjusted=above.p_adjusted,
            p_degrade_adjusted=below.p_adjusted,
            alpha=margins.alpha,
            noise_floor=margins.noise_floor,
            in_family=in_family,
        )
        # What equal differences or masks show is said anew at each look; every other verdict is kept.
        if anew or kept.verdict is Verdict.INCONCLUSIVE or decision.verdict in _OPEN_TO.get(kept.verdict, ()):
            kept, decided, anew = decision, number, part.is_degenerate
        look, chance = looks.get(number), None
        if look is not None and 1 < number < len(plan.looks) and kept.verdict not in SETTLED and not part.is_degenerate:
            chance = chance_of_verdict(look, plan, margins, max(above.left, below.left), kept.verdict)
        rows.append(_row(number, part, look, (above, below), margins, kept.verdict, chance))
    open_line = kept.verdict is Verdict.INCONCLUSIVE
    chance = next((row.chance for row in reversed(rows) if row.level is not None), None)
    last = contrast.looks[-1] if contrast.looks else None
    found = LineLooks(
        scorer=contrast.name,
        sparsity=families.sparsity,
        verdict=kept.verdict,
        decided=None if open_line else decided,
        spent=0.0 if last is None else plan.alpha * (1.0 if last.complete else last.counts[-1] / plan.n_max),
        hopeless=chance is not None and chance < plan.futility and kept.verdict not in SETTLED,
        n_run=whole.n,
        mean_run=whole.mean,
        looks=tuple(rows),
    )
    if open_line or decided is None:
        return found, None
    place = contrast.up_to(decided).place
    return found, Decision(kept.verdict, f"{place}: {kept.reason}", place)


def _tests(
    part: LookedContrast, families: Families, margins: Margins, in_family: bool, number: int
) -> tuple[FamilyLook, FamilyLook]:
    """What a look says of "above +δ" and of "below −δ": in the family, or of the line by itself."""
    sides = ((families.escape, part, margins.delta), (families.degrade, part.mirrored(), margins.delta))
    found = []
    for family, side, margin in sides:
        if in_family and len(family[part.name].looks) == 0 and part.looks:  # a fixed design
            line = family[part.name]
            found.append(FamilyLook(number, line.p_adjusted, margins.alpha, line.p_adjusted, line.p_adjusted, 1))
            continue
        if in_family:
            before = [look for look in family[part.name].looks if look.look <= number]
            nothing = FamilyLook(number, None, None, None, before[-1].p_adjusted if before else None, len(family.lines))
            found.append(before[-1] if before and before[-1].look == number else nothing)
            continue
        assert isinstance(side, LookedContrast)
        look = next((look for look in side.looks if look.number == number), None)
        p = None if look is None else p_above(look.contrast, margin)
        level, repeated = (None, None) if look is None or p is None else (look.level(margins.alpha), look.repeated(p))
        found.append(FamilyLook(number, p, level, repeated, p_above(side, margin), 1))
    return found[0], found[1]


def _row(
    number: int,
    part: LookedContrast,
    look: Look | None,
    tests: tuple[FamilyLook, FamilyLook],
    margins: Margins,
    now: Verdict,
    chance: float | None,
) -> LineLook:
    above, below = tests
    lower = upper = both = level = repeated = ci90 = ci95 = None
    if look is not None:
        level, ci90, ci95 = look.level(margins.alpha), part.t_interval(0.90), part.t_interval(0.95)
        lower, upper = p_above(look.contrast, -margins.delta), p_below(look.contrast, margins.delta)
    if look is not None and lower is not None and upper is not None:
        both = max(lower, upper)
        repeated = look.repeated(both)
    return LineLook(
        look=number,
        n=part.n,
        mean=part.mean,
        ci90=ci90,
        ci95=ci95,
        p_equivalence=both,
        p_noninferior=lower,
        p_nonsuperior=upper,
        level=level,
        p_escape=above.p,
        level_escape=above.level,
        p_degrade=below.p,
        level_degrade=below.level,
        repeated_equivalence=repeated,
        repeated_escape=above.repeated,
        repeated_degrade=below.repeated,
        verdict=now,
        chance=chance,
    )


def chance_of_verdict(look: Look, plan: LookPlan, margins: Margins, family: int, shown: Verdict) -> float:
    """Chance of EQUIVALENT, ESCAPES or DEGRADES at the maximum, given the seeds of this look.

    The mean of all N seeds is predicted as m + t_{n−1}·s·√(1/n − 1/N), their sd as it is now. A half that is shown already needs
    no more showing. `family` lines share the levels of escape and degradation. No further seed is taken to fail.

    >>> from sics_analysis.looks.design import LookPlan
    >>> from sics_analysis.rows.contrasts import differences
    >>> from sics_analysis.rows.looked import LookedContrast, looked_contrast
    >>> d = looked_contrast(differences([0.4 + 0.2 * ((7 * i) % 11 - 5) for i in range(18)]), LookPlan(40), range(40), 4)
    >>> chances = [chance_of_verdict(look, LookPlan(40), Margins(0.5, 0.05, None), 1, Verdict.NONINFERIOR) for look in d.looks]
    >>> [round(chance, 3) for chance in chances]
    [0.503, 0.366, 0.438, 0.149]
    """
    c, delta = look.contrast, margins.delta
    lost = plan.looks[look.number - 1] - c.n
    counts = (*look.counts, *(n - lost for n in plan.looks[look.number :]))
    n, last = c.n, counts[-1]
    mean, sd = c.mean, c.sd
    assert mean is not None
    assert sd is not None
    own, adjusted = (
        critical_value(last, nominal_levels(counts, plan.n_max, margins.alpha, m)[-1]) * sd / math.sqrt(last) for m in (1, family)
    )
    spread = sd * math.sqrt(1 / n - 1 / last)

    def above(bound: float) -> float:
        return float(special.stdtr(n - 1, (mean - bound) / spread))

    low = -math.inf if shown is Verdict.NONINFERIOR else -delta + own
    high = math.inf if shown is Verdict.NONSUPERIOR else delta - own
    escapes = 0.0 if shown is Verdict.NONSUPERIOR else above(delta + adjusted)
    degrades = 0.0 if shown is Verdict.NONINFERIOR else 1 - above(-delta - adjusted)
    equivalent = max(0.0, above(low) - above(high))
    return min(1.0, escapes + degrades + equivalent)
