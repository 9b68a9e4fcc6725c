"""The document: whole, strict, and the same bytes for the same rows."""

import json
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sics_analysis import analyse
from sics_analysis.report import FORMATS, ReportDocument, headline, render, report_table
from sics_analysis.report.build import paper_kappa
from sics_analysis.report.document.codec import decode, encode
from sics_analysis.report.document.rows import Cell, Deviation
from sics_analysis.results import Interval, Verdict


def test_json_goes_and_comes_back_whole(
    document: ReportDocument, hostile: ReportDocument, poor: dict[str, ReportDocument]
) -> None:
    for made in (document, hostile, *poor.values()):
        text = made.to_json()
        again = ReportDocument.from_json(text)
        assert again == made
        assert again.to_json() == text


def test_json_is_strict_sorted_and_has_a_schema(document: ReportDocument) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = document.to_json()
    data = json.loads(text, parse_constant=refuse)
    assert json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False) + "\n" == text
    assert (data["schema"], data["kind"]) == (3, "sics-report")


def test_a_report_of_the_schema_before_is_still_shown_in_every_format(document: ReportDocument) -> None:
    """Schema 2 had neither the halves of a TOST nor what is adjusted over the run, and two verdicts less."""
    data = document.to_dict() | {"schema": 2}
    for line in data["lines"]:
        for name in ("p_noninferior", "p_nonsuperior", "p_escape_adjusted_run", "p_degrade_adjusted_run"):
            del line[name]
    for part in ("lines", "attribution", "deltas"):
        for item in data[part]:
            if item["verdict"] in ("NONINFERIOR", "NONSUPERIOR"):
                item["verdict"] = "INCONCLUSIVE"
    kept = ReportDocument.from_dict(data)
    assert kept.lines[0].p_noninferior is None
    for kind in FORMATS:
        assert render(kept, kind)
    # Nobody adjusted it over its two S, so no headline says that it holds over the run.
    assert "escape" in headline(document).split(";")[0]
    assert headline(kept).startswith("None of 3 scorers is shown to escape the magnitude plateau over the whole run; ")
    assert ReportDocument.from_json(kept.to_json()) == kept, "and is kept as one of today"


def test_snapshot(tiny: ReportDocument, snapshot: Any) -> None:
    snapshot("tiny.json", tiny.to_json())


def test_same_rows_in_any_order_same_bytes(frame: pd.DataFrame, bits: Any) -> None:
    one = report_table(frame, bits=bits, draws=1_000).to_json()
    two = report_table(frame.sample(frac=1.0, random_state=3), bits=dict(reversed(bits.items())), draws=1_000).to_json()
    assert one == two


def test_every_number_is_the_analysis_own(document: ReportDocument, frame: pd.DataFrame, bits: Any) -> None:
    analysis = analyse(frame, bits=bits, noise_floor={0.5: 0.0, 0.7: 0.25}, draws=20_000)
    assert len(document.lines) == len(analysis.lines) == 24
    for info, line in zip(document.lines, analysis.lines, strict=True):
        row = line.to_row()
        assert (info.scorer, info.sparsity, info.n, str(info.verdict), info.reason) == (
            row["scorer"], row["sparsity"], row["n"], row["verdict"], row["reason"],
        )  # fmt: skip
        assert info.mean == row["difference"]
        assert info.differences == line.contrast.differences
        for name in ("p_equivalence", "p_equivalence_holm", "p_superior", "p_escape", "p_escape_adjusted", "p_degrade_adjusted"):
            assert getattr(info, name) == row[name], name
        assert (info.ci90 and info.ci90.low, info.ci95 and info.ci95.high) == (row["ci90_low"], row["ci95_high"])
        assert info.simultaneous == line.simultaneous
        assert info.crossed == line.crossed
        if info.in_family and not info.degenerate:
            tested = analysis.family(info.sparsity).escape[info.scorer]
            assert (info.p_escape_holm, info.p_escape_signflip_joint) == (tested.p_holm, tested.p_signflip_joint)
    assert len(document.mcnemar) == len(analysis.mcnemar) == 24 * 5


def test_cells_hold_dense_networks_overlap_and_counts(document: ReportDocument, frame: pd.DataFrame) -> None:
    assert len(document.cells) == len(frame)
    assert [cell.scorer for cell in document.cells[:5]] == ["dense"] * 5
    by_place = {(cell.seed, cell.scorer, cell.sparsity): cell for cell in document.cells}
    for row in frame.itertuples():
        cell = by_place[row.seed, row.scorer, row.sparsity]
        assert (cell.correct, cell.total) == (row.correct, row.n)
        assert cell.accuracy == pytest.approx(row.accuracy)
        assert cell.jaccard == (None if np.isnan(row.jaccard) else row.jaccard)
    assert document.accuracies("dense", 0.0) == tuple(frame[frame["sparsity"] == 0]["correct"] / 400)


def test_scorers_have_their_role(document: ReportDocument) -> None:
    roles = {scorer.name: (scorer.kappa, scorer.role, scorer.in_family) for scorer in document.scorers}
    assert roles["magnitude"] == (0, "rank-monotone", False)
    assert roles["smooth_chaos"] == (1, "smooth", True)
    assert roles["chaos"] == (2, "raw", True)
    assert roles["fake"] == (None, "control", False)
    assert roles["gradient"] == (None, "baseline", False)
    assert [paper_kappa(S) for S in (0.5, 0.64, 0.65, 0.75, 0.76)] == [0, 0, 1, 1, 2]


def test_degenerate_lines_are_deviations_and_identities_are_not(make_table: Any) -> None:
    table = make_table({"magnitude": [0.0] * 3, "same": [0.0] * 3, "shifted": [2.0] * 3})
    found = report_table(table).deviations
    assert [(d.kind, d.scorer) for d in found] == [("degenerate", "same"), ("degenerate", "shifted")]
    hashes = table.assign(mask_hash=["h" if name != "shifted" else "k" for name in table["scorer"]])
    assert [d.scorer for d in report_table(hashes).deviations] == ["shifted"]


def test_power_stands_where_the_run_stands(document: ReportDocument, poor: dict[str, ReportDocument]) -> None:
    power = document.power
    assert (power.here, power.effect, power.family, power.reason) == (5, 1.0, 3, "")
    assert [point.n for point in power.points] == list(range(3, 41))
    assert power.sd == pytest.approx(np.median([line.sd for line in document.lines if line.in_family]))
    assert poor["identical"].power.points == ()
    assert poor["identical"].power.reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.update(schema=1), "Expected a report of schema 2 or 3, got 1"),
        (lambda data: data.update(kind="other"), "Expected a report (kind 'sics-report'), got 'other'"),
        (lambda data: data.pop("lines"), "missing: lines"),
        (lambda data: data.update(extra=1), "Expected only known fields in report, got extra"),
        (lambda data: data["lines"][0].update(verdict="GREAT"), "in report.lines.verdict, got 'GREAT'"),
        (lambda data: data["lines"][0].update(n="five"), "Expected int in report.lines.n, got 'five'"),
        (lambda data: data["settings"].update(delta=None), "Expected float in report.settings.delta, got None"),
        (lambda data: data["cells"][0].update(seed=1.5), "Expected int or str in report.cells.seed, got 1.5"),
        (lambda data: data["winners"][0]["interval"].update(low=9e9), "Expected finite limits with low <= high"),
        (lambda data: data["claims"][0].update(status="proved"), "in report.claims.status, got 'proved'"),
        (lambda data: data.update(scorers=[]), "Expected in report.scorers every scorer of the lines and cells, missing: bump"),
        (lambda data: data.update(notes="x"), "Expected a list in report.notes, got 'x'"),
    ],
)
def test_a_foreign_json_is_refused_in_one_line(document: ReportDocument, change: Any, said: str) -> None:
    data = document.to_dict()
    change(data)
    with pytest.raises(ValueError, match=r"^Expected") as raised:
        ReportDocument.from_dict(data)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_no_json_is_refused() -> None:
    for text in ("", "[1]", "null", "{", '{"schema": NaN}'):
        with pytest.raises(ValueError, match="Expected"):
            ReportDocument.from_json(text)


def test_no_nan_enters_a_document(document: ReportDocument) -> None:
    cell = replace(document.cells[0], accuracy=float("nan"))
    with pytest.raises(ValueError, match="finite"):
        encode(cell)
    with pytest.raises(ValueError, match="finite"):
        decode(Cell, {**encode(document.cells[0]), "accuracy": float("inf")}, "cell")
    with pytest.raises(ValueError, match="Expected plain values in a document, got object"):
        encode(object())


def test_codec_takes_numpy_scalars_and_enums() -> None:
    assert encode((np.float64(0.5), np.int64(3), Verdict.ESCAPES)) == [0.5, 3, "ESCAPES"]
    whole = Deviation("failed", "text", None, 0.5, "a")
    assert decode(Deviation, encode(whole), "here") == whole
    assert decode(Deviation, {"kind": "a", "text": "b"}, "here") == Deviation("a", "b")


def test_all_parts_are_frozen(document: ReportDocument) -> None:
    def walk(value: Any) -> None:
        if is_dataclass(value):
            assert value.__dataclass_params__.frozen, type(value)
            for field in fields(value):
                walk(getattr(value, field.name))
        elif isinstance(value, tuple):
            for item in value:
                walk(item)
        else:
            assert value is None or isinstance(value, str | int | float | bool), type(value)

    walk(document)
    assert isinstance(document.lines[0].ci95, Interval)


def test_a_table_is_of_examples_and_an_export_of_an_image_run_of_images(frame: pd.DataFrame, bits: dict[Any, Any]) -> None:
    plain = report_table(frame, bits=bits, draws=500)
    exported = report_table(frame.assign(checkpoint_hash="dense", cell_key="cell"), bits=bits, draws=500)
    assert (plain.metric.example, exported.metric.example) == ("example", "image")
    assert plain.claims == ()
    assert [point.paper for point in plain.spectrum.points] == [None] * len(exported.spectrum.points)
    assert [claim.id for claim in exported.claims]
    assert [point.paper for point in exported.spectrum.points] == [
        paper_kappa(point.sparsity) for point in exported.spectrum.points
    ]
    (theirs,) = [note for note in plain.notes if "McNemar" in note]
    (ours,) = [note for note in exported.notes if "McNemar" in note]
    assert ours.replace("images", "examples") == theirs != ours
    assert plain.lines == exported.lines, "no number changes"


def test_a_kept_report_that_names_no_example_is_of_images(document: ReportDocument) -> None:
    data = document.to_dict()
    assert "example" not in data["metric"]
    assert ReportDocument.from_dict(data).metric.example == "image"
    told = ReportDocument.from_dict({**data, "metric": {**data["metric"], "example": "sentence"}})
    assert told.to_dict()["metric"]["example"] == "sentence"
    assert "new sentences" in render(told, "md")
