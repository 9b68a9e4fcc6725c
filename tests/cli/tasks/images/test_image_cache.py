"""The cache of decoded images: found again, whole or absent, damage noticed and repaired."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from sics_cli.base.errors import DataError, StorageError
from sics_cli.base.files import PARTIAL_MARK, cache_folder
from sics_cli.tasks.images import cache as image_cache
from sics_cli.tasks.images.cache import (
    Contents,
    DamagedCacheError,
    Labels,
    Pixels,
    cache_path,
    image_facts,
    load_images,
    read_cache,
    read_facts,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 5), dtype=np.uint8)
LABELS: Labels = np.array([0, 1, 0, 1, 1, 0, 1])


@dataclass
class Source:
    """Seven images; counts how often it is decoded."""

    images: Pixels = field(default_factory=lambda: IMAGES.copy())
    labels: Labels = field(default_factory=lambda: LABELS.copy())
    train: int | None = 4
    name: str = "seven"
    decoded: int = 0
    stamp: str = "1" * 64

    def key(self) -> str:
        return self.stamp

    def contents(self, scratch: Path) -> Contents:
        self.decoded += 1
        return Contents(self.images.shape, self.labels, ("cat", "Hündin"), self.train, self.each)

    def each(self) -> Iterator[tuple[int, Pixels]]:
        for index in reversed(range(len(self.images))):  # as an archive, in any order
            yield index, self.images[index]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sics" / "images"


def test_decoded_once_then_mapped(cache: Path) -> None:
    source = Source()
    facts = image_facts(source)
    for _ in range(2):
        arrays = load_images(source)
        assert np.array_equal(arrays.images, IMAGES)
        assert arrays.images.dtype == np.uint8
        assert np.array_equal(arrays.labels, LABELS)
        assert arrays.labels.dtype == np.int64
        assert arrays.facts == facts
    assert isinstance(arrays.images, np.memmap)
    assert not arrays.images.flags.writeable
    assert (facts.classes, facts.train, facts.shape) == (("cat", "Hündin"), 4, (7, 3, 4, 5))
    assert source.decoded == 1
    assert cache_folder() == cache


def test_numpy_reads_the_file() -> None:
    source = Source()
    facts = load_images(source).facts
    with cache_path(source.key()).open("rb") as stream:
        said, labels, images = (np.load(stream) for _ in range(3))
        assert not stream.read()
    assert json.loads(said.tobytes())["digest"] == facts.digest
    assert np.array_equal(images, IMAGES)
    assert np.array_equal(labels, LABELS)


def test_the_digest_is_of_everything_that_enters_a_number() -> None:
    others = [
        Source(),
        Source(images=IMAGES ^ np.uint8(1)),
        Source(labels=1 - LABELS),
        Source(train=5),
        Source(train=None),
        Source(images=IMAGES.reshape(7, 3, 5, 4)),
    ]
    found = {image_facts(replace(source, stamp=f"{number}" * 64)).digest for number, source in enumerate(others)}
    assert len(found) == len(others)
    assert image_facts(replace(Source(), stamp="f" * 64)).digest in found, "the source's key is not part of it"


def test_every_changed_or_missing_byte_is_noticed_and_repaired() -> None:
    source = Source()
    facts = image_facts(source)
    path = cache_path(source.key())
    whole = path.read_bytes()
    for position in [*range(0, len(whole), 7), len(whole) - 1]:
        changed = bytearray(whole)
        changed[position] ^= 0x40
        path.write_bytes(changed)
        with pytest.raises(DamagedCacheError):
            read_cache(path)
    for size in (0, 4, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedCacheError):
            read_facts(path)
    path.write_bytes(whole + b"\0")
    said: list[str] = []
    assert image_facts(source, said.append) == facts, "from a new decoding"
    assert source.decoded == 2
    assert "are decoded again" in said[0]
    assert path.read_bytes() == whole
    changed = bytearray(whole)
    changed[-1] ^= 1
    path.write_bytes(changed)
    assert image_facts(source) == facts, "the header alone is not enough to see it"
    assert source.decoded == 2
    assert np.array_equal(load_images(source).images, IMAGES)
    assert source.decoded == 3


def test_another_version_of_the_decoding_is_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source()
    image_facts(source)
    monkeypatch.setattr(image_cache, "CACHE_VERSION", image_cache.CACHE_VERSION + 1)
    image_facts(source)
    assert source.decoded == 2


KILLED = """
import os, signal
from pathlib import Path
import numpy as np
from sics_cli.tasks.images.cache import Contents, image_facts
WHEN = "{when}"

class Source:
    name = "killed"
    def key(self):
        return "1" * 64
    def contents(self, scratch):
        return Contents((7, 3, 4, 5), np.zeros(7, np.int64), ("a", "b"), None, self.each)
    def each(self):
        for index in range(7):
            if index == 3 and WHEN == "write":
                os.kill(os.getpid(), signal.SIGKILL)
            yield index, np.zeros((3, 4, 5), np.uint8)

def killed(self, target):
    os.kill(os.getpid(), signal.SIGKILL)

if WHEN == "rename":
    Path.replace = killed
image_facts(Source())
"""


@pytest.mark.parametrize("when", ["write", "rename"])
def test_killed_while_writing_or_before_the_rename(cache: Path, when: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED.format(when=when)], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list(cache.glob(f"{PARTIAL_MARK}*"))) == 1
    assert not list(cache.glob("v*.npy"))
    source = Source()
    assert np.array_equal(load_images(source).images, IMAGES)
    assert not list(cache.glob(f"{PARTIAL_MARK}*")), "what the killed process left is gone"


def test_a_source_that_fails_leaves_nothing(cache: Path) -> None:
    class Broken(Source):
        def each(self) -> Iterator[tuple[int, Pixels]]:
            yield 0, IMAGES[0]
            raise DataError("seven: 'x.png' is broken")

    with pytest.raises(DataError, match=r"'x.png' is broken"):
        load_images(Broken())
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("indices", "message"),
    [((0, 1, 2), "4 images went missing"), ((0, 0, 1, 2, 3, 4, 5, 6), "changed while it was read")],
)
def test_a_source_that_gives_too_few_or_one_twice(indices: tuple[int, ...], message: str) -> None:
    class Other(Source):
        def each(self) -> Iterator[tuple[int, Pixels]]:
            for index in indices:
                yield index, IMAGES[index]

    with pytest.raises(DataError, match=message):
        load_images(Other())


def test_a_source_that_changes_while_it_is_read(cache: Path) -> None:
    class Changing(Source):
        def each(self) -> Iterator[tuple[int, Pixels]]:
            self.stamp = "2" * 64
            yield from super().each()

    with pytest.raises(DataError, match="seven: changed while it was read; try again"):
        load_images(Changing())
    assert not list(cache.glob("*.npy"))


def test_two_at_once_decode_once() -> None:
    class Slow(Source):
        def contents(self, scratch: Path) -> Contents:
            inside.set()
            assert go.wait(20)
            return super().contents(scratch)

    inside, go = threading.Event(), threading.Event()
    source, said = Slow(), list[str]()
    first = threading.Thread(target=load_images, args=(source,))
    first.start()
    assert inside.wait(20)

    def tell(line: str) -> None:
        said.append(line)
        go.set()  # the second waits for the lock: now the first may go on

    assert np.array_equal(load_images(source, tell).images, IMAGES)
    first.join()
    assert source.decoded == 1
    assert said == ["seven: another process is decoding it, waiting"]


def test_a_cache_folder_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"cache folder .* cannot be used .*XDG_CACHE_HOME chooses another"):
        load_images(Source())


def limited_write(home: str, limit: int, result: "multiprocessing.Queue[str]") -> None:
    """In a process of its own, which may not write files longer than `limit`: a disk that fills up."""
    import resource

    os.environ["XDG_CACHE_HOME"] = home
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        load_images(Source())
    except StorageError as error:
        result.put(f"{error} {sorted(path.suffix for path in cache_folder().iterdir())}")
    else:
        result.put("no error")


def test_a_disk_that_fills_up_while_writing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    result: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=limited_write, args=(str(tmp_path), 700, result))
    process.start()
    said = result.get(timeout=60)
    process.join()
    assert "cannot be used (File too large)" in said
    assert said.endswith("['.lock']")


def test_a_disk_without_room_is_seen_before(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = image_cache.shutil.disk_usage(".")
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(StorageError, match="seven takes 0 MB decoded, and 0 MB are free"):
        load_images(Source())


@pytest.mark.parametrize("given", ["", "relative/path"])
def test_the_default_cache_is_in_the_home_folder(given: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "sics" / "images"
