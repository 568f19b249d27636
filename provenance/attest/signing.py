"""Signatures with a key on disk, in the envelope that in-toto's tools and cosign read (DSSE).

https://github.com/secure-systems-lab/dsse
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from provenance.attest._extra import need
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
    dsse = need("securesystemslib.dsse")
    signer = _signer(key, password)
    envelope = dsse.Envelope(text.encode(), PAYLOAD, {})
    envelope.sign(signer)
    return dumps(envelope.to_dict())


def check_envelope(text: str | bytes, key: Path) -> str:
    """Check the signature of an envelope; returns the Statement in it.

    Parameters
    ----------
    key : pathlib.Path
        The public key, in PEM.

    Raises
    ------
    AttestationError
        If it was not signed with that key, was changed since, or is no envelope of a Statement.
    """
    dsse, exceptions = need("securesystemslib.dsse"), need("securesystemslib.exceptions")
    try:
        fields = json.loads(text)
        for signature in fields["signatures"]:
            # what names no key, such as cosign's, is tried with the one that was given
            signature["keyid"] = _public(key).keyid
        envelope = dsse.Envelope.from_dict(fields)
        if envelope.payload_type != PAYLOAD:
            raise AttestationError(
                f"the envelope holds {envelope.payload_type!r}, and not {PAYLOAD}"
            )
        envelope.verify([_public(key)], 1)
    except (exceptions.VerificationError, exceptions.UnverifiedSignatureError):
        raise AttestationError(
            f"the signature is not one by {key} of what the envelope holds"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, exceptions.FormatError) as error:
        raise AttestationError(f"this is no signed envelope: {error}") from None
    statement = envelope.payload.decode("utf-8", "replace")
    read_statement(statement)
    return str(statement)


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
