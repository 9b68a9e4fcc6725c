"""Which worker does what next: whole seeds one after another, and parts of seeds where a core would otherwise idle.

Five seeds on two workers, whole, take as long as six. So near the end of a run training is handed out in parts of some
epochs, longest remaining seed first, and the cells of the last seed are shared out. A seed's numbers do not depend on it.

Where seeds are trained in stacks, one worker trains as many as have a place, to the end: parts would take as long each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sics_cli.experiment.cells import Cell
from sics_cli.experiment.cost import points_of, trials_of
from sics_cli.tasks.recipe import place_of

#: Parts into which a seed's training is cut near the end of a run.
TRAINING_PARTS = 5


@dataclass(frozen=True, slots=True)
class SeedPart:
    """Part of a seed: training until an epoch (`cells` empty), or cells to compute from its checkpoint."""

    seed: int
    part: int
    until: int
    cells: tuple[Cell, ...]
    work: float


@dataclass(slots=True)
class SeedPlan:
    """What a seed needs: training (none if its checkpoint is there), its cells with their searches and trials; work in passes."""

    cells: tuple[Cell, ...]
    training: float
    preparation: float
    cell: float
    epochs: int
    trained: int = 0
    training_now: bool = False
    running: int = 0
    parts: int = 0
    failed: bool = field(default=False)
    point: float = 0.0
    trial: float = 0.0

    def work_of(self, cells: tuple[Cell, ...]) -> float:
        """What these cells of the seed take."""
        return self.preparation + self.cell * len(cells) + self.point * points_of(cells) + self.trial * trials_of(cells)

    @property
    def needs_training(self) -> bool:
        """Whether epochs are left."""
        return self.trained < self.epochs and not self.failed

    @property
    def remaining(self) -> float:
        """Work that is not done or handed out; epochs being trained count as left until they are done."""
        left = self.training * (self.epochs - self.trained) / self.epochs if self.needs_training else 0.0
        return left + (self.work_of(self.cells) if self.cells else 0.0)

    @property
    def finished(self) -> bool:
        """Whether nothing is left or running."""
        return self.running == 0 and not self.cells


class Schedule:
    """Hands out tasks of seeds, which come in the order they are wanted; stacks have `width` places."""

    def __init__(self, seeds: Mapping[int, SeedPlan], workers: int, width: int = 1) -> None:
        self._seeds = dict(seeds)
        self._workers = workers
        self._width = width

    def next(self) -> SeedPart | None:
        """What an idle worker should do now; None if there is nothing before another task ends."""
        waiting = {seed: plan for seed, plan in self._seeds.items() if plan.cells and not plan.training_now}
        if not waiting:
            return None
        unfinished = sum(not plan.finished for plan in self._seeds.values())
        uneven = 1 < self._workers < unfinished < 2 * self._workers
        seed = max(waiting, key=lambda name: waiting[name].remaining) if uneven else next(iter(waiting))
        plan = waiting[seed]
        if plan.needs_training:
            return self._training(seed, plan, uneven and self._width == 1)
        return self._cells(seed, plan, alone=len(waiting) == 1)

    def beside(self, task: SeedPart) -> tuple[SeedPart, ...]:
        """The trainings of other seeds that go in one stack with this one, and so to the same worker."""
        if task.cells or self._width == 1:
            return ()
        taken, found = {place_of(task.seed, self._width)}, []
        for seed, plan in self._seeds.items():
            place = place_of(seed, self._width)
            if plan.cells and plan.needs_training and not plan.training_now and place not in taken:
                taken.add(place)
                found.append(self._training(seed, plan, uneven=False))
        return tuple(found)

    def _training(self, seed: int, plan: SeedPlan, uneven: bool) -> SeedPart:
        step = -(-plan.epochs // TRAINING_PARTS) if uneven else plan.epochs
        until = min(plan.trained + step, plan.epochs)
        plan.training_now = True
        return self._task(seed, plan, until, (), plan.training * (until - plan.trained) / plan.epochs)

    def _cells(self, seed: int, plan: SeedPlan, alone: bool) -> SeedPart:
        """All cells of the seed, or, if it is the last one, as many sparsities as are one idle worker's share."""
        idle = self._workers - sum(other.running for other in self._seeds.values())
        sparsities = list(dict.fromkeys(cell.sparsity for cell in plan.cells))
        share = -(-len(sparsities) // max(1, idle)) if alone else len(sparsities)
        chosen = set(sparsities[:share])
        cells = tuple(cell for cell in plan.cells if cell.sparsity in chosen)
        plan.cells = tuple(cell for cell in plan.cells if cell.sparsity not in chosen)
        return self._task(seed, plan, plan.epochs, cells, plan.work_of(cells))

    def _task(self, seed: int, plan: SeedPlan, until: int, cells: tuple[Cell, ...], work: float) -> SeedPart:
        plan.running += 1
        plan.parts += 1
        return SeedPart(seed, plan.parts, until, cells, work)

    def done(self, task: SeedPart, *, failed: bool = False) -> bool:
        """Take note that a task ended; `failed` training takes the seed's cells with it. True if the seed is finished."""
        plan = self._seeds[task.seed]
        plan.running -= 1
        if not task.cells:
            plan.training_now, plan.trained = False, task.until
        if failed:
            plan.failed, plan.cells = True, ()
        return plan.finished
