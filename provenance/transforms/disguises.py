"""Disguises of models laid out like Llama: other weights, the same function."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from provenance.transforms.axes import (
    BLOCK_AXES,
    UNIT_SCALES,
    parameters,
    random_factors,
    scale_axis,
    select,
    unit_counts,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["permute_mlp_units", "permute_residual_stream", "rescale_mlp"]


def permute_mlp_units(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the MLP units of every block in a random order of its own.

    Gate rows, up rows and down columns of a block share one permutation, so the function stays.

    Raises
    ------
    ArchitectureError
        If the model has a parameter whose axes are not known.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = {
        block: torch.randperm(width, generator=generator)
        for block, width in unit_counts(model).items()
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

    The up branch is linear, so the function stays for any factor but zero. The gate has no such
    freedom: SiLU and GELU are not homogeneous, ``silu(c x) != c silu(x)``.

    Parameters
    ----------
    model
        Left as it was.
    seed
        Draws one factor for each unit, uniform in its logarithm.
    low, high
        Bounds of the factors' size, ``0 < low <= high``.
    signs
        Flip each factor's sign with probability one half. A matching by plain cosine loses such a
        unit; a matching by absolute cosine does not.

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
        for block, width in unit_counts(model).items()
    }
    scaled = copy.deepcopy(model)
    for name, block, local in parameters(scaled):
        if block is not None and local in UNIT_SCALES:
            axis = BLOCK_AXES[local].index("unit")
            scale_axis(scaled.get_parameter(name).data, axis, factors[block] ** UNIT_SCALES[local])
    return scaled


def permute_residual_stream(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the hidden dimension of the whole model in a random order.

    One permutation goes through the embedding, the norms, the projections that read from or write to
    the residual stream, and the output head. RMS norms are symmetric in their inputs, so the function
    stays.

    Raises
    ------
    ArchitectureError
        If the model has a parameter whose axes are not known.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(model.config.get_text_config().hidden_size, generator=generator)
    return select(model, "residual", lambda _: order)
