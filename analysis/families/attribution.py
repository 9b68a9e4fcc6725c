"""What a scorer gains beyond a control that has all it has but one thing.

The `information` control sees the same saliency as the κ ≥ 1 scorers but is monotone in it. What a scorer gains over the
reference therefore splits, seed by seed, into what `information` gains and what the scorer gains over `information`.
Only the second part is due to the complexity of its feature. A scorer whose weights were searched has a control of its own, with
the same search over monotone features of the same saliency.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from sics_analysis.families.family import FamilyResult
from sics_analysis.families.max_t import degrade_test, escape_test, superiority_test
from sics_analysis.one_scorer.equivalence import EquivalenceResult, equivalence_test
from sics_analysis.one_scorer.student import p_above
from sics_analysis.one_scorer.verdict import Decision, verdict
from sics_analysis.results import Interval, Row, Verdict, columns, limits, p_text, plural, signed
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.rows.looked import LookedContrast

CONTROL = "information"
Kept: TypeAlias = Callable[[Contrast, FamilyResult, FamilyResult, FamilyResult], Decision | None]


@dataclass(frozen=True, slots=True)
class AttributionLine:
    """A scorer against its control, such as one of κ ≥ 1 against `information`, at one sparsity; accuracy points.

    Attributes
    ----------
    kappa
        Of the scorer; None where it has none of its own.
    gain, information
        The scorer and the control against the reference, on the seeds common to all three.
    complexity
        The scorer against the control: gain − information.
    p_superior, p_superior_adjusted
        One-sided p of "above the control", alone and adjusted over the scorers of this S (`max_t_family`).
    p_escape_adjusted
        The same for "above the control by more than δ".
    look
        Which look the verdict is of, in words; empty where nobody looks.
    """

    kappa: int | None
    gain: Contrast
    information: Contrast
    complexity: Contrast
    equivalence: EquivalenceResult
    p_superior: float | None
    p_superior_adjusted: float | None
    p_escape_adjusted: float | None
    simultaneous: Interval | None
    verdict: Verdict
    reason: str
    look: str = ""

    @property
    def scorer(self) -> str:
        """The scorer."""
        return self.complexity.name

    @property
    def control(self) -> str:
        """The control."""
        return self.complexity.reference

    @property
    def sparsity(self) -> float:
        """The sparsity S."""
        assert self.complexity.sparsity is not None
        return self.complexity.sparsity

    @property
    def n(self) -> int:
        """Number of seeds complete in the scorer, the control and the reference."""
        return self.complexity.n

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Student-t interval of the gain over the control; None below three seeds."""
        return self.complexity.t_interval(level)

    def describe(self) -> str:
        """Return the split and what the tests say of it, as sentences a reviewer can quote."""
        head = f"{self.scorer} at S = {self.sparsity:g}"
        if self.gain.mean is None or self.information.mean is None or self.complexity.mean is None:
            return f"{head}: no seed has the scorer, {self.control} and the reference."
        interval = self.confidence_interval()
        shown = "" if interval is None else f" {interval}"
        split = (
            f"{head} gains {signed(self.gain.mean)} points over {self.gain.reference} in {plural(self.n, 'seed')}: "
            f"{signed(self.information.mean)} is what {self.control} gains from the same saliency, "
            f"{signed(self.complexity.mean)}{shown} what complexity adds (superiority "
            f"{p_text(self.p_superior_adjusted)} adjusted, equivalence {p_text(self.equivalence.p)})."
        )
        return f"{split} {self._conclusion()}"

    def _conclusion(self) -> str:
        delta = self.equivalence.delta
        if self.verdict is Verdict.ESCAPES:
            return f"Complexity buys more than {delta:g} points."
        if self.verdict is Verdict.DEGRADES:
            return f"Complexity costs more than {delta:g} points."
        if self.verdict in (Verdict.EQUIVALENT, Verdict.IDENTICAL):
            return f"Information alone explains it, to within {delta:g} points."
        if self.verdict is Verdict.NONSUPERIOR:
            return f"Complexity does not buy {delta:g} points; what it costs is not settled: {self.reason}."
        if self.verdict is Verdict.NONINFERIOR:
            return f"Complexity does not cost {delta:g} points; what it buys is not settled: {self.reason}."
        return f"What complexity adds is not settled: {self.reason}."

    def to_row(self) -> Row:
        """Return the split as one row."""
        means = "gain=gain.mean information=information.mean complexity=complexity.mean"
        tests = "p_superior p_superior_adjusted p_escape_adjusted p_equivalence=equivalence.p verdict reason"
        numbers = columns(self, f"scorer kappa sparsity n {means}")
        return numbers | limits("ci95", self.confidence_interval()) | columns(self, tests)


def attribute(
    gains: Sequence[Contrast],
    over_control: Sequence[Contrast],
    control: Contrast,
    kappa: Mapping[str, int | None],
    delta: float,
    *,
    alpha: float = 0.05,
    noise_floor: float | None = None,
    rng: np.random.Generator,
    draws: int = 100_000,
    kept: Kept | None = None,
) -> tuple[AttributionLine, ...]:
    """Split the gain of every scorer that shares a control, such as those of κ ≥ 1, at one sparsity.

    Parameters
    ----------
    gains
        Each scorer against the reference.
    over_control
        The same scorers in the same order against the control.
    control
        The control against the reference.
    kappa
        Complexity of each scorer; None for one that has none of its own.
    noise_floor
        Noise of a repeated evaluation, points; a δ below it leaves every line INCONCLUSIVE.
    kept
        Gives the decision that a line keeps from an earlier look, of its contrast and the families of above 0, above δ and
        below −δ; None where that of all looks stands.

    Examples
    --------
    >>> from sics_analysis.rows.contrasts import differences
    >>> gain = differences([1.2, 1.0, 1.4, 1.1, 1.3], name="chaos", reference="magnitude", sparsity=0.7)
    >>> info = differences([1.1, 1.1, 1.3, 1.0, 1.4], name="information", reference="magnitude", sparsity=0.7)
    >>> over = differences(gain.values - info.values, name="chaos", reference="information", sparsity=0.7)
    >>> (line,) = attribute([gain], [over], info, {"chaos": 2}, 0.5, rng=np.random.default_rng(0), draws=1_000)
    >>> str(line.verdict)
    'EQUIVALENT'
    """
    common = [set(gain.seeds) & set(over.seeds) & set(control.seeds) for gain, over in zip(gains, over_control, strict=True)]
    family = [over.restrict(seeds) for over, seeds in zip(over_control, common, strict=True)]
    superior = superiority_test(family, alpha=alpha, rng=rng, draws=draws)
    escape = escape_test(family, delta, alpha=alpha, rng=rng, draws=draws)
    degrade = degrade_test(family, delta, alpha=alpha, rng=rng, draws=draws)
    lines = []
    for gain, over, seeds in zip(gains, family, common, strict=True):
        equivalence = equivalence_test(over, delta, alpha=alpha)
        above = superior.get(over.name)
        decision = verdict(
            equivalence,
            p_escape_adjusted=escape.adjusted(over.name),
            p_degrade_adjusted=degrade.adjusted(over.name),
            alpha=alpha,
            noise_floor=noise_floor,
            escape_note=escape.note(over.name),
            degrade_note=degrade.note(over.name),
        )
        decision = (None if kept is None else kept(over, superior, escape, degrade)) or decision
        lines.append(
            AttributionLine(
                kappa[over.name],
                gain.restrict(seeds),
                control.restrict(seeds),
                over,
                equivalence,
                p_above(over, 0.0),
                superior.adjusted(over.name),
                escape.adjusted(over.name),
                None if above is None else above.simultaneous,
                decision.verdict,
                decision.reason,
                decision.look or (over.place if isinstance(over, LookedContrast) else ""),
            )
        )
    return tuple(lines)
