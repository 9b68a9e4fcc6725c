"""What a report says of searched scorers: whether complexity pays where every part had the same search."""

from __future__ import annotations

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.searched import PartInfo, SearchedInfo, SplitInfo
from sics_analysis.report.words.phrases import gathered, listed, sparsity_list
from sics_analysis.report.words.reasons import SAME, Answer, Tone, pays_over_run
from sics_analysis.results import Metric, Verdict, plural

#: What a comparison with a control by the same search tells of.
QUESTIONS = {
    "complexity": "complexity",
    "shape": "the paper's features",
    "monotone": "all but monotone",
}
NO_KAPPA = (
    "A searched scorer has no κ, which hangs on weights that are found anew at each seed: it is no part of the κ ≥ 1 family, and "
    "is judged by its matched control."
)
FAMILY = (
    "Complexity is tested at the largest budget alone, against information with the same budget: one family an S, the readings "
    "of the paper (rotation max-T, else Holm). It pays where a reading is shown above that control and above the "
    "reference, which any search can reach; both lines of all readings are one family. Where there are shuffled features, its "
    "own interval has to lie above them, too. Search, information and smaller budgets have intervals of their own, unadjusted."
)
OVER_LOOKS = "They are tested at the looks of the run: p are sequential, intervals repeated."
_NO_MORE = (Verdict.EQUIVALENT, Verdict.IDENTICAL, Verdict.NONSUPERIOR, Verdict.DEGRADES)


def reference_of(document: ReportDocument) -> str:
    """The reference by name."""
    return document.settings.reference


def searched_answer(document: ReportDocument) -> Answer:
    """Say whether complexity pays against the matched control; else what explains what the searches gain."""
    info = document.searched
    assert info is not None
    question = "Given the same search, does complexity pay?"
    tested = [row for row in info.splits if row.verdict is not None]
    if not tested:
        why = info.reason or (info.splits[0].reason if info.splits else "no reading of the paper is among the searched scorers")
        return Answer("searched", question, "open", "Not tested", f"Not tested: {why}.")
    paying, whole = _paying(tested, document)
    as_noise = _as_noise(tested)
    settled = not as_noise and all(row.verdict in _NO_MORE for row in tested)
    costs = [row for row in tested if row.verdict is Verdict.DEGRADES]
    tone: Tone = "yes" if whole else "no" if settled else "fact" if paying or costs else "open"
    text = " ".join([_counted(tested, document), *_due(tested, document.metric), *_gaps(info)])
    short = _short(paying, whole, document, settled=settled)
    if as_noise:
        short = f"{short}; above information but not above shuffled features: {_who(as_noise)}"
    if costs:
        short = f"{short}; it costs more than {document.settings.delta:g} with {_who(costs)}"
    return Answer("searched", question, tone, short, text)


def pays_sentence(document: ReportDocument) -> str:
    """The same in one sentence beside others; empty without searched scorers."""
    if document.searched is None or not document.searched.points:
        return ""
    answer = searched_answer(document)
    if answer.short == "Not tested":
        return f"Of searched scorers nothing is tested: {answer.text.removeprefix('Not tested: ').rstrip('.')}."
    tested = [row for row in document.searched.splits if row.verdict is not None]
    paying, whole = _paying(tested, document)
    costs = [row for row in tested if row.verdict is Verdict.DEGRADES]
    delta = document.settings.delta
    if whole:
        said = f"pays more than {delta:g} points with {_who(whole)}"
    elif paying:
        said = f"is shown to pay within its S alone, more than 0 points with {_who(paying)}"
    else:
        said = "does not pay" if answer.tone == "no" else "is not shown to pay"
    as_noise = _as_noise(tested)
    more = f", and costs more than {delta:g} points with {_who(costs)}" if costs else ""
    more += f"; above information, and not shown above shuffled features: {_who(as_noise)}" if as_noise else ""
    return f"Given the same search as information, complexity {said}{more}."


def _as_noise(rows: list[SplitInfo]) -> list[SplitInfo]:
    """The comparisons in which the control is beaten, and shuffled features by the same search are not."""
    return [row for row in rows if row.pays and not row.shown]


def _paying(rows: list[SplitInfo], document: ReportDocument) -> tuple[list[SplitInfo], list[SplitInfo]]:
    """The comparisons in which complexity pays, and those of them in which it does by δ over the whole run."""
    paying = [row for row in rows if row.shown]
    return paying, [row for row in paying if pays_over_run(row, document)]


def _short(paying: list[SplitInfo], whole: list[SplitInfo], document: ReportDocument, *, settled: bool) -> str:
    if whole:
        return f"Yes: {_who(whole)}"
    if paying:
        return f"Not shown above {document.settings.delta:g} over the whole run; above 0 within its S alone with {_who(paying)}"
    return "No" if settled else "Not shown"


def _who(rows: list[SplitInfo]) -> str:
    """Which readings, those at the same S together."""
    where = gathered((row.features, row.sparsity) for row in rows)
    alike = gathered((tuple(at), features) for features, at in where.items())
    return "; ".join(f"{listed(features)} at {sparsity_list(at)}" for at, features in alike.items())


def _counted(rows: list[SplitInfo], document: ReportDocument) -> str:
    """How many comparisons with the matched control show what."""
    delta = document.settings.delta
    count = {
        f"it pays more than {delta:g} points": sum(row.pays_delta and row.shown for row in rows),
        f"it pays, above 0, and {delta:g} points are not shown": sum(row.shown and not row.pays_delta for row in rows),
        "it is above its control and not shown above shuffled features by the same search": sum(
            row.pays and not row.shown for row in rows
        ),
        f"it is more than {delta:g} above its control, but {reference_of(document)} is not shown to be beaten": sum(
            row.verdict is Verdict.ESCAPES and not row.pays for row in rows
        ),
        f"it adds nothing, to within {delta:g} points": sum(row.verdict in SAME for row in rows),
        f"it does not pay {delta:g} points": sum(row.verdict is Verdict.NONSUPERIOR for row in rows),
        f"it costs more than {delta:g} points": sum(row.verdict is Verdict.DEGRADES for row in rows),
    }
    left = len(rows) - sum(count.values())
    shown = [f"{what} in {n}" for what, n in count.items() if n] + ([f"it is not settled in {left}"] if left else [])
    return (
        "Complexity is what a reading of the paper gains over information with the same search, in "
        f"{plural(len(rows), 'comparison')}: {listed(shown)}."
    )


def _due(rows: list[SplitInfo], metric: Metric) -> list[str]:
    """What gains are due to that complexity is not shown to pay."""
    gains = [row for row in rows if not row.shown and _above(row.gain, metric)]
    if not gains:
        return []
    search, information = (sum(_above(part, metric) for part in parts) for parts in _parts(gains))
    return [
        f"Where there is a gain and complexity is not shown to pay ({len(gains)}), what the search finds with any features is "
        f"above 0 in {search}, what information adds in {information}."
    ]


def _parts(rows: list[SplitInfo]) -> tuple[list[PartInfo | None], list[PartInfo | None]]:
    return [row.search for row in rows], [row.information for row in rows]


def _above(part: PartInfo | None, metric: Metric) -> bool:
    """Whether a part's interval lies on the better side of 0."""
    turned = metric.turned_interval(None if part is None else part.ci95)
    return turned is not None and turned.low > 0


def _gaps(info: SearchedInfo) -> list[str]:
    """How often the held-out examples flattered a search."""
    tested = [point for point in info.points if point.found]
    if not tested:
        return []
    over, within = (sum(point.found == word for point in tested) for word in ("over-fits", "within"))
    return [
        f"On its held-out examples a search with the largest budget is shown to look better than on the test examples in {over} "
        f"of {len(tested)}, and to within the margin as good in {within}."
    ]


def conclusions(document: ReportDocument) -> list[str]:
    """What a section about searched scorers says in sentences, the conclusions first; in its reader's unit and direction."""
    info = document.searched
    if info is None:
        return []

    def where(sparsity: float) -> str:
        return "" if document.one_pool else f"S = {sparsity:g}, "

    split = [f"{where(row.sparsity)}{row.features}: {row.conclusion}" for row in info.splits]
    adaptive: dict[tuple[float, str], list[str]] = {}
    for row in info.beside:
        if row.kind == "adaptive" and row.conclusion:
            adaptive.setdefault((row.sparsity, row.scorer), []).append(row.conclusion)
    chosen = [f"{where(S)}{scorer}: {' '.join(said)}" for (S, scorer), said in sorted(adaptive.items())]
    read = [NO_KAPPA, FAMILY] if info.points else []
    return [*split, *chosen, *info.over_fitting, *read, *info.remarks]
