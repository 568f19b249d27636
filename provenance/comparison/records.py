"""Puts together what evidence records: the units of two models, where they came from, versions."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING, Any

from provenance._text import without_home
from provenance.comparison.plan import sampled
from provenance.errors import InputError
from provenance.evidence.records import InputsRecord, ModelRecord, Pairing
from provenance.statistics import DISTANCES, REGISTRY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.capture.units import Encoded, Shape
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.blocks import Part, Units
    from provenance.comparison.plan import Comparison
    from provenance.inputs.tokens import Inputs
    from provenance.statistics import Basis, BlockTest, Statistic
    from provenance.store.store import JSON, Entry
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
    from provenance.capture.units import ActivationUnits, WeightUnits, find_without_weights
    from provenance.comparison.blocks import Part
    from provenance.loading.parameters import ModelTensors

    tensors = [ModelTensors(model) for model in models]  # both bases read one, which keeps its last
    active = [
        ActivationUnits(entry.path, theirs, device)
        for entry, theirs in zip(entries.get("activations", ()), tensors, strict=False)
    ]
    parts = []
    for component in components:
        test: BlockTest[Any] = component.load()
        units: Sequence[Units[Any]] = active
        if component.basis == "weights":
            traces = [unit.trace for unit in active] or [find_without_weights(m) for m in models]
            units = [
                WeightUnits(found, theirs, device)
                for found, theirs in zip(traces, tensors, strict=True)
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
    from provenance.capture.proxies import ProxyUnits

    roles = ("candidate", "reference")
    return [
        ProxyUnits(entry.path, role, device) for entry, role in zip(entries, roles, strict=True)
    ]


def imitates(comparison: Comparison) -> bool:
    """Whether a statistic of the comparison is one of imitations."""
    return any(part.basis == "functions" for part in REGISTRY[comparison.statistic].components())


def comparison_fields(
    comparison: Comparison, candidate: Checkpoint, reference: Checkpoint
) -> dict[str, JSON]:
    """All of a comparison, and of its models, that evidence depends on."""
    statistic = comparison.statistic
    sample: dict[str, JSON] = {} if comparison.sample is None else {"sample": comparison.sample}
    return {
        **sample,
        "statistic": statistic,
        "versions": REGISTRY[statistic].versions(),
        "cross": comparison.cross,
        "permutations": comparison.permutations if statistic in DISTANCES else None,
        "models": [
            {
                "source": model.source,
                "digest": model.digest,
                "tokenizer": model.tokenizer_digest,
                "dtype": model.spec.dtype,
                "made": [model.conversion, model.pickle, model.remote_code],
            }
            for model in (candidate, reference)
        ],
        "inputs": asdict(comparison.inputs),
    }


def shared_inputs(
    encoded: Encoded, comparison: Comparison, candidate: Checkpoint, reference: Checkpoint
) -> Inputs | None:
    """Token ids for both, or None where no statistic of the comparison runs a model."""
    components = REGISTRY[comparison.statistic].components()
    if not any(part.runs_models for part in components):
        return None
    if comparison.inputs.kind == "hidden":
        raise InputError(
            f"{comparison.statistic} runs the models, which inputs of kind 'hidden' do not: "
            "use kind 'text' or 'random', or the statistic match_weights"
        )
    return encoded.choose(comparison.inputs, candidate, reference)


def natural_pairing(candidate: Shape, reference: Shape) -> Pairing:
    """Blocks are compared by index where both models have the same number of them."""
    return "same-index" if candidate.blocks == reference.blocks else "best-of-reference"


def rows_of(
    comparison: Comparison, shapes: tuple[Shape, Shape], pairing: Pairing
) -> tuple[int, ...] | None:
    """The candidate's blocks that are tested: a sample of those that can be; None where all are."""
    if comparison.sample is None:
        return None
    ours, theirs = (shape.mlps for shape in shapes)
    met = [i for i in sorted(ours) if pairing != "same-index" or i in theirs]
    return sampled(met, comparison.sample, comparison.inputs.seed)


def sample_record(rows: tuple[int, ...] | None, candidate: Shape) -> dict[str, str]:
    """What evidence says of a sample of blocks; nothing where all were tested."""
    if rows is None:
        return {}
    return {"sample": f"blocks {', '.join(map(str, rows))} of {candidate.blocks}"}


def record(checkpoint: Checkpoint, shape: Shape | None) -> ModelRecord:
    """The record of a model; what a statistic that looks at no block leaves open is in its config."""
    skipped = {} if shape is None else shape.skipped
    said = checkpoint.bundle
    return ModelRecord(
        source=without_home(checkpoint.source if said is None else f"fingerprint of {said.source}"),
        digest=checkpoint.digest,
        architecture=checkpoint.architecture if shape is None else shape.architecture,
        blocks=(checkpoint.blocks or 0) if shape is None else shape.blocks,
        parameters=checkpoint.parameters,
        dtype=(checkpoint.spec.dtype or "as stored") if shape is None else shape.dtype,
        skipped={str(index): what for index, what in skipped.items()},
        weights_digest=checkpoint.weights_digest if said is None else None,
        conversion=checkpoint.conversion,
        pickle=checkpoint.pickle,
        remote_code=checkpoint.remote_code,
        claimed=None if said is None else said.digest,
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
        text=without_home(spec.text) if spec.kind == "text" else None,
        tokens=len(inputs.ids),
        sequence_length=spec.sequence_length,
        seed=spec.seed,
        digest=inputs.digest,
        note=None if inputs.note is None else without_home(inputs.note),
    )


def versions() -> dict[str, str]:
    """Versions of what measures."""
    names = {"provenance": "pytest-provenance", "torch": "torch", "transformers": "transformers"}
    names |= {"numpy": "numpy", "scipy": "scipy"}
    found = {short: _version(name) for short, name in names.items()}
    return found | {"python": python_version()}


@cache
def _version(package: str) -> str:
    """Version of what this process has loaded; to look for it lists all that is installed."""
    return version(package)
