"""Parts of a report that come with its rows: where they are from, under what they were analysed, the cells."""

from __future__ import annotations

from dataclasses import dataclass

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
