"""Scorer and pool by what each mask does on the calibration batches: `Trials`, and the distance of outputs without labels."""

import copy
import itertools
import json
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from sics_plugin import (
    Calibration,
    CoordinateScorer,
    Saliency,
    Scorer,
    Trials,
    Units,
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
    register_scorer,
    unregister_scorer,
)
from sics_plugin.pruning import choose
from sics_plugin.pruning.calibrating import trials as module
from sics_plugin.pruning.calibrating.trials import recombined
from sics_plugin.saliency.batches import Given
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


def by_hand(net: nn.Module, given: Batches, amount: float) -> dict[tuple[str, str], tuple[float, float, float, str]]:
    """Loss, change of the outputs on the batches and on recombined ones, and mask, of every candidate, without `Trials`."""
    mixed = []
    for number, (x, _) in enumerate(given, 1):
        draw = torch.Generator().manual_seed(number)
        j, k = torch.randperm(len(x), generator=draw), torch.randperm(len(x), generator=draw)
        mixed.append(x - x[j] + x[k])
    sets = [torch.cat([x for x, _ in given]), torch.cat(mixed)]
    with torch.no_grad():
        dense = [net(x).double() for x in sets]
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
                away = [net(x).double() - before for x, before in zip(sets, dense, strict=True)]
                loss = float(nn.functional.cross_entropy(net(sets[0]), torch.cat([y for _, y in given])))
            changes = [
                float(far.square().sum() / (before - before.mean(0)).square().sum())
                for far, before in zip(away, dense, strict=True)
            ]
            found[name, pool] = loss, changes[0], changes[1], report.mask_hash
    return found


@pytest.mark.parametrize("amount", [0.25, 0.625, 0.875])  # whole numbers of the weights of every row
@pytest.mark.parametrize("negative", [False, True])
def test_the_mask_is_chosen_with_the_least_product(net: nn.Sequential, given: Batches, amount: float, negative: bool) -> None:
    def below_zero(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, target) - 100

    expected = by_hand(net, given, amount)
    how = Trials(given, below_zero) if negative else Trials(given)
    masks, report = compute_masks(net, "adaptive", amount=amount, calibrate=how)
    assert report.choice is not None
    chosen = report.choice.scorer, str(report.pool)
    product = {arm: (own if negative else loss) * mixed for arm, (loss, own, mixed, _) in expected.items()}
    assert product[chosen] == pytest.approx(min(product.values()), rel=1e-4)
    assert report.mask_hash == expected[chosen][3] == mask_hash(masks)
    assert len(report.choice.trials) == 18
    for trial in report.choice.trials:
        loss, change, mixed, digest = expected[trial.scorer, str(trial.pool)]
        assert trial.loss == pytest.approx(loss - 100 if negative else loss, rel=1e-4)
        assert (trial.change, trial.recombined) == (pytest.approx(change, rel=1e-4), pytest.approx(mixed, rel=1e-4))
        assert -trial.score == pytest.approx(math.sqrt(product[trial.scorer, str(trial.pool)]), rel=1e-4)
        assert trial.mask_hash == digest
    assert [t.score for t in report.choice.trials] == sorted((t.score for t in report.choice.trials), reverse=True)
    different = {trial.mask_hash for trial in report.choice.trials}
    assert report.choice.source == "3 calibration batches"
    assert report.choice.reason in str(report)
    if negative:
        assert re.search(r"; the least product of .*; loss -\d.*, not counted, as it can be 0 or less$", report.choice.reason)
        assert report.choice.reason.count("change of the outputs") == 2
    else:
        (own, _, mixed, _), (plain, _, plain_mixed, _) = expected[chosen], expected["magnitude", "global"]
        assert report.choice.reason == (
            f"pool {report.pool}, loss {own:.4g} on the calibration batches, magnitude's {plain:.4g}; change of the outputs "
            f"{mixed:.3g} on recombined ones, magnitude's {plain_mixed:.3g}; the least product of {len(different)} masks"
        )


def batch(*args: Any, number: int = 1, **kwargs: Any) -> Given:
    rows = next(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
    return Given(number, args, kwargs, torch.arange(len(rows)), whole=False, size=len(rows))


def test_a_recombined_sample_has_the_features_of_three() -> None:
    images = torch.randn(6, 3, 4, 4)
    found = recombined(batch(images))
    (mixed,) = found.args
    assert all(
        any(torch.allclose(mixed[i], images[i] - images[j] + images[k]) for j in range(6) for k in range(6)) for i in range(6)
    )
    assert torch.equal(recombined(batch(images)).args[0], mixed)  # always the same
    assert not torch.equal(recombined(batch(images, number=2)).args[0], mixed)
    assert torch.equal(found.targets, torch.arange(6))


def test_tokens_change_places_with_their_masks_and_lengths_stay() -> None:
    ids, lengths = torch.arange(40).reshape(5, 8), torch.tensor([8, 5, 7, 2, 3])
    mask, edges, weights = ids % 3 > 0, torch.arange(14).reshape(2, 7), torch.rand(5)
    found = recombined(batch(ids=ids, mask=mask, lengths=lengths, edges=edges, weights=weights)).kwargs
    assert torch.equal(found["mask"], found["ids"] % 3 > 0)  # a token and its mask are of one sample
    assert torch.equal(found["ids"] % 8, ids % 8)  # at the same position
    for i in range(5):
        others = set((found["ids"][i] // 8).tolist()) - {i}
        assert len(others) <= 1
    assert 0.2 < float((found["ids"] != ids).float().mean()) < 0.6
    for name, before in {"lengths": lengths, "edges": edges, "weights": weights}.items():
        assert found[name] is before, name


def test_a_batch_of_one_sample_is_as_it_was_and_said_to_be(net: nn.Sequential, given: Batches) -> None:
    x = torch.randn(1, 4)
    assert recombined(batch(x)).args[0] is x
    single = [(x[i : i + 1], y[i : i + 1]) for x, y in given[:1] for i in range(8)]
    report = prune_model(net, "adaptive", amount=0.5, calibrate=Trials(single, pools=("global",)))
    assert report.choice is not None
    assert report.choice.reason.endswith(
        " masks; left out recombined batches: no input has several samples in rows of several numbers"
    )


def test_time_first_inputs_are_said_not_to_be_recombined() -> None:
    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.mid, self.head = nn.GRU(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.mid(self.gru(x)[0][-1]).relu())

    torch.manual_seed(0)
    batches = [(torch.randn(5, 16, 6), torch.randint(3, (16,))) for _ in range(3)]
    report = prune_model(TimeFirst(), "adaptive", amount=0.5, calibrate=Trials(batches, pools=("global",)))
    assert report.choice is not None
    assert "; left out recombined batches: no input has several samples" in report.choice.reason
    assert "on recombined ones" not in report.choice.reason


def test_a_mask_of_another_shape_goes_with_its_tokens_and_labels_stay() -> None:
    ids, labels = torch.arange(40).reshape(5, 8), torch.arange(40).reshape(5, 8)
    found = recombined(batch(ids=ids, mask=(ids % 3 > 0)[:, None, None], labels=labels)).kwargs
    assert torch.equal(found["mask"][:, 0, 0], found["ids"] % 3 > 0)
    assert found["labels"] is labels


def test_a_model_that_cannot_read_recombined_batches_is_judged_on_the_batches(given: Batches) -> None:
    class Picky(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            if x.max() > top:
                raise RuntimeError("index out of range")
            return super().forward(x)

    torch.manual_seed(0)
    top = max(float(x.max()) for x, _ in given)
    net = Picky(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    report = prune_model(net, "adaptive", amount=0.6, calibrate=Trials(given))
    assert report.choice is not None
    assert "; the least product of" in report.choice.reason
    assert "; left out recombined batches: index out of range" in report.choice.reason
    for trial in report.choice.trials:
        assert trial.recombined is None
        assert trial.loss is not None
        assert trial.change is not None
        assert -trial.score == pytest.approx(math.sqrt(trial.loss * trial.change))


def test_where_outputs_have_no_change_the_loss_decides(net: nn.Sequential, given: Batches) -> None:
    class Boxed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> dict[str, Any]:
            return {"words": [str(x.shape)], "hidden": Hidden(self.net(x))}

    @dataclass
    class Hidden:
        logits_of_mine: Tensor

    def loss(output: Any, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output["hidden"].logits_of_mine, target)

    report = prune_model(Boxed(), "adaptive", amount=0.6, calibrate=Trials(given, loss, scorers=("wanda", "lamp")))
    assert report.choice is not None
    assert report.choice.trials[0].change is None
    assert re.match(
        r"pool \w+, loss [\d.]+ on the calibration batches, magnitude's [\d.]+, the least of \d+ masks, whose outputs "
        r"have no change that could be told",
        report.choice.reason,
    )


def test_equal_changes_go_to_magnitude_in_the_global_pool(net: nn.Sequential, given: Batches) -> None:
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
    assert re.fullmatch(
        r"pool \w+, change of the outputs [\d.]+ on the calibration batches, magnitude's [\d.]+; change of the outputs [\d.]+ on "
        r"recombined ones, magnitude's [\d.]+; the least product of \d+ masks",
        report.choice.reason,
    )
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
        assert trial.change == pytest.approx(change, rel=1e-6)
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
    assert f"held-out score {max(seen):.6g}, magnitude's" in report.choice.reason
    assert "the best of 4;" in report.choice.reason


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
    with pytest.raises(ValueError, match="`pools` in which channels can be ranked and so many go, got row"):
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

    def broken(module_: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        gone = torch.equal((module_.get_submodule("0").weight != 0).cpu(), plain["0.weight"])
        return output * math.nan if gone else output

    net.register_forward_hook(broken)
    report = prune_model(net, "adaptive", amount=0.6, calibrate=Trials(given))
    assert report.choice is not None
    assert report.choice.trials[-1].score == -math.inf
    told = report.to_dict()["choice"]["trials"]
    assert (told[-1]["score"], told[0]["score"]) == (None, report.choice.trials[0].score)
    json.dumps(told, allow_nan=False)
    assert "magnitude's inf; change of the outputs" in report.choice.reason
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

    how = Trials(given, collected=there)
    monkeypatch.setattr(module, "Saliency", collect)
    again = compute_masks(net, "adaptive", amount=0.7, calibrate=how)[1]
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


def test_a_pool_that_removes_too_few_by_whole_units_is_left_out_and_named(given: Batches) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))
    report = prune_to_sparsity(net, "adaptive", 0.05, calibrate=Trials(given))  # of a row of 8 that is none
    assert report.choice is not None
    assert report.sparsity == pytest.approx(0.05, abs=0.01)
    assert {t.pool for t in report.choice.trials} == {"global", "layer"}
    assert re.search(r"; left out pool row: by whole units it removes \d+ too few", report.choice.reason)
    net = nn.Sequential(nn.Linear(24, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    channels = prune_channels(clone_pruned(net), "adaptive", 1, calibrate=Trials(given))  # an eighth of 4 is none
    assert (channels.pool, channels.pruned) == ("global", 1)
    with pytest.raises(ValueError, match="`pools` in which channels can be ranked and so many go, got layer"):
        prune_channels(clone_pruned(net), "adaptive", 1, calibrate=Trials(given, pools=("layer",)))


@pytest.mark.parametrize("exact", [True, False])
def test_the_mask_that_is_installed_is_the_one_that_was_tried(
    given: Batches, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(24, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 4))
    how = Trials(given, scorers=("smooth_chaos", "chaos"), pools=("global",))
    report = prune_model(clone_pruned(net), "adaptive", amount=0.7, exact=exact, calibrate=how)
    assert report.choice is not None
    assert report.mask_hash == report.choice.trials[0].mask_hash
    monkeypatch.setattr(choose, "HISTOGRAM_ABOVE", 1000)
    _, report = compute_masks(net, "adaptive", amount=0.7, calibrate=how)
    assert report.choice is not None
    assert report.mask_hash == report.choice.trials[0].mask_hash


def test_scorers_of_ones_own_run_as_they_were_tried(net: nn.Sequential, given: Batches) -> None:
    @register_scorer
    @dataclass(frozen=True)
    class Strong(Scorer):
        name, role, summary = "own_strong", "control", "α times the saliency, and the magnitude"
        alpha: float = 0.9

        def score(self, units: Units, sparsity: float) -> Tensor:
            assert units.saliency is not None
            return units.magnitude.double() + 100 * self.alpha * units.saliency.double()

    @register_scorer
    @dataclass(frozen=True)
    class Near(CoordinateScorer):
        name, kappa, summary, requires = "own_near", 1, "against what is around a weight", "neighbourhood"
        alpha: float = 0.1

        def feature(self, z: Tensor, sparsity: float) -> Tensor:
            return -(12**0.5) * (z - 0.5)

    try:
        for name in ("own_strong", "own_near"):
            how = Trials(given, scorers=(name,), pools=("global",))
            for seed in range(20):  # until it wins
                torch.manual_seed(seed)
                model = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
                report = prune_model(model, "adaptive", amount=0.7, calibrate=how)
                assert report.choice is not None
                assert report.mask_hash == report.choice.trials[0].mask_hash
                if report.choice.scorer == name:
                    break
            assert report.choice.scorer == name
    finally:
        unregister_scorer("own_strong")
        unregister_scorer("own_near")


class Counting(nn.Linear):
    """Keeps a count in a buffer and its last output as an attribute, and adds noise."""

    def __init__(self) -> None:
        super().__init__(24, 4)
        self.hidden = nn.Linear(24, 24)
        self.register_buffer("calls", torch.zeros(()))
        self.last = torch.zeros(4)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        out = super().forward(nn.functional.dropout(self.hidden(x), 0.1, training=True)) + 0.1 * self.last
        self.last = out.detach().mean(0)
        return out


def test_what_a_model_keeps_and_draws_is_as_before_and_the_same_for_every_mask(given: Batches) -> None:
    torch.manual_seed(0)
    model = Counting()
    last, state = model.last, torch.get_rng_state()
    _, report = compute_masks(model, "adaptive", amount=0.5, calibrate=Trials(given))
    assert model.calls == 0
    assert model.last is last
    assert torch.equal(torch.get_rng_state(), state)
    assert compute_masks(model, "adaptive", amount=0.5, calibrate=Trials(given))[1].choice == report.choice
    prune_model(model, "magnitude", amount=0.2)
    model(given[0][0])
    assert model.hidden.weight.requires_grad
    compute_masks(model, "adaptive", amount=0.2, calibrate=Trials(given))
    assert model.hidden.weight.requires_grad


def test_a_model_whose_copy_is_another_one_is_refused(net: nn.Sequential, given: Batches) -> None:
    # A copy's hook still reads this very model.
    net[4].register_forward_pre_hook(lambda module, args: (args[0] * (1.0 if module is net[4] else 2.0),))
    with pytest.raises(ValueError, match=r"a model whose copy has the same outputs, got some .* of their variance away"):
        prune_model(net, "adaptive", amount=0.5, calibrate=Trials(given))


def test_a_scorer_whose_signal_cannot_be_had_is_left_out_unless_it_was_named(
    given: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(24, 16), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x)[0][-1])

    torch.manual_seed(0)
    net = TimeFirst()
    batches = [(torch.randn(5, 8, 24), torch.randint(4, (8,))) for _ in range(3)]
    asked: list[str] = []

    def collect(model: nn.Module, *arguments: Any, kind: Any, **options: Any) -> Saliency:
        asked.append(kind)
        return Saliency(model, *arguments, kind=kind, **options)

    monkeypatch.setattr(module, "Saliency", collect)
    report = prune_model(clone_pruned(net), "adaptive", amount=0.5, calibrate=Trials(batches))
    assert report.choice is not None
    assert asked.count("fisher") == 1  # not once a pool
    assert "fisher" not in {t.scorer for t in report.choice.trials}
    assert "; left out fisher: " in report.choice.reason
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        prune_model(net, "adaptive", amount=0.5, calibrate=Trials(batches, scorers=("fisher",)))


def test_a_loss_may_change_its_outputs_and_where_it_decides_has_to_be_finite(net: nn.Sequential, given: Batches) -> None:
    def halving(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output.mul_(0.5) if not output.requires_grad else output * 0.5, target)

    prune_model(clone_pruned(net), "adaptive", amount=0.5, calibrate=Trials(given, halving))  # its copy is itself

    class Same(nn.Module):
        """Outputs that are the same for every sample have no change that could be told."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).mean(0).expand(len(x), -1) * 0 + 1

    def broken(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, target) * math.nan

    with pytest.raises(ValueError, match="a finite loss of the model before it is pruned, got inf on the batches"):
        prune_model(Same(), "adaptive", amount=0.5, calibrate=Trials(given, broken, scorers=("wanda",)))


def test_channels_in_pools_and_by_scorers_that_they_have_not(net: nn.Sequential, given: Batches) -> None:
    report = prune_channels(clone_pruned(net), "adaptive", 0.5, calibrate=Trials(given, pools=("row", "global")))
    assert report.pool == "global"
    with pytest.raises(ValueError, match="`scorers` that are defined for channels, got 'wanda'"):
        prune_channels(net, "adaptive", 0.5, calibrate=Trials(given, scorers=("wanda",)))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda b: Trials(b, collected={"gradeint": 1}), TypeError, "`collected` to have a Saliency by its kind, got int as"),
        (lambda b: Trials(b, collected={"fisher": Saliency(nn.Linear(2, 2), kind="lamp")}), TypeError, "got lamp as 'fisher'"),
        (lambda b: Trials([]), ValueError, "at least one batch"),
        (lambda b: Trials(b[0][0]), TypeError, "iterable of"),
        (lambda b: Trials(b, loss=3), TypeError, "`loss`"),
        (lambda b: Trials(b, nn.CrossEntropyLoss(), labels=False), TypeError, "no `loss` with labels=False"),
        (lambda b: Trials(b, held_out=0.5), TypeError, "`held_out` to be callable, got float"),
        (lambda b: Trials(b, budget=1), ValueError, "`budget` to be a whole number of at least 2 evaluations, got 1"),
        (lambda b: Trials(b, budget=True), ValueError, "`budget`"),
        (lambda b: Trials(b, max_batches=0), ValueError, "`max_batches`"),
        (lambda b: Trials(b, max_batches=True), ValueError, "`max_batches`"),
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


def test_outputs_whose_last_dimension_varies_have_a_distance() -> None:
    torch.manual_seed(0)
    net = nn.Conv1d(2, 3, 3, padding=1)
    evaluate = like_dense(net, [(torch.randn(2, 2, 10), None), (torch.randn(2, 2, 12), None)])
    assert evaluate(net) == 0
    assert evaluate(nn.Conv1d(2, 3, 3)) == -math.inf  # two positions fewer


@pytest.mark.parametrize(
    ("net", "batches", "error", "words"),
    [
        (nn.Linear(2, 2), [(torch.full((3, 2), math.inf), None)], ValueError, "finite outputs of the model before it is pruned"),
        (nn.Linear(2, 2), [], ValueError, "at least one batch"),
        (nn.Linear(2, 2), [(torch.ones(3, 2), None)], ValueError, "outputs that differ between samples"),
        (Signs(), [(torch.randn(3, 2), None)], TypeError, "floating point numbers among the outputs, got none on batch 1"),
    ],
)
def test_outputs_without_a_distance_are_refused(net: nn.Module, batches: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        like_dense(net, batches)
