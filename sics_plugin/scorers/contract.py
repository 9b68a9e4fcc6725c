"""Whether a scorer keeps the contract: what a user's own is asked before anything is trained, and in its own tests."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.registry import build_scorer
from sics_plugin.scorers.units import Units
from sics_plugin.warn import warn_caller

_UNITS = 1024
_SPARSITIES = (0.5, 0.8)


class ContractError(ValueError):
    """A scorer breaks the contract; the message is one line that says how."""


def check_scorer(scorer: str | type[Scorer] | Scorer, *, saliency_kind: str | None = "gradient") -> tuple[str, ...]:
    """Call a scorer on small pools and refuse it where it breaks the contract of :class:`~sics_plugin.Scorer`.

    The pools hold what real ones do: equal weights, weights that are 0, units whose saliency is 0, a pool of one unit.

    Parameters
    ----------
    scorer : str, Scorer or subclass of it
        A registered name, a class that builds without arguments, or an instance.
    saliency_kind : str, optional
        The kind of saliency it is given; one that ``requires`` another is given that. None: no saliency.

    Returns
    -------
    tuple of str
        What keeps the contract but is worth knowing; each is also a warning.

    Raises
    ------
    ContractError
        It cannot be built or raises; its scores have the wrong shape, type or device, or are NaN or infinite; two calls
        differ; it draws from a global random generator; it changes the magnitudes or saliencies it is given; its
        fingerprint is no JSON.

    Examples
    --------
    >>> from sics_plugin import Scorer
    >>> check_scorer("smooth_chaos")
    ()
    >>> class Broken(Scorer):
    ...     name, kappa, summary = "broken", 0, "log m"
    ...
    ...     def score(self, units, sparsity):
    ...         return units.magnitude.log()
    >>> check_scorer(Broken)
    Traceback (most recent call last):
    ...
    sics_plugin.ContractError: scorer 'broken': its score is infinite for a unit of magnitude 0 and saliency 0.3655
    """
    built = _built(scorer)
    name = f"scorer {getattr(built, 'name', type(built).__name__)!r}"
    kind = built.requires or saliency_kind
    try:
        json.dumps(built.fingerprint(kind))
    except Exception as error:  # a fingerprint of the user's own may raise anything
        raise ContractError(f"{name}: its fingerprint is no JSON ({error}), and no result could be stored under it") from None
    remarks: list[str] = []
    for units in _pools(kind):
        for sparsity in _SPARSITIES:
            score = _checked(built, name, units, sparsity)
            constant = bool((score == score[0]).all())
            if constant and units.magnitude.unique().numel() > 1:
                remarks.append(f"{name}: all scores are equal, so ties decide and its mask is magnitude's")
            if score.dtype in (torch.float16, torch.bfloat16):
                remarks.append(f"{name}: scores of type {_type(score)} make many ties: give float64")
    found = tuple(dict.fromkeys(remarks))
    for remark in found:
        warn_caller(remark)
    return found


def _built(scorer: str | type[Scorer] | Scorer) -> Scorer:
    if isinstance(scorer, str):
        return build_scorer(scorer)
    if isinstance(scorer, Scorer):
        return scorer
    if not (isinstance(scorer, type) and issubclass(scorer, Scorer)):
        raise TypeError(f"Expected a scorer's name, a Scorer or a subclass of it, got {scorer!r}")
    try:
        return scorer()
    except Exception as error:
        raise ContractError(f"{scorer.__name__}: cannot be built without arguments ({_told(error)})") from None


def _pools(kind: str | None) -> Sequence[Units]:
    """Pools like real ones, always the same."""
    source = torch.Generator().manual_seed(20260509)
    magnitude = torch.randn(_UNITS, generator=source).abs()
    saliency = torch.rand(_UNITS, generator=source)
    magnitude[:2] = 0.0
    magnitude[10:40] = magnitude[10]
    saliency[1::7] = 0.0
    saliency[:4] = torch.tensor([0.3655, 0.0, 0.1, 0.0])
    cut = (slice(None), slice(2, 3))
    return [Units(magnitude[c].clone(), None if kind is None else saliency[c].clone(), kind) for c in cut]


def _checked(scorer: Scorer, name: str, units: Units, sparsity: float) -> Tensor:
    """The scores of one pool, once they are seen to be in order."""
    before = {key: getattr(units, key) for key in ("magnitude", "saliency")}
    before = {key: value.clone() for key, value in before.items() if value is not None}
    with _generators() as drawn:
        first = _called(scorer, name, units, sparsity)
        if drew := drawn():
            raise ContractError(
                f"{name}: draws from the global generator of {drew}, so its scores depend on what ran before: take a field "
                "`seed: int = 0` and draw from a generator of its own"
            )
        _check_form(name, first, units)
        first = first.detach().clone()
        if changed := [key for key, value in before.items() if not torch.equal(value, getattr(units, key))]:
            raise ContractError(
                f"{name}: changes the {' and '.join(changed)} it is given: work on a copy (units.{changed[0]}.clone())"
            )
        second = _called(scorer, name, units, sparsity)
    if not torch.equal(first, second.detach()):
        other = int((first != second).sum()) if first.shape == second.shape else first.numel()
        raise ContractError(f"{name}: two calls with the same units give other scores ({other} of {first.numel()})")
    return first


def _called(scorer: Scorer, name: str, units: Units, sparsity: float) -> Tensor:
    try:
        found: Any = scorer.resolve(sparsity, units.saliency_kind).score(units, sparsity)
    except Exception as error:  # the user's code may raise anything
        n = units.magnitude.numel()
        raise ContractError(f"{name}: raises on {n} unit{'s' * (n > 1)} at S = {sparsity:g}: {_told(error)}") from None
    if not isinstance(found, Tensor):
        raise ContractError(f"{name}: score() gives a {type(found).__name__}: expected a torch.Tensor")
    return found


def _check_form(name: str, score: Tensor, units: Units) -> None:
    wanted = tuple(units.magnitude.shape)
    if tuple(score.shape) != wanted:
        raise ContractError(f"{name}: scores have shape {tuple(score.shape)}: expected {wanted}, one score a unit")
    if not score.is_floating_point():
        raise ContractError(
            f"{name}: scores are of type {_type(score)}: expected a floating point type, best float64 (.double())"
        )
    if score.device != units.magnitude.device:
        raise ContractError(f"{name}: scores are on {score.device}: expected them where the units are, {units.magnitude.device}")
    finite = torch.isfinite(score)
    if not bool(finite.all()):
        at = int((~finite).nonzero()[0])
        what = "NaN" if bool(score[at].isnan()) else "infinite"
        told = f"magnitude {float(units.magnitude[at]):.4g}"
        if units.saliency is not None:
            told += f" and saliency {float(units.saliency[at]):.4g}"
        raise ContractError(f"{name}: its score is {what} for a unit of {told}")


def _type(score: Tensor) -> str:
    return str(score.dtype).removeprefix("torch.")


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _states() -> dict[str, bytes]:
    """The global random generators."""
    found = {"torch": torch.get_rng_state().numpy(), "numpy": np.random.get_state(), "random": random.getstate()}  # noqa: NPY002
    return {name: pickle.dumps(state) for name, state in found.items()}


@contextmanager
def _generators() -> Iterator[Callable[[], str]]:
    """Yield a function that names the global generators drawn from since; all are as before afterwards."""
    before = _states()
    try:
        yield lambda: ", ".join(name for name, state in _states().items() if state != before[name])
    finally:
        torch.set_rng_state(torch.from_numpy(pickle.loads(before["torch"])))
        np.random.set_state(pickle.loads(before["numpy"]))  # noqa: NPY002
        random.setstate(pickle.loads(before["random"]))
