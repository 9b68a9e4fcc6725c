"""Files that are either whole or absent: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from sics_cli.base.errors import StorageError

#: Unfinished files carry this mark; whoever holds the run's lock may delete what a killed process left.
PARTIAL_MARK = ".partial-"


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put `data` at `path`; a reader sees the old file, none, or all of the new one, also after a crash.

    `durable=False` skips the flush to disk, for files whose loss costs nothing (progress).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder) / "x"
    ...     write_atomically(target, b"1")
    ...     target.read_bytes(), len(list(Path(folder).iterdir()))
    (b'1', 1)
    """
    with atomic_path(path, durable=durable) as partial:
        partial.write_bytes(data)


@contextlib.contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a path beside `path` to write to; on leaving without an error it becomes `path`."""
    # Processes of several machines may write beside each other, and have the same number there.
    partial = path.with_name(f"{PARTIAL_MARK}{socket.gethostname()}-{os.getpid()}-{path.name}")
    try:
        yield partial
        if durable:
            _flush(partial)
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # a failed write does not say which file it was
        raise
    if durable:
        _flush(path.parent)


@contextlib.contextmanager
def written_for(option: str, path: Path) -> Iterator[None]:
    """A disk or folder that refuses becomes a StorageError which names the option and the path it was given."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{option} {path}: cannot be written ({error.strerror or error})") from None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partials(folder: Path) -> int:
    """Delete what killed writers left in `folder`; return how many files that were."""
    leftovers = list(folder.glob(f"{PARTIAL_MARK}*")) if folder.is_dir() else []
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return len(leftovers)


def cache_folder() -> Path:
    """Where decoded images lie: `sics/images` below XDG_CACHE_HOME, which is ~/.cache unless set."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return home / "sics" / "images"
