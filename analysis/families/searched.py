"""What a search over feature weights gained, what each part of it explains, and what of it was luck on its held-out examples.

The gain of a searched scorer over the reference splits, seed by seed, into what the same search finds with shuffled features,
what `information` adds to that, and what complexity adds to `information`. Every part had the same search, so that only the
last speaks of complexity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sics_analysis.families.attribution import AttributionLine
from sics_analysis.one_scorer.equivalence import EquivalenceResult
from sics_analysis.one_scorer.verdict import Decision
from sics_analysis.results import Interval, Row, Verdict, columns, limits, p_text, plural, signed
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.rows.searched import SearchedName

#: What a control with the same search has, and what is left to the scorer.
Question: TypeAlias = Literal["complexity", "shape", "monotone"]
SAME = (Verdict.EQUIVALENT, Verdict.IDENTICAL)
_SHOWN = 3  # searches named in a sentence


@dataclass(frozen=True, slots=True)
class _Searched:
    """What a searched scorer gains over the reference at one S."""

    name: SearchedName
    gain: Contrast

    @property
    def scorer(self) -> str:
        """The scorer."""
        return self.gain.name

    @property
    def sparsity(self) -> float:
        """The sparsity S."""
        assert self.gain.sparsity is not None
        return self.gain.sparsity

    @property
    def n(self) -> int:
        """Number of seeds that the gain is of."""
        return self.gain.n

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Student-t interval of the gain; None below three seeds."""
        return self.gain.t_interval(level)


@dataclass(frozen=True, slots=True)
class SearchedGain(_Searched):
    """What one reading of the paper's fusion gains at the largest budget of an S, and what each part explains.

    Attributes
    ----------
    gain
        Over the reference, on the seeds common to all parts.
    search, information
        What the search finds with shuffled features, and what `information` adds to that; None without such a control.
    noise
        What the scorer has over the shuffled features, on the seeds that both have; None without such a control.
    line
        Against `information`, tested in the family of the paper's readings at this S; None without a matched control.
    unmatched
        Why parts are missing.
    p_pays, p_pays_delta
        That complexity pays, above 0 and by more than δ: the larger of two p, that the scorer is above its control and that it
        is above the reference. All readings' two are one family at this S.
    p_pays_delta_run
        The latter over all S.
    """

    search: Contrast | None
    information: Contrast | None
    line: AttributionLine | None
    unmatched: tuple[str, ...]
    alpha: float
    p_pays: float | None = None
    p_pays_delta: float | None = None
    p_pays_delta_run: float | None = None
    noise: Contrast | None = None

    @property
    def above_noise(self) -> bool | None:
        """Whether its own 95 % interval over the shuffled features lies above 0; None where there are none to tell by.

        `information` is held to weights that are monotone, and may end below what a freer search finds in noise. Being above it
        speaks of the features only where noise does not do as well.
        """
        return None if self.noise is None or self.noise.mean is None else _above(self.noise)

    @property
    def pays(self) -> bool:
        """Whether complexity is shown to pay: above its matched control and above the reference, not shown to be less than δ.

        The reference is among what the control's weights can say. A control that fell below it was not searched for long enough,
        and being above such a one shows nothing.
        """
        return self.pays_delta or _shown_above(self.line, self.p_pays, self.alpha)

    @property
    def pays_delta(self) -> bool:
        """Whether it is shown to pay more than δ."""
        return _shown_beyond(self.line, self.p_pays_delta, self.alpha)

    def describe(self) -> str:
        """Return the split and its conclusion, as sentences a reviewer can quote."""
        head = f"{self.scorer} at S = {self.sparsity:g}"
        if self.gain.mean is None:
            return f"{head}: no seed has all parts of the split. {self.conclusion()}"
        parts = [f"{signed(part.mean)} is {what}" for what, part in self._parts() if part.mean is not None]
        split = f"{head} gains {_estimate(self.gain)} over {self.gain.reference} in {plural(self.n, 'seed')}"
        if self.line is not None:
            over = self.line.complexity
            tests = f"superiority {p_text(self.line.p_superior_adjusted)} adjusted, equivalence {p_text(self.line.equivalence.p)}"
            parts.append(f"{_with_interval(over)} is what complexity adds ({tests})")
        return f"{split}{': ' if parts else ''}{', '.join(parts)}. {self.conclusion()}"

    def conclusion(self) -> str:
        """Whether complexity pays, in one sentence with its look; where that is not shown, what explains the gain."""
        line = self.line
        if line is None:
            return f"Nothing is said of complexity: {'; '.join(self.unmatched)}."
        return f"{self._concluded(line)}{_at(line)}."

    def _concluded(self, line: AttributionLine) -> str:
        delta = line.equivalence.delta
        if self.pays_delta:
            alone = _alone(self.p_pays_delta_run, self.alpha)
            over = f"over the same search without it, and over {line.gain.reference}"
            return self._said(f"more than {delta:g} points {over}{alone}")
        if self.pays:
            return self._said(f"above 0 at this S; that it pays {delta:g} points is not shown")
        if line.verdict is Verdict.ESCAPES:
            return f"That complexity pays is not shown: {_beaten(line)}"
        if line.verdict in SAME:
            said = f"Complexity adds nothing, to within {delta:g} points"
        elif line.verdict is Verdict.DEGRADES:
            said = f"Complexity costs more than {delta:g} points"
        elif line.verdict is Verdict.NONSUPERIOR:
            said = f"Complexity does not pay {delta:g} points"
        else:
            said = f"Whether complexity pays is not settled ({line.reason})"
        return f"{said}; {self._explained()}"

    def _said(self, how_much: str) -> str:
        """That complexity pays; or that it is above its control, where shuffled features are not shown to do less."""
        if self.noise is None or self.above_noise is not False:
            return f"Complexity pays: {how_much}"
        return (
            f"Its control is beaten ({how_much}), shuffled features by the same search are not "
            f"({_with_interval(self.noise)} over them): that complexity is what pays is not shown"
        )

    def _explained(self) -> str:
        """What the gain is due to, by the parts whose interval lies above 0."""
        whole = self.gain.t_interval()
        if whole is None or whole.low <= 0:
            return f"a gain over {self.gain.reference} is not shown either"
        named = [f"{what} ({signed(part.mean)})" for what, part in self._parts() if part.mean is not None and _above(part)]
        if not named:
            return "no single part of the gain is shown above 0"
        return f"the gain is due to {' and '.join(named)}"

    def _parts(self) -> Iterator[tuple[str, Contrast]]:
        """The parts beside complexity that are known."""
        if self.search is not None and self.information is not None:
            yield "what the search finds with any features", self.search
            yield "what information adds", self.information
        elif self.line is not None:
            yield "what the same search gains with information", self.line.information

    def to_row(self) -> Row:
        """Return the split as one row; the parts add up to the gain."""
        row = columns(self, "scorer sparsity n gain=gain.mean features=name.features budget=name.budget")
        row |= limits("gain_ci95", self.gain.t_interval())
        for name, part in (("search", self.search), ("information", self.information)):
            row |= {name: None if part is None else part.mean}
            row |= limits(f"{name}_ci95", None if part is None else part.t_interval())
        line = self.line
        row |= {"control": None if line is None else line.control, "complexity": None if line is None else line.complexity.mean}
        row |= limits("complexity_ci95", None if line is None else line.confidence_interval())
        tests = "p_superior_adjusted p_escape_adjusted p_equivalence=equivalence.p verdict reason"
        row |= dict.fromkeys(("p_superior_adjusted", "p_escape_adjusted", "p_equivalence", "verdict")) if line is None else {}
        row |= {"reason": "; ".join(self.unmatched)} if line is None else columns(line, tests)
        row |= {"over_noise": None if self.noise is None else self.noise.mean}
        row |= limits("over_noise_ci95", None if self.noise is None else self.noise.t_interval())
        return row | columns(self, "p_pays p_pays_delta p_pays_delta_run pays above_noise") | {"conclusion": self.conclusion()}


@dataclass(frozen=True, slots=True)
class SearchedBeside:
    """A searched scorer against another control that had the same search: of splines, of monotone features, or for an "
        "adaptive one.

    It is better only where it is above that control and above the reference; `p_pays`, `p_pays_delta` and `p_pays_delta_run`
    are of both, as in `SearchedGain`.
    """

    name: SearchedName
    question: Question
    line: AttributionLine
    p_pays: float | None = None
    p_pays_delta: float | None = None
    p_pays_delta_run: float | None = None

    @property
    def scorer(self) -> str:
        """The scorer."""
        return self.line.scorer

    @property
    def sparsity(self) -> float:
        """The sparsity S."""
        return self.line.sparsity

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Student-t interval of what the scorer has over the control; None below three seeds."""
        return self.line.confidence_interval(level)

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        line = self.line
        head = f"{line.scorer} against {line.control} at S = {line.sparsity:g}"
        if line.complexity.mean is None:
            return f"{head}: no seed has both and the reference."
        why = f" ({line.reason})" if line.reason else ""
        tests = f"superiority {p_text(line.p_superior_adjusted)} adjusted, equivalence {p_text(line.equivalence.p)}"
        return f"{head}: {_estimate(line.complexity)} over {plural(line.n, 'seed')}; {tests}: {line.verdict}{why}."

    def conclusion(self) -> str:
        """What it comes to, in one sentence with its look."""
        line, delta, alpha = self.line, self.line.equivalence.delta, self.line.equivalence.alpha
        both, above = f"{line.control} and {line.gain.reference}", line.p_superior_adjusted
        if _shown_beyond(line, self.p_pays_delta, alpha):
            said = f"Better than {both} by more than {delta:g} points{_alone(self.p_pays_delta_run, alpha)}"
        elif _shown_above(line, self.p_pays, alpha):
            said = f"Better than {both} at this S, and not shown to be so by {delta:g} points"
        elif line.verdict is Verdict.ESCAPES:
            said = f"Not shown to be better: {_beaten(line)}"
        elif line.verdict in SAME:
            said = f"As good as {line.control}, to within {delta:g} points"
        elif line.verdict is Verdict.DEGRADES:
            said = f"Worse than {line.control} by more than {delta:g} points"
        elif line.verdict is Verdict.NONSUPERIOR:
            said = f"Not better than {line.control} by {delta:g} points; whether it is worse is not settled"
        elif "noise floor" not in line.reason and above is not None and above <= alpha:
            said = f"Not shown to be better: {line.control} is beaten at this S, {line.gain.reference} is not"
        elif line.verdict is Verdict.NONINFERIOR:
            said = f"Not worse than {line.control} by {delta:g} points; whether it is better is not settled"
        else:
            said = f"Whether it is better than {line.control} is not settled ({line.reason})"
        return f"{said}{_at(line)}."

    def to_row(self) -> Row:
        """Return the comparison as one row."""
        line = self.line
        row = columns(line, "scorer control sparsity n gain=gain.mean control_gain=information.mean difference=complexity.mean")
        tests = "p_superior_adjusted p_escape_adjusted p_equivalence=equivalence.p verdict reason"
        own: Row = {"question": self.question, "features": self.name.features, "budget": self.name.budget}
        row |= limits("ci95", line.confidence_interval()) | columns(line, tests)
        return own | row | columns(self, "p_pays p_pays_delta p_pays_delta_run") | {"conclusion": self.conclusion()}


@dataclass(frozen=True, slots=True)
class BudgetPoint(_Searched):
    """What a searched scorer gains with one budget, and how much of its gain on the held-out examples is not there on the test's.

    Attributes
    ----------
    gain
        Over the reference, on the test examples.
    gap
        Gain on the held-out examples − gain on the test examples; above 0 the search over-fits. None where the rows do not say.
    gap_loss
        The same of the loss, with better upwards.
    p_gap, p_gap_holm
        One-sided p of "gap above 0", alone, and with Holm over the searches of this S at their largest budgets; that is None for
        a smaller one.
    within
        TOST of the gap within ±δ; None where there is no gap.
    """

    gap: Contrast | None
    gap_loss: Contrast | None
    p_gap: float | None
    p_gap_holm: float | None
    within: EquivalenceResult | None
    largest: bool
    noisy: bool = False

    @property
    def gap_mean(self) -> float:
        """Mean gap in points; 0 where there is none."""
        return 0.0 if self.gap is None or self.gap.mean is None else self.gap.mean

    def over_fits(self, alpha: float) -> bool:
        """Whether the gap is shown above 0, and not shown to lie within ±δ."""
        return self.p_gap_holm is not None and self.p_gap_holm <= alpha and not self.is_small

    @property
    def is_small(self) -> bool:
        """Whether the gap is shown to lie within ±δ."""
        return self.within is not None and self.within.verdict in SAME and not self.noisy

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        head = f"{self.scorer} at S = {self.sparsity:g}, {plural(self.name.budget, 'evaluation')}"
        if self.gain.mean is None:
            return f"{head}: no seed has it and {self.gain.reference}."
        gap = "" if self.gap is None or self.gap.mean is None else f", over-fitting gap {_with_interval(self.gap)}"
        return f"{head}: {_estimate(self.gain)} over {self.gain.reference} in {plural(self.gain.n, 'seed')}{gap}."

    def to_row(self) -> Row:
        """Return the point as one row; the gap of the loss with better upwards."""
        row = columns(self, "scorer sparsity features=name.features budget=name.budget largest n=gain.n gain=gain.mean")
        row |= limits("gain_ci95", self.gain.t_interval())
        for name, part in (("gap", self.gap), ("gap_loss", self.gap_loss)):
            row |= {name: None if part is None else part.mean}
            row |= limits(f"{name}_ci95", None if part is None else part.t_interval())
        return row | columns(self, "p_gap p_gap_holm") | {"p_gap_within": None if self.within is None else self.within.p}


@dataclass(frozen=True, slots=True)
class PoolGain:
    """What a scorer gains by the pool of the run over another one: what the normalisation is worth."""

    scorer: str
    pool: str
    own: str | None
    contrast: Contrast
    equivalence: EquivalenceResult
    decision: Decision

    @property
    def sparsity(self) -> float:
        """The sparsity S."""
        assert self.contrast.sparsity is not None
        return self.contrast.sparsity

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Student-t interval of the difference; None below three seeds."""
        return self.contrast.t_interval(level)

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        own = "the pool of the run" if self.own is None else f"pool {self.own}"
        head = f"{self.scorer} in {own} against pool {self.pool} at S = {self.sparsity:g}"
        if self.contrast.mean is None:
            return f"{head}: no seed has both."
        why = f" ({self.decision.reason})" if self.decision.reason else ""
        tests = f"equivalence {p_text(self.equivalence.p)}"
        return (
            f"{head}: {_estimate(self.contrast)} over {plural(self.contrast.n, 'seed')}; {tests}: {self.decision.verdict}{why}."
        )

    def to_row(self) -> Row:
        """Return the difference as one row."""
        row = columns(self, "scorer pool own sparsity n=contrast.n difference=contrast.mean")
        tests = "p_equivalence=equivalence.p verdict=decision.verdict reason=decision.reason"
        return row | limits("ci95", self.confidence_interval()) | columns(self, tests)


@dataclass(frozen=True, slots=True)
class SearchedStudy:
    """Everything said of the searched scorers of a run; accuracy points, better up.

    Attributes
    ----------
    gains
        The split of every reading of the paper's fusion at the largest budget, by S.
    beside
        Against other controls with the same search, and the adaptive scorer against its own.
    points
        Every searched scorer at every budget.
    pools
        What scorers gain by the pool of the run over another.
    smaller
        The scorers of budgets that are not the largest of their features.
    remarks
        What is missing or does not match, a sentence each.
    reason
        Why there is no split; empty where there is one.
    """

    reference: str
    delta: float
    alpha: float
    gains: tuple[SearchedGain, ...]
    beside: tuple[SearchedBeside, ...]
    points: tuple[BudgetPoint, ...]
    pools: tuple[PoolGain, ...]
    smaller: tuple[str, ...]
    remarks: tuple[str, ...]
    reason: str

    def over_fitting(self, sparsity: float) -> str:
        """What the gaps of one S show at the largest budgets, in one sentence; empty where the rows say nothing of them."""
        own = [p for p in self.points if p.sparsity == sparsity and p.largest and p.gap is not None and p.gap.mean is not None]
        if not own:
            return ""
        over = sorted((p for p in own if p.over_fits(self.alpha)), key=lambda p: p.gap_mean)
        small = sum(p.is_small for p in own)
        parts = [f"the search over-fits in {len(over)} of {len(own)} ({_range(over)})" if over else ""]
        parts += [f"in {small} of {len(own)} the gap is shown within ±{self.delta:g} points" if small else ""]
        left = len(own) - len(over) - small
        parts += [f"in {left} of {len(own)} it is not settled whether the search over-fits" if left else ""]
        return f"At S = {sparsity:g}, with the largest budgets, {'; '.join(filter(None, parts))}."

    def describe(self) -> str:
        """Return all of it as sentences, one per line."""
        gaps = (self.over_fitting(S) for S in sorted({point.sparsity for point in self.points}))
        parts: tuple[SearchedGain | SearchedBeside | PoolGain, ...] = (*self.gains, *self.beside, *self.pools)
        said = (part.describe() for part in parts)
        reason = [f"Searched scorers have no split: {self.reason}."] if self.reason else []
        return "\n".join([*reason, *said, *filter(None, gaps), *self.remarks])

    def to_dict(self) -> dict[str, object]:
        """Return plain rows, ready for JSON; better is up."""
        parts = {name: [part.to_row() for part in getattr(self, name)] for name in ("gains", "beside", "points", "pools")}
        return {**parts, "smaller": list(self.smaller), "remarks": list(self.remarks), "reason": self.reason}


def _range(points: Sequence[BudgetPoint]) -> str:
    """The gaps of some searches, or the smallest and the largest of many."""
    shown = points if len(points) <= _SHOWN else (points[0], points[-1])
    said = [f"{p.scorer} by {_with_interval(p.gap)}" for p in shown if p.gap is not None]
    return (", " if len(points) <= _SHOWN else " to ").join(said)


def _at(line: AttributionLine) -> str:
    """At which look, where a run is looked at."""
    return f" ({line.look})" if line.look else ""


def _shown_above(line: AttributionLine | None, p: float | None, alpha: float) -> bool:
    """Whether a line is shown above its control and above the reference, and not shown to be so by less than δ."""
    if line is None or line.verdict in (*SAME, Verdict.NONSUPERIOR, Verdict.DEGRADES):
        return False
    return "noise floor" not in line.reason and p is not None and p <= alpha


def _shown_beyond(line: AttributionLine | None, p: float | None, alpha: float) -> bool:
    """Whether it is shown above both by more than δ."""
    return line is not None and line.verdict is Verdict.ESCAPES and p is not None and p <= alpha


def _alone(p_run: float | None, alpha: float) -> str:
    """What is said of a claim that does not hold over all S."""
    return ", at this S alone and not over the whole run" if (p_run or 0.0) > alpha else ""


def _beaten(line: AttributionLine) -> str:
    """That the control is beaten by more than δ, and the reference is not."""
    own = line.information.mean
    short = f", of which that control fell {-own:.2f} short" if own is not None and own < 0 else ""
    return f"{line.control} is beaten by more than {line.equivalence.delta:g}, {line.gain.reference} is not{short}"


def _above(part: Contrast) -> bool:
    interval = part.t_interval()
    return interval is not None and interval.low > 0


def _estimate(part: Contrast) -> str:
    """Mean in points, with its interval where there is one."""
    interval = part.t_interval()
    return f"{signed(part.mean or 0.0)} points{'' if interval is None else f', {interval}'}"


def _with_interval(part: Contrast) -> str:
    interval = part.t_interval()
    return f"{signed(part.mean or 0.0)}{'' if interval is None else f' {interval}'}"
