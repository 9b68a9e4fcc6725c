"""The driver's loop where jobs wait in a queue: submit what nobody computes, take in results, notice what is lost.

Nothing here has to stay alive: jobs are written down before they are submitted, they leave their results as files, and
whoever runs the same command later goes on with both.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sics_cli.experiment.errors import LockedError, SicsError, WorkersLostError
from sics_cli.experiment.inbox import Inbox
from sics_cli.experiment.jobs import JobFile, JobResult, run_part
from sics_cli.experiment.ledger import DONE, Batch, Ledger, Part
from sics_cli.experiment.planning import Cell
from sics_cli.experiment.progress import Reporter, Tracker
from sics_cli.experiment.provenance import now
from sics_cli.experiment.slurm_cluster import SlurmCluster
from sics_cli.experiment.slurm_executor import JobLostError, SlurmExecutor, SlurmFuture
from sics_cli.experiment.slurm_queue import ENDED, GONE, RUNNING, Queue, cluster_facts
from sics_cli.experiment.worker import SeedJob

#: How often in a row a seed's jobs may end without bringing it further.
MAX_LOSSES = 3
_LOOK_SECONDS = 2.0
_SETTLE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Desk:
    """What the campaign needs of the driver that holds the store.

    `todo` are the cells still to be had by key; `take_in` moves results into the store and out of it. `parts` groups cells into
    jobs, `make_jobs` describes the work of seeds, `progress` says how many epochs of a seed are kept, `remaining` how much work
    it is, `stored` which keys the store holds.
    """

    folder: Path
    device: str
    inbox: Inbox
    todo: dict[str, Cell]
    take_in: Callable[[], None]
    parts: Callable[[Sequence[Cell]], list[Part]]
    make_jobs: Callable[[Sequence[Cell]], Mapping[int, SeedJob]]
    progress: Callable[[int], int]
    remaining: Callable[[int], float]
    stored: Callable[[], set[str]]
    seed_done: Callable[[int], None]
    reporter: Reporter


@dataclass(slots=True)
class Flight:
    """A job on its way, and how things stood when it began."""

    batch: Batch
    index: int
    future: SlurmFuture
    begun: tuple[int, int]
    settled: int | None = None

    @property
    def part(self) -> Part:
        """What it computes."""
        return self.batch.parts[self.index]


class Campaign:
    """One command's work on a queue.

    Parameters
    ----------
    desk : Desk
    cluster : SlurmCluster
    """

    def __init__(self, desk: Desk, cluster: SlurmCluster) -> None:
        self.desk, self.cluster = desk, cluster
        self.queue = cluster.queue
        self.ledger = Ledger(desk.folder)
        self.flights: list[Flight] = []
        self.losses: Counter[int] = Counter()
        self.lost: dict[int, str] = {}
        self.ended: Counter[str] = Counter()
        self._submitted = float("-inf")
        self._said: set[str] = set()

    def run(self) -> None:
        """Return when every cell of `todo` has come, or its seed's jobs were lost too often.

        Raises
        ------
        WorkersLostError
            The latter; all others were waited for.
        SicsError
            The queue refuses jobs, or a job met what stops the whole run. Other jobs go on.
        """
        desk = self.desk
        self._find_again()
        seeds = {cell.seed: None for cell in desk.todo.values()}
        tracker = Tracker({seed: desk.remaining(seed) for seed in seeds}, 1)
        open_seeds = set(seeds)
        while True:
            desk.take_in()
            self._look()
            self._land()
            for seed in sorted(open_seeds - {cell.seed for cell in desk.todo.values()}):
                open_seeds.discard(seed)
                if seed not in self.lost:
                    tracker.finish(seed)
                    desk.inbox.forget_progress(seed)
                    desk.seed_done(seed)
            self._submit_missing()
            if not desk.todo:
                break
            self._show(tracker, open_seeds)
            time.sleep(min(_LOOK_SECONDS, self.cluster.options.poll_seconds))
        self._finish()

    # -- what is on its way -----------------------------------------------------------------------------------

    def _find_again(self) -> None:
        """Take over what an earlier driver submitted."""
        self.ledger.prepare()
        batches = self.ledger.open()
        if not batches:
            self.desk.inbox.forget_taken()
            return
        here = self.cluster.name()
        self.queue.look(batch.name for batch in batches)
        if self.queue.trouble:
            raise SicsError(f"{self.queue.trouble}: jobs of an earlier command may be on their way: try again when it answers")
        for batch in batches:
            if batch.cluster != here:
                self._note(f"{len(batch.open)} jobs of {batch.created} went to cluster {batch.cluster}, this is {here}: given up")
                self.ledger.drop(batch)
            elif batch.submitted is None and not self._identify(batch):
                self._note(f"a submission of {batch.created} was cut off before it reached the queue: made again")
                self.ledger.drop(batch)
            else:
                self._adopt(batch)
        if self.flights:
            ids = ", ".join(dict.fromkeys(str(flight.batch.submitted) for flight in self.flights))
            self._note(f"found {len(self.flights)} jobs of an earlier command again ({ids})")

    def _identify(self, batch: Batch) -> bool:
        """Learn from the queue which id a batch got whose driver died before it could write that down."""
        ids = {job_id.partition("_")[0] for job_id, state in self.queue.look([]).items() if state.name == batch.name}
        if not ids:
            return False
        batch.submitted = max(ids, key=int)
        self.ledger.save(batch)
        return True

    def _adopt(self, batch: Batch) -> None:
        executor = self._executor(batch)
        for index in batch.open:
            future = executor.again(batch.job_id(index), run_part, self._path(batch, index))
            self._fly(batch, index, future)

    def _fly(self, batch: Batch, index: int, future: SlurmFuture) -> None:
        self.queue.watch([future.job_id])
        flight = Flight(batch, index, future, (0, 0))
        flight.begun = self._standing(flight.part)
        self.flights.append(flight)

    def _standing(self, part: Part) -> tuple[int, int]:
        """Cells that are missing, and how far the training of its seeds is."""
        return sum(key in self.desk.todo for key in part.keys), sum(self.desk.progress(seed) for seed in part.seeds)

    def _executor(self, batch: Batch) -> SlurmExecutor:
        at_once = self.cluster.at_once or len(batch.parts)
        return SlurmExecutor(self.ledger.place(batch), batch.name, self.cluster.options, self.queue, at_once)

    def _path(self, batch: Batch, index: int) -> Path:
        return self.ledger.place(batch).resolve() / f"part-{index}.pkl"

    # -- submitting -------------------------------------------------------------------------------------------

    def _submit_missing(self) -> None:
        """Submit the cells of seeds that no job is at; what is lost meanwhile waits for the next time the queue is asked.

        Two jobs are never at one seed: they would train it twice.
        """
        busy = {seed for flight in self.flights for seed in flight.part.seeds}
        cells = [cell for cell in self.desk.todo.values() if cell.seed not in busy]
        if not cells or time.monotonic() - self._submitted < self.cluster.options.poll_seconds:
            return
        self._submitted = time.monotonic()
        parts = self.desk.parts(cells)
        jobs = self.desk.make_jobs(cells)
        self.desk.inbox.forget_taken({cell.key for cell in cells})
        longest = self.cluster.facts().array
        for start in range(0, len(parts), longest):
            self._submit(parts[start : start + longest], jobs)

    def _submit(self, parts: Sequence[Part], jobs: Mapping[int, SeedJob]) -> None:
        batch = self.ledger.begin("slurm", self.cluster.name(), now(), parts)
        for index, part in enumerate(parts):
            JobFile(self.desk.device, tuple(jobs[seed] for seed in part.seeds)).write(self._path(batch, index))
        self.ledger.save(batch)  # from here on a driver that comes after this one knows of it
        executor = self._executor(batch)
        try:
            with executor.batch():
                futures = [executor.submit(run_part, self._path(batch, index)) for index in range(len(parts))]
        except SicsError:
            self._after_refusal(batch)
            raise
        batch.submitted = futures[0].job_id.partition("_")[0]
        self.ledger.save(batch)
        for index, future in enumerate(futures):
            self._fly(batch, index, future)
        cells = sum(len(part.keys) for part in parts)
        what = f"as array {batch.submitted}" if len(parts) > 1 else f"as job {batch.submitted}"
        self._note(f"submitted {len(parts)} job{'s' * (len(parts) > 1)} of {cells} cells {what}")

    def _after_refusal(self, batch: Batch) -> None:
        """An answer that did not come in time is no refusal: only what the queue does not know is forgotten."""
        self.queue.look_now([batch.name])
        if self.queue.trouble is None and not self._identify(batch):
            self.ledger.drop(batch)

    # -- what has ended ---------------------------------------------------------------------------------------

    def _look(self) -> None:
        states = self.queue.look(flight.batch.name for flight in self.flights)
        if self.queue.trouble:
            self._say_once(f"{self.queue.trouble}; waiting for it to answer")
        for flight in self.flights:
            found = states.get(flight.future.job_id)
            if found is not None and "held" in found.reason.lower():
                self._say_once(
                    f"job {flight.future.job_id} waits: {found.reason} (scontrol release {flight.future.job_id} lets it go on)"
                )

    def _land(self) -> None:
        """Write down which jobs have ended; the cells they did not bring are to be submitted again."""
        changed: dict[str, Batch] = {}
        for flight in list(self.flights):
            if self.queue.state(flight.future.job_id) == "PENDING" or not flight.future.done():
                continue
            result, how = self._result(flight)
            if result is None or result.fatal is None:
                self.desk.take_in()
            missing = [key for key in flight.part.keys if key in self.desk.todo]
            if missing and how == DONE and result is not None and result.fatal is None and not self._settled(flight):
                continue  # its last letters may still be on their way over the network
            flight.batch.ended[flight.index] = how
            self.ended[how] += 1
            changed[flight.batch.token] = flight.batch
            self.flights.remove(flight)
            self.queue.forget(flight.future.job_id)
            if result is not None and result.fatal is not None:
                self.ledger.save(flight.batch)
                raise result.fatal
            if missing:
                self._count_loss(flight, how)
        for batch in changed.values():
            self.ledger.save(batch)

    def _result(self, flight: Flight) -> tuple[JobResult | None, str]:
        try:
            result: JobResult = flight.future.result()
        except JobLostError as error:
            return None, str(error)[:200]
        return result, DONE if result.fatal is None else str(result.fatal)[:200]

    def _settled(self, flight: Flight) -> bool:
        if flight.settled is None:
            flight.settled = self.queue.asked
        return self.queue.asked >= flight.settled + 2

    def _count_loss(self, flight: Flight, how: str) -> None:
        missing, trained = self._standing(flight.part)
        further = missing < flight.begun[0] or trained > flight.begun[1]
        what = f"job {flight.future.job_id} ended ({how})"
        given_up = []
        for seed in flight.part.seeds:
            self.losses[seed] = 0 if further else self.losses[seed] + 1
            if self.losses[seed] >= MAX_LOSSES:
                given_up.append(seed)
                self.lost[seed] = f"{what}; its log: {self.ledger.place(flight.batch)}/{flight.future.job_id}_0_log.err"
        for key in [key for key, cell in self.desk.todo.items() if cell.seed in given_up]:
            del self.desk.todo[key]
        self._note(f"{what}: {'given up' if given_up else 'submitted again'}, {missing} cells were left")

    def _finish(self) -> None:
        """Wait a little for jobs that have brought all they were asked for, and write down that they are done."""
        end = time.monotonic() + _SETTLE_SECONDS
        stored = self.desk.stored()
        mine = [flight for flight in self.flights if stored.issuperset(flight.part.keys)]
        while mine and time.monotonic() < end and not all(flight.future.done() for flight in mine):
            time.sleep(0.1)
        for flight in mine:
            flight.batch.ended[flight.index] = DONE
            self.flights.remove(flight)
        for batch in {id(flight.batch): flight.batch for flight in mine}.values():
            self.ledger.save(batch)
        if self.flights:
            self._note(f"{len(self.flights)} jobs of other cells are still on their way")
        else:
            self.desk.inbox.forget_taken()
        if self.lost:
            seeds, last = ", ".join(map(str, sorted(self.lost))), list(self.lost.values())[-1]
            raise WorkersLostError(
                f"jobs of seeds {seeds} ended {MAX_LOSSES} times in a row without finishing a cell; the last: {last}"
            )

    # -- telling ----------------------------------------------------------------------------------------------

    def _show(self, tracker: Tracker, open_seeds: set[int]) -> None:
        states = Counter(self.queue.state(flight.future.job_id) for flight in self.flights)
        running = sum(count for state, count in states.items() if state in RUNNING)
        said = self.desk.inbox.progress()
        flying = {seed for flight in self.flights for seed in flight.part.seeds}
        busy = {(seed, part) for seed, part in said if seed in open_seeds & flying} if running else set()
        tracker.update(said, busy)
        jobs = f"jobs: {len(self.flights) - running} queued, {running} running, {self.ended[DONE]} done"
        bad = sum(count for how, count in self.ended.items() if how != DONE)
        state = tracker.state(len(self.desk.todo), workers=max(1, running))
        self.desk.reporter.show(replace(state, jobs=jobs + (f", {bad} lost" if bad else "")))

    def _note(self, text: str) -> None:
        self.desk.reporter.note(text)

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._note(text)


def check_no_jobs(folder: Path) -> None:
    """Refuse to compute what jobs in a queue compute already.

    Raises
    ------
    LockedError
        Jobs of this run are on their way, or may be.
    """
    ledger = Ledger(folder)
    batches = ledger.open()
    if not batches:
        return
    queue = Queue(0.0)
    with contextlib.suppress(SicsError):
        if {batch.cluster for batch in batches} == {cluster_facts().name}:
            names = {state.name for job, state in queue.look(batch.name for batch in batches).items() if state.state not in ENDED}
            if queue.trouble is None and not names & {batch.name for batch in batches}:
                for batch in batches:
                    batch.ended |= dict.fromkeys(batch.open, GONE)
                    ledger.save(batch)
                return
    ids = " ".join(sorted({batch.submitted or batch.name for batch in batches}))
    raise LockedError(
        f"{folder}: jobs of this run may be on their way in the queue of cluster {batches[0].cluster} ({ids}): go on with "
        f"--executor slurm, or end them (scancel {ids}) and remove {ledger.folder}"
    )
