"""Every example in every docstring runs."""

import doctest
import importlib
import pkgutil

import pytest
import torch

PACKAGES = ("sics_plugin", "sics_analysis", "sics_cli", "sics_data")


def modules() -> list[str]:
    found = []
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        found += [package, *(m.name for m in pkgutil.walk_packages(path, f"{package}."))]
    return [name for name in found if not name.endswith("__main__")]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name: str) -> None:
    # Public classes say that they live in the package, whose namespace is short: what every user has imported is given.
    usual = {"torch": torch, "nn": torch.nn} if name == "sics_plugin" else None
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE, extraglobs=usual)
    assert result.failed == 0
