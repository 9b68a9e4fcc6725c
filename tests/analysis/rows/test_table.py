"""Frames as people write them: what is understood, what is refused, and in which words."""

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sics_analysis.one_scorer.signflip import sign_flip_test
from sics_analysis.results import Verdict
from sics_analysis.rows.table import read_table
from sics_analysis.study.analyse import analyse
from sics_analysis.study.outcome import Analysis

pytestmark = pytest.mark.filterwarnings("error", "ignore::sics_analysis.results.DataCheckWarning")

KAPPA = {"magnitude": 0, "power": 0, "log": 0, "bump": 1, "chaos": 2}


def frame(differences: dict[str, list[float | None]], sparsity: float = 0.7, **columns: Any) -> pd.DataFrame:
    """Rows whose scorers differ from an accuracy of 0.9 by so many points, seed by seed; None leaves a row out."""
    rows = [
        {"seed": i, "scorer": name, "sparsity": sparsity, "accuracy": 0.9 + d / 100, "kappa": KAPPA.get(name)}
        for name, values in differences.items()
        for i, d in enumerate(values)
        if d is not None
    ]
    return pd.DataFrame(rows).assign(**columns)


def spread(mean: float, sd: float = 0.1, n: int = 5, state: int = 0) -> list[float | None]:
    values = np.random.default_rng(state).normal(size=n)
    return list(mean + sd * (values - values.mean()) / values.std(ddof=1))


def counted(n: int = 600) -> pd.DataFrame:
    rows = [(i, name, 0.7, 500 + i + more, n) for i in range(5) for name, more in (("magnitude", 0), ("chaos", i % 2))]
    found = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "correct", "n"])
    return found.assign(accuracy=found["correct"] / n)


def quick(rows: pd.DataFrame, **options: Any) -> Analysis:
    return analyse(rows, draws=500, **options)


BASE = {"magnitude": spread(0, 0.3, state=1), "power": spread(0, 0.2, state=2), "chaos": spread(2, 0.3, state=3)}


@pytest.mark.parametrize("other", ["{}", "{}.0", " {} ", "0{}", "+{}"])
def test_one_seed_written_twice_is_a_repeated_cell(other: str) -> None:
    rows = frame(BASE)
    again = rows.assign(seed=[other.format(seed) for seed in rows["seed"]])
    with pytest.raises(ValueError, match=r"one row per \(seed, scorer, sparsity\), got several for seed 0"):
        quick(pd.concat([rows.astype({"seed": object}), again], ignore_index=True))


def test_whole_numbers_are_one_seed_in_every_type_and_words_stay_words() -> None:
    whole = read_table(frame(BASE)).seeds
    for labels in ("{}", "{}.0", "{}."):
        rows = frame(BASE)
        assert read_table(rows.assign(seed=[labels.format(seed) for seed in rows["seed"]])).seeds == whole
    assert read_table(frame(BASE).astype({"seed": float})).seeds == whole
    rows = frame(BASE)
    assert read_table(rows.assign(seed=[f" s{seed}" for seed in rows["seed"]])).seeds == ("s0", "s1", "s2", "s3", "s4")
    assert read_table(rows.assign(seed=[seed + 0.5 for seed in rows["seed"]])).seeds[0] == "0.5"
    with pytest.raises(ValueError, match="column `seed`, got an empty cell"):
        read_table(rows.assign(seed=" "))


def test_seeds_of_bits_are_read_like_those_of_the_frame() -> None:
    rows = counted().astype({"seed": str})
    bits = {(r.seed, r.scorer, r.sparsity): np.arange(600) < r.correct for r in rows.itertuples()}  # type: ignore[attr-defined]
    assert quick(rows, bits=bits).line("chaos", 0.7).crossed is not None


def test_a_doubled_column_is_named() -> None:
    rows = frame(BASE)
    with pytest.raises(ValueError, match=r"every column of `frame` once, got again: accuracy$"):
        quick(pd.concat([rows, rows[["accuracy"]]], axis=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": np.inf, "accuracy": 0.0}, "column `n`, got inf"),
        ({"correct": np.inf}, "column `correct`, got inf"),
        ({"n": 0}, "test examples in column `n`, got 0"),
        ({"n": -600, "correct": -500}, "test examples in column `n`, got -600"),
    ],
)
def test_counts_that_count_nothing_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quick(counted().assign(**change))


def test_an_accuracy_names_its_count_to_half_an_example() -> None:
    rows = counted()
    assert quick(rows.assign(accuracy=rows["accuracy"].round(4))).line("chaos", 0.7).contrast.exact
    with pytest.raises(ValueError, match="`accuracy` to be correct/n"):
        quick(rows.assign(accuracy=rows["accuracy"] + 0.0009))


@pytest.mark.parametrize("floor", [np.float32(0.6), np.int64(1), {np.float64(0.7): np.float32(0.6)}, {0.7: 0.6, 0.0: 0.1}])
def test_a_noise_floor_may_be_any_real_number(floor: Any) -> None:
    assert quick(frame(BASE), noise_floor=floor).below_noise(0.7)


@pytest.mark.parametrize(
    ("floor", "message"),
    [
        ("x", "number of points or a mapping"),
        (True, "number of points or a mapping"),
        ({0.9: 1.0}, "sparsities of `noise_floor` among 0.7, got 0.9"),
        ({"0.7": 1.0}, "sparsities of `noise_floor` among 0.7, got '0.7'"),
        ({0.7: "1"}, "at least 0 points, got '1' at 0.7"),
    ],
)
def test_a_noise_floor_that_fits_nothing_is_refused(floor: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        quick(frame(BASE), noise_floor=floor)
    assert "\n" not in str(error.value)


def test_noise_floors_of_close_sparsities_stay_apart() -> None:
    rows = pd.concat([frame(BASE, 0.7), frame(BASE, 0.70000001)])
    found = quick(rows, noise_floor={0.7: 0.1, 0.70000001: 0.9}).to_dict()
    assert found["noise_floor"] == {"0.7": 0.1, "0.70000001": 0.9}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": "0.5"}, "`delta`"),
        ({"delta": "x"}, "`delta`"),
        ({"delta": True}, "`delta`"),
        ({"delta": 1e300}, "`delta`"),
        ({"alpha": "0.05"}, "`alpha`"),
        ({"draws": 1e3}, "`draws` as a whole number"),
        ({"seed": 1.5}, "`seed` as a whole number"),
    ],
)
def test_options_of_the_wrong_kind_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        analyse(frame(BASE), **({"draws": 500} | options))
    assert "\n" not in str(error.value)


def test_a_scorer_of_unknown_kappa_joins_the_family_and_a_control_does_not() -> None:
    values = {"magnitude": [0.0] * 5, "chaos": spread(2, 0.3), **{f"new{i}": spread(0.9, 0.25, state=i) for i in range(6)}}
    controls = {name: spread(0.9, 0.25, state=9) for name in ("fake", "information", "gradient", "random")}
    result = quick(frame(values | controls | {"adaptive": spread(1, 0.2, state=4)}))
    assert set(result.family(0.7).members) == {"chaos", "adaptive", *(f"new{i}" for i in range(6))}
    for line in result.lines:
        assert line.p_escape is not None
        assert line.p_escape_adjusted is not None
        if line.scorer in controls:
            assert line.p_escape_adjusted == line.p_escape
            assert "its own line, unadjusted" in line.reason
            assert "unadjusted, a line of its own" in line.describe()
        else:
            assert line.p_escape_adjusted > line.p_escape
            assert "unadjusted" not in line.reason


def test_unknown_scorers_beside_one_kappa_are_corrected_for() -> None:
    """Twenty new scorers exactly at δ, and κ known of magnitude only: the family-wise error stays at α."""
    wrong, runs = 0, 40
    for state in range(runs):
        rng = np.random.default_rng(state)
        values = {"magnitude": [0.0] * 5, **{f"new{i}": list(0.5 + 0.3 * rng.normal(size=5)) for i in range(20)}}
        family = quick(frame(values)).family(0.7)
        assert len(family.members) == 20
        wrong += bool(family.escape.rejected)
    assert wrong / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_a_rank_monotone_scorer_is_not_compared_with_itself() -> None:
    result = quick(frame({"magnitude": spread(0), "chaos": spread(2, 0.3)}), reference="plateau")
    line = result.line("magnitude", 0.7)
    assert (line.verdict, line.n, line.contrast.mean) == (Verdict.INCONCLUSIVE, 0, None)
    assert line.reason == "the only κ = 0 scorer: there is no other to be its plateau"
    assert result.plateaus == ()
    assert result.plateau(0.7) is None
    assert result.line("chaos", 0.7).verdict is Verdict.ESCAPES


def test_the_pooled_plateau_is_claimed_of_all_pairs() -> None:
    """Two scorers 0.9 points apart are each 0.45 from their joint mean, and no plateau at δ = 0.5."""
    apart = {"magnitude": spread(0, 0.02, state=5), "power": spread(0.9, 0.02, state=6), "chaos": spread(2, 0.3)}
    result = quick(frame(apart), reference="plateau")
    assert result.line("power", 0.7).contrast.mean == pytest.approx(0.9)
    assert result.line("magnitude", 0.7).contrast.mean == pytest.approx(-0.9)
    claim = result.plateau(0.7)
    assert claim is not None
    assert not claim.holds
    close = {**apart, "power": spread(0.1, 0.02, state=6), "log": spread(-0.1, 0.02, state=7)}
    result = quick(frame(close), reference="plateau")
    claim = result.plateau(0.7)
    assert claim is not None
    assert claim.holds
    assert claim.lines == ("log", "magnitude", "power")
    assert claim.p == pytest.approx(
        max(
            analyse(frame(close), a, draws=500).line(b, 0.7).equivalence.p or 0.0
            for a, b in (("log", "magnitude"), ("log", "power"), ("magnitude", "power"))
        )
    )
    # The others are compared with the pool of all three.
    pool = np.mean([close[name] for name in ("magnitude", "power", "log")], axis=0)
    assert result.line("chaos", 0.7).contrast.mean == pytest.approx(float(np.mean(np.array(close["chaos"]) - pool)))
    assert result.line("log", 0.7).contrast.mean == pytest.approx(-0.15)
    against = analyse(frame(close), draws=500).plateau(0.7)
    assert against is not None
    assert (against.lines, against.reference) == (("log", "power"), "magnitude")
    assert result.plateau(0.5) is None


def test_a_placeholder_hash_makes_nothing_identical() -> None:
    rows = frame({"magnitude": [0.0] * 5, "power": [-30.0, -31.0, -32.0, -30.0, -31.0]}, mask_hash="x")
    result = quick(rows)
    line = result.line("power", 0.7)
    assert line.verdict is Verdict.INCONCLUSIVE
    assert line.reason == "same mask hash but different accuracies: by up to 32 points"
    claim = result.plateau(0.7)
    assert claim is not None
    assert not claim.holds
    close = frame({"magnitude": [0.0] * 5, "power": [0.1, 0.0, -0.1, 0.0, 0.1]}, mask_hash="x")
    assert quick(close).line("power", 0.7).verdict is Verdict.INCONCLUSIVE
    assert quick(close, noise_floor=0.2).line("power", 0.7).verdict is Verdict.IDENTICAL


def test_a_scorer_with_fewer_seeds_decides_nothing_about_another() -> None:
    long = [2.0, 2.1, 1.9, 2.05, 1.95, -1.5, -1.6, -1.4, -1.7, -1.0]
    information = [0.01 * i for i in range(10)]
    short = [*spread(0, 0.3), *[None] * 5]
    with_short = quick(frame({"magnitude": [0.0] * 10, "information": information, "chaos": long, "wiggle": short}, kappa=np.nan))
    assert with_short.line("chaos", 0.7).verdict is Verdict.INCONCLUSIVE
    rows = frame({"magnitude": [0.0] * 10, "information": information, "chaos": long, "bump": short})
    result = quick(rows)
    line = result.line("chaos", 0.7)
    assert (line.n, line.verdict) == (10, Verdict.INCONCLUSIVE)
    assert line.p_escape_adjusted >= line.p_escape  # type: ignore[operator]
    split = next(found for found in result.attribution if found.scorer == "chaos")
    assert (split.n, split.verdict) == (10, Verdict.INCONCLUSIVE)
    assert split.p_superior_adjusted >= split.p_superior  # type: ignore[operator]
    assert result.winners[0].n in (5, 10)


def test_renaming_seeds_moves_no_p_of_a_family() -> None:
    values = {"magnitude": spread(0, 0.5, 8), "bump": spread(0.3, 0.3, 8, 1), "chaos": spread(0.8, 0.3, 8, 2)}
    rows = frame(values)
    renamed = rows.assign(seed=rows["seed"].map(dict(enumerate([3, 1, 0, 2, 7, 6, 5, 4]))))
    columns = ["p_escape_adjusted", "p_degrade_adjusted", "verdict", "reason"]
    pd.testing.assert_frame_equal(quick(rows).to_frame()[columns], quick(renamed).to_frame()[columns])


def test_the_smallest_attainable_p_is_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 1200  # beyond the exponents of a float; the draws of the sign flips are not the point
    monkeypatch.setitem(sign_flip_test.__kwdefaults__, "draws", 1_000)
    result = quick(frame({"magnitude": [0.0] * n, "chaos": spread(0.2, 0.3, n), "bump": spread(0.1, 0.3, n, 1)}))
    smallest = result.line("chaos", 0.7).p_min_attainable
    assert smallest is not None
    assert smallest > 0
    json.dumps(result.to_dict(), allow_nan=False)


def test_no_warning_reaches_the_user_at_any_margin() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for delta in (1e-300, 1e6, 1e9):
            quick(frame(BASE), delta=delta)


def test_a_member_is_held_against_the_others_of_its_pool_only() -> None:
    """A member shares its own noise with a pool that holds it, which would make it look closer than it is."""
    values = {"magnitude": spread(0, 0.3, state=1), "power": spread(0.6, 0.3, state=2), "log": spread(0, 0.3, state=3)}
    result = quick(frame({**values, "chaos": spread(2, 0.3)}), reference="plateau")
    line = result.line("power", 0.7)
    others = np.mean([values["magnitude"], values["log"]], axis=0)
    assert line.contrast.differences == pytest.approx(np.array(values["power"]) - others)
    with_itself = np.mean(list(values.values()), axis=0)
    shrunk = np.array(values["power"]) - with_itself
    assert float(shrunk.mean()) == pytest.approx(2 / 3 * (line.contrast.mean or 0.0))
    assert float(shrunk.std(ddof=1)) == pytest.approx(2 / 3 * (line.contrast.sd or 0.0))


def test_a_pool_of_one_mask_is_an_identity() -> None:
    rows = frame({"magnitude": [0.0] * 5, "power": [0.0] * 5, "log": [0.0] * 5, "chaos": spread(2, 0.3)})
    masks = {"chaos": "c"}
    rows["mask_hash"] = [f"{masks.get(name, 'm')}{seed}" for name, seed in zip(rows["scorer"], rows["seed"], strict=True)]
    result = quick(rows, reference="plateau")
    assert {name: str(result.line(name, 0.7).verdict) for name in ("magnitude", "power", "log", "chaos")} == {
        "magnitude": "IDENTICAL",
        "power": "IDENTICAL",
        "log": "IDENTICAL",
        "chaos": "ESCAPES",
    }
    assert result.line("chaos", 0.7).contrast.mean == pytest.approx(quick(rows).line("chaos", 0.7).contrast.mean)


def test_a_seed_that_one_of_the_pool_misses_is_no_seed_of_the_pool() -> None:
    rows = frame({"magnitude": spread(0, 0.3), "power": spread(0.1, 0.3, state=4), "chaos": spread(2, 0.3, state=5)})
    rows = rows[~((rows["scorer"] == "power") & (rows["seed"] == 1))]
    result = quick(rows, reference="plateau")
    assert {name: result.line(name, 0.7).n for name in ("magnitude", "power", "chaos")} == dict.fromkeys(
        ("magnitude", "power", "chaos"), 4
    )
    assert 1 not in result.line("chaos", 0.7).contrast.seeds


@pytest.mark.parametrize("kappa", [1, 2, None])
def test_a_scorer_named_plateau_is_no_plateau_to_measure_kappa_from(kappa: int | None) -> None:
    values = {"magnitude": spread(0), "bump": spread(0.1, state=1), "chaos": spread(3, state=2), "plateau": spread(0, state=3)}
    rows = frame(values)
    rows["kappa"] = [kappa if name == "plateau" else KAPPA[name] for name in rows["scorer"]]
    result = quick(rows, reference="plateau")
    assert result.spectrum is None
    assert "'plateau' is not rank-monotone" in result.spectrum_reason
    rows["kappa"] = [0 if name == "plateau" else KAPPA[name] for name in rows["scorer"]]
    assert quick(rows, reference="plateau").spectrum is not None


@pytest.mark.parametrize("index", ["seed", "scorer", "sparsity", ["scorer", "sparsity"]])
def test_an_index_named_as_a_column_changes_nothing(index: Any) -> None:
    rows = frame(BASE)
    assert quick(rows.set_index(index, drop=False)).to_dict() == quick(rows).to_dict()


@pytest.mark.parametrize("text", ["nan", "None", " ", "<NA>", "NULL"])
def test_a_missing_hash_written_as_text_is_no_identity(text: str) -> None:
    rows = frame({"magnitude": spread(0), "chaos": spread(0)}, mask_hash=text)
    line = quick(rows).line("chaos", 0.7)
    assert line.verdict is Verdict.EQUIVALENT
    assert line.reason == "degenerate: all differences zero; exact sign-flip p = 0.0312"
    apart = frame({"magnitude": spread(0), "chaos": spread(3, state=1)}, mask_hash=text)
    assert quick(apart).line("chaos", 0.7).verdict is Verdict.ESCAPES


def test_peers_controls_and_baselines_are_no_members_of_the_family_whatever_they_are_called() -> None:
    rows = frame({name: spread(0.2 * i, state=i) for i, name in enumerate(("magnitude", "chaos", "fisher", "own", "mystery"))})
    assert read_table(rows).candidates == ("chaos", "fisher", "mystery", "own")
    roles = {"fisher": "peer", "own": "control", "mystery": None}
    assert read_table(rows.assign(role=rows["scorer"].map(roles))).candidates == ("chaos", "mystery")


def test_one_row_does_not_take_a_scorer_out_of_its_family() -> None:
    rows = frame({name: spread(0.2 * i, state=i) for i, name in enumerate(("magnitude", "chaos", "mine"))})
    roles = ["feature" if name != "mine" else None for name in rows["scorer"]]
    rows["role"] = roles
    assert read_table(rows).candidates == ("chaos", "mine")
    first = rows.index[rows["scorer"] == "mine"][0]
    for others, said in ((None, "empty, peer"), ("feature", "feature, peer")):
        rows.loc[rows["scorer"] == "mine", "role"] = others
        rows.loc[first, "role"] = "peer"
        with pytest.raises(ValueError, match=f"Expected one `role` in every row of 'mine', got {said}"):
            read_table(rows)


def test_the_adaptive_scorer_is_tested_in_a_line_of_its_own_where_its_role_is_known() -> None:
    values = {"magnitude": [0.0] * 5, "chaos": spread(2, 0.3), "adaptive": spread(1, 0.2, state=4)}
    rows = frame(values)
    rows["role"] = ["adaptive" if name == "adaptive" else "feature" for name in rows["scorer"]]
    result = quick(rows)
    assert set(result.family(0.7).members) == {"chaos"}
    (line,) = [line for line in result.lines if line.scorer == "adaptive"]
    assert line.p_escape is not None
    assert line.p_escape_adjusted == line.p_escape
