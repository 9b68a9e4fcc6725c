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
    from sics_analysis.analysis import analyse as analyse
    from sics_analysis.arms import Arm as Arm
    from sics_analysis.arms import pool_arms as pool_arms
    from sics_analysis.attribution import AttributionLine as AttributionLine
    from sics_analysis.attribution import attribute as attribute
    from sics_analysis.bootstrap import Bootstrap as Bootstrap
    from sics_analysis.bootstrap import bootstrap_mean as bootstrap_mean
    from sics_analysis.bootstrap import coverage_caveat as coverage_caveat
    from sics_analysis.bootstrap_tost import BootstrapEquivalence as BootstrapEquivalence
    from sics_analysis.claims import ClaimResult as ClaimResult
    from sics_analysis.claims import evaluate as evaluate
    from sics_analysis.claims import evaluate_all as evaluate_all
    from sics_analysis.contrasts import Contrast as Contrast
    from sics_analysis.contrasts import contrast as contrast
    from sics_analysis.contrasts import differences as differences
    from sics_analysis.crossed import CrossedBootstrap as CrossedBootstrap
    from sics_analysis.crossed import crossed_bootstrap as crossed_bootstrap
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
    from sics_analysis.monotonicity import Monotonicity as Monotonicity
    from sics_analysis.monotonicity import monotonicity_test as monotonicity_test
    from sics_analysis.multiplicity import benjamini_hochberg as benjamini_hochberg
    from sics_analysis.multiplicity import holm as holm
    from sics_analysis.outcome import Analysis as Analysis
    from sics_analysis.planning import Plan as Plan
    from sics_analysis.planning import Resolution as Resolution
    from sics_analysis.planning import SeedsNeeded as SeedsNeeded
    from sics_analysis.planning import plan as plan
    from sics_analysis.planning import resolution as resolution
    from sics_analysis.planning import seeds_needed as seeds_needed
    from sics_analysis.plateau import PlateauClaim as PlateauClaim
    from sics_analysis.plateau import holm_equivalence as holm_equivalence
    from sics_analysis.plateau import plateau_claim as plateau_claim
    from sics_analysis.power import PowerResult as PowerResult
    from sics_analysis.power import escape_power as escape_power
    from sics_analysis.power import tost_power as tost_power
    from sics_analysis.results import Interval as Interval
    from sics_analysis.results import Verdict as Verdict
    from sics_analysis.signflip import SignFlipResult as SignFlipResult
    from sics_analysis.signflip import sign_flip_test as sign_flip_test
    from sics_analysis.spectrum import Spectrum as Spectrum
    from sics_analysis.spectrum import kappa_spectrum as kappa_spectrum
    from sics_analysis.verdicts import Decision as Decision
    from sics_analysis.verdicts import verdict as verdict
    from sics_analysis.winner import Confirmed as Confirmed
    from sics_analysis.winner import Winner as Winner
    from sics_analysis.winner import best_of as best_of
    from sics_analysis.winner import confirm_best as confirm_best

_HOME = {
    "analysis": ("Analysis", "analyse"),
    "arms": ("Arm", "pool_arms"),
    "attribution": ("AttributionLine", "attribute"),
    "bootstrap": ("Bootstrap", "bootstrap_mean", "coverage_caveat"),
    "bootstrap_tost": ("BootstrapEquivalence",),
    "claims": ("ClaimResult", "evaluate", "evaluate_all"),
    "contrasts": ("Contrast", "contrast", "differences"),
    "crossed": ("CrossedBootstrap", "crossed_bootstrap"),
    "degenerate": ("Degenerate", "classify"),
    "effect": ("EffectSize", "hedges_g"),
    "equivalence": ("EquivalenceResult", "equivalence_test"),
    "escape": ("degrade_test", "escape_test", "superiority_test"),
    "families": ("FamilyLine", "FamilyResult"),
    "mcnemar": ("McNemarResult", "mcnemar_exact"),
    "monotonicity": ("Monotonicity", "monotonicity_test"),
    "multiplicity": ("benjamini_hochberg", "holm"),
    "planning": ("Plan", "Resolution", "SeedsNeeded", "plan", "resolution", "seeds_needed"),
    "plateau": ("PlateauClaim", "holm_equivalence", "plateau_claim"),
    "power": ("PowerResult", "escape_power", "tost_power"),
    "results": ("Interval", "Verdict"),
    "signflip": ("SignFlipResult", "sign_flip_test"),
    "spectrum": ("Spectrum", "kappa_spectrum"),
    "verdicts": ("Decision", "verdict"),
    "winner": ("Confirmed", "Winner", "best_of", "confirm_best"),
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
