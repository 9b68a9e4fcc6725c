"""A run that looks: so many seeds, a look at them, and more of them only where it is not decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from sics_analysis.results import plural
from sics_cli.base.hashing import digest
from sics_cli.experiment.cells import Cell
from sics_cli.experiment.provenance import now
from sics_cli.runs.open_run import OpenRun
from sics_cli.settings.until import CLAIMS
from sics_cli.store.rows import CellRow, LookRow, PlanRow
from sics_cli.store.store import Store

#: What a report says where it was not so.
ROWS_CHANGED = "rows of a look changed after it"
#: What is to be decided where no target is named.
EVERY_LINE = "every line of κ ≥ 1"
#: The same as a target of its grammar.
ALL_LINES = "share:1"

#: Kinds of claims that a seed without a result leaves without an answer; what failed may be what speaks against them.
NEED_EVERY_SEED = ("plateau", "noninferior", "nonsuperior")


class Judge(Protocol):
    """Makes a look at the seeds that are there, and says what it decides."""

    def __call__(self, store: Store, plan: PlanRow, number: int) -> LookRow:
        """Make look `number` of the plan, counted from 1, on the rows of its seeds alone."""


def look_and_go_on(
    run: OpenRun,
    plan: PlanRow,
    judge: Judge,
    compute: Callable[[], None],
    *,
    retry_failed: bool,
) -> int:
    """Run the seeds of each look, wait for all of them, look; return when one stops the run, and how many cells were left failed.

    A look that was made on the same rows is not made again. A seed that failed is never replaced, nor tried again, once it was
    looked at: whether it comes back could depend on what was seen. `compute` has `run.todo` computed.
    """
    ends = look_ends(plan)
    made = {look.look: look for look in run.store.looks(plan.plan_hash)}
    seen = ends[max(made) - 1] if made else 0
    again = retry_failed or run.force
    skipped, begin = 0, 0
    for number, end in enumerate(ends, 1):
        missing, left = _missing(run, plan.seeds[begin:end], again and end > seen)
        skipped += left
        run.todo = {cell.key: cell for cell in missing}
        run.look = f"look {number} of {len(ends)}"
        if run.todo or (run.coming and begin == 0):
            compute()
        rows_hash = hash_of_rows(run.store.cells(), plan, end)
        look = made.get(number)
        if look is None or look.rows_hash != rows_hash:
            look = replace(judge(run.store, plan, number), rows_hash=rows_hash)
            if number in made:
                run.reporter.note(f"{run.look}: its rows have changed since it was made; it is made again")
                _stamp_changed(run.store)
            run.store.add_look(look)
        run.reporter.note(look_line(look, plan))
        for text in not_answered(run.store, plan, look):
            run.reporter.note(text)
        if look.stops:
            break
        begin, seen = end, max(seen, end)
    if again and skipped:
        run.reporter.note(f"{skipped} failed cells of seeds that were looked at stay failed: a look's seeds are never replaced")
    return skipped


def _stamp_changed(store: Store) -> None:
    """Keep with the plan that a look was made twice, on different rows: its α was spent on the first ones."""
    last = store.plans()[-1]
    if ROWS_CHANGED not in last.stamp:
        stamps = (*filter(None, [last.stamp]), ROWS_CHANGED)
        store.add_plan(replace(last, created=now(), stamp="; ".join(stamps), cells_before=len(store.cells())))


def not_answered(store: Store, plan: PlanRow, look: LookRow) -> list[str]:
    """Which open targets no look will answer: claims that need every seed of the run, and a scorer of theirs failed at one."""
    from sics_analysis.claims.statement import parse_claim

    rows = [row for row in store.cells() if row.scorer in plan.scorers and row.seed in plan.seeds[: look.n]]
    there, seeds = {(row.seed, row.scorer, row.sparsity) for row in rows}, sorted({row.seed for row in rows})
    kappa = {info["name"]: info["kappa"] for info in (store.meta("scorers") or {}).get("infos", [])}
    alike = [name for name in plan.scorers if kappa.get(name) == 0]
    found = []
    for target, how in look.targets.items():
        if how or target in (EVERY_LINE, CLAIMS) or target.startswith("share:"):
            continue
        claim = parse_claim(target)
        names = alike if claim.kind == "plateau" else [*claim.scorers, plan.reference]
        lacks = [(name, seed) for seed in seeds for name in names for S in claim.sparsities if (seed, name, S) not in there]
        lacks = [(name, seed) for name, seed in lacks if name in plan.scorers]
        if claim.kind in NEED_EVERY_SEED and lacks:
            name, seed = lacks[0]
            found.append(f"{target} stays open: {name} failed at seed {seed}, and this claim needs every seed of the run")
    return found


def first_fresh_seed(plans: Sequence[PlanRow]) -> int:
    """The first seed after all that these plans have."""
    return 1 + max(seed for plan in plans for seed in plan.seeds)


def look_ends(plan: PlanRow) -> list[int]:
    """At how many seeds the plan looks."""
    return [] if plan.looks is None else list(plan.looks["looks"])


def _missing(run: OpenRun, seeds: Sequence[int], retry_failed: bool) -> tuple[list[Cell], int]:
    """What is to be computed of these seeds, and how many cells stay failed."""
    own, state = set(seeds), run.session.state(run.store)
    failed = {cell.key for cell in state.cells if cell.seed in own and cell.key in state.failed}
    missing = [cell for cell in state.missing(force=run.force, retry_failed=True) if cell.seed in own]
    return [cell for cell in missing if retry_failed or cell.key not in failed], 0 if retry_failed else len(failed)


def until_next_look(plan: PlanRow, cells: Sequence[Cell]) -> list[Cell]:
    """Those of the cells that are computed before the first look that needs one of them; all where the plan has no looks."""
    wanted = {cell.seed for cell in cells}
    end = next((end for end in look_ends(plan) if wanted & set(plan.seeds[:end])), len(plan.seeds))
    return [cell for cell in cells if cell.seed in plan.seeds[:end]]


def hash_of_rows(rows: Sequence[CellRow], plan: PlanRow, end: int) -> str:
    """Hash of what a look at the first `end` seeds of the plan is made on."""
    seeds, names, sparsities = set(plan.seeds[:end]), set(plan.scorers), set(plan.sparsities)
    return digest(
        sorted(
            [row.seed, row.scorer, row.sparsity, row.result, row.mask_hash]
            for row in rows
            if row.seed in seeds and row.scorer in names and row.sparsity in sparsities
        )
    )


def changed_looks(store: Store, plan: PlanRow) -> list[LookRow]:
    """The looks of a plan whose rows are not any more those it was made on."""
    rows, ends = store.cells(), look_ends(plan)
    return [look for look in store.looks(plan.plan_hash) if look.rows_hash != hash_of_rows(rows, plan, ends[look.look - 1])]


# -- telling ------------------------------------------------------------------------------------------------------------------


def looks_text(plan: PlanRow) -> str:
    """When a plan looks, and until what."""
    assert plan.looks is not None
    ends = look_ends(plan)
    at = f"looks at {', '.join(map(str, ends[:-1]))} and {ends[-1]} seeds" if len(ends) > 1 else f"one look at {ends[0]} seeds"
    return f"{at} until {until_text(plan.looks['until'])}"


def until_text(targets: Sequence[str]) -> str:
    """What is to be decided, in words."""
    return (
        f"{', '.join(targets)} {'are' if len(targets) > 1 or CLAIMS in targets else 'is'} decided"
        if targets
        else f"{EVERY_LINE} is decided"
    )


def look_line(look: LookRow, plan: PlanRow) -> str:
    """What a look said, in a line."""
    ends = look_ends(plan)
    hopeless = f", {look.hopeless} not expected to be" if look.hopeless else ""
    there = f", targets {sum(map(bool, look.targets.values()))} of {len(look.targets)}"
    targets = "" if EVERY_LINE in look.targets else there
    if not look.stops:
        then = f"next look at {ends[look.look]}"
    else:
        then = "decided: the run stops" if is_decided(look) else "the last look: what is open stays open"
    return (
        f"look {look.look} of {len(ends)}, n = {look.n}: {look.decided} of {plural(look.lines, 'line')} "
        f"decided{hopeless}{targets}; "
        f"{spent_text(look, plan)}; {then}"
    )


def is_decided(look: LookRow) -> bool:
    """Whether all that was asked for is decided."""
    return all(look.targets.values())


def spent_text(look: LookRow, plan: PlanRow) -> str:
    """How much of the plan's α a look has spent by then, as statistics write levels."""
    exact = abs(round(look.spent, 3) - look.spent) < 1e-9
    return f"{look.spent:.{3 if exact else 4}f} of {plan.alpha:g} spent".replace("0.", ".")


def stopped_early(store: Store, plan: PlanRow) -> str:
    """Where a run stands that a person stopped: what is decided by then holds."""
    made, ends = store.looks(plan.plan_hash), look_ends(plan)
    if not made:
        return f"stopped before look 1 of {len(ends)}"
    last = made[-1]
    return f"stopped at look {last.look} of {len(ends)}, {spent_text(last, plan)}: what was decided by then holds"
