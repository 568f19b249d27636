"""Stored evidence, checked again: by hand-made results, by real evidence of every statistic, by the CLI."""

import json
from dataclasses import replace

import pytest

import provenance
from provenance.cli import main
from provenance.errors import ProvenanceError
from provenance.evidence.decomposition import MergeRecord, ParentKinship
from provenance.evidence.difference import DifferenceRecord
from provenance.evidence.records import NOT_RUN, OLDER, POWER_CONTROL, SCHEMA
from provenance.evidence.results import ControlResult
from provenance.evidence.tested_with import qualifiers
from provenance.evidence.verdict import judge_pair
from provenance.gate.verify import Stored, read_stored, verify, verify_by_suite, verify_model
from provenance.vocabulary import InputsSpec
from tests.support.gate_results import KIN, STRANGERS, claims, result, results, small

INPUTS = InputsSpec(tokens=512, sequence_length=64)


@pytest.fixture(scope="module")
def measured(family, shared_store):
    """Evidence on two models of the family, by any statistic."""
    executor = provenance.Executor(provenance.Store(shared_store), "cpu")

    def measured(statistic, candidate="kin", reference="base", **how):
        return provenance.compare(
            getattr(family, candidate),
            getattr(family, reference),
            inputs=INPUTS,
            statistic=statistic,
            executor=executor,
            **how,
        )

    return measured


@pytest.fixture
def run(capfd):
    """Run the command in this process; (exit code, stdout, stderr)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        out, err = capfd.readouterr()
        return stop.value.code, out, err

    return run


def stored(content, path="results.json"):
    return Stored(path, content)


def lines(content):
    return [line for found in verify(stored(content)) for line in found.complaints]


# results


def test_results_that_were_not_changed_stand():
    found = verify(stored(small()))
    assert [one.complaints for one in found] == [()] * 6
    assert [one.state for one in found] == ["fail", "fail", "pass", "xfail", "fail", "fail"]
    words = ["false", "false", "holds", "known failure", "not checked", "inconclusive"]
    assert [one.outcome for one in found] == words


def control(kind, evidence, *, holds):
    return ControlResult(kind, holds, -1.0, evidence)


def changed(found, **changes):
    return replace(found, claims=(replace(found.claims[0], **changes), *found.claims[1:]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda r, c: changed(r, judgement=replace(c.judgement, state="holds")),
            "judged dependent (holds)",
        ),
        (
            lambda r, c: changed(r, judgement=replace(c.judgement, verdict="independent")),
            "judged independent (fails), but dependent (fails) follows",
        ),
        (lambda r, c: changed(r, judgement=None), "there is evidence, but no judgement"),
        (lambda r, c: changed(r, evidence=None), "judged dependent without evidence"),
        (lambda r, c: changed(r, holm=-0.5), "holm is -0.5"),
        (
            lambda r, c: changed(r, claim=replace(c.claim, threshold=1e-300)),
            "but alpha 1e-06 over 6 claims",
        ),
        (
            lambda r, c: changed(r, claim=replace(c.claim, expect="derived")),
            "a claim that its suite does not make",
        ),
        (lambda r, c: replace(r, claims=r.claims[1:]), "of which nothing is recorded"),
        (
            lambda r, c: replace(r, suites=(replace(r.suites[0], claims=()),)),
            "a claim that its suite does not make",
        ),
        (
            lambda r, c: changed(r, controls=(control("positive", c.evidence, holds=False),)),
            "positive control: holds is False, but True follows",
        ),
        (
            lambda r, c: changed(r, controls=(control("null", c.evidence, holds=True),)),
            "null control: its evidence has no table of blocks against blocks",
        ),
    ],
)
def test_a_judgement_that_was_changed_is_found(change, complaint):
    found = small()
    assert any(complaint in line for line in lines(change(found, found.claims[0])))


@pytest.mark.parametrize(
    ("parents", "complaint"),
    [
        (("sha256:x", "sha256:y"), "are those of another model than the reference"),
        (("sha256:x",), "it has shares of 1 parents, and 2 are claimed"),
    ],
)
def test_shares_of_other_parents_than_those_that_are_claimed_are_found(parents, complaint):
    first = small().claims[0]
    merge = replace(
        first.claim, expect="merge", parents=((first.claim.reference, None), ("other", None))
    )

    def of(*digests):
        kinships = tuple(ParentKinship(f"path:./{one}", one, -50.0) for one in digests)
        seen = replace(first.evidence, merge=MergeRecord(kinships, reason="nothing is mapped"))
        return "\n".join(lines(results(replace(first, claim=merge, evidence=seen))))

    assert complaint in of(*parents)
    assert "parents" not in of(first.evidence.reference.digest, "sha256:y")
    assert "another model" not in of(first.evidence.reference.digest, "sha256:y")


def test_a_kind_of_which_no_difference_is_on_record_is_not_confirmed():
    (asked,) = claims("  - {candidate: a, reference: b, expect: quantized, statistic: match}\n")
    found = result(asked, KIN)
    measured = replace(found.evidence, schema=SCHEMA, details={POWER_CONTROL: NOT_RUN})
    kept = replace(measured, difference=DifferenceRecord(reason="nothing is mapped"))
    fingerprint = replace(measured, candidate=replace(measured.candidate, claimed="sha256:m"))
    old = replace(measured, schema=OLDER)

    def told(seen):
        changed = replace(found, evidence=seen, judgement=judge_pair(asked, seen))
        (checked,) = verify(stored(results(changed)))
        words = "its kind not measured" in checked.says
        assert words == ("its kind not measured" in qualifiers(asked, InputsSpec(), seen))
        return words, [line for line in checked.complaints if "no record of how" in line]

    line = "quantized is claimed, but there is no record of how the weights differ, which a run measures"
    assert told(measured) == (True, [line])
    assert told(fingerprint) == (True, [])
    assert told(kept) == told(old) == (False, [])


# by a suite of today, and by models


@pytest.fixture
def suite(tmp_path):
    def suite(pairs, revision=""):
        models = "".join(f"  {name}: {{repo: x/{name}{revision}}}\n" for name in "abc")
        path = tmp_path / "today.suite.yaml"
        path.write_text(
            f"version: 1\nmodels:\n{models}defaults: {{statistic: match}}\npairs:\n{pairs}"
        )
        return provenance.load_suite(path)

    return suite


def test_evidence_is_judged_by_the_suite_of_today(suite):
    (claim,) = claims("- {candidate: a, reference: b, expect: derived}\n")
    one = result(replace(claim, statistic="match"), KIN)
    today = suite("- {candidate: a, reference: b, expect: independent}\n")
    for content, path in ((results(one), "results.json"), (one.evidence, "other.json")):
        (found,) = verify_by_suite([stored(content, path)], today)
        assert (found.state, found.verdict, found.stands) == ("fail", "dependent", False)
        assert found.outcome == "false"
    today = suite("- {candidate: a, reference: b, expect: derived}\n")
    assert [found.state for found in verify_by_suite([stored(one.evidence, "x")], today)] == [
        "pass"
    ]


def test_a_claim_without_evidence_fails(suite):
    today = suite(
        "- {candidate: a, reference: b, expect: derived}\n"
        "- {candidate: c, reference: b, expect: derived, skip: it is elsewhere}\n"
    )
    found = verify_by_suite([stored(small().claims[2].evidence, "x.json")], today)
    assert [(one.state, one.verdict) for one in found] == [
        ("fail", "no evidence"),
        ("skip", "no evidence"),
    ]


def test_a_file_that_is_named_after_a_claim_is_its_evidence(suite):
    moved = small().claims[0].evidence
    moved = replace(moved, candidate=replace(moved.candidate, source="path:/elsewhere"))
    today = suite("- {candidate: a, reference: b, expect: independent}\n")
    assert verify_by_suite([stored(moved, "ev/a-vs-b.json")], today)[0].state == "fail"
    assert verify_by_suite([stored(moved, "ev/x.json")], today)[0].verdict == "no evidence"


def test_the_digest_of_a_model_is_held_against_all_evidence_that_names_it():
    found = small()
    good = verify_model([stored(found)], "b", f"sha256:{2:064x}")
    assert [one.stands for one in good] == [True] * 5
    (bad,) = verify_model([stored(found)], "a", f"sha256:{2:064x}")
    assert bad.complaints[0].startswith(f"a has the digest sha256:{2:064x}, but sha256:{1:064x}")
    alone = [stored(found.claims[0].evidence, "e.json")]
    assert verify_model(alone, "candidate", f"sha256:{1:064x}")[0].stands
    assert verify_model(alone, "nobody", "sha256:0") == ()


# the command


@pytest.fixture
def folder(measured, tmp_path):
    folder = tmp_path / "evidence"
    folder.mkdir()
    for name in ("kin", "other"):
        (folder / f"{name}-vs-base.json").write_text(measured("match", name).to_json())
    return folder


@pytest.mark.slow
def test_the_command_finds_nothing_wrong_with_what_was_measured(run, folder):
    code, out, _ = run("verify", folder)
    assert code == 0
    assert "dependent" in out
    assert "Not shown: that these numbers were measured" in out
    code, out, err = run("verify", folder, "--json")
    found = json.loads(out)
    assert (code, err, found["stands"]) == (0, "", True)
    assert [one["state"] for one in found["checked"]] == ["judged", "judged"]
    assert [one["verdict"] for one in found["checked"]] == ["dependent", "independent"]


def test_the_command_judges_by_a_suite_and_by_alpha(run, folder, family, tmp_path):
    suite = tmp_path / "a.suite.yaml"
    text = (
        f"version: 1\nmodels: {{base: {{path: {family.base}}}, kin: {{path: {family.kin}}}}}\n"
        "defaults: {statistic: match}\npairs:\n- {candidate: kin, reference: base, expect: EXPECT}\n"
    )
    for expect, expected in (("finetune", 0), ("independent", 1)):
        suite.write_text(text.replace("EXPECT", expect))
        code, out, _ = run("verify", folder, "--suite", suite, "--json")
        assert (code, json.loads(out)["checked"][0]["verdict"]) == (expected, "dependent")
    _, out, _ = run("verify", folder / "kin-vs-base.json", "--alpha", "1e-300", "--json")
    assert json.loads(out)["checked"][0]["verdict"] == "inconclusive"


def test_the_command_digests_models_again(run, folder, family, shared_store):
    file, store = folder / "kin-vs-base.json", ["--store", shared_store]
    same, other = f"candidate={family.kin}", f"reference={family.kin}"
    assert run("verify", file, "--model", same, *store)[0] == 0
    code, out, _ = run("verify", file, "--model", same, "--model", other, *store, "--json")
    found = json.loads(out)["checked"]
    assert (code, [one["stands"] for one in found]) == (1, [True, True, False])


def test_what_cannot_be_read_is_one_line_and_exit_code_2(run, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"claims": 3}')
    torn = tmp_path / "torn.json"
    torn.write_text((folder / "kin-vs-base.json").read_text()[:-9])
    for arguments, words in (
        ([tmp_path / "no.json"], "does not exist"),
        ([tmp_path / "empty"], "has no JSON file"),
        ([foreign], "schema"),
        ([torn], "is not JSON"),
        ([folder, "--model", "base"], "is not NAME=MODEL"),
        ([folder, "--model", f"nobody={tmp_path}"], "nobody"),
        ([folder, "--suite", tmp_path / "no.suite.yaml"], "there is no such file"),
    ):
        code, out, err = run("verify", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert words in err


@pytest.mark.slow
def test_verification_needs_no_torch(tmp_path):
    import subprocess
    import sys

    (tmp_path / "results.json").write_text(small().to_json())
    code = (
        "import sys\nfrom provenance.cli import main\n"
        f"try: main(['verify', {str(tmp_path)!r}])\n"
        "except SystemExit as stop: assert stop.code == 1\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_results_are_summarised_on_stdout(run, tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
    (tmp_path / "results.json").write_text(small().to_json())
    code, out, err = run("summary", tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith("## Lineage: the gate is closed\n\n6 claims: 2 false, 1 inconclusive")
    assert run("summary", tmp_path / "results.json")[1] == out
    (tmp_path / "results.json").write_text("{}")
    code, out, err = run("summary", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)


# --- records that are missing --------------------------------------------------------------------


@pytest.mark.parametrize("of", ["claim", "control", "file"])
@pytest.mark.parametrize("says", ["candidate, reference", "reference"])
def test_a_missing_record_of_the_control_is_refused_wherever_evidence_stands(tmp_path, of, says):
    found = small()
    evidence = found.claims[0].evidence
    torn = replace(evidence, details={"power control": says})
    if of == "claim":
        content = changed(found, evidence=torn)
    elif of == "control":
        content = changed(found, controls=(control("positive", torn, holds=True),))
    else:
        content = torn
    (tmp_path / "kept.json").write_text(content.to_json())
    with pytest.raises(ProvenanceError, match=f"'{says}', but there is a record of neither side"):
        read_stored(tmp_path / "kept.json")


def test_independence_without_a_word_of_a_control_is_said_to_have_none():
    (pair,) = claims("  - {candidate: a, reference: b, expect: independent, statistic: match}\n")
    bare = result(pair, STRANGERS)
    off = replace(bare.evidence, details={"power control": "turned off"})
    told = replace(bare, evidence=off, judgement=judge_pair(pair, off))
    says = [verify(stored(results(one)))[0].says for one in (bare, told)]
    assert ["no power control is on record" in text for text in says] == [True, False]
    kin = verify(stored(results(result(pair, KIN))))[0]
    assert "on record" not in kin.says
