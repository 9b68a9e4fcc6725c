"""Rows that say their metric themselves: its name, unit and direction in columns, as `sics-run export` writes them."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from sics_analysis.results import EXAMPLE, IMAGE, Metric, metric_named
from sics_analysis.rows.reading.cells import text_of
from sics_analysis.rows.reading.names import TableError

#: Columns of a metric that the rows name; `value` has its values.
SAID = ("metric", "metric_unit", "higher_is_better")
VALUE = "value"
#: What no table has but an export of a run: the dense network of a row, and the key of its cell.
_OF_RUNS = frozenset({"checkpoint_hash", "cell_key"})
_DIRECTIONS = {"true": False, "1": False, "false": True, "0": True}


def says_its_metric(columns: Iterable[str]) -> bool:
    """Whether rows say their metric in columns of their own."""
    return {*SAID, VALUE} <= set(columns)


def example_of(columns: Iterable[str]) -> str:
    """What rows call an example: those of a run that names no metric are of the project's own tasks, which are of images.

    >>> example_of(["seed", "checkpoint_hash", "cell_key"]), example_of(["seed", "scorer", "accuracy"])
    ('image', 'example')
    """
    there = set(columns)
    return IMAGE if there >= _OF_RUNS and not says_its_metric(there) else EXAMPLE


def metric_of_rows(raw: pd.DataFrame) -> Metric:
    """The one metric of rows that say it.

    Raises
    ------
    TableError
        Where there are several, or a direction is neither true nor false.
    """
    said = [text_of(raw[name]) for name in SAID]
    several = sorted({*zip(*said, strict=True)})
    if len(several) != 1:
        names = sorted(set(said[0]))
        told = f"--where metric={names[0]} keeps one" if len(names) > 1 else "they cannot be compared"
        raise TableError(f"the rows are of several metrics, units or directions ({', '.join(map(' '.join, several))}): {told}")
    name, unit, higher = several[0]
    if higher.lower() not in _DIRECTIONS:
        raise TableError(f"higher_is_better = {higher}: is not accepted: give True or False")
    return metric_named(name, unit, lower_is_better=_DIRECTIONS[higher.lower()])
