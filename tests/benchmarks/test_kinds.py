"""The confusion matrix of kinds is counted and told; one model, a few changes."""

import json
from collections import Counter

import pytest

from benchmarks import _kind_changes, _kind_page, _rates, error_rates, kinds
from benchmarks._kind_page import (
    COUNTS,
    LARGE,
    KindCount,
    KindCounts,
    read_counts,
    with_large,
    with_tables,
)
from benchmarks._zoo import Scale
from tests.support.places import DOCS

ROWS = (
    KindCount("adapter", "a low rank added", "rank 1", {"adapter": 3, "unsure": 1}),
    KindCount("adapter", "a low rank added", "rank 9", {"finetune": 4}),
    KindCount("finetune", "trained on", "2 steps", {"finetune": 4}),
    KindCount("", "noise", "1", {"finetune": 3, "adapter": 1}),
)
MADE = KindCounts("python -m this", "2026-01-01", "a machine", "Python 3", 4, ROWS)
PLACE = f"before\n{_kind_page.BEGIN}\nold\n{_kind_page.END}\nafter\n"


def cells(text, first):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_matrix_has_what_was_read_of_what_was_made():
    text = with_tables(PLACE, MADE).partition("Every change")[0]
    assert text.startswith("before\n")
    assert "old" not in text
    assert cells(text, "made as")[2:] == [
        f"read as {k}" for k in ("adapter", "fine-tune", "unsure")
    ]
    assert cells(text, "adapter") == ["adapter", "8", "**3**", "4", "1"]
    assert cells(text, "something else") == ["something else", "4", "1", "3", "-"]
    assert "16 pairs: 4 changes of each of 4 trained Llamas." in text


def test_the_tables_stand_where_the_page_says():
    assert with_tables(with_tables(PLACE, MADE), MADE) == with_tables(PLACE, MADE)
    with pytest.raises(ValueError, match="has no"):
        with_tables("nothing", MADE)


def test_false_claims_and_missed_ones_are_counted_apart():
    text = error_rates.page([], "", MADE)
    bound = f"{_rates.upper(1, 8):.1%}"
    assert cells(text, "adapter")[1:] == [
        "1 of 8",
        bound,
        "4 of 8",
        f"{_rates.upper(4, 8):.1%}",
        "1",
    ]
    assert cells(text, "fine-tune")[1] == "8 of 12", "what is unsure holds too"
    assert "The kind of kinship" not in error_rates.page([], "")


def test_the_page_is_made_of_the_kept_counts():
    page = (DOCS / "kinds.md").read_text("utf-8")
    assert page == with_tables(page, read_counts()), f"run {kinds.COMMAND}"


def test_the_large_table_is_made_of_its_counts():
    page = (DOCS / "kinds.md").read_text("utf-8")
    kept = read_counts(LARGE)
    assert page == with_large(page, kept), f"run {kinds.LARGE_COMMAND}"
    assert [row.what for row in kept.counted] == [c.what for c in _kind_changes.large_changes()]


def test_enough_pairs_were_counted():
    kept = read_counts()
    assert kept.pairs >= 300
    assert {row.pairs for row in kept.counted} == {kept.bases}
    assert [(row.what, row.strength) for row in kept.counted] == [
        (change.what, change.strength) for change in _kind_changes.changes()
    ]
    assert COUNTS.exists()


@pytest.mark.slow
def test_changes_are_made_read_and_counted(tmp_path, monkeypatch):
    chosen = {"rounded, a scale a row", "fewer blocks", "all disguises", "trained on"}
    few = [change for change in _kind_changes.changes() if change.what in chosen][-5:]
    monkeypatch.setattr(kinds, "changes", lambda: iter(few))
    monkeypatch.setattr(kinds, "SCALE", Scale(32, 64, 3, 4, 4, 16, 320, 30_000, 256, 512))
    page, counts = tmp_path / "kinds.md", tmp_path / "counts" / "small.json"
    page.write_text(PLACE)
    folder = ["--folder", str(tmp_path / "models"), "--bases", "1"]
    kinds.main([*folder, "--output", str(page), "--counts", str(counts)])
    kept = read_counts(counts)
    assert kept.pairs == len(few) == 5
    assert kept.of("pruned") == Counter(pruned=1)
    assert kept.of("permuted") == Counter(permuted=1)
    assert page.read_text() == with_tables(PLACE, kept)
    assert json.loads(counts.read_text())["bases"] == 1
    monkeypatch.setattr(kinds, "large_changes", lambda: iter(few[1:2]))
    page.write_text(PLACE + f"{_kind_page.LARGE_BEGIN}\n{_kind_page.LARGE_END}\n")
    made = next((tmp_path / "models").glob("m00-*"))
    kinds.main([*folder, "--large", str(made), "--output", str(page), "--counts", str(counts)])
    large = read_counts(counts.with_name(LARGE.name))
    assert page.read_text() == with_large(page.read_text(), large)
    assert large.pairs == 1
