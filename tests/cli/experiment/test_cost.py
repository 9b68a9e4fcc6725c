"""What a seed is taken to cost, by device and precision, before and after something was measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sics_cli.base.cards import Card
from sics_cli.console.progress_bars import clock
from sics_cli.experiment.cost import Cost, estimate, workers_a_card
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.settings.config import experiment_from_mapping, merged
from sics_cli.settings.presets import CIFAR10_VIT_MICRO, CIFAR10_VIT_SMALL, DIGITS
from sics_cli.store.rows import CellRow, CheckpointRow
from sics_cli.tasks.image_recipe import ImageRecipe
from sics_cli.tasks.images.cache import ImageFacts

CIFAR = ImageFacts((60_000, 3, 32, 32), tuple("abcdefghij"), 50_000, "digest")
H100, T4 = "NVIDIA H100 80GB HBM3", "Tesla T4"
CELLS = 49


def recipe(preset: dict[str, Any], gpu: str | None = H100, device: str = "cuda", **training: Any) -> Recipe:
    sizes = {} if preset is DIGITS else {"model": {"img_size": 32, "in_chans": 3, "num_classes": 10}}
    experiment = experiment_from_mapping(merged(preset, {**sizes, "training": training}))
    task = ImageRecipe(experiment.images, None if preset is DIGITS else CIFAR)
    return Recipe(experiment, Environment(device, "2.15", "1.0", gpu if device == "cuda" else None), task)


def cost(*given: Any, at_once: int = 1, **of: Any) -> Cost:
    found = estimate(recipe(*given, **of), at_once=at_once)
    assert found is not None
    return found


def test_a_large_network_takes_what_its_products_and_its_memory_take() -> None:
    """By counts and an H100's figures ViT-Small's 200 epochs in bfloat16 are about ten minutes, and not hours."""
    assert 200 < cost(CIFAR10_VIT_SMALL).total(CELLS) < 1200
    assert cost(CIFAR10_VIT_SMALL, precision="fp32").training > 2 * cost(CIFAR10_VIT_SMALL).training
    assert cost(CIFAR10_VIT_SMALL, precision="fp32").cell == cost(CIFAR10_VIT_SMALL).cell, "evaluations are float32 always"
    assert cost(CIFAR10_VIT_SMALL, T4, precision="fp32").training == pytest.approx(cost(CIFAR10_VIT_SMALL, T4).training, rel=0.01)
    assert cost(CIFAR10_VIT_SMALL, T4).training > 20 * cost(CIFAR10_VIT_SMALL).training
    assert cost(CIFAR10_VIT_SMALL, "NVIDIA A100-SXM4-80GB").cell > 2 * cost(CIFAR10_VIT_SMALL).cell


def test_the_page_shows_what_is_guessed() -> None:
    """A seed of the preset has 53 cells with the scorers and sparsities that it has by default."""
    seed = cost(CIFAR10_VIT_SMALL).total(53)
    page = (Path(__file__).resolve().parents[3] / "docs" / "gpu.md").read_text(encoding="utf-8")
    assert f"cost: 5 seeds of up to {clock(seed)}, about {clock(5 * seed)} on 1 worker on 1 GPU: {H100} (" in page


def test_a_small_network_takes_what_its_launches_take() -> None:
    """A core that launches is as quick beside every card; on a processor nothing is launched."""
    assert cost(DIGITS).training == cost(DIGITS, T4).training
    assert cost(DIGITS, device="cpu").training == pytest.approx(2 * 3_149_824 * 3 * 700 * 60 / 4e10)
    assert cost(DIGITS, device="cpu", precision="bf16") == cost(DIGITS, device="cpu"), "no processor was told apart"


def test_it_is_said_what_a_guess_rests_on() -> None:
    assert cost(DIGITS).source == "guessed from the network's size and the published figures of an H100; no GPU was measured"
    assert cost(DIGITS, None).source == "guessed from the network's size and the figures of a middling GPU; no GPU was measured"
    assert cost(DIGITS, device="cpu").source == "guessed from the network's size"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_was_measured_in_this_run_counts(device: str, cell_row: Callable[..., CellRow]) -> None:
    asked, guess = recipe(CIFAR10_VIT_MICRO, device=device), cost(CIFAR10_VIT_MICRO, device=device)
    trained = [CheckpointRow(seed, "k", "h", 1, 2, 2 * guess.training) for seed in (0, 1)]
    found = estimate(asked, trained)
    assert found is not None
    assert found.source == "measured on 2 seeds, masks in proportion"
    assert (found.training, found.saliency, found.cell) == pytest.approx((2 * guess.training, 2 * guess.saliency, 2 * guess.cell))
    found = estimate(asked, trained, [cell_row(wall_seconds=7.0)])
    assert found is not None
    assert (found.cell, found.source) == (7.0, "measured on 2 seeds")


def test_seeds_that_share_a_card_wait_for_it_where_it_is_busy() -> None:
    assert cost(DIGITS, at_once=4).training == cost(DIGITS).training
    assert cost(CIFAR10_VIT_SMALL, at_once=4).training > 3 * cost(CIFAR10_VIT_SMALL).training


def test_a_graph_is_launched_by_few_calls_and_holds_its_pool_beside() -> None:
    """The card begins and ends as many operations as before, so that fewer seeds pay beside each other."""
    assert cost(DIGITS, path="graph").training < cost(DIGITS).training / 4
    assert cost(DIGITS, path="graph").cell == cost(DIGITS).cell, "evaluations have none"
    assert cost(DIGITS, path="graph", at_once=4).training > 3 * cost(DIGITS, path="graph").training
    assert cost(DIGITS, path="graph", crop_padding=1).training > 1.5 * cost(DIGITS, path="graph").training, "nor augmentation"
    assert workers_a_card(recipe(DIGITS, path="graph"), [Card(H100, 80 * 10**9)], 16) == 1
    graph, eager = (recipe(CIFAR10_VIT_SMALL, path=path).task.memory for path in ("graph", "eager"))
    assert graph is not None
    assert eager is not None
    assert 1.5 * eager < graph < 2 * eager


def test_a_stack_is_launched_once_for_all_and_a_seed_has_its_share() -> None:
    """On a processor it is as much work as its places; empty ones count, and a seed waits for those beside it."""
    asked, eager = recipe(DIGITS, path="stacked"), cost(DIGITS)
    assert asked.task.width == 5
    full = cost(DIGITS, path="stacked")
    assert full.training == pytest.approx(2 * eager.training / 5)
    assert full.beside == pytest.approx(4 * full.training)
    assert full.cell == eager.cell, "evaluations are a seed's own"
    here = cost(DIGITS, device="cpu", path="stacked", width=4)  # five seeds in two stacks
    assert here.training == pytest.approx(8 / 5 * cost(DIGITS, device="cpu").training)
    one, four = (recipe(DIGITS, path=path).task.memory for path in ("eager", "stacked"))
    assert one is not None
    assert four is not None
    assert one < four < 5 * one
    measured = estimate(asked, [CheckpointRow(seed, "k", "h", 1, 2, 3.0) for seed in (0, 1)])
    assert measured is not None
    assert (measured.training, measured.beside) == pytest.approx((1.2, 4.8)), "two that shared six seconds; five will"


def test_of_compiled_training_it_is_said_that_nobody_knows() -> None:
    assert cost(DIGITS, path="compile").training == cost(DIGITS).training
    assert cost(DIGITS, path="compile").source == f"{cost(DIGITS).source}; what compiling takes and brings is not known"
    assert cost(DIGITS, device="cpu", path="compile").source.endswith("size; what compiling takes and brings is not known")
    assert "compiling" not in cost(DIGITS, path="graph").source


def test_how_many_share_a_card_by_default() -> None:
    big, small = Card(H100, 80 * 10**9), Card(T4, 16 * 10**9)
    assert workers_a_card(recipe(DIGITS), [big], 16) == 4
    assert workers_a_card(recipe(DIGITS), [big, big], 6) == 3, "each wants a core"
    assert workers_a_card(recipe(DIGITS), [Card(H100, 10**9)], 16) == 1, "and room"
    assert workers_a_card(recipe(DIGITS), [big, Card(H100, 80 * 10**9, exclusive=True)], 16) == 1
    assert workers_a_card(recipe(CIFAR10_VIT_SMALL), [big], 16) == 1, "a large one keeps the card busy"
    assert workers_a_card(recipe(CIFAR10_VIT_MICRO, T4), [small], 16) == 1
    assert workers_a_card(recipe(DIGITS, device="cpu"), [], 16) == 1
    unknown = recipe(DIGITS).experiment.with_images(model=recipe(DIGITS).experiment.images.model.__class__("timm:resnet10t"))
    assert workers_a_card(Recipe(unknown, Environment("cuda", "2.15", "1.0", H100)), [big], 16) == 1, "nothing is known of it"
