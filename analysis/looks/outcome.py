"""What the looks of a run showed, line by line: plain data, for a report and for whoever decides whether to go on."""

from __future__ import annotations

from dataclasses import dataclass

from sics_analysis.looks.design import LookPlan
from sics_analysis.results import Interval, Row, Seed, Verdict, columns, limits, plural, signed

#: What settles a line: the halves NONINFERIOR and NONSUPERIOR leave it open on the other side.
SETTLED = (Verdict.IDENTICAL, Verdict.EQUIVALENT, Verdict.ESCAPES, Verdict.DEGRADES)


@dataclass(frozen=True, slots=True)
class LineLook:
    """One look at one line; differences and intervals in the metric's unit.

    Attributes
    ----------
    look, n
        Which of the planned looks, from 1 on, and the seeds of the line.
    mean, ci90, ci95
        Of the seeds so far; the intervals are repeated ones, which hold at all looks together.
    p_equivalence, p_noninferior, p_nonsuperior, level
        The one-sided p of this look alone, and the nominal level of a single line they are compared with.
    p_escape, level_escape, p_degrade, level_degrade
        The p of this look among the lines left in the family, and the nominal level for so many; of a line outside it its own.
    repeated_equivalence, repeated_escape, repeated_degrade
        The overall alpha at which each of these p would reject at this look.
    verdict
        After this look.
    chance
        Of EQUIVALENT, ESCAPES or DEGRADES at the maximum, as the data of this look predict it; None at the first look, at the
        last, and once there is such a verdict.

    All but the first and the last are None at a look that brought the line no seed.
    """

    look: int
    n: int
    mean: float | None
    ci90: Interval | None
    ci95: Interval | None
    p_equivalence: float | None
    p_noninferior: float | None
    p_nonsuperior: float | None
    level: float | None
    p_escape: float | None
    level_escape: float | None
    p_degrade: float | None
    level_degrade: float | None
    repeated_equivalence: float | None
    repeated_escape: float | None
    repeated_degrade: float | None
    verdict: Verdict
    chance: float | None

    def to_row(self) -> Row:
        """The look as one table row."""
        p = "p_equivalence p_noninferior p_nonsuperior level p_escape level_escape p_degrade level_degrade"
        repeated = "repeated_equivalence repeated_escape repeated_degrade"
        return {
            **columns(self, "look n difference=mean"),
            **limits("ci90", self.ci90),
            **limits("ci95", self.ci95),
            **columns(self, f"{p} {repeated} verdict chance"),
        }


@dataclass(frozen=True, slots=True)
class LineLooks:
    """All looks at one scorer at one sparsity.

    Attributes
    ----------
    verdict, decided
        The verdict, which is kept from the first look that gives it, and the number of that look; None where it is open.
        What equal differences or masks show is said anew at each look.
    spent
        How much of alpha the line has spent, by its own seeds.
    hopeless
        Whether the chance of a settling verdict at the maximum is below the plan's futility. It stops nothing.
    n_run, mean_run
        All seeds of the line that were run, those included that no look has counted yet or that lie past the maximum.
    """

    scorer: str
    sparsity: float
    verdict: Verdict
    decided: int | None
    spent: float
    hopeless: bool
    n_run: int
    mean_run: float | None
    looks: tuple[LineLook, ...]

    @property
    def settled(self) -> bool:
        """Whether nothing is open: IDENTICAL, EQUIVALENT, ESCAPES or DEGRADES."""
        return self.verdict in SETTLED

    @property
    def deciding(self) -> LineLook | None:
        """The look that gave the verdict, with the estimate of that time; None where the verdict is open."""
        return next((look for look in self.looks if look.look == self.decided), None)

    def describe(self) -> str:
        """One sentence a reviewer can quote."""
        head = f"{self.scorer} at S = {self.sparsity:g}: {self.verdict}"
        look = self.deciding
        if look is None:
            tail = (
                f", after {len(self.looks)} look{'' if len(self.looks) == 1 else 's'}"
                if self.looks
                else ", before the first look"
            )
        else:
            tail = f" at look {look.look}, n = {look.n}" + ("" if look.mean is None else f" ({signed(look.mean)} points then)")
        return f"{head}{tail}, α spent {self.spent:.3g}{'; hopeless, though it may go on' if self.hopeless else ''}."

    def to_row(self) -> Row:
        """The line as one table row, without its looks."""
        return columns(self, "scorer sparsity verdict decided spent hopeless settled n_run mean_run")


@dataclass(frozen=True, slots=True)
class Looks:
    """What a run under a plan of looks has shown so far. `analyse(..., looks=plan)` makes it.

    Attributes
    ----------
    plan
        Fixed before the first seed, with its seeds.
    made
        How many looks were made.
    run
        Planned seeds that ended in the order of the plan, without a gap, with results or without.
    waiting
        Planned seeds with results that no look has counted: a look waits for all its seeds.
    failed
        Seeds of the looks made without any result; they are not replaced.
    extra
        Seeds with results outside the plan. No alpha is left for them, and no verdict rests on them.
    lines
        In the order of `Analysis.lines`.
    """

    plan: LookPlan
    made: int
    run: int
    waiting: tuple[Seed, ...]
    failed: tuple[Seed, ...]
    extra: tuple[Seed, ...]
    lines: tuple[LineLooks, ...]

    @property
    def n(self) -> int:
        """Planned seeds that the looks made have counted."""
        return self.plan.looks[self.made - 1] if self.made else 0

    @property
    def next_look(self) -> int | None:
        """Seeds of the next look; None after the last."""
        return self.plan.looks[self.made] if self.made < len(self.plan.looks) else None

    @property
    def spent(self) -> float:
        """How much of alpha is spent, failed seeds aside."""
        return self.plan.spent(self.n)

    @property
    def finished(self) -> bool:
        """Whether the last look is made."""
        return self.made == len(self.plan.looks)

    @property
    def hopeless(self) -> tuple[LineLooks, ...]:
        """The lines that are not expected to be settled."""
        return tuple(line for line in self.lines if line.hopeless)

    def line(self, scorer: str, sparsity: float) -> LineLooks:
        """Return one line; KeyError where there is none."""
        for line in self.lines:
            if line.scorer == scorer and line.sparsity == round(sparsity, 9):
                return line
        raise KeyError(f"Expected a line of this analysis, got {scorer!r} at S = {sparsity:g}")

    def stamps(self) -> tuple[str, ...]:
        """What a reader must know before any number: looks made of those planned, and seeds past the plan."""
        looks = f"{self.made} of {len(self.plan.looks)}"
        found = []
        if not self.made:
            found.append(f"before the first look: {self.run} of {self.plan.looks[0]} seeds, nothing is tested")
        elif not self.finished:
            found.append(f"stopped at look {looks}: {self.spent:.3g} of α = {self.plan.alpha:g} spent")
        if self.waiting and self.made:
            more = plural(len(self.waiting), "more seed")
            found.append(f"{more} run since look {self.made}: counted at the next look, {self.next_look} seeds")
        if self.extra:
            more = plural(len(self.extra), "seed")
            found.append(f"{more} past the plan's {self.plan.n_max}: no α is left for them, no verdict rests on them")
        return tuple(found)

    def describe(self) -> str:
        """The plan, where it stands and what each line shows, one sentence a line."""
        first = (
            f"{self.plan.describe()} {self.made} of {plural(len(self.plan.looks), 'look')} "
            f"{'is' if self.made == 1 else 'are'} made."
        )
        stamps = [f"{text[:1].upper()}{text[1:]}." for text in self.stamps()]
        return "\n".join([first, *stamps, *(line.describe() for line in self.lines)])

    def to_row(self) -> Row:
        """The plan and where it stands as one table row."""
        return {
            **columns(self, "n_max=plan.n_max alpha=plan.alpha"),
            "looks": ", ".join(map(str, self.plan.looks)),
            **columns(self, "made n run next_look spent finished"),
            **{name: ", ".join(map(str, getattr(self, name))) for name in ("waiting", "failed", "extra")},
        }
