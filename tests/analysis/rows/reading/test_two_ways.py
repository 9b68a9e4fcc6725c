"""What a table's cells and names may mean in two ways: read in the one that is certain and said, or asked for in one line."""

from typing import Any

import pandas as pd
import pytest

from sics_analysis.results import Level
from sics_analysis.rows.reading.asked import Asked
from sics_analysis.rows.reading.names import TableError
from sics_analysis.rows.reading.tidy import tidy


def test_words_for_nothing_are_empty_cells_and_said() -> None:
    for word in ("NaN", "NA", "n/a", "-", "None"):
        found = tidy(pd.DataFrame({"run": [0, 1], "method": "wanda", "val_acc": ["0.9", word]}))
        assert f"{word!r} in 'val_acc' is an empty cell: no result" in found.assumed
        assert found.frame["accuracy"].isna().tolist() == [False, True]
    for word in ("inf", "diverged", "-inf"):
        with pytest.raises(TableError, match=f"val_acc = '{word}' is not accepted"):
            tidy(pd.DataFrame({"run": [0, 1], "method": "wanda", "val_acc": ["0.9", word]}))


@pytest.mark.parametrize("word", ["NaN", "", "diverged"])
def test_a_column_of_a_wide_table_is_not_dropped_for_one_cell(word: str) -> None:
    table = pd.DataFrame({"seed": ["0", "1", "2"], "magnitude": ["90", "91", "92"], "wanda": ["91", word, "93"]})
    if word == "diverged":
        with pytest.raises(TableError, match="wanda = 'diverged' is not accepted"):
            tidy(table)
    else:
        assert set(tidy(table).frame["scorer"]) == {"magnitude", "wanda"}


@pytest.mark.parametrize(
    ("column", "values", "sparsity"),
    [
        ("compression", ["4x", "4X", "4 ×"], 0.75), ("compression_ratio", ["“10×”", "x10", "10"], 0.9),
        ("Compression", ["2", "2.0", "2x"], 0.5), ("keep ratio (%)", ["30", "30 %", "30.0"], 0.7),
        ("Sparsity (%)", [70, 70, 70], 0.7),
    ],
)  # fmt: skip
def test_compression_and_percent_as_people_write_them(column: str, values: list[Any], sparsity: float) -> None:
    found = tidy(pd.DataFrame({"run": [0, 1, 2], "method": "wanda", column: values, "acc": [0.9, 0.91, 0.92]}))
    assert found.frame["sparsity"].tolist() == [sparsity] * 3
    assert any("sparsity = 1 −" in text or "percent" in text for text in found.assumed)


@pytest.mark.parametrize(
    ("column", "value", "sparsity"), [("weight_density", 0.3, 0.7), ("frac_remaining", 30, 0.7), ("param_compression", 4, 0.75)]
)
def test_a_column_said_to_be_the_sparsity_is_read_by_its_name(column: str, value: float, sparsity: float) -> None:
    table = pd.DataFrame({"run": [0, 1], "method": "wanda", column: value, "acc": [0.9, 0.91]})
    found = tidy(table, Asked({"sparsity": column}))
    assert found.frame["sparsity"].tolist() == [sparsity] * 2
    assert any("sparsity = 1 −" in text for text in found.assumed)
    assert (
        f"no column says the sparsity (--columns sparsity={column} says that it is): all rows are one pool" in tidy(table).assumed
    )
    with pytest.raises(TableError, match=f"column '{column}' may be the sparsity, and varies: give --columns sparsity={column}"):
        tidy(table.assign(**{column: [value, value * 1.5]}))


@pytest.mark.parametrize(("column", "word"), [("sparsity", ""), ("density", "-"), ("compression", "n/a")])
def test_a_dense_network_needs_no_sparsity(column: str, word: str) -> None:
    names = ["dense", "dense", "wanda", "wanda"]
    value = {"sparsity": "0.75", "density": "0.25", "compression": "4"}[column]
    table = pd.DataFrame({"run": [0, 1] * 2, "method": names, column: [word] * 2 + [value] * 2, "acc": [0.95, 0.96, 0.9, 0.91]})
    found = tidy(table)
    assert dict(zip(found.frame["scorer"], found.frame["sparsity"], strict=True)) == {"dense": 0.0, "wanda": 0.75}
    assert "2 rows of 'dense' without a sparsity are the dense network, of sparsity 0" in found.assumed
    with pytest.raises(TableError, match=f"{column} = '{word}' is not accepted"):
        tidy(table.assign(method="wanda", run=range(4)))


@pytest.mark.parametrize(
    "name", ["neg_mean_squared_error", "negative_mse", "1-acc", "1 - accuracy", "error_reduction", "loss gain"]
)
def test_a_metric_turned_over_is_asked_for(name: str) -> None:
    table = pd.DataFrame({"run": [0, 1], "method": "wanda", name: [0.9, 0.91]})
    with pytest.raises(TableError, match="its name does not say whether more or less of it is better: give --higher-is-better"):
        tidy(table, Asked({}, metric=name))
    for lower in (True, False):
        found = tidy(table, Asked({}, metric=name, lower_is_better=lower))
        assert found.metric.lower_is_better is lower
        assert f"{'less' if lower else 'more'} {name} is better, as asked" in found.assumed


@pytest.mark.parametrize("name", ["WER", "top1_err"])
def test_a_rate_in_percent_beside_fractions_is_asked_for(name: str) -> None:
    table = pd.DataFrame(
        {"run": [0, 1, 2] * 2, "method": ["wanda"] * 3 + ["magnitude"] * 3, name: [12.5, 12.1, 12.9, 0.13, 0.12, 0.14]}
    )
    with pytest.raises(TableError, match=f"{name} is in percent, and scorer magnitude nowhere above 1: give --unit percent"):
        tidy(table, Asked({}, metric=name))
    assert tidy(table, Asked({}, metric=name, unit="nats")).frame["accuracy"].max() == 12.9
    assert not tidy(table.rename(columns={name: "loss"}), Asked({}, metric="loss")).metric.is_accuracy


def test_files_that_differ_by_sparsity_alone_are_asked_for_their_unit() -> None:
    own = {"run": [0, 1, 2] * 2, "method": ["wanda"] * 3 + ["magnitude"] * 3}
    one = pd.DataFrame({**own, "sparsity": 0.5, "acc": [0.92, 0.93, 0.91] * 2, "file": "a"})
    two = pd.DataFrame({**own, "sparsity": 0.9, "acc": [88.0, 87.0, 86.0] * 2, "file": "b"})
    with pytest.raises(TableError, match="acc is in percent, and file a nowhere above 1"):
        tidy(pd.concat([one, two]))


def test_what_tells_rows_apart_is_no_finding_and_a_population_is() -> None:
    own = {"run": [0, 1, 2], "method": "wanda", "acc": [0.9, 0.91, 0.92]}
    assert not tidy(pd.DataFrame({**own, "saliency_hash": ["a", "b", "c"], "run_uuid": ["x", "y", "z"]})).checks
    (found,) = tidy(pd.DataFrame({**own, "dataset_id": ["a", "b", "c"]})).checks
    assert (found.kind, found.level) == ("pooled", Level.OPEN)
