"""All figures of a report: as inline SVG, and as PDF and PNG for a paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.figures import accuracy, forest, how_far, looks, outlook, searched, sensitivity, spectrum
from sics_analysis.report.figures.drawing.files import inline_svg, quiet, save_canvas
from sics_analysis.report.figures.drawing.style import Sketch, figure_style
from sics_analysis.report.words.said import in_digits, in_words, largest_alone


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a report."""

    id: str  # in a page and in a file name
    title: str
    caption: str  # what to read in it
    alt: str  # its content, for those who cannot see it
    svg: str | None  # for inline use; None where the data cannot support the figure
    reason: str | None  # why there is no drawing


_FIGURES: tuple[tuple[str, str, Callable[[ReportDocument], Sketch]], ...] = (
    ("decides", "Every scorer at the sparsity that decides", forest.decides),
    ("far", "How far can I prune?", how_far.how_far),
    ("equivalence", "Every scorer against the reference", forest.equivalence),
    ("looks", "Look by look", looks.looks),
    ("escape", "Who escapes, with simultaneous intervals", forest.escape),
    ("attribution", "Complexity or information", forest.attribution),
    ("searched", "What a search gains, by its budget", searched.budgets),
    ("kappa", "κ(S) against the paper's steps", spectrum.staircase),
    ("accuracy", "Accuracy against sparsity", accuracy.curves),
    ("slopes", "Seed by seed", accuracy.slopes),
    ("deltas", "What hangs on the margin δ", sensitivity.deltas),
    ("overlap", "Mask overlap and accuracy", sensitivity.overlap),
    ("power", "What more seeds would show", outlook.power),
    ("paper", "The paper and this run", outlook.paper),
)
_FAR, _KAPPA, _PAPER, _LOOKS, _SEARCHED = "far", "kappa", "paper", "looks", "searched"
#: Ids of all figures, in the order of a report; one against the dense network begins with "far" as well, one
#: of a run with looks has "looks", one with searched scorers "searched", and one that the paper does not speak of has no "paper".
FIGURES = tuple(name for name, _, _ in _FIGURES if name not in (_FAR, _LOOKS, _SEARCHED))


@in_digits
@largest_alone
def figure_list(document: ReportDocument) -> list[Figure]:
    """Draw every figure of a report as inline SVG.

    Returns
    -------
    list of Figure
        One for each of `FIGURES`, in that order ("far" against the dense network alone, "looks" of a run with looks, "searched"
        of one with searched scorers, "paper" of accuracies on images alone); those the data cannot support have `reason` and no
        `svg`. The same document gives the same bytes.
    """
    with figure_style():
        return [_drawn(document, name, title, draw) for name, title, draw in _asked(document)]


@in_digits
@largest_alone
def for_phones(document: ReportDocument) -> Figure:
    """The figure "decides" for a screen too narrow for names, bars and numbers beside each other."""
    with figure_style():
        return _drawn(document, "phone", in_words(document, _FIGURES[0][1]), forest.stacked)


def _drawn(document: ReportDocument, name: str, title: str, draw: Callable[[ReportDocument], Sketch]) -> Figure:
    sketch = _said(document, draw(document))
    svg = None
    if sketch.drawing is not None:
        FigureCanvasSVG(sketch.drawing.canvas)
        with quiet():
            svg = inline_svg(sketch.drawing.canvas, f"fig-{name}", title, sketch.alt, sketch.drawing.tips)
    return Figure(name, title, sketch.caption, sketch.alt, svg, sketch.reason)


@in_digits
@largest_alone
def save_figures(document: ReportDocument, directory: Path) -> list[Path]:
    """Write every figure as PDF (TrueType fonts) and PNG (300 dots an inch), one or two columns of a paper wide.

    Parameters
    ----------
    directory
        Made where it does not exist.

    Returns
    -------
    list of Path
        The files written, two for each figure the data support. The same document gives the same bytes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    document = _spelled_out(document)
    with figure_style():
        for name, title, draw in _asked(document):
            sketch = _said(document, draw(document))
            if sketch.drawing is None:
                continue
            written += save_canvas(sketch.drawing.canvas, directory / name, title)
    return written


def _asked(document: ReportDocument) -> list[tuple[str, str, Callable[[ReportDocument], Sketch]]]:
    """The figures of this report's questions, under titles that speak of its metric."""
    stated = document.metric.is_image_accuracy
    without = {*([] if document.how_far else [_FAR]), *([] if stated else [_PAPER]), *([] if document.looks else [_LOOKS])}
    without |= set() if document.searched is not None and document.searched.points else {_SEARCHED}
    bare = {} if stated else {_KAPPA: "κ(S)"}
    return [(name, in_words(document, bare.get(name, title)), draw) for name, title, draw in _FIGURES if name not in without]


def _said(document: ReportDocument, sketch: Sketch) -> Sketch:
    """A sketch whose every word speaks of the document's metric."""
    if document.metric.is_image_accuracy and not document.one_pool:
        return sketch
    if sketch.drawing is not None:
        for text in sketch.drawing.canvas.findobj(Text):
            text.set_text(in_words(document, text.get_text()))
        tips = sketch.drawing.tips
        tips[:] = [replace(tip, text=in_words(document, tip.text)) for tip in tips]
    reason = sketch.reason and in_words(document, sketch.reason)
    return replace(sketch, caption=in_words(document, sketch.caption), alt=in_words(document, sketch.alt), reason=reason)


@lru_cache(maxsize=1)
def _known_characters() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def _spelled_out(document: ReportDocument) -> ReportDocument:
    """Write characters the embedded font lacks as escapes: two names of empty boxes could not be told apart."""
    known = _known_characters()
    names: dict[str, str] = {}
    for name in (*(scorer.name for scorer in document.scorers), document.settings.reference):
        spelled = "".join(c if ord(c) in known else c.encode("unicode_escape", "backslashreplace").decode() for c in name)
        while spelled != name and spelled in names.values():
            spelled += "'"
        names.setdefault(name, spelled)
    if all(name == spelled for name, spelled in names.items()):
        return document
    return replace(
        document,
        settings=replace(document.settings, reference=names[document.settings.reference]),
        scorers=tuple(replace(scorer, name=names[scorer.name]) for scorer in document.scorers),
        cells=tuple(replace(cell, scorer=names.get(cell.scorer, cell.scorer)) for cell in document.cells),
        lines=tuple(replace(line, scorer=names[line.scorer]) for line in document.lines),
        attribution=tuple(replace(line, scorer=names[line.scorer]) for line in document.attribution),
        next_steps=tuple(replace(step, scorer=names[step.scorer]) for step in document.next_steps),
        how_far=tuple(replace(found, scorer=names[found.scorer]) for found in document.how_far),
        deltas=tuple(replace(found, scorer=names[found.scorer]) for found in document.deltas),
        looks=document.looks
        and replace(document.looks, lines=tuple(replace(line, scorer=names[line.scorer]) for line in document.looks.lines)),
    )
