"""One pool, from scorer to kept units, in whichever form fits: streamed, by histograms, or all in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sics_plugin.histogram.cut import histogram_cut, histogram_form_of
from sics_plugin.scorers.base import Scorer
from sics_plugin.scorers.sics import CoordinateScorer, Magnitude, PoolScale, RankScorer, ScaledMagnitudeScorer
from sics_plugin.scorers.units import SaliencyVector, Units, check_saliency, units_of
from sics_plugin.selection.lowest import count_to_prune, lowest, lowest_with_floor
from sics_plugin.selection.magnitude_cut import Cut, kept_masks, magnitude_cut
from sics_plugin.selection.parts import Part, check_parts, code_type, device_chunks, infinity, magnitude_of_code


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What goes from a pool of n units, and why.

    ``removed`` is bool of shape (n,); ``threshold`` the highest removed score, None if nothing went; ``scorer`` the one that ran;
    ``alpha`` and ``saliency_kind`` those in force, None where they play no part.
    """

    removed: Tensor
    threshold: float | None
    scorer: Scorer
    alpha: float | None
    saliency_kind: str | None
    flags: tuple[str, ...]


def decide(
    scorer: Scorer,
    units: Units,
    amount: float | int,
    *,
    sparsity: float | None = None,
    sizes: Sequence[int] = (),
    floors: Sequence[int] = (),
) -> Decision:
    """Score a pool and mark the lowest.

    Parameters
    ----------
    scorer, units
    amount : float or int
        Fraction of the pool, or number of its units, that goes.
    sparsity : float, optional
        What features that depend on S are told; default: the fraction that goes.
    sizes, floors : sequence of int, optional
        Lengths of the layers in the pool and what each keeps at least.

    Examples
    --------
    >>> import torch
    >>> from sics_plugin import build_scorer
    >>> decide(build_scorer("magnitude"), Units(torch.tensor([0.3, 0.1, 0.2])), 1).removed.tolist()
    [False, True, False]
    """
    n = units.magnitude.numel()
    k = count_to_prune(amount, n)
    target = k / n if sparsity is None else sparsity
    running = scorer.resolve(target, units.saliency_kind)
    score = running.score(units, target)
    if any(floors):
        removed = lowest_with_floor(score, units.magnitude, k, list(sizes), list(floors))
    else:
        removed = lowest(score, units.magnitude, k)
    default_kind = "neighbourhood" if isinstance(running, CoordinateScorer) else None
    return Decision(
        removed=removed,
        threshold=float(score.masked_fill(~removed, float("-inf")).max()) if k else None,
        scorer=running,
        alpha=running.strength(units.saliency_kind) if isinstance(running, RankScorer) else None,
        saliency_kind=units.saliency_kind or default_kind,
        flags=running.flags(n),
    )


Form = Literal["exact", "histogram"]
#: Above this number of units ``exact=None`` uses the histogram form of ρ and z where there is one.
HISTOGRAM_ABOVE = 1 << 22
#: Representable magnitudes on either side of a cut at which a scorer of κ = 0 is evaluated, to see that its order is theirs.
NEIGHBOURS = 64
#: Units of a piece of which one number is asked for.
LOOK = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Which units of a pool stay.

    ``kept`` yields, once, a bool vector for every part in order (those gone before are False); the rest as in
    :class:`~sics_plugin.pruning.choose.Decision`, with the ``form`` that ran.
    """

    kept: Iterator[Tensor]
    form: Form
    threshold: float | None
    scorer: Scorer
    alpha: float | None
    saliency_kind: str | None
    flags: tuple[str, ...]


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
) -> Choice:
    """Rank the units of a pool and choose those that stay.

    Parameters
    ----------
    scorer : Scorer
    parts : sequence of Part
        All with a saliency, or none.
    amount : float or int
        Fraction of the units still there, or their number, that goes.
    saliency_kind : str, optional
        What the saliency of the parts is.
    sparsity : float, optional
        What features that depend on S are told; default: the fraction that goes.
    floors : sequence of int, optional
        How many units each part keeps at least.
    exact : bool, optional
        True: exact ranks. False: the histogram form where the scorer has one. None: that form above 2²² units.
    roomy : bool
        Whether that form may take more memory to be faster; no result depends on it.

    Examples
    --------
    >>> from sics_plugin import build_scorer
    >>> choice = choose(build_scorer("magnitude"), [Part(torch.tensor([0.3, -0.1, 0.2]))], 1)
    >>> choice.form, [kept.tolist() for kept in choice.kept]
    ('exact', [[True, False, True]])
    """
    check_parts(parts)
    n = sum(p.present for p in parts)
    k = count_to_prune(amount, n)
    target = k / n if sparsity is None else sparsity
    running = scorer.resolve(target, saliency_kind)
    found: Choice | None = None
    if isinstance(running, ScaledMagnitudeScorer):
        found = _streamed(running, parts, k, saliency_kind)
    elif exact is False or (exact is None and n > HISTOGRAM_ABOVE):
        found = _by_histogram(running, parts, k, target, saliency_kind, roomy)
    if found is not None and any(floors):
        found = _within(found, parts, floors)
    return found or _in_memory(scorer, parts, amount, saliency_kind, sparsity, floors)


def _streamed(running: ScaledMagnitudeScorer, parts: Sequence[Part], k: int, kind: str | None) -> Choice | None:
    """The magnitude family. None in case a scorer's own rounding does not keep the order of magnitudes at the cut."""
    for part in parts:  # it plays no part, but a wrong one is a mistake worth hearing of
        if part.saliency is not None:
            check_saliency(part.saliency(), part.present)
    cut = magnitude_cut(parts, k)
    threshold = _score_at(running, parts, cut) if k else None
    if k and threshold is None:
        return None
    return Choice(kept_masks(parts, cut), "exact", threshold, running, None, kind, running.flags(sum(p.present for p in parts)))


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

    Examples
    --------
    >>> pool_scale([Part(torch.tensor([3.0])), Part(torch.tensor([-4.0]))]).largest
    4.0
    """
    dtype = code_type(parts)

    def magnitudes() -> Iterator[Tensor]:
        for part in parts:
            for _, code in device_chunks(part, dtype, LOOK):
                yield magnitude_of_code(code.clamp(min=0)).double()  # one that is gone counts as zero

    largest = max(float(m.max()) for m in magnitudes())
    squares = sum(float((m / largest).square().sum()) for m in magnitudes()) if largest else 0.0
    return PoolScale(largest, (squares / sum(p.present for p in parts)) ** 0.5)


def _by_histogram(running: Scorer, parts: Sequence[Part], k: int, target: float, kind: str | None, roomy: bool) -> Choice | None:
    scorer = histogram_form_of(running, parts)
    if scorer is None:
        return None
    alpha = scorer.strength(kind)
    kept, threshold = histogram_cut(scorer, parts, k, sparsity=target, alpha=alpha, roomy=roomy)
    n = sum(p.present for p in parts)
    return Choice(kept, "histogram", threshold, scorer, alpha, kind or "neighbourhood", scorer.flags(n))


def _within(choice: Choice, parts: Sequence[Part], floors: Sequence[int]) -> Choice | None:
    """The same choice where it leaves every part its floor; None where the floors change it."""
    kept = list(choice.kept)
    if any(int(torch.count_nonzero(k)) < min(floor, p.present) for k, p, floor in zip(kept, parts, floors, strict=True)):
        return None
    return Choice(iter(kept), choice.form, choice.threshold, choice.scorer, choice.alpha, choice.saliency_kind, choice.flags)


def _in_memory(
    scorer: Scorer,
    parts: Sequence[Part],
    amount: float | int,
    kind: str | None,
    sparsity: float | None,
    floors: Sequence[int],
) -> Choice:
    """Any scorer: all units as one vector."""
    gone = [p.gone() for p in parts]
    values = [p.flat() if g is None else p.flat()[~g] for p, g in zip(parts, gone, strict=True)]
    vectors = [p.saliency() for p in parts if p.saliency is not None]
    saliency = (
        None if kind is None else SaliencyVector(torch.cat([v.as_subclass(Tensor).reshape(-1) for v in vectors]), kind=kind)
    )
    units = units_of(torch.cat(values), saliency)
    decision = decide(scorer, units, amount, sparsity=sparsity, sizes=[v.numel() for v in values], floors=floors)

    def kept() -> Iterator[Tensor]:
        for part, taken, removed in zip(parts, gone, decision.removed.split([v.numel() for v in values]), strict=True):
            if taken is None:
                yield ~removed.to(part.values.device)
                continue
            left = ~taken
            left[left.clone()] = ~removed.to(left.device)
            yield left

    return Choice(
        kept(),
        "exact",
        decision.threshold,
        decision.scorer,
        decision.alpha,
        decision.saliency_kind,
        decision.flags,
    )
