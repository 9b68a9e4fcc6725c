"""Pruning what is sparse already: zeros without a mask counted as pruned while a prune goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from sics_plugin.network.masks import put_mask
from sics_plugin.network.targets import Target
from sics_plugin.pruning.inputs import join, lazy_saliencies
from sics_plugin.scorers.units import SaliencyVector
from sics_plugin.selection.zeros import is_zero


@contextmanager
def zeros_masked(listed: Sequence[Target]) -> Iterator[None]:
    """Masks of the zeros that are there, on the targets; if the prune inside fails all is as it was, bits and order."""
    modules = {id(t.module): t.module for t in listed}.values()
    held: list[dict[Any, Any]] = [d for m in modules for d in (m._parameters, m._buffers, m._forward_pre_hooks, m.__dict__)]
    before = [(now, dict(now)) for now in held]
    kept = [t.present() & ~is_zero(t.parameter) for t in listed]
    try:
        for target, mask in zip(listed, kept, strict=True):
            put_mask(target, mask)
        yield
    except BaseException:
        for now, then in before:
            now.clear()
            now.update(then)
        raise


def without_zeros(saliency: Tensor, listed: Sequence[Target], targets: Sequence[Target]) -> Tensor:
    """A saliency of what masks leave, cut down to what is not zero."""
    vectors, _ = lazy_saliencies(saliency, listed, targets, None)
    assert vectors is not None  # it is a tensor
    left = []
    for target, vector in zip(targets, vectors, strict=True):
        own = vector()
        here = ~is_zero(target.parameter).reshape(-1)[target.present().reshape(-1)].to(own.device)
        some = own.as_subclass(Tensor)[here]
        left.append(SaliencyVector(some, kind=own.kind) if isinstance(own, SaliencyVector) else some)
    return join(left)
