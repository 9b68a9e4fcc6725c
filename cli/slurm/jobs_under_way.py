"""Jobs that are on their way: submitted by this command, or found again from one before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sics_analysis.results import plural
from sics_cli.base.errors import SicsError
from sics_cli.experiment.provenance import now
from sics_cli.seeds.job import SeedJob
from sics_cli.slurm.executor import RefusedJobsError, SlurmCluster, SlurmExecutor, SlurmFuture
from sics_cli.slurm.job import JobFile, run_part
from sics_cli.slurm.ledger import Batch, JobPart, Ledger

#: How things stand with a job's part: cells that are missing, and epochs that its seeds were trained for.
Standing = tuple[int, int]


@dataclass(slots=True)
class Flight:
    """A job on its way, and how things stood when it began."""

    batch: Batch
    index: int
    future: SlurmFuture
    begun: Standing
    settled: int | None = None

    @property
    def part(self) -> JobPart:
        """What it computes."""
        return self.batch.parts[self.index]


class Flights:
    """The jobs on their way of the run in `folder`; `note` is told what users are to know."""

    def __init__(
        self,
        folder: Path,
        device: str,
        cluster: SlurmCluster,
        standing: Callable[[JobPart], Standing],
        note: Callable[[str], None],
    ) -> None:
        self.cluster, self.queue, self.ledger = cluster, cluster.queue, Ledger(folder)
        self.aloft: list[Flight] = []
        self._unsure: dict[str, tuple[Batch, int]] = {}
        self._device, self._standing, self._note = device, standing, note

    def seeds(self) -> set[int]:
        """Seeds that jobs are at, or may be."""
        unsure = {seed for batch, _ in self._unsure.values() for part in batch.parts for seed in part.seeds}
        return unsure | {seed for flight in self.aloft for seed in flight.part.seeds}

    def names(self) -> Iterable[str]:
        """What the jobs are called in the queue."""
        return [flight.batch.name for flight in self.aloft] + [batch.name for batch, _ in self._unsure.values()]

    def land(self, flight: Flight, how: str) -> None:
        """Note how a job ended; its batch is still to be saved."""
        flight.batch.ended[flight.index] = how
        self.aloft.remove(flight)
        self.queue.forget(flight.future.job_id)

    # -- what an earlier driver submitted -----------------------------------------------------------------------

    def find_again(self) -> None:
        """Take over what is written down as on its way; refuse where the queue does not answer."""
        self.ledger.prepare()
        batches = self.ledger.open()
        if not batches:
            return
        here = self.cluster.name()
        self.queue.look(batch.name for batch in batches)
        if self.queue.trouble:
            raise SicsError(f"{self.queue.trouble}: jobs of an earlier command may be on their way: try again when it answers")
        for batch in batches:
            if batch.cluster != here:
                self._note(
                    f"{plural(len(batch.open), 'job')} of {batch.created} went to cluster {batch.cluster}, this is "
                    f"{here}: given up"
                )
                self.ledger.drop(batch)
            elif batch.submitted is None and not self._identify(batch):
                self._note(f"a submission of {batch.created} was cut off before it reached the queue: made again")
                self.ledger.drop(batch)
            else:
                self._adopt(batch)
        if self.aloft:
            ids = ", ".join(dict.fromkeys(str(flight.batch.submitted) for flight in self.aloft))
            self._note(f"found {plural(len(self.aloft), 'job')} of an earlier command again ({ids})")

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
            self._add(batch, index, executor.again(batch.job_id(index), run_part, self._path(batch, index)))

    def _add(self, batch: Batch, index: int, future: SlurmFuture) -> None:
        self.queue.watch([future.job_id])
        self.aloft.append(Flight(batch, index, future, self._standing(batch.parts[index])))

    def _executor(self, batch: Batch) -> SlurmExecutor:
        at_once = self.cluster.at_once or len(batch.parts)
        return SlurmExecutor(self.ledger.place(batch), batch.name, self.cluster.options, self.queue, at_once)

    def _path(self, batch: Batch, index: int) -> Path:
        return self.ledger.place(batch).resolve() / f"part-{index}.pkl"

    # -- what this driver submits -------------------------------------------------------------------------------

    def submit(self, parts: Sequence[JobPart], jobs: Mapping[int, SeedJob]) -> None:
        """Submit jobs, in arrays no longer than the controller takes; if it refuses one, those before it are on their way."""
        longest = self.cluster.facts().array
        for start in range(0, len(parts), longest):
            self._submit(parts[start : start + longest], jobs)

    def _submit(self, parts: Sequence[JobPart], jobs: Mapping[int, SeedJob]) -> None:
        batch = self.ledger.begin("slurm", self.cluster.name(), now(), parts)
        for index, part in enumerate(parts):
            JobFile(self._device, tuple(jobs[seed] for seed in part.seeds)).write(self._path(batch, index))
        self.ledger.save(batch)  # from here on a driver that comes after this one knows of it
        executor = self._executor(batch)
        try:
            with executor.batch():
                futures = [executor.submit(run_part, self._path(batch, index)) for index in range(len(parts))]
        except RefusedJobsError as error:
            self._after_refusal(batch, error)
            return
        batch.submitted = futures[0].job_id.partition("_")[0]
        self.ledger.save(batch)
        for index, future in enumerate(futures):
            self._add(batch, index, future)
        self._say_submitted(batch)

    def _say_submitted(self, batch: Batch) -> None:
        parts = batch.parts
        cells = sum(len(part.keys) for part in parts)
        what = f"as array {batch.submitted}" if len(parts) > 1 else f"as job {batch.submitted}"
        self._note(f"submitted {plural(len(parts), 'job')} of {plural(cells, 'cell')} {what}")

    def _after_refusal(self, batch: Batch, error: RefusedJobsError) -> None:
        """An answer that did not come in time is no refusal: only what the queue does not know is forgotten."""
        self.queue.look_now([*self.names(), batch.name])
        if self.queue.trouble is not None:
            self._unsure[batch.token] = batch, self.queue.asked
            self._note(f"{error}; {self.queue.trouble}: finding out whether they arrived when it answers again")
        elif not self._arrived(batch):
            raise error

    def make_sure(self, *, at_once: bool = False) -> None:
        """Find out, once the queue has answered twice, which submissions reached it that it did not confirm."""
        if at_once and self._unsure:
            self.queue.look_now(self.names())
        for token, (batch, asked) in list(self._unsure.items()):
            if self.queue.asked >= asked + (1 if at_once else 2):
                del self._unsure[token]
                self._arrived(batch)

    def _arrived(self, batch: Batch) -> bool:
        """Take over a submission that nobody confirmed if the queue knows it, forget it if not."""
        if not self._identify(batch):
            self.ledger.drop(batch)
            return False
        self._adopt(batch)
        self._say_submitted(batch)
        return True
