"""What several test files of the plugin need: the reference definitions, and a few real models made once."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """tests/plugin/reference.py (tests are collected in importlib mode, so it cannot be imported by name)."""
    spec = importlib.util.spec_from_file_location("plugin_reference", Path(__file__).with_name("reference.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _seeded_on_one_thread() -> Iterator[None]:
    """One thread: the tensors are small, and threads waiting for each other on a busy machine cost three times the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(20260509)
    yield
    torch.set_num_threads(threads)


def _mlp(sizes: tuple[int, ...] = (16, 64, 32, 4)) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        layers += [nn.Linear(a, b), *([nn.ReLU()] if i < len(sizes) - 2 else [])]
    for layer in layers[::2]:  # one scale, so that a global pool takes from every layer
        nn.init.normal_(layer.weight, std=0.15)  # type: ignore[arg-type]
    return nn.Sequential(*layers)


@pytest.fixture
def make_mlp() -> Callable[..., nn.Sequential]:
    """``make_mlp((16, 64, 4))``: Linear, ReLU, Linear …; the last Linear is the head."""
    return _mlp


@pytest.fixture
def mlp() -> nn.Sequential:
    return _mlp()


class TiedLM(nn.Module):
    """An embedding tied to the decoder, and two hidden Linears sharing one weight."""

    def __init__(self, words: int = 40, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.decoder = nn.Linear(width, words, bias=False)
        self.decoder.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=0.15)  # the scale of the hidden layers

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(torch.tanh(self.second(torch.tanh(self.first(self.embedding(tokens))))))


@pytest.fixture
def tied() -> TiedLM:
    return TiedLM()


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's real handwritten digits: (1797, 64) in [0, 1], and labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.tensor(data.data / 16.0, dtype=torch.float32), torch.tensor(data.target)


@pytest.fixture(scope="session")
def _trained(digits: tuple[Tensor, Tensor]) -> tuple[nn.Sequential, float]:
    x, y = digits
    torch.set_num_threads(1)  # session fixtures come before those of the test
    torch.manual_seed(3)
    model = _mlp((64, 96, 64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(25):
        for batch in torch.randperm(1200).split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = (model(x[1200:]).argmax(1) == y[1200:]).double().mean().item()
    return model, accuracy


@pytest.fixture
def trained_mlp(_trained: tuple[nn.Sequential, float]) -> nn.Sequential:
    """A copy of an MLP trained on the digits; 13 000 weights."""
    return copy.deepcopy(_trained[0])


@pytest.fixture
def trained_accuracy(_trained: tuple[nn.Sequential, float]) -> float:
    return _trained[1]


@pytest.fixture
def calibration(digits: tuple[Tensor, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Ten batches of 64 digits."""
    x, y = digits
    return [(x[i : i + 64], y[i : i + 64]) for i in range(0, 640, 64)]


@pytest.fixture(scope="session")
def _models() -> dict[str, nn.Module]:
    """Built when first asked for, and never changed: tests work on copies."""
    return {}


@pytest.fixture
def model_of(_models: dict[str, nn.Module]) -> Callable[[str], nn.Module]:
    """A copy of one of the architectures the plugin must work on."""

    def build(name: str) -> nn.Module:
        torch.manual_seed(0)
        if name == "vit_s":  # the geometry of ViT-S/16 and two of its twelve blocks
            import timm

            return timm.create_model("vit_small_patch16_224", pretrained=False, img_size=32, depth=2, num_classes=10)
        if name == "resnet18":
            from torchvision.models import resnet18

            return resnet18(weights=None, num_classes=10)
        if name == "mha_vit":
            from torchvision.models import VisionTransformer

            vit = VisionTransformer(
                image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=10
            )
            nn.init.normal_(vit.heads.head.weight, std=0.1)  # torchvision starts it at zero: no gradient would pass
            return vit
        return _mlp((48, 128, 64, 10))

    def get(name: str) -> nn.Module:
        if name not in _models:
            _models[name] = build(name)
        return copy.deepcopy(_models[name])

    return get


@pytest.fixture
def images() -> Callable[..., Tensor]:
    """A batch of inputs for one of ``model_of``'s models."""

    def make(name: str, dtype: torch.dtype = torch.float32, n: int = 2) -> Tensor:
        shape: dict[str, tuple[int, ...]] = {"mlp": (48,), "mha_vit": (3, 16, 16)}
        generator = torch.Generator().manual_seed(1)
        return torch.randn(n, *shape.get(name, (3, 32, 32)), generator=generator).to(dtype)

    return make


@pytest.fixture
def no_warnings() -> Iterator[None]:
    """Any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def distinct() -> Callable[..., Tensor]:
    """A vector of n values with distinct, nonzero magnitudes and random signs."""

    def make(n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        magnitude = (torch.randperm(n, generator=generator) + 1).to(torch.float64) / n
        sign = torch.randint(0, 2, (n,), generator=generator) * 2 - 1
        return (magnitude**2 * sign).to(dtype)

    return make


@pytest.fixture
def kept_by() -> Callable[..., Any]:
    """``kept_by(module, name)``: the module's mask as a flat bool tensor."""

    def read(module: nn.Module, name: str = "weight") -> Tensor:
        return (getattr(module, f"{name}_mask") != 0).reshape(-1)

    return read
