"""The tables of searched scorers: what each part of a gain explains, other controls, budgets, over-fitting, other pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.searched import BesideInfo, PartInfo, PointInfo, PoolInfo, SearchedInfo, SplitInfo, WeightsInfo
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
from sics_analysis.report.words.phrases import NONE, interval, number
from sics_analysis.report.words.searched import OVER_LOOKS, QUESTIONS, reference_of
from sics_analysis.results import Seed, signed

#: What of the split fits beside each other in a terminal.
NARROW = ("S", "features", "n", "gain", "search", "info.", "complexity", "its 95 % CI", "verdict")
NARROW_BESIDE = ("S", "scorer", "against", "diff.", "its 95 % CI", "verdict")
NARROW_POOLS = ("S", "scorer", "over", "n", "diff.", "its 95 % CI", "verdict")
_LOSS_DIGITS = 3
_Row: TypeAlias = tuple[float, str, str]  # S, kind, features


@of_document
def split(document: ReportDocument) -> ReportTable:
    """gain = search + information + complexity, a row a reading of the paper and S."""
    delta = document.settings.delta

    def word(row: SplitInfo) -> TableCell:
        if row.verdict is None:
            return TableCell(NONE, title=row.conclusion)
        return verdict(row.verdict, row.sentence, _flagged(document, row.scorer, row.control, row.sparsity))

    columns: tuple[Column[SplitInfo], ...] = (
        Column("S", "S", lambda row: sparsity(row.sparsity)),
        Column("Features", "features", lambda row: named(row.features), left=True),
        Column("Evaluations", "budget", lambda row: count(row.budget), "of each search"),
        Column("n", "n", lambda row: count(row.n), "complete seeds"),
        *_in_two("Gain", "gain", lambda row: row.gain, f"over {reference_of(document)}"),
        *_in_two("Search", "search", lambda row: row.search, "shuffled features, the same search"),
        *_in_two("Information", "info.", lambda row: row.information, "monotone in the same saliency, over shuffled"),
        *_in_two("Complexity", "complexity", lambda row: row.complexity, "over information by the same search", "its 95 % CI"),
        *_in_two("Over shuffled", "over shuffled", lambda row: row.noise, "the reading less shuffled features, by itself"),
        Column("Simultaneous", "simultaneous", lambda row: limits(row.simultaneous, _mean(row.complexity))),
        Column("Verdict", "verdict", word, left=True),
        p_column("p above 0", "p > 0", lambda row: row.p_superior_adjusted, "adjusted within an S"),
        p_column("p up", "p up", lambda row: row.p_escape_adjusted, f"above +{delta:g}, adjusted within an S"),
        p_column("p pays", "", lambda row: row.p_pays_delta, f"above +{delta:g}, and {reference_of(document)} by that too"),
        p_column("p pays, run", "", lambda row: row.p_pays_delta_run, "over all S"),
        p_column("p equal", "", lambda row: row.p_equivalence, "paired t-TOST"),
    )
    caption = (
        "Gain = search + information + complexity, seed by seed, where every part had the same search: optimiser, evaluations, "
        f"held-out examples, number of weights; 95 % intervals of each part by itself. The verdict, at δ = {delta:g}, is about "
        "complexity."
    )
    caption += f" {OVER_LOOKS}" if document.looks is not None else ""
    return table("split", "What a search gains, and why", caption, columns, _info(document).splits, _absent(document))


def _in_two(
    heading: str, short: str, part: Callable[[SplitInfo], PartInfo | None], hint: str, limits_of: str = ""
) -> tuple[Column[SplitInfo], ...]:
    """A part with its interval: in one column on the page, in two beside it."""

    def interval_of(row: SplitInfo) -> TableCell:
        found = part(row)
        return TableCell(NONE) if found is None else limits(found.ci95, found.mean)

    return (
        Column(heading, "", lambda row: _estimate(part(row)), hint),
        Column("", short, lambda row: num(_mean(part(row))), hint),
        Column("", limits_of or f"{short} 95 % CI", interval_of),
    )


def _mean(part: PartInfo | None) -> float | None:
    return None if part is None else part.mean


def _flagged(document: ReportDocument, scorer: str, control: str | None, S: float) -> bool:
    return any(document.flagged(name, S) for name in (scorer, control) if name is not None)


@of_document
def beside(document: ReportDocument) -> ReportTable:
    """Against other controls that had the same search."""

    def word(row: BesideInfo) -> TableCell:
        return verdict(row.verdict, row.sentence, _flagged(document, row.scorer, row.control, row.sparsity))

    columns: tuple[Column[BesideInfo], ...] = (
        Column("S", "S", lambda row: sparsity(row.sparsity)),
        Column("Scorer", "scorer", lambda row: TableCell(row.scorer, row.scorer, head=True, short=_brief(row.scorer)), left=True),
        Column("Against", "against", lambda row: TableCell(row.control, row.control, short=_brief(row.control)), left=True),
        Column("Tells of", "tells of", lambda row: TableCell(QUESTIONS[row.question], row.question), left=True),
        Column("n", "n", lambda row: count(row.n), "complete seeds"),
        Column("Difference", "diff.", lambda row: num(row.difference.mean), "accuracy points"),
        Column("its 95 % CI", "its 95 % CI", lambda row: limits(row.difference.ci95, row.difference.mean), "alone"),
        Column("Simultaneous", "", lambda row: limits(row.simultaneous, row.difference.mean), "jointly within an S"),
        p_column("p above 0", "p > 0", lambda row: row.p_superior_adjusted, "adjusted within an S"),
        p_column("p equal", "", lambda row: row.p_equivalence, "paired t-TOST"),
        Column("Verdict", "verdict", word, left=True),
    )
    caption = (
        "The readings of the paper against splines by the same search, which no theory chose (what the paper's "
        "features are worth), "
        "against monotone features by the same search, and the adaptive scorer that chose by the same search against its matched "
        "controls. "
        "Each control makes a family of its own at every S."
    )
    return table(
        "beside", "Against other controls by the same search", caption, columns, _info(document).beside, "No such control."
    )


@of_document
def curve(document: ReportDocument, brief: bool = False) -> ReportTable:
    """What every search gains with each budget; `brief` has means alone, and the interval of the largest budget."""
    caption = (
        f"Gain over {reference_of(document)} with so many evaluations of the search, mean and 95 % interval of each by itself. "
        "Smaller budgets are shown and not tested: the first evaluations of one search say little that is new."
    )
    found = _by_budget(document, lambda point: _estimate(point.gain, brief=brief))
    columns = (*found, *([_interval_of_largest(document, lambda point: point.gain)] if brief else []))
    return table("curve", "Gain by budget", caption, columns, _rows(document), "No searched scorer.")


@of_document
def gap(document: ReportDocument, brief: bool = False) -> ReportTable:
    """The over-fitting gap of every search with each budget."""
    info = _info(document)
    losses = any(point.gap_loss is not None for point in info.points)
    points = _places(document)

    def of_largest(row: _Row) -> PointInfo | None:
        own = [point for (place, _), point in points.items() if place == row and point.largest]
        return own[0] if own else None

    def holm(row: _Row) -> float | None:
        point = of_largest(row)
        return None if point is None else point.p_gap_holm

    def found(row: _Row) -> TableCell:
        point = of_largest(row)
        return TableCell(NONE if point is None or not point.found else point.found)

    def loss(row: _Row) -> TableCell:
        point = of_largest(row)
        part = None if point is None else point.gap_loss
        if part is None or part.mean is None:
            return TableCell(NONE)
        shown = "" if part.ci95 is None else f" [{signed(part.ci95.low, _LOSS_DIGITS)}, {signed(part.ci95.high, _LOSS_DIGITS)}]"
        return TableCell(f"{signed(part.mean, _LOSS_DIGITS)}{shown}", part.mean)

    of_loss: Column[_Row] = Column(
        "Of the loss", "" if brief else "of the loss", loss, "largest budget; negative where it over-fits"
    )
    columns = (
        *_by_budget(document, lambda point: _estimate(point.gap, brief=brief)),
        *([_interval_of_largest(document, lambda point: point.gap)] if brief else []),
        p_column("p above 0", "p > 0", holm, "largest budget, Holm over the searches of an S"),
        Column("Found", "found", found, f"of the largest budget, at δ = {document.settings.delta:g}", left=True),
        *([of_loss] if losses else []),
    )
    caption = (
        f"Over-fitting: the gain over {reference_of(document)} on the held-out examples that the search saw, less that on the "
        "test examples; above 0 a part of the gain was luck. Mean and 95 % interval of each by itself."
    )
    rows = [row for row in _rows(document) if any(place == row and point.gap is not None for (place, _), point in points.items())]
    return table(
        "gap", "Over-fitting by budget", caption, columns, rows, "The rows do not say what was reached on held-out examples."
    )


@of_document
def pools(document: ReportDocument) -> ReportTable:
    """What the pool of the run is worth."""

    def word(row: PoolInfo) -> TableCell:
        return verdict(row.verdict, row.sentence, _flagged(document, row.scorer, f"{row.scorer}/{row.pool}", row.sparsity))

    columns: tuple[Column[PoolInfo], ...] = (
        Column("S", "S", lambda row: sparsity(row.sparsity)),
        Column("Scorer", "scorer", lambda row: named(row.scorer), left=True),
        Column("Pool", "pool", lambda row: TableCell(row.own or "the run's", row.own), left=True),
        Column("Over", "over", lambda row: TableCell(row.pool, row.pool), left=True),
        Column("n", "n", lambda row: count(row.n), "complete seeds"),
        Column("Difference", "diff.", lambda row: num(row.difference.mean), "accuracy points"),
        Column("its 95 % CI", "its 95 % CI", lambda row: limits(row.difference.ci95, row.difference.mean)),
        p_column("p equal", "p", lambda row: row.p_equivalence, "paired t-TOST"),
        Column("Verdict", "verdict", word, left=True),
        Column("Why", "", lambda row: TableCell(row.reason, row.reason), left=True, wide=True),
    )  # fmt: skip
    caption = (
        "What a scorer gains by the pool of the run over another pool: the normalisation alone, each line by itself, unadjusted."
    )
    return table("pools", "What normalisation gains", caption, columns, _info(document).pools, "No scorer in another pool.")


@of_document
def weights(document: ReportDocument) -> ReportTable:
    """The weights found with the largest budgets, a column a seed."""
    info = _info(document)
    texts = {(row.sparsity, row.scorer, row.seed): row.weights for row in info.weights}
    seeds = list(dict.fromkeys(row.seed for row in info.weights))
    rows = list({(row.sparsity, row.scorer): row for row in info.weights}.values())

    def of(seed: Seed) -> Column[WeightsInfo]:
        def cell(row: WeightsInfo) -> TableCell:
            return TableCell(texts.get((row.sparsity, row.scorer, seed), NONE))

        return Column(f"seed {seed}", f"seed {seed}", cell, left=True, wide=True)

    columns: tuple[Column[WeightsInfo], ...] = (
        Column("S", "S", lambda row: sparsity(row.sparsity)),
        Column("Scorer", "scorer", lambda row: named(row.scorer), left=True),
        *map(of, seeds),
    )
    caption = "The weights that each search found, anew at every seed; with the largest budget."
    return table("weights", "Weights found", caption, columns, rows, "The rows do not say.")


def tables(document: ReportDocument) -> tuple[ReportTable, ...]:
    """All of them that have rows, and the split, which else says why it has none."""
    info = document.searched
    if info is None:
        return ()
    made = [split(document)] if info.points or info.reason else []
    made += [found for found in (beside(document), curve(document), gap(document), pools(document)) if found.rows]
    return tuple(made)


def _brief(scorer: str) -> str:
    """A searched scorer where columns are narrow: its features, and "adaptive" where it is that."""
    kind, _, rest = scorer.partition("_")
    features = rest.rpartition("_")[0]
    return features if kind == "fusion" else f"{kind} {features}"


def _info(document: ReportDocument) -> SearchedInfo:
    assert document.searched is not None  # `tables` asks
    return document.searched


def _absent(document: ReportDocument) -> str:
    reason = _info(document).reason
    return f"No split: {reason}." if reason else "No reading of the paper is among the searched scorers."


def _rows(document: ReportDocument) -> list[_Row]:
    return list(dict.fromkeys((point.sparsity, point.kind, point.features) for point in _info(document).points))


def _places(document: ReportDocument) -> dict[tuple[_Row, int], PointInfo]:
    return {((point.sparsity, point.kind, point.features), point.budget): point for point in _info(document).points}


def _by_budget(document: ReportDocument, cell: Callable[[PointInfo], TableCell]) -> tuple[Column[_Row], ...]:
    """S, features, and a column a budget."""
    points = _places(document)

    def name(row: _Row) -> TableCell:
        _, kind, features = row
        return named(features if kind == "fusion" else f"{kind} {features}")

    def of(budget: int) -> Column[_Row]:
        def at(row: _Row) -> TableCell:
            point = points.get((row, budget))
            return TableCell(NONE) if point is None else cell(point)

        return Column(str(budget), str(budget), at)

    features = Column("Features", "features", name, left=True)
    return (Column("S", "S", lambda row: sparsity(row[0])), features, *map(of, _info(document).budgets))


def _interval_of_largest(document: ReportDocument, part: Callable[[PointInfo], PartInfo | None]) -> Column[_Row]:
    """The interval at the largest budget of a row."""
    points = _places(document)

    def cell(row: _Row) -> TableCell:
        own = [part(point) for (place, _), point in points.items() if place == row and point.largest]
        return TableCell(NONE) if not own or own[0] is None else limits(own[0].ci95, own[0].mean)

    return Column("", "95 % CI of the last", cell)


def _estimate(part: PartInfo | None, *, brief: bool = False) -> TableCell:
    """A mean with its interval."""
    if part is None or part.mean is None:
        return TableCell(NONE)
    shown = "" if brief or part.ci95 is None else f" {interval(part.ci95)}"
    return TableCell(f"{number(part.mean)}{shown}", part.mean)
