"""The short form of the calibration, and proof that its fast forms are the package's own decisions."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sics_analysis.contrasts import differences
from sics_analysis.equivalence import equivalence_test
from sics_analysis.escape import escape_test
from sics_analysis.results import Verdict
from sics_analysis.rotation import rotation_directions
from sics_analysis.spectrum import kappa_spectrum

BENCH = Path(__file__).resolve().parents[2] / "bench"
SHORT = (sys.executable, str(BENCH / "calibration.py"), "--short", "--workers", "2")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and the second script look it up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sim() -> ModuleType:
    return load("simulation")


@pytest.fixture(scope="module")
def calibration(sim: ModuleType) -> ModuleType:
    return load("calibration")


def test_the_short_form_passes_its_gate(tmp_path: Path) -> None:
    table = tmp_path / "calibration.md"
    done = subprocess.run([*SHORT, "--out", str(table)], capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    text = table.read_text(encoding="utf-8")
    assert " 0 failed.**" in text
    assert "**fails**" not in text
    assert "nan" not in text
    for word in (
        "t-TOST",
        "rotation max-T",
        "joint sign-flip",
        "naive z",
        "scipy BCa",
        "crossed",
        "Hedges",
        "McNemar",
        "any false claim",
        "escape@S falsely supported",
        "κ = 2, κ = 1 on the bound",
        "| n = 3 | n = 4 |",
        "judged by those",
    ):
        assert word in text


def test_a_task_repeats_and_a_second_look_takes_fresh_data(calibration: ModuleType) -> None:
    task = calibration.Task("family", "Normal, independent", 5, 40, 0, True)
    assert task.run() == task.run()
    assert task.again().size == 160
    data = calibration.Task("family", "Normal, independent", 5, 40, 0, True, repeat=1)
    assert data.run() != task.run()


def test_the_gate_can_fail(calibration: ModuleType) -> None:
    task = calibration.Task("line", "Normal", 5, 10, 10, True)
    rate = calibration.Rate
    assert calibration.Cell(task, "t-TOST", rate(560, 10_000), None).passes is False
    assert calibration.Cell(task, "t-TOST", rate(540, 10_000), None).passes is True
    assert calibration.Cell(task, "bootstrap TOST", rate(900, 10_000), None).passes is True
    coverage = calibration.Task("coverage", "Normal", 5, 10, 10, True)
    assert calibration.Cell(coverage, "Student t 95 %", rate(9_390, 10_000), None).passes is False
    # A method that does not hold its level is caught by the whole chain, second simulation included.
    liberal = calibration.Task("line", "skewed right", 5, 2_000, 2, True)
    assert next(cell.method for cell in calibration.cells(liberal) if not cell.passes) == "t-TOST"


@pytest.mark.parametrize("name", ["Normal", "discrete, discordance 0.2 %", "partly degenerate"])
def test_fast_line_decisions_are_the_packages(sim: ModuleType, name: str) -> None:
    data = sim.COLUMNS[name][0](np.random.default_rng(1), 60, 5, 0.0)
    for row, equivalent, flip, p in zip(
        data, sim.equivalent(data, 0.5), sim.sign_flip_equivalent(data, 0.5), sim.t_above(data, 0.5), strict=True
    ):
        result = equivalence_test(row, 0.5)
        assert (result.verdict is Verdict.EQUIVALENT) == equivalent
        if result.p is not None:
            assert result.p_upper == pytest.approx(1 - p)
            assert (result.p_signflip is not None and result.p_signflip <= 0.05) == flip


def test_fast_family_decisions_are_the_packages(sim: ModuleType) -> None:
    for name in ("Normal, correlated 0.9", "strongly negative beside an escape", "discrete, discordance 1 %"):
        data, _ = sim.family_columns(name, 15, 5, np.random.default_rng(2))
        for columns in data:
            family = [differences(column, name=f"s{j}") for j, column in enumerate(columns.T)]
            theirs = escape_test(family, 0.5, rng=np.random.default_rng(3), draws=sim.DRAWS)
            directions = list(rotation_directions(5, sim.DRAWS, np.random.default_rng(3)))
            centred = columns - 0.5
            ours = sim.max_t(centred, directions, sim.t_above(centred.T, 0.0))
            assert ours == pytest.approx([line.p_adjusted for line in theirs.lines])
            assert sim.holm_rejects(sim.t_above(centred.T, 0.0)).tolist() == [line.p_holm <= 0.05 for line in theirs.lines]


def test_fast_kappa_decisions_are_the_packages(sim: ModuleType) -> None:
    rng = np.random.default_rng(4)
    for means in ((0.0, 0.5, 0.0, 2.0, 0.1), (1.5, 0.0, -1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0)):
        columns = np.array(means) + rng.normal(0, 0.3, (6, 5))
        family = {
            1: [differences(column, name=f"s{j}") for j, column in enumerate(columns.T[:3])],
            2: [differences(column, name=f"r{j}") for j, column in enumerate(columns.T[3:])],
        }
        spectrum = kappa_spectrum({0.7: family}, 0.5, rng=np.random.default_rng(5), draws=20_000)
        directions = list(rotation_directions(6, 20_000, np.random.default_rng(6)))
        # Other rotations, so the two agree up to their noise; the t-based p agrees exactly.
        ours = sim.kappa_p(columns, 3, directions)
        assert spectrum[0.7].p_values == pytest.approx(ours, abs=0.02)
        assert spectrum[0.7].p_values is not None
        assert spectrum[0.7].p_values[1] == pytest.approx(ours[1])


def test_the_sampled_sign_flip_agrees_with_the_exact_one(sim: ModuleType) -> None:
    data = sim.normal(np.random.default_rng(7), 300, 10, 0.3)
    exact = sim.sign_flip_equivalent(data, 0.5)
    sampled = sim.sign_flip_equivalent(data, 0.5, np.random.default_rng(8))
    assert 0.2 < exact.mean() < 0.8
    assert (exact == sampled).mean() > 0.95


def test_real_columns_have_the_truth_they_are_named_for(sim: ModuleType) -> None:
    means = np.array([0.5, -0.5, 2.0])
    drawn = np.concatenate([sim._counts(np.random.default_rng(i), 20, means) for i in range(200)])
    assert drawn.mean(axis=0) == pytest.approx(means, abs=0.03)
    assert drawn * 6 == pytest.approx(np.round(drawn * 6))
    for smooth, raw, kappa, _ in sim.REAL_TRUTHS.values():
        assert kappa == (0 if max(smooth + raw) <= 0.5 else 1 if max(smooth) > 0.5 else 2)
    for _, differences_to_magnitude in sim.CLAIMS.values():
        assert abs(differences_to_magnitude["power"]) == differences_to_magnitude["chaos"] == sim.DELTA


def test_claim_rates_are_of_the_claims(sim: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far from the bound the one answer is always given and the other never."""
    monkeypatch.setitem(sim.CLAIMS, "far", ("discrete", {"power": 3.0, "log": 0.0, "bump": 0.0, "chaos": 3.0}))
    found = sim.claim_errors("far", 8, 5, np.random.default_rng(9))
    assert {name: rate.value for name, rate in found.items()} == {
        "plateau@S falsely supported": 0.0,
        "plateau@S falsely contradicted": 1.0,
        "escape@S falsely supported": 1.0,
        "escape@S falsely contradicted": 0.0,
    }


def test_truths_are_what_they_say(sim: ModuleType) -> None:
    for points in sim.TRUTHS.values():
        assert len(points) == 4
        for smooth, raw, kappa in points:
            expected = 0 if max(smooth + raw) <= 0.5 else 1 if max(smooth) > 0.5 else 2
            assert kappa == expected
    assert len(sim.TRUTHS) >= 4
