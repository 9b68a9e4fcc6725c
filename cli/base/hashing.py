"""Canonical JSON: one text per value, so that a hash of it identifies the value."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN; the order of a mapping's keys does not matter.

    Tuples become lists; floats are written by `repr`, the shortest text that reads back to the same double.
    NaN and infinity are a ValueError; a key that is no string is a TypeError, since JSON would turn 1 into "1" and two
    different mappings could then share one text.

    >>> canonical_json({"b": (1, 2.0), "a": None})
    '{"a":null,"b":[1,2.0]}'
    """
    _refuse_other_keys(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _refuse_other_keys(value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"canonical JSON needs string keys, got {key!r}")
            _refuse_other_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_other_keys(inner)


def digest(value: Any) -> str:
    """Sha256 (64 hex digits) of the canonical JSON of `value`.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
