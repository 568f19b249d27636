"""What evidence records of its making: the models, their inputs, the versions, and what is its key."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING

from provenance._text import without_home
from provenance.evidence.models import CoverageRecord, InputsRecord, ModelRecord, RangesRecord
from provenance.evidence.records import NOT_RUN, POWER_CONTROL, TURNED_OFF, controlled
from provenance.statistics import DISTANCES, REGISTRY
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.capture.units import Shape
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.plan import Comparison
    from provenance.evidence.models import PowerRecord
    from provenance.inputs.pairs import PairInputs
    from provenance.inputs.shared_tokens import SharedTokens
    from provenance.statistics import Basis
    from provenance.store.store import JSON, Entry
    from provenance.vocabulary import DistillSettings, InputsSpec, Role


CHOICE_VERSION = 2
"""Raised whenever of the same two models other blocks or experts are chosen to be tested."""

DIFFERENCE_VERSION = 5
"""Raised whenever the same two models would give another difference."""

DECOMPOSITION_VERSION = 3
"""Raised whenever the same merge would give other shares."""

GIVEN_VERSION = 2
"""Raised whenever of the same three models another share beyond the base would be found."""

EXHIBITS_VERSION = 1
"""Raised whenever the same two models would give other exhibits."""


def imitates(comparison: Comparison) -> bool:
    """Whether a statistic of the comparison is one of imitations."""
    return any(part.basis == "functions" for part in REGISTRY[comparison.statistic].components())


def comparison_fields(
    comparison: Comparison,
    candidate: Checkpoint,
    reference: Checkpoint,
    parents: Sequence[Checkpoint] = (),
    given: Checkpoint | None = None,
) -> dict[str, JSON]:
    """All of a comparison, and of its models, that evidence depends on."""
    statistic = comparison.statistic
    sample: dict[str, JSON] = {} if comparison.sample is None else {"sample": comparison.sample}
    control: dict[str, JSON] = {} if comparison.control else {"control": False}
    difference: dict[str, JSON] = {}
    if comparison.difference:
        difference = {"difference": [DIFFERENCE_VERSION, BLOCKS_OF_DIFFERENCE]}
    if parents:
        difference["parents"] = [DECOMPOSITION_VERSION, BLOCKS_OF_DIFFERENCE, *map(_model, parents)]
    if given is not None:
        difference["given"] = [GIVEN_VERSION, BLOCKS_OF_DIFFERENCE, _model(given)]
    exhibits: dict[str, JSON] = {"exhibits": EXHIBITS_VERSION} if comparison.exhibits else {}
    return {
        **sample,
        **control,
        **difference,
        **exhibits,
        "statistic": statistic,
        "versions": REGISTRY[statistic].versions(),
        "choice": CHOICE_VERSION,
        "cross": comparison.cross,
        "extent": comparison.extent,
        "permutations": comparison.permutations if statistic in DISTANCES else None,
        "models": [_model(model) for model in (candidate, reference)],
        "inputs": asdict(comparison.inputs),
    }


def _model(model: Checkpoint) -> dict[str, JSON]:
    return {
        "source": model.source,
        "digest": model.digest,
        "tokenizer": model.tokenizer_digest,
        "dtype": model.spec.dtype,
        "made": [model.conversion, model.pickle, model.remote_code],
    }


def sample_details(rows: tuple[int, ...] | None, candidate: Shape) -> dict[str, str]:
    """What evidence says of a sample of blocks; nothing where all were tested."""
    if rows is None:
        return {}
    return {"sample": f"blocks {', '.join(map(str, rows))} of {candidate.blocks}"}


def ranges_record(checkpoint: Checkpoint) -> RangesRecord | None:
    """What was read of a checkpoint that is opened in part; None of any other.

    Raises
    ------
    SourceError
        A file of it changed meanwhile.
    """
    if checkpoint.ranged is None:
        return None
    read = checkpoint.ranged.record()
    return RangesRecord(read.bytes, read.of, read.digest, read.files)


def control_details(comparison: Comparison, power: Mapping[Role, PowerRecord]) -> dict[str, str]:
    """Say of which sides the power control left a record; of none, whether it was turned off."""
    none = NOT_RUN if comparison.control else TURNED_OFF
    return {POWER_CONTROL: controlled(power) or none}


def model_record(checkpoint: Checkpoint, shape: Shape | None) -> ModelRecord:
    """The record of a model; without a shape, what its configuration says."""
    skipped = {} if shape is None else shape.skipped
    bundle = checkpoint.bundle
    in_part = checkpoint.ranged is not None
    return ModelRecord(
        source=without_home(
            checkpoint.source if bundle is None else f"fingerprint of {bundle.source}"
        ),
        digest=checkpoint.digest,
        architecture=checkpoint.architecture if shape is None else shape.architecture,
        blocks=(checkpoint.blocks or 0) if shape is None else shape.blocks,
        parameters=checkpoint.parameters,
        dtype=(checkpoint.spec.dtype or "as stored") if shape is None else shape.dtype,
        skipped={str(index): what for index, what in skipped.items()},
        weights_digest=checkpoint.weights_digest if bundle is None and not in_part else None,
        conversion=checkpoint.conversion,
        pickle=checkpoint.pickle,
        remote_code=checkpoint.remote_code,
        claimed=None if bundle is None else bundle.digest,
        elsewhere=() if shape is None else shape.elsewhere,
        heads=() if shape is None else shape.heads,
        by_names=() if shape is None else shape.by_names,
    )


def inputs_record(
    asked: InputsSpec,
    inputs: PairInputs | None,
    imitated: DistillSettings | None = None,
    shared: SharedTokens | None = None,
) -> InputsRecord:
    """The record of what both models were fed.

    ``inputs`` are None where no model was run; ``shared`` are the tokens whose rows stood in.
    """
    if inputs is None and shared is not None:
        count = len(shared.candidate)
        return InputsRecord("tokens", None, count, 1, asked.seed, shared.digest, shared.words())
    if inputs is None:
        note = "no model was run: the statistic reads weights alone"
        if imitated is not None:
            note = f"no text was read: each MLP was imitated on {imitated.distribution()}"
        return InputsRecord("hidden", None, 0, 0, asked.seed, "none", note)
    spec = inputs.spec
    return InputsRecord(
        kind=spec.kind,
        text=without_home(spec.text) if spec.kind == "text" else None,
        tokens=inputs.tokens,
        sequence_length=spec.sequence_length,
        seed=spec.seed,
        digest=inputs.digest,
        note=None if inputs.note is None else without_home(inputs.note),
        distinct=inputs.distinct(),
        asked=asked.kind if asked.kind != spec.kind else None,
        borrowed=inputs.borrowed,
    )


def capture_details(entries: Mapping[tuple[Basis, Role], Entry]) -> dict[str, float | int]:
    """What each side's capture says: how well it reads the text, and the rank of what its MLPs are fed."""
    from provenance.capture.units import read_loss, read_rank

    details: dict[str, float | int] = {}
    for (basis, role), entry in entries.items():
        loss = read_loss(entry.path) if basis == "activations" else None
        if loss is not None:
            details |= {f"{role}_loss": loss.nats, f"{role}_vocabulary": loss.vocabulary}
        rank = read_rank(entry.path) if basis == "activations" else None
        if rank is not None:
            details[f"{role}_rank"] = rank
    return details


def coverage_records(
    entries: Mapping[tuple[Basis, Role], Entry],
) -> dict[Role, CoverageRecord]:
    """How much of each side was compared, as its capture says; nothing of a side that was not run."""
    from provenance.capture.units import read_coverage

    found = {
        role: read_coverage(entry.path)
        for (basis, role), entry in entries.items()
        if basis == "activations"
    }
    return {
        role: CoverageRecord(one.share, one.effect, one.blocks, one.reason)
        for role, one in found.items()
    }


def versions() -> dict[str, str]:
    """Versions of this package, of the libraries that compute its numbers, and of Python."""
    libraries = {name: _version(name) for name in ("torch", "transformers", "numpy", "scipy")}
    own = {"provenance": _version("pytest-provenance")}
    return own | libraries | {"python": python_version()}


@cache  # looking for one lists all that is installed
def _version(package: str) -> str:
    return version(package)
