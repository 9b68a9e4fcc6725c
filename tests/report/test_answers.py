"""The answers in plain words: true to the document, and careful with what was selected."""

import re
from dataclasses import replace
from typing import Any

from sics_analysis.report import ReportDocument, headline, report_table
from sics_analysis.report.answers import answers, escaping, target_name, undecided
from sics_analysis.results import Verdict


def by_id(document: ReportDocument) -> dict[str, Any]:
    return {answer.id: answer for answer in answers(document)}


def test_headline_names_who_escapes_and_where(document: ReportDocument, poor: dict[str, ReportDocument]) -> None:
    assert headline(document) == "smooth_chaos, chaos and bump escape the magnitude plateau, at S = 0.7 and 0.8."
    assert headline(poor["no kappa"]) == "mine escapes magnitude, at S = 0.7."
    assert headline(poor["one seed"]) == "No scorer is shown to lie above magnitude."
    assert headline(poor["identical"]) == "None of 0 scorers is shown to escape the magnitude plateau."
    assert headline(poor["reference alone"]) == "No seed has both a scorer and magnitude: nothing can be said."


def test_no_mean_of_a_selected_scorer_in_headline_or_escape_answer(document: ReportDocument) -> None:
    text = headline(document) + by_id(document)["escape"].text
    for line in escaping(document):
        assert line.mean is not None
        assert f"{line.mean:+.2f}" not in text
        assert line.simultaneous is not None
        assert f"[{line.simultaneous.low:+.2f}, {line.simultaneous.high:+.2f}]" in text


def test_every_question_is_answered(document: ReportDocument, hostile: ReportDocument, poor: dict[str, ReportDocument]) -> None:
    for made in (document, hostile, *poor.values()):
        found = answers(made)
        assert [answer.id for answer in found] == ["plateau", "escape", "attribution", "kappa", "certainty", "paper"]
        for answer in found:
            assert answer.short
            assert answer.text.endswith(".")
            assert answer.tone in ("yes", "no", "open")
            assert not re.search(r"\bnan\b|None of None|\bNone\b(?! of)|\binf\b", answer.text), answer.text


def test_an_identity_is_no_evidence(document: ReportDocument) -> None:
    answer = by_id(document)["plateau"]
    assert answer.short == "Yes, by identity"
    assert "no evidence about accuracy" in answer.text


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
    assert "undecided, which is not agreement" in found["escape"].text


def test_attribution_tells_above_zero_from_above_delta(document: ReportDocument) -> None:
    text = by_id(document)["attribution"].text
    line = next(x for x in document.attribution if (x.scorer, x.sparsity) == ("smooth_chaos", 0.7))
    assert line.verdict is Verdict.INCONCLUSIVE
    assert line.p_superior_adjusted is not None
    assert line.p_superior_adjusted <= 0.05
    assert "smooth_chaos at S = 0.7: information gains +0.95, complexity adds +1.40" in text
    assert "shown above 0 but not above 0.5" in text


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
