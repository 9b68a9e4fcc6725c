"""Rows of two versions of one user's scorer, which must not be pooled: another version is another scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sics_cli.experiment.canonical import digest
from sics_cli.experiment.rows import CellRow


def scorer_versions(rows: Sequence[CellRow], facts: Mapping[str, Any] | None) -> tuple[list[CellRow], list[CellRow]]:
    """Split rows into those of each scorer's current version and the stale ones.

    Parameters
    ----------
    rows : sequence of CellRow
    facts : mapping, optional
        What the store keeps of scorers: `infos`, each with `name` and `fingerprint`.

    Notes
    -----
    Current is the version the last command met, if it has rows; else the version computed last. Rows that do not say
    their version (of the first schema) are current.
    """
    known = {info["name"]: digest(info["fingerprint"]) for info in (facts or {}).get("infos", [])}
    current: dict[str, str | None] = {}
    for row in sorted(rows, key=lambda row: row.finished):
        if row.fingerprint is not None and current.get(row.scorer) != known.get(row.scorer, ""):
            current[row.scorer] = row.fingerprint
    good = [row for row in rows if row.fingerprint is None or row.fingerprint == current[row.scorer]]
    return good, [row for row in rows if row.fingerprint is not None and row.fingerprint != current[row.scorer]]


def stale_remark(stale: Sequence[CellRow]) -> list[str]:
    """What a reader must know of stale rows; nothing where there are none.

    Examples
    --------
    >>> stale_remark([])
    []
    """
    if not stale:
        return []
    names = ", ".join(dict.fromkeys(row.scorer for row in stale))
    seeds = ", ".join(map(str, sorted({row.seed for row in stale})))
    what = f"{len(stale)} rows of an earlier version of {names} (seed {seeds})"
    return [f"Left out: {what}; replicate with those seeds computes them again."]
