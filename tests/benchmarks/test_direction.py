"""Directions are told, held against the making, and the page is made of what was counted."""

from collections import Counter

import pytest

from benchmarks import _direction_page, direction
from benchmarks._direction_page import (
    LARGE,
    LARGE_BEGIN,
    LARGE_END,
    Between,
    DirectionCounts,
    Told,
    read_counts,
    with_large,
    with_tables,
)
from benchmarks._zoo import Scale
from tests.support.places import DOCS

PLACE = f"before\n{_direction_page.BEGIN}\nold\n{_direction_page.END}\nafter\n"
ROWS = (
    Told("rounded", "later", "grid", 1.01, fools=False),
    Told("rounded", "earlier", None, 1.02, fools=False),
    Told("rounded", "later", "grid", 1.01, fools=False),
    Told("rounded", "earlier", "zeros", 1.01, fools=False),
    Told("filled", "later", None, 0.9, fools=True),
    Told("filled", "earlier", "grid", 0.9, fools=True),
)
BETWEEN = (
    Between("a merge", is_merge=True, lies=True),
    Between("the base", is_merge=False, lies=True),
    Between("the base", is_merge=False, lies=False),
)
MADE = DirectionCounts("python -m this", "2026-01-01", "a machine", "Python 3", 1, ROWS, BETWEEN)


def test_what_was_told_is_counted_by_sign_and_by_pair():
    text = with_tables(PLACE, MADE)
    for line in (
        "| grid | 2 | 0 | 77.6% |",
        "| zeros | 1 | 1 | 100.0% |",
        "| rounded | 2 by its grid of 2 | 1 by its zeros of 2 | 1.0100 to 1.0200 |",
        "| all others | 2 | 2 | 16% to 100% |",
        "| a merge | yes | 1 of 1 | 3% to 100% |",
        "| the base | no | 1 of 2 | 1% to 99% |",
        "| filled (made to fool) | 0 of 1 | 1 by its grid of 1 | 0.9000 to 0.9000 |",
    ):
        assert line in text
    assert with_tables(text, MADE) == text


def test_the_page_is_made_of_the_kept_counts():
    page = (DOCS / "kinds.md").read_text("utf-8")
    assert page == with_tables(page, read_counts()), f"run {direction.COMMAND}"
    large = read_counts(LARGE)
    assert page == with_large(page, large), f"run {direction.LARGE_COMMAND}"
    assert {one.what for one in large.told} == {one.what for one in direction.large_descents()}


@pytest.mark.slow
def test_directions_are_told_of_small_models(tmp_path, monkeypatch):
    few = [
        one
        for one in direction.descents()
        if one.what.endswith(("in groups of 32", "half of it zero"))
    ]
    monkeypatch.setattr(direction, "descents", lambda: iter(few[1:]))
    monkeypatch.setattr(direction, "SCALE", Scale(64, 64, 2, 4, 4, 16, 320, 30_000, 256, 512))
    page, counts = tmp_path / "kinds.md", tmp_path / "direction.json"
    page.write_text(PLACE)
    folder = ["--folder", str(tmp_path / "models"), "--bases", "1"]
    direction.main([*folder, "--output", str(page), "--counts", str(counts)])
    kept = read_counts(counts)
    told = kept.told
    assert {one.what: one.lies for one in kept.between if one.is_merge} == {
        "a merge, 0.5 of the second": True,
        "a merge, 0.1 of the second": True,
    }
    assert {one.what: one.lies for one in kept.between}["the base of two fine-tunes"]
    assert Counter(one.candidate for one in told) == {
        "later": len(told) / 2,
        "earlier": len(told) / 2,
    }
    assert {one.said for one in told if one.candidate == "later"} <= {"grid", "zeros", None}
    assert {"grid", "zeros"} <= {one.said for one in told}
    assert not any(one.is_wrong for one in told)
    (made,) = (tmp_path / "models").glob("m00-*")
    page.write_text(f"{LARGE_BEGIN}\n{LARGE_END}\n")
    monkeypatch.setattr(direction, "OF_LARGE", ("half of it zero",))
    large = [*folder, "--large", str(made), "--output", str(page), "--counts", str(counts)]
    direction.main(large)
    told = read_counts(counts.with_name(LARGE.name)).told
    assert {one.what for one in told if one.said == "zeros"} == {"half of it zero"}
    assert page.read_text() == with_large(
        page.read_text(), read_counts(counts.with_name(LARGE.name))
    )
