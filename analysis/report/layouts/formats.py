"""A document as text of any format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from sics_analysis.report.document.document import ReportDocument

#: format → (module and function that renders it, endings of files that ask for it). Modules load when they are needed.
_RENDERERS: Mapping[str, tuple[str, str]] = {
    "terminal": ("terminal", "render_terminal"),
    "html": ("html", "render_html"),
    "md": ("markdown", "render_markdown"),
    "latex": ("latex", "render_latex"),
    "csv": ("verdicts_csv", "render_csv"),
}
FORMATS = (*(kind for kind in _RENDERERS if kind != "csv"), "json", "csv")
ENDINGS: Mapping[str, str] = {
    ".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".tex": "latex", ".json": "json", ".txt": "terminal",
    ".csv": "csv",
}  # fmt: skip


def render(document: ReportDocument, kind: str) -> str:
    """Return the document in a format of `FORMATS`; the same document gives the same text.

    Raises
    ------
    ValueError
        For another format.

    Notes
    -----
    "tex" and "markdown" are taken for "latex" and "md".
    """
    if kind == "json":
        return document.to_json()
    kind = {"tex": "latex", "markdown": "md"}.get(kind, kind)
    if kind not in _RENDERERS:
        raise ValueError(f"Expected a format among {', '.join(FORMATS)}, got {kind!r}")
    module, name = _RENDERERS[kind]
    renderer: Callable[[ReportDocument], str] = getattr(import_module(f"sics_analysis.report.layouts.{module}"), name)
    return renderer(document)
