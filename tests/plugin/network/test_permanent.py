"""Masks made permanent: zeros of one sign, and tied weights that stay what they compute."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import current_masks, finalize, install_mask, prune_model, prune_n_m, prune_to_sparsity

TOKENS = torch.arange(12)
Finish = Callable[[nn.Module, list[tuple[nn.Module, str]]], object]

#: Each prunes the pairs by half of their magnitudes for good. ``model`` first: who is handed over is known or not.
MODEL_KNOWN: dict[str, Finish] = {
    "prune_model, finalize": lambda model, pairs: (prune_model(pairs, "magnitude", amount=0.5), finalize(model)),
    "torch, finalize": lambda model, pairs: (prune.global_unstructured(_distinct(pairs), prune.L1Unstructured, amount=0.5),
                                             finalize(model)),
}  # fmt: skip
PAIRS_ALONE: dict[str, Finish] = {
    "finalize=True": lambda model, pairs: prune_model(pairs, "magnitude", amount=0.5, finalize=True),
    "to sparsity": lambda model, pairs: prune_to_sparsity(pairs, "magnitude", 0.5, finalize=True),
    "N:M": lambda model, pairs: prune_n_m(pairs, "magnitude", 2, 4, finalize=True),
    "histogram": lambda model, pairs: prune_model(pairs, "chaos", amount=0.5, finalize=True, exact=False),
    "in two steps": lambda model, pairs: (
        prune_model(pairs, "magnitude", amount=0.25),
        prune_model(pairs, "magnitude", amount=0.5, finalize=True),
    ),
    "nothing left to rank": lambda model, pairs: (
        prune_to_sparsity(pairs, "magnitude", 1.0),
        prune_to_sparsity(pairs, "magnitude", 1.0, finalize=True),
    ),
}


def _distinct(pairs: list[tuple[nn.Module, str]]) -> list[tuple[nn.Module, str]]:
    return pairs[:1]


def no_negative_zero(weight: Tensor) -> bool:
    return not bool(torch.signbit(weight[weight == 0]).any())


@pytest.mark.filterwarnings("ignore::sics_plugin.VanishedLayerWarning")
@pytest.mark.parametrize("how", PAIRS_ALONE | MODEL_KNOWN)
@pytest.mark.parametrize("pruned", ["decoder", "embedding", "first", "second"])
def test_zeros_of_one_name_never_reach_the_other(how: str, pruned: str, tied: nn.Module) -> None:
    other = {"decoder": "embedding", "embedding": "decoder", "first": "second", "second": "first"}[pruned]
    dense = getattr(tied, other).weight.detach().clone()
    hooked = copy.deepcopy(tied)
    mine = getattr(tied, pruned)
    if (how, pruned) == ("N:M", "embedding"):
        with pytest.raises(ValueError, match="are its outputs is not known for a Embedding"):
            PAIRS_ALONE[how](tied, [(mine, "weight")])
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (PAIRS_ALONE | MODEL_KNOWN)[how](tied, [(mine, "weight")])
    assert torch.equal(getattr(tied, other).weight, dense)
    assert not prune.is_pruned(tied)
    zero = mine.weight == 0
    assert int(zero.sum()) >= zero.numel() // 2
    assert no_negative_zero(mine.weight)
    install_mask(getattr(hooked, pruned), "weight", ~zero)
    assert torch.equal(tied(TOKENS), hooked(TOKENS))  # what a mask on that name computes


@pytest.mark.parametrize("how", MODEL_KNOWN)
@pytest.mark.parametrize(("pruned", "line"), [
    ("decoder", "untied: decoder.weight from embedding.weight; they are not pruned alike"),
    ("first", "untied: first.weight from second.weight; they are not pruned alike"),
])  # fmt: skip
def test_an_untied_weight_is_said_once(how: str, pruned: str, line: str, tied: nn.Module) -> None:
    with pytest.warns(UserWarning, match=f"^{re.escape(line)}") as said:
        MODEL_KNOWN[how](tied, [(getattr(tied, pruned), "weight")])
    assert len(said) == 1
    assert said[0].filename == __file__


def test_a_model_pruned_by_default_says_so_too(tied: nn.Module) -> None:
    """The default list is ``first`` and ``second``, both names of one weight; a third holder is outside of it."""
    tied.norm = nn.Module()
    tied.norm.weight = tied.first.weight
    dense = tied.norm.weight.detach().clone()
    line = "^untied: first.weight from norm.weight, second.weight from norm.weight; "
    with pytest.warns(UserWarning, match=line):
        prune_model(tied, "magnitude", amount=0.5, finalize=True)
    assert tied.first.weight is tied.second.weight
    assert tied.first.weight is not tied.norm.weight
    assert torch.equal(tied.norm.weight, dense)


@pytest.mark.parametrize("how", ["finalize=True", "prune_model, finalize"])
def test_names_pruned_alike_stay_tied(how: str, tied: nn.Module) -> None:
    held = tied.first.weight
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (PAIRS_ALONE | MODEL_KNOWN)[how](tied, [(tied.first, "weight"), (tied.second, "weight")])
    assert tied.first.weight is tied.second.weight
    assert int((tied.first.weight == 0).sum()) == 128
    assert (tied.first.weight is held) is (how != "finalize=True")  # pairs: nobody knows who else holds it


def test_the_whole_model_at_once_keeps_parameters_and_ties(tied: nn.Module) -> None:
    before = {name: id(p) for name, p in tied.named_parameters(remove_duplicate=False)}
    prune_model(tied, "magnitude", amount=0.5, finalize=True)
    assert {name: id(p) for name, p in tied.named_parameters(remove_duplicate=False)} == before
    assert list(dict(tied.named_parameters(remove_duplicate=False))) == list(before)


def test_tied_names_of_different_masks_are_untied(tied: nn.Module) -> None:
    """Each of them computes with its own mask; one parameter cannot."""
    prune.random_unstructured(tied.first, "weight", 0.5)
    prune.random_unstructured(tied.second, "weight", 0.5)
    masks, hooked = current_masks(tied), tied(TOKENS).detach()
    held = tied.first.weight_orig
    with pytest.warns(UserWarning, match=r"^untied: second\.weight from first\.weight;"):
        finalize(tied)
    assert torch.equal(tied(TOKENS), hooked)
    assert tied.first.weight is held
    for name, mask in masks.items():
        assert torch.equal(tied.get_parameter(name) != 0, mask)


def test_a_parameter_of_its_own_is_as_the_shared_one_was(tied: nn.Module) -> None:
    tied.first.weight.requires_grad_(False)
    tied.first.weight.mark = "kept"  # type: ignore[attr-defined]
    prune_model([(tied.first, "weight")], "magnitude", amount=0.5, finalize=True)
    assert type(tied.first.weight) is nn.Parameter
    assert not tied.first.weight.requires_grad
    assert tied.first.weight.mark == "kept"  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", ["plain", "channels_last", "transposed"])
def test_no_zero_is_negative_and_what_stays_keeps_its_bits(layout: str, dtype: torch.dtype) -> None:
    """torch's own ``remove`` leaves -w · 0 = -0.0, and NaN where a weight is infinite."""
    layer = nn.Conv2d(4, 8, 3).to(dtype)
    if layout == "channels_last":
        layer = layer.to(memory_format=torch.channels_last)
    elif layout == "transposed":
        layer.weight = nn.Parameter(layer.weight.detach().transpose(0, 1).contiguous().transpose(0, 1))
    layer.weight.data[0, 0, 0] = torch.tensor([float("inf"), float("nan"), -0.0])
    dense, mask = layer.weight.detach().clone(), torch.rand(8, 4, 3, 3) > 0.5
    mask[0, 0, 0] = torch.tensor([False, False, True])
    torchs = copy.deepcopy(layer)
    prune.custom_from_mask(torchs, "weight", mask)
    finalize(torchs)
    install_mask(layer, "weight", mask)
    layer(torch.randn(1, 4, 4, 4, dtype=dtype))  # the hook's own product has negative zeros
    finalize(layer)
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    for found in (layer.weight.detach(), torchs.weight.detach()):
        assert bool((found.contiguous().view(whole)[~mask] == 0).all())
        assert torch.equal(found.contiguous().view(whole)[mask], dense.contiguous().view(whole)[mask])
        assert isinstance(layer.weight, nn.Parameter)


def test_containers_and_other_hooks() -> None:
    layer = nn.Linear(8, 8)
    seen: list[int] = []
    layer.register_forward_pre_hook(lambda *_: seen.append(1))
    prune.l1_unstructured(layer, "weight", 0.25)
    prune.random_unstructured(layer, "weight", 0.25)
    prune.l1_unstructured(layer, "bias", 0.5)
    finalize(layer)
    layer(torch.ones(1, 8))
    assert (seen, len(layer._forward_pre_hooks)) == ([1], 1)
    assert int((layer.weight == 0).sum()) == 16 + 12
    assert int((layer.bias == 0).sum()) == 4
