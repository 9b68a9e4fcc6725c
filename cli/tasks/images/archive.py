"""A tar archive read front to back, in memory and with limits: nothing is extracted, nothing in it is believed."""

from __future__ import annotations

import functools
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from sics_cli.base.errors import DataError

#: Largest file read from a folder or an archive, and largest number of them; a picture above is refused, not decoded.
MAX_FILE_BYTES = 64 << 20
MAX_FILES = 5_000_000
_MAX_HEADER_BYTES = 1 << 20
_MAX_PADDING = 16 << 20
_SUFFIXES = {".tar": "", ".tar.gz": "gz", ".tgz": "gz", ".tar.xz": "xz", ".txz": "xz"}


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a folder of an archive; `read` gives a file's bytes while the archive stands at it."""

    name: str
    is_folder: bool
    read: Callable[[], bytes]


def archive_suffix(path: Path) -> str | None:
    """Suffix by which `path` is an archive, or None.

    >>> archive_suffix(Path("images.tar.xz")), archive_suffix(Path("images.zip"))
    ('.tar.xz', None)
    """
    return next((suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix)), None)


def members(path: Path, source: str) -> Iterator[Member]:
    """Members of the archive in its order, once, checked."""
    suffix = archive_suffix(path)
    assert suffix is not None, path
    try:
        with _open(path, _SUFFIXES[suffix]) as raw:
            yield from _members(_Tail(raw), source)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{source}: cannot be read as a {suffix} archive ({reason})") from None


def _open(path: Path, packed: str) -> IO[bytes]:
    if packed == "gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return cast(IO[bytes], lzma.open(path, "rb")) if packed == "xz" else path.open("rb")


class _Tail:
    """The stream under tarfile: remembers its end, which tarfile does not look at."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.last = b""

    def read(self, size: int) -> bytes:
        data = self._raw.read(size)
        self.last = (self.last + data[-1024:])[-1024:]
        return data

    def drain(self) -> int:
        """Read what is left, which is padding; give its length, and also let gzip and xz verify their checksums."""
        length = 0
        while length <= _MAX_PADDING and (chunk := self.read(1 << 16)):
            length += len(chunk)
        return length


class _Header(tarfile.TarInfo):
    """Refuses long extension headers, which tarfile would read into memory as long as they say they are."""

    _EXTENSIONS = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        if header.type in cls._EXTENSIONS and not 0 <= header.size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"an extension header of {header.size} bytes")
        return header


def _members(stream: _Tail, source: str) -> Iterator[Member]:
    seen: set[str] = set()
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", tarinfo=_Header) as archive:
        for info in archive:
            name = _checked_name(info, source)
            if name is None:
                continue
            if not info.isdir():
                if name in seen:
                    raise DataError(f"{source}: holds {name!r} twice")
                seen.add(name)
            if len(seen) > MAX_FILES:
                raise DataError(f"{source}: holds more than {MAX_FILES} files")
            yield Member(name, info.isdir(), functools.partial(_bytes, archive, info))
    if stream.drain() > _MAX_PADDING:
        raise DataError(f"{source}: goes on after the archive's end")
    if len(stream.last) < 1024 or stream.last.strip(b"\0"):
        raise DataError(f"{source}: ends early: the archive's closing blocks are missing")


def _checked_name(info: tarfile.TarInfo, source: str) -> str | None:
    """Name of a member below the root, or None for the root itself."""
    parts = [part for part in info.name.split("/") if part != "."]
    if info.name.startswith("/") or ".." in parts:
        raise DataError(f"{source}: the member {info.name!r} points outside the archive")
    if info.issym() or info.islnk():
        raise DataError(f"{source}: the member {info.name!r} is a link; give an archive of files")
    if not (info.isdir() or info.isreg()) or info.issparse():
        raise DataError(f"{source}: the member {info.name!r} is neither a plain file nor a folder")
    if not 0 <= info.size <= MAX_FILE_BYTES:
        raise DataError(f"{source}: the member {info.name!r} has {info.size} bytes; accepted are {MAX_FILE_BYTES}")
    return "/".join(filter(None, parts)) or None


def _bytes(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(info)
    assert stream is not None, info.name
    return stream.read()
