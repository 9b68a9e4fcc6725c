"""The answers in plain words: true to the document, and careful with what was selected."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sics_analysis.report import ReportDocument, headline, report_table
from sics_analysis.report.tables.plans import steps_table
from sics_analysis.report.words.answers import answers
from sics_analysis.report.words.phrases import interval, number
from sics_analysis.report.words.reasons import TONE_GLYPHS, escaping, target_name, undecided
from sics_analysis.results import NextStep, Verdict


def by_id(document: ReportDocument) -> dict[str, Any]:
    return {answer.id: answer for answer in answers(document)}


def test_headline_names_who_escapes_and_where(document: ReportDocument, poor: dict[str, ReportDocument]) -> None:
    assert headline(document) == (
        "smooth_chaos and chaos escape the magnitude plateau, at S = 0.7 and 0.8; bump at S = 0.8, on these 400 test images; "
        "whether complexity or the saliency explains it is not settled."
    ), "bump is not said to escape at 0.7"
    assert headline(poor["no kappa"]) == "mine escapes magnitude, at S = 0.7."
    assert headline(poor["one seed"]) == "1 seed a line: too few to show who escapes magnitude."
    assert headline(poor["identical"]) == "No scorer of κ ≥ 1 is there to escape the magnitude plateau."
    assert headline(poor["reference alone"]) == "No seed has both a scorer and magnitude: nothing can be said."


def test_no_mean_of_a_selected_scorer_in_headline_or_escape_answer(document: ReportDocument) -> None:
    found = by_id(document)
    text = headline(document) + found["escape"].text + found["attribution"].text
    for line in escaping(document):
        assert line.mean is not None
        assert f"{line.mean:+.2f}" not in text
        assert line.simultaneous is not None
        assert f"[{line.simultaneous.low:+.2f}, {line.simultaneous.high:+.2f}]" in text


def test_every_question_is_answered(document: ReportDocument, hostile: ReportDocument, poor: dict[str, ReportDocument]) -> None:
    for made in (document, hostile, *poor.values()):
        found = answers(made)
        every = ["plateau", "escape", "attribution", "kappa", "certainty", "next", "paper"]
        assert [answer.id for answer in found] == (every if made.has_kappa else ["escape", "certainty", "next"])
        for answer in found:
            assert answer.short
            assert answer.text.endswith(".")
            assert answer.tone in TONE_GLYPHS
            assert not re.search(r"\bnan\b|None of None|\bNone\b(?! of)|\binf\b", answer.text), answer.text


def test_an_identity_is_no_evidence(document: ReportDocument) -> None:
    answer = by_id(document)["plateau"]
    assert answer.short == "Yes, by identity"
    assert "no evidence about accuracy" in answer.text


def test_what_was_not_tested_has_no_p(tiny: ReportDocument) -> None:
    assert tiny.plateaus[0].p == 1 / 32, "five equal differences: the exact sign-flip"
    bare = replace(tiny.plateaus[0], p=None)  # as a report of before exact tests has it
    text = by_id(replace(tiny, plateaus=(bare,)))["plateau"].text
    assert "(no test: the differences have no spread)" in text
    assert "<1e-06" not in text
    other = replace(tiny.plateaus[0], sparsity=0.8, p=0.01)
    text = by_id(replace(tiny, plateaus=(bare, other)))["plateau"].text
    assert "(intersection-union p at most 0.01; no test at S = 0.7: the differences have no spread)" in text


def test_a_plateau_that_is_not_shown_is_said(make_table: Any) -> None:
    table = make_table({"magnitude": [0.0] * 5, "power": [1.9, -1.2, 0.4, 2.2, -0.8]}, kappa=0)
    answer = by_id(report_table(table, draws=1_000))["plateau"]
    assert (answer.short, answer.tone) == ("Not shown", "open")
    assert "not shown for power" in answer.text


def test_undecided_lines_are_never_agreement(document: ReportDocument) -> None:
    count, total = undecided(document)
    assert count == sum(line.verdict is Verdict.INCONCLUSIVE for line in document.lines)
    assert total == 24
    found = by_id(document)
    assert f"{count} of {total} lines are undecided" in found["certainty"].text
    first = next(line for line in document.lines if line.in_family)
    open_ = tuple(replace(line, verdict=Verdict.INCONCLUSIVE) if line == first else line for line in document.lines)
    family = sum(line.in_family for line in document.lines)
    said = by_id(replace(document, lines=open_))["escape"].text
    assert f"1 of {family} lines of the family is undecided, which is not agreement" in said


def test_attribution_tells_above_zero_from_above_delta(document: ReportDocument) -> None:
    text = by_id(document)["attribution"].text
    line = next(x for x in document.attribution if (x.scorer, x.sparsity) == ("smooth_chaos", 0.7))
    assert line.verdict is Verdict.NONINFERIOR
    assert line.p_superior_adjusted is not None
    assert line.p_superior_adjusted <= 0.05
    assert f"smooth_chaos at S = 0.7 {interval(line.simultaneous)}, shown above 0 but not above 0.5" in text
    assert number(line.complexity) not in text, "a part of the mean of a selected scorer is selected too"
    assert "shown above 0 but not above 0.5" in text


def test_an_undecided_comparison_is_no_answer_that_complexity_adds_nothing(document: ReportDocument) -> None:
    first, *rest = document.attribution
    decided = tuple(replace(line, verdict=Verdict.EQUIVALENT, p_superior_adjusted=1.0) for line in rest)
    open_ = replace(first, verdict=Verdict.INCONCLUSIVE, p_superior_adjusted=1.0)
    answer = by_id(replace(document, attribution=(open_, *decided)))["attribution"]
    assert (answer.tone, answer.short) == ("fact", f"Not shown; no in {len(rest)} of {len(rest) + 1}")
    assert "; 1 undecided." in answer.text
    closed = replace(first, verdict=Verdict.DEGRADES, p_superior_adjusted=1.0)
    answer = by_id(replace(document, attribution=(closed, *decided)))["attribution"]
    assert (answer.tone, answer.short) == ("no", "No")


def test_where_each_escapes_is_said_of_many_too(document: ReportDocument) -> None:
    names = ["a", "b", "c", "d", "e"]
    line = escaping(document)[0]
    lines = tuple(replace(line, scorer=name, sparsity=S) for i, name in enumerate(names) for S in (0.7, 0.8)[: 1 + i % 2])
    made = replace(document, lines=lines, scorers=tuple(replace(document.scorers[-1], name=n, in_family=True) for n in names))
    assert (
        headline(made) == "5 of 5 scorers escape the plateau, at S = 0.7 and 0.8, not each at every S, on these 400 test images."
    )
    assert by_id(made)["escape"].short == "a, c and e at S = 0.7; b and d at S = 0.7 and 0.8"


def test_what_was_not_tested_is_not_sure(poor: dict[str, ReportDocument]) -> None:
    alone = by_id(poor["reference alone"])
    assert (alone["certainty"].tone, alone["certainty"].short) == ("open", "Nothing was tested")
    assert alone["escape"].short == "Nobody was tested"
    assert "stands beside the reference" in alone["escape"].text
    assert by_id(poor["identical"])["escape"].short == "Nobody was tested", "κ = 0 alone is no escape family"


def test_nobody_is_said_in_the_singular_too(make_table: Any) -> None:
    made = report_table(make_table({"magnitude": [0.0] * 4, "wave": [0.1, -0.2, 0.3, 0.0]}).assign(kappa=0), draws=1_000)
    assert headline(made) == "No scorer of κ ≥ 1 is there to escape the magnitude plateau."
    table = make_table({"magnitude": [0.0] * 4, "wave": [0.1, -0.2, 0.3, 0.0]})
    table["kappa"] = [0 if name == "magnitude" else 1 for name in table["scorer"]]
    made = report_table(table, draws=1_000)
    assert (
        headline(made)
        == "wave, the one scorer of κ ≥ 1, is not shown to escape the magnitude plateau; 1 line at δ = 0.5: 1 equivalent."
    )


def test_a_search_without_an_end_is_not_said_to_be_impossible(document: ReportDocument) -> None:
    power = replace(document.power, needed_escape=None)
    assert "more than 200 seeds and" in by_id(replace(document, power=power))["certainty"].text


def planned(document: ReportDocument, *numbers: int | None, **fields: Any) -> ReportDocument:
    """The document with one open line at S = 0.7 for each of these numbers of seeds."""
    base = NextStep("chaos", 0.7, 5, 0.48, 0.47, 0.9, "NONINFERIOR", 30, 10, 250, "EQUIVALENT", None, None, None, None)
    steps = [replace(base, scorer=f"chaos {i}", seeds=seeds, **fields) for i, seeds in enumerate(numbers)]
    return replace(document, next_steps=tuple(steps))


def test_no_plan_asks_for_more_seeds_than_anybody_would_run(document: ReportDocument) -> None:
    answer = by_id(planned(document, 30, 12, 36_121, None))["next"]
    assert answer.short == "30 seeds settle 2 of 4 open lines"
    assert answer.text.startswith(
        "S = 0.7: 30 seeds settle 2 of 4 open lines. The other 2 take more than 200 seeds: the difference is too near δ, for "
        "its spread, to be settled by seeds, 0.97 from the bound at an sd of 0.90. Each with a chance of 80 %."
    )
    assert answer.text.endswith("The sd of few seeds is uncertain: the 30 of chaos 0 at S = 0.7 may be 10 or more than 200.")
    alone = by_id(planned(document, 201, verdict="EQUIVALENT", goal="EQUIVALENT"))["next"]
    assert (alone.short, alone.tone) == ("More seeds will not settle it", "fact")
    assert alone.text == (
        "S = 0.7, 1 one-sided line. chaos 0 takes more than 200 seeds: the difference is too near δ, for its spread, to be "
        "settled by seeds, 0.03 from the bound at an sd of 0.90."
    )
    third = by_id(planned(document, 12, 30, None))["next"].text
    assert "30 seeds settle 2 of 3 open lines. chaos 2 takes more than 200 seeds: the difference is too near δ" in third
    made = steps_table(planned(document, 36_121, 200, None, seeds_high=90_000).next_steps, 60.0)
    shown = [[cell.text for cell in row] for row in made.narrow("seeds", "range", "min").rows]
    assert shown == [["> 200", "10 to > 200", "–"], ["200", "10 to > 200", "195"], ["never", "–", "–"]]
    assert "> 200: more than 200 seeds, the difference is too near δ, for its spread, to be settled by seeds." in made.caption
    assert "> 200" not in steps_table(planned(document, 30, goal_seeds=40).next_steps, 60.0).caption


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.NONINFERIOR, Verdict.NONSUPERIOR])
def test_no_tick_stands_beside_an_open_line(document: ReportDocument, verdict: Verdict) -> None:
    assert by_id(planned(document, 30, verdict="EQUIVALENT", goal="EQUIVALENT"))["next"].tone == "fact"
    line = replace(document.lines[0], verdict=verdict, degenerate=True)
    found = by_id(replace(document, next_steps=(), lines=(line,)))["next"]
    assert (found.tone, found.short) == ("fact", "Not planned")
    assert found.text.startswith("1 of 1 line ")
    assert found.text.endswith("; 1 line without a spread between seeds to plan with.")
    settled = replace(line, verdict=Verdict.EQUIVALENT)
    rest = {"attribution": (), "spectrum": replace(document.spectrum, points=())}
    assert by_id(replace(document, next_steps=(), lines=(settled,)))["next"].tone == "fact", "what complexity adds is open"
    assert by_id(replace(document, next_steps=(), lines=(settled,), **rest))["next"].tone == "yes"


def test_a_p_of_one_rejects_nothing(document: ReportDocument) -> None:
    text = by_id(document)["kappa"].text
    assert "against never falling p = " in text
    assert "rejected at" not in text


def test_kappa_is_set_beside_the_paper(document: ReportDocument) -> None:
    answer = by_id(document)["kappa"]
    assert answer.short == "κ(0.7) = 1, κ(0.8) = 1"
    assert "κ(0.8) = 1 is claimed, where the paper has 2." in answer.text


def test_stamps_and_noise_are_said(document: ReportDocument) -> None:
    settings = replace(document.settings, stamps=("seeds extended after data",))
    sparsities = tuple(replace(info, below_noise=info.sparsity == 0.8) for info in document.sparsities)
    text = by_id(replace(document, settings=settings, sparsities=sparsities))["certainty"].text
    assert "Stamped: seeds extended after data." in text
    assert "δ lies below the noise floor at S = 0.8: nothing is concluded there." in text


def test_what_is_to_be_escaped(document: ReportDocument) -> None:
    assert target_name(document) == "the magnitude plateau"
    assert target_name(replace(document, settings=replace(document.settings, reference="plateau"))) == "the plateau"
    assert target_name(replace(document, settings=replace(document.settings, reference="gradient"))) == "gradient"


def run_of(
    make_table: Any, gains: dict[str, dict[float, list[float]]], kappa: dict[str, int], sparsities: tuple[float, ...]
) -> ReportDocument:
    """A document of scorers that gain this at some S over magnitude, and nothing but noise elsewhere."""
    parts = []
    for i, S in enumerate(sparsities):
        noise = np.random.default_rng(i).normal(0, 0.3, (len(gains), 5)).round(2).tolist()
        added = {name: values.get(S, own) for (name, values), own in zip(gains.items(), noise, strict=True)}
        parts.append(make_table({"magnitude": [0.0] * 5} | added, (S,)))
    table = pd.concat(parts, ignore_index=True)
    table["kappa"] = [0 if name == "magnitude" else kappa.get(name) for name in table["scorer"]]
    return report_table(table, draws=4_000)


TEN = tuple(round(0.05 * i, 2) for i in range(9, 19))
CLEAR, FAINT = [3.1, 2.9, 3.3, 2.8, 3.0], [1.5, 0.8, 1.7, 0.7, 1.1]


def test_the_headline_names_what_holds_over_the_whole_run_alone(make_table: Any) -> None:
    gains = {"chaos": {0.8: CLEAR}, "bump": {0.6: FAINT}}
    made = run_of(make_table, gains, {"chaos": 2, "bump": 1}, TEN)
    faint = made.line("bump", 0.6)
    assert faint is not None
    assert faint.verdict is Verdict.ESCAPES, "the verdict stays that of its S"
    assert faint.p_escape_adjusted is not None
    assert faint.p_escape_adjusted_run is not None
    assert faint.p_escape_adjusted <= 0.05 < faint.p_escape_adjusted_run
    assert "; at S = 0.6 alone, not over the whole run (p = 0." in faint.reason
    assert headline(made) == "chaos escapes the magnitude plateau, at S = 0.8."
    answer = by_id(made)["escape"]
    assert (answer.tone, answer.short) == ("yes", "chaos at S = 0.8; bump at S = 0.6 within its S alone")
    assert "At S = 0.6 alone, not over the whole run: bump by [" in answer.text


def test_what_holds_at_one_s_alone_is_no_headline(make_table: Any) -> None:
    made = run_of(make_table, {"bump": {0.6: FAINT}}, {"bump": 1}, TEN)
    said = headline(made)
    assert said.startswith(
        "bump, the one scorer of κ ≥ 1, is not shown to escape the magnitude plateau over the whole run; 10 lines"
    )
    assert "1 better within its S alone" in said
    answer = by_id(made)["escape"]
    assert (answer.tone, answer.short) == (
        "fact",
        "Nobody is shown to over the whole run; bump at S = 0.6 within its S alone",
    )
    alone = run_of(make_table, {"bump": {0.6: FAINT}}, {"bump": 1}, (0.6,))
    assert headline(alone) == "bump escapes the magnitude plateau, at S = 0.6."
    (line,) = alone.lines
    assert line.p_escape_adjusted_run == line.p_escape_adjusted
    assert "alone" not in line.reason


def test_the_headline_counts_what_is_shown_where_nobody_escapes(make_table: Any) -> None:
    gains = {"chaos": {0.7: [0.5, 0.4, 0.7, 0.2, 0.4], 0.8: [-0.5, -0.4, -0.7, -0.2, -0.4]}}
    made = run_of(make_table, gains, {"chaos": 2}, (0.6, 0.7, 0.8))
    assert headline(made) == (
        "chaos, the one scorer of κ ≥ 1, is not shown to escape the magnitude plateau; 3 lines at δ = 0.5, each by itself: "
        "1 equivalent, 1 not worse and 1 not better."
    )
    assert "each by itself and unadjusted: 1 not worse and 1 not better than magnitude by 0.5." in by_id(made)["escape"].text
    sure = by_id(made)["certainty"]
    assert (sure.tone, sure.short) == ("fact", "0 of 3 undecided, 2 shown on one side alone")


def test_where_information_escapes_too_shape_is_not_said_to_help(make_table: Any) -> None:
    kappa = {"chaos": 2, "bump": 1}
    same = [3.0, 3.0, 3.2, 2.9, 3.0]
    made = run_of(make_table, {"chaos": {0.8: CLEAR}, "bump": {}, "information": {0.8: same}}, kappa, (0.8,))
    assert headline(made) == "chaos escapes the magnitude plateau, at S = 0.8; the saliency explains it, not complexity."
    more = run_of(make_table, {"chaos": {0.8: CLEAR}, "bump": {}, "information": {0.8: FAINT}}, kappa, (0.8,))
    assert headline(more).endswith("; complexity adds to what the saliency gives.")
    none = run_of(make_table, {"chaos": {0.8: CLEAR}, "bump": {}, "information": {}}, kappa, (0.8,))
    assert headline(none).endswith("; complexity adds to what the saliency gives.")
    two = {"chaos": {0.7: CLEAR, 0.8: CLEAR}, "bump": {}, "information": {0.8: same}}
    said = headline(run_of(make_table, two, kappa, (0.7, 0.8)))
    assert said.endswith("; complexity explains it in part.")
