"""Decoded images in the user's cache folder: one file per source, whole or absent, verified when loaded.

A source (a folder, an archive, a torchvision set) is found again by its key, a digest of what it holds now. The file is three
arrays as `numpy.save` writes them: what was decoded and its sha256 (JSON), the labels, the images. So the digest that enters an
experiment's keys costs one look at the file's beginning, and neither torch nor the pixels are needed for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sics_analysis.results import plural
from sics_cli.base.errors import DataError, StorageError
from sics_cli.base.files import PARTIAL_MARK, atomic_path, cache_folder
from sics_cli.base.hashing import canonical_json

#: Raised by hand when decoding changes: caches of an older version are made again, under another name.
CACHE_VERSION = 2
_CHUNK = 1 << 24

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Shape = tuple[int, int, int, int]
_Found = TypeVar("_Found")


class DamagedCacheError(Exception):
    """A cache file is not what its header says."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of a decoded data set without its pixels.

    `shape` is (n, channels, height, width), and labels index `classes`. The first `train` examples are the source's own training
    part, the others its test part; None when it has no parts of its own. `digest` is the sha256 over all that and the pixels.
    """

    shape: Shape
    classes: tuple[str, ...]
    train: int | None
    digest: str

    @property
    def size(self) -> int:
        """Number of examples."""
        return self.shape[0]


@dataclass(frozen=True, slots=True)
class ImageArrays:
    """Images (n, channels, height, width), uint8, a read-only map of the cache file; labels (n,), int64."""

    images: Pixels
    labels: Labels
    facts: ImageFacts


@dataclass(frozen=True, slots=True)
class Contents:
    """What a source holds, listed; `images` decodes and gives every (index, (channels, height, width)) once."""

    shape: Shape
    labels: Labels
    classes: tuple[str, ...]
    train: int | None
    images: Callable[[], Iterator[tuple[int, Pixels]]]


class ImageSource(Protocol):
    """Where images come from. Both methods raise `DataError` for what is wrong with the source."""

    @property
    def name(self) -> str:
        """How messages call the source."""

    def key(self) -> str:
        """Sha256 of what the source holds now and of how it is decoded; cheap, and without torch where it can be."""

    def contents(self, scratch: Path) -> Contents:
        """List the source; pixels are decoded when `Contents.images` is iterated. A folder at `scratch` is deleted after that."""


def cache_path(key: str) -> Path:
    """File of the source with this key."""
    return cache_folder() / f"v{CACHE_VERSION}-{key[:32]}.npy"


def image_facts(source: ImageSource, say: Callable[[str], None] = lambda line: None) -> ImageFacts:
    """Facts of `source` from its cache file's beginning; the first time, or if that is damaged, it is decoded.

    `say` is told in one line why this takes a while. A StorageError if the cache folder cannot be written.
    """
    return _found(source, read_facts, say)


def load_images(source: ImageSource, say: Callable[[str], None] = lambda line: None) -> ImageArrays:
    """Images and labels of `source`, memory-mapped, their digest verified; decoded the first time. Raises as `image_facts`."""
    return _found(source, read_cache, say)


def _found(source: ImageSource, read: Callable[[Path], _Found], say: Callable[[str], None]) -> _Found:
    path = cache_path(source.key())
    with _as_storage_error(path.parent):
        found, _ = _attempt(read, path)
        if found is not None:
            return found
        with _only_builder(path, source.name, say):
            found, fault = _attempt(read, path)  # another process may have made it meanwhile
            if found is not None:
                return found
            if fault:
                say(f"{source.name}: the cached images {fault} and are decoded again ({path})")
            _build(source, path, say)
            found, fault = _attempt(read, path)
    if found is None:
        what = fault or "are gone"
        raise StorageError(f"{path}: was written, but the images in it {what}; XDG_CACHE_HOME chooses another place")
    return found


def _attempt(read: Callable[[Path], _Found], path: Path) -> tuple[_Found | None, str]:
    """What `read` gives, or None and what is wrong with the file, nothing if there is none."""
    try:
        return read(path), ""
    except FileNotFoundError:
        return None, ""
    except DamagedCacheError as error:
        return None, str(error)


@contextlib.contextmanager
def _as_storage_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cache folder {folder}: cannot be used ({reason}); XDG_CACHE_HOME chooses another") from error


@contextlib.contextmanager
def _only_builder(path: Path, name: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of one cache file, which the kernel gives back however its holder ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: another process is decoding it, waiting")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _build(source: ImageSource, path: Path, say: Callable[[str], None]) -> None:
    _remove_leftovers(path)  # of a killed process: the lock is ours
    try:
        key = source.key()
        contents = source.contents(path.with_name(f"{PARTIAL_MARK}unpacked-{path.name}"))
        total = math.prod(contents.shape) + contents.labels.nbytes
        free = shutil.disk_usage(path.parent).free
        if total > free:
            raise StorageError(
                f"cache folder {path.parent}: {source.name} takes {total / 1e6:.0f} MB decoded, and {free / 1e6:.0f} MB are "
                "free; XDG_CACHE_HOME chooses another"
            )
        say(f"{source.name}: decoding {plural(contents.shape[0], 'image')}, once ({total / 1e6:.0f} MB in {path.parent})")
        with atomic_path(path) as partial:
            write_images(partial, contents, source.name)
            if source.key() != key:
                raise DataError(f"{source.name}: changed while it was read; try again")
    finally:
        _remove_leftovers(path)


def _remove_leftovers(path: Path) -> None:
    for leftover in path.parent.glob(f"{PARTIAL_MARK}*-{path.name}"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_images(path: Path, contents: Contents, name: str) -> None:
    """Decode `contents` into a new file at `path`, one image in memory at a time.

    A DataError, which begins with `name`, if the images given are not the ones listed.
    """
    labels = np.ascontiguousarray(contents.labels, dtype="<i8")
    facts = ImageFacts(contents.shape, contents.classes, contents.train, "0" * 64)
    start, each = len(_head(facts, labels)), math.prod(contents.shape[1:])
    seen = np.zeros(contents.shape[0], dtype=np.bool_)
    with path.open("wb+") as file:
        for index, pixels in contents.images():
            if pixels.shape != contents.shape[1:] or pixels.dtype != np.uint8 or seen[index]:
                raise DataError(f"{name}: changed while it was read; try again")
            seen[index] = True
            file.seek(start + index * each)  # not through a map, where a full disk would be a signal and not an error
            file.write(pixels.tobytes())
        if not seen.all():
            raise DataError(f"{name}: {np.count_nonzero(~seen)} images went missing while it was read; try again")
        file.flush()
        digest = _content_digest(facts, labels, np.memmap(path, np.uint8, "r", start, contents.shape))
        file.seek(0)
        file.write(_head(replace(facts, digest=digest), labels))


def _content_digest(facts: ImageFacts, labels: Labels, images: Pixels) -> str:
    state = hashlib.sha256(canonical_json((facts.shape, facts.classes, facts.train)).encode())
    state.update(labels.tobytes())
    flat = images.reshape(-1)
    for begin in range(0, len(flat), _CHUNK):
        state.update(flat[begin : begin + _CHUNK].data)
    return state.hexdigest()


def _head(facts: ImageFacts, labels: Labels) -> bytes:
    """What stands before the pixels."""
    out = io.BytesIO()
    np.save(out, np.frombuffer(canonical_json(asdict(facts)).encode(), np.uint8))
    np.save(out, labels)
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": facts.shape})
    return out.getvalue()


def _read_head(path: Path) -> tuple[ImageFacts, Labels, int]:
    """Facts, labels and where the pixels begin; what would not be written just so, or has another length, is damaged."""
    with path.open("rb") as stream:
        try:
            said = json.loads(np.lib.format.read_array(stream, allow_pickle=False).tobytes())
            labels = np.lib.format.read_array(stream, allow_pickle=False)
            facts = ImageFacts(tuple(said["shape"]), tuple(said["classes"]), said["train"], said["digest"])
            head = _head(facts, labels)
        except Exception:  # numpy's reader trips over foreign bytes in many ways
            raise DamagedCacheError("have no readable header") from None
        stream.seek(0)
        if stream.read(len(head)) != head:
            raise DamagedCacheError("have a changed header")
        found, expected = os.fstat(stream.fileno()).st_size, len(head) + math.prod(facts.shape)
    if found != expected:
        raise DamagedCacheError(f"are {found} bytes long, not {expected}")
    return facts, labels, len(head)


def read_facts(path: Path) -> ImageFacts:
    """Facts at the beginning of the cache file at `path`; the pixels are not read, but the file's length is checked."""
    return _read_head(path)[0]


def read_cache(path: Path) -> ImageArrays:
    """Images and labels of the cache file at `path`, mapped and verified: changed pixels are a DamagedCacheError too."""
    facts, labels, start = _read_head(path)
    images = np.memmap(path, np.uint8, "r", start, facts.shape)
    if _content_digest(facts, labels, images) != facts.digest:
        raise DamagedCacheError("do not have the digest in their header")
    return ImageArrays(images, labels.astype(np.int64), facts)
