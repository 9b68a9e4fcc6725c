"""What a run on a queue survives. After each fault the store is that of an undisturbed run, and each cell was stored once."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Snapshot = Callable[[Path], dict[str, list[str]]]
Rows = Callable[[Path, str], list[dict[str, Any]]]
Until = Callable[..., bool]
Count = Callable[[Path], int]

#: Takes its time without a core's, so that faults meet a job at work; what it does beyond that is in a file.
SLOW = """
import os, time
from pathlib import Path
from sics_plugin import Scorer, register_scorer

@register_scorer
class Slow(Scorer):
    name, kappa, summary = "slow", 0, "m, after a while"

    def score(self, units, sparsity):
        if "SUBMITIT_EXECUTOR" in os.environ:  # in a job, and not where the driver looks at the scorer
            {body}
            time.sleep(float(os.environ.get("SLOW_SECONDS", "0")))
        return units.magnitude.double()
"""
OPTIONS = ["--scorers", "slow:Slow,magnitude,log,chaos", "--sparsities", ".3,.4,.5,.6,.7,.8", "--seeds", "2"]
CELLS = 2 * (1 + 4 * 6 + 6)


@pytest.fixture(scope="session")
def undisturbed(make_cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = make_cli(tmp_path_factory.mktemp("undisturbed"))
    (made.folder / "slow.py").write_text(SLOW.format(body="pass"))
    done = made(*made.tiny, *OPTIONS, "--workers", "2")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def site(grid: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The grid with the slow scorer; `site.begin()` starts a driver, `site.go` is its command."""
    (grid.folder / "slow.py").write_text(SLOW.format(body="pass"))
    monkeypatch.setenv("SLOW_SECONDS", "0.7")
    grid.go = [*grid.tiny, *OPTIONS, *grid.on]
    started: list[subprocess.Popen[str]] = []

    def begin(*more: str) -> subprocess.Popen[str]:
        started.append(grid.start(*grid.go, *more))
        return started[-1]

    grid.begin = begin
    yield grid
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def end(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=400)
    assert process.returncode == code, err
    assert "Traceback" not in err
    return out, err


def shim(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command before Slurm's own on the PATH; {real} in its text is Slurm's own."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    (place / name).write_text("#!/bin/bash\n" + text.replace("{real}", str(shutil.which(name))))
    (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(place), prepend=os.pathsep)


def stored_once(site: Any, undisturbed: Any, snapshot: Snapshot, out: str) -> None:
    assert snapshot(site.store) == snapshot(undisturbed.store)
    assert f"{CELLS} of them computed now, 0 failed" in out, "each cell is taken in exactly once"


# -- jobs and nodes ---------------------------------------------------------------------------------------------------


def test_running_job_is_cancelled(
    undisturbed: Any, site: Any, slurm: Any, snapshot: Snapshot, until: Until, cells_in: Count
) -> None:
    process = site.begin()
    assert until(lambda: cells_in(site.store) > 3)
    job = slurm.jobs("RUNNING")[0]
    slurm("scancel", job)
    out, err = end(process)
    assert re.search(rf"job {job} ended \(CANCELLED\)( on tester)?: submitted again", err)
    stored_once(site, undisturbed, snapshot, out)
    shown = site("status", "run").stdout
    assert "2 done, 1 failed" in shown
    assert re.search(rf"job {job}, seed \d: CANCELLED", shown)


def test_waiting_job_is_cancelled(undisturbed: Any, site: Any, slurm: Any, snapshot: Snapshot, until: Until) -> None:
    process = site.begin("--workers", "1")
    assert until(lambda: len(slurm.jobs("RUNNING")) == 1 and len(slurm.jobs("PENDING")) == 1)
    (job,) = slurm.jobs("PENDING")
    assert "1 queued, 1 running, 0 done, 0 failed" in site("status", "run").stdout
    slurm("scancel", job)
    out, err = end(process)
    assert re.search(rf"job {job} ended \(CANCELLED\)( on tester)?: submitted again", err)
    stored_once(site, undisturbed, snapshot, out)


def test_worker_is_killed(undisturbed: Any, site: Any, slurm: Any, snapshot: Snapshot, until: Until, cells_in: Count) -> None:
    process = site.begin()
    assert until(lambda: cells_in(site.store) > 3)
    os.kill(slurm.workers()[0], signal.SIGKILL)
    out, err = end(process)
    assert re.search(r"job \d+_\d ended \(FAILED\) on tester: submitted again", err)
    stored_once(site, undisturbed, snapshot, out)


def test_worker_is_killed_inside_a_search(grid: Any, slurm: Any, snapshot: Snapshot, until: Until) -> None:
    """The job that is submitted again goes on from the points that were kept."""
    shutil.copy(Path(__file__).parents[1] / "tasks" / "own_tasks.py", grid.folder / "tasks.py")
    command = ["replicate", "--task", "tasks.py:HoldsOutSlowly", "--seeds", "1", "--sparsities", ".5", "--no-report"]
    command += ["--scorers", "magnitude,fusion_orbit_16"]

    def points(folder: Path) -> list[Any]:
        found = list((folder / "searches").glob("seed-0-orbit-*.json"))
        return list(json.loads(found[0].read_text())["search"]["points"]) if found else []

    process = grid.start(*command, "--out", "run", *grid.on)
    try:
        assert until(lambda: bool(slurm.workers()))
        assert until(lambda: len(points(grid.run)) >= 6)
        os.kill(slurm.workers()[0], signal.SIGKILL)
        kept = points(grid.run)
        assert 6 <= len(kept) < 16, "it was to be killed inside the search"
        _, err = end(process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert re.search(r"job \d+(_\d)? ended \(FAILED\) on tester: submitted again", err)
    assert points(grid.run)[: len(kept)] == kept
    whole = grid(*command, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    assert points(grid.run) == points(grid.folder / "whole")
    assert snapshot(grid.store) == snapshot(grid.folder / "whole" / "run.sqlite")


def test_node_goes_down_and_comes_back(
    undisturbed: Any, site: Any, slurm: Any, snapshot: Snapshot, until: Until, cells_in: Count
) -> None:
    process = site.begin()
    assert until(lambda: cells_in(site.store) > 3)
    slurm("scontrol", "update", f"nodename={slurm.node}", "state=down", "reason=test")
    assert until(lambda: not slurm.jobs("RUNNING") and not slurm.workers())
    slurm("scontrol", "update", f"nodename={slurm.node}", "state=resume")
    out, _ = end(process)
    stored_once(site, undisturbed, snapshot, out)


@pytest.mark.parametrize("why", ["its owner asks for it", "others come first"])
def test_preempted_job_is_requeued(
    undisturbed: Any, site: Any, slurm: Any, snapshot: Snapshot, until: Until, cells_in: Count, why: str
) -> None:
    """The same job runs twice; the second time it goes on where it was."""
    before = slurm.submitted()
    process = site.begin()
    assert until(lambda: cells_in(site.store) > 8)
    if why == "others come first":
        slurm("sbatch", "--partition=urgent", "--ntasks=4", "--output=/dev/null", "--wrap=sleep 1")
        assert until(lambda: not slurm.jobs("RUNNING")), "both give way"
    else:
        slurm("scontrol", "requeue", slurm.jobs("RUNNING")[0])
    out, err = end(process)
    stored_once(site, undisturbed, snapshot, out)
    assert "submitted again" not in err
    assert len(set(slurm.submitted()) - set(before)) == 2


def test_job_that_dies_each_time_is_given_up_and_the_others_are_kept(
    undisturbed: Any, site: Any, snapshot: Snapshot, rows_of: Rows
) -> None:
    """Its scorer kills the worker at seed 0, before it has a cell; seed 1, behind it in the same job, must not go with it."""
    body = "if _seed() == 0: os.kill(os.getpid(), 9)"
    text = SLOW.format(body=body) + (
        "\n\ndef _seed():\n    told = sorted(Path('run/inbox').glob('progress-*'), key=lambda path: path.stat().st_mtime)\n"
        "    return int(told[-1].name.split('-')[1]) if told else 1\n"
    )
    (site.folder / "slow.py").write_text(text)
    site.go[-1] = "poll_seconds=1"
    out, err = end(site.begin(), code=1)
    assert "submitted 1 job of" in err
    assert "submitted 2 jobs of" in err, "from then on each alone"
    last = err.splitlines()[-1]
    assert last.startswith("sics-run: jobs of seeds 0 ended 3 times in a row without finishing a cell; the last: job ")
    log = site.folder / last.rpartition("its log: ")[2]
    assert log.is_file(), log
    cells = rows_of(site.store, "cells")
    assert len([row for row in cells if row["seed"] == 1]) == 25, "the other seed is complete"
    assert "Traceback" not in err
    assert out == ""


def test_refused_jobs_are_one_line_and_nothing_stays(site: Any) -> None:
    site.go[-1] += ",partition=nowhere"
    _, err = end(site.begin(), code=1)
    assert err.splitlines()[-1].startswith("sics-run: --executor slurm: the jobs are refused: sbatch: error: ")
    assert "invalid partition specified: nowhere" in err
    assert list((site.run / "jobs").iterdir()) == []
    site.go[-1] = site.on[-1]


def test_a_gpu_is_asked_for_and_its_absence_is_told(site: Any, slurm: Any) -> None:
    """The options of the documentation's first example, on a node whose GPU is there for Slurm only."""
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: the job would find it")
    before = set(slurm.submitted())
    site.go[-1] = "partition=gpu,gpus_per_node=1,timeout_min=60,poll_seconds=1"
    _, err = end(site.begin("--seeds", "1"), code=1)
    jobs = sorted(set(slurm.submitted()) - before)
    assert len(jobs) == 3, "and no more are tried"
    asked = slurm("squeue", "--states=all", "--noheader", f"--jobs={','.join(jobs)}", "--format=%b %P")
    assert re.fullmatch(r"(gres.gpu:1 gpu\n){3}", asked)
    assert re.search(r"the last: job \d+ ended \(.*(NVIDIA|CUDA).*\) on tester", err.splitlines()[-1])


def test_jobs_that_no_time_will_start_are_told_of(site: Any, slurm: Any, until: Until) -> None:
    """The partition gives a minute, the jobs ask for five: they would wait for ever, and look as if it were their turn soon."""
    site.go[-1] += ",partition=short,timeout_min=5"
    process = site.begin()
    assert until(lambda: len(slurm.jobs("PENDING")) == 2)
    time.sleep(4)
    os.killpg(process.pid, signal.SIGINT)
    _, err = end(process, code=130)
    assert re.search(r"2 jobs wait \(\d+_0 to \d+_1\), and not for their turn: PartitionTimeLimit", err)
    assert "PartitionTimeLimit" in site("status", "run").stdout


def test_ten_thousand_cells_are_submitted_as_arrays(site: Any, slurm: Any, until: Until) -> None:
    """190 seeds of the digits experiment on a controller that takes arrays of 101; none may start meanwhile."""
    slurm("scontrol", "update", "partitionname=main", "state=down")
    try:
        process = site.start("replicate", "--seeds", "190", "--out", "run", *site.on)
        assert until(lambda: len(slurm.jobs("PENDING")) == 190)
        assert "190 queued, 0 running, 0 done, 0 failed" in site("status", "run").stdout
        time.sleep(3)
        os.killpg(process.pid, signal.SIGINT)
        _, err = end(process, code=130)
        sizes = re.findall(r"submitted (\d+) jobs of (\d+) cells as array \d+", err)
        assert sizes == [("101", str(101 * 53)), ("89", str(89 * 53))], err
        slurm("scancel", *{job.partition("_")[0] for job in slurm.jobs()})
    finally:
        slurm("scontrol", "update", "partitionname=main", "state=up")


# -- the driver -------------------------------------------------------------------------------------------------------


def finished_at(rows_of: Rows, store: Path) -> dict[str, str]:
    return {row["cell_key"]: row["finished"] for row in rows_of(store, "cells")}


@pytest.mark.parametrize("away", ["for a moment", "until all is done"])
def test_driver_is_killed_and_finds_its_jobs_again(
    undisturbed: Any, site: Any, slurm: Any, snapshot: Snapshot, until: Until, cells_in: Count, rows_of: Rows, away: str
) -> None:
    before = slurm.submitted()
    process = site.begin()
    assert until(lambda: cells_in(site.store) > 3)
    process.kill()
    process.wait()
    had = finished_at(rows_of, site.store)
    if away == "until all is done":
        assert until(lambda: not slurm.jobs())
        assert "0 queued, 0 running, 2 done, 0 failed" in site("status", "run").stdout
    else:
        assert "0 queued, 2 running, 0 done, 0 failed" in site("status", "run").stdout
    _, err = end(site.begin())
    assert snapshot(site.store) == snapshot(undisturbed.store)
    assert len(set(slurm.submitted()) - set(before)) == 2, "nothing was submitted twice"
    assert had.items() <= finished_at(rows_of, site.store).items(), "what was there was not stored again"
    if away == "for a moment":
        assert "found 2 jobs of an earlier command again" in err
    assert list((site.run / "inbox").iterdir()) == list((site.run / "jobs").glob("taken/*")) == []


def test_driver_runs_in_a_job_itself(undisturbed: Any, site: Any, snapshot: Snapshot) -> None:
    """In an allocation of three tasks, whose number its jobs of one task must not be handed."""
    done = subprocess.run(
        ["salloc", "--quiet", "--ntasks=3", *site.command(*site.go)], cwd=site.folder, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "submitted again" not in done.stderr
    stored_once(site, undisturbed, snapshot, done.stdout)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_driver_is_killed_while_it_submits(
    undisturbed: Any, site: Any, slurm: Any, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """kill -9 with the jobs written down but not submitted, or submitted with their id not written down."""
    text = {"before": "kill -9 $PPID\n", "after": '{real} "$@"\nkill -9 $PPID\n'}[moment]
    before = slurm.submitted()
    with monkeypatch.context() as changed:
        shim(site.folder, "sbatch", text, changed)
        process = site.begin()
        process.communicate(timeout=200)
        assert process.returncode == -signal.SIGKILL
    (record,) = (site.run / "jobs").glob("*.json")
    assert json.loads(record.read_text())["submitted"] is None
    _, err = end(site.begin())
    assert snapshot(site.store) == snapshot(undisturbed.store)
    assert len(set(slurm.submitted()) - set(before)) == 2
    found = "found 2 jobs of an earlier command again" if moment == "after" else "was cut off before it reached the queue"
    assert found in err


def test_interrupt_leaves_the_jobs_in_the_queue(
    undisturbed: Any, site: Any, slurm: Any, snapshot: Snapshot, until: Until, cells_in: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW_SECONDS", "6")
    process = site.begin()
    assert until(lambda: cells_in(site.store) > 3)
    jobs = slurm.jobs()
    os.killpg(process.pid, signal.SIGINT)
    _, err = end(process, code=130)
    array = jobs[0].partition("_")[0]
    assert f"its jobs go on in the queue (scancel {array} ends them)" in err.splitlines()[-1]
    assert slurm.jobs() == jobs
    local = site(*site.tiny, *OPTIONS)
    assert local.returncode == 1
    assert "jobs of this run may be on their way in the queue" in local.stderr.splitlines()[-1]
    assert f"scancel {array}" in local.stderr
    second = site.begin()
    time.sleep(2)
    third = site(*site.go)
    assert third.returncode == 1, "two drivers at once"
    assert "is being written by process" in third.stderr.splitlines()[-1]
    end(second)
    assert snapshot(site.store) == snapshot(undisturbed.store)


def test_seeds_go_on_on_another_kind_of_processor(
    undisturbed: Any, site: Any, slurm: Any, until: Until, cells_in: Count, rows_of: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their jobs are lost; those submitted then find a processor of fewer instructions, which rounds differently."""
    process = site.begin()
    assert until(lambda: cells_in(site.store) > 8)
    process.kill()
    process.wait()
    slurm("scancel", *slurm.jobs())
    assert until(lambda: not slurm.jobs())
    assert len(list((site.run / "checkpoints").glob("saliency-*"))) == 2
    for name, value in {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}.items():
        monkeypatch.setenv(name, value)
    end(site.begin())
    cells = rows_of(site.store, "cells")
    assert len(cells) == len(rows_of(undisturbed.store, "cells"))
    assert len({(row["seed"], row["saliency_hash"]) for row in cells}) == 2
    masks = {(row["seed"], row["scorer"], row["sparsity"]): row["mask_hash"] for row in cells}
    assert masks == {
        (row["seed"], row["scorer"], row["sparsity"]): row["mask_hash"] for row in rows_of(undisturbed.store, "cells")
    }
    assert not list((site.run / "checkpoints").glob("saliency-*")), "they go with the last cell"


def test_jobs_of_another_cluster_are_not_taken_for_ours(
    undisturbed: Any, site: Any, slurm: Any, snapshot: Snapshot, until: Until, cells_in: Count
) -> None:
    """A folder that was copied from elsewhere, with ids that mean other jobs here."""
    process = site.begin()
    assert until(lambda: cells_in(site.store) > 3)
    process.kill()
    process.wait()
    slurm("scancel", *slurm.jobs())
    assert until(lambda: not slurm.jobs())
    (record,) = (site.run / "jobs").glob("*.json")
    body = json.loads(record.read_text())
    record.write_text(json.dumps({**body, "cluster": "elsewhere"}))
    assert "2 unknown" in site("status", "run").stdout
    assert "cluster elsewhere" in site(*site.tiny, *OPTIONS).stderr
    _, err = end(site.begin())
    assert "went to cluster elsewhere, this is test" in err
    assert snapshot(site.store) == snapshot(undisturbed.store)


def test_a_queue_that_does_not_answer_loses_nothing(
    undisturbed: Any, site: Any, slurm: Any, snapshot: Snapshot, until: Until, cells_in: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = slurm.submitted()
    silent = site.folder / "silent"
    shim(site.folder, "squeue", f'[ -e {silent} ] && {{ echo "squeue: error: timed out" >&2; exit 1; }}\nexec {{real}} "$@"\n',
         monkeypatch)  # fmt: skip
    process = site.begin()
    assert until(lambda: cells_in(site.store) > 3)
    silent.touch()
    time.sleep(5)
    silent.unlink()
    out, err = end(process)
    assert "squeue fails: squeue: error: timed out; waiting for it to answer" in err
    stored_once(site, undisturbed, snapshot, out)
    assert len(set(slurm.submitted()) - set(before)) == 2


# -- the shared folder ------------------------------------------------------------------------------------------------


def test_shared_folder_fills_up(undisturbed: Any, site: Any, slurm: Any, snapshot: Snapshot, until: Until) -> None:
    """A file system with room for the jobs and few of their results; then it gets room, and the same command goes on."""
    site.run.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(site.run)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount a small file system")
    try:
        _, err = end(site.begin(), code=1)
        last = err.splitlines()[-1]
        assert last.startswith("sics-run: ")
        assert "cannot be written" in last
        assert until(lambda: not slurm.jobs())
        subprocess.run(["mount", "-o", "remount,size=64m", str(site.run)], check=True)
        end(site.begin())
        assert snapshot(site.store) == snapshot(undisturbed.store)
    finally:
        subprocess.run(["umount", "-l", str(site.run)], check=False)


def test_job_runs_out_of_time(undisturbed: Any, site: Any, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute is not enough for a seed: each job gets some way, the next goes on there."""
    monkeypatch.setenv("SLOW_SECONDS", "15")
    site.go[-1] += ",timeout_min=1"
    out, err = end(site.begin())
    assert re.search(r"job \d+(_\d)? ended \(TIMEOUT\) on tester: submitted again, \d+ cells? left", err)
    stored_once(site, undisturbed, snapshot, out)
