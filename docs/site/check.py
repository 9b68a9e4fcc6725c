"""See that a built site is whole: every link and anchor within it leads somewhere, and nothing is loaded from outside.

    python docs/site/check.py build/docs [--external]

With --external the links that lead outside are asked, too: the only part that needs a network.
"""

from __future__ import annotations

import argparse
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

_OUTSIDE = re.compile(r"(?:https?:)?//")
_LOADED = re.compile(r"""(?:url\(|@import)\s*['"]?((?:https?:)?//[^'")\s]+)""")
#: So many links that nobody answers, and none that somebody does, are no faults of the pages.
_SILENT = 3
#: Attributes by which a page loads something, whatever the element; of `link` those that are loaded and not only named.
_LOADING = {"src", "srcset", "data", "poster"}
_LOADING_LINKS = {"stylesheet", "preload", "icon", "modulepreload", "manifest"}


@dataclass
class Page(HTMLParser):
    """The anchors of a page, what it links to, and what it loads."""

    file: Path
    ids: set[str] = field(default_factory=set)
    targets: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element names, links to and loads."""
        facts = {name: value or "" for name, value in attrs}
        self.ids |= {facts[name] for name in ("id", "name") if name in facts}
        self.loaded += [facts[name] for name in _LOADING & facts.keys()]
        if tag == "link":
            (self.loaded if set(facts.get("rel", "").split()) & _LOADING_LINKS else []).append(facts.get("href", ""))
        elif "href" in facts and tag != "base":
            self.targets.append(facts["href"])


@cache
def page_of(file: Path) -> Page:
    """A page, read once."""
    return Page(file)


def faults(folder: Path) -> Iterator[str]:
    """What is wrong, a line each."""
    for file in sorted(file for file in folder.rglob("*.html") if file.parent.name != "_static"):  # templates of the theme
        page, name = page_of(file), file.relative_to(folder)
        for target in page.loaded:
            if _OUTSIDE.match(target):
                yield f"{name}: loads {target} from outside"
            elif target and not target.startswith("data:") and not (file.parent / unquote(re.split("[?#]", target)[0])).exists():
                yield f"{name}: loads {target}, which is not there"
        for target in page.targets:
            if re.match(r"[a-z]+:", target) or target.startswith("//"):
                continue
            place, _, anchor = target.partition("#")
            other = file if not place else file.parent / unquote(place)
            if not other.exists():
                yield f"{name}: {target} leads nowhere"
            elif anchor and other.suffix == ".html" and unquote(anchor) not in page_of(other.resolve()).ids:
                yield f"{name}: {target}: no such anchor"
    for style in sorted(folder.rglob("*.css")):
        for target in _LOADED.findall(style.read_text(encoding="utf-8", errors="replace")):
            yield f"{style.relative_to(folder)}: loads {target} from outside"


def external(folder: Path) -> Iterator[str]:
    """Links that lead outside and answer with an error; where nobody answers at all, one line that says so."""
    places = {target.partition("#")[0] for file in folder.rglob("*.html") for target in page_of(file).targets}
    silent: list[str] = []
    answered = False
    for place in sorted(one for one in places if re.match(r"https?://", one)):
        try:
            with urllib.request.urlopen(urllib.request.Request(place, headers={"User-Agent": "docs"}), timeout=20):
                answered = True
        except urllib.error.HTTPError as error:
            answered = True
            yield f"{place}: {error}"
        except OSError as error:
            silent.append(f"{place}: {error}")
        if not answered and len(silent) == _SILENT:
            yield f"--external: needs a network, and none of {_SILENT} links outside was reached ({silent[0]})"
            return
    yield from silent


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong; 1 if anything is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--external", action="store_true", help="ask links that lead outside")
    asked = parser.parse_args(arguments)
    found = [*faults(asked.folder.resolve()), *(external(asked.folder) if asked.external else ())]
    also = ", and every link outside answers" if asked.external else ""
    pages = sum(1 for _ in asked.folder.rglob("*.html"))
    print("\n".join(found) or f"{pages} pages, every link within them leads somewhere{also}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
