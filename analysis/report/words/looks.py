"""What a report says of the looks of a run, for whoever knows nothing of sequential designs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sics_analysis.looks.outcome import SETTLED, LineLooks
from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.looks import LooksInfo
from sics_analysis.report.words.phrases import decimals, gathered, level_text, listed, minutes, minutes_text, percent
from sics_analysis.report.words.reasons import Answer, Tone, what_is_open
from sics_analysis.results import plural

LIMIT = 6  # scorers in a sentence before they are counted
ALL_LINES = "share:1"  # the target of a run that nobody gave one
FRESH = "runs/fresh"  # how the folder of a plan on fresh seeds begins: never that of the run, whose plan is at its end


def where_it_stands(info: LooksInfo) -> str:
    """Looks made and α spent, in few words."""
    if not info.made:
        return f"Before the first look, at {info.plan.looks[0]} seeds"
    spent = f"{level_text(info.spent)} of {level_text(info.plan.alpha)} spent"
    return f"{info.made} of {plural(len(info.plan.looks), 'look')}, at {plural(info.n, 'seed')}; {spent}"


def looks_answer(document: ReportDocument) -> Answer:
    """Say what looks are, where the run stands, and what looking costs."""
    info = document.looks
    assert info is not None
    plan = info.plan
    first = (
        f"The run looks at its results after {listed([str(n) for n in plan.looks])} seeds and may stop at each look. Testing "
        f"again and again at α = {plan.alpha:g} would make false claims more frequent, so each look may use up only a part of "
        "it: all looks together err as seldom as one test would."
    )
    held = "A verdict stays as the look gave it. Every p and every interval here counts all looks so far (sequential, repeated)."
    parts = [first, held] if info.made else [first]
    if info.failed:
        parts.append(f"{plural(len(info.failed), 'seed')} of the looks made failed; none is replaced.")
    parts += _price(info)
    tone: Tone = "yes" if info.decided else "fact"
    return Answer("looks", "How often was it looked at?", tone, where_it_stands(info), " ".join(parts))


def _asked(info: LooksInfo) -> list[str]:
    """What is to be decided, and what of it is."""
    if not info.targets:
        return []
    named = gathered((target.settled, _target(target.target)) for target in info.targets)
    return [
        f"Asked for and {word}: {listed(named[state])}." for state, word in ((True, "decided"), (False, "open")) if state in named
    ]


def _target(text: str) -> str:
    return "a verdict for every line of κ ≥ 1" if text == ALL_LINES else text


def _price(info: LooksInfo) -> list[str]:
    """What the looks cost in chances of a verdict, beside fixed numbers of seeds."""
    at, last = info.chances[max(info.made, 1) - 1], info.chances[-1]
    which, alpha = "this look tests" if info.made else "the first look will test", level_text(info.plan.alpha)
    parts = [
        f"The price of looking: {which} a single line at {level_text(at.level)}, where {plural(at.n, 'seed')} fixed "
        f"beforehand test at "
        f"{alpha}."
    ]
    if at.escape is not None and last.escape is not None and info.sd is not None:
        effect = f"{info.effect:g} point{'s' * (info.effect != 1)}"
        end = "" if at is last else f", and by {plural(last.n, 'seed')} with {percent(last.escape, 0)}"
        parts.append(
            f"Where differences spread by sd = {decimals(info.sd)} points, the median here, a true escape of {effect} is found "
            f"by {plural(at.n, 'seed')} with a chance of {percent(at.escape, 0)} in place of {percent(at.fixed_escape, 0)}{end}."
        )
    return parts


def next_look_answer(document: ReportDocument) -> Answer:
    """Say what the next look takes, which open lines it is not expected to settle, and what may follow the last one."""
    info = document.looks
    assert info is not None
    question, open_ = "What to do next?", [line for line in info.lines if line.n_run and line.verdict not in SETTLED]
    fresh = _fresh(document, info)
    parts: list[str] = []
    if open_ and info.made:
        each = f"{plural(len(open_), 'line')} {'is' if len(open_) == 1 else 'are'} open or shown on one side alone"
        parts.append(f"{each}{_hopeless(info, open_)}.")
    asked = _asked(info)
    if info.decided:
        parts = ["All that was asked is decided, so that the run is over.", *asked, *parts, *([fresh] if open_ else [])]
        return Answer("next", question, "yes", "Nothing: what was asked is decided", " ".join(parts))
    then = info.next_look
    if then is None:
        head = "The last look is made and all of α is spent: more of these seeds would decide nothing."
        return Answer(
            "next",
            question,
            "fact" if what_is_open(document) else "yes",
            "The plan is at its end",
            " ".join([head, *asked, *parts, fresh]),
        )
    more = then - info.run
    seconds, number = minutes(document.source.seconds, then, info.run), info.made + 1
    took = f" ({minutes_text(seconds)} on one worker, by what a seed took)" if seconds is not None else ""
    level = info.chances[info.made]
    spent = f"it tests a single line at {level_text(level.level)}, {level_text(level.spent)} of α then being spent"
    same = " The same command goes on, unless what was asked is decided." if document.source.command else ""
    seeds = f"{plural(more, 'more seed')}{took}" if more > 0 else "no more seed, only the look"
    head = f"Look {number} of {len(info.plan.looks)}, at {then} seeds, takes {seeds}; {spent}.{same}"
    return Answer("next", question, "fact", f"Look {number}, at {then} seeds", " ".join([head, *asked, *parts]))


def until_command(document: ReportDocument, *, fresh: bool = False) -> str:
    """The command that goes on with the looks of a run, or that looks at seeds nobody has analysed; "" where none does."""
    info = document.looks
    assert info is not None
    if not document.source.command:
        return ""
    targets = [target.target for target in info.targets if not (fresh and target.settled)]
    asked = "" if targets in ([], [ALL_LINES]) else f":{shlex.quote(','.join(targets))}"
    command, more = document.source.command, ""
    if fresh:
        first = _first_fresh(document, info)
        command, more = _without(command, "--first-seed", "--out"), f" --first-seed {first} --out {FRESH}-{first}"
    return f"{command} --until decided{asked} --max-seeds {info.plan.n_max}{more}"


def _without(command: str, *options: str) -> str:
    """A command without these options and what they are given."""
    words = shlex.split(command)
    left = [word for i, word in enumerate(words) if word not in options and (not i or words[i - 1] not in options)]
    return shlex.join(left)


def _first_fresh(document: ReportDocument, info: LooksInfo) -> int:
    """The first number after all seeds that were planned or there."""
    return max((seed for seed in (*info.plan.seeds, *document.seeds, *info.extra) if isinstance(seed, int)), default=-1) + 1


def _hopeless(info: LooksInfo, open_: Sequence[LineLooks]) -> str:
    """Which open lines are not expected to be settled by the last look."""
    found = gathered((line.scorer, line.sparsity) for line in open_ if line.hopeless)
    if not found:
        return ""
    where = listed([f"{name} at S = {listed([f'{S:g}' for S in at])}" for name, at in found.items()], LIMIT)
    count = sum(map(len, found.values()))
    return (
        f"; {count} of them hopeless ({where}): by what is seen, their chance of EQUIVALENT, ESCAPES or DEGRADES by "
        f"{info.plan.n_max} seeds is below {percent(info.plan.futility, 0)}"
    )


def _fresh(document: ReportDocument, info: LooksInfo) -> str:
    """How to go on where no α is left."""
    first = _first_fresh(document, info)
    if document.source.command and first:
        return f"What is open takes a plan on fresh seeds: --until with --first-seed {first}."
    return "What is open takes a plan on fresh seeds, fixed before the first of them."
