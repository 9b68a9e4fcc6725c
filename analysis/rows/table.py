"""From a data frame to arms: one scorer at one sparsity each. The only place that looks inside a frame."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pandas as pd

from sics_analysis.looks.design import LookPlan
from sics_analysis.results import ACCURACY, Metric, Seed, is_number
from sics_analysis.rows.arms import Arm, pool_arms
from sics_analysis.rows.contrasts import RELATIVE_TOLERANCE, Contrast, contrast
from sics_analysis.rows.looked import looked_contrast
from sics_analysis.rows.reading.cells import seed_label
from sics_analysis.rows.reading.counts import whole_counts
from sics_analysis.rows.reading.sparsities import ONE_POOL
from sics_analysis.rows.searched import NO_SEARCH, Searches, in_other_pools, read_searches, searched_name
from sics_analysis.rows.unpaired import unpaired_contrast

REQUIRED = ("seed", "scorer", "sparsity", "accuracy")
PLATEAU = "plateau"  # the reference that pools the κ = 0 scorers
DENSE = "dense"  # the reference that is the unpruned network: the rows of S = 0
CONTROLS = ("fake", "information", "gradient", "random")  # tested in lines of their own, as they have no κ
APART = ("control", "baseline", "peer", "adaptive", "searched")  # roles that are, too, whatever a scorer of them is called


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The complete evaluations of a run, by scorer and sparsity."""

    arms: Mapping[tuple[str, float], Arm]  # by (scorer, S); S = 0 is left out
    kappa: Mapping[str, int | None]  # None for controls, baselines and where unknown
    has_kappa: bool
    seeds: tuple[Seed, ...]
    sparsities: tuple[float, ...]
    unit: str | None
    pool: str | None
    floors: Mapping[float, float] = field(default_factory=dict)  # noise floor by S in points, where known
    apart: frozenset[str] = frozenset()  # scorers whose role is one of `APART`
    metric: Metric = ACCURACY
    unpruned: Arm | None = None  # the dense networks: the rows of S = 0, where there are any
    plan: LookPlan | None = None  # of a run that is looked at more than once
    order: tuple[Seed, ...] = ()  # of its seeds
    made: int = 0  # looks
    searches: Searches = NO_SEARCH
    _paired: dict[tuple[str, str, float], Contrast] = field(default_factory=dict, init=False, repr=False)  # those asked for

    @property
    def scorers(self) -> tuple[str, ...]:
        """The scorers, by κ (none last) and name: an order that no order of rows can change."""
        return tuple(sorted(self.kappa, key=lambda name: (self._rank(name), name)))

    def _rank(self, name: str) -> int:
        kappa = self.kappa[name]
        return 9 if kappa is None else kappa

    @property
    def rank_monotone(self) -> tuple[str, ...]:
        """The κ = 0 scorers."""
        return tuple(name for name in self.scorers if self.kappa[name] == 0)

    @property
    def complex(self) -> tuple[str, ...]:
        """The scorers of κ ≥ 1."""
        return tuple(name for name in self.scorers if (self.kappa[name] or 0) >= 1)

    @property
    def candidates(self) -> tuple[str, ...]:
        """The scorers of the escape family, the reference aside.

        Without κ in the frame, all of them. With it, those of κ ≥ 1 and those without κ that are no control, baseline or peer
        by name or role: a scorer of unknown κ may be the one that is found to escape, so it counts in the correction. Never those
        whose weights were searched, which have matched controls, nor those of another pool.
        """
        if not self.has_kappa:
            return tuple(name for name in self.scorers if name not in self.searches.apart)
        unknown = {name for name, kappa in self.kappa.items() if kappa is None and name not in CONTROLS} - self.apart
        return tuple(name for name in self.scorers if (self.kappa[name] or 0) >= 1 or name in unknown)

    def pooled(self, name: str) -> tuple[str, ...]:
        """The κ = 0 scorers whose mean is the plateau for a scorer: all of them, but never the scorer itself."""
        return tuple(scorer for scorer in self.rank_monotone if scorer != name)

    def pools(self, reference: str) -> bool:
        """Whether this reference is the pool of the κ = 0 scorers, and no scorer of that name."""
        return reference == PLATEAU and PLATEAU not in self.kappa

    def is_dense(self, reference: str) -> bool:
        """Whether this reference is the dense network, and no scorer of that name."""
        return reference == DENSE and DENSE not in self.kappa and self.unpruned is not None

    def arm(self, name: str, sparsity: float) -> Arm:
        """Return one arm, without seeds where nothing was evaluated; "plateau" pools the κ = 0 scorers, "dense" has no S."""
        if self.is_dense(name) and self.unpruned is not None:
            return self.unpruned
        if self.pools(name):
            return self._pool(self.rank_monotone, sparsity)
        return self.arms.get((name, sparsity)) or Arm(name, (), ())

    def contrast(self, name: str, reference: str, sparsity: float) -> Contrast:
        """Pair two scorers at one sparsity on the seeds complete in both.

        Against "plateau" a κ = 0 scorer is paired with the pool of the others: a pool that holds the scorer itself
        would hide a part of its difference, and all of it when there is no other. A pair is made once.
        """
        key = (name, reference, sparsity)
        if key not in self._paired:
            self._paired[key] = self._contrast(*key)
        return self._paired[key]

    def opponent(self, name: str, reference: str, sparsity: float) -> Arm:
        """What a scorer is compared with: the reference's arm, or for "plateau" the pool of the κ = 0 scorers but itself."""
        return self._pool(self.pooled(name), sparsity) if self.pools(reference) else self.arm(reference, sparsity)

    def _contrast(self, name: str, reference: str, sparsity: float) -> Contrast:
        other = self.opponent(name, reference, sparsity)
        floor = self.floors.get(sparsity, 0.0)
        if not self.metric.paired:
            return unpaired_contrast(self.arm(name, sparsity), other, sparsity=sparsity, noise_floor=floor)
        found = contrast(self.arm(name, sparsity), other, sparsity=sparsity, noise_floor=floor)
        return self.under_looks(found)

    def under_looks(self, found: Contrast) -> Contrast:
        """A contrast of the table's seeds as the plan of looks has it; itself where there is none."""
        return found if self.plan is None else looked_contrast(found, self.plan, self.order, self.made)

    def of_seeds(self, seeds: Container[Seed]) -> Table:
        """The same table on some of its seeds; its scorers and sparsities are those of all."""
        return replace(
            self,
            arms={place: arm.restrict(seeds) for place, arm in self.arms.items()},
            seeds=tuple(seed for seed in self.seeds if seed in seeds),
            unpruned=None if self.unpruned is None else self.unpruned.restrict(seeds),
        )

    def _pool(self, scorers: tuple[str, ...], sparsity: float) -> Arm:
        arms = [self.arm(scorer, sparsity) for scorer in scorers]
        return pool_arms(arms, PLATEAU) if arms else Arm(PLATEAU, (), ())


def read_table(frame: pd.DataFrame, metric: Metric = ACCURACY) -> Table:
    """Check a frame with a row per (seed, scorer, S) and cut it into arms; a cell without accuracy has no result yet.

    `accuracy` holds the values of `metric`. They are turned here, so that better is up in every computation.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"Expected `frame` as a pandas DataFrame, got {type(frame).__name__}")
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise ValueError(f"Expected columns {', '.join(REQUIRED)} in `frame`, missing: {', '.join(missing)}")
    doubled = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]})
    if doubled:
        raise ValueError(f"Expected every column of `frame` once, got again: {', '.join(doubled)}")
    rows = frame.reset_index(drop=True)  # an index may repeat, or be named as a column
    rows["sparsity"] = _sparsity(rows["sparsity"])
    rows["scorer"] = _scorer(rows["scorer"])
    rows["seed"] = _seed(rows["seed"])
    rows["accuracy"] = _accuracy(rows["accuracy"]) if metric.is_accuracy else _finite(rows["accuracy"])
    if "n" in rows.columns and "correct" not in rows.columns and metric.is_accuracy:
        known = whole_counts(rows["accuracy"], rows["n"])
        rows = rows if known is None else rows.assign(correct=known)
    whole, rows = rows[rows["sparsity"] == 0], rows[rows["sparsity"] > 0]
    if rows.empty:
        raise ValueError("Expected rows of pruned networks (sparsity above 0) in `frame`, got none")
    repeated = rows[rows.duplicated(["seed", "scorer", "sparsity"])]
    if len(repeated):
        first = repeated.iloc[0]
        raise ValueError(
            f"Expected one row per (seed, scorer, sparsity), got several for seed {first['seed']!r}, "
            f"{first['scorer']!r} at {first['sparsity']:g}"
        )
    kappa = _kappa(rows)
    counts = _has_counts(rows, metric)
    columns = _columns(rows, counts)
    searches = read_searches(rows, metric)
    arms = {}
    for place, at in rows.groupby(["scorer", "sparsity"], sort=True).indices.items():
        name, S = cast(tuple[str, float], place)
        arms[name, float(S)] = _arm(name, columns, np.asarray(at), counts, metric)
    seeds = sorted(rows["seed"].unique(), key=lambda seed: (isinstance(seed, str), seed))
    return Table(
        arms,
        kappa,
        any(value is not None for value in kappa.values()),
        tuple(seeds),
        tuple(sorted({sparsity for _, sparsity in arms})),
        _single(rows, "unit"),
        _single(rows[~_in_own_pool(rows, searches)], "pool"),
        apart=_apart(rows) | searches.apart,
        metric=metric,
        unpruned=_dense_arm(whole, metric),
        searches=searches,
    )


def _in_own_pool(rows: pd.DataFrame, searches: Searches) -> pd.Series:
    """The rows of scorers whose name says that they were ranked in a pool of their own."""
    return rows["scorer"].isin(list(searches.other_pools))


def _dense_arm(whole: pd.DataFrame, metric: Metric) -> Arm | None:
    """The dense networks, one a seed: the rows of S = 0 of the scorer "dense", else of any, which all tell of one network."""
    known = whole[~whole["accuracy"].isna()]
    own = known[known["scorer"] == DENSE]
    known = own if len(own) else known
    if known.empty:
        return None
    counts = _has_counts(known, metric)
    # Rows that disagree leave no arm: a seed has one dense network.
    rows = known.drop_duplicates(["seed", "accuracy", *(["correct", "n"] if counts else [])])
    if rows["seed"].duplicated().any():
        return None
    columns = _columns(rows.drop(columns="mask_hash", errors="ignore"), counts)
    return _arm(DENSE, columns, np.arange(len(rows)), counts, metric)


def numbers_in(column: pd.Series, name: str) -> pd.Series:
    """Return the column as floats, empty cells as nan; anything else that is no number is refused."""
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    bad = column[numbers.isna() & ~column.isna()]
    if len(bad):
        raise ValueError(f"Expected numbers in column `{name}`, got {bad.iloc[0]!r}")
    return numbers


def _refuse(bad: pd.Series, expected: str, advice: str = "") -> None:
    if len(bad):
        raise ValueError(f"Expected {expected}, got {float(bad.iloc[0]):g}{advice}")


def _sparsity(column: pd.Series) -> pd.Series:
    values = numbers_in(column, "sparsity")
    if (values == ONE_POOL).all():
        return values  # the table has none
    _refuse(values[~((values >= 0) & (values < 1))], "`sparsity` in [0, 1)")
    return values.round(9)  # 0.7 and 0.1 + 0.6 are one sparsity


def _accuracy(column: pd.Series) -> pd.Series:
    values = numbers_in(column, "accuracy")
    _refuse(values[(values < 0) | (values > 1)], "`accuracy` as a fraction in [0, 1]", "; divide percentages by 100")
    return values


def _finite(column: pd.Series) -> pd.Series:
    values = numbers_in(column, "accuracy")
    _refuse(values[np.isinf(values)], "finite numbers in column `accuracy`")
    return values


def _scorer(column: pd.Series) -> pd.Series:
    if column.isna().any():
        raise ValueError("Expected a name in every row of column `scorer`, got an empty cell")
    return column.astype(str)


def _seed(column: pd.Series) -> pd.Series:
    codes, values = pd.factorize(column)
    labels = np.empty(len(values), dtype=object)
    labels[:] = [seed_label(value) for value in values]
    if (codes < 0).any() or "" in labels.tolist():
        raise ValueError("Expected a label in every row of column `seed`, got an empty cell")
    return pd.Series(labels[codes], index=column.index, dtype=object)


def _kappa(rows: pd.DataFrame) -> dict[str, int | None]:
    names = sorted(rows["scorer"].unique())
    if "kappa" not in rows.columns:
        return dict.fromkeys(names)
    values, others = numbers_in(rows["kappa"], "kappa"), in_other_pools(names)
    found: dict[str, int | None] = {}
    for name in names:
        own = set(values[rows["scorer"] == name].dropna())
        if not own <= {0.0, 1.0, 2.0} or len(own) > 1:
            raise ValueError(f"Expected one `kappa` among 0, 1, 2 or empty for {name!r}, got {sorted(own)}")
        # κ of a searched scorer hangs on its weights; one of another pool is on another plateau.
        found[name] = int(own.pop()) if own and name not in others and searched_name(name) is None else None
    return found


def _apart(rows: pd.DataFrame) -> frozenset[str]:
    """Scorers with a role of `APART`; one row alone must not take a scorer out of the family that corrects it."""
    if "role" not in rows.columns:
        return frozenset()
    found = set()
    for name, roles in rows.groupby("scorer")["role"]:
        own = sorted({"empty" if pd.isna(role) else str(role) for role in roles})
        if set(own) & set(APART):
            if len(own) > 1:
                raise ValueError(f"Expected one `role` in every row of {name!r}, got {', '.join(own)}")
            found.add(str(name))
    return frozenset(found)


def _has_counts(rows: pd.DataFrame, metric: Metric) -> bool:
    """Whether integer counts stand behind every value: those of an accuracy must agree with it, another metric's may not."""
    if not {"correct", "n"} <= set(rows.columns):
        return False
    correct, total = numbers_in(rows["correct"], "correct"), numbers_in(rows["n"], "n")
    known = ~rows["accuracy"].isna()
    if replace(metric, paired=True) != ACCURACY:
        return bool(((correct / total - rows["accuracy"]).abs() <= RELATIVE_TOLERANCE)[known].all())
    if (correct.isna() | total.isna())[known].any():
        return False
    for name, values in (("correct", correct), ("n", total)):
        _refuse(values[known & ~np.isfinite(values)], f"whole numbers in column `{name}`")
    _refuse(total[known & ~(total > 0)], "test examples in column `n`")
    # An accuracy rounded in print still names its count: it lies within half an example of it.
    wrong = known & ~((correct / total - rows["accuracy"]).abs() <= 0.5 / total + 1e-9)
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"Expected `accuracy` to be correct/n, got {rows['accuracy'].iloc[i]:g} beside {correct.iloc[i]:g}/{total.iloc[i]:g}"
        )
    return True


def _columns(rows: pd.DataFrame, counts: bool) -> dict[str, np.ndarray]:
    """The columns that an arm is cut from: a frame for each of a thousand arms would take longer than all that is in them."""
    names = ["seed", "accuracy", *(["correct", "n"] if counts else [])]
    found = {name: rows[name].to_numpy() for name in names}
    if "mask_hash" in rows.columns:
        found["mask_hash"] = np.array([None if pd.isna(value) else str(value) for value in rows["mask_hash"]], dtype=object)
    return found


def _arm(name: str, columns: Mapping[str, np.ndarray], at: np.ndarray, counts: bool, metric: Metric) -> Arm:
    """One arm from its rows; those without an accuracy have no result yet."""
    at = at[~np.isnan(columns["accuracy"][at])]
    own: dict[str, list[Any]] = {column: values[at].tolist() for column, values in columns.items()}
    hashes = own.get("mask_hash")
    if counts:
        return Arm.from_counts(name, own["seed"], own["correct"], own["n"], hashes).measured(metric)
    values = own["accuracy"]
    if metric.is_accuracy and not metric.lower_is_better:
        return Arm.from_fractions(name, own["seed"], values, hashes)
    return Arm.from_values(name, own["seed"], [metric.turned(value) for value in values], metric.scale, hashes)


def _single(rows: pd.DataFrame, name: str) -> str | None:
    """Return the one value of a column that must not mix: accuracies of different units do not compare."""
    if name not in rows.columns:
        return None
    values = sorted({str(value) for value in rows[name].dropna()})
    if len(values) > 1:
        raise ValueError(f"Expected one `{name}` in `frame`, got {', '.join(values)}: analyse them one at a time")
    return values[0] if values else None


def noise_floors(floor: float | Mapping[float, float] | None, sparsities: tuple[float, ...]) -> dict[float, float]:
    """Spread the noise floor over the sparsities; points, nothing where it is unknown."""
    if floor is None:
        return {}
    if not is_number(floor) and not isinstance(floor, Mapping):
        raise ValueError(f"Expected `noise_floor` as a number of points or a mapping of sparsity to points, got {floor!r}")
    known: dict[float, float] = dict(floor) if isinstance(floor, Mapping) else dict.fromkeys(sparsities, floor)
    found = {}
    for key, value in known.items():
        if not is_number(value) or not (math.isfinite(value) and value >= 0):
            raise ValueError(f"Expected `noise_floor` of at least 0 points, got {value!r} at {key!r}")
        S = round(float(key), 9) if is_number(key) else None
        if S not in sparsities and S != 0.0:  # rows at 0 are ignored, and so is their noise
            measured = ", ".join(f"{sparsity:g}" for sparsity in sparsities)
            raise ValueError(f"Expected the sparsities of `noise_floor` among {measured}, got {key!r}")
        if S is not None and S != 0.0:
            found[S] = float(value)
    return found
