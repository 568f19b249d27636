"""Puts together what evidence records: the units of two models, where they came from, versions."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING, Any

from provenance.evidence import InputsRecord, ModelRecord, Pairing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.blocks import Part, Units
    from provenance.inputs import Inputs
    from provenance.measure import Shape
    from provenance.sources import Checkpoint
    from provenance.statistics import Basis, BlockTest, Statistic
    from provenance.store import Entry
    from provenance.structure import Trace
    from provenance.vocabulary import DistillSettings, InputsSpec


def parts(
    components: tuple[Statistic, ...],
    models: tuple[Checkpoint, Checkpoint],
    entries: Mapping[Basis, tuple[Entry, Entry]],
    device: str,
    settings: DistillSettings | None,
) -> list[Part[Any]]:
    """Each statistic with the units that it is computed on; what was traced is reused.

    ``entries`` holds what the store has of the two models, by the basis that it serves.
    """
    from provenance.blocks import Part
    from provenance.measure import ActivationUnits, WeightUnits

    active = [
        ActivationUnits(entry.path, model, device)
        for entry, model in zip(entries.get("activations", ()), models, strict=False)
    ]
    traces: Sequence[Trace | None] = [units.trace for units in active] or [None, None]
    parts = []
    for component in components:
        test: BlockTest[Any] = component.load()
        units: Sequence[Units[Any]] = active
        if component.basis == "weights":
            units = [
                WeightUnits(model, found, device)
                for model, found in zip(models, traces, strict=True)
            ]
        elif component.basis == "functions":
            units = _imitations(entries["functions"], device)
            # the registry's tests know no settings; that of imitations takes the least fit from them
            test = partial(test, settings=settings)  # type: ignore[call-arg]
        candidate, reference = units
        ready = component.load_preparation(), component.load_signature()
        parts.append(Part(component.name, test, candidate, reference, *ready))
    return parts


def _imitations(entries: tuple[Entry, Entry], device: str) -> list[Units[Any]]:
    from provenance.proxies import ProxyUnits

    roles = ("candidate", "reference")
    return [
        ProxyUnits(entry.path, role, device) for entry, role in zip(entries, roles, strict=True)
    ]


def natural_pairing(candidate: Shape, reference: Shape) -> Pairing:
    """Blocks are compared by index where both models have the same number of them."""
    return "same-index" if candidate.blocks == reference.blocks else "best-of-reference"


def record(checkpoint: Checkpoint, shape: Shape | None) -> ModelRecord:
    """The record of a model; what a statistic that looks at no block leaves open is in its config."""
    skipped = {} if shape is None else shape.skipped
    return ModelRecord(
        source=checkpoint.source,
        digest=checkpoint.digest,
        architecture=checkpoint.architecture if shape is None else shape.architecture,
        blocks=(checkpoint.blocks or 0) if shape is None else shape.blocks,
        parameters=checkpoint.parameters,
        dtype=(checkpoint.spec.dtype or "as stored") if shape is None else shape.dtype,
        skipped={str(index): what for index, what in skipped.items()},
        weights_digest=checkpoint.weights_digest,
        conversion=checkpoint.conversion,
        pickle=checkpoint.pickle,
        remote_code=checkpoint.remote_code,
    )


def inputs_record(
    asked: InputsSpec, inputs: Inputs | None, imitated: DistillSettings | None = None
) -> InputsRecord:
    """What both models were fed; None where no model was run on tokens."""
    if inputs is None:
        note = "no model was run: the statistic reads weights alone"
        if imitated is not None:
            note = f"no text was read: each MLP was imitated on {imitated.distribution()}"
        return InputsRecord("hidden", None, 0, 0, asked.seed, "none", note)
    spec = inputs.spec
    return InputsRecord(
        kind=spec.kind,
        text=spec.text if spec.kind == "text" else None,
        tokens=len(inputs.ids),
        sequence_length=spec.sequence_length,
        seed=spec.seed,
        digest=inputs.digest,
        note=inputs.note,
    )


def versions() -> dict[str, str]:
    """Versions of what measures."""
    names = {"provenance": "pytest-provenance", "torch": "torch", "transformers": "transformers"}
    names |= {"numpy": "numpy", "scipy": "scipy"}
    found = {short: version(name) for short, name in names.items()}
    return found | {"python": python_version()}
