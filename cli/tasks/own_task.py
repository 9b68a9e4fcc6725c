"""A task of the user's own: found, checked before anything is trained, and known by its sources and options."""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_cli.base import user_code
from sics_cli.base.errors import ConfigError
from sics_cli.base.hashing import canonical_json
from sics_cli.settings.config import OwnTask
from sics_cli.tasks.recipe import OWN, Pace, Passes, SeedStreams
from sics_cli.tasks.task import Metric

if TYPE_CHECKING:
    import torch

#: Methods by name, and what they are called with.
NEEDED = {"calibration": ("seed",), "evaluate": ("network", "seed")}
EITHER = {"network": ("seed",), "trainer": ("seed",)}
HELD_OUT = "held_out"
OPTIONAL = {"loss": ("network", "batch"), "targets": ("network",), HELD_OUT: ("network", "seed")}
#: What a seed's parts take beside each other where nothing is known; the first seed measures it.
_PASSES = Passes(training=60.0, calibration=6.0, evaluation=1.0, held_out=0.5)


@dataclass(frozen=True, slots=True)
class OwnFacts:
    """What only importing the class tells: its metric, how many epochs its `trainer` trains (1 for `network`), and whether it
    has held-out examples.
    """

    metric: dict[str, Any]
    epochs: int
    holds_out: bool = False


class OwnRecipe:
    """A task of the user's own as the driver has it; `facts` are what a worker told of it."""

    calibration: dict[str, Any] | None = None
    width = 1

    def __init__(self, config: OwnTask, facts: OwnFacts) -> None:
        self.config, self.facts = config, facts
        self.content: dict[str, Any] = {
            "task": {
                "name": short_name(config),
                "options": {name: list(value) if isinstance(value, tuple) else value for name, value in config.options},
                "metric": facts.metric,
                **code_of(config),
            }
        }

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker looks at the sources again: what was edited meanwhile makes another recipe.
        return OwnRecipe, (self.config, self.facts)

    @property
    def metric(self) -> Metric:
        """What is measured."""
        return metric_of(self.facts.metric)

    @property
    def holds_out(self) -> bool:
        """Whether it has `held_out(network, seed)`."""
        return self.facts.holds_out

    @property
    def epochs(self) -> int:
        """How many parts its training can be stopped between."""
        return self.facts.epochs

    def seed_content(self, seed: int) -> Mapping[str, Any]:
        """Nothing but the seed."""
        return {}

    def streams(self, seed: int) -> SeedStreams:
        """Nothing is known before the task is asked: the worker takes the digest of its batches."""
        return SeedStreams(OWN, None)

    @property
    def varies(self) -> tuple[str, ...]:
        """What another seed changes in the dense network."""
        return ("the dense network, as the task makes it",)

    @property
    def passes(self) -> Passes:
        """What a seed takes."""
        return _PASSES

    def pace(self, device_class: str, gpu: str | None = None, at_once: int = 1) -> Pace | None:
        """Nothing can be guessed."""
        return None

    @property
    def memory(self) -> int | None:
        """Nor this."""
        return None

    @property
    def called(self) -> str:
        """Its name."""
        return short_name(self.config)

    @property
    def summary(self) -> str:
        """Its name and what it measures."""
        metric = self.metric
        better = "higher" if metric.higher_is_better else "lower"
        options = "".join(f", {name} = {value!r}" for name, value in self.config.options)
        unit = "" if metric.unit == metric.name else f" in {metric.unit}"
        return f"task {short_name(self.config)}{options}; {metric.name}{unit}, {better} is better"

    def open(self, device: torch.device) -> Any:
        """The task itself, in a worker."""
        task = opened(self.config)
        task.device = device
        return task


def metric_of(kept: Mapping[str, Any]) -> Metric:
    """A metric without its `of`, from what a store keeps of it."""
    return Metric(kept["name"], kept["unit"], kept["higher_is_better"], kept["delta"])


def short_name(config: OwnTask) -> str:
    """What stands for the task in keys and titles: a file that was moved holds the same task."""
    place, _, name = config.name.rpartition(":")
    return f"{Path(place).name}:{name}" if user_code.is_file(place) else config.name


def called(config: OwnTask) -> str:
    """How errors begin."""
    return f"--task {config.name}"


def code_of(config: OwnTask) -> dict[str, Any]:
    """What the task is made of, for its key."""
    return dict(config.code) if config.code else user_code.code_facts(config.name, called(config))


def opened(config: OwnTask) -> Any:
    """Make the task, and refuse one that lacks what it needs."""
    if config.pickled is not None:
        _reach(config)
        try:
            task = pickle.loads(config.pickled)
        except Exception as error:
            raise ConfigError(f"{called(config)}: cannot be opened in a worker ({type(error).__name__}: {error})") from error
    else:
        made = user_code.imported(config.name, called(config))
        options = {name: list(value) if isinstance(value, tuple) else value for name, value in config.options}
        if not inspect.isclass(made):
            raise ConfigError(f"{called(config)}: is {type(made).__name__}, not a class")
        user_code.check_options(made, options, "task", called(config))
        user_code.check_types(made, options, "task", called(config))
        try:
            task = made(**options)
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            said = ", ".join(f"{name}={value!r}" for name, value in options.items())
            raise ConfigError(f"{called(config)}: made with ({said}) raises {user_code.told(error)}") from error
    check(task, called(config))
    return task


def _reach(config: OwnTask) -> None:
    """Let a worker import what lies beside the file of the class."""
    place = config.name.rpartition(":")[0]
    if user_code.is_file(place) and str(Path(place).parent) not in sys.path:
        sys.path.append(str(Path(place).parent))


def has_held_out(task: Any) -> bool:
    """Whether it evaluates on held-out examples; what else has that name is the task's own affair."""
    return callable(getattr(task, HELD_OUT, None))


def check(task: Any, what: str) -> None:
    """Refuse what is no task; `what` begins the line."""
    metric = getattr(task, "metric", None)
    if not isinstance(metric, Metric):
        given = "has no metric" if metric is None else f"metric is {type(metric).__name__}"
        raise ConfigError(f"{what}: {given}: give a sics_cli.Metric, such as metric = Metric('accuracy')")
    for name, arguments in {**NEEDED, **EITHER, **OPTIONAL}.items():
        if not hasattr(task, name) or (name == HELD_OUT and not has_held_out(task)):
            if name in NEEDED:
                raise ConfigError(f"{what}: has no method {name}({', '.join(arguments)})")
            continue
        method = getattr(task, name)
        if not callable(method):
            raise ConfigError(f"{what}: {name} is {type(method).__name__}, not a method {name}({', '.join(arguments)})")
        try:
            inspect.signature(method).bind(*arguments)
        except (TypeError, ValueError):
            raise ConfigError(f"{what}: {name}{inspect.signature(method)} is not called with ({', '.join(arguments)})") from None
    if not any(hasattr(task, name) for name in EITHER):
        raise ConfigError(f"{what}: has neither network(seed) nor trainer(seed), which make the dense network")
    if hasattr(task, "trainer"):
        epochs = getattr(task, "epochs", None)
        if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
            raise ConfigError(f"{what}: epochs is {epochs!r}: a task with a trainer says how many it trains, at least 1")


def methods_of(task: Any, config: OwnTask) -> str:
    """What a task is made of, in a line."""
    options = ", ".join(f"{name}={value!r}" for name, value in config.options)
    made_by = "trainer" if hasattr(task, "trainer") else "network"  # of both, the trainer is asked
    there = [name for name in (*NEEDED, *OPTIONAL) if hasattr(task, name) and (name != HELD_OUT or has_held_out(task))]
    methods = [made_by, *there]
    left = [name for name in OPTIONAL if name != HELD_OUT and not hasattr(task, name)]
    default = f"; {' and '.join(left)} {'is' if len(left) == 1 else 'are'} the default" if left else ""
    return f"{type(task).__name__}({options}) has {', '.join(methods)}{default}"


def facts_of(config: OwnTask) -> OwnFacts:
    """Import the class and ask it."""
    task = opened(config)
    return OwnFacts(task.metric.to_dict(), task.epochs if hasattr(task, "trainer") else 1, has_held_out(task))


@dataclass(frozen=True, slots=True)
class OwnCheck:
    """What a worker checks of a task before a run, beside what opening it does."""

    config: OwnTask
    unit: str

    def __call__(self) -> None:
        """Refuse what would fail later."""
        if self.unit != "weight" and hasattr(opened(self.config), "targets"):
            raise ConfigError(f"--unit {self.unit}: targets() of {short_name(self.config)} names weights: give --unit weight")


def from_instance(task: Any) -> OwnTask:
    """The task that Python handed over, as it travels to workers: known by its file and the options it was made with."""
    import cloudpickle

    cls = type(task)
    what = f"replicate({cls.__name__})"
    check(task, what)
    module = sys.modules.get(cls.__module__)
    path = getattr(module, "__file__", None)
    code: tuple[tuple[str, str], ...] = ()
    if path is None or not Path(path).is_file():  # a notebook, or a prompt
        try:
            source = user_code.typed_source(cls)
        except OSError:
            raise ConfigError(f"{what}: the source of the class cannot be found: write it into a file") from None
        name, code = f"notebook:{cls.__qualname__}", (("source_sha256", user_code.text_hash(source)),)
    elif cls.__module__ == "__main__" or "." not in cls.__module__:
        name = f"{Path(path).absolute()}:{cls.__qualname__}"
    else:
        name = f"{cls.__module__}:{cls.__qualname__}"
    try:
        if module is not None and path is not None and not user_code.is_installed(Path(path)) and cls.__module__ != "__main__":
            cloudpickle.register_pickle_by_value(module)
        pickled = cloudpickle.dumps(task)
    except Exception as error:
        culprit = _unpicklable(task)
        raise ConfigError(f"{what}: cannot be sent to workers{culprit} ({user_code.told(error)})") from None
    return OwnTask(name, options_of(task, what), pickled, code)


def _unpicklable(task: Any) -> str:
    import cloudpickle

    for name, value in vars(task).items():
        try:
            cloudpickle.dumps(value)
        except Exception:
            return f": its attribute {name}, {type(value).__name__}, cannot be pickled: make it inside the method that uses it"
    return ""


def options_of(task: Any, what: str) -> tuple[tuple[str, Any], ...]:
    """What the constructor was given: each argument is kept under its own name, or cannot be in the key."""
    options = {}
    parameters = inspect.signature(type(task)).parameters.values()
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not hasattr(task, parameter.name):
            raise ConfigError(
                f"{what}: its argument {parameter.name} is not kept as an attribute of that name, so that no key could tell two "
                "values of it apart: keep it"
            )
        value = getattr(task, parameter.name)
        value = str(value) if isinstance(value, Path) else value
        value = tuple(value) if isinstance(value, list) else value
        try:
            canonical_json(value)
        except (TypeError, ValueError):
            raise ConfigError(
                f"{what}: its argument {parameter.name} is {type(value).__name__}: give a number, a string, a boolean or a "
                "list of them, of which a key can be made"
            ) from None
        if parameter.default is parameter.empty or value != parameter.default:
            options[parameter.name] = value
    return tuple(options.items())
