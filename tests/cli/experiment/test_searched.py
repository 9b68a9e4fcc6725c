"""Names of searched scorers and of scorers in a pool of their own, their keys, and what they cost."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.experiment import searched
from sics_cli.experiment.cells import families, plan_cells
from sics_cli.experiment.cost import SEARCHING, Cost, estimate, points_of
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.experiment.scorers import ScorerInfo, choose, describe_scorers
from sics_cli.experiment.searched import Searched
from sics_cli.settings.config import Experiment
from sics_cli.store.rows import CellRow, CheckpointRow
from sics_plugin.scorers.fusion import FEATURE_SETS

ENVIRONMENT = Environment("cpu", "2.15", "1.0")
LOWEST = ("magnitude", "orbit", "smooth_orbit", "spline")


def chosen(specs: Sequence[str], saliency: str = "gradient", unit: str = "weight") -> list[ScorerInfo]:
    return list(choose(describe_scorers(specs, saliency), specs, saliency, "magnitude", unit)[0])


def names(specs: Sequence[str], **settings: str) -> list[str]:
    return [info.name for info in chosen(specs, **settings)]


@pytest.mark.parametrize("features", LOWEST)
@pytest.mark.parametrize(("kind", "points"), [("fusion", 50), ("adaptive", 49)])
def test_a_name_says_kind_features_and_evaluations(features: str, kind: str, points: int) -> None:
    asked = Searched.read(f"{kind}_{features}_50")
    assert (asked, asked.name, asked.points) == (Searched(kind, features, 50), f"{kind}_{features}_50", points)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("fusion_orbit", r"give fusion_orbit_N with N the evaluations of its search, at least 1, such as fusion_orbit_200"),
        ("fusion_orbit_0", r"is not accepted: give fusion_orbit_N"),
        ("fusion_orbit_-3", r"is not accepted: give fusion_orbit_N"),
        ("fusion_orbit_007", r"is not accepted: give fusion_orbit_N"),
        ("adaptive_orbit_1", r"at least 2, of which magnitude takes one"),
        ("fusion_orbits_50", r"features 'orbits' \(did you mean orbit\?\): give fusion_SET_50 with SET orbit \| smooth_orbit"),
        ("fusion_orbit_50/global", r"searched in the pool of the run: give fusion_orbit_50, and --pool global"),
        ("chaos/everywhere", r"'everywhere' is not accepted as the pool of one scorer: give global \| layer"),
        ("magnitude/2:4", r"'2:4' is not accepted as the pool of one scorer"),
        ("nobody/global", r"--scorers nobody/global: no such scorer"),
    ],
)
def test_a_name_that_is_none_is_one_line(spec: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        describe_scorers((spec,), "gradient")
    assert str(caught.value).startswith(f"--scorers {spec}: ")
    assert "\n" not in str(caught.value)


def test_the_word_stands_for_every_set_at_each_budget() -> None:
    assert tuple(FEATURE_SETS) == searched.SETS
    every = [f"fusion_{features}_{n}" for features in FEATURE_SETS for n in (1, 10, 50, 200)]
    assert names(["searched"]) == ["magnitude", *every]
    both = names(["searched", "fusion_orbit_3", "adaptive_orbit_9"])
    assert both == ["magnitude", every[0], "fusion_orbit_3", *every[1:], "adaptive_orbit_9"]
    without, notes = choose(describe_scorers(["searched"], "activation"), ["searched"], "activation", "magnitude")
    assert len(without) == 1 + 4 * (len(FEATURE_SETS) - 1), "Taylor's terms take gradients"
    assert sum("fusion_magnitude" in note for note in notes) == 4
    assert names(["all"]) == [info.name for info in describe_scorers((), "gradient")]
    assert [(info.kappa, info.role) for info in chosen(["fusion_orbit_3"])][1:] == [(None, "searched")]
    with pytest.raises(ConfigError, match="needs --saliency gradient"):
        chosen(["fusion_magnitude_3"], saliency="activation")
    with pytest.raises(ConfigError, match="--reference fusion_orbit_3: its weights are searched"):
        choose(describe_scorers(["fusion_orbit_3"], "gradient"), ["fusion_orbit_3"], "gradient", "fusion_orbit_3")


def test_a_scorer_in_a_pool_of_its_own_is_another_beside_itself() -> None:
    plain, pooled = chosen(["magnitude", "magnitude/global"])
    assert (pooled.name, pooled.kappa, pooled.role) == ("magnitude/global", plain.kappa, plain.role)
    assert pooled.fingerprint == {**plain.fingerprint, "pool": "global"}
    assert (pooled.pool_in("layer-rank"), plain.pool_in("layer-rank")) == ("global", "layer-rank")
    together = families(chosen(["magnitude", "chaos", "chaos/layer", "fusion_orbit_2"]))
    assert (together["escape"], together["single"]) == (["chaos"], ["chaos/layer", "fusion_orbit_2"])
    assert names(["all", "chaos/layer"]) == [*names(["all"]), "chaos/layer"]
    with pytest.raises(ConfigError, match="--scorers chaos/row: is ranked in the rows of a weight"):
        chosen(["chaos/row"], unit="channel")


def test_keys_tell_budgets_apart_and_a_search_knows_of_none(experiment: Experiment) -> None:
    specs = ("fusion_orbit_10", "fusion_orbit_20", "adaptive_orbit_10", "fusion_spline_10")
    ten, twenty, spline, adaptive = chosen(specs)[1:]
    recipe = Recipe(experiment, ENVIRONMENT)
    keys = {recipe.cell_key(0, info, 0.5) for info in (ten, twenty, adaptive, spline)}
    assert len(keys) == 4
    searches = [recipe.search_key(0, info, 0.5) for info in (ten, twenty, adaptive)]
    assert len(set(searches)) == 1
    for info, seed, sparsity in ((spline, 0, 0.5), (ten, 1, 0.5), (ten, 0, 0.6)):
        assert recipe.search_key(seed, info, sparsity) != searches[0]
    others = [replace(experiment, **change) for change in ({"unit": "channel"}, {"pool": "layer"}, {"saliency": "activation"})]
    assert len({Recipe(other, ENVIRONMENT).search_key(0, ten, 0.5) for other in [experiment, *others]}) == 4
    another = Recipe(replace(experiment, reference="chaos"), ENVIRONMENT)
    assert another.search_key(0, ten, 0.5) == searches[0]
    assert another.cell_key(0, ten, 0.5) != recipe.cell_key(0, ten, 0.5), "the row says what the reference's mask does"
    assert ten.against == "", "a reference that the plugin brings has its version in every key"
    assert recipe.cell_key(0, replace(ten, against="edited"), 0.5) != recipe.cell_key(0, ten, 0.5)
    assert recipe.search_key(0, replace(ten, against="edited"), 0.5) == searches[0]
    plain = chosen(["chaos"])[-1]
    assert another.cell_key(0, plain, 0.5) == recipe.cell_key(0, plain, 0.5)


@pytest.mark.parametrize("distribution", ["scipy", "numpy"])
def test_another_optimiser_is_another_search(distribution: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = searched.fingerprint("fusion_orbit_5", "gradient")
    for function in ("full_version", "minor_version"):
        real = getattr(searched, function)
        monkeypatch.setattr(searched, function, lambda name, real=real: "0.1" if name == distribution else real(name))
    assert searched.fingerprint("fusion_orbit_5", "gradient")["search"] != before["search"]


def test_one_search_serves_the_budgets_of_its_seed_and_sparsity(experiment: Experiment) -> None:
    infos = chosen(("fusion_orbit_10", "fusion_orbit_20", "adaptive_orbit_31", "fusion_spline_1"))
    asked = replace(experiment, seeds=(0, 1, 2), sparsities=(0.5, 0.7))
    cells = plan_cells(Recipe(asked, ENVIRONMENT), infos)
    assert points_of(cells) == 3 * 2 * (30 + 1)
    assert points_of(cell for cell in cells if cell.scorer is None or cell.scorer.searched is None) == 0


def test_a_search_costs_its_evaluations(experiment: Experiment, cell_row: Any) -> None:
    recipe = Recipe(experiment, ENVIRONMENT)
    cells = plan_cells(Recipe(replace(experiment, seeds=(0,), sparsities=(0.5,)), ENVIRONMENT), chosen(("fusion_orbit_20",)))
    work = Cost.of(recipe)
    assert work.point == SEARCHING * experiment.images.data.validation
    assert work.of_cells(cells) == work.total(len(cells)) + 20 * work.point

    def row(scorer: str, seconds: float, **more: Any) -> CellRow:
        return cell_row(cell_key=scorer, scorer=scorer, wall_seconds=seconds, **more)

    told = {"budget": 20, "features": ["rho", "z"]}
    rows = [row("magnitude", 2.0), row("a", 2.0 + 20 * 0.25, search=told), row("b", 2.0, search={**told, "budget": 10})]
    checkpoint = CheckpointRow(0, "k", "h", 1, 2, 9.0)
    measured = estimate(recipe, [checkpoint], rows)
    assert measured is not None
    assert (measured.cell, measured.point) == (2.0, 0.25)
    before = estimate(recipe, [checkpoint], rows[:1])
    assert before is not None
    assert before.point == pytest.approx(9.0 / work.training * work.point)
