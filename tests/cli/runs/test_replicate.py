"""The main job end to end, through the real command line, on a tiny experiment."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sics_cli.base.bits import unpack_bits
from sics_cli.main import main
from sics_cli.results.summary import paired_seeds
from sics_cli.store.export import COLUMNS, export_rows
from sics_cli.store.run_folder import STORE_NAME
from sics_cli.store.store import Store

Snapshot = Callable[[Path], dict[str, list[str]]]
Rows = Callable[[Path, str], list[dict[str, Any]]]
SCORERS = 12
CELLS = 2 * (1 + SCORERS * 3)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


# -- what a finished run holds ----------------------------------------------------------------------------------------


def test_every_cell_is_there_once(finished: Any, rows_of: Rows) -> None:
    cells = rows_of(finished.store, "cells")
    assert len(cells) == CELLS
    assert len({(row["seed"], row["scorer"], row["sparsity"]) for row in cells}) == CELLS
    assert {row["seed"] for row in cells} == {0, 1}
    assert {row["sparsity"] for row in cells if row["scorer"] == "dense"} == {0.0}
    assert len(rows_of(finished.store, "repeats")) == 2 * 3
    assert rows_of(finished.store, "failures") == []


def test_rows_are_consistent(finished: Any) -> None:
    with Store.open(finished.store, read_only=True) as store:
        cells, repeats, checkpoints = store.cells(), store.repeats(), store.checkpoints()
    for row in cells:
        hits = unpack_bits(row.bits, row.n)
        assert (hits.dtype, hits.shape, int(hits.sum())) == (np.bool_, (900,), row.correct)
        assert row.n == 900
        if row.scorer != "dense":
            total = sum(layer[1] for layer in row.layers)
            pruned = sum(layer[2] for layer in row.layers)
            assert pruned == round(row.sparsity * total), "exactly k units go"
            assert row.realised_sparsity == pruned / total
            assert [layer[0] for layer in row.layers] == [
                "blocks.0.attn.qkv.weight", "blocks.0.attn.proj.weight", "blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight",
            ]  # fmt: skip
        assert row.provenance["device"] == "cpu"
        assert set(row.provenance["versions"]) >= {"torch", "timm", "numpy"}
        assert {"git_sha", "git_dirty", "python", "platform"} <= set(row.provenance)
    assert {row.checkpoint_hash for row in checkpoints} == {row.checkpoint_hash for row in cells}
    by_place = {(row.seed, row.scorer, row.sparsity): row for row in cells}
    for repeat in repeats:
        first = by_place[repeat.seed, "magnitude", repeat.sparsity]
        assert (repeat.bits, repeat.loss, repeat.mask_hash) == (first.bits, first.loss, first.mask_hash)


def test_common_random_numbers_are_proved(finished: Any) -> None:
    with Store.open(finished.store, read_only=True) as store:
        cells = store.cells()
    assert paired_seeds(cells) == ([0, 1], [])
    for name in ("data_order_hash", "calibration_hash", "saliency_hash", "checkpoint_hash"):
        assert len({getattr(row, name) for row in cells}) == 2, "one for each seed, none shared between seeds"


def test_one_mask_is_evaluated_once(finished: Any) -> None:
    with Store.open(finished.store, read_only=True) as store:
        cells = [row for row in store.cells() if row.scorer != "dense"]
    evaluated: dict[tuple[int, str], str] = {}
    for row in cells:
        assert row.mask_hash is not None
        assert evaluated.setdefault((row.seed, row.mask_hash), row.evaluated_as) == row.evaluated_as
    for row in cells:
        if row.scorer in ("power", "log"):
            assert row.evaluated_as == "magnitude"
        elif row.scorer in ("random", "fake", "chaos"):
            assert row.evaluated_as == row.scorer
    assert len({row.mask_hash for row in cells if row.scorer == "random"}) == 6, "another draw at every seed and sparsity"


def test_the_plan_was_fixed_before_the_first_cell(finished: Any, rows_of: Rows) -> None:
    (plan,) = rows_of(finished.store, "plans")
    assert plan["created"] <= min(row["finished"] for row in rows_of(finished.store, "cells"))
    assert (plan["delta"], plan["alpha"], plan["reference"], plan["cells_before"], plan["stamp"]) == (
        0.5, 0.05, "magnitude", 0, "",
    )  # fmt: skip
    families = json.loads(plan["families"])
    assert families["plateau"] == ["magnitude", "power", "log"]
    assert families["escape"] == ["bump", "smooth_chaos", "smooth_mouse", "chaos", "wiggle"]
    assert families["single"] == ["fake", "information", "gradient", "random"]


def test_checkpoints_and_folder(finished: Any) -> None:
    assert sorted(path.name for path in finished.run.iterdir()) == [
        "checkpoints", "curves", "inbox", "report.html", "report.json", "run.lock", STORE_NAME, "workers.log",
    ]  # fmt: skip
    assert list((finished.run / "inbox").iterdir()) == []
    assert len(list((finished.run / "checkpoints").glob("seed-[01]-*.safetensors"))) == 2
    assert (finished.run / "workers.log").read_text() == ""


# -- what a person sees -----------------------------------------------------------------------------------------------


def test_results_go_to_stdout_and_logs_to_stderr_without_control_characters(finished: Any) -> None:
    out, err = (finished.folder / "stdout").read_text(), (finished.folder / "stderr").read_text()
    assert not CONTROL.search(out)
    assert not CONTROL.search(err)
    assert max(len(line) for line in out.splitlines() if not line.startswith("  sics-run ")) <= 80, (
        "a command is one line, to be copied"
    )
    for sparsity in ("0.5", "0.7", "0.8"):
        assert f"S = {sparsity}  12 scorers, " in out
    assert "noise floor 0.00 points" in out
    assert len(re.findall(r"^power +0 .* 0\.00 .*≡ IDENTICAL *$", out, re.MULTILINE)) == 3
    assert "store     run/run.sqlite" in out
    assert "next      sics-run report run\n          sics-run export run -o results.csv" in out
    assert f"cells     {CELLS} and 6 repeats there, {CELLS + 6} of them computed now, 0 failed" in out
    assert re.search(r"run run: 2 seeds, 80 cells, 0 there, 80 to compute; 2 workers on the CPU", err)
    assert len(re.findall(r"seed [01] done: dense \d\d\.\d\d %, 40 cells", err)) == 2
    assert "S = 0.5" not in err


def test_the_table_says_what_the_store_says(finished: Any, rows_of: Rows) -> None:
    out = (finished.folder / "stdout").read_text()
    cells = {(row["seed"], row["scorer"], row["sparsity"]): row["correct"] for row in rows_of(finished.store, "cells")}
    block = out.split("S = 0.7")[1].split("S = 0.8")[0]
    for scorer in ("magnitude", "smooth_chaos", "random"):
        values = [100 * cells[seed, scorer, 0.7] / 900 for seed in (0, 1)]
        differences = [100 * (cells[seed, scorer, 0.7] - cells[seed, "magnitude", 0.7]) / 900 for seed in (0, 1)]
        (line,) = [line.replace("†", " ").split() for line in block.splitlines() if line.startswith(scorer)]
        assert line[2:4] == [f"{np.mean(values):.2f}", f"{np.std(values, ddof=1):.2f}"]
        if scorer != "magnitude":
            assert line[4].replace("−", "-") == f"{np.mean(differences):+.2f}"
            assert line[5:] == ["–", "–", "?", "INCONCLUSIVE"], "two seeds give no interval, no p and no verdict"


def test_bars_on_a_terminal(copy: Any) -> None:
    """In a pseudo-terminal, progress is drawn and cleared again, and the tables fit."""
    pty = pytest.importorskip("pty")
    pid, descriptor = pty.fork()
    if pid == 0:
        os.chdir(copy.folder)
        os.environ.update({"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40"})
        more = ["--sparsities", "0.5,0.6,0.7,0.8", "--scorers", "magnitude,chaos"]
        os.execv(sys.executable, copy.command(*copy.tiny, "--workers", "1", *more))
    shown = b""
    while True:
        try:
            chunk = os.read(descriptor, 4096)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    text = shown.decode()
    assert "━" in text
    assert "cells to go" in text
    assert "\x1b[?25h" in text, "the cursor is shown again"
    after = text[text.rindex("\x1b[?25h") :]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", after)
    assert "S = 0.6" in plain
    assert max(map(len, plain.splitlines())) <= 80
    assert "60 more in the store, of other commands" in plain


def test_dry_run_shows_cells_and_writes_nothing(cli: Any, copy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in copy.run.rglob("*"))
    config = str(copy.folder / "tiny.toml")
    arguments = ["replicate", "--config", config, "--out", str(copy.run), "--seeds", "3", "--dry-run"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert sorted((path, path.stat().st_mtime_ns) for path in copy.run.rglob("*")) == before
    assert "one mark a seed, seeds 0 to 2:" in out
    lines = {line.split("  ")[0]: line.split()[-3:] for line in out.splitlines()}
    assert lines["chaos"] == ["##.", "##.", "##."]
    assert lines["magnitude, repeated"] == ["##.", "##.", "##."]
    assert "120 cells, 80 there, 40 to compute" in out
    out = " ".join(out.split())
    assert re.search(r"cost: 1 seeds? of up to 0:\d\d, about 0:\d\d on \d workers? on the CPU \(measured on 2 seeds\) ", out)
    assert "power of 3 seeds where differences have sd = δ = 0.5 points: equivalence 13 %, an escape of twice δ" in out
    assert "p 1/8" in out


def test_dry_run_of_a_new_run_makes_no_folder(cli: Any) -> None:
    done = cli.here(*cli.tiny, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "80 cells, 0 there, 80 to compute" in done.stdout
    assert " on the CPU (guessed from the network's size)" in " ".join(done.stdout.split())
    assert "would be kept in run/run.sqlite" in done.stdout
    assert "power: no verdict from 2 seeds" in done.stdout
    assert not cli.run.exists()


def test_default_folder_is_found_again(finished: Any, cli: Any) -> None:
    with Store.open(finished.store, read_only=True) as store:
        run_id = store.meta("run_id")
    shutil.copytree(finished.run, cli.folder / "runs" / f"tiny-gradient-{run_id[:8]}")
    done = cli.here("replicate", "--config", "tiny.toml")
    assert done.returncode == 0, done.stderr
    assert "0 of them computed now" in done.stdout
    assert [path.name for path in (cli.folder / "runs").iterdir()] == [f"tiny-gradient-{run_id[:8]}"]


# -- the same command again, and other commands -----------------------------------------------------------------------


def test_repeating_computes_nothing_and_imports_no_torch(copy: Any, snapshot: Snapshot) -> None:
    before = snapshot(copy.store)
    code = "import sys; from sics_cli.main import main; c = main(sys.argv[1:]); print(*sys.modules, file=sys.stderr); sys.exit(c)"
    done = subprocess.run(
        [sys.executable, "-c", code, *copy.tiny], cwd=copy.folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "80 there, 0 to compute" in done.stderr
    assert "0 of them computed now, 0 failed" in done.stdout
    modules = {name.split(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert not modules & {"torch", "sklearn", "timm", "sics_plugin"}
    assert snapshot(copy.store) == before


def test_a_report_is_drawn_where_there_is_a_new_one_to_draw(
    copy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copy.folder)
    page, again = copy.run / "report.html", ["replicate", "--config", "tiny.toml", "--out", "run"]
    drawn = page.read_bytes()
    page.write_bytes(b"as it was")
    assert main(again) == 0
    assert "open      run/report.html" in capsys.readouterr().out
    assert page.read_bytes() == b"as it was", "the same rows, the same code"
    os.utime(page, (0, 0))
    assert main(again) == 0
    assert page.read_bytes() == drawn, "older than the code that draws it"
    kept = copy.run / "report.json"
    kept.write_text("{}")
    page.unlink()
    assert main([*again, "--no-report"]) == 0
    assert "report.html" not in capsys.readouterr().out.split("open      run/report.html")[-1]
    assert not page.exists()
    assert kept.read_text() == "{}"


def test_one_worker_elsewhere_gives_the_same_numbers(finished: Any, cli: Any, snapshot: Snapshot) -> None:
    done = cli.here(*cli.tiny, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "1 worker" in done.stderr
    assert snapshot(cli.store) == snapshot(finished.store)
    masks = [row.mask_hash for row in Store.open(cli.store, read_only=True).cells()]
    assert len(set(masks)) > 30


def test_more_seeds_extend_the_run_and_say_so(copy: Any, snapshot: Snapshot, rows_of: Rows) -> None:
    before = snapshot(copy.store)
    done = copy.here(*copy.tiny, "--seeds", "3")
    assert done.returncode == 0, done.stderr
    assert "120 cells, 80 there, 40 to compute" in done.stderr
    assert "note      seeds extended after data" in done.stdout
    after = snapshot(copy.store)
    assert set(before["cells"]) < set(after["cells"])
    assert len(after["cells"]) == CELLS * 3 // 2
    first, second = rows_of(copy.store, "plans")
    assert (json.loads(first["seeds"]), json.loads(second["seeds"])) == ([0, 1], [0, 1, 2])
    assert (second["stamp"], second["cells_before"]) == ("seeds extended after data", CELLS)


def test_another_margin_is_another_plan_and_no_new_cell(copy: Any, rows_of: Rows) -> None:
    for _ in range(2):
        done = copy.here(*copy.tiny, "--delta", "1.0", "--alpha", "0.01", "--reference", "power")
        assert done.returncode == 0, done.stderr
        assert "note      plan changed after data" in done.stdout
        assert re.search(r"^magnitude .*≡ IDENTICAL", done.stdout, re.MULTILINE)
        assert re.search(r"^power .*reference", done.stdout, re.MULTILINE)
        assert "verdicts at δ = 1 points" in " ".join(done.stdout.split())
    plans = rows_of(copy.store, "plans")
    assert [(row["delta"], row["alpha"], row["reference"], row["stamp"]) for row in plans] == [
        (0.5, 0.05, "magnitude", ""),
        (1.0, 0.01, "power", "plan changed after data"),
    ]


def test_force_recomputes_and_finds_the_same(copy: Any, snapshot: Snapshot, rows_of: Rows) -> None:
    before, times = snapshot(copy.store), {r["cell_key"]: r["wall_seconds"] for r in rows_of(copy.store, "cells")}
    done = copy.here(*copy.tiny, "--force")
    assert done.returncode == 0, done.stderr
    assert f"{CELLS + 6} of them computed now" in done.stdout
    assert snapshot(copy.store) == before
    again = {r["cell_key"]: r["wall_seconds"] for r in rows_of(copy.store, "cells")}
    assert all(again[key] != seconds for key, seconds in times.items())


def test_another_recipe_does_not_enter_the_run(copy: Any, snapshot: Snapshot) -> None:
    before = snapshot(copy.store)
    done = copy.here(*copy.tiny, "--saliency", "activation")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "holds a run of another recipe (saliency.kind gradient → activation)" in done.stderr
    assert snapshot(copy.store) == before


def test_neighbourhood_leaves_the_gradient_out_with_a_note(cli: Any, rows_of: Rows) -> None:
    done = cli.here(*cli.tiny, "--saliency", "neighbourhood", "--sparsities", ".7", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert "gradient is left out: it needs --saliency gradient, this run uses neighbourhood" in done.stderr
    cells = rows_of(cli.store, "cells")
    assert len(cells) == 12
    assert "gradient" not in {row["scorer"] for row in cells}
    assert {row["calibration_hash"] for row in cells} == {None}
    asked = cli.here("replicate", "--config", "tiny.toml", "--saliency", "activation", "--scorers", "gradient", "--out", "other")
    assert asked.returncode == 2
    assert asked.stderr.splitlines()[-1] == ("sics-run: --scorers gradient: needs --saliency gradient, this run uses activation")
    assert not (cli.folder / "other").exists()


# -- status and export ------------------------------------------------------------------------------------------------


def test_status_needs_no_torch_and_tells_all(finished: Any) -> None:
    code = "import sys; from sics_cli.main import main; c = main(sys.argv[1:]); print(*sys.modules, file=sys.stderr); sys.exit(c)"
    done = subprocess.run(
        [sys.executable, "-c", code, "status", "run"], cwd=finished.folder, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not {name.split(".")[0] for name in done.stderr.split()} & {"torch", "scipy", "pandas", "sics_plugin"}
    assert "writer    nobody" in done.stdout
    assert f"cells     {CELLS} of {CELLS} there, 0 missing, 0 failed" in done.stdout
    assert "seeds 0 to 1, 12 scorers, delta 0.5 points, alpha 0.05, reference magnitude" in " ".join(done.stdout.split())
    assert "pairing   all rows of each of 2 seeds met the same data order, calibration" in done.stdout
    assert not CONTROL.search(done.stdout)


def test_status_takes_the_store_itself(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(finished.store)]) == 0
    assert f"run       {finished.store}" in capsys.readouterr().out


def test_export_csv(finished: Any, cli: Any, capsys: pytest.CaptureFixture[str]) -> None:
    target = cli.folder / "results.csv"
    assert main(["export", str(finished.run), "-o", str(target)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{CELLS} rows" in shown.err
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert COLUMNS[:11] == (
        "seed", "scorer", "kappa", "unit", "pool", "sparsity", "correct", "n", "accuracy", "loss", "mask_hash",
    )  # fmt: skip
    assert len(rows) == CELLS
    assert all(float(row["accuracy"]) == int(row["correct"]) / int(row["n"]) <= 1 for row in rows)
    dense = [row for row in rows if row["scorer"] == "dense"]
    assert [(row["sparsity"], row["kappa"], row["mask_hash"]) for row in dense] == [("0.0", "", "")] * 2
    bits = unpack_bits(bytes.fromhex(rows[5]["bits"]), int(rows[5]["n"]))
    assert bits.sum() == int(rows[5]["correct"])
    assert json.loads(rows[5]["layers"])[0][0] == "blocks.0.attn.qkv.weight"


def test_export_jsonl_to_stdout_and_by_ending(finished: Any, cli: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(finished.run), "--format", "jsonl"]) == 0
    shown = capsys.readouterr().out
    rows = [json.loads(line) for line in shown.splitlines()]
    assert len(rows) == CELLS
    assert tuple(rows[0]) == COLUMNS
    target = cli.folder / "results.jsonl"
    assert main(["export", str(finished.run), "-o", str(target)]) == 0
    assert target.read_text() == shown


def test_export_parquet_holds_what_the_csv_does(
    finished: Any, cli: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = cli.folder / "rows.parquet"
    assert main(["export", str(finished.run), "-o", str(target)]) == 0
    read = pd.read_parquet(target)
    with Store.open(finished.store, read_only=True) as store:
        rows = export_rows(store)
    assert tuple(read.columns) == COLUMNS
    assert read["accuracy"].tolist() == [row["accuracy"] for row in rows]
    assert read["bits"].tolist() == [row["bits"] for row in rows]
    assert read.loc[read["scorer"] == "dense", "kappa"].isna().all()
    masked = next(i for i, row in enumerate(rows) if row["layers"])
    assert [list(layer.values()) for layer in read["layers"][masked]] == rows[masked]["layers"]
    capsys.readouterr()
    assert main(["export", str(finished.run), "--format", "parquet"]) == 2
    assert "--format parquet: is not text; say where to, -o FILE.parquet" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(finished.run), "-o", str(target)]) == 2
    assert "--format parquet: needs pyarrow, pip install 'sics[parquet]'" in capsys.readouterr().err


def test_export_does_not_overwrite_a_store(copy: Any, snapshot: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(copy.store)
    assert main(["export", str(copy.run), "-o", str(copy.store)]) == 2
    assert main(["export", str(copy.run), "-o", str(copy.run)]) == 2
    assert main(["export", str(copy.run), "-o", str(copy.folder / "none" / "x.csv")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert snapshot(copy.store) == before


def test_closed_pipe_is_no_traceback(finished: Any) -> None:
    command = f"{sys.executable} -m sics_cli export run --format jsonl | head -c 100 > /dev/null"
    done = subprocess.run(["bash", "-c", command], cwd=finished.folder, capture_output=True, text=True, check=False)
    assert done.stderr == ""
