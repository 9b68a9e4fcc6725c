"""Code of the user's own, named as MODULE:NAME or FILE.py:NAME: imported, and known by its sources."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import linecache
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from sics_cli.base.errors import ConfigError, did_you_mean, near_file
from sics_cli.base.versions import NOT_INSTALLED, full_version

_INSTALLED = {"site-packages", "dist-packages"}
_OWN_CODE = Path(__file__).resolve().parents[1]
_FRAME = re.compile(r'  File "(.+?)", line \d+')
#: Modules whose frames say nothing of where a user's code went wrong: this project's, and those that it runs users' code in.
_ENGINE = ("sics_cli", "sics_plugin", "torch")


def absolute(spec: str) -> str:
    """The same, a file by its whole path: a worker may stand elsewhere.

    >>> absolute("/here/mine.py:build"), absolute("my_module:Mine")
    ('/here/mine.py:build', 'my_module:Mine')
    """
    place, _, name = spec.rpartition(":")
    return f"{Path(place).expanduser().absolute()}:{name}" if is_file(place) else spec


def is_file(place: str) -> bool:
    """Whether code lies in a file, and not in a module."""
    return place.endswith(".py")


def imported(spec: str, what: str) -> Any:
    """Import what MODULE:NAME or FILE.py:NAME names; `what` begins the line that says why that cannot be."""
    place, _, name = spec.rpartition(":")
    try:
        module = _file_module(Path(place)) if is_file(place) else _named_module(place)
        there = hasattr(module, name)
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        said = " ".join(str(error).split()) or type(error).__name__
        where = f": {type(error).__name__} in {place_of(error)}" if is_raised_by(error) else ""
        raise ConfigError(f"{what}: cannot be imported ({said}){where}") from None
    if not there:
        near = did_you_mean(name, vars(module))
        raise ConfigError(f"{what}: cannot be imported (module {Path(place).name} has no attribute {name!r}{near})")
    return getattr(module, name)


def check_options(made: Callable[..., Any], options: Collection[str], table: str, what: str) -> None:
    """Refuse options that a class or function has no argument for, and the lack of one that it needs.

    `table` is where a file of settings holds them; `what` begins the line.

    >>> def build(width, depth=2): ...
    >>> check_options(build, ["width"], "model", "build")
    >>> check_options(build, ["wdith", "width"], "model", "build")
    Traceback (most recent call last):
    sics_cli.base.errors.ConfigError: build: unknown option model.wdith (did you mean width?): build takes width, depth
    """
    try:
        parameters = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):  # of a class in C
        return
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    accepted = [one.name for one in named]
    takes = f"{getattr(made, '__name__', 'it')} takes {', '.join(accepted) or 'none'}"
    unknown = [] if any(one.kind is one.VAR_KEYWORD for one in parameters) else [one for one in options if one not in accepted]
    if unknown:
        named_so = ", ".join(f"{table}.{one}{did_you_mean(one, accepted)}" for one in unknown)
        raise ConfigError(f"{what}: unknown option {named_so}: {takes}")
    missing = [f"{table}.{one.name}" for one in named if one.default is one.empty and one.name not in options]
    if missing:
        raise ConfigError(f"{what}: needs {', '.join(missing)} of the table [{table}] of --config FILE.toml: {takes}")


#: What an annotation stands for, and what an option of that type may be.
_TYPES = {
    bool: (bool, "true or false"), int: (int, "a whole number"), float: (int | float, "a number"), str: (str, "a string"),
}  # fmt: skip


def check_types(made: Callable[..., Any], options: Mapping[str, Any], table: str, what: str) -> None:
    """Refuse an option of another type than its argument is annotated with, where that is a plain one.

    >>> def build(width: int, rate: float = 0.1, size=None): ...
    >>> check_types(build, {"width": 3, "rate": 1, "size": "any"}, "model", "build")
    >>> check_types(build, {"width": "3"}, "model", "build")
    Traceback (most recent call last):
    sics_cli.base.errors.ConfigError: build: model.width = '3' is not accepted: give a whole number
    """
    for name, parameter in inspect.signature(made).parameters.items():
        for kind, (accepted, words) in _TYPES.items():
            # A string is what it is under `from __future__ import annotations`.
            if name not in options or (parameter.annotation is not kind and parameter.annotation != kind.__name__):
                continue
            value = options[name]
            if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):
                raise ConfigError(f"{what}: {table}.{name} = {value!r} is not accepted: give {words}")


def told(error: BaseException) -> str:
    """An error of the user's code in one line: its type, what it says, and the file and line it came from.

    >>> told(ValueError("no such file"))
    'ValueError: no such file'
    """
    said = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(": ")
    return f"{said} ({place_of(error)})" if is_raised_by(error) else said


def place_of(error: BaseException) -> str:
    """The file and line of the user's own code that an error came out of, innermost; "" where there is none."""
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if is_theirs(frame.filename)]
    return f"{Path(theirs[-1].filename).name}, line {theirs[-1].lineno}" if theirs else ""


def is_theirs(file: str) -> bool:
    """Whether a frame's file is the user's own: not installed, no part of Python or of this project."""
    path = Path(file).resolve()
    made = file.startswith("<frozen") or file == "<string>"  # of Python itself, and what it writes for a dataclass
    return not (made or is_installed(path) or any(path.is_relative_to(place) for place in _not_theirs()))


def trimmed(trace: str) -> str:
    """A traceback without the frames that are not the user's own; "" where there are none of theirs.

    Of a task that is an installed package, the frames that are neither the engine's nor torch's.

    >>> print(trimmed('''Traceback (most recent call last):
    ...   File "<frozen importlib._bootstrap>", line 1, in f
    ...   File "/home/me/mine.py", line 7, in evaluate
    ...     return 1 / 0
    ... ZeroDivisionError: division by zero
    ... '''), end="")
    Traceback (most recent call last):
      File "/home/me/mine.py", line 7, in evaluate
        return 1 / 0
    ZeroDivisionError: division by zero
    """
    return _frames_of(trace, is_theirs) or _frames_of(trace, _is_installed_code)


def _frames_of(trace: str, wanted: Callable[[str], bool]) -> str:
    """The lines of a traceback but those of frames that are not wanted; "" if none is."""
    kept: list[str] = []
    found, skipping = False, False
    for line in trace.splitlines(keepends=True):
        if frame := _FRAME.match(line):
            skipping = not wanted(frame[1])
            found |= not skipping
        elif not line.startswith("  "):
            skipping = False
        if not skipping:
            kept.append(line)
    return "".join(kept) if found else ""


def _is_installed_code(file: str) -> bool:
    parts = Path(file).resolve().parts
    below = next((parts[place + 1] for place, part in enumerate(parts[:-1]) if part in _INSTALLED), None)
    return below is not None and below not in _ENGINE


@functools.cache
def _not_theirs() -> tuple[Path, ...]:
    """Where Python's own modules lie, and this project's."""
    plugin = importlib.util.find_spec("sics_plugin")
    ours = [] if plugin is None or plugin.origin is None else [Path(plugin.origin).resolve().parent]
    return (_OWN_CODE, *ours, Path(sysconfig.get_path("stdlib")).resolve())


def is_raised_by(error: BaseException) -> bool:
    """Whether an error came out of the user's own code, or of what that called."""
    return bool(place_of(error))


def text_hash(source: str) -> str:
    """What stands for a source in keys."""
    return hashlib.sha256(source.encode()).hexdigest()


def code_facts(spec: str, what: str) -> dict[str, Any]:
    """The code that MODULE:NAME or FILE.py:NAME stands for, for a key: an installed package's version, else hashes of files."""
    path, (place, _, _) = source_file(spec, what), spec.rpartition(":")
    if is_installed(path):
        top = place.split(".")[0]
        distribution = importlib.metadata.packages_distributions().get(top, [top])[0]
        if (version := full_version(distribution)) != NOT_INSTALLED:
            return {distribution: version}
    return source_facts(path, "" if is_file(place) else place)


def source_file(spec: str, what: str) -> Path:
    """The file that MODULE:NAME or FILE.py:NAME is in, found without importing it."""
    place, _, _ = spec.rpartition(":")
    if is_file(place):
        path = Path(place).expanduser().absolute()
        if not path.is_file():
            raise ConfigError(f"{what}: there is no file {path}{near_file(path)}")
        return path
    _look_here()
    first, *rest = place.split(".")
    try:
        found = importlib.util.find_spec(first) if first else None
        for end, _ in enumerate(rest, start=2):
            inside = None if found is None else found.submodule_search_locations
            found = None if inside is None else PathFinder.find_spec(".".join(place.split(".")[:end]), inside)
    except (ImportError, ValueError):
        found = None
    if found is None or not found.has_location or found.origin is None:
        raise ConfigError(f"{what}: there is no module {place!r} here with a file of Python")
    return Path(found.origin).absolute()


def is_installed(path: Path) -> bool:
    """Whether a file belongs to an installed distribution, which a version stands for."""
    return bool(_INSTALLED & set(path.parts))


def source_facts(path: Path, module: str) -> dict[str, object]:
    """What of the user's files a module is made of, for a key: the hash of its own, and of each it imports from around it.

    `module` is its dotted name, "" for a file by itself. Around it: the package it is in, and what lies beside that or beside
    its own file, unless that is where packages are installed. Imports are read from the source, those inside functions too; no
    other file that it reads is known.
    """
    linecache.checkcache(str(path))
    source = "".join(linecache.getlines(str(path)))
    facts: dict[str, object] = {"source_sha256": text_hash(source)}
    above = module.count(".") + (path.name == "__init__.py")  # folders from the file up to where its package lies
    root = path.parents[min(above, len(path.parents) - 1)]
    helpers = sorted(_reached(path, root) - {path})
    if helpers:
        facts["helpers_sha256"] = {
            one.relative_to(root).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest() for one in helpers
        }
    return facts


def typed_source(made: type | FunctionType) -> str:
    """What was typed into a notebook or at a prompt to make a class, for a key: its source, and the functions, classes and plain
    values around it that it names, however far. An OSError says that nobody kept it.

    `inspect.getsource` finds no class there, but where a function was typed is known.
    """
    found, waiting = {made.__name__: _typed(made)}, [made]
    around = sys.modules[made.__module__].__dict__
    while waiting:
        for node in ast.walk(ast.parse(found[waiting.pop().__name__])):
            value = around.get(node.id) if isinstance(node, ast.Name) and node.id not in found else None
            if isinstance(value, type | FunctionType) and value.__module__ == made.__module__:
                with contextlib.suppress(OSError):  # of a namedtuple there is none
                    found[value.__name__] = _typed(value)
                    waiting.append(value)
            elif isinstance(node, ast.Name) and isinstance(value, bool | int | float | str | tuple):
                found[node.id] = repr(value)
    return "\n".join(f"{name} = {source}" for name, source in sorted(found.items()))


def _typed(made: type | FunctionType) -> str:
    """The lines of one definition, from those that hold its code."""
    inside = vars(made).values() if isinstance(made, type) else [made]
    for code in [one.__code__ for one in map(inspect.unwrap, inside) if isinstance(one, FunctionType)]:
        source = "".join(linecache.getlines(code.co_filename))
        for node in ast.walk(ast.parse(source)):
            named = isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == made.__name__
            if named and node.lineno <= code.co_firstlineno <= node.end_lineno:  # type: ignore[attr-defined]
                return ast.get_source_segment(source, node) or ""
    raise OSError(f"nobody kept the source of {made.__name__}")


def _look_here() -> None:
    """Modules beside the working directory can be imported, as under `python -m`."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def _named_module(name: str) -> ModuleType:
    _look_here()
    return importlib.import_module(name)


def _file_module(path: Path) -> ModuleType:
    """Import a file under a name of its own, so that it may be called as any module is; what lies beside it can be imported."""
    path = path.expanduser().absolute()
    stem = "".join(letter if letter.isalnum() else "_" for letter in path.stem)
    name = f"sics_code_in_{stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}{near_file(path)}")
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
            if is_installed(root) and parts[:1] != own[:1]:
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
