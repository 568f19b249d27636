"""From verified checkpoints to the units of their blocks: activations captured, or weights read.

The torch side of `provenance.comparison.executor`, which decides what is measured and keeps the results.
"""

from __future__ import annotations

import gc
import json
from array import array
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import torch
from pydantic import TypeAdapter

from provenance.architecture.find import with_mlps
from provenance.architecture.records import Trace, linear_map, projection_weight
from provenance.architecture.trace import trace
from provenance.architecture.units import LinearMap, MLPActivations, MLPFactors, MLPShape
from provenance.capture.forward import ActivationReader, ActivationWriter, Recording, capture
from provenance.errors import ArchitectureError, ProvenanceError
from provenance.inputs.tokens import Inputs, Reader, choose, choose_again
from provenance.loading.model import encode, is_streamed, load_model, load_skeleton, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedModel

    from provenance.architecture.records import MLPRecord, Projection
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.loading.parameters import ModelTensors
    from provenance.vocabulary import InputsSpec, Memory

    OnProgress = Callable[[int, int], None]

CAPTURE_VERSION = 3
"""Raised whenever the same model and inputs would give other activations in the store."""

ACTIVATIONS, LAYOUT = "activations.safetensors", "layout.json"


class Encoded:
    """Ids of texts by the tokenizers of models: a run encodes a text once a model, not once a pair.

    It is not only faster. What a tokenizer of tokenizers 0.23 remembers of what it encoded is not freed
    with it: half a MiB for 4096 tokens of English.
    """

    def __init__(self) -> None:
        self._ids: dict[tuple[Path, bool, int, bytes], array[int]] = {}
        self._once: dict[bytes, array[int]] = {}

    def choose(self, spec: InputsSpec, candidate: Checkpoint, reference: Checkpoint) -> Inputs:
        """Inputs legitimate for both models; see `provenance.inputs.tokens.choose`."""
        return choose(spec, self._reader(candidate, spec), self._reader(reference, spec))

    def of_pair(self, spec: InputsSpec, model: Checkpoint, partner: Checkpoint) -> Inputs:
        """What a model is fed that is compared with a partner, which may be a bundle."""
        if partner.bundle is not None:
            return self.again(spec, partner, model)
        return self.choose(spec, model, partner)

    def for_one(self, spec: InputsSpec, model: Checkpoint, vocabulary: int | None = None) -> Inputs:
        """Inputs for a model alone; random ids below ``vocabulary``, where that is given."""
        reader = self._reader(model, spec)
        if vocabulary is not None:
            reader = replace(reader, vocabulary=vocabulary)
        return choose(spec, reader, reader)

    def again(self, spec: InputsSpec, bundle: Checkpoint, model: Checkpoint) -> Inputs:
        """What the model of a bundle was fed, for another; see `provenance.inputs.tokens.choose_again`."""
        assert bundle.bundle is not None
        text = replace(spec, kind="text", tokens=bundle.bundle.inputs.tokens)
        return choose_again(bundle.bundle, bundle.source, spec, self._reader(model, text))

    def _reader(self, checkpoint: Checkpoint, spec: InputsSpec) -> Reader:
        if checkpoint.vocabulary is None:
            raise ProvenanceError(f"{checkpoint.source}: its config.json states no vocab_size")
        reads = spec.kind == "text" and checkpoint.tokenizer_digest is not None
        return Reader(
            checkpoint.source,
            checkpoint.vocabulary,
            checkpoint.positions,
            (lambda text: self._encode(checkpoint, text, spec.tokens)) if reads else None,
        )

    def _encode(self, checkpoint: Checkpoint, text: str, tokens: int) -> array[int]:
        """The first ids of a text; those that models have in common are kept once."""
        key = (checkpoint.folder, checkpoint.remote_code, tokens, sha256(text.encode()).digest())
        if key not in self._ids:
            ids = array("q", encode(load_tokenizer(checkpoint), text)[:tokens])
            self._ids[key] = self._once.setdefault(sha256(ids).digest(), ids)
        return self._ids[key]


@dataclass(frozen=True)
class Capturing:
    """Where a model is run, in how much memory, and who is told: ``on_load`` once, then by sequences.

    ``gated`` says whether it is run for a statistic that needs gates: a model without is not run then.
    """

    device: str
    memory: Memory
    on_load: Callable[[], None]
    on_progress: OnProgress
    gated: bool = False

    def batch_bytes(self, *, streamed: bool) -> int:
        """What the activations of a batch may take: of a model read from disk once a batch, most."""
        return self.memory.working // (2 if streamed else 8)


def capture_to(folder: Path, checkpoint: Checkpoint, inputs: Inputs, how: Capturing) -> None:
    """Load a model, run it forward once, leave its activations and its layout in ``folder``.

    What is kept is what each MLP is fed: its units' answers follow from that and from the weight files.
    The model is let go before this returns. Errors name the model.
    """
    how.on_load()
    # structure has no numbers, and a model that is run from disk has not all of its own
    skeleton = load_skeleton(checkpoint)
    found = _find(checkpoint, skeleton, gated=how.gated)
    model = load_model(checkpoint, how.device, checkpoint.spec.dtype, how.memory, skeleton)
    what = Recording(found, by_input=True)
    dtype = next(model.parameters()).dtype
    room = how.batch_bytes(streamed=is_streamed(model))
    try:
        with ActivationWriter(folder / ACTIVATIONS, what.widths(), len(inputs.ids), dtype) as sink:
            capture(model, what, inputs.sequences(), sink, how.on_progress, room)
    except ProvenanceError as error:
        raise type(error)(f"{checkpoint.source}: {error}") from None
    described = {"trace": asdict(found), "dtype": str(dtype).removeprefix("torch.")}
    (folder / LAYOUT).write_text(json.dumps(described))
    if is_streamed(model):  # its hooks know the model that they belong to
        del model
        gc.collect()


@dataclass(frozen=True)
class Shape:
    """What a model is made of, as evidence records it; ``mlps`` and ``skipped`` by block index."""

    architecture: str
    blocks: int
    mlps: Mapping[int, tuple[MLPShape, ...]]
    skipped: Mapping[int, str]
    dtype: str

    @classmethod
    def of(cls, found: Trace, dtype: str) -> Shape:
        """The shape of what was traced."""
        mlps = {
            block: tuple(
                MLPShape(label, record.units)
                for label, record in zip(found.labels(block), found.of_block(block), strict=True)
            )
            for block in sorted({record.block for record in found.mlps})
        }
        return cls(found.architecture, found.blocks, mlps, found.without(), dtype)


class ActivationUnits:
    """Units of a model by what its MLPs are fed, in the store; satisfies `comparison.blocks.Units`."""

    def __init__(self, folder: Path, tensors: ModelTensors, device: str) -> None:
        fields = json.loads((folder / LAYOUT).read_text())
        self.trace = TypeAdapter(Trace).validate_python(fields["trace"])
        self.shape = Shape.of(self.trace, fields["dtype"])
        self._reader = ActivationReader(folder / ACTIVATIONS, device)
        self._device = device
        self._dtype: torch.dtype = getattr(torch, fields["dtype"])
        self._tensors = tensors
        self._inputs: tuple[str, torch.Tensor] | None = None

    def block(self, index: int, place: int = 0) -> MLPFactors:
        """What one MLP is fed, float32, and its projections."""
        record = self.trace.of_block(index)[place]
        gate = None if record.gate is None else self._linear(record.gate)
        up = self._linear(record.up)
        return MLPFactors(self._fed(record.input.module), gate, up, lambda: self._way_out(record))

    def _way_out(self, record: MLPRecord) -> torch.Tensor:
        """The rows of the down projection, one a unit."""
        return self._as_run(linear_map(record.down, self._tensors.read).weight)

    def _fed(self, name: str) -> torch.Tensor:
        """What a module takes; kept until another is asked for, as all experts of a block take it."""
        if self._inputs is None or self._inputs[0] != name:
            self._inputs = (name, self._reader.read(name).float())
        return self._inputs[1]

    def _linear(self, projection: Projection) -> LinearMap:
        """Float32, of the precision in which the model was run."""
        stored = linear_map(projection, self._tensors.read)
        bias = None if stored.bias is None else self._as_run(stored.bias)
        return LinearMap(self._as_run(stored.weight), bias)

    def _as_run(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._device).to(self._dtype).float()


class WeightUnits:
    """Units of a model by their weight rows, read when asked for; satisfies `Units`."""

    def __init__(self, found: Trace, tensors: ModelTensors, device: str) -> None:
        self.shape = Shape.of(found, "as stored")
        self._trace = found
        self._device = device
        self._tensors = tensors

    def block(self, index: int, place: int = 0) -> MLPActivations:
        """Gate and up weights of one MLP, transposed: each (hidden, units) float32."""
        record = self._trace.of_block(index)[place]
        gate = None if record.gate is None else self._rows(record.gate)
        return MLPActivations(gate, self._rows(record.up))

    def _rows(self, projection: Projection) -> torch.Tensor:
        weight = projection_weight(projection, self._tensors.read(projection.parameter))
        return weight.to(self._device).float().T


def find_without_weights(checkpoint: Checkpoint) -> Trace:
    """Find the MLPs of the model that a checkpoint's configuration describes.

    Raises
    ------
    ArchitectureError
        As `provenance.architecture.find.with_mlps`, naming the model.
    """
    return _find(checkpoint, load_skeleton(checkpoint), gated=False)


def _find(checkpoint: Checkpoint, skeleton: PreTrainedModel, *, gated: bool) -> Trace:
    try:
        return with_mlps(trace(skeleton), gated=gated)
    except ArchitectureError as error:
        raise ArchitectureError(f"{checkpoint.source}: {error}") from None
