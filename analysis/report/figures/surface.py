"""A scorer over (ρ, z): where its score is high, and the curve that z adds to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sics_analysis.report.figures.drawing.files import save_canvas
from sics_analysis.report.figures.drawing.labels import short
from sics_analysis.report.figures.drawing.style import BLUE, DOUBLE, FAINT, INK, SMALL, Sketch, drawing, figure_style

Floats = NDArray[np.float64]
_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def surface(name: str, score: Floats, curve: Floats, *, sparsity: float, said: str) -> Sketch:
    """The mean percentile of a score over ρ (across) and z (upwards), and what z adds to it on average.

    `score` has the shape (ρ bins, z bins) with percentiles in [0, 1], `curve` goes over z in (0, 1), both nan where there are no
    units; units below the percentile `sparsity` go, and `said` is what was measured, for the caption.
    """
    sheet = drawing(DOUBLE, 2.95)
    left = sheet.axes(0.45, 0.3, 2.6, 2.0)
    image = left.imshow(
        np.ma.masked_invalid(score.T), origin="lower", extent=(0, 1, 0, 1), aspect="auto", vmin=0, vmax=1, cmap="cividis",
        interpolation="nearest",
    )  # fmt: skip
    centres = [(np.arange(size) + 0.5) / size for size in score.shape]
    if min(score.shape) > 1:
        filled = np.nan_to_num(score.T, nan=float(np.nanmean(score)))
        left.contour(*centres, filled, levels=_LEVELS, colors="white", linewidths=0.4)
        inside = float(filled.min()) < sparsity < float(filled.max())
        if inside:
            left.contour(*centres, filled, levels=[sparsity], colors="white", linewidths=1.4)
    left.set_title(short(f"{name}: percentile of the score", 48))
    left.set_xlabel("ρ, percentile of the magnitude")
    left.set_ylabel("z, percentile of the saliency")
    bar = sheet.canvas.colorbar(image, cax=sheet.axes(3.12, 0.3, 0.1, 2.0))
    bar.outline.set_linewidth(0.4)
    right = sheet.axes(4.1, 0.3, 2.8, 2.0)
    right.axhline(0, color=FAINT, linewidth=0.6)
    right.plot((np.arange(curve.size) + 0.5) / curve.size, curve, color=BLUE, linewidth=0.9)
    right.set_xlim(0, 1)
    right.set_title("what z adds, on average over ρ")
    right.set_xlabel("z")
    right.set_ylabel("percentile of the score")
    sheet.text(0.45, 2.86, short(said, 118), fontsize=SMALL, color=INK)
    caption = (
        f"{name} over magnitude and saliency at S = {sparsity:g}: mean percentile of its score (left; the thick white line is "
        "the threshold, below it units go) and the curve over z (right). Vertical contours: magnitude alone decides. "
        f"{said}"
    )
    return Sketch(
        caption, f"Map of the score of {name} over magnitude and saliency, and its curve over the saliency. {said}", sheet
    )


def save_surface(folder: Path, stem: str, name: str, score: Floats, curve: Floats, *, sparsity: float, said: str) -> list[Path]:
    """Write :func:`surface` as PDF and PNG into `folder`, which is made where it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    with figure_style():
        sketch = surface(name, score, curve, sparsity=sparsity, said=said)
        assert sketch.drawing is not None
        return save_canvas(sketch.drawing.canvas, folder / stem, f"{name} over ρ and z")
