"""Lay the site's source out in one folder: the pages of docs/, those made here, and a menu. ``make docs`` runs it before Sphinx.

    python docs/site/stage.py build/docs-source

The pages of docs/ are Markdown that reads on its own; links to files outside docs/ lead to their page of the site.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import api
import catalogue
import navigation

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
#: The run whose report is embedded.
SHOWN = "digits-weight"


def with_site_links(text: str, home: Path) -> str:
    """Turn links of a page of the repository, which lies in `home`, into links of the site."""

    def turned(match: re.Match[str]) -> str:
        target, hash_, anchor = match[1].partition("#")
        if re.match(r"[a-z]+:", target) or not target:
            return match[0]
        path = (home / target).resolve()
        inside = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        if inside in navigation.OUTSIDE:
            return f"]({navigation.OUTSIDE[inside]}{hash_}{anchor})"
        if inside == "examples/notebook.ipynb":
            return "](examples/notebook.ipynb)"
        if inside.startswith("examples/"):
            return f"](examples.md#{example_anchor(path)})"
        if home != DOCS and inside.startswith("docs/") and path.parent == DOCS:
            return f"]({path.name}{hash_}{anchor})"
        return match[0]

    return re.sub(r"\]\(([^()\s]+)\)", turned, text)


def example_anchor(path: Path) -> str:
    """Where the page of examples has a file."""
    return path.name.replace(".", "")


def pages(out: Path) -> None:
    """The hand-written ones, and the pictures they show."""
    for file in (*DOCS.glob("*"), *(DOCS / "reference").glob("*.md")):
        target = out / file.relative_to(DOCS)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            target.write_text(with_site_links(file.read_text(encoding="utf-8"), file.parent), encoding="utf-8")
        elif file.suffix in {".png", ".svg"}:
            shutil.copy(file, target)
    for source, name in navigation.OUTSIDE.items():
        if name != "start.md":
            text = (ROOT / source).read_text(encoding="utf-8")
            (out / name).write_text(with_site_links(text, (ROOT / source).parent), encoding="utf-8")
    shutil.copy(DOCS / "conf.py", out)
    static = out / "_static"
    static.mkdir(exist_ok=True)
    shutil.copy(DOCS / "site" / "site.css", static)


def examples(out: Path) -> None:
    """All examples on one page, and the notebook, which is executed."""
    parts = ["# Examples\n\nEach is one file that runs as it says on top: `examples/` of the repository.\n"]
    for file in sorted((ROOT / "examples").glob("*.py")):
        source = file.read_text(encoding="utf-8")
        said = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
        parts.append(f"## {file.name}\n\n{said}\n\n```python\n{source.rstrip()}\n```\n")
    (out / "examples.md").write_text("\n".join(parts), encoding="utf-8")
    (out / "examples").mkdir(exist_ok=True)
    notebook = json.loads((ROOT / "examples" / "notebook.ipynb").read_text(encoding="utf-8"))
    for number, cell in enumerate(notebook["cells"]):
        cell.setdefault("id", f"cell-{number}")
        if "FileLink" in "".join(cell["source"]) and "report" in "".join(cell["source"]):
            cell.setdefault("metadata", {})["tags"] = ["remove-output"]  # a file of the machine that built the site
    (out / "examples" / "notebook.ipynb").write_text(json.dumps(notebook), encoding="utf-8")


def report(out: Path) -> None:
    """A shipped run as the page that `sics-run report -o` makes, and a page around it."""
    from sics_analysis.report import render
    from sics_cli.results.report import document_of
    from sics_cli.results.source import Settings, read_source
    from sics_data import reference_runs

    source = read_source(reference_runs()[SHOWN])
    shown = out / "extra" / "reports" / f"{SHOWN}.html"
    shown.parent.mkdir(parents=True, exist_ok=True)
    shown.write_text(render(document_of(source, source.planned or Settings()), "html"), encoding="utf-8")
    (out / "a-report.md").write_text(
        f"# A real report\n\nForty seeds of digits under a plan of looks: `sics-run report reference:{SHOWN} -o report.html`.\n"
        f"[Reading the report](report.md) says what stands where. "
        f'<a href="reports/{SHOWN}.html">The page by itself</a>.\n\n'
        f'<iframe class="report" src="reports/{SHOWN}.html" title="Report of the run {SHOWN}" loading="lazy"></iframe>\n',
        encoding="utf-8",
    )


def command_line(out: Path) -> None:
    """Every command and option, read from the program."""
    title = "Command line"
    (out / "cli.rst").write_text(
        f"{title}\n{'=' * len(title)}\n\n``sics-run COMMAND --help`` prints the same. Exit codes: 0 done, 1 failed, 2 wrong use, "
        "3 done but for seeds that failed, 4 a claim of ``--fail-on`` is not supported.\n\n"
        ".. click:: sics_cli.main:cli\n   :prog: sics-run\n   :nested: full\n",
        encoding="utf-8",
    )


def menus(out: Path) -> None:
    """The first page and those of the sections: cards to click, and the menus that Sphinx makes of them."""
    for section in navigation.SECTIONS:
        menu = "\n".join(f"{page.title} <{page.name}>" for page in section.pages)
        tree = f"\n```{{toctree}}\n:hidden:\n\n{menu}\n```\n"
        home = out / f"{section.name}.md"
        if home.exists():  # a page of its own
            home.write_text(home.read_text(encoding="utf-8") + tree, encoding="utf-8")
            continue
        cards = "\n\n".join(
            f":::{{grid-item-card}} {page.title}\n:link: {page.name}\n:link-type: doc\n\n{page.about}\n:::"
            for page in section.pages
        )
        text = f"# {section.title}\n\n{section.about}\n\n::::{{grid}} 1 2 2 3\n:gutter: 3\n\n{cards}\n::::\n{tree}"
        home.write_text(text, encoding="utf-8")
    menu = "\n".join(f"{section.title} <{section.name}>" for section in navigation.SECTIONS)
    first = (DOCS / "site" / "index.md").read_text(encoding="utf-8")
    (out / "index.md").write_text(f"{first}\n```{{toctree}}\n:hidden:\n\n{menu}\n```\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Make the folder anew."""
    (folder,) = arguments
    out = Path(folder)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    pages(out)
    examples(out)
    report(out)
    command_line(out)
    api.write(out / "api")
    catalogue.write(out / "catalogue")
    menus(out)


if __name__ == "__main__":
    main(sys.argv[1:])
