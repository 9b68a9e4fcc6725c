"""Panels of rows: one per S, a row per scorer, the scorers grouped by κ; what the forests and the δ-strips share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.rows import ScorerInfo
from sics_analysis.report.figures.drawing.labels import labels
from sics_analysis.report.figures.drawing.style import (
    DOUBLE,
    FAINT,
    HEAD,
    INK,
    ROW,
    SINGLE,
    SMALL,
    VERDICTS,
    Drawing,
    Fill,
    drawing,
    grid,
)
from sics_analysis.results import Verdict


def window(rows: Sequence[Sequence[float]], delta: float) -> tuple[float, float]:
    """Limits of an axis of differences: ±1.5 δ and every row but those far off.

    A row further out than three times the median row, and than 6 δ, would press all others together: it is left
    outside, for an arrow with its number.

    >>> low, high = window([[0.1, 0.3], [-0.2, 0.4], [1.1], [-37.0, -36.0]], 0.5)
    >>> round(low, 2), round(high, 2)
    (-0.86, 1.21)
    """
    reach = sorted(max(map(abs, row)) for row in rows if row)
    low, high = -1.5 * delta, 1.5 * delta
    if reach:
        limit = max(6 * delta, 3 * reach[(len(reach) - 1) // 2])
        for row in rows:
            if row and max(map(abs, row)) <= limit:
                low, high = min(low, *row), max(high, *row)
    pad = 0.06 * (high - low)
    return low - pad, high + pad


def arrow(below: bool, *values: float) -> str:
    """What marks values below or above a panel.

    >>> arrow(True, -37.2, -36.0)
    '▾ −37/−36'
    """
    said = dict.fromkeys(f"{value:+.0f}".replace("-", "−") for value in values)
    return f"{'▾' if below else '▴'} {'/'.join(said)}"


def sparsities(document: ReportDocument) -> list[float]:
    """The values of S, ascending."""
    return [info.sparsity for info in document.sparsities]


_NAMES, _GROUP, _GLYPHS, _GAP = 1.12, 0.2, 0.16, 0.1  # inches
_LEGEND = 0.24


@dataclass(frozen=True, slots=True)
class Panel:
    """One S: its axes, with row i of the scorers at y = i, from the top."""

    sparsity: float
    axes: Axes


def row_panels(
    document: ReportDocument, scorers: Sequence[ScorerInfo], xlabel: str, *, foot: float = 0.42, hollow: bool = False
) -> tuple[Drawing, list[Panel]]:
    """Empty panels for these scorers, labelled and grouped, with the key of the verdicts below.

    `foot` is the inches below a panel for its ticks and label; `hollow` tells whether inconclusive lines are drawn hollow.
    """
    values = sparsities(document)
    rows, across = grid(len(values))
    width = SINGLE if len(values) == 1 else DOUBLE
    grouped = document.has_kappa
    left = _NAMES + (_GROUP if grouped else 0.0)
    panel_width = (width - left - across * _GLYPHS - (across - 1) * _GAP - 0.04) / across
    body = max(len(scorers), 2) * ROW
    legend = _LEGEND * (2 if width < DOUBLE else 1)
    pitch = HEAD + body + foot
    sheet = drawing(width, rows * pitch + legend)
    names = labels([scorer.name for scorer in scorers])
    panels = []
    for i, sparsity in enumerate(values):
        row, column = divmod(i, across)
        axes = sheet.axes(left + column * (panel_width + _GLYPHS + _GAP), row * pitch + HEAD, panel_width, body)
        axes.set_ylim(max(len(scorers), 2) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])
        noisy = "; δ below noise" if document.sparsities[i].below_noise else ""
        axes.set_title(f"S = {sparsity:g}{noisy}")
        if column == 0:
            axes.set_yticks(range(len(scorers)), [names[scorer.name] for scorer in scorers])
            axes.tick_params(axis="y", length=0, pad=3)
            if grouped:
                _groups(sheet, scorers, row * pitch + HEAD, body / max(len(scorers), 2))
        for edge in _edges(scorers) if grouped else ():
            axes.axhline(edge - 0.5, color=FAINT, linewidth=0.4, alpha=0.6, zorder=0)
        panels.append(Panel(sparsity, axes))
    for row in range(rows):
        y = (row + 1) * pitch - 0.14
        sheet.text(left + (width - left) / 2 if width == DOUBLE else width / 2, y, xlabel, ha="center", va="center")
    _legend(sheet, width, legend, hollow=hollow)
    return sheet, panels


def _edges(scorers: Sequence[ScorerInfo]) -> list[int]:
    """The rows at which a group begins, the first aside."""
    return [i for i in range(1, len(scorers)) if scorers[i].kappa != scorers[i - 1].kappa]


def _groups(sheet: Drawing, scorers: Sequence[ScorerInfo], top: float, row: float) -> None:
    starts = [0, *_edges(scorers)]
    for start, end in zip(starts, [*starts[1:], len(scorers)], strict=True):
        kappa = scorers[start].kappa
        text = "κ –" if kappa is None else f"κ {kappa}"
        sheet.text(0.02, top + row * (start + end) / 2, text, ha="left", va="center", fontsize=SMALL, color=FAINT)


def _legend(sheet: Drawing, width: float, height: float, *, hollow: bool) -> None:
    """The verdicts with colour, marker and glyph; two lines where the figure is narrow."""
    words = list(Verdict)
    lines = [words] if width >= DOUBLE else [words[:3], words[3:]]
    for i, line in enumerate(lines):
        y = sheet.height - height + (i + 0.5) * height / len(lines)
        step = (width - 0.2) / len(line)
        for j, verdict in enumerate(line):
            mark = VERDICTS[verdict]
            text = verdict.lower() if mark.glyph in "▲▼" else f"{mark.glyph} {verdict.lower()}"
            fill: Fill = "none" if hollow and verdict is Verdict.INCONCLUSIVE else "full"
            sheet.text(0.2 + j * step, y, text, ha="left", va="center", fontsize=SMALL, color=INK)
            sheet.marker(0.1 + j * step, y, mark.colour, mark.marker, fill)


def shade_margin(axes: Axes, delta: float) -> None:
    """±δ as a band, and the line of no difference."""
    axes.axvspan(-delta, delta, color=FAINT, alpha=0.18, linewidth=0, zorder=0)
    axes.axvline(0, color=INK, linewidth=0.5, zorder=0.5)


def glyph(axes: Axes, row: float, verdict: Verdict) -> None:
    """The verdict's glyph right of a row."""
    mark = VERDICTS[verdict]
    axes.text(1.03, row, mark.glyph, transform=axes.get_yaxis_transform(), ha="left", va="center", color=INK, fontsize=SMALL)


def off_axis(axes: Axes, row: float, value: float) -> bool:
    """Mark a value beyond the axis by an arrow and its number at that edge; whether it was beyond.

    Where the line of no difference would cross the number, it stands on the free side of that line.
    """
    low, high = axes.get_xlim()
    if low <= value <= high:
        return False
    text = f"◂ {value:+.1f}" if value < low else f"{value:+.1f} ▸"
    zero = -low / (high - low)
    needed = 0.5 * axes.figure.get_dpi() / axes.bbox.width  # half an inch
    if value < low:
        x, side = (0.0 if zero > needed else zero + 0.03), "left"
    else:
        x, side = (1.0 if 1 - zero > needed else zero - 0.03), "right"
    axes.text(
        x, row, text.replace("-", "−"), transform=axes.get_yaxis_transform(), ha=side, va="center", color=INK, fontsize=SMALL
    )
    return True
