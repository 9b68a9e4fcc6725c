"""`sics-run compare`: pairs only what one dense network gave, refuses the rest, tests the pairs."""

import json
import math
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sics_analysis.one_scorer.student import p_above
from sics_analysis.report.layouts.terminal import terminal
from sics_analysis.rows.unpaired import UnpairedContrast
from sics_cli.base.errors import ConfigError
from sics_cli.commands.compare import _agreement, _answer, _print_gains
from sics_cli.main import main
from sics_cli.results.compare_runs import Gains, Pairs, RunRows, compare_gains, compare_pairs, gains_of, pair
from sics_cli.store.rows import CellRow

MakeCell = Callable[..., CellRow]
RECIPE = {"data": {"name": "d", "digest": "x", "split_digest": "y", "test": 8}, "saliency": {"kind": "gradient"}}
N = 1000


def words(text: str) -> str:
    return " ".join(text.split())


def run(rows: list[CellRow], **recipe: Any) -> RunRows:
    return RunRows("id", {**RECIPE, **recipe}, 0.5, 0.05, tuple(rows), {})


def cells(cell_row: MakeCell, counts: dict[str, list[int]], mask: str = "", **changes: Any) -> list[CellRow]:
    return [
        cell_row(
            seed=seed, scorer=name, correct=correct, n=N, mask_hash=f"{mask}{name}{seed}", checkpoint_hash=f"net{seed}",
            calibration_hash=f"cal{seed}", saliency_hash=f"sal{seed}", data_order_hash=f"order{seed}", **changes,
        )
        for name, values in counts.items()
        for seed, correct in enumerate(values)
    ]  # fmt: skip


def test_differences_and_verdicts_by_hand(cell_row: MakeCell) -> None:
    b = {"up": [900, 902, 898, 901, 899], "flat": [800, 801, 803, 802, 799], "down": [700, 702, 701, 704, 703]}
    a = {
        "up": [920, 924, 919, 921, 922],  # +20 +22 +21 +20 +23 of 1000: +2.12 points
        "flat": [801, 800, 803, 803, 799],
        "down": [680, 683, 680, 684, 682],
    }
    found = {x.contrast.name: x for x in compare_pairs(pair(run(cells(cell_row, a, "A")), run(cells(cell_row, b))), 0.5, 0.05)}
    assert {name: str(line.decision.verdict) for name, line in found.items()} == {
        "up": "ESCAPES", "flat": "EQUIVALENT", "down": "DEGRADES",
    }  # fmt: skip
    assert found["up"].contrast.mean == pytest.approx(2.12)
    assert found["up"].p_above is not None
    assert found["up"].p_above < 0.01 < 0.9 < (found["up"].p_below or 0)
    assert (found["down"].p_below or 1) < 0.01
    swapped = {x.contrast.name: x for x in compare_pairs(pair(run(cells(cell_row, b)), run(cells(cell_row, a, "A"))), 0.5, 0.05)}
    assert str(swapped["up"].decision.verdict) == "DEGRADES"
    assert swapped["up"].contrast.mean == pytest.approx(-2.12)


def test_the_answer_about_pairs_names_what_is_shown_apart(cell_row: MakeCell) -> None:
    b = {"up": [900, 902, 898, 901, 899], "flat": [800, 801, 803, 802, 799], "down": [700, 702, 701, 704, 703]}
    a = {"up": [920, 924, 919, 921, 922], "flat": [801, 800, 803, 803, 799], "down": [680, 683, 680, 684, 682]}
    pairs = pair(run(cells(cell_row, a, "A")), run(cells(cell_row, b)))
    assert _answer(compare_pairs(pairs, 0.5, 0.05), 0.5, pairs.metric) == [
        "A is within ±0.5 points of B in 1 of 3 lines; above it by more than 0.5 points in 1 (up at S = 0.5); below it by more "
        "than 0.5 points in 1 (down at S = 0.5). Each S is tested by itself."
    ]
    same = pair(run(cells(cell_row, a)), run(cells(cell_row, a)))
    assert _answer(compare_pairs(same, 0.5, 0.05), 0.5, same.metric) == ["A and B have the same masks in each of 3 lines."]


def test_one_run_with_itself_is_identical(cell_row: MakeCell) -> None:
    rows = cells(cell_row, {"a": [900, 902, 898], "b": [1, 2, 3]})
    assert {str(x.decision.verdict) for x in compare_pairs(pair(run(rows), run(rows)), 0.5, 0.05)} == {"IDENTICAL"}


def test_only_one_network_pairs(cell_row: MakeCell) -> None:
    rows = cells(cell_row, {"a": [900, 902, 898]})
    other = [replace(row, checkpoint_hash="retrained") if row.seed == 1 else row for row in rows]
    pairs = pair(run(rows), run(other))
    assert {x.seed for x, _ in pairs.pairs} == {0, 2}
    assert pairs.refused == ("seed 1: the dense checkpoints differ, so A and B pruned different networks",)
    with pytest.raises(ConfigError, match="nothing can be paired: seed 0, 1, 2: the dense checkpoints differ"):
        pair(run(rows), run([replace(row, checkpoint_hash="retrained") for row in rows]))


def test_devices_pair_only_on_request(cell_row: MakeCell) -> None:
    a = cells(cell_row, {"a": [900, 902]}, provenance={"device": "A100"})
    b = cells(cell_row, {"a": [900, 902]}, provenance={"device": "H100"})
    with pytest.raises(ConfigError, match="evaluated on different devices"):
        pair(run(a), run(b))
    assert len(pair(run(a), run(b), across_devices=True).pairs) == 2


def test_other_examples_never_pair(cell_row: MakeCell) -> None:
    rows = cells(cell_row, {"a": [900, 902]})
    with pytest.raises(ConfigError, match=r"tested on different examples \(data\.test 8 → 9\)"):
        pair(run(rows), run(rows, data={**RECIPE["data"], "test": 9}))


def test_seeds_of_one_run_only_are_named(cell_row: MakeCell) -> None:
    pairs = pair(run(cells(cell_row, {"a": [900, 902, 901]})), run(cells(cell_row, {"a": [900, 902]})))
    assert pairs.refused == ("seed 2: in one of the runs only",)


def test_a_scorer_and_a_sparsity_of_one_run_only_are_named(cell_row: MakeCell) -> None:
    pairs = pair(run(cells(cell_row, {"a": [900, 902], "b": [900, 902]})), run(cells(cell_row, {"a": [900, 902]})))
    assert pairs.refused == ("scorer b: in one of the runs only",)


def test_a_margin_below_the_noise_concludes_nothing(cell_row: MakeCell) -> None:
    rows = cells(cell_row, {"a": [900, 902, 898]})
    other = cells(cell_row, {"a": [930, 933, 929]}, "B")
    pairs = pair(run(other), run(rows))
    loud = Pairs(pairs.pairs, pairs.refused, {0.5: 0.7})
    (line,) = compare_pairs(loud, 0.5, 0.05)
    assert "below the noise floor" in line.decision.reason


def test_the_noise_floor_reaches_the_pairs_too(cell_row: MakeCell) -> None:
    """One mask beside accuracies that only the noise explains is an identity, and no conflict of hashes."""
    rows, other = cells(cell_row, {"a": [900, 902, 898]}), cells(cell_row, {"a": [902, 902, 898]})
    pairs = pair(run(other), run(rows))
    (line,) = compare_pairs(Pairs(pairs.pairs, (), {0.5: 0.3}), 0.5, 0.05)
    assert (str(line.decision.verdict), line.contrast.noise_floor) == ("IDENTICAL", 0.3)
    (line,) = compare_pairs(Pairs(pairs.pairs, (), {}), 0.5, 0.05)
    assert "same mask hash but different accuracies" in line.decision.reason
    (line,) = compare_pairs(Pairs(pairs.pairs, (), {0.5: 0.6}), 0.5, 0.05)
    assert (str(line.decision.verdict), "identical at every seed" in line.decision.reason) == ("INCONCLUSIVE", True)


def test_ragged_pairs_are_named_beside_their_p(cell_row: MakeCell) -> None:
    b = {"up": [900, 902, 898, 901, 899], "flat": [800, 801, 803, 802]}
    a = {"up": [920, 924, 919, 921, 922], "flat": [801, 800, 803, 803]}
    found = {x.contrast.name: x for x in compare_pairs(pair(run(cells(cell_row, a, "A")), run(cells(cell_row, b))), 0.5, 0.05)}
    assert found["up"].decision.reason.endswith("(Holm on t, ragged seeds)")


# -- runs of other networks -------------------------------------------------------------------------------------------


def elsewhere(rows: list[CellRow], first: int = 100) -> list[CellRow]:
    """The same rows of fresh seeds, on networks of their own."""
    return [replace(row, seed=row.seed + first, checkpoint_hash=f"other{row.seed}") for row in rows]


def two_runs(cell_row: MakeCell) -> tuple[RunRows, RunRows]:
    """Gains of up in points: A 2.0 2.2 2.1 1.9 2.3, mean 2.1; B 2.2 2.0 2.4, mean 2.2. Of off: about +1 and −1."""
    a = {"magnitude": [900, 910, 905, 890, 895], "up": [920, 932, 926, 909, 918], "off": [911, 920, 914, 900, 905]}
    b = {"magnitude": [890, 900, 910], "up": [912, 920, 934], "off": [880, 891, 899]}
    same_a, same_b = ({**side, "power": side["magnitude"]} for side in (a, b))
    rows = []
    for counts in (same_a, same_b):
        found = cells(cell_row, counts)
        rows.append([replace(row, mask_hash=f"m{row.seed}") if row.scorer in ("magnitude", "power") else row for row in found])
    return run(rows[0]), run(elsewhere(rows[1]))


def test_gains_of_unpaired_runs_by_hand(cell_row: MakeCell) -> None:
    gains = gains_of(*two_runs(cell_row))
    assert gains.identical == (("power", 0.5),)
    found = {line.contrast.name: line for line in compare_gains(gains, 0.5, 0.05)}
    up = found["up"]
    # Variances 0.025 of five and 0.04 of three: se = √(0.005 + 0.01333) = 0.13540.
    assert up.contrast.mean == pytest.approx(-0.1)
    assert up.contrast.se == pytest.approx(0.1354006)
    # df = 0.018333²/(0.005²/4 + 0.013333²/2) = 3.5328; t = (0.5 − 0.1)/0.13540 = 2.9542
    assert up.contrast.df == pytest.approx(3.5328, abs=1e-4)
    assert up.equivalence.p == pytest.approx(0.02447, abs=2e-4)
    assert {name: str(line.decision.verdict) for name, line in found.items()} == {"up": "EQUIVALENT", "off": "ESCAPES"}


def test_gains_are_judged_as_statsmodels_judges_them(cell_row: MakeCell) -> None:
    from statsmodels.stats.weightstats import ttost_ind

    for line in compare_gains(gains_of(*two_runs(cell_row)), 0.5, 0.05):
        c = line.contrast
        assert isinstance(c, UnpairedContrast)
        p, lower, upper = ttost_ind(c.own, c.other, -0.5, 0.5, usevar="unequal")
        assert line.equivalence.p == pytest.approx(p, rel=1e-9)
        assert (line.equivalence.p_lower, line.equivalence.p_upper) == pytest.approx((lower[1], upper[1]), rel=1e-9)


def test_what_unpaired_runs_must_share(cell_row: MakeCell) -> None:
    a, b = two_runs(cell_row)
    with pytest.raises(ConfigError, match="both runs have the dense networks of seed 0, 1, 2, 3, 4"):
        gains_of(a, a)
    with pytest.raises(ConfigError, match="compare with magnitude and with power"):
        gains_of(a, replace(b, reference="power"))
    with pytest.raises(ConfigError, match="share no scorer and sparsity"):
        gains_of(a, replace(b, rows=tuple(replace(row, sparsity=0.9) for row in b.rows)))
    other = gains_of(a, replace(b, recipe={**b.recipe, "data": {**RECIPE["data"], "test": 9}}))
    assert other.remarks == ("tested on different examples, which the spread between seeds knows nothing of",)


# -- what an answer over two runs rests on ----------------------------------------------------------------------------


def gained(cell_row: MakeCell, gains: dict[tuple[str, float], list[int | None]], net: str, **changes: Any) -> list[CellRow]:
    """Rows of scorers that get so many of N examples more than magnitude, by scorer and S; None is a cell that is missing."""
    seeds = max(map(len, gains.values()))
    places = gains | {("magnitude", S): [0] * seeds for _, S in gains}
    return [
        cell_row(
            **{
                "seed": seed, "scorer": name, "sparsity": S, "correct": 800 + more, "n": N, "mask_hash": f"{net}{name}{seed}{S}",
                "checkpoint_hash": f"{net}{seed}", "calibration_hash": f"c{seed}", "saliency_hash": f"s{seed}",
                "data_order_hash": f"o{seed}",
            } | changes
        )
        for (name, S), values in places.items()
        for seed, more in enumerate(values)
        if more is not None
    ]  # fmt: skip


SPREAD: list[int | None] = [0, 2, -1, 1, -2]


def answer(gains: Gains, delta: float = 0.5) -> list[str]:
    return _agreement(compare_gains(gains, delta, 0.05), delta, 0.05, gains.metric, gains.noise_floor)


def test_three_equal_gains_do_not_escape(cell_row: MakeCell) -> None:
    a = gained(cell_row, {("x", 0.5): [30] * 3, ("y", 0.5): [30] * 6}, "a")
    b = gained(cell_row, {("x", 0.5): [0] * 39 + [1], ("y", 0.5): [0] * 39 + [1]}, "b")
    x, y = compare_gains(gains_of(run(a), run(b)), 0.5, 0.05)
    assert (str(x.decision.verdict), x.equivalence.p_lower, x.contrast.n) == ("INCONCLUSIVE", 0.125, 3)
    assert (str(y.decision.verdict), y.equivalence.p_lower) == ("ESCAPES", 2**-6)  # by Holm beside x, whose p is larger: 2/64


def test_what_is_shown_apart_is_shown_over_all_lines(cell_row: MakeCell) -> None:
    """At each of five S ten seeds that Welch puts beyond δ at p of some hundredths: within an S, and not over ten p."""
    gains = {("x", S): [7, 8, 12, 6, 13, 6, 7, 11, 7, 9] for S in (0.5, 0.6, 0.7, 0.8)}
    gains |= {("x", 0.9): [60, 62, 59, 61, 60, 62, 59, 61, 58, 60]}
    a = gained(cell_row, gains, "a")
    b = gained(cell_row, {place: [0, 1, -1, 2, -2, 3, -3, 1, 0, -1] for place in gains}, "b")
    found = gains_of(run(a), run(b))
    lines = compare_gains(found, 0.6, 0.05)
    assert {str(line.decision.verdict) for line in lines} == {"ESCAPES"}
    raw = [p_above(line.contrast, 0.6) or 1.0 for line in lines]
    # Holm over five lines and both sides: the least p tenfold, the next ninefold.
    assert lines[-1].p_apart == pytest.approx(10 * raw[-1])
    assert lines[0].p_apart == pytest.approx(9 * raw[0])
    assert raw[0] < 0.05 < (lines[0].p_apart or 0.0)
    (said, _) = answer(found, 0.6)
    assert said == (
        "A agrees with B within ±0.6 points in 0 of 5 lines; 1 shown to differ by more (x at S = 0.9); 4 within its S alone, not "
        "over all lines (x at S = 0.5; x at S = 0.6; x at S = 0.7; x at S = 0.8)."
    )


def test_the_answer_is_seldom_false_over_a_whole_run() -> None:
    """Every one of 16 lines lies at +δ or −δ: at 5 against 20 seeds a run that names one falsely is one of twenty."""
    rng, draws, named, within = np.random.default_rng(5), 60, 0, 0
    for _ in range(draws):
        contrasts = [
            UnpairedContrast(
                f"s{i}", "B", (), (), S, own=tuple((0.4 * rng.standard_normal(5) + (0.5 if i % 2 else -0.5)).tolist()),
                other=tuple((0.4 * rng.standard_normal(20)).tolist()),
            )
            for S in (0.5, 0.6, 0.7, 0.8)
            for i in range(4)
        ]  # fmt: skip
        gains = Gains(tuple(contrasts), (), (), {})
        within += any(str(line.decision.verdict) in ("ESCAPES", "DEGRADES") for line in compare_gains(gains, 0.5, 0.05))
        named += "none is shown to differ by more" not in answer(gains)[0]
    assert within > named
    assert named <= (0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)) * draws


def test_lines_of_one_run_and_seeds_that_are_missing_are_named(cell_row: MakeCell) -> None:
    a = {(name, S): list(SPREAD) for name in ("x", "y", "z") for S in (0.5, 0.8)} | {("x", 0.9): list(SPREAD)}
    b = {place: values for place, values in a.items() if place[0] != "z" and place not in (("y", 0.8), ("x", 0.9))}
    a[("y", 0.5)] = [0, 2, None, None, 1]
    found = gains_of(run(gained(cell_row, a, "a")), run(gained(cell_row, b, "b")))
    assert found.remarks == (
        "A: No result of y at S = 0.5 for seed 2 and 3: a line there counts the other seeds.",
        "In A only, and not compared: scorer z, sparsity 0.9, y at S = 0.8.",
    )
    assert found.doubted == {("y", 0.5)}
    assert [(line.contrast.name, line.doubted) for line in compare_gains(found, 0.5, 0.05)] == [
        ("x", False), ("y", True), ("x", False),
    ]  # fmt: skip
    assert answer(found)[0] == "A agrees with B within ±0.5 points, in each of 2 lines."
    assert answer(found)[-1].startswith("No answer rests on 1 line of 3 with open checks of the data (!)")


def test_a_reference_that_lacks_a_seed_leaves_every_line_of_its_s_open(cell_row: MakeCell) -> None:
    rows = gained(cell_row, {("x", 0.5): list(SPREAD), ("x", 0.8): list(SPREAD)}, "a")
    rows = [row for row in rows if (row.scorer, row.sparsity, row.seed) != ("magnitude", 0.8, 1)]
    other = gained(cell_row, {("x", 0.5): list(SPREAD), ("x", 0.8): list(SPREAD)}, "b")
    found = gains_of(run(rows), run(other))
    assert found.doubted == {("x", 0.8)}
    assert found.remarks == ("A: No result of magnitude at S = 0.8 for seed 1: a line there counts the other seeds.",)


def test_a_cell_of_one_run_alone_is_named_among_pairs(cell_row: MakeCell) -> None:
    a = gained(cell_row, {("x", 0.5): list(SPREAD), ("x", 0.8): list(SPREAD)}, "a")
    b = [row for row in a if (row.scorer, row.sparsity, row.seed) not in (("x", 0.8, 1), ("x", 0.8, 3))]
    assert pair(run(a), run(b)).refused == ("x at S = 0.8, seed 1, 3: in A only",)


def test_copies_of_a_network_are_no_seeds(cell_row: MakeCell) -> None:
    a = gained(cell_row, {("x", 0.5): [50, 51, 50, 60, 50]}, "a", checkpoint_hash="one")
    b = gained(cell_row, {("x", 0.5): list(SPREAD)}, "b")
    found = gains_of(run(a), run(b))
    assert found.remarks == ("A: seeds 0, 1, 2, 3 and 4 have one dense network by hash: copies of a network are no seeds.",)
    assert answer(found) == [
        "No answer rests on 1 line of 1 with open checks of the data (!): settle what is said of them below."
    ]
    given = gains_of(run(a, start={"kind": "checkpoint"}), run(b))  # meant so: said, and no doubt about the rows
    assert given.doubted == frozenset()
    assert "nothing here is about others" in given.remarks[0]


def test_a_margin_below_one_test_example_leaves_all_lines_open(cell_row: MakeCell, capsys: pytest.CaptureFixture[str]) -> None:
    gains = gains_of(*(run(gained(cell_row, {("x", 0.5): list(SPREAD)}, net)) for net in "ab"))
    assert [line.doubted for delta in (0.1, 0.09) for line in compare_gains(gains, delta, 0.05)] == [False, True]
    _print_gains(terminal(), gains, 0.09, 0.05, "", [], "magnitude")
    assert "One test example is 0.1 points, more than δ: no network can show so little." in words(capsys.readouterr().out)


def test_networks_that_no_mask_changes_leave_all_lines_open(cell_row: MakeCell) -> None:
    rows = gained(cell_row, {("x", 0.5): [0] * 5}, "a")
    dense = [replace(row, scorer="dense", sparsity=0.0) for row in rows if row.scorer == "x"]
    found = gains_of(run([*dense, *rows]), run(gained(cell_row, {("x", 0.5): list(SPREAD)}, "b")))
    assert found.doubted == {("x", 0.5)}
    assert found.remarks[0].startswith("A: every pruned network gives to the bit what its dense network gives")


def test_rows_of_two_devices_are_no_pairs_of_one_run(cell_row: MakeCell) -> None:
    b = run(gained(cell_row, {("x", 0.5): list(SPREAD)}, "b"))
    rows = gained(cell_row, {("x", 0.5): list(SPREAD)}, "a", provenance={"device": "cpu"})
    one = [replace(row, provenance={"device": "A100"}) if (row.scorer, row.seed) == ("x", 2) else row for row in rows]
    found = gains_of(run(one), b)
    assert found.remarks == ("A: Left out: seed 2, whose rows come from different devices (--across-devices pairs them).",)
    assert len(found.contrasts[0].own) == 4
    asked = gains_of(run(one), b, across_devices=True)
    assert (len(asked.contrasts[0].own), asked.remarks) == (5, ("A: Seed 2: rows of different devices are paired, as asked.",))
    every = [replace(row, provenance={"device": "A100"}) if row.scorer == "x" else row for row in rows]
    with pytest.raises(ConfigError, match="RUN_A: has no gain to compare: Left out: seed 0, 1, 2, 3, 4, whose rows come from"):
        gains_of(run(every), b)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"data": {**RECIPE["data"], "name": "e"}}, "data.name d → e"),
        ({"data": {**RECIPE["data"], "digest": "z"}}, "data.digest x → z"),
        ({"unit": "channel"}, "unit weight → channel"),
        ({"pool": "layer"}, "pool global → layer"),
    ],
)
def test_gains_on_other_things_are_not_compared(cell_row: MakeCell, other: dict[str, Any], named: str) -> None:
    a, b = (gained(cell_row, {("x", 0.5): list(SPREAD)}, net) for net in "ab")
    with pytest.raises(ConfigError, match=named):
        gains_of(run(a), run(b, **other))


def test_open_lines_are_counted_by_what_stands_in_the_way(cell_row: MakeCell) -> None:
    wide: list[int | None] = [-20, 25, 3, -14, 9]
    a = {("x", 0.5): wide, ("y", 0.5): [5] * 6, ("x", 0.8): list(SPREAD)}
    b = {("x", 0.5): wide, ("y", 0.5): [0] * 6, ("x", 0.8): list(SPREAD)}
    rows = [[row for row in gained(cell_row, one, net) if row.scorer == "y" or row.seed < 5] for one, net in ((a, "a"), (b, "b"))]
    noisy = replace(run(rows[0]), noise_floor={0.8: 0.7})
    found = replace(gains_of(noisy, run(rows[1])), doubted=frozenset())
    assert answer(found)[0] == (
        "A agrees with B within ±0.5 points in 0 of 3 lines; none is shown to differ by more; 1 open for want of seeds; 1 open "
        "where δ is below the noise floor; 1 open where neither side has a spread."
    )


def test_an_answer_about_few_lines(cell_row: MakeCell) -> None:
    a, b = (run(gained(cell_row, {("x", 0.5): list(SPREAD)}, net)) for net in "ab")
    assert answer(gains_of(a, b)) == [
        "A agrees with B within ±0.5 points, in its one line.",
        "The one line that can say does not lie farther apart than seeds alone make of 95 in 100.",
    ]
    two = [run(gained(cell_row, {("x", 0.5): list(SPREAD), ("y", 0.5): list(SPREAD)}, net)) for net in "ab"]
    assert "0 of 2 lines lie farther apart than seeds alone make of 95 in 100: fewer than one is" in answer(gains_of(*two))[1]
    still = [run(gained(cell_row, {("x", 0.5): [0] * 3}, net)) for net in "ab"]
    assert answer(gains_of(*still)) == [  # nothing is said of what seeds alone make where none of them moved anything
        "A is not shown to agree with B within ±0.5 points in its one line; none is shown to differ by more; 1 open where "
        "neither side has a spread."
    ]


def test_what_is_printed_of_unpaired_runs(cell_row: MakeCell, capsys: pytest.CaptureFixture[str]) -> None:
    """A scorer with magnitude's mask at one S alone is named with it, seeds that differ are a range, a doubted line has its !."""
    a, b = (
        [
            replace(row, mask_hash=f"{net}{row.seed}") if row.sparsity == 0.5 and row.scorer in ("x", "magnitude") else row
            for row in gained(cell_row, {("x", 0.5): [0] * 5, ("x", 0.8): [30] * 5, ("y", 0.8): [0, 1, last, last, last]}, net)
        ]
        for net, last in (("a", None), ("b", 2))
    )
    _print_gains(terminal(), gains_of(run(a), run(b)), 0.5, 0.05, "δ = 0.5", [], "magnitude")
    out = capsys.readouterr().out
    assert "Not tested, the mask of magnitude at every seed of both: x at S = 0.5." in words(out)
    assert "S = 0.8 2–5 seeds against 5" in words(out)
    assert re.search(r"(?m)^y .*\? INCONCLUSIVE !$", out)
    assert re.search(r"(?m)^x +\+3\.00 +\+3\.00 +0\.00 +– +– = EQUIVALENT *$", out)
    assert max(map(len, out.splitlines())) <= 80


# -- through the command line -----------------------------------------------------------------------------------------


@pytest.fixture
def changed(finished: Any, tmp_path: Path) -> Path:
    """A copy of the tiny run whose chaos is 3 points worse under other masks."""
    path = tmp_path / "other"
    shutil.copytree(finished.run, path)
    with sqlite3.connect(path / "run.sqlite") as connection:
        connection.execute("UPDATE cells SET correct = correct - 27, mask_hash = mask_hash || 'x' WHERE scorer = 'chaos'")
    connection.close()
    return path


def test_two_runs(finished: Any, changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(finished.run), str(changed)]) == 0
    out = capsys.readouterr().out
    assert words(out).startswith(
        "A is within ±0.5 points of B in 33 of 36 lines (in 33 by the same masks); none is shown to differ by more; 3 open. "
        "Each S is tested by itself. A "
    )
    assert "72 pairs of rows, 2 seeds (0, 1); δ = 0.5 points, α = 0.05, as both plans have them" in words(out)
    assert "STAMPED" not in out
    assert "Skewed differences hurt every method" in words(out)
    assert not re.search(r"(?m)^[AB]: ", out)
    assert len(re.findall(r"(?m)^chaos +2 \+3\.00 +– .*\? INCONCLUSIVE", out)) == 3
    assert len(re.findall(r"(?m)^magnitude +2 +0\.00 .*≡ IDENTICAL", out)) == 3
    assert "undecided, too few seeds" in words(out)
    assert max(len(line) for line in out.splitlines() if str(changed) not in line and str(finished.run) not in line) <= 80


def test_margins_of_the_plans_must_agree(finished: Any, changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(changed / "run.sqlite") as connection:
        connection.execute("UPDATE plans SET delta = 2.0")
    connection.close()
    assert main(["compare", str(finished.run), str(changed)]) == 2
    assert "--delta: the plans of the two runs have 0.5 and 2: give one" in capsys.readouterr().err
    assert main(["compare", str(finished.run), str(changed), "--delta", "1"]) == 0
    assert "δ = 1 points, α = 0.05. STAMPED: plan changed after data" in words(capsys.readouterr().out)


def test_what_a_reader_must_know_of_either_run_is_said(finished: Any, changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(changed / "run.sqlite") as connection:
        connection.execute("UPDATE plans SET stamp = 'seeds extended after data'")
        connection.execute("DELETE FROM cells WHERE scorer = 'chaos' AND seed = 0")
        connection.execute("UPDATE cells SET flags = '[\"coordinate unresolved\"]' WHERE scorer = 'wiggle'")
    connection.close()
    assert main(["compare", str(finished.run), str(changed)]) == 0
    out = words(capsys.readouterr().out)
    assert "B: seeds extended after data." in out
    assert re.search(r"B: 3 of \d+ planned cells are not there\.", out)
    assert "B: Flagged coordinate unresolved: wiggle." in out
    assert "A: " not in out


def test_what_differs_is_said(finished: Any, changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(changed / "run.sqlite") as connection:
        (recipe,) = connection.execute("SELECT value FROM meta WHERE key = 'recipe'").fetchone()
        other = json.loads(recipe)
        other["saliency"]["kind"] = "activation"
        connection.execute("UPDATE meta SET value = ? WHERE key = 'recipe'", (json.dumps(other),))
    connection.close()
    assert main(["compare", str(finished.run), str(changed)]) == 0
    assert "What differs: saliency.kind gradient → activation." in words(capsys.readouterr().out)


def test_nothing_to_pair_is_a_usage_error(finished: Any, changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(changed / "run.sqlite") as connection:
        connection.execute("UPDATE cells SET checkpoint_hash = checkpoint_hash || 'x'")
    connection.close()
    assert main(["compare", str(finished.run), str(changed)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert "nothing can be paired: seed 0, 1: the dense checkpoints differ" in shown.err


def test_a_replication_is_told_whether_it_agrees_with_a_shipped_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the seeds of a shipped run as if somebody else had trained other networks, against the whole of it."""
    from sics_data import reference_runs

    copy = tmp_path / "run.sqlite"
    shutil.copy(reference_runs()["digits-weight"], copy)
    with sqlite3.connect(copy) as connection:
        connection.execute("DELETE FROM cells WHERE seed >= 1020")
        connection.execute("UPDATE cells SET checkpoint_hash = checkpoint_hash || 'x'")
    connection.close()
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["compare", str(copy), "reference:digits-weight"]) == 0
    out = capsys.readouterr().out
    assert "Unpaired: A and B share no dense network." in words(out)
    found = re.search(r"A agrees with B within ±0\.5 points in (\d+) of 36 lines; none is shown to differ by more", words(out))
    assert found is not None
    assert int(found[1]) > 20
    assert "0 of 36 lines lie farther apart than seeds alone make" in words(out)
    assert "Not tested, the mask of magnitude at every seed of both: power, log." in words(out)
    assert len(re.findall(r"(?m)^S = 0\.\d +20 seeds against 40$", out)) == 4
    assert max(len(line) for line in out.splitlines() if str(copy) not in line) <= 80
    assert main(["compare", "reference:digits-weight", "reference:digits-weight"]) == 0  # the same networks are pairs
    assert "pairs of rows" in words(capsys.readouterr().out)


def test_what_is_no_run(finished: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "x.csv"
    table.write_text("seed,scorer,sparsity,accuracy\n0,a,.5,.9\n")
    assert main(["compare", str(finished.run), str(table)]) == 2
    assert "is not a run, and only runs know which dense networks they pruned" in capsys.readouterr().err
    assert main(["compare", str(finished.run), str(tmp_path)]) == 1
    assert "holds no run" in capsys.readouterr().err


def test_no_torch(finished: Any) -> None:
    code = "import sys; from sics_cli.main import main; c = main(sys.argv[1:]); print(*sys.modules, file=sys.stderr); sys.exit(c)"
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", str(finished.run), str(finished.run)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not {name.split(".")[0] for name in done.stderr.split()} & {"torch", "sics_plugin", "pandas"}
