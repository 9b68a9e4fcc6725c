"""All scorers on one plateau: a claim made jointly (intersection-union), or line by line (Holm)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sics_analysis.families.multiplicity import holm
from sics_analysis.one_scorer.equivalence import EquivalenceResult
from sics_analysis.results import Interval, Row, Verdict, at_level, columns, p_text, plural

PAIRS = "one another"  # the reference of a claim about all pairs


@dataclass(frozen=True, slots=True)
class PlateauClaim:
    """Every line lies on the plateau: an intersection-union claim, each line at α without correction.

    Parameters
    ----------
    lines, failing
        Scorers in the claim, and the lines not shown equivalent: scorers against one reference, pairs otherwise.
    reference
        What all are compared with; `PAIRS` where every scorer is compared with every other.
    p
        The largest p of a tested line, which is the p of the joint claim; None when no line needed a test, as all masks are
        the same, or when a failing line has none.
    verdict
        IDENTICAL when all lines are, EQUIVALENT when all are identical or equivalent, INCONCLUSIVE otherwise.
    """

    lines: tuple[str, ...]
    failing: tuple[str, ...]
    reference: str
    n: int
    delta: float
    alpha: float
    p: float | None
    p_signflip: float | None
    largest: Interval | None
    verdict: Verdict
    reason: str
    sparsity: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the claim is shown."""
        return self.verdict in (Verdict.IDENTICAL, Verdict.EQUIVALENT)

    def confidence_interval(self, level: float = 0.90) -> Interval | None:
        """Smallest interval that holds every line's own 1 − 2·alpha interval; None at another level."""
        return at_level(self.largest, level)

    def describe(self) -> str:
        """One sentence a reviewer can quote."""
        names = ", ".join(self.lines)
        if self.verdict is Verdict.IDENTICAL:
            return f"{names} against {self.reference}: the same mask at every seed (n = {self.n}), an identity."
        outcome = "all within" if self.holds else "not all shown within"
        return (
            f"{names} against {self.reference} (n = {plural(self.n, 'seed')}): {outcome} ±{self.delta:g} points, "
            f"intersection-union {p_text(self.p)}; {self.reason}."
        )

    def to_row(self) -> Row:
        """The numbers as one table row."""
        return {
            "claim": "plateau",
            "sparsity": self.sparsity,
            "lines": ", ".join(self.lines),
            "failing": ", ".join(self.failing),
            **columns(self, "reference n delta p p_signflip verdict reason"),
        }


def plateau_claim(results: Sequence[EquivalenceResult], *, pairwise: bool = False) -> PlateauClaim:
    """Claim jointly that every line is on the plateau.

    Parameters
    ----------
    results
        One equivalence result a scorer, all at one delta and alpha; or one a pair.
    pairwise
        Whether `results` hold every pair of the scorers. A pool of scorers contains each of them, so that the distance
        of a scorer to its own pool understates how far apart the scorers are: for a plateau without a reference of its
        own, the claim is that all pairs lie within delta.

    Raises
    ------
    ValueError
        If there is no line, or the lines differ in delta, alpha, sparsity or (but for pairs) reference.

    References
    ----------
    Berger (1982), Multiparameter hypothesis testing and acceptance sampling.

    Examples
    --------
    >>> from sics_analysis.one_scorer.equivalence import equivalence_test
    >>> lines = [equivalence_test([0.1, -0.2, 0.3, 0.0, 0.15], 0.5), equivalence_test([0.0] * 5, 0.5)]
    >>> claim = plateau_claim(lines)
    >>> claim.holds, round(claim.p, 4)
    (True, 0.0312)
    """
    if not results:
        raise ValueError("Expected at least one line for the plateau claim, got none")
    if len({(r.delta, r.alpha, r.sparsity, PAIRS if pairwise else r.reference) for r in results}) > 1:
        raise ValueError("Expected lines at one delta, alpha and reference, and one sparsity, got several")
    first = results[0]
    failed = [r for r in results if r.verdict not in (Verdict.IDENTICAL, Verdict.EQUIVALENT)]
    failing = tuple(f"{r.name} against {r.reference}" if pairwise else r.name for r in failed)
    untested = any(r.p is None for r in failed)
    scorers = (name for r in results for name in ((r.name, r.reference) if pairwise else (r.name,)))
    if failing:
        verdict, reason = Verdict.INCONCLUSIVE, f"not shown for {', '.join(failing)}"
    elif all(r.verdict is Verdict.IDENTICAL for r in results):
        verdict, reason = Verdict.IDENTICAL, "same mask at every seed"
    else:
        verdict, reason = Verdict.EQUIVALENT, f"every {'pair' if pairwise else 'line'} at α = {first.alpha:g}"
    level = 1 - 2 * first.alpha
    intervals = [r.confidence_interval(level) for r in results]
    known = [interval for interval in intervals if interval is not None]
    hull = (
        Interval(min(i.low for i in known), max(i.high for i in known), level, "hull of student-t")
        if len(known) == len(intervals)
        else None
    )
    return PlateauClaim(
        tuple(dict.fromkeys(scorers)),
        failing,
        PAIRS if pairwise else first.reference,
        min(r.n for r in results),
        first.delta,
        first.alpha,
        None if untested else max((r.p for r in results if r.p is not None), default=None),
        None if untested else max((r.p_signflip for r in results if r.p_signflip is not None), default=None),
        hull,
        verdict,
        reason,
        first.sparsity,
    )


def holm_equivalence(results: Sequence[EquivalenceResult]) -> tuple[float | None, ...]:
    """Holm-adjusted equivalence p of single lines; lines without a test keep None and do not count."""
    return holm([r.p for r in results])
