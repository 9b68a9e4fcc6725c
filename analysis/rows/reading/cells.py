"""The cells of a column as numbers or labels, however they are written: percent signs, decimal commas, empty cells."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sics_analysis.results import Seed
from sics_analysis.rows.reading.names import TableError

_THOUSANDS = r"[+-]?[1-9]\d{0,2}(?:,\d{3})+"
_POINT_THOUSANDS = r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+"
_PARTED = r"[+-]?[1-9]\d{0,2}(?:(?:,\d{3}){2,}|(?:\.\d{3}){2,}|(?:,\d{3})+\.\d*|(?:\.\d{3})+,\d*)"
#: What other programs write into a cell that has no result.
_NOTHING = frozenset({"nan", "na", "n/a", "#n/a", "null", "none", "-", "–", "—"})
_COMMA = r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*%?"

_WHOLE = re.compile(r"([+-]?[0-9]{1,300})(?:\.0*)?")


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column as numbers: nan where a cell is empty."""

    values: NDArray[np.float64]
    percent: bool  # whether cells carry the sign
    comma: bool  # whether the decimals follow a comma
    words: tuple[str, ...] = ()  # what stands in cells that count as empty, such as NA
    parted: int | None = None  # the place of a cell whose point may part thousands, where all cells with one are so


def text_of(column: pd.Series) -> pd.Series:
    """Cells as stripped text; "" where a cell is empty."""
    if isinstance(column.dtype, pd.StringDtype):  # a file's own text, a million cells of it
        return column.fillna("").str.strip()
    return column.map(lambda value: "" if _empty(value) else str(value).strip())


def _empty(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def is_text(column: pd.Series) -> bool:
    """Whether cells are objects or strings, which numbers must be read from."""
    return not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def numbers(column: pd.Series, name: str, accepted: str, *, bounded: bool = False, empty: bool = False) -> Numbers:
    """Read a column; a TableError names the first cell that is no finite number, or may be one of thousands.

    With `bounded` numbers are too small for thousands, as percent are; with `empty` words such as NA are empty cells.

    >>> numbers(pd.Series(["93,1 %", ""]), "acc", "a number")
    Numbers(values=array([93.1,  nan]), percent=True, comma=True, words=(), parted=None)
    """
    if not is_text(column):
        values = column.astype("float64").to_numpy(dtype=np.float64, na_value=np.nan)
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            raise refused(column, int(infinite[0]), name, accepted)
        return Numbers(np.asarray(values, dtype=np.float64), False, False)
    # What is written once is read once: a million cells have few texts. Texts are in the order in which they first come.
    codes, kinds = pd.factorize(text_of(column))
    text = pd.Series(kinds)

    def first_of(kind: int) -> int:
        return int(np.argmax(codes == kind))

    words: tuple[str, ...] = ()
    if empty and (pd.to_numeric(text, errors="coerce").isna() & (text != "")).any():
        nothing = text.str.lower().isin(_NOTHING)
        words = tuple(text[nothing].unique())
        text = text.mask(nothing, "") if words else text
    filled = text[text != ""]
    percent = bool(filled.str.endswith("%").any())
    bare = text.str.removesuffix("%").str.strip() if percent else text
    comma = bool(filled.str.fullmatch(_COMMA).any()) and not filled.str.contains(".", regex=False).any()
    if comma:
        parts, plain = filled.str.fullmatch(_THOUSANDS), filled.str.fullmatch(r"[+-]?\d+")
        if parts.any() and (parts | plain).all() and not bounded:  # decimals in threes, and nowhere else: hardly decimals
            place = int(np.flatnonzero(text.str.fullmatch(_THOUSANDS).to_numpy())[0])
            raise refused(column, first_of(place), name, f"{accepted}, without a comma that may part thousands")
    read = pd.to_numeric(bare.str.replace(",", ".", regex=False) if comma else bare, errors="coerce")
    found = np.asarray(read, dtype=np.float64)
    bad = np.flatnonzero((text != "").to_numpy() & ~np.isfinite(found))
    if len(bad):
        parted = bool(re.fullmatch(_PARTED, text.iloc[int(bad[0])]))
        raise refused(column, first_of(int(bad[0])), name, f"{accepted}{', without signs between thousands' if parted else ''}")
    points = filled.str.contains(".", regex=False)
    pointed = filled[points] if not bounded else filled[:0]
    first = str(pointed.iloc[0]) if len(pointed) else ""  # most columns are told by it
    threes = bool(re.fullmatch(_POINT_THOUSANDS, first)) and bool(pointed.str.fullmatch(_POINT_THOUSANDS).all())
    at = first_of(int(np.flatnonzero(text.str.fullmatch(_POINT_THOUSANDS).to_numpy())[0])) if threes else None
    return Numbers(found[codes], percent, comma, words, at)


def mostly_numbers(column: pd.Series) -> bool:
    """Whether at least half of the cells that are filled are numbers: a slip among them is a cell to refuse, not a column."""
    text = text_of(column)
    filled = text[(text != "") & ~text.str.lower().isin(_NOTHING)].str.removesuffix("%").str.strip()
    read = pd.to_numeric(filled.str.replace(",", ".", n=1, regex=False), errors="coerce")
    return bool(len(filled)) and bool(read.notna().mean() >= 0.5)


def readable(column: pd.Series) -> bool:
    """Whether a column holds numbers and no other text."""
    try:
        found = numbers(column, "", "", bounded=True, empty=True)
    except TableError:
        return False
    return bool(np.isfinite(found.values).any())


def refused(column: pd.Series, place: int, name: str, accepted: str) -> TableError:
    """The refusal of one cell."""
    value = column.iloc[place]
    written = "" if _empty(value) else str(value).strip()
    return TableError(f"{name} = {written[:80]!r} is not accepted: give {accepted}", row=int(column.index[place]))


def check(column: pd.Series, values: NDArray[np.float64], good: NDArray[np.bool_], name: str, accepted: str) -> None:
    """Refuse the first cell that is not good."""
    bad = np.flatnonzero(~good & ~np.isnan(values))
    if len(bad):
        raise refused(column, int(bad[0]), name, accepted)


def filled(column: pd.Series, name: str, accepted: str) -> pd.Series:
    """Cells as text, none of them empty."""
    text = text_of(column)
    bad = np.flatnonzero((text == "").to_numpy())
    if len(bad):
        raise refused(column, int(bad[0]), name, accepted)
    return text


def whole(accepts: Callable[[float], bool]) -> Callable[[NDArray[np.float64]], NDArray[np.bool_]]:
    """Whether each number is a whole one that is accepted."""
    return lambda values: np.array([math.isfinite(v) and float(v).is_integer() and accepts(v) for v in values], dtype=bool)


def seed_number(name: str) -> int | None:
    """The number of a seed in the heading of its column; None where it is none.

    >>> [seed_number(name) for name in ("seed 3", "run_0", "s1", "7", "conv2d_x")]
    [3, 0, 1, 7, None]
    """
    found = re.fullmatch(r"(?:seed|run|trial|rep|replicate|repetition|s|r)?[\s_#-]*(\d{1,9})", str(name).strip().lower())
    return None if found is None else int(found[1])


def seed_label(value: object) -> Seed:
    """One label for a seed however it is written: whole numbers and their texts become int, other labels stripped text.

    >>> [seed_label(value) for value in (0, 0.0, "0", " 0.0", "a ")]
    [0, 0, 0, 0, 'a']
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return int(value)
    text = str(value).strip()
    whole = _WHOLE.fullmatch(text)
    return int(whole[1]) if whole else text
