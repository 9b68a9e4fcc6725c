"""What more seeds would show, and what the paper claims beside what was measured."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import ClaimInfo
from sics_analysis.report.document.looks import LookChance, LooksInfo
from sics_analysis.report.figures.drawing.labels import labels
from sics_analysis.report.figures.drawing.panels import at_edge, points_text, window, with_room
from sics_analysis.report.figures.drawing.style import (
    BLUE,
    DOUBLE,
    FAINT,
    GREEN,
    INK,
    SINGLE,
    SMALL,
    STATUS,
    Dashes,
    Drawing,
    Sketch,
    Tip,
    drawing,
    refusal,
)
from sics_analysis.report.words.phrases import decimals, interval, percent, seeds_needed
from sics_analysis.results import PowerPoint, plural, signed

_TARGET = 0.8


def power(document: ReportDocument) -> Sketch:
    """Power against the number of seeds, with the run's own number marked."""
    info = document.power
    if document.looks is not None:
        return _looked_power(document, document.looks)
    if not info.points or info.sd is None:
        return refusal(f"No power curve: {info.reason}.")
    sheet = drawing(SINGLE, 2.2)
    axes = sheet.axes(0.45, 0.22, SINGLE - 0.55, 1.55)
    n = [point.n for point in info.points]
    delta = document.settings.delta
    axes.axhline(_TARGET, color=FAINT, linewidth=0.6, linestyle=":")
    axes.plot(n, [point.equivalence for point in info.points], color=BLUE, linewidth=1.4, label="equivalent, true difference 0")
    axes.plot(
        n,
        [point.escape for point in info.points],
        color=GREEN,
        linewidth=1.4,
        linestyle=(0, (4, 1.5)),
        label=f"escape, true difference {'−' if document.metric.lower_is_better else '+'}{info.effect:g}",
    )
    axes.axvline(info.here, color=INK, linewidth=0.8)
    axes.set_xlim(n[0] - 1, n[-1])
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("seeds")
    axes.set_ylabel("power")
    axes.legend(loc="lower right", handlelength=3)
    near_left = info.here < (n[0] + n[-1]) / 2
    axes.text(
        info.here + (0.5 if near_left else -0.5), 1.04, f"you are here: n = {info.here}", ha="left" if near_left else "right",
        va="bottom", fontsize=SMALL,
    )  # fmt: skip
    for point in info.points:
        sheet.tips.append(Tip(axes, (point.n - 0.5, 0, point.n + 0.5, 1.0), f"n = {point.n}: {_chances(point)}"))
    needed = (
        f"80 % takes {seeds_needed(info.needed_equivalence)} for equivalence and {seeds_needed(info.needed_escape)} for an "
        f"escape in a family of {info.family}"
    )
    caption = (
        f"Chance of a verdict against the number of seeds, if differences spread as here (median sd {decimals(info.sd)} points), "
        f"at δ = {delta:g}. {needed}. The sd is itself an estimate from {plural(info.here, 'seed')}."
    )
    here = next((_chances(point) for point in info.points if point.n == info.here), "no test")
    return Sketch(caption, f"Power curves. With {plural(info.here, 'seed')}: {here}. {needed}.", sheet)


def _looked_power(document: ReportDocument, info: LooksInfo) -> Sketch:
    """Chance of a verdict by each look, beside as many seeds fixed beforehand."""
    if info.sd is None:
        return refusal("No power curve: no line has a spread between seeds to plan with.")
    sheet = drawing(SINGLE, 2.2)
    axes = sheet.axes(0.45, 0.22, SINGLE - 0.55, 1.55)
    n = [chance.n for chance in info.chances]
    axes.axhline(_TARGET, color=FAINT, linewidth=0.6, linestyle=":")
    sign = "−" if document.metric.lower_is_better else "+"
    series: tuple[tuple[str, str, Dashes, str], ...] = (
        ("equivalence", BLUE, "-", "equivalent, true difference 0"),
        ("escape", GREEN, (0, (4, 1.5)), f"escape, true difference {sign}{info.effect:g}"),
    )
    for name, colour, dashes, label in series:
        axes.plot(
            n,
            [getattr(chance, name) for chance in info.chances],
            color=colour,
            linewidth=1.4,
            marker="o",
            linestyle=dashes,
            label=label,
        )
        axes.plot(
            n, [getattr(chance, f"fixed_{name}") for chance in info.chances], color=colour, linewidth=0.7, alpha=0.7,
            linestyle=dashes,
        )  # fmt: skip
    if info.made:
        axes.axvline(info.n, color=INK, linewidth=0.8)
        left = info.n < (n[0] + n[-1]) / 2
        axes.text(info.n, 1.04, f"look {info.made}: n = {info.n}", ha="left" if left else "right", va="bottom", fontsize=SMALL)
    axes.set_xlim(n[0] - 1, n[-1] + 1)
    axes.set_ylim(0, 1.02)
    axes.set_xticks(n, [str(value) for value in n])
    axes.set_xlabel("seeds")
    axes.set_ylabel("chance by then")
    axes.legend(loc="lower right", handlelength=3)
    for chance in info.chances:
        text = f"{_looked(chance)}; fixed beforehand {_fixed(chance)}"
        sheet.tips.append(Tip(axes, (chance.n - 0.5, 0, chance.n + 0.5, 1.0), f"n = {chance.n}: {text}"))
    last = info.chances[-1]
    caption = (
        f"Chance of a verdict up to each look, if differences spread as here (median sd {decimals(info.sd)} points), at δ = "
        f"{document.settings.delta:g}; thin, with as many seeds fixed beforehand and tested once. By the last look: "
        f"{_looked(last)}. The sd is itself an estimate from "
        f"{plural(max((line.n for line in document.lines), default=0), 'seed')}."
    )
    said = " ".join(
        f"By {plural(chance.n, 'seed')}: {_looked(chance)}; fixed beforehand {_fixed(chance)}." for chance in info.chances
    )
    return Sketch(caption, f"Chances by look. {said}", sheet)


def _looked(chance: LookChance) -> str:
    return f"equivalence {percent(chance.equivalence, 0)}, escape {percent(chance.escape, 0)}"


def _fixed(chance: LookChance) -> str:
    return f"equivalence {percent(chance.fixed_equivalence, 0)}, escape {percent(chance.fixed_escape, 0)}"


def _chances(point: PowerPoint) -> str:
    return f"equivalence {percent(point.equivalence, 0)}, escape {percent(point.escape, 0)}"


def paper(document: ReportDocument) -> Sketch:
    """Every claim of the paper: what it says as a band or a diamond, what was measured as an interval."""
    claims = document.claims
    if not any(claim.n for claim in claims):
        why = "; ".join(dict.fromkeys(finding.text for claim in claims for finding in claim.findings))
        return refusal(f"None of the paper's claims could be set against these rows: {why}.")
    row, left, right = 0.205, 1.95, 1.55
    sheet = drawing(DOUBLE, 0.1 + row * len(claims) + 0.68)
    axes = sheet.axes(left, 0.1, DOUBLE - left - right, row * len(claims))
    axes.set_ylim(len(claims) - 0.5, -0.5)
    low, high = window([_extent(claim, document.settings.delta) for claim in claims], document.settings.delta)
    places = [middle for claim in claims if (middle := _middle(claim)) is not None]
    axes.set_xlim(*with_room(axes, low, high, [*places, *(size for claim in claims for size in _sizes(claim))]))
    axes.spines["left"].set_visible(False)
    names = labels([claim.id for claim in claims], 24)
    axes.set_yticks(range(len(claims)), [f"{names[claim.id]}, S = {claim.sparsity:g}" for claim in claims])
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color=INK, linewidth=0.5, zorder=0.5)
    axes.set_xlabel("difference (accuracy points)")
    axes.xaxis.set_major_locator(MaxNLocator(7))
    for i, claim in enumerate(claims):
        _claim(document, sheet, axes, i, claim)
    x, y = left, sheet.height - 0.12
    sheet.text(x - 1.5, y, "◇ and grey: claimed   ", fontsize=SMALL, va="center", color=FAINT)
    there = {claim.status for claim in claims}
    for word, mark in ((word, mark) for word, mark in STATUS.items() if word in there):
        sheet.marker(x, y, mark.colour, mark.marker)
        sheet.text(x + 0.09, y, f"{mark.glyph} {word}", fontsize=SMALL, va="center")
        x += 1.15
    unit = f", unit {document.unit}" if document.unit else ""
    caption = (
        "The claims of arXiv 2605.09345 (ViT-Small on CIFAR-10, channels) beside this run "
        f"({document.source.title}{unit}). Grey: claimed, with ±δ = {document.settings.delta:g} around a size, twice where "
        "points and percent are both open. Coloured: the interval measured; of a class it is that of its largest difference, and "
        "no mean of a selected best is given. A claim of several S is shown at the S that decides it. What lies beyond the axis "
        "is an arrow at its edge with the number."
    )
    if document.looks is not None:
        caption += " The intervals hold at all looks together."
    said = " ".join(f"{claim.id}: claimed {claim.claimed}, {claim.outcome or claim.status}." for claim in claims)
    return Sketch(caption, f"Claims of the paper against this run. {said}", sheet)


def _sizes(claim: ClaimInfo) -> list[float]:
    """The sizes claimed in points, one a reading."""
    return [reading.points for reading in claim.readings] or ([] if claim.points is None else [claim.points])


def _extent(claim: ClaimInfo, delta: float) -> list[float]:
    found = [size + side for size in _sizes(claim) for side in (-delta, delta)]
    found += [] if claim.interval is None else [claim.interval.low, claim.interval.high]
    return found + ([] if claim.estimate is None else [claim.estimate])


def _middle(claim: ClaimInfo) -> float | None:
    """Where the mark of what was measured stands; None without an interval."""
    if claim.interval is None:
        return None
    return (claim.interval.low + claim.interval.high) / 2 if claim.estimate is None else claim.estimate


def _claim(document: ReportDocument, sheet: Drawing, axes: Axes, row: int, claim: ClaimInfo) -> None:
    delta, mark = document.settings.delta, STATUS[claim.status]
    low, high = axes.get_xlim()
    sizes = _sizes(claim)
    bands = {
        "plateau": [(-delta, delta)],
        "size": [(size - delta, size + delta) for size in sizes],
        "below": [(low, 0.0)],
        "escape": [(delta, high)],
        "noninferior": [(-delta, high)],
        "nonsuperior": [(low, delta)],
        "larger": [(0.0, high)],
        "overfit": [(0.0, high)],
    }.get(claim.kind, [])
    for band in bands:
        axes.fill_betweenx([row - 0.32, row + 0.32], *band, color=FAINT, alpha=0.25, linewidth=0, zorder=0)
    inside = [size for size in sizes if low <= size <= high]
    axes.plot(inside, [row] * len(inside), linestyle="none", marker="D", color=FAINT, markersize=5, fillstyle="none", zorder=3)
    text = _in_words(document, claim)
    middle = _middle(claim)
    for below in (True, False):
        far = sorted(size for size in sizes if (size < low if below else size > high))
        said = [f"◇ {points_text(*far)}"] if far else []
        if middle is not None and (middle < low if below else middle > high):
            said.append(points_text(middle))
        if said:
            at_edge(axes, row, " and ".join(said), below=below)
    if claim.interval is not None and middle is not None:
        if low <= middle <= high:
            axes.plot(
                [claim.interval.low, claim.interval.high], [row, row], color=mark.colour, linewidth=2.2, solid_capstyle="butt"
            )
            if claim.estimate is not None or claim.interval.width == 0:
                axes.plot(
                    [middle], [row], linestyle="none", marker=mark.marker, color=mark.colour, markersize=4.5,
                    markeredgecolor=INK, markeredgewidth=0.4, zorder=4,
                )  # fmt: skip
    elif text:
        # Beside the line of no difference, or in the half of the row that a size leaves free.
        x, side = (0.03 - low / (high - low), "left") if not sizes or min(sizes) < (low + high) / 2 else (0.3, "center")
        if sizes and side == "left":
            x = 0.62
        axes.text(x, row, text, transform=axes.get_yaxis_transform(), ha=side, va="center", fontsize=SMALL, color=INK)
    axes.text(1.02, row, mark.glyph, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL + 1)
    axes.text(1.07, row, claim.claimed, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL)
    shown = f" {'' if claim.estimate is None else signed(claim.estimate)} {interval(claim.interval)}" if claim.interval else ""
    told = f"{claim.id}: claimed {claim.claimed};{shown} {claim.outcome or claim.status}"
    sheet.tips.append(Tip(axes, (low, row - 0.5, high, row + 0.5), told))


def _in_words(document: ReportDocument, claim: ClaimInfo) -> str:
    if claim.kind == "kappa":
        point = next((point for point in document.spectrum.points if point.sparsity == claim.sparsity), None)
        if point is not None and point.p_values is not None:
            return f"κ left by the data: {', '.join(map(str, point.not_rejected)) or 'none'}"
    if claim.n == 0:
        return "not measured"
    return "every scorer by its own test" if claim.kind == "below" else "no interval"
