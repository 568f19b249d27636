"""A registry of the OCI distribution specification, version 2: manifests, blobs, and the token for both.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode, urlsplit

from provenance.checkpoints.loaders.docker_login import HUB, credentials
from provenance.checkpoints.loaders.web import answer, bring, parsed
from provenance.checkpoints.ranged.origin import RefusedError
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
"""Types of manifests that are read."""
ACCEPTED = ", ".join(KINDS)
HUB_HOST = "registry-1.docker.io"
"""Where docker's own hub answers, whatever it is called in an address."""
_PART = re.compile(r'(\w+)="([^"]*)"')
Result = TypeVar("Result")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Registry:
    """One repository of a registry.

    Parameters
    ----------
    host : str
        With a port, where it is not the usual one. On this machine plain HTTP is spoken.
    repository : str
        The name of the repository.
    """

    def __init__(self, host: str, repository: str) -> None:
        self.host = host
        self.repository = repository
        local = urlsplit(f"//{host}").hostname in _LOOPBACK
        there = HUB_HOST if host in HUB else host
        self._base = f"{'http' if local else 'https'}://{there}/v2/{repository}"
        self._headers: dict[str, str] = {}

    def manifest(self, reference: str) -> tuple[dict[str, Any], str]:
        """The manifest that a tag or a digest means, and its digest.

        Raises
        ------
        SourceError
            The registry refuses, cannot be reached, or answers with another manifest.
        """
        label = f"{self.host}/{self.repository}: the manifest {reference}"
        url = f"{self._base}/manifests/{reference}"
        data = self._allowed(lambda: answer(url, {"Accept": ACCEPTED, **self._headers}, label))
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if reference.startswith("sha256:") and reference != digest:
            raise SourceError(f"{label} has the digest {digest}: the registry cannot be relied on")
        return parsed(data, label), digest

    def bring(self, digest: str, size: int, file: Path) -> None:
        """Bring a blob to a file, proven by its size and its digest.

        Raises
        ------
        SourceError
            As `manifest`.
        """
        label = f"{self.host}/{self.repository}: the layer {digest}"
        url = f"{self._base}/blobs/{digest}"
        expected = size, digest.removeprefix("sha256:")
        self._allowed(lambda: bring(url, self._headers, file, expected, label))

    def _allowed(self, ask: Callable[[], Result]) -> Result:
        """What is asked for; where the registry wants to be shown something first, with that.

        A token lasts for minutes, and a layer may take longer.
        """
        try:
            return ask()
        except RefusedError as error:
            if not error.challenge:
                raise
            self._headers = {"Authorization": self._authorization(error.challenge)}
        return ask()

    def _authorization(self, challenge: str) -> str:
        """What the registry asks for: a token, or the credentials themselves."""
        scheme, _, rest = challenge.partition(" ")
        basic = credentials(self.host)
        if scheme.lower() == "basic" and basic is not None:
            return f"Basic {basic}"
        said = dict(_PART.findall(rest))
        realm = said.pop("realm", "")
        if scheme.lower() != "bearer" or not self._may_ask(realm):
            raise SourceError(
                f"{self.host} asks for credentials in a way that is not known ({scheme[:20]!r}); log in "
                "with docker login, or oras login"
            )
        asked_for = {key: said[key] for key in ("service", "scope") if key in said}
        headers = {} if basic is None else {"Authorization": f"Basic {basic}"}
        label = f"{self.host}: a token for {self.repository}"
        got = parsed(answer(f"{realm}?{urlencode(asked_for)}", headers, label), label)
        token = got.get("token") or got.get("access_token")
        if not isinstance(token, str) or not token.isprintable() or not token.isascii():
            raise SourceError(f"{label} was not given; log in with docker login, or oras login")
        return f"Bearer {token}"

    def _may_ask(self, realm: str) -> bool:
        """Whether credentials may be sent to a realm: over TLS, or to this machine from this machine."""
        parts = urlsplit(realm)
        local = parts.hostname in _LOOPBACK and self._base.startswith("http://")
        return not parts.query and (parts.scheme == "https" or (parts.scheme == "http" and local))
