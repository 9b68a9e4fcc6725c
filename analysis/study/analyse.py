"""The whole analysis in one call: from a frame of accuracies to verdicts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sics_analysis.families.attribution import AttributionLine
from sics_analysis.families.how_far import how_far
from sics_analysis.families.plateau import PlateauClaim, holm_equivalence
from sics_analysis.families.run_wide import run_wide
from sics_analysis.families.winner import best_of
from sics_analysis.looks.design import LookPlan
from sics_analysis.looks.outcome import LineLooks
from sics_analysis.one_scorer.bootstrap import N_RESAMPLES, Bootstrap
from sics_analysis.one_scorer.equivalence import equivalence_test
from sics_analysis.results import (
    ACCURACY,
    DataCheck,
    DataCheckWarning,
    Level,
    Metric,
    Seed,
    check_alpha,
    check_delta,
    is_whole,
    written_with,
)
from sics_analysis.rows.checks import checkpoint_checks, data_checks, in_order
from sics_analysis.rows.contrasts import Contrast
from sics_analysis.rows.reading.asked import NOTHING, Asked
from sics_analysis.rows.reading.cells import seed_label
from sics_analysis.rows.reading.exported import example_of, says_its_metric
from sics_analysis.rows.reading.ignored import ignored_checks
from sics_analysis.rows.reading.names import OPTIONAL, likely_reference, nearest
from sics_analysis.rows.reading.searches import of_searches
from sics_analysis.rows.reading.tidy import tidy
from sics_analysis.rows.table import DENSE, PLATEAU, REQUIRED, Table, noise_floors, read_table
from sics_analysis.study.looks import Counted, count_looks
from sics_analysis.study.outcome import Analysis, Families, Line, RunTests
from sics_analysis.study.searched import searched_study
from sics_analysis.study.steps import (
    BOOTSTRAP,
    RUN_DEGRADE,
    RUN_ESCAPE,
    Bits,
    Setting,
    attribution_lines,
    crossed_components,
    family_tests,
    make_line,
    mcnemar_lines,
    measure_spectrum,
    plateau_claims,
    resampled_together,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Analysis", "analyse"]


def analyse(
    frame: pd.DataFrame,
    reference: str = "magnitude",
    delta: float | None = None,
    alpha: float = 0.05,
    *,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    metric: str | Metric | None = None,
    lower_is_better: bool | None = None,
    unit: str | None = None,
    repeats: str | Sequence[str] = (),
    round_sparsity: float | None = None,
    unpaired: bool = False,
    checks: Sequence[DataCheck] = (),
    seed: int = 0,
    rng: np.random.Generator | None = None,
    noise_floor: float | Mapping[float, float] | None = None,
    bits: Bits | None = None,
    plan: Mapping[str, Any] | None = None,
    looks: LookPlan | None = None,
    ended: Iterable[Seed] | None = None,
    draws: int = 100_000,
    n_resamples: int = N_RESAMPLES,
    progress: Callable[[int, int], None] | None = None,
) -> Analysis:
    """Analyse a run: every scorer at every sparsity against a reference.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row per (seed, scorer, sparsity) with `accuracy` as a fraction. Further columns are used where present: kappa
        (0, 1, 2 or empty), correct with n (exact differences), mask_hash (identity of masks), unit, pool, role, and of searched
        scorers budget, held_out, held_out_reference and the like (`docs/table-rules.md`). Rows
        at sparsity 0 are the dense networks. The order of rows changes nothing. Other shapes and names are read too
        (`docs/tables.md`): a column a scorer or a seed, method, run, density, val_acc and the like, percent; what was assumed is
        warned of and kept in `Analysis.assumed`. So is every data check that is open, as a `DataCheckWarning`.
    reference : str
        A scorer of the frame, or "plateau": the mean of the κ = 0 scorers at each seed. A κ = 0 scorer is then compared
        with the mean of the others, and the joint claim is about all pairs of them. Or "dense", the rows at sparsity 0: every
        scorer is compared with the unpruned network, and `Analysis.how_far` says how far each can prune.
    delta : float
        Equivalence margin in accuracy points, fixed before the run; 0.5 by default. For another metric in its unit, and
        without a default.
    alpha : float
        Level of every test.
    columns : mapping of role to column, optional
        Which column is the seed, scorer, sparsity, metric, or one of the further ones; several columns of the role scorer or
        seed are those of a table with a column each.
    metric, lower_is_better, unit : optional
        The column that was measured, its direction, and the unit of its differences; "points", "percent" and "fraction" say
        that it is a share, whose differences are points: `delta` is then in the unit said, .005 of a fraction being 0.5
        points. All numbers of the result are in the metric's unit; ESCAPES means better.
    repeats : column or columns
        To average over within a seed, before anything else.
    round_sparsity : float, optional
        Round achieved sparsities to multiples of this.
    unpaired : bool
        Whether the seeds of two scorers are no pairs: the tests then take Welch's form, families Holm's correction.
    checks : sequence of DataCheck
        What is known of the rows beside what they say.
    seed, rng
        Root of all random draws: the same gives the same result, byte for byte. A generator wins over `seed`.
    noise_floor : float or mapping of sparsity to float, optional
        Points by which a repeated evaluation differs. A delta below it leaves every line of that S INCONCLUSIVE; one
        mask hash beside accuracies further apart than that is no identity.
    bits : mapping of (seed, scorer, sparsity) to array_like of bool, shape (n_images,), optional
        Which test images were classified correctly: adds McNemar per seed and intervals for new images. Where a result is the
        mean of one number an example, those numbers as floats: adds the intervals alone.
    plan : mapping, optional
        Metadata of the plan, kept in `to_dict`.
    looks : LookPlan, optional
        The plan of a run that was looked at more than once, fixed before its first seed, at the alpha of this analysis. The tests
        are then those of the looks made (`Analysis.looks`): every p is sequential, every interval repeated, every verdict kept
        from the look that gave it. Seeds that no look has counted yet, or that the plan does not have, take no part. A plan
        of one look is the fixed design. The seeds of a plan that names none are those of the frame, in their order.
    ended : seeds, optional
        Under a plan of looks: the seeds of which no further result is to come, those that failed included, as a look waits for
        all its seeds; by default those of the frame.
    draws : int
        Draws of each rotation test.
    n_resamples : int
        Resamples of each line's bootstrap, where its seeds are too many to enumerate; at most 999 beyond 100 seeds. No verdict
        rests on them.
    progress : callable, optional
        Told how many sparsities are done, of how many.

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
    no κ; κ = 0 scorers, the controls and baselines (fake, information, gradient, random), and scorers without κ whose `role`
    is control, baseline, peer or adaptive are tested in lines of their own, unadjusted. Every line uses its own complete
    seeds, in its family too (`max_t_family` says why). The verdicts are those of each S, adjusted within it; beside them stand
    p that are adjusted over all S of the run (`run_wide`).

    Examples
    --------
    >>> import pandas as pd
    >>> accuracy = {"magnitude": [0.900, 0.905, 0.898], "chaos": [0.930, 0.937, 0.929]}
    >>> rows = [(i, name, 0.7, a) for name, values in accuracy.items() for i, a in enumerate(values)]
    >>> frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    >>> result = analyse(frame, draws=2_000)
    >>> str(result.line("chaos", 0.7).verdict), result.to_frame().shape
    ('ESCAPES', (1, 22))
    """
    asked = Asked(
        {role: column if isinstance(column, str) else tuple(column) for role, column in (columns or {}).items()},
        None if isinstance(metric, Metric) else metric,
        lower_is_better,
        unit,
        (repeats,) if isinstance(repeats, str) else tuple(repeats),
        delta=None if unit is None else delta,
        sparsity_step=round_sparsity,
    )
    frame, measured, assumed, found = _read(frame, metric, asked)
    given = asked.margin_of(measured)
    delta = _margin(delta if given is None else given, measured)
    check_delta(delta)
    check_alpha(alpha)
    if not is_whole(draws) or draws < 100:
        raise ValueError(f"Expected `draws` as a whole number of at least 100, got {draws!r}")
    if not is_whole(n_resamples) or n_resamples < 1:
        raise ValueError(f"Expected `n_resamples` as a whole number of at least 1, got {n_resamples!r}")
    if rng is None and (not is_whole(seed) or seed < 0):
        raise ValueError(f"Expected `seed` as a whole number of at least 0, got {seed!r}")
    table = read_table(frame, replace(measured, paired=not unpaired))
    _check_reference(table, reference)
    counted = None if looks is None else count_looks(table, looks, alpha, ended)
    table = table if counted is None else counted.table
    root = int(rng.integers(2**32)) if rng is not None else int(seed)
    floors = noise_floors(noise_floor, table.sparsities)
    table = replace(table, floors=floors)
    setting = Setting(table, reference, float(delta), float(alpha), root, int(draws), int(n_resamples), floors)
    with written_with(measured.digits(delta)):
        made = _analysis(setting, bits or {}, plan or {}, (*checks, *found), progress, counted)
    for one in made.checks:
        if one.level is Level.OPEN:
            warnings.warn(f"data check, open: {one.text}", DataCheckWarning, stacklevel=2)
    return replace(made, assumed=assumed, rows=frame)


def _analysis(
    setting: Setting,
    bits: Bits,
    plan: Mapping[str, Any],
    data: Sequence[DataCheck],
    progress: Callable[[int, int], None] | None,
    counted: Counted | None,
) -> Analysis:
    """Every step, at every sparsity."""
    table, reference, delta, alpha, root = setting.table, setting.reference, setting.delta, setting.alpha, setting.root
    examples = {(seed_label(label), name, round(float(S), 9)): row for (label, name, S), row in bits.items()}
    if counted is not None:
        examples = {place: row for place, row in examples.items() if place[0] in table.seeds}
    crossed = crossed_components(table, reference, examples)
    lines: list[Line] = []
    looked: list[LineLooks] = []
    plateaus: list[PlateauClaim] = []
    attribution: list[AttributionLine] = []
    contrasts: dict[float, list[Contrast]] = {}
    families: dict[float, Families] = {}
    together: dict[float, dict[str, Bootstrap]] = {}
    for done, sparsity in enumerate(table.sparsities):
        if progress is not None:
            progress(done, len(table.sparsities))
        own = [table.contrast(name, reference, sparsity) for name in table.scorers if name != reference]
        contrasts[sparsity], families[sparsity] = own, family_tests(setting, own, sparsity)
        together[sparsity] = resampled_together(setting, own, sparsity)
    over_run = RunTests(
        *(
            run_wide([getattr(family, name) for family in families.values()], rng=setting.stream(stream), draws=setting.draws)
            for name, stream in (("escape", RUN_ESCAPE), ("degrade", RUN_DEGRADE))
        )
    )
    for sparsity, family in families.items():
        equivalences = [equivalence_test(c, delta, alpha=alpha) for c in contrasts[sparsity]]
        generator = setting.stream(BOOTSTRAP, sparsity)
        # A smaller budget of a search is no further scorer: Holm's correction counts each search once.
        counts = [e for e in equivalences if e.name not in table.searches.smaller]
        corrected = dict(zip((e.name for e in counts), holm_equivalence(counts), strict=True))
        for equivalence in equivalences:
            components, resampled = crossed.get((equivalence.name, sparsity)), together[sparsity].get(equivalence.name)
            holm, kept = corrected.get(equivalence.name), None
            if counted is not None:
                found, kept = counted.line(setting, equivalence.contrast, family)
                looked.append(found)
            lines.append(make_line(setting, equivalence, holm, family, over_run, components, generator, resampled, kept))
        if not setting.below_noise(sparsity):
            plateaus += plateau_claims(setting, equivalences, sparsity)
        attribution += attribution_lines(setting, sparsity, None if counted is None else counted.kept(setting, sparsity))
    spectrum, reason = measure_spectrum(setting)
    winners = (best_of(family.escape) for family in families.values())
    return Analysis(
        table=table,
        reference=reference,
        delta=delta,
        alpha=alpha,
        seed=root,
        draws=setting.draws,
        lines=tuple(lines),
        plateaus=tuple(plateaus),
        families=tuple(families.values()),
        over_run=over_run,
        spectrum=spectrum,
        spectrum_reason=reason,
        attribution=tuple(attribution),
        winners=tuple(winner for winner in winners if winner is not None),
        mcnemar=mcnemar_lines(table, reference, examples),
        noise_floor=setting.floors,
        plan=dict(plan),
        checks=in_order([*data, *data_checks(table, reference, delta)]),
        how_far=how_far(
            {name: [table.contrast(name, reference, S) for S in table.sparsities] for name in table.scorers}, delta, alpha=alpha
        )
        if table.is_dense(reference)
        else (),
        looks=None if counted is None else counted.outcome(tuple(looked)),
        searched=searched_study(setting, lambda S: None if counted is None else counted.kept(setting, S)),
    )


def _read(
    frame: pd.DataFrame, metric: str | Metric | None, asked: Asked
) -> tuple[pd.DataFrame, Metric, tuple[str, ...], tuple[DataCheck, ...]]:
    """The frame under the project's names, with what was assumed: a `Metric` says that it has them already."""
    import pandas as pd

    if isinstance(metric, Metric):
        return frame, metric, (), ()
    if not isinstance(frame, pd.DataFrame):
        return frame, ACCURACY, (), ()
    if asked == NOTHING and set(REQUIRED) <= set(frame.columns) and not says_its_metric(frame.columns):
        used = {*REQUIRED, *OPTIONAL, *of_searches(frame.columns, frame["scorer"])}
        checks = ignored_checks(frame, frame, used) + checkpoint_checks(frame, frame)
        return frame, replace(ACCURACY, example=example_of(frame.columns)), (), checks
    found = tidy(frame, asked)
    for text in found.assumed:
        warnings.warn(f"assumed: {text}", UserWarning, stacklevel=3)
    return found.frame, found.metric, found.assumed, found.checks + checkpoint_checks(frame.reset_index(drop=True), found.frame)


def _margin(delta: float | None, metric: Metric) -> float:
    if delta is None and metric.unit != ACCURACY.unit:
        raise ValueError(f"Expected `delta` in {metric.unit}: half a point is a default for accuracies alone")
    return 0.5 if delta is None else delta


def _check_reference(table: Table, reference: str) -> None:
    if reference == DENSE and reference in table.kappa and table.unpruned is not None:
        raise ValueError(
            "Expected the rows of 'dense' at sparsity 0 alone for reference 'dense', got others above 0 whose values differ from "
            "them: leave one of the two out"
        )
    if reference in table.kappa:
        return
    if reference == PLATEAU:
        if not table.rank_monotone:
            raise ValueError(
                "Expected scorers with kappa 0 in `frame` for reference 'plateau', got none; "
                "a column `kappa` says which scorers are rank-monotone"
            )
        return
    if reference == DENSE:
        if table.unpruned is None:
            raise ValueError(
                "Expected one dense network a seed in `frame` (rows at sparsity 0) for reference 'dense', got none or several"
            )
        return
    known = ", ".join([*table.scorers, *([PLATEAU] if table.rank_monotone else []), *([DENSE] if table.unpruned else [])])
    meant = nearest(reference, table.scorers)
    usual = likely_reference(table.scorers)
    if not meant and usual is not None:
        meant = f" ({usual!r} is the likely one)"
    raise ValueError(f"Expected `reference` among {known}, got {reference!r}{meant}")
