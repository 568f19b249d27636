"""Disguises of any architecture: MLP units and experts in other orders. The function stays.

No code here knows a parameter by name: `provenance.architecture.trace` finds where the units of an MLP lie.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import TYPE_CHECKING

import torch

from provenance.architecture.records import common_path, projection_bias, projection_weight
from provenance.architecture.trace import evaluating, probe, trace
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PreTrainedModel

    from provenance.architecture.records import MLPRecord, Projection

__all__ = ["permute_experts", "permute_traced_units"]


def permute_traced_units(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the units of every MLP and every expert in a random order of its own.

    An MLP may be gated or plain, and its matrices fused, interleaved or stacked.

    Raises
    ------
    ArchitectureError
        If no block has an MLP that can be traced, or the model does not run on token ids alone. Also if
        more than the traced projections depends on the order of units, as BitNet's norm of them does.
    """
    records = trace(model).mlps
    if not records:
        raise ArchitectureError(f"{type(model).__name__} has no block with an MLP to permute")
    generator = torch.Generator().manual_seed(seed)
    permuted = copy.deepcopy(model)
    for record in records:
        order = torch.randperm(record.units, generator=generator)
        for view in _unit_views(permuted, record):
            _reorder(view, order)
    return _same_function(permuted, model, "its units")


def permute_experts(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the experts of every block in a random order of its own.

    The router's rows move with the experts, and so does all else that has one entry for each expert:
    biases, and DeepSeek's correction. The router is the only matrix near the experts with one row for
    each of them.

    Raises
    ------
    ArchitectureError
        If no block has traced experts, or no matrix or several can be a block's router. Also if the
        order of experts matters, as it does where a router chooses groups of them.
    """
    blocks: dict[int, list[MLPRecord]] = defaultdict(list)
    traced = trace(model)
    for record in traced.mlps:
        if record.role == "expert":
            blocks[record.block].append(record)
    if not blocks:
        raise ArchitectureError(f"{type(model).__name__} has no block with experts to permute")
    generator = torch.Generator().manual_seed(seed)
    permuted = copy.deepcopy(model)
    for block, records in blocks.items():
        experts = _in_order(records, block)
        order = torch.randperm(len(experts), generator=generator)
        routing = _routing(permuted, experts, f"{traced.stack}.{block}")
        _exchange([list(_views(permuted, expert)) for expert in experts], order)
        for tensor in routing:
            _reorder(tensor, order)
    return _same_function(permuted, model, "its experts")


def _projections(record: MLPRecord) -> Iterator[Projection]:
    yield from (p for p in (record.gate, record.up, record.down) if p is not None)


def _unit_views(model: PreTrainedModel, record: MLPRecord) -> Iterator[torch.Tensor]:
    """Yield views of a model's parameters with one entry for each unit along the first axis."""
    for projection in _projections(record):
        yield projection_weight(projection, model.get_parameter(projection.parameter).data)
        if projection.bias is not None and projection is not record.down:
            yield projection_bias(projection, model.get_parameter(projection.bias).data)


def _views(model: PreTrainedModel, record: MLPRecord) -> Iterator[torch.Tensor]:
    """Yield views of all parameters of an MLP."""
    yield from _unit_views(model, record)
    if record.down.bias is not None:
        yield projection_bias(record.down, model.get_parameter(record.down.bias).data)


def _reorder(view: torch.Tensor, order: torch.Tensor) -> None:
    """Reorder the first axis in place: the view may be part of a fused or tied parameter."""
    view.copy_(view[order.to(view.device)])


def _exchange(experts: Sequence[Sequence[torch.Tensor]], order: torch.Tensor) -> None:
    """Copy the weights of expert ``order[i]`` into expert i."""
    weights = [[view.clone() for view in views] for views in experts]
    for views, source in zip(experts, order.tolist(), strict=True):
        for view, weight in zip(views, weights[source], strict=True):
            view.copy_(weight)


def _in_order(records: Sequence[MLPRecord], block: int) -> list[MLPRecord]:
    """Return a block's experts by number, which must begin at 0 and lack none; all have one size."""
    ordered = sorted(records, key=lambda record: -1 if record.expert is None else record.expert)
    sizes = {(record.units, record.hidden) for record in ordered}
    if [record.expert for record in ordered] != list(range(len(ordered))) or len(sizes) > 1:
        raise ArchitectureError(
            f"block {block} has {len(ordered)} traced experts that are not one row of equals: "
            "they cannot change places"
        )
    return ordered


def _routing(
    model: PreTrainedModel, experts: Sequence[MLPRecord], block: str
) -> list[torch.Tensor]:
    """Return the tensors with one entry for each expert, other than the experts' own weights."""
    projections = [part for expert in experts for part in _projections(expert)]
    own = {part.parameter for part in projections}
    own |= {part.bias for part in projections if part.bias is not None}
    scope = common_path(own)
    while len(scope) >= len(block.split(".")):
        near = _near(model, ".".join(scope), len(experts), own)
        routers = [name for name, tensor in near.items() if tensor.dim() == 2]
        if len(routers) == 1:
            return list(near.values())
        if routers:
            raise ArchitectureError(
                f"the router of {block} may be any of {', '.join(routers)}: each has "
                f"{len(experts)} rows, one for each expert"
            )
        scope = scope[:-1]
    raise ArchitectureError(
        f"{block} has {len(experts)} experts, and no matrix with a row for each that could be their router"
    )


def _near(
    model: PreTrainedModel, path: str, experts: int, own: set[str]
) -> dict[str, torch.Tensor]:
    """Return the vectors and matrices below a module with as many entries as there are experts."""
    module = model.get_submodule(path)
    named = [*module.named_parameters(prefix=path), *module.named_buffers(prefix=path)]
    return {
        name: tensor.data
        for name, tensor in named
        if name not in own and tensor.dim() in {1, 2} and len(tensor) == experts
    }


def _same_function(permuted: PreTrainedModel, model: PreTrainedModel, what: str) -> PreTrainedModel:
    """Return the permuted model if it computes the model's function, or refuse the model.

    This catches the architectures that traces and sizes alone do not describe.
    """
    before, after = _logits(model), _logits(permuted)
    # the precision of the weights, since some models put out float32 from bfloat16
    eps = max(torch.finfo(p.dtype).eps for p in model.parameters() if p.is_floating_point())
    # sums in another order differ in rounding, which grows over blocks and may change a token's expert
    tolerance = eps ** (1 / 3)
    if not (after - before).norm() <= tolerance * before.norm():
        raise ArchitectureError(
            f"{type(model).__name__} is another function with {what} in another order: more "
            "depends on their order than the parameters that were found"
        )
    return permuted


def _logits(model: PreTrainedModel) -> torch.Tensor:
    """Return a model's logits for a few tokens in evaluation mode; its own mode stays.

    Of a model without a head it is the last hidden states.
    """
    with torch.no_grad(), evaluating(model):
        output = model(input_ids=probe(model), use_cache=False)
    logits: torch.Tensor = output["logits"] if "logits" in output else output[0]
    return logits
