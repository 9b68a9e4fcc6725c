import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from sics_cli.base import cards
from sics_cli.base.cards import figures_of, lets_in_one


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("NVIDIA H200", "H200"), ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"), ("NVIDIA A100 80GB PCIe", "A100 80GB PCIe"), ("NVIDIA A100-PCIE-40GB", "A100"),
        ("NVIDIA A10G", ""), ("NVIDIA A10", "A10"), ("NVIDIA L40S", "L40S"), ("NVIDIA L4", "L4"), ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100"), ("NVIDIA GeForce RTX 4090", "RTX 4090"), ("AMD Instinct MI300X", "MI300X"),
        ("Pretend GPU", ""), (None, ""),
        ("NVIDIA GB200", "GB200"), ("NVIDIA H800", "H800"), ("NVIDIA H800 PCIe", "H800 PCIe"), ("NVIDIA L40", "L40"),
        ("NVIDIA A800-SXM4-80GB", "A800 80GB"), ("NVIDIA A800 80GB PCIe", "A800 80GB PCIe"), ("NVIDIA A800 40GB Active", "A800"),
        ("NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb", "A100"),
    ],
)  # fmt: skip
def test_a_card_is_known_by_the_words_of_its_name(name: str | None, of: str) -> None:
    figures = figures_of(name)
    assert figures.of == of
    assert 1e11 < figures.bandwidth < 1e13
    assert 2e12 < figures.fp32 <= figures.bf16 < 5e15


@pytest.mark.parametrize(("mode", "alone"), [(0, False), (3, True), (2, False)])
def test_the_driver_says_who_may_use_a_card(monkeypatch: pytest.MonkeyPatch, mode: int, alone: bool) -> None:
    def device(card: Any, index: int) -> int:
        card._obj.value = index
        return 0

    def attribute(found: Any, asked: int, card: ctypes.c_int) -> int:
        found._obj.value = mode if (asked, card.value) == (20, 1) else 99
        return 0

    # Nothing else is asked of the driver: a context, say, would be an error here.
    driver = SimpleNamespace(cuInit=lambda flags: 0, cuDeviceGet=device, cuDeviceGetAttribute=attribute)
    monkeypatch.setattr(cards.ctypes, "CDLL", lambda name: driver)
    assert lets_in_one(1) is alone


def test_without_a_driver_nobody_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(cards.ctypes, "CDLL", missing)
    assert not lets_in_one(0)
