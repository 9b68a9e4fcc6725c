"""Fusion: weighted sums of standardised rank features, by hand, by properties, and written out in numpy."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sics_analysis.rows.searched import SETS
from sics_plugin import (
    FeatureSet,
    Fusion,
    SaliencyVector,
    SICSFusion,
    Units,
    build_scorer,
    compute_channel_masks,
    compute_masks,
    find_groups,
    get_scorer,
    prune_model,
)
from sics_plugin.complexity.meter import measure_units
from sics_plugin.scorers import spectra
from sics_plugin.scorers.fusion import FEATURE_SETS, Feature, feature_set

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
FOUR = torch.tensor([0.1, 0.2, 0.3, 0.4])
SIGNAL = torch.tensor([9.0, 1.0, 5.0, 7.0])  # z = 7/8 1/8 3/8 5/8
ROOT = 12**0.5


def score(features: tuple[str, ...], weights: tuple[float, ...], kind: str = "gradient") -> list[float]:
    found: list[float] = Fusion(features, weights).score(Units(FOUR, SIGNAL, kind), 0.5).tolist()
    return found


# --- by hand --------------------------------------------------------------------------------------------------------------


def test_rho_and_z_by_hand() -> None:
    rho, z = [1 / 8, 3 / 8, 5 / 8, 7 / 8], [7 / 8, 1 / 8, 3 / 8, 5 / 8]
    expected = [2 * ROOT * (r - 0.5) - 0.5 * ROOT * (c - 0.5) for r, c in zip(rho, z, strict=True)]
    assert score(("rho", "z"), (2.0, -0.5)) == pytest.approx(expected)
    assert score(("rho", "information"), (2.0, -0.5)) == pytest.approx(expected)


def test_powers_by_hand() -> None:
    """u² has mean ⅓ and variance 1/5 − 1/9 = 4/45; √u has ⅔ and ½ − 4/9 = 1/18."""
    squares = [(u * u - 1 / 3) / (4 / 45) ** 0.5 for u in (1 / 8, 3 / 8, 5 / 8, 7 / 8)]
    roots = [(u**0.5 - 2 / 3) * 18**0.5 for u in (7 / 8, 1 / 8, 3 / 8, 5 / 8)]
    assert score(("rho", "rho^2"), (0.0, 1.0)) == pytest.approx(squares)
    assert score(("rho", "z^0.5"), (0.0, 1.0)) == pytest.approx(roots)


def test_the_saliency_and_taylor_by_hand() -> None:
    """c = 9 1 5 7 ranks 3 0 1 2; m·c = 0.9 0.2 1.5 2.8 ranks 1 0 2 3."""
    assert score(("rho", "saliency"), (0.0, 1.0)) == pytest.approx([ROOT * 3 / 8, -ROOT * 3 / 8, -ROOT / 8, ROOT / 8])
    assert score(("rho", "taylor"), (0.0, 1.0)) == pytest.approx([-ROOT / 8, -ROOT * 3 / 8, ROOT / 8, ROOT * 3 / 8])
    with pytest.raises(ValueError, match="'taylor' needs gradient saliency, got 'activation'"):
        score(("rho", "taylor"), (1.0, 1.0), kind="activation")


def test_taylor_orders_weights_as_taylor_does(trained_mlp: nn.Sequential, calibration: Any) -> None:
    """E(w·g)² = w²·E g² of a single weight: the order of m·c with c the gradient RMS."""
    from sics_plugin import Saliency

    gradient, taylor = (Saliency(trained_mlp, calibration, kind=kind) for kind in ("gradient", "taylor"))
    fusion = Fusion(("rho", "taylor"), (0.0, 1.0))
    ours = compute_masks(trained_mlp, fusion, amount=0.7, saliency=gradient)[0]
    theirs = compute_masks(trained_mlp, "taylor", amount=0.7, saliency=taylor)[0]
    differ = sum(int((ours[name] != theirs[name]).sum()) for name in ours)
    assert differ <= 4, "but for rounding"


def test_a_feature_of_rho_and_a_shuffled_one() -> None:
    grid = torch.tensor([1 / 8, 3 / 8, 5 / 8, 7 / 8], dtype=torch.float64)
    assert score(("rho", "orbit_mean(rho)"), (0.0, 1.0)) == spectra.lookup("orbit_mean", grid).tolist()
    z = torch.tensor([7 / 8, 1 / 8, 3 / 8, 5 / 8], dtype=torch.float64)
    shuffled = [
        Fusion(("rho", "orbit_mean(shuffled)"), (0.0, 1.0), seed).score(Units(FOUR, SIGNAL, "x"), 0.5) for seed in range(6)
    ]
    assert all(torch.equal(one.sort().values, spectra.lookup("orbit_mean", z).sort().values) for one in shuffled)
    assert len({tuple(one.tolist()) for one in shuffled}) > 1
    both = Fusion(("rho", "z(shuffled)", "information(shuffled)"), (0.0, 1.0, -1.0), 3).score(Units(FOUR, SIGNAL, "x"), 0.5)
    assert both.abs().max() < 1e-12, "one shuffle for all"


# --- against numpy --------------------------------------------------------------------------------------------------------


def plainly(m: np.ndarray, c: np.ndarray, features: tuple[str, ...], weights: tuple[float, ...]) -> np.ndarray:
    n = len(m)
    rank = np.argsort(np.argsort(m, kind="stable"), kind="stable")
    rho, bins = (rank + 0.5) / n, max(1, min(256, n // 256))
    z = np.empty(n)
    for b in range(bins):
        here = np.flatnonzero(rank * bins // n == b)
        for i in here:
            z[i] = (np.sum(c[here] < c[i]) + (np.sum(c[here] == c[i]) - 1) / 2 + 0.5) / len(here)
    total = np.zeros(n)
    for word, weight in zip(features, weights, strict=True):
        if word in ("saliency", "taylor"):
            own = c if word == "saliency" else m.astype(np.float64) * c
            u = np.array([(np.sum(own < v) + np.sum(own <= v)) / 2 / n for v in own])
            phi = ROOT * (u - 0.5)
        elif word.startswith(("rho", "z")):
            u, p = (rho if word.startswith("rho") else z), float(word.partition("^")[2] or 1)
            phi = (u**p - 1 / (p + 1)) / (1 / (2 * p + 1) - 1 / (p + 1) ** 2) ** 0.5
        else:
            name, of = word.partition("(")[::2]
            u = rho if of else z
            scorer: Any = build_scorer(name.partition(":")[0], **({"curve": int(name.partition(":")[2])} if ":" in name else {}))
            phi = scorer.feature(torch.from_numpy(u), 0.7).numpy()
        total += weight * phi
    return total


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([one.features for name, one in FEATURE_SETS.items() if name != "shuffled"]),
    st.lists(st.floats(-1, 1), min_size=9, max_size=9),
    st.integers(2, 700),
    st.integers(0, 1000),
)
def test_scores_are_those_of_the_definition(features: tuple[str, ...], weights: list[float], n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, c = rng.integers(0, 40, n).astype(np.float32) / 8, rng.integers(1, 30, n).astype(np.float32)
    chosen = (weights[0] or 1.0, *weights[1 : len(features)])
    found = Fusion(features, chosen).score(Units(torch.from_numpy(m), torch.from_numpy(c), "gradient"), 0.7)
    assert np.allclose(found.numpy(), plainly(m, c.astype(np.float64), features, chosen), atol=1e-9)


# --- properties -----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(FEATURE_SETS)),
    st.lists(st.floats(0.01, 1), min_size=9, max_size=9),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_masks_have_exactly_k_zeros_and_know_neither_scale_nor_transform(
    name: str, weights: list[float], amount: float, seed: int
) -> None:
    source = torch.Generator().manual_seed(seed)
    layer = nn.Linear(20, 30)
    weight, signal = torch.rand(30, 20, generator=source) + 0.01, torch.rand(600, generator=source)
    vector = SaliencyVector(signal, kind="gradient")
    features = FEATURE_SETS[name].features
    fusion = Fusion(features, tuple(weights[: len(features)]))

    def mask(values: torch.Tensor, scorer: Fusion) -> tuple[torch.Tensor, int]:
        with torch.no_grad():
            layer.weight.copy_(values)
        masks, report = compute_masks([(layer, "weight")], scorer, amount=amount, saliency=vector)
        return next(iter(masks.values())), report.pruned

    first, pruned = mask(weight, fusion)
    assert pruned == round(amount * 600)
    if "taylor" not in fusion.features:  # which is made of magnitudes themselves
        assert torch.equal(first, mask(weight**3 * 8, fusion)[0])
    doubled = Fusion(fusion.features, tuple(4 * w for w in fusion.weights or ()), fusion.seed)
    assert torch.equal(first, mask(weight, doubled)[0])


def test_permuting_units_permutes_scores() -> None:
    m, c, order = torch.rand(1500), torch.rand(1500), torch.randperm(1500)
    for name in FEATURE_SETS.keys() - {"shuffled"}:
        scorer = Fusion(FEATURE_SETS[name].features)
        one, two = scorer.score(Units(m, c, "gradient"), 0.7), scorer.score(Units(m[order], c[order], "gradient"), 0.7)
        assert torch.equal(one[order], two), name


def test_a_table_knows_every_set_by_its_name() -> None:
    assert set(SETS) == set(FEATURE_SETS)


def test_the_sets_have_one_number_of_weights_and_the_monotone_one_stays_monotone() -> None:
    assert {name: len(one.features) for name, one in FEATURE_SETS.items() if len(one.features) != 5} == {"both_orbit": 9}
    assert set(FEATURE_SETS["both_orbit"].features) == {*FEATURE_SETS["orbit"].features, *FEATURE_SETS["smooth_orbit"].features}
    assert all(one.features[0] == "rho" and one.bounds()[0] == (0.0, 1.0) for one in FEATURE_SETS.values())
    source = torch.Generator().manual_seed(5)
    m = torch.randn(20_000, generator=source).abs()
    units = Units(m, (0.3 * m + torch.rand(20_000, generator=source)).square(), "gradient")
    information = FEATURE_SETS["information"]
    assert set(information.bounds()) == {(0.0, 1.0)}
    for weights in ((1.0, 0.1, 0.0, 0.2, 0.0), (0.5, 0.5, 0.5, 0.5, 0.5)):
        assert measure_units(Fusion(information.features, weights), units, draws=2, sparsities=[0.7]).kind == "monotone"
    shuffled = Fusion(FEATURE_SETS["shuffled"].features, (1.0, 0.1, 0.1, 0.1, 0.1))
    assert measure_units(shuffled, units, draws=2, sparsities=[0.7]).kind == "noise"
    peaks = Fusion(("rho", "orbit_peak(rho)", "orbit_range(rho)"), (1.0, 0.5, 0.5))
    assert measure_units(peaks, units, draws=2, sparsities=[0.7]).kind == "plateau"


def test_weights_are_in_the_fingerprint_which_is_json() -> None:
    facts = Fusion(("rho", "orbit_mean", "chaos"), (1, 0.5, 0)).fingerprint("gradient")
    assert facts["parameters"] == {"features": ["rho", "orbit_mean", "chaos"], "weights": [1.0, 0.5, 0.0], "seed": 0}
    assert facts["tables"] == ", ".join(sorted((spectra.ORBITS_SHA256, spectra.TABLES_SHA256)))
    assert json.loads(json.dumps(facts)) == facts
    assert Fusion(("rho", "sine")).fingerprint()["tables"] is None
    assert Fusion().fingerprint() == Fusion(weights=(1.0,) * 5).fingerprint()


# --- roads ----------------------------------------------------------------------------------------------------------------


def test_it_prunes_by_name_by_instance_and_through_torch(mlp: nn.Sequential) -> None:
    vector = torch.rand(16 * 64 + 64 * 32)
    given: dict[str, Any] = {"features": ("rho", "orbit_variance"), "weights": (1.0, 0.1)}
    by_name = compute_masks(mlp, "fusion", amount=0.6, saliency=vector, **given)[1]
    by_instance = compute_masks(mlp, Fusion(**given), amount=0.6, saliency=vector)[1]
    params = [(mlp[0], "weight"), (mlp[2], "weight")]
    from torch.nn.utils import prune

    prune.global_unstructured(params, SICSFusion, amount=0.6, saliency=vector, **given)
    masks = [module.weight_mask.bool() for module, _ in params]
    assert by_name.mask_hash == by_instance.mask_hash
    assert sum(int((~mask).sum()) for mask in masks) == by_name.pruned
    assert prune_model(mlp, Fusion(**given), amount=10).saliency_kind == "neighbourhood"
    assert (by_name.scorer, by_name.kappa, by_name.form) == ("fusion", None, "exact")


def test_scores_of_layers_are_compared_as_they_are(model_of: Any) -> None:
    assert get_scorer("fusion").ranked
    model = model_of("resnet18")
    n = sum(group.size for group in find_groups(model))
    vector = torch.rand(n)
    one, two = (
        compute_channel_masks(model, Fusion(("rho", "z"), (1.0, 1.0)), 0.5, saliency=vector, pool=pool)[1]
        for pool in ("layer-rank", "layer")
    )
    assert one.pruned == n // 2
    assert [layer.pruned for layer in one.layers] != [layer.pruned for layer in two.layers]


@pytest.mark.parametrize(
    ("features", "weights", "said"),
    [
        (("z", "saliency"), None, "Expected `features` with 'rho' among them and each once"),
        (("rho", "z", "z"), None, "Expected `features` with 'rho' among them and each once"),
        (("rho", "z"), (1.0,), "Expected `weights`: 2 finite numbers, one a feature, not all 0"),
        (("rho", "z"), (0.0, 0.0), "not all 0"),
        (("rho", "z"), (1.0, float("nan")), "2 finite numbers"),
        (("rho", "3z"), None, "Expected a feature such as 'rho'"),
        (("rho", "magnitude"), None, "Expected a feature built on z, got 'magnitude'"),
        (("rho", "nothing"), None, "Expected a scorer among"),
        (("rho", "chaos^2"), None, "Expected a power above 0 of rho or z, got 'chaos\\^2'"),
        (("rho", "z^0"), None, "Expected a power above 0"),
        (("rho", "chaos:2"), None, "Expected a number after 'spline' alone"),
        (("rho", "saliency(rho)"), None, "Expected a class built on z before '\\(rho\\)'"),
    ],
)
def test_what_is_no_fusion_is_refused_in_one_line(features: Any, weights: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Fusion(features, weights)


def test_sets_by_name_or_made() -> None:
    assert feature_set("orbit") is FEATURE_SETS["orbit"]
    assert feature_set(("rho", "sine")) == FeatureSet(("rho", "sine"))
    assert feature_set(FeatureSet(("rho", "z"), signed=False)).bounds() == [(0.0, 1.0), (0.0, 1.0)]
    with pytest.raises(ValueError, match=r"Expected `features` to be one of orbit, .*, or features, got 'magic'"):
        feature_set("magic")
    assert Feature.read("spline:3").scorer == build_scorer("spline", curve=3)


def test_its_name_is_not_given_away() -> None:
    from sics_plugin import Scorer, register_scorer

    class Other(Scorer):
        name, role, summary = "fusion", "adaptive", "another"

        def score(self, units: Units, sparsity: float) -> torch.Tensor:
            return units.magnitude

    with pytest.raises(ValueError, match="'fusion' is a built-in scorer"):
        register_scorer(Other)
