"""What travels from a worker to the store: plain records with a JSON form."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sics_analysis.results import plural
from sics_cli.base.bits import result_of
from sics_cli.base.hashing import digest

#: Flag: a network of the seed gave other numbers for the examples when it was evaluated as at another seed of the run.
OTHER_EXAMPLES = "other numbers for the examples at another seed"
_NUMBER = re.compile(r"[-−+]?\d[\d.,]*(?:e[-+]?\d+)?|\b(?:nan|inf)\b")


@dataclass(frozen=True, slots=True)
class _Record:
    """A record whose bytes fields are written as hex in JSON."""

    def values(self) -> dict[str, Any]:
        """Its fields by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {name: value.hex() if isinstance(value, bytes) else value for name, value in self.values().items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`; unknown or missing fields raise TypeError."""
        packed = {name: bytes.fromhex(values[name]) for name in ("bits", "examples") if values.get(name) is not None}
        return cls(**values | packed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluated(_Record):
    """How a network did under one mask: right or wrong on each of n test examples, or the value of another metric.

    `value` is None for right or wrong, which `correct` and `bits` say; else it is in the metric's unit, and `examples` holds n
    float32 numbers, one an example (`n` and `examples` None where one number was measured). `loss` is None where nobody measured
    it.
    """

    seed: int
    scorer: str
    unit: str
    pool: str
    sparsity: float
    correct: int | None
    n: int | None
    loss: float | None
    bits: bytes | None
    checkpoint_hash: str
    wall_seconds: float
    finished: str
    value: float | None = None
    examples: bytes | None = None

    @property
    def result(self) -> float:
        """What was measured: the share of right answers, or the metric's value."""
        return result_of(self.correct, self.n, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRow(_Evaluated):
    """One evaluated cell, or the dense row of a seed (scorer "dense", sparsity 0, no mask).

    `evaluated_as` names the scorer whose evaluation these bits are: another one's where both made the same mask.
    `realised_sparsity` and `layers`, [name, total, pruned] for each pruned parameter or group, count units; `weight_sparsity` is
    the fraction of the prunable weights that went with them (None in rows of an older version). `jaccard` is the Jaccard
    index of the kept units with those of magnitude's mask at the same seed and sparsity (None for the dense row, and in
    rows of an older version); `fingerprint` the digest of the scorer's fingerprint, which tells two versions of one
    user's scorer apart. `search` is what a search on held-out examples chose for a searched scorer, and what it says of its
    examples, or what trials on the calibration batches chose; None of all others.
    """

    cell_key: str
    kappa: int | None
    role: str
    form: str
    saliency: str
    mask_hash: str | None
    evaluated_as: str
    realised_sparsity: float
    layers: list[list[Any]]
    flags: list[str]
    data_order_hash: str
    calibration_hash: str | None
    saliency_hash: str
    provenance: dict[str, Any]
    jaccard: float | None = None
    fingerprint: str | None = None
    weight_sparsity: float | None = None
    search: dict[str, Any] | None = None

    def values(self) -> dict[str, Any]:
        """Its fields by name, `search` where there was one."""
        found = _Evaluated.values(self)
        return found if self.search is not None else {name: value for name, value in found.items() if name != "search"}

    @property
    def key(self) -> str:
        """What it is found by."""
        return self.cell_key


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatRow(_Evaluated):
    """A deliberate second evaluation of one mask, from a fresh load of the model."""

    repeat_key: str
    mask_hash: str

    @property
    def key(self) -> str:
        """What it is found by."""
        return self.repeat_key


@dataclass(frozen=True, slots=True)
class CheckpointRow(_Record):
    """The dense checkpoint of one seed."""

    seed: int
    dense_key: str
    checkpoint_hash: str
    validation_correct: int | None
    validation_n: int | None
    wall_seconds: float

    @property
    def key(self) -> str:
        """What it is found by: a seed has one."""
        return str(self.seed)


@dataclass(frozen=True, slots=True)
class FailureRow(_Record):
    """A cell or repeat that raised: the error in one line, and its traceback."""

    cell_key: str
    kind: str
    seed: int
    scorer: str
    sparsity: float
    error: str
    trace: str
    finished: str

    @property
    def key(self) -> str:
        """That of what failed."""
        return self.cell_key

    @property
    def sort(self) -> tuple[int, str]:
        """Its seed, and its error but for the numbers in it: what failures have in common that are told in one line."""
        return self.seed, _NUMBER.sub("#", self.error)


def alike(failures: Iterable[FailureRow]) -> list[list[FailureRow]]:
    """Failures by their sort, in the order of the first of each."""
    found: dict[tuple[int, str], list[FailureRow]] = {}
    for row in failures:
        found.setdefault(row.sort, []).append(row)
    return list(found.values())


def and_more(failures: Sequence[FailureRow]) -> str:
    """How many there are beside the first, as a part of its line."""
    return f" and {len(failures) - 1} more" if len(failures) > 1 else ""


@dataclass(frozen=True, slots=True)
class PlanRow(_Record):
    """What was fixed, when; `stamp` says when that was only after data had been seen.

    `looks` is None for a fixed number of seeds. Else `seeds` are in the order in which they are run, and it says when the run
    looks at them, what the errors of looking are spent on, and what is to be decided.
    """

    plan_hash: str
    created: str
    delta: float
    alpha: float
    reference: str
    families: dict[str, list[str]]
    seeds: list[int]
    scorers: list[str]
    sparsities: list[float]
    cells_before: int = 0
    stamp: str = ""
    looks: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LookRow(_Record):
    """A look that was made: which of its plan, at how many seeds, on which rows, and what it decided.

    `spent` is the α spent by then; `decided` of the `lines` of κ ≥ 1 have a verdict and `hopeless` are not expected to get one;
    `verdicts` are those that this look gave, by "SCORER@S"; `targets` says of each what it is, "" while it is open; `stops` that
    the run ends here. `rows_hash` tells whether the rows it was made on have changed since.
    """

    plan_hash: str
    look: int
    n: int
    made: str
    rows_hash: str
    spent: float
    decided: int
    lines: int
    hopeless: int
    verdicts: dict[str, str]
    targets: dict[str, str]
    stops: bool


Row = CellRow | RepeatRow | CheckpointRow | FailureRow


def scorer_versions(rows: Sequence[CellRow], facts: Mapping[str, Any] | None) -> tuple[list[CellRow], list[CellRow]]:
    """Split rows into those of each scorer's current version and the stale ones; `facts` is what the store keeps of scorers.

    Current is the version the last command met, if it has rows; else the version computed last. Rows that do not say
    their version (of the first schema) are current.
    """
    known = {info["name"]: digest(info["fingerprint"]) for info in (facts or {}).get("infos", [])}
    current: dict[str, str | None] = {}
    for row in sorted(rows, key=lambda row: row.finished):
        if row.fingerprint is not None and current.get(row.scorer) != known.get(row.scorer, ""):
            current[row.scorer] = row.fingerprint
    split: tuple[list[CellRow], list[CellRow]] = [], []
    for row in rows:
        split[row.fingerprint is not None and row.fingerprint != current[row.scorer]].append(row)
    return split


def stale_remark(stale: Sequence[CellRow]) -> list[str]:
    """What a reader must know of stale rows; nothing where there are none."""
    if not stale:
        return []
    names = ", ".join(dict.fromkeys(row.scorer for row in stale))
    seeds = ", ".join(map(str, sorted({row.seed for row in stale})))
    what = f"{plural(len(stale), 'row')} of an earlier version of {names} (seed {seeds})"
    return [f"Left out: {what}; replicate with those seeds computes them again."]
