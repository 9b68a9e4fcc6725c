"""The loop for a queue, against a queue of this process: what depends on when jobs end, and not on what they compute."""

import contextlib
import itertools
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sics_cli.base.errors import SicsError, WorkersLostError
from sics_cli.experiment.cells import Cell
from sics_cli.experiment.cost import Cost
from sics_cli.runs import campaign
from sics_cli.runs.campaign import Campaign
from sics_cli.seeds import progress
from sics_cli.seeds.progress import State
from sics_cli.slurm import jobs_under_way
from sics_cli.slurm.executor import JobLostError, RefusedJobsError, SlurmOptions
from sics_cli.slurm.job import JobFile, JobResult
from sics_cli.slurm.job_plan import parts_of
from sics_cli.slurm.ledger import JobPart, Ledger
from sics_cli.slurm.queue import ClusterFacts, Queue
from sics_cli.store.inbox import Inbox, Progress

#: Seconds that a job of the queue takes for a seed.
SEED_SECONDS = 60.0


@dataclass
class Job:
    """A job as the queue knows it."""

    name: str
    seeds: tuple[int, ...]
    state: str = "PENDING"
    reason: str = "Priority"
    left: list[int] = field(default_factory=list)
    until: float = 0.0
    result: JobResult | None = None


class World:
    """A queue, its jobs, and the time; `dies` says at which seeds a job is killed as soon as it begins them."""

    def __init__(self, folder: Path, seeds: int, cells: int = 4, longest: int = 1000, poll: float = 10.0) -> None:
        self.now = 0.0
        self.jobs: dict[str, Job] = {}
        self.tries: list[tuple[int, ...]] = []
        self.room = 10**6
        self.dies: Callable[[int], bool] = lambda seed: False
        self.starts: Callable[[Job], bool] = lambda job: True
        self.notes: list[str] = []
        self.states: list[State] = []
        self.squeue_silent = False
        self.tells = True
        self.sbatch: Callable[[list[JobPart]], str | None] = lambda parts: None
        self.events: dict[float, Callable[[], None]] = {}
        self.letters: set[str] = set()
        self.kept: dict[int, float] = {}
        self.todo = {f"{s}-{i}": Cell(f"{s}-{i}", s, None, 0.0) for s in range(seeds) for i in range(cells)}
        self._ids = itertools.count(1)
        self._folder, self._longest, self._poll = folder, longest, poll

    # -- the queue --------------------------------------------------------------------------------------------

    def squeue(self, command: Sequence[str]) -> str:
        if self.squeue_silent:
            raise SicsError("squeue fails: no answer")
        return "\n".join(f"{key}|{job.state}|{job.name}|n1|{job.reason}" for key, job in self.jobs.items())

    def sleep(self, seconds: float) -> None:
        assert self.now < 10**6, "no end in sight"
        self.now += seconds
        for moment in [moment for moment in self.events if moment <= self.now]:
            self.events.pop(moment)()
        for job in self.jobs.values():
            if job.state == "PENDING" and self.starts(job) and self._running() < self.room:
                job.state, job.reason, job.left, job.until = "RUNNING", "None", list(job.seeds), self.now + SEED_SECONDS
            elif job.state == "RUNNING":
                self._work(job)

    def _running(self) -> int:
        return sum(job.state == "RUNNING" for job in self.jobs.values())

    def _work(self, job: Job) -> None:
        if self.dies(job.left[0]):
            job.state = "FAILED"
            return
        inbox = Inbox(self._folder, "run")
        if self.now < job.until:
            self.kept[job.left[0]] = SEED_SECONDS - (job.until - self.now)
            if self.tells:
                inbox.tell(Progress(job.left[0], "training", self.kept[job.left[0]]))
            return
        self.letters |= {key for key, cell in self.todo.items() if cell.seed == job.left[0]}
        job.left.pop(0)
        job.until = self.now + SEED_SECONDS
        if not job.left:
            job.state, job.result = "COMPLETED", JobResult(job.seeds)

    def executor(self, folder: Path, name: str, options: SlurmOptions, queue: Queue, at_once: int) -> Any:
        """What `SlurmExecutor` does, with this queue."""
        queued: list[SimpleNamespace] = []

        def future(job_id: str) -> SimpleNamespace:
            def result() -> JobResult:
                job = self.jobs[job_id]
                if job.result is None:
                    raise JobLostError(queue.ended(job_id))
                return job.result

            def done() -> bool:
                return self.jobs[job_id].result is not None or queue.ended(job_id) is not None

            return SimpleNamespace(job_id=job_id, done=done, result=result)

        def submit(function: object, path: Path) -> SimpleNamespace:
            queued.append(SimpleNamespace(path=path))
            return queued[-1]

        @contextlib.contextmanager
        def batch() -> Iterator[None]:
            yield
            seeds = [tuple(int(seed) for seed in seeds_in(entry.path)) for entry in queued]
            trouble = self.sbatch([JobPart(mine, ()) for mine in seeds])
            if trouble is None or trouble == "taken, but nobody heard":
                number = next(self._ids)
                for index, (mine, entry) in enumerate(zip(seeds, queued, strict=True)):
                    job_id = f"{number}_{index}" if len(queued) > 1 else str(number)
                    self.jobs[job_id] = Job(name, mine)
                    vars(entry).update(vars(future(job_id)))
                    self.tries.append(mine)
            if trouble is not None:
                raise RefusedJobsError(f"the jobs are refused: {trouble}")

        return SimpleNamespace(submit=submit, batch=batch, again=lambda job_id, *rest: future(job_id))

    # -- the driver -------------------------------------------------------------------------------------------

    def campaign(self, minutes: float = 10.0) -> Campaign:
        """A new driver, beside what another may have left."""
        options = SlurmOptions(minutes_per_job=minutes, poll_seconds=self._poll)
        facts = ClusterFacts("here", self._longest)
        queue = Queue(self._poll, self.squeue, lambda: self.now)
        cluster: Any = SimpleNamespace(options=options, at_once=None, queue=queue, facts=lambda: facts, name=lambda: "here")
        inbox = Inbox(self._folder, "run")
        inbox.prepare(shared=bool(Ledger(self._folder).open()))
        run: Any = SimpleNamespace(
            session=SimpleNamespace(folder=self._folder, gpus=(), recipe=None), inbox=inbox, todo=self.todo, take_in=self.take_in,
            store=SimpleNamespace(keys=lambda: set(self.letters), failed_keys=set, minutes=minutes), trained=lambda seed: 0,
            seed_jobs=lambda cells: {cell.seed: cell.seed for cell in cells},
            seed_plan=lambda seed, cells: SimpleNamespace(remaining=SEED_SECONDS - self.kept.get(seed, 0.0)),
            say_done=lambda seed, cells: self.notes.append(f"seed {seed} done"),
            reporter=SimpleNamespace(note=self.notes.append), show=self.states.append,
        )  # fmt: skip
        return Campaign(run, cluster)

    def take_in(self) -> None:
        for key in self.letters & set(self.todo):
            del self.todo[key]

    def told(self, words: str) -> int:
        return sum(words in note for note in self.notes)


def in_parts(recipe: object, folder: Path, store: Any, cells: Sequence[Cell], cluster: object, alone: set[int]) -> list[JobPart]:
    return parts_of(cells, Cost(SEED_SECONDS, 0.0, 0.0, ""), store.minutes, lambda seed: 0.0, alone=alone)


def seeds_in(path: Path) -> tuple[Any, ...]:
    file: JobFile = pickle.loads(path.read_bytes())
    return file.jobs


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    def made(*asked: Any, **more: Any) -> World:
        world = World(tmp_path, *asked, **more)
        monkeypatch.setattr(campaign, "time", SimpleNamespace(monotonic=lambda: world.now, sleep=world.sleep))
        monkeypatch.setattr(campaign, "run_parts", in_parts)
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: world.now))
        monkeypatch.setattr(jobs_under_way, "SlurmExecutor", world.executor)
        return world

    return made


Make = Callable[..., World]


def test_ten_thousand_cells_are_arrays_that_the_controller_takes(make: Make) -> None:
    world = make(200, cells=50, longest=30)
    world.tells = False
    sizes: list[int] = []
    world.sbatch = lambda parts: sizes.append(len(parts))  # type: ignore[func-returns-value]
    world.campaign(minutes=0).run()
    assert sizes == [30] * 6 + [20]
    assert sorted(world.tries) == [(seed,) for seed in range(200)], "each seed once"
    assert (world.todo, Ledger(world._folder).open()) == ({}, [])
    grouped = make(200, cells=50, longest=30)
    grouped.tells = False
    grouped.campaign(minutes=10).run()
    assert {len(seeds) for seeds in grouped.tries} <= {9, 2}, "ten minutes of seeds of one minute, and the start of the job"
    assert sorted(itertools.chain(*grouped.tries)) == list(range(200))


def test_a_seed_that_kills_its_jobs_is_given_up_and_no_other(make: Make) -> None:
    """Nine seeds in a job: those behind the deadly one were never begun, and must not be counted with it."""
    world = make(9)
    world.dies = lambda seed: seed == 2
    with pytest.raises(WorkersLostError, match=r"^jobs of seeds 2 ended 3 times in a row without finishing a cell"):
        world.campaign().run()
    assert {key.partition("-")[0] for key in world.letters} == {str(seed) for seed in range(9) if seed != 2}
    assert world.tries[:2] == [tuple(range(9)), tuple(range(2, 9))]
    assert sorted(world.tries[2:]) == [(2,), (2,), *((seed,) for seed in range(3, 9))], "each alone, three losses in all"


def test_a_node_that_kills_everything_does_not_keep_the_queue_busy(make: Make) -> None:
    world = make(20)
    world.dies = lambda seed: True
    world.tells = False
    with pytest.raises(WorkersLostError):
        world.campaign(minutes=0).run()
    assert len(world.tries) == 3 * 20
    assert world.told("on n1: submitted again") == 2 * 20, "the node is named: it can be excluded"


def test_refused_jobs_end_the_command_only_where_none_is_on_its_way(make: Make) -> None:
    world = make(6, longest=2)
    answers = iter([None, None, "too many", None])
    world.sbatch = lambda parts: next(answers)
    world.campaign(minutes=0).run()
    assert sorted(world.tries) == [(seed,) for seed in range(6)], "the last two were taken in the end, each once"
    assert world.told("too many; other jobs go on, these are offered again") == 1
    refused = make(6)
    refused.sbatch = lambda parts: "invalid account"
    with pytest.raises(RefusedJobsError, match="invalid account"):
        refused.campaign().run()
    assert list(Ledger(refused._folder).folder.glob("*/part*")) == []


@pytest.mark.parametrize("arrived", [True, False])
def test_a_submission_that_nobody_confirmed_is_not_made_twice(make: Make, arrived: bool) -> None:
    world = make(3)

    def sbatch(parts: list[JobPart]) -> str | None:
        world.sbatch = lambda parts: None
        world.squeue_silent = True
        world.events[30.0] = lambda: setattr(world, "squeue_silent", False)
        return "taken, but nobody heard" if arrived else "Unable to contact slurm controller"

    world.sbatch = sbatch
    world.campaign(minutes=0).run()
    assert sorted(world.tries) == [(0,), (1,), (2,)]
    assert world.told("finding out whether they arrived when it answers again") == 1
    assert world.told("submitted 3 jobs") == 1
    assert (world.todo, Ledger(world._folder).open()) == ({}, [])


def test_results_of_a_submission_that_nobody_confirmed_are_taken_though_the_queue_stays_silent(make: Make) -> None:
    world = make(3)

    def sbatch(parts: list[JobPart]) -> str:
        world.squeue_silent = True
        return "taken, but nobody heard"

    world.sbatch = sbatch
    world.campaign(minutes=0).run()
    assert world.todo == {}
    assert len(Ledger(world._folder).open()) == 1, "who runs the command next finds out"
    world.squeue_silent = False
    world.campaign(minutes=0).run()
    assert Ledger(world._folder).open() == []
    assert len(world.tries) == 3


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("PartitionTimeLimit", True),
        ("JobHeldUser", True),
        ("launch failed requeued held", True),
        ("QOSMaxWallDurationPerJobLimit", True),
        ("PartitionDown", True),
        ("Priority", False),
        ("Resources", False),
        ("QOSGrpCpuLimit", False),
    ],
)
def test_jobs_that_no_time_will_start_are_told_of_once(make: Make, reason: str, told: bool) -> None:
    world = make(3)
    world.starts = lambda job: world.now > 100

    def hold() -> None:
        for job in world.jobs.values():
            job.reason = reason

    world.events[5.0] = hold
    world.campaign(minutes=0).run()
    assert world.told(f"3 jobs wait (1_0 to 1_2), and not for their turn: {reason}") == told


def test_progress_is_that_of_the_work_whoever_drives(make: Make) -> None:
    """One seed after another; the fraction told follows the work, also after the driver was killed and begun again."""
    world = make(4)
    world.room = 1

    def kill() -> None:
        raise KeyboardInterrupt

    world.events[SEED_SECONDS * 2 + 50.0] = kill
    with pytest.raises(KeyboardInterrupt):
        world.campaign().run()
    before = [state.fraction for state in world.states]
    assert before == sorted(before)
    assert 0.6 < before[-1] < 0.75, "two seeds of four and most of the third"
    world.states.clear()
    world.campaign().run()
    assert world.states[0].fraction < 0.1, "of what was left when it began"
    told = [state.fraction for state in world.states]
    assert told == sorted(told)
    assert sum(told) / len(told) == pytest.approx(0.5, abs=0.1)
    seconds = [state.seconds_left for state in world.states if state.seconds_left is not None]
    assert seconds[len(seconds) // 2] == pytest.approx(35, abs=12), "about half of 70 s, and not next to nothing"


def test_progress_goes_on_where_a_requeued_job_goes_on(make: Make) -> None:
    world = make(1)

    def requeue() -> None:
        (job,) = world.jobs.values()
        job.state, job.reason = "PENDING", "BeginTime"
        world.starts = lambda job: world.now > 80

    world.events[40.0] = requeue
    world.campaign().run()
    told = [state.fraction for state in world.states]
    assert told == sorted(told)
    assert max(told) == 1.0, "what the first try trained was kept: the second counts from there"
    assert world.tries == [(0,)]
