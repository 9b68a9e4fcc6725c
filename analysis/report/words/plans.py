"""What to do next, and how far one can prune, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.words.looks import next_look_answer
from sics_analysis.report.words.phrases import (
    MOST_SEEDS,
    TOO_NEAR,
    decimals,
    far_gaps,
    gathered,
    listed,
    minutes,
    minutes_text,
    practical,
    sparsity_list,
)
from sics_analysis.report.words.reasons import LIMIT, MIN_SEEDS, Answer, what_is_open
from sics_analysis.results import NextStep, Verdict, plural

_SIDES = {Verdict.NONINFERIOR: -1, Verdict.NONSUPERIOR: 1}  # the bound that each half of equivalence is about
_OPEN = (Verdict.INCONCLUSIVE, *_SIDES)
USUAL = 5  # seeds that a run has where nobody says how many


#: What closes a check of each kind.
_CLOSES = {
    "missing": "add the missing seeds, or leave the scorer out",
    "pooled": "keep one population (--where COLUMN=VALUE), or average over it (--repeats COLUMN)",
    "copied": "leave the copies out, or train a network for each seed",
    "unpaired": "run both on the same seeds, or say --unpaired",
    "resolution": "take more test examples, or a larger δ",
}
#: The same where seeds that were looked at are never replaced.
_CLOSES_LOOKED = {"missing": "leave the scorer out: a seed that was looked at is never replaced"}


def to_close(document: ReportDocument) -> str:
    """What comes before any more seeds: to close the data checks that are open; empty where none is."""
    kinds = gathered((check.kind, check.text) for check in document.open_checks)
    if not kinds:
        return ""
    closes = _CLOSES if document.looks is None else _CLOSES | _CLOSES_LOOKED
    what = "the open data check" if len(document.open_checks) == 1 else f"the {len(document.open_checks)} open data checks"
    ways = "; ".join(
        f"{kind}{f' ({len(texts)})' if len(texts) > 1 else ''}: {texts[0]}{f' ({closes[kind]})' if kind in closes else ''}"
        for kind, texts in kinds.items()
    )
    return f"First close {what}, on which nothing can rest. {ways[0].upper()}{ways[1:]}."


def next_answer(document: ReportDocument) -> Answer:
    """Say what to do: to close the open data checks first, then the seeds, or the next look, that would settle what is open."""
    found, first = _seeds_answer(document) if document.looks is None else next_look_answer(document), to_close(document)
    if not first:
        return found
    return replace(
        found,
        tone="fact",
        short=f"Close {plural(len(document.open_checks), 'data check')} first",
        text=f"{first} Then: {found.short}. {found.text}",
    )


@dataclass(frozen=True, slots=True)
class SeedsPlan:
    """How many seeds would settle half of the lines without a strong verdict; the undecided ones alone where there are some."""

    steps: tuple[NextStep, ...]
    kind: str  # "open" or "one-sided"
    others: int  # one-sided lines beside open ones
    target: int | None  # seeds; None where no number that anybody would run settles any
    settled: int  # of the steps, by so many seeds


def seeds_plan(document: ReportDocument) -> SeedsPlan | None:
    """None where no line is left with a spread to plan with."""
    steps = tuple(step for step in document.next_steps if step.open)
    one_sided = tuple(step for step in document.next_steps if not step.open)
    chosen = steps or one_sided
    if not chosen:
        return None
    target = _fewest_for_half(chosen)
    if target is not None:
        target = max(target, max(step.n for step in chosen) + 1)
    settled = 0 if target is None else sum(step.seeds is not None and step.seeds <= target for step in chosen)
    return SeedsPlan(chosen, "open" if steps else "one-sided", len(one_sided) if steps else 0, target, settled)


def _seeds_answer(document: ReportDocument) -> Answer:
    """How many seeds would settle what is open, S by S, how long they take and which command adds them."""
    question = "What to do next?"
    if not document.metric.paired:
        return Answer("next", question, "fact", "Not planned", "Planning is for paired seeds, and these are unpaired.")
    plan = seeds_plan(document)
    if plan is None:
        return _nothing_planned(document, question)
    chosen, kind, target, delta = plan.steps, plan.kind, plan.target, document.settings.delta
    places = sorted({step.sparsity for step in chosen})
    parts = [_at(S, [step for step in chosen if step.sparsity == S], kind, delta) for S in places]
    if plan.others:
        parts.append(f"{plural(plan.others, 'more line')} shown on one side only: the table says what would show more.")
    if target is None:
        return Answer("next", question, "fact", "More seeds will not settle it", " ".join(parts))
    time = minutes(document.source.seconds, target, max(step.n for step in chosen))
    if document.source.command:
        took = f" ({minutes_text(time)} on one worker, by what a seed took)" if time is not None else ""
        parts.append(f"The command: {document.source.command} --seeds {target}{took}.")
    short = f"{plural(target, 'seed')} settle {plan.settled} of {plural(len(chosen), f'{kind} line')}"
    return Answer("next", question, "fact", short, " ".join([*parts, _rule(chosen)]))


def _nothing_planned(document: ReportDocument, question: str) -> Answer:
    """No line has a spread to plan with: all are settled, too short, constant, or below the noise floor."""
    if all(not line.n for line in document.lines):  # where a scorer has no result at all no seed was begun
        return Answer("next", question, "fact", "More seeds", "Three seeds a line are the least that can be tested.")
    open_, (why, seeds) = what_is_open(document), unplanned(document)
    if seeds is not None:
        command = document.source.command
        how = f" The command: {command} --seeds {seeds}." if command else ""
        return Answer("next", question, "fact", "More seeds", f"{why[:1].upper()}{why[1:]}.{how}")
    if open_:
        return Answer("next", question, "fact", "Not planned", f"{open_[:1].upper()}{open_[1:]}; {why}.")
    return Answer("next", question, "yes", "Nothing", "No line is left that more seeds could settle.")


def unplanned(document: ReportDocument) -> tuple[str, int | None]:
    """Why what is open has no plan, and the seeds that would let all lines be tested; None where that is not what lacks."""
    lines = [line for line in document.lines if line.n and line.verdict in _OPEN]
    few = [line for line in lines if line.n < MIN_SEEDS]
    if few:
        have = f"{plural(len(few), 'line')} {'has' if len(few) == 1 else 'have'}"
        return f"{have} fewer than three seeds, the least that can be tested", max(USUAL, *(line.n for line in document.lines))
    loud = {info.sparsity for info in document.sparsities if info.below_noise}
    noisy = sorted({line.sparsity for line in lines} & loud)
    bare = sum(line.sparsity not in loud for line in lines)
    parts = [f"δ lies below the noise floor at {sparsity_list(noisy)}, which no seeds change"] if noisy else []
    parts += [f"{plural(bare, 'line')} without a spread between seeds to plan with"] if bare else []
    return "; ".join(parts) or "no plan says how many seeds that takes", None


def _fewest_for_half(steps: Sequence[NextStep]) -> int | None:
    """The fewest seeds that settle half of these lines, or half of those that seeds can settle."""
    known = _practical(steps)
    return known[min(math.ceil(len(steps) / 2), len(known)) - 1] if known else None


def _practical(steps: Sequence[NextStep]) -> list[int]:
    """The numbers of seeds that anybody would run, in order."""
    return sorted(step.seeds for step in steps if practical(step.seeds))


def distance(step: NextStep, delta: float) -> float:
    """How far the estimate, as planned with, lies from the bound that the verdict of this step is about."""
    side = _SIDES.get(Verdict(step.verdict))
    return abs(abs(step.planned) - delta) if side is None else abs(step.planned - side * delta)


def _at(S: float, steps: Sequence[NextStep], kind: str, delta: float) -> str:
    """What more seeds do at one S, in a sentence for those they settle and one for those they do not."""
    known, half, total = _practical(steps), _fewest_for_half(steps), plural(len(steps), f"{kind} line")
    parts = [f"S = {S:g}, {total}."]
    if half is not None:
        more = f", {known[-1]} settle {len(known)}" if known[-1] > half else ""
        parts = [f"S = {S:g}: {plural(half, 'seed')} settle {sum(value <= half for value in known)} of {total}{more}."]
    far = [step for step in steps if not practical(step.seeds)]
    if far:
        apart, spread = _span([distance(step, delta) for step in far]), _span([step.sd for step in far])
        what = f"{far[0].scorer} takes" if len(far) == 1 else f"{'All' if half is None else 'The other'} {len(far)} take"
        parts.append(f"{what} more than {MOST_SEEDS} seeds: {TOO_NEAR}, {apart} from the bound at an sd of {spread}.")
    shares = [step.image_share for step in steps if step.image_share is not None]
    if known and max(shares, default=0.0) >= 0.005:
        parts.append(f"Images make at most {100 * max(shares):.0f} % of the variance over new images.")
    return " ".join(parts)


def _span(values: Sequence[float]) -> str:
    low, high = decimals(min(values)), decimals(max(values))
    return low if low == high else f"{low} to {high}"


def _rule(steps: Sequence[NextStep]) -> str:
    wide = [step for step in steps if practical(step.seeds) and step.seeds_low is not None and not step.exact]
    example = max(wide, key=lambda step: step.seeds or 0, default=None)
    span = ""
    if example is not None:
        most = f"to {example.seeds_high}" if practical(example.seeds_high) else f"or more than {MOST_SEEDS}"
        span = f": the {example.seeds} of {example.scorer} at S = {example.sparsity:g} may be {example.seeds_low} {most}"
    if all(step.exact for step in steps):
        return "Each with a chance of 80 %, by the exact test of equal differences or two adjacent counts."
    return f"Each with a chance of 80 %. The sd of few seeds is uncertain{span}."


def far_answer(document: ReportDocument) -> Answer:
    """Say how far each scorer can prune, and under which error rate."""
    delta, alpha = document.settings.delta, document.settings.alpha
    reached: dict[float, list[str]] = {}
    for found in document.how_far:
        reached.setdefault(-1.0 if found.reached is None else found.reached, []).append(found.scorer)
    parts = [
        f"To S = {S:g}: {listed(reached[S])}{far_gaps(document, reached[S])}." for S in sorted(reached, reverse=True) if S >= 0
    ]
    if -1.0 in reached:
        first = sorted({found.steps[0].sparsity for found in document.how_far if found.reached is None and found.steps})
        where = f" from {sparsity_list(first)} on" if first else ""
        parts.append(f"Not shown{where}: {listed(reached[-1.0])}.")
    further = [f"{found.scorer} to {found.alone:g}" for found in document.how_far if found.alone != found.reached and found.alone]
    parts.append(
        f"Each S from the lowest up is tested as not worse by {delta:g} points, and the first that fails ends the sequence; the "
        f"chance of any false claim, over all {plural(len(document.how_far), 'scorer')} and S, is at most {100 * alpha:g} %."
    )
    if further:
        parts.append(f"A scorer by itself, without the others beside it: {listed(further, LIMIT)}.")
    best = max(reached)
    short = "Not shown for any S" if best < 0 else f"To S = {best:g} with {listed(reached[best], LIMIT)}"
    return Answer("far", "How far can I prune?", "open" if best < 0 else "yes", short, " ".join(parts))
