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

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sics_analysis.report.document.build import Origin as Origin
    from sics_analysis.report.document.build import build_document as build_document
    from sics_analysis.report.document.build import report_table as report_table
    from sics_analysis.report.document.document import ReportDocument as ReportDocument
    from sics_analysis.report.figures import figure_list as figure_list
    from sics_analysis.report.figures import save_figures as save_figures
    from sics_analysis.report.layouts.formats import FORMATS as FORMATS
    from sics_analysis.report.layouts.formats import render as render
    from sics_analysis.report.words.headline import headline as headline
    from sics_analysis.report.words.reasons import Answer as Answer

_HOME = {
    "document.build": ("Origin", "build_document", "report_table"),
    "document.document": ("ReportDocument",),
    "figures": ("figure_list", "save_figures"),
    "layouts.formats": ("FORMATS", "render"),
    "words.headline": ("headline",),
    "words.reasons": ("Answer",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE)


def __getattr__(name: str) -> object:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE})
