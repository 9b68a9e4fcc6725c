"""Names for labels: cut to a width, and still told apart."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence

from sics_analysis.report.words.phrases import plain

LONGEST = 26  # columns of a name before it is cut: the longest of the project's own is not
_COLUMN = 0.0595  # inches of a column, in the small type of the figures


def room(names: Sequence[str], least: float = 0.0, limit: int = LONGEST) -> float:
    """Inches that the labels of these names take, `least` at the least.

    >>> room(["bump"], 1.12), round(room(["adaptive_information_200"], 1.12), 2)
    (1.12, 1.43)
    """
    return max(least, _COLUMN * max((columns(text) for text in labels(names, limit).values()), default=0))


def short(name: str, limit: int = 16) -> str:
    """A name for a label: control characters as escapes, at most `limit` columns wide, with an ellipsis where cut.

    >>> short("smooth_chaos"), short("a" * 200, 8), short("a" + chr(10) + "b")
    ('smooth_chaos', 'aaaaaaa…', 'a\\\\nb')
    """
    text = plain(name)
    if columns(text) <= limit:
        return text
    kept = ""
    for character in text:
        if columns(kept + character) > limit - 1:
            break
        kept += character
    return kept + "…"


def labels(names: Sequence[str], limit: int = LONGEST) -> dict[str, str]:
    """Short names that still differ: those that a cut would make equal lose their middle, or else end in a number.

    >>> labels(["a_long_name_1", "a_long_name_2", "x"], 8)
    {'a_long_name_1': 'a_lo…e_1', 'a_long_name_2': 'a_lo…e_2', 'x': 'x'}
    >>> labels(["a_long_1_name", "a_long_2_name"], 8)
    {'a_long_1_name': 'a_lon…·1', 'a_long_2_name': 'a_lon…·2'}
    """
    cut = {name: short(name, limit) for name in names}
    alike = _alike(cut)
    middle = cut | {name: _without_middle(name, limit) for name in alike}
    cut |= {name: middle[name] for name in alike if name not in _alike(middle)}
    count: dict[str, int] = {}
    for text in cut.values():
        count[text] = count.get(text, 0) + 1
    number: dict[str, int] = {}
    for name, text in cut.items():
        if count[text] > 1:
            number[text] = number.get(text, 0) + 1
            mark = f"·{number[text]}"
            cut[name] = short(name, limit - len(mark)) + mark
    return cut


def _alike(cut: dict[str, str]) -> list[str]:
    """The names whose labels are those of others too."""
    shown = list(cut.values())
    return [name for name, text in cut.items() if shown.count(text) > 1]


def _without_middle(name: str, limit: int) -> str:
    tail = ""
    for character in reversed(short(name, sys.maxsize)):
        if columns(character + tail) > (limit - 1) // 2:
            break
        tail = character + tail
    return short(name, limit - columns(tail)) + tail


def columns(text: str) -> int:
    """Width of a text in columns: wide characters take two, combining ones none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
