"""What a run found, said to other tools: attested, signed with a key on disk, listed with a pedigree."""

import base64
import json
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy.fft  # noqa: F401 - pytester forgets what its runs import, and numpy loads it once
import pytest
from huggingface_hub import close_session

from fixtures.synthetic_weights import Size, Weights, write_checkpoint
from provenance import Executor, ModelSpec, Results, Store, load_suite
from provenance.attest import (
    PREDICATE,
    bill_of_materials,
    check_envelope,
    make_statement,
    model_digest,
    read_statement,
    sign_statement,
    subjects_of,
)
from provenance.attest.subjects import _is_stored
from provenance.errors import AttestationError
from tests.support.hub_server import COMMIT, serve

pytest.importorskip("in_toto_attestation")
pytest.importorskip("cyclonedx")
pytest.importorskip("securesystemslib")
model_signing = pytest.importorskip("model_signing")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
defaults: {{statistic: match, alpha: 1e-6}}
models:
  base: {{path: {base}}}
  kin: {{path: {kin}}}
  short: {{path: {short}}}
  other: {{path: {other}}}
lineage:
  base: {{kin: {{}}, short: {{}}}}
  other:
pairs:
  - {{candidate: kin, reference: base, expect: finetune}}
"""
FALSE = "  - {candidate: kin, reference: other, expect: finetune}\n"
KNOWN = FALSE.replace("}", ", xfail: they said so}")
WEAK = "  - {candidate: kin, reference: base, expect: derived, id: weak, alpha: 1e-300, "
WEAK += "inconclusive: warn}\n"


@pytest.fixture
def attested(pytester, family, shared_store):
    """Run a suite and read the Statement and the results that it leaves."""

    def attested(more=""):
        paths = {name: getattr(family, name) for name in ("base", "kin", "short", "other")}
        pytester.makeini("[pytest]")
        text = SUITE.format(**paths) + more
        pytester.path.joinpath("a.suite.yaml").write_text(text)
        run = pytester.runpytest(
            "a.suite.yaml",
            "--provenance-store",
            shared_store,
            "--provenance-attestation",
            "out/a.json",
            "--provenance-evidence",
            "kept",
        )
        out = Path(pytester.path, "out")
        if not (out / "a.json").is_file():
            return run, None, None
        results = Results.from_json((out / "a.results.json").read_text())
        return run, (out / "a.json").read_text(), results

    return attested


def test_a_run_is_attested_with_its_checkpoints_its_suite_and_its_tests(attested, family, pytester):
    _, text, results = attested()
    fields = json.loads(text)
    assert fields["_type"] == "https://in-toto.io/Statement/v1"
    assert fields["predicateType"] == PREDICATE
    found = read_statement(text)
    assert found.result == "PASSED"
    subjects = {
        name: model_digest(getattr(family, name)) for name in ("base", "kin", "other", "short")
    }
    assert dict(found.subjects) == subjects
    (suite,) = fields["predicate"]["configuration"]
    file = pytester.path / "a.suite.yaml"
    assert suite["name"] == "a.suite.yaml"
    assert suite["digest"] == {"sha256": sha256(file.read_bytes()).hexdigest()}
    assert set(found.passed) == {part.nodeid for r in results.claims for part in r.parts}
    assert (found.warned, found.failed) == ((), ())
    beside = pytester.path / "out" / "a.results.json"
    assert found.results_sha256 == sha256(beside.read_bytes()).hexdigest()
    for claim, digest in suite["annotations"]["evidenceSha256"].items():
        kept = pytester.path / "kept" / "a.suite.yaml" / f"{claim}.json"
        assert digest == sha256(kept.read_bytes()).hexdigest()


SAMPLED = """\
version: 1
models:
  ours: {{path: {ours}}}
  base: {{repo: org/tiny, revision: {commit}}}
pairs:
  - {{candidate: ours, reference: base, expect: derived, sample: 2}}
"""


@pytest.fixture
def sampled(pytester, tmp_path, monkeypatch):
    """Run a suite on a sample of a model at a hub, and read the subjects of its Statement."""
    size = Size(blocks=2, hidden=64, units=96, vocabulary=300)
    ours = write_checkpoint(tmp_path / "ours", Weights(size, 0, disguise=7))
    base = write_checkpoint(tmp_path / "base", Weights(size, 0))
    pytester.path.joinpath("a.suite.yaml").write_text(SAMPLED.format(ours=ours, commit=COMMIT))
    pytester.makeini("[pytest]")

    def sampled(large):
        with serve({file.name: file.read_bytes() for file in base.iterdir()}) as hub:
            hub.large = large
            monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
            monkeypatch.setattr(
                "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
                hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            )
            run = pytester.runpytest(
                "a.suite.yaml",
                "--provenance-store",
                str(tmp_path / "store"),
                "--provenance-attestation",
                "a.json",
            )
            close_session()
        assert run.ret == 0
        subjects = json.loads(Path(pytester.path, "a.json").read_text())["subject"]
        return {subject["name"]: subject for subject in subjects}, hub.files["model.safetensors"]

    return sampled


def test_the_hubs_sha256_of_whole_files_is_a_subject_of_a_sample(sampled):
    subjects, data = sampled({"model.safetensors"})
    assert subjects.keys() == {"ours", "base", "base/model.safetensors"}
    assert subjects["base/model.safetensors"]["digest"] == {"sha256": sha256(data).hexdigest()}
    for name in ("ours", "base"):
        assert subjects[name]["annotations"]["scope"] == "sampled"
        assert subjects[name]["annotations"]["rangesDigest"].startswith("sha256:")
        assert "sha256" not in subjects[name]["digest"]  # no whole was seen


def test_of_a_hub_that_says_no_sha256_the_ranges_alone_are_attested(sampled):
    subjects, data = sampled(set())
    assert subjects.keys() == {"ours", "base"}
    notes = subjects["base"]["annotations"]
    read, of = map(int, notes["bytesRead"].split(" of "))
    assert (notes["scope"], of) == ("sampled", len(data))
    assert 0 < read < of
    assert notes["rangesDigest"].startswith("sha256:")


def test_what_failed_was_expected_to_or_decided_nothing_is_no_pass(attested):
    run, text, _ = attested(FALSE + WEAK)
    found = read_statement(text)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert found.result == "FAILED"
    assert "a.suite.yaml::kin-vs-other[verdict]" in found.failed
    assert "a.suite.yaml::weak[verdict]" in found.warned
    assert "a.suite.yaml::kin-vs-base[verdict]" in found.passed
    _, text, _ = attested(KNOWN)
    assert "a.suite.yaml::kin-vs-other[verdict]" in read_statement(text).warned


def test_our_digest_of_a_checkpoint_is_that_of_a_signature(family, keys, tmp_path):
    signature = tmp_path / "model.sig"
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys[0])
    config.sign(family.base, signature)
    bundle = json.loads(signature.read_text())
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    assert payload["subject"][0]["digest"]["sha256"] == model_digest(family.base)


def test_a_digest_follows_the_links_of_a_hub_cache_and_leaves_our_manifest_out(family, tmp_path):
    linked, stored = tmp_path / "linked", tmp_path / "stored"
    for folder in (linked, stored):
        folder.mkdir()
        for file in family.base.iterdir():
            (folder / file.name).symlink_to(file)
    (stored / "manifest.json").write_text("{}")
    assert model_digest(linked) == model_digest(family.base) == model_digest(stored, stored=True)
    assert model_digest(stored) != model_digest(linked)


def test_a_model_that_has_changed_since_is_not_attested(attested, pytester, shared_store):
    _, _, results = attested()
    suite = load_suite(pytester.path / "a.suite.yaml")
    open_model = Executor(Store(shared_store)).checkpoint
    subjects = subjects_of(results, {"a.suite.yaml": suite}, open_model)
    assert [subject.name for subject in subjects] == ["kin", "base", "short", "other"]
    swapped = replace(suite, models=dict(suite.models, kin=suite.models["other"]))
    with pytest.raises(AttestationError, match="model 'kin' is not the one that was measured"):
        subjects_of(results, {"a.suite.yaml": swapped}, open_model)
    gone = replace(suite, models=dict(suite.models, kin=ModelSpec(path="/gone")))
    with pytest.raises(AttestationError, match="model 'kin' cannot be digested: the folder /gone"):
        subjects_of(results, {"a.suite.yaml": gone}, open_model)


def test_what_stands_in_the_way_of_an_attestation_is_a_complaint(attested, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing.hashing", None)
    run, text, _ = attested()
    assert (run.ret, text) == (pytest.ExitCode.TESTS_FAILED, None)
    run.stdout.fnmatch_lines(["no attestation was written: this needs model_signing*pip install*"])


def test_an_attestation_that_cannot_be_written_is_a_complaint(attested, pytester):
    (pytester.path / "out" / "a.json").mkdir(parents=True)
    run, _, _ = attested()
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines(["provenance: *a.json cannot be written: *"])


def test_signed_and_checked_with_a_key_on_disk(attested, keys):
    _, text, _ = attested()
    envelope = sign_statement(text, keys[0])
    assert check_envelope(envelope, keys[1]) == text
    with pytest.raises(AttestationError, match=r"the signature is not one by .*theirs.pub of what"):
        check_envelope(envelope, keys[3])


def test_openssl_finds_the_signature_good(attested, keys, tmp_path):
    _, text, _ = attested()
    envelope = json.loads(sign_statement(text, keys[0]))
    kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
    # what DSSE has signed: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    command = ["openssl", "dgst", "-sha256", "-signature", tmp_path / "signature", "-verify"]
    for key, said in ((keys[1], b"Verified OK"), (keys[3], b"Verification failure")):
        run = subprocess.run([*command, key], input=signed, capture_output=True, check=False)
        assert said in run.stdout


def test_a_statement_that_was_changed_after_it_was_signed_is_refused(attested, keys):
    _, text, _ = attested(FALSE)
    fields = json.loads(sign_statement(text, keys[0]))
    forged = base64.b64decode(fields["payload"]).replace(b"FAILED", b"PASSED")
    fields["payload"] = base64.b64encode(forged).decode()
    with pytest.raises(AttestationError, match="the signature is not one by"):
        check_envelope(json.dumps(fields), keys[1])
    fields["signatures"] = []
    with pytest.raises(AttestationError, match="the signature is not one by"):
        check_envelope(json.dumps(fields), keys[1])


def test_an_envelope_of_several_signatures_is_checked_by_the_key_that_is_given(attested, keys):
    _, text, _ = attested()
    envelopes = [json.loads(sign_statement(text, key)) for key in (keys[2], keys[0])]
    both = {**envelopes[0], "signatures": [e["signatures"][0] for e in envelopes]}
    assert check_envelope(json.dumps(both), keys[1]) == text
    assert check_envelope(json.dumps(both), keys[3]) == text
    theirs = {**both, "signatures": [envelopes[0]["signatures"][0]] * 2}
    with pytest.raises(AttestationError, match="the signature is not one by"):
        check_envelope(json.dumps(theirs), keys[1])


def test_a_bundle_of_sigstores_tools_is_checked_as_its_envelope_is(
    attested, keys, family, tmp_path
):
    _, text, _ = attested()
    envelope = json.loads(sign_statement(text, keys[0]))
    envelope["signatures"][0].pop("keyid")
    kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
    bundle = json.dumps({"mediaType": kind, "dsseEnvelope": envelope})
    with pytest.raises(AttestationError, match="the signature is not one by"):
        check_envelope(bundle, keys[3])
    assert check_envelope(bundle, keys[1]) == text
    # what model signing made itself: signed by that key, and of something else
    signature = tmp_path / "model.sig"
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys[0])
    config.sign(family.base, signature)
    with pytest.raises(AttestationError, match=r"https://model_signing/signature/v1\.0"):
        check_envelope(signature.read_text(), keys[1])
    with pytest.raises(AttestationError, match="the signature is not one by"):
        check_envelope(signature.read_text(), keys[3])


NONSENSE = ["", "{}", "[]", '{"payload": 1, "signatures": [1]}', "[" * 100_000]


@pytest.mark.parametrize("text", NONSENSE)
def test_what_is_no_envelope_is_one_line(text, keys):
    with pytest.raises(AttestationError, match="this is no signed envelope") as refused:
        check_envelope(text, keys[1])
    assert "\n" not in str(refused.value)


def test_what_is_no_key_is_one_line(keys, tmp_path, attested):
    _, text, _ = attested()
    for path in (tmp_path / "absent", keys[1]):
        with pytest.raises(AttestationError, match="is no private key that can be used") as refused:
            sign_statement(text, path)
        assert "\n" not in str(refused.value)
    with pytest.raises(AttestationError, match="is no public key that can be used"):
        check_envelope(sign_statement(text, keys[0]), keys[0])


def test_a_run_that_measured_nothing_attests_nothing(attested):
    _, _, results = attested()
    with pytest.raises(AttestationError, match="nothing can be attested"):
        make_statement(results, ())


def components(text):
    return {part["name"]: part for part in json.loads(text)["components"]}


def test_the_pedigree_of_a_model_is_what_held(attested):
    _, _, results = attested(KNOWN)
    found = components(bill_of_materials(results))
    assert {part["type"] for part in found.values()} == {"machine-learning-model"}
    pedigree = found["kin"]["pedigree"]
    assert [part["name"] for part in pedigree["ancestors"]] == ["base"]
    assert "kin is a fine-tune of base, p = " in pedigree["notes"]
    assert [part["name"] for part in found["short"]["pedigree"]["ancestors"]] == ["base"]
    # cousins of the lineage: kin, and neither the other's ancestor
    assert [part["name"] for part in found["short"]["pedigree"]["variants"]] == ["kin"]
    assert "pedigree" not in found["other"]
    notes = found["short"]["pedigree"]["notes"]
    assert "and a measurement supports the direction: short is derived from base" in notes
    assert "and no direction is claimed: short is derived from kin" in notes


def test_a_direction_that_nothing_measured_is_marked_as_claimed(attested):
    _, _, results = attested(KNOWN)
    found = components(bill_of_materials(results))
    directions = {
        name: {p["name"]: p["value"] for p in ancestor["properties"]}["provenance:direction"]
        for name in ("kin", "short")
        for ancestor in found[name]["pedigree"]["ancestors"]
    }
    assert directions["kin"] == "claimed, not measured"
    assert "Its shape is a reduced one: short has 2 blocks where base has 3." in directions["short"]
    (variant,) = found["short"]["pedigree"]["variants"]
    assert "provenance:direction" not in {p["name"] for p in variant["properties"]}
    assert "and the direction is as claimed: kin is a " in found["kin"]["pedigree"]["notes"]
    # dependencies are drawn as arrows, and have no place for such a mark
    depends = {
        d["ref"].partition("@")[0]: [ref.partition("@")[0] for ref in d.get("dependsOn", ())]
        for d in json.loads(bill_of_materials(results))["dependencies"]
    }
    assert (depends["kin"], depends["short"]) == ([], ["base"])


def test_a_false_claim_is_no_pedigree(attested):
    _, _, results = attested(FALSE)
    kin = components(bill_of_materials(results))["kin"]
    assert [part["name"] for part in kin["pedigree"]["ancestors"]] == ["base"]


def test_a_name_that_two_suites_have_for_two_checkpoints_is_two_models(attested):
    _, _, results = attested()
    (suite,) = results.suites
    elsewhere = []
    for result in results.claims:
        if {result.claim.candidate, result.claim.reference} == {"kin", "base"}:
            evidence = result.evidence
            other = replace(evidence.candidate, digest="sha256:" + "0" * 64)
            unrelated = replace(result.claim, expect="independent")
            kept = replace(evidence, candidate=other)
            elsewhere.append(replace(result, suite="b.suite.yaml", claim=unrelated, evidence=kept))
    assert elsewhere
    both = replace(
        results,
        suites=(suite, replace(suite, path="b.suite.yaml")),
        claims=(*results.claims, *elsewhere),
    )
    found = [p for p in json.loads(bill_of_materials(both))["components"] if p["name"] == "kin"]
    shown = {(p["version"].endswith("0000"), "pedigree" in p) for p in found}
    assert (len(found), shown) == (2, {(True, False), (False, True)})


def test_a_copy_has_no_p_value_to_be_told(attested):
    _, _, results = attested()
    nothing = replace(results.claims[0].evidence, blocks=(), log10_p=None)
    copy = replace(results.claims[0], evidence=nothing)
    notes = components(bill_of_materials(replace(results, claims=(copy,))))["kin"]["pedigree"]
    assert notes["notes"].endswith("kin is a fine-tune of base")


def test_results_of_no_time_are_one_line(attested):
    _, _, results = attested()
    with pytest.raises(AttestationError, match="results are of no time: created is 'once'"):
        bill_of_materials(replace(results, created="once"))


def test_the_same_results_make_the_same_bill(attested):
    _, _, results = attested()
    assert bill_of_materials(results) == bill_of_materials(results)
    idle = tuple(replace(result, evidence=None) for result in results.claims)
    with pytest.raises(AttestationError, match="there is no model to list"):
        bill_of_materials(replace(results, claims=idle))


def test_without_the_extra_one_line_says_how_to_get_it(attested, monkeypatch):
    _, _, results = attested()
    for name in [name for name in sys.modules if name.startswith("cyclonedx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cyclonedx", None)
    with pytest.raises(AttestationError, match=r"pip install 'pytest-provenance\[attest\]'"):
        bill_of_materials(results)


def test_from_the_command_line(attested, keys, family, pytester, command):
    attested()
    out = pytester.path / "out"
    envelope = out / "a.dsse.json"
    assert command("attest", "sign", out / "a.json", "--key", keys[0], "-o", envelope)[0] == 0
    check = ["attest", "verify", envelope, "--key", keys[1]]
    code, said, _ = command(
        *check, "--results", out / "a.results.json", "--model", f"kin={family.kin}"
    )
    assert code == 0
    assert "PASSED: 22 passed, 0 warned, 0 failed" in said.splitlines()
    assert json.loads(command(*check, "--json")[1])["result"] == "PASSED"
    code, _, said = command(*check, "--model", f"kin={family.other}")
    assert code == 2
    assert "is not the checkpoint 'kin' that was attested" in said
    assert "write NAME=FOLDER" in command(*check, "--model", "kin")[2]
    code, _, said = command(*check, "--results", out / "a.json")
    assert (code, "is not what the Statement was made of" in said) == (2, True)
    code, said, _ = command("bom", out / "a.results.json")
    assert (code, json.loads(said)["bomFormat"]) == (0, "CycloneDX")
    assert command("bom", out / "absent")[0] == 2


def test_kept_results_are_attested_later_as_the_run_would_have_been(
    attested, family, keys, pytester, command
):
    _, text, _ = attested()
    kept, made = pytester.path / "kept" / "results.json", pytester.path / "made.json"
    named = [f"--model={n}={getattr(family, n)}" for n in ("base", "kin", "short", "other")]
    assert command("attest", "make", kept, *named, "-q", "-o", made)[0] == 0
    assert made.read_text() == text
    assert (
        command("attest", "make", kept, named[0], "-q", "-o", made, "--url", "https://ci/7")[0] == 0
    )
    subjects = {subject["name"]: subject for subject in json.loads(made.read_text())["subject"]}
    assert subjects["base"]["digest"] == {"sha256": model_digest(family.base)}
    # what is not at hand has the digest of evidence, and no name that says model signing's
    kin = subjects["kin"]
    assert kin["digest"] == {
        "provenanceModel_v1": kin["annotations"]["digest"].removeprefix("sha256:")
    }
    assert json.loads(made.read_text())["predicate"]["url"] == "https://ci/7"
    envelope = pytester.path / "made.dsse.json"
    command("attest", "sign", made, "--key", keys[0], "-o", envelope)
    check = ["attest", "verify", envelope, "--key", keys[1]]
    assert "kin  not digested as a folder" in command(*check, "--results", kept)[1]
    code, _, said = command(*check, "--model", f"kin={family.kin}")
    assert (code, "has no digest of the folder of 'kin'" in said) == (2, True)


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        ("kin={other}", "model 'kin' is not the one that was measured"),
        ("nobody={other}", "no claim that was checked has a model 'nobody'"),
        ("kin={base}/absent", "there is no folder"),
        ("kin", "write NAME=MODEL"),
    ],
)
def test_another_model_than_was_measured_is_not_attested_later(
    attested, family, pytester, command, model, wrong
):
    attested()
    kept, made = pytester.path / "kept" / "results.json", pytester.path / "made.json"
    given = model.format(other=family.other, base=family.base)
    code, _, err = command("attest", "make", kept, "-q", "-o", made, "--model", given)
    assert (code, wrong in err, made.exists()) == (2, True, False)


def test_results_that_were_edited_are_not_attested(attested, pytester, command):
    attested()
    kept = pytester.path / "kept" / "results.json"
    kept.write_text(kept.read_text().replace('"schema": 1', '"schema":  1'))
    code, _, err = command("attest", "make", kept)
    assert (code, "is not as this version writes results" in err) == (2, True)


def test_a_file_of_a_hub_repository_is_no_manifest_of_ours(family, tmp_path):
    found = Executor(Store(tmp_path / "store")).checkpoint(ModelSpec(path=str(family.base)))
    assert _is_stored(found) is False
    assert _is_stored(replace(found, spec=ModelSpec(repo="org/tiny"))) is False
    assert _is_stored(replace(found, spec=ModelSpec(repo="org/tiny"), conversion="x")) is True


def test_a_failed_run_verifies_with_exit_code_1(attested, keys, pytester, command):
    attested(FALSE)
    out = pytester.path / "out"
    command("attest", "sign", out / "a.json", "--key", keys[0], "-o", out / "e.json")
    code, said, _ = command("attest", "verify", out / "e.json", "--key", keys[1])
    assert (code, "FAILED: " in said) == (1, True)


@pytest.mark.parametrize(
    ("written", "says"),
    [(None, "cannot be read: No such file or directory"), (b"\xff\xfe", "is no text in UTF-8")],
)
def test_an_envelope_that_cannot_be_read_is_one_plain_line(written, says, tmp_path, command):
    envelope, key = tmp_path / "e.json", tmp_path / "key.pub"
    key.write_text("a key")
    if written is not None:
        envelope.write_bytes(written)
    code, _, said = command("attest", "verify", envelope, "--key", key)
    assert (code, said.count("\n")) == (2, 1)
    assert said.strip().endswith(says)
