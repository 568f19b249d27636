"""Claims of the nearest kin under pytest: which pass, what a failure says, and every output of a run."""

from __future__ import annotations

import json
import math
import shutil
from xml.etree import ElementTree as ET

import pytest

from provenance import Executor, Results, Store, read_results
from provenance.cli import main
from provenance.comparison.make_token_fingerprint import fingerprint_tokens
from provenance.estimate import constants
from provenance.gate.verify import read_stored, verify, verify_model
from provenance.identification.library import add, file_of
from tests.estimate.test_estimate import COSTS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SUITE = """\
version: 1
inputs: {{tokens: 256, sequence_length: 64}}
models:
  kin: {{path: {kin}}}
  base: {{path: {base}}}
  short: {{path: {short}}}
  other: {{path: {other}}}
pairs:
  - {{candidate: kin, expect: {{nearest: short}}}}
  - {{candidate: kin, expect: {{nearest: base}}, inconclusive: warn}}
  - {{candidate: kin, expect: {{nearest: none}}, among: [other]}}
  - {{candidate: kin, expect: {{nearest: parent}}, library: ./library}}
  - {{candidate: kin, expect: {{nearest: none}}, library: ./library, among: [other], id: nobody}}
  - {{candidate: kin, expect: {{nearest: parnt}}, library: ./library, id: typo}}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory, family, shared_store):
    """A library of the base, called parent, and of the stranger."""
    folder = tmp_path_factory.mktemp("library")
    executor = Executor(Store(shared_store), "cpu")
    for name, model in (("parent", family.base), ("stranger", family.other)):
        file = folder / file_of(name)
        fingerprint_tokens(model, file, name=name, executor=executor)
        add(folder, file)
    return folder


@pytest.fixture
def run(pytester, family, library, shared_store):
    places = {name: getattr(family, name) for name in ("kin", "base", "short", "other")}
    pytester.makeini("[pytest]")
    (pytester.path / "a.suite.yaml").write_text(SUITE.format(**places))
    shutil.copytree(library, pytester.path / "library")
    return lambda *arguments: pytester.runpytest_inprocess(
        "a.suite.yaml", f"--provenance-store={shared_store}", "--provenance-device=cpu", *arguments
    )


def test_every_output_says_who_the_nearest_is(pytester, run, capfd):
    outputs = {
        "--provenance-evidence": "evidence",
        "--provenance-report": "report.html",
        "--provenance-sarif": "found.sarif",
        "--provenance-attestation": "run.json",
        "--provenance-lock": "a.lock",
        "--junit-xml": "junit.xml",
    }
    result = run(*(f"{option}={name}" for option, name in outputs.items()), "--update-lock")
    result.assert_outcomes(passed=3, failed=3)
    result.stdout.fnmatch_lines(
        [
            ">   - {candidate: kin, expect: {nearest: base}*",
            "E   Failed: claimed   base is the nearest kin of kin among base, short and other (*",
            "E   measured  nearest kin: short, p = *over 3 references (threshold 1.7e-07); *base: kin, *",
            "E   meaning   The claim is false: the nearest kin is short.",
            "E   found     reference  finding * p over all  closeness  looked at",
            "E             short      kin *",
            "E             base       kin *",
            "E             other      none found *",
            "*could not be checked: 'parnt' is none of the references: did you mean 'parent'?",
            "6 claims: 2 false, 1 not checked (exit status 1); 3 hold",
        ]
    )
    folder = pytester.path
    results = Results.from_json((folder / "evidence" / "results.json").read_text("utf-8"))
    claims = {one.claim.id: one for one in results.claims}
    assert [one.name for one in claims["kin-nearest-base"].found.references] == [
        "short",
        "base",
        "other",
    ]
    (led,) = claims["kin-nearest-base"].found.leads
    assert (led.other, led.lead.distances[0], led.lead.found) == ("base", 0.0, "nearer")
    assert "its weights are 0 from short and" in claims["kin-nearest-base"].judgement.measured
    parent = claims["kin-nearest-parent"]
    assert (parent.found.nearest.name, parent.evidence.statistic) == ("parent", "match_tokens")
    assert [name for _, name, _ in claims["nobody"].sides] == ["kin", "parent"]
    assert claims["nobody"].log10_p == pytest.approx(parent.log10_p + math.log10(3 / 2))

    kept = read_results([folder / "evidence" / "a.suite.yaml" / "kin-nearest-base.json"])
    assert {one.claim.id for one in kept.claims} == {"short", "base", "other"}
    page = (folder / "report.html").read_text("utf-8")
    assert "Every reference" in page
    assert "base is the nearest kin of kin among base, short and other" in page
    sarif = json.loads((folder / "found.sarif").read_text("utf-8"))["runs"][0]["results"]
    assert {one["ruleId"] for one in sarif} == {"not-nearest", "not-checked"}
    cases = {case.get("name"): case for case in ET.parse(folder / "junit.xml").iter("testcase")}
    said = {
        p.get("name"): p.get("value") for p in cases["kin-nearest-base[verdict]"].iter("property")
    }
    assert (said["provenance.nearest"], said["provenance.references"]) == ("short", "3")
    subjects = json.loads((folder / "run.json").read_text("utf-8"))["subject"]
    assert {"kin", "base", "parent"} <= {subject["name"] for subject in subjects}
    lock = (folder / "a.lock").read_text("utf-8")
    assert 'id = "kin-nearest-parent"' in lock
    checks = [
        check for one in read_stored(folder / "evidence" / "results.json") for check in verify(one)
    ]
    assert [check.complaints for check in checks] == [()] * 6
    digest = claims["kin-nearest-base"].found.named("other").evidence.reference.digest
    named = verify_model(read_stored(folder / "evidence" / "results.json"), "other", digest)
    assert {check.state for check in named} == {"pass"}

    with pytest.raises(SystemExit):
        main(["explain", "a.suite.yaml::kin-nearest-base[verdict]"])
    out = " ".join(capfd.readouterr().out.split())
    assert "tests the claim as a whole, over all its references" in out
    assert "The claim is false: the nearest kin is short." in out
    assert "none found" in out


def test_results_whose_references_were_changed_are_refused_or_complained_of(pytester, run):
    run("--provenance-evidence=kept", "-k", "kin-nearest-base")
    file = pytester.path / "kept" / "results.json"
    text = file.read_text("utf-8")
    results = json.loads(text)
    index = next(i for i, one in enumerate(results["claims"]) if one["found"] is not None)
    references = results["claims"][index]["found"]["references"]
    references[0], references[1] = references[1], references[0]
    with pytest.raises(Exception, match="the references are in no order"):
        Results.from_json(json.dumps(results))
    results = json.loads(text)
    results["claims"][index]["found"]["references"][0]["log10_p"] -= 7
    results["claims"][index]["found"]["references"][0]["corrected"] -= 7
    file.write_text(json.dumps(results))
    complaints = [
        line for one in read_stored(file) for check in verify(one) for line in check.complaints
    ]
    assert any(line.startswith("short: log10_p is ") for line in complaints)


def test_a_second_run_measures_nothing(pytester, run, shared_store):
    run("-k", "kin-nearest-short")
    before = len(Store(shared_store).journal())
    run("-k", "kin-nearest-short").assert_outcomes(passed=1, deselected=5)
    assert len(Store(shared_store).journal()) == before


def test_a_plan_foresees_every_reference_of_a_library_and_runs_nothing(
    pytester, run, shared_store, monkeypatch
):
    monkeypatch.setattr(constants, "_measured", lambda: COSTS)
    store = pytester.path / "store"
    result = run(f"--provenance-store={store}", "--provenance-plan=plan.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "a.suite.yaml: 5 comparisons to measure, 0 in the store",
            "  models    4 here, 2 fingerprint",
            "  forward   0 passes, *",
            "  model     *library/parent.safetensors*  fingerprint, *",
            "  note      claim typo: 'parnt' is none of the references: did you mean 'parent'?",
        ]
    )
    found = json.loads((pytester.path / "plan.json").read_text("utf-8"))
    sizes = sum(file.stat().st_size for file in (pytester.path / "library").glob("*.safetensors"))
    assert found["bytes_to_read"] > sizes
    assert {one["statistic"] for one in found["matches"]} == {"kinship", "match_tokens"}
    assert found["uncounted"] == 0
    assert not (store / "v1" / "evidence").exists()
    run(f"--provenance-store={store}", "--provenance-plan=plan.json", "-k", "kin-nearest-parent")
    found = json.loads((pytester.path / "plan.json").read_text("utf-8"))
    kin = {one["reference"].rpartition("/")[2]: one["kin"] for one in found["matches"]}
    assert kin == {"parent.safetensors": True, "stranger.safetensors": False}


def test_a_plan_says_that_a_library_is_broken_and_plans_the_rest(pytester, run, monkeypatch):
    monkeypatch.setattr(constants, "_measured", lambda: COSTS)
    (pytester.path / "library" / "library.json").write_text("{")
    (pytester.path / "library" / "parent.safetensors").write_bytes(b"")
    result = run("--provenance-plan=-", f"--provenance-store={pytester.path / 'store'}")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*note*claim nobody: *library.json: the index is *"])
    result.stdout.fnmatch_lines(["a.suite.yaml: 3 comparisons to measure, *"])


def test_a_plan_says_of_a_fingerprint_that_is_not_there_or_broken_that_it_is(
    pytester, run, monkeypatch
):
    monkeypatch.setattr(constants, "_measured", lambda: COSTS)
    (pytester.path / "library" / "parent.safetensors").write_bytes(b"")
    (pytester.path / "library" / "stranger.safetensors").unlink()
    result = run("--provenance-plan=-", f"--provenance-store={pytester.path / 'store'}")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["a.suite.yaml: * of unknown cost"])
    result.stdout.fnmatch_lines(["*note*parent.safetensors*"])
    result.stdout.fnmatch_lines(["*note*stranger.safetensors*"])


def test_a_cluster_is_given_nothing_of_such_a_claim_whose_test_searches_by_itself(run, monkeypatch):
    given = []

    def run_plan(plan, executor, backend, on_stage):
        given.append((plan.comparisons, backend))
        return {}

    monkeypatch.setattr("provenance.cluster.run_plan", run_plan)
    monkeypatch.setattr("provenance.cluster.find_spec", lambda _name: True)
    result = run("--provenance-executor=ray", "-k", "short or parent")
    result.assert_outcomes(passed=2, deselected=4)
    assert given == [((), "ray")]
