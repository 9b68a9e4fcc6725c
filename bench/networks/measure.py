"""Prune a network by every arm of a grid and evaluate it: one row an arm and draw of calibration examples."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from networks.registry import Network
from sics_cli.base.bits import pack_bits, unpack_bits
from sics_cli.base.files import atomic_path
from sics_plugin import Saliency, SharedRanks, build_scorer, compute_masks, get_scorer, list_scorers, masked, prunable_parameters
from sics_plugin.network.layouts import is_depthwise
from sics_plugin.pruning.calibrating.trials import recombined
from sics_plugin.saliency.batches import Given as Batch
from sics_plugin.saliency.kinds import SIGNALS
from sics_plugin.scorers.adaptive import Adaptive, has_strength, strength_at

#: SICSAdaptive with its measured table, by the name that rows have it under.
MEASURED = "adaptive_measured"
#: Scorers of a run where none are named. `taylor` is left out: of single weights it makes the masks of `gradient`.
SCORERS = (
    "magnitude", "adaptive", MEASURED, "information", "smooth_chaos", "chaos",
    "gradient", "snip", "sensitivity", "fisher", "lamp", "wanda", "ria",
)  # fmt: skip
SPARSITIES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
POOLS = ("global", "layer", "row", "layer-rank")
DEFAULT, DEPTHWISE, WITHOUT_FIRST = "default", "depthwise", "without-first"
#: What is pruned: the task's own targets; those and depthwise convolutions; those without the first layer.
TARGETS = (DEFAULT, DEPTHWISE, WITHOUT_FIRST)
#: Digits of a mask's hash that tell it from others.
HASH = 16
#: Seconds after which rows are written, also within a draw.
KEEP_EVERY = 60.0
Pairs = list[tuple[nn.Module, str]]
#: Inputs and targets.
Given = list[tuple[Any, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to prune: which scorer ranks what against what, how much goes, and what it was told.

    `strength` is α as a multiple of what ``table="measured"`` takes at that sparsity; None: as the class comes. `batches` is the
    number of calibration batches.
    """

    targets: str
    batches: int
    pool: str
    sparsity: float
    scorer: str
    strength: float | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of these, in which a strength goes with the scorers that have one."""

    scorers: Sequence[str] = SCORERS
    sparsities: Sequence[float] = SPARSITIES
    pools: Sequence[str] = POOLS
    targets: Sequence[str] = (DEFAULT,)
    batches: Sequence[int] = (10,)
    strengths: Sequence[float | None] = (None,)

    def arms(self) -> Iterator[Arm]:
        """In an order that finds what is shared one after another."""
        for targets, batches, pool, sparsity, scorer in product(
            self.targets, self.batches, self.pools, self.sparsities, self.scorers
        ):
            strong = scorer != MEASURED and has_strength(scorer)
            for strength in self.strengths if strong else (None,):
                yield Arm(targets, batches, pool, sparsity, scorer, strength)


def known_scorers() -> list[str]:
    """What `--scorers` takes."""
    return [*list_scorers(), MEASURED]


def built(arm: Arm, seed: int) -> Any:
    """The scorer of an arm."""
    if arm.scorer == MEASURED:
        return Adaptive(table="measured")
    if arm.strength is not None:
        return build_scorer(arm.scorer, alpha=arm.strength * strength_at(arm.sparsity))
    return build_scorer(arm.scorer, **({"seed": seed} if arm.scorer == "random" else {}))


def signal_of(scorer: str) -> str | None:
    """The saliency that a scorer is measured with; None of those that read magnitude alone."""
    if scorer == MEASURED:
        return "gradient"
    cls: Any = get_scorer(scorer)
    if cls.role == "peer":
        return str(cls.requires)
    return None if scorer in ("random", "rank_indicator", "fake") or cls.kappa == 0 else "gradient"


def targets_of(task: Any, network: nn.Module, which: str) -> Pairs:
    """What is pruned, as (module, name) pairs in the order of the network."""
    chosen: Pairs = list(task.targets(network)) if hasattr(task, "targets") else prunable_parameters(network)
    if which == DEPTHWISE:
        listed = {(id(module), name) for module, name in chosen}
        more = [(m, "weight") for m in network.modules() if is_depthwise(m) and (id(m), "weight") not in listed]
        if not more:
            return []
        place = {id(module): i for i, module in enumerate(network.modules())}
        return sorted([*chosen, *more], key=lambda pair: place[id(pair[0])])
    return chosen[1:] if which == WITHOUT_FIRST else chosen


class Rows:
    """The rows of a file, to which more are added; a file appears whole or not at all.

    Parameters
    ----------
    path : Path
        CSV, compressed where its name ends in .gz; .parquet where pyarrow is installed.
    """

    #: What names a row.
    key = ("network", "seed", "targets", "batches", "pool", "sparsity", "scorer", "strength")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frame = read(path) if path.exists() else pd.DataFrame()
        self.keys = {self.key_of(row) for row in self.frame.to_dict("records")}

    def key_of(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """As the set of keys holds it: no strength is None."""
        return tuple(None if isinstance(value := row[name], float) and np.isnan(value) else value for name in self.key)

    def of(self, network: str) -> list[dict[str, Any]]:
        """The rows of one network."""
        return [] if self.frame.empty else self.frame[self.frame["network"] == network].to_dict("records")

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows and write the file."""
        if not rows:
            return
        new = pd.DataFrame(rows)
        self.frame = new if self.frame.empty else pd.concat([self.frame, new.astype({"strength": float})], ignore_index=True)
        self.keys |= {self.key_of(row) for row in rows}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path) as partial:
            if self.path.suffix == ".parquet":
                self.frame.to_parquet(partial, index=False)
            else:
                compression: Any = "gzip" if self.path.suffix == ".gz" else None
                self.frame.to_csv(partial, index=False, compression=compression, lineterminator="\n")


def read(path: Path) -> pd.DataFrame:
    """The rows of a file."""
    text = {"mask_hash": str, "examples": str, "versions": str, "torch": str}
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=text)  # type: ignore[arg-type]


def packed(values: torch.Tensor) -> str:
    """A number an example as a row keeps it: bits where all are 0 or 1, else float32, in hex after the number of examples."""
    found = values.detach().cpu().numpy().astype(np.float32)
    whole = bool(np.isin(found, (0.0, 1.0)).all())
    return f"{len(found)}:" + (f"b{pack_bits(found > 0.5).hex()}" if whole else f"f{found.astype('<f4').tobytes().hex()}")


def unpacked(text: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The inverse of `packed`.

    >>> unpacked(packed(torch.tensor([1.0, 0.0, 1.0]))).tolist(), unpacked(packed(torch.tensor([0.25, 1.0]))).tolist()
    ([1.0, 0.0, 1.0], [0.25, 1.0])
    """
    n, _, kept = text.partition(":")
    data = bytes.fromhex(kept[1:])
    if kept[0] == "b":
        return unpack_bits(data, int(n)).astype(np.float64)
    return np.frombuffer(data, dtype="<f4", count=int(n)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Found:
    """What an arm's mask came to."""

    mask_hash: str
    realised_sparsity: float
    fullest: float  # the largest share of a layer that went
    examples: str
    shown: Shown


@dataclass(frozen=True, slots=True)
class Shown:
    """What the calibration examples of a draw show of a pruned network, as `sics_plugin.Trials` see it.

    `loss` is the task's criterion; `change` and `recombined` need no labels: the squared change of the outputs over their
    variance between examples in the dense network, on the examples and on the same recombined.
    """

    loss: float = float("nan")
    change: float = float("nan")
    recombined: float = float("nan")


class Measuring:
    """One network, its dense result, and what was found of masks met before: the same mask is evaluated once."""

    def __init__(self, network: Network, device: str) -> None:
        self.entry, self.device = network, torch.device(device)
        self.task = network.open()
        self.task.device = self.device
        self.net = self.task.network(0)
        self.dense = self._evaluated()
        self.met: dict[tuple[str, str], str] = {}
        self.shown: dict[tuple[int, int, str, str], Shown] = {}
        self.kept: dict[tuple[int, int], tuple[Given, tuple[Seen, Seen]]] = {}

    def _evaluated(self) -> str:
        with torch.no_grad():
            return packed(self.task.evaluate(self.net.eval(), 0).float())

    def remember(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take over what was found before; refused where the dense network gives something else now."""
        for row in rows:
            if row["scorer"] == "dense":
                now, before = unpacked(self.dense), unpacked(row["examples"])
                if len(now) != len(before) or not np.allclose(now, before, atol=1e-3):
                    raise SystemExit(
                        f"{self.entry.name}: the dense network gives {now.mean():.4f} on {len(now)} examples, and gave "
                        f"{before.mean():.4f} on {len(before)} when its rows were stored "
                        f"({row['versions']}, torch {row['torch']}): give another --out"
                    )
            else:
                self.met[row["targets"], row["mask_hash"]] = row["examples"]

    def draw(self, seed: int, arms: Sequence[Arm]) -> Iterator[tuple[Arm, Found | str]]:
        """Every arm with the calibration examples of one draw; a line where it cannot be had."""
        signals: dict[tuple[int, str], Saliency | str] = {}
        for (which, _), part in groupby(arms, key=lambda arm: (arm.targets, arm.pool)):
            pairs = targets_of(self.task, self.net, which)
            if not pairs:
                yield from ((arm, f"has no {which} layers") for arm in part)
                continue
            with SharedRanks():
                for arm in part:
                    yield arm, self._found(arm, seed, pairs, signals)

    def _found(self, arm: Arm, seed: int, pairs: Pairs, signals: dict[tuple[int, str], Saliency | str]) -> Found | str:
        self._kept(seed, arm.batches)  # the dense outputs, before any mask
        kind, saliency = signal_of(arm.scorer), None
        if kind is not None:
            if (arm.batches, kind) not in signals:
                signals[arm.batches, kind] = self._collected(seed, arm.batches, kind)
            saliency = signals[arm.batches, kind]
            if isinstance(saliency, str):
                return saliency
        return self._of_arm(arm, seed, pairs, saliency)

    def _collected(self, seed: int, batches: int, kind: str) -> Saliency | str:
        """A saliency, or why there is none."""
        self.task.batches = batches
        moved = [(x.to(self.device), y.to(self.device)) for x, y in self.task.calibration(seed)]
        signal: Any = kind
        try:
            needs = (moved, self.task.criterion) if SIGNALS[kind].of_loss else (moved,)
            return Saliency(self.net, *(needs if SIGNALS[kind].collect is not None else ()), kind=signal)
        except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            return f"no {kind} saliency: {' '.join(str(error).split())}"

    def _of_arm(self, arm: Arm, seed: int, pairs: Pairs, saliency: Saliency | None) -> Found | str:
        try:
            masks, report = compute_masks(
                self.net, built(arm, seed), amount=arm.sparsity, saliency=saliency, pool=arm.pool, params=pairs  # type: ignore[arg-type]
            )  # fmt: skip
        except ValueError as error:
            return " ".join(str(error).split())
        short = report.mask_hash[:HASH]
        examples, shown = self.met.get((arm.targets, short)), self.shown.get((seed, arm.batches, arm.targets, short))
        if examples is None or shown is None:
            with masked(self.net, masks):
                examples = self._evaluated() if examples is None else examples
                shown = self._shown(seed, arm.batches) if shown is None else shown
            self.met[arm.targets, short], self.shown[seed, arm.batches, arm.targets, short] = examples, shown
        return Found(short, report.sparsity, max(layer.sparsity for layer in report.layers), examples, shown)

    def _shown(self, seed: int, batches: int) -> Shown:
        """What the calibration examples of a draw show of the network as it is now."""
        given, (own, mixed) = self._kept(seed, batches)
        now = self._outputs(own.inputs)
        losses = [float(self.task.criterion(output, y)) for output, (_, y) in zip(now, given, strict=True)]
        return Shown(float(np.mean(losses)), distance(now, own.dense), distance(self._outputs(mixed.inputs), mixed.dense))

    def _outputs(self, inputs: Sequence[Any]) -> list[torch.Tensor]:
        with torch.no_grad():
            return [self.task.outputs(self.net.eval(), x).float() for x in inputs]

    def _kept(self, seed: int, batches: int) -> tuple[Given, tuple[Seen, Seen]]:
        """The calibration batches of a draw; inputs and dense outputs of each, and of each recombined."""
        if (seed, batches) not in self.kept:
            self.task.batches = batches
            given = self.task.calibration(seed)
            own = [x for x, _ in given]
            mixed = [recombined(Batch(i, (x,), {}, None, whole=False, size=samples(x))).args[0] for i, x in enumerate(own, 1)]
            self.kept = {(seed, batches): (given, (Seen(own, self._outputs(own)), Seen(mixed, self._outputs(mixed))))}
        return self.kept[seed, batches]


@dataclass(frozen=True, slots=True)
class Seen:
    """Inputs, and what the dense network says to each."""

    inputs: list[Any]
    dense: list[torch.Tensor]


def samples(inputs: Any) -> int:
    """How many samples a batch has: the rows of its first tensor.

    >>> samples({"ids": torch.zeros(3, 7), "mask": torch.zeros(3, 7)})
    3
    """
    return len(inputs) if isinstance(inputs, torch.Tensor) else samples(next(iter(getattr(inputs, "values", inputs.__iter__)())))


def distance(now: Sequence[torch.Tensor], dense: Sequence[torch.Tensor]) -> float:
    """Squared change of outputs over the variance of the dense ones between examples: 1 where their mean would do as well.

    >>> distance([torch.tensor([[1.0], [3.0]])], [torch.tensor([[0.0], [2.0]])])
    1.0
    """
    before, after = torch.cat(list(dense)), torch.cat(list(now))
    return float((after - before).square().sum() / (before - before.mean(0)).square().sum())


def measure(networks: Sequence[Network], grid: Grid, draws: Sequence[int], out: Path, device: str = "cpu") -> int:
    """Measure what the file lacks, a draw at a time; give how many arms could not be had."""
    warnings.simplefilter("ignore")
    rows, arms, lost = Rows(out), list(grid.arms()), 0
    for network in networks:
        wanted = {
            seed: [arm for arm in arms if rows.key_of({"network": network.name, "seed": seed, **asdict(arm)}) not in rows.keys]
            for seed in draws
        }
        if not any(wanted.values()):
            continue
        begun = Measuring(network, device)
        before = rows.of(network.name)
        begun.remember(before)
        if not before:
            rows.add(
                [_row(network, 0, Arm("", 0, "", 0.0, "dense"), Found("", 0.0, 0.0, begun.dense, Shown()), begun.dense, 0.0)]
            )
        said: set[str] = set()
        for seed, missing in wanted.items():
            new: list[dict[str, Any]] = []
            started = at = kept = time.perf_counter()
            try:
                for arm, found in begun.draw(seed, missing):
                    if isinstance(found, str):
                        lost += 1
                        if (line := f"{network.name}, {arm.scorer} in pool {arm.pool}: left out, {found}") not in said:
                            said.add(line)
                            print(line, file=sys.stderr, flush=True)
                        continue
                    now = time.perf_counter()
                    new.append(_row(network, seed, arm, found, begun.dense, now - at))
                    at = now
                    if now - kept > KEEP_EVERY:
                        rows.add(new)
                        new, kept = [], now
            finally:  # stopped by hand, too
                rows.add(new)
            print(f"{network.name}, draw {seed}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return lost


def _row(network: Network, seed: int, arm: Arm, found: Found, dense: str, seconds: float) -> dict[str, Any]:
    """One line of the file, in the words of `sics-run export` where these have one."""
    values = unpacked(found.examples)
    role = "dense" if arm.scorer == "dense" else "adaptive" if arm.scorer == MEASURED else str(get_scorer(arm.scorer).role)
    return {
        "network": network.name, "kind": network.kind, "split": network.split, "truth": network.truth, "seed": seed,
        **asdict(arm), "role": role, "unit": "weight", "metric": "accuracy", "accuracy": float(values.mean()), "n": len(values),
        "dense": float(unpacked(dense).mean()), "mask_hash": found.mask_hash, "realised_sparsity": found.realised_sparsity,
        "fullest": found.fullest, **asdict(found.shown), "examples": found.examples,
        "wall_seconds": round(seconds, 3), "versions": network.versions(),
        "torch": torch.__version__,
    }  # fmt: skip
