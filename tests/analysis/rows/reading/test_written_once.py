"""Cells that are written alike are read once, and refused where they first stand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sics_analysis.rows.reading.cells import numbers
from sics_analysis.rows.reading.names import TableError


def test_repeated_cells_are_read_as_each_alone() -> None:
    cells = ["0.5", " 0.25 ", "", "0.5", "NA", "1e-3", "0.25", ""]
    read = numbers(pd.Series(cells), "acc", "a number", empty=True)
    alone = [numbers(pd.Series([cell]), "acc", "a number", empty=True).values[0] for cell in cells]
    np.testing.assert_array_equal(read.values, alone)
    assert read.words == ("NA",)


def test_a_cell_is_refused_at_its_first_row() -> None:
    with pytest.raises(TableError) as refused:
        numbers(pd.Series(["1", "1", "2", "x", "1", "x"]), "acc", "a number")
    assert refused.value.row == 3


def test_a_cell_that_may_part_thousands_is_named_by_its_first_row() -> None:
    assert numbers(pd.Series(["7", "7", "1.202", "1.202"]), "loss", "a number").parted == 2
