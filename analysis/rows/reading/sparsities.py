"""Sparsity from what a table has in its place: densities, compression ratios, percent, and what was achieved instead of asked."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sics_analysis.results import ONE_POOL as ONE_POOL
from sics_analysis.results import plural
from sics_analysis.rows.reading.cells import check, is_text, numbers, text_of
from sics_analysis.rows.reading.names import Named, TableError, is_compression, is_density, key

_NEAR = 1e-3  # two achieved sparsities this near are one target, where little is left a twentieth of what is left
_SHARE = 0.05
_SCATTER = 0.01  # achieved sparsities of one target seldom lie further apart
DENSE = "dense"  # as in sics_analysis.rows.table
_NONE = ("", "-", "–", "—", "nan", "na", "n/a", "none", "null")
_TIMES = r"^[xX×]\s*|\s*[xX×]$"


def sparsities(column: pd.Series, name: str, scorers: pd.Series) -> tuple[NDArray[np.float64], list[str], bool]:
    """Sparsities in [0, 1) of a column, what was assumed of it, and whether its decimals follow a comma.

    >>> sparsities(pd.Series(["2x", "4×"]), "compression", pd.Series(["a", "a"]))[0].tolist()
    [0.5, 0.75]
    """
    unpruned = (scorers.str.lower() == DENSE) & (text_of(column).str.lower().isin(_NONE))
    if unpruned.any() and not unpruned.all():
        found = np.zeros(len(column))
        own, assumed, comma = sparsities(column[~unpruned], name, scorers[~unpruned])
        found[~unpruned.to_numpy()] = own
        many = plural(int(unpruned.sum()), "row")
        return found, [*assumed, f"{many} of {DENSE!r} without a sparsity are the dense network, of sparsity 0"], comma
    compression, density = is_compression(name), is_density(name)
    if compression and is_text(column):
        column = text_of(column).str.strip("“”\"'„ ").str.replace(_TIMES, "", regex=True).str.strip()
    accepted = (
        "a compression ratio of at least 1"
        if compression
        else "a density above 0 and at most 1, or percent"
        if density
        else "a fraction of at least 0 and below 1"
    )
    read = numbers(column, name, accepted, bounded=not compression)
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


def to_targets(frame: pd.DataFrame, step: float | None = None) -> tuple[pd.Series, list[str]]:
    """Sparsities that were achieved, as the targets they share, and how they were grouped.

    With a `step` they are rounded to its multiples; a TableError where a scorer then has two at one seed. Else neighbours nearer
    than .001 (where little is left, than a twentieth of it) are one target, unless a scorer has two of them at one seed: then
    they were asked for. The target is the shortest decimal that lies as near to each.

    >>> table = pd.DataFrame({"seed": [0, 1], "scorer": "a", "sparsity": [0.376449, 0.376451]})
    >>> found, how = to_targets(table)
    >>> found.tolist(), how
    ([0.376, 0.376], ['sparsities 0.376449 and 0.376451 are one target, 0.376: they lie within 0.001 of each other'])
    """
    column = frame["sparsity"]
    if step is not None:
        return _rounded(frame, step)
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
    return column.map(lambda value: found.get(value, value)) if found else column, said


def _rounded(frame: pd.DataFrame, step: float) -> tuple[pd.Series, list[str]]:
    column = frame["sparsity"]
    pruned = (column > 0) & (column != ONE_POOL)
    found = column.where(~pruned, ((column / step).round() * step).round(9))
    lost = pruned & ((found <= 0) | (found >= 1))
    doubled = frame.assign(sparsity=found).duplicated(["seed", "scorer", "sparsity"]) & pruned
    for bad, why in ((lost, "becomes"), (doubled, "meets another of its seed and scorer at")):
        if bad.any():
            at = int(np.flatnonzero(bad.to_numpy())[0])
            raise TableError(
                f"--round-sparsity {step:g}: sparsity {column.iloc[at]:g} {why} {found.iloc[at]:g}: give a smaller step",
                row=int(frame.index[at]),
            )
    before, after = column[pruned].nunique(), found[pruned].nunique()
    return found, [f"sparsities are rounded to multiples of {step:g}, as asked: {before} values are {after}"]


def _shortest(group: list[float]) -> float:
    middle = sum(group) / len(group)
    for digits in range(1, 9):
        target = round(middle, digits)
        if 0 < target < 1 and all(abs(value - target) <= min(_NEAR, _SHARE * (1 - value)) for value in group):
            return target
    return round(middle, 9)


def one_dense(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The dense networks as rows of sparsity 0, where a table repeats them at every S; what is said of them."""
    unpruned = (rows["scorer"] == DENSE) & (rows["sparsity"] != ONE_POOL)
    own = unpruned & (rows["sparsity"] > 0)
    said = []
    if own.any() and not own.all():
        every = rows[unpruned].sort_values("sparsity", kind="stable")
        values = every.groupby("seed")["accuracy"]
        if (values.max() - values.min() <= 1e-9 * values.max().abs()).all():
            rows = pd.concat([rows[~unpruned], every[~every.duplicated("seed")].assign(sparsity=0.0)])
            said.append(f"{DENSE!r} has one value a seed at every sparsity: it is the dense network, of sparsity 0")
        elif not own[unpruned].all():
            rows = rows[~own]
            said.append(f"{plural(int(own.sum()), 'row')} of {DENSE!r} at sparsities above 0, not at 0: left out")
        else:
            said.append(f"rows of {DENSE!r} differ between sparsities above 0: it is a scorer as the others, compared at each S")
    whole = int(((rows["sparsity"] == 0) & rows["accuracy"].notna()).sum())
    if whole and (rows["sparsity"] > 0).any():
        many = "1 row of sparsity 0 is a dense network" if whole == 1 else f"{whole} rows of sparsity 0 are dense networks"
        said.append(f"{many}, which --reference dense compares with")
    return rows, said


def scattered(rows: pd.DataFrame, raw: pd.DataFrame, named: Named) -> list[str]:
    """The way out where sparsities that were achieved fall into many pools of few seeds each."""
    pruned = rows[(rows["sparsity"] > 0) & (rows["sparsity"] != ONE_POOL)]
    found = sorted(set(pruned["sparsity"]))
    lone = pruned.groupby(["scorer", "sparsity"])["seed"].nunique()
    near = sum(b - a < _SCATTER for a, b in pairwise(found))
    if near < 2 or lone.median() >= min(3, pruned["seed"].nunique()):
        return []
    used = set(named.column.values())
    targets = [name for name in raw.columns if name not in used and {"target", "sparsity", "amount"} & set(key(name).split("_"))]
    way = f"--columns sparsity={targets[0]} or " if targets else ""
    return [
        f"sparsities fall into {len(found)} values, {near} of them within {_SCATTER:g} of the one below: if they were achieved, "
        f"{way}--round-sparsity {_SCATTER:g} makes one pool of a target"
    ]
