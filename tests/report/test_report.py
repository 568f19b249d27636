"""The report: what it says, in what order, and that nothing in it can be more than text."""

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from provenance.evidence.outcomes import OUTCOMES, headline_of, outcome_of
from provenance.evidence.results import ControlResult
from provenance.report import render_report
from provenance.report.calibration import of_controls, of_independence, quantiles
from provenance.report.charts import Cells, Point, heat_map, p_values, qq_plot, scatter, shade
from provenance.report.html import view_report
from provenance.report.sections import row_of
from provenance.report.svg import depth, drawing, element, p_ticks, text
from tests.support import synthetic

pytestmark = pytest.mark.slow

VOID = {"meta", "link", "input", "br"}


class Reader(HTMLParser):
    """Elements, their nesting and their attributes."""

    def __init__(self, page):
        super().__init__()
        self.open, self.found, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


@pytest.fixture(scope="module")
def every():
    return synthetic.every_kind()


@pytest.fixture(scope="module")
def page(every):
    return render_report(every)


@pytest.fixture(scope="module")
def read(page):
    reader = Reader(page)
    assert reader.open == []
    return reader


def test_the_most_urgent_claims_come_first(every):
    view = view_report(every)
    keys = [row.outcome.key for row in view.rows]
    assert keys == ["false", "not-checked", "known", "skipped", "holds", "holds"]
    assert view.outcome == (
        "6 claims: 1 false, 1 not checked (exit status 1); 1 known failure, 1 skipped, 2 hold."
    )
    counted = {outcome.word: number for outcome, number in view.counts}
    assert counted == {
        "false": 1,
        "inconclusive": 0,
        "not checked": 1,
        "known failure": 1,
        "skipped": 1,
        "holds": 2,
    }
    first = view.rows[0]
    assert (first.sentence, first.expect, first.verdict, first.kin, first.where) == (
        "copy is independent of base",
        "independent",
        "dependent",
        "4 of 4",
        "a.suite.yaml:5",
    )


def test_every_row_leads_to_its_section(read):
    ids = [attributes["id"] for _, attributes in read.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for tag, a in read.found if tag == "a"}
    assert targets <= set(ids)
    assert {f"c{i}" for i in range(1, 7)} <= targets


def test_nothing_in_the_page_is_loaded_or_run(page, read):
    tags = {tag for tag, _ in read.found}
    assert not tags & {"script", "iframe", "img", "object", "embed", "base", "form"}
    assert not [a for _, a in read.found if any(name.startswith("on") for name in a)]
    assert not [a for _, a in read.found if "style" in a or "src" in a]
    assert [a["href"] for tag, a in read.found if tag == "link"] == ["data:,"]
    assert "url(" not in page
    assert "@import" not in page
    (policy,) = [a["content"] for _, a in read.found if "http-equiv" in a]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_a_name_or_a_reason_that_is_markup_is_text(page, read):
    assert "<script" not in page
    shown = "".join(read.text)
    assert f"{synthetic.SCRIPT} is derived from ab⟨U+202E⟩cd⟨U+001B⟩[31m" in shown
    assert f"no folder {synthetic.SCRIPT}" in shown
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x09\x0b-\x1f]", page)


def test_headings_are_in_order_and_every_table_says_what_its_columns_are(read):
    levels = [int(tag[1]) for tag, _ in read.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    heads = [a for tag, a in read.found if tag == "th"]
    assert all("scope" in a for a in heads)


@pytest.mark.parametrize(
    "what",
    [
        "sha256:suite",
        "sha256:w-copy",
        "sha256:ids",
        "2.13.0",
        "1e-07 = alpha 1e-06 / 10",
        "1e-3000",
    ],
)
def test_an_auditor_finds_it(read, what):
    assert what in "".join(read.text)


def test_of_bare_evidence_nothing_is_claimed():
    from provenance.evidence.read import results_of_evidence

    found = {"a.json": synthetic.kin("a", "b"), "b.json": synthetic.strangers("a", "c")}
    view = view_report(results_of_evidence(found))
    assert view.outcome == "Nothing is claimed; 2 pairs measured."
    assert [row.where for row in view.rows] == ["a.json", "b.json"]
    assert [row.verdict for row in view.rows] == ["dependent", "independent"]


@pytest.mark.parametrize(
    ("fates", "said"),
    [
        (["holds"], "the one claim holds"),
        (["holds", "holds"], "all 2 claims hold"),
        (["holds", "skipped"], "2 claims: 1 skipped, 1 holds"),
        (["holds", "inconclusive"], "2 claims: 1 inconclusive (exit status 1); 1 holds"),
        (["warned", "warned"], "2 claims: 2 warned"),
        (["skipped"], "1 claim: 1 skipped"),
        ([], "no claims"),
        (["measured"], "nothing is claimed; 1 pair measured"),
        (
            ["not-checked", *["false"] * 7, *["inconclusive"] * 2],
            "10 claims: 7 false, 2 inconclusive, 1 not checked (exit status 1)",
        ),
    ],
)
def test_the_headline_counts_every_claim_once(fates, said):
    assert headline_of([OUTCOMES[fate] for fate in fates]) == said


def test_a_control_that_fails_is_told_though_the_claim_is_not_false():
    held = synthetic.claimed(synthetic.strangers("a", "b"), "independent")
    part = replace(held.parts[0], nodeid="a[null]", outcome="failed", message="not uniform")
    control = ControlResult("null", False, -9.0, synthetic.crossed("a", "b"))  # noqa: FBT003
    failed = replace(held, parts=(*held.parts, part), controls=(control,))
    assert outcome_of(failed).key == "control-failed"
    (section,) = view_report(synthetic.results(failed)).sections
    assert section.notes == ("a[null]: not uniform",)


# drawings


def parsed(svg):
    return ET.fromstring(str(svg))


def titles(svg):
    return [found.text for found in parsed(svg).iter("title")]


def test_tiny_and_ordinary_p_values_stand_in_one_plot():
    points = [Point(0, -3000.0, "kin"), Point(1, -0.3, "free"), Point(2, None, "none")]
    svg = p_values("k", points, -7.0)
    assert titles(svg)[1:] == ["block 0: p = 1.0e-3000", "block 1: p = 0.50", "block 2: no test"]
    words = [found.text for found in parsed(svg).iter("text")]
    assert {"1", "1e-1000", "threshold 1.0e-7", "block of the candidate"} <= set(words)
    circle = next(parsed(svg).iter("circle"))
    assert 150 < float(circle.get("cy")) < 194  # above the axis, and below the threshold


def test_a_plot_of_one_block_at_p_1_is_drawn():
    assert len(titles(p_values("k", [Point(0, 0.0, "free")], -6.0))) == 2


def test_depth_tells_apart_what_powers_would_not():
    assert depth(0.0) == 0.0
    assert depth(-6.0) == pytest.approx(0.845, abs=1e-3)
    assert depth(-3000.0) == pytest.approx(3.477, abs=1e-3)
    ticks = p_ticks(depth(-3000.0), 200, 15)
    places = [depth(-t) / depth(-3000.0) * 200 for t in ticks]
    assert all(b - a >= 15 for a, b in itertools.pairwise(places))


def test_a_scatter_has_a_point_a_unit():
    svg = scatter("k", (0, 1, 2), (2, 1, 0))
    (path,) = [p for p in parsed(svg).iter("path") if p.get("class") == "dots"]
    assert path.get("d").count("M") == 3
    assert "1 of 3 units" in next(parsed(svg).iter("desc")).text


def test_a_heat_map_shades_by_size_and_marks_without_colour():
    cells = Cells(
        (0, 1), (0, 1), ((-400.0, -0.2), (None, -7.0)), frozenset({(0, 0)}), frozenset({(1, 1)})
    )
    svg = parsed(heat_map("k", cells))
    assert {p.get("class") for p in svg.iter("path")} == {"h7", "h0", "hx", "h3"}
    assert [c.get("class") for c in svg.iter("circle")] == ["below"]
    assert [r.get("class") for r in svg.iter("rect")] == ["aligned"]
    assert (shade(0.0), shade(None), shade(-5000.0)) == ("h0", "hx", "h8")


def test_text_in_drawings_is_escaped_and_visible():
    svg = drawing("k", (1, 2), ("<b>", "&"), text(0, 0, "\u202e<i>"), element("g", title='"<'))
    assert "<b>" not in svg
    assert [t.text for t in parsed(svg).iter("text")] == ["⟨U+202E⟩<i>"]


# calibration


def test_quantiles_of_uniform_p_values_lie_in_their_band():
    import numpy as np

    uniform = np.log10((np.arange(1, 2001) - 0.5) / 2000)
    found = quantiles(uniform.tolist())
    assert (found.count, found.outside) == (2000, 0)
    assert len(found.observed) <= 400
    small = quantiles((uniform * 3).tolist())
    assert small.outside > len(small.observed) / 2
    assert quantiles([-0.1] * 5) is None
    assert len(titles(qq_plot("k", found, "anything"))) == 1


def test_the_band_is_that_of_the_order_statistics():
    import numpy as np

    found = quantiles([-0.1 * i for i in range(1, 10)])
    draws = np.sort(np.random.default_rng(0).random((20000, 9)), axis=1)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    assert np.allclose(10 ** np.array(found.low), low, atol=0.01)
    assert np.allclose(10 ** np.array(found.high), high, atol=0.01)


def test_what_should_be_uniform_is_told_from_what_is_corrected(every):
    held = next(c for c in every.claims if c.controls)
    assert len(of_controls(every.claims)) == 16 - 1 - 4  # a cell without a test, and the map
    assert len(of_independence(every.claims)) == 4
    chosen = replace(held, evidence=replace(held.evidence, pairing="best-of-reference"))
    imitated = replace(held, evidence=replace(held.evidence, statistic="generalized"))
    assert of_independence([chosen, imitated]) == ()


def test_a_link_in_a_long_report_leads_to_its_own_claim():
    page = render_report(synthetic.large(pairs=40, blocks=4))
    ids = [attributes["id"] for _, attributes in Reader(page).found if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', page)
    claims = [(anchor, words) for anchor, words in links if anchor.startswith("c")]
    articles = dict(
        re.findall(r'<article id="([^"]+)".*?<span class="claim">([^<]+)</span>', page, re.DOTALL)
    )
    assert {anchor for anchor, _ in links} <= set(ids)
    assert len(articles) == 40
    assert all(articles[anchor] == words for anchor, words in claims if anchor in articles)
    assert {anchor for anchor, _ in claims} >= set(articles)


def test_nothing_moves_what_a_link_has_scrolled_to(page):
    """Heights that are guessed until a part is near, and a scroll that takes its time, both would."""
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    screen = style.partition("@media print")[0]
    assert "content-visibility" not in screen
    assert "contain-intrinsic-size" not in screen
    assert "scroll-behavior" not in screen
    assert "<script" not in page
    assert "loading=" not in page


def test_a_large_report_stays_small_and_says_what_it_does_not_draw():
    results = synthetic.large(pairs=210, blocks=32)
    assert len(render_report(results)) < 15e6
    section = view_report(results).sections[0]
    assert (len(section.panels), section.matched) == (6, 32)
    assert sum(panel.chosen for panel in section.panels) == 1


def test_a_row_says_its_statistic_once_and_what_else_is_unusual(every):
    result = next(one for one in every.claims if one.claim.statistic == "match")
    row = row_of(result, "a", ("by match", "512 tokens"))
    assert (row.statistic, row.how) == ("match", ("512 tokens",))
