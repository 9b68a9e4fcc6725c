"""What to do next, and how far one can prune, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.words.phrases import far_gaps, listed, plural, sparsity_list
from sics_analysis.report.words.reasons import LIMIT, Answer
from sics_analysis.results import NextStep

MOST = 1_000  # seeds beyond which nobody plans


def minutes(seconds: float | None, seeds: int | None, now: int) -> float | None:
    """Minutes to get from the seeds of now to so many, where one takes so many seconds; None where nothing is known."""
    return None if seconds is None or seeds is None else max(seeds - now, 0) * seconds / 60


def minutes_text(value: float) -> str:
    """A time in the unit that suits it.

    >>> minutes_text(0.2), minutes_text(12.3), minutes_text(600)
    ('under a minute', '12 minutes', '10 hours')
    """
    if value < 1:
        return "under a minute"
    return plural(round(value), "minute") if value < 120 else plural(round(value / 60), "hour")


def next_answer(document: ReportDocument) -> Answer:
    """Say how many seeds would settle what is open, S by S, how long they take and which command adds them."""
    question = "What to do next?"
    if not document.metric.paired:
        return Answer("next", question, "open", "Not planned", "Planning is for paired seeds, and these are unpaired.")
    steps = [step for step in document.next_steps if step.open]
    one_sided = [step for step in document.next_steps if not step.open]
    if not steps and not one_sided:
        tested = [line for line in document.lines if line.n]  # where a scorer has no result at all no seed was begun
        if not tested or any(line.n < 3 for line in tested):
            return Answer("next", question, "open", "More seeds", "Three seeds a line are the least that can be tested.")
        return Answer("next", question, "yes", "Nothing", "No line is left that more seeds could settle.")
    chosen, kind = (steps, "open") if steps else (one_sided, "one-sided")
    here = max(step.n for step in chosen)
    target = _fewest_for_half(chosen)
    parts = [_at(S, [step for step in chosen if step.sparsity == S], kind) for S in sorted({step.sparsity for step in chosen})]
    if steps and one_sided:
        parts.append(f"{plural(len(one_sided), 'more line')} shown on one side only: the table says what would show more.")
    if target is None:
        short = f"{MOST} seeds are not likely to settle it"
        return Answer("next", question, "open", short, " ".join([*parts, _rule(chosen)]))
    target = max(target, here + 1)
    settled = sum(step.seeds is not None and step.seeds <= target for step in chosen)
    time = minutes(document.source.seconds, target, here)
    if document.source.command:
        took = f" ({minutes_text(time)} on one worker, by what a seed took)" if time is not None else ""
        parts.append(f"With this run's other options: {document.source.command} --seeds {target}{took}.")
    short = f"{plural(target, 'seed')} settle {settled} of {plural(len(chosen), f'{kind} line')}"
    return Answer("next", question, "open" if steps else "yes", short, " ".join([*parts, _rule(chosen)]))


def _fewest_for_half(steps: Sequence[NextStep]) -> int | None:
    """The fewest seeds that settle half of these lines, or half of those that seeds can settle."""
    known = _practical(steps)
    return known[min(math.ceil(len(steps) / 2), len(known)) - 1] if known else None


def _practical(steps: Sequence[NextStep]) -> list[int]:
    """The numbers of seeds that anybody would run, in order."""
    return sorted(step.seeds for step in steps if step.seeds is not None and step.seeds <= MOST)


def _at(S: float, steps: Sequence[NextStep], kind: str) -> str:
    known = _practical(steps)
    text = f"S = {S:g}, {plural(len(steps), f'{kind} line')}: "
    if not known:
        return f"{text}{MOST} seeds are not likely to settle {'it' if len(steps) == 1 else 'any'}."
    half = _fewest_for_half(steps)
    text += f"{plural(known[-1], 'seed')} for {'it' if len(steps) == 1 else 'all' if len(known) == len(steps) else len(known)}"
    if half != known[-1]:
        text += f", {half} for {sum(value <= (half or 0) for value in known)}"
    shares = [step.image_share for step in steps if step.image_share is not None]
    if shares:
        text += f"; {100 * max(shares):.0f} % or less of the variance over new images is due to the images"
    return f"{text}."


def _rule(steps: Sequence[NextStep]) -> str:
    known = [step for step in steps if step.seeds is not None and step.seeds <= MOST]
    wide = [step for step in known if step.seeds_low is not None and step.seeds_high is not None]
    example = max(wide, key=lambda step: step.seeds or 0, default=None)
    span = ""
    if example is not None:
        span = f": the {example.seeds} of {example.scorer} at S = {example.sparsity:g} may be "
        span += f"{example.seeds_low} to {example.seeds_high}"
    return f"Each with a chance of 80 %, by an sd that few seeds leave uncertain{span}."


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
