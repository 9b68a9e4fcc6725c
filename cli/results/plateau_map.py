"""From stores to a plateau map: the verdicts of each run, and magnitude of each run against magnitude of the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.study.plateau_map import MapPoint, PlateauMap, PoolMove
from sics_cli.base.errors import ConfigError
from sics_cli.experiment.recipe import DENSE
from sics_cli.results.compare_runs import Pairs, RunRows, compare_pairs, pair, read_rows
from sics_cli.results.report import analyse_source
from sics_cli.results.source import ACCURACY_UNIT, Settings, comparable, read_run

REFERENCE = "magnitude"


def map_runs(paths: Sequence[Path], delta: float | None, alpha: float | None, *, across_devices: bool = False) -> PlateauMap:
    """Read runs and place their scorers; margin and level are those given, else the first run's plan."""
    runs = [read_rows(path) for path in paths]
    if len({run.run_id for run in runs}) < len(runs):
        raise ConfigError("RUN: the same run is named twice: a map compares different ones")
    labels = label_runs(paths, runs)
    metric = runs[0].metric
    for path, run in zip(paths, runs, strict=True):
        if run.metric != metric:
            other = f"{run.metric.name} in {run.metric.unit}"
            raise ConfigError(
                f"{path}: measures {other}, and {paths[0]} {metric.name} in {metric.unit}: one map takes one metric"
            )
    planned = runs[0].delta if delta is None else delta
    if planned is None and metric.unit != ACCURACY_UNIT:
        raise ConfigError(f"--delta: is needed, in {metric.unit}: half a point is a default for accuracies alone")
    settings = Settings().replaced(planned, runs[0].alpha if alpha is None else alpha, REFERENCE)
    if metric.is_accuracy and settings.delta >= metric.scale:
        raise ConfigError(f"--delta {settings.delta:g}: is not accepted: give points above 0 and below 100")
    # What is no pair within its own run is none here: neither in overlap and total, nor between the runs.
    runs = [replace(run, rows=tuple(comparable(run.rows, across_devices=across_devices)[0])) for run in runs]
    placed: list[MapPoint] = []
    moves: list[PoolMove] = []
    for i, (path, run, label) in enumerate(zip(paths, runs, labels, strict=True)):
        source = replace(read_run(path, across_devices=across_devices), bits={})  # no test of single examples is asked for
        analysis = analyse_source(source, settings)
        pairs = _paired_magnitude(run, runs[0], across_devices)
        paired = {} if isinstance(pairs, str) else {(mine.seed, mine.sparsity): base for mine, base in pairs.pairs}
        rows = [row for row in run.rows if row.scorer != DENSE]
        for line in analysis.lines:
            own = [row for row in rows if (row.scorer, round(row.sparsity, 9)) == (line.scorer, line.sparsity)]
            kept = [row.jaccard for row in own if row.jaccard is not None]
            total = [
                metric.turned(metric.scale * (row.result - base.result))
                for row in own
                if (base := paired.get((row.seed, row.sparsity))) is not None
            ]
            placed.append(
                MapPoint(
                    run=label,
                    scorer=line.scorer,
                    kappa=line.kappa,
                    role=own[0].role if own else "",
                    sparsity=line.sparsity,
                    overlap=sum(kept) / len(kept) if kept else None,
                    feature=line.contrast.mean,
                    verdict=line.verdict,
                    n=line.n,
                    total=sum(total) / len(total) if total else None,
                    p_above=p_above(line.contrast, settings.delta),
                    p_below=p_below(line.contrast, -settings.delta),
                )
            )
        if i:
            moves += _moves(label, run, pairs, settings)
    return PlateauMap(tuple(labels), settings.delta, tuple(placed), tuple(moves), settings.alpha, metric)


def label_runs(paths: Sequence[Path], runs: Sequence[RunRows]) -> list[str]:
    """Labels by what differs of unit, pool and saliency; with the folders where that is not enough."""
    facts = [(str(r.recipe.get("unit")), str(r.recipe.get("pool")), str(r.recipe["saliency"]["kind"])) for r in runs]
    words = ("unit", "pool", "saliency")
    vary = [i for i in range(3) if len({fact[i] for fact in facts}) > 1] or [1]
    labels = [", ".join(f"{words[i]} {fact[i]}" for i in vary) for fact in facts]
    if len(set(labels)) == len(labels):
        return labels
    return [f"{label} ({path.name})" for label, path in zip(labels, paths, strict=True)]


def _paired_magnitude(run: RunRows, first: RunRows, across_devices: bool) -> Pairs | str:
    """Magnitude of a run and of the first one where both pruned the same dense network, or why nothing pairs."""
    try:
        return pair(_only_magnitude(run), _only_magnitude(first), across_devices=across_devices)
    except ConfigError as error:
        return str(error).partition("nothing can be paired: ")[2] or str(error)


def _moves(label: str, run: RunRows, pairs: Pairs | str, settings: Settings) -> list[PoolMove]:
    if isinstance(pairs, str):
        sparsities = sorted({row.sparsity for row in run.rows if row.scorer == REFERENCE})
        return [PoolMove(label, sparsity, None, None, 0, pairs) for sparsity in sparsities]
    return [
        PoolMove(
            label,
            line.contrast.sparsity or 0.0,
            line.contrast.mean,
            line.decision.verdict,
            line.contrast.n,
            p_above=p_above(line.contrast, settings.delta),
            p_below=p_below(line.contrast, -settings.delta),
        )
        for line in compare_pairs(pairs, settings.delta, settings.alpha)
    ]


def _only_magnitude(run: RunRows) -> RunRows:
    return replace(run, rows=tuple(row for row in run.rows if row.scorer in (REFERENCE, DENSE)))
