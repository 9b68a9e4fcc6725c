"""Runs until decided: looks, stops, kills, what failed, other plans after data, and what is refused."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sics_cli import Run, replicate
from sics_cli.experiment.cells import CHANGED
from sics_cli.main import main
from sics_cli.store.store import Store

TASKS = Path(__file__).parents[1] / "tasks" / "own_tasks.py"
FEW = ("--scorers", "magnitude,chaos", "--sparsities", ".5", "--no-report", "--out", "run")
CELLS = 4  # of a seed: dense, two scorers, one repeat
#: A margin so wide that the first look decides, and one so narrow that no look does.
WIDE, NARROW = ("--delta", "40"), ("--delta", "0.001")
Rows = Callable[[Path, str], list[dict[str, Any]]]
Until = Callable[..., bool]


@pytest.fixture
def run(cli: Any) -> Any:
    shutil.copy(TASKS, cli.folder / "tasks.py")

    def done(*options: str, name: str = "Good", most: int = 8, until: str = "decided") -> subprocess.CompletedProcess[str]:
        return cli.here("replicate", "--task", f"tasks.py:{name}", "--until", until, "--max-seeds", str(most), *FEW, *options)

    return done


def seeds_of(rows: list[dict[str, Any]]) -> list[int]:
    return sorted({row["seed"] for row in rows})


def looks_of(store: Path) -> list[dict[str, Any]]:
    """Every look that was made, but the time."""
    with sqlite3.connect(store) as connection:
        cursor = connection.execute("SELECT * FROM looks ORDER BY plan_hash, look")
        names = [column[0] for column in cursor.description]
        found = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
    connection.close()
    return [{name: value for name, value in look.items() if name != "made"} for look in found]


def count_looks(store: Path) -> int:
    if not store.exists():
        return 0
    try:
        return len(looks_of(store))
    except sqlite3.OperationalError:  # before the plan is there
        return 0


def words(text: str) -> str:
    return " ".join(text.split())


# -- looking, stopping, going on --------------------------------------------------------------------------------------------


def test_a_run_stops_at_the_look_that_decides(run: Any, cli: Any, rows_of: Rows) -> None:
    done = run(*WIDE)
    assert done.returncode == 0, done.stderr
    assert "looks at 5 and 8 seeds until every line of κ ≥ 1 is decided; at most 32 cells" in done.stderr
    said = "look 1 of 2, n = 5: 1 of 1 line decided; .0312 of .05 spent; decided: the run stops"
    assert said in done.stderr
    assert done.stderr.count("--until decided without a target waits for every line of κ ≥ 1") == 1
    assert seeds_of(rows_of(cli.store, "cells")) == [0, 1, 2, 3, 4]
    (plan,) = rows_of(cli.store, "plans")
    assert (plan["cells_before"], plan["stamp"]) == (0, "")
    assert plan["created"] <= min(row["finished"] for row in rows_of(cli.store, "cells"))
    kept = json.loads(plan["looks"])
    assert (kept["looks"], kept["n_max"], kept["alpha"], kept["spending"]) == ([5, 8], 8, 0.05, "linear")
    assert (kept["seeds"], kept["until"], kept["family"]) == (list(range(8)), [], 1)
    assert f"{5 * CELLS} of them computed now" in words(done.stdout)

    before = looks_of(cli.store)
    again = run(*WIDE)
    assert again.returncode == 0, again.stderr
    assert said in again.stderr
    assert "0 of them computed now" in words(again.stdout)
    assert (looks_of(cli.store), len(rows_of(cli.store, "plans"))) == (before, 1)
    shown = words(cli.here("status", "run").stdout)
    assert "looks at 5 and 8 seeds until every line of κ ≥ 1 is decided; 1 of 2 made" in shown
    assert "every line of κ ≥ 1: 1 of 1 line is settled at look 1" in shown
    assert said in shown
    assert "decided there: EQUIVALENT chaos@0.5" in shown
    assert "decided there: EQUIVALENT chaos@0.5" in words(done.stdout)
    assert "15 of at most 24 there" in shown


def test_a_run_that_is_not_decided_goes_to_its_last_look(run: Any, cli: Any, rows_of: Rows) -> None:
    done = run(*NARROW, "--scorers", "magnitude,log,chaos", until="decided:plateau@.5,escape:chaos@.5")
    assert done.returncode == 0, done.stderr
    assert "until escape:chaos@.5, plateau@.5 are decided" in done.stderr
    assert "look 1 of 2, n = 5: 0 of 1 line decided, targets 1 of 2; .0312 of .05 spent; next look at 8" in done.stderr
    assert "look 2 of 2, n = 8: 0 of 1 line decided, targets 1 of 2; .050 of .05 spent; the last look" in done.stderr
    assert "without a target" not in done.stderr
    assert seeds_of(rows_of(cli.store, "cells")) == list(range(8))
    shown = words(cli.here("status", "run").stdout)
    assert "plateau@.5: supported at look 1" in shown
    assert "escape:chaos@.5: open" in shown


def test_a_share_of_the_lines(run: Any, cli: Any) -> None:
    assert run(*WIDE, until="decided:share:0.5").returncode == 0
    (look,) = looks_of(cli.store)
    assert json.loads(look["targets"]) == {"share:0.5": "1 of 1 line is settled at look 1"}


def test_a_dry_run_shows_the_looks_and_writes_nothing(run: Any, cli: Any) -> None:
    done = run("--dry-run", most=20)
    assert done.returncode == 0, done.stderr
    shown = words(done.stdout)
    assert "looks at 5, 8, 12 and 20 seeds until every line of κ ≥ 1 is decided; α = 0.05 over all looks together" in shown
    assert "look 1: seeds 0 to 4; 20 cells to compute; 0.0125 of 0.05 spent" in shown
    assert "look 4: seeds 12 to 19; 32 cells to compute; 0.05 of 0.05 spent" in shown
    assert re.search(
        r"power by the last look where differences have sd = δ = 0.5 points: equivalence \d+ %, after \d+ seeds", shown
    )
    assert not cli.run.exists()
    assert run(*WIDE).returncode == 0
    after = words(run(*WIDE, "--dry-run").stdout)
    assert re.search(r"look 1: seeds 0 to 4; 0 cells to compute; about 0:00 until then \(measured on 5 seeds\)", after)
    assert re.search(r"look 2: seeds 5 to 7; 12 cells to compute; about \d:\d\d until then; 0.05 of 0.05 spent", after)


def test_the_driver_analyses_without_torch(run: Any, cli: Any) -> None:
    code = (
        "import sys; from sics_cli.main import main\n"
        "if __name__ == '__main__':\n"
        "    code = main(sys.argv[1:]); print(*sys.modules, file=sys.stderr); sys.exit(code)\n"
    )
    (cli.folder / "driver.py").write_text(code)
    shutil.copy(TASKS, cli.folder / "tasks.py")
    asked = ["replicate", "--task", "tasks.py:Good", "--until", "decided", "--max-seeds", "5", *FEW, *WIDE, "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "driver.py", *asked], cwd=cli.folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "look 1 of 1, n = 5" in done.stderr
    loaded = {name.split(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert "scipy" in loaded, "it was analysed there"
    assert "torch" not in loaded


def test_digits_until_decided(cli: Any, rows_of: Rows) -> None:
    """The preset in its small form, scorers of every kind, by two workers."""
    config = cli.folder / "tiny.toml"
    text = config.read_text().replace("seeds = 2", 'until = "decided:noninferior:chaos@0.5"\nmax_seeds = 8')
    config.write_text(text.replace("epochs = 12", "epochs = 3"))
    done = cli(*cli.tiny, "--delta", "60", "--sparsities", ".5", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "until noninferior:chaos@0.5 is decided" in done.stderr
    (look,) = looks_of(cli.store)
    assert (look["lines"], look["n"], look["stops"]) == (5, 5, 1)
    assert json.loads(look["targets"]) == {"noninferior:chaos@0.5": "supported at look 1"}
    assert seeds_of(rows_of(cli.store, "cells")) == list(range(5))


@pytest.mark.usefixtures("inline", "code_folder")
def test_in_python(cli: Any) -> None:
    shutil.copy(TASKS, cli.folder / "tasks.py")
    task = "tasks.py:Good"
    few: dict[str, Any] = {"scorers": ["magnitude", "chaos"], "sparsities": [0.5], "out": cli.run, "delta": 40.0}
    made = replicate(task, until="decided:share:1", max_seeds=8, **few)
    assert [(look.look, look.n, look.targets, look.stops) for look in made.looks] == [
        (1, 5, {"share:1": "1 of 1 line is settled at look 1"}, True)
    ]
    assert made.looks == Run(cli.run).looks
    analysis = made.analyse()
    assert analysis.looks is not None
    assert (analysis.looks.made, analysis.looks.line("chaos", 0.5).decided) == (1, 1)
    assert made.analyse(delta=1.0).looks is None
    fresh = replicate(task, seeds=range(20, 28), until="decided:share:1", max_seeds=8, **few)
    assert sorted(fresh.analyse().seeds) == list(range(20, 25))
    fixed = replicate(task, seeds=2, **few | {"out": cli.folder / "fixed"})
    assert fixed.looks == ()


# -- kills --------------------------------------------------------------------------------------------------------------------

SLOW = """

import time


class Slow(Good):
    def evaluate(self, network, seed):
        if Path("slowly").exists():
            time.sleep(0.15)
        return super().evaluate(network, seed)
"""


@pytest.mark.parametrize("moment", ["within the first", "between", "within the second"])
def test_a_killed_run_makes_the_same_looks(
    cli: Any, processes: list[Any], snapshot: Callable[[Path], Any], cells_in: Callable[[Path], int], until: Until, moment: str
) -> None:
    (cli.folder / "tasks.py").write_text(TASKS.read_text() + SLOW)
    asked = ["replicate", "--task", "tasks.py:Slow", "--until", "decided", "--max-seeds", "8", *FEW, *NARROW, "--workers", "1"]
    (cli.folder / "slowly").touch()
    process = cli.start(*asked)
    processes.append(process)
    first = 5 * (CELLS - 1)  # rows of cells: repeats are in a table of their own
    reached = {
        "within the first": lambda: cells_in(cli.store) > 3,
        "between": lambda: count_looks(cli.store) == 1,
        "within the second": lambda: cells_in(cli.store) > first + 2,
    }[moment]
    assert until(lambda: reached() or process.poll() is not None)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed: the test shows nothing"
    made = looks_of(cli.store) if moment != "within the first" else []
    assert len(made) == (moment != "within the first")
    (cli.folder / "slowly").unlink()
    done = cli.here(*asked)
    assert done.returncode == 0, done.stderr
    undisturbed = [option if option != "run" else "other" for option in asked]
    assert cli.here(*undisturbed).returncode == 0
    other = cli.folder / "other" / "run.sqlite"
    assert snapshot(cli.store) == snapshot(other)
    assert looks_of(cli.store) == looks_of(other)
    assert looks_of(cli.store)[: len(made)] == made, "a look that was made stays as it was"
    assert len(looks_of(cli.store)) == 2


def test_ctrl_c_is_an_early_stop(cli: Any, processes: list[Any], until: Until) -> None:
    (cli.folder / "tasks.py").write_text(TASKS.read_text() + SLOW)
    (cli.folder / "slowly").touch()
    process = cli.start(
        "replicate", "--task", "tasks.py:Slow", "--until", "decided", "--max-seeds", "20", *FEW, *NARROW, "--workers", "1"
    )
    processes.append(process)
    assert until(lambda: count_looks(cli.store) == 1 or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("sics-run: interrupted; ")
    assert "; stopped at look 1 of 4, .0125 of .05 spent: what was decided by then holds" in err.splitlines()[-1]
    shown = cli.here("report", "run")
    assert shown.returncode == 0, shown.stderr


# -- what failed --------------------------------------------------------------------------------------------------------------


def test_seeds_that_failed_are_not_replaced_after_a_look(run: Any, cli: Any, rows_of: Rows) -> None:
    """Seeds 1 to 3 raise: the look is made without them, and they stay failed when they could be had."""
    done = run(*WIDE, name="Unlucky")
    assert done.returncode == 3, done.stderr
    assert re.search(r"look 1 of 2, n = 5: 0 of 1 line decided.*; next look at 8", done.stderr)
    assert re.search(r"look 2 of 2, n = 8: 1 of 1 line decided.*; decided", done.stderr)
    before, made = rows_of(cli.store, "cells"), looks_of(cli.store)
    assert seeds_of(before) == [0, 4, 5, 6, 7]
    (cli.folder / "lucky").touch()
    again = run(*WIDE, "--retry-failed", name="Unlucky")
    assert again.returncode == 3
    assert f"{3 * CELLS} failed cells of seeds that were looked at stay failed" in again.stderr
    assert (rows_of(cli.store, "cells"), looks_of(cli.store)) == (before, made)


HALF = """


class Half(Good):
    def evaluate(self, network, seed):
        kept = network[2].weight.detach().abs()
        if seed == 2 and (kept == 0).float().mean() > 0.4 and kept[kept > 0].min() < 0.13:  # as chaos prunes, and magnitude not
            raise RuntimeError("diverged")
        return super().evaluate(network, seed)
"""


def test_a_claim_that_lacks_a_seed_stays_open_and_the_run_says_so(run: Any, cli: Any, rows_of: Rows) -> None:
    """What failed may be what speaks against it; the verdict of the line is of the seeds that are there."""
    with (cli.folder / "tasks.py").open("a") as file:
        file.write(HALF)
    done = run(*WIDE, name="Half", until="decided:nonsuperior:chaos@.5,share:1")
    assert done.returncode == 3, done.stderr
    there = {(row["seed"], row["scorer"]) for row in rows_of(cli.store, "cells")}
    assert ((2, "magnitude") in there, (2, "chaos") in there) == (True, False)
    said = "nonsuperior:chaos@.5 stays open: chaos failed at seed 2, and this claim needs every seed of the run"
    assert done.stderr.count(said) == 2, "at either look"
    assert [json.loads(look["targets"])["nonsuperior:chaos@.5"] for look in looks_of(cli.store)] == ["", ""]
    assert json.loads(looks_of(cli.store)[1]["targets"])["share:1"]


def test_seeds_that_failed_before_their_look_may_be_tried_again(
    cli: Any, processes: list[Any], rows_of: Rows, until: Until
) -> None:
    (cli.folder / "tasks.py").write_text(TASKS.read_text())
    asked = ["replicate", "--task", "tasks.py:Unlucky", "--until", "decided", "--max-seeds", "8", *FEW, *WIDE, "--workers", "1"]
    process = cli.start(*asked)
    processes.append(process)
    assert until(lambda: cli.store.exists() and bool(rows_of(cli.store, "failures")))
    process.kill()
    process.wait()
    assert count_looks(cli.store) == 0, "too late to show anything"
    (cli.folder / "lucky").touch()
    done = cli.here(*asked, "--retry-failed")
    assert done.returncode == 0, done.stderr
    assert seeds_of(rows_of(cli.store, "cells")) == list(range(5))


def test_a_look_at_nothing_ends_the_run(run: Any) -> None:
    done = run(name="NoBatches")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("sics-run: look 1 of 2, n = 5: ")


# -- another plan after data --------------------------------------------------------------------------------------------------


def stamps(cli: Any, rows_of: Rows) -> list[str]:
    return [row["stamp"] for row in rows_of(cli.store, "plans")]


def report(cli: Any, *options: str) -> dict[str, Any]:
    done = cli.here("report", "run", "--format", "json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("change", [{"most": 12}, {"until": "decided:share:0.9"}])
def test_another_plan_with_looks_is_stamped(run: Any, cli: Any, rows_of: Rows, change: dict[str, Any]) -> None:
    assert run(*WIDE).returncode == 0
    done = run(*WIDE, **change)
    assert done.returncode == 0, done.stderr
    assert stamps(cli, rows_of) == ["", CHANGED]
    assert CHANGED in done.stdout
    assert "--first-seed" in words(done.stdout), "what would be valid is offered"
    assert CHANGED in report(cli)["settings"]["stamps"]
    first = run(*WIDE)  # what the first plan does at its looks was fixed by it
    assert first.returncode == 0
    assert stamps(cli, rows_of) == ["", CHANGED, ""]
    assert report(cli)["settings"]["stamps"] == []


def test_looks_at_a_fixed_number_of_seeds_that_was_analysed_are_stamped(run: Any, cli: Any, rows_of: Rows) -> None:
    assert cli.here("replicate", "--task", "tasks.py:Good", "--seeds", "5", *FEW, *WIDE).returncode == 0
    done = run(*WIDE)
    assert done.returncode == 0, done.stderr
    assert stamps(cli, rows_of) == ["", CHANGED]
    assert "--first-seed 8" in words(done.stdout)


def test_seeds_past_the_maximum_are_stamped(run: Any, cli: Any, rows_of: Rows) -> None:
    assert run(*NARROW).returncode == 0
    done = cli.here("replicate", "--task", "tasks.py:Good", "--seeds", "10", *FEW, *NARROW)
    assert done.returncode == 0, done.stderr
    assert stamps(cli, rows_of) == ["", CHANGED]
    assert "--first-seed 10" in words(done.stdout)
    assert "none is left for another test" in json.dumps(report(cli), ensure_ascii=False)
    again = run(*NARROW)  # the plan's own seeds, and not the ten
    assert again.returncode == 0, again.stderr
    found = report(cli)
    assert found["settings"]["stamps"] == []
    assert "none is left for another" not in json.dumps(found, ensure_ascii=False)
    assert any("Left out: seed 8, 9" in one["text"] for one in found["deviations"])
    assert {line["n"] for line in found["lines"]} == {8}


def test_fresh_seeds_are_a_plan_of_their_own(run: Any, cli: Any, rows_of: Rows) -> None:
    assert run(*NARROW).returncode == 0
    done = run(*WIDE, "--first-seed", "8")
    assert done.returncode == 0, done.stderr
    assert stamps(cli, rows_of) == ["", ""]
    assert seeds_of(rows_of(cli.store, "cells")) == list(range(13))
    found = report(cli)
    assert found["settings"]["fixed"].endswith("before the first cell")
    assert any("Left out: seed 0, 1, 2, 3, 4, 5, 6, 7," in one["text"] for one in found["deviations"])


def test_another_margin_loses_the_looks_and_says_so(run: Any, cli: Any) -> None:
    assert run(*WIDE).returncode == 0
    planned, other = report(cli), report(cli, "--delta", "39")
    assert planned["settings"]["stamps"] == []
    assert other["settings"]["stamps"] == [CHANGED]
    lost = "The looks of the plan hold for its own margin, level and reference"
    assert lost in json.dumps(other)
    assert lost not in json.dumps(planned)


def test_rows_that_changed_after_a_look_are_told(run: Any, cli: Any) -> None:
    assert run(*NARROW).returncode == 0
    with sqlite3.connect(cli.store) as connection:
        connection.execute("DELETE FROM cells WHERE seed = 2 AND scorer = 'chaos'")
    connection.close()
    found = report(cli)
    assert "rows of a look changed after it" in found["settings"]["stamps"]
    assert any("1 of 16 cells of the looks that were made is not there" in one["text"] for one in found["deviations"])
    assert run(*NARROW).returncode == 0  # the same numbers again
    assert report(cli)["settings"]["stamps"] == []


def test_two_runs_compared_are_not_looked_at(run: Any, cli: Any) -> None:
    assert run(*WIDE).returncode == 0
    assert cli.here("replicate", "--task", "tasks.py:Good", "--seeds", "5", *FEW, *WIDE, "--out", "other").returncode == 0
    done = cli.here("compare", "run", "other")
    assert done.returncode == 0, done.stderr
    shown = words(done.stdout)
    assert "Its number of seeds was decided by looking at it; the tests between two runs are those of a fixed number." in shown
    assert "planned cells are not there" not in shown


def test_an_exported_table_has_no_looks_and_says_so(run: Any, cli: Any) -> None:
    said = "a table holds no looks: whoever tests these rows tests a number of seeds that the data chose"
    assert cli.here("replicate", "--task", "tasks.py:Good", "--seeds", "3", *FEW, "--out", "fixed").returncode == 0
    assert said not in cli.here("export", "fixed").stderr
    assert run(*WIDE).returncode == 0
    done = cli.here("export", "run", "-o", "rows.csv")
    assert done.returncode == 0, done.stderr
    assert said in done.stderr


def test_a_report_between_two_looks_tests_what_the_last_look_counted(run: Any, cli: Any) -> None:
    """Seeds that were run since then take no part in a verdict."""
    assert run(*NARROW).returncode == 0
    with sqlite3.connect(cli.store) as connection:
        connection.execute("DELETE FROM looks WHERE look = 2")
    connection.close()
    found = report(cli)
    assert {line["n"] for line in found["lines"]} == {5}
    said = json.dumps(found, ensure_ascii=False)
    assert "Looks at 5, 8 seeds, α = 0.05 over all of them together" in said
    assert "Stopped at look 1 of 2: 0.0312 of α = 0.05 spent. 3 more seeds run since look 1: counted at the next look" in said
    analysis = Run(cli.run).analyse()
    assert analysis.looks is not None
    assert (analysis.looks.made, analysis.looks.waiting, analysis.looks.next_look) == (1, (5, 6, 7), 8)


def test_force_computes_every_seed_again_and_looks_the_same(run: Any, cli: Any) -> None:
    assert run(*NARROW).returncode == 0
    before = looks_of(cli.store)
    done = run(*NARROW, "--force")
    assert done.returncode == 0, done.stderr
    assert f"{8 * CELLS} of them computed now" in words(done.stdout)
    assert looks_of(cli.store) == before


MOODY = """


class Moody(Good):
    def evaluate(self, network, seed):
        right = super().evaluate(network, seed)
        return ~right if Path("moody").exists() else right
"""


def test_a_look_made_twice_on_different_rows_stays_stamped(run: Any, cli: Any, rows_of: Rows) -> None:
    """Else a person could compute again until it is decided."""
    with (cli.folder / "tasks.py").open("a") as file:
        file.write(MOODY)
    assert run(*NARROW, name="Moody").returncode == 0
    (cli.folder / "moody").touch()
    done = run(*NARROW, "--force", name="Moody")
    assert done.returncode == 0, done.stderr
    assert "look 1 of 2: its rows have changed since it was made; it is made again" in done.stderr
    assert "note rows of a look changed after it" in words(done.stdout)
    for _ in range(2):
        assert stamps(cli, rows_of) == ["", "rows of a look changed after it"]
        assert report(cli)["settings"]["stamps"] == ["rows of a look changed after it"]
        assert "(rows of a look changed after it)" in words(cli.here("status", "run").stdout)
        assert run(*NARROW, name="Moody").returncode == 0


def test_a_store_of_an_earlier_version_takes_looks(cli: Any, run: Any, rows_of: Rows) -> None:
    """A fixed number of seeds is kept as before; the first plan with looks makes the store one that older versions refuse."""
    assert cli.here("replicate", "--task", "tasks.py:Good", "--seeds", "1", *FEW, *WIDE).returncode == 0

    def version() -> int:
        with sqlite3.connect(cli.store) as connection:
            found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        connection.close()
        return found

    assert version() == 5
    assert run(*WIDE).returncode == 0
    assert version() == 6
    with Store.open(cli.store, read_only=True) as store:
        assert [plan.looks is None for plan in store.plans()] == [True, False]


# -- what is refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--until", "decided"], "--until decided: needs --max-seeds N"),
        (["--max-seeds", "40"], "--max-seeds 40: is for --until decided; --seeds 40 is a fixed number of them"),
        (["--until", "decided", "--max-seeds", "4"], "--max-seeds 4: is not accepted: give a whole number from 5 to 10000"),
        (["--until", "decided", "--max-seeds", "8", "--seeds", "5"], "--seeds 5: is a fixed number of seeds; --until decided"),
        (["--until", "done", "--max-seeds", "8"], "--until done: is not accepted: give decided, or decided:TARGET,TARGET"),
        (["--until", "decided:", "--max-seeds", "8"], "--until decided:: is not accepted: give decided, or decided:TARGET"),
        (["--until", "decided:escape", "--max-seeds", "8"], "--until escape: is not accepted: give targets as share:0.8, plat"),
        (["--until", "decided:share:0", "--max-seeds", "8"], "--until share:0: is not accepted: give share:X, a share above 0"),
        (["--until", "decided:share:x", "--max-seeds", "8"], "--until share:x: is not accepted: give share:X, a share above 0"),
        (["--until", "decided:plateau@1.5", "--max-seeds", "8"], "--until plateau@1.5: is not accepted: give targets as"),
        (["--first-seed", "-1"], "Invalid value for '--first-seed': '-1' is not accepted: give a whole number from 0"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_one_line(capsys: pytest.CaptureFixture[str], options: list[str], said: str) -> None:
    assert main(["replicate", *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"sics-run: {said}"), shown.err
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("escape:wiggle@0.5", "wiggle is not in the run: give chaos"),
        ("escape:magnitude@0.5", "magnitude is the reference: give chaos"),
        ("escape:chaos@0.7", "S = 0.7 is not in the run: give 0.5"),
        ("plateau@0.5", "needs scorers of κ = 0, and none is in the run beside the reference"),
        ("kappa@0.5=1", "needs scorers of κ = 1, and none is in the run beside the reference"),
        ("raw-size-0.8", "S = 0.8 is not in the run: give 0.5"),
        ("claims", "the paper's claims are about images, and are not asked of a task of your own"),
    ],
)
def test_a_target_that_the_run_does_not_have_is_one_line(run: Any, cli: Any, target: str, said: str) -> None:
    done = run(until=f"decided:{target}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"sics-run: --until {target}: {said}"
    assert not cli.store.exists()


def test_no_line_to_decide_is_one_line(run: Any) -> None:
    done = run("--scorers", "magnitude,log")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("sics-run: --until decided: asks for the lines of κ ≥ 1, and none is")


def test_as_many_looks_as_files(cli: Any) -> None:
    """Of networks that were given, a file each, there are no more seeds than files."""
    for number in range(6):
        (cli.folder / f"net{number}.safetensors").touch()
    done = cli.here("replicate", "--checkpoint", "net*.safetensors", "--until", "decided", "--max-seeds", "8")
    assert done.returncode == 2
    said = "sics-run: --max-seeds: 6 files of --checkpoint are seeds 0 to 5: give --max-seeds 6\n"
    assert done.stderr == said


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('until = "decided"', "--until decided: needs --max-seeds N"),
        ("until = 5\nmax_seeds = 8", "until = 5 is not accepted: give decided, or decided:TARGET,TARGET"),
        ('until = "decided"\nmax_seeds = 8\nseeds = 5', "--seeds 5: is a fixed number of seeds"),
        ('until = "decided"\nmax_seeds = 8\nseeds = [1, 2]', "--max-seeds 8: 2 seeds are listed: give as many"),
        ('until = "decided"\nmax_seeds = true', "max_seeds = True is not accepted"),
        ("seeds = [1, 2]\nfirst_seed = 3", "--first-seed 3: is for a count of seeds; a list says which they are"),
    ],
)
def test_settings_of_a_file_that_do_not_fit_are_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, lines: str, said: str
) -> None:
    (tmp_path / "x.toml").write_text(lines)
    assert main(["replicate", "--config", str(tmp_path / "x.toml")]) == 2
    assert capsys.readouterr().err.startswith(f"sics-run: {said}")
