"""The section about searched scorers: what a reader finds in it, in every format, and what smaller budgets may not do."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from sics_analysis import LookPlan, analyse
from sics_analysis.report import FORMATS, ReportDocument, headline, render, report_table
from sics_analysis.report.build import build_document
from sics_analysis.report.figures import FIGURES
from sics_analysis.report.figures.drawing.style import figure_style
from sics_analysis.report.figures.searched import budgets as draw
from sics_analysis.report.layouts.latex import escaped
from sics_analysis.report.layouts.terminal import print_report
from sics_analysis.report.tables import searched as tables
from sics_analysis.report.words.answers import answers
from sics_analysis.report.words.conclusion import conclude
from sics_analysis.results import IMAGE_ACCURACY, Metric, Verdict

SETS = {
    "orbit": 2.6,
    "smooth_orbit": 1.1,
    "rank_orbit": 0.2,
    "magnitude": 0.8,
    "information": 1.0,
    "spline": 0.9,
    "shuffled": 0.4,
}
ADAPTIVE = {"orbit": 2.4, "information": 1.0, "magnitude": 0.8}
BUDGETS = (1, 10, 200)


def rows(
    sparsities: tuple[float, ...] = (0.7,),
    names: tuple[str, ...] = tuple(SETS),
    *,
    pool: bool = True,
    chaos: bool = True,
    seeds: int = 5,
) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    found = []
    for S in sparsities:
        for seed in range(seeds):
            base = 0.85 + 0.004 * seed

            def row(name: str, points: float, base: float = base, S: float = S, seed: int = seed, **more: Any) -> None:
                value = base + (points + 0.15 * rng.standard_normal()) / 100
                found.append({"seed": seed, "scorer": name, "sparsity": S, "accuracy": value, "loss": 1 - value, **more})

            row("magnitude", 0.0, kappa=0, pool="layer-rank")
            if chaos:
                row("chaos", 0.4, kappa=2, pool="layer-rank")
            if pool:
                row("magnitude/global", -1.0, kappa=0, pool="global")
            searched = [("fusion", name, SETS[name]) for name in names] + [
                ("adaptive", name, gain) for name, gain in ADAPTIVE.items() if name in names
            ]
            for kind, features, gain in searched:
                for budget in BUDGETS:
                    points = gain * (1.0 if budget == 200 else 0.3 if budget == 10 else -20.0)
                    told = {"budget": budget, "held_out": base + (points + 0.9) / 100, "held_out_reference": base}
                    told |= {"held_out_loss": 0.15, "held_out_reference_loss": 0.2, "weights": "rho +0.8, orbit_mean −0.2"}
                    row(f"{kind}_{features}_{budget}", points, pool="layer-rank", role="searched", **told)
    return pd.DataFrame(found)


def document_of(frame: pd.DataFrame, **options: Any) -> ReportDocument:
    return report_table(frame, metric=IMAGE_ACCURACY, draws=500, title="searched", **options)


@pytest.fixture(scope="module")
def whole() -> ReportDocument:
    return document_of(rows((0.5, 0.7)))


@pytest.fixture(scope="module")
def single() -> ReportDocument:
    return document_of(rows(chaos=False, pool=False))


_SHOWN: dict[tuple[int, str], tuple[ReportDocument, str]] = {}


def shown(document: ReportDocument, kind: str) -> str:
    """The document in a format, rendered once: a page has a dozen figures."""
    key = id(document), kind
    if key not in _SHOWN:
        _SHOWN[key] = document, render(document, kind)
    return _SHOWN[key][1]


def words(document: ReportDocument, kind: str) -> str:
    text = shown(document, kind)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text) if kind == "html" else text)


def test_json_goes_and_comes_back_with_all_of_it(whole: ReportDocument) -> None:
    assert ReportDocument.from_json(whole.to_json()) == whole
    found = json.loads(whole.to_json())["searched"]
    assert len(found["splits"]) == 2 * 3
    assert len(found["beside"]) == 2 * (3 + 3 + 1 + 1)
    assert len(found["points"]) == 2 * 10 * 3
    assert len(found["pools"]) == 2
    for split in found["splits"]:
        parts = [split[name]["mean"] for name in ("search", "information", "complexity")]
        assert sum(parts) == pytest.approx(split["gain"]["mean"])


def test_every_format_has_the_section_and_its_conclusions(whole: ReportDocument) -> None:
    assert whole.searched is not None
    for kind in ("html", "md", "terminal"):
        text = words(whole, kind)
        assert "Searched scorers" in text
        for title in ("What a search gains", "Gain by budget", "Over-fitting by budget", "What normalisation gains"):
            assert title in text, (kind, title)
        assert "Complexity pays: more than 0.5 points over the same search without it, and over magnitude." in text
        assert "A searched scorer has no κ" in text
        assert "one family an S, the readings of the paper" in text
        assert "the search over-fits in 10 of 10" in text
    assert r"\sicsSplit" in shown(whole, "latex")
    kept = ReportDocument.from_json(whole.to_json())
    assert all(shown(whole, kind) == render(kept, kind) for kind in ("md", "terminal", "csv"))


def test_without_searched_scorers_there_is_no_such_section(make_table: Callable[..., pd.DataFrame]) -> None:
    plain = document_of(make_table({"magnitude": [0.0] * 5, "mine": [1.0, 1.2, 0.9, 1.1, 1.0]}))
    assert plain.searched is None
    assert "searched" not in plain.to_dict()
    assert plain.largest is plain
    for kind in ("html", "md", "terminal", "latex"):
        text = shown(plain, kind)
        assert "earched scorer" not in text
        assert 'id="figure-searched"' not in text
    assert "searched" not in FIGURES


def test_another_pool_alone_is_told_of_without_a_split() -> None:
    found = document_of(rows(names=()))
    assert found.searched is not None
    assert (found.searched.splits, found.searched.points) == ((), ())
    assert "What normalisation gains" in words(found, "terminal")
    assert 'id="figure-searched"' not in shown(found, "html")
    text = words(found, "md")
    assert "What normalisation gains" in text
    assert "What a search gains" not in text
    assert "searched" not in [answer.id for answer in answers(found)]


def test_smaller_budgets_are_in_the_rows_and_in_no_other_table_or_figure(whole: ReportDocument) -> None:
    assert whole.searched is not None
    assert set(whole.searched.smaller) == {name for line in whole.lines for name in [line.scorer] if name.endswith(("_1", "_10"))}
    for kind in ("html", "md", "terminal", "latex"):
        text = re.sub(r"<svg\b.*?</svg>", "", shown(whole, kind), flags=re.DOTALL)
        assert "fusion_orbit_10" not in re.sub(r"\\allowbreak{}|\\(?=_)", "", text), kind
    assert "fusion_orbit_10," in shown(whole, "csv")
    assert '"fusion_orbit_10"' in whole.to_json()
    less = document_of(rows((0.5, 0.7))[lambda frame: ~frame["scorer"].str.endswith(("_1", "_10"))])
    seen = whole.largest
    assert [scorer.name for scorer in seen.scorers] == [scorer.name for scorer in less.scorers]
    kept = ("n", "mean", "verdict", "p_equivalence_holm", "p_escape_adjusted", "ci95")
    for ours, theirs in zip(seen.lines, less.lines, strict=True):
        assert [getattr(ours, name) for name in kept] == [getattr(theirs, name) for name in kept]
    assert headline(whole) == headline(less)
    both = [[answer.text for answer in answers(found) if answer.id != "paper"] for found in (whole, less)]
    assert both[0] == both[1]  # claims of equal weights are about the smallest budget


def test_the_answer_says_what_is_shown_and_over_what(whole: ReportDocument) -> None:
    (answer,) = [answer for answer in answers(whole) if answer.id == "searched"]
    assert (answer.tone, answer.short) == (
        "yes",
        "Yes: orbit at S = 0.5 and 0.7; it costs more than 0.5 with rank_orbit at S = 0.5 and 0.7",
    )
    assert "in 6 comparisons: it pays more than 0.5 points in 2" in answer.text
    assert "is shown to look better than on the test examples in 20 of 20" in answer.text
    assert whole.searched is not None
    within = tuple(replace(split, p_pays_delta_run=0.2) for split in whole.searched.splits)
    (answer,) = [
        found for found in answers(replace(whole, searched=replace(whole.searched, splits=within))) if found.id == "searched"
    ]
    assert (answer.tone, answer.short[:35]) == ("fact", "Not shown above 0.5 over the whole ")


def test_no_answer_is_a_yes_where_noise_by_the_same_search_does_as_well() -> None:
    frame = worked()
    short = frame["scorer"].isin(["fusion_information_50", "magnitude"])  # noise reaches what the fusion does, the control not
    noise = frame[frame["scorer"] == "fusion_orbit_50"].assign(scorer="fusion_shuffled_50")
    noise["correct"] += [0, -1, 1, 0, 0]
    noise["accuracy"] = noise["correct"] / noise["n"]
    kept = frame[short | (frame["scorer"] == "fusion_orbit_50")]
    found = document_of(pd.concat([kept, noise], ignore_index=True))
    (answer,) = [answer for answer in answers(found) if answer.id == "searched"]
    assert answer.tone == "open"
    assert answer.short == "Not shown; above information but not above shuffled features: orbit at S = 0.7"
    assert "it is above its control and not shown above shuffled features by the same search in 1" in answer.text
    assert (
        "Where there is a gain and complexity is not shown to pay (1)" in answer.text
    )  # what it is due to is told of it as well
    assert "complexity is shown to pay in 0 of 1 comparison" in headline(found)
    assert "hether complexity pays is open in 1 of 1 comparison of searches" in conclude(found).left
    assert ReportDocument.from_dict(found.to_dict()) == found


def test_where_searched_scorers_are_all_there_is_the_headline_is_of_them(single: ReportDocument) -> None:
    assert headline(single) == (
        "No scorer of κ ≥ 1 is there to escape the magnitude plateau; complexity is shown to pay in 1 of 3 comparisons with a "
        "control of the same search."
    )


def test_without_a_control_nothing_is_said_of_complexity_anywhere() -> None:
    found = document_of(rows(names=("orbit",)))
    (answer,) = [answer for answer in answers(found) if answer.id == "searched"]
    assert (answer.tone, answer.short) == ("open", "Not tested")
    for kind in ("html", "md", "terminal"):
        text = words(found, kind)
        assert "omplexity pays" not in text
        assert "the rows hold no fusion_information_200" in text


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_render_everywhere_and_settle_nothing(seeds: int) -> None:
    found = document_of(rows(seeds=seeds))
    for kind in FORMATS if seeds == 1 else ("md", "terminal", "json"):
        assert not re.search(r"\bnan\b", shown(found, kind).lower())
    assert "not settled" in words(found, "md")


def test_the_tables_have_a_row_a_reading_and_a_search(whole: ReportDocument) -> None:
    split = tables.split(whole)
    assert [row[1].text for row in split.rows] == ["orbit", "smooth_orbit", "rank_orbit"] * 2
    curve = tables.curve(whole)
    assert [column.short for column in curve.columns] == ["S", "features", "1", "10", "200"]
    assert len(curve.rows) == 2 * 10
    assert re.fullmatch(r"\+2\.\d\d \[\+2\.\d\d, \+2\.\d\d\]", curve.rows[0][4].text), "a mean with its interval"
    gap = tables.gap(whole)
    assert [column.short for column in gap.columns][-3:] == ["p > 0", "found", "of the loss"]
    assert gap.rows[0][-2].text == "over-fits"
    assert whole.searched is not None
    loss = whole.searched.points[2].gap_loss
    assert loss is not None
    # Held-out losses are .05 lower than the reference's, test losses as much lower as accuracies are higher.
    gains = [line for line in whole.lines if (line.scorer, line.sparsity) == ("fusion_orbit_200", 0.5)]
    assert loss.mean == pytest.approx(-0.05 + gains[0].mean / 100)  # type: ignore[operator]


def test_a_flag_of_the_data_stands_at_the_verdict_it_touches() -> None:
    frame = rows()
    frame = frame[~((frame["scorer"] == "fusion_information_200") & (frame["seed"] == 0))]
    found = document_of(frame)
    assert found.open_checks
    assert all(row[-1].glyph.endswith("!") for row in tables.split(found).narrow("S", "verdict").rows)


def test_less_is_better_is_told_in_its_own_direction(whole: ReportDocument) -> None:
    frame = rows((0.5, 0.7))
    for name in ("accuracy", "held_out", "held_out_reference"):
        frame[name] = 100 * (1 - frame[name])
    turned = report_table(frame, metric=Metric("ppl", "ppl", 1.0, lower_is_better=True), delta=0.5, draws=500)
    assert turned.searched is not None
    assert whole.searched is not None
    for ours, theirs in zip(turned.searched.splits, whole.searched.splits, strict=True):
        assert ours.gain.mean == pytest.approx(-theirs.gain.mean)  # type: ignore[operator]
        assert ours.verdict is theirs.verdict
        assert ours.pays == theirs.pays
    for one, two in zip(turned.searched.points, whole.searched.points, strict=True):
        assert one.gap is not None
        assert two.gap is not None
        assert one.gap.mean == pytest.approx(-two.gap.mean)  # type: ignore[operator]
        assert one.gap_loss is not None
        assert two.gap_loss is not None
        assert one.gap_loss.mean == pytest.approx(two.gap_loss.mean), "a loss has less as better already"
    assert "−2." in words(turned, "md").split("What a search gains")[1]
    (ours,) = [answer for answer in answers(turned) if answer.id == "searched"]
    (theirs,) = [answer for answer in answers(whole) if answer.id == "searched"]
    assert ours.short == theirs.short


def test_the_figure_has_a_line_a_set_with_its_name_and_marks_what_leaves_it(whole: ReportDocument) -> None:
    svg = re.search(r'id="figure-searched".*?(<svg\b.*?</svg>)', shown(whole, "html"), re.DOTALL)
    assert svg is not None
    names = [*(f"fusion_{name}" for name in SETS), "plateau = 0"]
    for name in names:
        assert f">{name}<" in svg[1], name
    assert svg[1].count(">plateau = 0<") == 2, "in each panel"
    assert "▾ −" in svg[1], "the first evaluation lies far below"
    with figure_style():
        sketch = draw(whole)
    assert sketch.drawing is not None
    labels = [text for axes in sketch.drawing.canvas.axes for text in axes.texts if text.get_text() in names]
    assert len(labels) == 2 * 8
    for axes in sketch.drawing.canvas.axes:
        low, high = axes.get_ylim()
        heights = sorted(text.get_position()[1] for text in axes.texts if text in labels)
        line = 7 / 72 / 1.75 * (high - low)  # of type, in points of a panel of so many inches
        assert all(above - below > line for below, above in pairwise(heights)), "no name runs into another"
        assert heights[-1] <= high


def test_a_terminal_of_80_columns_holds_every_table(whole: ReportDocument) -> None:
    out = io.StringIO()
    print_report(Console(file=out, width=80, highlight=False, color_system=None), whole)
    part = out.getvalue().split("Searched scorers  gain")[1].split("What to do next")[0]
    assert max(map(len, part.splitlines())) <= 80
    for line in part.splitlines():
        assert "INCONCLUSIV" not in line.replace("INCONCLUSIVE", "")
    assert Verdict.ESCAPES in part


def worked() -> pd.DataFrame:
    """Five seeds whose every number is known: half a point a test example, a point a held-out one."""
    above = {
        "fusion_orbit_50": (8, 9, 7, 8, 9), "fusion_orbit_10": (3, 2, 4, 3, 3), "fusion_information_50": (2, 3, 3, 2, 2),
        "fusion_shuffled_50": (1, 2, 1, 2, 1), "fusion_spline_50": (4, 6, 5, 4, 7), "magnitude/global": (-4, -6, -5, -4, -7),
    }  # fmt: skip
    rows = []
    for seed in range(5):
        right = 160 + seed
        rows.append({"seed": seed, "scorer": "magnitude", "sparsity": 0.7, "correct": right, "n": 200, "kappa": 0})
        for name, counts in above.items():
            found = {"seed": seed, "scorer": name, "sparsity": 0.7, "correct": right + counts[seed], "n": 200}
            if name.startswith("fusion"):
                found |= {"budget": int(name.rpartition("_")[2]), "weights": "rho +0.8, z −0.2", "role": "searched"}
                found |= {"held_out": 0.81 + seed % 3 / 100 + counts[seed] / 200, "held_out_reference": 0.8}
            rows.append(found)
    frame = pd.DataFrame(rows)
    return frame.assign(accuracy=frame["correct"] / frame["n"])


def test_every_format_says_whether_an_adaptive_scorer_wins_against_its_controls(whole: ReportDocument) -> None:
    assert whole.searched is not None
    own = [row for row in whole.searched.beside if row.kind == "adaptive"]
    assert {row.control for row in own} == {"adaptive_information_200", "adaptive_magnitude_200"}
    for S in (0.5, 0.7):
        said = " ".join(row.conclusion for row in own if row.sparsity == S)
        assert said.startswith("Better than adaptive_information_200 and magnitude by more than 0.5 points.")
        for kind in ("html", "md", "terminal"):
            assert f"S = {S:g}, adaptive_orbit_200: {said}" in words(whole, kind).replace("\\_", "_")
        assert escaped(said) in shown(whole, "latex")


def test_snapshot_of_the_section(snapshot: Any) -> None:
    text = render(document_of(worked()), "md")
    snapshot("searched.md", text[text.index("## Searched scorers") : text.index("## The paper's claims")])


def test_the_section_of_a_run_with_looks() -> None:
    frame = pd.concat([worked().assign(seed=lambda rows, k=k: rows["seed"] + 5 * k) for k in range(3)])
    # Every fifth seed would be a copy of another: each has a level of its own.
    frame["accuracy"] += 0.005 * (frame["seed"] // 5)
    frame = frame.drop(columns=["correct", "n"])
    plan = LookPlan(20, seeds=tuple(range(20)))
    analysis = analyse(frame, looks=plan, draws=500, metric=IMAGE_ACCURACY)
    document = build_document(analysis, analysis.rows)
    assert document.looks is not None
    assert document.searched is not None
    assert {split.n for split in document.searched.splits} == {12}
    for kind in FORMATS:
        render(document, kind)
    for kind in ("html", "md", "terminal"):
        assert re.search(r"S = 0\.\d, orbit: .*? \(at look \d of \d, n = \d+\)\.", words(document, kind))
    assert "p are sequential, intervals repeated" in words(document, "html")
    assert "fusion_orbit_10" in [line.scorer for line in document.looks.lines]
    assert document.largest.looks is not None
    assert "fusion_orbit_10" not in [line.scorer for line in document.largest.looks.lines]
