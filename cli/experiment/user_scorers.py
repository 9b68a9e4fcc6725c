"""Scorers of the user's own: found by module, file or entry point, checked before training, and known by their sources."""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from sics_cli.base import user_code
from sics_cli.base.errors import ConfigError
from sics_cli.experiment.searched import ADAPTIVE, FUSION, reads_as_searched
from sics_cli.experiment.trials import TRIALS

if TYPE_CHECKING:
    from sics_plugin import Scorer

#: Packages offer scorers under this group, as `name = module:Class`.
ENTRY_POINTS = "sics.scorers"
#: Ends NAME/POOL with a pool N:M, which is no class either.
_PATTERN = re.compile(r"/\d+:\d+$")


def is_own(spec: str) -> bool:
    """Whether a scorer is named by where it lies: MODULE:CLASS or FILE.py:CLASS.

    >>> is_own("mine.py:Mine"), is_own("magnitude"), is_own("magnitude/2:4")
    (True, False, False)
    """
    return ":" in spec and not _PATTERN.search(spec)


def offered() -> dict[str, str]:
    """Scorers that installed packages offer, name → MODULE:CLASS; none of them is imported."""
    return {point.name: point.value.split("[")[0].replace(" ", "") for point in entry_points(group=ENTRY_POINTS)}


def expanded(specs: Sequence[str]) -> list[str]:
    """The same scorers, those of entry points as MODULE:CLASS and files by their whole path: workers may stand elsewhere.

    >>> expanded(["chaos", "my_module:Mine"])
    ['chaos', 'my_module:Mine']
    """
    points = offered()
    return [user_code.absolute(points.get(spec, spec)) for spec in specs]


def own_class(spec: str) -> type[Scorer]:
    """Import the class of MODULE:CLASS or FILE.py:CLASS; refuse what cannot be imported, or is no registered scorer."""
    import sics_plugin

    found = user_code.imported(spec, f"--scorers {spec}")
    if not (inspect.isclass(found) and issubclass(found, sics_plugin.Scorer)):
        raise ConfigError(f"--scorers {spec}: is not a subclass of sics_plugin.Scorer")
    registered = isinstance(getattr(found, "name", None), str) and found.name in sics_plugin.list_scorers()
    if not registered or sics_plugin.get_scorer(found.name) is not found:
        raise ConfigError(f"--scorers {spec}: decorate the class with @sics_plugin.register_scorer, under a new name")
    # Rows go by name: one would stand for the other's.
    if reads_as_searched(found.name) or found.name == TRIALS or "/" in found.name:
        raise ConfigError(
            f"--scorers {spec}: the name {found.name!r} is not accepted: {FUSION}_SET_N, {ADAPTIVE}_SET_N and {TRIALS} are "
            "scorers of a run, those with a / are NAME/POOL. Give another"
        )
    return found


def check_own(spec: str, saliency: str) -> tuple[str, ...]:
    """Refuse a scorer that breaks the plugin's contract; give remarks on one that keeps it."""
    from sics_plugin import ContractError, check_scorer

    cls = own_class(spec)
    kind = cls.requires if cls.role == "peer" else saliency  # a peer brings its own, whatever the run's is
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the remarks are given back
        try:
            return check_scorer(cls, saliency_kind=None if kind == "neighbourhood" else kind)
        except ContractError as error:
            raise ConfigError(f"--scorers {spec}: {error}") from None


def source_facts(cls: type[Scorer]) -> dict[str, object]:
    """What of the user's files a class is made of, for its key; other files that it reads belong into its `fingerprint()`."""
    module = sys.modules[cls.__module__]
    return user_code.source_facts(Path(inspect.getfile(module)).absolute(), module.__name__)
