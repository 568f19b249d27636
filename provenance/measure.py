"""From verified checkpoints to activations, and from activations to the evidence of each block.

The torch side of `provenance.execute`, which decides what is measured and keeps the results.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from provenance.architecture import find_mlps
from provenance.capture import ActivationReader, ActivationWriter, capture
from provenance.errors import DegenerateError, ProvenanceError
from provenance.evidence import Pairing, BlockEvidence
from provenance.inputs import Inputs, Reader, choose
from provenance.loading import encode, load_model, load_tokenizer
from provenance.pvalues import bonferroni
from provenance.statistics.match import MLPActivations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from provenance.sources import Checkpoint
    from provenance.statistics import BlockTest
    from provenance.vocabulary import InputsSpec

    OnProgress = Callable[[int, int], None]

CAPTURE_VERSION = 1
"""Raised whenever the same model and inputs would give other activations in the store."""

ACTIVATIONS, LAYOUT = "activations.safetensors", "layout.json"


def choose_inputs(spec: InputsSpec, candidate: Checkpoint, reference: Checkpoint) -> Inputs:
    """Inputs legitimate for both models; see `provenance.inputs.choose`."""
    return choose(spec, _reader(candidate, spec), _reader(reference, spec))


def _reader(checkpoint: Checkpoint, spec: InputsSpec) -> Reader:
    if checkpoint.vocabulary is None:
        raise ProvenanceError(f"{checkpoint.source}: its config.json states no vocab_size")
    tokenizer = load_tokenizer(checkpoint) if spec.kind == "text" else None
    return Reader(
        checkpoint.source,
        checkpoint.vocabulary,
        checkpoint.positions,
        None if tokenizer is None else lambda text: encode(tokenizer, text),
    )


def capture_to(
    folder: Path,
    checkpoint: Checkpoint,
    inputs: Inputs,
    device: str,
    on_load: Callable[[], None],
    on_progress: OnProgress | None,
) -> None:
    """Load a model, run it forward once, leave its activations and its layout in ``folder``.

    The model is let go before this returns. Errors name the model.
    """
    on_load()
    model = load_model(checkpoint, device, checkpoint.spec.dtype)
    dtype = next(model.parameters()).dtype
    try:
        layout = find_mlps(model)
        with ActivationWriter(folder / ACTIVATIONS, layout, len(inputs.ids), dtype) as sink:
            capture(model, layout, inputs.sequences(), sink, on_progress)
    except ProvenanceError as error:
        raise type(error)(f"{checkpoint.source}: {error}") from None
    described = asdict(layout) | {"dtype": str(dtype).removeprefix("torch.")}
    (folder / LAYOUT).write_text(json.dumps(described))


@dataclass(frozen=True)
class Captured:
    """One model's activations in the store."""

    reader: ActivationReader
    architecture: str
    blocks: int
    units: dict[int, int]
    skipped: dict[int, str]
    dtype: str

    @classmethod
    def open(cls, folder: Path, device: str) -> Captured:
        """Open what `capture_to` left."""
        fields = json.loads((folder / LAYOUT).read_text())
        return cls(
            ActivationReader(folder / ACTIVATIONS, device),
            fields["architecture"],
            fields["blocks"],
            {mlp["block"]: mlp["units"] for mlp in fields["mlps"]},
            {int(index): what for index, what in fields["skipped"].items()},
            fields["dtype"],
        )

    def activations(self, block: int) -> MLPActivations:
        """Gate and up of one block, each (tokens, units)."""
        return MLPActivations(self.reader.read(block, "gate"), self.reader.read(block, "up"))


def pairing_of(candidate: Captured, reference: Captured) -> Pairing:
    """Blocks are compared by index where both models have the same number of them."""
    same = candidate.blocks == reference.blocks
    return "same-index" if same else "best-of-reference"


def compare_blocks(
    candidate: Captured,
    reference: Captured,
    test: BlockTest,
    seed: int,
    on_progress: OnProgress | None = None,
) -> tuple[BlockEvidence, ...]:
    """Test every block of the candidate.

    With equal depth block i meets block i. With different depth it meets every block of the
    reference, the best is kept, and its p-value is multiplied by their number (Bonferroni), so that
    the choice costs no validity.
    """
    wanted = sorted(candidate.units)
    found = []
    for done, index in enumerate(wanted):
        if on_progress is not None:
            on_progress(done, len(wanted))
        if pairing_of(candidate, reference) == "same-index":
            partners = [index] if index in reference.units else []
        else:
            partners = sorted(reference.units)
        if partners:
            found.append(_best(candidate, index, reference, partners, test, seed))
    if on_progress is not None:
        on_progress(len(wanted), len(wanted))
    return tuple(found)


def _best(
    candidate: Captured,
    index: int,
    reference: Captured,
    partners: Iterable[int],
    test: BlockTest,
    seed: int,
) -> BlockEvidence:
    activations = candidate.activations(index)
    results = [
        _block(activations, index, reference.activations(partner), partner, test, seed)
        for partner in partners
    ]
    tested = [r for r in results if r.log10_p is not None]
    if not tested:
        return results[0]
    best = min(tested, key=lambda r: (r.log10_p, -(r.correlation or 0.0)))
    assert best.log10_p is not None
    corrected = bonferroni(best.log10_p, len(tested))
    return BlockEvidence(**{**asdict(best), "log10_p": corrected})


def _block(
    ours: MLPActivations,
    index: int,
    theirs: MLPActivations,
    partner: int,
    test: BlockTest,
    seed: int,
) -> BlockEvidence:
    units = (ours.gate.shape[1], theirs.gate.shape[1])
    try:
        result = test(ours, theirs, seed=seed)
    except DegenerateError as error:
        live = (len(ours.live()), len(theirs.live()))
        return BlockEvidence(index, partner, None, None, units, live, 0, "degenerate", str(error))
    return BlockEvidence(
        index,
        partner,
        result.log10_p,
        result.correlation,
        result.units,
        result.live,
        result.agreeing(),
    )
