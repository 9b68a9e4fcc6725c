"""A tar archive unpacked with limits: nothing of a member is believed but its name and its bytes, and those are checked."""

from __future__ import annotations

import gzip
import lzma
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import IO, cast

from sics_cli.base.errors import DataError, StorageError, is_storage_failure

#: Largest file read from a folder or an archive, and largest number of them; a picture above is refused, not decoded.
MAX_FILE_BYTES = 64 << 20
MAX_FILES = 5_000_000
_MAX_HEADER_BYTES = 1 << 20
_MAX_PADDING = 16 << 20
_SUFFIXES = {".tar": "", ".tar.gz": "gz", ".tgz": "gz", ".tar.xz": "xz", ".txz": "xz"}


def archive_suffix(path: Path) -> str | None:
    """Suffix by which `path` is an archive, or None.

    >>> archive_suffix(Path("images.tar.xz")), archive_suffix(Path("images.zip"))
    ('.tar.xz', None)
    """
    return next((suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix)), None)


def unpack(path: Path, into: Path, source: str) -> None:
    """Write the files of the archive into the new folder `into`, front to back.

    A DataError if the archive is broken or ends early, or holds what a folder of images does not: links, devices, names that
    point outside, one name twice, giant or sparse members. A StorageError if the disk has no room for it.
    """
    suffix = archive_suffix(path)
    assert suffix is not None, path
    try:
        into.mkdir()
        with _open(path, _SUFFIXES[suffix]) as raw, tarfile.open(fileobj=raw, mode="r|", tarinfo=_Header) as archive:
            _unpack(archive, into, source)
            # Read on to the end of the file: tarfile does not look at it, and gzip and xz verify their checksums there.
            rest = cast(IO[bytes], archive.fileobj).read(_MAX_PADDING + 1)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        if is_storage_failure(error):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{source}: cannot be read as a {suffix} archive ({reason})") from None
    if len(rest) > _MAX_PADDING:
        raise DataError(f"{source}: goes on after the archive's end")
    if len(rest) < tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise DataError(f"{source}: ends early: the archive's closing blocks are missing")


def _open(path: Path, packed: str) -> IO[bytes]:
    if packed == "gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return cast(IO[bytes], lzma.open(path, "rb")) if packed == "xz" else path.open("rb")


class _Header(tarfile.TarInfo):
    """Refuses what tarfile would take for the archive's end, and long extensions, which it would read into memory whole."""

    _EXTENSIONS = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        if len(buf) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("ends early")
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.strip(b"\0"):
                raise tarfile.ReadError(f"a block that is no header: {error}") from None
            raise  # the first of the closing blocks
        if header.type in cls._EXTENSIONS and not 0 <= header.size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"an extension header of {header.size} bytes")
        return header


def _unpack(archive: tarfile.TarFile, into: Path, source: str) -> None:
    room = shutil.disk_usage(into).free
    for count, info in enumerate(archive):
        if count >= MAX_FILES:
            raise DataError(f"{source}: holds more than {MAX_FILES} files")
        target = into / _checked_name(info, source)
        if info.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        if target.exists():
            raise DataError(f"{source}: holds {target.relative_to(into).as_posix()!r} twice")
        room -= info.size
        if room < 0:
            raise StorageError(f"cache folder {into.parent}: has no room to unpack {source}; XDG_CACHE_HOME chooses another")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(cast(IO[bytes], archive.extractfile(info)).read())


def _checked_name(info: tarfile.TarInfo, source: str) -> str:
    """Name of a member below the root."""
    parts = [part for part in info.name.split("/") if part not in ("", ".")]
    if info.name.startswith("/") or ".." in parts:
        raise DataError(f"{source}: the member {info.name!r} points outside the archive")
    if info.issym() or info.islnk():
        raise DataError(f"{source}: the member {info.name!r} is a link; give an archive of files")
    if not (info.isdir() or info.isreg()) or info.issparse():
        raise DataError(f"{source}: the member {info.name!r} is neither a plain file nor a folder")
    if not 0 <= info.size <= MAX_FILE_BYTES:
        raise DataError(f"{source}: the member {info.name!r} has {info.size} bytes; accepted are {MAX_FILE_BYTES}")
    return "/".join(parts)
