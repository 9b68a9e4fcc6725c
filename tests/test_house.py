"""The house stays as docs/architecture.md shows it; `make lint` holds which room may import which."""

import ast
import configparser
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("sics_plugin", "analysis", "cli", "data")
#: Modules of one folder, `__init__` not counted.
MOST = 12
FOLDERS = sorted({path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")})
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def purpose(folder: Path) -> str:
    """The first line of what its `__init__` says."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    assert text, f"{short(folder)}/__init__.py says nothing"
    return text.splitlines()[0]


@pytest.mark.parametrize("folder", FOLDERS, ids=short)
def test_a_folder_is_small_and_says_what_it_is_for(folder: Path) -> None:
    assert len(modules(folder)) <= MOST
    assert purpose(folder).endswith(".")


def test_the_page_shows_the_folders_as_they_are() -> None:
    shown = dict(re.findall(r"^\| `([\w/]+)/` \| (.+) \|$", PAGE, re.M))
    assert shown == {short(folder): purpose(folder) for folder in FOLDERS}


def test_what_the_drawings_name_is_there() -> None:
    """Each station of the roads is a function or class in a file."""
    stations = re.findall(r"^\W*(\w+/[\w/]+\.py) +([\w.]+)", PAGE, re.M)
    assert len(stations) > 15
    for file, name in stations:
        defined = {
            node.name: node
            for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert name.split(".")[-1] in defined, f"{file} has no {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_two_public_classes_of_a_package_share_a_name(package: str) -> None:
    names = Counter(
        node.name
        for path in (ROOT / package).rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, times in names.items() if times > 1]


def test_tests_mirror_the_packages() -> None:
    """A folder of tests is a folder of code, and what is in no folder is about several."""
    mirrored = {"plugin": "sics_plugin", "analysis": "analysis", "cli": "cli"}
    for tests, package in mirrored.items():
        for folder in {path.parent for path in (ROOT / "tests" / tests).rglob("test_*.py")}:
            inside = folder.relative_to(ROOT / "tests" / tests)
            assert (ROOT / package / inside).is_dir(), f"{short(folder)} mirrors nothing"


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; the folder's name is not the package's"
            found.add(str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize("folder", PACKAGES)
def test_every_import_is_a_declared_dependency_or_the_standard_library(folder: str) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].split("\n")
    extras = "\n".join(config["options.extras_require"].values()).split("\n")
    distributions = {line.split(">")[0].split("=")[0].strip() for line in [*lines, *extras] if line and not line.startswith("#")}
    known = {"scikit-learn": "sklearn", "pillow": "PIL"}
    allowed = {known.get(name, name) for name in distributions} | set(sys.stdlib_module_names)
    allowed |= {"sics_plugin", "sics_analysis", "sics_cli", "sics_data", "_typeshed"}  # the last is for type checkers
    for module in sorted((ROOT / folder).rglob("*.py")):
        assert imported(module) <= allowed, (module, imported(module) - allowed)
