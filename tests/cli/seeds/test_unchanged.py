"""A network that is written to while it is only to be looked at."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from sics_cli.seeds.unchanged import Checksum, left_as_it_was
from sics_cli.tasks.results import ResultError


class Cached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("cache", torch.zeros(2), persistent=False)


def add(tensor: torch.Tensor) -> None:
    with torch.no_grad():
        tensor.add_(1)


CHANGES: list[tuple[str, Callable[[Cached], object], bool]] = [
    ("a write", lambda net: add(net.layer.weight), True),
    ("a write past the counter", lambda net: net.layer.weight.data.mul_(1.5), True),
    ("a sign", lambda net: net.layer.bias.data.neg_(), True),
    ("an order", lambda net: net.layer.weight.data.copy_(net.layer.weight.flip(0)), True),
    ("other data", lambda net: setattr(net.layer.weight, "data", torch.ones(2, 3)), True),
    ("another parameter", lambda net: setattr(net.layer, "weight", nn.Parameter(net.layer.weight + 1)), True),
    ("a buffer", lambda net: net.norm(net.layer(torch.randn(4, 3))), True),
    ("a cache", lambda net: net.cache.data.fill_(1), False),
]


@pytest.mark.parametrize(("what", "change", "kept"), CHANGES, ids=[what for what, _, _ in CHANGES])
def test_every_way_to_write_is_found(what: str, change: Callable[[Cached], object], kept: bool) -> None:
    """What no state holds counts where the whole network is looked at."""
    torch.manual_seed(0)
    net, words = Cached(), "it was read: read() must"
    with pytest.raises(ResultError, match=r"the network changed while it was read: read\(\) must"), left_as_it_was(net, words):
        change(net)
    net = Cached()
    if kept:
        with pytest.raises(ResultError), left_as_it_was(net, "", whole=False):
            change(net)
    else:
        with left_as_it_was(net, "", whole=False):
            change(net)


def test_a_look_alone_changes_nothing() -> None:
    net = Cached().eval()
    with left_as_it_was(net, ""), torch.no_grad():
        net.norm(net.layer(torch.ones(4, 3)))


def write_and_raise(net: Cached) -> None:
    net.layer.weight.data.mul_(2)
    raise LookupError("of its own")


def test_an_error_inside_comes_through() -> None:
    net = Cached()
    with pytest.raises(LookupError), left_as_it_was(net, ""):
        write_and_raise(net)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64, torch.uint8])
def test_bytes_of_every_type_in_any_shape(dtype: torch.dtype) -> None:
    values = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    for view in (values, values.T, values[:, ::2], values[0, 0]):
        assert Checksum.of([view]) == Checksum.of([view.clone(memory_format=torch.contiguous_format)])
    assert Checksum.of([values]) != Checksum.of([values.flip(1)])
    assert Checksum.of([values, values[:0]]) == Checksum.of([values])
