"""A Sigstore of one's own on 127.0.0.1: an authority (Fulcio v2), a log (Rekor v1), and their roots.

Enough of the protocols for `sigstore.sign` to sign and `sigstore.verify` to check: every certificate, its
timestamp (RFC 6962), the log's entry, its proof of inclusion, its checkpoint and its promise are real.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.support.local_server import answering

if TYPE_CHECKING:
    from collections.abc import Iterator

ISSUER = "https://login.example.org"
JOB = "https://github.com/org/models/.github/workflows/lineage.yml@refs/heads/main"
SECRET = "what the provider signs its tokens with: " + "x" * 16
ISSUER_OID = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
TIMESTAMPS_OID = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
FIRST = hashlib.sha256(b"\0an entry before ours").digest()


def token(who: str = "gate@example.org", *, secret: str = SECRET, **claims: Any) -> str:
    """An OpenID token of whom the provider takes for ``who``."""
    now = datetime.now(UTC)
    told = {
        "iss": ISSUER,
        "sub": who,
        "aud": "sigstore",
        "iat": now,
        "exp": now + timedelta(minutes=5),
    }
    return jwt.encode({**told, **claims}, secret, algorithm="HS256")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def der(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def log_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(der(key)).digest()


def signed(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass
class Sigstore:
    """The services' keys and what they were asked; ``fails`` maps a service to the answer that it gives."""

    address: str = ""
    ca: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    timestamps: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    log: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    asked: list[str] = field(default_factory=list)
    fails: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = datetime.now(UTC) - timedelta(days=1)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a root of our own")])
        public = self.ca.public_key()
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        usage |= {"encipher_only": False, "decipher_only": False}
        self.usage = usage
        self.root = (
            self._certificate(self.name, public, self.began, self.began + timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self.ca, hashes.SHA256())
        )

    def _certificate(
        self, name: x509.Name, public: Any, begins: datetime, ends: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(int.from_bytes(hashlib.sha256(repr(public).encode()).digest()[:8]) + 1)
            .not_valid_before(begins)
            .not_valid_after(ends)
        )

    def ambient(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Answer as the service of GitHub's that gives a job its token."""
        if "audience=sigstore" not in path or headers.get("authorization") != "bearer of a job":
            return 403, {}, b""
        return 200, {}, json.dumps({"value": token(JOB)}).encode()

    def posted(
        self, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Answer as Fulcio, or as Rekor."""
        service = "fulcio" if path == "/api/v2/signingCert" else "rekor"
        self.asked.append(path)
        if service in self.fails:
            status, said = self.fails[service]
            return status, {}, said
        fields = json.loads(body)
        try:
            told = self.certify(fields, headers) if service == "fulcio" else self.enter(fields)
        except jwt.InvalidTokenError as error:
            told = {"code": 3, "message": f"the token is refused: {error}"}
            return 400, {}, json.dumps(told).encode()
        return 201, {"Content-Type": "application/json"}, json.dumps(told).encode()

    def certify(self, fields: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        """A certificate of ten minutes for the key of a request, in the name of the token."""
        raw = headers["authorization"].removeprefix("Bearer ")
        claims = jwt.decode(raw, SECRET, ["HS256"], audience="sigstore", issuer=ISSUER)
        request = x509.load_pem_x509_csr(base64.b64decode(fields["certificateSigningRequest"]))
        assert request.is_signature_valid
        who, now = claims["sub"], datetime.now(UTC)
        named = x509.RFC822Name(who) if "@" in who else x509.UniformResourceIdentifier(who)
        key = x509.SubjectKeyIdentifier.from_public_key(self.ca.public_key())
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key)
        builder = (
            self._certificate(
                x509.Name([]),
                request.public_key(),
                now - timedelta(minutes=1),
                now + timedelta(minutes=9),
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True, key_cert_sign=False, crl_sign=False, **self.usage
                ),
                critical=True,
            )
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([named]), critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(
                x509.UnrecognizedExtension(ISSUER_OID, claims["iss"].encode()), critical=False
            )
        )
        before = builder.sign(self.ca, hashes.SHA256())
        stamped = x509.UnrecognizedExtension(TIMESTAMPS_OID, self.timestamp(before, now))
        made = builder.add_extension(stamped, critical=False).sign(self.ca, hashes.SHA256())
        pem = [c.public_bytes(serialization.Encoding.PEM).decode() for c in (made, self.root)]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": pem}}}

    def timestamp(self, certificate: x509.Certificate, now: datetime) -> bytes:
        """The list of one signed certificate timestamp, as an octet string (RFC 6962, 3.2 and 3.3)."""
        milliseconds, body = int(now.timestamp() * 1000), certificate.tbs_certificate_bytes
        entry = log_id(self.ca) + len(body).to_bytes(3) + body
        data = struct.pack("!BBQH", 0, 0, milliseconds, 1) + entry + b"\0\0"
        signature = signed(self.timestamps, data)
        one = (
            b"\0"
            + log_id(self.timestamps)
            + struct.pack("!QHBBH", milliseconds, 0, 4, 3, len(signature))
        )
        one += signature
        listed = struct.pack("!HH", len(one) + 2, len(one)) + one
        assert len(listed) < 128  # its length is one byte
        return b"\x04" + bytes([len(listed)]) + listed

    def enter(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The entry of an envelope, the second of two leaves (rekor's type dsse 0.0.1)."""
        proposed = fields["spec"]["proposedContent"]
        envelope = json.loads(proposed["envelope"])
        (verifier,), (signature,) = proposed["verifiers"], envelope["signatures"]
        digests = {
            name: {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}
            for name, data in (
                ("envelopeHash", proposed["envelope"].encode()),
                ("payloadHash", base64.b64decode(envelope["payload"])),
            )
        }
        by = [{"signature": signature["sig"], "verifier": verifier}]
        spec = {**digests, "signatures": by}
        body = json.dumps(
            {"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}, sort_keys=True
        ).encode()
        leaf = hashlib.sha256(b"\0" + body).digest()
        root = hashlib.sha256(b"\1" + FIRST + leaf).digest()
        promise = {
            "body": encoded(body),
            "integratedTime": int(datetime.now(UTC).timestamp()),
            "logID": log_id(self.log).hex(),
            "logIndex": 1,
        }
        canonical = json.dumps(promise, sort_keys=True, separators=(",", ":")).encode()
        note = f"log.example.org\n2\n{encoded(root)}\n"
        by_log = encoded(log_id(self.log)[:4] + signed(self.log, note.encode()))
        proof = {
            "logIndex": 1,
            "treeSize": 2,
            "rootHash": root.hex(),
            "hashes": [FIRST.hex()],
            "checkpoint": f"{note}\n\u2014 log.example.org {by_log}\n",
        }
        set_ = encoded(signed(self.log, canonical))
        verification = {"inclusionProof": proof, "signedEntryTimestamp": set_}
        return {leaf.hex(): {**promise, "verification": verification}}

    def trust_config(self) -> str:
        """The client trust configuration: where the services are, and their roots."""
        since = {"start": self.began.isoformat()}

        def log(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            public = {
                "rawBytes": encoded(der(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": since,
            }
            return {
                "baseUrl": self.address,
                "hashAlgorithm": "SHA2_256",
                "publicKey": public,
                "logId": {"keyId": encoded(log_id(key))},
            }

        root = encoded(self.root.public_bytes(serialization.Encoding.DER))
        authority = {
            "subject": {"organization": "example.org", "commonName": "a root of our own"},
            "certChain": {"certificates": [{"rawBytes": root}]},
            "validFor": since,
        }
        service = [
            {
                "url": self.address,
                "majorApiVersion": 1,
                "validFor": since,
                "operator": "example.org",
            }
        ]
        kind = "application/vnd.dev.sigstore."
        return json.dumps(
            {
                "mediaType": f"{kind}clienttrustconfig.v0.1+json",
                "trustedRoot": {
                    "mediaType": f"{kind}trustedroot+json;version=0.1",
                    "tlogs": [log(self.log)],
                    "certificateAuthorities": [authority],
                    "ctlogs": [log(self.timestamps)],
                },
                "signingConfig": {
                    "mediaType": f"{kind}signingconfig.v0.2+json",
                    "caUrls": service,
                    "rekorTlogUrls": service,
                    "rekorTlogConfig": {"selector": "ANY"},
                },
            }
        )


@contextmanager
def serve() -> Iterator[Sigstore]:
    """Run one until the block ends."""
    found = Sigstore()

    with answering(found.ambient, found.posted) as address:
        found.address = f"http://{address}"
        yield found
