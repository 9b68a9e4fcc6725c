"""The histogram form of ρ and z against the exact one, and what it must not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sics_plugin import SaliencyVector, compute_masks, prune_model
from sics_plugin.histogram import cut, device_tables, magnitude_bins, saliency_cells, scores, walk
from sics_plugin.pruning import choose
from sics_plugin.scorers import coordinate
from sics_plugin.selection import buffers
from sics_plugin.selection.parts import Part, codes_of
from sics_plugin.selection.threads import in_threads

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


@pytest.mark.parametrize("name", NAMES)
def test_tensor_operations_agree_too(weights, saliency, name: str, monkeypatch) -> None:
    """What an accelerator would run, on the CPU."""
    monkeypatch.setattr(cut, "on_cpu", lambda _: False)
    assert agreement(weights, saliency, name, 0.7) >= 0.999


@pytest.mark.parametrize("supplied", [True, False])
def test_tensor_operations_depend_on_no_piece_either(weights, saliency, supplied: bool, monkeypatch) -> None:
    monkeypatch.setattr(cut, "on_cpu", lambda _: False)
    found = []
    for piece, stretch, group in [(1 << 15, 1 << 23, N), (64, 1 << 12, 9_999), (1 << 12, 1 << 13, 23_000)]:
        monkeypatch.setattr(device_tables, "PIECE", piece)
        monkeypatch.setattr(walk, "STRETCH", stretch)
        pairs = pairs_of(*weights.to(torch.bfloat16).split(group))
        c = saliency if supplied else None
        found.append(flat(compute_masks(pairs, "chaos", amount=0.7, saliency=c, exact=False, min_keep=0)[0]))
    assert all(torch.equal(found[0], other) for other in found)


@pytest.mark.parametrize("alpha", [0.0, 1e-7, 1.0, 500.0])
def test_any_strength_fits_a_score(weights, saliency, alpha: float) -> None:
    pairs = pairs_of(weights)
    for name in ("smooth_chaos", "information"):
        masks = [
            flat(compute_masks(pairs, name, amount=0.6, saliency=saliency, exact=exact, alpha=alpha)[0])
            for exact in (False, True)
        ]
        assert float((masks[0] == masks[1]).double().mean()) >= 0.999


def test_bins_that_are_left_out_change_nothing(weights, saliency, monkeypatch) -> None:
    """Counting only the bins that can reach the cut gives the mask of counting all of them."""
    for amount in (0.05, 0.5, 0.95):
        monkeypatch.setattr(cut, "SLACK", 0.01)
        few = flat(compute_masks(pairs_of(weights), "bump", amount=amount, saliency=saliency, exact=False)[0])
        monkeypatch.setattr(cut, "SLACK", 100.0)
        assert torch.equal(few, flat(compute_masks(pairs_of(weights), "bump", amount=amount, saliency=saliency, exact=False)[0]))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(["normal", "ties", "zeros", "narrow"]),
    gone=st.booleans(),
    sign=st.booleans(),
)
def test_bins_are_those_of_ranks(seed: int, kind: str, gone: bool, sign: bool) -> None:
    """Every unit's bin is that of its exact rank, ties by position, whatever the data and earlier masks; ρ is close."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(3000, generator=generator)
    values = {
        "normal": normal,
        "ties": (normal * 3).round(),
        "zeros": torch.where(normal > 0.5, normal, torch.zeros(())),
        "narrow": 1 + normal * 1e-5,
    }[kind]
    masks = [torch.rand(1500, generator=generator) > 0.3 if gone else None for _ in range(2)]
    parts = [
        Part(v, m, lambda v=v, m=m: (v if m is None else v[m]) * (-1 if sign else 1))
        for v, m in zip(values.split(1500), masks, strict=True)
    ]
    n = sum(p.present for p in parts)
    cells, _ = cut.FirstLook.at(parts, n)
    found = magnitude_bins.Bins.of(parts, n, cells)
    left = torch.cat([p.values if p.mask is None else p.values[p.mask] for p in parts])
    code = codes_of(left, torch.int32).numpy()
    place = found.places(code, 0, None, np.empty_like(code), np.empty_like(code))
    rank = coordinate.ranks(left.abs()).numpy()
    assert (place >> magnitude_bins.RHO_BITS).tolist() == (rank * found.count // n).tolist()
    rho = (place & magnitude_bins.RHO_MASK) * 2.0**-magnitude_bins.RHO_BITS
    assert abs(rho - (rank + 0.5) / n).max() <= 1 / found.count


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_ties_go_to_their_bins_by_position(weights, saliency, dtype: torch.dtype) -> None:
    assert agreement(weights.to(dtype), saliency, "chaos", 0.7) >= 0.999


def test_weights_of_nearly_one_magnitude(weights, saliency) -> None:
    assert agreement(1 + weights * 0.01, saliency, "chaos", 0.7) >= 0.998  # they are 6 000 distinct numbers


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
    before, found = torch.get_num_threads(), []
    cases = [(1 << 15, 1 << 23, 1, N), (1 << 12, 1 << 13, 3, N), (64, 1 << 12, 2, 9_999), (1 << 15, 1 << 23, 2, 23_000)]
    for piece, stretch, threads, group in cases:
        monkeypatch.setattr(buffers, "CHUNK", piece)
        monkeypatch.setattr(walk, "STRETCH", stretch)
        monkeypatch.setattr("sics_plugin.selection.threads.workers", lambda threads=threads: threads)
        half = weights.to(torch.bfloat16)  # ties, so that positions matter
        masks = compute_masks(pairs_of(*half.split(group)), "chaos", amount=0.7, saliency=c, exact=False)[0]
        found.append(flat(masks))
    assert all(torch.equal(found[0], other) for other in found)
    assert torch.get_num_threads() == before


def test_steps_are_longer_where_buffers_come_anyway_and_change_nothing(weights, saliency, monkeypatch) -> None:
    monkeypatch.setattr(buffers, "CHUNK", 1 << 10)
    monkeypatch.setattr(buffers, "LARGE", 1 << 13)
    sizes, hashes = [], []
    room = buffers.Room

    def noted(size: int) -> buffers.Room:
        sizes.append(size)
        return room(size)

    monkeypatch.setattr(buffers, "Room", noted)
    for more in ({}, {"finalize": True}):
        pairs = pairs_of(*weights.split(23_000))
        hashes.append(prune_model(pairs, "chaos", amount=0.7, saliency=saliency, exact=False, **more).mask_hash)
        hashes.append(
            compute_masks(pairs_of(*weights.split(23_000)), "chaos", amount=0.7, saliency=saliency, exact=False)[1].mask_hash
        )
    assert len(set(hashes)) == 1
    assert set(sizes) == {1 << 10, 1 << 13}
    assert buffers.step_size() == 1 << 10


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
    monkeypatch.setattr(choose, "HISTOGRAM_ABOVE", N - 1)
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
    for wrong in (scores.Bracket(5 << 23, 6 << 23), scores.Bracket(-6 << 23, -5 << 23)):
        monkeypatch.setattr(scores.Bracket, "of", lambda *_, wrong=wrong: wrong)
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


# --- data made to mislead it ---------------------------------------------------------------------------------------------

HARD = {
    "one magnitude": lambda w, c, r: (torch.full_like(w, -0.3), c),
    "nothing but zeros": lambda w, c, r: (torch.zeros_like(w), c),
    "two magnitudes": lambda w, c, r: (torch.where(r > 0.4, 0.1, 0.2), c),
    "one saliency": lambda w, c, r: (w, torch.ones_like(c)),
    "two saliencies": lambda w, c, r: (w, (r > 0.3).float()),
    "all alike": lambda w, c, r: (torch.ones_like(w), torch.zeros_like(c)),
    "a tie of nine tenths": lambda w, c, r: (w, torch.where(r < 0.9, torch.zeros_like(c), c)),
    "a tie in the middle": lambda w, c, r: (w, torch.where(r < 0.5, c.median(), c)),
    "subnormal weights": lambda w, c, r: (w * 1e-40, c),
    "subnormal saliencies": lambda w, c, r: (w, c * 1e-40),
    "a grid of integers": lambda w, c, r: ((w * 500).round() / 500, c),
    "halves in float32": lambda w, c, r: (w.half().float(), c),
    "one outlier": lambda w, c, r: (torch.cat([w[:-1], torch.tensor([3e38])]), c),
    "saliencies of both signs": lambda w, c, r: (w, c * torch.where(r < 0.5, -1, 1)),
    "saliencies of all sizes": lambda w, c, r: (w, (c / w.abs()).log().mul(15).exp().clamp(max=1e38)),
    "the magnitude as saliency": lambda w, c, r: (w, w.abs()),
    "nearly the magnitude": lambda w, c, r: (w, w.abs() * (1 + r * 0.3)),
    "less saliency where more magnitude": lambda w, c, r: (w, -w.abs()),
    "one huge saliency": lambda w, c, r: (w, torch.cat([c[:-1], torch.tensor([3e38])])),
    "sorted weights": lambda w, c, r: (w[w.abs().argsort()], c),
    "both sorted": lambda w, c, r: (w[w.abs().argsort()], c.sort().values),
    "layers of all scales": lambda w, c, r: tuple(x * 10.0 ** (torch.arange(len(x)) * 8 // len(x) - 5) for x in (w, c)),
}


@pytest.mark.parametrize("kind", HARD)
def test_hard_cases_agree_however_they_are_grouped(weights, saliency, kind: str) -> None:
    """One giant layer with many tiny ones, and the same units in equal layers: the exact form's mask, the same in both."""
    r = torch.rand(N, generator=torch.Generator().manual_seed(2))
    values, c = HARD[kind](weights, saliency.as_subclass(Tensor), r)
    given = {"amount": 0.7, "saliency": SaliencyVector(c, kind="gradient")}
    uneven = pairs_of(*values.split([N - 2_000, *[20] * 100]))
    exact = compute_masks(uneven, "chaos", exact=True, min_keep=0, **given)[0]
    found = compute_masks(uneven, "chaos", exact=False, min_keep=0, **given)[0]
    assert float((flat(found) == flat(exact)).double().mean()) >= 0.999
    assert int(flat(found).sum()) == N - round(0.7 * N)
    assert torch.equal(flat(found), flat(compute_masks(pairs_of(*values.split(9_999)), "chaos", exact=False, **given)[0]))


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.3, 0.5])
def test_a_saliency_that_follows_the_magnitude_is_resolved(noise: float) -> None:
    """Such units of one bin share few cells, unless cells are those of the bin's own range."""
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(400_000, generator=generator)
    c = w.abs() * (noise * torch.randn(400_000, generator=generator)).exp()
    assert agreement(w, SaliencyVector(c, kind="gradient"), "chaos", 0.7) >= 0.999


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**31), scale=st.sampled_from([1e-42, 1e-6, 1.0, 1e30]), kind=st.sampled_from(["wide", "ties", "near"])
)
def test_cells_are_in_the_order_of_saliencies(seed: int, scale: float, kind: str) -> None:
    """And equal saliencies of a bin share one, whichever way cells are chosen; those beyond the sample are in the end cells."""
    generator = torch.Generator().manual_seed(seed)
    m = torch.randn(5_000, generator=generator).abs()
    c = {"wide": torch.randn(5_000, generator=generator) * 9, "ties": (m * 8).round(), "near": m}[kind]
    code = saliency_cells.saliency_codes((c * scale).clamp(-3e38, 3e38).numpy())
    bin_of = (coordinate.ranks(m).numpy() * 19 // 5_000).astype(np.int32)
    spread = saliency_cells.Spread.of(code[::3].copy(), bin_of[::3] << magnitude_bins.RHO_BITS, 19)
    cell = spread.cells(code, bin_of << magnitude_bins.RHO_BITS, np.empty_like(code), np.empty(5_000, np.int16))
    order = np.lexsort((code, bin_of))
    same_bin = bin_of[order][1:] == bin_of[order][:-1]
    steps = np.diff(cell[order].astype(int))
    assert (steps[same_bin] >= 0).all()
    assert (steps[same_bin & (np.diff(code[order].astype(np.int64)) == 0)] == 0).all()


def test_an_error_in_one_thread_ends_the_walk_and_is_raised(monkeypatch) -> None:
    monkeypatch.setattr("sics_plugin.selection.threads.workers", lambda: 3)
    met = []

    def step(i: int, begin: int, end: int) -> int:
        met.append(i)
        if i == 2:
            raise NotImplementedError("here")
        return i

    assert in_threads(step, [(0, 0, 0), (1, 0, 0)]) == [0, 1]
    with pytest.raises(NotImplementedError, match="here"):
        in_threads(step, [(i, 0, 0) for i in range(10_000)])
    assert len(met) < 10_000
    assert in_threads(lambda i, *_: -i, [(i, 0, 0) for i in range(50)]) == [-i for i in range(50)]
