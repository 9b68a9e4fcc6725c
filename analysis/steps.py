"""The steps of one analysis: families, lines, plateau claims and attribution at one sparsity, and κ(S) over all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sics_analysis.attribution import CONTROL, AttributionLine, attribute
from sics_analysis.bootstrap import bootstrap_mean
from sics_analysis.bootstrap_tost import bootstrap_tost
from sics_analysis.contrasts import Contrast
from sics_analysis.effect import hedges_g
from sics_analysis.equivalence import EquivalenceResult, equivalence_test
from sics_analysis.escape import degrade_test, escape_test, superiority_test
from sics_analysis.lines import Line
from sics_analysis.outcome import Families
from sics_analysis.plateau import PlateauClaim, plateau_claim
from sics_analysis.results import Interval
from sics_analysis.spectrum import Spectrum, kappa_spectrum
from sics_analysis.table import Table
from sics_analysis.tails import p_above, p_below
from sics_analysis.verdicts import verdict

_TINY = math.ulp(0.0)

# One stream of random numbers per purpose, so that no test moves when another is added.
FAMILIES, SPECTRUM, ATTRIBUTION, BOOTSTRAP, CROSSED = range(5)


@dataclass(frozen=True, slots=True)
class Setting:
    """What every step of one analysis shares."""

    table: Table
    reference: str
    delta: float
    alpha: float
    root: int
    draws: int
    n_resamples: int
    floors: Mapping[float, float]

    def stream(self, purpose: int, sparsity: float = 0.0) -> np.random.Generator:
        """Random numbers of one purpose at one sparsity."""
        return np.random.default_rng([self.root, purpose, round(sparsity * 10**9)])

    def below_noise(self, sparsity: float) -> bool:
        """Whether delta lies below the noise floor."""
        return self.delta < self.floors.get(sparsity, 0.0)


def family_tests(setting: Setting, contrasts: list[Contrast], sparsity: float) -> Families:
    """Test the escape family of one sparsity; degenerate columns leave before."""
    table = setting.table
    members = [c for c in contrasts if c.name in table.candidates]
    tested = [c for c in members if not c.is_degenerate]
    rng, alpha, draws = setting.stream(FAMILIES, sparsity), setting.alpha, setting.draws
    return Families(
        sparsity,
        tuple(c.name for c in members),
        escape_test(tested, setting.delta, alpha=alpha, rng=rng, draws=draws),
        degrade_test(tested, setting.delta, alpha=alpha, rng=rng, draws=draws),
        superiority_test(tested, alpha=alpha, rng=rng, draws=draws),
    )


def make_line(
    setting: Setting,
    equivalence: EquivalenceResult,
    holm: float | None,
    families: Families,
    crossed: Interval | None,
    rng: np.random.Generator,
) -> Line:
    """Put all that is said of one scorer at one sparsity into a line, verdict included."""
    contrast, name, delta = equivalence.contrast, equivalence.name, setting.delta
    in_family = name in families.members
    escape, degrade, simultaneous, notes = None, None, None, ("", "")
    if not in_family:
        escape, degrade = p_above(contrast, delta), p_below(contrast, -delta)
    elif name in {line.name for line in families.escape.lines}:
        escape, degrade = families.escape[name].p_adjusted, families.degrade[name].p_adjusted
        simultaneous = families.escape[name].simultaneous
        notes = families.escape.note(name), families.degrade.note(name)
    decision = verdict(
        equivalence,
        p_escape_adjusted=escape,
        p_degrade_adjusted=degrade,
        alpha=setting.alpha,
        noise_floor=setting.floors.get(families.sparsity),
        in_family=in_family,
        escape_note=notes[0],
        degrade_note=notes[1],
    )
    resampled = bootstrap_mean(contrast, rng=rng, n_resamples=setting.n_resamples)
    alone = setting.table.pools(setting.reference) and setting.table.kappa[name] == 0 and not setting.table.pooled(name)
    return Line(
        contrast=contrast,
        kappa=setting.table.kappa[name],
        in_family=in_family,
        equivalence=equivalence,
        effect=hedges_g(contrast),
        p_superior=p_above(contrast, 0.0),
        p_escape=p_above(contrast, delta),
        p_escape_adjusted=escape,
        p_degrade_adjusted=degrade,
        p_equivalence_holm=holm,
        # Beyond 1074 seeds 2⁻ⁿ is smaller than any float, and still no zero.
        p_min_attainable=(0.5**contrast.n or _TINY) if contrast.n and not contrast.is_identical else None,
        simultaneous=simultaneous,
        bootstrap=resampled,
        p_bootstrap=bootstrap_tost(contrast, delta, alpha=setting.alpha, resampled=resampled).p,
        crossed=crossed,
        verdict=decision.verdict,
        reason="the only κ = 0 scorer: there is no other to be its plateau" if alone else decision.reason,
    )


def plateau_claims(setting: Setting, equivalences: list[EquivalenceResult], sparsity: float) -> list[PlateauClaim]:
    """Return the claim that all κ = 0 scorers sit on the plateau, where there are two or more to compare."""
    table = setting.table
    if table.pools(setting.reference):
        pairs = [table.contrast(*pair, sparsity) for pair in combinations(table.rank_monotone, 2)]
        members = [equivalence_test(pair, setting.delta, alpha=setting.alpha) for pair in pairs]
        return [plateau_claim(members, pairwise=True)] if members else []
    members = [e for e in equivalences if e.name in table.rank_monotone]
    return [plateau_claim(members)] if members else []


def attribution_lines(setting: Setting, sparsity: float) -> tuple[AttributionLine, ...]:
    """Split the gain of every κ ≥ 1 scorer, where the control is among the rows and not the reference."""
    table, reference = setting.table, setting.reference
    names = [name for name in table.complex if name != reference]
    if CONTROL not in table.kappa or reference == CONTROL or not names:
        return ()
    return attribute(
        [table.contrast(name, reference, sparsity) for name in names],
        [table.contrast(name, CONTROL, sparsity) for name in names],
        table.contrast(CONTROL, reference, sparsity),
        {name: table.kappa[name] or 0 for name in names},
        setting.delta,
        alpha=setting.alpha,
        noise_floor=setting.floors.get(sparsity),
        rng=setting.stream(ATTRIBUTION, sparsity),
        draws=setting.draws,
    )


def measure_spectrum(setting: Setting) -> tuple[Spectrum | None, str]:
    """Claim κ(S) wherever δ is above the noise; None and why where it is not available."""
    table, reference = setting.table, setting.reference
    if not table.has_kappa:
        return None, "the rows carry no column kappa"
    if not table.pools(reference) and table.kappa[reference] != 0:
        return None, f"κ(S) is measured from the plateau, and the reference {reference!r} is not rank-monotone"
    quiet = [sparsity for sparsity in table.sparsities if not setting.below_noise(sparsity)]
    if not quiet:
        return None, "δ is below the noise floor at every sparsity"
    families = {
        sparsity: {
            kappa: [table.contrast(name, reference, sparsity) for name in table.complex if table.kappa[name] == kappa]
            for kappa in (1, 2)
        }
        for sparsity in quiet
    }
    rng = setting.stream(SPECTRUM)
    return kappa_spectrum(families, setting.delta, alpha=setting.alpha, rng=rng, draws=setting.draws), ""
