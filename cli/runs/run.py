"""The driver: opens a run, has what is missing computed, and survives what can be survived."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sics_analysis.results import plural
from sics_cli.base.errors import InterruptedRunError, RefusedSettingError, StorageError
from sics_cli.base.files import remove_partials
from sics_cli.experiment.cells import Grid, concerned, stamp
from sics_cli.experiment.cost import seeds_that_fit, workers_a_card
from sics_cli.experiment.provenance import now
from sics_cli.runs import local_loop
from sics_cli.runs.campaign import Campaign
from sics_cli.runs.devices import cores
from sics_cli.runs.executors import make_place
from sics_cli.runs.looks import Judge, look_and_go_on, looks_text, stopped_early
from sics_cli.runs.open_run import OpenRun
from sics_cli.runs.session import Asker, Session, open_session, with_task
from sics_cli.runs.workers import Workers
from sics_cli.seeds.progress import Reporter
from sics_cli.settings.config import Experiment
from sics_cli.slurm.executor import SlurmCluster
from sics_cli.slurm.ledger import Ledger, check_no_jobs
from sics_cli.store.database import cells_kept
from sics_cli.store.rows import LookRow, PlanRow
from sics_cli.store.run_folder import CHECKPOINTS_NAME, CURVES_NAME, SEARCHES_NAME, forget_saliencies, run_lock
from sics_cli.store.store import Store
from sics_cli.tasks.image_setup import ImageAccess


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: cells computed now, failed now, failed earlier and not tried again; the looks there are by now."""

    computed: int
    failed: int
    skipped: int
    plan_stamp: str
    looks: tuple[LookRow, ...] = ()


@contextlib.contextmanager
def ready(
    experiment: Experiment,
    out: Path | None,
    reporter: Reporter,
    access: ImageAccess = ImageAccess(),  # noqa: B008 (frozen)
    *,
    executor: str = "local",
    slurm: str | None = None,
    workers: int | None = None,
    warm: bool = True,
) -> Iterator[tuple[Session, Workers | SlurmCluster]]:
    """What a run will do, and the workers or the queue that will do it, which end with the block. Nothing is written yet.

    `executor`, `slurm` and `workers` are as the options; with `warm`, workers here begin to import what seeds will need. Raises
    what `with_task` and `open_session` raise.
    """
    jobs = len(experiment.seeds)
    with make_place(executor, slurm, workers, jobs) as place, Workers(workers, jobs) as own:
        here = place if isinstance(place, Workers) and executor == "local" else own  # who can be asked what only torch knows
        asker = Asker(experiment, here, reporter.note, warm=warm and executor == "local")
        experiment, task = with_task(experiment, asker, access)
        if executor == "slurm" and task.width > 1:
            accepted = "eager | compile | graph with --executor slurm: a job has a seed or a few, and a stack all of its places"
            raise RefusedSettingError("training.path", "stacked", accepted)
        session = open_session(experiment, out, asker, task, place.gpus)
        if here is place:
            here.a_card = workers_a_card(session.recipe, session.cards, cores())
        started = ("workers started",) if asker.started else ()  # said once nothing was refused
        for note in (*started, *session.notes, *(crowded(session, here.devices(session.gpus)) if here is place else ())):
            reporter.note(note)
        if here is not place:
            here.stop()
        yield session, place


def crowded(session: Session, devices: Sequence[str]) -> tuple[str, ...]:
    """A line where as many workers as these may be too many for a card: by its memory, or by who is let in."""
    memory, there = session.recipe.task.memory, dict(zip(session.gpus, session.cards, strict=False))
    for index, card in there.items():
        name, count = f"cuda:{index} ({card.name})", devices.count(f"cuda:{index}")
        if count > 1 and card.exclusive:
            return (f"{name} lets in one process alone (its compute mode): {count} workers need CUDA's MPS there",)
        if memory is not None and 0 < card.memory < count * memory:
            each, whole = memory / 1e9, card.memory / 1e9
            # Workers take cards in turn: the smallest card decides, and where one seed alone is too many no number fits.
            fit = len(there) * min(seeds_that_fit(memory, one) for one in there.values())
            fits = all(not 0 < one.memory < memory for one in there.values())
            advice = " each" * (count > 1) + f": by this guess --workers {fit} fits" * (count > 1 and fits)
            width = session.recipe.task.width
            what = f"{plural(count, 'stack')} of {width} seeds" if width > 1 else plural(count, "seed")
            return (f"{name} has {whole:.0f} GB, and {what} may take {each:.1f} GB{advice}",)
    return ()


def where_text(session: Session, workers: Workers) -> str:
    """How many workers, on what."""
    devices = workers.devices(session.gpus)
    used = len(set(devices))
    models = f": {session.recipe.environment.gpu}" if session.cards else ""
    on = f"{plural(used, 'GPU')}{models}" if session.gpus else "the CPU"
    shared = f", up to {-(-len(devices) // used)} on each" if session.gpus and len(devices) > used else ""
    width = session.recipe.task.width
    stacked = f", each training up to {width} seeds stacked" if width > 1 else ""
    return f"{plural(len(devices), 'worker')} on {on}{shared}{stacked}"


def _start_lines(session: Session, place: Workers | SlurmCluster, grid: Grid) -> tuple[str, str]:
    """What is about to run where, and on what."""
    seeds = len(session.experiment.seeds)
    on = f"jobs on {place.describe()}" if isinstance(place, SlurmCluster) else where_text(session, place)
    plan = session.plan
    many = f"{plural(seeds, 'seed')}, " if plan.looks is None else f"{looks_text(plan)}; at most "
    return f"run {session.folder}: {many}{grid.counts}; {on}", session.setting


def run_session(
    session: Session,
    workers: Workers | SlurmCluster,
    reporter: Reporter,
    judge: Judge,
    *,
    force: bool = False,
    retry_failed: bool = False,
) -> Outcome:
    """Say what is there, compute what is missing; return when every cell is stored or failed, or a look of `judge` stops the run.

    A `LockedError` says that another driver writes this run, or jobs of a queue compute it and `workers` is not that queue; an
    `InterruptedRunError` that Ctrl-C or SIGTERM came. What was finished is in the store, whatever error ends this.
    """
    for line in _start_lines(session, workers, session.stored()):
        reporter.note(line)
    try:
        session.folder.mkdir(parents=True, exist_ok=True)
        with run_lock(session.folder):
            if not isinstance(workers, SlurmCluster):
                check_no_jobs(session.folder)
            with _open_store(session) as store:
                run = OpenRun(session, store, reporter, force=force, queued=isinstance(workers, SlurmCluster))
                return _compute_missing(run, workers, judge, retry_failed)
    except OSError as error:
        what = f"{error.filename} cannot" if error.filename else "cannot"
        raise StorageError(
            f"--out {session.folder}: {what} be written ({error.strerror or error}); {cells_kept(session.store_path)}"
        ) from error


def _open_store(session: Session) -> Store:
    remove_partials(session.folder)
    if not Ledger(session.folder).open():  # else workers may be writing there now
        for name in (CHECKPOINTS_NAME, CURVES_NAME, SEARCHES_NAME):
            remove_partials(session.folder / name)
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


def _compute_missing(run: OpenRun, workers: Workers | SlurmCluster, judge: Judge, retry_failed: bool) -> Outcome:
    """Take in what an earlier driver left, fix the plan, compute."""
    run.inbox.prepare(shared=run.coming)
    run.take_in()
    plan = _fix_plan(run)
    run.intake.computed = run.intake.failed = 0
    with _sigterm_as_interrupt():
        skipped = _compute_or_interrupt(run, workers, plan, judge, retry_failed)
    run.inbox.forget_progress()
    forget_saliencies(run.session.folder)
    looks, said = tuple(run.store.looks(plan.plan_hash)), run.store.plans()[-1].stamp  # a look may have put one there
    return Outcome(run.intake.computed, run.intake.failed, skipped, said, looks)


def _fix_plan(run: OpenRun) -> PlanRow:
    """Store what is fixed, with its time, before the first cell; say if data had been seen by then."""
    plan, plans = run.session.plan, run.store.plans()
    if not plans or plans[-1].plan_hash != plan.plan_hash:
        earlier, rows = concerned(plan, plans, run.store.cells())
        run.store.add_plan(replace(plan, stamp=stamp(earlier, plan, rows), cells_before=rows))
    return run.store.plans()[-1]


def _compute_or_interrupt(run: OpenRun, workers: Workers | SlurmCluster, plan: PlanRow, judge: Judge, retry_failed: bool) -> int:
    """Compute, and look where the plan looks; return how many cells stay failed."""

    def compute() -> None:
        if isinstance(workers, SlurmCluster):
            Campaign(run, workers).run()
        else:
            local_loop.compute(run, workers)

    try:
        if plan.looks is not None:
            with run.reporter:
                return look_and_go_on(run, plan, judge, compute, retry_failed=retry_failed)
        state = run.session.state(run.store)
        run.todo = {cell.key: cell for cell in state.missing(force=run.force, retry_failed=retry_failed)}
        if run.todo or run.coming:
            with run.reporter:
                compute()
        return 0 if run.force or retry_failed else len(state.failed)
    except KeyboardInterrupt:
        if not isinstance(workers, SlurmCluster):
            workers.stop()
        run.take_in()
        open_jobs = [batch.submitted or batch.name for batch in Ledger(run.session.folder).open()]
        on = f"; its jobs go on in the queue (scancel {' '.join(open_jobs)} ends them)" if open_jobs else ""
        stands = "" if plan.looks is None else f"; {stopped_early(run.store, plan)}"
        raise InterruptedRunError(
            f"interrupted; {plural(run.intake.computed, 'cell')} of this command "
            f"{'is' if run.intake.computed == 1 else 'are'} in {run.session.store_path}: "
            f"the same command goes on from there{on}{stands}"
        ) from None


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
