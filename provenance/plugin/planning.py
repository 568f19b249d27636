"""``--provenance-plan``: say what the collected tests would cost, and run none of them."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from provenance.plugin import options

if TYPE_CHECKING:
    from provenance.plugin.cases import Case


class Planning:
    """A plugin object of a run that is only planned."""

    def __init__(self, config: pytest.Config) -> None:
        if getattr(config.option, "numprocesses", None):
            raise pytest.UsageError("--provenance-plan runs no tests: leave -n out")
        self._lines: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Plan the tests that were selected, in place of running them."""
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        cases: list[Case] = [
            item.callspec.params["case"]  # type: ignore[attr-defined]
            for item in session.items
            if options.is_suite(item.path, session.config)
        ]
        self._plan(session.config, cases)
        return True

    def _plan(self, config: pytest.Config, cases: list[Case]) -> None:
        from provenance.errors import ProvenanceError
        from provenance.estimate import foresee
        from provenance.estimate.suites import wanted_by
        from provenance.estimate.words import lines

        wanted = wanted_by((case.suite, case.claim, case.part) for case in cases)
        device = config.getoption("--provenance-device")
        try:
            store, limits = options.store_of(config), options.memory(config)
            outlook = foresee(wanted.comparisons.items(), store, device, limits, notes=wanted.notes)
        except ProvenanceError as error:
            raise pytest.UsageError(str(error)) from None
        suites = Counter(case.nodeid for case in cases)
        self._lines = list(lines(", ".join(suites) or "no suite", outlook))
        file = options.plan_file(config)
        if file is not None:
            file.write_text(json.dumps(outlook.to_dict()), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the plan, whatever ``-q`` asks for."""
        for line in self._lines:
            terminalreporter.write_line(line)
