"""Claims that tests in Python assert: from the test that asserts them to the `Results` of the run.

A file of tests stands beside the suites there: its claims are those that its tests asserted.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from provenance.evidence.heard import listening
from provenance.plugin import options

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from provenance.evidence.results import ClaimResult, PartResult, SuiteRecord

PROPERTY = "provenance-asserted"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Attach what a test asserts to its report, which crosses from xdist's workers."""
    if options.is_suite(item.path, item.config):
        return (yield)
    found: list[ClaimResult] = []
    try:
        with listening(found.append):
            return (yield)
    finally:
        path, _, name = item.nodeid.partition("::")
        for number, result in enumerate(found, 1):
            claim = replace(result.claim, id=name if len(found) == 1 else f"{name}-{number}")
            kept = asdict(replace(result, suite=path, claim=claim))
            item.user_properties.append((PROPERTY, json.dumps(kept)))


class Asserted:
    """What the reports of tests in Python brought."""

    def __init__(self) -> None:
        self._results: list[ClaimResult] = []

    def take(
        self, report: pytest.TestReport, part_of: Callable[[pytest.TestReport], PartResult]
    ) -> None:
        """Take the claims off a report, once: each has the test as its part."""
        properties = report.user_properties
        if all(name != PROPERTY for name, _ in properties):
            return  # a run without claims imports nothing of what reads them
        from provenance.evidence.results import ClaimResult, read_record

        report.user_properties = [pair for pair in properties if pair[0] != PROPERTY]
        if report.when != "call":
            return
        part = part_of(report)
        for name, text in properties:
            if name == PROPERTY:
                result = read_record(ClaimResult, json.loads(str(text)))
                claim = result.claim
                if part.outcome == "xfailed":
                    claim = replace(claim, xfail=part.message or "expected to fail")
                self._results.append(replace(result, claim=claim, parts=(part,)))

    def __bool__(self) -> bool:
        return bool(self._results)

    def gathered(self, root: Path) -> tuple[tuple[SuiteRecord, ...], tuple[ClaimResult, ...]]:
        """A record for each file of tests, relative to ``root``, and all their claims."""
        from provenance.evidence.results import SuiteRecord
        from provenance.vocabulary import InputsSpec

        by_file: dict[str, list[ClaimResult]] = {}
        for result in self._results:
            by_file.setdefault(result.suite, []).append(result)
        records = tuple(
            SuiteRecord(
                path=path,
                digest=_digest(root / path),
                inputs=InputsSpec(),
                models=_models(results),
                claims=tuple(result.claim for result in results),
                controls=False,
            )
            for path, results in by_file.items()
        )
        return records, tuple(result for results in by_file.values() for result in results)


def _digest(file: Path) -> str:
    try:
        return f"sha256:{sha256(file.read_bytes()).hexdigest()}"
    except OSError:  # a test need not be of a file
        return "none"


def _models(results: list[ClaimResult]) -> dict[str, Any]:
    return {name: record.source for result in results for _, name, record in result.sides}
