"""A registry behind MLflow's server, over its REST interface; MLflow itself need not be installed.

https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

import base64
import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from provenance._text import visible
from provenance.checkpoints.loaders.artifacts import artifacts_at
from provenance.checkpoints.loaders.web import answer, parsed
from provenance.checkpoints.ranged.origin import RefusedError
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.checkpoints.loaders.artifacts import Artifacts

REGISTRY, TRACKING = "MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_URI"
USER, PASSWORD, TOKEN = (f"MLFLOW_TRACKING_{name}" for name in ("USERNAME", "PASSWORD", "TOKEN"))
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_RUN = re.compile(r"runs:/+(?P<run>[A-Za-z0-9_-]+)(?:/(?P<path>.+))?")


class Server:
    """A server at an address that the environment names.

    Raises
    ------
    SourceError
        The address has a user or a password in it.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.username or parts.password or not parts.hostname or parts.query:
            raise SourceError(
                f"{TRACKING} must be http://HOST:PORT without user and password; give these by {USER} and "
                f"{PASSWORD}, or {TOKEN}"
            )
        self.url = url.rstrip("/")
        self._headers = _headers()

    def version(self, name: str, version: str | None, alias: str | None) -> tuple[str, str]:
        """The number of the version that is meant, and what tells a change of it.

        Raises
        ------
        SourceError
            There is none, or the server refuses, cannot be reached, or answers with something else.
        """
        label = f"{self.url}: models:/{name}" + (f"@{alias}" if version is None else f"/{version}")
        if version is None:
            said = self._ask("registered-models/alias", {"name": name, "alias": str(alias)}, label)
        else:
            said = self._ask("model-versions/get", {"name": name, "version": version}, label)
        found = _of(said, "model_version", label)
        number = str(found.get("version", ""))
        if not _NUMBER.fullmatch(number) or version not in {None, number}:
            raise SourceError(f"{label}: the server answers with no such version; is it MLflow's?")
        return number, f"{found.get('source')} {found.get('creation_timestamp')}"

    def artifacts(self, name: str, version: str) -> Artifacts:
        """Where the files of a version are.

        Raises
        ------
        SourceError
            As `version`; or they lie where nothing is read from.
        """
        label = f"{self.url}: models:/{name}/{version}"
        asked = {"name": name, "version": version}
        uri = self._ask("model-versions/get-download-uri", asked, label).get("artifact_uri")
        if not isinstance(uri, str) or not uri:
            raise SourceError(
                f"{label}: the server does not say where its files are; is it MLflow's?"
            )
        run = _RUN.fullmatch(uri)
        if run is not None:
            said = self._ask("runs/get", {"run_id": run["run"]}, label)
            info = _of(_of(said, "run", label), "info", label)
            uri = "/".join(part for part in (str(info.get("artifact_uri")), run["path"]) if part)
        return artifacts_at(uri, self.url, self._headers, label)

    def _ask(self, what: str, asked: Mapping[str, str], label: str) -> dict[str, Any]:
        url = f"{self.url}/api/2.0/mlflow/{what}?{urlencode(asked)}"
        try:
            return parsed(answer(url, self._headers, label, told=_told), label)
        except RefusedError as error:
            raise SourceError(
                f"{label}: access is refused; set {USER} and {PASSWORD}, or {TOKEN}"
            ) from error


def server_of(environment: Mapping[str, str]) -> Server | None:
    """The server that the environment names; None where it names a registry of another kind, or none.

    Raises
    ------
    SourceError
        As `Server`.
    """
    url = environment.get(REGISTRY) or environment.get(TRACKING) or ""
    return Server(url) if urlsplit(url).scheme in {"http", "https"} else None


def _headers() -> dict[str, str]:
    """What shows who asks, as MLflow's own client has it: a name and its password, else a token.

    Raises
    ------
    SourceError
        A header cannot hold it.
    """
    user, password, token = (os.environ.get(name, "") for name in (USER, PASSWORD, TOKEN))
    if user and password:
        packed = base64.b64encode(f"{user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {packed}"}
    if token and not (token.isascii() and token.isprintable()):
        raise SourceError(f"{TOKEN} has characters that no token has")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _of(said: Mapping[str, Any], key: str, label: str) -> Mapping[str, Any]:
    found = said.get(key)
    if not isinstance(found, dict):
        raise SourceError(f"{label}: the server answers without {key}; is it MLflow's?")
    return found


def _told(body: bytes) -> str | None:
    """What MLflow says of an error; None where the answer is not its own."""
    try:
        said = json.loads(body)
        message = said.get("message") if "error_code" in said else None
    except (ValueError, RecursionError, TypeError, AttributeError):
        return None
    return visible(message)[:200] if isinstance(message, str) and message else None
