"""The reference runs: keep the results of one under data/reference, and render what all of them say.

    python bench/reference.py keep RUN NAME          # the store of RUN, compacted, as data/reference/NAME/run.sqlite
    python bench/reference.py render [--html DIR]    # docs/reference/*.md and the tables of docs/findings.md; pages into DIR

Rendering trains nothing: seconds a run.
"""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from sics_analysis.claims.statement import paper_claims
from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import ClaimInfo
from sics_analysis.report.layouts.formats import render
from sics_analysis.report.words.phrases import STATUS_GLYPHS
from sics_cli.base.files import write_atomically
from sics_cli.results.report import document_of
from sics_cli.results.source import Settings, read_source
from sics_data import reference_runs

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "data" / "reference"
DOCS = ROOT / "docs"
BEGIN, END = "<!-- scorecard: begin -->", "<!-- scorecard: end -->"


def keep(run: Path, name: str) -> Path:
    """Copy the store of a finished run: results only, no network and no image."""
    return copied(run / "run.sqlite", KEPT / name / "run.sqlite")


def copied(store: Path, target: Path) -> Path:
    """A store, compacted, in another place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro", uri=True)) as opened:
        opened.execute("VACUUM INTO ?", (str(target),))
    return target


def documents() -> dict[str, ReportDocument]:
    """The report of every reference run, under the settings of its own plan."""
    found = {name: read_source(path) for name, path in reference_runs().items()}
    return {name: document_of(source, source.planned or Settings()) for name, source in found.items()}


def scorecard(found: Mapping[str, ReportDocument]) -> list[str]:
    """The paper's claims as rows, the runs as columns: status and what was measured."""
    claims = {name: {claim.id: claim for claim in document.claims} for name, document in found.items()}
    order = [claim.id for claim in paper_claims() if any(claim.id in of_run for of_run in claims.values())]
    lines = ["| claim | claimed | " + " | ".join(found) + " |", "|---|---|" + "---|" * len(found)]
    for name in order:
        first = next(of_run[name] for of_run in claims.values() if name in of_run)
        cells = [_cell(of_run[name]) if name in of_run else "not tested" for of_run in claims.values()]
        at = f" at S = {first.sparsity:g}" if first.kind in ("size", "kappa") and first.id != "kappa0-below-0.65" else ""
        lines.append(f"| `{name}` | {first.claimed}{at} | " + " | ".join(cells) + " |")
    return lines


def _cell(claim: ClaimInfo) -> str:
    glyph = STATUS_GLYPHS[claim.status]
    if claim.kind == "kappa" or claim.interval is None:
        return f"{glyph} {claim.outcome or claim.status}"
    estimate = "" if claim.estimate is None else f"{claim.estimate:+.2f} ".replace("-", "−")
    interval = f"[{claim.interval.low:+.2f}, {claim.interval.high:+.2f}]".replace("-", "−")
    return f"{glyph} {claim.outcome or claim.status}, {estimate}{interval}"


def kappa_table(found: Mapping[str, ReportDocument]) -> list[str]:
    """κ(S) of every run: the value claimed, or those that the data leave."""
    grid = next(iter(found.values())).sparsities
    lines = ["| κ(S) | " + " | ".join(found) + " |", "|---|" + "---|" * len(found)]
    for place in grid:
        cells = []
        for document in found.values():
            points = document.spectrum.points if document.spectrum else ()
            point = next((point for point in points if point.sparsity == place.sparsity), None)
            if point is None:
                cells.append("–")
            else:
                left = " or ".join(map(str, point.not_rejected))
                cells.append(f"**{point.kappa}**" if point.kappa is not None else f"undetermined: {left}")
        lines.append(f"| S = {place.sparsity:g} | " + " | ".join(cells) + " |")
    return lines


def attribution_table(found: Mapping[str, ReportDocument]) -> list[str]:
    """What complexity adds to information: every κ ≥ 1 scorer against the `information` control at S = 0.7 and 0.8."""
    lines = ["| run | S | scorer | over magnitude | information | complexity adds, 95 % CI | verdict |", "|" + "---|" * 7]
    for name, document in found.items():
        for row in document.attribution:
            if row.sparsity < 0.65 or row.ci95 is None:
                continue
            interval = f"{row.complexity:+.2f} [{row.ci95.low:+.2f}, {row.ci95.high:+.2f}]"
            numbers = f"{row.gain:+.2f} | {row.information:+.2f} | {interval}".replace("-", "−")
            lines.append(f"| {name} | {row.sparsity:g} | {row.scorer} | {numbers} | {row.verdict} |")
    return lines


def spliced(text: str, table: Sequence[str]) -> str:
    """The text with the table between its markers."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return "\n".join([before + BEGIN, *table, END + after])


def write(found: Mapping[str, ReportDocument], html: Path | None) -> None:
    """Write what the documents say; nothing else in the documentation is touched."""
    (DOCS / "reference").mkdir(exist_ok=True)
    for name, document in found.items():
        write_atomically(DOCS / "reference" / f"{name}.md", render(document, "md").encode())
        if html is not None:
            html.mkdir(parents=True, exist_ok=True)
            write_atomically(html / f"{name}.html", render(document, "html").encode())
    page, tables = DOCS / "findings.md", [*scorecard(found), "", *kappa_table(found), "", *attribution_table(found)]
    write_atomically(page, spliced(page.read_text(encoding="utf-8"), tables).encode())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep")
    keeping.add_argument("run", type=Path)
    keeping.add_argument("name")
    commands.add_parser("render").add_argument("--html", type=Path)
    asked = parser.parse_args()
    if asked.command == "keep":
        print(keep(asked.run, asked.name))
    else:
        found = documents()
        write(found, asked.html)
        print("\n".join(f"docs/reference/{name}.md" for name in found))


if __name__ == "__main__":
    main()
