"""Disguises of a block's own parts: MLP units and attention heads. The function is kept."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from provenance.errors import ArchitectureError
from provenance.transforms._axes import (
    BLOCK_AXES,
    HEAD_ROWS,
    UNIT_SCALES,
    axes_of,
    parameters,
    random_factors,
    scale_axis,
    select,
    unit_counts,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["permute_heads", "permute_mlp_units", "rescale_mlp"]


def permute_mlp_units(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the MLP units of every block in a random order of its own.

    Gate and up rows and down columns of a block share one permutation, so the function is kept.

    Raises
    ------
    ArchitectureError
        If the model has a parameter whose axes are not known.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = {
        block: torch.randperm(width, generator=generator)
        for block, width in sorted(unit_counts(model).items())
    }
    return select(model, "unit", lambda block: orders[block])


def rescale_mlp(
    model: PreTrainedModel,
    seed: int,
    *,
    low: float = 0.5,
    high: float = 2.0,
    signs: bool = False,
) -> PreTrainedModel:
    """Return a copy with every up row multiplied by a factor, and its down column divided by it.

    The up branch is linear, so the function is kept for any factor but zero. The gate has no such
    freedom: SiLU and GELU are not homogeneous, ``silu(c x) != c silu(x)``.

    Parameters
    ----------
    model
        Left as it was.
    seed
        Draws one factor a unit, uniform in its logarithm.
    low, high
        Bounds of the factors' size, ``0 < low <= high``.
    signs
        Also flip each factor's sign with probability one half. A matching by plain cosine loses
        such a unit; one by absolute cosine does not.

    Raises
    ------
    ArchitectureError
        If the model has a parameter whose axes are not known.
    ValueError
        If the bounds are not positive and in order.
    """
    generator = torch.Generator().manual_seed(seed)
    factors = {
        block: random_factors(width, low, high, generator, signs=signs)
        for block, width in sorted(unit_counts(model).items())
    }
    scaled = copy.deepcopy(model)
    for name, block, local in parameters(scaled):
        if block is not None and local in UNIT_SCALES:
            parameter = scaled.get_parameter(name)
            axis = BLOCK_AXES[local].index("unit")
            scale_axis(parameter.data, axis, factors[block] ** UNIT_SCALES[local])
    return scaled


def permute_heads(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the attention heads of every block in a random order of its own.

    Heads move whole, for rotary embeddings tell the dimensions within one apart. Where several
    query heads share a key and value head, the groups are permuted, and the query heads of each
    group among themselves.

    Raises
    ------
    ArchitectureError
        If the model has a parameter whose axes are not known, or matrices that its numbers of
        heads do not divide.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = [_head_orders(model, generator) for _ in range(model.config.num_hidden_layers)]
    permuted = copy.deepcopy(model)
    for name, (block, _) in axes_of(model).items():
        kind, axis = HEAD_ROWS.get(name.split(".", 3)[-1], (None, 0))
        if block is not None and kind is not None:
            order = orders[block][kind]
            parameter = permuted.get_parameter(name)
            if not (name.endswith("_norm.weight") and len(parameter) == _head_size(model)):
                parameter.data = _reorder(name, parameter.data, axis, order)
    return permuted


def _head_orders(model: PreTrainedModel, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Draw an order of the key heads, and one of the query heads that follows it."""
    queries, keys = _head_counts(model)
    size = queries // keys
    groups = torch.randperm(keys, generator=generator)
    within = torch.stack([torch.randperm(size, generator=generator) for _ in range(keys)])
    return {"key": groups, "query": (groups[:, None] * size + within).flatten()}


def _head_counts(model: PreTrainedModel) -> tuple[int, int]:
    queries = model.config.num_attention_heads
    return queries, getattr(model.config, "num_key_value_heads", None) or queries


def _head_size(model: PreTrainedModel) -> int:
    queries, _ = _head_counts(model)
    return int(getattr(model.config, "head_dim", None) or model.config.hidden_size // queries)


def _reorder(name: str, tensor: torch.Tensor, axis: int, order: torch.Tensor) -> torch.Tensor:
    """Return a tensor with the heads along one axis in another order."""
    if tensor.shape[axis] % len(order):
        raise ArchitectureError(
            f"{name} has {tensor.shape[axis]} entries along its heads, and they are {len(order)}: "
            "its heads cannot be told apart"
        )
    size = tensor.shape[axis] // len(order)
    rows = (order[:, None] * size + torch.arange(size)).flatten()  # (heads * size,)
    return tensor.index_select(axis, rows.to(tensor.device))
