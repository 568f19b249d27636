"""Where a run takes place: commit, branch and page, by what CI systems and git say."""

from __future__ import annotations

import subprocess
from shutil import which
from typing import TYPE_CHECKING

from provenance.evidence.results import RunRecord
from provenance.gate.links import Links

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COMMIT = ("GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT")
BRANCH = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BRANCH_NAME", "GIT_BRANCH")
"""Variables of GitHub, GitLab and Jenkins, those before others that say more."""
PATIENCE = 5
"""Seconds that git may take."""


def run_url(environment: Mapping[str, str]) -> str | None:
    """The page of the run, where a CI system says which that is."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return Links.of_github(environment).run
    return environment.get("CI_JOB_URL") or environment.get("BUILD_URL")


def run_record(
    environment: Mapping[str, str], folder: Path, seconds: float | None = None
) -> RunRecord:
    """Say where a run takes place.

    Parameters
    ----------
    environment : mapping
        Its variables: those of a CI system count before what git says.
    folder : Path
        That of the suites. Where it is in no repository, or git is not there, no commit is known.
    seconds : float, optional
        How long the run took.
    """
    commit = _first(environment, COMMIT) or _git(folder, "rev-parse", "HEAD")
    branch = _first(environment, BRANCH) or _git(folder, "branch", "--show-current")
    return RunRecord(commit, branch, run_url(environment), seconds)


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)


def _git(folder: Path, *words: str) -> str | None:
    git = which("git")
    if git is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            [git, "-C", str(folder), *words],
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
