"""Results of a run: gathered from any number of workers, kept, read back, judged as a whole."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from provenance import Executor
from provenance.errors import SourceError
from provenance.evidence.results import PartResult, Results, ResultsError, with_holm

pytestmark = pytest.mark.slow

SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
defaults: {{statistic: match, alpha: 1e-6}}
controls: true
models:
  base: {{path: {base}}}
  kin: {{path: {kin}}}
  other: {{path: {other}}}
pairs:
  - {{candidate: kin, reference: base, expect: finetune}}
  - {{candidate: other, reference: base, expect: independent}}
  - {{candidate: kin, reference: other, expect: independent, skip: it is not ours to say}}
"""


@pytest.fixture
def kept(pytester, family, shared_store):
    """Run a suite and read the results that it leaves."""

    def kept(*arguments):
        paths = {name: getattr(family, name) for name in ("base", "kin", "other")}
        pytester.makeini("[pytest]")
        pytester.path.joinpath("a.suite.yaml").write_text(SUITE.format(**paths))
        run = pytester.runpytest(
            "a.suite.yaml",
            "--provenance-store",
            shared_store,
            "--provenance-evidence",
            "kept",
            *arguments,
        )
        return run, Results.from_json(Path(pytester.path, "kept", "results.json").read_text())

    return kept


@pytest.mark.usefixtures("warm_python")
def test_a_run_leaves_what_it_found_whatever_the_number_of_workers(kept):
    one, two = kept()[1], kept("-n", "2")[1]
    assert [result.state for result in one.claims] == ["pass", "pass", "skip"]
    assert one.state == "warn"  # a claim that was skipped was not judged
    assert [(r.claim, r.judgement, r.evidence, r.holm) for r in one.claims] == [
        (r.claim, r.judgement, r.evidence, r.holm) for r in two.claims
    ]
    assert one.suites == two.suites
    kin, other, _ = one.claims
    assert (kin.where, kin.judgement.verdict) == ("a.suite.yaml:10", "dependent")
    assert {part.nodeid for part in kin.parts} >= {"a.suite.yaml::kin-vs-base[verdict]"}
    kinds = [control.kind for control in other.controls]
    assert sorted(kinds) == ["null", "positive"]
    assert all(control.holds is not False for control in other.controls)


def test_a_selection_of_tests_adjusts_as_if_all_had_run(kept):
    results = kept("-k", "kin-vs-base and verdict")[1]
    kin, other, _ = results.claims
    assert kin.holm == pytest.approx(kin.log10_p + 0.4771212547)
    assert (other.state, other.holm, other.evidence) == ("not run", None, None)


def test_a_control_that_cannot_be_measured_fails_the_gate(kept, monkeypatch):
    measured = Executor.evidence

    def evidence(self, comparison):
        if comparison.candidate.disguised:
            raise SourceError("no disguise")
        return measured(self, comparison)

    monkeypatch.setattr(Executor, "evidence", evidence)
    run, results = kept("-k", "control-base or kin-vs-base")
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    kin, _, _ = results.claims
    assert (kin.state, results.state) == ("fail", "fail")
    assert [part.outcome for part in kin.parts if "control-base" in part.nodeid] == ["failed"]


def test_evidence_that_cannot_be_kept_is_a_line_of_its_tests(pytester, family, shared_store):
    paths = {name: getattr(family, name) for name in ("base", "kin", "other")}
    pytester.makeini("[pytest]")
    pytester.path.joinpath("a.suite.yaml").write_text(SUITE.format(**paths))
    pytester.path.joinpath("kept").write_text("a file in the way")
    run = pytester.runpytest(
        *("a.suite.yaml", "-k", "kin-vs-base and verdict"),
        *("--provenance-store", shared_store, "--provenance-evidence", "kept"),
    )
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["E * provenance: *kin-vs-base.json cannot be written: *"])
    assert "Traceback" not in run.stdout.str()


def test_junit_holds_no_evidence(kept, pytester):
    kept("--junitxml", "junit.xml")
    text = Path(pytester.path, "junit.xml").read_text()
    assert '<property name="provenance" value=' in text
    assert "provenance-found" not in text


def test_a_complaint_of_a_writer_fails_a_run_that_would_have_passed(kept, pytester):
    pytester.makeconftest(
        "def pytest_provenance_results(results):\n"
        "    return [f'{len(results.claims)} claims are too many']"
    )
    run, _ = kept()
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines(["3 claims are too many"])


def test_reading_gives_back_what_was_written(kept):
    results = kept()[1]
    assert Results.from_json(results.to_json()) == results


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda fields: fields.update(schema=7), "of schema 7"),
        (lambda fields: fields.update(more=1), "damaged at more"),
        (lambda fields: fields["claims"][0].update(holm="0"), "damaged at claims.0.holm"),
        (
            lambda fields: fields["claims"][0]["evidence"]["blocks"][0].update(log10_p=1.0),
            "damaged at block 0: log10_p is 1.0, above 0",
        ),
    ],
)
def test_damage_is_named(kept, change, complaint):
    fields = json.loads(kept()[1].to_json())
    change(fields)
    with pytest.raises(Exception, match=complaint) as refused:
        Results.from_json(json.dumps(fields))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_other_texts_are_no_results(text):
    with pytest.raises(ResultsError):
        Results.from_json(text)


def test_a_claim_that_is_false_fails_though_the_tests_that_ran_passed(kept):
    result = kept()[1].claims[0]
    assert replace(result, judgement=replace(result.judgement, state="fails")).state == "fail"
    failed = PartResult("a::b[verdict]", "failed", 0.1, "no")
    assert replace(result, parts=(*result.parts, failed)).state == "fail"
    known = replace(result.claim, xfail="known")
    xfailed = PartResult("a::b[verdict]", "xfailed", 0.1, "known")
    assert replace(result, claim=known, parts=(xfailed,)).state == "xfail"
    xpassed = PartResult("a::b[block0]", "xpassed", 0.1, "known")
    assert replace(result, claim=known, parts=(xpassed, xfailed)).state == "xfail"
    assert replace(result, claim=known, parts=(xpassed,)).state == "fail"


def test_a_run_in_which_nothing_was_checked_does_not_pass(kept):
    results = kept()[1]
    idle = tuple(replace(result, parts=()) for result in results.claims)
    assert replace(results, claims=idle).state == "fail"
    assert with_holm(results.suites, results.claims) == results.claims
