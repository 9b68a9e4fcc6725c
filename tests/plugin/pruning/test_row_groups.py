"""Small pools of a weight: output rows and N:M, by every scorer, beside brute force and torch's own hooks."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import (
    Saliency,
    SaliencyVector,
    SICSNofM,
    build_scorer,
    compute_masks,
    current_masks,
    get_scorer,
    list_scorers,
    prune_model,
    prune_n_m,
)
from sics_plugin.pruning.choose import Choice
from sics_plugin.pruning.row_groups import choose_in_groups
from sics_plugin.saliency.kinds import SIGNALS
from sics_plugin.selection.parts import Part


def chosen(weight: Tensor, amount: float = 0.5, mask: Tensor | None = None, **options: object) -> Tensor:
    choice: Choice = choose_in_groups(build_scorer("magnitude"), Part(weight, mask), amount, name="w", **options)  # type: ignore[arg-type]
    return next(choice.kept).view(weight.shape)


# --- by hand and by brute force -----------------------------------------------------------------------------------------


def test_rows_by_hand_with_ties() -> None:
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0], [8.0, 8.0, 8.0, 9.0], [0.0, 0.0, 0.0, 0.0]])
    assert chosen(weight).int().tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]


def test_two_of_four_by_hand_on_a_convolution() -> None:
    """Groups run over input channels at one place of the kernel, which is not how the memory runs."""
    weight = torch.arange(1.0, 17.0).view(1, 4, 2, 2)
    weight[0, 3, 0, 0] = 0.5
    kept = chosen(weight, pattern=(2, 4))
    assert kept[0, :, 0, 0].int().tolist() == [0, 1, 1, 0]
    assert kept[0, :, 1, 1].int().tolist() == [0, 0, 1, 1]
    assert bool((kept.sum(1) == 2).all())


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 9),
    amount=st.floats(0, 1),
    seed=st.integers(0, 50),
    holes=st.booleans(),
)
def test_rows_by_brute_force(rows: int, columns: int, amount: float, seed: int, holes: bool) -> None:
    torch.manual_seed(seed)
    weight = torch.randint(-3, 4, (rows, columns)).float()  # ties on purpose
    mask = torch.rand(rows, columns) < 0.7 if holes else torch.ones(rows, columns, dtype=torch.bool)
    if not mask.any():
        return
    kept = chosen(weight, amount, mask if holes else None)
    for r in range(rows):
        there = [c for c in range(columns) if mask[r, c]]
        gone = sorted(there, key=lambda c: (abs(weight[r, c].item()), c))[: round(amount * len(there))]
        assert kept[r].nonzero().squeeze(1).tolist() == [c for c in there if c not in gone]


# --- every scorer ---------------------------------------------------------------------------------------------------------


def own_saliency(name: str, model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Saliency:
    cls = get_scorer(name)
    kind = cls.requires or "gradient"
    return Saliency(model, batches if SIGNALS[kind].collect is not None else None, kind=kind)


@pytest.mark.parametrize("name", list_scorers())
def test_every_scorer_in_rows_and_two_of_four(name: str, mlp: nn.Sequential) -> None:
    batches = [(torch.randn(8, 16), torch.randint(4, (8,))) for _ in range(2)]
    saliency = own_saliency(name, mlp, batches)
    for pool, groups, left in (("row", (1, 16), 8), ("2:4", (4, 4), 2), ("4:8", (2, 8), 4)):
        masks, report = compute_masks(mlp, name, amount=0.5, pool=pool, saliency=saliency)
        assert bool((masks["0.weight"].view(64, *groups).sum(-1) == left).all())
        assert (report.pool, report.sparsity, report.form) == (pool, 0.5, "exact")
    before = copy.deepcopy(mlp.state_dict())
    report = prune_n_m(mlp, name, 1, 4, saliency=saliency)
    assert report.sparsity == 0.75
    assert prune.is_pruned(mlp)
    assert torch.equal(mlp[0].weight_orig, before["0.weight"])
    mlp(torch.randn(2, 16)).sum().backward()


def test_a_score_of_one_unit_alone_gives_the_row_what_torch_gives_it(mlp: nn.Sequential) -> None:
    masks, _ = compute_masks(mlp, "magnitude", amount=0.3, pool="row")
    for r, row in enumerate(mlp[2].weight.detach()):
        torchs = prune.L1Unstructured(0.3).compute_mask(row, torch.ones(64))
        assert torch.equal(masks["2.weight"][r], torchs != 0)


def test_a_scorer_sees_the_layer_and_not_the_row(mlp: nn.Sequential) -> None:
    """With 16 inputs a row could not resolve z; the layer's 1024 units can."""
    _, report = compute_masks(mlp, "chaos", amount=0.5, pool="row")
    assert report.flags == ()
    score = build_scorer("chaos")
    assert (report.kappa, report.alpha) == (score.kappa, 0.05)


# --- repeated, refused --------------------------------------------------------------------------------------------------


def test_a_pattern_on_top_of_an_earlier_prune(mlp: nn.Sequential) -> None:
    prune_model([(mlp[0], "weight")], "magnitude", amount=0.2)
    lost = int((mlp[0].weight_mask.view(-1, 4).sum(1) < 2).sum())
    if lost:
        with pytest.raises(ValueError, match=r"groups of 4 inputs with fewer than 2 left: an earlier prune took them"):
            prune_n_m([(mlp[0], "weight")], "magnitude")
    prune_model([(mlp[2], "weight")], "magnitude", amount=0.25, pool="3:4")
    prune_n_m([(mlp[2], "weight")], "magnitude", 2, 4)
    assert bool((mlp[2].weight_mask.view(-1, 4).sum(1) == 2).all())


def test_what_cannot_be_grouped_is_refused_in_one_line_and_nothing_is_pruned(make_mlp: Callable[..., nn.Sequential]) -> None:
    model = make_mlp((16, 30, 12, 4))
    with pytest.raises(ValueError, match=r"^2.weight has rows of 30 inputs, which 4 does not divide: leave it out, .*$"):
        prune_n_m(model, "magnitude")
    assert not prune.is_pruned(model)
    with pytest.raises(ValueError, match="0 < n < m for an n:m mask, got 4:4"):
        prune_n_m(model, "magnitude", 4, 4)
    with pytest.raises(TypeError, match=r"`n` to be a whole number, got 2.0"):
        prune_n_m(model, "magnitude", 2.0, 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`amount` to be 0.5, what pool='2:4' removes, got 0.7"):
        compute_masks(model, "magnitude", amount=0.7, pool="2:4")
    with pytest.raises(ValueError, match="`amount` to be a fraction for pool='row', got 5"):
        compute_masks(model, "magnitude", amount=5, pool="row")
    with pytest.raises(ValueError, match="two dimensions or more"):
        compute_masks([(model[0], "bias")], "magnitude", amount=0.5, pool="row")
    with pytest.raises(ValueError, match="`min_keep` wants"):
        compute_masks(model, "magnitude", amount=0.5, pool="row", min_keep=0.9)


# --- through torch's contract -------------------------------------------------------------------------------------------


def test_n_of_m_as_torchs_method() -> None:
    layer = nn.Linear(64, 32)
    twin = copy.deepcopy(layer)
    vector = SaliencyVector(torch.rand(layer.weight.shape), kind="gradient")
    SICSNofM.apply(layer, "weight", 2, 4, "gradient", saliency=vector)
    prune_n_m([(twin, "weight")], "gradient", saliency=SaliencyVector(vector.reshape(-1), kind="gradient"))
    assert torch.equal(layer.weight_mask != 0, twin.weight_mask)
    SICSNofM.apply(layer, "weight", 1, 4, "chaos")  # in a chain, of what is left
    assert bool((layer.weight_mask.view(-1, 4).sum(1) == 1).all())
    (hook,) = layer._forward_pre_hooks.values()
    assert isinstance(hook, prune.PruningContainer)
    assert all(method.saliency is None for method in hook)
    assert len(pickle.dumps(hook)) < 4000
    prune.remove(layer, "weight")
    assert int((layer.weight != 0).sum()) == 32 * 16


def test_n_of_m_refuses_what_has_no_rows() -> None:
    with pytest.raises(TypeError, match="unstructured"):
        prune.global_unstructured([(nn.Linear(8, 8), "weight")], pruning_method=SICSNofM, n=2, m=4)
    layer = nn.Linear(6, 8)
    with pytest.raises(ValueError, match="rows of 6 inputs, which 4 does not divide"):
        SICSNofM.apply(layer, "weight", 2, 4)
    assert not layer._forward_pre_hooks
    assert current_masks(layer) == {}
