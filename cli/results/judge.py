"""A look at a run: the seeds that are there by then, analysed under the plan, and what of its targets is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sics_cli.base.errors import SicsError
from sics_cli.experiment.look_plan import look_plan_of
from sics_cli.experiment.provenance import now
from sics_cli.results.report import analyse_source
from sics_cli.results.source import InputError, Settings, source_of
from sics_cli.runs.looks import EVERY_LINE
from sics_cli.settings.until import SHARE
from sics_cli.store.rows import LookRow, PlanRow
from sics_cli.store.store import Store

if TYPE_CHECKING:
    from sics_analysis.study.outcome import Analysis


def judge(store: Store, plan: PlanRow, number: int) -> LookRow:
    """Make look `number` of the plan on the rows of its seeds; see `sics_cli.runs.looks.Judge`.

    Every test is made at the nominal level of this look for the largest family, which is the smallest of all.
    """
    looks = look_plan_of(plan)
    if looks is None:
        raise ValueError("a fixed number of seeds has no looks")
    n = looks.looks[number - 1]
    seeds = set(plan.seeds[:n])
    from sics_analysis.looks.levels import nominal_levels
    from sics_analysis.results import Verdict

    family = max(1, len(plan.families["escape"]))
    last = number == len(looks.looks)
    level = nominal_levels(looks.looks[:number], looks.n_max, plan.alpha, family, complete=last)[-1]
    try:
        rows = [row for row in store.cells() if row.seed in seeds]
        source = source_of(store, rows, [row for row in store.repeats() if row.seed in seeds])
        analysis = analyse_source(source, Settings(plan.delta, level, plan.reference))
    except InputError as error:
        raise SicsError(f"look {number} of {len(looks.looks)}, n = {n}: {error}") from None
    lines = [line for line in analysis.lines if line.kappa is not None and line.kappa >= 1]
    decided = sum(line.verdict is not Verdict.INCONCLUSIVE for line in lines)
    before = {
        text: how for look in store.looks(plan.plan_hash) if look.look < number for text, how in look.targets.items() if how
    }
    asked = plan.looks["until"] if plan.looks is not None else []
    targets = {text: before.get(text) or _decided(text, analysis, decided, len(lines), number) for text in asked or [EVERY_LINE]}
    stops = all(targets.values()) or last
    return LookRow(plan.plan_hash, number, n, now(), "", looks.spent(n), decided, len(lines), targets, stops)


def _decided(text: str, analysis: Analysis, decided: int, lines: int, number: int) -> str:
    """What a target is at this look; "" while it is open."""
    from sics_analysis.claims.scorecard import evaluate, parse_claim
    from sics_analysis.results import Status

    if text == EVERY_LINE or text.startswith(SHARE):
        share = 1.0 if text == EVERY_LINE else float(text.removeprefix(SHARE))
        return f"{decided} of {lines} at look {number}" if decided >= share * lines else ""
    status = evaluate(parse_claim(text), analysis).status
    return "" if status is Status.UNDECIDED else f"{status} at look {number}"
