"""Any table as one row per (seed, scorer, sparsity): what is recognised, said and refused."""

import re
from typing import Any

import pandas as pd
import pytest

from sics_analysis.results import Level, Metric
from sics_analysis.rows.reading.asked import Asked
from sics_analysis.rows.reading.names import TableError
from sics_analysis.rows.reading.tidy import tidy


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


LONG = {"seed": [0, 1, 0, 1], "scorer": ["a", "a", "b", "b"], "sparsity": [0.7] * 4}


def test_the_projects_own_names_need_no_assumption() -> None:
    found = tidy(table(**LONG, accuracy=[0.9, 0.91, 0.92, 0.93]))
    assert (found.assumed, found.checks) == ((), ())
    assert found.frame["accuracy"].tolist() == [0.9, 0.91, 0.92, 0.93]


@pytest.mark.parametrize(
    ("column", "values", "sparsity"),
    [
        ("density", [0.3, 0.3], 0.7),
        ("keep ratio", ["30 %", "30 %"], 0.7),
        ("remaining", [30, 30], 0.7),
        ("compression", [4, 4], 0.75),
        ("compression_ratio", ["1.25", "1.25"], 0.2),
        ("target_sparsity", ["70", "70"], 0.7),
        ("sparsity", [0, 0], 0.0),
        ("density", [1.0, 1.0], 0.0),
    ],
)
def test_what_stands_for_sparsity_is_turned_into_it(column: str, values: list[Any], sparsity: float) -> None:
    found = tidy(pd.DataFrame({"seed": [0, 1], "scorer": "a", column: values, "acc": [0.9, 0.91]}))
    assert found.frame["sparsity"].tolist() == [sparsity] * 2
    assert column == "sparsity" or any(column in text for text in found.assumed)


@pytest.mark.parametrize(
    "name", ["acc", "val_acc", "test_accuracy", "top1", "Top-1", "Val Acc", "eval/accuracy", "metrics.val_acc"]
)
def test_the_usual_names_of_accuracy(name: str) -> None:
    found = tidy(pd.DataFrame({**LONG, name: [0.9, 0.91, 0.92, 0.93]}))
    assert found.metric.unit == "accuracy points"
    assert f"column {name!r} is the metric" in found.assumed


@pytest.mark.parametrize(
    ("values", "options", "expected", "said"),
    [
        (["93.1", "92"], {}, [0.931, 0.92], "'acc' is in percent"),
        (["93.1%", "0.4 %"], {}, [0.931, 0.004], "'acc' is in percent"),
        ([93.1, 0.4], {}, [0.931, 0.004], "'acc' is in percent, 1 of 2 at or below 1 % among them"),
        ([0.931, 0.004], {}, [0.931, 0.004], None),
        ([0.5, 0.7], {"unit": "percent"}, [0.005, 0.007], "'acc' is in percent"),
        (["0,931", "0,92"], {}, [0.931, 0.92], "decimals follow a comma"),
    ],
)
def test_percent_or_fraction_is_recognised_and_told(
    values: list[Any], options: dict[str, Any], expected: list[float], said: str | None
) -> None:
    found = tidy(pd.DataFrame({"seed": [0, 1], "scorer": "a", "sparsity": 0.5, "acc": values}), Asked({}, **options))
    assert found.frame["accuracy"].tolist() == pytest.approx(expected, abs=1e-12)
    assert (said in found.assumed) if said else not any("percent" in text for text in found.assumed)


def test_a_share_of_another_name_has_points_of_its_own() -> None:
    found = tidy(pd.DataFrame({**LONG, "f1": [0.9, 0.91, 0.92, 0.93]}), Asked({}, metric="f1", unit="points"))
    assert (found.metric.scale, found.metric.unit, found.metric.is_accuracy) == (100.0, "f1 points", True)


def test_another_metric_is_not_clipped_and_keeps_its_values() -> None:
    found = tidy(pd.DataFrame({**LONG, "val_loss": [2.5, -1e9, 0.0, 1e9]}), Asked({}, metric="val_loss", unit="nats"))
    assert found.frame["accuracy"].tolist() == [2.5, -1e9, 0.0, 1e9]
    assert (found.metric.unit, found.metric.lower_is_better) == ("nats", True)
    assert "less val_loss is better (--higher-is-better says otherwise)" in found.assumed


@pytest.mark.parametrize(
    "name", ["latency_ms", "bits_per_byte", "neg_log_likelihood", "accuracy_drop", "ECE", "val_cross_entropy"]
)
def test_less_of_what_everybody_lowers_is_better(name: str) -> None:
    found = tidy(pd.DataFrame({**LONG, name: [0.1, 0.2, 0.3, 0.4]}), Asked({}, metric=name))
    assert found.metric.lower_is_better
    assert f"less {name} is better (--higher-is-better says otherwise)" in found.assumed


@pytest.mark.parametrize("name", ["acc", "val_loss", "score"])
def test_a_direction_that_was_asked_for_is_said_too(name: str) -> None:
    """The report travels without its command: a reader of the page alone must see that less is better."""
    found = tidy(pd.DataFrame({**LONG, name: [0.1, 0.2, 0.3, 0.4]}), Asked({}, metric=name, lower_is_better=True))
    assert found.metric.lower_is_better
    assert f"less {name} is better, as asked" in found.assumed


def test_repeats_are_averaged_before_anything_else() -> None:
    rows = pd.DataFrame(
        {"seed": [0, 0, 1, 1, 1], "scorer": "a", "sparsity": 0.5, "episode": [1, 2, 1, 2, 3], "ret": [1, 3, 4, 6, 8.0]}
    )
    found = tidy(rows, Asked({}, metric="ret", repeats=("episode",)))
    assert found.frame["accuracy"].tolist() == [2.0, 6.0]
    assert "rows of one seed are averaged over episode first: 2 to 3 each" in found.assumed


def test_a_repeat_without_a_result_leaves_none() -> None:
    rows = pd.DataFrame({"seed": [0, 0], "scorer": "a", "sparsity": 0.5, "episode": [1, 2], "acc": [0.9, None]})
    assert tidy(rows, Asked({}, repeats=("episode",))).frame["accuracy"].isna().all()


def test_achieved_sparsities_are_grouped_and_asked_ones_are_not() -> None:
    achieved = table(
        seed=[0, 1, 0, 1], scorer=["a", "a", "b", "b"], sparsity=[0.376449, 0.376451, 0.37645, 0.3765], acc=[0.9] * 4
    )
    found = tidy(achieved)
    assert set(found.frame["sparsity"]) == {0.376}
    assert "sparsities 0.376449 to 0.3765 (4) are one target, 0.376: they lie within 0.001 of each other" in found.assumed
    asked = table(seed=[0, 0], scorer=["a", "a"], sparsity=[0.9, 0.901], acc=[0.9, 0.8])
    assert set(tidy(asked).frame["sparsity"]) == {0.9, 0.901}, "one scorer has both at one seed"
    high = table(seed=[0, 1], scorer=["a", "a"], sparsity=[0.998, 0.999], acc=[0.9, 0.8])
    assert set(tidy(high).frame["sparsity"]) == {0.998, 0.999}, "half as much is left"


def test_columns_that_vary_and_are_ignored_are_open_where_they_name_a_population() -> None:
    rows = pd.DataFrame({**LONG, "acc": [0.9, 0.91, 0.92, 0.93], "dataset": ["x", "y", "x", "y"], "note": ["p", "q", "q", "q"]})
    found = {check.text.split("'")[1]: check for check in tidy(rows).checks}
    assert found["dataset"].level is Level.OPEN
    assert (
        found["dataset"].text
        == "column 'dataset' varies within a scorer (x, y): rows of each are pooled as seeds of one population"
    )
    assert found["note"].level is Level.NOTED
    by_scorer = rows.assign(dataset="x", note=["p", "p", "q", "q"])
    assert tidy(by_scorer).checks == (), "what only tells scorers apart pools nothing"


@pytest.mark.parametrize("name", ["dataset", "split", "arch", "config.task_name", "n"])
def test_scorers_on_different_populations_are_open(name: str) -> None:
    values = ["100", "100", "200", "200"]
    rows = pd.DataFrame({**LONG, "acc": [0.9012, 0.9103, 0.9204, 0.9305], name: values})
    (found,) = tidy(rows).checks
    assert (found.kind, found.level) == ("pooled", Level.OPEN)
    assert found.text.startswith(f"column {name!r} differs between scorers (100, 200): they are compared on different ones")


def test_a_population_by_sparsity_or_named_for_its_scorer_is_no_finding() -> None:
    rows = pd.DataFrame({**LONG, "acc": [0.9, 0.91, 0.92, 0.93]})
    assert not tidy(rows.assign(model="resnet-" + rows["scorer"].astype(str))).checks, "one model, pruned by each"
    assert not tidy(rows.assign(checkpoint=["x", "x", "y", "y"])).checks, "a scorer has its own"
    deeper = rows.assign(sparsity=0.9, dataset="y")
    assert not tidy(pd.concat([rows.assign(sparsity=0.7, dataset="x"), deeper])).checks


def test_a_population_is_seen_within_achieved_sparsities() -> None:
    rows = pd.DataFrame({**LONG, "acc": [0.9, 0.91, 0.92, 0.93], "dataset": ["x", "y", "x", "y"]})
    (found,) = tidy(rows.assign(sparsity=[0.700001, 0.700002, 0.700003, 0.700004])).checks
    assert found.level is Level.OPEN
    (found,) = tidy(rows.assign(sparsity=[0.70, 0.703, 0.696, 0.701]), Asked({}, sparsity_step=0.01)).checks
    assert found.level is Level.OPEN


def test_rows_of_runs_that_did_not_finish_are_open() -> None:
    rows = pd.DataFrame({**LONG, "acc": [0.9, 0.91, 0.92, 0.93], "State": ["finished", "crashed", "finished", "running"]})
    (found,) = tidy(rows).checks
    assert (found.kind, found.level) == ("unfinished", Level.OPEN)
    assert found.text == (
        "2 rows are crashed, running by column 'State', and counted as results: --where State=finished keeps the others"
    )
    assert not tidy(rows.assign(State="finished")).checks


@pytest.mark.parametrize(
    ("columns", "asked", "said"),
    [
        ({**LONG, "val_acc": 0.9, "test_acc": 0.9}, {},
            "several columns could be the metric (val_acc, test_acc): give --columns metric=val_acc or --columns "
            "metric=test_acc"),
        ({"seed": [0], "method": "a", "pruner": "b", "acc": 0.9}, {},
            "several columns could be the scorer (method, pruner): give --columns scorer=method or --columns "
            "scorer=pruner"),
        ({"scorer": ["a"], "x": 1, "acc": 0.9}, {},
            "column seed is missing (found 'scorer, x, acc'): say which it is, --columns seed=COLUMN"),
        ({**LONG, "mse": 1.0}, {}, "column accuracy is missing"),
        ({**LONG, "mse": 1.0}, {"metric": "mae"}, "--metric mae: there is no such column, but 'seed, scorer, sparsity, mse'"),
        ({**LONG, "acc": 0.9}, {"columns": {"seed": "runs"}},
            "--columns seed=runs: there is no column 'runs', but 'seed, scorer, sparsity, acc'"),
        ({**LONG, "acc": 0.9}, {"columns": {"seeds": "seed"}},
            "--columns seeds=seed: is not accepted: give seed, scorer, sparsity, metric, kappa"),
        ({**LONG, "acc": 0.9}, {"columns": {"seed": "scorer", "scorer": "scorer"}}, "seed and scorer are both 'scorer'"),
        ({**LONG, "acc": [0.9, 0.8, 93.0, 0.7]}, {},
            "acc = 93.0 stands beside 3 values of at most 1: give --unit percent or --unit fraction"),
        ({**LONG, "acc": [0.9, 0.8, 0.7, -0.1]}, {}, "acc = '-0.1' is not accepted: give a fraction from 0 to 1, or percent"),
        ({**LONG, "mse": ["1", "2", "inf", "3"]}, {"metric": "mse"}, "mse = 'inf' is not accepted: give a number"),
        ({**LONG, "acc": 0.9, "density": [0.0, 0.3, 0.3, 0.3]}, {"columns": {"sparsity": "density"}},
            "density = '0.0' is not accepted"),
        ({**LONG, "acc": 0.9}, {"repeats": ("episode",)}, "--repeats episode: there is no column 'episode', but"),
        ({**LONG, "acc": 0.9}, {"where": {"scorer": "z"}}, "--where scorer=z: no row has it, but a, b"),
        ({"seed": [0, 0], "scorer": "a", "sparsity": 0.5, "acc": 0.9, "dataset": ["x", "y"]}, {},
            "seed 0, 'a' at sparsity 0.5 is there already (row 0): one row per (seed, scorer, sparsity); column "
            "'dataset' tells them apart: --where dataset=VALUE keeps one"),
        ({"seed": [0, 0], "scorer": "a", "metric": ["f1", "em"], "value": 0.9}, {},
            "column 'metric' names several metrics (em, f1): give --metric NAME"),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused_with_what_to_give(
    columns: dict[str, Any], asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(TableError) as caught:
        tidy(pd.DataFrame(columns), Asked(**{"columns": {}, **asked}))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("role", ["method", "run"])
def test_percent_and_fractions_in_one_column_are_refused(role: str) -> None:
    table = pd.DataFrame({"run": [0, 1, 2] * 2, "method": ["wanda"] * 3 + ["magnitude"] * 3, "val_acc": [92.1, 92.3, 91.9] * 2})
    small = table["method"] == "wanda" if role == "method" else table["run"] == 1
    mixed = table.assign(val_acc=table["val_acc"].where(~small, table["val_acc"] / 100))
    with pytest.raises(TableError, match="nowhere above 1: give --unit percent"):
        tidy(mixed)
    assert tidy(mixed, Asked({}, unit="percent")).frame["accuracy"].min() < 0.01
    collapsed = pd.concat([table.assign(sparsity=0.5), table.assign(sparsity=0.99, val_acc=[0.9, 1.0, 0.8] * 2)])
    assert "'val_acc' is in percent, 6 of 12 at or below 1 % among them" in tidy(collapsed).assumed


def test_a_comma_that_may_part_thousands_is_refused() -> None:
    table = pd.DataFrame({"run": [0, 1, 2], "method": "wanda", "ppl": ["987", "1,012", "1,105"]})
    with pytest.raises(TableError, match="without a comma that may part thousands"):
        tidy(table, Asked({}, metric="ppl"))
    assert tidy(table.assign(ppl=["9,87", "1,012", "1"]), Asked({}, metric="ppl")).frame["accuracy"].tolist() == [
        9.87,
        1.012,
        1.0,
    ]
    comma = table.assign(sparsity="0,7", ppl="987,5")
    for cells, said in (
        (["9,870", "1,012", "1,100"], "'9,870' is not accepted: give a number, without a comma that may part thousands"),
        (["1,012,345", "987", "1"], "'1,012,345' is not accepted: give a number, without signs between thousands"),
        (["1.012,5", "987,5", "1,5"], "'1.012,5' is not accepted: give a number, without signs between thousands"),
        (["1,012.5", "987.5", "1.5"], "'1,012.5' is not accepted: give a number, without signs between thousands"),
        (["1.012", "987", "1.105"], "without a point that may part thousands, as decimals follow a comma in this table"),
    ):
        with pytest.raises(TableError, match=re.escape(said)):
            tidy(comma.assign(ppl=cells), Asked({}, metric="ppl"))
    percent = table.assign(val_acc=["90,123", "91,250", "89,875"]).drop(columns="ppl")
    assert tidy(percent).frame["accuracy"].tolist() == [0.90123, 0.9125, 0.89875], "no accuracy is ninety thousand"
    counted = table.assign(val_acc=[0.9, 0.91, 0.92], n="10,000").drop(columns="ppl")
    with pytest.raises(TableError, match="n = '10,000' is not accepted: give a count of at least 1, without a comma"):
        tidy(counted)


@pytest.mark.parametrize("name", ["accuracy_drop", "latency", "ECE", "top1_error"])
def test_what_everybody_wants_less_of(name: str) -> None:
    table = pd.DataFrame({"run": [0, 1], "method": "wanda", name: [0.3, 0.4]})
    assert tidy(table, Asked({}, metric=name)).metric.lower_is_better


WIDE = {"seed": [0, 1, 2], "magnitude": [0.90, 0.91, 0.89], "wanda": [0.92, 0.93, 0.91]}


@pytest.mark.parametrize(
    "beside",
    [
        {"epoch_time": [35.1, 35.9, 35.2]},
        {"params_M": [11.2] * 3, "GFLOPs": [1.8] * 3, "lr": [0.1] * 3},
        {"trainSeconds": [0.51, 0.52, 0.5], "peak_memory": [0.8, 0.81, 0.8]},
        {"score_sum": [350.0, 351.0, 352.0]},
        {"margin": [-0.2, 0.1, 0.3]},
        {"mean": [0.91, 0.92, 0.9]},
    ],
)
def test_numbers_beside_the_scorers_of_a_wide_table_are_left_out_and_said(beside: dict[str, list[float]]) -> None:
    found = tidy(pd.DataFrame({**WIDE, **beside}))
    assert set(found.frame["scorer"]) == {"magnitude", "wanda"}
    assert found.frame["accuracy"].max() == 0.93, "fractions stay fractions"
    (said,) = [text for text in found.assumed if "left out" in text]
    assert all(name in said for name in beside)


@pytest.mark.parametrize("odd", [[35.1, 36.2, 35.0], [0.002, 0.001, 0.002], [0.5] * 3])
def test_a_column_of_another_size_is_refused_until_it_is_said_what_it_is(odd: list[float]) -> None:
    rows = pd.DataFrame({**WIDE, "lamp": odd})
    with pytest.raises(
        TableError, match="lamp is of another size or never varies: give --columns scorer=magnitude,wanda, with all"
    ):
        tidy(rows)
    assert set(tidy(rows, Asked({"scorer": ("magnitude", "wanda")})).frame["scorer"]) == {"magnitude", "wanda"}
    if max(odd) < 1:
        assert set(tidy(rows, Asked({"scorer": ("magnitude", "wanda", "lamp")})).frame["scorer"]) == {
            "magnitude",
            "wanda",
            "lamp",
        }


def test_other_metrics_may_explode() -> None:
    rows = pd.DataFrame({"seed": [0, 1, 2], "magnitude": [900.0, 800.0, 850.0], "wanda": [6.0, 6.1, 6.2]})
    assert set(tidy(rows, Asked({}, metric="ppl")).frame["scorer"]) == {"magnitude", "wanda"}


@pytest.mark.parametrize("columns", [{"scorer": ("magnitude", "wnda")}, {"kappa": ("magnitude", "wanda")}])
def test_columns_of_a_wide_table_that_are_not_there_or_no_results_are_refused(columns: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(TableError, match=r"did you mean wanda|one role has several columns"):
        tidy(pd.DataFrame(WIDE), Asked(columns))


@pytest.mark.parametrize(
    ("unit", "delta", "margin", "said"),
    [
        ("fraction", 0.005, 0.5, "δ = 0.005 is in the fraction: 0.5 points"),
        ("Fraction", 0.5, 50.0, "δ = 0.5 is in the fraction: 50 points"),
        ("percent", 0.5, 0.5, "δ = 0.5 is in percent: 0.5 points"),
        ("%", 0.5, 0.5, "δ = 0.5 is in percent: 0.5 points"),
        ("points", 0.5, 0.5, "δ = 0.5 is in points: 0.5 points"),
        ("pp", 0.5, 0.5, "δ = 0.5 is in points: 0.5 points"),
    ],
)
def test_a_margin_is_in_the_unit_said(unit: str, delta: float, margin: float, said: str) -> None:
    values = [93.0, 92.0, 91.0, 90.0] if unit in ("percent", "%") else [0.93, 0.92, 0.91, 0.9]
    asked = Asked({}, unit=unit, delta=delta)
    found = tidy(pd.DataFrame({**LONG, "acc": values}), asked)
    assert asked.margin_of(found.metric) == pytest.approx(margin)
    assert said in found.assumed
    assert found.frame["accuracy"].tolist() == [0.93, 0.92, 0.91, 0.9]
    assert Asked({}, unit="nats", delta=0.01).margin_of(Metric("nll", "nats", 1.0)) == 0.01
    own = Metric("share of time", "share", 1.0)
    assert Asked({}, unit="share", delta=0.01).margin_of(own) == 0.01, "its own unit, and no share of a hundred points"


def test_counts_are_known_where_they_are_whole_and_not_for_being_rounded() -> None:
    rows = {**LONG, "accuracy": [0.901, 0.897, 0.9, 0.905]}
    assert tidy(pd.DataFrame({**rows, "n": 1000})).frame["correct"].tolist() == [901, 897, 900, 905]
    for n in (10_000, 999):  # of 10 000 every third decimal is whole; of 999 none is
        assert "correct" not in tidy(pd.DataFrame({**rows, "n": n})).frame
    told = tidy(pd.DataFrame({**rows, "n": 1000, "correct": [901, 897, 900, 905]}))
    assert not any("counts" in text for text in told.assumed), "said by the table itself"


def test_sparsities_are_rounded_when_asked_and_the_way_out_is_said() -> None:
    achieved = [0.498, 0.5011, 0.5032, 0.8979, 0.9006, 0.9033]
    rows = pd.DataFrame({"seed": [0, 1, 2] * 2, "scorer": "a", "sparsity": achieved, "target": [0.5] * 3 + [0.9] * 3, "acc": 0.9})
    found = tidy(rows)
    assert len(set(found.frame["sparsity"])) > 2
    assert any("--columns sparsity=target or --round-sparsity 0.01 makes one pool" in text for text in found.assumed)
    for asked in (Asked({}, sparsity_step=0.01), Asked({"sparsity": "target"})):
        found = tidy(rows, asked)
        assert set(found.frame["sparsity"]) == {0.5, 0.9}
        assert not any("one pool" in text for text in found.assumed)
    with pytest.raises(TableError, match=r"sparsity 0\.8979 becomes 1: give a smaller step"):
        tidy(rows, Asked({}, sparsity_step=0.5))
    with pytest.raises(TableError, match=r"meets another of its seed and scorer at 0\.9"):
        tidy(rows.assign(seed=[0, 1, 2, 0, 0, 1]), Asked({}, sparsity_step=0.1))


def test_dense_rows_are_never_dropped_without_a_word() -> None:
    pruned = [(i, name, S, 0.9 + i / 100) for i in range(3) for name in ("a", "b") for S in (0.5, 0.9)]
    names = ["seed", "scorer", "sparsity", "accuracy"]
    whole = [(i, "dense", 0.0, 0.95 + i / 100) for i in range(3)]
    repeated = [(i, "dense", S, 0.95 + i / 100) for i in range(3) for S in (0.5, 0.9)]
    other = [(i, "dense", S, 0.9 + S / 20 + i / 100) for i in range(3) for S in (0.5, 0.9)]
    for rows, dense, said in (
        (whole, {0.0}, "3 rows of sparsity 0 are dense networks, which --reference dense compares with"),
        (repeated, {0.0}, "'dense' has one value a seed at every sparsity: it is the dense network, of sparsity 0"),
        (whole + repeated, {0.0}, "'dense' has one value a seed at every sparsity: it is the dense network, of sparsity 0"),
        (whole + other, {0.0}, "6 rows of 'dense' at sparsities above 0, not at 0: left out"),
        (
            other,
            {0.5, 0.9},
            "rows of 'dense' differ between sparsities above 0: it is a scorer as the others, compared at each S",
        ),
    ):
        found = tidy(pd.DataFrame(pruned + rows, columns=names))
        assert said in found.assumed
        assert set(found.frame.loc[found.frame["scorer"] == "dense", "sparsity"]) == dense
        assert (found.frame["scorer"] != "dense").sum() == len(pruned)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (Asked({}, metric="val_los"), "val_loss"),
        (Asked({"seed": "sed"}), "seed"),
        (Asked({"scorers": "scorer"}), "scorer"),
        (Asked({}, where={"scorr": "a"}), "scorer"),
        (Asked({}, where={"scorer": "wnda"}), "wanda"),
        (Asked({}, repeats=("episodes",)), "episode"),
    ],
)
def test_a_slip_of_the_pen_is_answered_with_what_is_near(asked: Asked, meant: str) -> None:
    rows = pd.DataFrame({"seed": [0, 0], "scorer": ["wanda", "snip"], "val_acc": 0.9, "val_loss": 1.0, "episode": 1})
    with pytest.raises(TableError) as caught:
        tidy(rows, asked)
    assert f"(did you mean {meant}?)" in str(caught.value)


def test_a_scorer_without_the_harder_repeats_is_open() -> None:
    rows = pd.DataFrame(
        [(seed, name, episode, 0.9 - 0.03 * episode) for seed in range(3) for name in ("a", "b") for episode in range(4)],
        columns=["seed", "scorer", "episode", "acc"],
    )
    asked = Asked({}, repeats=("episode",))
    assert not tidy(rows, asked).checks
    (found,) = tidy(rows[(rows["scorer"] == "a") | (rows["episode"] < 2)], asked).checks
    assert (found.kind, found.level) == ("missing", Level.OPEN)
    assert found.text == (
        "b has 2 of 4 repeats (episode) at seed 0, and 2 more like it: its mean is of those alone, and others may be harder"
    )
    moved = rows[rows["episode"] != (rows["scorer"] == "a")]
    assert tidy(moved, asked).checks[0].level is Level.OPEN, "as many each, and not the same"
    labelled = rows.assign(episode=[f"job-{i}" for i in range(len(rows))])
    assert not tidy(labelled, asked).checks, "labels of rows are no repeats, and there are as many of each"
    assert tidy(labelled.drop(index=[0]), asked).checks[0].text.startswith("a has 3 of 4 repeats (episode) at seed 0: ")
    assert not tidy(rows[rows["episode"] < rows["seed"] + 2], asked).checks, "seeds may have fewer, as long as all scorers do"
