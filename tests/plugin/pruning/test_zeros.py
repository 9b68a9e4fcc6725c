"""Checkpoints that are sparse already: what is zero is counted, aimed at and made into masks."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import (
    PruningReport,
    Saliency,
    SaliencyVector,
    channel_group,
    compute_masks,
    current_masks,
    finalize,
    mask_hash,
    mask_zeros,
    prune_channels,
    prune_model,
    prune_n_m,
    prune_to_sparsity,
)

NAMES = ["0.weight", "2.weight"]
TOTAL = 16 * 64 + 64 * 32


def sparse(model: nn.Sequential, sparsity: float = 0.8) -> nn.Sequential:
    """As a checkpoint of somebody else: zeros of both signs, no mask."""
    prune_model(model, "random", amount=sparsity, seed=3, finalize=True)
    with torch.no_grad():
        weight = model[0].weight
        weight[0] = torch.where(weight[0] == 0, torch.full_like(weight[0], -0.0), weight[0])
    return model


def zeros_of(model: nn.Sequential) -> int:
    """Counted by hand, on what the model computes with."""
    model(torch.zeros(1, 16))
    return sum(int((model[i].weight == 0).sum()) for i in (0, 2))


@pytest.mark.parametrize("finalize", [False, True])
@pytest.mark.parametrize("amount", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("pool", ["global", "layer", "layer-rank", "row", "erk"])
@pytest.mark.parametrize("method", ["magnitude", "log", "chaos", "random"])
@pytest.mark.filterwarnings("ignore::sics_plugin.VanishedLayerWarning")
def test_a_report_counts_what_is_zero(method: str, pool: str, amount: float, finalize: bool, mlp: nn.Sequential) -> None:
    model = sparse(mlp)
    report = prune_model(model, method, amount=amount, pool=pool, finalize=finalize)
    assert report.zeros == zeros_of(model)
    assert report.zero_fraction == report.zeros / TOTAL
    assert report.to_dict()["zeros"] == report.zeros
    assert ("are zero" in str(report)) is (report.zeros > report.pruned)


@pytest.mark.parametrize("options", [{"exact": False}, {"min_keep": 0.7}, {"exact": True}])
@pytest.mark.parametrize("method", ["magnitude", "chaos"])
def test_in_every_form(method: str, options: dict[str, Any], mlp: nn.Sequential) -> None:
    model = sparse(mlp)
    report = prune_model(model, method, amount=0.25, **options)
    assert report.zeros == zeros_of(model) > report.pruned


def test_scores_that_stand_for_the_weights(mlp: nn.Sequential) -> None:
    model = sparse(mlp)
    pairs = [(model[0], "weight"), (model[2], "weight")]
    report = prune_model(pairs, "magnitude", amount=0.5, importance_scores={p: torch.rand_like(p[0].weight) for p in pairs})
    assert report.zeros == zeros_of(model) > report.pruned


def test_patterns_and_dense_models(mlp: nn.Sequential, make_mlp: Any) -> None:
    model = sparse(mlp)
    assert prune_n_m(model, "magnitude", 2, 4).zeros == zeros_of(model)
    dense = make_mlp()
    report = prune_model(dense, "chaos", amount=0.5)
    assert report.zeros == report.pruned == zeros_of(dense)
    assert "are zero" not in str(report)


def test_the_masks_are_those_of_torch_and_the_line_says_what_is_zero(mlp: nn.Sequential) -> None:
    """0.8 finalized and then 0.5: torch finds the zeros still there, and so does ``amount``."""
    prune_model(mlp, "random", amount=0.794, seed=1, finalize=True)
    twin = copy.deepcopy(mlp)
    masks, _ = compute_masks(mlp, "random", amount=0.5)
    report = prune_model(mlp, "random", amount=0.5)
    assert report.sparsity == 0.5
    fraction = zeros_of(mlp) / TOTAL
    assert 0.88 < fraction < 0.91
    more = report.zeros - report.pruned
    assert f"note: {fraction:.4g} of the weights are zero: {more:,} were before, without a mask; `mask_zeros`" in str(report)
    assert mask_hash(masks) == report.mask_hash
    other = copy.deepcopy(twin)
    prune.global_unstructured([(other[0], "weight"), (other[2], "weight")], prune.L1Unstructured, amount=0.5)
    ours = prune_model(twin, "magnitude", amount=0.5)
    assert ours.pruned == sum(int((other[i].weight_mask == 0).sum()) for i in (0, 2)) == TOTAL // 2
    assert ours.zeros == zeros_of(other) == zeros_of(twin)


# --- an absolute sparsity -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finalized", [False, True])
@pytest.mark.parametrize("method", ["magnitude", "chaos", "random", "gradient"])
def test_a_sparsity_is_of_what_is_zero(method: str, finalized: bool, mlp: nn.Sequential) -> None:
    found = Saliency(mlp, [(torch.randn(8, 16), torch.randint(4, (8,)))])
    model = sparse(mlp, 0.5)
    values = {name: model.get_parameter(name).detach().clone() for name in NAMES}
    before = {name: value == 0 for name, value in values.items()}
    report = prune_to_sparsity(model, method, 0.8, saliency=found, finalize=finalized)
    assert report.sparsity == report.zero_fraction == pytest.approx(0.8, abs=1 / TOTAL)
    assert zeros_of(model) == report.pruned == round(0.8 * TOTAL)
    assert report.amount == report.pruned
    for name, zero in before.items():
        weight = model.get_submodule(name[:1]).weight
        assert not bool(weight[zero].any())
        assert torch.equal(weight[weight != 0], values[name][weight != 0])
    if not finalized:
        assert sum(int((~mask).sum()) for mask in current_masks(model).values()) == report.pruned
    assert prune.is_pruned(model) is not finalized


def test_what_is_ranked_is_the_rest(mlp: nn.Sequential) -> None:
    """As after one call of ``mask_zeros``: the same masks, by any scorer and with any saliency."""
    model = sparse(mlp, 0.5)
    twin = copy.deepcopy(model)
    mask_zeros(twin)
    there = torch.cat([model[i].weight.detach().reshape(-1) for i in (0, 2)])
    vector = SaliencyVector(torch.rand(TOTAL), kind="gradient")
    left = SaliencyVector(vector.as_subclass(Tensor)[there != 0], kind="gradient")
    one = prune_to_sparsity(model, "chaos", 0.8, saliency=vector)
    assert one.mask_hash == prune_to_sparsity(twin, "chaos", 0.8, saliency=left).mask_hash
    assert one.saliency_kind == "gradient"


@pytest.mark.parametrize("finalized", [False, True])
def test_less_than_what_is_zero_is_refused(finalized: bool, mlp: nn.Sequential) -> None:
    prune_model(mlp, "magnitude", amount=0.8, finalize=finalized)
    bits = {name: p.detach().clone() for name, p in mlp.named_parameters()}
    bare = r" \(2,458 zeros without a mask included\)" if finalized else ""
    line = rf"at least 0\.8001, what is already pruned{bare}, got 0\.5"
    with pytest.raises(ValueError, match=line):
        prune_to_sparsity(mlp, "magnitude", 0.5)
    assert all(torch.equal(p, bits[name]) for name, p in mlp.named_parameters())
    assert prune.is_pruned(mlp) is not finalized


def test_the_very_sparsity_that_is_there(mlp: nn.Sequential) -> None:
    prune_model(mlp, "magnitude", amount=0.75, finalize=True)
    report = prune_to_sparsity(mlp, "chaos", 0.75)
    assert (report.sparsity, report.zero_fraction) == (0.75, 0.75)
    assert sum(int((~mask).sum()) for mask in current_masks(mlp).values()) == report.pruned


@pytest.mark.filterwarnings("ignore::sics_plugin.VanishedLayerWarning")
@pytest.mark.parametrize("finalized", [False, True])
def test_all_zero_and_nothing_left(finalized: bool, mlp: nn.Sequential) -> None:
    for i in (0, 2):
        nn.init.zeros_(mlp[i].weight)
    report = prune_to_sparsity(mlp, "chaos", 1.0, finalize=finalized)
    assert (report.sparsity, report.zero_fraction) == (1.0, 1.0)
    assert prune.is_pruned(mlp) is not finalized


@pytest.mark.parametrize(
    "wrong",
    [
        {"saliency": torch.rand(7)},
        {"saliency": SaliencyVector(torch.full((TOTAL,), float("nan")), kind="gradient")},
        {"min_keep": 0.9},
        {"pool": "nowhere"},
        {"alpha": -1.0},
        {"unknown": 3},
    ],
    ids=lambda w: next(iter(w)),
)
@pytest.mark.parametrize("masked_before", [False, True])
def test_a_prune_that_fails_leaves_no_masks_of_zeros(masked_before: bool, wrong: dict[str, Any], mlp: nn.Sequential) -> None:
    model = sparse(mlp, 0.3)
    if masked_before:
        prune.random_unstructured(model[0], "weight", 0.2)
        model(torch.zeros(1, 16))
    bits = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    objects = [(id(m), name, id(value)) for m in model.modules() for name, value in m.__dict__.items() if name != "_parameters"]
    hooks = [list(m._forward_pre_hooks.items()) for m in model.modules()]
    with pytest.raises((ValueError, TypeError)):
        prune_to_sparsity(model, "chaos", 0.8, **wrong)
    assert list(model.state_dict()) == list(bits)
    assert all(torch.equal(tensor, bits[name]) for name, tensor in model.state_dict().items())
    assert bool(torch.signbit(model.get_parameter("0.weight_orig" if masked_before else "0.weight")[0]).any())  # a -0.0 still is
    assert objects == [(id(m), n, id(v)) for m in model.modules() for n, v in m.__dict__.items() if n != "_parameters"]
    assert hooks == [list(m._forward_pre_hooks.items()) for m in model.modules()]


# --- masks from zeros -----------------------------------------------------------------------------------------------------


def test_masks_from_zeros_by_hand() -> None:
    layer = nn.Linear(3, 2, bias=False)
    layer.weight.data = torch.tensor([[0.0, 1.0, -0.0], [2.0, float("nan"), 3.0]])
    held = layer.weight
    masks = mask_zeros(layer)
    assert {name: mask.tolist() for name, mask in masks.items()} == {"weight": [[False, True, False], [True, True, True]]}
    assert layer.weight_orig is held
    assert mask_hash(current_masks(layer)) == mask_hash(masks)
    masks["weight"].zero_()  # the caller's own
    assert int(layer.weight_mask.sum()) == 4


def test_one_call_makes_a_finalized_model_a_pruned_one_again(mlp: nn.Sequential) -> None:
    report = prune_model(mlp, "chaos", amount=0.7)
    x, hooked = torch.randn(3, 16), mlp(torch.ones(1, 16)).detach()
    finalize(mlp)
    masks = mask_zeros(mlp)
    assert mask_hash(masks) == report.mask_hash == mask_hash(current_masks(mlp))
    assert torch.equal(mlp(torch.ones(1, 16)), hooked)
    optimizer = torch.optim.SGD(mlp.parameters(), lr=0.1)
    mlp(x).square().sum().backward()
    optimizer.step()
    assert prune_to_sparsity(mlp, "magnitude", 0.9).sparsity == pytest.approx(0.9, abs=1e-3)
    mlp(x)
    assert not bool(mlp[0].weight[~masks["0.weight"]].any())


def test_layers_without_a_zero_get_none_and_earlier_masks_are_kept(mlp: nn.Sequential) -> None:
    assert mask_zeros(mlp) == {}
    assert not prune.is_pruned(mlp)
    prune.l1_unstructured(mlp[2], "weight", 5)
    mlp[2].weight_orig.data[0, 0] = 0.0
    masks = mask_zeros(mlp)
    assert list(masks) == ["2.weight"]
    assert int((~masks["2.weight"]).sum()) in (5, 6)
    assert not bool(masks["2.weight"][0, 0])
    assert list(mask_zeros([(mlp[2], "weight"), (mlp[0], "weight")])) == ["[0].weight"]


def test_tied_names_get_a_mask_each(tied: nn.Module) -> None:
    prune_model(tied, "magnitude", amount=0.5, finalize=True)
    masks = mask_zeros(tied)
    assert list(masks) == ["first.weight", "second.weight"]
    assert tied.first.weight_orig is tied.second.weight_orig
    assert tied.first.weight_mask.data_ptr() != tied.second.weight_mask.data_ptr()
    report = prune_to_sparsity(tied, "magnitude", 0.75)
    assert (report.total, report.pruned) == (256, 192)


def test_tied_weights_that_are_sparse_without_a_mask(tied: nn.Module) -> None:
    prune_model(tied, "magnitude", amount=0.5, finalize=True)
    report = prune_to_sparsity(tied, "random", 0.75, finalize=True)
    assert (report.total, report.pruned, report.zeros) == (256, 192, 192)
    assert tied.first.weight is tied.second.weight
    assert int((tied.first.weight == 0).sum()) == 192


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.floats(0, 1), st.sampled_from(["magnitude", "random", "chaos"]), st.booleans())
def test_masked_and_bare_zeros_count_alike(bare: int, masked: int, wish: float, method: str, finalized: bool) -> None:
    layer = nn.Linear(10, 12, bias=False)
    order = torch.randperm(120)
    with torch.no_grad():
        layer.weight.view(-1).uniform_(0.1, 1.0)
        layer.weight.view(-1)[order[:bare]] = 0.0
    if masked:
        kept = torch.ones(120, dtype=torch.bool)
        kept[order[30 : 30 + masked]] = False  # some of them on zeros
        prune.custom_from_mask(layer, "weight", kept.view(12, 10))
    there = int(((layer.weight != 0) if not masked else (layer.weight_orig != 0) & (layer.weight_mask != 0)).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if round(wish * 120) < 120 - there:
            with pytest.raises(ValueError, match="what is already pruned"):
                prune_to_sparsity([(layer, "weight")], method, wish, finalize=finalized)
            return
        report = prune_to_sparsity([(layer, "weight")], method, wish, finalize=finalized)
    layer(torch.ones(1, 10))
    assert report.pruned == report.zeros == int((layer.weight == 0).sum()) == round(wish * 120)


def test_reports_of_channels_do_not_count_weights() -> None:
    mlp = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    report = prune_channels(mlp, "magnitude", 0.5, groups=[channel_group(mlp, "0", "2")])
    assert (report.zeros, report.zero_fraction, report.to_dict()["zeros"]) == (None, None, None)
    assert isinstance(report, PruningReport)


@pytest.mark.parametrize("pool", ["layer", "row", "2:4"])
def test_pools_that_have_no_sparsity_of_the_whole_are_refused_by_name(pool: str) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    with pytest.raises(
        ValueError, match=f"Expected `pool` to be 'global', 'layer-rank' or 'erk' for a sparsity of the whole, got '{pool}'"
    ):
        prune_to_sparsity(model, "magnitude", 0.5, pool=pool)
