"""Judges claims, gathers `Results` from tests here or in xdist's workers, and hands them on.

A test attaches what it found to its report as a user property, which is what crosses from a worker; it
is taken off again before JUnit's writer sees it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from provenance.plugin import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.evidence.records import Evidence
    from provenance.evidence.results import ClaimResult, PartResult, Results, SuiteRecord
    from provenance.plugin.collection import SuiteFile
    from provenance.suite.read import Claim

FOUND = "provenance-found"
_TOLD = pytest.StashKey[set[tuple[str, str]]]()
_JUDGED = pytest.StashKey[dict[tuple[str, str], "ClaimResult"]]()


def judged(config: pytest.Config, suite: str, claim: Claim, evidence: Evidence) -> ClaimResult:
    """Judge a claim by its evidence, once in this process: each of its tests asks for it."""
    from provenance.evidence.results import ClaimResult
    from provenance.evidence.verdict import judge_pair

    results = config.stash.setdefault(_JUDGED, {})
    key = (suite, claim.id)
    if key not in results:
        results[key] = ClaimResult(suite, claim, judge_pair(claim, evidence), evidence)
    return results[key]


def attach(node: pytest.Item, file: SuiteFile, result: ClaimResult) -> None:
    """Attach what a test found; evidence and file once a process, since both can be long."""
    told = node.config.stash.setdefault(_TOLD, set())
    found: dict[str, Any] = {"suite": file.nodeid, "claim": result.claim.id}
    if (file.nodeid, "") not in told:
        found["record"] = asdict(_record(file))
    key = (file.nodeid, result.claim.id)
    if result.controls or key not in told:
        found["result"] = asdict(result)
    told.add((file.nodeid, ""))
    if not result.controls:
        told.add(key)
    node.user_properties.append((FOUND, json.dumps(found)))


def _record(file: SuiteFile) -> SuiteRecord:
    from provenance._text import without_home
    from provenance.evidence.results import SuiteRecord

    suite = file.suite
    return SuiteRecord(
        path=file.nodeid,
        digest=suite.digest,
        inputs=replace(suite.inputs, text=without_home(suite.inputs.text)),
        models={name: without_home(spec.source) for name, spec in suite.models.items()},
        claims=suite.claims,
        controls=suite.controls,
        lineage=suite.lineage,
    )


class Gatherer:
    """A plugin object of the session that reports to the user: reports in, `Results` out."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._records: dict[str, dict[str, Any]] = {}
        self._found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._parts: dict[tuple[str, str], list[PartResult]] = {}
        self._complaints: list[str] = []
        self._results: Results | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test found off its report."""
        found = [json.loads(str(value)) for name, value in report.user_properties if name == FOUND]
        report.user_properties = [own for own in report.user_properties if own[0] != FOUND]
        path, _, name = report.nodeid.partition("::")
        if not found and not options.is_suite(path, self._config):
            return  # anyone's test
        key = (path, name.partition("[")[0])
        for one in found if report.when == "call" else ():
            key = (one["suite"], one["claim"])
            if "record" in one:
                self._records[key[0]] = one["record"]
            if "result" in one:
                self._found.setdefault(key, []).append(one["result"])
        if report.when == "call" or report.outcome != "passed":
            self._parts.setdefault(key, []).append(_part(report))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the results to whoever writes something from them; a complaint fails the run."""
        if not self._records:
            return
        self._results = self._gathered()
        answers = self._config.hook.pytest_provenance_results(
            config=self._config, results=self._results
        )
        self._complaints = [line for lines in answers for line in lines]
        if self._complaints and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the complaints, and the table of pairs."""
        for line in self._complaints:
            terminalreporter.write_line(line, red=True)
        if self._results is not None and self._config.get_verbosity() >= -1:
            from provenance.plugin.summary import write

            write(terminalreporter, self._results, self._config)

    def _gathered(self) -> Results:
        from provenance.comparison.records import versions
        from provenance.evidence.results import Results, SuiteRecord, read_part

        suites = tuple(read_part(SuiteRecord, record) for record in self._records.values())
        claims = tuple(result for suite in suites for result in self._claims(suite))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Results.gather(suites, claims, versions(), now)

    def _claims(self, suite: SuiteRecord) -> Iterator[ClaimResult]:
        from provenance.comparison.plan import controlled

        controls = controlled(suite.claims)
        for claim in suite.claims:
            yield self._claim(suite, claim, controls=claim is controls.get(claim.reference))

    def _claim(self, suite: SuiteRecord, claim: Claim, *, controls: bool) -> ClaimResult:
        from provenance.evidence.results import ClaimResult, read_part

        found = [read_part(ClaimResult, one) for one in self._found.get((suite.path, claim.id), ())]
        parts = list(self._parts.get((suite.path, claim.id), ()))
        if controls:
            # a control that could not be measured has told nothing, and its failure is no less one
            parts += self._parts.get((suite.path, f"control-{claim.reference}"), ())
        base = next((one for one in found if not one.controls), ClaimResult(suite.path, claim))
        measured = {(c.kind, c.evidence.statistic): c for one in found for c in one.controls}
        return replace(base, parts=tuple(parts), controls=tuple(measured.values()))


def _part(report: pytest.TestReport) -> PartResult:
    from provenance.evidence.results import PartResult

    outcome: Any = report.outcome
    reason = getattr(report, "wasxfail", None)
    if reason is not None:
        outcome = "xfailed" if report.outcome == "skipped" else "xpassed"
    return PartResult(report.nodeid, outcome, round(report.duration, 3), reason or _reason(report))


def _reason(report: pytest.TestReport) -> str | None:
    if report.outcome == "passed":
        return None
    from provenance._text import without_home

    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    message: str = report.longreprtext if crash is None else crash.message
    return without_home(message.removeprefix("Failed: "))
