"""Names of wrapped models, tied weights under several masks, tiny gradients, and pruning everything twice."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

from sics_plugin import (
    Saliency,
    compute_masks,
    current_masks,
    export_masks,
    find_groups,
    install_mask,
    load_masks,
    mask_hash,
    masked,
    prune_channels,
    prune_model,
    prune_to_sparsity,
)
from sics_plugin.channels.groups import modules_by_name
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


# --- wrappers -------------------------------------------------------------------------------------------------------------


class Named(nn.Module):
    """A child that is really called ``module`` beside others, and one called ``_orig_mod``."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(16, 32)
        self.inner = nn.ModuleDict({"module": nn.Linear(32, 32), "_orig_mod": nn.Linear(32, 32)})
        self.weight = nn.Parameter(torch.randn(3, 3))
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner["_orig_mod"](self.inner["module"](self.module(x)).tanh()).tanh())


def compiled(module: nn.Module) -> nn.Module:
    return torch.compile(module, backend="eager")  # type: ignore[return-value]


def checkpointed(module: nn.Module) -> nn.Module:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    return checkpoint_wrapper(module)


def fabric(module: nn.Module) -> nn.Module:
    return pytest.importorskip("lightning.fabric.wrappers")._FabricModule(nn.DataParallel(module), None, original_module=module)


def double(module: nn.Module) -> nn.Module:
    plugin = pytest.importorskip("lightning.pytorch.plugins.precision.double")
    if not hasattr(plugin, "LightningDoublePrecisionModule"):
        pytest.skip("this lightning has none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = plugin.LightningDoublePrecisionModule(module)
    return made


WRAPPERS = [nn.DataParallel, compiled, AveragedModel, checkpointed, fabric, double, lambda m: compiled(nn.DataParallel(m))]
IDS = ["DataParallel", "compile", "AveragedModel", "checkpoint", "fabric", "double", "compiled DataParallel"]
NAMES = ["module.weight", "inner.module.weight", "inner._orig_mod.weight"]


def test_children_that_are_called_as_wrappers_call_theirs_keep_their_names() -> None:
    model = Named()
    masks, _ = compute_masks(model, "magnitude", amount=0.5)
    assert list(masks) == NAMES
    prune_model(model, "magnitude", amount=0.5)
    assert list(current_masks(model)) == NAMES
    assert [name for name, _ in dense_parameters(model)][:3] == ["weight", "module.bias", "module.weight"]
    other = nn.Module()
    other.module, other.layer = nn.Linear(8, 8), nn.Module()
    other.layer.module = nn.Linear(8, 8)
    assert list(modules_by_name(other)) == ["", "module", "layer", "layer.module"]


@pytest.mark.parametrize("wrap", WRAPPERS, ids=IDS)
def test_a_real_wrapper_has_no_name(wrap: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    """Around the model; masks, hash, saliency and file are those of the inside, and go both ways."""
    torch.manual_seed(2)
    bare = Named()
    batches = [(torch.randn(8, 16), torch.randint(4, (8,)))]
    found = Saliency(bare, batches)
    expected, report = compute_masks(bare, "chaos", amount=0.5, saliency=found)
    wrapped = wrap(copy.deepcopy(bare))
    masks, other = compute_masks(wrapped, "chaos", amount=0.5, saliency=found.bind(wrapped))
    assert (list(masks), other.mask_hash) == (NAMES, report.mask_hash)
    prune_model(wrapped, "chaos", amount=0.5, saliency=found.bind(wrapped))
    export_masks(wrapped, tmp_path / "m")
    assert load_masks(bare, tmp_path / "m") == report.mask_hash
    fresh = wrap(Named())
    assert load_masks(fresh, tmp_path / "m") == mask_hash(current_masks(fresh)) == mask_hash(expected)


@pytest.mark.parametrize("wrap", WRAPPERS, ids=IDS)
def test_a_wrapper_in_the_middle_of_a_path_has_no_name(wrap: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(2)
    bare = Named()
    expected, report = compute_masks(bare, "magnitude", amount=0.5)
    wrapped = copy.deepcopy(bare)
    wrapped.inner = wrap(wrapped.inner)
    wrapped.module = wrap(wrapped.module)
    masks, other = compute_masks(wrapped, "magnitude", amount=0.5)
    assert (list(masks), other.mask_hash) == (NAMES, report.mask_hash)
    with masked(wrapped, expected):
        assert int((dict(dense_parameters(wrapped))["module.weight"] == 0).sum()) == int((~expected["module.weight"]).sum())
    prune_model(wrapped, "magnitude", amount=0.5)
    export_masks(wrapped, tmp_path / "m")
    assert load_masks(bare, tmp_path / "m") == report.mask_hash
    assert list(modules_by_name(wrapped)) == list(modules_by_name(bare))


def test_a_wrapped_block_has_the_groups_of_the_bare_one() -> None:
    from timm.layers import Mlp

    model = nn.Sequential(Mlp(8, 16), nn.Linear(8, 2))
    groups = find_groups(model)
    model[0] = compiled(model[0])
    assert find_groups(model) == groups
    prune_channels(model, "magnitude", 0.5)
    assert list(current_masks(model)) == ["0.fc1.weight", "0.fc1.bias", "0.fc2.weight"]


class WithHead(nn.DataParallel):
    """A wrapper with a child of its own, called as one of what it wraps."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.head = nn.Linear(4, 4)


class WithWeight(nn.DataParallel):
    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.weight = nn.Parameter(torch.randn(2, 2))


def test_two_names_of_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two modules are called 'head' without their wrappers, module\.head and head: rename"):
        compute_masks(WithHead(Named()), "magnitude", amount=0.5)
    with pytest.raises(ValueError, match=r"two parameters are called weight, a wrapper's own and one of what it wraps: rename"):
        current_masks(WithWeight(Named()))
    model = WithWeight(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))  # another name: no harm
    assert list(compute_masks(model, "magnitude", amount=0.5)[0]) == ["0.weight"]


def test_a_module_at_two_places_is_no_second_one() -> None:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(4, 2))
    assert list(compute_masks(model, "magnitude", amount=0.5)[0]) == ["0.weight"]
    assert [name for name, _ in dense_parameters(model, remove_duplicate=False)] == [
        "0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias",
    ]  # fmt: skip


# --- masks of tied weights for a while --------------------------------------------------------------------------------------


def test_masked_under_one_name_of_a_tie_leaves_the_other_dense(tied: nn.Module) -> None:
    """As the hooked model computes it."""
    tokens = torch.arange(10)
    mask = {"decoder.weight": torch.rand(40, 16) > 0.5}
    hooked = copy.deepcopy(tied)
    install_mask(hooked.decoder, "weight", mask["decoder.weight"])
    dense = tied.embedding.weight.detach().clone()
    with masked(tied, mask):
        assert torch.equal(tied.embedding.weight, dense)
        assert torch.equal(tied(tokens), hooked(tokens))
    assert tied.decoder.weight is tied.embedding.weight
    assert torch.equal(tied.embedding.weight, dense)
    both = {name: torch.rand(16, 16) > 0.5 for name in ("first.weight", "second.weight")}
    for name, values in both.items():
        install_mask(getattr(hooked, name.split(".")[0]), "weight", values)
    with masked(tied, mask | both):
        assert torch.equal(tied(tokens), hooked(tokens))
    assert tied.first.weight is tied.second.weight


def test_masked_is_for_dense_models(mlp: nn.Sequential) -> None:
    masks, _ = compute_masks(mlp, "magnitude", amount=0.5)
    prune_model(mlp, "magnitude", amount=0.25)
    with pytest.raises(ValueError, match=r"0\.weight carries a mask already: `masked` is for a dense model"), masked(mlp, masks):
        pass
