"""Claims of searched weights, pools and over-fitting: worked by hand, either way, and where a run lacks what they need."""

import numpy as np
import pandas as pd
import pytest

from sics_analysis.claims.scorecard import evaluate
from sics_analysis.claims.statement import Claim, paper_claims
from sics_analysis.report import ReportDocument, render, report_table
from sics_analysis.results import IMAGE_ACCURACY, Status
from sics_analysis.study.analyse import analyse

pytestmark = pytest.mark.filterwarnings("error", "ignore::sics_analysis.results.DataCheckWarning")

NOISE = np.array([0.03, -0.05, 0.02, 0.04, -0.04])
PAPER = {claim.id: claim for claim in paper_claims()}
#: Gains over magnitude in points, by S.
GAINS = {
    "fusion_orbit_200": 3.0,
    "fusion_smooth_orbit_200": 4.0,
    "fusion_both_orbit_200": 3.0,
    "fusion_information_200": 1.0,
    "fusion_orbit_1": 0.5,
    "magnitude/global": -8.0,
}
EVERYWHERE = (0.5, 0.6, 0.7, 0.8)


def frame(gains=GAINS, sparsities=EVERYWHERE, gaps=None, n=5, spread=1.0):
    """A run of these gains; `gaps` has what a search gains held out beyond that, by scorer and S."""
    rows = []
    for S in sparsities:
        for j, name in enumerate(["magnitude", *gains]):
            for i in range(n):
                gain = gains.get(name, 0.0) if name != "magnitude" else 0.0
                noise = 0.0 if name == "magnitude" else spread * np.resize(np.roll(NOISE, j), n)[i]
                own = 70 - 20 * S + i
                gap = (gaps or {}).get((name, S))
                held = (None, None) if gap is None else ((own + 5 + gain + noise + gap) / 100, (own + 5) / 100)
                rows.append((i, name, 0 if name == "magnitude" else None, S, (own + gain + noise) / 100, *held))
    columns = ["seed", "scorer", "kappa", "sparsity", "accuracy", "held_out", "held_out_reference"]
    return pd.DataFrame(rows, columns=columns).assign(pool="layer-rank")


def run(gains=GAINS, **options):
    return analyse(frame(gains, **options), draws=4_000, n_resamples=50)


def status(name, result):
    return evaluate(PAPER[name], result).status


@pytest.fixture(scope="module")
def whole():
    return run()


@pytest.mark.parametrize(
    "name",
    [
        "normalisation-gains",
        "normalisation-dominates",
        "equal-below-searched-0.7",
        "more-indicators-not-better",
        "complexity-pays-0.7",
    ],
)
def test_a_run_as_the_text_has_it_supports_it(whole, name):
    found = evaluate(PAPER[name], whole)
    assert found.status is Status.SUPPORTED, found.paragraph
    assert found.paragraph.startswith(f"{PAPER[name].statement} From ")


@pytest.mark.parametrize(
    ("name", "gains"),
    [
        ("normalisation-gains", {"magnitude/global": 2.0}),
        ("normalisation-dominates", {"magnitude/global": -1.0}),  # gains 1 by it, and the fusion 3
        ("equal-below-searched-0.7", {"fusion_orbit_1": 5.0}),
        ("more-indicators-not-better", {"fusion_both_orbit_200": 4.0}),
        ("complexity-pays-0.7", {"fusion_information_200": 4.0}),
        ("complexity-pays-0.8", {"fusion_information_200": 2.9}),
        ("fusion-adds-little-0.6", {}),
        ("equal-weights-size-0.7", {"fusion_orbit_1": -9.0}),
    ],
)
def test_a_run_that_has_it_otherwise_contradicts_it(name, gains):
    found = evaluate(PAPER[name], run({**GAINS, **gains}))
    assert found.status is Status.CONTRADICTED, found.paragraph


@pytest.mark.parametrize("name", ["normalisation-dominates", "more-indicators-not-better", "complexity-pays-0.7"])
def test_a_noisy_run_leaves_it_open(name):
    found = evaluate(PAPER[name], run({**dict.fromkeys(GAINS, 0.5), "magnitude/global": -0.5}, spread=60.0))
    assert found.status is Status.UNDECIDED
    assert not found.out_of_reach


def test_two_gains_are_set_against_each_other_seed_by_seed(whole):
    found = evaluate(PAPER["normalisation-dominates"], whole)
    at = found.findings[1]
    # 8 − 3 by the means, and the noise of both scorers at each seed; magnitude counts twice and cancels from the noise.
    pooled = -np.roll(NOISE, 6) - np.roll(NOISE, 1)
    assert at.estimate == pytest.approx(5.0 + pooled.mean())
    assert at.interval.width == pytest.approx(2 * 2.7764451 * pooled.std(ddof=1) / np.sqrt(5))
    assert "magnitude +8.00 over magnitude/global, fusion_orbit_200 +3.00 over magnitude, apart by +5.00 points" in at.text
    assert found.claimed == "magnitude − magnitude/global larger than fusion_orbit_200 − magnitude"


def test_complexity_pays_only_by_more_than_the_margin_over_its_own_control():
    """+4 over magnitude, and +0.3 over the same search of monotone features: the escape is not complexity's."""
    found = evaluate(PAPER["complexity-pays-0.7"], run({**GAINS, "fusion_information_200": 3.7}))
    assert found.status is Status.CONTRADICTED
    assert "+0.30 points" in found.paragraph
    assert "against fusion_information_200, shown below +0.5" in found.paragraph


def test_complexity_is_adjusted_over_the_readings_of_one_budget():
    """An unadjusted p just below α does not show it beside a second reading; one of another budget does not count."""
    values = 0.5 + np.array([0.62, 0.05, 0.45, -0.1, 0.5])

    def found(**others):
        rows = frame({"fusion_information_200": 0.0, "fusion_smooth_orbit_200": 0.0, **others}, (0.7,))
        control = rows.loc[rows["scorer"] == "fusion_information_200", "accuracy"].to_numpy()
        rows.loc[rows["scorer"] == "fusion_smooth_orbit_200", "accuracy"] = control + values / 100
        return evaluate(PAPER["complexity-pays-0.7"], analyse(rows, draws=20_000, n_resamples=50))

    alone = found()
    assert alone.status is Status.SUPPORTED
    assert 0.025 < alone.p <= 0.05
    assert found(fusion_orbit_50=0.0).p == alone.p
    assert found(fusion_orbit_200=0.0, fusion_rank_orbit_200=0.2).status is Status.UNDECIDED


def test_the_same_masks_as_the_other_are_not_better_and_no_complexity():
    rows = frame({"fusion_smooth_orbit_200": 1.0, "fusion_information_200": 1.0}, (0.7,), spread=0.0)
    rows["mask_hash"] = [
        ("m" if name == "magnitude" else "s") + str(i) for name, i in zip(rows["scorer"], rows["seed"], strict=True)
    ]
    result = analyse(rows, draws=500, n_resamples=50)
    bound = Claim("x", "nonsuperior", "s", "w", (0.7,), "fusion_smooth_orbit_200", None, "fusion_information_200")
    assert evaluate(bound, result).status is Status.SUPPORTED
    assert status("complexity-pays-0.7", result) is Status.CONTRADICTED
    part = analyse(rows[(rows["seed"] < 4) | (rows["scorer"] == "magnitude")], draws=500, n_resamples=50)
    for claim in (bound, PAPER["complexity-pays-0.7"]):
        found = evaluate(claim, part)
        assert found.status is Status.UNDECIDED
        assert found.out_of_reach


@pytest.mark.parametrize(("kind", "gain", "expected"), [
    ("noninferior", 1.0, Status.SUPPORTED),
    ("noninferior", -1.0, Status.CONTRADICTED),
    ("nonsuperior", -1.0, Status.SUPPORTED),
    ("nonsuperior", 1.0, Status.CONTRADICTED),
])  # fmt: skip
def test_bounds_against_another_scorer(kind, gain, expected):
    claim = Claim("x", kind, "s", "w", (0.7,), "fusion_orbit_200", None, "fusion_orbit_1")
    result = run({"fusion_orbit_200": 3.0 + gain, "fusion_orbit_1": 3.0}, sparsities=(0.7,))
    assert evaluate(claim, result).status is expected
    assert "against fusion_orbit_1, shown " in evaluate(claim, result).paragraph


OVERFIT = {("fusion_orbit_200", 0.5): 2.0, ("fusion_orbit_200", 0.8): 0.5, ("fusion_both_orbit_200", 0.5): 3.0}


def gap_run(gaps, wobble=True):
    """Gaps with a noise of their own, which those of a run without chance would not have."""
    rows = frame(gaps=gaps)
    if wobble:
        place = zip(rows["seed"], rows["scorer"], rows["sparsity"], strict=True)
        rows["held_out"] += [0.01 * NOISE[(3 * i + len(name) + round(10 * S)) % 5] for i, name, S in place]
    return analyse(rows, draws=500, n_resamples=50)


def test_the_search_overfits_as_the_text_has_it():
    result = gap_run(OVERFIT)
    for name, by in (("search-overfits-0.5", 2.0), ("search-overfits-more-at-0.5", 1.5), ("search-overfits-more-with-more", 1.0)):
        found = evaluate(PAPER[name], result)
        assert found.status is Status.SUPPORTED, found.paragraph
        assert found.estimate == pytest.approx(by, abs=0.1)
    assert (
        "gap of fusion_orbit_200 less that of fusion_orbit_200 at S = 0.8: "
        in evaluate(PAPER["search-overfits-more-at-0.5"], result).paragraph
    )


def test_a_search_that_gains_more_on_test_contradicts_it():
    result = gap_run({place: -gap for place, gap in OVERFIT.items()})
    for name in ("search-overfits-0.5", "search-overfits-more-at-0.5", "search-overfits-more-with-more"):
        assert status(name, result) is Status.CONTRADICTED


def test_no_gap_is_no_evidence_of_either():
    result = gap_run(dict.fromkeys(OVERFIT, 0.0))
    assert status("search-overfits-0.5", result) is Status.UNDECIDED


@pytest.mark.parametrize(
    ("name", "without", "needs"),
    [
        ("fusion-escapes-0.7", "fusion_smooth_orbit_200", "fusion_smooth_orbit_200"),
        ("normalisation-gains", "magnitude/global", "magnitude/global"),
        ("complexity-pays-0.7", "fusion_information_200", "fusion_information_200"),
        ("search-overfits-more-with-more", "fusion_both_orbit_200", "fusion_both_orbit_200"),
        (
            "search-overfits-0.5",
            None,
            "values of fusion_orbit_200 and of magnitude on held-out examples (held_out, held_out_reference)",
        ),
    ],
)
def test_a_claim_without_what_it_needs_is_not_tested_and_says_so(name, without, needs):
    rows = frame(gaps=OVERFIT)
    rows = rows.drop(columns="held_out") if without is None else rows[rows["scorer"] != without]
    found = evaluate(PAPER[name], analyse(rows, draws=500, n_resamples=50))
    assert found.status is Status.UNDECIDED
    assert found.out_of_reach
    assert f"Not tested: needs {needs}." in found.paragraph


def test_a_claim_of_a_class_takes_one_of_it(whole):
    assert "Not tested: needs a κ = 1 scorer." in evaluate(PAPER["smooth-size-0.7"], whole).paragraph


def test_a_gap_takes_a_scorer_as_reference():
    rows = frame({**GAINS, "power": 0.0}, gaps=OVERFIT)
    rows.loc[rows["scorer"] == "power", "kappa"] = 0
    found = evaluate(PAPER["search-overfits-0.5"], analyse(rows, reference="plateau", draws=500, n_resamples=50))
    assert "needs values of fusion_orbit_200 and of plateau on held-out examples" in found.paragraph


def test_a_gap_is_against_the_reference_whose_values_are_held_out():
    rows = frame({**GAINS, "log": 0.0}, gaps=OVERFIT)
    rows.loc[rows["scorer"] == "log", "kappa"] = 0
    rows["held_out_against"] = np.where(rows["held_out"].isna(), None, "magnitude")
    assert status("search-overfits-0.5", analyse(rows, draws=500, n_resamples=50)) is Status.SUPPORTED
    found = evaluate(PAPER["search-overfits-0.5"], analyse(rows, reference="log", draws=500, n_resamples=50))
    assert "Not tested: needs values of fusion_orbit_200 and of log on held-out examples" in found.paragraph


def test_complexity_is_what_the_report_says_of_the_same_split(whole):
    found = evaluate(PAPER["complexity-pays-0.7"], whole)
    line = next(gain for gain in whole.searched.gains if (gain.scorer, gain.sparsity) == ("fusion_smooth_orbit_200", 0.7)).line
    assert (found.p, found.estimate) == (line.p_escape_adjusted, line.complexity.mean)


def test_a_control_that_was_searched_otherwise_says_nothing_of_complexity():
    rows = frame(gaps={("fusion_smooth_orbit_200", 0.7): 1.0, ("fusion_information_200", 0.7): 1.0})
    rows["held_out_n"] = np.where(rows["scorer"] == "fusion_information_200", 100, 197)
    found = evaluate(PAPER["complexity-pays-0.7"], analyse(rows, draws=500, n_resamples=50))
    assert found.status is Status.UNDECIDED
    assert found.out_of_reach
    assert "fusion_information_200 is no matched control: " in found.paragraph


def test_a_report_shows_each_claim_that_its_rows_test_with_its_source_and_names_the_others():
    rows = frame({"fusion_smooth_orbit_200": 4.1, "fusion_orbit_200": 3.0}, (0.7, 0.8), n=6)
    document = report_table(rows, metric=IMAGE_ACCURACY, draws=1_000, n_resamples=50)
    shown = {claim.id: claim for claim in document.claims}
    assert {"fusion-escapes-0.7", "fusion-size-0.7", "fusion-size-0.8", "fusion-smooth-below-0.8"} <= set(shown)
    size = shown["fusion-size-0.7"]  # magnitude has 58.5 on average, of which 6.6 % are 3.86
    assert (size.source, size.outcome) == ("review", "supported in percent, contradicted in points")
    assert [round(reading.points, 2) for reading in size.readings] == [6.6, 3.86]
    (note,) = (note for note in document.notes if note.startswith("Claims of the paper not tested on these rows: "))
    assert "normalisation-gains, normalisation-dominates (need magnitude/global)" in note
    assert "fusion-size-0.7" not in note
    page = render(document, "md")
    assert "| fusion-size-0.7 | +6.6 points or +6.6 % | 0.7 | 6 | " in page
    assert "| ✓ supported in percent, contradicted in points | review |" in page
    assert ReportDocument.from_dict(document.to_dict()) == document


def test_claims_name_what_they_need():
    assert PAPER["normalisation-dominates"].scorers == ("magnitude", "magnitude/global", "fusion_orbit_200")
    assert PAPER["fusion-smooth-below-0.8"].scorers == ("fusion_smooth_orbit_200",)
    assert PAPER["search-overfits-more-at-0.5"].places == (0.5, 0.8)
