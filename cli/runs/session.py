"""From options to a grid of cells: everything `replicate` decides before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from sics_cli.base.cards import Card
from sics_cli.base.errors import ConfigError, WorkersLostError
from sics_cli.base.versions import full_version, minor_version
from sics_cli.experiment.cells import Cell, Grid, grid, make_plan, plan_cells
from sics_cli.experiment.provenance import now
from sics_cli.experiment.recipe import TOLD, Environment, Recipe, differences
from sics_cli.experiment.scorers import ScorerInfo, choose, is_described, plugin_digest
from sics_cli.experiment.targets import NO_TARGET, check_targets
from sics_cli.runs.devices import may_have_gpu, usable_gpus
from sics_cli.runs.workers import Workers
from sics_cli.seeds.worker import Description, describe, warm_up
from sics_cli.settings.config import Experiment
from sics_cli.settings.images import ImageConfig
from sics_cli.store.inbox import Inbox
from sics_cli.store.rows import PlanRow
from sics_cli.store.run_folder import STORE_NAME, default_folder
from sics_cli.store.store import Store
from sics_cli.tasks.image_setup import ImageAccess
from sics_cli.tasks.recipe import TaskRecipe
from sics_cli.tasks.sources import Check, settled

T = TypeVar("T")
#: From the option `--device`, and a way to ask torch for the GPUs it sees, to the indices of those to use.
FindGpus = Callable[[str, Callable[[], Sequence[object]]], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Session:
    """What a command will do: its recipe, folder, scorers and cells. Nothing is written yet.

    `cards` are the GPUs in use, where they are this machine's.
    """

    experiment: Experiment
    recipe: Recipe
    folder: Path
    gpus: tuple[int, ...]
    scorers: tuple[ScorerInfo, ...]
    notes: tuple[str, ...]
    cells: tuple[Cell, ...]
    scorer_facts: dict[str, Any]
    cards: tuple[Card, ...] = ()

    @property
    def plan(self) -> PlanRow:
        """What is fixed, as it would be stored now."""
        return make_plan(self.experiment, self.scorers, now())

    @property
    def store_path(self) -> Path:
        """Where the store lies, or will."""
        return self.folder / STORE_NAME

    @property
    def setting(self) -> str:
        """What is pruned, and of which task, in a line."""
        asked = self.experiment
        own = " (peers: their own)" if any(info.signal and not info.tried for info in self.scorers) else ""
        return f"unit {asked.unit}, pool {asked.pool}, saliency {asked.saliency}{own}; {self.recipe.task.summary}"

    def stored(self) -> Grid:
        """The cells, and which of them the run's folder holds; nothing is changed."""
        if not self.store_path.exists():
            return self.state(None)
        with Store.open(self.store_path, read_only=True) as store:
            return self.state(store)

    def state(self, store: Store | None) -> Grid:
        """Lay the store, and what waits in the inbox, over the cells."""
        waiting = Inbox(self.folder, self.recipe.run_id).keys()
        if store is None:
            return grid(self.cells, waiting, ())
        return grid(self.cells, store.keys() | waiting, store.failed_keys())


class Asker:
    """Asks a worker what only torch can tell, and only if somebody wants to know; `started` once one was asked.

    With `warm` the other workers begin to import at the same time what they will need. `check` is what the worker that describes
    the scorers checks beside.
    """

    def __init__(self, experiment: Experiment, workers: Workers, say: Callable[[str], None], *, warm: bool = False) -> None:
        self._warm = warm
        self._experiment = experiment
        self._workers = workers
        self.say = say
        self.started = False
        self._answer: Description | None = None
        self.check: Check | None = None

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Have a worker call a function, starting it the first time."""
        self.started = True
        try:
            return self._workers.executor(()).submit(function, *arguments).result()
        except BrokenProcessPool:
            raise WorkersLostError("a worker died while it started (killed, or out of memory?)") from None

    def __call__(self) -> Description:
        """Facts about the scorers and GPUs."""
        if self._answer is None:
            may_use_gpu = self._experiment.device != "cpu" and may_have_gpu()  # seeds go to other processes then
            for _ in range(self._workers.number(()) - 1 if self._warm and not may_use_gpu else 0):
                self._workers.executor(()).submit(warm_up)
            asked = self._experiment
            self._answer = self.run(describe, asked.scorers or (), asked.saliency, self.check)
        return self._answer

    def gpus(self) -> tuple[Card, ...]:
        """The GPUs torch can use."""
        return self().gpus


def with_task(experiment: Experiment, ask: Asker, given: ImageAccess) -> tuple[Experiment, TaskRecipe]:
    """Settle what the experiment leaves to its task: sizes, weights, the margin of its metric."""
    config, task, ask.check = settled(experiment.task, experiment.unit, given, ask.run, ask.say)
    metric = task.metric
    delta = metric.delta if experiment.delta is None else experiment.delta
    if delta is None:
        raise ConfigError(
            f"--delta: is not given: say how much {metric.name} is no difference, in {metric.unit}, or have the "
            "task say it: Metric(delta=)"
        )
    if metric.in_points and delta >= 100:
        raise ConfigError(f"--delta {delta:g}: is not accepted: give points above 0 and below 100")
    return replace(experiment, task=config, delta=delta), task


def open_session(
    experiment: Experiment, out: Path | None, ask: Asker, task: TaskRecipe | None = None, gpus: FindGpus = usable_gpus
) -> Session:
    """Decide everything; reads an existing store, and asks a worker only for what the store does not tell.

    `experiment` and `task` are what `with_task` gives; `gpus` says which GPUs the option `--device` means. A `ConfigError` says
    that the experiment cannot be run as asked, or `out` holds a run of another recipe.
    """
    there: list[Card] = []

    def seen() -> Sequence[Card]:
        there[:] = ask.gpus()
        return there

    found = gpus(experiment.device, seen)
    cards = tuple(there[index] for index in found) if there else ()
    models = ", ".join(sorted({card.name for card in cards}))
    environment = Environment(
        "cuda" if found else "cpu", minor_version("torch"), full_version("timm").split("+")[0], models or None
    )
    if isinstance(experiment.task, ImageConfig):
        experiment.task.check_device(environment.device_class)
    recipe = Recipe(experiment, environment, task)
    folder = out or default_folder(experiment.name, experiment.saliency, recipe.run_id, experiment.unit)
    told = _kept_facts(folder, recipe)
    own = any(is_described(spec) for spec in experiment.scorers or ())
    current = plugin_digest(full_version("torch"))
    if told is None or told["digest"] != current or own:
        told = {"digest": current, "infos": [asdict(info) for info in ask().scorers]}
    known = [ScorerInfo(**info) for info in told["infos"]]
    scorers, notes = choose(
        known, experiment.scorers, experiment.saliency, experiment.reference, experiment.unit, experiment.pool
    )
    notes += tuple(info.remark for info in scorers if info.remark)
    if (first := next((info for info in scorers if info.searched), None)) and not recipe.task.holds_out:
        raise ConfigError(
            f"--scorers {first.name}: its weights are searched on held-out examples, and the task has none: give it "
            "held_out(self, network, seed), which is as evaluate on examples that evaluate never uses"
        )
    if experiment.until is not None:
        check_targets(experiment, scorers)
        notes += () if experiment.until else (NO_TARGET,)
    return Session(experiment, recipe, folder, found, scorers, notes, plan_cells(recipe, scorers), told, cards)


def _kept_facts(folder: Path, recipe: Recipe) -> dict[str, Any] | None:
    path = folder / STORE_NAME
    if not path.exists():
        return None
    with Store.open(path, read_only=True) as store:
        stored = store.meta("recipe")
        if store.meta("run_id") != recipe.run_id:
            before = {name: value for name, value in (stored or {}).items() if name not in TOLD}
            changes = "; ".join(differences(before, recipe.content))
            raise ConfigError(f"--out {folder}: holds a run of another recipe ({changes}): choose another --out")
        facts: dict[str, Any] | None = store.meta("scorers")
        return facts
