"""Every example in every docstring runs."""

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import pytest
import torch

PACKAGES = ("sics_plugin", "sics_analysis", "sics_cli", "sics_data")


def modules() -> list[str]:
    found = []
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        found += [package, *(m.name for m in pkgutil.walk_packages(path, f"{package}."))]
    return [name for name in found if not name.endswith("__main__")]


class Finder(doctest.DocTestFinder):
    """Finds the methods of public classes too, which say that they live in the package and are written elsewhere."""

    def _from_module(self, module: ModuleType, object: Any) -> bool:
        method = inspect.isfunction(object) and "." in object.__qualname__ and object.__module__.startswith("sics_plugin.")
        return super()._from_module(module, object) or (module.__name__ == "sics_plugin" and method)


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name: str) -> None:
    # Public classes say that they live in the package, whose namespace is short: what every user has imported is given.
    usual = {"torch": torch, "nn": torch.nn} if name == "sics_plugin" else None
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in Finder().find(module, module.__name__, extraglobs=usual):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
