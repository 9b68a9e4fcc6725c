"""The tables of the page below its figures."""

from __future__ import annotations

import statistics

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.tables.html_by_scorer import attribution, equivalence, escapes, intervals
from sics_analysis.report.tables.html_cells import Cell, Column, Table, named, num, sparsity, verdict_cell
from sics_analysis.report.words.phrases import NONE, interval, p_value, percent
from sics_analysis.results import Seed

_WON = {"won": "↑", "lost": "↓"}


def report_tables(document: ReportDocument) -> tuple[Table, ...]:
    """All tables below the figures, in the order of the page."""
    return (
        _plateaus(document),
        equivalence(document),
        escapes(document),
        intervals(document),
        _kappa(document),
        attribution(document),
        _winners(document),
        _mcnemar(document),
        _cells(document),
    )


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
            sparsity(best.sparsity or 0.0), named(best.scorer), Cell(str(best.family), best.family), Cell(str(best.n), best.n),
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
