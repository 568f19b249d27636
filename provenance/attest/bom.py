"""A CycloneDX bill of materials of the models: their pedigree, as far as claims of it held.

https://cyclonedx.org/capabilities/mlbom/
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from provenance.attest._libraries import need
from provenance.attest.statement import kept_sha256
from provenance.errors import AttestationError
from provenance.evidence.results import descent
from provenance.evidence.wording import describe
from provenance.statistics.pvalues import format_p
from provenance.vocabulary import DESCENTS

if TYPE_CHECKING:
    from provenance.evidence.records import ModelRecord
    from provenance.evidence.results import ClaimResult, Results


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
    bom.serial_number = uuid5(NAMESPACE_URL, kept_sha256(results))
    bom.metadata.timestamp = _time(results.created)
    bom.metadata.tools.components.add(_tool(results))
    components = {model: _component(model[0], record) for model, record in models.items()}
    for model, component in components.items():
        component.pedigree = _pedigree(results, _held(results, model))
        bom.components.add(component)
    for model, component in components.items():
        held = [result for result in _held(results, model) if descent(results, result) is not None]
        above = [components[reference] for _, reference in map(_roles, held)]
        bom.register_dependency(component, above)
    made = output.make_outputter(bom, schema.OutputFormat.JSON, schema.SchemaVersion.V1_6)
    text = str(made.output_as_string(indent=2))
    _validate(text)
    return text + "\n"


def _validate(text: str) -> None:
    validator = need("cyclonedx.validation.json").JsonStrictValidator
    wrong = validator(need("cyclonedx.schema").SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:  # such as a name that is too long: results may come from anyone
        raise AttestationError(f"no bill of materials can be made of it: {str(wrong)[:200]}")


def _time(created: str) -> datetime:
    try:
        return datetime.fromisoformat(created)
    except ValueError:
        raise AttestationError(f"results are of no time: created is {created!r}") from None


# a name is a suite's own: in another suite it may be another checkpoint's
_Model = tuple[str, str]


def _roles(result: ClaimResult) -> dict[_Model, ModelRecord]:
    """The candidate and the reference, in this order; none where the claim was not measured."""
    return {(name, record.digest): record for _, name, record in result.sides}


def _models(results: Results) -> dict[_Model, ModelRecord]:
    return {model: record for r in results.claims for model, record in _roles(r).items()}


def _held(results: Results, candidate: _Model) -> list[ClaimResult]:
    return [
        result
        for result in results.claims
        if candidate in list(_roles(result))[:1]
        and result.claim.expect in DESCENTS
        and result.state == "pass"
        and result.judgement is not None
        and result.judgement.state == "holds"
    ]


def _pedigree(results: Results, held: list[ClaimResult]) -> Any:
    if not held:
        return None
    related: dict[bool, list[Any]] = {True: [], False: []}
    for result in held:
        related[descent(results, result) is not None].append(_kin(result))
    return need("cyclonedx.model.component").Pedigree(
        ancestors=related[True],
        variants=related[False],
        notes="Shown by the weights, not only declared: " + "; ".join(map(_evidence_note, held)),
    )


def _evidence_note(result: ClaimResult) -> str:
    p = "" if result.log10_p is None else f", p = {format_p(result.log10_p)}"
    return describe(result.claim) + p


def _tool(results: Results) -> Any:
    types = need("cyclonedx.model.component")
    return types.Component(
        name="pytest-provenance",
        type=types.ComponentType.APPLICATION,
        version=results.versions.get("provenance"),
    )


def _component(name: str, record: ModelRecord) -> Any:
    about = {
        "provenance:digest": record.digest,
        "provenance:weightsDigest": record.weights_digest,
        "provenance:source": record.source,
        "provenance:architecture": record.architecture,
        "provenance:parameters": str(record.parameters),
        "provenance:conversion": record.conversion,
        "provenance:fingerprintSaidToBeOf": record.claimed,
    }
    types = need("cyclonedx.model.component")
    return types.Component(
        name=name,
        type=types.ComponentType.MACHINE_LEARNING_MODEL,
        version=record.digest,
        bom_ref=f"{name}@{record.digest}",
        properties=_properties(about),
    )


def _kin(result: ClaimResult) -> Any:
    """The reference of a claim, with what shows it to be kin."""
    assert result.evidence is not None
    kin = _component(result.claim.reference, result.evidence.reference)
    kin.bom_ref.value += f"#{result.suite}:{result.claim.id}"
    kin.properties.update(
        _properties(
            {
                "provenance:claim": result.claim.id,
                "provenance:expect": result.claim.expect,
                "provenance:log10_p": None if result.log10_p is None else f"{result.log10_p:.6g}",
                "provenance:evidenceSha256": kept_sha256(result.evidence),
            }
        )
    )
    return kin


def _properties(about: dict[str, str | None]) -> list[Any]:
    kind = need("cyclonedx.model").Property
    return [kind(name=name, value=value) for name, value in about.items() if value]
