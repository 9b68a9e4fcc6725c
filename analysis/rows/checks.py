"""What to know of the rows before any verdict: who lacks which seeds, copies, what the test set cannot resolve, rounding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from sics_analysis.results import DataCheck, Level, Seed, plural
from sics_analysis.rows.arms import Arm
from sics_analysis.rows.contrasts import MANY_SEEDS, MIN_SEEDS, RELATIVE_TOLERANCE, FloatArray
from sics_analysis.rows.reading.cells import text_of
from sics_analysis.rows.reading.sparsities import ONE_POOL
from sics_analysis.rows.table import Table

_CELLS = 4  # of two seeds that agree to the last digit: fewer may do so by chance
_SHOWN = 6
_ALIKE = 2e-4  # accuracies of one network evaluated again, as fractions: seeds lie further apart in one cell of several
_CHECKPOINT = "checkpoint_hash"


def data_checks(table: Table, reference: str, delta: float) -> tuple[DataCheck, ...]:
    """Every check of the rows of a table; open ones first, each in the order it is listed here."""
    found = [
        *_missing(table, reference),
        *(_copied(table) or _nearly_copied(table)),
        *_one_seed(table),
        *_resolution(table, delta),
        *_two_values(table, reference),
        *_noise(table, reference),
    ]
    return in_order(found)


def in_order(checks: Iterable[DataCheck]) -> tuple[DataCheck, ...]:
    """Open checks first, each said once."""
    return tuple(sorted(dict.fromkeys(checks), key=lambda check: check.level is not Level.OPEN))


def copied_checkpoints(places: Iterable[tuple[Seed, str | None]], *, given: bool = False) -> tuple[DataCheck, ...]:
    """Seeds whose dense networks are one by hash; `given` says that it was meant so.

    >>> copied_checkpoints([(0, "aa"), (1, "aa"), (2, "bb")])[0].text
    'seeds 0 and 1 have one dense network by hash: copies of a network are no seeds'
    """
    by_hash: dict[str, set[Seed]] = {}
    for seed, checkpoint in places:
        if checkpoint:
            by_hash.setdefault(str(checkpoint), set()).add(seed)
    found = []
    for seeds in by_hash.values():
        if len(seeds) > 1:
            what = (
                "one given network at every seed, as asked: nothing here is about others"
                if given
                else "copies of a network are no seeds"
            )
            text = f"seeds {seed_list(seeds)} have one dense network by hash: {what}"
            found.append(DataCheck("copied", Level.NOTED if given else Level.OPEN, text))
    return tuple(found)


def checkpoint_checks(raw: pd.DataFrame, rows: pd.DataFrame) -> tuple[DataCheck, ...]:
    """The same of a table whose own column has the hashes; `rows` have the index of `raw`. Nobody says that copies were meant."""
    if _CHECKPOINT not in raw.columns:
        return ()
    hashes = text_of(raw[_CHECKPOINT]).reindex(rows.index)
    return copied_checkpoints(zip(rows["seed"], hashes, strict=True))


def seed_list(seeds: Iterable[Seed]) -> str:
    """Seeds in a sentence, in their order; many are counted."""
    names = [str(seed) for seed in sorted(set(seeds), key=lambda seed: (isinstance(seed, str), seed))]
    if len(names) > _SHOWN + 1:
        return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _at(sparsities: Sequence[float]) -> str:
    return "" if tuple(sparsities) == (ONE_POOL,) else f" at S = {', '.join(f'{S:g}' for S in sparsities)}"


def _sides(table: Table, name: str, reference: str, S: float) -> tuple[Arm, Arm]:
    """A scorer's arm and that of what it is compared with, none of its seeds left out for another's sake."""
    if not table.pools(reference):
        return table.arm(name, S), table.arm(reference, S)
    pooled = [table.arm(other, S) for other in table.pooled(name)]
    seeds = tuple(dict.fromkeys(seed for arm in pooled for seed in arm.seeds))
    return table.arm(name, S), Arm(reference, seeds, (0.0,) * len(seeds))


def _missing(table: Table, reference: str) -> list[DataCheck]:
    if not table.metric.paired:
        return []
    lacking: dict[tuple[str, tuple[Seed, ...]], list[float]] = {}
    foreign: dict[str, list[float]] = {}
    absent: dict[str, list[float]] = {}
    touched: dict[tuple[str, tuple[Seed, ...]], list[str]] = {}
    for S in table.sparsities:
        for name in table.scorers:
            if name == reference:
                continue
            own, other = _sides(table, name, reference, S)
            if not own.seeds or not other.seeds:
                absent.setdefault(name if not own.seeds else reference, []).append(S)
                continue
            common = set(own.seeds) & set(other.seeds)
            if not common:
                foreign.setdefault(name, []).append(S)
                continue
            for who, missing in ((name, set(other.seeds) - common), (reference, set(own.seeds) - common)):
                if missing:
                    key = (who, tuple(sorted(missing, key=lambda seed: (isinstance(seed, str), seed))))
                    lacking.setdefault(key, []).append(S)
                    touched.setdefault(key, []).append(name)
    nobody: dict[tuple[Seed, ...], list[float]] = {}
    for S in table.sparsities:
        there = {seed for (_, at), arm in table.arms.items() if at == S for seed in arm.seeds}
        gone = tuple(seed for seed in table.seeds if seed not in there)
        if len(there) > 1 and gone:  # one seed alone has a line of its own
            nobody.setdefault(gone, []).append(S)
    found = []
    alike: dict[tuple[str, tuple[Seed, ...], tuple[float, ...]], list[str]] = {}
    for (who, seeds), at in lacking.items():
        one = "" if who in table.searches.names else who  # a search that failed is missing with all its budgets
        alike.setdefault((one, seeds, tuple(sorted(set(at)))), []).append(who)
    for (_, seeds, places), names in alike.items():
        who = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        text = (
            f"{who} {'has' if len(names) == 1 else 'have'} no result for seed{'s' if len(seeds) > 1 else ''} "
            f"{seed_list(seeds)}{_at(places)}: a line counts the others, as if chance had chosen them"
        )
        lines = tuple(dict.fromkeys(line for name in names for line in touched[name, seeds]))
        found.append(DataCheck("missing", Level.OPEN, text, lines, places))
    for name, at in foreign.items():
        places = tuple(dict.fromkeys(at))
        text = f"{name} and {reference} share no seed{_at(places)}: --unpaired compares them as independent samples (Welch's t)"
        found.append(DataCheck("unpaired", Level.OPEN, text, (name,), places))
    for seeds, at in nobody.items():
        text = f"nobody has a result for seed {seed_list(seeds)}{_at(at)}, which other sparsities have"
        found.append(DataCheck("missing", Level.NOTED, text, (), tuple(at)))
    for name, at in absent.items():
        places = tuple(dict.fromkeys(at))
        found.append(DataCheck("missing", Level.NOTED, f"{name} has no result{_at(places)}", (name,), places))
    return found


def _copied(table: Table) -> list[DataCheck]:
    """Seeds whose values agree everywhere but for rounding: one network, evaluated or written down several times."""
    values = np.full((len(table.seeds), len(table.arms)), np.nan)
    row_of = {seed: i for i, seed in enumerate(table.seeds)}
    for j, (_, arm) in enumerate(sorted(table.arms.items())):
        values[slice(None) if arm.seeds == table.seeds else [row_of[seed] for seed in arm.seeds], j] = arm.accuracy
    known = ~np.isnan(values)
    alike: dict[bytes, list[int]] = {}  # seeds with results in the same cells
    for i, there in enumerate(known):
        alike.setdefault(there.tobytes(), []).append(i)
    groups: list[tuple[int, list[Seed]]] = []
    differ = True
    for own in alike.values():
        cells = values[own][:, known[own[0]]]
        for same in _equal(cells) if cells.size else []:
            groups.append((cells.shape[1], [table.seeds[own[i]] for i in same]))
            differ &= len({*cells[same[0]].tolist()}) > 1  # scorers of one mask are one cell
    # Two seeds of few cells may agree by chance, half of all seeds may not; many seeds of few cells must.
    doubled = differ and sum(len(seeds) for _, seeds in groups) * 2 >= len(table.seeds) and len(groups) > 1
    found = []
    for count, seeds in groups:
        few = len(table.seeds) <= MANY_SEEDS
        if count >= _CELLS or (few and count > 1 and doubled) or (few and len(seeds) > 2):
            text = (
                f"seeds {seed_list(seeds)} have equal values in all of their {plural(count, 'cell')}: copies of one "
                f"network are no seeds"
            )
            found.append(DataCheck("copied", Level.OPEN, text))
    return found


def _nearly_copied(table: Table) -> list[DataCheck]:
    """Seeds that lie as near to each other everywhere as evaluations of one network do, where copies are not equal."""
    if not table.metric.is_accuracy or len(table.seeds) < MIN_SEEDS:
        return []
    spreads = [max(arm.accuracy) - min(arm.accuracy) for arm in table.arms.values() if len(arm.seeds) == len(table.seeds)]
    if len(spreads) < _CELLS or max(spreads) > _ALIKE:
        return []
    text = (
        f"all seeds lie within {table.metric.scale * max(spreads):.1g} {table.metric.short} of each other in each of "
        f"{plural(len(spreads), 'cell')}, as evaluations of one network do: copies of a network are no seeds"
    )
    return [DataCheck("copied", Level.NOTED, text)]


def _equal(values: FloatArray) -> list[list[int]]:
    """Groups of two and more rows whose values are one to within rounding."""
    close = RELATIVE_TOLERANCE * np.abs(values).max(axis=0)
    # Copies are neighbours in an order that does not see the last digits.
    order = np.lexsort(np.round(values / np.where(close > 0, 1e3 * close, 1.0)).T)
    joined = (np.abs(np.diff(values[order], axis=0)) <= close).all(axis=1)
    groups = [[int(order[0])]]
    for at, same in zip(order[1:], joined, strict=True):
        if not same:
            groups.append([])
        groups[-1].append(int(at))
    return [group for group in groups if len(group) > 1]


def _one_seed(table: Table) -> list[DataCheck]:
    most = {S: max(len(arm.seeds) for (_, at), arm in table.arms.items() if at == S) for S in table.sparsities}
    single = tuple(S for S, count in most.items() if count == 1)
    if not single or len(single) == len(most):
        return []
    shown = single if len(single) <= _SHOWN else single[:_SHOWN]
    more = f" and {len(single) - _SHOWN} more" if len(single) > _SHOWN else ""
    text = (
        f"one seed alone{_at(shown)}{more}: nothing is concluded there; achieved sparsities further apart "
        f"than .001 are not grouped"
    )
    return [DataCheck("one seed", Level.NOTED, text, (), single)]


def _resolution(table: Table, delta: float) -> list[DataCheck]:
    """A margin below one test example, where the rows say how many there are."""
    coarse: dict[int, set[float]] = {}
    for (_, S), arm in table.arms.items():
        if arm.total and arm.pooled == 1:
            n = min(arm.total)
            if table.metric.scale / n > delta * (1 + 1e-9):
                coarse.setdefault(n, set()).add(S)
    return [
        DataCheck(
            "resolution",
            Level.OPEN,
            f"one of {n} test examples is {table.metric.scale / n:.2g} {table.metric.short}, more than δ = {delta:g}: no "
            f"network can show so little",
            (),
            tuple(sorted(places)),
        )
        for n, places in sorted(coarse.items())
    ]


def _two_values(table: Table, reference: str) -> list[DataCheck]:
    """Lines of two values where nobody says how many test examples there are: whether a t fits them is unknown."""
    if not table.metric.paired or not table.metric.is_accuracy:
        return []
    found: dict[str, list[float]] = {}
    for S in table.sparsities:
        for name in table.scorers:
            c = table.contrast(name, reference, S) if name != reference else None
            if c is not None and not c.resolution and c.takes_two_values:
                found.setdefault(name, []).append(S)
    if not found:
        return []
    names = [f"{name}{_at(at)}" for name, at in found.items()]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    text = (
        f"differences of two values alone ({'; '.join(names[:_SHOWN])}{more}) are tested by t: with columns correct and n, "
        "those one test example apart would be tested exactly"
    )
    places = tuple(sorted({S for at in found.values() for S in at}))
    return [DataCheck("two values", Level.NOTED, text, tuple(found), places)]


def _noise(table: Table, reference: str) -> list[DataCheck]:
    """Differences that are rounding: they count as none, and who reads the rows elsewhere may count them."""
    if not table.metric.paired:
        return []
    small: list[float] = []
    for S in table.sparsities:
        for name in table.scorers:
            if name == reference:
                continue
            contrast = table.contrast(name, reference, S)
            if not contrast.exact:
                apart = np.abs(contrast.values)
                small += apart[(apart > 0) & (apart <= contrast.tolerance)].tolist()
    if not small:
        return []
    many = "1 difference is" if len(small) == 1 else f"{len(small)} differences are"
    return [DataCheck("noise", Level.NOTED, f"{many} rounding (at most {max(small):.1e}) and count as none")]
