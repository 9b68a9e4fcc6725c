"""The store of one run: a SQLite file that only the driver writes, one committed transaction per row."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

from sics_analysis.results import plural
from sics_cli.base.bits import count_bits
from sics_cli.base.errors import ConfigError, SicsError, StoreError, did_you_mean, near_file
from sics_cli.base.files import PARTIAL_MARK
from sics_cli.base.hashing import canonical_json, digest
from sics_cli.store import database
from sics_cli.store.database import check, connect, damaged, explained, is_sqlite
from sics_cli.store.rows import CellRow, CheckpointRow, FailureRow, LookRow, PlanRow, RepeatRow, Row, scorer_versions
from sics_cli.store.run_folder import STORE_NAME

#: Begins the name of a run that ships with the package.
REFERENCE = "reference:"

_JSON_COLUMNS = frozenset(
    {"layers", "flags", "families", "seeds", "scorers", "sparsities", "looks", "targets", "verdicts", "search"}
)
_TABLES = {
    CellRow: "cells", RepeatRow: "repeats", CheckpointRow: "checkpoints", FailureRow: "failures", PlanRow: "plans",
    LookRow: "looks",
}  # fmt: skip
_AnyRow = TypeVar("_AnyRow", CellRow, RepeatRow, CheckpointRow, FailureRow, PlanRow, LookRow)


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
        """Make a new store holding `meta`; the file appears whole or not at all (`StorageError`)."""
        partial = path.with_name(f"{PARTIAL_MARK}{os.getpid()}-{path.name}")
        with explained(path):
            partial.unlink(missing_ok=True)
            try:
                with cls(partial, connect(partial, "rwc")) as store:
                    with store._transaction() as connection:
                        for statement in database.SCHEMA.split(";\n"):
                            connection.execute(statement)
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
        """Open an existing store and check it.

        A `StoreError` says that the file is missing, damaged, not a store, or of another schema. It is left as it is.
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
                if read_only:
                    connection.execute("PRAGMA query_only = ON")
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

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

        Where a rule of the schema refuses it, that is a `RefusedRowError`; where the disk does, a `StorageError`.
        """
        try:
            if isinstance(row, CellRow | RepeatRow):
                self._check(row)
            with self._transaction() as connection:
                if isinstance(row, CellRow) and row.search is not None and "search" not in self._columns(CellRow):
                    database.extend(connection, database.SEARCH_SCHEMA, database.SEARCH_VERSION)
                _write(connection, row, self._columns(type(row)))
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, OverflowError) as error:
            scorer = "checkpoint" if isinstance(row, CheckpointRow) else f"{row.scorer} at S = {row.sparsity}"
            raise RefusedRowError(f"the store refuses the row of seed {row.seed}, {scorer}: {error}") from None

    def _check(self, row: CellRow | RepeatRow) -> None:
        """Refuse a row that contradicts itself, or was measured on another number of examples than those that are there."""
        for name in ("loss", "value", "wall_seconds"):  # SQLite takes NaN for NULL, which says that nothing was measured
            if (number := getattr(row, name)) is not None and math.isnan(number):
                raise RefusedRowError(f"{name} of seed {row.seed}, {row.scorer} at S = {row.sparsity:g} is not a number")
        if row.bits is not None and count_bits(row.bits) != row.correct:
            raise RefusedRowError(f"correct = {row.correct}, but {count_bits(row.bits)} bits are set")
        other = self._select("SELECT seed, n FROM cells WHERE n IS NOT ? LIMIT 1", (row.n,))
        if other:
            seed, n = other[0]
            said = ["one number" if count is None else plural(count, "example") for count in (row.n, n)]
            raise RefusedRowError(
                f"seed {row.seed} was evaluated on {said[0]}, seed {seed} on {said[1]}: every network must meet the same ones"
            )

    def add_plan(self, plan: PlanRow) -> None:
        """Append a plan; the first with looks gives the store room for them."""
        with self._transaction() as connection:
            if plan.looks is not None and "looks" not in self._columns(PlanRow):
                database.extend(connection, database.LOOKS_SCHEMA, database.LOOKS_VERSION)
            _insert(connection, plan, plan.values(), self._columns(PlanRow))

    def add_look(self, look: LookRow) -> None:
        """Keep a look that was made, in place of the same look of the same plan."""
        with self._transaction() as connection:
            _insert(connection, look, look.values(), self._columns(LookRow))

    # -- reading ----------------------------------------------------------------------------------------------

    def meta(self, key: str) -> Any:
        """Value kept under `key`, or None."""
        found = self._select("SELECT value FROM meta WHERE key = ?", (key,))
        return json.loads(found[0][0]) if found else None

    def keys(self) -> set[str]:
        """Keys of the cells and repeats that are there."""
        return {key for (key,) in self._select("SELECT cell_key FROM cells UNION SELECT repeat_key FROM repeats")}

    def failed_keys(self) -> set[str]:
        """Keys of those that raised and have not succeeded since."""
        return {key for (key,) in self._select("SELECT cell_key FROM failures")}

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
        for values in self._dicts("SELECT * FROM cells"):
            provenance = bodies[values.pop("provenance_id")]
            rows.append(CellRow(**values, provenance=provenance))
        order = {info["name"]: place for place, info in enumerate((self.meta("scorers") or {}).get("infos", []))}
        return sorted(rows, key=lambda row: (row.seed, row.sparsity, order.get(row.scorer, len(order)), row.scorer))

    def repeats(self) -> list[RepeatRow]:
        """All deliberate re-evaluations."""
        return self._rows(RepeatRow, "seed, sparsity, scorer")

    def checkpoints(self) -> list[CheckpointRow]:
        """The dense checkpoints the cells were made from."""
        return self._rows(CheckpointRow, "seed")

    def failures(self) -> list[FailureRow]:
        """Cells and repeats that raised and have not succeeded since."""
        return self._rows(FailureRow, "seed, sparsity, scorer")

    def plans(self) -> list[PlanRow]:
        """Plans in the order they were fixed."""
        return self._rows(PlanRow, "plan_id")

    def looks(self, plan_hash: str) -> list[LookRow]:
        """Looks of a plan that were made, in their order."""
        if not self._columns(LookRow):
            return []
        made = self._rows(LookRow, "look")
        return [replace(look, stops=bool(look.stops)) for look in made if look.plan_hash == plan_hash]

    def _rows(self, kind: type[_AnyRow], order: str) -> list[_AnyRow]:
        there = self._columns(kind)
        names = ", ".join(name for name in kind.__dataclass_fields__ if name in there)
        return [kind(**values) for values in self._dicts(f"SELECT {names} FROM {_TABLES[kind]} ORDER BY {order}")]

    def _columns(self, kind: type[Row | PlanRow | LookRow]) -> set[str]:
        """Columns that this store has: one of an earlier version has fewer."""
        return {name for (name,) in self._select("SELECT name FROM pragma_table_info(?)", (_TABLES[kind],))}

    def _dicts(self, query: str) -> Iterator[dict[str, Any]]:
        with explained(self.path):
            cursor = self._connection.execute(query)
            names = [column[0] for column in cursor.description]
            for values in cursor.fetchall():
                row = zip(names, values, strict=True)
                yield {name: json.loads(value) if name in _JSON_COLUMNS and value is not None else value for name, value in row}

    def _select(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with explained(self.path):
            return self._connection.execute(query, values).fetchall()


def _write(connection: sqlite3.Connection, row: Row, columns: Set[str]) -> None:
    """Write one row inside a transaction; what is written has not failed any more."""
    values = row.values()
    if isinstance(row, CellRow):
        values["provenance_id"] = digest(values.pop("provenance"))
        body = canonical_json(row.provenance)
        connection.execute("INSERT OR IGNORE INTO provenance VALUES (?, ?)", (values["provenance_id"], body))
        place = row.seed, row.scorer, row.sparsity
        connection.execute("DELETE FROM failures WHERE kind = 'cell' AND seed = ? AND scorer = ? AND sparsity = ?", place)
    elif isinstance(row, RepeatRow):
        connection.execute("DELETE FROM failures WHERE cell_key = ?", (row.key,))
    _insert(connection, row, values, columns)


def _insert(connection: sqlite3.Connection, row: Row | PlanRow | LookRow, values: Mapping[str, Any], columns: Set[str]) -> None:
    """Insert, in place of rows with which this one cannot be together."""
    ready = {
        name: canonical_json(value) if name in _JSON_COLUMNS and value is not None else value
        for name, value in values.items()
        if name in columns or value is not None
    }
    names, marks = ", ".join(ready), ", ".join("?" * len(ready))
    connection.execute(f"INSERT OR REPLACE INTO {_TABLES[type(row)]} ({names}) VALUES ({marks})", tuple(ready.values()))


def find_store(run: Path) -> Path:
    """Path of the store of `run`, which is a run's folder, the store itself, or the name of a run that ships with the package.

    A `StoreError` says that there is none, a `ConfigError` that no run of that name ships with the package.
    """
    run = shipped(run)
    path = run / STORE_NAME if run.is_dir() else run
    if not path.is_file():
        near = "" if run.exists() else near_file(run, shipped_names())
        raise StoreError(f"{run}: holds no run{near} (expected a folder with {STORE_NAME}, as `replicate` makes it)")
    return path


def shipped_names() -> list[str]:
    """The runs that ship with the package, as they are asked for."""
    from sics_data import reference_runs

    return [REFERENCE + name for name in reference_runs()]


def is_shipped(source: Path) -> bool:
    """Whether a source is a run that ships with the package, asked for by name."""
    return str(source).startswith(REFERENCE)


def shipped(source: Path) -> Path:
    """The path of a reference run that is asked for by name; any other source as it is."""
    if not is_shipped(source):
        return source
    from sics_data import reference_runs

    runs, name = reference_runs(), str(source).removeprefix(REFERENCE)
    if name not in runs:
        names = shipped_names()
        raise ConfigError(f"{source}: there is no such reference run{did_you_mean(source, names)}: give {' | '.join(names)}")
    return runs[name]
