"""Side by side with Torch-Pruning's importance classes, where they and ours say the same thing of a channel."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sics_plugin import Saliency, build_scorer, channel_group, channel_saliency, compute_channel_masks
from sics_plugin.scorers.units import Units


@pytest.fixture
def net() -> nn.Sequential:
    """A convolution and a Linear whose outputs one other layer reads each."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 20), nn.ReLU(),
        nn.Linear(20, 5),
    )  # fmt: skip


PAIRS = [("0", "2"), ("5", "7")]
ONE = [(torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([2]))]


def ours(net: nn.Sequential, name: str, kind: str | None, batches: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Scores of the channels of each group."""
    groups = [channel_group(net, *pair) for pair in PAIRS]
    magnitude = [net[int(a)].weight.detach().flatten(1).norm(dim=1) for a, _ in PAIRS]
    vector = None
    if kind is not None:
        saliency = Saliency(net, None if kind == "lamp" else batches, kind=kind, groups=groups)  # type: ignore[arg-type]
        vector = channel_saliency(net, saliency, groups=groups)
    score = build_scorer(name).score(Units(torch.cat(magnitude), vector, kind), 0.5)
    return list(score.split([len(m) for m in magnitude]))


def theirs(net: nn.Sequential, importance: Callable[[Any], Tensor]) -> list[Tensor]:
    import torch_pruning as tp

    graph = tp.DependencyGraph().build_dependency(net, example_inputs=torch.randn(1, 3, 6, 6))
    prunes = {nn.Conv2d: tp.prune_conv_out_channels, nn.Linear: tp.prune_linear_out_channels}
    found = []
    for a, _ in PAIRS:
        layer = net[int(a)]
        group = graph.get_pruning_group(layer, prunes[type(layer)], idxs=list(range(layer.weight.shape[0])))
        found.append(importance(group).detach().double())
    return found


def check(one: list[Tensor], other: list[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-12)


def with_gradients(net: nn.Sequential) -> nn.Sequential:
    twin = copy.deepcopy(net)
    nn.functional.cross_entropy(twin(ONE[0][0]), ONE[0][1]).backward()
    return twin


def test_magnitude_is_their_l2_norm_of_the_first_layer(net: nn.Sequential) -> None:
    import torch_pruning as tp

    squared = theirs(net, tp.importance.GroupMagnitudeImportance(p=2, group_reduction="first", normalizer=None))
    check(ours(net, "power", None, ONE), squared)
    groups = [channel_group(net, *pair) for pair in PAIRS]
    masks, _ = compute_channel_masks(net, "magnitude", 8, groups=groups)
    gone = torch.cat([~masks["0.weight"].flatten(1).any(1), ~masks["5.weight"].any(1)])
    assert gone.nonzero().squeeze(1).tolist() == sorted(torch.cat(squared).argsort()[:8].tolist())


def test_lamp_is_their_lamp(net: nn.Sequential) -> None:
    import torch_pruning as tp

    check(ours(net, "lamp", "lamp", ONE), theirs(net, tp.importance.LAMPImportance(group_reduction="first")))


def test_taylor_and_snip_are_their_multivariable_taylor(net: nn.Sequential) -> None:
    import torch_pruning as tp

    importance = tp.importance.GroupTaylorImportance(group_reduction="first", normalizer=None, multivariable=True)
    expected = theirs(with_gradients(net), importance)
    check(ours(net, "snip", "snip", ONE), expected)
    check(ours(net, "sensitivity", "sensitivity", ONE), expected)
    check(ours(net, "taylor", "taylor", ONE), [e**2 for e in expected])


def test_fisher_is_half_their_hessian(net: nn.Sequential) -> None:
    """On one sample: their 1.6 keeps the gradients of the last one only (it looks for names among parameters)."""
    import torch_pruning as tp

    twin = with_gradients(net)
    importance = tp.importance.GroupHessianImportance(group_reduction="first", normalizer=None)
    importance.accumulate_grad(twin)
    check(ours(net, "fisher", "fisher", ONE), [e / 2 for e in theirs(twin, importance)])
