"""Helpers for the tests of the command line, as fixtures: a tiny experiment, the real CLI as a process, snapshots."""

import contextlib
import hashlib
import io
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sics_analysis.study.analyse import Analysis, analyse
from sics_cli.main import main
from sics_cli.runs import workers
from sics_cli.seeds import worker
from sics_cli.settings.config import Experiment, experiment_from_mapping, merged
from sics_cli.settings.presets import DIGITS
from sics_cli.store.rows import CellRow, RepeatRow

#: Seconds-sized: a network of 4 000 weights, two seeds, every scorer.
TINY = """\
name = "tiny"
seeds = 2
sparsities = [0.5, 0.7, 0.8]
[model]
embed_dim = 16
depth = 1
num_heads = 2
[training]
epochs = 12
[calibration]
batches = 3
"""
#: Columns that tell when and how long, which no two runs share.
TIMES = {"wall_seconds", "finished", "created", "provenance_id", "plan_id", "cells_before"}


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class InlineExecutor:
    """Does at once what a worker would do."""

    def __init__(self, devices: Sequence[str]) -> None:
        assert set(devices) == {"cpu"}

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*arguments))
        except Exception as error:
            done.set_exception(error)
        return done

    def stop(self) -> None:
        pass


@contextlib.contextmanager
def work_here() -> Iterator[None]:
    """Workers in this process, which has imported torch; its settings are put back."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "LocalExecutor", InlineExecutor)
        patch.setattr(worker, "_log_to", lambda path: None)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(False)


class Cli:
    """Runs `sics-run` as a user does: another process, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tiny.toml").write_text(TINY)
        self.run = folder / "run"
        #: Drawing the report takes longer than the tiny run itself: `finished` does it once.
        self.tiny = ["replicate", "--config", "tiny.toml", "--out", "run", "--no-report"]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "sics_cli", *arguments]

    def __call__(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, capture_output=True, text=True, timeout=120, check=False, **options
        )

    def here(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same in this process, workers too: torch is imported already. For what is not about processes."""
        import sics_plugin

        out, err, modules, scorers = io.StringIO(), io.StringIO(), set(sys.modules), set(sics_plugin.list_scorers())
        with (
            pytest.MonkeyPatch.context() as patch, work_here(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        ):  # fmt: skip
            patch.chdir(self.folder)
            patch.setattr(sys, "path", [*sys.path])
            patch.setattr(sys, "dont_write_bytecode", True)
            try:
                code = main(list(arguments))
            finally:
                for name in set(sys.modules) - modules:  # a user's scorers
                    if str(self.folder) in str(getattr(sys.modules[name], "__file__", "")):
                        del sys.modules[name]
                for name in set(sics_plugin.list_scorers()) - scorers:
                    sics_plugin.unregister_scorer(name)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start in a session of its own, so that a signal to its group reaches nobody else, and heed Ctrl-C.

        A shell that starts the tests in the background has them, and all they start, ignore it.
        """
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heed_interrupts,
        )

    @property
    def store(self) -> Path:
        return self.run / "run.sqlite"


def table_rows(store: Path, table: str) -> list[dict[str, Any]]:
    with sqlite3.connect(store) as connection:
        cursor = connection.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in cursor.description]
        found = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
    connection.close()
    return found


def take_snapshot(store: Path) -> dict[str, list[str]]:
    """All that a store says but times, as text, in an order of its own."""
    tables = ("cells", "repeats", "checkpoints", "failures", "plans")
    return {
        table: sorted(repr({k: v for k, v in row.items() if k not in TIMES}) for row in table_rows(store, table))
        for table in tables
    }


def find_children(pid: int) -> list[int]:
    """Process ids of the children of `pid`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def has_ended(pid: int) -> bool:
    """Whether a process is no more, or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether `condition` came true while there was patience."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def count_cells(store: Path) -> int:
    if not store.exists():
        return 0
    try:
        connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=10)
        try:
            return int(connection.execute("SELECT count(*) FROM cells").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.OperationalError:  # a journal that only its writer may roll back
        return 0


@pytest.fixture
def inline() -> Iterator[None]:
    """A run started in this process has its workers here too. For what is not about processes."""
    with work_here():
        yield


@pytest.fixture(scope="session")
def _analyses() -> dict[bytes, Analysis]:
    return {}


@pytest.fixture
def analysed_once(_analyses: dict[bytes, Analysis], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows under the same settings are analysed once: forty seeds with looks take seconds. For what is said of them."""

    def remembered(*arguments: Any, progress: Any = None, **options: Any) -> Analysis:
        key = hashlib.sha256(pickle.dumps((arguments, options))).digest()
        if key not in _analyses:
            _analyses[key] = analyse(*arguments, progress=progress, **options)
        return _analyses[key]

    monkeypatch.setattr("sics_analysis.study.analyse.analyse", remembered)


@pytest.fixture(scope="session")
def make_cli() -> type[Cli]:
    return Cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """An uninterrupted tiny run by two workers. Read it, copy it, do not change it."""
    made = Cli(tmp_path_factory.mktemp("finished"))
    done = made(*made.tiny, "--report", "--workers", "2")
    assert done.returncode == 0, done.stderr
    (made.folder / "stdout").write_text(done.stdout)
    (made.folder / "stderr").write_text(done.stderr)
    return made


@pytest.fixture
def copy(cli: Cli, finished: Cli) -> Cli:
    """A copy of the finished run, to change."""
    shutil.copytree(finished.run, cli.run)
    return cli


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Path], dict[str, list[str]]]:
    return take_snapshot


@pytest.fixture(scope="session")
def rows_of() -> Callable[[Path, str], list[dict[str, Any]]]:
    return table_rows


@pytest.fixture(scope="session")
def children() -> Callable[[int], list[int]]:
    return find_children


@pytest.fixture(scope="session")
def gone() -> Callable[[int], bool]:
    return has_ended


@pytest.fixture(scope="session")
def until() -> Callable[..., bool]:
    return wait_for


@pytest.fixture(scope="session")
def cells_in() -> Callable[[Path], int]:
    return count_cells


@pytest.fixture(scope="session")
def experiment() -> Experiment:
    small = {
        "model": {"embed_dim": 16, "depth": 1, "num_heads": 2},
        "training": {"epochs": 2},
        "calibration": {"batches": 3},
        "seeds": 2,
    }
    return experiment_from_mapping(merged(DIGITS, small))


@pytest.fixture(scope="session")
def cell_row() -> Callable[..., CellRow]:
    """A valid row of 8 examples, 6 of them right, changed as asked."""
    valid = CellRow(
        cell_key="key", seed=0, scorer="chaos", kappa=2, role="feature", unit="weight", pool="global", form="exact",
        saliency="gradient", sparsity=0.5, correct=6, n=8, loss=0.7, bits=bytes([0b11111100]), mask_hash="mask",
        evaluated_as="chaos", realised_sparsity=0.5, layers=[["a.weight", 10, 5]], flags=[], data_order_hash="order",
        calibration_hash="calibration", saliency_hash="saliency", checkpoint_hash="checkpoint", wall_seconds=0.1,
        finished="2026-01-01T00:00:00+00:00", provenance={"device": "cpu", "versions": {"torch": "2.15.0"}},
    )  # fmt: skip

    def make(**changes: Any) -> CellRow:
        return replace(valid, **changes)

    return make


@pytest.fixture(scope="session")
def repeat_row() -> Callable[..., RepeatRow]:
    valid = RepeatRow(
        repeat_key="repeat", seed=0, scorer="magnitude", unit="weight", pool="global", sparsity=0.5, correct=6, n=8,
        loss=0.7, bits=bytes([0b11111100]), mask_hash="mask", checkpoint_hash="checkpoint", wall_seconds=0.1,
        finished="2026-01-01T00:00:00+00:00",
    )  # fmt: skip

    def make(**changes: Any) -> RepeatRow:
        return replace(valid, **changes)

    return make


@pytest.fixture(scope="session")
def is_root() -> bool:
    return os.geteuid() == 0


@pytest.fixture(scope="module")
def photos_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Path]]:
    """A folder of square photos of a width: noise around a colour for each class; the cache of decoded images is the module's."""

    def made(width: int) -> Path:
        root = tmp_path_factory.mktemp("photos")
        dice = np.random.default_rng(0)
        for place, name in enumerate(("blue", "green", "red")):
            (root / name).mkdir()
            for number in range(20):
                pixels = dice.integers(0, 180, (width, width, 3))
                pixels[..., 2 - place] += 75
                Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
        return root

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield made


@pytest.fixture
def code_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, for modules of a user's own; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Started processes; what is left of them ends with the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
