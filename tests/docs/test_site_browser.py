"""The site in a real browser: accessible, no word of a table broken, and searched."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.browser import WIDTHS, on_every_screen, violations

pytestmark = [pytest.mark.extended, pytest.mark.filterwarnings("default")]


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, and says nothing of it."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def pages(site):
    found = sorted(page.name for page in site.glob("*.html"))
    assert len(found) > 30
    return found


@on_every_screen
def test_axe_finds_no_violation_on_any_page(browser, address, pages, width, scheme):
    viewport = {"width": width, "height": 800}
    page = browser.new_page(viewport=viewport, color_scheme=scheme)
    found = {}
    for name in pages:
        page.goto(f"{address}/{name}", wait_until="networkidle")
        for rule, element in violations(page):
            found.setdefault(rule, (name, element))
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.setdefault("the page scrolls sideways", name)
    page.close()
    assert found == {}


BROKEN = """() => {
    const found = [];
    for (const cell of document.querySelectorAll('.md-typeset table :is(td, th)')) {
        const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        for (let node = walk.nextNode(); node; node = walk.nextNode()) {
            for (const word of node.data.matchAll(/[\\p{L}\\p{N}_]{2,}/gu)) {
                const range = document.createRange();
                range.setStart(node, word.index);
                range.setEnd(node, word.index + word[0].length);
                if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1)
                    found.push(word[0]);
            }
        }
    }
    return found;
}"""


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_of_a_table_is_broken_in_the_middle(browser, address, pages, width):
    page = browser.new_page(viewport={"width": WIDTHS[width], "height": 800})
    found = {}
    for name in pages:
        page.goto(f"{address}/{name}", wait_until="networkidle")
        words = page.evaluate(BROKEN)
        if words:
            found[name] = words[:5]
    page.close()
    assert found == {}


def test_a_word_that_is_broken_would_be_found(browser):
    page = browser.new_page()
    page.set_content(
        "<div class=md-typeset><table style='width: 3em; table-layout: fixed; word-break: break-all'>"
        "<tr><td>provenance</td></tr></table></div>"
    )
    assert page.evaluate(BROKEN) == ["provenance"]
    page.close()


@pytest.mark.parametrize(
    ("words", "wanted"), [("exhibits", "exhibits.html"), ("Bonferroni", "statistics.html")]
)
def test_a_search_finds_the_page(browser, address, words, wanted):
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.goto(f"{address}/index.html", wait_until="networkidle")
    page.locator(".md-search__input").click()
    page.locator(".md-search__input").press_sequentially(words)
    page.locator(".md-search-result__link").first.wait_for()
    links = page.eval_on_selector_all(".md-search-result__link", "all => all.map(a => a.href)")
    page.close()
    assert any(wanted in link for link in links)
