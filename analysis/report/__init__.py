"""Reports: one document, rendered as HTML, terminal text, Markdown, LaTeX, JSON and figures.

From a table of (seed, scorer, sparsity, accuracy) to a page that can be forwarded::

    from pathlib import Path
    import pandas as pd
    from sics_analysis.report import report_table, render, save_figures

    document = report_table(pd.read_csv("results.csv"), delta=0.5, title="my scorer")
    Path("report.html").write_text(render(document, "html"), encoding="utf-8")
    save_figures(document, Path("figures"))

Names load on first use, so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING

from sics_analysis.lazy import attach

if TYPE_CHECKING:
    from sics_analysis.report.build import Origin as Origin
    from sics_analysis.report.build import build_document as build_document
    from sics_analysis.report.build import report_table as report_table
    from sics_analysis.report.document.document import ReportDocument as ReportDocument
    from sics_analysis.report.figures import figure_list as figure_list
    from sics_analysis.report.figures import save_figures as save_figures
    from sics_analysis.report.layouts.formats import FORMATS as FORMATS
    from sics_analysis.report.layouts.formats import render as render
    from sics_analysis.report.words.headline import headline as headline
    from sics_analysis.report.words.reasons import Answer as Answer

_HOME = {
    "build": ("Origin", "build_document", "report_table"),
    "document.document": ("ReportDocument",),
    "figures": ("figure_list", "save_figures"),
    "layouts.formats": ("FORMATS", "render"),
    "words.headline": ("headline",),
    "words.reasons": ("Answer",),
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
