"""`sics-run scorers`: what can be compared."""

from __future__ import annotations

import click

from sics_cli import console, tables
from sics_cli.experiment.lineup import describe_scorers


@click.command()
@click.option("--kappa", type=click.IntRange(0, 2), help="Only feature classes of this complexity.")
def scorers(kappa: int | None) -> None:
    """List the scorers: name, complexity κ (of feature classes), role, formula."""
    infos = [info for info in describe_scorers((), "gradient") if kappa is None or info.kappa == kappa]
    tables.print_scorers(console.results(), infos)
