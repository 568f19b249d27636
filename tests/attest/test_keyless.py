"""Statements signed through Sigstore: one of our own on this machine, and a bundle of the public one."""

import base64
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from provenance.attest import (
    PREDICATE,
    check_bundle,
    check_envelope,
    sign_keyless,
    sign_statement,
)
from provenance.errors import AttestationError

pytest.importorskip("in_toto_attestation")
pytest.importorskip("sigstore")

from tests.support.sigstore_server import ISSUER, JOB, Sigstore, serve, token

# what cannot be sent is an error of a thread: the library's clients close their sessions when collected
pytestmark = pytest.mark.filterwarnings("default")

WHO = "gate@example.org"


def statement(result="PASSED", **fields):
    subject = [{"name": "base", "digest": {"sha256": "ab" * 32}}]
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subject,
            "predicateType": PREDICATE,
            "predicate": {"result": result, "configuration": [], "passedTests": ["a[verdict]"]},
            **fields,
        }
    )


@pytest.fixture(autouse=True)
def no_ci(monkeypatch, tmp_path):
    """Nothing of the machine that the tests run on: no token of its CI system, no roots of its user."""
    for name in ("SIGSTORE_ID_TOKEN", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "BUILDKITE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
def server():
    with serve() as found:
        yield found


@pytest.fixture
def trust(server, tmp_path):
    path = tmp_path / "trust.json"
    path.write_text(server.trust_config())
    return path


@pytest.fixture
def bundle(trust):
    return sign_keyless(statement(), token(), trust)


def refused(error):
    assert "\n" not in str(error.value)
    assert "  " not in str(error.value)
    return str(error.value)


# signing


@pytest.mark.parametrize("who", [WHO, JOB])
def test_who_the_token_names_has_signed_the_statement_to_the_byte(trust, who):
    made = sign_keyless(statement(), token(who), trust)
    assert check_bundle(made, who, ISSUER, trust) == statement()
    assert check_bundle(made.encode(), who, ISSUER, trust) == statement()


def test_a_token_in_the_environment_is_found(trust, monkeypatch):
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", token("gitlab@example.org"))
    made = sign_keyless(statement(), trust=trust)
    assert check_bundle(made, "gitlab@example.org", ISSUER, trust) == statement()


def test_a_job_of_github_asks_for_its_token(server, trust, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{server.address}/token?api-version=2.0")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of a job")
    made = sign_keyless(statement(), trust=trust)
    assert check_bundle(made, JOB, ISSUER, trust) == statement()
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of none")
    with pytest.raises(AttestationError, match=r"the OpenID token cannot be used: GitHub: .*403"):
        sign_keyless(statement(), trust=trust)
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    with pytest.raises(AttestationError, match="insufficient OIDC token permissions") as error:
        sign_keyless(statement(), trust=trust)
    refused(error)


AGO = datetime.now(UTC) - timedelta(hours=1)
TOKENS = {
    "no token": (None, "keyless signing needs an OpenID token, and there is none"),
    "no jwt": ("abc", "the OpenID token cannot be used: Identity token is malformed"),
    "expired": (token(iat=AGO, exp=AGO + timedelta(minutes=5)), "cannot be used: it has expired"),
    "for others": (
        token(aud="hub"),
        "the OpenID token cannot be used: Identity token is malformed",
    ),
}


@pytest.mark.parametrize("kind", TOKENS)
def test_without_a_valid_token_nothing_is_asked(server, trust, kind):
    given, why = TOKENS[kind]
    with pytest.raises(AttestationError, match=why) as error:
        sign_keyless(statement(), given, trust)
    assert given is None or given not in refused(error)
    assert server.asked == []


def test_a_token_that_the_authority_does_not_believe_is_refused_in_its_words(trust):
    forged = token(secret="another" * 9)
    with pytest.raises(
        AttestationError, match=r"answers 400: .*Signature verification failed"
    ) as error:
        sign_keyless(statement(), forged, trust)
    assert "api/v2/signingCert" in refused(error)
    assert forged not in refused(error)


@pytest.mark.parametrize("service", ["fulcio", "rekor"])
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((503, b"<html>\n<b>down</b>"), "answers 503: <html> <b>down</b>"),
        ((201, b"<html>"), "nothing was signed: "),
        ((201, b"{}"), "nothing was signed: "),
        ((201, b"[]"), "nothing was signed: "),
    ],
)
def test_a_service_that_fails_is_one_line(server, trust, service, answer, why):
    server.fails[service] = answer
    with pytest.raises(AttestationError, match=why) as error:
        sign_keyless(statement(), token(), trust)
    refused(error)


def test_a_service_that_is_not_reached_is_named(tmp_path):
    with serve() as gone:
        pass
    trust = tmp_path / "gone.json"
    trust.write_text(gone.trust_config())
    with pytest.raises(AttestationError, match=r"signingCert cannot be reached$") as error:
        sign_keyless(statement(), token(), trust)
    refused(error)


def test_the_public_one_that_is_not_reached_is_named():
    with pytest.raises(
        AttestationError, match=r"roots of the public Sigstore cannot be had"
    ) as error:
        sign_keyless(statement(), token())
    refused(error)


def test_a_certificate_of_no_log_is_not_used(trust, server):
    fields = json.loads(server.trust_config())
    other = json.loads(Sigstore().trust_config())
    fields["trustedRoot"]["ctlogs"] = other["trustedRoot"]["ctlogs"]
    trust.write_text(json.dumps(fields))
    with pytest.raises(AttestationError, match=r"nothing was signed: .*SCT") as error:
        sign_keyless(statement(), token(), trust)
    refused(error)
    assert server.asked == ["/api/v2/signingCert"]


@pytest.mark.parametrize("text", ["", "{}", "[" * 9999, '{"mediaType": 1}'])
def test_what_is_no_trust_configuration_is_one_line(tmp_path, text):
    trust = tmp_path / "trust.json"
    trust.write_text(text)
    with pytest.raises(AttestationError, match="is no client trust configuration") as error:
        sign_keyless(statement(), token(), trust)
    refused(error)


def test_a_subject_without_a_sha256_is_refused_before_anything_is_asked(server, trust):
    subject = [{"name": "base", "digest": {"provenanceModel_v1": "ab" * 32}}]
    with pytest.raises(AttestationError, match=r"no SHA-256 of 'base'.*--model") as error:
        sign_keyless(statement(subject=subject), token(), trust)
    refused(error)
    assert server.asked == []


def test_what_is_no_statement_is_not_signed(server, trust):
    with pytest.raises(AttestationError, match="this is no in-toto Statement"):
        sign_keyless("{}", token(), trust)
    assert server.asked == []


# checking


@pytest.mark.parametrize(
    ("who", "issuer", "why"),
    [
        ("mallory@example.org", ISSUER, "actual SANs: {'gate@example.org'}"),
        ("gate@example.or", ISSUER, "do not match"),
        (WHO, "https://elsewhere.example.org", "does not match"),
    ],
)
def test_a_bundle_of_another_identity_is_refused(bundle, trust, who, issuer, why):
    with pytest.raises(AttestationError, match=why) as error:
        check_bundle(bundle, who, issuer, trust)
    assert f"does not show a signature by {who} of {issuer}: " in refused(error)


def test_a_bundle_of_other_roots_is_refused(bundle, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(Sigstore(address="http://127.0.0.1:1").trust_config())
    with pytest.raises(AttestationError, match="does not show a signature") as error:
        check_bundle(bundle, WHO, ISSUER, other)
    refused(error)
    with pytest.raises(AttestationError, match="does not show a signature") as error:
        check_bundle(bundle, WHO, ISSUER, offline=True)
    refused(error)


def payload(fields):
    text = base64.b64decode(fields["dsseEnvelope"]["payload"]).replace(b"PASSED", b"WARNED")
    fields["dsseEnvelope"]["payload"] = base64.b64encode(text).decode()


def signature(fields):
    fields["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"0" * 70).decode()


def kind(fields):
    fields["dsseEnvelope"]["payloadType"] = "text/plain"


def entry(fields):
    (logged,) = fields["verificationMaterial"]["tlogEntries"]
    logged["integratedTime"] = str(int(logged["integratedTime"]) - 1)


def proof(fields):
    (logged,) = fields["verificationMaterial"]["tlogEntries"]
    logged["inclusionProof"]["hashes"] = [base64.b64encode(b"1" * 32).decode()]


def no_promise(fields):
    del fields["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"]


def certificate(fields):
    fields["verificationMaterial"]["certificate"]["rawBytes"] = "AAAA"


def no_log(fields):
    fields["verificationMaterial"]["tlogEntries"] = []


def two_signatures(fields):
    fields["dsseEnvelope"]["signatures"] *= 2


CHANGES = [payload, signature, kind, entry, proof, no_promise, certificate, no_log, two_signatures]


@pytest.mark.parametrize("change", CHANGES)
def test_a_bundle_that_was_changed_is_refused(bundle, trust, change):
    fields = json.loads(bundle)
    change(fields)
    with pytest.raises(
        AttestationError, match=r"does not show a sig|is no Sigstore bundle"
    ) as error:
        check_bundle(json.dumps(fields), WHO, ISSUER, trust)
    refused(error)


def test_a_bundle_of_another_signature_in_the_same_log_is_refused(bundle, trust):
    fields, other = (
        json.loads(bundle),
        json.loads(sign_keyless(statement("FAILED"), token(), trust)),
    )
    fields["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]
    with pytest.raises(AttestationError, match="log entry payload hash does not match"):
        check_bundle(json.dumps(fields), WHO, ISSUER, trust)


def test_a_bundle_of_another_kind_of_statement_is_refused(bundle, trust):
    from sigstore.dsse import Statement
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

    context = SigningContext.from_trust_config(ClientTrustConfig.from_json(trust.read_text()))
    with context.signer(IdentityToken(token())) as signer:
        of_slsa = Statement(statement(predicateType="https://slsa.dev/provenance/v1").encode())
        made = signer.sign_dsse(of_slsa).to_json()
    with pytest.raises(AttestationError, match=r"predicate is 'https://slsa\.dev/provenance/v1'"):
        check_bundle(made, WHO, ISSUER, trust)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "[" * 100_000, '{"mediaType": "x"}', b"\xff"]
)
def test_what_is_no_bundle_is_one_line(trust, text):
    with pytest.raises(AttestationError, match="this is no Sigstore bundle") as error:
        check_bundle(text, WHO, ISSUER, trust)
    refused(error)


def test_a_signature_with_a_key_is_no_bundle_and_a_bundle_is_of_no_key(bundle, trust, keys):
    with pytest.raises(AttestationError, match="this is no Sigstore bundle"):
        check_bundle(sign_statement(statement(), keys[0]), WHO, ISSUER, trust)
    with pytest.raises(AttestationError, match="the signature is not one by"):
        check_envelope(bundle, keys[1])


def test_a_bundle_of_the_public_sigstore_is_checked_by_the_roots_that_are_at_hand():
    """One that GitHub's workflow signed, of the suite that Sigstore's clients must pass (Apache-2.0).

    https://github.com/sigstore/sigstore-conformance, ``happy-path-intoto-in-dsse-v3``.
    """
    text = Path(__file__).with_name("public.sigstore.json").read_text("utf-8")
    issuer = "https://token.actions.githubusercontent.com"
    by = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/"
    by += ".github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
    # the predicate is looked at when the signature is found good
    with pytest.raises(AttestationError, match="predicate is 'https://slsa"):
        check_bundle(text, by, issuer, offline=True)
    with pytest.raises(AttestationError, match="does not show a signature"):
        check_bundle(text, by.replace("main", "other"), issuer, offline=True)
    changed = text.replace('"payload": "', '"payload": "AAAA')
    assert changed != text
    with pytest.raises(AttestationError, match="does not show a signature"):
        check_bundle(changed, by, issuer, offline=True)


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sigstore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sigstore", None)
    for use in (lambda: sign_keyless(statement(), "x"), lambda: check_bundle("{}", WHO, ISSUER)):
        with pytest.raises(AttestationError, match=r"pip install 'pytest-provenance\[attest\]'"):
            use()


# the command


@pytest.mark.parametrize(("result", "exit_code"), [("PASSED", 0), ("WARNED", 0), ("FAILED", 1)])
def test_from_the_command_line(trust, tmp_path, command, monkeypatch, result, exit_code):
    made, out = tmp_path / "a.json", tmp_path / "a.sigstore.json"
    made.write_text(statement(result))
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", token())
    sign = ["attest", "sign", made, "--keyless", "--trust-config", trust]
    assert command(*sign, "-o", out) == (0, "", "")
    check = ["attest", "verify", out, "--issuer", ISSUER, "--trust-config", trust]
    code, said, _ = command(*check, "--identity", WHO)
    assert code == exit_code
    assert said.splitlines()[0] == f"the signature is one by {WHO}, as {ISSUER} says"
    assert json.loads(command(*check, "--identity", WHO, "--json")[1])["result"] == result
    code, said, err = command(*check, "--identity", "mallory@example.org")
    assert (code, said) == (2, "")
    assert "does not show a signature by mallory@example.org" in err


def test_what_cannot_be_written_is_not_signed(server, trust, tmp_path, command):
    made = tmp_path / "a.json"
    made.write_text(statement())
    sign = [
        "attest",
        "sign",
        made,
        "--keyless",
        "--trust-config",
        trust,
        "--identity-token",
        token(),
    ]
    code, _, err = command(*sign, "-o", tmp_path / "absent" / "a.json")
    assert (code, "there is no folder" in err, server.asked) == (2, True, [])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["sign", "{a}"], "sign with --key FILE, or with --keyless: one of the two"),
        (["sign", "{a}", "--key", "{a}", "--keyless"], "one of the two"),
        (
            ["sign", "{a}", "--key", "{a}", "--trust-config", "{a}"],
            "--trust-config is for --keyless",
        ),
        (["sign", "{a}", "--keyless"], "needs an OpenID token"),
        (["verify", "{a}"], "name the signer: --key FILE, or --identity NAME with --issuer URL"),
        (["verify", "{a}", "--identity", WHO], "name the signer"),
        (["verify", "{a}", "--issuer", ISSUER], "name the signer"),
        (["verify", "{a}", "--identity", "", "--issuer", ""], "name the signer"),
        (["verify", "{a}", "--key", "{a}", "--identity", WHO], "--identity is for a keyless"),
        (["verify", "{a}", "--key", "{a}", "--offline"], "--offline is for a keyless"),
    ],
)
def test_a_mistake_of_the_command_line_is_one_line(tmp_path, command, arguments, why):
    made = tmp_path / "a.json"
    made.write_text(statement())
    code, _, err = command("attest", *(a.format(a=made) for a in arguments))
    assert code == 2
    assert why in err
    assert err.count("\n") == 1
