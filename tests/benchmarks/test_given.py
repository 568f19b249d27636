"""Siblings and descendants are measured beyond their base, counted by what is said of them, and told."""

import pytest

from benchmarks import _given_page, given
from benchmarks._given_page import GivenCount, GivenCounts, read_counts, with_tables
from benchmarks._zoo import Scale
from provenance.evidence.given import MOST_OF_OTHERS, MOST_OF_SIBLINGS
from tests.support.places import DOCS

PLACE = f"before\n{_given_page.BEGIN}\nold\n{_given_page.END}\nafter\n"


def measured(low, weak, kept):
    return {
        "cosine": 0.5,
        "weak": weak,
        "low": low,
        "kept": kept,
        "share": 1.0,
        "sizes": [0.1, 0.1],
        "matrices": 21,
    }


ROWS = (
    GivenCount("siblings, same text", "20 steps", measured(0.2, 0.4, 0.4)),
    GivenCount("siblings, same text", "90 steps", measured(0.7, 0.8, 0.8)),
    GivenCount("siblings, in one order (made to fool)", "20 steps", measured(0.7, 0.8, 0.8)),
    GivenCount("an adapter on it", "20 steps", measured(1.0, 1.0, 1.0)),
    GivenCount("a merge", "20 steps", measured(0.0, 0.05, 0.05)),
)
MADE = GivenCounts("python -m this", "2026-01-01", "a machine", "Python 3", ROWS)


def test_pairs_are_counted_by_what_is_said():
    text = with_tables(PLACE, MADE)
    for line in (
        "| siblings, same text | 2 | 0.50 to 0.50 | 0.40 to 0.80 | 0.20 to 0.70 |",
        "| 0.20 to 0.70 | 0.40 to 0.80 | 1 | 1 | - |",
        "| a merge | 1 | 0.50 to 0.50 | 0.05 to 0.05 | 0.00 to 0.00 | 0.05 to 0.05 | - | - | 1 |",
        "Siblings that were said to share more: 1 of 2,",
        "Descendants that were said to share no more than siblings: 1 of 2,",
        "Descendants that were found: 1 of 2.",
    ):
        assert line in text
    assert with_tables(text, MADE) == text


def test_the_page_is_made_of_the_kept_counts():
    page = (DOCS / "kinds.md").read_text("utf-8")
    assert page == with_tables(page, read_counts()), f"run {given.COUNTING.command}"


def test_the_bounds_are_those_of_the_siblings_that_were_measured():
    siblings = [
        row
        for row in read_counts().counted
        if row.group.startswith(_given_page.SIBLINGS) and not row.group.endswith(_given_page.FOOLS)
    ]
    assert len(siblings) >= 80
    assert max(row.difference.low for row in siblings) < MOST_OF_SIBLINGS
    others = [row.difference for row in siblings if row.group == "siblings, other texts"]
    assert max(max(abs(one.weak), abs(one.kept)) for one in others) < MOST_OF_OTHERS


@pytest.mark.slow
def test_siblings_and_descendants_are_made_and_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(given, "TRAININGS", (given.Training(6, 1e-3, 4),))
    monkeypatch.setattr(given, "TIMES", (0.5,))
    monkeypatch.setattr(given, "SCALE", Scale(32, 64, 2, 4, 4, 16, 320, 30_000, 256, 512))
    page, counts = tmp_path / "kinds.md", tmp_path / "given.json"
    page.write_text(PLACE)
    folder = ["--folder", str(tmp_path / "models"), "--bases", "1"]
    given.main([*folder, "--output", str(page), "--counts", str(counts)])
    kept = {row.group: row.difference for row in read_counts(counts).counted}
    assert kept["an adapter on it"].found == "more"
    assert kept["in all disguises"].found == "more"
    assert kept["siblings, other texts"].found != "more"
    assert page.read_text() == with_tables(PLACE, read_counts(counts))
