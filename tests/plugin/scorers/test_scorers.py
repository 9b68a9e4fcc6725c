"""Scores of every class against the definitions, and the registry a new one goes into."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sics_plugin import (
    CoordinateScorer,
    MagnitudeScorer,
    SaliencyVector,
    Scorer,
    SICSMethod,
    Units,
    build_scorer,
    compute_masks,
    get_scorer,
    list_scorers,
    method_for,
    prune_model,
    register_scorer,
    unregister_scorer,
)
from sics_plugin.scorers import registry, spectra

TWELVE = [
    "magnitude",
    "power",
    "log",
    "bump",
    "smooth_chaos",
    "smooth_mouse",
    "chaos",
    "wiggle",
    "fake",
    "information",
    "gradient",
    "random",
]
KAPPA = {"magnitude": 0, "power": 0, "log": 0, "bump": 1, "smooth_chaos": 1, "smooth_mouse": 1, "chaos": 2, "wiggle": 2}
DETERMINISTIC = [name for name in [*TWELVE, "adaptive"] if name != "random"]


@pytest.fixture(autouse=True)
def _registry_restored() -> Iterator[None]:
    before = dict(registry._REGISTRY)
    yield
    registry._REGISTRY.clear()
    registry._REGISTRY.update(before)


# --- the table of design §3 -----------------------------------------------------------------------------------------------


def test_all_classes_of_the_design_are_there_in_order() -> None:
    own = [name for name in list_scorers() if get_scorer(name).role != "peer" and not get_scorer(name).on_request]
    assert own == [*TWELVE, "adaptive"]


@pytest.mark.parametrize("name", [*TWELVE, "adaptive"])
def test_kappa_role_and_needs(name: str) -> None:
    cls = get_scorer(name)
    roles = {"fake": "control", "information": "control", "gradient": "baseline", "random": "baseline", "adaptive": "adaptive"}
    assert (cls.name, cls.kappa, cls.role) == (name, KAPPA.get(name), roles.get(name, "feature"))
    assert cls.requires == ("gradient" if name == "gradient" else None)
    assert cls.summary
    assert cls.spectra is (name in {"smooth_chaos", "smooth_mouse", "chaos", "wiggle", "adaptive"})


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"kappa": 0}, ["magnitude", "power", "log"]),
        ({"kappa": 1}, ["bump", "smooth_chaos", "smooth_mouse"]),
        ({"kappa": 2}, ["chaos", "wiggle"]),
        ({"role": "control"}, ["fake", "information"]),
        ({"role": "baseline"}, ["gradient", "random"]),
        ({"role": "adaptive"}, ["adaptive"]),
        ({"kappa": 2, "role": "control"}, []),
    ],
)
def test_listing_by_complexity_and_role(kwargs: dict, expected: list[str]) -> None:
    assert [name for name in list_scorers(**kwargs) if not get_scorer(name).on_request] == expected


# --- scores ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DETERMINISTIC)
@pytest.mark.parametrize("supplied", [True, False], ids=["supplied", "default"])
@pytest.mark.parametrize("sparsity", [0.5, 0.7, 0.8])
def test_scores_equal_the_definition(name: str, supplied: bool, sparsity: float, reference: ModuleType) -> None:
    if name == "gradient" and not supplied:
        pytest.skip("needs a saliency")
    m = torch.rand(600)
    c = torch.randint(1, 90, (600,)).float() if supplied else None
    kind = {True: "gradient", False: None}[supplied]
    found = build_scorer(name).score(Units(m, c, kind), sparsity)
    expected = reference.scores(name, m.tolist(), None if c is None else c.tolist(), sparsity)
    assert found.dtype == torch.float64
    assert np.allclose(found.numpy(), expected, atol=1e-7, rtol=0)


def test_information_by_hand() -> None:
    """ρ = .125 .375 .625 .875, z = .875 .125 .375 .625, α = .15; s = ρ + .15·√12·(z − ½)."""
    units = Units(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([9.0, 1.0, 5.0, 7.0]), "supplied")
    assert build_scorer("information").score(units, 0.5).tolist() == pytest.approx([0.31986, 0.18014, 0.56005, 0.93995], abs=1e-5)


def test_bump_by_hand() -> None:
    """S = .5: φ = −.9393 far from the centre and .9370 near it."""
    units = Units(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([9.0, 1.0, 5.0, 7.0]), "supplied")
    expected = [0.125 - 0.15 * 0.9393, 0.375 - 0.15 * 0.9393, 0.625 + 0.15 * 0.9370, 0.875 + 0.15 * 0.9370]
    assert build_scorer("bump").score(units, 0.5).tolist() == pytest.approx(expected, abs=2e-4)


def test_fake_by_hand_reads_the_magnitude_alone() -> None:
    """φ at ρ = .125 .375 .625 .875 for S = .5."""
    m = torch.tensor([0.1, 0.2, 0.3, 0.4])
    expected = [0.125 - 0.05 * 0.9393, 0.375 + 0.05 * 0.9370, 0.625 + 0.05 * 0.9370, 0.875 - 0.05 * 0.9393]
    assert build_scorer("fake").score(Units(m), 0.5).tolist() == pytest.approx(expected, abs=1e-4)
    one, other = (build_scorer("fake").score(Units(m, torch.rand(4), "gradient"), 0.5) for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize(("alpha", "monotone"), [(0.05, True), (0.15, False)])
@pytest.mark.parametrize("sparsity", [0.5, 0.6, 0.7, 0.8])
def test_fake_is_non_monotone_at_the_strength_of_a_supplied_saliency_only(sparsity: float, alpha: float, monotone: bool) -> None:
    score = build_scorer("fake", alpha=alpha).score(Units(torch.arange(1, 5001).float()), sparsity)
    assert bool((score.diff() > 0).all()) is monotone


def test_gradient_by_hand() -> None:
    units = Units(torch.tensor([2.0, 3.0]), torch.tensor([0.5, 0.25]), "gradient")
    assert build_scorer("gradient").score(units, 0.5).tolist() == [1.0, 0.75]


def test_log_of_all_zeros_is_zero() -> None:
    assert build_scorer("log").score(Units(torch.zeros(5)), 0.5).tolist() == [0.0] * 5


@pytest.mark.parametrize("name", ["bump", "smooth_chaos", "smooth_mouse", "chaos", "wiggle", "fake", "information"])
@pytest.mark.parametrize(
    ("kind", "alpha"), [(None, 0.05), ("neighbourhood", 0.05), ("gradient", 0.15), ("activation", 0.15), ("supplied", 0.15)]
)
def test_alpha_in_force(name: str, kind: str | None, alpha: float) -> None:
    assert build_scorer(name).strength(kind) == alpha
    assert build_scorer(name, alpha=0.4).strength(kind) == 0.4


@pytest.mark.parametrize("alpha", [-0.1, math.inf, math.nan])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match=f"`alpha` to be finite and not negative, got {alpha}"):
        build_scorer("chaos", alpha=alpha)


def test_alpha_zero_is_the_magnitude_ranking() -> None:
    units = Units(torch.rand(300), torch.rand(300), "gradient")
    assert torch.equal(build_scorer("chaos", alpha=0.0).score(units, 0.7).argsort(), units.magnitude.argsort())


@pytest.mark.parametrize(("kind", "got"), [(None, "none"), ("activation", "'activation'"), ("supplied", "'supplied'")])
def test_gradient_refuses_other_saliencies(kind: str | None, got: str) -> None:
    units = Units(torch.rand(4), None if kind is None else torch.rand(4), kind)
    with pytest.raises(ValueError, match=f"needs gradient saliency, got {got}"):
        build_scorer("gradient").score(units, 0.5)


def test_random_is_uniform_seeded_and_blind() -> None:
    one = build_scorer("random", seed=1).score(Units(torch.rand(50_000)), 0.5)
    assert torch.equal(one, build_scorer("random", seed=1).score(Units(torch.zeros(50_000)), 0.9))
    assert not torch.equal(one, build_scorer("random", seed=2).score(Units(torch.zeros(50_000)), 0.9))
    assert torch.histc(one, 10, 0, 1).sub(5000).abs().max() < 350
    state = torch.get_rng_state()
    build_scorer("random").score(Units(torch.rand(5)), 0.5)
    fresh = torch.get_rng_state()
    torch.set_rng_state(state)
    torch.rand(5)
    assert torch.equal(fresh, torch.get_rng_state())  # the caller's own stream is not drawn from


@pytest.mark.parametrize(
    ("sparsity", "kind", "scorer"),
    [
        (0.6499999, "gradient", "magnitude"),
        (0.65, "gradient", "smooth_chaos"),
        (0.7, "supplied", "smooth_chaos"),
        (0.75, "activation", "smooth_chaos"),
        (0.7500001, "gradient", "chaos"),
        (1.0, "gradient", "chaos"),
        (0.0, "gradient", "magnitude"),
        (0.7, None, "magnitude"),
        (0.9, "neighbourhood", "magnitude"),
    ],
)
def test_adaptive_switches_where_the_hypothesis_says(sparsity: float, kind: str | None, scorer: str) -> None:
    assert build_scorer("adaptive", alpha=0.2).resolve(sparsity, kind).name == scorer
    if kind:
        units = Units(torch.rand(300), torch.rand(300), kind)
        same = build_scorer(scorer) if scorer == "magnitude" else build_scorer(scorer, alpha=0.2)
        assert torch.equal(build_scorer("adaptive", alpha=0.2).score(units, sparsity), same.score(units, sparsity))


# --- fingerprints and instances -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TWELVE, "adaptive"])
def test_fingerprint_is_json_and_holds_what_the_scores_depend_on(name: str) -> None:
    facts = json.loads(json.dumps(build_scorer(name, seed=5).fingerprint("gradient")))
    assert (facts["name"], facts["kappa"]) == (name, KAPPA.get(name))
    assert facts["tables"] == (spectra.TABLES_SHA256 if get_scorer(name).spectra else None)
    expected = {"random": {"seed": 5}}.get(name, {"alpha": 0.15} if hasattr(build_scorer(name), "strength") else {})
    assert facts["parameters"] == expected


def test_fingerprint_resolves_alpha() -> None:
    assert build_scorer("chaos").fingerprint(None)["parameters"] == {"alpha": 0.05}
    assert build_scorer("chaos", alpha=0.15).fingerprint(None) == build_scorer("chaos").fingerprint("gradient")
    assert build_scorer("chaos").fingerprint("gradient") != build_scorer("smooth_chaos").fingerprint("gradient")


def test_instances_are_frozen_and_compare_by_value() -> None:
    scorer = build_scorer("chaos", alpha=0.1)
    assert scorer == build_scorer("chaos", alpha=0.1) != build_scorer("chaos")
    with pytest.raises(FrozenInstanceError):
        scorer.alpha = 0.3  # type: ignore[attr-defined]


def test_unknown_names_and_parameters_are_refused_with_what_is_accepted() -> None:
    with pytest.raises(ValueError, match=r"Expected a scorer among magnitude, power, .*adaptive, .*ria, got 'chaso'"):
        get_scorer("chaso")
    with pytest.raises(TypeError, match="scorer 'chaos' takes alpha; got beta"):
        build_scorer("chaos", beta=1)
    with pytest.raises(TypeError, match="scorer 'magnitude' takes no parameters; got alpha"):
        build_scorer("magnitude", alpha=1)
    with pytest.raises(ValueError, match="`role` to be one of feature, control, baseline, adaptive, peer, got 'magic'"):
        list_scorers(role="magic")  # type: ignore[arg-type]


# --- scorers of one's own -------------------------------------------------------------------------------------------------


class Valley(CoordinateScorer):
    """Extremes of the coordinate are kept."""

    name, kappa, summary = "valley", 1, "ρ + α·(z−½)², standardised"

    def feature(self, z: Tensor, sparsity: float) -> Tensor:
        return ((z - 0.5) ** 2 - 1 / 12) * 180**0.5


def test_a_users_scorer_works_by_name_instance_and_method(reference: ModuleType) -> None:
    assert register_scorer(Valley) is Valley
    assert "valley" in list_scorers(kappa=1)

    class UsersValley(SICSMethod):
        """ρ + α·valley."""

        scorer_class = Valley

    assert (UsersValley.name, UsersValley.kappa) == ("valley", 1)
    assert method_for("valley") is UsersValley
    layer = nn.Linear(40, 20)
    c = torch.rand(800)
    pairs = [(layer, "weight")]
    masks = [
        compute_masks(pairs, method, amount=0.6, saliency=c, **kwargs)[0]["[0].weight"]
        for method, kwargs in [("valley", {"alpha": 0.3}), (Valley(alpha=0.3), {}), (UsersValley, {"alpha": 0.3})]
    ]
    m = layer.weight.detach().abs().reshape(-1).tolist()
    z = reference.coordinate(c.tolist(), m)
    score = reference.percentile(m) + 0.3 * ((z - 0.5) ** 2 - 1 / 12) * math.sqrt(180)
    gone = reference.removed(score.tolist(), m, 480)
    for mask in [*masks, UsersValley(0.6, c, alpha=0.3).prune(layer.weight) != 0]:
        assert set((~mask).reshape(-1).nonzero().squeeze(1).tolist()) == gone
    report = prune_model(pairs, "valley", amount=0.6)
    assert (report.scorer, report.kappa, report.pruned) == ("valley", 1, 480)
    unregister_scorer("valley")
    assert "valley" not in list_scorers()
    with pytest.raises(ValueError, match="got 'valley'"):
        unregister_scorer("valley")


def test_a_users_transform_of_the_magnitude_stays_on_the_plateau() -> None:
    class Cube(MagnitudeScorer):
        """m³."""

        name, summary = "cube", "m³"

        def transform(self, magnitude: Tensor) -> Tensor:
            return magnitude**3

    register_scorer(Cube)
    layer = nn.Linear(30, 30)
    hashes = {compute_masks([(layer, "weight")], name, amount=0.7)[1].mask_hash for name in ("cube", "magnitude")}
    assert len(hashes) == 1


def test_a_users_parameters_are_dataclass_fields() -> None:
    @dataclass(frozen=True)
    class Mixed(Scorer):
        """m + weight·c."""

        name, role, summary = "mixed", "baseline", "m + weight·c"
        weight: float = 2.0

        def score(self, units: Units, sparsity: float) -> Tensor:
            assert units.saliency is not None
            return units.magnitude.double() + self.weight * units.saliency.double()

    register_scorer(Mixed)
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0]]))
    saliency = SaliencyVector(torch.tensor([1.0, 0.0]), kind="made_up")
    for weight, kept in [(2.0, [True, False]), (0.5, [False, True])]:
        masks, report = compute_masks([(layer, "weight")], "mixed", amount=1, saliency=saliency, weight=weight)
        assert masks["[0].weight"].tolist() == [kept]
        assert report.saliency_kind == "made_up"
    assert build_scorer("mixed", weight=0.5).fingerprint()["parameters"] == {"weight": 0.5}


def test_a_score_that_is_not_finite_or_of_the_wrong_shape_is_refused() -> None:
    class Broken(MagnitudeScorer):
        """1/m − 1/m."""

        name, summary = "broken", "NaN at zero"

        def transform(self, magnitude: Tensor) -> Tensor:
            return 1 / magnitude if magnitude[0] else magnitude[:1]

    with pytest.raises(ValueError, match="finite scores, got 1 NaN or infinite of 3"):
        compute_masks([(_holder([1.0, 0.0, 2.0]), "weight")], Broken(), amount=1)
    with pytest.raises(ValueError, match=r"one score per unit, shape \(3,\), got \(1,\)"):
        compute_masks([(_holder([0.0, 1.0, 2.0]), "weight")], Broken(), amount=1)


def _holder(values: list[float]) -> nn.Module:
    module = nn.Module()
    module.weight = nn.Parameter(torch.tensor(values))
    return module


def test_replacing_a_scorer_warns_and_names_the_old_one() -> None:
    class Other(Valley):
        """Another one of the same name."""

    register_scorer(Valley)
    with pytest.warns(UserWarning, match=r"scorer 'valley' was .*Valley; replaced"):
        register_scorer(Other)
    assert get_scorer("valley") is Other


def test_the_names_of_built_in_scorers_are_not_given_away() -> None:
    """A user's own ``class Chaos`` at the top of their own module has the built-in's qualified name."""
    users = type("Chaos", (Valley,), {"name": "chaos", "kappa": 2, "__qualname__": "Chaos", "__module__": "users_file"})
    with pytest.raises(ValueError, match="'chaos' is a built-in scorer"):
        register_scorer(users)
    assert get_scorer("chaos").__module__ == "sics_plugin.scorers.sics"


@pytest.mark.parametrize(
    ("facts", "error", "match"),
    [
        ({"name": None}, TypeError, "name to be a string"),
        ({"name": 7}, TypeError, "name to be a string"),
        ({"summary": None}, TypeError, "summary to be a string"),
        ({"kappa": None}, ValueError, "kappa to be 0, 1 or 2 for a feature class, got None"),
        ({"kappa": 3}, ValueError, "kappa to be 0, 1 or 2 for a feature class, got 3"),
        ({"role": "magic"}, ValueError, "role to be one of feature, control, baseline, adaptive, peer, got 'magic'"),
        ({"role": "control"}, ValueError, "kappa to be None for a control, got 1"),
    ],
)
def test_bad_facts_are_refused(facts: dict, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        register_scorer(type("Bad", (Valley,), {"name": "bad", **facts}))
    assert "bad" not in list_scorers()
