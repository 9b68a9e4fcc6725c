"""Choosing scorer, strength and pool by what each mask does to the model on its calibration batches: :class:`Trials`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from sics_plugin.network.masks import clone_pruned
from sics_plugin.pruning.calibrating.calibration import (
    REACH,
    Prune,
    check_model,
    on_copies,
    present_units,
    target_sparsity,
)
from sics_plugin.pruning.calibrating.evaluate import DenseOutputs, Evaluate, held_out_loss, mean_of, score_of
from sics_plugin.pruning.report import PruningReport
from sics_plugin.saliency.batches import NO_BATCHES, Batch, Given, Loss, check_iterable, moved
from sics_plugin.saliency.collection import Saliency
from sics_plugin.saliency.kinds import SIGNALS
from sics_plugin.saliency.objective import outputs
from sics_plugin.saliency.unchanged import Unchanged
from sics_plugin.scorers.adaptive import PLATEAU, AdaptiveTable, Step, built, has_strength, strength_at
from sics_plugin.scorers.base import Trial
from sics_plugin.scorers.registry import get_scorer
from sics_plugin.selection.lowest import count_to_prune
from sics_plugin.selection.pools import BY_NUMBER, ONE_CUT

#: What is tried, in this order: magnitude, which wins ties; published scorers, each with the signal of its source; and the
#: percentile of the magnitude plus the gradient's, at the strength of ``table="measured"``.
SCORERS = ("magnitude", "information", "gradient", "fisher", "wanda", "lamp")
#: What is tried without labels.
SCORERS_WITHOUT_LABELS = ("magnitude", "wanda", "lamp")
POOLS = ("global", "layer", "row")
#: How the choice is made, for keys.
RULE = "least loss on the batches times change of the outputs on recombined ones"
#: A mask that removes fewer units than asked, because layers and rows lose whole ones, is not compared where it is so much short.
SHORT = 0.01
#: What says that a candidate cannot be had.
_CANNOT = (TypeError, ValueError, RuntimeError, IndexError)
#: Outputs of a copy that is not pruned may differ by so much of their variance, by rounding.
SAME = 1e-3


@dataclass(frozen=True, slots=True)
class Trials:
    """How to choose scorer and pool on the calibration batches alone, for ``calibrate=`` of ``prune_model`` and the like.

    Every scorer makes a mask in every pool, each with the signal that it needs, collected here; every mask is put on a copy of
    the model, which reads the batches again, and once more recombined (:func:`recombined`). The mask wins that has the least
    product of the loss on the batches and the change of the outputs on recombined ones: the loss tells what counts, but what the
    signals were collected on flatters those that lean on it; inputs that no one has seen do not. Without labels, or with a loss
    that can be 0 or less, the change of the outputs on the batches stands for the loss. Of equal masks the one tried first wins,
    magnitude in the global pool before all others. A mask met before is not evaluated again.

    Parameters
    ----------
    batches : iterable
        Of any form that :class:`~sics_plugin.Saliency` takes, kept as a list and gone through several times. Some hundred
        samples, of those that the model was trained on or of others, as varied as what it is used on: what they do not show is
        not kept.
    loss : callable(output, target) -> scalar Tensor, optional
        With reduction "mean", for the choice and for the signals that are gradients. By default cross-entropy, or what a batch
        that is a mapping makes the model return.
    labels : bool
        False: there are none. Scorers that read no labels are tried, and how little the outputs change decides
        (:func:`~sics_plugin.like_dense`).
    held_out : callable(model) -> float, optional
        Higher is better, on data that neither trained the model nor are in ``batches`` nor will measure the result. The best
        on the batches, and magnitude, are evaluated on it, and the best of those wins.
    budget : int
        Most calls of ``held_out``.
    scorers, pools : tuple of str, optional
        What is tried. A pool "row" is for weights.
    max_batches : int, optional
        Take no more than so many; for a loader of a whole data set.
    collected : mapping of str to Saliency, optional
        Signals of this model and these batches that are there already, by their kind.

    Examples
    --------
    >>> from sics_plugin import prune_model
    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    >>> batches = [(torch.randn(16, 64), torch.randint(4, (16,))) for _ in range(4)]
    >>> report = prune_model(mlp, "adaptive", amount=0.7, calibrate=Trials(batches))
    >>> report.choice.scorer, report.pool, len(report.choice.trials)
    ('fisher', 'layer', 18)
    """

    batches: Iterable[Batch]
    loss: Loss | None = None
    labels: bool = True
    held_out: Evaluate | None = None
    budget: int = 6
    scorers: tuple[str, ...] | None = None
    pools: tuple[str, ...] = POOLS
    max_batches: int | None = None
    collected: Mapping[str, Saliency] | None = None
    kept: list[Batch] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_iterable(self.batches)
        whole = isinstance(self.max_batches, Integral) and not isinstance(self.max_batches, bool)
        if self.max_batches is not None and (not whole or self.max_batches < 1):
            raise ValueError(f"Expected `max_batches` to be a whole number above 0, or None for all, got {self.max_batches!r}")
        object.__setattr__(self, "kept", list(islice(self.batches, self.max_batches)))
        if not self.kept:
            raise ValueError(NO_BATCHES)
        if self.loss is not None and not callable(self.loss):
            raise TypeError(f"Expected `loss` to be a function of the output and the target, got {self.loss!r:.60}")
        if self.loss is not None and not self.labels:
            raise TypeError("Expected no `loss` with labels=False: what decides is how little the outputs change")
        if self.held_out is not None and not callable(self.held_out):
            raise TypeError(f"Expected `held_out` to be callable, got {type(self.held_out).__name__}")
        if isinstance(self.budget, bool) or not isinstance(self.budget, Integral) or self.budget < 2:
            raise ValueError(f"Expected `budget` to be a whole number of at least 2 evaluations, got {self.budget!r}")
        for name in ("scorers", "pools"):
            if isinstance(given := getattr(self, name), str):
                raise TypeError(f"Expected `{name}` to be a tuple of names, got {given!r}")
        for name, signal in (self.collected or {}).items():
            if not isinstance(signal, Saliency) or signal.kind != name:
                got = signal.kind if isinstance(signal, Saliency) else type(signal).__name__
                raise TypeError(f"Expected `collected` to have a Saliency by its kind, got {got} as {name!r}")
        known = (*ONE_CUT, "layer", "row", "erk")
        if not self.pools or not set(self.pools) <= set(known):
            raise ValueError(f"Expected `pools` to be some of {', '.join(known)}, got {', '.join(self.pools) or 'none'}")
        for name in self.scorers or ():
            signal = SIGNALS[kind] if (kind := kind_for(name)) else None
            if not self.labels and signal is not None and signal.of_loss:
                raise ValueError(f"Expected `scorers` that read no labels with labels=False, got {name!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """The scorers that are tried, magnitude first."""
        given = self.scorers or (SCORERS if self.labels else SCORERS_WITHOUT_LABELS)
        return tuple(dict.fromkeys((PLATEAU, *given)))

    def tried(
        self, model: nn.Module, amount: float | int, *, prune: Prune, unit: str = "weight", **options: Any
    ) -> tuple[AdaptiveTable, dict[str, Any]]:
        """A table with the best at this one sparsity, and what the prune that follows needs: amount, pool and saliency.

        ``model`` is unchanged: every candidate prunes a copy by ``prune``, with its ``options``.
        """
        check_model(model)
        trying = _Trying(self, model, amount, *on_copies(model, prune, unit, options), unit)
        trials = trying.all()
        best, reason = trying.best(trials)
        kind = kind_for(best.scorer)
        step = Step(trying.sparsity, best.scorer, best.alpha, reason)
        supplied = kind not in (None, "neighbourhood")
        table = AdaptiveTable((step,), self._source, REACH, unit, best.pool, supplied, kind, tuple(trials))
        return table, trying.wanted(best.scorer, str(best.pool))

    @property
    def _source(self) -> str:
        given = f"{len(self.kept)} calibration batches{'' if self.labels else ' without labels'}"
        return given if self.held_out is None else f"{given}, held-out data, budget {self.budget}"


class _Trying:
    """One choice: what was collected and met on the way."""

    def __init__(
        self, how: Trials, model: nn.Module, amount: float | int, prune: Prune, options: dict[str, Any], unit: str
    ) -> None:
        self.how, self.model, self.amount, self.prune, self.options, self.unit = how, model, amount, prune, options, unit
        #: Told to every scorer: what goes of a short row is another fraction.
        self.sparsity = float(target_sparsity(model, amount, unit, prune, options))
        #: Layers and rows lose a fraction each: of a number of units as large a one.
        self.present = present_units(model, unit, options)
        self.asked = count_to_prune(amount, self.present)
        self.share = amount / self.present if isinstance(amount, Integral) else amount
        #: What was left out, and why.
        self.left: dict[str, str] = {}
        self.plain: Trial | None = None
        self.signals: dict[str, Saliency | Exception] = dict(how.collected or {})
        self.seen: dict[str, Seen] = {}
        self.loss = held_out_loss(how.kept, how.loss)
        #: Outputs on the batches, and on the same recombined.
        self.dense: DenseOutputs | None = None
        self.mixed: DenseOutputs | None = None
        try:
            self.dense = DenseOutputs(model, how.kept)
        except (TypeError, ValueError):  # outputs that are no numbers, or always the same
            if not how.labels:
                raise
            return
        if all(recombined(given) is given for given in moved(how.kept, model)):
            self.left["recombined batches"] = "no input has several samples in rows of several numbers"
            return
        try:
            self.mixed = DenseOutputs(model, how.kept, recombined)
        except torch.OutOfMemoryError:
            raise
        except _CANNOT as error:  # an input that stands for something, such as the edges of a graph
            self.left["recombined batches"] = " ".join(str(error).split())[:80]

    def all(self) -> list[Trial]:
        """Every candidate, the best first."""
        self.check()
        trials = list[Trial]()
        for pool, name in self.candidates():
            try:
                twin, report = self.pruned(name, pool)
            except torch.OutOfMemoryError:
                raise
            except _CANNOT as error:
                if name == PLATEAU or name in (self.how.scorers or ()):
                    raise
                self.left.setdefault(name, " ".join(str(error).split())[:80])
                continue
            short = self.asked - (report.pruned - (report.total - self.present))
            if short > SHORT * self.present or short == self.asked > 0:
                self.left.setdefault(f"pool {pool}", f"by whole units it removes {short:,} too few")
                continue
            found = self.seen.get(report.mask_hash) or self.seen.setdefault(report.mask_hash, self.look(twin))
            alpha = strength_at(self.sparsity) if has_strength(name) else report.alpha
            trials.append(Trial(name, alpha, 0.0, report.mask_hash, pool, found.change, found.recombined, found.loss))
        scores = dict(zip(self.seen, judged(list(self.seen.values())), strict=True))
        trials = [replace(trial, score=-scores[trial.mask_hash]) for trial in trials]
        self.plain = next((trial for trial in trials if trial.scorer == PLATEAU), None)
        if self.plain is None:
            raise ValueError(
                f"Expected `pools` in which {self.unit}s can be ranked and so many go, got {', '.join(self.how.pools)}"
            )
        return sorted(trials, key=lambda trial: -trial.score)  # stable: of equal ones the first tried stays first

    def candidates(self) -> Iterator[tuple[str, str]]:
        """Pool and scorer of each, magnitude first of every pool."""
        for name in self.how.scorers or ():
            if self.unit not in get_scorer(name).units:
                raise ValueError(f"Expected `scorers` that are defined for {self.unit}s, got {name!r}")
        for pool in self.how.pools:
            for name in self.how.names:
                if self.unit == "weight" or (pool != "row" and self.unit in get_scorer(name).units):
                    yield pool, name

    def check(self) -> None:
        """Refuse a model whose copy is another one, and batches on which it has no loss."""
        copied = self.look(clone_pruned(self.model))
        if copied.loss is not None and not math.isfinite(copied.loss):
            raise ValueError(f"Expected a finite loss of the model before it is pruned, got {copied.loss} on the batches")
        if copied.change is not None and copied.change > SAME:
            raise ValueError(
                f"Expected a model whose copy has the same outputs, got some {copied.change:.3g} of their variance away: "
                "it reads what a copy does not have, or keeps something from call to call"
            )

    def look(self, twin: nn.Module) -> Seen:
        """What the batches show of a copy, with the random numbers that the model itself had."""
        dense, losses, away = self.dense, list[tuple[float, int]](), 0.0
        with Unchanged(twin) as unchanged, torch.no_grad():
            for i, given in enumerate(moved(unchanged.of(self.how.kept), twin)):
                output = outputs(twin, given)
                if dense is not None:
                    away += dense.away(i, output, given)  # before a loss that changes the output in place
                if self.how.labels:
                    losses.append(self.loss.score(output, given))
        return Seen(
            _or_lost(-mean_of(losses)) if self.how.labels else None,
            None if dense is None else _or_lost(away),
            None if self.mixed is None else _or_lost(self.mixed.change(twin)),
        )

    def pruned(self, name: str, pool: str) -> tuple[nn.Module, PruningReport]:
        """A copy of the model, pruned by one candidate."""
        twin = clone_pruned(self.model)
        scorer = built(name, strength_at(self.sparsity) if has_strength(name) else None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of masks that are not chosen; the prune that follows warns of its own
            return twin, self.prune(twin, scorer, **{**self.options, **self.wanted(name, pool)})

    def wanted(self, name: str, pool: str) -> dict[str, Any]:
        """What a prune by a candidate is given beside the options of all."""
        kind = kind_for(name)
        amount = self.amount if pool in BY_NUMBER else self.share
        saliency = None if kind is None else self.signal(kind)
        return {"amount": amount, "pool": pool, "sparsity": self.sparsity, "saliency": saliency}

    def signal(self, kind: str) -> Saliency:
        """A kind of saliency, or why there is none: collected once."""
        if kind not in self.signals:
            signal, given = SIGNALS[kind], dict[str, Any]()
            if signal.collect is not None:
                given["batches"] = self.how.kept
            if signal.of_loss:
                given["loss"] = self.how.loss
            if self.unit != "weight":
                given.update(unit=self.unit, groups=self.options.get("groups"))
            try:
                self.signals[kind] = Saliency(self.model, kind=kind, **given)  # type: ignore[arg-type]
            except torch.OutOfMemoryError:
                raise
            except _CANNOT as error:
                self.signals[kind] = error
        if isinstance(found := self.signals[kind], Exception):
            raise found
        return found

    def best(self, trials: Sequence[Trial]) -> tuple[Trial, str]:
        """What is chosen, and why."""
        how, first, plain = self.how, trials[0], self.plain
        assert plain is not None
        if how.held_out is None:
            return first, f"pool {first.pool}, {self.why(first, plain)}"
        shown = {trial.mask_hash: trial for trial in reversed(trials)}  # of each mask the one tried first
        hashes = list(dict.fromkeys((plain.mask_hash, *(trial.mask_hash for trial in trials))))[: how.budget]
        scores = {h: score_of(how.held_out, self.pruned(shown[h].scorer, str(shown[h].pool))[0].eval(), h) for h in hashes}
        found = shown[max(hashes, key=lambda h: (scores[h], -hashes.index(h)))]
        told = f"{scores[found.mask_hash]:.6g}, magnitude's {scores[plain.mask_hash]:.6g}"
        return found, f"pool {found.pool}, held-out score {told}: the best of {len(hashes)}; {self.why(found, plain)}"

    def why(self, found: Trial, plain: Trial) -> str:
        """What the batches showed of it."""
        left = "".join(f"; left out {name}: {why}" for name, why in self.left.items())
        loss = "" if found.loss is None else f"loss {found.loss:.4g} on the calibration batches, magnitude's {plain.loss:.4g}"
        if found.change is None:
            return f"{loss}, the least of {len(self.seen)} masks, whose outputs have no change that could be told{left}"
        counted = by_loss(list(self.seen.values()))
        told = [loss] if counted else []
        if found.recombined is None or not counted:
            told.append(f"change of the outputs {found.change:.3g} on the calibration batches, magnitude's {plain.change:.3g}")
        if found.recombined is not None:
            told.append(f"change of the outputs {found.recombined:.3g} on recombined ones, magnitude's {plain.recombined:.3g}")
        least = "" if self.how.held_out else f"; the least{' product' if len(told) > 1 else ''} of {len(self.seen)} masks"
        beside = f"; {loss}, not counted, as it can be 0 or less" if loss and not counted else ""
        return f"{'; '.join(told)}{least}{beside}{left}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the batches show of one mask: its loss, and the change of the outputs there and on recombined ones."""

    loss: float | None = None
    change: float | None = None
    recombined: float | None = None


def by_loss(seen: Sequence[Seen]) -> bool:
    """Whether the losses decide: there are some, and a product of one above 0 tells what is less."""
    return all(one.loss is not None and one.loss > 0 for one in seen)


def judged(seen: Sequence[Seen]) -> list[float]:
    """What is made small, of each mask: the geometric mean of its loss, or its change, and its change on recombined batches.

    >>> [round(score, 3) for score in judged([Seen(0.4, 0.1, 0.9), Seen(0.9, 0.1, 0.1)])]
    [0.6, 0.3]
    >>> [round(score, 3) for score in judged([Seen(-1.0, 0.4, 0.9), Seen(2.0, 0.2, 0.2)])]  # of a loss below 0 nothing is taken
    [0.6, 0.2]
    """
    losses = by_loss(seen)
    found = []
    for one in seen:
        if one.change is None:
            found.append(math.inf if one.loss is None else one.loss)
            continue
        own = one.loss if losses and one.loss is not None else one.change
        found.append(_or_lost(math.sqrt(own * (one.change if one.recombined is None else one.recombined))))
    return found


def recombined(given: Given) -> Given:
    """A batch like another that no one has seen: of every sample x_i the features of two more, drawn, always the same ones.

    Of numbers x_i − x_j + x_k; of whole numbers and bools, such as tokens and their masks, half of the positions are x_k's, the
    same ones in tensors of one shape, 1 or not beside it. Tensors of one number a sample stay, so that lengths go on being those
    of x_i, and so do targets, ``labels`` of a mapping, and what has no row a sample. A batch of which nothing changes is
    returned itself. Of few samples some are drawn twice: of 8 about one row in four is a sample that was there.
    """
    draw = torch.Generator().manual_seed(given.number)
    j, k = (torch.randperm(given.size, generator=draw) for _ in range(2))
    swapped: dict[tuple[int, ...], Tensor] = {}
    kept = {id(given.kwargs.get("labels"))}

    def mix(x: Tensor) -> Tensor:
        if x.dim() < 2 or given.size < 2 or id(x) in kept:
            return x
        if x.is_floating_point() or x.is_complex():
            return x - x[j.to(x.device)] + x[k.to(x.device)]
        shape = tuple(length for length in x.shape if length > 1)
        if shape not in swapped:
            swapped[shape] = torch.rand(shape, generator=draw) < 0.5
        return torch.where(swapped[shape].reshape(x.shape).to(x.device), x[k.to(x.device)], x)

    inputs = replace(given, targets=None)
    rows = inputs.rows()
    mixed = [mix(x) for x in rows]
    if all(new is x for new, x in zip(mixed, rows, strict=True)):
        return given
    return replace(inputs.having(mixed, given.size), targets=given.targets)


def _or_lost(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def kind_for(name: str) -> str | None:
    """The kind of saliency that a scorer is tried with: what it needs, the gradient where it takes one, none of κ = 0."""
    cls = get_scorer(name)
    if cls.requires is not None:
        return cls.requires
    return None if cls.kappa == 0 else "gradient"
