"""The report: what it says, in what order, and that nothing in it can be more than text."""

import itertools
import re
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from importlib import resources
from xml.etree import ElementTree as ET

import pytest

from provenance.evidence.decomposition import (
    BlockShares,
    Decomposition,
    MergeRecord,
    ParentKinship,
)
from provenance.evidence.difference import DifferenceRecord, Grid
from provenance.evidence.exhibits import KINDS
from provenance.evidence.outcomes import OUTCOMES, headline_of, outcome_of
from provenance.evidence.results import ControlResult, RunRecord
from provenance.evidence.sparse_merge import BlockParts, SparseMerge
from provenance.evidence.strangers import groups
from provenance.report import render_report
from provenance.report.calibration import of_controls, of_independence, quantiles
from provenance.report.charts import Point, bars, p_values, qq_plot, scatter
from provenance.report.difference_map import SIZES, difference_map
from provenance.report.facts import own, shared
from provenance.report.filters import classes_of
from provenance.report.heat_map import BINS, Cells, heat_map, shade
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
        if self.open and self.open[-1] not in {"style", "script"}:
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
    rows = [section.row for section in view.sections]
    keys = [row.outcome.key for row in rows]
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
    first = rows[0]
    assert (first.sentence, first.expect, first.verdict, first.kin, first.where) == (
        "copy is independent of base",
        "independent",
        "dependent",
        "4 of 4",
        "a.suite.yaml:5",
    )


def test_every_link_leads_to_something_in_the_page(read):
    ids = [attributes["id"] for _, attributes in read.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for tag, a in read.found if tag == "a"}
    assert targets <= set(ids)
    assert {f"c{i}" for i in range(1, 7)} <= targets


def test_nothing_in_the_page_is_loaded_and_nothing_but_our_script_is_run(page, read):
    tags = [tag for tag, _ in read.found]
    assert tags.count("script") == 1
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script == (resources.files("provenance.report") / "report.js").read_text("utf-8")
    assert not re.search("fetch|XMLHttp|import|eval|innerHTML|document.write", script)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in page
    assert not set(tags) & {"iframe", "img", "object", "embed", "base", "form"}
    assert not [a for _, a in read.found if any(name.startswith("on") for name in a)]
    assert not [a for _, a in read.found if "style" in a or "src" in a]
    assert [a["href"] for tag, a in read.found if tag == "link"] == ["data:,"]
    assert "url(" not in page
    assert "@import" not in page
    (policy,) = [a["content"] for _, a in read.found if "http-equiv" in a]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_a_name_or_a_reason_that_is_markup_is_text(page, read):
    assert page.count("<script") == 1
    shown = "".join(read.text)
    assert f"{synthetic.SCRIPT} is derived from ab⟨U+202E⟩cd⟨U+001B⟩[31m" in shown
    assert f"no folder {synthetic.SCRIPT}" in shown
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x09\x0b-\x1f]", page)


def test_exhibits_are_folded_under_their_claim_beside_what_strangers_have(page):
    folded = re.findall(r"<details><summary>What people argue.*?</details>", page, re.DOTALL)
    assert len(folded) == 1  # one claim has any
    assert "0.8750 (9 norms)" in folded[0]
    assert all(group.heading in folded[0] for group in groups())
    assert KINDS["norms"].decides_nothing in folded[0]
    assert "none: &lt;script&gt;alert(1)&lt;/script&gt; has no tokenizer" in folded[0]


def test_where_a_claim_is_drawn_short_its_exhibits_are_a_line():
    claims = [
        synthetic.claimed(
            synthetic.kin(f"m{i}", "base", 32, exhibits=synthetic.EXHIBITS), "finetune", i
        )
        for i in range(200)
    ]
    view = view_report(synthetic.results(*claims))
    short = [section for section in view.sections if section.short]
    assert short
    assert all("cosine of norm weights 0.8750" in section.exhibited for section in short)
    assert all(section.exhibits is None for section in short)


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
    rows = [section.row for section in view.sections]
    assert [row.where for row in rows] == ["a.json", "b.json"]
    assert [row.verdict for row in rows] == ["dependent", "independent"]


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
    classes = {p.get("class") for p in svg.iter("path")}
    assert classes == {"h5", "hx", "h3", "gaps", "aligned", "rim", "below"}
    assert [r.get("class") for r in svg.iter("rect")] == ["h0"]
    assert (shade(0.0), shade(None), shade(-5000.0)) == ("h0", "hx", "h5")


def test_neighbours_of_one_shade_are_one_rectangle():
    def covered(path):
        size = r"M([\d.]+) ([\d.]+)h([\d.]+)v"
        return [tuple(map(float, found)) for found in re.findall(size, path)]

    cells = Cells((0,), (0, 1, 2, 3), ((-9.0, -9.0, 0.0, -9.0),), frozenset(), frozenset())
    (runs,) = [p for p in parsed(heat_map("k", cells)).iter("path") if p.get("class") == "h3"]
    (x, _, wide), (x2, _, narrow) = covered(runs.get("d"))
    assert (x2 - x, wide) == pytest.approx((3 * 34, 2 * 34 - 1))
    assert narrow == pytest.approx(33)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_step_of_a_heat_map_can_be_told_from_the_next(scheme):
    """Ten units of CIE lightness are seen as a step even where two cells do not touch."""
    style = (resources.files("provenance.report") / "report.css").read_text("utf-8")
    part = style.split("prefers-color-scheme: dark")[scheme == "dark"]
    steps = [re.search(rf"--h{i}: #(\w+);", part)[1] for i in range(len(BINS) + 1)]
    light = [lightness(step) for step in steps]
    assert all(abs(a - b) >= 10 for a, b in itertools.pairwise(light))
    assert light in (sorted(light), sorted(light, reverse=True))


def lightness(colour):
    """L* of an sRGB colour, by its definition."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    y = sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


# differences


def drawn_of(record):
    return difference_map("k", record)


def test_a_difference_is_matrices_against_blocks_darker_for_more():
    heat = drawn_of(synthetic.difference(3))
    svg = parsed(heat.figure.drawing)
    shades = {p.get("class"): p.get("d").count("M") for p in svg.iter("path")}
    assert shades == {"d2": 2, "d3": 2, "d4": 2, "d5": 1, "gaps": 8}  # of a row one rectangle
    assert heat.figure.marks == {"d2", "d3", "d4", "d5"} <= {mark for mark, _ in SIZES}
    said = [found.text for found in svg.iter("text")]
    assert said.count("rank 40 of 64") == 7
    assert {"0", "1", "2", "mlp.gate_proj", "self_attn.q_proj"} <= set(said)
    assert "A fine-tune: " in heat.figure.caption
    assert [row[0] for row in heat.table.rows][-1] == "model.embed_tokens"
    assert len(heat.table.rows) == 8
    assert "Blocks looked at: 0, 1, 2; of 3 and 3" in heat.table.caption


@pytest.mark.parametrize(
    ("changes", "sign", "mark"),
    [
        ({"unchanged": 1.0}, "equal", "d0"),
        ({"grid": Grid("even", 4, 32, 1.0, 1.0), "relative": 0.09}, "grid of 4 bits", "d3"),
        ({"new_zeros": 0.5, "relative": 0.5}, "50% new zeros", "d5"),
        ({"relative": 0.0009, "rank": 4}, "rank 4 of 64", "d1"),
    ],
)
def test_what_stands_out_is_written_beside_a_matrix(changes, sign, mark):
    figure = drawn_of(synthetic.difference(2, **changes)).figure
    said = [found.text for found in parsed(figure.drawing).iter("text")]
    assert said.count(sign) == 7
    assert figure.marks == {mark}


def test_a_matrix_that_a_block_has_not_is_told_from_one_that_is_equal():
    record = synthetic.difference(2, unchanged=1.0)
    heat = drawn_of(replace(record, matrices=record.matrices[1:]))
    assert heat.figure.marks == {"d0", "dx"}


def test_where_nothing_was_measured_nothing_is_drawn():
    assert drawn_of(None) is None
    assert drawn_of(DifferenceRecord(reason="not found kin")) is None
    assert drawn_of(DifferenceRecord()) is None


def test_a_claim_that_measured_a_difference_shows_it_in_the_page():
    found = synthetic.kin("chat", "base", difference=synthetic.difference())
    results = synthetic.results(synthetic.claimed(found, "finetune", kind="measured"))
    (section,) = view_report(results).sections
    assert section.difference is not None
    page = render_report(results)
    reader = Reader(page)
    assert reader.open == []
    assert "a difference of 50% or more" in page
    assert page.count('aria-describedby="c1-d-d"') == 1


def test_a_long_name_of_a_matrix_keeps_its_end():
    record = synthetic.difference(1)
    name = "block_sparse_moe.experts.0.projection.gate_and_up.weight"
    ours = replace(record.matrices[0], name=f"model.layers.0.{name}")
    figure = drawn_of(replace(record, matrices=(ours,))).figure
    said = [found.text for found in parsed(figure.drawing).iter("text")]
    assert any(text.startswith("…") and text.endswith("gate_and_up") for text in said)


def test_the_shares_of_a_merge_stand_in_the_page_under_the_claims_names():
    kin = tuple(ParentKinship(name, name, -50.0) for name in ("x", "y"))
    blocks = (BlockShares(0, (0.75, 0.25), 0.001),)
    fitted = Decomposition(("x", "y"), (0.7, 0.3), (0.69, 0.29), (0.71, 0.31), 0.01, blocks, 14)
    found = synthetic.kin("merged", "a", merge=MergeRecord(kin, fitted))
    claimed = {"kind": "measured", "parents": (("a", 0.7), ("b", 0.3))}
    results = synthetic.results(synthetic.claimed(found, "merge", **claimed))
    (section,) = view_report(results).sections
    table = section.blocks[-1]
    assert table.head == ("block", "a", "b", "left over")
    assert table.rows == (
        ("0", "0.7500", "0.2500", "0.1%"),
        ("all", "0.7000 (0.6900 to 0.7100)", "0.3000 (0.2900 to 0.3100)", "1.0%"),
    )
    assert section.row.sentence == "merged is a merge of a (0.7) and b (0.3)"
    sparse = SparseMerge(
        base=0,
        mixed="mean",
        kept="largest",
        elected=True,
        shares=(0.7, 0.3),
        low=(0.7, 0.3),
        high=(0.7, 0.3),
        densities=(None, 0.5),
        fits=1.0,
        telling=2000,
        looked=4000,
        left_over=0.0,
        blocks=(BlockParts(0, (0.6, 0.4), (None, 0.45), 0.999),),
    )
    parts = replace(found, merge=MergeRecord(kin, replace(fitted, sparse=sparse)))
    results = synthetic.results(synthetic.claimed(parts, "merge", **claimed))
    by_number, by_squares = view_report(results).sections[0].blocks[-2:]
    assert by_squares == table
    assert by_number.caption == f"Number by number: {sparse.words()}"
    assert by_number.head == (
        "block", "a: share", "a: density", "b: share", "b: density", "numbers that fit",
    )  # fmt: skip
    assert by_number.rows == (
        ("0", "0.6000", "base", "0.4000", "0.4500", "99.90%"),
        ("all", "0.7000", "base", "0.3000", "0.5000", "100.00%"),
    )
    other = replace(found, merge=MergeRecord(kin, reason="they are one model"))
    results = synthetic.results(synthetic.claimed(other, "merge", **claimed))
    assert "Shares" not in view_report(results).sections[0].blocks[-1].caption


def test_bars_are_as_many_as_blocks():
    points = [Point(0, -3000.0, "kin"), Point(1, -0.3, "free"), Point(2, None, "none")]
    svg = parsed(bars("k", points, -7.0))
    drawn = {p.get("class"): p.get("d").lower().count("m") for p in svg.iter("path")}
    assert drawn == {"bar kin": 1, "bar free": 1, "bar none": 1, "limit": 1}
    assert svg.get("aria-label") == "p-values: 1 of 3 blocks lie beyond the threshold"


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
    page = render_report(synthetic.registry(40, blocks=4))
    ids = [attributes["id"] for _, attributes in Reader(page).found if "id" in attributes]
    assert len(ids) == len(set(ids))
    found = re.findall(
        r'<span class="claim">([^<]+)</span>.*?<div class="body" id="([^"]+)"', page, re.DOTALL
    )
    bodies = {anchor: words for words, anchor in found}
    assert len(bodies) == 40
    links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', page)
    named = [(anchor, words) for anchor, words in links if anchor in bodies]
    assert named
    assert all(bodies[anchor] == words for anchor, words in named)
    cells = re.findall(r'href="#([^"]+)" title="(\S+) and (\S+): ', page)
    assert len(cells) == 40
    assert all({a, b} <= set(bodies[anchor].split()) for anchor, a, b in cells)


def test_nothing_moves_what_a_link_has_scrolled_to(page):
    """Heights that are guessed until a part is near, and a scroll that takes its time, both would."""
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    screen = style.partition("@media print")[0]
    assert "content-visibility" not in screen
    assert "contain-intrinsic-size" not in screen
    assert "scroll-behavior" not in screen
    assert "loading=" not in page


@pytest.fixture(scope="module")
def many():
    return synthetic.registry(400, blocks=32)


@pytest.fixture(scope="module")
def seen(many):
    return view_report(many)


@pytest.fixture(scope="module")
def long(many):
    return render_report(many)


def test_four_hundred_claims_are_a_page_that_can_be_mailed(long, seen):
    assert len(long.encode()) < 1.5e6
    sections = seen.sections
    assert [section.short for section in sections] == sorted(section.short for section in sections)
    first, last = sections[0], sections[-1]
    assert (len(first.panels), first.matched) == (3, 32)
    assert sum(panel.chosen for panel in first.panels) == 1
    assert last.numbers.count(" ") == 31
    assert (last.plot, last.panels, last.blocks, last.heat) == (None, (), (), None)
    assert all(control.heat is None for control in last.controls)


def test_one_result_is_one_page_to_the_byte(every):
    assert render_report(every) == render_report(every)


def test_what_was_asked_for_whole_is_whole(many):
    few = replace(many, claims=many.claims[:60])
    assert view_report(few).short > 0
    assert view_report(few, whole=True).short == 0


def test_all_claims_that_need_a_person_stand_on_top(seen, long):
    view = seen
    needed = [row.row for row in view.sections if row.row.urgent]
    assert [*view.first, *view.more] == needed
    assert (len(view.first), len(view.more)) == (5, 16)
    assert all(row.remedy for row in needed)
    assert "16 more that need a person" in long


def test_a_false_claim_says_what_to_do_next(read):
    shown = "".join(read.text)
    assert "What to do next. Do not release the candidate as independent" in shown
    assert "What to do next. Mend what the message names" in shown


def test_the_head_says_where_and_how_long_the_run_was(every):
    run = RunRecord("3f2a91c0d7e4b8a6f5c1", "main", "https://ci.example/runs/7", 212.4)
    page = render_report(replace(every, run=run))
    head = page[page.index("<header>") : page.index("</header>")]
    for said in ("took 3:32", "3f2a91c0d7e4<", "main", "provenance 0.1.0, torch 2.13.0"):
        assert said in head
    assert '<a href="https://ci.example/runs/7" rel="noreferrer">' in head
    odd = render_report(replace(every, run=RunRecord(url="javascript:alert(1)")))
    assert 'href="javascript' not in odd


def test_families_are_framed_in_the_overview_and_each_pair_stands_once(seen):
    view = seen.overview
    names = [line.label for line in view.lines]
    kinds = Counter(cell.mark for line in view.lines for cell in line.cells if cell.mark)
    assert kinds.total() == 400
    assert (kinds["bad"], kinds["open"]) == (8, 13)
    for i, line in enumerate(view.lines):
        for j, cell in enumerate(line.cells):
            together = line.label.split("-")[0] == view.columns[j].split("-")[0] != "lone"
            assert cell.frame.startswith("f ") == together
            assert not (cell.anchor and j > i)
    corner = view.lines[names.index("ember-1")].cells[view.columns.index("ember-0")]
    assert corner.frame.split() == ["f", "fb", "fl"]


def test_candidates_stand_against_references_where_none_is_both(every):
    view = view_report(every).overview
    assert set(view.columns) == {"base", synthetic.HIDDEN}
    assert len(view.lines) == 6


def test_an_overview_of_too_many_models_keeps_those_with_kin():
    pairs = [(f"many-{i}", "base") for i in range(80)]
    strangers = [claimed_stranger(a, b) for a, b in pairs]
    found = synthetic.results(
        synthetic.claimed(synthetic.kin("chat", "base"), "finetune"), *strangers
    )
    view = view_report(found).overview
    assert (view.columns, [line.label for line in view.lines]) == (("base",), ["chat"])
    assert view.left_out == 80


def claimed_stranger(a, b):
    return synthetic.claimed(synthetic.strangers(a, b), "independent")


def test_every_choice_leaves_as_many_claims_as_it_says(seen, long):
    view = seen
    known = [set(classes_of(section.row).split()) for section in view.sections]
    assert [one.label for one in view.filters] == ["outcome", "expected", "verdict", "model"]
    for one in view.filters:
        for option in one.options:
            number = int(re.search(r"\((\d+)\)$", option.label)[1])
            assert number == sum(option.value in classes for classes in known)
    for one in view.filters:
        for option in one.options:
            assert f'body:has(#{one.id} option[value="{option.value}"]:checked)' in long


def test_what_all_pairs_have_in_common_is_said_once(long):
    assert long.count("sha256:ids") == 1
    assert long.count("sha256:w-aurora-1") == 1
    assert long.count("1e-07 = alpha 1e-06 / 10") == 1


def test_what_differs_stays_with_its_claim():
    sheets = [[("a", (("x", "1"), ("y", "2")))], [("a", (("x", "1"), ("y", "3")))], [("b", ())]]
    common = shared(sheets)
    assert common == (("a", (("x", "1"),)),)
    assert [own(each, common)[0].rows for each in sheets[:2]] == [(("y", "2"),), (("y", "3"),)]
    assert own(sheets[2], common) == ()
    assert shared(sheets[:1]) == ()


def test_one_legend_explains_every_mark_of_the_page(every, page):
    view = view_report(every)
    marks = {mark for mark, _ in view.legend}
    assert {"kin", "free", "none", "h0", "h1", "hx", "aligned", "dashed"} <= marks
    assert "arrow" not in marks
    assert page.count('id="legend"') == 1


def test_a_long_name_and_a_long_note_are_drawn_whole():
    name = "an-organization-with-a-long-name/and-a-model-with-a-longer-one-7b-instruct-v3"
    found = synthetic.results(synthetic.claimed(synthetic.kin(name, "base"), "finetune"))
    (family,) = view_report(found).lineage.families
    svg = parsed(family.figure.drawing)
    words = [found.text for found in svg.iter("text")]
    assert name in words
    assert float(svg.get("width")) > 9 * len(name)
    assert max(map(len, words)) == len(name)


def test_a_row_says_its_statistic_once_and_what_else_is_unusual(every):
    result = next(one for one in every.claims if one.claim.statistic == "match")
    row = row_of(result, "a", ("by match", "512 tokens"))
    assert (row.statistic, row.how) == ("match", ("512 tokens",))
