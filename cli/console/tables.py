"""Tables for people, at 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sics_cli.experiment.scorers import ScorerInfo
from sics_cli.store.store import REFERENCE, Store

if TYPE_CHECKING:
    from sics_cli.results.scorer_meter import Measured

NONE = "–"


def plain_table(*columns: str | tuple[str, str], gap: int = 2) -> Table:
    """A table with a rule below its heading; a column is a heading, or (heading, "right")."""
    from sics_analysis.report.layouts import terminal_tables  # only now: `--help` loads none of it

    return terminal_tables.plain_table(*columns, gap=gap)


def paragraph(console: Console, text: str, first: int | str = 0, rest: int = 0, style: str = "", label_style: str = "") -> None:
    """Print text in lines as wide as the console, broken between words; `first` is an indent, or a label."""
    from sics_analysis.report.layouts import terminal_tables

    terminal_tables.paragraph(console, text, first, rest, style, label_style)


def fact(console: Console, label: str, text: str, style: str = "") -> None:
    """Print a labelled line, wrapped between words only: paths and hashes stay whole, to be copied."""
    paragraph(console, text, f"{label:<9} ", 10, style)


def command(console: Console, label: str, text: str) -> None:
    """Print a labelled command in one line, to be copied."""
    from sics_analysis.report.layouts import terminal_tables

    terminal_tables.command_line(console, text, f"{label:<9} ")


def seed_text(seeds: Sequence[int]) -> str:
    """Name seeds in short.

    >>> seed_text([0, 1, 2]), seed_text([7]), seed_text([3, 5])
    ('seeds 0 to 2', 'seed 7', 'seeds 3, 5')
    """
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


def kappa_text(kappa: int | None, role: str) -> str:
    """κ of a feature class, or the role of what has none."""
    return str(kappa) if kappa is not None else role


def print_grid(
    console: Console,
    seeds: Sequence[int],
    sparsities: Sequence[float],
    rows: Sequence[tuple[str, Callable[[int, float], str]]],
) -> None:
    """Print a table with a row per scorer and a column per sparsity; each seed is one mark, in order.

    A row is its title and a function (seed, sparsity) → mark, "" where there is no such cell.
    """
    table = plain_table("scorer", *(f"S = {sparsity:g}" if sparsity else "dense" for sparsity in sparsities))
    for title, mark in rows:
        table.add_row(title, *(_marks([mark(seed, sparsity) for seed in seeds]) for sparsity in sparsities))
    console.print(table)


def _marks(marks: Sequence[str]) -> str:
    """Marks as they are up to ten seeds, counts beyond."""
    found = "".join(marks)
    if len(found) <= 10:
        return found
    failed = f" {found.count('x')}x" if "x" in found else ""
    return f"{found.count('#')}/{len(found)}{failed}"


def print_runs(console: Console, runs: Mapping[str, Path]) -> None:
    """Print what each run is, a line each, and what to do with one. A run is named by its preset and its unit."""
    table = plain_table("run", "unit", "preset", ("seeds", "right"), "looks", ("δ", "right"), gap=1)
    for name, path in runs.items():
        with Store.open(path, read_only=True) as store:
            unit, plan = store.meta("recipe")["unit"], store.plans()[-1]
            seeds = len({row.seed for row in store.cells()})
            made = len(store.looks(plan.plan_hash)) if plan.looks is not None else 0
        looks = NONE if plan.looks is None else f"{made} of {len(plan.looks['looks'])}"
        preset = name.removeprefix(REFERENCE).removesuffix(f"-{unit}")
        table.add_row(name, unit, preset, str(seeds), looks, f"{plan.delta:g}")
    console.print(table)
    console.print()
    command(console, "show one", f"sics-run report {next(iter(runs))}")
    command(console, "agree?", f"sics-run compare RUN {next(iter(runs))}")


def print_scorers(console: Console, infos: Sequence[ScorerInfo]) -> None:
    """Print name, κ, role and formula."""
    table = plain_table("name", "κ", "role")
    table.add_column("formula (m magnitude, ρ its percentile, z coordinate)", overflow="fold")
    for info in infos:
        kappa = NONE if info.kappa is None else str(info.kappa)
        table.add_row(info.name, kappa, info.role, Text(info.summary))
    console.print(table)


def print_scorers_long(console: Console, infos: Sequence[ScorerInfo]) -> None:
    """Print all that is known of each: formula, source, what its source ranks against each other, units, and what it reads."""
    for i, info in enumerate(infos):
        if i:
            console.print()
        kappa = "" if info.kappa is None else f", κ = {info.kappa}"
        console.print(Text(info.name, style="bold"), Text(f"({info.role}{kappa})"))
        for label, text in (
            ("formula", info.summary),
            ("source", info.source),
            ("pool", f"{info.pool}, its source's; --pool native takes it" if info.source else info.pool),
            ("units", ", ".join(info.units)),
            ("reads", reads(info)),
        ):
            if text:
                fact(console, f"  {label}", text)


def reads(info: ScorerInfo) -> str:
    """What a scorer sees of a unit."""
    if info.tried is not None:
        return f"what {', '.join(info.tried.names)} read, in pools {', '.join(info.tried.pools)}, from the calibration batches"
    if info.signal is not None:
        return f"{info.signal}, a signal of its own, {'from the calibration batches' if info.calibrated else 'without data'}"
    if info.requires is not None:
        return f"magnitude and the run's saliency, which has to be {info.requires}"
    return _READ.get(info.name, "magnitude" if info.kappa == 0 else "magnitude and the run's saliency")


_READ = {"random": "nothing", "fake": "magnitude"}


def print_forms(console: Console, searched: Sequence[str], pools: Sequence[str]) -> None:
    """Print which names a run takes that no list has."""
    fusion, adaptive, *features = searched
    console.print()
    console.print(Text("Also in a run:", style="bold"))
    sets = f"SET {' | '.join(features)} (docs/fusion.md)"
    fact(console, "  searched", f"{fusion} and {adaptive}: weights searched by N evaluations of held-out examples; {sets}")
    fact(console, "  pooled", f"NAME/POOL: ranked in a pool of its own; POOL {' | '.join(pools)}")


def print_offered(console: Console, points: Mapping[str, str]) -> None:
    """Print the scorers that installed packages offer; they are imported when they are asked for."""
    if points:
        console.print()
        console.print(Text("offered by installed packages (entry points of sics.scorers):", style="bold"))
    for name, place in sorted(points.items()):
        paragraph(console, f"{name}  {place}", 2, 4)


def print_measured(console: Console, measured: Sequence[Measured]) -> None:
    """Print what the meter found on one network: a line for each scorer, then the words and flags."""
    network, first = measured[0].network, measured[0].found
    values = ", ".join(f"{one.sparsity:g}" for one in first.at)
    title = (
        f"{network.experiment}, seed {network.seed}: {first.n} weights, one global pool, saliency {network.kind}, S = {values}"
    )
    console.print()
    fact(console, "measured", title, "bold")
    right = [(heading, "right") for heading in ("κ", "draws", "overlap", "rank", "sal.", "bent", "rest", "n.m.", ">10")]
    table = plain_table("scorer", "measured", *right, gap=1)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for one in measured:
        row = one.found.to_row()
        kinds = _kind_text(one)
        table.add_row(
            Text(one.found.name),
            Text(kinds, style="yellow" if _unlike(one) else ""),
            NONE if one.found.kappa is None else str(one.found.kappa),
            f"{100 * one.found.confidence:.0f} %",
            *(NONE if row[name] is None else f"{row[name]:.2f}" for name in _MEASURED),
        )
    console.print(table)
    for text in (
        "draws: share of bootstrap draws of units that agree. Means over S: overlap and rank correlation (Spearman) with "
        "magnitude; of what takes the score away from an increasing function of magnitude, the saliency's share, the share "
        "bent in magnitude alone, and the rest; of the curve over z, the shares that are not monotone and above 10 cycles.",
        *(
            f"{one.found.name}: its class says κ = {one.found.declared}, measured {_kind_text(one)}"
            for one in measured
            if _unlike(one)
        ),
        *dict.fromkeys(f"flag: {flag}" for one in measured for flag in one.found.flags),
    ):
        paragraph(console, text, style="dim")


_MEASURED = ("jaccard", "spearman", "saliency", "bent", "unexplained", "not_monotone", "above_ten_cycles")


def _kind_text(one: Measured) -> str:
    found = one.found
    if found.kind != "varies":
        return found.kind
    return ", ".join(f"{at.kind} at {at.sparsity:g}" for i, at in enumerate(found.at) if not i or at.kind != found.at[i - 1].kind)


def _unlike(one: Measured) -> bool:
    """Whether a class states a κ and another was measured."""
    return one.found.declared is not None and one.found.declared != one.found.kappa
