"""The way out of a document: numbers in the metric's own direction, sentences in its unit; better was up until here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from sics_analysis.results import ONE_POOL, Interval, Metric
from sics_analysis.study.told import told

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
#: Fields of the parts of a document that are differences, and those that are sentences. Every `Interval` is of a difference.
_DIFFERENCES = frozenset(
    {"mean", "mean_run", "differences", "g_z", "gain", "information", "complexity", "estimate", "planned", "bound"}
)
_SENTENCES = frozenset(
    {
        "reason", "sentence", "text", "paragraph", "statement", "trend_sentence", "where", "claimed", "reading", "conclusion",
        "remarks", "over_fitting",
    }
)  # fmt: skip


def as_read(part: T, metric: Metric, names: Sequence[str], sparsities: Sequence[float]) -> T:
    """A part of a document as its reader has it."""
    pooled = tuple(sparsities) == (ONE_POOL,)
    if metric.is_image_accuracy and not pooled:
        return part
    found: T = _read(part, metric, names, pooled, "")
    return found


def _read(value: Any, metric: Metric, names: Sequence[str], pooled: bool, name: str) -> Any:
    if isinstance(value, Interval):
        return metric.turned_interval(value)
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: _read(getattr(value, field.name), metric, names, pooled, field.name) for field in fields(value)}
        return replace(value, **own)
    if isinstance(value, tuple) and not (value and type(value[0]) in (int, float)):
        return tuple(_read(item, metric, names, pooled, name) for item in value)
    if isinstance(value, tuple):  # differences, or seeds, a thousand a line
        turned = metric.lower_is_better and name in _DIFFERENCES
        return tuple(metric.turned(item) if isinstance(item, float) else item for item in value) if turned else value
    if isinstance(value, float) and name in _DIFFERENCES:
        return metric.turned(value)
    if isinstance(value, str) and not isinstance(value, StrEnum) and name in _SENTENCES:
        return told(value, metric, names, pooled=pooled)
    return value
