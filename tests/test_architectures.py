"""The table of architectures: the page has a row for each, cheap ones are measured again, and a fault is a `no`."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8")
ROWS = {cells[0]: cells for line in PAGE.splitlines() if line.startswith("| ") and len(cells := line[2:-2].split(" | ")) > 8}


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """bench/architectures.py, which is in no package."""
    before = list(sys.path)
    sys.path.insert(0, str(ROOT / "bench"))
    yield importlib.import_module("architectures")
    sys.path[:] = before


class Loop(nn.Module):
    """Reads its weights without calling their layers, where the code does not say whose they are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(2))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:2]:
            x = torch.relu(nn.functional.linear(x, layer.weight))
        return self.head(x)


def test_the_page_has_a_row_for_each(bench: ModuleType) -> None:
    header, *names = ROWS
    assert ROWS[header][3:-1] == list(bench.CHECKS)
    assert names == [architecture.name for architecture in bench.ARCHITECTURES]
    assert len(set(names)) >= 30


def test_the_count_and_the_footnotes_are_those_of_the_table() -> None:
    cells = [cell for name, row in ROWS.items() if name != "architecture" for cell in row[3:-1]]
    marks = [cell.split(" [")[0] for cell in cells]
    said = re.search(r"^(\d+) architectures, (\d+) cells: (\d+) yes, (\d+) no, (\d+) –", PAGE, re.M)
    assert said is not None
    found = (len(ROWS) - 1, len(cells), marks.count("yes"), marks.count("**no**"), marks.count("–"))
    assert tuple(map(int, said.groups())) == found
    assert sum(found[2:]) == found[1]
    notes = set(re.findall(r"^(\d+)\. \S", PAGE, re.M))
    assert {note for cell in cells for note in re.findall(r"\[(\d+)\]", cell)} == notes
    assert all("[" in cell for cell, mark in zip(cells, marks, strict=True) if mark != "yes")


@pytest.mark.parametrize("name", ["MLP", "GRU classifier", "Mistral, tied head", "GraphSAGE"])
def test_a_cheap_row_is_as_the_page_says(name: str, bench: ModuleType) -> None:
    architecture = next(a for a in bench.ARCHITECTURES if a.name == name)
    pytest.importorskip(architecture.library)
    row = bench.measure(architecture)
    assert row.share == ROWS[name][2]
    assert [row.cells[check].mark for check in bench.CHECKS] == [cell.split(" [")[0] for cell in ROWS[name][3:-1]]


def test_a_fault_is_a_no_with_its_reason(bench: ModuleType) -> None:
    """Masks on weights that a hook does not reach: right at first, and neither trained nor kept at zero afterwards."""
    loop = bench.Architecture("loop", "torch", Loop, lambda: bench.Inputs((torch.randn(3, 8),)))
    row = bench.measure(loop, ["torch's mask", "trains"])
    assert [(cell.mark, cell.note) for cell in row.cells.values()] == [
        ("yes", ""),
        ("**no**", "no gradient reaches layers.0.weight"),
    ]


def test_what_the_dense_model_cannot_do_is_no_fault(bench: ModuleType) -> None:
    class Opaque(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if float(x.sum()) > 0 else -x)

    build = lambda: Opaque(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))  # noqa: E731
    row = bench.measure(bench.Architecture("opaque", "torch", build, lambda: bench.Inputs((torch.ones(2, 8),))), ["export"])
    assert row.cells["export"].mark == "–"
    assert row.cells["export"].note.startswith("the dense model does not export: ")


def test_a_library_that_is_missing_is_a_row_that_says_so(bench: ModuleType) -> None:
    row = bench.measure(bench.Architecture("gone", "no_such_library", nn.Module, bench.Inputs))
    assert {(cell.mark, cell.note) for cell in row.cells.values()} == {("–", "no_such_library is not installed")}
