"""The tables of a report as plain cells, from which Markdown and LaTeX are laid out; user text stands in them as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sics_analysis.report.document import ClaimInfo, LineInfo, ReportDocument
from sics_analysis.report.text import (
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
from sics_analysis.results import Verdict


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and whether its cells are aligned right."""

    heading: str
    right: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """One table.

    Attributes
    ----------
    id
        A word of letters.
    title, note
        What it shows, and how to read its columns.
    rows
        Cells of text, as many a row as `columns`.
    breaks
        Rows before which a new group (an S) begins.
    absent
        Why there are no rows.
    """

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    breaks: frozenset[int] = frozenset()
    absent: str = ""


def verdict_text(verdict: Verdict) -> str:
    """The verdict with its glyph."""
    return f"{GLYPHS[verdict]} {verdict}"


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


def equivalence(document: ReportDocument) -> Grid:
    """Every line with its equivalence tests."""
    settings = document.settings
    level = f"{100 * (1 - 2 * settings.alpha):g} %"
    rows, breaks = _by_sparsity(
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
    rows, breaks = _by_sparsity(
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
        "gain over the reference = what the control information gains from the same saliency + what complexity adds; intervals (95 % "
        "alone, and jointly within an S), p (adjusted within an S) and verdict, at "
        f"δ = {document.settings.delta:g}, are about what complexity adds."
    )
    absent = "Not available: it needs the scorer information beside scorers of κ ≥ 1, with another reference."
    return Grid("attribution", "Attribution", columns, tuple(rows), note, frozenset(breaks), absent)


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


def intervals(document: ReportDocument) -> Grid:
    """Every interval of a difference at 95 %."""
    rows, breaks = _by_sparsity(
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
        "from per-example results."
    )
    absent = "No scorer stands beside the reference."
    return Grid("intervals", "Intervals", columns, rows, note, breaks, absent)


def mcnemar(document: ReportDocument) -> Grid:
    """Exact McNemar of every network, a column a seed."""
    seeds = list(dict.fromkeys(row.seed for row in document.mcnemar))
    found: dict[tuple[float, str], dict[object, str]] = {}
    for row in document.mcnemar:
        found.setdefault((row.sparsity, row.scorer), {})[row.seed] = f"{number(row.difference)} ({p_value(row.p)})"
    rows, breaks = _matrix(found, seeds)
    columns = (Column("S"), Column("scorer"), *(Column(f"seed {seed}", True) for seed in seeds))
    note = "Difference in points and exact two-sided p: a statement about the two networks of that seed only."
    return Grid("mcnemar", "McNemar, seed by seed", columns, rows, note, breaks, "The rows carry no per-example results.")


def cells(document: ReportDocument) -> Grid:
    """Every accuracy in percent, a column a seed."""
    seeds = list(dict.fromkeys([*document.seeds, *(cell.seed for cell in document.cells)]))
    found: dict[tuple[float, str], dict[object, str]] = {}
    for cell in document.cells:
        found.setdefault((cell.sparsity, cell.scorer), {})[cell.seed] = f"{100 * cell.accuracy:.2f}"
    rows, breaks = _matrix(found, seeds)
    columns = (Column("S"), Column("scorer"), *(Column(f"seed {seed}", True) for seed in seeds))
    return Grid("cells", "Accuracies", columns, rows, "Accuracy in percent; S = 0 is the unpruned network.", breaks, "No cells.")


def _matrix(
    found: dict[tuple[float, str], dict[object, str]], seeds: Sequence[object]
) -> tuple[tuple[tuple[str, ...], ...], frozenset[int]]:
    keys = list(found)
    rows = tuple((f"{S:g}", name, *(found[S, name].get(seed, NONE) for seed in seeds)) for S, name in keys)
    return rows, frozenset(i for i in range(1, len(keys)) if keys[i][0] != keys[i - 1][0])


def provenance(document: ReportDocument) -> Grid:
    """Where the numbers come from."""
    settings = document.settings
    rows = [
        ("source", document.source.title),
        *([("identity", document.source.identity)] if document.source.identity else []),
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


def _by_sparsity(
    lines: Sequence[LineInfo], cells_of: Callable[[LineInfo], tuple[str, ...]]
) -> tuple[tuple[tuple[str, ...], ...], frozenset[int]]:
    rows = tuple((f"{line.sparsity:g}", *cells_of(line)) for line in lines)
    return rows, frozenset(i for i in range(1, len(lines)) if lines[i].sparsity != lines[i - 1].sparsity)
