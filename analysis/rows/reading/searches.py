"""The columns of a table that tell of searches, where it has scorers whose weights were searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from sics_analysis.results import Metric
from sics_analysis.rows.reading.cells import check, numbers, text_of
from sics_analysis.rows.searched import CHOICE, LOSS, NUMBERS, WORDS, searched_name

_COUNTS = ("budget", "held_out_n")
#: Results of the metric itself on the held-out examples, and the same of the loss.
_RESULTS: Mapping[str, str] = {"held_out": "held_out_loss", "held_out_reference": "held_out_reference_loss"}


def of_searches(columns: Iterable[str], scorers: Iterable[object]) -> set[str]:
    """The columns that tell of searches, none where no scorer is searched, as they may then mean anything; and those of choices.

    >>> sorted(of_searches(["seed", "budget", "weights"], ["magnitude", "fusion_orbit_10"]))
    ['budget', 'weights']
    >>> of_searches(["seed", "budget", "weights"], ["magnitude", "mine"])
    set()
    """
    names = set(columns)
    there, chosen = {*NUMBERS, *WORDS, LOSS} & names, set(CHOICE) if names >= set(CHOICE) else set[str]()
    return chosen | (there if there and any(searched_name(str(name)) for name in set(scorers)) else set())


def search_columns(raw: pd.DataFrame, scorers: pd.Series, taken: str, metric: Metric, *, percent: bool) -> dict[str, pd.Series]:
    """These columns under their own rules, results on held-out examples in the unit of the metric, whose column is `taken`.

    Where the loss is looked at, the held-out results are those of the loss.

    Raises
    ------
    TableError
        In one line, for a cell that is not accepted.
    """
    there = of_searches(raw.columns, scorers)
    found: dict[str, pd.Series] = {}
    for name in sorted(there - {taken}):
        if name in (*WORDS, *CHOICE):
            found[name] = text_of(raw[name]).map(lambda value: value or None).astype(object)
            continue
        share = name in _RESULTS and metric.is_accuracy
        accepted = "a count of at least 1" if name in _COUNTS else "percent" if percent and share else "a number"
        accepted = "a fraction from 0 to 1" if share and not percent else accepted
        values = numbers(raw[name], name, accepted, bounded=share, empty=True).values
        if name in _COUNTS:
            check(raw[name], values, np.isnan(values) | ((values >= 1) & (values == np.floor(values))), name, accepted)
        elif share:
            check(raw[name], values, np.isnan(values) | ((values >= 0) & (values <= (100 if percent else 1))), name, accepted)
            values = (values / 100).round(12) if percent else values
        found[name] = pd.Series(values, index=raw.index)
    if taken == LOSS:
        for name, loss in _RESULTS.items():
            found.pop(name, None)
            if loss in found:
                found[name] = found[loss]
    return found
