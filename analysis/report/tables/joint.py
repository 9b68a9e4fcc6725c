"""The tables of a report as plain cells, from which Markdown and LaTeX are laid out; user text stands in them as it is."""

from __future__ import annotations

from collections.abc import Sequence

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import ClaimInfo
from sics_analysis.report.document.lines import LineInfo
from sics_analysis.report.tables.by_scorer import attribution as attribution
from sics_analysis.report.tables.by_scorer import equivalence as equivalence
from sics_analysis.report.tables.by_scorer import escapes as escapes
from sics_analysis.report.tables.by_scorer import intervals as intervals
from sics_analysis.report.tables.table import Column, Grid, matrix
from sics_analysis.report.words.phrases import (
    GLYPHS,
    NONE,
    STATUS_GLYPHS,
    interval,
    kappa_text,
    no_deviations,
    number,
    p_value,
    percent,
    reference_accuracy,
    reference_kappa,
)


def overview(document: ReportDocument) -> Grid:
    """A row per scorer, a column per S: glyph of the verdict and difference."""
    values = [info.sparsity for info in document.sparsities]
    lines = {(line.scorer, line.sparsity): line for line in document.lines}
    reference = document.settings.reference
    base = [percent(reference_accuracy(document, S)) for S in values]
    rows = [(f"{reference} (reference)", reference_kappa(document), *base)]
    for scorer in document.compared:
        cells = [_overview_cell(lines.get((scorer.name, S))) for S in values]
        rows.append((scorer.name, kappa_text(scorer), *cells))
    note = (
        f"Accuracy of the reference; difference to it in accuracy points for every other scorer. "
        f"{'; '.join(f'{glyph} {word}' for word, glyph in GLYPHS.items())}."
    )
    columns = (Column("scorer"), Column("κ"), *(Column(f"S = {S:g}", True) for S in values))
    return Grid("overview", "In short", columns, tuple(rows), note)


def _overview_cell(line: LineInfo | None) -> str:
    return NONE if line is None or line.mean is None else f"{GLYPHS[line.verdict]} {number(line.mean)}"


def spectrum(document: ReportDocument) -> Grid:
    """κ(S) with the p of every value."""
    rows = []
    for point in document.spectrum.points:
        values = (None, None, None) if point.p_values is None else point.p_values
        claimed = "undetermined" if point.kappa is None else f"{point.kappa} claimed"
        if point.p_values is None:
            claimed = f"not available: {point.reason}"
        left = "{" + ", ".join(map(str, point.not_rejected)) + "}"
        cells = (str(point.paper), left, *map(p_value, values), f"{point.level:.3g}")
        rows.append((f"{point.sparsity:g}", str(point.n), claimed, *cells))
    right = ("p κ=0", "p κ=1", "p κ=2", "level")
    columns = (Column("S"), Column("n", True), Column("κ(S)"), Column("paper"), Column("not rejected"))
    note = f"κ(S) is claimed when one value is left at its level (Holm over S). {document.spectrum.trend_sentence}".strip()
    absent = f"Not available: {document.spectrum.reason}."
    return Grid("kappa", "κ(S)", (*columns, *(Column(text, True) for text in right)), tuple(rows), note, absent=absent)


def scorecard(claims: Sequence[ClaimInfo], name: str = "scorecard", title: str = "Scorecard") -> Grid:
    """Claimed, measured, status."""
    rows = tuple(
        (
            claim.id, claim.claimed, f"{claim.sparsity:g}", str(claim.n), number(claim.estimate), interval(claim.interval),
            p_value(claim.p), f"{STATUS_GLYPHS[claim.status]} {claim.status}",
        )
        for claim in claims
    )  # fmt: skip
    right = ("S", "n", "ours", "interval", "p")
    columns = (Column("claim"), Column("claimed"), *(Column(text, True) for text in right), Column("status"))
    note = "Where a claim speaks of several S, the numbers are those of the S that decides it."
    return Grid(name, title, columns, rows, note, absent="No claims.")


def plateaus(document: ReportDocument) -> Grid:
    """The joint claim about the κ = 0 scorers, S by S."""
    rows = tuple(
        (
            f"{claim.sparsity:g}", ", ".join(claim.scorers), str(claim.n), interval(claim.interval), p_value(claim.p),
            f"{GLYPHS[claim.verdict]} {claim.verdict}", claim.reason,
        )
        for claim in document.plateaus
    )  # fmt: skip
    right = (Column("n", True), Column("interval", True), Column("p", True))
    columns = (Column("S"), Column("scorers"), *right, Column("verdict"), Column("why"))
    note = (
        f"Every rank-monotone scorer within ±{document.settings.delta:g} of {document.settings.reference} at once: an "
        "intersection-union test, each line at α, no correction. The interval holds the interval of every line."
    )
    return Grid("plateau", "Plateau", columns, rows, note, absent="The rows hold no second scorer of κ = 0.")


def winners(document: ReportDocument) -> Grid:
    """The best of the family at each S, by its simultaneous interval alone."""
    rows = tuple(
        (
            f"{best.sparsity:g}", best.scorer, str(best.family), str(best.n), f"{100 * best.interval.level:g} %",
            interval(best.interval),
        )
        for best in document.winners
    )  # fmt: skip
    right = (Column("of", True), Column("n", True), Column("level", True), Column("simultaneous", True))
    note = "Its own mean is not given: it was selected for being large. The interval holds for whichever scorer the data pick."
    absent = "No scorer of the family could be tested."
    return Grid("winners", "The best of each family", (Column("S"), Column("scorer"), *right), rows, note, absent=absent)


def mcnemar(document: ReportDocument) -> Grid:
    """Exact McNemar of every network, a column a seed."""
    seeds = list(dict.fromkeys(row.seed for row in document.mcnemar))
    found: dict[tuple[float, str], dict[object, str]] = {}
    for row in document.mcnemar:
        found.setdefault((row.sparsity, row.scorer), {})[row.seed] = f"{number(row.difference)} ({p_value(row.p)})"
    rows, breaks = matrix(found, seeds)
    columns = (Column("S"), Column("scorer"), *(Column(f"seed {seed}", True) for seed in seeds))
    note = "Difference in points and exact two-sided p: a statement about the two networks of that seed only."
    return Grid("mcnemar", "McNemar, seed by seed", columns, rows, note, breaks, "The rows carry no per-example results.")


def cells(document: ReportDocument) -> Grid:
    """Every accuracy in percent, a column a seed."""
    seeds = list(dict.fromkeys([*document.seeds, *(cell.seed for cell in document.cells)]))
    found: dict[tuple[float, str], dict[object, str]] = {}
    for cell in document.cells:
        found.setdefault((cell.sparsity, cell.scorer), {})[cell.seed] = f"{100 * cell.accuracy:.2f}"
    rows, breaks = matrix(found, seeds)
    columns = (Column("S"), Column("scorer"), *(Column(f"seed {seed}", True) for seed in seeds))
    return Grid("cells", "Accuracies", columns, rows, "Accuracy in percent; S = 0 is the unpruned network.", breaks, "No cells.")


def provenance(document: ReportDocument) -> Grid:
    """Where the numbers come from."""
    settings, identity = document.settings, document.source.identity
    rows = [
        ("source", document.source.title),
        *([("identity", identity)] if identity and identity not in {fact.value for fact in document.provenance} else []),
        ("unit, pool", f"{document.unit or 'unknown'}, {document.pool or 'unknown'}"),
        ("seeds", ", ".join(map(str, document.seeds))),
        ("δ, α, reference", f"{settings.delta:g} points, {settings.alpha:g}, {settings.reference}"),
        ("fixed", settings.fixed),
        ("random draws", f"{settings.draws} rotations, root {settings.seed}"),
        *((fact.label, fact.value) for fact in document.provenance),
    ]
    return Grid("provenance", "Provenance", (Column("what"), Column("value")), tuple(rows))


def deviations(document: ReportDocument) -> Grid:
    """What is not as planned."""
    rows = tuple(
        (
            item.kind, item.scorer or NONE, NONE if item.sparsity is None else f"{item.sparsity:g}",
            NONE if item.seed is None else str(item.seed), item.text,
        )
        for item in document.deviations
    )  # fmt: skip
    columns = (Column("kind"), Column("scorer"), Column("S"), Column("seed"), Column("what"))
    return Grid("deviations", "Deviations from the plan", columns, rows, absent=no_deviations(document))
