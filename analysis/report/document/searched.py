"""Parts of a report about scorers whose weights were searched: what a search gained, and what each part of it explains."""

from __future__ import annotations

from dataclasses import dataclass, field

from sics_analysis.results import UNSAID, Interval, Seed, Verdict


@dataclass(frozen=True, slots=True)
class PartInfo:
    """A mean difference with its own 95 % interval, unadjusted."""

    mean: float | None
    ci95: Interval | None


@dataclass(frozen=True, slots=True)
class SplitInfo:
    """gain = search + information + complexity of one reading of the paper at one S, each part by its own mean.

    `search` and `information` are None without shuffled features by the same search, what follows without a matched control.
    `noise` is what the scorer has over those features, `above_noise` whether its interval lies above 0.
    """

    scorer: str
    features: str
    budget: int
    sparsity: float
    n: int
    gain: PartInfo
    search: PartInfo | None
    information: PartInfo | None
    control: str | None
    complexity: PartInfo | None
    simultaneous: Interval | None  # of complexity, jointly within an S
    p_superior_adjusted: float | None
    p_escape_adjusted: float | None
    p_pays: float | None  # above the control and above the reference
    p_pays_delta: float | None  # by more than δ
    p_pays_delta_run: float | None  # the same over all S
    p_equivalence: float | None
    verdict: Verdict | None
    pays: bool
    pays_delta: bool
    reason: str
    conclusion: str
    sentence: str
    noise: PartInfo | None = field(default=None, metadata={UNSAID: None})
    above_noise: bool | None = field(default=None, metadata={UNSAID: None})

    @property
    def shown(self) -> bool:
        """Whether complexity is shown to pay: above control and reference, and above shuffled features where there are some."""
        return self.pays and self.above_noise is not False


@dataclass(frozen=True, slots=True)
class BesideInfo:
    """A searched scorer against another control that had the same search; `question` is "complexity", "shape" or "monotone"."""

    scorer: str
    control: str
    question: str
    budget: int
    sparsity: float
    n: int
    difference: PartInfo
    simultaneous: Interval | None
    p_superior_adjusted: float | None
    p_escape_adjusted: float | None
    p_equivalence: float | None
    verdict: Verdict
    reason: str
    sentence: str
    conclusion: str = ""
    kind: str = ""  # of the scorer, "fusion" or "adaptive"


@dataclass(frozen=True, slots=True)
class PointInfo:
    """A searched scorer with one budget: its gain, and its over-fitting gap, of the metric and of the loss (less is better).

    `found` says of the gap, at the largest budget, "over-fits", "within" ±δ or "open"; "" where nothing is tested.
    """

    scorer: str
    kind: str  # "fusion" or "adaptive"
    features: str
    budget: int
    largest: bool
    sparsity: float
    n: int
    gain: PartInfo
    gap: PartInfo | None
    gap_loss: PartInfo | None
    p_gap: float | None
    p_gap_holm: float | None
    found: str


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """What a scorer gains by the pool of the run (`own`, None where unknown) over another one."""

    scorer: str
    pool: str
    own: str | None
    sparsity: float
    n: int
    difference: PartInfo
    p_equivalence: float | None
    verdict: Verdict
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class WeightsInfo:
    """The weights that a search found at one seed, as text."""

    scorer: str
    sparsity: float
    seed: Seed
    weights: str


@dataclass(frozen=True, slots=True)
class SearchedInfo:
    """Everything a report says of searched scorers, and of scorers in another pool.

    Attributes
    ----------
    smaller
        Scorers of budgets that are not the largest of their features: in the rows of a report, and not in its main tables.
    over_fitting
        A sentence an S.
    remarks
        What is missing or does not match, a sentence each.
    reason
        Why there is no split of searched scorers that are there.
    """

    splits: tuple[SplitInfo, ...]
    beside: tuple[BesideInfo, ...]
    points: tuple[PointInfo, ...]
    pools: tuple[PoolInfo, ...]
    weights: tuple[WeightsInfo, ...]
    smaller: tuple[str, ...]
    over_fitting: tuple[str, ...]
    remarks: tuple[str, ...]
    reason: str

    @property
    def budgets(self) -> tuple[int, ...]:
        """All budgets, ascending."""
        return tuple(sorted({point.budget for point in self.points}))
