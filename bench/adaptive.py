"""The declared comparisons of SICSAdaptive with magnitude and with every peer; bench/adaptive*.toml say what was declared.

    python bench/adaptive.py run --unit weight --out runs/adaptive-weight [options of replicate]
    python bench/adaptive.py run --unit channel --out runs/adaptive-channel
    python bench/adaptive.py keep runs/adaptive-weight runs/adaptive-channel   # the rows that are read, in data/comparisons
    python bench/adaptive.py read [RUN …] [--markdown PAGE]                    # default: the kept ones

`run` hands replicate all that the comparison reads: magnitude, both arms, and every peer that is defined for the unit. `read`
makes one table of all runs; it takes δ and α from the declaration, and refuses runs of other seeds or sparsities.
`--preset cifar10-vit-micro` is the second declaration.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning import write_between

from sics_analysis.families.multiplicity import holm
from sics_analysis.one_scorer.equivalence import equivalence_test
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.results import Verdict, p_text
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.rows.table import Table, read_table
from sics_cli.main import main as sics_run
from sics_cli.results.source import read_source
from sics_cli.settings.config import read_toml

HERE = Path(__file__).parent
#: Each declaration is complete in itself: its own family of tests.
DECLARED = {"digits": HERE / "adaptive.toml", "cifar10-vit-micro": HERE / "adaptive-cifar10.toml"}
KEPT = HERE.parent / "data" / "comparisons"
#: What of a run's rows the comparison reads; hashes of masks tell equal from different, for which their beginning is enough.
COLUMNS = ("seed", "scorer", "kappa", "role", "unit", "pool", "sparsity", "correct", "n", "accuracy", "mask_hash")
#: The method by its two tables that go by name: SICSAdaptive as it comes, and with table="measured".
ARMS = {"adaptive": "adaptive", "adaptive_measured": f"{HERE / 'adaptive_measured.py'}:AdaptiveMeasured"}
#: The floor is no competitor.
FLOOR = "random"
#: The units of the declaration: Holm runs over all of them, also where a run of one is not read.
UNITS = ("weight", "channel")


@dataclass(frozen=True, slots=True)
class Line:
    """One arm at one S and unit: against the reference, and against every peer.

    `p_escape` is that of "above +δ", `p_degrade` of "below −δ", `p_worst` the largest of "above −δ" over the peers; None
    where the masks are identical, or there is no peer.
    """

    arm: str
    unit: str
    contrast: Contrast
    verdict: Verdict
    p_escape: float | None
    p_degrade: float | None
    peers: int
    hardest: str
    p_worst: float | None


def scorers_for(unit: str) -> list[str]:
    """What the comparison reads: the reference, the arms, and every peer that is defined for the unit."""
    from sics_plugin import get_scorer, list_scorers

    return [
        "magnitude",
        *ARMS.values(),
        *(n for n in peers_of(list_scorers()) if unit in getattr(get_scorer(n), "units", (unit,))),
    ]


def peers_of(names: Sequence[str]) -> list[str]:
    """Those of the scorers that an arm must not lose to."""
    from sics_plugin import get_scorer, list_scorers

    competitors = {name for name in list_scorers() if str(get_scorer(name).role) in ("peer", "baseline")} - {FLOOR}
    return [name for name in names if name in competitors]


def line_of(table: Table, arm: str, unit: str, sparsity: float, declared: dict[str, Any]) -> Line:
    """The declared tests of one arm at one S."""
    delta = declared["delta"]
    contrast = table.contrast(arm, declared["reference"], sparsity)
    shown = equivalence_test(contrast, delta)
    peers = {peer: table.contrast(arm, peer, sparsity) for peer in peers_of(scorers_for(unit))}
    # A peer that is not there, or not at every seed, was not shown to be no better.
    found = {name: not_worse(one, delta) if one.n == contrast.n else 1.0 for name, one in peers.items()}
    hardest = max(found, key=lambda peer: found[peer], default="")
    above, below = p_above(contrast, delta), p_below(contrast, -delta)
    # What was declared knows no half of an equivalence: a line is equivalent, or it escapes or degrades, or it is inconclusive.
    half = shown.verdict in (Verdict.NONINFERIOR, Verdict.NONSUPERIOR)
    word = Verdict.INCONCLUSIVE if half else shown.verdict
    return Line(arm, unit, contrast, word, above, below, len(found), hardest, found[hardest] if found else None)


def not_worse(contrast: Contrast, delta: float) -> float:
    """One-sided p that a difference is above −δ; 0 where the masks are the same, 1 where data allow no test."""
    if contrast.is_identical:
        return 0.0
    p = p_above(contrast, -delta)
    return 1.0 if p is None else p


def lines_of(run: Path, declared: dict[str, Any]) -> list[Line]:
    """The lines of a run, once it is seen to be what was declared."""
    source = read_source(run)
    table = read_table(source.frame)
    wanted, seeds = tuple(declared["sparsities"]), set(declared["seeds"])
    if table.sparsities != wanted or set(table.seeds) != seeds:
        raise SystemExit(
            f"{run}: holds S = {table.sparsities} and {len(table.seeds)} seeds, declared are {wanted} and the {len(seeds)} seeds "
            f"from {min(seeds)} to {max(seeds)} in bench/"
        )
    if missing := [arm for arm in ARMS if arm not in table.scorers]:
        raise SystemExit(f"{run}: has no rows of {missing[0]}")
    unit = table.unit or "unknown"
    if unit not in UNITS:
        raise SystemExit(f"{run}: is of unit {unit}, declared are {' and '.join(UNITS)}")
    lines = [line_of(table, arm, unit, s, declared) for arm in ARMS for s in table.sparsities]
    short = [line for line in lines if line.contrast.n < len(seeds)]
    if short:
        where = ", ".join(f"{line.contrast.sparsity:g}" for line in short if line.arm == short[0].arm)
        raise SystemExit(f"{run}: {short[0].arm} or {declared['reference']} lacks seeds at S = {where}: finish the run first")
    return lines


def markdown(lines: Sequence[Line], delta: float, alpha: float) -> str:
    """The table, and one sentence for each claim."""
    units = [line.unit for line in lines]
    unread = [unit for unit in UNITS if unit not in units]
    # What is not read may be anything: as tests with p = 1 it makes every other adjusted p as large as it can be.
    unknown = [1.0] * (len(unread) * len({(line.arm, line.contrast.sparsity) for line in lines}))
    adjusted = holm([*(line.p_escape for line in lines), *unknown])[: len(lines)]
    degrades = holm([*(line.p_degrade for line in lines), *unknown])[: len(lines)]
    rows = [
        "| scorer | unit | S | seeds | over magnitude | 95 % interval | above +δ (Holm) | verdict | not worse than every peer |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line, p, worse in zip(lines, adjusted, degrades, strict=True):
        interval = line.contrast.t_interval(0.95)
        verdict = line.verdict
        if p is not None and p <= alpha:
            verdict = Verdict.ESCAPES
        elif worse is not None and worse <= alpha:
            verdict = Verdict.DEGRADES
        mean = "" if line.contrast.mean is None else f"{line.contrast.mean:+.2f}"
        limits = "" if interval is None else f"{interval.low:+.2f} to {interval.high:+.2f}"
        shown = "" if p is None else p_text(p)
        cells = (
            line.arm,
            line.unit,
            f"{line.contrast.sparsity:g}",
            str(line.contrast.n),
            mean,
            limits,
            shown,
            str(verdict),
            _peers(line, alpha),
        )
        rows.append(f"| {' | '.join(cells)} |")
    tested = f"Holm over the {sum(p is not None for p in adjusted)} tested lines"
    if unread:
        tested += f" and {len(unknown)} of unit {' and '.join(unread)}, which are not read and count as tests"
    rows += [
        "",
        f"δ = {delta:g} points, α = {alpha:g}; {tested}. Not worse than every peer: each line at α, uncorrected over lines.",
    ]
    return "\n".join(rows)


def _peers(line: Line, alpha: float) -> str:
    if line.p_worst is None:
        return "no peer in the run"
    words = "shown" if line.p_worst <= alpha else "not shown"
    return f"{words} against {line.peers}: hardest {line.hardest}, {p_text(line.p_worst)}"


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    """Hand everything to replicate."""
    declared = DECLARED[arguments.preset]
    names = ",".join(scorers_for(arguments.unit))
    options = ["--config", str(declared), "--unit", arguments.unit, "--scorers", names, "--out", str(arguments.out)]
    return sics_run(["replicate", *options, *rest])


def keep(runs: Sequence[Path], declared: dict[str, Any], preset: str) -> int:
    """Put the rows that `read` needs into the repository, once they are seen to be what was declared."""
    KEPT.mkdir(exist_ok=True)
    for folder in runs:
        unit = lines_of(folder, declared)[0].unit
        rows = read_source(folder).frame[list(COLUMNS)].sort_values(["seed", "sparsity", "scorer"], kind="stable")
        rows = rows.assign(mask_hash=rows["mask_hash"].str[:16])
        rows[rows["mask_hash"].notna()].to_csv(kept(preset, unit), index=False, lineterminator="\n")
    return 0


def kept(preset: str, unit: str) -> Path:
    """Where the rows of a declared comparison lie."""
    return KEPT / f"adaptive-{preset}-{unit}.csv"


def main() -> int:
    """Run or read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="compute what is missing of a declared comparison")
    running.add_argument("--unit", choices=UNITS, default="weight")
    running.add_argument("--out", type=Path, required=True, metavar="DIR")
    keeping = commands.add_parser("keep", help="keep the rows of finished runs in the repository")
    keeping.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    reading = commands.add_parser("read", help="make the table of finished runs")
    reading.add_argument("runs", type=Path, nargs="*", metavar="RUN")
    reading.add_argument("--markdown", type=Path, metavar="PAGE", help="write the table into this page, between its markers")
    for one in (running, keeping, reading):
        one.add_argument("--preset", choices=list(DECLARED), default=next(iter(DECLARED)), help="which declaration")
    arguments, rest = parser.parse_known_args()
    if arguments.command == "run":
        return run(arguments, rest)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    declared = read_toml(DECLARED[arguments.preset])
    if arguments.command == "keep":
        return keep(arguments.runs, declared, arguments.preset)
    runs = arguments.runs or [path for unit in UNITS if (path := kept(arguments.preset, unit)).exists()]
    lines = [line for run in runs for line in lines_of(run, declared)]
    if len({(line.arm, line.unit, line.contrast.sparsity) for line in lines}) < len(lines):
        raise SystemExit("two of the runs are of one unit: give one run of each")
    text = markdown(lines, declared["delta"], declared["alpha"])
    print(text)
    if arguments.markdown is not None:
        marks = (f"<!-- bench/adaptive.py {arguments.preset}: {word} -->" for word in ("begin", "end"))
        write_between(arguments.markdown, text, *marks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
