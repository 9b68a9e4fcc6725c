"""Statistics that say whether a pruning scorer leaves the plateau: pure functions over arrays, never torch.

The whole analysis of a table of (seed, scorer, sparsity, accuracy) is one call::

    from sics_analysis import analyse
    analyse(frame, reference="magnitude", delta=0.5).to_frame()

The parts stand alone as well: `equivalence_test`, `plateau_claim`, `escape_test`, `sign_flip_test`, `hedges_g`,
`mcnemar_exact`. Names load on first use, so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING

from sics_analysis.lazy import attach

if TYPE_CHECKING:
    from sics_analysis.claims.scorecard import ClaimResult as ClaimResult
    from sics_analysis.claims.scorecard import evaluate as evaluate
    from sics_analysis.claims.scorecard import evaluate_all as evaluate_all
    from sics_analysis.families.attribution import AttributionLine as AttributionLine
    from sics_analysis.families.attribution import attribute as attribute
    from sics_analysis.families.family import FamilyLine as FamilyLine
    from sics_analysis.families.family import FamilyResult as FamilyResult
    from sics_analysis.families.kappa import Monotonicity as Monotonicity
    from sics_analysis.families.kappa import Spectrum as Spectrum
    from sics_analysis.families.kappa import kappa_spectrum as kappa_spectrum
    from sics_analysis.families.kappa import monotonicity_test as monotonicity_test
    from sics_analysis.families.max_t import degrade_test as degrade_test
    from sics_analysis.families.max_t import escape_test as escape_test
    from sics_analysis.families.max_t import superiority_test as superiority_test
    from sics_analysis.families.multiplicity import benjamini_hochberg as benjamini_hochberg
    from sics_analysis.families.multiplicity import holm as holm
    from sics_analysis.families.plateau import PlateauClaim as PlateauClaim
    from sics_analysis.families.plateau import holm_equivalence as holm_equivalence
    from sics_analysis.families.plateau import plateau_claim as plateau_claim
    from sics_analysis.families.run_wide import RunWide as RunWide
    from sics_analysis.families.run_wide import run_wide as run_wide
    from sics_analysis.families.winner import Confirmed as Confirmed
    from sics_analysis.families.winner import best_of as best_of
    from sics_analysis.families.winner import confirm_best as confirm_best
    from sics_analysis.looks.design import LookPlan as LookPlan
    from sics_analysis.looks.design import planned_looks as planned_looks
    from sics_analysis.looks.levels import crossing_probabilities as crossing_probabilities
    from sics_analysis.looks.levels import nominal_levels as nominal_levels
    from sics_analysis.looks.outcome import LineLook as LineLook
    from sics_analysis.looks.outcome import LineLooks as LineLooks
    from sics_analysis.looks.outcome import Looks as Looks
    from sics_analysis.looks.repeated import repeated_interval as repeated_interval
    from sics_analysis.looks.repeated import repeated_p as repeated_p
    from sics_analysis.looks.repeated import sequential_p as sequential_p
    from sics_analysis.one_scorer.bootstrap import Bootstrap as Bootstrap
    from sics_analysis.one_scorer.bootstrap import bootstrap_mean as bootstrap_mean
    from sics_analysis.one_scorer.bootstrap import coverage_caveat as coverage_caveat
    from sics_analysis.one_scorer.bootstrap_tost import BootstrapEquivalence as BootstrapEquivalence
    from sics_analysis.one_scorer.crossed import VarianceComponents as VarianceComponents
    from sics_analysis.one_scorer.crossed import variance_components as variance_components
    from sics_analysis.one_scorer.effect import EffectSize as EffectSize
    from sics_analysis.one_scorer.effect import hedges_g as hedges_g
    from sics_analysis.one_scorer.equivalence import EquivalenceResult as EquivalenceResult
    from sics_analysis.one_scorer.equivalence import equivalence_test as equivalence_test
    from sics_analysis.one_scorer.mcnemar import McNemarResult as McNemarResult
    from sics_analysis.one_scorer.mcnemar import mcnemar_exact as mcnemar_exact
    from sics_analysis.one_scorer.signflip import SignFlipResult as SignFlipResult
    from sics_analysis.one_scorer.signflip import sign_flip_test as sign_flip_test
    from sics_analysis.one_scorer.verdict import Decision as Decision
    from sics_analysis.one_scorer.verdict import verdict as verdict
    from sics_analysis.planning.looks import LooksPower as LooksPower
    from sics_analysis.planning.looks import SharePlan as SharePlan
    from sics_analysis.planning.looks import looks_power as looks_power
    from sics_analysis.planning.looks import share_plan as share_plan
    from sics_analysis.planning.plan import Plan as Plan
    from sics_analysis.planning.plan import Resolution as Resolution
    from sics_analysis.planning.plan import SeedsNeeded as SeedsNeeded
    from sics_analysis.planning.plan import plan as plan
    from sics_analysis.planning.plan import resolution as resolution
    from sics_analysis.planning.plan import seeds_needed as seeds_needed
    from sics_analysis.planning.power import PowerResult as PowerResult
    from sics_analysis.planning.power import escape_power as escape_power
    from sics_analysis.planning.power import tost_power as tost_power
    from sics_analysis.results import DataCheckWarning as DataCheckWarning
    from sics_analysis.results import Interval as Interval
    from sics_analysis.results import Verdict as Verdict
    from sics_analysis.results import Winner as Winner
    from sics_analysis.rows.arms import Arm as Arm
    from sics_analysis.rows.arms import pool_arms as pool_arms
    from sics_analysis.rows.contrasts import Contrast as Contrast
    from sics_analysis.rows.contrasts import contrast as contrast
    from sics_analysis.rows.contrasts import differences as differences
    from sics_analysis.rows.degenerate import Degenerate as Degenerate
    from sics_analysis.rows.degenerate import classify as classify
    from sics_analysis.study.analyse import analyse as analyse
    from sics_analysis.study.outcome import Analysis as Analysis

_HOME = {
    "claims.scorecard": ("ClaimResult", "evaluate", "evaluate_all"),
    "families.attribution": ("AttributionLine", "attribute"),
    "families.family": ("FamilyLine", "FamilyResult"),
    "families.kappa": ("Monotonicity", "Spectrum", "kappa_spectrum", "monotonicity_test"),
    "families.max_t": ("degrade_test", "escape_test", "superiority_test"),
    "families.multiplicity": ("benjamini_hochberg", "holm"),
    "families.plateau": ("PlateauClaim", "holm_equivalence", "plateau_claim"),
    "families.run_wide": ("RunWide", "run_wide"),
    "families.winner": ("Confirmed", "best_of", "confirm_best"),
    "looks.design": ("LookPlan", "planned_looks"),
    "looks.levels": ("crossing_probabilities", "nominal_levels"),
    "looks.outcome": ("LineLook", "LineLooks", "Looks"),
    "looks.repeated": ("repeated_interval", "repeated_p", "sequential_p"),
    "one_scorer.bootstrap": ("Bootstrap", "bootstrap_mean", "coverage_caveat"),
    "one_scorer.bootstrap_tost": ("BootstrapEquivalence",),
    "one_scorer.crossed": ("VarianceComponents", "variance_components"),
    "one_scorer.effect": ("EffectSize", "hedges_g"),
    "one_scorer.equivalence": ("EquivalenceResult", "equivalence_test"),
    "one_scorer.mcnemar": ("McNemarResult", "mcnemar_exact"),
    "one_scorer.signflip": ("SignFlipResult", "sign_flip_test"),
    "one_scorer.verdict": ("Decision", "verdict"),
    "planning.looks": ("LooksPower", "SharePlan", "looks_power", "share_plan"),
    "planning.plan": ("Plan", "Resolution", "SeedsNeeded", "plan", "resolution", "seeds_needed"),
    "planning.power": ("PowerResult", "escape_power", "tost_power"),
    "results": ("DataCheckWarning", "Interval", "Verdict", "Winner"),
    "rows.arms": ("Arm", "pool_arms"),
    "rows.contrasts": ("Contrast", "contrast", "differences"),
    "rows.degenerate": ("Degenerate", "classify"),
    "study.analyse": ("analyse",),
    "study.outcome": ("Analysis",),
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
