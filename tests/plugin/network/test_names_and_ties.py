"""Names of wrapped models, tied weights under several masks, tiny gradients, and pruning everything twice."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sics_plugin import Saliency, compute_masks, current_masks, masked, prune_model, prune_to_sparsity
from sics_plugin.network.targets import dense_parameters


def test_a_wrapped_model_has_the_names_and_hash_of_its_inside(mlp: nn.Sequential) -> None:
    x, y = torch.randn(8, 16), torch.randint(4, (8,))
    inside = Saliency(mlp, [(x, y)])
    expected, report = compute_masks(mlp, "chaos", amount=0.5, saliency=inside)
    for wrapped in (
        nn.DataParallel(mlp),
        torch.compile(mlp, backend="eager"),
        torch.compile(nn.DataParallel(mlp), backend="eager"),
    ):
        masks, found = compute_masks(wrapped, "chaos", amount=0.5, saliency=inside)
        assert list(masks) == list(expected) == ["0.weight", "2.weight"]
        assert found.mask_hash == report.mask_hash
        assert [layer.name for layer in found.layers] == list(expected)
        with masked(wrapped, masks):
            assert int((mlp[0].weight == 0).sum()) == int((~masks["0.weight"]).sum())
    outside = Saliency(nn.DataParallel(copy.deepcopy(mlp)), [(x, y)])
    assert outside.digest == inside.digest
    assert compute_masks(mlp, "chaos", amount=0.5, saliency=outside.bind(mlp))[1].mask_hash == report.mask_hash
    prune_model(nn.DataParallel(mlp), "magnitude", amount=0.5)
    assert list(current_masks(nn.DataParallel(mlp))) == list(expected)


def test_a_parameter_that_is_really_called_orig() -> None:
    model = nn.Linear(6, 5)
    model.register_parameter("weight_orig", nn.Parameter(torch.randn(5, 6)))
    assert [name for name, _ in dense_parameters(model)] == ["weight", "bias", "weight_orig"]
    saliency = Saliency(model, [(torch.randn(4, 6), torch.randint(5, (4,)))])
    assert float(saliency.tensor(model, "weight").sum()) > 0
    assert float(saliency.tensor(model, "weight_orig").sum()) == 0  # nothing depends on it


def test_gradients_too_small_to_square() -> None:
    model = nn.Linear(4, 3)
    batches = [(torch.randn(5, 4), torch.randint(3, (5,))) for _ in range(3)]
    plain = Saliency(model, batches, nn.functional.cross_entropy).tensor(model, "weight")
    for scale in (1e-25, 1e25):
        scaled = Saliency(model, batches, lambda a, b, scale=scale: scale * nn.functional.cross_entropy(a, b))
        assert torch.allclose(scaled.tensor(model, "weight") / scale, plain, rtol=1e-5)


@pytest.mark.parametrize("finalize", [False, True])
@pytest.mark.filterwarnings("ignore::sics_plugin.VanishedLayerWarning")
def test_everything_may_be_pruned_twice(mlp: nn.Sequential, finalize: bool) -> None:
    first = prune_to_sparsity(mlp, "magnitude", 1.0)
    again = prune_to_sparsity(mlp, "magnitude", 1.0, finalize=finalize)
    assert (again.sparsity, again.mask_hash, again.threshold) == (1.0, first.mask_hash, None)
    assert prune.is_pruned(mlp) is not finalize
    assert not bool(mlp[0].weight.any())
    if not finalize:
        with pytest.raises(ValueError, match="at least 1, what is already pruned"):
            prune_to_sparsity(mlp, "magnitude", 0.5)


@pytest.mark.parametrize("name", ["magnitude", "random"])
@pytest.mark.parametrize("first", [0, 1])
def test_tied_weights_pruned_under_one_name_keep_one_mask(first: int, name: str) -> None:
    one, two = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    two.weight = one.weight
    prune.l1_unstructured((one, two)[first], "weight", 16)
    lost = (one, two)[first].weight_mask == 0
    masks, report = compute_masks([(one, "weight"), (two, "weight")], name, amount=24)
    assert report.pruned == 40
    prune_model([(one, "weight"), (two, "weight")], name, amount=24)
    assert torch.equal(one.weight_mask, two.weight_mask)
    assert torch.equal(one.weight_mask, masks["[0].weight"])
    assert not bool(one.weight_mask[lost].any())
    assert one.weight_mask.data_ptr() != two.weight_mask.data_ptr()


def test_a_saliency_vector_over_tied_names_of_different_masks() -> None:
    one, two = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    two.weight = one.weight
    prune.l1_unstructured(two, "weight", 16)
    pairs = [(one, "weight"), (two, "weight")]
    per_weight = torch.rand(8, 8)
    listed = torch.cat([per_weight.reshape(-1), per_weight[two.weight_mask != 0]])  # as torch would hand them over
    distinct = per_weight[two.weight_mask != 0]
    masks = [compute_masks(pairs, "chaos", amount=24, saliency=c)[1].mask_hash for c in (listed, distinct)]
    assert masks[0] == masks[1]
