"""What searched scorers gain over the reference with each budget of their search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator
from matplotlib.transforms import Bbox, TransformedBbox

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.searched import PointInfo
from sics_analysis.report.figures.drawing.labels import labels, room, short
from sics_analysis.report.figures.drawing.panels import arrow, shade_heights, window
from sics_analysis.report.figures.drawing.style import (
    BLUE,
    DOUBLE,
    FAINT,
    GREEN,
    HEAD,
    INK,
    ORANGE,
    PURPLE,
    SINGLE,
    SKY,
    SMALL,
    VERMILLION,
    Drawing,
    Sketch,
    Tip,
    drawing,
    refusal,
    series,
)
from sics_analysis.report.words.phrases import interval
from sics_analysis.results import plural, signed

_LEFT, _ROOM, _BODY, _FOOT = 0.54, 0.3, 1.75, 0.4  # inches; right of a panel is room for the names of its lines besides
_STEP = 0.118  # inches between two names
_BELOW = 0.17  # of the height of a panel, for the means of lines that leave it
_APART = 0.012  # of the axis, between the intervals of two lines at one budget
_MORE = "both_orbit"
_PAPER = ("orbit", "smooth_orbit", "rank_orbit", _MORE)
#: Eight looks that are told apart with every common colour blindness, and by their markers; others begin anew.
_COLOURS = {
    "orbit": BLUE, "smooth_orbit": VERMILLION, "rank_orbit": GREEN, _MORE: PURPLE,
    "magnitude": ORANGE, "information": SKY, "spline": INK, "shuffled": FAINT,
}  # fmt: skip
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")


def budgets(document: ReportDocument) -> Sketch:
    """A panel an S: gain against budget, a line for each set of features, ±δ shaded, the reference at 0."""
    info = document.searched
    points = [] if info is None else [point for point in info.points if point.kind == "fusion" and point.gain.mean is not None]
    if not points:
        return refusal("The rows have no seed of both a searched scorer and the reference.")
    values = list(dict.fromkeys(point.sparsity for point in points))
    sets = list(dict.fromkeys(point.features for point in points))
    across = 1 if len(values) == 1 else 2
    width = SINGLE if across == 1 else DOUBLE
    rows = -(-len(values) // across)
    body = max(_BODY, _STEP * (len(sets) + 2))
    sheet = drawing(width, rows * (HEAD + body + _FOOT))
    names = labels([f"fusion_{features}" for features in sets])
    beside = _ROOM + room([*names.values(), _zero(document)])
    panel = (width - across * (_LEFT + beside)) / across
    for i, S in enumerate(values):
        row, column = divmod(i, across)
        left = column * (panel + _LEFT + beside) + _LEFT
        axes = sheet.axes(left, row * (HEAD + body + _FOOT) + HEAD, panel, body)
        axes.set_title(f"S = {S:g}")
        axes.set_xlabel("evaluations of the search")
        if column == 0:
            axes.set_ylabel(f"gain ({document.metric.short})")
        own = {features: [p for p in points if p.sparsity == S and p.features == features] for features in sets}
        _panel(document, sheet, axes, own, body)
    adaptive = any(point.kind == "adaptive" for point in (() if info is None else info.points))
    caption = (
        f"Gain over {document.settings.reference} in accuracy points, by the evaluations of the search; bars: 95 % intervals of "
        f"each point by itself. Shaded: ±{document.settings.delta:g}; each S has its own axis. Solid: readings of the paper; "
        "dashed: controls with the same search. Means below the panel stand at its foot."
    )
    caption += f" Of the solid ones {_MORE} has more weights than any other." if _MORE in sets else ""
    caption += " Adaptive scorers are in the table." if adaptive else ""
    return Sketch(caption, f"Line chart of gain against budget. {' '.join(_said(points))}", sheet)


def _panel(document: ReportDocument, sheet: Drawing, axes: Axes, own: dict[str, list[PointInfo]], body: float) -> None:
    shown = [point for line in own.values() for point in line]
    low, high = window([_extent(point) for point in shown], document.settings.delta)
    shade_heights(axes, [], document.settings.delta)
    ticks = sorted({point.budget for point in shown})
    places = {budget: math.log10(budget) for budget in ticks}
    span = max(places.values()) - min(places.values()) or 1.0
    left, right = min(places.values()) - 0.08 * span, max(places.values()) + 0.08 * span
    left_out = [point for point in shown if not low <= (point.gain.mean or 0.0) <= high]
    floor = low - (_BELOW * (high - low) if any((point.gain.mean or 0.0) < low for point in left_out) else 0.0)
    axes.set_ylim(floor, high)
    axes.set_xlim(left, right)
    axes.set_xticks(list(places.values()), [str(budget) for budget in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if floor < low:
        axes.axhline(low, color=FAINT, linewidth=0.4, linestyle=(0, (1, 2)))
    inside = TransformedBbox(Bbox([[left, low], [right, high]]), axes.transData)  # lines end where the room of the numbers begins
    ends = [_End(0.0, short(_zero(document), 14), INK, "")]
    gone: dict[tuple[int, bool], list[float]] = {}
    for j, (features, line) in enumerate(own.items()):
        if not line:
            continue
        colour, marker = _COLOURS.get(features, series(j).colour), _MARKERS[j % len(_MARKERS)]
        shift = (j - (len(own) - 1) / 2) * _APART * (right - left)
        xs, ys = [places[p.budget] + shift for p in line], [p.gain.mean or 0.0 for p in line]
        (path,) = axes.plot(
            xs, ys, color=colour, linestyle="-" if features in _PAPER else (0, (3, 1.3)), marker=marker, markersize=3,
            linewidth=1.4 if features in _PAPER else 0.9,
        )  # fmt: skip
        path.set_clip_box(inside)
        for x, y, point in zip(xs, ys, line, strict=True):
            if point.gain.ci95 is not None and low <= y <= high:
                (bar,) = axes.plot([x, x], [point.gain.ci95.low, point.gain.ci95.high], color=colour, linewidth=0.7, alpha=0.8)
                bar.set_clip_box(inside)
            if not low <= y <= high:
                gone.setdefault((point.budget, y < low), []).append(y)
            sheet.tips.append(Tip(axes, (x, y, x, y), f"{point.scorer}: {signed(y)} {interval(point.gain.ci95)}"))
        ends.append(_End(min(max(ys[-1], low), high), labels([f"fusion_{features}"])[f"fusion_{features}"], colour, marker))
    for i, ((budget, below), means) in enumerate(sorted(gone.items())):
        up = 2 + 8.5 * (i % 2)  # points: the numbers of neighbours stand on two lines
        middle = places[budget] > left + 0.2 * span
        said = arrow(below, *([min(means), max(means)] if len(means) > 1 else means))
        axes.annotate(
            said, (places[budget], floor if below else high), xytext=(0, up if below else -up), textcoords="offset points",
            fontsize=SMALL, ha="center" if middle else "left", va="bottom" if below else "top", color=INK,
        )  # fmt: skip
    _name(axes, ends, (floor, high), body)


@dataclass(frozen=True, slots=True)
class _End:
    """Where a line ends, with its name and look; the line of no gain has no marker."""

    at: float
    name: str
    colour: str
    marker: str


def _zero(document: ReportDocument) -> str:
    """What the line of no gain is."""
    reference = document.settings.reference
    return "plateau = 0" if any(s.name == reference and s.kappa == 0 for s in document.scorers) else f"{reference} = 0"


def _name(axes: Axes, ends: Sequence[_End], limits: tuple[float, float], body: float) -> None:
    """Write each line's name with its marker right of its end, pushed apart where two would meet."""
    low, high = limits
    step = _STEP / body * (high - low)
    order = sorted(ends, key=lambda end: (end.at, end.name))
    heights = [end.at for end in order]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + step)
    over = max(0.0, heights[-1] - high) if heights else 0.0
    if over:  # down again from the top, as far as it takes
        heights[-1] -= over
        for i in range(len(heights) - 2, -1, -1):
            heights[i] = min(heights[i], heights[i + 1] - step)
    across = axes.get_yaxis_transform()
    for end, height in zip(order, heights, strict=True):
        axes.plot(
            [1.0, 1.1], [end.at, height], transform=across, color=end.colour, linewidth=0.5, clip_on=False, zorder=1,
        )  # fmt: skip
        if end.marker:
            axes.plot([1.13], [height], transform=across, color=end.colour, marker=end.marker, markersize=3.6, clip_on=False)
        axes.text(1.17, height, end.name, transform=across, fontsize=SMALL, color=INK, va="center")


def _extent(point: PointInfo) -> list[float]:
    found = [] if point.gain.mean is None else [point.gain.mean]
    return found if point.gain.ci95 is None else [*found, point.gain.ci95.low, point.gain.ci95.high]


def _said(points: Sequence[PointInfo]) -> list[str]:
    """The largest budget of each line, in sentences."""
    return [
        f"{p.features}, S = {p.sparsity:g}, {plural(p.budget, 'evaluation')}: {signed(p.gain.mean or 0.0)} "
        f"{interval(p.gain.ci95)}."
        for p in points
        if p.largest
    ]
