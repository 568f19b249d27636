"""What docker keeps to log in with: in its configuration, or with the helper that it names.

https://github.com/docker/docker-credential-helpers
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance._text import expanded, visible, without_home
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONFIG_LIMIT = ANSWER_LIMIT = 1 << 20
LONGEST = 60.0
"""Seconds that a helper may take: it may ask a person to unlock a keychain."""
HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
HUB_KEY = "https://index.docker.io/v1/"
"""The name under which docker keeps a login to its own hub, whatever the hub is called."""
TOKEN_USER = "<token>"  # noqa: S105 - what a helper says in a name's place, no secret
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_NOTHING = "credentials not found"


def credentials(host: str) -> str | None:
    """What docker keeps for a registry, as a header of basic authorization has it; None where nothing is.

    The helper that the configuration names for the host, or for all hosts, is run as docker runs it.

    Raises
    ------
    SourceError
        Docker's configuration cannot be read, or the helper cannot be run or asked.
    """
    folder = Path(expanded(os.environ.get("DOCKER_CONFIG") or "~/.docker"))
    file = folder / "config.json"
    try:
        if not file.is_file():
            return None
        with file.open("rb") as opened:
            said = json.loads(opened.read(CONFIG_LIMIT))
        if not isinstance(said, dict):
            raise ValueError("it is no JSON object")  # noqa: TRY004, TRY301 - told with the others below
        helper, kept = _helper(said, host), _kept(said, host)
        if kept is not None:
            base64.b64decode(kept, validate=True)
    except (OSError, ValueError, RecursionError) as error:
        where = without_home(str(file))
        raise SourceError(f"{where} cannot be read, for the password of {host}: {error}") from None
    found = None if helper is None else _from_helper(helper, host)
    return found or kept


def _names(host: str) -> Iterator[str]:
    """The names under which a login may be kept."""
    yield from (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/")
    if host in HUB:
        yield HUB_KEY


def _kept(said: Mapping[str, Any], host: str) -> str | None:
    auths = said.get("auths", {})
    for name in _names(host):
        kept = auths.get(name) if isinstance(auths, dict) else None
        if isinstance(kept, dict) and isinstance(kept.get("auth"), str) and kept["auth"]:
            return str(kept["auth"])
    return None


def _helper(said: Mapping[str, Any], host: str) -> str | None:
    """The helper that keeps the login to a host."""
    helpers = said.get("credHelpers") or {}
    if not isinstance(helpers, dict):
        raise ValueError("credHelpers is no JSON object")  # noqa: TRY004 - told with the others
    named = [helpers[name] for name in _names(host) if name in helpers]
    helper = next(iter(named), said.get("credsStore"))
    if helper is None or helper == "":
        return None
    if not isinstance(helper, str) or not _HELPER.fullmatch(helper):
        raise ValueError(f"{visible(str(helper))[:80]!r} is no name of a credential helper")
    return helper


def _from_helper(helper: str, host: str) -> str | None:
    """Ask a helper for a login; None where it has none."""
    program = f"docker-credential-{helper}"
    place = shutil.which(program)
    if place is None:
        raise SourceError(
            f"docker's configuration keeps the password of {host} with {program}, which is not on PATH"
        )
    key = HUB_KEY if host in HUB else host
    try:
        done = subprocess.run(  # noqa: S603 - docker's own configuration names it, and no shell reads it
            [place, "get"], input=key.encode(), capture_output=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        raise SourceError(f"{program} gave no password of {host} in {LONGEST:g} seconds") from None
    except OSError as error:
        what = error.strerror or error
        raise SourceError(f"{program} cannot be run, for the password of {host}: {what}") from error
    if done.returncode != 0:
        reason = visible((done.stdout or done.stderr)[:200].decode("utf-8", "replace").strip())
        if _NOTHING in reason:
            return None
        raise SourceError(f"{program} gave no password of {host}: {reason or 'it says nothing'}")
    return _packed(done.stdout, program, host)


def _packed(answer: bytes, program: str, host: str) -> str | None:
    """What a helper answers, as the header has it."""
    try:
        said = json.loads(answer[:ANSWER_LIMIT])
    except (ValueError, RecursionError):
        said = None
    user, secret = (
        (said.get("Username"), said.get("Secret")) if isinstance(said, dict) else (None, None)
    )
    if not isinstance(user, str) or not isinstance(secret, str):
        raise SourceError(f"{program} answers with something else than the password of {host}")
    if user == TOKEN_USER:
        raise SourceError(
            f"{program} keeps an identity token of {host}, which is not read; log in with a user name"
        )
    if not user and not secret:
        return None
    return base64.b64encode(f"{user}:{secret}".encode()).decode()
