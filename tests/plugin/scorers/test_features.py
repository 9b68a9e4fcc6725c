"""φ of every class: mean 0 and variance 1 for z uniform, the shapes design §3 gives them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from sics_plugin import build_scorer
from sics_plugin.scorers.sics import bump

SPARSITIES = (0.05, 0.5, 0.65, 0.7, 0.8, 0.98)
ALL = ("bump", "smooth_chaos", "smooth_mouse", "chaos", "wiggle", "information")


def phi_of(name: str) -> Callable[[Tensor, float], Tensor]:
    return build_scorer(name).feature  # type: ignore[attr-defined,no-any-return]


@pytest.fixture(scope="module")
def uniform() -> Tensor:
    return (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_mean_zero_and_variance_one_for_uniform_z(name: str, sparsity: float, uniform: Tensor) -> None:
    phi = phi_of(name)(uniform, sparsity)
    assert phi.dtype == torch.float64
    # A table lookup rounds z down by up to 1/4095, hence the tolerance.
    assert phi.mean().item() == pytest.approx(0, abs=2e-3)
    assert phi.std(correction=0).item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_bump_is_centred_at_the_sparsity_and_symmetric_about_it(sparsity: float, uniform: Tensor) -> None:
    assert uniform[bump(uniform, sparsity).argmax()].item() == pytest.approx(sparsity, abs=1e-5)
    pair = bump(torch.tensor([sparsity - 0.04, sparsity + 0.04], dtype=torch.float64), sparsity)
    assert pair[0].item() == pytest.approx(pair[1].item(), abs=1e-12)


def test_bump_against_the_hand_worked_numbers() -> None:
    """S = 0.5: mean 0.37567, sd 0.35319; e^(−.140625/.045) = 0.0439, e^(−.015625/.045) = 0.7066."""
    phi = bump(torch.tensor([0.875, 0.125, 0.375, 0.625], dtype=torch.float64), 0.5)
    assert phi.tolist() == pytest.approx([-0.9393, -0.9393, 0.9370, 0.9370], abs=1e-3)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_bump_equals_quadrature(sparsity: float, reference: ModuleType) -> None:
    z = np.linspace(0, 1, 101)
    assert np.allclose(bump(torch.from_numpy(z), sparsity).numpy(), reference.bump(z, sparsity), atol=1e-8)


def test_bump_has_width_fifteen_hundredths() -> None:
    """A σ away from the centre the unstandardised curve is at e^(−½) of its height."""
    phi = bump(torch.tensor([0.5, 0.65, 60.0], dtype=torch.float64), 0.5)
    assert ((phi[1] - phi[2]) / (phi[0] - phi[2])).item() == pytest.approx(np.exp(-0.5), abs=1e-12)


def test_information_is_z_standardised() -> None:
    z = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert torch.allclose(phi_of("information")(z, 0.7), (z - 0.5) * 12**0.5)


@pytest.mark.parametrize("name", ["smooth_chaos", "smooth_mouse", "chaos", "wiggle", "information"])
def test_only_the_bump_depends_on_the_sparsity(name: str, uniform: Tensor) -> None:
    phi = phi_of(name)
    assert torch.equal(phi(uniform, 0.5), phi(uniform, 0.8))


@pytest.mark.parametrize("name", ["bump", "smooth_chaos", "smooth_mouse", "chaos", "wiggle"])
def test_features_of_complexity_one_and_two_are_not_monotone(name: str, uniform: Tensor) -> None:
    steps = phi_of(name)(uniform, 0.7).diff()
    assert steps.max() > 0 > steps.min()


def test_raw_and_wiggled_features_carry_the_high_frequencies(uniform: Tensor) -> None:
    """Power above 20 cycles: κ = 2 has some, κ = 1 next to none."""

    def share(name: str) -> float:
        power = torch.fft.rfft(phi_of(name)(uniform, 0.7) * torch.hann_window(len(uniform))).abs() ** 2
        return (power[20:].sum() / power.sum()).item()

    assert max(share("smooth_chaos"), share("smooth_mouse"), share("bump")) < 1e-3
    assert min(share("chaos"), share("wiggle")) > 0.05


@pytest.mark.parametrize("name", ALL)
def test_shape_is_kept_and_float32_accepted(name: str) -> None:
    phi = phi_of(name)(torch.rand(2, 3, 4), 0.7)
    assert (phi.shape, phi.dtype) == ((2, 3, 4), torch.float64)
