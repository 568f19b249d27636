"""From verified checkpoints to the units of their blocks: activations captured, or weights read.

The torch side of `provenance.execute`, which decides what is measured and keeps the results.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from provenance.architecture import GatedMLP, Layout, find_mlps
from provenance.capture import ActivationReader, ActivationWriter, capture
from provenance.errors import ArchitectureError, ProvenanceError
from provenance.inputs import Inputs, Reader, choose
from provenance.loading import encode, load_model, load_skeleton, load_tokenizer
from provenance.statistics.match import MLPActivations
from provenance.weights import LazyTensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from provenance.sources import Checkpoint
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
class Shape:
    """What a model is made of, as evidence records it; blocks by index."""

    architecture: str
    blocks: int
    units: Mapping[int, int]
    skipped: Mapping[int, str]
    dtype: str

    @classmethod
    def of(cls, layout: Layout, dtype: str) -> Shape:
        """The shape of a layout."""
        units = {mlp.block: mlp.units for mlp in layout.mlps}
        return cls(layout.architecture, layout.blocks, units, dict(layout.skipped), dtype)


class ActivationUnits:
    """Units of a model by their activations in the store; satisfies `provenance.blocks.Units`."""

    def __init__(self, folder: Path, device: str) -> None:
        layout, dtype = _read_layout(folder)
        self.layout = layout
        self.shape = Shape.of(layout, dtype)
        self._reader = ActivationReader(folder / ACTIVATIONS, device)

    @property
    def units(self) -> Mapping[int, int]:
        """Width by block index."""
        return self.shape.units

    def block(self, index: int) -> MLPActivations:
        """Gate and up activations of one block, each (tokens, units)."""
        return MLPActivations(self._reader.read(index, "gate"), self._reader.read(index, "up"))


class WeightUnits:
    """Units of a model by their weight rows, read when asked for; satisfies `Units`."""

    def __init__(self, checkpoint: Checkpoint, layout: Layout | None = None) -> None:
        if layout is None:
            layout = _layout_without_weights(checkpoint)
        self.shape = Shape.of(layout, "as stored")
        self._mlps = {mlp.block: mlp for mlp in layout.mlps}
        self._tensors = LazyTensors(checkpoint)

    @property
    def units(self) -> Mapping[int, int]:
        """Width by block index."""
        return self.shape.units

    def block(self, index: int) -> MLPActivations:
        """Gate and up weights of one block, transposed: each (hidden, units) float32."""
        mlp = self._mlps[index]
        gate, up = (self._tensors.weight(path).float().T for path in (mlp.gate, mlp.up))
        return MLPActivations(gate, up)


def _layout_without_weights(checkpoint: Checkpoint) -> Layout:
    try:
        return find_mlps(load_skeleton(checkpoint))
    except ArchitectureError as error:
        raise ArchitectureError(f"{checkpoint.source}: {error}") from None


def _read_layout(folder: Path) -> tuple[Layout, str]:
    fields = json.loads((folder / LAYOUT).read_text())
    mlps = tuple(GatedMLP(**mlp) for mlp in fields["mlps"])
    skipped = {int(index): what for index, what in fields["skipped"].items()}
    return Layout(fields["architecture"], fields["blocks"], mlps, skipped), fields["dtype"]
