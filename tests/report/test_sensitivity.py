"""The verdicts at other margins are those a whole analysis at that margin gives."""

from typing import Any

import pandas as pd
import pytest

from sics_analysis import analyse
from sics_analysis.report import ReportDocument, report_table
from sics_analysis.results import Verdict
from sics_analysis.study.sensitivity import GRID, delta_verdicts


@pytest.mark.parametrize("delta", [0.1, 0.3, 1.0, 2.0])
def test_agrees_with_an_analysis_at_that_margin(document: ReportDocument, frame: pd.DataFrame, delta: float) -> None:
    other = analyse(frame, delta=delta, noise_floor={0.5: 0.0, 0.7: 0.25}, draws=20_000)
    ours = {(d.scorer, d.sparsity): d.verdict for d in document.deltas if d.delta == delta}
    for line in other.lines:
        p = [line.p_escape_adjusted, line.p_degrade_adjusted]
        if any(value is not None and abs(value - 0.05) < 0.005 for value in p):
            continue  # within the Monte Carlo error of either
        assert ours[line.scorer, line.sparsity] is line.verdict, (line.scorer, line.sparsity, p)


def test_at_its_own_margin_a_line_keeps_its_verdict(document: ReportDocument) -> None:
    own = {(d.scorer, d.sparsity): d.verdict for d in document.deltas if d.delta == document.settings.delta}
    assert own == {(line.scorer, line.sparsity): line.verdict for line in document.lines}


def test_the_own_margin_joins_the_grid(make_table: Any) -> None:
    table = make_table({"magnitude": [0.0] * 4, "mine": [1.0, 1.2, 0.9, 1.1]})
    document = report_table(table, delta=0.37, draws=1_000)
    assert [d.delta for d in document.deltas] == sorted({*GRID, 0.37})


def test_verdicts_move_one_way_with_the_margin(document: ReportDocument) -> None:
    """A wider margin never makes an escape, and never unmakes an equivalence, once it is above the noise floor."""
    above = [d for d in document.deltas if d.delta >= 0.25]
    for line in document.lines:
        words = [d.verdict for d in above if (d.scorer, d.sparsity) == (line.scorer, line.sparsity)]
        escapes = [word is Verdict.ESCAPES for word in words]
        same = [word in (Verdict.EQUIVALENT, Verdict.IDENTICAL) for word in words]
        assert escapes == sorted(escapes, reverse=True)
        assert same == sorted(same)


def test_below_the_noise_floor_nothing_is_concluded(document: ReportDocument) -> None:
    for found in document.deltas:
        if found.sparsity == 0.7 and found.delta < 0.25 and found.scorer not in ("power", "log"):
            assert found.verdict is Verdict.INCONCLUSIVE


def test_ragged_seeds_and_too_few(make_table: Any) -> None:
    table = make_table({"magnitude": [0.0] * 5, "a": [2.0, 2.1, 1.9, 2.2, 2.0], "b": [1.0, 1.3, 0.8, 1.1, 1.0]})
    ragged = table[~((table["scorer"] == "b") & (table["seed"] == 4))]
    for rows in (ragged, table[table["seed"] < 2], table[table["seed"] < 1]):
        analysis = analyse(rows, draws=1_000)
        found = delta_verdicts(analysis)
        assert len(found) == 2 * len({*GRID, 0.5})
    assert {d.verdict for d in found} == {Verdict.INCONCLUSIVE}
