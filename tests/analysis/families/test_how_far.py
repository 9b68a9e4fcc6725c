import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sics_analysis.families.how_far import how_far
from sics_analysis.families.multiplicity import holm
from sics_analysis.report import figure_list, report_table
from sics_analysis.rows.contrasts import Contrast, differences
from sics_analysis.study.analyse import analyse

GOOD = [0.1, -0.1, 0.0, 0.2, 0.1]
#: Mean 0 and se .2236: against −.5 that is t = 2.236 with 4 degrees of freedom, p = .0445.
FAIR = [-0.6324555 + 0.3162278 * i for i in range(5)]
BAD = [-3.0, -2.0, -4.0, -2.5, -3.5]


def sequence(*values: list[float]) -> list[Contrast]:
    return [differences(d, sparsity=0.5 + 0.1 * i, reference="dense") for i, d in enumerate(values)]


def test_a_sequence_ends_at_the_first_that_fails() -> None:
    (found,) = how_far({"a": sequence(GOOD, GOOD, BAD, GOOD)}, 0.5)
    assert [step.passed for step in found.steps] == [True, True, False, False], "what lies behind a failure is not claimed"
    assert found.reached == pytest.approx(0.6)
    assert "can be pruned up to S = 0.6" in found.describe()
    (none,) = how_far({"a": sequence(BAD, GOOD)}, 0.5)
    assert none.reached is None
    assert "not shown within 0.5 points below dense at any S" in none.describe()


def test_p_and_bound_are_those_of_a_one_sided_t() -> None:
    (found,) = how_far({"a": sequence(FAIR)}, 0.5)
    step = found.steps[0]
    assert step.p == pytest.approx(stats.ttest_1samp(FAIR, -0.5, alternative="greater").pvalue)
    assert step.p == pytest.approx(0.0445, abs=5e-4)
    assert step.bound == pytest.approx(stats.ttest_1samp(FAIR, 0, alternative="greater").confidence_interval(0.95).low)
    assert step.passed


def test_over_scorers_alpha_is_divided_and_a_finished_sequence_hands_its_share_on() -> None:
    # p = .0445 fails at .05/2; where the other's sequence is finished it is tested at .05.
    one, two = how_far({"a": sequence(FAIR), "b": sequence(GOOD, BAD)}, 0.5)
    assert (one.level, one.reached, one.alone) == (0.025, None, 0.5)
    assert two.reached == 0.5
    one, two = how_far({"a": sequence(FAIR), "b": sequence(GOOD, GOOD)}, 0.5)
    assert (one.level, one.reached) == (0.05, 0.5)
    assert "error held over 2 scorers" in one.describe()


def test_a_gap_keeps_to_the_tested_and_too_few_seeds_end_it() -> None:
    empty = differences([], sparsity=0.6)
    (found,) = how_far({"a": [sequence(GOOD)[0], empty, differences(GOOD, sparsity=0.7)]}, 0.5)
    assert [step.sparsity for step in found.steps] == [0.5, 0.7]
    assert found.reached == 0.7
    (few,) = how_far({"a": [*sequence(GOOD), differences(GOOD[:2], sparsity=0.6), differences(GOOD, sparsity=0.7)]}, 0.5)
    assert few.reached == 0.5
    (none,) = how_far({"a": [empty]}, 0.5)
    assert (none.reached, none.steps) == (None, ())
    assert "no S has a seed" in none.describe()
    assert how_far({}, 0.5) == ()


def test_constant_differences_take_the_exact_sign_flip() -> None:
    # 2⁻⁵ = .031 passes at .05 and not at .025; three seeds reach .125 at best, and a constant at −δ is no evidence.
    assert how_far({"a": [differences([0.2] * 5, sparsity=0.5)]}, 0.5)[0].reached == 0.5
    assert how_far({"a": [differences([0.2] * 3, sparsity=0.5)]}, 0.5)[0].reached is None
    assert how_far({"a": [differences([-0.5] * 9, sparsity=0.5)]}, 0.5)[0].steps[0].p == 1.0


columns = st.lists(st.lists(st.floats(-1, 1).map(lambda x: round(x, 2)), min_size=5, max_size=5), min_size=1, max_size=4)


@given(columns)
def test_with_one_sparsity_it_is_holm(values: list[list[float]]) -> None:
    found = how_far({str(i): sequence(d) for i, d in enumerate(values)}, 0.5)
    adjusted = holm([one.steps[0].p for one in found])
    assert [one.reached is not None for one in found] == [p is not None and p <= 0.05 for p in adjusted]


@given(columns, columns)
def test_no_claim_together_that_is_none_alone_and_claims_begin_at_the_lowest(
    first: list[list[float]], other: list[list[float]]
) -> None:
    for found in how_far({"a": sequence(*first), "b": sequence(*other)}, 0.5):
        assert all(step.alone or not step.passed for step in found.steps)
        passed = [step.passed for step in found.steps]
        assert passed == sorted(passed, reverse=True)


def rows(dense: str = "dense") -> pd.DataFrame:
    found = [(i, dense, 0.0, 0.9) for i in range(5)]
    found += [(i, "wanda", 0.5, 0.9 + GOOD[i] / 100) for i in range(5)]
    found += [(i, "wanda", 0.7, 0.9 + BAD[i] / 100) for i in range(5)]
    return pd.DataFrame(found, columns=["seed", "scorer", "sparsity", "accuracy"])


@pytest.mark.parametrize("dense", ["dense", "none", "wanda"])
def test_the_dense_network_is_every_row_of_sparsity_zero(dense: str) -> None:
    result = analyse(rows(dense), "dense", draws=500)
    (found,) = result.how_far
    assert (found.scorer, found.reached) == ("wanda", 0.5)
    assert result.line("wanda", 0.7).mean == pytest.approx(-3.0)
    assert result.to_dict()["how_far"][0]["steps"][0]["passed"] is True
    assert "wanda can be pruned up to S = 0.5" in result.describe()


def test_without_a_dense_network_it_is_refused_in_a_line() -> None:
    table = rows()
    for bad in (table[table.sparsity > 0], pd.concat([table, table.head(1).assign(accuracy=0.5)])):
        with pytest.raises(ValueError, match=r"one dense network a seed") as error:
            analyse(bad, "dense", draws=500)
        assert "\n" not in str(error.value)
    assert analyse(pd.concat([rows(), rows().assign(scorer="mag")[5:]]), "mag", draws=500).how_far == ()


def test_what_is_no_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="one contrast a sparsity"):
        how_far({"a": [differences(GOOD)]}, 0.5)
    with pytest.raises(ValueError, match="one contrast a sparsity"):
        how_far({"a": [differences(GOOD, sparsity=0.5)] * 2}, 0.5)


def test_the_figure_is_drawn_against_the_dense_network_alone() -> None:
    dense, usual = (
        report_table(pd.concat([rows(), rows().assign(scorer="mag")[5:]]), name, draws=500) for name in ("dense", "mag")
    )
    figure = next(found for found in figure_list(dense) if found.id == "far")
    assert figure.svg is not None
    assert "can prune to S = 0.5" in figure.caption
    assert "wanda can be pruned up to S = 0.5" in figure.alt
    assert "far" not in [found.id for found in figure_list(usual)]


def test_no_false_claim_beyond_alpha_where_every_s_is_on_the_bound() -> None:
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(400):
        data = rng.normal(-0.5, 0.3, (4, 3, 5))
        false += any(found.reached is not None for found in how_far({str(i): sequence(*d) for i, d in enumerate(data)}, 0.5))
    assert false / 400 <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


@pytest.mark.parametrize("unpaired", [False, True])
def test_nothing_is_claimed_where_delta_is_below_the_noise_of_repeated_evaluations(unpaired: bool) -> None:
    frame = rows()
    first, *others = sorted(set(frame["sparsity"]) - {0.0})
    quiet = analyse(frame, "dense", 0.5, noise_floor=dict.fromkeys(others, 0.6), unpaired=unpaired, draws=200)
    assert {found.reached for found in quiet.how_far} <= {None, first}
    assert any(found.reached == first for found in quiet.how_far)
    noisy = analyse(frame, "dense", 0.5, noise_floor=0.6, unpaired=unpaired, draws=200)
    assert all(found.reached is None and found.alone is None for found in noisy.how_far)
