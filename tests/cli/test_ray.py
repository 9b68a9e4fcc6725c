"""`replicate --executor ray` on a Ray that is started here: the same rows as a local run, and a worker that is killed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Snapshot = Callable[[Path], dict[str, list[str]]]
pytest.importorskip("ray", reason="ray is not installed: pip install 'sics[ray]'")


def test_rows_are_those_of_a_local_run(finished: Any, cli: Any, snapshot: Snapshot) -> None:
    done = cli(*cli.tiny, "--executor", "ray", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "80 to compute; 2 worker(s) on the CPU" in done.stderr
    assert snapshot(cli.store) == snapshot(finished.store)
