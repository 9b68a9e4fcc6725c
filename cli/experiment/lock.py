"""One driver per run: an advisory lock that the kernel gives back when its holder dies, however it dies."""

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

from sics_cli.experiment.errors import LockedError
from sics_cli.experiment.layout import LOCK_NAME

#: A look at the lock (`status`) holds it for a moment; a driver waits that long before it believes it taken.
_PATIENCE_SECONDS = 0.5
#: What `flock` says where a network file system was mounted without locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of the run in `folder` (which must exist).

    Raises
    ------
    LockedError
        Another process holds it; the message names that process.
    """
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
