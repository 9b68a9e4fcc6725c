"""`replicate --executor slurm` on a real queue: the digits experiment in a small form, and the same rows as a local run."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Snapshot = Callable[[Path], dict[str, list[str]]]


def test_rows_are_those_of_a_local_run(finished: Any, grid: Any, slurm: Any, snapshot: Snapshot) -> None:
    command = [*grid.tiny, *grid.on]
    planned = grid(*command, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert re.search(r"jobs +2 jobs in 1 array on Slurm cluster test\d+ \(1 core, at most", planned.stdout)
    assert "0: seed 0, 40 cells, about" in planned.stdout
    assert "1: seed 1, 40 cells, about" in planned.stdout
    assert not grid.run.exists()
    before = slurm.submitted()

    done = grid(*command)
    assert done.returncode == 0, done.stderr
    assert snapshot(grid.store) == snapshot(finished.store), "accuracies, bits, mask hashes, who was evaluated for whom"
    jobs = sorted(set(slurm.submitted()) - set(before))
    array = jobs[0].partition("_")[0]
    assert jobs == [f"{array}_0", f"{array}_1"]
    assert f"submitted 2 jobs of 80 cells as array {array}" in done.stderr
    assert "sacct" not in done.stderr + done.stdout
    assert list((grid.run / "inbox").iterdir()) == list((grid.run / "jobs" / "taken").iterdir()) == []
    (record,) = (grid.run / "jobs").glob("*.json")
    assert json.loads(record.read_text())["ended"] == {"0": "DONE", "1": "DONE"}
    assert not (grid.run / "jobs" / record.stem).exists(), "what jobs read and wrote goes when all went well"
    shown = grid("status", "run").stdout
    assert f"jobs      0 queued, 0 running, 2 done, 0 failed (array {array})" in shown

    again = grid(*command)
    assert again.returncode == 0, again.stderr
    assert "0 of them computed now" in again.stdout
    assert len(set(slurm.submitted()) - set(before)) == 2, "nothing is submitted twice"


#: A class of the script itself, which no worker could import.
SCRIPT = """
import sys
from tasks import HoldsOut
from sics_cli import replicate

class Mine(HoldsOut):
    def evaluate(self, network, seed):
        return super().evaluate(network, seed)

run = replicate(Mine(hidden=8), seeds=2, scorers=["magnitude", "fusion_orbit_6"], sparsities=[.5], out=sys.argv[1],
                executor=sys.argv[2], slurm=" ".join(sys.argv[3:]) or None)
print(len(run.frame()), run.failures())
"""


@pytest.mark.slow
def test_a_task_of_ones_own_on_slurm_is_that_of_a_local_run(grid: Any, slurm: Any, snapshot: Snapshot) -> None:
    shutil.copy(Path(__file__).parents[1] / "tasks" / "own_tasks.py", grid.folder / "tasks.py")
    before = slurm.submitted()
    (grid.folder / "script.py").write_text(SCRIPT)
    for where in (["here", "local"], ["run", "slurm", grid.on[-1]]):
        command = [sys.executable, "script.py", *where]
        done = subprocess.run(command, cwd=grid.folder, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "6 []\n"
    assert len(set(slurm.submitted()) - set(before)) == 2
    assert snapshot(grid.store) == snapshot(grid.folder / "here" / "run.sqlite")
    here, there = (sorted((grid.folder / run / "searches").iterdir()) for run in ("here", "run"))
    assert [path.read_bytes() for path in here] == [path.read_bytes() for path in there]
    assert len(there) == 2
