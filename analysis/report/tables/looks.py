"""The tables of a run whose seeds are looked at more than once: what the looks showed of each line, and what looking costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sics_analysis.looks.outcome import LineLook, LineLooks
from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import LineInfo
from sics_analysis.report.document.looks import LookChance, LooksInfo
from sics_analysis.report.tables.table import (
    Column,
    ReportTable,
    TableCell,
    count,
    limits,
    named,
    num,
    of_document,
    p_column,
    sparsity,
    table,
    verdict,
)
from sics_analysis.report.words.phrases import NONE, decimals, level_text, p_short, percent
from sics_analysis.results import plural

#: What of it fits beside each other in a terminal.
NARROW = ("S", "scorer", "verdict", "look", "n", "diff.", "95 % RCI", "chance")
_ABSENT = "A fixed number of seeds: there are no looks."


#: Where seeds were run that no look has counted yet, or that lie past the maximum: nothing is tested with them.
_OF_ALL_RUN: tuple[Column[LineLooks], ...] = (
    Column("Run", "run", lambda item: count(item.n_run), "seeds, counted or not"),
    Column("Of all run", "of all run", lambda item: num(item.mean_run), "the difference, untested"),
)


#: Where lines have failed seeds, and so levels of their own.
_SPENT: Column[LineLooks] = Column(
    "Spent", "spent", lambda item: TableCell(level_text(item.spent), item.spent), "of α, by the line's own seeds"
)


@of_document
def looks(document: ReportDocument) -> ReportTable:
    """A row a line: its verdict and the look that gave it, its estimate of now, and what is left to hope for."""
    info = document.looks
    if info is None:
        return table("looks", "Looks", "", (), (), _ABSENT)
    by_place = {(line.scorer, line.sparsity): line for line in document.lines}
    planned = len(info.plan.looks)

    def line(item: LineLooks) -> LineInfo:
        return by_place[item.scorer, item.sparsity]

    def word(item: LineLooks) -> TableCell:
        return verdict(item.verdict, line(item).sentence, document.flagged(item.scorer, item.sparsity))

    def look(item: LineLooks) -> TableCell:
        return TableCell(NONE if item.decided is None else str(item.decided), item.decided)

    def then(item: LineLooks) -> TableCell:
        return num(None if item.deciding is None else item.deciding.mean)

    def against(p: str, level: str) -> Callable[[LineLooks], TableCell]:
        def cell(item: LineLooks) -> TableCell:
            last = _last(item)
            value, least = (None, None) if last is None else (getattr(last, p), getattr(last, level))
            if value is None or least is None:
                return TableCell(NONE)
            return TableCell(f"{p_short(value)} {'≤' if value <= least else '>'} {level_text(least)}", value)

        return cell

    hope = f"of EQUIVALENT, ESCAPES or DEGRADES by {info.plan.n_max} seeds, if open"
    chance: Column[LineLooks] = Column("Chance", "chance", _chance, hope, left=True)
    columns: tuple[Column[LineLooks], ...] = (
        Column("S", "S", lambda item: sparsity(item.sparsity)),
        Column("Scorer", "scorer", lambda item: named(item.scorer), left=True),
        Column("Verdict", "verdict", word, left=True),
        Column("At look", "look", look, f"of {planned}, that gave the verdict"),
        Column("Then", "then", then, "the difference at that look"),
        Column("n", "n", lambda item: count(line(item).n), "complete seeds of now"),
        Column("Difference", "diff.", lambda item: num(line(item).mean), "of all these seeds"),
        chance,
        Column("90 % RCI", "", lambda item: limits(line(item).ci90, line(item).mean), "repeated interval"),
        Column("95 % RCI", "95 % RCI", lambda item: limits(line(item).ci95, line(item).mean), "repeated interval"),
        p_column("p equal", "p", lambda item: line(item).p_equivalence, "sequential"),
        p_column("p up", "p up", lambda item: line(item).p_escape_adjusted, "sequential; adjusted in a family"),
        p_column("p down", "p down", lambda item: line(item).p_degrade_adjusted, "sequential; adjusted in a family"),
        Column("Equal now", "", against("p_equivalence", "level"), "p of the last look, its level"),
        Column("Up now", "", against("p_escape", "level_escape"), "p of the last look, its level"),
        Column("Down now", "", against("p_degrade", "level_degrade"), "p of the last look, its level"),
        *(_OF_ALL_RUN if any(item.n_run != line(item).n for item in info.lines) else ()),
        *([_SPENT] if len({item.spent for item in info.lines}) > 1 else []),
    )  # fmt: skip
    caption = (
        f"{info.plan.describe()} {_made(info)} A verdict is kept from the look that gave it; the estimate goes on, and one at an "
        "early stop is too large on average. RCI: repeated confidence intervals, which hold at all looks together; a line is "
        "EQUIVALENT once the one at 90 % lies inside ±δ. A sequential p is the smallest α over all looks at which the line would "
        "have been shown by now."
    )
    if info.hopeless:
        caption += (
            f" Hopeless: the chance is below {percent(info.plan.futility, 0)}. Such a line is tested on all the same, and stays "
            "counted in its family."
        )
    return table("looks", "Looks", caption, columns, info.lines, _ABSENT)


def _made(info: LooksInfo) -> str:
    return f"{info.made} of {plural(len(info.plan.looks), 'look')} {'is' if info.made == 1 else 'are'} made."


def _last(item: LineLooks) -> LineLook | None:
    """The last look that brought the line a seed."""
    return next((look for look in reversed(item.looks) if look.level is not None), None)


def _chance(item: LineLooks) -> TableCell:
    last = _last(item)
    chance = None if last is None or item.settled else last.chance
    if chance is None:
        return TableCell(NONE)
    shown = "<1 %" if chance < 0.005 else percent(chance, 0)
    return TableCell(f"{shown}, hopeless" if item.hopeless else shown, chance)


@of_document
def price(document: ReportDocument) -> ReportTable:
    """A row a planned look: α spent, the level, and the chances beside those of a fixed number of seeds."""
    info = document.looks
    rows: Iterable[LookChance] = () if info is None else info.chances
    made = 0 if info is None else info.n
    columns: tuple[Column[LookChance], ...] = (
        Column("Seeds", "seeds", lambda row: count(row.n)),
        Column("Made", "made", lambda row: TableCell("yes" if row.n <= made else NONE), left=True),
        Column("α spent", "α spent", lambda row: TableCell(level_text(row.spent), row.spent), "by then"),
        Column("Level", "level", lambda row: TableCell(level_text(row.level), row.level), "of a single line at this look"),
        _share("Escape found", "escape", lambda row: row.escape, "by then"),
        _share("Fixed", "fixed", lambda row: row.fixed_escape, "with as many seeds, tested once"),
        _share("Equality shown", "equal", lambda row: row.equivalence, "by then"),
        _share("Fixed, equal", "fixed, equal", lambda row: row.fixed_equivalence, "with as many seeds, tested once"),
    )
    caption = ""
    if info is not None and info.sd is not None:
        caption = (
            f"Chances where differences spread by sd = {decimals(info.sd)} points, the median here: of finding a true escape of "
            f"{info.effect:g} point{'s' * (info.effect != 1)} in a family of {info.family}, and of showing a true equality. A "
            "fixed number of seeds, named beforehand and tested once, shows more at that number; a plan of looks goes on where "
            "it was too small."
        )
    return table("price", "What looking costs", caption, columns, rows, _ABSENT)


def _share(heading: str, short: str, value: Callable[[LookChance], float | None], hint: str) -> Column[LookChance]:
    return Column(heading, short, lambda row: num(value(row), lambda found: percent(found, 0)), hint)


#: What stands in a report where one of a fixed number of seeds says what more of them would settle.
OF_LOOKS = (looks, price)
