import math

import pytest

from sics_analysis.results import Interval, Verdict, check_alpha, check_delta, check_level, p_text, signed


def test_verdicts_are_those_of_the_rules_in_their_order() -> None:
    names = "IDENTICAL EQUIVALENT ESCAPES DEGRADES NONINFERIOR NONSUPERIOR INCONCLUSIVE"
    assert [v.value for v in Verdict] == names.split()


def test_interval_knows_what_lies_inside() -> None:
    interval = Interval(-0.5, 0.25, 0.9, "student-t")
    assert interval.inside(0.5)
    assert not interval.inside(0.49)
    assert 0.25 in interval
    assert 0.26 not in interval
    assert interval.width == 0.75
    assert str(interval) == "90 % CI [−0.50, +0.25]"


@pytest.mark.parametrize(
    ("low", "high", "level"), [(1.0, 0.0, 0.9), (math.nan, 1.0, 0.9), (0.0, math.inf, 0.9), (0.0, 1.0, 1.0), (0.0, 1.0, 0.0)]
)
def test_interval_refuses_what_is_none(low: float, high: float, level: float) -> None:
    with pytest.raises(ValueError, match="Expected"):
        Interval(low, high, level, "student-t")


@pytest.mark.parametrize("alpha", [0.0, 0.5, -1.0, math.nan])
def test_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"`alpha` in \(0, 0\.5\), got"):
        check_alpha(alpha)


@pytest.mark.parametrize("delta", [0.0, -0.5, math.inf, math.nan])
def test_delta_must_be_positive_and_finite(delta: float) -> None:
    with pytest.raises(ValueError, match="`delta` as a positive number of accuracy points, got"):
        check_delta(delta)


def test_level_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="`level`"):
        check_level(math.nan)


def test_numbers_in_sentences() -> None:
    assert signed(-0.004) == "0.00"
    assert signed(1.005e3, 1) == "+1005.0"
    assert p_text(0.5) == "p = 0.5"
    assert p_text(None) == "p undefined"
