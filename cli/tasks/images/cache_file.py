"""The file of decoded images: safetensors, its header a promise (facts and sha256) that is checked when it is read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sics_cli.base.errors import DataError
from sics_cli.base.hashing import canonical_json, digest

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Shape = tuple[int, int, int, int]
_CHUNK = 1 << 24
_LONGEST_HEADER = 1 << 26


class DamagedCacheError(Exception):
    """A cache file is not what its header says."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of a decoded data set without its pixels."""

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


def write_images(path: Path, contents: Contents, name: str) -> None:
    """Decode `contents` into a new file at `path`, one image in memory at a time; `name` is for messages."""
    labels = np.ascontiguousarray(contents.labels, dtype="<i8")
    blank = ImageFacts(contents.shape, contents.classes, contents.train, "0" * 64)
    start = len(_header(blank))
    each = int(np.prod(contents.shape[1:]))
    seen = np.zeros(contents.shape[0], dtype=np.bool_)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        _write_all(descriptor, labels.tobytes(), start)
        for index, pixels in contents.images():
            if pixels.shape != contents.shape[1:] or pixels.dtype != np.uint8 or seen[index]:
                raise DataError(f"{name}: changed while it was read; try again")
            seen[index] = True
            _write_all(descriptor, pixels.tobytes(), start + labels.nbytes + index * each)
        if not seen.all():
            raise DataError(f"{name}: {np.count_nonzero(~seen)} images went missing while it was read; try again")
        images = np.memmap(path, np.uint8, "r", start + labels.nbytes, contents.shape)
        facts = ImageFacts(*_described(blank), _content_digest(blank, labels, images))
        _write_all(descriptor, _header(facts), 0)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write to the file and not to a map of it, where a full disk would be a signal and not an error."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _described(facts: ImageFacts) -> tuple[Shape, tuple[str, ...], int | None]:
    return facts.shape, facts.classes, facts.train


def _content_digest(facts: ImageFacts, labels: Labels, images: Pixels) -> str:
    state = hashlib.sha256(canonical_json(_described(facts)).encode())
    state.update(labels.tobytes())
    flat = images.reshape(-1)
    for begin in range(0, len(flat), _CHUNK):
        state.update(flat[begin : begin + _CHUNK].data)
    return state.hexdigest()


def _header(facts: ImageFacts) -> bytes:
    """Length and JSON of a safetensors file; the labels come first, and the length keeps them aligned."""
    pixels = int(np.prod(facts.shape, dtype=np.int64))
    labels = 8 * facts.size
    said = {"shape": facts.shape, "classes": facts.classes, "train": facts.train, "digest": facts.digest}
    text = canonical_json(
        {
            "__metadata__": {"facts": canonical_json(said), "facts_sha256": digest(said)},
            "images": {"dtype": "U8", "shape": facts.shape, "data_offsets": (labels, labels + pixels)},
            "labels": {"dtype": "I64", "shape": (facts.size,), "data_offsets": (0, labels)},
        }
    ).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_facts(path: Path) -> ImageFacts:
    """Facts in the header of the cache file at `path`; the pixels are not read, but the file's length is checked."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _LONGEST_HEADER:
            raise DamagedCacheError("have no readable header")
        text = stream.read(length)
        found = os.fstat(stream.fileno()).st_size
    try:
        said: dict[str, Any] = json.loads(json.loads(text)["__metadata__"]["facts"])
        facts = ImageFacts(tuple(said["shape"]), tuple(said["classes"]), said["train"], said["digest"])
        header = _header(facts)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError):
        raise DamagedCacheError("have no readable header") from None
    if header[8:] != text:
        raise DamagedCacheError("have a changed header")
    expected = len(header) + 8 * facts.size + int(np.prod(facts.shape, dtype=np.int64))
    if found != expected:
        raise DamagedCacheError(f"are {found} bytes long, not {expected}")
    return facts


def read_cache(path: Path) -> ImageArrays:
    """Images and labels of the cache file at `path`, mapped and verified. Raises as `read_facts`, also for changed pixels."""
    facts = read_facts(path)
    start = len(_header(facts))
    labels = np.fromfile(path, "<i8", facts.size, offset=start).astype(np.int64)
    images = np.memmap(path, np.uint8, "r", start + labels.nbytes, facts.shape)
    if _content_digest(facts, labels.astype("<i8"), images) != facts.digest:
        raise DamagedCacheError("do not have the digest in their header")
    return ImageArrays(images, labels, facts)
