"""What a run survives: kills, full disks, damaged files, scorers that raise."""

import ctypes
import fcntl
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Snapshot = Callable[[Path], dict[str, list[str]]]
Rows = Callable[[Path, str], list[dict[str, Any]]]
Children = Callable[[int], list[int]]
Until = Callable[..., bool]
Count = Callable[[Path], int]
Gone = Callable[[int], bool]
ALL_CELLS = 74


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    last = done.stderr.splitlines()[-1]
    assert last.startswith("sics-run: "), done.stderr
    assert all(word in last for word in words), last
    assert "Traceback" not in done.stderr


# -- kills ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("luck", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_driver_killed_again_and_again(
    finished: Any, cli: Any, processes: list[Any], snapshot: Snapshot, children: Children, until: Until, cells_in: Count,
    gone: Gone, luck: int,
) -> None:  # fmt: skip
    """kill -9 at random moments: first while workers start or train, then while cells come in, then run to the end."""
    dice = random.Random(luck)
    killed = 0
    goals = [0, dice.randrange(1, 60)] if luck == 1 else [0, dice.randrange(1, 40), dice.randrange(40, ALL_CELLS)]
    for goal in goals:
        process = cli.start(*cli.tiny, "--workers", "2")
        processes.append(process)
        until(lambda goal=goal, process=process: cells_in(cli.store) >= goal or process.poll() is not None)
        time.sleep(dice.uniform(0, 2) if goal == 0 else dice.uniform(0, 0.05))
        workers = children(process.pid)
        process.kill()
        process.wait()
        killed += process.returncode == -signal.SIGKILL
        assert until(lambda workers=workers: all(map(gone, workers)), 20), "workers outlive their driver"
    assert killed >= 2, "the run ended before it could be killed: the test shows nothing"
    done = cli.here(*cli.tiny)
    assert done.returncode == 0, done.stderr
    assert snapshot(cli.store) == snapshot(finished.store)
    assert list((cli.run / "inbox").iterdir()) == []
    assert not list(cli.run.rglob(".partial-*"))


def test_worker_killed(
    finished: Any, cli: Any, processes: list[Any], snapshot: Snapshot, children: Children, until: Until, cells_in: Count
) -> None:
    process = cli.start(*cli.tiny, "--workers", "2")
    processes.append(process)
    assert until(lambda: cells_in(cli.store) > 0)
    workers = [pid for pid in children(process.pid) if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(workers[0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "a worker died; starting again from the finished cells" in err
    assert snapshot(cli.store) == snapshot(finished.store)


def test_workers_that_always_die_end_the_run_clearly(copy: Any) -> None:
    """A worker that the system kills each time must not be started for ever. Its scorer kills it."""
    (copy.folder / "deadly.py").write_text(OWN_SCORER.format(body="if units.magnitude.numel() > 1024: os.kill(os.getpid(), 9)"))
    done = copy(*copy.tiny, "--workers", "1", "--seeds", "1", "--scorers", "deadly:Mine", "--sparsities", ".5")
    assert done.returncode == 1
    one_line(done, "workers died 3 times in a row", "--workers", "run/run.sqlite")


def test_a_worker_that_loses_its_card_fails_one_cell_and_goes(copy: Any, rows_of: Any) -> None:
    """As on a GPU, where every later call of the process would raise the same. Its seeds go on in another process."""
    body = """if units.magnitude.numel() > 1024 and sparsity == 0.5:
            raise RuntimeError("CUDA error: device-side assert triggered")
        if units.magnitude.numel() > 1024:
            Path("pids").open("a").write(f"{os.getpid()} ")"""
    (copy.folder / "loses.py").write_text(OWN_SCORER.format(body=body))
    done = copy(*copy.tiny, "--workers", "1", "--scorers", "loses:Mine", "--sparsities", ".5,.6")
    assert done.returncode == 3, done.stderr
    assert "a worker died; starting again from the finished cells" in done.stderr
    failed = [row for row in rows_of(copy.store, "failures") if row["scorer"] == "mine"]
    assert [(row["seed"], row["sparsity"]) for row in failed] == [(0, 0.5), (1, 0.5)]
    good = [row for row in rows_of(copy.store, "cells") if row["scorer"] == "mine"]
    assert sorted((row["seed"], row["sparsity"]) for row in good) == [(0, 0.6), (1, 0.6)]
    assert len(set((copy.folder / "pids").read_text().split())) == 2, "a process that lost its card computed something"


def test_interrupt_keeps_finished_cells(
    finished: Any, cli: Any, processes: list[Any], snapshot: Snapshot, children: Children, until: Until, cells_in: Count,
    gone: Gone,
) -> None:  # fmt: skip
    # Far more seeds than are looked at later: on a busy machine the run must not end before the signal comes.
    process = cli.start(*cli.tiny, "--seeds", "40", "--workers", "1")
    processes.append(process)
    assert until(lambda: cells_in(cli.store) > 0)
    workers = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to everybody
    out, err = process.communicate(timeout=180)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("sics-run: interrupted; ")
    assert "the same command goes on from there" in err
    assert until(lambda: all(map(gone, workers)), 20)
    kept = snapshot(cli.store)["cells"]
    assert 0 < len(kept) < 20 * ALL_CELLS
    assert cli.here(*cli.tiny).returncode == 0
    after, undisturbed = snapshot(cli.store)["cells"], snapshot(finished.store)["cells"]
    assert set(undisturbed) <= set(after)
    assert set(kept) <= set(after)


def test_terminate_while_workers_start(cli: Any, processes: list[Any], until: Until) -> None:
    process = cli.start(*cli.tiny)
    processes.append(process)
    assert until(lambda: cli.store.exists())
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGTERM), err  # the latter: before the first job was handed out
    assert "Traceback" not in err


# -- one writer -------------------------------------------------------------------------------------------------------


def test_second_writer_is_refused_and_names_the_first(copy: Any, snapshot: Snapshot) -> None:
    before = snapshot(copy.store)
    with (copy.run / "run.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate()
        lock.write('{"pid": 4242, "since": "12:00:00"}')
        lock.flush()
        done = copy.here(*copy.tiny, "--seeds", "3")
        assert done.returncode == 1
        one_line(done, "run is being written by process 4242, since 12:00:00")
        assert "writer    process 4242, since 12:00:00" in copy.here("status", "run").stdout
    assert snapshot(copy.store) == before
    assert "writer    nobody" in copy.here("status", "run").stdout


# -- disks and folders ------------------------------------------------------------------------------------------------


def limited(size: int) -> Callable[[], None]:
    """In the child: no file may grow beyond `size` bytes. Works for every user on every file system."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_store_that_cannot_grow(finished: Any, copy: Any, snapshot: Snapshot) -> None:
    connection = sqlite3.connect(copy.store)
    connection.execute("DELETE FROM cells WHERE seed = 1")
    connection.commit()
    connection.execute("VACUUM")
    connection.close()
    kept, size = snapshot(copy.store)["cells"], copy.store.stat().st_size
    assert size < finished.store.stat().st_size, "the rest of the run must need more room"
    done = copy(*copy.tiny, "--workers", "1", preexec_fn=limited(size))
    assert done.returncode == 1, done.stderr
    one_line(done, "run/run.sqlite: cannot be written", "finished cells are kept")
    assert set(kept) <= set(snapshot(copy.store)["cells"])
    assert copy.here(*copy.tiny).returncode == 0
    assert snapshot(copy.store) == snapshot(finished.store)


def test_a_checkpoint_that_cannot_be_written(cli: Any, rows_of: Rows) -> None:
    """A checkpoint of 200 kB where 150 kB fit: no cell is blamed, and no half file stays."""
    config = cli.folder / "tiny.toml"
    config.write_text(config.read_text().replace("embed_dim = 16", "embed_dim = 64").replace("epochs = 12", "epochs = 1"))
    done = cli(*cli.tiny, "--seeds", "1", preexec_fn=limited(150_000))
    assert done.returncode == 1, done.stderr
    one_line(done, "--out run", "checkpoints", "cannot be written", "no cell was finished yet")
    assert rows_of(cli.store, "failures") == rows_of(cli.store, "cells") == []
    assert list((cli.run / "checkpoints").iterdir()) == []


def test_full_disk(finished: Any, cli: Any, snapshot: Snapshot) -> None:
    """A real file system that has room for what is there, and not for another seed."""
    cli.run.mkdir()
    needed = sum(-(-path.stat().st_size // 4096) * 4 for path in finished.run.rglob("*") if path.is_file())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={needed + 24}k", "tmpfs", str(cli.run)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount a small file system; the two tests above cover the handling")
    try:
        shutil.copytree(finished.run, cli.run, dirs_exist_ok=True)
        done = cli(*cli.tiny, "--seeds", "3", "--workers", "1")
        assert done.returncode == 1, done.stdout
        one_line(done, "cannot be written", "finished cells are kept")
        assert "No space left" in done.stderr or "full" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=4m", str(cli.run)], check=True)
        assert set(snapshot(finished.store)["cells"]) <= set(snapshot(cli.store)["cells"])
        done = cli.here(*cli.tiny)
        assert done.returncode == 0, done.stderr
        assert "80 there, 0 to compute" in done.stderr
    finally:
        subprocess.run(["umount", str(cli.run)], check=False)


def without_override() -> None:
    """In the child, should we be root: give up the right to ignore permissions (CAP_DAC_OVERRIDE)."""
    pr_capbset_drop, cap_dac_override = 24, 1
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0) != 0:
        os._exit(77)


def test_read_only_folder(cli: Any) -> None:
    locked = cli.folder / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    done = cli("replicate", "--config", "tiny.toml", "--out", "locked/run", preexec_fn=without_override)
    if done.returncode == 77:
        pytest.skip("root without the right to drop a capability cannot be refused a write")
    assert done.returncode == 1
    one_line(done, "--out locked/run", "cannot be written", "Permission denied")
    assert list(locked.iterdir()) == []


def test_read_only_run_can_be_read_but_not_written(copy: Any, snapshot: Snapshot) -> None:
    before = snapshot(copy.store)
    for path in (copy.store, copy.run / "run.lock"):
        path.chmod(0o444)
    copy.run.chmod(0o555)
    (copy.run / "inbox").chmod(0o555)
    try:
        done = copy(*copy.tiny, "--seeds", "3", preexec_fn=without_override)
        if done.returncode == 77:
            pytest.skip("root without the right to drop a capability cannot be refused a write")
        assert done.returncode == 1
        one_line(done, "cannot be written")
        for command in (["status", "run"], ["export", "run", "-o", "x.csv"]):
            assert copy(*command, preexec_fn=without_override).returncode == 0
    finally:
        copy.run.chmod(0o755)
        copy.store.chmod(0o644)
    assert snapshot(copy.store) == before


def test_out_is_a_file(cli: Any) -> None:
    (cli.folder / "run").write_text("mine")
    done = cli.here(*cli.tiny)
    assert done.returncode == 2
    one_line(done, "--out run: is a file; give a folder")
    assert (cli.folder / "run").read_text() == "mine"


# -- damaged and foreign files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["truncated", "empty", "newer", "foreign"])
def test_a_store_that_cannot_be_used_is_left_alone(copy: Any, fault: str) -> None:
    if fault in ("truncated", "empty"):
        content = copy.store.read_bytes()
        copy.store.write_bytes(content[: len(content) // 2] if fault == "truncated" else b"")
    else:
        connection = sqlite3.connect(copy.store)
        connection.execute({"newer": "PRAGMA user_version = 9", "foreign": "PRAGMA application_id = 1"}[fault])
        connection.close()
    before = {path: path.read_bytes() for path in copy.run.rglob("*") if path.is_file()}
    words = {"truncated": "damaged", "empty": "damaged", "newer": "newer sics (schema 9", "foreign": "not a store of sics"}
    for command in (copy.tiny, ["status", "run"], ["export", "run"]):
        done = copy.here(*command)
        assert done.returncode == 1
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        one_line(done, "run/run.sqlite", words[fault], "nothing was changed")
    assert {path: path.read_bytes() for path in copy.run.rglob("*") if path.is_file()} == before


def test_a_killed_commit_is_rolled_back(copy: Any, snapshot: Snapshot) -> None:
    """A journal left by a kill inside a commit: the half-written page is undone by whoever opens next."""
    before = snapshot(copy.store)
    code = (
        "import sqlite3, os; c = sqlite3.connect('run/run.sqlite', isolation_level=None); c.execute('PRAGMA cache_size = 1'); "
        "c.execute('PRAGMA cache_spill = 1'); c.execute('BEGIN IMMEDIATE'); "
        "[c.execute('UPDATE cells SET loss = loss + 1, trace' if 0 else 'UPDATE cells SET loss = loss + 1') for _ in range(5)]; "
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([copy.command()[0], "-c", code], cwd=copy.folder, check=False)
    assert (copy.run / "run.sqlite-journal").stat().st_size > 0
    assert copy.here("status", "run").returncode == 0
    assert snapshot(copy.store) == before


def test_damaged_checkpoint_is_trained_again(finished: Any, copy: Any, snapshot: Snapshot) -> None:
    (path,) = (copy.run / "checkpoints").glob("seed-0-*")
    whole = path.read_bytes()
    path.write_bytes(whole[:-50] + bytes(50))
    connection = sqlite3.connect(copy.store)
    connection.execute("DELETE FROM cells WHERE seed = 0 AND sparsity = 0.5")
    connection.commit()
    connection.close()
    done = copy.here(*copy.tiny)
    assert done.returncode == 0, done.stderr
    assert (
        f"seed 0: the dense checkpoint {path.name} its weights do not have the hash in its header: trained again" in done.stderr
    )
    assert path.read_bytes()[-50:] == whole[-50:]
    assert snapshot(copy.store)["cells"] == snapshot(finished.store)["cells"]


def test_rows_never_mix_two_checkpoints(copy: Any, snapshot: Snapshot) -> None:
    """Another machine may train another network: its numbers may not stand beside the old ones of the seed."""
    connection = sqlite3.connect(copy.store)
    connection.execute("DELETE FROM cells WHERE seed = 0 AND sparsity = 0.5")
    connection.execute("UPDATE cells SET checkpoint_hash = 'of another machine' WHERE seed = 0")
    connection.commit()
    connection.close()
    before = snapshot(copy.store)["cells"]
    done = copy.here(*copy.tiny)
    assert done.returncode == 3
    assert "the dense checkpoint of seed 0 differs from that of its rows in the store: --force recomputes them" in done.stderr
    assert snapshot(copy.store)["cells"] == before
    assert copy.here(*copy.tiny, "--force").returncode == 0
    assert "pairing   all rows of each of 2 seeds" in copy.here("status", "run").stdout


def test_damaged_inbox_file_is_computed_again(finished: Any, copy: Any, snapshot: Snapshot, rows_of: Rows) -> None:
    key = rows_of(copy.store, "cells")[-1]["cell_key"]
    connection = sqlite3.connect(copy.store)
    connection.execute("DELETE FROM cells WHERE cell_key = ?", (key,))
    connection.commit()
    connection.close()
    (copy.run / "inbox" / f"cell-{key}.json").write_text('{"letter": ')
    done = copy.here(*copy.tiny)
    assert done.returncode == 0, done.stderr
    assert f"cell-{key}.json in the inbox is damaged or of another run: removed" in done.stderr
    assert snapshot(copy.store)["cells"] == snapshot(finished.store)["cells"]


# -- cells that fail --------------------------------------------------------------------------------------------------

OWN_SCORER = """
import os
from pathlib import Path
from sics_plugin import Scorer, register_scorer

@register_scorer
class Mine(Scorer):
    name, kappa, summary = "mine", 0, "m, unless it fails"

    def score(self, units, sparsity):
        {body}
        return units.magnitude.double()
"""


def test_a_failing_scorer_does_not_stop_the_others(finished: Any, copy: Any, snapshot: Snapshot, rows_of: Rows) -> None:
    # More units than it is checked with before anything is trained.
    body = "if sparsity > 0.75 and units.magnitude.numel() > 1024 and Path('broken').exists(): raise ValueError('no luck')"
    (copy.folder / "own.py").write_text(OWN_SCORER.format(body=body))
    (copy.folder / "broken").touch()
    command = [*copy.tiny, "--scorers", "own:Mine,chaos", "--sparsities", ".6,.8"]
    done = copy.here(*command)
    assert done.returncode == 3, done.stderr
    assert "magnitude is added: it is the reference" in done.stderr
    assert "seed 1, mine at S = 0.8 failed: ValueError: no luck" in done.stderr
    assert "2 cells failed and are missing here" in done.stdout
    failures = rows_of(copy.store, "failures")
    assert sorted((row["seed"], row["scorer"], row["sparsity"]) for row in failures) == [(0, "mine", 0.8), (1, "mine", 0.8)]
    assert all("own.py" in row["trace"] for row in failures)
    assert {("mine", 0.6), ("chaos", 0.6), ("chaos", 0.8)} <= {
        (row["scorer"], row["sparsity"]) for row in rows_of(copy.store, "cells")
    }
    assert "failed    seed 0, mine at S = 0.8: ValueError: no luck" in copy.here("status", "run").stdout

    (copy.folder / "broken").unlink()
    again = copy.here(*command)
    assert again.returncode == 3, "failed cells wait until they are asked for"
    assert "2 failed before (--retry-failed tries them again)" in again.stderr
    assert "0 of them computed now" in again.stdout
    retried = copy.here(*command, "--retry-failed")
    assert retried.returncode == 0, retried.stderr
    assert "2 of them computed now, 0 failed" in retried.stdout
    assert rows_of(copy.store, "failures") == []
    assert set(snapshot(finished.store)["cells"]) < set(snapshot(copy.store)["cells"])


def test_training_that_diverges_fails_the_seeds_cells(cli: Any, rows_of: Rows) -> None:
    config = (cli.folder / "tiny.toml").read_text().replace("epochs = 12", "epochs = 1\nlearning_rate = 1e30")
    (cli.folder / "tiny.toml").write_text(config)
    done = cli.here(*cli.tiny, "--seeds", "1", "--sparsities", ".5", "--scorers", "magnitude")
    assert done.returncode == 3, done.stderr
    assert rows_of(cli.store, "cells") == []
    failures = rows_of(cli.store, "failures")
    assert sorted((row["kind"], row["scorer"]) for row in failures) == [
        ("cell", "dense"), ("cell", "magnitude"), ("repeat", "magnitude"),
    ]  # fmt: skip
    assert all(row["error"].startswith("FloatingPointError: training diverged: loss is nan") for row in failures)
    shutil.rmtree(cli.run / "checkpoints", ignore_errors=True)


def test_a_model_that_cannot_be_built_is_a_usage_error(cli: Any) -> None:
    (cli.folder / "tiny.toml").write_text((cli.folder / "tiny.toml").read_text().replace("depth = 1", "dephts = 1"))
    done = cli.here(*cli.tiny)
    assert done.returncode == 2
    one_line(done, "[model] does not make a vit", "dephts")
