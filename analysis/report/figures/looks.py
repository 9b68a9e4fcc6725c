"""The estimate of every line with its repeated interval, look by look."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from sics_analysis.looks.outcome import LineLook, LineLooks
from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.looks import LooksInfo
from sics_analysis.report.figures.drawing.labels import labels, room
from sics_analysis.report.figures.drawing.panels import arrow, key_height, shade_heights, sparsities, verdict_key, window
from sics_analysis.report.figures.drawing.style import (
    DOUBLE,
    FAINT,
    HEAD,
    INK,
    SINGLE,
    SMALL,
    VERDICTS,
    Drawing,
    Sketch,
    Tip,
    drawing,
    grid,
    refusal,
)
from sics_analysis.report.words.phrases import interval
from sics_analysis.results import Verdict, plural, signed

_NAMES, _TICKS, _GAP, _FOOT = 1.0, 0.36, 0.13, 0.34  # inches
_BODY, _FLAT, _FEW = 0.56, 0.34, 8  # a panel's height, and where there are more than a few scorers
_THICK, _THIN = 2.6, 0.9  # points, as in a forest


def looks(document: ReportDocument) -> Sketch:
    """A panel a scorer and S: the mean at each look, its repeated intervals, ±δ shaded, the look that decided."""
    info = document.looks
    if info is None:
        return refusal("A fixed number of seeds: there are no looks.")
    if not info.made:
        return refusal("Nothing is tested before the first look.")
    scorers = [scorer.name for scorer in document.compared if scorer.in_family] or [s.name for s in document.compared]
    lines = {(line.scorer, line.sparsity): line for line in info.lines if line.scorer in scorers}
    if not any(look.ci95 is not None for line in lines.values() for look in line.looks):
        return refusal("No look brought a line an interval.")
    values = sparsities(document)
    rows, across = grid(len(values))
    width = SINGLE if across == 1 else DOUBLE
    given = {look.verdict for line in lines.values() for look in line.looks if look.mean is not None}
    words = [verdict for verdict in Verdict if verdict in given]
    key = key_height(words, width)
    body = _BODY if len(scorers) <= _FEW else _FLAT
    block = HEAD + len(scorers) * (body + _GAP) + _FOOT
    sheet = drawing(width, rows * block + key)
    names, beside = labels(scorers), room(scorers, _NAMES)
    column = (width - beside - 0.04) / across
    for i, S in enumerate(values):
        row, place = divmod(i, across)
        own = [lines[name, S] for name in scorers if (name, S) in lines]
        extents = [_extent(line) for line in own]
        low, high = window([extent for extent in extents if extent], document.settings.delta)
        left, top = beside + place * column + _TICKS, row * block + HEAD
        for j, name in enumerate(scorers):
            y = top + j * (body + _GAP)
            axes = sheet.axes(left, y, column - _TICKS - 0.07, body)
            axes.set_ylim(low, high)
            if j == 0:
                axes.set_title(f"S = {S:g}")
            if place == 0:
                sheet.text(0.04, y + body / 2, names[name], va="center", fontsize=SMALL)
            _panel(document, sheet, axes, info, lines.get((name, S)), last=j == len(scorers) - 1)
    for row in range(rows):
        y = (row + 1) * block - 0.16
        sheet.text(beside + (width - beside) / 2, y, "seeds at the look", ha="center", va="center")
    verdict_key(sheet, words, hollow=False)
    some = "" if len(scorers) == len(document.compared) else " Of the escape family; the table Looks has the others."
    reference, delta = document.settings.reference, document.settings.delta
    caption = (
        f"Difference to {reference} in accuracy points at each look, of all seeds so far. Thick: the 90 % interval, thin: the "
        f"95 % interval, both repeated: those of all looks hold together. Shaded: ±{delta:g}; each S has its own axis. The "
        f"marker is the verdict after the look, ringed where it was given and kept.{some}"
    )
    return Sketch(caption, f"Estimates by look. {' '.join(_said(line) for line in lines.values())}", sheet)


def _extent(line: LineLooks) -> list[float]:
    """All that a line shows on its axis."""
    found = [look.mean for look in line.looks if look.mean is not None]
    for look in line.looks:
        for limits in (look.ci90, look.ci95):
            found += [] if limits is None else [limits.low, limits.high]
    return found


def _panel(document: ReportDocument, sheet: Drawing, axes: Axes, info: LooksInfo, line: LineLooks | None, *, last: bool) -> None:
    low, high = axes.get_ylim()
    plan = info.plan.looks
    shade_heights(axes, [], document.settings.delta)
    axes.set_xlim(-0.5, len(plan) - 0.5)
    axes.set_xticks(range(len(plan)), [str(n) for n in plan] if last else [""] * len(plan))
    axes.yaxis.set_major_locator(MaxNLocator(2 if axes.get_position().height * sheet.height < _BODY - 0.1 else 3))
    axes.tick_params(labelsize=6, pad=1.5)
    axes.set_ylim(low, high)
    shown = [] if line is None else [look for look in line.looks if look.mean is not None]
    if line is None or not shown:
        axes.text(0.5, 0.5, "no seeds", transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=6)
        return
    sheet.tips.append(Tip(axes, (-0.5, low, len(plan) - 0.5, high), _said(line)))
    mean = shown[-1].mean
    assert mean is not None
    if not low <= mean <= high:
        axes.text(0.5, 0.2, arrow(mean < 0, mean), transform=axes.transAxes, ha="center", va="center", fontsize=SMALL, color=INK)
    else:
        axes.plot([look.look - 1 for look in shown], [look.mean or 0.0 for look in shown], color=INK, linewidth=0.5, alpha=0.6)
        for wide, limits in ((_THIN, [look.ci95 for look in shown]), (_THICK, [look.ci90 for look in shown])):
            bars = [(look, found) for look, found in zip(shown, limits, strict=True) if found is not None]
            ends = [[(look.look - 1, found.low), (look.look - 1, found.high)] for look, found in bars]
            colours = [VERDICTS[look.verdict].colour for look, _ in bars]
            axes.add_collection(LineCollection(ends, colors=colours, linewidths=wide, capstyle="butt"), autolim=False)
        for look in shown:
            _mark(axes, look, given=look.look == line.decided)
    if line.hopeless:
        axes.text(0.99, 0.98, "hopeless", transform=axes.transAxes, ha="right", va="top", fontsize=6, color=INK)
    elif line.verdict is not Verdict.INCONCLUSIVE:
        text = f"{VERDICTS[line.verdict].glyph} look {line.decided}"
        axes.text(0.99, 0.98, text, transform=axes.transAxes, ha="right", va="top", fontsize=6, color=INK)


def _mark(axes: Axes, look: LineLook, *, given: bool) -> None:
    mark, x = VERDICTS[look.verdict], look.look - 1
    axes.plot(
        [x], [look.mean or 0.0], linestyle="none", marker=mark.marker, markersize=4.4 if given else 3.2, color=mark.colour,
        markeredgecolor=INK, markeredgewidth=0.9 if given else 0.3, zorder=4,
    )  # fmt: skip


def _said(line: LineLooks) -> str:
    """A line's looks in a sentence."""
    steps = "; ".join(
        f"look {look.look}, {plural(look.n, 'seed')}: {signed(look.mean)} {interval(look.ci95)}"
        for look in line.looks
        if look.mean is not None
    )
    given = "" if line.decided is None else f" at look {line.decided}"
    hopeless = ", hopeless" if line.hopeless else ""
    return f"{line.scorer}, S = {line.sparsity:g}: {line.verdict}{given}{hopeless} ({steps or 'no seeds'})."
