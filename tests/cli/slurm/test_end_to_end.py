"""`replicate --executor slurm` on a real queue: the digits experiment in a small form, and the same rows as a local run."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
