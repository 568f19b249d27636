"""Tells whether two language models share a lineage.

A tour, in the order in which data flows:

>>> import provenance
>>> suite = provenance.load_suite("suites/quickstart.suite.yaml")  # doctest: +SKIP
>>> evidence = provenance.compare("quickstart/rebranded", "quickstart/base")  # doctest: +SKIP
>>> evidence.log10_p, evidence.blocks[0].correlation  # doctest: +SKIP
>>> provenance.decide_evidence(evidence, threshold=1e-6)  # doctest: +SKIP
'dependent'

* `load_suite` reads claims from YAML (`Suite`, `Claim`); `SuiteError` lists every mistake with its line.
* `compare` measures one pair (`Evidence`), through an `Executor` that keeps results in a `Store`;
  `DistillSettings` are for `generalized`.
* `fingerprint` writes what `compare` needs of a model, without its weights (`Fingerprint`).
* `decide_evidence` judges a pair, `decide` a p-value; `judge_block` and `judge_pair` judge a suite's
  claim in words.
* `audit_registry` judges every pair of a `Registry`, with what a `History` knows; `diagnose` looks at what
  all of this runs on.
* `Results` are what a run of suites found, `ClaimResult` by `ClaimResult`.
* `make_statement` and `bill_of_materials` say them to other tools; `sign_statement` and
  `check_envelope` are for keys on disk.
* `markdown_summary` puts results in words, `explain` one test of them; `verify` checks stored evidence
  again (`read_stored`), without the models.
* `Results` are what a run of suites found, `ClaimResult` by `ClaimResult`; `read_results` reads them,
  `render_report` draws them, and `lineage_graph` finds the families in them.
* ``provenance.statistics`` holds the tests, ``provenance.capture`` the hooks, for use on your own models.

`import provenance` imports no torch: names that need it load when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provenance._bundle import Fingerprint
    from provenance._lineage_formats import format_lineage
    from provenance.attest import (
        bill_of_materials,
        check_envelope,
        make_statement,
        model_digest,
        read_statement,
        recorded_subjects,
        sign_statement,
        subjects_of,
    )
    from provenance.audit import (
        CHANGE_KINDS,
        Audit,
        AuditedModel,
        AuditedPair,
        Change,
        History,
        Outlook,
        Registry,
        audit_registry,
        audit_results,
        foresee,
        load_registry,
    )
    from provenance.doctor import Check, diagnose
    from provenance.drafting import draft_suite
    from provenance.errors import AttestationError, ProvenanceError, SuiteError
    from provenance.evidence import BlockEvidence, Evidence
    from provenance.execute import Executor, as_spec, compare
    from provenance.fingerprinting import fingerprint
    from provenance.gate.explaining import Explanation, SuiteText, explain
    from provenance.gate.links import Links
    from provenance.gate.markdown import summary as markdown_summary
    from provenance.gate.verifying import (
        CANNOT_SHOW,
        Checked,
        Stored,
        read_stored,
        verify,
        verify_by_suite,
        verify_model,
    )
    from provenance.lineage import Lineage, lineage_graph
    from provenance.pvalues import format_p
    from provenance.reading import read_results
    from provenance.recipes import RECIPES
    from provenance.report import render_report
    from provenance.results import ClaimResult, Results
    from provenance.statistics import REGISTRY
    from provenance.store import Store
    from provenance.suite import Claim, Suite, json_schema
    from provenance.suite import load as load_suite
    from provenance.verdict import (
        decide,
        decide_blocks,
        decide_evidence,
        judge_block,
        judge_pair,
        significant,
    )
    from provenance.vocabulary import (
        SKETCH,
        DistillSettings,
        InputsSpec,
        Memory,
        ModelSpec,
        Stage,
        parse_bytes,
    )

_HOMES = {
    "AttestationError": "errors",
    "Audit": "audit",
    "AuditedModel": "audit",
    "AuditedPair": "audit",
    "BlockEvidence": "evidence",
    "CANNOT_SHOW": "gate.verifying",
    "CHANGE_KINDS": "audit",
    "Change": "audit",
    "Check": "doctor",
    "Checked": "gate.verifying",
    "Claim": "suite",
    "ClaimResult": "results",
    "DistillSettings": "vocabulary",
    "Evidence": "evidence",
    "Executor": "execute",
    "Explanation": "gate.explaining",
    "Fingerprint": "_bundle",
    "History": "audit",
    "InputsSpec": "vocabulary",
    "Lineage": "lineage",
    "Links": "gate.links",
    "Memory": "vocabulary",
    "ModelSpec": "vocabulary",
    "Outlook": "audit",
    "ProvenanceError": "errors",
    "RECIPES": "recipes",
    "SKETCH": "vocabulary",
    "REGISTRY": "statistics",
    "Registry": "audit",
    "Results": "results",
    "Stage": "vocabulary",
    "Store": "store",
    "Stored": "gate.verifying",
    "Suite": "suite",
    "SuiteError": "errors",
    "SuiteText": "gate.explaining",
    "as_spec": "execute",
    "audit_registry": "audit",
    "audit_results": "audit",
    "bill_of_materials": "attest",
    "check_envelope": "attest",
    "compare": "execute",
    "decide": "verdict",
    "decide_blocks": "verdict",
    "decide_evidence": "verdict",
    "diagnose": "doctor",
    "draft_suite": "drafting",
    "explain": "gate.explaining",
    "fingerprint": "fingerprinting",
    "foresee": "audit",
    "format_lineage": "_lineage_formats",
    "format_p": "pvalues",
    "json_schema": "suite",
    "judge_block": "verdict",
    "judge_pair": "verdict",
    "lineage_graph": "lineage",
    "load_registry": "audit",
    "load_suite": "suite:load",
    "make_statement": "attest",
    "markdown_summary": "gate.markdown:summary",
    "model_digest": "attest",
    "parse_bytes": "vocabulary",
    "read_results": "reading",
    "read_statement": "attest",
    "read_stored": "gate.verifying",
    "recorded_subjects": "attest",
    "render_report": "report",
    "sign_statement": "attest",
    "significant": "verdict",
    "subjects_of": "attest",
    "verify": "gate.verifying",
    "verify_by_suite": "gate.verifying",
    "verify_model": "gate.verifying",
}

__all__ = [
    "CANNOT_SHOW",
    "CHANGE_KINDS",
    "RECIPES",
    "REGISTRY",
    "SKETCH",
    "AttestationError",
    "Audit",
    "AuditedModel",
    "AuditedPair",
    "BlockEvidence",
    "Change",
    "Check",
    "Checked",
    "Claim",
    "ClaimResult",
    "DistillSettings",
    "Evidence",
    "Executor",
    "Explanation",
    "Fingerprint",
    "History",
    "InputsSpec",
    "Lineage",
    "Links",
    "Memory",
    "ModelSpec",
    "Outlook",
    "ProvenanceError",
    "Registry",
    "Results",
    "Stage",
    "Store",
    "Stored",
    "Suite",
    "SuiteError",
    "SuiteText",
    "as_spec",
    "audit_registry",
    "audit_results",
    "bill_of_materials",
    "check_envelope",
    "compare",
    "decide",
    "decide_blocks",
    "decide_evidence",
    "diagnose",
    "draft_suite",
    "explain",
    "fingerprint",
    "foresee",
    "format_lineage",
    "format_p",
    "json_schema",
    "judge_block",
    "judge_pair",
    "lineage_graph",
    "load_registry",
    "load_suite",
    "make_statement",
    "markdown_summary",
    "model_digest",
    "parse_bytes",
    "read_results",
    "read_statement",
    "read_stored",
    "recorded_subjects",
    "render_report",
    "sign_statement",
    "significant",
    "subjects_of",
    "verify",
    "verify_by_suite",
    "verify_model",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'provenance' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value: object = getattr(import_module(f"provenance.{module}"), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
