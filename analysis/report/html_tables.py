"""The tables of the page below its figures."""

from __future__ import annotations

import statistics

from sics_analysis.report.document import LineInfo, ReportDocument, Seed
from sics_analysis.report.html_cells import Cell, Column, Table, named, num, sparsity, verdict_cell
from sics_analysis.report.text import (
    NONE,
    interval,
    kappa_text,
    number,
    p_value,
    percent,
)


_WON = {"won": "↑", "lost": "↓"}


def report_tables(document: ReportDocument) -> tuple[Table, ...]:
    """All tables below the figures, in the order of the page."""
    return (
        _plateaus(document),
        _equivalence(document),
        _escapes(document),
        _intervals(document),
        _kappa(document),
        _attribution(document),
        _winners(document),
        _mcnemar(document),
        _cells(document),
    )


def _range(document: ReportDocument) -> str:
    return f"{100 * (1 - 2 * document.settings.alpha):g} %"


def _plateaus(document: ReportDocument) -> Table:
    columns = (
        Column("S", True), Column("Rank-monotone scorers"), Column("n", True), Column("Interval", True, "holds every line’s own"),
        Column("p", True, "intersection-union"), Column("Sign-flip", True), Column("Verdict"), Column("Why", wide=True),
    )  # fmt: skip
    rows = tuple(
        (
            sparsity(claim.sparsity), Cell(", ".join(claim.scorers)), Cell(str(claim.n), claim.n),
            Cell(interval(claim.interval), None if claim.interval is None else claim.interval.low), num(claim.p, p_value),
            num(claim.p_signflip, p_value), verdict_cell(claim.verdict, title=claim.sentence), Cell(claim.reason, claim.reason),
        )
        for claim in document.plateaus
    )  # fmt: skip
    caption = (
        f"That all scorers of κ = 0 lie within ±{document.settings.delta:g} points of {document.settings.reference} at once: "
        "every line at α, without correction. Identical masks are an identity, not evidence."
    )
    return Table("plateau", "The plateau", caption, columns, rows, "The rows hold no second scorer of κ = 0.")


def _equivalence(document: ReportDocument) -> Table:
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
            num(line.p_equivalence_bootstrap, p_value), Cell(_plain(line.smallest_delta), line.smallest_delta),
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


def _escapes(document: ReportDocument) -> Table:
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


def _intervals(document: ReportDocument) -> Table:
    columns = (
        Column("S", True), Column("Scorer"), Column("Difference", True), Column("sd", True, "between seeds"),
        Column("Student t 95 %", True, "primary"), Column("Bootstrap-t 95 %", True), Column("BCa 95 %", True),
        Column("Crossed 95 %", True, "new seeds and new images"), Column("By seed", False, "in the order of the seeds"),
    )  # fmt: skip
    rows = tuple(
        (
            sparsity(line.sparsity), named(line.scorer), num(line.mean), Cell(_plain(line.sd), line.sd),
            Cell(interval(line.ci95), line.mean), Cell(interval(line.studentized), line.mean),
            Cell(interval(line.bca), line.mean), Cell(interval(line.crossed), None if line.crossed is None else line.mean),
            Cell("  ".join(number(value) for value in line.differences), title=_by_seed(line)),
        )
        for line in document.lines
    )  # fmt: skip
    caption = (
        "All intervals of a difference, in accuracy points. The crossed bootstrap resamples seeds and test images independently; "
        "it needs the per-example results."
    )
    return Table("intervals", "Intervals and single seeds", caption, columns, rows, "No scorer beside the reference.")


def _by_seed(line: LineInfo) -> str:
    pairs = zip(line.seeds, line.differences, strict=True)
    return "; ".join(f"seed {seed}: {number(value)}" for seed, value in pairs)


def _kappa(document: ReportDocument) -> Table:
    columns = (
        Column("S", True), Column("n", True), Column("κ(S)"), Column("Paper", True), Column("Not rejected"),
        Column("p κ = 0", True), Column("p κ = 1", True), Column("p κ = 2", True), Column("Level", True, "α after Holm's steps"),
        Column("Claim p", True, "Holm-adjusted over S"),
    )  # fmt: skip
    rows = []
    for point in document.spectrum.points:
        claimed = point.kappa is not None
        rows.append(
            (
                sparsity(point.sparsity), Cell(str(point.n), point.n),
                Cell(
                    f"{point.kappa} claimed" if claimed else "undetermined", point.kappa, "supported" if claimed else "undecided",
                    "●" if claimed else "?", point.sentence,
                ),
                Cell(str(point.paper), point.paper), Cell("{" + ", ".join(map(str, point.not_rejected)) + "}"),
                *(num(p, p_value) for p in (point.p_values or (None, None, None))),
                Cell(f"{point.level:.3g}", point.level), num(point.p_claim_adjusted, p_value),
            )
        )  # fmt: skip
    caption = (
        "κ(S) is the complexity a scorer needs to leave the plateau. The three values are tested and one is claimed only "
        f"when it alone is not rejected. {document.spectrum.trend_sentence}"
    )
    return Table("kappa", "κ(S)", caption, columns, tuple(rows), f"Not available: {document.spectrum.reason}.")


def _attribution(document: ReportDocument) -> Table:
    columns = (
        Column("S", True), Column("Scorer"), Column("κ", True), Column("Gain", True, f"over {document.settings.reference}"),
        Column("Information", True, "what the control gains"), Column("Complexity", True, "gain − information"),
        Column("its 95 %", True, "Student t"), Column("Simultaneous", True), Column("p above 0", True, "adjusted"), Column("p equal", True, "paired t-TOST"),
        Column("Verdict"), Column("Why", wide=True),
    )  # fmt: skip
    rows = tuple(
        (
            sparsity(line.sparsity), named(line.scorer), Cell(str(line.kappa), line.kappa), num(line.gain), num(line.information),
            num(line.complexity), Cell(interval(line.ci95), line.complexity),
            Cell(interval(line.simultaneous), None if line.simultaneous is None else line.complexity),
            num(line.p_superior_adjusted, p_value), num(line.p_equivalence, p_value), verdict_cell(line.verdict, title=line.sentence), Cell(line.reason, line.reason),
        )
        for line in document.attribution
    )  # fmt: skip
    caption = (
        "The control information sees the same saliency as the scorers of κ ≥ 1 but is monotone in it. Gain = information + "
        "complexity, seed by seed; the verdict is on the second part."
    )
    empty = "Not available: it takes the control information beside scorers of κ ≥ 1, with another reference."
    return Table("attribution", "Complexity or information", caption, columns, rows, empty)


def _winners(document: ReportDocument) -> Table:
    columns = (
        Column("S", True),
        Column("Best of the family"),
        Column("of", True),
        Column("n", True),
        Column("Simultaneous interval", True),
    )
    rows = tuple(
        (
            sparsity(best.sparsity), named(best.scorer), Cell(str(best.family), best.family), Cell(str(best.n), best.n),
            Cell(f"{100 * best.interval.level:g} % {interval(best.interval)}", best.interval.low, title=best.sentence),
        )
        for best in document.winners
    )  # fmt: skip
    caption = (
        "The scorer with the largest mean difference, by an interval that holds for whichever scorer the data pick. Its own mean "
        "is not given: it was selected for being large."
    )
    return Table(
        "winners", "The best, without the winner’s curse", caption, columns, rows, "No scorer of the family could be tested."
    )


def _mcnemar(document: ReportDocument) -> Table:
    seeds, reference = document.seeds, document.settings.reference
    columns = (Column("S", True), Column("Scorer"), *(Column(f"seed {seed}", True) for seed in seeds))
    found = {(row.sparsity, row.scorer, row.seed): row for row in document.mcnemar}
    rows = []
    for line in document.lines:
        own = [found.get((line.sparsity, line.scorer, seed)) for seed in seeds]
        if not any(own):
            continue
        cells = []
        for row in own:
            if row is None:
                cells.append(Cell(NONE))
                continue
            title = f"only {row.scorer} right: {row.only_scorer}; only {reference} right: {row.only_reference}; of {row.total}"
            word = ""  # none of the verdicts, which are about networks of other seeds too
            if row.p <= document.settings.alpha:
                word = "won" if row.difference > 0 else "lost"
            text = f"{row.only_scorer}:{row.only_reference}  p {p_value(row.p)}"
            cells.append(Cell(text, row.p, word, _WON.get(word, ""), title))
        rows.append((sparsity(line.sparsity), named(line.scorer), *cells))
    caption = (
        "Exact McNemar for each pair of networks: test images only the scorer’s network gets right, against images only that "
        f"of {reference} does, and the two-sided p. A statement about those two networks only, unadjusted; an arrow marks "
        f"p ≤ {document.settings.alpha:g}: ↑ won, ↓ lost."
    )
    return Table("mcnemar", "McNemar, network by network", caption, columns, tuple(rows), "The rows hold no per-example results.")


def _cells(document: ReportDocument) -> Table:
    seeds = document.seeds
    overlap = any(cell.jaccard is not None for cell in document.cells)
    columns = (
        Column("S", True), Column("Scorer"), Column("Mean", True), Column("sd", True, "points, between seeds"),
        *([Column("Overlap", True, "mean Jaccard index of the kept units with magnitude’s")] if overlap else []),
        *(Column(f"seed {seed}", True) for seed in seeds),
    )  # fmt: skip
    groups: dict[tuple[float, str], dict[Seed, tuple[float, float | None]]] = {}
    for cell in document.cells:
        groups.setdefault((cell.sparsity, cell.scorer), {})[cell.seed] = (cell.accuracy, cell.jaccard)
    rows = []
    for (S, name), values in groups.items():
        accuracy = [value for value, _ in values.values()]
        kept = [value for _, value in values.values() if value is not None]
        sd = statistics.stdev(accuracy) if len(accuracy) > 1 else None
        shared = statistics.fmean(kept) if kept else None
        rows.append(
            (
                sparsity(S), named(name), num(statistics.fmean(accuracy), percent),
                Cell(NONE if sd is None else f"{100 * sd:.2f}", sd),
                *([Cell(NONE if shared is None else f"{shared:.3f}", shared)] if overlap else []),
                *(num(values[seed][0] if seed in values else None, percent) for seed in seeds),
            )
        )  # fmt: skip
    return Table("cells", "Accuracy of every network", "In percent; S = 0 is the unpruned network.", columns, tuple(rows))


def _plain(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"
