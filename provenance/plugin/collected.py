"""Which suites a run was given: of these, whatever was not run is told.

A selection of tests, by an option or by what failed last, leaves no trace in the reports of the tests that
run. So each process that collects notes the suites that it is given, and xdist's workers send them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provenance.plugin import options

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

_SUITES = pytest.StashKey[dict[str, None]]()
_SENT = "provenance_suites"


def note(config: pytest.Config, nodeid: str) -> None:
    """Note a suite, before it is read or left out."""
    config.stash.setdefault(_SUITES, {})[nodeid] = None


def noted(config: pytest.Config) -> tuple[str, ...]:
    """What pytest calls the suites, in the order in which it met them."""
    given: dict[str, None] = config.stash.setdefault(_SUITES, {})
    return tuple(given)


class CollectedSuites:
    """A plugin object of every process."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> None:
        """Note a suite that pytest is about to collect, or that ``--lf`` is about to leave out.

        pytest makes a collector of every file beside one that it is given, and does not collect those.
        """
        if isinstance(collector, pytest.File) and options.is_suite(
            collector.path, collector.config
        ):
            note(collector.config, collector.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell xdist's controller, which collects nothing."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_SENT] = list(noted(session.config))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController) -> None:
        """Take what a worker was given; each was given the same."""
        output: dict[str, Any] = getattr(node, "workeroutput", {})
        for nodeid in output.get(_SENT, ()):
            note(node.config, nodeid)
