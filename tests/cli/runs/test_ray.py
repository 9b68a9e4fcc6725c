"""`replicate --executor ray` on a Ray that is started here: the same rows as a local run, and a worker that is killed."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Snapshot = Callable[[Path], dict[str, list[str]]]
Until = Callable[..., bool]
Count = Callable[[Path], int]
Children = Callable[[int], list[int]]
pytest.importorskip("ray", reason="ray is not installed: pip install 'sics[ray]'")


def test_rows_are_those_of_a_local_run(finished: Any, cli: Any, snapshot: Snapshot) -> None:
    done = cli(*cli.tiny, "--executor", "ray", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "80 to compute; 2 workers on the CPU" in done.stderr
    assert snapshot(cli.store) == snapshot(finished.store)


@pytest.mark.slow
def test_a_task_of_ones_own_is_that_of_a_local_run(cli: Any, snapshot: Snapshot) -> None:
    shutil.copy(Path(__file__).parents[1] / "tasks" / "own_tasks.py", cli.folder / "tasks.py")
    few = ["--seeds", "2", "--scorers", "magnitude,fusion_orbit_6", "--sparsities", ".5", "--no-report"]
    asked = ["replicate", "--task", "tasks.py:HoldsOut", *few]
    here = cli.here(*asked, "--out", "here")
    assert here.returncode == 0, here.stderr
    done = cli(*asked, "--executor", "ray", "--workers", "2", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert snapshot(cli.store) == snapshot(cli.folder / "here" / "run.sqlite")


def descendants(pid: int, children: Children) -> list[int]:
    found = children(pid)
    return found + [below for child in found for below in descendants(child, children)]


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture
def running(cli: Any, until: Until, cells_in: Count) -> Iterator[subprocess.Popen[str]]:
    """A run that has some cells and is not at its end; what is left of it goes with the test."""
    process = cli.start(*cli.tiny, "--executor", "ray", "--workers", "2", "--seeds", "6")
    assert until(lambda: cells_in(cli.store) > 3 or process.poll() is not None)
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_worker_is_killed(finished: Any, cli: Any, running: Any, snapshot: Snapshot, children: Children, until: Until) -> None:
    workers: list[int] = []

    def found() -> bool:
        workers[:] = [pid for pid in descendants(running.pid, children) if "on_device" in title(pid)]
        return bool(workers)

    assert until(found)
    os.kill(workers[0], signal.SIGKILL)
    _, err = running.communicate(timeout=200)
    assert running.returncode == 0, err
    assert "a worker died; starting again from the finished cells" in err
    assert set(snapshot(finished.store)["cells"]) <= set(snapshot(cli.store)["cells"])


@pytest.mark.slow
def test_driver_is_killed(finished: Any, cli: Any, running: Any, snapshot: Snapshot, children: Children, until: Until) -> None:
    everyone = descendants(running.pid, children)
    running.kill()
    running.wait()
    assert until(lambda: not any("on_device" in title(pid) for pid in everyone)), "workers outlive their driver"
    done = cli(*cli.tiny, "--seeds", "6", "--executor", "ray", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert set(snapshot(finished.store)["cells"]) <= set(snapshot(cli.store)["cells"])
    assert until(lambda: not any("ray" in title(pid) for pid in everyone)), "Ray outlives its driver"


@pytest.mark.slow
def test_looks_are_those_of_a_local_run(cli: Any, snapshot: Snapshot) -> None:
    shutil.copy(Path(__file__).parents[1] / "tasks" / "own_tasks.py", cli.folder / "tasks.py")
    few = ["--scorers", "magnitude,chaos", "--sparsities", ".5", "--delta", "0.001", "--no-report"]
    asked = ["replicate", "--task", "tasks.py:Good", "--until", "decided", "--max-seeds", "8", *few]
    here = cli.here(*asked, "--out", "here")
    assert here.returncode == 0, here.stderr
    done = cli(*asked, "--executor", "ray", "--workers", "2", "--out", "run")
    assert done.returncode == 0, done.stderr
    said = [re.findall(r"look \d of 2, n = .*", one.stderr) for one in (here, done)]
    assert said[0] == said[1]
    assert [line[:18] for line in said[1]] == ["look 1 of 2, n = 5", "look 2 of 2, n = 8"]
    assert snapshot(cli.store) == snapshot(cli.folder / "here" / "run.sqlite")
