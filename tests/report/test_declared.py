"""What docs/fusion-runs.md says of the declared searched runs is what their rows say."""

import re
import sys
from pathlib import Path

import pytest

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.results import Status, Verdict

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import declared  # noqa: E402

PAGE = (ROOT / "docs" / "fusion-runs.md").read_text(encoding="utf-8")
SAID = " ".join(PAGE.split())  # a sentence may break anywhere


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
    said = re.search(r"Of the (\d+) claims that a run was to decide, (\d+) are open for weights and (\d+) for channels", SAID)
    assert said is not None
    assert [int(number) for number in said.groups()] == [len(asked), *left]


def test_its_counts_are_those_of_the_reports(documents: dict[str, ReportDocument]) -> None:
    splits = {heading: found.searched.splits for heading, found in documents.items() if found.searched is not None}
    of_z = [row for row in splits["Digits, weights"] if row.features in ("orbit", "smooth_orbit")]
    assert [row.verdict for row in of_z].count(Verdict.EQUIVALENT) == 7
    assert len(of_z) == 8
    assert "in seven of eight lines of digits' weights" in SAID
    assert sum(row.shown for row in splits["CIFAR-10, channels"]) == 2
    assert not any(row.pays_delta for row in splits["CIFAR-10, channels"])
    assert "shown above 0 in two of eight lines" in SAID

    over = {}
    for heading, found in documents.items():
        assert found.searched is not None
        tested = [point.found for point in found.searched.points if point.found]
        over[heading] = tested.count("over-fits"), len(tested)
    assert list(over.values()) == [(1, 44), (3, 44), (1, 24), (2, 24)]
    assert "one of 44 lines of digits' weights and three of 44 of the channels" in SAID
    assert "three of 48 of CIFAR-10" in SAID


def test_the_control_of_monotone_features_has_weights_below_0_as_the_page_says(documents: dict[str, ReportDocument]) -> None:
    searches = [
        row.weights
        for found in documents.values()
        if found.searched is not None
        for row in found.searched.weights
        if row.scorer.startswith("fusion_magnitude") and row.sparsity == 0.8
    ]
    assert (sum("−" in weights for weights in searches), len(searches)) == (44, 50)
    assert "in 44 of 50 of these searches one is" in SAID


def test_every_feature_of_z_on_digits_channels_is_flagged_as_the_page_says(documents: dict[str, ReportDocument]) -> None:
    def flags(heading: str) -> set[tuple[str, ...]]:
        return {one.flags for one in documents[heading].scorers if one.name in ("fusion_orbit_200", "fusion_information_200")}

    assert flags("Digits, channels") == {("coordinate unresolved",)}
    assert flags("Digits, weights") == {()}
    assert "`coordinate unresolved`" in SAID


def test_where_the_claim_is_supported_noise_is_told_beside_it(documents: dict[str, ReportDocument]) -> None:
    (claim,) = [claim for claim in documents["Digits, channels"].claims if claim.id == "complexity-pays-0.8"]
    assert claim.status is Status.SUPPORTED
    assert "shuffled features by the same search are not shown to do less" in claim.findings[0].text
