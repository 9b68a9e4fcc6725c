"""The figures: what they draw is what the document holds, safe inline, the same bytes every time, nothing out of the frame."""

import re
import warnings
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.text import Text

from sics_analysis.report import ReportDocument, report_table
from sics_analysis.report.figures import FIGURES, figure_list, save_figures
from sics_analysis.report.figures.accuracy import curves, slopes
from sics_analysis.report.figures.drawing.labels import LONGEST, columns, labels, short
from sics_analysis.report.figures.drawing.panels import points_text, window
from sics_analysis.report.figures.drawing.style import VERDICTS, figure_style
from sics_analysis.report.figures.forest import attribution, decides, equivalence, escape, stacked
from sics_analysis.report.figures.outlook import paper, power
from sics_analysis.report.figures.sensitivity import deltas, overlap
from sics_analysis.report.figures.spectrum import staircase
from sics_analysis.report.words.conclusion import deciding
from sics_analysis.report.words.phrases import interval as limits
from sics_analysis.report.words.phrases import number
from sics_analysis.report.words.reasons import over_run
from sics_analysis.results import Metric, Verdict

DRAW = {
    "decides": decides,
    "equivalence": equivalence,
    "escape": escape,
    "attribution": attribution,
    "kappa": staircase,
    "accuracy": curves,
    "slopes": slopes,
    "deltas": deltas,
    "overlap": overlap,
    "power": power,
    "paper": paper,
}


@pytest.fixture(scope="module")
def drawn(document):
    return {figure.id: figure for figure in figure_list(document)}


@pytest.fixture(scope="module")
def many() -> ReportDocument:
    """20 scorers, 6 sparsities: some scorers far off, some rows missing, one sparsity below the noise."""
    rng = np.random.default_rng(3)
    rows = []
    for seed in range(4):
        for S in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
            for i in range(20):
                kappa = 0 if i < 3 else 1 + i % 2 if i < 16 else None
                name = "magnitude" if i == 0 else f"a_scorer_with_a_long_name_{i}" if i % 3 == 0 else f"s{i}"
                if (i, S) == (7, 0.6):
                    continue
                accuracy = 0.85 - 0.1 * S + rng.normal(0, 0.004) - (0.4 if i == 19 else 0)
                rows.append((seed, name, S, accuracy, kappa, rng.uniform(0.3, 0.9)))
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy", "kappa", "jaccard"])
    return report_table(frame, draws=1_000, noise_floor={0.4: 0.9})


def test_every_figure_of_the_list_is_there_in_order(drawn):
    assert tuple(drawn) == FIGURES == tuple(DRAW)
    for figure in drawn.values():
        assert (figure.svg is None) is (figure.reason is not None)
        assert figure.title
    assert all(figure.svg for figure in drawn.values())
    assert all(figure.caption and figure.alt for figure in drawn.values())


def test_svg_may_stand_inline_beside_others(drawn):
    seen: set[str] = set()
    for figure in drawn.values():
        root = ET.fromstring(figure.svg)
        assert root.get("role") == "img"
        named = {child.get("id"): (child.text or "").strip() for child in root if child.tag.endswith(("title", "desc"))}
        assert list(named) == root.get("aria-labelledby").split()
        assert all(named.values())
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        seen |= set(ids)
        used = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', figure.svg)
        assert {a or b for a, b in used} <= set(ids)
        tags = {element.tag.rsplit("}")[-1] for element in root.iter()}
        assert not tags & {"style", "script", "image", "metadata", "foreignObject", "a"}
        assert "#000000" not in figure.svg  # black would vanish on a dark page
        assert "currentColor" in figure.svg
        assert "http" not in figure.svg.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"font-family(?!=\"system-ui)", figure.svg)


def test_text_stays_text_and_marks_have_hover_values(drawn, document):
    root = ET.fromstring(drawn["equivalence"].svg)
    texts = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert {scorer.name for scorer in document.compared} <= texts
    tips = [element[0].text for element in root.iter() if element.tag.endswith("rect") and len(element)]
    assert len(tips) == len([line for line in document.lines if line.mean is not None])
    line = document.line("chaos", 0.7)
    sign = "+" if line.mean > 0 else "−"
    assert any(tip.startswith(f"chaos, S = 0.7: {sign}{abs(line.mean):.2f} points over") and line.verdict in tip for tip in tips)


def test_hover_rectangles_lie_inside_the_picture(drawn):
    for figure in drawn.values():
        root = ET.fromstring(figure.svg)
        _, _, width, height = map(float, root.get("viewBox").split())
        boxes = [element for element in root.iter() if element.tag.endswith("rect") and len(element)]
        for box in boxes:
            x, y, w, h = (float(box.get(key)) for key in ("x", "y", "width", "height"))
            assert w > 0
            assert h > 0
            assert -6 <= x <= x + w <= width + 6
            assert -6 <= y <= y + h <= height + 6


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory):
    return save_figures(tiny, tmp_path_factory.mktemp("figures") / "new" / "folder")


def test_equal_documents_give_equal_bytes(tiny, saved, tmp_path):
    assert figure_list(tiny) == figure_list(tiny)
    first, second = saved, save_figures(ReportDocument.from_json(tiny.to_json()), tmp_path)
    assert [path.name for path in first] == [path.name for path in second]
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name


def test_nobodys_matplotlib_is_changed_and_no_settings_reach_ours(tiny):
    expected = figure_list(tiny)
    with mpl.rc_context({"text.usetex": True, "axes.grid": True, "font.size": 20, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        assert figure_list(tiny) == expected
        assert dict(mpl.rcParams) == before
    import matplotlib.pyplot as plt

    assert not plt.get_fignums()


def test_files_are_sized_for_a_papers_columns(tiny, saved):
    from PIL import Image

    written = saved
    drawn = [figure.id for figure in figure_list(tiny) if figure.svg]
    assert [path.name for path in written] == [f"{name}.{ending}" for name in drawn for ending in ("pdf", "png")]
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width in (1020, 1275, 1530, 2100)  # 3.4, 4.25, 5.1 and 7 inches
                assert image.getpixel((0, 0))[:3] == (255, 255, 255)
        else:
            data = path.read_bytes()
            assert b"/FontFile2" in data  # embedded TrueType
            assert b"/Type3" not in data
            assert b"CreationDate" not in data


def test_a_figure_its_data_cannot_support_says_why(poor):
    def reasons(name):
        return {figure.id: figure.reason for figure in figure_list(poor[name])}

    one = reasons("one seed")
    assert one["equivalence"] == "The rows have 1 seed a line: an interval takes three."
    assert "1 seed" in one["slopes"]
    assert one["power"].startswith("No power curve: ")
    assert one["overlap"].startswith("The rows carry no overlap of masks")
    assert one["accuracy"] == "The rows have one sparsity: a curve takes two."
    assert "2 seeds" in reasons("two seeds")["deltas"]
    same = reasons("identical")
    assert same["equivalence"] == "Every scorer gives magnitude's accuracy at every seed: nothing differs."
    assert same["escape"]
    assert all(reasons("reference alone").values())
    without = reasons("no kappa")
    assert without["kappa"] == "κ(S) is not available: the rows carry no column kappa."
    assert without["equivalence"] is None
    assert without["attribution"].startswith("It needs the scorer information")


def test_masks_that_are_all_the_references_make_no_scatter(make_table):
    table = make_table({"magnitude": [0.0] * 4, "mine": [0.1, 0.2, 0.1, 0.3]}, kappa=0, jaccard=1.0)
    found = overlap(report_table(table))
    assert found.drawing is None
    assert found.reason.startswith("Every mask is the reference's")


def shown(document, name):
    with figure_style():
        return DRAW[name](document)


def test_the_forest_draws_the_numbers_of_the_document(document):
    sheet = shown(document, "equivalence").drawing
    panels = [axes for axes in sheet.canvas.axes if axes.get_title().startswith("S =")]
    assert [axes.get_title() for axes in panels] == [f"S = {info.sparsity:g}" for info in document.sparsities]
    order = [scorer.name for scorer in document.compared]
    for axes, info in zip(panels, document.sparsities, strict=True):
        low, high = axes.get_xlim()
        assert low < -document.settings.delta < document.settings.delta < high
        points = {(x, round(y)): line for line in axes.lines for x, y in zip(*line.get_data(), strict=True)}
        segments = [s for c in axes.collections if isinstance(c, LineCollection) for s in c.get_segments()]
        ends = {(segment[0][0], segment[1][0], round(segment[0][1])) for segment in segments}
        glyphs = {round(text.get_position()[1]): text.get_text() for text in axes.texts if text.get_text() in "▲▼=≡≥≤?"}
        for line in document.lines_at(info.sparsity):
            row = order.index(line.scorer)
            assert glyphs[row] == VERDICTS[line.verdict].glyph
            if not low <= line.mean <= high:
                assert any(f"{abs(line.mean):.1f}" in text.get_text() for text in axes.texts)
                continue
            assert points[line.mean, row].get_marker() == VERDICTS[line.verdict].marker
            assert all((value, row) in points for value in line.differences)
            for interval in (line.ci_equivalence, line.ci95):
                assert (interval.low, interval.high, row) in ends


def test_the_escape_forest_holds_the_family_with_its_joint_intervals(document):
    sheet = shown(document, "escape").drawing
    members = [scorer.name for scorer in document.compared if scorer.in_family]
    panels = [axes for axes in sheet.canvas.axes if axes.get_title().startswith("S =")]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == members
    kappas = [scorer.kappa for scorer in document.compared if scorer.in_family]
    assert kappas == sorted(kappas)
    for axes, info in zip(panels, document.sparsities, strict=True):
        drawn = {(s[0][0], s[1][0]) for c in axes.collections if isinstance(c, LineCollection) for s in c.get_segments()}
        lines = [line for line in document.lines_at(info.sparsity) if line.in_family and line.simultaneous]
        assert drawn == {(line.simultaneous.low, line.simultaneous.high) for line in lines}


def test_the_staircase_shows_claims_rejections_and_the_papers_steps(document):
    axes = shown(document, "kappa").drawing.canvas.axes[0]
    markers = {
        (float(line.get_xdata()[0]), int(line.get_ydata()[0])): (line.get_marker(), line.get_fillstyle())
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    for point in document.spectrum.points:
        if point.p_values is None:
            assert not any(point.sparsity == S for S, _ in markers)
            continue
        for kappa in (0, 1, 2):
            expected = None if kappa in point.not_rejected and point.kappa is None else "o" if point.kappa == kappa else "x"
            assert markers.get((point.sparsity, kappa), (None,))[0] == expected
        left = {text.get_text() for text in axes.texts if text.xy[0] == point.sparsity}
        assert left == (set() if point.kappa is not None else {" or ".join(map(str, point.not_rejected))})
    steps = [tuple(map(tuple, line.get_data())) for line in axes.lines if len(line.get_xdata()) == 2]
    assert any(x == (0.65, 0.75) and y == (1, 1) for x, y in steps)


def test_no_figure_of_kappa_where_nothing_is_claimed(document):
    open_ = tuple(replace(point, kappa=None, not_rejected=(0, 1)) for point in document.spectrum.points)
    found = staircase(replace(document, spectrum=replace(document.spectrum, points=open_)))
    assert found.drawing is None
    assert found.reason.startswith("κ(S) is undetermined at every S. At S = 0.5 the data leave 0 or 1.")


def test_the_deciding_forest_has_the_numbers_beside_the_bars(document):
    S = deciding(document)
    assert S == 0.8, "the largest S at which the headline's claim stands"
    sheet = shown(document, "decides").drawing
    (axes,) = sheet.canvas.axes
    low, high = axes.get_xlim()
    texts = {text.get_text(): text for text in sheet.canvas.texts}
    held = {line.scorer for line in over_run(document)[0] if line.sparsity == S}
    assert held
    ends = {tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2}
    for line in document.lines_at(S):
        thin = line.simultaneous if line.in_family and line.simultaneous else line.ci95
        (numbers,) = [text for said, text in texts.items() if said.endswith(f" {number(line.mean)} {limits(thin)}")]
        assert numbers.get_text().startswith(VERDICTS[line.verdict].glyph)
        assert (numbers.get_fontweight() == "bold") == (line.scorer in held) == (texts[line.scorer].get_fontweight() == "bold")
        if low <= line.mean <= high:
            assert (thin.low, thin.high) in ends
        else:
            edge = low if line.mean < low else high
            assert any(tuple(mark.get_xdata()) == (edge,) and mark.get_marker() in "<>" for mark in axes.lines)
    assert {"← magnitude better", "scorer better →"} <= set(texts)


def test_where_less_is_better_the_scorer_is_better_on_the_left(make_table):
    table = make_table({"magnitude": [0.0] * 5, "mine": [1.0, 1.2, 0.9, 1.1, 1.0]})
    found = decides(report_table(table, metric=Metric("loss", "nats", 1.0, lower_is_better=True), delta=0.005))
    texts = {text.get_text() for text in found.drawing.canvas.texts}
    assert {"← scorer better", "magnitude better →"} <= texts


def test_an_arrow_stands_at_its_edge_in_its_row_clear_of_the_line_of_no_difference(document):
    sheet = shown(document, "equivalence").drawing
    order = [scorer.name for scorer in document.compared]
    agg = FigureCanvasAgg(sheet.canvas)
    agg.draw()
    arrows = 0
    for axes, info in zip([a for a in sheet.canvas.axes if a.get_title()], document.sparsities, strict=True):
        low, high = axes.get_xlim()
        zero = axes.transData.transform((0, 0))[0]
        for line in document.lines_at(info.sparsity):
            if low <= line.mean <= high:
                continue
            (text,) = [t for t in axes.texts if t.get_text().strip("◂▸ ") == f"{line.mean:+.1f}".replace("-", "−")]
            assert text.get_position() == (0.0 if line.mean < low else 1.0, order.index(line.scorer))
            box = text.get_window_extent(agg.get_renderer())
            assert box.x1 < zero or box.x0 > zero
            arrows += 1
    assert arrows >= 2


def test_curves_name_their_lines_where_they_end(document):
    sheet = shown(document, "accuracy").drawing
    texts = [text.get_text() for axes in sheet.canvas.axes for text in axes.texts]
    assert set(texts) == {scorer.name for scorer in document.compared} | {"magnitude (ref.)"}
    assert not any(axes.get_legend() for axes in sheet.canvas.axes)
    for axes in sheet.canvas.axes:
        heights = sorted(text.xyann[1] for text in axes.texts)
        step = 0.9 * 0.115 * (axes.get_ylim()[1] - axes.get_ylim()[0]) / 1.25
        assert all(b - a >= step for a, b in pairwise(heights)), "no label on another"
        colours = {line.get_color() for line in axes.lines}
        assert len(colours) <= 2, "one colour a class, and the reference"


def test_a_drawing_in_fewer_bytes_has_the_same_strokes(document):
    sheet = shown(document, "slopes").drawing
    strokes = sum(len(c.get_segments()) for axes in sheet.canvas.axes for c in axes.collections if isinstance(c, LineCollection))
    (svg,) = [figure.svg for figure in figure_list(document) if figure.id == "slopes"]
    paths = [path.get("d") for path in ET.fromstring(svg).iter() if path.tag.endswith("path") and path.get("clip-path")]
    assert sum(d.count("M") for d in paths) == strokes
    assert len(paths) <= 3 * len(document.sparsities), "one path a colour and panel"


def test_the_margins_grid_shows_every_verdict(document):
    sheet = shown(document, "deltas").drawing
    panels = [axes for axes in sheet.canvas.axes if axes.get_title().startswith("S =")]
    order = [scorer.name for scorer in document.compared]
    grid = sorted({found.delta for found in document.deltas})
    for axes, info in zip(panels, document.sparsities, strict=True):
        marks = {
            (x, y): line.get_marker()
            for line in axes.lines
            for x, y in zip(*line.get_data(), strict=True)
            if len(line.get_xdata())
        }
        for found in document.deltas:
            if found.sparsity == info.sparsity:
                place = (grid.index(found.delta), order.index(found.scorer))
                assert marks[place] == VERDICTS[found.verdict].marker


def test_slopes_run_from_the_reference_to_the_scorer_at_the_same_seed(document):
    sheet = shown(document, "slopes").drawing
    accuracy = {(cell.scorer, cell.seed, cell.sparsity): 100 * cell.accuracy for cell in document.cells}
    panels = [axes for axes in sheet.canvas.axes if axes.get_title().startswith("S =")]
    order = [scorer.name for scorer in document.compared]
    for axes, info in zip(panels, document.sparsities, strict=True):
        drawn = [s for c in axes.collections if isinstance(c, LineCollection) for s in c.get_segments()]
        ends = {(round(s[0][0] + 0.32), round(s[0][1], 6), round(s[1][1], 6)) for s in drawn}
        for line in document.lines_at(info.sparsity):
            for seed in line.seeds:
                start = accuracy[document.settings.reference, seed, info.sparsity]
                end = accuracy[line.scorer, seed, info.sparsity]
                assert (order.index(line.scorer), round(start, 6), round(end, 6)) in ends


def test_the_power_curve_marks_this_run(document):
    axes = shown(document, "power").drawing.canvas.axes[0]
    assert any(text.get_text() == f"you are here: n = {document.power.here}" for text in axes.texts)
    curves = [line.get_ydata() for line in axes.lines if len(line.get_xdata()) == len(document.power.points)]
    assert [list(map(float, y)) for y in curves] == [
        [point.equivalence for point in document.power.points],
        [point.escape for point in document.power.points],
    ]


def test_the_papers_sizes_stand_beside_the_measured_intervals(document):
    axes = shown(document, "paper").drawing.canvas.axes[0]
    low, high = axes.get_xlim()
    marks = [line for line in axes.lines if line.get_marker() == "D" and len(line.get_xdata())]
    data = {tuple(map(float, line.get_xdata())): int(line.get_ydata()[0]) for line in marks}
    arrows = {text.get_position()[1]: text.get_text() for text in axes.texts if set("◂▸") & set(text.get_text())}
    for i, claim in enumerate(document.claims):
        sizes = tuple(reading.points for reading in claim.readings) or (claim.points,)
        if claim.points is not None:
            inside = tuple(size for size in sizes if low <= size <= high)
            if inside:
                assert data[inside] in [j for j, other in enumerate(document.claims) if other.points == claim.points]
            for size in set(sizes) - set(inside):
                assert points_text(size) in arrows[i], "beyond the axis: an arrow in its row, with the number"
        if claim.interval is not None and claim.interval.width:
            middle = claim.estimate if claim.estimate is not None else (claim.interval.low + claim.interval.high) / 2
            drawn = any(
                np.allclose(line.get_xdata(), [claim.interval.low, claim.interval.high]) and line.get_ydata()[0] == i
                for line in axes.lines
                if len(line.get_xdata()) == 2
            )
            assert drawn == (low <= middle <= high)


def test_a_size_beyond_the_axis_is_an_arrow_in_its_row(document):
    claims = [claim for claim in document.claims if claim.points is not None]
    far = tuple(replace(claim, points=66.0, readings=()) if claim is claims[0] else claim for claim in document.claims)
    axes = shown(replace(document, claims=far), "paper").drawing.canvas.axes[0]
    (text,) = [text for text in axes.texts if "▸" in text.get_text() and "66" in text.get_text()]
    assert (text.get_text(), text.get_position()) == ("◇ +66.0 ▸", (1.0, document.claims.index(claims[0])))


def test_a_key_names_what_is_drawn_alone(document):
    for name in ("equivalence", "escape", "attribution", "deltas"):
        lines = {"escape": [line for line in document.lines if line.in_family], "attribution": document.attribution}
        verdicts = {line.verdict for line in (document.deltas if name == "deltas" else lines.get(name, document.lines))}
        texts = {text.get_text().split()[-1] for text in shown(document, name).drawing.canvas.texts}
        assert texts & {verdict.lower() for verdict in Verdict} == {verdict.lower() for verdict in verdicts}, name


def test_no_name_of_the_projects_own_is_cut(document):
    longest = "adaptive_information_200"
    renamed = [replace(scorer, name=longest) if scorer.name == "fake" else scorer for scorer in document.scorers]
    lines = tuple(replace(line, scorer=longest) if line.scorer == "fake" else line for line in document.lines)
    made = replace(document, scorers=tuple(renamed), lines=lines)
    for draw in (decides, stacked, equivalence):
        with figure_style():
            canvas = draw(made).drawing.canvas
            assert any(text.get_text() == longest for text in canvas.findobj(Text)), draw.__name__


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("which", ["document", "hostile", "many", "tiny"])
def test_no_text_leaves_the_picture_and_no_names_overlap(which, name, request):
    document = request.getfixturevalue(which)
    with figure_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        sketch = DRAW[name](document)
        if sketch.drawing is None:
            return
        canvas = sketch.drawing.canvas
        agg = FigureCanvasAgg(canvas)
        agg.draw()
        width, height = canvas.bbox.size
        hidden = set()  # the labels of ticks beyond an axis, which nobody draws
        for axes in canvas.axes:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                slack = 1e-9 * (high - low)
                off = [tick for tick in axis.get_major_ticks() if not low - slack <= tick.get_loc() <= high + slack]
                hidden |= {label for tick in off for label in (tick.label1, tick.label2)}
        for text in set(canvas.findobj(Text)) - hidden:
            if text.get_visible() and text.get_text().strip():
                box = text.get_window_extent(agg.get_renderer())
                assert text.get_fontsize() >= 6
                assert box.x0 > -2, text.get_text()
                assert box.y0 > -2, text.get_text()
                assert box.x1 < width + 2, text.get_text()
                assert box.y1 < height + 2, text.get_text()
        for axes in canvas.axes:
            for axis in (axes.yaxis, axes.xaxis):
                boxes = [
                    t.get_window_extent(agg.get_renderer()) for t in set(axis.get_ticklabels()) - hidden if t.get_text().strip()
                ]
                size = (lambda box: (box.y0, box.y1)) if axis is axes.yaxis else (lambda box: (box.x0, box.x1))
                spans = sorted(map(size, boxes))
                assert all(a[1] <= b[0] + 2.5 for a, b in pairwise(spans)), (name, axes.get_title())


def test_many_rows_make_a_taller_figure_in_panels(many, document):
    tall, small = shown(many, "equivalence").drawing, shown(document, "equivalence").drawing
    assert tall.height > 2 * small.height
    assert tall.canvas.get_figwidth() == 7.0
    assert any(text.get_text() == "no seeds" for axes in tall.canvas.axes for text in axes.texts)
    assert any("δ below noise" in axes.get_title() for axes in tall.canvas.axes)


def test_hostile_names_stay_text(hostile, hostile_names):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = figure_list(hostile)
    drawn = [figure for figure in figures if figure.svg]
    assert len(drawn) >= 5
    for figure in drawn:
        root = ET.fromstring(figure.svg)
        tags = {element.tag.rsplit("}")[-1] for element in root.iter()}
        assert tags <= {"svg", "g", "path", "use", "defs", "clipPath", "rect", "text", "tspan", "title", "desc"}
        assert not any(key.startswith("on") for element in root.iter() for key in element.attrib)
    root = ET.fromstring(next(figure.svg for figure in figures if figure.id == "equivalence"))
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
    assert short("$x_1$ \\textbf{y} & 50 % #_^~", LONGEST) in texts
    assert "a|b`c`*d*_e_" in texts
    tips = [element.text or "" for element in root.iter() if element.tag.endswith("title")]
    for name in hostile_names[:5]:
        assert any(name in tip for tip in tips), name  # whole, where the axis has it cut


def test_files_with_hostile_names_warn_of_nothing_and_tell_them_apart(make_table, tmp_path):
    table = make_table({"magnitude": [0.0, 0.1, 0.0], "混沌": [1.0, 1.1, 1.2], "混乱": [0.2, 0.1, 0.3]})
    document = report_table(table, draws=500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written = save_figures(document, tmp_path)
    assert written
    assert "混沌" in figure_list(document)[0].svg


def test_names_that_differ_at_the_end_keep_their_end():
    names = [f"my_long_scorer_name_{i:02}" for i in range(20)]
    assert all(text.endswith(name[-2:]) for name, text in labels(names, 16).items())


def test_columns_of_labels():
    assert short("\x00\n\u202e") == "\\x00\\n\\u202e"
    assert columns(short("混" * 30, 9)) <= 9
    names = [f"{'x' * 60}{i}" for i in range(30)]
    cut = labels(names, 12)
    assert len(set(cut.values())) == 30
    assert all(columns(text) <= 12 for text in cut.values())


@given(
    st.lists(st.lists(st.floats(-90, 90), max_size=4), max_size=8),
    st.floats(0.01, 20),
)
def test_the_window_holds_the_margin_and_at_least_half_of_the_rows(rows, delta):
    low, high = window(rows, delta)
    assert low < -delta < delta < high
    full = [row for row in rows if row]
    inside = [row for row in full if low <= min(row) and max(row) <= high]
    assert 2 * len(inside) >= len(full)
    assert all(max(map(abs, row)) > 6 * delta for row in full if row not in inside)


WAYS = {
    "several scorers": ({"a": None, "b": None}, False, "(rotation max-|T|)", "95 % interval (Student t)"),
    "one scorer": ({"a": None}, False, "(Student t)", "95 % interval (Student t)"),
    "unpaired": (
        {"a": None, "b": None},
        True,
        "(Bonferroni on Welch's t, unpaired seeds)",
        "95 % interval (Welch's t, unpaired seeds)",
    ),
    "one scorer, unpaired": ({"a": None}, True, "(Welch's t, unpaired seeds)", "95 % interval (Welch's t, unpaired seeds)"),
    "other seeds": (
        {"a": None, "b": 4},
        False,
        "(Bonferroni on each line's own t, as scorers miss different seeds)",
        "95 % interval (Student t)",
    ),
    "a constant": (
        {"a": None, "b": None, "same": None},
        False,
        "(rotation max-|T|; none for equal differences)",
        "95 % interval (Student t; equal differences have a point and no interval)",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_captions_name_the_test_that_was_used(way: str) -> None:
    scorers, unpaired, joint, own = WAYS[way]
    rng = np.random.default_rng(4)
    rows = []
    for i in range(6):
        base = 0.8 + rng.normal(0, 0.01)
        rows.append((i, "magnitude", 0.7, base))
        for name, lacks in scorers.items():
            if i != lacks:
                rows.append((i, name, 0.7, base + 0.01 + (0 if name == "same" else rng.normal(0, 0.004))))
    frame = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy"])
    document = report_table(frame, draws=500, unpaired=unpaired)
    assert joint in escape(document).caption
    assert own in equivalence(document).caption
