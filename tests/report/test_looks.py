"""The report of a run that is looked at more than once: lines worked out by hand, and nothing said of a fixed number of seeds."""

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from sics_analysis import LookPlan, analyse
from sics_analysis.claims.statement import parse_claim
from sics_analysis.report import FORMATS, ReportDocument, headline, render, report_table
from sics_analysis.report.build import UNKNOWN, build_document
from sics_analysis.report.figures import FIGURES, figure_list
from sics_analysis.report.figures.drawing.style import figure_style
from sics_analysis.report.figures.looks import looks as draw
from sics_analysis.report.tables.looks import looks as looks_table
from sics_analysis.report.tables.looks import price as price_table
from sics_analysis.report.tables.table import ReportTable
from sics_analysis.report.words.answers import answers
from sics_analysis.report.words.looks import ALL_LINES
from sics_analysis.report.words.phrases import sign_flip_note
from sics_analysis.results import IMAGE_ACCURACY, Verdict

PLAN = LookPlan(40, seeds=tuple(range(40)))
#: What each scorer adds, in points, at seed i with a step that sums to 0 over eleven seeds; its κ and role.
SCORERS = {
    "magnitude": (0.0, 0.0, 0, None),
    "flat": (0.0, 0.1, 0, None),
    "chaos": (1.0, 0.2, 2, None),
    "near": (0.4, 0.2, None, "control"),
}


def rows(n: int, sparsities: tuple[float, ...] = (0.7,), without: frozenset[tuple[int, str]] = frozenset()) -> pd.DataFrame:
    made = [
        (i, name, S, 0.9 + 0.0003 * i + (mean + step * ((7 * i) % 11 - 5)) / 100, kappa, role)
        for i in range(n)
        for S in sparsities
        for name, (mean, step, kappa, role) in SCORERS.items()
        if (i, name) not in without
    ]
    return pd.DataFrame(made, columns=["seed", "scorer", "sparsity", "accuracy", "kappa", "role"])


def report(frame: pd.DataFrame, *, targets: tuple[str, ...] = (), gates: tuple[str, ...] = (), **options: Any) -> ReportDocument:
    """The report of a run of this project, where a seed takes a minute."""
    analysis = analyse(frame, looks=PLAN, draws=2_000, metric=IMAGE_ACCURACY, **options)
    source = replace(UNKNOWN.source, seconds=60.0, command="sics-run replicate")
    return build_document(analysis, analysis.rows, replace(UNKNOWN, source=source, targets=targets), [*map(parse_claim, gates)])


@pytest.fixture(scope="module")
def second() -> ReportDocument:
    """After look 2, at 8 seeds, with one seed more."""
    return report(rows(9))


@pytest.fixture(scope="module")
def fourth() -> ReportDocument:
    """After look 4, at 18 seeds, that escape decided."""
    return report(rows(18), targets=("escape:chaos@0.7",), gates=("escape:chaos@0.7", "plateau@0.7"))


@pytest.fixture(scope="module")
def last() -> ReportDocument:
    return report(rows(43))


@pytest.fixture(scope="module")
def before() -> ReportDocument:
    return report(rows(3))


def answer(document: ReportDocument, name: str) -> Any:
    return next(found for found in answers(document) if found.id == name)


def row_of(table: ReportTable, scorer: str) -> dict[str, str]:
    place = [column.heading for column in table.columns].index("Scorer")
    (row,) = [row for row in table.rows if row[place].text == scorer]
    return {column.heading: cell.text for column, cell in zip(table.columns, row, strict=True)}


# -- the lines that the statistics work out ------------------------------------------------------------------------------------


def test_a_line_tells_its_verdict_its_look_and_what_is_left(second: ReportDocument, fourth: ReportDocument) -> None:
    flat = row_of(looks_table(second), "flat")
    assert (flat["Verdict"], flat["At look"], flat["n"], flat["90 % RCI"]) == ("EQUIVALENT", "2", "8", "[−0.40, +0.45]")
    assert flat["p equal"] == "0.0311", "sequential, where the p of the look alone is"
    assert flat["Equal now"] == ".003 ≤ .00502"
    assert (flat["Run"], flat["Chance"]) == ("9", "–")
    chaos = row_of(looks_table(fourth), "chaos")
    assert (chaos["Verdict"], chaos["At look"], chaos["n"], chaos["95 % RCI"]) == ("ESCAPES", "4", "18", "[+0.56, +1.48]")
    assert chaos["p up"] == "0.0115"
    assert chaos["Up now"] == ".002 ≤ .0109"
    near = row_of(looks_table(fourth), "near")
    assert (near["Verdict"], near["Chance"]) == ("NONINFERIOR", "15 %"), "equivalence is open"
    assert "Run" not in near, "every seed of the run was counted"


def test_a_hopeless_line_is_said_to_be_so() -> None:
    narrow = report(rows(27), delta=0.4)
    info = narrow.looks
    assert info is not None
    hopeless = [line for line in info.lines if line.hopeless]
    assert [line.scorer for line in hopeless] == ["near"], "its mean lies on δ"
    assert row_of(looks_table(narrow), "near")["Chance"].endswith("%, hopeless")
    assert "stays counted in its family" in looks_table(narrow).caption
    text = answer(narrow, "next").text
    assert (
        "; 1 of them hopeless (near at S = 0.7): by what is seen, their chance of EQUIVALENT, ESCAPES or DEGRADES by 40" in text
    )


def test_the_price_of_looking_is_that_of_the_plan(second: ReportDocument) -> None:
    table = price_table(second)
    shown = [[cell.text for cell in row][:4] for row in table.rows]
    assert shown == [
        ["5", "yes", ".00625", ".00625"], ["8", "yes", ".01", ".00502"], ["12", "–", ".015", ".00695"],
        ["18", "–", ".0225", ".0109"], ["27", "–", ".0338", ".0174"], ["40", "–", ".05", ".0272"],
    ]  # fmt: skip
    assert second.looks is not None
    for chance in second.looks.chances:
        assert chance.escape is not None
        assert chance.fixed_escape is not None
        assert chance.equivalence is not None
        assert chance.fixed_equivalence is not None
        assert chance.escape < chance.fixed_escape + 1e-9
        assert chance.equivalence < chance.fixed_equivalence + 0.01, "simulated, where the fixed one is exact"


# -- sentences -----------------------------------------------------------------------------------------------------------------


def test_one_plain_sentence_says_what_looks_are(second: ReportDocument) -> None:
    found = answer(second, "looks")
    assert (found.tone, found.short) == ("fact", "2 of 6 looks, at 8 seeds; .01 of .05 spent")
    assert found.text.startswith(
        "The run looks at its results after 5, 8, 12, 18, 27 and 40 seeds and may stop at each look. Testing again and again at "
        "α = 0.05 would make false claims more frequent, so each look may use up only a part of it: all looks together err as "
        "seldom as one test would."
    )
    assert "this look tests a single line at .00502, where 8 seeds fixed beforehand test at .05." in found.text


def test_the_next_look_and_what_it_takes(second: ReportDocument, before: ReportDocument) -> None:
    found = answer(second, "next")
    assert found.short == "Look 3, at 12 seeds"
    assert found.text == (
        "Look 3 of 6, at 12 seeds, takes 3 more seeds (3 minutes on one worker, by what a seed took); it tests a single line at "
        ".00695, .015 of α then being spent. The same command goes on, unless what was asked is decided. 2 lines are open or "
        "shown on one side alone."
    ), "of nine seeds that are there"
    assert answer(before, "next").text.startswith("Look 1 of 6, at 5 seeds, takes 2 more seeds (2 minutes on one worker")


def test_what_was_asked_and_is_decided_ends_the_run(fourth: ReportDocument) -> None:
    assert answer(fourth, "looks").tone == "yes"
    found = answer(fourth, "next")
    assert (found.tone, found.short) == ("yes", "Nothing: what was asked is decided")
    assert found.text == (
        "All that was asked is decided, so that the run is over. Asked for and decided: escape:chaos@0.7. 1 line is open or "
        "shown on one side alone. What is open takes a plan on fresh seeds: --until with --first-seed 40."
    )
    open_ = report(rows(18), targets=("escape:chaos@0.7", ALL_LINES, "nonsuperior:flat@0.7"))
    assert open_.looks is not None
    assert [target.settled for target in open_.looks.targets] == [True, True, True]
    early = report(rows(8), targets=("escape:chaos@0.7", ALL_LINES))
    assert "Asked for and open: escape:chaos@0.7 and a verdict for every line of κ ≥ 1." in answer(early, "next").text


def test_after_the_last_look_no_alpha_is_left(last: ReportDocument) -> None:
    assert last.looks is not None
    assert last.looks.finished
    assert last.settings.stamps == ("3 seeds past the plan's 40: no α is left for them, no verdict rests on them",)
    found = answer(last, "next")
    assert found.short == "The plan is at its end"
    assert found.text.startswith("The last look is made and all of α is spent: more of these seeds would decide nothing.")
    assert found.text.endswith("What is open takes a plan on fresh seeds: --until with --first-seed 43.")
    near = row_of(looks_table(last), "near")
    assert (near["Verdict"], near["90 % RCI"]) == ("NONINFERIOR", "[+0.21, +0.61]")
    assert (near["n"], near["Run"]) == ("40", "43")


def test_a_stop_is_stamped_and_no_fault(second: ReportDocument, fourth: ReportDocument) -> None:
    assert second.settings.stamps == (
        "stopped at look 2 of 6: 0.01 of α = 0.05 spent",
        "1 more seed run since look 2: counted at the next look, 12 seeds",
    )
    assert fourth.settings.stamps == (), "what was asked is decided: it stopped as planned"
    assert any("Stopped at look 4 of 6: 0.0225 of α = 0.05 spent." in note for note in fourth.notes)
    assert not [item for item in second.deviations if item.kind == "stamp"]
    assert "Stamped" not in answer(second, "certainty").text


def test_before_the_first_look_nothing_is_tested(before: ReportDocument) -> None:
    assert headline(before) == "3 of 5 seeds of the first look are there: nothing is tested before it."
    assert all(line.verdict is Verdict.INCONCLUSIVE and line.ci95 is None and line.p_escape is None for line in before.lines)
    assert before.settings.stamps == ("before the first look: 3 of 5 seeds, nothing is tested",)
    with figure_style():
        assert draw(before).reason == "Nothing is tested before the first look."
    for kind in FORMATS:
        assert render(before, kind)


def test_whether_a_sign_flip_test_could_confirm_it(second: ReportDocument) -> None:
    first = report(rows(5))
    note = "An exact sign-flip test cannot confirm a verdict at n = 5: its smallest p is 0.0312 > 0.00625."
    assert sign_flip_note(first) == note
    assert note in answer(first, "certainty").text
    assert any("the last look tests at 0.00625, which such a test cannot reach" in text for text in first.notes)
    assert sign_flip_note(second).endswith("at n = 8: its smallest p is 0.00391 ≤ 0.00502.")


def test_failed_seeds_are_not_asked_for_again() -> None:
    gone = frozenset({(3, "chaos"), *((4, name) for name in SCORERS)})
    found = report(rows(18, without=gone), ended=range(18))
    assert "1 seed of the looks made failed; none is replaced." in answer(found, "looks").text
    assert any(text.startswith("Failed seeds are not replaced: 4.") for text in found.notes)
    assert "leave the scorer out: a seed that was looked at is never replaced" in answer(found, "next").text
    spent = {row_of(looks_table(found), name)["Spent"] for name in ("flat", "chaos")}
    assert spent == {".0213", ".02"}, "17 and 16 of 40 seeds"


# -- nothing of a fixed number of seeds ------------------------------------------------------------------------------------------

#: What reports of a fixed number of seeds say of their tests, intervals and plans.
FIXED = re.compile(
    r"you are here|reach 80 %|settle|--seeds \d|bootstrap-t|BCa|percentile, basic|exactly when|Student t, decides|primary|"
    r"chance of 80 %|exact TOST|least p"
)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind not in ("json", "csv")])
def test_nothing_says_what_holds_of_a_fixed_number_of_seeds(kind: str, second: ReportDocument, fourth: ReportDocument) -> None:
    for document in (second, fourth):
        text = " ".join(re.sub(r"<style>.*?</style>", "", render(document, kind), flags=re.DOTALL).replace("\xa0", " ").split())
        assert not FIXED.findall(text)
        for wanted in ("over all looks together", "What looking costs", "too large on average", "skewed"):
            assert wanted in text or wanted in text.replace("$\\alpha$", "α"), wanted
        assert ("sicsLooks" if kind == "latex" else "Looks") in text


def test_every_interval_is_repeated_and_no_bootstrap_is_kept(fourth: ReportDocument) -> None:
    assert all(line.bca is None and line.studentized is None and line.p_equivalence_signflip is None for line in fourth.lines)
    for line in fourth.lines:
        for found in (line.ci90, line.ci95, line.ci_equivalence, line.simultaneous):
            assert found is None or found.method.startswith("repeated ")
    assert (fourth.next_steps, fourth.power.points) == ((), ())
    assert [claim.status for claim in fourth.gates] == ["supported", "supported"]


def test_dense_networks_of_seeds_that_no_look_counted_are_left_out() -> None:
    frame = rows(9)
    dense = pd.DataFrame([(i, "dense", 0.0, 0.95, None, None) for i in range(9)], columns=frame.columns)
    found = report(pd.concat([frame, dense]))
    assert sorted(cell.seed for cell in found.cells if cell.scorer == "dense") == list(range(8))


# -- kept, drawn, in other units -----------------------------------------------------------------------------------------------


def test_a_kept_report_is_whole_and_one_without_looks_is_as_before(
    second: ReportDocument, fourth: ReportDocument, last: ReportDocument, before: ReportDocument, document: ReportDocument
) -> None:
    for made in (second, fourth, last, before):
        text = made.to_json()
        again = ReportDocument.from_json(text)
        assert again == made
        assert again.to_json() == text
        assert answers(again) == answers(made)
    assert "looks" not in document.to_dict()
    assert ReportDocument.from_dict(document.to_dict()).looks is None
    found = json.loads(second.to_json())["looks"]
    assert (found["plan"]["looks"], found["made"], found["waiting"]) == ([5, 8, 12, 18, 27, 40], 2, [8])
    with pytest.raises(ValueError, match=r"^Expected .*made.* in report\.looks, missing: made$"):
        ReportDocument.from_dict(second.to_dict() | {"looks": {name: found[name] for name in found if name != "made"}})


def test_one_look_is_the_fixed_design() -> None:
    fixed, once = (report_table(rows(5), looks=looks, draws=2_000) for looks in (None, LookPlan(5)))
    assert once == fixed


def test_the_verdicts_as_csv(fourth: ReportDocument, document: ReportDocument) -> None:
    found = {row["scorer"]: row for row in csv.DictReader(io.StringIO(render(fourth, "csv")))}
    chaos = found["chaos"]
    assert (chaos["look"], chaos["n_then"], chaos["hopeless"], chaos["looks_made"], chaos["looks_planned"]) == (
        "4", "18", "False", "4", "6",
    )  # fmt: skip
    assert found["flat"]["n_then"] == "8"
    assert float(found["near"]["chance"]) == pytest.approx(0.149, abs=0.001)
    assert "look" not in render(document, "csv").splitlines()[0].split(",")


def test_the_figure_stands_after_the_forest(fourth: ReportDocument, document: ReportDocument) -> None:
    drawn = figure_list(fourth)
    assert [figure.id for figure in drawn][1:4] == ["equivalence", "looks", "escape"]
    assert "looks" not in FIGURES
    assert "looks" not in [figure.id for figure in figure_list(document)]
    looks = drawn[2]
    assert looks.svg is not None
    assert "▲ look 4" in looks.svg
    assert "chaos, S = 0.7: ESCAPES at look 4 (look 1, 5 seeds: +1.04" in looks.alt
    power = next(figure for figure in drawn if figure.id == "power")
    assert power.svg is not None
    assert "look 4: n = 18" in power.svg


def test_looks_of_a_loss_are_told_in_its_unit_and_direction() -> None:
    frame = rows(18).drop(columns="role").rename(columns={"accuracy": "loss"})
    found = report_table(frame, delta=0.005, looks=PLAN, metric="loss", lower_is_better=True, unit="nats", draws=2_000)
    assert found.looks is not None
    line = found.looks.line("chaos", 0.7)
    assert line.verdict is Verdict.DEGRADES
    assert line.looks[-1].mean == pytest.approx(0.0102, abs=1e-4), "a higher loss, as it is read"
    assert line.looks[-1].ci95 is not None
    assert line.looks[-1].ci95.low > 0.005
    assert "a true escape of 0.01 nats" in answer(found, "looks").text
    for kind in FORMATS:
        assert "accuracy points" not in render(found, kind).replace('"accuracy points"', "")


def test_hostile_names_in_the_looks(hostile_names: tuple[str, ...]) -> None:
    base = rows(8)
    made = [base] + [base[base["scorer"] == "near"].assign(scorer=name, role=None, kappa=1) for name in hostile_names[:4]]
    found = report(pd.concat(made))
    page = render(found, "html")
    assert "<script>alert(1)" not in page
    assert page.count("<script") == 1
    assert {figure.id: figure.svg for figure in figure_list(found)}["looks"] is not None
    for kind in FORMATS:
        assert render(found, kind)
