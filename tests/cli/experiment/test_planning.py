from dataclasses import replace

import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.experiment.cells import CHANGED, EXTENDED, concerned, grid, make_plan, plan_cells, stamp
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.experiment.scorers import ScorerInfo, choose
from sics_cli.settings.config import Experiment, experiment_from_mapping
from sics_cli.settings.presets import DIGITS


def info(name: str, kappa: int | None = None, role: str = "feature", requires: str | None = None) -> ScorerInfo:
    return ScorerInfo(name, name, kappa, role, "formula", requires, {"name": name})


INFOS = (
    info("magnitude", 0),
    info("power", 0),
    info("chaos", 2),
    info("fake", role="control"),
    info("gradient", role="baseline", requires="gradient"),
    info("adaptive", role="adaptive"),
)


@pytest.fixture
def recipe(experiment: Experiment) -> Recipe:
    return Recipe(replace(experiment, sparsities=(0.5, 0.8)), Environment("cpu", "2.15", "1.0"))


def names(infos: tuple[ScorerInfo, ...]) -> list[str]:
    return [one.name for one in infos]


def test_default_is_all_but_adaptive() -> None:
    chosen, notes = choose(INFOS, None, "gradient", "magnitude")
    assert names(chosen) == ["magnitude", "power", "chaos", "fake", "gradient"]
    assert notes == ()


def test_a_scorer_that_cannot_use_the_saliency_is_left_out_with_a_note_or_refused() -> None:
    chosen, notes = choose(INFOS, None, "activation", "magnitude")
    assert "gradient" not in names(chosen)
    assert notes == ("gradient is left out: it needs --saliency gradient, this run uses activation",)
    with pytest.raises(ConfigError, match="--scorers gradient: needs --saliency gradient"):
        choose(INFOS, ["magnitude", "gradient"], "activation", "magnitude")


def test_asked_scorers_keep_the_plugins_order_and_the_reference_joins() -> None:
    chosen, notes = choose(INFOS, ["fake", "chaos", "chaos"], "gradient", "magnitude")
    assert names(chosen) == ["magnitude", "chaos", "fake"]
    assert notes == ("magnitude is added: it is the reference of every difference",)
    assert names(choose(INFOS, ["adaptive"], "gradient", "adaptive")[0]) == ["adaptive"]


def test_unknown_scorer_and_reference_are_refused_with_what_there_is() -> None:
    with pytest.raises(
        ConfigError, match=r"--scorers chaso: no such scorer \(did you mean chaos\?\); give some of magnitude, power"
    ):
        choose(INFOS, ["chaso"], "gradient", "magnitude")
    with pytest.raises(ConfigError, match=r"--reference big: no such scorer; give one of magnitude"):
        choose(INFOS, None, "gradient", "big")


def test_cells_cover_the_grid_once_in_order(recipe: Recipe) -> None:
    cells = plan_cells(recipe, INFOS[:3])
    assert len({cell.key for cell in cells}) == len(cells) == 2 * (1 + 2 * 3 + 2)
    first = [(cell.scorer_name, cell.sparsity, cell.repeat) for cell in cells if cell.seed == 0]
    assert first == [
        ("dense", 0.0, False),
        ("magnitude", 0.5, False), ("power", 0.5, False), ("chaos", 0.5, False),
        ("magnitude", 0.8, False), ("power", 0.8, False), ("chaos", 0.8, False),
        ("magnitude", 0.5, True), ("magnitude", 0.8, True),
    ]  # fmt: skip


def test_without_magnitude_nothing_is_repeated(recipe: Recipe) -> None:
    assert not any(cell.repeat for cell in plan_cells(recipe, INFOS[2:4]))


def test_grid_tells_what_is_missing(recipe: Recipe) -> None:
    cells = plan_cells(recipe, INFOS[:3])
    keys = [cell.key for cell in cells]
    state = grid(cells, {keys[0], keys[1], "of another command"}, [keys[1], keys[2], "unknown"])
    assert state.cached == {keys[0], keys[1]}
    assert state.failed == {keys[2]}, "a cell that is there has not failed"
    assert [cell.key for cell in state.missing()] == keys[3:]
    assert [cell.key for cell in state.missing(retry_failed=True)] == keys[2:]
    assert [cell.key for cell in state.missing(force=True)] == keys
    assert "".join(state.mark(cell) for cell in cells[:4]) == "##x."


def test_plan_hash_covers_what_is_fixed_and_not_the_time(experiment: Experiment) -> None:
    base = make_plan(experiment, INFOS, "now")
    assert base.families == {
        "plateau": ["magnitude", "power"],
        "escape": ["chaos"],
        "single": ["fake", "gradient", "adaptive"],
    }
    assert make_plan(experiment, INFOS, "later").plan_hash == base.plan_hash
    changes = [{"delta": 1.0}, {"alpha": 0.01}, {"reference": "power"}, {"seeds": (0,)}, {"sparsities": (0.5,)}]
    hashes = {make_plan(replace(experiment, **change), INFOS, "now").plan_hash for change in changes}  # type: ignore[arg-type]
    hashes.add(make_plan(experiment, INFOS[:3], "now").plan_hash)
    assert len(hashes - {base.plan_hash}) == len(changes) + 1


def test_the_hash_of_a_fixed_number_of_seeds_is_what_it_was_before_there_were_looks() -> None:
    asked = experiment_from_mapping(DIGITS)
    expected = "b62475b019eb7cce4665adfd5f279d9c57c6777d9c9833ea085f4d5d8020ca97"
    assert make_plan(asked, (INFOS[0], INFOS[2]), "now").plan_hash == expected


def test_plan_hash_covers_looks_and_targets(experiment: Experiment) -> None:
    asked = replace(experiment, seeds=tuple(range(20)), until=())
    base = make_plan(asked, INFOS, "now")
    assert base.looks is not None
    assert (base.looks["looks"], base.looks["family"]) == ([5, 8, 12, 20], 1)
    changes: list[dict[str, object]] = [
        {"until": None}, {"until": ("share:0.8",)}, {"seeds": tuple(range(12))}, {"seeds": tuple(range(1, 21))}, {"alpha": 0.01}
    ]  # fmt: skip
    hashes = {make_plan(replace(asked, **change), INFOS, "now").plan_hash for change in changes}  # type: ignore[arg-type]
    assert len(hashes - {base.plan_hash}) == len(changes)
    two = [make_plan(replace(asked, until=names), INFOS, "now") for names in (("share:0.8", "plateau"), ("plateau", "share:0.8"))]
    assert two[0].plan_hash == two[1].plan_hash, "targets have no order"


def test_stamps_of_looks(experiment: Experiment) -> None:
    fixed = make_plan(experiment, INFOS, "now")
    looks, longer, fresh = (
        make_plan(replace(experiment, seeds=tuple(seeds), until=()), INFOS, "now")
        for seeds in (range(20), range(40), range(40, 60))
    )
    assert stamp([], looks, 0) == stamp([fixed], looks, 0) == ""
    assert stamp([fixed], looks, 10) == stamp([looks], longer, 10) == stamp([looks], fixed, 10) == CHANGED
    more = make_plan(replace(experiment, seeds=tuple(range(30))), INFOS, "now")
    assert stamp([looks], more, 10) == CHANGED, "a fixed number of seeds is no extension of looks"
    assert stamp([looks, longer], looks, 10) == "", "what it does at each look was fixed by it"
    assert concerned(fresh, [fixed, looks, longer], []) == ([], 0)
    assert concerned(longer, [fixed, fresh, looks], []) == ([fixed, looks], 0)
    assert concerned(fixed, [fresh, looks], []) == ([fresh, looks], 0)


def test_stamps(experiment: Experiment) -> None:
    plan = make_plan(experiment, INFOS, "now")
    more = make_plan(replace(experiment, seeds=(0, 1, 2)), INFOS, "later")
    fewer = make_plan(replace(experiment, seeds=(0,)), INFOS, "later")
    delta = make_plan(replace(experiment, seeds=(0, 1, 2), delta=1.0), INFOS, "later")
    assert stamp([], plan, 10) == ""
    assert stamp([plan], delta, 0) == "", "nothing was seen yet"
    assert stamp([plan], more, 10) == EXTENDED
    assert stamp([plan], fewer, 10) == CHANGED
    assert stamp([plan], delta, 10) == CHANGED


def test_the_reference_is_repeated_where_magnitude_does_not_run(recipe: Recipe, experiment: Experiment) -> None:
    other = Recipe(replace(recipe.experiment, reference="power"), Environment("cpu", "2.15", "1.0"))
    chosen = [one for one in INFOS if one.name in ("power", "chaos")]
    repeats = [cell for cell in plan_cells(other, chosen) if cell.repeat]
    assert {cell.scorer_name for cell in repeats} == {"power"}
    assert len(repeats) == len(experiment.seeds) * 2
    both = [one for one in INFOS if one.name in ("magnitude", "power")]
    assert {cell.scorer_name for cell in plan_cells(other, both) if cell.repeat} == {"magnitude"}
