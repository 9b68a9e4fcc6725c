"""What docs/fusion-runs.md says of the declared searched runs is what their rows say."""

import re
import sys
from pathlib import Path

import pytest

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.results import Status

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import declared  # noqa: E402

PAGE = (ROOT / "docs" / "fusion-runs.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def documents() -> dict[str, ReportDocument]:
    return declared.documents()


def test_its_tables_are_what_the_rows_say(documents: dict[str, ReportDocument]) -> None:
    shown = PAGE.partition(declared.BEGIN)[2].partition(declared.END)[0].strip()
    assert shown == declared.page(documents)
    for heading in declared.RUNS.values():
        assert f"### {heading}" in shown


def test_a_cell_is_the_line_of_the_report(documents: dict[str, ReportDocument]) -> None:
    found = documents["Digits, channels"]
    line = found.line("fusion_orbit_200", 0.8)
    assert line is not None
    assert line.mean is not None
    cell = f"▲ {line.mean:+.2f}"
    assert line.verdict == "ESCAPES"
    (row,) = [row for row in declared.table(found) if row.startswith("| `fusion_orbit_200`")]
    assert row.endswith(f" {cell} |")
    assert not [row for row in declared.table(found) if "fusion_orbit_50`" in row]  # smaller budgets stay out


def test_every_run_is_whole_and_as_declared(documents: dict[str, ReportDocument]) -> None:
    for heading, found in documents.items():
        digits = heading.startswith("Digits")
        assert len(found.seeds) == (20 if digits else 5)
        assert found.seeds[0] == 2000
        assert found.pool == "layer-rank"
        assert found.unit == ("weight" if "weights" in heading else "channel")
        assert (found.looks is not None) == digits
        assert {line.n for line in found.lines} == {len(found.seeds)}


def test_as_many_targets_are_open_as_the_page_says(documents: dict[str, ReportDocument]) -> None:
    asked = declared.targets()
    left = [
        sum(claim.id in asked and claim.status is Status.UNDECIDED for claim in documents[heading].claims)
        for heading in ("Digits, weights", "Digits, channels")
    ]
    said = re.search(r"Of the (\d+) claims that a run was to decide, (\d+) are open for weights and (\d+) for channels", PAGE)
    assert said is not None
    assert [int(number) for number in said.groups()] == [len(asked), *left]


def test_where_the_claim_is_supported_noise_is_told_beside_it(documents: dict[str, ReportDocument]) -> None:
    (claim,) = [claim for claim in documents["Digits, channels"].claims if claim.id == "complexity-pays-0.8"]
    assert claim.status is Status.SUPPORTED
    assert "shuffled features by the same search are not shown to do less" in claim.findings[0].text
