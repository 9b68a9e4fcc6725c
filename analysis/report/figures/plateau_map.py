"""The plateau map drawn: overlap with magnitude's mask across, accuracy against the first run's magnitude upwards."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from sics_analysis.report.figures.drawing.files import save_canvas
from sics_analysis.report.figures.drawing.labels import short
from sics_analysis.report.figures.drawing.panels import LINE, beyond, scatter_panels, shade_heights
from sics_analysis.report.figures.drawing.style import FILLS, INK, SMALL, Sketch, figure_style, refusal, series
from sics_analysis.report.words.phrases import number
from sics_analysis.study.plateau_map import MapPoint, PlateauMap


def plateau_map(found: PlateauMap) -> Sketch:
    """A panel for each S; a scorer is a colour and marker, a run a filling; a line joins a scorer's places in two runs."""
    metric = found.metric
    shown = [point for point in found.points if point.overlap is not None and _height(found, point) is not None]
    if not shown:
        return refusal(f"No scorer has both an overlap with magnitude's mask and a difference in {metric.name}.")
    scorers = {point.scorer: point.kappa for point in found.points}
    runs = found.runs if len(found.runs) > 1 else ()
    xlabel = "mask overlap (Jaccard)"
    sheet, panels, top = scatter_panels(
        found.sparsities, scorers, xlabel, 1.5, 0.1, more=len(runs), fills=False, unit=metric.short
    )
    for S, axes in zip(found.sparsities, panels, strict=True):
        _panel(found, axes, S, list(scorers))
    for i, run in enumerate(runs):
        sheet.marker(0.15, top + LINE * i, INK, "o", FILLS[i % len(FILLS)])
        sheet.text(0.24, top + LINE * i, short(run, int(sheet.width * 16)), va="center", fontsize=SMALL)
    first = found.runs[0]
    caption = (
        "Plateau map: overlap of each scorer's mask with magnitude's in the same run (Jaccard, mean over seeds) beside its "
        f"{metric.name} against magnitude in {first} ({metric.short}, mean over seeds; within its own run where the networks "
        f"differ). Shaded: ±{found.delta:g} {metric.short}. "
    )
    if len(found.runs) > 1:
        caption += (
            "Dotted lines: magnitude itself in each further run, so that the height of a point above its dotted line is the "
            "feature's, and the height of the line the pool's."
        )
    said = "; ".join(
        f"{p.scorer} in {p.run} at S = {p.sparsity:g}: overlap {p.overlap:.2f}, {number(_height(found, p))} {metric.short}"
        for p in shown
    )
    return Sketch(caption, f"Scatter plot. {said}.", sheet)


def save_plateau_map(found: PlateauMap, stem: Path) -> list[Path]:
    """Write the map as `stem`.pdf and `stem`.png; nothing where there is nothing to draw."""
    with figure_style():
        sketch = plateau_map(found)
        if sketch.drawing is None:
            return []
        return save_canvas(sketch.drawing.canvas, stem, "The plateau map")


def _height(found: PlateauMap, point: MapPoint) -> float | None:
    return found.read(point.feature if point.total is None else point.total)


def _panel(found: PlateauMap, axes: Axes, S: float, names: list[str]) -> None:
    here = [point for point in found.at(S) if point.overlap is not None and _height(found, point) is not None]
    moves = [mean for move in found.moves if move.sparsity == S and (mean := found.read(move.mean)) is not None]
    heights = [_height(found, point) or 0.0 for point in here] + moves
    low, high = shade_heights(axes, heights, found.delta)
    for mean in moves:
        if low <= mean <= high:
            axes.axhline(mean, color=INK, linewidth=0.7, linestyle=(0, (1, 1.5)), zorder=0.6)
    axes.set_ylim(low, high)
    overlaps = [point.overlap or 0.0 for point in here] or [1.0]
    pad = 0.1 * (max(overlaps) - min(overlaps)) or 0.1
    axes.set_xlim(min(overlaps) - pad, max(overlaps) + pad)
    for i, name in enumerate(names):
        style = series(i)
        path = [(p.overlap or 0.0, min(max(_height(found, p) or 0.0, low), high)) for p in here if p.scorer == name]
        if len(path) > 1:
            axes.plot(*zip(*path, strict=True), color=style.colour, linewidth=0.5, alpha=0.6, zorder=1)
        off: list[tuple[float, float, float]] = []
        for point in (p for p in here if p.scorer == name):
            height = _height(found, point) or 0.0
            y = min(max(height, low), high)
            axes.plot(
                [point.overlap or 0.0], [y], linestyle="none", marker=style.marker, color=style.colour,
                fillstyle=FILLS[found.runs.index(point.run) % len(FILLS)], markersize=4.5, markeredgewidth=0.9, clip_on=False,
            )  # fmt: skip
            if y != height:
                off.append((point.overlap or 0.0, y, height))
        if off:  # one text for all places of a scorer beyond the panel
            beyond(axes, *off[0][:2], *(height for _, _, height in off))
