"""The driver's loop where workers are this command's own: hand out tasks, take in results, begin again when one dies."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from sics_cli.base.errors import StoreError, WorkersLostError
from sics_cli.experiment.cells import Cell, by_seed
from sics_cli.runs.open_run import OpenRun
from sics_cli.runs.schedule import Schedule, SeedPart
from sics_cli.runs.workers import Executor, Workers, lost
from sics_cli.seeds.progress import Tracker
from sics_cli.seeds.worker import run_seed, train_seed, train_seeds

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
    width = run.session.recipe.task.width
    schedule = Schedule(plans, workers, width)
    pending: dict[Future[Any], tuple[SeedPart, ...]] = {}
    while True:
        while len(pending) < workers and (task := schedule.next()) is not None:
            tasks = (task, *schedule.beside(task))
            pending[_submit(run, executor, tasks, asked)] = tasks
        if not pending:
            return
        done, _ = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        run.take_in()
        for future in done:
            tasks, found = pending.pop(future), future.result()
            for task, failed in zip(tasks, found if len(tasks) > 1 else (found,), strict=True):
                tracker.end(task.seed, task.part, task.work)
                if schedule.done(task, failed=failed > 0 and not task.cells):
                    tracker.finish(task.seed)
                    run.say_done(task.seed, asked[task.seed])
        busy = len(pending) if width > 1 else None  # in a stack, several seeds are at work in one of them
        running = {(task.seed, task.part) for tasks in pending.values() for task in tasks}
        tracker.update(run.inbox.progress(), running, busy)
        run.show(tracker.state(len(run.todo), busy))


def _submit(run: OpenRun, executor: Executor, tasks: tuple[SeedPart, ...], asked: Mapping[int, tuple[Cell, ...]]) -> Future[Any]:
    """Have a worker do a task; or the trainings of a stack, of which it says of each seed in turn how many cells failed."""
    jobs = []
    for task in tasks:
        rows = [row for row in run.store.cells() if row.seed == task.seed]
        jobs.append(run.seed_job(task.seed, task.cells or asked[task.seed], rows, task.part))
    if len(jobs) > 1:
        return executor.submit(train_seeds, tuple(jobs))
    (job,), (task,) = jobs, tasks
    return executor.submit(run_seed, job) if task.cells else executor.submit(train_seed, job, task.until)
