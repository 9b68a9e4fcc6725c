"""Searched scorers and scorers of another pool by name, and what their rows say of the search."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_analysis.results import Metric
from sics_analysis.rows.searched import SETS, SearchCell, SearchedName, in_other_pools, searched_name
from sics_analysis.rows.table import Table, read_table


def table(rows: list[dict[str, object]], **more: object) -> Table:
    return read_table(pd.DataFrame([{"seed": 0, "sparsity": 0.7, "accuracy": 0.9, **row, **more} for row in rows]))


@given(st.sampled_from(["fusion", "adaptive"]), st.sampled_from(SETS), st.integers(1, 10**6))
def test_a_name_goes_and_comes_back(kind: str, features: str, budget: int) -> None:
    name = SearchedName(kind, features, budget)  # type: ignore[arg-type]
    assert searched_name(str(name)) == name


@pytest.mark.parametrize(
    "name",
    ["fusion", "fusion_orbit", "fusion_orbit_0", "fusion_orbit_-1", "fusion_mine_10", "xfusion_orbit_1", "fusion_orbit_1x"],
)
def test_other_names_are_of_no_search(name: str) -> None:
    assert searched_name(name) is None


def test_a_pool_is_another_one_only_beside_its_scorer() -> None:
    assert in_other_pools({"magnitude/global", "chaos/2:4", "chaos", "a/b", "a"}) == {"chaos/2:4": ("chaos", "2:4")}


def test_searched_scorers_have_no_kappa_and_no_place_in_a_family() -> None:
    rows = [
        {"scorer": "magnitude", "kappa": 0, "pool": "layer-rank"},
        {"scorer": "magnitude/global", "kappa": 0, "pool": "global"},
        {"scorer": "chaos", "kappa": 2, "pool": "layer-rank"},
        {"scorer": "fusion_orbit_10", "kappa": 2, "pool": "layer-rank"},
    ]
    found = table(rows)
    assert found.kappa == {"magnitude": 0, "magnitude/global": None, "chaos": 2, "fusion_orbit_10": None}
    assert found.candidates == ("chaos",)
    assert found.rank_monotone == ("magnitude",)
    assert found.pool == "layer-rank", "that of the run, not of the scorer that names its own"
    without = table([{name: value for name, value in row.items() if name != "kappa"} for row in rows])
    assert without.candidates == ("chaos", "magnitude")


def test_what_rows_say_is_kept_by_seed() -> None:
    search = {
        "budget": 10,
        "held_out": 0.8,
        "held_out_reference": 0.75,
        "weights": "rho +1",
        "objective": "loss",
        "held_out_n": 60,
    }
    found = table([{"scorer": "magnitude", "loss": 0.4}, {"scorer": "fusion_orbit_10", "loss": 0.3, **search}]).searches
    assert found.cells == {("fusion_orbit_10", 0.7): {0: SearchCell(**search)}}  # type: ignore[arg-type]
    assert found.losses == {("magnitude", 0.7): {0: 0.4}, ("fusion_orbit_10", 0.7): {0: 0.3}}


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("budget", 0, "`budget` as a whole number of at least 1, got 0"),
        ("budget", 1.5, "`budget` as a whole number of at least 1, got 1.5"),
        ("held_out_n", -3, "`held_out_n` as a whole number of at least 1"),
        ("held_out", 93.0, "`held_out` as a fraction in \\[0, 1\\], got 93; divide percentages by 100"),
        ("held_out_reference", -0.1, "`held_out_reference` as a fraction"),
        ("held_out_loss", "low", "numbers in column `held_out_loss`, got 'low'"),
        ("loss", float("inf"), "numbers in column `loss`"),
    ],
)
def test_a_cell_that_is_not_accepted_is_named_in_one_line(column: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        table([{"scorer": "fusion_orbit_10", column: value}])
    assert "\n" not in str(raised.value)


def test_the_same_columns_beside_other_scorers_are_nobodys_business() -> None:
    assert not table([{"scorer": "mine", "budget": "small", "held_out": 93.0, "loss": "n/a"}]).searches.cells


def test_another_metric_has_its_own_range() -> None:
    row = {"seed": 0, "scorer": "fusion_orbit_10", "sparsity": 0.7, "accuracy": 31.0, "held_out": 29.0}
    found = read_table(pd.DataFrame([row]), Metric("ppl", "ppl", 1.0, lower_is_better=True))
    assert found.searches.cells["fusion_orbit_10", 0.7][0].held_out == 29.0


def test_the_smaller_budgets_are_those_that_are_nowhere_the_largest() -> None:
    rows = [{"scorer": f"fusion_orbit_{n}", "sparsity": S} for S, top in ((0.5, 10), (0.7, 50)) for n in (1, 10, 50) if n <= top]
    found = table([*rows, {"scorer": "adaptive_orbit_1"}, {"scorer": "magnitude"}]).searches
    assert found.smaller == ("fusion_orbit_1",), "10 is the largest at S = .5, and an adaptive one is another scorer"
