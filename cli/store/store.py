"""The store of one run: a SQLite file that only the driver writes, one committed transaction per row."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sics_cli.base.bits import count_bits, unpack_bits
from sics_cli.base.errors import ConfigError, SicsError, StoreError
from sics_cli.base.files import PARTIAL_MARK
from sics_cli.base.hashing import canonical_json, digest
from sics_cli.store import database
from sics_cli.store.database import check, connect, damaged, explained, in_memory, is_sqlite
from sics_cli.store.rows import CellRow, CheckpointRow, FailureRow, PlanRow, RepeatRow, Row, scorer_versions
from sics_cli.store.run_folder import STORE_NAME

JSON_COLUMNS = frozenset({"layers", "flags", "families", "seeds", "scorers", "sparsities"})
_PLACE = "seed = ? AND scorer = ? AND unit = ? AND pool = ? AND sparsity = ?"


def write_row(connection: sqlite3.Connection, row: Row) -> None:
    """Write one row inside a transaction; it replaces the row of the same coordinates, whatever key that had."""
    values: dict[str, Any] = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    match row:
        case CellRow():
            connection.execute(f"DELETE FROM cells WHERE {_PLACE}", _place(row))
            connection.execute(
                "DELETE FROM failures WHERE kind = 'cell' AND seed = ? AND scorer = ? AND sparsity = ?",
                (row.seed, row.scorer, row.sparsity),
            )
            values["provenance_id"] = digest(values.pop("provenance"))
            connection.execute(
                "INSERT OR IGNORE INTO provenance VALUES (?, ?)",
                (values["provenance_id"], canonical_json(row.provenance)),
            )
            insert(connection, "cells", values)
        case RepeatRow():
            connection.execute(f"DELETE FROM repeats WHERE {_PLACE}", _place(row))
            connection.execute("DELETE FROM failures WHERE cell_key = ?", (row.repeat_key,))
            insert(connection, "repeats", values)
        case CheckpointRow():
            insert(connection, "checkpoints", values)
        case FailureRow():
            insert(connection, "failures", values)


def insert(connection: sqlite3.Connection, table: str, values: Mapping[str, Any]) -> None:
    """Insert or replace one row given by column."""
    ready = {name: canonical_json(v) if name in JSON_COLUMNS else v for name, v in values.items()}
    names, marks = ", ".join(ready), ", ".join("?" * len(ready))
    connection.execute(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", tuple(ready.values()))


def row_name(row: Row) -> str:
    """How an error names a row."""
    scorer = getattr(row, "scorer", "checkpoint")
    return f"seed {row.seed}, {scorer}" + (f" at S = {row.sparsity}" if not isinstance(row, CheckpointRow) else "")


def _place(row: CellRow | RepeatRow) -> tuple[Any, ...]:
    return row.seed, row.scorer, row.unit, row.pool, row.sparsity


#: Begins the name of a run that ships with the package.
REFERENCE = "reference:"

_AnyRow = TypeVar("_AnyRow", CellRow, RepeatRow, CheckpointRow, FailureRow, PlanRow)


class RefusedRowError(SicsError):
    """A row breaks a rule of the schema, such as an accuracy above 1; the store is as it was."""


class Store:
    """An open store. Use `Store.create` or `Store.open`, as a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    # -- opening ----------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, meta: Mapping[str, Any]) -> Self:
        """Make a new store holding `meta`; the file appears whole or not at all.

        Raises
        ------
        StorageError
            The folder cannot be written, or the disk is full.
        """
        partial = path.with_name(f"{PARTIAL_MARK}{os.getpid()}-{path.name}")
        with explained(path):
            partial.unlink(missing_ok=True)
            try:
                store = cls(partial, connect(partial, "rwc"))
                with store:
                    store._migrate()
                    for key, value in meta.items():
                        store.set_meta(key, value)
                partial.rename(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    partial.unlink(missing_ok=True)
                raise
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """Open an existing store, check it, and bring an older schema up to date (`read_only`: a copy in memory).

        Raises
        ------
        StoreError
            The file is missing, damaged, not a store, or of a newer schema. It is left as it is.
        """
        if not path.is_file():
            raise StoreError(f"{path}: there is no such store")
        if path.stat().st_size == 0:
            raise damaged(path, "the file is empty")
        if path.name != STORE_NAME and not is_sqlite(path):  # a file of another kind was named, none of ours is hurt
            raise StoreError(f"{path}: is not a run: give a run's folder, or its {STORE_NAME} (sics-run report takes a CSV)")
        with explained(path):
            connection = connect(path, "rw")
            try:
                check(path, connection)
                store = cls(path, connection)
                if not read_only:
                    store._migrate()
                elif store._version() < len(database.MIGRATIONS):
                    store = cls(path, in_memory(connection))
                    store._migrate()
                else:
                    connection.execute("PRAGMA query_only = ON")
            except BaseException:
                connection.close()
                raise
        return store

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        stored = self._version()
        for number, script in enumerate(database.MIGRATIONS[stored:], start=stored + 1):
            with self._transaction():
                for statement in script.split(";\n"):
                    if statement.strip():
                        self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {number}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    # -- writing ----------------------------------------------------------------------------------------------

    def set_meta(self, key: str, value: Any) -> None:
        """Keep a JSON-able value under `key`."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, canonical_json(value)))

    def put(self, row: Row) -> None:
        """Commit one row; it replaces the row of the same coordinates, whatever key that had.

        Raises
        ------
        RefusedRowError
            A rule of the schema refuses it.
        StorageError
            The disk refuses it.
        """
        try:
            if isinstance(row, CellRow | RepeatRow) and count_bits(row.bits) != row.correct:
                raise RefusedRowError(f"correct = {row.correct}, but {count_bits(row.bits)} bits are set")
            with self._transaction() as connection:
                write_row(connection, row)
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, OverflowError) as error:
            raise RefusedRowError(f"the store refuses the row of {row_name(row)}: {error}") from None

    def add_plan(self, plan: PlanRow) -> None:
        """Append a plan."""
        with self._transaction() as connection:
            insert(connection, "plans", {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)})

    # -- reading ----------------------------------------------------------------------------------------------

    def meta(self, key: str) -> Any:
        """Value kept under `key`, or None."""
        with explained(self.path):
            found = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return json.loads(found[0]) if found else None

    def cells(self) -> list[CellRow]:
        """Cells and dense rows, by seed, sparsity and the plugin's order of scorers.

        Of a user's scorer that was changed in between, only the rows of one version: see `stale_cells`.
        """
        return scorer_versions(self._all_cells(), self.meta("scorers"))[0]

    def stale_cells(self) -> list[CellRow]:
        """Rows of earlier versions of a user's scorer, which `cells` leaves out; replicate computes them again when asked."""
        return scorer_versions(self._all_cells(), self.meta("scorers"))[1]

    def _all_cells(self) -> list[CellRow]:
        bodies = {key: json.loads(body) for key, body in self._select("SELECT * FROM provenance")}
        rows = []
        for values in self._dicts("SELECT * FROM cells ORDER BY seed, sparsity, scorer"):
            values["provenance"] = bodies[values.pop("provenance_id")]
            rows.append(CellRow(**values))
        order = {info["name"]: place for place, info in enumerate((self.meta("scorers") or {}).get("infos", []))}
        return sorted(rows, key=lambda row: (row.seed, row.sparsity, order.get(row.scorer, len(order)), row.scorer))

    def bits(self, seed: int, scorer: str, sparsity: float) -> NDArray[np.bool_]:
        """Per-example correctness of one cell, shape (n,), in the order of the test split.

        Raises
        ------
        KeyError
            There is no such cell.
        """
        query = "SELECT bits, n FROM cells WHERE seed = ? AND scorer = ? AND sparsity = ?"
        for packed, n in self._select(query, (seed, scorer, sparsity)):
            return unpack_bits(packed, n)
        raise KeyError((seed, scorer, sparsity))

    def repeats(self) -> list[RepeatRow]:
        """All deliberate re-evaluations."""
        return self._rows(RepeatRow, "SELECT * FROM repeats ORDER BY seed, sparsity, scorer")

    def checkpoints(self) -> list[CheckpointRow]:
        """The dense checkpoints the cells were made from."""
        return self._rows(CheckpointRow, "SELECT * FROM checkpoints ORDER BY seed")

    def failures(self) -> list[FailureRow]:
        """Cells and repeats that raised and have not succeeded since."""
        return self._rows(FailureRow, "SELECT * FROM failures ORDER BY seed, sparsity, scorer")

    def plans(self) -> list[PlanRow]:
        """Plans in the order they were fixed."""
        names = ", ".join(field.name for field in dataclasses.fields(PlanRow))
        return self._rows(PlanRow, f"SELECT {names} FROM plans ORDER BY plan_id")

    def _rows(self, kind: type[_AnyRow], query: str) -> list[_AnyRow]:
        return [kind(**values) for values in self._dicts(query)]

    def _dicts(self, query: str) -> Iterator[dict[str, Any]]:
        with explained(self.path):
            cursor = self._connection.execute(query)
            names = [column[0] for column in cursor.description]
            for values in cursor.fetchall():
                row = dict(zip(names, values, strict=True))
                yield {k: json.loads(v) if k in JSON_COLUMNS else v for k, v in row.items()}

    def _select(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with explained(self.path):
            return self._connection.execute(query, values).fetchall()


def find_store(run: Path) -> Path:
    """Path of the store of `run`, which is a run's folder, the store itself, or the name of a run that ships with the package.

    Raises
    ------
    StoreError
        There is none.
    ConfigError
        No run of that name ships with the package.
    """
    run = shipped(run)
    path = run / STORE_NAME if run.is_dir() else run
    if not path.is_file():
        raise StoreError(f"{run}: holds no run (expected a folder with {STORE_NAME}, as `replicate` makes it)")
    return path


def shipped(source: Path) -> Path:
    """The path of a reference run that is asked for by name; any other source as it is."""
    if not str(source).startswith(REFERENCE):
        return source
    from sics_data import reference_runs

    runs, name = reference_runs(), str(source).removeprefix(REFERENCE)
    if name not in runs:
        raise ConfigError(f"{source}: there is no such reference run: give {' | '.join(REFERENCE + known for known in runs)}")
    return runs[name]
