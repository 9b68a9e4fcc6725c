"""The parts of the Slurm executor that need no Slurm: options, the queue's words, records, groups, what a requeued job does."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_cli.base.errors import ConfigError, LockedError, SicsError, StoreError
from sics_cli.experiment.cells import Cell, by_seed, plan_cells
from sics_cli.experiment.cost import Cost, estimate
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.experiment.scorers import ScorerInfo
from sics_cli.main import main
from sics_cli.runs.executors import make_place
from sics_cli.seeds.job import SeedJob
from sics_cli.settings.config import Experiment
from sics_cli.settings.images import ModelConfig
from sics_cli.slurm.executor import SlurmOptions, outside_of_jobs
from sics_cli.slurm.job import JobFile, JobResult, run_part, unfinished
from sics_cli.slurm.job_plan import forecast, group, parts_of
from sics_cli.slurm.ledger import DONE, Batch, JobPart, Ledger, keys_on_their_way
from sics_cli.slurm.queue import GONE, ClusterFacts, Queue, cluster_facts, parse_squeue, run_command
from sics_cli.store.inbox import Inbox, Intake
from sics_cli.store.rows import CellRow, CheckpointRow, FailureRow, RepeatRow
from sics_cli.store.run_folder import LOCK_NAME, TAKEN_NAME, lock_holder, run_lock
from sics_cli.store.store import Store

# -- options ----------------------------------------------------------------------------------------------------------


def test_options_are_read_and_put_in_submitits_words() -> None:
    options = SlurmOptions.parse("partition=gpu, gpus_per_node=1,timeout_min=90,mem_gb=16,minutes_per_job=20,poll_seconds=30")
    assert (options.minutes_per_job, options.poll_seconds) == (20.0, 30.0)
    assert options.parameters() == {
        "slurm_partition": "gpu", "gpus_per_node": 1, "timeout_min": 90, "mem_gb": 16.0, "cpus_per_task": 1,
    }  # fmt: skip
    assert SlurmOptions.parse("").parameters() == {"cpus_per_task": 1, "timeout_min": 60}


def test_names_may_be_several_as_slurm_takes_them() -> None:
    read = SlurmOptions.parse("partition=gpu,long,timeout_min=90,exclude=node[1,3],node7,constraint=a100")
    assert (read.partition, read.timeout_min, read.exclude, read.constraint) == ("gpu,long", 90, "node[1,3],node7", "a100")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("account=a,b", ("--slurm b:", "give KEY=VALUE")),
        ("partitoin=gpu", ("unknown key 'partitoin'", "give partition, account")),
        ("partition", ("--slurm partition:", "give KEY=VALUE,KEY=VALUE")),
        ("partition=", ("--slurm partition=:", "give KEY=VALUE")),
        ("partition=a b", ("partition=a b", "without spaces")),
        ("partition=a\n#SBATCH --x", ("without spaces",)),
        ("timeout_min=1.5", ("timeout_min=1.5", "whole minutes from 1")),
        ("timeout_min=0", ("whole minutes from 1",)),
        ("gpus_per_node=4", ("gpus_per_node=4", "a seed takes one GPU")),
        ("mem_gb=nan", ("mem_gb=nan", "gigabytes above 0")),
        ("poll_seconds=0.1", ("poll_seconds=0.1", "from 1 to 3600")),
        ("minutes_per_job=inf", ("minutes_per_job=inf",)),
        ("cpus_per_task=2,cpus_per_task=3", ("cpus_per_task is given twice",)),
    ],
)
def test_what_is_not_accepted_is_one_line(text: str, words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replicate", "--executor", "slurm", "--slurm", text]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sics-run: --slurm ")
    assert all(" ".join(word.split()) in line for word in words), line


def test_devices_are_those_of_the_job_not_of_this_machine() -> None:
    with_gpu, without = SlurmOptions.parse("gpus_per_node=1"), SlurmOptions.parse("")
    assert [with_gpu.gpus(name) for name in ("auto", "cuda", "cuda:0")] == [(0,)] * 3
    assert [without.gpus(name) for name in ("auto", "cpu")] == [(), ()]
    with pytest.raises(ConfigError, match=r"--device cuda: jobs get no GPU: give --slurm gpus_per_node=1"):
        without.gpus("cuda")
    for name in ("cpu", "cuda:1"):
        with pytest.raises(ConfigError, match=rf"--device {name}: a job has one GPU"):
            with_gpu.gpus(name)


def test_a_driver_in_a_job_keeps_that_job_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """sbatch hands on the environment it meets: another job's tasks and memory would be asked for in each of ours."""
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_MEM_PER_CPU", "SLURMD_NODENAME", "SRUN_DEBUG", "SUBMITIT_EXECUTOR"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    before = dict(os.environ)
    with outside_of_jobs():
        assert {name for name in os.environ if name.startswith(("SLURM", "SRUN", "SUBMITIT"))} == {"SLURM_CONF"}
        assert os.environ["SBATCH_ACCOUNT"] == "mine"
    assert dict(os.environ) == before
    monkeypatch.delenv("SLURM_JOB_ID")
    with outside_of_jobs():
        assert os.environ["SLURM_NTASKS"] == "7", "outside of a job it is a user's own wish"


def test_options_of_one_executor_are_refused_by_another() -> None:
    for executor in ("local", "ray"):
        with pytest.raises(ConfigError, match=f"--slurm partition=x: is for --executor slurm, this is --executor {executor}"):
            make_place(executor, "partition=x", None, 1)


@pytest.mark.parametrize(("executor", "module", "extra"), [("slurm", "submitit", "slurm"), ("ray", "ray", "ray")])
def test_a_missing_extra_is_one_line(executor: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"--executor {executor}: needs {module} .*pip install 'sics\[{extra}\]'"):
        make_place(executor, None, None, 1)


def test_a_machine_without_slurm_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="scontrol is not installed here: --executor slurm needs a machine that can submit"):
        make_place("slurm", None, None, 1)


def test_a_local_run_loads_neither_engine(cli: Any) -> None:
    code = (
        "import sys; from sics_cli.main import main; assert main(['replicate', '--config', 'tiny.toml', '--dry-run']) == 0; "
        "print({'submitit', 'ray', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=cli.folder, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


# -- the queue's words ------------------------------------------------------------------------------------------------


class FakeSlurm:
    """Answers squeue with lines, or not at all."""

    def __init__(self) -> None:
        self.lines: list[str] | None = []
        self.commands: list[Sequence[str]] = []
        self.now = 0.0

    def run(self, command: Sequence[str]) -> str:
        self.commands.append(command)
        if self.lines is None:
            raise SicsError("squeue fails: timed out")
        return "\n".join(self.lines)


@pytest.fixture
def fake() -> FakeSlurm:
    return FakeSlurm()


@pytest.fixture
def queue(fake: FakeSlurm) -> Queue:
    return Queue(10.0, fake.run, lambda: fake.now)


def test_the_queue_is_asked_no_more_often_than_agreed(fake: FakeSlurm, queue: Queue) -> None:
    for fake.now in (0.0, 3.0, 9.9, 10.0, 15.0, 20.5):
        queue.look(["b", "a"])
    assert len(fake.commands) == queue.asked == 3
    assert "--name=a,b" in fake.commands[0]
    queue.look([])
    assert len(fake.commands) == 3, "nothing to ask about"


def test_a_job_has_ended_when_two_answers_say_so(fake: FakeSlurm, queue: Queue) -> None:
    queue.watch(["5_0", "5_1"])
    fake.lines = ["5_0|RUNNING|a|n1|None", "5_1|PENDING|a||Priority"]
    said = []
    for fake.now, line in [(0, "5_0|RUNNING|a|n1|None"), (10, "5_0|PREEMPTED|a||None"), (20, "5_0|PENDING|a||BeginTime"),
                           (30, "5_0|CANCELLED|a||None"), (40, "5_0|CANCELLED|a||None")]:  # fmt: skip
        fake.lines = [line]
        queue.look(["a"])
        said.append((queue.ended("5_0"), queue.ended("5_1")))
    assert said == [(None, None), (None, GONE), (None, GONE), (None, GONE), ("CANCELLED", GONE)]


def test_silence_is_not_an_end(fake: FakeSlurm, queue: Queue) -> None:
    queue.watch(["5"])
    fake.lines = ["5|RUNNING|a|n1|None"]
    queue.look(["a"])
    fake.lines = None
    for fake.now in (10, 20, 30, 40):
        queue.look(["a"])
        assert queue.trouble == "squeue fails: timed out"
        assert (queue.ended("5"), queue.state("5")) == (None, "RUNNING")
    fake.lines = ["5|RUNNING|a|n1|None"]
    assert queue.look_now(["a"])["5"].state == "RUNNING"
    assert (queue.node("5"), queue.node("6")) == ("n1", "")
    assert queue.trouble is None


@given(st.text(alphabet="0_|5AB\n ", max_size=40))
def test_any_answer_can_be_read(text: str) -> None:
    assert all(state.state for state in parse_squeue(text).values())


@pytest.mark.parametrize(("size", "array"), [("1001", 1000), ("100", 100), ("0", 1000), ("100000", 1000)])
def test_the_clusters_name_and_limit_are_read(size: str, array: int) -> None:
    said = f"CheckX = 1\nClusterName             = pax\nClusterNameX = no\nMaxArraySize = {size}\n"
    assert cluster_facts(lambda command: said) == ClusterFacts("pax", array)
    assert cluster_facts(lambda command: "").name == "unknown"


def test_a_command_that_fails_says_why_in_one_line() -> None:
    with pytest.raises(SicsError, match=r"^bash fails: one two$"):
        run_command(["bash", "-c", "printf 'one\\ntwo\\n' >&2; exit 3"])


# -- records ----------------------------------------------------------------------------------------------------------


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.open() == []
    batch = ledger.begin("slurm", "pax", "2026-01-01", [JobPart((0, 1), ("a", "b"), 60.0), JobPart((2,), ("c",))])
    assert ledger.batches() == [], "not before it is saved"
    ledger.save(batch)
    assert ledger.open() == [batch]
    assert (batch.job_id(0), batch.name) == ("?_0", f"sics-{batch.token}")
    batch.submitted, batch.ended = "77", {0: DONE}
    ledger.save(batch)
    (read,) = Ledger(tmp_path).open()
    assert read == batch
    assert (read.job_id(1), read.open) == ("77_1", [1])
    assert keys_on_their_way([read]) == {"c"}


def test_what_no_driver_wrote_down_goes_and_what_jobs_finished_stays(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    kept = ledger.begin("slurm", "pax", "now", [JobPart((0,), ("a",))])
    ledger.save(kept)
    forgotten = ledger.begin("slurm", "pax", "now", [JobPart((0,), ("a",))])
    (ledger.folder / TAKEN_NAME).mkdir()
    (ledger.folder / ".partial-x").touch()
    ledger.prepare()
    assert sorted(path.name for path in ledger.folder.iterdir()) == sorted([kept.token, f"{kept.token}.json", TAKEN_NAME])
    assert not ledger.place(forgotten).exists()


@pytest.mark.parametrize(("how", "left"), [(DONE, None), ("FAILED", {"5_0_log.err", "5_0_log.out"})])
def test_logs_stay_where_a_job_failed(tmp_path: Path, how: str, left: set[str] | None) -> None:
    ledger = Ledger(tmp_path)
    batch = ledger.begin("slurm", "pax", "now", [JobPart((0,), ("a",))])
    for name in ("5_0_log.err", "5_0_log.out", "5_submitted.pkl", "part-0.pkl"):
        (ledger.place(batch) / name).touch()
    batch.ended = {0: how}
    ledger.save(batch)
    place = ledger.place(batch)
    assert ({path.name for path in place.iterdir()} if place.exists() else None) == left


def test_a_damaged_record_is_not_passed_over(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.folder.mkdir()
    (ledger.folder / "x.json").write_text('{"token": ')
    with pytest.raises(StoreError, match=r"x\.json: cannot be read .*its jobs are not known"):
        ledger.open()


def test_another_executor_is_refused_while_jobs_may_be_on_their_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sics_cli.slurm import ledger as records

    ledger = Ledger(tmp_path)
    batch = ledger.begin("slurm", "pax", "now", [JobPart((0,), ("a",))])
    batch.submitted = "5"
    ledger.save(batch)

    def unreachable() -> ClusterFacts:
        raise ConfigError("scontrol is not installed here")

    monkeypatch.setattr(records, "cluster_facts", unreachable)
    with pytest.raises(LockedError, match=r"queue of cluster pax \(5\): go on with --executor slurm, or end them \(scancel 5\)"):
        records.check_no_jobs(tmp_path)
    answers = {"running": "5|RUNNING|" + batch.name + "|n1|None", "over": "5|COMPLETED|" + batch.name + "|n1|None"}
    monkeypatch.setattr(records, "cluster_facts", lambda: ClusterFacts("pax", 1000))
    for what, line in answers.items():
        monkeypatch.setattr(records, "Queue", lambda seconds, line=line: Queue(seconds, lambda command: line))
        if what == "running":
            with pytest.raises(LockedError):
                records.check_no_jobs(tmp_path)
    records.check_no_jobs(tmp_path)
    assert ledger.open() == [], "jobs that are over are written down as such"


# -- groups -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.1, 4000) | st.none(), max_size=40), st.floats(0, 60), st.sets(st.integers(0, 40)))
def test_every_seed_is_in_one_job_and_no_shared_job_is_too_long(
    costs: list[float | None], minutes: float, alone: set[int]
) -> None:
    seconds = dict(enumerate(costs))
    jobs = group(seconds, minutes, alone)
    assert all(len(seeds) == 1 for seeds in jobs if alone & set(seeds))
    assert [seed for seeds in jobs for seed in seeds] == list(seconds)
    for seeds in jobs:
        if len(seeds) > 1:
            assert sum(seconds[seed] or 1e9 for seed in seeds) <= 60 * minutes


def test_cells_of_one_checkpoint_stay_together_and_ten_thousand_cells_are_a_few_jobs(experiment: Experiment) -> None:
    infos = scorer_infos()
    many = replace(experiment, seeds=tuple(range(200)), sparsities=(0.5, 0.6, 0.7, 0.8))
    cells = plan_cells(Recipe(many, Environment("cpu", "2.15", "1")), infos)
    assert len(cells) >= 10_000
    cost = Cost(training=25.0, saliency=1.5, cell=0.1, source="")
    parts = parts_of(cells, cost, minutes=10, trained=lambda seed: 0.0)
    assert sorted(key for part in parts for key in part.keys) == sorted(cell.key for cell in cells)
    assert [seed for part in parts for seed in part.seeds] == list(range(200))
    for part in parts:
        assert part.seconds is not None
        assert part.seconds <= 600
    assert len(parts) == -(-200 // int((600 - 15) // cost.total(len(cells) // 200)))
    done = parts_of(cells, cost, minutes=10, trained=lambda seed: 1.0)
    assert len(done) < len(parts), "what is trained already is shorter"
    wide = parts_of(cells, cost, minutes=10, trained=lambda seed: 0.0, workers=50)
    assert [len(part.seeds) for part in wide] == [4] * 50, "as many jobs as are to run at a time"
    three = parts_of(cells, cost, minutes=10, trained=lambda seed: 0.0, workers=3)
    assert len(three) == 15, "thirteen would leave two of three idle at the end"
    assert max(part.seconds or 0.0 for part in three) <= 600, "and none is longer"
    assert len(parts_of(cells, None, minutes=10, trained=lambda seed: 0.0)) == 200, "a job for each seed of unknown length"


def scorer_infos() -> list[ScorerInfo]:
    from sics_cli.experiment.scorers import describe_scorers

    return [info for info in describe_scorers((), "gradient") if not info.on_request]


def test_cost_is_guessed_then_measured(experiment: Experiment, cell_row: Callable[..., CellRow], tmp_path: Path) -> None:
    guessed = estimate(Recipe(experiment, Environment("cpu", "2.15", "1.0")))
    assert guessed is not None
    assert guessed.source == "guessed from the network's size"
    assert guessed.training > 0
    checkpoints = [CheckpointRow(seed, "k", "h", 1, 2, seconds) for seed, seconds in ((0, 20.0), (1, 30.0))]
    cells = [cell_row(wall_seconds=0.2), cell_row(wall_seconds=0.4), cell_row(mask_hash=None, wall_seconds=9.0)]
    measured = estimate(Recipe(experiment, Environment("cpu", "2.15", "1.0")), checkpoints, cells)
    assert measured is not None
    assert (measured.training, measured.source) == (25.0, "measured on 2 seeds")
    assert measured.cell == pytest.approx(0.3)
    assert measured.total(10, trained=0.5) == pytest.approx(12.5 + measured.saliency + 3.0)
    for cost in (guessed, measured):
        assert cost.total(10, signals=("fisher", "lamp")) == pytest.approx(cost.total(10) + cost.signals["fisher"])
        assert cost.total(0, 0.5, ("fisher",)) == cost.total(0, 0.5)
    (tmp_path / "own.safetensors").write_bytes(b"weights")
    given = Recipe(experiment.with_images(checkpoints=(str(tmp_path / "own.safetensors"),)), Environment("cpu", "2.15", "1.0"))
    assert estimate(given, checkpoints, cells).cell == pytest.approx(0.3)
    assert estimate(given, checkpoints).source == "guessed from the network's size", "nothing was trained that tells a pace"
    unknown = experiment.with_images(model=ModelConfig("timm:resnet10t"))
    assert estimate(Recipe(unknown, Environment("cpu", "2.15", "1.0"))) is None


@given(st.lists(st.floats(1, 100), min_size=1, max_size=30), st.integers(1, 40))
def test_forecast_lies_between_its_bounds(jobs: list[float], workers: int) -> None:
    told = forecast(jobs, workers)
    assert told.ideal <= told.expected * (1 + 1e-9)
    assert max(jobs) <= told.expected * (1 + 1e-9)
    assert told.expected <= told.ideal + max(jobs) + 1e-6


# -- what a job does that is run again --------------------------------------------------------------------------------


@pytest.fixture
def seed_job(experiment: Experiment, tmp_path: Path) -> SeedJob:
    environment = Environment("cpu", "2.15", "1")
    cells = tuple(Cell(f"k{i}", 0, None, 0.0, repeat=i == 3) for i in range(4))
    Inbox(tmp_path, "run").prepare()
    return SeedJob(tmp_path, experiment, environment, 0, cells, (), True, {}, "run", Recipe(experiment, environment).task)


def test_a_requeued_job_leaves_out_what_it_finished(
    seed_job: SeedJob, tmp_path: Path, cell_row: Callable[..., CellRow], repeat_row: Callable[..., RepeatRow]
) -> None:
    """Letters that wait, and letters that the driver has taken into the store meanwhile."""
    inbox = Inbox(tmp_path, "run")
    assert unfinished(seed_job) is seed_job
    row, failure = cell_row(cell_key="k0"), FailureRow("k1", "cell", 0, "chaos", 0.5, "no", "", "now")
    with Store.create(tmp_path / "run.sqlite", {}) as store:
        intake = Intake(inbox, store, lambda line: None, keep=True)
        inbox.post(row)
        inbox.post(failure)
        inbox.note("a note is not kept")
        assert sorted(intake.empty()) == ["k0", "k1"]
    assert list(inbox.folder.iterdir()) == []
    inbox.post(repeat_row(repeat_key="k3"))
    left = unfinished(seed_job)
    assert [cell.key for cell in left.cells] == ["k2"]
    assert left.known == (row,), "so that its masks are still shared with the rest"
    forced = unfinished(replace(seed_job, share=False, known=(cell_row(cell_key="old"),)))
    assert (forced.known, forced.share) == ((row,), True)
    inbox.forget_taken({"k1"})
    assert [cell.key for cell in unfinished(seed_job).cells] == ["k1", "k2"]
    inbox.forget_taken()
    assert [cell.key for cell in unfinished(seed_job).cells] == ["k0", "k1", "k2"]


def test_a_job_that_was_given_up_does_nothing(seed_job: SeedJob, tmp_path: Path) -> None:
    import signal

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR2)
    try:
        assert run_part(tmp_path / "part-0.pkl") == JobResult(())
        JobFile("cpu", (replace(seed_job, cells=()),)).write(tmp_path / "part-0.pkl")
        assert run_part(tmp_path / "part-0.pkl") == JobResult((0,)), "a seed whose cells are all there is passed over"
        # A recipe that is not the driver's stops the run: no cell is to blame.
        JobFile("cpu", (seed_job,)).write(tmp_path / "part-0.pkl")
        fatal = run_part(tmp_path / "part-0.pkl").fatal
        assert fatal is not None
        assert "the installed sics_plugin, a file of weights or the code of a task changed" in str(fatal)
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGUSR2, before[1])


def test_the_lock_says_which_machine_holds_it_and_where_there_can_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder on several machines: a process id alone is of one of them; and some mounts have no locks at all."""
    with run_lock(tmp_path):
        assert lock_holder(tmp_path) == f"process {os.getpid()}, since {json.loads((tmp_path / LOCK_NAME).read_text())['since']}"
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("socket.gethostname", lambda: "login2")
            with pytest.raises(LockedError, match=rf"written by process {os.getpid()} on \S+, since"), run_lock(tmp_path):
                pass
    assert lock_holder(tmp_path) is None

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    assert lock_holder(tmp_path) is None
    with (
        pytest.raises(LockedError, match=r"its file system has no file locks \(Function not impl.*Lustre: -o flock"),
        run_lock(tmp_path),
    ):
        pass


def test_by_seed_keeps_the_order() -> None:
    cells = [Cell(str(i), seed, None, 0.0) for i, seed in enumerate((3, 1, 3, 1))]
    assert {seed: [cell.key for cell in mine] for seed, mine in by_seed(cells).items()} == {3: ["0", "2"], 1: ["1", "3"]}


def test_old_records_are_read(tmp_path: Path) -> None:
    """The form on disk: a driver of a later version finds jobs of an earlier one."""
    body = {
        "token": "abc", "executor": "slurm", "cluster": "pax", "created": "2026-01-01", "submitted": "9",
        "parts": [{"seeds": [0], "keys": ["k"], "seconds": None}], "ended": {"0": "DONE"},
    }  # fmt: skip
    assert Batch.from_dict(json.loads(json.dumps(body))).ended == {0: DONE}
