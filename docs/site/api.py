"""The Python API: the public names of each package, a page for each room that they are written in."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections import defaultdict
from pathlib import Path

#: Packages with a public face.
PACKAGES = (
    "sics_plugin",
    "sics_plugin.complexity",
    "sics_analysis",
    "sics_analysis.claims",
    "sics_analysis.report",
    "sics_cli",
    "sics_data",
)


def face(package: str) -> dict[str, str]:
    """The public names of a package, each with the module that it is written in: what its ``__init__`` imports and defines."""
    module = importlib.import_module(package)
    found: dict[str, str] = {}
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{package}."):
            for alias in node.names:
                if alias.name == "*":
                    found |= dict.fromkeys(importlib.import_module(str(node.module)).__all__, str(node.module))
                elif alias.asname == alias.name or alias.name in getattr(module, "__all__", ()):
                    found[alias.name] = str(node.module)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[node.name] = package
    return dict(sorted(found.items()))


def room(package: str, home: str) -> str:
    """The page of a name that is written in the module `home`: a room of `sics_plugin` or `sics_analysis`, else the package."""
    if package in ("sics_plugin", "sics_analysis") and home != package:
        return ".".join(home.split(".")[:2])
    return package


def rooms() -> dict[str, list[tuple[str, str]]]:
    """For each page the (package, name) of what stands on it; a name stands on one page."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for package in PACKAGES:
        for name, home in face(package).items():
            found[room(package, home)].append((package, name))
    return dict(found)


def purpose(home: str) -> str:
    """The first line of what a room says of itself."""
    return (inspect.getdoc(importlib.import_module(home)) or "").splitlines()[0]


def page(home: str, names: list[tuple[str, str]]) -> str:
    """One room: what it is for, a table of its names, and each in full."""
    said = purpose(home)
    full = [f"{package}.{name}" for package, name in names]
    listed = "\n".join(f"   ~{name}" for name in full)
    parts = [home, "=" * len(home), "", said, "", ".. autosummary::", "   :nosignatures:", "", listed, ""]
    for (package, name), path in zip(names, full, strict=True):
        thing = getattr(importlib.import_module(package), name)
        kind = "class" if inspect.isclass(thing) else "function" if callable(thing) else "data"
        parts += [f".. auto{kind}:: {path}", *(["   :members:"] if kind == "class" else []), ""]
    return "\n".join(parts)


def write(folder: Path) -> list[str]:
    """Write all pages and their list into `folder`; the names of the rooms come back."""
    folder.mkdir(parents=True, exist_ok=True)
    found = rooms()
    places = [package for package in PACKAGES if "." not in package]
    homes = sorted(found, key=lambda home: (places.index(home.split(".")[0]), home))
    for home in homes:
        (folder / f"{home}.rst").write_text(page(home, found[home]), encoding="utf-8")
    rows = "\n".join(f"   * - :doc:`{home}`\n     - {purpose(home)}\n     - {len(found[home])}" for home in homes)
    menu = "\n".join(f"   {home}" for home in homes)
    said = "Every public name, a page a room: import it from the package, as in ``from sics_plugin import prune_model``."
    table = f".. list-table::\n   :header-rows: 1\n\n   * - room\n     - what it is for\n     - names\n{rows}\n"
    whole = f"Python API\n==========\n\n{said}\n\n{table}\n.. toctree::\n   :hidden:\n\n{menu}\n"
    (folder / "index.rst").write_text(whole, encoding="utf-8")
    return homes
