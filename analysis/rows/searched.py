"""Scorers whose weights were searched, by name, what their rows say of the search, and scorers ranked in another pool."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from sics_analysis.results import Metric, Seed

Kind: TypeAlias = Literal["fusion", "adaptive"]

#: The readings of the paper's fusion, one of more features than they have, and the controls that are given the same search.
PAPER_SETS = ("orbit", "smooth_orbit", "rank_orbit")
MORE = "both_orbit"
INFORMATION, SHUFFLED, SPLINE, MONOTONE = "information", "shuffled", "spline", "magnitude"
SETS = (*PAPER_SETS, MORE, MONOTONE, INFORMATION, SPLINE, SHUFFLED)
#: Columns of numbers and of words that tell of a search; of a scorer without one they are empty.
NUMBERS = ("budget", "held_out", "held_out_loss", "held_out_reference", "held_out_reference_loss", "held_out_n")
WORDS = ("held_out_against", "objective", "weights")
#: Columns of a scorer that chooses by trials on calibration batches: the scorer and the pool that were chosen.
CHOICE = ("chosen", "chosen_pool")
LOSS = "loss"
_NAME = re.compile(rf"(fusion|adaptive)_({'|'.join(SETS)})_([1-9]\d*)")
_POOL = re.compile(r"(.+)/(global|layer|layer-rank|row|erk|native|\d+:\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SearchedName:
    """What the name of a searched scorer says: "fusion_orbit_200"."""

    kind: Kind
    features: str
    budget: int

    def __str__(self) -> str:
        return f"{self.kind}_{self.features}_{self.budget}"


def searched_name(name: str) -> SearchedName | None:
    """Read the name of a searched scorer; None where it is that of another.

    >>> searched_name("fusion_orbit_200")
    SearchedName(kind='fusion', features='orbit', budget=200)
    >>> searched_name("fusion_orbit"), searched_name("fusion_mine_10")
    (None, None)
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return SearchedName("fusion" if found[1] == "fusion" else "adaptive", found[2], int(found[3]))


def searched_names(names: Iterable[str]) -> dict[str, SearchedName]:
    """The searched ones among these scorers."""
    pairs = ((name, searched_name(name)) for name in names)
    return {name: found for name, found in pairs if found is not None}


def in_other_pools(names: Collection[str]) -> dict[str, tuple[str, str]]:
    """The scorers that are another one of these in a pool of their own, with that scorer and the pool.

    >>> in_other_pools(["magnitude", "magnitude/global", "a/b", "wanda/row"])
    {'magnitude/global': ('magnitude', 'global')}
    """
    pairs = ((name, _POOL.fullmatch(name)) for name in names)
    return {name: (found[1], found[2]) for name, found in pairs if found is not None and found[1] in names}


@dataclass(frozen=True, slots=True)
class SearchCell:
    """What one row says of its search; results on the held-out examples as the metric has them, None where nothing is said."""

    budget: int | None = None
    held_out: float | None = None
    held_out_loss: float | None = None
    held_out_reference: float | None = None
    held_out_reference_loss: float | None = None
    held_out_n: int | None = None
    held_out_against: str | None = None  # the scorer whose results on the held-out examples are those of the reference
    objective: str | None = None
    weights: str | None = None


@dataclass(frozen=True, slots=True)
class Searches:
    """What the rows of a table say of searches."""

    names: Mapping[str, SearchedName]  # of the searched scorers
    other_pools: Mapping[str, tuple[str, str]]  # name → the scorer and its pool
    cells: Mapping[tuple[str, float], Mapping[Seed, SearchCell]]  # by scorer and S
    losses: Mapping[tuple[str, float], Mapping[Seed, float]]  # on the test examples, of every scorer; empty without a search

    @property
    def apart(self) -> frozenset[str]:
        """The scorers that are of no family by κ."""
        return frozenset((*self.names, *self.other_pools))

    @property
    def smaller(self) -> tuple[str, ...]:
        """The scorers of a budget that is, at every S where it was spent, not the largest of its features."""
        largest: dict[tuple[str, str, float], int] = {}
        for name, S in self.cells:
            own = self.names[name]
            key = (own.kind, own.features, S)
            largest[key] = max(own.budget, largest.get(key, 0))
        top = {
            name
            for name, S in self.cells
            if self.names[name].budget == largest[self.names[name].kind, self.names[name].features, S]
        }
        return tuple(sorted(set(self.names) - top))


NO_SEARCH = Searches({}, {}, {}, {})


def read_searches(rows: pd.DataFrame, metric: Metric) -> Searches:
    """What checked rows (S above 0) say of searches.

    Raises
    ------
    ValueError
        In one line, for a cell that is not accepted.
    """
    scorers = set(rows["scorer"])
    names, pools = searched_names(sorted(scorers)), in_other_pools(sorted(scorers))
    if not names:
        return Searches({}, pools, {}, {}) if pools else NO_SEARCH
    known = rows[~rows["accuracy"].isna()]
    own = known[known["scorer"].isin(list(names))]
    columns: dict[str, list[float | str | None]] = {}
    for column in NUMBERS:
        if column in own.columns:
            columns[column] = _numbers(own[column], column, metric)
    for column in WORDS:
        if column in own.columns:
            columns[column] = [None if pd.isna(value) or not str(value).strip() else str(value) for value in own[column]]
    cells: dict[tuple[str, float], dict[Seed, SearchCell]] = {}
    places = zip(own["scorer"], own["sparsity"], own["seed"], strict=True)
    for i, (name, S, seed) in enumerate(places):
        cells.setdefault((str(name), float(S)), {})[seed] = SearchCell(**{c: values[i] for c, values in columns.items()})  # type: ignore[arg-type]
    losses: dict[tuple[str, float], dict[Seed, float]] = {}
    if LOSS in known.columns:
        values = _numbers(known[LOSS], LOSS, metric)
        for name, S, seed, value in zip(known["scorer"], known["sparsity"], known["seed"], values, strict=True):
            if isinstance(value, float):
                losses.setdefault((str(name), float(S)), {})[seed] = value
    return Searches(names, pools, cells, losses)


def _numbers(column: pd.Series, name: str, metric: Metric) -> list[float | str | None]:
    """The cells of a column of numbers; counts whole, results on held-out examples in the range of the metric."""
    values = pd.to_numeric(column, errors="coerce").astype("float64")
    bad = column[(values.isna() & ~column.isna()) | np.isinf(values)]
    if len(bad):
        raise ValueError(f"Expected numbers in column `{name}`, got {bad.iloc[0]!r}")
    known = values[~values.isna()]
    if name in ("budget", "held_out_n"):
        wrong = known[(known < 1) | (known != np.floor(known))]
        if len(wrong):
            raise ValueError(f"Expected `{name}` as a whole number of at least 1, got {float(wrong.iloc[0]):g}")
        return [None if np.isnan(value) else int(value) for value in values]
    if name in ("held_out", "held_out_reference") and metric.is_accuracy:
        wrong = known[(known < 0) | (known > 1)]
        if len(wrong):
            raise ValueError(
                f"Expected `{name}` as a fraction in [0, 1], got {float(wrong.iloc[0]):g}; divide percentages by 100"
            )
    return [None if np.isnan(value) else float(value) for value in values]
