"""Decoded images in the user's cache folder: one safetensors file per source, whole or absent, verified when loaded.

A source (a folder, an archive, a torchvision set) is found again by its key, a digest of what it holds now; the
file says in its header what was decoded and the sha256 of it. So the digest that enters an experiment's keys costs
one look at a header, and neither torch nor the pixels are needed for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from sics_cli.base.errors import DataError, StorageError
from sics_cli.base.files import PARTIAL_MARK, atomic_path, cache_folder
from sics_cli.tasks.images.cache_file import (
    Contents,
    DamagedCacheError,
    ImageArrays,
    ImageFacts,
    read_cache,
    read_facts,
    write_images,
)

#: Raised by hand when decoding changes: caches of an older version are made again, under another name.
CACHE_VERSION = 1
_Found = TypeVar("_Found")


class ImageSource(Protocol):
    """Where images come from. Both methods raise `DataError` for what is wrong with the source."""

    @property
    def name(self) -> str:
        """How messages call the source."""

    def key(self) -> str:
        """Sha256 of what the source holds now and of how it is decoded; cheap, and without torch where it can be."""

    def contents(self) -> Contents:
        """List the source; pixels are decoded when `Contents.images` is iterated."""


def cache_path(key: str) -> Path:
    """File of the source with this key."""
    return cache_folder() / f"v{CACHE_VERSION}-{key[:32]}.safetensors"


def image_facts(source: ImageSource, say: Callable[[str], None] = lambda line: None) -> ImageFacts:
    """Facts of `source` from its cache file's header; the first time, or if that is damaged, it is decoded."""
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
    for leftover in path.parent.glob(f"{PARTIAL_MARK}*-{path.name}"):
        leftover.unlink(missing_ok=True)  # of a killed process: the lock is ours
    key = source.key()
    contents = source.contents()
    total = int(np.prod(contents.shape, dtype=np.int64)) + contents.labels.nbytes
    free = shutil.disk_usage(path.parent).free
    if total > free:
        raise StorageError(
            f"cache folder {path.parent}: {source.name} takes {total / 1e6:.0f} MB decoded, and {free / 1e6:.0f} MB are free; "
            "XDG_CACHE_HOME chooses another"
        )
    say(f"{source.name}: decoding {contents.shape[0]} images, once ({total / 1e6:.0f} MB in {path.parent})")
    with atomic_path(path) as partial:
        write_images(partial, contents, source.name)
        if source.key() != key:
            raise DataError(f"{source.name}: changed while it was read; try again")
