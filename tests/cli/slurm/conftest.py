"""A real Slurm of one node, started for these tests and stopped after them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CLUSTER = Path(__file__).with_name("cluster.py")


class Slurm:
    """What tests do to the cluster."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = {**os.environ, **env}
        self.node = env["SICS_TEST_NODE"]

    def __call__(self, *command: str) -> str:
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def jobs(self, state: str = "") -> list[str]:
        """Ids of our jobs that are in the queue now, in a state if one is named."""
        lines = self("squeue", "--noheader", "--array", "--format=%i|%T|%j").splitlines()
        found = [line.strip().split("|") for line in lines]
        return [job for job, now, name in found if name.startswith("sics-") and state in ("", now)]

    def submitted(self) -> list[str]:
        """Ids of all our jobs that the controller remembers, ended ones too."""
        lines = self("squeue", "--noheader", "--array", "--states=all", "--format=%i|%j").splitlines()
        return [job for job, _, name in (line.strip().partition("|") for line in lines) if name.startswith("sics-")]

    def workers(self) -> list[int]:
        """Process ids of Python workers inside jobs of this cluster, and of no other on the machine."""
        found, ours = [], f"SLURM_CONF={self.env['SLURM_CONF']}".encode()
        for entry in Path("/proc").iterdir():
            try:
                line = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
                mine = b"submitit.core._submit" in line and ours in (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mine and b"srun" not in line[0]:
                found.append(int(entry.name))
        return found


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    folder = tmp_path_factory.mktemp("slurm")
    command = [sys.executable, str(CLUSTER)]
    done = subprocess.run([*command, "start", str(folder)], capture_output=True, text=True, timeout=240, check=False)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    try:
        yield Slurm(dict(line.split("=", 1) for line in done.stdout.splitlines()))
    finally:
        subprocess.run([*command, "stop", str(folder)], timeout=120, check=False)


@pytest.fixture
def grid(cli: Any, slurm: Slurm, until: Callable[..., bool], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The command line, talking to the cluster: `grid.on` are the options; no job is left behind."""
    for name, value in slurm.env.items():
        monkeypatch.setenv(name, value)
    cli.on = ["--executor", "slurm", "--slurm", "poll_seconds=1,minutes_per_job=0"]
    yield cli
    left = {job.partition("_")[0] for job in slurm.jobs()}
    if left:
        slurm("scancel", *left)
    assert until(lambda: not slurm.jobs()), "jobs outlive their test"
