"""sics_cli: experiments of your own in Python (`Task`, `Metric`, `replicate`, `Run`), and the `sics-run` command line."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sics_cli.api import Run as Run
    from sics_cli.api import replicate as replicate
    from sics_cli.tasks.task import Metric as Metric
    from sics_cli.tasks.task import Task as Task
    from sics_cli.tasks.training import Trainer as Trainer

_HOME = {"Run": "api", "replicate": "api", "Metric": "tasks.task", "Task": "tasks.task", "Trainer": "tasks.training"}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """Load a name when it is first asked for: `sics-run --help` needs none of them."""
    if name not in _HOME:
        raise AttributeError(f"module 'sics_cli' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"sics_cli.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
