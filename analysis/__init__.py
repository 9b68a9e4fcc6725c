"""Statistics that say whether a pruning scorer leaves the plateau: pure functions over arrays, never torch.

The whole analysis of a table of (seed, scorer, sparsity, accuracy) is one call::

    from sics_analysis import analyse
    analyse(frame, reference="magnitude", delta=0.5).to_frame()

The parts stand alone as well: `equivalence_test`, `plateau_claim`, `escape_test`, `sign_flip_test`, `hedges_g`,
`mcnemar_exact`. Names load on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sics_analysis.analysis import Analysis as Analysis
    from sics_analysis.analysis import analyse as analyse
    from sics_analysis.arms import Arm as Arm
    from sics_analysis.arms import pool_arms as pool_arms
    from sics_analysis.contrasts import Contrast as Contrast
    from sics_analysis.contrasts import contrast as contrast
    from sics_analysis.contrasts import differences as differences
    from sics_analysis.degenerate import Degenerate as Degenerate
    from sics_analysis.degenerate import classify as classify
    from sics_analysis.effect import EffectSize as EffectSize
    from sics_analysis.effect import hedges_g as hedges_g
    from sics_analysis.equivalence import EquivalenceResult as EquivalenceResult
    from sics_analysis.equivalence import equivalence_test as equivalence_test
    from sics_analysis.escape import degrade_test as degrade_test
    from sics_analysis.escape import escape_test as escape_test
    from sics_analysis.escape import superiority_test as superiority_test
    from sics_analysis.families import FamilyLine as FamilyLine
    from sics_analysis.families import FamilyResult as FamilyResult
    from sics_analysis.mcnemar import McNemarResult as McNemarResult
    from sics_analysis.mcnemar import mcnemar_exact as mcnemar_exact
    from sics_analysis.multiplicity import benjamini_hochberg as benjamini_hochberg
    from sics_analysis.multiplicity import holm as holm
    from sics_analysis.plateau import PlateauClaim as PlateauClaim
    from sics_analysis.plateau import holm_equivalence as holm_equivalence
    from sics_analysis.plateau import plateau_claim as plateau_claim
    from sics_analysis.results import Interval as Interval
    from sics_analysis.results import Verdict as Verdict
    from sics_analysis.signflip import SignFlipResult as SignFlipResult
    from sics_analysis.signflip import sign_flip_test as sign_flip_test
    from sics_analysis.verdicts import Decision as Decision
    from sics_analysis.verdicts import verdict as verdict

_HOME = {
    "analysis": ("Analysis", "analyse"),
    "arms": ("Arm", "pool_arms"),
    "contrasts": ("Contrast", "contrast", "differences"),
    "degenerate": ("Degenerate", "classify"),
    "effect": ("EffectSize", "hedges_g"),
    "equivalence": ("EquivalenceResult", "equivalence_test"),
    "escape": ("degrade_test", "escape_test", "superiority_test"),
    "families": ("FamilyLine", "FamilyResult"),
    "mcnemar": ("McNemarResult", "mcnemar_exact"),
    "multiplicity": ("benjamini_hochberg", "holm"),
    "plateau": ("PlateauClaim", "holm_equivalence", "plateau_claim"),
    "results": ("Interval", "Verdict"),
    "signflip": ("SignFlipResult", "sign_flip_test"),
    "verdicts": ("Decision", "verdict"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE)


def __getattr__(name: str) -> object:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE})
