"""Parts of a report that come with its rows: where they are from, under what they were analysed, the cells."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import overload

from sics_analysis.results import Seed as Seed


@dataclass(frozen=True, slots=True)
class Strength:
    """The strength α of one scorer: how much its feature weighs against the percentile of magnitude."""

    scorer: str
    alpha: float


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Where the rows come from."""

    kind: str  # "run", "csv" or "frame"
    title: str  # without any path
    identity: str  # run id, or sha256 of the file; "" where there is neither
    varied: str  # what another seed changed
    saliency: str | None = None  # the kind that the scorers were given; peers collect one of their own
    strengths: tuple[Strength, ...] = ()
    seconds: float | None = None  # that a seed took on one worker; None for a table
    command: str = ""  # that adds seeds, less their number; "" for a table


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan fixed before the run."""

    delta: float
    alpha: float
    reference: str


@dataclass(frozen=True, slots=True)
class SettingsInfo:
    """Under what the rows were analysed."""

    delta: float
    alpha: float
    reference: str
    fixed: str  # when margin, level and reference were, in words
    planned: Planned | None  # None where nobody can know
    stamps: tuple[str, ...]  # what was decided only after data had been seen
    seed: int  # root of the random draws
    draws: int  # of each rotation test


@dataclass(frozen=True, slots=True)
class ScorerInfo:
    """A scorer of the rows."""

    name: str
    kappa: int | None  # None for controls, baselines and where unknown
    role: str  # "rank-monotone", "smooth", "raw", "control", "baseline" or "unknown"
    in_family: bool  # of the escapes
    flags: tuple[str, ...] = ()  # such as "coordinate unresolved"


@dataclass(frozen=True, slots=True)
class SparsityInfo:
    """A sparsity S of the rows; the noise floor in points, None where nothing was evaluated twice."""

    sparsity: float
    noise_floor: float | None
    below_noise: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One (seed, scorer, S) evaluation; scorer "dense" at S = 0 is the unpruned network.

    `accuracy` is a fraction; `jaccard` the overlap of the kept units with those of the reference mask (magnitude), in [0, 1].
    """

    seed: Seed
    scorer: str
    sparsity: float
    accuracy: float
    correct: int | None = None
    total: int | None = None
    mask_hash: str | None = None
    jaccard: float | None = None


@dataclass(frozen=True, slots=True)
class CellColumns:
    """The cells of one scorer at one S by column, in the order of the seeds; None where a column is unknown."""

    scorer: str
    sparsity: float
    seeds: tuple[Seed, ...]
    accuracy: tuple[float, ...]
    correct: tuple[int | None, ...] | None = None
    total: tuple[int | None, ...] | None = None
    mask_hash: tuple[str | None, ...] | None = None
    jaccard: tuple[float | None, ...] | None = None

    def __iter__(self) -> Iterator[Cell]:
        unknown = repeat(None)
        counts = self.correct or unknown, self.total or unknown, self.mask_hash or unknown, self.jaccard or unknown
        return map(Cell, self.seeds, repeat(self.scorer), repeat(self.sparsity), self.accuracy, *counts)


@dataclass(frozen=True, slots=True, eq=False)
class Cells(Sequence[Cell]):
    """The cells of a document, kept by column: a table of a million rows has as many, and a terminal shows none of them.

    A cell is made when it is asked for. Equal to any sequence of the same cells.

    Examples
    --------
    >>> cells = Cells((CellColumns("chaos", 0.7, (0, 1), (0.92, 0.9)),))
    >>> len(cells), cells[1].accuracy, cells == tuple(cells)
    (2, 0.9, True)
    """

    parts: tuple[CellColumns, ...]

    def __len__(self) -> int:
        return sum(len(part.seeds) for part in self.parts)

    def __iter__(self) -> Iterator[Cell]:
        return chain.from_iterable(self.parts)

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Cell, ...]: ...
    def __getitem__(self, index: int | slice) -> Cell | tuple[Cell, ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Cells | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))


def accuracies(cells: Sequence[Cell], scorers: Collection[str], sparsity: float) -> tuple[float, ...]:
    """The accuracies of these scorers at one S, in the order of the cells."""
    if isinstance(cells, Cells):
        own = (part.accuracy for part in cells.parts if part.sparsity == sparsity and part.scorer in scorers)
        return tuple(chain.from_iterable(own))
    return tuple(cell.accuracy for cell in cells if cell.sparsity == sparsity and cell.scorer in scorers)


@dataclass(frozen=True, slots=True)
class Deviation:
    """Something not as planned; `kind` is "stamp", "missing", "failed", "left out", "flag" or "degenerate"."""

    kind: str
    text: str
    scorer: str | None = None
    sparsity: float | None = None
    seed: Seed | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled line of the provenance."""

    label: str
    value: str
