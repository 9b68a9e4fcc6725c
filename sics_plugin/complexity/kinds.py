"""What kind of scorer a measured shape is, and the thresholds that say so."""

from __future__ import annotations

from typing import Literal

from sics_plugin.complexity.decomposition import Shape

#: ``plateau``: the masks are magnitude's (κ = 0). ``smooth``: non-monotone in z (κ = 1). ``raw``: with high-frequency content
#: (κ = 2). ``shaped``: non-monotone in z, too few units to tell 1 from 2. ``monotone``: the saliency decides, without complexity.
#: ``fake``: not increasing, but a function of magnitude alone. ``other``: depends on a layer, row or column, or on a place in the
#: vector. ``noise``: on nothing that was looked at. ``mixed``: none of these makes up half. ``unresolved``: too few units, or
#: a saliency of too few values. ``varies``: another kind at another S.
Kind = Literal["plateau", "smooth", "raw", "shaped", "monotone", "fake", "other", "noise", "mixed", "unresolved", "varies"]
KAPPA: dict[str, int] = {"plateau": 0, "smooth": 1, "raw": 2}

#: The thresholds. They were fixed on one seed of the digits network and not moved since; docs/complexity.md has the margins.
#: Masks that share this much of magnitude's kept units at every S are the plateau's.
PLATEAU_JACCARD = 0.99
#: A part of the departure from magnitude that decides makes up at least half of it.
MAJORITY = 0.5
#: Share of the curve over z that no monotone curve can follow, from which on a scorer is non-monotone.
NOT_MONOTONE = 0.01
#: Share of the curve over z above 10 cycles, from which on it is high-frequency content.
HIGH_FREQUENCY = 0.03
#: Share of what is unexplained that goes with a layer, row, column or place, from which on it is no noise.
STRUCTURE = 0.05
#: Bins of z below which 40 cycles cannot be seen.
BINS_FOR_RAW = 128


def kind_of_shape(shape: Shape, *, jaccard: float, bins: int, structure: float) -> Kind:
    """The kind at one S, from the overlap with magnitude's kept units, the bins of z in the curves, and the largest share of what
    is unexplained that one labelling of the units explains.

    >>> wavy = Shape(bent=0.0, saliency=0.2, unexplained=0.01, not_monotone=0.3, above_ten_cycles=0.1)
    >>> kind_of_shape(wavy, jaccard=0.8, bins=256, structure=0.0)
    'raw'
    """
    if jaccard >= PLATEAU_JACCARD:
        return "plateau"
    whole = shape.departure
    if whole <= 0:
        return "mixed"
    if shape.bent >= MAJORITY * whole:
        return "fake"
    if shape.unexplained >= MAJORITY * whole:
        return "other" if structure >= STRUCTURE else "noise"
    if shape.saliency < MAJORITY * whole or shape.not_monotone is None or shape.above_ten_cycles is None:
        return "mixed"
    if shape.not_monotone < NOT_MONOTONE:
        return "monotone"
    if shape.above_ten_cycles >= HIGH_FREQUENCY:
        return "raw"
    return "smooth" if bins >= BINS_FOR_RAW else "shaped"


def at_every(kinds: list[Kind]) -> Kind:
    """The kind that holds at every S, or ``varies``.

    >>> at_every(["smooth", "smooth"]), at_every(["plateau", "raw"])
    ('smooth', 'varies')
    """
    return kinds[0] if len(set(kinds)) == 1 else "varies"
