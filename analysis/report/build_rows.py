"""What a report takes from the rows themselves: scorers with their roles, cells, dense networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sics_analysis.arms import Seed, seed_label
from sics_analysis.outcome import Analysis
from sics_analysis.report.document_rows import Cell, ScorerInfo

DENSE = "dense"
_ROLES = {0: "rank-monotone", 1: "smooth", 2: "raw"}
_NAMED = {"fake": "control", "information": "control", "gradient": "baseline", "random": "baseline"}


def scorer_infos(analysis: Analysis, frame: pd.DataFrame) -> tuple[ScorerInfo, ...]:
    """The scorers with their κ or role, and the flags of their rows."""
    roles = _first(frame, "role")
    flags: dict[str, set[str]] = {}
    if "flags" in frame.columns:
        for name, text in zip(frame["scorer"].astype(str), frame["flags"], strict=True):
            if isinstance(text, str) and text:
                flags.setdefault(name, set()).update(text.split("; "))
    members = {name for family in analysis.families for name in family.members}
    found = []
    for name in analysis.scorers:
        kappa = analysis.kappa[name]
        role = _ROLES[kappa] if kappa is not None else roles.get(name) or (_NAMED.get(name) if analysis.has_kappa else None)
        found.append(ScorerInfo(name, kappa, role or "unknown", name in members, tuple(sorted(flags.get(name, ())))))
    return tuple(found)


def _first(frame: pd.DataFrame, column: str) -> Mapping[str, str]:
    if column not in frame.columns:
        return {}
    known = frame[~frame[column].isna()]
    return {str(name): str(value) for name, value in zip(known["scorer"], known[column], strict=True)}


def cell_infos(analysis: Analysis, frame: pd.DataFrame) -> tuple[Cell, ...]:
    """Every cell: dense networks first, then by S and scorer."""
    overlap = _jaccard(frame)
    cells = _dense(frame)
    for sparsity in analysis.sparsities:
        for name in analysis.scorers:
            arm = analysis.table.arm(name, sparsity)
            for i, seed in enumerate(arm.seeds):
                cells.append(
                    Cell(
                        seed,
                        name,
                        sparsity,
                        arm.accuracy[i],
                        None if arm.correct is None else arm.correct[i],
                        None if arm.total is None else arm.total[i],
                        None if arm.mask_hash is None else arm.mask_hash[i],
                        overlap.get((seed, name, sparsity)),
                    )
                )
    return tuple(cells)


def _jaccard(frame: pd.DataFrame) -> dict[tuple[Seed, str, float], float]:
    if "jaccard" not in frame.columns:
        return {}
    rows = frame[~frame["jaccard"].isna()]
    keys = zip(rows["seed"], rows["scorer"], rows["sparsity"], rows["jaccard"], strict=True)
    return {(seed_label(seed), str(name), round(float(S), 9)): float(value) for seed, name, S, value in keys}


def _dense(frame: pd.DataFrame) -> list[Cell]:
    """The unpruned networks: rows at S = 0, one a seed, whatever scorer they are written under."""
    rows = frame[(frame["sparsity"].astype(float) == 0.0) & ~frame["accuracy"].isna()]
    found: dict[Seed, Cell] = {}
    for row in sorted(rows.to_dict("records"), key=lambda row: (row["scorer"] != DENSE, str(row["scorer"]))):
        seed = seed_label(row["seed"])
        correct, total = (_whole(row.get(name)) for name in ("correct", "n"))
        found.setdefault(seed, Cell(seed, DENSE, 0.0, float(row["accuracy"]), correct, total))
    return sorted(found.values(), key=lambda cell: (isinstance(cell.seed, str), cell.seed))


def _whole(value: Any) -> int | None:
    return None if value is None or pd.isna(value) else int(value)
