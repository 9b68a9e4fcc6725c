"""`replicate --until decided --executor slurm` on a real queue: a look's seeds are jobs, and whoever comes later takes over."""

import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Snapshot = Callable[[Path], dict[str, list[str]]]
Until = Callable[..., bool]

#: Takes its time in a job, so that a driver can be killed while its jobs go on.
SLOW = """

import os
import time


class Slow(Good):
    def evaluate(self, network, seed):
        time.sleep(float(os.environ.get("SLOW_SECONDS", "0")) if "SUBMITIT_EXECUTOR" in os.environ else 0)
        return super().evaluate(network, seed)
"""
ASKED = (
    "replicate", "--task", "tasks.py:Slow", "--until", "decided", "--max-seeds", "8", "--delta", "0.001", "--scorers",
    "magnitude,chaos", "--sparsities", ".5", "--no-report",
)  # fmt: skip


@pytest.fixture
def site(grid: Any) -> Iterator[Any]:
    source = (Path(__file__).parents[1] / "tasks" / "own_tasks.py").read_text()
    (grid.folder / "tasks.py").write_text(source + SLOW)
    return grid


def looks_of(store: Path) -> list[tuple[Any, ...]]:
    try:
        with sqlite3.connect(store) as connection:
            query = "SELECT plan_hash, look, n, rows_hash, spent, decided, lines, targets, stops FROM looks ORDER BY look"
            found = connection.execute(query).fetchall()
        connection.close()
    except sqlite3.OperationalError:
        return []
    return found


@pytest.fixture
def local(site: Any) -> Path:
    """The store of the same run on this machine."""
    done = site.here(*ASKED, "--out", "here")
    assert done.returncode == 0, done.stderr
    return Path(site.folder / "here" / "run.sqlite")


@pytest.mark.slow
def test_the_seeds_of_a_look_are_jobs(site: Any, slurm: Any, snapshot: Snapshot, local: Path) -> None:
    planned = site(*ASKED, *site.on, "--out", "run", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "5 jobs in 1 array on Slurm cluster" in planned.stdout, "those of the first look"
    before = set(slurm.submitted())
    done = site(*ASKED, *site.on, "--out", "run")
    assert done.returncode == 0, done.stderr
    jobs = set(slurm.submitted()) - before
    assert len(jobs) == 8
    assert len({job.partition("_")[0] for job in jobs}) == 2, "an array a look"
    first, second = (done.stderr.index(f"submitted {count} jobs of {4 * count} cells") for count in (5, 3))
    assert first < done.stderr.index("look 1 of 2, n = 5: ") < second < done.stderr.index("look 2 of 2, n = 8: ")
    assert snapshot(site.store) == snapshot(local)
    assert looks_of(site.store) == looks_of(local)
    assert len(looks_of(site.store)) == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("look", [1, 2])
def test_jobs_outlive_a_driver_and_the_next_takes_over(
    site: Any, slurm: Any, snapshot: Snapshot, local: Path, until: Until, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    monkeypatch.setenv("SLOW_SECONDS", "1.5")
    before = set(slurm.submitted())
    process = site.start(*ASKED, *site.on, "--out", "run")
    arrays = {1: 5, 2: 8}[look]
    try:
        assert until(lambda: len(set(slurm.submitted()) - before) == arrays and bool(slurm.jobs("RUNNING")), 200)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert len(looks_of(site.store)) == look - 1
    assert slurm.jobs(), "jobs go on"
    shown = site("status", "run").stdout
    assert f"{look - 1} of 2 made" in " ".join(shown.split())
    done = site(*ASKED, *site.on, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "jobs of an earlier command again" in done.stderr
    assert len(set(slurm.submitted()) - before) == 8, "no seed is submitted twice"
    assert snapshot(site.store) == snapshot(local)
    assert looks_of(site.store) == looks_of(local)


def test_an_interrupt_says_where_the_run_stands_and_which_jobs_go_on(
    site: Any, slurm: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW_SECONDS", "20")
    process = site.start(*ASKED, *site.on, "--out", "run")
    assert until(lambda: bool(slurm.jobs("RUNNING")), 100)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    last = err.splitlines()[-1]
    assert "; its jobs go on in the queue (scancel " in last
    assert last.endswith("; stopped before look 1 of 2")
