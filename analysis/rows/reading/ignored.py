"""Columns that no role has and that vary all the same: two populations in one table, pooled without a word."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

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
#: Those of them that a scorer may well bring along, and that are no other population for it.
_OF_SCORERS = frozenset({"optimizer", "pretrained", "checkpoint"})
_STATES = frozenset({"state", "status"})
#: States of a run that has no result yet, or never will have.
_UNFINISHED = frozenset(
    {
        "crashed", "failed", "failure", "error", "killed", "running", "pending", "scheduled", "preempted", "preempting",
        "aborted", "cancelled", "canceled", "stopped", "interrupted", "timeout", "oom",
    }
)  # fmt: skip
#: Parts of names of what tells rows apart without saying anything of them.
_IDENTITIES = frozenset({"hash", "sha", "sha256", "md5", "uuid", "id", "key", "finished", "created", "timestamp", "time"})
_MOST = 12  # values of a column of words that is worth a line


def ignored_checks(raw: pd.DataFrame, rows: pd.DataFrame, used: Collection[str]) -> tuple[DataCheck, ...]:
    """A line for each column that is not used and varies within a scorer: open where its name is that of a population.

    A population that differs between scorers of one S is open too: they are compared, and nobody knows whether it is the scorer
    that makes the difference. So are rows of runs that did not finish.
    """
    found = []
    for name in raw.columns:
        if name in used and name != "n":
            continue
        if list(raw.columns).count(name) > 1 or name == "file":
            continue
        text = text_of(raw[name])
        unfinished = _unfinished(name, text)
        if unfinished is not None:
            found.append(unfinished)
            continue
        values = sorted(set(text))
        if len(values) < 2 or len(values) > max(_MOST, 2):
            continue
        word = _population(name)
        if not text.groupby([rows["scorer"].to_numpy(), rows["sparsity"].to_numpy()]).nunique().gt(1).any():
            # It says something of the scorer or of S, not of the seeds; a test set should not.
            if (word in POPULATIONS - _OF_SCORERS or name == "n") and _apart(text, rows):
                what = "they are compared on different ones, so the difference may not be the scorer's"
                found.append(DataCheck("pooled", Level.OPEN, f"column {name!r} differs between scorers ({_few(values)}): {what}"))
            continue
        if name == "n" or (key(name).split("_")[-1] in _IDENTITIES and word not in POPULATIONS):
            continue  # says which row it is, and nothing of what it holds
        population = word in POPULATIONS
        if not population and _is_number(text):
            continue
        level = Level.OPEN if population else Level.NOTED
        what = "rows of each are pooled as seeds of one population" if population else "it is used for nothing"
        found.append(DataCheck("pooled", level, f"column {name!r} varies within a scorer ({_few(values)}): {what}"))
    return tuple(found)


def _few(values: Sequence[str]) -> str:
    more = f" and {len(values) - 4} more" if len(values) > 4 else ""
    return ", ".join(value or "nothing" for value in values[:4]) + more


def _population(name: str) -> str:
    """The name of a population that a column's name ends in, or is, without what says that it is a name.

    >>> [_population(name) for name in ("dataset_id", "config.task_name", "base_model", "model_name_or_path", "note")]
    ['dataset', 'task', 'base_model', 'model', 'note']
    """
    word = re.sub(r"_(id|name|name_or_path|path)$", "", key(name))
    return word if word in POPULATIONS else word.split("_")[-1]


def _apart(text: pd.Series, rows: pd.DataFrame) -> bool:
    """Whether scorers of one S have other values of a column, but for the name of the scorer in them."""
    scorers = rows["scorer"].astype(str).to_numpy()
    pruned = (rows["sparsity"] > 0).to_numpy() & (text != "").to_numpy()
    places = pd.DataFrame({"scorer": scorers, "sparsity": rows["sparsity"].to_numpy(), "value": text.to_numpy()})[pruned]
    places = places.drop_duplicates()
    named = [_without(value, scorer) for value, scorer in zip(places["value"], places["scorer"], strict=True)]
    return bool(places.assign(value=named).groupby("sparsity")["value"].nunique().gt(1).any())


def _without(value: str, scorer: str) -> str:
    return value.lower().replace(scorer.lower(), "")


def _unfinished(name: str, text: pd.Series) -> DataCheck | None:
    """Rows of runs that crashed or still run, in a column of states, as trackers export it."""
    if not _STATES & set(key(name).split("_")):
        return None
    bad = text[text.str.lower().isin(_UNFINISHED)]
    if not len(bad):
        return None
    good = next((value for value in text if value and value.lower() not in _UNFINISHED), None)
    way = f": --where {name}={good} keeps the others" if good is not None else ""
    many = "1 row is" if len(bad) == 1 else f"{len(bad)} rows are"
    return DataCheck("unfinished", Level.OPEN, f"{many} {_few(sorted(set(bad)))} by column {name!r}, and counted as results{way}")


def _is_number(text: pd.Series) -> bool:
    return bool(pd.to_numeric(text[text != ""], errors="coerce").notna().all())
