"""Signatures without a key to keep, through Sigstore: who signed is who the OpenID token names.

A certificate authority (Fulcio) gives a key of minutes a certificate of the token's identity, and a
public log (Rekor) records when it signed. What comes out is a Sigstore bundle.

https://github.com/sigstore/protobuf-specs and https://docs.sigstore.dev/about/overview/
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from provenance._documents import first_problem
from provenance._text import visible
from provenance.attest._libraries import need
from provenance.attest.signing import PAYLOAD
from provenance.attest.statement import quoted_visibly, read_statement
from provenance.errors import AttestationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN_VARIABLE = "SIGSTORE_ID_TOKEN"  # noqa: S105 - a name, which Sigstore's own tools read
NO_TOKEN = (
    "keyless signing needs an OpenID token, and there is none: run it where a CI system gives one (on "
    f"GitHub with `permissions: id-token: write`), or set {TOKEN_VARIABLE}"
)
NO_ROOTS = (
    "the roots of the public Sigstore cannot be had (is there a network? `verify --offline` takes those "
    "at hand)"
)
LONG = 600
"""Characters of the library's reason: it names two identities, which are URLs of workflows."""


def sign_keyless(text: str, token: str | None = None, trust: Path | None = None) -> str:
    """Sign a Statement as whom an OpenID token names; returns a Sigstore bundle, as JSON.

    Parameters
    ----------
    text : str
        The Statement, which is signed to the byte.
    token : str, optional
        An OpenID token of audience ``sigstore``; else the one of the CI system that this runs in.
    trust : pathlib.Path, optional
        A client trust configuration, as ``sigstore --trust-config`` reads; else the public Sigstore.

    Raises
    ------
    AttestationError
        If the text is no Statement, there is no valid token, a service refuses or is not reached, or a
        subject has no SHA-256, without which Sigstore's library signs no Statement.

    Notes
    -----
    The log is public and keeps the identity, the time and the digest of the Statement for ever.
    """
    for name, sha256 in read_statement(text).subjects:
        if sha256 is None:
            raise AttestationError(
                f"the Statement has no SHA-256 of {visible(name)!r}, and Sigstore signs none without: "
                "name the model with --model in `attest make`, or sign with a key"
            )
    sign, dsse = need("sigstore.sign"), need("sigstore.dsse")
    identity = _identity(token)
    config = _trust_config(trust)
    with _refused("nothing was signed"):
        context = sign.SigningContext.from_trust_config(config)
        with context.signer(identity) as signer:
            return str(signer.sign_dsse(dsse.Statement(text.encode())).to_json()) + "\n"


def check_bundle(
    text: str | bytes,
    identity: str,
    issuer: str,
    trust: Path | None = None,
    *,
    offline: bool = False,
) -> str:
    """Check a Sigstore bundle, certificate and log entry included; returns the Statement in it.

    Parameters
    ----------
    text : str or bytes
        The bundle, as `sign_keyless` or ``cosign attest-blob`` makes it.
    identity, issuer : str
        Who must have signed, to the letter: an email address, or the URL of a workflow; and the URL of
        the OpenID provider that says so.
    trust : pathlib.Path, optional
        As in `sign_keyless`.
    offline : bool
        Whether the public Sigstore's roots are those that were had last, or that its library ships.

    Raises
    ------
    AttestationError
        If another signed it, it was changed since, a certificate or log entry is not of these roots, it
        is no bundle, or is one of another Statement.
    """
    verify, policy = need("sigstore.verify"), need("sigstore.verify.policy")
    with _refused("this is no Sigstore bundle"), _silent():
        bundle = need("sigstore.models").Bundle.from_json(text)
    trusted = _trust_config(trust, offline=offline)
    by = f"{visible(identity)} of {visible(issuer)}"
    with _refused(f"the bundle does not show a signature by {by}"):
        verifier = verify.Verifier(trusted_root=trusted.trusted_root)
        wanted = policy.Identity(identity=identity, issuer=issuer)
        kind, payload = verifier.verify_dsse(bundle, wanted)
    if kind != PAYLOAD:
        raise AttestationError(f"the bundle holds {visible(kind)!r}, and not {PAYLOAD}")
    statement = bytes(payload).decode("utf-8", "replace")
    read_statement(statement)
    return statement


def _identity(token: str | None) -> Any:
    """The token that was given, or that of the CI system."""
    oidc = need("sigstore.oidc")
    try:
        found = token or oidc.detect_credential()
        if not found:
            raise AttestationError(NO_TOKEN)
        return oidc.IdentityToken(found)
    except oidc.IdentityError as error:
        expired = isinstance(error.__cause__, need("jwt").ExpiredSignatureError)
        why = "it has expired" if expired else quoted_visibly(error)
        raise AttestationError(f"the OpenID token cannot be used: {why}") from None


def _trust_config(trust: Path | None, *, offline: bool = False) -> Any:
    """Where to sign and whom to believe: a file's, or the public Sigstore's."""
    config = need("sigstore.models").ClientTrustConfig
    if trust is None:
        with _refused(NO_ROOTS), _silent():
            return config.production(offline=offline)
    with _refused(f"{trust} is no client trust configuration"):
        return config.from_json(trust.read_text(encoding="utf-8"))


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Say in one line what the library refuses, whatever it raises."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the errors of its clients have no public names
        raise AttestationError(f"{what}: {_why(error)}") from None


def _why(error: Exception) -> str:
    """What the library, or the service that it asked, says."""
    from pydantic import ValidationError

    requests = need("requests")
    cause = error.__cause__ or error.__context__
    for one in (error, cause):
        if isinstance(one, ValidationError):
            return visible(first_problem(one))
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        asked = error.request.url if error.request is not None else "a service of Sigstore"
        return f"{asked} cannot be reached"
    if isinstance(error, need("sigstore.oidc").ExpiredIdentity):
        return "the OpenID token has expired"
    response = getattr(cause, "response", None)
    if response is not None:  # the library's own message has not what the service says
        answer = " ".join(response.text.split())[:200]
        return visible(f"{response.url} answers {response.status_code}: {answer}")
    if isinstance(error, need("sigstore.errors").TUFError) and cause is not None:
        return f"{quoted_visibly(error)}: {quoted_visibly(cause)}"
    return quoted_visibly(error, LONG)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep from stderr what the library logs: that offline is offline, that an old bundle has its root."""
    logger = logging.getLogger("sigstore")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
