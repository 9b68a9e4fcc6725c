"""Links of Markdown pages: which there are, which headings they may name, and whether they lead anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1`*\s*$", re.M | re.S)
_COMMENT = re.compile(r"<!--.*?-->", re.S)
_LINK = re.compile(r"(?<!`)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^(#{1,6}) +(.+?)(?: +#+)?$", re.M)


def prose(text: str) -> str:
    """A page without its blocks of code and its comments."""
    return _COMMENT.sub("", _FENCE.sub("", text))


def links(text: str) -> list[str]:
    """Where the links and pictures of a page lead.

    >>> links("[a](b.md#c), ![d](e.png), `[f](g)`")
    ['b.md#c', 'e.png']
    """
    return [target for _, target in _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(text)))]


def slug(heading: str) -> str:
    """The anchor that GitHub and the site give a heading.

    >>> slug("κ(S), and what `complexity` adds")
    'κs-and-what-complexity-adds'
    """
    plain = _LINK.sub(r"\1", heading).replace("`", "").replace("*", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """The anchors of a page; a heading that is met again gets a number."""
    found: dict[str, int] = {}
    for _, heading in _HEADING.findall(prose(text)):
        name = slug(heading)
        found[name] = found.get(name, -1) + 1
    return {name if not n else f"{name}-{n}" for name, most in found.items() for n in range(most + 1)}


def broken(page: Path) -> Iterator[str]:
    """Links within the repository that lead nowhere, each with what is wrong."""
    text = page.read_text(encoding="utf-8")
    for target in links(text):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        other = page if not place else page.parent / unquote(place)
        if not other.exists():
            yield f"{page.name}: {target}: no such file"
        elif anchor and other.suffix == ".md" and unquote(anchor) not in anchors(other.read_text(encoding="utf-8")):
            yield f"{page.name}: {target}: no such heading"
