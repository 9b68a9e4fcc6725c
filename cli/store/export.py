"""A run's rows under the names every file and frame of the project uses."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sics_cli.base.errors import ConfigError
from sics_cli.store.rows import CellRow
from sics_cli.store.store import Store

#: First what an analysis needs, then what proves it, then the long ones.
COLUMNS = (
    "seed", "scorer", "kappa", "unit", "pool", "sparsity", "correct", "n", "accuracy", "loss", "mask_hash",
    "realised_sparsity", "weight_sparsity", "jaccard", "evaluated_as", "role", "form", "saliency", "flags",
    "data_order_hash", "calibration_hash", "saliency_hash", "checkpoint_hash", "cell_key", "wall_seconds", "finished",
    "device", "torch", "git_sha", "git_dirty", "layers", "bits",
)  # fmt: skip


#: Of searched scorers: evaluations, what the chosen mask and the reference's do on the held-out examples, and what was chosen.
OF_SEARCH = (
    "budget", "held_out", "held_out_loss", "held_out_reference", "held_out_reference_loss", "held_out_against", "held_out_n",
    "objective", "weights",
)  # fmt: skip
#: Of scorers that choose by trials on the calibration batches: what was chosen, its loss and magnitude's, and how many masks.
OF_TRIALS = ("chosen", "chosen_alpha", "chosen_pool", "chosen_score", "magnitude_score", "masks_tried")
#: Of a user's task: what was measured, the result as it is, and a number an example.
OF_METRIC = ("metric", "value", "higher_is_better", "metric_unit", "examples")
_ACCURACY, _POINTS = "accuracy", "points"


def columns_of(recipe: Mapping[str, Any], rows: Sequence[CellRow]) -> tuple[str, ...]:
    """The columns of a run: those of a user's task name its metric; numbers of single examples, and what searches say, stand
    where there are any.
    """
    at, end = COLUMNS.index("accuracy") + 1, COLUMNS.index("layers")
    more: tuple[str, ...] = ()
    if "task" in recipe:
        more = OF_METRIC if any(row.examples is not None for row in rows) else OF_METRIC[:-1]
    told = [row.search for row in rows if row.search is not None]
    searched = OF_SEARCH if any("budget" in search for search in told) else ()
    tried = OF_TRIALS if any("tried" in search for search in told) else ()
    return (*COLUMNS[:at], *more, *COLUMNS[at:end], *searched, *tried, *COLUMNS[end:])


def export_row(row: CellRow, recipe: Mapping[str, Any], columns: Sequence[str] = COLUMNS) -> dict[str, Any]:
    """One row by column name: accuracy a fraction, bits hex, flags joined by "; ", provenance spread out.

    `layers` stays a list of [name, total, pruned]; values that do not apply are None, and so is the accuracy of a task that
    measures something else. `examples` are little-endian float32 in hex, one an example.
    """
    kept = recipe["task"]["metric"] if "task" in recipe else {"name": _ACCURACY, "unit": _POINTS, "higher_is_better": True}
    values: dict[str, Any] = {
        **row.to_dict(),
        "accuracy": row.result if (kept["name"], kept["unit"]) == (_ACCURACY, _POINTS) else None,
        "metric": kept["name"],
        "value": row.result,
        "higher_is_better": kept["higher_is_better"],
        "metric_unit": kept["unit"],
        "flags": "; ".join(row.flags),
        "device": row.provenance.get("device"),
        "torch": row.provenance.get("versions", {}).get("torch"),
        "git_sha": row.provenance.get("git_sha"),
        "git_dirty": row.provenance.get("git_dirty"),
        **search_columns(row.search),
    }
    return {name: values[name] for name in columns}


def search_columns(search: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a row says of its search or its trials, in plain columns; None in each of another row's.

    >>> told = {"budget": 2, "features": ["rho", "z"], "weights": [0.8, -0.2], "held_out": 0.9, "held_out_loss": None}
    >>> told |= {"held_out_n": 197, "objective": "accuracy"}
    >>> found = search_columns(told | {"reference": {"scorer": "magnitude", "held_out": 0.8, "held_out_loss": None}})
    >>> found["weights"], found["held_out_reference"], found["held_out_against"]
    ('rho +0.8, z −0.2', 0.8, 'magnitude')
    """
    none: dict[str, Any] = dict.fromkeys((*OF_SEARCH, *OF_TRIALS))
    if search is None:
        return none
    if "tried" in search:
        told = (search[name] for name in ("scorer", "alpha", "pool", "score", "magnitude", "masks"))
        return {**none, **dict(zip(OF_TRIALS, told, strict=True))}
    beside, weights = search["reference"], search["weights"]
    parts = zip(search["features"], weights or (), strict=weights is not None)
    return {
        **none,
        "budget": search["budget"],
        "held_out": search["held_out"],
        "held_out_loss": search["held_out_loss"],
        "held_out_reference": beside["held_out"],
        "held_out_reference_loss": beside["held_out_loss"],
        "held_out_against": beside["scorer"],
        "held_out_n": search["held_out_n"],
        "objective": search["objective"],
        "weights": ", ".join(f"{word} {weight:+.4g}".replace("-", "−") for word, weight in parts) or "magnitude",
    }


def export_rows(store: Store) -> list[dict[str, Any]]:
    """All cells and dense rows (scorer "dense", sparsity 0) of a store; repeats are not among them."""
    recipe, rows = store.meta("recipe") or {}, store.cells()
    columns = columns_of(recipe, rows)
    return [export_row(row, recipe, columns) for row in rows]


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """CSV with a header; None is an empty field, lists are JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*rows[0]] if rows else COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()})
    return text.getvalue()


def to_jsonl(rows: Iterable[dict[str, Any]]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def to_parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """Parquet with the columns of the CSV; `layers` stays nested, kappa and the like are nullable. Needs pyarrow."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("--format parquet: needs pyarrow, pip install 'sics[parquet]'; csv and jsonl need nothing") from None
    # A list of [name, total, pruned] has no type of its own in a column.
    named = [
        {**row, "layers": [dict(zip(("name", "total", "pruned"), one, strict=True)) for one in row["layers"]]} for row in rows
    ]
    table = arrow.table({name: arrow.array([row[name] for row in named]) for name in (rows[0] if rows else COLUMNS)})
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()


FORMATS: dict[str, Callable[[Sequence[dict[str, Any]]], str | bytes]] = {
    "csv": to_csv,
    "jsonl": to_jsonl,
    "parquet": to_parquet,
}
