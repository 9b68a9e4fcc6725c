"""Frozen dataclasses to plain data and back, by their annotations; strict, so that a foreign file is refused in one line."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

from sics_analysis.results import UNSAID

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Return nested dicts, lists and scalars; numpy scalars become Python's, and a float that is not finite is refused.

    >>> from sics_analysis.results import Interval
    >>> encode((Interval(0.0, 1.0, 0.9, "student-t"), None))
    [{'low': 0.0, 'high': 1.0, 'level': 0.9, 'method': 'student-t'}, None]
    """
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [encode(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        found = {field: getattr(value, field.name) for field in fields(value)}
        return {field.name: encode(item) for field, item in found.items() if item != field.metadata.get(UNSAID, MISSING)}
    if isinstance(value, StrEnum):
        return str(value)
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"Expected finite numbers in a document, got {value!r}")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"Expected plain values in a document, got {type(value).__name__}")


def decode(kind: type[T], value: Any, where: str) -> T:
    """Rebuild a dataclass from what `encode` made of it; a ValueError of one line names the place that does not fit.

    >>> from sics_analysis.results import Interval
    >>> decode(Interval, {"low": 0, "high": 1.0, "level": 0.9, "method": "bca"}, "here")
    Interval(low=0.0, high=1.0, level=0.9, method='bca')
    >>> decode(Interval, {"low": 0}, "here")
    Traceback (most recent call last):
    ...
    ValueError: Expected low, high, level, method in here, missing: high, level, method
    """
    return typing.cast(T, _read(kind, value, where))


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        choices = [choice for choice in arguments if choice is not type(None)]
        if len(choices) == 1:
            return _read(choices[0], value, where)
        for choice in choices:  # int | str, for seeds
            if type(value) is choice:
                return value
        raise _refusal(where, " or ".join(choice.__name__ for choice in choices), value)
    if origin in (tuple, Sequence):
        if not isinstance(value, list):
            raise _refusal(where, "a list", value)
        if origin is Sequence or (len(arguments) == 2 and arguments[1] is Ellipsis):
            return tuple([_read(arguments[0], item, where) for item in value])
        if len(value) != len(arguments):
            raise _refusal(where, f"{len(arguments)} values", value)
        return tuple([_read(item_kind, item, where) for item_kind, item in zip(arguments, value, strict=True)])
    if is_dataclass(kind):
        return _read_object(typing.cast(type, kind), value, where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if value in list(kind):
            return kind(value)
        raise _refusal(where, " | ".join(kind), value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
        raise _refusal(where, "a finite number", value)
    if type(value) is not kind:
        raise _refusal(where, kind.__name__, value)
    return value


def _read_object(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _refusal(where, f"an object ({kind.__name__})", value)
    known = {field.name: field for field in fields(kind)}
    missing = [name for name, field in known.items() if name not in value and field.default is MISSING]
    if missing:
        needed = ", ".join(name for name, field in known.items() if field.default is MISSING)
        raise ValueError(f"Expected {needed} in {where}, missing: {', '.join(missing)}")
    unknown = sorted(set(map(str, value)) - set(known))
    if unknown:
        raise ValueError(f"Expected only known fields in {where}, got {', '.join(unknown)}")
    hints = _hints(kind)
    value = {**{name: field.metadata[UNSAID] for name, field in known.items() if UNSAID in field.metadata}, **value}
    return kind(**{name: _read(hints[name], item, f"{where}.{name}") for name, item in value.items()})


def _refusal(where: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"Expected {expected} in {where}, got {repr(value)[:80]}")
