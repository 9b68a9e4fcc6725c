"""A look at a run: the seeds that are there by then, analysed under the plan, and what of its targets is decided."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from sics_cli.base.errors import SicsError
from sics_cli.experiment.look_plan import look_plan_of
from sics_cli.experiment.provenance import now
from sics_cli.results.report import analyse_source
from sics_cli.results.source import InputError, Settings, source_of
from sics_cli.runs.looks import ALL_LINES, EVERY_LINE
from sics_cli.store.rows import LookRow, PlanRow
from sics_cli.store.store import Store

if TYPE_CHECKING:
    from sics_analysis.looks.outcome import LineLooks
    from sics_analysis.study.outcome import Analysis

#: A look needs verdicts, not the intervals by resampling that a report shows beside them.
_RESAMPLES = 1


def judge(store: Store, plan: PlanRow, number: int) -> LookRow:
    """Make look `number` of the plan on the rows of its seeds; see `sics_cli.runs.looks.Judge`."""
    looks = look_plan_of(plan)
    if looks is None or plan.looks is None:
        raise ValueError("a fixed number of seeds has no looks")
    n = looks.looks[number - 1]
    seeds = tuple(plan.seeds[:n])
    try:
        rows = [row for row in store.cells() if row.seed in seeds]
        source = source_of(store, rows, [row for row in store.repeats() if row.seed in seeds])
        asked = Settings(plan.delta, plan.alpha, plan.reference)
        analysis = analyse_source(replace(source, bits={}, ended=seeds), asked, n_resamples=_RESAMPLES)
    except InputError as error:
        raise SicsError(f"look {number} of {len(looks.looks)}, n = {n}: {error}") from None
    lines = _complex_lines(analysis)
    before = [look for look in store.looks(plan.plan_hash) if look.look < number]
    known = {text: how for look in before for text, how in look.targets.items() if how}
    given = {place for look in before for place in look.verdicts}
    targets = {text: known.get(text) or _state(text, analysis, number) for text in plan.looks["until"] or [EVERY_LINE]}
    verdicts = {f"{line.scorer}@{line.sparsity:g}": str(line.verdict) for line in lines if line.settled}
    return LookRow(
        plan_hash=plan.plan_hash,
        look=number,
        n=n,
        made=now(),
        rows_hash="",
        spent=looks.spent(n),
        decided=len(verdicts),
        lines=len(lines),
        hopeless=sum(line.hopeless for line in lines),
        verdicts={place: verdict for place, verdict in verdicts.items() if place not in given},
        targets=targets,
        stops=all(targets.values()) or number == len(looks.looks),
    )


def _complex_lines(analysis: Analysis) -> list[LineLooks]:
    """The looks at the lines of κ ≥ 1."""
    assert analysis.looks is not None
    both = zip(analysis.lines, analysis.looks.lines, strict=True)
    return [found for line, found in both if line.kappa is not None and line.kappa >= 1]


def _state(text: str, analysis: Analysis, number: int) -> str:
    """What a target is at this look, in a few words; "" while it is open."""
    from sics_analysis.claims.targets import parse_target, target_states

    (state,) = target_states([parse_target(ALL_LINES if text == EVERY_LINE else text)], analysis)
    return f"{re.split('[:;]', state.text)[0]} at look {number}" if state.settled else ""
