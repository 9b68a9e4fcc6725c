"""What hangs on choices and on the masks: verdicts against δ, mask overlap beside accuracy."""

from __future__ import annotations

import statistics

from matplotlib.axes import Axes

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.figures.drawing.panels import beyond, row_panels, scatter_panels, shade_heights, sparsities
from sics_analysis.report.figures.drawing.style import (
    FAINT,
    VERDICTS,
    Drawing,
    Sketch,
    Tip,
    member,
    refusal,
)
from sics_analysis.report.figures.forest import no_intervals
from sics_analysis.report.words.phrases import decimals, gathered
from sics_analysis.results import Verdict, signed


def deltas(document: ReportDocument) -> Sketch:
    """The verdict of every line at every margin of the document's grid."""
    why = no_intervals(document)
    if why is not None:
        return refusal(why)
    margins = sorted({found.delta for found in document.deltas})
    if len(margins) < 2:
        return refusal("The document has the verdicts at one margin only.")
    verdicts = {found.verdict for found in document.deltas}
    sheet, panels = row_panels(document, document.compared, "margin δ (accuracy points)", verdicts, foot=0.52, hollow=True)
    place = {scorer.name: i for i, scorer in enumerate(document.compared)}
    column = {delta: i for i, delta in enumerate(margins)}
    own = column.get(document.settings.delta)
    for panel in panels:
        axes = panel.axes
        axes.set_xlim(-0.6, len(margins) - 0.4)
        axes.set_xticks(range(len(margins)), [f"{delta:g}" for delta in margins], rotation=90)
        axes.tick_params(axis="x", length=0, pad=2, labelsize=6)
        axes.spines["bottom"].set_visible(False)
        if own is not None:
            axes.axvspan(own - 0.5, own + 0.5, color=FAINT, alpha=0.22, linewidth=0, zorder=0)
        found = [item for item in document.deltas if item.sparsity == panel.sparsity and item.scorer in place]
        for verdict in Verdict:
            where = [(column[item.delta], place[item.scorer]) for item in found if item.verdict is verdict]
            if where:
                mark = VERDICTS[verdict]
                axes.plot(
                    *zip(*where, strict=True), linestyle="none", marker=mark.marker, color=mark.colour, markersize=3.6,
                    fillstyle="none" if verdict is Verdict.INCONCLUSIVE else "full", markeredgewidth=0.7,
                )  # fmt: skip
        for line in document.lines_at(panel.sparsity):
            smallest = "" if line.smallest_delta is None else f" Equivalent from δ = {decimals(line.smallest_delta)} on."
            row = place[line.scorer]
            text = f"{line.scorer}, S = {line.sparsity:g}: {line.verdict} at δ = {document.settings.delta:g}.{smallest}"
            sheet.tips.append(Tip(axes, (-0.6, row - 0.5, len(margins) - 0.4, row + 0.5), text))
    caption = (
        f"Verdict of every line had δ been another; shaded, the δ = {document.settings.delta:g} of this report. A verdict that "
        "changes beside the shaded column hangs on the margin. Choosing δ by this figure is choosing after the data."
    )
    if document.looks is not None:
        caption += " Each verdict is one over all looks so far."
    return Sketch(caption, f"Grid of verdicts by margin. {_smallest(document)}", sheet)


def _smallest(document: ReportDocument) -> str:
    known = [line for line in document.lines if line.smallest_delta is not None]
    return " ".join(
        f"{line.scorer} at S = {line.sparsity:g} is equivalent from δ = {decimals(line.smallest_delta)} on."
        for line in sorted(known, key=lambda line: (line.sparsity, line.smallest_delta))
    )


def overlap(document: ReportDocument) -> Sketch:
    """Jaccard overlap with the reference mask across, difference in accuracy upwards; a panel per S."""
    kept = gathered(
        ((cell.scorer, cell.sparsity), cell.jaccard)
        for cell in document.cells
        if cell.jaccard is not None and cell.scorer != document.settings.reference
    )
    if not kept:
        return refusal("The rows carry no overlap of masks (a column jaccard, which a run's own store gives).")
    shown = {(line.scorer, line.sparsity) for line in document.lines if line.mean is not None}
    if not shown & set(kept):
        return refusal("No scorer has both an overlap with the reference's mask and a difference in accuracy.")
    if all(value == 1.0 for found in kept.values() for value in found):
        return refusal("Every mask is the reference's: the overlap is 1 everywhere, and there is nothing to set beside it.")
    values = sparsities(document)
    scorers = {scorer.name: scorer.kappa for scorer in document.compared}
    sheet, panels, _ = scatter_panels(values, scorers, "Jaccard", 1.35, 0.08)
    for S, axes in zip(values, panels, strict=True):
        _scatter(document, sheet, axes, S, kept)
    caption = (
        f"How far a mask lies from {document.settings.reference}'s (Jaccard overlap of the kept units, mean over seeds) and what "
        f"that changes in accuracy (mean over seeds, points). Shaded: ±{document.settings.delta:g}. Another mask is not yet "
        "another accuracy: points far left inside the band are the plateau. Colour tells the class. A point beyond the "
        "panel is an arrow with its value."
    )
    said = "; ".join(
        f"{line.scorer} at S = {line.sparsity:g}: overlap {statistics.fmean(kept[line.scorer, line.sparsity]):.2f}, "
        f"{'undefined' if line.mean is None else signed(line.mean)} points"
        for line in document.lines
        if (line.scorer, line.sparsity) in kept
    )
    return Sketch(caption, f"Scatter plot. {said}.", sheet)


def _scatter(document: ReportDocument, sheet: Drawing, axes: Axes, S: float, kept: dict[tuple[str, float], list[float]]) -> None:
    lines = [line for line in document.lines_at(S) if line.mean is not None and (line.scorer, S) in kept]
    number = {scorer.name: i for i, scorer in enumerate(document.compared)}
    low, high = shade_heights(axes, [line.mean for line in lines if line.mean is not None], document.settings.delta)
    if any(line.mean is not None and line.mean < low for line in lines):
        low -= 0.14 * (high - low)  # room for the arrows
    axes.set_ylim(low, high)
    means = {line.scorer: statistics.fmean(kept[line.scorer, S]) for line in lines}
    span = max(means.values(), default=1.0) - min(means.values(), default=0.0) or 0.1
    axes.set_xlim(min(means.values(), default=0.0) - 0.1 * span, max(means.values(), default=1.0) + 0.1 * span)
    for line in lines:
        x, style = means[line.scorer], member(number[line.scorer], line.kappa)
        assert line.mean is not None
        y = min(max(line.mean, low), high)
        axes.plot(
            [x], [y], linestyle="none", marker=style.marker, color=style.colour, fillstyle=style.fill, markersize=4.5,
            markeredgewidth=0.9, clip_on=False,
        )  # fmt: skip
        if y != line.mean:
            beyond(axes, x, y, line.mean)
        text = f"{line.scorer}, S = {S:g}: overlap {x:.3f}, {signed(line.mean)} points; {line.verdict}"
        sheet.tips.append(Tip(axes, (x, y, x, y), text))
