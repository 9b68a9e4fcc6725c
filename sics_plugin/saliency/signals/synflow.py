"""Synaptic flow (Tanaka et al. 2020): how much of an all-ones signal flows through each weight of the positive network.

All weights are replaced by their absolute values, the input by ones; with R the sum of the outputs, a weight's score is
w·∂R/∂w. Between two layers of a chain without biases nothing is lost, so the scores of every layer add up to R. As published,
weights are not removed at once but in rounds, with new scores after each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from sics_plugin.channels.groups import BoundGroup, ChannelGroup, bind_groups
from sics_plugin.network.masks import clone_pruned
from sics_plugin.network.prunable import resolve_targets
from sics_plugin.network.targets import dense_parameters, without_ties
from sics_plugin.saliency.batches import NO_BATCHES, Batch
from sics_plugin.saliency.signals.contributions import Collected
from sics_plugin.selection.fetch import all_finite

#: Rounds of the published schedule, and the density it ends at: after round k of n, density^(k/n) of the weights are left.
ROUNDS = 100
FINAL_DENSITY = 0.01


def synaptic_flow(
    model: nn.Module, batches: Iterable[Batch], rounds: int = ROUNDS, groups: Sequence[ChannelGroup] | None = None
) -> Collected:
    """Synaptic flow of every parameter, or of every unit of ``groups``: the sum over its incoming weights; float64.

    Of ``batches`` the first input's shape is read, and nothing else. One round: the scores w·∂R/∂w of the network as it is. More:
    the order in which an iterative schedule down to 1 % of the prunable weights (or units) removes them, as round + place within
    the round; its masks for all sparsities lie inside each other. The network is run in eval mode, in float64, on a copy. As in
    the authors' code all parameters and floating point buffers are made positive and the layers between stay as they are, so only
    a chain of positive homogeneous layers conserves the flow: norms and attention do not.
    """
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ValueError(f"Expected `rounds` to be a whole number of at least 1, got {rounds!r}")
    shape = _input_shape(batches)
    copy = clone_pruned(model).double().eval()
    with torch.no_grad():
        for tensor in [*copy.parameters(), *copy.buffers()]:
            if tensor.is_floating_point():
                tensor.abs_()
    bound = None if groups is None else bind_groups(copy, groups)
    scores = _flow(copy, shape, bound)
    if rounds == 1:
        return scores, 0
    names = {id(p): name for name, p in dense_parameters(copy)}  # tied ones by their first name, as the scores
    ranked = {names[id(t.parameter)] for t in without_ties(resolve_targets(copy))} if bound is None else set(scores)
    values = {name: torch.zeros_like(score) for name, score in scores.items()}
    here = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    total = sum(scores[name].numel() for name in ranked)
    for number in range(rounds):
        for name, place in _places({name: scores[name][here[name]] for name in scores}).items():
            values[name][here[name]] = number + place
        left = round(total * FINAL_DENSITY ** ((number + 1) / rounds))
        together = torch.cat([values[name].reshape(-1) for name in sorted(ranked)])
        if number + 1 == rounds or left >= total:
            continue
        cut = torch.sort(together).values[total - left - 1]
        for name in ranked:
            here[name] &= values[name] > cut
        _remove(copy, here, ranked, bound)
        scores = _flow(copy, shape, bound)
    return values, 0


def _input_shape(batches: Iterable[Batch]) -> torch.Size:
    first = next(iter(batches), None)
    if first is None:
        raise ValueError(NO_BATCHES)
    inputs = first[0] if isinstance(first, tuple | list) and len(first) == 2 else first
    if isinstance(inputs, tuple | list) and len(inputs) == 1:
        inputs = inputs[0]
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        kind = f"a tensor of {inputs.dtype}" if isinstance(inputs, Tensor) else f"{type(inputs).__name__}"
        raise TypeError(
            "Expected one floating point tensor as input for kind 'synflow', which sends ones through the network, got "
            f"{kind}: of token ids there are no ones; collect it on a module that takes their embeddings, or take another kind"
        )
    return torch.Size([1, *inputs.shape[1:]])


def _flow(copy: nn.Module, shape: torch.Size, bound: Sequence[BoundGroup] | None) -> dict[str, Tensor]:
    parameters = {name: p for name, p in dense_parameters(copy) if p.is_floating_point()}
    for p in parameters.values():
        p.requires_grad_(True)
    device = next(iter(parameters.values())).device
    with torch.enable_grad():
        flow = copy(torch.ones(shape, dtype=torch.float64, device=device)).sum()
        gradients = torch.autograd.grad(flow, list(parameters.values()), allow_unused=True)
    scores = {}
    for (name, p), g in zip(parameters.items(), gradients, strict=True):
        scores[name] = torch.zeros_like(p.detach()) if g is None else (p.detach() * g).abs()
    for name, finite in zip(scores, all_finite(list(scores.values())), strict=True):
        if not finite:
            raise ValueError(f"the synaptic flow of {name} is beyond float64: the network is too deep for its weights")
    if bound is None:
        return scores
    rows = {b.group.name: b.group.producer.rows(scores[b.targets[0].path], b.group.size) for b in bound}
    return {name: own.sum(1) for name, own in rows.items()}


def _places(scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where each score stands among all of this round, in (0, 1]; equal ones share a place."""
    together = torch.cat([s.reshape(-1) for s in scores.values()])
    distinct, place = torch.unique(together, return_inverse=True)
    parts = ((place.double() + 1) / max(1, distinct.numel())).split([s.numel() for s in scores.values()])
    return dict(zip(scores, parts, strict=True))


def _remove(copy: nn.Module, here: dict[str, Tensor], ranked: set[str], bound: Sequence[BoundGroup] | None) -> None:
    with torch.no_grad():
        if bound is None:
            for name, p in dense_parameters(copy):
                if name in ranked:
                    p.mul_(here[name])
            return
        for b in bound:
            gone = ~here[b.group.name]
            for part, target in zip(b.group.masked, b.targets, strict=True):
                target.parameter.index_fill_(part.dim, part.indices(gone.to(target.parameter.device)), 0)
