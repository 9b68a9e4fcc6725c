"""Masks of one seed's network, and how much of each is magnitude's."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from sics_cli.experiment.recipe import Recipe, scorer_seed
from sics_cli.experiment.scorers import ScorerInfo, fingerprint_of, make_scorer
from sics_cli.seeds.unchanged import left_as_it_was
from sics_plugin import (
    ChannelGroup,
    PruningReport,
    Saliency,
    Scorer,
    SharedRanks,
    Trials,
    compute_channel_masks,
    compute_masks,
    coverage,
    find_groups,
    prunable_parameters,
    prune_channels,
    prune_model,
    unit_masks,
)
from sics_plugin.network.prunable import resolve_targets


def jaccard(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> float:
    """Jaccard index of the units that two masks over the same parameters keep (True): kept by both over kept by either.

    1.0 where neither keeps anything: two empty sets are the same set.

    >>> jaccard({"w": torch.tensor([True, True, False, False])}, {"w": torch.tensor([True, False, True, False])})
    0.3333333333333333
    """
    if one.keys() != two.keys():
        raise ValueError(f"the masks name different parameters: {', '.join(sorted(one.keys() ^ two.keys()))}")
    counts = [torch.count_nonzero(one[name] & two[name]) for name in one] + [
        torch.count_nonzero(one[name] | two[name]) for name in one
    ]
    found = torch.stack([count.to(counts[0].device) for count in counts]).tolist() if counts else []  # one fetch
    both, either = sum(found[: len(one)]), sum(found[len(one) :])
    return both / either if either else 1.0


def own_cards() -> list[int]:
    """The GPU that this process works on, none where it works on none: asking the others would open a context on each."""
    return [torch.cuda.current_device()] if torch.cuda.is_initialized() else []


@contextlib.contextmanager
def seeded(key: str) -> Iterator[None]:
    """Seed the generators of torch, numpy and Python from a hexadecimal `key`; put them and torch's settings back afterwards.

    >>> with seeded("ff00" * 16):
    ...     first = random.random(), float(np.random.rand()), torch.rand(()).item()
    >>> with seeded("ff00" * 16):
    ...     first == (random.random(), float(np.random.rand()), torch.rand(()).item())
    True
    """
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 (a scorer may use the global one)
    with settings_kept(), torch.random.fork_rng(devices=own_cards()):
        try:
            random.seed(key)
            np.random.seed(int(key[:8], 16))  # noqa: NPY002
            torch.manual_seed(int(key[:15], 16))
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


@contextlib.contextmanager
def settings_kept() -> Iterator[None]:
    """Put back what of torch's global settings is changed in the block.

    A task that sets one while it trains sets it for its training alone: a later part of the seed, or a run that goes on from the
    checkpoint, would not meet it.

    >>> with settings_kept():
    ...     torch.set_default_dtype(torch.float64)
    >>> torch.ones(1).dtype
    torch.float32
    """
    before = _settings()
    try:
        yield
    finally:
        for (name, was), now in zip(before.items(), _settings().values(), strict=True):
            if was != now:
                _SETTERS[name](was)


def _settings() -> dict[str, Any]:
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        "benchmark": torch.backends.cudnn.benchmark,
        "tf32": torch.backends.cudnn.allow_tf32,
    }


_SETTERS: dict[str, Callable[[Any], object]] = {
    "dtype": torch.set_default_dtype,
    "device": lambda was: torch.set_default_device(None if was.type == "cpu" else was),  # None costs nothing at each call
    "threads": torch.set_num_threads,
    "precision": torch.set_float32_matmul_precision,
    "deterministic": lambda was: torch.use_deterministic_algorithms(was[0], warn_only=was[1]),
    "benchmark": lambda was: setattr(torch.backends.cudnn, "benchmark", was),
    "tf32": lambda was: setattr(torch.backends.cudnn, "allow_tf32", was),
}

Masks = dict[str, torch.Tensor]
#: Begins what the plugin advises its callers who find nothing to prune, and what a task does instead.
_ADVICE = {": name the parameters": "targets(self, network) names what may be pruned", "; for others pass": "give --unit weight"}


class ConflictError(Exception):
    """What a job makes does not match what the driver, or the store, knows of its seed."""


class MaskMaker:
    """Makes the masks of one seed; `targets` is how a task says what of a network may be pruned."""

    def __init__(self, recipe: Recipe, seed: int, targets: Callable[[nn.Module], Any] | None = None) -> None:
        self._recipe = recipe
        self._targets, self._checked = targets, False
        self._seed = seed
        self._unit: Any = recipe.experiment.unit
        self._ranks = SharedRanks()
        self._groups: list[ChannelGroup] | None = None
        self._plateau: tuple[float, Masks] | None = None

    def masks(self, model: nn.Module, saliency: Saliency, scorer: ScorerInfo, sparsity: float) -> tuple[Masks, PruningReport]:
        """Make one mask; whatever the scorer draws, also from the global generators, depends on its cell alone."""
        self._check_unchanged(scorer)
        built = make_scorer(scorer.spec, scorer_seed(self._seed))
        with seeded(self._recipe.cell_key(self._seed, scorer, sparsity)):
            return self._made(model, built, sparsity, self._pool(scorer), saliency)

    def searched(
        self, model: nn.Module, saliency: Saliency, scorer: ScorerInfo, sparsity: float, chosen: str | Scorer
    ) -> tuple[Masks, PruningReport]:
        """Make the mask of what a search chose: as `masks` does, of a scorer that is there already."""
        with seeded(self._recipe.cell_key(self._seed, scorer, sparsity)):
            return self._made(model, chosen, sparsity, self._pool(scorer), saliency)

    def tried(
        self, model: nn.Module, standing: nn.Module, scorer: ScorerInfo, sparsity: float, how: Trials
    ) -> tuple[Masks, PruningReport]:
        """Make the mask that trials choose; `standing` reads the batches, `model` or what stands for it.

        As ``compute_masks(model, "adaptive", amount=sparsity, calibrate=how)`` does.
        """
        self._check_unchanged(scorer)
        shared: dict[str, Any] = {}
        with seeded(self._recipe.cell_key(self._seed, scorer, sparsity)):
            if self._unit == "weight":
                if (params := self.params(model)) is not None:
                    shared["params"] = [target.path for target in resolve_targets(model, params)]
                # Zeros instead of hooks, which would be those of what stands for the network.
                prune = partial(prune_model, exact=True, finalize=True)
                table, found = how.tried(standing, sparsity, prune=prune, **shared)
            else:
                self._check_default(model)
                groups = {} if standing is model else {"groups": find_groups(model, self._unit)}
                table, found = how.tried(standing, sparsity, prune=prune_channels, unit=self._unit, **groups)
                shared["unit"] = self._unit
            if found["saliency"] is not None:
                found["saliency"] = found["saliency"].bind(model)
            make = compute_masks if self._unit == "weight" else compute_channel_masks
            return make(model, "adaptive", table=table, **found, **shared)

    def options(self, model: nn.Module, scorer: ScorerInfo, saliency: Saliency) -> dict[str, Any]:
        """How masks are made here, for a search that makes its own."""
        self._check_unchanged(scorer)
        shared: dict[str, Any] = {"unit": self._unit, "pool": self._pool(scorer), "saliency": saliency}
        if self._unit == "weight":
            return {**shared, "params": self.params(model)}
        self._check_default(model)
        return shared

    def _check_unchanged(self, scorer: ScorerInfo) -> None:
        if fingerprint_of(scorer.spec, self._recipe.experiment.saliency) != scorer.fingerprint:
            raise ConflictError(f"scorer {scorer.name} changed while the run was going on: run the command again")

    def _made(
        self, model: nn.Module, scorer: str | Scorer, sparsity: float, pool: str, saliency: Saliency | None = None
    ) -> tuple[Masks, PruningReport]:
        with self._ranks:  # the scorers of a seed rank the same units by the same values
            if self._unit == "weight":
                params = self.params(model)
                return compute_masks(model, scorer, amount=sparsity, saliency=saliency, pool=pool, params=params)
            self._check_default(model)
            return compute_channel_masks(model, scorer, sparsity, unit=self._unit, saliency=saliency, pool=pool)

    def params(self, model: nn.Module) -> list[Any] | None:
        """What the task says may be pruned, refused where it is not there; None where it says nothing."""
        if self._targets is None:
            self._check_default(model)
            return None
        with left_as_it_was(model, "targets() named what may be pruned: it must"):
            found = list(self._targets(model))
        if not self._checked:
            try:
                covered = coverage(model, found).covered
            except (ValueError, TypeError) as error:
                raise ValueError(f"targets(network): {error}") from error
            if not covered:
                raise ValueError(
                    "targets(network) gave nothing that can be pruned: expected (module, 'weight') pairs of the network"
                )
            self._checked = True
        return found

    def _check_default(self, model: nn.Module) -> None:
        """Refuse, in a task's own words, a network of which nothing is pruned unless somebody names it."""
        if self._checked or self._recipe.task.calibration is not None:
            return
        try:
            if self._unit != "weight":
                find_groups(model, self._unit)
            else:
                with warnings.catch_warnings(action="ignore"):  # the masks themselves say it
                    prunable_parameters(model)
        except ValueError as error:
            for advice, instead in _ADVICE.items():
                said, found, _ = str(error).partition(advice)
                if found:
                    raise ValueError(f"{said}: {instead}") from None
            raise
        self._checked = True

    def _pool(self, scorer: ScorerInfo | None) -> str:
        """What a scorer's units are ranked against; magnitude's for none."""
        run = self._recipe.experiment.pool
        if scorer is not None and scorer.own_pool is not None:
            return scorer.own_pool
        own = "global" if scorer is None else scorer.pool_in("native")
        return run if run != "native" else own if self._unit == "weight" else "global"

    def _kept(self, model: nn.Module, masks: Masks) -> Masks:
        """Which units are kept, by group: one entry a weight, channel or head."""
        if self._unit == "weight":
            return masks
        if self._groups is None:
            self._groups = find_groups(model, self._unit)
        return unit_masks(masks, self._groups)

    def overlap(self, model: nn.Module, masks: Masks, scorer: ScorerInfo, sparsity: float) -> float:
        """Jaccard index of the kept units with those of magnitude's mask, which is made once for each sparsity."""
        kept = self._kept(model, masks)
        if scorer.name == "magnitude":
            self._plateau = sparsity, kept
            return 1.0
        if self._plateau is None or self._plateau[0] != sparsity:
            made, _ = self._made(model, "magnitude", sparsity, self._pool(None))
            self._plateau = sparsity, self._kept(model, made)
        return jaccard(kept, self._plateau[1])
