"""Searched scorers at every sparsity: the split of their gain, the budget curve, the over-fitting gap, other pools."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeGuard

from sics_analysis.families.attribution import AttributionLine, Kept, attribute
from sics_analysis.families.family import FamilyResult
from sics_analysis.families.max_t import escape_test, superiority_test
from sics_analysis.families.multiplicity import holm
from sics_analysis.families.run_wide import RunWide, run_wide
from sics_analysis.families.searched import BudgetPoint, PoolGain, Question, SearchedBeside, SearchedGain, SearchedStudy
from sics_analysis.one_scorer.equivalence import equivalence_test
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.one_scorer.verdict import verdict
from sics_analysis.results import POINTS, Seed
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.rows.searched import (
    INFORMATION,
    LOSS,
    MONOTONE,
    PAPER_SETS,
    SETS,
    SHUFFLED,
    SPLINE,
    Kind,
    SearchCell,
    SearchedName,
    searched_name,
)
from sics_analysis.study.steps import Setting

# Streams of random numbers, beside those of `steps`.
COMPLEXITY, RUN_PAYS, BESIDE, PAYS, BESIDE_PAYS, RUN_BESIDE = 7, 8, 9, 20, 21, 25  # those of BESIDE four in a row
#: What stands beside the split: kind of scorer, what is asked, the control.
_BESIDE: tuple[tuple[Kind, Question, str], ...] = (
    ("fusion", "shape", SPLINE),
    ("fusion", "monotone", MONOTONE),
    ("adaptive", "complexity", INFORMATION),
    ("adaptive", "monotone", MONOTONE),
)
UNSAID = "The rows do not say what every search was scored on: such controls are matched by name and budget alone."


def searched_study(setting: Setting, kept: Callable[[float], Kept | None] = lambda S: None) -> SearchedStudy | None:
    """Everything said of the searched scorers of a table; None where it has none, and no scorer of another pool."""
    table = setting.table
    searches = table.searches
    if not searches.apart:
        return None
    reason = _no_split(setting)
    pools = () if not table.metric.paired else tuple(_pools(setting))
    if not searches.names or reason:
        remarks: tuple[str, ...] = ()
        return _study(setting, (), (), (), pools, remarks, reason if searches.names else "")
    gains: list[SearchedGain] = []
    beside: list[SearchedBeside] = []
    points: list[BudgetPoint] = []
    found: list[str] = []
    families: list[FamilyResult] = []
    others: list[list[FamilyResult]] = [[] for _ in _BESIDE]
    for S in table.sparsities:
        own, family, said = _split(setting, S, kept(S))
        gains += own
        found += said
        families += [] if family is None else [family]
        for place, (kind, question, control) in enumerate(_BESIDE):
            lines, family, said = _against(setting, S, kind, question, control, place, kept(S))
            beside += lines
            found += said
            others[place] += [] if family is None else [family]
        points += _points(setting, S)
    over = _over(setting, RUN_PAYS, families)
    gains = [replace(one, p_pays_delta_run=_p_run(over, one)) for one in gains]
    runs = {
        (kind, question): _over(setting, RUN_BESIDE + place, others[place]) for place, (kind, question, _) in enumerate(_BESIDE)
    }
    beside = [replace(one, p_pays_delta_run=_p_run(runs[one.name.kind, one.question], one)) for one in beside]
    if not all(point.gap is not None for point in points):
        found.append(_why_no_gap(setting))
    return _study(setting, tuple(gains), tuple(beside), tuple(points), pools, tuple(dict.fromkeys(found)), "")


def _study(
    setting: Setting,
    gains: tuple[SearchedGain, ...],
    beside: tuple[SearchedBeside, ...],
    points: tuple[BudgetPoint, ...],
    pools: tuple[PoolGain, ...],
    remarks: tuple[str, ...],
    reason: str,
) -> SearchedStudy:
    smaller = setting.table.searches.smaller
    return SearchedStudy(setting.reference, setting.delta, setting.alpha, gains, beside, points, pools, smaller, remarks, reason)


def _no_split(setting: Setting) -> str:
    """Why a gain cannot be split; empty where it can."""
    table, reference = setting.table, setting.reference
    if not table.metric.paired:
        return "it takes paired seeds, and these are unpaired"
    if reference in table.searches.names:
        return f"the reference {reference} is itself a searched scorer"
    if table.is_dense(reference):
        return "it is of what a search gains over a scorer, and the reference is the dense network"
    if table.has_kappa and not table.pools(reference) and table.kappa.get(reference) != 0:
        return f"it is told against the plateau, and {reference} is not on it in the pool of the run"
    return ""


def _present(setting: Setting, kind: Kind, S: float) -> dict[str, dict[int, str]]:
    """The searched scorers of a kind at one S: features → budget → name."""
    searches = setting.table.searches
    found: dict[str, dict[int, str]] = {}
    for name, at in searches.cells:
        own = searches.names[name]
        if at == S and own.kind == kind:
            found.setdefault(own.features, {})[own.budget] = name
    return found


def _members(setting: Setting, kind: Kind, S: float) -> tuple[list[str], list[str]]:
    """The paper's readings with the largest budget that one of them had at S; and which had less."""
    there = _present(setting, kind, S)
    own = {features: there[features] for features in PAPER_SETS if features in there}
    largest = max((max(budgets) for budgets in own.values()), default=0)
    less = [
        f"{budgets[max(budgets)]} had the largest budget of its features at S = {S:g}, and another {largest}: it has no part in "
        "the split there."
        for budgets in own.values()
        if largest not in budgets
    ]
    return [budgets[largest] for budgets in own.values() if largest in budgets], less


def _split(setting: Setting, S: float, kept: Kept | None) -> tuple[list[SearchedGain], FamilyResult | None, list[str]]:
    """The gain of every reading of the paper at one S, the family of what pays, and remarks."""
    table, names = setting.table, setting.table.searches.names
    members, remarks = _members(setting, "fusion", S)
    why: dict[str, list[str]] = {name: [] for name in members}
    controls: dict[str, str | None] = {}
    shuffled: dict[str, str | None] = {}
    for name in members:
        for features, found in ((INFORMATION, controls), (SHUFFLED, shuffled)):
            found[name], said = _control(setting, name, features, S)
            why[name] += said
    remarks += [_sentence(one) for said in why.values() for one in said]
    remarks += [UNSAID] if any(_unsaid(setting, name, other, S) for name in members for other in _named(controls, name)) else []
    gains = {name: table.contrast(name, setting.reference, S) for name in members}
    matched = [name for name in members if controls[name] is not None]
    lines = _lines(setting, matched, [gains[name] for name in matched], controls, S, COMPLEXITY, kept)
    above, beyond = _pays(setting, list(lines.values()), S)
    split: list[SearchedGain] = []
    for name in members:
        line, other, control = lines.get(name), shuffled[name], controls[name]
        search = information = noise = None
        gain = gains[name] if line is None else line.gain
        if other is not None:
            noise = table.contrast(name, other, S).restrict(gain.seeds)  # on the seeds that both have: it is no part of a sum
            search = table.contrast(other, setting.reference, S).restrict(gain.seeds)
            if lacking := [seed for seed in gain.seeds if seed not in search.seeds]:  # the parts are to add up
                seeds = ", ".join(map(str, lacking))
                remarks.append(f"{other} has no result for seed {seeds} at S = {S:g}: it takes no part in the split there.")
                search = other = None
        if other is not None and control is not None:
            information = table.contrast(control, other, S).restrict(gain.seeds)
        one = SearchedGain(names[name], gain, search, information, line, tuple(why[name]), setting.alpha, noise=noise)
        if line is not None and above is not None and beyond is not None:
            one = replace(one, p_pays=_both(name, above.adjusted), p_pays_delta=_both(name, beyond.adjusted))
        split.append(one)
    return split, beyond, remarks


def _over(setting: Setting, stream: int, families: Sequence[FamilyResult]) -> RunWide | None:
    """The families of all S as one; None without any."""
    return run_wide(families, rng=setting.stream(stream), draws=setting.draws) if families else None


def _p_run(over: RunWide | None, one: SearchedGain | SearchedBeside) -> float | None:
    """The p over all S that a scorer is above its control and above the reference by more than δ."""
    return None if over is None else _both(one.scorer, partial(_at, over, one.sparsity))


def _at(run: RunWide, sparsity: float, name: str) -> float | None:
    return run.get(name, sparsity)


def _over_reference(scorer: str) -> str:
    """The name of a reading's gain over the reference, in one family with what it gains over its control."""
    return f"{scorer} over the reference"


def _pays(
    setting: Setting, lines: Sequence[AttributionLine], S: float, stream: int = PAYS
) -> tuple[FamilyResult | None, FamilyResult | None]:
    """Every reading above its control and above the reference, as one family of twice as many lines: above 0, and above δ.

    Complexity pays where both lines of a reading are shown, so that no more false sentences are said than lines are falsely
    rejected.
    """
    if not lines:
        return None, None
    both = [part for line in lines for part in (line.complexity, replace(line.gain, name=_over_reference(line.scorer)))]
    how: dict[str, Any] = {"alpha": setting.alpha, "rng": setting.stream(stream, S), "draws": setting.draws}
    return superiority_test(both, **how), escape_test(both, setting.delta, **how)


def _both(scorer: str, p: Callable[[str], float | None]) -> float | None:
    """The larger p of a reading's two lines; None where one has none."""
    found = [p(name) for name in (scorer, _over_reference(scorer))]
    known = [one for one in found if one is not None]
    return max(known) if len(known) == len(found) else None


def _sentence(text: str) -> str:
    """With a full stop, and a capital where it begins with no name."""
    first = text.partition(" ")[0]
    return f"{text if searched_name(first) else text[:1].upper() + text[1:]}."


def _named(controls: dict[str, str | None], name: str) -> tuple[str, ...]:
    other = controls[name]
    return () if other is None else (other,)


def _lines(
    setting: Setting,
    members: Sequence[str],
    gains: Sequence[Contrast],
    controls: dict[str, str | None],
    S: float,
    stream: int,
    kept: Kept | None,
) -> dict[str, AttributionLine]:
    """The members against the control that they share."""
    shared = {controls[name] for name in members}
    if not members:
        return {}
    (control,) = shared  # one budget at an S, so one name
    assert control is not None
    lines = attribute(
        gains,
        [setting.table.contrast(name, control, S) for name in members],
        setting.table.contrast(control, setting.reference, S),
        dict.fromkeys(members),
        setting.delta,
        alpha=setting.alpha,
        noise_floor=setting.floors.get(S),
        rng=setting.stream(stream, S),
        draws=setting.draws,
        kept=kept,
    )
    return {line.scorer: line for line in lines}


def _against(
    setting: Setting, S: float, kind: Kind, question: Question, features: str, place: int, kept: Kept | None
) -> tuple[list[SearchedBeside], FamilyResult | None, list[str]]:
    """The readings of the paper against another control with the same search, a family of its own; what pays; and remarks."""
    members, _ = _members(setting, kind, S)
    controls: dict[str, str | None] = {}
    remarks: list[str] = []
    for name in members:
        controls[name], said = _control(setting, name, features, S)
        there = features in _present(setting, kind, S)
        remarks += [_sentence(one) for one in said] if there else []
    matched = [name for name in members if controls[name] is not None]
    gains = [setting.table.contrast(name, setting.reference, S) for name in matched]
    lines = _lines(setting, matched, gains, controls, S, BESIDE + place, kept)
    names = setting.table.searches.names
    above, beyond = _pays(setting, list(lines.values()), S, BESIDE_PAYS + place)
    found = [SearchedBeside(names[name], question, line) for name, line in lines.items()]
    if above is not None and beyond is not None:
        found = [
            replace(one, p_pays=_both(one.scorer, above.adjusted), p_pays_delta=_both(one.scorer, beyond.adjusted))
            for one in found
        ]
    return found, beyond, remarks


def _control(setting: Setting, name: str, features: str, S: float) -> tuple[str | None, list[str]]:
    """The control of these features that had the same search; else None and what differs."""
    own = setting.table.searches.names[name]
    there = _present(setting, own.kind, S).get(features, {})
    wanted = str(SearchedName(own.kind, features, own.budget))
    if not there:
        return None, [f"the rows hold no {wanted} at S = {S:g}"]
    if own.budget not in there:
        other = there[max(there)]
        return None, [f"{other} is a control of another budget than {name} at S = {S:g}"]
    apart = _apart(setting, name, wanted, S)
    return (None, [apart]) if apart else (wanted, [])


def _apart(setting: Setting, name: str, control: str, S: float) -> str:
    """How the searches of a scorer and its control differ by their rows; empty where they do not."""
    searches = setting.table.searches
    ours, theirs = searches.cells[name, S], searches.cells[control, S]
    for scorer, cells in ((name, ours), (control, theirs)):
        for seed, cell in sorted(cells.items(), key=_order):
            if cell.budget not in (None, searches.names[scorer].budget):
                return f"{scorer} had a budget of {cell.budget} at seed {seed} and S = {S:g}, by its rows"
    for seed, mine in sorted(ours.items(), key=_order):
        other = theirs.get(seed)
        if other is None:
            continue
        for field, what in (("objective", "for another objective"), ("held_out_n", "on another number of held-out examples")):
            one, two = getattr(mine, field), getattr(other, field)
            if None not in (one, two) and one != two:
                return f"{control} was searched {what} than {name} at seed {seed} and S = {S:g} ({two}, not {one})"
        if mine.held_out_against != other.held_out_against:
            continue
        for field in ("held_out_reference", "held_out_reference_loss"):
            one, two = getattr(mine, field), getattr(other, field)
            if None not in (one, two) and not math.isclose(one, two, rel_tol=1e-6, abs_tol=1e-9):
                return (
                    f"{control} was searched on other held-out examples than {name} at seed {seed} and S = {S:g}, where "
                    "the reference has another result"
                )
    return ""


def _unsaid(setting: Setting, name: str, control: str, S: float) -> bool:
    """Whether the rows leave open on which held-out examples, or for what, one of two searches was made."""
    cells = setting.table.searches.cells
    ours, theirs = cells[name, S], cells[control, S]
    rows = [*ours.values(), *theirs.values()]
    if any(theirs[seed].held_out_against != cell.held_out_against for seed, cell in ours.items() if seed in theirs):
        return True
    return any(cell.held_out_reference is None and cell.held_out_reference_loss is None for cell in rows)


def _order(item: tuple[Seed, SearchCell]) -> tuple[bool, Seed]:
    return isinstance(item[0], str), item[0]


def _points(setting: Setting, S: float) -> list[BudgetPoint]:
    """Every searched scorer at one S, by kind, features and budget."""
    table, searches = setting.table, setting.table.searches
    names = [name for name, at in searches.cells if at == S]
    names.sort(key=lambda name: _rank(searches.names[name]))
    top: dict[tuple[str, str], int] = {}
    for name in names:
        own = searches.names[name]
        top[own.kind, own.features] = max(own.budget, top.get((own.kind, own.features), 0))
    found = []
    for name in names:
        own = searches.names[name]
        gap = _gap(setting, name, S)
        within = None if gap is None else equivalence_test(gap, setting.delta, alpha=setting.alpha)
        gain, p = table.contrast(name, setting.reference, S), None if gap is None else p_above(gap, 0.0)
        largest = top[own.kind, own.features] == own.budget
        of_loss = None if table.metric.name == LOSS else _gap_of_loss(setting, name, S)  # which else is said twice
        found.append(BudgetPoint(own, gain, gap, of_loss, p, None, within, largest, setting.below_noise(S)))
    tested = [point for point in found if point.largest and point.p_gap is not None]
    adjusted = dict(zip((point.scorer for point in tested), holm([point.p_gap for point in tested]), strict=True))
    return [replace(point, p_gap_holm=adjusted.get(point.scorer)) for point in found]


def _rank(name: SearchedName) -> tuple[bool, int, int]:
    return name.kind != "fusion", SETS.index(name.features), name.budget


def _gap(setting: Setting, name: str, S: float) -> Contrast | None:
    """Gain on the held-out examples − gain on the test examples, by seed, better up; None where the rows do not say it."""
    table, metric = setting.table, setting.table.metric
    gain, cells = table.contrast(name, setting.reference, S), table.searches.cells[name, S]
    scale = POINTS if metric.is_accuracy else metric.scale
    values: dict[Seed, float] = {}
    for seed, difference in zip(gain.seeds, gain.differences, strict=True):
        cell = cells.get(seed)
        if _is_beside(cell, setting.reference) and cell.held_out is not None and cell.held_out_reference is not None:
            values[seed] = scale * metric.turned(cell.held_out - cell.held_out_reference) - difference
    return _of_seeds(setting, gain, values)


def _gap_of_loss(setting: Setting, name: str, S: float) -> Contrast | None:
    """The same of the loss, of which less is better; better up."""
    table, searches = setting.table, setting.table.searches
    gain, cells = table.contrast(name, setting.reference, S), searches.cells[name, S]
    own, reference = searches.losses.get((name, S), {}), searches.losses.get((setting.reference, S), {})
    values: dict[Seed, float] = {}
    for seed in gain.seeds:
        cell = cells.get(seed)
        if not _is_beside(cell, setting.reference) or seed not in own or seed not in reference:
            continue
        if cell.held_out_loss is not None and cell.held_out_reference_loss is not None:
            values[seed] = own[seed] - reference[seed] - (cell.held_out_loss - cell.held_out_reference_loss)
    found = _of_seeds(setting, gain, values)
    return found and replace(found, size=max(map(abs, (*own.values(), *reference.values()))))


def _is_beside(cell: SearchCell | None, reference: str) -> TypeGuard[SearchCell]:
    """Whether what a row says of the reference on the held-out examples is said of this one."""
    return cell is not None and cell.held_out_against in (None, reference)


def _of_seeds(setting: Setting, gain: Contrast, values: dict[Seed, float]) -> Contrast | None:
    """These numbers by seed as a contrast under the looks of the run; None without any, and against no single scorer."""
    table = setting.table
    if not values or setting.reference not in table.kappa:
        return None
    found = Contrast(
        gain.name, "the test examples", tuple(values), tuple(values.values()), gain.sparsity, single=gain.single, size=gain.size
    )
    return table.under_looks(found)


def _why_no_gap(setting: Setting) -> str:
    if setting.reference not in setting.table.kappa:
        return f"There is no over-fitting gap: {setting.reference} is no single scorer with a result on the held-out examples."
    cells = (cell for found in setting.table.searches.cells.values() for cell in found.values())
    others = sorted({cell.held_out_against for cell in cells if cell.held_out_against not in (None, setting.reference)} - {None})
    if others:
        return f"Where the over-fitting gap is missing, the rows have {others[0]} held out, and not {setting.reference}."
    return (
        "Where the over-fitting gap is missing the rows do not say what scorer and reference reach on the held-out examples "
        "(columns held_out and held_out_reference)."
    )


def _pools(setting: Setting) -> Iterable[PoolGain]:
    """What scorers gain by the pool of the run over another, a line each by itself."""
    table = setting.table
    for S in table.sparsities:
        for name, (scorer, pool) in sorted(table.searches.other_pools.items()):
            contrast = table.contrast(scorer, name, S)
            if not contrast.n:
                continue
            line = equivalence_test(contrast, setting.delta, alpha=setting.alpha)
            decision = verdict(
                line,
                p_escape_adjusted=p_above(contrast, setting.delta),
                p_degrade_adjusted=p_below(contrast, -setting.delta),
                alpha=setting.alpha,
                noise_floor=setting.floors.get(S),
                in_family=False,
            )
            yield PoolGain(scorer, pool, table.pool, contrast, line, decision)
