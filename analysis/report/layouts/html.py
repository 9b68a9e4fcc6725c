"""The report as one HTML file: no network, readable and printable without JavaScript, every name escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.figures import figure_list, for_phones
from sics_analysis.report.layouts.html_figures import Drawn, drawn
from sics_analysis.report.tables import by_scorer, joint, plans, searched
from sics_analysis.report.tables.looks import OF_LOOKS
from sics_analysis.report.tables.table import ReportTable, TableCell
from sics_analysis.report.words import phrases
from sics_analysis.report.words.answers import answers
from sics_analysis.report.words.conclusion import conclusion_of, correction, deciding
from sics_analysis.report.words.glossary import terms
from sics_analysis.report.words.headline import headline
from sics_analysis.report.words.reasons import TONE_GLYPHS, Answer, over_run, undecided
from sics_analysis.report.words.said import checks_title, in_digits, in_words, largest_alone
from sics_analysis.report.words.searched import conclusions
from sics_analysis.results import plural

TEMPLATE = "report.html"
_DENSE = 20  # rows of the grid beyond which it is set smaller
BUDGET = 800_000  # bytes of a page
#: What a page goes without, in this order, while it is larger than that: all that is as long as the run, and no verdict hangs on.
_SPARED = ("weights", "mcnemar", "cells", "slopes", "overlap")
_FIRST, _PHONE = "decides", "phone"
#: The figures that say the same in two ways, between which a reader switches.
_FORESTS: Mapping[str, str] = {"equivalence": "Line by line", "escape": "The family at once"}
#: question → its figure on the page ("forests" stands for all of them), and the tables folded below it.
_PLACES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "far": ("far", ("far",)),
    "plateau": ("accuracy", ("plateau",)),
    "escape": ("forests", ("equivalence", "escapes", "intervals", "winners")),
    "attribution": ("attribution", ("attribution",)),
    "searched": ("searched", ()),
    "kappa": ("kappa", ("kappa",)),
    "certainty": ("deltas", ("mcnemar", "cells")),
    "looks": ("looks", ("looks", "price")),
    "next": ("power", ("next",)),
    "paper": ("paper", ()),
}
#: Tables as long as the run: on the page, and left folded in print.
_RAW = ("mcnemar", "cells", "weights")
#: Tables where a pointer finds the sentence to quote.
_TITLED = ("overview", "attribution", "plateau", "split", "beside", "pools", "scorecard", "gate")
_COUNTS = re.compile(r"\d+:\d+ p <?[\d.e+-]+")  # sorted by the p at the end
_PLAIN = re.compile(r"[+−]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?( %)?")


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the page: the answer, its figure, the tables folded below."""

    answer: Answer
    figures: tuple[Drawn, ...]  # several are switched between
    tables: tuple[ReportTable, ...]


@in_digits
@largest_alone
def render_html(document: ReportDocument) -> str:
    """Return the page.

    Notes
    -----
    The style sheet, the script and the figures stand inside it; a content security policy forbids all else, so that not
    even a name that slipped through could run. jinja2 escapes every value; only our own files and the figures, which escape
    their own texts, are put in as they are.
    """
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["visible"] = phrases.plain
    environment.filters["breaking"] = _breaking
    environment.filters["prose"] = _linked
    environment.filters["decimals"] = phrases.decimals
    environment.filters["sorting"] = sorting
    absent = set() if document.has_kappa else {"attribution", "kappa", "paper"}
    figures, classes = drawn([*(one for one in figure_list(document) if one.id not in absent), for_phones(document)])
    phone = figures.pop(_PHONE)
    known = {scorer.name: f"term-{i}" for i, scorer in enumerate(document.scorers, start=1)}
    asked, further, tables = questions(document, figures)
    there = {f"answer-{question.answer.id}" for question in asked} | {f"figure-{name}" for name in figures} | {"notes"}
    there |= {f"table-{table.id}" for question in asked for table in question.tables}
    words = terms(document)
    open_lines, lines = undecided(document)
    values = [info.sparsity for info in document.sparsities]
    decisive = deciding(document)
    verdicts = {line.verdict for line in document.lines}
    said: dict[str, Any] = {
        "document": document,
        "settings": document.settings,
        "headline": headline(document),
        "checks_title": checks_title(document),
        "grid_caption": _grid_caption(document, open_lines, lines),
        "identity": phrases.identity_line(document),
        "margin": phrases.margin_line(document),
        "correction": in_words(document, correction(document)),
        "first": figures[_FIRST],
        "phone": phone,
        "decides": values.index(decisive) if len(values) > 1 and decisive in values else -1,
        "held": {(line.scorer, values.index(line.sparsity)) for line in over_run(document)[0]},
        "bold": phrases.BOLD,
        "dense": _DENSE,
        "conclusion": conclusion_of(document),
        "questions": asked,
        "further": further,
        "tables": tables,
        "searched": () if document.searched is None else searched_tables(document),
        "kilobytes": BUDGET // 1000,
        "forests": _FORESTS,
        "raw": _RAW,
        "titled": _TITLED,
        "terms": [(term, known[term.name] if term.scorer else "", term.link if term.link in there else "") for term in words],
        "known": known,
        "tone_glyphs": TONE_GLYPHS,
        "glyphs": {word: glyph for word, glyph in phrases.GLYPHS.items() if word in verdicts},
        "paper": (phrases.PAPER, phrases.PAPER_LINK) if document.has_kappa else None,
        "meaning": phrases.MEANING,
        "status_glyphs": phrases.STATUS_GLYPHS,
        "overview": joint.overview(document),
        "searched_said": conclusions(document),
        "scorecard": joint.scorecard(document.claims),
        "gates": joint.scorecard(document.gates, "gate", "Gates"),
        "provenance": joint.provenance(document).rows,
        "no_deviations": phrases.no_deviations(document),
        "style": Markup(_asset("report.css") + classes),
        "script": Markup(script),
        "script_digest": digest,
    }
    template = environment.get_template(TEMPLATE)
    pages = (template.render(spared=_SPARED[:count], **said) for count in range(len(_SPARED) + 1))
    return next((page for page in pages if len(page.encode()) <= BUDGET), "") or template.render(spared=_SPARED, **said)


def questions(document: ReportDocument, figures: Mapping[str, Drawn]) -> tuple[list[Question], list[Drawn], list[ReportTable]]:
    """Every answer with its figure and tables; then the figures and the tables that no question of this report has."""
    tables = {table.id: table for table in report_tables(document)}
    left = {name: drawn for name, drawn in figures.items() if name != _FIRST}
    found = []
    for answer in answers(document):
        name, below = _PLACES[answer.id]
        own = [left.pop(one) for one in (_FORESTS if name == "forests" else (name,)) if one in left]
        found.append(Question(answer, tuple(own), tuple(tables.pop(one) for one in below if one in tables)))
    return found, list(left.values()), list(tables.values())


def sorting(cell: TableCell) -> str | None:
    """What a cell is sorted by, where the script does not read it off the text."""
    if cell.sort is None or cell.sort == cell.text:
        return None
    if isinstance(cell.sort, str):
        return cell.sort
    if _COUNTS.fullmatch(cell.text):
        return None
    return None if not cell.glyph and not cell.word and _PLAIN.fullmatch(cell.text) else f"{cell.sort:.6g}"


def _breaking(name: str) -> Markup:
    """A name that a narrow column breaks between its words, and before its pool."""
    return Markup("<wbr>").join(escape(phrases.plain(part)) for part in re.split(r"(?<=[_/])", name))


def _linked(text: str) -> Markup:
    """Prose, in which the paper is a link."""
    link = Markup('<a href="{}">{}</a>').format(phrases.PAPER_LINK, phrases.PAPER)
    return link.join(escape(part) for part in phrases.tied(text).split(phrases.PAPER))


def _grid_caption(document: ReportDocument, undecided: int, lines: int) -> str:
    reference = phrases.plain(document.settings.reference)
    text = f"Difference to {reference} in accuracy points, mean over seeds, with the verdict at ±{document.settings.delta:g}."
    if undecided:
        text += f" {undecided} of {plural(lines, 'line')} {'is' if undecided == 1 else 'are'} undecided, which is not agreement."
    return in_words(document, text)


def report_tables(document: ReportDocument) -> tuple[ReportTable, ...]:
    """All tables below the figures, in the order of the page."""
    makers = (
        *([plans.how_far] if document.how_far else []), *(OF_LOOKS if document.looks else [plans.next_steps]),
        joint.plateaus, by_scorer.equivalence, by_scorer.escapes, by_scorer.intervals, joint.spectrum, by_scorer.attribution,
        joint.winners, joint.mcnemar, joint.cells,
    )  # fmt: skip
    return tuple(make(document).wide() for make in makers if document.has_kappa or make not in joint.OF_KAPPA)


def searched_tables(document: ReportDocument) -> tuple[ReportTable, ...]:
    """The tables of the section about searched scorers, and the weights that were found."""
    assert document.searched is not None
    more = [searched.weights(document)] if document.searched.weights else []
    return tuple(table.wide() for table in (*searched.tables(document), *more))


def _asset(name: str) -> str:
    return files("sics_analysis.report").joinpath("templates", name).read_text(encoding="utf-8")
