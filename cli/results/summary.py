"""The numbers of the closing table: pure functions of the store's rows, in accuracy points (percent)."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sics_cli.experiment.recipe import DENSE
from sics_cli.store.rows import CellRow, RepeatRow


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation (ddof 1; None below two values) over n seeds."""

    n: int
    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one value.

        >>> Spread.of([1.0, 3.0])
        Spread(n=2, mean=2.0, sd=1.4142135623730951)
        """
        return cls(len(values), statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True, slots=True)
class Line:
    """One scorer at one sparsity.

    `difference` is to the reference on the seeds both have (None for the reference itself, or without such seeds);
    `distinct_masks` counts different masks over the seeds, `shared_masks` the seeds where the mask is the reference's.
    """

    scorer: str
    kappa: int | None
    role: str
    accuracy: Spread
    difference: Spread | None
    distinct_masks: int
    shared_masks: int
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """Largest change of accuracy (points) over `n` deliberate re-evaluations, and how many examples changed at most."""

    n: int
    points: float
    examples: int


@dataclass(frozen=True, slots=True)
class Block:
    """All lines of one sparsity. `noise` is None where nothing was evaluated twice."""

    sparsity: float
    lines: tuple[Line, ...]
    masks_per_seed: tuple[int, ...]
    noise: NoiseFloor | None


def points(row: CellRow | RepeatRow) -> float:
    """Accuracy of a row in percent, from its integer counts."""
    return 100 * row.correct / row.n


def dense_spread(rows: Iterable[CellRow]) -> Spread | None:
    """Accuracy of the dense networks; None without any."""
    values = [points(row) for row in rows if row.scorer == DENSE]
    return Spread.of(values) if values else None


def summarise(rows: Sequence[CellRow], repeats: Sequence[RepeatRow], reference: str) -> tuple[Block, ...]:
    """One block per sparsity, scorers in the order of `rows`; differences only at the seeds that `paired_seeds` calls good."""
    pruned = [row for row in rows if row.scorer != DENSE]
    sparsities = sorted({row.sparsity for row in pruned})
    paired = frozenset(paired_seeds(rows)[0])
    return tuple(_block(sparsity, pruned, repeats, reference, paired) for sparsity in sparsities)


def _block(
    sparsity: float, rows: Sequence[CellRow], repeats: Sequence[RepeatRow], reference: str, paired: frozenset[int]
) -> Block:
    here = [row for row in rows if row.sparsity == sparsity]
    base = {row.seed: row for row in here if row.scorer == reference and row.seed in paired}
    names = list(dict.fromkeys(row.scorer for row in here))
    lines = tuple(_line([row for row in here if row.scorer == name], base, reference) for name in names)
    seeds = sorted({row.seed for row in here})
    masks = tuple(len({row.mask_hash for row in here if row.seed == seed}) for seed in seeds)
    return Block(sparsity, lines, masks, _noise([row for row in repeats if row.sparsity == sparsity], here))


def _line(rows: Sequence[CellRow], base: dict[int, CellRow], reference: str) -> Line:
    first = rows[0]
    paired = [(row, base[row.seed]) for row in rows if row.seed in base]
    differences = [100 * (row.correct - other.correct) / row.n for row, other in paired]
    is_reference = first.scorer == reference
    return Line(
        scorer=first.scorer,
        kappa=first.kappa,
        role=first.role,
        accuracy=Spread.of([points(row) for row in rows]),
        difference=Spread.of(differences) if differences and not is_reference else None,
        distinct_masks=len({row.mask_hash for row in rows}),
        shared_masks=sum(row.mask_hash == other.mask_hash for row, other in paired),
        flags=tuple(sorted({flag for row in rows for flag in row.flags})),
    )


def _noise(repeats: Sequence[RepeatRow], rows: Sequence[CellRow]) -> NoiseFloor | None:
    first = {(row.seed, row.scorer): row for row in rows}
    pairs = [(first[row.seed, row.scorer], row) for row in repeats if (row.seed, row.scorer) in first]
    if not pairs:
        return None
    changed = [_changed_examples(one.bits, two.bits) for one, two in pairs]
    moved = [abs(points(one) - points(two)) for one, two in pairs]
    return NoiseFloor(len(pairs), max(moved), max(changed))


def _changed_examples(one: bytes, two: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(two, "big")).bit_count()


def paired_seeds(rows: Iterable[CellRow]) -> tuple[list[int], list[int]]:
    """Seeds whose rows all met the same data order, calibration batches, saliency and checkpoint; and the others.

    This is the proof of common random numbers: differences between scorers are only paired at seeds of the first list.
    """
    met: dict[int, dict[str, set[str]]] = {}
    for row in rows:
        of_seed = met.setdefault(row.seed, {})
        # Peers bring a saliency of their own kind; all kinds are measured on one set of batches, if on any.
        signal = f"saliency {row.saliency}"
        hashes = {"order": row.data_order_hash, signal: row.saliency_hash, "checkpoint": row.checkpoint_hash}
        if row.calibration_hash is not None:
            hashes["calibration"] = row.calibration_hash
        for what, value in hashes.items():
            of_seed.setdefault(what, set()).add(value)
    good = sorted(seed for seed, of_seed in met.items() if all(len(values) == 1 for values in of_seed.values()))
    return good, sorted(set(met) - set(good))
