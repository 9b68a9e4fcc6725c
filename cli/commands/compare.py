"""`sics-run compare`: one run against another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sics_cli.base.errors import ConfigError
from sics_cli.commands.options import ANY_MARGIN, LEVEL

if TYPE_CHECKING:
    from rich.console import Console

    from sics_analysis.results import Metric
    from sics_cli.results.compare_runs import ComparedLine, RunRows


@click.command()
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--delta", type=ANY_MARGIN, metavar="UNITS", help="Equivalence margin.  [default: the plans', else 0.5 points]")
@click.option("--alpha", type=LEVEL, help="Error rate of the tests.  [default: the plans', else 0.05]")
@click.option("--across-devices", is_flag=True, help="Pair rows that were evaluated on different devices.")
def compare(run_a: Path, run_b: Path, delta: float | None, alpha: float | None, across_devices: bool) -> None:
    """Test RUN_A minus RUN_B (folders, or their stores), scorer by scorer at each sparsity.

    Rows pair where seed, scorer and sparsity are the same and both runs pruned the same dense checkpoint; the rest is
    refused, with the reason. Exit code 2: nothing can be paired.
    """
    from sics_analysis.one_scorer.bootstrap import SMALL_N, coverage_caveat
    from sics_analysis.report.layouts.terminal import terminal
    from sics_analysis.results import ACCURACY, written_with
    from sics_cli.console.verdict_tables import paragraph
    from sics_cli.experiment.recipe import differences
    from sics_cli.results.compare_runs import compare_pairs, pair, read_rows

    a, b = read_rows(run_a), read_rows(run_b)
    pairs = pair(a, b, across_devices=across_devices)
    metric = pairs.metric
    default = None if metric.unit != ACCURACY.unit else 0.5
    settled = [_agreed("delta", delta, a.delta, b.delta, default), _agreed("alpha", alpha, a.alpha, b.alpha, 0.05)]
    if metric.is_accuracy and settled[0] >= metric.scale:
        raise ConfigError(f"--delta {settled[0]:g}: is not accepted: give points above 0 and below 100")
    lines = compare_pairs(pairs, *settled)
    out = terminal()
    changes = differences(a.recipe, b.recipe)
    paragraph(out, f"A  {run_a}, run {a.run_id[:16]}")
    paragraph(out, f"B  {run_b}, run {b.run_id[:16]}")
    differs = "What differs: " + "; ".join(changes) if changes else "One recipe: what differs is the code or the machine"
    paragraph(out, f"{differs}.")
    seeds = sorted({one.seed for one, _ in pairs.pairs})
    margins = f"δ = {settled[0]:g} {metric.short}, α = {settled[1]:g}{_fixed(settled, a, b)}"
    paragraph(out, f"{len(pairs.pairs)} pairs of rows, {len(seeds)} seeds ({', '.join(map(str, seeds))}); {margins}")
    for name, run in (("A", a), ("B", b)):
        for remark in run.remarks:
            paragraph(out, f"{name}: {remark}", style="yellow")
    for reason in pairs.refused:
        paragraph(out, f"not paired: {reason}", style="yellow")
    with written_with(metric.digits(settled[0])):
        for sparsity in sorted({line.contrast.sparsity or 0.0 for line in lines}):
            _print_sparsity(out, sparsity, [line for line in lines if line.contrast.sparsity == sparsity], metric)
    out.print()
    better = "; less is better, so that ESCAPES is A below B" if metric.lower_is_better else ""
    sides = ("below", "above") if metric.lower_is_better else ("above", "below")
    paragraph(
        out,
        f"A − B in {metric.unit} at the same seed{better}. p =: equivalence within ±δ (paired t-TOST). p A>B, p A<B: one-sided "
        "against 0, adjusted over the scorers of this S (rotation max-T; Holm where they miss different seeds). ESCAPES, "
        f"DEGRADES: A {sides[0]} B by more than δ, {sides[1]} by more, adjusted likewise. NONINFERIOR, NONSUPERIOR: A not worse "
        "than B by δ, not better by it, one half of the equivalence test alone, unadjusted as EQUIVALENT is. Smallest attainable "
        f"p of an exact sign-flip test: {_attainable(lines)}. "
        f"{coverage_caveat(SMALL_N)}",  # no bootstrap here: of its caveat only what holds at any n
        style="dim",
    )


def _agreed(name: str, given: float | None, a: float | None, b: float | None, default: float | None) -> float:
    if given is not None:
        return given
    if a is not None and b is not None and a != b:
        raise ConfigError(f"--{name}: the plans of the two runs have {a:g} and {b:g}: give one")
    found = next((value for value in (a, b, default) if value is not None), None)
    if found is None:
        raise ConfigError(f"--{name}: is needed: neither run has a plan, and half a point is a default for accuracies alone")
    return found


def _fixed(settled: Sequence[float], a: RunRows, b: RunRows) -> str:
    """Whether margin and level were fixed before the data: only where both plans have them."""
    from sics_cli.experiment.cells import CHANGED

    if None in (a.delta, a.alpha, b.delta, b.alpha):
        return ". STAMPED: not fixed by a plan in both runs"
    planned = all([run.delta, run.alpha] == [*settled] for run in (a, b))
    return ", as both plans have them" if planned else f". STAMPED: {CHANGED}"


def _attainable(lines: Sequence[ComparedLine]) -> str:
    return ", ".join(f"{0.5**n:.3g} with {n} seeds" for n in sorted({line.contrast.n for line in lines}))


def _print_sparsity(out: Console, sparsity: float, lines: Sequence[ComparedLine], metric: Metric) -> None:
    from rich.text import Text

    from sics_analysis.report.layouts.terminal_tables import fold, marked, plain_table
    from sics_analysis.report.words.phrases import interval, number, p_short, plain
    from sics_analysis.study.told import told
    from sics_cli.console.verdict_tables import paragraph

    names = [line.contrast.name for line in lines]
    out.print()
    out.print(Text(f"S = {sparsity:g}", style="bold"))
    right = [(heading, "right") for heading in ("n", "A − B", "90 % interval", "p =", "p A>B", "p A<B")]
    table = plain_table("scorer", *right, "verdict", gap=1)
    fold(table, 0, names)
    reasons: dict[str, list[str]] = {}
    for line in lines:
        if str(line.decision.verdict) == "INCONCLUSIVE":
            reasons.setdefault(told(line.decision.reason, metric, names), []).append(line.contrast.name)
        mean, above, below = line.contrast.mean, line.p_above, line.p_below
        if metric.lower_is_better:
            mean, above, below = None if mean is None else metric.turned(mean), below, above
        table.add_row(
            Text(plain(line.contrast.name)),
            str(line.contrast.n),
            number(mean),
            interval(metric.turned_interval(line.contrast.t_interval(0.90))),
            p_short(line.equivalence.p),
            p_short(above),
            p_short(below),
            marked(str(line.decision.verdict)),
        )
    out.print(table)
    for reason, undecided in reasons.items():
        paragraph(out, f"undecided, {reason}: {', '.join(undecided)}", 2, 4)
