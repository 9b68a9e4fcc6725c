"""`sics-run scorers --measure`: on a run's networks, on one trained in a moment, with figures and every number."""

import csv
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sics_cli.base.errors import ConfigError
from sics_cli.commands import scorers as command
from sics_cli.main import main
from sics_cli.results import scorer_meter as module
from sics_cli.results.scorer_meter import quick_network, run_networks


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As a worker has, and the command sets."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_runs_networks_are_its_own(finished: Any, rows_of: Any) -> None:
    """The same weights and the same saliency as the run's, to the last bit."""
    stored = {row["seed"]: row["saliency_hash"] for row in rows_of(finished.store, "cells")}
    for network in run_networks(finished.run, [0, 1]):
        assert network.saliency is not None
        assert network.saliency.digest == stored[network.seed]
        assert (network.kind, network.experiment) == ("gradient", "run")
    assert [n.seed for n in run_networks(finished.run, [1], saliency="neighbourhood")] == [1]
    assert [n.seed for n in run_networks(finished.run, None)] == [0]


def test_measured_through_the_command_line(finished: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figures = tmp_path / "all.csv", tmp_path / "figures"
    options = ["--run", str(finished.run), "--seeds", "0,1", "--draws", "3", "--sparsities", ".6,.8"]
    assert main(["scorers", "smooth_mouse", "power", "--measure", *options, "-o", str(out), "--figures", str(figures)]) == 0
    shown = capsys.readouterr()
    assert max(map(len, shown.out.splitlines())) <= 80
    assert shown.out.count("power") == 2
    assert (
        len([line for line in shown.out.splitlines() if line.startswith("power") and " plateau" in line and " 0 " in line]) == 2
    )
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 2 * 2 * 2
    assert {(row["scorer"], row["measured_kind"]) for row in rows if row["scorer"] == "power"} == {("power", "plateau")}
    assert {row["sparsity"] for row in rows} == {"0.6", "0.8"}
    assert sorted(path.name for path in figures.iterdir()) == sorted(
        f"{name}-seed-{seed}.{kind}" for name in ("smooth_mouse", "power") for seed in (0, 1) for kind in ("pdf", "png")
    )


def test_a_file_of_ones_own_and_another_kind_of_saliency(
    finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sics_plugin

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from sics_plugin import Scorer, register_scorer\n"
        "@register_scorer\n"
        "class Mine(Scorer):\n"
        "    name, kappa, summary, requires = 'mine_measured', 2, 'm·c', 'activation'\n"
        "    def score(self, units, sparsity):\n"
        "        assert units.saliency_kind == 'activation'\n"
        "        return units.magnitude.double() * units.saliency.double()\n"
    )
    try:
        options = ["--run", str(finished.run), "--draws", "2", "-o", "out.jsonl"]
        assert main(["scorers", "./mine.py:Mine", "--measure", *options]) == 0
    finally:
        sics_plugin.unregister_scorer("mine_measured")
    row = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert (row["scorer"], row["saliency_kind"]) == ("mine_measured", "gradient"), "measured against the run's saliency"
    assert row["measured_kappa"] != 2
    assert "mine_measured: its class says κ = 2, measured" in " ".join(capsys.readouterr().out.split())


def test_without_a_run_a_network_is_trained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "QUICK_EPOCHS", 1)
    network = quick_network(3, "activation")
    assert network.saliency is not None
    assert (network.seed, network.saliency.kind) == (3, "activation")
    assert main(["scorers", "log", "--measure", "--saliency", "neighbourhood", "--sparsities", ".5", "--draws", "1"]) == 0
    assert "digits network after 1 epochs, seed 0: 196608 weights" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scorers", "--run", "x"], "--run: goes with --measure"),
        (["scorers", "--figures", "x"], "--figures: goes with --measure"),
        (["scorers", "--measure", "--data", "x"], "--data: goes with --run"),
        (["scorers", "--measure", "-o", "x.txt"], "--output x.txt: give a name ending in .csv | .jsonl"),
        (["scorers", "--measure", "--sparsities", "70"], "--sparsities"),
        (["scorers", "--measure", "--seeds", "-1"], "--seeds"),
        (["scorers", "nosuch"], "nosuch: no such scorer"),
        (["scorers", "--measure", "fusion_orbit_50"], "SCORER fusion_orbit_50: has no measure by its name: κ hangs on the"),
        (["scorers", "--measure", "log", "searched"], "SCORER searched: has no measure by its name"),
        (["scorers", "--measure", "fusion_orbits_50"], "there is no set of features 'orbits'"),
        (["scorers", "--measure", "log/layer"], "SCORER log/layer: is measured in one global pool, whatever it is ranked in"),
        (["scorers", "--measure", "peers"], "SCORER peers: --measure takes scorers by name"),
    ],
)
def test_refusals_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_the_list_says_which_names_a_run_takes_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    def listed(*names: str) -> str:
        assert main(["scorers", *names]) == 0
        return " ".join(capsys.readouterr().out.split())

    assert "fusion_SET_N and adaptive_SET_N: weights searched by N evaluations of held-out examples; SET orbit | " in listed()
    assert "NAME/POOL: ranked in a pool of its own; POOL global | layer | layer-rank | row | erk" in listed()
    named = listed("searched", "log")
    assert "SET_N" not in named
    assert [named.count(f" {name} ") for name in ("log", "fusion_orbit_1", "fusion_shuffled_200", "chaos")] == [1, 1, 1, 0]


def test_what_a_run_cannot_give(finished: Any, copy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"--seeds 7: .* has no dense network of it; there is 0, 1"):
        list(run_networks(finished.run, [7]))
    with pytest.raises(ConfigError, match=r"--data cifar10: .* was made on digits"):
        list(run_networks(finished.run, None, data="cifar10"))
    next((copy.run / "checkpoints").glob("seed-0-*")).unlink()
    assert main(["scorers", "log", "--measure", "--run", str(copy.run)]) == 1
    assert "is gone, and with it the dense network of seed 0" in capsys.readouterr().err
    with sqlite3.connect(copy.store) as connection:
        connection.execute("DELETE FROM checkpoints")
    connection.close()
    assert main(["scorers", "log", "--measure", "--run", str(copy.run)]) == 2
    assert "holds no dense network yet" in capsys.readouterr().err


def test_entry_points_are_listed_and_not_imported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "offered", lambda: {"theirs": "no_such_package.scorers:Theirs"})
    assert main(["scorers"]) == 0
    shown = capsys.readouterr().out
    assert "offered by installed packages" in shown
    assert "theirs  no_such_package.scorers:Theirs" in shown
