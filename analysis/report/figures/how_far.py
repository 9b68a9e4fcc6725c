"""How far each scorer can prune before it may be worse than the dense network by δ."""

from __future__ import annotations

from matplotlib.axes import Axes

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.figures.drawing.labels import labels
from sics_analysis.report.figures.drawing.style import (
    DOUBLE,
    FAINT,
    HEAD,
    INK,
    SMALL,
    VERMILLION,
    Sketch,
    Tip,
    drawing,
    refusal,
    series,
)
from sics_analysis.report.words.phrases import far_sentence
from sics_analysis.results import HowFar, signed

_ACROSS, _TALL, _GAP, _LEFT = 4, 1.0, 0.14, 0.45


def how_far(document: ReportDocument) -> Sketch:
    """A panel a scorer: the difference to the dense network with its one-sided bound against S, the reached S marked."""
    claims = [found for found in document.how_far if any(step.mean is not None for step in found.steps)]
    if not claims:
        return refusal("It is asked with --reference dense, of rows that hold the dense network (S = 0).")
    delta = document.settings.delta
    rows = -(-len(claims) // _ACROSS)
    pitch = HEAD + _TALL + 0.3
    sheet = drawing(DOUBLE, rows * pitch + 0.2)
    width = (DOUBLE - _LEFT - 0.05 - (_ACROSS - 1) * _GAP) / _ACROSS
    values = [step.sparsity for found in claims for step in found.steps]
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05
    up = -1 if document.metric.lower_is_better else 1  # towards better
    names = labels([found.scorer for found in claims], 18)
    for i, found in enumerate(claims):
        row, column = divmod(i, _ACROSS)
        axes = sheet.axes(_LEFT + column * (width + _GAP), row * pitch + HEAD, width, _TALL)
        axes.set_title(names[found.scorer], fontsize=SMALL + 0.5)
        axes.set_xlim(low - pad, high + pad)
        axes.set_ylim(*sorted((-4 * up * delta, 2 * up * delta)))
        axes.axhline(0, color=FAINT, linewidth=0.5)
        axes.axhline(-up * delta, color=VERMILLION, linewidth=0.8, linestyle=(0, (4, 2)))
        if column:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel(document.metric.unit.removeprefix("accuracy "))
        if i + _ACROSS < len(claims):
            axes.set_xticklabels([])
        else:
            axes.set_xlabel("sparsity S")
        _sequence(sheet.tips, axes, found, delta, up)
    caption = (
        f"{far_sentence(document)} Dots: mean difference to the dense network; bars: one-sided bound at the level of the "
        f"scorer's tests; dashed: {'+' if up < 0 else '−'}{delta:g}. Filled dots are claimed, and the vertical line marks the "
        "last. What is worse than the panel shows is drawn at its edge as an arrow."
    )
    said = " ".join(found.describe() for found in claims)
    return Sketch(caption, f"A panel a scorer: difference to the dense network against sparsity. {said}", sheet)


def _sequence(tips: list[Tip], axes: Axes, found: HowFar, delta: float, up: int) -> None:
    """Draw one scorer's sequence."""
    style, floor = series(0), -4 * delta

    def inside(value: float) -> float:
        return up * max(up * value, floor)

    for step in found.steps:
        if step.mean is None:
            continue
        mean, bound = inside(step.mean), inside(step.mean if step.bound is None else step.bound)
        axes.plot([step.sparsity] * 2, [bound, mean], color=style.colour, linewidth=1.6, alpha=0.6)
        beyond = up * step.mean < floor
        arrow = "v" if up > 0 else "^"
        axes.plot(
            [step.sparsity], [mean], marker=arrow if beyond else "o", markersize=4, color=style.colour,
            fillstyle="full" if step.passed else "none", clip_on=False, linestyle="none",
        )  # fmt: skip
        limit = "no bound" if step.bound is None else f"bound {signed(step.bound)}"
        text = (
            f"{found.scorer}, S = {step.sparsity:g}: {signed(step.mean)}, {limit}, {'claimed' if step.passed else 'not claimed'}"
        )
        tips.append(Tip(axes, (step.sparsity, mean, step.sparsity, mean), text))
    if found.reached is not None:
        axes.axvline(found.reached, color=INK, linewidth=0.7, linestyle=":")
