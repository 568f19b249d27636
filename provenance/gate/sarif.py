"""Results as SARIF 2.1.0, which code scanning shows on the line of YAML.

Made of plain JSON values and held against the official schema by a test: sarif-pydantic lets unknown
keys through, and has others than the standard.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from provenance.evidence.failures import FAILURES, failure_of, reasons
from provenance.evidence.outcomes import outcome_of, p_value, verdict_of
from provenance.evidence.tested_with import tested_with
from provenance.evidence.wording import describe
from provenance.gate.links import Links

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.failures import FailureKind
    from provenance.evidence.results import ClaimResult, Results

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"fail": "error", "warn": "warning", "xfail": "note"}
HOME = "https://pypi.org/project/pytest-provenance/"
_RULES = tuple(FAILURES)


def sarif(results: Results, links: Links | None = None) -> str:
    """Write results as one SARIF log with one run.

    A claim that fails is an error, one that warns a warning, and a known failure a note that the suite
    suppresses. Fingerprints are of the file, the claim and the kind of failure, so that an alert stays
    the same one when its line moves. The order is that of the files: equal results are equal text, but
    for the time.
    """
    links = links or Links()
    alerts = [
        _result(result, kind, tested_with(results, result), links)
        for result in results.claims
        if (kind := failure_of(result)) is not None
    ]
    run = {
        "tool": {"driver": _driver(results)},
        "invocations": [{"executionSuccessful": True, "endTimeUtc": _utc(results.created)}],
        "automationDetails": {"id": "pytest-provenance/"},
        "columnKind": "unicodeCodePoints",
        "artifacts": [_artifact(suite.path, suite.digest, links) for suite in results.suites],
        "results": alerts,
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1, allow_nan=False) + "\n"


def _utc(created: str) -> str:
    return created.replace("+00:00", "Z")


def _driver(results: Results) -> dict[str, Any]:
    version = results.versions.get("provenance")
    return {
        "name": "pytest-provenance",
        "informationUri": HOME,
        **({"version": version, "semanticVersion": version} if version else {}),
        "rules": [
            {
                "id": kind.id,
                "name": kind.name,
                "shortDescription": {"text": kind.summary},
                "fullDescription": {"text": kind.summary},
                "help": {"text": kind.remedy, "markdown": kind.remedy},
                "defaultConfiguration": {"level": "error"},
            }
            for kind in FAILURES.values()
        ],
        "properties": {"versions": dict(results.versions)},
    }


def _artifact(path: str, digest: str, links: Links) -> dict[str, Any]:
    return {
        "location": _location(path, links),
        "hashes": {"sha-256": digest.removeprefix("sha256:")},
    }


def _location(path: str, links: Links) -> dict[str, str]:
    return {"uri": quote(links.path(path)), "uriBaseId": "%SRCROOT%"}


def _result(
    result: ClaimResult, kind: FailureKind, how: Sequence[str], links: Links
) -> dict[str, Any]:
    mark = result.claim.mark
    region = {
        "startLine": mark.line,
        "startColumn": mark.column,
        "endLine": mark.end_line,
        "endColumn": mark.end_column,
    }
    tested = [f"tested: {'; '.join(how)}"] if how else []
    text = [f"claimed: {describe(result.claim)}", *tested, *reasons(result)]
    known = result.state == "xfail"
    return {
        "ruleId": kind.id,
        "ruleIndex": _RULES.index(kind.id),
        "level": LEVELS[result.state],
        "message": {"text": "\n".join(text)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _location(result.suite, links),
                    "region": region,
                },
                "logicalLocations": [{"fullyQualifiedName": f"{result.suite}::{result.claim.id}"}],
            }
        ],
        "partialFingerprints": _fingerprints(result, kind, links),
        **({"suppressions": [_suppression(result)]} if known else {}),
        "properties": _properties(result),
    }


def _suppression(result: ClaimResult) -> dict[str, str]:
    return {"kind": "inSource", "justification": result.claim.xfail or "xfail"}


def _fingerprints(result: ClaimResult, kind: FailureKind, links: Links) -> dict[str, str]:
    """GitHub reads ``primaryLocationLineHash`` alone, and would make one of the line's text."""
    what = "\0".join((links.path(result.suite), result.claim.id, kind.id))
    digest = sha256(what.encode("utf-8", "surrogatepass")).hexdigest()
    return {"provenanceClaim/v1": digest, "primaryLocationLineHash": f"{digest[:16]}:1"}


def _properties(result: ClaimResult) -> dict[str, Any]:
    evidence = result.evidence
    properties: dict[str, Any] = {
        "claim": result.claim.id,
        "expect": result.claim.expect,
        "outcome": outcome_of(result).word,
        "verdict": verdict_of(result),
        "p": p_value(result.log10_p),
        "threshold": result.claim.threshold,
    }
    if result.log10_p is not None:
        properties["log10_p"] = result.log10_p
    if evidence is not None:
        properties["candidateDigest"] = evidence.candidate.digest
        properties["referenceDigest"] = evidence.reference.digest
    return properties
