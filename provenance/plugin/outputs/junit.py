"""Evidence as properties of JUnit XML: of each claim's verdict test, and of the whole run.

A property of a test goes with its report, so that it comes from xdist's workers too. pytest's fixture
``record_testsuite_property`` does not, and warns with the family xunit2; the run's properties are added
where the report is written, under the key that the fixture uses.
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
    """Add what was found of a claim to one test, a property a value; ``kept`` is where evidence is."""
    found = {**_claim(result), **_evidence(result)}
    if kept is not None:
        found["evidence"] = str(kept)
    node.user_properties += [(f"provenance.{name}", value) for name, value in found.items()]


def _claim(result: ClaimResult) -> dict[str, str]:
    from provenance.gate.falsity import p_of, sentence, verdict_of

    claim = result.claim
    found = {
        "claim": sentence(result),
        "id": claim.id,
        "file": result.suite,
        "line": str(claim.mark.line),
        "expect": claim.expect,
        "statistic": claim.statistic,
        "verdict": verdict_of(result),
        "threshold": f"{claim.threshold:.6g}",
    }
    if result.log10_p is not None:
        found |= {"p": p_of(result), "log10_p": repr(result.log10_p)}
    if result.judgement is not None:
        found |= {"judgement": result.judgement.state, "meaning": result.judgement.meaning}
    if result.error is not None:
        found["error"] = result.error
    return found


def _evidence(result: ClaimResult) -> dict[str, str]:
    evidence = result.evidence
    if evidence is None:
        return {}
    found = {"inputs.digest": evidence.inputs.digest, "device": evidence.device}
    for role, model in (("candidate", evidence.candidate), ("reference", evidence.reference)):
        found[role] = getattr(result.claim, role)
        found[f"{role}.source"] = model.source
        found[f"{role}.digest"] = model.digest
        if model.weights_digest is not None:
            found[f"{role}.weights_digest"] = model.weights_digest
    return found
