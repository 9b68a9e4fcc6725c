"""What holds of a store's rows before any test: accuracy in points (percent), the noise floor, and which seeds are pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sics_cli.store.rows import CellRow, RepeatRow


def points(row: CellRow | RepeatRow) -> float:
    """Accuracy of a row in percent, from its integer counts."""
    return 100 * row.correct / row.n


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """Largest change of accuracy (points) over `n` deliberate re-evaluations, and how many examples changed at most."""

    n: int
    points: float
    examples: int


def noise_floors(rows: Sequence[CellRow], repeats: Sequence[RepeatRow]) -> dict[float, NoiseFloor]:
    """The noise floor of every S at which something was evaluated twice."""
    first = {(row.seed, row.scorer, row.sparsity): row for row in rows}
    pairs = [(first[place], row) for row in repeats if (place := (row.seed, row.scorer, row.sparsity)) in first]
    found = {}
    for sparsity in sorted({row.sparsity for _, row in pairs}):
        here = [(one, two) for one, two in pairs if two.sparsity == sparsity]
        changed = [(int.from_bytes(one.bits) ^ int.from_bytes(two.bits)).bit_count() for one, two in here]
        found[sparsity] = NoiseFloor(len(here), max(abs(points(one) - points(two)) for one, two in here), max(changed))
    return found


def loss_floors(rows: Sequence[CellRow], repeats: Sequence[RepeatRow]) -> dict[float, float]:
    """Largest change of the loss over the deliberate re-evaluations of every S."""
    first = {(row.seed, row.scorer, row.sparsity): row.loss for row in rows}
    found: dict[float, float] = {}
    for row in repeats:
        place = (row.seed, row.scorer, row.sparsity)
        if place in first:
            found[row.sparsity] = max(found.get(row.sparsity, 0.0), abs(first[place] - row.loss))
    return found


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
