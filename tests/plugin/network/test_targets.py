"""Which parameters are pruned by default on real architectures, under which names, and which are refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sics_plugin import prunable_parameters, prune_model
from sics_plugin.network.prunable import resolve_targets
from sics_plugin.network.targets import Target, without_ties


def names(model: nn.Module) -> list[str]:
    return [t.path for t in resolve_targets(model)]


BLOCK = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def test_timm_vit_prunes_every_linear_but_the_head(model_of: Callable[[str], nn.Module]) -> None:
    """Patch embedding, norms, biases and embeddings stay."""
    model = model_of("vit_s")
    assert names(model) == [f"blocks.{i}.{part}.weight" for i in range(2) for part in BLOCK]
    pairs = prunable_parameters(model)
    assert all(isinstance(m, nn.Linear) and name == "weight" for m, name in pairs)


def test_timm_vit_without_a_head_prunes_every_linear() -> None:
    import timm

    model = timm.create_model("vit_small_patch16_224", pretrained=False, img_size=32, depth=2, num_classes=0)
    assert names(model) == [f"blocks.{i}.{part}.weight" for i in range(2) for part in BLOCK]


def test_timm_distilled_vit_leaves_both_heads_out() -> None:
    import timm

    model = timm.create_model("deit_tiny_distilled_patch16_224", pretrained=False, img_size=32, depth=1, num_classes=10)
    assert names(model) == [f"blocks.0.{part}.weight" for part in BLOCK]


def test_resnet18_prunes_every_convolution_but_not_the_head(model_of: Callable[[str], nn.Module]) -> None:
    model = model_of("resnet18")
    found = names(model)
    convolutions = [f"{path}.weight" for path, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    assert found == convolutions
    assert len(found) == 20
    assert "conv1.weight" in found  # a 7×7 of stride 2 is no patch embedding
    assert "fc.weight" not in found


def test_torchvision_vit_leaves_out_proj_out_and_says_so(model_of: Callable[[str], nn.Module]) -> None:
    model = model_of("mha_vit")
    with pytest.warns(UserWarning, match=r"left out, read without calling its layer: encoder.*self_attention\.out_proj\.weight"):
        found = names(model)
    parts = ("self_attention.in_proj_weight", "mlp.0.weight", "mlp.3.weight")
    assert found == [f"encoder.layers.encoder_layer_{i}.{part}" for i in range(2) for part in parts]


def test_sequential_mlp_leaves_its_last_linear_out(mlp: nn.Sequential) -> None:
    assert names(mlp) == ["0.weight", "2.weight"]


def test_a_model_whose_only_weight_is_its_head_has_nothing_to_prune() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="nothing to prune in this Sequential beside its head: name the parameters"):
        names(model)
    assert prunable_parameters(model, head=()) == [(model[1], "weight")]
    assert names(nn.Linear(3, 2)) == ["weight"]  # a layer by itself has no head


def test_a_patch_embedding_is_the_first_convolution_whose_stride_is_its_kernel() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 4, stride=4), nn.Conv2d(4, 4, 2, stride=2), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(4, 2)
    )
    assert names(model) == ["1.weight", "2.weight"]


def test_a_first_convolution_of_one_by_one_is_no_patch_embedding() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 2, stride=2), nn.Flatten(), nn.Linear(4, 2))
    assert names(model) == ["0.weight", "1.weight"]


def test_norms_biases_and_embeddings_stay() -> None:
    model = nn.Sequential(nn.Embedding(9, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    assert names(model) == ["2.weight"]


def test_a_shared_module_is_listed_once() -> None:
    shared = nn.Linear(8, 8)
    assert names(nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(8, 2))) == ["0.weight"]


def test_out_proj_of_multihead_attention_is_refused_when_listed() -> None:
    attention = nn.MultiheadAttention(8, 2)
    with pytest.raises(
        ValueError, match=r"\[0\]\.weight is the output projection of nn\.MultiheadAttention, which never calls it"
    ):
        prune_model([(attention.out_proj, "weight")], "magnitude", amount=0.5)
    assert not prune.is_pruned(attention)
    prune_model([(attention, "in_proj_weight")], "magnitude", amount=0.5)  # its own parameter: the module's hook runs
    with torch.no_grad():
        attention.in_proj_weight_orig.fill_(1.0)
    attention(*[torch.randn(3, 1, 8)] * 3)
    assert torch.equal(attention.in_proj_weight, attention.in_proj_weight_mask.float())


@pytest.mark.parametrize(
    ("parameters", "error", "match"),
    [
        ([], ValueError, r"at least one \(module, name\) pair"),
        (iter(()), ValueError, "at least one"),
        (torch.rand(3), TypeError, r"\(module, name\) pairs, got Tensor"),
        (7, TypeError, "got int"),
        ([nn.Linear(2, 2)], TypeError, "got Linear.* at position 0"),
        ([(nn.Linear(2, 2),)], TypeError, "at position 0"),
        ([(nn.Linear(2, 2), nn.Linear(2, 2))], TypeError, "at position 0"),
        ([("weight", nn.Linear(2, 2))], TypeError, "at position 0"),
        ([(nn.Linear(2, 2), "weight"), "ab"], TypeError, "'ab' at position 1"),
        ([(nn.Linear(2, 2), "wieght")], ValueError, r"\[0\]\.wieght to be a parameter of Linear; it is missing"),
        ([(nn.Linear(2, 2, bias=False), "bias")], ValueError, r"\[0\]\.bias to be a parameter of Linear"),
        ([(nn.ReLU(), "weight")], ValueError, "parameter of ReLU"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,  # the same in every process
)
def test_bad_lists_of_parameters_are_refused(parameters, error, match: str) -> None:
    with pytest.raises(error, match=match):
        resolve_targets(parameters)


def test_a_model_without_a_weight_to_prune_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to prune"):
        prune_model(nn.Sequential(nn.ReLU()), "magnitude", amount=0.5)


def test_a_parameter_listed_twice_is_refused() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"Linear\.weight is listed twice in `parameters`, again at position 1"):
        resolve_targets([(layer, "weight"), (layer, "weight")])


def test_lists_are_taken_in_their_order_with_tuples_lists_and_any_parameter() -> None:
    layer, norm = nn.Linear(3, 2), nn.LayerNorm(3)
    targets = resolve_targets([[norm, "weight"], (layer, "bias"), (layer, "weight")])
    assert [(t.module, t.name) for t in targets] == [(norm, "weight"), (layer, "bias"), (layer, "weight")]
    assert [t.path for t in targets] == ["[0].weight", "[1].bias", "[2].weight"]


def test_integer_parameters_are_refused() -> None:
    module = nn.Module()
    module.weight = nn.Parameter(torch.ones(3, dtype=torch.int8), requires_grad=False)
    with pytest.raises(TypeError, match=r"\[0\]\.weight to be of a floating point type, got torch\.int8"):
        resolve_targets([(module, "weight")])


def test_parametrized_weights_are_refused_with_a_reason() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="computed by a parametrization"):
        prune_model([(layer, "weight")], "magnitude", amount=0.5)


@pytest.mark.filterwarnings("ignore:.*(weight_norm|spectral_norm).*:FutureWarning")
@pytest.mark.parametrize("wrap", [nn.utils.spectral_norm, nn.utils.weight_norm])
def test_old_style_norms_are_refused_and_left_as_they_were(wrap: Callable[[nn.Module], nn.Module]) -> None:
    layer = wrap(nn.Linear(8, 8))
    before = sorted(layer.state_dict())
    with pytest.raises(ValueError, match="to be a parameter of Linear"):
        prune_model([(layer, "weight")], "magnitude", amount=0.5)
    assert sorted(layer.state_dict()) == before
    layer(torch.ones(1, 8))


def test_ties_are_found_by_the_tensor(tied: nn.Module) -> None:
    listed = resolve_targets(
        [(tied.embedding, "weight"), (tied.first, "weight"), (tied.second, "weight"), (tied.decoder, "weight")]
    )
    assert [t.module for t in without_ties(listed)] == [tied.embedding, tied.first]
    prune_model([(tied.first, "weight"), (tied.second, "weight")], "magnitude", amount=0.5)
    again = resolve_targets([(tied.first, "weight"), (tied.second, "weight")])
    assert len(without_ties(again)) == 1  # under torch's new names, too


def test_target_reads_the_dense_parameter_and_what_is_left() -> None:
    layer = nn.Linear(4, 1)
    weight = layer.weight
    target = Target(layer, "weight", "fc.weight")
    assert target.mask is None
    assert bool(target.present().all())
    prune.custom_from_mask(layer, "weight", torch.tensor([[1, 0, 1, 0]]))
    assert target.parameter is weight
    assert target.present().tolist() == [[True, False, True, False]]
    assert target.remaining(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist() == [1.0, 3.0]


def test_default_targets_raise_no_warning_without_multihead_attention(model_of: Callable[[str], nn.Module]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("vit_s", "resnet18", "mlp"):
            names(model_of(name))
