"""The histogram form of ρ and z against the exact one, and what it must not depend on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sics_plugin import SaliencyVector, compute_masks, histogram, pool, prune_model

NAMES = ["chaos", "smooth_chaos", "smooth_mouse", "wiggle", "bump", "information"]
N = 60_000


def pairs_of(*values: Tensor) -> list[tuple[nn.Module, str]]:
    modules = [nn.Module() for _ in values]
    for module, value in zip(modules, values, strict=True):
        module.weight = nn.Parameter(value.clone())
    return [(module, "weight") for module in modules]


def flat(masks: dict[str, Tensor]) -> Tensor:
    return torch.cat([m.reshape(-1) for m in masks.values()])


@pytest.fixture(scope="module")
def weights() -> Tensor:
    return torch.randn(N, generator=torch.Generator().manual_seed(0)) * 0.02


@pytest.fixture(scope="module")
def saliency(weights: Tensor) -> SaliencyVector:
    c = torch.randn(N, generator=torch.Generator().manual_seed(1)).exp() * (weights.abs() + 0.004)
    return SaliencyVector(c, kind="gradient")


def agreement(values: Tensor, c: Tensor | None, name: str, amount: float) -> float:
    pairs = pairs_of(*values.split(23_000))
    fast, report = compute_masks(pairs, name, amount=amount, saliency=c, exact=False)
    exact, other = compute_masks(pairs, name, amount=amount, saliency=c, exact=True)
    assert (report.form, other.form) == ("histogram", "exact")
    assert report.pruned == other.pruned == round(amount * len(values))
    assert report.threshold == pytest.approx(other.threshold, abs=2e-3)
    return float((flat(fast) == flat(exact)).double().mean())


@pytest.mark.parametrize("amount", [0.5, 0.8])
@pytest.mark.parametrize("name", NAMES)
def test_it_agrees_with_the_exact_form(weights, saliency, name: str, amount: float) -> None:
    assert agreement(weights, saliency, name, amount) >= 0.999


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_ties_go_to_their_bins_by_position(weights, saliency, dtype: torch.dtype) -> None:
    assert agreement(weights.to(dtype), saliency, "chaos", 0.7) >= 0.999


def test_weights_that_are_mostly_zero(weights, saliency) -> None:
    assert agreement(torch.where(weights.abs() > 0.015, weights, torch.zeros(())), saliency, "smooth_chaos", 0.7) >= 0.999


def test_saliencies_that_are_mostly_equal(weights, saliency) -> None:
    c = torch.where(saliency > saliency.median(), saliency.as_subclass(Tensor), torch.zeros(()))
    assert agreement(weights, c, "chaos", 0.7) >= 0.999
    assert agreement(weights, -c, "chaos", 0.7) >= 0.999


def test_without_a_saliency_the_neighbourhood_crosses_borders(weights) -> None:
    assert agreement(weights, None, "chaos", 0.7) >= 0.999


@pytest.mark.parametrize("supplied", [True, False])
def test_nothing_depends_on_pieces_threads_or_grouping(weights, saliency, supplied: bool, monkeypatch) -> None:
    c = saliency if supplied else None
    found = []
    settings = [(1 << 15, 1 << 23, 1, N), (1 << 12, 1 << 13, 3, N), (64, 1 << 12, 2, 9_999), (1 << 15, 1 << 23, 2, 23_000)]
    for piece, stretch, threads, group in settings:
        monkeypatch.setattr(histogram, "PIECE", piece)
        monkeypatch.setattr(histogram, "STRETCH", stretch)
        torch.set_num_threads(threads)
        half = weights.to(torch.bfloat16)  # ties, so that positions matter
        masks = compute_masks(pairs_of(*half.split(group)), "chaos", amount=0.7, saliency=c, exact=False)[0]
        found.append(flat(masks))
    assert all(torch.equal(found[0], other) for other in found)
    assert torch.get_num_threads() == 2


def test_what_is_left_of_an_earlier_prune(weights, saliency) -> None:
    results = []
    for exact in (False, True):
        pairs = pairs_of(*weights.split(23_000))
        prune_model(pairs, "magnitude", amount=0.3)
        present = torch.cat([m.weight_mask.reshape(-1) for m, _ in pairs])
        left = SaliencyVector(saliency.as_subclass(Tensor)[present], kind="gradient")
        masks, report = compute_masks(pairs, "smooth_chaos", amount=0.5, saliency=left, exact=exact)
        assert report.pruned == round(0.3 * N) + round(0.5 * (N - round(0.3 * N)))
        assert not bool((flat(masks) & ~present).any())
        results.append(flat(masks))
    assert float((results[0] == results[1]).double().mean()) >= 0.999


def test_the_form_is_chosen_by_size_and_can_be_forced(weights, saliency, monkeypatch) -> None:
    pairs = pairs_of(weights)
    forms = lambda **given: compute_masks(pairs, "chaos", amount=0.5, saliency=saliency, **given)[1].form  # noqa: E731
    assert [forms(), forms(exact=None), forms(exact=False), forms(exact=True)] == ["exact", "exact", "histogram", "exact"]
    monkeypatch.setattr(pool, "HISTOGRAM_ABOVE", N - 1)
    assert [forms(), forms(exact=None)] == ["exact", "histogram"]
    assert compute_masks(pairs, "magnitude", amount=0.5, exact=False)[1].form == "exact"
    assert compute_masks(pairs, "fake", amount=0.5, saliency=saliency, exact=False)[1].form == "exact"
    with pytest.raises(ValueError, match="`exact`"):
        compute_masks(pairs, "chaos", amount=0.5, exact="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", [0, 1, N - 1, N])
def test_exactly_k_at_the_ends(weights, saliency, amount: int) -> None:
    report = prune_model(pairs_of(weights), "chaos", amount=amount, saliency=saliency, exact=False, finalize=True)
    assert (report.pruned, report.form) == (amount, "histogram")


def test_a_bracket_that_misses_is_widened(weights, saliency, monkeypatch) -> None:
    expected = flat(compute_masks(pairs_of(weights), "chaos", amount=0.6, saliency=saliency, exact=False)[0])
    for wrong in ((5.0, 6.0), (-6.0, -5.0)):
        monkeypatch.setattr(histogram, "_bracket", lambda *_, wrong=wrong: wrong)
        assert torch.equal(
            flat(compute_masks(pairs_of(weights), "chaos", amount=0.6, saliency=saliency, exact=False)[0]), expected
        )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(weights, saliency, bad: float) -> None:
    broken = weights.clone()
    broken[5] = bad
    with pytest.raises(ValueError, match="finite values to prune, got 1 NaN"):
        prune_model(pairs_of(broken), "chaos", amount=0.5, saliency=saliency, exact=False)
    c = saliency.as_subclass(Tensor).clone()
    c[7] = bad
    with pytest.raises(ValueError, match="finite `saliency`, got 1 NaN"):
        prune_model(pairs_of(weights), "chaos", amount=0.5, saliency=c, exact=False)


def test_a_floor_is_kept(weights, saliency) -> None:
    small = weights[:1000] * 1e-3
    pairs = pairs_of(weights, small)
    c = torch.cat([saliency.as_subclass(Tensor), saliency.as_subclass(Tensor)[:1000] * 1e-3])
    for name in ("chaos", "magnitude"):
        report = prune_model(pairs_of(weights, small), name, amount=0.5, saliency=c, exact=False, min_keep=100, finalize=True)
        assert report.layers[1].total - report.layers[1].pruned >= 100
    assert compute_masks(pairs, "magnitude", amount=0.5)[1].layers[1].pruned == 1000
