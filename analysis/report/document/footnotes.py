"""The footnotes of a report that never go missing."""

from __future__ import annotations

from collections.abc import Sequence

from sics_analysis.one_scorer.bootstrap import coverage_caveat
from sics_analysis.planning.plan import resolution
from sics_analysis.report.document.looks import LooksInfo
from sics_analysis.report.document.rows import Planned
from sics_analysis.results import digits_written, plural
from sics_analysis.rows.contrasts import MANY_SEEDS
from sics_analysis.study.outcome import Analysis

WELCH = (
    "Welch's t is near its level for one line, and in a family where the reference spreads as the scorers do. Where six scorers "
    "spread three times as much as the reference they share, a false escape is named in 6 to 7 % of simulated runs at 5 seeds "
    "and 5 to 8 % at 3, where 5 % is claimed."
)
SKEWED_LOOKS = (
    "A plan of looks does not cure skewed differences. With exponential ones EQUIVALENT errs in about 18 % of simulated lines "
    "where 5 % is claimed; with five seeds fixed beforehand in 16 %, with 40 in 9 %."
)


def footnotes(
    analysis: Analysis,
    varied: str,
    fixed: str,
    planned: Planned | None,
    stamps: Sequence[str],
    remarks: Sequence[str],
    looks: LooksInfo | None = None,
) -> list[str]:
    """Say what a seed varied, n, α, δ and when they were fixed, the resolution, the caveats; one sentence or two each."""
    counts = sorted({line.n for line in analysis.lines}) or [len(analysis.seeds)]
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    found = [
        f"A seed varied: {varied}. The seed is the unit of every test.",
        f"n = {n} complete seeds a line, α = {analysis.alpha:g}{'' if looks is None else ' over all looks together'}, δ = "
        f"{analysis.delta:g} accuracy points, reference {analysis.reference}. When they were fixed: "
        f"{when_fixed(analysis, fixed, planned, stamps)}.",
    ]
    found += [] if looks is None else _of_looks(looks, networks=bool(analysis.mcnemar))
    if len(counts) > 1:
        found.append(
            "A line counts the seeds complete in scorer and reference. Where the scorers of a family miss different seeds, "
            "each is tested on its own and Holm's correction takes the place of the joint rotation."
        )
    if analysis.metric.paired:
        found.append(_resolution(counts, None if looks is None else looks.level))
    if counts[-1] > MANY_SEEDS:
        found.append(
            f"Beyond {MANY_SEEDS} seeds the sign-flip cross-checks, which agree with t, are left out, the bootstrap draws 999 "
            "resamples, and a rotation test stops at a tenth of its draws where no p lies near α."
        )
    if not analysis.metric.paired:
        found.append(WELCH)
    found.append(coverage_caveat(counts[0]) if looks is None else SKEWED_LOOKS)
    found.append(_noise(analysis))
    found.append(
        "Escape and degradation: adjusted within the family of an S (the κ ≥ 1 scorers; rotation max-T on common seeds, "
        "else Holm); κ = 0, controls and baselines are tested in lines of their own."
        if analysis.has_kappa
        else "Without a column kappa the family of an S is every scorer but the reference (rotation max-T on common seeds, else "
        "Holm)."
    )
    found.append(
        "NONINFERIOR (not worse by δ) and NONSUPERIOR (not better by δ) are one half each of a line's equivalence test, at α and "
        "unadjusted as EQUIVALENT is: of many such lines some may be false."
    )
    coarse = sum(line.contrast.is_adjacent for line in analysis.lines)
    if coarse:
        found.append(
            f"Differences of two values, one test example apart ({coarse} of {plural(len(analysis.lines), 'line')}): "
            f"every p there is the "
            "larger of t's and the exact one (sign-flip and binomial), with Holm in a family."
            if analysis.metric.paired
            else f"A side of one value, or of two, one test example apart ({coarse} of "
            f"{plural(len(analysis.lines), 'line')}): every "
            "p there is the larger of Welch's and the exact one."
        )
    if len(analysis.sparsities) > 1:
        found.append(
            f"Over the whole run: the escape families of all {len(analysis.sparsities)} S as one "
            f"({analysis.over_run.escape.method}). The verdicts are those of each S; the headline names only what holds over the "
            "whole run."
        )
    if analysis.mcnemar:
        found.append(
            "McNemar's test is exact and speaks of two networks of one seed only; the interval for new seeds and "
            "new images of the same kind comes from two-way variance components, Student t with n − 1 degrees of freedom"
            f"{'' if looks is None else ', at the level of the last look'}."
        )
    return [*found, *remarks]


def when_fixed(analysis: Analysis, fixed: str, planned: Planned | None, stamps: Sequence[str]) -> str:
    """When margin, level and reference were fixed, with what the plan had where this is another, and the stamps."""
    stamped = f" STAMPED: {'; '.join(stamps)}" if stamps else ""
    if planned is not None and Planned(analysis.delta, analysis.alpha, analysis.reference) != planned:
        was = f"δ = {planned.delta:g}, α = {planned.alpha:g}, reference {planned.reference}"
        return f"now, for this report; the plan had {was} ({fixed}).{stamped}"
    return f"{fixed}.{stamped}" if stamped else fixed


def _of_looks(looks: LooksInfo, *, networks: bool) -> list[str]:
    """What a reader of a plan of looks must know."""
    plan, told = looks.plan, "".join(f"{text[:1].upper()}{text[1:]}. " for text in looks.stamps())
    found = [
        f"{plan.describe()} {looks.made} of {plural(len(plan.looks), 'look')} {'is' if looks.made == 1 else 'are'} "
        f"made. {told}The levels "
        "are exact for Normal differences; in a family the error over all looks is simulated, and stays below α.",
        "Every p of a difference here is sequential, the smallest α over all looks at which it would have been shown by now, and "
        "every interval of a difference repeated, so that those of all looks hold together: in κ(S), attribution and claims too. "
        f"None here is that of a fixed number of seeds{', but for McNemar of single networks' if networks else ''}.",
        "An estimate at an early stop is too large on average: in simulations by .04 to .09 sd of a difference, and by .54 sd "
        "for a line that truly lies at δ and escapes all the same. Means and intervals are of all seeds that the looks counted; "
        "the mean at the look that decided stands beside them.",
    ]
    if looks.failed:
        found.append(
            f"Failed seeds are not replaced: {', '.join(map(str, looks.failed))}. A line spends α by its own seeds, and the last "
            "look what is left."
        )
    return found


def _resolution(counts: Sequence[int], level: float | None = None) -> str:
    parts = [f"{float(resolution(n).sign_flip_one_sided):.3g} with {plural(n, 'seed')}" for n in counts if n]
    return (
        "Smallest attainable p of an exact sign-flip test: "
        f"{', '.join(parts) or 'none without complete seeds'}{_beside(counts, level)}. The t and rotation tests reach lower by "
        "taking the differences as Normal."
    )


def _beside(counts: Sequence[int], level: float | None) -> str:
    """That p set against the level of the last look."""
    if level is None or not counts[-1]:
        return ""
    can = float(resolution(counts[-1]).sign_flip_one_sided) <= level
    return f"; the last look tests at {level:.3g}, which such a test can{'' if can else 'not'} reach"


def _noise(analysis: Analysis) -> str:
    if not analysis.noise_floor:
        return "Noise floor (a second evaluation of the same mask): not measured."
    floors = ", ".join(f"{floor:.{digits_written()}f} at S = {S:g}" for S, floor in sorted(analysis.noise_floor.items()))
    below = [S for S in sorted(analysis.noise_floor) if analysis.below_noise(S)]
    what = f"Noise floor (a second evaluation of the same mask), points: {floors}."
    if below:
        what += f" δ lies below it at S = {', '.join(f'{S:g}' for S in below)}: nothing is concluded there."
    return what
