"""Scorer and pool by what each mask does on the calibration batches: `Trials`, and the distance of outputs without labels."""

import copy
import itertools
import json
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from sics_plugin import (
    Calibration,
    Saliency,
    Trials,
    build_scorer,
    clone_pruned,
    compute_masks,
    held_out_accuracy,
    held_out_loss,
    like_dense,
    mask_hash,
    masked,
    prunable_parameters,
    prune_channels,
    prune_model,
    prune_to_sparsity,
)
from sics_plugin.pruning.calibrating import trials as module
from sics_plugin.scorers.adaptive import strength_at

Batches = list[tuple[Tensor, Tensor]]


class Signs(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) > 0


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


@pytest.fixture
def given() -> Batches:
    draw = torch.Generator().manual_seed(4)
    scale = torch.logspace(0, 2, 24)  # inputs of very different size: what is read matters, and scorers disagree
    return [(torch.randn(16, 24, generator=draw) * scale, torch.randint(4, (16,), generator=draw)) for _ in range(3)]


def by_hand(net: nn.Module, given: Batches, amount: float) -> dict[tuple[str, str], tuple[float, str]]:
    """Loss and mask of every candidate, without `Trials`."""
    found = {}
    for pool in ("global", "layer", "row"):
        for name in module.SCORERS:
            kind = {"magnitude": None, "information": "gradient", "wanda": "activation"}.get(name, name)
            signal: Any = kind
            arguments = () if kind == "lamp" else (given,)
            saliency = None if kind is None else Saliency(net, *arguments, kind=signal)
            scorer = build_scorer(name, alpha=strength_at(amount)) if name == "information" else name
            masks, report = compute_masks(net, scorer, amount=amount, saliency=saliency, pool=pool)
            with masked(net, masks), torch.no_grad():
                losses = [float(nn.functional.cross_entropy(net(x), y)) for x, y in given]
            found[name, pool] = sum(losses) / len(losses), report.mask_hash
    return found


@pytest.mark.parametrize("amount", [0.3, 0.6, 0.9])
def test_the_mask_with_the_smallest_loss_is_chosen(net: nn.Sequential, given: Batches, amount: float) -> None:
    expected = by_hand(net, given, amount)
    masks, report = compute_masks(net, "adaptive", amount=amount, calibrate=Trials(given))
    best = min(loss for loss, _ in expected.values())
    assert report.choice is not None
    loss, digest = expected[report.choice.scorer, report.pool]
    assert loss == pytest.approx(best, rel=1e-5)
    assert report.mask_hash == digest == mask_hash(masks)
    assert len(report.choice.trials) == 18
    assert {(t.scorer, t.pool): -t.score for t in report.choice.trials} == pytest.approx(
        {arm: found for arm, (found, _) in expected.items()}, rel=1e-5
    )
    scores = [t.score for t in report.choice.trials]
    assert scores == sorted(scores, reverse=True)


def test_the_reason_names_pool_loss_and_magnitudes(net: nn.Sequential, given: Batches) -> None:
    report = prune_model(net, "adaptive", amount=0.6, calibrate=Trials(given))
    assert report.choice is not None
    best, plain = report.choice.trials[0], next(t for t in report.choice.trials if (t.scorer, t.pool) == ("magnitude", "global"))
    different = len({t.mask_hash for t in report.choice.trials})
    assert report.choice.reason == (
        f"pool {report.pool}, smallest loss on the calibration batches of {different} masks: {-best.score:.4g}, "
        f"magnitude's {-plain.score:.4g}"
    )
    assert report.choice.source == "3 calibration batches"
    assert report.choice.reason in str(report)


def test_equal_losses_go_to_magnitude_in_the_global_pool(net: nn.Sequential, given: Batches) -> None:
    with torch.no_grad():
        net[4].weight.zero_()  # the head, which is not pruned: the output is its bias, whatever the mask
    report = prune_model(net, "adaptive", amount=0.6, calibrate=Trials(given))
    assert report.choice is not None
    assert (report.choice.scorer, report.pool) == ("magnitude", "global")


def test_without_labels_no_target_is_read_and_the_least_change_wins(net: nn.Sequential, given: Batches) -> None:
    blind = [(x, None) for x, _ in given]
    report = prune_model(clone_pruned(net), "adaptive", amount=0.7, calibrate=Trials(blind, labels=False))
    assert report.choice is not None
    assert {t.scorer for t in report.choice.trials} == set(module.SCORERS_WITHOUT_LABELS)
    assert "smallest change of the outputs" in report.choice.reason
    assert "without labels" in report.choice.source
    with torch.no_grad():
        dense = torch.cat([net(x) for x, _ in given]).double()
    for trial in report.choice.trials:
        kind: Any = {"wanda": "activation", "lamp": "lamp"}.get(trial.scorer)
        saliency = None if kind is None else Saliency(net, *((blind,) if kind == "activation" else ()), kind=kind)
        masks, _ = compute_masks(net, trial.scorer, amount=0.7, saliency=saliency, pool=str(trial.pool))
        with masked(net, masks), torch.no_grad():
            now = torch.cat([net(x) for x, _ in given]).double()
        change = float((now - dense).square().sum() / (dense - dense.mean(0)).square().sum())
        assert -trial.score == pytest.approx(change, rel=1e-6)
    assert report.choice.trials[0].score == max(t.score for t in report.choice.trials)


def test_held_out_data_decides_within_the_budget_and_magnitude_is_among_them(net: nn.Sequential, given: Batches) -> None:
    draw = torch.Generator().manual_seed(9)
    evaluate, seen = held_out_loss([(torch.randn(64, 24, generator=draw), torch.randint(4, (64,), generator=draw))]), []

    def watched(model: nn.Module) -> float:
        seen.append(evaluate(model))
        return seen[-1]

    report = prune_model(clone_pruned(net), "adaptive", amount=0.7, calibrate=Trials(given, held_out=watched, budget=4))
    assert len(seen) == 4
    twin = clone_pruned(net)
    prune_model(twin, "magnitude", amount=0.7)
    assert evaluate(twin.eval()) in seen
    assert report.choice is not None
    chosen = clone_pruned(net)
    kind: Any = {"magnitude": None, "information": "gradient", "wanda": "activation"}.get(
        report.choice.scorer, report.choice.scorer
    )
    saliency = None if kind is None else Saliency(net, *(() if kind == "lamp" else (given,)), kind=kind)
    scorer = (
        build_scorer("information", alpha=strength_at(0.7)) if report.choice.scorer == "information" else report.choice.scorer
    )
    prune_model(chosen, scorer, amount=0.7, saliency=saliency, pool=report.pool)
    assert evaluate(chosen.eval()) == max(seen)
    assert "highest held-out score of 4" in report.choice.reason


@pytest.mark.parametrize("pool", ["layer", "row"])
def test_a_number_of_weights_is_as_large_a_fraction_of_each_layer(net: nn.Sequential, given: Batches, pool: str) -> None:
    report = prune_to_sparsity(net, "adaptive", 0.75, calibrate=Trials(given, pools=(pool,)))
    assert report.pool == pool
    assert report.sparsity == pytest.approx(0.75, abs=0.01)
    assert all(layer.sparsity == pytest.approx(0.75, abs=0.01) for layer in report.layers)


def test_short_rows_go_by_whole_weights(given: Batches) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(24, 3), nn.ReLU(), nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 4))  # 0.55 of 3 is 2 of them
    report = prune_model(net, "adaptive", amount=0.55, calibrate=Trials(given, pools=("row",)))
    assert report.choice is not None
    assert report.choice.sparsity == pytest.approx(0.55, abs=0.01)
    assert [round(layer.sparsity, 3) for layer in report.layers] == [0.542, 0.667]


def test_a_second_step_prunes_what_is_left(net: nn.Sequential, given: Batches) -> None:
    prune_to_sparsity(net, "magnitude", 0.5)
    report = prune_to_sparsity(net, "adaptive", 0.8, calibrate=Trials(given))
    assert report.sparsity == pytest.approx(0.8, abs=0.005)
    assert report.choice is not None
    assert report.choice.sparsity == 0.8


def test_channels_are_tried_in_the_pools_they_have(net: nn.Sequential, given: Batches) -> None:
    report = prune_channels(clone_pruned(net), "adaptive", 0.5, calibrate=Trials(given))
    assert report.choice is not None
    assert {t.pool for t in report.choice.trials} == {"global", "layer"}
    assert "wanda" not in {t.scorer for t in report.choice.trials}  # it is of weights
    assert report.total == 64
    assert report.pruned == 32
    with pytest.raises(ValueError, match="that channels can be ranked by, got none"):
        prune_channels(net, "adaptive", 0.5, calibrate=Trials(given, pools=("row",)))


def test_heads_of_a_transformer() -> None:
    torch.manual_seed(0)
    vit = timm.models.vision_transformer.VisionTransformer(
        img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=4, num_classes=3
    )
    batches = [(torch.randn(8, 3, 8, 8), torch.randint(3, (8,))) for _ in range(2)]
    report = prune_channels(vit, "adaptive", 0.5, unit="head", calibrate=Trials(batches))
    assert (report.unit, report.total, report.pruned) == ("head", 8, 4)


def test_the_model_and_the_random_numbers_that_follow_are_as_before(net: nn.Sequential, given: Batches) -> None:
    net.train()
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    compute_masks(net, "adaptive", amount=0.7, calibrate=Trials(given))
    assert net.training
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert torch.equal(state, torch.get_rng_state())


def test_a_mask_that_breaks_the_model_loses(net: nn.Sequential, given: Batches) -> None:
    plain, _ = compute_masks(net, "magnitude", amount=0.6)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        value = nn.functional.cross_entropy(output, target)
        gone = torch.equal((net_now() != 0).cpu(), plain["0.weight"])
        return value * math.nan if gone else value

    current: list[nn.Module] = [net]

    def net_now() -> Tensor:
        return current[0].get_submodule("0").weight

    def watched(module_: nn.Module, *_: Any) -> None:
        current[0] = module_

    net.register_forward_pre_hook(watched)
    report = prune_model(net, "adaptive", amount=0.6, calibrate=Trials(given, loss))
    assert report.choice is not None
    assert report.choice.trials[-1].score == -math.inf
    told = report.to_dict()["choice"]["trials"]
    assert (told[-1]["score"], told[0]["score"]) == (None, report.choice.trials[0].score)
    json.dumps(told, allow_nan=False)
    assert "magnitude's inf" in report.choice.reason
    assert (report.choice.scorer, report.pool) != ("magnitude", "global")


def test_signals_that_are_there_are_not_collected_again(
    net: nn.Sequential, given: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compute_masks(net, "adaptive", amount=0.7, calibrate=Trials(given))[1]
    kinds: tuple[Any, ...] = ("gradient", "fisher", "activation")
    there = {kind: Saliency(net, given, kind=kind) for kind in kinds}
    asked: list[str] = []

    def collect(model: nn.Module, *arguments: Any, kind: Any, **options: Any) -> Saliency:
        asked.append(kind)
        return Saliency(model, *arguments, kind=kind, **options)

    monkeypatch.setattr(module, "Saliency", collect)
    again = compute_masks(net, "adaptive", amount=0.7, calibrate=Trials(given, collected=there))[1]
    assert asked == ["lamp"]
    assert again.mask_hash == first.mask_hash


def test_a_loader_is_cut_and_kept(net: nn.Sequential, given: Batches) -> None:
    how = Trials(itertools.cycle(given), max_batches=2)
    assert len(how.kept) == 2
    first = compute_masks(net, "adaptive", amount=0.5, calibrate=how)[1]
    assert compute_masks(net, "adaptive", amount=0.5, calibrate=Trials(given[:2]))[1].choice == first.choice


def test_warnings_are_of_the_mask_that_is_chosen(net: nn.Sequential, given: Batches) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = prune_model(net, "adaptive", amount=0.5, calibrate=Trials(given))
    assert len({str(w.message) for w in caught}) == len(caught)
    vanished = [layer.name for layer in report.layers if layer.sparsity == 1]
    assert bool(vanished) == any("every" in str(w.message) and "weight" in str(w.message) for w in caught)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda b: Trials([]), ValueError, "at least one batch"),
        (lambda b: Trials(b[0][0]), TypeError, "iterable of"),
        (lambda b: Trials(b, loss=3), TypeError, "`loss`"),
        (lambda b: Trials(b, nn.CrossEntropyLoss(), labels=False), TypeError, "no `loss` with labels=False"),
        (lambda b: Trials(b, held_out=0.5), TypeError, "`held_out` to be callable, got float"),
        (lambda b: Trials(b, budget=1), ValueError, "`budget` to be a whole number of at least 2 evaluations, got 1"),
        (lambda b: Trials(b, budget=True), ValueError, "`budget`"),
        (lambda b: Trials(b, max_batches=0), ValueError, "`max_batches`"),
        (lambda b: Trials(b, pools=("rows",)), ValueError, "`pools` to be some of global, layer-rank, layer, row, erk, got rows"),
        (lambda b: Trials(b, pools=()), ValueError, "`pools`"),
        (lambda b: Trials(b, pools="row"), TypeError, "`pools` to be a tuple of names, got 'row'"),
        (lambda b: Trials(b, scorers="fisher"), TypeError, "`scorers` to be a tuple of names, got 'fisher'"),
        (lambda b: Trials(b, scorers=("fischer",)), ValueError, "scorer among"),
        (lambda b: Trials(b, scorers=("fisher",), labels=False), ValueError, "read no labels with labels=False, got 'fisher'"),
    ],
)
def test_what_cannot_be_tried_is_refused(
    given: Batches, make: Callable[[Batches], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        make(given)


def test_what_trials_choose_is_not_given_beside_them(net: nn.Sequential, given: Batches) -> None:
    how = Trials(given)
    for option, value in (("saliency", Saliency(net, given)), ("pool", "layer"), ("table", "measured"), ("alpha", 0.1)):
        with pytest.raises(TypeError, match=f"no `{option}` beside"):
            prune_model(net, "adaptive", amount=0.5, calibrate=how, **{option: value})
    with pytest.raises(TypeError, match="Expected method 'adaptive' with `calibrate`, got 'chaos'"):
        prune_model(net, "chaos", amount=0.5, calibrate=how)
    with pytest.raises(TypeError, match="to be Trials or a Calibration, got int"):
        prune_model(net, "adaptive", amount=0.5, calibrate=3)
    with pytest.raises(TypeError, match="a model to calibrate on"):
        prune_model(prunable_parameters(net), "adaptive", amount=0.5, calibrate=how)


def test_a_calibration_still_goes_with_a_saliency_and_a_pool(net: nn.Sequential, given: Batches) -> None:
    how = Calibration(held_out_accuracy(given), budget=3)
    report = prune_model(net, "adaptive", amount=0.5, saliency=Saliency(net, given), pool="layer", calibrate=how)
    assert report.pool == "layer"


def test_the_distance_of_outputs_by_hand() -> None:
    net = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0], [2.0]]))
    evaluate = like_dense(net, [(torch.tensor([[1.0], [3.0]]), None)])
    assert evaluate(net) == 0
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.weight[0, 0] = 0
    # Outputs (1, 2) and (3, 6), mean (2, 4): squared distances 5 + 5. Without the first weight they change by 1 and 3.
    assert evaluate(twin) == pytest.approx(-(1 + 9) / 10)


def test_outputs_of_other_forms_have_a_distance() -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> tuple[Tensor, Any]:
            return self.lstm(x)

    torch.manual_seed(0)
    net = Tagger()
    evaluate = like_dense(net, [(torch.randn(2, 5, 3), None), (torch.randn(2, 7, 3), None)])  # sequences of two lengths
    assert evaluate(net) == 0
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.lstm.weight_hh_l0.zero_()
    assert evaluate(other) < 0


@pytest.mark.parametrize(
    ("net", "batches", "error", "words"),
    [
        (nn.Linear(2, 2), [], ValueError, "at least one batch"),
        (nn.Linear(2, 2), [(torch.ones(3, 2), None)], ValueError, "outputs that differ between samples"),
        (Signs(), [(torch.randn(3, 2), None)], TypeError, "floating point numbers among the outputs, got none on batch 1"),
    ],
)
def test_outputs_without_a_distance_are_refused(net: nn.Module, batches: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        like_dense(net, batches)
