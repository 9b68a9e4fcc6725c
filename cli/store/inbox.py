"""The inbox of a run: where workers leave finished rows, each a file that appears whole by an atomic rename.

Only the driver takes rows out and into the store. A row left behind by a killed driver is taken in by the next one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sics_cli.base import user_code
from sics_cli.base.files import remove_partials, write_atomically
from sics_cli.base.hashing import canonical_json, digest
from sics_cli.store.rows import CellRow, CheckpointRow, FailureRow, RepeatRow, Row, alike, and_more
from sics_cli.store.run_folder import INBOX_NAME, JOBS_NAME, TAKEN_NAME
from sics_cli.store.store import RefusedRowError, Store

_KINDS: dict[str, type[Row]] = {
    "checkpoint": CheckpointRow,
    "cell": CellRow,
    "repeat": RepeatRow,
    "failure": FailureRow,
}


@dataclass(frozen=True, slots=True)
class Note:
    """One line for the log, told by a worker."""

    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What a worker does now: which part of which seed, its phase, and work done since it began, in example passes."""

    seed: int
    phase: str
    work: float
    part: int = 0


class Inbox:
    """The folder `inbox/` of the run in `folder`; rows of another run, which a copied folder may hold, are not taken in."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.folder = folder / INBOX_NAME
        self.taken = folder / JOBS_NAME / TAKEN_NAME
        self.run_id = run_id

    def prepare(self, *, shared: bool = False) -> None:
        """Make the folder and delete what killed writers left half-written. Driver only, under the run's lock.

        `shared`: jobs of a queue may be writing here now, so nothing is deleted.
        """
        self.folder.mkdir(exist_ok=True)
        if not shared:
            remove_partials(self.folder)
            self.forget_progress()

    def forget_progress(self, seed: int | None = None) -> None:
        """Delete what workers said of their progress, on one seed or all."""
        for said in self.folder.glob("progress-*.json" if seed is None else f"progress-{seed}-*.json"):
            said.unlink(missing_ok=True)

    # -- workers ----------------------------------------------------------------------------------------------

    def post(self, row: Row) -> None:
        """Leave a row."""
        kind = next(name for name, cls in _KINDS.items() if isinstance(row, cls))
        self._write(f"{kind}-{row.key}.json", kind, row.to_dict())

    def note(self, text: str) -> None:
        """Leave a line for the log."""
        self._write(f"note-{digest(text)[:16]}.json", "note", {"text": text})

    def tell(self, progress: Progress) -> None:
        """Say what a worker does now; replaces what was said before of the same part of a seed."""
        path = self.folder / f"progress-{progress.seed}-{progress.part}.json"
        write_atomically(path, canonical_json(asdict(progress)).encode(), durable=False)

    def posted(self, keys: Set[str]) -> dict[str, CellRow | RepeatRow | FailureRow]:
        """Rows with these keys, whether they wait here or were taken in and set aside."""
        found: dict[str, CellRow | RepeatRow | FailureRow] = {}
        for folder in (self.folder, self.taken):  # in this order: a letter that moves meanwhile is met at least once
            for path in folder.glob("*.json") if folder.is_dir() else ():
                if path.stem.partition("-")[2] not in keys:
                    continue
                try:
                    row = self._read(path)
                except FileNotFoundError:
                    continue
                if isinstance(row, CellRow | RepeatRow | FailureRow):
                    found[row.key] = row
        return found

    def _write(self, name: str, kind: str, body: dict[str, Any]) -> None:
        letter = {"kind": kind, "run_id": self.run_id, "body": body}
        write_atomically(self.folder / name, canonical_json({"letter": letter, "sha256": digest(letter)}).encode())

    # -- driver -----------------------------------------------------------------------------------------------

    def keys(self) -> set[str]:
        """Keys of finished cells and repeats that wait here."""
        names = [path.stem.partition("-") for path in self.folder.glob("*.json")] if self.folder.is_dir() else []
        return {key for kind, _, key in names if kind in ("cell", "repeat")}

    def remove(self, path: Path, *, keep: bool = False) -> None:
        """Take a letter out, for good or (`keep`) to where `posted` still finds it."""
        if keep:
            self.taken.mkdir(parents=True, exist_ok=True)
            path.replace(self.taken / path.name)
        else:
            path.unlink(missing_ok=True)

    def forget_taken(self, keys: Set[str] | None = None) -> None:
        """Delete letters that were set aside, of these keys or all."""
        for path in self.taken.glob("*.json"):
            if keys is None or path.stem.partition("-")[2] in keys:
                path.unlink(missing_ok=True)

    def letters(self) -> Iterator[tuple[Path, Row | Note | None]]:
        """Each waiting file and its row or note, checkpoints first; None for a file that is damaged or foreign."""
        order = {name: place for place, name in enumerate([*_KINDS, "note"])}
        kinds = {path: path.name.partition("-")[0] for path in self.folder.glob("*.json")}
        for path in sorted((p for p in kinds if kinds[p] in order), key=lambda p: (order[kinds[p]], p.name)):
            yield path, self._read(path)

    def _read(self, path: Path) -> Row | Note | None:
        try:
            envelope = json.loads(path.read_text(encoding="utf-8"))
            letter = envelope["letter"]
            if digest(letter) != envelope["sha256"] or letter["run_id"] != self.run_id:
                return None
            if letter["kind"] == "note":
                return Note(letter["body"]["text"])
            return _KINDS[letter["kind"]].from_dict(letter["body"])
        except (ValueError, KeyError, TypeError, UnicodeDecodeError):
            return None

    def progress(self) -> dict[tuple[int, int], Progress]:
        """What was said last of each part of each seed."""
        found = {}
        for path in self.folder.glob("progress-*.json"):
            try:
                said = Progress(**json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                continue
            found[said.seed, said.part] = said
        return found


class Intake:
    """Takes letters into the store and counts its cells and repeats; `say` is told of notes, failures and damaged files.

    Of failures alike at one seed the first is told, with how many came with it. Where the user's own code raised, `say` is told
    the traceback too, of their frames alone, once an error. With `keep`, letters
    are set aside instead of deleted: jobs that are run again by their queue must see what they finished.
    """

    def __init__(self, inbox: Inbox, store: Store, say: Callable[[str], None], *, keep: bool = False) -> None:
        self._shown: set[str] = set()
        self._said: set[tuple[int, str]] = set()
        self.computed = self.failed = 0
        self._keep = keep
        self._inbox = inbox
        self._store = store
        self._say = say

    def empty(self) -> list[str]:
        """Take in all that waits; return the keys of its cells and repeats, failed ones included."""
        keys: list[str] = []
        failures: list[FailureRow] = []
        for path, letter in self._inbox.letters():
            if isinstance(letter, Note):
                self._tell(failures)
            if letter is None:
                self._say(f"{path.name} in the inbox is damaged or of another run: removed")
            elif isinstance(letter, Note):
                self._say(letter.text)
            else:
                row = self._put(letter)
                if isinstance(row, FailureRow):
                    failures.append(row)
                keys += [] if isinstance(row, CheckpointRow) else [row.key]
            self._inbox.remove(path, keep=self._keep and isinstance(letter, CellRow | RepeatRow | FailureRow))
        self._tell(failures)
        return keys

    def _put(self, row: Row) -> Row:
        """Put a row into the store; where that refuses it, a failure, which is returned."""
        try:
            self._store.put(row)
        except RefusedRowError as error:
            if not isinstance(row, CellRow | RepeatRow):
                raise
            kind = "repeat" if isinstance(row, RepeatRow) else "cell"
            row = FailureRow(row.key, kind, row.seed, row.scorer, row.sparsity, str(error), "", row.finished)
            self._store.put(row)
        if isinstance(row, FailureRow):
            self.failed += 1
        elif isinstance(row, CellRow | RepeatRow):
            self.computed += 1
        return row

    def _tell(self, failures: list[FailureRow]) -> None:
        """Say what failed, a line for what is alike; of what comes later the end of the seed tells the number."""
        for rows in alike(failures):
            first = rows[0]
            if first.sort in self._said:
                continue
            self._said.add(first.sort)
            self._say(f"seed {first.seed}, {first.scorer} at S = {first.sparsity:g}{and_more(rows)} failed: {first.error}")
            trace = user_code.trimmed(first.trace)
            if trace and trace not in self._shown:
                self._shown.add(trace)
                self._say(trace.rstrip())
        failures.clear()
