"""What is fetched together is what would be fetched one by one, on the CPU and on a pretend device."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sics_plugin.selection import fetch
from sics_plugin.selection.lowest import lowest


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 2**31))
def test_bits_and_bytes_are_numpys(pretend: ModuleType, sizes: list[int], seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    masks = [torch.rand(n, generator=dice) < 0.5 for n in sizes]
    values = [torch.rand(n, generator=dice) for n in sizes]
    bits = [np.packbits(mask.numpy()).tolist() for mask in masks]
    told = [value.numpy().tobytes() for value in values]

    def check(masks: list[torch.Tensor], values: list[torch.Tensor]) -> None:
        assert [one.tolist() for one in fetch.bits_of(masks)] == bits
        assert [one.tobytes() for one in fetch.bytes_of(values)] == told
        assert fetch.counts(masks) == [sum(np.unpackbits(np.array(b, np.uint8))) for b in bits]
        assert fetch.numbers([value.sum() for value in values]) == [float(value.sum()) for value in values]

    check(masks, values)
    with pretend.PretendDevice() as device:
        there = [mask.to("cuda") for mask in masks], [value.to("cuda") for value in values]
        device.forget()
        check(*there)
        assert device.waited == 4 + len(values), "one each, and the floats of this test"


def test_what_is_more_than_fits_comes_in_several(pretend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "GATHERED", 16)
    values = [torch.arange(n, dtype=torch.uint8) for n in (10, 7, 20, 3)]
    with pretend.PretendDevice() as device:
        there = [value.to("cuda") for value in values]
        device.forget()
        assert [one.tolist() for one in fetch.bytes_of(there)] == [value.tolist() for value in values]
        assert device.waited == 4


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([-1.0, -0.0, 0.0, 0.5, 2.0]), min_size=2, max_size=30), st.data())
def test_the_lowest_there_are_those_here(pretend: ModuleType, scores: list[float], data: st.DataObject) -> None:
    """Ties by magnitude, then by position; zeros of both signs are one number."""
    k = data.draw(st.integers(1, len(scores) - 1))
    magnitudes = torch.tensor(data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=len(scores), max_size=len(scores))))
    score = torch.tensor(scores, dtype=torch.float64)
    expected = lowest(score, magnitudes, k).tolist()
    with pretend.PretendDevice() as device:
        there = score.to("cuda"), magnitudes.to("cuda")
        device.forget()
        found = lowest(*there, k)
        assert device.waited == 1
        assert found.tolist() == expected
        there[0][0] = float("nan")
        with pytest.raises(ValueError, match="Expected finite scores, got 1 NaN"):
            lowest(*there, k)
