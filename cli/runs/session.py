"""From options to a grid of cells: everything `replicate` decides before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sics_cli.base.errors import ConfigError, WorkersLostError
from sics_cli.base.versions import full_version, minor_version
from sics_cli.experiment.cells import Cell, Grid, grid, plan_cells
from sics_cli.experiment.recipe import Environment, Recipe, differences
from sics_cli.experiment.scorers import ScorerInfo, choose, plugin_digest
from sics_cli.experiment.user_scorers import is_own
from sics_cli.runs.devices import usable_gpus
from sics_cli.runs.workers import Workers
from sics_cli.seeds.worker import Description, describe, fetch_weights, warm_up
from sics_cli.settings.config import Experiment
from sics_cli.store.inbox import Inbox
from sics_cli.store.run_folder import STORE_NAME, default_folder
from sics_cli.store.store import Store
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DataAccess, data_facts, key_name, sized
from sics_cli.tasks.networks.models import fitted
from sics_cli.tasks.networks.start import pretrained_name, pretrained_path, standardised

#: From the option `--device`, and a way to ask torch for the GPUs it sees, to the indices of those to use.
FindGpus = Callable[[str, Callable[[], tuple[str, ...]]], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Session:
    """What a command will do: its recipe, folder, scorers and cells. Nothing is written yet."""

    experiment: Experiment
    recipe: Recipe
    folder: Path
    gpus: tuple[int, ...]
    scorers: tuple[ScorerInfo, ...]
    notes: tuple[str, ...]
    cells: tuple[Cell, ...]
    scorer_facts: dict[str, Any]
    access: DataAccess

    @property
    def store_path(self) -> Path:
        """Where the store lies, or will."""
        return self.folder / STORE_NAME

    def state(self, store: Store | None) -> Grid:
        """Lay the store, and what waits in the inbox, over the cells."""
        waiting = Inbox(self.folder, self.recipe.run_id).keys()
        if store is None:
            return grid(self.cells, waiting, ())
        return grid(self.cells, store.keys() | waiting, store.failed_keys())


class Asker:
    """Asks a worker what only torch can tell, at most once, and only if somebody wants to know.

    With `warm` the other workers begin to import at the same time what they will need. `facts` are those of the images, and
    `access` how to get at them; without `fetch`, nothing is downloaded. With `allow_chance` a network that is given may know
    nothing of the images.
    """

    def __init__(
        self,
        experiment: Experiment,
        workers: Workers,
        say: Callable[[str], None],
        *,
        warm: bool = False,
        facts: ImageFacts | None = None,
        access: DataAccess | None = None,
        fetch: bool = True,
        allow_chance: bool = False,
    ) -> None:
        self._warm = warm
        self._fetch = fetch
        self._images = facts, access, allow_chance
        self._experiment = experiment
        self._workers = workers
        self._say = say
        self._answer: Description | None = None

    def __call__(self) -> Description:
        """Answer, starting a worker the first time."""
        if self._answer is None:
            self._say("starting workers")
            executor = self._workers.executor(())
            asked = self._experiment
            job = executor.submit(describe, asked.scorers or (), asked.saliency, asked, *self._images)
            for _ in range(self._workers.number(()) - 1 if self._warm else 0):
                executor.submit(warm_up)
            try:
                self._answer = job.result()
            except BrokenProcessPool:
                raise WorkersLostError("a worker died while it started (killed, or out of memory?)") from None
        return self._answer

    def fetch(self) -> None:
        """Have a worker fetch timm's weights, unless they are there."""
        path = pretrained_path(self._experiment.model)
        if path.exists():
            return
        if not self._fetch:
            raise ConfigError(f"--pretrained: {path} is not there yet, and a dry run fetches nothing")
        self._say(f"fetching timm's weights of {pretrained_name(self._experiment.model)} into {path.parent}")
        self._workers.executor(()).submit(fetch_weights, self._experiment.model).result()

    def gpus(self) -> tuple[str, ...]:
        """Names of the GPUs torch can use."""
        return self().gpus


def with_data(
    experiment: Experiment, access: DataAccess, say: Callable[[str], None] = lambda line: None
) -> tuple[Experiment, ImageFacts]:
    """Look at the data: their facts, and the experiment with sizes, standardisation and a network that fit them.

    `say` is told what takes a while, and what was left open and is taken.
    """
    facts = data_facts(experiment.data, access, say)
    data = sized(experiment.data, facts)
    if data != experiment.data:
        say(
            f"sizes left open are those of {key_name(data.name)}: {data.train} train, {data.validation} validation, "
            f"{data.test} test"
        )
    return standardised(fitted(replace(experiment, data=data), facts), facts, say), facts


def open_session(
    experiment: Experiment,
    out: Path | None,
    ask: Asker,
    facts: ImageFacts | None = None,
    access: DataAccess | None = None,
    gpus: FindGpus = usable_gpus,
) -> Session:
    """Decide everything; reads an existing store, and asks a worker only for what the store does not tell.

    `experiment` and `facts` are what `with_data` gives; `gpus` says which GPUs the option `--device` means. A `ConfigError` says
    that the experiment cannot be run as asked, or `out` holds a run of another recipe.
    """
    if experiment.pretrained:
        ask.fetch()
    found = gpus(experiment.device, ask.gpus)
    environment = Environment("cuda" if found else "cpu", minor_version("torch"), full_version("timm").split("+")[0])
    recipe = Recipe(experiment, environment, facts)
    folder = out or default_folder(experiment.name, experiment.saliency, recipe.run_id, experiment.unit)
    told = _kept_facts(folder, recipe)
    own = any(is_own(spec) for spec in experiment.scorers or ())
    current = plugin_digest(full_version("torch"))
    if told is None or told["digest"] != current or own:
        told = {"digest": current, "infos": [asdict(info) for info in ask().scorers]}
    known = [ScorerInfo(**info) for info in told["infos"]]
    scorers, notes = choose(
        known, experiment.scorers, experiment.saliency, experiment.reference, experiment.unit, experiment.pool
    )
    notes += tuple(info.remark for info in scorers if info.remark)
    return Session(experiment, recipe, folder, found, scorers, notes, plan_cells(recipe, scorers), told, access or DataAccess())


def _kept_facts(folder: Path, recipe: Recipe) -> dict[str, Any] | None:
    path = folder / STORE_NAME
    if not path.exists():
        return None
    with Store.open(path, read_only=True) as store:
        stored = store.meta("recipe")
        if store.meta("run_id") != recipe.run_id:
            before = {name: value for name, value in (stored or {}).items() if name != "seed_varies"}
            changes = "; ".join(differences(before, recipe.content))
            raise ConfigError(f"--out {folder}: holds a run of another recipe ({changes}): choose another --out")
        facts: dict[str, Any] | None = store.meta("scorers")
        return facts
