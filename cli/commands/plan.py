"""`sics-run plan`: how many seeds a verdict takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sics_analysis.results import plural
from sics_cli.base.errors import ConfigError
from sics_cli.commands.options import (
    ANY_MARGIN,
    ANY_POINTS,
    COUNT,
    LEVEL,
    MARGIN,
    POINTS,
    PROBABILITY,
    Number,
    given_of,
    read_options,
    table_options,
    tell_assumed,
)

if TYPE_CHECKING:
    from rich.console import Console

    from sics_analysis.planning.plan import Plan
    from sics_analysis.report.document.document import ReportDocument
    from sics_cli.results.source import Settings
    from sics_cli.results.tables import Reading

DEFAULT_SEEDS, DEFAULT_POWER, DEFAULT_FAMILY = 5, 0.8, 5
FIRST = 5  # seeds of the first look of a plan of looks
MOST_LOOKED = 1_000
MAX_SEEDS = Number(f"a whole number from {FIRST} to {MOST_LOOKED}", lambda n: FIRST <= n <= MOST_LOOKED, int)
SHOWN = 6  # looks in a table
SHARE = 0.8  # of the lines, which a run is planned to settle
CURVE = (3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 40)
#: Without a pilot: standard deviations shown, in units of delta.
_UNKNOWN = (0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Spread:
    """A standard deviation to plan with, in points, and what it stands for."""

    label: str
    sd: float
    family: int = DEFAULT_FAMILY


@click.command()
@click.option("--sd", type=MARGIN, metavar="POINTS", help="Sd between seeds of the paired differences, from a pilot.")
@click.option(
    "--from", "pilots", type=click.Path(path_type=Path), multiple=True, metavar="RUN|FILE|reference:NAME",
    help="Rows to take the sd of each S from, read as report reads them; several tables are one.",
)  # fmt: skip
@click.option("--seeds", type=COUNT, metavar="N", help="Seeds of the plan.  [default: those of --from, else 5]")
@click.option("--delta", type=ANY_MARGIN, metavar="POINTS", help="Equivalence margin, in --unit.  [default: of --from, else 0.5]")
@click.option("--alpha", type=LEVEL, help="Error rate of the tests.  [default: that of --from, else 0.05]")
@click.option("--reference", metavar="SCORER", help="Reference in --from.  [default: the plan's, else magnitude]")
@click.option("--power", type=PROBABILITY, help="Chance of a verdict to aim at.  [default: 0.8]")
@click.option("--difference", type=ANY_POINTS, metavar="POINTS", help="True difference of an escape.  [default: 2 delta]")
@click.option(
    "--max-seeds", type=MAX_SEEDS, metavar="N", help="Also what looks at 5, 8, 12, ... up to N seeds decide, and by which."
)
@click.option("--family", type=COUNT, metavar="N", help="Scorers tested together.  [default: those of --from, else 5]")
@table_options
def plan(
    sd: float | None,
    pilots: tuple[Path, ...],
    seeds: int | None,
    delta: float | None,
    alpha: float | None,
    reference: str | None,
    power: float | None,
    difference: float | None,
    family: int | None,
    max_seeds: int | None,
    **table: Any,
) -> None:
    """Show the power of the equivalence and escape tests, the seeds needed, and the smallest attainable p.

    The sd that counts is that of the differences to the reference at the same seed. Without --sd and --from, several
    are shown.
    """
    if sd is not None and pilots:
        raise ConfigError("--sd and --from: give one of them, both say what the sd is")
    reading = read_options(delta, **table)
    if not pilots:
        if reference is not None:
            raise ConfigError(f"--reference {reference!r}: says what --from is compared to; give --from, or leave it out")
        for name in given_of(table):
            raise ConfigError(f"--{name}: says how --from is read; give --from, or leave it out")
        for number, option, accepts in ((delta, "--delta", MARGIN), (difference, "--difference", POINTS)):
            if number is not None and not accepts.accepts(number):
                raise ConfigError(f"{option} {number:g}: is not accepted: give {accepts.what}")
    from sics_analysis.planning.outlook import family_spreads
    from sics_analysis.planning.plan import plan as make_plan
    from sics_cli.results.source import InputError, Settings

    document: ReportDocument | None = None
    settings = Settings().replaced(delta, alpha, reference)
    if pilots:
        document, settings = _document(pilots, reading, alpha, reference, power)
        measured = family_spreads(document.lines)
        if not measured and document.next_steps:
            _show_exact(document, power or DEFAULT_POWER)
            return
        if not measured:
            raise InputError(
                f"{document.source.title}: has no sd to plan with: it takes two seeds of {settings.reference} and of another "
                f"scorer"
            )
        spreads = [
            Spread("all rows" if document.one_pool else "all S" if s.sparsity is None else f"S = {s.sparsity:g}", s.sd, s.family)
            for s in measured
            if s.sparsity is None or not document.one_pool
        ]
        seeds = seeds or max(measured[0].n, 3)
        if difference is not None:
            difference = document.metric.turned(reading.asked.in_unit_of(document.metric, difference))
    elif sd is not None:
        spreads = [Spread("given", sd)]
    else:
        spreads = [Spread(f"{part:g} δ", part * settings.delta) for part in _UNKNOWN]
    n = seeds or DEFAULT_SEEDS
    if n < 3:
        raise ConfigError(f"--seeds {n}: is not accepted: give at least 3, below which there is no test")
    effect = 2 * settings.delta if difference is None else difference
    plans = [
        make_plan(
            n,
            spread.sd,
            delta=settings.delta,
            alpha=settings.alpha,
            escape_difference=effect,
            family=family or spread.family,
            power=power or DEFAULT_POWER,
            max_n=max(CURVE),
            max_seeds=max_seeds,
        )
        for spread in spreads
    ]
    from sics_analysis.report.layouts.terminal import terminal
    from sics_analysis.results import ACCURACY, written_with

    out = terminal()
    metric = document.metric if document is not None else ACCURACY
    with written_with(metric.digits(settings.delta)):
        _print(out, spreads, plans, document)
        if max_seeds is not None:
            _print_looks(out, spreads, plans, document, max_seeds)
        if document is not None:
            _print_steps(out, document, power or DEFAULT_POWER)


def _document(
    pilots: Sequence[Path], reading: Reading, alpha: float | None, reference: str | None, power: float | None
) -> tuple[ReportDocument, Settings]:
    """The report of the rows, whose steps are for this chance of a verdict, and the settings of their analysis."""
    from sics_analysis.planning.outlook import next_steps
    from sics_analysis.report.build import build_document
    from sics_analysis.report.document.as_read import as_read
    from sics_cli.results.report import analyse_source, is_document, settings_of
    from sics_cli.results.source import InputError, read_source
    from sics_cli.store.store import shipped

    first, *more = (shipped(pilot) for pilot in pilots)
    if is_document(first):
        raise ConfigError(
            f"--from {first}: is a report, which shows what to do next itself: give the run or table it was made from"
        )
    source = read_source(first, *more, reading=reading)
    tell_assumed(source)
    if source.unpaired or not source.metric.paired:
        raise InputError(f"{source.title}: planning is for paired seeds, and these are unpaired")
    settings = settings_of(source, reading, alpha, reference)
    analysis = analyse_source(source, settings)
    document = build_document(analysis, source.frame, source.origin)
    # A report of looks plans no seeds; once they are at their end, those of another plan are asked for here.
    if power is not None or (document.looks is not None and document.looks.over):
        audible = [line for line in analysis.main_lines if not analysis.below_noise(line.sparsity)]
        names = (*analysis.scorers, analysis.reference)
        steps = next_steps(audible, settings.delta, settings.alpha, power=power or DEFAULT_POWER)
        document = replace(
            document, next_steps=tuple(as_read(step, analysis.metric, names, analysis.sparsities) for step in steps)
        )
    return document.largest, settings


def _print(out: Console, spreads: list[Spread], plans: list[Plan], document: ReportDocument | None) -> None:
    from rich.text import Text

    from sics_analysis.report.words.phrases import seeds_cell, seeds_key
    from sics_analysis.study.told import told
    from sics_cli.console.tables import paragraph, plain_table

    first = plans[0]
    n, target = first.equivalence.n, 100 * first.equivalence_seeds.target
    unit = "points" if document is None else document.metric.short
    title = f"Plan for {plural(n, 'seed')} at δ = {first.equivalence.delta:g} {unit}, α = {first.equivalence.alpha:g}"
    paragraph(out, title, 0, 2, style="bold")
    if document is not None:
        paragraph(out, f"sd from {document.source.title}, {document.source.kind} {document.source.identity[:16]}")
    seeds = f"seeds {target:g} %"
    right = [(heading, "right") for heading in ("sd", "equivalent", seeds, "escape", seeds)]
    table = plain_table("", *right)
    for spread, made in zip(spreads, plans, strict=True):
        table.add_row(
            Text(spread.label),
            f"{spread.sd:.3g}",
            _percent(made.equivalence.power),
            seeds_cell(made.equivalence_seeds.n),
            _percent(made.escape.power),
            seeds_cell(made.escape_seeds.n),
        )
    out.print(table)
    sizes = sorted({made.escape.family for made in plans})
    families = f"{sizes[0]} scorers" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} scorers, those of its S"
    key = (
        f"equivalent: chance that {plural(n, 'seed')} show a scorer of true difference {first.equivalence.difference:g} within "
        f"±{first.equivalence.delta:g}. escape: chance that they show one of true difference {first.escape.difference:+g} above "
        f"+{first.escape.delta:g}, tested with {families} (Holm's first step, a lower bound for max-T). "
        f"{seeds}: the fewest seeds with that chance. sd: of the differences to the reference at the same seed, points."
    )
    if document is not None:
        key += " It is the median over the escape family, itself an estimate: few seeds leave it uncertain."
        key = told(key, document.metric)
    paragraph(out, key, 2, 2, style="dim")
    words = seeds_key(n for made in plans for n in (made.equivalence_seeds.n, made.escape_seeds.n))
    if words:
        paragraph(out, words, 2, 2)
    if len(plans) == 1:
        _print_curve(out, first)
    paragraph(out, first.resolution.describe())


def _show_exact(document: ReportDocument, target: float) -> None:
    """Print the steps of rows whose lines are all constant: no sd, and so no table of powers by one."""
    from sics_analysis.report.layouts.terminal import terminal
    from sics_analysis.results import written_with
    from sics_cli.console.tables import paragraph

    with written_with(document.metric.digits(document.settings.delta)):
        out = terminal()
        paragraph(
            out, f"No line of {document.source.title} has an sd to plan with: each is judged, and planned, by an exact test."
        )
        _print_steps(out, document, target)


def _print_looks(out: Console, spreads: list[Spread], plans: list[Plan], document: ReportDocument | None, max_seeds: int) -> None:
    """Print what a plan of looks has decided by which look, beside fixed designs, and which of the two a run is advised."""
    from rich.text import Text

    from sics_analysis.looks.design import LookPlan
    from sics_analysis.planning.looks import share_plan
    from sics_analysis.planning.outlook import planned_lines
    from sics_cli.console.tables import paragraph, plain_table

    first = plans[0].equivalence
    design = LookPlan(max_seeds, alpha=first.alpha)
    # Of many looks six fit a line, the first and the last among them.
    shown = sorted({round(i * (len(design.looks) - 1) / (SHOWN - 1)) for i in range(SHOWN)})
    by = [(f"by {design.looks[k]}", "right") for k in shown]

    def percents(chances: Sequence[float]) -> list[str]:
        return [f"{100 * chances[k]:.0f} %" for k in shown]

    out.print()
    paragraph(out, f"Looks at {', '.join(map(str, design.looks))} seeds, α = {first.alpha:g} over all of them", style="bold")
    for test, named in ((0, "equivalent"), (1, "escape")):
        table = plain_table(named, *by, ("seeds", "right"))
        for spread, made in zip(spreads, plans, strict=True):
            assert made.looks is not None
            power = made.looks[test]
            table.add_row(Text(spread.label), *percents(power.reached), f"{power.expected:.1f}")
            table.add_row(Text("  fixed", style="dim"), *(Text(text, style="dim") for text in percents(power.fixed)), "")
        out.print(table)
    text = (
        "Chance of the verdict up to each look, and the seeds it takes on average; below it that of a fixed design of as many "
        "seeds, which decides more but is fixed beforehand. Each scorer has its own levels at α over the family (Holm's first "
        "step)."
    )
    paragraph(out, text, 2, 2, style="dim")
    lines = planned_lines(document.lines) if document is not None else []
    if not lines:
        return
    advice = share_plan(lines, design, first.delta, target=SHARE)
    table = plain_table("share settled", *by)
    table.add_row("with looks", *percents(advice.looked))
    table.add_row("fixed", *percents(advice.fixed))
    out.print(table)
    paragraph(out, advice.describe(), style="bold")
    fresh = (
        f"Expected of {len(lines)} lines, were their differences as estimated here and drawn towards 0 by their uncertainty. "
        "The seeds of a fixed run were tested already: a plan of looks takes fresh ones."
    )
    paragraph(out, fresh, 2, 2, style="dim")


def _print_steps(out: Console, document: ReportDocument, target: float) -> None:
    """Print what would settle every line without a strong verdict: the table of the report."""
    from sics_analysis.report.layouts.terminal_tables import NAME_WIDTH, print_table
    from sics_analysis.report.tables.plans import NARROW, next_steps
    from sics_analysis.report.words.phrases import seeds_key
    from sics_analysis.report.words.plans import to_close
    from sics_analysis.report.words.said import in_digits, in_words
    from sics_cli.console.tables import paragraph

    out.print()
    looks = document.looks
    if looks is not None and not (looks.over and document.next_steps):
        _print_what_follows(out, document)
        return
    found = in_digits(next_steps)(document)
    if not found.rows:
        paragraph(out, found.absent)
        return
    first = to_close(document)
    if first:
        paragraph(out, in_words(document, first))
        out.print()
    what = f"What would settle each line that has no strong verdict, with a chance of {100 * target:g} %"
    paragraph(out, f"{what}{'' if looks is None else ', by so many fresh seeds'}", style="bold")
    print_table(out, found.narrow(*NARROW), {"scorer": NAME_WIDTH})
    words = seeds_key(step.seeds for step in document.next_steps)
    if words:
        paragraph(out, in_words(document, words))
    if looks is not None:
        _print_what_follows(out, document)
    elif document.source.command:
        _print_command(out, f"{document.source.command} --seeds N")


def _print_what_follows(out: Console, document: ReportDocument) -> None:
    """Print what comes after the looks that were made, and the command for it, as the report gives both."""
    from sics_analysis.report.words.conclusion import conclusion_of
    from sics_analysis.report.words.plans import next_answer
    from sics_analysis.report.words.said import in_digits, in_words
    from sics_cli.console.tables import paragraph

    command = conclusion_of(document).command
    paragraph(out, in_words(document, in_digits(next_answer)(document).text))
    if command:
        _print_command(out, command)


def _print_command(out: Console, command: str) -> None:
    """Print a command in a line of its own, to be copied."""
    from sics_analysis.report.layouts.terminal_tables import command_line

    out.print("The command:")
    command_line(out, command)


def _print_curve(out: Console, made: Plan) -> None:
    from rich.text import Text

    from sics_cli.console.tables import plain_table

    planned = made.equivalence.n
    table = plain_table(("seeds", "right"), ("equivalent", "right"), ("escape", "right"), ("smallest sign-flip p", "right"), "")
    for n, equivalent, escape in made.curve:
        if n in CURVE or n == planned:
            here = "this plan" if n == planned else ""
            table.add_row(str(n), _percent(equivalent), _percent(escape), f"{0.5**n:.2g}", Text(here, style="bold"))
    out.print()
    out.print(table)


def _percent(chance: float) -> str:
    return f"{100 * chance:.1f} %"
