"""Curves of training: one CSV per seed in the run's folder, a line an epoch, written while the network trains."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path

from sics_cli.base.files import write_atomically

#: Validations in a whole training, besides the last epoch's: enough for a curve, a small part of the time.
VALIDATIONS = 10


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch. `seconds` count from the beginning of the training, parts in other processes included.

    `train_accuracy` is met while the weights move, on augmented images: an estimate, and below that of the epoch's end.
    Accuracies are fractions; `validation_accuracy` is None between validations. `learning_rate` is that of the last step.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    learning_rate: float
    seconds: float


COLUMNS = tuple(field.name for field in dataclasses.fields(Epoch))


def validated(epoch: int, epochs: int) -> bool:
    """Whether the network is validated after this epoch (from 1).

    >>> [epoch for epoch in range(1, 26) if validated(epoch, 25)]
    [3, 6, 9, 12, 15, 18, 21, 24, 25]
    """
    return epoch == epochs or epoch % -(-epochs // VALIDATIONS) == 0


class CurveLog:
    """The file of one seed. What an interrupted training wrote after the `begun` epochs it goes on from is dropped."""

    def __init__(self, path: Path, begun: int) -> None:
        self._path = path
        self._rows = [row for row in _read(path) if int(row["epoch"]) <= begun]

    def add(self, epoch: Epoch) -> None:
        """Append an epoch; the file is whole at every moment."""
        values = {name: getattr(epoch, name) for name in COLUMNS}
        self._rows.append({name: "" if value is None else f"{value:.6g}" for name, value in values.items()})
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        self._path.parent.mkdir(exist_ok=True)
        write_atomically(self._path, text.getvalue().encode(), durable=False)


def _read(path: Path) -> list[dict[str, str]]:
    """Rows of a curve; none of a file that is not there or is not one."""
    with contextlib.suppress(OSError, UnicodeDecodeError, csv.Error), path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
        if all(tuple(row) == COLUMNS and str(row["epoch"]).isdigit() for row in rows):
            return rows
    return []
