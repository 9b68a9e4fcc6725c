"""What every test of this package hands back: a verdict, an interval, the protocol all results share, rows of a report.

A report is read without scipy and pandas, so nothing here imports them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from numbers import Integral, Real
from operator import attrgetter
from typing import Protocol, TypeAlias, runtime_checkable

RowValue: TypeAlias = str | int | float | bool | None
"""What a table cell may hold. There is no nan among them: what is undefined is None."""

MAX_MARGIN = 1e9  # accuracy has 100 points
POINTS = 100  # accuracy points in an accuracy of 1
#: Stands for the sparsity of every row where a table has none: no network of a real one is pruned whole.
ONE_POOL = 1.0
DIGITS = 2  # of a difference in accuracy points
#: What a test example is called: in the project's own image tasks, and where nothing more is known.
IMAGE, EXAMPLE = "image", "example"
#: Metadata of a field: the value that a kept report leaves unsaid, as those did that are older than the field.
UNSAID = "unsaid"
_digits: ContextVar[int] = ContextVar("digits", default=DIGITS)

Row: TypeAlias = dict[str, RowValue]
Seed: TypeAlias = int | str


class Verdict(StrEnum):
    """What the data say about a scorer against the reference at margin δ (rule 2 of the statistics page).

    They are in the order in which they are asked for. "Not significant" is none of these: a line that shows nothing on either
    side is INCONCLUSIVE.

    Examples
    --------
    >>> Verdict("EQUIVALENT") is Verdict.EQUIVALENT
    True
    >>> str(Verdict.ESCAPES)
    'ESCAPES'
    """

    IDENTICAL = "IDENTICAL"  # same mask at every seed: an identity, not evidence, so without a p-value
    EQUIVALENT = "EQUIVALENT"  # the line's own TOST at unadjusted α
    ESCAPES = "ESCAPES"  # above +δ, adjusted within its family
    DEGRADES = "DEGRADES"  # below −δ, adjusted within a family of its own
    NONINFERIOR = "NONINFERIOR"  # not worse by δ: the lower half of the line's TOST, at unadjusted α
    NONSUPERIOR = "NONSUPERIOR"  # not better by δ: the upper half of it
    INCONCLUSIVE = "INCONCLUSIVE"  # none of them; the reason says why

    @classmethod
    def of_halves(cls, p_lower: float, p_upper: float, alpha: float) -> Verdict:
        """What the two halves of a line's own TOST show together: EQUIVALENT is both.

        >>> Verdict.of_halves(0.01, 0.2, 0.05), Verdict.of_halves(0.01, 0.05, 0.05)
        (<Verdict.NONINFERIOR: 'NONINFERIOR'>, <Verdict.EQUIVALENT: 'EQUIVALENT'>)
        """
        if p_lower <= alpha:
            return cls.EQUIVALENT if p_upper <= alpha else cls.NONINFERIOR
        return cls.NONSUPERIOR if p_upper <= alpha else cls.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Metric:
    """What was measured, and in which unit and direction a reader has it.

    Better is up in every computation: values of a metric where lower is better enter with their sign turned (`turned`), and
    leave in their own direction.

    Parameters
    ----------
    name
        As a sentence calls it.
    unit
        Of differences and margins.
    scale
        Units of a difference in a value of 1: 100 points in an accuracy of 1.
    lower_is_better
        Whether a scorer that lowers it escapes.
    paired
        Whether the seeds of two scorers are pairs; where they are not, tests take Welch's form.
    example
        What a sentence calls a test example; nothing that is measured depends on it.

    Examples
    --------
    >>> Metric("loss", "nats", 1, lower_is_better=True).turned(0.3), ACCURACY.turned(0.9)
    (-0.3, 0.9)
    >>> Metric("loss", "nats", 1).digits(0.01), ACCURACY.digits(0.01)
    (3, 2)
    """

    name: str = "accuracy"
    unit: str = "accuracy points"
    scale: float = 100.0
    lower_is_better: bool = False
    paired: bool = True
    example: str = field(default=EXAMPLE, compare=False, metadata={UNSAID: IMAGE})

    @property
    def is_image_accuracy(self) -> bool:
        """Whether it is the accuracy on images: sentences are written of it, and of it alone the paper speaks."""
        return self.unit == "accuracy points" and not self.lower_is_better and self.example == IMAGE

    @property
    def is_accuracy(self) -> bool:
        """Whether values are fractions from 0 to 1, their differences points."""
        return self.scale == POINTS

    @property
    def short(self) -> str:
        """The unit after a number."""
        return self.unit.removeprefix("accuracy ")

    def turned(self, value: float) -> float:
        """A value or difference with better upwards, or, from there, as its reader has it: the turn is its own inverse."""
        return -value if self.lower_is_better and value else value

    def turned_interval(self, interval: Interval | None) -> Interval | None:
        """An interval turned as its estimate is."""
        if interval is None or not self.lower_is_better:
            return interval
        return Interval(self.turned(interval.high), self.turned(interval.low), interval.level, interval.method)

    def digits(self, delta: float) -> int:
        """Decimals that show two digits of the margin, and no fewer than accuracy points have."""
        if self.is_accuracy or not delta > 0:
            return DIGITS
        return max(DIGITS, 1 - math.floor(math.log10(delta)))


ACCURACY = Metric()
IMAGE_ACCURACY = Metric(example=IMAGE)


def metric_named(name: str, unit: str, *, lower_is_better: bool) -> Metric:
    """A metric by what a table or a store says of it; of the unit "points" values are fractions from 0 to 1.

    >>> metric_named("accuracy", "points", lower_is_better=False) == ACCURACY
    True
    >>> metric_named("F1", "points", lower_is_better=False).scale, metric_named("loss", "nats", lower_is_better=True).scale
    (100.0, 1.0)
    """
    if unit != "points":
        return Metric(name, unit, 1.0, lower_is_better)
    return Metric(name, ACCURACY.unit if name == ACCURACY.name else unit, float(POINTS), lower_is_better)


@contextmanager
def written_with(digits: int) -> Iterator[None]:
    """Write every difference with so many decimals: a loss has margins of thousandths."""
    token = _digits.set(digits)
    try:
        yield
    finally:
        _digits.reset(token)


def digits_written() -> int:
    """Decimals of a difference, as `written_with` set them."""
    return _digits.get()


class Level(StrEnum):
    """How much a data check matters: while one is open nothing may be concluded without a flag."""

    OPEN = "open"
    NOTED = "noted"


@dataclass(frozen=True, slots=True)
class DataCheck:
    """Something about the rows that a reader must know before any verdict."""

    #: "missing", "pooled", "copied", "unfinished", "one seed", "resolution", "two values", "noise", "unpaired" or "untouched".
    kind: str
    level: Level
    text: str
    scorers: tuple[str, ...] = ()  # whose lines it touches; empty means all
    sparsities: tuple[float, ...] = ()

    def touches(self, scorer: str, sparsity: float) -> bool:
        """Whether a verdict is to be shown with its flag."""
        here = (not self.scorers or scorer in self.scorers) and (not self.sparsities or sparsity in self.sparsities)
        return self.level is Level.OPEN and here


class DataCheckWarning(UserWarning):
    """A data check of an analysis is open: no verdict that it touches is settled."""


def flags_of(checks: Iterable[DataCheck], scorer: str, sparsity: float) -> str:
    """The kinds of the open checks that touch a line, each once; empty where none does.

    >>> flags_of([DataCheck("missing", Level.OPEN, "b lacks seed 3", ("b",))], "b", 0.7)
    'missing'
    """
    return "; ".join(dict.fromkeys(check.kind for check in checks if check.touches(scorer, sparsity)))


class Status(StrEnum):
    """What a run says of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval with the method that made it; limits in the unit of the estimate.

    Parameters
    ----------
    low, high
        Finite limits, ``low <= high``.
    level
        Nominal coverage in (0, 1), such as 0.90.
    method
        How it was made: "student-t", ``rotation max-|T|``, "noncentral t", "bca", ..., or "degenerate" for the
        single point that constant differences leave.

    Raises
    ------
    ValueError
        If a limit is not finite, the limits are out of order or the level is outside (0, 1).

    Examples
    --------
    >>> interval = Interval(-0.12, 0.34, level=0.90, method="student-t")
    >>> interval.inside(0.5), 0.0 in interval
    (True, True)
    >>> print(interval)
    90 % CI [−0.12, +0.34]
    """

    low: float
    high: float
    level: float
    method: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"Expected finite limits with low <= high, got {self.low!r} and {self.high!r}")
        check_level(self.level)

    @property
    def width(self) -> float:
        """Length of the interval."""
        return self.high - self.low

    def inside(self, delta: float) -> bool:
        """Whether the whole interval lies in [−delta, +delta]."""
        return -delta <= self.low and self.high <= delta

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{100 * self.level:g} % CI [{signed(self.low)}, {signed(self.high)}]"


@runtime_checkable
class Result(Protocol):
    """What every result of this package can do."""

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """Interval of the estimate at `level`; None where the data determine none (fewer than three seeds)."""
        ...

    def describe(self) -> str:
        """One sentence a reviewer can quote: the numbers, n, the test, the verdict."""
        ...

    def to_row(self) -> Row:
        """The numbers as one table row; undefined values are None, never nan."""
        ...


class Computed:
    """A result without an interval of its own: it is computed and not estimated, or every line of it has one."""

    __slots__ = ()

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """None."""
        return None


def at_level(interval: Interval | None, level: float) -> Interval | None:
    """The interval where it has this level; None otherwise."""
    return interval if interval is not None and math.isclose(level, interval.level) else None


def columns(result: object, names: str) -> Row:
    """The attributes of a result as columns of a row; "column=attribute", or "column=part.attribute", where their names differ.

    >>> columns(Interval(0.0, 1.0, 0.9, "bca"), "low high length=width")
    {'low': 0.0, 'high': 1.0, 'length': 1.0}
    """
    pairs = (name.partition("=") for name in names.split())
    values = ((column, attrgetter(attribute or column)(result)) for column, _, attribute in pairs)
    return {column: str(value) if isinstance(value, StrEnum) else value for column, value in values}


def limits(prefix: str, interval: Interval | None) -> Row:
    """The two limits as columns "prefix_low" and "prefix_high", or "low" and "high"; None without interval."""
    low, high = (f"{prefix}_low", f"{prefix}_high") if prefix else ("low", "high")
    return {low: None, high: None} if interval is None else {low: interval.low, high: interval.high}


def check_level(level: float) -> None:
    """Refuse a confidence level outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"Expected `level` in (0, 1), got {level!r}")


def check_alpha(alpha: float) -> None:
    """Refuse a significance level outside (0, 0.5): from 0.5 on, the 1−2α interval does not exist."""
    if not is_number(alpha) or not 0.0 < alpha < 0.5:
        raise ValueError(f"Expected `alpha` in (0, 0.5), got {alpha!r}")


def check_delta(delta: float) -> None:
    """Refuse a margin that is not a positive number, or so large that squares of it overflow."""
    if not is_number(delta) or not 0.0 < delta <= MAX_MARGIN:
        raise ValueError(f"Expected `delta` as a positive number of accuracy points, got {delta!r}")


def is_whole(value: object) -> bool:
    """Whether this is a whole number, numpy's included. (mypy takes no int for an `Integral`, and would skip what follows.)"""
    return isinstance(value, Integral)


def is_number(value: object) -> bool:
    """Whether this is a real number, numpy's included; a bool is none.

    >>> is_number(0.5), is_number("0.5"), is_number(True)
    (True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A count with its noun.

    >>> plural(1, "seed"), plural(2, "seed"), plural(0, "analysis", "analyses")
    ('1 seed', '2 seeds', '0 analyses')
    """
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def signed(value: float, digits: int | None = None) -> str:
    """A number with its sign, zero without one, and a true minus; two decimals unless `written_with` says otherwise.

    >>> signed(0.1234), signed(-0.5), signed(-0.001)
    ('+0.12', '−0.50', '0.00')
    """
    text = f"{value:+.{digits_written() if digits is None else digits}f}"
    if float(text) == 0.0:
        return text[1:]
    return text.replace("-", "−")


def p_text(p: float | None) -> str:
    """A p-value for a sentence: three significant digits, "undefined" for None.

    >>> p_text(0.0480691), p_text(1e-5), p_text(None)
    ('p = 0.0481', 'p = 1e-05', 'p undefined')
    """
    return "p undefined" if p is None else f"p = {p:.3g}"


@dataclass(frozen=True, slots=True)
class DeltaVerdict:
    """The verdict a line would have had at another margin."""

    scorer: str
    sparsity: float
    delta: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class PowerPoint:
    """Power with n seeds: of equivalence at a true difference of 0, of an escape at a true difference of `effect`."""

    n: int
    equivalence: float
    escape: float


@dataclass(frozen=True, slots=True)
class PowerCurve:
    """The power of so many seeds when differences spread as in a run."""

    sd: float | None  # median over the lines, points
    effect: float  # true difference the escape power is for: 2δ
    family: int
    here: int  # seeds of this run
    needed_equivalence: int | None  # fewest seeds for a power of 80 %; None where beyond the search
    needed_escape: int | None
    points: tuple[PowerPoint, ...]  # empty where `reason` says why
    reason: str


@dataclass(frozen=True, slots=True)
class NextStep:
    """What would settle a line, as `sics_analysis.planning.outlook.next_steps` finds it; points, a chance of 80 %."""

    scorer: str
    sparsity: float
    n: int  # seeds of now
    mean: float
    planned: float  # the true difference planned with: the mean, drawn towards 0 by its uncertainty
    sd: float
    verdict: str  # the first that would settle it
    seeds: int | None  # that show it; None where no number does
    seeds_low: int | None  # at the limits of the sd's 95 % chi-square interval
    seeds_high: int | None
    goal: str  # the strong verdict that the estimate points to
    goal_seeds: int | None
    image_share: float | None  # of the variance over new images; None without per-example results
    both_seeds: int | None  # seeds and test images that show `verdict` for new images as well
    both_images: int | None
    exact: bool = False  # by the exact test of equal differences and of two adjacent counts, which has no sd

    @property
    def open(self) -> bool:
        """Whether the line is shown on neither side yet."""
        return self.verdict != self.goal

    def to_row(self) -> Row:
        """Return the step as one row."""
        return columns(self, " ".join(self.__slots__))


@dataclass(frozen=True, slots=True)
class HowFarStep:
    """One S of a scorer's sequence: the difference, its one-sided lower bound at 1 − level, p of "above −δ"."""

    sparsity: float
    n: int
    mean: float | None
    bound: float | None
    p: float | None
    passed: bool  # by all scorers together
    alone: bool  # were this the only scorer


@dataclass(frozen=True, slots=True)
class HowFar:
    """How far a scorer can prune and is shown not worse than the dense network by `delta`, as `how_far` finds it."""

    scorer: str
    reference: str
    delta: float
    level: float  # of each test of the sequence
    family: int  # scorers over which the error is held
    steps: tuple[HowFarStep, ...]  # by S; gaps are left out
    gaps: tuple[float, ...] = ()  # values of S among the steps without any seed, so neither tested nor claimed

    @property
    def reached(self) -> float | None:
        """The largest S of the claim, which holds over all scorers; None where not even the first is shown."""
        return max((step.sparsity for step in self.steps if step.passed), default=None)

    @property
    def alone(self) -> float | None:
        """The same for this scorer by itself."""
        return max((step.sparsity for step in self.steps if step.alone), default=None)

    @property
    def skipped(self) -> tuple[float, ...]:
        """The gaps below the largest S of the claim."""
        return tuple(S for S in self.gaps if (self.reached or 0.0) > S)

    def confidence_interval(self, level: float = 0.95) -> Interval | None:
        """None: every S has a bound of its own."""
        return None

    def describe(self) -> str:
        """Return one sentence a reviewer can quote."""
        tested = len(self.steps)
        if not tested:
            return f"{self.scorer}: no S has a seed together with {self.reference}."
        way = f"fixed sequence over {plural(tested, 'value')} of S from {self.steps[0].sparsity:g}"
        way += f", none of it at S = {', '.join(f'{S:g}' for S in self.gaps)}" if self.gaps else ""
        held = f"error held over {plural(self.family, 'scorer')}"
        if self.reached is None:
            alone = f"; by itself up to S = {self.alone:g}" if self.alone is not None else ""
            return (
                f"{self.scorer} is not shown within {self.delta:g} points below {self.reference} at any S ({way}, {held}){alone}."
            )
        further = f"; by itself up to S = {self.alone:g}" if self.alone != self.reached else ""
        return (
            f"{self.scorer} can be pruned up to S = {self.reached:g} and is shown not worse than {self.reference} by "
            f"{self.delta:g} points ({way}, {held}){further}."
        )

    def to_row(self) -> Row:
        """Return the claim as one row."""
        return columns(self, "scorer reference delta level family reached alone")

    def to_rows(self) -> list[Row]:
        """Return one row an S."""
        return [
            {"scorer": self.scorer, **columns(step, "sparsity n difference=mean bound p passed alone")} for step in self.steps
        ]


@dataclass(frozen=True, slots=True)
class Winner:
    """The scorer with the largest mean in a family, and the interval that allows for its selection."""

    scorer: str
    sparsity: float | None
    n: int
    family: int
    interval: Interval
    sentence: str  # without the mean of the selected scorer (winner's curse)

    def confidence_interval(self, level: float = 0.95) -> Interval:
        """Return the simultaneous interval; only the level the family was tested at is kept."""
        if abs(level - self.interval.level) > 1e-9:
            raise ValueError(f"Expected `level` {self.interval.level:g}, the family's, got {level!r}")
        return self.interval

    def describe(self) -> str:
        """Return one sentence that gives no mean of the selected scorer."""
        return self.sentence

    def to_row(self) -> Row:
        """Return the interval as one row."""
        return columns(self, "scorer sparsity n family") | limits("", self.interval) | {"level": self.interval.level}


@dataclass(frozen=True, slots=True)
class VarianceSplit:
    """What of the variance of a mean difference is due to the seeds and what to the test images; points, points².

    More seeds lessen the first part, only more images the second. `sd` is that between seeds on these images, with its 95 %
    chi-square interval, which is wide at few seeds: ×0.60 to ×2.87 at five.
    """

    n_seeds: int
    n_images: int
    seeds: float
    images: float
    sd: float
    sd_low: float
    sd_high: float

    @property
    def image_share(self) -> float:
        """The images' part as a fraction of the variance."""
        return self.images / (self.seeds + self.images)

    @property
    def images_dominate(self) -> bool:
        """Whether the larger part is due to the images, so that tests over seeds speak of these images alone."""
        return self.images > self.seeds


@dataclass(frozen=True, slots=True)
class LineRow:
    """What analysis and report say of a scorer against the reference at one S, in accuracy points."""

    scorer: str
    kappa: int | None
    in_family: bool
    sparsity: float
    n: int
    seeds: tuple[Seed, ...]  # the complete ones, and the difference at each
    differences: tuple[float, ...]
    mean: float | None
    sd: float | None
    ci90: Interval | None  # Student t, as ci95
    ci95: Interval | None
    ci_equivalence: Interval | None  # at level 1 − 2α: it decides equivalence
    simultaneous: Interval | None  # holds jointly with the others of the family of this S; None outside it
    crossed: Interval | None  # for new seeds and new test images; None without per-example results
    p_equivalence: float | None  # paired t-TOST: it decides
    p_equivalence_holm: float | None  # the same with Holm over the lines of this S
    p_equivalence_signflip: float | None
    p_equivalence_bootstrap: float | None  # studentized
    p_superior: float | None  # one-sided t of "above 0", for this line alone
    p_escape: float | None  # above +δ, for this line alone
    p_escape_adjusted: float | None  # in the family: it decides
    p_escape_holm: float | None  # on t
    p_escape_signflip_joint: float | None  # exact
    p_degrade_adjusted: float | None  # below −δ
    p_min_attainable: float | None  # the smallest that an exact sign-flip test of n seeds can give
    smallest_delta: float | None  # the smallest margin at which this line would have been equivalent
    g_z: float | None  # Hedges' standardised effect
    degenerate: bool
    verdict: Verdict
    reason: str
    sentence: str  # to quote
    # The halves of `p_equivalence`; what is adjusted over all S of the run at once. None in reports of before they were there.
    p_noninferior: float | None = field(default=None, kw_only=True)  # above −δ, for this line alone: it decides
    p_nonsuperior: float | None = field(default=None, kw_only=True)  # below +δ, for this line alone: it decides
    p_escape_adjusted_run: float | None = field(default=None, kw_only=True)  # the headline rests on it
    p_degrade_adjusted_run: float | None = field(default=None, kw_only=True)
    split: VarianceSplit | None = field(default=None, kw_only=True)  # seeds and images; None without per-example results
