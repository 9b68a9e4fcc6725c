"""A table of results from any framework, read strictly: what was assumed is said, and a refusal names the line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sics_cli.base.bits import unpack_bits
from sics_cli.results.files import OpenedTable, TableFileError, open_tables

if TYPE_CHECKING:
    import pandas as pd

    from sics_analysis.results import DataCheck, Metric
    from sics_analysis.rows.reading.asked import Asked


@dataclass(frozen=True, slots=True)
class Reading:
    """How a user wants a table read, by the options of `sics-run report`."""

    columns: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    metric: str | None = None
    lower_is_better: bool | None = None
    unit: str | None = None
    repeats: tuple[str, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    unpaired: bool = False
    delta: float | None = None  # in the unit said
    round_sparsity: float | None = None

    @property
    def asked(self) -> Asked:
        """The same for the reader of tables."""
        from sics_analysis.rows.reading.asked import Asked

        return Asked(
            self.columns, self.metric, self.lower_is_better, self.unit, self.repeats, self.where, self.delta, self.round_sparsity
        )

    @property
    def of_tables(self) -> str | None:
        """The first option that only a table takes; None without one."""
        given = {
            "columns": self.columns,
            "repeats": self.repeats,
            "where": self.where,
            "round-sparsity": self.round_sparsity,
        }
        return next((name for name, value in given.items() if value), None)


@dataclass(frozen=True, slots=True)
class ResultsTable:
    """The rows of a table under the project's names, and per-example results where a column `bits` or `examples` has them."""

    frame: pd.DataFrame
    bits: dict[tuple[int | str, str, float], NDArray[Any]]
    sha256: str
    metric: Metric
    assumed: tuple[str, ...]
    checks: tuple[DataCheck, ...]


def read_table_files(paths: Sequence[Path], reading: Reading) -> ResultsTable:
    """Read one table of one file or several; a `TableFileError` is one line."""
    from sics_analysis.rows.checks import checkpoint_checks
    from sics_analysis.rows.reading.names import TableError
    from sics_analysis.rows.reading.tidy import tidy

    opened = open_tables(paths)
    try:
        found = tidy(opened.frame, reading.asked)
    except TableError as error:
        raise TableFileError(_placed(opened, paths, error)) from None
    frame = found.frame
    pruned = (frame["sparsity"] > 0) & frame["accuracy"].notna()
    if not pruned.any():
        raise TableFileError(f"{paths[0]}: holds no row of a pruned network (sparsity above 0) with an accuracy")
    places = frame.index[frame["accuracy"].notna()] if len(paths) > 1 else ()  # one file has results, as was seen
    with_results = {opened.places[int(place)][0] for place in places}
    for path in paths if len(paths) > 1 else ():
        if path not in with_results:
            raise TableFileError(
                f"{path}: has no {found.metric.name} in any row: give --metric for what all have, or leave it out"
            )
    numbers = _examples(opened, frame)
    bits = {**_bits(opened, frame), **numbers}
    # Beside numbers 0 and 1 are numbers too, by chance, and no counts.
    gone = ["bits", "examples", *(["correct"] if numbers else [])]
    frame = frame.drop(columns=gone, errors="ignore").reset_index(drop=True)
    checks = found.checks + checkpoint_checks(opened.frame, found.frame)
    return ResultsTable(frame, bits, opened.sha256, found.metric, (*opened.assumed, *found.assumed), checks)


def _placed(opened: OpenedTable, paths: Sequence[Path], error: Exception) -> str:
    from sics_analysis.rows.reading.names import TableError

    assert isinstance(error, TableError)
    if error.text.startswith("--"):
        return error.text
    if error.row is None:
        return f"{paths[0] if len(paths) == 1 else f'{paths[0]} and {len(paths) - 1} more'}: {error.text}"
    other = ""
    if error.other is not None:
        same = opened.places[error.other][0] == opened.places[error.row][0]
        other = opened.line(error.other) if same else opened.at(error.other)
    return f"{opened.at(error.row)}: {error.text.replace('{other}', other)}"


def _examples(opened: OpenedTable, frame: pd.DataFrame) -> dict[tuple[int | str, str, float], NDArray[np.float32]]:
    """A number for each example, where the results are their means; nothing where they are made otherwise."""
    found: dict[tuple[int | str, str, float], NDArray[np.float32]] = {}
    chosen = frame[frame["examples"].notna() & frame["accuracy"].notna()] if "examples" in frame.columns else frame[:0]
    for place, row in zip(chosen.index, chosen.to_dict("records"), strict=True):
        try:
            values = np.frombuffer(bytes.fromhex(str(row["examples"])), dtype="<f4")
        except ValueError:
            raise TableFileError(f"{opened.at(int(place))}: examples are not float32 in hex, eight digits each") from None
        mean, size = float(values.mean(dtype=np.float64)), float(np.abs(values).mean(dtype=np.float64))
        if not abs(mean - float(row["accuracy"])) <= 1e-5 * size:
            return {}
        found[row["seed"], row["scorer"], row["sparsity"]] = values
    return found


def _bits(opened: OpenedTable, frame: pd.DataFrame) -> dict[tuple[int | str, str, float], NDArray[np.bool_]]:
    found: dict[tuple[int | str, str, float], NDArray[np.bool_]] = {}
    if not {"bits", "n"} <= set(frame.columns):
        return {}
    chosen = frame[frame["bits"].notna() & frame["n"].notna() & frame["accuracy"].notna()]
    names = ("seed", "scorer", "sparsity", "bits", "n")
    for place, seed, scorer, sparsity, text, n in zip(chosen.index, *(chosen[name].tolist() for name in names), strict=True):
        try:
            found[seed, scorer, sparsity] = unpack_bits(bytes.fromhex(str(text)), int(n))
        except ValueError:
            raise TableFileError(f"{opened.at(int(place))}: bits are not {n} examples in hex, eight a byte") from None
    return found
