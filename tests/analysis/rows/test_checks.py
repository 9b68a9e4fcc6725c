"""What stands above the verdicts: seeds that are missing, copied, alone or too coarse."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from sics_analysis.results import ACCURACY, Level, Metric
from sics_analysis.rows.checks import copied_checkpoints, data_checks
from sics_analysis.rows.table import read_table


def checks(values: dict[str, list[float | None]], *, S: float = 0.7, delta: float = 0.5, **columns: Any) -> list[Any]:
    rows = [
        {"seed": seed, "scorer": name, "sparsity": S, "accuracy": value, **columns}
        for name, own in values.items()
        for seed, value in enumerate(own)
    ]
    return list(data_checks(read_table(pd.DataFrame(rows)), "magnitude", delta))


GOOD = {"magnitude": [0.9, 0.91, 0.92, 0.93], "a": [0.92, 0.915, 0.931, 0.95]}


def test_whole_rows_have_nothing_to_say() -> None:
    assert checks(GOOD) == []


def test_who_lacks_which_seeds_is_open_and_touches_that_line() -> None:
    (found,) = checks({**GOOD, "b": [0.95, None, 0.96, None], "c": [0.91, 0.9, 0.92, 0.93]})
    assert (found.kind, found.level, found.scorers, found.sparsities) == ("missing", Level.OPEN, ("b",), (0.7,))
    assert found.text.startswith("b has no result for seeds 1 and 3 at S = 0.7")
    assert found.touches("b", 0.7)
    assert not found.touches("c", 0.7)


def test_a_reference_that_lacks_seeds_touches_who_has_them() -> None:
    (found,) = checks({**GOOD, "magnitude": [0.9, 0.91, 0.92, None], "b": [0.9, 0.92, 0.935, None]})
    assert found.text.startswith("magnitude has no result for seed 3")
    assert found.scorers == ("a",)


def test_a_scorer_without_a_row_is_noted() -> None:
    (found,) = checks({**GOOD, "b": [None, None, None, None]})
    assert (found.level, found.text) == (Level.NOTED, "b has no result at S = 0.7")


def test_no_seed_in_common_is_offered_welch() -> None:
    rows = [(s, "magnitude", 0.7, 0.9 + s / 100) for s in range(3)] + [(s, "a", 0.7, 0.9 + s / 100) for s in range(5, 8)]
    table = read_table(pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"]))
    (found,) = data_checks(table, "magnitude", 0.5)
    assert (found.kind, found.level) == ("unpaired", Level.OPEN)
    assert found.text == "a and magnitude share no seed at S = 0.7: --unpaired compares them as independent samples (Welch's t)"


def test_copies_of_a_network_are_no_seeds() -> None:
    (found,) = checks({"magnitude": [0.9] * 5, "a": [0.93] * 5})
    assert (found.kind, found.level) == ("copied", Level.OPEN)
    assert found.text.startswith("seeds 0, 1, 2, 3 and 4 have equal values in all of their 2 cells")
    few = checks({"magnitude": [0.9, 0.9, 0.91, 0.92], "a": [0.93, 0.93, 0.945, 0.9]})
    assert few == [], "two of two cells may agree by chance"
    four = {"magnitude": [0.9, 0.9, 0.91], "a": [0.93, 0.93, 0.94], "b": [0.8, 0.8, 0.7], "c": [0.6, 0.6, 0.5]}
    assert [check.text.split(" have")[0] for check in checks(four) if check.kind == "copied"] == ["seeds 0 and 1"]


def test_copies_by_hash_of_the_dense_network() -> None:
    assert copied_checkpoints([(0, "a"), (1, "b"), (0, "a"), (2, None), (3, None)]) == ()
    (found,) = copied_checkpoints([(0, "a"), (1, "a")])
    assert found.level is Level.OPEN
    (given,) = copied_checkpoints([(0, "a"), (1, "a")], given=True)
    assert given.level is Level.NOTED, "a run of one given network was asked for"


def test_a_margin_below_one_test_example_is_open() -> None:
    rows = [
        {"seed": s, "scorer": name, "sparsity": 0.7, "accuracy": c / 150, "correct": c, "n": 150}
        for name, own in {"magnitude": [130, 131, 133], "a": [133, 135, 136]}.items()
        for s, c in enumerate(own)
    ]
    table = read_table(pd.DataFrame(rows))
    (found,) = data_checks(table, "magnitude", 0.5)
    assert (found.kind, found.level) == ("resolution", Level.OPEN)
    assert found.text == "one of 150 test examples is 0.67 points, more than δ = 0.5: no network can show so little"
    assert data_checks(table, "magnitude", 100 / 150) == (), "a margin of one example can be met"


def test_a_sparsity_seen_at_one_seed_is_noted() -> None:
    rows = [(s, n, 0.7, 0.9 + s / 100 + len(n) / 1000) for s in range(3) for n in ("magnitude", "a")]
    rows += [(0, n, 0.8, 0.8) for n in ("magnitude", "a")]
    table = read_table(pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"]))
    (found,) = data_checks(table, "magnitude", 0.5)
    assert (found.kind, found.level, found.sparsities) == ("one seed", Level.NOTED, (0.8,))


def test_rounding_is_noted() -> None:
    (found,) = checks({"magnitude": [0.9, 0.91, 0.92, 0.93], "a": [0.9 + 1e-12, 0.915, 0.931, 0.95]})
    assert (found.kind, found.level) == ("noise", Level.NOTED)
    assert found.text.startswith("1 difference is rounding (at most 1.0e-10)")


@pytest.mark.parametrize("lower", [True, False])
def test_checks_hold_for_any_metric(lower: bool) -> None:
    rows = [(s, n, 0.7, 3.0 + s) for s in range(3) for n in ("magnitude", "a") if (s, n) != (2, "a")]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    found = data_checks(read_table(frame, Metric("loss", "nats", 1.0, lower)), "magnitude", 0.1)
    assert [check.kind for check in found] == ["missing"]


def test_unpaired_rows_keep_their_counts_for_the_resolution() -> None:
    rows = [(s, name, 0.7, (5 + s % 2) / 10, 5 + s % 2, 10) for name in ("magnitude", "a") for s in range(4)]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy", "correct", "n"])
    for paired in (True, False):
        found = data_checks(read_table(frame, replace(ACCURACY, paired=paired)), "magnitude", 0.5)
        assert "resolution" in [check.kind for check in found]


def test_copies_are_found_whatever_rounding_made_of_them() -> None:
    at = {"magnitude": 0.9, "a": 0.93, "b": 0.91, "c": 0.92}
    (found,) = checks({name: [value + seed * 1e-11 for seed in range(5)] for name, value in at.items()})
    assert (found.kind, found.level) == ("copied", Level.OPEN)
    assert found.text.startswith("seeds 0, 1, 2, 3 and 4")
    (near,) = checks({name: [value + seed * 1e-7 for seed in range(5)] for name, value in at.items()})
    assert near.level is Level.NOTED, "not equal, and still no five networks"


def test_every_network_twice_is_no_chance_even_in_two_cells() -> None:
    found = checks({"magnitude": [0.9, 0.9, 0.88, 0.88, 0.91, 0.91], "a": [0.93, 0.93, 0.9, 0.9, 0.95, 0.95]})
    assert sorted(check.text.split(" have")[0] for check in found) == ["seeds 0 and 1", "seeds 2 and 3", "seeds 4 and 5"]


def test_many_seeds_agree_in_two_coarse_cells_by_chance() -> None:
    coarse = {name: [0.9 + (k * (seed + 1) % 17) / 1000 for seed in range(150)] for k, name in ((3, "magnitude"), (5, "a"))}
    assert checks(coarse) == []


def test_seeds_that_nobody_has_at_one_sparsity_are_noted() -> None:
    rows = [
        (seed, name, S, 0.9 + (seed + len(name)) / 500 - S / 10)
        for S, seeds in ((0.5, 6), (0.7, 4))
        for name in ("magnitude", "a")
        for seed in range(seeds)
    ]
    table = read_table(pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"]))
    (found,) = data_checks(table, "magnitude", 0.5)
    assert (found.level, found.sparsities) == (Level.NOTED, (0.7,))
    assert found.text == "nobody has a result for seed 4 and 5 at S = 0.7, which other sparsities have"


def test_evaluations_of_one_network_that_differ_a_little_are_noted() -> None:
    noise = (0.0, 1e-5, -2e-5, 3e-5, -1e-5)
    near = {name: [level + one for one in noise] for name, level in {"magnitude": 0.9, "a": 0.93, "b": 0.8, "c": 0.6}.items()}
    (found,) = checks(near)
    assert (found.kind, found.level) == ("copied", Level.NOTED)
    assert found.text.startswith("all seeds lie within 0.005 points of each other in each of 4 cells")
    assert checks(near | {"c": [0.6, 0.6003, 0.6, 0.6, 0.6]}) == [], "seeds differ in one of the cells"
    few = {name: near[name] for name in ("magnitude", "a")}
    assert not any(check.kind == "copied" for check in checks(few)), "two cells may be near by chance"
