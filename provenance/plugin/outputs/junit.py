"""Evidence as properties of JUnit XML: of each claim's verdict test, and of the whole run.

The properties of a test cross from xdist's workers with its report. Those of the run are added where
the XML is written, under the key of pytest's fixture ``record_testsuite_property``: the fixture itself
does not work with xdist, and warns with the family xunit2.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from provenance.evidence.results import ClaimResult, Results


@pytest.hookimpl
def pytest_provenance_results(config: pytest.Config, results: Results) -> Iterable[str]:
    """Add the digests of the suites, the versions and the state of the gate to the report."""
    from _pytest.junitxml import xml_key

    xml = config.stash.get(xml_key, None)
    if xml is not None:
        for name, value in _run(results).items():
            xml.add_global_property(name, value)
    return ()


def _run(results: Results) -> dict[str, str]:
    return {
        "provenance.state": results.state,
        "provenance.created": results.created,
        **{f"provenance.suite.{suite.path}": suite.digest for suite in results.suites},
        **{f"provenance.versions.{name}": value for name, value in results.versions.items()},
    }


def summarize(node: pytest.Item, result: ClaimResult, where: str, claims: int) -> None:
    """Add what became of a claim to any of its tests, as JSON; ``claims`` is the number in its file."""
    from provenance.evidence.wording import describe as sentence

    judgement = result.judgement
    fields = {
        "where": where,
        "id": result.claim.id,
        "claim": sentence(result.claim),
        "verdict": None if judgement is None else judgement.verdict,
        "log10_p": result.log10_p,
        "kin": result.kin,
        "blocks": len(result.blocks),
        "claims": claims,
        "state": None if judgement is None else judgement.state,
    }
    node.user_properties.append(("provenance", json.dumps(fields)))


def describe(node: pytest.Item, result: ClaimResult, kept: Path | None) -> None:
    """Add a claim's result to a test, a property for each value; ``kept`` is the file of the evidence."""
    properties = {**_claim(result), **_evidence(result)}
    if kept is not None:
        properties["evidence"] = str(kept)
    node.user_properties += [(f"provenance.{name}", value) for name, value in properties.items()]


def _claim(result: ClaimResult) -> dict[str, str]:
    from provenance.evidence.outcomes import outcome_of, p_value, verdict_of
    from provenance.evidence.wording import describe as sentence

    claim = result.claim
    properties = {
        "claim": sentence(claim),
        "id": claim.id,
        "file": result.suite,
        "line": str(claim.mark.line),
        "expect": claim.expect,
        "statistic": claim.statistic,
        "outcome": outcome_of(result).word,
        "verdict": verdict_of(result),
        "threshold": f"{claim.threshold:.6g}",
    }
    if result.log10_p is not None:
        properties |= {"p": p_value(result.log10_p), "log10_p": repr(result.log10_p)}
    if result.judgement is not None:
        properties |= {"judgement": result.judgement.state, "meaning": result.judgement.meaning}
    if result.found is not None:
        nearest = result.found.nearest
        properties |= {
            "references": str(len(result.found.references)),
            "nearest": "none" if nearest is None else nearest.name,
        }
    if result.error is not None:
        properties["error"] = result.error
    return properties


def _evidence(result: ClaimResult) -> dict[str, str]:
    evidence = result.evidence
    if evidence is None:
        return {}
    properties = {"inputs.digest": evidence.inputs.digest, "device": evidence.device}
    for role, name, model in result.sides:
        properties[role] = name
        properties[f"{role}.source"] = model.source
        properties[f"{role}.digest"] = model.digest
        if model.weights_digest is not None:
            properties[f"{role}.weights_digest"] = model.weights_digest
    return properties
