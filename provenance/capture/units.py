"""From what was captured, or from weight files, to the units of a model's blocks."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import TypeAdapter

from provenance.architecture.find import with_mlps
from provenance.architecture.records import Trace, linear_map, projection_weight
from provenance.architecture.trace import trace
from provenance.architecture.units import LinearMap, MLPActivations, MLPFactors, MLPShape
from provenance.capture.coverage import Coverage
from provenance.capture.file import ActivationReader
from provenance.capture.loss import Loss
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from transformers import PreTrainedModel

    from provenance.architecture.records import MLPRecord, Projection
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.loading.parameters import ModelTensors

ACTIVATIONS, LAYOUT = "activations.safetensors", "layout.json"
"""Files of a capture: what the model's MLPs were fed, and where these MLPs are in it."""


@dataclass(frozen=True)
class Shape:
    """What a model is made of, as evidence records it; ``mlps`` and ``skipped`` by block index.

    ``elsewhere`` says which MLPs are not compared besides those of skipped blocks, ``heads`` which heads of
    the files nothing reads. ``by_names`` is as `provenance.capture.layout.Layout` has it.
    """

    architecture: str
    blocks: int
    mlps: Mapping[int, tuple[MLPShape, ...]]
    skipped: Mapping[int, str]
    dtype: str
    elsewhere: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    by_names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        traced: Trace,
        dtype: str,
        heads: Iterable[str] = (),
        by_names: tuple[str, ...] = (),
    ) -> Shape:
        """The shape of what was traced."""
        mlps = {
            block: tuple(
                MLPShape(label, record.units)
                for label, record in zip(traced.labels(block), traced.of_block(block), strict=True)
            )
            for block in sorted({record.block for record in traced.mlps})
        }
        refused = [f"{one.path} ({one.reason})" for one in traced.refused if one.block in mlps]
        elsewhere = (*refused, *(f"the MLPs of {stack}" for stack in traced.elsewhere))
        skipped = traced.without()
        return cls(
            traced.architecture,
            traced.blocks,
            mlps,
            skipped,
            dtype,
            elsewhere,
            tuple(heads),
            by_names,
        )


class ActivationUnits:
    """Units of a model by what its MLPs are fed, in the store; satisfies `comparison.sides.Units`.

    ``positions``, (compared,) int64, are of the captured tokens that count; None takes all.
    """

    def __init__(
        self,
        folder: Path,
        tensors: ModelTensors,
        device: str,
        positions: torch.Tensor | None = None,
    ) -> None:
        fields = json.loads((folder / LAYOUT).read_text())
        self.trace = TypeAdapter(Trace).validate_python(fields["trace"])
        self.shape = Shape.of(self.trace, fields["dtype"], fields.get("heads", ()))
        self._reader = ActivationReader(folder / ACTIVATIONS, device)
        self._device = device
        self._dtype: torch.dtype = getattr(torch, fields["dtype"])
        self._tensors = tensors
        self._positions = None if positions is None else positions.to(device)
        self._inputs: tuple[str, torch.Tensor] | None = None

    def block(self, index: int, place: int = 0) -> MLPFactors:
        """What one MLP is fed, float32, and its projections."""
        record = self.trace.of_block(index)[place]
        gate = None if record.gate is None else self._linear(record.gate)
        up = self._linear(record.up)
        fed = self._fed(record.input.module)
        return MLPFactors(fed, gate, up, lambda: self._way_out(record), record.activation)

    def _way_out(self, record: MLPRecord) -> torch.Tensor:
        """The rows of the down projection, one a unit."""
        return self._as_run(linear_map(record.down, self._tensors.read).weight)

    def _fed(self, name: str) -> torch.Tensor:
        """What a module takes, (tokens, hidden); the last is kept, since all experts of a block take it."""
        kept = self._inputs  # another thread may put other inputs there
        if kept is None or kept[0] != name:
            rows = self._reader.read(name)
            if self._positions is not None:
                rows = rows[self._positions]
            kept = self._inputs = (name, rows.float())
        return kept[1]

    def _linear(self, projection: Projection) -> LinearMap:
        """A projection in float32, rounded to the type that the model ran in."""
        return linear_map(projection, self._tensors.read).converted(self._as_run)

    def _as_run(self, tensor: torch.Tensor) -> torch.Tensor:
        return in_float(tensor.to(self._device).to(self._dtype))


class WeightUnits:
    """Units of a model by their weight rows, read when asked for; satisfies `comparison.sides.Units`."""

    def __init__(self, traced: Trace, tensors: ModelTensors, device: str) -> None:
        self.shape = Shape.of(traced, "as stored")
        self._trace = traced
        self._device = device
        self._tensors = tensors

    def block(self, index: int, place: int = 0) -> MLPActivations:
        """Gate and up weights of one MLP, transposed: each (hidden, units) float32; and its way out."""
        record = self._trace.of_block(index)[place]
        gate = None if record.gate is None else self._rows(record.gate)
        return MLPActivations(
            gate, self._rows(record.up), lambda: self._rows(record.down).T, record.activation
        )

    def _rows(self, projection: Projection) -> torch.Tensor:
        weight = projection_weight(projection, self._tensors.read(projection.parameter))
        return in_float(weight.to(self._device)).T


def in_float(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight in float32, with memory of its own.

    An expert's projection is a view of those of all experts of its block, and would hold them in memory.
    """
    found = weight.float()
    return found.clone() if found.untyped_storage().nbytes() > found.nbytes else found


def read_loss(folder: Path) -> Loss | None:
    """The loss that a capture has taken; None where it has none."""
    fields = json.loads((folder / LAYOUT).read_text()).get("loss")
    return None if fields is None else Loss(fields["nats"], fields["vocabulary"])


def read_coverage(folder: Path) -> Coverage:
    """How much of a model its compared MLPs are, as its capture has found."""
    fields = json.loads((folder / LAYOUT).read_text())["coverage"]
    return TypeAdapter(Coverage).validate_python(fields)


def read_rank(folder: Path) -> float | None:
    """The least effective rank of what the MLPs of a capture are fed."""
    rank = json.loads((folder / LAYOUT).read_text())["rank"]
    return None if rank is None else float(rank)


def find_in_skeleton(checkpoint: Checkpoint, skeleton: PreTrainedModel, *, gated: bool) -> Trace:
    """Find the MLPs of a model on the meta device; an `ArchitectureError` names the checkpoint."""
    try:
        return with_mlps(trace(skeleton), gated=gated)
    except ArchitectureError as error:
        raise ArchitectureError(f"{checkpoint.source}: {error}") from None
