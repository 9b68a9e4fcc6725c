"""The report as one HTML file: no network, readable and printable without JavaScript, every name escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.figures import Figure, figure_list
from sics_analysis.report.tables import by_scorer, joint, plans, searched
from sics_analysis.report.tables.looks import OF_LOOKS
from sics_analysis.report.tables.table import ReportTable
from sics_analysis.report.words import phrases
from sics_analysis.report.words.answers import answers
from sics_analysis.report.words.conclusion import conclusion_of
from sics_analysis.report.words.reasons import TONE_GLYPHS, headline, undecided
from sics_analysis.report.words.said import checks_title, in_digits, in_words, largest_alone
from sics_analysis.report.words.searched import conclusions

TEMPLATE = "report.html"
_WIDE = 340  # CSS pixels: figures wider than one column of a paper take the whole width


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
    environment.filters["prose"] = phrases.tied
    environment.filters["decimals"] = phrases.decimals
    open_lines, lines = undecided(document)
    absent = set() if document.has_kappa else {"attribution", "kappa", "paper"}
    return environment.get_template(TEMPLATE).render(
        document=document,
        settings=document.settings,
        headline=headline(document),
        checks_title=checks_title(document),
        grid_caption=_grid_caption(document, open_lines, lines),
        identity=phrases.identity_line(document),
        margin=phrases.margin_line(document),
        conclusion=conclusion_of(document),
        answers=answers(document),
        tone_glyphs=TONE_GLYPHS,
        glyphs=phrases.GLYPHS,
        meaning=phrases.MEANING,
        status_glyphs=phrases.STATUS_GLYPHS,
        overview=joint.overview(document),
        undecided=(open_lines, lines),
        figures=[(one, _is_wide(one), Markup(one.svg or "")) for one in figure_list(document) if one.id not in absent],
        tables=report_tables(document),
        searched=() if document.searched is None else searched_tables(document),
        searched_said=conclusions(document),
        scorecard=joint.scorecard(document.claims),
        gates=joint.scorecard(document.gates, "gate", "Gates"),
        provenance=joint.provenance(document).rows,
        no_deviations=phrases.no_deviations(document),
        style=Markup(_asset("report.css")),
        script=Markup(script),
        script_digest=digest,
    )  # fmt: skip


def _grid_caption(document: ReportDocument, undecided: int, lines: int) -> str:
    reference = phrases.plain(document.settings.reference)
    text = f"Difference to {reference} in accuracy points, mean over seeds, with the verdict at ±{document.settings.delta:g}."
    if undecided:
        text += f" {undecided} of {lines} lines are undecided, which is not agreement: they may lie within that or beyond it."
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


def _is_wide(figure: Figure) -> bool:
    found = re.search(r'width="([\d.]+)"', figure.svg or "")
    return found is not None and float(found[1]) > _WIDE
