"""`analyse` of a metric that is a mean of numbers, or of 0 and 1 where less is better."""

import numpy as np
import pandas as pd
import pytest

from sics_analysis.results import Metric
from sics_analysis.study.analyse import analyse

NATS, ERROR = Metric("nll", "nats", 1.0, lower_is_better=True), Metric("error", "points", 100.0, lower_is_better=True)
SEEDS, EXAMPLES = range(5), 50
PLACES = [(seed, name, 0.7) for seed in SEEDS for name in ("magnitude", "chaos")]


def frame_of(values: dict[tuple[int, str, float], float], **more: object) -> pd.DataFrame:
    rows = [(*place, value) for place, value in values.items()]
    return pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"]).assign(**more)


def numbers(shift: float = 0.0) -> dict[tuple[int, str, float], np.ndarray]:
    rng = np.random.default_rng(7)
    return {place: rng.gamma(2, 1, EXAMPLES).astype("f4") - (shift if place[1] == "chaos" else 0) for place in PLACES}


def test_numbers_give_intervals_and_no_mcnemar() -> None:
    rows = numbers()
    frame = frame_of({place: float(row.mean(dtype=float)) for place, row in rows.items()})
    found = analyse(frame, delta=0.1, metric=NATS, bits=rows, draws=500)
    line = found.line("chaos", 0.7)
    assert line.crossed is not None
    assert line.mean == pytest.approx((line.crossed.low + line.crossed.high) / 2, abs=1e-6), "better up, as every computation"
    assert found.mcnemar == ()
    assert found.to_dict()["lines"][0]["crossed"]["low"] == pytest.approx(-line.crossed.high)


def test_right_and_wrong_among_numbers_are_numbers() -> None:
    rows = numbers()
    rows[0, "chaos", 0.7] = (rows[0, "chaos", 0.7] > 2).astype(bool)
    frame = frame_of({place: float(row.mean(dtype=float)) for place, row in rows.items()})
    found = analyse(frame, delta=0.1, metric=NATS, bits=rows, draws=500)
    assert found.mcnemar == ()
    assert found.line("chaos", 0.7).crossed is not None


def test_numbers_that_are_not_the_result_are_refused() -> None:
    rows = numbers()
    frame = frame_of({place: float(row.mean(dtype=float)) + 0.01 for place, row in rows.items()})
    with pytest.raises(ValueError, match="`bits` to agree with `accuracy`"):
        analyse(frame, delta=0.1, metric=NATS, bits=rows)


def test_errors_are_counted_and_less_of_them_wins() -> None:
    wrong = {place: np.arange(EXAMPLES) < (10 if place[1] == "magnitude" else 4 + place[0]) for place in PLACES}
    frame = frame_of({place: float(row.mean()) for place, row in wrong.items()})
    frame = frame.assign(correct=[int(row.sum()) for row in wrong.values()], n=EXAMPLES)
    found = analyse(frame, delta=1.0, metric=ERROR, bits=wrong, draws=500)
    line = found.line("chaos", 0.7)
    assert line.differences == (12.0, 10.0, 8.0, 6.0, 4.0), "exact, in points, better upwards"
    assert line.contrast.exact
    assert line.contrast.resolution == 2.0
    assert str(line.verdict) == "ESCAPES"
    assert [(row.result.only_a, row.result.only_b) for row in found.mcnemar] == [(6, 0), (5, 0), (4, 0), (3, 0), (2, 0)]
    assert found.to_frame()["difference"].tolist() == [-8.0]


def test_counts_of_something_else_beside_a_metric_are_left_alone() -> None:
    frame = frame_of({place: 0.2 + 0.01 * place[0] for place in PLACES}, correct=3, n=EXAMPLES)
    found = analyse(frame, delta=1.0, metric=ERROR, draws=500)
    assert not found.line("chaos", 0.7).contrast.exact
