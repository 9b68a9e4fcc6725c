"""What holds of a store's rows before any test: the noise floor, and which seeds are pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sics_cli.base.bits import unpack_bits
from sics_cli.store.rows import CellRow, RepeatRow
from sics_cli.tasks.results import unpacked


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """Largest change of the metric, in its unit, over `n` deliberate re-evaluations, and how many examples changed at most.

    `examples` is None where one number was measured.
    """

    n: int
    change: float
    examples: int | None


def noise_floors(rows: Sequence[CellRow], repeats: Sequence[RepeatRow], scale: float = 100.0) -> dict[float, NoiseFloor]:
    """The noise floor of every S at which something was evaluated twice; `scale` is the metric's."""
    first = {(row.seed, row.scorer, row.sparsity): row for row in rows}
    pairs = [(first[place], row) for row in repeats if (place := (row.seed, row.scorer, row.sparsity)) in first]
    found = {}
    for sparsity in sorted({row.sparsity for _, row in pairs}):
        here = [(one, two) for one, two in pairs if two.sparsity == sparsity]
        changed = [count for one, two in here if (count := _changed(one, two)) is not None]
        most = max(abs(scale * one.result - scale * two.result) for one, two in here)
        found[sparsity] = NoiseFloor(len(here), most, max(changed, default=None))
    return found


def _changed(one: CellRow | RepeatRow, two: CellRow | RepeatRow) -> int | None:
    """On how many examples two evaluations differ."""
    if one.bits is not None and two.bits is not None:
        return (int.from_bytes(one.bits) ^ int.from_bytes(two.bits)).bit_count()
    first, second = per_example(one), per_example(two)
    return None if first is None or second is None else int((first != second).sum())


def per_example(row: CellRow | RepeatRow) -> NDArray[np.float32] | None:
    """A number for each example; None where one number was measured."""
    if row.bits is not None and row.n is not None:
        return unpack_bits(row.bits, row.n).astype(np.float32)
    return None if row.examples is None else unpacked(row.examples)


def loss_floors(rows: Sequence[CellRow], repeats: Sequence[RepeatRow]) -> dict[float, float]:
    """Largest change of the loss over the deliberate re-evaluations of every S."""
    first = {(row.seed, row.scorer, row.sparsity): row.loss for row in rows}
    found: dict[float, float] = {}
    for row in repeats:
        place = (row.seed, row.scorer, row.sparsity)
        if (before := first.get(place)) is not None and row.loss is not None:
            found[row.sparsity] = max(found.get(row.sparsity, 0.0), abs(before - row.loss))
    return found


def paired_seeds(rows: Iterable[CellRow]) -> tuple[list[int], list[int]]:
    """Seeds whose rows all met the same data order, calibration batches, saliency and checkpoint; and the others.

    This is the proof of common random numbers: differences between scorers are only paired at seeds of the first list.
    """
    met = _met(rows)
    good = sorted(seed for seed, of_seed in met.items() if all(len(values) == 1 for values in of_seed.values()))
    return good, sorted(set(met) - set(good))


def unpaired_text(rows: Iterable[CellRow]) -> str:
    """Which seeds gave other things when asked again, so that no verdict can be had of them; "" where none did."""
    apart: dict[str, list[int]] = {}
    for seed, of_seed in sorted(_met(rows).items()):
        if others := [what for what, values in of_seed.items() if len(values) > 1]:
            apart.setdefault(" and ".join(others), []).append(seed)
    if not apart:
        return ""
    said = "; ".join(
        f"rows of seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))} met different {what}" for what, seeds in apart.items()
    )
    return (
        f"{said}: they are in no verdict. The task is to give the same whenever it is asked for a seed: draw from "
        "torch, numpy or random, which are seeded, or from the seed; then --force recomputes them"
    )


def _met(rows: Iterable[CellRow]) -> dict[int, dict[str, set[str]]]:
    """Hashes of what the rows of each seed met, by what it was."""
    met: dict[int, dict[str, set[str]]] = {}
    for row in rows:
        of_seed = met.setdefault(row.seed, {})
        # Peers bring a saliency of their own kind; all kinds are measured on one set of batches, if on any.
        signal = f"saliency {row.saliency}"
        hashes = {"data order": row.data_order_hash, signal: row.saliency_hash, "checkpoints": row.checkpoint_hash}
        if row.calibration_hash is not None:
            hashes["calibration batches"] = row.calibration_hash
        for what, value in hashes.items():
            of_seed.setdefault(what, set()).add(value)
    return met
