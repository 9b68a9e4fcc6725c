"""Two runs against each other: which rows are pairs, and what the pairs show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_analysis.results import ACCURACY, Metric, plural
from sics_cli.base.errors import ConfigError
from sics_cli.experiment.recipe import DENSE, differences
from sics_cli.results.plan_rows import missing_of_looks
from sics_cli.results.source import (
    DEFAULT_REFERENCE,
    comparable,
    flagged,
    listed,
    statistics_in,
    unfinished,
    untouched,
    what_ran,
)
from sics_cli.results.summary import noise_floors, paired_seeds
from sics_cli.store.database import is_sqlite
from sics_cli.store.rows import CellRow
from sics_cli.store.store import Store, find_store

if TYPE_CHECKING:
    from sics_analysis.one_scorer.equivalence import EquivalenceResult
    from sics_analysis.one_scorer.verdict import Decision
    from sics_analysis.rows.arms import Arm
    from sics_analysis.rows.contrasts import Contrast
    from sics_analysis.rows.unpaired import UnpairedContrast

#: A scorer at one S.
Place = tuple[str, float]

# Streams of random numbers, one a test, apart from those of `sics_analysis.analyse`.
_STREAM = 11


@dataclass(frozen=True, slots=True)
class RunRows:
    """The rows of one run, with what they were made by.

    `remarks` is what a reader must know of the run: stamps of its plan, cells that failed or are missing, flags.
    """

    run_id: str
    recipe: dict[str, Any]
    delta: float | None
    alpha: float | None
    rows: tuple[CellRow, ...]
    noise_floor: dict[float, float]
    remarks: tuple[str, ...] = ()
    reference: str = DEFAULT_REFERENCE

    @property
    def metric(self) -> Metric:
        """What was measured."""
        return statistics_in(self.recipe)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of rows (A, B) of one seed, scorer and S on one dense network, what was refused, the larger noise floor by S."""

    pairs: tuple[tuple[CellRow, CellRow], ...]
    refused: tuple[str, ...]
    noise_floor: dict[float, float]
    metric: Metric = ACCURACY


@dataclass(frozen=True, slots=True)
class Gains:
    """What scorers gain over the reference in A against what they gain in B: two samples of seeds for each scorer and S.

    `identical` are scorers with the very mask of the reference at every seed of both, of which there is nothing to test.
    `doubted` are lines of which a check of the data is open: no answer rests on them.
    """

    contrasts: tuple[UnpairedContrast, ...]
    identical: tuple[Place, ...]
    remarks: tuple[str, ...]
    noise_floor: dict[float, float]
    metric: Metric = ACCURACY
    doubted: frozenset[Place] = frozenset()


#: Of a run until decided, whose looks are about its own differences.
LOOKED_AT = "Its number of seeds was decided by looking at it; the tests between two runs are those of a fixed number."


@dataclass(frozen=True, slots=True)
class ComparedLine:
    """A minus B for one scorer at one S, in the metric's unit and better upwards.

    `p_above` and `p_below` are one-sided against 0, adjusted over the scorers of the S (rotation max-T). Of unpaired runs the
    contrast is of the two samples of gains over the reference, and they are Holm's. There `p_apart` is for a difference beyond ±δ
    on either side, by Holm over all lines and both sides, and `doubted` says that a check of the line's data is open.
    """

    contrast: Contrast
    equivalence: EquivalenceResult
    decision: Decision
    p_above: float | None
    p_below: float | None
    p_apart: float | None = None
    doubted: bool = False


def read_rows(path: Path) -> RunRows:
    """Read a run; the store is not changed."""
    if path.is_file() and not is_sqlite(path):
        raise ConfigError(f"{path}: is not a run, and only runs know which dense networks they pruned: give a run's folder")
    with Store.open(find_store(path), read_only=True) as store:
        plans = store.plans()
        delta, alpha = (plans[-1].delta, plans[-1].alpha) if plans else (None, None)
        reference = plans[-1].reference if plans else DEFAULT_REFERENCE
        rows = store.cells()
        recipe = store.meta("recipe")
        scale = statistics_in(recipe).scale
        floors = {sparsity: floor.change for sparsity, floor in noise_floors(rows, store.repeats(), scale).items()}
        failed = sum(row.kind == "cell" for row in store.failures())
        remarks = [f"{stamp}." for stamp in dict.fromkeys(plan.stamp for plan in plans if plan.stamp)]
        remarks += [f"{plural(failed, 'cell')} failed and {'is' if failed == 1 else 'are'} missing here."] if failed else []
        looks = bool(plans) and plans[-1].looks is not None
        remarks += [LOOKED_AT] if looks else []
        remarks += [
            *(missing_of_looks(store, plans[-1], rows) if looks else unfinished(plans, rows)),
            *flagged([row for row in rows if row.scorer != DENSE]),
        ]
        return RunRows(store.meta("run_id"), recipe, delta, alpha, tuple(rows), floors, tuple(remarks), reference)


def pair(a: RunRows, b: RunRows, *, across_devices: bool = False) -> Pairs:
    """Pair the rows of two runs."""
    _refuse_other_examples(a, b)
    refused = []
    for name, run in (("A", a), ("B", b)):
        _, bad = paired_seeds(run.rows)
        if bad:
            refused.append(f"seed {listed(bad)}: rows of {name} met different networks, saliency or calibration batches")
    unusable = {seed for run in (a, b) for seed in paired_seeds(run.rows)[1]}
    in_b = {(row.seed, row.scorer, row.sparsity): row for row in b.rows if row.scorer != DENSE}
    both = [(row, in_b[place]) for row in a.rows if (place := (row.seed, row.scorer, row.sparsity)) in in_b]
    both = [(x, y) for x, y in both if x.seed not in unusable]
    other = sorted({x.seed for x, y in both if x.checkpoint_hash != y.checkpoint_hash})
    if other:
        refused.append(f"seed {listed(other)}: the dense checkpoints differ, so A and B pruned different networks")
    both = [(x, y) for x, y in both if x.checkpoint_hash == y.checkpoint_hash]
    moved = sorted({x.seed for x, y in both if _device(x) != _device(y)})
    if moved and not across_devices:
        refused.append(f"seed {listed(moved)}: evaluated on different devices (--across-devices pairs them)")
        both = [(x, y) for x, y in both if _device(x) == _device(y)]
    for what in ("seed", "scorer", "sparsity"):
        only = sorted({getattr(row, what) for row in a.rows} ^ {getattr(row, what) for row in b.rows})
        if only:
            refused.append(f"{what} {listed(only)}: in one of the runs only")
    refused += _holes(*({(row.scorer, row.sparsity, row.seed) for row in run.rows if row.scorer != DENSE} for run in (a, b)))
    if not both:
        why = "; ".join(refused) or "they share no seed, scorer and sparsity"
        raise ConfigError(f"RUN_A and RUN_B: nothing can be paired: {why} (--unpaired compares gains over {a.reference})")
    floors = {s: max(run.noise_floor[s] for run in (a, b) if s in run.noise_floor) for s in {*a.noise_floor, *b.noise_floor}}
    return Pairs(tuple(both), tuple(refused), floors, a.metric)


def same_networks(a: RunRows, b: RunRows) -> list[int]:
    """Seeds of A whose dense network is in B too."""
    theirs = {row.checkpoint_hash for row in b.rows}
    return sorted({row.seed for row in a.rows if row.checkpoint_hash in theirs})


def _holes(a: set[tuple[str, float, int]], b: set[tuple[str, float, int]]) -> list[str]:
    """Cells (scorer, S, seed) of one run alone, although the other has that scorer, that S and that seed elsewhere."""
    found = []
    for name, own, other in (("A", a, b), ("B", b, a)):
        known: tuple[set[object], ...] = tuple({cell[i] for cell in other} for i in range(3))
        seeds: dict[Place, list[int]] = {}
        for cell in sorted(own - other):
            if all(part in there for part, there in zip(cell, known, strict=True)):
                seeds.setdefault(cell[:2], []).append(cell[2])
        alike: dict[tuple[float, tuple[int, ...]], list[str]] = {}
        for (scorer, sparsity), missing in seeds.items():
            alike.setdefault((sparsity, tuple(missing)), []).append(scorer)
        found += [
            f"{listed(scorers)} at S = {sparsity:g}, seed {listed(missing)}: in {name} only"
            for (sparsity, missing), scorers in alike.items()
        ]
    return found


def gains_of(a: RunRows, b: RunRows, *, across_devices: bool = False) -> Gains:
    """What every scorer gains over the reference in each of two runs that share no dense network.

    Within a run the gain of a seed is a paired difference, as in its report and after the same checks of its rows; the seeds of A
    and of B are two samples.
    """
    from sics_analysis.rows.unpaired import UnpairedContrast

    if (own := a.recipe.get("task", {}).get("name")) != (other := b.recipe.get("task", {}).get("name")):
        raise ConfigError(f"RUN_A and RUN_B: are of different tasks ({own or what_ran(a.recipe)}; {other or what_ran(b.recipe)})")
    if a.metric != b.metric:
        raise ConfigError(f"RUN_A and RUN_B: measure {a.metric.name} and {b.metric.name}, which no difference can be of")
    if a.reference != b.reference:
        raise ConfigError(
            f"RUN_A and RUN_B: their plans compare with {a.reference} and with {b.reference}, so their gains are over different "
            "scorers"
        )
    if apart := differences(_of_what(a.recipe), _of_what(b.recipe)):
        raise ConfigError(f"RUN_A and RUN_B: what they gain is gained on different things ({'; '.join(apart)})")
    if shared := same_networks(a, b):
        raise ConfigError(
            f"--unpaired: both runs have the dense networks of seed {listed(shared)}: those are pairs, leave it out"
        )
    floors = {s: max(run.noise_floor[s] for run in (a, b) if s in run.noise_floor) for s in {*a.noise_floor, *b.noise_floor}}
    sides: list[dict[Place, Contrast]] = []
    remarks: list[str] = []
    doubted: set[Place] = set()
    for name, run in (("A", a), ("B", b)):
        rows, left_out = comparable(run.rows, across_devices=across_devices)
        side = _within(run, rows)
        said, lines = _checked(run, rows, side)
        remarks += [f"{name}: {text}" for text in (*left_out, *said)]
        doubted |= lines
        sides.append(side)
        if not side:
            why = "; ".join(left_out) or f"no scorer beside {run.reference} has a seed with it"
            raise ConfigError(f"RUN_{name}: has no gain to compare: {why.rstrip('.')}")
    contrasts, same = [], []
    for place in sides[0]:
        if place not in sides[1]:
            continue
        one, two = (side[place] for side in sides)
        if one.is_identical and two.is_identical:
            same.append(place)
            continue
        contrasts.append(
            UnpairedContrast(
                place[0], "B", (), (), place[1], noise_floor=floors.get(place[1], 0.0), size=max(one.size, two.size),
                resolution=max(one.resolution, two.resolution), own=one.differences, other=two.differences,
                resolutions=(one.resolution, two.resolution),
            )
        )  # fmt: skip
    remarks += _in_one_only(*sides)
    if not contrasts:
        if same:
            raise ConfigError(f"RUN_A and RUN_B: every scorer of both has the mask of {a.reference}: no gain to compare")
        raise ConfigError("RUN_A and RUN_B: they share no scorer and sparsity, so there is no gain to compare")
    if any(a.recipe.get("data", {}).get(key) != b.recipe.get("data", {}).get(key) for key in ("digest", "split_digest", "test")):
        remarks.append("tested on different examples, which the spread between seeds knows nothing of")
    return Gains(tuple(contrasts), tuple(same), tuple(remarks), floors, a.metric, frozenset(doubted))


def _of_what(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a gain is about: data, the unit that is pruned and the pool it is ranked in."""
    data = {name: str(recipe["data"].get(name))[:16] for name in ("name", "digest")} if "data" in recipe else {}
    return {"data": data, "unit": recipe.get("unit", "weight"), "pool": recipe.get("pool", "global")}


def _checked(run: RunRows, rows: Sequence[CellRow], side: Iterable[Place]) -> tuple[list[str], set[Place]]:
    """What a report's checks of the data say of these rows, and the lines of `side` of which one is open."""
    from sics_analysis.results import Level
    from sics_analysis.rows.checks import copied_checkpoints, seed_list

    given = run.recipe.get("start", {}).get("kind") == "checkpoint"
    checks = (*copied_checkpoints(((row.seed, row.checkpoint_hash) for row in rows), given=given), *untouched(rows))
    said = [f"{check.text}." for check in checks]
    doubted = {*side} if any(check.level is Level.OPEN for check in checks) else set()
    there: dict[Place, set[int]] = {}
    for row in rows:
        if row.scorer != DENSE:
            there.setdefault((row.scorer, row.sparsity), set()).add(row.seed)
    anyones: dict[float, set[int]] = {}
    for (_, sparsity), seeds in there.items():
        anyones.setdefault(sparsity, set()).update(seeds)
    lacking: dict[tuple[tuple[int, ...], tuple[float, ...]], list[str]] = {}
    for scorer in dict.fromkeys(name for name, _ in there):
        at: dict[tuple[int, ...], list[float]] = {}
        for (name, sparsity), seeds in there.items():
            if name == scorer and (missing := anyones[sparsity] - seeds):
                at.setdefault(tuple(sorted(missing)), []).append(sparsity)
                doubted |= {place for place in side if place[1] == sparsity and name in (place[0], run.reference)}
        for gone, levels in at.items():
            lacking.setdefault((gone, tuple(sorted(levels))), []).append(scorer)
    for (gone, places), names in lacking.items():
        where = listed(f"{sparsity:g}" for sparsity in places)
        said.append(
            f"No result of {listed(names)} at S = {where} for seed {seed_list(gone)}: a line there counts the other seeds."
        )
    return said, doubted


def _in_one_only(a: Mapping[Place, Contrast], b: Mapping[Place, Contrast]) -> list[str]:
    """Lines that the other run cannot have: by scorer or by S where it lacks all of these, else by both."""
    found = []
    for name, own, other in (("A", a, b), ("B", b, a)):
        scorers, sparsities = ({place[at] for place in other} for at in (0, 1))
        only = [place for place in own if place not in other]
        named = list(dict.fromkeys(scorer for scorer, _ in only if scorer not in scorers))
        levels = sorted({sparsity for _, sparsity in only if sparsity not in sparsities})
        rest = [f"{scorer} at S = {sparsity:g}" for scorer, sparsity in only if scorer in scorers and sparsity in sparsities]
        said = [f"scorer {listed(named)}"] * bool(named) + [f"sparsity {listed(f'{S:g}' for S in levels)}"] * bool(levels) + rest
        found += [f"In {name} only, and not compared: {listed(said)}."] if said else []
    return found


def _within(run: RunRows, kept: Sequence[CellRow]) -> dict[Place, Contrast]:
    """The paired differences to its reference of every scorer of one run, by scorer and sparsity."""
    from sics_analysis.rows.contrasts import contrast

    rows: dict[Place, dict[int, CellRow]] = {}
    for row in kept:
        if row.scorer != DENSE:
            rows.setdefault((row.scorer, row.sparsity), {})[row.seed] = row
    found = {}
    for (name, sparsity), own in rows.items():
        other = rows.get((run.reference, sparsity), {})
        both = [(row, other[seed]) for seed, row in own.items() if seed in other]
        if name != run.reference and both:
            floor = run.noise_floor.get(sparsity, 0.0)
            found[name, sparsity] = contrast(*_arms(name, both, run.metric), sparsity=sparsity, noise_floor=floor)
    return found


def _refuse_other_examples(a: RunRows, b: RunRows) -> None:
    """Runs pair where they were evaluated alike: on the same examples, or by the same task of the user's own."""
    own = "task" in a.recipe, "task" in b.recipe
    if own[0] != own[1]:
        raise ConfigError(
            f"RUN_A and RUN_B: are of different tasks ({what_ran(a.recipe)}; {what_ran(b.recipe)}), so no row pairs"
        )
    if own[0]:
        if a.recipe["task"] != b.recipe["task"]:
            named = "; ".join(differences({"task": a.recipe["task"]}, {"task": b.recipe["task"]}))
            raise ConfigError(f"RUN_A and RUN_B: are of different tasks ({named}), so no row of one pairs with the other")
        return
    tests = [(run.recipe["data"]["digest"], run.recipe["data"]["split_digest"], run.recipe["data"]["test"]) for run in (a, b)]
    if tests[0] != tests[1]:
        named = "; ".join(differences({"data": a.recipe["data"]}, {"data": b.recipe["data"]}))
        raise ConfigError(f"RUN_A and RUN_B: were tested on different examples ({named}), so no row of one pairs with the other")


def _device(row: CellRow) -> str:
    return str(row.provenance.get("device"))


def compare_pairs(pairs: Pairs, delta: float, alpha: float) -> tuple[ComparedLine, ...]:
    """Test A minus B for every scorer at every S; the scorers of one S are one family."""
    from sics_analysis.rows.contrasts import contrast

    contrasts = []
    for sparsity in sorted({a.sparsity for a, _ in pairs.pairs}):
        here = [(a, b) for a, b in pairs.pairs if a.sparsity == sparsity]
        names = list(dict.fromkeys(a.scorer for a, _ in here))
        floor = pairs.noise_floor.get(sparsity, 0.0)
        contrasts += [contrast(*_arms(name, here, pairs.metric), sparsity=sparsity, noise_floor=floor) for name in names]
    return _judged(contrasts, pairs.noise_floor, delta, alpha)


def compare_gains(gains: Gains, delta: float, alpha: float) -> tuple[ComparedLine, ...]:
    """Test whether what a scorer gains in A is what it gains in B, line by line: equivalence at ±δ, in Welch's form.

    What is said of the two runs as a whole needs a level over all lines: Holm on both one-sided p of each.
    """
    from sics_analysis.families.multiplicity import holm
    from sics_analysis.one_scorer.student import p_above, p_below

    lines = _judged(gains.contrasts, gains.noise_floor, delta, alpha)
    adjusted = holm([p_above(c, delta) for c in gains.contrasts] + [p_below(c, -delta) for c in gains.contrasts])
    places = [(c.name, c.sparsity) for c in gains.contrasts]
    over = dict(zip(places, zip(adjusted[: len(places)], adjusted[len(places) :], strict=True), strict=True))
    found = []
    for line in lines:
        place = (line.contrast.name, line.contrast.sparsity)
        apart = min((p for p in over[place] if p is not None), default=None)
        found.append(replace(line, p_apart=apart, doubted=place in gains.doubted or too_coarse(line.contrast, delta)))
    return tuple(found)


def too_coarse(c: Contrast, delta: float) -> bool:
    """Whether one test example of either run is more than δ, so that no network can show so little."""
    return c.resolution > delta * (1 + 1e-9)


def _judged(contrasts: Sequence[Contrast], floors: Mapping[float, float], delta: float, alpha: float) -> tuple[ComparedLine, ...]:
    """The verdict on each contrast; those of one S are one family."""
    import numpy as np

    from sics_analysis.families.max_t import degrade_test, escape_test, max_t_family
    from sics_analysis.one_scorer.equivalence import equivalence_test
    from sics_analysis.one_scorer.verdict import verdict

    found: list[ComparedLine] = []
    for sparsity in sorted({one.sparsity or 0.0 for one in contrasts}):
        family, floor = [one for one in contrasts if one.sparsity == sparsity], floors.get(sparsity)
        rng = np.random.default_rng([_STREAM, round(sparsity * 10**9)])
        escape = escape_test(family, delta, alpha=alpha, rng=rng)
        degrade = degrade_test(family, delta, alpha=alpha, rng=rng)
        above = max_t_family(family, 0.0, direction="above", alpha=alpha, rng=rng)
        below = max_t_family(family, 0.0, direction="below", alpha=alpha, rng=rng)
        for one in family:
            equivalence = equivalence_test(one, delta, alpha=alpha)
            decision = verdict(
                equivalence,
                p_escape_adjusted=escape.adjusted(one.name),
                p_degrade_adjusted=degrade.adjusted(one.name),
                alpha=alpha,
                noise_floor=floor,
                escape_note=escape.note(one.name),
                degrade_note=degrade.note(one.name),
            )
            p_above, p_below = above.adjusted(one.name), below.adjusted(one.name)
            found.append(ComparedLine(one, equivalence, decision, p_above, p_below))
    return tuple(found)


def _arms(name: str, pairs: Sequence[tuple[CellRow, CellRow]], metric: Metric) -> tuple[Arm, Arm]:
    own = [(a, b) for a, b in pairs if a.scorer == name]
    # Differences of counts are exact, so both arms have them or neither.
    counted = all(row.correct is not None for one in own for row in one)
    return _arm(name, [x for x, _ in own], metric, counted), _arm("B", [y for _, y in own], metric, counted)


def _arm(label: str, rows: Sequence[CellRow], metric: Metric, counted: bool) -> Arm:
    from sics_analysis.rows.arms import Arm

    seeds, masks = [row.seed for row in rows], [row.mask_hash for row in rows]
    if counted:
        return Arm.from_counts(label, seeds, [row.correct for row in rows], [row.n or 0 for row in rows], masks).measured(metric)
    return Arm.from_values(label, seeds, [metric.turned(row.result) for row in rows], metric.scale, masks)
