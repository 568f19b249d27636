"""The report in a real browser: nothing loaded, nothing run, accessible, narrow, by keyboard, printed."""

import runpy

import pytest

from provenance.evidence.read import results_of_evidence
from provenance.report import render_report
from tests.support import synthetic
from tests.support.browser import on_every_screen, violations
from tests.support.places import DOCS


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(synthetic.every_kind()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "long.html"
    path.write_text(render_report(synthetic.registry(40, blocks=8)), encoding="utf-8")
    return path


@pytest.fixture
def open_page(browser, file):
    """Open the report; whatever it asks for or complains of is a failure."""
    told, contexts = [], []

    def open_page(**settings):
        context = browser.new_context(offline=True, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("dialog", lambda dialog: told.append(dialog.message))
        page.on("request", lambda request: told.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert {line for line in told if line != file.as_uri()} <= {"data:,"}


def unfolded(page):
    """What axe finds with all that is folded open."""
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    return violations(page)


@on_every_screen
def test_axe_finds_no_violation(open_page, width, scheme):
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    assert unfolded(page) == []


def looked_at(browser, path, width, scheme):
    """What axe finds on a page with all that is folded open, and how wide it is then."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.goto(path.as_uri())
    found = unfolded(page), page.evaluate("document.documentElement.scrollWidth")
    page.close()
    return found


@on_every_screen
def test_axe_finds_no_violation_in_an_audit(browser, tmp_path, width, scheme):
    path = tmp_path / "audit.html"
    path.write_text(render_report(synthetic.audited()), encoding="utf-8")
    assert looked_at(browser, path, width, scheme) == ([], width)


@pytest.fixture(scope="module")
def longest(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "longest.html"
    path.write_text(render_report(synthetic.registry(400)), encoding="utf-8")
    return path


@pytest.mark.extended
@on_every_screen
def test_axe_finds_no_violation_among_400_claims(browser, longest, width, scheme):
    assert looked_at(browser, longest, width, scheme) == ([], width)


def test_a_phone_has_no_sideways_scroll(open_page):
    page = open_page(viewport={"width": 320, "height": 640})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 320


LANDED = """anchor => {
    const body = document.querySelector(anchor), pair = body.closest('.pair');
    const line = pair.querySelector('summary').getBoundingClientRect();
    const end = document.documentElement.scrollHeight - innerHeight - scrollY;
    return [pair.open, line.top, end, body.checkVisibility()];
}"""


def test_a_phone_has_none_where_nothing_is_claimed(browser, tmp_path):
    found = {"a.json": synthetic.kin("a", "b"), "c.json": synthetic.strangers("a", "c")}
    file = tmp_path / "pairs.html"
    file.write_text(render_report(results_of_evidence(found)), encoding="utf-8")
    page = browser.new_page(viewport={"width": 320, "height": 640})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.close()


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("claim", [0, 7, 20, 33, 39])
@pytest.mark.parametrize("how", ["click", "address"])
def test_a_link_in_a_long_report_opens_its_claim_and_lands_on_it(browser, long, claim, how, script):
    context = browser.new_context(
        viewport={"width": 1200, "height": 800}, java_script_enabled=script
    )
    page = context.new_page()
    page.goto(long.as_uri())
    link = page.locator("#overview td a").nth(claim)
    anchor = link.get_attribute("href")
    if how == "click":
        link.click()
    else:
        page.goto("about:blank")
        page.goto(long.as_uri() + anchor)
    page.wait_for_timeout(500)  # for whatever still moves
    is_open, top, end, seen = page.evaluate(LANDED, anchor)
    context.close()
    assert is_open
    assert seen
    assert -40 < top < 60 or end < 1


@pytest.mark.parametrize("width", [1200, 320])
def test_every_link_within_the_report_lands_where_it_leads(open_page, width):
    page = open_page(viewport={"width": width, "height": 640})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    links = page.locator("a[href^='#']")
    off = []
    for i in range(links.count()):
        links.nth(i).focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(100)
        anchor = links.nth(i).get_attribute("href")
        top, end = page.evaluate(
            f"[document.querySelector('{anchor}').getBoundingClientRect().top,"
            " document.documentElement.scrollHeight - innerHeight - scrollY]"
        )
        if not (0 <= top < 120 or end < 1):
            off.append((anchor, top))
    assert links.count() > 10
    assert off == []


@pytest.mark.parametrize("script", [True, False])
def test_the_list_is_narrowed_with_and_without_a_script(browser, long, script):
    context = browser.new_context(java_script_enabled=script)
    page = context.new_page()
    page.goto(long.as_uri())
    shown = page.locator("#list .pair:visible")
    assert shown.count() == 40
    page.select_option("#by-outcome", "u")
    needed = shown.count()
    assert 0 < needed < 40
    page.select_option("#by-expected", "k-independent")
    page.select_option("#by-model", "m-2")
    names = shown.locator(".claim").all_inner_texts()
    assert names
    assert all("aurora-2" in words for words in names)
    assert page.locator("#by-text").is_visible() == script
    context.close()


def test_words_and_orders_are_by_the_script(browser, long):
    page = browser.new_page()
    page.goto(long.as_uri())
    shown = page.locator("#list .pair:visible .claim")
    page.fill("#by-text", "AURORA-3 fine-tune")
    assert 0 < shown.count() < 40
    assert all("aurora-3" in words for words in shown.all_inner_texts())
    assert page.inner_text("#shown") == f"{shown.count()} of 40 shown"
    page.fill("#by-text", "")
    page.select_option("#sort", "name")
    names = shown.all_inner_texts()
    assert names == sorted(names)
    page.select_option("#sort", "p")
    ps = page.eval_on_selector_all("#list .pair", "all => all.map(e => Number(e.dataset.p))")
    assert ps == sorted(ps)
    page.close()


def test_a_link_to_a_claim_that_is_filtered_out_shows_it(browser, long):
    page = browser.new_page()
    page.goto(long.as_uri())
    page.select_option("#by-outcome", "u")
    page.locator("#overview td a.free").first.click()
    page.wait_for_timeout(200)
    anchor = page.evaluate("location.hash")
    assert page.locator(f"{anchor}").is_visible()
    page.close()


def test_a_phone_shows_verdict_and_p_of_every_claim(open_page):
    page = open_page(viewport={"width": 320, "height": 640})
    for what in (".verdict", ".n"):
        boxes = page.eval_on_selector_all(
            f".pair > summary {what}",
            "all => all.map(e => e.getBoundingClientRect()).map(b => [b.left, b.right, b.width])",
        )
        assert len(boxes) == 6
        assert all(left >= 0 and right <= 320 and wide > 0 for left, right, wide in boxes)


def test_a_script_is_text(open_page):
    page = open_page()
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert synthetic.SCRIPT in page.inner_text("#claims")


def test_all_that_can_be_used_is_reached_by_keyboard(open_page):
    page = open_page()
    page.evaluate("document.querySelectorAll('.pair').forEach(d => d.open = true)")
    wanted = "a[href], summary, .scroll, input:checked, select, #by-text"
    page.evaluate(f"document.querySelectorAll('{wanted}').forEach((e, i) => e.dataset.i = i)")
    there = "e => e.checkVisibility({contentVisibilityAuto: false})"
    count = page.evaluate(f"[...document.querySelectorAll('{wanted}')].filter({there}).length")
    reached = set()
    for _ in range(count + 20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.i"))
    assert len(reached - {None}) == count


def test_everything_is_there_without_javascript(open_page):
    page = open_page(java_script_enabled=False)
    page.locator(".pair:has(.pick) > summary").first.click()
    page.locator(".pick").first.locator("label").nth(1).click()
    assert page.locator(".pick").first.locator(".panel").nth(1).is_visible()
    page.locator("#auditor summary").first.click()
    assert page.get_by_text("sha256:suite").is_visible()


def test_in_print_all_that_is_folded_is_open(open_page):
    page = open_page(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    hidden = "e => !e.checkVisibility({contentVisibilityAuto: false})"
    assert (
        page.evaluate(f"[...document.querySelectorAll('details table')].filter({hidden}).length")
        == 0
    )
    assert (
        page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    assert page.pdf().startswith(b"%PDF")


def test_the_picture_of_the_documentation_is_of_the_top_of_a_report(browser, file, tmp_path):
    maker = runpy.run_path(str(DOCS / "report_picture.py"))
    maker["draw"](browser, file, tmp_path / "report.png")
    size = (tmp_path / "report.png").read_bytes()[16:24]
    assert size == (DOCS / "report.png").read_bytes()[16:24]
    assert maker["claim"]().startswith("version: 1\n")
