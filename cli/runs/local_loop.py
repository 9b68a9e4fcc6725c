"""The driver's loop where workers are this command's own: hand out tasks, take in results, begin again when one dies."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, wait

from sics_cli.base.errors import StoreError, WorkersLostError
from sics_cli.experiment.cells import Cell, by_seed
from sics_cli.runs.open_run import OpenRun
from sics_cli.runs.schedule import Schedule, SeedPart
from sics_cli.runs.workers import Executor, Workers, lost
from sics_cli.seeds.progress import Tracker
from sics_cli.seeds.worker import run_seed, train_seed

#: How often in a row workers may die without one cell finished in between.
MAX_LOSSES = 3
_POLL_SECONDS = 0.1


def compute(run: OpenRun, workers: Workers) -> None:
    """Return when every cell of `run.todo` has come."""
    losses = 0
    while run.todo:
        before = len(run.todo)
        try:
            _drain(run, workers)
            if len(run.todo) == before:
                raise StoreError(f"{run.inbox.folder}: finished cells do not arrive there whole")
        except Exception as error:
            workers.stop()
            run.take_in()
            if not lost(error):
                raise
            losses = losses + 1 if len(run.todo) == before else 1
            if losses >= MAX_LOSSES:
                raise WorkersLostError(
                    f"workers died {losses} times in a row without finishing a cell (killed, or out of memory?): "
                    f"try fewer --workers; finished cells are in {run.session.store_path}"
                ) from None
            run.inbox.forget_progress()
            run.reporter.note("a worker died; starting again from the finished cells")


def _drain(run: OpenRun, pool: Workers) -> None:
    """Hand out all that is to do, and take in results until every job has ended."""
    asked = by_seed(list(run.todo.values()))
    plans = {seed: run.seed_plan(seed, cells) for seed, cells in asked.items()}
    executor, workers = pool.executor(run.session.gpus), pool.number(run.session.gpus)
    tracker = Tracker({seed: plan.remaining for seed, plan in plans.items()}, workers)
    schedule = Schedule(plans, workers)
    pending: dict[Future[int], SeedPart] = {}
    while True:
        while len(pending) < workers and (task := schedule.next()) is not None:
            pending[_submit(run, executor, task, asked[task.seed])] = task
        if not pending:
            return
        done, _ = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        run.take_in()
        for future in done:
            task = pending.pop(future)
            failed = future.result() > 0 and not task.cells
            tracker.end(task.seed, task.part, task.work)
            if schedule.done(task, failed=failed):
                tracker.finish(task.seed)
                run.say_done(task.seed, asked[task.seed])
        tracker.update(run.inbox.progress(), {(task.seed, task.part) for task in pending.values()})
        run.show(tracker.state(len(run.todo)))


def _submit(run: OpenRun, executor: Executor, task: SeedPart, asked: tuple[Cell, ...]) -> Future[int]:
    rows = [row for row in run.store.cells() if row.seed == task.seed]
    if task.cells:
        return executor.submit(run_seed, run.seed_job(task.seed, task.cells, rows, task.part))
    return executor.submit(train_seed, run.seed_job(task.seed, asked, rows, task.part), task.until)
