"""The short form of the calibration, and proof that its fast forms are the package's own decisions."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from sics_analysis import LookPlan, analyse
from sics_analysis.families.kappa import kappa_spectrum
from sics_analysis.families.max_t import escape_test
from sics_analysis.families.rotation import rotation_directions
from sics_analysis.one_scorer.equivalence import equivalence_test
from sics_analysis.results import Verdict
from sics_analysis.rows.contrasts import differences

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
def runs(sim: ModuleType) -> ModuleType:
    return load("simulation_runs")


@pytest.fixture(scope="module")
def looked(sim: ModuleType) -> ModuleType:
    return load("simulation_looks")


@pytest.fixture(scope="module")
def calibration(sim: ModuleType, runs: ModuleType, looked: ModuleType) -> ModuleType:
    return load("calibration")


def test_the_short_form_passes_its_gate(tmp_path: Path) -> None:
    table = tmp_path / "calibration.md"
    done = subprocess.run([*SHORT, "--out", str(table)], capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    text = table.read_text(encoding="utf-8")
    assert " 0 failed.**" in text
    assert "| Type I error of a single line, true difference exactly +δ, or −δ where it says so |" in text
    text += table.with_name("calibration-cells.md").read_text(encoding="utf-8")
    assert "**fails**" not in text
    assert "nan" not in text
    for word in (
        "t-TOST",
        "rotation max-T",
        "joint sign-flip",
        "naive z",
        "scipy BCa",
        "variance components",
        "Hedges",
        "McNemar",
        "any false claim",
        "any true κ rejected over four S",
        "escape@S, falsely supported",
        "below a scorer, two S, falsely contradicted",
        "size of a class, falsely supported",
        "ragged Normal: κ = 2, just above | false trend",
        "11 scorers | winner's interval",
        "8 scorers, ragged seeds | DEGRADES, any false",
        "bootstrap percentile, all resamples",
        "6 scorers, ragged seeds | above information, any false",
        "scipy BCa above +δ",
        "κ = 2, κ = 1 on the bound",
        "| Normal | NONSUPERIOR at +δ",
        "| Normal | NONINFERIOR at −δ",
        "family of 6, two values, test examples unknown | ESCAPES, any false",
        "one line, two adjacent counts, the higher in 7 of 10 | NONINFERIOR or EQUIVALENT at −δ",
        "three on two adjacent counts, three Normal | DEGRADES, any false",
        "half the seeds, equal sd | NONINFERIOR at −δ",
        "as many seeds, equal sd | Welch t 95 %",
        "ten S, five scorers, all at 0, sd 2 | headline, any false escape",
        "ragged seeds | any false escape within an S",
        "| n = 3 | n = 4 |",
        "ρ = −.24 | ESCAPES at any look, any false",
        "ρ = .5, one escapes | ESCAPES at any look, any false",
        "Normal, δ = .5 sd | EQUIVALENT at +δ",
        "skewed left | EQUIVALENT at +δ",
        "repeated interval 95 % at the stop",
        "any false claim over two S",
        "Normal, δ = 1 sd: ESCAPES, true difference 2δ",
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
        assert result.p_upper == pytest.approx(float(sim.t_below(row, 0.5)))
        assert result.p_lower == pytest.approx(float(sim.t_above(row, -0.5)))
        assert (result.p_signflip is not None and result.p_signflip <= 0.05) == flip
        if not result.degenerate:
            assert result.p_upper == pytest.approx(1 - p)


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


def test_fast_lines_at_looks_are_the_packages(looked: ModuleType) -> None:
    plan, columns = LookPlan(20), looked.line_columns("Normal, δ = 1 sd", 40, 20, 0.4, np.random.default_rng(1))
    fast = looked.shown(columns, plan)
    rows = [(i, f"s{j}", 0.7, 0.8 + d / 100) for j, row in enumerate(columns) for i, d in enumerate(row)]
    rows += [(i, "magnitude", 0.7, 0.8) for i in range(20)]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    frame["role"] = ["baseline" if name != "magnitude" else None for name in frame["scorer"]]
    frame["kappa"] = [0 if name == "magnitude" else None for name in frame["scorer"]]
    found = analyse(frame, looks=plan, draws=100)
    stops = []
    for j in range(len(columns)):
        line = found.looks.line(f"s{j}", 0.7)
        assert (line.verdict is Verdict.EQUIVALENT) == (fast.equivalent[-1, j] and not fast.escapes[-1, j])
        assert (line.verdict is Verdict.ESCAPES) == (fast.escapes[-1, j] and not fast.equivalent[-1, j])
        stops.append((line.decided or 4) - 1 if line.settled else 3)
    assert stops == fast.stop.tolist()


def test_families_at_looks_are_asked_where_they_could_reject(looked: ModuleType) -> None:
    """What is left out could not reject: all of a few data sets, by the package, are no more."""
    name, plan = "ρ = .5", LookPlan(20)
    columns = looked.family_columns(looked.FAMILIES[name], 60, 20, np.random.default_rng(11))
    wrong = sum(
        bool(
            escape_test(
                [looked.looked(own[:, j], plan, f"s{j}") for j in range(5)], 0.5, rng=np.random.default_rng(i), draws=4_000
            ).rejected
        )
        for i, own in enumerate(columns)
    )
    assert looked.family_errors(name, 20, 60, np.random.default_rng(11))[looked.OVER_LOOKS].hits == wrong


def test_the_sampled_sign_flip_agrees_with_the_exact_one(sim: ModuleType) -> None:
    data = sim.normal(np.random.default_rng(7), 300, 10, 0.3)
    exact = sim.sign_flip_equivalent(data, 0.5)
    sampled = sim.sign_flip_equivalent(data, 0.5, np.random.default_rng(8))
    assert 0.2 < exact.mean() < 0.8
    assert (exact == sampled).mean() > 0.95


@pytest.mark.parametrize(
    "kind", ["Normal", "correlated 0.5", "correlated 0.9", "discrete 1 %", "skewed left", "partly degenerate"]
)
def test_columns_have_the_means_they_are_given(runs: ModuleType, kind: str) -> None:
    means = np.array([0.5, -0.5, 2.0])
    drawn = np.concatenate([runs.columns_of(kind, np.random.default_rng(i), 20, means) for i in range(200)])
    assert drawn.mean(axis=0) == pytest.approx(means, abs=0.03)
    rho = np.corrcoef(drawn[:, 1:].T)[0, 1]
    assert rho == pytest.approx({"correlated 0.5": 0.5, "discrete 1 %": 0.5, "correlated 0.9": 0.9}.get(kind, 0.0), abs=0.05)
    if kind == "discrete 1 %":
        assert drawn * 6 == pytest.approx(np.round(drawn * 6))
    if kind == "partly degenerate":
        assert (drawn[:, 0] == means[0]).all()
        assert (drawn[:, 1] == means[1]).mean() == pytest.approx(0.5, abs=0.05)


def test_missing_seeds_are_those_they_are_named_for(runs: ModuleType) -> None:
    rng = np.random.default_rng(0)
    columns = rng.normal(0, 1, (10, 4))
    assert runs.present("", rng, columns).all()
    share = np.mean([runs.present("ragged", rng, columns).mean() for _ in range(300)])
    assert share == pytest.approx(1 - runs.MISSING, abs=0.02)
    there = runs.present("neighbour", rng, columns)
    assert there[:, 0].all()
    assert columns[there[:, 1], 0].min() > columns[~there[:, 1], 0].max()
    contrasts = runs.contrasts_of(columns, there)
    assert [c.n for c in contrasts] == [10, *there[:, 1:].sum(axis=0)]
    assert contrasts[1].differences == tuple(columns[there[:, 1], 1])


def test_real_truths_and_claims_are_what_they_say(runs: ModuleType, sim: ModuleType) -> None:
    for points, *_ in runs.REAL_TRUTHS.values():
        assert len(points) == 4
        for smooth, raw, kappa in points:
            assert kappa == (0 if max(smooth + raw) <= 0.5 else 1 if max(smooth) > 0.5 else 2)
    ragged = {points for points, _, missing, gated in runs.REAL_TRUTHS.values() if missing and gated}
    assert len(ragged) >= 4
    assert any([kappa for _, _, kappa in points] != sorted(kappa for _, _, kappa in points) for points in ragged)
    for _, means, claims in runs.CLAIMS.values():
        largest = {1: max(means["bump"], means["smooth_chaos"]), 2: max(means["chaos"], means["wiggle"])}
        for claim in claims.values():
            if claim.kind == "plateau":
                assert max(abs(means["power"]), abs(means["log"])) == sim.DELTA
            elif claim.kind == "escape":
                assert means[claim.scorer] == sim.DELTA
            elif claim.kind == "size":
                value = largest[claim.kappa] if claim.scorer is None else means[claim.scorer]
                assert abs(value - claim.points) == sim.DELTA
            else:
                assert claim.kind == "below"
                other = 0.0 if claim.than == "reference" else means[claim.than]
                assert (largest[claim.kappa] if claim.scorer is None else means[claim.scorer]) == other


def test_rates_are_of_what_they_are_named_for(runs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far from the bound the one answer is always given and the other never."""
    _, _, claims = runs.CLAIMS["discrete 1 %: every scorer on a bound"]
    means = {"power": 3.0, "log": 0.0, "bump": 0.0, "smooth_chaos": 3.0, "chaos": 3.0, "wiggle": 0.0}
    monkeypatch.setitem(runs.CLAIMS, "far", ("discrete 1 %", means, claims))
    found = {name: rate.value for name, rate in runs.claim_errors("far", 8, 5, np.random.default_rng(9)).items()}
    assert found == {
        f"{label}, falsely {wrong}": float((wrong == "contradicted") is label.startswith("plateau"))
        for label in claims
        for wrong in ("supported", "contradicted")
    }


def test_family_and_attribution_rates_can_fail(runs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns twenty times δ off their truth: everything that can be claimed falsely is."""
    honest = runs.columns_of
    monkeypatch.setattr(runs, "columns_of", lambda kind, rng, n, means: honest(kind, rng, n, means + shift))
    shift = 10.0
    up = runs.verdict_errors("Normal, independent, 8 scorers", 6, 5, np.random.default_rng(0))
    assert (up["ESCAPES, any false"].value, up["above 0, any false"].value, up["DEGRADES, any false"].value) == (1, 1, 0)
    assert (up["simultaneous intervals, all at once"].value, up["winner's interval"].value) == (0, 0)
    found = runs.attribution_errors("Normal, 6 scorers", 6, 5, np.random.default_rng(0))
    assert (found["ESCAPES, any false"].value, found["above information, any false"].value) == (1, 1)
    shift = -10.0
    assert runs.verdict_errors("Normal, independent, 8 scorers", 6, 5, np.random.default_rng(0))["DEGRADES, any false"].value == 1
    assert runs.attribution_errors("Normal, 6 scorers", 6, 5, np.random.default_rng(0))["DEGRADES, any false"].value == 1


def test_the_rate_of_a_whole_run_is_that_of_its_headline(
    runs: ModuleType, sim: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far above the bound every run names somebody, far below nobody; on it more within an S than over all of them."""
    for truth, expected in ((3.0, 1.0), (-3.0, 0.0)):
        monkeypatch.setitem(runs.RUNS, "far", (truth, 0.3, "", True))
        assert {rate.value for rate in runs.run_errors("far", 5, 3, np.random.default_rng(0)).values()} == {expected}
    found = runs.run_errors("ten S, five scorers, all on the bound", 5, 40, np.random.default_rng(1))
    assert found[runs.WITHIN].value >= 0.15, "ten families at 5 % each"
    assert found[runs.OVER].value <= 0.1
    assert sim.within_two_errors(found[runs.OVER])


@pytest.mark.parametrize("missing", ["", "ragged"])
def test_a_headline_names_an_escape_exactly_where_the_run_wide_p_says_so(runs: ModuleType, missing: str) -> None:
    """From a table to the page, at four S without any true escape, and with one."""
    from sics_analysis.report import headline, report_table

    rng = np.random.default_rng(3)
    for above in (0.0, 3.0):
        rows = []
        for S in (0.5, 0.6, 0.7, 0.8):
            columns = rng.normal(0.3, 0.5, (6, 3)) + np.array([above, 0, 0])
            there = runs.present(missing, rng, columns)
            rows += [(i, "magnitude", S, 0, 0.8) for i in range(6)]
            rows += [(i, f"s{j}", S, 1 + j % 2, 0.8 + columns[i, j] / 100) for i in range(6) for j in range(3) if there[i, j]]
        table = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "kappa", "accuracy"])
        document = report_table(table, draws=2_000, n_resamples=19)
        p = [line.p_escape_adjusted_run for line in document.lines if line.p_escape_adjusted_run is not None]
        assert len(p) == 12
        assert (" escapes the plateau" in headline(document).replace("magnitude ", "")) is (min(p) <= 0.05)
        assert (min(p) <= 0.05) is (above > 0)


def test_rates_of_constants_can_fail(runs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every difference is the same, one on the bound shows nothing, and one far beyond it everything."""
    monkeypatch.setattr(runs, "STEP", 0.0)
    none = runs.constant_errors("family of 6, two values, test examples unknown", 8, 3, np.random.default_rng(0))
    assert {name: rate.value for name, rate in none.items()} == dict.fromkeys(none, 0.0), "a constant on the bound shows nothing"
    monkeypatch.setattr(
        runs, "_two_values", lambda rng, n, members, coarse, chance, truth: [differences([2.0 * np.sign(truth)] * n, name="s0")]
    )
    far = runs.constant_errors("one line, two values, test examples unknown", 8, 3, np.random.default_rng(0))
    assert (far["ESCAPES, any false"].value, far["DEGRADES, any false"].value) == (1, 1)
    assert far["NONSUPERIOR or EQUIVALENT at +δ"].value == 0


def test_columns_of_two_adjacent_counts_are_what_they_say(runs: ModuleType) -> None:
    rng = np.random.default_rng(0)
    family = runs._two_values(rng, 2_000, 3, 2, 0.7, 0.5)
    assert [c.is_adjacent and c.resolution > 0 for c in family] == [True, True, False]
    assert {round(d, 9) for d in family[0].differences} == {0.36, 0.56}
    assert family[0].mean == pytest.approx(0.5, abs=0.01)
    assert runs._two_values(rng, 20, 1, 1, None, 0.5)[0].resolution == 0


def test_rates_of_unpaired_seeds_can_fail(runs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a bound that is far from the truth everything false is shown, and no interval covers it."""
    honest = runs.unpaired_errors("half the seeds, equal sd", 5, 200, np.random.default_rng(0))
    assert max(rate.value for name, rate in honest.items() if name != runs.WELCH) < 0.12
    assert honest[runs.WELCH].value > 0.9
    drawn = runs._unpaired
    monkeypatch.setattr(
        runs,
        "_unpaired",
        lambda rng, n, sds, reference, truth, name: drawn(rng, n, sds, reference, truth + 9 * np.sign(truth), name),
    )
    risen = runs.unpaired_errors("half the seeds, equal sd", 5, 20, np.random.default_rng(0))
    assert (risen["escape, t"].value, risen["ESCAPES, any false of six"].value, risen[runs.WELCH].value) == (1, 1, 0)
    monkeypatch.setattr(runs, "_unpaired", lambda rng, n, sds, reference, truth, name: drawn(rng, n, sds, reference, 0.0, name))
    level = runs.unpaired_errors("as many seeds, equal sd", 20, 20, np.random.default_rng(0))
    assert min(level[name].value for name in ("t-TOST", "NONSUPERIOR at +δ", "NONINFERIOR at −δ")) > 0.9


def test_a_part_of_the_calibration_is_never_written_over_the_whole(
    calibration: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["calibration.py", "--only", "run"])
    with pytest.raises(SystemExit):
        calibration.main()


def test_truths_are_what_they_say(sim: ModuleType) -> None:
    for points in sim.TRUTHS.values():
        assert len(points) == 4
        for smooth, raw, kappa in points:
            expected = 0 if max(smooth + raw) <= 0.5 else 1 if max(smooth) > 0.5 else 2
            assert kappa == expected
    assert len(sim.TRUTHS) >= 4
