"""The report as one HTML file: no network, readable and printable without JavaScript, every name escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from sics_analysis.report import grids, text
from sics_analysis.report.answer import TONE_GLYPHS
from sics_analysis.report.answers import answers
from sics_analysis.report.document import ReportDocument
from sics_analysis.report.figures import Figure, figure_list
from sics_analysis.report.html_cells import grid_rows, status_cell
from sics_analysis.report.html_tables import report_tables
from sics_analysis.report.summary import headline, undecided

TEMPLATE = "report.html"
_WIDE = 340  # CSS pixels: figures wider than one column of a paper take the whole width


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
    environment.filters["visible"] = text.plain
    environment.filters["prose"] = text.tied
    open_lines, lines = undecided(document)
    return environment.get_template(TEMPLATE).render(
        document=document,
        settings=document.settings,
        headline=headline(document),
        identity=text.identity_line(document),
        margin=text.margin_line(document),
        answers=answers(document),
        tone_glyphs=TONE_GLYPHS,
        glyphs=text.GLYPHS,
        status_glyphs=text.STATUS_GLYPHS,
        status_cell=status_cell,
        grid=grid_rows(document),
        undecided=(open_lines, lines),
        figures=[(figure, _is_wide(figure), Markup(figure.svg or "")) for figure in figure_list(document)],
        tables=report_tables(document),
        provenance=grids.provenance(document).rows,
        no_deviations=text.no_deviations(document),
        number=text.number,
        interval=text.interval,
        sparsity_list=text.sparsity_list,
        style=Markup(_asset("report.css")),
        script=Markup(script),
        script_digest=digest,
    )  # fmt: skip


def _asset(name: str) -> str:
    return files("sics_analysis.report").joinpath("templates", name).read_text(encoding="utf-8")


def _is_wide(figure: Figure) -> bool:
    found = re.search(r'width="([\d.]+)"', figure.svg or "")
    return found is not None and float(found[1]) > _WIDE
