"""From a run, or a CSV of any framework, to what `sics_analysis.analyse` takes, with all a report must say of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from sics_analysis.results import plural
from sics_cli.base.bits import unpack_bits
from sics_cli.base.errors import ConfigError, SicsError, did_you_mean, near_file
from sics_cli.experiment.cells import CHANGED
from sics_cli.experiment.command import replicate_command
from sics_cli.experiment.recipe import DENSE
from sics_cli.results.plan_rows import NO_LOOKS, looked, missing_of_looks, past_looks
from sics_cli.results.summary import loss_floors, noise_floors, paired_seeds, per_example
from sics_cli.results.tables import Reading, read_table_files
from sics_cli.settings.config import ALPHA, DELTA, REFERENCE
from sics_cli.settings.images import data_name
from sics_cli.store.database import is_sqlite
from sics_cli.store.export import columns_of, export_row
from sics_cli.store.rows import OTHER_EXAMPLES, CellRow, CheckpointRow, PlanRow, RepeatRow, stale_remark
from sics_cli.store.run_folder import STORE_NAME
from sics_cli.store.store import Store, find_store, shipped_names
from sics_cli.tasks.images.standardise import in_words
from sics_cli.tasks.own_task import metric_of
from sics_cli.tasks.results import LOSS
from sics_cli.tasks.task import ACCURACY
from sics_cli.tasks.task import Metric as TaskMetric

if TYPE_CHECKING:
    import pandas as pd

    from sics_analysis.looks.design import LookPlan
    from sics_analysis.report.build import Origin
    from sics_analysis.report.document.rows import Fact, Strength
    from sics_analysis.results import DataCheck, Metric


#: A result for each example: right or wrong, or a number.
Bits = dict[tuple[int | str, str, float], NDArray[Any]]
AS_IT_IS = Reading()
ACCURACY_UNIT = "accuracy points"
DEFAULT_DELTA, DEFAULT_ALPHA, DEFAULT_REFERENCE = DELTA, ALPHA, REFERENCE


class InputError(SicsError):
    """What is to be analysed cannot be read, or is not what an analysis needs."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Margin (in the metric's unit), level and reference of an analysis."""

    delta: float = DEFAULT_DELTA
    alpha: float = DEFAULT_ALPHA
    reference: str = DEFAULT_REFERENCE

    def replaced(self, delta: float | None, alpha: float | None, reference: str | None) -> Settings:
        """The same with what is not None put in its place."""
        return Settings(
            self.delta if delta is None else delta,
            self.alpha if alpha is None else alpha,
            self.reference if reference is None else reference,
        )


@dataclass(frozen=True, slots=True)
class Source:
    """Rows to analyse, and what a report says of them; `noise_floor` by S in the metric's unit, empty where nothing was evaluated
    twice.

    `accuracy` of the frame holds the values of `metric`. `checks` are what is known of the rows beside what they say; `beside`
    says that a run's loss is looked at, which its plan is not about. `looks` is when the run looks at its seeds, None for a fixed
    number; `ended` are the seeds that bring nothing more.
    """

    frame: pd.DataFrame
    bits: Bits
    origin: Origin
    metric: Metric
    noise_floor: dict[float, float] = field(default_factory=dict)
    checks: tuple[DataCheck, ...] = ()
    unpaired: bool = False
    assumed: tuple[str, ...] = ()
    beside: bool = False
    looks: LookPlan | None = None
    ended: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """What it is, without any path."""
        return self.origin.source.title

    @property
    def planned(self) -> Settings | None:
        """What a plan in the store fixed; None for a CSV, where nobody can know."""
        plan = self.origin.planned
        return None if plan is None else Settings(plan.delta, plan.alpha, plan.reference)

    def settings(self, delta: float | None, alpha: float | None, reference: str | None) -> Settings:
        """What was planned, with what is not None put in its place; a ConfigError where nothing says a margin in this unit."""
        known = self.planned is not None and not self.beside
        if delta is None and not known and self.metric.unit != ACCURACY_UNIT:
            raise ConfigError(f"--delta: is needed, in {self.metric.unit}: half a point is a default for accuracies alone")
        return (self.planned or Settings()).replaced(delta, alpha, reference)

    def looks_under(self, settings: Settings) -> LookPlan | None:
        """The looks, where they hold: under the settings they were planned with."""
        return None if self._moved(settings) else self.looks

    def origin_under(self, settings: Settings) -> Origin:
        """The origin as a report under `settings` tells it."""
        lost = [NO_LOOKS] if self.looks is not None and self._moved(settings) else []
        return replace(self.origin, stamps=self.stamps_under(settings), remarks=(*self.origin.remarks, *lost))

    def _moved(self, settings: Settings) -> bool:
        """Whether `settings` are not what was planned."""
        return self.planned is not None and (settings != self.planned or self.unpaired or self.beside)

    def stamps_under(self, settings: Settings) -> tuple[str, ...]:
        """The stamps of an analysis under `settings`, which may not be what was planned."""
        stamps = self.origin.stamps
        return (*stamps, *([CHANGED] if self._moved(settings) and CHANGED not in stamps else []))


def read_source(path: Path, *more: Path, across_devices: bool = False, reading: Reading = AS_IT_IS) -> Source:
    """Read a run's folder, its store, or a table of results in one file or several."""
    paths = (path, *more)
    for one in paths:
        if one.is_dir() or is_sqlite(one):
            if more:
                raise ConfigError(f"{one}: is a run, and only tables are read together: give it alone, or export it first")
            return read_run(one, across_devices=across_devices, reading=reading)
        if not one.exists():
            near = near_file(one, shipped_names())
            raise InputError(
                f"{one}: there is no such run or file{near}: give a run's folder, its run.sqlite, or a table of results"
            )
    if across_devices:
        raise ConfigError(f"--across-devices: is for runs, which know their devices; {path.name} is a table")
    from sics_analysis.report.build import Origin
    from sics_analysis.report.document.rows import Fact, SourceInfo

    table = read_table_files(paths, reading)
    name = path.name if not more else f"{path.name} and {len(more)} more"
    facts = [Fact("file", one.name) for one in paths] + [Fact("sha256", table.sha256)]
    varied = "unknown: a table does not say what another seed changed, nor whether equal seeds of two scorers share a network"
    origin = Origin(
        SourceInfo("csv", name, table.sha256, varied),
        fixed="unknown: a table does not say",
        remarks=(
            "The noise floor is unknown: a table has no repeated evaluations.",
            *(f"Assumed: {text}." for text in table.assumed),
        ),
        provenance=tuple(facts),
    )
    return Source(
        table.frame, {} if reading.unpaired else table.bits, origin, table.metric, checks=table.checks, unpaired=reading.unpaired,
        assumed=table.assumed,
    )  # fmt: skip


def read_run(path: Path, *, across_devices: bool = False, reading: Reading = AS_IT_IS) -> Source:
    """Read everything a run holds; the store is not changed."""
    if reading.of_tables is not None:
        raise ConfigError(f"--{reading.of_tables}: is for tables; a run knows its own columns")
    from sics_analysis.rows.reading.names import TableError

    with Store.open(find_store(path), read_only=True) as store:
        measured = metric_in(store.meta("recipe")).name
        if reading.metric not in (None, measured, LOSS):
            names = dict.fromkeys((measured, LOSS))
            near = did_you_mean(reading.metric, names)
            raise ConfigError(f"--metric {reading.metric}: is not what a run measures{near}: give {' or '.join(names)}")
        beside = reading.metric == LOSS != measured
        found = source_of(store, store.cells(), store.repeats(), across_devices=across_devices)
        if beside:
            found = _of_loss(found, store, reading)
        else:
            try:
                reading.asked.refuse_other(found.metric, "what the run measured")
            except TableError as error:
                raise ConfigError(str(error)) from None
            found = replace(found, assumed=(*found.assumed, *reading.asked.told_margin(found.metric)))
    return replace(found, bits={}, unpaired=True) if reading.unpaired else found


def _of_loss(source: Source, store: Store, reading: Reading) -> Source:
    """The same rows by their test loss, which has no counts and no bits."""
    from sics_analysis.results import Metric

    if source.frame["loss"].isna().all():
        name = metric_in(store.meta("recipe")).name
        raise ConfigError(
            f"--metric loss: {source.title} measured none beside its {name}: evaluate hands one over as "
            f'{{"{name}": ..., "loss": ...}}'
        )
    if reading.asked.share is not None:
        raise ConfigError(
            f"--unit {reading.unit}: a loss is no share of anything: give the name of its unit, such as nats, or leave it out"
        )
    lower = True if reading.lower_is_better is None else reading.lower_is_better
    frame = source.frame.assign(accuracy=source.frame["loss"]).drop(columns=["correct", "n", "bits"], errors="ignore")
    if "held_out_loss" in frame.columns:  # of searched scorers
        frame = frame.assign(held_out=frame["held_out_loss"], held_out_reference=frame["held_out_reference_loss"])
    floors = loss_floors(store.cells(), store.repeats())
    metric = Metric("loss", reading.unit or "loss", 1.0, lower, example=source.metric.example)
    asked = f"{'less' if lower else 'more'} loss is better, as asked"
    said = "less loss is better (--higher-is-better says otherwise)" if reading.lower_is_better is None else asked
    return replace(
        source, frame=frame, bits={}, metric=metric, noise_floor={S: f for S, f in floors.items() if S > 0}, beside=True,
        assumed=(*source.assumed, said),
    )  # fmt: skip


def source_of(store: Store, rows: Sequence[CellRow], repeats: Sequence[RepeatRow], *, across_devices: bool = False) -> Source:
    """Make a source of these rows of a store, under its last plan."""
    import pandas as pd

    from sics_analysis.report.build import Origin
    from sics_analysis.report.document.rows import Deviation, Planned, SourceInfo
    from sics_analysis.rows.checks import copied_checkpoints

    plans, recipe, failures = store.plans(), store.meta("recipe"), store.failures()
    found = looked(store, plans[-1], rows, repeats) if plans else None
    rows, repeats = (rows, repeats) if found is None else (found.rows, found.repeats)
    kept, remarks = comparable(rows, across_devices=across_devices)
    remarks += [] if found is None else found.remarks
    remarks += stale_remark(store.stale_cells())
    pruned = [row for row in kept if row.scorer != DENSE]
    if not pruned:
        raise InputError(f"{store.path}: holds no pruned network that could be analysed; replicate computes them")
    failed = [row for row in failures if row.kind == "cell"]
    deviations = [Deviation("left out" if text.startswith("Left out") else "paired", text) for text in remarks]
    deviations += (
        [Deviation("failed", f"{plural(len(failed), 'cell')} failed and {'is' if len(failed) == 1 else 'are'} missing here.")]
        if failed
        else []
    )
    deviations += [Deviation("failed", row.error, row.scorer, row.sparsity, row.seed) for row in failed]
    missing = unfinished(plans, rows) if found is None else missing_of_looks(store, plans[-1], rows)
    deviations += [Deviation("missing", text) for text in missing]
    deviations += [Deviation("flag", text) for text in flagged(pruned)]
    saliency, metric = recipe["saliency"]["kind"], statistics_in(recipe)
    info = SourceInfo(
        "run",
        f"{what_ran(recipe)}, saliency {saliency}, {recipe['environment']['device_class']}",
        store.meta("run_id"),
        _varied(recipe, same_examples=not other_examples(kept)),
        saliency,
        _strengths(store, {row.scorer for row in pruned}),
        seconds_per_seed(store.checkpoints(), kept),
        replicate_command(
            recipe,
            plans[-1] if plans else None,
            store.meta("scorers"),
            first_seed=_first_seed(plans, pruned),
            folder=_own_folder(store.path),
        ),
    )
    origin = Origin(
        info,
        when_fixed(plans),
        Planned(plans[-1].delta, plans[-1].alpha, plans[-1].reference) if plans else None,
        tuple(dict.fromkeys(plan.stamp for plan in plans if plan.stamp)) if found is None else found.stamps,
        tuple(deviations),
        remarks=(*_of_examples(recipe, kept), *past_looks(plans)),
        provenance=tuple(_provenance(store, pruned, plans)),
        targets=() if found is None else found.targets,
    )
    columns = columns_of({}, kept)  # under one name, whatever was measured
    frame = pd.DataFrame([export_row(row, recipe, columns) for row in kept], columns=list(columns)).astype({"kappa": "Int64"})
    frame["accuracy"] = [row.result for row in kept]
    if any(row.bits is None for row in kept):
        frame = frame.drop(columns=["correct", "bits"])
    return Source(
        frame,
        _single_examples(recipe, kept),
        origin,
        metric,
        {sparsity: floor.change for sparsity, floor in noise_floors(pruned, repeats, metric.scale).items()},
        (
            *copied_checkpoints(
                ((row.seed, row.checkpoint_hash) for row in kept), given=recipe.get("start", {}).get("kind") == "checkpoint"
            ),
            *untouched(kept),
        ),
        looks=None if found is None else found.plan,
        ended=() if found is None else found.ended,
    )


def untouched(rows: Sequence[CellRow]) -> tuple[DataCheck, ...]:
    """A check where no pruned network gives another result on any example than its dense network: nothing was measured.

    Numbers of examples that are all one, such as all right, are no sign of it: they may be the best there is.
    """
    from sics_analysis.results import DataCheck, Level

    dense = {row.seed: row for row in rows if row.scorer == DENSE}
    pairs = [(dense[row.seed], row) for row in rows if row.scorer != DENSE and row.seed in dense]
    telling = [(one, two) for one, two in pairs if one.n is None or one.correct not in (0, one.n)]
    if not telling or any((one.bits, one.examples, one.value) != (two.bits, two.examples, two.value) for one, two in telling):
        return ()
    text = (
        "every pruned network gives to the bit what its dense network gives: does evaluate() use the network that it is given, "
        "and are the pruned weights the ones that it uses?"
    )
    return (DataCheck("untouched", Level.OPEN, text),)


def _single_examples(recipe: Mapping[str, Any], rows: Sequence[CellRow]) -> Bits:
    """A result for each example: right or wrong, or numbers whose mean is the result; nothing where it is made otherwise, or the
    examples are not the same at every seed."""
    if other_examples(rows):
        return {}
    places = [(row.seed, row.scorer, row.sparsity) for row in rows]
    if all(row.bits is not None for row in rows):
        return {place: unpack_bits(row.bits or b"", row.n or 0) for place, row in zip(places, rows, strict=True)}
    if not recipe["task"]["metric"]["mean"]:
        return {}
    numbers = zip(places, map(per_example, rows), strict=True)
    return {place: found for place, found in numbers if found is not None}


def _of_examples(recipe: Mapping[str, Any], rows: Sequence[CellRow]) -> list[str]:
    """Which tests on single examples do not apply, and why; nothing where all do."""
    if seeds := other_examples(rows):
        return [
            f"Evaluated as at another seed, a network of seed {listed(seeds)} gave other numbers for the examples: they are "
            "others at each seed, or in another order, or chance is in them. There is no interval for new examples, and no exact "
            "test on single ones."
        ]
    if all(row.bits is not None for row in rows):
        return []
    name = recipe["task"]["metric"]["name"]
    if any(row.bits is None and row.examples is None for row in rows):
        return [
            f"The task hands over one number of {name} a network: there is no interval for new examples, and no exact test on "
            "single ones."
        ]
    if not recipe["task"]["metric"]["mean"]:
        return [
            f"The task makes {name} of the numbers of all examples together, and not as their mean: there is no interval for new "
            "examples, and no exact test on single ones."
        ]
    return [
        f"Of {name} each example has a number, not right or wrong: McNemar's exact test does not apply. The interval for new "
        "seeds and new examples comes from two-way variance components, Student t with n − 1 degrees of freedom."
    ]


def other_examples(rows: Sequence[CellRow]) -> list[int]:
    """Seeds at which the number of an example is not that of the same example at another seed."""
    return sorted({row.seed for row in rows if OTHER_EXAMPLES in row.flags})


def metric_in(recipe: Mapping[str, Any]) -> TaskMetric:
    """What a run measured."""
    return metric_of(recipe["task"]["metric"]) if "task" in recipe else TaskMetric(ACCURACY)


def statistics_in(recipe: Mapping[str, Any]) -> Metric:
    """The same for `sics_analysis`, which calls the examples of the project's own tasks images."""
    from sics_analysis.results import EXAMPLE, IMAGE

    return replace(metric_in(recipe).statistics(), example=EXAMPLE if "task" in recipe else IMAGE)


def what_ran(recipe: Mapping[str, Any]) -> str:
    """A run's task in a few words."""
    if "task" in recipe:
        return f"task {recipe['task']['name']}"
    word = recipe["data"].get("standardise", "data")
    standardised = "" if word == "data" else f" standardised by {in_words(word)}"
    return f"{recipe['model']['name']} on {data_of(recipe)}{standardised}"


def data_of(recipe: Mapping[str, Any]) -> str:
    """What a reader knows the images of a run as."""
    return str(recipe.get("called") or data_name(recipe["data"]["name"], recipe["data"]["digest"]))


def seconds_per_seed(checkpoints: Sequence[CheckpointRow], rows: Sequence[CellRow]) -> float | None:
    """What a seed took on one worker: its training and its cells, by the seconds that the rows recorded."""
    seeds = {row.seed for row in rows}
    if not seeds:
        return None
    trained = [row.wall_seconds for row in checkpoints if row.seed in seeds]
    return sum(row.wall_seconds for row in rows) / len(seeds) + (sum(trained) / len(trained) if trained else 0.0)


def _own_folder(store: Path) -> Path | None:
    """The folder in which `replicate` goes on with a run; None of a run that ships with the package, and of a store by itself."""
    from sics_data import reference_runs

    return None if store.name != STORE_NAME or store in reference_runs().values() else store.parent


def _first_seed(plans: Sequence[PlanRow], rows: Sequence[CellRow]) -> int:
    """Where the seeds of a run begin: those of its looks, or, of fixed numbers of seeds, all that were planned or are there."""
    if plans and plans[-1].looks is not None:
        return min(plans[-1].seeds)
    return min((*(row.seed for row in rows), *(seed for plan in plans for seed in plan.seeds)))


def _strengths(store: Store, names: set[str]) -> tuple[Strength, ...]:
    """The strength of every scorer that has one, as the driver that computed the rows was told it."""
    from sics_analysis.report.document.rows import Strength

    facts = store.meta("scorers") or {}
    found = {info["name"]: info["fingerprint"].get("parameters", {}).get("alpha") for info in facts.get("infos", ())}
    return tuple(Strength(name, float(a)) for name, a in found.items() if name in names and isinstance(a, int | float))


def comparable(rows: Sequence[CellRow], *, across_devices: bool = False) -> tuple[list[CellRow], list[str]]:
    """Drop the seeds whose rows cannot be paired with each other; say which and why.

    The rows of a seed must have met one checkpoint, data order, saliency and calibration, and one device.
    """
    _, unpaired = paired_seeds(rows)
    devices: dict[int, set[str]] = {}
    for row in rows:
        devices.setdefault(row.seed, set()).add(str(row.provenance.get("device")))
    mixed = [seed for seed, names in sorted(devices.items()) if len(names) > 1 and seed not in unpaired]
    remarks = []
    if unpaired:
        remarks.append(
            f"Left out: seed {listed(unpaired)}, whose rows met different checkpoints, data order, saliency or calibration "
            "batches (replicate --force recomputes them)."
        )
    if mixed and not across_devices:
        remarks.append(f"Left out: seed {listed(mixed)}, whose rows come from different devices (--across-devices pairs them).")
    elif mixed:
        remarks.append(f"Seed {listed(mixed)}: rows of different devices are paired, as asked.")
    dropped = {*unpaired, *([] if across_devices else mixed)}
    return [row for row in rows if row.seed not in dropped], remarks


def when_fixed(plans: Sequence[PlanRow]) -> str:
    """When the settings of the last plan were fixed: its earliest predecessor with the same ones, without a break.

    A plan with looks was fixed when it was first there.

    >>> one = PlanRow("a", "2026-01-01T00:00:00+00:00", 0.5, 0.05, "magnitude", {}, [0], ["magnitude"], [0.5])
    >>> when_fixed([one])
    '2026-01-01T00:00:00+00:00, before the first cell'
    """
    if not plans:
        return "unknown: the store holds no plan"
    last, first = plans[-1], plans[-1]
    for plan in reversed(plans):
        if last.looks is not None and plan.plan_hash != last.plan_hash:
            continue
        if (plan.delta, plan.alpha, plan.reference) != (last.delta, last.alpha, last.reference):
            break
        first = plan
    when = (
        f"after {plural(first.cells_before, 'row')} {'was' if first.cells_before == 1 else 'were'} there"
        if first.cells_before
        else "before the first cell"
    )
    return f"{first.created}, {when}"


def _varied(recipe: dict[str, Any], *, same_examples: bool) -> str:
    start = recipe.get("start", {}).get("kind")
    if "task" in recipe or start == "checkpoints":
        what = ", ".join(recipe["seed_varies"])
        if not same_examples:
            return f"{what}, and what it is evaluated on: the examples, their order, or chance in their numbers"
        return f"{what}; the examples of the evaluation are the same for all seeds"
    if start == "checkpoint":
        return (
            f"{' and the '.join(recipe['seed_varies'])}, and nothing else: one given network is pruned at every seed, so what is "
            "said here is about that network on these test images, not about networks trained like it, nor about new images"
        )
    batches = "" if recipe["saliency"]["calibration"] is None else ", calibration batches"
    told = recipe.get("seed_varies", ())
    augmented = "".join(f", {name}" for name in ("augmentation", "mixing of images") if name in told)
    begin = "initialisation of the classifier" if start == "pretrained" else "initialisation"
    return (
        f"a network's {begin}, its data order{augmented}{batches} and the draws of random scorers; the split "
        "and the test images are the same for all seeds"
    )


def unfinished(plans: Sequence[PlanRow], rows: Sequence[CellRow]) -> list[str]:
    """Say how many cells of the last plan are missing; nothing where none is."""
    if not plans:
        return []
    last = plans[-1]
    asked = {(seed, name, s) for seed in last.seeds for name in last.scorers for s in last.sparsities}
    missing = len(asked - {(row.seed, row.scorer, row.sparsity) for row in rows})
    return [f"{missing} of {len(asked)} planned cells are not there."] if missing else []


def flagged(rows: Sequence[CellRow]) -> list[str]:
    """Name the scorers of each flag that the rows carry."""
    flags = sorted({flag for row in rows for flag in row.flags})
    return [f"Flagged {flag}: {', '.join(dict.fromkeys(r.scorer for r in rows if flag in r.flags))}." for flag in flags]


def _provenance(store: Store, rows: Sequence[CellRow], plans: Sequence[PlanRow]) -> Iterable[Fact]:
    """Yield what made these rows; several values where they were made by several."""
    from sics_analysis.report.document.rows import Fact

    recipe = store.meta("recipe")
    yield Fact("run", store.meta("run_id"))
    yield Fact("begun", str(store.meta("created")))
    yield Fact("last row", max(row.finished for row in rows))
    if plans:
        yield Fact("plan", plans[-1].plan_hash)
    if "task" in recipe:
        task = recipe["task"]
        yield Fact("task", ", ".join([task["name"], *(f"{name} {value}" for name, value in sorted(task["options"].items()))]))
        yield Fact("source", str(task.get("source_sha256", "installed"))[:16])
    else:
        sizes = ", ".join(f"{name} {recipe['data'][name]}" for name in ("train", "validation", "test"))
        yield Fact("data", f"name {data_of(recipe)}, {sizes}")
        yield Fact("model", ", ".join(f"{name} {value}" for name, value in sorted(recipe["model"].items())))
        kept = {name: value for name, value in sorted(recipe["training"].items()) if name != "version"}
        one_a_seed = recipe.get("start", {}).get("kind") == "checkpoints"
        settings = ", ".join(f"{name} {value}" for name, value in kept.items())
        yield Fact("training", "none: weights as they were given, one file a seed" if one_a_seed else settings)
    bodies = [row.provenance for row in rows]
    yield Fact("device", _several(body.get("device") for body in bodies))
    yield Fact("code", _several(_commit(body) for body in bodies))
    names = sorted({name for body in bodies for name in body.get("versions", {})})
    yield Fact(
        "versions", "; ".join(f"{name} {_several(body.get('versions', {}).get(name) for body in bodies)}" for name in names)
    )
    yield Fact("python", _several(body.get("python") for body in bodies))
    yield Fact("platform", _several(body.get("platform") for body in bodies))


def _several(values: Iterable[object]) -> str:
    return " and ".join(sorted({str(value) for value in values if value is not None})) or "unknown"


def _commit(body: dict[str, Any]) -> str | None:
    sha = body.get("git_sha")
    return None if sha is None else f"{sha[:12]}{' with uncommitted changes' if body.get('git_dirty') else ''}"


def listed(values: Iterable[object]) -> str:
    """Values with commas between them."""
    return ", ".join(map(str, values))
