"""prune_model, compute_masks and prune_to_sparsity: what they report, keep, refuse and leave alone."""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sics_plugin import (
    LayerSparsity,
    PruningReport,
    Saliency,
    SaliencyVector,
    SICSBump,
    SICSChaos,
    SICSMagnitude,
    VanishedLayerWarning,
    build_scorer,
    compute_masks,
    current_masks,
    finalize,
    get_scorer,
    list_scorers,
    mask_hash,
    method_for,
    prunable_parameters,
    prune_model,
    prune_to_sparsity,
)

N = 16 * 64 + 64 * 32  # the prunable weights of the fixture ``mlp``


def layers_of(*rows: list[float]) -> list[tuple[nn.Module, str]]:
    """Modules whose only parameter holds the numbers."""
    pairs = []
    for row in rows:
        module = nn.Module()
        module.weight = nn.Parameter(torch.tensor(row))
        pairs.append((module, "weight"))
    return pairs


def kept(pairs: list[tuple[nn.Module, str]]) -> list[list[int]]:
    return [getattr(m, f"{n}_mask").int().tolist() for m, n in pairs]


def vector_of(model: nn.Module) -> Tensor:
    return torch.cat([m.weight.detach().reshape(-1) for m, _ in prunable_parameters(model)])


# --- by hand --------------------------------------------------------------------------------------------------------------


def test_global_magnitude_by_hand() -> None:
    pairs = layers_of([0.1, -0.5, 0.3], [0.2, 0.9, -0.05])
    report = prune_model(pairs, "magnitude", amount=0.5)
    assert kept(pairs) == [[0, 1, 1], [0, 1, 0]]
    assert report == PruningReport(
        method="magnitude",
        scorer="magnitude",
        kappa=0,
        amount=0.5,
        alpha=None,
        saliency_kind=None,
        unit="weight",
        pool="global",
        form="exact",
        total=6,
        pruned=3,
        threshold=pytest.approx(0.2),
        mask_hash=report.mask_hash,
        layers=(LayerSparsity("[0].weight", (3,), 3, 1), LayerSparsity("[1].weight", (3,), 3, 2)),
        flags=(),
        zeros=3,
    )
    assert report.sparsity == 0.5
    assert [layer.sparsity for layer in report.layers] == pytest.approx([1 / 3, 2 / 3])


def test_layer_pool_by_hand() -> None:
    pairs = layers_of([0.1, -0.5, 0.3, 0.2], [10.0, 30.0, -20.0, 40.0])
    report = prune_model(pairs, "magnitude", amount=0.5, pool="layer")
    assert kept(pairs) == [[0, 1, 1, 0], [0, 1, 0, 1]]
    assert (report.pool, report.threshold, report.sparsity) == ("layer", None, 0.5)


def test_layer_pool_scores_every_layer_on_its_own(mlp: nn.Sequential) -> None:
    saliency = Saliency(mlp, [(torch.randn(8, 16), torch.randint(4, (8,)))])
    masks, _ = compute_masks(mlp, "chaos", amount=0.6, pool="layer", saliency=saliency)
    for i in (0, 2):
        pair = [(mlp[i], "weight")]
        alone = SICSChaos(0.6, saliency.vector(pair)).compute_mask(mlp[i].weight, torch.ones_like(mlp[i].weight))
        assert torch.equal(masks[f"{i}.weight"], alone != 0)


@pytest.mark.filterwarnings("ignore::sics_plugin.VanishedLayerWarning")
def test_importance_scores_by_hand() -> None:
    pairs = layers_of([9.0, 9.0], [9.0, 9.0])
    scores = {pairs[0]: torch.tensor([-4.0, 1.0]), pairs[1]: torch.tensor([-2.0, 3.0])}
    prune_model(pairs, "magnitude", amount=2, importance_scores=scores)
    assert kept(pairs) == [[1, 0], [0, 1]]


# --- the same masks as torch's road ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in list_scorers() if get_scorer(n).role != "peer"])
@pytest.mark.parametrize("supplied", [True, False], ids=["saliency", "default"])
def test_three_whole_model_prunes_equal_torchs_global_prunes(name: str, supplied: bool, mlp: nn.Sequential) -> None:
    if name == "gradient" and not supplied:
        pytest.skip("needs a saliency")
    twin = copy.deepcopy(mlp)
    saliency = Saliency(mlp, [(torch.randn(8, 16), torch.randint(4, (8,))) for _ in range(3)])
    other = saliency.bind(twin)
    pairs = [(twin[0], "weight"), (twin[2], "weight")]
    for amount in (0.4, 300, 0.3):
        report = prune_model(mlp, name, amount=amount, saliency=saliency if supplied else None)
        prune.global_unstructured(pairs, method_for(name), amount=amount, saliency=other.vector(pairs) if supplied else None)
        assert mask_hash(current_masks(mlp)) == mask_hash(current_masks(twin)) == report.mask_hash
    assert report.pruned == N - round(0.7 * (N - round(0.4 * N) - 300))


@pytest.mark.parametrize("method", ["chaos", SICSChaos, build_scorer("chaos")], ids=["name", "method", "scorer"])
def test_a_method_is_a_name_a_class_or_an_instance(method, mlp: nn.Sequential) -> None:
    masks, report = compute_masks(mlp, method, amount=0.7)
    assert report.scorer == "chaos"
    assert report.method == ("SICSChaos" if method is SICSChaos else "chaos")
    assert report.mask_hash == compute_masks(mlp, "chaos", amount=0.7)[1].mask_hash
    assert set(masks) == {"0.weight", "2.weight"}
    assert all(m.dtype == torch.bool for m in masks.values())


def test_scorer_parameters_pass_through(mlp: nn.Sequential) -> None:
    hashes = {
        compute_masks(mlp, "random", amount=0.7, seed=0)[1].mask_hash,
        compute_masks(mlp, "random", amount=0.7, seed=1)[1].mask_hash,
        compute_masks(mlp, "chaos", amount=0.7, alpha=0.3)[1].mask_hash,
        compute_masks(mlp, SICSChaos, amount=0.7, alpha=0.3)[1].mask_hash,
        compute_masks(mlp, build_scorer("chaos", alpha=0.3), amount=0.7)[1].mask_hash,
    }
    assert len(hashes) == 3
    assert compute_masks(mlp, "chaos", amount=0.7, alpha=0.3)[1].alpha == 0.3


# --- reports --------------------------------------------------------------------------------------------------------------


def test_report_counts_earlier_prunes(mlp: nn.Sequential) -> None:
    prune.l1_unstructured(mlp[0], "weight", 300)
    report = prune_model(mlp, "magnitude", amount=100)
    assert (report.pruned, report.total, report.amount) == (400, N, 100)
    assert report.sparsity == pytest.approx(400 / N)
    counts = [int((~mask).sum()) for mask in current_masks(mlp).values()]
    assert [layer.pruned for layer in report.layers] == counts
    assert [layer.shape for layer in report.layers] == [(64, 16), (32, 64)]


@pytest.mark.parametrize("name", ["magnitude", "chaos"])
def test_threshold_is_the_highest_removed_score(name: str, mlp: nn.Sequential, reference: ModuleType) -> None:
    m = vector_of(mlp).abs().tolist()
    masks, report = compute_masks(mlp, name, amount=0.7)
    score = reference.scores(name, m, None, round(0.7 * N) / N)
    gone = ~torch.cat([v.reshape(-1) for v in masks.values()]).numpy()
    assert report.threshold == pytest.approx(score[gone].max(), abs=1e-9)
    assert score[gone].max() <= score[~gone].min()
    assert compute_masks(mlp, name, amount=0)[1].threshold is None


def test_report_of_an_adaptive_prune_says_what_ran(mlp: nn.Sequential) -> None:
    c = torch.rand(N)
    rows = [(r.method, r.scorer, r.kappa, r.alpha, r.saliency_kind) for r in (
        compute_masks(mlp, "adaptive", amount=s, saliency=c)[1] for s in (0.5, 0.7, 0.8)
    )]  # fmt: skip
    assert [row[:4] for row in rows] == [
        ("adaptive", "magnitude", 0, None),
        ("adaptive", "smooth_chaos", 1, 0.15),
        ("adaptive", "chaos", 2, 0.15),
    ]
    assert rows[2][4] == "supplied"


def test_report_is_jsonable_and_prints_itself(mlp: nn.Sequential) -> None:
    report = prune_model(mlp, "chaos", amount=0.7)
    facts = json.loads(json.dumps(report.to_dict()))
    assert facts["sparsity"] == report.sparsity
    assert facts["layers"][1] == {"name": "2.weight", "shape": [32, 64], "total": 2048, "pruned": report.layers[1].pruned,
        "sparsity": report.layers[1].sparsity}  # fmt: skip
    assert facts["mask_hash"] == report.mask_hash
    text = str(report)
    assert f"{report.pruned:,} of 3,072 weights pruned" in text
    assert "0.weight" in text
    assert report.mask_hash[:12] in text


def test_unresolved_coordinates_are_flagged(make_mlp) -> None:
    small = make_mlp((5, 102, 2))
    flags = [compute_masks(small, name, amount=0.5)[1].flags for name in ("chaos", "magnitude", "fake")]
    assert flags == [("coordinate unresolved",), (), ()]
    assert compute_masks(make_mlp((16, 32, 2)), "chaos", amount=0.5)[1].flags == ()
    mixed = make_mlp((16, 32, 3, 2))  # 512 and 96 weights: resolved together, not one by one
    assert compute_masks(mixed, "chaos", amount=0.5)[1].flags == ()
    assert compute_masks(mixed, "chaos", amount=0.5, pool="layer")[1].flags == ("coordinate unresolved",)


@pytest.mark.parametrize("amount", [np.int64(100), np.float32(0.5), np.float64(0.5), Fraction(1, 4)])
def test_report_is_jsonable_for_every_number_type(amount: object, mlp: nn.Sequential) -> None:
    report = prune_model(mlp, "magnitude", amount=amount)  # type: ignore[arg-type]
    assert json.loads(json.dumps(report.to_dict()))["amount"] == float(amount)  # type: ignore[arg-type]


def test_reports_are_frozen() -> None:
    report = prune_model(layers_of([1.0, 2.0]), "magnitude", amount=1)
    with pytest.raises(AttributeError):
        report.pruned = 0  # type: ignore[misc]


# --- layers that vanish, and floors ---------------------------------------------------------------------------------------


def test_a_vanished_layer_is_warned_about_and_flagged() -> None:
    pairs = layers_of([0.1, 0.2], [1.0, 2.0, 3.0])
    with pytest.warns(VanishedLayerWarning, match=r"no weight left in \[0\]\.weight; `min_keep` prevents this"):
        report = prune_model(pairs, "magnitude", amount=2)
    assert report.flags == ("no weight left in [0].weight",)


@pytest.mark.parametrize(
    ("min_keep", "expected"),
    [
        (0, [[0, 0], [0, 1, 1]]),
        (1, [[0, 1], [0, 0, 1]]),
        (2, [[1, 1], None]),  # 2 and 2 of 3 stay: only one may go
        (0.5, [[0, 1], None]),  # 1 of 2 and ⌈1.5⌉ = 2 of 3 stay: only two may go
        (0.34, [[0, 1], None]),
        (0.33, [[0, 1], [0, 0, 1]]),
    ],
)
@pytest.mark.filterwarnings("ignore::sics_plugin.VanishedLayerWarning")
def test_min_keep_by_hand(min_keep, expected) -> None:
    pairs = layers_of([0.1, 0.2], [1.0, 2.0, 3.0])
    if expected[1] is None:
        with pytest.raises(
            ValueError, match=r"`min_keep` leaves [12] of 5 units to remove, but `amount` asks for 3: lower one of them"
        ):
            prune_model(pairs, "magnitude", amount=3, min_keep=min_keep)
        assert not any(prune.is_pruned(m) for m, _ in pairs)
    else:
        report = prune_model(pairs, "magnitude", amount=3, min_keep=min_keep)
        assert report.pruned == 3
        assert kept(pairs) == expected


@pytest.mark.parametrize("name", ["magnitude", "chaos", "random"])
@pytest.mark.parametrize("amount", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("min_keep", [0.02, 30])
def test_min_keep_still_removes_exactly_k(
    name: str, amount: float, min_keep: float | int, mlp: nn.Sequential, no_warnings: None
) -> None:
    with torch.no_grad():
        mlp[0].weight.mul_(1e-4)  # would vanish
    report = prune_model(mlp, name, amount=amount, min_keep=min_keep)
    assert report.pruned == round(amount * N)
    for layer in report.layers:
        floor = min_keep if isinstance(min_keep, int) else math.ceil(min_keep * layer.total)
        assert layer.total - layer.pruned >= floor


def test_min_keep_keeps_the_best_of_a_layer_and_changes_nothing_where_it_is_not_needed(mlp: nn.Sequential) -> None:
    _, report = compute_masks(mlp, "chaos", amount=0.7)
    _, again = compute_masks(mlp, "chaos", amount=0.7, min_keep=0.01)
    assert report.mask_hash == again.mask_hash
    with torch.no_grad():
        mlp[0].weight.mul_(1e-4)
    masks, _ = compute_masks(mlp, "magnitude", amount=0.7, min_keep=10)
    best = mlp[0].weight.abs().reshape(-1).topk(10).indices
    assert set(masks["0.weight"].reshape(-1).nonzero().squeeze(1).tolist()) == set(best.tolist())


def test_min_keep_counts_what_an_earlier_prune_left(mlp: nn.Sequential) -> None:
    prune.l1_unstructured(mlp[0], "weight", 1000)  # 24 of 1024 left
    report = prune_model(mlp, "random", amount=1500, min_keep=20)
    assert report.layers[0].total - report.layers[0].pruned >= 20
    assert report.pruned == 2500
    prune_model(mlp, "magnitude", amount=5, min_keep=24)  # the layer is below its floor already: none of it goes


@pytest.mark.parametrize("min_keep", [np.int64(30), np.float32(0.02)])
def test_floors_of_numpy(min_keep: object, mlp: nn.Sequential) -> None:
    assert prune_model(mlp, "magnitude", amount=0.9, min_keep=min_keep).pruned == round(0.9 * N)  # type: ignore[arg-type]


@pytest.mark.parametrize("min_keep", [-1, -0.1, 1.5, math.nan, math.inf, True, "3", None])
def test_bad_floors_are_refused(min_keep: object, mlp: nn.Sequential) -> None:
    with pytest.raises(ValueError, match=r"Expected `min_keep` to be a fraction in \[0, 1\] or a whole number"):
        prune_model(mlp, "magnitude", amount=0.5, min_keep=min_keep)  # type: ignore[arg-type]


# --- an absolute sparsity -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["magnitude", "chaos", "random"])
def test_reaching_an_absolute_sparsity_in_steps(name: str, mlp: nn.Sequential) -> None:
    for s in (0.0, 0.3, 0.3, 0.55, 0.7, 0.9, 1.0):
        if s == 1.0:
            with pytest.warns(VanishedLayerWarning):
                report = prune_to_sparsity(mlp, name, s)
        else:
            report = prune_to_sparsity(mlp, name, s)
        assert report.pruned == round(s * N)


def test_torchs_fractions_compound_and_the_helpers_do_not(mlp: nn.Sequential) -> None:
    twin = copy.deepcopy(mlp)
    for amount in (0.7, 0.5):
        compounded = prune_model(mlp, "magnitude", amount=amount)
    assert compounded.sparsity == pytest.approx(0.85, abs=1e-3)
    prune_to_sparsity(twin, "magnitude", 0.7)
    with pytest.raises(ValueError, match=r"`sparsity` of at least 0\.6999, what is already pruned, got 0\.5"):
        prune_to_sparsity(twin, "magnitude", 0.5)
    assert sum(int((~m).sum()) for m in current_masks(twin).values()) == round(0.7 * N)


def test_magnitude_in_steps_is_magnitude_at_once(mlp: nn.Sequential) -> None:
    twin = copy.deepcopy(mlp)
    for s in (0.2, 0.5, 0.8):
        stepped = prune_to_sparsity(mlp, "magnitude", s)
    assert stepped.mask_hash == prune_to_sparsity(twin, "magnitude", 0.8).mask_hash


def test_adaptive_is_told_the_absolute_target(mlp: nn.Sequential) -> None:
    saliency = Saliency(mlp, [(torch.randn(8, 16), torch.randint(4, (8,)))])
    ran = [prune_to_sparsity(mlp, "adaptive", s, saliency=saliency).scorer for s in (0.5, 0.7, 0.75, 0.8)]
    assert ran == ["magnitude", "smooth_chaos", "smooth_chaos", "chaos"]


def test_features_are_told_the_absolute_target(mlp: nn.Sequential, reference: ModuleType) -> None:
    """The bump of the second step is centred at 0.8, not at the fraction of survivors that goes."""
    c = torch.rand(N)
    prune_to_sparsity(mlp, "magnitude", 0.5)
    left = torch.cat([m.reshape(-1) for m in current_masks(mlp).values()])
    m = torch.cat([p.weight_orig.detach().reshape(-1) for p in (mlp[0], mlp[2])])[left].abs()
    expected = left.clone()
    expected[left] = torch.from_numpy(
        reference.keep("bump", m.tolist(), round(0.8 * N) - round(0.5 * N), c[left].tolist(), sparsity=0.8)
    )
    prune_to_sparsity(mlp, "bump", 0.8, saliency=c[left])
    assert torch.equal(torch.cat([v.reshape(-1) for v in current_masks(mlp).values()]), expected)


def test_helper_takes_pairs_generators_floors_and_finalize(mlp: nn.Sequential) -> None:
    pairs = ((m, "weight") for m in (mlp[0], mlp[2]))
    report = prune_to_sparsity(pairs, SICSMagnitude, 0.9, min_keep=10, finalize=True)
    assert report.pruned == round(0.9 * N)
    assert not prune.is_pruned(mlp)


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, math.nan, True, None, "0.5"])
def test_bad_targets_are_refused(sparsity: object, mlp: nn.Sequential) -> None:
    with pytest.raises((TypeError, ValueError), match=r"`sparsity` to be a fraction in \[0, 1\]"):
        prune_to_sparsity(mlp, "magnitude", sparsity)  # type: ignore[arg-type]


# --- tied weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finalized", [False, True])
def test_tied_weights_count_once_and_are_masked_alike(tied: nn.Module, finalized: bool) -> None:
    modules = (tied.embedding, tied.first, tied.second, tied.decoder)
    report = prune_model([(m, "weight") for m in modules], "magnitude", amount=0.5)
    distinct = 40 * 16 + 16 * 16
    assert (report.total, report.pruned, len(report.layers)) == (distinct, distinct // 2, 2)
    assert torch.equal(tied.first.weight_mask, tied.second.weight_mask)
    assert torch.equal(tied.embedding.weight_mask, tied.decoder.weight_mask)
    assert tied.first.weight_orig is tied.second.weight_orig
    tokens = torch.arange(6)
    pruned = tied(tokens)
    assert torch.equal(tied.first.weight, tied.second.weight)
    if finalized:
        finalize(tied)
        assert tied.first.weight is tied.second.weight
        assert tied.embedding.weight is tied.decoder.weight
        assert torch.equal(tied(tokens), pruned)
        assert int((tied.first.weight == 0).sum()) == report.layers[1].pruned


def test_finalize_of_one_of_two_tied_names_does_not_change_what_the_model_computes(tied: nn.Module) -> None:
    """The embedding shares the decoder's tensor and was not pruned. Refusing is fine; pruning it silently is not."""
    tokens = torch.arange(6)
    try:
        prune_model([(tied.decoder, "weight")], "magnitude", amount=0.5)
        pruned = tied(tokens)
        finalize(tied)
    except ValueError as error:  # a refusal names the tie
        assert "tied" in str(error) or "share" in str(error)  # noqa: PT017
        return
    assert torch.equal(tied(tokens), pruned)
    assert int((tied.decoder.weight == 0).sum()) == 320


def test_the_default_targets_of_a_model_with_ties(tied: nn.Module) -> None:
    """``first`` and ``second`` are one tensor; the decoder is the head."""
    masks, report = compute_masks(tied, "magnitude", amount=0.5)
    assert (report.total, report.pruned) == (256, 128)
    assert set(masks) == {"first.weight", "second.weight"}
    assert torch.equal(masks["first.weight"], masks["second.weight"])
    prune_model(tied, "magnitude", amount=0.5, finalize=True)
    assert tied.first.weight is tied.second.weight
    assert int((tied.first.weight == 0).sum()) == 128


def test_saliency_of_tied_weights_as_an_object_or_as_torchs_vector(tied: nn.Module) -> None:
    batches = [(torch.randint(40, (6,)), torch.randint(40, (6,))) for _ in range(3)]
    saliency = Saliency(tied, batches)
    pairs = [(tied.first, "weight"), (tied.second, "weight"), (tied.embedding, "weight"), (tied.decoder, "weight")]
    vector = saliency.vector(pairs)
    assert vector.numel() == 2 * 256 + 2 * 640
    distinct = saliency.vector([pairs[0], pairs[2]])
    hashes = {compute_masks(pairs, "gradient", amount=0.5, saliency=s)[1].mask_hash for s in (saliency, vector, distinct)}
    assert len(hashes) == 1


def test_tied_weights_repeated(tied: nn.Module) -> None:
    pairs = [(m, "weight") for m in (tied.first, tied.second)]
    for s in (0.5, 0.75):
        report = prune_to_sparsity(pairs, "magnitude", s)
    assert report.pruned == 192
    assert torch.equal(tied.first.weight_mask, tied.second.weight_mask)


# --- what may go wrong ----------------------------------------------------------------------------------------------------


def state(model: nn.Module) -> tuple[list[str], list[str]]:
    return sorted(model.state_dict()), [n for n, _ in model.named_parameters()]


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"amount": 1.3}, ValueError, "`amount`.*got 1.3"),
        ({"amount": -1}, ValueError, "`amount`.*got -1"),
        ({"amount": math.nan}, ValueError, "`amount`.*got nan"),
        ({"amount": True}, TypeError, "`amount`.*got True"),
        ({"amount": N + 1}, ValueError, f"at most the {N} units there are to prune, got {N + 1}"),
        (
            {"amount": 0.5, "pool": "column"},
            ValueError,
            "`pool` to be 'global', 'layer', 'layer-rank', 'row', 'erk' or .*, got 'column'",
        ),
        ({"amount": 5, "pool": "layer"}, ValueError, "`amount` to be a fraction for pool='layer', got 5"),
        ({"amount": 0.5, "sparsity": 2}, ValueError, "`sparsity`"),
        ({"amount": 0.5, "saliency": torch.rand(N - 1)}, ValueError, f"`saliency` of length {N}.*got {N - 1}"),
        ({"amount": 0.5, "saliency": [1.0] * N}, TypeError, "`saliency` to be a Saliency or a tensor, got list"),
        ({"amount": 0.5, "saliency": torch.full((N,), math.nan)}, ValueError, "finite `saliency`"),
        ({"amount": 0.5, "method": "chaso"}, ValueError, "Expected a scorer among"),
        ({"amount": 0.5, "method": prune.L1Unstructured}, TypeError, "`method` to be a scorer's name, a Scorer or a SICSMethod"),
        ({"amount": 0.5, "method": None}, TypeError, "`method`"),
        ({"amount": 0.5, "method": "gradient"}, ValueError, "needs gradient saliency, got none"),
        ({"amount": 0.5, "alpha": 0.1}, TypeError, "scorer 'magnitude' takes no parameters; got alpha"),
        (
            {"amount": 0.5, "method": build_scorer("chaos"), "alpha": 0.1},
            TypeError,
            "no parameters beside a scorer instance, got alpha",
        ),
        ({"amount": 0.5, "method": SICSChaos, "beta": 0.1}, TypeError, "beta"),
    ],
    ids=lambda v: (
        " ".join(f"{k}={x if isinstance(x, str | int | float) else type(x).__name__}" for k, x in v.items())
        if isinstance(v, dict)
        else ""
    ),  # the same in every process
)
def test_bad_input_is_refused_and_the_model_unchanged(kwargs: dict, error, match: str, mlp: nn.Sequential) -> None:
    before = state(mlp)
    with pytest.raises(error, match=match):
        prune_model(mlp, kwargs.pop("method", "magnitude"), **kwargs)
    assert state(mlp) == before


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_last_layer_that_is_not_finite_leaves_all_layers_unpruned(bad: float, mlp: nn.Sequential) -> None:
    with torch.no_grad():
        mlp[2].weight[3, 4] = bad
    with pytest.raises(ValueError, match="finite values to prune, got 1 NaN or infinite"):
        prune_model(mlp, "chaos", amount=0.5)
    assert not prune.is_pruned(mlp)


def test_saliency_of_the_wrong_kind(mlp: nn.Sequential) -> None:
    batches = [(torch.randn(4, 16), torch.randint(4, (4,)))]
    with pytest.raises(ValueError, match="needs gradient saliency, got 'activation'"):
        prune_model(mlp, "gradient", amount=0.5, saliency=Saliency(mlp, batches, kind="activation"))
    vector = SaliencyVector(torch.rand(N), kind="gradient")
    assert compute_masks(mlp, "gradient", amount=0.5, saliency=vector)[1].saliency_kind == "gradient"


@pytest.mark.parametrize("pool", ["global", "layer"])
def test_a_model_that_is_pruned_away_is_refused(pool: str) -> None:
    model = nn.Linear(4, 4)
    prune.custom_from_mask(model, "weight", torch.zeros(4, 4))
    with pytest.raises(ValueError, match="at least one unit to rank, got none"):
        prune_model(model, "magnitude", amount=0.5, pool=pool)


def test_layer_pool_skips_a_layer_that_is_gone() -> None:
    pairs = layers_of([1.0, 2.0], [3.0, 4.0])
    prune.custom_from_mask(pairs[0][0], "weight", torch.zeros(2))
    with pytest.warns(VanishedLayerWarning):
        report = prune_model(pairs, "magnitude", amount=0.5, pool="layer")
    assert report.pruned == 3
    assert kept(pairs) == [[0, 0], [0, 1]]


def test_an_empty_parameter_is_no_vanished_layer(no_warnings: None) -> None:
    model = layers_of([1.0, 2.0, 3.0], [])
    report = prune_model(model, "magnitude", amount=1)
    assert report.flags == ()
    assert json.dumps(report.to_dict())
    assert str(report)


def test_masks_are_computed_without_touching_the_model(mlp: nn.Sequential) -> None:
    before = copy.deepcopy(mlp.state_dict())
    mlp[0].weight.grad = torch.ones_like(mlp[0].weight)
    compute_masks(mlp, "chaos", amount=0.7, saliency=torch.rand(N))
    assert all(torch.equal(v, before[k]) for k, v in mlp.state_dict().items())
    assert not any(m._forward_pre_hooks for m in mlp.modules())
    assert bool((mlp[0].weight.grad == 1).all())


def test_only_the_targets_are_touched(mlp: nn.Sequential) -> None:
    head, bias = mlp[4].weight.detach().clone(), mlp[0].bias.detach().clone()
    prune_model(mlp, "magnitude", amount=0.9)
    assert torch.equal(mlp[4].weight, head)
    assert torch.equal(mlp[0].bias, bias)
    assert "weight_mask" not in mlp[4]._buffers


def test_biases_and_any_named_parameter_may_be_listed() -> None:
    layer = nn.Linear(30, 20)
    report = prune_model([(layer, "bias"), (layer, "weight")], "magnitude", amount=0.5)
    assert (report.total, report.pruned) == (620, 310)
    layer(torch.randn(2, 30))
    assert int((layer.bias == 0).sum() + (layer.weight == 0).sum()) == 310


def test_layouts_that_are_not_contiguous() -> None:
    """torch's own global prune cannot take these (it calls ``view``)."""
    plain = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Conv2d(6, 8, 3))
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    assert not last[0].weight.is_contiguous()
    for name in ("magnitude", "chaos"):
        reports = [prune_model(m, name, amount=0.4) for m in (plain, last)]
        assert reports[0].mask_hash == reports[1].mask_hash
    x = torch.randn(1, 4, 8, 8)
    assert torch.allclose(plain(x), last(x), atol=1e-6)


def test_masks_do_not_depend_on_the_number_of_threads(mlp: nn.Sequential, make_mlp: Callable[..., nn.Sequential]) -> None:
    big, threads = make_mlp((256, 400, 300, 4)), torch.get_num_threads()
    hashes = set()
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            hashes.add(
                tuple(compute_masks(big, name, amount=0.7)[1].mask_hash for name in ("magnitude", "log", "chaos", "random"))
            )
    finally:
        torch.set_num_threads(threads)
    assert len(hashes) == 1


def test_mixed_precisions_in_one_pool(no_warnings: None) -> None:
    pairs = layers_of([0.1, 0.5, 0.3], [0.2, 0.9, 0.05], [0.15, 0.4, 0.35])
    pairs[0][0].half()
    pairs[1][0].bfloat16()
    report = prune_model(pairs, "magnitude", amount=4)
    assert kept(pairs) == [[0, 1, 1], [0, 1, 0], [0, 1, 1]]
    assert [m.weight.dtype for m, _ in pairs] == [torch.float16, torch.bfloat16, torch.float32]
    assert report.pruned == 4


@pytest.mark.parametrize(
    "provoke",
    [
        lambda: compute_masks(layers_of([0.1, 0.2], [1.0, 2.0, 3.0]), SICSBump, amount=2, saliency=torch.rand(5), alpha=0.0),
        lambda: prune_model(layers_of([0.1, 0.2], [1.0, 2.0, 3.0]), "magnitude", amount=2),
        lambda: prune_to_sparsity(layers_of([0.1, 0.2], [1.0, 2.0, 3.0]), "magnitude", 0.4),
        lambda: prune.global_unstructured([(nn.Linear(9, 9), "weight")], SICSChaos, amount=0.5),
        lambda: SICSChaos.apply(nn.Linear(9, 9), "weight", amount=0.5),
        lambda: SICSChaos(0.5).prune(torch.rand(9)),
        lambda: prunable_parameters(nn.Sequential(nn.MultiheadAttention(4, 2), nn.Linear(4, 4))),
        lambda: prune_model(nn.Sequential(nn.MultiheadAttention(4, 2), nn.Linear(4, 4), nn.Linear(4, 4)), "magnitude", amount=1),
    ],
)
def test_warnings_point_at_the_callers_line(provoke: Callable[[], object]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        provoke()
    assert {w.filename for w in caught} == {__file__}


def test_same_masks_by_numpy_reference_on_a_whole_model(mlp: nn.Sequential, reference: ModuleType) -> None:
    c = torch.rand(N)
    for name in ("smooth_chaos", "wiggle", "information", "log"):
        masks, _ = compute_masks(mlp, name, amount=0.8, saliency=c)
        expected = reference.keep(name, vector_of(mlp).abs().tolist(), 0.8, c.tolist())
        assert np.array_equal(torch.cat([m.reshape(-1) for m in masks.values()]).numpy(), expected)


def test_random_draws_anew_in_every_layer() -> None:
    """One seed for all would remove the same positions of equal-shaped layers, which is not a uniform floor."""
    pairs = [(nn.Linear(30, 20), "weight") for _ in range(3)]
    masks, _ = compute_masks(pairs, "random", amount=0.5, pool="layer", seed=3)
    assert len({m.numpy().tobytes() for m in masks.values()}) == 3
    again, _ = compute_masks(pairs, "random", amount=0.5, pool="layer", seed=3)
    assert all(torch.equal(masks[k], again[k]) for k in masks)
