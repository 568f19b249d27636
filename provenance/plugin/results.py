"""Judges claims, gathers `Results` from tests here or in xdist's workers, and hands them on.

A test attaches what it found to its report as a user property, which is what crosses from a worker; it
is taken off again before JUnit's writer sees it.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from provenance.plugin import options
from provenance.plugin.asserted import Asserted
from provenance.plugin.collected import noted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provenance.evidence.records import Evidence
    from provenance.evidence.relatives import Identification
    from provenance.evidence.results import ClaimResult, PartResult, Results, SuiteRecord
    from provenance.plugin.cases import Case
    from provenance.suite.claims import Claim, Suite

PROPERTY = "provenance-found"
_ATTACHED = pytest.StashKey[set[tuple[str, str]]]()
_JUDGED = pytest.StashKey[dict[tuple[str, str], "ClaimResult"]]()


def judged(config: pytest.Config, case: Case, evidence: Evidence) -> ClaimResult:
    """Judge a claim by its evidence, once in this process: each of its tests asks for it."""
    from provenance.evidence.results import ClaimResult
    from provenance.evidence.verdict import judge_pair

    results = config.stash.setdefault(_JUDGED, {})
    key = (case.nodeid, case.claim.id)
    if key not in results:
        judgement = judge_pair(case.claim, evidence)
        results[key] = ClaimResult(case.nodeid, case.claim, judgement, evidence)
    return results[key]


def found_result(case: Case, found: Identification) -> ClaimResult:
    """Judge a claim of the nearest kin by what its references showed."""
    from provenance.evidence.nearest import compared_with, judge_nearest
    from provenance.evidence.results import ClaimResult

    shown = compared_with(case.claim, found)
    evidence = None if shown is None else shown.evidence
    judgement = judge_nearest(case.claim, found)
    return ClaimResult(case.nodeid, case.claim, judgement, evidence, found=found)


def attach(node: pytest.Item, case: Case, result: ClaimResult) -> None:
    """Attach what a test found; evidence and suite once a process, since both can be long."""
    from provenance.evidence.results import SuiteRecord

    attached = node.config.stash.setdefault(_ATTACHED, set())
    suite, claim = (case.nodeid, ""), (case.nodeid, result.claim.id)
    fields: dict[str, Any] = {"suite": case.nodeid, "claim": result.claim.id}
    if suite not in attached:
        fields["record"] = asdict(SuiteRecord.of(case.nodeid, case.suite))
    if result.controls or claim not in attached:
        fields["result"] = asdict(result)
    attached |= {suite} if result.controls else {suite, claim}
    node.user_properties.append((PROPERTY, json.dumps(fields)))


class Gatherer:
    """A plugin object of the session that reports to the user: reports in, `Results` out."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._records: dict[str, dict[str, Any]] = {}
        self._claims: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._parts: dict[tuple[str, str], list[PartResult]] = {}
        self._complaints: list[str] = []
        self._results: Results | None = None
        self._left: dict[str, dict[str, list[str]]] = {}
        self._began = time.monotonic()
        self._asserted = Asserted()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test found off its report."""
        properties = report.user_properties
        attached = [json.loads(str(value)) for name, value in properties if name == PROPERTY]
        report.user_properties = [pair for pair in properties if pair[0] != PROPERTY]
        path, _, name = report.nodeid.partition("::")
        if not attached and not options.is_suite(path, self._config):
            self._asserted.take(report, _part)  # anyone's test
            return
        key = (path, name.partition("[")[0])
        for fields in attached if report.when == "call" else ():
            key = (fields["suite"], fields["claim"])
            if "record" in fields:
                self._records[key[0]] = fields["record"]
            if "result" in fields:
                self._claims.setdefault(key, []).append(fields["result"])
        if report.when == "call" or report.outcome != "passed":
            self._parts.setdefault(key, []).append(_part(report))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the results to the plugins that write files from them; a complaint fails the run."""
        if not self._parts and not self._asserted:
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
        from provenance.evidence.results import Results, SuiteRecord, read_record
        from provenance.gate.circumstances import run_record

        given = dict.fromkeys([*noted(self._config), *self._records])
        given |= dict.fromkeys(path for path, _ in self._parts)
        files = {path: _read(self._config.rootpath / path, self._config) for path in given}
        suites = tuple(
            read_record(SuiteRecord, self._records[path])
            if path in self._records
            else _record(path, files[path])
            for path in given
        )
        self._left = {path: self._not_run(path, suite) for path, suite in files.items()}
        claims = tuple(result for suite in suites for result in self._claims_of(suite))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        files_of_tests, asserted = self._asserted.gathered(self._config.rootpath)
        suites, claims = (*suites, *files_of_tests), (*claims, *asserted)
        seconds = round(time.monotonic() - self._began, 1)
        run = run_record(os.environ, self._config.rootpath, seconds)
        return Results.gather(suites, claims, versions(), now, run)

    def _not_run(self, path: str, suite: Suite | None) -> dict[str, list[str]]:
        """The tests of a suite that were not run, by the names of their functions."""
        from provenance.plugin.cases import tests_of

        ran: dict[str, list[str]] = {}
        for parts in self._parts.values():
            for each in parts:
                ran.setdefault(each.nodeid.partition("[")[0], []).append(each.nodeid)
        left: dict[str, list[str]] = {}
        for name, part in () if suite is None else tests_of(suite):
            test = f"{path}::{name}"
            # another plugin may have put more into the brackets
            starts = tuple(f"{test}[{part}{end}" for end in "]-")
            if not any(nodeid.startswith(starts) for nodeid in ran.get(test, ())):
                left.setdefault(name, []).append(f"{test}[{part}]")
        return left

    def _claims_of(self, suite: SuiteRecord) -> Iterator[ClaimResult]:
        from provenance.comparison.plan import controlled

        controls = controlled(suite.claims)
        for claim in suite.claims:
            yield self._claim(suite, claim, controls=claim is controls.get(claim.reference))

    def _claim(self, suite: SuiteRecord, claim: Claim, *, controls: bool) -> ClaimResult:
        from provenance.evidence.results import ClaimResult, read_record
        from provenance.plugin.cases import control_name

        results = [
            read_record(ClaimResult, fields)
            for fields in self._claims.get((suite.path, claim.id), ())
        ]
        names = [claim.id]
        if controls:
            # a control that could not be measured has no result, and its failure counts all the same
            names.append(control_name(claim.reference))
        parts = [part for name in names for part in self._parts.get((suite.path, name), ())]
        left = [test for name in names for test in self._left[suite.path].get(name, ())]
        result = next((r for r in results if not r.controls), ClaimResult(suite.path, claim))
        measured = {(c.kind, c.evidence.statistic): c for r in results for c in r.controls}
        return replace(
            result, parts=tuple(parts), controls=tuple(measured.values()), not_run=tuple(left)
        )


def _read(path: Path, config: pytest.Config) -> Suite | None:
    """The suite of a file, None where it cannot be read: collecting it has said why."""
    from provenance.errors import SuiteError

    try:
        return options.read_suite(path, config)
    except SuiteError:
        return None


def _record(path: str, suite: Suite | None) -> SuiteRecord:
    """The record of a suite of which no test has told; one that cannot be read makes no claim."""
    from provenance.evidence.results import SuiteRecord
    from provenance.vocabulary import InputsSpec

    if suite is not None:
        return SuiteRecord.of(path, suite)
    return SuiteRecord(path, "none", InputsSpec(), {}, (), controls=False)


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
