"""Paths of suites within a repository, and their URLs."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Links:
    """Turns the paths of suites into paths in the repository, and into URLs where a host is known.

    ``prefix`` is where pytest's root lies in the repository, "" where it is the repository's own.
    ``blob`` is the URL of the repository's files at the commit, ``run`` that of this run.
    """

    prefix: str = ""
    blob: str | None = None
    run: str | None = None

    @classmethod
    def of_github(cls, environment: Mapping[str, str], prefix: str = "") -> Links:
        """Read the variables that GitHub sets in every step.

        References
        ----------
        .. [1] https://docs.github.com/en/actions/reference/workflows-and-actions/variables
        """
        server, name = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_REPOSITORY")
        if not server or not name:
            return cls(prefix)
        repository = f"{server.rstrip('/')}/{quote(name)}"
        commit, run = environment.get("GITHUB_SHA"), environment.get("GITHUB_RUN_ID")
        return cls(
            prefix,
            f"{repository}/blob/{quote(commit)}" if commit else None,
            f"{repository}/actions/runs/{quote(run)}" if run else None,
        )

    def path(self, suite: str) -> str:
        """The suite's path in the repository, with forward slashes."""
        return posixpath.normpath(posixpath.join(self.prefix, suite.replace("\\", "/")))

    def url(self, suite: str, line: int) -> str | None:
        """Where to read a line of a suite; None where the host is unknown or the file is not of it."""
        path = self.path(suite)
        if self.blob is None or path.startswith(("../", "/")):
            return None
        return f"{self.blob}/{quote(path)}#L{line}"
