"""`sics-run map`: which scorers are the plateau, which left it, and whether the pool took them there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sics_cli.base.errors import ConfigError
from sics_cli.base.files import written_for
from sics_cli.commands.options import ANY_MARGIN, LEVEL, ending

if TYPE_CHECKING:
    from rich.console import Console

    from sics_analysis.study.plateau_map import PlateauMap

_ENDINGS = (".pdf", ".png")


@click.command(name="map")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--delta", type=ANY_MARGIN, metavar="UNITS", help="Equivalence margin.  [default: the first run's plan, else 0.5]")
@click.option("--alpha", type=LEVEL, help="Error rate of the tests.  [default: the first run's plan, else 0.05]")
@click.option("--across-devices", is_flag=True, help="Pair rows that were evaluated on different devices.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="The figure, as .pdf and .png.")
def plateau_map(
    runs: tuple[Path, ...], delta: float | None, alpha: float | None, across_devices: bool, output: Path | None
) -> None:
    """Place every scorer of one or several RUNs (folders, or their stores) by mask overlap and accuracy at each sparsity.

    Several runs of other pools, on the same dense networks, show what the pool does: magnitude in each pool against magnitude
    in the first RUN's.
    """
    from sics_analysis.report.layouts.terminal import terminal
    from sics_analysis.results import written_with
    from sics_cli.results.plateau_map import map_runs

    if output is not None and output.suffix not in _ENDINGS:
        raise ConfigError(f"--output {output}: {ending(output, _ENDINGS)}; both are written")
    found = map_runs(runs, delta, alpha, across_devices=across_devices)
    with written_with(found.metric.digits(found.delta)):
        _print(terminal(), found)
    if output is not None:
        _draw(found, output)


def _draw(found: PlateauMap, output: Path) -> None:
    from sics_analysis.report.figures.plateau_map import save_plateau_map
    from sics_analysis.results import written_with

    with written_for("--output", output), written_with(found.metric.digits(found.delta)):
        output.parent.mkdir(parents=True, exist_ok=True)
        written = save_plateau_map(found, output.with_suffix(""))
    if not written:
        raise ConfigError("nothing to draw: no row has an overlap with magnitude's mask")
    click.echo(f"written to {' and '.join(map(str, written))}", err=True)


def _print(out: Console, found: PlateauMap) -> None:
    from rich.text import Text

    from sics_analysis.report.layouts.terminal_tables import fold, marked, plain_table
    from sics_analysis.report.words.phrases import NONE, number, plain
    from sics_cli.console.tables import kappa_text, paragraph

    several = len(found.runs) > 1
    for i, run in enumerate(found.runs if several else ()):
        out.print(Text(f"{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[i % 26]}  {plain(run)}"))
    for sparsity in found.sparsities:
        out.print()
        out.print(Text(f"S = {sparsity:g}", style="bold"))
        right = [(heading, "right") for heading in ("overlap", "feature", *(["total"] if several else []), "n")]
        table = plain_table("scorer", "κ", *(["run"] if several else []), *right, "in its run", gap=1)
        here = found.at(sparsity)
        names = list(dict.fromkeys(point.scorer for point in here))
        fold(table, 0, names)
        for name in names:
            for point in (one for one in here if one.scorer == name):
                table.add_row(
                    Text(plain(name)),
                    kappa_text(point.kappa, point.role),
                    *(["ABCDEFGHIJKLMNOPQRSTUVWXYZ"[found.runs.index(point.run) % 26]] if several else []),
                    NONE if point.overlap is None else f"{point.overlap:.3f}",
                    number(found.read(point.feature)),
                    *([number(found.read(point.total))] if several else []),
                    str(point.n),
                    marked(str(point.verdict)),
                )
        out.print(table)
        for sentence in found.describe(sparsity):
            paragraph(out, plain(sentence), 2, 4)
    out.print()
    note = (
        f"overlap: Jaccard of the kept units with magnitude's in the same run, mean over seeds. feature: {found.metric.unit} "
        f"against magnitude in the same run, with its verdict at δ = {found.delta:g}."
    )
    if found.metric.lower_is_better:
        note += f" Less {found.metric.name} is better, so that ESCAPES is below it."
    if several:
        note += (
            " total: against magnitude in A, at the seeds that pruned the same dense network; total less feature is the pool's."
        )
    paragraph(out, note, style="dim")
    paragraph(out, plain(_adjusted(found)), style="dim")


def _adjusted(found: PlateauMap) -> str:
    """What the verdicts are adjusted for, and what is left when they are adjusted for everything shown."""
    overall = found.overall()
    what = "run and S" if len(found.runs) > 1 else "S"
    beyond = "sparsities, runs or scorers" if len(found.runs) > 1 else "sparsities or scorers"
    own = " and the pool alone" if len(found.runs) > 1 else ""
    names = "; ".join(
        f"{word} {', '.join(stands) or 'none'}" for word, stands in (("ESCAPES", overall.above), ("DEGRADES", overall.below))
    )
    return (
        f"adjusted: the verdicts of the classes of κ ≥ 1 together within each {what}; those of κ = 0, controls, baselines, "
        f"peers{own} each for itself; nothing over {beyond}. What stands of all {overall.tests} tests here as one "
        f"family (Holm, α = {found.alpha:g} a direction): {names}."
    )
