"""Names that load on first use, so that importing a package costs nothing."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def attach(package: str, home: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose names live in these of its modules."""
    module_of = {name: module for module, names in home.items() for name in names}

    def load(name: str) -> object:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *module_of}), sorted(module_of)
