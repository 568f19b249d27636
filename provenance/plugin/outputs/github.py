"""Tells GitHub Actions what a run found: annotations on the lines of YAML, and the job's summary."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provenance.evidence.results import Results


@pytest.hookimpl
def pytest_provenance_results(config: pytest.Config, results: Results) -> Iterable[str]:
    """Print annotations and append to the summary, where GitHub runs this or it was asked for."""
    chosen = config.getoption("--provenance-github")
    if chosen == "off" or (chosen == "auto" and os.environ.get("GITHUB_ACTIONS") != "true"):
        return ()
    from provenance.gate.github import commands
    from provenance.gate.links import Links
    from provenance.gate.markdown import LIMIT, summary

    links = Links.of_github(os.environ, prefix_in_repository(config))
    _print(config, commands(results, links))
    where = os.environ.get("GITHUB_STEP_SUMMARY")
    if not where:
        return ()
    path = Path(where)
    try:
        # the limit is of the file, which other commands of the step write to as well
        size = path.stat().st_size if path.exists() else 0
        text = summary(results, links, LIMIT - size).encode("utf-8", "replace")
        with open(path, "ab", opener=_for_its_owner) as file:
            file.write(text)
    except OSError as error:
        return [f"provenance: the job's summary {path} cannot be written: {error.strerror}"]
    return ()


def _for_its_owner(path: str, flags: int) -> int:
    """Open a file as `open` does, but for its owner alone to change, whatever the umask is."""
    return os.open(path, flags, 0o644)


def prefix_in_repository(config: pytest.Config) -> str:
    """Where pytest's root lies in the repository that GitHub checked out; "" where that is unknown."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if not workspace:
        return ""
    root, top = config.rootpath.resolve(), Path(workspace).resolve()
    return root.relative_to(top).as_posix() if root.is_relative_to(top) else ""


def _print(config: pytest.Config, lines: Sequence[str]) -> None:
    """Print each at the beginning of a line, where alone GitHub sees it, and past pytest's capture."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is None:
        capture = config.pluginmanager.getplugin("capturemanager")
        with nullcontext() if capture is None else capture.global_and_fixture_disabled():
            sys.stdout.writelines(f"{line}\n" for line in lines)
            sys.stdout.flush()
        return
    terminal.ensure_newline()
    if lines:
        terminal.write_line("")  # under -q pytest knows of no line to end
    for line in lines:
        terminal.write_line(line)
