"""The report in one sentence, and who escapes what."""

from __future__ import annotations

from collections.abc import Sequence

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import LineInfo
from sics_analysis.report.words.phrases import gathered, listed, plural, sparsity_list
from sics_analysis.results import Verdict

MIN_SEEDS = 3  # as in sics_analysis.rows.contrasts, which a kept report does not load
SHOWN = 3  # names in the headline before they are counted


def headline(document: ReportDocument) -> str:
    """The report in one sentence.

    Never a scorer's own mean: those that escape were selected for being large.
    """
    found = escaping(document)
    target = target_name(document)
    if not document.lines or all(not line.n for line in document.lines):
        return f"No seed has both a scorer and {document.settings.reference}: nothing can be said."
    if not found:
        return _nobody(document, target)
    names = list(dict.fromkeys(line.scorer for line in found))
    where = sorted({line.sparsity for line in found})
    if len(names) > SHOWN:
        some = f"{sparsity_list(where)}{', not each at every S' if len(grouped(found)) > 1 else ''}"
        return f"{len(names)} of {plural(sum(s.in_family for s in document.compared), 'scorer')} escape {target}, at {some}."
    first, *rest = grouped(found)
    verb = "escapes" if len(first[0]) == 1 else "escape"
    others = "".join(f"; {listed(who)} at {sparsity_list(at)}" for who, at in rest)
    return f"{listed(first[0])} {verb} {target}, at {sparsity_list(first[1])}{others}."


def _nobody(document: ReportDocument, target: str) -> str:
    most = max(line.n for line in document.lines)
    if most < MIN_SEEDS:
        return f"{plural(most, 'seed')} a line: too few to show who escapes {target}."
    if not document.has_kappa:
        return f"No scorer is shown to lie above {target}."
    family = [scorer.name for scorer in document.compared if scorer.in_family]
    if not family:
        return f"No scorer of κ ≥ 1 is there to escape {target}."
    who = f"{family[0]}, the one scorer of κ ≥ 1, is not" if len(family) == 1 else f"None of {len(family)} scorers is"
    return f"{who} shown to escape {target}."


def grouped(lines: Sequence[LineInfo]) -> list[tuple[list[str], tuple[float, ...]]]:
    """The scorers of these lines by the sparsities they stand at, so that nobody is said to be where another is."""
    where = gathered((line.scorer, line.sparsity) for line in lines)
    groups = gathered((tuple(sorted(values)), name) for name, values in where.items())
    return [(names, at) for at, names in groups.items()]


def escaping(document: ReportDocument) -> tuple[LineInfo, ...]:
    """The lines of the escape family that are shown above +δ."""
    return tuple(line for line in document.lines if line.in_family and line.verdict is Verdict.ESCAPES)


def undecided(document: ReportDocument) -> tuple[int, int]:
    """How many lines have no verdict, and how many lines with seeds there are."""
    lines = [line for line in document.lines if line.n]
    return sum(line.verdict is Verdict.INCONCLUSIVE for line in lines), len(lines)


def target_name(document: ReportDocument) -> str:
    """What is to be escaped: the plateau where the reference sits on it, else the reference by name."""
    reference = document.settings.reference
    info = next((scorer for scorer in document.scorers if scorer.name == reference), None)
    if info is None:
        return "the plateau"
    return f"the {reference} plateau" if info.kappa == 0 else reference
