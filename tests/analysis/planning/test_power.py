import json
import math
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from statsmodels.stats.power import TTestIndPower, TTestPower

from sics_analysis.planning.plan import plan, resolution, seeds_needed
from sics_analysis.planning.power import escape_power, tost_power
from sics_analysis.results import Result

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(("n", "power"), [(3, 0.03856), (8, 0.28871), (15, 0.69339), (30, 0.94326), (50, 0.99458)])
def test_example_h_two_sample(n: int, power: float) -> None:
    assert tost_power(-4, 18, 19.2, n, design="two-sample").power == pytest.approx(power, abs=5e-6)


@pytest.mark.parametrize(("ratio", "power"), [(0.5, 0.020), (0.75, 0.109), (1, 0.294), (1.5, 0.735), (2, 0.95)])
def test_example_h_paired(ratio: float, power: float) -> None:
    assert tost_power(0, 1, ratio, 5).power == pytest.approx(power, abs=5e-4)


def test_example_h_seeds_for_80_percent() -> None:
    assert [seeds_needed("equivalence", 0, 1, ratio).n for ratio in (0.5, 0.75, 1, 1.5, 2)] == [36, 17, 11, 6, 4]


def test_example_k_resolution() -> None:
    five, six = resolution(5), resolution(6)
    assert (five.sign_flip_two_sided, five.sign_flip_one_sided) == (Fraction(2, 32), Fraction(1, 32))
    assert six.sign_flip_two_sided == Fraction(1, 32)
    assert five.rotation == Fraction(1, 100_000)
    assert "1/32 one-sided and 1/16 two-sided" in five.describe()
    assert resolution(1).sign_flip_two_sided == 1
    for n in range(1, 30):
        assert (resolution(n).sign_flip_one_sided * 2**n).denominator == 1


@given(st.floats(-2, 2), st.floats(0.1, 2), st.integers(2, 60), st.sampled_from([0.01, 0.05, 0.1]))
def test_tost_power_is_an_owen_integral(difference: float, delta: float, n: int, alpha: float) -> None:
    ours = tost_power(difference, 1.0, delta, n, alpha=alpha).power
    df, critical = n - 1, stats.t.ppf(1 - alpha, n - 1)

    def inside(ratio: float) -> float:
        low, high = (
            (-delta - difference) * math.sqrt(n) + critical * ratio,
            (delta - difference) * math.sqrt(n) - critical * ratio,
        )
        density = stats.chi.pdf(ratio * math.sqrt(df), df) * math.sqrt(df)
        return max(stats.norm.cdf(high) - stats.norm.cdf(low), 0.0) * density

    bound = delta * math.sqrt(n) / critical
    spots = [x for x in (0.5, 0.9, 1.0, 1.1, 1.5) if x < bound]
    expected, _ = integrate.quad(inside, 0, min(bound, 12.0), points=spots or None, limit=200)
    assert ours == pytest.approx(expected, abs=1e-7)


@given(
    st.floats(-1, 4),
    st.floats(0.2, 3),
    st.floats(0, 2),
    st.integers(2, 80),
    st.sampled_from([0.01, 0.05]),
    st.integers(1, 5),
)
def test_escape_power_agrees_with_statsmodels(
    difference: float, sd: float, delta: float, n: int, alpha: float, family: int
) -> None:
    effect = (difference - delta) / sd
    for design, size, power in (
        ("paired", n, TTestPower().power(effect, nobs=n, alpha=alpha / family, alternative="larger")),
        ("two-sample", n / 2, TTestIndPower().power(effect, nobs1=n, alpha=alpha / family, alternative="larger")),
    ):
        ours = escape_power(difference, sd, delta, n, alpha=alpha, family=family, design=design).power  # type: ignore[arg-type]
        noncentrality = effect * math.sqrt(size)
        if noncentrality < -2 or noncentrality > 20:  # there statsmodels' noncentral t is nan or loses its digits
            assert ours < 0.05 / family if noncentrality < 0 else ours > escape_power(0.5, 1, 0.5, n, alpha=alpha / family).power
        else:
            assert ours == pytest.approx(power, abs=1e-8)


def test_power_is_what_simulation_finds() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(0.2, 0.4, (40_000, 6))
    mean, reach = data.mean(axis=1), stats.t.ppf(0.95, 5) * data.std(axis=1, ddof=1) / math.sqrt(6)
    found = np.mean((mean - reach > -0.5) & (mean + reach < 0.5))
    assert tost_power(0.2, 0.4, 0.5, 6).power == pytest.approx(found, abs=4 * math.sqrt(0.25 / 40_000))


def test_the_level_is_the_power_at_the_bound() -> None:
    for n in (3, 5, 20):
        assert escape_power(0.5, 0.3, 0.5, n, alpha=0.05).power == pytest.approx(0.05, abs=1e-9)
        assert tost_power(0.5, 0.3, 0.5, n).power <= 0.05 + 1e-9


@given(st.floats(0, 0.45), st.floats(0.05, 2))
def test_tost_power_is_symmetric_and_falls_with_the_difference(difference: float, sd: float) -> None:
    at = tost_power(difference, sd, 0.5, 7).power
    assert at == pytest.approx(tost_power(-difference, sd, 0.5, 7).power, abs=1e-12)
    assert at <= tost_power(0, sd, 0.5, 7).power + 1e-9


@given(st.floats(0.6, 2), st.floats(0.2, 2), st.floats(0.5, 0.95))
def test_seeds_needed_is_the_first_n_that_reaches_the_power(difference: float, sd: float, target: float) -> None:
    found = seeds_needed("escape", difference, sd, 0.5, power=target, family=3)
    if found.n is None:
        return
    assert escape_power(difference, sd, 0.5, found.n, family=3).power >= target
    if found.n > 3:
        assert escape_power(difference, sd, 0.5, found.n - 1, family=3).power < target


def test_out_of_reach_is_said() -> None:
    for test, difference in (("equivalence", 0.5), ("escape", 0.5), ("superiority", 0.0)):
        found = seeds_needed(test, difference, 1, 0.5)  # type: ignore[arg-type]
        assert found.n is None
        assert found.power is None
        assert "No number of seeds" in found.describe()


def test_superiority_ignores_delta() -> None:
    assert seeds_needed("superiority", 0.5, 0.3, 0.5).n == seeds_needed("superiority", 0.5, 0.3, 9.0).n
    assert escape_power(0.5, 0.3, 0.0, 5).test == "superiority"


def test_plan_is_plain_data_and_holds_the_planned_n() -> None:
    result = plan(5, 0.4)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    rows = {row["n"]: row for row in data["curve"]}
    assert rows[5]["equivalence"] == pytest.approx(result.equivalence.power)
    assert rows[5]["escape"] == pytest.approx(result.escape.power)
    assert min(rows) == 3
    assert result.escape.difference == 1.0
    assert "5 seeds" in result.describe()
    assert max(row["n"] for row in plan(60, 0.4).to_dict()["curve"]) == 60


def test_extremes_stay_probabilities() -> None:
    for sd in (1e-6, 1e6):
        for n in (2, 5, 50_000):
            for difference in (-100.0, 0.0, 100.0):
                assert 0 <= tost_power(difference, sd, 0.5, n).power <= 1
                assert 0 <= escape_power(difference, sd, 0.5, n, family=12).power <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tost_power(0, 0, 0.5, 5), "`sd`"),
        (lambda: tost_power(0, math.nan, 0.5, 5), "`sd`"),
        (lambda: tost_power(0, 1, -0.5, 5), "`delta`"),
        (lambda: tost_power(0, 1, 0.5, 1), "`n`"),
        (lambda: tost_power(0, 1, 0.5, 5, alpha=0.5), "`alpha`"),
        (lambda: tost_power(0, 1, 0.5, 5, design="crossed"), "`design`"),  # type: ignore[arg-type]
        (lambda: escape_power(0, 1, 0.5, 5, family=0), "`family`"),
        (lambda: seeds_needed("equivalence", 0, 1, 0.5, power=1.0), "`power`"),
        (lambda: seeds_needed("guess", 0, 1, 0.5), "`test`"),  # type: ignore[arg-type]
        (lambda: resolution(0), "`n`"),
        (lambda: resolution(5, draws=0), "`draws`"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


def test_planning_imports_nothing_heavy() -> None:
    code = (
        "import sys, sics_analysis.planning.plan as p; p.plan(5, 0.4); "
        "heavy = {'torch', 'pandas', 'statsmodels', 'scipy.stats'} & set(sys.modules); print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_plan_result_follows_the_protocol() -> None:
    made = plan(5, 0.4)
    for result in (made, made.equivalence, made.escape, made.equivalence_seeds, made.escape_seeds, made.resolution):
        assert isinstance(result, Result)
        assert result.confidence_interval() is None
        assert all(isinstance(value, str | int | float | None) for value in result.to_row().values())
    row = made.to_row()
    assert (row["n"], row["equivalence_seeds"], row["escape_seeds"]) == (5, 8, 10)
    assert row["p_min_one_sided"] == 1 / 32


def test_the_resolution_of_many_seeds_is_a_power_of_two() -> None:
    assert "p = 1/1024 one-sided and 1/512 two-sided" in resolution(10).describe()
    assert "p = 2^-50000 one-sided and 2^-49999 two-sided" in resolution(50_000).describe()


@pytest.mark.parametrize("n", [math.inf, math.nan, 5.0, "5", 0])
def test_a_number_of_seeds_is_a_whole_number(n: Any) -> None:
    for call in (lambda: resolution(n), lambda: tost_power(0, 1, 0.5, n), lambda: plan(n, 0.3)):
        with pytest.raises(ValueError, match="`n`"):
            call()


@pytest.mark.parametrize("difference", [math.nan, math.inf])
def test_seeds_are_not_planned_for_no_difference(difference: float) -> None:
    with pytest.raises(ValueError, match="`difference`"):
        seeds_needed("escape", difference, 0.3, 0.5)
