import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_analysis.families.kappa import Spectrum, Trend, decide, kappa_p_values, kappa_spectrum, monotonicity_test
from sics_analysis.rows.contrasts import Contrast, differences

pytestmark = pytest.mark.filterwarnings("error")

FLAT, UP, DOWN = [0.05, -0.08, 0.02, 0.06, -0.04], [2.1, 1.8, 2.4, 2.0, 1.9], [-3.1, -2.8, -3.4, -3.0, -2.9]
probability = st.floats(0, 1)
triples = st.lists(st.tuples(probability, probability, probability), min_size=1, max_size=4)


def column(values: list[float], name: str) -> Contrast:
    return differences(values, name=name, reference="magnitude")


def spectrum(families: dict[float, dict[int, list[Contrast]]], delta: float = 0.5) -> Spectrum:
    return kappa_spectrum(families, delta, rng=np.random.default_rng(0), draws=5_000)


def family(smooth: list[list[float]], raw: list[list[float]]) -> dict[int, list[Contrast]]:
    return {1: [column(v, f"s{i}") for i, v in enumerate(smooth)], 2: [column(v, f"r{i}") for i, v in enumerate(raw)]}


@pytest.mark.parametrize(
    ("smooth", "raw", "kappa"),
    [
        ([FLAT, FLAT[::-1]], [FLAT], 0),
        ([DOWN], [DOWN], 0),
        ([UP, FLAT], [FLAT], 1),
        ([UP], [UP], 1),
        ([FLAT], [UP], 2),
        ([DOWN, FLAT], [UP, FLAT], 2),
    ],
)
def test_clear_data_are_claimed(smooth: list[list[float]], raw: list[list[float]], kappa: int) -> None:
    point = spectrum({0.7: family(smooth, raw)})[0.7]
    assert point.kappa == kappa
    assert point.not_rejected == (kappa,)
    assert f"= {kappa} is claimed" in point.describe()
    assert point.p_claim_adjusted is not None
    assert point.p_claim_adjusted <= 0.05


def test_noisy_data_are_undetermined_and_say_what_is_left() -> None:
    point = spectrum({0.7: family([[1.5, -0.5, 0.9, 0.1, 0.6]], [[2.0, -1.0, 1.0, 0.0, 0.4]])})[0.7]
    assert point.kappa is None
    assert set(point.not_rejected) == {0, 1, 2}
    assert "undetermined" in point.describe()


def test_p_values_by_hand_for_one_column_of_each_kind() -> None:
    smooth, raw = column(FLAT, "s"), column(UP, "r")
    point = spectrum({0.8: {1: [smooth], 2: [raw]}})[0.8]
    assert point.p_values is not None
    from scipy import stats

    p_smooth_above = stats.ttest_1samp(FLAT, 0.5, alternative="greater").pvalue
    p_smooth_below = stats.ttest_1samp(FLAT, 0.5, alternative="less").pvalue
    p_raw_below = stats.ttest_1samp(UP, 0.5, alternative="less").pvalue
    assert point.p_values[1] == pytest.approx(p_smooth_below)
    assert point.p_values[2] == pytest.approx(min(1, 2 * min(p_smooth_above, p_raw_below)))
    p_raw_above = stats.ttest_1samp(UP, 0.5, alternative="greater").pvalue
    assert p_raw_above <= point.p_values[0] <= 2.2 * p_raw_above + 1e-3


def test_rejecting_kappa_1_needs_every_smooth_scorer_below() -> None:
    one = spectrum({0.8: family([FLAT], [UP])})[0.8]
    two = spectrum({0.8: family([FLAT, [0.9, -0.3, 0.8, 0.1, 0.5]], [UP])})[0.8]
    assert one.p_values is not None
    assert two.p_values is not None
    assert two.p_values[1] > one.p_values[1]
    assert one.kappa == 2
    assert two.kappa is None


@given(triples, st.sampled_from([0.01, 0.05, 0.2]))
def test_decisions_are_holm_on_the_second_smallest(p_values: list[tuple[float, float, float]], alpha: float) -> None:
    decisions = decide(p_values, alpha)
    for decision, p in zip(decisions, p_values, strict=True):
        assert decision.p_claim == sorted(p)[1]
        assert decision.p_claim_adjusted >= decision.p_claim
        assert decision.not_rejected == tuple(k for k in range(3) if p[k] > decision.level)
        assert alpha / len(p_values) <= decision.level <= alpha
        if decision.kappa is not None:
            assert decision.p_claim_adjusted <= alpha
            assert p[decision.kappa] == max(p)
            # Whatever is claimed would also be claimed if its S stood alone.
            assert decide([p], alpha)[0].kappa in (decision.kappa, None)
    order = list(range(len(p_values)))[::-1]
    assert {i: d.kappa for i, d in zip(order, decide([p_values[i] for i in order], alpha), strict=True)} == {
        i: d.kappa for i, d in enumerate(decisions)
    } or len({sorted(p)[1] for p in p_values}) < len(p_values)


def test_holm_divides_alpha_over_the_sparsities() -> None:
    strong, weak = (0.9, 1e-6, 1e-6), (0.9, 0.03, 0.02)
    assert [d.kappa for d in decide([weak], 0.05)] == [0]
    assert [d.kappa for d in decide([weak, weak], 0.05)] == [None, None]
    assert [d.kappa for d in decide([strong, weak], 0.05)] == [0, 0]
    assert [d.level for d in decide([strong, weak], 0.05)] == [0.025, 0.05]


def test_three_rejections_claim_nothing() -> None:
    (decision,) = decide([(0.001, 0.002, 0.003)], 0.05)
    assert decision.kappa is None
    assert decision.not_rejected == ()


@given(probability, probability, probability, probability)
def test_kappa_2_is_rejected_by_either_half(family_p: float, smooth: float, below1: float, below2: float) -> None:
    p0, p1, p2 = kappa_p_values(family_p, smooth, below1, below2)
    assert (p0, p1) == (family_p, below1)
    assert p2 == min(1.0, 2 * min(smooth, below2))


@pytest.mark.parametrize(
    ("smooth", "raw", "reason"),
    [
        ([], [UP], "none of κ = 1"),
        ([FLAT], [], "none of κ = 2"),
        ([[1.0, 2.0]], [[1.0, 3.0]], "too few seeds: 2"),
    ],
)
def test_what_cannot_be_tested_is_not_available(smooth: list[list[float]], raw: list[list[float]], reason: str) -> None:
    result = spectrum({0.7: family(smooth, raw)})
    point = result[0.7]
    assert point.p_values is None
    assert point.kappa is None
    assert reason in point.reason
    assert "not available" in point.describe()
    assert point.to_row()["p_kappa_0"] is None


def test_a_constant_column_below_delta_has_the_exact_p_of_its_seeds() -> None:
    with_zero = spectrum({0.8: family([FLAT, [0.0] * 5], [UP])})[0.8]
    without = spectrum({0.8: family([FLAT], [UP])})[0.8].p_values
    assert without is not None
    assert with_zero.p_values == (without[0], 1 / 32, without[2])
    assert with_zero.kappa == 2
    only = spectrum({0.8: family([[0.0] * 5], [UP])})[0.8]
    assert only.p_values is not None
    assert (only.p_values[1], only.kappa) == (1 / 32, 2)
    few = spectrum({0.8: family([[0.0] * 4], [UP[:4]])})[0.8]
    assert few.p_values is not None
    assert (few.p_values[1], few.kappa) == (1 / 16, None)


def test_a_constant_escape_keeps_kappa_1_from_being_rejected() -> None:
    point = spectrum({0.8: family([FLAT, [2.0] * 5], [UP])})[0.8]
    assert point.p_values is not None
    assert point.p_values[1] == 1.0
    assert point.kappa is None


def test_an_untestable_sparsity_costs_the_others_nothing() -> None:
    alone = spectrum({0.8: family([FLAT], [UP])})
    beside = spectrum({0.5: family([], [UP]), 0.8: family([FLAT], [UP])})
    assert beside[0.8].level == alone[0.8].level
    assert beside[0.5].kappa is None
    with pytest.raises(KeyError, match=r"0\.5, 0\.8"):
        beside[0.9]


def test_scorers_share_their_common_seeds() -> None:
    longer = differences([*FLAT, 0.03], name="s", seeds=[0, 1, 2, 3, 4, 9])
    point = spectrum({0.8: {1: [longer], 2: [column(UP, "r")]}})[0.8]
    assert point.n == 5


@pytest.mark.parametrize(
    ("families", "delta", "message"), [({0.8: {0: []}}, 0.5, "κ of 1 or 2"), ({0.8: {1: []}}, 0.0, "`delta`")]
)
def test_bad_input_is_named(families: dict[float, dict[int, list[Contrast]]], delta: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spectrum(families, delta)


def test_every_column_keeps_its_own_seeds() -> None:
    """At ten seeds chaos is no escape; on the five its neighbour has it would be one."""
    chaos = differences([2.0, 2.1, 1.9, 2.05, 1.95, -1.5, -1.6, -1.4, -1.7, -1.0], name="chaos")
    whole = {1: [differences([0.05, -0.08, 0.02, 0.06, -0.04] * 2, name="bump")], 2: [chaos]}
    short = {1: [differences([0.05, -0.08, 0.02, 0.06, -0.04], name="bump")], 2: [chaos]}
    for found in (spectrum({0.7: whole})[0.7], spectrum({0.7: short})[0.7]):
        assert found.p_values is not None
        assert found.p_values[0] > 0.4
        assert found.kappa is None
    # And a scorer that shares no seed with the others silences none of them.
    apart = {
        1: [differences([0.05, -0.08, 0.02, 0.06, -0.04], name="bump")],
        2: [differences([2.1, 1.8, 2.4, 2.0, 1.9], name="chaos", seeds=[5, 6, 7, 8, 9])],
    }
    assert spectrum({0.7: apart})[0.7].kappa == 2


@given(triples)
def test_monotonicity_is_the_best_path_of_each_kind(p_values: list[tuple[float, float, float]]) -> None:
    result = monotonicity_test({i / 10: p for i, p in enumerate(p_values)})
    m = len(p_values)
    if m == 1:
        assert result.p_violated is None
        assert result.trend is Trend.UNDECIDED
        return
    best = {True: 0.0, False: 0.0}
    for path in itertools.product(range(3), repeat=m):
        rising = list(path) == sorted(path)
        best[rising] = max(best[rising], min(p[k] for p, k in zip(p_values, path, strict=True)))
    assert result.p_violated == pytest.approx(min(1.0, m * best[True]))
    assert result.p_shown == pytest.approx(min(1.0, m * best[False]))


def test_monotonicity_is_tested_both_ways() -> None:
    zero, one, two = (0.9, 1e-4, 1e-4), (1e-4, 0.9, 1e-4), (1e-4, 1e-4, 0.9)
    assert monotonicity_test({0.5: zero, 0.7: one, 0.8: two}).trend is Trend.SHOWN
    falling = monotonicity_test({0.5: one, 0.7: zero})
    assert falling.trend is Trend.VIOLATED
    assert "shown to fall" in falling.describe()
    assert monotonicity_test({0.5: (0.9, 0.8, 0.7), 0.7: one}).trend is Trend.UNDECIDED


def test_the_spectrum_of_the_paper_is_found_and_rises() -> None:
    result = spectrum(
        {0.5: family([FLAT], [FLAT]), 0.6: family([FLAT], [DOWN]), 0.7: family([UP], [FLAT]), 0.8: family([DOWN], [UP])}
    )
    assert [point.kappa for point in result.points] == [0, 0, 1, 2]
    assert result.monotonicity.trend is Trend.SHOWN
    assert len(result.to_rows()) == 4
    row = result.to_row()
    assert (row["sparsities"], row["kappa"], row["trend"]) == ("0.5, 0.6, 0.7, 0.8", "0, 0, 1, 2", "shown")
    assert spectrum({0.7: family([FLAT], [])}).to_row()["kappa"] == "?"
    assert "never to fall" in result.describe()
