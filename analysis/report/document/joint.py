"""Parts of a report about several scorers at once: plateau, κ(S), claims, and what it all comes to."""

from __future__ import annotations

from dataclasses import dataclass

from sics_analysis.results import Interval, Status, Verdict


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The three sentences that a report ends with; `command` stands at the end of `left`, and is empty where none would help."""

    shown: str
    explained: str
    left: str  # what is open, and what would settle it
    command: str = ""

    @property
    def sentences(self) -> tuple[tuple[str, str], ...]:
        """Each with the word that it answers to."""
        return (("Shown", self.shown), ("Explained by", self.explained), ("Open", self.left))


@dataclass(frozen=True, slots=True)
class PlateauInfo:
    """The joint claim that the κ = 0 scorers sit on one plateau at S; `interval` holds every line's own."""

    sparsity: float
    scorers: tuple[str, ...]
    failing: tuple[str, ...]
    reference: str
    n: int
    p: float | None
    p_signflip: float | None
    interval: Interval | None
    holds: bool
    verdict: Verdict
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class KappaInfo:
    """κ(S) at one S: `kappa` where one value is claimed, `not_rejected` what is left, `paper` the paper's step if it has one."""

    sparsity: float
    n: int
    kappa: int | None
    not_rejected: tuple[int, ...]
    p_values: tuple[float, float, float] | None
    p_claim_adjusted: float | None
    level: float
    paper: int | None
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class SpectrumInfo:
    """κ(S); `points` is empty and `reason` says why where it is not available."""

    points: tuple[KappaInfo, ...]
    trend: str
    trend_sentence: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClaimFinding:
    """What was measured of a claim at one S."""

    sparsity: float
    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class ClaimReading:
    """One reading of a size that the text leaves open: in "points", or in "percent" of the reference's own accuracy."""

    name: str
    status: Status
    points: float  # the size that it claims in this run


@dataclass(frozen=True, slots=True)
class ClaimInfo:
    """A claim set against the rows."""

    id: str
    kind: str  # plateau, kappa, escape, noninferior, nonsuperior, size, below, larger or overfit
    statement: str
    where: str
    reading: str
    claimed: str  # in few words
    points: float | None  # the size claimed, for kind "size"
    status: Status
    sparsity: float  # of the finding that stands for the claim, as all numbers up to n
    estimate: float | None
    interval: Interval | None
    p: float | None
    n: int
    findings: tuple[ClaimFinding, ...]
    paragraph: str
    gate: bool = False  # whether it was asked for by `--fail-on`
    source: str = ""  # "abstract", or "review": a public one of the text
    readings: tuple[ClaimReading, ...] = ()  # where there are two
    outcome: str = ""  # the status under each of them

    @property
    def tripped(self) -> bool:
        """Whether this is a gate whose claim is not supported."""
        return self.gate and self.status is not Status.SUPPORTED
