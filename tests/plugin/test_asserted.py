"""Claims that tests in Python assert: how they fail, and that they land where a suite's do."""

import json
import subprocess
import sys

import pytest

from provenance import Results, assert_independent, assert_kin
from tests.support import synthetic
from tests.support.places import ROOT

KIN = synthetic.kin("copy", "base")
STRANGERS = synthetic.strangers("other", "base")


def test_a_false_assertion_says_claim_measurement_and_meaning():
    assert_kin(KIN)
    assert_kin(KIN, "finetune", alpha=1e-8)
    assert_independent(STRANGERS)
    with pytest.raises(AssertionError) as failed:
        assert_independent(KIN)
    lines = str(failed.value).splitlines()
    assert lines[0] == "claimed   path:./copy is independent of path:./base"
    assert lines[1].startswith("measured  match over 4 blocks: p = 2.4e-3332 by Fisher")
    assert lines[2].startswith("meaning   The claim of independence is false. ")
    with pytest.raises(AssertionError, match=r"claimed   path:\./other is a fine-tune of"):
        assert_kin(STRANGERS, "finetune")


def test_what_is_not_decided_is_not_asserted():
    dead = synthetic.evidence("a", "b", [synthetic.block(0, None)])
    for check in (assert_kin, assert_independent):
        with pytest.raises(AssertionError, match="claimed"):
            check(dead)


@pytest.mark.parametrize(("expect", "alpha"), [("independent", 1e-6), ("derived", 2.0)])
def test_what_no_suite_could_say_is_a_mistake_of_the_test(expect, alpha):
    with pytest.raises(ValueError, match=r"alpha is 2|claims no kinship"):
        assert_kin(KIN, expect, alpha=alpha)


TESTS = """
import pytest
from provenance import assert_independent, assert_kin
from tests.support import synthetic

KIN = synthetic.kin("copy", "base")

def test_true():
    assert_kin(KIN)
    assert_kin(KIN, "finetune")

@pytest.mark.parametrize("name", ["x"])
def test_false(name):
    assert_independent(KIN)

@pytest.mark.xfail(reason="known since May")
def test_known():
    assert_independent(KIN)

def test_of_another_kind():
    assert 1 + 1 == 2
"""


@pytest.fixture
def ran(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def ran(*options):
        pytester.makepyfile(test_ours=TESTS)
        return pytester.runpytest_subprocess(
            "--provenance-evidence=kept",
            "--provenance-report=report.html",
            "--provenance-sarif=found.sarif",
            *options,
        )

    return ran


@pytest.mark.parametrize("options", [[], ["-n1"]], ids=["here", "workers"])
@pytest.mark.filterwarnings("default")
def test_what_is_asserted_is_in_table_results_report_and_sarif(ran, pytester, options):
    result = ran(*options)
    result.assert_outcomes(passed=2, failed=1, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "path:./copy is derived from path:./base *dependent *■■■■ 4 of 4 *holds",
            "path:./copy is independent of path:./base * FALSE  test_ours.py:13",
            "4 claims: 1 false (exit status 1); 1 known failure, 2 hold",
        ]
    )
    kept = Results.from_json((pytester.path / "kept" / "results.json").read_bytes())
    (suite,) = kept.suites
    assert (suite.path, suite.digest[:7]) == ("test_ours.py", "sha256:")
    assert [(c.claim.id, c.claim.expect, c.state) for c in kept.claims] == [
        ("test_true-1", "derived", "pass"),
        ("test_true-2", "finetune", "pass"),
        ("test_false[x]", "independent", "fail"),
        ("test_known", "independent", "xfail"),
    ]
    assert kept.claims[2].parts[0].nodeid == "test_ours.py::test_false[x]"
    page = (pytester.path / "report.html").read_text("utf-8")
    assert "4 claims: 1 false" in page
    assert "What to do next." in page
    sarif = json.loads((pytester.path / "found.sarif").read_text("utf-8"))
    (found,) = [r for r in sarif["runs"][0]["results"] if r.get("level") == "error"]
    place = found["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("test_ours.py")
    assert place["region"]["startLine"] == 13


def test_a_run_that_asserts_nothing_of_the_kind_writes_nothing(pytester):
    pytester.makepyfile(test_other="def test_other():\n    assert True\n")
    result = pytester.runpytest("--provenance-report=report.html")
    result.assert_outcomes(passed=1)
    assert "lineage" not in result.stdout.str()
    assert not (pytester.path / "report.html").exists()


def test_listening_costs_other_tests_no_import():
    code = (
        "import sys, provenance.plugin; "
        "print([name for name in ('numpy', 'pydantic', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
