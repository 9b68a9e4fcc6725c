"""The closing tables of `replicate`: accuracy beside the verdicts of a report, at 80 columns."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.joint import KappaInfo
from sics_analysis.report.layouts.terminal_tables import claims_in_short, fold, folded_at_words, marked, paragraph, plain_table
from sics_analysis.report.words.phrases import NONE, interval, number, p_short, plain, undecided_reasons
from sics_analysis.report.words.plans import next_answer
from sics_analysis.report.words.said import in_words
from sics_analysis.report.words.searched import searched_answer
from sics_analysis.results import plural
from sics_cli.console.tables import fact, kappa_text
from sics_cli.experiment.recipe import DENSE
from sics_cli.experiment.searched import SEARCHED
from sics_cli.results.summary import NoiseFloor
from sics_cli.settings.config import DELTA
from sics_cli.store.rows import CellRow
from sics_cli.tasks.task import ACCURACY, Metric


def print_results(
    console: Console,
    rows: Sequence[CellRow],
    noise: Mapping[float, NoiseFloor],
    document: ReportDocument | str,
    failed: int = 0,
    metric: Metric = Metric(ACCURACY),  # noqa: B008 (frozen)
) -> None:
    """Print the closing tables of `replicate`: result and verdict of every scorer at each S; or why there are no verdicts."""
    scale, unit = metric.statistics().scale, "%" if metric.in_points else metric.unit
    short, lower = metric.statistics().short, not metric.higher_is_better
    digits = metric.statistics().digits(DELTA if isinstance(document, str) else document.settings.delta)
    smaller = () if isinstance(document, str) or document.searched is None else document.searched.smaller
    document = document if isinstance(document, str) else document.largest
    dense = [scale * row.result for row in rows if row.scorer == DENSE]
    pruned = [row for row in rows if row.scorer != DENSE and row.scorer not in smaller]
    if dense:
        seeds = plural(len(dense), "seed")
        mean = f"{_mean(dense, digits)} {unit}"
        paragraph(console, f"dense networks: {mean} ± {_sd(dense, digits)} (sd) over {seeds}", 0, 2)
    for check in () if isinstance(document, str) else document.open_checks:
        paragraph(console, f"data check open, {check.kind}: {check.text}", 0, 2, style="bold yellow")
    for sparsity in sorted({row.sparsity for row in pruned}):
        here = [row for row in pruned if row.sparsity == sparsity]
        masks = {len({row.mask_hash for row in here if row.seed == seed}) for seed in {row.seed for row in here}}
        count = " to ".join(map(str, sorted({min(masks), max(masks)})))
        alike = "distinct mask" if count == "1" else "distinct masks"
        floor = noise.get(sparsity)
        noted = "noise floor not measured" if floor is None else f"noise floor {floor.change:.{digits}f} {short}"
        noted += f", up to {plural(floor.examples, 'example')} changed" if floor is not None and floor.examples else ""
        what = f"{plural(len({row.scorer for row in here}), 'scorer')}, {count} {alike} per seed; {noted}"
        console.print()
        paragraph(console, what, f"S = {sparsity:g}  ", 2, label_style="bold")
        _print_scorers(console, here, None if isinstance(document, str) else document, scale, digits, unit)
    flags = sorted({flag for row in pruned for flag in row.flags})
    notes = [f"† {'; '.join(flags)}"] if flags else []
    notes += [f"{plural(failed, 'cell')} failed and {'is' if failed == 1 else 'are'} missing here"] if failed else []
    notes += [f"of every search its largest budget; {plural(len(smaller), 'scorer')} more in the report"] if smaller else []
    for note in notes:
        paragraph(console, note, 2, 4, style="dim")
    if isinstance(document, str):
        fact(console, "verdicts", f"none: {document}")
        return
    settings = document.settings
    side = f"below −{settings.delta:g}" if lower else f"above +{settings.delta:g}"
    key = (
        f"diff.: {short} above {settings.reference} at the same seed{', less is better' if lower else ''}; p up: {side}, "
        f"adjusted in the family of this S (κ ≥ 1) at α = {settings.alpha:g}; verdicts at δ = {settings.delta:g} {short}"
    )
    deviations = [one.text for one in document.deviations if one.kind != "stamp" and one.scorer is None]
    for text in (key, *deviations):
        paragraph(console, text, 2, 2, style="dim")
    _print_conclusions(console, document)


def _mean(values: Sequence[float], digits: int) -> str:
    """With the minus of the differences beside it."""
    return f"{statistics.fmean(values):.{digits}f}".replace("-", "−")


def _sd(values: Sequence[float], digits: int) -> str:
    return NONE if len(values) < 2 else f"{statistics.stdev(values):.{digits}f}"


def _print_scorers(
    console: Console, rows: Sequence[CellRow], document: ReportDocument | None, scale: float, digits: int, unit: str
) -> None:
    """Print a row for each scorer at one S; without a document the masks over the seeds stand in place of the verdicts."""
    mean = "mean %" if unit == "%" else "mean"
    columns = [mean, "sd", "masks", "n"]
    if document is not None:
        columns = [mean, "sd", "diff.", f"{100 * (1 - 2 * document.settings.alpha):g} % interval", "p up"]
    right = [(heading, "right") for heading in columns]
    table = plain_table("scorer", "κ", *right, *([] if document is None else ["verdict"]), gap=1)
    by_scorer: dict[str, list[CellRow]] = {}
    for row in rows:
        by_scorer.setdefault(row.scorer, []).append(row)
    shown = [name + (" †" if any(row.flags for row in own) else "") for name, own in by_scorer.items()]
    fold(table, 0, shown)
    lines = {} if document is None else {line.scorer: line for line in document.lines_at(round(rows[0].sparsity, 9))}
    for title, (name, own) in zip(shown, by_scorer.items(), strict=True):
        values = [scale * row.result for row in own]
        line = lines.get(name)
        cells: list[str | Text] = [str(len({row.mask_hash for row in own})), str(len(own))]
        if document is not None:
            cells = [
                number(None if line is None else line.mean),
                interval(None if line is None else line.ci_equivalence),
                p_short(None if line is None else line.p_escape_adjusted),
                Text("reference", style="dim") if line is None else marked(str(line.verdict)),
            ]
        kappa = NONE if own[0].role == SEARCHED else kappa_text(own[0].kappa, own[0].role)
        table.add_row(Text(folded_at_words(plain(title))), kappa, _mean(values, digits), _sd(values, digits), *cells)
    console.print(table)
    counts = {line.n for line in lines.values()}
    if len(counts) > 1:
        seeds = "; ".join(f"{n}: {', '.join(plain(x.scorer) for x in lines.values() if x.n == n)}" for n in sorted(counts))
        paragraph(console, f"seeds n = {seeds}", 2, 4)
    for reason, names in undecided_reasons(lines.values()).items():
        paragraph(console, f"undecided, {reason}: {', '.join(map(plain, names))}", 2, 4)


def _print_conclusions(console: Console, document: ReportDocument) -> None:
    """Print κ(S) and the scorecard of the paper's claims in a few lines."""
    console.print()
    if document.spectrum.points:
        points = [f"S = {p.sparsity:g}: {_kappa_left(p)}" for p in document.spectrum.points]
        paragraph(console, f"κ(S)  {'; '.join(points)}", 0, 2)
    else:
        paragraph(console, f"κ(S) not available: {document.spectrum.reason}", 0, 2)
    if document.searched is not None and document.searched.points:
        found = searched_answer(document)
        paragraph(console, in_words(document, f"searched  {found.short}. {found.text}"), 0, 2)
    step = next_answer(document)
    paragraph(console, in_words(document, f"next  {step.short}. {step.text}"), 0, 2)
    if not document.metric.is_image_accuracy:
        return
    console.print(Text("the paper's claims on these rows"))
    for line in claims_in_short(console, document.claims):
        console.print(line, soft_wrap=True)


def _kappa_left(point: KappaInfo) -> str:
    if point.kappa is not None:
        return f"{point.kappa} claimed"
    if point.p_values is None:
        return f"not available, {point.reason}"
    left = " or ".join(map(str, point.not_rejected))
    return f"undetermined, {left or 'all values rejected'}"
