"""Evaluating many masks of one dense network, on the module itself or on its compact form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import nn

from sics_cli.experiment.evaluation import EVALUATION_BATCH, Evaluation, Examples, evaluate, evaluation_of
from sics_cli.experiment.trainers import compact_form
from sics_cli.experiment.vit_layout import Parameters, patches
from sics_plugin import masked

Masks = Mapping[str, torch.Tensor]
#: Examples the compact form evaluates at a time; fixed, since it may move the last bits of a logit.
COMPACT_BATCH = 100
#: Where the two highest logits are nearer than this (relative to the highest, if above 1), rounding could decide which is
#: higher: such a batch is evaluated by the module itself. The two forms' logits differ by about 1e-6.
CLOSE = 2e-5
#: By how much of the head's largest possible terms that measure grows: where these cancel, their roundings do not.
TERMS = 0.05


class Evaluator(Protocol):
    """Evaluates one dense network under any masks."""

    def evaluate(self, masks: Masks) -> Evaluation:
        """Evaluate under these masks; none of them is the dense network."""


class PlainEvaluator:
    """Masks the module's weights in place, and puts them back."""

    def __init__(self, model: nn.Module, part: Examples) -> None:
        self._model, self._part = model, part

    def evaluate(self, masks: Masks) -> Evaluation:
        """Evaluate the module."""
        with masked(self._model, masks):
            return evaluate(self._model, self._part)


class CompactEvaluator:
    """Evaluates the compact form of a plain vision transformer.

    Notes
    -----
    Which examples are right is exactly what the module says: where the two highest logits are too close to tell, the
    module is asked, in the batches it would have evaluated anyway. The mean loss agrees with the module's to about 1e-6 of it.
    """

    def __init__(self, model: nn.Module, part: Examples) -> None:
        self._model, self._part = model, part
        self._net = compact_form(model, part.some())
        self._dense = self._net.parameters.flat.clone()
        self._cut = [patches(images, self._net.shape) for images, _ in part.batches(COMPACT_BATCH)]

    @torch.no_grad()
    def evaluate(self, masks: Masks) -> Evaluation:
        """Evaluate the compact form, or the module where that is too close to tell."""
        parameters: Parameters = self._net.parameters
        parameters.flat.copy_(self._dense)
        for name, mask in masks.items():
            parameters.named[name].masked_fill_(~mask.view(parameters.named[name].shape), 0)
        logits = torch.cat([self._net.logits(piece) for piece in self._cut])
        sure = self._sure(logits)
        pieces = list(logits.split(EVALUATION_BATCH))
        unsure = [place for place, piece in enumerate(sure.split(EVALUATION_BATCH)) if not bool(piece.all())]
        if unsure:
            self._model.eval()
            with masked(self._model, masks):
                for place, (images, _) in enumerate(self._part.batches(EVALUATION_BATCH)):
                    if place in unsure:
                        pieces[place] = self._model(images)
        return evaluation_of(zip(pieces, self._part.labels.split(EVALUATION_BATCH), strict=True))

    def _sure(self, logits: torch.Tensor) -> torch.Tensor:
        """Where rounding cannot decide which logit is highest; not so either where one is not a number."""
        if logits.shape[1] == 1:
            return logits[:, 0].isfinite()
        named = self._net.parameters.named
        gain, shift, weight = (named[name] for name in ("fc_norm.weight", "fc_norm.bias", "head.weight"))
        terms = weight.norm(dim=1).max() * (len(gain) ** 0.5 * gain.abs().max() + shift.norm())
        first, second = logits.topk(2, dim=1).values.unbind(dim=1)
        return first - second > CLOSE * first.abs().clamp(min=max(1.0, TERMS * float(terms)))


def make_evaluator(path: str, model: nn.Module, part: Examples) -> Evaluator:
    """Make the evaluator of a path of `sics_cli.experiment.route`."""
    return CompactEvaluator(model, part) if path == "compact" else PlainEvaluator(model, part)
