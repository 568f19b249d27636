"""docs/errors.md says what is said: every message is raised, and stands there."""

from __future__ import annotations

import pytest

from tests.support import refusals
from tests.support.places import DOCS

pytestmark = pytest.mark.slow

PAGE = (DOCS / "errors.md").read_text("utf-8")
AGAIN = "python -m tests.support.refusals > docs/errors.md makes the page again"


@pytest.mark.parametrize("case", refusals.CASES, ids=lambda case: case.what.replace("`", ""))
def test_a_message_is_one_line_and_the_one_that_is_documented(case, tmp_path):
    said = refusals.message(case, tmp_path)
    assert "\n" not in said
    section = PAGE.partition(f"## {case.section}\n")[2].partition("\n## ")[0]
    assert refusals.row(case, said) in section.splitlines(), AGAIN


def test_what_is_done_instead_is_documented():
    section = PAGE.partition("## What is done instead\n")[2].partition("\n## ")[0]
    assert refusals.noted() in section, AGAIN


def test_nothing_is_documented_that_is_not_refused():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    tables = PAGE.count("| --- | --- |")
    assert len(rows) == len(refusals.CASES) + refusals.noted().count("\n") + 2 * tables


def test_no_message_tells_how_to_run_what_is_refused():
    assert "weights_only" not in PAGE
    assert "trust_remote_code=True" not in PAGE
