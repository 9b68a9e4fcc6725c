"""Errors a user can act on: each is shown as one line and decides the exit code."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

#: errno values that say "the disk or the folder refuses", whoever met them: a run stops, no cell is blamed.
STORAGE_ERRNOS = frozenset(
    code
    for code in (
        errno.ENOSPC,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EFBIG,
        errno.EIO,
        getattr(errno, "EDQUOT", None),
    )
    if code is not None
)


class SicsError(Exception):
    """A failure with a one-line explanation. Exit code 1."""

    exit_code = 1


class ConfigError(SicsError):
    """An option or a configuration file says something that is not accepted. Exit code 2."""

    exit_code = 2


class DataError(SicsError):
    """A data set cannot be read as it was given: the line names the source and the file."""


class RefusedSettingError(ConfigError):
    """A setting has a value that is not accepted; `accepts` says what is, and one of `known` may have been meant.

    Without `known` they are the words of `accepts`, where it says them as `digits | cifar10 | imagefolder:PATH`. `meant` is what
    stands behind the value where it is no such word.
    """

    def __init__(self, setting: str, value: object, accepts: str, known: Iterable[str] = (), meant: str = "") -> None:
        known = [*known] or [word for word in accepts.split(" | ") if word == word.lower() and " " not in word]
        near = meant or (did_you_mean(value, known) if isinstance(value, str) else "")
        super().__init__(f"{setting} = {value!r} is not accepted{near}: give {accepts}")
        self.setting, self.value, self.accepts, self.near = setting, value, accepts, near

    def typed(self) -> ConfigError:
        """The same for a value that was typed as an option."""
        said = ",".join(map(str, self.value)) if isinstance(self.value, tuple) else self.value
        return ConfigError(f"--{self.setting.replace('_', '-')} {said}: is not accepted{self.near}: give {self.accepts}")


class StoreError(SicsError):
    """The store cannot be read or written; nothing in it was changed."""


class StorageError(SicsError):
    """The disk is full, or the output folder cannot be written."""


class LockedError(SicsError):
    """Another driver writes this run."""


class WorkersLostError(SicsError):
    """Worker processes died (killed, or out of memory)."""


class MismatchError(SicsError):
    """Two things that must agree do not, such as a retrained checkpoint and the rows stored for its seed."""


class DeviceLostError(SicsError):
    """A GPU error after which nothing in this process works on the card any more: the process has to end."""


class InterruptedRunError(SicsError):
    """Ctrl-C: finished cells are kept. Exit code 130."""

    exit_code = 130


def is_storage_failure(error: BaseException) -> bool:
    """Whether `error` is the disk or the folder refusing, rather than a fault of what was being computed.

    >>> is_storage_failure(OSError(errno.ENOSPC, "No space left on device")), is_storage_failure(ValueError())
    (True, False)
    """
    return isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno in STORAGE_ERRNOS)


#: What CUDA says where the process has lost the card for good; out of memory is none of these.
_LOST = (
    "device-side assert",
    "unspecified launch failure",
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
    "hardware stack error",
    "uncorrectable ECC error",
    "launch timed out",
)


def origins(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, each once: one that is raised again may stand in its own context."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def is_device_lost(error: BaseException | None) -> bool:
    """Whether `error`, or what it was raised from, leaves the process without its GPU.

    >>> is_device_lost(RuntimeError("CUDA error: device-side assert triggered"))
    True
    >>> is_device_lost(RuntimeError("CUDA out of memory"))
    False
    """
    return any(
        isinstance(one, DeviceLostError)
        or (isinstance(one, RuntimeError) and "CUDA error" in str(one) and any(words in str(one) for words in _LOST))
        for one in origins(error)
    )


#: What CUDA, cuBLAS and cuDNN say where memory of the card is wanting.
_FULL = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether `error`, or what it was raised from, says that a GPU's memory is full.

    >>> is_out_of_memory(RuntimeError("CUDA error: out of memory")), is_out_of_memory(MemoryError())
    (True, False)
    """
    return any(isinstance(one, RuntimeError) and any(words in str(one) for words in _FULL) for one in origins(error))


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """What stands behind a name that is refused: what may have been meant, if one that is known is near it; else nothing.

    >>> did_you_mean("smoth_chaos", ["chaos", "smooth_chaos"]), did_you_mean("Wanda", ["wanda"]), did_you_mean("x", ["wanda"])
    (' (did you mean smooth_chaos?)', ' (did you mean wanda?)', '')
    """
    from sics_analysis.rows.reading.names import nearest  # only where something is refused: `--help` loads none of it

    return nearest(str(name), known)


def near_file(path: Path, others: Iterable[str] = ()) -> str:
    """The same behind a path at which there is nothing: a file or folder beside it, or one of `others`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "results.csv").write_text("")
    ...     near_file(Path(folder) / "result.csv").replace(folder, "runs"), near_file(Path(folder) / "x")
    (' (did you mean runs/results.csv?)', '')
    """
    from sics_analysis.rows.reading.names import nearest_of

    try:
        beside = {one.name: str(path.parent / one.name) for one in path.parent.iterdir() if not one.name.startswith(".")}
    except OSError:
        beside = {}
    for asked, words in ((path.name, beside), (str(path), {one: one for one in others})):
        if (near := nearest_of(asked, words)) is not None:
            return f" (did you mean {words[near]}?)"
    return ""


def require(accepted: bool, option: str, value: object, accepts: str, known: Collection[str] = ()) -> None:
    """Refuse a value that is not accepted; `accepts` says what is, and one of `known` may have been meant."""
    if not accepted:
        raise RefusedSettingError(option, value, accepts, known)


def require_counts(table: str, **counts: int) -> None:
    """Refuse counts of a table that are not at least 1."""
    for name, value in counts.items():
        require(value >= 1, f"{table}.{name}", value, "a count of at least 1")
