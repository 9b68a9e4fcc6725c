"""A drawing as PDF (TrueType fonts), PNG (300 dots an inch) and inline SVG, the same bytes for the same drawing."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure as Canvas

from sics_analysis.report.figures.drawing.style import Tip

DPI = 300


def save_canvas(canvas: Canvas, stem: Path, title: str) -> list[Path]:
    """Write a canvas under `figure_style()` as `stem`.pdf and `stem`.png; the folder must be there."""
    pdf, png = stem.with_name(f"{stem.name}.pdf"), stem.with_name(f"{stem.name}.png")
    with quiet():
        FigureCanvasPdf(canvas)
        canvas.savefig(pdf, metadata={"Title": title, "CreationDate": None, "Creator": None, "Producer": None})
        FigureCanvasAgg(canvas)
        canvas.savefig(png, dpi=DPI, facecolor="white", metadata={"Software": None, "Title": title})
    return [pdf, png]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to ourselves that the font lacks a glyph: a page has fonts of its own, files spell it out."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            yield
    finally:
        logger.setLevel(level)


SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_FONT = re.compile(r"font: (?:(italic|bold) )?([\d.]+)px [^;]*")
_FAMILY = re.compile(r"font-family: [^;]*(?:; |$)")  # the page's own sans-serif is inherited
_SPACE, _LETTER = re.compile(r"\s+"), re.compile(r" ?([A-Za-z]) ?")
_FINE = re.compile(r"\d+\.\d\d")
_UNTURNED = re.compile(r"rotate\(-?0 [^)]*\)")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline_svg(canvas: Canvas, name: str, title: str, description: str, tips: Iterable[Tip] = ()) -> str:
    """Render as an SVG element without prolog; `name` is the prefix of every id in it, unique on the page.

    Black is `currentColor`, the ground transparent, text is text in the page's sans-serif; no style sheet, no script, nothing
    from a network. The same canvas gives the same bytes.
    """
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ET.fromstring(buffer.getvalue())
    _strip(root)
    used = _references(root)
    places = {identity: f"{name}-{number}" for number, identity in enumerate(sorted(used))}
    for element in root.iter():
        _clean(element, places)
    _compact(root)
    width, height = (72 * float(size) for size in canvas.get_size_inches())
    root.attrib.clear()
    root.attrib.update(
        {
            "xmlns": _SVG,
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": f"{width * 4 / 3:g}",  # CSS pixels
            "height": f"{height * 4 / 3:g}",
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-desc",
            "font-family": SANS,
            "fill": "currentColor",
            "stroke-linejoin": "round",
            "stroke-linecap": "butt",
        }
    )
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        child = ET.Element(tag, {"id": f"{name}-{tag}"})
        child.text = xml_text(text)
        root.insert(place, child)
    _add_tips(root, tips, height)
    return ET.tostring(root, encoding="unicode").replace(" />", "/>")


def xml_text(text: str) -> str:
    """Text without what XML cannot hold, or what turns a line around: these characters become escapes.

    >>> xml_text("a" + chr(0) + "b")
    'a\\\\x00b'
    """
    return "".join(
        c if c in "\n\t" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff" and not "\x7f" <= c <= "\x9f"
                          and not "\u202a" <= c <= "\u202e" and not "\u2066" <= c <= "\u2069")
        else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )  # fmt: skip


def _strip(root: ET.Element) -> None:
    """Remove metadata and the style sheet: inside a page its `*` would reach everything there."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)


def _references(root: ET.Element) -> set[str]:
    found = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == _HREF:
                found.add(value.removeprefix("#"))
            found.update(_REFERENCE.findall(value))
    return found


def _clean(element: ET.Element, places: Mapping[str, str]) -> None:
    """Plain names, ids that are unique on the page, the page's font, black as `currentColor`, two decimals."""
    element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
    attributes = element.attrib
    if _HREF in attributes:
        attributes["href"] = attributes.pop(_HREF)
    if _UNTURNED.fullmatch(attributes.get("transform", "")):
        del attributes["transform"]
    identity = attributes.pop("id", None)
    if identity is not None and identity in places:
        attributes["id"] = places[identity]
    for key, value in attributes.items():
        if key == "href":
            attributes[key] = f"#{places[value.removeprefix('#')]}"
        elif key == "style":
            attributes[key] = _FAMILY.sub("", _FONT.sub(_font, value)).replace("#000000", "currentColor")
        elif key != "id":
            value = _REFERENCE.sub(lambda found: f"url(#{places[found[1]]})", value)
            value = _NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
            attributes[key] = _LETTER.sub(r"\1", _SPACE.sub(" ", value).strip()) if key == "d" else value


def _compact(root: ET.Element) -> None:
    """The same picture in fewer bytes: 40 seeds of eleven scorers at four S are as many marks and lines.

    Strokes beside each other that look alike become one path, and marks that look alike say so once, in their group.
    """
    _hoist(root)
    for parent in list(root.iter()):
        children = list(parent)
        styles = {child.get("style", "") for child in children}
        marks = len(children) > 1 and all(child.tag == "use" for child in children)
        if marks and len(styles) == 1 and "style" not in parent.attrib:
            parent.set("style", styles.pop())
            for child in children:
                child.attrib.pop("style", None)
        last: ET.Element | None = None
        for child in children:
            if last is not None and _alike(last, child):
                last.set("d", _FINE.sub(_coarse, f"{last.get('d')}{child.get('d')}"))
                parent.remove(child)
            else:
                last = child
    for element in root.iter():  # what matplotlib indents with
        if element.tag not in ("text", "title", "desc", "tspan"):
            element.text = (element.text or "").strip() or None
        element.tail = None if element.tail is None or not element.tail.strip() else element.tail


def _coarse(number: re.Match[str]) -> str:
    """One decimal: a tenth of a point is a sixth of a pixel on the page."""
    return f"{float(number[0]):.1f}".removesuffix(".0")


def _hoist(parent: ET.Element) -> None:
    """Put what groups without any attribute hold in their place, however deep."""
    found: list[ET.Element] = []
    waiting = list(parent)
    while waiting:
        child = waiting.pop(0)
        if child.tag == "g" and not child.attrib:
            waiting = [*child, *waiting]
        else:
            found.append(child)
    parent[:] = found
    for child in found:
        _hoist(child)


def _alike(one: ET.Element, two: ET.Element) -> bool:
    """Whether these are two strokes of one look, which nothing fills."""
    rest = [{key: value for key, value in element.attrib.items() if key != "d"} for element in (one, two)]
    return one.tag == two.tag == "path" and rest[0] == rest[1] and "fill: none" in one.get("style", "") and "id" not in one.attrib


def _font(found: re.Match[str]) -> str:
    weight = {"bold": "font-weight: bold; ", "italic": "font-style: italic; "}.get(found[1] or "", "")
    return f"{weight}font-size: {found[2]}px"


def _add_tips(root: ET.Element, tips: Iterable[Tip], height: float) -> None:
    """Invisible rectangles with a title each, above everything else; a pointer finds them, print and PDF do not."""
    group = ET.SubElement(root, "g", {"fill": "none", "pointer-events": "all"})
    for tip in tips:
        x0, y0, x1, y1 = tip.box
        # A canvas for SVG has 72 dots an inch once saved; before, its own dpi.
        scale = 72 / tip.axes.figure.get_dpi()
        (left, a), (right, b) = tip.axes.transData.transform([(x0, y0), (x1, y1)]) * scale
        inside = tip.axes.bbox
        # A point has no extent: give it that of a fingertip on a small screen.
        slack = 5.0 if x0 == x1 else 0.0
        left, right, a, b = left - slack, right + slack, a - slack, b + slack
        left, right = (min(max(x, inside.x0 * scale), inside.x1 * scale) for x in sorted((left, right)))
        bottom, top = sorted((a, b))
        box = {"x": left, "y": height - top, "width": right - left, "height": top - bottom}
        rectangle = ET.SubElement(group, "rect", {key: f"{value:.1f}".removesuffix(".0") for key, value in box.items()})
        ET.SubElement(rectangle, "title").text = xml_text(tip.text)
    if not len(group):
        root.remove(group)
