"""The other tables: verdicts in short, plateau, κ(S), winners, claims, single networks, provenance, deviations."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import ClaimInfo, KappaInfo, PlateauInfo
from sics_analysis.report.document.lines import McNemarInfo
from sics_analysis.report.document.rows import Cell, Deviation
from sics_analysis.report.tables.by_scorer import attribution
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
    status,
    table,
    verdict,
)
from sics_analysis.report.words.phrases import (
    GLYPHS,
    MEANING,
    NONE,
    decimals,
    kappa_text,
    no_deviations,
    number,
    p_value,
    reference_accuracy,
    reference_kappa,
)
from sics_analysis.report.words.said import FLAG, checks_title, value_text
from sics_analysis.results import DataCheck, Seed, Winner

#: Characters of a role that fit beside the numbers of four S at 80 columns.
_ROLE = 12


@of_document
def overview(document: ReportDocument) -> ReportTable:
    """The reference with its accuracy, then a row per scorer; a column per S with glyph of the verdict and difference."""
    reference = document.settings.reference
    lines = {(line.scorer, line.sparsity): line for line in document.lines}
    kappa = {scorer.name: kappa_text(scorer) for scorer in document.scorers} | {reference: reference_kappa(document)}

    def name(scorer: str) -> TableCell:
        return TableCell(scorer, scorer, head=True, short=f"{reference} (reference)" if scorer == reference else "")

    def role(scorer: str) -> TableCell:
        # A role is free text: beside the page, where the numbers need the room, a long one gives way.
        return TableCell(kappa[scorer], kappa[scorer], short=NONE if len(kappa[scorer]) > _ROLE else "")

    def value(scorer: str, S: float) -> TableCell:
        if scorer == reference:
            return num(reference_accuracy(document, S), lambda value: value_text(document, value))
        line = lines.get((scorer, S))
        if line is None or line.mean is None:
            return TableCell(NONE)
        glyph = f"{GLYPHS[line.verdict]}{FLAG if document.flagged(scorer, S) else ''}"
        return TableCell(number(line.mean), line.mean, str(line.verdict), glyph, line.sentence)

    values = [info.sparsity for info in document.sparsities]
    columns: tuple[Column[str], ...] = (
        Column("Scorer", "scorer", name, left=True),
        Column("κ", "κ", role, left=True),
        *(Column(f"S = {S:g}", f"S = {S:g}", lambda scorer, S=S: value(scorer, S)) for S in values),  # type: ignore[misc]
    )
    caption = (
        "Accuracy of the reference; difference to it in accuracy points for every other scorer. "
        f"{'; '.join(_key(word, glyph) for word, glyph in GLYPHS.items())}."
    )
    return table("overview", "In short", caption, columns, [reference, *(scorer.name for scorer in document.compared)])


def _key(word: str, glyph: str) -> str:
    return f"{glyph} {word} ({MEANING[word]})" if word in MEANING else f"{glyph} {word}"


@of_document
def plateaus(document: ReportDocument) -> ReportTable:
    """The joint claim about the κ = 0 scorers, S by S."""
    columns: tuple[Column[PlateauInfo], ...] = (
        Column("S", "S", lambda claim: sparsity(claim.sparsity)),
        Column("Rank-monotone scorers", "scorers", lambda claim: TableCell(", ".join(claim.scorers)), left=True),
        Column("n", "n", lambda claim: count(claim.n)),
        Column("Interval", "interval", lambda claim: limits(claim.interval), "holds every line's own"),
        p_column("p", "p", lambda claim: claim.p, "intersection-union"),
        p_column("Sign-flip", "", lambda claim: claim.p_signflip),
        Column("Verdict", "verdict", lambda claim: verdict(claim.verdict, claim.sentence), left=True),
        Column("Why", "why", lambda claim: TableCell(claim.reason, claim.reason), left=True, wide=True),
    )
    caption = (
        f"That all rank-monotone scorers (κ = 0) lie within ±{document.settings.delta:g} points of {document.settings.reference} "
        "at once: every line at α, without correction. Identical masks are an identity, not evidence."
    )
    if document.looks is not None:
        caption += " Every p is sequential, every interval repeated."
    return table("plateau", "Plateau", caption, columns, document.plateaus, "The rows hold no second scorer of κ = 0.")


@of_document
def spectrum(document: ReportDocument) -> ReportTable:
    """κ(S) with the p of every value."""

    def p(kappa: int) -> Column[KappaInfo]:
        heading = f"p κ = {kappa}"
        return p_column(heading, heading.replace(" = ", "="), lambda point: point.p_values and point.p_values[kappa])

    def left(point: KappaInfo) -> TableCell:
        return TableCell(f"{{{', '.join(map(str, point.not_rejected))}}}")

    paper: Column[KappaInfo] = Column("Paper", "paper", lambda point: count(point.paper or 0), left=True)
    columns: tuple[Column[KappaInfo], ...] = (
        Column("S", "S", lambda point: sparsity(point.sparsity)),
        Column("n", "n", lambda point: count(point.n)),
        Column("κ(S)", "κ(S)", _claimed, left=True),
        *([paper] if document.metric.is_image_accuracy else []),
        Column("Not rejected", "not rejected", left, left=True),
        *map(p, (0, 1, 2)),
        Column("Level", "level", lambda point: TableCell(f"{point.level:.3g}", point.level), "α after Holm's steps over S"),
        p_column("Claim p", "", lambda point: point.p_claim_adjusted, "Holm-adjusted over S"),
    )
    caption = (
        "κ(S) is the complexity a scorer needs to leave the plateau. The three values are tested and one is claimed only "
        f"when it alone is not rejected. {document.spectrum.trend_sentence}"
    ).strip()
    if document.looks is not None:
        caption += " Every p is sequential: α is that of all looks together."
    return table("kappa", "κ(S)", caption, columns, document.spectrum.points, f"Not available: {document.spectrum.reason}.")


def _claimed(point: KappaInfo) -> TableCell:
    if point.kappa is not None:
        return TableCell(f"{point.kappa} claimed", point.kappa, "supported", "●", point.sentence)
    text = "undetermined" if point.p_values is not None else f"not available: {point.reason}"
    return TableCell(text, None, "undecided", "?", point.sentence)


def _status(claim: ClaimInfo) -> TableCell:
    found = status(claim.status)
    return replace(found, text=claim.outcome) if claim.outcome else found


def scorecard(claims: Sequence[ClaimInfo], name: str = "scorecard", title: str = "Scorecard") -> ReportTable:
    """Claimed, measured, status."""
    anchor = "claim" if name == "scorecard" else name
    anchors = {id(claim): f"{anchor}-{place}" for place, claim in enumerate(claims, start=1)}
    columns: tuple[Column[ClaimInfo], ...] = (
        Column("Claim", "claim", lambda claim: TableCell(claim.id, claim.id, head=True, link=anchors[id(claim)]), left=True),
        Column("Claimed", "claimed", lambda claim: TableCell(claim.claimed), left=True),
        Column("S", "S", lambda claim: sparsity(claim.sparsity)),
        Column("n", "n", lambda claim: count(claim.n)),
        Column("Ours", "ours", lambda claim: num(claim.estimate)),
        Column("Interval", "interval", lambda claim: limits(claim.interval)),
        p_column("p", "p", lambda claim: claim.p),
        Column("Status", "status", _status, left=True),
        Column("Source", "source", lambda claim: TableCell(claim.source or NONE, claim.source), left=True),
    )
    caption = "Where a claim speaks of several S, the numbers are those of the S that decides it."
    if name == "scorecard":
        caption += (
            " Single features are tested at a fixed strength; the paper's are fusions with searched weights, of which the claims "
            "named fusion-… are. Source: the abstract, or a public review of the text. A size in percent is of the reference's "
            "own accuracy here; where points and percent are both open, it is contradicted only where it is in both."
        )
    return table(name, title, caption, columns, claims, "No claims.")


@of_document
def winners(document: ReportDocument) -> ReportTable:
    """The best of the family at each S, by its simultaneous interval alone."""
    columns: tuple[Column[Winner], ...] = (
        Column("S", "S", lambda best: sparsity(best.sparsity)),
        Column("Scorer", "scorer", lambda best: named(best.scorer), left=True),
        Column("of", "of", lambda best: count(best.family)),
        Column("n", "n", lambda best: count(best.n)),
        Column("Level", "level", lambda best: TableCell(f"{100 * best.interval.level:g} %", best.interval.level)),
        Column("Simultaneous interval", "simultaneous", lambda best: limits(best.interval)),
    )
    caption = (
        "The scorer with the largest mean difference, by an interval that holds for whichever scorer the data pick. Its own mean "
        "is not given: it was selected for being large."
    )
    if document.looks is not None:
        caption += " The interval holds at all looks together too."
    absent = "No scorer of the family could be tested."
    return table("winners", "The best of each family", caption, columns, document.winners, absent)


_Pair = tuple[float, str]  # sparsity and scorer


def _pairs(rows: Sequence[McNemarInfo | Cell]) -> list[_Pair]:
    return list(dict.fromkeys((row.sparsity, row.scorer) for row in rows))


_OF_PAIR: tuple[Column[_Pair], ...] = (
    Column("S", "S", lambda pair: sparsity(pair[0])),
    Column("Scorer", "scorer", lambda pair: named(pair[1]), left=True),
)


def _by_seed(seed: Seed, cells: dict[tuple[float, str, Seed], TableCell]) -> Column[_Pair]:
    return Column(f"seed {seed}", f"seed {seed}", lambda pair: cells.get((*pair, seed), TableCell(NONE)))


@of_document
def mcnemar(document: ReportDocument) -> ReportTable:
    """Exact McNemar of every network, a column a seed."""
    alpha, reference = document.settings.alpha, document.settings.reference

    def cell(row: McNemarInfo) -> TableCell:
        # Words of its own: a verdict would be about networks of other seeds too.
        won = document.metric.turned(row.difference) > 0
        word, glyph = ("", "") if row.p > alpha else ("won", "↑") if won else ("lost", "↓")
        title = f"only {row.scorer} right: {row.only_scorer}; only {reference} right: {row.only_reference}; of {row.total}"
        text = f"{row.only_scorer}:{row.only_reference} p {p_value(row.p)}"
        return TableCell(text, row.p, word, glyph, title, short=f"{number(row.difference)} ({p_value(row.p)})")

    cells = {(row.sparsity, row.scorer, row.seed): cell(row) for row in document.mcnemar}
    met = {row.seed for row in document.mcnemar}
    seeds = [seed for seed in document.seeds if seed in met]
    caption = "Exact McNemar for each pair of networks: a statement about those two networks only, two-sided, unadjusted."
    page = (
        f"Test images only the scorer's network gets right, against images only that of {reference} does, and p; an arrow marks "
        f"p ≤ {alpha:g}: ↑ won, ↓ lost."
    )
    columns = (*_OF_PAIR, *(_by_seed(seed, cells) for seed in seeds))
    # Numbers, one an example, gave intervals for new examples all the same.
    networks = reference in {scorer.name for scorer in document.scorers}
    numbers = networks and any(line.crossed is not None for line in document.lines)
    absent = f"The rows hold {'numbers an example, not right or wrong' if numbers else 'no per-example results'}."
    found = table("mcnemar", "McNemar, seed by seed", caption, columns, _pairs(document.mcnemar), absent)
    return replace(found, on_page=page, beside="Difference in points, and p.")


@of_document
def cells(document: ReportDocument) -> ReportTable:
    """Every accuracy in percent, a column a seed."""
    rows: dict[_Pair, list[Cell]] = {}
    for row in document.cells:
        rows.setdefault((row.sparsity, row.scorer), []).append(row)

    def spread(pair: _Pair) -> TableCell:
        found = [row.accuracy for row in rows[pair]]
        return num(document.metric.scale * statistics.stdev(found) if len(found) > 1 else None, decimals)

    def overlap(pair: _Pair) -> TableCell:
        found = [row.jaccard for row in rows[pair] if row.jaccard is not None]
        return num(statistics.fmean(found) if found else None, lambda value: NONE if value is None else f"{value:.3f}")

    seeds = dict.fromkeys([*document.seeds, *(row.seed for row in document.cells)])

    def value(found: float) -> TableCell:
        return num(found, lambda known: value_text(document, known))

    shown = {(row.sparsity, row.scorer, row.seed): value(row.accuracy) for row in document.cells}
    columns: tuple[Column[_Pair], ...] = (
        *_OF_PAIR,
        Column("Mean", "", lambda pair: value(statistics.fmean(row.accuracy for row in rows[pair]))),
        Column("sd", "", spread, "points, between seeds"),
        Column("Overlap", "", overlap, "mean Jaccard index of the kept units with magnitude's"),
        *(_by_seed(seed, shown) for seed in seeds),
    )
    if all(row.jaccard is None for row in document.cells):
        columns = tuple(column for column in columns if column.heading != "Overlap")
    return table("cells", "Accuracies", "S = 0 is the unpruned network.", columns, _pairs(document.cells), "No cells.")


def provenance(document: ReportDocument) -> ReportTable:
    """Where the numbers come from."""
    settings, identity = document.settings, document.source.identity
    facts = [
        ("source", document.source.title),
        *([("identity", identity)] if identity and identity not in {fact.value for fact in document.provenance} else []),
        ("unit, pool", f"{document.unit or 'unknown'}, {document.pool or 'unknown'}"),
        ("seeds", ", ".join(map(str, document.seeds))),
        ("δ, α, reference", f"{settings.delta:g} {document.metric.short}, {settings.alpha:g}, {settings.reference}"),
        ("fixed", settings.fixed),
        *([("looks", f"{document.looks.plan.describe()} {document.looks.made} made.")] if document.looks else []),
        ("random draws", f"{settings.draws} rotations, root {settings.seed}"),
        *((fact.label, fact.value) for fact in document.provenance),
    ]
    columns: tuple[Column[tuple[str, str]], ...] = (
        Column("what", "what", lambda fact: TableCell(fact[0]), left=True),
        Column("value", "value", lambda fact: TableCell(fact[1]), left=True),
    )
    return table("provenance", "Provenance", "", columns, facts)


def checks(document: ReportDocument) -> ReportTable:
    """What to know of the rows before any verdict."""
    columns: tuple[Column[DataCheck], ...] = (
        Column("", "level", lambda check: TableCell(str(check.level)), left=True),
        Column("", "about", lambda check: TableCell(check.kind), left=True),
        Column("", "what", lambda check: TableCell(check.text), left=True, wide=True),
    )
    return table("checks", checks_title(document), "", columns, document.checks)


def deviations(document: ReportDocument) -> ReportTable:
    """What is not as planned."""
    columns: tuple[Column[Deviation], ...] = (
        Column("kind", "kind", lambda item: TableCell(item.kind), left=True),
        Column("scorer", "scorer", lambda item: TableCell(item.scorer or NONE), left=True),
        Column("S", "S", lambda item: TableCell(NONE if item.sparsity is None else f"{item.sparsity:g}"), left=True),
        Column("seed", "seed", lambda item: TableCell(NONE if item.seed is None else str(item.seed)), left=True),
        Column("what", "what", lambda item: TableCell(item.text), left=True),
    )
    return table("deviations", "Deviations from the plan", "", columns, document.deviations, no_deviations(document))


#: The tables that rows without a column kappa have nothing for.
OF_KAPPA = (plateaus, spectrum, attribution)
