"""Signatures with a key on disk, in the envelope that in-toto's tools and cosign read (DSSE).

https://github.com/secure-systems-lab/dsse
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from provenance.attest._libraries import need
from provenance.attest.statement import dumps, read_statement
from provenance.errors import AttestationError

if TYPE_CHECKING:
    from pathlib import Path

PAYLOAD = "application/vnd.in-toto+json"


def sign_statement(text: str, key: Path, password: bytes | None = None) -> str:
    """Sign a Statement; returns a DSSE envelope, as JSON.

    Parameters
    ----------
    text : str
        The Statement, which is signed to the byte.
    key : pathlib.Path
        A private key in PEM: elliptic curve, Ed25519 or RSA.
    password : bytes, optional
        Of the key.

    Raises
    ------
    AttestationError
        If the text is no Statement, or the key cannot be used.
    """
    read_statement(text)
    return sign_payload(text, key, password)


def sign_payload(text: str, key: Path, password: bytes | None = None) -> str:
    """Sign an in-toto Statement of any predicate, as `sign_statement` signs a run's.

    Raises
    ------
    AttestationError
        If the key cannot be used.
    """
    dsse = need("securesystemslib.dsse")
    signer = _signer(key, password)
    envelope = dsse.Envelope(text.encode(), PAYLOAD, {})
    envelope.sign(signer)
    return dumps(envelope.to_dict())


def check_envelope(text: str | bytes, key: Path) -> str:
    """Check the signature of an envelope; returns the Statement in it.

    Parameters
    ----------
    text : str or bytes
        The envelope, or a Sigstore bundle that has it, as ``cosign attest-blob --bundle`` writes. Of
        several signatures one must be by the key.
    key : pathlib.Path
        The public key, in PEM.

    Raises
    ------
    AttestationError
        If it was not signed with that key, was changed since, or is no envelope of a Statement.
    """
    statement = check_payload(text, key)
    read_statement(statement)
    return statement


def check_payload(text: str | bytes, key: Path) -> str:
    """Check the signature of an envelope, as `check_envelope`, and return what it holds, unread.

    Raises
    ------
    AttestationError
        If it was not signed with that key, was changed since, or is no envelope.
    """
    exceptions = need("securesystemslib.exceptions")
    public = _public(key)
    try:
        fields = json.loads(text)
        fields = fields.get("dsseEnvelope", fields)
        kind = fields["payloadType"]
        if kind != PAYLOAD:
            raise AttestationError(f"the envelope holds {kind!r}, and not {PAYLOAD}")
        statement = _signed(fields, public)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        exceptions.FormatError,
    ) as error:
        raise AttestationError(f"this is no signed envelope: {_first_line(error)}") from None
    if statement is None:
        raise AttestationError(f"the signature is not one by {key} of what the envelope holds")
    return statement.decode("utf-8", "replace")


def _signed(fields: dict[str, Any], public: Any) -> bytes | None:
    """Return the payload, if one of the signatures is by the key."""
    dsse, exceptions = need("securesystemslib.dsse"), need("securesystemslib.exceptions")
    for signature in fields["signatures"]:
        # the library wants the key's id, and cosign writes none: each is tried with the given key
        alone = {**fields, "signatures": [{**signature, "keyid": public.keyid}]}
        envelope = dsse.Envelope.from_dict(alone)
        try:
            envelope.verify([public], 1)
        except exceptions.VerificationError:
            continue
        return bytes(envelope.payload)
    return None


def _signer(key: Path, password: bytes | None) -> Any:
    serialization = need("cryptography.hazmat.primitives.serialization")
    signers = need("securesystemslib.signer")
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password)
        return signers.CryptoSigner(private)
    except (
        OSError,
        ValueError,
        TypeError,
        need("cryptography.exceptions").UnsupportedAlgorithm,
    ) as error:
        raise AttestationError(
            f"{key} is no private key that can be used: {_first_line(error)}"
        ) from None


def _public(key: Path) -> Any:
    serialization = need("cryptography.hazmat.primitives.serialization")
    signers = need("securesystemslib.signer")
    try:
        return signers.SSlibKey.from_crypto(serialization.load_pem_public_key(key.read_bytes()))
    except (OSError, ValueError, need("cryptography.exceptions").UnsupportedAlgorithm) as error:
        raise AttestationError(
            f"{key} is no public key that can be used: {_first_line(error)}"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
