"""Layouts that are not read as they are, told by their headings, each with its way out."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from sics_analysis.rows.reading.cells import text_of
from sics_analysis.rows.reading.names import TableError, key

_LONG = "write a row an evaluation (seed, scorer, sparsity, accuracy)"
#: What pandas writes into the first column of a second row of headings.
_LEVELS = frozenset({"seed", "scorer", "method", "pruner", "strategy", "sparsity", "density", "run", "trial"})
_SEED = re.compile(
    r"(.*\w)[\s_./|-]+(?:seed|run|trial|rep|s)?[\s_#-]*(\d+)$|(.*\w)[\s_./|-]*(?:seed|run|trial)[\s_#-]*(\d+)$", re.I
)


def refuse_two_headings(frame: pd.DataFrame) -> None:
    """Refuse a table whose headings stand in several rows, as those of a pandas MultiIndex do."""
    if not len(frame) or not len(frame.columns):
        return
    heading, first = key(str(frame.columns[0])), frame.iloc[:3, 0]
    words = text_of(first[first.map(lambda cell: isinstance(cell, str))].astype(object)).map(key)
    if heading not in ("metric", "name", "variable") and words.isin(_LEVELS - {heading}).any():
        raise TableError(f"has headings in several rows, as columns of a pandas MultiIndex are written: {_LONG}, as stack() does")


def told_layout(columns: Sequence[str]) -> str:
    """What a table without some columns is by its headings, and the way out; empty where nobody knows.

    >>> told_layout(["Wall time", "Step", "Value"])
    'a curve of TensorBoard says neither seed nor scorer: write a row an evaluation (seed, scorer, sparsity, accuracy)'
    >>> told_layout(["seed", "method", "0.5", "0.9"])
    'columns 0.5, 0.9 may be sparsities: write a row an evaluation (seed, scorer, sparsity, accuracy)'
    >>> told_layout(["x", "y"])
    ''
    """
    known = [key(name) for name in columns]
    folds = [name for name, word in zip(columns, known, strict=True) if re.fullmatch(r"split\d+_test_\w+", word)]
    levels = [name for name in columns if _is_level(name)]
    if {"wall_time", "step", "value"} <= set(known):
        return f"a curve of TensorBoard says neither seed nor scorer: {_LONG}"
    if any(re.search(r"__(MIN|MAX)$", name) for name in columns):
        return "a chart of Weights & Biases says neither seed nor scorer: export its table of runs"
    if folds:
        return (
            f"columns {folds[0]}, ... are folds of a cross-validation, which share their training data and are no seeds: "
            f"--columns scorer=COLUMN,seed={','.join(folds)} takes them for seeds all the same"
        )
    if len(levels) > 1:
        return f"columns {', '.join(levels[:4])} may be sparsities: {_LONG}"
    grid = [(found[1] or found[3], found[2] or found[4], name) for name in columns if (found := _SEED.fullmatch(name))]
    if len({scorer for scorer, _, _ in grid}) > 1 and len({seed for _, seed, _ in grid}) > 1:
        return f"columns such as {grid[0][2]!r} may tell both scorer and seed: {_LONG}, as melt() does"
    if {"mean", "std"} <= set(known):
        return "means say nothing of single seeds: give what they were made of"
    if sum(_is_number(name) for name in columns) and not any(_LEVELS & {word} for word in known):
        return "its first line holds numbers, and may be no heading"
    return ""


def _is_level(name: str) -> bool:
    """Whether a heading is a sparsity, .7 or 70 % or acc@70%, and no seed."""
    found = re.search(r"(?:^|[@=\s_])(0?\.\d+|\d{1,2}(?:\.\d+)?\s*%)$", name.strip())
    return found is not None


def _is_number(name: str) -> bool:
    return re.fullmatch(r"[+-]?\d*\.?\d+(?:e[+-]?\d+)?", name.strip(), re.I) is not None
