"""Leads of children and siblings are measured, counted by what is said of them, and told."""

import pytest

from benchmarks import _lead_page, leads
from benchmarks._lead_page import LeadCount, LeadCounts, errors, read_counts, with_tables
from benchmarks._trained import Schedule
from benchmarks._zoo import Scale
from provenance.evidence.leads import LEAD_OF_SIBLINGS
from tests.support.places import DOCS

PLACE = f"before\n{_lead_page.BEGIN}\nold\n{_lead_page.END}\nafter\n"


def measured(low, weak, high, far=0.05):
    return {
        "blocks": [[0, 0.02, far]],
        "between": 0.04,
        "lead": weak,
        "weak": weak,
        "low": low,
        "high": high,
        "matrices": 7,
    }


ROWS = (
    LeadCount("child of the first", "20 steps", measured(0.85, 0.9, 1.0)),
    LeadCount("child of the first", "90 steps", measured(0.1, 0.3, 0.9, far=0.01)),
    LeadCount("child of the first", "90 steps", measured(-1.0, -0.9, -0.85, far=0.01)),
    LeadCount("sibling of both; of one text", "20 steps", measured(-0.1, 0.0, 0.1)),
    LeadCount("sibling of both; of one text", "90 steps", measured(0.85, 0.9, 0.95)),
)
MADE = LeadCounts("python -m this", "2026-01-01", "a machine", "Python 3", ROWS)


def test_models_are_counted_by_what_is_said():
    text = with_tables(PLACE, MADE)
    for line in (
        "| child of the first | 3 | 0.50 to 2.50 | -0.90 to 0.90 | -0.90 to 0.90 |",
        "| -1.00 to 0.85 | 1 | 1 | 1 | 1 |",
        "| sibling of both; of one text | 2 | 2.50 to 2.50 |",
        "nearer to one: 1 of 2, at most",
        "nearer to the wrong one: 1 of 3, at most",
        "to the right one: 1 of 3. By the distances alone 2 of 3",
    ):
        assert line in text
    assert with_tables(text, MADE) == text


def test_the_page_is_made_of_the_kept_counts():
    page = (DOCS / "identify.md").read_text("utf-8")
    assert page == with_tables(page, read_counts()), f"run {leads.COUNTING.command}"
    assert errors(read_counts()) in (DOCS / "error-rates.md").read_text("utf-8")


def test_the_bound_is_above_all_siblings_that_were_measured():
    siblings = [row.lead for row in read_counts().counted if row.has_none]
    assert len(siblings) >= 72
    assert max(max(one.low, -one.high) for one in siblings) < LEAD_OF_SIBLINGS


GROUPS = (
    "child of the first, trained 1 times as long; a sibling of it",
    "sibling of both, trained 1 times as long; of one text",
)


@pytest.mark.slow
def test_children_and_siblings_are_made_and_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(leads, "TRAININGS", (leads.Training(Schedule(6), texts=1),))
    monkeypatch.setattr(leads, "TIMES", (1,))
    monkeypatch.setattr(leads, "BRIEF", (0.5,))
    monkeypatch.setattr(leads, "CHECKPOINTS", 3)
    monkeypatch.setattr(leads, "SCALE", Scale(32, 64, 2, 4, 4, 16, 320, 30_000, 256, 512))
    page, counts = tmp_path / "identify.md", tmp_path / "leads.json"
    page.write_text(PLACE)
    folder = ["--folder", str(tmp_path / "models"), "--bases", "1"]
    leads.main([*folder, "--output", str(page), "--counts", str(counts)])
    kept = read_counts(counts).counted
    told = {group: {row.lead.found for row in kept if row.group == group} for group in GROUPS}
    # two blocks of so small a model have few matrices, so that a tenth of them is one
    assert "nearer" in told[GROUPS[0]]
    assert "farther" not in told[GROUPS[0]]
    assert told[GROUPS[1]] == {"not told"}
    assert page.read_text() == with_tables(PLACE, read_counts(counts))
    leads.main([*folder, "--output", str(page), "--counts", str(counts)])  # nothing is made again
    assert read_counts(counts).counted == kept
