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
from sics_analysis.report.words.answers import answers
from sics_analysis.report.words.attribution import explanation
from sics_analysis.report.words.conclusion import conclude, conclusion_of, correction, deciding
from sics_analysis.report.words.headline import headline
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
        first, _, within = shown.partition(" Within its S alone, so ")
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
        "Over the whole run smooth_chaos at S = 0.8 lies more than 0.5 points above magnitude (simultaneous 95 % interval within "
    )


def test_what_escapes_within_an_s_alone_is_not_said_to_hold_over_the_run(escaped: ReportDocument) -> None:
    lines = tuple(replace(line, p_escape_adjusted_run=0.2) if line.in_family else line for line in escaped.lines)
    shown = conclude(replace(escaped, lines=lines)).shown
    assert shown.startswith(
        "No scorer of κ ≥ 1 is shown above magnitude by more than 0.5 points over the whole run. Within its S alone, smooth_chaos"
    )
    assert conclude(replace(escaped, lines=lines)).explained.startswith("Nothing to explain over the whole run. ")


@pytest.mark.parametrize(
    ("verdict", "p", "head", "said"),
    [
        (Verdict.EQUIVALENT, 0.9, "The saliency, not complexity. ", "complexity is shown to add less than 0.5 points."),
        (Verdict.NONSUPERIOR, 0.9, "The saliency, not complexity. ", "complexity is shown to add less than 0.5 points."),
        (Verdict.DEGRADES, 0.9, "The saliency, not complexity. ", "complexity is shown to cost more than 0.5 points."),
        (Verdict.ESCAPES, 0.01, "Complexity, beyond the saliency. ", "more than 0.5 points, adjusted within an S."),
        (Verdict.EQUIVALENT, 0.01, "Mostly the saliency. ", "to add more than 0 and less than 0.5 points, adjusted within an S."),
        (Verdict.NONINFERIOR, 0.01, "Not settled. ", "more than 0 points, adjusted within an S, where 0.5 is open."),
        (Verdict.NONINFERIOR, 0.9, "Not settled. ", "complexity is not shown to add or to lack anything."),
        (Verdict.INCONCLUSIVE, 0.9, "Not settled. ", "complexity is not shown to add or to lack anything."),
    ],
)
def test_what_explains_it_follows_the_attribution(
    escaped: ReportDocument, verdict: Verdict, p: float, head: str, said: str
) -> None:
    changed = tuple(replace(row, verdict=verdict, p_superior_adjusted=p) for row in escaped.attribution)
    text = conclude(replace(escaped, attribution=changed)).explained
    assert text.startswith(head)
    assert text.endswith(said)
    assert "information, of the same saliency and without complexity, is itself shown above magnitude at S = 0.8, by a" in text


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("p", [0.01, 0.9])
def test_headline_and_sentence_say_the_same_explains_it(escaped: ReportDocument, verdict: Verdict, p: float) -> None:
    changed = tuple(replace(row, verdict=verdict, p_superior_adjusted=p) for row in escaped.attribution)
    made = replace(escaped, attribution=changed)
    said, title = conclude(made).explained, headline(made)
    assert ("complexity adds" in title) == said.startswith("Complexity, beyond")
    assert ("not settled" in title) == said.startswith("Not settled. ")
    assert ("saliency explains it, not" in title) == said.startswith("The saliency, not complexity. ")
    assert title.endswith(f"; {explanation(made).headline}.")


def test_a_control_that_is_not_shown_above_the_reference_explains_nothing_itself(escaped: ReportDocument) -> None:
    lines = tuple(replace(line, verdict=Verdict.INCONCLUSIVE) if line.scorer == "information" else line for line in escaped.lines)
    text = conclude(replace(escaped, lines=lines)).explained
    assert "itself" not in text
    assert text.startswith(("Not complexity. ", "Not settled. "))


def test_what_is_open_names_the_lines_and_a_command_that_settles_them(escaped: ReportDocument) -> None:
    found = conclude(escaped)
    assert re.fullmatch(r"sics-run replicate --seeds \d+", found.command)
    assert found.left.endswith(f": {found.command}")
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
        (40, (), "all of α is spent", "--until decided --max-seeds 40 --first-seed 40 --out runs/fresh-40"),
    ],
)
def test_a_run_under_looks_goes_on_with_its_plan(seeds: int, targets: tuple[str, ...], said: str, command: str) -> None:
    plan = LookPlan(40, seeds=tuple(range(40)))
    analysis = analyse(rows(seeds), looks=plan, draws=1_000, metric=IMAGE_ACCURACY)
    own = " --first-seed 3 --out 'old runs/a'" if seeds == 40 else ""  # of a run whose plan is at its end
    source = replace(UNKNOWN.source, command=f"sics-run replicate{own}")
    made = build_document(analysis, analysis.rows, replace(UNKNOWN, source=source, targets=targets))
    found = conclude(made)
    assert said in found.left
    assert found.command.endswith(command)
    assert found.command.startswith("sics-run replicate --until"), "nothing of the folder or the seeds of the run itself"
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
    assert "lies more than 0.5 points above magnitude (simultaneous 95" in render(escaped, "latex")
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


M = (0.0, 0.0, 0)
Arm = tuple[float, float, int | None]


def exact(spec: dict[float, dict[str, Arm]], seeds: int = 5) -> pd.DataFrame:
    """Rows whose differences to magnitude have this very mean and sd: S → scorer → mean, sd and κ."""
    made = []
    for S, arms in spec.items():
        for place, (name, (mean, sd, kappa)) in enumerate(arms.items()):
            noise = np.random.default_rng(100 + place + round(1000 * S)).standard_normal(seeds)
            points = mean + sd * (noise - noise.mean()) / noise.std(ddof=1)
            for seed in range(seeds):
                row = {"seed": seed, "scorer": name, "sparsity": S, "kappa": kappa}
                made.append({**row, "accuracy": 0.85 + 0.002 * (seed % 3) + points[seed] / 100})
    return pd.DataFrame(made)


def looked(frame: pd.DataFrame, targets: tuple[str, ...] = ()) -> ReportDocument:
    """The report of a run under six looks at up to 40 seeds."""
    analysis = analyse(frame, looks=LookPlan(40, seeds=tuple(range(40))), draws=1_000, metric=IMAGE_ACCURACY)
    source = replace(UNKNOWN.source, kind="run", command="sics-run replicate")
    return build_document(analysis, analysis.rows, replace(UNKNOWN, source=source, targets=targets))


def test_an_interval_is_said_to_be_simultaneous_within_its_s_where_there_are_several() -> None:
    """Over 14 S the interval that holds for all lines at once is wider."""
    spec = {0.3 + 0.1 * i: {"magnitude": M, "smooth_chaos": (3.0, 0.2, 1)} for i in range(3)}
    assert "(simultaneous 95 % intervals within each S: all in [" in conclude(run_of(exact(spec))).shown
    one = conclude(run_of(exact({0.3: spec[0.3]}))).shown
    assert "(simultaneous 95 % interval: [" in one


def test_shape_that_is_shown_to_add_less_than_the_margin_is_not_denied() -> None:
    made = run_of(exact({0.8: {"magnitude": M, "smooth_chaos": (2.3, 0.05, 1), "information": (2.0, 0.05, None)}}))
    (row,) = made.attribution
    assert row.verdict is Verdict.EQUIVALENT
    text = conclude(made).explained
    assert text.startswith("Mostly the saliency. ")
    assert text.endswith("complexity is shown to add more than 0 and less than 0.5 points.")
    assert "not complexity" not in text


def test_nothing_is_explained_of_lines_that_lack_the_control() -> None:
    held: dict[str, Arm] = {"magnitude": M, "smooth_chaos": (3.0, 0.1, 1)}
    part = conclude(run_of(exact({0.5: held, 0.7: held, 0.8: {**held, "information": (3.0, 0.1, None)}}))).explained
    assert part.startswith(
        "The control information, of the same saliency and without complexity, is itself shown above magnitude at "
    )
    assert part.endswith("less than 0.5 points in 1 of 3 lines; 2 have no such control, at S = 0.5 and 0.7.")
    elsewhere: dict[str, Arm] = {"magnitude": M, "smooth_chaos": (0.0, 0.1, 1), "information": (2.0, 0.1, None)}
    none = conclude(run_of(exact({0.5: elsewhere, 0.8: held}))).explained
    assert none.startswith("Not asked of smooth_chaos at S = 0.8: no control information, ")
    itself = run_of(exact({0.8: {**held, "information": (2.0, 0.1, None)}}), reference="information")
    assert conclude(itself).explained == "Not asked: the control information is itself the reference."


def test_a_control_below_the_reference_is_named() -> None:
    made = run_of(exact({0.8: {"magnitude": M, "smooth_chaos": (0.0, 0.1, 1), "information": (-3.0, 0.1, None)}}))
    assert "is itself shown below magnitude, by a test of its own. Beyond it complexity" in conclude(made).explained


def test_nothing_is_left_only_where_nothing_is_open() -> None:
    """The rows of a control, what holds within its S alone, and what constant differences leave."""
    attribution = run_of(exact({0.8: {"magnitude": M, "smooth_chaos": (3.0, 0.6, 1), "information": (2.9, 0.6, None)}}))
    said = "What complexity adds is open in 1 of 1 comparison; no plan says how many seeds that takes."
    assert conclude(attribution).left == said
    (following,) = [answer for answer in answers(attribution) if answer.id == "next"]
    assert (following.tone, following.short, following.text) == ("fact", "Not planned", said)
    within: dict[float, dict[str, Arm]] = {
        S: {"magnitude": M, "chaos": (0.0, 0.1, 2), "information": (0.0, 0.1, None)} for S in (0.6, 0.7, 0.8, 0.9, 0.95)
    }
    alone = run_of(exact({0.5: {"magnitude": M, "chaos": (1.0, 0.4, 2), "information": (0.0, 0.1, None)}, **within}))
    assert over_run(alone)[1]
    assert conclude(alone).left.startswith("1 of 12 lines holds within its S alone; ")
    constant = {S: {"magnitude": M, "chaos": (2.0, 0.0, 2), "information": (0.0, 0.1, None)} for S in (0.5, 0.8)}
    assert conclude(run_of(exact(constant))).left.startswith("2 of 4 lines hold within their S alone; ")


def test_a_line_that_cannot_be_planned_says_its_own_reason() -> None:
    frame = exact({S: {"magnitude": M, "smooth_chaos": (3.0, 0.1, 1)} for S in (0.5, 0.8)})
    short = run_of(frame[~((frame.sparsity == 0.8) & (frame.seed > 1))])
    found = conclude(short)
    assert found.command == "sics-run replicate --seeds 5"
    assert found.left.startswith(
        "1 of 2 lines is undecided; 1 line has fewer than three seeds, the least that can be tested: sics-run"
    )
    (following,) = [answer for answer in answers(short) if answer.id == "next"]
    assert following.text.endswith("The command: sics-run replicate --seeds 5.")
    noisy = run_of(frame, noise_floor={0.5: 0.7, 0.8: 0.0})
    said = "1 of 2 lines is undecided; δ lies below the noise floor at S = 0.5, which no seeds change."
    assert conclude(noisy).left == said
    (following,) = [answer for answer in answers(noisy) if answer.id == "next"]
    assert following.text == said


def test_who_lies_below_is_said_beside_who_lies_above() -> None:
    arms: dict[float, dict[str, Arm]] = {
        0.5: {"magnitude": M, "chaos": (-6.0, 0.2, 2), "smooth_chaos": (-3.0, 0.2, 1)},
        0.8: {"magnitude": M, "chaos": (3.0, 0.2, 2), "smooth_chaos": (-3.0, 0.2, 1)},
    }
    shown = conclude(run_of(exact(arms))).shown
    assert shown.endswith(" Worse by more than 0.5 points are smooth_chaos at S = 0.5 and 0.8; chaos at S = 0.5.")
    loss = exact(arms).assign(accuracy=lambda data: 1 - data["accuracy"])
    metric = Metric("loss", "nats", 1.0, lower_is_better=True)
    turned = conclude(run_of(loss, metric=metric, delta=0.005)).shown
    assert "chaos at S = 0.8 lies more than 0.005 nats below magnitude (" in turned
    assert " Worse by more than 0.005 nats are smooth_chaos at S = 0.5 and 0.8; " in turned


def test_a_dense_reference_has_words_of_its_own() -> None:
    base: dict[float, dict[str, Arm]] = {
        0.5: {"magnitude": (-2.0, 0.05, 0), "smooth_chaos": (0.0, 0.1, 1), "information": (0.0, 0.1, None)},
        0.8: {"magnitude": (-3.0, 0.1, 0), "smooth_chaos": (0.0, 0.2, 1), "information": (-3.0, 0.1, None)},
    }
    dense = exact({0.5: {"dense": (0.0, 0.0, None)}}).assign(sparsity=0.0)
    text = conclude(run_of(pd.concat([dense, exact(base)]), reference="dense")).explained
    assert text.startswith(
        "The control information, of the same saliency and without complexity, is itself shown to S = 0.5. Beyond it, as far as "
        "each scorer reaches, complexity is shown to add more than 0.5 points"
    )


def test_what_later_seeds_take_back_is_said() -> None:
    frame = exact({S: {"magnitude": M, "smooth_chaos": (gain, 0.3, 1)} for S, gain in ((0.5, 3.0), (0.8, 0.0))}, seeds=40)
    frame.loc[(frame.sparsity == 0.5) & (frame.scorer == "smooth_chaos") & (frame.seed >= 8), "accuracy"] -= 0.04
    made = looked(frame)
    line = made.line("smooth_chaos", 0.5)
    assert line is not None
    assert line.verdict is Verdict.ESCAPES
    assert line.simultaneous is not None
    assert line.simultaneous.low < 0.5
    shown = conclude(made).shown
    assert "lies more" not in shown
    assert re.search(
        r"was shown more than 0.5 points above magnitude by look \d of 6, n = \d \(over all 40 seeds since: simultaneous rep",
        shown,
    )
    assert headline(made).endswith("; by all seeds since, smooth_chaos at S = 0.5 no longer lies beyond δ.")
    still = looked(exact({0.5: {"magnitude": M, "smooth_chaos": (3.0, 0.3, 1)}}, seeds=40))
    assert "lies more than 0.5 points above magnitude (simultaneous repeated 95 % interval: [" in conclude(still).shown
    assert "since" not in headline(still)


def test_equal_differences_have_no_interval_and_are_not_said_to_have_one() -> None:
    made = run_of(exact({0.8: {"magnitude": M, "chaos": (2.0, 0.0, 2), "smooth_chaos": (3.0, 0.2, 1)}}))
    assert "lie more than" in conclude(made).shown
    assert "(simultaneous 95 % interval of 1 of 2 lines, the others without a spread: [" in conclude(made).shown


def test_a_scorer_called_as_the_unit_leaves_the_unit_to_be_told() -> None:
    frame = exact({0.8: {"magnitude": M, "points": (3.0, 0.1, 1), "above": (3.0, 0.2, 2)}})
    metric = Metric("loss", "nats", 1.0, lower_is_better=True)
    made = run_of(frame.assign(accuracy=lambda data: 1 - data["accuracy"]), metric=metric, delta=0.005)
    shown = conclude(made).shown
    assert "above" in shown
    assert "points" in shown
    assert "lie more than 0.005 nats below magnitude" in shown


SEARCHED: dict[str, tuple[float, float]] = {"orbit": (3.0, 0.15), "information": (1.0, 0.15), "shuffled": (0.5, 0.15)}


def searched(
    spec: dict[float, dict[str, tuple[float, float]]], beside: dict[float, dict[str, Arm]] | None = None
) -> pd.DataFrame:
    """Fusions by features, of 200 evaluations, beside magnitude and what else is given."""
    arms: dict[float, dict[str, Arm]] = {
        S: {"magnitude": M, **(beside or {}).get(S, {}), **{f"fusion_{name}_200": (*gain, None) for name, gain in found.items()}}
        for S, found in spec.items()
    }
    frame = exact(arms)
    own = frame["scorer"].str.startswith("fusion_")
    frame.loc[own, "budget"], frame.loc[own, "role"] = 200, "searched"
    return frame


def test_a_search_explains_nothing_that_another_scorer_gains() -> None:
    nothing = dict.fromkeys(SEARCHED, (0.0, 0.15))
    chaos: dict[float, dict[str, Arm]] = {0.5: {"chaos": (3.0, 0.15, 2)}, 0.7: {"chaos": (0.0, 0.15, 2)}}
    text = conclude(run_of(searched({0.5: SEARCHED, 0.7: nothing}, chaos))).explained
    assert text.startswith(
        "Not asked of chaos at S = 0.5: no control information, of the same saliency and without complexity, is th"
    )
    assert text.endswith(" Given the same search as information, complexity pays more than 0.5 points with orbit at S = 0.5.")


def test_where_all_is_searched_figure_badge_and_sentences_are_of_the_searches() -> None:
    made = run_of(searched({0.5: SEARCHED, 0.7: {**SEARCHED, "orbit": (1.0, 0.15)}}))
    assert deciding(made) == 0.5
    assert correction(made) == "α = 0.05 held over the whole run, 1 searched reading at 2 S"
    found = conclude(made)
    assert found.shown.startswith(
        "No scorer of κ ≥ 1 is there to be tested beside magnitude. One by one, 6 searched lines come out at δ = 0.5 as "
    )
    assert "4 better" in found.shown
    assert "In practice the best at S = 0.5 is fusion_orbit_200 (+3.00 [" in found.shown, "what is to be used is named"
    assert found.explained == "Given the same search as information, complexity pays more than 0.5 points with orbit at S = 0.5."
    costs = conclude(run_of(searched({0.7: {**SEARCHED, "orbit": (-2.0, 0.15)}})))
    assert costs.explained.endswith("complexity does not pay, and costs more than 0.5 points with orbit at S = 0.7.")
    assert "1 worse" in costs.shown
    undecided = conclude(run_of(searched({0.7: {**SEARCHED, "orbit": (1.5, 0.7)}})))
    assert "whether complexity pays is open in 1 of 1 comparison of searches" in undecided.left
    lacking = run_of(searched({0.7: {"orbit": (3.0, 0.15)}}))
    assert conclude(lacking).explained.startswith(
        "Of searched scorers nothing is tested: the rows hold no fusion_information_200 "
    )
    assert correction(lacking) == "No family to be adjusted over"
