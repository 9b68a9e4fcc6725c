"""Finding the groups of known architectures, building them for others, and refusing what cannot be pruned."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.layers import GlobalResponseNormMlp, Mlp
from timm.models.vision_transformer import Attention, VisionTransformer
from torch import nn

from sics_plugin import ChannelGroup, Slice, channel_group, find_groups, prune_channels, shrink
from sics_plugin.channels.discovery import SUPPORTED
from sics_plugin.channels.groups import bind_groups


def vit(**options: object) -> VisionTransformer:
    settings = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 4, "num_classes": 3} | options
    return VisionTransformer(**settings)


def names(parts: tuple[Slice, ...]) -> list[str]:
    return [part.name for part in parts]


# --- discovery -----------------------------------------------------------------------------------------------------------


def test_hidden_channels_of_a_vit() -> None:
    groups = find_groups(vit())
    assert groups == [
        ChannelGroup(
            f"blocks.{i}.mlp.fc1",
            64,
            Slice(f"blocks.{i}.mlp.fc1.weight"),
            (Slice(f"blocks.{i}.mlp.fc1.bias"), Slice(f"blocks.{i}.mlp.fc2.weight", dim=1)),
        )
        for i in range(2)
    ]


def test_heads_of_a_vit() -> None:
    first, _ = find_groups(vit(), "head")
    assert (first.name, first.size, first.unit) == ("blocks.0.attn", 4, "head")
    assert first.producer == Slice("blocks.0.attn.qkv.weight", dim=0, start=32, width=4)
    assert first.followers == (
        Slice("blocks.0.attn.qkv.bias", start=32, width=4),
        Slice("blocks.0.attn.proj.weight", dim=1, width=4),
    )
    assert [(s.name, s.start) for s in first.companions] == [
        ("blocks.0.attn.qkv.weight", 0),
        ("blocks.0.attn.qkv.bias", 0),
        ("blocks.0.attn.qkv.weight", 16),
        ("blocks.0.attn.qkv.bias", 16),
    ]


def test_layers_without_bias_have_none_in_their_groups() -> None:
    model = vit(qkv_bias=False, proj_bias=False)
    assert names(find_groups(model)[0].followers) == ["blocks.0.mlp.fc2.weight"]
    assert names(find_groups(model, "head")[0].followers) == ["blocks.0.attn.proj.weight"]


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_filters_that_stay_inside_a_resnet_block(library: str) -> None:
    def build(name: str) -> nn.Module:
        return getattr(torchvision.models, name)() if library == "torchvision" else timm.create_model(name)

    basic = find_groups(build("resnet18"))
    assert [g.name for g in basic] == [f"layer{i}.{j}.conv1" for i in (1, 2, 3, 4) for j in (0, 1)]
    assert [g.size for g in basic] == [64, 64, 128, 128, 256, 256, 512, 512]
    assert names(basic[0].followers) == ["layer1.0.bn1.weight", "layer1.0.bn1.bias", "layer1.0.conv2.weight"]
    assert names(basic[0].companions) == ["layer1.0.bn1.running_mean", "layer1.0.bn1.running_var"]
    deep = find_groups(build("resnet50"))
    assert len(deep) == 32
    assert [g.name for g in deep[:2]] == ["layer1.0.conv1", "layer1.0.conv2"]
    assert names(deep[1].followers) == ["layer1.0.bn2.weight", "layer1.0.bn2.bias", "layer1.0.conv3.weight"]


def test_torchvision_vit_channels_are_found_and_its_fused_attention_is_not(model_of: Callable[[str], nn.Module]) -> None:
    model = model_of("mha_vit")
    assert [(g.size, g.followers[-1].dim) for g in find_groups(model)] == [(64, 1), (64, 1)]
    with pytest.raises(ValueError, match="no head to prune in this VisionTransformer: known are timm Attention"):
        find_groups(model, "head")


def test_convolutional_mlp_and_several_hidden_layers() -> None:
    assert find_groups(Mlp(4, 8, use_conv=True))[0].size == 8
    groups = find_groups(torchvision.ops.MLP(4, [8, 6, 2]))
    assert [(g.name, g.size, g.followers[-1].name) for g in groups] == [("0", 8, "3.weight"), ("3", 6, "6.weight")]


@pytest.mark.parametrize("unit", ["channel", "head"])
def test_unknown_architectures_are_told_what_is_known(unit: str) -> None:
    mlp = nn.Sequential(nn.Linear(4, 6), nn.Softmax(-1), nn.Linear(6, 2))
    with pytest.raises(ValueError, match=f"no {unit} to prune in this Sequential") as caught:
        find_groups(mlp, unit)  # type: ignore[arg-type]
    assert SUPPORTED[unit] in str(caught.value)  # type: ignore[index]
    assert "groups=" in str(caught.value)
    with pytest.raises(ValueError, match="Expected `unit` to be one of channel, head, got 'row'"):
        find_groups(mlp, "row")  # type: ignore[arg-type]


class OtherForward(Mlp):
    """Adds the mean of its hidden channels: they do not go one by one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.act(self.fc1(x))
        return self.fc2(hidden) + hidden.mean(-1, keepdim=True)


def test_a_subclass_with_a_forward_of_its_own_is_not_taken_for_its_base() -> None:
    with pytest.raises(ValueError, match="no channel"):
        find_groups(OtherForward(4, 8))
    with pytest.raises(ValueError, match="no channel"):
        find_groups(GlobalResponseNormMlp(4, 8))


@pytest.mark.parametrize(
    ("model", "unit", "message"),
    [
        (lambda: vit(scale_mlp_norm=True), "channel", "channels of blocks.0.mlp.fc1 go through a LayerNorm"),
        (lambda: vit(scale_attn_norm=True), "head", "blocks.0.attn.norm mixes the heads"),
        (lambda: torchvision.models.resnext50_32x4d(), "channel", "layer1.0.conv2 is a convolution in 32 groups"),
        (lambda: timm.create_model("resnetblur18"), "channel", "layer2.0.conv1 go through a BlurPool2d"),
        (
            lambda: torchvision.models.resnet18(norm_layer=lambda n: nn.GroupNorm(2, n)),
            "channel",
            "layer1.0.bn1 normalises 32 channels of layer1.0.conv1 together",
        ),
        (
            lambda: torchvision.models.resnet18(norm_layer=torchvision.ops.FrozenBatchNorm2d),
            "channel",
            "Expected layer1.0.bn1 to be a batch norm, .*, got FrozenBatchNorm2d",
        ),
        (lambda: torchvision.ops.MLP(4, [8, 2], norm_layer=nn.LayerNorm), "channel", "go through a LayerNorm"),
        (
            lambda: torchvision.ops.MLP(4, [8, 2], norm_layer=lambda n: nn.LayerNorm(n, elementwise_affine=False)),
            "channel",
            "go through a LayerNorm",
        ),
    ],
)
def test_known_blocks_in_a_form_that_mixes_units_are_refused_by_name(
    model: Callable[[], nn.Module], unit: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        find_groups(model(), unit)  # type: ignore[arg-type]
    assert "groups=" in str(caught.value)


def test_a_choice_of_groups_goes_around_a_block_that_is_refused() -> None:
    model = timm.create_model("resnetblur18")
    report = prune_channels(
        model, "magnitude", 0.5, groups=[channel_group(model, "layer1.0.conv1", "layer1.0.conv2", norm="layer1.0.bn1")]
    )
    assert (report.pruned, report.total) == (32, 64)


# --- by hand -------------------------------------------------------------------------------------------------------------


def test_a_reader_of_flattened_maps_owns_consecutive_columns() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 2))
    group = channel_group(model, "0", "4", norm="1")
    assert group.followers[-1] == Slice("4.weight", dim=1, width=9)
    assert Slice("4.weight", dim=1, width=9).indices(torch.tensor([False, True, False, False])).tolist() == list(range(9, 18))


def test_a_batch_norm_without_weights_or_statistics() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False, track_running_stats=False), nn.Conv2d(4, 2, 1)
    )
    group = channel_group(model, "0", "2", norm="1")
    assert names(group.followers) == ["2.weight"]
    assert group.companions == ()


@pytest.mark.parametrize(
    ("producer", "consumer", "norm", "error", "message"),
    [
        ("0", "9", None, ValueError, "no module '9'"),
        ("1", "2", None, TypeError, "Expected 1 to be an nn.Linear or a convolution, got BatchNorm2d"),
        ("0", "4", None, ValueError, "Expected 4 to read a multiple of the 6 outputs of 0, got 5 inputs"),
        ("0", "2", "7", TypeError, "Expected 7 to be a batch norm, .*, got LayerNorm: it may mix channels"),
        ("0", "2", "5", ValueError, "Expected 5 to have the 6 channels of 0, got 4"),
        ("6", "2", None, ValueError, "6 is a convolution in 3 groups"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(
    producer: str, consumer: str, norm: str | None, error: type[Exception], message: str
) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 1),
        nn.BatchNorm2d(6),
        nn.Conv2d(6, 4, 1),
        nn.GroupNorm(2, 6),
        nn.Conv2d(5, 4, 1),
        nn.BatchNorm2d(4),
        nn.Conv2d(3, 6, 1, groups=3),
        nn.LayerNorm(6),
    )
    with pytest.raises(error, match=message):
        channel_group(model, producer, consumer, norm=norm)


def test_norms_and_depthwise_filters_between_the_layers_go_along_in_their_order() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 1),
        nn.InstanceNorm2d(6),
        nn.Conv2d(6, 12, 3, groups=6),
        nn.InstanceNorm2d(12, affine=True),
        nn.PReLU(12),
        nn.PReLU(),
        nn.Conv2d(12, 4, 1),
    )
    group = channel_group(model, "0", "6", norm=("1", "2", "3", "4", "5"))
    assert group.sized == ("1",)
    wide = [(s.name, s.width) for s in group.followers]
    assert wide == [
        ("0.bias", 1), ("2.weight", 2), ("2.bias", 2), ("3.weight", 2), ("3.bias", 2), ("4.weight", 2), ("6.weight", 2),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="Expected 3 to have the 6 channels of 0, got 12"):
        channel_group(model, "0", "6", norm="3")
    with pytest.raises(ValueError, match="the model has no module '9'"):
        bind_groups(model, [ChannelGroup("0", 6, Slice("0.weight"), (), sized=("9",))])


def test_channels_of_a_group_norm_are_taken_as_whole_groups() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(4, 8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    group = channel_group(model, "0", "3", norm="1")
    assert (group.size, group.producer.width) == (4, 2)
    assert [(s.name, s.width) for s in group.followers] == [("0.bias", 2), ("1.weight", 2), ("1.bias", 2), ("3.weight", 2)]


@pytest.mark.parametrize(
    ("norm", "error", "message"),
    [
        (nn.LayerNorm(6), TypeError, "Expected 1 to be a batch norm, instance norm, .*, got LayerNorm: it may mix channels"),
        (nn.Conv2d(6, 6, 1), ValueError, "Expected 1 to be a depthwise convolution, got 1 groups: it mixes channels"),
        (nn.PReLU(4), ValueError, "Expected 1 to have the 6 channels of 0, got 4"),
        (nn.GroupNorm(2, 4), ValueError, "Expected 1 to have the 6 channels of 0, got 4"),
        (nn.GroupNorm(1, 4), ValueError, "Expected 0 to make whole groups of 4 channels, got 6 outputs"),
    ],
)
def test_what_may_not_stand_between_is_refused(norm: nn.Module, error: type[Exception], message: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 1), norm, nn.Conv2d(6, 2, 1))
    with pytest.raises(error, match=message):
        channel_group(model, "0", "2", norm="1")


def test_outputs_and_inputs_lie_where_the_layer_keeps_them() -> None:
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D
    model = nn.ModuleList([conv1d(6, 4), conv1d(3, 6), nn.ConvTranspose2d(6, 5, 2), nn.Conv2d(5, 2, 1), nn.Linear(6, 6)])
    first = channel_group(model, "0", "1")
    assert (first.size, first.producer.dim) == (6, 1)
    assert first.followers == (Slice("0.bias"), Slice("1.weight", dim=0))
    transposed = channel_group(model, "2", "3")
    assert (transposed.size, transposed.producer.dim, transposed.followers[-1].dim) == (5, 1, 1)
    assert channel_group(model, "4", "2").followers[-1] == Slice("2.weight", dim=0)
    with pytest.raises(ValueError, match="x is a convolution in 2 groups"):
        channel_group(nn.ModuleDict({"x": nn.ConvTranspose2d(4, 4, 2, groups=2), "y": nn.Conv2d(4, 2, 1)}), "x", "y")


def mlp_group(size: int = 4, **changes: object) -> ChannelGroup:
    fields = {"name": "0", "size": size, "producer": Slice("0.weight"), "followers": (Slice("0.bias"), Slice("2.weight", dim=1))}
    return ChannelGroup(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([mlp_group(), mlp_group()], "distinct names, got '0' twice"),
        ([mlp_group(), mlp_group(name="again")], "0 and again both own index 0 of dimension 0 of 0.weight"),
        ([mlp_group(), mlp_group(unit="head", name="h")], "one unit, got channel and head"),
        ([mlp_group(unit="row")], "one of channel, head, got 'row'"),
        ([mlp_group(producer=Slice("0.scale"))], "Expected 0.scale to be a parameter of Linear"),
        ([mlp_group(producer=Slice("7.weight"))], "no module '7'"),
        (
            [mlp_group(producer=Slice("0.weight", dim=2))],
            r"`dim` of 0.weight in \[0, 1\], its shape is \(4, 3\); got 2",
        ),
        ([mlp_group(size=0)], "Expected 0 to have units"),
        ([mlp_group(size=5)], "0 has 5 units of width 1 from index 0, which needs 5 entries along dimension 0 of 0.weight"),
        ([mlp_group(followers=(Slice("2.weight", dim=1, start=1),))], "needs 5 entries along dimension 1 of 2.weight"),
    ],
)
def test_groups_that_do_not_fit_the_model_are_refused(groups: list[ChannelGroup], message: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=message) as caught:
        bind_groups(model, groups)
    assert "\n" not in str(caught.value)


def test_tied_weights_are_refused_with_both_names_and_the_way_round() -> None:
    message = r"is tied to blocks\.1\.mlp\.fc1\.weight: cannot prune its units; pass `groups=` without blocks\.0\.mlp\.fc1$"
    model = vit()
    model.blocks[1].mlp.fc1.weight = model.blocks[0].mlp.fc1.weight
    with pytest.raises(ValueError, match=message):
        prune_channels(model, "magnitude", 0.5)
    shared = vit()
    shared.blocks[1].mlp = shared.blocks[0].mlp  # one module in two places
    with pytest.raises(ValueError, match=message):
        prune_channels(shared, "magnitude", 0.5)


def test_tied_weights_are_seen_on_a_pruned_model_too() -> None:
    model = vit()
    prune_channels(model, "magnitude", 0.5)
    model.blocks[1].mlp.fc1.weight_orig = model.blocks[0].mlp.fc1.weight_orig
    with pytest.raises(ValueError, match="is tied to"):
        prune_channels(model, "magnitude", 0.5)


def test_projections_that_run_no_hook_and_parametrized_weights_are_refused() -> None:
    attention = nn.MultiheadAttention(8, 2)
    group = ChannelGroup("out", 8, Slice("out_proj.weight"), ())
    with pytest.raises(ValueError, match="never calls it"):
        prune_channels(attention, "magnitude", 0.5, groups=[group])
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="parametrization"):
        prune_channels(model, "magnitude", 0.5, groups=[channel_group(model, "0", "2")])


def test_groups_are_plain_data() -> None:
    model = vit()
    groups = find_groups(model, "head")
    assert pickle.loads(pickle.dumps(groups)) == groups == find_groups(copy.deepcopy(model), "head")
    assert len(set(groups)) == 2
    assert find_groups(Attention(16, 4), "head")[0].producer.name == "qkv.weight"  # the module itself is the model


@pytest.mark.parametrize("norm", [3, [None], ["1", "1"], ["1", 1]])
def test_norms_that_are_no_distinct_paths_are_refused(norm: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    with pytest.raises(ValueError, match="Expected `norm` to be the path of a layer or a list of distinct ones, got "):
        channel_group(model, "0", "2", norm=norm)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (torch.empty(0, 3, 4, 4), "to give tensors with numbers to compare on `example`, got none"),
        (torch.full((2, 3, 4, 4), torch.nan), "to give finite outputs to compare on `example`, got inf or nan"),
    ],
)
def test_an_example_that_compares_nothing_is_refused(example: torch.Tensor, message: str) -> None:
    """A wrong group goes through on no samples, and a right one is blamed for nan."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
    groups = [channel_group(model, "0", "3")]
    with pytest.raises(ValueError, match=message):
        prune_channels(model, "magnitude", 0.5, groups=groups, example=example)
    prune_channels(model, "magnitude", 0.5, groups=groups, example=torch.randn(2, 3, 4, 4))
    with pytest.raises(ValueError, match=message):
        shrink(model, groups, example=example)
