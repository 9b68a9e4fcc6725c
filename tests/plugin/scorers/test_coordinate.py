"""ρ, z and the neighbourhood, against loops written from design §3."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sics_plugin.scorers import coordinate

few_values = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.25001, 3.0]), min_size=1, max_size=40)
floats = st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=60)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.numpy(), b.numpy())[0, 1])


def test_ranks_by_hand() -> None:
    assert coordinate.ranks(torch.tensor([0.4, 0.1, 0.4, 0.0, 0.2, 0.1])).tolist() == [4, 1, 5, 0, 3, 2]


def test_percentile_by_hand() -> None:
    assert coordinate.percentile(torch.tensor([4, 1, 3, 0, 2])).tolist() == [0.9, 0.3, 0.7, 0.1, 0.5]


@settings(deadline=None, max_examples=60)
@given(values=few_values | floats)
def test_ranks_equal_the_loop(values: list[float], reference: ModuleType) -> None:
    rank = coordinate.ranks(torch.tensor(values, dtype=torch.float64))
    assert rank.tolist() == reference.ranks(values)
    assert coordinate.percentile(rank).tolist() == pytest.approx(reference.percentile(values).tolist(), abs=1e-15)


@pytest.mark.parametrize(("n", "bins"), [(1, 1), (255, 1), (256, 1), (511, 1), (512, 2), (1000, 3), (65_535, 255), (65_536, 256)])
def test_bin_count(n: int, bins: int) -> None:
    assert coordinate.bin_count(n) == bins == max(1, min(256, n // 256))


def test_bin_count_stops_at_256() -> None:
    assert coordinate.bin_count(10**9) == 256


def test_coordinate_by_hand() -> None:
    """One bin of five: midranks 0, 2, 2, 2, 4 → z = 0.1, 0.5, 0.5, 0.5, 0.9."""
    c = torch.tensor([7.0, 9.0, 7.0, 1.0, 7.0])
    assert coordinate.coordinate(c, torch.tensor([4, 0, 1, 3, 2])).tolist() == pytest.approx([0.5, 0.9, 0.5, 0.1, 0.5])


def test_coordinate_ranks_inside_the_bin_only() -> None:
    """n = 512 has two bins of 256: the lowest saliency of the upper bin gets z = 0.5/256 whatever the lower bin holds."""
    rank = torch.arange(512)
    c = torch.cat([torch.arange(256) + 1000.0, torch.arange(256) * 1.0])
    z = coordinate.coordinate(c, rank)
    expected = (torch.arange(256, dtype=torch.float64) + 0.5) / 256
    assert torch.equal(z[:256], expected)
    assert torch.equal(z[256:], expected)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_coordinate_equals_the_loop_on_few_units(data: st.DataObject, reference: ModuleType) -> None:
    m = data.draw(few_values | floats)
    c = data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, -1.0, 1e30]), min_size=len(m), max_size=len(m)))
    z = coordinate.coordinate(torch.tensor(c, dtype=torch.float64), coordinate.ranks(torch.tensor(m, dtype=torch.float64)))
    assert z.tolist() == pytest.approx(reference.coordinate(c, m).tolist(), abs=1e-12)


@pytest.mark.parametrize("n", [255, 256, 511, 512, 513, 769, 1000, 2047])
def test_coordinate_equals_the_loop_across_bins(n: int, reference: ModuleType) -> None:
    m, c = torch.rand(n), torch.randint(0, n // 3, (n,)).double()
    z = coordinate.coordinate(c, coordinate.ranks(m))
    assert np.allclose(z.numpy(), reference.coordinate(c.tolist(), m.tolist()), atol=1e-12)


def test_equal_saliencies_of_one_bin_have_equal_z() -> None:
    m, c = torch.rand(3000), torch.randint(0, 7, (3000,)).float()
    rank = coordinate.ranks(m)
    z, unit_bin = coordinate.coordinate(c, rank), rank * coordinate.bin_count(3000) // 3000
    for b in unit_bin.unique():
        for value in c.unique():
            assert z[(unit_bin == b) & (c == value)].unique().numel() <= 1


def test_constant_saliency_is_one_half_everywhere() -> None:
    z = coordinate.coordinate(torch.full((5000,), 3.0), coordinate.ranks(torch.rand(5000)))
    assert torch.allclose(z, torch.tensor(0.5, dtype=torch.float64))


def test_z_is_the_same_for_any_strictly_increasing_function_of_the_saliency() -> None:
    c, rank = torch.rand(4000, dtype=torch.float64), torch.randperm(4000)
    assert torch.equal(coordinate.coordinate(c, rank), coordinate.coordinate(torch.exp(5 * c) - 2, rank))


def test_z_is_uniform_and_inside_the_open_interval() -> None:
    z = coordinate.coordinate(torch.rand(20_000), torch.randperm(20_000))
    assert 0 < z.min() < z.max() < 1
    assert z.mean().item() == pytest.approx(0.5, abs=1e-9)
    assert z.std().item() == pytest.approx(12**-0.5, abs=1e-3)


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
def test_z_is_close_to_independent_of_rho_when_units_are_many(noise: float) -> None:
    """Even for a saliency that follows the magnitude itself: n = 100 000 has 256 bins, and corr(z, ρ) ≤ 1/256."""
    m = torch.rand(100_000)
    rank = coordinate.ranks(m)
    z = coordinate.coordinate(m + noise * torch.rand(100_000), rank)
    assert abs(correlation(z, coordinate.percentile(rank))) < 0.015


@pytest.mark.parametrize(("n", "bins"), [(300, 1), (1024, 4), (8192, 32)])
def test_dependence_left_with_few_bins_is_one_over_their_number(n: int, bins: int) -> None:
    """For c = m, z is a sawtooth of B teeth over ρ. The flag covers n < 256 alone; this pins what is left above it."""
    m = torch.rand(n)
    rank = coordinate.ranks(m)
    assert correlation(coordinate.coordinate(m, rank), coordinate.percentile(rank)) == pytest.approx(1 / bins, abs=5e-3)


@pytest.mark.parametrize(("n", "resolved"), [(1, False), (511, False), (512, True), (10**6, True)])
def test_resolved_from_512_units(n: int, resolved: bool) -> None:
    assert coordinate.is_resolved(n) is resolved


def test_neighbourhood_by_hand() -> None:
    """Unit 0 sees itself and the next 32; unit 33 sees 1 … 65."""
    m = torch.zeros(100)
    m[33], m[65], m[66] = 33.0, 65.0, 650.0
    found = coordinate.neighbourhood(m)
    assert found[0].item() == 0
    assert found[1].item() == pytest.approx(33 / 34)
    assert found[33].item() == pytest.approx(98 / 65)
    assert found[34].item() == pytest.approx(748 / 65)
    assert found[99].item() == 0


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 34, 64, 65, 66, 67, 130, 1000])
def test_neighbourhood_equals_the_loop(n: int, reference: ModuleType) -> None:
    m = torch.rand(n)
    assert np.allclose(coordinate.neighbourhood(m).numpy(), reference.neighbourhood(m.tolist()), rtol=1e-12, atol=0)


def test_neighbourhood_is_float64_and_the_same_on_any_number_of_threads() -> None:
    m, threads = torch.rand(300_000), torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        many = coordinate.neighbourhood(m)
        torch.set_num_threads(1)
        assert torch.equal(coordinate.neighbourhood(m), many)
    finally:
        torch.set_num_threads(threads)
    assert many.dtype == torch.float64


def test_nothing_to_rank() -> None:
    empty = torch.empty(0)
    assert coordinate.coordinate(empty, torch.empty(0, dtype=torch.int64)).shape == (0,)
    assert coordinate.ranks(empty).shape == (0,)
