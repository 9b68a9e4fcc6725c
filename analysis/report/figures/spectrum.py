"""κ(S), against the paper's steps where they are about what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import KappaInfo
from sics_analysis.report.figures.drawing.style import (
    FAINT,
    GREEN,
    INK,
    SINGLE,
    SMALL,
    VERMILLION,
    Drawing,
    Sketch,
    Tip,
    drawing,
    refusal,
)

#: κ(S) as the paper states it: 0 below 0.65, 1 to 0.75, 2 above.
STEPS = ((0.65, 0.75), (0, 1, 2))
_STATED = "Grey steps: arXiv 2605.09345 (0 below S = 0.65, 1 to 0.75, 2 above). "


def staircase(document: ReportDocument) -> Sketch:
    """The values of κ(S) the data leave at each S, over the paper's steps where it speaks of the metric."""
    spectrum = document.spectrum
    if not spectrum.points:
        return refusal(f"κ(S) is not available: {spectrum.reason}.")
    if all(point.p_values is None for point in spectrum.points):
        return refusal(f"κ(S) is not available: {spectrum.points[0].reason}.")
    if all(point.kappa is None for point in spectrum.points):
        return refusal(f"κ(S) is undetermined at every S. {' '.join(_left(point) for point in spectrum.points)}".rstrip())
    sheet = drawing(SINGLE, 2.25)
    axes = sheet.axes(0.42, 0.1, SINGLE - 0.5, 1.3)
    values = [point.sparsity for point in spectrum.points]
    low, high = min([0.5, *values]) - 0.04, max([0.8, *values]) + 0.04
    stated = document.metric.is_image_accuracy
    if stated:
        _steps(axes, low, high)
    for point in spectrum.points:
        _point(sheet, axes, point)
    axes.set_xlim(low, high)
    axes.set_ylim(-0.45, 2.45)
    axes.set_yticks([0, 1, 2])
    axes.set_ylabel("κ(S)")
    axes.set_xlabel("sparsity S")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    if len(values) > 8:
        axes.tick_params(axis="x", rotation=90)
    _key(sheet, spectrum.points, stated)
    caption = (
        "Complexity needed to leave the plateau. Claimed is the one value that the data leave (Holm over S); dotted lines join "
        "those left where it is undetermined. "
        f"{_STATED if stated else ''}{spectrum.trend_sentence}"
    )
    return Sketch(caption.strip(), " ".join(point.sentence for point in spectrum.points), sheet)


def _left(point: KappaInfo) -> str:
    """What the data leave at one S."""
    if point.p_values is None:
        return f"At S = {point.sparsity:g} it is not available: {point.reason}."
    left = " or ".join(map(str, point.not_rejected)) or "no value"
    return f"At S = {point.sparsity:g} the data leave {left}."


def _steps(axes: Axes, low: float, high: float) -> None:
    (first, second), levels = STEPS
    edges = [low, first, second, max(high, second + 0.01)]
    for level, start, end in zip(levels, edges[:-1], edges[1:], strict=True):
        axes.plot([start, end], [level, level], color=FAINT, linewidth=5, alpha=0.35, solid_capstyle="butt", zorder=0)
    for x, level in ((first, 0), (second, 1)):
        axes.plot([x, x], [level, level + 1], color=FAINT, linewidth=1, linestyle=":", zorder=0)


def _point(sheet: Drawing, axes: Axes, point: KappaInfo) -> None:
    if point.p_values is None:
        axes.text(point.sparsity, 1, "not\navailable", ha="center", va="center", fontsize=SMALL, color=FAINT)
    for kappa in (0, 1, 2) if point.p_values is not None else ():
        if kappa not in point.not_rejected:
            axes.plot(
                [point.sparsity], [kappa], linestyle="none", marker="x", color=VERMILLION, markersize=4.5, markeredgewidth=1.4
            )
    if point.kappa is not None:
        axes.plot([point.sparsity], [point.kappa], linestyle="none", marker="o", color=GREEN, markersize=7)
    elif point.not_rejected and point.p_values is not None:
        low, high = min(point.not_rejected), max(point.not_rejected)
        axes.plot(
            [point.sparsity] * 2, [low - 0.12, high + 0.12], color=FAINT, linewidth=1.6, linestyle=(0, (1, 1.2)), zorder=0.5
        )
        text = " or ".join(map(str, point.not_rejected))
        axes.annotate(
            text, (point.sparsity, 0), xytext=(5, 3), textcoords="offset points", va="bottom", fontsize=SMALL, color=INK,
            rotation=90,
        )  # fmt: skip
    sheet.tips.append(Tip(axes, (point.sparsity - 0.02, -0.4, point.sparsity + 0.02, 2.4), point.sentence))


def _key(sheet: Drawing, points: Sequence[KappaInfo], stated: bool) -> None:
    """What the marks mean, of those that are drawn."""
    asked = [point for point in points if point.p_values is not None]
    there = (
        (any(point.kappa is not None for point in asked), "o", GREEN, "claimed"),
        (any(len(point.not_rejected) < 3 for point in asked), "x", VERMILLION, "rejected"),
        (any(point.kappa is None for point in asked), "|", FAINT, "undetermined"),
        (stated, "_", FAINT, "the paper's steps"),
    )
    for i, (_, marker, colour, text) in enumerate(row for row in there if row[0]):
        x, y = 0.2 + 1.7 * (i % 2), sheet.height - 0.28 + 0.18 * (i // 2)
        sheet.marker(x, y, colour, marker)
        sheet.text(x + 0.14, y, text, va="center", fontsize=SMALL, color=INK)
