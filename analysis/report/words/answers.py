"""The answers a reader came for, in plain words: is there a plateau, who escapes, where, why, and how sure is that."""

from __future__ import annotations

from collections.abc import Sequence

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import PlateauInfo
from sics_analysis.report.document.lines import LineInfo
from sics_analysis.report.words import plans
from sics_analysis.report.words.attribution import attribution_answer
from sics_analysis.report.words.looks import looks_answer
from sics_analysis.report.words.phrases import NONE, gathered, interval, listed, p_value, sparsity_list
from sics_analysis.report.words.reasons import (
    LIMIT,
    SHOWN,
    Answer,
    Tone,
    certainty_answer,
    counted,
    degrading,
    escaping,
    grouped,
    over_run,
    placed,
    target_name,
)
from sics_analysis.report.words.said import checked_answers
from sics_analysis.report.words.searched import searched_answer
from sics_analysis.results import Verdict, plural


@checked_answers
def answers(document: ReportDocument) -> tuple[Answer, ...]:
    """Answer every question of the report, in its order."""
    return (
        plans.far_answer(document) if document.how_far else _plateau(document),
        _escape(document),
        attribution_answer(document),
        *([searched_answer(document)] if document.searched is not None and document.searched.points else []),
        _kappa(document),
        certainty_answer(document),
        *([looks_answer(document)] if document.looks is not None else []),
        plans.next_answer(document),
        *([_paper(document)] if document.metric.is_image_accuracy else []),
    )


def _plateau(document: ReportDocument) -> Answer:
    question = "Is there a plateau?"
    claims = document.plateaus
    if not claims:
        why = (
            "the rows hold no second scorer of κ = 0 to compare"
            if document.has_kappa
            else "the rows do not say which scorers are rank-monotone (a column kappa would)"
        )
        return Answer("plateau", question, "open", "Not tested", f"Not tested: {why}.")
    shown = [claim for claim in claims if claim.holds]
    names = listed(claims[0].scorers, LIMIT)
    margin = f"±{document.settings.delta:g} points"
    parts = []
    same = [claim for claim in shown if claim.verdict is Verdict.IDENTICAL]
    if same:
        verb = "makes" if len(claims[0].scorers) == 1 else "make"
        parts.append(
            f"At {sparsity_list(c.sparsity for c in same)} {names} {verb} the very mask of {claims[0].reference} at every seed: "
            "an identity that was measured by mask hash, and no evidence about accuracy."
        )
    close = [claim for claim in shown if claim.verdict is not Verdict.IDENTICAL]
    if close:
        parts.append(
            f"At {sparsity_list(c.sparsity for c in close)} every rank-monotone scorer ({names}) lies within {margin} of "
            f"{claims[0].reference}, jointly ({_joint_p(close)})."
        )
    open_ = [claim for claim in claims if not claim.holds]
    reasons = gathered((claim.reason, claim.sparsity) for claim in open_)
    parts += [f"At {sparsity_list(where)} it is {reason}." for reason, where in reasons.items()]
    tone: Tone = "yes" if not open_ else "fact" if shown else "open"
    short = (
        "Yes, by identity"
        if len(same) == len(claims)
        else "Yes"
        if not open_
        else "Not shown"
        if not shown
        else f"Yes at {sparsity_list(c.sparsity for c in shown)}; not shown elsewhere"
    )
    return Answer("plateau", question, tone, short, " ".join(parts))


def _joint_p(claims: Sequence[PlateauInfo]) -> str:
    """The largest p of these claims; differences without any spread were not tested and have none."""
    tested = [claim.p for claim in claims if claim.p is not None]
    bare = [claim.sparsity for claim in claims if claim.p is None]
    parts = [f"intersection-union p at most {p_value(max(tested))}"] if tested else []
    if bare:
        where = f" at {sparsity_list(bare)}" if tested else ""
        parts.append(f"no test{where}: the differences have no spread")
    return "; ".join(parts)


def _escape(document: ReportDocument) -> Answer:
    target, delta = target_name(document), document.settings.delta
    question = f"Who escapes {target}, by how much, at which sparsity?"
    found = escaping(document)
    held, alone = over_run(document)
    parts = [_gains(held, "At S = {}: {} points.")] if held else []
    parts += [_gains(alone, "At S = {} alone, not over the whole run: {} points.")] if alone else []
    if found:
        level = f"{'repeated ' if document.looks else ''}{100 * (1 - document.settings.alpha):g} %"
        run = ", and those not said to stand alone over all S of the run too" if held and len(document.sparsities) > 1 else ""
        parts.append(
            f"These are simultaneous {level} intervals; each scorer is shown above +{delta:g} by a one-sided test adjusted in "
            f"the family of its S{run}, so a two-sided interval may begin a little lower."
        )
        if document.looks is not None:
            parts.append(
                "The intervals are of all seeds counted so far; the verdict is kept from the look that gave it (table Looks), "
                "and an estimate at an early stop is too large on average."
            )
    family = [line for line in document.lines if line.in_family and line.n]
    open_ = sum(line.verdict is Verdict.INCONCLUSIVE for line in family)
    bounded = [line for line in family if line.verdict in (Verdict.NONINFERIOR, Verdict.NONSUPERIOR)]
    if not family:
        parts.append("No scorer of the escape family stands beside the reference.")
    elif not found:
        parts.append(f"No scorer of the family is shown more than {delta:g} points above {document.settings.reference} at any S.")
    if bounded:
        parts.append(
            f"Shown of the family's lines, each by itself and unadjusted: {counted(bounded)} than {document.settings.reference} "
            f"by {delta:g}."
        )
    if open_:
        parts.append(
            f"{open_} of {plural(len(family), 'line')} of the family {'is' if open_ == 1 else 'are'} undecided, which "
            f"is not agreement."
        )
    searched = {
        point.scorer for point in (document.searched.points if document.searched else ())
    }  # they have an answer of theirs
    others = [line for line in document.lines if not line.in_family and line.verdict is Verdict.ESCAPES]
    others = [line for line in others if line.scorer not in searched]
    if others:
        parts.append(f"Outside the family, each tested on its own: {placed(others)}.")
    whole, once = degrading(document)
    parts += [f"Shown below −{delta:g}: {placed(whole)}."] if whole else []
    parts += [f"Shown below −{delta:g} at that S alone, not over the whole run: {placed(once)}."] if once else []
    short = _who(held) or ("Nobody is shown to" if family else "Nobody was tested")
    if alone:
        one = len({line.sparsity for line in alone}) == 1
        short = f"{short}{'' if held else ' over the whole run'}; {_who(alone)} within {'its' if one else 'each'} S alone"
    return Answer("escape", question, "yes" if held else "fact" if alone else "open", short, " ".join(parts))


def _gains(lines: Sequence[LineInfo], form: str) -> str:
    """By how much these lines escape, S by S."""
    by_sparsity = gathered((line.sparsity, f"{line.scorer} by {interval(line.simultaneous)}") for line in lines)
    return " ".join(form.format(f"{sparsity:g}", listed(by_sparsity[sparsity])) for sparsity in sorted(by_sparsity))


def _who(lines: Sequence[LineInfo]) -> str:
    """The scorers of these lines with their S, counted where they are many; empty without lines."""
    groups = grouped(lines)
    if len(groups) > SHOWN:
        count = plural(len({line.scorer for line in lines}), "scorer")
        return f"{count}, some at {sparsity_list(sorted({line.sparsity for line in lines}))}"
    return "; ".join(f"{listed(who, 4)} at {sparsity_list(at)}" for who, at in groups)


def _kappa(document: ReportDocument) -> Answer:
    question = "Which complexity does each sparsity need, κ(S)?"
    spectrum = document.spectrum
    if not spectrum.points:
        return Answer("kappa", question, "open", "Not available", f"Not available: {spectrum.reason}.")
    claimed = [point for point in spectrum.points if point.kappa is not None]
    parts = []
    for point in spectrum.points:
        if point.kappa is not None:
            agrees = ", as the paper has it" if point.kappa == point.paper else f", where the paper has {point.paper}"
            parts.append(
                f"κ({point.sparsity:g}) = {point.kappa} is claimed{agrees if document.metric.is_image_accuracy else ''}."
            )
    open_ = [point for point in spectrum.points if point.kappa is None and point.p_values is not None]
    by_set = gathered((point.not_rejected, point.sparsity) for point in open_)
    for left, where in by_set.items():
        values = listed([str(value) for value in left]).replace(" and ", " or ") or "no value, which no truth explains"
        parts.append(f"At {sparsity_list(where)} the data leave {values}.")
    missing = gathered((point.reason, point.sparsity) for point in spectrum.points if point.p_values is None)
    parts += [f"At {sparsity_list(where)} it is not available: {reason}." for reason, where in missing.items()]
    parts.append(spectrum.trend_sentence)
    short = ", ".join(f"κ({point.sparsity:g}) = {point.kappa}" for point in claimed) or "Undetermined"
    return Answer("kappa", question, "yes" if claimed else "open", short, " ".join(parts))


def _paper(document: ReportDocument) -> Answer:
    question = "What of the paper's claims?"
    count = {word: [c.id for c in document.claims if c.status == word] for word in ("supported", "contradicted", "undecided")}
    parts = [f"{word.capitalize()}: {listed(ids)}." for word, ids in count.items() if ids]
    numbers = [f"{len(ids)} {word}" for word, ids in count.items() if ids]
    tones: dict[str, Tone] = {"supported": "yes", "contradicted": "no"}
    only = [word for word, ids in count.items() if ids]
    tone = tones.get(only[0], "open") if len(only) == 1 else "fact" if only else "open"
    return Answer("paper", question, tone, ", ".join(numbers) or NONE, " ".join(parts))
