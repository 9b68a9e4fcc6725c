"""The search for a fusion's weights: its budget, its curve, going on from known points, and what it changes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sics_plugin import (
    Calibration,
    Evaluated,
    FeatureSet,
    Fusion,
    FusionSearch,
    Saliency,
    SICSAdaptive,
    SICSFusion,
    compute_channel_masks,
    compute_masks,
    held_out_accuracy,
    held_out_loss,
    prune_model,
    search_fusion,
)
from sics_plugin.pruning.calibrating.weight_search import search_weights
from sics_plugin.scorers.fusion import FEATURE_SETS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture
def held_out(digits: tuple[Tensor, Tensor]) -> Batches:
    x, y = digits
    return [(x[1200:1500], y[1200:1500])]


@pytest.fixture
def options(trained_mlp: nn.Sequential, calibration: Batches, held_out: Batches) -> dict[str, Any]:
    return {"evaluate": held_out_loss(held_out), "saliency": Saliency(trained_mlp, calibration)}


def by_numbers(score: Callable[[tuple[float, ...]], float]) -> Callable[[tuple[float, ...]], Evaluated]:
    return lambda weights: Evaluated(weights, score(weights), repr(weights))


# --- the optimiser ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 120), st.integers(1, 6), st.booleans(), st.integers(0, 2**32))
def test_exactly_the_budget_the_first_of_equal_weights_all_within_bounds(budget: int, d: int, signed: bool, seed: int) -> None:
    features = FeatureSet(("rho", *(f"spline:{i}" for i in range(d - 1))), signed)
    calls: list[tuple[float, ...]] = []

    def score(weights: tuple[float, ...]) -> float:
        calls.append(weights)
        return -sum((w - 0.3) ** 2 for w in weights)

    points = search_weights(features, by_numbers(score), budget, seed=seed)
    assert len(points) == len(calls) == budget
    assert points[0].weights == (0.5,) * d
    for point in points:
        assert all(low - 1e-12 <= w <= high + 1e-12 for w, (low, high) in zip(point.weights, features.bounds(), strict=True))


def test_scores_that_are_all_equal_do_not_end_it() -> None:
    assert len(search_weights(FEATURE_SETS["orbit"], by_numbers(lambda w: 0.9), 200)) == 200


def test_it_finds_a_minimum_that_equal_weights_miss() -> None:
    points = search_weights(FEATURE_SETS["orbit"], by_numbers(lambda w: -sum((x + 0.4) ** 2 for x in w[1:])), 200)
    assert points[0].score < -3
    assert max(point.score for point in points) > -0.1


@pytest.mark.parametrize("budget", [1, 9, 10, 37])
def test_a_smaller_budget_is_the_beginning_of_a_larger_and_another_seed_is_not(budget: int) -> None:
    score = by_numbers(lambda w: -abs(w[1]) + w[2])
    long = search_weights(FEATURE_SETS["orbit"], score, 60, seed=4)
    assert search_weights(FEATURE_SETS["orbit"], score, budget, seed=4) == long[:budget]
    assert search_weights(FEATURE_SETS["orbit"], score, 60, seed=5)[1:] != long[1:]


@pytest.mark.parametrize("stopped", [1, 7, 23])
def test_an_interrupted_search_goes_on_to_the_same_end(stopped: int) -> None:
    kept: list[Evaluated] = []

    def score(weights: tuple[float, ...]) -> float:
        if len(kept) == stopped:
            raise KeyboardInterrupt
        return -abs(weights[1] - 0.2)

    with pytest.raises(KeyboardInterrupt):
        search_weights(FEATURE_SETS["orbit"], by_numbers(score), 40, after=kept.append)
    assert len(kept) == stopped
    more: list[Evaluated] = []
    whole = by_numbers(lambda w: -abs(w[1] - 0.2))
    found = search_weights(FEATURE_SETS["orbit"], whole, 40, known=kept, after=more.append)
    assert found == search_weights(FEATURE_SETS["orbit"], whole, 40)
    assert found == (*kept, *more)


def test_points_of_another_search_are_refused() -> None:
    score = by_numbers(lambda w: w[0])
    known = search_weights(FEATURE_SETS["orbit"], score, 5, seed=1)
    with pytest.raises(ValueError, match=r"point 2 of `known` has weights .* it is of another search"):
        search_weights(FEATURE_SETS["orbit"], score, 9, seed=2, known=known)


# --- on a network -----------------------------------------------------------------------------------------------------------


def test_the_result_says_all_and_prunes_to_the_mask_it_found(trained_mlp: nn.Sequential, options: dict[str, Any]) -> None:
    before = {name: value.clone() for name, value in trained_mlp.state_dict().items()}
    trained_mlp.train()
    found = search_fusion(trained_mlp, 0.8, budget=30, pool="layer-rank", **options)
    assert trained_mlp.training
    assert all(torch.equal(value, before[name]) for name, value in trained_mlp.state_dict().items())
    assert (found.budget, len(found.curve), found.unit, found.pool, found.saliency) == (
        30,
        30,
        "weight",
        "layer-rank",
        "gradient",
    )
    assert found.sparsity == pytest.approx(0.8, abs=1e-4)
    assert list(found.curve) == sorted(found.curve)
    assert found.curve[-1] == found.best.score == max(point.score for point in found.points)
    assert found.best.score > found.points[0].score
    report = prune_model(trained_mlp, found.scorer, amount=0.8, pool="layer-rank", saliency=options["saliency"])
    assert report.mask_hash == found.best.mask_hash
    assert options["evaluate"](trained_mlp.eval()) == pytest.approx(found.best.score, abs=1e-6)
    assert found.at(10).points == found.points[:10]
    assert FusionSearch.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert str(found).startswith("fusion at S = 0.8: rho ")


def test_the_first_point_is_the_fusion_of_equal_weights(trained_mlp: nn.Sequential, options: dict[str, Any]) -> None:
    found = search_fusion(trained_mlp, 0.7, budget=1, **options)
    equal = compute_masks(trained_mlp, "fusion", amount=0.7, saliency=options["saliency"])[1]
    assert found.points[0].mask_hash == equal.mask_hash
    assert found.weights == (0.5,) * 5


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_every_control_takes_the_same_search(name: str, trained_mlp: nn.Sequential, options: dict[str, Any]) -> None:
    one, two = (search_fusion(trained_mlp, 0.8, features=name, budget=12, seed=3, **options) for _ in range(2))
    assert one == two
    assert (one.budget, len(one.weights), one.features) == (12, len(one.features), FEATURE_SETS[name].features)
    assert one.scorer == Fusion(one.features, one.weights, 3)
    if name == "information":
        assert all(weight >= 0 for point in one.points for weight in point.weights)


def test_a_mask_is_scored_once_and_counts_again(trained_mlp: nn.Sequential, options: dict[str, Any]) -> None:
    """Features of ρ that are monotone: one mask, whatever the weights."""
    calls = []

    def evaluate(model: nn.Module) -> float:
        calls.append(1)
        return float(options["evaluate"](model))

    given = {**options, "evaluate": evaluate}
    found = search_fusion(trained_mlp, 0.7, features=FeatureSet(("rho", "rho^2", "rho^0.5"), signed=False), budget=25, **given)
    assert (found.budget, found.masks, len(calls)) == (25, 1, 1)
    assert found.best.mask_hash == compute_masks(trained_mlp, "magnitude", amount=0.7)[1].mask_hash


def test_it_resumes_from_what_was_kept_and_knows_its_own(trained_mlp: nn.Sequential, options: dict[str, Any]) -> None:
    kept: list[Evaluated] = []
    whole = search_fusion(trained_mlp, 0.8, budget=20, seed=2, after=kept.append, **options)
    assert tuple(kept) == whole.points
    given = {**options, "evaluate": lambda model: pytest.fail("scored again")}
    assert search_fusion(trained_mlp, 0.8, budget=20, seed=2, known=kept, **given) == whole
    assert search_fusion(trained_mlp, 0.8, budget=8, seed=2, known=kept, **given) == whole.at(8)
    with pytest.raises(ValueError, match="another model, saliency, pool or amount"):
        search_fusion(trained_mlp, 0.7, budget=20, seed=2, known=kept, **given)


def test_parameters_are_named_as_a_prune_names_them(trained_mlp: nn.Sequential, options: dict[str, Any]) -> None:
    """By pairs of this model, though S is found on a copy, or by paths."""
    layer = next(module for module in trained_mlp if isinstance(module, nn.Linear))
    few = {**options, "budget": 3}
    pairs = search_fusion(trained_mlp, 0.5, params=[(layer, "weight")], **few)
    assert pairs == search_fusion(trained_mlp, 0.5, params=["0.weight"], **few)
    assert pairs.points != search_fusion(trained_mlp, 0.5, **few).points


def test_channels_and_a_model_that_is_pruned_already(
    trained_mlp: nn.Sequential, options: dict[str, Any], held_out: Batches
) -> None:
    given = {"evaluate": held_out_accuracy(held_out), "saliency": options["saliency"]}
    found = SICSFusion.calibrate(trained_mlp, 0.4, budget=15, unit="channel", pool="layer-rank", **given)
    masks, report = compute_channel_masks(trained_mlp, found.scorer, 0.4, saliency=options["saliency"], pool="layer-rank")
    assert (found.unit, report.mask_hash) == ("channel", found.best.mask_hash)
    assert masks
    prune_model(trained_mlp, "magnitude", amount=0.5)
    second = search_fusion(trained_mlp, 0.5, budget=6, evaluate=options["evaluate"])
    again = prune_model(trained_mlp, second.scorer, amount=0.5)
    assert (again.mask_hash, again.sparsity) == (second.best.mask_hash, pytest.approx(0.75, abs=1e-3))
    assert (second.sparsity, second.saliency) == (pytest.approx(0.5, abs=1e-3), None)
    assert options["evaluate"](trained_mlp) == pytest.approx(second.best.score, abs=1e-6)


# --- the adaptive one by the same search ------------------------------------------------------------------------------------


def test_adaptive_runs_what_the_search_found(trained_mlp: nn.Sequential, options: dict[str, Any]) -> None:
    saliency, evaluate = options["saliency"], options["evaluate"]
    how = Calibration(evaluate, budget=31, features="orbit", seed=2)
    alone = search_fusion(trained_mlp, 0.8, budget=30, seed=2, **options)
    masks, report = compute_masks(trained_mlp, "adaptive", amount=0.8, saliency=saliency, calibrate=how)
    assert report.choice is not None
    assert (report.scorer, report.choice.scorer, report.mask_hash) == ("fusion", "fusion", alone.best.mask_hash)
    assert [(t.score, t.mask_hash) for t in report.choice.trials[1:]] == [(p.score, p.mask_hash) for p in alone.points]
    assert (len(report.choice.trials), report.choice.trials[0].scorer) == (31, "magnitude")
    assert masks.keys() == {"0.weight", "2.weight"}
    table = SICSAdaptive.calibrate(trained_mlp, 0.8, evaluate=evaluate, budget=31, features="orbit", seed=2, saliency=saliency)
    assert table.trials == report.choice.trials
    assert json.loads(json.dumps(table.to_dict()))["steps"][0]["fusion"]["weights"] == list(alone.weights)
    assert compute_masks(trained_mlp, table, amount=0.8, saliency=saliency)[1].mask_hash == report.mask_hash
    with pytest.raises(ValueError, match=r"Expected a sparsity near 0\.8, for which this table was calibrated, got 0\.5"):
        compute_masks(trained_mlp, table, amount=0.5, saliency=saliency)
    pickled = pickle.loads(pickle.dumps(table))
    assert pickled == table


def test_adaptive_stays_on_the_plateau_where_no_fusion_is_better(trained_mlp: nn.Sequential, options: dict[str, Any]) -> None:
    how = Calibration(lambda model: 0.5, budget=12, features=["rho", "sine"])
    report = prune_model(trained_mlp, "adaptive", amount=0.6, saliency=options["saliency"], calibrate=how)
    assert report.choice is not None
    assert (report.scorer, len(report.choice.trials)) == ("magnitude", 12)


def test_adaptive_of_channels(trained_mlp: nn.Sequential, options: dict[str, Any]) -> None:
    how = Calibration(options["evaluate"], budget=16, features="smooth_orbit")
    given: dict[str, Any] = {"saliency": options["saliency"], "pool": "layer-rank"}
    report = compute_channel_masks(trained_mlp, "adaptive", 0.5, calibrate=how, **given)[1]
    assert report.choice is not None
    assert report.mask_hash == max(report.choice.trials, key=lambda trial: trial.score).mask_hash
    alone = search_fusion(
        trained_mlp, 0.5, budget=15, unit="channel", features="smooth_orbit", **given, evaluate=options["evaluate"]
    )
    assert [t.score for t in report.choice.trials[1:]] == pytest.approx([p.score for p in alone.points])


def test_candidates_and_features_exclude_each_other() -> None:
    with pytest.raises(TypeError, match="Expected `candidates` or `features`, got both"):
        Calibration(lambda model: 0.0, 5, ("magnitude", "chaos"), "orbit")
    with pytest.raises(ValueError, match="Expected `features` to be one of orbit"):
        Calibration(lambda model: 0.0, 5, features="magic")


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"budget": 0}, ValueError, "Expected `budget` to be at least 1 evaluation, got 0"),
        ({"budget": 1.5}, TypeError, "Expected `budget` to be a whole number, got 1.5"),
        ({"seed": -1}, ValueError, "Expected `seed` to be a whole number from 0 on, got -1"),
        ({"features": "magic"}, ValueError, "Expected `features` to be one of orbit"),
        ({"features": ("z",)}, ValueError, "Expected `features` with 'rho' among them"),
        ({"unit": "row"}, ValueError, "Expected `unit` to be weight, channel or head, got 'row'"),
        ({"evaluate": 3}, TypeError, "Expected `evaluate` to be callable, got int"),
        ({"evaluate": lambda model: float("nan")}, ValueError, "Expected `evaluate` to return a finite number, got nan"),
        ({"pool": "column"}, ValueError, "Expected `pool` to be 'global'"),
    ],
)
def test_bad_input_gets_one_line(
    wrong: dict[str, Any], error: type[Exception], said: str, trained_mlp: nn.Sequential, options: dict[str, Any]
) -> None:
    with pytest.raises(error, match=said):
        search_fusion(trained_mlp, 0.7, **{"budget": 4, **options, **wrong})
    with pytest.raises(TypeError, match="Expected a model to calibrate on, got list"):
        search_fusion([(trained_mlp[0], "weight")], 0.7, budget=2, **options)  # type: ignore[arg-type]
