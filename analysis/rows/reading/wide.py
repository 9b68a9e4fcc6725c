"""A table with a column a scorer, or a column a seed: which columns they are, and the same with a row an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sics_analysis.rows.reading.asked import Asked
from sics_analysis.rows.reading.cells import mostly_numbers, numbers, seed_number, text_of
from sics_analysis.rows.reading.names import Named, TableError, check_column, is_accuracy_name, is_scorer_name, key, metric_column

_SUMMARY = ("mean", "std", "sd", "avg", "average", "median")


def to_long(raw: pd.DataFrame, named: Named, asked: Asked, metric: str | None) -> tuple[pd.DataFrame, Named, list[str]]:
    """A table with a column a scorer, or a column a seed, as one with a row an evaluation."""
    given = {role: columns for role, columns in asked.columns.items() if not isinstance(columns, str)}
    taken = {column for role, column in named.column.items() if role not in given}
    left: list[str] = []
    summary: list[str] = []
    if given:
        role, chosen = _given_columns(raw, given, named)
    elif "metric" in named.column or (metric is not None and metric_column(list(raw.columns), metric) is not None):
        return raw, named, []
    else:
        free = [name for name in raw.columns if name not in taken]
        if "scorer" in named.column and "seed" not in named.column:
            role = "seed"
            chosen = [name for name in free if seed_number(name) is not None and mostly_numbers(raw[name])]
        elif "seed" in named.column and "scorer" not in named.column:
            role, found = "scorer", [name for name in free if mostly_numbers(raw[name])]
            chosen = [name for name in found if is_scorer_name(name)]
            left = [name for name in found if name not in chosen]
            chosen, more = _of_one_scale(raw, chosen, asked, metric)
            left += more
        else:
            return raw, named, []
        summary = [name for name in free if name not in chosen and key(name) in _SUMMARY]
        left = [name for name in left if name not in summary]
    if len(chosen) < 2:
        return raw, named, []
    said = [f"columns {_range(chosen)} are {role}s, their cells the {metric or 'accuracy'}"]
    said += [f"column {', '.join(summary)} is a summary of the others, and left out"] if summary else []
    many = f"columns {', '.join(left)} are no scorers" if len(left) > 1 else f"column {', '.join(left)} is no scorer"
    said += [f"{many} by name or size, and left out (--columns scorer=A,B,... says which are)"] if left else []
    seeds = {name: seed_number(name) if role == "seed" else None for name in chosen}
    labels = {name: name if number is None else number for name, number in seeds.items()}
    melted = pd.concat([raw.drop(columns=chosen).assign(**{role: labels[name], "value": raw[name]}) for name in chosen])
    melted = melted[text_of(melted["value"]) != ""]
    column = {**{own: name for own, name in named.column.items() if name not in chosen}, role: role, "metric": "value"}
    return melted, Named(column, named.assumed), said


def _given_columns(raw: pd.DataFrame, given: Mapping[str, tuple[str, ...]], named: Named) -> tuple[str, list[str]]:
    """The role of a table with a column each, and its columns, as they were said."""
    role, chosen = next(iter(given.items()))
    option = f"--columns {role}={','.join(chosen)}"
    if len(given) > 1 or role not in ("scorer", "seed") or named.get("metric") not in (None, *chosen):
        raise TableError(f"{option}: is not accepted: one role has several columns, scorer or seed, whose cells are the metric")
    for name in chosen:
        check_column(option, name, raw.columns)
    return role, list(chosen)


_ALIKE = 10.0  # accuracies of two scorers are not further apart in size, but for those that guess
_ALIKE_ELSEWHERE = 1e3  # a perplexity may well explode


def _of_one_scale(raw: pd.DataFrame, chosen: Sequence[str], asked: Asked, metric: str | None) -> tuple[list[str], list[str]]:
    """The columns that can be scorers by the size of their cells, and the others; refused where size alone cannot tell."""
    values = {name: numbers(raw[name], name, "a number", bounded=True, empty=True).values for name in chosen}
    largest = {name: float(np.nanmax(np.abs(found))) for name, found in values.items()}
    accuracy = metric is None or is_accuracy_name(metric)
    left: list[str] = []
    if accuracy and (asked.unit is None or asked.share is not None):
        most = 1.0 if asked.share == "fraction" else 100.0
        left = [name for name, found in values.items() if np.nanmin(found) < 0 or largest[name] > most]
        if len(left) > len(chosen) - 2:
            return list(chosen), []  # hardly an accuracy: the first cell is refused
    kept = [name for name in chosen if name not in left]
    if len(kept) < 2:
        return kept, left
    middle, factor = float(np.median([largest[name] for name in kept])), _ALIKE if accuracy else _ALIKE_ELSEWHERE
    spread = {name: bool(np.nanmax(found) > np.nanmin(found)) for name, found in values.items()}
    several = sum(spread[name] for name in kept) > 1 and len(raw) > 2
    odd = [
        name for name in kept
        if largest[name] * factor < middle or largest[name] > middle * factor or (several and not spread[name])
    ]  # fmt: skip
    if odd:
        usual = [name for name in kept if name not in odd] or kept
        what = "is of another size or never varies" if len(odd) == 1 else "are of another size or never vary"
        raise TableError(
            f"columns {_range(kept)} may be scorers, but {', '.join(odd)} {what}: give --columns scorer={','.join(usual)}, "
            f"with all that are scorers"
        )
    return kept, left


def _range(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{names[0]} to {names[-1]} ({len(names)})"
