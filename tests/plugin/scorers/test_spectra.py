"""Spectra and their shipped tables, against loops over the maps and against a fresh computation."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

import sics_plugin
from sics_plugin.scorers import spectra

ROWS = ("logistic", "logistic_smooth", "mouse_smooth", "wiggle")


@pytest.fixture(scope="module")
def recomputed() -> Tensor:
    return spectra.compute_tables()


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return np.load(Path(sics_plugin.__file__).parent / "tables" / "spectra.npy")


@pytest.mark.parametrize("r", [3.5, 3.55, 3.83, 3.9, 4.0])
def test_logistic_exponent_equals_a_loop_over_the_map(r: float, reference: ModuleType) -> None:
    here = spectra.lyapunov_logistic(torch.tensor([r], dtype=torch.float64)).item()
    assert here == pytest.approx(reference.lyapunov_logistic(r), abs=1e-6 if r < 3.84 else 0.05)


def test_logistic_exponent_has_its_textbook_values() -> None:
    lam = spectra.lyapunov_logistic(torch.tensor([3.0 + 1e-9, 3.83, 4.0], dtype=torch.float64))
    # The period-three window: -0.3697; 1000 steps are 333 cycles and one step more.
    assert lam[1].item() == pytest.approx(-0.3697, abs=5e-3)
    assert lam[2].item() == pytest.approx(math.log(2), abs=1e-2)
    assert -0.01 < lam[0].item() < 0  # period doubling: neutral


@pytest.mark.parametrize("beta", [-1.0, -0.9, -0.58, 0.0, 0.3, 1.0])
def test_mouse_exponent_equals_a_loop_over_the_map(beta: float, reference: ModuleType) -> None:
    here = spectra.lyapunov_mouse(torch.tensor([beta], dtype=torch.float64)).item()
    expected = reference.lyapunov_mouse(beta)
    assert here == pytest.approx(expected, abs=1e-6 if expected < 0 else 0.05)


def test_exponents_are_clipped_at_both_ends() -> None:
    superstable = torch.tensor([3.8318740552833, 2.0], dtype=torch.float64)
    assert spectra.lyapunov_logistic(superstable).tolist() == [-2.0, -2.0]
    everywhere = spectra.lyapunov_logistic(torch.linspace(3.9, 4, 500, dtype=torch.float64))
    assert everywhere.max().item() <= math.log(2)


def test_table_file_has_the_digest_in_the_source(table: np.ndarray) -> None:
    assert table.shape == (4, 4096)
    assert table.dtype == np.dtype("<f8")
    assert hashlib.sha256(table.tobytes()).hexdigest() == spectra.TABLES_SHA256


@pytest.mark.parametrize("row", [1, 2, 3])
def test_smooth_rows_regenerate_to_one_hundredth(row: int, recomputed: Tensor, table: np.ndarray) -> None:
    assert np.abs(recomputed[row].numpy() - table[row]).max() < 1e-2


def test_raw_row_regenerates_by_correlation(recomputed: Tensor, table: np.ndarray) -> None:
    assert np.corrcoef(recomputed[0].numpy(), table[0])[0, 1] > 0.99


def test_raw_row_is_the_exponent_of_the_logistic_map_over_r(table: np.ndarray, reference: ModuleType) -> None:
    """Undo the standardising with two anchors: the row at any stable r is then λ(r)."""
    index = [round(v * 4095) for v in (0.02, 0.1, 0.255, 0.662, 0.67)]
    lam = [reference.lyapunov_logistic(3.5 + 0.5 * i / 4095) for i in index]
    slope = (table[0][index[0]] - table[0][index[3]]) / (lam[0] - lam[3])
    offset = table[0][index[0]] - slope * lam[0]
    assert slope > 0
    for i, expected in zip(index, lam, strict=True):
        assert table[0][i] == pytest.approx(slope * expected + offset, abs=0.02)


def test_smooth_row_is_the_raw_row_smoothed(table: np.ndarray, reference: ModuleType) -> None:
    expected = reference.standardised(reference.smoothed(table[0]))
    assert np.abs(expected - table[1]).max() < 1e-9


def test_mouse_row_is_the_smoothed_spectrum_of_the_gauss_map(table: np.ndarray, reference: ModuleType) -> None:
    raw = spectra.lyapunov_mouse(-1 + 2 * torch.linspace(0, 1, 4096, dtype=torch.float64)).numpy()
    row = reference.standardised(reference.smoothed(raw))
    row = row if np.corrcoef(row, np.linspace(0, 1, 4096))[0, 1] > 0 else -row
    assert np.abs(row - table[2]).max() < 1e-2


def test_wiggle_is_the_smooth_row_with_forty_cycles_at_half_its_deviation(table: np.ndarray) -> None:
    z = np.linspace(0, 1, 4096)
    design = np.stack([table[1], np.sin(2 * np.pi * 40 * z), np.ones_like(z)], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, table[3], rcond=None)
    smooth, sine, _ = coefficients
    assert np.abs(design @ coefficients - table[3]).max() < 1e-9
    assert sine / smooth == pytest.approx(0.5, abs=1e-9)
    spectrum = np.abs(np.fft.rfft(table[3] - smooth * table[1]))
    assert int(spectrum.argmax()) == 40


@pytest.mark.parametrize("row", range(4))
def test_rows_are_standardised_and_oriented(row: int, table: np.ndarray) -> None:
    assert table[row].mean() == pytest.approx(0, abs=1e-12)
    assert table[row].std() == pytest.approx(1, abs=1e-12)
    assert np.corrcoef(table[row], np.linspace(0, 1, 4096))[0, 1] > 0


def test_a_falling_spectrum_is_turned_round() -> None:
    z = torch.linspace(0, 1, 64, dtype=torch.float64)
    assert torch.allclose(spectra.oriented(-(z**2), z), spectra.oriented(z**2, z))


def test_smooth_is_linear_keeps_constants_and_replicates_edges(reference: ModuleType) -> None:
    values = torch.rand(4096, dtype=torch.float64)
    assert np.allclose(spectra.smooth(values).numpy(), reference.smoothed(values.numpy()), atol=1e-12)
    assert torch.allclose(spectra.smooth(torch.full((4096,), 7.0, dtype=torch.float64)), torch.tensor(7.0, dtype=torch.float64))


@pytest.mark.parametrize(("name", "row"), [("logistic", 0), ("logistic_smooth", 1), ("mouse_smooth", 2), ("wiggle", 3)])
def test_lookup_takes_entry_floor_of_4095_z(name: str, row: int, table: np.ndarray) -> None:
    z = torch.tensor([0.0, 0.9999 / 4095, 1.0001 / 4095, 0.5, 2047.5 / 4095, 0.99999, 1.0], dtype=torch.float64)
    assert spectra.lookup(name, z).tolist() == table[row][[0, 0, 1, 2047, 2047, 4094, 4095]].tolist()


def test_lookup_keeps_the_shape_and_answers_in_float64(table: np.ndarray) -> None:
    z = torch.rand(3, 5)
    found = spectra.lookup("wiggle", z)
    assert (found.shape, found.dtype) == ((3, 5), torch.float64)


def test_a_tampered_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: np.ndarray) -> None:
    (tmp_path / "tables").mkdir()
    changed = table.copy()
    changed[2, 17] = np.nextafter(changed[2, 17], 9)
    np.save(tmp_path / "tables" / "spectra.npy", changed)
    monkeypatch.setattr(spectra, "resources", SimpleNamespace(files=lambda package: tmp_path))
    spectra._shipped.cache_clear()
    spectra._there.cache_clear()
    try:
        with pytest.raises(RuntimeError, match=r"spectra\.npy is not the table.*6327751ad7a3"):
            spectra.lookup("logistic_smooth", torch.zeros(1))
    finally:
        monkeypatch.undo()
        spectra._shipped.cache_clear()
        spectra._there.cache_clear()
    assert spectra.lookup("logistic_smooth", torch.zeros(3)).shape == (3,)


def test_digest_does_not_depend_on_the_container(table: np.ndarray) -> None:
    assert spectra.table_digest(np.asfortranarray(table)) == spectra.table_digest(table.astype(">f8")) == spectra.TABLES_SHA256


def test_script_writes_the_tables_it_prints_the_digest_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, recomputed: Tensor
) -> None:
    monkeypatch.setattr(spectra, "compute_tables", lambda: recomputed)
    spectra.main(["--write", str(tmp_path / "new.npy")])
    written = np.load(tmp_path / "new.npy")
    assert capsys.readouterr().out.split() == ["sha256", spectra.table_digest(written)]
    assert np.array_equal(written, recomputed.numpy())
    spectra.main([])
    report = capsys.readouterr().out
    assert all(name in report for name in ROWS)
    assert len(report.splitlines()) == 5
