"""The figures as the page takes them: what their drawings repeat is said once, in the style sheet of the page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sics_analysis.report.figures import Figure

_WIDE = 500  # CSS pixels: figures wider than a column of a paper take the whole width
_HIGH = 510  # CSS pixels, as drawn: figures higher than that stand folded
_STYLE = re.compile(r' style="([^"]*)"')
_ID = re.compile(r'(?<=id=")fig-[a-z]+-\d+(?=")|(?<=#)fig-[a-z]+-\d+(?=["\)])')


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure with its drawing as the page takes it."""

    figure: Figure
    svg: Markup
    wide: bool
    high: bool


def drawn(figures: Sequence[Figure]) -> tuple[dict[str, Drawn], str]:
    """Figures by id, and the rules of style that their drawings share.

    A drawing by itself says the style of every mark beside the mark, under ids that tell where they are from: of several
    thousand marks that is a third of a page.
    """
    texts = [figure.svg or "" for figure in figures]
    styles = Counter(style for text in texts for style in _STYLE.findall(text))
    classes = {style: f"g{place}" for place, (style, count) in enumerate(styles.most_common()) if count > 1}
    ids: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return f' class="{classes[found[1]]}"' if found[1] in classes else found[0]

    def identified(found: re.Match[str]) -> str:
        return ids.setdefault(found[0], f"g-{len(ids)}")

    found = {
        figure.id: Drawn(
            figure,
            Markup(_ID.sub(identified, _STYLE.sub(named, text))),
            _size(text, "width") > _WIDE,
            _size(text, "height") > _HIGH,
        )
        for figure, text in zip(figures, texts, strict=True)
    }
    return found, "".join(f".{name}{{{style}}}\n" for style, name in classes.items())


def _size(svg: str, side: str) -> float:
    """CSS pixels; 0 of no drawing."""
    found = re.search(rf' {side}="([\d.]+)"', svg)
    return float(found[1]) if found else 0.0
