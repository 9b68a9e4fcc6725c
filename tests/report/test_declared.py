"""The table of the declared searched run in docs/fusion.md is what its rows say."""

import re
import sqlite3
from pathlib import Path

import pytest

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.words.phrases import GLYPHS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fusion.md").read_text(encoding="utf-8").partition("## The declared run on digits")[2]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> ReportDocument:
    from sics_cli.results.report import document_of
    from sics_cli.results.source import Settings, read_source

    place = tmp_path_factory.mktemp("run") / "run.sqlite"  # a copy: opening a store may write beside it
    with sqlite3.connect(ROOT / "data" / "comparisons" / "searched-digits-weight" / "run.sqlite") as kept:
        kept.execute("VACUUM INTO ?", (str(place),))
    source = read_source(place)
    return document_of(source, source.planned or Settings())


def test_its_table_is_what_the_rows_say(document: ReportDocument) -> None:
    rows = re.findall(r"^\| `([\w/]+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 8
    for name, cells in rows:
        for place, cell in zip(document.sparsities, cells.split(" | "), strict=True):
            (line,) = [line for line in document.lines if (line.scorer, line.sparsity) == (name, place.sparsity)]
            said = f"{GLYPHS[line.verdict]} {line.mean:+.2f}".replace("-", "−").replace("+0.00", "0.00").replace("−0.00", "0.00")
            assert cell == said, (name, place.sparsity)


def test_its_claims_are_as_counted(document: ReportDocument) -> None:
    states = [claim.status for claim in document.claims]
    counts = (states.count("supported"), states.count("contradicted"), states.count("undecided"))
    assert f"{counts[0]} of the {len(states)} claims are supported, {counts[1]} contradicted, {counts[2]} undecided" in PAGE
