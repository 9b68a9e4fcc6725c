"""How long seeds take, and which of them go into one job: a seed is never cut, short seeds share a job."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from statistics import mean

from sics_cli.experiment.config import Experiment
from sics_cli.experiment.rows import CellRow, CheckpointRow
from sics_cli.experiment.work import Work, multiply_adds

#: Seconds from a job's start to its first number: Python, torch, data.
START_SECONDS = 15.0
#: Arithmetic a worker gets through where nothing was measured yet, in floating-point operations a second: one core, one GPU.
#: Small networks stay below it, large ones above: a guess that is right within a factor of a few.
GUESSED_RATES = {"cpu": 4e10, "cuda": 4e12}
#: A GPU is not faster than this, however small the network: seconds to launch what a training step and a cell consist of.
LAUNCHED = {"cpu": (0.0, 0.0), "cuda": (0.01, 0.1)}


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that one seed's parts take on one worker; `source` says how that is known.

    `signals` are those of the saliencies that scorers collect for themselves, by kind.
    """

    training: float
    saliency: float
    cell: float
    source: str
    signals: Mapping[str, float] = field(default_factory=dict)

    def seconds(self, cells: int, trained: float = 0.0, signals: Iterable[str] = ()) -> float:
        """Seconds of a seed with so many cells to go that ask for these signals; a fraction `trained` of its training is done."""
        collecting = sum(self.signals.get(kind, 0.0) for kind in signals)
        return self.training * (1 - trained) + (self.saliency + collecting + self.cell * cells if cells else 0.0)


def estimate(
    experiment: Experiment, device_class: str, checkpoints: Sequence[CheckpointRow] = (), cells: Sequence[CellRow] = ()
) -> Cost | None:
    """Cost of a seed: from this run's own rows where there are any, else guessed from the network's size, else None.

    Parameters
    ----------
    experiment : Experiment
    device_class : str
        "cpu" or "cuda".
    checkpoints, cells : sequences of rows
        What the run's store holds.
    """
    work = Work.of(experiment)
    kinds = [kind for kind in work.signals if work.signal(kind)]
    pruned = [row.wall_seconds for row in cells if row.mask_hash is not None]
    if checkpoints and (work.training or pruned):
        training = mean(row.wall_seconds for row in checkpoints)
        pace = training / work.training if work.training else mean(pruned) / work.cell  # a network that is given is not trained
        cell = mean(pruned) if pruned else pace * work.cell
        source = f"measured on {len(checkpoints)} seed{'s' * (len(checkpoints) > 1)}"
        return Cost(training, pace * work.saliency, cell, source, {kind: pace * work.signal(kind) for kind in kinds})
    operations = multiply_adds(experiment.model)
    if operations is None:
        return None
    pace = 2 * operations / GUESSED_RATES[device_class]
    step, cell = LAUNCHED[device_class]
    steps = experiment.training.epochs * -(-experiment.data.train // experiment.training.batch_size)
    training, saliency = max(pace * work.training, step * steps), max(pace * work.saliency, step * experiment.calibration.batches)
    signals = {kind: max(pace * work.signal(kind), step * experiment.calibration.batches) for kind in kinds}
    return Cost(training, saliency, max(pace * work.cell, cell), "guessed from the network's size", signals)


def minutes_for(seconds: Collection[float | None], minutes: float, workers: int | None) -> float:
    """The length to give jobs of these seeds: at most `minutes`, and such that each of `workers` gets as many jobs as the others.

    Eleven jobs of ten minutes keep eight workers for twenty, five of them idle for half of it; sixteen shorter ones do not.

    Examples
    --------
    >>> [round(minutes_for([60.0] * seeds, 10, 4), 2) for seeds in (8, 800, 44)], minutes_for([60.0] * 8, 10, None)
    ([2.25, 9.25, 6.25], 10)
    """
    longest = max((value or 0.0 for value in seconds), default=0.0)
    if workers is None or longest == 0:
        return minutes
    fitting = max(1, int((60 * minutes - START_SECONDS) // longest))
    rounds = -(-len(seconds) // (workers * fitting))
    share = -(-len(seconds) // (workers * rounds))
    return min(minutes, (START_SECONDS + share * longest) / 60 + 1e-6)  # the sum of equal costs may round up


def group(seconds: Mapping[int, float | None], minutes: float, alone: Set[int] = frozenset()) -> list[tuple[int, ...]]:
    """Put seeds together, in order, into jobs of about so many minutes.

    Parameters
    ----------
    seconds : mapping of seed to float or None
        What each seed takes; one whose time is not known gets a job of its own.
    minutes : float
        No job of more than one seed is expected to take longer.
    alone : set of int
        Seeds that get a job of their own.

    Examples
    --------
    >>> group({0: 60.0, 1: 60.0, 2: 60.0, 3: 900.0, 4: None}, minutes=3)
    [(0, 1), (2,), (3,), (4,)]
    """
    jobs: list[list[int]] = []
    room = 0.0
    for seed, cost in seconds.items():
        if cost is None or seed in alone or not jobs or cost > room:
            jobs.append([seed])
            room = 0.0 if cost is None or seed in alone else 60 * minutes - START_SECONDS - cost
        else:
            jobs[-1].append(seed)
            room -= cost
    return [tuple(seeds) for seeds in jobs]
