"""Disguises that keep a model's function, and cuts that keep part of its weights.

Every function returns a new model and leaves its input as it was. Which axes of which parameters
belong together is data (`OUTER_AXES`, `BLOCK_AXES`), after the ``PermutationSpec`` of git
re-basin [1]_; the code below knows no parameter by name.

Supported are decoders laid out like Llama: ``model.layers.<block>`` with separate ``gate_proj``,
``up_proj`` and ``down_proj`` (Llama, Mistral, Qwen, OLMo, Gemma). A model with a parameter that
the tables do not know is refused: permuting all but one parameter would give a broken model.

References
----------
.. [1] Ainsworth, Hayase, Srinivasa: Git Re-Basin. ICLR 2023, arXiv 2209.04836.
.. [2] Zhu et al.: Independence Tests for Language Models. ICML 2025, arXiv 2502.12292, App. G.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Literal

import torch

from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from transformers import PreTrainedModel

__all__ = [
    "BLOCK_AXES",
    "OUTER_AXES",
    "permute_mlp_units",
    "permute_residual_stream",
    "prune_depth",
    "prune_width",
    "rescale_mlp",
]

Axis = Literal["residual", "unit", "other"]
"""``residual``: one axis for the whole model. ``unit``: a block's own MLP units.
``other``: heads, vocabulary and all else that nothing here moves."""

OUTER_AXES: Mapping[str, tuple[Axis, ...]] = {
    "model.embed_tokens.weight": ("other", "residual"),
    "model.norm.weight": ("residual",),
    "lm_head.weight": ("other", "residual"),
    "lm_head.bias": ("other",),
}
"""The axes of the parameters outside the blocks; one that a model lacks is passed over."""

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
"""The power of a unit's factor that each parameter is multiplied by along its unit axis."""

UNIT_WEIGHTS = ("mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight")

_IN_BLOCK = re.compile(r"model\.layers\.(\d+)\.(.+)")


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
        for block, width in sorted(_unit_counts(model).items())
    }
    return _select(model, "unit", lambda block: orders[block])


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
    if not 0 < low <= high:
        raise ValueError(f"low and high must satisfy 0 < low <= high, but got {low} and {high}")
    generator = torch.Generator().manual_seed(seed)
    factors = {
        block: _factors(width, low, high, generator, signs=signs)
        for block, width in sorted(_unit_counts(model).items())
    }
    scaled = copy.deepcopy(model)
    for name, block, local in _parameters(scaled):
        if block is not None and local in UNIT_SCALES:
            parameter = scaled.get_parameter(name)
            axis = BLOCK_AXES[local].index("unit")
            _scale_axis(parameter.data, axis, factors[block] ** UNIT_SCALES[local])
    return scaled


def permute_residual_stream(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the hidden dimension of the whole model in a random order.

    One permutation goes through the embedding, the norms, the projections that read from or write
    to the residual stream, and the output head. A head tied to the embedding moves with it. RMS
    norms are symmetric in their inputs, so the function is kept.

    Raises
    ------
    ArchitectureError
        If the model has a parameter whose axes are not known.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(model.config.hidden_size, generator=generator)
    return _select(model, "residual", lambda _: order)


def prune_width(model: PreTrainedModel, keep: int) -> PreTrainedModel:
    """Return a copy that keeps the ``keep`` most important units of every MLP, in their order.

    A unit's importance is the product of the Euclidean norms of its gate row, up row and down
    column. ``config.intermediate_size`` follows.

    Raises
    ------
    ArchitectureError
        If the model has a parameter whose axes are not known.
    ValueError
        If a block has fewer than ``keep`` units, or ``keep`` is less than 1.
    """
    fewest = min(_unit_counts(model).values())
    if not 1 <= keep <= fewest:
        raise ValueError(f"keep must be between 1 and {fewest}, but got {keep}")
    importance = _importance(model)
    kept = {block: scores.topk(keep).indices.sort().values for block, scores in importance.items()}
    pruned = _select(model, "unit", lambda block: kept[block])
    pruned.config.intermediate_size = keep
    for module in pruned.modules():
        if isinstance(module, torch.nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif hasattr(module, "gate_proj") and hasattr(module, "intermediate_size"):
            module.intermediate_size = keep
    return pruned


def prune_depth(model: PreTrainedModel, keep_blocks: Sequence[int]) -> PreTrainedModel:
    """Return a copy that keeps the blocks numbered ``keep_blocks`` (from 0), in their order.

    ``config.num_hidden_layers``, ``config.layer_types`` where there is one, and the index by which
    each attention finds its cache follow.

    Raises
    ------
    ValueError
        If the numbers are not increasing, or name a block that is not there, or there is none.
    """
    blocks = model.config.num_hidden_layers
    keep = list(keep_blocks)
    if not keep or keep != sorted(set(keep)) or keep[0] < 0 or keep[-1] >= blocks:
        raise ValueError(
            f"keep_blocks must be increasing numbers from 0 to {blocks - 1}, but got {keep}"
        )
    pruned = copy.deepcopy(model)
    config = pruned.config
    config.num_hidden_layers = len(keep)
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = [config.layer_types[block] for block in keep]
    pruned.model.layers = torch.nn.ModuleList(pruned.model.layers[block] for block in keep)
    for place, layer in enumerate(pruned.model.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = place
    return pruned


def _parameters(model: PreTrainedModel) -> Iterator[tuple[str, int | None, str]]:
    """Yield each parameter's name, its block (None: outside the blocks) and its name there."""
    for name, _ in model.named_parameters():
        inside = _IN_BLOCK.fullmatch(name)
        if inside:
            yield name, int(inside[1]), inside[2]
        else:
            yield name, None, name


def _axes(model: PreTrainedModel) -> dict[str, tuple[int | None, tuple[Axis, ...]]]:
    """Return the block and the axes of every parameter, or refuse the model."""
    axes: dict[str, tuple[int | None, tuple[Axis, ...]]] = {}
    for name, block, local in _parameters(model):
        known = (OUTER_AXES if block is None else BLOCK_AXES).get(local)
        if known is None or len(known) != model.get_parameter(name).dim():
            raise ArchitectureError(
                f"{type(model).__name__} has a parameter {name!r} whose axes are not known here; "
                "transforms are for models laid out like Llama, with separate gate, up and down"
            )
        axes[name] = block, known
    return axes


def _unit_counts(model: PreTrainedModel) -> dict[int, int]:
    """Return the number of MLP units of every block."""
    return {
        block: model.get_parameter(name).shape[axes.index("unit")]
        for name, (block, axes) in _axes(model).items()
        if block is not None and "unit" in axes
    }


def _select(
    model: PreTrainedModel, axis: Axis, index: Callable[[int], torch.Tensor]
) -> PreTrainedModel:
    """Return a copy with ``index(block)`` (-1: outside the blocks) taken along one kind of axis."""
    selected = copy.deepcopy(model)
    for name, (block, axes) in _axes(model).items():
        if axis in axes:
            parameter = selected.get_parameter(name)
            chosen = index(-1 if block is None else block).to(parameter.device)
            # A tied parameter is met once, and through .data it stays tied.
            parameter.data = parameter.data.index_select(axes.index(axis), chosen)
    return selected


def _factors(
    width: int, low: float, high: float, generator: torch.Generator, *, signs: bool
) -> torch.Tensor:
    exponents = torch.rand(width, generator=generator, dtype=torch.float64)
    factors = low * (high / low) ** exponents  # (units,)
    if signs:
        factors *= torch.randint(2, (width,), generator=generator) * 2 - 1
    return factors


def _scale_axis(tensor: torch.Tensor, axis: int, factors: torch.Tensor) -> None:
    shape = [-1 if dim == axis else 1 for dim in range(tensor.dim())]
    tensor.mul_(factors.to(tensor.device, tensor.dtype).view(shape))


def _importance(model: PreTrainedModel) -> dict[int, torch.Tensor]:
    """Return, for every block, the product of its units' weight norms, float64 (units,)."""
    importance: dict[int, torch.Tensor] = {}
    for name, block, local in _parameters(model):
        if block is not None and local in UNIT_WEIGHTS:
            other = 1 - BLOCK_AXES[local].index("unit")
            norms = model.get_parameter(name).detach().double().norm(dim=other)
            importance[block] = importance.get(block, torch.ones_like(norms)) * norms
    return importance
