"""compute_channel_masks and prune_channels: what goes with a unit, how units are ranked, what is reported and refused."""

from __future__ import annotations

import copy
import itertools
import json
import math
import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import (
    Calibration,
    ChannelGroup,
    ChannelReport,
    CoordinateScorer,
    RankScorer,
    Saliency,
    SaliencyVector,
    SICSChaos,
    SICSStructuredChaos,
    Slice,
    VanishedLayerWarning,
    build_scorer,
    channel_group,
    channel_saliency,
    compute_channel_masks,
    current_masks,
    export_masks,
    finalize,
    find_groups,
    get_scorer,
    held_out_loss,
    list_scorers,
    load_masks,
    mask_hash,
    masked,
    prune_channels,
    shrink,
    unit_masks,
)
from sics_plugin.pruning.channels import SALIENCY_CONSTANT


class Net(nn.Module):
    """Linear 2 → 3, GELU, Linear 3 → 2."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 2)
        with torch.no_grad():
            self.fc1.weight.copy_(torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, -2.0]]))  # norms 5, 1, 2
            self.fc1.bias.copy_(torch.tensor([0.1, 9.0, 0.3]))  # the largest bias belongs to the smallest row
            self.fc2.weight.copy_(torch.tensor([[1.0, 50.0, 3.0], [4.0, 50.0, 6.0]]))  # and so does the largest column

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


def chain(sizes: list[int], seed: int = 0) -> tuple[nn.Sequential, list[ChannelGroup]]:
    """Linear layers of these widths with ReLU between them, and the groups of the hidden ones."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return model, [channel_group(model, str(i), str(i + 2)) for i in range(0, len(model) - 2, 2)]


def quiet(*args: object, **kwargs: object) -> tuple[dict[str, Tensor], ChannelReport]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VanishedLayerWarning)
        return compute_channel_masks(*args, **kwargs)  # type: ignore[arg-type]


@pytest.fixture
def net() -> tuple[Net, list[ChannelGroup]]:
    model = Net()
    return model, [channel_group(model, "fc1", "fc2")]


# --- by hand -----------------------------------------------------------------------------------------------------------


def test_a_channel_takes_its_row_bias_and_column_along(net: tuple[Net, list[ChannelGroup]]) -> None:
    model, groups = net
    masks, report = compute_channel_masks(model, "magnitude", 1, groups=groups)
    assert masks["fc1.weight"].tolist() == [[True, True], [False, False], [True, True]]
    assert masks["fc1.bias"].tolist() == [True, False, True]
    assert masks["fc2.weight"].tolist() == [[True, False, True], [True, False, True]]
    assert set(masks) == {"fc1.weight", "fc1.bias", "fc2.weight"}
    assert (report.unit, report.total, report.pruned, report.threshold) == ("channel", 3, 1, 1.0)
    assert [(x.name, x.shape, x.total, x.pruned) for x in report.layers] == [("fc1", (3,), 3, 1)]
    assert {p.name: p.pruned for p in report.parameters} == {"fc1.weight": 2, "fc1.bias": 1, "fc2.weight": 2}
    assert (report.weight_total, report.weight_pruned, report.weight_sparsity) == (12, 4, 4 / 12)
    assert report.sparsity == 1 / 3
    assert report.mask_hash == mask_hash(masks)


def test_the_output_is_that_of_the_two_channels_left(net: tuple[Net, list[ChannelGroup]]) -> None:
    model, groups = net
    x = torch.tensor([[0.5, -1.0]])
    hidden = nn.functional.gelu(torch.tensor([1.5 - 4.0 + 0.1, 2.0 + 0.3]))
    expected = hidden @ torch.tensor([[1.0, 4.0], [3.0, 6.0]]) + model.fc2.bias
    prune_channels(model, "magnitude", 1, groups=groups)
    torch.testing.assert_close(model(x), expected[None])


def test_the_bias_does_not_leak_through_an_activation_that_is_not_zero_at_zero(net: tuple[Net, list[ChannelGroup]]) -> None:
    model, groups = net
    model.act = nn.Sigmoid()  # type: ignore[assignment]
    with pytest.warns(VanishedLayerWarning):
        prune_channels(model, "magnitude", 3, groups=groups)
    torch.testing.assert_close(model(torch.randn(4, 2)), model.fc2.bias.expand(4, 2))


def test_saliency_of_a_unit_is_the_root_of_the_sum_of_squares_over_its_row(net: tuple[Net, list[ChannelGroup]]) -> None:
    model, groups = net
    x, y = torch.tensor([[1.0, 2.0], [-1.0, 0.5]]), torch.tensor([0, 1])
    saliency = Saliency(model, [(x, y)], nn.functional.cross_entropy)
    vector = channel_saliency(model, saliency, groups=groups)
    assert isinstance(vector, SaliencyVector)
    assert vector.kind == "gradient"
    torch.testing.assert_close(torch.Tensor(vector), saliency.tensor(model.fc1, "weight").norm(dim=1))
    masks, report = compute_channel_masks(model, "gradient", 1, saliency=saliency, groups=groups)
    score = torch.tensor([5.0, 1.0, 2.0]) * torch.Tensor(vector)
    assert int((~unit_masks(masks, groups)["fc1"]).nonzero()) == int(score.argmin())
    assert (report.saliency_kind, report.alpha) == ("gradient", None)
    by_vector, _ = compute_channel_masks(model, "gradient", 1, saliency=vector, groups=groups)
    assert mask_hash(by_vector) == report.mask_hash


def test_heads_take_value_rows_their_bias_and_projection_columns(model_of: Callable[[str], nn.Module]) -> None:
    vit = model_of("vit_s")
    attn = vit.blocks[1].attn
    heads, width, dim = attn.num_heads, attn.head_dim, attn.attn_dim
    with torch.no_grad():
        for block in vit.blocks:
            block.attn.qkv.weight[2 * dim :] *= 10
        attn.qkv.weight[2 * dim + 2 * width : 2 * dim + 3 * width] *= 0.01  # the third head of the second block
    masks, report = compute_channel_masks(vit, "magnitude", 1, unit="head")
    assert (report.total, report.pruned, report.unit) == (2 * heads, 1, "head")
    gone = ~masks["blocks.1.attn.qkv.weight"]
    assert gone.any(1).nonzero().squeeze(1).tolist() == list(range(2 * dim + 2 * width, 2 * dim + 3 * width))
    assert bool((gone.any(1) == gone.all(1)).all())
    assert torch.equal(~masks["blocks.1.attn.qkv.bias"], gone.any(1))
    columns = ~masks["blocks.1.attn.proj.weight"]
    assert columns.all(0).nonzero().squeeze(1).tolist() == list(range(2 * width, 3 * width))
    assert report.weight_pruned == 2 * width * dim
    assert bool(masks["blocks.0.attn.qkv.weight"].all())


def test_a_removed_head_contributes_nothing(model_of: Callable[[str], nn.Module]) -> None:
    vit = model_of("vit_s").eval()
    attn = vit.blocks[0].attn
    nn.init.normal_(attn.qkv.bias)
    x = torch.randn(2, 5, attn.attn_dim)
    q, k, v = attn.qkv(x).reshape(2, 5, 3, attn.num_heads, attn.head_dim).permute(2, 0, 3, 1, 4)
    mixed = nn.functional.scaled_dot_product_attention(q, k, v)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prune_channels(vit, "random", 0.5, unit="head", pool="layer", seed=1)
    kept = unit_masks(current_masks(vit), find_groups(vit, "head"))["blocks.0.attn"]
    expected = attn.proj((mixed * kept[None, :, None, None]).transpose(1, 2).reshape(2, 5, -1))
    assert int(kept.sum()) == 3
    torch.testing.assert_close(attn(x), expected)


# --- against torch -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [0.3, 0.5, 0.8])
def test_rows_are_those_of_ln_structured(amount: float) -> None:
    model, groups = chain([7, 40, 30, 4])
    masks, _ = compute_channel_masks(model, "magnitude", amount, pool="layer", groups=groups)
    for group in groups:
        layer = copy.deepcopy(model[int(group.name)])
        prune.ln_structured(layer, "weight", amount=amount, n=2, dim=0)
        assert torch.equal(unit_masks(masks, groups)[group.name], layer.weight_mask.any(1))


def test_a_global_pool_compares_norms_as_they_are() -> None:
    model, groups = chain([4, 10, 12, 3])
    masks, report = compute_channel_masks(model, "magnitude", 9, groups=groups)
    norms = torch.cat([model[0].weight.norm(dim=1), model[2].weight.norm(dim=1)])
    expected = norms > norms.sort().values[8]
    assert torch.equal(torch.cat(list(unit_masks(masks, groups).values())), expected)
    assert [x.pruned for x in report.layers] == [int((~expected[:10]).sum()), int((~expected[10:]).sum())]


@settings(deadline=None, max_examples=20)
@given(
    widths=st.lists(st.integers(1, 24), min_size=2, max_size=4),
    amount=st.floats(0, 1),
    scorer=st.sampled_from([n for n in list_scorers() if get_scorer(n).requires is None]),
    pool=st.sampled_from(["global", "layer"]),
    seed=st.integers(0, 5),
)
def test_exactly_k_units_go_and_everything_of_them(widths: list[int], amount: float, scorer: str, pool: str, seed: int) -> None:
    model, groups = chain([3, *widths, 2], seed)
    masks, report = quiet(model, scorer, amount, pool=pool, groups=groups)
    sizes = widths if pool == "layer" else [sum(widths)]
    assert report.pruned == sum(round(amount * n) for n in sizes)
    assert report.total == sum(widths)
    kept = unit_masks(masks, groups)
    for layer, group in zip(report.layers, groups, strict=True):
        units = kept[group.name]
        assert layer.pruned == int((~units).sum())
        for part in group.masked:
            rows = part.rows(masks[part.name], group.size)
            assert not bool(rows[~units].any())
        assert torch.equal(masks[group.producer.name], units[:, None] & _columns(masks, groups, group))
    assert report.mask_hash == mask_hash(masks)
    counted = sum(m.numel() - int(m.sum()) for n, m in masks.items() if n.endswith("weight"))
    assert (report.weight_pruned, report.weight_total) == (counted, sum(p.numel() for p in model.parameters() if p.dim() > 1))
    json.dumps(report.to_dict())


def _columns(masks: dict[str, Tensor], groups: list[ChannelGroup], group: ChannelGroup) -> Tensor:
    """Which columns of a layer the layer before it leaves."""
    before = [g for g in groups if g.followers[-1].name == group.producer.name]
    shape = masks[group.producer.name].shape
    return unit_masks(masks, before)[before[0].name].expand(shape) if before else torch.ones(shape, dtype=torch.bool)


@settings(deadline=None, max_examples=25)
@given(permutation=st.permutations(range(12)), scorer=st.sampled_from(["magnitude", "chaos", "fake", "information"]))
def test_permuting_units_permutes_the_mask(permutation: list[int], scorer: str) -> None:
    model, groups = chain([5, 12, 3])
    saliency = torch.rand(12, generator=torch.Generator().manual_seed(1))
    masks, _ = compute_channel_masks(model, scorer, 0.5, saliency=saliency, groups=groups)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.copy_(model[0].weight[permutation])
    shuffled, _ = compute_channel_masks(other, scorer, 0.5, saliency=saliency[permutation], groups=groups)
    assert torch.equal(unit_masks(shuffled, groups)["0"], unit_masks(masks, groups)["0"][permutation])


# --- scorers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["global", "layer"])
@pytest.mark.parametrize("unit", ["channel", "head"])
def test_every_registered_scorer_runs(unit: str, pool: str, model_of: Callable[[str], nn.Module]) -> None:
    vit = model_of("vit_s")
    x, y = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    saliency = Saliency(vit, [(x, y)], nn.functional.cross_entropy)
    total = 2 * (1536 if unit == "channel" else 6)
    hashes = {}
    for name in [n for n in list_scorers() if get_scorer(n).role != "peer"]:
        _, report = quiet(vit, name, 0.5, unit=unit, pool=pool, saliency=saliency)
        assert (report.pruned, report.total, report.method, report.pool) == (total // 2, total, name, pool)
        assert ("coordinate unresolved" in report.flags) == (
            unit == "head" and (name == "fusion" or issubclass(get_scorer(name), CoordinateScorer))
        )
        assert (report.alpha == 0.15) == (issubclass(get_scorer(name), RankScorer) and name != "adaptive")
        hashes[name] = report.mask_hash
    assert (
        len({hashes[name] for name in ("magnitude", "power", "log", "magnitude_power", "adaptive")}) == 1
    )  # S = 0.5: adaptive is magnitude
    if unit == "channel":
        default = [
            found for name, found in hashes.items() if not get_scorer(name).on_request
        ]  # of others several are monotone in z
        assert len(set(default)) == len(default) - 3


def test_the_adaptive_scorer_resolves_by_the_sparsity_of_units() -> None:
    model, groups = chain([4, 50, 3])
    _, report = compute_channel_masks(model, "adaptive", 0.7, saliency=torch.rand(50), groups=groups)
    assert (report.scorer, report.method, report.kappa) == ("smooth_chaos", "adaptive", 1)


def test_an_absolute_target_reaches_features_that_depend_on_it() -> None:
    model, groups = chain([4, 50, 3])
    saliency = torch.rand(50)
    masks, report = compute_channel_masks(model, "adaptive", 0.5, sparsity=0.8, saliency=saliency, groups=groups)
    assert report.scorer == "chaos"
    expected, _ = compute_channel_masks(model, "chaos", 0.5, saliency=saliency, groups=groups)
    assert mask_hash(masks) == mask_hash(expected)


def test_methods_scorers_and_names_agree() -> None:
    model, groups = chain([4, 300, 3])
    reports = [
        compute_channel_masks(model, m, 0.5, groups=groups, **p)[1]
        for m, p in (
            ("chaos", {"alpha": 0.3}),
            (build_scorer("chaos", alpha=0.3), {}),
            (SICSChaos, {"alpha": 0.3}),
            (SICSStructuredChaos, {"alpha": 0.3}),
        )
    ]
    assert len({r.mask_hash for r in reports}) == 1
    assert [r.method for r in reports] == ["chaos", "chaos", "SICSChaos", "SICSStructuredChaos"]


def test_random_draws_afresh_for_every_layer() -> None:
    model, groups = chain([4, 40, 40, 3])
    masks, _ = compute_channel_masks(model, "random", 0.5, pool="layer", groups=groups, seed=3)
    first, second = unit_masks(masks, groups).values()
    assert not torch.equal(first, second)
    again, _ = compute_channel_masks(model, "random", 0.5, pool="layer", groups=groups, seed=3)
    assert mask_hash(again) == mask_hash(masks)


def test_neighbourhood_saliency_is_no_saliency() -> None:
    model, groups = chain([4, 300, 3])
    _, plain = compute_channel_masks(model, "chaos", 0.5, groups=groups)
    _, named = compute_channel_masks(model, "chaos", 0.5, groups=groups, saliency=Saliency(model, kind="neighbourhood"))
    assert plain.mask_hash == named.mask_hash
    assert (plain.alpha, plain.saliency_kind) == (named.alpha, named.saliency_kind) == (0.05, "neighbourhood")
    with pytest.raises(ValueError, match="neighbourhood"):
        channel_saliency(model, Saliency(model, kind="neighbourhood"), groups=groups)


def test_activation_saliency_is_flagged_because_all_units_of_a_layer_read_the_same() -> None:
    model, groups = chain([4, 300, 3])
    saliency = Saliency(model, [(torch.randn(8, 4), torch.zeros(8))], kind="activation")
    _, report = compute_channel_masks(model, "chaos", 0.5, groups=groups, saliency=saliency)
    assert SALIENCY_CONSTANT in report.flags
    _, gradient = compute_channel_masks(model, "chaos", 0.5, groups=groups, saliency=torch.rand(300))
    assert SALIENCY_CONSTANT not in gradient.flags


def test_saliency_of_the_model_works_on_a_copy(net: tuple[Net, list[ChannelGroup]]) -> None:
    model, groups = net
    saliency = Saliency(model, [(torch.randn(4, 2), torch.tensor([0, 1, 0, 1]))])
    _, here = compute_channel_masks(model, "gradient", 1, saliency=saliency, groups=groups)
    _, there = compute_channel_masks(copy.deepcopy(model), "gradient", 1, saliency=saliency, groups=groups)
    assert here.mask_hash == there.mask_hash


# --- other layouts, and groups of one's own --------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["global", "layer", "erk"])
def test_layers_that_keep_their_weights_the_other_way_round_lose_the_same_channels(pool: str) -> None:
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D
    model, groups = chain([4, 20, 12, 3])
    other = nn.Sequential(*(conv1d(m.out_features, m.in_features) if isinstance(m, nn.Linear) else m for m in model))
    with torch.no_grad():
        for mine, theirs in zip(model[::2], other[::2], strict=True):
            theirs.weight.copy_(mine.weight.T)
            theirs.bias.copy_(mine.bias)
    expected, report = quiet(model, "magnitude", 0.5, pool=pool, groups=groups)
    masks, same = quiet(other, "magnitude", 0.5, pool=pool, groups=(twins := find_groups(other)))
    assert [layer.pruned for layer in same.layers] == [layer.pruned for layer in report.layers]
    assert unit_masks(masks, twins).keys() == unit_masks(expected, groups).keys()
    for name, kept in unit_masks(expected, groups).items():
        assert torch.equal(unit_masks(masks, twins)[name], kept)


class ChannelsLast(nn.Module):
    """A flatten that puts the channels last: not what `channel_group` takes a reader of maps for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 6, 1), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(torch.relu(self.conv(x)).permute(0, 2, 3, 1).flatten(1))
        return out


def test_held_out_batches_serve_as_the_example_of_groups_made_by_hand() -> None:
    batches = [(torch.randn(12, 2, 2, 2), torch.randint(3, (12,)))]
    how = Calibration(held_out_loss(batches), budget=2)
    model = ChannelsLast()
    groups = [channel_group(model, "conv", "fc")]
    for function in (prune_channels, compute_channel_masks):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the trials
            with pytest.raises(ValueError, match="the group conv is wrong for this model"):
                function(model, "adaptive", 0.5, groups=groups, calibrate=how)
    assert not prune.is_pruned(model)
    right, own = chain([4, 6, 3])
    batches[0] = (torch.randn(12, 4), batches[0][1])
    assert prune_channels(right, "adaptive", 0.5, groups=own, calibrate=how).pruned == 3


def test_masks_of_wrong_groups_are_refused_on_an_example() -> None:
    model = ChannelsLast()
    with pytest.raises(ValueError, match="the group conv is wrong for this model: with the removed channels taken out"):
        compute_channel_masks(
            model, "magnitude", 0.5, groups=[channel_group(model, "conv", "fc")], example=torch.randn(1, 2, 2, 2)
        )


def test_only_groups_that_cannot_be_followed_are_told_without_an_example() -> None:
    model, groups = chain([4, 6, 3])
    wrong = ChannelsLast()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prune_channels(model, "magnitude", 0.5, groups=groups)
    with pytest.warns(UserWarning, match="channels of conv could not be followed") as caught:
        prune_channels(wrong, "magnitude", 0.5, groups=[channel_group(wrong, "conv", "fc")])
    assert caught[0].filename == __file__


# --- in torch's form -----------------------------------------------------------------------------------------------------


def test_prune_channels_leaves_torchs_hooks_and_the_masks_computed(model_of: Callable[[str], nn.Module]) -> None:
    model = model_of("resnet18").eval()
    before = copy.deepcopy(model)
    masks, planned = compute_channel_masks(model, "magnitude", 0.4, pool="layer")
    assert not prune.is_pruned(model)
    report = prune_channels(model, "magnitude", 0.4, pool="layer")
    assert report == planned
    installed = current_masks(model)
    assert mask_hash(installed) == report.mask_hash
    assert installed.keys() == masks.keys()
    assert all(torch.equal(installed[name], mask) for name, mask in masks.items())
    assert prune.is_pruned(model.layer1[0].conv1)
    assert prune.is_pruned(model.layer1[0].bn1)
    assert not prune.is_pruned(model.layer1[0].bn2)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        pruned = model(x)
        with masked(before, masks):
            torch.testing.assert_close(before(x), pruned)
        torch.testing.assert_close(finalize(copy.deepcopy(model))(x), pruned)


def test_deepcopy_state_dict_and_mask_files(tmp_path: object, net: tuple[Net, list[ChannelGroup]]) -> None:
    model, groups = net
    dense = copy.deepcopy(model)
    prune_channels(model, "magnitude", 1, groups=groups)
    twin = copy.deepcopy(model)
    x = torch.randn(3, 2)
    torch.testing.assert_close(twin(x), model(x))
    twin.load_state_dict(model.state_dict())
    export_masks(model, f"{tmp_path}/masks.safetensors")
    load_masks(dense, f"{tmp_path}/masks.safetensors")
    torch.testing.assert_close(dense(x), model(x))


def test_a_wrapped_model_has_the_names_and_masks_of_the_model_inside(model_of: Callable[[str], nn.Module]) -> None:
    vit = model_of("vit_s").eval()
    wrapped = nn.DataParallel(copy.deepcopy(vit))
    assert find_groups(wrapped) == find_groups(vit)
    expected, report = compute_channel_masks(vit, "magnitude", 0.5)
    masks, other = compute_channel_masks(wrapped, "magnitude", 0.5)
    assert (report, masks.keys()) == (other, expected.keys())
    prune_channels(wrapped, "magnitude", 0.5)
    small, x = shrink(wrapped), torch.randn(1, 3, 32, 32)
    assert small.module.blocks[0].mlp.fc1.out_features < 1536
    with torch.no_grad(), masked(vit, masks):
        torch.testing.assert_close(small.module(x), vit(x))


def test_training_goes_on_and_removed_units_stay_removed(net: tuple[Net, list[ChannelGroup]]) -> None:
    model, groups = net
    prune_channels(model, "magnitude", 1, groups=groups)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 2)).square().sum().backward()
        optimizer.step()
    model(torch.randn(1, 2))
    assert model.fc1.weight[1].abs().sum() + model.fc1.bias[1].abs() + model.fc2.weight[:, 1].abs().sum() == 0


def test_repeated_prunes_rank_the_units_that_are_left() -> None:
    model, groups = chain([4, 20, 3])
    norms = model[0].weight.detach().norm(dim=1)
    prune_channels(model, "magnitude", 0.5, groups=groups)
    report = prune_channels(model, "magnitude", 0.5, groups=groups)
    assert (report.pruned, report.total) == (15, 20)
    assert torch.equal(unit_masks(current_masks(model), groups)["0"], norms > norms.sort().values[14])


def test_on_a_model_with_single_weights_pruned_the_norm_is_of_what_is_left(net: tuple[Net, list[ChannelGroup]]) -> None:
    model, groups = net
    mask = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])  # norms become 3, 1, 2
    prune.custom_from_mask(model.fc1, "weight", mask * torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]))  # and 0, 1, 2
    report = prune_channels(model, "magnitude", 1, groups=groups)
    assert not unit_masks(current_masks(model), groups)["fc1"][0]  # an empty row is a unit still: its bias lives
    assert report.pruned == 1
    assert model.fc1.bias_mask.tolist() == [False, True, True]


def test_min_keep_holds_and_a_vanished_layer_is_told() -> None:
    model, groups = chain([4, 10, 10, 3])
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
    with pytest.warns(VanishedLayerWarning, match=r"no channel left in 0; `min_keep` prevents this"):
        _, report = compute_channel_masks(model, "magnitude", 0.5, groups=groups)
    assert "no channel left in 0" in report.flags
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks, held = compute_channel_masks(model, "magnitude", 0.5, groups=groups, min_keep=2)
    assert [x.pruned for x in held.layers] == [8, 2]
    assert torch.equal(masks["0.bias"], model[0].weight.norm(dim=1) > model[0].weight.norm(dim=1).sort().values[7])
    _, fraction = compute_channel_masks(model, "magnitude", 0.5, groups=groups, min_keep=0.25)
    assert [x.pruned for x in fraction.layers] == [7, 3]
    with pytest.raises(ValueError, match=r"`min_keep` leaves 2 of 20"):
        compute_channel_masks(model, "magnitude", 0.5, groups=groups, min_keep=9)


def test_float64_and_half_precision_norms_neither_overflow_nor_vanish() -> None:
    for dtype, scale in ((torch.float64, 1e200), (torch.float64, 1e-200), (torch.float16, 1e4), (torch.bfloat16, 1e30)):
        model, groups = chain([4, 10, 3])
        expected, _ = compute_channel_masks(model, "magnitude", 0.5, groups=groups)
        wide = model.to(dtype)
        with torch.no_grad():
            wide[0].weight.mul_(scale)
        masks, _ = compute_channel_masks(wide, "magnitude", 0.5, groups=groups)
        assert torch.equal(masks["0.bias"], expected["0.bias"])


# --- bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"amount": 1.5}, ValueError, "Expected `amount`"),
        ({"amount": math.nan}, ValueError, "Expected `amount`"),
        ({"amount": True}, TypeError, "Expected `amount`"),
        ({"amount": 4}, ValueError, "at most the 3 units"),
        ({"amount": 1, "pool": "layer"}, ValueError, "fraction for pool='layer'"),
        ({"pool": "row"}, ValueError, "'global', 'layer', 'layer-rank' or 'erk' for channels, got 'row'"),
        ({"pool": "2:4"}, ValueError, "'global', 'layer', 'layer-rank' or 'erk' for channels, got '2:4'"),
        ({"unit": "neuron"}, ValueError, "'neuron'"),
        ({"unit": "head"}, ValueError, "Expected `groups` of unit 'head', got 'channel'"),
        ({"min_keep": -1}, ValueError, "Expected `min_keep`"),
        ({"min_keep": math.nan}, ValueError, "Expected `min_keep`"),
        ({"sparsity": 70}, ValueError, "Expected `sparsity`"),
        ({"method": "magic"}, ValueError, "Expected a scorer among"),
        ({"method": 3}, TypeError, "Expected `method`"),
        ({"method": "chaos", "beta": 1}, TypeError, "takes alpha"),
        ({"saliency": torch.ones(4)}, ValueError, "Expected `saliency` of length 3"),
        ({"saliency": torch.tensor([1.0, math.nan, 2.0])}, ValueError, "finite `saliency`"),
        ({"saliency": [1, 2, 3]}, TypeError, "Expected `saliency` to be a Saliency or a tensor, got list"),
        ({"method": "gradient"}, ValueError, "needs gradient saliency, got none"),
        ({"method": "gradient", "saliency": torch.ones(3)}, ValueError, "needs gradient saliency, got 'supplied'"),
        ({"groups": []}, ValueError, "at least one ChannelGroup"),
        ({"groups": ["fc1"]}, TypeError, "got str at position 0"),
    ],
)
def test_bad_options_get_one_clear_line_and_leave_the_model_alone(
    options: dict[str, object], error: type[Exception], message: str, net: tuple[Net, list[ChannelGroup]]
) -> None:
    model, groups = net
    given = {"method": "magnitude", "amount": 0.5, "groups": groups} | options
    with pytest.raises(error, match=message) as caught:
        prune_channels(model, **given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not prune.is_pruned(model)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(bad: float, net: tuple[Net, list[ChannelGroup]]) -> None:
    model, groups = net
    with torch.no_grad():
        model.fc1.weight[0, 0] = bad
    with pytest.raises(ValueError, match=r"finite values in fc1\.weight, got 1 NaN or infinite of 6"):
        compute_channel_masks(model, "magnitude", 1, groups=groups)


def test_nothing_left_to_prune_is_an_error(net: tuple[Net, list[ChannelGroup]]) -> None:
    model, groups = net
    with pytest.warns(VanishedLayerWarning):
        prune_channels(model, "magnitude", 3, groups=groups)
    with pytest.raises(ValueError, match="everything is pruned already"):
        prune_channels(model, "magnitude", 0.5, groups=groups)


def test_a_group_larger_than_its_tensor_is_refused(net: tuple[Net, list[ChannelGroup]]) -> None:
    model, _ = net
    wide = ChannelGroup("fc1", 4, Slice("fc1.weight"), (Slice("fc1.bias"),))
    with pytest.raises(ValueError, match=r"needs 4 entries along dimension 0 of fc1\.weight; its shape is \(3, 2\)"):
        prune_channels(model, "magnitude", 1, groups=[wide])


def test_warnings_point_at_the_callers_line() -> None:
    model, groups = chain([4, 10, 3])
    with pytest.warns(VanishedLayerWarning) as caught:
        prune_channels(model, "magnitude", 1.0, groups=groups)
    assert caught[0].filename == __file__


def test_the_report_prints_units_and_weights(net: tuple[Net, list[ChannelGroup]]) -> None:
    model, groups = net
    _, report = compute_channel_masks(model, "magnitude", 1, groups=groups)
    text = str(report)
    assert "1 of 3 channels pruned (33.33 %)" in text
    assert "4 of 12 weights went with them (33.33 %)" in text
    facts = report.to_dict()
    assert facts["weight_sparsity"] == 4 / 12
    assert facts["parameters"][0] == {"name": "fc1.weight", "shape": [3, 2], "total": 6, "pruned": 2, "sparsity": 2 / 6}
    assert facts["layers"][0]["sparsity"] == facts["sparsity"] == 1 / 3
