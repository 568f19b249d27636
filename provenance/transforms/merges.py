"""Merges of models of one shape, parameter by parameter. The result descends from all of them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel

__all__ = ["merge_linear", "merge_slerp", "merge_ties"]

_PARALLEL = 1e-6
"""An angle, in radians, below which an arc and its chord are one."""


def merge_linear(a: PreTrainedModel, b: PreTrainedModel, weight: float) -> PreTrainedModel:
    """Return ``(1 - weight) a + weight b``.

    Raises
    ------
    ArchitectureError
        If the two do not have parameters of the same names and shapes.
    """
    return _merge([a, b], lambda tensors: torch.lerp(tensors[0], tensors[1], weight))


def merge_slerp(a: PreTrainedModel, b: PreTrainedModel, weight: float) -> PreTrainedModel:
    """Return the point at ``weight`` of the way along the arc from a to b, each parameter's own.

    Directions go along the great circle, lengths linearly between the two [1]_. Parameters that
    are parallel, opposite or zero, between which there is no one arc, are merged linearly.

    Raises
    ------
    ArchitectureError
        If the two do not have parameters of the same names and shapes.

    References
    ----------
    .. [1] Shoemake: Animating rotation with quaternion curves. SIGGRAPH 1985.
    """
    return _merge([a, b], lambda tensors: _slerp(tensors[0], tensors[1], weight))


def merge_ties(
    base: PreTrainedModel, models: Sequence[PreTrainedModel], density: float, weight: float
) -> PreTrainedModel:
    """Return the base plus ``weight`` times the merged changes of its descendants, by TIES [1]_.

    Of each descendant's change of a parameter the largest ``density`` in size are kept; the sign of
    each entry is elected by the sum of what is kept; those that agree with it are averaged.

    Raises
    ------
    ArchitectureError
        If the models do not have parameters of the same names and shapes.
    ValueError
        If there are no models, or ``density`` is not above 0 and up to 1.

    References
    ----------
    .. [1] Yadav et al.: TIES-Merging. NeurIPS 2023, arXiv 2306.01708.
    """
    if not models or not 0 < density <= 1:
        raise ValueError(
            "TIES needs at least one model and a density above 0 and up to 1, but got "
            f"{len(models)} models and {density}"
        )
    return _merge([base, *models], lambda tensors: _ties(tensors, density, weight))


def _merge(
    models: Sequence[PreTrainedModel], rule: Callable[[list[torch.Tensor]], torch.Tensor]
) -> PreTrainedModel:
    """Return a copy of the first model with every parameter merged, in float64."""
    named = [dict(model.named_parameters()) for model in models]
    shapes = [{name: tensor.shape for name, tensor in each.items()} for each in named]
    for other in shapes[1:]:
        if other != shapes[0]:
            odd = sorted(
                name for name in shapes[0] | other if shapes[0].get(name) != other.get(name)
            )
            raise ArchitectureError(
                f"models can be merged only if their parameters have the same names and shapes; "
                f"{odd[0]!r} differs"
            )
    merged = copy.deepcopy(models[0])
    for name, parameter in merged.named_parameters():
        # A tied parameter is met once, and through .data it stays tied.
        parameter.data = rule([each[name].detach().double() for each in named]).to(parameter.dtype)
    return merged


def _slerp(a: torch.Tensor, b: torch.Tensor, weight: float) -> torch.Tensor:
    lengths = a.norm(), b.norm()
    product = lengths[0] * lengths[1]
    cosine = ((a * b).sum() / product).clamp(-1, 1) if product > 0 else torch.ones(())
    angle = cosine.arccos()
    if angle.sin() < _PARALLEL:
        return torch.lerp(a, b, weight)
    shares = torch.sin((1 - weight) * angle), torch.sin(weight * angle)
    length = torch.lerp(lengths[0], lengths[1], weight)
    point: torch.Tensor = shares[0] * (a / lengths[0]) + shares[1] * (b / lengths[1])
    return point * length / angle.sin()


def _ties(tensors: list[torch.Tensor], density: float, weight: float) -> torch.Tensor:
    base, *others = tensors
    kept = torch.stack([_largest(other - base, density) for other in others])  # (models, ...)
    elected = kept.sum(dim=0).sign()
    agreeing = (kept.sign() == elected) & (kept != 0)
    mean = (kept * agreeing).sum(dim=0) / agreeing.sum(dim=0).clamp(min=1)
    return base + weight * mean


def _largest(change: torch.Tensor, density: float) -> torch.Tensor:
    """Return a change with all but its largest entries in size zero."""
    count = max(1, round(density * change.numel()))
    kept = torch.zeros_like(change).view(-1)
    indices = change.abs().flatten().topk(count).indices
    kept[indices] = change.flatten()[indices]
    return kept.view_as(change)
