"""One pool, from scorer to kept units, in whichever form fits: streamed, by histograms, or all in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from sics_plugin.histogram.cut import histogram_cut, histogram_form_of
from sics_plugin.pruning.layer_ranks import layer_scores
from sics_plugin.saliency.objective import CONSTANT
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.fusion import Fusion
from sics_plugin.scorers.sics import CoordinateScorer, Magnitude, PoolScale, RankScorer, ScaledMagnitudeScorer
from sics_plugin.scorers.units import SaliencyVector, Units, check_saliency, units_of
from sics_plugin.selection.fetch import numbers
from sics_plugin.selection.lowest import count_to_prune, lowest_with_floor
from sics_plugin.selection.magnitude_cut import Cut, kept_masks, magnitude_cut
from sics_plugin.selection.parts import Part, check_parts, code_type, device_chunks, infinity, magnitude_of_code

Form = Literal["exact", "histogram"]
#: Above this number of units ``exact=None`` uses the histogram form of ρ and z where there is one; on a GPU, where sorting is
#: quick and walking over pieces is not, above as many as it can sort in a quarter of its memory, at so many bytes a unit.
HISTOGRAM_ABOVE = 1 << 22
SORTING_TAKES = 128
#: Representable magnitudes on either side of a cut at which a scorer of κ = 0 is evaluated, to see that its order is theirs.
NEIGHBOURS = 64
#: Units of a piece of which one number is asked for.
LOOK = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Which units of a pool stay, and why.

    ``kept`` yields, once, a bool vector for every part in order (those gone before are False). ``threshold`` is the highest
    removed score, None if nothing went or several groups had their own. ``scorer`` is the one that ran; ``alpha`` and
    ``saliency_kind`` are those in force, None where they play no part.
    """

    kept: Iterator[Tensor]
    threshold: float | None
    scorer: Scorer
    alpha: float | None
    saliency_kind: str | None
    flags: tuple[str, ...]
    form: Form = "exact"

    @classmethod
    def by(cls, scorer: Scorer, kept: Iterable[Tensor], n: int, kind: str | None, threshold: float | None = None) -> Choice:
        """What a scorer that ran on n units, with a saliency of this kind, chose."""
        default = "neighbourhood" if isinstance(scorer, CoordinateScorer | Fusion) else None
        alpha = scorer.strength(kind) if isinstance(scorer, RankScorer) else None
        return cls(iter(kept), threshold, scorer, alpha, kind or default, scorer.flags(n))

    @property
    def removed(self) -> Tensor:
        """What :func:`decide` lets go of its one vector; may be asked for once, instead of ``kept``."""
        return ~next(self.kept)


def decide(
    scorer: Scorer,
    units: Units,
    amount: float | int,
    *,
    sparsity: float | None = None,
    sizes: Sequence[int] = (),
    floors: Sequence[int] = (),
    layer_ranks: bool = False,
) -> Choice:
    """Score a pool and mark the lowest. ``sizes`` and ``floors``: lengths of the layers in it and what each keeps at least.

    ``layer_ranks``: each layer is scored by itself, see :mod:`sics_plugin.pruning.layer_ranks`.

    >>> from sics_plugin import build_scorer
    >>> decide(build_scorer("magnitude"), Units(torch.tensor([0.3, 0.1, 0.2])), 1).removed.tolist()
    [False, True, False]
    """
    n = units.magnitude.numel()
    k = count_to_prune(amount, n)
    target = k / n if sparsity is None else sparsity
    running = scorer.resolve(target, units.saliency_kind)
    if layer_ranks:
        score, magnitude = layer_scores(running, units, sizes, target)
    else:
        score, magnitude = running.score(units, target), units.magnitude
    removed = lowest_with_floor(score, magnitude, k, list(sizes), list(floors))
    known = units.saliency if n > 1 else None  # of a pool of one there is nothing to tell apart
    asked = [score.masked_fill(~removed, float("-inf")).max()] if k else []
    asked += [] if known is None else [known.min(), known.max()]
    facts = numbers(asked)
    threshold = facts.pop(0) if k else None
    least = min(size for size in sizes if size) if layer_ranks else n  # what is flagged of few units holds of the smallest layer
    found = Choice.by(running, (~removed,), least, units.saliency_kind, threshold)
    return replace(found, flags=(*found.flags, CONSTANT)) if facts and facts[0] == facts[1] else found


def choose(
    scorer: Scorer,
    parts: Sequence[Part],
    amount: float | int,
    *,
    saliency_kind: str | None = None,
    sparsity: float | None = None,
    floors: Sequence[int] = (),
    exact: bool | None = None,
    roomy: bool = False,
    layer_ranks: bool = False,
) -> Choice:
    """Rank the units of a pool, whose parts have a saliency of one kind or none, and choose those that stay.

    ``amount`` counts what is still there; ``floors`` is how many units each part keeps at least. ``exact`` True: exact ranks;
    False: the histogram form where the scorer has one; None: that form for more units than :func:`histogram_above` says.
    ``roomy`` lets it take more memory to be faster; no result depends on it. ``layer_ranks``: each part is scored by itself,
    exactly and in memory.

    >>> from sics_plugin import build_scorer
    >>> choice = choose(build_scorer("magnitude"), [Part(torch.tensor([0.3, -0.1, 0.2]))], 1)
    >>> choice.form, [kept.tolist() for kept in choice.kept]
    ('exact', [[True, False, True]])
    """
    check_parts(parts)
    if layer_ranks:
        return _in_memory(scorer, parts, amount, saliency_kind, sparsity, floors, layer_ranks)
    n = sum(p.present for p in parts)
    k = count_to_prune(amount, n)
    target = k / n if sparsity is None else sparsity
    running = scorer.resolve(target, saliency_kind)
    found: Choice | None = None
    if isinstance(running, ScaledMagnitudeScorer):
        found = _streamed(running, parts, k, n, saliency_kind)
    elif (exact is False or (exact is None and n > histogram_above(parts[0].values.device))) and (
        ranked := histogram_form_of(running, parts)
    ) is not None:
        alpha = ranked.strength(saliency_kind)
        kept, threshold = histogram_cut(ranked, parts, k, sparsity=target, alpha=alpha, roomy=roomy)
        found = replace(Choice.by(ranked, kept, n, saliency_kind, threshold), form="histogram")
    if found is not None and any(floors):
        masks = list(found.kept)
        within = all(int(torch.count_nonzero(m)) >= min(f, p.present) for m, p, f in zip(masks, parts, floors, strict=True))
        found = replace(found, kept=iter(masks)) if within else None  # the floors change the choice
    return found or _in_memory(scorer, parts, amount, saliency_kind, sparsity, floors)


def histogram_above(device: torch.device) -> int:
    """Above how many units of a pool on this device ``exact=None`` is the histogram form: a fact of the machine, not of its load.

    >>> histogram_above(torch.device("cpu"))
    4194304
    """
    if device.type != "cuda":
        return HISTOGRAM_ABOVE
    return max(HISTOGRAM_ABOVE, torch.cuda.get_device_properties(device).total_memory // (4 * SORTING_TAKES))


def _streamed(running: ScaledMagnitudeScorer, parts: Sequence[Part], k: int, n: int, kind: str | None) -> Choice | None:
    """The magnitude family. None in case a scorer's own rounding does not keep the order of magnitudes at the cut."""
    for part in parts:  # it plays no part, but a wrong one is a mistake worth hearing of
        if part.saliency is not None:
            check_saliency(part.saliency(), part.present)
    cut = magnitude_cut(parts, k)
    threshold = _score_at(running, parts, cut) if k else None
    return None if k and threshold is None else Choice.by(running, kept_masks(parts, cut), n, kind, threshold)


def _score_at(running: ScaledMagnitudeScorer, parts: Sequence[Part], cut: Cut) -> float | None:
    """The score at the cut, once the scores of the numbers around it were seen to be in their order."""
    if type(running).at is Magnitude.at:  # scores are the magnitudes themselves
        return cut.magnitude()
    code = torch.as_tensor(cut.code).cpu().long()
    around = (code + torch.arange(-NEIGHBOURS, NEIGHBOURS + 1)).clamp(0, infinity(cut.dtype) - 1).to(cut.dtype)
    magnitude = magnitude_of_code(around).double()
    score = running.at(magnitude, pool_scale(parts) if running.needs_scale else PoolScale(0.0, 0.0))
    return float(score[NEIGHBOURS]) if bool((score[1:] >= score[:-1]).all()) else None


def pool_scale(parts: Sequence[Part]) -> PoolScale:
    """Largest magnitude and relative RMS of a pool, streaming.

    >>> pool_scale([Part(torch.tensor([3.0])), Part(torch.tensor([-4.0]))]).largest
    4.0
    """
    dtype = code_type(parts)

    def magnitudes() -> Iterator[Tensor]:
        for part in parts:
            for _, code in device_chunks(part, dtype, LOOK):
                yield magnitude_of_code(code.clamp(min=0)).double()  # one that is gone counts as zero

    largest = max(numbers([m.max() for m in magnitudes()]))
    squares = sum(numbers([(m / largest).square().sum() for m in magnitudes()])) if largest else 0.0
    return PoolScale(largest, (squares / sum(p.present for p in parts)) ** 0.5)


def _in_memory(
    scorer: Scorer,
    parts: Sequence[Part],
    amount: float | int,
    kind: str | None,
    sparsity: float | None,
    floors: Sequence[int],
    layer_ranks: bool = False,
) -> Choice:
    """Any scorer: all units as one vector."""
    gone = [p.gone() for p in parts]
    values = [p.flat() if g is None else p.flat()[~g] for p, g in zip(parts, gone, strict=True)]
    sizes, saliency = [v.numel() for v in values], None
    if kind is not None:
        vectors = [p.saliency().as_subclass(Tensor).reshape(-1) for p in parts if p.saliency is not None]
        saliency = SaliencyVector(torch.cat(vectors), kind=kind)
    units = units_of(torch.cat(values), saliency)
    choice = decide(scorer, units, amount, sparsity=sparsity, sizes=sizes, floors=floors, layer_ranks=layer_ranks)
    stays = next(choice.kept)

    def kept() -> Iterator[Tensor]:
        for part, taken, own in zip(parts, gone, stays.split(sizes), strict=True):
            if taken is None:
                yield own.to(part.values.device, copy=True)
                continue
            left = ~taken
            yield left.masked_scatter(left, own.to(left.device))

    return replace(choice, kept=kept())
