"""Sharing ranks between scorers changes nothing but the time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sics_plugin import (
    Saliency,
    Scorer,
    SharedRanks,
    channel_group,
    compute_channel_masks,
    compute_masks,
    find_groups,
    get_scorer,
    list_scorers,
    register_scorer,
    unregister_scorer,
)
from sics_plugin.scorers import coordinate
from sics_plugin.scorers.units import Units

Ask = Callable[[str, float], Any]


def model_with_saliency() -> tuple[nn.Module, Saliency]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10))
    batches = [(torch.randn(16, 20), torch.randint(10, (16,))) for _ in range(3)]
    return model, Saliency(model, batches)


def hashes(ask: Ask) -> list[Any]:
    found = []
    for sparsity in (0.5, 0.8):
        for name in (name for name in list_scorers() if get_scorer(name).requires in (None, "gradient")):
            masks, report = ask(name, sparsity)
            found.append((name, sparsity, report.mask_hash, report.threshold, [mask.tolist() for mask in masks.values()]))
    return found


def weights(pool: Any, kind: str) -> Ask:
    model, saliency = model_with_saliency()
    given = saliency if kind == "gradient" else None
    return lambda name, s: compute_masks(model, name, amount=s, saliency=saliency if name == "gradient" else given, pool=pool)


def channels(pool: Any) -> Ask:
    model, saliency = model_with_saliency()
    groups = [channel_group(model, "0", "2"), channel_group(model, "2", "4")]
    return lambda name, s: compute_channel_masks(model, name, s, saliency=saliency, pool=pool, groups=groups)


def heads(pool: Any) -> Ask:
    timm = pytest.importorskip("timm")
    torch.manual_seed(1)
    model = timm.models.VisionTransformer(
        img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=32, depth=3, num_heads=4
    )  # fmt: skip
    saliency = Saliency(model, [(torch.randn(8, 1, 8, 8), torch.randint(10, (8,)))])
    groups = find_groups(model, "head")
    return lambda name, s: compute_channel_masks(model, name, s, unit="head", saliency=saliency, pool=pool, groups=groups)


@pytest.mark.parametrize("pool", ["global", "layer"])
@pytest.mark.parametrize("case", ["weight", "weight without saliency", "channel", "head"])
def test_masks_are_the_same_bits(case: str, pool: str) -> None:
    make = {
        "weight": lambda: weights(pool, "gradient"),
        "weight without saliency": lambda: weights(pool, "none"),
        "channel": lambda: channels(pool),
        "head": lambda: heads(pool),
    }
    ask = make[case]()
    alone = hashes(ask)
    with SharedRanks() as shared:
        assert hashes(ask) == alone
    pools = 1 if pool == "global" else {"head": 3}.get(case, 2)
    assert shared.computed == 2 * pools, "ranks and coordinate, each once"
    assert shared.reused >= 10 * pools
    before = shared.computed, shared.reused
    assert hashes(ask) == alone, "and outside it nothing is shared"
    assert (shared.computed, shared.reused) == before


def test_changed_values_are_ranked_again() -> None:
    model, saliency = model_with_saliency()
    with SharedRanks() as shared:
        first = compute_masks(model, "chaos", amount=0.5, saliency=saliency)[1].mask_hash
        with torch.no_grad():
            model[0].weight.mul_(torch.rand_like(model[0].weight))  # type: ignore[index, operator, arg-type]
        second = compute_masks(model, "chaos", amount=0.5, saliency=saliency)[1].mask_hash
    assert shared.reused == 0
    assert first != second == compute_masks(model, "chaos", amount=0.5, saliency=saliency)[1].mask_hash


def test_a_scorer_that_changes_what_it_was_given_spoils_nothing_for_the_next() -> None:
    @register_scorer
    class Vandal(Scorer):
        """Writes into everything."""

        name, kappa, summary = "vandal_of_a_test", 2, "noise"

        def score(self, units: Units, sparsity: float) -> Tensor:
            rank = coordinate.ranks(units.magnitude)
            z = coordinate.coordinate(units.coordinate_saliency(), rank)
            found = z.clone()
            for tensor in (rank, z, units.magnitude):
                tensor.zero_()
            return found

    try:
        model, saliency = model_with_saliency()
        alone = compute_masks(model, "chaos", amount=0.5, saliency=saliency)[1].mask_hash
        with SharedRanks() as shared:
            for _ in range(2):
                compute_masks(model, "vandal_of_a_test", amount=0.5, saliency=saliency)
                assert compute_masks(model, "chaos", amount=0.5, saliency=saliency)[1].mask_hash == alone
        assert (shared.computed, shared.reused) == (2, 6)
    finally:
        unregister_scorer("vandal_of_a_test")


def test_values_of_another_type_or_shape_are_others() -> None:
    m = torch.tensor([0.1, 0.3, 0.2])
    with SharedRanks() as shared:
        for values in (m, m.double(), m[:2], m):
            assert coordinate.ranks(values).tolist() == values.argsort().argsort().tolist()
    assert (shared.computed, shared.reused) == (3, 1)


def test_the_latest_results_are_kept() -> None:
    one, two, three = (torch.rand(5) for _ in range(3))
    with SharedRanks(limit=2) as shared:
        for values in (one, two, one, three, one, two):
            coordinate.ranks(values)
    assert (shared.computed, shared.reused) == (4, 2)
    with pytest.raises(ValueError, match="Expected `limit` to be at least 1, got 0"):
        SharedRanks(limit=0)


def test_it_may_be_entered_again_and_inside_itself_and_another_thread_has_its_own() -> None:
    m = torch.rand(9)
    shared = SharedRanks()
    with shared:
        coordinate.ranks(m)
        with shared:
            coordinate.ranks(m)
        other = threading.Thread(target=coordinate.ranks, args=(m,))
        other.start()
        other.join()
        coordinate.ranks(m)
    coordinate.ranks(m)
    assert (shared.computed, shared.reused) == (1, 2)
