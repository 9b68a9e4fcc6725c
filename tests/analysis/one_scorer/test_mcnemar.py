import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from sics_analysis.one_scorer.mcnemar import SCOPE, mcnemar_exact, mcnemar_table
from sics_analysis.results import Result
from sics_analysis.study.analyse import analyse

pytestmark = pytest.mark.filterwarnings("error", "ignore::sics_analysis.results.DataCheckWarning")


@pytest.mark.parametrize(("only_a", "p", "places"), [(121, 4.43445e-6, 5e-12), (70, 0.3786877, 5e-8), (80, 0.0894523, 5e-8)])
def test_worked_example_e(only_a: int, p: float, places: float) -> None:
    result = mcnemar_table(101, only_a, 59, 33)
    assert result.statistic == 59
    assert result.p == pytest.approx(p, abs=places)


def test_worked_example_l_the_binomial_behind_it() -> None:
    assert stats.binomtest(3, 15, 0.1, alternative="greater").pvalue == pytest.approx(0.18406106910639114, rel=1e-14)


@given(*[st.integers(0, 60)] * 4)
def test_agrees_with_statsmodels(both: int, only_a: int, only_b: int, neither: int) -> None:
    if both + only_a + only_b + neither == 0:
        return
    ours = mcnemar_table(both, only_a, only_b, neither)
    theirs = mcnemar([[both, only_a], [only_b, neither]], exact=True)
    assert ours.statistic == theirs.statistic
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
    swapped = mcnemar_table(both, only_b, only_a, neither)
    assert (swapped.p, swapped.difference) == (ours.p, -ours.difference)


def test_counts_come_from_the_answers() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(500) < 0.9, rng.random(500) < 0.8
    result = mcnemar_exact(a, b, seed=3, name="chaos", reference="magnitude")
    assert result.total == 500
    assert result.only_a == int((a & ~b).sum())
    assert result.neither == int((~a & ~b).sum())
    assert result.difference == pytest.approx(100 * (a.mean() - b.mean()))
    assert result.discordance == pytest.approx((a != b).mean())
    assert mcnemar_exact(a.astype(int), b.astype(np.uint8)).p == result.p


def test_the_result_says_whom_it_speaks_of() -> None:
    result = mcnemar_table(101, 121, 59, 33, seed=2, name="chaos", reference="magnitude")
    assert isinstance(result, Result)
    assert SCOPE == "these two networks only"
    assert result.describe() == (
        "chaos against magnitude at seed 2: 121 examples only chaos gets right, 59 only magnitude; "
        "exact McNemar p = 4.43e-06 (these two networks only)."
    )
    assert result.to_row()["scope"] == SCOPE


def test_the_interval_excludes_zero_where_the_test_rejects() -> None:
    clear, unclear = mcnemar_table(101, 121, 59, 33), mcnemar_table(101, 70, 59, 33)
    for result, rejected in ((clear, True), (unclear, False)):
        interval = result.confidence_interval(0.95)
        assert interval is not None
        assert (0.0 not in interval) is rejected
        assert result.difference in interval


def test_networks_that_never_differ_have_p_one_and_no_interval() -> None:
    result = mcnemar_exact([True, False, True], [True, False, True])
    assert (result.p, result.statistic, result.difference) == (1.0, 0, 0.0)
    assert result.confidence_interval() is None


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([True], [True, False], "same examples"),
        ([], [], "`correct_a`"),
        ([0, 2], [0, 1], "`correct_a`"),
        ([0.5], [1], "truth values"),
    ],
)
def test_bad_answers_are_named(a: list[float], b: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mcnemar_exact(a, b)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="four counts"):
        mcnemar_table(0, 0, 0, 0)
    with pytest.raises(ValueError, match="four counts"):
        mcnemar_table(1, -1, 0, 0)


def test_a_line_of_an_analysis_says_which_two_networks_it_compares() -> None:
    """The row of the report once named every scorer "A" at no seed."""
    rows = [(i, name, 0.7, 0.75) for i in range(3) for name in ("magnitude", "chaos")]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    bits = {(i, name, 0.7): [name == "chaos", True, True, name != "chaos"] for i in range(3) for name in ("magnitude", "chaos")}
    result = analyse(frame, bits=bits, draws=200)
    assert len(result.mcnemar) == 3
    for seed, line in enumerate(result.mcnemar):
        assert isinstance(line, Result)
        assert line.confidence_interval(0.9) == line.result.confidence_interval(0.9)
        assert line.describe().startswith(f"S = 0.7: chaos against magnitude at seed {seed}: 1 example ")
        row = line.to_row()
        assert [row[key] for key in ("scorer", "reference", "sparsity", "seed")] == ["chaos", "magnitude", 0.7, seed]
    assert [row["seed"] for row in result.to_dict()["mcnemar"]] == [0, 1, 2]
    assert {row["scorer"] for row in result.to_dict()["mcnemar"]} == {"chaos"}
