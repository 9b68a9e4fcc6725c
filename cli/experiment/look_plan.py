"""The part of a plan that says when a run looks, as it is stored and hashed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sics_cli.settings.config import Experiment
from sics_cli.store.rows import PlanRow

if TYPE_CHECKING:
    from sics_analysis.looks.design import LookPlan


def looks_content(experiment: Experiment, family: int) -> dict[str, Any]:
    """What the plan of a run until decided fixes beside δ, reference and scorers; `family` lines are tested together at an S."""
    from sics_analysis.looks.design import LookPlan

    seeds = experiment.seeds
    plan = LookPlan(len(seeds), alpha=experiment.alpha, seeds=seeds)
    return {**plan.to_dict(), "until": sorted(experiment.until or ()), "family": family}


def look_plan_of(plan: PlanRow) -> LookPlan | None:
    """The looks of a stored plan; None for a fixed number of seeds."""
    from sics_analysis.looks.design import LookPlan

    if plan.looks is None:
        return None
    return LookPlan.from_dict({name: value for name, value in plan.looks.items() if name not in ("until", "family")})
