"""What to ask of numbers that are there, but may not be of what was meant."""

from __future__ import annotations

from collections.abc import Sequence

from sics_cli.base.bits import no_better_than_chance
from sics_cli.experiment.recipe import DENSE, Recipe
from sics_cli.store.rows import CellRow
from sics_cli.tasks.image_recipe import ImageRecipe
from sics_cli.tasks.task import margin_doubt


def doubts(recipe: Recipe, delta: float, rows: Sequence[CellRow]) -> list[str]:
    """A line for each doubt in these rows of a run, judged at `delta`."""
    dense = [row.result for row in rows if row.scorer == DENSE]
    found = [chance_doubt(recipe, rows), margin_doubt(recipe.task.metric, delta, dense)]
    return [text for text in found if text is not None]


def chance_doubt(recipe: Recipe, rows: Sequence[CellRow]) -> str | None:
    """What to check where a network that came trained does about no better than chance; None where it does better."""
    task = recipe.task
    dense = [(row.correct, row.n) for row in rows if row.scorer == DENSE and row.correct is not None and row.n is not None]
    if not isinstance(task, ImageRecipe) or not task.given or not dense:
        return None
    if not all(no_better_than_chance(correct, n, len(task.facts.classes)) for correct, n in dense):
        return None
    return (
        f"the network of --checkpoint gets {dense[0][0]} of {dense[0][1]} test images right, about as many as by chance: "
        "were its images standardised by their own mean and standard deviation, of this size, and its classes in the "
        "order of their names? What is measured on the wrong images says nothing"
    )
