"""What a worker is told of a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sics_cli.experiment.cells import Cell
from sics_cli.experiment.recipe import Environment
from sics_cli.experiment.scorers import ScorerInfo
from sics_cli.settings.config import Experiment
from sics_cli.store.rows import CellRow
from sics_cli.tasks.recipe import TaskRecipe


@dataclass(frozen=True, slots=True)
class SeedJob:
    """Cells of one seed to compute, in order; `part` tells jobs of one seed apart, `run_id` is what the driver made of it.

    `task` is what the driver made of the experiment's. `known` are the seed's rows that stay:
    what is made here must agree with them, and with `share` their evaluations serve for equal masks. Progress is told every
    `tell_seconds` at most. With `keep`, saliencies are kept on disk for whoever goes on with the seed, on whatever machine.
    `reference` is what others are compared to, which searched scorers evaluate on their held-out examples too.
    """

    folder: Path
    experiment: Experiment
    environment: Environment
    seed: int
    cells: tuple[Cell, ...]
    known: tuple[CellRow, ...]
    share: bool
    provenance: dict[str, Any]
    run_id: str
    task: TaskRecipe
    part: int = 0
    tell_seconds: float = 0.3
    keep: bool = False
    reference: ScorerInfo | None = None
