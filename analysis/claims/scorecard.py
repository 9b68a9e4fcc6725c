"""The scorecard: every claim of the paper, or one named on the command line, against an analysis.

`sics_analysis.claims.rules` has the logic of each kind of claim, `sics_analysis.claims.statement` their format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sics_analysis.claims.findings import NOT_TESTED, Reading, seeds_text
from sics_analysis.claims.findings import Finding as Finding
from sics_analysis.claims.rules import find, not_tested
from sics_analysis.claims.sizes import size_text
from sics_analysis.claims.statement import Claim as Claim
from sics_analysis.claims.statement import load_claims as load_claims
from sics_analysis.claims.statement import paper_claims as paper_claims
from sics_analysis.claims.statement import parse_claim as parse_claim
from sics_analysis.results import ONE_POOL, Interval, Row, at_level, columns, limits
from sics_analysis.results import Status as Status
from sics_analysis.rows.reading.names import nearest
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

    @property
    def readings(self) -> tuple[Reading, ...]:
        """What each reading of a size came to, where the text leaves two open."""
        return self.decisive.readings

    @property
    def outcome(self) -> str:
        """The status, and under which reading it is so."""
        return outcome_text(self.status, self.readings)

    @property
    def out_of_reach(self) -> bool:
        """Whether it is undecided, and no further seed of this run could decide it at any sparsity that is."""
        return self.status is Status.UNDECIDED and all(finding.out_of_reach for finding in self.deciding)

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
                self,
                "claim=claim.id statement=claim.statement source=claim.source where=claim.where claimed status outcome "
                "sparsity=decisive.sparsity",
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


def tested(analysis: Analysis) -> tuple[Claim, ...]:
    """The paper's claims that these rows can speak of: of accuracies on images with known κ, those that were measured."""
    return tuple(claim for claim in _of_paper(analysis) if not not_tested(claim, analysis))


def untested(analysis: Analysis) -> tuple[tuple[Claim, str], ...]:
    """The paper's claims about a sparsity of these rows that are about scorers they lack, and which."""
    pairs = ((claim, not_tested(claim, analysis)) for claim in _of_paper(analysis))
    return tuple((claim, needs) for claim, needs in pairs if needs)


def _of_paper(analysis: Analysis) -> tuple[Claim, ...]:
    """The paper's claims about a sparsity of these rows, where they are accuracies on images with known κ."""
    if not (analysis.has_kappa and analysis.metric.is_image_accuracy and analysis.metric.paired):
        return ()
    there = set(analysis.sparsities)
    return tuple(
        claim
        for claim in paper_claims()
        if set(claim.sparsities) & there and (claim.than_sparsity is None or claim.than_sparsity in there)
    )


def outcome_text(status: Status, readings: Sequence[Reading]) -> str:
    """A status, and where a size has two readings under which of them it is so.

    >>> one, two = Reading("points", Status.CONTRADICTED, 6.6), Reading("percent", Status.SUPPORTED, 4.1)
    >>> outcome_text(Status.SUPPORTED, [one, two])
    'supported in percent, contradicted in points'
    >>> outcome_text(Status.CONTRADICTED, [one, one]), outcome_text(Status.UNDECIDED, [])
    ('contradicted in points and in points', 'undecided')
    """
    if not readings:
        return str(status)
    order = [status, *(other for other in Status if other is not status)]
    found = [(one, [f"in {reading.name}" for reading in readings if reading.status is one]) for one in order]
    told = [f"{one} {' and '.join(names)}" for one, names in found if names]
    return ", ".join(told)


def _claimed(claim: Claim) -> str:
    if claim.kind == "plateau":
        return "one plateau"
    if claim.kind == "kappa":
        return f"κ = {claim.kappa}"
    if claim.kind in _BOUND:
        short, against = _BOUND[claim.kind]
        return short if claim.than is None else against.format(claim.than)
    if claim.kind == "size":
        points = None if claim.points is None else f"{size_text(claim.points)} points"
        percent = None if claim.percent is None else f"{size_text(claim.percent)} %"
        return " or ".join(filter(None, (points, percent)))
    if claim.kind == "larger":
        assert claim.gain is not None
        assert claim.than_gain is not None
        return f"{' − '.join(claim.gain)} larger than {' − '.join(claim.than_gain)}"
    if claim.kind == "overfit":
        at = "" if claim.than_sparsity is None else f" at S = {claim.than_sparsity:g}"
        of = f"that of {claim.than}{at}" if claim.than is not None else f"that{at}" if at else "0"
        return f"gap above {of}"
    return f"below {claim.than}"


_BOUND = {
    "escape": ("above +δ", "above {} by δ"),
    "noninferior": ("not worse by δ", "not worse than {} by δ"),
    "nonsuperior": ("not better by δ", "not better than {} by δ"),
}


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
        what += nearest(claim.scorer, known) if claim.scorer != analysis.reference else ""
        raise ValueError(f"Expected a scorer among {', '.join(known)} in {claim.id!r}, got {claim.scorer!r}, which is {what}")


_OUTCOME = {
    Status.SUPPORTED: "Supported.",
    Status.CONTRADICTED: "Contradicted.",
    Status.UNDECIDED: "Undecided: neither it nor its opposite is shown.",
}


def _paragraph(claim: Claim, findings: Sequence[Finding], status: Status) -> str:
    source = f" From {claim.where}." if claim.source else ""
    reading = f"{source} {claim.reading}" if claim.reading else source
    lacking = dict.fromkeys(finding.text for finding in findings if finding.text.startswith(NOT_TESTED))
    if len(lacking) == 1 and all(finding.text in lacking for finding in findings):
        (needs,) = lacking
        return f"{claim.statement}{reading} {needs[:1].upper()}{needs[1:]}."
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
    readings = findings[0].readings if len(findings) == 1 else ()
    outcome = f"{outcome_text(status, readings).capitalize()}." if readings else _OUTCOME[status]
    return f"{claim.statement}{reading} {outcome} {measured[0].upper()}{measured[1:]}{seeds}."


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
