import numpy as np
import pytest
from scipy import stats

from sics_analysis.families.attribution import AttributionLine, attribute
from sics_analysis.results import Result, Verdict
from sics_analysis.rows.contrasts import Contrast, differences

pytestmark = pytest.mark.filterwarnings("error")

INFORMATION = [1.0, 1.2, 0.9, 1.1, 1.3]
KAPPA = {"smooth_chaos": 1, "chaos": 2}


def split(over: dict[str, list[float]], **options: float) -> dict[str, AttributionLine]:
    """Attribution lines from each scorer's differences to `information`."""
    information = contrast(INFORMATION, "information", "magnitude")
    gains = [contrast([a + b for a, b in zip(INFORMATION, v, strict=True)], k, "magnitude") for k, v in over.items()]
    lines = attribute(
        gains,
        [contrast(values, name, "information") for name, values in over.items()],
        information,
        KAPPA,
        0.5,
        rng=np.random.default_rng(0),
        draws=5_000,
        **options,  # type: ignore[arg-type]
    )
    return {line.scorer: line for line in lines}


def contrast(values: list[float], name: str, reference: str) -> Contrast:
    return differences(values, name=name, reference=reference, sparsity=0.8)


def test_gain_is_information_plus_complexity() -> None:
    lines = split({"smooth_chaos": [0.1, -0.1, 0.05, 0.02, -0.03], "chaos": [2.0, 1.8, 2.3, 2.1, 1.9]})
    for line in lines.values():
        assert line.gain.mean == pytest.approx(line.information.mean + line.complexity.mean)  # type: ignore[operator]
        assert isinstance(line, Result)
    assert lines["chaos"].verdict is Verdict.ESCAPES
    assert "Complexity buys more than 0.5 points" in lines["chaos"].describe()
    assert lines["smooth_chaos"].verdict is Verdict.EQUIVALENT
    assert "Information alone explains it" in lines["smooth_chaos"].describe()


def test_superiority_is_the_paired_t_test_adjusted_in_the_family() -> None:
    values = {"smooth_chaos": [0.3, 0.4, 0.2, 0.35, 0.3], "chaos": [0.6, 0.1, 0.5, 0.2, 0.4]}
    lines = split(values)
    for name, line in lines.items():
        assert line.p_superior == pytest.approx(stats.ttest_1samp(values[name], 0, alternative="greater").pvalue)
        assert line.p_superior_adjusted is not None
        assert line.p_superior_adjusted >= line.p_superior  # type: ignore[operator]
    # Above information, and not by more than δ: superiority and the escape are two forms.
    assert lines["smooth_chaos"].p_superior_adjusted < 0.01  # type: ignore[operator]
    assert lines["smooth_chaos"].p_escape_adjusted > 0.9  # type: ignore[operator]
    assert lines["smooth_chaos"].verdict is Verdict.EQUIVALENT


def test_a_costly_shape_degrades() -> None:
    line = split({"chaos": [-2.0, -1.8, -2.3, -2.1, -1.9]})["chaos"]
    assert line.verdict is Verdict.DEGRADES
    assert "costs" in line.describe()


def test_what_complexity_does_not_do_is_said_where_only_that_is_shown() -> None:
    costs = split({"chaos": [-0.5, -0.4, -0.7, -0.2, -0.4]})["chaos"]
    assert costs.verdict is Verdict.NONSUPERIOR
    assert "Complexity does not buy 0.5 points; what it costs is not settled" in costs.describe()
    buys = split({"chaos": [0.5, 0.4, 0.7, 0.2, 0.4]})["chaos"]
    assert buys.verdict is Verdict.NONINFERIOR
    assert "Complexity does not cost 0.5 points; what it buys is not settled" in buys.describe()


def test_degenerate_and_noise() -> None:
    line = split({"chaos": [0.2] * 5})["chaos"]
    assert line.verdict is Verdict.EQUIVALENT
    assert line.p_superior == line.p_superior_adjusted == 1 / 32
    assert line.p_escape_adjusted == 1.0
    assert all(value is None or value == value for value in line.to_row().values())
    noisy = split({"chaos": [0.1, -0.1, 0.05, 0.02, -0.03]}, noise_floor=0.7)["chaos"]
    assert noisy.verdict is Verdict.INCONCLUSIVE
    assert "noise floor" in noisy.reason
    assert "not settled" in noisy.describe()
    same = Contrast("chaos", "information", tuple(range(5)), (0.0,) * 5, 0.8, (True,) * 5, True)
    gain = differences(INFORMATION, name="chaos", reference="magnitude", sparsity=0.8)
    control = differences(INFORMATION, name="information", reference="magnitude", sparsity=0.8)
    for floor, verdict in ((None, Verdict.IDENTICAL), (0.7, Verdict.INCONCLUSIVE)):
        (line,) = attribute([gain], [same], control, KAPPA, 0.5, noise_floor=floor, rng=np.random.default_rng(0), draws=100)
        assert line.verdict is verdict
        assert "identical" in line.reason or floor is None


def test_all_parts_use_the_seeds_common_to_the_three() -> None:
    information = differences(INFORMATION, name="information", reference="magnitude", sparsity=0.8, seeds=[0, 1, 2, 3, 4])
    gain = differences([2.0, 2.2, 1.9, 2.5], name="chaos", reference="magnitude", sparsity=0.8, seeds=[1, 2, 3, 7])
    over = differences([1.0, 1.1, 0.9, 1.2], name="chaos", reference="information", sparsity=0.8, seeds=[1, 2, 3, 4])
    (line,) = attribute([gain], [over], information, KAPPA, 0.5, rng=np.random.default_rng(0), draws=1_000)
    assert line.n == 3
    assert line.gain.seeds == line.information.seeds == line.complexity.seeds == (1, 2, 3)
