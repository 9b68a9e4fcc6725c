"""The tables with a row a line: equivalence, escapes, intervals, attribution."""

from __future__ import annotations

from dataclasses import replace

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import AttributionInfo, LineInfo
from sics_analysis.report.tables.table import (
    Column,
    ReportTable,
    TableCell,
    count,
    limits,
    named,
    num,
    of_document,
    p_column,
    sparsity,
    table,
    verdict,
)
from sics_analysis.report.words.phrases import NONE, decimals, kappa_text, number

_FULL = 100.0  # points between no and every answer right
_ABSENT = "No scorer stands beside the reference."
_S: Column[LineInfo] = Column("S", "S", lambda line: sparsity(line.sparsity))
_SCORER: Column[LineInfo] = Column("Scorer", "scorer", lambda line: named(line.scorer), left=True)
_N: Column[LineInfo] = Column("n", "n", lambda line: count(line.n), "complete seeds")
_MEAN: Column[LineInfo] = Column("Difference", "diff.", lambda line: num(line.mean), "accuracy points")


def _verdict(document: ReportDocument) -> Column[LineInfo]:
    """The verdict of a line, flagged where an open data check touches it."""

    def cell(line: LineInfo) -> TableCell:
        return verdict(line.verdict, line.sentence, document.flagged(line.scorer, line.sparsity))

    return Column("Verdict", "verdict", cell, left=True)


def _level(share: float) -> str:
    return f"{100 * share:g} %"


def _kappa(line: LineInfo) -> str:
    return NONE if line.kappa is None else str(line.kappa)


#: Tests of a fixed number of seeds alone.
_CROSS_CHECKS: tuple[Column[LineInfo], ...] = (
    p_column("Sign-flip", "flip", lambda line: line.p_equivalence_signflip, "exact TOST"),
    p_column("Bootstrap", "", lambda line: line.p_equivalence_bootstrap, "studentized"),
)
_JOINT_CHECKS: tuple[Column[LineInfo], ...] = (
    p_column("Joint sign-flip", "flip", lambda line: line.p_escape_signflip_joint, "exact, jointly"),
    p_column("Smallest p", "least p", lambda line: line.p_min_attainable, "an exact sign-flip test can give"),
)
_BOOTSTRAPS: tuple[Column[LineInfo], ...] = (
    Column("Bootstrap-t 95 %", "bootstrap-t", lambda line: limits(line.studentized, line.mean)),
    Column("BCa 95 %", "BCa", lambda line: limits(line.bca, line.mean)),
)


def _of_equivalence(document: ReportDocument) -> tuple[Column[LineInfo], ...]:
    settings = document.settings
    level = f"{_level(1 - 2 * settings.alpha)} interval"
    role, looked = {scorer.name: kappa_text(scorer) for scorer in document.scorers}, document.looks is not None
    how = "repeated, of now" if looked else "Student t, decides"
    least = "at which the line would be equivalent" + (" by the last look alone" if looked else "")
    return (
        _S, _SCORER,
        Column("κ", "κ", lambda line: TableCell(role[line.scorer], role[line.scorer], short=_kappa(line)), left=True),
        _N, _MEAN,
        Column(level, level, lambda line: limits(line.ci_equivalence, line.mean), how),
        p_column("p", "p", lambda line: line.p_equivalence, "sequential, decides" if looked else "paired t-TOST"),
        p_column("Not worse", "", lambda line: line.p_noninferior, f"above −{settings.delta:g}"),
        p_column("Not better", "", lambda line: line.p_nonsuperior, f"below +{settings.delta:g}"),
        p_column("Holm", "Holm", lambda line: line.p_equivalence_holm, "over the lines of this S"),
        *(() if looked else _CROSS_CHECKS),
        Column("Smallest δ", "least δ", lambda line: num(line.smallest_delta, decimals), least),
        _verdict(document),
        Column("Why", "", lambda line: TableCell(line.reason, line.reason), left=True, wide=True),
    )  # fmt: skip


@of_document
def equivalence(document: ReportDocument) -> ReportTable:
    """Every line with its equivalence tests."""
    settings = document.settings
    level = f"{_level(1 - 2 * settings.alpha)} interval"
    caption = (
        f"Each scorer against {settings.reference}. A line is equivalent exactly when its {level} lies inside "
        f"±{settings.delta:g} points (paired t-TOST at α = {settings.alpha:g}, unadjusted). One half of that test alone makes it "
        f"NONINFERIOR (not worse by {settings.delta:g}) or NONSUPERIOR (not better by {settings.delta:g}), unadjusted too, so no "
        "joint statement about several lines. Every other p beside them decides nothing."
    )
    if document.looks is not None:
        caption = (
            f"Each scorer against {settings.reference}. A line is equivalent once its sequential p (paired t-TOST over all looks "
            f"so far) is at most {settings.alpha:g}, which is so at a look whose repeated {level} lies inside "
            f"±{settings.delta:g} points. One half of that test alone makes it NONINFERIOR (not worse by {settings.delta:g}) or "
            f"NONSUPERIOR (not better by {settings.delta:g}), unadjusted too, so no joint statement about several lines. "
            "Intervals and differences are of all seeds counted so far, also where an earlier look decided."
        )
    return table("equivalence", "Equivalence", caption, _of_equivalence(document), document.lines, _ABSENT)


def _of_escapes(document: ReportDocument) -> tuple[Column[LineInfo], ...]:
    delta, level, looked = document.settings.delta, _level(1 - document.settings.alpha), document.looks is not None
    return (
        _S, _SCORER,
        Column(
            "Tested", "κ",
            lambda line: TableCell(
                "family" if line.in_family else "alone", short=_kappa(line) if line.in_family else "alone"
            ),
            "of the escape family, or alone", left=True,
        ),
        replace(_N, heading=""), _MEAN,
        Column(f"Simultaneous {level}", "simultaneous", lambda line: limits(line.simultaneous, line.mean)),
        p_column("p up", "p up", lambda line: line.p_escape_adjusted, f"above +{delta:g}, adjusted, decides"),
        p_column("p up, run", "p run", lambda line: line.p_escape_adjusted_run, f"above +{delta:g}, over all S: the headline's"),
        p_column("Holm", "Holm", lambda line: line.p_escape_holm),
        *(() if looked else _JOINT_CHECKS),
        p_column("Unadjusted", "", lambda line: line.p_escape, f"above +{delta:g}"),
        p_column("p above 0", "", lambda line: line.p_superior, "plain superiority, unadjusted"),
        p_column("p down", "p down", lambda line: line.p_degrade_adjusted, f"below −{delta:g}, adjusted, decides"),
        Column("g_z", "g", lambda line: num(line.g_z), "Hedges, standardised by the sd between seeds"),
        Column("g_z 95 %", "", lambda line: limits(line.g_z_ci, line.g_z)),
        _verdict(document),
    )  # fmt: skip


@of_document
def escapes(document: ReportDocument) -> ReportTable:
    """Every line's tests above +δ and below −δ; in the family adjusted, and with its simultaneous interval."""
    level = _level(1 - document.settings.alpha)
    caption = (
        "One-sided tests of a minimal effect. In the family p is adjusted by the rotation max-T, step-down, within each S (by "
        "Holm where scorers miss different seeds or seeds are unpaired); Holm and the exact joint sign-flip stand beside it as "
        "cross-checks. A scorer outside it is tested alone, by a t-test of "
        f"its own, unadjusted. Simultaneous {level} intervals hold jointly within an S. The verdicts are those of each S; what "
        "holds over the whole run has its own p, adjusted over the families of all S together."
    )
    if document.looks is not None:
        caption = (
            "One-sided tests of a minimal effect, at every look. Each p is sequential: the smallest α over all looks at which "
            "the line would have been shown by now. In the family it is adjusted by the rotation max-T of each look, step-down, "
            "within each S (by Holm where scorers miss different seeds), and a line that escapes leaves the family of the looks "
            "after it; Holm on each line's own t stands beside it. A scorer outside the family is tested alone, unadjusted. "
            f"Simultaneous {level} intervals hold jointly within an S and at all looks together. The verdicts are those of each "
            "S; what holds over the whole run has its own p, adjusted over the families of all S together."
        )
    return table("escapes", "Escapes", caption, _of_escapes(document), document.lines, _ABSENT)


@of_document
def lines_at(document: ReportDocument, S: float) -> ReportTable:
    """The lines of one S with what decides of both tables."""
    level = f"{_level(1 - 2 * document.settings.alpha)} interval"
    both = (*_of_equivalence(document), *_of_escapes(document))
    wanted = ("scorer", "κ", "n", "diff.", level, "p", "p up", "p down", "verdict")
    columns = tuple(next(column for column in both if column.short == heading) for heading in wanted)
    return table("lines", f"S = {S:g}", "", columns, document.lines_at(S))


@of_document
def intervals(document: ReportDocument) -> ReportTable:
    """Every interval of a difference at 95 %, and the differences by seed."""
    looked = document.looks is not None
    columns: tuple[Column[LineInfo], ...] = (
        _S, _SCORER, _N,
        Column("Difference", "", lambda line: num(line.mean)),
        Column("sd", "sd", lambda line: num(line.sd, decimals), "between seeds"),
        Column("Student t 95 %", "Student t", lambda line: limits(line.ci95, line.mean), "repeated" if looked else "primary"),
        *(() if looked else _BOOTSTRAPS),
        Column("New images 95 %", "new images", lambda line: limits(line.crossed, line.mean), "for new seeds and new images"),
        Column("By seed", "", _by_seed, "in the order of the seeds", left=True),
    )  # fmt: skip
    caption = (
        "All 95 % intervals of a difference, in accuracy points. That for new seeds and new images comes from the two-way "
        "variance components of the per-example results, which it needs."
    )
    if looked:
        caption = (
            "All 95 % intervals of a difference, in accuracy points, repeated: those of all looks hold together. That for new "
            "seeds and new images comes from the two-way variance components of the per-example results, which it needs. "
            "Bootstrap intervals are of a fixed number of seeds, and left out."
        )
    made = [found for line in document.lines for found in (line.ci95, line.studentized, line.bca, line.crossed)]
    if document.metric.is_accuracy and any(found is not None and (found.low < -_FULL or found.high > _FULL) for found in made):
        caption += " With few seeds an interval may reach beyond ±100, where no difference can lie; bootstrap-t most of all."
    return table("intervals", "Intervals", caption, columns, document.lines, _ABSENT)


def _by_seed(line: LineInfo) -> TableCell:
    pairs = zip(line.seeds, line.differences, strict=True)
    title = "; ".join(f"seed {seed}: {number(value)}" for seed, value in pairs)
    return TableCell("  ".join(map(number, line.differences)), title=title)


@of_document
def attribution(document: ReportDocument) -> ReportTable:
    """What is due to information and what to complexity."""
    alone = "Student t, alone" if document.looks is None else "repeated Student t, alone"
    columns: tuple[Column[AttributionInfo], ...] = (
        Column("S", "S", lambda line: sparsity(line.sparsity)),
        Column("Scorer", "scorer", lambda line: named(line.scorer), left=True),
        Column("κ", "κ", lambda line: count(line.kappa), left=True),
        Column("n", "n", lambda line: count(line.n), "complete seeds"),
        Column("Gain", "gain", lambda line: num(line.gain), f"over {document.settings.reference}"),
        Column("Information", "information", lambda line: num(line.information), "what the control gains"),
        Column("Complexity", "complexity", lambda line: num(line.complexity), "gain − information"),
        Column("its 95 % CI", "its 95 % CI", lambda line: limits(line.ci95, line.complexity), alone),
        Column("Simultaneous", "simultaneous", lambda line: limits(line.simultaneous, line.complexity), "jointly within an S"),
        p_column("p above 0", "p > 0", lambda line: line.p_superior_adjusted, "adjusted within an S"),
        p_column("p equal", "", lambda line: line.p_equivalence, "paired t-TOST"),
        Column("Verdict", "verdict", lambda line: verdict(line.verdict, line.sentence), left=True),
        Column("Why", "", lambda line: TableCell(line.reason, line.reason), left=True, wide=True),
    )
    caption = (
        "The control information sees the same saliency as the scorers of κ ≥ 1 but is monotone in it. Gain = information + "
        f"complexity, seed by seed; intervals, p and verdict, at δ = {document.settings.delta:g}, are about what complexity adds."
    )
    if document.looks is not None:
        caption += " They are tested at the looks of the run: p are sequential, intervals repeated, verdicts kept."
    absent = "Not available: it needs the scorer information beside scorers of κ ≥ 1, with another reference."
    return table("attribution", "Attribution", caption, columns, document.attribution, absent)
