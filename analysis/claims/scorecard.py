"""The scorecard: every claim of the paper, or one named on the command line, against an analysis.

`sics_analysis.claims.rules` has the logic of each kind of claim, `sics_analysis.claims.statement` their format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sics_analysis.claims.findings import Finding as Finding
from sics_analysis.claims.findings import seeds_text
from sics_analysis.claims.rules import find
from sics_analysis.claims.statement import Claim as Claim
from sics_analysis.claims.statement import load_claims as load_claims
from sics_analysis.claims.statement import paper_claims as paper_claims
from sics_analysis.claims.statement import parse_claim as parse_claim
from sics_analysis.results import ONE_POOL, Interval, Row, at_level, columns, limits, signed
from sics_analysis.results import Status as Status
from sics_analysis.study.outcome import Analysis


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """A claim set against an analysis.

    Attributes
    ----------
    findings
        One per sparsity of the claim.
    decisive
        The finding whose numbers stand for the claim: the clearest that contradicts it, else the first that is undecided, else
        the weakest that supports it.
    claimed
        What is claimed, in few words.
    paragraph
        One plain paragraph: the claim, what follows, what was measured. Reference, δ and α are those of the analysis
        (`setting_text`).
    """

    claim: Claim
    status: Status
    claimed: str
    findings: tuple[Finding, ...]
    decisive: Finding
    paragraph: str

    @property
    def deciding(self) -> tuple[Finding, ...]:
        """All findings with the status of the claim: every S that contradicts it, else every S undecided, else all."""
        return tuple(finding for finding in self.findings if finding.status is self.status)

    @property
    def explanation(self) -> str:
        """What was found at every deciding sparsity, those with equal findings together."""
        return "; ".join(_grouped(self.deciding, together=False))

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
        return at_level(self.interval, level)

    def describe(self) -> str:
        """Return the paragraph."""
        return self.paragraph

    def to_row(self) -> Row:
        """Return the scorecard's row."""
        return {
            **columns(
                self, "claim=claim.id statement=claim.statement where=claim.where claimed status sparsity=decisive.sparsity"
            ),
            "deciding": ", ".join(f"{finding.sparsity:g}" for finding in self.deciding),
            "estimate": self.estimate,
            **limits("", self.interval),
            "level": None if self.interval is None else self.interval.level,
            **columns(self, "p n"),
            "measured": "; ".join(f"S = {finding.sparsity:g}: {finding.text}" for finding in self.findings),
            "paragraph": self.paragraph,
        }


def evaluate(claim: Claim, analysis: Analysis) -> ClaimResult:
    """Set a claim against an analysis; `sics_analysis.claims.rules` has the logic of each kind.

    Examples
    --------
    >>> import pandas as pd
    >>> from sics_analysis.study.analyse import analyse
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
    return ClaimResult(claim, status, _claimed(claim), findings, decisive, _paragraph(claim, findings, status))


def evaluate_all(analysis: Analysis, claims: Iterable[Claim] | None = None) -> tuple[ClaimResult, ...]:
    """Set the paper's claims, or others, against an analysis, in their order."""
    return tuple(evaluate(claim, analysis) for claim in (paper_claims() if claims is None else claims))


def _claimed(claim: Claim) -> str:
    if claim.kind == "plateau":
        return "one plateau"
    if claim.kind == "kappa":
        return f"κ = {claim.kappa}"
    short = {"escape": "above +δ", "noninferior": "not worse by δ", "nonsuperior": "not better by δ"}
    if claim.kind in short:
        return short[claim.kind]
    if claim.kind == "size":
        return f"{signed(claim.points or 0.0, 1)} points"
    return f"below {claim.than}"


def check_claim(claim: Claim, analysis: Analysis) -> None:
    """Refuse a claim named by the user about a scorer that the analysis does not have: a slip of the pen trips no gate.

    Claims from a file pass: a run need not hold every scorer the paper speaks of.
    """
    if not claim.named_by_user or claim.scorer is None:
        return
    if (claim.sparsities == (ONE_POOL,)) != (analysis.sparsities == (ONE_POOL,)):
        asked = (
            "no sparsity, as the rows have none" if analysis.sparsities == (ONE_POOL,) else "a sparsity, as in escape:SCORER@S"
        )
        raise ValueError(f"Expected {asked}, got {claim.id!r}")
    known = [name for name in analysis.scorers if name != analysis.reference]
    if claim.scorer not in known:
        what = "the reference" if claim.scorer == analysis.reference else "not among the scorers"
        raise ValueError(f"Expected a scorer among {', '.join(known)} in {claim.id!r}, got {claim.scorer!r}, which is {what}")


_OUTCOME = {
    Status.SUPPORTED: "Supported.",
    Status.CONTRADICTED: "Contradicted.",
    Status.UNDECIDED: "Undecided: neither it nor its opposite is shown.",
}


def _paragraph(claim: Claim, findings: Sequence[Finding], status: Status) -> str:
    reading = f" {claim.reading}" if claim.reading else ""
    order = [status, *(other for other in Status if other is not status)]
    ordered = [[f for f in findings if f.status is one] for one in order]
    together = _one_n(findings)
    parts = []
    for one, own in zip(order, ordered, strict=True):
        texts = _grouped(own, together=together)
        named = f"{one} " if one is not status else ""
        parts += [f"{named}{text}" for text in texts]
    seeds = f" ({seeds_text(findings[0].n)})" if together else ""
    measured = "; ".join(parts)
    return f"{claim.statement}{reading} {_OUTCOME[status]} {measured[0].upper()}{measured[1:]}{seeds}."


def _one_n(findings: Sequence[Finding]) -> bool:
    """Whether all findings rest on one number of seeds, to be named once."""
    return len({finding.n for finding in findings}) == 1 and findings[0].n > 0


def _grouped(findings: Sequence[Finding], *, together: bool) -> list[str]:
    """One text for each distinct finding, with the sparsities it was found at."""
    groups: dict[tuple[str, int], list[float]] = {}
    for finding in findings:
        groups.setdefault((finding.text, finding.n), []).append(finding.sparsity)
    return [
        f"at S = {', '.join(f'{S:g}' for S in sparsities)}: {text}{'' if together or not n else f' ({seeds_text(n)})'}"
        for (text, n), sparsities in groups.items()
    ]
