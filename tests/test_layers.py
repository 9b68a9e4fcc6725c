"""Imports run one way: cli → analysis, cli → sics_plugin; those two do not know each other, and statistics know no torch."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "sics_plugin": {
        "sics_analysis",
        "sics_cli",
        "timm",
        "torchvision",
        "pandas",
        "scipy",
        "statsmodels",
        "sklearn",
        "click",
        "rich",
    },
    "analysis": {"sics_plugin", "sics_cli", "torch", "torchvision", "timm", "click", "sklearn"},
    "data": {"sics_plugin", "sics_cli", "sics_analysis", "torch"},
}


#: What only the renderers of reports may use.
RENDERING = {"rich", "jinja2", "markupsafe", "matplotlib"}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; the folder's name is not the package's"
            found.add(str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_no_import_against_the_arrows(folder: str) -> None:
    modules = sorted((ROOT / folder).rglob("*.py"))
    assert modules
    for module in modules:
        assert not imported(module) & FORBIDDEN[folder], module


def test_only_reports_are_drawn_and_laid_out() -> None:
    for module in sorted((ROOT / "analysis").rglob("*.py")):
        if "report" not in module.relative_to(ROOT).parts:
            assert not imported(module) & RENDERING, module


@pytest.mark.parametrize("folder", ["sics_plugin", "analysis", "cli", "data"])
def test_every_import_is_a_declared_dependency_or_the_standard_library(folder: str) -> None:
    import configparser
    import sys

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].split("\n")
    extras = "\n".join(config["options.extras_require"].values()).split("\n")
    distributions = {line.split(">")[0].split("=")[0].strip() for line in [*lines, *extras] if line and not line.startswith("#")}
    known = {"scikit-learn": "sklearn", "pillow": "PIL"}
    allowed = {known.get(name, name) for name in distributions} | set(sys.stdlib_module_names)
    allowed |= {"sics_plugin", "sics_analysis", "sics_cli", "sics_data"}
    for module in sorted((ROOT / folder).rglob("*.py")):
        assert imported(module) <= allowed, (module, imported(module) - allowed)
