"""Some MLPs of a checkpoint that is opened in part, whole or some units of each: what a test is given.

A projection's units are rows of a stored matrix, or its columns. Of rows those that are wanted are read; of
columns the whole matrix has to be, of a stack of experts one expert's.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

from provenance.architecture.records import projection_bias
from provenance.architecture.units import LinearMap
from provenance.capture.units import Shape
from provenance.errors import DegenerateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from provenance.architecture.records import MLPRecord, Projection
    from provenance.capture.layout import Layout
    from provenance.checkpoints.ranged.spans import Span
    from provenance.loading.ranged_tensors import RangedTensors


def some_runs(number: int, most: int, runs: int, seed: str) -> list[range]:
    """Choose so many of a number of things at the most, in runs: one of each of equal stretches, drawn.

    Parameters
    ----------
    number : int
        Things there are, numbered from 0.
    most, runs : int
        How many are chosen, and in how many runs of equal length.
    seed : str
        Of where in its stretch a run begins.
    """
    if number <= most:
        return [range(number)]
    ends = [k * number // runs for k in range(runs + 1)]
    length = most // runs
    chosen = []
    for k, (start, stop) in enumerate(pairwise(ends)):
        drawn = int(sha256(f"{seed}:{k}".encode()).hexdigest(), 16) % (stop - start - length + 1)
        chosen.append(range(start + drawn, start + drawn + length))
    return chosen


@dataclass(frozen=True)
class PartOfModel:
    """Where the MLPs of a model lie, and what reads them.

    Attributes
    ----------
    layout : Layout
        By which parameters are stored tensors as they are.
    tensors : RangedTensors
        The model's.
    """

    layout: Layout
    tensors: RangedTensors

    @property
    def shape(self) -> Shape:
        """What the model is made of, all of it."""
        layout = self.layout
        return Shape.of(layout.trace, "as stored", layout.heads, layout.by_names)

    def record(self, block: int, place: int) -> MLPRecord:
        """The MLP at a place of a block."""
        return self.layout.trace.of_block(block)[place]

    def experts(self, block: int) -> list[int]:
        """The places of the experts among the MLPs of a block."""
        records = self.layout.trace.of_block(block)
        return [place for place, record in enumerate(records) if record.role == "expert"]

    def router(self, block: int) -> str | None:
        """The matrix with a row for each expert of a block that chooses among them, if it is known."""
        name = self.layout.routers.get(block)
        experts = self.experts(block)
        if name is None or not experts or len(self.tensors.shape(name)) != 2:
            return None
        return name if self.tensors.shape(name)[0] == len(experts) else None

    def spans(self, record: MLPRecord, units: Sequence[range]) -> Iterator[Span]:
        """What has to be read for some units of an MLP."""
        for projection in (record.gate, record.up):
            if projection is not None:
                runs = self._runs(projection, units)
                yield from self.tensors.spans(self._stored(projection.parameter), runs)

    def linear(self, projection: Projection, units: Sequence[range]) -> LinearMap:
        """Some units of a projection, (units, hidden) float32."""
        name = self._stored(projection.parameter)
        rows = self.tensors.runs(name, self._runs(projection, units))
        if not self._are_rows(projection):
            every = projection.channels.indices()
            columns = [every[unit] for run in units for unit in run]
            rows = rows[:, columns].T.contiguous()
        weight = rows.float()
        if projection.bias is None:
            return LinearMap(weight)
        bias = projection_bias(projection, self.tensors.read(self._stored(projection.bias)))
        return LinearMap(weight, bias[[unit for run in units for unit in run]].float())

    def _stored(self, parameter: str) -> str:
        return self.layout.stored.get(parameter, parameter)

    def _are_rows(self, projection: Projection) -> bool:
        axes = len(self.tensors.shape(self._stored(projection.parameter)))
        return projection.channels.axis == axes - 2

    def _runs(self, projection: Projection, units: Sequence[range]) -> list[range]:
        """The rows of the stored tensor in which some units of a projection lie."""
        shape = self.tensors.shape(self._stored(projection.parameter))
        first = 0 if projection.expert is None else projection.expert * shape[-2]
        if not self._are_rows(projection):
            return [range(first, first + shape[-2])]
        channels = projection.channels
        return [
            range(
                first + channels.start + run.start * channels.step,
                first + channels.start + (run.stop - 1) * channels.step + 1,
                channels.step,
            )
            for run in units
            if len(run)
        ]


class Embedded:
    """The embeddings of tokens through the norms of a model; one tensor for all that reads it.

    Parameters
    ----------
    part : PartOfModel
        The model.
    rows : Tensor
        (tokens, hidden) float32, from `provenance.capture.embeddings.embed`.
    """

    def __init__(self, part: PartOfModel, rows: torch.Tensor) -> None:
        self._part, self._rows = part, rows
        self._normed: dict[str | None, torch.Tensor] = {None: rows}

    def fed(self, record: MLPRecord) -> torch.Tensor:
        """What an MLP is fed of every token, (tokens, hidden) float32.

        Raises
        ------
        DegenerateError
            If embeddings are of another width, or what the norm does is not known.
        """
        if self._rows.shape[1] != record.hidden:
            raise DegenerateError(
                f"embeddings are {self._rows.shape[1]} wide, and the MLP reads {record.hidden} dimensions"
            )
        norm = record.input.norm
        known = self._normed.get(norm)
        if known is None and norm is not None:
            known = self._part.layout.norms[norm](self._rows, self._part.tensors.read)
            self._normed[norm] = known
        assert known is not None
        return known
