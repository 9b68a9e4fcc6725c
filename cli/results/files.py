"""A table as people keep it, opened: text of any separator and encoding, gzip, JSON lines, Parquet, Excel."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from sics_analysis.results import plural
from sics_cli.base.errors import ConfigError, SicsError

if TYPE_CHECKING:
    import pandas as pd

_SPACES = r"\s+"
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", _SPACES: "spaces"}
#: The row below the heading of a Markdown table.
_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?\s*|\s*\|\s*:?-+:?\s*\|\s*")


class TableFileError(ConfigError):
    """The file is not a table of results."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenedTable:
    """The cells of one file or several under their headings, where each row stands, and what was assumed to open it.

    Cells of text files are text; those of others have the types they were written with.
    """

    frame: pd.DataFrame
    places: Sequence[tuple[Path, str]]
    assumed: tuple[str, ...]
    sha256: str

    def at(self, row: int) -> str:
        """The file and line of a row, as an error begins."""
        path, line = self.places[row]
        return f"{path} {line}"

    def line(self, row: int) -> str:
        """The line of a row."""
        return self.places[row][1]


@dataclass(frozen=True, slots=True)
class _Lines(Sequence[str]):
    """Names of lines that follow one another, of a file of a million, made when one is asked for."""

    first: int
    rows: int

    def __len__(self) -> int:
        return self.rows

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[str]: ...
    def __getitem__(self, i: int | slice) -> str | Sequence[str]:
        found = range(self.first, self.first + self.rows)[i]
        return f"line {found}" if isinstance(found, int) else [f"line {number}" for number in found]


@dataclass(frozen=True, slots=True)
class _Places(Sequence[tuple[Path, str]]):
    """Where the rows of one file stand."""

    path: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, i: int) -> tuple[Path, str]: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[tuple[Path, str]]: ...
    def __getitem__(self, i: int | slice) -> tuple[Path, str] | Sequence[tuple[Path, str]]:
        return (self.path, self.names[i]) if isinstance(i, int) else [(self.path, name) for name in self.names[i]]


def open_tables(paths: Sequence[Path]) -> OpenedTable:
    """Open files as one table; where there are several, a column `file` names the one of each row."""
    import pandas as pd

    known = [path.resolve() for path in paths]
    again = next((path for i, path in enumerate(paths) if known[i] in known[:i]), None)
    if again is not None:
        raise TableFileError(f"{again}: is given twice")
    opened = [_open(path) for path in paths]
    if len(opened) == 1:
        return opened[0]
    frames = []
    for path, one in zip(paths, opened, strict=True):
        named = {} if "file" in one.frame.columns else {"file": path.name.split(".")[0]}
        frames.append(one.frame.assign(**named))
    shapes = [set(map(str, frame.columns)) for frame in frames]
    for path, shape in zip(paths[1:], shapes[1:], strict=True):
        if not shape & (shapes[0] - {"file"}):
            raise TableFileError(f"{path}: has no column in common with {paths[0].name}, so they are no one table")
    together = pd.concat(frames, ignore_index=True)
    places = [place for one in opened for place in one.places]
    digest = hashlib.sha256("".join(one.sha256 for one in opened).encode()).hexdigest()
    assumed = tuple(dict.fromkeys(f"{text}" for one in opened for text in one.assumed))
    return OpenedTable(together, places, (f"{len(paths)} files are one table", *assumed), digest)


def _open(path: Path) -> OpenedTable:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SicsError(f"{path}: cannot be read ({error.strerror or error})") from None
    digest = hashlib.sha256(raw).hexdigest()
    lines: Sequence[str] | None
    if raw.startswith(b"\x1f\x8b"):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise TableFileError(f"{path}: is a damaged gzip file ({error})") from None
    ending = [part.lower() for part in path.suffixes if part.lower() != ".gz"][-1:]
    if raw.startswith(b"PAR1"):
        frame, assumed, lines = *_parquet(path, raw), None
    elif raw.startswith(b"PK\x03\x04") or ending in ([".xlsx"], [".xls"], [".xlsm"]):
        frame, assumed, lines = _excel(path, raw)
    else:
        text = _decode(path, raw)
        if ending == [".json"]:
            frame, assumed, lines = _json(path, text)
        elif ending in ([".jsonl"], [".ndjson"]):
            frame, assumed, lines = _json_lines(path, text)
        else:
            frame, assumed, lines = _delimited(path, text)
    names = lines or [f"row {i + 1}" for i in range(len(frame))] or ["row 1"]
    return OpenedTable(frame, _Places(path, names), tuple(assumed), digest)


def _decode(path: Path, raw: bytes) -> str:
    utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    nulls = raw[:400].count(0)
    try:
        if utf16:
            return raw.decode("utf-16")
        if nulls > len(raw[:400]) // 4:
            return raw.decode("utf-16-le" if raw[1:400:2].count(0) >= nulls // 2 else "utf-16-be")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    # Excel writes the characters of its language, which only names have; a picture has control characters or one line.
    if b"\n" in raw and not re.search(rb"[\x00-\x08\x0e-\x1f\x81\x8d\x8f\x90\x9d]", raw):
        return raw.decode("cp1252")
    raise SicsError(f"{path}: is neither a run nor a text file: give a run's folder, its run.sqlite, or a table of results")


def _parquet(path: Path, raw: bytes) -> tuple[pd.DataFrame, list[str]]:
    import pandas as pd

    try:
        return pd.read_parquet(io.BytesIO(raw)), []
    except ImportError:
        raise TableFileError(f"{path}: Parquet needs pyarrow, pip install 'sics[parquet]'; csv and jsonl need nothing") from None
    except Exception as error:
        raise TableFileError(f"{path}: is not a Parquet file ({str(error).splitlines()[0][:120]})") from None


def _excel(path: Path, raw: bytes) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The first sheet that has rows; the first row with as many cells as half of the rows have, two at least, is the heading."""
    import pandas as pd

    try:
        sheets = pd.read_excel(io.BytesIO(raw), sheet_name=None, header=None, dtype=object)
    except ImportError:
        raise TableFileError(f"{path}: Excel needs openpyxl, pip install 'sics[xlsx]'; or save the sheet as CSV") from None
    except Exception as error:
        raise TableFileError(f"{path}: is not an Excel file ({str(error).splitlines()[0][:120]})") from None
    filled = {name: sheet for name, sheet in sheets.items() if (sheet.notna().sum(axis=1) > 1).any()}
    if not filled:
        raise TableFileError(f"{path}: has no sheet with a heading")
    name, sheet = next(iter(filled.items()))
    cells = sheet.notna().sum(axis=1)
    start = int((cells >= max(2, cells[cells > 0].median())).to_numpy().argmax())
    heading = ["" if pd.isna(cell) else str(cell).strip() for cell in sheet.iloc[start]]
    body = sheet.iloc[start + 1 :].set_axis(heading, axis=1).dropna(how="all")
    lines = [f"row {int(row) + 1}" for row in body.index]
    assumed = [f"sheet {name!r} of {len(sheets)} is the table"] if len(filled) > 1 else []
    return body.reset_index(drop=True), assumed, lines


def is_json_table(path: Path) -> bool:
    """Whether a file holds rows as JSON: a list of objects, one object a line, or the columns or the split of pandas."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        return error.msg == "Extra data"  # an object a line
    except (OSError, ValueError, RecursionError):
        return False
    return (isinstance(found, list) and bool(found)) or (isinstance(found, dict) and _of_pandas(found) is not None)


def _of_pandas(found: dict[str, Any]) -> pd.DataFrame | None:
    """The frame of `DataFrame.to_json`, with a value of each index under each column, or as columns, index and data."""
    import pandas as pd

    columns, data = found.get("columns"), found.get("data")
    if isinstance(columns, list) and isinstance(data, list) and set(found) <= {"columns", "index", "data"}:
        whole = all(isinstance(row, list) and len(row) == len(columns) for row in data)
        return pd.DataFrame(data, columns=columns, dtype=object) if whole else None
    first = next(iter(found.values()), None)
    if not isinstance(first, dict) or not first or any(isinstance(value, dict | list) for value in first.values()):
        return None
    if not all(isinstance(own, dict) and own.keys() == first.keys() for own in found.values()):
        return None
    return pd.DataFrame(found, dtype=object) if all(key.isdigit() for key in first) else None


def _json(path: Path, text: str) -> tuple[pd.DataFrame, list[str], list[str] | None]:
    """A list of objects, what pandas writes, or a single object, which is one row."""
    import pandas as pd

    try:
        found = json.loads(text)
    except ValueError:
        return _json_lines(path, text)
    records = found if isinstance(found, list) else [found]
    if not records or not all(isinstance(record, dict) for record in records):
        raise TableFileError(f"{path}: is no list of JSON objects, [{{...}}, ...], one a row")
    frame = _of_pandas(found) if isinstance(found, dict) else None
    return (pd.json_normalize(records) if frame is None else frame.reset_index(drop=True)), [], None


def _json_lines(path: Path, text: str) -> tuple[pd.DataFrame, list[str], list[str]]:
    import pandas as pd

    records: list[dict[str, Any]] = []
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            raise TableFileError(f"{path} line {number}: is not JSON") from None
        if not isinstance(record, dict):
            raise TableFileError(f"{path} line {number}: is no JSON object, {{...}}")
        records.append(record)
        lines.append(f"line {number}")
    if not records:
        raise TableFileError(f"{path}: has no rows")
    return pd.json_normalize(records), [], lines


def _delimited(path: Path, text: str) -> tuple[pd.DataFrame, list[str], Sequence[str]]:
    import pandas as pd

    if _is_plain(text):
        table = pd.read_csv(io.StringIO(text), header=None, dtype=str, keep_default_na=False, na_values=[])
        frame = _below_heading(table)
        return frame, [], _Lines(2, len(frame))
    rows, assumed, separator = _without_comments(text)
    if not rows:
        return pd.DataFrame(), assumed, []
    rows, markdown = _markdown(path, rows)
    assumed += markdown
    separator = separator or _separator(rows[0][1])
    if separator != "," and not markdown:
        assumed.append(f"fields are separated by {_SEPARATORS[separator]}")
    if _names_of_rows(rows, separator):
        rows[0] = (rows[0][0], f'""{" " if separator == _SPACES else separator}{rows[0][1]}')
        assumed.append("the first field of each row is its number, which the heading leaves out")
    _check_fields(path, rows, separator)
    # Whitespace at the ends of a line is no field, but a tab is.
    body = "\n".join(line.strip(" \r") for _, line in rows)
    try:
        table = pd.read_csv(io.StringIO(body), sep=separator, header=None, dtype=str, keep_default_na=False, na_values=[])
    except pd.errors.ParserError as error:
        raise TableFileError(f"{path}: is not a CSV ({str(error).split('error: ')[-1].strip()})") from None
    frame = _below_heading(table)
    if markdown:
        frame = frame.map(lambda cell: cell.strip(" *`") if isinstance(cell, str) else cell)
    lines = [f"line {number}" for number, _ in rows[1:]]
    if len(lines) != len(frame):  # a quoted field holds the end of a line
        lines = [f"row {i + 1}" for i in range(len(frame))]
    if not len(frame):
        raise TableFileError(f"{path}: has a heading and no rows")
    return frame, assumed, lines


def _below_heading(table: pd.DataFrame) -> pd.DataFrame:
    heading = [str(name).strip() for name in table.iloc[0].fillna("")]
    return table.iloc[1:].set_axis(heading, axis=1).reset_index(drop=True)


def _is_plain(text: str) -> bool:
    """Whether every line is a row of as many fields, of commas alone: no mark, comment, space, or other separator to look at.

    Most large tables are so, and need no look at each of their lines.
    """
    import numpy as np

    if any(sign in text for sign in "\"'#\r \t;|\0") or text[:4].lower() == "sep=" or "\n" not in text[:-1]:
        return False
    signs = np.frombuffer((text if text.endswith("\n") else text + "\n").encode(), dtype=np.uint8)
    ends, commas = np.flatnonzero(signs == ord("\n")), np.flatnonzero(signs == ord(","))
    counts, lengths = np.diff(np.searchsorted(commas, ends), prepend=0), np.diff(ends, prepend=-1) - 1
    return bool(counts[0] > 0 and (counts == counts[0]).all() and (lengths > counts).all())


def _markdown(path: Path, rows: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], list[str]]:
    """The rows of a Markdown table without its rule, and that it is one; other rows as they are."""
    rules = [i for i, (_, line) in enumerate(rows) if i and _RULE.fullmatch(line)]
    if not rules:
        return rows, []
    if len(rules) > 1:
        raise TableFileError(f"{path} line {rows[rules[1]][0]}: a second Markdown table begins: keep one of them")
    start = rules[0] - 1
    body = rows[start + 2 :]
    end = next((i for i, (_, line) in enumerate(body) if "|" not in line), len(body))
    around = len(rows) - end - 2
    said = (
        f", and {around} lines around it are left out" if around > 1 else ", and a line beside it is left out" if around else ""
    )
    return [rows[start], *body[:end]], [f"the rows are a Markdown table{said}"]


def _names_of_rows(rows: Sequence[tuple[int, str]], separator: str) -> bool:
    """Whether every row begins with its number, 1 and up, and the heading is one field shorter, as R writes a table."""
    wanted = len(_split(rows[0][1], separator)) + 1
    fields = (_split(line, separator) for _, line in rows[1:])
    return len(rows) > 1 and all(len(row) == wanted and row[0].strip('"') == str(i) for i, row in enumerate(fields, start=1))


def _check_fields(path: Path, rows: Sequence[tuple[int, str]], separator: str) -> None:
    """Refuse the first row that is longer or shorter than the heading: pandas fills it up."""
    wanted = len(_split(rows[0][1], separator))
    for number, line in rows[1:]:
        quotes = line.count('"')
        if separator == _SPACES or quotes % 2:
            continue  # a field that holds the end of a line, or no quotation at all: the parser knows
        count = len(_split(line, separator)) if quotes else line.count(separator) + 1
        if count != wanted:
            raise TableFileError(f"{path} line {number}: has {count} fields where the heading has {wanted}")


def _without_comments(text: str) -> tuple[list[tuple[int, str]], list[str], str]:
    """The lines that are rows, with their numbers; what was left out; the separator where Excel's first line says it."""
    rows: list[tuple[int, str]] = []
    comments: list[tuple[int, str]] = []
    separator = ""
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        bare = line.rstrip("\n")
        said = None if rows else re.fullmatch(r"sep=(.)", bare.strip())
        if said:
            separator = said[1] if said[1] in _SEPARATORS else ""
        elif bare.lstrip().startswith("#"):
            comments.append((number, bare))
        elif bare.strip(" \t,;|"):
            rows.append((number, bare))
    assumed = []
    if rows and comments and not re.search(r"[A-Za-z_]", rows[0][1]):
        heading = comments[-1][1].lstrip("# ")
        if len(_split(heading, _separator(heading))) == len(_split(rows[0][1], _separator(rows[0][1]))):
            rows.insert(0, (comments[-1][0], heading))
            comments.pop()
            assumed.append("the comment above the rows is their heading")
    if comments:
        assumed.append(
            f"{plural(len(comments), 'line')} beginning with # {'is a comment' if len(comments) == 1 else 'are comments'}"
            if len(comments) > 1
            else "a line that begins with # is a comment"
        )
    return rows, assumed, separator


def _separator(heading: str) -> str:
    """What separates the fields of a heading: of commas, semicolons, tabs and bars the most frequent, else spaces."""
    counts = {separator: len(_split(heading, separator)) for separator in (",", ";", "\t", "|")}
    best = max(counts, key=lambda separator: counts[separator])
    if counts[best] > 1:
        return best
    return _SPACES if len(heading.split()) > 2 else ","


def _split(line: str, separator: str) -> list[str]:
    return line.split() if separator == _SPACES else next(csv.reader([line], delimiter=separator), [])
