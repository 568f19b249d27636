"""Computes one part of what the collected tests need, in the place of running them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provenance._text import without_home
from provenance.plugin import options
from provenance.plugin.precompute import planned, runs_tests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.cluster import Done, Shard


class Part:
    """A plugin object of a run that computes the part ``shard`` and judges nothing."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._done: Done | None = None
        self._others = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Compute; a list of tests, and mistakes in suites, are left to pytest."""
        if not runs_tests(session):
            return None
        self._compute(session.config, [item.nodeid for item in session.items])
        return True

    def _compute(self, config: pytest.Config, ids: list[str]) -> None:
        from provenance.cluster import run_shard
        from provenance.errors import ProvenanceError
        from provenance.plugin.fixtures import executor_of
        from provenance.plugin.progress import Progress

        self._others = sum(not options.is_suite(one.partition("::")[0], config) for one in ids)
        progress = Progress(config)
        try:
            self._done = run_shard(
                planned(config, ids), executor_of(config, None), self._shard, progress
            )
        except ProvenanceError as error:
            raise pytest.UsageError(f"{self._shard}: {without_home(str(error))}") from None
        finally:
            progress.clear()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was computed, what was not, and why."""
        if self._done is not None:
            for line in _told(self._shard, self._done):
                terminalreporter.write_line(line)
        if self._others:
            terminalreporter.write_line(
                f"provenance: {self._others} tests are not of suites, and a part runs no test"
            )


def _told(shard: Shard, done: Done) -> Iterator[str]:
    yield (
        f"provenance: {shard}: {done.captured} captures, {done.compared} comparisons computed"
        + (f", {done.left} left to parts that run later" if done.left else "")
    )
    for comparison, error in done.failures.items():
        pair = f"{comparison.candidate.source} against {comparison.reference.source}"
        yield without_home(f"provenance: {pair} cannot be compared: {error}")
    yield "provenance: nothing was judged; when all parts have ended: provenance merge"
