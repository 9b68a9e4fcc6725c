"""The scorer that tries masks on the calibration batches: its name, its key, and what it costs."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.experiment.cells import families, plan_cells
from sics_cli.experiment.cost import Cost, estimate, signals_of, trials_of
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.experiment.scorers import ScorerInfo, choose, describe_scorers, fingerprint_of
from sics_cli.experiment.trials import TRIALS, Tried
from sics_cli.main import main
from sics_cli.settings.config import Experiment
from sics_cli.store.rows import CheckpointRow
from sics_plugin.pruning.calibrating import trials
from sics_plugin.scorers import adaptive
from sics_plugin.scorers.base import Trial

ENVIRONMENT = Environment("cpu", "2.15", "1.0")


def chosen(specs: Sequence[str], saliency: str = "gradient", unit: str = "weight") -> list[ScorerInfo]:
    return list(choose(describe_scorers(specs, saliency), specs, saliency, "magnitude", unit)[0])


@pytest.fixture(scope="module")
def info() -> ScorerInfo:
    return chosen([TRIALS])[-1]


def test_it_is_adaptive_and_runs_on_request_alone(info: ScorerInfo) -> None:
    assert (info.name, info.role, info.kappa, info.calibrated, info.on_request) == (TRIALS, "adaptive", None, True, True)
    for word, there in (("sics", False), ("peers", False), ("searched", False), ("all", True)):
        assert (TRIALS in {one.name for one in chosen([word])}) is there, word
    assert families(chosen(["chaos", TRIALS]))["single"] == [TRIALS]


@pytest.mark.parametrize("saliency", ["activation", "neighbourhood"])
def test_it_brings_its_signals_as_peers_do(info: ScorerInfo, experiment: Experiment, saliency: str) -> None:
    other = chosen([TRIALS], saliency)[-1]
    assert other == info
    keys = {Recipe(replace(experiment, saliency=kind), ENVIRONMENT).cell_key(0, info, 0.5) for kind in ("gradient", saliency)}
    assert len(keys) == 1, "its number does not depend on the run's saliency"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (f"{TRIALS}/row", "it chooses the pool too: give adaptive_trials"),
        (f"{TRIALS}_50", "there is no set of features 'trials'"),
    ],
)
def test_a_name_like_it_is_one_line(spec: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        describe_scorers((spec,), "gradient")
    assert str(caught.value).startswith(f"--scorers {spec}: ")


def test_what_is_tried_by_unit(info: ScorerInfo) -> None:
    tried = info.tried
    assert tried is not None
    assert (tried.names, tried.pools) == (trials.SCORERS, trials.POOLS)
    assert tried.masks("weight") == 6 * 3
    assert tried.kinds("weight") == ("gradient", "fisher", "activation", "lamp")
    # Channels have no rows, and wanda is not defined for them.
    assert tried.masks("channel") == tried.masks("head") == 5 * 2
    assert tried.kinds("channel") == ("gradient", "fisher", "lamp")
    assert chosen(["chaos"])[-1].tried is None


def test_a_row_has_magnitude_where_the_first_pool_was_left_out(info: ScorerInfo) -> None:
    tried = Tried.read(info.fingerprint)
    some = (Trial("fisher", None, -1.0, "a", "row", 0.1, 10.0), Trial("magnitude", None, -3.0, "b", "row", 1.0, 9.0))
    both = (*some, Trial("magnitude", None, -2.0, "c", "layer", 1.0, 4.0))
    for found, score in ((some, 3.0), (both, 2.0)):
        choice = SimpleNamespace(scorer="fisher", alpha=None, trials=found)
        assert tried.told(cast(Any, SimpleNamespace(choice=choice, pool="row")))["magnitude"] == score


def test_its_facts_are_listed_and_it_has_no_measure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scorers", TRIALS, "--long"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "what magnitude, information, gradient, fisher, wanda, lamp read, in pools global, layer, row, from the" in shown
    assert main(["scorers", TRIALS, "--measure"]) == 2
    assert "SCORER adaptive_trials: has no measure by its name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (trials, "SCORERS", ("magnitude", "gradient")),
        (trials, "POOLS", ("layer", "global")),
        (adaptive, "MEASURED_SHARE", 0.4),
    ],
)
def test_another_default_is_another_scorer(
    info: ScorerInfo, experiment: Experiment, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, value: Any
) -> None:
    monkeypatch.setattr(module, name, value)
    other = replace(info, fingerprint=fingerprint_of(TRIALS, "gradient"))
    recipe = Recipe(experiment, ENVIRONMENT)
    assert recipe.cell_key(0, other, 0.5) != recipe.cell_key(0, info, 0.5)


@pytest.mark.parametrize(("unit", "masks"), [("weight", 18), ("channel", 10)])
def test_it_costs_its_masks_passes_and_signals(experiment: Experiment, unit: str, masks: int) -> None:
    asked = replace(experiment, seeds=(0,), sparsities=(0.5, 0.8), unit=unit)
    recipe = Recipe(asked, ENVIRONMENT)
    cells = plan_cells(recipe, chosen([TRIALS], unit=unit))
    assert trials_of(cells) == 2 * masks, "none for the repeats, which are of magnitude"
    assert signals_of(cells) >= {"gradient", "fisher"}
    assert ("activation" in signals_of(cells)) is (unit == "weight")
    work, images = Cost.of(recipe), asked.images
    half = 0.5 * images.data.test
    assert work.trial == pytest.approx(half + 2 * images.calibration.batches * images.calibration.batch_size)
    alone = work.total(len(cells), signals=signals_of(cells))
    assert work.of_cells(cells) == pytest.approx(alone + 2 * masks * work.trial)


def test_a_trial_is_measured_by_the_rows(experiment: Experiment, cell_row: Any) -> None:
    checkpoint, recipe = CheckpointRow(0, "k", "h", 1, 2, 9.0), Recipe(experiment, ENVIRONMENT)
    plain = cell_row(cell_key="a", scorer="magnitude", wall_seconds=2.0)
    told = {"scorer": "wanda", "alpha": None, "pool": "row", "score": 1.0, "magnitude": 1.5, "tried": 18, "masks": 16}
    tried = cell_row(cell_key="b", scorer=TRIALS, wall_seconds=2.0 + 18 * 0.5, search=told)
    measured, before = (estimate(recipe, [checkpoint], rows) for rows in ([plain, tried], [plain]))
    assert measured is not None
    assert before is not None
    assert (measured.cell, measured.trial) == (2.0, 0.5)
    assert before.trial == pytest.approx(9.0 / Cost.relative(recipe).training * Cost.relative(recipe).trial)
