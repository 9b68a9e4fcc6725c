"""The page in a real browser: no errors, no requests, nothing overflows, tables sort, hostile names do nothing.

Needs playwright and a Chromium (SICS_CHROMIUM, or chromium on the PATH, or playwright's own); skips without, and says what is
missing. With SICS_SCREENSHOTS=DIR in the environment the screenshots are kept there, to be looked at.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sics_analysis.report import ReportDocument, render
from sics_analysis.report.figures import FIGURES
from sics_analysis.report.words.conclusion import deciding
from sics_analysis.report.words.phrases import BOLD
from sics_analysis.report.words.reasons import over_run

playwright = pytest.importorskip("playwright.sync_api", reason="the extra `dev` brings playwright")
WIDTHS, SCHEMES = (380, 1600), ("light", "dark")


def executable() -> str | None:
    named = os.environ.get("SICS_CHROMIUM")
    return named or next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = executable()
    with playwright.sync_playwright() as engine:
        try:
            # Root in a container has no sandbox; the page under test is ours.
            started = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium could be started ({path or 'none on the PATH'}): {str(error).splitlines()[0]}")
        yield started
        started.close()


@dataclass
class Opened:
    """A page with what happened on it."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def pages() -> dict[int, str]:
    """The page of each document, rendered once."""
    return {}


@pytest.fixture
def open_page(browser: Any, pages: dict[int, str], tmp_path: Path) -> Iterator[Open]:
    contexts = []

    def make(
        document: ReportDocument, name: str = "report.html", width: int = 1280, *, unfold: bool = False, **options: Any
    ) -> Opened:
        path = tmp_path / name
        if id(document) not in pages:
            pages[id(document)] = render(document, "html")
        path.write_text(pages[id(document)], encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.messages.append(f"{message.type}: {message.text}"))
        opened.page.on("pageerror", lambda error: opened.messages.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))

        def dismiss(dialog: Any) -> None:
            opened.dialogs.append(dialog.message)
            dialog.dismiss()

        opened.page.on("dialog", dismiss)
        opened.page.goto(path.as_uri())
        if unfold:
            opened.page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
        return opened

    yield make
    for context in contexts:
        context.close()


def column(page: Any, table: str, place: int) -> list[str]:
    found: list[str] = page.locator(f"#table-{table} tbody tr > :nth-child({place})").all_inner_texts()
    return found


@pytest.mark.parametrize("which", ["document", "hostile"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_opens_from_disk_quietly_and_fits(
    open_page: Open, request: pytest.FixtureRequest, tmp_path: Path, which: str, width: int, scheme: str
) -> None:
    made = open_page(request.getfixturevalue(which), width=width, color_scheme=scheme)
    assert made.messages == []
    assert made.dialogs == []
    assert len(made.requests) == 1, made.requests
    assert made.requests[0].startswith("file:")
    assert made.page.evaluate("document.documentElement.scrollWidth") <= width
    kept = Path(os.environ.get("SICS_SCREENSHOTS", tmp_path))
    shot = kept / f"{which}-{width}-{scheme}.png"
    made.page.screenshot(path=shot, full_page=True)
    assert shot.stat().st_size > 20_000
    ground = made.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(","))
    assert (brightness > 600) == (scheme == "light")


def test_what_is_wide_scrolls_inside_itself(open_page: Open, document: ReportDocument) -> None:
    made = open_page(document, width=380, unfold=True)
    outside = made.page.evaluate(
        """() => [...document.querySelectorAll("main *, header *, footer *")].filter(element =>
            !element.closest(".scroll, .drawing, .unseen") && element.getBoundingClientRect().right > innerWidth + 1
        ).map(element => element.outerHTML.slice(0, 80))"""
    )
    assert outside == []
    region = made.page.locator("#table-equivalence .scroll")
    assert region.evaluate("element => element.scrollWidth > element.clientWidth")
    region.focus()
    assert region.evaluate("element => document.activeElement === element"), "reached by keyboard"


def test_tables_sort(open_page: Open, document: ReportDocument) -> None:
    page = open_page(document, unfold=True).page
    before = column(page, "equivalence", 5)
    heading = page.locator("#table-equivalence thead th").nth(4)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    rising = [float(text.replace("−", "-")) for text in column(page, "equivalence", 5)]
    assert rising == sorted(rising)
    assert rising[0] < -25
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    falling = [float(text.replace("−", "-")) for text in column(page, "equivalence", 5)]
    assert falling == sorted(falling, reverse=True)
    assert sorted(before) == sorted(column(page, "equivalence", 5)), "no row is lost"


def test_empty_cells_sort_last_both_ways_and_words_by_letter(open_page: Open, document: ReportDocument) -> None:
    page = open_page(document, unfold=True).page
    button = page.locator("#table-equivalence thead th").nth(6).locator("button")  # p: none for identical masks
    for _ in range(2):
        button.click()
        values = column(page, "equivalence", 7)
        assert values[-6:] == ["–"] * 6
        assert "–" not in values[:-6]
    page.locator("#table-equivalence thead th").nth(1).locator("button").press("Enter")
    names = column(page, "equivalence", 2)
    assert names == sorted(names)


def test_without_a_script_everything_is_there(open_page: Open, document: ReportDocument) -> None:
    with_script, without = open_page(document).page, open_page(document, java_script_enabled=False).page
    assert without.locator("button").count() == 0
    assert with_script.locator("button").count() > 50
    for part in ("#verdicts td", "#questions td", "#notes li", "figure svg"):
        assert without.locator(part).count() == with_script.locator(part).count() > 0
    assert without.locator("h1").inner_text() == with_script.locator("h1").inner_text()


def test_hostile_names_survive_as_text(open_page: Open, hostile: ReportDocument, hostile_names: tuple[str, ...]) -> None:
    made = open_page(hostile, name="<img src=x onerror=alert(2)>'\"&.html")
    shown = made.page.locator(".grid tbody th").all_text_contents()
    for name in hostile_names:
        visible = "".join(c if c.isprintable() else f"\\{'x1b' if c == chr(27) else 'u202e'}" for c in name)
        assert any(visible in text for text in shown), visible
    assert made.page.evaluate("document.scripts.length") == 1
    assert made.page.evaluate("document.images.length") == 0
    assert made.page.title().startswith("5 of ") or "<script>" in made.page.title()
    assert made.dialogs == []


def test_an_injected_script_does_not_run(open_page: Open, document: ReportDocument) -> None:
    """Were a name ever put in unescaped, the policy of the page would still stop it."""
    page = open_page(document).page
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit = 1\">')")
    page.evaluate("{ const s = document.createElement('script'); s.textContent = 'window.hit = 2'; document.body.append(s); }")
    page.wait_for_timeout(200)
    assert page.evaluate("window.hit") is None


def test_figures_have_text_for_those_who_cannot_see_them(open_page: Open, document: ReportDocument) -> None:
    page = open_page(document).page
    names = page.evaluate(
        """() => [...document.querySelectorAll("figure svg[role=img]")].map(svg =>
            svg.getAttribute("aria-labelledby").split(" ").map(id => document.getElementById(id).textContent.trim().length))"""
    )
    assert len(names) == len(FIGURES) + 1  # those that are switched off too, and the one for a phone
    assert all(min(lengths) > 5 and max(lengths) > 40 for lengths in names)


def test_prints(open_page: Open, document: ReportDocument, tmp_path: Path) -> None:
    page = open_page(document, color_scheme="dark").page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_on_paper_tables_fit_and_hide_nothing(open_page: Open, document: ReportDocument) -> None:
    page = open_page(document, width=700).page  # what A4 leaves between its margins
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 700, "a wider page would be printed smaller as a whole"
    positions = page.evaluate("[...new Set([...document.querySelectorAll('th')].map(th => getComputedStyle(th).position))]")
    assert positions == ["static"], "a sticky heading is printed over its neighbour"
    shown = page.evaluate("[...new Set([...document.querySelectorAll('th button')].map(b => getComputedStyle(b).display))]")
    assert shown == ["contents"], "a button is not repeated with the heading on further pages"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_has_contrast(open_page: Open, document: ReportDocument, scheme: str) -> None:
    """WCAG AA: 4.5 to 1 for every colour of running text on its ground."""
    page = open_page(document, unfold=True, color_scheme=scheme).page
    weakest = page.evaluate(
        """() => {
        const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
        const parts = colour => colour.match(/[\\d.]+/g).map(Number);
        const ground = element => {
            for (let at = element; at; at = at.parentElement) {
                const found = parts(getComputedStyle(at).backgroundColor);
                if (found.length === 3 || found[3] === 1) return found.slice(0, 3);
            }
            return [255, 255, 255];
        };
        let worst = [99, ""];
        for (const element of document.querySelectorAll("p, td, th, li, dd, dt, h1, h2, h3, h4, small, a, span.v")) {
            if (!element.textContent.trim() || element.closest(".unseen, svg")) continue;
            const pair = [light(parts(getComputedStyle(element).color)), light(ground(element))];
            const ratio = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
            if (ratio < worst[0]) worst = [ratio, element.outerHTML.slice(0, 100)];
        }
        return worst;
    }"""
    )
    assert weakest[0] >= 4.5, weakest


def test_the_switch_between_the_forests_takes_no_script(open_page: Open, document: ReportDocument) -> None:
    page = open_page(document, java_script_enabled=False).page
    forests = ("equivalence", "escape")

    def seen() -> list[str]:
        return [name for name in forests if page.locator(f"#figure-{name}").is_visible()]

    assert seen() == ["equivalence"]
    page.locator("label[for=forest-2]").click()
    assert seen() == ["escape"]
    page.emulate_media(media="print")
    assert seen() == list(forests), "both in print"


def test_what_is_folded_opens_by_its_summary_by_a_link_and_in_print(open_page: Open, document: ReportDocument) -> None:
    page = open_page(document, java_script_enabled=False).page
    table = page.locator("#table-escapes table")
    assert not table.is_visible()
    page.locator("#table-escapes > summary").press("Enter")
    assert table.is_visible()
    scripted = open_page(document).page
    scripted.locator(".terms a[href='#table-escapes']").click()
    assert scripted.locator("#table-escapes table").is_visible(), "a link to a fold opens it"
    page.emulate_media(media="print")
    for name in ("equivalence", "intervals", "attribution", "kappa", "plateau"):
        assert page.locator(f"#table-{name} table").bounding_box()["height"] > 40, name
    assert page.locator("#notes li").first.bounding_box()["height"] > 5


def test_the_page_is_no_higher_than_it_may_be(open_page: Open, document: ReportDocument) -> None:
    """Eleven more screens would bury the answers; all is there, folded."""
    assert open_page(document).page.evaluate("document.documentElement.scrollHeight") <= 8_000


def test_the_first_screen_holds_headline_grid_forest_and_sentences(open_page: Open, document: ReportDocument) -> None:
    page = open_page(document).page
    grid, forest = (page.locator(name).bounding_box() for name in ("#verdicts .grid", "#figure-decides .on-wide svg"))
    assert grid["x"] + grid["width"] <= forest["x"], "beside each other"
    assert grid["y"] + grid["height"] < 900
    said = page.locator("#conclusion").bounding_box()
    assert said["y"] + said["height"] < grid["y"] < 900, "whatever the length of the grid"


def test_on_a_phone_no_row_of_the_grid_is_blank(open_page: Open, document: ReportDocument) -> None:
    page = open_page(document, width=380).page
    rows = page.evaluate(
        "[...document.querySelectorAll('.grid tr')].map(row => [row.innerText.trim().length, row.getBoundingClientRect().height])"
    )
    assert all(length > 3 and height < 70 for length, height in rows), rows


def test_on_a_phone_the_verdicts_that_decide_and_their_numbers_need_no_sideways_scroll(
    open_page: Open, document: ReportDocument
) -> None:
    page = open_page(document, width=380, java_script_enabled=False).page
    cells = page.locator("#verdicts tbody .decides")
    assert cells.count() == len(document.compared) + 1
    edges = cells.evaluate_all("cells => cells.map(cell => cell.getBoundingClientRect().right)")
    assert max(edges) <= 380
    names = page.locator("#verdicts tbody th").evaluate_all("cells => cells.map(cell => cell.getBoundingClientRect().right)")
    starts = cells.evaluate_all("cells => cells.map(cell => cell.getBoundingClientRect().left)")
    assert max(names) <= min(starts), "nor is a name covered"
    drawing = page.locator("#figure-decides .on-narrow .drawing")
    assert drawing.evaluate("element => element.scrollWidth <= element.clientWidth")
    sizes = page.locator("#figure-decides .on-narrow svg text").evaluate_all(
        "all => all.map(text => text.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 10, "and can be read"


def test_bold_means_the_same_in_grid_and_forest(open_page: Open, document: ReportDocument) -> None:
    page = open_page(document).page
    heavy = "cells => cells.filter(cell => Number(getComputedStyle(cell).fontWeight) >= 600)"
    held = {(line.scorer, line.sparsity) for line in over_run(document)[0]}
    assert page.locator("#verdicts tbody td").evaluate_all(f"cells => ({heavy})(cells).length") == len(held)
    S = deciding(document)
    names = page.locator("#figure-decides .on-wide svg text").evaluate_all(
        f"cells => ({heavy})(cells).map(cell => cell.textContent)"
    )
    assert {name for name in names if name[0] not in "▲▼"} == {name for name, at in held if at == S}
    for place in ("#verdicts .legend", "#figure-decides .under"):
        assert BOLD in page.locator(place).inner_text()


@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing(open_page: Open, document: ReportDocument, scheme: str, width: int) -> None:
    """WCAG by axe-core, where it is installed: SICS_AXE names its axe.min.js, or node_modules here has it."""
    path = Path(os.environ.get("SICS_AXE", "node_modules/axe-core/axe.min.js"))
    if not path.is_file():
        pytest.skip(f"no axe-core at {path}: npm install axe-core")
    page = open_page(document, width=width, unfold=True, color_scheme=scheme).page
    page.evaluate(path.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run().then(done => done.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 120))]))")
    assert found == []
