"""Which column of a table is what: the project's own names, the usual ones elsewhere, and what the user says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

OWN = {"seed": "seed", "scorer": "scorer", "sparsity": "sparsity", "metric": "accuracy"}
#: Used where present under these very names.
OPTIONAL = ("kappa", "unit", "pool", "correct", "n", "mask_hash", "jaccard", "role", "flags", "bits", "examples")
#: Role → its usual names, one tier after the other: a later one counts where no earlier one is there.
USUAL: Mapping[str, tuple[frozenset[str], ...]] = {
    "seed": (
        frozenset({"seed"}),
        frozenset({"run", "trial", "seed_id", "random_seed", "rng_seed", "replicate", "repetition", "rep", "run_id", "run_no"}),
    ),
    "scorer": (
        frozenset({"scorer"}),
        frozenset({
            "method", "strategy", "pruner", "pruning_method", "prune_method", "pruning_strategy", "criterion", "algorithm",
            "algo",
        }),
        frozenset({"model", "name"}),
    ),
    "sparsity": (
        frozenset({"sparsity"}),
        frozenset({"target_sparsity", "sparsity_level", "prune_ratio", "pruning_ratio", "pruning_rate", "prune_rate", "amount"}),
        frozenset({
            "density", "keep_ratio", "keep", "remaining", "remaining_ratio", "remaining_weights", "weights_remaining",
            "compression", "compression_ratio",
        }),
    ),
    "metric": (
        frozenset({
            "acc", "accuracy", "val_acc", "val_accuracy", "valid_acc", "valid_accuracy", "validation_accuracy", "test_acc",
            "test_accuracy", "eval_acc", "eval_accuracy", "top1", "top_1", "acc1", "acc_1", "top1_acc", "top_1_acc",
            "top1_accuracy", "top_1_accuracy", "test_top1", "val_top1", "acc_top1", "post_acc1", "test_acc1", "val_acc1",
        }),
    ),
}  # fmt: skip
COMPRESSION = frozenset({"compression", "compression_ratio"})
DENSITY = USUAL["sparsity"][2] - COMPRESSION
_LOWER = frozenset(
    {
        "loss", "error", "err", "mse", "rmse", "mae", "perplexity", "ppl", "nll", "wer", "cer", "fid", "bpb", "bpc", "regret",
        "mape", "ece", "brier", "kl", "divergence", "eer", "ter", "lpips", "latency", "runtime", "cost", "drop", "degradation",
    }
)  # fmt: skip
_LOWER_PHRASES = ("bits_per_", "cross_entropy", "neg_log", "negative_log")


class TableError(ValueError):
    """A table that cannot be read as it is, in one line; `row` and `other` are the places it speaks of.

    `{other}` in the text stands for the second place, which only the reader of a file can name.
    """

    def __init__(self, text: str, row: int | None = None, other: int | None = None) -> None:
        super().__init__(text.replace("{other}", f"row {other}"))
        self.text, self.row, self.other = text, row, other


def key(name: str) -> str:
    """A column's name as the lists have it.

    >>> key("Val Acc (%)"), key("Top-1"), key("remaining weights")
    ('val_acc', 'top_1', 'remaining_weights')
    """
    return re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_")


def keys(name: str) -> tuple[str, ...]:
    """The name, and its last part where it is nested.

    >>> keys("results.val_acc"), keys("test/acc")
    (('results_val_acc', 'val_acc'), ('test_acc', 'acc'))
    """
    last = re.split(r"[./]", str(name))[-1]
    return tuple(dict.fromkeys((key(name), key(last))))


def is_accuracy_name(name: str) -> bool:
    """Whether a metric of this name is an accuracy."""
    return any(found in USUAL["metric"][0] for found in keys(name))


def is_lower_better_name(name: str) -> bool:
    """Whether less of a metric of this name is better, as everybody takes it.

    >>> is_lower_better_name("val_loss"), is_lower_better_name("return")
    (True, False)
    """
    known = key(name)
    return any(part in _LOWER for part in known.split("_")) or any(phrase in known for phrase in _LOWER_PHRASES)


@dataclass(frozen=True, slots=True)
class Named:
    """The column of each role, where one is known, and what was assumed to know it."""

    column: Mapping[str, str]
    assumed: tuple[str, ...]

    def get(self, role: str) -> str | None:
        """The column of a role; None where none is known."""
        return self.column.get(role)


def parse_columns(text: str) -> dict[str, str]:
    """Read what `--columns` takes.

    >>> parse_columns("seed=run, metric=val_acc")
    {'seed': 'run', 'metric': 'val_acc'}
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not role or not column or role in found:
            raise ValueError(f"Expected ROLE=COLUMN, separated by commas, each role once, got {part.strip()!r}")
        found[role] = column
    return found


def name_columns(columns: Sequence[str], given: Mapping[str, str], metric: str | None) -> Named:
    """Find the column of each role: as given, as the project names it, else by the usual names.

    Raises
    ------
    TableError
        Where a given column is not there, or two columns have an equal claim.
    """
    known = (*OWN, *OPTIONAL)
    for role, column in given.items():
        if role not in known:
            raise TableError(f"--columns {role}={column}: is not accepted: give {', '.join(known)} on the left")
        if column not in columns:
            raise TableError(f"--columns {role}={column}: there is no column {column!r}, but {shown(columns)}")
    found = dict(given)
    if metric is not None and "metric" not in found:
        chosen = metric_column(columns, metric)
        if chosen is not None:
            found["metric"] = chosen
    canonical = all(name in columns for name in OWN.values()) and not given
    assumed = []
    for role, own in OWN.items():
        if role in found or (role == "metric" and metric is not None):
            continue
        if canonical:
            found[role] = own
            continue
        taken = set(found.values())
        usual = _usual(role, [name for name in columns if name not in taken])
        if usual is not None:
            found[role] = usual
            if usual != own:
                assumed.append(f"column {usual!r} is the {role}")
    for name in OPTIONAL:
        if name in columns and name not in found and name not in found.values():
            found[name] = name
    return Named(found, tuple(assumed))


def metric_column(columns: Sequence[str], metric: str) -> str | None:
    """The column that `--metric` names: as it is written, else by its key where one column has it."""
    if metric in columns:
        return metric
    same = [name for name in columns if key(metric) in keys(name)]
    if len(same) > 1:
        raise TableError(f"--metric {metric}: could be {' or '.join(map(repr, same))}: give the whole name")
    return same[0] if same else None


def _usual(role: str, columns: Sequence[str]) -> str | None:
    for tier in USUAL[role]:
        found = [name for name in columns if any(part in tier for part in keys(name))]
        exact = [name for name in found if name == OWN[role] and role != "metric"]
        if exact:
            return exact[0]
        if len(found) > 1:
            options = " or ".join(f"--columns {role}={name}" for name in found)
            raise TableError(f"several columns could be the {role} ({', '.join(found)}): give {options}")
        if found:
            return found[0]
    return None


def shown(columns: Iterable[str]) -> str:
    """Columns in a message: not all of a wide table."""
    text = ", ".join(columns)
    return repr(text if len(text) <= 200 else f"{text[:197]}...")


def missing_columns(roles: Sequence[str], columns: Sequence[str]) -> TableError:
    """The refusal of a table that lacks columns, with what to give."""
    asked = ",".join(f"{role}=COLUMN" for role in roles)
    names = ", ".join(OWN[role] for role in roles)
    found = shown(columns) if any(columns) else "no header line"
    return TableError(f"column {names} is missing (found {found}): say which it is, --columns {asked}")
