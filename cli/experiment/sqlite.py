"""SQLite files: opening them, telling whether they are ours and whole, and errors that say what to do."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sics_cli.experiment import schema
from sics_cli.experiment.errors import StorageError, StoreError

#: How every SQLite file begins.
_SQLITE = b"SQLite format 3\0"
_REFUSALS = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open `path` in a mode of SQLite's URIs: "rw", or "rwc" to create."""
    uri = path.resolve().as_uri() + f"?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)
    # A rollback journal and not WAL: one file to copy, and it works on network file systems.
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def is_sqlite(path: Path) -> bool:
    """Whether the file begins as a SQLite file does; False where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def check(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse what is not a store, what a newer version wrote, and what is damaged.

    Raises
    ------
    StoreError
        With the reason; SQLite's own errors are left to `explained`.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    stored = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != schema.APPLICATION_ID:
        raise StoreError(f"{path}: a SQLite file, but not a store of sics; nothing was changed")
    if stored > len(schema.MIGRATIONS):
        raise StoreError(
            f"{path}: written by a newer sics (schema {stored}, this version reads up to {len(schema.MIGRATIONS)}): "
            "upgrade sics; nothing was changed"
        )
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise damaged(path, " ".join(str(verdict).split()))


def in_memory(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Copy a database into memory and close the original, which stays as it is."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    connection.backup(copy)
    connection.close()
    return copy


def damaged(path: Path, why: str) -> StoreError:
    """Make the error for a file that cannot be trusted."""
    return StoreError(f"{path}: damaged ({why}); nothing was changed: restore a copy, or choose another --out")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into one line that says what to do; broken rules (CHECK) pass."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "").startswith(_REFUSALS):
            raise StorageError(f"{path}: cannot be written ({error}); finished cells are kept") from None
        raise StoreError(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from None
