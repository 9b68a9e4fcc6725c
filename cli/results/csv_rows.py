"""A CSV of results from any framework, read strictly: every refusal names the line, the column and the value."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sics_cli.base.bits import unpack_bits
from sics_cli.base.errors import SicsError

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("seed", "scorer", "sparsity", "accuracy")
#: Used where present; all other columns are ignored.
OPTIONAL = ("kappa", "unit", "pool", "correct", "n", "mask_hash", "jaccard", "role", "flags")
_FIELD_LIMIT = 2**27  # per-example bits of a large test set are one long field


class CsvError(SicsError):
    """The file is not a table of results."""


@dataclass(frozen=True, slots=True)
class ResultsTable:
    """The rows of a CSV, and per-example correctness where a column `bits` has it (as `sics-run export` writes it)."""

    frame: pd.DataFrame
    bits: dict[tuple[int | str, str, float], NDArray[np.bool_]]
    sha256: str


def read_csv(path: Path) -> ResultsTable:
    """Read columns seed, scorer, sparsity, accuracy (a fraction) and the optional ones; a CsvError is one line."""
    import pandas as pd

    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise CsvError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise CsvError(f"{path}: is neither a run nor a text file: give a run's folder, its run.sqlite, or a CSV") from None
    records = _records(path, text)
    known = [name for name in (*REQUIRED, *OPTIONAL) if name in records[0][1]]
    rows, bits = [], {}
    seen: dict[tuple[int | str, str, float], int] = {}
    for line, record in records:
        row = {name: _read(path, line, name, record[name]) for name in known}
        place = (row["seed"], row["scorer"], round(row["sparsity"], 9))
        if place in seen:
            raise CsvError(
                f"{path} line {line}: seed {place[0]}, {place[1]!r} at sparsity {place[2]:g} is there already "
                f"(line {seen[place]}): one row per (seed, scorer, sparsity)"
            )
        seen[place] = line
        rows.append(row)
        if record.get("bits") and row.get("n") and row["accuracy"] is not None:
            bits[place] = _bits(path, line, record["bits"], row["n"])
    if not any(row["sparsity"] > 0 and row["accuracy"] is not None for row in rows):
        raise CsvError(f"{path}: holds no row of a pruned network (sparsity above 0) with an accuracy")
    frame = pd.DataFrame(rows, columns=known)
    return ResultsTable(frame, bits, hashlib.sha256(raw).hexdigest())


def _records(path: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    """Rows by column name, each with its line number."""
    before = csv.field_size_limit(_FIELD_LIMIT)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in REQUIRED if name not in header]
        if missing:
            found = repr(", ".join(header)[:200]) if any(header) else "no header line"
            raise CsvError(
                f"{path}: column {', '.join(missing)} is missing (found {found}): give a CSV separated by commas "
                f"with {', '.join(REQUIRED)}"
            )
        twice = sorted({name for name in (*REQUIRED, *OPTIONAL) if header.count(name) > 1})
        if twice:
            raise CsvError(f"{path}: column {', '.join(twice)} is there twice")
        records = []
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise CsvError(f"{path} line {reader.line_num}: has {len(fields)} fields where the heading has {len(header)}")
            records.append((reader.line_num, dict(zip(header, (value.strip() for value in fields), strict=True))))
    except csv.Error as error:
        raise CsvError(f"{path}: is not a CSV ({error})") from None
    finally:
        csv.field_size_limit(before)
    if not records:
        raise CsvError(f"{path}: has a heading and no rows")
    return records


def _read(path: Path, line: int, name: str, value: str) -> Any:
    convert, accepted, empty = _COLUMNS[name]
    if not value and empty:
        return None
    try:
        if not value:
            raise ValueError
        return convert(value)
    except ValueError:
        hint = ""
        with contextlib.suppress(ValueError):
            hint = "; divide percentages by 100" if name == "accuracy" and math.isfinite(float(value)) else ""
        raise CsvError(f"{path} line {line}: {name} = {value[:80]!r} is not accepted: give {accepted}{hint}") from None


def _seed(value: str) -> int | str:
    return int(value) if value.lstrip("-").isdecimal() and value.isascii() else value


def _number(accepts: Callable[[float], bool]) -> Callable[[str], float]:
    def convert(value: str) -> float:
        number = float(value)
        if not (math.isfinite(number) and accepts(number)):
            raise ValueError
        return number

    return convert


def _whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    inside = _number(lambda x: x.is_integer() and least <= x <= most)
    return lambda value: int(inside(value))


#: column → (conversion, what is accepted, whether it may be empty)
_COLUMNS: dict[str, tuple[Callable[[str], Any], str, bool]] = {
    "seed": (_seed, "a number or a name", False),
    "scorer": (str, "a name", False),
    "sparsity": (_number(lambda x: 0 <= x < 1), "a fraction of at least 0 and below 1", False),
    "accuracy": (_number(lambda x: 0 <= x <= 1), "a fraction from 0 to 1", True),
    "kappa": (_whole(0, 2), "0, 1, 2 or nothing", True),
    "unit": (str, "a name", True),
    "pool": (str, "a name", True),
    "correct": (_whole(0), "a count", True),
    "n": (_whole(1), "a count of at least 1", True),
    "mask_hash": (str, "a hash", True),
    "jaccard": (_number(lambda x: 0 <= x <= 1), "a fraction from 0 to 1", True),
    "role": (str, "a name", True),
    "flags": (str, "names", True),
}


def _bits(path: Path, line: int, value: str, n: int) -> NDArray[np.bool_]:
    try:
        return unpack_bits(bytes.fromhex(value), n)
    except ValueError:
        raise CsvError(f"{path} line {line}: bits are not {n} examples in hex, eight a byte") from None
