"""A seed's saliencies on disk while its cells are computed by jobs of a queue.

A job that is lost or requeued may go on where another kind of processor rounds differently: a saliency collected there is not,
to the last bit, that of the rows which are there. So whoever goes on with the seed reads what its first job collected.
"""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

from sics_cli.experiment.atomic import write_atomically
from sics_cli.experiment.layout import CHECKPOINTS_NAME
from sics_plugin import Saliency


def kept_path(folder: Path, seed: int, kind: str, checkpoint_hash: str) -> Path:
    """Where a saliency of the dense network with this hash lies."""
    return folder / CHECKPOINTS_NAME / f"saliency-{seed}-{kind}-{checkpoint_hash[:16]}.pkl"


def keep(path: Path, saliency: Saliency) -> None:
    """Write it, whole or not at all; lost in a crash of the machine, it is collected again."""
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, pickle.dumps((saliency.digest, saliency)), durable=False)


def kept(path: Path) -> Saliency | None:
    """Read it back, of no model yet; None where there is none, or it is damaged."""
    with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError, ValueError, AttributeError, TypeError, RuntimeError):
        digest, saliency = pickle.loads(path.read_bytes())
        saliency.__dict__.pop("digest", None)  # not what it remembers, what it is
        if isinstance(saliency, Saliency) and saliency.digest == digest:
            return saliency
    return None
