"""CIFAR and Fashion-MNIST from files in the formats torchvision reads, written here with its own md5 checks in force."""

import hashlib
import pickle
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from torchvision import datasets

from sics_cli.base.errors import ConfigError, DataError, StorageError
from sics_cli.tasks.images import torchvision_sets
from sics_cli.tasks.images.cache import cache_path, image_facts, load_images
from sics_cli.tasks.images.torchvision_sets import TORCHVISION, TorchvisionSource

Arrays = tuple[NDArray[np.uint8], list[int]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("a test reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def random_part(n: int, shape: tuple[int, ...], classes: int, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    labels = [*range(classes), *rng.integers(0, classes, n - classes).tolist()]
    return rng.integers(0, 256, (n, *shape), dtype=np.uint8), labels


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[Arrays, Arrays]:
    """Write pickled batches as CIFAR's are, and tell torchvision and us the md5 and sizes of these."""
    spec, kind = TORCHVISION[name], getattr(datasets, TORCHVISION[name].class_name)
    train, test = (random_part(n, (3, 32, 32), spec.classes, n) for n in (5 * spec.classes, spec.classes + 3))
    folder = root / spec.folder
    folder.mkdir(parents=True)

    def write(file: str, content: dict[str, object]) -> str:
        data = pickle.dumps(content, protocol=2)
        (folder / file).write_bytes(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    label_key = "labels" if name == "cifar10" else "fine_labels"
    lists = []
    for files, (images, labels) in ((kind.train_list, train), (kind.test_list, test)):
        cuts = np.array_split(np.arange(len(labels)), len(files))
        flat = images.reshape(len(images), -1)
        batches = [{"data": flat[cut], label_key: [labels[i] for i in cut]} for cut in cuts]
        lists.append([[file, write(file, batch)] for (file, _), batch in zip(files, batches, strict=True)])
    meta = write(kind.meta["filename"], {kind.meta["key"]: [f"class {number}" for number in range(spec.classes)]})
    monkeypatch.setattr(kind, "train_list", lists[0])
    monkeypatch.setattr(kind, "test_list", lists[1])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": meta})
    monkeypatch.setitem(TORCHVISION, name, replace(spec, train=len(train[1]), test=len(test[1])))
    return train, test


def write_fashion(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Arrays, Arrays]:
    """Write the four idx files (two zero bytes, type 8 = uint8, number of dimensions, big-endian sizes, data)."""
    spec = TORCHVISION["fashion-mnist"]
    train, test = (random_part(n, (28, 28), 10, n) for n in (40, 13))
    folder = root / spec.folder
    folder.mkdir(parents=True)
    for part, (images, labels) in (("train", train), ("t10k", test)):
        for kind, array in (("images-idx3", images), ("labels-idx1", np.array(labels, dtype=np.uint8))):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    monkeypatch.setitem(TORCHVISION, "fashion-mnist", replace(spec, train=40, test=13))
    return train, test


def write_set(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Arrays, Arrays]:
    return write_fashion(root, monkeypatch) if name == "fashion-mnist" else write_cifar(root, monkeypatch, name)


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_pixel_and_label_in_torchvisions_order(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = write_set(name, tmp_path, monkeypatch)
    spec = TORCHVISION[name]
    arrays = load_images(TorchvisionSource(name, tmp_path))
    assert arrays.facts.shape == (spec.train + spec.test, *spec.image_shape)
    assert arrays.facts.train == spec.train
    assert len(arrays.facts.classes) == spec.classes
    expected = np.concatenate([train[0], test[0]]).reshape(arrays.images.shape)
    assert np.array_equal(arrays.images, expected)
    assert arrays.labels.tolist() == train[1] + test[1]
    kind = getattr(datasets, spec.class_name)
    image, label = kind(tmp_path, train=False)[4]  # and as torchvision itself shows it
    shown = np.asarray(image)
    assert np.array_equal(arrays.images[spec.train + 4], shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1))
    assert arrays.labels[spec.train + 4] == label


def test_the_specification_is_torchvisions_own() -> None:
    for name in ("cifar10", "cifar100"):
        kind, spec = getattr(datasets, TORCHVISION[name].class_name), TORCHVISION[name]
        listed = [file for file, _ in kind.train_list + kind.test_list] + [kind.meta["filename"]]
        assert (spec.folder, sorted(spec.files)) == (kind.base_folder, sorted(listed))
    fashion = TORCHVISION["fashion-mnist"]
    assert sorted(fashion.files) == sorted(name.removesuffix(".gz") for name, _ in datasets.FashionMNIST.resources)
    assert fashion.classes == len(datasets.FashionMNIST.classes)
    assert {(spec.train, spec.test) for spec in TORCHVISION.values()} == {(50_000, 10_000), (60_000, 10_000)}


@pytest.mark.parametrize("name", TORCHVISION)
def test_without_files_one_line_says_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        image_facts(TorchvisionSource(name, tmp_path))
    message = str(caught.value)
    assert message.startswith(f"data.name = '{name}': {tmp_path} has no {TORCHVISION[name].folder}/")
    assert "give --data-dir the folder" in message
    assert "--download" in message
    assert "\n" not in message
    assert not (tmp_path / "cache").exists()


def test_no_download_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def download(self: datasets.CIFAR10) -> None:
        print("Downloading")
        asked.append(Path(self.root))
        write_cifar(Path(self.root), monkeypatch, "cifar10")

    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    with pytest.raises(ConfigError):
        TorchvisionSource("cifar10", tmp_path / "here").key()
    assert asked == []
    source = TorchvisionSource("cifar10", tmp_path / "here", download=True)
    facts = image_facts(source)
    assert asked == [tmp_path / "here"]
    assert image_facts(source) == facts
    assert image_facts(TorchvisionSource("cifar10", tmp_path / "here")) == facts
    assert asked == [tmp_path / "here"], "what is there is not fetched again"


def test_what_torchvision_prints_stays_off_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(self: datasets.CIFAR10) -> None:
        print("Downloading")
        write_cifar(Path(self.root), monkeypatch, "cifar10")

    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    TorchvisionSource("cifar10", tmp_path, download=True).key()
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Downloading\n")


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_download_that_fails_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"{name}: downloading to --data-dir .* failed \\(") as caught:
        image_facts(TorchvisionSource(name, tmp_path, download=True))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", TORCHVISION)
def test_files_that_are_not_the_known_ones(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(name, tmp_path, monkeypatch)
    spec = TORCHVISION[name]
    first = tmp_path / spec.folder / spec.files[0]
    whole = first.read_bytes()
    first.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=f"{name}: reading .* failed"):
        image_facts(TorchvisionSource(name, tmp_path))
    first.write_bytes(whole)
    monkeypatch.setitem(TORCHVISION, name, replace(spec, test=spec.test + 1))
    with pytest.raises(DataError, match=r"found images .* expected"):
        image_facts(TorchvisionSource(name, tmp_path))


def test_a_pickle_of_another_md5_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch, "cifar10")
    trap = tmp_path / "sprung"
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").write_bytes(
        b"cpathlib\nPath.touch\n(cpathlib\nPath\n(V" + str(trap).encode()
    )
    with pytest.raises(DataError, match="corrupted"):
        image_facts(TorchvisionSource("cifar10", tmp_path))
    assert not trap.exists()


def test_labels_must_be_those_of_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fashion(tmp_path, monkeypatch)
    labels = tmp_path / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte"
    changed = bytearray(labels.read_bytes())
    changed[-1] = 77
    labels.write_bytes(changed)
    with pytest.raises(DataError, match="the labels are not those of 10 classes"):
        image_facts(TorchvisionSource("fashion-mnist", tmp_path))


def test_changed_files_are_another_cache_and_another_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fashion(tmp_path, monkeypatch)
    source = TorchvisionSource("fashion-mnist", tmp_path)
    first, facts = cache_path(source.key()), image_facts(source)
    images = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    changed = bytearray(images.read_bytes())
    changed[-1] ^= 1
    images.write_bytes(changed)
    assert cache_path(source.key()) != first
    assert image_facts(source).digest != facts.digest


def test_once_cached_torch_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fashion(tmp_path, monkeypatch)
    facts = image_facts(TorchvisionSource("fashion-mnist", tmp_path))
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from sics_cli.settings.images import DataConfig\nfrom sics_cli.tasks.images.datasets import DataAccess, data_facts\n"
        f"print(data_facts(DataConfig('fashion-mnist', 1, 1, 1), DataAccess(Path({str(tmp_path)!r}))).digest)\n"
        "assert 'torch' not in sys.modules and 'torchvision' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, facts.digest), done.stderr


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"data.name = 'mnist' is not accepted: give cifar10 \| cifar100 \| fashion-mnist"):
        TorchvisionSource("mnist", Path())


def test_default_folder_is_beside_the_cache(tmp_path: Path) -> None:
    assert torchvision_sets.default_data_dir() == tmp_path / "cache" / "sics" / "torchvision"
