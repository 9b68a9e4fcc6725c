import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sics_analysis.claims.scorecard import ClaimResult, check_claim, evaluate, evaluate_all
from sics_analysis.claims.statement import Claim, load_claims, paper_claims, parse_claim
from sics_analysis.results import Result, Status, Verdict
from sics_analysis.study.analyse import analyse
from sics_analysis.study.outcome import Analysis

pytestmark = pytest.mark.filterwarnings("error", "ignore::sics_analysis.results.DataCheckWarning")

KAPPA: dict[str, int | None] = {
    "magnitude": 0,
    "power": 0,
    "log": 0,
    "bump": 1,
    "smooth_chaos": 1,
    "chaos": 2,
    "fake": None,
    "gradient": None,
}
#: What the ids of claims begin with that are about searched weights and other pools.
NEW = ("fusion", "equal", "normalisation", "more", "search", "complexity")
FLAT = np.array([0.03, -0.05, 0.02, 0.04, -0.04])
NOISY = np.array([2.0, -1.5, 1.2, -0.6, 0.9])
AS_CLAIMED = {
    0.5: {"fake": -1.0, "gradient": 0.0},
    0.6: {"fake": -1.0, "gradient": 0.0},
    0.7: {"smooth_chaos": 4.6, "bump": 0.6, "chaos": 0.0, "fake": -9.0, "gradient": 1.0},
    0.8: {"smooth_chaos": -3.0, "bump": -4.0, "chaos": 2.6, "fake": -9.0, "gradient": 1.0},
}


def rows(effects: dict[float, dict[str, float]], spread: float = 1.0, noise: np.ndarray = FLAT) -> pd.DataFrame:
    """A run whose scorers differ from magnitude by `effects` points, with a small spread of its own for each."""
    found = []
    for S, of in effects.items():
        for j, (name, kappa) in enumerate(KAPPA.items()):
            for i in range(5):
                own = 0.0 if name == "magnitude" else spread * float(np.roll(noise, j)[i])
                found.append((i, name, kappa, S, 0.80 - 0.1 * S + 0.01 * i + (of.get(name, 0.0) + own) / 100))
    return pd.DataFrame(found, columns=["seed", "scorer", "kappa", "sparsity", "accuracy"])


def analysis(effects: dict[float, dict[str, float]], spread: float = 1.0, noise: np.ndarray = FLAT, **options: Any) -> Analysis:
    return analyse(rows(effects, spread, noise), draws=5_000, **options)


def status(text: str, result: Analysis) -> Status:
    return evaluate(parse_claim(text), result).status


def test_a_run_as_the_paper_describes_it_supports_the_paper() -> None:
    found = {r.claim.id: r for r in evaluate_all(analysis(AS_CLAIMED))}
    # 6.6 points for the best smooth feature and 4.6 for the chaos-derived one cannot both hold with these scorers.
    assert found.pop("smooth-size-0.7").outcome == "undecided in percent, contradicted in points"
    assert found.pop("raw-size-0.8").outcome == "supported in points, contradicted in percent"
    untested = [name for name, r in found.items() if "Not tested: needs " in r.paragraph]
    assert {name for name in found if name.split("-")[0] in NEW} == set(untested)
    found = {name: r for name, r in found.items() if name not in untested}
    assert {name: str(r.status) for name, r in found.items()} == dict.fromkeys(found, "supported")


def test_a_flat_run_contradicts_the_escapes_and_supports_the_plateau() -> None:
    result = analysis({S: {} for S in AS_CLAIMED})
    found = {r.claim.id: r.status for r in evaluate_all(result)}
    assert found["plateau"] is Status.SUPPORTED
    assert found["kappa0-below-0.65"] is Status.SUPPORTED
    for name in ("kappa1-at-0.7", "kappa2-at-0.8", "smooth-size-0.7", "raw-size-0.8", "chaos-derived-size"):
        assert found[name] is Status.CONTRADICTED


def test_a_noisy_run_decides_nothing() -> None:
    found = evaluate_all(analysis({S: {} for S in AS_CLAIMED}, noise=NOISY))
    for result in found:
        if result.claim.kind != "size" and result.claim.id != "plateau":
            assert result.status is Status.UNDECIDED, result.paragraph
            assert result.p is None
            said = "Not tested: needs " if result.out_of_reach else "Undecided: neither it nor its opposite is shown."
            assert said in result.paragraph


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("escape:chaos@0.8", Status.SUPPORTED),
        ("escape:chaos@0.7", Status.CONTRADICTED),
        ("escape:power@0.7", Status.CONTRADICTED),
        ("escape:nobody@0.7", Status.UNDECIDED),
        ("escape:chaos@0.9", Status.UNDECIDED),
        ("escape:magnitude@0.7", Status.UNDECIDED),
        ("kappa@0.5=0", Status.SUPPORTED),
        ("kappa@0.7=1", Status.SUPPORTED),
        ("kappa@0.7=0", Status.CONTRADICTED),
        ("kappa@0.7=2", Status.CONTRADICTED),
        ("kappa@0.8=2", Status.SUPPORTED),
        ("plateau@0.7", Status.SUPPORTED),
        ("plateau@0.9", Status.UNDECIDED),
        ("noninferior:chaos@0.8", Status.SUPPORTED),
        ("nonsuperior:chaos@0.8", Status.CONTRADICTED),
        ("noninferior:fake@0.8", Status.CONTRADICTED),
        ("nonsuperior:fake@0.8", Status.SUPPORTED),
        ("noninferior:power@0.7", Status.SUPPORTED),
        ("nonsuperior:power@0.7", Status.SUPPORTED),
        ("noninferior:nobody@0.7", Status.UNDECIDED),
    ],
)
def test_the_grammar_against_a_known_run(text: str, expected: Status) -> None:
    assert status(text, analysis(AS_CLAIMED)) is expected


def test_the_plateau_is_contradicted_only_by_a_line_shown_beyond_the_margin() -> None:
    assert status("plateau@0.7", analysis({0.7: {"power": 2.0}})) is Status.CONTRADICTED
    assert status("plateau@0.7", analysis({0.7: {"power": -2.0}})) is Status.CONTRADICTED
    assert status("plateau@0.7", analysis({0.7: {}}, noise=NOISY)) is Status.UNDECIDED
    # Significantly different from zero, and within the margin: still the plateau.
    assert status("plateau@0.7", analysis({0.7: {"power": 0.2}})) is Status.SUPPORTED


def test_a_plateau_of_identical_masks_needs_no_p() -> None:
    frame = rows({0.7: {}}, spread=0.0)
    frame["mask_hash"] = [
        f"{'m' if k == 0 else name}{i}" for i, name, k in zip(frame["seed"], frame["scorer"], frame["kappa"], strict=True)
    ]
    result = evaluate(parse_claim("plateau@0.7"), analyse(frame, draws=1_000))
    assert result.status is Status.SUPPORTED
    assert result.p is None
    assert "identical masks" in result.paragraph


def test_identical_masks_contradict_an_escape() -> None:
    frame = rows({0.7: {}}, spread=0.0)
    frame["mask_hash"] = [f"same{i}" for i in frame["seed"]]
    result = evaluate(parse_claim("escape:chaos@0.7"), analyse(frame, draws=1_000))
    assert result.status is Status.CONTRADICTED
    assert result.p is None
    below = Claim("x", "below", "s", "w", (0.7,), scorer="chaos", than="gradient")
    assert evaluate(below, analyse(frame, draws=1_000)).status is Status.CONTRADICTED


def test_constant_differences_are_the_evidence_of_their_exact_p() -> None:
    frame = rows({0.7: {"chaos": 2.0}}, spread=0.0)
    result = analyse(frame, draws=1_000)
    # Five seeds: 1/32 for each line, but Holm over the family of several leaves nothing that escapes.
    assert len(result.family(0.7).members) > 1
    assert status("escape:chaos@0.7", result) is Status.UNDECIDED
    assert status("noninferior:chaos@0.7", result) is Status.SUPPORTED
    assert status("nonsuperior:chaos@0.7", result) is Status.CONTRADICTED
    assert status("plateau@0.7", result) is Status.SUPPORTED  # 1/32 on both sides of every line
    size = Claim("x", "size", "s", "w", (0.7,), scorer="chaos", points=9.0)
    assert evaluate(size, result).status is Status.UNDECIDED
    below = Claim("x", "below", "s", "w", (0.7,), scorer="fake", than="chaos")
    assert evaluate(below, result).status is Status.SUPPORTED
    few = analyse(frame[frame["seed"].isin([0, 1, 2])], draws=1_000)
    for text in ("escape:chaos@0.7", "noninferior:chaos@0.7", "nonsuperior:chaos@0.7", "plateau@0.7"):
        assert status(text, few) is Status.UNDECIDED, text
    assert evaluate(below, few).status is Status.UNDECIDED


def size_claim(points: float, **of: Any) -> Claim:
    return Claim("x", "size", "s", "w", (0.7,), points=points, **of)


def test_a_size_is_compared_within_delta_by_the_simultaneous_interval() -> None:
    result = analysis({0.7: {"smooth_chaos": 4.6}})
    interval = result.line("smooth_chaos", 0.7).simultaneous
    assert interval is not None
    for points in np.arange(3.0, 6.2, 0.1):
        found = evaluate(size_claim(float(points), scorer="smooth_chaos"), result)
        inside = points - 0.5 <= interval.low and interval.high <= points + 0.5
        apart = interval.high < points - 0.5 or interval.low > points + 0.5
        assert found.status is (Status.SUPPORTED if inside else Status.CONTRADICTED if apart else Status.UNDECIDED)
        assert found.interval == interval
        assert found.estimate == pytest.approx(result.line("smooth_chaos", 0.7).contrast.mean)


def test_the_size_of_a_class_gives_an_interval_for_its_largest_difference_and_no_mean() -> None:
    result = analysis({0.7: {"smooth_chaos": 4.6, "bump": 4.4}})
    found = evaluate(size_claim(4.6, kappa=1), result)
    parts = [result.line(name, 0.7).simultaneous for name in ("bump", "smooth_chaos")]
    assert found.interval is not None
    assert found.interval.low == max(p.low for p in parts if p is not None)
    assert found.interval.high == max(p.high for p in parts if p is not None)
    assert found.estimate is None
    assert found.status is Status.SUPPORTED
    assert evaluate(size_claim(4.6, scorer="nobody"), result).status is Status.UNDECIDED


def test_below_needs_every_scorer_below_and_one_above_to_contradict() -> None:
    def below(effects: dict[str, float], **options: Any) -> Status:
        claim = Claim("x", "below", "s", "w", (0.8,), kappa=1, than="reference")
        return evaluate(claim, analysis({0.8: effects}, **options)).status

    assert below({"bump": -1.0, "smooth_chaos": -2.0}) is Status.SUPPORTED
    assert below({"bump": -1.0, "smooth_chaos": 0.0}, noise=NOISY / 10) is Status.UNDECIDED
    assert below({"bump": -1.0, "smooth_chaos": 1.0}) is Status.CONTRADICTED


def test_a_claim_on_several_sparsities_needs_them_all_and_one_refutes_it() -> None:
    claim = next(c for c in paper_claims() if c.id == "fake-below-gradient")
    everywhere = {S: {"fake": -3.0} for S in claim.sparsities}
    assert evaluate(claim, analysis(everywhere)).status is Status.SUPPORTED
    once = evaluate(claim, analysis({**everywhere, 0.6: {"fake": 3.0}}))
    assert once.status is Status.CONTRADICTED
    assert once.decisive.sparsity == 0.6
    unmeasured = evaluate(claim, analysis({S: {"fake": -3.0} for S in (0.5, 0.6, 0.7)}))
    assert unmeasured.status is Status.UNDECIDED
    assert "At S = 0.8: not measured in this run; supported at S = 0.5, 0.6, 0.7: " in unmeasured.paragraph


def test_contradictions_pay_for_the_number_of_chances() -> None:
    """One-sided p of 0.02 alone would contradict; of two lines or scorers, and two sides, it does not."""
    values = np.array([2.4, 1.0, 1.6, 0.6, 2.2])

    def with_differences(scorer: str, d: np.ndarray) -> Analysis:
        frame = rows({0.7: {"smooth_chaos": -1.0}})
        reference = frame.loc[frame["scorer"] == "magnitude", "accuracy"].to_numpy()
        frame.loc[frame["scorer"] == scorer, "accuracy"] = reference + d / 100
        return analyse(frame, draws=1_000)

    beyond = with_differences("power", values)
    p = beyond.line("power", 0.7).p_escape
    assert p is not None
    assert 0.0125 < p <= 0.025
    assert status("plateau@0.7", beyond) is Status.UNDECIDED
    above = with_differences("bump", values - 0.8)
    p = above.line("bump", 0.7).p_superior
    assert p is not None
    assert 0.025 < p <= 0.05
    claim = Claim("x", "below", "s", "w", (0.7,), kappa=1, than="reference")
    assert evaluate(claim, above).status is Status.UNDECIDED
    alone = Claim("x", "below", "s", "w", (0.7,), scorer="bump", than="reference")
    assert evaluate(alone, above).status is Status.CONTRADICTED


def test_the_noise_floor_leaves_claims_undecided() -> None:
    result = analysis(AS_CLAIMED, noise_floor=1.0)
    halves = ("noninferior:chaos@0.8", "nonsuperior:fake@0.8")
    for text in ("plateau@0.7", "escape:chaos@0.8", "kappa@0.7=1", "fake-below-gradient", "bump-size", *halves):
        found = evaluate(parse_claim(text), result)
        assert found.status is Status.UNDECIDED
        assert "noise floor" in found.paragraph


def test_the_papers_claims_are_about_the_plateau() -> None:
    result = analysis(AS_CLAIMED, reference="gradient")
    found = {r.claim.id: r for r in evaluate_all(result)}
    for name in ("plateau", "kappa1-at-0.7", "bump-size", "smooth-below-0.8"):
        assert found[name].status is Status.UNDECIDED
        assert "reference 'gradient' is not rank-monotone" in found[name].paragraph
    assert found["fake-below-gradient"].status is Status.SUPPORTED
    pooled = {r.claim.id: r.status for r in evaluate_all(analysis(AS_CLAIMED, reference="plateau"))}
    assert pooled["kappa1-at-0.7"] is Status.SUPPORTED


def test_without_kappa_the_plateau_is_what_the_names_say_and_the_paper_stays_undecided() -> None:
    frame = rows({S: {} for S in AS_CLAIMED}).drop(columns="kappa")
    result = analyse(frame, draws=1_000)
    found = evaluate(parse_claim("plateau@0.7"), result)
    assert found.status is Status.SUPPORTED
    assert "log, power, taken as rank-monotone by name" in found.paragraph
    assert status("plateau", result) is Status.UNDECIDED
    assert status("kappa@0.7=1", result) is Status.UNDECIDED
    # A control far below says nothing of the plateau, a scorer of it does.
    assert status("plateau@0.7", analyse(rows({0.7: {"fake": -5.0}}).drop(columns="kappa"), draws=1_000)) is Status.SUPPORTED
    assert status("plateau@0.7", analyse(rows({0.7: {"log": -5.0}}).drop(columns="kappa"), draws=1_000)) is Status.CONTRADICTED
    nobody = evaluate(parse_claim("plateau@0.7"), analyse(frame[~frame["scorer"].isin(["power", "log"])], draws=1_000))
    assert nobody.status is Status.UNDECIDED
    assert "no column kappa says which others" in nobody.paragraph


@pytest.mark.parametrize("with_kappa", [True, False])
def test_no_claim_about_the_plateau_is_decided_against_a_reference_that_is_not_on_it(with_kappa: bool) -> None:
    frame = rows({0.7: {"smooth_chaos": 4.6, "bump": 0.6, "fake": 0.0}})
    frame = frame if with_kappa else frame.drop(columns="kappa")
    result = analyse(frame, reference="fake", draws=1_000)  # 4.6 points below smooth_chaos, as the paper has the plateau
    for text in ("escape:smooth_chaos@0.7", "plateau@0.7", "chaos-derived-size", "bump-size"):
        found = evaluate(parse_claim(text), result)
        assert found.status is Status.UNDECIDED, found.paragraph
        assert "reference 'fake' is not rank-monotone" in found.paragraph
    assert status("escape:smooth_chaos@0.7", analyse(frame, reference="log", draws=1_000)) is Status.SUPPORTED


def with_masks(frame: pd.DataFrame, same: tuple[str, ...]) -> pd.DataFrame:
    """Masks of the scorers named are those of magnitude, with its accuracies."""
    reference = frame[frame["scorer"] == "magnitude"].set_index("seed")["accuracy"]
    own = frame["scorer"].isin((*same, "magnitude"))
    frame["accuracy"] = np.where(own, frame["seed"].map(reference), frame["accuracy"])
    frame["mask_hash"] = [f"{'m' if o else name}{i}" for o, i, name in zip(own, frame["seed"], frame["scorer"], strict=True)]
    return frame


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
def test_an_identity_at_some_seeds_of_the_run_decides_nothing(kept: int) -> None:
    frame = with_masks(rows({0.7: {}}), ("power", "log", "chaos"))
    whole = analyse(frame, draws=1_000)
    below = Claim("x", "below", "s", "w", (0.7,), scorer="chaos", than="magnitude")
    size = size_claim(4.0, scorer="chaos")
    for claim in (parse_claim("escape:chaos@0.7"), below, size):
        assert evaluate(claim, whole).status is Status.CONTRADICTED
    halves = [parse_claim("noninferior:chaos@0.7"), parse_claim("nonsuperior:chaos@0.7")]
    assert [evaluate(claim, whole).status for claim in halves] == [Status.SUPPORTED] * 2
    assert status("plateau@0.7", whole) is Status.SUPPORTED
    part = analyse(frame[(frame["seed"] < kept) | ~frame["scorer"].isin(["power", "chaos"])], draws=1_000)
    for claim in (parse_claim("escape:chaos@0.7"), parse_claim("plateau@0.7"), below, size, *halves):
        found = evaluate(claim, part)
        assert found.status is Status.UNDECIDED, found.paragraph
    counted = "of the 5 seeds" if kept >= 3 else "it takes 3"
    assert counted in evaluate(parse_claim("plateau@0.7"), part).paragraph
    assert counted in evaluate(parse_claim("escape:chaos@0.7"), part).paragraph


def test_an_identity_at_some_seeds_is_no_proof_for_kappa_either() -> None:
    frame = with_masks(rows({0.7: {"chaos": 3.0}}), ("bump",))
    assert status("kappa@0.7=2", analyse(frame, draws=1_000)) is Status.SUPPORTED
    part = frame[(frame["seed"] < 2) | (frame["scorer"] != "bump")]
    assert status("kappa@0.7=2", analyse(part, draws=1_000)) is Status.UNDECIDED


def test_a_plateau_or_a_refuted_escape_rests_on_every_seed_of_the_run() -> None:
    frame = rows({0.7: {}})
    whole = analyse(frame, draws=1_000)
    assert (status("plateau@0.7", whole), status("escape:chaos@0.7", whole)) == (Status.SUPPORTED, Status.CONTRADICTED)
    part = analyse(frame[(frame["seed"] < 4) | ~frame["scorer"].isin(["power", "chaos"])], draws=1_000)
    for text in ("plateau@0.7", "escape:chaos@0.7", "noninferior:chaos@0.7", "nonsuperior:chaos@0.7"):
        found = evaluate(parse_claim(text), part)
        assert found.status is Status.UNDECIDED
        assert "4 of the 5 seeds of the run" in found.paragraph


def test_a_pooled_plateau_is_every_pair_of_its_scorers() -> None:
    """Scorers 0.9 apart lie 0.45 from their mean each: inside ±0.5, and on no one plateau."""
    only = {"magnitude", "power", "chaos"}

    def pooled(apart: float, names: set[str] = only) -> ClaimResult:
        frame = rows({0.7: {"power": apart}}, spread=0.5)
        frame = frame[frame["scorer"].isin(names)]
        return evaluate(parse_claim("plateau@0.7"), analyse(frame, reference="plateau", draws=1_000))

    assert pooled(0.9).status is Status.CONTRADICTED
    assert pooled(0.1).status is Status.SUPPORTED
    assert "power − magnitude" in pooled(0.1).paragraph
    alone = pooled(0.0, {"magnitude", "chaos"})
    assert alone.status is Status.UNDECIDED
    assert "it takes a second κ = 0 scorer, the rows have magnitude" in alone.paragraph


def test_below_names_the_scorer_that_is_shown_above_and_not_the_largest() -> None:
    frame = rows({0.8: {"bump": 5.0, "smooth_chaos": 1.0}})
    bump = frame["scorer"] == "bump"
    frame.loc[bump, "accuracy"] += np.array([20.0, -20.0, 15.0, -18.0, 3.0]) / 100
    claim = next(c for c in paper_claims() if c.id == "smooth-below-0.8")
    found = evaluate(claim, analyse(frame, draws=1_000))
    assert found.status is Status.CONTRADICTED
    assert "of which smooth_chaos is shown above" in found.paragraph


def test_a_margin_as_large_as_the_claim_supports_no_size() -> None:
    frame = rows({S: {} for S in AS_CLAIMED})
    for result in (analyse(frame, delta=7.0, draws=1_000), analyse(frame, delta=4.6, draws=1_000)):
        found = evaluate(parse_claim("chaos-derived-size"), result)
        assert found.status is Status.UNDECIDED, found.paragraph
        assert "cannot tell the claimed +4.6 from 0" in found.paragraph
    far = analyse(rows({0.7: {"smooth_chaos": -12.0}}), delta=7.0, draws=1_000)
    assert status("chaos-derived-size", far) is Status.CONTRADICTED


@pytest.mark.parametrize("sign", [1, -1])
def test_a_size_is_supported_only_when_its_interval_excludes_zero_on_the_claimed_side(sign: int) -> None:
    claim = size_claim(0.6 * sign, scorer="bump")
    near = evaluate(claim, analysis({0.7: {"bump": 0.15 * sign}}, spread=3.0))
    assert near.status is Status.UNDECIDED
    assert near.interval is not None
    assert 0.0 in near.interval
    inside = evaluate(claim, analysis({0.7: {"bump": 0.6 * sign}}))
    assert inside.status is Status.SUPPORTED
    zero = evaluate(size_claim(0.0, scorer="bump"), analysis({0.7: {}}))
    assert zero.status is Status.SUPPORTED


def test_estimate_seeds_and_interval_of_a_claim_are_of_one_line() -> None:
    """smooth_chaos has ten seeds, bump five; the estimate must lie in its own interval."""
    first, second = 4.6 + FLAT, -8.0 + 20 * FLAT
    found = []
    for i in range(10):
        found.append((i, "magnitude", 0, 0.7, 0.6))
        found.append((i, "smooth_chaos", 1, 0.7, 0.6 + float(np.concatenate([first, second])[i]) / 100))
        if i < 5:
            found.append((i, "bump", 1, 0.7, 0.606 + float(np.roll(FLAT, 1)[i]) / 100))
    frame = pd.DataFrame(found, columns=["seed", "scorer", "kappa", "sparsity", "accuracy"])
    result = analyse(frame, draws=2_000)
    for claim in (size_claim(4.6, scorer="smooth_chaos"), size_claim(0.6, scorer="bump")):
        answer = evaluate(claim, result)
        member = result.family(0.7).escape[claim.scorer or ""]
        assert (answer.estimate, answer.interval, answer.n) == (member.mean, member.simultaneous, member.n)
        assert answer.interval is not None
        assert answer.estimate is not None
        assert answer.estimate in answer.interval
    escape = evaluate(parse_claim("escape:smooth_chaos@0.7"), result)
    member = result.family(0.7).escape["smooth_chaos"]
    assert (escape.estimate, escape.interval, escape.n) == (member.mean, member.simultaneous, member.n)


def test_results_are_plain_rows_without_nan_and_follow_the_protocol() -> None:
    for noise in (FLAT, NOISY):
        for result in evaluate_all(analysis(AS_CLAIMED, noise=noise)):
            assert isinstance(result, ClaimResult)
            assert isinstance(result, Result)
            json.dumps(result.to_row(), allow_nan=False)
            assert result.paragraph.startswith(result.claim.statement)
            assert not re.search(r"\bnan\b", result.paragraph)
            assert result.status.name in ("SUPPORTED", "CONTRADICTED", "UNDECIDED")
            if result.interval is not None:
                assert result.confidence_interval(result.interval.level) == result.interval
                assert result.confidence_interval(0.5) is None


def test_every_claim_of_the_issue_is_in_the_file() -> None:
    claims = {claim.id: claim for claim in paper_claims()}
    assert claims["plateau"].sparsities == (0.5, 0.6, 0.7, 0.8)
    assert (claims["kappa0-below-0.65"].kappa, claims["kappa0-below-0.65"].sparsities) == (0, (0.5, 0.6))
    assert (claims["smooth-size-0.7"].points, claims["raw-size-0.8"].points) == (6.6, 2.6)
    assert (claims["kappa2-at-0.8"].kappa, claims["smooth-below-0.8"].kappa) == (2, 1)
    assert (claims["fake-below-gradient"].scorer, claims["fake-below-gradient"].than) == ("fake", "gradient")
    assert (claims["bump-size"].points, claims["chaos-derived-size"].points) == (0.6, 4.6)
    assert all("2605.09345" in claim.where for claim in claims.values())
    assert {claim.source for claim in claims.values()} == {"abstract", "review"}
    assert all(claim.where.startswith("a public review of the text of") for claim in claims.values() if claim.source == "review")
    # Percentages are open, fractions are points.
    both = {claim.id for claim in claims.values() if claim.points is not None and claim.percent is not None}
    assert both == {claim.id for claim in claims.values() if claim.kind == "size" and "%" in claim.statement}


def test_the_page_on_fusion_has_every_claim_about_it_and_no_other() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "fusion.md").read_text(encoding="utf-8")
    table = page.split("## What the paper claims of it")[1]
    named = set(
        re.findall(r"`([a-z]+(?:-[a-z0-9.]+)+)`", "\n".join(row.split("|")[1] for row in table.splitlines() if row[:1] == "|"))
    )
    about = {c.id for c in paper_claims() if any(name.startswith("fusion_") or "/" in name for name in c.scorers)}
    assert named == about


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plateau@",
        "plateau@1.5",
        "plateau@0",
        "plateau@0.7.1",
        "kappa@0.7",
        "kappa@0.7=3",
        "escape:@0.7",
        "noninferior:@0.7",
        "inferior:chaos@0.7",
        "nonsense",
    ],
)
def test_what_the_grammar_does_not_know_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="claim") as error:
        parse_claim(text)
    assert "\n" not in str(error.value)


GOOD = {"id": "x", "kind": "size", "statement": "s", "source": "here", "sparsities": [0.7], "scorer": "bump", "points": 1.0}
HEAD = 'schema = 2\n[source]\nhere = "a paper"\n'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "guess"}, "`kind` of claim 'x'"),
        ({"id": ""}, "an `id`"),
        ({"points": None}, "fields points or percent in claim 'x'"),
        ({"source": None}, "fields source in claim 'x'"),
        ({"source": "hearsay"}, "`source` of claim 'x' among here, got 'hearsay'"),
        ({"percent": "6.6"}, "`percent` of claim 'x' as a number, got '6.6'"),
        ({"than": "chaos"}, "known fields"),
        (
            {"kind": "escape", "points": None, "scorer": "fusion_orbit_50", "than": "fusion_information_200"},
            "`than` of claim 'x' of kind escape as the control that had the same search",
        ),
        ({"kind": "overfit", "points": None, "sparsities": [0.5, 0.7]}, "one sparsity"),
        ({"kind": "overfit", "points": None, "than_sparsity": 0.7}, "`than_sparsity` of claim 'x' in .* got 0.7"),
        ({"kind": "larger", "points": None, "scorer": None, "gain": ["a", "b"]}, "fields than_gain in claim 'x'"),
        (
            {"kind": "larger", "points": None, "scorer": None, "gain": ["a"], "than_gain": ["a", "b"]},
            "`gain` of claim 'x' as two",
        ),
        ({"scorer": None}, "one of kappa, scorer"),
        ({"kappa": 1}, "one of kappa, scorer"),
        ({"colour": "red"}, "known fields"),
        ({"sparsities": []}, "`sparsities`"),
        ({"sparsities": [0.7, 0.5]}, "`sparsities`"),
        ({"sparsities": [0.5, 0.7]}, "one sparsity"),
        ({"scorer": None, "kappa": 0}, "`kappa` of claim 'x' among 1, 2"),
    ],
)
def test_a_bad_claims_file_is_named(change: dict[str, Any], message: str) -> None:
    entry = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    text = f"{HEAD}[[claim]]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in entry.items())
    with pytest.raises(ValueError, match=message):
        load_claims(text)


def test_the_file_needs_its_schema_and_unique_ids() -> None:
    entry = "[[claim]]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in GOOD.items())
    assert load_claims(HEAD + entry)[0].points == 1.0
    with pytest.raises(ValueError, match="schema"):
        load_claims(entry)
    with pytest.raises(ValueError, match="x again"):
        load_claims(f"{HEAD}{entry}\n{entry}")


def test_the_paragraph_says_the_setting_nowhere_and_equal_findings_once() -> None:
    found = evaluate(parse_claim("plateau"), analysis(AS_CLAIMED))
    assert found.paragraph.endswith("(5 seeds).")
    assert found.paragraph.count("5 seeds") == 1
    assert "α =" not in found.paragraph
    assert "At S = 0.5, 0.6, 0.7, 0.8: log, power: within ±0.5" in found.paragraph
    assert found.explanation.startswith("at S = 0.5, 0.6, 0.7, 0.8: log, power")


def test_every_sparsity_that_decides_is_named() -> None:
    below = next(claim for claim in paper_claims() if claim.id == "fake-below-gradient")
    effects = {0.5: {"fake": 3.0}, 0.6: {"fake": -3.0}, 0.7: {"fake": 2.0}, 0.8: {}}
    found = evaluate(below, analysis(effects))
    assert found.status is Status.CONTRADICTED
    assert [finding.sparsity for finding in found.deciding] == [0.5, 0.7]
    assert found.to_row()["deciding"] == "0.5, 0.7"
    assert "At S = 0.5: fake +3.00" in found.paragraph
    assert "; at S = 0.7: fake +2.00" in found.paragraph
    assert "; undecided at S = 0.8: fake" in found.paragraph
    assert "; supported at S = 0.6: fake −3.00" in found.paragraph
    assert found.paragraph.index("0.7:") < found.paragraph.index("undecided") < len(found.paragraph)
    assert "S = 0.5" in found.explanation
    assert "S = 0.8" not in found.explanation
    kappa = evaluate(parse_claim("kappa0-below-0.65"), analysis({S: {} for S in AS_CLAIMED}, noise=NOISY))
    assert [finding.sparsity for finding in kappa.deciding] == [0.5, 0.6]
    assert "At S = 0.5, 0.6: the data leave κ = 0, 1 or 2 (5 seeds)." in kappa.paragraph


def test_findings_on_different_seeds_name_them_each() -> None:
    frame = rows({0.7: {"fake": -3.0}, 0.8: {"fake": -3.0}})
    frame = frame[(frame["sparsity"] != 0.8) | (frame["seed"] != 4)]
    claim = Claim("x", "below", "It is so.", "here", (0.7, 0.8), scorer="fake", than="gradient")
    found = evaluate(claim, analyse(frame, draws=500))
    assert re.fullmatch(r"It is so\. Supported\. At S = 0\.7: .* \(5 seeds\); at S = 0\.8: .* \(4 seeds\)\.", found.paragraph)
    assert found.findings[1].describe().startswith("at S = 0.8: fake −3.00")
    assert found.findings[1].describe().endswith("(4 seeds)")
    missing = evaluate(parse_claim("escape:chaos@0.9"), analyse(frame, draws=500))
    assert missing.findings[0].describe() == "at S = 0.9: not measured in this run"
    assert "seed" not in missing.explanation


def test_a_gate_on_a_scorer_that_is_not_there_is_a_slip() -> None:
    result = analysis(AS_CLAIMED)
    with pytest.raises(ValueError, match=r"^Expected a scorer among .*chaos.* in 'escape:typo@0.7', got 'typo'.*not among"):
        check_claim(parse_claim("escape:typo@0.7"), result)
    with pytest.raises(ValueError, match="got 'magnitude', which is the reference"):
        check_claim(parse_claim("escape:magnitude@0.7"), result)
    for text in ("escape:chaos@0.7", "escape:chaos@0.75", "plateau@0.7", "kappa@0.7=1", "fake-below-gradient"):
        check_claim(parse_claim(text), result)
    no_fake = rows(AS_CLAIMED)
    check_claim(parse_claim("fake-below-gradient"), analyse(no_fake[no_fake["scorer"] != "fake"], draws=500))


def test_a_pool_that_is_no_plateau_is_no_reference() -> None:
    """power 6 points low drags the pool down by 2, and lifts chaos above it: that says nothing of the plateau."""
    dragged = analysis({0.7: {"power": -6.0}}, reference="plateau")
    assert dragged.line("chaos", 0.7).verdict is Verdict.ESCAPES
    for text in ("escape:chaos@0.7", "kappa@0.7=2", "bump-size"):
        found = evaluate(parse_claim(text), dragged)
        assert found.status is Status.UNDECIDED
        assert "the pooled κ = 0 scorers share no plateau: " in found.paragraph
    assert status("plateau@0.7", dragged) is Status.CONTRADICTED
    than_scorer = next(claim for claim in paper_claims() if claim.id == "bump-below-chaos-derived")
    assert "share no plateau" not in evaluate(than_scorer, dragged).paragraph
    whole = analysis({0.7: {"chaos": 2.0}}, reference="plateau")
    assert status("escape:chaos@0.7", whole) is Status.SUPPORTED
