"""A class that was typed into a notebook is known by its source and by what it names around it."""

import linecache
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from sics_cli.base.user_code import typed_source

CELLS = """\
import math
from collections import namedtuple
Pair = namedtuple("Pair", "x y")
WIDTH = 8
OTHER = 1

def depth():
    return WIDTH

def unused():
    return 0

class Layer:
    def size(self):
        return depth()

class Digits:
    @staticmethod
    def network(seed):
        return Layer(), Pair(1, 2), math.pi
"""


@pytest.fixture
def typed() -> Iterator[Callable[[str], type]]:
    """Run cells as a kernel does: in a module without a file, the lines kept under a name of their own."""
    count = 0

    def type_in(cells: str) -> type:
        nonlocal count
        module, count = ModuleType("typed_here"), count + 1
        sys.modules["typed_here"] = module
        name = f"/tmp/ipykernel_0/{count}.py"
        linecache.cache[name] = (len(cells), None, cells.splitlines(True), name)
        exec(compile(cells, name, "exec"), module.__dict__)
        return module.Digits  # type: ignore[no-any-return]

    yield type_in
    sys.modules.pop("typed_here", None)
    for name in [name for name in linecache.cache if name.startswith("/tmp/ipykernel_0/")]:
        del linecache.cache[name]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("", "", True),
        ("Layer(),", "Layer(), 1,", False),  # the class
        ("return depth()", "return 2 * depth()", False),  # a class that it names
        ("return WIDTH", "return WIDTH + 1", False),  # a function that that one names
        ("WIDTH = 8", "WIDTH = 9", False),  # a number that the function names
        ("OTHER = 1", "OTHER = 2", True),
        ("return 0", "return 1", True),
        ("import math\n", "import math\n\n\n", True),  # moved down
    ],
)
def test_what_a_class_is_made_of_is_in_its_source(typed: Callable[[str], type], old: str, new: str, same: bool) -> None:
    first = typed_source(typed(CELLS))
    assert (typed_source(typed(CELLS.replace(old, new, 1) if old else CELLS)) == first) is same


def test_the_last_cell_of_a_name_counts(typed: Callable[[str], type]) -> None:
    twice = CELLS + "\n" + CELLS[CELLS.index("class Digits") :].replace("math.pi", "math.e")
    assert "math.e" in typed_source(typed(twice))
    assert "math.pi" not in typed_source(typed(twice))


def test_a_class_whose_lines_nobody_kept_has_none(typed: Callable[[str], type]) -> None:
    made = typed(CELLS)
    linecache.cache.pop(made.network.__code__.co_filename)  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="Digits"):
        typed_source(made)
