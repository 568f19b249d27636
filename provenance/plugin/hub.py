"""Leaves out the claims whose models must be downloaded, unless they are asked for, and says so.

A suite marks these claims by the tag ``hub``. They cost gigabytes and hours, so a plain run of a folder of
suites leaves them out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from provenance.plugin import options

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

TAG = "hub"
_COUNT = "provenance_hub"


class HubClaims:
    """A plugin object of every process that collects, and of the one that reports to the user."""

    def __init__(self) -> None:
        self._count = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Deselect the tests of these claims; ``--collect-only`` lists them all the same."""
        if _wanted(config):
            return
        deselected = [item for item in items if _needs_hub(item)]
        if deselected:
            config.hook.pytest_deselected(items=deselected)
            items[:] = [item for item in items if not _needs_hub(item)]
            self._count = len(deselected)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell xdist's controller, which collects nothing."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_COUNT] = self._count

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController) -> None:
        """Take the count of a worker; each has collected the same."""
        output: dict[str, Any] = getattr(node, "workeroutput", {})
        self._count = max(self._count, output.get(_COUNT, 0))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was left out, and how to run it."""
        if self._count:
            terminalreporter.write_line(
                f"provenance: {self._count} tests need models from the hub and were not run; "
                "--provenance-hub runs them"
            )


def _wanted(config: pytest.Config) -> bool:
    marks = re.findall(r"\w+", config.getoption("markexpr") or "")
    return bool(config.getoption("--provenance-hub") or config.option.collectonly or TAG in marks)


def _needs_hub(item: pytest.Item) -> bool:
    return item.get_closest_marker(TAG) is not None and options.is_suite(item.path, item.config)
