"""Names to sources, splits of them, and the standardisation of channels."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sics_cli.base.errors import ConfigError
from sics_cli.settings.images import DataConfig
from sics_cli.settings.seeding import Indices
from sics_cli.tasks.images import datasets
from sics_cli.tasks.images.cache import ImageFacts, ImageSource
from sics_cli.tasks.images.datasets import DataAccess, split_indices
from sics_cli.tasks.images.examples import standardise
from sics_cli.tasks.images.folder import ImageFolder
from sics_cli.tasks.images.standardise import own_statistics
from sics_cli.tasks.images.torchvision_sets import TorchvisionSource

PARTS = ImageFacts((60, 3, 8, 8), ("a", "b"), 40, "x")
FLAT = ImageFacts((60, 3, 8, 8), ("a", "b"), None, "x")


def image_source(name: str, image_size: int | None = None, **access: object) -> ImageSource:
    return datasets.image_source(DataConfig(name, 1, 1, 1, image_size=image_size), DataAccess(**access))  # type: ignore[arg-type]


def image_split(facts: ImageFacts, *, train: int, validation: int, test: int, split_seed: int) -> tuple[Indices, ...]:
    return split_indices(DataConfig("x", train, validation, test, split_seed), facts)


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos").mkdir()
    assert image_source("imagefolder:~/photos", image_size=32) == ImageFolder(tmp_path / "photos", 32)
    assert image_source("cifar10", data_dir=Path("x"), download=True) == TorchvisionSource("cifar10", Path("x"), True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert image_source("cifar100") == TorchvisionSource("cifar100", tmp_path / "sics" / "torchvision")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mnist", {}, r"give digits \| cifar10 \| cifar100 \| fashion-mnist \| imagefolder:PATH"),
        ("imagefolder:", {}, "give a folder or an archive"),
        ("imagefolder:/nowhere", {}, "there is no such folder or archive"),
        ("imagefolder:.", {"data_dir": Path("x")}, "--data-dir and --download are not for it"),
        ("imagefolder:.", {"download": True}, "--data-dir and --download are not for it"),
        ("cifar10", {"image_size": 16}, "data.image_size = 16 is for imagefolder:PATH, not for cifar10"),
    ],
)
def test_what_does_not_go_together(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        image_source(name, **options)  # type: ignore[arg-type]


def test_split_keeps_the_sources_test_part_for_testing() -> None:
    train, validation, test = image_split(PARTS, train=30, validation=10, test=20, split_seed=0)
    assert sorted(np.concatenate([train, validation])) == list(range(40))
    assert sorted(test) == list(range(40, 60))
    other = image_split(PARTS, train=30, validation=10, test=20, split_seed=1)
    assert not np.array_equal(train, other[0])
    again = image_split(PARTS, train=30, validation=10, test=20, split_seed=0)
    assert all(np.array_equal(a, b) for a, b in zip((train, validation, test), again, strict=True))
    assert set(image_split(PARTS, train=30, validation=10, test=5, split_seed=0)[2]) < set(test)


def test_split_of_a_source_without_parts() -> None:
    parts = image_split(FLAT, train=30, validation=10, test=20, split_seed=3)
    assert [len(part) for part in parts] == [30, 10, 20]
    assert sorted(np.concatenate(parts)) == list(range(60))


@pytest.mark.parametrize(
    ("facts", "counts", "message"),
    [
        (PARTS, (35, 6, 1), r"data.train \+ validation = 41, but the data set has 40 examples in train/"),
        (PARTS, (1, 1, 21), r"data.test = 21, but the data set has 20 examples in test/"),
        (FLAT, (30, 20, 11), r"data.train \+ validation \+ test = 61, but the data set has 60 examples"),
    ],
)
def test_more_than_there_is(facts: ImageFacts, counts: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        image_split(facts, train=counts[0], validation=counts[1], test=counts[2], split_seed=0)


def test_statistics_of_the_training_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 3, 6, 7), dtype=np.uint8)
    images[:, 1] //= 8
    chosen = rng.permutation(50)[:30]
    found = own_statistics(images, chosen)
    part = images[chosen].astype(np.float64)
    assert found.mean == pytest.approx(part.mean(axis=(0, 2, 3)), rel=1e-6)
    assert found.scale == pytest.approx(part.std(axis=(0, 2, 3)), rel=1e-6)
    monkeypatch.setattr("sics_cli.tasks.images.standardise._CHUNK", 7)
    again = own_statistics(images, chosen[::-1].copy())
    assert np.array_equal(again.mean, found.mean)
    assert np.array_equal(again.scale, found.scale)
    changed = images.copy()
    changed[np.setdiff1d(np.arange(50), chosen)] = 0
    assert np.array_equal(own_statistics(changed, chosen).mean, found.mean)


def test_standardised_training_images_have_mean_0_and_deviation_1() -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    images[:, 2] = 9  # a constant channel is zero afterwards, not a division by zero
    statistics = own_statistics(images, np.arange(40))
    mean, scale = torch.from_numpy(statistics.mean), torch.from_numpy(statistics.scale)
    plain = standardise(torch.from_numpy(images), mean, scale).numpy()
    assert plain.dtype == np.float32
    assert plain[:, :2].mean(axis=(0, 2, 3)) == pytest.approx([0, 0], abs=1e-5)
    assert plain[:, :2].std(axis=(0, 2, 3)) == pytest.approx([1, 1], abs=1e-5)
    assert not plain[:, 2].any()


def test_tensors_are_standardised_to_the_bits_of_numpy() -> None:
    images = np.random.default_rng(2).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    statistics = own_statistics(images, np.arange(20))
    mean, scale = torch.from_numpy(statistics.mean), torch.from_numpy(statistics.scale)
    expected = (images.astype(np.float32) - statistics.mean[:, None, None]) / statistics.scale[:, None, None]
    assert np.array_equal(standardise(torch.from_numpy(images), mean, scale).numpy(), expected)
