"""What per-example results add: intervals for new test images, and McNemar between two networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from sics_analysis.arms import Seed
from sics_analysis.crossed import crossed_bootstrap
from sics_analysis.mcnemar import mcnemar_exact
from sics_analysis.outcome import McNemarLine
from sics_analysis.results import Interval
from sics_analysis.table import Table

Bits: TypeAlias = Mapping[tuple[Seed, str, float], ArrayLike]
"""Which test images a network classified correctly, shape (n_images,), by (seed, scorer, sparsity)."""


def _example_rows(table: Table, bits: Bits) -> dict[tuple[Seed, str, float], np.ndarray]:
    """Check the per-example results against the cells they belong to, and against one another."""
    found: dict[tuple[Seed, str, float], np.ndarray] = {}
    for (seed, name, S), values in bits.items():
        if S == 0.0:
            continue
        row = np.asarray(values)
        arm = table.arm(name, S) if name in table.kappa else None
        if arm is None or seed not in arm.seeds:
            raise ValueError(f"Expected `bits` only for cells of `frame`, got seed {seed!r}, {name!r} at {S:g}")
        if row.ndim != 1 or not np.isin(row, (0, 1)).all():
            raise ValueError(f"Expected `bits` as rows of booleans, got shape {row.shape} for {name!r} at {S:g}")
        at = arm.seeds.index(seed)
        # The images of a run are one set: rows of other lengths are answers to other images.
        images = len(next(iter(found.values()), row)) if arm.total is None else arm.total[at]
        if len(row) != images or not images:
            raise ValueError(
                f"Expected `bits` of {images or 'some'} test examples, got {len(row)} for seed {seed!r}, {name!r} at {S:g}"
            )
        accuracy = arm.accuracy[at]
        agrees = abs(row.mean() - accuracy) <= 1e-3 if arm.correct is None else int(row.sum()) == arm.correct[at]
        if not agrees:
            raise ValueError(
                f"Expected `bits` to agree with `accuracy`, got {row.mean():g} beside {accuracy:g} for seed {seed!r}, "
                f"{name!r} at {S:g}"
            )
        found[seed, name, S] = row.astype(np.int8)
    return found


def crossed_intervals(table: Table, reference: str, bits: Bits, root: Sequence[int]) -> dict[tuple[str, float], Interval | None]:
    """Return the interval for new seeds and new images of every line that has all its per-example results."""
    rows = _example_rows(table, bits)
    groups: dict[tuple[tuple[Seed, ...], int, int], dict[tuple[str, float], np.ndarray]] = {}
    for sparsity in table.sparsities:
        for name in table.scorers:
            seeds = table.contrast(name, reference, sparsity).seeds
            against = table.pooled(name) if table.pools(reference) else (reference,)
            wanted = [[(seed, scorer, sparsity) for scorer in (name, *against)] for seed in seeds]
            if name == reference or not seeds or not all(key in rows for keys in wanted for key in keys):
                continue
            difference = np.array(
                [
                    len(against) * rows[keys[0]].astype(np.int16) - sum(rows[key].astype(np.int16) for key in keys[1:])
                    for keys in wanted
                ]
            )
            groups.setdefault((seeds, difference.shape[1], len(against)), {})[name, sparsity] = difference
    found: dict[tuple[str, float], Interval | None] = {}
    for i, (key, group) in enumerate(sorted(groups.items(), key=lambda item: (str(item[0][0]), *item[0][1:]))):
        result = crossed_bootstrap(group, rng=np.random.default_rng([*root, i]), pooled=key[2])
        found.update({cell: result.confidence_interval(cell) for cell in group})
    return found


def mcnemar_lines(table: Table, reference: str, bits: Bits) -> tuple[McNemarLine, ...]:
    """Return exact McNemar of every scorer against the reference, seed by seed, where both have per-example results."""
    if reference not in table.kappa:
        return ()  # a pooled plateau is no network
    found = []
    for sparsity in table.sparsities:
        for name in table.scorers:
            for seed in table.contrast(name, reference, sparsity).seeds if name != reference else ():
                ours, theirs = bits.get((seed, name, sparsity)), bits.get((seed, reference, sparsity))
                if ours is not None and theirs is not None:
                    a, b = np.asarray(ours, dtype=bool), np.asarray(theirs, dtype=bool)
                    result = mcnemar_exact(a, b, seed=seed, name=name, reference=reference)
                    found.append(McNemarLine(name, sparsity, seed, result))
    return tuple(found)
