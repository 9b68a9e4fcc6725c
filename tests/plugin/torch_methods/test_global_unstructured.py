"""The checked ``global_unstructured``: torch's signature and results, and each of torch's traps shown and closed."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import sics_plugin
from sics_plugin import (
    PruningReport,
    Saliency,
    SICSChaos,
    SICSMagnitude,
    SICSMethod,
    VanishedLayerWarning,
    current_masks,
    mask_hash,
    prune_model,
)


class ThresholdPruning(prune.BasePruningMethod):
    """The method every tutorial writes: no ``amount``."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask * (t.abs() > self.threshold)


def pairs_of(model: nn.Sequential) -> list[tuple[nn.Module, str]]:
    return [(model[0], "weight"), (model[2], "weight")]


# --- torch's results ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [prune.L1Unstructured, prune.RandomUnstructured])
@pytest.mark.parametrize("amounts", [(0.5, 0.3, 100), (0, 1000), (0.0, 1.0)])
@pytest.mark.filterwarnings("ignore::sics_plugin.VanishedLayerWarning")
def test_foreign_methods_give_torchs_own_masks(method: type, amounts: tuple, mlp: nn.Sequential) -> None:
    twin = copy.deepcopy(mlp)
    for i, amount in enumerate(amounts):
        torch.manual_seed(i)
        result = sics_plugin.global_unstructured(pairs_of(mlp), method, amount=amount)
        torch.manual_seed(i)
        prune.global_unstructured(pairs_of(twin), method, amount=amount)
        assert result is None
        assert mask_hash(current_masks(mlp)) == mask_hash(current_masks(twin))
    x = torch.randn(3, 16)
    assert torch.equal(mlp(x), twin(x))


@pytest.mark.parametrize(
    ("method", "kwargs"),
    [(ThresholdPruning, {"threshold": 0.05}), (prune.Identity, {})],
)
def test_a_foreign_method_without_an_amount(method: type, kwargs: dict, mlp: nn.Sequential) -> None:
    twin = copy.deepcopy(mlp)
    sics_plugin.global_unstructured(pairs_of(mlp), method, **kwargs)
    prune.global_unstructured(pairs_of(twin), method, **kwargs)
    assert mask_hash(current_masks(mlp)) == mask_hash(current_masks(twin))


def test_foreign_methods_take_importance_scores(mlp: nn.Sequential) -> None:
    twin = copy.deepcopy(mlp)
    values = [torch.rand(64, 16), torch.rand(32, 64)]
    for module, function in [(mlp, sics_plugin.global_unstructured), (twin, prune.global_unstructured)]:
        scores = dict(zip(pairs_of(module), values, strict=True))
        function(pairs_of(module), prune.L1Unstructured, importance_scores=scores, amount=0.6)
    assert mask_hash(current_masks(mlp)) == mask_hash(current_masks(twin))


@pytest.mark.parametrize("method", [SICSMagnitude, SICSChaos])
@pytest.mark.parametrize("positional", [True, False])
def test_own_methods_give_torchs_masks_and_a_report(method: type[SICSMethod], positional: bool, mlp: nn.Sequential) -> None:
    twin = copy.deepcopy(mlp)
    values = [torch.randn(64, 16), torch.randn(32, 64)]
    scores, others = (dict(zip(pairs_of(m), values, strict=True)) for m in (mlp, twin))
    if positional:
        report = sics_plugin.global_unstructured(pairs_of(mlp), method, scores, amount=0.6)
        prune.global_unstructured(pairs_of(twin), method, others, amount=0.6)
    else:
        report = sics_plugin.global_unstructured(
            parameters=pairs_of(mlp), pruning_method=method, importance_scores=scores, amount=0.6
        )
        prune.global_unstructured(parameters=pairs_of(twin), pruning_method=method, importance_scores=others, amount=0.6)
    assert isinstance(report, PruningReport)
    assert report.pruned == round(0.6 * 3072)
    assert mask_hash(current_masks(mlp)) == mask_hash(current_masks(twin))


def test_constructor_arguments_pass_through(mlp: nn.Sequential) -> None:
    c = torch.rand(3072)
    twin = copy.deepcopy(mlp)
    sics_plugin.global_unstructured(pairs_of(mlp), SICSChaos, amount=0.6, saliency=c, alpha=0.4, sparsity=0.8)
    prune.global_unstructured(pairs_of(twin), SICSChaos, amount=0.6, saliency=c, alpha=0.4, sparsity=0.8)
    assert mask_hash(current_masks(mlp)) == mask_hash(current_masks(twin))


def test_a_whole_model_and_the_saliency_object(mlp: nn.Sequential) -> None:
    saliency = Saliency(mlp, [(torch.randn(8, 16), torch.randint(4, (8,)))])
    report = sics_plugin.global_unstructured(mlp, SICSChaos, amount=0.7, saliency=saliency)
    assert report is not None
    assert (report.saliency_kind, report.pruned) == ("gradient", round(0.7 * 3072))


# --- the traps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [SICSMagnitude, prune.L1Unstructured])
def test_a_generator_of_parameters(method: type, mlp: nn.Sequential) -> None:
    with pytest.raises((RuntimeError, ValueError, IndexError)):  # torch's own: exhausted by its first loop
        prune.global_unstructured(iter(pairs_of(copy.deepcopy(mlp))), method, amount=0.5)
    sics_plugin.global_unstructured(iter(pairs_of(mlp)), method, amount=0.5)
    assert sum(int((~m).sum()) for m in current_masks(mlp).values()) == 1536


@pytest.mark.parametrize("method", [SICSMagnitude, prune.L1Unstructured])
def test_scores_of_another_shape_are_refused(method: type, mlp: nn.Sequential) -> None:
    """(16, 64) for a (64, 16) weight: torch takes it and prunes nonsense."""
    scores = {pairs_of(mlp)[0]: torch.rand(16, 64), pairs_of(mlp)[1]: torch.rand(32, 64)}
    twin = copy.deepcopy(mlp)
    prune.global_unstructured(
        pairs_of(twin), method, importance_scores=dict(zip(pairs_of(twin), scores.values(), strict=True)), amount=0.5
    )
    with pytest.raises(ValueError, match=r"`importance_scores` of shape \(64, 16\) for \[0\]\.weight, got \(16, 64\)"):
        sics_plugin.global_unstructured(pairs_of(mlp), method, scores, amount=0.5)
    assert not prune.is_pruned(mlp)


@pytest.mark.parametrize("method", [SICSMagnitude, prune.L1Unstructured])
def test_a_missing_score_is_refused(method: type, mlp: nn.Sequential) -> None:
    twin = copy.deepcopy(mlp)
    prune.global_unstructured(pairs_of(twin), method, importance_scores={pairs_of(twin)[0]: torch.rand(64, 16)}, amount=0.5)
    with pytest.raises(ValueError, match=r"`importance_scores` for every parameter, got none for \[1\]\.weight"):
        sics_plugin.global_unstructured(pairs_of(mlp), method, {pairs_of(mlp)[0]: torch.rand(64, 16)}, amount=0.5)
    assert not prune.is_pruned(mlp)


@pytest.mark.parametrize("method", [SICSMagnitude, prune.L1Unstructured])
def test_a_score_for_something_else_is_refused(method: type, mlp: nn.Sequential) -> None:
    scores = {**{p: torch.rand_like(p[0].weight) for p in pairs_of(mlp)}, (mlp[4], "weight"): torch.rand(4, 32)}
    with pytest.raises(ValueError, match="`importance_scores` has an entry for a parameter that is not pruned"):
        sics_plugin.global_unstructured(pairs_of(mlp), method, scores, amount=0.5)


@pytest.mark.parametrize("method", [SICSMagnitude, prune.L1Unstructured])
def test_tied_weights_count_once(method: type, tied: nn.Module) -> None:
    pairs = [(m, "weight") for m in (tied.first, tied.second, tied.embedding, tied.decoder)]
    sics_plugin.global_unstructured(pairs, method, amount=0.5)
    assert torch.equal(tied.first.weight_mask, tied.second.weight_mask)
    assert torch.equal(tied.embedding.weight_mask, tied.decoder.weight_mask)
    assert int((~tied.first.weight_mask).sum() + (~tied.decoder.weight_mask).sum()) == (256 + 640) // 2
    tied(torch.arange(4))


@pytest.mark.parametrize("method", [SICSMagnitude, prune.L1Unstructured])
def test_deepcopy_keeps_working(method: type, mlp: nn.Sequential) -> None:
    twin = copy.deepcopy(mlp)
    prune.global_unstructured(pairs_of(twin), method, amount=0.5)
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(twin)
    sics_plugin.global_unstructured(pairs_of(mlp), method, amount=0.5)
    x = torch.randn(2, 16)
    assert torch.equal(copy.deepcopy(mlp)(x), mlp(x))


@pytest.mark.parametrize("method", [SICSMagnitude, prune.L1Unstructured])
def test_out_proj_of_multihead_attention_is_refused(method: type) -> None:
    """torch prunes it, and the mask goes stale with the next step: shown here, then refused."""
    attention = nn.MultiheadAttention(8, 2)
    twin = copy.deepcopy(attention)
    prune.global_unstructured([(twin.out_proj, "weight")], method, amount=0.5)
    with torch.no_grad():
        twin.out_proj.weight_orig.fill_(1.0)
    twin(*[torch.randn(3, 1, 8)] * 3)
    assert not torch.equal(twin.out_proj.weight, twin.out_proj.weight_orig * twin.out_proj.weight_mask)  # the hook never ran
    with pytest.raises(ValueError, match=r"output projection of nn\.MultiheadAttention, which never calls it"):
        sics_plugin.global_unstructured([(attention.out_proj, "weight")], method, amount=0.5)
    assert not prune.is_pruned(attention)


@pytest.mark.parametrize("method", [SICSMagnitude, prune.L1Unstructured])
def test_a_vanished_layer_is_warned_about(method: type, mlp: nn.Sequential) -> None:
    with torch.no_grad():
        mlp[0].weight.mul_(1e-6)
    with pytest.warns(VanishedLayerWarning, match=r"no weight left in \[0\]\.weight"):
        sics_plugin.global_unstructured(pairs_of(mlp), method, amount=0.5)


def test_min_keep_holds_a_layer(mlp: nn.Sequential, no_warnings: None) -> None:
    with torch.no_grad():
        mlp[0].weight.mul_(1e-6)
    report = sics_plugin.global_unstructured(pairs_of(mlp), SICSMagnitude, amount=0.5, min_keep=5)
    assert report is not None
    assert report.pruned == 1536
    assert int(mlp[0].weight_mask.sum()) == 5


@pytest.mark.parametrize("kwargs", [{"saliency": torch.rand(3072)}, {"min_keep": 3}])
def test_what_goes_with_own_methods_only_is_refused_for_others(kwargs: dict, mlp: nn.Sequential) -> None:
    with pytest.raises(TypeError, match="`saliency` and `min_keep` go with this project's methods, not with L1Unstructured"):
        sics_plugin.global_unstructured(pairs_of(mlp), prune.L1Unstructured, amount=0.5, **kwargs)


@pytest.mark.parametrize("method", ["magnitude", None, SICSMagnitude(0.5), nn.Linear])
def test_what_is_no_method_is_refused(method: object, mlp: nn.Sequential) -> None:
    with pytest.raises(TypeError, match="`pruning_method` to be a BasePruningMethod subclass"):
        sics_plugin.global_unstructured(pairs_of(mlp), method, amount=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [SICSMagnitude, SICSChaos])
def test_own_methods_need_an_amount(method: type[SICSMethod], mlp: nn.Sequential) -> None:
    for function in (sics_plugin.global_unstructured, prune.global_unstructured):
        with pytest.raises(TypeError, match="amount"):
            function(pairs_of(mlp), method)
    assert not prune.is_pruned(mlp)


@pytest.mark.parametrize("method", [prune.LnStructured, prune.RandomStructured])
def test_structured_methods_are_refused_as_by_torch(method: type, mlp: nn.Sequential) -> None:
    with pytest.raises(TypeError, match="unstructured"):
        sics_plugin.global_unstructured(pairs_of(mlp), method, amount=0.5)


@pytest.mark.parametrize("method", [SICSMagnitude, SICSChaos])
@pytest.mark.parametrize("function", [prune.global_unstructured, sics_plugin.global_unstructured])
def test_bad_weights_leave_every_layer_unpruned_on_both_roads(method, function: Callable, mlp: nn.Sequential) -> None:
    with torch.no_grad():
        mlp[2].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="1 NaN or infinite of 3072"):
        function(pairs_of(mlp), method, amount=0.5)
    assert not prune.is_pruned(mlp)


def test_foreign_and_own_prunes_take_turns(mlp: nn.Sequential) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sics_plugin.global_unstructured(pairs_of(mlp), prune.L1Unstructured, amount=0.2)
        prune.global_unstructured(pairs_of(mlp), SICSChaos, amount=0.2)
        report = prune_model(mlp, "magnitude", amount=0.2)
        prune.global_unstructured(pairs_of(mlp), prune.RandomUnstructured, amount=0.2)
        sics_plugin.global_unstructured(mlp, SICSMagnitude, amount=0.2)
    left = 3072
    for _ in range(5):
        left -= round(0.2 * left)
    assert sum(int(m.sum()) for m in current_masks(mlp).values()) == left
    assert report.total == 3072
