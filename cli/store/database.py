"""The tables of a run's store, and what is no store of ours.

Every rule that a number must keep stands here as a CHECK, so that no path into the store can avoid it. (SQLite
turns NaN into NULL, which NOT NULL refuses.)
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sics_cli.base.errors import StorageError, StoreError

#: "sics" in ASCII: tells our stores from other SQLite files.
APPLICATION_ID = 0x73696373

_EVALUATION = """
    seed INTEGER NOT NULL CHECK (seed >= 0),
    scorer TEXT NOT NULL,
    unit TEXT NOT NULL CHECK (unit IN ('weight', 'channel', 'head')),
    pool TEXT NOT NULL CHECK (pool IN ('global', 'layer', 'layer-rank', 'row', 'erk', 'native') OR pool GLOB '[1-9]*:[1-9]*'),
    sparsity REAL NOT NULL CHECK (sparsity >= 0 AND sparsity < 1),
    correct INTEGER CHECK (correct IS NULL OR (typeof(correct) = 'integer' AND n IS NOT NULL AND correct BETWEEN 0 AND n)),
    n INTEGER CHECK (n IS NULL OR (typeof(n) = 'integer' AND n > 0)),
    loss REAL CHECK (loss IS NULL OR (typeof(loss) = 'real' AND abs(loss) < 1e300)),
    bits BLOB CHECK (bits IS NULL OR (typeof(bits) = 'blob' AND n IS NOT NULL AND length(bits) = (n + 7) / 8)),
    value REAL CHECK (value IS NULL OR (typeof(value) = 'real' AND abs(value) < 1e300)),
    examples BLOB CHECK (examples IS NULL OR (typeof(examples) = 'blob' AND n IS NOT NULL AND length(examples) = 4 * n)),
    checkpoint_hash TEXT NOT NULL,
    wall_seconds REAL NOT NULL CHECK (wall_seconds >= 0),
    finished TEXT NOT NULL,
"""

#: Of the tables below. A store of the version before, which knew right and wrong alone, is read and continued as it is.
VERSION = 5
#: Of a store that holds a plan with looks, which an earlier version would take for a fixed number of seeds.
LOOKS_VERSION = 6
#: Of a store that holds rows of searched scorers, with looks or without.
SEARCH_VERSION = 7
READ = (4, VERSION, LOOKS_VERSION, SEARCH_VERSION)
#: A row says how its network did: by right and wrong, or by a value.
_SAYS = "CHECK ((value IS NULL) = (bits IS NOT NULL)), CHECK ((bits IS NULL) = (correct IS NULL))"

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE plans (
    plan_id INTEGER PRIMARY KEY AUTOINCREMENT,
    plan_hash TEXT NOT NULL,
    created TEXT NOT NULL,
    delta REAL NOT NULL CHECK (delta > 0 AND delta < 1e300),
    alpha REAL NOT NULL CHECK (alpha > 0 AND alpha < 0.5),
    reference TEXT NOT NULL,
    families TEXT NOT NULL,
    seeds TEXT NOT NULL,
    scorers TEXT NOT NULL,
    sparsities TEXT NOT NULL,
    cells_before INTEGER NOT NULL,
    stamp TEXT NOT NULL
);

CREATE TABLE provenance (provenance_id TEXT PRIMARY KEY, body TEXT NOT NULL);

CREATE TABLE checkpoints (
    seed INTEGER PRIMARY KEY,
    dense_key TEXT NOT NULL,
    checkpoint_hash TEXT NOT NULL,
    validation_correct INTEGER CHECK (validation_correct BETWEEN 0 AND validation_n),
    validation_n INTEGER CHECK (validation_n > 0),
    wall_seconds REAL NOT NULL CHECK (wall_seconds >= 0)
);

CREATE TABLE cells (
    cell_key TEXT PRIMARY KEY,
    {_EVALUATION}
    kappa INTEGER CHECK (kappa IS NULL OR kappa IN (0, 1, 2)),
    role TEXT NOT NULL,
    form TEXT NOT NULL,
    saliency TEXT NOT NULL,
    mask_hash TEXT,
    evaluated_as TEXT NOT NULL,
    realised_sparsity REAL NOT NULL CHECK (realised_sparsity >= 0 AND realised_sparsity <= 1),
    layers TEXT NOT NULL,
    flags TEXT NOT NULL,
    data_order_hash TEXT NOT NULL,
    calibration_hash TEXT,
    saliency_hash TEXT NOT NULL,
    provenance_id TEXT NOT NULL REFERENCES provenance (provenance_id),
    jaccard REAL CHECK (
        jaccard IS NULL OR (typeof(jaccard) = 'real' AND jaccard BETWEEN 0 AND 1 AND scorer <> 'dense')
    ),
    fingerprint TEXT,
    weight_sparsity REAL CHECK (
        weight_sparsity IS NULL OR (typeof(weight_sparsity) = 'real' AND weight_sparsity BETWEEN 0 AND 1)
    ),
    UNIQUE (seed, scorer, unit, pool, sparsity),
    CHECK ((scorer = 'dense') = (mask_hash IS NULL)),
    CHECK ((scorer = 'dense') = (sparsity = 0)),
    {_SAYS}
);

CREATE TABLE repeats (
    repeat_key TEXT PRIMARY KEY,
    {_EVALUATION}
    mask_hash TEXT NOT NULL,
    UNIQUE (seed, scorer, unit, pool, sparsity),
    CHECK (sparsity > 0),
    {_SAYS}
);

CREATE TABLE failures (
    cell_key TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('cell', 'repeat')),
    seed INTEGER NOT NULL,
    scorer TEXT NOT NULL,
    sparsity REAL NOT NULL,
    error TEXT NOT NULL,
    trace TEXT NOT NULL,
    finished TEXT NOT NULL
);

PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""

#: What the first plan with looks adds to a store.
LOOKS_SCHEMA = """
ALTER TABLE plans ADD COLUMN looks TEXT;

CREATE TABLE looks (
    plan_hash TEXT NOT NULL,
    look INTEGER NOT NULL CHECK (look >= 1),
    n INTEGER NOT NULL CHECK (n >= 1),
    made TEXT NOT NULL,
    rows_hash TEXT NOT NULL,
    spent REAL NOT NULL CHECK (spent >= 0 AND spent < 0.5),
    decided INTEGER NOT NULL CHECK (decided BETWEEN 0 AND lines),
    lines INTEGER NOT NULL,
    hopeless INTEGER NOT NULL CHECK (hopeless BETWEEN 0 AND lines - decided),
    verdicts TEXT NOT NULL,
    targets TEXT NOT NULL,
    stops INTEGER NOT NULL CHECK (stops IN (0, 1)),
    PRIMARY KEY (plan_hash, look)
);
"""

#: What the first row of a searched scorer adds to a store.
SEARCH_SCHEMA = """
ALTER TABLE cells ADD COLUMN search TEXT CHECK (search IS NULL OR (typeof(search) = 'text' AND scorer <> 'dense'));
"""

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


def extend(connection: sqlite3.Connection, schema: str, version: int) -> None:
    """Give a store room for more, inside a transaction; it is then of this version at least."""
    for statement in schema.split(";\n"):
        connection.execute(statement)
    stored = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.execute(f"PRAGMA user_version = {max(stored, version)}")


def is_sqlite(path: Path) -> bool:
    """Whether the file begins as a SQLite file does; False where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def check(path: Path, connection: sqlite3.Connection) -> None:
    """Raise a `StoreError` at what is not a store, is of another version, or is damaged; SQLite's own are left to `explained`."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    stored = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise StoreError(f"{path}: a SQLite file, but not a store of sics; nothing was changed")
    if stored > SEARCH_VERSION:
        raise StoreError(
            f"{path}: written by a newer sics (schema {stored}, this version reads up to {SEARCH_VERSION}): "
            "upgrade sics; nothing was changed"
        )
    if stored not in READ:
        raise StoreError(
            f"{path}: of schema {stored}, which no release wrote; this version reads up to {SEARCH_VERSION}; nothing was changed"
        )
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise damaged(path, " ".join(str(verdict).split()))


def damaged(path: Path, why: str) -> StoreError:
    """Make the error for a file that cannot be trusted."""
    return StoreError(f"{path}: damaged ({why}); nothing was changed: restore a copy, or choose another --out")


def cells_kept(path: Path) -> str:
    """What becomes of the cells of a store that cannot be written to: they stay, where it holds any.

    >>> cells_kept(Path("nowhere.sqlite"))
    'no cell was finished yet'
    """
    finished = False
    with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(path, "ro")) as connection:
        finished = connection.execute("SELECT EXISTS (SELECT 1 FROM cells)").fetchone()[0] == 1
    return "finished cells are kept" if finished else "no cell was finished yet"


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into one line that says what to do; broken rules (CHECK) pass."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "").startswith(_REFUSALS):
            raise StorageError(f"{path}: cannot be written ({error}); {cells_kept(path)}") from None
        raise StoreError(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from None
