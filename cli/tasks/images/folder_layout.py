"""Classes, parts and the order of examples, from the names of an image folder's files: pure, no file is touched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sics_cli.base.errors import DataError
from sics_cli.tasks.images.cache import Labels

#: File names that are images, whatever the case; what the content really is, the decoder finds out.
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
PARTS = ("train", "test")
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Sorted classes, the label of every example, how many train (None: no parts), and the index of each file's name."""

    classes: tuple[str, ...]
    labels: Labels
    train: int | None
    index: dict[str, int]


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image.

    >>> is_image("cat/1.JPG"), is_image("cat/notes.txt")
    (True, False)
    """
    return name.lower().endswith(SUFFIXES)


def is_hidden(name: str) -> bool:
    """Whether a path is of the kind that desktops leave behind: .DS_Store, ._a.jpg, __MACOSX/."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def lay_out(files: Iterable[str], folders: Iterable[str], source: str) -> Layout:
    """Sort files named `train/<class>/…` and `test/<class>/…`, or `<class>/…`, into examples.

    Classes are sorted by name, examples by part (train first), class and name. One folder around everything is
    looked through, hidden files are left out, and files beside the class folders that are no images are none of ours.
    Paths are below the root, parts joined by "/"; `source` is how errors call it.

    >>> layout = lay_out(["b/2.png", "b/1.png", "a/1.png"], [], "imagefolder:x")
    >>> layout.classes, layout.labels.tolist(), layout.index
    (('a', 'b'), [0, 1, 1], {'a/1.png': 0, 'b/1.png': 1, 'b/2.png': 2})
    """
    names = [name for name in files if not is_hidden(name)]
    if not any(is_image(name) for name in names):
        raise DataError(f"{source}: holds no images ({' '.join(SUFFIXES)})")
    for name in names:
        _require_unicode(name, source)
    outer = _outer_folder([tuple(name.split("/")) for name in names if is_image(name)])
    inner = {tuple(name.split("/"))[len(outer) :]: name for name in names if tuple(name.split("/"))[: len(outer)] == outer}
    directories = {tuple(name.split("/")) for name in folders if not is_hidden(name)}
    directories = {path[len(outer) :] for path in directories if path[: len(outer)] == outer} | {path[:-1] for path in inner}
    parts = _parts(directories, source)
    depth = 2 if parts else 1
    for path, name in inner.items():
        if is_image(name) and len(path) <= depth:
            raise DataError(f"{source}: {name!r} lies in no class folder")
        if not is_image(name) and len(path) > depth:
            raise DataError(f"{source}: {name!r} is of an unsupported file type: give {' '.join(SUFFIXES)}")
    images = {path: name for path, name in inner.items() if is_image(name)}
    classes = sorted({path[depth - 1] for path in directories if len(path) >= depth})
    if len(classes) < 2:
        raise DataError(f"{source}: holds one class only, {classes[0]!r}: give at least two class folders")
    _require_examples({path[:depth] for path in images}, classes, parts, source)
    number = {name: label for label, name in enumerate(classes)}
    order = sorted(images, key=lambda path: (path[0] != "train" if parts else False, path[depth - 1], path))
    labels = np.array([number[path[depth - 1]] for path in order], dtype=np.int64)
    train = sum(path[0] == "train" for path in order) if parts else None
    return Layout(tuple(classes), labels, train, {images[path]: position for position, path in enumerate(order)})


def _require_unicode(name: str, source: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{source}: the file name {name!r} is not UTF-8") from None


def _outer_folder(images: list[_Path]) -> _Path:
    """Folders that hold all images and are neither a part nor a class, as archives often have one."""
    shortest = min(len(path) for path in images)
    outer: list[str] = []
    for level in range(shortest - 2):
        first = images[0][level]
        if first in PARTS or any(path[level] != first for path in images):
            break
        outer.append(first)
    return tuple(outer)


def _parts(directories: set[_Path], source: str) -> tuple[str, ...]:
    tops = {path[0] for path in directories if path}
    if not tops & set(PARTS):
        return ()
    if tops != set(PARTS):
        raise DataError(
            f"{source}: holds the folders {', '.join(sorted(tops)[:5])}: give train/ and test/ with the classes in them, "
            "or the classes without such folders"
        )
    return PARTS


def _require_examples(filled: set[_Path], classes: list[str], parts: tuple[str, ...], source: str) -> None:
    for part in parts or ("",):
        for name in classes:
            if ((part, name) if part else (name,)) not in filled:
                raise DataError(f"{source}: the class {'/'.join(filter(None, (part, name)))!r} has no images")
