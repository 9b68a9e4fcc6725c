"""Names inside a run's folder."""

from __future__ import annotations

from pathlib import Path

#: Default parent of run folders, below the working directory.
RUNS = Path("runs")
STORE_NAME = "run.sqlite"
LOCK_NAME = "run.lock"
LOG_NAME = "workers.log"
INBOX_NAME = "inbox"
CHECKPOINTS_NAME = "checkpoints"
CURVES_NAME = "curves"
JOBS_NAME = "jobs"
#: Letters that were taken in while jobs of a queue are on their way, so that a job which is run again can see them.
TAKEN_NAME = "taken"


def default_folder(name: str, saliency: str, run_id: str, unit: str = "weight") -> Path:
    """Where a run lies unless told otherwise: the same command finds it again, another recipe gets another.

    Examples
    --------
    >>> default_folder("digits", "gradient", "1f3a9c0b" * 8).as_posix()
    'runs/digits-gradient-1f3a9c0b'
    >>> default_folder("digits", "gradient", "1f3a9c0b" * 8, "head").as_posix()
    'runs/digits-head-gradient-1f3a9c0b'
    """
    parts = [name, *([unit] if unit != "weight" else []), saliency, run_id[:8]]
    return RUNS / "-".join(parts)


def checkpoint_path(folder: Path, seed: int, dense_key: str) -> Path:
    """Where the dense checkpoint of a seed lies; the key in the name makes another recipe another file."""
    return folder / CHECKPOINTS_NAME / f"seed-{seed}-{dense_key[:16]}.safetensors"


def half_trained_path(folder: Path, seed: int, dense_key: str) -> Path:
    """Where a seed's network lies between two parts of its training; gone once there is a checkpoint."""
    return folder / CHECKPOINTS_NAME / f"training-{seed}-{dense_key[:16]}.safetensors"


def forget_saliencies(folder: Path, seed: int | None = None) -> None:
    """Delete the saliencies that jobs of a queue kept, of a seed or all: they are wanted while its cells are computed."""
    for path in (folder / CHECKPOINTS_NAME).glob("saliency-*.pkl" if seed is None else f"saliency-{seed}-*.pkl"):
        path.unlink(missing_ok=True)


def curve_path(folder: Path, seed: int) -> Path:
    """Where the curve of a seed's training lies."""
    return folder / CURVES_NAME / f"seed-{seed}.csv"
