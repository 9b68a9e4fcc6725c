"""The map of a scorer and the plateau map: files in two forms, what they draw is what they were given."""

from pathlib import Path

import numpy as np
import pytest

from sics_analysis.report.figures.drawing.style import figure_style
from sics_analysis.report.figures.plateau_map import plateau_map, save_plateau_map
from sics_analysis.report.figures.surface import save_surface, surface
from sics_analysis.results import Verdict
from sics_analysis.study.plateau_map import MapPoint, PlateauMap, PoolMove, pool_text


def point(run: str, scorer: str, S: float, overlap: float | None, feature: float | None, total: float | None) -> MapPoint:
    return MapPoint(run, scorer, 1, "feature", S, overlap, feature, Verdict.INCONCLUSIVE, 5, total)


@pytest.fixture
def two_pools() -> PlateauMap:
    points = [
        point(run, name, S, 0.6 + 0.05 * i, 0.4 * i, 0.4 * i - 2 * j)
        for j, run in enumerate(("pool global", "pool layer"))
        for i, name in enumerate(("one", "two", "a" * 90, "$x$ \\ <b>"))
        for S in (0.5, 0.8)
    ]
    points.append(point("pool global", "far", 0.8, 0.3, -60.0, -60.0))
    moves = tuple(PoolMove("pool layer", S, -2.0, Verdict.DEGRADES, 5) for S in (0.5, 0.8))
    return PlateauMap(("pool global", "pool layer"), 0.5, tuple(points), moves)


def test_the_plateau_map_has_every_point_and_the_pools_line(two_pools: PlateauMap) -> None:
    with figure_style():
        sketch = plateau_map(two_pools)
    assert sketch.drawing is not None
    axes = sketch.drawing.canvas.axes
    assert [one.get_title() for one in axes] == ["S = 0.5", "S = 0.8"]
    dotted = [line for line in axes[0].lines if list(np.ravel(line.get_ydata())) == [-2.0, -2.0]]
    assert len(dotted) == 1
    marks = {
        (float(line.get_xdata()[0]), round(float(line.get_ydata()[0]), 6)) for line in axes[0].lines if len(line.get_xdata()) == 1
    }
    assert marks == {(p.overlap, round(p.total or 0, 6)) for p in two_pools.at(0.5)}
    (arrow,) = [text.get_text() for text in axes[1].texts if text.get_text()]
    assert arrow == "▾ −60"
    assert "one in pool layer at S = 0.5: overlap 0.60, −2.00 points" in sketch.alt


def test_nothing_leaves_the_canvas(two_pools: PlateauMap) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with figure_style():
        sketch = plateau_map(two_pools)
        assert sketch.drawing is not None
        canvas = FigureCanvasAgg(sketch.drawing.canvas)
        canvas.draw()
        width, height = canvas.get_width_height()
        axes = sketch.drawing.canvas.axes
        texts = [*sketch.drawing.canvas.texts, *(t for a in axes for t in (a.title, a.xaxis.label, a.yaxis.label, *a.texts))]
        for text in (one for one in texts if one.get_text()):
            box = text.get_window_extent()
            assert box.x0 > -1, text
            assert box.x1 < width + 1, text
            assert box.y0 > -1, text
            assert box.y1 < height + 1, text


def test_maps_are_written_or_refused(two_pools: PlateauMap, tmp_path: Path) -> None:
    written = save_plateau_map(two_pools, tmp_path / "map")
    first = [path.read_bytes() for path in written]
    assert [path.name for path in written] == ["map.pdf", "map.png"]
    assert [path.read_bytes() for path in save_plateau_map(two_pools, tmp_path / "map")] == first
    bare = PlateauMap(("a",), 0.5, (point("a", "one", 0.5, None, 1.0, 1.0),), ())
    assert save_plateau_map(bare, tmp_path / "none") == []


@pytest.mark.parametrize(
    ("verdict", "said"), [(Verdict.ESCAPES, True), (Verdict.INCONCLUSIVE, False), (Verdict.EQUIVALENT, False)]
)
def test_a_gain_is_the_pools_only_where_the_pool_is_shown_to_escape(verdict: Verdict, said: bool) -> None:
    """+0.4 of the feature and +0.2 of the pool are above δ together, and neither is shown to be."""
    points = (
        MapPoint("b", "flat", 1, "feature", 0.8, 0.9, 0.4, Verdict.EQUIVALENT, 5, 0.6),
        MapPoint("b", "up", 1, "feature", 0.8, 0.9, 3.0, Verdict.ESCAPES, 5, 3.2),
    )
    found = PlateauMap(("a", "b"), 0.5, points, (PoolMove("b", 0.8, 0.2, verdict, 5),))
    assert ("On its plateau, and above a by the pool and not by a feature: flat." in found.describe(0.8)[0]) is said


def test_words_of_a_pool() -> None:
    assert pool_text(PoolMove("layer", 0.5, None, None, 0, "no common seed"), "global") == "not known (no common seed)"
    mixed = PlateauMap(("a",), 0.5, tuple(
        MapPoint("a", name, None, "control", 0.5, 1.0, 0.0, verdict, 5, 0.0)
        for name, verdict in zip("ieud", (Verdict.IDENTICAL, Verdict.EQUIVALENT, Verdict.ESCAPES, Verdict.DEGRADES), strict=True)
    ), ())  # fmt: skip
    assert mixed.describe(0.5) == [
        "a: the plateau by mask: i; by accuracy: e; left it upwards: u; left it downwards: d; undecided: none."
    ]
    assert mixed.points[0].to_row()["standing"] == "plateau"


@pytest.mark.parametrize("shape", [(64, 256), (1, 32)])
def test_a_scorer_over_rho_and_z(shape: tuple[int, int], tmp_path: Path) -> None:
    score = np.linspace(0, 1, shape[0])[:, None] + np.zeros(shape)
    score[0, :3] = np.nan
    curve = np.sin(np.linspace(0, 9, shape[1]))
    curve[:4] = np.nan
    with figure_style():
        sketch = surface("mine", score, curve, sparsity=0.7, said="Measured: smooth, κ = 1.")
    assert sketch.drawing is not None
    left, right = sketch.drawing.canvas.axes[0], sketch.drawing.canvas.axes[-1]
    assert np.ma.allequal(left.images[0].get_array(), np.ma.masked_invalid(score.T))
    assert np.array_equal(right.lines[-1].get_ydata(), curve, equal_nan=True)
    written = save_surface(tmp_path / "new", "mine", "mine", score, curve, sparsity=0.7, said="Measured.")
    assert [path.name for path in written] == ["mine.pdf", "mine.png"]
    assert written[1].read_bytes().startswith(b"\x89PNG")


def test_a_half_shown_is_said_of_whom_it_is_shown() -> None:
    points = tuple(
        MapPoint("a", name, 1, "smooth", 0.7, 0.9, 0.1, verdict, 5, None)
        for name, verdict in (("x", Verdict.NONINFERIOR), ("y", Verdict.NONSUPERIOR), ("z", Verdict.INCONCLUSIVE))
    )
    found = PlateauMap(("a",), 0.5, points, ())
    assert [point.standing for point in points] == ["not below", "not above", "undecided"]
    (said,) = found.describe(0.7)
    assert said.endswith("not below it by δ: x; not above it by δ: y; undecided: z.")
