"""Sentences turned for their reader: written with better upwards and in points, told in the metric's own unit and direction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from sics_analysis.results import ACCURACY, ONE_POOL, Metric

_NUMBER = r"\d[\d.]*(?:e[+-]?\d+)?"
_INTERVAL = re.compile(rf"\[([+−]?{_NUMBER}), ([+−]?{_NUMBER})\]")
_SIGNED = re.compile(rf"(?<![\w.^)])([+−])(?={_NUMBER})")
_SIDE = re.compile(rf"\b(above|below)( [+−]?)(?={_NUMBER})")
_COMPARED = re.compile(r"\bp ([<>]) 0\b")
_POOL = re.compile(rf",? at S = {ONE_POOL:g}(?![\d.]\d|\d)(?:, )?|(?:, )?\bS = {ONE_POOL:g}(?:: |, |; | {{2}}|$)")
_OF_S = (
    (", by how much, at which sparsity?", ", and by how much?"),
    (" of this S", ""),
    (" of its S", ""),
    (" of an S", ""),
    (" within each S", ""),
    (" within an S", ""),
    (" at any S", ""),
    (", each S with its own axis", ""),
    (", by sparsity S, each with its own axis", ""),
    ("; each S has its own axis", ""),
    ("all of one S hold at once", "all hold at once"),
)
_BEGIN = re.compile(rf"\bAt S = {ONE_POOL:g}:? ")
#: The unit, and not what an estimate points to, or the points of a figure.
_UNIT = re.compile(r"\baccuracy points\b|(?<=\d )points?\b|\bpoints\b(?! (?:to|far)\b)")
_UNIT_WORDS = frozenset({"point", "points"})
#: What sentences call an example.
_IMAGE = re.compile(r"\b([Ii])mage(?=s?\b)")
_OTHER = {"above": "below", "below": "above", "+": "−", "−": "+", "<": ">", ">": "<", "": ""}


def told(text: str, metric: Metric, names: Iterable[str] = (), *, pooled: bool = False) -> str:
    """A sentence of the analysis, where better is up, as a reader of this metric has it.

    Names of scorers stay as they are; `pooled` drops the sparsity of rows that have none.

    >>> loss = Metric("loss", "nats", 1, lower_is_better=True)
    >>> told("+0.12 points, 95 % CI [+0.05, +0.19]: ESCAPES, above +0.05", loss)
    '−0.12 nats, 95 % CI [−0.19, −0.05]: ESCAPES, below −0.05'
    >>> told("the verdict it points to, for 3 new images", loss)
    'the verdict it points to, for 3 new examples'
    """

    def turn(part: str) -> str:
        part = _SIDE.sub(lambda m: f"{_OTHER[m[1]]}{m[2]}", part)
        part = _INTERVAL.sub(lambda m: f"[{m[2]}, {m[1]}]", part)
        return _SIGNED.sub(lambda m: _OTHER[m[1]], part)

    return _retold(text, metric, names, pooled, turn)


def turned(text: str, metric: Metric, names: Iterable[str] = (), *, pooled: bool = False) -> str:
    """Words of a layout, whose numbers are a reader's already: only the sides and the unit of a margin are turned.

    >>> loss = Metric("loss", "nats", 1, lower_is_better=True)
    >>> turned("[−0.19, −0.05] points, shown above +0.05", loss)
    '[−0.19, −0.05] nats, shown below −0.05'
    """

    def turn(part: str) -> str:
        part = _SIDE.sub(lambda m: f"{_OTHER[m[1]]} {_OTHER[m[2].strip()]}", part)
        return _COMPARED.sub(lambda m: f"p {_OTHER[m[1]]} 0", part)

    return _retold(text, metric, names, pooled, turn)


def _retold(text: str, metric: Metric, names: Iterable[str], pooled: bool, turn: Callable[[str], str]) -> str:
    """In the metric's unit, and turned where lower is better; names of scorers stay."""

    def change(part: str) -> str:
        return _in_unit(turn(part) if metric.lower_is_better else part, metric, pooled)

    return _around(_sides(text, metric, names), names, change)


def _sides(text: str, metric: Metric, names: Iterable[str]) -> str:
    """Above and below a scorer by name, or a plateau; where an interval begins or ends."""
    if not metric.lower_is_better:
        return text
    text = text.replace("begin a little lower", "end a little higher")
    who = "|".join([r"the \S+ plateau\b", r"the plateau\b", *(rf"{re.escape(name)}(?!\w)" for name in names)])
    return re.sub(rf"\b(above|below)(?= (?:{who}))", lambda m: _OTHER[m[1]], text)


def _in_unit(text: str, metric: Metric, pooled: bool) -> str:
    if pooled:
        text = _POOL.sub("", _BEGIN.sub("", text))
        for words, without in _OF_S:
            text = text.replace(words, without)
    text = _IMAGE.sub(lambda m: metric.example.capitalize() if m[1] == "I" else metric.example, text)
    if metric.unit == ACCURACY.unit:
        return text
    text = _UNIT.sub(lambda _: metric.unit, text)
    text = re.sub(r"\b[Aa]ccuracies\b", lambda _: f"values of {metric.name}", text)
    return re.sub(r"\b([Aa])ccuracy\b", lambda _: metric.name, text)


def _around(text: str, names: Iterable[str], turn: Callable[[str], str]) -> str:
    """Apply a change to all but the names."""
    kept = sorted({name for name in names if name}, key=len, reverse=True)
    if not kept:
        return turn(text)
    words = (rf"(?<!\d ){name}" if name in _UNIT_WORDS else re.escape(name) for name in kept)  # after a number it is the unit
    parts = re.split(rf"((?<!\w)(?:{'|'.join(words)})(?!\w))", text)
    return "".join(part if i % 2 else turn(part) for i, part in enumerate(parts))
