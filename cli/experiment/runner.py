"""The driver: hands seeds to workers, takes what they finish into the store, and survives what can be survived."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace

from sics_cli.experiment.atomic import remove_partials
from sics_cli.experiment.campaign import Campaign, Desk, check_no_jobs
from sics_cli.experiment.errors import InterruptedRunError, StorageError, StoreError, WorkersLostError
from sics_cli.experiment.executors import PoolExecutor, Workers, lost
from sics_cli.experiment.inbox import Inbox
from sics_cli.experiment.intake import Intake
from sics_cli.experiment.jobplan import by_seed, epochs_kept, session_parts
from sics_cli.experiment.keys import DENSE
from sics_cli.experiment.layout import CHECKPOINTS_NAME, CURVES_NAME
from sics_cli.experiment.ledger import Ledger
from sics_cli.experiment.lock import run_lock
from sics_cli.experiment.planning import Cell, make_plan, stamp
from sics_cli.experiment.progress import Reporter, Tracker
from sics_cli.experiment.provenance import now, provenance
from sics_cli.experiment.rows import CellRow
from sics_cli.experiment.schedule import Schedule, SeedPlan, Task
from sics_cli.experiment.session import Session, stored_keys
from sics_cli.experiment.slurm_cluster import SlurmCluster
from sics_cli.experiment.store import Store
from sics_cli.experiment.work import Work
from sics_cli.experiment.worker import SeedJob, run_seed, train_seed

#: How often in a row workers may die without one cell finished in between.
MAX_LOSSES = 3
_POLL_SECONDS = 0.1
#: How often a job in a queue tells of its progress.
_TOLD_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: cells computed now, failed now, and failed earlier and not tried again."""

    computed: int
    failed: int
    skipped: int
    plan_stamp: str


def run_session(
    session: Session, workers: Workers | SlurmCluster, reporter: Reporter, *, force: bool = False, retry_failed: bool = False
) -> Outcome:
    """Compute what is missing. Returns when every cell is in the store or has failed.

    Raises
    ------
    LockedError
        Another driver writes this run, or jobs of a queue compute it and `workers` is not that queue.
    StorageError, StoreError
        The folder or the store cannot be written.
    WorkersLostError
        Workers died too often.
    InterruptedRunError
        Ctrl-C or SIGTERM; what was finished is in the store.
    """
    try:
        session.folder.mkdir(parents=True, exist_ok=True)
        with run_lock(session.folder):
            if not isinstance(workers, SlurmCluster):
                check_no_jobs(session.folder)
            with _open_store(session) as store:
                return _Driver(session, store, workers, reporter, force).run(retry_failed)
    except OSError as error:
        what = f"{error.filename} cannot" if error.filename else "cannot"
        raise StorageError(
            f"--out {session.folder}: {what} be written ({error.strerror or error}); finished cells are kept"
        ) from error


def _open_store(session: Session) -> Store:
    remove_partials(session.folder)
    if not Ledger(session.folder).open():  # else workers may be writing there now
        remove_partials(session.folder / CHECKPOINTS_NAME)
        remove_partials(session.folder / CURVES_NAME)
    if session.store_path.exists():
        store = Store.open(session.store_path)
    else:
        meta = {
            "run_id": session.recipe.run_id,
            "name": session.experiment.name,
            "recipe": session.recipe.described,
            "created": now(),
            "scorers": session.scorer_facts,
        }
        store = Store.create(session.store_path, meta)
    if store.meta("scorers") != session.scorer_facts:
        store.set_meta("scorers", session.scorer_facts)
    return store


class _Driver:
    """One command at work on one open store, under the run's lock."""

    def __init__(self, session: Session, store: Store, workers: Workers | SlurmCluster, reporter: Reporter, force: bool) -> None:
        self.session = session
        self.store = store
        self.workers = workers
        self.reporter = reporter
        self.force = force
        self.inbox = Inbox(session.folder, session.recipe.run_id)
        self.intake = Intake(self.inbox, store, reporter.note)
        self.work = Work.of(session.experiment, session.recipe.route.path)
        self.todo: dict[str, Cell] = {}
        self.provenance = {**provenance(), "path": session.recipe.route.path}

    def run(self, retry_failed: bool) -> Outcome:
        """Take in what an earlier driver left, fix the plan, compute."""
        coming = bool(Ledger(self.session.folder).open())
        self.inbox.prepare(shared=coming)
        self.intake.keep = isinstance(self.workers, SlurmCluster)
        self.intake.empty()
        plan_stamp = self._fix_plan()
        state = self.session.state(self.store)
        self.todo = {cell.key: cell for cell in state.missing(force=self.force, retry_failed=retry_failed)}
        skipped = 0 if self.force or retry_failed else len(state.failed)
        self.intake.forget_counts()
        if self.todo or coming:
            with _sigterm_as_interrupt():
                self._compute_or_interrupt()
            self.inbox.forget_progress()
        return Outcome(self.intake.computed, self.intake.failed, skipped, plan_stamp)

    def _fix_plan(self) -> str:
        """Store what is fixed, with its time, before the first cell; say if data had been seen by then."""
        plan = make_plan(self.session.experiment, self.session.scorers, now())
        earlier, cells = self.store.plans(), self.store.cells()
        if not earlier or earlier[-1].plan_hash != plan.plan_hash:
            self.store.add_plan(plan.stamped(stamp(earlier, plan, len(cells)), len(cells)))
        return self.store.plans()[-1].stamp

    # -- computing --------------------------------------------------------------------------------------------

    def _compute_or_interrupt(self) -> None:
        try:
            with self.reporter:
                if isinstance(self.workers, SlurmCluster):
                    self._campaign(self.workers).run()
                else:
                    self._compute(self.workers)
        except KeyboardInterrupt:
            if not isinstance(self.workers, SlurmCluster):
                self.workers.stop()
            self._take_in()
            open_jobs = [batch.submitted or batch.name for batch in Ledger(self.session.folder).open()]
            on = f"; its jobs go on in the queue (scancel {' '.join(open_jobs)} ends them)" if open_jobs else ""
            raise InterruptedRunError(
                f"interrupted; {self.intake.computed} cells of this command are in {self.session.store_path}: "
                f"the same command goes on from there{on}"
            ) from None

    def _compute(self, workers: Workers) -> None:
        losses = 0
        while self.todo:
            before = len(self.todo)
            try:
                self._drain(workers)
                if len(self.todo) == before:
                    raise StoreError(f"{self.inbox.folder}: finished cells do not arrive there whole")
            except Exception as error:
                workers.stop()
                self._take_in()
                if not lost(error):
                    raise
                losses = losses + 1 if len(self.todo) == before else 1
                if losses >= MAX_LOSSES:
                    raise WorkersLostError(
                        f"workers died {losses} times in a row without finishing a cell (killed, or out of memory?): "
                        f"try fewer --workers; finished cells are in {self.session.store_path}"
                    ) from None
                self.reporter.note("a worker died; starting again from the finished cells")

    def _drain(self, pool: Workers) -> None:
        """Hand out all that is to do, and take in results until every job has ended."""
        plans = {seed: self._plan(seed) for seed in dict.fromkeys(cell.seed for cell in self.todo.values())}
        asked = {seed: plan.cells for seed, plan in plans.items()}
        executor, workers = pool.executor(self.session.gpus), pool.number(self.session.gpus)
        tracker = Tracker({seed: plan.remaining for seed, plan in plans.items()}, workers)
        schedule = Schedule(plans, workers)
        pending: dict[Future[int], Task] = {}
        while True:
            while len(pending) < workers and (task := schedule.next()) is not None:
                pending[self._submit(executor, task, asked[task.seed])] = task
            if not pending:
                return
            done, _ = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            self._take_in()
            for future in done:
                task = pending.pop(future)
                failed = future.result() > 0 and not task.cells
                tracker.end(task.seed, task.part, task.work)
                if schedule.done(task, failed=failed):
                    tracker.finish(task.seed)
                    self._say_done(task.seed, asked[task.seed])
            tracker.update(self.inbox.progress(), {(task.seed, task.part) for task in pending.values()})
            self.reporter.show(tracker.state(len(self.todo)))

    def _submit(self, executor: PoolExecutor, task: Task, asked: tuple[Cell, ...]) -> Future[int]:
        if task.cells:
            return executor.submit(run_seed, self._job(task, task.cells))
        return executor.submit(train_seed, self._job(task, asked), task.until)

    def _take_in(self) -> None:
        for key in self.intake.empty():
            self.todo.pop(key, None)

    def _job(self, task: Task, cells: tuple[Cell, ...]) -> SeedJob:
        rows = [row for row in self.store.cells() if row.seed == task.seed]
        return self._seed_job(task.seed, cells, rows, task.part)

    def _seed_job(self, seed: int, cells: tuple[Cell, ...], rows: Sequence[CellRow], part: int = 0) -> SeedJob:
        replaced = {(cell.scorer_name, cell.sparsity) for cell in cells if not cell.repeat}
        session = self.session
        return SeedJob(
            folder=session.folder.resolve(),
            experiment=session.experiment,
            environment=session.recipe.environment,
            seed=seed,
            cells=cells,
            known=tuple(row for row in rows if (row.scorer, row.sparsity) not in replaced),
            share=not self.force,
            provenance=self.provenance,
            run_id=session.recipe.run_id,
            part=part,
            facts=session.recipe.facts,
            access=session.access,
        )

    def _plan(self, seed: int, cells: tuple[Cell, ...] | None = None) -> SeedPlan:
        mine = tuple(cell for cell in self.todo.values() if cell.seed == seed) if cells is None else cells
        work, epochs = self.work, self.session.experiment.training.epochs
        return SeedPlan(mine, work.training, work.saliency + work.collecting(mine), work.cell, epochs, self._trained(seed))

    def _trained(self, seed: int) -> int:
        return epochs_kept(self.session, seed)

    # -- jobs of a queue ----------------------------------------------------------------------------------------

    def _campaign(self, cluster: SlurmCluster) -> Campaign:
        """The loop for a queue, and what it needs of this driver."""
        asked = by_seed(list(self.todo.values()))
        return Campaign(
            Desk(
                folder=self.session.folder,
                device="cuda:0" if self.session.gpus else "cpu",
                inbox=self.inbox,
                todo=self.todo,
                take_in=self._take_in,
                parts=lambda cells: session_parts(self.session, self.store, cells, cluster),
                make_jobs=self._jobs,
                progress=self._trained,
                remaining=lambda seed: self._plan(seed, asked[seed]).remaining,
                stored=lambda: stored_keys(self.store) | {row.cell_key for row in self.store.failures()},
                seed_done=lambda seed: self._say_done(seed, asked[seed]),
                reporter=self.reporter,
            ),
            cluster,
        )

    def _jobs(self, cells: Sequence[Cell]) -> dict[int, SeedJob]:
        """What to do for each seed; progress is told rarely, since many tell it to one shared folder."""
        rows: dict[int, list[CellRow]] = {}
        for row in self.store.cells():
            rows.setdefault(row.seed, []).append(row)
        jobs = {seed: self._seed_job(seed, mine, rows.get(seed, [])) for seed, mine in by_seed(cells).items()}
        return {seed: replace(job, tell_seconds=_TOLD_SECONDS) for seed, job in jobs.items()}

    def _say_done(self, seed: int, cells: tuple[Cell, ...]) -> None:
        keys = {cell.key for cell in cells}
        failed = len([row for row in self.store.failures() if row.cell_key in keys])
        dense = [row for row in self.store.cells() if row.seed == seed and row.scorer == DENSE]
        accuracy = f"dense {100 * dense[0].correct / dense[0].n:.2f} %, " if dense else ""
        failures = f", {failed} failed" if failed else ""
        self.reporter.note(f"seed {seed} done: {accuracy}{len(keys) - failed} cells{failures}")


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let a batch system's SIGTERM end the run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
