"""Indicators of orbits and the controls beside them: against loops, by hand, as masks, and outside the default run."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sics_plugin
from sics_cli.experiment.scorers import choose, describe_scorers
from sics_plugin import CoordinateScorer, Units, build_scorer, compute_masks, get_scorer, list_scorers, method_for
from sics_plugin.scorers import spectra
from sics_plugin.scorers.indicators import random_spline

ON_REQUEST = [name for name in list_scorers() if get_scorer(name).on_request]
OF_Z = [name for name in ON_REQUEST if issubclass(get_scorer(name), CoordinateScorer)]
ORBITS = [name for name in OF_Z if "orbit" in name]


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return np.load(Path(sics_plugin.__file__).parent / "tables" / "orbits.npy")


def orbit(r: float) -> list[float]:
    x, kept = 0.4, []
    for step in range(1500):
        x = r * x * (1 - x)
        if step >= 500:
            kept.append(x)
    return kept


# --- the tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("r", [3.2, 3.5, 3.55, 3.835])
def test_indicators_are_those_of_a_loop_over_the_map(r: float) -> None:
    """Where orbits are periodic; elsewhere two platforms part after some steps."""
    found = {name: values.item() for name, values in spectra.orbit_indicators(torch.tensor([r], dtype=torch.float64)).items()}
    x = orbit(r)
    expected = {"peak": max(x), "variance": float(np.var(x)), "range": max(x) - min(x), "mean": float(np.mean(x))}
    assert found == pytest.approx(expected, abs=1e-9)


def test_indicators_of_full_chaos_are_those_of_the_arcsine_law() -> None:
    """At r = 4 the density is 1/(π√(x(1−x))): mean ½, variance ⅛, from 0 to 1."""
    found = {name: v.item() for name, v in spectra.orbit_indicators(torch.tensor([3.99999], dtype=torch.float64)).items()}
    assert found == pytest.approx({"peak": 1, "variance": 1 / 8, "range": 1, "mean": 1 / 2}, abs=0.03)


def test_the_table_has_the_digest_in_the_source_and_regenerates(table: np.ndarray) -> None:
    assert table.shape == (8, 4096)
    assert hashlib.sha256(table.astype("<f8").tobytes()).hexdigest() == spectra.ORBITS_SHA256
    again = spectra.compute_orbits().numpy()
    for row, name in enumerate(spectra.ORBIT_ROWS):
        if name.startswith("smooth"):
            assert np.abs(again[row] - table[row]).max() < 1e-2
        else:
            assert np.corrcoef(again[row], table[row])[0, 1] > 0.99
        assert (table[row].mean(), table[row].std()) == pytest.approx((0, 1), abs=1e-12)
        assert np.corrcoef(table[row], np.arange(4096))[0, 1] > 0


def test_the_digest_of_the_spectra_is_the_one_stored_keys_have() -> None:
    assert spectra.TABLES_SHA256 == "6327751ad7a318638b6f8267e574eb2f4fd097605b6a3457fe1309d9e49594ab"
    assert build_scorer("chaos").fingerprint()["tables"] == spectra.TABLES_SHA256
    assert {build_scorer(name).fingerprint()["tables"] for name in ORBITS} == {spectra.ORBITS_SHA256}
    assert build_scorer("sine").fingerprint()["tables"] is None


def test_the_command_that_computes_the_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spectra.main(["--table", "orbits", "--write", str(tmp_path / "orbits.npy")])
    assert np.load(tmp_path / "orbits.npy").shape == (8, 4096)
    assert capsys.readouterr().out.startswith("sha256 ")


# --- features -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_Z)
def test_features_are_standardised_and_entry_by_entry(name: str) -> None:
    scorer = build_scorer(name)
    assert isinstance(scorer, CoordinateScorer)
    z = (torch.arange(50_000, dtype=torch.float64) + 0.5) / 50_000
    phi = scorer.feature(z, 0.7)
    assert (phi.mean().item(), phi.std(correction=0).item()) == pytest.approx((0, 1), abs=2e-3)
    order = torch.randperm(50_000)
    assert torch.equal(scorer.feature(z[order], 0.7), phi[order])


def test_scores_by_hand() -> None:
    """ρ = 1/8 3/8 5/8 7/8, z = 7/8 1/8 3/8 5/8; sin(2πz) = −√½ √½ √½ −√½, so φ = −1 1 1 −1."""
    units = Units(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([9.0, 1.0, 5.0, 7.0]), "supplied")
    assert build_scorer("sine").score(units, 0.5).tolist() == pytest.approx(
        [1 / 8 - 0.15, 3 / 8 + 0.15, 5 / 8 + 0.15, 7 / 8 - 0.15]
    )
    half = Units(torch.tensor([0.0, 1.0, 4.0, 16.0]))
    assert build_scorer("magnitude_power").score(half, 0.5).tolist() == [0, 0.25, 0.5, 1]  # √(m/16)


def test_weierstrass_is_the_sum_written_out() -> None:
    z = [0.0, 0.3, 0.5, 1.0]
    scale = math.sqrt(sum(0.25**k for k in range(5)) / 2)
    expected = [-sum(0.5**k * math.cos(7**k * math.pi * x) for k in range(5)) / scale for x in z]
    scorer = build_scorer("weierstrass")
    assert isinstance(scorer, CoordinateScorer)
    assert scorer.feature(torch.tensor(z, dtype=torch.float64), 0.5).tolist() == pytest.approx(expected, abs=1e-9)


def test_splines_are_smooth_and_their_seeds_differ() -> None:
    """Second differences of a cubic spline are continuous: their steps are of third order in the grid."""
    from scipy.interpolate import BSpline

    one, other = random_spline(0), random_spline(1)
    assert not torch.equal(one, other)
    assert (one[2:] - 2 * one[1:-1] + one[:-2]).abs().max() < 1e-3
    coefficients = torch.rand(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    curve = BSpline(np.arange(-3, 13) / 9, coefficients, 3)(np.linspace(0, 1, 4096))
    assert abs(np.corrcoef(curve, one.numpy())[0, 1]) == pytest.approx(1, abs=1e-12)
    with pytest.raises(ValueError, match="Expected `curve` to be a seed"):
        build_scorer("spline", curve=-1)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.05, 5), st.integers(0, 1000), st.floats(0, 1))
def test_any_power_of_the_magnitude_is_the_plateau(exponent: float, seed: int, amount: float) -> None:
    layer = torch.nn.Linear(20, 30)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(30, 20, generator=torch.Generator().manual_seed(seed)))
    params = [(layer, "weight")]
    power = compute_masks(params, "magnitude_power", amount=amount, exponent=exponent)[1]
    assert power.mask_hash == compute_masks(params, "magnitude", amount=amount)[1].mask_hash
    assert method_for("magnitude_power")(amount, exponent=exponent).scorer.exponent == exponent  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="Expected `exponent` to be finite and above 0"):
        build_scorer("magnitude_power", exponent=0.0)


def test_peak_and_range_of_the_magnitude_rank_are_magnitude(trained_mlp: torch.nn.Sequential) -> None:
    """What the meter says of them: monotone in ρ, so the plateau to the last weight; the others are fakes."""
    vector = torch.rand(64 * 96 + 96 * 64)
    plain, masks = compute_masks(trained_mlp, "magnitude", amount=0.8)[1].mask_hash, {}
    for name in OF_Z:
        masks[name] = compute_masks(trained_mlp, "rank_indicator", amount=0.8, of=name, saliency=vector)[1].mask_hash
    assert {name for name, found in masks.items() if found == plain} >= {
        "orbit_peak", "orbit_range", "smooth_orbit_peak", "smooth_orbit_range",
    }  # fmt: skip
    assert masks["orbit_mean"] != plain
    with pytest.raises(ValueError, match="Expected `of` to be a scorer built on z, got 'magnitude'"):
        build_scorer("rank_indicator", of="magnitude")


# --- where they run -------------------------------------------------------------------------------------------------------


def test_the_default_run_is_what_it_was_and_a_name_brings_one_in() -> None:
    infos = describe_scorers((), "gradient")
    default, _ = choose(infos, None, "gradient", "magnitude")
    assert not {info.name for info in default} & set(ON_REQUEST)
    assert len(default) == 12
    named, _ = choose(infos, ["sics", "orbit_peak"], "gradient", "magnitude")
    assert {info.name for info in named} - {info.name for info in default} == {"orbit_peak"}
    everything, _ = choose(infos, ["all"], "gradient", "magnitude")
    assert {info.name for info in everything} >= set(ON_REQUEST)


def test_the_page_names_every_one() -> None:
    page = (Path(__file__).parents[3] / "docs" / "fusion.md").read_text(encoding="utf-8")
    assert [name for name in ON_REQUEST if f"`{name}`" not in page] == []
