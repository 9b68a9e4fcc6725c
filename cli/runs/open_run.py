"""A run that is open: its store, its inbox, the cells still to be had, and what workers are told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sics_analysis.results import plural
from sics_cli.experiment.cells import Cell, by_seed
from sics_cli.experiment.cost import Cost, epochs_kept, signals_of
from sics_cli.experiment.provenance import provenance
from sics_cli.experiment.recipe import DENSE
from sics_cli.runs.schedule import SeedPlan
from sics_cli.runs.session import Session
from sics_cli.seeds.job import SeedJob
from sics_cli.seeds.progress import Reporter, State
from sics_cli.slurm.ledger import Ledger
from sics_cli.store.inbox import Inbox, Intake
from sics_cli.store.rows import CellRow
from sics_cli.store.store import Store
from sics_cli.tasks.task import margin_doubt, shown

#: How often a job in a queue tells of its progress.
_TOLD_SECONDS = 5.0


class OpenRun:
    """One command's hold on one open store, under the run's lock; `queued` where jobs of a queue compute.

    With `force`, rows that are there do not count as known. `todo` are the cells still to be had by key; `take_in` removes what
    has come. `coming` says that jobs of an earlier command are on their way, `look` which look the seeds are run for.
    """

    def __init__(self, session: Session, store: Store, reporter: Reporter, *, force: bool, queued: bool) -> None:
        self.session = session
        self.store = store
        self.reporter = reporter
        self.force = force
        self.inbox = Inbox(session.folder, session.recipe.run_id)
        self.intake = Intake(self.inbox, store, reporter.note, keep=queued)
        self.work = Cost.relative(session.recipe)
        self.todo: dict[str, Cell] = {}
        self.coming = bool(Ledger(session.folder).open())
        self.look = ""
        self.provenance = provenance()
        self._doubted = False

    def take_in(self) -> None:
        """Move what workers finished into the store, and out of `todo`."""
        for key in self.intake.empty():
            cell = self.todo.pop(key, None)
            if cell is not None and cell.scorer is None:
                self._doubt(cell.seed)

    def _doubt(self, seed: int) -> None:
        """Say once, as soon as a dense network was evaluated, if the margin makes no difference possible."""
        asked, metric = self.session.experiment, self.session.recipe.task.metric
        dense = [row.result for row in self.store.cells() if row.seed == seed and row.scorer == DENSE]
        text = None if self._doubted else margin_doubt(metric, asked.margin, dense)
        if text is not None:
            self._doubted = True
            self.reporter.note(f"doubt: {text}")

    def show(self, state: State) -> None:
        """Show how far the run is, or the seeds of its next look."""
        self.reporter.show(replace(state, look=self.look))

    def seed_job(self, seed: int, cells: tuple[Cell, ...], rows: Sequence[CellRow], part: int = 0) -> SeedJob:
        """What a worker is told of these cells of a seed; `rows` are those of the seed that the store holds.

        A row that is computed again, by this job or by one beside it, is not known to either.
        """
        replaced = {(cell.scorer_name, cell.sparsity) for cell in cells if not cell.repeat}
        session = self.session
        return SeedJob(
            folder=session.folder.resolve(),
            experiment=session.experiment,
            environment=session.recipe.environment,
            seed=seed,
            cells=cells,
            known=tuple(row for row in rows if (row.scorer, row.sparsity) not in replaced and row.cell_key not in self.todo),
            share=not self.force,
            provenance=self.provenance,
            run_id=session.recipe.run_id,
            task=session.recipe.task,
            part=part,
            reference=next(info for info in session.scorers if info.name == session.experiment.reference),
        )

    def seed_jobs(self, cells: Sequence[Cell]) -> dict[int, SeedJob]:
        """What jobs of a queue do for each seed; progress is told rarely, since many tell it to one shared folder."""
        rows: dict[int, list[CellRow]] = {}
        for row in self.store.cells():
            rows.setdefault(row.seed, []).append(row)
        jobs = {seed: self.seed_job(seed, mine, rows.get(seed, [])) for seed, mine in by_seed(cells).items()}
        return {seed: replace(job, tell_seconds=_TOLD_SECONDS, keep=True) for seed, job in jobs.items()}

    def seed_plan(self, seed: int, cells: tuple[Cell, ...]) -> SeedPlan:
        """What these cells of a seed need, given the epochs that are kept."""
        work, epochs = self.work, self.session.recipe.task.epochs
        preparation = work.saliency + work.collecting(signals_of(cells))
        return SeedPlan(
            cells, work.training, preparation, work.cell, epochs, self.trained(seed), point=work.point, trial=work.trial
        )

    def trained(self, seed: int) -> int:
        """Epochs of a seed that are kept."""
        return epochs_kept(self.session.recipe, self.session.folder, seed)

    def say_done(self, seed: int, cells: tuple[Cell, ...]) -> None:
        """Tell that these cells of a seed have come."""
        keys = {cell.key for cell in cells}
        failed = len([row for row in self.store.failures() if row.cell_key in keys])
        dense = [row for row in self.store.cells() if row.seed == seed and row.scorer == DENSE]
        accuracy = f"dense {shown(dense[0].result, self.session.recipe.task.metric)}, " if dense else ""
        failures = f", {failed} failed" if failed else ""
        self.reporter.note(f"seed {seed} done: {accuracy}{plural(len(keys) - failed, 'cell')}{failures}")
