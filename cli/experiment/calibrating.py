"""The saliency of one seed's dense network, from its calibration batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sics_cli.experiment.evaluation import Examples
from sics_cli.experiment.streams import Indices
from sics_cli.experiment.trainers import compact_form
from sics_cli.experiment.vit_layout import patches
from sics_plugin import Saliency
from sics_plugin.saliency.kinds import SIGNALS


def saliency_of(
    model: nn.Module, kind: str, examples: Examples, batches: Sequence[Indices], path: str, unit: str = "weight"
) -> Saliency:
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
    path : {"plain", "compact"}
        What computes the gradients, see `sics_cli.experiment.route`; all else is always the module's own.
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
    if kind == "gradient" and path == "compact":
        return Saliency.from_gradients(model, _gradients(model, examples, pairs), samples=sum(map(len, batches)))
    return Saliency(model, pairs, nn.functional.cross_entropy, kind=wanted, unit=unit)


@torch.no_grad()
def _gradients(model: nn.Module, examples: Examples, pairs: Iterator[tuple[Tensor, Tensor]]) -> Iterator[dict[str, Tensor]]:
    net = compact_form(model, examples.some())
    found = {name: net.gradients.named[name].view(parameter.shape) for name, parameter in model.named_parameters()}
    for number, (images, labels) in enumerate(pairs, start=1):
        loss, _ = net.gradient(patches(images, net.shape), labels)
        if not abs(loss) < float("inf"):
            raise ValueError(f"Expected a finite loss on the calibration batches, got {loss} on batch {number}")
        yield found
