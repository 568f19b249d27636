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
* `decide_evidence` judges a pair, `decide` a p-value; `judge_block` and `judge_pair` judge a suite's
  claim in words.
* `Results` are what a run of suites found, `ClaimResult` by `ClaimResult`; `read_results` reads them,
  `render_report` draws them, and `lineage_graph` finds the families in them.
* ``provenance.statistics`` holds the tests, ``provenance.capture`` the hooks, for use on your own models.

`import provenance` imports no torch: names that need it load when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provenance._lineage_formats import format_lineage
    from provenance.errors import ProvenanceError, SuiteError
    from provenance.evidence import BlockEvidence, Evidence
    from provenance.execute import Executor, compare
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
        DistillSettings,
        InputsSpec,
        Memory,
        ModelSpec,
        Stage,
        parse_bytes,
    )

_HOMES = {
    "BlockEvidence": "evidence",
    "Claim": "suite",
    "ClaimResult": "results",
    "DistillSettings": "vocabulary",
    "Evidence": "evidence",
    "Executor": "execute",
    "InputsSpec": "vocabulary",
    "Lineage": "lineage",
    "Memory": "vocabulary",
    "ModelSpec": "vocabulary",
    "ProvenanceError": "errors",
    "RECIPES": "recipes",
    "REGISTRY": "statistics",
    "Results": "results",
    "Stage": "vocabulary",
    "Store": "store",
    "Suite": "suite",
    "SuiteError": "errors",
    "compare": "execute",
    "decide": "verdict",
    "decide_blocks": "verdict",
    "decide_evidence": "verdict",
    "format_lineage": "_lineage_formats",
    "format_p": "pvalues",
    "json_schema": "suite",
    "judge_block": "verdict",
    "judge_pair": "verdict",
    "lineage_graph": "lineage",
    "load_suite": "suite:load",
    "parse_bytes": "vocabulary",
    "read_results": "reading",
    "render_report": "report",
    "significant": "verdict",
}

__all__ = [
    "RECIPES",
    "REGISTRY",
    "BlockEvidence",
    "Claim",
    "ClaimResult",
    "DistillSettings",
    "Evidence",
    "Executor",
    "InputsSpec",
    "Lineage",
    "Memory",
    "ModelSpec",
    "ProvenanceError",
    "Results",
    "Stage",
    "Store",
    "Suite",
    "SuiteError",
    "compare",
    "decide",
    "decide_blocks",
    "decide_evidence",
    "format_lineage",
    "format_p",
    "json_schema",
    "judge_block",
    "judge_pair",
    "lineage_graph",
    "load_suite",
    "parse_bytes",
    "read_results",
    "render_report",
    "significant",
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
