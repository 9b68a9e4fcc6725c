"""A run's rows under the names every file and frame of the project uses."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sics_cli.experiment.rows import CellRow
from sics_cli.experiment.store import Store

if TYPE_CHECKING:
    import pandas as pd

#: First what an analysis needs, then what proves it, then the long ones.
COLUMNS = (
    "seed", "scorer", "kappa", "unit", "pool", "sparsity", "correct", "n", "accuracy", "loss", "mask_hash",
    "realised_sparsity", "weight_sparsity", "jaccard", "evaluated_as", "role", "form", "saliency", "flags",
    "data_order_hash", "calibration_hash", "saliency_hash", "checkpoint_hash", "cell_key", "wall_seconds", "finished",
    "device", "torch", "git_sha", "git_dirty", "layers", "bits",
)  # fmt: skip


def export_row(row: CellRow) -> dict[str, Any]:
    """One row by column name: accuracy a fraction, bits hex, flags joined by "; ", provenance spread out.

    `layers` stays a list of [name, total, pruned]; values that do not apply are None.
    """
    values: dict[str, Any] = {
        **row.to_dict(),
        "accuracy": row.correct / row.n,
        "flags": "; ".join(row.flags),
        "device": row.provenance.get("device"),
        "torch": row.provenance.get("versions", {}).get("torch"),
        "git_sha": row.provenance.get("git_sha"),
        "git_dirty": row.provenance.get("git_dirty"),
    }
    return {name: values[name] for name in COLUMNS}


def export_rows(store: Store) -> list[dict[str, Any]]:
    """All cells and dense rows (scorer "dense", sparsity 0) of a store; repeats are not among them."""
    return [export_row(row) for row in store.cells()]


def frame(store: Store) -> pd.DataFrame:
    """The same rows as a pandas frame, for `sics_analysis.analyse`."""
    import pandas as pd

    return pd.DataFrame(export_rows(store), columns=list(COLUMNS)).astype({"kappa": "Int64"})


def to_csv(rows: Iterable[dict[str, Any]]) -> str:
    """CSV with a header; None is an empty field, lists are JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()})
    return text.getvalue()


def to_jsonl(rows: Iterable[dict[str, Any]]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


FORMATS = {"csv": to_csv, "jsonl": to_jsonl}
