"""The driver's loop where jobs wait in a queue: submit what nobody computes, take in results, notice what is lost.

Nothing here has to stay alive: jobs are written down before they are submitted, they leave their results as files, and
whoever runs the same command later goes on with both.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from sics_cli.base.errors import WorkersLostError
from sics_cli.experiment.cells import Cell
from sics_cli.seeds.job import SeedJob
from sics_cli.seeds.progress import Reporter, Tracker
from sics_cli.slurm.cluster import SlurmCluster
from sics_cli.slurm.executor import JobLostError, RefusedJobsError
from sics_cli.slurm.job import JobResult
from sics_cli.slurm.jobs_under_way import Flight, Flights, Standing
from sics_cli.slurm.ledger import DONE, Batch, Part
from sics_cli.slurm.queue import RUNNING
from sics_cli.store.inbox import Inbox


@dataclass(frozen=True, slots=True)
class Desk:
    """A driver, as a `Campaign` sees it.

    `todo` are the cells still to be had by key; `take_in` moves results into the store and out of it. `parts` groups cells into
    jobs, some seeds alone; `make_jobs` describes the work of seeds; `progress` says how many epochs of a seed are kept,
    `remaining` how much work it is, `stored` which keys the store holds.
    """

    folder: Path
    device: str
    inbox: Inbox
    todo: dict[str, Cell]
    take_in: Callable[[], None]
    parts: Callable[[Sequence[Cell], Set[int]], list[Part]]
    make_jobs: Callable[[Sequence[Cell]], Mapping[int, SeedJob]]
    progress: Callable[[int], int]
    remaining: Callable[[int], float]
    stored: Callable[[], set[str]]
    seed_done: Callable[[int], None]
    reporter: Reporter


#: How often in a row a seed's jobs may end without bringing it further.
MAX_LOSSES = 3


class Losses:
    """Counts, seed by seed.

    Attributes
    ----------
    given_up : dict of int to str
        Seeds that are not tried again, and what their last job said.
    """

    def __init__(self) -> None:
        self.given_up: dict[int, str] = {}
        self._in_a_row: Counter[int] = Counter()

    @property
    def doubted(self) -> set[int]:
        """Seeds whose last job brought nothing: the next they have to themselves, lest another's fault be counted as theirs."""
        return {seed for seed, count in self._in_a_row.items() if count}

    def count(self, seeds: Sequence[int], what: str, *, further: bool) -> list[int]:
        """Count a job that ended without finishing these seeds; return those that are given up by that."""
        lost = []
        for seed in seeds:
            self._in_a_row[seed] = 0 if further else self._in_a_row[seed] + 1
            if self._in_a_row[seed] >= MAX_LOSSES:
                self.given_up[seed] = what
                lost.append(seed)
        return lost

    def check(self) -> None:
        """Raise if a seed was given up.

        Raises
        ------
        WorkersLostError
            It names the seeds and the last job.
        """
        if not self.given_up:
            return
        seeds, last = ", ".join(map(str, sorted(self.given_up))), list(self.given_up.values())[-1]
        raise WorkersLostError(
            f"jobs of seeds {seeds} ended {MAX_LOSSES} times in a row without finishing a cell; the last: {last}"
        )


_LOOK_SECONDS = 2.0
_SETTLE_SECONDS = 20.0
#: Jobs that are refused while others are on their way are offered again after so many looks at the queue.
_PATIENCE_LOOKS = 20


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
        self.flights = Flights(desk.folder, desk.device, cluster, self._standing, desk.reporter.note)
        self.losses = Losses()
        self.ended: Counter[str] = Counter()
        self._not_before = float("-inf")
        self._tracker = Tracker({}, 1)
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
        self.flights.find_again()
        if not self.flights.aloft:
            desk.inbox.forget_taken()
        seeds = {cell.seed: None for cell in desk.todo.values()}
        self._tracker = Tracker({seed: desk.remaining(seed) for seed in seeds}, 1, desk.inbox.progress())
        open_seeds = set(seeds)
        while True:
            desk.take_in()
            self._look()
            self._land()
            for seed in sorted(open_seeds - {cell.seed for cell in desk.todo.values()}):
                open_seeds.discard(seed)
                if seed not in self.losses.given_up:
                    self._tracker.finish(seed)
                    desk.inbox.forget_progress(seed)
                    desk.seed_done(seed)
            self._submit_missing()
            if not desk.todo:
                break
            self._show(open_seeds)
            time.sleep(min(_LOOK_SECONDS, self.cluster.options.poll_seconds))
        self._finish()

    def _standing(self, part: Part) -> Standing:
        return sum(key in self.desk.todo for key in part.keys), sum(self.desk.progress(seed) for seed in part.seeds)

    def _submit_missing(self) -> None:
        """Submit the cells of seeds that no job is at; what is lost meanwhile waits for the next time the queue is asked.

        Two jobs are never at one seed: they would train it twice.
        """
        busy = self.flights.seeds()
        cells = [cell for cell in self.desk.todo.values() if cell.seed not in busy]
        poll = self.cluster.options.poll_seconds
        if not cells or time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + poll
        parts = self.desk.parts(cells, self.losses.doubted)
        jobs = self.desk.make_jobs(cells)
        self.desk.inbox.forget_taken({cell.key for cell in cells})
        try:
            self.flights.submit(parts, jobs)
        except RefusedJobsError as error:
            if not self.flights.aloft:
                raise
            self._not_before = time.monotonic() + _PATIENCE_LOOKS * poll
            self._say_once(f"{error}; other jobs go on, these are offered again")

    # -- what has ended ---------------------------------------------------------------------------------------

    def _look(self) -> None:
        states = self.queue.look(self.flights.names())
        if self.queue.trouble:
            self._say_once(f"{self.queue.trouble}; waiting for it to answer")
        self.flights.make_sure()
        stuck: dict[str, list[str]] = {}
        for flight in self.flights.aloft:
            found = states.get(flight.future.job_id)
            if found is not None and found.stuck:
                stuck.setdefault(found.reason, []).append(flight.future.job_id)
        for reason, jobs in stuck.items():
            self._say_stuck(reason, jobs)

    def _say_stuck(self, reason: str, jobs: Sequence[str]) -> None:
        """Tell once for each reason: what waits for a person to act must not look as if it waited its turn."""
        if reason in self._said:
            return
        self._said.add(reason)
        what = f"job {jobs[0]} waits" if len(jobs) == 1 else f"{len(jobs)} jobs wait ({jobs[0]} to {jobs[-1]})"
        turn = "its" if len(jobs) == 1 else "their"
        release = "scontrol release" if "held" in reason.lower() else "scontrol update"
        self.desk.reporter.note(f"{what}, and not for {turn} turn: {reason} ({release} or scancel ends that)")

    def _land(self) -> None:
        """Write down which jobs have ended; the cells they did not bring are to be submitted again."""
        changed: dict[str, Batch] = {}
        for flight in list(self.flights.aloft):
            if self.queue.state(flight.future.job_id) == "PENDING" or not flight.future.done():
                continue
            result, how = self._result(flight)
            if result is None or result.fatal is None:
                self.desk.take_in()
            missing = [key for key in flight.part.keys if key in self.desk.todo]
            if missing and how == DONE and result is not None and result.fatal is None and not self._settled(flight):
                continue  # its last letters may still be on their way over the network
            self.flights.land(flight, how)
            self.ended[how] += 1
            changed[flight.batch.token] = flight.batch
            if result is not None and result.fatal is not None:
                self.flights.ledger.save(flight.batch)
                raise result.fatal
            if missing:
                self._count_loss(flight, how)
        for batch in changed.values():
            self.flights.ledger.save(batch)
        if changed and not self.flights.aloft:
            # What was refused for too many jobs has room now.
            self._not_before = min(self._not_before, time.monotonic() + self.cluster.options.poll_seconds)

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
        node = self.queue.node(flight.future.job_id)
        what = f"job {flight.future.job_id} ended ({how}){f' on {node}' if node else ''}"
        log = f"{self.flights.ledger.place(flight.batch)}/{flight.future.job_id}_0_log.err"
        given_up = self.losses.count(flight.part.seeds, f"{what}; its log: {log}", further=further)
        self._begin_again(flight.part.seeds)
        for key in [key for key, cell in self.desk.todo.items() if cell.seed in given_up]:
            del self.desk.todo[key]
        self.desk.reporter.note(f"{what}: {'given up' if given_up else 'submitted again'}, {missing} cells were left")

    def _finish(self) -> None:
        """Wait a little for jobs that have brought all they were asked for, and write down that they are done."""
        end = time.monotonic() + _SETTLE_SECONDS
        self.flights.make_sure(at_once=True)
        stored = self.desk.stored()
        mine = [flight for flight in self.flights.aloft if stored.issuperset(flight.part.keys)]
        while mine and time.monotonic() < end and not all(flight.future.done() for flight in mine):
            time.sleep(0.1)
        for flight in mine:
            self.flights.land(flight, DONE)
        for batch in {id(flight.batch): flight.batch for flight in mine}.values():
            self.flights.ledger.save(batch)
        if self.flights.aloft:
            self.desk.reporter.note(f"{len(self.flights.aloft)} jobs of other cells are still on their way")
        else:
            self.desk.inbox.forget_taken()
        self.losses.check()

    # -- telling ----------------------------------------------------------------------------------------------

    def _show(self, open_seeds: set[int]) -> None:
        states = Counter(self.queue.state(flight.future.job_id) for flight in self.flights.aloft)
        running = sum(count for state, count in states.items() if state in RUNNING)
        said = self.desk.inbox.progress()
        queued = [flight for flight in self.flights.aloft if self.queue.state(flight.future.job_id) == "PENDING"]
        waiting = {seed for flight in queued for seed in flight.part.seeds}
        self._begin_again(sorted(waiting & {seed for seed, _ in said}))  # those that were requeued
        at_work = open_seeds & self.flights.seeds() - waiting
        busy = {(seed, part) for seed, part in said if seed in at_work} if running else set()
        self._tracker.update(said, busy)
        jobs = f"jobs: {len(self.flights.aloft) - running} queued, {running} running, {self.ended[DONE]} done"
        bad = sum(count for how, count in self.ended.items() if how != DONE)
        state = self._tracker.state(len(self.desk.todo), workers=max(1, running))
        self.desk.reporter.show(replace(state, jobs=jobs + (f", {bad} lost" if bad else "")))

    def _begin_again(self, seeds: Sequence[int]) -> None:
        """Forget what workers of these seeds said, whose jobs went: the next count from where they went on."""
        for seed in seeds:
            self._tracker.again(seed)
            self.desk.inbox.forget_progress(seed)

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.desk.reporter.note(text)
