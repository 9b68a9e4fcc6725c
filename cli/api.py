"""`replicate` for Python: the same run as the command's, from a task that is at hand, and what to ask of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sics_analysis.results import plural
from sics_cli.base.errors import ConfigError
from sics_cli.console.notebook import in_notebook, notebook_reporter
from sics_cli.console.progress_bars import reporter
from sics_cli.experiment.user_scorers import expanded
from sics_cli.results.doubts import doubts
from sics_cli.results.judge import judge
from sics_cli.results.source import read_run
from sics_cli.results.summary import unpaired_text
from sics_cli.runs.run import ready, run_session
from sics_cli.settings.config import OWN_DEFAULTS, OwnTask, experiment_from_mapping
from sics_cli.settings.presets import PRESETS
from sics_cli.store.export import export_rows
from sics_cli.store.rows import FailureRow, LookRow
from sics_cli.store.store import Store, find_store
from sics_cli.tasks.own_task import from_instance

if TYPE_CHECKING:
    import pandas as pd

    from sics_analysis.study.outcome import Analysis


class Run:
    """A run's folder: its numbers, its verdicts, its report.

    Parameters
    ----------
    folder : str or Path
        As `replicate` made it; the name of a run that ships with the package, such as ``"reference:digits-weight"``.

    Examples
    --------
    >>> run = Run("reference:digits-weight")
    >>> len(run.frame()["seed"].unique()), run.analyse().delta
    (40, 0.5)
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = find_store(Path(folder))
        self.folder = self.path.parent

    def __repr__(self) -> str:
        with Store.open(self.path, read_only=True) as store:
            rows, failed = store.cells(), store.failures()
        seeds = len({row.seed for row in rows})
        failures = f", {len(failed)} failed" if failed else ""
        return f"Run({str(self.folder)!r}: {plural(len(rows), 'row')} of {plural(seeds, 'seed')}{failures})"

    def frame(self) -> pd.DataFrame:
        """One row a (seed, scorer, sparsity), dense networks as sparsity 0, with the columns of `sics-run export`."""
        import pandas as pd

        with Store.open(self.path, read_only=True) as store:
            return pd.DataFrame(export_rows(store))

    def failures(self) -> list[FailureRow]:
        """Cells that raised, each with its traceback (`trace`)."""
        with Store.open(self.path, read_only=True) as store:
            return store.failures()

    @property
    def looks(self) -> tuple[LookRow, ...]:
        """The looks of the run's last plan that were made, in their order: seeds, verdicts, α spent; none of a fixed number."""
        with Store.open(self.path, read_only=True) as store:
            plans = store.plans()
            return tuple(store.looks(plans[-1].plan_hash)) if plans else ()

    def analyse(self, *, delta: float | None = None, alpha: float | None = None, reference: str | None = None) -> Analysis:
        """Verdicts of every scorer at every sparsity, under the run's plan unless told otherwise; δ in the metric's unit.

        Of a run until decided they are those of its looks; under another δ, α or reference these do not hold.
        """
        from sics_cli.results.report import analyse_source

        source = read_run(self.path)
        return analyse_source(source, source.settings(delta, alpha, reference))

    def report(
        self,
        path: str | Path = "report.html",
        *,
        delta: float | None = None,
        alpha: float | None = None,
        reference: str | None = None,
    ) -> Path:
        """Write the significance report, in the format of the ending: .html, .md, .tex, .json; give its path."""
        from sics_analysis.report.layouts.formats import render
        from sics_cli.base.files import write_atomically
        from sics_cli.results.report import document_of

        formats = {".html": "html", ".htm": "html", ".md": "md", ".tex": "latex", ".json": "json"}
        to = Path(path)
        if to.suffix not in formats:
            raise ConfigError(f"report({str(path)!r}): give a name ending in {' | '.join(formats)}")
        source = read_run(self.path)
        document = document_of(source, source.settings(delta, alpha, reference))
        to.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(to, render(document, formats[to.suffix]).encode())
        return to


def replicate(
    task: Any,
    *,
    seeds: int | Sequence[int] | None = None,
    until: str | None = None,
    max_seeds: int | None = None,
    scorers: str | Sequence[str] = "sics",
    sparsities: Sequence[float] = (0.5, 0.6, 0.7, 0.8),
    out: str | Path | None = None,
    delta: float | None = None,
    alpha: float = 0.05,
    reference: str = "magnitude",
    unit: str = "weight",
    pool: str = "global",
    saliency: str = "gradient",
    device: str = "auto",
    workers: int | None = None,
    executor: str = "local",
    slurm: str | None = None,
    force: bool = False,
    retry_failed: bool = False,
) -> Run:
    """Train, prune by every scorer, evaluate, and keep one row a number: what `sics-run replicate --task` does.

    The same call goes on where it was stopped, and computes only what is missing.

    Parameters
    ----------
    task : object, class or str
        A task, as `Task` describes it; a class that is made without arguments; "FILE.py:CLASS"; or a preset, such as "digits".
    seeds : int or sequence of int, optional
        Replicates: seeds 0 to N - 1, or these. Default: 5; with `until` those of `max_seeds`.
    until : str, optional
        "decided", or "decided:TARGET,TARGET": look at 5, 8, 12, ... seeds and stop when that is decided, errors held over all
        looks. A target is a claim, such as "escape:chaos@0.8", or "share:0.8" of the lines of κ ≥ 1.
    max_seeds : int, optional
        The most seeds that `until` may take: 0 to N - 1, or a sequence of N given as `seeds`.
    scorers : str or sequence of str
        Names, "FILE.py:CLASS" of your own, or the words "sics", "peers", "searched" and "all".
    sparsities : sequence of float
        Fractions of units removed.
    out : path, optional
        Folder of the run. Default: below ``runs/``, named by task and recipe.
    delta : float, optional
        Equivalence margin in the metric's unit. Default: the metric's own.
    alpha, reference, unit, pool, saliency, device, workers, executor, slurm, force, retry_failed
        As the options of `sics-run replicate`.

    Returns
    -------
    Run

    Raises
    ------
    sics_cli.base.errors.SicsError
        One line that says what is not accepted, or what stopped the run; finished numbers are kept.
    """
    settings: dict[str, Any] = {
        "seeds": seeds if seeds is None or isinstance(seeds, int) else tuple(seeds), "until": until, "max_seeds": max_seeds,
        "sparsities": tuple(sparsities),
        "scorers": tuple(expanded([scorers] if isinstance(scorers, str) else list(scorers))),
        "alpha": alpha, "reference": reference, "unit": unit, "pool": pool, "saliency": saliency, "device": device,
    }  # fmt: skip
    if seeds is None and until is None:
        settings["seeds"] = OWN_DEFAULTS["seeds"]
    if delta is not None:
        settings["delta"] = float(delta)
    if isinstance(task, str) and task in PRESETS:
        settings = PRESETS[task] | settings
    else:
        own = OwnTask(task) if isinstance(task, str) and ":" in task else _handed(task)
        settings |= {"task": own, "name": own.name.rpartition(":")[2].lower()}
    experiment = experiment_from_mapping(settings)
    progress = notebook_reporter() if in_notebook() else reporter()
    folder = None if out is None else Path(out).expanduser()
    with ready(experiment, folder, progress, executor=executor, slurm=slurm, workers=workers) as (session, place):
        run_session(session, place, progress, judge, force=force, retry_failed=retry_failed)
    keys = {cell.key for cell in session.cells}
    with Store.open(session.store_path, read_only=True) as store:
        rows = [row for row in store.cells() if row.cell_key in keys]
    for text in (*doubts(session.recipe, session.experiment.margin, rows), unpaired_text(rows)):
        if text:
            progress.note(text)
    return Run(session.folder)


def _handed(task: Any) -> OwnTask:
    """A task that is an object, or a class that can be made without arguments."""
    if isinstance(task, str):
        raise ConfigError(f"replicate({task!r}): is no task: give an object, FILE.py:CLASS, or one of {', '.join(PRESETS)}")
    if isinstance(task, type):
        try:
            task = task()
        except TypeError as error:
            raise ConfigError(f"replicate({task.__name__}): cannot be made without arguments ({error}): give an object") from None
    return from_instance(task)
