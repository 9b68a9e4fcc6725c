"""The headline: who escapes over the whole run, and what explains it."""

from __future__ import annotations

from collections.abc import Sequence

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import LineInfo
from sics_analysis.report.words.attribution import explanation
from sics_analysis.report.words.phrases import far_sentence, listed, sparsity_list
from sics_analysis.report.words.reasons import (
    MIN_SEEDS,
    SHOWN,
    counted,
    faded,
    grouped,
    on_these,
    over_run,
    pays_over_run,
    placed,
    target_name,
)
from sics_analysis.report.words.said import checked_headline
from sics_analysis.results import Verdict, plural


@checked_headline
def headline(document: ReportDocument) -> str:
    """The report in one sentence: who escapes over the whole run, and whether complexity or the saliency explains it.

    Never a scorer's own mean: those that escape were selected for being large. Nor a scorer that escapes within its S alone: over
    many S somebody always does. What explains it is what the sentence "Explained by" says, from the same comparisons.
    """
    if document.how_far:
        return far_sentence(document)
    found, alone = over_run(document)
    target = target_name(document)
    if document.looks is not None and not document.looks.made:
        looks = document.looks
        return f"{looks.run} of {plural(looks.plan.looks[0], 'seed')} of the first look are there: nothing is tested before it."
    if not document.lines or all(not line.n for line in document.lines):
        return f"No seed has both a scorer and {document.settings.reference}: nothing can be said."
    if not found:
        return f"{_nobody(document, target)}{' over the whole run' if alone else ''}{_counted(document)}."
    explained = explanation(document).headline
    why = f"{f'; {explained}' if explained else ''}{_faded(document, found)}"
    names = list(dict.fromkeys(line.scorer for line in found))
    where = sorted({line.sparsity for line in found})
    if len(names) > SHOWN:
        some = f"{sparsity_list(where)}{', not each at every S' if len(grouped(found)) > 1 else ''}"
        many = plural(sum(s.in_family for s in document.compared), "scorer")
        return f"{len(names)} of {many} escape {target}, at {some}{on_these(found)}{why}."
    first, *rest = grouped(found)
    verb = "escapes" if len(first[0]) == 1 else "escape"
    others = "".join(f"; {listed(who)} at {sparsity_list(at)}" for who, at in rest)
    return f"{listed(first[0])} {verb} {target}, at {sparsity_list(first[1])}{others}{on_these(found)}{why}."


def _faded(document: ReportDocument, found: Sequence[LineInfo]) -> str:
    """What later seeds have taken from a verdict that is kept; empty otherwise."""
    lines = faded(document, found)
    if not lines:
        return ""
    return f"; by all seeds since, {placed(lines)} no longer {'lies' if len(lines) == 1 else 'lie'} beyond δ"


def _nobody(document: ReportDocument, target: str) -> str:
    most = max(line.n for line in document.lines)
    if most < MIN_SEEDS:
        return f"{plural(most, 'seed')} a line: too few to show who escapes {target}"
    if not document.has_kappa:
        return f"No scorer is shown to lie above {target}"
    family = [scorer.name for scorer in document.compared if scorer.in_family]
    if not family:
        return f"No scorer of κ ≥ 1 is there to escape {target}{_searched(document)}"
    who = f"{family[0]}, the one scorer of κ ≥ 1, is not" if len(family) == 1 else f"None of {len(family)} scorers is"
    return f"{who} shown to escape {target}"


def _searched(document: ReportDocument) -> str:
    """What searched scorers show where they are all there is; empty without a matched control."""
    rows = [] if document.searched is None else [row for row in document.searched.splits if row.verdict is not None]
    if not rows:
        return ""
    shown = [row for row in rows if pays_over_run(row, document)]
    alone = sum(row.shown for row in rows) - len(shown)
    within = f", and within {'its' if alone == 1 else 'their'} S alone in {alone}" if alone else ""
    what = f"complexity is shown to pay in {len(shown)} of {plural(len(rows), 'comparison')} with a control of the same search"
    return f"; {what}{within}"


def _counted(document: ReportDocument) -> str:
    """What the lines of the family show instead, each by itself; empty where that is nothing."""
    lines = [line for line in document.lines if line.in_family and line.n]
    shown = counted(lines)
    if not lines or all(line.verdict is Verdict.INCONCLUSIVE for line in lines):
        return ""
    each = "" if len(lines) == 1 else ", each by itself"
    return f"; {plural(len(lines), 'line')} at δ = {document.settings.delta:g}{each}: {shown}"
