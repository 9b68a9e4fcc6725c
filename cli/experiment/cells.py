"""Which cells a command asks for, which are there already, and what is fixed before the first is computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

from sics_analysis.results import plural
from sics_cli.base.hashing import digest
from sics_cli.experiment.look_plan import looks_content
from sics_cli.experiment.recipe import DENSE, Recipe
from sics_cli.experiment.scorers import ScorerInfo
from sics_cli.settings.config import Experiment
from sics_cli.store.rows import CellRow, PlanRow

#: The scorer whose masks are evaluated twice to measure the noise floor; the reference where it does not run.
REPEATED_SCORER = "magnitude"
#: What `plan_hash` covers; the time it was fixed is stored beside it.
PLANNED = ("delta", "alpha", "reference", "families", "seeds", "scorers", "sparsities")
EXTENDED = "seeds extended after data"
CHANGED = "plan changed after data"


@dataclass(frozen=True, slots=True)
class Cell:
    """One number to be had: (seed, scorer, sparsity), the dense row (scorer None, sparsity 0), or a repeat.

    `trials` masks are tried for it on the calibration batches, by these `signals`.
    """

    key: str
    seed: int
    scorer: ScorerInfo | None
    sparsity: float
    repeat: bool = False
    trials: int = 0
    signals: tuple[str, ...] = ()

    @property
    def scorer_name(self) -> str:
        """Name in the store's column `scorer`."""
        return DENSE if self.scorer is None else self.scorer.name


@dataclass(frozen=True, slots=True)
class Grid:
    """Everything a command asks for, and its state: each key is in `cached`, in `failed`, or still to run."""

    cells: tuple[Cell, ...]
    cached: frozenset[str]
    failed: frozenset[str]

    @property
    def counts(self) -> str:
        """How many there are, are there, and are to compute."""
        missing, failed = len(self.missing()), len(self.failed)
        words = f"{plural(len(self.cells), 'cell')}, {len(self.cached)} there, {missing} to compute"
        return words + (f", {failed} failed before (--retry-failed tries them again)" if failed else "")

    def missing(self, *, force: bool = False, retry_failed: bool = False) -> list[Cell]:
        """Cells to run now, in canonical order: all with `force`, failed ones only with `retry_failed`."""
        if force:
            return list(self.cells)
        skipped = self.cached if retry_failed else self.cached | self.failed
        return [cell for cell in self.cells if cell.key not in skipped]

    def mark(self, cell: Cell) -> str:
        """Give "#" for a cached cell, "x" for a failed one, "." for one to run."""
        return "#" if cell.key in self.cached else "x" if cell.key in self.failed else "."


def plan_cells(recipe: Recipe, scorers: Sequence[ScorerInfo]) -> tuple[Cell, ...]:
    """All cells of an experiment: by seed the dense row, then by sparsity each scorer, then the repeats.

    The order matters: of scorers with one mask, the first evaluates it and the others share.
    """
    cells: list[Cell] = []
    names = {info.name for info in scorers}
    chosen = REPEATED_SCORER if REPEATED_SCORER in names else recipe.experiment.reference
    repeated = [info for info in scorers if info.name == chosen]
    unit = recipe.experiment.unit
    tried = {info.name: {"trials": found.masks(unit), "signals": found.kinds(unit)} for info in scorers if (found := info.tried)}

    def cell(key: str, seed: int, info: ScorerInfo, sparsity: float, *, repeat: bool = False) -> Cell:
        return Cell(key, seed, info, sparsity, repeat, **tried.get(info.name, {}))  # type: ignore[arg-type]

    for seed in recipe.experiment.seeds:
        cells.append(Cell(recipe.dense_cell_key(seed), seed, None, 0.0))
        for sparsity in recipe.experiment.sparsities:
            cells += [cell(recipe.cell_key(seed, info, sparsity), seed, info, sparsity) for info in scorers]
        for sparsity in recipe.experiment.sparsities:
            cells += [cell(recipe.repeat_key(seed, info, sparsity), seed, info, sparsity, repeat=True) for info in repeated]
    return tuple(cells)


def grid(cells: tuple[Cell, ...], present: Set[str], failed: Iterable[str]) -> Grid:
    """Lay the store's keys over the cells asked for; keys of other cells are ignored."""
    asked = {cell.key for cell in cells}
    return Grid(cells, frozenset(asked & present), frozenset(asked & set(failed) - present))


def complex_names(scorers: Sequence[ScorerInfo]) -> list[str]:
    """Those of κ ≥ 1 that are tested together: in the run's pool, since another has another plateau."""
    return [info.name for info in scorers if info.kappa is not None and info.kappa >= 1 and info.own_pool is None]


def families(scorers: Sequence[ScorerInfo]) -> dict[str, list[str]]:
    """Families of tests: κ = 0 (the plateau), κ ≥ 1 (escape), and those tested in lines of their own."""
    return {
        "plateau": [info.name for info in scorers if info.kappa == 0],
        "escape": complex_names(scorers),
        "single": [info.name for info in scorers if info.kappa is None or (info.kappa and info.own_pool)],
    }


def make_plan(experiment: Experiment, scorers: Sequence[ScorerInfo], created: str) -> PlanRow:
    """What is fixed now: δ, α, reference, families, seeds, scorers, sparsities, looks, and their hash."""
    names, together = [info.name for info in scorers], families(scorers)
    plan = PlanRow(
        plan_hash="",
        created=created,
        delta=experiment.margin,
        alpha=experiment.alpha,
        reference=experiment.reference,
        families=together,
        seeds=list(experiment.seeds),
        scorers=names,
        sparsities=list(experiment.sparsities),
        looks=None if experiment.until is None else looks_content(experiment, len(together["escape"])),
    )
    # A fixed number of seeds is hashed as before there were looks.
    looks = {} if plan.looks is None else {"looks": plan.looks}
    return replace(plan, plan_hash=digest({name: getattr(plan, name) for name in PLANNED} | looks))


def stamp(earlier: Sequence[PlanRow], plan: PlanRow, cells_before: int) -> str:
    """What to say of a plan fixed when the store held `cells_before` rows of its seeds and these earlier plans of any of them.

    A plan with looks may be repeated whatever came in between: what it does at each look was fixed by it.

    >>> one = PlanRow("a", "", 0.5, 0.05, "magnitude", {}, [0, 1], ["magnitude"], [0.5])
    >>> two = PlanRow("b", "", 0.5, 0.05, "magnitude", {}, [0, 1, 2], ["magnitude"], [0.5])
    >>> stamp([], one, 0), stamp([one], two, 9), stamp([two], one, 9)
    ('', 'seeds extended after data', 'plan changed after data')
    """
    if not earlier or cells_before == 0:
        return ""
    if plan.looks is not None:
        return next((one.stamp for one in reversed(earlier) if one.plan_hash == plan.plan_hash), CHANGED)
    last = earlier[-1]
    same = all(getattr(last, name) == getattr(plan, name) for name in (*PLANNED, "looks") if name != "seeds")
    return EXTENDED if same and set(last.seeds) < set(plan.seeds) else CHANGED


def concerned(plan: PlanRow, plans: Sequence[PlanRow], rows: Sequence[CellRow]) -> tuple[list[PlanRow], int]:
    """The earlier plans, and how many rows, that a new plan has to do with: with looks, those of its own seeds alone."""
    if plan.looks is None:
        return list(plans), len(rows)
    seeds = set(plan.seeds)
    return [one for one in plans if seeds & set(one.seeds)], sum(row.seed in seeds for row in rows)


def by_seed(cells: Sequence[Cell]) -> dict[int, tuple[Cell, ...]]:
    """Cells of each seed, in the order of the first."""
    found: dict[int, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.seed, []).append(cell)
    return {seed: tuple(mine) for seed, mine in found.items()}
