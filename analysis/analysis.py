"""The whole analysis in one call: from a frame of accuracies to verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from sics_analysis.arms import seed_label
from sics_analysis.attribution import CONTROL, AttributionLine, attribute
from sics_analysis.bootstrap import bootstrap_mean
from sics_analysis.bootstrap_tost import bootstrap_tost
from sics_analysis.contrasts import Contrast
from sics_analysis.effect import hedges_g
from sics_analysis.equivalence import EquivalenceResult, equivalence_test
from sics_analysis.escape import degrade_test, escape_test, superiority_test
from sics_analysis.examples import Bits, crossed_intervals, mcnemar_lines
from sics_analysis.lines import Line
from sics_analysis.outcome import Analysis, Families
from sics_analysis.plateau import PlateauClaim, holm_equivalence, plateau_claim
from sics_analysis.results import Interval, check_alpha, check_delta
from sics_analysis.spectrum import Spectrum, kappa_spectrum
from sics_analysis.table import PLATEAU, Table, noise_floors, read_table
from sics_analysis.tails import p_above, p_below
from sics_analysis.verdicts import verdict
from sics_analysis.winner import best_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Analysis", "analyse"]

_TINY = math.ulp(0.0)

# One stream of random numbers per purpose, so that no test moves when another is added.
_FAMILIES, _SPECTRUM, _ATTRIBUTION, _BOOTSTRAP, _CROSSED = range(5)


def analyse(
    frame: pd.DataFrame,
    reference: str = "magnitude",
    delta: float = 0.5,
    alpha: float = 0.05,
    *,
    seed: int = 0,
    rng: np.random.Generator | None = None,
    noise_floor: float | Mapping[float, float] | None = None,
    bits: Bits | None = None,
    plan: Mapping[str, Any] | None = None,
    draws: int = 100_000,
) -> Analysis:
    """Analyse a run: every scorer at every sparsity against a reference.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row per (seed, scorer, sparsity) with `accuracy` as a fraction. Further columns are used where present: kappa
        (0, 1, 2 or empty), correct with n (exact differences), mask_hash (identity of masks), unit, pool. Rows
        at sparsity 0 are ignored. The order of rows changes nothing.
    reference : str
        A scorer of the frame, or "plateau": the mean of the κ = 0 scorers at each seed. A κ = 0 scorer is then compared
        with the mean of the others, and the joint claim is about all pairs of them.
    delta : float
        Equivalence margin in accuracy points, fixed before the run.
    alpha : float
        Level of every test.
    seed, rng
        Root of all random draws: the same gives the same result, byte for byte. A generator wins over `seed`.
    noise_floor : float or mapping of sparsity to float, optional
        Points by which a repeated evaluation differs. A delta below it leaves every line of that S INCONCLUSIVE; one
        mask hash beside accuracies further apart than that is no identity.
    bits : mapping of (seed, scorer, sparsity) to array_like of bool, shape (n_images,), optional
        Which test images were classified correctly: adds McNemar per seed and intervals for new images.
    plan : mapping, optional
        Metadata of the plan, kept in `to_dict`.
    draws : int
        Draws of each rotation test.

    Returns
    -------
    Analysis

    Raises
    ------
    ValueError
        In one line, for a frame, reference or option that cannot be used.

    Notes
    -----
    The escape family of an S is its κ ≥ 1 scorers and those of unknown κ, or all but the reference when the frame knows
    no κ; κ = 0 scorers and the controls and baselines (fake, information, gradient, random) are tested in lines of their
    own, unadjusted. Every line uses its own complete seeds, in its family too (`max_t_family` says why).

    Examples
    --------
    >>> import pandas as pd
    >>> accuracy = {"magnitude": [0.900, 0.905, 0.898], "chaos": [0.930, 0.937, 0.929]}
    >>> rows = [(i, name, 0.7, a) for name, values in accuracy.items() for i, a in enumerate(values)]
    >>> frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    >>> result = analyse(frame, draws=2_000)
    >>> str(result.line("chaos", 0.7).verdict), result.to_frame().shape
    ('ESCAPES', (1, 17))
    """
    check_delta(delta)
    check_alpha(alpha)
    if not isinstance(draws, Integral) or draws < 100:
        raise ValueError(f"Expected `draws` as a whole number of at least 100, got {draws!r}")
    if rng is None and (not isinstance(seed, Integral) or seed < 0):
        raise ValueError(f"Expected `seed` as a whole number of at least 0, got {seed!r}")
    table = read_table(frame)
    _check_reference(table, reference)
    root = int(rng.integers(2**32)) if rng is not None else int(seed)
    floors = noise_floors(noise_floor, table.sparsities)
    table = replace(table, floors=floors)
    setting = _Setting(table, reference, float(delta), float(alpha), root, int(draws), floors)
    examples = {(seed_label(label), name, sparsity): row for (label, name, sparsity), row in (bits or {}).items()}
    crossed = crossed_intervals(table, reference, examples, (root, _CROSSED))
    lines: list[Line] = []
    families: list[Families] = []
    plateaus: list[PlateauClaim] = []
    attribution: list[AttributionLine] = []
    for sparsity in table.sparsities:
        contrasts = [table.contrast(name, reference, sparsity) for name in table.scorers if name != reference]
        family = _test_family(setting, contrasts, sparsity)
        families.append(family)
        equivalences = [equivalence_test(c, delta, alpha=alpha) for c in contrasts]
        generator = setting.stream(_BOOTSTRAP, sparsity)
        for equivalence, holm in zip(equivalences, holm_equivalence(equivalences), strict=True):
            interval = crossed.get((equivalence.name, sparsity))
            lines.append(_line(setting, equivalence, holm, family, interval, generator))
        if not setting.below_noise(sparsity):
            plateaus += _plateau(setting, equivalences, sparsity)
        attribution += _attribution(setting, sparsity)
    spectrum, reason = _spectrum(setting)
    winners = (best_of(family.escape) for family in families)
    return Analysis(
        table=table,
        reference=reference,
        delta=setting.delta,
        alpha=setting.alpha,
        seed=root,
        draws=setting.draws,
        lines=tuple(lines),
        plateaus=tuple(plateaus),
        families=tuple(families),
        spectrum=spectrum,
        spectrum_reason=reason,
        attribution=tuple(attribution),
        winners=tuple(winner for winner in winners if winner is not None),
        mcnemar=mcnemar_lines(table, reference, examples),
        noise_floor=floors,
        plan=dict(plan or {}),
    )


@dataclass(frozen=True, slots=True)
class _Setting:
    """What every step of one analysis shares."""

    table: Table
    reference: str
    delta: float
    alpha: float
    root: int
    draws: int
    floors: Mapping[float, float]

    def stream(self, purpose: int, sparsity: float = 0.0) -> np.random.Generator:
        return np.random.default_rng([self.root, purpose, round(sparsity * 10**9)])

    def below_noise(self, sparsity: float) -> bool:
        return self.delta < self.floors.get(sparsity, 0.0)


def _check_reference(table: Table, reference: str) -> None:
    if reference in table.kappa:
        return
    if reference == PLATEAU:
        if not table.rank_monotone:
            raise ValueError(
                "Expected scorers with kappa 0 in `frame` for reference 'plateau', got none; "
                "a column `kappa` says which scorers are rank-monotone"
            )
        return
    known = ", ".join(table.scorers)
    raise ValueError(f"Expected `reference` among {known} or 'plateau', got {reference!r}")


def _test_family(setting: _Setting, contrasts: list[Contrast], sparsity: float) -> Families:
    table = setting.table
    members = [c for c in contrasts if c.name in table.candidates]
    tested = [c for c in members if not c.is_degenerate]
    rng, alpha, draws = setting.stream(_FAMILIES, sparsity), setting.alpha, setting.draws
    return Families(
        sparsity,
        tuple(c.name for c in members),
        escape_test(tested, setting.delta, alpha=alpha, rng=rng, draws=draws),
        degrade_test(tested, setting.delta, alpha=alpha, rng=rng, draws=draws),
        superiority_test(tested, alpha=alpha, rng=rng, draws=draws),
    )


def _line(
    setting: _Setting,
    equivalence: EquivalenceResult,
    holm: float | None,
    families: Families,
    crossed: Interval | None,
    rng: np.random.Generator,
) -> Line:
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
        bootstrap=bootstrap_mean(contrast, rng=rng),
        p_bootstrap=bootstrap_tost(contrast, delta, alpha=setting.alpha, rng=rng).p,
        crossed=crossed,
        verdict=decision.verdict,
        reason="the only κ = 0 scorer: there is no other to be its plateau" if alone else decision.reason,
    )


def _plateau(setting: _Setting, equivalences: list[EquivalenceResult], sparsity: float) -> list[PlateauClaim]:
    """Return the claim that all κ = 0 scorers sit on the plateau, where there are two or more to compare."""
    table = setting.table
    if table.pools(setting.reference):
        pairs = [table.contrast(*pair, sparsity) for pair in combinations(table.rank_monotone, 2)]
        members = [equivalence_test(pair, setting.delta, alpha=setting.alpha) for pair in pairs]
        return [plateau_claim(members, pairwise=True)] if members else []
    members = [e for e in equivalences if e.name in table.rank_monotone]
    return [plateau_claim(members)] if members else []


def _attribution(setting: _Setting, sparsity: float) -> tuple[AttributionLine, ...]:
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
        rng=setting.stream(_ATTRIBUTION, sparsity),
        draws=setting.draws,
    )


def _spectrum(setting: _Setting) -> tuple[Spectrum | None, str]:
    table, reference = setting.table, setting.reference
    if not table.has_kappa:
        return None, "the rows carry no column kappa"
    if reference != PLATEAU and table.kappa[reference] != 0:
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
    rng = setting.stream(_SPECTRUM)
    return kappa_spectrum(families, setting.delta, alpha=setting.alpha, rng=rng, draws=setting.draws), ""
