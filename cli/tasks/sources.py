"""From what is asked for to a task."""

from __future__ import annotations

from collections.abc import Callable

from sics_cli.settings.config import OwnTask
from sics_cli.settings.images import ImageConfig
from sics_cli.tasks.image_recipe import ImageRecipe
from sics_cli.tasks.image_setup import ImageAccess, ImageCheck, image_recipe
from sics_cli.tasks.own_task import OwnCheck, OwnRecipe, facts_of
from sics_cli.tasks.recipe import TaskRecipe

Check = Callable[[], None]


def task_recipe(config: ImageConfig | OwnTask) -> TaskRecipe:
    """A task as the driver has it, with nothing told beforehand: data are looked up, a user's class is imported here."""
    return OwnRecipe(config, facts_of(config)) if isinstance(config, OwnTask) else ImageRecipe(config)


def settled(
    config: ImageConfig | OwnTask,
    unit: str,
    given: ImageAccess,
    run: Callable[..., object],
    say: Callable[[str], None],
) -> tuple[ImageConfig | OwnTask, TaskRecipe, Check]:
    """The task as it will be run, as the driver has it, and what a worker checks of it before anything is trained.

    `run` has a worker call a function, for what needs torch or the user's code; `say` is told what was left open and is taken.
    """
    if isinstance(config, OwnTask):
        facts = run(facts_of, config)
        return config, OwnRecipe(config, facts), OwnCheck(config, unit)  # type: ignore[arg-type]
    recipe = image_recipe(config, given, run, say)
    return recipe.config, recipe, ImageCheck(recipe, unit, given.allow_chance)
