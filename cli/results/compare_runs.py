"""Two runs against each other: which rows are pairs, and what the pairs show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_analysis.results import ACCURACY, Metric
from sics_cli.base.errors import ConfigError
from sics_cli.experiment.recipe import DENSE, differences
from sics_cli.results.plan_rows import missing_of_looks
from sics_cli.results.source import flagged, listed, statistics_in, unfinished, what_ran
from sics_cli.results.summary import noise_floors, paired_seeds
from sics_cli.store.database import is_sqlite
from sics_cli.store.rows import CellRow
from sics_cli.store.store import Store, find_store

if TYPE_CHECKING:
    from sics_analysis.one_scorer.equivalence import EquivalenceResult
    from sics_analysis.one_scorer.verdict import Decision
    from sics_analysis.rows.arms import Arm
    from sics_analysis.rows.contrasts import Contrast

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


#: Of a run until decided, whose looks are about its own differences.
LOOKED_AT = "Its number of seeds was decided by looking at it; the tests between two runs are those of a fixed number."


@dataclass(frozen=True, slots=True)
class ComparedLine:
    """A minus B for one scorer at one S, in the metric's unit and better upwards.

    `p_above` and `p_below` are one-sided against 0, adjusted over the scorers of the S (rotation max-T).
    """

    contrast: Contrast
    equivalence: EquivalenceResult
    decision: Decision
    p_above: float | None
    p_below: float | None


def read_rows(path: Path) -> RunRows:
    """Read a run; the store is not changed."""
    if path.is_file() and not is_sqlite(path):
        raise ConfigError(f"{path}: is not a run, and only runs know which dense networks they pruned: give a run's folder")
    with Store.open(find_store(path), read_only=True) as store:
        plans = store.plans()
        delta, alpha = (plans[-1].delta, plans[-1].alpha) if plans else (None, None)
        rows = store.cells()
        recipe = store.meta("recipe")
        scale = statistics_in(recipe).scale
        floors = {sparsity: floor.change for sparsity, floor in noise_floors(rows, store.repeats(), scale).items()}
        failed = sum(row.kind == "cell" for row in store.failures())
        remarks = [f"{stamp}." for stamp in dict.fromkeys(plan.stamp for plan in plans if plan.stamp)]
        remarks += [f"{failed} cells failed and are missing here."] if failed else []
        looks = bool(plans) and plans[-1].looks is not None
        remarks += [LOOKED_AT] if looks else []
        remarks += [
            *(missing_of_looks(store, plans[-1], rows) if looks else unfinished(plans, rows)),
            *flagged([row for row in rows if row.scorer != DENSE]),
        ]
        return RunRows(store.meta("run_id"), recipe, delta, alpha, tuple(rows), floors, tuple(remarks))


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
    if not both:
        why = "; ".join(refused) or "they share no seed, scorer and sparsity"
        raise ConfigError(f"RUN_A and RUN_B: nothing can be paired: {why}")
    floors = {s: max(run.noise_floor[s] for run in (a, b) if s in run.noise_floor) for s in {*a.noise_floor, *b.noise_floor}}
    return Pairs(tuple(both), tuple(refused), floors, a.metric)


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
    import numpy as np

    from sics_analysis.families.max_t import degrade_test, escape_test, max_t_family
    from sics_analysis.one_scorer.equivalence import equivalence_test
    from sics_analysis.one_scorer.verdict import verdict
    from sics_analysis.rows.contrasts import contrast

    found: list[ComparedLine] = []
    for sparsity in sorted({a.sparsity for a, _ in pairs.pairs}):
        here = [(a, b) for a, b in pairs.pairs if a.sparsity == sparsity]
        names = list(dict.fromkeys(a.scorer for a, _ in here))
        floor = pairs.noise_floor.get(sparsity)
        contrasts = [contrast(*_arms(name, here, pairs.metric), sparsity=sparsity, noise_floor=floor or 0.0) for name in names]
        rng = np.random.default_rng([_STREAM, round(sparsity * 10**9)])
        escape = escape_test(contrasts, delta, alpha=alpha, rng=rng)
        degrade = degrade_test(contrasts, delta, alpha=alpha, rng=rng)
        above = max_t_family(contrasts, 0.0, direction="above", alpha=alpha, rng=rng)
        below = max_t_family(contrasts, 0.0, direction="below", alpha=alpha, rng=rng)
        for one in contrasts:
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
