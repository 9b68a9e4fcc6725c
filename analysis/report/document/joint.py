"""Parts of a report about several scorers at once: plateau, κ(S), power, claims."""

from __future__ import annotations

from dataclasses import dataclass

from sics_analysis.results import Interval, Status, Verdict


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
    """κ(S) at one S: `kappa` where one value is claimed, `not_rejected` the values left, `paper` the paper's step."""

    sparsity: float
    n: int
    kappa: int | None
    not_rejected: tuple[int, ...]
    p_values: tuple[float, float, float] | None
    p_claim_adjusted: float | None
    level: float
    paper: int
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
class PowerPoint:
    """Power with n seeds: of equivalence at a true difference of 0, of an escape at a true difference of `effect`."""

    n: int
    equivalence: float
    escape: float


@dataclass(frozen=True, slots=True)
class PowerInfo:
    """The seed-power curve.

    Attributes
    ----------
    sd
        Median standard deviation of the differences of the lines, points.
    effect
        True difference the escape power is for: 2δ.
    here
        Seeds of this run.
    needed_equivalence, needed_escape
        Fewest seeds for a power of 80 %; None where beyond the search.
    points
        Empty where `reason` says why.
    """

    sd: float | None
    effect: float
    family: int
    here: int
    needed_equivalence: int | None
    needed_escape: int | None
    points: tuple[PowerPoint, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class ClaimFinding:
    """What was measured of a claim at one S."""

    sparsity: float
    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class ClaimInfo:
    """A claim set against the rows.

    Attributes
    ----------
    kind
        plateau, kappa, escape, size or below.
    claimed, points
        What is claimed in few words; the size claimed in points, for kind "size".
    sparsity, estimate, interval, p, n
        The finding that stands for the claim.
    gate
        Whether it was asked for by `--fail-on`.
    """

    id: str
    kind: str
    statement: str
    where: str
    reading: str
    claimed: str
    points: float | None
    status: Status
    sparsity: float
    estimate: float | None
    interval: Interval | None
    p: float | None
    n: int
    findings: tuple[ClaimFinding, ...]
    paragraph: str
    gate: bool = False

    @property
    def tripped(self) -> bool:
        """Whether this is a gate whose claim is not supported."""
        return self.gate and self.status is not Status.SUPPORTED
