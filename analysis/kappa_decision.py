"""From the p of κ(S) = 0, 1 and 2 at every S to what is claimed: rule 8's four tests, and Holm's steps over the values of S."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def kappa_p_values(
    p_family_escapes: float, p_kappa1_escapes: float, p_kappa1_below: float, p_kappa2_below: float
) -> tuple[float, float, float]:
    """p of κ(S) = 0, 1 and 2 from the four tests of rule 8.

    Parameters
    ----------
    p_family_escapes
        Smallest adjusted escape p over all κ ≥ 1 scorers: against max(M₁, M₂) ≤ δ.
    p_kappa1_escapes
        Smallest adjusted escape p within the κ = 1 scorers: against M₁ ≤ δ.
    p_kappa1_below, p_kappa2_below
        Largest one-sided p of "difference < δ" over the κ = 1 and the κ = 2 scorers (intersection-union): against
        M₁ > δ and M₂ > δ.

    Notes
    -----
    κ(S) = 2 is false as soon as M₁ > δ or M₂ ≤ δ; testing both doubles the smaller p.

    Examples
    --------
    >>> kappa_p_values(0.001, 0.6, 0.01, 0.99)
    (0.001, 0.01, 1.0)
    """
    return p_family_escapes, p_kappa1_below, min(1.0, 2 * min(p_kappa1_escapes, p_kappa2_below))


@dataclass(frozen=True, slots=True)
class KappaDecision:
    """Outcome of Holm's steps at one S: the set left, the level, the adjusted p of the claim."""

    not_rejected: tuple[int, ...]
    level: float
    p_claim: float
    p_claim_adjusted: float

    @property
    def kappa(self) -> int | None:
        """The claim: the one value left, or None."""
        return self.not_rejected[0] if len(self.not_rejected) == 1 else None


def decide(p_values: Sequence[tuple[float, float, float]], alpha: float) -> tuple[KappaDecision, ...]:
    """Claim κ(S) at each S with Holm over the values of S.

    Parameters
    ----------
    p_values
        p of κ(S) = 0, 1, 2 for every S that could be tested.

    Notes
    -----
    The p of a claim is the second smallest of the three. The S with the smallest is judged first at α/m; each claim made
    leaves α/(m − 1), … for the rest, and at the first S without a claim the level stays. An S whose three values are
    all rejected claims nothing. Holm's proof takes the set of false candidates as fixed, while here the data choose
    the candidate; the excess is of second order in α and the rate is simulated in `bench/calibration.py`.

    Examples
    --------
    >>> [d.kappa for d in decide([(0.9, 0.001, 0.002), (0.001, 0.02, 0.8)], alpha=0.05)]
    [0, 2]
    """
    second = [sorted(p)[1] for p in p_values]
    order = sorted(range(len(p_values)), key=lambda i: second[i])
    left, stopped, running = len(order), False, 0.0
    found: dict[int, KappaDecision] = {}
    for i in order:
        level = alpha / left
        running = max(running, min(1.0, left * second[i]))
        kept = tuple(k for k, p in enumerate(p_values[i]) if p > level)
        stopped = stopped or second[i] > level
        found[i] = KappaDecision(kept, level, second[i], running)
        if not stopped and len(kept) == 1:
            left -= 1
    return tuple(found[i] for i in range(len(p_values)))
