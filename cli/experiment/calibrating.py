"""The saliency of one seed's dense network, from its calibration batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from sics_cli.experiment.evaluation import Examples
from sics_cli.experiment.streams import Indices
from sics_plugin import Saliency
from sics_plugin.saliency.kinds import SIGNALS


def saliency_of(model: nn.Module, kind: str, examples: Examples, batches: Sequence[Indices], unit: str = "weight") -> Saliency:
    """Collect the saliency of `model`, in eval mode, over these batches of examples.

    Parameters
    ----------
    model : nn.Module
    kind : str
        One of `sics_plugin.saliency.kinds.SIGNALS`; those that read the weights alone need no batches.
    examples : Examples
        On the model's device.
    batches : sequence of int64 arrays
        Positions of each batch's examples.
    unit : {"weight", "channel", "head"}
        What will be pruned by it.

    Raises
    ------
    ValueError
        A loss or a gradient that is not finite.
    """
    wanted: Any = kind
    if SIGNALS[kind].collect is None:
        return Saliency(model, kind=wanted)
    pairs = (examples.at(torch.from_numpy(batch).to(examples.labels.device)) for batch in batches)
    return Saliency(model, pairs, nn.functional.cross_entropy, kind=wanted, unit=unit)
