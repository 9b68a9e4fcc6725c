"""The answer to how sure all this is."""

from __future__ import annotations

from sics_analysis.report.answer import Answer, Tone
from sics_analysis.report.document import ReportDocument
from sics_analysis.report.summary import escaping, undecided
from sics_analysis.report.text import plural, sparsity_list
from sics_analysis.results import Verdict


def certainty_answer(document: ReportDocument) -> Answer:
    """Say how many lines are open, what so many seeds can show, and what the escapes hang on."""
    question = "How sure are we?"
    settings, power = document.settings, document.power
    open_, total = undecided(document)
    counts = sorted({line.n for line in document.lines}) or [0]
    n = plural(counts[-1], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    which = f"{open_} of {plural(total, 'line')} {'is' if total == 1 else 'are'} undecided"
    parts = [f"{n} a line; {which} at δ = {settings.delta:g} points, α = {settings.alpha:g}."]
    if power.points:
        here = next((point for point in power.points if point.n == power.here), None)
        if here is not None and power.sd is not None:
            found, same = _chance(here.escape), _chance(here.equivalence)
            needed = f"{_needed(power.needed_escape)} and {_needed(power.needed_equivalence)}"
            effect = f"{power.effect:g} point{'s' * (power.effect != 1)}"
            parts.append(
                f"Where differences spread by sd = {power.sd:.2f} points, the median here, {plural(power.here, 'seed')} find a "
                f"true escape of {effect} with a chance of {found} and show a true equality with {same}; {needed} reach 80 %."
            )
    if counts[-1]:
        parts.append(f"The smallest p an exact sign-flip test can give is {0.5 ** counts[-1]:.3g}.")
    parts += _robust(document)
    if settings.stamps:
        parts.append(f"Stamped: {'; '.join(settings.stamps)}.")
    noisy = [info.sparsity for info in document.sparsities if info.below_noise]
    if noisy:
        parts.append(f"δ lies below the noise floor at {sparsity_list(noisy)}: nothing is concluded there.")
    tone: Tone = "open" if open_ or not total or settings.stamps or noisy else "yes"
    return Answer(
        "certainty", question, tone, f"{open_} of {total} undecided" if total else "Nothing was tested", " ".join(parts)
    )


def _chance(power: float) -> str:
    return f"{100 * power:.0f} %"


def _needed(seeds: int | None) -> str:
    return "more seeds than can be planned" if seeds is None else plural(seeds, "seed")


def _robust(document: ReportDocument) -> list[str]:
    """What other margins, new test images and the single networks make of the escapes."""
    found = escaping(document)
    if not found:
        return []
    parts = []
    keys = {(line.scorer, line.sparsity) for line in found}
    held: dict[float, int] = {}
    for entry in document.deltas:
        if (entry.scorer, entry.sparsity) in keys and entry.delta != document.settings.delta:
            held[entry.delta] = held.get(entry.delta, 0) + (entry.verdict is Verdict.ESCAPES)
    above = [delta for delta in held if delta > document.settings.delta]
    lasting = [delta for delta in above if held[delta] == len(found)]
    if above:
        first = f"At δ = {min(above):g} {held[min(above)]} of {len(found)} escapes remain."
        parts.append(f"The escapes stand up to δ = {max(lasting):g}." if lasting else first)
    crossed = [line.crossed for line in found if line.crossed is not None]
    if crossed:
        good = sum(limits.low > 0 for limits in crossed)
        parts.append(
            f"For new seeds and new test images (crossed bootstrap) {good} of {len(crossed)} escapes keep an interval above 0."
        )
    tests = [row for row in document.mcnemar if (row.scorer, row.sparsity) in keys]
    if tests:
        wins = sum(row.p <= document.settings.alpha and row.difference > 0 for row in tests)
        parts.append(
            f"Network by network (exact McNemar, each about two networks only) the escaping scorer wins {wins} of {len(tests)}."
        )
    return parts
