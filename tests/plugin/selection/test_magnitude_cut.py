"""The streamed magnitude cut against sorting, for every type, ties, zeros, denormals, earlier masks, chunk sizes and threads."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import compute_masks, current_masks, mask_hash, prune_model
from sics_plugin.selection import buffers
from sics_plugin.selection import magnitude_cut as cuts
from sics_plugin.selection import parts as walk
from sics_plugin.selection.magnitude_cut import Cut, kept_masks, magnitude_cut
from sics_plugin.selection.parts import Part

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


def sorted_reference(parts: list[Part], k: int) -> Tensor:
    values = torch.cat([p.values.reshape(-1).double().abs() for p in parts])
    present = torch.cat([torch.ones(p.numel, dtype=torch.bool) if p.mask is None else p.mask.reshape(-1) != 0 for p in parts])
    left = present.nonzero().squeeze(1)
    kept = present.clone()
    kept[left[torch.argsort(values[left], stable=True)[:k]]] = False
    return kept


def vector(draw: st.DrawFn) -> Tensor:
    n, seed = draw(st.integers(0, 200)), draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    kind = draw(st.sampled_from(["normal", "ties", "denormal", "zeros", "mixed"]))
    normal = torch.randn(n, generator=generator)
    values = {
        "normal": normal,
        "ties": (normal * 2).round(),
        "denormal": normal * 1e-40,
        "zeros": torch.zeros(n) * normal.sign(),
        "mixed": torch.where(normal > 0, normal, torch.zeros(n)),
    }[kind]
    return values.to(draw(st.sampled_from(DTYPES)))


@st.composite
def pools(draw: st.DrawFn) -> list[Part]:
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        values = vector(draw)
        seed = draw(st.none() | st.integers(0, 2**31))
        mask = None if seed is None else torch.rand(len(values), generator=torch.Generator().manual_seed(seed)) > 0.4
        parts.append(Part(values, mask))
    return parts


@settings(deadline=None, max_examples=80)
@given(
    parts=pools(),
    share=st.floats(0, 1),
    chunk=st.sampled_from([1, 7, 64, 1 << 17]),
    span=st.sampled_from([1, 50, 1 << 20]),
    sample=st.sampled_from([1, 4, 30, 1 << 16]),
    threads=st.sampled_from([1, 3]),
    way=st.sampled_from(["bracket", "radix", "device"]),
)
def test_every_way_equals_sorting(parts, share, chunk, span, sample, threads, way: str) -> None:
    present = sum(p.present for p in parts)
    if not present:
        with pytest.raises(ValueError, match="at least one unit to rank"):
            magnitude_cut(parts, 0)
        return
    k = round(share * present)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffers, "CHUNK", chunk)
        patch.setattr(walk, "SPAN", span)
        patch.setattr(cuts, "SAMPLE", sample)
        if way == "device":  # what an accelerator would run, on the CPU
            patch.setattr(cuts, "on_cpu", lambda _: False)
        patch.setattr("sics_plugin.selection.threads.workers", lambda threads=threads: threads)
        cut = cuts._by_radix(parts, walk.code_type(parts), k) if way == "radix" and k else magnitude_cut(parts, k)
        kept = torch.cat(list(kept_masks(parts, cut)))
    assert torch.equal(kept, sorted_reference(parts, k))


def test_a_sample_that_misleads_costs_time_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A strided sample of a period that meets only the largest values."""
    monkeypatch.setattr(cuts, "SAMPLE", 16)
    values = torch.rand(1600) * 0.1
    values[::100] = 5.0
    called = []
    monkeypatch.setattr(cuts, "_by_radix", lambda *args, run=cuts._by_radix: called.append(args) or run(*args))
    cut = magnitude_cut([Part(values)], 800)
    assert called
    assert torch.equal(next(kept_masks([Part(values)], cut)), sorted_reference([Part(values)], 800))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_is_refused_with_the_count(bad: float, k: int, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="Expected finite values to prune, got 2 NaN or infinite of 5"):
        magnitude_cut([Part(torch.tensor([1.0, bad, 2.0], dtype=dtype)), Part(torch.tensor([bad, 0.0], dtype=dtype))], k)


def test_what_an_earlier_prune_took_may_be_anything() -> None:
    part = Part(torch.tensor([math.nan, 1.0, 2.0]), torch.tensor([0, 1, 1]))
    assert next(kept_masks([part], magnitude_cut([part], 1))).tolist() == [False, False, True]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="meta device"):
        magnitude_cut([Part(torch.empty(3, device="meta"))], 1)
    with pytest.raises(TypeError, match="floating point"):
        magnitude_cut([Part(torch.arange(3))], 1)
    with pytest.raises(ValueError, match="0 <= k <= 2"):
        magnitude_cut([Part(torch.ones(2))], 3)


def test_the_cut_is_the_highest_magnitude_that_goes() -> None:
    cut = magnitude_cut([Part(torch.tensor([0.5, -0.25, 2.0]))], 2)
    assert isinstance(cut, Cut)
    assert cut.magnitude() == 0.5


# --- whole models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finalize", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_views_and_layouts_are_pruned_as_their_values(finalize: bool, dtype: torch.dtype) -> None:
    """Transposed, strided, expanded; what shares their memory stays as it is."""
    base = torch.randn(40, 30).to(dtype)
    layers = [nn.Module() for _ in range(3)]
    for layer, value in zip(layers, [base.t(), base[::2, ::3], torch.randn(1, 9).to(dtype).expand(4, 9)], strict=True):
        layer.weight = nn.Parameter(value)
    before, dense = base.clone(), [layer.weight.detach().clone() for layer in layers]
    pairs = [(layer, "weight") for layer in layers]
    parts = [Part(d.contiguous()) for d in dense]
    expected = sorted_reference(parts, 500).split([d.numel() for d in dense])
    report = prune_model(pairs, "magnitude", amount=500, finalize=finalize)
    assert report.pruned == 500
    for layer, d, kept in zip(layers, dense, expected, strict=True):
        assert torch.equal(layer.weight.detach(), torch.where(kept.view(d.shape), d, torch.zeros((), dtype=dtype)))
    assert torch.equal(base, before)


def test_float8_weights() -> None:
    layer = nn.Module()
    layer.weight = nn.Parameter(torch.randn(8, 8).to(torch.float8_e4m3fn), requires_grad=False)
    dense = layer.weight.detach().float()
    with pytest.raises(TypeError, match="finalize=True"):
        prune_model([(layer, "weight")], "magnitude", amount=0.5)
    prune_model([(layer, "weight")], "magnitude", amount=0.5, finalize=True)
    kept = sorted_reference([Part(dense)], 32).view(8, 8)
    assert torch.equal(layer.weight.float(), torch.where(kept, dense, torch.zeros(())))


def test_hooks_made_here_are_torchs(mlp: nn.Sequential) -> None:
    dense = mlp[0].weight.detach().clone()
    prune_model(mlp, "magnitude", amount=0.5)
    assert prune.is_pruned(mlp)
    assert mlp[0].weight_mask.dtype == torch.bool
    x = torch.randn(3, 16)
    first = mlp(x)
    prune.l1_unstructured(mlp[0], "weight", 10)  # a later prune of torch's, on top
    assert int((mlp[0].weight_mask == 0).sum()) >= 10
    prune.remove(mlp[2], "weight")
    assert isinstance(mlp[2].weight, nn.Parameter)
    prune.remove(mlp[0], "weight")
    assert not prune.is_pruned(mlp)
    assert torch.equal(mlp[0].weight != 0, (mlp[0].weight == dense) & (mlp[0].weight != 0))
    assert first.shape == (3, 4)


def test_the_hash_of_a_finalized_prune_is_that_of_its_masks(make_mlp) -> None:
    model = make_mlp((7, 13, 9, 3))
    masks, report = compute_masks(model, "magnitude", amount=0.6)
    assert report.mask_hash == mask_hash(masks)
    assert prune_model(model, "magnitude", amount=0.6, finalize=True).mask_hash == report.mask_hash
    assert current_masks(model) == {}


def test_log_and_power_report_their_own_threshold(mlp: nn.Sequential) -> None:
    m = torch.cat([mlp[i].weight.detach().reshape(-1).abs() for i in (0, 2)]).double()
    cut = m.sort().values[round(0.7 * len(m)) - 1]
    found = {name: compute_masks(mlp, name, amount=0.7)[1].threshold for name in ("magnitude", "power", "log")}
    rms = m.square().mean().sqrt()
    assert found == pytest.approx({"magnitude": float(cut), "power": float(cut**2), "log": float(torch.log1p(cut / rms))})
