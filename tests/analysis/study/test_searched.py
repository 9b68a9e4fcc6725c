"""Searched scorers from a table to what is said of them: worked out by hand, and under what may be missing or not match."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sics_analysis import Analysis, LookPlan, Verdict, analyse
from sics_analysis.families.searched import SearchedGain
from sics_analysis.results import Metric
from sics_analysis.rows.table import read_table
from sics_analysis.study.searched import searched_study
from sics_analysis.study.steps import Setting

pytestmark = pytest.mark.filterwarnings("ignore::sics_analysis.DataCheckWarning")

N, HELD = 200, 100
MAGNITUDE = (160, 161, 162, 163)
#: Test examples that each has right above magnitude's, by seed: half a point each.
ABOVE = {
    "fusion_shuffled_200": (1, 2, 1, 2),
    "fusion_information_200": (2, 3, 3, 2),
    "fusion_orbit_200": (8, 9, 7, 8),
    "fusion_orbit_10": (3, 2, 2, 3),
}
#: Held-out examples that each has right above magnitude's: a point each.
ABOVE_HELD_OUT = {
    "fusion_shuffled_200": (1, 1, 2, 2),
    "fusion_information_200": (2, 2, 2, 2),
    "fusion_orbit_200": (6, 6, 6, 6),
    "fusion_orbit_10": (3, 3, 3, 3),
}


def worked(above: dict[str, tuple[int, ...]] | None = None, sparsity: float = 0.7, **columns: Any) -> pd.DataFrame:
    rows, above = [], above or ABOVE
    for name, counts in {"magnitude": (0,) * max(map(len, above.values())), **above}.items():
        for seed, more in enumerate(counts):
            correct = MAGNITUDE[seed % 4] + more
            row = {"seed": seed, "scorer": name, "sparsity": sparsity, "correct": correct, "n": N, "accuracy": correct / N}
            row["kappa"] = 0 if name == "magnitude" else None
            row["loss"] = 1 - correct / N
            if name.startswith("fusion"):
                held_out = (80 + ABOVE_HELD_OUT.get(name, (0,) * 4)[seed % 4]) / HELD
                row |= {"role": "searched", "budget": int(name.rpartition("_")[2]), "held_out": held_out}
                row |= {"held_out_reference": 0.8, "held_out_loss": 1 - held_out, "held_out_reference_loss": 0.2}
            rows.append(row)
    return pd.DataFrame(rows).assign(**columns)


def analysed(frame: pd.DataFrame, **options: Any) -> Analysis:
    return analyse(frame, draws=1_000, **options)


def gain_of(analysis: Analysis, features: str = "orbit") -> SearchedGain:
    assert analysis.searched is not None
    (found,) = [gain for gain in analysis.searched.gains if gain.name.features == features]
    return found


def test_by_hand_the_parts_add_up_to_the_gain() -> None:
    gain = gain_of(analysed(worked()))
    assert gain.line is not None
    assert gain.search is not None
    assert gain.information is not None
    assert gain.search.differences == (0.5, 1.0, 0.5, 1.0)
    assert gain.information.differences == (0.5, 0.5, 1.0, 0.0)
    assert gain.line.complexity.differences == (3.0, 3.0, 2.0, 3.0)
    assert gain.gain.differences == (4.0, 4.5, 3.5, 4.0)
    assert (gain.search.mean, gain.information.mean, gain.line.complexity.mean, gain.gain.mean) == (0.75, 0.5, 2.75, 4.0)
    row = gain.to_row()
    assert row["search"] + row["information"] + row["complexity"] == row["gain"] == 4.0  # type: ignore[operator]
    # One reading, so that the family's p is its own: mean 2.75, sd ½, four seeds.
    assert row["p_escape_adjusted"] == pytest.approx(stats.t.sf((2.75 - 0.5) / 0.25, 3))
    assert row["verdict"] == "ESCAPES"
    assert gain.pays
    assert gain.conclusion() == "Complexity pays: more than 0.5 points over the same search without it, and over magnitude."


def test_being_above_a_control_that_noise_beats_as_well_is_not_complexity() -> None:
    """`information` by hand 4 points below what the search finds in noise: orbit − shuffled is 0, 0, −0.5, +0.5 points."""
    above = {**ABOVE, "fusion_shuffled_200": (8, 9, 8, 7), "fusion_information_200": (1, 2, 1, 0)}
    gain = gain_of(analysed(worked(above)))
    assert gain.noise is not None
    assert gain.noise.differences == (0.0, 0.0, -0.5, 0.5)
    assert gain.pays  # as a claim about that control is declared
    assert gain.above_noise is False
    assert gain.conclusion() == (
        "Its control is beaten (more than 0.5 points over the same search without it, and over magnitude), shuffled features by "
        "the same search are not (0.00 95 % CI [−0.65, +0.65] over them): that complexity is what pays is not shown."
    )
    assert gain.to_row()["above_noise"] is False
    alone = gain_of(analysed(worked({name: counts for name, counts in above.items() if name != "fusion_shuffled_200"})))
    assert (alone.noise, alone.above_noise) == (None, None)
    assert alone.conclusion().startswith("Complexity pays: ")


def test_by_hand_the_gap_is_what_the_held_out_examples_flattered() -> None:
    analysis = analysed(worked())
    assert analysis.searched is not None
    points = {point.scorer: point for point in analysis.searched.points}
    orbit = points["fusion_orbit_200"]
    assert orbit.gap is not None
    assert orbit.gap.differences == pytest.approx((2.0, 1.5, 2.5, 2.0))
    assert orbit.p_gap == pytest.approx(stats.ttest_1samp([2.0, 1.5, 2.5, 2.0], 0, alternative="greater").pvalue)
    # Three searches have their largest budget here; 10 evaluations of one of them are no fourth.
    assert points["fusion_orbit_10"].p_gap_holm is None
    assert orbit.p_gap_holm == pytest.approx(3 * orbit.p_gap)  # type: ignore[operator]
    assert orbit.over_fits(0.05)
    # Losses are 1 − accuracy here, so that the gap of the loss is that of the accuracy with better upwards, as a fraction.
    assert orbit.gap_loss is not None
    assert orbit.gap_loss.differences == pytest.approx([value / 100 for value in orbit.gap.differences])
    assert analysis.searched.over_fitting(0.7) == (
        "At S = 0.7, with the largest budgets, the search over-fits in 2 of 3 (fusion_information_200 by +0.75 95 % CI "
        "[+0.29, +1.21], fusion_orbit_200 by +2.00 95 % CI [+1.35, +2.65]); in 1 of 3 it is not settled whether the search "
        "over-fits."
    )


def test_smaller_budgets_are_in_the_rows_and_in_no_correction() -> None:
    analysis = analysed(worked())
    assert analysis.searched is not None
    assert analysis.searched.smaller == ("fusion_orbit_10",)
    without = analysed(worked({name: above for name, above in ABOVE.items() if name != "fusion_orbit_10"}))
    line, alone = analysis.line("fusion_orbit_200", 0.7).to_row(), without.line("fusion_orbit_200", 0.7).to_row()
    assert line == alone
    assert analysis.line("fusion_orbit_10", 0.7).to_row()["p_equivalence_holm"] is None
    assert gain_of(analysis).to_row() == gain_of(without).to_row()
    assert not analysis.families[0].members


def test_nothing_is_said_of_complexity_against_the_reference_alone() -> None:
    gain = gain_of(analysed(worked({"fusion_orbit_200": ABOVE["fusion_orbit_200"]})))
    assert gain.gain.mean == 4.0
    assert gain.line is None
    assert not gain.pays
    assert gain.conclusion() == (
        "Nothing is said of complexity: the rows hold no fusion_information_200 at S = 0.7; the rows hold no "
        "fusion_shuffled_200 at S = 0.7."
    )


def test_without_shuffled_features_search_and_information_stay_together() -> None:
    gain = gain_of(analysed(worked({name: above for name, above in ABOVE.items() if "shuffled" not in name})))
    assert (gain.search, gain.information) == (None, None)
    assert gain.line is not None
    assert (gain.line.information.mean, gain.line.complexity.mean, gain.gain.mean) == (1.25, 2.75, 4.0)
    assert "+1.25 is what the same search gains with information" in gain.describe()


def test_a_control_of_another_budget_is_named_and_gives_no_verdict() -> None:
    frame = worked()
    frame = frame.assign(scorer=frame["scorer"].replace({"fusion_information_200": "fusion_information_50"}))
    found = analysed(frame)
    assert gain_of(found).line is None
    assert "fusion_information_50 is a control of another budget than fusion_orbit_200 at S = 0.7" in gain_of(found).conclusion()
    assert found.searched is not None
    assert any("another budget" in remark for remark in found.searched.remarks)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budget": 50}, "fusion_information_200 had a budget of 50 at seed 2"),
        ({"held_out_reference": 0.79}, "on other held-out examples than fusion_orbit_200 at seed 2"),
        ({"held_out_reference_loss": 0.21}, "on other held-out examples than fusion_orbit_200 at seed 2"),
        ({"held_out_n": 50}, "on another number of held-out examples than fusion_orbit_200 at seed 2 and S = 0.7 (50, not 100)"),
        ({"objective": "loss"}, "for another objective than fusion_orbit_200 at seed 2 and S = 0.7 (loss, not accuracy)"),
    ],
)
def test_a_search_of_another_kind_is_no_matched_control(change: dict[str, Any], said: str) -> None:
    frame = worked(held_out_n=HELD, objective="accuracy")
    where = (frame["scorer"] == "fusion_information_200") & (frame["seed"] == 2)
    for column, value in change.items():
        frame.loc[where, column] = value
    gain = gain_of(analysed(frame))
    assert gain.line is None
    assert said in gain.conclusion()


def test_rows_that_do_not_say_what_was_searched_on_are_matched_by_name_and_it_is_said() -> None:
    frame = worked().drop(columns=[name for name in worked().columns if name.startswith("held_out")])
    found = analysed(frame)
    assert gain_of(found).pays
    assert found.searched is not None
    assert any("matched by name and budget alone" in remark for remark in found.searched.remarks)
    assert any("held_out_reference" in remark for remark in found.searched.remarks), "and why there is no gap"
    assert all(point.gap is None for point in found.searched.points)


def test_held_out_results_beside_another_reference_make_no_gap() -> None:
    found = analysed(worked(held_out_against="l1"))
    assert found.searched is not None
    assert all(point.gap is None and point.gap_loss is None for point in found.searched.points)
    assert found.searched.remarks == ("Where the over-fitting gap is missing, the rows have l1 held out, and not magnitude.",)
    assert gain_of(found).pays
    same = analysed(worked(held_out_against="magnitude")).searched
    assert same is not None
    assert same.to_dict() == analysed(worked()).searched.to_dict()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"unpaired": True}, "unpaired"),
        ({"reference": "fusion_shuffled_200"}, "itself a searched scorer"),
        ({"reference": "dense"}, "the dense network"),
    ],
)
def test_without_pairs_or_a_scorer_to_gain_over_there_is_no_split(options: dict[str, Any], said: str) -> None:
    dense = worked({"magnitude": (0,) * 4}).drop_duplicates("seed").assign(scorer="dense", sparsity=0.0)
    found = analysed(pd.concat([worked(), dense], ignore_index=True), **options).searched
    assert found is not None
    assert said in found.reason
    assert not found.gains
    assert not found.points


def test_one_seed_says_nothing_and_fails_nowhere() -> None:
    analysis = analysed(worked()[lambda frame: frame["seed"] == 0])
    gain = gain_of(analysis)
    assert gain.line is not None
    assert gain.line.verdict is Verdict.INCONCLUSIVE
    assert "not settled" in gain.conclusion()
    assert gain.to_row()["gain"] == 4.0
    json.dumps(analysis.to_dict(), allow_nan=False)
    assert analysis.searched is not None
    assert "not settled" in analysis.searched.over_fitting(0.7)


def test_failed_seeds_leave_the_seeds_that_all_parts_have() -> None:
    frame = worked()
    gain = gain_of(analysed(frame[~((frame["scorer"] == "fusion_information_200") & (frame["seed"] == 1))]))
    assert gain.n == 3
    assert gain.line is not None
    parts = (gain.gain, gain.search, gain.information, gain.line.complexity)
    assert {part.seeds for part in parts if part is not None} == {(0, 2, 3)}


def test_a_failed_seed_of_shuffled_features_takes_none_from_the_test_of_complexity() -> None:
    frame = worked()
    analysis = analysed(frame[~((frame["scorer"] == "fusion_shuffled_200") & (frame["seed"] == 1))])
    gain = gain_of(analysis)
    assert (gain.n, gain.search, gain.information) == (4, None, None)
    assert gain.pays
    assert analysis.searched is not None
    assert (
        "fusion_shuffled_200 has no result for seed 1 at S = 0.7: it takes no part in the split there."
        in analysis.searched.remarks
    )


def test_a_failed_seed_of_shuffled_features_makes_no_yes_of_a_gain_that_noise_has_as_well() -> None:
    above = {**ABOVE, "fusion_shuffled_200": (8, 9, 8, 7), "fusion_information_200": (1, 2, 1, 0)}
    frame = worked(above)
    gain = gain_of(analysed(frame[~((frame["scorer"] == "fusion_shuffled_200") & (frame["seed"] == 0))]))
    assert (gain.n, gain.search, gain.information) == (4, None, None)
    assert gain.noise is not None
    assert gain.noise.differences == (0.0, -0.5, 0.5)
    assert gain.above_noise is False
    assert "that complexity is what pays is not shown" in gain.conclusion()


def test_a_margin_below_the_noise_decides_nothing() -> None:
    gain = gain_of(analysed(worked(), noise_floor=0.6))
    assert gain.line is not None
    assert gain.line.verdict is Verdict.INCONCLUSIVE
    assert not gain.pays
    assert "noise floor" in gain.conclusion()


def test_where_complexity_does_not_pay_the_gain_is_named_for_what_it_is_due_to() -> None:
    above = {
        "fusion_shuffled_200": (4, 5, 4, 5, 4, 5),
        "fusion_information_200": (8, 9, 9, 8, 8, 9),
        "fusion_orbit_200": (8, 9, 9, 8, 9, 8),
    }
    gain = gain_of(analysed(worked(above)))
    assert gain.line is not None
    assert gain.line.verdict is Verdict.EQUIVALENT
    assert not gain.pays
    due = "the gain is due to what the search finds with any features (+2.25) and what information adds (+2.00)"
    assert gain.conclusion() == f"Complexity adds nothing, to within 0.5 points; {due}."


def test_less_is_better_turns_nothing_over() -> None:
    frame = worked()
    for name in ("accuracy", "held_out", "held_out_reference"):
        frame[name] = 10 * (1 - frame[name])
    frame = frame.drop(columns=["correct", "n"])
    found = analysed(frame, metric=Metric("ppl", "ppl", 1.0, lower_is_better=True), delta=0.05)
    gain, (point,) = gain_of(found), [p for p in found.searched.points if p.scorer == "fusion_orbit_200"]  # type: ignore[union-attr]
    assert gain.gain.mean == pytest.approx(0.4)
    assert gain.pays
    assert point.gap is not None
    assert point.gap.mean == pytest.approx(0.2), "better looking on the held-out examples, so above 0"


def test_another_pool_tells_what_the_normalisation_gains() -> None:
    rows = worked({"fusion_orbit_200": ABOVE["fusion_orbit_200"], "magnitude/global": (-4, -6, -5, -7)})
    rows["pool"] = ["global" if name == "magnitude/global" else "layer-rank" for name in rows["scorer"]]
    rows.loc[rows["scorer"] == "magnitude/global", "kappa"] = 0
    found = analysed(rows)
    assert found.searched is not None
    (pool,) = found.searched.pools
    assert (pool.scorer, pool.pool, pool.own) == ("magnitude", "global", "layer-rank")
    assert pool.contrast.differences == (2.0, 3.0, 2.5, 3.5)
    assert pool.decision.verdict is Verdict.ESCAPES
    assert found.plateau(0.7) is None, "one of another pool is on another plateau"
    alone = analysed(rows[~rows["scorer"].str.startswith("fusion")]).searched
    assert alone is not None
    assert (len(alone.pools), alone.gains, alone.reason) == (1, (), "")


def test_a_table_without_either_has_no_such_part() -> None:
    found = analysed(worked({"mine": (1, 2, 3, 4)}, budget=5))
    assert found.searched is None
    assert "searched" not in found.to_dict()


def random_rows(seeds: int, rng: np.random.Generator, sparsities: tuple[float, ...] = (0.7,)) -> pd.DataFrame:
    names = ("fusion_orbit_50", "fusion_smooth_orbit_50", "fusion_rank_orbit_50", "fusion_information_50", "fusion_shuffled_50")
    rows = [
        {
            "seed": seed, "scorer": name, "sparsity": S, "accuracy": 0.8 + 0.01 * rng.random(),
            "held_out": 0.8 + 0.01 * rng.random(), "held_out_reference": 0.8,
        }
        for S in sparsities
        for seed in range(seeds)
        for name in ("magnitude", *names)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@settings(max_examples=8, deadline=None)
@given(st.integers(3, 7), st.integers(0, 2**32 - 1))
def test_the_order_of_rows_and_the_labels_of_seeds_change_nothing(seeds: int, root: int) -> None:
    rng = np.random.default_rng(root)
    frame = random_rows(seeds, rng)
    one = analyse(frame, draws=200).searched
    relabelled = frame.sample(frac=1, random_state=rng.integers(2**31))
    relabelled = relabelled.assign(seed=relabelled["seed"].map(dict(enumerate(rng.permutation(seeds) + 100))))
    two = analyse(relabelled, draws=200).searched
    assert one is not None
    assert two is not None
    assert one.to_dict() == two.to_dict()
    for gain in one.gains:
        row = gain.to_row()
        assert row["search"] + row["information"] + row["complexity"] == pytest.approx(row["gain"], abs=1e-9)  # type: ignore[operator]


def test_a_true_null_is_seldom_said_to_pay() -> None:
    """Type I error of "complexity pays by δ" over the paper's three readings, each exactly δ above the matched control
    and far above the reference, so that the control decides."""
    rng = np.random.default_rng(20)
    said, runs = 0, 80
    for _ in range(runs):
        frame = random_rows(6, rng)
        level = frame.groupby("seed")["accuracy"].transform("mean")
        own = frame["scorer"].isin([f"fusion_{name}_50" for name in ("orbit", "smooth_orbit", "rank_orbit")])
        frame["accuracy"] = (
            level + 0.003 * rng.standard_normal(len(frame)) + 0.005 * own - 0.05 * (frame["scorer"] == "magnitude")
        )
        study = searched_study(Setting(read_table(frame), "magnitude", 0.5, 0.05, int(rng.integers(2**31)), 400, 1, {}))
        assert study is not None
        said += any(gain.pays_delta for gain in study.gains)
    assert 0 < said / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5


def test_over_several_sparsities_what_holds_within_one_alone_is_called_that() -> None:
    rng = np.random.default_rng(3)
    frame = random_rows(6, rng, sparsities=(0.5, 0.6, 0.7, 0.8))
    study = analyse(frame, draws=500).searched
    assert study is not None
    assert len(study.gains) == 12
    for gain in study.gains:
        assert gain.line is not None
        assert gain.p_pays_delta_run is not None
        assert gain.p_pays_delta is not None
        assert gain.p_pays_delta_run >= gain.p_pays_delta
    shown = replace(gain_of(analysed(worked())), p_pays_delta_run=0.2)
    assert "at this S alone and not over the whole run" in shown.conclusion()


def test_above_a_control_that_fell_below_the_reference_complexity_is_not_said_to_pay() -> None:
    below = {"fusion_information_200": (-40, -45, -41, -36), "fusion_orbit_200": (1, -1, 0, 1)}
    gain = gain_of(analysed(worked(ABOVE | below)))
    assert gain.line is not None
    assert gain.line.verdict is Verdict.ESCAPES
    assert gain.p_pays is not None
    assert gain.p_pays > 0.05
    assert not gain.pays
    assert gain.conclusion() == (
        "That complexity pays is not shown: fusion_information_200 is beaten by more than 0.5, magnitude is not, of which that "
        "control fell 20.25 short."
    )


def test_paying_takes_both_steps_in_one_family_by_hand() -> None:
    gain = gain_of(analysed(worked()))
    assert gain.line is not None
    # Two lines of one reading, differing by what the control gains; each p alone is a Student t, the family's is no less.
    alone = [stats.ttest_1samp(part.differences, 0.5, alternative="greater").pvalue for part in (gain.line.complexity, gain.gain)]
    assert gain.p_pays_delta is not None
    assert max(alone) <= gain.p_pays_delta <= 2 * max(alone) + 0.005


@pytest.mark.parametrize(
    ("verdict", "above", "said"),
    [
        (Verdict.ESCAPES, 0.01, "Better than adaptive_information_200 and magnitude by more than 0.5 points."),
        (Verdict.EQUIVALENT, 0.01, "As good as adaptive_information_200, to within 0.5 points."),
        (Verdict.IDENTICAL, None, "As good as adaptive_information_200, to within 0.5 points."),
        (Verdict.DEGRADES, 0.9, "Worse than adaptive_information_200 by more than 0.5 points."),
        (
            Verdict.NONSUPERIOR,
            0.3,
            "Not better than adaptive_information_200 by 0.5 points; whether it is worse is not settled.",
        ),
        (
            Verdict.NONINFERIOR,
            0.03,
            "Better than adaptive_information_200 and magnitude at this S, and not shown to be so by 0.5 points.",
        ),
        (
            Verdict.NONINFERIOR,
            0.3,
            "Not worse than adaptive_information_200 by 0.5 points; whether it is better is not settled.",
        ),
        (Verdict.INCONCLUSIVE, 0.3, "Whether it is better than adaptive_information_200 is not settled (why)."),
    ],
)
def test_an_adaptive_scorer_wins_or_loses_against_its_control_in_a_sentence(
    verdict: Verdict, above: float | None, said: str
) -> None:
    names = {"adaptive_information_200": (2, 3, 3, 2), "adaptive_orbit_200": (8, 9, 7, 8)}
    study = analysed(worked(ABOVE | names)).searched
    assert study is not None
    (found,) = [one for one in study.beside if one.name.kind == "adaptive"]
    line = replace(found.line, verdict=verdict, p_superior_adjusted=above, reason="why")
    found = replace(found, p_pays=above)
    assert replace(found, line=line).conclusion() == said
    at = replace(line, look="at look 2 of 6, n = 8")
    assert replace(found, line=at).conclusion() == f"{said[:-1]} (at look 2 of 6, n = 8)."
    # Above its control alone, which the reference may have beaten, it is not called better.
    alone = replace(found, line=line, p_pays=0.2, p_pays_delta=0.2).conclusion()
    if verdict is Verdict.ESCAPES:
        assert alone == "Not shown to be better: adaptive_information_200 is beaten by more than 0.5, magnitude is not."
        within = replace(found, line=line, p_pays_delta_run=0.2).conclusion()
        assert within == f"{said[:-1]}, at this S alone and not over the whole run."
    elif said.startswith("Better"):
        assert alone == "Not shown to be better: adaptive_information_200 is beaten at this S, magnitude is not."
    else:
        assert alone == said


def test_an_adaptive_scorer_as_good_as_the_reference_is_not_better_for_a_control_that_fell_short() -> None:
    names = {"adaptive_information_200": (-8, -9, -9, -8), "adaptive_orbit_200": (0, 1, 0, -1)}
    study = analysed(worked(ABOVE | names)).searched
    assert study is not None
    (found,) = [one for one in study.beside if one.name.kind == "adaptive"]
    assert found.line.verdict is Verdict.ESCAPES
    assert found.conclusion().startswith(
        "Not shown to be better: adaptive_information_200 is beaten by more than 0.5, magnitude "
    )
    assert "of which that control fell" in found.conclusion()


PLAN = LookPlan(20, seeds=tuple(range(20)))


def looked_rows(n: int) -> pd.DataFrame:
    step = np.array([((7 * i) % 11) - 5 for i in range(20)], dtype=float)
    adds = {"magnitude": 0.0, "fusion_shuffled_50": 0.3, "fusion_information_50": 0.6, "fusion_orbit_50": 2.2}
    scale = {"fusion_orbit_50": 0.2, "fusion_information_50": 0.05}
    rows = [
        {
            "seed": i, "scorer": name, "sparsity": 0.7, "held_out": 0.8 + mean / 100, "held_out_reference": 0.8,
            "accuracy": 0.8 + 0.001 * i + (mean + scale.get(name, 0.0) * step[i]) / 100,
        }
        for i in range(n)
        for name, mean in adds.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_under_looks_p_are_sequential_and_intervals_repeated() -> None:
    fixed = gain_of(analyse(looked_rows(12), draws=1_000))
    looked = gain_of(analyse(looked_rows(12), draws=1_000, looks=PLAN))
    assert fixed.line is not None
    assert looked.line is not None
    assert looked.line.complexity.method == "repeated student-t"
    assert looked.line.p_escape_adjusted > fixed.line.p_escape_adjusted  # type: ignore[operator]
    one, two = fixed.confidence_interval(), looked.confidence_interval()
    assert one is not None
    assert two is not None
    assert two.width > one.width
    point = analyse(looked_rows(12), draws=1_000, looks=PLAN).searched.points[0]  # type: ignore[union-attr]
    assert point.gap is not None
    assert point.gap.n == 12
    assert not point.gap.fixed
    assert fixed.line.look == ""
    assert "look" not in fixed.conclusion()
    # Shown at an earlier look than the last one made: the sentence has the look that the verdict is of.
    assert re.fullmatch(r"at look \d of \d, n = \d+", looked.line.look)
    assert looked.line.reason.startswith(f"{looked.line.look}: ")
    assert looked.conclusion().endswith(f" ({looked.line.look}).")


def test_seeds_that_no_look_has_counted_take_no_part() -> None:
    analysis = analyse(looked_rows(10), draws=1_000, looks=PLAN)
    assert gain_of(analysis).n == 8
    assert {point.gap.n for point in analysis.searched.points if point.gap is not None} == {8}  # type: ignore[union-attr]
    before = analyse(looked_rows(3), draws=1_000, looks=PLAN)
    assert gain_of(before).line is not None
    assert not gain_of(before).pays
    assert gain_of(before).conclusion().endswith(" (before the first look).")


def test_a_search_that_failed_is_missed_once_with_all_its_budgets() -> None:
    frame = worked()
    checks = analysed(frame[~((frame["seed"] == 1) & frame["scorer"].str.startswith("fusion_orbit"))]).checks
    (check,) = [check for check in checks if check.kind == "missing"]
    assert check.text.startswith("fusion_orbit_10 and fusion_orbit_200 have no result for seed 1 at S = 0.7")
    assert check.scorers == ("fusion_orbit_10", "fusion_orbit_200")
