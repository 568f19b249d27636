"""Families are trained, their trees drawn by distances and held against the way they were made."""

import pytest

from benchmarks import _tree_page, trees
from benchmarks._trained import Schedule
from benchmarks._tree_page import TreeCount, TreeCounts, read_counts, with_tables
from benchmarks._zoo import Scale
from tests.support.places import DOCS

PLACE = f"before\n{_tree_page.BEGIN}\nold\n{_tree_page.END}\nafter\n"
# a chain 0 - 1 - 2, whose second block has 0 and 2 nearer to each other than 1 and 2
CHAIN = TreeCount(
    "chain",
    1,
    (0, 1),
    (
        (0, 1, {0: 0.1, 1: 0.1, 2: 0.1}),
        (0, 2, {0: 0.3, 1: 0.15, 2: 0.3}),
        (1, 2, {0: 0.2, 1: 0.2, 2: 0.2}),
    ),
)
STAR = TreeCount("star", 3, (0, 0), ((0, 1, {0: 1.0}), (0, 2, {0: 3.0}), (1, 2, {0: 2.0})))


def test_trees_are_held_against_the_way_they_were_made():
    assert CHAIN.truth == {frozenset({0, 1}), frozenset({1, 2})}
    assert CHAIN.drawn(directed=False) == (2, 2, 1, 1)
    assert STAR.drawn(directed=False) == (1, 2, 1, 2)
    assert STAR.drawn(directed=True) == (2, 2, 1, 1)
    # the first of every four pairs has no distance, and comes after those that have one
    assert CHAIN.drawn(directed=False, every=4)[:2] == (1, 2)


def test_the_table_counts_trees_and_edges():
    made = TreeCounts("python -m this", "2026-01-01", "a machine", "Python 3", (CHAIN, STAR))
    text = with_tables(PLACE, made)
    for line in (
        "| chain of 3, one text | nothing | 1 of 1 | 2 of 2 | 1 of 1 |",
        "| star of 3, 3 texts | nothing | 0 of 1 | 1 of 2 | 1 of 2 |",
        "| star of 3, 3 texts | which of two descends from the other | 1 of 1 | 2 of 2 | 1 of 1 |",
    ):
        assert line in text
    assert with_tables(text, made) == text


def test_the_page_is_made_of_the_kept_counts():
    page = (DOCS / "report.md").read_text("utf-8")
    assert page == with_tables(page, read_counts()), f"run {trees.COUNTING.command}"


@pytest.mark.slow
def test_families_are_made_and_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(trees, "SCHEDULE", Schedule(6))
    monkeypatch.setattr(trees, "SHAPES", {"chain": (0, 1)})
    monkeypatch.setattr(trees, "SCALE", Scale(32, 64, 2, 4, 4, 16, 320, 30_000, 256, 512))
    page, counts = tmp_path / "report.md", tmp_path / "trees.json"
    page.write_text(PLACE)
    folder = ["--folder", str(tmp_path / "models"), "--bases", "1"]
    trees.main([*folder, "--output", str(page), "--counts", str(counts)])
    kept = read_counts(counts)
    assert [one.texts for one in kept.counted] == [1, 3]
    assert kept.counted[0].drawn(directed=False)[:2] == (2, 2)
    assert page.read_text() == with_tables(PLACE, kept)
