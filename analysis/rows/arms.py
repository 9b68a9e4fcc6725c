"""One scorer's evaluations, seed by seed: integer correct counts where they exist, fractions otherwise."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sics_analysis.results import POINTS, Metric
from sics_analysis.results import Seed as Seed

_NO_HASH = frozenset({"", "nan", "none", "null", "na", "<na>"})  # what a missing hash becomes in a column made text


@dataclass(frozen=True, slots=True)
class Arm:
    """One scorer at one sparsity: its evaluation at every complete seed, in the order of the seeds.

    Make one with `from_counts` or `from_fractions`; both drop seeds without a number.

    Parameters
    ----------
    name
        The scorer.
    seeds
        Sorted, without repeats.
    accuracy
        Fractions in [0, 1], one a seed; for another metric its values, better upwards.
    correct, total
        The integer counts behind `accuracy`, None when only fractions are known; with the sign of `accuracy`.
    mask_hash
        Hash of the mask at every seed; None where unknown.
    pooled
        How many arms were pooled into this one (`pool_arms`).
    single
        Whether every accuracy is a number of single precision, so that it is known to about 6e-8 only.
    scale
        Units of a difference in a value of 1: 100 points in an accuracy.
    """

    name: str
    seeds: tuple[Seed, ...]
    accuracy: tuple[float, ...]
    correct: tuple[int, ...] | None = None
    total: tuple[int, ...] | None = None
    mask_hash: tuple[str | None, ...] | None = None
    pooled: int = 1
    single: bool = False
    scale: float = POINTS

    @classmethod
    def from_counts(
        cls,
        name: str,
        seeds: Sequence[Seed],
        correct: Sequence[int | None],
        total: int | Sequence[int],
        mask_hash: Sequence[str | None] | None = None,
    ) -> Arm:
        """An arm from integer correct counts; differences and ties are then exact.

        Parameters
        ----------
        seeds, correct
            Same length; a `correct` of None or nan marks a seed without a result, which is left out.
        total
            Number of test examples, one for all seeds or one a seed.

        Raises
        ------
        ValueError
            If lengths differ, a seed repeats, or a count is not a whole number in [0, total].

        Examples
        --------
        >>> Arm.from_counts("chaos", [1, 0, 2], [540, 552, None], 600).accuracy
        (0.92, 0.9)
        """
        totals = [total] * len(seeds) if isinstance(total, int | np.integer) else list(total)
        if len(totals) != len(seeds):
            raise ValueError(f"Expected `total` of {name!r} for {len(seeds)} seeds, got {len(totals)}")
        order = complete_seeds(name, seeds, correct)
        counts = tuple(_whole(name, "correct", correct[i]) for i in order)
        sizes = tuple(_whole(name, "total", totals[i]) for i in order)
        for count, size in zip(counts, sizes, strict=True):
            if not 0 <= count <= size or size == 0:
                raise ValueError(f"Expected 0 <= correct <= total of {name!r}, got {count} of {size}")
        return cls(
            name,
            _labels(seeds, order),
            tuple(count / size for count, size in zip(counts, sizes, strict=True)),
            counts,
            sizes,
            _pick(name, mask_hash, seeds, order),
        )

    def measured(self, metric: Metric) -> Arm:
        """The same counts as those of another metric of 0 and 1 an example, better upwards.

        >>> arm = Arm.from_counts("chaos", [0], [30], 600).measured(Metric("error", "points", lower_is_better=True))
        >>> arm.accuracy, arm.correct
        ((-0.05,), (-30,))
        """
        if metric.is_accuracy and not metric.lower_is_better:
            return self
        sign = -1 if metric.lower_is_better else 1
        counts = None if self.correct is None else tuple(sign * count for count in self.correct)
        return replace(
            self,
            accuracy=tuple(metric.turned(value) for value in self.accuracy),
            correct=counts,
            scale=POINTS if metric.is_accuracy else metric.scale,
        )

    @classmethod
    def from_fractions(
        cls,
        name: str,
        seeds: Sequence[Seed],
        accuracy: Sequence[float | None],
        mask_hash: Sequence[str | None] | None = None,
    ) -> Arm:
        """An arm from accuracies as fractions; differences below 1e-9 of the scale then count as none.

        Raises
        ------
        ValueError
            If lengths differ, a seed repeats, or an accuracy is outside [0, 1].

        Examples
        --------
        >>> Arm.from_fractions("chaos", [0, 1], [0.92, float("nan")]).seeds
        (0,)
        """
        order = complete_seeds(name, seeds, accuracy)
        array = np.array([accuracy[i] for i in order], dtype=np.float64)
        values = tuple(array.tolist())
        if not ((array >= 0.0) & (array <= 1.0)).all():
            value = next(value for value in values if not 0.0 <= value <= 1.0)
            raise ValueError(f"Expected accuracy of {name!r} as a fraction in [0, 1], got {value!r}")
        return cls(
            name,
            _labels(seeds, order),
            values,
            mask_hash=_pick(name, mask_hash, seeds, order),
            single=_single(values),
        )

    @classmethod
    def from_values(
        cls,
        name: str,
        seeds: Sequence[Seed],
        values: Sequence[float | None],
        scale: float,
        mask_hash: Sequence[str | None] | None = None,
    ) -> Arm:
        """An arm of any metric, better upwards; `scale` makes units of its differences.

        >>> Arm.from_values("chaos", [0, 1], [-0.31, None], 1.0).accuracy
        (-0.31,)
        """
        order = complete_seeds(name, seeds, values)
        found = tuple(float(values[i]) for i in order)  # type: ignore[arg-type]
        labels = _labels(seeds, order)
        hashes = _pick(name, mask_hash, seeds, order)
        return cls(name, labels, found, mask_hash=hashes, single=_single(found), scale=scale)

    def restrict(self, seeds: Container[Seed]) -> Arm:
        """The same arm on some of its seeds.

        >>> Arm.from_counts("chaos", [0, 1], [552, 540], 600).restrict({1}).correct
        (540,)
        """
        kept = [i for i, seed in enumerate(self.seeds) if seed in seeds]
        if len(kept) == len(self.seeds):
            return self
        return replace(
            self,
            seeds=tuple(self.seeds[i] for i in kept),
            accuracy=tuple(self.accuracy[i] for i in kept),
            correct=None if self.correct is None else tuple(self.correct[i] for i in kept),
            total=None if self.total is None else tuple(self.total[i] for i in kept),
            mask_hash=None if self.mask_hash is None else tuple(self.mask_hash[i] for i in kept),
        )


def pool_arms(arms: Sequence[Arm], name: str = "plateau") -> Arm:
    """One arm whose accuracy at each seed is the mean over several arms: the pooled plateau as a reference.

    Counts are added, so that they stay exact. Seeds complete in all arms are kept. A pool of masks is no mask, but where
    all arms have one mask at a seed the pool is that mask, and keeps its hash.

    Raises
    ------
    ValueError
        If there is no arm, or the arms differ in test examples at a seed.

    Examples
    --------
    >>> a, b = Arm.from_counts("power", [0], [540], 600), Arm.from_counts("log", [0], [546], 600)
    >>> pool_arms([a, b]).correct, pool_arms([a, b]).accuracy
    ((1086,), (0.905,))
    """
    if not arms:
        raise ValueError("Expected at least one arm to pool, got none")
    index = [{seed: i for i, seed in enumerate(arm.seeds)} for arm in arms]
    seeds = tuple(seed for seed in arms[0].seeds if all(seed in at for at in index))
    hashes = tuple(
        _common([None if arm.mask_hash is None else arm.mask_hash[at[seed]] for arm, at in zip(arms, index, strict=True)])
        for seed in seeds
    )
    correct: list[int] = []
    total: list[int] = []
    for arm, at in zip(arms, index, strict=True):
        if arm.correct is None or arm.total is None or arm.pooled != 1:
            break
        correct.extend(arm.correct[at[seed]] for seed in seeds)
        total.extend(arm.total[at[seed]] for seed in seeds)
    else:
        counts = np.array(correct, dtype=object).reshape(len(arms), len(seeds))
        sizes = np.array(total, dtype=object).reshape(len(arms), len(seeds))
        if any(len(set(column)) > 1 for column in sizes.T):
            raise ValueError(f"Expected one test set in the arms pooled into {name!r}, got different totals")
        sums = tuple(int(column.sum()) for column in counts.T)
        pools = tuple(int(column.sum()) for column in sizes.T)
        accuracy = tuple(c / t for c, t in zip(sums, pools, strict=True))
        return Arm(name, seeds, accuracy, sums, pools, hashes, pooled=len(arms), scale=arms[0].scale)
    means = tuple(math.fsum(arm.accuracy[at[seed]] for arm, at in zip(arms, index, strict=True)) / len(arms) for seed in seeds)
    return Arm(
        name, seeds, means, mask_hash=hashes, pooled=len(arms), single=all(arm.single for arm in arms), scale=arms[0].scale
    )


def _single(values: Sequence[float]) -> bool:
    """Whether all are numbers of single precision."""
    array = np.array(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        return bool((array.astype(np.float32).astype(np.float64) == array).all())


def _common(hashes: Sequence[str | None]) -> str | None:
    """The one hash of all; None where they differ or one is unknown."""
    return hashes[0] if len(set(hashes)) == 1 else None


def complete_seeds(name: str, seeds: Sequence[Seed], values: Sequence[float | None]) -> Sequence[int]:
    """Positions of the seeds that have a value, in the order of the seeds."""
    if len(seeds) != len(values):
        raise ValueError(f"Expected one value a seed for {name!r}, got {len(values)} for {len(seeds)} seeds")
    labels = _labels(seeds, range(len(seeds)))
    if len({*labels}) < len(labels):
        repeated = sorted({str(seed) for seed, count in Counter(labels).items() if count > 1})
        raise ValueError(f"Expected every seed of {name!r} once, got seed {', '.join(repeated)} again")
    order: Sequence[int] = range(len(labels))
    if str in {*map(type, labels)}:
        order = sorted(order, key=lambda i: (isinstance(labels[i], str), labels[i]))
    elif sorted(labels) != [*labels]:
        order = sorted(order, key=labels.__getitem__)
    if {*map(type, values)} == {float}:
        return order if not any(map(math.isnan, values)) else [i for i in order if values[i] == values[i]]  # type: ignore[arg-type]
    return [i for i in order if not _missing(values[i])]


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))


def _labels(seeds: Sequence[Seed], order: Sequence[int]) -> tuple[Seed, ...]:
    """These seeds in an order, without their numpy types."""
    if {*map(type, seeds)} <= {int, str}:
        return tuple(seeds) if order == range(len(seeds)) else tuple(seeds[i] for i in order)
    return tuple(plain_seed(seeds[i]) for i in order)


def plain_seed(seed: Seed) -> Seed:
    """A seed without its numpy type."""
    return seed if isinstance(seed, str) else int(seed)


def _whole(name: str, field: str, value: int | float | None) -> int:
    if value is None or isinstance(value, bool) or not math.isfinite(value) or int(value) != value:
        raise ValueError(f"Expected `{field}` of {name!r} as a whole number, got {value!r}")
    return int(value)


def _pick(
    name: str, hashes: Sequence[str | None] | None, seeds: Sequence[Seed], order: Sequence[int]
) -> tuple[str | None, ...] | None:
    if hashes is None:
        return None
    if len(hashes) != len(seeds):
        raise ValueError(f"Expected one mask hash a seed for {name!r}, got {len(hashes)}")
    # An empty cell of a CSV is an unknown hash, never one shared with another empty cell.
    labels = (None if _missing(hashes[i]) else str(hashes[i]).strip() for i in order)
    return tuple(None if label is None or label.lower() in _NO_HASH else label for label in labels)
