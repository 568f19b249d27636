"""A CycloneDX bill of materials of the models: their pedigree, as far as claims of it held.

https://cyclonedx.org/capabilities/mlbom/
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from provenance.attest._extra import need
from provenance.attest.statement import results_sha256
from provenance.errors import AttestationError
from provenance.pvalues import format_p
from provenance.verdict import describe
from provenance.vocabulary import DESCENTS

if TYPE_CHECKING:
    from provenance.evidence import ModelRecord
    from provenance.results import ClaimResult, Results


def bill_of_materials(results: Results) -> str:
    """Make a CycloneDX 1.6 document, as JSON, of the models of a run.

    A model's ``pedigree.ancestors`` are the references of its claims of descent that held. Where a
    lineage was declared and the two are no ancestor and descendant in it, or the two are the same
    checkpoint, the other is among ``pedigree.variants``. What failed, was inconclusive or was not
    claimed is not in it.

    Raises
    ------
    AttestationError
        If nothing was measured, or the extra is not installed.
    """
    models = _models(results)
    if not models:
        raise AttestationError("there is no model to list: no claim of the run was measured")
    bom_types, output = need("cyclonedx.model.bom"), need("cyclonedx.output")
    schema = need("cyclonedx.schema")
    bom = bom_types.Bom()
    # not drawn at random: the same results make the same document
    bom.serial_number = uuid5(NAMESPACE_URL, results_sha256(results))
    bom.metadata.timestamp = datetime.fromisoformat(results.created)
    bom.metadata.tools.components.add(_tool(results))
    components = {name: _component(name, record) for name, record in models.items()}
    for name, component in components.items():
        component.pedigree = _pedigree(results, _held(results, name), models)
        bom.components.add(component)
    for name, component in components.items():
        above = [
            components[r.claim.reference] for r in _held(results, name) if _descends(results, r)
        ]
        bom.register_dependency(component, above)
    made = output.make_outputter(bom, schema.OutputFormat.JSON, schema.SchemaVersion.V1_6)
    text = str(made.output_as_string(indent=2))
    _validate(text)
    return text + "\n"


def _validate(text: str) -> None:
    validator = need("cyclonedx.validation.json").JsonStrictValidator
    wrong = validator(need("cyclonedx.schema").SchemaVersion.V1_6).validate_str(text)
    assert wrong is None, wrong


def _models(results: Results) -> dict[str, ModelRecord]:
    found = {}
    for result in results.claims:
        if result.evidence is not None:
            found[result.claim.candidate] = result.evidence.candidate
            found[result.claim.reference] = result.evidence.reference
    return found


def _held(results: Results, candidate: str) -> list[ClaimResult]:
    return [
        result
        for result in results.claims
        if result.claim.candidate == candidate
        and result.claim.expect in DESCENTS
        and result.state == "pass"
        and result.judgement is not None
        and result.judgement.state == "holds"
    ]


def _descends(results: Results, result: ClaimResult) -> bool:
    """Whether the claim has a direction: not between cousins of a lineage, nor between copies."""
    if result.claim.expect == "identical":
        return False
    parents = next(dict(s.lineage) for s in results.suites if s.path == result.suite)
    if result.claim.expect != "derived" or not {
        result.claim.candidate,
        result.claim.reference,
    } <= set(parents):
        return True
    above = parents[result.claim.candidate]
    while above is not None and above != result.claim.reference:
        above = parents[above]
    return above is not None


def _pedigree(results: Results, held: list[ClaimResult], models: dict[str, ModelRecord]) -> Any:
    if not held:
        return None
    related: dict[bool, list[Any]] = {True: [], False: []}
    for result in held:
        name = result.claim.reference
        kin = _component(name, models[name], claim=result)
        related[_descends(results, result)].append(kin)
    return need("cyclonedx.model.component").Pedigree(
        ancestors=related[True],
        variants=related[False],
        notes="Shown by the weights, not only declared: "
        + "; ".join(f"{describe(r.claim)}, p = {format_p(r.log10_p or 0.0)}" for r in held),
    )


def _tool(results: Results) -> Any:
    types = need("cyclonedx.model.component")
    return types.Component(
        name="pytest-provenance",
        type=types.ComponentType.APPLICATION,
        version=results.versions.get("provenance"),
    )


def _component(name: str, record: ModelRecord, claim: ClaimResult | None = None) -> Any:
    types, model = need("cyclonedx.model.component"), need("cyclonedx.model")
    about = {
        "provenance:digest": record.digest,
        "provenance:weightsDigest": record.weights_digest,
        "provenance:source": record.source,
        "provenance:architecture": record.architecture,
        "provenance:parameters": str(record.parameters),
        "provenance:conversion": record.conversion,
    }
    if claim is not None and claim.evidence is not None:
        evidence = (claim.evidence.to_json() + "\n").encode()
        about |= {
            "provenance:claim": claim.claim.id,
            "provenance:expect": claim.claim.expect,
            "provenance:log10_p": None if claim.log10_p is None else f"{claim.log10_p:.6g}",
            "provenance:evidenceSha256": sha256(evidence).hexdigest(),
        }
    return types.Component(
        name=name,
        type=types.ComponentType.MACHINE_LEARNING_MODEL,
        version=record.digest,
        bom_ref=f"{name}@{record.digest}" + ("" if claim is None else f"#{claim.claim.id}"),
        properties=[model.Property(name=key, value=value) for key, value in about.items() if value],
    )
