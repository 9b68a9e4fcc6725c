"""How much work a run is, in passes of one example through the network: what the time left is told by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sics_cli.experiment.config import Experiment

#: A forward and backward pass costs about three forward passes.
BACKWARD = 3
#: Making a mask costs about as much as half an evaluation (measured on digits; smaller beside larger networks).
MASKING = 1.5


@dataclass(frozen=True, slots=True)
class Work:
    """Work of a seed's training, of its saliency, and of one cell."""

    training: float
    saliency: float
    cell: float

    @classmethod
    def of(cls, experiment: Experiment) -> Self:
        """Estimate for one experiment; a seed costs training + saliency + cells · cell."""
        calibration = experiment.calibration.batches * experiment.calibration.batch_size
        return cls(
            training=0.0 if experiment.checkpoint else BACKWARD * experiment.data.train * experiment.training.epochs,
            saliency=0.0 if experiment.saliency == "neighbourhood" else BACKWARD * calibration,
            cell=MASKING * experiment.data.test,
        )
