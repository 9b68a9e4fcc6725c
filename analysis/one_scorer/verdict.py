"""The verdict on one line: its own equivalence test, and what its families say (rules 2 and 14)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sics_analysis.one_scorer.equivalence import EquivalenceResult, equivalence_test
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.results import Verdict, check_alpha, p_text


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and the reason for it; where a run is looked at, at which look it was reached."""

    verdict: Verdict
    reason: str
    look: str = ""


def verdict(
    equivalence: EquivalenceResult,
    *,
    p_escape_adjusted: float | None,
    p_degrade_adjusted: float | None,
    alpha: float = 0.05,
    noise_floor: float | None = None,
    in_family: bool = True,
    escape_note: str = "",
    degrade_note: str = "",
) -> Decision:
    """Decide what a line shows.

    Parameters
    ----------
    equivalence
        The line's own TOST; it carries δ, and what degenerate data allow.
    p_escape_adjusted, p_degrade_adjusted
        From `escape_test` and `degrade_test`, adjusted in their families; None where the line was not tested there.
        For a line outside every family, its own one-sided p.
    alpha
        Family-wise level of both families.
    noise_floor
        Difference in points between repeated evaluations of one mask. A δ below it makes the line INCONCLUSIVE,
        identical masks included: the reason names them.
    in_family
        Whether the two p-values are adjusted; the reason says which.
    escape_note, degrade_note
        What a reader of either p must know (`FamilyResult.note`), put into a reason that quotes it.

    Returns
    -------
    Decision
        The first that holds of IDENTICAL, EQUIVALENT, ESCAPES, DEGRADES, NONINFERIOR, NONSUPERIOR. EQUIVALENT, NONINFERIOR and
        NONSUPERIOR are the line's own, at unadjusted α. EQUIVALENT and ESCAPES exclude each other, as an adjusted p is never
        below the one-sided p of the same seeds. p-values that disagree come from other seeds than the line's, and are
        INCONCLUSIVE.

    Examples
    --------
    >>> from sics_analysis.one_scorer.equivalence import equivalence_test
    >>> line = equivalence_test([1.9, 2.1, 2.6, 1.7, 2.2], delta=0.5)
    >>> verdict(line, p_escape_adjusted=0.002, p_degrade_adjusted=1.0).verdict
    <Verdict.ESCAPES: 'ESCAPES'>
    >>> missed = verdict(line, p_escape_adjusted=0.21, p_degrade_adjusted=1.0)
    >>> str(missed.verdict), missed.reason.rpartition("; ")[2]
    ('NONINFERIOR', 'above +0.5 not after adjustment in the family (p = 0.21)')
    """
    check_alpha(alpha)
    line, delta = equivalence, equivalence.delta
    if line.contrast.hash_conflict and noise_floor is not None:
        line = _within_noise(line, noise_floor)
    identical = line.verdict is Verdict.IDENTICAL
    if noise_floor is not None and delta < noise_floor:
        masks = "; the masks are identical at every seed" if identical else ""
        return Decision(Verdict.INCONCLUSIVE, f"δ = {delta:g} below the noise floor of {noise_floor:g} points{masks}")
    if identical or line.p is None:  # an identity, too few seeds, or a hash that is none
        return Decision(line.verdict, line.reason)
    escapes = p_escape_adjusted is not None and p_escape_adjusted <= alpha
    degrades = p_degrade_adjusted is not None and p_degrade_adjusted <= alpha
    if escapes + degrades + (line.verdict is Verdict.EQUIVALENT) > 1:
        return Decision(Verdict.INCONCLUSIVE, "the line and its family disagree: they rest on different seeds")
    kind = "adjusted" if in_family else "its own line, unadjusted"
    exact = f"; {line.reason}" if line.degenerate or line.contrast.is_adjacent else ""
    if escapes:
        return Decision(Verdict.ESCAPES, f"above +{delta:g}, {kind} {_quoted(p_escape_adjusted, escape_note)}{exact}")
    if degrades:
        return Decision(Verdict.DEGRADES, f"below −{delta:g}, {kind} {_quoted(p_degrade_adjusted, degrade_note)}{exact}")
    high, low = _quoted(p_escape_adjusted, escape_note, "; "), _quoted(p_degrade_adjusted, degrade_note, "; ")
    return Decision(line.verdict, f"{line.reason}{_missed(line, high, low)}")


def _quoted(p: float | None, note: str, joint: str = " (") -> str:
    """A p with its note; empty without p."""
    if p is None:
        return ""
    return f"{p_text(p)}{joint}{note}{')' if joint == ' (' else ''}" if note else p_text(p)


def _within_noise(line: EquivalenceResult, noise_floor: float) -> EquivalenceResult:
    """The line once more, where a noise floor that its contrast did not know explains accuracies of one mask."""
    known = replace(line.contrast, noise_floor=max(noise_floor, line.contrast.noise_floor))
    return line if known.hash_conflict else equivalence_test(known, line.delta, alpha=line.alpha)


def _missed(line: EquivalenceResult, p_escape: str, p_degrade: str) -> str:
    """Why a line that by itself lies beyond the margin has no verdict that says so; empty for every other line."""
    above, below = p_above(line.contrast, line.delta), p_below(line.contrast, -line.delta)
    if above is not None and above <= line.alpha:
        side, p = f"above +{line.delta:g}", p_escape
    elif below is not None and below <= line.alpha:
        side, p = f"below −{line.delta:g}", p_degrade
    else:
        return ""
    return f"; {side} not {f'after adjustment in the family ({p})' if p else 'tested in a family'}"
