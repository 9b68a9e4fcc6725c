"""Error rates and coverage of every verdict, measured on simulated runs with known truths.

    python bench/calibration.py [--out docs/calibration.md] [--short] [--workers 2] [--only SECTION --out FILE]

Simulates the real design at 5, 8, 10 and 20 seeds and writes two pages: what was found in short, and beside it, as
calibration-cells.md, every rate with its Monte Carlo standard error. Exit code 1 when the gate fails: on Normal, correlated
Normal and symmetric discrete differences with a discordance of at least 1 %, no error rate above 5 % by more than two
standard errors, and the primary interval covers at least 94 % of 95 %. A rate of exactly 5 % is above that bound in one
table cell of 44 by chance alone, so a cell above is simulated again with fresh data sets, four times as many, and judged by
those; both rates are printed.

Plans of looks, which the tables have by their maximum n, are simulated with 40 000 data sets a family and a line; alone by
`--only "looks, family"` and the like.

A single line, paired or not, is simulated at 3 and 4 seeds too, without a gate. Rotations are drawn once for every 20 data
sets and shared between them, 2 000 at a time (1 000 for κ); where `kappa_spectrum` or `analyse` itself is called, it draws
1 000 of its own.
"""

from __future__ import annotations

import os

# One thread per process: the processes are the parallelism. It must be set before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simulation as sim
import simulation_looks as looked
import simulation_runs as runs
from simulation import Rate

SEEDS = (5, 8, 10, 20)
FEW = (3, 4)  # where a run is still analysed, and nothing is promised
ROOT = 20_260_510
SECTIONS = {
    "line": "Type I error of a single line, true difference exactly +δ, or −δ where it says so (nominal 5 %)",
    "family": "Family-wise error of the escape over six scorers (nominal 5 %)",
    "verdicts": "Families of 8 to 11 scorers, each exactly on its bound, by `escape_test`, `degrade_test`, `superiority_test`",
    "constants": "Differences of two values about the bound, equal by chance or on two adjacent counts (nominal 5 %)",
    "unpaired": "Unpaired seeds, by Welch's form; n is the seeds of the smaller side (nominal 5 %, interval 95 %)",
    "run": "The whole run as one family: a false escape over ten S, by `escape_test` and `run_wide` (nominal 5 %)",
    "attribution": "Attribution: scorers exactly δ above `information`, δ below it, or level with it, by `attribute`",
    "kappa": "κ(S): false claims and contradictions over four values of S (nominal 5 %)",
    "real kappa": "κ(S) and its trend by `kappa_spectrum`, ragged seeds among the rest (nominal 5 %)",
    "how far": "How far each of four scorers can prune against the dense network, by `how_far` (nominal 5 %)",
    "claims": "Claims exactly on their bound, by `analyse` and `evaluate` (nominal 5 %)",
    "coverage": "Coverage of 95 % intervals of one line (90 % where the name says so)",
    "joint": "Coverage of the simultaneous intervals over six scorers (nominal 95 %)",
    "crossed": "Coverage for new seeds and new images (nominal 95 %)",
    "other": "Coverage of the interval of one pair of networks (nominal 95 %)",
    "pooled": "Two-sided error of a zero difference, seeds that vary (nominal 5 %)",
    "power": "Power, simulated and exact",
    "looks, family": "Plans of looks up to n seeds: family-wise error of the escape over all looks, five scorers (nominal 5 %)",
    "looks, line": "Plans of looks up to n seeds: errors of a single line over all looks (nominal 5 %)",
    "looks, coverage": "Plans of looks up to n seeds: intervals where a line stops at its first verdict",
    "looks, kappa": "Plans of looks up to n seeds: κ(S) over two values of S by `kappa_spectrum` (nominal 5 %)",
    "looks, power": "Plans of looks up to n seeds: power of a single line",
}
PRIMARY = "Student t 95 %"
# What the gate holds to its nominal rate; the rest is shown beside it for comparison.
OURS = {
    "line": ("t-TOST", "escape, t", "sign-flip TOST", "NONSUPERIOR at +δ", "NONINFERIOR at −δ"),
    "family": ("rotation max-T, any false",),
    "verdicts": ("ESCAPES, any false", "DEGRADES, any false", "above 0, any false"),
    "constants": (
        "ESCAPES, any false",
        "DEGRADES, any false",
        "EQUIVALENT at +δ",
        "NONSUPERIOR or EQUIVALENT at +δ",
        "NONINFERIOR or EQUIVALENT at −δ",
    ),
    "unpaired": ("t-TOST", "escape, t", "NONSUPERIOR at +δ", "NONINFERIOR at −δ", "ESCAPES, any false of six", runs.WELCH),
    "run": (runs.OVER,),
    "attribution": (
        "ESCAPES, any false",
        "DEGRADES, any false",
        "above information, any false",
        "EQUIVALENT at +δ, one line",
    ),
    "kappa": ("any false claim over four S", "any true κ rejected over four S"),
    "real kappa": ("any false claim over four S", "false trend"),
    "claims": tuple(f"{label}, falsely {wrong}" for _, _, own in runs.CLAIMS.values() for label in own for wrong in runs.WRONG),
    "how far": ("any false claim",),
    "pooled": ("paired t over seeds",),
    "coverage": (PRIMARY,),
    "crossed": (sim.NEW_IMAGES,),
    "looks, family": (looked.OVER_LOOKS,),
    "looks, line": (looked.EQUIVALENT, looked.NONINFERIOR, looked.ESCAPES),
    "looks, coverage": (*looked.REPEATED_90, *looked.REPEATED_95),
    "looks, kappa": ("any false claim over two S",),
}
COVERING = dict.fromkeys((PRIMARY, sim.NEW_IMAGES, runs.WELCH, *looked.REPEATED_95), 0.94)  # what is to be covered at least
COVERING |= dict.fromkeys(looked.REPEATED_90, 0.89)


@dataclass(frozen=True)
class Task:
    """One simulation: a section, a scenario, a number of seeds, and how many data sets."""

    section: str
    scenario: str
    n: int
    size: int
    boot: int
    gated: bool
    repeat: int = 0

    def run(self) -> dict[str, tuple[Rate, float | None]]:
        key = [ROOT, self.n, self.repeat, *f"{self.section}/{self.scenario}".encode()]
        rng = np.random.default_rng(key)
        if self.section == "line":
            found = sim.line_errors(self.scenario, self.n, self.size, self.boot, rng)
        elif self.section == "coverage":
            found = sim.interval_coverage(self.scenario, self.n, self.size, self.boot, rng)
        elif self.section == "family":
            found = sim.family_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "joint":
            found = sim.simultaneous_coverage(self.scenario, self.n, self.size, rng)
        elif self.section == "kappa":
            found = sim.kappa_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "verdicts":
            found = runs.verdict_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "constants":
            found = runs.constant_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "unpaired":
            found = runs.unpaired_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "run":
            found = runs.run_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "attribution":
            found = runs.attribution_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "real kappa":
            found = runs.real_kappa_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "claims":
            found = runs.claim_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "how far":
            found = runs.far_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "power":
            return dict(sim.powers(self.n, self.size, self.boot, rng))
        elif self.section == "crossed":
            found = sim.crossed_coverage(self.scenario, self.n, self.size, rng)
        elif self.section == "looks, family":
            found = looked.family_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "looks, line":
            found = looked.line_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "looks, coverage":
            found = looked.stop_coverage(self.scenario, self.n, self.size, rng)
        elif self.section == "looks, kappa":
            found = looked.kappa_errors(self.scenario, self.n, self.size, rng)
        elif self.section == "looks, power":
            return looked.powers(self.n, self.size, rng)
        elif self.section == "pooled":
            found = sim.pooled_errors(self.n, self.size, rng)
        else:
            found = sim.other_coverage(self.n, self.size, rng)
        return {method: (value, None) for method, value in found.items()}

    @property
    def first_size(self) -> int:
        """Data sets of the first look."""
        return self.size // 4**self.repeat

    def again(self) -> Task:
        return Task(self.section, self.scenario, self.n, 4 * self.size, self.boot, self.gated, self.repeat + 1)


@dataclass(frozen=True)
class Cell:
    """One rate of the table; `first` is the rate that sent it to a second simulation."""

    task: Task
    method: str
    rate: Rate
    exact: float | None
    first: Rate | None = None

    @property
    def gated(self) -> bool:
        return self.task.gated and self.method in OURS.get(self.task.section, ())

    @property
    def passes(self) -> bool:
        if not self.gated:
            return True
        if self.method in COVERING:
            return self.rate.value >= COVERING[self.method] - (2 * self.rate.se if self.rate.total < 1_000 else 0)
        return sim.within_two_errors(self.rate)


def tasks_of_looks(short: bool) -> list[Task]:
    """Plans of 20 and 40 seeds; the full form has 40 000 data sets a family and a line."""
    family, line, kappa = (300, 4_000, 20) if short else (40_000, 40_000, 2_000)
    found = []
    for n in (20,) if short else (20, 40):
        found += [Task("looks, family", name, n, family, 0, own.gated) for name, own in looked.FAMILIES.items()]
        found += [Task("looks, line", name, n, line, 0, own[-1]) for name, own in looked.LINES.items()]
        found += [Task("looks, coverage", name, n, line, 0, own[-1]) for name, own in looked.LINES.items()]
        found += [Task("looks, kappa", name, n, kappa, 0, True) for name in looked.TRUTHS]
        found.append(Task("looks, power", "one line", n, line, 0, False))
    return found


def tasks(short: bool) -> list[Task]:
    cheap, boot, family, kappa, slow = (2_000, 30, 200, 100, 40) if short else (20_000, 2_000, 10_000, 4_000, 2_000)
    # What goes through the package's own functions, one data set at a time.
    verdicts, attribution, real, claims, whole = (20, 10, 10, 5, 10) if short else (2_000, 600, 1_000, 600, 1_000)
    found = [Task("line", name, n, cheap, boot, False) for n in FEW for name in (["Normal"] if short else sim.COLUMNS)]
    found += [Task("unpaired", name, n, 2 * kappa, 0, False) for n in FEW for name in runs.UNPAIRED]
    for n in SEEDS[:2] if short else SEEDS:
        for name, (_, gated) in sim.COLUMNS.items():
            found.append(Task("line", name, n, cheap, boot, gated))
            found.append(Task("coverage", name, n, cheap, boot, gated))
        found += [Task("family", name, n, family, 0, gated) for name, gated in sim.FAMILIES.items()]
        found += [Task("verdicts", name, n, verdicts, 0, runs.VERDICTS[name][-1]) for name in runs.VERDICTS]
        found += [Task("constants", name, n, 2 * verdicts, 0, runs.CONSTANTS[name][-1]) for name in runs.CONSTANTS]
        found += [Task("unpaired", name, n, 2 * kappa, 0, runs.UNPAIRED[name][-1]) for name in runs.UNPAIRED]
        found += [Task("run", name, n, whole, 0, runs.RUNS[name][-1]) for name in runs.RUNS]
        found += [Task("attribution", name, n, attribution, 0, runs.ATTRIBUTION[name][-1]) for name in runs.ATTRIBUTION]
        found += [Task("kappa", name, n, kappa, 0, True) for name in sim.TRUTHS]
        found += [Task("real kappa", name, n, real, 0, runs.REAL_TRUTHS[name][-1]) for name in runs.REAL_TRUTHS]
        found += [Task("how far", name, n, 5 * kappa // 4, 0, True) for name in runs.FAR]
        found += [Task("claims", name, n, claims, 0, True) for name in runs.CLAIMS]
        found += [
            Task("joint", name, n, family // 2, 0, False)
            for name in ("Normal, independent", "Normal, correlated 0.5", "Normal, correlated 0.9", "discrete, discordance 1 %")
        ]
        found += [Task("crossed", name, n, slow, 0, True) for name in sim.CROSSED]
        if n == SEEDS[0]:
            found.append(Task("other", "4 % gained, 3 % lost of 600 images", n, slow, 0, False))
        found.append(Task("pooled", "10 000 images a seed", n, cheap, 0, True))
        found.append(Task("power", "Normal, sd 0.3", n, cheap, boot, False))
    return found + tasks_of_looks(short)


def cells(task: Task) -> list[Cell]:
    found = [Cell(task, method, *value) for method, value in task.run().items()]
    if all(cell.passes for cell in found):
        return found
    fresh = task.again()
    again = fresh.run()
    return [
        cell if cell.passes else Cell(fresh, cell.method, again[cell.method][0], cell.exact, first=cell.rate) for cell in found
    ]


def render(found: list[Cell], short: bool) -> str:
    """The page: how often what errs, in a line a section, and which cells failed."""
    failed = [cell for cell in found if not cell.passes]
    repeated = [cell for cell in found if cell.first is not None]
    gated = sum(cell.gated for cell in found)
    lines = [
        "# Calibration",
        "",
        "How often the verdicts err and the intervals miss, counted on simulated runs whose truth is known. **On Normal "
        "differences and on counts errors are near 5 % or below it; skewed differences break every method at few seeds, these "
        "too.**",
        "",
        f"`python bench/calibration.py{' --short' if short else ''}` writes this page and [every cell](calibration-cells.md); "
        f"the same seed gives the same numbers. Percent; δ = {sim.DELTA} points, α = {sim.ALPHA}, differences with sd {sim.SD} "
        f"where Normal or skewed, and k/{sim.IMAGES} where discrete.",
        "",
        f"**{gated} gated cells, {len(failed)} failed.**",
        "",
        *_summary(found),
        "",
        "*Worst* is the highest error rate, or the lowest coverage of an interval. *Gated* are Normal, correlated Normal and "
        "symmetric discrete differences (discordance at least 1 %): there no error rate may be above 5 % by more than two "
        "standard errors, intervals of 95 % cover at least 94 %, and those of 90 % that hold over several looks at least 89 %. "
        "*Beyond* are our methods where nothing is promised: skewed and very sparse differences, 3 and 4 seeds, and two values "
        "whose test examples are unknown, which nobody can tell from two adjacent counts.",
        "",
        "Of so many cells some exceed two standard errors by chance alone. So a gated cell that fails is simulated again, with "
        "fresh data sets, four times as many, and judged by those. These were:",
        "",
        *(
            f"- {'' if cell.passes else '**failed:** '}{_where(cell)}: {cell.rate}, first {cell.first}, "
            "simulated again with fresh data"
            for cell in sorted(repeated, key=lambda cell: cell.passes)
        ),
        *(["- none"] if not repeated else []),
        "",
        *_gate_power({cell.task.first_size for cell in found if cell.gated and cell.method not in COVERING}),
    ]
    return "\n".join(lines)


def render_cells(found: list[Cell]) -> str:
    """The page beside it: every rate, section by section."""
    lines = [
        "# Calibration: every cell",
        "",
        "Percent ± Monte Carlo standard error; ● is held to the gate of [the page](calibration.md), and other methods are shown "
        "beside ours.",
        "",
    ]
    for section, title in SECTIONS.items():
        own = [cell for cell in found if cell.task.section == section]
        if own:
            lines += [f"## {title}", "", *_table(own), ""]
    return "\n".join(lines)


def _summary(found: list[Cell]) -> list[str]:
    lines = ["| what | cells gated | failed | worst gated | worst beyond |", "|---|---|---|---|---|"]
    for section, title in SECTIONS.items():
        ours = [cell for cell in found if cell.task.section == section and cell.method in OURS.get(section, ())]
        gated = [cell for cell in ours if cell.gated]
        if ours:
            failed = sum(not cell.passes for cell in gated)
            worst = [_worst(gated), _worst([cell for cell in ours if not cell.gated])]
            lines.append(f"| {title.partition(' (nominal')[0]} | {len(gated)} | {failed} | {worst[0]} | {worst[1]} |")
    return lines


def _worst(found: list[Cell]) -> str:
    """The highest error rate and the lowest coverage, each with where it is."""
    errors = [cell for cell in found if cell.method not in COVERING]
    covers = [cell for cell in found if cell.method in COVERING]
    said = [(max(errors, key=lambda cell: cell.rate.value), "")] if errors else []
    said += [(min(covers, key=lambda cell: cell.rate.value), "covers ")] if covers else []
    return "; ".join(f"{word}{100 * cell.rate.value:.1f} ({_where(cell)})" for cell, word in said) or "–"


def _gate_power(sizes: set[int]) -> list[str]:
    """What the gate can see: the chance that a cell of a given true rate passes after both looks."""
    true_rates = (0.05, 0.055, 0.06, 0.07)
    lines = [
        "What that gate can see: the chance, in percent, that a cell passes after both looks, by its true rate and the data sets "
        "of its first look. Cells of few data sets (whole analyses) only show that nothing is badly wrong.",
        "",
        "| data sets | " + " | ".join(f"{100 * true:g} %" for true in true_rates) + " |",
        "|---|" + "---|" * len(true_rates),
    ]
    for size in sorted(sizes):
        texts = (f"{100 * sim.gate_passes(size, true):.2f}" for true in true_rates)
        lines.append(f"| {size} | " + " | ".join(texts) + " |")
    return [*lines, ""]


def _where(cell: Cell) -> str:
    return f"{cell.task.scenario or cell.task.section}, {cell.method}, n = {cell.task.n}"


def _table(found: list[Cell]) -> list[str]:
    sizes = sorted({cell.task.n for cell in found})
    rows = list(dict.fromkeys((cell.task.scenario, cell.method) for cell in found))
    lines = ["| differences | method | " + " | ".join(f"n = {n}" for n in sizes) + " |", "|---|---|" + "---|" * len(sizes)]
    for scenario, method in rows:
        texts = []
        for n in sizes:
            cell = next((c for c in found if (c.task.scenario, c.method, c.task.n) == (scenario, method, n)), None)
            texts.append("–" if cell is None else _text(cell))
        lines.append(f"| {scenario} | {method} | " + " | ".join(texts) + " |")
    return lines


def _text(cell: Cell) -> str:
    text = str(cell.rate)
    if cell.exact is not None:
        text += f" (exact {100 * cell.exact:.2f})"
    return f"{text}{' ●' if cell.gated else ''}{'' if cell.passes else ' **fails**'}"


def cells_of(page: Path) -> Path:
    """Where the page of every cell lies, beside this one."""
    return page.with_name(f"{page.stem}-cells{page.suffix}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/calibration.md"))
    parser.add_argument("--short", action="store_true", help="few data sets, up to 8 seeds: what the tests run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--only", action="append", choices=SECTIONS, help="these sections alone, into another file; may be repeated"
    )
    args = parser.parse_args()
    if args.only and args.out == parser.get_default("out"):
        parser.error("--only makes a part of the table: give another --out")
    start = time.perf_counter()
    todo = [task for task in tasks(args.short) if not args.only or task.section in args.only]
    with ProcessPoolExecutor(args.workers) as pool:
        found = []
        for done, group in enumerate(pool.map(cells, todo), 1):
            found += group
            if done % 50 == 0:
                print(f"{done} of {len(todo)} simulations, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(render(found, args.short) + "\n", encoding="utf-8")
    cells_of(args.out).write_text(render_cells(found) + "\n", encoding="utf-8")
    failed = [cell for cell in found if not cell.passes]
    print(
        f"{args.out}: {sum(c.gated for c in found)} gated cells, {len(failed)} failed, {time.perf_counter() - start:.0f} s",
        file=sys.stderr,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
