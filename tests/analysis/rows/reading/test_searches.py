"""Tables that tell of searches, however they write their numbers."""

import pandas as pd
import pytest

from sics_analysis.rows.reading.asked import Asked
from sics_analysis.rows.reading.names import TableError
from sics_analysis.rows.reading.tidy import tidy

ROWS = {
    "run": [0, 0],
    "method": ["magnitude", "fusion_orbit_10"],
    "sparsity": [0.7, 0.7],
    "val_acc": ["90.0", "93.0"],
    "budget": ["", "10"],
    "held_out": ["", "94.5"],
    "held_out_reference": ["", "90.5"],
    "held_out_loss": ["", "0.21"],
    "loss": ["0.4", "0.3"],
    "weights": ["", "rho +1, z −0.5"],
}


def test_held_out_results_are_in_the_unit_of_the_metric() -> None:
    found = tidy(pd.DataFrame(ROWS))
    row = found.frame.iloc[1]
    assert (row["accuracy"], row["held_out"], row["held_out_reference"]) == (0.93, 0.945, 0.905)
    assert (row["budget"], row["held_out_loss"], row["loss"], row["weights"]) == (10, 0.21, 0.3, "rho +1, z −0.5")
    assert pd.isna(found.frame.iloc[0]["held_out"])
    assert not [check for check in found.checks if "weights" in check.text or "budget" in check.text]


def test_where_the_loss_is_looked_at_so_is_that_on_held_out_examples() -> None:
    row = tidy(pd.DataFrame(ROWS), Asked({}, metric="loss")).frame.iloc[1]
    assert (row["accuracy"], row["held_out"]) == (0.3, 0.21)
    assert "held_out_reference" not in row, "the rows have no loss of the reference there"


def test_repeats_have_no_search_of_their_own() -> None:
    rows = pd.concat([pd.DataFrame(ROWS).assign(rep=i) for i in range(2)])
    found = tidy(rows, Asked({"seed": "run"}, repeats=("rep",)))
    assert "held_out" not in found.frame.columns


def test_the_order_of_rows_is_kept_with_its_cells() -> None:
    turned = tidy(pd.DataFrame(ROWS).iloc[::-1]).frame
    assert turned.set_index("scorer")["held_out"]["fusion_orbit_10"] == 0.945


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("budget", "many", "budget = 'many' is not accepted: give a count of at least 1"),
        ("budget", "2.5", "budget = '2.5' is not accepted"),
        ("held_out", "945", "held_out = '945' is not accepted: give percent"),
        ("loss", "low", "loss = 'low' is not accepted: give a number"),
    ],
)
def test_a_slip_is_named_with_its_column(column: str, value: str, said: str) -> None:
    with pytest.raises(TableError, match=said):
        tidy(pd.DataFrame(ROWS | {column: ["", value]}))


def test_a_table_without_a_searched_scorer_may_mean_anything_by_them() -> None:
    rows = ROWS | {"method": ["magnitude", "mine"], "budget": ["low", "high"]}
    found = tidy(pd.DataFrame(rows))
    assert "budget" not in found.frame.columns
