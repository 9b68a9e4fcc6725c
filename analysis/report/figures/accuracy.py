"""Accuracies themselves: curves against S with the plateau, and slopes of single seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.rows import ScorerInfo
from sics_analysis.report.figures.drawing.labels import labels, room, short
from sics_analysis.report.figures.drawing.panels import arrow, sparsities, window
from sics_analysis.report.figures.drawing.style import (
    DOUBLE,
    FAINT,
    GREEN,
    HEAD,
    INK,
    SINGLE,
    SMALL,
    VERMILLION,
    Dashes,
    Drawing,
    Sketch,
    Tip,
    drawing,
    member,
    refusal,
)
from sics_analysis.report.figures.forest import no_intervals
from sics_analysis.report.words.phrases import gathered
from sics_analysis.report.words.said import value_axis, value_text
from sics_analysis.results import plural

_BODY, _LABEL, _NAMES = 1.25, 0.115, 1.14  # inches: a panel, a line of labels, the labels beside a panel
_SLOPES: tuple[tuple[str, Dashes], ...] = ((GREEN, "-"), (VERMILLION, (0, (3, 1.2))), (FAINT, (0, (1, 1))))


def curves(document: ReportDocument) -> Sketch:
    """Mean accuracy against S, a panel per class, the reference in each."""
    values = sparsities(document)
    if len(values) < 2:
        return refusal("The rows have one sparsity: a curve takes two.")
    groups = _groups(document)
    if not groups:
        return refusal("The rows have no scorer beside the reference.")
    by_key = _by_key(document)
    across = min(len(groups), 2)
    width = SINGLE if across == 1 else DOUBLE
    body = max(_BODY, _LABEL * (max(len(group) for _, group in groups) + 1))
    rows = -(-len(groups) // across)
    turned = len(values) > 8
    foot = 0.5 if turned else 0.4
    sheet = drawing(width, rows * (HEAD + body + foot) + 0.02)
    plateau = {S: _reference(document, by_key, S) for S in values}
    names = labels([scorer.name for scorer in document.scorers])
    beside = room([scorer.name for scorer in document.scorers], _NAMES)
    panels = sheet.panels(len(groups), across, body, left=0.5, gap=beside + 0.42, right=beside, foot=foot)
    for i, (axes, (title, group)) in enumerate(zip(panels, groups, strict=True)):
        axes.set_title(title)
        if i + across >= len(groups):
            axes.set_xlabel("sparsity S")
        if i % across == 0:
            axes.set_ylabel(value_axis(document))
        axes.set_xticks(values, [f"{value:g}" for value in values], rotation=90 if turned else 0)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        known = [S for S in values if plateau[S]]
        axes.fill_between(
            known, [min(plateau[S]) for S in known], [max(plateau[S]) for S in known], color=FAINT, alpha=0.22, linewidth=0
        )
        means = [statistics.fmean(plateau[S]) for S in known]
        axes.plot(known, means, color=INK, linewidth=2.2, alpha=0.8)
        ends = [(means[-1], f"{short(document.settings.reference, 10)} (ref.)", True)] if known else []
        for j, scorer in enumerate(group):
            found = {S: by_key.get((scorer.name, S), []) for S in values}
            here = [S for S in values if found[S]]
            if not here:
                continue
            style = member(j, scorer.kappa)
            means = [statistics.fmean(found[S]) for S in here]
            axes.plot(here, means, color=style.colour, marker=style.marker, fillstyle=style.fill, linestyle=style.dashes)
            ends.append((means[-1], names[scorer.name], False))
            for S, mean in zip(here, means, strict=True):
                text = f"{scorer.name}, S = {S:g}: {_shown(document, mean)}, {plural(len(found[S]), 'seed')}"
                sheet.tips.append(Tip(axes, (S, mean, S, mean), text))
        _label_ends(axes, ends, body, values[-1])
    dense = [document.metric.scale * cell.accuracy for cell in document.cells if cell.sparsity == 0]
    unpruned = f" The unpruned networks reach {_shown(document, statistics.fmean(dense))} on average." if dense else ""
    caption = (
        f"Mean accuracy over seeds against sparsity, by class. Thick line: {document.settings.reference}, with the range of its "
        f"seeds shaded. Each panel has its own accuracy axis, which does not start at 0.{unpruned}"
    )
    return Sketch(caption, f"Line chart of accuracy against sparsity. {_curve_text(document, plateau)}", sheet)


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, bool]], body: float, last: float) -> None:
    """Write the name of every line beside its end, one above the other where ends are near; a thin line leads to each."""
    low, high = axes.get_ylim()
    step = _LABEL * (high - low) / body
    ordered = sorted(ends, key=lambda end: end[0])
    places: list[float] = []
    for value, _, _ in ordered:
        places.append(max(value, places[-1] + step) if places else value)
    over = places[-1] - (high - step / 2) if places else 0.0
    if over > 0:  # push down from the top
        places[-1] -= over
        for i in range(len(places) - 2, -1, -1):
            places[i] = min(places[i], places[i + 1] - step)
    left, right = axes.get_xlim()
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    for place, (value, name, bold) in zip(places, ordered, strict=True):
        axes.annotate(
            name, (last, value), xytext=(right + 0.05 * (right - left), place), va="center", ha="left", fontsize=SMALL,
            fontweight="bold" if bold else "normal", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip


def slopes(document: ReportDocument) -> Sketch:
    """From the reference's accuracy to the scorer's, a line a seed."""
    why = no_intervals(document)
    if why is not None:
        return refusal(why.replace("an interval takes three", "slopes of so few show no pattern"))
    if not document.metric.paired:
        return refusal("The seeds are unpaired: no line leads from one scorer to another.")
    scorers, values = document.compared, sparsities(document)
    rows, across = -(-len(values) // 2), min(len(values), 2)
    names = labels([scorer.name for scorer in scorers])
    foot = 0.1 + 0.061 * max(len(text) for text in names.values())
    body, below = 1.15, 0.02
    width = DOUBLE if across == 2 or len(scorers) > 12 else SINGLE
    sheet = drawing(width, rows * (HEAD + body + below) + foot + 0.22)
    panels = sheet.panels(len(values), across, body, left=0.55, right=0.05, foot=below)
    for i, (axes, S) in enumerate(zip(panels, values, strict=True)):
        axes.set_title(f"S = {S:g}")
        if i % across == 0:
            axes.set_ylabel(value_axis(document))
        _slopes_at(document, sheet, axes, S)
        last = i + across >= len(values)
        axes.set_xticks(range(len(scorers)), [names[s.name] if last else "" for s in scorers], rotation=90)
        axes.tick_params(axis="x", length=0, pad=2)
    words = ("the seed gains", "the seed loses", "equal")
    for i, ((colour, style), text) in enumerate(zip(_SLOPES, words, strict=True)):
        sheet.line(0.1 + 1.1 * i, 0.35 + 1.1 * i, sheet.height - 0.1, colour, style)
        sheet.text(0.4 + 1.1 * i, sheet.height - 0.1, text, fontsize=SMALL, va="center")
    caption = (
        f"Paired slopes: for every scorer and seed a line from {document.settings.reference}'s accuracy (left) to the "
        "scorer's (right) at the same seed. Parallel lines mean a difference that all seeds share. A scorer far off leaves the "
        "panel; an arrow gives its mean difference."
    )
    return Sketch(caption, f"Slope chart. {_slope_text(document)}", sheet)


def _slopes_at(document: ReportDocument, sheet: Drawing, axes: Axes, S: float) -> None:
    accuracy = {(cell.scorer, cell.seed): document.metric.scale * cell.accuracy for cell in document.cells if cell.sparsity == S}
    place = {scorer.name: i for i, scorer in enumerate(document.compared)}
    lines = [line for line in document.lines_at(S) if line.n]
    low, high = window([line.differences for line in lines], document.settings.delta)
    segments: dict[str, list[list[tuple[float, float]]]] = {GREEN: [], VERMILLION: [], FAINT: []}
    inside: list[float] = []
    for line in lines:
        x = place[line.scorer]
        assert line.mean is not None
        for seed, difference in zip(line.seeds, line.differences, strict=True):
            end = accuracy[line.scorer, seed]
            start = end - difference
            better = document.metric.turned(difference)
            colour = GREEN if better > 0 else VERMILLION if better < 0 else FAINT
            segments[colour].append([(x - 0.32, start), (x + 0.32, end)])
            inside += [start, end] if low <= difference <= high else [start]
    bottom, top = min(inside), max(inside)
    pad = 0.08 * (top - bottom) or 0.5
    axes.set_ylim(bottom - pad, top + pad)
    axes.set_xlim(-0.6, len(place) - 0.4)
    for colour, style in _SLOPES:
        axes.add_collection(LineCollection(segments[colour], colors=colour, linewidths=0.8, linestyles=[style]), autolim=False)
    for line in lines:
        x = place[line.scorer]
        assert line.mean is not None
        sheet.tips.append(Tip(axes, (x - 0.5, bottom - pad, x + 0.5, top + pad), line.sentence))
        if not low <= line.mean <= high:
            text = arrow(line.mean < 0, line.mean)
            at, side = (bottom, "bottom") if line.mean < 0 else (top, "top")
            axes.text(x + 0.36, at, text, fontsize=6, rotation=90, ha="left", va=side, color=INK)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _shown(document: ReportDocument, value: float) -> str:
    """A value on the axis, with its unit."""
    return f"{value:.2f} %" if document.metric.is_accuracy else value_text(document, value)


def _groups(document: ReportDocument) -> list[tuple[str, Sequence[ScorerInfo]]]:
    others = document.compared
    if not document.has_kappa:
        return [("all scorers", others)] if others else []
    titles = ((0, "κ = 0, rank-monotone"), (1, "κ = 1, smooth"), (2, "κ = 2, raw"), (None, "controls, baselines"))
    found = [(title, [scorer for scorer in others if scorer.kappa == kappa]) for kappa, title in titles]
    return [(title, group) for title, group in found if group]


def _by_key(document: ReportDocument) -> dict[tuple[str, float], list[float]]:
    return gathered(((cell.scorer, cell.sparsity), document.metric.scale * cell.accuracy) for cell in document.cells)


def _reference(document: ReportDocument, by_key: dict[tuple[str, float], list[float]], S: float) -> list[float]:
    """The reference's accuracies; those of all κ = 0 scorers, averaged by seed, where the reference is their pool."""
    reference = document.settings.reference
    if document.how_far:
        return by_key.get((reference, 0.0), [])
    if any(scorer.name == reference for scorer in document.scorers):
        return by_key.get((reference, S), [])
    pooled = {scorer.name for scorer in document.scorers if scorer.kappa == 0}
    here = (cell for cell in document.cells if cell.sparsity == S and cell.scorer in pooled)
    by_seed = gathered((cell.seed, document.metric.scale * cell.accuracy) for cell in here)
    return [statistics.fmean(found) for found in by_seed.values() if len(found) == len(pooled)]


def _curve_text(document: ReportDocument, plateau: dict[float, list[float]]) -> str:
    said = ", ".join(f"{_shown(document, statistics.fmean(found))} at S = {S:g}" for S, found in plateau.items() if found)
    return f"{document.settings.reference}: {said}." if said else ""


def _slope_text(document: ReportDocument) -> str:
    parts = []
    for S in sparsities(document):
        gains = {line.scorer: [document.metric.turned(d) for d in line.differences] for line in document.lines_at(S) if line.n}
        better = [name for name, values in gains.items() if min(values) > 0]
        worse = [name for name, values in gains.items() if max(values) < 0]
        parts.append(
            f"At S = {S:g} every seed gains with {', '.join(better) or 'no scorer'}, and loses with {', '.join(worse) or 'none'}."
        )
    return " ".join(parts)
