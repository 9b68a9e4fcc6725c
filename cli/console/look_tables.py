"""Looks of a run, for people: those that are planned, and those that were made."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from sics_analysis.results import plural
from sics_cli.console import tables
from sics_cli.console.progress_bars import clock
from sics_cli.experiment.cells import Grid, by_seed
from sics_cli.experiment.cost import Cost, estimate
from sics_cli.experiment.look_plan import look_plan_of
from sics_cli.runs.looks import first_fresh_seed, look_ends, look_line, looks_text
from sics_cli.runs.session import Session
from sics_cli.store.rows import LookRow, PlanRow
from sics_cli.store.store import Store


def print_looks(out: Console, session: Session, grid: Grid, workers: int) -> None:
    """The looks of a run that is planned: their seeds, what α is spent by then, and what they cost on so many workers."""
    plan = session.plan
    looks = look_plan_of(plan)
    if looks is None:
        return
    tables.paragraph(out, f"{looks_text(plan)}; α = {plan.alpha:g} over all looks together", 0, 2)
    cost, seeds = run_cost(session, workers), by_seed(grid.missing())
    source = "" if cost is None else f" ({cost.source})"
    begin, seconds = 0, 0.0
    for number, end in enumerate(looks.looks, 1):
        own = plan.seeds[begin:end]
        cells = [cell for seed in own for cell in seeds.get(seed, ())]
        busy = [seed for seed in own if seed in seeds]
        parts = [f"look {number}: {tables.seed_text(own)}", f"{plural(len(cells), 'cell')} to compute"]
        if cost is not None:
            each = [cost.of_cells(seeds[seed]) for seed in busy]
            seconds += sum(each) / min(workers, len(each)) if each else 0.0
            parts.append(f"about {clock(seconds)} until then{source}")
        parts.append(f"{looks.spent(end):.4g} of {plan.alpha:g} spent")
        tables.paragraph(out, "; ".join(parts), 0, 2)
        begin, source = end, ""


def run_cost(session: Session, workers: int) -> Cost | None:
    """What a seed takes where so many workers share the cards of this machine, measured if one is there."""
    at_once = -(-min(workers, len(session.experiment.seeds)) // len(session.cards)) if session.cards else 1
    if not session.store_path.exists():
        return estimate(session.recipe, at_once=at_once)
    with Store.open(session.store_path, read_only=True) as store:
        return estimate(session.recipe, store.checkpoints(), store.cells(), at_once)


def print_made(out: Console, plan: PlanRow, made: Sequence[LookRow]) -> None:
    """The looks of a plan: those that were made, the next, and what of its targets is decided."""
    ends, text = look_ends(plan), looks_text(plan)
    tables.fact(out, "looks", f"{text.removeprefix('looks ')}; {len(made)} of {len(ends)} made")
    for look in made:
        tables.fact(out, "", look_line(look, plan))
        if look.verdicts:
            tables.fact(out, "", f"decided there: {_verdicts(look)}")
    for target, how in made[-1].targets.items() if made else ():
        tables.fact(out, "", f"{target}: {how or 'open'}")
    if not made:
        tables.fact(out, "", f"next look at {ends[0]} seeds")


def _verdicts(look: LookRow) -> str:
    """The verdicts that a look gave, those of one word together."""
    words = dict.fromkeys(look.verdicts.values())
    return "; ".join(f"{word} {', '.join(place for place, one in look.verdicts.items() if one == word)}" for word in words)


def fresh_seeds(plans: Sequence[PlanRow]) -> str:
    """What would hold after another plan on seeds that were looked at; "" where no plan looks."""
    if all(plan.looks is None for plan in plans):
        return ""
    first = first_fresh_seed(plans)
    return f": errors held over looks take seeds that nobody has analysed, such as those from --first-seed {first} on"
