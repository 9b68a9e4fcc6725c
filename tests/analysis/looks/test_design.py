import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_analysis import LookPlan, planned_looks


@pytest.mark.parametrize(
    ("n_max", "looks"),
    [
        (40, (5, 8, 12, 18, 27, 40)),
        (20, (5, 8, 12, 20)),
        (10, (5, 8, 10)),
        (5, (5,)),
        (6, (6,)),
        (7, (5, 7)),
        (3, (3,)),
        (8, (5, 8)),
    ],
)
def test_each_look_has_half_as_many_seeds_again(n_max, looks):
    assert planned_looks(n_max) == looks


@given(st.integers(3, 500), st.integers(3, 40))
def test_looks_rise_to_the_maximum_and_the_last_step_is_no_small_one(n_max, first):
    looks = planned_looks(n_max, first)
    assert looks[-1] == n_max
    assert list(looks) == sorted(set(looks))
    assert all(later >= 1.25 * n for n, later in pairwise(looks))


def test_a_plan_fills_in_its_looks_and_knows_what_is_spent():
    plan = LookPlan(40)
    assert plan.looks == (5, 8, 12, 18, 27, 40)
    assert [plan.spent(n) for n in (5, 12, 40, 80)] == pytest.approx([0.00625, 0.015, 0.05, 0.05])
    assert [plan.made(n) for n in (4, 5, 11, 40, 41)] == [0, 1, 2, 6, 6]
    assert [plan.next_look(n) for n in (0, 5, 39, 40)] == [5, 8, 40, None]


def test_a_plan_is_written_as_json_and_read_back():
    plan = LookPlan(10, (4, 10), 0.1, futility=0.2, seeds=(*range(9), "last"))
    assert LookPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_max": 2}, "n_max"),
        ({"n_max": 7.5}, "n_max"),
        ({"n_max": 10, "looks": (5, 5, 10)}, "looks"),
        ({"n_max": 10, "looks": (2, 10)}, "looks"),
        ({"n_max": 10, "looks": (5, 8)}, "looks"),
        ({"n_max": 10, "alpha": 0.5}, "alpha"),
        ({"n_max": 10, "spending": "pocock"}, "spending"),
        ({"n_max": 10, "futility": 1.0}, "futility"),
        ({"n_max": 10, "seeds": (1, 2, 3)}, "seeds"),
        ({"n_max": 3, "seeds": (1, 2, 2)}, "seeds"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_one_line(options, said):
    with pytest.raises(ValueError, match=f"Expected .*`{said}`") as caught:
        LookPlan(**options)
    assert "\n" not in str(caught.value)


def test_a_plan_with_a_field_too_many_or_too_few_is_refused():
    with pytest.raises(ValueError, match="futility"):
        LookPlan.from_dict({name: value for name, value in LookPlan(10).to_dict().items() if name != "futility"})
    with pytest.raises(ValueError, match="bonus"):
        LookPlan.from_dict(LookPlan(10).to_dict() | {"bonus": 1})
