"""Columns that no role has and that vary all the same: two populations in one table, pooled without a word."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from sics_analysis.results import DataCheck, Level
from sics_analysis.rows.reading.cells import text_of
from sics_analysis.rows.reading.names import key

#: Names of what a network is trained on, is, or was pruned in: rows that differ in one are of different populations.
POPULATIONS = frozenset(
    [
        "dataset",
        "data",
        "task",
        "benchmark",
        "corpus",
        "model",
        "arch",
        "architecture",
        "network",
        "backbone",
        "net",
        "split",
        "subset",
        "optimizer",
        "pretrained",
        "checkpoint",
        "base_model",
        "domain",
        "env",
        "environment",
        "game",
    ]
)
#: Parts of names of what tells rows apart without saying anything of them.
_IDENTITIES = frozenset({"hash", "sha", "sha256", "md5", "uuid", "id", "key", "finished", "created", "timestamp", "time"})
_MOST = 12  # values of a column of words that is worth a line


def ignored_checks(raw: pd.DataFrame, rows: pd.DataFrame, used: Collection[str]) -> tuple[DataCheck, ...]:
    """A line for each column that is not used and varies within a scorer: open where its name is that of a population."""
    found = []
    for name in raw.columns:
        if name in used or list(raw.columns).count(name) > 1 or name == "file":
            continue
        text = text_of(raw[name])
        values = sorted(set(text))
        if len(values) < 2 or len(values) > max(_MOST, 2):
            continue
        if not text.groupby([rows["scorer"].to_numpy(), rows["sparsity"].to_numpy()]).nunique().gt(1).any():
            continue  # it says something of the scorer or of S, not of the seeds
        word = key(name).removesuffix("_id")
        if key(name).split("_")[-1] in _IDENTITIES and word not in POPULATIONS:
            continue  # says which row it is, and nothing of what it holds
        population = word.split("_")[-1] in POPULATIONS or word in POPULATIONS
        if not population and _is_number(text):
            continue
        listed = ", ".join(value or "nothing" for value in values[:4]) + (
            f" and {len(values) - 4} more" if len(values) > 4 else ""
        )
        level = Level.OPEN if population else Level.NOTED
        what = "rows of each are pooled as seeds of one population" if population else "it is used for nothing"
        found.append(DataCheck("pooled", level, f"column {name!r} varies within a scorer ({listed}): {what}"))
    return tuple(found)


def _is_number(text: pd.Series) -> bool:
    return bool(pd.to_numeric(text[text != ""], errors="coerce").notna().all())
