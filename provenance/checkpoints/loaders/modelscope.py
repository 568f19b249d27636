"""Models of ModelScope: ``modelscope:org/name``, at a branch or tag by ``@revision``, over its HTTP API.

The API lists the SHA-256 of each file, and every file that is brought is compared with it. Which files
these were is part of the address that evidence records.

https://github.com/modelscope/modelscope/blob/master/modelscope/hub/api.py
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from provenance.checkpoints.loaders.copying import told
from provenance.checkpoints.loaders.names import needed
from provenance.checkpoints.loaders.web import answer, bring, parsed
from provenance.checkpoints.remote import RemoteFiles
from provenance.errors import SourceError
from provenance.store.files import is_sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provenance.vocabulary import ModelSpec

ENDPOINT = "https://modelscope.cn"
REVISION = "master"
_ADDRESS = re.compile(
    r"modelscope:(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w][\w./-]*?))?"
    r"(?:@sha256:(?P<pin>[0-9a-f]{64}))?",
    re.ASCII,
)


class ModelScopeLoader:
    """Satisfies `provenance.checkpoints.loaders.Loader`."""

    def look_up(self, spec: ModelSpec) -> RemoteFiles:
        """List the files of a repository; see `Loader`."""
        address = spec.url or ""
        repository = _Repository.of(address)
        listed = repository.files()
        names = needed(listed, spec, address)
        states = tuple((name, *listed[name]) for name in names)
        pin = hashlib.sha256(json.dumps(states).encode()).hexdigest()
        if repository.pin not in {None, pin}:
            raise SourceError(
                f"{address} has other files by now: those of @{repository.revision} are sha256:{pin}"
            )
        pinned = f"modelscope:{repository.id}@{repository.revision}@sha256:{pin}"
        return RemoteFiles(address, tuple((name, name) for name in names), states, pinned)

    def download(
        self,
        remote: RemoteFiles,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Bring each file, and compare it with what was listed; see `Loader`."""
        repository = _Repository.of(remote.url)
        done = 0
        for name, size, sha256 in remote.states:
            repository.bring(name, folder / name, (size, sha256))
            done += size
            told(progress, done, remote.size)


LOADER = ModelScopeLoader()


@dataclass(frozen=True)
class _Repository:
    """A repository at a revision; ``pin`` is what its files must be, where that was said."""

    id: str
    revision: str
    pin: str | None

    @classmethod
    def of(cls, address: str) -> _Repository:
        found = _ADDRESS.fullmatch(address)
        revision = REVISION if found is None else found["revision"] or REVISION
        if found is None or ".." in address:
            raise SourceError(
                f"{address} names no model of ModelScope; write modelscope:ORG/NAME or "
                "modelscope:ORG/NAME@REVISION"
            )
        return cls(found["id"], revision, found["pin"])

    def files(self) -> dict[str, tuple[int, str]]:
        """Size and SHA-256 of every file right in the repository, by its name."""
        label = f"modelscope:{self.id}@{self.revision}"
        asked = {"Revision": self.revision, "Recursive": "False"}
        said = parsed(answer(self._url("repo/files", asked), _headers(), label), label)
        data = said.get("Data")
        listed = data.get("Files") if isinstance(data, dict) else None
        if said.get("Success") is False or not isinstance(listed, list):
            raise SourceError(f"{label} is not there, or is private; check the id and the revision")
        found = {}
        for one in listed:
            fields: dict[str, Any] = one if isinstance(one, dict) else {}
            name, size, sha256 = (fields.get(key) for key in ("Path", "Size", "Sha256"))
            if fields.get("Type") == "tree":
                continue
            sound = isinstance(name, str) and type(size) is int and size >= 0
            if sound and is_sha256(sha256):
                found[str(name)] = (int(str(size)), sha256)
        return found

    def bring(self, name: str, file: Path, expected: tuple[int, str]) -> None:
        """Bring one file."""
        asked = {"Revision": self.revision, "FilePath": name}
        label = f"modelscope:{self.id}@{self.revision}: {name}"
        bring(self._url("repo", asked), _headers(), file, expected, label)

    def _url(self, what: str, asked: dict[str, str]) -> str:
        return f"{_endpoint()}/api/v1/models/{self.id}/{what}?{urlencode(asked)}"


def _endpoint() -> str:
    """The address of the hub: $MODELSCOPE_ENDPOINT, else the public one."""
    given = (os.environ.get("MODELSCOPE_ENDPOINT") or ENDPOINT).rstrip("/")
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise SourceError("MODELSCOPE_ENDPOINT is no address such as https://modelscope.cn")
    return given


def _headers() -> dict[str, str]:
    """The token of the environment, as ModelScope's own client sends it: over TLS alone."""
    token = os.environ.get("MODELSCOPE_API_TOKEN", "")
    safe = _endpoint().startswith("https://") or urlsplit(_endpoint()).hostname == "127.0.0.1"
    if not token or not safe:
        return {}
    if not token.isascii() or not token.isprintable():
        raise SourceError("MODELSCOPE_API_TOKEN has characters that no token has")
    return {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"}
