"""Whole units, blocks and MLPs cut away, doubled, moved, or turned into a mixture of experts."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from provenance.errors import ArchitectureError
from provenance.transforms._axes import (
    BLOCK_AXES,
    UNIT_WEIGHTS,
    parameters,
    select,
    unit_counts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

__all__ = ["prune_depth", "prune_width", "transplant_mlp", "upcycle", "upscale_depth"]

_MIXTRAL = (
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "rms_norm_eps",
    "rope_parameters",
    "sliding_window",
    "tie_word_embeddings",
    "vocab_size",
)
"""What Mixtral's configuration has in common with Llama's and Mistral's."""


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

    ``config.num_hidden_layers``, ``config.layer_types`` where there is one, and the index by which
    each attention finds its cache follow.

    Raises
    ------
    ValueError
        If the numbers are not increasing, or name a block that is not there, or there is none.
    """
    last, keep = model.config.num_hidden_layers - 1, list(keep_blocks)
    if keep != sorted(set(keep)) or not _are_blocks(model, keep):
        raise ValueError(f"keep_blocks must be increasing numbers from 0 to {last}, but got {keep}")
    return _arrange(model, keep)


def upscale_depth(model: PreTrainedModel, blocks: Sequence[int]) -> PreTrainedModel:
    """Return a copy with the blocks numbered ``blocks`` (from 0), in that order, as often as named.

    ``[0, 1, 2, 1, 2, 3]`` is depth up-scaling [1]_, ``[1, 0, 2]`` an exchange. Copies of one block
    share nothing. The configuration follows as for `prune_depth`.

    Raises
    ------
    ValueError
        If a number names a block that is not there, or there is none.

    References
    ----------
    .. [1] Kim et al.: SOLAR 10.7B. NAACL 2024, arXiv 2312.15166.
    """
    last, wanted = model.config.num_hidden_layers - 1, list(blocks)
    if not _are_blocks(model, wanted):
        raise ValueError(f"blocks must be numbers from 0 to {last}, but got {wanted}")
    return _arrange(model, wanted)


def transplant_mlp(
    recipient: PreTrainedModel, donor: PreTrainedModel, blocks: Sequence[int]
) -> PreTrainedModel:
    """Return a copy of the recipient with the MLPs of the donor's blocks of the same numbers.

    Norms stay the recipient's. The function is that of neither.

    Raises
    ------
    ArchitectureError
        If the MLPs are not made of parameters of the same names and shapes.
    ValueError
        If a number names a block that is not in both, or there is none.
    """
    last = min(recipient.config.num_hidden_layers, donor.config.num_hidden_layers) - 1
    if not (_are_blocks(recipient, blocks) and _are_blocks(donor, blocks)):
        raise ValueError(f"blocks must be numbers from 0 to {last}, but got {list(blocks)}")
    changed = copy.deepcopy(recipient)
    for block in blocks:
        old = changed.model.layers[block].mlp
        new = donor.model.layers[block].mlp.state_dict()
        shapes = [{name: tuple(t.shape) for name, t in s.items()} for s in (new, old.state_dict())]
        if shapes[0] != shapes[1]:
            raise ArchitectureError(
                f"the MLP of block {block} has parameters {shapes[0]} in the donor and {shapes[1]} "
                "in the recipient: only one of equal shapes can take the other's place"
            )
        old.load_state_dict(new)
    return changed


def upcycle(model: PreTrainedModel, experts: int, seed: int, *, chosen: int = 2) -> PreTrainedModel:
    """Return a Mixtral whose every expert is a copy of the dense model's MLP, its router random.

    The weights of the chosen experts add up to one and the experts are equal, so the function is
    kept whatever the router says: sparse upcycling [1]_ before any training.

    Parameters
    ----------
    model
        A Llama or Mistral without biases; left as it was.
    experts
        Number of experts in every block.
    seed
        Draws the router's weights.
    chosen
        Experts that each token goes through, from 1 to ``experts``.

    Raises
    ------
    ArchitectureError
        If Mixtral has no place for a parameter of the model (biases, norms of queries).
    ValueError
        If ``chosen`` is not between 1 and ``experts``.

    References
    ----------
    .. [1] Komatsuzaki et al.: Sparse Upcycling. ICLR 2023, arXiv 2212.05055.
    """
    if not 1 <= chosen <= experts:
        raise ValueError(f"chosen must be between 1 and {experts}, but got {chosen}")
    mixture = _empty_mixtral(model, experts, chosen)
    weights = {name: tensor for name, tensor in model.state_dict().items() if ".mlp." not in name}
    generator = torch.Generator().manual_seed(seed)
    for block, layer in enumerate(model.model.layers):
        mlp = layer.mlp.state_dict()
        place = f"model.layers.{block}.mlp"
        width = model.config.hidden_size
        router = torch.randn(experts, width, generator=generator) * width**-0.5
        gate_up = torch.cat([mlp.pop("gate_proj.weight"), mlp.pop("up_proj.weight")])
        weights[f"{place}.gate.weight"] = router
        weights[f"{place}.experts.gate_up_proj"] = gate_up.expand(experts, -1, -1)
        weights[f"{place}.experts.down_proj"] = mlp.pop("down_proj.weight").expand(experts, -1, -1)
        weights |= {f"{place}.{name}": tensor for name, tensor in mlp.items()}  # biases: refused
    if weights.keys() != mixture.state_dict().keys():
        odd = sorted(weights.keys() ^ mixture.state_dict().keys())
        raise ArchitectureError(
            f"{type(model).__name__} and Mixtral do not have the same parameters ({odd[0]}): only "
            "a model like Llama without biases can be upcycled"
        )
    mixture.load_state_dict(weights)
    return mixture.to(model.dtype).train(model.training)


def _empty_mixtral(model: PreTrainedModel, experts: int, chosen: int) -> PreTrainedModel:
    """Return a Mixtral of the model's shape, whose weights are to be overwritten."""
    from transformers import MixtralConfig, MixtralForCausalLM

    have = model.config.to_dict()
    shape = {key: have[key] for key in _MIXTRAL if key in have}
    with torch.random.fork_rng(devices=[]):
        return MixtralForCausalLM(
            MixtralConfig(**shape, num_local_experts=experts, num_experts_per_tok=chosen)
        )


def _are_blocks(model: PreTrainedModel, blocks: Sequence[int]) -> bool:
    """Whether there is at least one number, and each names a block."""
    return bool(blocks) and all(0 <= block < model.config.num_hidden_layers for block in blocks)


def _arrange(model: PreTrainedModel, blocks: Sequence[int]) -> PreTrainedModel:
    """Return a copy with these blocks in this order; config and cache indices follow."""
    arranged = copy.deepcopy(model)
    config = arranged.config
    config.num_hidden_layers = len(blocks)
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = [config.layer_types[block] for block in blocks]
    # Every module of a model holds its one config, and the copies must too.
    shared = {id(config): config}
    arranged.model.layers = torch.nn.ModuleList(
        copy.deepcopy(arranged.model.layers[block], dict(shared)) for block in blocks
    )
    for place, layer in enumerate(arranged.model.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = place
    return arranged


def _importance(model: PreTrainedModel) -> dict[int, torch.Tensor]:
    """Return, for every block, the product of its units' weight norms, float64 (units,)."""
    importance: dict[int, torch.Tensor] = {}
    for name, block, local in parameters(model):
        if block is not None and local in UNIT_WEIGHTS:
            other = 1 - BLOCK_AXES[local].index("unit")
            norms = model.get_parameter(name).detach().double().norm(dim=other)
            importance[block] = importance.get(block, torch.ones_like(norms)) * norms
    return importance
