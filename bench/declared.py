"""The declared searched runs (bench/searched-*.toml): keep one under data/comparisons, make the tables of docs/fusion-runs.md.

    python bench/declared.py keep runs/searched-digits-channel searched-digits-channel
    python bench/declared.py read [--markdown docs/fusion-runs.md]

Reading trains nothing. Every line is a scorer against magnitude in the pool of the run, with the verdict of that line by itself.
"""

from __future__ import annotations

import argparse
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pruning import write_between
from reference import copied, scorecard

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import LineInfo
from sics_analysis.report.document.searched import PartInfo
from sics_analysis.report.words.phrases import GLYPHS, listed, reference_accuracy
from sics_analysis.results import Status, plural, signed
from sics_cli.results.report import document_of
from sics_cli.results.source import Settings, read_source

KEPT = Path(__file__).resolve().parents[1] / "data" / "comparisons"
BEGIN, END = "<!-- bench/declared.py: begin -->", "<!-- bench/declared.py: end -->"
#: Below this S hardly anything is gained, and the parts of a gain are about nothing.
FROM = 0.7
#: In the order of the page.
RUNS = {
    "searched-digits-weight": "Digits, weights",
    "searched-digits-channel": "Digits, channels",
    "searched-cifar10-weight": "CIFAR-10, weights",
    "searched-cifar10-channel": "CIFAR-10, channels",
}


def document(name: str) -> ReportDocument:
    """The report of a kept run, under the settings of its own plan; of a copy, since opening a store may write beside it."""
    with tempfile.TemporaryDirectory() as folder:
        source = read_source(copied(KEPT / name / "run.sqlite", Path(folder) / "run.sqlite"))
        return document_of(source, source.planned or Settings())


def table(found: ReportDocument) -> list[str]:
    """What every searched scorer with its largest budget, and magnitude in one global pool, gain over magnitude; its accuracy."""
    at = [place.sparsity for place in found.sparsities]
    head = [f"| | {' | '.join(f'S = {S:g}' for S in at)} |", "|---|" + "---|" * len(at)]
    base = [100 * reference_accuracy(found, S) for S in at]  # type: ignore[operator]
    rows = [f"| `magnitude`, its accuracy in % | {' | '.join(f'{value:.2f}' for value in base)} |"]
    for name in dict.fromkeys(line.scorer for line in found.largest.lines):
        if name.startswith("fusion_") or "/" in name or name in ("gradient", "information"):
            cells = [found.line(name, S) for S in at]
            rows.append(f"| `{name}` | {' | '.join(_cell(line) for line in cells)} |")
    return [*head, *rows]


def _cell(line: LineInfo | None) -> str:
    if line is None or line.mean is None:
        return "–"
    return f"{GLYPHS[line.verdict]} {signed(line.mean)}"


def complexity(found: ReportDocument) -> list[str]:
    """What each reading of the paper has over two controls by the same search: information, and features that know nothing."""
    assert found.searched is not None
    lines = ["| S | reading | over information, 95 % CI | verdict | over shuffled features, 95 % CI |", "|" + "---|" * 5]
    for row in found.searched.splits:
        if row.sparsity >= FROM and row.complexity is not None and row.verdict is not None:
            both = [_part(row.complexity), GLYPHS[row.verdict], _part(row.noise)]
            lines.append(f"| {row.sparsity:g} | `{row.scorer}` | {' | '.join(both)} |")
    return lines


def _part(part: PartInfo | None) -> str:
    if part is None or part.mean is None or part.ci95 is None:
        return "–"
    return f"{signed(part.mean)} [{signed(part.ci95.low)}, {signed(part.ci95.high)}]"


def counted(found: ReportDocument) -> str:
    """How many of the paper's claims came to what."""
    states = Counter(claim.status for claim in found.claims)
    parts = listed([f"{states[status]} {status}" for status in Status if status in states])
    return f"{plural(len(found.seeds), 'seed')}. Of the {len(found.claims)} claims that its rows test, {parts}."


def targets() -> list[str]:
    """The claims that the run on digits was to decide."""
    declared = tomllib.loads((Path(__file__).parent / "searched-digits.toml").read_text(encoding="utf-8"))
    return str(declared["until"]).removeprefix("decided:").split(",")


def documents() -> dict[str, ReportDocument]:
    """The report of every run, by heading."""
    return {heading: document(name) for name, heading in RUNS.items()}


def page(found: Mapping[str, ReportDocument]) -> str:
    """The claims that were to be decided, and the tables of every run."""
    asked = set(targets())
    claims = {heading: replace(of, claims=tuple(c for c in of.claims if c.id in asked)) for heading, of in found.items()}
    parts = ["### The claims", "", *scorecard({heading: of for heading, of in claims.items() if of.looks}), ""]
    for heading, of in found.items():
        parts += [f"### {heading}", "", *table(of), "", *complexity(of), "", counted(of), ""]
    return "\n".join(parts).rstrip()


def main() -> None:
    """Keep a run, or read those that are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("keep", help="copy the store of a finished run: results only, no network and no image")
    one.add_argument("run", type=Path)
    one.add_argument("name", choices=tuple(RUNS))
    one = commands.add_parser("read", help="make the tables")
    one.add_argument("--markdown", type=Path, metavar="PAGE", help="write the tables into this page, between its markers")
    arguments = parser.parse_args()
    if arguments.command == "keep":
        print(copied(arguments.run / "run.sqlite", KEPT / arguments.name / "run.sqlite"))
        return
    print(text := page(documents()))
    if arguments.markdown is not None:
        write_between(arguments.markdown, text, BEGIN, END)


if __name__ == "__main__":
    main()
