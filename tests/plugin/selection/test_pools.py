"""How much goes from each layer: Erdős-Rényi-Kernel densities, exactly to the total, for weights and for units."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sics_plugin import compute_channel_masks, compute_masks, prune_model
from sics_plugin.selection.pools import erk_removals, n_of_m, pools_of

SHAPES = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.integers(1, 3)),
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=80)
@given(SHAPES, st.floats(0, 1))
def test_erk_keeps_the_total_and_one_scale(shapes: list[tuple[int, ...]], amount: float) -> None:
    sizes = [math.prod(s) for s in shapes]
    gone = erk_removals(shapes, amount)
    assert sum(gone) == round(amount * sum(sizes))
    assert all(0 <= g <= n for g, n in zip(gone, sizes, strict=True))
    kept = [n - g for g, n in zip(gone, sizes, strict=True)]
    # of the layers that are not full, the kept weights are ε·(sum of the shape), to a whole number
    scales = [(k / sum(s), 1 / sum(s)) for k, s, n in zip(kept, shapes, sizes, strict=True) if k < n]
    for one, slack in scales:
        for other, more in scales:
            assert abs(one - other) <= slack + more + 1e-9
    for k, s, n in zip(kept, shapes, sizes, strict=True):
        if k == n and scales:  # full ones would want at least what is there
            assert max(one + slack for one, slack in scales) * sum(s) >= n - 1 - 1e-9


def test_erk_by_hand() -> None:
    # 100·100 and 10·10 at half: ε·200 + ε·20 = 5050 wants 459 of the 100 there are, which stay; the rest keeps 4950
    assert erk_removals([(100, 100), (10, 10)], 0.5) == [5050, 0]
    # kernels count with their sizes, not their area: (4+4+3+3) and (4+12) for 144 and 48 weights
    assert erk_removals([(4, 4, 3, 3), (4, 12)], 162) == [130, 32]
    assert erk_removals([(4, 6), (4, 6)], 23) == [11, 12]  # the earlier of equals keeps the odd weight
    assert erk_removals([(4, 4)], 1.0) == [16]
    with pytest.raises(ValueError, match="two dimensions or more for pool='erk'"):
        erk_removals([(4,)], 0.5)


def test_erk_prunes_to_the_total_again_and_again(mlp: nn.Sequential) -> None:
    n = 16 * 64 + 64 * 32
    first = prune_model(mlp, "magnitude", amount=0.5, pool="erk")
    assert first.pruned == round(0.5 * n)
    kept = [layer.total - layer.pruned for layer in first.layers]
    assert abs(kept[0] / 80 - kept[1] / 96) < 0.03
    second = prune_model(mlp, "chaos", amount=100, pool="erk")
    assert (second.pruned, second.pool) == (first.pruned + 100, "erk")
    single = [compute_masks([(m, "weight")], "magnitude", amount=1)[1].pruned for m in (mlp[0], mlp[2])]
    assert sum(single) == second.pruned + 2


def test_the_lowest_of_each_layer_go(mlp: nn.Sequential) -> None:
    masks, report = compute_masks(mlp, "magnitude", amount=0.6, pool="erk")
    for layer, module in zip(report.layers, (mlp[0], mlp[2]), strict=True):
        alone, _ = compute_masks([(module, "weight")], "magnitude", amount=layer.pruned)
        assert torch.equal(masks[layer.name], alone["[0].weight"])


def test_erk_of_units(model_of: Callable[[str], nn.Module]) -> None:
    resnet = model_of("resnet18")
    _, report = compute_channel_masks(resnet, "magnitude", 0.5, pool="erk")
    assert report.pruned == report.total // 2
    densities = [1 - layer.sparsity for layer in report.layers]
    assert densities[0] == 1 > densities[-1], "small layers are kept"
    vit = model_of("vit_s")
    assert compute_channel_masks(vit, "magnitude", 0.5, unit="head", pool="erk")[1].pruned == 6


def test_words_of_pools() -> None:
    assert n_of_m("2:4") == (2, 4)
    assert n_of_m("erk") is None
    assert pools_of(3, "erk") == [[0], [1], [2]]
    for bad in ("2:2", "0:4"):
        with pytest.raises(ValueError, match="0 < n < m"):
            pools_of(1, bad)
    for bad in ("uniform", "2:", "", "-1:4"):
        with pytest.raises(ValueError, match="`pool` to be 'global'"):
            pools_of(1, bad)
