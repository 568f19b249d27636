"""Whole units and whole blocks taken away, or blocks in another order."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from provenance.transforms.axes import BLOCK_AXES, UNIT_WEIGHTS, parameters, select, unit_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

__all__ = ["arrange_blocks", "prune_depth", "prune_width"]


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
    fewest = min(unit_counts(model).values())
    if not 1 <= keep <= fewest:
        raise ValueError(f"keep must be between 1 and {fewest}, but got {keep}")
    importance = _importance(model)
    kept = {block: scores.topk(keep).indices.sort().values for block, scores in importance.items()}
    pruned = select(model, "unit", lambda block: kept[block])
    pruned.config.intermediate_size = keep
    for module in pruned.modules():
        if isinstance(module, torch.nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif hasattr(module, "gate_proj") and hasattr(module, "intermediate_size"):
            module.intermediate_size = keep
    return pruned


def prune_depth(model: PreTrainedModel, keep_blocks: Sequence[int]) -> PreTrainedModel:
    """Return a copy that keeps the blocks numbered ``keep_blocks`` (from 0), in their order.

    The configuration follows as for `arrange_blocks`.

    Raises
    ------
    ValueError
        If the numbers are not increasing, or one names no block, or there is none.
    """
    keep = list(keep_blocks)
    if keep != sorted(set(keep)) or not _are_blocks(model, keep):
        last = model.config.num_hidden_layers - 1
        raise ValueError(f"keep_blocks must be increasing numbers from 0 to {last}, but got {keep}")
    return arrange_blocks(model, keep)


def arrange_blocks(model: PreTrainedModel, blocks: Sequence[int]) -> PreTrainedModel:
    """Return a copy with the blocks numbered ``blocks`` (from 0), in that order, as often as named.

    ``[0, 1, 2, 1, 2, 3]`` is depth up-scaling [1]_, ``[1, 0, 2]`` an exchange. Two copies of one block
    share nothing. ``config.num_hidden_layers``, ``config.layer_types`` where there is one, and the
    index by which each attention finds its cache follow.

    Raises
    ------
    ValueError
        If a number names no block, or there is none.

    References
    ----------
    .. [1] Kim et al.: SOLAR 10.7B. NAACL 2024, arXiv 2312.15166.
    """
    if not _are_blocks(model, blocks):
        last = model.config.num_hidden_layers - 1
        raise ValueError(f"blocks must be numbers from 0 to {last}, but got {list(blocks)}")
    arranged = copy.deepcopy(model)
    config = arranged.config
    config.num_hidden_layers = len(blocks)
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = [config.layer_types[block] for block in blocks]
    # every module of a model holds its one config, and the copies must too
    shared = {id(config): config}
    arranged.model.layers = torch.nn.ModuleList(
        copy.deepcopy(arranged.model.layers[block], dict(shared)) for block in blocks
    )
    for place, layer in enumerate(arranged.model.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = place
    return arranged


def _are_blocks(model: PreTrainedModel, blocks: Sequence[int]) -> bool:
    """Whether there is at least one number, and each names a block."""
    return bool(blocks) and all(0 <= block < model.config.num_hidden_layers for block in blocks)


def _importance(model: PreTrainedModel) -> dict[int, torch.Tensor]:
    """Return, for every block, the product of its units' weight norms, float64 (units,)."""
    importance: dict[int, torch.Tensor] = {}
    for name, block, local in parameters(model):
        if block is not None and local in UNIT_WEIGHTS:
            other = 1 - BLOCK_AXES[local].index("unit")
            norms = model.get_parameter(name).detach().double().norm(dim=other)
            importance[block] = importance.get(block, torch.ones_like(norms)) * norms
    return importance
