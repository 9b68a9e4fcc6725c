"""What the names and letters of a report mean, one line each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sics_analysis.report.document.document import ReportDocument
from sics_analysis.report.document.rows import ScorerInfo
from sics_analysis.report.words.said import in_digits, in_words

#: Scorers of the project by name. m is the magnitude of a weight, ρ its percentile, z that of its saliency among weights of
#: similar magnitude.
SCORERS: Mapping[str, str] = {
    "magnitude": "the magnitude m itself: the plateau",
    "power": "m²: the order of magnitude",
    "log": "log(1 + m/σ): the order of magnitude",
    "magnitude_power": "m to a power: the order of magnitude",
    "bump": "ρ and a Gaussian bump of z at the threshold S, made by hand",
    "smooth_chaos": "ρ and the smoothed Lyapunov spectrum of the logistic map at z",
    "smooth_mouse": "ρ and the smoothed Lyapunov spectrum of the Gauss (mouse) map at z",
    "chaos": "ρ and the raw Lyapunov spectrum of the logistic map at z",
    "wiggle": "smooth_chaos with 40 cycles of a sine of z on top: smooth, made rough on purpose",
    "fake": "bump of ρ in place of z: not monotone, and a function of magnitude alone",
    "information": "ρ and z itself: the same saliency, monotone in it, to tell complexity from saliency",
    "gradient": "m times the gradient: what a saliency does without ρ and z",
    "random": "by chance: the floor",
    "fusion": "ρ and several features, with weights found on held-out data",
    "adaptive": "a scorer chosen for each S by a table",
    "orbit_peak": "ρ and the largest value of the orbit at z, monotone in z",
    "orbit_variance": "ρ and the variance of the orbit at z",
    "orbit_range": "ρ and the range of the orbit at z, monotone in z",
    "orbit_mean": "ρ and the mean of the orbit at z",
    "smooth_orbit_peak": "orbit_peak, smoothed",
    "smooth_orbit_variance": "orbit_variance, smoothed",
    "smooth_orbit_range": "orbit_range, smoothed",
    "smooth_orbit_mean": "orbit_mean, smoothed",
    "sine": "ρ and one cycle of a sine of z: not monotone, without chaos",
    "weierstrass": "ρ and Weierstrass's function of z: rough, without chaos",
    "spline": "ρ and a random smooth curve of z",
    "rank_indicator": "an indicator of ρ in place of z: magnitude alone",
    "snip": "weight times gradient of the mean loss (SNIP)",
    "sensitivity": "mean of weight times gradient, sample by sample",
    "taylor": "mean square of weight times gradient (first-order Taylor)",
    "fisher": "weight² times the Fisher diagonal (optimal brain damage)",
    "grasp": "weight times Hessian times gradient (GraSP)",
    "synflow": "weight times what an input of ones makes of it (SynFlow)",
    "lamp": "m² as a share of what is left of its layer (LAMP)",
    "ri": "m as a share of its row and its column (RI)",
    "wanda": "m times the norm of its input (Wanda)",
    "ria": "RI times the root of the norm of its input (RIA)",
}
_ROLES = {
    "searched": "weights that a search found anew at each seed",
    "other pool": "ranked in another pool than the run's",
    "control": "a control",
    "baseline": "a baseline",
}


@dataclass(frozen=True, slots=True)
class Term:
    """A name or letter, what it means, and an anchor of the page that says more."""

    name: str
    text: str
    link: str = ""
    scorer: bool = False


@in_digits
def terms(document: ReportDocument) -> tuple[Term, ...]:
    """The letters of this report, then its scorers in their order."""
    settings, reference = document.settings, document.settings.reference
    delta, run = f"{settings.delta:g} {document.metric.short}", len(document.sparsities) > 1
    made = [] if document.one_pool else [Term("S", "sparsity: the share of units that is removed")]
    made.append(Term("δ", f"the margin, {delta}: a difference below it does not matter", "figure-deltas"))
    made.append(Term("α", f"the error rate of the tests, {settings.alpha:g}", "notes"))
    if document.has_kappa:
        made += [
            Term(
                "κ",
                "complexity of a scorer: 0 increases with the magnitude; 1 is smooth in z, 2 rough, neither monotone; "
                "a control or baseline has none",
                "answer-kappa",
            ),
            Term("ρ, z", "percentile of a weight's magnitude, and of its saliency among weights of similar magnitude"),
            Term("plateau", "the accuracy of the scorers of κ = 0, which follow the magnitude alone", "answer-plateau"),
        ]
    pairs = (
        f"differences to {reference} are of equal seeds" if document.metric.paired else "seeds of two scorers are no pairs here"
    )
    made.append(Term("seed", f"one repetition, and the unit of every test; {pairs}", "notes"))
    if run:
        made.append(Term("whole run", "holds with all scorers and all S counted as one family of tests", "table-escapes"))
    made.append(Term("simultaneous", "intervals that hold all at once within an S", "figure-escape"))
    if document.looks is not None:
        made.append(Term("look", "a planned point at which the seeds so far are tested", "answer-looks"))
    letters = [Term(term.name, in_words(document, term.text), term.link) for term in made]
    return (*letters, *(Term(scorer.name, _scorer(document, scorer), scorer=True) for scorer in document.scorers))


def _scorer(document: ReportDocument, scorer: ScorerInfo) -> str:
    """What a scorer of this name is; of rows that anybody made, what they say of it."""
    ours = document.source.kind == "run" or document.metric.is_image_accuracy
    kind = _ROLES.get(scorer.role, "") if scorer.kappa is None else f"κ = {scorer.kappa}"
    told = SCORERS.get(scorer.name, "") if ours else ""
    whole = "; ".join(part for part in (told, kind) if part) or "as the rows have it"
    return f"{whole}; the reference" if scorer.name == document.settings.reference else whole
