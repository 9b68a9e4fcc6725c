"""Which rows of a store a plan with looks is about, and what is to be said of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sics_analysis.results import plural
from sics_cli.experiment.look_plan import look_plan_of
from sics_cli.experiment.recipe import DENSE
from sics_cli.runs.looks import ALL_LINES, ROWS_CHANGED, changed_looks, first_fresh_seed, look_ends
from sics_cli.store.rows import CellRow, PlanRow, RepeatRow
from sics_cli.store.store import Store

if TYPE_CHECKING:
    from sics_analysis.looks.design import LookPlan

#: Where settings other than the plan's are asked for.
NO_LOOKS = (
    "The looks of the plan hold for its own margin, level and reference: under others every p and interval here is that of a "
    "fixed number of seeds, and the data chose that number."
)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a plan with looks makes of a store: its looks, which seeds have ended, its rows, and what a reader must know."""

    plan: LookPlan
    ended: tuple[int, ...]
    rows: list[CellRow]
    repeats: list[RepeatRow]
    remarks: list[str]
    stamps: tuple[str, ...]
    targets: tuple[str, ...]


def looked(store: Store, plan: PlanRow, rows: Sequence[CellRow], repeats: Sequence[RepeatRow]) -> Looked | None:
    """The rows that the plan is about; None where it has no looks."""
    looks = look_plan_of(plan)
    if looks is None:
        return None
    seeds, names, sparsities = set(plan.seeds), {*plan.scorers, DENSE}, {*plan.sparsities, 0.0}

    def planned(row: CellRow | RepeatRow) -> bool:
        return row.seed in seeds and row.scorer in names and row.sparsity in sparsities

    kept = [row for row in rows if planned(row)]
    away = sorted({row.seed for row in rows} - seeds)
    remarks = []
    if away:
        remarks.append(
            f"Left out: seed {', '.join(map(str, away))}, which the plan with looks does not have: its errors hold for its own "
            "seeds, in their order."
        )
    others = len([row for row in rows if row.seed in seeds]) - len(kept)
    if others:
        remarks.append(f"Left out: {plural(others, 'row')} of scorers or sparsities that the plan with looks does not have.")
    stamps = [plan.stamp] if plan.stamp else []
    if ROWS_CHANGED not in plan.stamp and changed_looks(store, plan):
        stamps.append(ROWS_CHANGED)
    return Looked(
        looks,
        ended_seeds(store, plan, kept),
        kept,
        [row for row in repeats if planned(row)],
        remarks,
        tuple(stamps),
        tuple((plan.looks or {})["until"] or [ALL_LINES]),
    )


def past_looks(plans: Sequence[PlanRow]) -> list[str]:
    """Say that a fixed number of seeds is analysed whose α an earlier plan with looks has spent; nothing where it is not so."""
    last = plans[-1] if plans else None
    if last is None or last.looks is not None:
        return []
    if not any(plan.looks is not None and set(plan.seeds) & set(last.seeds) for plan in plans):
        return []
    return [
        "An earlier plan looked at these seeds and has spent its α on them: none is left for another test. Every p here is that "
        "of a number of seeds fixed beforehand, which it was not; a plan on fresh seeds holds "
        f"(replicate --until decided --first-seed {first_fresh_seed(plans)})."
    ]


def ended_seeds(store: Store, plan: PlanRow, rows: Sequence[CellRow]) -> tuple[int, ...]:
    """The plan's first seeds of which nothing more is to come: those of the looks that were made, and what ended since.

    A look that nobody has made is not made by whoever reads the rows in between.
    """
    ends, made = look_ends(plan), store.looks(plan.plan_hash)
    there = {(row.seed, row.scorer, row.sparsity) for row in rows}
    there |= {(row.seed, row.scorer, row.sparsity) for row in store.failures() if row.kind == "cell"}
    counted = ends[len(made) - 1] if made else 0
    most = ends[len(made)] - 1 if len(made) < len(ends) else counted
    while counted < most and all((plan.seeds[counted], name, S) in there for name in plan.scorers for S in plan.sparsities):
        counted += 1
    return tuple(plan.seeds[:counted])


def missing_of_looks(store: Store, plan: PlanRow, rows: Sequence[CellRow]) -> list[str]:
    """Say how many cells of the looks that were made are missing; those of later looks were not asked for yet."""
    made = store.looks(plan.plan_hash)
    end = made[-1].n if made else 0
    asked = {(seed, name, s) for seed in plan.seeds[:end] for name in plan.scorers for s in plan.sparsities}
    missing = len(asked - {(row.seed, row.scorer, row.sparsity) for row in rows})
    return (
        [f"{missing} of {plural(len(asked), 'cell')} of the looks that were made {'is' if missing == 1 else 'are'} not there."]
        if missing
        else []
    )
