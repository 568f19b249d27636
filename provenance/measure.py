"""From verified checkpoints to the units of their blocks: activations captured, or weights read.

The torch side of `provenance.execute`, which decides what is measured and keeps the results.
"""

from __future__ import annotations

import gc
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from provenance.architecture import GatedMLP, Layout, find_mlps
from provenance.capture import (
    ActivationReader,
    ActivationWriter,
    Recording,
    SeparateInputsError,
    capture,
)
from provenance.errors import ArchitectureError, ProvenanceError
from provenance.inputs import Inputs, Reader, choose
from provenance.loading import encode, is_streamed, load_model, load_skeleton, load_tokenizer
from provenance.units import PROJECTIONS, LinearMap, MLPActivations, MLPFactors
from provenance.weights import LazyTensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

    from provenance.sources import Checkpoint
    from provenance.units import MLPUnits
    from provenance.vocabulary import InputsSpec, Memory

    OnProgress = Callable[[int, int], None]

CAPTURE_VERSION = 2
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


@dataclass(frozen=True)
class Capturing:
    """Where a model is run, in how much memory, and who is told: ``on_load`` once, then by sequences."""

    device: str
    memory: Memory
    on_load: Callable[[], None]
    on_progress: OnProgress

    def batch_bytes(self, *, streamed: bool) -> int:
        """What the activations of a batch may take: of a model read from disk once a batch, most."""
        return self.memory.working // (2 if streamed else 8)


def capture_to(folder: Path, checkpoint: Checkpoint, inputs: Inputs, how: Capturing) -> None:
    """Load a model, run it forward once, leave its activations and its layout in ``folder``.

    What is kept is what each MLP is fed, where its units' answers can be had from that and from the
    weight files, and else the answers themselves. The model is let go before this returns. Errors
    name the model.
    """
    how.on_load()
    model = load_model(checkpoint, how.device, checkpoint.spec.dtype, how.memory)
    # in half precision a block's own numbers may be too small to follow: structure has none
    layout = _layout_without_weights(checkpoint)
    try:
        what = Recording(layout, _by_input(model, layout, LazyTensors(checkpoint)))
        try:
            _write(folder, model, what, inputs, how)
        except SeparateInputsError:
            (folder / ACTIVATIONS).unlink()
            what = Recording(layout, by_input=False)
            _write(folder, model, what, inputs, how)
    except ProvenanceError as error:
        raise type(error)(f"{checkpoint.source}: {error}") from None
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    described = asdict(layout) | {"dtype": dtype, "by_input": what.by_input}
    (folder / LAYOUT).write_text(json.dumps(described))
    if is_streamed(model):  # its hooks know the model that they belong to
        del model
        gc.collect()


def _write(folder: Path, model: nn.Module, what: Recording, inputs: Inputs, how: Capturing) -> None:
    path, dtype = folder / ACTIVATIONS, next(model.parameters()).dtype
    room = how.batch_bytes(streamed=is_streamed(model))
    with ActivationWriter(path, what.widths(model), len(inputs.ids), dtype) as sink:
        capture(model, what, inputs.sequences(), sink, how.on_progress, room)


def _by_input(model: nn.Module, layout: Layout, tensors: LazyTensors) -> bool:
    """Whether every gate and up is a plain linear map whose weight is in the files as it is here."""

    def plain(path: str) -> bool:
        module, name = model.get_submodule(path), tensors.name_of(path)
        return (
            type(module) is torch.nn.Linear
            and name is not None
            and tensors.shape(name) == tuple(module.weight.shape)
            and (module.bias is None) == (tensors.name_of(path, "bias") is None)
        )

    return all(plain(getattr(mlp, p)) for mlp in layout.mlps for p in PROJECTIONS)


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

    def __init__(self, folder: Path, checkpoint: Checkpoint, device: str) -> None:
        fields = json.loads((folder / LAYOUT).read_text())
        self.layout = _layout(fields)
        self.shape = Shape.of(self.layout, fields["dtype"])
        self._reader = ActivationReader(folder / ACTIVATIONS, device)
        self._device = device
        self._dtype: torch.dtype = getattr(torch, fields["dtype"])
        self._mlps = {mlp.block: mlp for mlp in self.layout.mlps}
        self._tensors = LazyTensors(checkpoint) if fields["by_input"] else None

    @property
    def units(self) -> Mapping[int, int]:
        """Width by block index."""
        return self.shape.units

    def block(self, index: int) -> MLPUnits:
        """What one block's units answer: whole, or as inputs and projections."""
        if self._tensors is None:
            return MLPActivations(*(self._reader.read(index, name) for name in PROJECTIONS))
        mlp = self._mlps[index]
        gate, up = (self._linear(path) for path in (mlp.gate, mlp.up))
        return MLPFactors(self._reader.read(index, "input").float(), gate, up)

    def _linear(self, path: str) -> LinearMap:
        assert self._tensors is not None
        bias = self._tensors.of_module(path, "bias")
        weight = self._as_run(self._tensors.weight(path))
        return LinearMap(weight, None if bias is None else self._as_run(bias))

    def _as_run(self, tensor: torch.Tensor) -> torch.Tensor:
        """Float32, of the precision in which the model was run."""
        return tensor.to(self._device).to(self._dtype).float()


class WeightUnits:
    """Units of a model by their weight rows, read when asked for; satisfies `Units`."""

    def __init__(
        self, checkpoint: Checkpoint, layout: Layout | None = None, device: str = "cpu"
    ) -> None:
        if layout is None:
            layout = _layout_without_weights(checkpoint)
        self.shape = Shape.of(layout, "as stored")
        self._device = device
        self._mlps = {mlp.block: mlp for mlp in layout.mlps}
        self._tensors = LazyTensors(checkpoint)

    @property
    def units(self) -> Mapping[int, int]:
        """Width by block index."""
        return self.shape.units

    def block(self, index: int) -> MLPActivations:
        """Gate and up weights of one block, transposed: each (hidden, units) float32."""
        mlp = self._mlps[index]
        weights = (self._tensors.weight(path).to(self._device) for path in (mlp.gate, mlp.up))
        return MLPActivations(*(weight.float().T for weight in weights))


def _layout_without_weights(checkpoint: Checkpoint) -> Layout:
    try:
        return find_mlps(load_skeleton(checkpoint))
    except ArchitectureError as error:
        raise ArchitectureError(f"{checkpoint.source}: {error}") from None


def _layout(fields: dict[str, Any]) -> Layout:
    mlps = tuple(GatedMLP(**mlp) for mlp in fields["mlps"])
    skipped = {int(index): what for index, what in fields["skipped"].items()}
    return Layout(fields["architecture"], fields["blocks"], mlps, skipped)
