"""The numbers and words of a report, written the same way in every format."""

from __future__ import annotations

import re
import statistics
import textwrap
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeGuard, TypeVar

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import LineInfo
from sics_analysis.report.document.rows import ScorerInfo, accuracies
from sics_analysis.results import Interval, Verdict, digits_written, plural, signed

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

NONE = "–"
#: Seeds beyond which a plan names no number: nobody runs so many, and the estimate behind it is not as exact.
MOST_SEEDS = 200
#: word → glyph: no verdict or status is ever told by colour alone
GLYPHS = {
    "ESCAPES": "▲",
    "DEGRADES": "▼",
    "EQUIVALENT": "=",
    "IDENTICAL": "≡",
    "NONINFERIOR": "≥",
    "NONSUPERIOR": "≤",
    "INCONCLUSIVE": "?",
}
#: what a word of its own does not say to everybody
MEANING = {"NONINFERIOR": "not worse by δ", "NONSUPERIOR": "not better by δ"}
#: what is printed bold, in the grid of verdicts as in the forest beside it
BOLD = "Bold: holds over the whole run"
STATUS_GLYPHS = {"supported": "✓", "contradicted": "✗", "undecided": "?"}
PAPER = "arXiv 2605.09345"
PAPER_LINK = "https://arxiv.org/abs/2605.09345"


def plain(text: str) -> str:
    """Text with its control characters, which a terminal would obey, written as escapes.

    >>> plain("[bold]x[/]"), plain("a" + chr(27) + "[31m")
    ('[bold]x[/]', 'a\\\\x1b[31m')
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def number(value: float | None) -> str:
    """A difference in points with its sign.

    >>> number(-0.5), number(None)
    ('−0.50', '–')
    """
    return NONE if value is None else signed(value)


def decimals(value: float | None) -> str:
    """A spread or margin in points, without a sign."""
    return NONE if value is None else f"{value:.{digits_written()}f}"


def interval(value: Interval | None) -> str:
    """Both limits in points."""
    return NONE if value is None else f"[{number(value.low)}, {number(value.high)}]"


def seeds_needed(value: int | None) -> str:
    """Seeds that a plan asks for, in a sentence.

    >>> seeds_needed(12), seeds_needed(36_121), seeds_needed(None)
    ('12 seeds', 'more than 200 seeds', 'more than 200 seeds')
    """
    return plural(value, "seed") if practical(value) else f"more than {MOST_SEEDS} seeds"


def seeds_cell(value: int | None) -> str:
    """The same in a column; `seeds_key` says what the words mean.

    >>> seeds_cell(12), seeds_cell(36_121), seeds_cell(None)
    ('12', '> 200', 'never')
    """
    return "never" if value is None else str(value) if practical(value) else f"> {MOST_SEEDS}"


#: What to say where a plan has no number of seeds that anybody would run.
TOO_NEAR = "the difference is too near δ, for its spread, to be settled by seeds"


def seeds_key(values: Iterable[int | None]) -> str:
    """What `seeds_cell` means by words where one of these is no number; empty where all are.

    >>> seeds_key([12, 36_121])
    '> 200: more than 200 seeds, the difference is too near δ, for its spread, to be settled by seeds.'
    >>> seeds_key([12])
    ''
    """
    found = list(values)
    many = any(value is not None and not practical(value) for value in found)
    parts = [f"> {MOST_SEEDS}: more than {MOST_SEEDS} seeds, {TOO_NEAR}."] if many else []
    parts += ["never: not with 100 000 seeds, the difference lies on δ or beyond it."] if None in found else []
    return " ".join(parts)


def practical(value: int | None) -> TypeGuard[int]:
    """Whether anybody would run so many seeds."""
    return value is not None and value <= MOST_SEEDS


def percent(fraction: float | None, digits: int = 2) -> str:
    """An accuracy, which is a fraction, in percent.

    >>> percent(0.9137)
    '91.37 %'
    """
    return NONE if fraction is None else f"{100 * fraction:.{digits}f} %"


def p_short(p: float | None) -> str:
    """A p-value in five characters; never zero.

    >>> p_short(0.03508), p_short(0.00001), p_short(0.99996), p_short(1.0), p_short(None)
    ('.035', '<.001', '>.999', '1', '–')
    """
    if p is None:
        return NONE
    if p < 0.001:
        return "<.001"
    if p == 1.0:
        return "1"
    return ">.999" if p > 0.999 else f"{p:.3f}"[1:]


def p_value(p: float | None) -> str:
    """A p-value with three significant digits for a table that has room.

    >>> p_value(0.0480691), p_value(0.0000123), p_value(1e-9), p_value(None)
    ('0.0481', '1.2e-05', '<1e-06', '–')
    """
    if p is None:
        return NONE
    if p < 1e-6:
        return "<1e-06"
    return f"{p:.2g}" if p < 1e-4 else f"{p:.3g}"


def kappa_text(scorer: ScorerInfo) -> str:
    """κ of a feature class, or the role of what has none."""
    if scorer.kappa is not None:
        return str(scorer.kappa)
    return NONE if scorer.role == "unknown" else scorer.role


def listed(names: Sequence[str], limit: int = 0) -> str:
    """Names in a sentence; beyond `limit` they are counted.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], 2)
    ('a', 'a, b and c', 'a, b and 2 more')
    """
    if limit and len(names) > limit + 1:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def gathered(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """What stands under each key, in the order given.

    >>> gathered([("a", 1), ("b", 2), ("a", 3)])
    {'a': [1, 3], 'b': [2]}
    """
    found: dict[Key, list[Value]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def sparsity_list(values: Iterable[float]) -> str:
    """Sparsities in a sentence.

    >>> sparsity_list([0.7, 0.8])
    'S = 0.7 and 0.8'
    """
    return f"S = {listed([f'{value:g}' for value in values])}"


def reference_accuracy(document: ReportDocument, sparsity: float) -> float | None:
    """Mean accuracy of the reference at one S, a fraction; of the κ = 0 scorers where it is the pooled plateau."""
    names = {document.settings.reference}
    if document.how_far:
        sparsity = 0.0
    elif not any(scorer.name in names for scorer in document.scorers):
        names = {scorer.name for scorer in document.scorers if scorer.kappa == 0}
    values = accuracies(document.cells, names, sparsity)
    return statistics.fmean(values) if values else None


def reference_kappa(document: ReportDocument) -> str:
    """κ or role of the reference; a reference that is no scorer pools those of κ = 0."""
    found = next((scorer for scorer in document.scorers if scorer.name == document.settings.reference), None)
    return (NONE if document.how_far else "0") if found is None else kappa_text(found)


def far_sentence(document: ReportDocument) -> str:
    """Who can be pruned how far, in one sentence."""
    delta, reference = document.settings.delta, document.how_far[0].reference
    loss = (
        f"lose less than {delta:g} points to"
        if document.metric.is_accuracy and not document.metric.lower_is_better
        else f"be worse by less than {delta:g} points than"
    )
    reached: dict[float, list[str]] = {}
    for found in document.how_far:
        if found.reached is not None:
            reached.setdefault(found.reached, []).append(found.scorer)
    if not reached:
        return f"No scorer is shown to {loss} the {reference} network, at any S."
    best = max(reached)
    who = f"{listed(reached[best], 6)} can prune to S = {best:g} and {loss} the {reference} network"
    return f"{who}, {'each ' if len(reached[best]) > 1 else ''}shown from the lowest S up{far_gaps(document, reached[best])}."


def far_gaps(document: ReportDocument, names: Sequence[str]) -> str:
    """The S below their claim at which these scorers have no seed, as the end of a sentence."""
    gaps = gathered((found.skipped, found.scorer) for found in document.how_far if found.scorer in names and found.skipped)
    parts = [f"{listed(who, 6) if len(names) > 1 else ''} without any result at {sparsity_list(at)}" for at, who in gaps.items()]
    return f" ({'; '.join(map(str.strip, parts))})" if parts else ""


def no_deviations(document: ReportDocument) -> str:
    """What stands where nothing is known to be not as planned: a table cannot say what was planned."""
    if document.source.kind == "run":
        return "None: nothing missing, failed, left out or degenerate, and nothing decided after the data."
    return "None known: nothing is left out or degenerate; what was planned, or failed, or decided after the data, is not said."


def undecided_reasons(lines: Iterable[LineInfo]) -> dict[str, list[str]]:
    """The scorers without a verdict, by the reason why."""
    return gathered((line.reason, line.scorer) for line in lines if line.verdict is Verdict.INCONCLUSIVE)


def minutes(seconds: float | None, seeds: int | None, now: int) -> float | None:
    """Minutes to get from the seeds of now to so many, where one takes so many seconds; None where nothing is known."""
    return None if seconds is None or seeds is None else max(seeds - now, 0) * seconds / 60


def minutes_text(value: float) -> str:
    """A time in the unit that suits it.

    >>> minutes_text(0.2), minutes_text(12.3), minutes_text(600)
    ('under a minute', '12 minutes', '10 hours')
    """
    if value < 1:
        return "under a minute"
    return plural(round(value), "minute") if value < 120 else plural(round(value / 60), "hour")


def level_text(value: float) -> str:
    """A level or a part of α, as statistics write them.

    >>> level_text(0.05), level_text(0.00625), level_text(0.0272130)
    ('.05', '.00625', '.0272')
    """
    return f"{value:.3g}".replace("0.", ".", 1)


def seeds_looked(document: ReportDocument) -> str:
    """How many seeds there are, of how many planned under a plan of looks."""
    if document.looks is None:
        return plural(len(document.seeds), "seed")
    return f"{len(document.seeds)} of at most {document.looks.plan.n_max} seeds"


def sign_flip_note(document: ReportDocument) -> str:
    """Whether an exact sign-flip test could confirm a verdict of the last look; empty where there are none."""
    level = None if document.looks is None else document.looks.level
    n = max((line.n for line in document.lines), default=0)
    if level is None or not n:
        return ""
    smallest = 0.5**n
    if smallest > level:
        return f"An exact sign-flip test cannot confirm a verdict at n = {n}: its smallest p is {smallest:.3g} > {level:.3g}."
    return f"An exact sign-flip test could confirm a verdict at n = {n}: its smallest p is {smallest:.3g} ≤ {level:.3g}."


def margin_line(document: ReportDocument) -> str:
    """The settings and when they were fixed, in a line."""
    settings = document.settings
    plan = settings.planned
    same = plan is None or (plan.delta, plan.alpha, plan.reference) == (settings.delta, settings.alpha, settings.reference)
    fixed = f"fixed: {settings.fixed}" if same else "not as planned"
    unit = document.metric.short
    alpha = f"α = {settings.alpha:g}{'' if document.looks is None else ' over all looks together'}"
    return f"δ = {settings.delta:g} {unit}, {alpha}, reference {settings.reference}; {fixed}"


def identity_line(document: ReportDocument) -> str:
    """Run or file, seeds, unit and pool, in a line."""
    source = document.source
    names = {"run": "run", "csv": "sha256"}
    what = [f"{names.get(source.kind, source.kind)} {source.identity[:16]}"] if source.identity else []
    what.append(seeds_looked(document))
    what += [f"unit {document.unit}"] if document.unit else []
    what += [f"pool {document.pool}"] if document.pool else []
    return ", ".join(what)


def tied(text: str) -> str:
    """Text whose numbers stay with their signs and units at the end of a line, and safe to show; for prose, not for names.

    >>> tied("p = 0.5 at S = 0.7, 95 % CI")
    'p\\xa0=\\xa00.5 at S\\xa0=\\xa00.7, 95\\xa0%\\xa0CI'
    """
    return re.sub(r" (?==|≤|%|points?\b)|(?<=[=≤]) |(?<=%) (?=CI|interval)", "\u00a0", plain(text))


def wrapped(text: str, width: int, first: int | str = 0, rest: int = 0) -> str:
    """Text broken between words at a width, with these indents; numbers stay with their signs and units.

    In place of the first indent a label may stand. A path longer than a line stays whole: it can be copied.

    >>> print(wrapped("in /a/folder/with/a/long/name", 16, "store  ", 7))
    store  in
           /a/folder/with/a/long/name
    """
    lead = " " * first if isinstance(first, int) else first
    most = max(width - max(rest, len(lead)), 8)
    words = (word if len(word) <= most or "/" in word else " ".join(textwrap.wrap(word, most)) for word in tied(text).split(" "))
    filled = textwrap.fill(
        " ".join(words), width, initial_indent=lead, subsequent_indent=" " * rest, break_long_words=False, break_on_hyphens=False
    )
    return filled.replace("\u00a0", " ")
