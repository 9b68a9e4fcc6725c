"""`imagefolder:PATH`: anyone's images, from a folder or a tar archive in ImageFolder layout.

Pixels are what Pillow decodes: grey images give one channel, colour three, and a source that has both gives three.
EXIF orientation is not applied (as torchvision's ImageFolder does not).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sics_cli.base.errors import ConfigError, DataError
from sics_cli.base.hashing import digest
from sics_cli.tasks.images.archive import MAX_FILE_BYTES, MAX_FILES, archive_suffix, unpack
from sics_cli.tasks.images.cache import Contents, Labels, Pixels

#: File names that are images, whatever the case; what the content really is, the decoder finds out.
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
PARTS = ("train", "test")
_Path = tuple[str, ...]
#: Decoders that Pillow may try, whatever a file is called.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")
#: Largest picture decoded; a small file can claim a much larger one.
MAX_PIXELS = 1 << 26
_GREY, _COLOUR = ("1", "L"), ("RGB", "P")


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Images below `path`: a folder or an archive laid out as `lay_out` says.

    With `image_size` every image is cut to a centred square and scaled to so many pixels; without it all must have one size.
    """

    path: Path
    image_size: int | None = None

    def __post_init__(self) -> None:
        if self.image_size is not None and not 1 <= self.image_size <= 1024:
            raise ConfigError(f"data.image_size = {self.image_size} is not accepted: give pixels from 1 to 1024")
        if not self.path.exists():
            raise ConfigError(f"data.name = {self.name!r}: there is no such folder or archive")
        if not self.path.is_dir() and (archive_suffix(self.path) is None or not self.path.is_file()):
            raise ConfigError(f"data.name = {self.name!r}: neither a folder nor a .tar, .tar.gz or .tar.xz archive")

    @property
    def name(self) -> str:
        """`imagefolder:PATH`."""
        return f"imagefolder:{self.path}"

    def key(self) -> str:
        """Sha256 of an archive's bytes, or of names, sizes and modification times of a folder's files."""
        try:
            if not self.path.is_dir():
                with self.path.open("rb") as stream:
                    found: object = hashlib.file_digest(stream, "sha256").hexdigest()
            else:
                found = self._stamp()
        except OSError as error:
            raise DataError(f"{self.name}: {error.filename or self.path} cannot be read ({error.strerror})") from None
        return digest({"source": "imagefolder", "holds": found, "image_size": self.image_size})

    def _stamp(self) -> str:
        state = hashlib.sha256()
        for name, entry in _walk(self.path, self.name):
            if entry.is_dir():
                state.update(os.fsencode(name) + b"/\0")
            else:
                facts = entry.stat()
                state.update(os.fsencode(name) + f"\0{facts.st_size} {facts.st_mtime_ns}\0".encode())
        return state.hexdigest()

    def contents(self, scratch: Path) -> Contents:
        """List the images and look at the header of each: size and mode are known before any is decoded.

        An archive is unpacked into `scratch`, and read as the folder it was made from.
        """
        root = self.path
        if not root.is_dir():
            unpack(self.path, root := scratch, self.name)
        files: list[str] = []
        folders: list[str] = []
        probed: dict[str, tuple[tuple[int, int], str]] = {}
        for count, (name, entry) in enumerate(_walk(root, self.name)):
            if count >= MAX_FILES:
                raise DataError(f"{self.name}: holds more than {MAX_FILES} files")
            (folders if entry.is_dir() else files).append(name)
            if entry.is_file() and is_image(name):
                with _opened(root, name, self.name) as image:
                    probed[name] = (image.size, image.mode)
        layout = lay_out(files, folders, self.name)
        ordered = [(name, *probed[name]) for name in layout.index]
        channels = 1 if all(mode in _GREY for _, _, mode in ordered) else 3
        width, height = self._common_size([(name, size) for name, size, _ in ordered])

        def images() -> Iterator[tuple[int, Pixels]]:
            for name, index in layout.index.items():
                with _opened(root, name, self.name) as image:
                    yield index, _pixels(image, channels, self.image_size, f"{self.name}: {name!r}")

        return Contents((len(layout.labels), channels, height, width), layout.labels, layout.classes, layout.train, images)

    def _common_size(self, sizes: Iterable[tuple[str, tuple[int, int]]]) -> tuple[int, int]:
        if self.image_size is not None:
            return self.image_size, self.image_size
        first, common = next(iter(sizes))
        for name, size in sizes:
            if size != common:
                raise DataError(
                    f"{self.name}: {name!r} has {size[0]}×{size[1]} pixels, but {first!r} has {common[0]}×{common[1]}: "
                    "give images of one size, or data.image_size to scale them"
                )
        return common


def _walk(root: Path, source: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below `root`, sorted; links are followed, for the folder is the user's own, but not in circles."""
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset())]
    while waiting:
        folder, prefix, above = waiting.pop()
        try:
            facts = folder.stat()
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"{source}: {prefix or folder} cannot be read ({error.strerror})") from None
        place = (facts.st_dev, facts.st_ino)
        if place in above:
            raise DataError(f"{source}: {prefix!r} is a link to a folder around it")
        for entry in found:
            name = prefix + entry.name
            if is_hidden(name):
                continue
            if not (entry.is_dir() or entry.is_file()):
                raise DataError(f"{source}: {name!r} is neither a file nor a folder (a broken link?)")
            yield name, entry
            if entry.is_dir():
                waiting.append((Path(entry.path), name + "/", above | {place}))


def _opened(root: Path, name: str, source: str) -> Image.Image:
    """Open an image; only its header is decoded."""
    try:
        with (root / name).open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DataError(f"{source}: {name!r} cannot be read ({error.strerror})") from None
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"{source}: {name!r} has more than {MAX_FILE_BYTES} bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # decoders of hostile files raise what they please
        raise DataError(f"{source}: {name!r} is not an image that can be read ({_reason(error)})") from None
    width, height = image.size
    if width * height > MAX_PIXELS or not width * height:
        raise DataError(f"{source}: {name!r} claims {width}×{height} pixels; accepted are {MAX_PIXELS} in all")
    if image.mode not in _GREY + _COLOUR:
        raise DataError(f"{source}: {name!r} has the pixel format {image.mode}: give grey or RGB images of 8 bits, opaque")
    return image


def _pixels(image: Image.Image, channels: int, image_size: int | None, what: str) -> Pixels:
    try:
        plain = image.convert("L" if channels == 1 else "RGB")
    except Exception as error:  # as above; this is where the pixels are decoded
        raise DataError(f"{what} is broken ({_reason(error)})") from None
    if image_size is not None:
        plain = ImageOps.fit(plain, (image_size, image_size), method=Image.Resampling.BILINEAR)
    array = np.asarray(plain, dtype=np.uint8)
    return np.ascontiguousarray(array[None] if channels == 1 else array.transpose(2, 0, 1))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is of no accepted format"  # Pillow's own words name an object in memory
    return " ".join(str(error).split())[:100] or type(error).__name__


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
