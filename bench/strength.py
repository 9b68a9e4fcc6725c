"""Which class and strength at which sparsity, measured on validation images: what a table of SICSAdaptive may be chosen by.

    sics-run replicate --config bench/strength.toml --out runs/strength       # the dense networks
    python bench/strength.py measure runs/strength --unit weight --out runs/strength/weight.csv
    python bench/strength.py measure runs/strength --unit weight --shares 0.3,0.4,0.5,0.6 --out runs/strength/weight-shares.csv
    python bench/strength.py measure runs/strength --unit weight --exponents 0.2,0.3,0.5,0.75 --out runs/strength/weight-doses.csv
    python bench/strength.py read runs/strength/weight.csv runs/strength/channel.csv [--markdown docs/strength.md]

`measure` prunes every kept network of a finished run by every class at every strength, and by every peer that is defined for
the unit, and evaluates it on the run's validation part; test images are never looked at. With `--shares` the strengths are
α = share·(1 − S) instead, a share of what is kept, capped at 0.15; with `--exponents` it is the gradient baseline that is
weakened, m·cᵇ in place of m·c, so that not only this project's own scorers have a strength that is chosen. `read` makes a
table of mean differences to magnitude in points of validation accuracy, with the standard error over seeds.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from pruning import write_between

from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.units import Units

BEGIN, END = "<!-- bench/strength.py: begin -->", "<!-- bench/strength.py: end -->"
SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9)
#: The default strength, 0.15, and powers of two times it.
STRENGTHS = (0.0375, 0.075, 0.15, 0.3, 0.6)
CLASSES = ("bump", "smooth_chaos", "smooth_mouse", "chaos", "wiggle", "information")
#: The strength that shares are capped at.
MOST = 0.15
REFERENCE = "magnitude"


@dataclass(frozen=True)
class Weakened(Scorer):
    """m·cᵇ: the gradient baseline with a strength b. At 1 it is `gradient`, at 0 magnitude."""

    name, role, summary, requires = "weakened", "baseline", "m·cᵇ", "gradient"
    exponent: float = 1.0

    def score(self, units: Units, sparsity: float) -> Any:
        assert units.saliency is not None
        return units.magnitude.double() * units.saliency.double() ** self.exponent


def candidates(unit: str, shares: Sequence[float]) -> Iterator[tuple[str, str, Callable[[float], float] | None]]:
    """Scorer, its strength in words and by S: every one defined for the unit, or only the classes at these shares."""
    from sics_plugin import get_scorer, list_scorers

    for name in list_scorers():
        cls: Any = get_scorer(name)
        if unit not in getattr(cls, "units", (unit,)) or cls.role == "adaptive":
            continue
        if name in CLASSES and shares:
            yield from ((name, f"{share:g}·(1−S)", partial(capped, share)) for share in shares)
        elif name in CLASSES:
            yield from ((name, f"{alpha:g}", partial(constant, alpha)) for alpha in STRENGTHS)
        elif name == REFERENCE or (cls.role in ("peer", "baseline") and not shares):
            yield name, "", None


def constant(alpha: float, sparsity: float) -> float:
    """The same strength at every S."""
    return alpha


def capped(share: float, sparsity: float) -> float:
    """A share of what is kept, no more than the default."""
    return min(MOST, share * (1 - sparsity))


def measured(
    folder: Path, seed: int, unit: str, shares: Sequence[float], exponents: Sequence[float], source: str | None
) -> list[dict[str, Any]]:
    """The rows of one seed: validation counts and losses under every candidate at every sparsity."""
    import torch
    from torch import nn

    from sics_cli.results.scorer_meter import run_networks
    from sics_cli.tasks.networks.evaluation import evaluate
    from sics_plugin import (
        Saliency,
        SharedRanks,
        VanishedLayerWarning,
        build_scorer,
        compute_channel_masks,
        compute_masks,
        get_scorer,
        masked,
    )
    from sics_plugin.saliency.kinds import SIGNALS

    torch.set_num_threads(1)
    warnings.simplefilter("ignore", VanishedLayerWarning)
    (network,) = run_networks(folder, [seed], data=source, saliency="gradient")
    model, part = network.model, network.validation
    assert part is not None
    saliencies: dict[str, Any] = {"gradient": network.saliency}
    rows, seen = [], {}
    with SharedRanks():
        weakened = {f"c^{exponent:g}": Weakened(exponent=exponent) for exponent in exponents}
        wanted: list[tuple[str, str, Callable[[float], float] | None]] = [(Weakened.name, words, None) for words in weakened]
        for name, words, strength in [(REFERENCE, "", None), *wanted] if exponents else candidates(unit, shares):
            cls: Any = Weakened if words in weakened else get_scorer(name)
            kind = str(cls.requires) if cls.role == "peer" else "gradient"
            if kind not in saliencies:
                data = (network.batches, nn.functional.cross_entropy) if SIGNALS[kind].collect is not None else ()
                saliencies[kind] = Saliency(model, *data, kind=kind, unit=unit)
            for sparsity in SPARSITIES:
                alpha = None if strength is None else strength(sparsity)
                if words in weakened:
                    scorer: Scorer = weakened[words]
                else:
                    scorer = build_scorer(name, seed=seed) if alpha is None else build_scorer(name, alpha=alpha)
                masks, report = (
                    compute_masks(model, scorer, amount=sparsity, saliency=saliencies[kind])
                    if unit == "weight"
                    else compute_channel_masks(model, scorer, sparsity, unit=unit, saliency=saliencies[kind])  # type: ignore[arg-type]
                )
                if report.mask_hash not in seen:
                    with masked(model, masks):
                        seen[report.mask_hash] = evaluate(model, part)
                found = seen[report.mask_hash]
                rows.append(
                    {
                        "unit": unit, "seed": seed, "sparsity": sparsity, "scorer": name, "role": str(cls.role),
                        "strength": words, "alpha": alpha, "correct": found.correct, "n": found.n, "loss": found.loss,
                    }
                )  # fmt: skip
    return rows


def measure(arguments: argparse.Namespace) -> int:
    """Every kept network of a run, a process each; seeds that the file holds already are left out."""
    from sics_cli.store.store import Store, find_store

    with Store.open(find_store(arguments.run), read_only=True) as store:
        seeds = sorted(row.seed for row in store.checkpoints())
    out: Path = arguments.out
    done = pd.read_csv(out) if out.exists() else pd.DataFrame()
    missing = [seed for seed in seeds if done.empty or seed not in set(done["seed"])]
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        futures = [
            pool.submit(measured, arguments.run, seed, arguments.unit, arguments.shares, arguments.exponents, arguments.data)
            for seed in missing
        ]
        for future in as_completed(futures):
            done = pd.concat([done, pd.DataFrame(future.result()).assign(run=arguments.run.name)]).sort_values(
                ["seed", "sparsity"], kind="stable"
            )
            done.to_csv(out, index=False)
            print(f"{done['seed'].nunique()} of {len(seeds)} seeds", file=sys.stderr, flush=True)
    return 0


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds, with its standard error, of what a candidate differs from magnitude: points of accuracy."""
    keys = ["run", "unit", "sparsity", "seed"]
    rows = rows.assign(accuracy=100 * rows["correct"] / rows["n"], strength=rows["strength"].fillna(""))
    rows = rows.drop_duplicates([*keys, "scorer", "strength"])  # magnitude is in every file
    base = rows[rows["scorer"] == REFERENCE].set_index(keys)[["accuracy"]]
    rows = rows[rows["scorer"] != REFERENCE].merge(base, left_on=keys, right_index=True, suffixes=("", "_reference"))
    rows["points"] = rows["accuracy"] - rows["accuracy_reference"]
    groups = rows.groupby(["run", "unit", "sparsity", "scorer", "role", "strength"], sort=False)
    found = groups["points"].agg(["mean", "sem"])
    found["seeds"] = groups["seed"].nunique()
    return found.reset_index()


def markdown(found: pd.DataFrame) -> str:
    """One table for a run and unit: a row for each candidate, a column for each S."""
    lines: list[str] = []
    for (run, unit), part in found.groupby(["run", "unit"], sort=False):
        title = f"{run}, unit {unit}, {int(part['seeds'].min())} seeds"
        lines += [f"{title}: points of validation accuracy over magnitude ± standard error.", ""]
        lines += [f"| scorer | α | {' | '.join(f'S = {s:g}' for s in SPARSITIES)} |", "|---" * (2 + len(SPARSITIES)) + "|"]
        for (scorer, strength), rows in part.groupby(["scorer", "strength"], sort=False):
            cells = {row.sparsity: f"{row.mean:+.2f} ± {row.sem:.2f}" for row in rows.itertuples()}
            lines.append(f"| {scorer} | {strength} | {' | '.join(cells.get(s, '') for s in SPARSITIES)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split(","))


def main() -> int:
    """Measure or read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="prune and evaluate on validation images")
    measuring.add_argument("run", type=Path, metavar="RUN")
    measuring.add_argument("--unit", choices=["weight", "channel", "head"], default="weight")
    measuring.add_argument("--shares", type=numbers, default=(), metavar="C,…", help="only the classes, at α = C·(1−S)")
    measuring.add_argument("--exponents", type=numbers, default=(), metavar="B,…", help="only the gradient baseline, at m·cᴮ")
    measuring.add_argument("--data", help="where the images are, as replicate takes it")
    measuring.add_argument("--workers", type=int, default=2)
    measuring.add_argument("--out", type=Path, required=True, metavar="CSV")
    reading = commands.add_parser("read", help="tabulate")
    reading.add_argument("files", type=Path, nargs="+", metavar="CSV")
    reading.add_argument("--scorers", type=lambda text: text.split(","), metavar="NAME,…", help="only these")
    reading.add_argument("--markdown", type=Path, metavar="PAGE", help="write the tables into this page, between its markers")
    arguments = parser.parse_args()
    if arguments.command == "measure":
        return measure(arguments)
    found = differences(pd.concat([pd.read_csv(file, dtype={"strength": str}) for file in arguments.files]))
    text = markdown(found if arguments.scorers is None else found[found["scorer"].isin(arguments.scorers)])
    print(text)
    if arguments.markdown is not None:
        write_between(arguments.markdown, text, BEGIN, END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
