import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sics_analysis.results import Result, Verdict
from sics_analysis.study.analyse import analyse
from sics_analysis.study.outcome import COLUMNS, Analysis

pytestmark = pytest.mark.filterwarnings("error", "ignore::sics_analysis.results.DataCheckWarning")

KAPPA = {"magnitude": 0, "power": 0, "log": 0, "bump": 1, "smooth_chaos": 1, "chaos": 2, "fake": None, "information": None}
IMAGES = 600


def run(seeds: int = 5, sparsities: tuple[float, ...] = (0.5, 0.7), seed: int = 0) -> pd.DataFrame:
    """Rows of a run with known effects: chaos escapes at 0.7, fake degrades, power has magnitude's own masks."""
    rng = np.random.default_rng(seed)
    rows = []
    for S in sparsities:
        for i in range(seeds):
            base = 540 + int(rng.integers(-6, 7))
            for name, kappa in KAPPA.items():
                shift = {"chaos": 24 if S == 0.7 else 0, "fake": -200, "smooth_chaos": 1}.get(name, 0)
                noise = 0 if name in ("magnitude", "power") else int(rng.integers(-2, 3))
                correct = base + shift + noise
                mask = f"m{i}{S}" if name in ("magnitude", "power") else f"{name}{i}{S}"
                rows.append((i, name, kappa, S, correct, IMAGES, correct / IMAGES, mask, "weight", "global"))
    columns = ["seed", "scorer", "kappa", "sparsity", "correct", "n", "accuracy", "mask_hash", "unit", "pool"]
    return pd.DataFrame(rows, columns=columns)


def bare(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["seed", "scorer", "sparsity", "accuracy"]]


def quick(frame: pd.DataFrame, *args: Any, **options: Any) -> Analysis:
    return analyse(frame, *args, draws=2_000, **options)


def bits(frame: pd.DataFrame) -> dict[tuple[Any, str, float], np.ndarray]:
    """Per-example results that agree with the counts: the last `correct` images in a fixed order are right."""
    return {
        (row.seed, row.scorer, row.sparsity): np.arange(IMAGES) >= IMAGES - row.correct
        for row in frame.itertuples()  # type: ignore[attr-defined]
    }


def walk(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in walk(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in walk(item)]
    return [value]


def test_the_public_name_is_the_function_however_it_is_reached() -> None:
    import sys

    import sics_analysis.study.analyse

    assert callable(sics_analysis.analyse)
    assert sics_analysis.analyse is sys.modules["sics_analysis.study.analyse"].analyse


def test_to_frame_has_exactly_the_columns_promised() -> None:
    frame = quick(run()).to_frame()
    expected = (
        "scorer, sparsity, n, difference, ci90_low, ci90_high, ci95_low, ci95_high, p_equivalence, p_equivalence_holm, "
        "p_noninferior, p_nonsuperior, p_superior, p_escape, p_escape_adjusted, p_degrade_adjusted, p_escape_adjusted_run, "
        "p_degrade_adjusted_run, p_min_attainable, verdict, reason, flag"
    )
    assert tuple(frame.columns) == tuple(expected.split(", ")) == COLUMNS
    assert len(frame) == 7 * 2
    assert set(frame["scorer"]) == set(KAPPA) - {"magnitude"}
    assert frame["p_escape"].dtype == np.float64


def test_numbers_of_one_line_against_scipy() -> None:
    frame = run()
    line = quick(frame).to_frame().set_index(["scorer", "sparsity"]).loc[("chaos", 0.7)]
    at = frame[frame["sparsity"] == 0.7].pivot(index="seed", columns="scorer", values="accuracy")
    d = 100 * (at["chaos"] - at["magnitude"])
    assert line["n"] == 5
    assert line["difference"] == pytest.approx(d.mean())
    for level, name in ((0.90, "ci90"), (0.95, "ci95")):
        low, high = stats.t.interval(level, 4, d.mean(), stats.sem(d))
        assert (line[f"{name}_low"], line[f"{name}_high"]) == pytest.approx((low, high))
    assert line["p_superior"] == pytest.approx(stats.ttest_1samp(d, 0, alternative="greater").pvalue)
    assert line["p_escape"] == pytest.approx(stats.ttest_1samp(d, 0.5, alternative="greater").pvalue)
    lower = stats.ttest_1samp(d, -0.5, alternative="greater").pvalue
    upper = stats.ttest_1samp(d, 0.5, alternative="less").pvalue
    assert line["p_equivalence"] == pytest.approx(max(lower, upper))
    assert line["p_escape_adjusted"] >= line["p_escape"]
    assert line["p_min_attainable"] == 1 / 32
    assert line["verdict"] == "ESCAPES"


def test_verdicts_of_the_known_run() -> None:
    result = quick(run())
    assert result.line("power", 0.7).verdict is Verdict.IDENTICAL
    assert result.line("power", 0.7).equivalence.p is None
    assert result.line("chaos", 0.7).verdict is Verdict.ESCAPES
    assert result.line("fake", 0.7).verdict is Verdict.DEGRADES
    assert not result.line("fake", 0.7).in_family
    assert result.line("chaos", 0.7).in_family
    assert result.family(0.7).members == ("bump", "smooth_chaos", "chaos")
    assert {claim.lines for claim in result.plateaus} == {("log", "power")}
    assert result.spectrum is not None
    assert [line.scorer for line in result.attribution if line.sparsity == 0.7] == ["bump", "smooth_chaos", "chaos"]
    assert [winner.scorer for winner in result.winners if winner.sparsity == 0.7] == ["chaos"]
    with pytest.raises(KeyError):
        result.line("chaos", 0.65)
    with pytest.raises(KeyError):
        result.family(0.65)


def test_own_lines_have_raw_p_and_take_nothing_from_the_family() -> None:
    result = quick(run())
    line = result.line("information", 0.7)
    assert not line.in_family
    assert line.p_escape_adjusted == line.p_escape
    assert line.simultaneous is None
    without = quick(run()[lambda f: f["scorer"] != "fake"])
    assert without.line("chaos", 0.7).p_escape_adjusted == result.line("chaos", 0.7).p_escape_adjusted


def test_a_bare_csv_is_enough() -> None:
    frame = bare(run())
    result = quick(frame)
    promised = analyse(frame, reference="magnitude", delta=0.5)
    assert list(promised.to_frame()["verdict"]) == list(result.to_frame()["verdict"])
    assert tuple(promised.to_frame().columns) == COLUMNS
    assert not result.has_kappa
    assert result.spectrum is None
    assert "kappa" in result.spectrum_reason
    assert result.plateaus == ()
    assert set(result.family(0.7).members) == set(KAPPA) - {"magnitude"}
    # Without hashes equal accuracies are equivalent, not identical; a family of all leaves degenerate columns out.
    assert result.line("power", 0.7).verdict is Verdict.EQUIVALENT
    assert "degenerate" in result.line("power", 0.7).reason
    assert result.line("chaos", 0.7).verdict is Verdict.ESCAPES
    assert result.line("power", 0.7).p_escape_adjusted == 1.0
    full, fractions = quick(run()).line("chaos", 0.7), result.line("chaos", 0.7)
    assert full.contrast.mean == pytest.approx(fractions.contrast.mean)  # type: ignore[arg-type]


def test_a_csv_read_from_disk_gives_the_same(tmp_path: Any) -> None:
    frame = run()
    frame.to_csv(tmp_path / "results.csv", index=False)
    again = pd.read_csv(tmp_path / "results.csv")
    assert quick(again).to_dict() == quick(frame).to_dict()


def test_permuting_rows_changes_nothing_and_the_same_seed_repeats() -> None:
    frame = run(seeds=9)
    first = json.dumps(quick(frame).to_dict(), allow_nan=False)
    assert json.dumps(quick(frame.sample(frac=1, random_state=3)).to_dict(), allow_nan=False) == first
    assert json.dumps(quick(frame, seed=1).to_dict()) != first
    by_generator = quick(frame, rng=np.random.default_rng(5)).to_dict()
    assert by_generator == quick(frame, rng=np.random.default_rng(5)).to_dict()


def test_relabelling_seeds_changes_no_verdict() -> None:
    frame = run()
    renamed = frame.assign(seed=frame["seed"].map({0: "d", 1: "b", 2: "a", 3: "e", 4: "c"}))
    ours, theirs = quick(frame).to_frame(), quick(renamed).to_frame()
    assert list(ours["verdict"]) == list(theirs["verdict"])
    pd.testing.assert_series_equal(ours["difference"], theirs["difference"])
    pd.testing.assert_series_equal(ours["p_escape"], theirs["p_escape"])


def test_a_constant_added_to_both_arms_changes_nothing() -> None:
    frame = run()
    shifted = frame.assign(correct=frame["correct"] + 20, accuracy=(frame["correct"] + 20) / IMAGES)
    pd.testing.assert_frame_equal(quick(frame).to_frame(), quick(shifted).to_frame())


def test_swapping_the_arms_mirrors_the_verdicts() -> None:
    frame = bare(run())
    pair = frame[frame["scorer"].isin(["magnitude", "chaos"])]
    there, back = quick(pair), quick(pair, reference="chaos")
    up, down = there.line("chaos", 0.7), back.line("magnitude", 0.7)
    assert (up.verdict, down.verdict) == (Verdict.ESCAPES, Verdict.DEGRADES)
    assert up.contrast.mean == -down.contrast.mean  # type: ignore[operator]
    assert up.p_escape_adjusted == pytest.approx(down.p_degrade_adjusted)


def test_dense_rows_are_ignored() -> None:
    frame = run()
    dense = pd.DataFrame({"seed": range(5), "scorer": "dense", "sparsity": 0.0, "accuracy": 0.97})
    with_dense = quick(pd.concat([bare(frame), dense], ignore_index=True))
    assert with_dense.to_dict() == quick(bare(frame)).to_dict()
    assert "dense" not in with_dense.scorers


def test_missing_seeds_cost_only_their_own_contrast() -> None:
    frame = run(seeds=6)
    gone = (frame["scorer"] == "bump") & (frame["seed"] == 2) & (frame["sparsity"] == 0.7)
    empty = frame.copy()
    empty.loc[gone, "accuracy"] = np.nan
    for partial in (frame[~gone], empty):
        result = quick(partial)
        assert result.line("bump", 0.7).n == 5
        assert result.line("chaos", 0.7).n == 6
        assert result.line("bump", 0.5).n == 6
        assert result.family(0.7).escape.n == 5  # the seeds common to the family
        assert result.family(0.7).escape["chaos"].n == 6
        assert "adjusted p = " in result.line("chaos", 0.7).reason
        assert "(Holm on t, ragged seeds)" in result.line("chaos", 0.7).reason
        assert result.family(0.5).escape.method == "rotation max-T"
        assert result.family(0.5).escape.n == 6


def test_a_scorer_with_two_seeds_does_not_cost_the_family_its_test() -> None:
    frame = run()
    few = frame[~((frame["scorer"] == "bump") & (frame["seed"] > 1))]
    result = quick(few)
    line = result.line("bump", 0.7)
    assert line.verdict is Verdict.INCONCLUSIVE
    assert "too few seeds" in line.reason
    assert line.in_family
    assert line.p_escape is None
    assert result.line("chaos", 0.7).verdict is Verdict.ESCAPES
    assert result.family(0.7).escape.n == 5
    assert {a.scorer: a.verdict for a in result.attribution if a.sparsity == 0.7}["chaos"] is Verdict.ESCAPES


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_end_in_words_and_not_in_numbers(seeds: int) -> None:
    result = quick(run(seeds=seeds), bits=bits(run(seeds=seeds)))
    for line in result.lines:
        if line.verdict is not Verdict.IDENTICAL:
            assert line.verdict is Verdict.INCONCLUSIVE
            assert "too few seeds" in line.reason
        assert line.p_escape is None
        assert line.bootstrap.reason is not None
    assert result.winners == ()
    assert result.spectrum is not None
    assert all(point.kappa is None for point in result.spectrum.points)
    json.dumps(result.to_dict(), allow_nan=False)
    assert "nan" not in result.describe()


@pytest.mark.parametrize(
    ("values", "verdict", "word"),
    [
        ([540] * 5, Verdict.EQUIVALENT, "all differences zero"),
        ([541] * 5, Verdict.EQUIVALENT, "inside ±0.5"),
        ([543] * 5, Verdict.NONINFERIOR, "on the margin +0.5"),
        ([552] * 5, Verdict.ESCAPES, "exact sign-flip p = 0.0312"),
        ([528] * 5, Verdict.DEGRADES, "beyond −0.5"),
        ([540, 540, 542, 540, 540], Verdict.EQUIVALENT, "90 % interval inside"),
    ],
)
@pytest.mark.parametrize("counts", [True, False])
def test_constant_differences_through_the_whole_analysis(values: list[int], verdict: Verdict, word: str, counts: bool) -> None:
    rows = [(i, "magnitude", 0.7, 540) for i in range(5)] + [(i, "other", 0.7, c) for i, c in enumerate(values)]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "correct"])
    frame["accuracy"] = frame["correct"] / 600
    if counts:
        frame["n"] = 600
    else:
        frame = frame.drop(columns="correct")
    result = quick(frame)
    line = result.line("other", 0.7)
    assert line.verdict is verdict
    assert word in line.reason
    leaves = walk(result.to_dict())
    assert not any(isinstance(leaf, float) and not math.isfinite(leaf) for leaf in leaves)


def test_a_delta_below_the_noise_floor_silences_that_sparsity_only() -> None:
    result = quick(run(), noise_floor={0.7: 0.8, 0.5: 0.1})
    for line in result.lines:
        if line.sparsity == 0.7:
            assert line.verdict is Verdict.INCONCLUSIVE
            assert "noise floor" in line.reason
    assert result.line("power", 0.7).reason.endswith("the masks are identical at every seed")
    assert result.line("power", 0.5).verdict is Verdict.IDENTICAL
    assert result.line("log", 0.5).verdict is Verdict.EQUIVALENT
    assert len(result.plateaus) == 1
    assert result.spectrum is not None
    assert [point.sparsity for point in result.spectrum.points] == [0.5]
    assert all("noise floor" in a.reason for a in result.attribution if a.sparsity == 0.7)
    silenced = quick(run(), noise_floor=0.8)
    assert silenced.spectrum is None
    assert "noise floor" in silenced.spectrum_reason
    assert silenced.below_noise(0.5)


def test_the_pooled_plateau_is_the_mean_of_the_rank_monotone_scorers() -> None:
    frame = run()
    result = quick(frame, reference="plateau", bits=bits(frame))
    at = frame[frame["sparsity"] == 0.7].pivot(index="seed", columns="scorer", values="accuracy")
    expected = 100 * (at["chaos"] - at[["magnitude", "power", "log"]].mean(axis=1)).mean()
    assert result.line("chaos", 0.7).contrast.mean == pytest.approx(expected)
    assert {"magnitude", "power", "log"} <= {line.scorer for line in result.lines}
    assert result.spectrum is not None
    assert result.mcnemar == ()
    crossed = result.line("chaos", 0.7).crossed
    assert crossed is not None
    assert expected in crossed


def test_another_scorer_as_reference() -> None:
    result = quick(run(), reference="chaos")
    assert result.line("magnitude", 0.7).verdict is Verdict.DEGRADES
    assert result.spectrum is None
    assert "not rank-monotone" in result.spectrum_reason
    assert result.family(0.7).members == ("bump", "smooth_chaos")
    assert quick(run(), reference="information").attribution == ()


def test_bits_add_mcnemar_and_intervals_for_new_images() -> None:
    frame = run()
    result = quick(frame, bits=bits(frame))
    assert len(result.mcnemar) == 7 * 5 * 2
    first = next(m for m in result.mcnemar if m.scorer == "chaos" and m.sparsity == 0.7)
    assert first.result.difference == pytest.approx(result.line("chaos", 0.7).contrast.differences[0])
    assert result.line("chaos", 0.7).crossed is not None
    assert quick(frame).line("chaos", 0.7).crossed is None
    zero = result.line("power", 0.7).crossed
    assert zero is not None
    assert zero.low == zero.high == 0.0
    some = {key: value for key, value in bits(frame).items() if key[1] in ("magnitude", "chaos")}
    partial = quick(frame, bits=some)
    assert partial.line("chaos", 0.7).crossed is not None
    assert partial.line("bump", 0.7).crossed is None


def test_the_cross_checks_of_equivalence_stand_beside_it() -> None:
    result = quick(run())
    row = next(r for r in result.to_dict()["lines"] if r["scorer"] == "log" and r["sparsity"] == 0.7)
    line = result.line("log", 0.7)
    from sics_analysis.one_scorer.bootstrap_tost import bootstrap_tost

    assert row["p_bootstrap"] == bootstrap_tost(line.contrast, 0.5).p
    assert row["p_signflip"] == line.equivalence.p_signflip
    assert row["smallest_delta"] == line.equivalence.smallest_delta()
    assert {f"{method}_{end}" for method in ("percentile", "bca", "studentized", "basic") for end in ("low", "high")} <= set(
        row["bootstrap"]
    )


def test_json_has_no_nan_anywhere() -> None:
    frame = run(seeds=4)
    ragged = frame[~((frame["scorer"] == "log") & (frame["seed"] > 0))]
    for result in (
        quick(frame, bits=bits(frame), plan={"planned_seeds": 5, "note": np.float64("nan")}),
        quick(ragged),
        quick(bare(frame)),
        quick(frame, reference="plateau", noise_floor=9.0),
    ):
        text = json.dumps(result.to_dict(), allow_nan=False)
        leaves = walk(json.loads(text))
        assert all(leaf is None or isinstance(leaf, str | int | float | bool) for leaf in leaves)
        assert not any(isinstance(leaf, float) and not math.isfinite(leaf) for leaf in leaves)
        assert not any(isinstance(leaf, str) and leaf.lower() in ("nan", "inf") for leaf in leaves)
        assert "nan" not in result.describe()


def test_plan_is_kept_and_lines_follow_the_protocol() -> None:
    result = quick(run(), plan={"delta_fixed": "2026-01-01", "planned_seeds": 5})
    assert result.to_dict()["plan"] == {"delta_fixed": "2026-01-01", "planned_seeds": 5}
    assert all(isinstance(line, Result) for line in result.lines)
    assert result.unit == "weight"
    assert result.pool == "global"


@pytest.mark.parametrize(("missing", "role"), [("seed", "seed"), ("scorer", "scorer"), ("accuracy", "metric")])
def test_a_missing_column_is_named(missing: str, role: str) -> None:
    with pytest.raises(ValueError, match=rf"column {missing} is missing .*--columns {role}=COLUMN"):
        quick(bare(run()).drop(columns=missing))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 93.4}, r"`accuracy` as a fraction in \[0, 1\], got 93.4; divide percentages by 100"),
        ({"accuracy": -0.1}, "`accuracy`"),
        ({"accuracy": "high"}, "numbers in column `accuracy`, got 'high'"),
        ({"sparsity": 1.0}, r"`sparsity` in \[0, 1\), got 1"),
        ({"sparsity": np.nan}, "`sparsity`"),
        ({"seed": None}, "column `seed`"),
        ({"scorer": None}, "column `scorer`"),
    ],
)
def test_values_out_of_range_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    frame = bare(run()).astype(object)
    for name, value in change.items():
        frame.loc[3, name] = value
    with pytest.raises(ValueError, match=message) as error:
        quick(frame)
    assert "\n" not in str(error.value)


def test_one_sparsity_written_in_two_ways_is_one() -> None:
    frame = bare(run())
    other = frame["scorer"] == "chaos"
    frame.loc[other & (frame["sparsity"] == 0.7), "sparsity"] = 1 - 0.3 + 1e-15
    result = quick(frame)
    assert result.sparsities == (0.5, 0.7)
    assert result.line("chaos", 1 - 0.3 + 1e-15).n == 5


def test_repeated_cells_are_refused() -> None:
    frame = bare(run())
    with pytest.raises(ValueError, match=r"one row per \(seed, scorer, sparsity\), got several for seed 0, 'magnitude' at 0.5"):
        quick(pd.concat([frame, frame.iloc[[0]]]))


def test_mixed_units_inconsistent_kappa_and_counts_are_refused() -> None:
    frame = run()
    with pytest.raises(ValueError, match="one `unit`"):
        quick(frame.assign(unit=np.where(frame["scorer"] == "chaos", "channel", "weight")))
    wrong = frame.copy()
    wrong.loc[0, "kappa"] = 2
    with pytest.raises(ValueError, match="one `kappa`"):
        quick(wrong)
    with pytest.raises(ValueError, match="`accuracy` to be correct/n"):
        quick(frame.assign(correct=frame["correct"] - 9))
    with pytest.raises(ValueError, match="sparsity above 0"):
        quick(frame[frame["sparsity"] > 0.9])
    with pytest.raises(ValueError, match="`frame` as a pandas DataFrame"):
        quick([1, 2, 3])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "nobody"}, "`reference` among .*, plateau, got 'nobody' .'magnitude' is the likely one."),
        ({"delta": 0.0}, "`delta`"),
        ({"delta": math.nan}, "`delta`"),
        ({"alpha": 0.6}, "`alpha`"),
        ({"seed": -1}, "`seed`"),
        ({"noise_floor": -0.2}, "`noise_floor`"),
        ({"n_resamples": 0}, "`n_resamples`"),
        ({"n_resamples": 10.5}, "`n_resamples`"),
        ({"noise_floor": math.nan}, "`noise_floor`"),
        ({"bits": {(0, "chaos", 0.9): [True]}}, "`bits` only for cells"),
        ({"bits": {(0, "chaos", 0.7): [True, False]}}, "`bits` of 600 test examples, got 2 for seed 0"),
        ({"bits": {(0, "chaos", 0.7): [False] * 600}}, "`bits` to agree with `accuracy`"),
        ({"bits": {(0, "chaos", 0.7): [0.5, 0.2]}}, "`bits` as rows of booleans"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quick(run(), **options)
    with pytest.raises(ValueError, match="`draws`"):
        analyse(run(), draws=10)


def test_the_pooled_plateau_needs_kappa() -> None:
    with pytest.raises(ValueError, match="kappa 0 in `frame` for reference 'plateau'"):
        quick(bare(run()), reference="plateau")


def test_analysis_never_imports_torch() -> None:
    import subprocess
    import sys

    code = "import sys, sics_analysis.study.analyse, sics_analysis.claims.scorecard; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_bootstrap_test_and_its_interval_rest_on_the_same_resamples() -> None:
    result = quick(run(seeds=9), n_resamples=199)
    drawn = [line for line in result.lines if line.bootstrap.means is not None]
    assert drawn
    for line in drawn:
        assert line.bootstrap.n_resamples == 199
        interval = line.bootstrap.confidence_interval(0.90, "studentized")
        assert line.p_equivalence_bootstrap is not None
        if interval is not None:
            assert (line.p_equivalence_bootstrap <= 0.05) == (interval.low > -0.5 and interval.high < 0.5)


def counted(seeds: int = 5, images: int = IMAGES) -> tuple[pd.DataFrame, dict[tuple[Any, str, float], np.ndarray]]:
    """Two scorers with counts, and the per-example results behind them."""
    rng, rows, known = np.random.default_rng(4), [], {}
    for name in ("magnitude", "chaos"):
        for i in range(seeds):
            row = rng.random(images) < 0.9
            known[i, name, 0.7] = row
            rows.append((i, name, 0.7, row.mean(), int(row.sum()), images))
    return pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy", "correct", "n"]), known


@pytest.mark.parametrize("with_counts", [True, False])
@pytest.mark.parametrize("change", ["one row doubled", "one seed doubled", "one row empty"])
def test_bits_of_the_wrong_length_are_refused_in_words(with_counts: bool, change: str) -> None:
    frame, known = counted()
    for key, row in known.items():
        if change == "one row empty" and key[:2] == (0, "chaos"):
            known[key] = row[:0]
        elif key[0] == 0 and (change == "one seed doubled" or (change == "one row doubled" and key[1] == "chaos")):
            known[key] = np.repeat(row, 2)
    with pytest.raises(ValueError, match=r"Expected `bits` of .* test examples, got .* for seed"):
        quick(frame if with_counts else bare(frame), bits=known)


def test_bits_are_those_of_the_counts() -> None:
    frame, known = counted()
    with pytest.raises(ValueError, match="Expected `bits` of 600 test examples, got 1200 for seed"):
        quick(frame, bits={key: np.repeat(row, 2) for key, row in known.items()})
    frame, known = counted(images=10_000)
    off = known[0, "chaos", 0.7].copy()
    off[np.flatnonzero(~off)[:4]] = True
    with pytest.raises(ValueError, match="Expected `bits` to agree with `accuracy`"):
        quick(frame, bits={**known, (0, "chaos", 0.7): off})


def test_a_sparsity_a_rounding_away_costs_bits_no_test() -> None:
    frame, known = counted()
    exact = quick(frame, bits=known)
    noisy = quick(frame, bits={(seed, name, S + 1e-15): row for (seed, name, S), row in known.items()})
    assert len(exact.mcnemar) == 5
    assert noisy.to_dict() == exact.to_dict()


@pytest.mark.parametrize("seeds", [5, 8, 24])
def test_renaming_seeds_moves_no_number(seeds: int) -> None:
    frame = run(seeds=seeds, sparsities=(0.7,)).query("scorer in ['magnitude', 'bump', 'chaos']")
    order = np.random.default_rng(1).permutation(seeds)
    renamed = frame.assign(seed=frame["seed"].map(dict(enumerate(order.tolist()))))
    ours, theirs = quick(frame, n_resamples=499), quick(renamed, n_resamples=499)
    for one, two in zip(ours.lines, theirs.lines, strict=True):
        assert one.to_row() == pytest.approx(two.to_row(), nan_ok=True)
        assert one.bootstrap.to_row() == pytest.approx(two.bootstrap.to_row())
        assert one.equivalence.to_row() == pytest.approx(two.equivalence.to_row())
        assert one.p_equivalence_bootstrap == two.p_equivalence_bootstrap
    for here, there in zip(ours.families, theirs.families, strict=True):
        for mine, yours in zip(here.escape.lines, there.escape.lines, strict=True):
            assert mine.p_signflip == yours.p_signflip


def test_swapping_the_arms_mirrors_drawn_numbers_too() -> None:
    frame = bare(run(seeds=24))
    pair = frame[frame["scorer"].isin(["magnitude", "chaos"])]
    there, back = quick(pair).line("chaos", 0.7), quick(pair, reference="chaos").line("magnitude", 0.7)
    assert there.p_equivalence_bootstrap == back.p_equivalence_bootstrap
    assert there.equivalence.p_signflip == back.equivalence.p_signflip


def test_a_plan_may_hold_arrays() -> None:
    found = quick(run(), plan={"sizes": np.array([[1, 2], [3, 4]]), "empty": np.array([]), "when": np.datetime64("2026-01-01")})
    plan = json.loads(json.dumps(found.to_dict(), allow_nan=False))["plan"]
    assert plan == {"sizes": [[1, 2], [3, 4]], "empty": [], "when": "2026-01-01"}


def test_two_datasets_in_rows_of_the_own_names_are_told() -> None:
    gain = {"magnitude": 0.0, "chaos": 0.01}
    rows = [(i, name, 0.7, 0.9 - 0.2 * (i > 2) + gain[name] + i / 1000) for name in gain for i in range(6)]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    assert analyse(frame, draws=200).checks == ()
    (found,) = analyse(frame.assign(dataset=np.where(frame["seed"] > 2, "digits", "rings")), draws=200).checks
    assert (found.kind, found.level) == ("pooled", "open")
