"""A CycloneDX bill of materials of the models: their pedigree, as far as claims of it held.

https://cyclonedx.org/capabilities/mlbom/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from provenance.attest._libraries import need
from provenance.attest.statement import kept_sha256
from provenance.errors import AttestationError
from provenance.evidence.families import lineage_graph
from provenance.evidence.results import cousins, descent
from provenance.evidence.wording import describe
from provenance.statistics.pvalues import format_p
from provenance.vocabulary import DESCENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.evidence.models import ModelRecord
    from provenance.evidence.results import ClaimResult, Results


def bill_of_materials(results: Results) -> str:
    """Make a CycloneDX 1.6 document, as JSON, of the models of a run.

    A model's ``pedigree.ancestors`` are the references of its claims of descent that held, each with a
    property that says whether anything but the claim supports the direction. Where a lineage was
    declared and the two are no ancestor and descendant in it, or the two are the same checkpoint, the
    other is among ``pedigree.variants``. What failed, was inconclusive or was not claimed is not in it.
    Dependencies, which have no such property, are drawn only where something measured supports them.

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
    directions = _measured_directions(results)
    held = {model: _held(results, model, directions) for model in models}
    for model, component in components.items():
        component.pedigree = _pedigree(held[model])
        bom.components.add(component)
    for model, component in components.items():
        measured = [each.result for each in held[model] if each.measured]
        above = [components[reference] for _, reference in map(_roles, measured)]
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
_Edge = tuple[str, str]
"""Digests of the parent and of the child."""


def _roles(result: ClaimResult) -> dict[_Model, ModelRecord]:
    """The candidate and the reference, in this order; none where the claim was not measured."""
    return {(name, record.digest): record for _, name, record in result.sides}


def _models(results: Results) -> dict[_Model, ModelRecord]:
    return {model: record for r in results.claims for model, record in _roles(r).items()}


@dataclass(frozen=True)
class _Held:
    """A claim of descent that held: whether it has a direction, and what was measured of that."""

    result: ClaimResult
    directed: bool
    measured: str

    @property
    def direction(self) -> str | None:
        """What supports the direction; None where the claim has none."""
        return (self.measured or "claimed, not measured") if self.directed else None


def _held(results: Results, candidate: _Model, directions: Mapping[_Edge, str]) -> list[_Held]:
    held = []
    for result in results.claims:
        claims = result.claim.expect in DESCENTS and result.state == "pass"
        holds = result.judgement is not None and result.judgement.state == "holds"
        if claims and holds and candidate in list(_roles(result))[:1]:
            digests = [digest for _, digest in _roles(result)]
            claimed = descent(results, result) is not None
            kin = cousins(results, result)
            measured = "" if kin else directions.get((digests[-1], digests[0]), "")
            held.append(_Held(result, claimed or bool(measured), measured))
    return held


def _measured_directions(results: Results) -> dict[_Edge, str]:
    """What was measured of directions of descent."""
    lineage = lineage_graph(results)
    digests = [model.digest for model in lineage.models]
    return {
        (digests[kin.a], digests[kin.b]): " ".join(kin.support)
        for kin in lineage.kinships
        if kin.directed and not kin.claimed
    }


def _pedigree(held: list[_Held]) -> Any:
    if not held:
        return None
    related: dict[bool, list[Any]] = {True: [], False: []}
    for each in held:
        related[each.directed].append(_kin(each))
    return need("cyclonedx.model.component").Pedigree(
        ancestors=related[True], variants=related[False], notes=_notes(held)
    )


def _notes(held: list[_Held]) -> str:
    """What the weights showed of each claim, by what supports its direction."""
    kinds = {
        "a measurement supports the direction": [each for each in held if each.measured],
        "the direction is as claimed": [e for e in held if e.directed and not e.measured],
        "no direction is claimed": [each for each in held if not each.directed],
    }
    return ". ".join(
        f"Kinship is shown by the weights, and {kind}: {'; '.join(map(_evidence_note, some))}"
        for kind, some in kinds.items()
        if some
    )


def _evidence_note(held: _Held) -> str:
    p = "" if held.result.log10_p is None else f", p = {format_p(held.result.log10_p)}"
    return describe(held.result.claim) + p


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


def _kin(held: _Held) -> Any:
    """The reference of a claim, with what shows it to be kin."""
    result = held.result
    assert result.evidence is not None
    kin = _component(result.claim.reference, result.evidence.reference)
    kin.bom_ref.value += f"#{result.suite}:{result.claim.id}"
    kin.properties.update(
        _properties(
            {
                "provenance:claim": result.claim.id,
                "provenance:expect": result.claim.expect,
                "provenance:direction": held.direction,
                "provenance:log10_p": None if result.log10_p is None else f"{result.log10_p:.6g}",
                "provenance:evidenceSha256": kept_sha256(result.evidence),
            }
        )
    )
    return kin


def _properties(about: dict[str, str | None]) -> list[Any]:
    kind = need("cyclonedx.model").Property
    return [kind(name=name, value=value) for name, value in about.items() if value]
