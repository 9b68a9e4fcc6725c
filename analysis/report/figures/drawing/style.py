"""How every figure looks: colours with a glyph beside each, sizes for a paper's columns, and user text made safe to draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.text import Text

from sics_analysis.results import Verdict

SINGLE, DOUBLE = 3.4, 7.0  # inches: one and two columns of a paper
FONT, SMALL = 8.0, 7.0  # points
ROW = 0.158  # inches of height for a row of a table-like figure
HEAD = 0.24  # inches for the title of a panel
Fill: TypeAlias = Literal["full", "none", "left", "bottom"]
Dashes: TypeAlias = str | tuple[float, tuple[float, ...]]
INK = "#000000"  # becomes `currentColor` in an inline SVG
FAINT = "#767676"  # readable on white and on black

# Okabe and Ito's palette, told apart with every common colour blindness.
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mark:
    """Colour, marker and glyph of one word: no meaning hangs on colour alone."""

    colour: str
    marker: str
    glyph: str


VERDICTS = {
    Verdict.ESCAPES: Mark(GREEN, "^", "▲"),
    Verdict.DEGRADES: Mark(VERMILLION, "v", "▼"),
    Verdict.EQUIVALENT: Mark(BLUE, "s", "="),
    Verdict.IDENTICAL: Mark(FAINT, "D", "≡"),
    Verdict.NONINFERIOR: Mark(SKY, ">", "≥"),
    Verdict.NONSUPERIOR: Mark(PURPLE, "<", "≤"),
    Verdict.INCONCLUSIVE: Mark(ORANGE, "o", "?"),
}
STATUS = {
    "supported": Mark(GREEN, "o", "✓"),
    "contradicted": Mark(VERMILLION, "X", "✗"),
    "undecided": Mark(ORANGE, "s", "?"),
}
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FILLS: tuple[Fill, ...] = ("full", "none", "left", "bottom")
_DASHES: tuple[Dashes, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))


@dataclass(frozen=True, slots=True)
class Series:
    """How one scorer is drawn among others."""

    colour: str
    marker: str
    fill: Fill
    dashes: Dashes


def series(index: int) -> Series:
    """A look of its own for each scorer: six colours by seven markers, 42 of them, then other fills and dashes.

    >>> len({(s.colour, s.marker, s.fill) for s in map(series, range(160))})
    160
    """
    turn = index // 42
    return Series(_COLOURS[index % 6], _MARKERS[index % 7], FILLS[turn % 4], _DASHES[(index // 6) % 4])


def member(index: int, kappa: int | None) -> Series:
    """How a scorer is drawn where colour tells its class alone: by a marker and a filling of its own, 28 of them.

    >>> len({(s.marker, s.fill) for s in (member(i, 1) for i in range(28))}), member(0, 2).colour == member(9, 2).colour
    (28, True)
    """
    colour = {0: FAINT, 1: BLUE, 2: VERMILLION}.get(-1 if kappa is None else kappa, INK)
    return Series(colour, _MARKERS[index % 7], FILLS[(index // 7) % 4], "-")


_RC: Mapping[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same bytes on every machine
    "font.size": FONT,
    "axes.titlesize": FONT,
    "axes.labelsize": FONT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.titlepad": 4.0,
    "axes.labelpad": 2.0,
    "axes.unicode_minus": True,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.parse_math": False,  # a scorer named $x$ is text
    "text.usetex": False,
    "text.hinting": "none",
    "pdf.fonttype": 42,  # TrueType, as conferences ask
    "ps.fonttype": 42,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "sics",
    "path.simplify": False,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Set everything that a figure's look depends on; what the user's matplotlibrc says is put back afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


@dataclass(frozen=True, slots=True)
class Tip:
    """Text shown while a pointer rests on a rectangle: data coordinates (x0, y0, x1, y1) of `axes`."""

    axes: Axes
    box: tuple[float, float, float, float]
    text: str


@dataclass(slots=True)
class Drawing:
    """A canvas being filled, with the hover texts of its marks."""

    canvas: Canvas
    tips: list[Tip] = field(default_factory=list)

    @property
    def width(self) -> float:
        """Inches."""
        return float(self.canvas.get_size_inches()[0])

    @property
    def height(self) -> float:
        """Inches."""
        return float(self.canvas.get_size_inches()[1])

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Inches from the left and from the top as shares of the canvas from the left and from the bottom."""
        return x / self.width, 1 - y / self.height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes; inches from the left and from the top."""
        return self.canvas.add_axes((*self.place(left, top + height), width / self.width, height / self.height))

    def panels(
        self, count: int, across: int, body: float, *, left: float, gap: float = 0.42, right: float = 0.06, foot: float = 0.0
    ) -> list[Axes]:
        """Add axes of the height `body` in rows, `across` beside each other, a title's height above and `foot` below; inches."""
        width = (self.width - left - (across - 1) * gap - right) / across
        places = (divmod(i, across) for i in range(count))
        pitch = HEAD + body + foot
        return [self.axes(left + column * (width + gap), row * pitch + HEAD, width, body) for row, column in places]

    def text(self, x: float, y: float, text: str, **kwargs: object) -> Text:
        """Write at inches from the left and from the top."""
        return self.canvas.text(*self.place(x, y), text, **kwargs)  # type: ignore[arg-type]

    def marker(self, x: float, y: float, colour: str, marker: str, fill: Fill = "full") -> None:
        """Draw a marker at inches from the left and from the top."""
        at = ([share] for share in self.place(x, y))
        self.canvas.add_artist(Line2D(*at, linestyle="none", marker=marker, markersize=4.0, color=colour, fillstyle=fill))

    def line(self, start: float, end: float, y: float, colour: str, dashes: Dashes) -> None:
        """Draw a piece of line at inches from the left and from the top."""
        ends = zip(self.place(start, y), self.place(end, y), strict=True)
        self.canvas.add_artist(Line2D(*ends, color=colour, linestyle=dashes))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Sketch:
    """A figure before it is rendered: its texts and the drawing, or why there is none."""

    caption: str
    alt: str
    drawing: Drawing | None
    reason: str | None = None


def refusal(reason: str) -> Sketch:
    """No figure, and why."""
    return Sketch("", "", None, reason)


def drawing(width: float, height: float) -> Drawing:
    """An empty canvas of this size in inches."""
    return Drawing(Canvas(figsize=(width, height)))


def grid(count: int) -> tuple[int, int]:
    """Rows and columns of panels: at most four beside each other, evenly filled.

    >>> grid(1), grid(4), grid(6), grid(7)
    ((1, 1), (1, 4), (2, 3), (2, 4))
    """
    rows = -(-count // 4)
    return rows, -(-count // rows)
