"""Names inside a run's folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from sics_cli.base.errors import LockedError

#: Default parent of run folders, below the working directory.
RUNS = Path("runs")
STORE_NAME = "run.sqlite"
LOCK_NAME = "run.lock"
LOG_NAME = "workers.log"
INBOX_NAME = "inbox"
CHECKPOINTS_NAME = "checkpoints"
CURVES_NAME = "curves"
SEARCHES_NAME = "searches"
JOBS_NAME = "jobs"
#: Letters that were taken in while jobs of a queue are on their way, so that a job which is run again can see them.
TAKEN_NAME = "taken"


def default_folder(name: str, saliency: str, run_id: str, unit: str = "weight") -> Path:
    """Where a run lies unless told otherwise: the same command finds it again, another recipe gets another.

    >>> default_folder("digits", "gradient", "1f3a9c0b" * 8).as_posix()
    'runs/digits-gradient-1f3a9c0b'
    >>> default_folder("digits", "gradient", "1f3a9c0b" * 8, "head").as_posix()
    'runs/digits-head-gradient-1f3a9c0b'
    """
    parts = [name, *([unit] if unit != "weight" else []), saliency, run_id[:8]]
    return RUNS / "-".join(parts)


def checkpoint_path(folder: Path, seed: int, dense_key: str) -> Path:
    """Where the dense checkpoint of a seed lies; the key in the name makes another recipe another file."""
    return folder / CHECKPOINTS_NAME / f"seed-{seed}-{dense_key[:16]}.safetensors"


def module_path(folder: Path, seed: int, dense_key: str) -> Path:
    """Where the whole module of a task's own network lies, beside its weights."""
    return checkpoint_path(folder, seed, dense_key).with_suffix(".pt")


def half_trained_path(folder: Path, seed: int, dense_key: str) -> Path:
    """Where a seed's network lies between two parts of its training; gone once there is a checkpoint."""
    return folder / CHECKPOINTS_NAME / f"training-{seed}-{dense_key[:16]}.safetensors"


def forget_saliencies(folder: Path, seed: int | None = None) -> None:
    """Delete the saliencies that jobs of a queue kept, of a seed or all: they are wanted while its cells are computed."""
    for path in (folder / CHECKPOINTS_NAME).glob("saliency-*.pkl" if seed is None else f"saliency-{seed}-*.pkl"):
        path.unlink(missing_ok=True)


def curve_path(folder: Path, seed: int) -> Path:
    """Where the curve of a seed's training lies."""
    return folder / CURVES_NAME / f"seed-{seed}.csv"


def search_path(folder: Path, seed: int, features: str, sparsity: float, search_key: str) -> Path:
    """Where the points of a search for the weights of a set of features lie."""
    return folder / SEARCHES_NAME / f"seed-{seed}-{features}-{sparsity:g}-{search_key[:16]}.json"


_LONGEST_HEADER = 1 << 26


def kept_epochs(path: Path) -> int:
    """Epochs that the network at `path` was trained for; 0 where there is none, or the header does not say.

    An estimate for the schedule: a worker verifies the file before it goes on from it.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _LONGEST_HEADER else {}
        epochs = json.loads(header["__metadata__"]["record"])["epochs"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return epochs if isinstance(epochs, int) and epochs > 0 else 0


#: A look at the lock (`status`) holds it for a moment; a driver waits that long before it believes it taken.
_PATIENCE_SECONDS = 0.5
#: What `flock` says where a network file system was mounted without locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of the run in `folder` (which must exist); a `LockedError` names the process that holds it already."""
    path = folder / LOCK_NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _take(descriptor, path):
            raise LockedError(f"{folder} is being written by {_holder(path)}: wait for it or stop it, or use another --out")
        note = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%H:%M:%S")})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)
        yield
    finally:
        os.close(descriptor)  # closing releases the lock; the file stays, since removing it would race


def _take(descriptor: int, path: Path) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise LockedError(
                f"{path.parent}: its file system has no file locks ({error.strerror}), and the store needs them: "
                "use another --out, or have it mounted with them (Lustre: -o flock)"
            ) from None
        else:
            return True


def lock_holder(folder: Path) -> str | None:
    """Who writes the run in `folder` now ("process 123, since 12:00:00"), or None when nobody does."""
    path = folder / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(path)
    except OSError:  # no locks on this file system, so nobody holds one
        return None
    finally:
        os.close(descriptor)
    return None


def _holder(path: Path) -> str:
    try:
        note = json.loads(path.read_text())
        here = note.get("host") in (None, socket.gethostname())  # a shared folder is written from several machines
        return f"process {note['pid']}{'' if here else ' on ' + note['host']}, since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
