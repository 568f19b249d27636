"""The map between the coordinates of two residual streams, from the embeddings of tokens that both have.

A disguise puts them in another order, or turns them by an orthogonal matrix; a cut keeps some. The least of
these that explains the embeddings is taken, so that two models which lie number on number stay so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from provenance.assignment.solve import Products, assign
from provenance.differences.sizes import size_of

if TYPE_CHECKING:
    from provenance.evidence.difference import ResidualKind

__all__ = ["ResidualMap", "nearest_rotation", "residual_map"]

ORDERED, TURNED = 1 / 2, 1 / 3
"""An order, or a rotation, is taken where it leaves less than this share of what a lesser map leaves: a
rotation has so much freedom that it takes away a part of any fine-tune."""
OWN = 0.5
"""Cosine above which two columns are one: of different ones it is near 0."""
EXACT = 1e-4
"""What is left of equal embeddings, relatively, at most."""


@dataclass(frozen=True)
class ResidualMap:
    """From the reference's coordinates to the candidate's.

    Attributes
    ----------
    kind : str
        See `provenance.evidence.difference.ResidualKind`.
    fit : float
        Relative size of what is left between the embeddings.
    order : Tensor or None
        (candidate width,) int64: the reference's coordinate that each of the candidate's is.
    rotation : Tensor or None
        (reference width, candidate width) float32, orthogonal.
    """

    kind: ResidualKind
    fit: float
    order: torch.Tensor | None = None
    rotation: torch.Tensor | None = None

    def __call__(self, tensor: torch.Tensor, axis: int) -> torch.Tensor:
        """Map an axis of a tensor of the reference's, float32."""
        if self.order is not None:
            return tensor.index_select(axis, self.order)
        if self.rotation is not None:
            return (tensor.movedim(axis, -1) @ self.rotation).movedim(-1, axis)
        return tensor


def residual_map(candidate: torch.Tensor, reference: torch.Tensor) -> ResidualMap:
    """Find the map by the rows of shared tokens.

    Parameters
    ----------
    candidate, reference : Tensor
        (tokens, hidden of the model) float32: embeddings of the same tokens, row by row.
    """
    widths = candidate.shape[1], reference.shape[1]
    if widths[0] > widths[1]:
        return ResidualMap("same", float("inf"))
    if widths[0] == widths[1] and _is_straight(candidate, reference):
        return ResidualMap("same", _left(candidate, reference))
    order = _order(candidate, reference)
    ordered = _left(candidate, reference[:, order])
    if widths[0] < widths[1]:
        return ResidualMap("selected", ordered, order)
    plain = _left(candidate, reference)
    rotation, turned = nearest_rotation(candidate, reference)
    best = ResidualMap("same", plain)
    if ordered < ORDERED * best.fit and best.fit > EXACT:
        best = ResidualMap("permuted", ordered, order)
    if turned < TURNED * best.fit and best.fit > EXACT:
        best = ResidualMap("rotated", turned, rotation=rotation)
    return best


def _is_straight(candidate: torch.Tensor, reference: torch.Tensor) -> bool:
    """Whether each column is likest to that of its own number: then no search for an order is needed."""
    likeness = torch.nn.functional.cosine_similarity(candidate, reference, dim=0)
    return bool((likeness > OWN).all())


def nearest_rotation(
    candidate: torch.Tensor, reference: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """The orthogonal matrix that leaves the least between two tables, and how much, relatively."""
    left, _, right = torch.linalg.svd(reference.double().T @ candidate.double())
    rotation = (left @ right).float()
    return rotation, _left(candidate, reference @ rotation)


def _left(candidate: torch.Tensor, mapped: torch.Tensor) -> float:
    """How much is left between two tables, relative to the first."""
    return size_of(candidate.double() - mapped) / (size_of(candidate) or 1.0)


def _order(candidate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The reference's column that is likest to each of the candidate's, no column twice."""
    ours, theirs = (torch.nn.functional.normalize(side.T, dim=1) for side in (candidate, reference))
    made = assign(Products(ours.contiguous(), theirs.contiguous()))
    order = torch.empty(len(ours), dtype=torch.int64)
    order[torch.from_numpy(made.rows.copy())] = torch.from_numpy(made.columns.copy())
    return order
