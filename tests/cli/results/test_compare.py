"""`sics-run compare`: pairs only what one dense network gave, refuses the rest, tests the pairs."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sics_analysis.rows.unpaired import UnpairedContrast
from sics_cli.base.errors import ConfigError
from sics_cli.main import main
from sics_cli.results.compare_runs import Pairs, RunRows, compare_gains, compare_pairs, gains_of, pair
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
