"""The forests: every line against ±δ, the escape family with its simultaneous intervals, and what complexity adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.lines import AttributionInfo, LineInfo
from sics_analysis.report.document.rows import ScorerInfo
from sics_analysis.report.figures.drawing.labels import columns, labels, short
from sics_analysis.report.figures.drawing.panels import Panel, glyph, off_axis, row_panels, shade_margin, window, with_room
from sics_analysis.report.figures.drawing.style import (
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
    refusal,
)
from sics_analysis.report.words.conclusion import deciding
from sics_analysis.report.words.phrases import BOLD
from sics_analysis.report.words.phrases import interval as limits
from sics_analysis.report.words.reasons import over_run
from sics_analysis.report.words.said import FLAG
from sics_analysis.results import Interval, Verdict, plural, signed

_THICK, _THIN = 2.6, 0.9  # points
_DOTS = 12  # seeds that can still be told apart as dots


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a panel; accuracy points."""

    line: LineInfo | AttributionInfo
    mean: float
    thin: Interval | None
    kind: str = ""
    thick: Interval | None = None
    seeds: tuple[float, ...] = ()

    @property
    def extent(self) -> list[float]:
        """All that it shows on the axis."""
        found = [self.mean, *self.seeds]
        for interval in (self.thick, self.thin):
            found += [] if interval is None else [interval.low, interval.high]
        return found

    @property
    def tip(self) -> str:
        """Its numbers, to be shown while a pointer rests on it."""
        shown = [interval for interval in (self.thick, self.thin) if interval is not None]
        said = "".join(f"; {100 * interval.level:g} % {self.kind}{limits(interval)}" for interval in shown)
        line = self.line
        why = f" ({line.reason})" if line.reason else ""
        head = f"{line.scorer}, S = {line.sparsity:g}: {signed(self.mean)} points over {plural(line.n, 'seed')}"
        return f"{head}{said}; {line.verdict}{why}"


def equivalence(document: ReportDocument) -> Sketch:
    """Every scorer against the reference: a dot a seed, the deciding interval thick, 95 % thin, ±δ shaded."""
    why = no_intervals(document)
    if why is not None:
        return refusal(why)
    delta, reference = document.settings.delta, document.settings.reference
    rows = [
        _Row(line, line.mean, line.ci95, thick=line.ci_equivalence, seeds=line.differences)
        for line in document.lines
        if line.mean is not None
    ]
    sheet = _forest(document, document.compared, rows, reference, dots=True)
    level = f"{100 * (1 - 2 * document.settings.alpha):g} %"
    looked = "wide enough to hold at all looks together, " if document.looks is not None else ""
    kept = ", kept from the look that gave it" if document.looks is not None else ""
    caption = (
        f"Difference to {reference} in accuracy points, by sparsity S, each with its own axis. A dot or stroke: a seed; thick: "
        f"the {level} interval, which inside the shaded ±{delta:g} means equivalent; thin: the 95 % interval ({looked}"
        f"{_made(rows)}). The glyph at the right is the verdict{kept}. An arrow: beyond the axis, with its mean."
    )
    return Sketch(caption, f"Forest plot. {_verdict_counts(document.lines)}", sheet)


def escape(document: ReportDocument) -> Sketch:
    """The escape family, ordered by κ, with intervals that hold jointly within each S."""
    why = no_intervals(document)
    if why is not None:
        return refusal(why)
    members = [scorer for scorer in document.compared if scorer.in_family]
    if not members:
        return refusal("The rows hold no scorer of the escape family (κ ≥ 1) beside the reference.")
    family = [line for line in document.lines if line.in_family]
    if not any(line.simultaneous for line in family):
        return refusal("No line of the escape family has a simultaneous interval: all of them are degenerate.")
    rows = [_Row(line, line.mean, line.simultaneous, kind="simultaneous ") for line in family if line.mean is not None]
    sheet = _forest(document, members, rows, document.settings.reference, dots=False)
    level = f"{100 * (1 - document.settings.alpha):g} %"
    caption = (
        f"The escape family against {document.settings.reference}, accuracy points, "
        f"{'ordered by κ, ' if document.has_kappa else ''}with simultaneous {level} intervals: all of one S hold at once "
        f"({_made(rows)}). Shaded: ±{document.settings.delta:g}; each S has its own axis. An escape is decided by a one-sided "
        "adjusted p, which the glyph shows, and can be found where the two-sided interval still touches the margin."
    )
    if document.looks is not None:
        caption += " The intervals hold at all looks together; an escape is kept from the look that found it."
    return Sketch(caption, f"Forest plot of the escape family. {_verdict_counts(family)}", sheet)


def attribution(document: ReportDocument) -> Sketch:
    """What each κ ≥ 1 scorer has above the control `information`, which sees the same saliency."""
    lines = [line for line in document.attribution if line.complexity is not None]
    if not lines:
        return refusal("It needs the scorer information beside scorers of κ ≥ 1, with another reference.")
    if all(line.ci95 is None for line in lines):
        return refusal(f"The rows have {plural(max(line.n for line in lines), 'seed')} a line: an interval takes three.")
    names = {line.scorer for line in lines}
    members = [scorer for scorer in document.compared if scorer.name in names]
    rows = [_Row(line, line.complexity, line.ci95) for line in lines if line.complexity is not None]
    sheet = _forest(document, members, rows, "information", dots=False)
    kind = "Student t" if document.looks is None else _made(rows)
    caption = (
        "Each scorer against the control information, of the same saliency and without complexity; "
        f"accuracy points, 95 % intervals ({kind}), each S with its own axis. Inside the shaded "
        f"±{document.settings.delta:g}, information alone explains the score. Verdicts are adjusted within an S."
    )
    return Sketch(caption, f"Forest plot against the control information. {_verdict_counts(lines)}", sheet)


#: how an interval was made → the same in a caption
_WORDS = {
    "rotation max-|T|": "rotation max-|T|",
    "student-t": "Student t",
    "Welch t": "Welch's t, unpaired seeds",
    "Bonferroni t": "Bonferroni on each line's own t, as scorers miss different seeds",
    "Bonferroni Welch t": "Bonferroni on Welch's t, unpaired seeds",
    "degenerate": "equal differences have a point and no interval",
    "repeated student-t": "repeated Student t",
    "repeated rotation max-|T|": "repeated rotation max-|T|",
    "repeated Bonferroni t": "repeated Bonferroni on each line's own t, as scorers miss different seeds",
}


def _made(rows: Sequence[_Row]) -> str:
    """How the thin intervals were made, each way once."""
    ways = {row.thin.method for row in rows if row.thin is not None}
    words = [text for method, text in _WORDS.items() if method in ways]
    none = any(row.thin is None and row.line.n >= 3 for row in rows)
    return "; ".join([*words, *(["none for equal differences"] if none else [])])


def no_intervals(document: ReportDocument) -> str | None:
    """Why there are no intervals to draw; None where there are."""
    n = max((line.n for line in document.lines), default=0)
    if document.looks is not None and not document.looks.made:
        return "Nothing is tested before the first look."
    if n == 0:
        return "No seed has both a scorer and the reference."
    if n < 3:
        return f"The rows have {plural(n, 'seed')} a line: an interval takes three."
    if document.metric.paired and all(not any(line.differences) for line in document.lines):
        return f"Every scorer gives {short(document.settings.reference, 40)}'s accuracy at every seed: nothing differs."
    return None


def _forest(
    document: ReportDocument, scorers: Sequence[ScorerInfo], rows: Sequence[_Row], against: str, *, dots: bool
) -> Drawing:
    room = 30 if len(document.sparsities) > 1 else 14
    verdicts = {row.line.verdict for row in rows}
    sheet, panels = row_panels(document, scorers, f"difference to {short(against, room)} (accuracy points)", verdicts)
    place = {scorer.name: i for i, scorer in enumerate(scorers)}
    for panel in panels:
        own = [row for row in rows if row.line.sparsity == panel.sparsity and row.line.scorer in place]
        _fill(sheet, panel, own, place, document.settings.delta, dots=dots)
        shown = {row.line.scorer for row in own}
        for name in (name for name in place if name not in shown):
            panel.axes.text(
                0.5, place[name], "no seeds", transform=panel.axes.get_yaxis_transform(), ha="center", va="center",
                color=FAINT, fontsize=6,
            )  # fmt: skip
    return sheet


@dataclass(frozen=True, slots=True)
class _Sheet:
    """How a deciding forest is laid out, in inches, points and shares of a row."""

    width: float
    row: float
    before: float  # the names
    after: float  # the numbers
    name: float  # points
    number: float
    text_at: float = 0.0
    bar_at: float = 0.0


_LINE, _STACK = 0.165, 0.31  # inches of a row, and of one that has the bar below its name and numbers
_NAME, _NUMBER = 0.062, 0.056  # inches a character, of bold text at 7 points and of numbers at 6.4
_WIDER = 4.25  # inches: a column and a quarter, where names are long


def decides(document: ReportDocument) -> Sketch:
    """Every scorer at the S that decides, with its numbers beside it."""

    def beside(names: Sequence[str], numbers: Sequence[str]) -> _Sheet:
        before, after = _NAME * max(map(columns, names)) + 0.08, _NUMBER * max(map(len, numbers))
        width = SINGLE if before + after < SINGLE - 1.05 else _WIDER
        return _Sheet(width, _LINE, before, after + 0.06, 7.0, 6.4)

    return _decides(document, beside)


def stacked(document: ReportDocument) -> Sketch:
    """The same for a phone: the bars below the names and numbers, which are large enough there without scrolling."""
    return _decides(document, lambda names, numbers: _Sheet(SINGLE, _STACK, 0.06, 0.06, 7.4, 7.2, -0.25, 0.22))


def _decides(document: ReportDocument, made: Callable[[Sequence[str], Sequence[str]], _Sheet]) -> Sketch:
    S = deciding(document)
    why = no_intervals(document)
    if why is not None or S is None:
        return refusal(why or "The rows have no sparsity.")
    lines = {line.scorer: line for line in document.lines_at(S) if line.mean is not None}
    scorers = [scorer for scorer in document.compared if scorer.name in lines]
    if not scorers:
        return refusal("No seed has both a scorer and the reference at the S that decides.")
    reference, delta = document.settings.reference, document.settings.delta
    rows = [_decisive(lines[scorer.name]) for scorer in scorers]
    held = {(line.scorer, line.sparsity) for line in over_run(document)[0]}
    names = labels([scorer.name for scorer in scorers])
    marks = {row.line.scorer: _numbers(document, row) for row in rows}
    made_so = made([*names.values()], [*marks.values()])
    width, body = made_so.width, made_so.row * max(len(rows), 2)
    sheet = drawing(width, HEAD + body + 0.38)
    axes = sheet.axes(made_so.before, HEAD, width - made_so.before - made_so.after, body)
    axes.set_ylim(max(len(rows), 2) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.set_xlim(*window([row.extent for row in rows], delta))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=max(made_so.number, SMALL))
    shade_margin(axes, delta)
    below = made_so.bar_at > 0  # the names and numbers, so that these end where the row does
    far, side = (width, "right") if below else (width - made_so.after + 0.06, "left")
    head, small = HEAD - 0.1, made_so.number
    sheet.text(0.0, head, f"S = {S:g}", fontsize=small, color=FAINT, va="center")
    sheet.text(far, head, "mean, interval", fontsize=small, color=FAINT, va="center", ha=side)
    for i, (scorer, row) in enumerate(zip(scorers, rows, strict=True)):
        weight = "bold" if (scorer.name, S) in held else "normal"
        y = HEAD + body * (i + 0.5 + made_so.text_at) / max(len(rows), 2)
        sheet.text(0.0, y, names[scorer.name], va="center", fontsize=made_so.name, fontweight=weight)
        sheet.text(far, y, marks[scorer.name], va="center", ha=side, fontsize=small, fontweight=weight)
        _bar(sheet, axes, i, row, made_so.bar_at)
        if i and scorers[i - 1].kappa != scorer.kappa and document.has_kappa:
            axes.axhline(i - 0.5, color=FAINT, linewidth=0.4, alpha=0.6, zorder=0)
    better, worse = "scorer better", f"{short(reference, 14)} better"
    left, right = (better, worse) if document.metric.lower_is_better else (worse, better)
    middle, foot = (made_so.before + width - made_so.after) / 2, HEAD + body + 0.31
    sheet.text(middle - 0.04, foot, f"← {left}", va="center", ha="right", fontsize=small)
    sheet.text(middle + 0.04, foot, f"{right} →", va="center", ha="left", fontsize=small)
    joint = any(row.kind for row in rows)
    level, own = f"{100 * (1 - document.settings.alpha):g} %", f"{100 * (1 - 2 * document.settings.alpha):g} %"
    thin = f"simultaneous {level} intervals of the family, 95 % of the others" if joint else "95 % intervals"
    over = f" {BOLD}." if held else ""
    caption = (
        f"Difference to {reference} in accuracy points. Thick: the {own} interval, which inside the shaded "
        f"±{delta:g} decides on equivalence; thin, and in numbers: {thin}.{over}"
    )
    if any(not axes.get_xlim()[0] <= row.mean <= axes.get_xlim()[1] for row in rows):
        caption += " An arrow: beyond the axis."
    if document.looks is not None:
        caption += " All hold at all looks together."
    return Sketch(caption, f"Forest plot at S = {S:g}. {_verdict_counts([row.line for row in rows])}", sheet)


def _numbers(document: ReportDocument, row: _Row) -> str:
    """Glyph of the verdict, mean and interval, as they stand beside the bars."""
    flag = FLAG if document.flagged(row.line.scorer, row.line.sparsity) else ""
    return f"{VERDICTS[row.line.verdict].glyph}{flag} {signed(row.mean)} {limits(row.thin)}"


def _decisive(line: LineInfo) -> _Row:
    """A line with its joint interval where it is one of a family."""
    assert line.mean is not None
    joint = line.simultaneous if line.in_family else None
    return _Row(line, line.mean, joint or line.ci95, kind="" if joint is None else "simultaneous ", thick=line.ci_equivalence)


def _bar(sheet: Drawing, axes: Axes, place: int, row: _Row, lower: float) -> None:
    """One row: its bars and marker, or an arrow at the edge beyond which it lies; `lower` than the middle of its row."""
    (low, high), mark, y = axes.get_xlim(), VERDICTS[row.line.verdict], place + lower
    sheet.tips.append(Tip(axes, (low, place - 0.5, high, place + 0.5), row.tip))
    if not low <= row.mean <= high:
        below = row.mean < low
        axes.plot(
            [low if below else high], [y], linestyle="none", marker="<" if below else ">", markersize=5, color=mark.colour,
            clip_on=False,
        )  # fmt: skip
        return
    for width, interval in ((_THIN, row.thin), (_THICK, row.thick)):
        if interval is not None:
            axes.plot([interval.low, interval.high], [y, y], color=mark.colour, linewidth=width, solid_capstyle="butt")
    axes.plot(
        [row.mean], [y], linestyle="none", marker=mark.marker, markersize=4.6, color=mark.colour, markeredgecolor=INK,
        markeredgewidth=0.4, zorder=4,
    )  # fmt: skip


def _fill(sheet: Drawing, panel: Panel, rows: Sequence[_Row], place: dict[str, int], delta: float, *, dots: bool) -> None:
    axes = panel.axes
    axes.set_xlim(*with_room(axes, *window([row.extent for row in rows], delta), [row.mean for row in rows]))
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    shade_margin(axes, delta)
    raised = 0.22 if dots else 0.0
    bars: dict[float, list[list[tuple[float, float]]]] = {_THICK: [], _THIN: []}
    colours: dict[float, list[str]] = {_THICK: [], _THIN: []}
    seeds: list[tuple[float, float]] = []
    means: dict[Verdict, list[tuple[float, float]]] = {}
    for row in rows:
        y, verdict = place[row.line.scorer], row.line.verdict
        glyph(axes, y, verdict)
        sheet.tips.append(Tip(axes, (low, y - 0.5, high, y + 0.5), row.tip))
        if off_axis(axes, y, row.mean):
            continue
        for width, interval in ((_THICK, row.thick), (_THIN, row.thin)):
            if interval is not None:
                bars[width].append([(interval.low, y - raised), (interval.high, y - raised)])
                colours[width].append(VERDICTS[verdict].colour)
        means.setdefault(verdict, []).append((row.mean, y - raised))
        seeds.extend((value, y + 0.26) for value in row.seeds)
    for width, segments in bars.items():
        axes.add_collection(LineCollection(segments, colors=colours[width], linewidths=width, capstyle="butt"), autolim=False)
    if any(len(row.seeds) > _DOTS for row in rows):  # so many dots would be a smear: a stroke each
        strokes = [[(x, y - 0.09), (x, y + 0.09)] for x, y in seeds]
        axes.add_collection(LineCollection(strokes, colors=INK, linewidths=0.4, alpha=0.55), autolim=False)
    elif seeds:
        axes.plot(
            *zip(*seeds, strict=True), linestyle="none", marker="o", markersize=1.9, color=INK, alpha=0.55, markeredgewidth=0
        )
    for verdict, where in means.items():
        mark = VERDICTS[verdict]
        axes.plot(
            *zip(*where, strict=True), linestyle="none", marker=mark.marker, markersize=3.6, color=mark.colour,
            markeredgecolor=INK, markeredgewidth=0.4, zorder=4,
        )  # fmt: skip


def _verdict_counts(lines: Sequence[LineInfo | AttributionInfo]) -> str:
    parts = []
    for sparsity in sorted({line.sparsity for line in lines}):
        own = [line for line in lines if line.sparsity == sparsity]
        counts = [(verdict, [line.scorer for line in own if line.verdict is verdict]) for verdict in Verdict]
        said = "; ".join(f"{verdict.lower()}: {', '.join(names)}" for verdict, names in counts if names)
        parts.append(f"At S = {sparsity:g} {said}.")
    return " ".join(parts)
