"""The tables with a row a line: equivalence, escapes, intervals, attribution."""

from __future__ import annotations

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import LineInfo
from sics_analysis.report.tables.table import Column, Grid, by_sparsity, verdict_text
from sics_analysis.report.words.phrases import NONE, interval, number, p_value

_FULL = 100.0  # points between no and every answer right


def equivalence(document: ReportDocument) -> Grid:
    """Every line with its equivalence tests."""
    settings = document.settings
    level = f"{100 * (1 - 2 * settings.alpha):g} %"
    rows, breaks = by_sparsity(
        document.lines,
        lambda line: (
            line.scorer, NONE if line.kappa is None else str(line.kappa), str(line.n), number(line.mean),
            interval(line.ci_equivalence), p_value(line.p_equivalence), p_value(line.p_equivalence_holm),
            p_value(line.p_equivalence_signflip), NONE if line.smallest_delta is None else f"{line.smallest_delta:.2f}",
            verdict_text(line.verdict),
        ),
    )  # fmt: skip
    note = (
        f"Difference to {settings.reference} in accuracy points. p: paired t-TOST at ±{settings.delta:g}; it is at most "
        f"{settings.alpha:g} exactly when the {level} interval lies inside ±{settings.delta:g}. Holm: adjusted over "
        "the lines of an S. flip: exact sign-flip TOST. least δ: smallest margin that is passed."
    )
    right = ("n", "diff.", f"{level} interval", "p", "Holm", "flip", "least δ")
    columns = (Column("S"), Column("scorer"), Column("κ"), *(Column(text, True) for text in right), Column("verdict"))
    return Grid("equivalence", "Equivalence", columns, rows, note, breaks, "No scorer stands beside the reference.")


def escapes(document: ReportDocument) -> Grid:
    """Every line's tests above +δ and below −δ; in the family adjusted, and with its simultaneous interval."""
    settings = document.settings
    rows, breaks = by_sparsity(
        document.lines,
        lambda line: (
            line.scorer, _tested(line), str(line.n), number(line.mean),
            interval(line.simultaneous), p_value(line.p_escape_adjusted), p_value(line.p_escape_holm),
            p_value(line.p_escape_signflip_joint), p_value(line.p_min_attainable), p_value(line.p_degrade_adjusted),
            _effect(line), verdict_text(line.verdict),
        ),
    )  # fmt: skip
    level = f"{100 * (1 - settings.alpha):g} %"
    note = (
        f"Simultaneous {level} intervals hold jointly within an S. p up and p down: above +{settings.delta:g} and below "
        f"−{settings.delta:g}, rotation max-T, adjusted in the family of the S; Holm and joint sign-flip beside p up. alone: "
        "outside the family, a one-sided t-test of its own, unadjusted. least p: smallest p an exact sign-flip test of n seeds "
        "can give. g: Hedges' standardised difference."
    )
    right = ("n", "diff.", "simultaneous", "p up", "Holm", "flip", "least p", "p down", "g")
    columns = (Column("S"), Column("scorer"), Column("κ"), *(Column(text, True) for text in right), Column("verdict"))
    return Grid("escapes", "Escapes", columns, rows, note, breaks, "No scorer stands beside the reference.")


def _tested(line: LineInfo) -> str:
    if not line.in_family:
        return "alone"
    return NONE if line.kappa is None else str(line.kappa)


def _effect(line: LineInfo) -> str:
    return NONE if line.g_z is None else number(line.g_z)


def attribution(document: ReportDocument) -> Grid:
    """What is due to information and what to complexity."""
    rows, last = [], None
    breaks = set()
    for i, line in enumerate(document.attribution):
        if last is not None and line.sparsity != last:
            breaks.add(i)
        cells = (
            line.scorer, str(line.kappa), str(line.n), number(line.gain), number(line.information), number(line.complexity),
            interval(line.ci95), interval(line.simultaneous), p_value(line.p_superior_adjusted), verdict_text(line.verdict),
        )  # fmt: skip
        rows.append((f"{line.sparsity:g}", *cells))
        last = line.sparsity
    right = ("n", "gain", "information", "complexity", "its 95 %", "simultaneous", "p > 0")
    columns = (Column("S"), Column("scorer"), Column("κ"), *(Column(text, True) for text in right), Column("verdict"))
    note = (
        "gain over the reference = what the control information gains from the same saliency + what complexity adds; intervals "
        "(95 % alone, and jointly within an S), p (adjusted within an S) and verdict, at "
        f"δ = {document.settings.delta:g}, are about what complexity adds."
    )
    absent = "Not available: it needs the scorer information beside scorers of κ ≥ 1, with another reference."
    return Grid("attribution", "Attribution", columns, tuple(rows), note, frozenset(breaks), absent)


def intervals(document: ReportDocument) -> Grid:
    """Every interval of a difference at 95 %."""
    rows, breaks = by_sparsity(
        document.lines,
        lambda line: (
            line.scorer, str(line.n), NONE if line.sd is None else f"{line.sd:.2f}", interval(line.ci95),
            interval(line.studentized), interval(line.bca), interval(line.crossed),
        ),
    )  # fmt: skip
    right = ("n", "sd", "Student t", "bootstrap-t", "BCa", "crossed")
    columns = (Column("S"), Column("scorer"), *(Column(text, True) for text in right))
    note = (
        "95 % intervals of the difference, points. Student t is the primary one. crossed: for new seeds and new test images, "
        f"from per-example results.{beyond(document)}"
    )
    absent = "No scorer stands beside the reference."
    return Grid("intervals", "Intervals", columns, rows, note, breaks, absent)


def beyond(document: ReportDocument) -> str:
    """A sentence about intervals that reach further than accuracies can differ; "" where none does."""
    made = [interval for line in document.lines for interval in (line.ci95, line.studentized, line.bca, line.crossed)]
    if not any(found is not None and (found.low < -_FULL or found.high > _FULL) for found in made):
        return ""
    return " With few seeds an interval may reach beyond ±100, where no difference can lie; bootstrap-t most of all."
