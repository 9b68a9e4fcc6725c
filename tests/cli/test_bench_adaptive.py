"""The declared comparison of the adaptive scorer: the table that reads it, on rows whose answer is known."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sics_cli.commands.replicate import build_experiment
from sics_cli.experiment.scorers import make_scorer
from sics_cli.settings.config import read_toml
from sics_plugin import build_scorer, unregister_scorer

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    sys.path.insert(0, str(BENCH))
    try:
        spec = importlib.util.spec_from_file_location("bench_adaptive", BENCH / "adaptive.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["bench_adaptive"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCH))
    return module


def rows(path: Path, gains: dict[str, float], seeds: list[int], sparsities: list[float]) -> Path:
    """A CSV of 20 000 test images: magnitude at 80 %, others so many points above it, with an sd of 0.2 points.

    `adaptive` is magnitude below S = 0.65; `adaptive_measured` is `adaptive` unless it has a gain of its own.
    """
    gains = {**gains, "adaptive_measured": gains.get("adaptive_measured", gains["adaptive"])}
    dice, lines = np.random.default_rng(0), ["seed,scorer,kappa,role,unit,pool,sparsity,correct,n,accuracy,mask_hash"]
    roles = {
        "adaptive": "adaptive",
        "adaptive_measured": "adaptive",
        "magnitude": "feature",
        "gradient": "baseline",
        "random": "baseline",
    }
    for sparsity in sparsities:
        for seed in seeds:
            for name, gain in gains.items():
                same = name == "magnitude" or (name == "adaptive" and sparsity < 0.65)
                right = 16_000 if same else 16_000 + round(200 * (gain + 0.2 * dice.standard_normal()))
                mask = f"m{seed}{sparsity}{'' if same else name}"
                kappa = 0 if name == "magnitude" else ""
                fields = (
                    seed,
                    name,
                    kappa,
                    roles.get(name, "peer"),
                    "weight",
                    "global",
                    sparsity,
                    right,
                    20_000,
                    right / 20_000,
                    mask,
                )
                lines.append(",".join(map(str, fields)))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_declaration_is_an_experiment_on_seeds_of_its_own(bench: ModuleType) -> None:
    for preset, count in (("digits", 20), ("cifar10-vit-micro", 5)):
        made = build_experiment(None, bench.DECLARED[preset], {})
        assert (made.reference, made.delta, made.alpha, made.saliency) == ("magnitude", 0.5, 0.05, "gradient")
        assert made.sparsities == (0.5, 0.6, 0.7, 0.8, 0.9)
        assert len(made.seeds) == count
        assert not set(made.seeds) & {*range(20), *range(100, 120)}
    for unit, here, gone in (("weight", "wanda", "random"), ("channel", "taylor", "wanda")):
        named = bench.scorers_for(unit)
        assert {"magnitude", "adaptive", "gradient", here} <= set(named)
        assert gone not in named


def test_the_second_arm_is_the_method_with_its_measured_table(bench: ModuleType) -> None:
    try:
        made = make_scorer(bench.ARMS["adaptive_measured"], 0).resolve(0.9375, "gradient")
    finally:
        unregister_scorer("adaptive_measured")
    assert made == build_scorer("information", alpha=0.03125)


def test_escape_identity_and_the_worst_peer_are_told_apart(bench: ModuleType, tmp_path: Path) -> None:
    declared = read_toml(BENCH / "adaptive.toml")
    peers = [name for name in bench.peers_of(bench.scorers_for("weight")) if name != "gradient"]
    gains = {"magnitude": 0.0, "adaptive": 2.0, "gradient": 1.9, "random": 10.0, "adaptive_measured": -3.0}
    path = rows(tmp_path / "a.csv", gains | dict.fromkeys(peers, -3.0), declared["seeds"], declared["sparsities"])
    both_arms = bench.lines_of(path, declared)
    assert [line.arm for line in both_arms] == ["adaptive"] * 5 + ["adaptive_measured"] * 5
    assert all(line.p_degrade < 1e-6 and line.p_worst > 0.99 for line in both_arms[5:])
    lines = both_arms[:5]
    assert [line.verdict.value for line in lines[:2]] == ["IDENTICAL", "IDENTICAL"]
    assert [line.p_escape for line in lines[:2]] == [None, None]
    assert all(line.p_escape < 1e-6 for line in lines[2:])
    assert all((line.peers, line.hardest) == (1 + len(peers), "gradient") for line in lines)
    # identical to magnitude, and so 1.9 points below the peer; then 0.1 above it
    assert all(line.p_worst > 0.99 for line in lines[:2])
    assert all(line.p_worst < 0.001 for line in lines[2:])
    shown = bench.markdown(both_arms, 0.5, 0.05).splitlines()
    assert [row.split(" | ")[7] for row in shown[2:7]] == ["IDENTICAL", "IDENTICAL", "ESCAPES", "ESCAPES", "ESCAPES"]
    assert [row.split(" | ")[7] for row in shown[7:12]] == ["DEGRADES"] * 5
    assert "Holm over the 8 tested lines and 10 of unit channel, which are not read and count as tests." in shown[-1]
    # Declared is Holm over both units: 0.005 passes over the eight lines that are read, and not beside ten unknown ones.
    close = [replace(line, p_escape=None if line.p_escape is None else 0.005) for line in lines] + both_arms[5:]
    assert "ESCAPES" not in bench.markdown(close, 0.5, 0.05)
    both = [*close, *(replace(line, unit="channel", p_escape=None) for line in lines)]
    assert bench.markdown(both, 0.5, 0.05).count("ESCAPES") == 3


def test_what_is_not_there_is_not_shown(bench: ModuleType, tmp_path: Path) -> None:
    """Of two dozen scorers somebody ran three: no claim about every peer; and adaptive without some of its seeds is no run."""
    declared = read_toml(BENCH / "adaptive.toml")
    gains = {"magnitude": 0.0, "adaptive": 2.0, "gradient": 0.0}
    path = rows(tmp_path / "a.csv", gains, declared["seeds"], declared["sparsities"])
    lines = bench.lines_of(path, declared)
    assert all(line.p_worst == 1.0 and line.hardest != "gradient" for line in lines)
    assert "| shown against" not in bench.markdown(lines, 0.5, 0.05)
    kept = [text for text in path.read_text().splitlines() if not text.startswith("203,adaptive,,adaptive,weight,global,0.8")]
    path.write_text("\n".join(kept) + "\n")
    with pytest.raises(SystemExit, match=r"adaptive or magnitude lacks seeds at S = 0\.8: finish"):
        bench.lines_of(path, declared)


@pytest.mark.parametrize("change", [{"seeds": [200]}, {"sparsities": [0.5]}])
def test_a_run_of_something_else_is_refused(bench: ModuleType, tmp_path: Path, change: dict[str, Any]) -> None:
    declared = read_toml(BENCH / "adaptive.toml")
    found = declared | change
    path = rows(tmp_path / "a.csv", {"magnitude": 0.0, "adaptive": 2.0}, found["seeds"], found["sparsities"])
    with pytest.raises(SystemExit, match="declared are"):
        bench.lines_of(path, declared)


def test_the_page_holds_what_the_kept_rows_say(bench: ModuleType) -> None:
    page = (BENCH.parent / "docs" / "adaptive.md").read_text(encoding="utf-8")
    for preset, path in bench.DECLARED.items():
        begin, end = (f"<!-- bench/adaptive.py {preset}: {word} -->" for word in ("begin", "end"))
        said = page.partition(begin)[2].partition(end)[0].strip()
        declared = read_toml(path)
        runs = [run for unit in bench.UNITS if (run := bench.kept(preset, unit)).exists()]
        if said != "Not run yet.":
            assert said == bench.markdown([line for run in runs for line in bench.lines_of(run, declared)], 0.5, 0.05)
        else:
            assert not runs
