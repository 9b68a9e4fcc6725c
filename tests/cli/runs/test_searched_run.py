"""Runs of searched scorers by the real CLI: what a search sees, what it leaves, and that it goes on where it was killed."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sics_cli import Run
from sics_cli.base.hashing import canonical_json, digest
from sics_cli.experiment.recipe import search_seed
from sics_cli.settings.config import experiment_from_mapping, merged, read_toml
from sics_cli.settings.presets import DIGITS
from sics_cli.settings.seeding import calibration_batches
from sics_cli.tasks.images.datasets import load_split
from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.networks.models import build_model
from sics_plugin import Calibration, Saliency, compute_masks, held_out_loss, search_fusion

TASKS = Path(__file__).parents[1] / "tasks" / "own_tasks.py"
RUN = ("--sparsities", ".5", "--no-report")
Rows = Callable[[Path, str], list[dict[str, Any]]]
Snapshot = Callable[[Path], dict[str, list[str]]]
Until = Callable[..., bool]


@pytest.fixture
def run(cli: Any) -> Any:
    shutil.copy(TASKS, cli.folder / "tasks.py")

    def done(name: str, scorers: str, out: str = "run", *options: str) -> subprocess.CompletedProcess[str]:
        return cli.here(*asked(name, scorers, out), *options)

    return done


def asked(name: str, scorers: str, out: str = "run") -> list[str]:
    return ["replicate", "--task", f"tasks.py:{name}", "--seeds", "1", *RUN, "--out", out, "--scorers", f"magnitude,{scorers}"]


def searches(rows: list[dict[str, Any]]) -> dict[tuple[int, str, float], dict[str, Any]]:
    return {(row["seed"], row["scorer"], row["sparsity"]): json.loads(row["search"]) for row in rows if row["search"]}


def points(folder: Path, features: str = "orbit") -> list[dict[str, Any]]:
    """The points of a search of seed 0 that are kept; none where no whole file is there."""
    found = list((folder / "searches").glob(f"seed-0-{features}-*.json"))
    assert len(found) < 2
    return [] if not found else list(json.loads(found[0].read_text())["search"]["points"])


# -- what a search sees, and what it says -----------------------------------------------------------------------------------


def test_a_search_sees_held_out_examples_alone_and_each_mask_once(run: Any, cli: Any, rows_of: Rows) -> None:
    done = run("HoldsOut", "fusion_orbit_5,fusion_orbit_12,fusion_spline_6", "run", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    rows = rows_of(cli.store, "cells")
    found = searches(rows)
    by_set = {(seed, tuple(told["features"])): 0 for (seed, _, _), told in found.items()}
    for (seed, _, _), told in found.items():
        place = seed, tuple(told["features"])
        by_set[place] = max(by_set[place], told["masks"])
    asked_for = Counter((cli.folder / "asked.log").read_text().splitlines())
    assert set(asked_for) == {"evaluate 0 of 128", "held out 128 of 128"}, "no half meets the other"
    # Each mask of a search once, the reference's, and the dense network, by which they are known again.
    assert asked_for["held out 128 of 128"] == sum(by_set.values()) + 2 + 2
    masks = {(row["seed"], row["mask_hash"]) for row in rows}
    again = asked_for["evaluate 0 of 128"] - len(masks)
    # A repeat a seed, the dense network beside the held-out examples; where one is not all right, one as at the other seed.
    assert 4 <= again <= 6


def test_fewer_evaluations_are_the_first_of_more(run: Any, cli: Any, rows_of: Rows) -> None:
    """Alone, together, and one after the other: the same points, and to the bit the same rows."""
    for out, scorers in (("few", "fusion_orbit_10"), ("both", "fusion_orbit_10,fusion_orbit_20,adaptive_orbit_11")):
        assert run("HoldsOut", scorers, out).returncode == 0
    assert run("HoldsOut", "fusion_orbit_20", "few").returncode == 0
    times = {"wall_seconds", "finished", "provenance_id"}
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for out in ("few", "both"):
        there = rows_of(cli.folder / out / "run.sqlite", "cells")
        rows[out] = {row["scorer"]: {k: v for k, v in row.items() if k not in times} for row in there}
    adaptive = json.loads(rows["both"].pop("adaptive_orbit_11")["search"])
    assert rows["few"] == rows["both"]
    assert points(cli.folder / "few") == points(cli.folder / "both")
    assert len(points(cli.folder / "few")) == 20
    ten = json.loads(rows["few"]["fusion_orbit_10"]["search"])
    kept = points(cli.folder / "few")[:10]
    best = max(kept, key=lambda point: point["score"])
    assert (ten["weights"], ten["score"], ten["equal"]) == (best["weights"], best["score"], kept[0]["score"])
    assert ten["masks"] == len({point["mask_hash"] for point in kept})
    # Magnitude takes one of eleven, and wins where it is as good as the best of the ten.
    wins = -ten["reference"]["held_out_loss"] >= ten["score"]
    assert adaptive["chosen"] == ("magnitude" if wins else "fusion")
    assert adaptive["weights"] == (None if wins else ten["weights"])
    assert adaptive["score"] == max(ten["score"], -ten["reference"]["held_out_loss"])


def test_a_metric_without_a_loss_is_searched_in_its_direction(run: Any, cli: Any, rows_of: Rows) -> None:
    """And `targets` says what is pruned."""
    assert run("HoldsOutErrors", "fusion_orbit_12").returncode == 0
    (told,) = searches(rows_of(cli.store, "cells")).values()
    kept = points(cli.run)
    assert (told["objective"], told["held_out_loss"], told["held_out_n"]) == ("error", None, 128)
    assert [-point["held_out"] for point in kept] == [point["score"] for point in kept]
    assert told["held_out"] == min(point["held_out"] for point in kept)
    row = next(row for row in rows_of(cli.store, "cells") if row["scorer"] == "fusion_orbit_12")
    assert [layer[0] for layer in json.loads(row["layers"])] == ["2.weight", "0.weight"]
    frame = Run(cli.run).frame().set_index("scorer")
    assert frame.loc["fusion_orbit_12", "held_out_against"] == "magnitude"
    assert frame.loc["fusion_orbit_12", "held_out_reference"] == told["reference"]["held_out"]
    assert frame.loc["magnitude", ["budget", "held_out", "weights"]].isna().all()


@pytest.mark.parametrize("unit", ["weight", "channel"])
def test_what_is_searched_in_a_run_is_what_is_searched_in_python(cli: Any, rows_of: Rows, unit: str) -> None:
    """Points, masks and the adaptive choice are those of `search_fusion` and `Calibration` on the validation images."""
    scorers = "magnitude,fusion_smooth_orbit_12,adaptive_smooth_orbit_9,magnitude/global"
    few = ["--seeds", "1", "--sparsities", ".7", "--pool", "layer-rank", "--unit", unit, "--scorers", scorers]
    done = cli.here(*cli.tiny, *few)
    assert done.returncode == 0, done.stderr
    rows = {row["scorer"]: row for row in rows_of(cli.store, "cells")}
    images = experiment_from_mapping(merged(DIGITS, read_toml(cli.folder / "tiny.toml"))).images
    split = load_split(images.data)
    from safetensors.torch import load_file

    model = build_model(images.model, 0)
    state = load_file(next((cli.run / "checkpoints").glob("seed-0-*.safetensors")))
    model.load_state_dict({name.removeprefix("state."): value for name, value in state.items()})
    train, held = Examples(split.train), Examples(split.validation)
    part = images.calibration
    batches = [train.at(torch.from_numpy(one)) for one in calibration_batches(0, len(train), part.batches, part.batch_size)]
    saliency = Saliency(model.eval(), batches, unit=unit)
    evaluate = held_out_loss([held.at(one) for one in torch.arange(len(held)).split(100)])
    seed = search_seed(0)
    options = {"unit": unit, "saliency": saliency, "pool": "layer-rank"}
    found = search_fusion(model, 0.7, evaluate=evaluate, budget=12, features="smooth_orbit", seed=seed, **options)
    kept = points(cli.run, "smooth_orbit")
    assert [(tuple(point["weights"]), point["mask_hash"]) for point in kept] == [(p.weights, p.mask_hash) for p in found.points]
    assert [point["score"] for point in kept] == pytest.approx([point.score for point in found.points], abs=1e-6)
    assert rows["fusion_smooth_orbit_12"]["mask_hash"] == found.best.mask_hash
    if unit == "weight":
        how = Calibration(evaluate, budget=9, features="smooth_orbit", seed=seed)
        _, report = compute_masks(model, "adaptive", amount=0.7, saliency=saliency, pool="layer-rank", calibrate=how)
        assert rows["adaptive_smooth_orbit_9"]["mask_hash"] == report.mask_hash
        _, plain = compute_masks(model, "magnitude", amount=0.7, pool="global")
        assert rows["magnitude/global"]["mask_hash"] == plain.mask_hash != rows["magnitude"]["mask_hash"]
    assert rows["magnitude/global"]["pool"] == "layer-rank"
    assert json.loads(rows["magnitude/global"]["flags"]) == ["pool global"]


def test_rows_of_a_search_are_exported_and_read_back(run: Any, cli: Any) -> None:
    assert run("HoldsOut", "fusion_orbit_3,adaptive_spline_4", "run", "--seeds", "3").returncode == 0
    assert cli.here("export", "run", "-o", "rows.csv").returncode == 0
    from_run, from_file = (cli.here("report", source, "--format", "csv").stdout for source in ("run", "rows.csv"))
    assert "fusion_orbit_3" in from_run
    numbers = [re.findall(r"fusion_orbit_3,[^\n]*", text) for text in (from_run, from_file)]
    assert numbers[0] == numbers[1]


# -- faults -----------------------------------------------------------------------------------------------------------------


def test_a_search_that_is_killed_goes_on_where_it_was(cli: Any, snapshot: Snapshot, until: Until) -> None:
    shutil.copy(TASKS, cli.folder / "tasks.py")
    scorers = "fusion_orbit_16,fusion_orbit_4"
    process = cli.start(*asked("HoldsOutSlowly", scorers), "--workers", "1")
    try:
        assert until(lambda: len(points(cli.run)) >= 6 or process.poll() is not None)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    kept = points(cli.run)
    assert 6 <= len(kept) < 16, "it was to be killed inside the search"
    (cli.folder / "asked.log").unlink()
    done = cli.here(*asked("HoldsOutSlowly", scorers))
    assert done.returncode == 0, done.stderr
    assert points(cli.run)[: len(kept)] == kept
    anew = len({point["mask_hash"] for point in points(cli.run)} - {point["mask_hash"] for point in kept})
    assert (cli.folder / "asked.log").read_text().count("held out") == anew + 2, "and the reference's, and the dense one's"
    whole = cli.here(*asked("HoldsOutSlowly", scorers, "whole"))
    assert whole.returncode == 0, whole.stderr
    assert snapshot(cli.store) == snapshot(cli.folder / "whole" / "run.sqlite")
    assert points(cli.run) == points(cli.folder / "whole")


@pytest.mark.parametrize("damage", [b'{"search": {}, "sha256": ""}', "score"])
def test_points_that_are_damaged_are_searched_again(run: Any, cli: Any, snapshot: Snapshot, damage: bytes | str) -> None:
    assert run("HoldsOut", "fusion_orbit_6").returncode == 0
    before, found = snapshot(cli.store), points(cli.run)
    (path,) = (cli.run / "searches").glob("*.json")
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"score":-', b'"score":', 1) if isinstance(damage, str) else damage)
    cli.store.unlink()
    done = run("HoldsOut", "fusion_orbit_6")
    assert done.returncode == 0, done.stderr
    assert points(cli.run) == found
    assert path.read_bytes() == text
    assert snapshot(cli.store) == before


def test_forced_cells_are_searched_from_the_beginning(run: Any, cli: Any, snapshot: Snapshot) -> None:
    assert run("HoldsOut", "fusion_orbit_6").returncode == 0
    before = snapshot(cli.store)
    (cli.folder / "asked.log").unlink()
    assert run("HoldsOut", "fusion_orbit_6", "run", "--force").returncode == 0
    assert snapshot(cli.store) == before
    masks = {point["mask_hash"] for point in points(cli.run)}
    assert (cli.folder / "asked.log").read_text().count("held out") == len(masks) + 2


def test_what_a_search_raises_costs_its_features_alone(run: Any, cli: Any, rows_of: Rows) -> None:
    """What was found before it serves the budgets that it suffices for."""
    done = run("HoldsOutAWhile", "fusion_orbit_5,fusion_orbit_20,fusion_orbit_30,fusion_spline_6")
    assert done.returncode == 3, done.stderr
    failed = {row["scorer"]: row["error"] for row in rows_of(cli.store, "failures")}
    assert failed == dict.fromkeys(("fusion_orbit_20", "fusion_orbit_30"), "RuntimeError: no more")
    assert re.search(r"seed 0, fusion_orbit_[23]0 at S = 0\.5( and 1 more)? failed: RuntimeError: no more\n", done.stderr)
    assert {row["scorer"] for row in rows_of(cli.store, "cells")} == {"dense", "magnitude", "fusion_orbit_5", "fusion_spline_6"}
    again = run("HoldsOutAWhile", "fusion_orbit_5,fusion_orbit_20,fusion_orbit_30,fusion_spline_6", "run", "--retry-failed")
    assert again.returncode in (0, 3)
    assert len(points(cli.run)) > 7, "it went on from the seven that it had"


def test_held_out_results_that_are_no_numbers_are_one_line(run: Any, cli: Any, rows_of: Rows) -> None:
    done = run("HoldsOutNothing", "fusion_orbit_5,fusion_orbit_9")
    assert done.returncode == 3
    line = "SearchError: held_out gave no finite number: loss is nan, not a finite number"
    assert done.stderr.count(line) == 1
    assert "Traceback" not in done.stderr
    assert {row["error"] for row in rows_of(cli.store, "failures")} == {line}


def test_a_task_that_holds_nothing_out_is_refused_before_anything_runs(run: Any, cli: Any) -> None:
    done = run("Good", "fusion_orbit_5")
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "sics-run: --scorers fusion_orbit_5: its weights are searched on held-out examples, and the task has none"
    )
    assert not cli.run.exists()
    checked = cli.here("check-task", "tasks.py:Good", "--scorers", "fusion_orbit_5")
    assert "the task has none" in checked.stderr


@pytest.mark.parametrize("name", ["HoldsOutTheSame", "HoldsOutTheSameUnseen", "HoldsOutTheSameTraced"])
def test_a_search_that_would_see_the_test_examples_is_refused_and_nothing_else_is_lost(
    run: Any, cli: Any, rows_of: Rows, name: str
) -> None:
    """By what the network is fed; where nobody sees that, by what it does on each example."""
    done = run(name, "log,fusion_orbit_3,fusion_spline_2")
    assert done.returncode == 3, done.stderr
    line = "SearchError: held_out uses the examples of evaluate: a search would see what it is measured on. Hold out others"
    assert done.stderr.count(line) == 1
    assert {row["scorer"] for row in rows_of(cli.store, "cells")} == {"dense", "magnitude", "log"}
    assert {row["scorer"]: row["error"] for row in rows_of(cli.store, "failures")} == dict.fromkeys(
        ("fusion_orbit_3", "fusion_spline_2"), line
    )
    assert not (cli.run / "searches").exists()


def test_a_network_that_cannot_be_watched_is_searched(run: Any, cli: Any, rows_of: Rows) -> None:
    """What is measured is what another run measures that can be."""
    for name, out in (("HoldsOutTraced", "run"), ("HoldsOut", "plain")):
        done = run(name, "fusion_orbit_2", out)
        assert done.returncode == 0, done.stderr
    rows = [
        {row["scorer"]: (row["mask_hash"], row["correct"]) for row in rows_of(cli.folder / out / "run.sqlite", "cells")}
        for out in ("run", "plain")
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 3


def test_some_of_the_test_examples_in_a_search_flag_its_rows(run: Any, cli: Any, rows_of: Rows) -> None:
    done = run("HoldsOutSomeOfTheSame", "fusion_orbit_2")
    assert done.returncode == 0, done.stderr
    assert (
        "seed 0: 10 of 137 different held-out examples are those of evaluate: rows of searched scorers are flagged" in done.stderr
    )
    flags = {row["scorer"]: json.loads(row["flags"]) for row in rows_of(cli.store, "cells")}
    own = "some held-out examples are those of evaluate"
    assert {name: own in found for name, found in flags.items()} == {"dense": False, "magnitude": False, "fusion_orbit_2": True}


@pytest.mark.parametrize("changed", ["fewer", "turned"])
def test_other_held_out_examples_than_a_search_began_with(
    run: Any, cli: Any, rows_of: Rows, snapshot: Snapshot, changed: str
) -> None:
    """Rows are refused beside those that are there; points alone are searched again, as if they had never been."""
    assert run("HoldsOutByFile", "fusion_orbit_4").returncode == 0
    kept = points(cli.run)
    (cli.folder / changed).write_text("1")
    other = run("HoldsOutByFile", "fusion_orbit_9,log")
    assert other.returncode == 3, other.stderr
    line = (
        "held_out gives other examples, or other numbers on them, than when rows of seed 0 were searched: --force recomputes them"
    )
    assert other.stderr.count(line) == 1
    assert points(cli.run) == kept
    assert {row["scorer"] for row in rows_of(cli.store, "cells")} == {"dense", "magnitude", "fusion_orbit_4", "log"}
    cli.store.unlink()
    again = run("HoldsOutByFile", "fusion_orbit_4")
    assert again.returncode == 0, again.stderr
    said = "than when orbit was searched at S = 0.5: searched from the beginning"
    assert again.stderr.count(said) == 1
    assert run("HoldsOutByFile", "fusion_orbit_4", "new").returncode == 0
    assert snapshot(cli.store) == snapshot(cli.folder / "new" / "run.sqlite")
    assert points(cli.run) == points(cli.folder / "new") != kept


@pytest.mark.parametrize("n", [128, 127])
def test_points_of_inputs_that_another_device_computed_are_gone_on_from(run: Any, cli: Any, n: int) -> None:
    """Inputs may differ in the last bit there; as many examples as before they are."""
    assert run("HoldsOut", "fusion_orbit_2").returncode == 0
    kept = points(cli.run)
    (path,) = (cli.run / "searches").glob("*.json")
    body = json.loads(path.read_text())["search"]
    body["examples"] |= {"fed": "other", "facts": {"device": "another"}}
    path.write_text(canonical_json({"search": {**body, "n": n}, "sha256": digest({**body, "n": n})}))
    cli.store.unlink()
    done = run("HoldsOut", "fusion_orbit_3")
    assert done.returncode == 0, done.stderr
    assert points(cli.run)[:2] == kept
    assert done.stderr.count("or of the same but for the last bit. It goes on from there") == (n == 128)
    assert done.stderr.count("searched from the beginning") == (n == 127)


def test_numbers_of_chance_are_no_sign_of_other_examples(run: Any, cli: Any, rows_of: Rows) -> None:
    assert run("HoldsOutByChance", "fusion_orbit_3").returncode == 0
    kept = points(cli.run)
    more = run("HoldsOutByChance", "fusion_orbit_5")
    assert more.returncode == 0, more.stderr
    assert "searched from the beginning" not in more.stderr
    assert points(cli.run)[:3] == kept


def test_an_edit_of_the_users_own_reference_makes_rows_of_searches_anew(run: Any, cli: Any, rows_of: Rows) -> None:
    """What a row says of the reference on the held-out examples is of the file as it is."""
    body = (
        "from sics_plugin import Scorer, register_scorer\n\n\n@register_scorer\nclass Mine(Scorer):\n    name, kappa, summary = "
        '"mine", 0, "m, or its inverse"\n\n    def score(self, units, sparsity):\n        return {}units.magnitude.double()\n'
    )
    told = []
    for sign in ("", "-"):
        (cli.folder / "mine.py").write_text(body.format(sign))
        done = run("HoldsOut", "mine.py:Mine,fusion_orbit_2", "run", "--reference", "mine")
        assert done.returncode == 0, done.stderr
        rows = [row for row in rows_of(cli.store, "cells") if row["scorer"] == "fusion_orbit_2"]
        told.append(json.loads(max(rows, key=lambda row: row["finished"])["search"])["reference"])
    assert told[0]["scorer"] == told[1]["scorer"] == "mine"
    assert told[0]["held_out_loss"] != told[1]["held_out_loss"]


def test_a_plain_run_knows_nothing_of_searches(run: Any, cli: Any, rows_of: Rows) -> None:
    import sqlite3

    assert run("HoldsOut", "chaos").returncode == 0
    with sqlite3.connect(cli.store) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (5,)
    connection.close()
    assert "search" not in rows_of(cli.store, "cells")[0]
    assert not (cli.run / "searches").exists()
    assert "held out" not in (cli.folder / "asked.log").read_text()
    assert not {"budget", "weights"} & set(Run(cli.run).frame().columns)
