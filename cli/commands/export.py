"""`sics-run export`: a run's rows as a file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sics_analysis.results import plural
from sics_cli.base.errors import ConfigError
from sics_cli.commands.options import Word, format_of
from sics_cli.console.output import check_output, write_document
from sics_cli.store.export import FORMATS, export_rows
from sics_cli.store.rows import stale_remark
from sics_cli.store.store import Store, find_store

#: What is lost where the rows of a run that was looked at are read back.
NOT_IN_A_TABLE = "whoever tests these rows tests a number of seeds that the data chose, at the level of a fixed one"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "kind", type=Word(list(FORMATS)), help="File format.  [default: by the ending of -o, else csv]")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to.  [default: stdout]")
def export(run: Path, kind: str | None, output: Path | None) -> None:
    """Write the rows of RUN (a run's folder, or its store), dense rows included as sparsity 0.

    Columns: seed, scorer, kappa, unit, pool, sparsity, correct, n, accuracy (a fraction), loss, mask_hash and more; for a task of
    your own also metric, value, higher_is_better, metric_unit, and examples (float32 in hex) where it gives numbers.
    """
    chosen = kind or format_of(output, {f".{name}": name for name in FORMATS}, "csv")
    if chosen == "parquet" and output is None:
        raise ConfigError("--format parquet: is not text; say where to, -o FILE.parquet")
    with Store.open(find_store(run), read_only=True) as store:
        rows, remarks = export_rows(store), stale_remark(store.stale_cells())
        if any(store.looks(plan.plan_hash) for plan in store.plans()):
            remarks = [*remarks, f"a table holds no looks: {NOT_IN_A_TABLE} (sics-run report {run} has its looks)"]
    for remark in remarks:
        print(remark, file=sys.stderr)
    document = FORMATS[chosen](rows)
    if output is None or str(output) == "-":
        sys.stdout.buffer.write(document.encode() if isinstance(document, str) else document)
        sys.stdout.flush()
        return
    check_output(output, run)
    write_document(output, document)
    print(plural(len(rows), "row"), file=sys.stderr)
