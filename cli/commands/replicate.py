"""`sics-run replicate`: the main job."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from sics_analysis.results import plural
from sics_cli.base.errors import ConfigError, SicsError, did_you_mean
from sics_cli.commands.options import (
    ANY_MARGIN,
    CHANCE_OPTION,
    CLASSES_OPTION,
    COUNT,
    FIRST_SEED,
    LEVEL,
    STANDARDISE_OPTION,
    Word,
    comma_list,
    named_as_options,
)
from sics_cli.console import progress_bars, tables
from sics_cli.console.look_tables import fresh_seeds, print_looks, print_made, run_cost
from sics_cli.console.output import check_folder
from sics_cli.console.progress_bars import clock
from sics_cli.experiment.cells import Cell, Grid, by_seed, families
from sics_cli.experiment.cost import Cost, points_of, trials_of
from sics_cli.experiment.look_plan import look_plan_of
from sics_cli.experiment.user_scorers import expanded
from sics_cli.results.doubts import doubts
from sics_cli.results.judge import judge
from sics_cli.results.summary import noise_floors, unpaired_text
from sics_cli.runs.executors import EXECUTORS
from sics_cli.runs.looks import until_next_look
from sics_cli.runs.run import Outcome, ready, run_session, where_text
from sics_cli.runs.session import Session
from sics_cli.settings.config import (
    OWN_DEFAULTS,
    POOLS,
    SALIENCIES,
    UNITS,
    Experiment,
    experiment_from_mapping,
    merged,
    read_toml,
)
from sics_cli.settings.images import IMAGE_FOLDER, ImageConfig, checkpoint_files, read_classes
from sics_cli.settings.presets import DEFAULT_PRESET, PRESETS
from sics_cli.slurm.executor import SlurmCluster
from sics_cli.store.rows import CellRow, RepeatRow
from sics_cli.store.store import Store
from sics_cli.tasks.image_setup import ImageAccess
from sics_cli.tasks.images.datasets import DataAccess, check_access

if TYPE_CHECKING:
    from sics_analysis.report.document.document import ReportDocument

FAILED_CELLS = 3


@click.command()
@click.option("--task", metavar="FILE.py:CLASS", help="A task of your own, or MODULE:CLASS: docs/tasks.md.")
@click.option(
    "--preset",
    type=Word(list(PRESETS)),
    metavar="NAME",
    help=f"Experiment to run: {', '.join(PRESETS)}.  [default: {DEFAULT_PRESET}]",
)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE.toml", help="Settings over the preset's.")
@click.option("--seeds", type=COUNT, metavar="N", help="Replicates: seeds 0 to N-1.  [default: 5]")
@click.option(
    "--until",
    metavar="decided[:TARGET,...]",
    help="Look at 5, 8, 12, ... seeds and stop when it is decided: docs/looks.md. Instead of --seeds.",
)
@click.option("--max-seeds", type=COUNT, metavar="N", help="The most seeds that --until may take.")
@click.option("--first-seed", type=FIRST_SEED, metavar="I", help="Seeds I to I+N-1: fresh ones for another plan.  [default: 0]")
@click.option(
    "--scorers",
    callback=comma_list(str, "names"),
    metavar="A,B",
    help="Scorers, FILE.py:CLASS of your own, or all, sics, peers, searched.  [default: sics, which are 12]",
)
@click.option(
    "--sparsities",
    callback=comma_list(float, "numbers"),
    metavar="S,T",
    help="Fractions of units removed.  [default: .5,.6,.7,.8]",
)
@click.option("--unit", type=Word(UNITS), help="What is kept or removed.  [default: weight]")
@click.option("--pool", type=Word(POOLS), help="What is ranked against each other.  [default: global]")
@click.option("--saliency", type=Word(SALIENCIES), help="Auxiliary signal.  [default: gradient]")
@click.option(
    "--data",
    metavar="NAME|imagefolder:PATH",
    help="digits, cifar10, cifar100, fashion-mnist, or your images: a folder or tar archive.  [default: the preset's]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where torchvision's files are.  [default: the user's cache]",
)
@click.option("--download", is_flag=True, help="Let torchvision fetch them there when they are missing (not in a dry run).")
@click.option("--model", metavar="NAME", help="timm:NAME, torchvision:NAME, FILE.py:FUNCTION.  [default: the preset's]")
@click.option(
    "--checkpoint",
    multiple=True,
    metavar="FILE|GLOB|DIR",
    help="Prune your own networks (safetensors or state dicts), a seed a file; of one file, seeds vary the calibration only.",
)
@CLASSES_OPTION
@STANDARDISE_OPTION
@CHANCE_OPTION
@click.option("--pretrained", is_flag=True, default=None, help="Begin training with timm's published weights.")
@click.option("--device", metavar="auto|cpu|cuda[:I]", help="Where networks run.  [default: auto]")
@click.option("--workers", type=COUNT, metavar="N", help="Processes, one seed each.  [default: one a core; on GPUs docs/gpu.md]")
@click.option("--executor", type=Word(EXECUTORS), default="local", help="Where jobs run: docs/cluster.md.  [default: local]")
@click.option("--slurm", metavar="KEY=VALUE,...", help="Of each job, such as timeout_min=60: docs/cluster.md.")
@click.option("--delta", type=ANY_MARGIN, metavar="POINTS", help="Equivalence margin, accuracy points.  [default: 0.5]")
@click.option("--alpha", type=LEVEL, help="Error rate of the tests.  [default: 0.05]")
@click.option("--reference", metavar="SCORER", help="What the others are compared to.  [default: magnitude]")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the run.  [default: runs/NAME-SALIENCY-HASH]"
)
@click.option("--dry-run", is_flag=True, help="Show the cells and which are there; compute and write nothing.")
@click.option("--force", is_flag=True, help="Recompute this command's cells from the dense checkpoints.")
@click.option("--retry-failed", is_flag=True, help="Try again what failed before.")
@click.option("--report/--no-report", default=True, help="Write report.html and report.json at the end.  [default: --report]")
def replicate(
    task: str | None,
    preset: str | None,
    config: Path | None,
    workers: int | None,
    executor: str,
    slurm: str | None,
    out: Path | None,
    data: str | None,
    model: str | None,
    checkpoint: tuple[str, ...],
    data_dir: Path | None,
    download: bool,
    classes: Path | None,
    standardise: str | None,
    allow_chance: bool,
    dry_run: bool,
    force: bool,
    retry_failed: bool,
    report: bool,
    **options: Any,
) -> int:
    """Train dense networks, prune each by every scorer and sparsity, and keep one row per number.

    The same command goes on where it was stopped and computes only what is missing; more --seeds, --scorers or
    --sparsities extend the run. Exit code 3: some cells failed, or cannot be compared.

    A FILE.toml changes the preset: seeds = [7, 8] or until = "decided" and max_seeds = 40, sparsities = [0.9], and the tables
    [training] epochs, batch_size, learning_rate, weight_decay, precision, crop_padding, flip, randaugment, magnitude, mixup,
    cutmix, label_smoothing, schedule, warmup, path; [model] name ("vit", "timm:NAME", "torchvision:NAME", "FILE.py:FUNCTION"
    or "MODULE:CLASS") and its arguments: depth, embed_dim, ...; [calibration] batches, batch_size; [data] name, train,
    validation, test, split_seed, image_size, standardise, classes.
    """
    given = {"name": data, "standardise": standardise, "classes": None if classes is None else str(classes)}
    options |= {"checkpoint": list(checkpoint) or None}
    typed = (
        ("data.name = ", "--data ", data),
        ("model.name = ", "--model ", model),
        (f"task = {task!r}", f"--task {task!r}", task),
    )
    with named_as_options({setting: option for setting, option, value in typed if value is not None}):
        experiment = build_experiment(preset, config, options, task=task, model=model, data=given)
        access = DataAccess(data_dir and data_dir.expanduser().absolute(), download)
        _check_access(experiment, access, allow_chance)
        check_folder("--out", out)
        access = replace(access, download=download and not dry_run)
        images, progress = ImageAccess(access, not dry_run, allow_chance), progress_bars.reporter()
        where: dict[str, Any] = {"executor": executor, "slurm": slurm, "workers": workers}
        with ready(experiment, out, progress, images, **where, warm=not dry_run) as (session, place):
            if dry_run:
                seeds = len(session.experiment.seeds)
                at_once = place.at_once or seeds if isinstance(place, SlurmCluster) else place.number(session.gpus)
                on = None if isinstance(place, SlurmCluster) else where_text(session, place)
                again = {"force": force, "retry_failed": retry_failed}
                _print_dry_run(progress_bars.results(), session, at_once, on, **again)
                if isinstance(place, SlurmCluster):
                    _print_jobs(progress_bars.results(), session, place, **again)
                return 0
            outcome = run_session(session, place, progress, judge, force=force, retry_failed=retry_failed)
    return _print_results(progress_bars.results(), session, outcome, report)


def _check_access(experiment: Experiment, access: DataAccess, allow_chance: bool) -> None:
    """Refuse options about images and networks that this experiment does not read."""
    if isinstance(experiment.task, ImageConfig):
        if allow_chance and not experiment.task.checkpoints:
            raise ConfigError("--allow-chance: is for the networks of --checkpoint; these are trained here")
        check_access(experiment.task.data, access)
        return
    beside = {"--data-dir": access.data_dir is not None, "--download": access.download, "--allow-chance": allow_chance}
    for name in (name for name, there in beside.items() if there):
        raise ConfigError(f"{name}: is for the image tasks; a task of your own brings its network and its data")


def build_experiment(
    preset: str | None,
    config: Path | None,
    options: dict[str, Any],
    *,
    task: str | None = None,
    model: str | None = None,
    data: Mapping[str, str | None] | None = None,
) -> Experiment:
    """Lay options over the file over the preset; `data` are settings of [data] that were given as options."""
    settings = read_toml(config) if config is not None else {}
    given = {name: value for name, value in options.items() if value is not None}
    typed = {name: value for name, value in (data or {}).items() if value is not None}
    if config is not None:
        settings.setdefault("name", config.stem)
    if task is not None or "task" in settings:
        laid = _own_settings(task, settings, given)
        for option, there in (
            ("--preset", preset or settings.get("preset")),
            ("--model", model),
            *((f"--{k}", k) for k in typed),
        ):
            if there is not None:
                option = "--data" if option == "--name" else option
                raise ConfigError(f"{option}: is for the image tasks; a task of your own brings its network and its data")
    else:
        laid = _image_settings(preset, config, settings, given, model, typed)
    experiment = experiment_from_mapping(laid, typed=given)
    return experiment if experiment.scorers is None else replace(experiment, scorers=tuple(expanded(experiment.scorers)))


def _own_settings(task: str | None, settings: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run of a user's task; [task] in the file holds its options, and its name unless that was typed."""
    laid = merged(merged(_but_seeds(OWN_DEFAULTS, settings, given), settings), given)
    table = settings.get("task", {})
    if task is not None and isinstance(table, Mapping):
        laid["task"] = merged(table, {"name": task})
    if isinstance(laid["task"], Mapping):
        laid.setdefault("name", str(laid["task"].get("name", "")).rpartition(":")[2].lower() or "task")
    return laid


def _image_settings(
    preset: str | None,
    config: Path | None,
    settings: dict[str, Any],
    given: dict[str, Any],
    model: str | None,
    typed: dict[str, str],
) -> dict[str, Any]:
    asked = preset or settings.pop("preset", None)
    chosen = asked or DEFAULT_PRESET
    settings.pop("preset", None)
    if chosen not in PRESETS:
        raise ConfigError(f"preset = {chosen!r} is not accepted{did_you_mean(chosen, PRESETS)}: give {' | '.join(PRESETS)}")
    if model is not None:
        named = settings.get("model", {})
        settings["model"] = merged(named if isinstance(named, Mapping) else {}, {"name": model})
    name = typed.get("name")
    base = _but_seeds(_base(PRESETS[chosen], settings), settings, given)
    if name not in (None, PRESETS[chosen]["data"]["name"]) and not asked:
        base["data"] = {}  # sizes of a data set that nobody asked for
    files = given.get("checkpoint", settings.get("checkpoint"))
    if isinstance(files, list) and len(checkpoint_files(files)) > 1:
        base.pop("seeds", None)  # they are as many as there are files
    laid = merged(merged(base, settings), given)
    if config is None:
        laid["name"] = _run_name(PRESETS[chosen], asked, name, model)
    return _with_class_names(merged(laid, {"data": typed})) if isinstance(laid.get("data"), Mapping) else laid


def _run_name(preset: Mapping[str, Any], asked: str | None, data: str | None, model: str | None) -> str:
    """What begins the name of a run's folder: a folder called digits-... must hold neither other images nor another network.

    >>> [_run_name(PRESETS["digits"], asked, data, model) for asked, data, model in (
    ...     (None, None, None), (None, "imagefolder:my photos", "timm:resnet18"), ("digits", "cifar10", None))]
    ['digits', 'my-photos-resnet18', 'digits-on-cifar10']
    """
    images = None if data in (None, preset["data"]["name"]) else _in_a_name(data.removeprefix(IMAGE_FOLDER))
    if asked is not None:
        return str(preset["name"]) if images is None else f"{preset['name']}-on-{images}"
    if images is None and model is None:
        return str(preset["name"])
    return f"{images or preset['data']['name']}-{_in_a_name(model or preset['model']['name'])}"


def _in_a_name(spec: str) -> str:
    """The last part of a path, a module or a library's name, without what no folder's name should hold.

    >>> _in_a_name("/data/photos.tar.gz"), _in_a_name("nets.py:build"), _in_a_name("timm:resnet18"), _in_a_name("..")
    ('photos', 'build', 'resnet18', 'own')
    """
    last = Path(spec.rpartition(":")[2]).name
    for ending in (".gz", ".xz", ".bz2", ".tar", ".tgz"):
        last = last.removesuffix(ending)
    return re.sub(r"[^\w.+-]+", "-", last).strip("-.") or "own"


def _base(preset: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The preset, without the sizes of its network or its data where the file names others."""
    left = dict(preset)
    for table in ("model", "data"):
        asked = settings.get(table)
        if isinstance(asked, Mapping) and asked.get("name", preset[table]["name"]) != preset[table]["name"]:
            left[table] = {}
    return left


def _but_seeds(base: Mapping[str, Any], *over: Mapping[str, Any]) -> dict[str, Any]:
    """The base, without its number of seeds where somebody asked for seeds until something is decided."""
    return {name: value for name, value in base.items() if name != "seeds" or not any("until" in asked for asked in over)}


def _with_class_names(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, the names that a file of classes holds in its place."""
    path = settings["data"].get("classes")
    return merged(settings, {"data": {"classes": read_classes(Path(path))}}) if isinstance(path, str) else settings


def _print_dry_run(out: Console, session: Session, workers: int, on: str | None, *, force: bool, retry_failed: bool) -> None:
    """The cells, and what they take `on` the workers of this command, if they are its own."""
    grid = session.stored()
    computed = {cell.key for cell in grid.missing(force=force, retry_failed=retry_failed)}
    grid = replace(grid, cached=grid.cached - computed, failed=grid.failed - computed)
    cells = {(cell.seed, cell.scorer_name, cell.sparsity, cell.repeat): cell for cell in grid.cells}

    def marker(name: str, repeat: bool = False) -> Callable[[int, float], str]:
        def mark(seed: int, sparsity: float) -> str:
            cell = cells.get((seed, name, sparsity, repeat))
            return "" if cell is None else grid.mark(cell)

        return mark

    names = list(dict.fromkeys(cell.scorer_name for cell in grid.cells))
    repeated = list(dict.fromkeys(cell.scorer_name for cell in grid.cells if cell.repeat))
    rows = [(name, marker(name)) for name in names]
    rows += [(f"{name}, repeated", marker(name, repeat=True)) for name in repeated]
    seeds = session.experiment.seeds
    tables.paragraph(out, f"one mark a seed, {tables.seed_text(seeds)}:  # there   . to compute   x failed before", 0, 2)
    tables.print_grid(out, seeds, (0.0, *session.experiment.sparsities), rows)
    tables.paragraph(out, session.setting, 0, 2)
    tables.paragraph(out, f"another seed changes: {', '.join(session.recipe.seed_varies)}", 0, 2)
    tables.paragraph(out, grid.counts, 0, 2)
    if on is not None:
        tables.paragraph(out, _cost_line(session, grid, workers, on), 0, 2)
    if points := points_of(grid.missing()):
        what = f"searches: {points:,} evaluations on held-out examples"
        tables.paragraph(out, _part_line(what, session, grid, workers, lambda cost: cost.point * points), 0, 2)
    if trials := trials_of(grid.missing()):
        what = f"trials: {trials:,} masks, each with two passes over the calibration batches"
        tables.paragraph(out, _part_line(what, session, grid, workers, lambda cost: cost.trial * trials), 0, 2)
    tables.paragraph(out, f"would be kept in {session.store_path}", 0, 2)
    if session.plan.looks is not None:
        print_looks(out, session, grid, workers)
    tables.paragraph(out, _power_line(session), 0, 2)


def _cost_line(session: Session, grid: Grid, workers: int, on: str) -> str:
    """What all that is missing takes, and what that is known from."""
    cost = run_cost(session, workers)
    seconds = [] if cost is None else [cost.of_cells(cells) for cells in by_seed(grid.missing()).values()]
    if cost is None:
        return f"cost: not known before the first seed has ended, on {on}"
    if not seconds:
        return f"cost: nothing is missing, on {on}"
    longest = max(seconds) + cost.beside
    whole = max(sum(seconds) / min(workers, len(seconds)), longest)
    many = f"{plural(len(seconds), 'seed')} of up to {clock(longest)}"
    return f"cost: {many}, about {clock(whole)} on {on} ({cost.source})"


def _part_line(what: str, session: Session, grid: Grid, workers: int, part_of: Callable[[Cost], float]) -> str:
    """What a part takes, such as the searches, of what all that is missing takes."""
    cost, seeds = run_cost(session, workers), by_seed(grid.missing())
    if cost is None:
        return what
    whole = sum(cost.of_cells(cells) for cells in seeds.values()) / min(workers, len(seeds))
    part = part_of(cost) / min(workers, len(seeds))
    at_once = plural(workers, "worker")
    return f"{what}, about {clock(part)} of {clock(whole)} for all that is missing on {at_once} ({cost.source})"


def _print_jobs(out: Console, session: Session, cluster: SlurmCluster, **missing: bool) -> None:
    """The jobs that would be submitted, what they cost, and how long that takes on how many nodes; of looks those of the next."""
    from sics_cli.console.job_tables import print_jobs

    def to_submit(store: Store | None) -> list[Cell]:
        return until_next_look(session.plan, session.state(store).missing(**missing))

    if not session.store_path.exists():
        print_jobs(out, session, None, cluster, to_submit(None))
        return
    with Store.open(session.store_path, read_only=True) as store:
        print_jobs(out, session, store, cluster, to_submit(store))


def _power_line(session: Session) -> str:
    """What so many seeds can show where differences spread as wide as the margin; no data are needed for that."""
    from sics_analysis.planning.looks import looks_power
    from sics_analysis.planning.plan import plan

    asked, seeds, unit = session.experiment, len(session.experiment.seeds), session.recipe.task.metric.unit
    if seeds < 3:
        return f"power: no verdict from {plural(seeds, 'seed')}; three are the fewest"
    family = max(1, len(families(session.scorers)["escape"]))
    if (looks := look_plan_of(session.plan)) is not None:
        equal = looks_power("equivalence", looks, 0.0, asked.margin, asked.margin)
        escape = looks_power("escape", looks, 2 * asked.margin, asked.margin, asked.margin, family=family)
        return (
            f"power by the last look where differences have sd = δ = {asked.margin:g} {unit}: equivalence "
            f"{100 * equal.power:.0f} %, "
            f"after {equal.expected:.0f} seeds on average; an escape of twice δ {100 * escape.power:.0f} %, after "
            f"{escape.expected:.0f}. "
            "sics-run plan says more."
        )
    chance = plan(seeds, asked.margin, delta=asked.margin, alpha=asked.alpha, family=family)
    return (
        f"power of {plural(seeds, 'seed')} where differences have sd = δ = {asked.margin:g} {unit}: equivalence "
        f"{100 * chance.equivalence.power:.0f} %, an escape of twice δ {100 * chance.escape.power:.0f} %; smallest "
        f"attainable sign-flip "
        f"p {chance.resolution.sign_flip_one_sided}. sics-run plan says more."
    )


def _print_results(out: Console, session: Session, outcome: Outcome, report: bool) -> int:
    keys = {cell.key for cell in session.cells}
    with Store.open(session.store_path, read_only=True) as store:
        everything = store.cells()
        rows = [row for row in everything if row.cell_key in keys]
        repeats = [row for row in store.repeats() if row.repeat_key in keys]
        failed = [row for row in store.failures() if row.cell_key in keys]
        plans = store.plans()
    from sics_cli.console.verdict_tables import print_results  # only now: `--help` loads none of the analysis

    document, metric = _analysed(session, rows, repeats), session.recipe.task.metric
    print_results(out, rows, noise_floors(rows, repeats, metric.statistics().scale), document, len(failed), metric)
    out.print()
    if outcome.plan_stamp:
        tables.fact(out, "note", outcome.plan_stamp + fresh_seeds(plans))
    if plans[-1].looks is not None:
        print_made(out, plans[-1], outcome.looks)
    computed = f"{outcome.computed} of them computed now, {len(failed)} failed"
    tables.fact(out, "cells", f"{len(rows)} and {len(repeats)} repeats there, {computed}")
    if len(everything) > len(rows):
        tables.fact(out, "", f"{len(everything) - len(rows)} more in the store, of other commands")
        document = _analysed(session)
    tables.fact(out, "setting", session.setting)
    for doubt in doubts(session.recipe, session.experiment.margin, rows):
        tables.fact(out, "doubt", doubt)
    tables.fact(out, "store", str(session.store_path))
    if apart := unpaired_text(rows):
        tables.fact(out, "left out", apart)
    if failed:
        tables.fact(out, "failed", "the next command says why; --retry-failed tries again")
        tables.command(out, "", f"sics-run status {session.folder}")
    tables.command(out, "next", f"sics-run report {session.folder}")
    tables.command(out, "", f"sics-run export {session.folder} -o results.csv")
    if report:
        tables.fact(out, "open", _write_report(session, document))
    if not isinstance(document, str):
        from sics_analysis.report.layouts.terminal import print_conclusion

        out.print()
        print_conclusion(out, document)
    return FAILED_CELLS if failed or outcome.failed or apart else 0


def _analysed(
    session: Session, rows: Sequence[CellRow] | None = None, repeats: Sequence[RepeatRow] | None = None
) -> ReportDocument | str:
    """The verdicts on these rows, or on all of the store, or why there are none: the numbers are shown either way."""
    from sics_cli.results.report import document_of
    from sics_cli.results.source import Settings, source_of

    asked = session.experiment
    try:
        with Store.open(session.store_path, read_only=True) as store:
            source = source_of(store, store.cells() if rows is None else rows, store.repeats() if repeats is None else repeats)
        return document_of(source, Settings(asked.margin, asked.alpha, asked.reference))
    except SicsError as error:
        return str(error)


def _write_report(session: Session, document: ReportDocument | str) -> str:
    """Put report.html and report.json beside the store; say where, or why not. The rows are stored already, whatever happens.

    A page of the same document, drawn by the same code, is left as it is.
    """
    if isinstance(document, str):
        return f"no report was written: {document}"
    from sics_analysis.report.layouts.formats import render
    from sics_cli.base.files import write_atomically

    page = session.folder / "report.html"
    kept = page.with_suffix(".json")
    try:
        text = render(document, "json").encode()
        if not (_is_drawn(page) and kept.is_file() and kept.read_bytes() == text):
            write_atomically(page, render(document, "html").encode())
            write_atomically(kept, text)
    except Exception as error:  # a broken drawing library must not cost a finished run its exit code
        again = f"sics-run report {session.folder} -o {page} tries again"
        return f"no report was written ({type(error).__name__}: {error}); the results are in the store: {again}"
    return str(page)


def _is_drawn(page: Path) -> bool:
    """Whether the page is there, and younger than everything that draws it."""
    from sics_analysis import report

    code = [path for place in report.__path__ for path in Path(place).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return page.is_file() and page.stat().st_mtime > max(path.stat().st_mtime for path in code)
