"""The tables of the page with a row a line: equivalence, escapes, intervals, attribution."""

from __future__ import annotations

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import LineInfo
from sics_analysis.report.tables.by_scorer import beyond
from sics_analysis.report.tables.html_cells import Cell, Column, Table, named, num, sparsity, verdict_cell
from sics_analysis.report.words.phrases import NONE, interval, kappa_text, number, p_value


def _range(document: ReportDocument) -> str:
    return f"{100 * (1 - 2 * document.settings.alpha):g} %"


def equivalence(document: ReportDocument) -> Table:
    """Every line with its equivalence tests."""
    settings = document.settings
    columns = (
        Column("S", True), Column("Scorer"), Column("κ"), Column("n", True, "complete seeds"),
        Column("Difference", True, "accuracy points"), Column(f"{_range(document)} interval", True, "Student t; decides"),
        Column("p", True, "paired t-TOST"), Column("Holm", True, "over the lines of this S"),
        Column("Sign-flip", True, "exact TOST"), Column("Bootstrap", True, "studentized"),
        Column("Smallest δ", True, "at which the line would be equivalent"), Column("Verdict"), Column("Why", wide=True),
    )  # fmt: skip
    kappa = {scorer.name: kappa_text(scorer) for scorer in document.scorers}
    rows = tuple(
        (
            sparsity(line.sparsity), named(line.scorer), Cell(kappa[line.scorer], kappa[line.scorer]), Cell(str(line.n), line.n),
            num(line.mean), Cell(interval(line.ci_equivalence), line.mean), num(line.p_equivalence, p_value),
            num(line.p_equivalence_holm, p_value), num(line.p_equivalence_signflip, p_value),
            num(line.p_equivalence_bootstrap, p_value), Cell(plain_number(line.smallest_delta), line.smallest_delta),
            verdict_cell(line.verdict, title=line.sentence), Cell(line.reason, line.reason),
        )
        for line in document.lines
    )  # fmt: skip
    caption = (
        f"Each scorer against {settings.reference}. A line is equivalent exactly when its {_range(document)} interval lies "
        f"inside ±{settings.delta:g} points (paired t-TOST at α = {settings.alpha:g}, unadjusted). Beside it, deciding nothing: "
        "Holm over the lines of an S, the exact sign-flip TOST, the studentized bootstrap."
    )
    return Table("equivalence", "Equivalence", caption, columns, rows, "No scorer beside the reference.")


def escapes(document: ReportDocument) -> Table:
    """Every line with its tests above +δ and below −δ."""
    delta = document.settings.delta
    level = f"{100 * (1 - document.settings.alpha):g} %"
    columns = (
        Column("S", True), Column("Scorer"), Column("Tested", False, "in the escape family, or on its own"),
        Column("Difference", True, "accuracy points"), Column(f"Simultaneous {level}", True),
        Column(f"p above +{delta:g}", True, "adjusted; decides"), Column("Holm", True), Column("Joint sign-flip", True),
        Column("Unadjusted", True), Column("p above 0", True, "plain superiority, unadjusted"),
        Column(f"p below −{delta:g}", True, "adjusted; decides"), Column("Smallest p", True, "an exact sign-flip test can give"),
        Column("g_z", True, "Hedges, standardised by the sd between seeds"), Column("g_z 95 %", True), Column("Verdict"),
    )  # fmt: skip
    rows = tuple(
        (
            sparsity(line.sparsity), named(line.scorer), Cell("family" if line.in_family else "alone"), num(line.mean),
            Cell(interval(line.simultaneous), None if line.simultaneous is None else line.mean),
            num(line.p_escape_adjusted, p_value), num(line.p_escape_holm, p_value), num(line.p_escape_signflip_joint, p_value),
            num(line.p_escape, p_value), num(line.p_superior, p_value), num(line.p_degrade_adjusted, p_value),
            num(line.p_min_attainable, p_value), num(line.g_z), Cell(interval(line.g_z_ci), line.g_z),
            verdict_cell(line.verdict, title=line.sentence),
        )
        for line in document.lines
    )  # fmt: skip
    caption = (
        "One-sided tests of a minimal effect. In the family p is adjusted by the rotation max-T, step-down, within each S; "
        "Holm and the exact joint sign-flip stand beside it as cross-checks. Scorers outside it are tested alone, unadjusted."
    )
    return Table("escapes", "Escape and degradation", caption, columns, rows, "No scorer beside the reference.")


def intervals(document: ReportDocument) -> Table:
    """Every interval of a difference, and the differences by seed."""
    columns = (
        Column("S", True), Column("Scorer"), Column("Difference", True), Column("sd", True, "between seeds"),
        Column("Student t 95 %", True, "primary"), Column("Bootstrap-t 95 %", True), Column("BCa 95 %", True),
        Column("Crossed 95 %", True, "new seeds and new images"), Column("By seed", False, "in the order of the seeds"),
    )  # fmt: skip
    rows = tuple(
        (
            sparsity(line.sparsity), named(line.scorer), num(line.mean), Cell(plain_number(line.sd), line.sd),
            Cell(interval(line.ci95), line.mean), Cell(interval(line.studentized), line.mean),
            Cell(interval(line.bca), line.mean), Cell(interval(line.crossed), None if line.crossed is None else line.mean),
            Cell("  ".join(number(value) for value in line.differences), title=_by_seed(line)),
        )
        for line in document.lines
    )  # fmt: skip
    caption = (
        "All intervals of a difference, in accuracy points. The crossed bootstrap resamples seeds and test images independently; "
        "it needs the per-example results." + beyond(document)
    )
    return Table("intervals", "Intervals and single seeds", caption, columns, rows, "No scorer beside the reference.")


def _by_seed(line: LineInfo) -> str:
    pairs = zip(line.seeds, line.differences, strict=True)
    return "; ".join(f"seed {seed}: {number(value)}" for seed, value in pairs)


def attribution(document: ReportDocument) -> Table:
    """What is due to information and what to complexity."""
    columns = (
        Column("S", True), Column("Scorer"), Column("κ", True), Column("Gain", True, f"over {document.settings.reference}"),
        Column("Information", True, "what the control gains"), Column("Complexity", True, "gain − information"),
        Column("its 95 %", True, "Student t"), Column("Simultaneous", True),
        Column("p above 0", True, "adjusted"), Column("p equal", True, "paired t-TOST"),
        Column("Verdict"), Column("Why", wide=True),
    )  # fmt: skip
    rows = tuple(
        (
            sparsity(line.sparsity), named(line.scorer), Cell(str(line.kappa), line.kappa), num(line.gain), num(line.information),
            num(line.complexity), Cell(interval(line.ci95), line.complexity),
            Cell(interval(line.simultaneous), None if line.simultaneous is None else line.complexity),
            num(line.p_superior_adjusted, p_value), num(line.p_equivalence, p_value),
            verdict_cell(line.verdict, title=line.sentence), Cell(line.reason, line.reason),
        )
        for line in document.attribution
    )  # fmt: skip
    caption = (
        "The control information sees the same saliency as the scorers of κ ≥ 1 but is monotone in it. Gain = information + "
        "complexity, seed by seed; the verdict is on the second part."
    )
    empty = "Not available: it takes the control information beside scorers of κ ≥ 1, with another reference."
    return Table("attribution", "Complexity or information", caption, columns, rows, empty)


def plain_number(value: float | None) -> str:
    """A number without a sign."""
    return NONE if value is None else f"{value:.2f}"
