"""Which axis of which parameter carries what, as data, and the code that walks it.

The tables follow the ``PermutationSpec`` of git re-basin [1]_; no code knows a parameter by name.

References
----------
.. [1] Ainsworth, Hayase, Srinivasa: Git Re-Basin. ICLR 2023, arXiv 2209.04836.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Literal

import torch

from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from transformers import PreTrainedModel

Axis = Literal["residual", "unit", "other"]
"""``residual``: one axis for the whole model. ``unit``: the MLP units of one block. ``other``: attention
heads, the vocabulary and all else."""

OUTER_AXES: Mapping[str, tuple[Axis, ...]] = {
    "model.embed_tokens.weight": ("other", "residual"),
    "model.norm.weight": ("residual",),
    "lm_head.weight": ("other", "residual"),
    "lm_head.bias": ("other",),
}
"""The axes of the parameters outside the blocks; a model may lack some of them."""

BLOCK_AXES: Mapping[str, tuple[Axis, ...]] = {
    "input_layernorm.weight": ("residual",),
    "post_attention_layernorm.weight": ("residual",),
    "pre_feedforward_layernorm.weight": ("residual",),
    "post_feedforward_layernorm.weight": ("residual",),
    "self_attn.q_proj.weight": ("other", "residual"),
    "self_attn.q_proj.bias": ("other",),
    "self_attn.q_norm.weight": ("other",),
    "self_attn.k_proj.weight": ("other", "residual"),
    "self_attn.k_proj.bias": ("other",),
    "self_attn.k_norm.weight": ("other",),
    "self_attn.v_proj.weight": ("other", "residual"),
    "self_attn.v_proj.bias": ("other",),
    "self_attn.o_proj.weight": ("residual", "other"),
    "self_attn.o_proj.bias": ("residual",),
    "mlp.gate_proj.weight": ("unit", "residual"),
    "mlp.gate_proj.bias": ("unit",),
    "mlp.up_proj.weight": ("unit", "residual"),
    "mlp.up_proj.bias": ("unit",),
    "mlp.down_proj.weight": ("residual", "unit"),
    "mlp.down_proj.bias": ("residual",),
}
"""The axes of a block's parameters, by their name within the block."""

UNIT_SCALES: Mapping[str, int] = {
    "mlp.up_proj.weight": 1,
    "mlp.up_proj.bias": 1,
    "mlp.down_proj.weight": -1,
}
"""The power of a unit's factor that multiplies each parameter along its unit axis."""

UNIT_WEIGHTS = ("mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight")

_IN_BLOCK = re.compile(r"model\.layers\.(\d+)\.(.+)")


def parameters(model: PreTrainedModel) -> Iterator[tuple[str, int | None, str]]:
    """Yield each parameter's name, its block (None: outside the blocks) and its name in the block."""
    for name, _ in model.named_parameters():
        match = _IN_BLOCK.fullmatch(name)
        if match:
            yield name, int(match[1]), match[2]
        else:
            yield name, None, name


def axes_of(model: PreTrainedModel) -> dict[str, tuple[int | None, tuple[Axis, ...]]]:
    """Return the block and the axes of every parameter, by its name.

    Raises
    ------
    ArchitectureError
        If the tables lack a parameter of the model.
    """
    found: dict[str, tuple[int | None, tuple[Axis, ...]]] = {}
    for name, block, local in parameters(model):
        axes = (OUTER_AXES if block is None else BLOCK_AXES).get(local)
        if axes is None or len(axes) != model.get_parameter(name).dim():
            raise ArchitectureError(
                f"{type(model).__name__} has a parameter {name!r} whose axes are not known here; "
                "transforms are for models laid out like Llama, with separate gate, up and down"
            )
        found[name] = block, axes
    return found


def unit_counts(model: PreTrainedModel) -> dict[int, int]:
    """Return the number of MLP units of every block, the blocks in order.

    Raises
    ------
    ArchitectureError
        If the tables lack a parameter of the model.
    """
    counts = {
        block: model.get_parameter(name).shape[axes.index("unit")]
        for name, (block, axes) in axes_of(model).items()
        if block is not None and "unit" in axes
    }
    return dict(sorted(counts.items()))


def select(
    model: PreTrainedModel, axis: Axis, index: Callable[[int], torch.Tensor]
) -> PreTrainedModel:
    """Return a copy that keeps the entries ``index(block)`` along every axis of one kind.

    ``index`` gets -1 for a parameter outside the blocks, and returns int64 (entries,).
    """
    selected = copy.deepcopy(model)
    for name, (block, axes) in axes_of(model).items():
        if axis in axes:
            parameter = selected.get_parameter(name)
            entries = index(-1 if block is None else block).to(parameter.device)
            # named_parameters names a tied parameter once, and .data leaves it tied
            parameter.data = parameter.data.index_select(axes.index(axis), entries)
    return selected


def random_factors(
    width: int, low: float, high: float, generator: torch.Generator, *, signs: bool
) -> torch.Tensor:
    """Return factors uniform in their logarithm, float64 (width,).

    Raises
    ------
    ValueError
        If the bounds are not positive and in order.
    """
    if not 0 < low <= high:
        raise ValueError(f"low and high must satisfy 0 < low <= high, but got {low} and {high}")
    exponents = torch.rand(width, generator=generator, dtype=torch.float64)
    factors = low * (high / low) ** exponents  # (width,)
    if signs:
        factors *= torch.randint(2, (width,), generator=generator) * 2 - 1
    return factors


def scale_axis(tensor: torch.Tensor, axis: int, factors: torch.Tensor) -> None:
    """Multiply a tensor in place by one factor for each index along an axis."""
    shape = [-1 if dim == axis else 1 for dim in range(tensor.dim())]
    tensor.mul_(factors.to(tensor.device, tensor.dtype).view(shape))
