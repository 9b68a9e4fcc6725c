"""`sics-run compare`: one run against another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sics_analysis.results import plural
from sics_cli.base.errors import ConfigError
from sics_cli.commands.options import ANY_MARGIN, LEVEL

#: Verdicts of lines that show no more than one side, and of those that show nothing.
_OPEN = (("NONINFERIOR", "NONSUPERIOR"), ("INCONCLUSIVE",))

if TYPE_CHECKING:
    from rich.console import Console

    from sics_analysis.results import Metric
    from sics_cli.results.compare_runs import ComparedLine, Gains, Pairs, RunRows


@click.command()
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--delta", type=ANY_MARGIN, metavar="UNITS", help="Equivalence margin.  [default: the plans', else 0.5 points]")
@click.option("--alpha", type=LEVEL, help="Error rate of the tests.  [default: the plans', else 0.05]")
@click.option("--across-devices", is_flag=True, help="Pair rows that were evaluated on different devices.")
@click.option("--unpaired", is_flag=True, help="Runs of other networks: is what a scorer gains in A what it gains in B?")
def compare(run_a: Path, run_b: Path, delta: float | None, alpha: float | None, across_devices: bool, unpaired: bool) -> None:
    """Test RUN_A minus RUN_B (folders, their stores, or reference:NAME), scorer by scorer at each sparsity.

    Rows pair where seed, scorer and sparsity are the same and both runs pruned the same dense checkpoint; the rest is
    refused, with the reason. Exit code 2: nothing can be paired.

    A reference:NAME is a run that ships with the package, and RUN_A a replication of it: where they share no dense network, what
    every scorer gains over magnitude is compared, as with --unpaired, and each line says whether the two agree within δ.
    """
    from sics_analysis.report.layouts.terminal import terminal
    from sics_analysis.results import ACCURACY
    from sics_cli.experiment.recipe import TOLD, differences
    from sics_cli.results.compare_runs import Gains, gains_of, pair, read_rows, same_networks
    from sics_cli.store.store import is_shipped

    a, b = read_rows(run_a), read_rows(run_b)
    replication = any(map(is_shipped, (run_a, run_b))) and not same_networks(a, b)
    found = (
        gains_of(a, b, across_devices=across_devices) if unpaired or replication else pair(a, b, across_devices=across_devices)
    )
    metric = found.metric
    default = None if metric.unit != ACCURACY.unit else 0.5
    settled = (_agreed("delta", delta, a.delta, b.delta, default), _agreed("alpha", alpha, a.alpha, b.alpha, 0.05))
    if metric.is_accuracy and settled[0] >= metric.scale:
        raise ConfigError(f"--delta {settled[0]:g}: is not accepted: give points above 0 and below 100")
    out = terminal()
    first, second = ({name: value for name, value in run.recipe.items() if name not in TOLD} for run in (a, b))
    changes = differences(first, second)
    differs = "What differs: " + "; ".join(changes) if changes else "One recipe: what differs is the code or the machine"
    head = [f"A  {run_a}, run {a.run_id[:12]}", f"B  {run_b}, run {b.run_id[:12]}", f"{differs}."]
    margins = f"δ = {settled[0]:g} {metric.short}, α = {settled[1]:g}{_fixed(settled, a, b)}"
    remarks = [f"{name}: {remark}" for name, run in (("A", a), ("B", b)) for remark in run.remarks]
    if isinstance(found, Gains):
        _print_gains(out, found, *settled, margins, remarks, a.reference, head)
    else:
        _print_pairs(out, found, *settled, margins, remarks, head)


def _lead(out: Console, answer: Sequence[str], head: Sequence[str]) -> None:
    """Print the answer, and below it what was compared."""
    from sics_cli.console.tables import paragraph

    for sentence in answer:
        paragraph(out, sentence, style="bold")
    if answer:
        out.print()
    for line in head:
        paragraph(out, line)


def _print_pairs(
    out: Console, pairs: Pairs, delta: float, alpha: float, margins: str, remarks: Sequence[str], head: Sequence[str] = ()
) -> None:
    """Print what pairs of rows show: the answer, then S by S."""
    from sics_analysis.one_scorer.bootstrap import SMALL_N, coverage_caveat
    from sics_analysis.results import written_with
    from sics_cli.console.tables import paragraph
    from sics_cli.results.compare_runs import compare_pairs

    metric, lines = pairs.metric, compare_pairs(pairs, delta, alpha)
    _lead(out, _answer(lines, delta, metric), head)
    seeds = sorted({one.seed for one, _ in pairs.pairs})
    paragraph(out, f"{plural(len(pairs.pairs), 'pair')} of rows, {plural(len(seeds), 'seed')} ({_seeds(seeds)}); {margins}")
    for remark in remarks:
        paragraph(out, remark, style="yellow")
    for reason in pairs.refused:
        paragraph(out, f"not paired: {reason}", style="yellow")
    with written_with(metric.digits(delta)):
        for sparsity in sorted({line.contrast.sparsity or 0.0 for line in lines}):
            _print_sparsity(out, sparsity, [line for line in lines if line.contrast.sparsity == sparsity], metric)
    out.print()
    better = "; less is better, so that ESCAPES is A below B" if metric.lower_is_better else ""
    sides = ("below", "above") if metric.lower_is_better else ("above", "below")
    paragraph(
        out,
        f"A − B in {metric.unit} at the same seed{better}. p =: equivalence within ±δ (paired t-TOST). p A>B, p A<B: one-sided "
        "against 0, adjusted over the scorers of this S (rotation max-T; Holm where they miss different seeds). ESCAPES, "
        f"DEGRADES: A {sides[0]} B by more than δ, {sides[1]} by more, adjusted likewise. NONINFERIOR, NONSUPERIOR: A not worse "
        "than B by δ, not better by it, one half of the equivalence test alone, unadjusted as EQUIVALENT is. Smallest attainable "
        f"p of an exact sign-flip test: {_attainable(lines)}. "
        f"{coverage_caveat(SMALL_N)}",  # no bootstrap here: of its caveat only what holds at any n
        style="dim",
    )


def _print_gains(
    out: Console,
    gains: Gains,
    delta: float,
    alpha: float,
    margins: str,
    remarks: Sequence[str],
    reference: str,
    head: Sequence[str] = (),
) -> None:
    """Print whether two runs of other networks agree in what scorers gain: the answer, the lines S by S, what to expect."""
    from sics_analysis.results import written_with
    from sics_cli.console.tables import paragraph
    from sics_cli.results.compare_runs import compare_gains, too_coarse

    metric, lines = gains.metric, compare_gains(gains, delta, alpha)
    _lead(out, _agreement(lines, delta, alpha, metric, gains.noise_floor), head)
    paragraph(out, f"Unpaired: A and B share no dense network. {margins}")
    coarse = max((c.resolution for c in gains.contrasts if too_coarse(c, delta)), default=None)
    remarks = [*remarks, *gains.remarks]
    if coarse is not None:
        remarks.append(f"One test example is {coarse:.2g} {metric.short}, more than δ: no network can show so little.")
    for remark in remarks:
        paragraph(out, remark, style="yellow")
    with written_with(metric.digits(delta)):
        if gains.identical:
            tested = {line.contrast.name for line in lines}
            at: dict[str, list[str]] = {}
            for name, sparsity in gains.identical:
                at.setdefault(name, []).append(f"{sparsity:g}")
            names = ", ".join(f"{name} at S = {', '.join(where)}" if name in tested else name for name, where in at.items())
            paragraph(out, f"Not tested, the mask of {reference} at every seed of both: {names}.")
        for sparsity in sorted({line.contrast.sparsity or 0.0 for line in lines}):
            _print_gains_at(out, sparsity, [line for line in lines if line.contrast.sparsity == sparsity], metric, alpha)
    out.print()
    below, above = ("above", "below") if metric.lower_is_better else ("below", "above")
    paragraph(
        out,
        f"A, B: mean gain over {reference} at the same seed of one run, in {metric.unit}. The seeds of A and B are no pairs, "
        f"so that all tests are Welch's. EQUIVALENT: A agrees with B, the {100 * (1 - 2 * alpha):g} % interval of A − B lies "
        f"inside ±δ, line by line. ESCAPES, DEGRADES: A differs from B, {above} it by more than δ or {below} it, by Holm over "
        "the scorers of this S; the answer on top by Holm over all lines and both directions. "
        "NONINFERIOR, NONSUPERIOR: A is shown not to be worse by δ, or not better, and no more. Without an interval: a side has "
        "one value, or two that are one test example apart, and the larger of Welch's and its exact p decides.",
        style="dim",
    )
    paragraph(
        out,
        "expected: two runs that differ in nothing but their seeds, with as many seeds and the spread that these have, lie "
        "closer together than this in 95 of 100 cases. Another processor rounds differently, and so trains other networks: other "
        "draws, as those of other seeds are. How much of A − B is the machine's is not told apart here.",
        style="dim",
    )


def _answer(lines: Sequence[ComparedLine], delta: float, metric: Metric) -> list[str]:
    """What pairs show in a sentence: how many lines are the same, where A is shown above B or below it, how many are open."""
    found: dict[str, list[ComparedLine]] = {}
    for line in lines:
        found.setdefault(str(line.decision.verdict), []).append(line)
    margin, count = f"{delta:g} {metric.short}", len(lines)
    same, within = len(found.get("IDENTICAL", ())), len(found.get("EQUIVALENT", ()))
    if same == count:
        return [f"A and B have the same masks in {'their one line' if count == 1 else f'each of {count} lines'}."]
    masks = f" (in {same} by the same masks)" if same else ""
    parts = [f"A is within ±{margin} of B in {same + within} of {plural(count, 'line')}{masks}"]
    sides = ("below", "above") if metric.lower_is_better else ("above", "below")
    for verdict, side in zip(("ESCAPES", "DEGRADES"), sides, strict=True):
        if shown := found.get(verdict):
            parts.append(f"{side} it by more than {margin} in {len(shown)} ({_named(shown)})")
    if not any(verdict in found for verdict in ("ESCAPES", "DEGRADES")):
        parts.append("none is shown to differ by more")
    one_sided, rest = (sum(len(found.get(name, ())) for name in names) for names in _OPEN)
    parts += [f"{one_sided} shown on one side alone"] if one_sided else []
    parts += [f"{rest} open"] if rest else []
    return [f"{'; '.join(parts)}. Each S is tested by itself."]


def _agreement(
    lines: Sequence[ComparedLine], delta: float, alpha: float, metric: Metric, floors: Mapping[float, float]
) -> list[str]:
    """Whether A agrees with B, in at most three sentences. What is shown apart holds over all lines, or is said not to."""

    sound = [line for line in lines if not line.doubted]
    said = []
    if sound:
        margin = f"±{delta:g} {metric.short}"
        verdicts = [str(line.decision.verdict) for line in sound]
        agree, count = verdicts.count("EQUIVALENT"), len(sound)
        if agree == count:
            said.append(f"A agrees with B within {margin}, in {'its one line' if count == 1 else f'each of {count} lines'}.")
        else:
            apart = [line for line, found in zip(sound, verdicts, strict=True) if found in ("ESCAPES", "DEGRADES")]
            shown = [line for line in apart if line.p_apart is not None and line.p_apart <= alpha]
            within = [line for line in apart if line not in shown]
            parts = [f"A agrees with B within {margin} in {agree} of {plural(count, 'line')}"]
            if count == 1:
                parts = [f"A is not shown to agree with B within {margin} in its one line"]
            parts.append(
                f"{len(shown)} shown to differ by more ({_named(shown)})" if shown else "none is shown to differ by more"
            )
            parts += [f"{len(within)} within its S alone, not over all lines ({_named(within)})"] if within else []
            parts += _open(sound, delta, floors)
            said.append(f"{'; '.join(parts)}.")
        said += _beyond(sound)
    if len(sound) < len(lines):
        many = plural(len(lines) - len(sound), "line")
        rest = f"{many} of {len(lines)} with open checks of the data (!)"
        said.append(f"No answer rests on {rest}: settle what is said of them below.")
    return said


def _open(lines: Sequence[ComparedLine], delta: float, floors: Mapping[float, float]) -> list[str]:
    """How many lines show neither, by what stands in the way."""
    from sics_analysis.rows.contrasts import MIN_SEEDS

    reasons = dict.fromkeys(("for want of seeds", "where δ is below the noise floor", "where neither side has a spread"), 0)
    seeds, floor, spread = reasons
    for line in lines:
        if str(line.decision.verdict) in ("EQUIVALENT", "ESCAPES", "DEGRADES"):
            continue
        if delta < floors.get(line.contrast.sparsity or 0.0, 0.0):
            reasons[floor] += 1
        else:
            reasons[spread if line.contrast.is_constant and line.contrast.n >= MIN_SEEDS else seeds] += 1
    return [f"{count} open {why}" for why, count in reasons.items() if count]


def _beyond(lines: Sequence[ComparedLine]) -> list[str]:
    """How many lines lie farther apart than seeds alone make of most; nothing where none can say."""
    reaches = [(abs(line.contrast.mean or 0.0), reach) for line in lines if (reach := _expected(line)) is not None]
    if not reaches:
        return []
    beyond, count = sum(apart > reach for apart, reach in reaches), len(reaches)
    than = "farther apart than seeds alone make of 95 in 100"
    if count == 1:
        return [f"The one line that can say lies {than}." if beyond else f"The one line that can say does not lie {than}."]
    lie, due = "lies" if beyond == 1 else "lie", round(0.05 * count)
    expected = "fewer than one is" if 0.05 * count < 1 else f"about {due} {'is' if due == 1 else 'are'}"
    return [
        f"{beyond} of {plural(count, 'line')} {lie} {than}: {expected} to be expected of runs that differ in their seeds alone."
    ]


def _named(lines: Sequence[ComparedLine]) -> str:
    return "; ".join(f"{line.contrast.name} at S = {line.contrast.sparsity:g}" for line in lines)


def _expected(line: ComparedLine) -> float | None:
    """How far apart two such runs are in 95 of 100 cases where only their seeds differ; None where t does not fit."""
    interval = line.contrast.t_interval(0.95)
    if interval is None or line.contrast.is_degenerate or line.contrast.is_adjacent:
        return None
    return (interval.high - interval.low) / 2


def _print_gains_at(out: Console, sparsity: float, lines: Sequence[ComparedLine], metric: Metric, alpha: float) -> None:

    from sics_analysis.report.layouts.terminal_tables import folded_at_words, marked, plain_table
    from sics_analysis.report.words.phrases import decimals, interval, number, plain
    from sics_analysis.rows.unpaired import UnpairedContrast
    from sics_analysis.study.told import told
    from sics_cli.console.tables import paragraph

    def turned(value: float | None) -> float | None:
        return metric.turned(value) if metric.lower_is_better and value is not None else value

    out.print()
    contrasts = [c for c in (line.contrast for line in lines) if isinstance(c, UnpairedContrast)]
    own, other = ([len(side) for side in sides] for sides in ([c.own for c in contrasts], [c.other for c in contrasts]))
    noun = "seed" if max(own) == 1 else "seeds"
    paragraph(out, f"{_span(own)} {noun} against {_span(other)}", f"S = {sparsity:g}  ", 2, label_style="bold")
    level = f"{100 * (1 - 2 * alpha):g} % interval"
    right = [(heading, "right") for heading in ("A", "B", "A − B", "expected", level)]
    table = plain_table("scorer", *right, "verdict", gap=1)
    reasons: dict[str, list[str]] = {}
    for line in lines:
        c = line.contrast
        assert isinstance(c, UnpairedContrast)
        verdict = str(line.decision.verdict)
        if verdict == "INCONCLUSIVE":
            reasons.setdefault(told(line.decision.reason, metric, [one.contrast.name for one in lines]), []).append(c.name)
        reach = _expected(line)
        table.add_row(
            folded_at_words(plain(c.name), 13),
            *(number(turned(math.fsum(side) / len(side))) for side in (c.own, c.other)),
            number(turned(c.mean)),
            "–" if reach is None else f"±{decimals(reach)}",
            interval(None if c.is_adjacent or c.is_degenerate else metric.turned_interval(c.t_interval(1 - 2 * alpha))),
            marked(verdict, f"{verdict} !" if line.doubted else verdict),
        )
    out.print(table)
    for reason, undecided in reasons.items():
        paragraph(out, f"undecided, {reason}: {', '.join(undecided)}", 2, 4)


def _span(counts: Sequence[int]) -> str:
    return f"{min(counts)}–{max(counts)}" if min(counts) < max(counts) else str(counts[0])


def _agreed(name: str, given: float | None, a: float | None, b: float | None, default: float | None) -> float:
    if given is not None:
        return given
    if a is not None and b is not None and a != b:
        raise ConfigError(f"--{name}: the plans of the two runs have {a:g} and {b:g}: give one")
    found = next((value for value in (a, b, default) if value is not None), None)
    if found is None:
        raise ConfigError(f"--{name}: is needed: neither run has a plan, and half a point is a default for accuracies alone")
    return found


def _fixed(settled: Sequence[float], a: RunRows, b: RunRows) -> str:
    """Whether margin and level were fixed before the data: only where both plans have them."""
    from sics_cli.experiment.cells import CHANGED

    if None in (a.delta, a.alpha, b.delta, b.alpha):
        return ". STAMPED: not fixed by a plan in both runs"
    planned = all([run.delta, run.alpha] == [*settled] for run in (a, b))
    return ", as both plans have them" if planned else f". STAMPED: {CHANGED}"


def _seeds(seeds: Sequence[int]) -> str:
    """Seeds by name, or a run of them by its ends.

    >>> _seeds([3, 1, 2]), _seeds([1, 2, 3, 4]), _seeds([1, 5])
    ('3, 1, 2', '1 to 4', '1, 5')
    """
    whole = len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _attainable(lines: Sequence[ComparedLine]) -> str:
    return ", ".join(f"{0.5**n:.3g} with {plural(n, 'seed')}" for n in sorted({line.contrast.n for line in lines}))


def _print_sparsity(out: Console, sparsity: float, lines: Sequence[ComparedLine], metric: Metric) -> None:
    from rich.text import Text

    from sics_analysis.report.layouts.terminal_tables import fold, folded_at_words, marked, plain_table
    from sics_analysis.report.words.phrases import interval, number, p_short, plain
    from sics_analysis.study.told import told
    from sics_cli.console.tables import paragraph

    names = [line.contrast.name for line in lines]
    out.print()
    out.print(Text(f"S = {sparsity:g}", style="bold"))
    right = [(heading, "right") for heading in ("n", "A − B", "90 % interval", "p =", "p A>B", "p A<B")]
    table = plain_table("scorer", *right, "verdict", gap=1)
    fold(table, 0, names)
    reasons: dict[str, list[str]] = {}
    for line in lines:
        if str(line.decision.verdict) == "INCONCLUSIVE":
            reasons.setdefault(told(line.decision.reason, metric, names), []).append(line.contrast.name)
        mean, above, below = line.contrast.mean, line.p_above, line.p_below
        if metric.lower_is_better:
            mean, above, below = None if mean is None else metric.turned(mean), below, above
        table.add_row(
            Text(folded_at_words(plain(line.contrast.name))),
            str(line.contrast.n),
            number(mean),
            interval(metric.turned_interval(line.contrast.t_interval(0.90))),
            p_short(line.equivalence.p),
            p_short(above),
            p_short(below),
            marked(str(line.decision.verdict)),
        )
    out.print(table)
    for reason, undecided in reasons.items():
        paragraph(out, f"undecided, {reason}: {', '.join(undecided)}", 2, 4)
