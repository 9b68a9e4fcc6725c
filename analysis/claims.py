"""The scorecard: every claim of the paper, or one named on the command line, against an analysis.

`sics_analysis.claim_rules` has the logic of each kind of claim, `sics_analysis.claim_text` their format.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sics_analysis.claim_rules import Finding as Finding
from sics_analysis.claim_rules import Status as Status
from sics_analysis.claim_rules import find
from sics_analysis.claim_text import Claim as Claim
from sics_analysis.claim_text import load_claims as load_claims
from sics_analysis.claim_text import paper_claims as paper_claims
from sics_analysis.claim_text import parse_claim as parse_claim
from sics_analysis.outcome import Analysis
from sics_analysis.results import Interval, Row, signed


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """A claim set against an analysis.

    Attributes
    ----------
    findings
        One per sparsity of the claim.
    decisive
        The finding whose numbers stand for the claim: the one that contradicts it, else the weakest.
    claimed
        What is claimed, in few words.
    paragraph
        One plain paragraph: the claim, what was measured, what follows.
    """

    claim: Claim
    status: Status
    claimed: str
    findings: tuple[Finding, ...]
    decisive: Finding
    paragraph: str

    @property
    def estimate(self) -> float | None:
        """Measured difference in points; None where the claim has none, or only a selected best."""
        return self.decisive.estimate

    @property
    def interval(self) -> Interval | None:
        """Interval behind the decision, in points."""
        return self.decisive.interval

    @property
    def p(self) -> float | None:
        """The p of the decision; None when undecided."""
        return self.decisive.p

    @property
    def n(self) -> int:
        """Seeds behind the decision."""
        return self.decisive.n

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Return the interval behind the decision; None at another level than its own."""
        held = self.interval
        return held if held is not None and math.isclose(level, held.level) else None

    def describe(self) -> str:
        """Return the paragraph."""
        return self.paragraph

    def to_row(self) -> Row:
        """Return the scorecard's row."""
        return {
            "claim": self.claim.id,
            "statement": self.claim.statement,
            "where": self.claim.where,
            "claimed": self.claimed,
            "status": str(self.status),
            "sparsity": self.decisive.sparsity,
            "estimate": self.estimate,
            "low": None if self.interval is None else self.interval.low,
            "high": None if self.interval is None else self.interval.high,
            "level": None if self.interval is None else self.interval.level,
            "p": self.p,
            "n": self.n,
            "measured": "; ".join(f"S = {finding.sparsity:g}: {finding.text}" for finding in self.findings),
            "paragraph": self.paragraph,
        }


def evaluate(claim: Claim, analysis: Analysis) -> ClaimResult:
    """Set a claim against an analysis; `sics_analysis.claim_rules` has the logic of each kind.

    Examples
    --------
    >>> import pandas as pd
    >>> from sics_analysis.analysis import analyse
    >>> accuracy = {"magnitude": [0.900, 0.905, 0.898], "chaos": [0.930, 0.937, 0.929]}
    >>> rows = [(i, name, 0.7, a) for name, values in accuracy.items() for i, a in enumerate(values)]
    >>> frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    >>> result = analyse(frame, draws=2_000)
    >>> [str(evaluate(parse_claim(text), result).status) for text in ("escape:chaos@0.7", "plateau@0.7", "kappa@0.7=1")]
    ['supported', 'undecided', 'undecided']
    """
    findings = tuple(find(claim, analysis, sparsity) for sparsity in claim.sparsities)
    contradicting = [f for f in findings if f.status is Status.CONTRADICTED]
    undecided = [f for f in findings if f.status is Status.UNDECIDED]
    if contradicting:
        status, decisive = Status.CONTRADICTED, min(contradicting, key=lambda f: 0.0 if f.p is None else f.p)
    elif undecided:
        status, decisive = Status.UNDECIDED, undecided[0]
    else:
        status, decisive = Status.SUPPORTED, max(findings, key=lambda f: 0.0 if f.p is None else f.p)
    return ClaimResult(claim, status, _claimed(claim), findings, decisive, _paragraph(claim, analysis, findings, status))


def evaluate_all(analysis: Analysis, claims: Iterable[Claim] | None = None) -> tuple[ClaimResult, ...]:
    """Set the paper's claims, or others, against an analysis, in their order."""
    return tuple(evaluate(claim, analysis) for claim in (paper_claims() if claims is None else claims))


def _claimed(claim: Claim) -> str:
    if claim.kind == "plateau":
        return "one plateau"
    if claim.kind == "kappa":
        return f"κ = {claim.kappa}"
    if claim.kind == "escape":
        return "above +δ"
    if claim.kind == "size":
        return f"{signed(claim.points or 0.0, 1)} points"
    return f"below {claim.than}"


def _paragraph(claim: Claim, analysis: Analysis, findings: Sequence[Finding], status: Status) -> str:
    reading = f" {claim.reading}" if claim.reading else ""
    unit = "" if analysis.unit is None else f", unit {analysis.unit}"
    measured = "; ".join(f"at S = {finding.sparsity:g} {finding.text}" for finding in findings)
    outcome = {
        Status.SUPPORTED: "The claim is supported.",
        Status.CONTRADICTED: "The claim is contradicted.",
        Status.UNDECIDED: "The claim is undecided: the data show neither it nor its opposite.",
    }[status]
    return (
        f"Claimed ({claim.where}): {claim.statement}{reading} Measured here, reference {analysis.reference}, "
        f"δ = {analysis.delta:g} points, α = {analysis.alpha:g}{unit}: {measured}. {outcome}"
    )
