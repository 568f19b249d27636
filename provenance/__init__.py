"""Tells whether two language models share a lineage.

A tour, in the order in which data flows:

>>> import provenance
>>> suite = provenance.load_suite("suites/quickstart.suite.yaml")  # doctest: +SKIP
>>> evidence = provenance.compare("quickstart/rebranded", "quickstart/base")  # doctest: +SKIP
>>> evidence.log10_p, evidence.blocks[0].correlation  # doctest: +SKIP
>>> provenance.decide(evidence, threshold=1e-6)  # doctest: +SKIP
'dependent'

* `load_suite` reads claims from YAML (`Suite`); `SuiteError` lists every mistake with its line.
* `compare` measures one pair of models (`ModelSpec`) on inputs (`InputsSpec`) and returns `Evidence`.
  An `Executor` measures many, and keeps what it computed in a `Store`.
* `decide` judges evidence; `assert_kin` and `assert_independent` do so in a test. `Results` are what a
  run of suites found: `read_results` reads them, `render_report` draws them, `lineage_graph` finds the
  families in them.
* `explain` puts one test in words. `verify` judges stored evidence again, without the models.
* `difference` maps one of two kin onto the other, and measures what became of the weights. `decompose`
  finds the shares of a merge's parents.
* `fingerprint` writes what `compare` needs of a model, without its weights.
* `identify` finds the nearest kin of a model among many; `judge_card` judges what its card says.
* `load_registry` and `audit_registry` judge every pair of a registry of models.

`import provenance` imports no torch: a name loads its module when it is first used. Each subpackage
says in its docstring what comes in, what goes out, and which file to open first.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provenance.audit import audit_registry, load_registry
    from provenance.comparison.decompose import decompose
    from provenance.comparison.difference import difference
    from provenance.comparison.executor import Executor, compare
    from provenance.comparison.make_fingerprint import fingerprint
    from provenance.errors import ProvenanceError, SuiteError
    from provenance.evidence.asserting import assert_independent, assert_kin
    from provenance.evidence.decide import decide
    from provenance.evidence.families import lineage_graph
    from provenance.evidence.read import read_results
    from provenance.evidence.records import Evidence
    from provenance.evidence.results import Results
    from provenance.gate.explain import explain
    from provenance.gate.verify import verify
    from provenance.identification import identify, judge_card
    from provenance.report import render_report
    from provenance.store.store import Store
    from provenance.suite.claims import Suite
    from provenance.suite.read import load as load_suite
    from provenance.vocabulary import InputsSpec, ModelSpec

_HOMES = {
    "Evidence": "evidence.records",
    "Executor": "comparison.executor",
    "InputsSpec": "vocabulary",
    "ModelSpec": "vocabulary",
    "ProvenanceError": "errors",
    "Results": "evidence.results",
    "Store": "store.store",
    "Suite": "suite.claims",
    "SuiteError": "errors",
    "assert_independent": "evidence.asserting",
    "assert_kin": "evidence.asserting",
    "audit_registry": "audit",
    "compare": "comparison.executor",
    "decide": "evidence.decide",
    "decompose": "comparison.decompose",
    "difference": "comparison.difference",
    "explain": "gate.explain",
    "fingerprint": "comparison.make_fingerprint",
    "identify": "identification",
    "judge_card": "identification",
    "lineage_graph": "evidence.families",
    "load_registry": "audit",
    "load_suite": "suite.read:load",
    "read_results": "evidence.read",
    "render_report": "report",
    "verify": "gate.verify",
}

__all__ = [
    "Evidence",
    "Executor",
    "InputsSpec",
    "ModelSpec",
    "ProvenanceError",
    "Results",
    "Store",
    "Suite",
    "SuiteError",
    "assert_independent",
    "assert_kin",
    "audit_registry",
    "compare",
    "decide",
    "decompose",
    "difference",
    "explain",
    "fingerprint",
    "identify",
    "judge_card",
    "lineage_graph",
    "load_registry",
    "load_suite",
    "read_results",
    "render_report",
    "verify",
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
