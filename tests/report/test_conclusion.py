"""The three sentences: no firmer than the statistics, the same in every format, and a command that fits the run."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sics_analysis import LookPlan, analyse
from sics_analysis.report import FORMATS, ReportDocument, render, report_table
from sics_analysis.report.build import UNKNOWN, build_document
from sics_analysis.report.document.joint import Conclusion
from sics_analysis.report.words.conclusion import conclude, conclusion_of
from sics_analysis.report.words.phrases import number
from sics_analysis.report.words.reasons import over_run
from sics_analysis.results import IMAGE_ACCURACY, DataCheck, Level, Metric, Verdict

ADDED = {
    "magnitude": (0.0, 0.0, 0),
    "power": (0.0, 0.0, 0),
    "smooth_chaos": (3.0, 0.2, 1),
    "chaos": (0.3, 0.9, 2),
    "information": (2.9, 0.2, None),
}


def rows(
    seeds: int = 5, sparsities: tuple[float, ...] = (0.5, 0.8), *, gain: Any = None, added: Any = None, kappa: bool = True
) -> pd.DataFrame:
    """What each scorer adds, with a spread that no two of them share; `gain` scales it at an S."""
    rng, made = np.random.default_rng(5), []
    for S in sparsities:
        for name, (mean, sd, order) in (added or ADDED).items():
            for seed, noise in enumerate(rng.standard_normal(seeds)):
                points = (gain or {}).get(S, 1.0) * mean + sd * noise
                row = {"seed": seed, "scorer": name, "sparsity": S, "accuracy": 0.85 + 0.002 * (seed % 3) + points / 100}
                made.append({**row, "kappa": order} if kappa else row)
    return pd.DataFrame(made)


def run_of(frame: pd.DataFrame, **options: Any) -> ReportDocument:
    """The report of a run of this project, which a command can go on with."""
    analysis = analyse(frame, draws=2_000, **{"metric": IMAGE_ACCURACY, **options})
    source = replace(UNKNOWN.source, kind="run", command="sics-run replicate")
    return build_document(analysis, analysis.rows, replace(UNKNOWN, source=source))


@pytest.fixture(scope="module")
def escaped() -> ReportDocument:
    """smooth_chaos and information gain at S = 0.8 alone."""
    return run_of(rows(gain={0.5: 0.0}))


def test_what_is_shown_holds_over_the_run_and_gives_no_selected_mean(document: ReportDocument, escaped: ReportDocument) -> None:
    for made in (document, escaped):
        shown = conclude(made).shown
        held, alone = over_run(made)
        assert held
        first, _, within = shown.partition("; within one S alone: ")
        assert first.startswith("Over the whole run ")
        for line in held:
            assert line.scorer in first
            assert line.mean is not None
            assert number(line.mean) not in shown
        for line in alone:
            assert line.scorer in within
        low = min(line.simultaneous.low for line in held if line.simultaneous)
        assert number(low) in first
    assert conclude(escaped).shown.startswith(
        "Over the whole run smooth_chaos at S = 0.8 lies more than 0.5 points above magnitude (its simultaneous 95 % interval"
    )


def test_what_escapes_within_an_s_alone_is_not_said_to_hold_over_the_run(escaped: ReportDocument) -> None:
    lines = tuple(replace(line, p_escape_adjusted_run=0.2) if line.in_family else line for line in escaped.lines)
    shown = conclude(replace(escaped, lines=lines)).shown
    assert shown.startswith(
        "No scorer of κ ≥ 1 is shown above magnitude by more than 0.5 points over the whole run; within one S alone: smooth_chaos"
    )
    assert conclude(replace(escaped, lines=lines)).explained.startswith("Nothing to explain over the whole run: ")


@pytest.mark.parametrize(
    ("verdict", "p", "head", "said"),
    [
        (Verdict.EQUIVALENT, 0.9, "The saliency, not its shape: ", "shape is shown to add less than 0.5 points."),
        (Verdict.NONSUPERIOR, 0.9, "The saliency, not its shape: ", "shape is shown to add less than 0.5 points."),
        (Verdict.DEGRADES, 0.9, "The saliency, not its shape: ", "less than 0.5 points (it costs more)."),
        (Verdict.ESCAPES, 0.01, "Shape, beyond the saliency: ", "more than 0.5 points, adjusted within an S."),
        (Verdict.NONINFERIOR, 0.01, "Not settled: ", "more than 0 points, adjusted within an S, where 0.5 is open."),
        (Verdict.NONINFERIOR, 0.9, "Not settled: ", "shape is not shown to add or to lack anything."),
        (Verdict.INCONCLUSIVE, 0.9, "Not settled: ", "shape is not shown to add or to lack anything."),
    ],
)
def test_what_explains_it_follows_the_attribution(
    escaped: ReportDocument, verdict: Verdict, p: float, head: str, said: str
) -> None:
    changed = tuple(replace(row, verdict=verdict, p_superior_adjusted=p) for row in escaped.attribution)
    text = conclude(replace(escaped, attribution=changed)).explained
    assert text.startswith(head)
    assert text.endswith(said)
    assert "information, of the same saliency and without a shape, is itself shown above magnitude at S = 0.8, by a" in text


def test_a_control_that_is_not_shown_above_the_reference_explains_nothing_itself(escaped: ReportDocument) -> None:
    lines = tuple(replace(line, verdict=Verdict.INCONCLUSIVE) if line.scorer == "information" else line for line in escaped.lines)
    text = conclude(replace(escaped, lines=lines)).explained
    assert "itself" not in text
    assert text.startswith(("Not its shape: ", "Not settled: "))


def test_what_is_open_names_the_lines_and_a_command_that_settles_them(escaped: ReportDocument) -> None:
    found = conclude(escaped)
    assert re.fullmatch(r"sics-run replicate --seeds \d+", found.command)
    assert found.left.endswith(f", with this run's other options: {found.command}")
    open_ = [line for line in escaped.lines if line.verdict is Verdict.INCONCLUSIVE]
    assert found.left.startswith(f"{len(open_)} of {len(escaped.lines)} lines ")
    assert "stamped as added after a look" in found.left
    table = report_table(rows(gain={0.5: 0.0}), draws=1_000)
    assert conclude(table).command == "", "a table was made by nobody's command"
    assert "sics-run" not in conclude(table).left


def test_nothing_is_open_where_every_line_is_settled(make_table: Any) -> None:
    made = report_table(make_table({"magnitude": [0.0] * 6, "mine": [3.0, 3.1, 2.9, 3.0, 3.2, 2.8]}), draws=1_000)
    assert conclude(made).left == "Nothing that more seeds could settle."


def test_every_kind_of_report_has_three_sentences(
    document: ReportDocument, hostile: ReportDocument, poor: dict[str, ReportDocument], frame: pd.DataFrame
) -> None:
    dense = report_table(frame, reference="dense", draws=500)
    loss = report_table(
        rows(kappa=False).assign(accuracy=lambda data: 1 - data["accuracy"]),
        metric=Metric("loss", "nats", 1.0, lower_is_better=True),
        delta=0.005,
        draws=500,
    )
    unpaired = report_table(rows(), draws=500, metric=replace(IMAGE_ACCURACY, paired=False), unpaired="asked")
    one = report_table(rows(sparsities=(0.7,)), draws=500)
    for made in (document, hostile, dense, loss, unpaired, one, *poor.values()):
        for word, sentence in conclude(made).sentences:
            assert sentence.endswith(".") or sentence.endswith(conclude(made).command), (word, sentence)
            assert sentence[:1] == sentence[:1].upper() or sentence.split()[0] in {line.scorer for line in made.lines}
            assert not re.search(r"\bnan\b|\bNone\b|\binf\b|  |\.\.| ,", sentence), sentence
    assert "to the dense network" in conclude(dense).shown or "than the dense network" in conclude(dense).shown
    assert "below magnitude" in conclude(loss).shown
    assert "points" not in " ".join(text for _, text in conclude(loss).sentences)
    assert conclude(unpaired).left.endswith("seeds are planned for pairs only, and these are unpaired.")
    assert "whole run" not in conclude(one).shown, "one S is the whole run"
    assert conclude(poor["one seed"]).shown == "Nothing: 1 seed a line, and the least that can be tested is three."
    assert conclude(poor["one seed"]).left == "Everything: a test takes three seeds a line."
    assert conclude(poor["reference alone"]).shown == "Nothing: no seed has both a scorer and magnitude."
    assert conclude(poor["no kappa"]).explained.startswith("Not asked: it takes the control information")


def test_an_open_data_check_stands_before_what_rests_on_the_rows(escaped: ReportDocument) -> None:
    check = DataCheck("missing", Level.OPEN, "chaos has no result for seed 3")
    found = conclude(replace(escaped, checks=(check,)))
    for sentence in (found.shown, found.explained):
        assert sentence.startswith("While 1 data check is open, not settled: ")
    assert (found.left, found.command) == ("First the rows: missing, chaos has no result for seed 3.", "")


@pytest.mark.parametrize(
    ("seeds", "targets", "said", "command"),
    [
        (3, (), "Look 1 of 6, at 5 seeds, comes next", "sics-run replicate --until decided --max-seeds 40"),
        (8, ("escape:chaos@0.8",), "look 3 of 6, at 12 seeds", "--until decided:escape:chaos@0.8 --max-seeds 40"),
        (40, (), "all of α is spent", "--until decided --max-seeds 40 --first-seed 40"),
    ],
)
def test_a_run_under_looks_goes_on_with_its_plan(seeds: int, targets: tuple[str, ...], said: str, command: str) -> None:
    plan = LookPlan(40, seeds=tuple(range(40)))
    analysis = analyse(rows(seeds), looks=plan, draws=1_000, metric=IMAGE_ACCURACY)
    source = replace(UNKNOWN.source, command="sics-run replicate")
    made = build_document(analysis, analysis.rows, replace(UNKNOWN, source=source, targets=targets))
    found = conclude(made)
    assert said in found.left
    assert found.command.endswith(command)
    if seeds == 3:
        assert found.shown == "Nothing yet: 3 of 5 seeds of the first look are there, and nothing is tested before it."


def test_all_formats_have_the_same_sentences(escaped: ReportDocument) -> None:
    said = [sentence for _, sentence in conclude(escaped).sentences]
    for kind in FORMATS:
        if kind == "csv":
            continue
        text = render(escaped, kind)
        if kind == "html":
            text = re.sub(r"<[^>]+>", "", text.split("<main")[1]).replace("&#39;", "'").replace("\xa0", " ")
        if kind == "latex":
            continue  # mathematics stands for κ and ≥
        text = " ".join(text.split())
        for sentence in said:
            assert sentence in text, (kind, sentence)
    assert "lies more than 0.5 points above magnitude (its simultaneous 95" in render(escaped, "latex")
    last = [line for line in render(escaped, "terminal").splitlines() if line.strip()][-1]
    assert last == f"  {conclude(escaped).command}", "the terminal ends with what to do"


def test_a_kept_report_says_what_it_said_and_one_from_before_is_asked_anew(escaped: ReportDocument) -> None:
    data = json.loads(escaped.to_json())
    assert data["conclusion"]["shown"] == conclude(escaped).shown
    assert conclusion_of(ReportDocument.from_dict(data)) == conclude(escaped)
    data["conclusion"]["shown"] = "As it was kept."
    assert conclusion_of(ReportDocument.from_dict(data)).shown == "As it was kept."
    del data["conclusion"]
    old = ReportDocument.from_dict(data)
    assert old.conclusion is None
    assert conclusion_of(old) == conclude(escaped)
    assert isinstance(conclusion_of(old), Conclusion)
