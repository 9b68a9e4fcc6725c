"""How a document is spoken of: in its metric's unit and direction, and never firmer than its data checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.results import digits_written, written_with
from sics_analysis.study.told import turned

P = ParamSpec("P")
R = TypeVar("R")
#: Answers that only rows with a column kappa are asked for.
_OF_KAPPA = frozenset({"plateau", "attribution", "kappa", "paper"})
FLAG = "!"


def in_words(document: ReportDocument, text: str) -> str:
    """A text of a layout in the unit and direction of the document's metric, without a sparsity where the rows have none."""
    names = (*(scorer.name for scorer in document.scorers), document.settings.reference)
    return turned(text, document.metric, names, pooled=document.one_pool)


def in_digits(function: Callable[P, R]) -> Callable[P, R]:
    """Let a renderer write differences with the decimals that the margin of its document takes."""

    @wraps(function)
    def render(*args: P.args, **kwargs: P.kwargs) -> R:
        document = next(arg for arg in (*args, *kwargs.values()) if isinstance(arg, ReportDocument))
        with written_with(document.metric.digits(document.settings.delta)):
            return function(*args, **kwargs)

    return render


def largest_alone(function: Callable[P, R]) -> Callable[P, R]:
    """Let a renderer show of every search the largest budget alone, but where it speaks of budgets."""

    @wraps(function)
    def render(*args: P.args, **kwargs: P.kwargs) -> R:
        whole: Any = [arg.largest if isinstance(arg, ReportDocument) else arg for arg in args]
        named: Any = {name: arg.largest if isinstance(arg, ReportDocument) else arg for name, arg in kwargs.items()}
        return function(*whole, **named)

    return render


def value_text(document: ReportDocument, value: float | None) -> str:
    """A value of the metric itself: an accuracy, which is a fraction, in percent."""
    if value is None:
        return "–"
    return f"{100 * value:.2f} %" if document.metric.is_accuracy else f"{value:.{digits_written()}f}".replace("-", "−")


def value_axis(document: ReportDocument) -> str:
    """The label of an axis of values."""
    metric = document.metric
    return (
        f"{metric.name} (%)"
        if metric.is_accuracy
        else metric.name
        if metric.unit == metric.name
        else f"{metric.name} ({metric.unit})"
    )


def checked_headline(function: Callable[[ReportDocument], str]) -> Callable[[ReportDocument], str]:
    """No headline rests on rows of which a check is open: that comes first."""

    @wraps(function)
    def headline(document: ReportDocument) -> str:
        document = document.largest
        text = in_words(document, function(document))
        count = len(document.open_checks)
        if not count:
            return text
        return f"{'A data check is' if count == 1 else f'{count} data checks are'} open, so this is not settled: {text}"

    return headline


def checked_answers(function: Callable[[ReportDocument], tuple[Any, ...]]) -> Callable[[ReportDocument], tuple[Any, ...]]:
    """No ✓ while a check is open, and no question that the rows cannot be asked."""

    @wraps(function)
    def answers(document: ReportDocument) -> tuple[Any, ...]:
        document = document.largest
        found = [answer for answer in function(document) if document.has_kappa or answer.id not in _OF_KAPPA]
        return tuple(
            replace(
                answer,
                tone="open" if document.open_checks and answer.tone == "yes" else answer.tone,
                question=in_words(document, answer.question),
                short=in_words(document, answer.short),
                text=in_words(document, answer.text),
            )
            for answer in found
        )

    return answers


def checks_title(document: ReportDocument) -> str:
    """The heading of the block of data checks."""
    count = len(document.open_checks)
    state = f"{count} open: a verdict it touches is marked {FLAG}" if count else "none open"
    return f"The data first ({state})"
