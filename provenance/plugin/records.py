"""Gathers what tests found, from this process or from xdist's workers, for the terminal's summary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest
    from _pytest.terminal import TerminalReporter

    from provenance.evidence.verdict import State
    from provenance.vocabulary import Verdict

PROPERTY = "provenance"


@dataclass(frozen=True)
class PairRecord:
    """What the summary says of one claim; ``verdict`` is None where it could not be checked."""

    where: str
    id: str
    claim: str
    verdict: Verdict | None
    log10_p: float | None
    kin: int
    blocks: int
    claims: int
    state: State | None = None


class Recorder:
    """A plugin object of one session: test reports in, the table of pairs out."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], PairRecord] = {}
        self._outcomes: dict[tuple[str, str], set[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the record that a test of a claim carries."""
        if report.when != "call":
            return
        for name, value in report.user_properties:
            if name == PROPERTY:
                record = PairRecord(**json.loads(str(value)))
                key = (record.where, record.id)
                self._records[key] = record
                self._outcomes.setdefault(key, set()).add(report.outcome)

    def pytest_terminal_summary(
        self, terminalreporter: TerminalReporter, config: pytest.Config
    ) -> None:
        """Print the table of pairs, in the order in which they were checked."""
        if not self._records or config.get_verbosity() < -1:
            return
        from provenance.plugin.summary import write

        write(
            terminalreporter,
            [(self._records[key], "failed" in self._outcomes[key]) for key in self._records],
        )
