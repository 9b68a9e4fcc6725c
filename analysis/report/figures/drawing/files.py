"""A drawing as files: PDF (TrueType fonts) and PNG (300 dots an inch), the same bytes for the same drawing."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure as Canvas

DPI = 300


def save_canvas(canvas: Canvas, stem: Path, title: str) -> list[Path]:
    """Write a canvas under `figure_style()` as `stem`.pdf and `stem`.png; the folder must be there."""
    pdf, png = stem.with_name(f"{stem.name}.pdf"), stem.with_name(f"{stem.name}.png")
    with quiet():
        FigureCanvasPdf(canvas)
        canvas.savefig(pdf, metadata={"Title": title, "CreationDate": None, "Creator": None, "Producer": None})
        FigureCanvasAgg(canvas)
        canvas.savefig(png, dpi=DPI, facecolor="white", metadata={"Software": None, "Title": title})
    return [pdf, png]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to ourselves that the font lacks a glyph: a page has fonts of its own, files spell it out."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            yield
    finally:
        logger.setLevel(level)
