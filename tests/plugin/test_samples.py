"""Claims on samples under pytest: what passes, what fails, and what every output says of them."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from fixtures.synthetic_weights import Size, Weights, write_checkpoint
from provenance import Executor, Store, compare
from provenance.suite.read import loads

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SIZE = Size(blocks=4, hidden=64, units=96, vocabulary=400)
PAIRS = """\
  - {candidate: copy, reference: base, expect: permuted, sample: 2}
  - {candidate: stranger, reference: base, expect: independent, sample: 2, scope: sampled}
  - {candidate: copy, reference: base, expect: independent, sample: 2, scope: sampled, id: wrong}
  - {candidate: stranger, reference: base, expect: derived, sample: 2, id: weak}
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Import what a run imports: pytester forgets what is first imported in a run of its own."""
    home = tmp_path_factory.mktemp("home")
    one = str(write_checkpoint(home / "one", Weights(SIZE, 0)))
    compare(one, one, sample=1, executor=Executor(Store(home / "store"), "cpu"))
    models = f"models: {{base: {{path: {one}}}, copy: {{path: x}}, stranger: {{path: y}}}}"
    loads(f"version: 1\n{models}\npairs:\n{PAIRS}", home)


@pytest.fixture
def suite(pytester, imported):
    models = {
        "base": Weights(SIZE, 0),
        "copy": Weights(SIZE, 0, disguise=7),
        "stranger": Weights(SIZE, 1),
    }
    lines = [
        f"  {name}: {{path: {write_checkpoint(pytester.path / name, weights)}}}\n"
        for name, weights in models.items()
    ]
    text = f"version: 1\nmodels:\n{''.join(lines)}pairs:\n{PAIRS}"
    (pytester.path / "a.suite.yaml").write_text(text)


def test_every_output_says_what_a_sample_shows(pytester, suite):
    outputs = {
        "--provenance-evidence": "evidence",
        "--provenance-report": "report.html",
        "--provenance-sarif": "found.sarif",
        "--provenance-attestation": "run.json",
        "--junit-xml": "junit.xml",
    }
    result = pytester.runpytest_inprocess(
        "-p",
        "no:cacheprovider",
        f"--provenance-store={pytester.path / 'store'}",
        *(f"{option}={name}" for option, name in outputs.items()),
    )
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["stranger is independent of base*not found*holds"])
    text = (pytester.path / "report.html").read_text("utf-8")
    assert "not found" in text
    assert "on a sample of 2" in text
    results = json.loads((pytester.path / "evidence" / "results.json").read_text("utf-8"))
    found = {one["claim"]["id"]: one for one in results["claims"]}
    assert {name: one["judgement"]["verdict"] for name, one in found.items()} == {
        "copy-vs-base": "dependent",
        "stranger-vs-base": "not found",
        "wrong": "dependent",
        "weak": "not found",
    }
    assert all(one["evidence"]["scope"] == "sampled" for one in found.values())
    sarif = json.loads((pytester.path / "found.sarif").read_text("utf-8"))
    kinds = {one["ruleId"] for one in sarif["runs"][0]["results"]}
    assert kinds == {"false-independence", "inconclusive"}
    cases = ET.parse(pytester.path / "junit.xml").getroot().iter("testcase")
    assert sum(case.find("failure") is not None for case in cases) == 2


def test_an_attestation_says_that_no_more_than_a_sample_was_read(pytester, suite):
    pytest.importorskip("in_toto_attestation")
    pytester.runpytest_inprocess(
        "-p",
        "no:cacheprovider",
        f"--provenance-store={pytester.path / 'store'}",
        "--provenance-attestation=run.json",
    )
    statement = json.loads((pytester.path / "run.json").read_text("utf-8"))
    subjects = {one["name"]: one for one in statement["subject"]}
    assert subjects["base"]["annotations"]["scope"] == "sampled"
    assert "sha256" not in subjects["base"]["digest"]
    assert subjects["base"]["annotations"]["rangesDigest"].startswith("sha256:")
