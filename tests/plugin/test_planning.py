"""--provenance-plan says what the selected tests would cost, and runs none."""

import json

import pytest

from provenance.estimate import constants
from tests.estimate.test_estimate import COSTS

SUITE = """\
version: 1
models:
  base: {recipe: quickstart/base}
  chat: {recipe: quickstart/finetuned}
  other: {recipe: quickstart/other-seed}
pairs:
  - {candidate: chat, reference: base, expect: finetune}
  - {candidate: other, reference: base, expect: independent}
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    monkeypatch.setattr(constants, "_measured", lambda: COSTS)
    pytester.makefile(".suite.yaml", own=SUITE)
    pytester.makepyfile("def test_of_a_user():\n    assert False\n")
    return pytester


def planned(pytester, *arguments):
    return pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", "--provenance-store", "store", *arguments
    )


def test_the_selected_tests_are_planned_and_none_is_run(suite):
    result = planned(suite, "--provenance-plan", "plan.json", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["own.suite.yaml: 2 comparisons to measure, 0 in the store"])
    result.assert_outcomes()
    found = json.loads((suite.path / "plan.json").read_text("utf-8"))
    assert [one["recipe"] for one in found["makings"]] == [
        "quickstart/base",
        "quickstart/finetuned",
        "quickstart/other-seed",
    ]
    assert not (suite.path / "store" / "v1" / "checkpoint").exists()


def test_what_is_deselected_costs_nothing(suite):
    result = planned(suite, "--provenance-plan", "-", "-k", "chat")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["own.suite.yaml: 1 comparison to measure, 0 in the store"])
    result.stdout.no_fnmatch_line("*other-seed*")
    assert not (suite.path / "-").exists()


def test_a_mistake_in_a_suite_is_the_error_of_a_run(suite):
    (suite.path / "own.suite.yaml").write_text("version: 2\n")
    assert planned(suite, "--provenance-plan", "-").ret == 2


def test_workers_have_nothing_to_do_with_a_plan(suite):
    result = planned(suite, "--provenance-plan", "-", "-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--provenance-plan runs no tests: leave -n out"])
