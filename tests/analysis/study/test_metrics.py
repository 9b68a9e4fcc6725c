"""Any metric, in its own unit and direction: better is up inside, and outside nobody sees it."""

import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sics_analysis import Verdict, analyse
from sics_analysis.report import render, report_table
from sics_analysis.report.build import build_document
from sics_analysis.results import Metric, signed
from sics_analysis.study.told import told, turned

MIRROR = {
    Verdict.ESCAPES: Verdict.DEGRADES,
    Verdict.DEGRADES: Verdict.ESCAPES,
    Verdict.NONINFERIOR: Verdict.NONSUPERIOR,
    Verdict.NONSUPERIOR: Verdict.NONINFERIOR,
}
LOSS = Metric("loss", "nats", 1.0, lower_is_better=True)


def frame_of(values: dict[str, list[float]], column: str = "loss") -> pd.DataFrame:
    rows = [(seed, name, 0.7, value) for name, own in values.items() for seed, value in enumerate(own)]
    return pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", column])


#: By hand: a lowers the loss by .10 .12 .08 .11 .09 (mean .10, sd .0158), b raises it by .30 on average.
LOSSES = {
    "magnitude": [0.50, 0.52, 0.49, 0.51, 0.53],
    "a": [0.40, 0.40, 0.41, 0.40, 0.44],
    "b": [0.80, 0.83, 0.78, 0.81, 0.83],
}


def test_less_loss_escapes_and_every_number_is_in_its_own_direction() -> None:
    found = analyse(frame_of(LOSSES), metric="loss", lower_is_better=True, unit="nats", delta=0.05, draws=5_000)
    table = found.to_frame().set_index("scorer")
    assert table["verdict"].to_dict() == {"a": "ESCAPES", "b": "DEGRADES"}
    assert table["difference"].to_dict() == pytest.approx({"a": -0.10, "b": 0.30})
    half = stats.t.ppf(0.975, 4) * math.sqrt(0.001 / 4 / 5)
    assert table.loc["a", ["ci95_low", "ci95_high"]].tolist() == pytest.approx([-0.10 - half, -0.10 + half])
    assert table.loc["a", "reason"].startswith("below −0.05, adjusted")
    assert table.loc["b", "reason"].startswith("above +0.05, adjusted")


def test_a_report_of_a_loss_says_nothing_of_accuracy_and_nothing_upside_down() -> None:
    document = report_table(frame_of(LOSSES), metric="loss", lower_is_better=True, unit="nats", delta=0.05, draws=2_000)
    line = document.line("a", 0.7)
    assert line is not None
    assert (round(line.mean or 0, 6), [round(d, 6) for d in line.differences]) == (-0.1, [-0.1, -0.12, -0.08, -0.11, -0.09])
    assert line.simultaneous is not None
    assert line.simultaneous.low < line.simultaneous.high < -0.05
    assert [cell.accuracy for cell in document.cells if cell.scorer == "a"] == LOSSES["a"], "values as they came"
    for kind in ("terminal", "md", "latex", "html"):
        text = render(document, kind)
        assert "accuracy points" not in text
        assert "below −0.05" in text.replace("$-$", "−") or kind == "html"
        assert "nats" in text
    words = " ".join(render(document, "terminal").split())
    assert "a escapes magnitude, at S = 0.7." in words
    assert "Shown above +0.05: b at S = 0.7." in words
    low, high = (signed(limit, 3) for limit in (line.simultaneous.low, line.simultaneous.high))
    assert f"a by [{low}, {high}] nats" in words, "three decimals at a margin of .05"


def test_a_small_margin_has_decimals_enough() -> None:
    values = {name: [v / 100 for v in own] for name, own in LOSSES.items()}
    document = report_table(frame_of(values), metric="loss", unit="nats", delta=0.0005, draws=2_000, lower_is_better=True)
    assert "−0.00100" in render(document, "terminal")
    again = type(document).from_json(document.to_json())
    assert render(again, "terminal") == render(document, "terminal")


values = st.lists(st.integers(-300, 300), min_size=5, max_size=5)


@settings(max_examples=25, deadline=None)
@given(values, values, values, st.sampled_from([0.05, 0.5, 2.0]))
def test_a_metric_and_its_negation_give_mirrored_numbers_and_one_verdict(
    base: list[int], one: list[int], two: list[int], delta: float
) -> None:
    table = {
        "magnitude": base,
        "a": [b + x for b, x in zip(base, one, strict=True)],
        "b": [b + x / 7 for b, x in zip(base, two, strict=True)],
    }
    loss = {name: [v / 100 for v in own] for name, own in table.items()}
    gain = {name: [-v for v in own] for name, own in loss.items()}
    options = {"metric": "m", "unit": "u", "delta": delta, "draws": 300}
    low = analyse(frame_of(loss, "m"), lower_is_better=True, **options)
    high = analyse(frame_of(gain, "m"), lower_is_better=False, **options)
    flat = analyse(frame_of(loss, "m"), lower_is_better=False, **options)
    for a, b, c in zip(low.lines, high.lines, flat.lines, strict=True):
        assert a.verdict is b.verdict
        assert a.differences == b.differences
        assert c.mean is not None
        assert a.mean == pytest.approx(-c.mean, abs=1e-12)
        if not a.in_family:
            assert c.verdict is MIRROR.get(a.verdict, a.verdict)
    one_table, other = low.to_frame(), high.to_frame()
    assert one_table["difference"].tolist() == pytest.approx((-other["difference"]).tolist(), nan_ok=True)
    assert one_table["ci90_low"].tolist() == pytest.approx((-other["ci90_high"]).tolist(), nan_ok=True)


def test_another_metric_has_no_margin_by_default() -> None:
    with pytest.raises(ValueError, match="Expected `delta` in nats"):
        analyse(frame_of(LOSSES), metric="loss", unit="nats", lower_is_better=True)


def test_what_was_assumed_of_a_frame_is_warned_of() -> None:
    frame = frame_of(LOSSES).rename(columns={"scorer": "method"})
    with pytest.warns(UserWarning, match="assumed: column 'method' is the scorer"):
        found = analyse(frame, metric="loss", delta=0.05, draws=300)
    assert "Assumed: column 'method' is the scorer." in found.describe()


def test_sentences_are_turned_and_names_are_not() -> None:
    text = "above+3 against x: +1.20 points over 5 seeds, 90 % CI [+0.90, +1.50], δ = 0.5: ESCAPES (above +0.5; 2^−5 > α)."
    assert told(text, LOSS, ["above+3", "x"]) == (
        "above+3 against x: −1.20 nats over 5 seeds, 90 % CI [−1.50, −0.90], δ = 0.5: ESCAPES (below −0.5; 2^−5 > α)."
    )
    assert told("a at S = 1: +1.00 points", LOSS, pooled=True) == "a: −1.00 nats"
    assert turned("δ lies below the noise floor", LOSS) == "δ lies below the noise floor"
    assert turned("more than 0.5 points above magnitude", LOSS, ["magnitude"]) == "more than 0.5 nats below magnitude"


# -- unpaired ---------------------------------------------------------------------------------------------------------


def unpaired_frame() -> pd.DataFrame:
    rows = [(s, "magnitude", 0.7, v) for s, v in enumerate([0.90, 0.905, 0.895, 0.91])]
    rows += [(s + 10, "a", 0.7, v) for s, v in enumerate([0.93, 0.94, 0.935])]
    rows += [(s + 20, "b", 0.7, v) for s, v in enumerate([0.90, 0.906, 0.897, 0.905, 0.9])]
    return pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])


def test_welch_is_never_chosen_silently() -> None:
    found = analyse(unpaired_frame(), draws=300)
    assert {line.n for line in found.lines} == {0}
    assert [check.kind for check in found.checks] == ["unpaired", "unpaired"]


def test_welch_gives_what_scipy_gives() -> None:
    frame = unpaired_frame()
    found = analyse(frame, draws=300, unpaired=True, delta=0.5)
    sides = {name: 100 * np.array(own["accuracy"]) for name, own in frame.groupby("scorer")}
    p = {}
    for name in ("a", "b"):
        line = found.line(name, 0.7)
        above = stats.ttest_ind(sides[name] - 0.5, sides["magnitude"], equal_var=False, alternative="greater")
        below = stats.ttest_ind(sides[name] + 0.5, sides["magnitude"], equal_var=False, alternative="less")
        upper = stats.ttest_ind(sides[name] - 0.5, sides["magnitude"], equal_var=False, alternative="less")
        lower = stats.ttest_ind(sides[name] + 0.5, sides["magnitude"], equal_var=False, alternative="greater")
        assert line.p_escape == pytest.approx(above.pvalue)
        assert line.p_equivalence == pytest.approx(max(upper.pvalue, lower.pvalue))
        interval = stats.ttest_ind(sides[name], sides["magnitude"], equal_var=False).confidence_interval(0.95)
        assert line.ci95 is not None
        assert (line.ci95.low, line.ci95.high, line.ci95.method) == (
            pytest.approx(interval.low),
            pytest.approx(interval.high),
            "Welch t",
        )
        p[name] = (above.pvalue, below.pvalue)
        assert line.p_equivalence_signflip is None
        assert line.p_min_attainable is None
    # Holm over two: the smaller p doubled, the larger no smaller than that.
    assert found.line("a", 0.7).p_escape_adjusted == pytest.approx(2 * p["a"][0])
    assert found.line("b", 0.7).p_escape_adjusted == pytest.approx(max(2 * p["a"][0], p["b"][0]))
    assert found.line("a", 0.7).verdict is Verdict.ESCAPES


def test_an_unpaired_report_quotes_the_calibration() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "calibration-cells.md").read_text(encoding="utf-8")
    rows = [row.split("|") for row in page.splitlines() if "three times the reference's | ESCAPES, any false of six" in row]
    at = {n: [float(row[cell].split("±")[0]) for row in rows] for n, cell in ((3, 3), (5, 5))}
    assert len(rows) == 2
    said = f"{min(at[5]):.0f} to {max(at[5]):.0f} % of simulated runs at 5 seeds and {min(at[3]):.0f} to {max(at[3]):.0f} % at 3"
    assert any(said in note for note in report_table(unpaired_frame(), draws=300, unpaired=True).notes)
    paired = unpaired_frame().assign(seed=lambda frame: frame.groupby(["scorer", "sparsity"]).cumcount())
    assert not any("Welch" in note for note in report_table(paired, draws=300).notes)


def test_an_unpaired_report_is_stamped_and_draws() -> None:
    document = report_table(unpaired_frame(), draws=300, unpaired=True)
    assert document.settings.stamps == ("unpaired: seeds taken as independent samples, Welch's t and Holm's correction",)
    for kind in ("terminal", "html", "md", "latex", "csv"):
        text = render(document, kind)
        assert "nan" not in text.replace("nance", "")
        assert "unpaired" in text
    assert type(document).from_json(document.to_json()) == document


@pytest.mark.filterwarnings("ignore:assumed")
def test_an_unpaired_report_speaks_of_no_sign_flip_and_says_what_degrades_at_one_sparsity_alone() -> None:
    rng = np.random.default_rng(1)
    rows = [
        (i, name, S, mean + spread * rng.normal())
        for S, gap, spread in ((0.5, 0.05, 0.1), (0.7, 0.3, 0.22))
        for name, mean in (("magnitude", 1.0), ("b", 1.0 - gap))
        for i in range(6)
    ]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "score"])
    result = analyse(frame, metric="score", lower_is_better=False, delta=0.05, unpaired=True, draws=300)
    line = result.line("b", 0.7)
    assert line.verdict is Verdict.DEGRADES
    assert line.p_degrade_adjusted_run is not None
    said = render(build_document(result, result.rows), "md")
    assert "exact sign-flip test can give is" not in said
    assert "Smallest attainable p" not in said
    assert line.p_degrade_adjusted_run > 0.05
    assert "at that S alone, not over the whole run: b at S = 0.7" in said


def test_two_constant_sides_of_three_seeds_are_undecided() -> None:
    rows = [(s, "magnitude", 0.7, 0.9) for s in range(3)] + [(s + 10, "a", 0.7, 0.95) for s in range(3)]
    found = analyse(pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"]), unpaired=True, draws=300)
    line = found.lines[0]
    assert (line.verdict, line.equivalence.p_lower) == (Verdict.INCONCLUSIVE, 0.125)
    assert line.reason == "degenerate: neither side has a spread; exact p = 0.125 above −0.5, p = 1 below +0.5"


def test_an_open_data_check_warns_and_flags_its_lines() -> None:
    from sics_analysis import DataCheckWarning

    base = (0.90, 0.91, 0.89, 0.92, 0.90)
    rows = [
        (i, name, 0.7, b + d + i / 1e4 * d)
        for i, b in enumerate(base)
        for name, d in (("magnitude", 0), ("a", 0.03), ("b", 0.02))
    ]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(analyse(frame, draws=300).to_frame()["flag"]) == {""}
    lacking = frame[~((frame["scorer"] == "b") & (frame["seed"] == 4))]
    with pytest.warns(DataCheckWarning, match="data check, open: b has no result for seed 4") as caught:
        found = analyse(lacking, draws=300)
    assert [w.filename for w in caught] == [__file__], "it names the caller's line"
    assert dict(zip(found.to_frame()["scorer"], found.to_frame()["flag"], strict=True)) == {"a": "", "b": "missing"}


def test_a_margin_in_fractions_in_python() -> None:
    rows = [(i, name, 0.7, 0.9 + i / 100 + (name == "a") / 50) for i in range(4) for name in ("magnitude", "a")]
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    with pytest.warns(UserWarning, match="δ = 0.005 is in the fraction: 0.5 points"):
        assert analyse(frame, unit="fraction", delta=0.005, draws=300).delta == pytest.approx(0.5)
