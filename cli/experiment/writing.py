"""Rows as SQL: what each kind replaces, and which columns hold JSON."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Mapping
from typing import Any

from sics_cli.experiment.canonical import canonical_json, digest
from sics_cli.experiment.rows import CellRow, CheckpointRow, FailureRow, RepeatRow, Row

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
