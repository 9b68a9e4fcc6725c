"""The driver's loop where jobs wait in a queue: submit what nobody computes, take in results, notice what is lost.

Nothing here has to stay alive: jobs are written down before they are submitted, they leave their results as files, and
whoever runs the same command later goes on with both.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sics_analysis.results import plural
from sics_cli.base.errors import WorkersLostError
from sics_cli.experiment.cells import by_seed
from sics_cli.runs.open_run import OpenRun
from sics_cli.seeds.progress import Tracker
from sics_cli.slurm.executor import JobLostError, RefusedJobsError, SlurmCluster
from sics_cli.slurm.job import JobResult
from sics_cli.slurm.job_plan import run_parts
from sics_cli.slurm.jobs_under_way import Flight, Flights, Standing
from sics_cli.slurm.ledger import DONE, Batch, JobPart
from sics_cli.slurm.queue import RUNNING

#: How often in a row a seed's jobs may end without bringing it further.
MAX_LOSSES = 3
_LOOK_SECONDS = 2.0
_SETTLE_SECONDS = 20.0
#: Jobs that are refused while others are on their way are offered again after so many looks at the queue.
_PATIENCE_LOOKS = 20


class Campaign:
    """One command's work on a queue."""

    def __init__(self, run: OpenRun, cluster: SlurmCluster) -> None:
        self.open_run, self.todo, self.inbox, self.note = run, run.todo, run.inbox, run.reporter.note
        self.cluster, self.queue = cluster, cluster.queue
        device = "cuda:0" if run.session.gpus else "cpu"
        self.flights = Flights(run.session.folder, device, cluster, self._standing, self.note)
        self.ended: Counter[str] = Counter()
        #: Seeds that are not tried again, and what their last job said; and how often in a row a seed's jobs brought nothing.
        self._given_up: dict[int, str] = {}
        self._losses: Counter[int] = Counter()
        self._not_before = float("-inf")
        self._asked = by_seed(list(run.todo.values()))
        self._tracker = Tracker({}, 1)
        self._said: set[str] = set()

    def run(self) -> None:
        """Return when every cell of `todo` has come.

        A `WorkersLostError` says that a seed's jobs were lost too often, once all others were waited for; other errors that the
        queue refuses jobs, or that a job met what stops the whole run. Other jobs go on.
        """
        self.flights.find_again()
        if not self.flights.aloft:
            self.inbox.forget_taken()
        left = {seed: self.open_run.seed_plan(seed, cells).remaining for seed, cells in self._asked.items()}
        self._tracker = Tracker(left, 1, self.inbox.progress())
        open_seeds = set(self._asked)
        while True:
            self.open_run.take_in()
            self._look()
            self._land()
            for seed in sorted(open_seeds - {cell.seed for cell in self.todo.values()}):
                open_seeds.discard(seed)
                if seed not in self._given_up:
                    self._tracker.finish(seed)
                    self.inbox.forget_progress(seed)
                    self.open_run.say_done(seed, self._asked[seed])
            self._submit_missing()
            if not self.todo:
                break
            self._show(open_seeds)
            time.sleep(min(_LOOK_SECONDS, self.cluster.options.poll_seconds))
        self._finish()

    def _standing(self, part: JobPart) -> Standing:
        return sum(key in self.todo for key in part.keys), sum(self.open_run.trained(seed) for seed in part.seeds)

    def _submit_missing(self) -> None:
        """Submit the cells of seeds that no job is at; what is lost meanwhile waits for the next time the queue is asked.

        Two jobs are never at one seed: they would train it twice.
        """
        busy = self.flights.seeds()
        cells = [cell for cell in self.todo.values() if cell.seed not in busy]
        poll = self.cluster.options.poll_seconds
        if not cells or time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + poll
        # Seeds whose last job brought nothing have the next to themselves, lest another's fault be counted as theirs.
        doubted = {seed for seed, count in self._losses.items() if count}
        session = self.open_run.session
        parts = run_parts(session.recipe, session.folder, self.open_run.store, cells, self.cluster, doubted)
        jobs = self.open_run.seed_jobs(cells)
        self.inbox.forget_taken({cell.key for cell in cells})
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
        self.note(f"{what}, and not for {turn} turn: {reason} ({release} or scancel ends that)")

    def _land(self) -> None:
        """Write down which jobs have ended; the cells they did not bring are to be submitted again."""
        changed: dict[str, Batch] = {}
        for flight in list(self.flights.aloft):
            if self.queue.state(flight.future.job_id) == "PENDING" or not flight.future.done():
                continue
            result, how = self._result(flight)
            if result is None or result.fatal is None:
                self.open_run.take_in()
            missing = [key for key in flight.part.keys if key in self.todo]
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
        for seed in flight.part.seeds:
            self._losses[seed] = 0 if further else self._losses[seed] + 1
        given_up = [seed for seed in flight.part.seeds if self._losses[seed] >= MAX_LOSSES]
        self._given_up |= dict.fromkeys(given_up, f"{what}; its log: {log}")
        self._begin_again(flight.part.seeds)
        for key in [key for key, cell in self.todo.items() if cell.seed in given_up]:
            del self.todo[key]
        self.note(f"{what}: {'given up' if given_up else 'submitted again'}, {plural(missing, 'cell')} left")

    def _finish(self) -> None:
        """Wait a little for jobs that have brought all they were asked for, and write down that they are done."""
        end = time.monotonic() + _SETTLE_SECONDS
        self.flights.make_sure(at_once=True)
        stored = self.open_run.store.keys() | self.open_run.store.failed_keys()
        mine = [flight for flight in self.flights.aloft if stored.issuperset(flight.part.keys)]
        while mine and time.monotonic() < end and not all(flight.future.done() for flight in mine):
            time.sleep(0.1)
        for flight in mine:
            self.flights.land(flight, DONE)
        for batch in {id(flight.batch): flight.batch for flight in mine}.values():
            self.flights.ledger.save(batch)
        if self.flights.aloft:
            self.note(f"{plural(len(self.flights.aloft), 'job')} of other cells still on the way")
        else:
            self.inbox.forget_taken()
        if self._given_up:
            seeds, last = ", ".join(map(str, sorted(self._given_up))), list(self._given_up.values())[-1]
            raise WorkersLostError(
                f"jobs of seeds {seeds} ended {MAX_LOSSES} times in a row without finishing a cell; the last: {last}"
            )

    # -- telling ----------------------------------------------------------------------------------------------

    def _show(self, open_seeds: set[int]) -> None:
        states = Counter(self.queue.state(flight.future.job_id) for flight in self.flights.aloft)
        running = sum(count for state, count in states.items() if state in RUNNING)
        said = self.inbox.progress()
        queued = [flight for flight in self.flights.aloft if self.queue.state(flight.future.job_id) == "PENDING"]
        waiting = {seed for flight in queued for seed in flight.part.seeds}
        self._begin_again(sorted(waiting & {seed for seed, _ in said}))  # those that were requeued
        at_work = open_seeds & self.flights.seeds() - waiting
        busy = {(seed, part) for seed, part in said if seed in at_work} if running else set()
        self._tracker.update(said, busy)
        jobs = f"jobs: {len(self.flights.aloft) - running} queued, {running} running, {self.ended[DONE]} done"
        bad = sum(count for how, count in self.ended.items() if how != DONE)
        state = self._tracker.state(len(self.todo), workers=max(1, running))
        self.open_run.show(replace(state, jobs=jobs + (f", {bad} lost" if bad else "")))

    def _begin_again(self, seeds: Sequence[int]) -> None:
        """Forget what workers of these seeds said, whose jobs went: the next count from where they went on."""
        for seed in seeds:
            self._tracker.again(seed)
            self.inbox.forget_progress(seed)

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.note(text)
