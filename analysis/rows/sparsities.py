"""Sparsity from what a table has in its place: densities, compression ratios, percent, and what was achieved instead of asked."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sics_analysis.results import ONE_POOL as ONE_POOL
from sics_analysis.rows.cells import check, numbers
from sics_analysis.rows.names import COMPRESSION, DENSITY, keys

_NEAR = 1e-3  # two achieved sparsities this near are one target, where little is left a twentieth of what is left
_SHARE = 0.05


def sparsities(column: pd.Series, name: str) -> tuple[NDArray[np.float64], list[str], bool]:
    """Sparsities in [0, 1) of a column, what was assumed of it, and whether its decimals follow a comma.

    >>> sparsities(pd.Series([2.0, 4.0]), "compression")[0].tolist()
    [0.5, 0.75]
    """
    compression = any(part in COMPRESSION for part in keys(name))
    density = any(part in DENSITY for part in keys(name))
    accepted = (
        "a compression ratio of at least 1"
        if compression
        else "a density above 0 and at most 1, or percent"
        if density
        else "a fraction of at least 0 and below 1"
    )
    read = numbers(column, name, accepted)
    values = read.values
    check(column, np.where(np.isnan(values), np.inf, values), ~np.isnan(values), name, accepted)
    if compression:
        check(column, values, values >= 1, name, accepted)
        turned = 1 - 1 / values
        return turned.round(9), [f"{name!r} is a compression ratio c: sparsity = 1 − 1/c"], read.comma
    assumed = []
    percent = read.percent or bool(((values > 1) & (values <= 100)).any() and (values <= 100).all() and _spread(values))
    if percent:
        values = values / 100
        assumed.append(f"{name!r} is in percent")
    if density:
        check(column, values, (values > 0) & (values <= 1), name, accepted)
        assumed.append(f"{name!r} is what remains: sparsity = 1 − {name}")
        return (1 - values).round(9), assumed, read.comma
    check(column, values, (values >= 0) & (values < 1), name, accepted)
    return values.round(9), assumed, read.comma


def _spread(values: NDArray[np.float64]) -> bool:
    """Whether values above 1 can be percent: all of them then are, and none is a fraction left among them."""
    return not ((values > 0) & (values < 1)).any()


def to_targets(frame: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """Sparsities that were achieved, as the targets they share, and how they were grouped.

    Neighbours nearer than .001 (where little is left, than a twentieth of it) are one target, unless a scorer has two of them
    at one seed: then they were asked for. The target is the shortest decimal that lies as near to each.

    >>> table = pd.DataFrame({"seed": [0, 1], "scorer": "a", "sparsity": [0.376449, 0.376451]})
    >>> found, how = to_targets(table)
    >>> found.tolist(), how
    ([0.376, 0.376], ['sparsities 0.376449 and 0.376451 are one target, 0.376: they lie within 0.001 of each other'])
    """
    column = frame["sparsity"]
    values = sorted(set(column[column > 0]))
    groups: list[list[float]] = []
    for value in values:
        if groups and value - groups[-1][0] <= min(_NEAR, _SHARE * (1 - value)) + 1e-12:
            groups[-1].append(value)
        else:
            groups.append([value])
    found: dict[float, float] = {}
    said = []
    for group in groups:
        if len(group) < 2:
            continue
        own = frame[column.isin(group)]
        if own.groupby(["seed", "scorer"])["sparsity"].nunique().max() > 1:
            continue
        target = _shortest(group)
        if (target in values and target not in group) or target in found.values():
            target = round(sum(group) / len(group), 9)
        found.update(dict.fromkeys(group, target))
        names = f"{group[0]:.9g} and {group[1]:.9g}" if len(group) == 2 else f"{group[0]:.9g} to {group[-1]:.9g} ({len(group)})"
        said.append(f"sparsities {names} are one target, {target:g}: they lie within {_NEAR:g} of each other")
    return column.map(lambda value: found.get(value, value)), said


def _shortest(group: list[float]) -> float:
    middle = sum(group) / len(group)
    for digits in range(1, 9):
        target = round(middle, digits)
        if 0 < target < 1 and all(abs(value - target) <= min(_NEAR, _SHARE * (1 - value)) for value in group):
            return target
    return round(middle, 9)
