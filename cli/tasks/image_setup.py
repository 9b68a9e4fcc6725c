"""An image task before it runs: its data looked at, its weights fetched, and whether its network goes with all that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_analysis.results import plural
from sics_cli.base.bits import no_better_than_chance
from sics_cli.base.errors import ConfigError, MismatchError, SicsError
from sics_cli.settings.images import ImageConfig, ModelConfig
from sics_cli.tasks.image_recipe import ImageRecipe
from sics_cli.tasks.images.cache import ImageFacts
from sics_cli.tasks.images.datasets import DataAccess, data_facts, key_name, sized
from sics_cli.tasks.networks.models import fitted
from sics_cli.tasks.networks.start import pretrained_name, pretrained_path, standardised

if TYPE_CHECKING:
    from torch import nn

#: So many training images tell whether a network that is given knows them.
_CHECKED = 128


@dataclass(frozen=True, slots=True)
class ImageAccess:
    """How this machine gets at images and weights, and what is let pass: in no key.

    Without `fetch`, nothing is downloaded. With `allow_chance` a network that is given may know nothing of the images.
    """

    data: DataAccess = field(default_factory=DataAccess)
    fetch: bool = True
    allow_chance: bool = False


def with_data(
    config: ImageConfig, access: DataAccess, say: Callable[[str], None] = lambda line: None
) -> tuple[ImageConfig, ImageFacts]:
    """Look at the data: their facts, and the task with sizes, standardisation and a network that fit them.

    `say` is told what takes a while, and what was left open and is taken.
    """
    facts = data_facts(config.data, access, say)
    data = sized(config.data, facts)
    if data != config.data:
        say(
            f"sizes left open are those of {key_name(data.name)}: {data.train} train, {data.validation} validation, "
            f"{data.test} test"
        )
    if len(config.checkpoints) > 1:
        names = [Path(name).name for name in config.checkpoints]
        say(f"{plural(len(names), 'network')}, a seed each: {names[0]} is seed 0, {names[-1]} seed {len(names) - 1}")
    return standardised(fitted(replace(config, data=data), facts), facts, say), facts


def image_recipe(config: ImageConfig, given: ImageAccess, run: Callable[..., object], say: Callable[[str], None]) -> ImageRecipe:
    """The task as the driver has it; `run` has a worker call a function, for what needs torch."""
    config, facts = with_data(config, given.data, say)
    if config.pretrained and not (path := pretrained_path(config.model)).exists():
        if not given.fetch:
            raise ConfigError(f"--pretrained: {path} is not there yet, and a dry run fetches nothing")
        say(f"fetching timm's weights of {pretrained_name(config.model)} into {path.parent}")
        run(fetch_weights, config.model)
    return ImageRecipe(config, facts, given.data)


def check_unit(config: ImageConfig, unit: Any) -> None:
    """Refuse, before anything is trained, a network without channels or heads that can be taken out; weights there always are."""
    if unit == "weight":
        return
    from sics_cli.tasks.networks.models import build_model
    from sics_plugin import find_groups

    try:
        find_groups(build_model(config.model, 0), unit)
    except ValueError as error:
        reason = str(error).split("; ")[0]  # what to call in Python is of no use here
        raise ConfigError(f"--unit {unit}: model.name = {config.model.name!r} as set cannot be pruned so: {reason}") from None


def check_network(task: ImageRecipe, allow_chance: bool = False) -> None:
    """Refuse, before anything is trained, a network that does not go with the images, or the weights given with it."""
    from sics_cli.tasks.networks.models import VIT, build_model
    from sics_cli.tasks.networks.start import begin_with

    config, facts = task.config, task.facts
    if task.width > 1:
        _check_stacking(config, facts)
    if not task.starts and config.model.name == VIT:
        return
    model = build_model(config.model, 0).eval()
    _check_shapes(model, config, facts)
    for start in task.starts:
        begin_with(model, start)
        if start.is_whole and not allow_chance:
            _check_knowledge(model, config, facts, task.access, start.path)


def _check_stacking(config: ImageConfig, facts: ImageFacts) -> None:
    """Refuse a network that cannot be trained in a stack."""
    from sics_cli.tasks.images.datasets import outputs_of
    from sics_cli.tasks.networks.models import build_model
    from sics_cli.tasks.networks.stacks import refuse_unstackable

    shape, classes = facts.shape[1:], outputs_of(config.data, facts)
    refuse_unstackable(lambda seed: build_model(config.model, seed), config.training, shape, classes)


def _check_shapes(model: nn.Module, config: ImageConfig, facts: ImageFacts) -> None:
    """Refuse a network that does not take the images, or has another number of outputs than there are classes."""
    import torch

    from sics_cli.tasks.images.datasets import outputs_of
    from sics_cli.tasks.networks.models import GIVE_CLASSES

    called, shape = f"model.name = {config.model.name!r}", facts.shape[1:]
    try:
        with torch.no_grad():
            outputs = model(torch.zeros(2, *shape)).shape[1]
    except SicsError:
        raise
    except Exception as error:  # whatever a network raises on images that it is not made for
        reason = str(error).split("\n")[0]
        raise ConfigError(f"{called} does not take images of {'×'.join(map(str, shape))}: {reason}") from None
    if outputs != (wanted := outputs_of(config.data, facts)):
        there = "names in --classes" if config.data.classes else f"classes of {key_name(config.data.name)}"
        raise ConfigError(f"{called} has {outputs} outputs for {wanted} {there}: {GIVE_CLASSES}")


def _check_knowledge(model: nn.Module, config: ImageConfig, facts: ImageFacts, access: DataAccess, path: Path) -> None:
    """Refuse a network that was trained already and tells these images apart no better than by chance."""
    import torch

    from sics_cli.tasks.images.datasets import first_of_training
    from sics_cli.tasks.images.examples import Examples

    data, known = config.data, Examples(first_of_training(config.data, facts, access, _CHECKED))
    correct, n = 0, len(known)
    with torch.no_grad():
        for index in torch.arange(n).split(_CHECKED // 4):
            images, labels = known.at(index)
            correct += int((model(images).argmax(dim=1) == labels).sum())
    if no_better_than_chance(correct, n, len(facts.classes)):
        order = "by --classes" if data.classes else "by name"
        raise MismatchError(
            f"--checkpoint {path}: gets {correct} of {n} training images right, no better than chance: are "
            f"--standardise ({data.standardise or 'data'}), the size {'×'.join(map(str, facts.shape[1:]))} and the order of the "
            f"classes ({order}; --classes FILE) those it was trained with? --allow-chance goes on all the same"
        )


def fetch_weights(model: ModelConfig) -> None:
    """Job: have timm's published weights in the cache."""
    from sics_cli.tasks.networks.start import fetch_pretrained

    fetch_pretrained(model)


@dataclass(frozen=True, slots=True)
class ImageCheck:
    """What a worker checks of an image task before a run."""

    task: ImageRecipe
    unit: str
    allow_chance: bool = False

    def __call__(self) -> None:
        """Refuse what would fail later."""
        check_unit(self.task.config, self.unit)
        check_network(self.task, self.allow_chance)
