"""The tables of what comes next: what would settle the lines that are open, and how far each scorer can prune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.looks import LooksInfo
from sics_analysis.report.tables.table import (
    Column,
    ReportTable,
    TableCell,
    count,
    named,
    num,
    of_document,
    p_column,
    sparsity,
    table,
)
from sics_analysis.report.words.phrases import NONE, decimals, minutes, number, percent, practical, seeds_cell, seeds_key
from sics_analysis.report.words.plans import to_close
from sics_analysis.results import HowFar, HowFarStep, NextStep


def _share(value: float | None) -> str:
    return percent(value, 0)


def _seeds(value: int | None) -> TableCell:
    return TableCell(seeds_cell(value), value)


#: What of it fits beside each other in a terminal.
NARROW = ("S", "scorer", "n", "diff.", "settles", "seeds", "range", "new images", "min")


@of_document
def next_steps(document: ReportDocument) -> ReportTable:
    """A row a line without a strong verdict: what would settle it."""
    found = steps_table(document.next_steps, document.source.seconds, fresh=document.looks is not None)
    delta = f"at δ = {document.settings.delta:g}"
    caption = found.caption.replace("a chance of 80 %", f"a chance of 80 % {delta}")
    absent = found.absent if document.looks is None else _of_looks(document.looks)
    return replace(found, caption=caption, absent=f"{to_close(document)} {absent}".lstrip())


def _of_looks(info: LooksInfo) -> str:
    """Why a report of looks has no such rows."""
    if info.over:
        return "The plan of looks is at its end: what is open takes a plan on fresh seeds."
    return "Under a plan of looks its next look is next: table Looks."


def steps_table(steps: Sequence[NextStep], seconds: float | None, *, fresh: bool = False) -> ReportTable:
    """The same of steps by themselves, where a seed takes so many seconds; `fresh` seeds are run beside those of now."""

    def time(step: NextStep) -> TableCell:
        value = minutes(seconds, step.seeds, 0 if fresh else step.n) if practical(step.seeds) else None
        return TableCell(NONE if value is None else f"{value:.0f}" if value >= 1 else "<1", value)

    def span(step: NextStep) -> TableCell:
        low, high = seeds_cell(step.seeds_low), seeds_cell(step.seeds_high)
        text = f"{low} to {high}" if practical(step.seeds_low) else low
        text = NONE if step.seeds is None or step.exact else text
        return TableCell(text, step.seeds_low)

    def both(step: NextStep) -> TableCell:
        text = f"{step.both_seeds} × {step.both_images}" if practical(step.both_seeds) else seeds_cell(step.both_seeds)
        return TableCell(NONE if step.both_seeds is None else text, step.both_seeds)

    columns: tuple[Column[NextStep], ...] = (
        Column("S", "S", lambda step: sparsity(step.sparsity)),
        Column("Scorer", "scorer", lambda step: named(step.scorer), left=True),
        Column("n", "n", lambda step: count(step.n), "seeds of now"),
        Column("Difference", "diff.", lambda step: num(step.mean)),
        Column("Planned with", "planned", lambda step: num(step.planned), "drawn towards 0 by its uncertainty"),
        Column("sd", "sd", lambda step: num(step.sd, decimals), "between seeds"),
        Column("Would settle it", "settles", lambda step: TableCell(step.verdict, step.verdict), left=True),
        Column("Seeds", "seeds", lambda step: _seeds(step.seeds), "for a chance of 80 %"),
        Column("Range", "range", span, "by the uncertainty of the sd"),
        Column("Points to", "points to", lambda step: TableCell(step.goal, step.goal), left=True),
        Column("Its seeds", "its seeds", lambda step: _seeds(step.goal_seeds)),
        Column("Images' part", "images", lambda step: num(step.image_share, _share), "of the variance over new images"),
        Column("For new images", "new images", both, "seeds × test images that show it"),
        Column("Minutes", "min", time, "more, on one worker of this machine"),
    )  # fmt: skip
    caption = (
        "Seeds that show a verdict with a chance of 80 %, for the true difference planned with: the estimate m drawn towards 0, "
        "m·max(0, 1 − se²/m²). A line that crosses both bounds is settled by the half of equivalence its estimate points to; the "
        "strong verdict stands beside it."
    )
    key = seeds_key(value for step in steps for value in (step.seeds, step.goal_seeds))
    if any(step.exact for step in steps):
        caption += " Equal differences and two adjacent counts are planned by the exact test that judges them, without a range."
    caption = f"{caption} {key}".rstrip()
    absent = "No line is left that more seeds could settle."
    return table("next", "What to do next", caption, columns, steps, absent)


@of_document
def how_far(document: ReportDocument) -> ReportTable:
    """A row a scorer and S of the sequences against the dense network."""
    items = [(found, step) for found in document.how_far for step in found.steps]
    columns: tuple[Column[tuple[HowFar, HowFarStep]], ...] = (
        Column("Scorer", "scorer", lambda item: named(item[0].scorer), left=True),
        Column("S", "S", lambda item: sparsity(item[1].sparsity)),
        Column("n", "n", lambda item: count(item[1].n), "complete seeds"),
        Column("Difference", "diff.", lambda item: num(item[1].mean), "to the dense network"),
        Column("Bound", "bound", lambda item: num(item[1].bound, number), "towards worse, one-sided, at the scorer's level"),
        p_column("p", "p", lambda item: item[1].p, "of not worse by δ"),
        Column("Level", "level", lambda item: num(item[0].level, lambda x: NONE if x is None else f"{x:.3g}"), "of each test"),
        Column("Claimed", "claimed", lambda item: _passed(item[1].passed), "over all scorers", left=True),
        Column("By itself", "alone", lambda item: _passed(item[1].alone), left=True),
    )
    caption = (
        f"Each scorer against the dense network, from the lowest S up: not worse by {document.settings.delta:g} points, at the "
        "scorer's level, until the first S that is not shown. α is divided over the scorers, and one whose every S passes hands "
        "its share on. A value of S without seeds is left out."
    )
    absent = "Asked with --reference dense, of rows that hold the dense network (S = 0)."
    return table("far", "How far can I prune?", caption, columns, items, absent)


def _passed(value: bool) -> TableCell:
    return TableCell("yes" if value else "no", str(value), glyph="✓" if value else "")
