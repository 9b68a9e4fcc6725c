"""Panels of rows: one per S, a row per scorer, the scorers grouped by κ, for forests and δ-strips; and panels of points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.rows import ScorerInfo
from sics_analysis.report.figures.drawing.labels import LONGEST, labels, room
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
    member,
    series,
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
    >>> arrow(False, 0.149)
    '▴ +0.15'
    """
    said = dict.fromkeys(f"{value:{'+.0f' if abs(value) >= 1 else '+.2g'}}".replace("-", "−") for value in values)
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
    document: ReportDocument,
    scorers: Sequence[ScorerInfo],
    xlabel: str,
    shown: Iterable[Verdict],
    *,
    foot: float = 0.42,
    hollow: bool = False,
) -> tuple[Drawing, list[Panel]]:
    """Empty panels for these scorers, labelled and grouped, with the key of the verdicts shown below.

    `foot` is the inches below a panel for its ticks and label; `hollow` tells whether inconclusive lines are drawn hollow.
    """
    values = sparsities(document)
    rows, across = grid(len(values))
    width = SINGLE if len(values) == 1 else DOUBLE
    grouped = document.has_kappa
    left = room([scorer.name for scorer in scorers], _NAMES) + (_GROUP if grouped else 0.0)
    panel_width = (width - left - across * _GLYPHS - (across - 1) * _GAP - 0.04) / across
    body = max(len(scorers), 2) * ROW
    words = [verdict for verdict in Verdict if verdict in set(shown)]
    legend = key_height(words, width)
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
    verdict_key(sheet, words, hollow=hollow)
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


_PER_LINE = {SINGLE: 4, DOUBLE: 7}  # verdicts of the key beside each other


def key_height(words: Sequence[Verdict], width: float) -> float:
    """Inches that the key of these verdicts takes."""
    return _LEGEND * max(1, -(-len(words) // _PER_LINE[width]))


def verdict_key(sheet: Drawing, words: Sequence[Verdict], *, hollow: bool) -> None:
    """These verdicts with colour, marker and glyph, at the foot of a drawing; no other is named."""
    width, across = sheet.width, _PER_LINE[sheet.width]
    step = (width - 0.2) / across
    for i, verdict in enumerate(words):
        line, place = divmod(i, across)
        y = sheet.height - key_height(words, width) + (line + 0.5) * _LEGEND
        mark = VERDICTS[verdict]
        text = verdict.lower() if mark.glyph in "▲▼" else f"{mark.glyph} {verdict.lower()}"
        fill: Fill = "none" if hollow and verdict is Verdict.INCONCLUSIVE else "full"
        sheet.text(0.2 + place * step, y, text, ha="left", va="center", fontsize=SMALL, color=INK)
        sheet.marker(0.1 + place * step, y, mark.colour, mark.marker, fill)


def shade_margin(axes: Axes, delta: float) -> None:
    """±δ as a band, and the line of no difference."""
    axes.axvspan(-delta, delta, color=FAINT, alpha=0.18, linewidth=0, zorder=0)
    axes.axvline(0, color=INK, linewidth=0.5, zorder=0.5)


def glyph(axes: Axes, row: float, verdict: Verdict) -> None:
    """The verdict's glyph right of a row."""
    mark = VERDICTS[verdict]
    axes.text(1.03, row, mark.glyph, transform=axes.get_yaxis_transform(), ha="left", va="center", color=INK, fontsize=SMALL)


_ARROW = 0.5  # inches that an arrow with its number takes


def with_room(axes: Axes, low: float, high: float, values: Sequence[float]) -> tuple[float, float]:
    """These limits, wide enough that the arrow of a value beyond them stands at its edge, clear of the line of no difference."""
    share = _ARROW * axes.figure.get_dpi() / axes.bbox.width
    if share < 0.45:
        if any(value < low for value in values):
            low = min(low, -share * high / (1 - share))
        if any(value > high for value in values):
            high = max(high, -share * low / (1 - share))
    return low, high


def off_axis(axes: Axes, row: float, value: float) -> bool:
    """Mark a value beyond the axis by an arrow and its number at that edge, in its row; whether it was beyond."""
    low, high = axes.get_xlim()
    if low <= value <= high:
        return False
    at_edge(axes, row, points_text(value), below=value < low)
    return True


def points_text(*values: float) -> str:
    """Values beyond an axis, each once.

    >>> points_text(-36.81), points_text(6.2, 6.6)
    ('−36.8', '+6.2/+6.6')
    """
    return "/".join(dict.fromkeys(f"{value:+.1f}" for value in values)).replace("-", "−")


def at_edge(axes: Axes, row: float, text: str, *, below: bool) -> None:
    """Write what lies beyond an edge at that edge, in its row, with an arrow."""
    axes.text(
        0.0 if below else 1.0, row, f"◂ {text}" if below else f"{text} ▸", transform=axes.get_yaxis_transform(),
        ha="left" if below else "right", va="center", color=INK, fontsize=SMALL,
    )  # fmt: skip


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
    unit: str = "points",
) -> tuple[Drawing, list[Axes], float]:
    """Empty panels for these S with the key of the scorers (name → κ) below, and where that ends, in inches from the top.

    `foot` is the inches left below the key and `more` the lines it has room for; `fills` tells whether a scorer has a filling of
    its own, so that colour is left for its class, `unit` that of the differences upwards.
    """
    rows, across = grid(len(values))
    width = SINGLE if len(values) == 1 else DOUBLE
    names = labels(list(scorers))
    texts = {name: names[name] + ("" if kappa is None else f" (κ {kappa})") for name, kappa in scorers.items()}
    per_line = int((width - 0.2) / (room([*texts.values()], 1.12, LONGEST + 6) + 0.24))
    lines = -(-len(scorers) // per_line)
    key = LINE * (lines + more) + foot
    sheet = drawing(width, rows * (HEAD + body + _FOOT) + key)
    top = sheet.height - key + 0.08
    panels = sheet.panels(len(values), across, body, left=0.52, foot=_FOOT)
    for i, (axes, S) in enumerate(zip(panels, values, strict=True)):
        axes.set_title(f"S = {S:g}")
        axes.set_xlabel(xlabel)
        if i % across == 0:
            axes.set_ylabel(f"difference ({unit})")
    for i, (name, kappa) in enumerate(scorers.items()):
        row, column = divmod(i, per_line)
        x, y, style = 0.15 + column * (width - 0.2) / per_line, top + LINE * row, member(i, kappa) if fills else series(i)
        sheet.marker(x, y, style.colour, style.marker, style.fill if fills else "full")
        sheet.text(x + 0.09, y, texts[name], va="center", fontsize=SMALL)
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
