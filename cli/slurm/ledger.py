"""The jobs of a run that were given to a queue, written down beside the store before they are submitted.

Whoever drives the run next reads here which jobs are on their way, so that nothing is submitted twice. One batch is one
submission: an array, or a single job. Its folder holds what its jobs read; a job whose batch is gone from here does nothing.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from sics_cli.base.errors import LockedError, SicsError, StoreError
from sics_cli.base.files import remove_partials, write_atomically
from sics_cli.base.hashing import canonical_json
from sics_cli.slurm.queue import ENDED, GONE, Queue, cluster_facts
from sics_cli.store.run_folder import JOBS_NAME, TAKEN_NAME

DONE = "DONE"
_LOGS = ("*_log.out", "*_log.err")


@dataclass(frozen=True, slots=True)
class JobPart:
    """What one job computes: seeds, the keys of their cells, and the seconds that was expected to take (None: unknown)."""

    seeds: tuple[int, ...]
    keys: tuple[str, ...]
    seconds: float | None = None


@dataclass(slots=True)
class Batch:
    """One submission: `token` names its files and its jobs in the queue, `parts` are what its jobs compute, one each.

    `submitted` is the queue's id of it, None until that is known; `ended` says how the jobs that have ended did: DONE, or what
    the queue called them.
    """

    token: str
    executor: str
    cluster: str
    created: str
    parts: tuple[JobPart, ...]
    submitted: str | None = None
    ended: dict[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its jobs in the queue."""
        return f"sics-{self.token}"

    def job_id(self, index: int) -> str:
        """The queue's id of a job: an array's jobs are numbered."""
        return f"{self.submitted or '?'}{f'_{index}' if len(self.parts) > 1 else ''}"

    @property
    def open(self) -> list[int]:
        """Indices of jobs that have not ended as far as is known."""
        return [index for index in range(len(self.parts)) if index not in self.ended]

    @classmethod
    def from_dict(cls, body: dict[str, object]) -> Self:
        """Read what `asdict` gives after a way through JSON."""
        made = cls(**body)  # type: ignore[arg-type]
        made.parts = tuple(JobPart(tuple(part["seeds"]), tuple(part["keys"]), part["seconds"]) for part in body["parts"])  # type: ignore[attr-defined]
        made.ended = {int(index): how for index, how in made.ended.items()}
        return made


class Ledger:
    """The folder `jobs/` of the run in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / JOBS_NAME

    def batches(self) -> list[Batch]:
        """All that is written down, oldest first; a record that cannot be read is a `StoreError` that names it."""
        found = []
        for path in self.folder.glob("*.json"):
            try:
                found.append(Batch.from_dict(json.loads(path.read_text(encoding="utf-8"))))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise StoreError(f"{path}: cannot be read ({error}): its jobs are not known; end them and remove it") from None
        return sorted(found, key=lambda batch: (batch.created, batch.token))

    def open(self) -> list[Batch]:
        """Batches with jobs that may still be on their way."""
        return [batch for batch in self.batches() if batch.open]

    def prepare(self) -> None:
        """Delete what killed drivers left half-written, and folders of batches that nobody wrote down."""
        remove_partials(self.folder)
        known = {TAKEN_NAME, *(batch.token for batch in self.batches())}
        for path in self.folder.glob("*/"):
            if path.is_dir() and path.name not in known:
                shutil.rmtree(path, ignore_errors=True)

    def begin(self, executor: str, cluster: str, created: str, parts: Sequence[JobPart]) -> Batch:
        """Make a batch and its folder; it counts once it is saved."""
        batch = Batch(uuid.uuid4().hex[:12], executor, cluster, created, tuple(parts))
        self.place(batch).mkdir(parents=True)
        return batch

    def place(self, batch: Batch) -> Path:
        """The folder of a batch."""
        return self.folder / batch.token

    def save(self, batch: Batch) -> None:
        """Write a batch down; with its last job ended only logs stay of its folder, or nothing if all went well."""
        body = canonical_json({**asdict(batch), "ended": {str(index): how for index, how in batch.ended.items()}})
        write_atomically(self.folder / f"{batch.token}.json", body.encode())
        if not batch.open:
            self._tidy(batch)

    def drop(self, batch: Batch) -> None:
        """Forget a batch: its jobs, should there be any, find nothing to do."""
        shutil.rmtree(self.place(batch), ignore_errors=True)
        (self.folder / f"{batch.token}.json").unlink(missing_ok=True)

    def _tidy(self, batch: Batch) -> None:
        place = self.place(batch)
        if set(batch.ended.values()) <= {DONE}:
            shutil.rmtree(place, ignore_errors=True)
            return
        logs = {path for pattern in _LOGS for path in place.glob(pattern)}
        for path in place.glob("*"):
            if path not in logs and not path.is_dir():
                path.unlink(missing_ok=True)


def keys_on_their_way(batches: Iterable[Batch]) -> set[str]:
    """Keys of the cells that open jobs compute."""
    return {key for batch in batches for index in batch.open for key in batch.parts[index].keys}


def check_no_jobs(folder: Path) -> None:
    """Refuse with a `LockedError` to compute what jobs in a queue compute already, or may."""
    ledger = Ledger(folder)
    batches = ledger.open()
    if not batches:
        return
    queue = Queue(0.0)
    with contextlib.suppress(SicsError):
        if {batch.cluster for batch in batches} == {cluster_facts().name}:
            names = {state.name for job, state in queue.look(batch.name for batch in batches).items() if state.state not in ENDED}
            if queue.trouble is None and not names & {batch.name for batch in batches}:
                for batch in batches:
                    batch.ended |= dict.fromkeys(batch.open, GONE)
                    ledger.save(batch)
                return
    ids = " ".join(sorted({batch.submitted or batch.name for batch in batches}))
    raise LockedError(
        f"{folder}: jobs of this run may be on their way in the queue of cluster {batches[0].cluster} ({ids}): go on with "
        f"--executor slurm, or end them (scancel {ids}) and remove {ledger.folder}"
    )
