"""The plateau map drawn: overlap with magnitude's mask across, accuracy against the first run's magnitude upwards."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sics_analysis.report.figures.drawing.files import save_canvas
from sics_analysis.report.figures.drawing.labels import labels, points, short
from sics_analysis.report.figures.drawing.panels import window
from sics_analysis.report.figures.drawing.style import (
    DOUBLE,
    FAINT,
    INK,
    SINGLE,
    SMALL,
    Drawing,
    Fill,
    Sketch,
    drawing,
    figure_style,
    grid,
    refusal,
    series,
)
from sics_analysis.study.plateau_map import MapPoint, PlateauMap

_FILLS: tuple[Fill, ...] = ("full", "none", "left", "bottom")


def plateau_map(found: PlateauMap) -> Sketch:
    """A panel for each S; a scorer is a colour and marker, a run a filling; a line joins a scorer's places in two runs."""
    shown = [point for point in found.points if point.overlap is not None and _height(point) is not None]
    if not shown:
        return refusal("No scorer has both an overlap with magnitude's mask and a difference in accuracy.")
    names = list(dict.fromkeys(point.scorer for point in found.points))
    values = found.sparsities
    rows, across = grid(len(values))
    width = SINGLE if len(values) == 1 else DOUBLE
    left, gap, body, foot = 0.52, 0.42, 1.5, 0.42
    panel = (width - left - (across - 1) * gap - 0.06) / across
    per_line = max(1, int((width - 0.2) / 1.36))
    lines = -(-len(names) // per_line) + (len(found.runs) if len(found.runs) > 1 else 0)
    key = 0.15 * lines + 0.1
    sheet = drawing(width, rows * (0.24 + body + foot) + key)
    for i, S in enumerate(values):
        row, column = divmod(i, across)
        axes = sheet.axes(left + column * (panel + gap), row * (0.24 + body + foot) + 0.24, panel, body)
        axes.set_title(f"S = {S:g}")
        axes.set_xlabel("mask overlap (Jaccard)")
        if column == 0:
            axes.set_ylabel("difference (points)")
        _panel(found, axes, S, names)
    _key(found, sheet, names, key, per_line, width)
    first = found.runs[0]
    caption = (
        "Plateau map: overlap of each scorer's mask with magnitude's in the same run (Jaccard, mean over seeds) beside its "
        f"accuracy against magnitude in {first} (points, mean over seeds; within its own run where the networks differ). Shaded: "
        f"±{found.delta:g} points. "
    )
    if len(found.runs) > 1:
        caption += (
            "Dotted lines: magnitude itself in each further run, so that the height of a point above its dotted line is the "
            "feature's, and the height of the line the pool's."
        )
    said = "; ".join(
        f"{p.scorer} in {p.run} at S = {p.sparsity:g}: overlap {p.overlap:.2f}, {points(_height(p))} points" for p in shown
    )
    return Sketch(caption, f"Scatter plot. {said}.", sheet)


def save_plateau_map(found: PlateauMap, stem: Path) -> list[Path]:
    """Write the map as `stem`.pdf and `stem`.png; nothing where there is nothing to draw."""
    with figure_style():
        sketch = plateau_map(found)
        if sketch.drawing is None:
            return []
        return save_canvas(sketch.drawing.canvas, stem, "The plateau map")


def _height(point: MapPoint) -> float | None:
    return point.feature if point.total is None else point.total


def _panel(found: PlateauMap, axes: Axes, S: float, names: list[str]) -> None:
    here = [point for point in found.at(S) if point.overlap is not None and _height(point) is not None]
    moves = [move for move in found.moves if move.sparsity == S and move.mean is not None]
    heights = [_height(point) or 0.0 for point in here] + [move.mean or 0.0 for move in moves]
    low, high = window([[height] for height in heights], found.delta)
    axes.axhspan(-found.delta, found.delta, color=FAINT, alpha=0.18, linewidth=0, zorder=0)
    axes.axhline(0, color=INK, linewidth=0.5, zorder=0.5)
    for move in moves:
        if move.mean is not None and low <= move.mean <= high:
            axes.axhline(move.mean, color=INK, linewidth=0.7, linestyle=(0, (1, 1.5)), zorder=0.6)
    axes.set_ylim(low, high)
    overlaps = [point.overlap or 0.0 for point in here] or [1.0]
    pad = 0.1 * (max(overlaps) - min(overlaps)) or 0.1
    axes.set_xlim(min(overlaps) - pad, max(overlaps) + pad)
    for number, name in enumerate(names):
        style = series(number)
        path = [(p.overlap or 0.0, min(max(_height(p) or 0.0, low), high)) for p in here if p.scorer == name]
        if len(path) > 1:
            axes.plot(*zip(*path, strict=True), color=style.colour, linewidth=0.5, alpha=0.6, zorder=1)
        off: list[tuple[float, float, float]] = []
        for point in (p for p in here if p.scorer == name):
            height = _height(point) or 0.0
            y = min(max(height, low), high)
            axes.plot(
                [point.overlap or 0.0], [y], linestyle="none", marker=style.marker, color=style.colour,
                fillstyle=_FILLS[found.runs.index(point.run) % len(_FILLS)], markersize=4.5, markeredgewidth=0.9, clip_on=False,
            )  # fmt: skip
            if y != height:
                off.append((point.overlap or 0.0, y, height))
        _arrow(axes, off)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _arrow(axes: Axes, off: list[tuple[float, float, float]]) -> None:
    """One text for all places of a scorer beyond the panel: overlap, where it is shown, and its height."""
    if not off:
        return
    x, y, height = off[0]
    values = "/".join(dict.fromkeys(f"{value:+.0f}".replace("-", "−") for _, _, value in off))
    low, high = axes.get_xlim()
    right = x < (low + high) / 2
    axes.annotate(
        f"{'▾' if height < y else '▴'} {values}", (x, y), xytext=(4 if right else -4, 5 if height < y else -5),
        textcoords="offset points", fontsize=6, va="center", ha="left" if right else "right",
    )  # fmt: skip


def _key(found: PlateauMap, sheet: Drawing, names: list[str], height: float, per_line: int, width: float) -> None:
    shown = labels(names, 18)
    kappa = {point.scorer: point.kappa for point in found.points}
    top = sheet.height - height + 0.08
    for i, name in enumerate(names):
        row, column = divmod(i, per_line)
        x, y, style = 0.15 + column * (width - 0.2) / per_line, top + 0.15 * row, series(i)
        sheet.marker(x, y, style.colour, style.marker)
        text = shown[name] + ("" if kappa[name] is None else f" (κ {kappa[name]})")
        sheet.text(x + 0.09, y, short(text, 24), va="center", fontsize=SMALL)
    if len(found.runs) < 2:
        return
    top += 0.15 * -(-len(names) // per_line)
    for i, run in enumerate(found.runs):
        sheet.marker(0.15, top + 0.15 * i, INK, "o", _FILLS[i % len(_FILLS)])
        sheet.text(0.24, top + 0.15 * i, short(run, int(width * 16)), va="center", fontsize=SMALL)
