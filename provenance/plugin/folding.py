"""One failure to read of a claim: its verdict's, into which those of its blocks are folded.

A block's test fails by itself, for ``--lf`` and for JUnit, and has its line in the short summary. Among the
failures it is shown only where the claim's verdict has not failed, or was not run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from _pytest._io.wcwidth import wcswidth

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from _pytest.terminal import TerminalReporter

HEADLINE = pytest.StashKey[str]()
"""What a test measured, in one line: the short summary begins with it."""
_BLOCK = re.compile(r"\[block(\d+|s)(?=[\]-])")
_SEPARATOR = ", "
_TOLD = "provenance_headline"


def retell(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put the headline of a test that failed before its message; the failure itself is as it was.

    What a report has as attributes crosses from xdist's workers. One without a headline failed in another
    way, such as a bug, and is never folded away.
    """
    crash = getattr(report.longrepr, "reprcrash", None)
    headline = item.stash.get(HEADLINE, None)
    if crash is not None and headline is not None and report.failed:
        crash.message = f"{headline}\n{crash.message.removeprefix('Failed: ')}"
        setattr(report, _TOLD, headline)


def fitted(headline: str, width: int) -> str:
    """A headline of numbers without the parts that do not fit: a number is left out, and never cut.

    Other words are left to pytest, which cuts them.
    """
    if not headline.startswith("p = "):
        return headline
    parts = headline.split(_SEPARATOR)
    while len(parts) > 1 and len(_SEPARATOR.join(parts)) > width:
        parts.pop()
    shown = _SEPARATOR.join(parts)
    return shown if len(shown) <= width else shown.removeprefix("p = ")


class Folding:
    """A plugin object of the session that reports to the user."""

    def __init__(self) -> None:
        self._all: list[Any] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> Generator[None]:
        """Fold blocks away while pytest shows the failures, and fit the headlines to the terminal."""
        self._all = failed = terminalreporter.stats.get("failed", [])
        told = [report for report in failed if hasattr(report, _TOLD)]
        folded = _folded([report.nodeid for report in told])
        for report in told:
            _fit(report, terminalreporter)
        if failed:
            terminalreporter.stats["failed"] = [
                report
                for report in failed
                if not hasattr(report, _TOLD) or report.nodeid not in folded
            ]
        try:
            return (yield)
        finally:
            self.unfold(terminalreporter)

    def unfold(self, terminalreporter: TerminalReporter) -> None:
        """Give back the failures that were folded away."""
        if self._all:
            terminalreporter.stats["failed"] = self._all


class Unfolding:
    """A plugin object whose turn is after pytest has shown the failures, and before its short summary."""

    def __init__(self, folding: Folding) -> None:
        self._folding = folding

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Give back what was folded away: the short summary has a line for each."""
        self._folding.unfold(terminalreporter)


def _folded(nodeids: Sequence[str]) -> set[str]:
    """The failures that are not shown by themselves: those of blocks whose verdict has failed too."""
    failed = set(nodeids)
    return {nodeid for nodeid in failed if _BLOCK.sub("[verdict", nodeid) in failed - {nodeid}}


def _fit(report: Any, terminal: TerminalReporter) -> None:
    room = terminal._tw.fullwidth - wcswidth(f"FAILED {report.nodeid} - ")  # noqa: SLF001 - as pytest
    # the headline alone: a CI system is shown all lines of a message
    report.longrepr.reprcrash.message = fitted(getattr(report, _TOLD), room)
