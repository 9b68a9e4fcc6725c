"""Which column of a table is what: the project's own names, the usual ones elsewhere, and what the user says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
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
#: Parts of the names of what remains, and of a compression ratio, wherever a column is said to be the sparsity.
_REMAINS = frozenset({"density", "keep", "kept", "remaining", "remain", "remains", "retained", "nonzero", "nnz"})
_PRUNED = frozenset({"sparsity", "sparsities", "pruned", "prune", "pruning", "removed", "amount"})
_LOWER = frozenset(
    {
        "loss", "error", "err", "mse", "rmse", "mae", "perplexity", "ppl", "nll", "wer", "cer", "fid", "bpb", "bpc", "regret",
        "mape", "ece", "brier", "kl", "divergence", "eer", "ter", "lpips", "latency", "runtime", "cost", "drop", "degradation",
        "errors", "losses", "logloss", "xent", "crossentropy", "ce", "bce", "nme", "smape", "msle", "rmsle", "mpjpe", "epe",
        "fvd", "kid", "emd", "chamfer", "hausdorff", "distance", "rank", "forgetting", "misclassification", "misclassified",
        "fpr", "fnr", "mcd", "violations", "gap", "dists", "fad",
    }
)  # fmt: skip
_REFERENCES = ("magnitude", "mag", "baseline", "l1", "l1_norm", "l1norm", "dense")
#: Parts of names of what is measured or set beside a result, and is none of it.
_QUANTITY = frozenset(
    {
        "epoch", "epochs", "step", "steps", "iteration", "iterations", "iter", "iters", "time", "walltime", "seconds", "sec",
        "ms", "minutes", "hours", "duration", "timestamp", "runtime", "latency", "throughput", "params", "parameters", "flops",
        "gflops", "mflops", "macs", "gmacs", "lr", "memory", "mem", "vram", "gb", "mb",
    }
)  # fmt: skip
#: Whole names of the same, and of what sums rows up: as a part of a name they may well tell of a scorer.
_BESIDE = frozenset(
    {
        "mean", "std", "sd", "avg", "average", "median", "min", "max", "sem", "ci", "index", "level", "total", "count", "n",
        "row", "id", "file", "value", "values", "score", "learning_rate",
        "batch", "batch_size", "momentum", "dropout", "weight_decay", "wd", "loss",
        "train_loss", "val_loss", "valid_loss", "validation_loss", "test_loss", "eval_loss",
    }
)  # fmt: skip
#: Names of metrics that are no accuracy and of which more is better.
_HIGHER = frozenset({"f1", "auc", "auroc", "map", "iou", "miou", "bleu", "rouge", "psnr", "ssim", "r2", "precision", "recall"})
_LOWER_PHRASES = ("bits_per_", "cross_entropy", "neg_log_l", "negative_log_l", "neg_log_p", "false_positive", "false_negative")
#: Turns a metric over, or tells of a change of it: which way is better then is anybody's guess.
_TURNS = frozenset({"neg", "minus", "inverse", "inv", "reduction"})
_CHANGES = frozenset({"improvement", "gain", "saving", "savings"})
#: Parts of names of metrics that are shares of all, and are written as fractions or percent.
_RATES = frozenset({"error", "err", "wer", "cer", "eer", "ter", "rate", "misclassification", *_HIGHER} - {"psnr"})


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

    >>> keys("results.val_acc"), keys("test/acc"), keys("acc,none")
    (('results_val_acc', 'val_acc'), ('test_acc', 'acc'), ('acc_none', 'acc'))
    """
    last = re.split(r"[./]", str(name))[-1].removesuffix(",none")  # how lm-evaluation-harness names a metric without a filter
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


def is_turned_name(name: str) -> bool:
    """Whether a name turns a metric over that everybody knows, so that its direction must be said.

    >>> [is_turned_name(name) for name in ("neg_rmse", "1-acc", "error reduction", "neg_log_likelihood", "top-1 err")]
    [True, True, True, False, False]
    """
    known = key(name)
    parts = known.split("_")
    rest = [part for part in parts[parts[0] == "1" :] if part not in _TURNS | _CHANGES]
    lower, higher = any(part in _LOWER for part in rest), any(part in _HIGHER for part in rest)
    if any(phrase in known for phrase in ("neg_log_lik", "negative_log_lik", "neg_log_prob")):
        return False
    turned = parts[0] in ("1", "negative") or bool(_TURNS & set(parts))
    return (turned and (lower or higher or is_accuracy_name("_".join(rest)))) or (lower and bool(_CHANGES & set(parts)))


def is_rate_name(name: str) -> bool:
    """Whether a metric of this name is a share of all, which is written as a fraction or as percent."""
    return any(part in _RATES for part in key(name).split("_"))


def is_sparsity_like(name: str) -> bool:
    """Whether a column of this name is likely to say how much was pruned.

    >>> [is_sparsity_like(name) for name in ("sparsity_pct", "compression_rate", "weight density", "keep", "learning_rate")]
    [True, True, True, True, False]
    """
    return bool((_REMAINS | _PRUNED | {"compression"}) & set(key(name).split("_")))


def is_density(name: str) -> bool:
    """Whether a column that is the sparsity tells what remains instead."""
    parts = set(keys(name)[-1].split("_"))
    return bool(_REMAINS & parts) and not _PRUNED & parts


def is_compression(name: str) -> bool:
    """Whether a column that is the sparsity tells by how much a network became smaller instead."""
    return "compression" in keys(name)[-1].split("_")


def is_scorer_name(name: str) -> bool:
    """Whether a column of this name may hold the results of a scorer, or of a seed, in a table with a column each.

    >>> [is_scorer_name(name) for name in ("wanda", "epoch_time", "params_M", "max_activation", "max")]
    [True, False, False, True, False]
    """
    found = key(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))
    parts = found.split("_")
    return found not in _BESIDE and not _QUANTITY & set(parts) and parts[-1] not in ("id", "sparsity", "density", "compression")


def is_metric_name(name: str) -> bool:
    """Whether a column of this name holds a result that is no accuracy."""
    return is_lower_better_name(name) or any(part in _HIGHER for part in key(name).split("_"))


@dataclass(frozen=True, slots=True)
class Named:
    """The column of each role, where one is known, and what was assumed to know it."""

    column: Mapping[str, str]
    assumed: tuple[str, ...]

    def get(self, role: str) -> str | None:
        """The column of a role; None where none is known."""
        return self.column.get(role)


def parse_columns(text: str) -> dict[str, str | tuple[str, ...]]:
    """Read what `--columns` takes: a role of several columns is that of a table with a column each.

    >>> parse_columns("seed=run, metric=val_acc"), parse_columns("scorer=wanda,snip,seed=run")
    ({'seed': 'run', 'metric': 'val_acc'}, {'scorer': ('wanda', 'snip'), 'seed': 'run'})
    """
    found: dict[str, str | tuple[str, ...]] = {}
    role = ""
    for part in text.split(","):
        left, equals, right = (piece.strip() for piece in part.partition("="))
        column = right if equals else left
        if not column or (equals and (not left or left in found)) or not (equals or role):
            raise ValueError(f"Expected ROLE=COLUMN, separated by commas, each role once, got {part.strip()!r}")
        if equals:
            role, found[left] = left, column
        else:
            before = found[role]
            found[role] = (*((before,) if isinstance(before, str) else before), column)
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """What a slip of the pen may have meant, to stand behind the name that is refused; empty where nothing is near.

    >>> nearest("wnada", ["magnitude", "wanda"]), nearest("depth", ["width"])
    (' (did you mean wanda?)', '')
    """
    found = nearest_of(name, known)
    return "" if found is None else f" (did you mean {found}?)"


def nearest_of(name: str, known: Iterable[str]) -> str | None:
    """The word that is near a name; None where none is."""
    words = {word.lower(): word for word in known}
    close = difflib.get_close_matches(name.lower(), list(words), n=1, cutoff=0.7)
    return words[close[0]] if close else None


def likely_reference(scorers: Collection[str]) -> str | None:
    """The scorer that others are usually compared with, where nobody says which: magnitude by its other names, a baseline.

    >>> likely_reference(["wanda", "L1", "random"]), likely_reference(["wanda", "snip"])
    ('L1', None)
    """
    known = {key(name): name for name in scorers}
    for usual in _REFERENCES:
        whole, part = known.get(usual), [name for word, name in known.items() if usual in word.split("_")]
        if whole is not None or len(part) == 1:
            return whole or part[0]
    return None


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
            meant = nearest(role, known)
            raise TableError(f"--columns {role}={column}: is not accepted: give {', '.join(known)} on the left{meant}")
        check_column(f"--columns {role}={column}", column, columns)
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
            others = [name for name in columns if name != usual and is_metric_name(name)] if role == "metric" else []
            if usual != own:
                more = f"; --metric {others[0]} takes {'another' if len(others) == 1 else 'one of the others'}" if others else ""
                assumed.append(f"column {usual!r} is the {role}{more}")
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


def check_column(option: str, column: str, columns: Collection[str]) -> None:
    """Refuse a column that is not there, with the one that may be meant."""
    if column not in columns:
        raise TableError(f"{option}: there is no column {column!r}, but {shown(columns)}{nearest(column, columns)}")


def missing_columns(roles: Sequence[str], columns: Sequence[str], layout: str = "") -> TableError:
    """The refusal of a table that lacks columns, with what to give, or with the way out where its layout is known."""
    asked = ",".join(f"{role}=COLUMN" for role in roles)
    names = ", ".join(OWN[role] for role in roles)
    found = shown(columns) if any(columns) else "no header line"
    return TableError(f"column {names} is missing (found {found}): {layout or f'say which it is, --columns {asked}'}")
