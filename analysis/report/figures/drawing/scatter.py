"""Panels of points, one per S, differences in accuracy upwards: what the overlap of masks and the plateau map share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sics_analysis.report.figures.drawing.labels import labels, short
from sics_analysis.report.figures.drawing.panels import arrow, window
from sics_analysis.report.figures.drawing.style import DOUBLE, FAINT, HEAD, INK, SINGLE, SMALL, Drawing, drawing, grid, series

LINE = 0.15  # inches of a line of the key
_FOOT = 0.42


def scatter_panels(
    values: Sequence[float],
    scorers: Mapping[str, int | None],
    xlabel: str,
    body: float,
    foot: float,
    *,
    more: int = 0,
    fills: bool = True,
) -> tuple[Drawing, list[Axes], float]:
    """Empty panels for these S with the key of the scorers (name → κ) below, and where that ends, in inches from the top.

    `foot` is the inches left below the key and `more` the lines it has room for; `fills` tells whether a scorer has a filling of
    its own.
    """
    rows, across = grid(len(values))
    width = SINGLE if len(values) == 1 else DOUBLE
    per_line = int((width - 0.2) / 1.36)
    lines = -(-len(scorers) // per_line)
    key = LINE * (lines + more) + foot
    sheet = drawing(width, rows * (HEAD + body + _FOOT) + key)
    top = sheet.height - key + 0.08
    panels = sheet.panels(len(values), across, body, left=0.52, foot=_FOOT)
    for i, (axes, S) in enumerate(zip(panels, values, strict=True)):
        axes.set_title(f"S = {S:g}")
        axes.set_xlabel(xlabel)
        if i % across == 0:
            axes.set_ylabel("difference (points)")
    names = labels(list(scorers), 18)
    for i, (name, kappa) in enumerate(scorers.items()):
        row, column = divmod(i, per_line)
        x, y, style = 0.15 + column * (width - 0.2) / per_line, top + LINE * row, series(i)
        sheet.marker(x, y, style.colour, style.marker, style.fill if fills else "full")
        text = names[name] + ("" if kappa is None else f" (κ {kappa})")
        sheet.text(x + 0.09, y, short(text, 24), va="center", fontsize=SMALL)
    return sheet, panels, top + LINE * lines


def shade_heights(axes: Axes, heights: Sequence[float], delta: float) -> tuple[float, float]:
    """±δ as a band with the line of no difference; the limits that these heights ask for."""
    axes.axhspan(-delta, delta, color=FAINT, alpha=0.18, linewidth=0, zorder=0)
    axes.axhline(0, color=INK, linewidth=0.5, zorder=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return window([[height] for height in heights], delta)


def beyond(axes: Axes, x: float, y: float, *values: float) -> None:
    """Mark values beyond the edge y by an arrow with their numbers, towards the middle of the panel."""
    low, high = axes.get_xlim()
    right, below = x < (low + high) / 2, values[0] < y
    axes.annotate(
        arrow(below, *values), (x, y), xytext=(4 if right else -4, 5 if below else -5), textcoords="offset points",
        ha="left" if right else "right", va="center", fontsize=6,
    )  # fmt: skip
