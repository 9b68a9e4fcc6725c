"""What a rule says of a claim at one sparsity, and what the rules share.

Numbers a rule needs of an analysis: a line with the test behind it, its seeds against those of the run, the plateau.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sics_analysis.claims.statement import Claim
from sics_analysis.results import Interval, plural, signed
from sics_analysis.results import Status as Status
from sics_analysis.rows.contrasts import MIN_SEEDS, Contrast
from sics_analysis.rows.table import PLATEAU
from sics_analysis.study.outcome import Analysis, Line

NOT_TESTED = "not tested: needs "  # what a finding begins with where the rows lack what the claim is about
RANK_MONOTONE = ("magnitude", "power", "log")  # what these names mean where no column kappa says it


@dataclass(frozen=True, slots=True)
class Reading:
    """What the run says of one reading of a size, where the text leaves two open."""

    name: str  # "points", or "percent" of the reference's own accuracy
    status: Status
    points: float  # the size that it claims here


@dataclass(frozen=True, slots=True)
class Finding:
    """What the run says of a claim at one sparsity."""

    sparsity: float
    status: Status
    text: str  # the numbers, without the seeds n
    n: int = 0
    p: float | None = None  # of the evidence, corrected; None when undecided and where an identity needs no test
    estimate: float | None = None
    interval: Interval | None = None
    readings: tuple[Reading, ...] = ()  # of two, the status is what they come to together
    out_of_reach: bool = False  # whether no further seed of this run could decide it

    def describe(self) -> str:
        """Return the numbers with their sparsity and seeds."""
        return f"at S = {self.sparsity:g}: {self.text}{f' ({seeds_text(self.n)})' if self.n else ''}"


def off_plateau(analysis: Analysis) -> str | None:
    """Why differences to the reference of the analysis are none to the plateau; None where they are."""
    reference = analysis.reference
    claim = "the claim is about the plateau, and"
    if analysis.has_kappa:
        on_it = pools(analysis) or analysis.kappa.get(reference) == 0
        return None if on_it else f"{claim} reference {reference!r} is not rank-monotone"
    if reference in (*RANK_MONOTONE, PLATEAU):
        return None
    return f"{claim} reference {reference!r} is not rank-monotone by its name, nor by a column kappa"


def pools(analysis: Analysis) -> bool:
    """Whether the reference pools the κ = 0 scorers, and is no scorer that happens to have its name."""
    return analysis.table.pools(analysis.reference)


def incomplete(contrast: Contrast, analysis: Analysis) -> str | None:
    """Why a contrast stands for fewer seeds than the run has, or for too few; None where it has them all."""
    if contrast.n < MIN_SEEDS:
        return f"{contrast.name} has {seeds_text(contrast.n)} with {contrast.reference}, it takes {MIN_SEEDS}"
    if lacks_seeds(contrast, analysis):
        return (
            f"{contrast.name} has {contrast.n} of the {plural(len(analysis.seeds), 'seed')} of the run with {contrast.reference}"
        )
    return None


def lacks_seeds(contrast: Contrast, analysis: Analysis) -> bool:
    """Whether a contrast stands for fewer seeds than the run has: those that lack are never replaced."""
    return contrast.n < len(analysis.seeds)


def line_of(analysis: Analysis, scorer: str | None, sparsity: float) -> Line | None:
    """Return the scorer's line; None where there is none."""
    try:
        return analysis.line(scorer or "", sparsity)
    except KeyError:
        return None


def evidence(analysis: Analysis, line: Line) -> tuple[Contrast, Interval | None, float | None]:
    """The differences, interval and adjusted escape p behind a line, all from one test: its family's, or its own."""
    member = analysis.family(line.sparsity).escape.get(line.scorer) if line.in_family else None
    if member is not None and not member.degenerate:
        return member.contrast, member.simultaneous, member.p_adjusted
    return line.contrast, line.confidence_interval(1 - analysis.alpha), line.p_escape_adjusted


def numbers_of(contrast: Contrast, interval: Interval | None) -> str:
    """Return the mean difference with an interval of it, in words."""
    if contrast.mean is None:
        return "no complete seed"
    shown = "" if interval is None else f", {interval}"
    return f"{signed(contrast.mean)} points{shown}"


def subjects(claim: Claim, analysis: Analysis) -> Sequence[str]:
    """The scorers that a claim speaks of: the one it names, or all of a class."""
    if claim.scorer is not None:
        return (claim.scorer,)
    return [name for name in analysis.scorers if analysis.kappa[name] == claim.kappa and name != analysis.reference]


def subject(claim: Claim) -> str:
    """What a claim speaks of, in words."""
    return claim.scorer if claim.scorer is not None else f"a κ = {claim.kappa} scorer"


def seeds_text(n: int) -> str:
    """Return a number of seeds in words."""
    return f"{n} seed{'' if n == 1 else 's'}"
