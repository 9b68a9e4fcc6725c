"""Runs of a task of the user's own: what raises costs its seed alone, what is not the same twice is found, kills are survived."""

import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sics_cli.store.inbox import Inbox, Intake
from sics_cli.store.rows import FailureRow
from sics_cli.store.store import Store

TASKS = Path(__file__).parents[1] / "tasks" / "own_tasks.py"
RUN = ("--scorers", "magnitude,chaos", "--sparsities", ".5", "--no-report", "--out", "run")
CELLS = 4  # of a seed: dense, two scorers, one repeat
Rows = Callable[[Path, str], list[dict[str, Any]]]
Snapshot = Callable[[Path], dict[str, list[str]]]


@pytest.fixture
def run(cli: Any) -> Any:
    shutil.copy(TASKS, cli.folder / "tasks.py")

    def done(name: str, seeds: int, *options: str) -> subprocess.CompletedProcess[str]:
        return cli.here("replicate", "--task", f"tasks.py:{name}", "--seeds", str(seeds), *RUN, *options)

    return done


def seeds_of(rows: list[dict[str, Any]]) -> list[int]:
    return sorted({row["seed"] for row in rows})


# -- what raises ----------------------------------------------------------------------------------------------------------


def test_what_raises_costs_its_seed_alone(run: Any, cli: Any, rows_of: Rows) -> None:
    """An error, sys.exit, and a file that may not be read, each at a seed of its own."""
    done = run("Unlucky", 5)
    assert done.returncode == 3, done.stderr
    assert seeds_of(rows_of(cli.store, "cells")) == [0, 4]
    failures = rows_of(cli.store, "failures")
    assert seeds_of(failures) == [1, 2, 3]
    assert len(failures) == 3 * CELLS
    for seed, error in (
        (1, "RuntimeError: no luck at seed 1"), (2, "SystemExit: enough"),
        (3, "PermissionError: [Errno 13] Permission denied: '/data/secret.npz'"),
    ):  # fmt: skip
        assert {row["error"] for row in failures if row["seed"] == seed} == {error}
        assert len(re.findall(rf"seed {seed}, \w+ at S = \S+ and 3 more failed: {re.escape(error)}\n", done.stderr)) == 1
        assert done.stderr.count(f"\n{error}\n") == 1  # the last line of its traceback
    shown = re.findall(r'File "(.+)", line', done.stderr)
    assert shown == [f"{cli.folder}/tasks.py"] * 6  # network and check, of each
    assert all("seed_run.py" in row["trace"] for row in failures)  # the whole of it is kept

    again = run("Unlucky", 5)
    assert again.returncode == 3
    assert f"{3 * CELLS} failed before (--retry-failed tries them again)" in again.stderr
    (cli.folder / "lucky").touch()
    retried = run("Unlucky", 5, "--retry-failed")
    assert retried.returncode == 0, retried.stderr
    assert rows_of(cli.store, "failures") == []
    assert seeds_of(rows_of(cli.store, "cells")) == [0, 1, 2, 3, 4]


def test_one_line_for_a_seed_and_error_and_one_traceback_for_all(tmp_path: Path) -> None:
    """Of what waits together, whatever numbers are in it; what comes later is counted at the seed's end."""
    inbox, said = Inbox(tmp_path, "run"), list[str]()
    inbox.prepare()
    trace = 'Traceback (most recent call last):\n  File "/home/me/mine.py", line 7, in evaluate\nValueError: no\n'

    def fail(key: str, seed: int, scorer: str, error: str = "ValueError: no") -> None:
        inbox.post(FailureRow(key, "cell", seed, scorer, 0.5, error, trace, "2026-01-01T00:00:00+00:00"))

    with Store.create(tmp_path / "run.sqlite", {}) as store:
        intake = Intake(inbox, store, said.append)
        fail("a", 0, "chaos")
        fail("b", 0, "magnitude")
        fail("c", 1, "chaos")
        assert sorted(intake.empty()) == ["a", "b", "c"]
        fail("d", 0, "random")
        fail("e", 0, "chaos", "ResultError: gave 93.1 for example 7")
        fail("f", 0, "random", "ResultError: gave -1e-05 for example 19")
        fail("g", 0, "random", "ResultError: gave nan for example 0")
        intake.empty()
        fail("h", 0, "fake", "ResultError: gave 4 for example 1")
        intake.empty()
        assert intake.failed == len(store.failures()) == 8
    assert said == [
        "seed 0, chaos at S = 0.5 and 1 more failed: ValueError: no", trace.rstrip(),
        "seed 1, chaos at S = 0.5 failed: ValueError: no",
        "seed 0, chaos at S = 0.5 and 2 more failed: ResultError: gave 93.1 for example 7",
    ]  # fmt: skip


def test_a_cell_that_raises_costs_that_cell(run: Any, cli: Any, rows_of: Rows) -> None:
    done = run("UnluckyEvaluate", 2, "--sparsities", ".5,.9")
    assert done.returncode == 3
    failed = {(row["seed"], row["kind"], row["scorer"], row["sparsity"]) for row in rows_of(cli.store, "failures")}
    assert failed == {(1, "cell", "magnitude", 0.9), (1, "cell", "chaos", 0.9), (1, "repeat", "magnitude", 0.9)}
    assert done.stderr.count("return torch.ones(3) @ torch.ones(4)") == 1
    assert len(rows_of(cli.store, "cells")) == 2 * 5 - 2


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("NoModule", "TypeError: network(1) gave dict, expected a torch.nn.Module"),
        ("HalfATrainer", "TypeError: trainer(1) gave Linear without network: see sics_cli.Trainer"),
        ("TwoDimensional", "ResultError: evaluate gave shape (256, 2) for accuracy: expected (examples,), or one number"),
        ("Nan", "ResultError: evaluate gave nan for accuracy for example 7: expected finite numbers"),
        ("Percent", "for accuracy, whose unit is points: expected fractions from 0 to 1"),
        ("Norm", "ResultError: the network changed while it was evaluated: evaluate() must leave weights"),
        ("Writes", "ResultError: the network changed while it was evaluated"),
        ("LossWrites", "the network changed while its saliency was measured: loss() and forward() must leave"),
        ("NoBatches", "ValueError: Expected at least one batch of (input, target) in `batches`, got none"),
        ("OneBatch", "TypeError: calibration gave Tensor: expected an iterable of (input, target) pairs"),
        ("Triples", "TypeError: Expected every batch to be an (input, target) pair or a mapping"),
        ("NanLoss", "ValueError: Expected a finite loss on the calibration batches, got nan on batch 1"),
        ("VectorLoss", "ResultError: loss gave shape (64,): expected a tensor of one number"),
        ("Floats", "does not take this batch (expected target dtype to be Long or Byte, but got Float): loss(self, "),
        ("FloatColumns", "ResultError: the default loss, cross-entropy on (input, target) or the output's own .loss"),
        ("NotThere", "ValueError: targets(network): Expected wieght to be a parameter of Linear"),
        ("TargetsWrite", "ResultError: the network changed while targets() named what may be pruned: it must leave weights"),
        ("Elsewhere", "ValueError: targets(network): Expected `parameters` of this Sequential, got 'weight'"),
    ],
)  # fmt: skip
def test_what_a_method_may_not_give_is_a_line_and_no_row(run: Any, cli: Any, rows_of: Rows, name: str, error: str) -> None:
    done = run(name, 2)
    assert done.returncode == 3, done.stderr
    pruned = [row for row in rows_of(cli.store, "cells") if row["scorer"] != "dense"]
    assert pruned == []
    lines = [line for line in done.stderr.splitlines() if "seed 1, " in line]
    assert len(lines) == 1, done.stderr
    assert error in lines[0]
    status = cli.here("status", "run").stdout
    assert len(re.findall(r"failed    seed 1, \w+ at S = \S+ and [23] more: ", status)) == 1
    assert "\n" not in rows_of(cli.store, "failures")[0]["error"]


def test_weights_written_past_the_counter_are_found_in_every_part_of_a_seed(run: Any, cli: Any, rows_of: Rows) -> None:
    """The dense row is evaluated first, and then by another command no more."""
    assert run("Writes", 1, "--scorers", "magnitude").returncode == 3
    assert run("Writes", 1).returncode == 3  # its new cells alone
    assert rows_of(cli.store, "cells") == rows_of(cli.store, "repeats") == []


def test_weights_written_past_the_counter_are_found_at_any_evaluation(run: Any, cli: Any, rows_of: Rows) -> None:
    """Not at the first alone; the network is taken anew, and the cells that follow are those of a task that writes nothing."""
    options = ("--sparsities", ".5,.9", "--scorers", "chaos,magnitude")
    done = run("WritesLater", 1, *options)
    assert done.returncode == 3
    failed = {(row["kind"], row["scorer"], row["sparsity"], row["error"]) for row in rows_of(cli.store, "failures")}
    changed = (
        "ResultError: the network changed while it was evaluated: evaluate() must leave weights and buffers as they are "
        "(is a batch norm in training mode?)"
    )
    assert failed == {("cell", "magnitude", 0.9, changed), ("cell", "chaos", 0.9, changed), ("repeat", "magnitude", 0.9, changed)}
    found = {(row["scorer"], row["sparsity"]): row["bits"] for row in rows_of(cli.store, "cells")}
    shutil.rmtree(cli.run)
    assert run("Good", 1, *options).returncode == 0
    other = {(row["scorer"], row["sparsity"]): row["bits"] for row in rows_of(cli.store, "cells")}
    assert found == {place: bits for place, bits in other.items() if place[1] != 0.9}


def test_fewer_examples_at_another_seed_are_refused(run: Any, cli: Any, rows_of: Rows) -> None:
    done = run("Fewer", 2)
    assert done.returncode == 3
    (first,) = seeds_of(rows_of(cli.store, "cells"))  # whichever came first
    (error,) = {row["error"] for row in rows_of(cli.store, "failures")}
    said = f"seed {1 - first} was evaluated on {255 + first} examples, seed {first} on {256 - first} examples"
    assert error == f"{said}: every network must meet the same ones"


# -- what is not the same twice -------------------------------------------------------------------------------------------


def test_other_batches_when_asked_again_are_stamped(run: Any, cli: Any, rows_of: Rows) -> None:
    done = run("OtherBatches", 2)
    assert done.returncode == 0, done.stderr
    flagged = "calibration batches were others when asked for again"
    assert all(flagged in row["flags"] for row in rows_of(cli.store, "cells"))
    assert flagged in " ".join(done.stdout.split())
    more = run("OtherBatches", 2, "--scorers", "magnitude,chaos,information")
    assert more.returncode == 3
    assert "ConflictError: the calibration batches of seed 0 differs from that of its rows in the store" in more.stderr


def test_seeds_of_which_no_two_parts_met_the_same_are_said_and_cost_the_exit_code(run: Any, cli: Any) -> None:
    """Two workers share the one seed that is new, and its task hands over other batches to each."""
    options = ("--sparsities", ".5,.7", "--workers", "2", "--scorers", "magnitude,chaos")
    assert run("OtherBatches", 2, *options).returncode == 0
    done = run("OtherBatches", 3, *options)
    assert done.returncode == 3, done.stdout
    said = re.search(r"rows of seed (\d) met different saliency gradient and calibration batches", " ".join(done.stdout.split()))
    assert said is not None, done.stdout
    assert f"left out rows of seed {said[1]} met" in " ".join(done.stdout.split())
    told = " ".join(cli.here("status", "run").stdout.split())
    assert f"{said[0]}: they are in no verdict. The task is to give the same whenever it is asked for a seed" in told
    again = run("OtherBatches", 3, *options)
    assert again.returncode == 3, "what was not mended is still there"
    assert run("Good", 3, "--out", "other", *options).returncode == 0


def test_a_margin_beside_which_nothing_is_a_difference_is_said_twice(run: Any, cli: Any) -> None:
    """As soon as there is a dense row, and at the end; what can be a difference is left alone."""
    done = run("Share", 2)
    assert done.returncode == 0, done.stderr
    doubt = "δ = 1 F1 is no less than the dense result itself (1 F1): even 0 would be no difference; of fractions from 0 to 1"
    assert done.stderr.count(f"doubt: {doubt}") == 1
    assert f"doubt {doubt}" in " ".join(done.stdout.split())
    other = cli.here("replicate", "--task", "tasks.py:Share", "--seeds", "2", *RUN, "--delta", "0.01")
    assert other.returncode == 0
    assert "doubt" not in other.stdout + other.stderr


def test_one_minus_sign_in_a_table(run: Any) -> None:
    done = run("Reward", 3)
    assert done.returncode == 0, done.stderr
    assert "dense networks: −1.00 return ± 0.00 (sd) over 3 seeds" in done.stdout
    table = done.stdout.partition("S = 0.5")[2].partition("diff.:")[0]
    assert re.search(r"magnitude .* −1\.\d\d", table)
    assert not re.search(r"-\d", table)


def test_other_numbers_when_evaluated_again_are_the_noise_floor(run: Any, rows_of: Rows, cli: Any) -> None:
    done = run("Noisy", 4)
    assert done.returncode == 0, done.stderr
    first = {row["seed"]: row["value"] for row in rows_of(cli.store, "cells") if row["scorer"] == "magnitude"}
    again = {row["seed"]: row["value"] for row in rows_of(cli.store, "repeats")}
    floor = max(abs(first[seed] - again[seed]) for seed in first)
    assert floor > 0.1
    assert f"noise floor {floor:.2f} score" in done.stdout
    assert f"undecided, δ = 0.1 below the noise floor of {floor:g} score: chaos" in " ".join(done.stdout.split())
    assert re.search(r"chaos .* INCONCLUSIVE", done.stdout)


def test_examples_in_another_order_at_another_seed_are_in_no_test_on_examples(run: Any, cli: Any, rows_of: Rows) -> None:
    pages = {}
    for name in ("Good", "Shuffled"):
        done = run(name, 3, "--out", name, "--sparsities", ".9")
        assert done.returncode == 0, done.stderr
        assert "mages" not in done.stdout  # a task has examples
        rows = rows_of(cli.folder / name / "run.sqlite", "cells")
        others = "other numbers for the examples at another seed"
        flagged = {row["scorer"] for row in rows if others in row["flags"]}
        assert flagged - {"dense"} == ({"magnitude", "chaos"} if name == "Shuffled" else set())  # of dense, all is right
        assert cli.here("report", name, "-o", "page.md").returncode == 0
        pages[name] = " ".join((cli.folder / "page.md").read_text().split())
    said = (
        "Evaluated as at another seed, a network of seed 0, 1, 2 gave other numbers for the examples: they are others at "
        "each seed, or in another order, or chance is in them."
    )
    assert said in pages["Shuffled"]
    assert said not in pages["Good"]
    none = "McNemar, seed by seed The rows hold no per-example results."
    assert none not in pages["Good"]
    assert none in pages["Shuffled"].replace("# ", "")
    assert "the examples of the evaluation are the same for all seeds" in pages["Good"]
    assert "the examples of the evaluation are the same for all seeds" not in pages["Shuffled"]


def test_test_data_that_were_edited_are_not_mixed_with_what_is_there(run: Any, cli: Any, rows_of: Rows) -> None:
    """No key knows of the file; the numbers of the dense network tell."""
    kept = cli.folder / "shift.txt"
    kept.write_text("0.0")
    assert run("Kept", 2, "--scorers", "magnitude").returncode == 0
    rows = rows_of(cli.store, "cells")
    kept.write_text("0.6")
    done = run("Kept", 2)
    assert done.returncode == 3
    assert re.search(
        r"seed 0, .*: ConflictError: evaluate gives [\d.]+ % for the dense network of seed 0, and gave [\d.]+ % when its "
        r"rows were stored: --force recomputes them, or choose another --out",
        done.stderr,
    )
    assert rows_of(cli.store, "cells") == rows
    kept.write_text("0.0")
    assert run("Kept", 2, "--retry-failed").returncode == 0
    assert len(rows_of(cli.store, "cells")) == len(rows) + 2


def test_dropout_that_is_active_in_the_evaluation_is_stamped(run: Any, cli: Any, rows_of: Rows) -> None:
    done = run("Dropped", 2)
    assert done.returncode == 0, done.stderr
    assert all("evaluated in training mode" in row["flags"] for row in rows_of(cli.store, "cells"))
    assert "Flagged evaluated in training mode: magnitude, chaos" in " ".join(done.stdout.split())


def test_pruning_that_reaches_no_example_is_an_open_check(run: Any, cli: Any) -> None:
    done = run("Remembers", 3, "--sparsities", ".5,.9")
    assert done.returncode == 0, done.stderr
    said = "data check open, untouched: every pruned network gives to the bit what its dense network gives: does evaluate() use"
    assert said in " ".join(done.stdout.split())
    assert cli.here("report", "run", "-o", "page.md").returncode == 0
    assert "so this is not settled" in (cli.folder / "page.md").read_text()
    assert "untouched" not in run("Good", 3, "--sparsities", ".9", "--out", "good").stdout


def test_networks_that_were_sparse_before_are_stamped(run: Any, rows_of: Rows, cli: Any) -> None:
    done = run("Sparse", 1, "--sparsities", ".5,.8", "--scorers", "magnitude")
    assert done.returncode == 0, done.stderr
    flag = "as many zeros in the dense network"
    assert {row["sparsity"] for row in rows_of(cli.store, "cells") if flag in row["flags"]} == {0.5}


def test_another_network_after_the_checkpoint_is_gone_is_refused(run: Any, cli: Any, rows_of: Rows) -> None:
    assert run("OtherNetwork", 2).returncode == 0
    before = rows_of(cli.store, "cells")
    for path in (cli.run / "checkpoints").iterdir():
        if path.name.startswith("seed-1-"):
            path.unlink()
    more = run("OtherNetwork", 2, "--scorers", "magnitude,chaos,information")
    assert more.returncode == 3
    assert "seed 1, information at S = 0.5 failed: ConflictError: the dense checkpoint of seed 1 differs from that" in more.stderr
    assert [row for row in rows_of(cli.store, "cells") if row["scorer"] != "information"] == before
    assert seeds_of([row for row in rows_of(cli.store, "cells") if row["scorer"] == "information"]) == [0]


def test_the_same_network_after_the_checkpoint_is_gone_goes_on(run: Any, cli: Any, rows_of: Rows) -> None:
    assert run("Good", 1).returncode == 0
    shutil.rmtree(cli.run / "checkpoints")
    assert run("Good", 1, "--scorers", "magnitude,chaos,information").returncode == 0
    assert len({row["checkpoint_hash"] for row in rows_of(cli.store, "cells")}) == 1


def test_a_network_that_cannot_be_kept_whole_is_made_again_or_refused(run: Any, cli: Any) -> None:
    done = run("Unkept", 1)
    assert done.returncode == 3
    assert "seed 0: the network cannot be kept whole (TypeError: " in done.stderr
    assert "network(0) gave another network than before, and the first could not be kept whole" in done.stderr


# -- kills ----------------------------------------------------------------------------------------------------------------

#: Slow enough to be killed in the middle, of a seed's cells and of the epochs of its training, where a file says so.
SLOW = """

import time


def dawdle(seconds):
    if Path("slowly").exists():
        time.sleep(seconds)


class SlowLearner(Learner):
    def epoch(self, number):
        dawdle(0.6)
        return super().epoch(number)


class SlowParts(InParts):
    epochs = 6

    def trainer(self, seed):
        return SlowLearner(self, seed)


class Slow(Good):
    def evaluate(self, network, seed):
        dawdle(0.3)
        return super().evaluate(network, seed)
"""


@pytest.mark.parametrize("name", ["Slow", "SlowParts"])
def test_a_killed_driver_leaves_what_an_undisturbed_run_has(
    cli: Any, processes: list[Any], snapshot: Snapshot, cells_in: Callable[[Path], int], until: Callable[..., bool],
    children: Callable[[int], list[int]], gone: Callable[[int], bool], name: str,
) -> None:  # fmt: skip
    (cli.folder / "tasks.py").write_text(TASKS.read_text() + SLOW)
    command = ["replicate", "--task", f"tasks.py:{name}", "--seeds", "2", *RUN, "--workers", "1"]
    (cli.folder / "slowly").touch()
    process = cli.start(*command)
    processes.append(process)
    if name == "Slow":
        assert until(lambda: cells_in(cli.store) > 0)
    else:
        assert until(lambda: any((cli.run / "checkpoints").glob("training-*")) or process.poll() is not None)
    workers = children(process.pid)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed: the test shows nothing"
    there = cells_in(cli.store)
    assert there < 2 * CELLS - 2
    assert until(lambda: all(map(gone, workers)), 20)
    (cli.folder / "slowly").unlink()
    done = cli.here(*command)
    assert done.returncode == 0, done.stderr
    undisturbed = [option if option != "run" else "other" for option in command]
    assert cli.here(*undisturbed).returncode == 0
    assert snapshot(cli.store) == snapshot(cli.folder / "other" / "run.sqlite")
    assert list((cli.run / "inbox").iterdir()) == []
    if name == "SlowParts":
        curve = (cli.run / "curves" / "seed-0.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in curve] == ["epoch", *map(str, range(1, 7))]


# -- what training leaves behind in its process ------------------------------------------------------------------------------


def test_one_module_trained_on_from_seed_to_seed_costs_those_seeds(run: Any, cli: Any, rows_of: Rows) -> None:
    done = run("GoesOn", 2, "--workers", "1")
    assert done.returncode == 3
    assert seeds_of(rows_of(cli.store, "cells")) == [0]
    (error,) = {row["error"] for row in rows_of(cli.store, "failures")}
    assert error.startswith("ResultError: network(1) gave the very module that network(0) gave")


def test_settings_of_torch_that_training_changes_are_its_own(run: Any, cli: Any, rows_of: Rows) -> None:
    """Evaluated as by a run that goes on from the checkpoint, which trains nothing."""
    done = run("Settings", 1)
    assert done.returncode == 0, done.stderr
    assert len(rows_of(cli.store, "cells")) == CELLS - 1
