"""`sics-run report`: what a run, a CSV of any framework, or a report kept as JSON, shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sics_cli.base.errors import ConfigError
from sics_cli.commands.options import ANY_MARGIN, LEVEL, Word, format_of, given_of, read_options, table_options, tell_assumed
from sics_cli.store.store import REFERENCE, shipped
from sics_data import reference_runs

if TYPE_CHECKING:
    from sics_analysis.claims.statement import Claim
    from sics_analysis.report.document.document import ReportDocument

GATE_TRIPPED = 4
FORMATS = ("terminal", "html", "md", "latex", "json", "csv")


@click.command()
@click.argument("sources", metavar="SOURCE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--format", "kind", type=Word(FORMATS), help="Format.  [default: by the ending of -o, else terminal]")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to.  [default: stdout]")
@click.option(
    "--figures", type=click.Path(path_type=Path), metavar="DIR", help="Write every figure as PDF and PNG, sized for a paper."
)
@click.option(
    "--fail-on", multiple=True, metavar="CLAIM", help="Exit with 4 unless CLAIM is supported and settled; may be repeated."
)
@click.option(
    "--delta", type=ANY_MARGIN, metavar="POINTS", help="Equivalence margin, in --unit.  [default: the plan's, else 0.5]"
)
@click.option("--alpha", type=LEVEL, help="Error rate of the tests.  [default: the plan's, else 0.05]")
@click.option("--reference", metavar="SCORER", help="A scorer, plateau, or dense.  [default: the plan's, else magnitude]")
@click.option("--across-devices", is_flag=True, help="Pair rows of one seed that come from different devices.")
@table_options
def report(
    sources: tuple[Path, ...],
    kind: str | None,
    output: Path | None,
    figures: Path | None,
    fail_on: tuple[str, ...],
    delta: float | None,
    alpha: float | None,
    reference: str | None,
    across_devices: bool,
    **table: Any,
) -> int:
    """Say what SOURCE shows: verdicts, κ(S), attribution, claims. It is a RUN (a folder, or its store), a FILE or a REPORT.json.

    A FILE is a table as CSV, TSV, JSON lines, Parquet or Excel, long or wide; several are read as one. Its columns are seed,
    scorer, sparsity and accuracy, or are known by their usual names (run, method, density, val_acc, ...) or by --columns; what
    was assumed is said. kappa, correct, n, mask_hash, jaccard, unit, pool, role, flags and bits are used where present. A
    REPORT.json is a report kept with --format json: it is shown as it is, under its own settings. reference:NAME is one of the
    runs that ship with the package; reference: alone lists them. A CLAIM is plateau@0.7, escape:SCORER@0.8,
    noninferior:SCORER@0.8 (not worse by the margin), nonsuperior:SCORER@0.8 (not better by it), kappa@0.7=1 or the id of one of
    the paper's, as the report lists them. Settings other than the plan's are stamped. A CLAIM that rests on rows of which a
    data check is open is not settled, whatever they support.
    """
    if "numpy" not in sys.modules:  # the matrices are small: threads would wait for each other, at twice the processor time
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if str(sources[0]) == REFERENCE and len(sources) == 1:
        _list_shipped()
        return 0
    gates = _claims(fail_on)
    from sics_analysis.report.layouts.formats import ENDINGS
    from sics_cli.console.output import check_folder, check_output, is_stream, write_document, write_figures
    from sics_cli.console.plain_text import plain
    from sics_cli.results.report import (
        document_of,
        is_document,
        read_document,
        refuse_settings,
        settings_of,
        told_on_terminal,
    )
    from sics_cli.results.source import read_source

    reading = read_options(delta, **table)
    source, *more = (shipped(one) for one in sources)
    chosen = kind or format_of(output, ENDINGS, "terminal")
    check_output(output, source)
    check_folder("--figures", figures)
    if is_document(source) and not more:
        given: dict[str, object] = {
            "delta": delta,
            "alpha": alpha,
            "reference": reference,
            "across-devices": across_devices or None,
        }
        given |= given_of(table)
        refuse_settings(source, given)
        document = read_document(source, gates)
    else:
        with told_on_terminal(source, *more) as tell:
            if tell is not None:
                tell(f"reading {plain(source.name)}")
            read = read_source(source, *more, across_devices=across_devices, reading=reading)
        if output is not None or chosen != "terminal":  # a report on the terminal has them among its notes
            tell_assumed(read)
        with told_on_terminal(source, *more) as tell:
            document = document_of(read, settings_of(read, reading, alpha, reference), gates, tell)
    if output is not None and str(output) != "-":
        write_document(output, _render(document, chosen))
        if not is_stream(output):
            _conclude(document)
    else:
        _show(document, chosen)
    if figures is not None:
        write_figures(figures, document)
    for gate in document.tripped:
        print(plain(f"sics-run: --fail-on {gate.id}: {document.why_tripped(gate)}"), file=sys.stderr)
    return GATE_TRIPPED if document.tripped else 0


def _list_shipped() -> None:
    """Show the runs that ship with the package, and how to see one."""
    from sics_cli.console.progress_bars import results
    from sics_cli.console.tables import print_runs

    print_runs(results(), {f"{REFERENCE}{name}": path for name, path in reference_runs().items()})


def _render(document: ReportDocument, kind: str) -> str:
    from sics_analysis.report.layouts.formats import render

    return render(document, kind)


def _show(document: ReportDocument, kind: str) -> None:
    if kind == "terminal":
        from sics_analysis.report.layouts.terminal import print_report, terminal

        print_report(terminal(), document)
    else:
        sys.stdout.write(_render(document, kind))
        sys.stdout.flush()


def _conclude(document: ReportDocument) -> None:
    """The three sentences of a report that went elsewhere."""
    from sics_analysis.report.layouts.terminal import print_conclusion, terminal

    print_conclusion(terminal(), document)


def _claims(texts: tuple[str, ...]) -> list[Claim]:
    """Read the claims; only this needs `sics_analysis` before the rows are read."""
    if not texts:
        return []
    from sics_analysis.claims.statement import GRAMMAR, nearest_claim, paper_claims, parse_claim

    found = []
    for text in dict.fromkeys(texts):
        try:
            found.append(parse_claim(text))
        except ValueError:
            ids = [claim.id for claim in paper_claims()]
            meant = nearest_claim(text)
            raise ConfigError(
                f"--fail-on {text!r}: is not accepted{meant}: give {GRAMMAR} ({', '.join(ids)}), with S "
                "and a SCORER as in escape:chaos@0.7"
            ) from None
    return found
