"""Scorers of the user's own: found by module, file or entry point, checked before training, and known by their sources."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sics_cli.base.errors import ConfigError

if TYPE_CHECKING:
    from sics_plugin import Scorer

#: Packages offer scorers under this group, as `name = module:Class`.
ENTRY_POINTS = "sics.scorers"
_INSTALLED = {"site-packages", "dist-packages"}


def is_own(spec: str) -> bool:
    """Whether a scorer is named by where it lies: MODULE:CLASS or FILE.py:CLASS."""
    return ":" in spec


def offered() -> dict[str, str]:
    """Scorers that installed packages offer, name → MODULE:CLASS; none of them is imported."""
    return {point.name: point.value.split("[")[0].replace(" ", "") for point in entry_points(group=ENTRY_POINTS)}


def expanded(specs: Sequence[str]) -> list[str]:
    """The same scorers, those of entry points as MODULE:CLASS and files by their whole path: workers may stand elsewhere.

    >>> expanded(["chaos", "my_module:Mine"])
    ['chaos', 'my_module:Mine']
    """
    points = offered()
    found = []
    for spec in specs:
        spec = points.get(spec, spec)
        place, _, name = spec.rpartition(":")
        found.append(f"{Path(place).expanduser().absolute()}:{name}" if _is_file(place) else spec)
    return found


def own_class(spec: str) -> type[Scorer]:
    """Import the class of MODULE:CLASS or FILE.py:CLASS; refuse what cannot be imported, or is no registered scorer."""
    import sics_plugin

    place, _, name = spec.rpartition(":")
    try:
        module = _file_module(Path(place)) if _is_file(place) else _named_module(place)
        found = getattr(module, name)
    except Exception as error:  # the user's module may raise anything
        raise ConfigError(f"--scorers {spec}: cannot be imported ({error})") from None
    if not (inspect.isclass(found) and issubclass(found, sics_plugin.Scorer)):
        raise ConfigError(f"--scorers {spec}: is not a subclass of sics_plugin.Scorer")
    registered = isinstance(getattr(found, "name", None), str) and found.name in sics_plugin.list_scorers()
    if not registered or sics_plugin.get_scorer(found.name) is not found:
        raise ConfigError(f"--scorers {spec}: decorate the class with @sics_plugin.register_scorer, under a new name")
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
    """What of the user's files a class is made of, for its key: the hash of its own, and of each it imports from around it.

    Around it: the package it is in, and what lies beside that or beside its own file, unless that is where packages are
    installed. Imports are read from the source, those inside functions too. Other files that it reads belong into its
    `fingerprint()`.
    """
    module = sys.modules[cls.__module__]
    source = inspect.getsource(module)
    facts: dict[str, object] = {"source_sha256": hashlib.sha256(source.encode()).hexdigest()}
    path = Path(inspect.getfile(module)).absolute()
    above = module.__name__.count(".") + (path.name == "__init__.py")  # folders from the file up to where its package lies
    root = path.parents[min(above, len(path.parents) - 1)]
    helpers = sorted(_reached(path, root) - {path})
    if helpers:
        facts["helpers_sha256"] = {
            one.relative_to(root).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest() for one in helpers
        }
    return facts


def _is_file(place: str) -> bool:
    return place.endswith(".py")


def _named_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    return importlib.import_module(name)


def _file_module(path: Path) -> ModuleType:
    """Import a file under a name of its own, so that it may be called as any module is; what lies beside it can be imported."""
    path = path.expanduser().absolute()
    stem = "".join(letter if letter.isalnum() else "_" for letter in path.stem)
    name = f"sics_scorers_in_{stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _reached(path: Path, root: Path) -> set[Path]:
    """The file, and those below `root` that it imports, directly or through others."""
    found, waiting = {path}, [path]
    while waiting:
        one = waiting.pop()
        new = set(_imports(one, root)) - found
        found |= new
        waiting += sorted(new)
    return found


def _imports(path: Path, root: Path) -> Iterator[Path]:
    """The files below `root` that one file names in its imports."""
    try:
        tree = ast.parse(path.read_bytes())
        own = list(path.relative_to(root).with_suffix("").parts)
    except (SyntaxError, ValueError, OSError):
        return
    package = own[:-1]
    yield from _files_of(package, root)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names: Iterable[list[str]] = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - (node.level - 1)] if node.level else []
            base = [*start, *(node.module or "").split(".")] if node.module else start
            names = [base, *([*base, alias.name] for alias in node.names)]
        else:
            continue
        for parts in names:
            if _INSTALLED & set(root.parts) and parts[:1] != own[:1]:
                continue  # a neighbour there is another distribution
            yield from _files_of(parts, root)


def _files_of(parts: Sequence[str], root: Path) -> Iterator[Path]:
    """A module's file, and the `__init__.py` of the packages it is in."""
    for end in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:end])
        for candidate in (place / "__init__.py", place.with_suffix(".py")):
            if candidate.is_file():
                yield candidate
                break
