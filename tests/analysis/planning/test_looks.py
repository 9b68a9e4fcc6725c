import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sics_analysis import LookPlan, looks_power, plan, share_plan
from sics_analysis.planning.outlook import planned_lines
from sics_analysis.planning.power import escape_power, tost_power
from sics_analysis.study.analyse import analyse

FORTY = LookPlan(40)


@pytest.mark.parametrize(("ratio", "golden_power", "golden_expected"), [(0.5, 0.768, 35.5), (1.0, 1.0, 15.6), (2.0, 1.0, 7.1)])
def test_power_of_equivalence_is_no_less_than_that_of_an_interval_inside_at_one_look(ratio, golden_power, golden_expected):
    """The golden power is of a repeated interval inside ±δ at one look; halves shown at two looks add to it."""
    sd, rng = 1 / ratio, np.random.default_rng(0)
    d = sd * rng.standard_normal((20_000, 40))
    stop = np.full(len(d), 99)
    from sics_analysis import nominal_levels

    for n, level in reversed(list(zip(FORTY.looks, nominal_levels(FORTY.looks, 40), strict=True))):
        reach = stats.t.isf(level, n - 1) * d[:, :n].std(axis=1, ddof=1) / np.sqrt(n)
        stop[np.abs(d[:, :n].mean(axis=1)) + reach <= 1.0] = n
    assert (stop < 99).mean() == pytest.approx(golden_power, abs=0.008)
    assert np.minimum(stop, 40).mean() == pytest.approx(golden_expected, abs=0.12)
    found = looks_power("equivalence", FORTY, 0.0, sd, 1.0)
    assert (stop < 99).mean() - 0.005 <= found.power <= (stop < 99).mean() + 0.03
    assert golden_expected - 1.2 <= found.expected <= golden_expected + 0.1


@pytest.mark.parametrize(("ratio", "power", "expected"), [(0.5, 0.889, 25.9), (1.0, 1.0, 12.2)])
def test_power_of_an_escape_at_twice_the_margin(ratio, power, expected):
    found = looks_power("escape", FORTY, 2.0, 1 / ratio, 1.0)
    assert found.power == pytest.approx(power, abs=0.005)
    assert found.expected == pytest.approx(expected, abs=0.12)


def test_the_first_look_decides_with_the_power_of_its_level():
    found = looks_power("escape", FORTY, 2.0, 0.5, 1.0)
    assert found.by_look[0] == pytest.approx(stats.nct.sf(stats.t.isf(0.00625, 4), 4, 2 * np.sqrt(5)), rel=1e-6)


@settings(max_examples=10)
@given(st.floats(0.2, 2), st.floats(-1, 1), st.integers(3, 12))
def test_one_look_is_a_fixed_design(sd, difference, n):
    once = LookPlan(n, (n,))
    escape = looks_power("escape", once, difference + 0.5, sd, 0.5)
    assert escape.power == pytest.approx(escape_power(difference + 0.5, sd, 0.5, n).power, abs=1e-6)
    equivalent = looks_power("equivalence", once, difference, sd, 0.5)
    assert equivalent.power == pytest.approx(tost_power(difference, sd, 0.5, n).power, abs=0.011)
    assert escape.expected == pytest.approx(n)


def test_a_family_costs_power():
    alone, five = (looks_power("escape", FORTY, 1.0, 1.0, 0.5, family=m) for m in (1, 5))
    assert five.power < alone.power
    assert five.expected > alone.expected


def test_looking_costs_power_at_every_number_of_seeds():
    for found in (looks_power("escape", FORTY, 1.0, 1.0, 0.5), looks_power("equivalence", FORTY, 0.0, 1.0, 0.5)):
        assert all(reached < fixed + 0.005 for reached, fixed in zip(found.reached, found.fixed, strict=True))
        assert found.describe().startswith("A plan of looks at 5, 8, 12, 18, 27, 40 seeds says ")


def test_a_plan_has_the_looks_beside_it():
    made = plan(5, 0.4, max_seeds=20)
    assert made.looks is not None
    assert made.looks[1].looks == (5, 8, 12, 20)
    assert made.looks[1].family == 5
    written = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert [row["n"] for row in written["looks"][0]["looks"]] == [5, 8, 12, 20]
    assert "looks" not in plan(5, 0.4).to_dict()
    assert plan(5, 0.4).looks is None


def test_the_share_of_lines_is_advised_on():
    few = share_plan([(0.0, 0.2, 1)] * 4, FORTY, 0.5)
    assert (few.advice, few.seeds_fixed) == ("fixed", 5)
    some = share_plan([(0.0, 0.6, 1), (1.2, 0.6, 5)], FORTY, 0.5)
    assert (some.advice, some.seeds_fixed) == ("looks", next(n for n in range(5, 41) if _fixed(n) >= 0.8))
    assert some.seeds_looked in FORTY.looks
    assert some.seeds_looked > some.seeds_fixed
    none = share_plan([(0.5, 0.6, 1)] * 3, FORTY, 0.5)
    assert (none.advice, none.seeds_fixed, none.seeds_looked) == ("looks", None, None)
    assert "not even 40 seeds" in none.why
    for found in (few, some, none):
        assert list(found.looked) == sorted(found.looked)
        assert len(found.to_rows()) == 6
        assert found.describe().endswith(".")


def _fixed(n):
    one = tost_power(0.0, 0.6, 0.5, n).power + 2 * escape_power(0.0, 0.6, 0.5, n).power
    other = tost_power(1.2, 0.6, 0.5, n).power + escape_power(1.2, 0.6, 0.5, n, family=5).power
    return (one + other) / 2


def test_the_lines_of_a_run_are_planned_with():
    import pandas as pd

    rng = np.random.default_rng(0)
    classes = {"magnitude": 0, "power": 0, "chaos": 2, "bump": 1}
    rows = [(i, name, 0.7, 0.8 + rng.normal(0, 0.004), k) for name, k in classes.items() for i in range(6)]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy", "kappa"])
    analysis = analyse(frame, draws=500)
    found = planned_lines(analysis.lines)
    assert len(found) == 2
    line = analysis.line("bump", 0.7)
    assert (line.sd, 2) in [(sd, family) for _, sd, family in found]
    assert all(abs(mean) <= abs(one.mean) for (mean, _, _), one in zip(found, analysis.lines[1:], strict=True))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: looks_power("kappa", FORTY, 0, 1, 0.5), "`test`"),
        (lambda: looks_power("escape", FORTY, 0, 0, 0.5), "`sd`"),
        (lambda: share_plan([], FORTY, 0.5), "at least one line"),
        (lambda: share_plan([(0.0, 1.0, 1)], FORTY, 0.5, target=0.0), "`target`"),
    ],
)
def test_what_cannot_be_planned_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
