"""From an analysis under a plan of looks to what its report says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from sics_analysis.claims.targets import parse_target, target_states
from sics_analysis.looks.levels import nominal_levels
from sics_analysis.looks.outcome import Looks
from sics_analysis.planning.looks import looks_power
from sics_analysis.planning.outlook import family_spread
from sics_analysis.report.document.looks import LookChance, LooksInfo, TargetInfo
from sics_analysis.results import PowerCurve
from sics_analysis.study.outcome import Analysis

#: Why a plan of looks has no power curve of a fixed design.
NO_CURVE = "a plan of looks has the chances of its looks"


def looks_info(analysis: Analysis, targets: Sequence[str] = ()) -> LooksInfo | None:
    """What a report says of the looks of a run; None without looks, and of a single look, which is the fixed design."""
    looks = analysis.looks
    if looks is None or (len(looks.plan.looks) == 1 and looks.finished):
        return None
    spread = family_spread(analysis.main_lines)
    effect, family = 2 * analysis.delta, 1 if spread is None else spread.family
    own = {field.name: getattr(looks, field.name) for field in fields(Looks)}
    states = target_states([parse_target(text) for text in targets], analysis)
    return LooksInfo(
        **own,
        targets=tuple(TargetInfo(state.target, state.settled, analysis.told(state.text)) for state in states),
        sd=None if spread is None else spread.sd,
        effect=effect,
        family=family,
        chances=_chances(looks, None if spread is None else spread.sd, effect, analysis.delta, family),
    )


def _chances(looks: Looks, sd: float | None, effect: float, delta: float, family: int) -> tuple[LookChance, ...]:
    plan = looks.plan
    levels = nominal_levels(plan.looks, plan.n_max, plan.alpha)
    nothing = (None,) * len(levels)
    shown = [(nothing, nothing)] * 2
    if sd is not None:
        same = looks_power("equivalence", plan, 0.0, sd, delta)
        more = looks_power("escape", plan, effect, sd, delta, family=family)
        shown = [(same.reached, same.fixed), (more.reached, more.fixed)]  # type: ignore[list-item]
    (equal, equal_fixed), (escape, escape_fixed) = shown
    return tuple(
        LookChance(n, plan.spent(n), level, equal[i], escape[i], equal_fixed[i], escape_fixed[i])
        for i, (n, level) in enumerate(zip(plan.looks, levels, strict=True))
    )


def no_curve(info: LooksInfo, delta: float) -> PowerCurve:
    """The place of the power curve of a fixed design, empty."""
    return PowerCurve(info.sd, 2 * delta, info.family, info.n, None, None, (), NO_CURVE)
