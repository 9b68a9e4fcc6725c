"""The digest of batches: the same of what is equal, another of everything that differs, whatever batches are made of."""

import itertools
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from sics_cli.tasks.batches import Digested


@dataclass
class Graph:
    x: torch.Tensor
    edges: Any = None


class Opaque:
    def __init__(self, x: Any) -> None:
        self.x = x


class Encoded:
    __slots__ = ("ids",)

    def __init__(self, ids: Any) -> None:
        self.ids = ids

    def to_dict(self) -> dict[str, Any]:
        return {"ids": self.ids}


Pair = namedtuple("Pair", "x y")
ONES = torch.ones(2, 3)
#: Batches of which no two are the same.
DIFFERENT: list[Any] = [
    (ONES, torch.tensor([0, 1])),
    (ONES, torch.tensor([1, 0])),
    (ONES, torch.tensor([0, 1], dtype=torch.int32)),
    (ONES.double(), torch.tensor([0, 1])),
    (ONES.reshape(3, 2), torch.tensor([0, 1])),
    (ONES.reshape(-1), torch.tensor([0, 1])),
    (ONES.bfloat16(), torch.tensor([0, 1])),
    (ONES.numpy(), torch.tensor([0, 1])),
    (ONES, [0, 1]),
    (ONES, (0, 1)),
    (ONES, None),
    (ONES, 0),
    (ONES, False),
    (ONES, 0.0),
    (ONES, "0"),
    (ONES, b"0"),
    {"x": ONES},
    {"y": ONES},
    {"x": ONES, "y": None},
    Pair(ONES, None),
    (Graph(ONES), 0),
    (Graph(ONES, 1), 0),
    (Opaque(ONES), 0),
    (Opaque(2 * ONES), 0),
    (Encoded([1, 2]), 0),
    (Encoded([2, 1]), 0),
    ([ONES, ONES], 0),
    ([ONES], 0),
    (torch.empty(0, 3), 0),
    (torch.empty(3, 0), 0),
    (np.array(["a", "b"], dtype=object), 0),
    (np.array(["a", "c"], dtype=object), 0),
    ({"a", "b"}, 0),
]


def digest(batches: Any) -> str:
    passing = Digested(batches)
    assert not passing.whole
    assert len(list(passing)) > 0
    assert passing.whole
    return passing.digest


def test_what_differs_has_another_digest() -> None:
    digests = [digest([batch]) for batch in DIFFERENT]
    same = [(i, j) for (i, a), (j, b) in itertools.combinations(enumerate(digests), 2) if a == b]
    assert [(DIFFERENT[i], DIFFERENT[j]) for i, j in same] == []


@pytest.mark.parametrize("batch", DIFFERENT, ids=lambda batch: type(batch).__name__)
def test_the_same_again_has_the_same(batch: Any) -> None:
    assert digest([batch]) == digest(iter([batch]))


def test_where_and_how_a_tensor_lies_is_all_one() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    other = torch.arange(6.0).reshape(3, 2).t().contiguous().t().reshape(2, 3)
    assert digest([(x, 0)]) == digest([(x.t().contiguous().t(), 0)]) == digest([(x.clone().requires_grad_(), 0)])
    assert torch.equal(other, x)
    assert digest([(x.to_sparse(), 0)]) == digest([(x, 0)])
    assert digest([(other, 0)]) == digest([(x, 0)])


def test_how_examples_are_cut_into_batches_counts() -> None:
    x, y = torch.arange(4.0), torch.arange(4)
    assert digest([(x, y)]) != digest([(x[:2], y[:2]), (x[2:], y[2:])])
    assert digest([(x[:2], y[:2]), (x[2:], y[2:])]) != digest([(x[2:], y[2:]), (x[:2], y[:2])])


def test_what_has_not_passed_does_not_count() -> None:
    passing = Digested([(ONES, 0), (ONES, 1)])
    next(iter(passing))
    assert not passing.whole
    assert passing.digest != digest([(ONES, 0), (ONES, 1)])


@pytest.mark.parametrize(
    ("given", "name"),
    [(ONES, "Tensor"), (ONES.numpy(), "ndarray"), ({"x": ONES}, "dict"), (None, "NoneType"), ("x", "str"), (3, "int")],
)
def test_what_is_no_iterable_of_batches_is_refused(given: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"calibration gave {name}: expected an iterable of"):
        Digested(given)
