"""`sics-run report`: what a run, or a CSV of any framework, shows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sics_cli.experiment.errors import ConfigError
from sics_cli.options import level, margin

if TYPE_CHECKING:
    from sics_analysis.claims import Claim

GATE_TRIPPED = 4
FORMATS = ("terminal", "json")


@click.command()
@click.argument("source", metavar="RUN|FILE.csv", type=click.Path(path_type=Path))
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Document.  [default: by the ending of -o, else terminal]")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to.  [default: stdout]")
@click.option("--fail-on", multiple=True, metavar="CLAIM", help="Exit with 4 unless CLAIM is supported; may be repeated.")
@click.option("--delta", callback=margin, metavar="POINTS", help="Equivalence margin.  [default: the plan's, else 0.5]")
@click.option("--alpha", callback=level, help="Error rate of the tests.  [default: the plan's, else 0.05]")
@click.option("--reference", metavar="SCORER", help="A scorer, or plateau.  [default: the plan's, else magnitude]")
@click.option("--across-devices", is_flag=True, help="Pair rows of one seed that come from different devices.")
def report(
    source: Path,
    kind: str | None,
    output: Path | None,
    fail_on: tuple[str, ...],
    delta: float | None,
    alpha: float | None,
    reference: str | None,
    across_devices: bool,
) -> int:
    """Say what RUN (a run's folder, or its store) or FILE.csv shows: verdicts, κ(S), attribution, the paper's claims.

    A CSV needs the columns seed, scorer, sparsity and accuracy (a fraction); kappa, correct, n, mask_hash, unit, pool and
    bits are used where present. A CLAIM is plateau@0.7, escape:SCORER@0.8, kappa@0.7=1 or the id of one of the paper's,
    as the report lists them. Settings other than the plan's are stamped.
    """
    gates = _claims(fail_on)
    from sics_cli.experiment.analysis_input import Settings, read_source
    from sics_cli.output import check_output, write_document
    from sics_cli.printable import plain
    from sics_cli.report_document import make_report
    from sics_cli.report_text import print_report, terminal, to_text

    check_output(output, source)
    read = read_source(source, across_devices=across_devices)
    settings = (read.planned or Settings()).replaced(delta, alpha, reference)
    made = make_report(read, settings, gates)
    chosen = kind or ("json" if output is not None and output.suffix.lower() == ".json" else "terminal")
    if output is not None and str(output) != "-":
        write_document(output, made.to_json() if chosen == "json" else to_text(made))
    elif chosen == "json":
        sys.stdout.write(made.to_json())
        sys.stdout.flush()
    else:
        print_report(terminal(), made)
    for gate in made.tripped:
        found = f"S = {gate.decisive.sparsity:g}: {gate.decisive.text}"
        print(plain(f"sics-run: --fail-on {gate.claim.id}: {gate.status}, {found}"), file=sys.stderr)
    return GATE_TRIPPED if made.tripped else 0


def _claims(texts: tuple[str, ...]) -> list[Claim]:
    """Read the claims; only this needs `sics_analysis` before the rows are read."""
    if not texts:
        return []
    from sics_analysis.claim_text import GRAMMAR, paper_claims
    from sics_analysis.claims import parse_claim

    found = []
    for text in dict.fromkeys(texts):
        try:
            found.append(parse_claim(text))
        except ValueError:
            ids = ", ".join(claim.id for claim in paper_claims())
            raise ConfigError(
                f"--fail-on {text!r}: is not accepted: give {GRAMMAR} ({ids}), with S and a SCORER as in escape:chaos@0.7"
            ) from None
    return found
