"""From the inbox into the store: commit first, then delete the file, so that a kill in between costs nothing."""

from __future__ import annotations

from collections.abc import Callable

from sics_cli.experiment.inbox import Inbox, Note
from sics_cli.experiment.rows import CellRow, FailureRow, RepeatRow, Row
from sics_cli.experiment.store import RefusedRowError, Store


class Intake:
    """Counts what it takes in.

    Parameters
    ----------
    inbox : Inbox
    store : Store
    say : callable(str)
        Told of notes, failures and damaged files.

    Attributes
    ----------
    computed, failed : int
        Cells and repeats taken in since the start, or since `forget_counts`.
    keep : bool
        Set letters aside instead of deleting them: jobs that are run again by their queue must see what they finished.
    """

    def __init__(self, inbox: Inbox, store: Store, say: Callable[[str], None]) -> None:
        self.computed = self.failed = 0
        self.keep = False
        self._inbox = inbox
        self._store = store
        self._say = say

    def forget_counts(self) -> None:
        """Begin counting again."""
        self.computed = self.failed = 0

    def empty(self) -> list[str]:
        """Take in all that waits; return the keys of its cells and repeats, failed ones included."""
        keys = []
        for path, letter in self._inbox.letters():
            if letter is None:
                self._say(f"{path.name} in the inbox is damaged or of another run: removed")
            elif isinstance(letter, Note):
                self._say(letter.text)
            else:
                keys += self._take(letter)
            self._inbox.remove(path, keep=self.keep and isinstance(letter, CellRow | RepeatRow | FailureRow))
        return keys

    def _take(self, row: Row) -> list[str]:
        try:
            self._store.put(row)
        except RefusedRowError as error:
            if not isinstance(row, CellRow | RepeatRow):
                raise
            row = _refusal(row, error)
            self._store.put(row)
        if isinstance(row, FailureRow):
            self.failed += 1
            self._say(f"seed {row.seed}, {row.scorer} at S = {row.sparsity:g} failed: {row.error}")
            return [row.cell_key]
        if isinstance(row, CellRow | RepeatRow):
            self.computed += 1
            return [_key(row)]
        return []


def _key(row: CellRow | RepeatRow) -> str:
    return row.repeat_key if isinstance(row, RepeatRow) else row.cell_key


def _refusal(row: CellRow | RepeatRow, error: Exception) -> FailureRow:
    kind = "repeat" if isinstance(row, RepeatRow) else "cell"
    return FailureRow(_key(row), kind, row.seed, row.scorer, row.sparsity, str(error), "", row.finished)
