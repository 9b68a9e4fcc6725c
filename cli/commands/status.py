"""`sics-run status`: what a run holds."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from sics_analysis.results import plural
from sics_cli.console import progress_bars, tables
from sics_cli.console.look_tables import print_made
from sics_cli.experiment.recipe import DENSE
from sics_cli.results.source import data_of, metric_in
from sics_cli.results.summary import paired_seeds, unpaired_text
from sics_cli.slurm.ledger import Ledger
from sics_cli.store.inbox import Inbox
from sics_cli.store.rows import CellRow, FailureRow, PlanRow, alike, and_more
from sics_cli.store.run_folder import lock_holder
from sics_cli.store.store import Store, find_store
from sics_cli.tasks.images.standardise import in_words
from sics_cli.tasks.task import Metric, shown


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def status(run: Path) -> None:
    """Show what RUN (a run's folder, or its store) holds: plans, cells, failures, and whether it is being written."""
    path = find_store(run)
    with Store.open(path, read_only=True) as store:
        cells, plans, failures, repeats = store.cells(), store.plans(), store.failures(), store.repeats()
        looks = store.looks(plans[-1].plan_hash) if plans else []
        checkpoints, run_id, created = store.checkpoints(), store.meta("run_id"), store.meta("created")
        recipe = store.meta("recipe")
    out = progress_bars.results()
    tables.fact(out, "run", str(path))
    tables.fact(out, "run id", f"{run_id[:16]}, begun {created}")
    environment = recipe["environment"]
    metric = metric_in(recipe)
    short = metric.statistics().short
    tables.fact(
        out,
        "recipe",
        f"{_task(recipe, metric)}; saliency {recipe['saliency']['kind']}; unit {recipe['unit']}, pool {recipe['pool']}; "
        f"{environment['device_class']}, torch {environment['torch']}",
    )
    waiting = len(Inbox(path.parent, run_id).keys())
    in_inbox = f"; {waiting} finished cells wait in the inbox" if waiting else ""
    tables.fact(out, "writer", (lock_holder(path.parent) or "nobody") + in_inbox)
    if Ledger(path.parent).folder.is_dir():
        from sics_cli.console.job_tables import print_states  # only now: most runs have no queue

        print_states(out, path.parent)
    for plan in plans:
        remark = f" ({plan.stamp})" if plan.stamp else ""
        tables.fact(
            out,
            "plan",
            f"{plan.plan_hash[:12]} of {plan.created}{remark}: {tables.seed_text(plan.seeds)}, "
            f"{plural(len(plan.scorers), 'scorer')}, delta {plan.delta:g} {short}, alpha {plan.alpha:g}, reference "
            f"{plan.reference}",
        )
    if plans and plans[-1].looks is not None:
        print_made(out, plans[-1], looks)
    if plans:
        _print_cells(out, plans[-1], cells, failures)
    dense = {row.seed: shown(row.result, metric) for row in cells if row.scorer == DENSE}
    for row in checkpoints:
        # A task of the user's own has no name for what is not its test.
        parts = [f"{'' if 'task' in recipe else 'test '}{dense[row.seed]}"] if row.seed in dense else []
        if row.validation_correct is not None and row.validation_n:
            parts.append(f"validation {100 * row.validation_correct / row.validation_n:.2f} %")
        if not _is_given(recipe):
            parts.append(f"{'made' if 'task' in recipe else 'trained'} in {progress_bars.clock(row.wall_seconds)}")
        tables.fact(out, f"seed {row.seed}", f"dense {', '.join([*parts, row.checkpoint_hash[:12]])}")
    _print_pairing(out, cells)
    tables.fact(out, "repeats", f"{len(repeats)} masks evaluated twice for the noise floor")
    for rows in alike(failures):
        failure = rows[0]
        what = "repeat of " if failure.kind == "repeat" else ""
        where = f"seed {failure.seed}, {what}{failure.scorer} at S = {failure.sparsity:g}{and_more(rows)}"
        tables.fact(out, "failed", f"{where}: {failure.error}", style="red")


def _is_given(recipe: dict[str, Any]) -> bool:
    """Whether the user's own checkpoint was pruned, or one a seed, and nothing trained."""
    return recipe.get("start", {}).get("kind") in ("checkpoint", "checkpoints")


def _task(recipe: dict[str, Any], metric: Metric) -> str:
    """What is trained or given, pruned and measured."""
    if "task" not in recipe:
        name = f"{data_of(recipe)}{_standardised(recipe)}"
        return f"{name}, {recipe['model']['name']}{_code(recipe)}, {_training(recipe)}"
    task = recipe["task"]
    options = "".join(f", {name} = {value!r}" for name, value in sorted(task["options"].items()))
    source = f" ({task['source_sha256'][:12]})" if "source_sha256" in task else ""
    better = "higher" if metric.higher_is_better else "lower"
    return f"task {task['name']}{source}{options}; {metric.name} in {metric.unit}, {better} is better"


def _standardised(recipe: dict[str, Any]) -> str:
    word = recipe["data"].get("standardise", "data")
    return "" if word == "data" else f" standardised by {in_words(word)}"


def _code(recipe: dict[str, Any]) -> str:
    """Which version of whose code makes the network, where that is not in the name."""
    code = recipe.get("model_code", {})
    if "source_sha256" in code:
        return f" ({code['source_sha256'][:12]})"
    return "".join(f" ({name} {version})" for name, version in code.items())


def _training(recipe: dict[str, Any]) -> str:
    if recipe.get("start", {}).get("kind") == "checkpoints":
        return "given weights, one file a seed, not trained"
    if _is_given(recipe):
        return f"given weights {recipe['start']['sha256'][:12]}, not trained"
    begun = "from pretrained weights, " if recipe.get("start") else ""
    return f"{begun}{recipe['training']['epochs']} epochs"


def _print_cells(out: Console, plan: PlanRow, cells: Sequence[CellRow], failures: Sequence[FailureRow]) -> None:
    there = {(row.seed, row.scorer, row.sparsity) for row in cells}
    failed = {(row.seed, row.scorer, row.sparsity) for row in failures if row.kind == "cell"} - there
    names = [DENSE, *plan.scorers]

    def mark(name: str, seed: int, sparsity: float) -> str:
        if (name == DENSE) != (sparsity == 0):
            return ""
        place = (seed, name, sparsity)
        return "#" if place in there else "x" if place in failed else "."

    asked = {(seed, name, s) for seed in plan.seeds for name in plan.scorers for s in plan.sparsities}
    asked |= {(seed, DENSE, 0.0) for seed in plan.seeds}
    done, bad = len(asked & there), len(asked & failed)
    most = "at most " if plan.looks is not None else ""
    tables.fact(out, "cells", f"{done} of {most}{len(asked)} there, {len(asked) - done - bad} missing, {bad} failed")
    tables.paragraph(out, "one mark a seed:  # there   . missing   x failed", 10, 10)
    rows = [(name, functools.partial(mark, name)) for name in names]
    tables.print_grid(out, plan.seeds, (0.0, *plan.sparsities), rows)


def _print_pairing(out: Console, cells: Sequence[CellRow]) -> None:
    good, bad = paired_seeds(cells)
    if bad:
        tables.fact(out, "left out", unpaired_text(cells), style="red")
    elif good:
        met = "the same data order, calibration batches, saliency and checkpoint"
        tables.fact(out, "pairing", f"all rows of each of {plural(len(good), 'seed')} met {met}")
