"""The steps of one analysis: families, lines, plateau claims and attribution at one sparsity, and κ(S) over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from sics_analysis.families.attribution import CONTROL, AttributionLine, Kept, attribute
from sics_analysis.families.kappa import Spectrum, kappa_spectrum
from sics_analysis.families.max_t import degrade_test, escape_test, superiority_test
from sics_analysis.families.plateau import PlateauClaim, plateau_claim
from sics_analysis.one_scorer.bootstrap import Bootstrap, bootstrap_mean, bootstrap_together
from sics_analysis.one_scorer.bootstrap_tost import bootstrap_tost
from sics_analysis.one_scorer.crossed import VarianceComponents, variance_components
from sics_analysis.one_scorer.effect import hedges_g
from sics_analysis.one_scorer.equivalence import EquivalenceResult, equivalence_test
from sics_analysis.one_scorer.mcnemar import mcnemar_exact
from sics_analysis.one_scorer.signflip import Alternative, count_together
from sics_analysis.one_scorer.student import p_above, p_below
from sics_analysis.one_scorer.verdict import Decision, verdict
from sics_analysis.results import POINTS, Interval, Seed, Verdict, p_text, plural, signed
from sics_analysis.rows.contrasts import MANY_SEEDS, Contrast
from sics_analysis.rows.degenerate import smallest_p
from sics_analysis.rows.table import DENSE, Table
from sics_analysis.study.outcome import Families, Line, McNemarLine, RunTests

MANY_RESAMPLES = 999  # of each line's bootstrap beyond `MANY_SEEDS`, shared by the lines

# One stream of random numbers per purpose, so that no test moves when another is added; 4 was one that is no more.
FAMILIES, SPECTRUM, ATTRIBUTION, BOOTSTRAP, RUN_ESCAPE, RUN_DEGRADE = 0, 1, 2, 3, 5, 6


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
    """Test the escape family of one sparsity; degenerate columns leave before the rotation."""
    table, delta = setting.table, setting.delta
    # The sign-flip tests of the three families and of the lines' equivalence, which come later.
    sides: tuple[tuple[float, Alternative], ...] = (
        (delta, "greater"),
        (-delta, "less"),
        (0.0, "greater"),
        (-delta, "greater"),
        (delta, "less"),
    )
    count_together([c for c in contrasts if not c.is_degenerate], sides)
    members = [c for c in contrasts if c.name in table.candidates]
    rng, alpha, draws = setting.stream(FAMILIES, sparsity), setting.alpha, setting.draws
    return Families(
        sparsity,
        tuple(c.name for c in members),
        escape_test(members, delta, alpha=alpha, rng=rng, draws=draws),
        degrade_test(members, delta, alpha=alpha, rng=rng, draws=draws),
        superiority_test(members, alpha=alpha, rng=rng, draws=draws),
    )


def resampled_together(setting: Setting, contrasts: Sequence[Contrast], sparsity: float) -> dict[str, Bootstrap]:
    """The bootstraps of the lines of more than `MANY_SEEDS` seeds, by scorer; those of as many seeds share their draws."""
    found: dict[str, Bootstrap] = {}
    for n in sorted({c.n for c in contrasts if c.paired and c.n > MANY_SEEDS}):
        own = [c for c in contrasts if c.paired and c.n == n]
        rng = np.random.default_rng([setting.root, BOOTSTRAP, round(sparsity * 10**9), n])
        made = bootstrap_together(own, min(setting.n_resamples, MANY_RESAMPLES), rng)
        found.update({c.name: one for c, one in zip(own, made, strict=True)})
    return found


def make_line(
    setting: Setting,
    equivalence: EquivalenceResult,
    holm: float | None,
    families: Families,
    over_run: RunTests,
    crossed: VarianceComponents | None,
    rng: np.random.Generator,
    resampled: Bootstrap | None = None,
    kept: Decision | None = None,
) -> Line:
    """Put all that is said of one scorer at one sparsity into a line, verdict included; `kept` is one of an earlier look."""
    contrast, name, delta = equivalence.contrast, equivalence.name, setting.delta
    in_family = name in families.members
    tested = families.escape.get(name)
    escape = families.escape.adjusted(name) if in_family else p_above(contrast, delta)
    degrade = families.degrade.adjusted(name) if in_family else p_below(contrast, -delta)
    decision = verdict(
        equivalence,
        p_escape_adjusted=escape,
        p_degrade_adjusted=degrade,
        alpha=setting.alpha,
        noise_floor=setting.floors.get(families.sparsity),
        in_family=in_family,
        escape_note=families.escape.note(name),
        degrade_note=families.degrade.note(name),
    )
    decision = kept or decision
    effect = hedges_g(contrast)
    if resampled is None:
        resampled = bootstrap_mean(contrast, rng=rng, n_resamples=setting.n_resamples)
    alone = setting.table.pools(setting.reference) and setting.table.kappa[name] == 0 and not setting.table.pooled(name)
    reason = "the only κ = 0 scorer: there is no other to be its plateau" if alone else decision.reason
    escape_run, degrade_run = (
        found.get(name, families.sparsity) if in_family else None for found in (over_run.escape, over_run.degrade)
    )
    p_run = {Verdict.ESCAPES: escape_run, Verdict.DEGRADES: degrade_run}.get(decision.verdict)
    if p_run is not None and p_run > setting.alpha:
        reason += f"; at S = {families.sparsity:g} alone, not over the whole run ({p_text(p_run)})"
    kind = "adjusted" if in_family else "unadjusted, a line of its own"
    return Line(
        scorer=name,
        kappa=setting.table.kappa[name],
        in_family=in_family,
        sparsity=families.sparsity,
        n=contrast.n,
        seeds=contrast.seeds,
        differences=contrast.differences,
        mean=contrast.mean,
        sd=contrast.sd,
        ci90=contrast.t_interval(0.90),
        ci95=contrast.t_interval(0.95),
        ci_equivalence=contrast.t_interval(1 - 2 * setting.alpha),
        simultaneous=None if tested is None else tested.simultaneous,
        crossed=_for_new_images(contrast, crossed),
        p_equivalence=equivalence.p,
        p_equivalence_holm=holm,
        p_equivalence_signflip=equivalence.p_signflip,
        p_equivalence_bootstrap=bootstrap_tost(contrast, delta, alpha=setting.alpha, resampled=resampled).p
        if contrast.fixed
        else None,
        p_superior=p_above(contrast, 0.0),
        p_escape=p_above(contrast, delta),
        p_escape_adjusted=escape,
        p_escape_holm=None if tested is None else tested.p_holm,
        p_escape_signflip_joint=None if tested is None else tested.p_signflip_joint,
        p_degrade_adjusted=degrade,
        p_min_attainable=smallest_p(contrast.n) if contrast.n and contrast.paired and not contrast.is_identical else None,
        smallest_delta=equivalence.smallest_delta(),
        g_z=effect.g_z,
        degenerate=equivalence.degenerate,
        verdict=decision.verdict,
        reason=reason,
        sentence=_sentence(equivalence, escape, degrade, kind, decision.verdict, reason),
        p_noninferior=equivalence.p_lower,
        p_nonsuperior=equivalence.p_upper,
        p_escape_adjusted_run=escape_run,
        p_degrade_adjusted_run=degrade_run,
        contrast=contrast,
        equivalence=equivalence,
        effect=effect,
        bootstrap=resampled,
        split=None if crossed is None else crossed.split(),
    )


def _for_new_images(contrast: Contrast, crossed: VarianceComponents | None, level: float = 0.95) -> Interval | None:
    """The interval for new seeds and new images; of seeds that are looked at more than once at the nominal level of now."""
    if crossed is None or contrast.fixed:
        return None if crossed is None else crossed.confidence_interval(level)
    nominal = contrast.level((1 - level) / 2)
    found = crossed.confidence_interval(1 - 2 * nominal) if nominal else None
    return None if found is None else replace(found, level=level, method=f"repeated {found.method}")


def _sentence(line: EquivalenceResult, escape: float | None, degrade: float | None, kind: str, word: Verdict, reason: str) -> str:
    head = f"{line.name} against {line.reference} at S = {line.sparsity:g}"
    interval = line.confidence_interval(0.90)
    if line.mean is None:
        return f"{head}: {word}, {reason}."
    shown = "" if interval is None else f", {interval}"
    tests = ""
    if escape is not None:
        tests = f"; equivalence {p_text(line.p)}, escape {p_text(escape)} and degradation {p_text(degrade)} {kind}"
    why = f" ({reason})" if reason else ""
    seeds = plural(line.n, "seed") if line.contrast.paired else f"{line.n} or more seeds a side, unpaired"
    return f"{head}: {signed(line.mean)} points over {seeds}{shown}, δ = {line.delta:g}{tests}: {word}{why}."


def plateau_claims(setting: Setting, equivalences: list[EquivalenceResult], sparsity: float) -> list[PlateauClaim]:
    """Return the claim that all κ = 0 scorers sit on the plateau, where there are two or more to compare."""
    table = setting.table
    if table.pools(setting.reference):
        pairs = [table.contrast(*pair, sparsity) for pair in combinations(table.rank_monotone, 2)]
        members = [equivalence_test(pair, setting.delta, alpha=setting.alpha) for pair in pairs]
        return [plateau_claim(members, pairwise=True)] if members else []
    members = [e for e in equivalences if e.name in table.rank_monotone]
    return [plateau_claim(members)] if members else []


def attribution_lines(setting: Setting, sparsity: float, kept: Kept | None = None) -> tuple[AttributionLine, ...]:
    """Split the gain of every κ ≥ 1 scorer, where the control is among the rows and not the reference; see `attribute`."""
    table, reference = setting.table, setting.reference
    names = [name for name in table.complex if name != reference]
    if CONTROL not in table.kappa or reference == CONTROL or not names or not table.metric.paired:
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
        kept=kept,
    )


def measure_spectrum(setting: Setting) -> tuple[Spectrum | None, str]:
    """Claim κ(S) wherever δ is above the noise; None and why where it is not available."""
    table, reference = setting.table, setting.reference
    if not table.has_kappa:
        return None, "the rows carry no column kappa"
    if not table.metric.paired:
        return None, "κ(S) takes paired seeds, and these are unpaired"
    if not table.pools(reference) and table.kappa.get(reference) != 0:
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


Bits: TypeAlias = Mapping[tuple[Seed, str, float], ArrayLike]
"""Which test images a network classified correctly, shape (n_images,), by (seed, scorer, sparsity); where a result is the mean of
one number an example, those numbers."""


def _example_rows(table: Table, bits: Bits) -> dict[tuple[Seed, str, float], np.ndarray]:
    """Check the per-example results against their cells and one another; all whole numbers, or all floats."""
    found: dict[tuple[Seed, str, float], np.ndarray] = {}
    kind = np.int8 if are_truths(bits) else np.float64
    for (seed, name, S), values in bits.items():
        if S == 0.0:
            if name == DENSE and table.is_dense(name):
                found[seed, name, S] = np.asarray(values).astype(kind)
            continue
        row = np.asarray(values)
        arm = table.arm(name, S) if name in table.kappa else None
        if arm is None or seed not in arm.seeds:
            raise ValueError(f"Expected `bits` only for cells of `frame`, got seed {seed!r}, {name!r} at {S:g}")
        counted = arm.correct is not None
        if row.ndim != 1 or not (is_truths(row) or (not counted and row.dtype.kind == "f" and np.isfinite(row).all())):
            what = "booleans" if counted else "booleans or finite numbers"
            raise ValueError(f"Expected `bits` as rows of {what}, got shape {row.shape} for {name!r} at {S:g}")
        at = arm.seeds.index(seed)
        # The images of a run are one set: rows of other lengths are answers to other images.
        images = len(next(iter(found.values()), row)) if arm.total is None else arm.total[at]
        if len(row) != images or not images:
            raise ValueError(
                f"Expected `bits` of {images or 'some'} test examples, got {len(row)} for seed {seed!r}, {name!r} at {S:g}"
            )
        accuracy = table.metric.turned(arm.accuracy[at])
        if arm.correct is not None:
            agrees = int(row.sum()) == abs(arm.correct[at])
        else:
            close = 1e-3 if table.metric.is_accuracy else 1e-5 * float(np.abs(row).mean())
            agrees = bool(abs(row.mean(dtype=np.float64) - accuracy) <= close)
        if not agrees:
            raise ValueError(
                f"Expected `bits` to agree with `accuracy`, got {row.mean():g} beside {accuracy:g} for seed {seed!r}, "
                f"{name!r} at {S:g}"
            )
        found[seed, name, S] = row.astype(kind, copy=False)
    return found


def crossed_components(table: Table, reference: str, bits: Bits) -> dict[tuple[str, float], VarianceComponents]:
    """Return the variance components of every line that has all its per-example results."""
    rows = _example_rows(table, bits)
    found: dict[tuple[str, float], VarianceComponents] = {}
    for sparsity in table.sparsities if rows else ():
        for name in table.scorers:
            seeds = table.contrast(name, reference, sparsity).seeds
            against = table.pooled(name) if table.pools(reference) else (reference,)
            whole = table.is_dense(reference)
            places = [(name, sparsity), *((scorer, 0.0 if whole else sparsity) for scorer in against)]
            wanted = [[rows.get((seed, *place)) for place in places] for seed in seeds]
            if name == reference or not seeds or not against or any(row is None for own in wanted for row in own):
                continue
            if len({len(row) for own in wanted for row in own if row is not None}) == 1:
                turn = -1 if table.metric.lower_is_better else 1
                rows_of_seeds = (turn * _difference(own) for own in wanted)
                found[name, sparsity] = variance_components(rows_of_seeds, pooled=len(against), scale=_scale(table))
    return found


def _difference(rows: Sequence[np.ndarray | None]) -> np.ndarray:
    """Correctness of a scorer, as often as there are references, minus that of all of them; or its numbers minus theirs."""
    whole = all(row is not None and row.dtype.kind == "i" for row in rows)
    kind = np.int16 if whole else np.float64
    ours, *theirs = (np.asarray(row, dtype=np.float64) for row in rows)
    return (len(theirs) * ours - sum(theirs)).astype(kind)


def _scale(table: Table) -> float:
    return POINTS if table.metric.is_accuracy else table.metric.scale


def are_truths(bits: Bits) -> bool:
    """Whether all per-example results are right or wrong, 0 or 1: counts, and exact tests of them."""
    return all(is_truths(np.asarray(values)) for values in bits.values())


def is_truths(row: np.ndarray) -> bool:
    """Whether these are booleans, or numbers 0 and 1."""
    return row.dtype == np.bool_ or bool(np.isin(row, (0, 1)).all())


def mcnemar_lines(table: Table, reference: str, bits: Bits) -> tuple[McNemarLine, ...]:
    """Return exact McNemar of every scorer against the reference, seed by seed, where both have per-example results."""
    if reference not in table.kappa or not are_truths(bits):
        return ()  # a pooled plateau is no network, and no number but 0 and 1 is right or wrong
    found = []
    for sparsity in table.sparsities if bits else ():
        for name in table.scorers:
            for seed in table.contrast(name, reference, sparsity).seeds if name != reference else ():
                ours, theirs = bits.get((seed, name, sparsity)), bits.get((seed, reference, sparsity))
                if ours is not None and theirs is not None:
                    a, b = (np.asarray(row, dtype=bool) != table.metric.lower_is_better for row in (ours, theirs))
                    result = mcnemar_exact(a, b, seed=seed, name=name, reference=reference)
                    found.append(McNemarLine(name, sparsity, seed, replace(result, scale=_scale(table))))
    return tuple(found)
