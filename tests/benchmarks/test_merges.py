"""The shares of merges are found, held against what they were made with, and told."""

import json
from dataclasses import replace

import pytest

from benchmarks import _merge_page, merges
from benchmarks._merge_page import MergeCount, MergeCounts, read_counts, with_tables
from benchmarks._zoo import Scale
from tests.support.places import DOCS

PARTS = (
    "TIES, density 0.5, lambda 1",
    "DARE of one, 0.5 dropped",
    "TIES, then noise of 0.02 deviations",
)
PLACE = f"before\n{_merge_page.BEGIN}\nold\n{_merge_page.END}\nafter\n"
ROWS = (
    MergeCount("linear", (0, 0.7, 0.3), (0.0, 0.69, 0.31), (-0.1,) * 3, (0.1, 0.7, 0.7), 0.05),
    MergeCount("linear", (0, 0.7, 0.3), (0.1, 0.65, 0.25), (0.05, 0.6, 0.2), (0.2, 0.7, 0.29), 0.2),
    MergeCount("TIES", None, (0.1, 0.2, 0.7), (0, 0, 0), (1, 1, 1), 0.6),
)
MADE = MergeCounts("python -m this", "2026-01-01", "a machine", "Python 3", ROWS)


def test_errors_and_intervals_are_those_of_the_rows():
    text = with_tables(PLACE, MADE)
    linear, _ = [line for line in text.splitlines() if line.startswith("| linear |")]
    cells = [cell.strip() for cell in linear.strip("|").split("|")]
    assert "| merge | claimed as made |" in text
    assert cells == ["linear", "2", "1.0e-01", "4 of 6", "5.0% to 20.0%", "2 not named", "-"]
    assert "| TIES | 1 | - | - | 60.0% to 60.0% | 1 not named | - |" in text
    assert with_tables(text, MADE) == text
    with pytest.raises(ValueError, match="has no"):
        with_tables("nothing", MADE)


def test_claims_are_counted_by_what_becomes_of_them():
    near = ((-0.01, 0.69, 0.29), (0.01, 0.71, 0.31), 0.05)
    rows = (*ROWS, MergeCount("linear", (0, 0.7, 0.3), (0.0, 0.69, 0.31), *near))
    rows += (MergeCount("halves", [0, 0.5, 0.5], (0.0, 0.41, 0.59), *near),)
    text = with_tables(PLACE, replace(MADE, counted=rows))
    for line in (
        "| linear | 1 hold, 2 inconclusive | 1 fail, 2 inconclusive | 1 fail, 2 inconclusive |",
        "| TIES | - | 1 inconclusive | 1 inconclusive |",
        "| halves | 1 fail | - | 1 hold |",
    ):
        assert line in text
    assert "False claims that hold: 1 of 9, at most 42.9% (95%), were they independent." in text


def test_the_page_is_made_of_the_kept_counts():
    page = (DOCS / "kinds.md").read_text("utf-8")
    assert page == with_tables(page, read_counts()), f"run {merges.COUNTING.command}"


def test_names_of_merges_are_counted_by_what_they_are():
    told = {"densities": [None, 0.3, 0.4], "fits": 1.0}
    found = ((0.0, 0.7, 0.3), (0.0, 0.69, 0.29), (0.0, 0.71, 0.31), 0.0)
    rows = (
        *ROWS,
        MergeCount("cut", (0, 0.7, 0.3), *found, method="TIES", named="TIES", **told),
        MergeCount("cut", (0, 0.7, 0.3), *found, method="TIES"),
        MergeCount("noise", None, *found, named="DARE", **told),
    )
    text = with_tables(PLACE, replace(MADE, counted=rows))
    for line in (
        "| TIES | 2 | **1** | - | - | - | 1 |",
        "| none of these | 4 | - | 1 | - | - | **3** |",
        "| cut | 2 | 0.0e+00 | 6 of 6 | 0.0% to 0.0% | 1 TIES, 1 not named | 0.30 to 0.40 |",
        "| cut | 2 hold | 2 fail | 2 fail |",
    ):
        assert line in text
    assert "Others that are named: 1 of 4, at most " in text


def test_each_merge_in_parts_has_the_shares_that_it_is_made_with():
    made = {one.what: one for one in merges.in_parts()}
    assert len(made) == len(list(merges.in_parts()))
    assert made["TIES, density 0.3, lambda 0.7"].shares() == pytest.approx((0.3, 0.42, 0.28))
    assert made["DARE, 0.9 dropped"].shares() == pytest.approx((0, 0.6, 0.4))
    assert made["DARE of one, 0.5 dropped"].shares() == (0.0, 1.0)


@pytest.mark.slow
def test_merges_are_made_and_taken_apart(tmp_path, monkeypatch):
    few = [one for one in merges.merges() if one[0].startswith("task")]
    parts = [one for one in merges.in_parts() if one.what in PARTS]
    monkeypatch.setattr(merges, "merges", lambda: iter(few))
    monkeypatch.setattr(merges, "in_parts", lambda: iter(parts))
    monkeypatch.setattr(merges, "SCALE", Scale(32, 64, 2, 4, 4, 16, 320, 30_000, 256, 512))
    page, counts = tmp_path / "kinds.md", tmp_path / "merges.json"
    page.write_text(PLACE)
    folder = ["--folder", str(tmp_path / "models"), "--bases", "1"]
    merges.main([*folder, "--output", str(page), "--counts", str(counts)])
    arithmetic, ties, one, noisy, *trained = read_counts(counts).counted
    assert arithmetic.error < 1e-3
    assert (arithmetic.named, one.named, ties.named, noisy.named) == (None, "DARE", "TIES", None)
    assert ties.error < 1e-3
    assert one.found == pytest.approx((0, 1, 0), abs=0.05)
    assert [(row.made, row.named) for row in (noisy, *trained)] == [(None, None)] * 3
    assert len(json.loads(counts.read_text())["counted"]) == 6
    assert f"{merges.COUNTING.command} --bases 1" in page.read_text()
