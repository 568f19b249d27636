"""From weight files to what a model's MLPs answer to the embeddings of tokens; no model is run.

A token's row stands in for the residual stream: scaled to a mean square of 1, it goes through the norm
before an MLP, and through gate and up. A rotation of the residual stream turns rows and weights alike, so
that the answers stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from provenance.architecture.records import linear_map
from provenance.architecture.units import MLPFactors
from provenance.capture.units import Shape, in_float
from provenance.errors import DegenerateError
from provenance.inputs.shared_tokens import LEAST_TOKENS
from provenance.vocabulary import FEW_EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.architecture.records import Projection, Trace
    from provenance.architecture.units import LinearMap
    from provenance.capture.layout import Layout
    from provenance.loading.parameters import ModelTensors


class Parameters(Protocol):
    """Reads parameters of a model by their names: whole, or some rows."""

    def shape(self, parameter: str, /) -> tuple[int, ...]:
        """The shape of a parameter."""

    def rows(self, parameter: str, indices: Sequence[int], /) -> torch.Tensor:
        """Some rows of a parameter of two axes."""

    def read(self, parameter: str, /) -> torch.Tensor:
        """A whole parameter."""


NORMED = 4
"""Norms whose outputs are kept: the MLPs of one block, and all of its experts, share one."""


def embedding_rows(traced: Trace, tensors: Parameters) -> int:
    """The number of token ids that a model has rows for.

    Raises
    ------
    DegenerateError
        If the model has no table of tokens that leads to its hidden states.
    """
    return tensors.shape(_table(traced))[0]


def _table(traced: Trace) -> str:
    if traced.embedding is None:
        raise DegenerateError(
            f"{traced.architecture}: no table of token embeddings leads to its hidden states"
        )
    return traced.embedding.parameter


def embed(traced: Trace, tensors: Parameters, ids: Sequence[int]) -> torch.Tensor:
    """Read the embeddings of tokens, each scaled to a mean square of 1.

    Returns
    -------
    Tensor
        (tokens, hidden) float32. What is not finite, or zero, is NaN.
    """
    rows = tensors.rows(_table(traced), ids).float()
    assert traced.embedding is not None
    if traced.embedding.projection is not None:
        matrix = tensors.read(traced.embedding.projection).float()
        rows = rows @ (matrix if traced.embedding.transposed else matrix.T)
    largest = rows.abs().amax(dim=1, keepdim=True)
    rows = rows / torch.where(
        largest > 0, largest, torch.nan
    )  # squares neither overflow nor vanish
    scaled: torch.Tensor = rows / rows.square().mean(dim=1, keepdim=True).sqrt()
    return scaled


def usable(candidate: torch.Tensor, reference: torch.Tensor, most: int) -> list[int]:
    """Choose the first tokens whose embeddings in both models are finite, not zero, and no other's.

    Untrained and padded rows are zero, or one and the same.

    Parameters
    ----------
    candidate, reference : Tensor
        (tokens, hidden of the model), from `embed`.
    most : int
        How many are chosen at most.

    Raises
    ------
    DegenerateError
        If there are fewer than `LEAST_TOKENS`.
    """
    good = own_rows(candidate) & own_rows(reference)
    places: list[int] = good.nonzero().squeeze(1)[:most].tolist()
    if len(places) < LEAST_TOKENS:
        raise DegenerateError(f"{len(places)} {FEW_EMBEDDED}; a test needs {LEAST_TOKENS}")
    return places


def own_rows(rows: torch.Tensor) -> torch.Tensor:
    """Which rows are finite and equal no other, bool (tokens,)."""
    finite = torch.isfinite(rows).all(dim=1)
    _, place, count = torch.unique(
        rows.nan_to_num(), dim=0, return_inverse=True, return_counts=True
    )
    own: torch.Tensor = finite & (count[place] == 1)
    return own


class TokenUnits:
    """Units of a model by their answers to embeddings; satisfies `comparison.sides.Units`.

    Parameters
    ----------
    layout : Layout
        Where the MLPs and the norms before them lie.
    embedded : Tensor
        (tokens, hidden) float32, from `embed`.
    """

    def __init__(
        self,
        layout: Layout,
        tensors: ModelTensors,
        embedded: torch.Tensor,
        device: str,
    ) -> None:
        self.shape = Shape.of(layout.trace, "as stored", layout.heads, layout.by_names)
        self._trace = layout.trace
        self._norms = layout.norms
        self._tensors = tensors
        self._embedded = embedded.to(device)
        self._device = device
        self._normed: dict[str | None, torch.Tensor] = {}

    def block(self, index: int, place: int = 0) -> MLPFactors:
        """What one MLP is fed of every token, float32, and its projections."""
        record = self._trace.of_block(index)[place]
        width = self._embedded.shape[1]
        if width != record.hidden:
            raise DegenerateError(
                f"embeddings are {width} wide, and the MLP reads {record.hidden} dimensions"
            )
        gate = None if record.gate is None else self._linear(record.gate)
        fed = self._fed(record.input.norm)
        return MLPFactors(
            fed,
            gate,
            self._linear(record.up),
            lambda: self._linear(record.down).weight,
            record.activation,
        )

    def _linear(self, projection: Projection) -> LinearMap:
        return linear_map(projection, self._tensors.read).converted(self._floating)

    def _floating(self, weight: torch.Tensor) -> torch.Tensor:
        return in_float(weight.to(self._device))

    def _read(self, parameter: str) -> torch.Tensor:
        return self._tensors.read(parameter).to(self._device).float()

    def _fed(self, norm: str | None) -> torch.Tensor:
        """The embeddings through a norm, (tokens, hidden); one tensor for all that reads it."""
        normed = self._normed.get(norm)
        if normed is None:
            normed = self._through(norm)
            for oldest in list(self._normed)[: 1 - NORMED]:
                self._normed.pop(oldest, None)  # another thread may have been first
            self._normed[norm] = normed
        return normed

    def _through(self, norm: str | None) -> torch.Tensor:
        return self._embedded if norm is None else self._norms[norm](self._embedded, self._read)
