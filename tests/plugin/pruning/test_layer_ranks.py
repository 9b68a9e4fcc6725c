"""The pool "layer-rank": ranks within layers, one cut through all of them; by hand, by properties, and written out in numpy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import (
    Saliency,
    SaliencyVector,
    SICSChaos,
    build_scorer,
    compute_channel_masks,
    compute_masks,
    find_groups,
    get_scorer,
    global_unstructured,
    list_scorers,
    prunable_parameters,
    prune_model,
    prune_to_sparsity,
    unit_masks,
)
from sics_plugin.pruning.layer_ranks import layer_scores
from sics_plugin.scorers.units import Units

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LAYER_RANK: Any = "layer-rank"


class Layers(nn.Module):
    """Linear layers whose weights are the given vectors, a row each."""

    def __init__(self, *weights: list[float]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(len(w), 1, bias=False) for w in weights)
        with torch.no_grad():
            for layer, weight in zip(self.layers, weights, strict=True):
                layer.weight.copy_(torch.tensor([weight]))

    @property
    def params(self) -> list[tuple[nn.Module, str]]:
        return [(layer, "weight") for layer in self.layers]


def kept(model: Layers, method: Any, amount: float, **options: Any) -> list[list[int]]:
    masks, report = compute_masks(model.params, method, amount=amount, pool=LAYER_RANK, **options)
    assert report.pool == "layer-rank"
    assert report.form == "exact"
    return [mask.flatten().int().tolist() for mask in masks.values()]


# --- by hand --------------------------------------------------------------------------------------------------------------


def test_magnitude_by_hand() -> None:
    """Percentiles 1/8 3/8 5/8 7/8 and 1/4 3/4: the three lowest are 1/8, 1/4 and 3/8, whatever the scales."""
    model = Layers([0.1, -0.4, 0.2, 0.3], [70.0, -50.0])
    assert kept(model, "magnitude", 3) == [[0, 1, 0, 1], [1, 0]]
    assert compute_masks(model.params, "magnitude", amount=3)[1].layers[1].pruned == 0  # by global magnitude none of it goes


def test_ties_go_by_the_rank_in_the_layer_then_by_position() -> None:
    """Layers of one size have the same percentiles: the earlier loses the odd unit, high as its magnitude is."""
    assert kept(Layers([1000.0, 3000.0], [2.0, 1.0]), "magnitude", 1) == [[0, 1], [1, 1]]
    assert kept(Layers([1000.0, 3000.0], [2.0, 1.0]), "magnitude", 3) == [[0, 0], [1, 0]]
    # equal scores at other ranks: information at α = 0 is ρ; a constant score leaves ρ to decide
    constant = SaliencyVector(torch.zeros(4), kind="taylor")
    assert kept(Layers([5.0, 6.0], [2.0, 1.0]), "taylor", 2, saliency=constant) == [[0, 1], [1, 0]]


def test_a_feature_moves_the_cut_between_layers() -> None:
    """s = ρ + α·√12·(z−½): z = 7/8 5/8 3/8 1/8 turns the first layer over at α = 1, and spreads it beyond the second's scores."""
    model = Layers([0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0])
    signal = torch.tensor([4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    scores, within = layer_scores(
        build_scorer("information", alpha=1.0),
        Units(torch.tensor([0.1, 0.2, 0.3, 0.4, 1.0, 2.0, 3.0, 4.0]), signal, "supplied"),
        [4, 4],
        0.5,
    )
    root = 12**0.5
    assert scores.tolist() == pytest.approx(
        [1 / 8 + root * 3 / 8, 3 / 8 + root / 8, 5 / 8 - root / 8, 7 / 8 - root * 3 / 8, 1 / 8, 3 / 8, 5 / 8, 7 / 8]
    )
    assert within.tolist() == [1 / 8, 3 / 8, 5 / 8, 7 / 8] * 2
    assert kept(model, "information", 4, saliency=signal, alpha=1.0) == [[1, 1, 0, 0], [0, 0, 1, 1]]
    assert kept(model, "information", 2, saliency=signal, alpha=1.0) == [[1, 1, 1, 0], [0, 1, 1, 1]]


def test_layers_of_one_size_draw_apart() -> None:
    model = Layers([1.0] * 64, [1.0] * 64)
    one, two = kept(model, "random", 64)
    assert one != two
    assert sum(one) + sum(two) == 64


# --- against numpy --------------------------------------------------------------------------------------------------------


def plainly(layers: list[np.ndarray], saliencies: list[np.ndarray], name: str, alpha: float, k: int) -> list[np.ndarray]:
    """Which units stay, written out unit by unit."""
    rows = []
    for where, (weight, saliency) in enumerate(zip(layers, saliencies, strict=True)):
        n = len(weight)
        order = sorted(range(n), key=lambda i: (abs(weight[i]), i))
        rank = {unit: place for place, unit in enumerate(order)}
        bins = max(1, min(256, n // 256))
        for i in range(n):
            rho = (rank[i] + 0.5) / n
            if name == "magnitude":
                score = rho
            elif name == "information":
                here = [saliency[j] for j in range(n) if rank[j] * bins // n == rank[i] * bins // n]
                below, same = sum(v < saliency[i] for v in here), sum(v == saliency[i] for v in here)
                z = (below + (same - 1) / 2 + 0.5) / len(here)
                score = rho + alpha * 12**0.5 * (z - 0.5)
            else:  # m·c, by its percentile
                own = [abs(weight[j]) * saliency[j] for j in range(n)]
                score = (sum((own[j], rank[j]) < (own[i], rank[i]) for j in range(n)) + 0.5) / n
            rows.append((score, rho, where, i))
    stays = [np.ones(len(weight), dtype=bool) for weight in layers]
    for _, _, where, i in sorted(rows)[:k]:
        stays[where][i] = False
    return stays


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.sampled_from(["magnitude", "information", "gradient"]),
    st.floats(0, 1),
    st.integers(0, 2**31 - 1),
)
def test_masks_are_those_of_the_definition(sizes: list[int], name: str, amount: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [(rng.integers(-6, 7, n) / 4).astype(np.float64) for n in sizes]  # with ties
    saliencies = [rng.integers(1, 6, n).astype(np.float64) for n in sizes]
    k = round(amount * sum(sizes))
    model = Layers(*[layer.tolist() for layer in layers])
    vector = SaliencyVector(torch.from_numpy(np.concatenate(saliencies)), kind="gradient")
    found = kept(model, name, k, saliency=vector)
    assert sum(map(sum, found)) == sum(sizes) - k
    if name == "information":  # scores are floating-point sums: equal to the last bit where written in the same order
        expected = plainly(layers, saliencies, name, 0.15, k)
        differ = sum(int(a != b) for f, e in zip(found, expected, strict=True) for a, b in zip(f, e, strict=True))
        assert differ <= 2 * sum(size > 1 for size in sizes)
    else:
        assert found == [e.astype(int).tolist() for e in plainly(layers, saliencies, name, 0.15, k)]


# --- properties -----------------------------------------------------------------------------------------------------------


def network(sizes: tuple[tuple[int, int], ...], seed: int) -> tuple[list[tuple[nn.Module, str]], Tensor]:
    source = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(inputs, outputs) for inputs, outputs in sizes]
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=source))
    return [(layer, "weight") for layer in layers], torch.rand(sum(i * o for i, o in sizes), generator=source)


SIZES = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=5).map(tuple)


@settings(deadline=None, max_examples=40)
@given(SIZES, st.floats(0, 1), st.integers(0, 1000))
def test_of_magnitude_alone_the_same_fraction_goes_from_each_layer(
    sizes: tuple[tuple[int, int], ...], amount: float, seed: int
) -> None:
    """One cut t through all percentiles: a layer of n units loses t·n, rounded; as the pool "layer" does, for t = S."""
    params, _ = network(sizes, seed)
    _, report = compute_masks(params, "magnitude", amount=amount, pool=LAYER_RANK)
    n = sum(i * o for i, o in sizes)
    assert report.pruned == round(amount * n)
    low = max(((layer.pruned - 0.5) / layer.total for layer in report.layers), default=0)
    high = min((layer.pruned + 0.5) / layer.total for layer in report.layers)
    assert low <= high + 1e-12, "no one cut gives these numbers"
    by_layer = compute_masks(params, "magnitude", amount=amount, pool="layer")[1]
    together = sum(layer.pruned for layer in by_layer.layers) - report.pruned  # what the roundings of the layers add up to
    for one, other in zip(report.layers, by_layer.layers, strict=True):
        assert abs(one.pruned - other.pruned) <= 1 + abs(together) + len(sizes) // 2
    if len(sizes) == 1:
        assert report.mask_hash == by_layer.mask_hash


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.7, 0.83])
def test_on_a_network_each_layer_loses_what_it_does_in_the_pool_layer_up_to_one(amount: float, make_mlp: Any) -> None:
    model = make_mlp((16, 64, 48, 32, 4))
    one, other = (compute_masks(model, "magnitude", amount=amount, pool=pool)[1] for pool in (LAYER_RANK, "layer"))
    assert [abs(a.pruned - b.pruned) <= 1 for a, b in zip(one.layers, other.layers, strict=True)] == [True] * 3
    vector = torch.rand(sum(layer.total for layer in one.layers))
    bent = compute_masks(model, "chaos", amount=amount, pool=LAYER_RANK, saliency=vector)[1]
    assert any(abs(a.pruned - b.pruned) > 1 for a, b in zip(bent.layers, other.layers, strict=True))
    plain = compute_masks(model, "chaos", amount=amount, pool="layer", saliency=vector)[1]
    assert bent.mask_hash != plain.mask_hash


@settings(deadline=None, max_examples=40)
@given(
    SIZES,
    st.sampled_from([name for name in list_scorers() if get_scorer(name).requires in (None, "gradient")]),
    st.floats(0, 1),
    st.integers(0, 1000),
)
def test_exactly_k_and_any_increasing_transform_of_a_layer_changes_nothing(
    sizes: tuple[tuple[int, int], ...], name: str, amount: float, seed: int
) -> None:
    params, vector = network(sizes, seed)
    saliency = SaliencyVector(vector, kind="gradient")
    first, report = compute_masks(params, name, amount=amount, pool=LAYER_RANK, saliency=saliency)
    assert report.pruned == round(amount * vector.numel())
    if name == "gradient":  # its score is made of magnitudes, not of their ranks
        return
    with torch.no_grad():
        for index, (layer, _) in enumerate(params):
            layer.weight.mul_(2.0 ** (3 * index))  # type: ignore[operator]
    second, _ = compute_masks(params, name, amount=amount, pool=LAYER_RANK, saliency=saliency)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_permuting_the_units_of_a_layer_permutes_its_mask() -> None:
    params, vector = network(((30, 40), (20, 30)), 5)
    first, _ = compute_masks(params, "chaos", amount=0.6, pool=LAYER_RANK, saliency=vector)
    order = torch.randperm(1200)
    with torch.no_grad():
        weight = params[0][0].weight
        weight.copy_(weight.flatten()[order].view_as(weight))  # type: ignore[operator, union-attr, arg-type]
    moved = torch.cat([vector[:1200][order], vector[1200:]])
    second, _ = compute_masks(params, "chaos", amount=0.6, pool=LAYER_RANK, saliency=moved)
    one, two = ([mask.flatten() for mask in masks.values()] for masks in (first, second))
    assert torch.equal(one[0][order], two[0])
    assert torch.equal(one[1], two[1])


@pytest.mark.parametrize("name", [n for n in list_scorers() if get_scorer(n).role != "peer"])
def test_the_scores_of_a_scorer_on_rho_are_left_as_they_are(name: str) -> None:
    magnitude, vector = torch.rand(700).float(), torch.rand(700)
    units = Units(magnitude, vector, "gradient")
    scorer = build_scorer(name).resolve(0.8, "gradient")
    scores, _ = layer_scores(scorer, units, [600, 0, 100], 0.8)
    alone = scorer.score(Units(magnitude[:600], vector[:600], "gradient"), 0.8)
    if scorer.ranked:
        assert torch.equal(scores[:600], alone)
    else:
        assert torch.equal(scores[:600].argsort(), alone.argsort(stable=True))
        assert scores[:600].sort().values.tolist() == [(i + 0.5) / 600 for i in range(600)]


# --- every road -----------------------------------------------------------------------------------------------------------


def test_a_second_prune_ranks_what_is_left_and_floors_hold(mlp: nn.Sequential) -> None:
    first = prune_model(mlp, "magnitude", amount=0.5, pool=LAYER_RANK)
    second = prune_model(mlp, "chaos", amount=100, pool=LAYER_RANK)
    assert second.pruned == first.pruned + 100
    third = prune_to_sparsity(mlp, "chaos", 0.8, pool=LAYER_RANK, min_keep=0.15)
    assert third.pruned == round(0.8 * third.total)
    assert all(layer.sparsity <= 0.85 for layer in third.layers)
    with pytest.raises(ValueError, match="`min_keep` leaves"):
        prune_to_sparsity(mlp, "magnitude", 0.9, pool=LAYER_RANK, min_keep=0.15)


def test_a_layer_that_is_gone_is_left_alone(mlp: nn.Sequential) -> None:
    prune_model([(mlp[0], "weight")], "magnitude", amount=1.0)
    report = prune_model(mlp, "chaos", amount=0.5, pool=LAYER_RANK)
    assert report.layers[1].pruned == report.layers[1].total // 2
    prune_model(mlp, "magnitude", amount=1.0, pool=LAYER_RANK)
    with pytest.raises(ValueError, match="Expected at least one unit to rank, got none"):
        prune_model(mlp, "magnitude", amount=0.5, pool=LAYER_RANK)


def test_few_units_of_one_layer_are_flagged(make_mlp: Any) -> None:
    model = make_mlp((16, 64, 64, 4, 4))  # 1024, 4096 and 256 units
    flags = compute_masks(model, "chaos", amount=0.5, pool=LAYER_RANK)[1].flags
    assert flags == ("coordinate unresolved",)
    assert not compute_masks(model, "chaos", amount=0.5)[1].flags


def test_torch_needs_the_ranks_as_scores_and_the_checked_form_does_not(mlp: nn.Sequential) -> None:
    """What torch's own function can do of it: magnitude alone, by scores that are ranks already."""
    ours, _ = compute_masks(mlp, "magnitude", amount=0.6, pool=LAYER_RANK)
    params = prunable_parameters(mlp)
    scores = {}
    for module, name in params:
        weight = getattr(module, name).detach().abs().flatten()
        scores[(module, name)] = ((weight.argsort().argsort().double() + 0.5) / weight.numel()).view_as(getattr(module, name))
    prune.global_unstructured(params, prune.L1Unstructured, importance_scores=scores, amount=0.6)
    theirs = [module.weight_mask.bool() for module, _ in params]
    differ = sum(int((a != b).sum()) for a, b in zip(ours.values(), theirs, strict=True))
    assert differ <= 2, "but for what ties at the cut"
    for module, name in params:
        prune.remove(module, name)


def test_global_unstructured_takes_the_pool(mlp: nn.Sequential) -> None:
    expected = compute_masks(mlp, "chaos", amount=0.6, pool=LAYER_RANK)[1].mask_hash
    report = global_unstructured(mlp, SICSChaos, amount=0.6, pool=LAYER_RANK)
    assert report is not None
    assert (report.pool, report.mask_hash) == ("layer-rank", expected)


@pytest.mark.parametrize("unit", ["channel", "head"])
def test_units_are_ranked_within_their_layer(unit: Any, model_of: Any) -> None:
    model = model_of("vit_s")
    groups = find_groups(model, unit)
    masks, report = compute_channel_masks(model, "magnitude", 0.5, unit=unit, pool=LAYER_RANK)
    by_layer, other = compute_channel_masks(model, "magnitude", 0.5, unit=unit, pool="layer")
    assert report.pruned == round(0.5 * report.total)
    assert [layer.pruned for layer in report.layers] == [layer.pruned for layer in other.layers]
    assert all(torch.equal(m, unit_masks(by_layer, groups)[name]) for name, m in unit_masks(masks, groups).items())
    vector = torch.rand(report.total)
    bent = compute_channel_masks(model, "information", 0.5, unit=unit, pool=LAYER_RANK, saliency=vector, alpha=0.5)[1]
    assert bent.pruned == report.pruned
    if unit == "channel":
        assert [layer.pruned for layer in bent.layers] != [layer.pruned for layer in other.layers]


def test_a_collected_saliency_gives_the_mask_of_its_vector(trained_mlp: nn.Sequential, calibration: Any) -> None:
    saliency = Saliency(trained_mlp, calibration)
    params = prunable_parameters(trained_mlp)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = compute_masks(trained_mlp, "gradient", amount=0.7, pool=LAYER_RANK, saliency=saliency)[1]
        two = compute_masks(params, "gradient", amount=0.7, pool=LAYER_RANK, saliency=saliency.vector(params))[1]
    assert one.layers[0].pruned == two.layers[0].pruned
    by_layer = compute_masks(trained_mlp, "gradient", amount=0.7, pool="layer", saliency=saliency)[1]
    assert [abs(a.pruned - b.pruned) <= 1 for a, b in zip(one.layers, by_layer.layers, strict=True)] == [True, True]
