"""shrink: the smaller model computes what the masked one does, and is an ordinary model."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
import torchvision
from hypothesis import example, given, settings
from hypothesis import strategies as st
from timm.layers import Mlp
from timm.models.vision_transformer import Attention, VisionTransformer
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import (
    ChannelGroup,
    SICSStructuredMagnitude,
    Slice,
    channel_group,
    current_masks,
    export_masks,
    finalize,
    find_groups,
    load_masks,
    prune_channels,
    prune_model,
    shrink,
    unit_masks,
)

pytestmark = pytest.mark.filterwarnings("ignore::sics_plugin.VanishedLayerWarning")


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random biases, norms and running statistics: with zeros and ones in them, much that is wrong would pass."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        elif isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.5)
    return model.eval()


def small_vit(**options: Any) -> VisionTransformer:
    facts = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 4, "num_classes": 5} | options
    return VisionTransformer(**facts)


@torch.no_grad()
def assert_same(masked: nn.Module, small: nn.Module, x: Tensor, dense: nn.Module | None = None) -> None:
    expected = masked(x)
    torch.testing.assert_close(small(x), expected, atol=1e-5, rtol=1e-5)
    assert float(expected.std()) > 1e-3  # not two constants agreeing
    if dense is not None:
        assert float((dense(x) - expected).abs().max()) > 1e-3


def sizes(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


# --- masked equals shrunk ------------------------------------------------------------------------------------------------

RESNETS: dict[str, Callable[[], nn.Module]] = {
    "torchvision resnet18": lambda: torchvision.models.resnet18(num_classes=10),
    "torchvision resnet50": lambda: torchvision.models.resnet50(num_classes=10),
    "timm resnet18": lambda: timm.create_model("resnet18", num_classes=10),
    "timm resnet26d": lambda: timm.create_model("resnet26d", num_classes=10),
    "timm seresnet18": lambda: timm.create_model("seresnet18", num_classes=10),
}


@pytest.mark.parametrize("name", RESNETS)
def test_resnets(name: str) -> None:
    dense = lively(RESNETS[name]())
    model = copy.deepcopy(dense)
    report = prune_channels(model, "random", 0.6, pool="layer", seed=1)
    small = shrink(model)
    assert_same(model, small, torch.randn(2, 3, 32, 32), dense)
    kept = unit_masks(current_masks(model), find_groups(model))
    for path, module in small.named_modules():
        if path in kept:
            assert isinstance(module, nn.Conv2d)
            assert module.out_channels == module.weight.shape[0] == int(kept[path].sum())
            assert module.in_channels == module.weight.shape[1]
    assert sizes(dense) - sizes(small) == sum(p.pruned for p in report.parameters)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"qkv_bias": False},
        {"qk_norm": True},
        {"init_values": 0.5},
        {"class_token": False, "global_pool": "avg"},
    ],
)
@pytest.mark.parametrize("pool", ["global", "layer"])
def test_vits_with_channels_and_heads_gone(options: dict[str, Any], pool: str) -> None:
    dense = lively(small_vit(**options))
    model = copy.deepcopy(dense)
    channels = prune_channels(model, "random", 0.6, pool=pool, seed=2)  # type: ignore[arg-type]
    heads = prune_channels(model, "random", 0.5, pool=pool, unit="head", seed=3)  # type: ignore[arg-type]
    small = shrink(model)
    assert_same(model, small, torch.randn(3, 3, 16, 16), dense)
    hidden = sum(block.mlp.fc1.out_features for block in small.blocks)
    assert hidden == channels.total - channels.pruned
    assert sum(block.attn.num_heads for block in small.blocks) == max(heads.total - heads.pruned, 1)
    for block in small.blocks:
        attn = block.attn
        assert attn.attn_dim == attn.num_heads * attn.head_dim == attn.proj.in_features
        assert attn.qkv.out_features == 3 * attn.attn_dim == attn.qkv.weight.shape[0]
        assert (attn.head_dim, attn.scale) == (6, 6**-0.5)


def test_vit_tiny_as_timm_ships_it() -> None:
    dense = lively(timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=10))
    model = copy.deepcopy(dense)
    prune_channels(model, "magnitude", 0.7)
    prune_channels(model, "magnitude", 0.4, unit="head")
    assert_same(model, shrink(model), torch.randn(2, 3, 64, 64), dense)


def test_attention_without_the_fused_kernel_and_with_a_gate() -> None:
    for options in ({}, {"gated": True}):
        dense = lively(Attention(24, 4, qkv_bias=True, **options))
        dense.fused_attn = False
        model = copy.deepcopy(dense)
        prune_channels(model, "random", 0.5, unit="head", seed=1)
        small = shrink(model)
        assert_same(model, small, torch.randn(2, 7, 24), dense)
        if options:
            assert small.gate.out_features == 12


def test_torchvision_vit_mlp(model_of: Callable[[str], nn.Module]) -> None:
    dense = lively(model_of("mha_vit"))
    model = copy.deepcopy(dense)
    prune_channels(model, "random", 0.5, seed=1)
    assert_same(model, shrink(model), torch.randn(2, 3, 16, 16), dense)


@settings(deadline=None, max_examples=20)
@given(
    width=st.integers(1, 12),
    hidden=st.integers(1, 12),
    maps=st.integers(1, 3),
    amount=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    bias=st.booleans(),
    seed=st.integers(0, 3),
)
@example(width=1, hidden=1, maps=1, amount=1.0, dtype=torch.float32, bias=False, seed=0)  # emptied, and none to cut
def test_groups_of_any_size(width: int, hidden: int, maps: int, amount: float, dtype: torch.dtype, bias: bool, seed: int) -> None:
    torch.manual_seed(seed)
    model: nn.Module = nn.Sequential(
        nn.Conv2d(2, width, maps, bias=bias),
        nn.BatchNorm2d(width),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(width * (4 - maps) ** 2, hidden, bias=bias),
        nn.Sigmoid(),
        nn.Linear(hidden, 3),
    )
    model = lively(model, seed).to(dtype)
    groups = [channel_group(model, "0", "4", norm="1"), channel_group(model, "4", "6")]
    x = torch.randn(2, 2, 3, 3, dtype=dtype)
    report = prune_channels(model, "magnitude", amount, groups=groups)
    if report.pruned == 0:
        with pytest.raises(ValueError, match="nothing to shrink: no channel or head is entirely masked"):
            shrink(model, groups)
        return
    small = shrink(model, groups)
    with torch.no_grad():
        torch.testing.assert_close(small(x), model(x), atol=1e-5, rtol=1e-5)
    left = {layer.name: layer.total - layer.pruned for layer in report.layers}
    assert small[0].out_channels == small[1].num_features == max(left["0"], 1)
    assert small[4].in_features == small[0].out_channels * (4 - maps) ** 2
    assert small[4].out_features == small[6].in_features == max(left["4"], 1)
    assert small(x).dtype == dtype


def test_a_depthwise_convolution_between_follows() -> None:
    torch.manual_seed(0)
    model = lively(
        nn.Sequential(
            nn.Conv2d(3, 8, 1),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.Conv2d(8, 8, 3, groups=8),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.Conv2d(8, 4, 1),
        )
    )
    norms = [Slice(f"{i}.{name}") for i in (1, 4) for name in ("weight", "bias")]
    group = ChannelGroup(
        "0",
        8,
        Slice("0.weight"),
        (Slice("0.bias"), *norms, Slice("3.weight"), Slice("3.bias"), Slice("6.weight", dim=1)),
        tuple(Slice(f"{i}.{name}") for i in (1, 4) for name in ("running_mean", "running_var")),
    )
    prune_channels(model, "magnitude", 5, groups=[group])
    small = shrink(model, [group])
    assert (small[3].groups, small[3].in_channels, small[3].out_channels) == (3, 3, 3)
    assert_same(model, small, torch.randn(2, 3, 5, 5))


def between_net(*between: nn.Module, width: int = 8, reads: int | None = None) -> nn.Module:
    """Two convolutions with something between them, in float64; every parameter and statistic random."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, width, 1), *between, nn.Sigmoid(), nn.Conv2d(reads or width, 4, 1))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.rand(p.shape))
        for name, b in model.named_buffers():
            b.copy_(torch.rand(b.shape) + 0.5) if "running" in name else None
    return model.double().eval()


@pytest.mark.parametrize(
    ("norm", "sizes"),
    [
        (lambda: nn.PReLU(8), {"num_parameters": 4}),
        (lambda: nn.InstanceNorm2d(8), {"num_features": 4}),
        (lambda: nn.InstanceNorm2d(8, affine=True, track_running_stats=True), {"num_features": 4}),
        (lambda: nn.BatchNorm2d(8, affine=False), {"num_features": 4}),
        (lambda: nn.GroupNorm(8, 8), {"num_channels": 4, "num_groups": 4}),
        (lambda: nn.GroupNorm(4, 8), {"num_channels": 4, "num_groups": 2}),
        (lambda: nn.GroupNorm(4, 8, affine=False), {"num_channels": 4, "num_groups": 2}),
    ],
)
def test_what_stands_between_is_shrunk_with_the_layers(norm: Callable[[], nn.Module], sizes: dict[str, int]) -> None:
    model = between_net(norm())
    dense, x = copy.deepcopy(model), torch.randn(3, 3, 5, 5, dtype=torch.float64)
    groups = [channel_group(model, "0", "3", norm="1")]
    prune_channels(model, "magnitude", 0.5, groups=groups, example=x)
    small = shrink(model, example=x)
    assert {name: getattr(small[1], name) for name in sizes} == sizes
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")  # an instance norm warns of channels it was not made for
        torch.testing.assert_close(small(x), model(x), rtol=1e-9, atol=1e-9)
        assert float((dense(x) - model(x)).abs().max()) > 1e-3


@pytest.mark.parametrize(
    "between",
    [
        nn.PReLU(8),
        nn.BatchNorm2d(8),
        nn.InstanceNorm2d(8, affine=True),
        nn.InstanceNorm2d(8),
        nn.GroupNorm(4, 8),
        nn.LayerNorm(5),
        nn.ChannelShuffle(2),
        nn.Conv2d(8, 8, 1, groups=8),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_group_that_does_not_name_what_stands_between_is_refused_before_a_network_is_returned(between: nn.Module) -> None:
    model = between_net(between)
    groups = [ChannelGroup("0", 8, Slice("0.weight"), (Slice("0.bias"), Slice("3.weight", dim=1)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prune_channels(model, "magnitude", 0.5, groups=groups)
    with pytest.raises(ValueError, match=rf"cannot shrink 0: its channels go through 1 \({type(between).__name__}\)") as caught:
        shrink(model, groups)
    assert "\n" not in str(caught.value)


def test_one_prelu_weight_for_all_channels_stays() -> None:
    model = between_net(nn.PReLU())
    groups = [channel_group(model, "0", "3")]
    prune_channels(model, "magnitude", 0.5, groups=groups)
    small = shrink(model)
    x = torch.randn(3, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(small(x), model(x), rtol=1e-9, atol=1e-9)


def test_part_of_a_group_of_a_group_norm_is_not_cut() -> None:
    model = between_net(nn.GroupNorm(4, 8))
    followers = (Slice("0.bias"), Slice("1.weight"), Slice("1.bias"), Slice("3.weight", dim=1))
    group = ChannelGroup("0", 8, Slice("0.weight"), followers)
    with pytest.warns(UserWarning, match="channels of 0 could not be followed"):
        prune_channels(model, "magnitude", 4, groups=[group])
    with pytest.raises(ValueError, match="cannot shrink 1: it normalises 2 channels together, and 1 go at a time"):
        shrink(model)


def test_a_second_reader_that_the_group_does_not_name_is_refused() -> None:
    class TwoReaders(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.relu(self.fc(x))
            out: Tensor = self.a(h) + self.b(h)
            return out

    model = TwoReaders()
    assert [s.name for s in find_groups(model)[0].followers] == ["fc.bias", "a.weight", "b.weight"]
    with pytest.warns(UserWarning, match="channels of fc could not be followed"):
        prune_channels(model, "magnitude", 2, groups=[channel_group(model, "fc", "a")])
    with pytest.raises(ValueError, match="cannot shrink fc: b reads its channels too, which the group does not name"):
        shrink(model)


# --- the model remembers ---------------------------------------------------------------------------------------------------


def hidden_by_code() -> tuple[nn.Module, list[ChannelGroup], Tensor]:
    """A model whose forward cannot be followed, so that only its user knows the groups."""
    torch.manual_seed(0)
    model = Hidden()
    return model, [channel_group(model, "fc1", "fc2")], torch.randn(5, 3)


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.fc1(x))
        return torch.as_tensor(self.fc2(h if h.sum() > -1 else -h))


@pytest.mark.filterwarnings("ignore:channels of fc1 could not be followed")
@pytest.mark.parametrize("way", ["itself", "deepcopy", "pickle", "torch.save", "wrapped"])
def test_groups_that_a_prune_was_given_are_remembered(way: str, tmp_path: Any) -> None:
    model, groups, x = hidden_by_code()
    keys = [f"{n}{'_orig' if n != 'fc2.bias' else ''}" for n in model.state_dict()]
    prune_channels(model, "magnitude", 4, groups=groups)
    if way == "deepcopy":
        model = copy.deepcopy(model)
    elif way == "pickle":
        model = pickle.loads(pickle.dumps(model))
    elif way == "torch.save":
        torch.save(model, tmp_path / "model.pt")
        model = torch.load(tmp_path / "model.pt", weights_only=False)
    small = shrink(nn.DataParallel(model)).module if way == "wrapped" else shrink(model)
    assert small.fc1.out_features == 4
    torch.testing.assert_close(small(x), model(x))
    assert {k for k in model.state_dict() if not k.endswith("_mask")} == set(keys)  # nothing of it among the tensors
    with pytest.raises(ValueError, match="the model carries no mask"):
        shrink(small)  # of other sizes now: forgotten


@pytest.mark.filterwarnings("ignore:channels of fc1 could not be followed")
def test_remembered_groups_are_left_behind_with_the_masks_and_stand_before_those_found() -> None:
    model, groups, _ = hidden_by_code()
    prune_channels(model, "magnitude", 4, groups=groups)
    assert not [name for name in finalize(model).__dict__ if "sics" in name]
    vit = lively(small_vit())
    own = [replace(find_groups(vit)[0], name="mine")]
    prune_channels(vit, "random", 0.5, groups=own, seed=1)
    prune_channels(vit, "random", 0.5, seed=1)  # all of them, by another name
    prune_channels(vit, "random", 0.5, unit="head", seed=1)
    assert_same(vit, shrink(vit), torch.randn(2, 3, 16, 16))


# --- an example -------------------------------------------------------------------------------------------------------------


class Reads(nn.Module):
    """conv, then something, then a layer; `take` says what the forward does between them."""

    def __init__(self, take: Callable[[nn.Module, Tensor], Tensor], last: nn.Module, **more: nn.Module) -> None:
        super().__init__()
        self.conv, self.last, self.take = nn.Conv2d(3, 4, 1), last, take
        for name, module in more.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.conv(x))
        return torch.as_tensor(self.last(self.take(self, h)))


RIGHT: dict[str, Callable[[], nn.Module]] = {
    "flatten": lambda: Reads(lambda m, h: h.flatten(1), nn.Linear(16, 5)),
    "permuted back": lambda: Reads(lambda m, h: h.permute(0, 2, 3, 1).permute(0, 3, 1, 2), nn.Conv2d(4, 5, 1)),
    "sum over channels": lambda: Reads(lambda m, h: h + h.sum(1, keepdim=True), nn.Conv2d(4, 5, 1)),  # of zeros
    "split and joined": lambda: Reads(lambda m, h: torch.cat([h, h * 0], 2).flatten(1), nn.Linear(32, 5)),
}
WRONG: dict[str, Callable[[], nn.Module]] = {
    "channels last": lambda: Reads(lambda m, h: h.permute(0, 2, 3, 1).flatten(1), nn.Linear(16, 5)),
    "read elsewhere": lambda: Reads(lambda m, h: h + m.other(h), nn.Conv2d(4, 5, 1), other=nn.Conv2d(4, 4, 1)),  # type: ignore
    "norm not named": lambda: Reads(lambda m, h: m.norm(h), nn.Conv2d(4, 5, 1), norm=nn.BatchNorm2d(4)),  # type: ignore
    "plain layer norm": lambda: Reads(lambda m, h: nn.functional.layer_norm(h, h.shape[1:]), nn.Conv2d(4, 5, 1)),
    "shuffle": lambda: Reads(lambda m, h: nn.functional.channel_shuffle(h, 2), nn.Conv2d(4, 5, 1)),
    "mean over channels": lambda: Reads(lambda m, h: h + h.mean(1, keepdim=True), nn.Conv2d(4, 5, 1)),
    "softmax": lambda: Reads(lambda m, h: h.softmax(1), nn.Conv2d(4, 5, 1)),
    "behind a zero": lambda: zeroed(Reads(lambda m, h: h.permute(0, 2, 3, 1).flatten(1), nn.Linear(16, 5))),
}


def zeroed(model: nn.Module) -> nn.Module:
    """As blocks begin whose branch is to contribute nothing at first: both its ways are then the same."""
    nn.init.zeros_(model.last.weight)  # type: ignore[union-attr, arg-type]
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", RIGHT)
def test_an_example_lets_right_groups_through(name: str, dtype: torch.dtype) -> None:
    model = RIGHT[name]().to(dtype)
    x = torch.randn(2, 3, 2, 2)
    report = prune_channels(model, "magnitude", 2, groups=[channel_group(model, "conv", "last")], example=x)
    assert report.pruned == 2
    assert shrink(model, example={"x": x}).conv.out_channels == 2


@pytest.mark.parametrize("name", WRONG)
def test_an_example_shows_wrong_groups_before_anything_is_changed(name: str) -> None:
    model = WRONG[name]()
    x, groups = torch.randn(2, 3, 2, 2), [channel_group(model, "conv", "last")]
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="the group conv is wrong for this model: with") as caught:
        prune_channels(model, "magnitude", 2, groups=groups, example=(x,))
    assert "\n" not in str(caught.value)
    assert not prune.is_pruned(model)
    assert model.training
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    with pytest.warns(UserWarning, match="channels of conv could not be followed to what reads them; pass `example=`"):
        prune_channels(model, "magnitude", 2, groups=groups)
    with pytest.raises(ValueError, match=r"the group conv is wrong|cannot shrink conv"):
        shrink(model, groups, example=x)


def test_of_several_groups_the_wrong_one_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), WRONG["channels last"]())
    groups = [channel_group(model, "0", "2"), channel_group(model, "3.conv", "3.last")]
    model[3].conv = nn.Conv2d(4, 4, 1)
    with pytest.raises(ValueError, match=r"the group 3\.conv is wrong"):
        prune_channels(model, "magnitude", 0.5, pool="layer", groups=groups, example=torch.randn(2, 3, 2, 2))


@pytest.mark.parametrize(
    ("example", "error", "message"),
    [
        (3, TypeError, "Expected `example` to be a tensor, a tuple or a mapping of arguments, got int"),
        (torch.randn(2, 7, 2, 2), ValueError, "`example` does not run through the Reads: "),
        ({"y": torch.randn(2, 3, 2, 2)}, ValueError, "`example` does not run through the Reads: .*'y'"),
    ],
)
def test_an_example_that_does_not_fit_is_refused(example: object, error: type[Exception], message: str) -> None:
    model = RIGHT["flatten"]()
    with pytest.raises(error, match=message):
        prune_channels(model, "magnitude", 2, groups=[channel_group(model, "conv", "last")], example=example)
    assert not prune.is_pruned(model)


def test_found_groups_pass_an_example_with_heads_and_channels_gone() -> None:
    model, x = lively(small_vit()), torch.randn(2, 3, 16, 16)
    prune_channels(model, "random", 0.5, seed=1, example=x)
    prune_channels(model, "random", 0.5, unit="head", seed=1, example=x)
    assert_same(model, shrink(model, example=x), x)


# --- what is left of the model -------------------------------------------------------------------------------------------


def test_everything_else_is_as_it_was() -> None:
    dense = lively(small_vit())
    dense.blocks[0].attn.qkv.weight.requires_grad_(False)
    dense.blocks[1].mlp.fc2.train()
    dense.note = "kept"
    prune_channels(dense, "random", 0.5, seed=1)
    prune_channels(dense, "random", 0.5, unit="head", pool="layer", seed=1)
    state, masks = copy.deepcopy(dense.state_dict()), current_masks(dense)
    small = shrink(dense)
    assert all(torch.equal(dense.state_dict()[k], v) for k, v in state.items())
    assert current_masks(dense).keys() == masks.keys()
    assert type(small) is type(dense)
    assert small.note == "kept"
    assert not prune.is_pruned(small)
    assert not [n for n in small.state_dict() if n.endswith(("_orig", "_mask"))]
    assert not any(m._forward_pre_hooks for m in small.modules())
    assert {n for n, _ in small.named_parameters()} == {n.removesuffix("_orig") for n, _ in dense.named_parameters()}
    assert not small.blocks[0].attn.qkv.weight.requires_grad
    assert small.blocks[0].attn.proj.weight.requires_grad
    assert small.blocks[1].mlp.fc2.training
    assert not small.blocks[0].mlp.fc2.training
    untouched = {n for n in state if "attn" not in n and "mlp" not in n}
    assert all(torch.equal(small.state_dict()[n], state[n]) for n in untouched)
    own = {p.data_ptr() for p in dense.parameters()}
    assert not any(p.data_ptr() in own for p in small.parameters())


def test_the_rows_kept_are_the_models_own_in_their_order() -> None:
    model = Mlp(5, 6)
    weight, bias, readout = model.fc1.weight.detach().clone(), model.fc1.bias.detach().clone(), model.fc2.weight.detach().clone()
    with torch.no_grad():
        model.fc1.weight[[1, 4]] *= 1e-3
    prune_channels(model, "magnitude", 2)
    small = shrink(model)
    kept = [0, 2, 3, 5]
    assert torch.equal(small.fc1.weight, weight[kept])
    assert torch.equal(small.fc1.bias, bias[kept])
    assert torch.equal(small.fc2.weight, readout[:, kept])


def test_it_trains_is_copied_pickled_and_loaded() -> None:
    model = lively(small_vit())
    prune_channels(model, "random", 0.5, seed=1)
    prune_channels(model, "random", 3, unit="head", seed=1)
    small = shrink(model)
    twin = copy.deepcopy(small)
    x, y = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    optimizer = torch.optim.SGD(small.parameters(), lr=0.1)
    nn.functional.cross_entropy(small(x), y).backward()
    optimizer.step()
    assert not torch.equal(small(x), twin(x))
    twin.load_state_dict(small.state_dict())
    assert torch.equal(twin(x), small(x))
    assert torch.equal(pickle.loads(pickle.dumps(small))(x), small(x))


def test_a_shrunk_model_is_rebuilt_from_masks_and_weights(tmp_path: Any) -> None:
    model = lively(small_vit())
    prune_channels(model, "random", 0.5, seed=1)
    export_masks(model, tmp_path / "masks.safetensors")
    small = shrink(model)
    fresh = small_vit()
    load_masks(fresh, tmp_path / "masks.safetensors")
    rebuilt = shrink(fresh).eval()
    rebuilt.load_state_dict(small.state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(rebuilt(x), small(x))


def test_shrinking_again_after_another_prune() -> None:
    model = lively(small_vit())
    prune_channels(model, "random", 0.5, unit="head", pool="layer", seed=1)
    once = shrink(model)
    prune_channels(once, "random", 0.5, unit="head", pool="layer", seed=2)
    prune_channels(once, "random", 0.5, seed=2)
    twice = shrink(once)
    assert [b.attn.num_heads for b in twice.blocks] == [1, 1]
    assert_same(once, twice, torch.randn(2, 3, 16, 16))


def test_masks_of_single_weights_stay_as_zeros() -> None:
    model = lively(small_vit())
    prune_model(model, "magnitude", amount=0.3)
    prune_channels(model, "magnitude", 0.4)
    model(torch.randn(1, 3, 16, 16))  # weights are now results of autograd, which deepcopy refuses
    small = shrink(model)
    assert_same(model, small, torch.randn(2, 3, 16, 16))
    assert float((small.blocks[0].attn.qkv.weight == 0).float().mean()) > 0.05


def test_a_layer_that_lost_everything_keeps_one_unit_of_zeros() -> None:
    dense = lively(small_vit())
    model = copy.deepcopy(dense)
    prune_channels(model, "magnitude", 1.0)
    prune_channels(model, "magnitude", 1.0, unit="head")
    small = shrink(model)
    assert_same(model, small, torch.randn(2, 3, 16, 16), dense)
    for block in small.blocks:
        assert (block.mlp.fc1.out_features, block.attn.num_heads) == (1, 1)
        assert not block.mlp.fc1.weight.any()
        assert not block.attn.proj.weight.any()
    resnet = lively(torchvision.models.resnet18(num_classes=10))
    prune_channels(resnet, "magnitude", 1.0)
    tiny = shrink(resnet)
    assert {b.conv1.out_channels for layer in (tiny.layer1, tiny.layer4) for b in layer} == {1}
    assert_same(resnet, tiny, torch.randn(2, 3, 32, 32))


def test_channels_last_stays_channels_last() -> None:
    model = lively(torchvision.models.resnet18(num_classes=10)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prune_channels(model, "magnitude", 0.5, pool="layer")
    small = shrink(model)
    weight = small.layer2[0].conv2.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


# --- refusals ------------------------------------------------------------------------------------------------------------


def test_nothing_to_shrink() -> None:
    model = small_vit()
    with pytest.raises(ValueError, match="nothing to shrink: the model carries no mask"):
        shrink(model)
    prune_model(model, "magnitude", amount=0.5)
    with pytest.raises(ValueError, match="nothing to shrink: no channel or head is entirely masked"):
        shrink(model)


def test_a_prune_of_one_tensor_leaves_what_reads_it_and_is_not_shrunk() -> None:
    model = lively(Mlp(5, 8))
    SICSStructuredMagnitude.apply(model.fc1, "weight", amount=0.5)
    with pytest.raises(ValueError, match="leaves what reads its channels in place"):
        shrink(model)


def test_channels_are_shrunk_beside_attention_that_is_not_known() -> None:
    model = lively(small_vit(scale_attn_norm=True))  # its heads cannot go one by one
    prune_channels(model, "random", 0.5, seed=1)
    assert_same(model, shrink(model), torch.randn(2, 3, 16, 16))


def test_a_group_that_forgets_a_tensor_is_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    group = ChannelGroup("0", 4, Slice("0.weight"), (Slice("2.weight", dim=1),))
    prune_channels(model, "magnitude", 2, groups=[group])
    with pytest.raises(ValueError, match="names only some tensors of 0"):
        shrink(model, [group])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.LayerNorm(4), "cannot shrink 1: known are linear layers, .*, got LayerNorm"),
        (nn.Conv1d(4, 4, 1, groups=2, bias=False), "cannot shrink 1: a convolution in 2 groups that is not depthwise"),
    ],
)
def test_modules_it_cannot_adapt_are_refused(layer: nn.Module, message: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), layer, nn.Linear(4, 2))
    followers = (Slice("0.bias"), *(Slice(f"1.{n}") for n, _ in layer.named_parameters()), Slice("2.weight", dim=1))
    group = ChannelGroup("0", 4, Slice("0.weight"), followers)
    prune_channels(model, "magnitude", 2, groups=[group])
    with pytest.raises(ValueError, match=message):
        shrink(model, [group])


def test_attention_that_reshapes_to_a_fixed_size_is_refused() -> None:
    model = small_vit()
    prune_channels(model, "magnitude", 2, unit="head", min_keep=1)
    for block in model.blocks:
        del block.attn.attn_dim  # as in older releases of timm
    with pytest.raises(ValueError, match=r"cannot take heads out of blocks\.\d\.attn: its Attention has no attn_dim"):
        shrink(model)


def test_tied_weights_are_refused() -> None:
    model = small_vit()
    prune_channels(model, "magnitude", 0.5)
    model.blocks[1].mlp.fc1.weight_orig = model.blocks[0].mlp.fc1.weight_orig
    with pytest.raises(ValueError, match="is tied to"):
        shrink(model)


def test_warnings_do_not_come_with_it() -> None:
    model = lively(small_vit())
    prune_channels(model, "random", 0.5, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shrink(model)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("unit", ["channel", "head"])
def test_on_cuda_the_same_units_go_and_the_shrunk_model_stays_there(unit: Any) -> None:
    here = lively(small_vit())
    there = copy.deepcopy(here).cuda()
    reports = [prune_channels(m, "chaos", 0.5, unit=unit) for m in (here, there)]
    assert reports[0].mask_hash == reports[1].mask_hash
    small = shrink(there)
    assert {p.device.type for p in small.parameters()} == {"cuda"}
    assert_same(there, small, torch.randn(2, 3, 16, 16, device="cuda"))


def test_a_model_on_the_cpu_asks_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random numbers are kept for the cards in use alone: asking for another's would begin to use it."""

    def asked(*_: Any) -> Any:
        raise AssertionError("a card was asked")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", asked)
    model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 4)
    prune_channels(model, "magnitude", 0.5, example=x)
    with warnings.catch_warnings(action="error"):
        small = shrink(model, example=x)
    assert torch.allclose(small(x), model(x), atol=1e-6)
